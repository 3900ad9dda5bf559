/* MessagePack records: round trips, and every kind of damage met without a large allocation. */
#include "base/record.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A record with every kind of value the writer knows, and lengths around the formats' limits. */
static void write_sample(RecordWriter *writer) {
    char text[301];
    memset(text, 't', 300);
    text[300] = 0;
    record_writer_start(writer);
    record_put_map(writer, 8);
    record_put_text(writer, "integers");
    record_put_list(writer, 7);
    const int64_t integers[] = {0, -1, 127, -33, 70000, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 7; i++)
        record_put_integer(writer, integers[i]);
    record_put_text(writer, "number");
    record_put_number(writer, 0.1);
    record_put_text(writer, "yes");
    record_put_bool(writer, 1);
    record_put_text(writer, "no");
    record_put_bool(writer, 0);
    record_put_text(writer, "nothing");
    record_put_null(writer);
    record_put_text(writer, "bytes");
    record_put_bytes(writer, text, 300);
    record_put_text(writer, "texts");
    record_put_list(writer, 17);
    for (int i = 0; i < 17; i++)
        record_put_text(writer, text + 300 - i * i);
    record_put_text(writer, "empty");
    record_put_bytes(writer, NULL, 0);
}

static void test_round_trip(void **state) {
    (void)state;
    RecordWriter writer;
    write_sample(&writer);
    Record record;
    Error error = {0};
    assert_int_equal(record_read(&record, (const uint8_t *)writer.buffer.data, writer.buffer.size,
                                 "sample", &error),
                     0);
    assert_int_equal(record_count(record.root), 8);
    const msgpack_object *list = record_find(record.root, "integers");
    const int64_t integers[] = {0, -1, 127, -33, 70000, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < 7; i++) {
        int64_t value = 5;
        assert_int_equal(record_integer(record_item(list, i), &value), 0);
        assert_true(value == integers[i]);
    }
    assert_null(record_item(list, 7));
    double number = 0;
    assert_int_equal(record_number(record_find(record.root, "number"), &number), 0);
    assert_true(number == 0.1);
    assert_int_equal(record_number(record_item(list, 3), &number), 0);
    assert_true(number == -33);
    int truth = 5;
    assert_int_equal(record_bool(record_find(record.root, "yes"), &truth), 0);
    assert_int_equal(truth, 1);
    assert_int_equal(record_bool(record_find(record.root, "no"), &truth), 0);
    assert_int_equal(truth, 0);
    assert_int_equal(record_find(record.root, "nothing")->type, MSGPACK_OBJECT_NIL);
    const uint8_t *bytes;
    size_t count;
    assert_int_equal(record_bytes(record_find(record.root, "bytes"), &bytes, &count), 0);
    assert_int_equal(count, 300);
    assert_int_equal(bytes[299], 't');
    assert_int_equal(record_bytes(record_find(record.root, "empty"), &bytes, &count), 0);
    assert_int_equal(count, 0);
    const msgpack_object *texts = record_find(record.root, "texts");
    assert_int_equal(record_count(texts), 17);
    for (size_t i = 0; i < 17; i++) {
        char *text = record_text(record_item(texts, i));
        assert_int_equal(strlen(text), i * i);
        free(text);
    }
    record_free(&record);
    record_free(&record); /* twice does no harm */
    record_writer_free(&writer);
}

static void test_wrong_kinds(void **state) {
    (void)state;
    RecordWriter writer;
    write_sample(&writer);
    Record record;
    assert_int_equal(record_read(&record, (const uint8_t *)writer.buffer.data, writer.buffer.size,
                                 "sample", NULL),
                     0);
    const msgpack_object *map = record.root, *number = record_find(map, "number");
    int64_t integer = 0;
    int truth;
    double value;
    const uint8_t *bytes;
    size_t count;
    assert_null(record_find(map, "nobody"));
    assert_null(record_find(map, "numbe"));
    assert_null(record_find(number, "number"));
    assert_null(record_find(NULL, "number"));
    assert_null(record_item(map, 0));
    assert_null(record_item(NULL, 0));
    assert_int_equal(record_count(number), 0);
    assert_int_equal(record_count(NULL), 0);
    assert_int_equal(record_integer(number, &integer), -1);
    assert_int_equal(record_integer(NULL, &integer), -1);
    assert_int_equal(record_number(map, &value), -1);
    assert_int_equal(record_number(NULL, &value), -1);
    assert_int_equal(record_bool(number, &truth), -1);
    assert_int_equal(record_bytes(number, &bytes, &count), -1);
    assert_null(record_text(number));
    assert_null(record_text(NULL));
    record_free(&record);
    record_writer_free(&writer);
    const uint8_t large[] = {0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0}; /* 2^63 is no int64 */
    assert_int_equal(record_read(&record, large, sizeof large, "large", NULL), 0);
    assert_int_equal(record_integer(record.root, &integer), -1);
    record_free(&record);
    const uint8_t zero_inside[] = {0xa3, 'a', 0, 'b'};
    assert_int_equal(record_read(&record, zero_inside, sizeof zero_inside, "zero", NULL), 0);
    assert_null(record_text(record.root));
    record_free(&record);
}

