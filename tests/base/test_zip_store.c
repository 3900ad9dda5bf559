/* Zips of stored entries: what opens, and every lie that is refused. */
#include "base/file.h"
#include "base/hash.h"
#include "base/zip_store.h"
#include "tests/base/zip_bytes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[32];
    char *path;
} Place;

static int make_place(void **state) {
    Place *place = memory_new(1, sizeof *place);
    strcpy(place->folder, "/tmp/jepa-test-XXXXXX");
    *state = place;
    if (!mkdtemp(place->folder))
        return -1;
    place->path = path_join(place->folder, "x.zip");
    return 0;
}

static int drop_place(void **state) {
    Place *place = *state;
    int result = folder_remove(place->folder, NULL);
    free(place->path);
    free(place);
    return result;
}

static const ZipPart parts[] = {{"b/two", "12345", 5}, {"b/one", "abc", 3}, {"b/none", NULL, 0}};

static int open_bytes(ZipStore *store, const Place *place, const uint8_t *bytes, size_t count,
                      Error *error) {
    FILE *out = fopen(place->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, count, out), count);
    assert_int_equal(fclose(out), 0);
    return zip_store_open(store, place->path, error);
}

static void test_opens(void **state) {
    for (int streamed = 0; streamed < 2; streamed++) {
        ZipBytes zip = zip_build(parts, 3, streamed);
        ZipStore store;
        Error error = {0};
        if (open_bytes(&store, *state, zip.data, zip.count, &error))
            fail_msg("%s", error.text);
        assert_int_equal(store.count, 3);
        for (size_t i = 0; i < 3; i++) {
            const ZipEntry *entry = zip_store_find(&store, parts[i].name);
            assert_non_null(entry);
            assert_int_equal(entry->bytes, parts[i].bytes);
            if (entry->bytes)
                assert_memory_equal(entry->data, parts[i].data, entry->bytes);
        }
        assert_null(zip_store_find(&store, "b/three"));
        zip_store_close(&store);
        zip_store_close(&store);
        free(zip.data);
    }
}

static void test_empty_and_missing(void **state) {
    Place *place = *state;
    ZipStore store;
    Error error = {0};
    ZipBytes zip = zip_build(parts, 0, false);
    assert_int_equal(open_bytes(&store, place, zip.data, zip.count, &error), 0);
    assert_int_equal(store.count, 0);
    assert_null(zip_store_find(&store, "x"));
    zip_store_close(&store);
    free(zip.data);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(zip_store_open(&store, place->path, &error), -1);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(zip_store_open(&store, place->folder, &error), -1);
    assert_non_null(strstr(error.text, "not a plain file"));
    zip_store_close(&store); /* allowed after a failure */
}

