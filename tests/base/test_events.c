/* Event files: checksums, bytes that are read here by another decoder, cutting, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/events.h"
#include "base/file.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/jepa_events_XXXXXX";

static int make_folder(void **state) {
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder, NULL);
}

/* Bit by bit from the definition: reflected polynomial 0x82f63b78, all ones at first and at last.
 */
static uint32_t slow_crc(const uint8_t *bytes, size_t count) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return crc ^ 0xffffffffu;
}

static void checksums_are_those_of_rfc_3720(void **state) {
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(bytes, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(bytes, 32), 0x46dd794eu);
    assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c("", 0), 0);
    for (size_t n = 0; n < sizeof bytes; n++)
        assert_int_equal(crc32c(bytes, n), slow_crc(bytes, n));
}

/* The only event file's bytes. */
static uint8_t *file_bytes(size_t *count, char **path) {
    uint8_t *bytes = NULL;
    DIR *open = opendir(folder);
    assert_non_null(open);
    *path = NULL;
    for (struct dirent *entry; (entry = readdir(open));)
        if (!strncmp(entry->d_name, "events.out.tfevents.", 20)) {
            assert_null(*path);
            *path = path_join(folder, entry->d_name);
        }
    closedir(open);
    assert_non_null(*path);
    assert_int_equal(file_read(&bytes, count, *path, 1 << 20, NULL), 0);
    return bytes;
}

static uint64_t little(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | at[bytes];
    return value;
}

/* Every record's checksums, by the definition; returns how many there are. */
static int check_records(const uint8_t *bytes, size_t count, const uint8_t **last) {
    int records = 0;
    for (size_t at = 0; at < count; records++) {
        uint64_t length = little(bytes + at, 8);
        uint32_t head = slow_crc(bytes + at, 8), data = slow_crc(bytes + at + 12, length);
        assert_int_equal(little(bytes + at + 8, 4),
                         (uint32_t)((head >> 15 | head << 17) + 0xa282ead8u));
        assert_int_equal(little(bytes + at + 12 + length, 4),
                         (uint32_t)((data >> 15 | data << 17) + 0xa282ead8u));
        *last = bytes + at + 12;
        at += 16 + length;
        assert_true(at <= count);
    }
    return records;
}

static void bytes_are_events(void **state) {
    (void)state;
    EventFile file;
    Error error = {0};
    const EventValue values[] = {{"a/b", 0.5}, {"c", -2}};
    assert_int_equal(events_create(&file, folder, 1.5, -1, &error), 0);
    assert_int_equal(events_write(&file, 2.5, 300, values, 2, &error), 0);
    events_close(&file);
    size_t count;
    char *path;
    const uint8_t *last;
    uint8_t *bytes = file_bytes(&count, &path);
    assert_int_equal(check_records(bytes, count, &last), 2);
    /* version: wall_time 1.5, file_version */
    static const uint8_t first[] = "\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x0d"
                                   "brain.Event:2";
    assert_int_equal(little(bytes, 8), sizeof first - 1);
    assert_memory_equal(bytes + 12, first, sizeof first - 1);
    /* wall_time 2.5, step 300, summary of two values: tag and float */
    static const uint8_t second[] = "\x09\x00\x00\x00\x00\x00\x00\x04\x40"
                                    "\x10\xac\x02"
                                    "\x2a\x16"
                                    "\x0a\x0a\x0a\x03"
                                    "a/b"
                                    "\x15\x00\x00\x00\x3f"
                                    "\x0a\x08\x0a\x01"
                                    "c"
                                    "\x15\x00\x00\x00\xc0";
    assert_memory_equal(last, second, sizeof second - 1);
    free(bytes);
    free(path);
}

/* What events_read has seen. */
typedef struct Seen {
    int values;
    int64_t steps[64];
    float sum;
    char tag[64];
} Seen;

static void see(void *context, int64_t step, double seconds, const char *tag, float value) {
    Seen *seen = context;
    assert_true(seconds > 0);
    seen->steps[seen->values++] = step;
    seen->sum += value;
    snprintf(seen->tag, sizeof seen->tag, "%s", tag);
}