/* Every truncation is refused; the bytes are copied so that ASan sees a read past the end. */
static void test_truncations(void **state) {
    (void)state;
    RecordWriter writer;
    write_sample(&writer);
    for (size_t cut = 0; cut < writer.buffer.size; cut++) {
        uint8_t *bytes = memory_new(cut, 1);
        memcpy(bytes, writer.buffer.data, cut);
        Error error = {0};
        assert_int_equal(record_check(bytes, cut, "cut", &error), -1);
        assert_int_equal(error.code, ERROR_RUN);
        assert_non_null(strstr(error.text, "cut"));
        Record record;
        assert_int_equal(record_read(&record, bytes, cut, "cut", &error), -1);
        record_free(&record); /* allowed after a failure */
        free(bytes);
    }
    record_writer_free(&writer);
}

static void test_bytes_after_the_end(void **state) {
    (void)state;
    Error error = {0};
    const uint8_t bytes[] = {0x90, 0xc0};
    assert_int_equal(record_check(bytes, 1, "x", &error), 0);
    assert_int_equal(record_check(bytes, 2, "x", &error), -1);
    assert_int_equal(record_check(bytes, 0, "x", &error), -1);
}

/* Eight bytes that claim gigabytes. */
static void test_hostile_headers(void **state) {
    (void)state;
    const uint8_t heads[] = {0xdd, 0xdf, 0xc6, 0xdb, 0xc9, 0xdc, 0xde, 0xc5, 0xda, 0xc8, 0xc1};
    for (size_t i = 0; i < sizeof heads; i++) {
        uint8_t bytes[8] = {heads[i], 0xff, 0xff, 0xff, 0xff, 0, 0, 0};
        Error error = {0};
        assert_int_equal(record_check(bytes, sizeof bytes, "hostile", &error), -1);
    }
    /* a list of lists of lists, each claiming what would fit once */
    uint8_t nested[64];
    for (size_t i = 0; i < sizeof nested; i += 4) {
        const uint8_t head[] = {0xdc, 0, 40, 0xc0};
        memcpy(nested + i, head, 4);
    }
    assert_int_equal(record_check(nested, sizeof nested, "nested", NULL), -1);
}

static void test_every_first_byte(void **state) {
    (void)state;
    for (unsigned head = 0; head < 256; head++)
        for (unsigned fill = 0; fill < 256; fill += 5)
            for (size_t count = 1; count < 24; count++) {
                uint8_t *bytes = memory_new(count, 1);
                memset(bytes, (int)fill, count);
                bytes[0] = (uint8_t)head;
                Record record;
                /* what the walk accepts, the unpacker accepts as well */
                int sound = record_check(bytes, count, "x", NULL);
                assert_int_equal(record_read(&record, bytes, count, "x", NULL), sound);
                record_free(&record);
                free(bytes);
            }
}

static void test_depth(void **state) {
    (void)state;
    /* lists of one item around a nil, or around an empty list, which is one level more */
    for (size_t i = 2; i <= 200; i++) {
        size_t depth = i / 2;
        uint8_t bytes[101];
        memset(bytes, 0x91, sizeof bytes);
        bytes[depth] = i % 2 ? 0x90 : 0xc0;
        Record record;
        Error error = {0};
        int expected = depth + i % 2 <= RECORD_DEPTH ? 0 : -1;
        assert_int_equal(record_check(bytes, depth + 1, "deep", &error), expected);
        if (expected)
            assert_non_null(strstr(error.text, "too deep"));
        assert_int_equal(record_read(&record, bytes, depth + 1, "deep", &error), expected);
        record_free(&record);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_truncations),     cmocka_unit_test(test_bytes_after_the_end),
        cmocka_unit_test(test_hostile_headers), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_every_first_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