/* One field overwritten with one number. */
static void test_lies(void **state) {
    Place *place = *state;
    ZipBytes plain = zip_build(parts, 3, false), wide = zip_build(parts, 3, true);
    const struct {
        const ZipBytes *zip;
        size_t at;
        uint64_t value;
        int width;
        const char *word;
    } cases[] = {
        {&plain, plain.end, 0, 4, "cut short"},
        {&plain, plain.end + 20, 1, 2, "cut short"}, /* a comment that is not there */
        {&plain, plain.end + 4, 1, 2, "volumes"},
        {&plain, plain.end + 6, 1, 2, "volumes"},
        {&plain, plain.end + 8, 2, 2, "volumes"},
        {&plain, plain.end + 8, 0xffffffff, 4, "more entries"},
        {&plain, plain.end + 8, 0x00020002, 4, "more in the directory"},
        {&plain, plain.end + 8, 0x00040004, 4, "more entries"},
        {&plain, plain.end + 12, 0xffffffff, 4, "directory is not where"},
        {&plain, plain.end + 16, 0xfffffff0, 4, "directory is not where"},
        {&plain, plain.end + 16, 0, 4, "directory is not where"},
        {&wide, wide.wide, 0, 4, "no zip64 end"},
        {&wide, wide.wide + 4, UINT64_MAX, 8, "no zip64 end"},
        {&wide, wide.wide + 64, UINT64_MAX, 8, "no zip64 end"}, /* its locator */
        {&wide, wide.wide + 64, 0, 8, "no zip64 end"},
        {&wide, wide.wide + 72, 2, 4, "volumes"},
        {&wide, wide.wide + 16, 1, 4, "volumes"},
        {&wide, wide.wide + 24, 2, 8, "volumes"},
        {&wide, wide.wide + 32, 4, 8, "ends of directory differ"},
        {&wide, wide.wide + 40, UINT64_MAX, 8, "ends of directory differ"},
        {&wide, wide.wide + 48, UINT64_MAX / 2, 8, "ends of directory differ"},
        {&plain, plain.central[0], 0, 4, "ends early"},
        {&plain, plain.central[0] + 8, 1, 2, "encrypted"},
        {&plain, plain.central[0] + 8, 0x40, 2, "unknown flags 0x0040"},
        {&plain, plain.central[0] + 8, 0x08, 2, "headers differ"},
        {&plain, plain.central[0] + 10, 8, 2, "b/two is compressed (method 8, deflate)"},
        {&plain, plain.central[0] + 10, 93, 2, "compressed (method 93)"},
        {&plain, plain.central[0] + 16, 5, 4, "headers differ"},
        {&plain, plain.central[0] + 20, 4, 4, "of two sizes"},
        {&plain, plain.central[0] + 20, 0xfffffff0fffffff0, 8, "beyond the file"},
        {&plain, plain.central[0] + 20, UINT64_MAX, 8, "extra fields are cut short"},
        {&plain, plain.central[0] + 28, 0, 2, "empty"},
        {&plain, plain.central[0] + 28, 0xffff, 2, "ends early"},
        {&plain, plain.central[2] + 30, 0xffff, 2, "ends early"},
        {&plain, plain.central[0] + 34, 1, 2, "another volume"},
        {&plain, plain.central[0] + 42, 1, 4, "no local header"},
        {&plain, plain.central[0] + 42, 0xfffffff0, 4, "no local header"},
        {&plain, plain.central[0] + 46, 'c', 1, "headers differ"},
        {&plain, plain.central[0] + 48, 0, 1, "zero byte"},
        {&plain, plain.local[0], 0, 4, "no local header"},
        {&plain, plain.local[0] + 6, 8, 2, "headers differ"},
        {&plain, plain.local[0] + 8, 8, 2, "headers differ"},
        {&plain, plain.local[0] + 18, 4, 4, "headers differ"},
        {&plain, plain.local[0] + 18, UINT64_MAX, 8, "extra fields are cut short"},
        {&plain, plain.local[0] + 26, 6, 2, "headers differ"},
        {&plain, plain.local[0] + 28, 0xffff, 2, "beyond the file"},
        {&plain, plain.local[0] + 28, 1, 2, "extra fields are cut short"},
        {&wide, wide.local[0] + 22, 4, 4, "headers differ"},
        {&wide, wide.local[0] + 40 + 5, 0, 4, "descriptor and its header differ"},
        {&wide, wide.local[0] + 40 + 8 + 5, 0, 1, "descriptor and its header differ"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ZipBytes copy = {0};
        Error error = {0};
        ZipStore store;
        zip_put(&copy, cases[i].zip->data, cases[i].zip->count);
        for (int b = 0; b < cases[i].width; b++)
            copy.data[cases[i].at + (size_t)b] = (uint8_t)(cases[i].value >> (8 * b));
        if (!open_bytes(&store, place, copy.data, copy.count, &error))
            fail_msg("case %zu: opened, expected \"%s\"", i, cases[i].word);
        if (!strstr(error.text, cases[i].word) || !strstr(error.text, place->path))
            fail_msg("case %zu: expected \"%s\" in \"%s\"", i, cases[i].word, error.text);
        free(copy.data);
    }
    free(plain.data);
    free(wide.data);
}

static void test_overlaps_and_names(void **state) {
    Place *place = *state;
    ZipStore store;
    Error error = {0};
    /* a whole entry, local header and all, inside another one's bytes */
    ZipBytes inner = zip_build(&(ZipPart){"in", "xyz", 3}, 1, false);
    const ZipPart nested[] = {{"out", inner.data, 30 + 2 + 3}, {"in", "xyz", 3}};
    ZipBytes zip = zip_build(nested, 2, false);
    zip.data[zip.central[1] + 42] = 30 + 3; /* the second header points into the first's bytes */
    assert_int_equal(open_bytes(&store, place, zip.data, zip.count, &error), -1);
    assert_non_null(strstr(error.text, "in: it lies over another entry"));
    free(zip.data);
    free(inner.data);
    const ZipPart same[] = {{"a", "1", 1}, {"b", "", 0}, {"a", "1", 1}};
    zip = zip_build(same, 3, true);
    assert_int_equal(open_bytes(&store, place, zip.data, zip.count, &error), -1);
    assert_non_null(strstr(error.text, "a: two entries of this name"));
    zip.data[zip.central[2] + 42] = 0; /* both headers for one entry */
    assert_int_equal(open_bytes(&store, place, zip.data, zip.count, &error), -1);
    free(zip.data);
}

/* Sizes and place in the zip64 field, as for entries beyond 4 GiB; and the field cut short. */
static void test_wide_entry(void **state) {
    Place *place = *state;
    ZipStore store;
    Error error = {0};
    ZipBytes base = zip_build(parts, 1, true), zip = {0};
    size_t header = 46 + strlen(parts[0].name);
    for (int cut = 0; cut < 2; cut++) {
        zip = (ZipBytes){0};
        zip_put(&zip, base.data, base.central[0] + header);
        memset(zip.data + base.central[0] + 20, 0xff, 8);
        memset(zip.data + base.central[0] + 42, 0xff, 4);
        zip.data[base.central[0] + 30] = (uint8_t)(28 - 8 * cut);
        zip_number(&zip, 1, 2);
        zip_number(&zip, (uint64_t)(24 - 8 * cut), 2);
        zip_number(&zip, 5, 8);
        zip_number(&zip, 5, 8);
        if (!cut)
            zip_number(&zip, 0, 8);
        size_t extra = zip.count - base.central[0] - header, wide = zip.count;
        zip_put(&zip, base.data + base.wide, base.count - base.wide);
        zip.data[wide + 40] = (uint8_t)(zip.data[wide + 40] + extra);
        zip.data[wide + 64] = (uint8_t)(zip.data[wide + 64] + extra);
        memset(zip.data + zip.count - 14, 0xff, 12); /* counts, bytes and place: see zip64 */
        int result = open_bytes(&store, place, zip.data, zip.count, &error);
        assert_int_equal(result, cut ? -1 : 0);
        if (!cut)
            assert_memory_equal(zip_store_find(&store, "b/two")->data, "12345", 5);
        zip_store_close(&store);
        free(zip.data);
    }
    assert_non_null(strstr(error.text, "cut short"));
    free(base.data);
}

/* Cut anywhere: refused. Any byte changed: refused, or open with every entry inside the file. */
static void test_damage(void **state) {
    Place *place = *state;
    const uint8_t values[] = {0, 1, 'b', 0x7f, 0xff};
    for (int streamed = 0; streamed < 2; streamed++) {
        ZipBytes zip = zip_build(parts, 3, streamed);
        ZipStore store;
        for (size_t count = 0; count < zip.count; count++)
            assert_int_equal(open_bytes(&store, place, zip.data, count, NULL), -1);
        for (size_t at = 0; at < zip.count * sizeof values; at++) {
            uint8_t *byte = &zip.data[at / sizeof values], kept = *byte;
            *byte = values[at % sizeof values];
            if (!open_bytes(&store, place, zip.data, zip.count, NULL))
                for (size_t i = 0; i < store.count; i++)
                    (void)hash_bytes(store.entries[i].data, store.entries[i].bytes);
            zip_store_close(&store);
            *byte = kept;
        }
        free(zip.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_opens, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_empty_and_missing, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_lies, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_overlaps_and_names, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_wide_entry, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_damage, make_place, drop_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
