/* Column files: what is packed comes back, mapped or from memory; anything else is refused. */
#include "base/columns.h"
#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t wide[3] = {1, -2, INT64_MAX};
static const int32_t narrow[2] = {7, -8};
static const double numbers[1] = {0.5};

static void pack(uint8_t **image, size_t *bytes) {
    RecordWriter w;
    record_writer_start(&w);
    record_put_text(&w, "about");
    const Column columns[] = {{"wide", COLUMN_I64, wide, 3},
                              {"narrow", COLUMN_I32, narrow, 2},
                              {"empty", COLUMN_U8, NULL, 0},
                              {"numbers", COLUMN_F64, numbers, 1}};
    columns_pack(image, bytes, "test", 3, (const uint8_t *)w.buffer.data, w.buffer.size, columns,
                 4);
    record_writer_free(&w);
}

static void check(const ColumnFile *file) {
    const void *data;
    size_t count;
    Error error = {0};
    assert_int_equal(columns_get(&data, &count, file, "wide", COLUMN_I64, 3, true, &error), 0);
    assert_int_equal(count, 3);
    assert_memory_equal(data, wide, sizeof wide);
    assert_int_equal((uintptr_t)data % 8, 0);
    assert_int_equal(
        columns_get(&data, &count, file, "numbers", COLUMN_F64, SIZE_MAX, true, &error), 0);
    assert_true(*(const double *)data == 0.5);
    assert_int_equal(columns_get(&data, &count, file, "empty", COLUMN_U8, 0, true, &error), 0);
    /* other types, other lengths, other names */
    assert_int_equal(columns_get(&data, &count, file, "wide", COLUMN_F64, 3, true, &error), -1);
    assert_int_equal(columns_get(&data, &count, file, "narrow", COLUMN_I32, 3, true, &error), -1);
    assert_non_null(strstr(error.text, "2 rows"));
    assert_int_equal(columns_get(&data, &count, file, "absent", COLUMN_I32, 3, true, &error), -1);
    assert_non_null(strstr(error.text, "missing"));
}

static void test_round_trip(void **state) {
    (void)state;
    uint8_t *image;
    size_t bytes;
    ColumnFile file;
    Error error = {0};
    char path[] = "/tmp/jepa_columns_XXXXXX";
    int handle = mkstemp(path);
    assert_true(handle >= 0);
    close(handle);
    pack(&image, &bytes);
    assert_int_equal(file_write(path, image, bytes, &error), 0);
    assert_true(columns_is(path));
    assert_int_equal(columns_open(&file, path, "test", 3, &error), 0);
    check(&file);
    columns_close(&file);
    assert_int_equal(columns_open_image(&file, image, bytes, "memory", "test", 3, &error), 0);
    check(&file);
    columns_close(&file);
    assert_int_equal(columns_open(&file, path, "other", 3, &error), -1);
    assert_int_equal(columns_open(&file, path, "test", 4, &error), -1);
    assert_non_null(strstr(error.text, "version"));
    assert_int_equal(truncate(path, (long)bytes - 1), 0);
    assert_int_equal(columns_open(&file, path, "test", 3, &error), -1);
    unlink(path);
    assert_false(columns_is(path));
    assert_int_equal(columns_open(&file, path, "test", 3, &error), -1);
}

/* A changed value is seen where the column is asked to be verified. */
static void test_damage(void **state) {
    (void)state;
    uint8_t *image;
    size_t bytes;
    ColumnFile file;
    Error error = {0};
    const void *data;
    size_t count;
    pack(&image, &bytes);
    image[bytes - 64] ^= 1; /* the last column's first byte */
    assert_int_equal(columns_open_image(&file, image, bytes, "memory", "test", 3, &error), 0);
    assert_int_equal(columns_get(&data, &count, &file, "numbers", COLUMN_F64, 1, false, &error), 0);
    assert_int_equal(columns_get(&data, &count, &file, "numbers", COLUMN_F64, 1, true, &error), -1);
    assert_non_null(strstr(error.text, "numbers"));
    columns_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