static void write_steps(int64_t from, int64_t to, double seconds, int64_t start) {
    EventFile file;
    Error error = {0};
    assert_int_equal(events_create(&file, folder, seconds, start, &error), 0);
    for (int64_t step = from; step < to; step++) {
        const EventValue value = {"loss/loss", (double)step};
        assert_int_equal(events_write(&file, seconds, step, &value, 1, &error), 0);
    }
    events_close(&file);
}

static Seen read_all(void) {
    Seen seen = {0};
    Error error = {0};
    size_t files;
    assert_int_equal(events_read(&files, folder, see, &seen, &error), 0);
    return seen;
}

static void files_are_read_back_and_cut(void **state) {
    (void)state;
    Error error = {0};
    size_t files = 7;
    assert_int_equal(events_read(&files, "/nowhere", see, NULL, &error), 0);
    assert_int_equal(files, 0);
    write_steps(0, 10, 1000, -1);
    Seen seen = read_all();
    assert_int_equal(seen.values, 10);
    assert_string_equal(seen.tag, "loss/loss");
    assert_true(seen.sum == 45);
    assert_int_equal(events_cut(folder, 6, &error), 0);
    assert_int_equal(read_all().values, 6);
    /* a clock that was set back: the name still sorts behind the first file's */
    write_steps(6, 8, 900, 6);
    seen = read_all();
    assert_int_equal(seen.values, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(seen.steps[i], i);
    assert_int_equal(events_cut(folder, 0, &error),
                     0); /* what says that they are event files stays */
    size_t count;
    char *path = NULL;
    DIR *open = opendir(folder);
    for (struct dirent *entry; (entry = readdir(open));)
        if (entry->d_name[0] != '.') {
            path = path_join(folder, entry->d_name);
            uint8_t *bytes;
            const uint8_t *last;
            assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
            assert_int_equal(check_records(bytes, count, &last), 1);
            free(bytes);
            free(path);
        }
    closedir(open);
}

static void what_a_crash_left_is_passed_over(void **state) {
    (void)state;
    Error error = {0};
    size_t count;
    char *path;
    write_steps(0, 3, 1000, -1);
    uint8_t *bytes = file_bytes(&count, &path);
    for (size_t cut = 1; cut < 40; cut++) { /* within the last record, head and tail included */
        assert_int_equal(truncate(path, (off_t)(count - cut)), 0);
        assert_int_equal(read_all().values, 2);
        assert_int_equal(events_cut(folder, INT64_MAX, &error), 0);
        size_t now;
        uint8_t *whole;
        const uint8_t *last;
        assert_int_equal(file_read(&whole, &now, path, 1 << 20, &error), 0);
        assert_int_equal(check_records(whole, now, &last), 3);
        free(whole);
        assert_int_equal(file_write(path, bytes, count, &error), 0);
    }
    free(bytes);
    free(path);
}

static void damage_is_an_error(void **state) {
    (void)state;
    Error error = {0};
    size_t count, files;
    char *path;
    write_steps(0, 3, 1000, -1);
    uint8_t *bytes = file_bytes(&count, &path);
    for (size_t at = 0; at < count; at++) {
        Seen seen = {0};
        bytes[at] ^= 0x10;
        assert_int_equal(file_write(path, bytes, count, NULL), 0);
        error = (Error){0};
        assert_int_equal(events_read(&files, folder, see, &seen, &error), -1);
        assert_non_null(strstr(error.text, "damaged at byte"));
        bytes[at] ^= 0x10;
    }
    free(bytes);
    free(path);
}

static void folders_that_cannot_be(void **state) {
    (void)state;
    EventFile file;
    Error error = {0};
    assert_int_equal(events_create(&file, "/dev/null/x", 1, -1, &error), -1);
    assert_int_equal(error.code, ERROR_RUN);
    events_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_are_those_of_rfc_3720),
        cmocka_unit_test_setup_teardown(bytes_are_events, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(files_are_read_back_and_cut, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_a_crash_left_is_passed_over, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(damage_is_an_error, make_folder, remove_folder),
        cmocka_unit_test(folders_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
