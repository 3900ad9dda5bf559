/* safetensors: round trips, the published files, and headers that lie. */
#include "base/file.h"
#include "base/safetensors.h"
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
    place->path = path_join(place->folder, "weights.safetensors");
    return 0;
}

static int drop_place(void **state) {
    Place *place = *state;
    int result = folder_remove(place->folder, NULL);
    free(place->path);
    free(place);
    return result;
}

static const float weights[6] = {0, -1.5f, 2, 1e-30f, 4, 5};
static const double biases[2] = {0.1, -7};
static const uint8_t flags[3] = {1, 0, 1};
static const int64_t step = -12;

#define SAMPLE                                                                                     \
    {                                                                                              \
        {.name = "encoder.weight",                                                                 \
         .type = TENSOR_F32,                                                                       \
         .dims = 2,                                                                                \
         .shape = {2, 3},                                                                          \
         .data = weights,                                                                          \
         .bytes = sizeof weights},                                                                 \
            {.name = "a \"quoted\" \\ n\xc3\xa9",                                                  \
             .type = TENSOR_BOOL,                                                                  \
             .dims = 1,                                                                            \
             .shape = {3},                                                                         \
             .data = flags,                                                                        \
             .bytes = sizeof flags},                                                               \
            {.name = "empty", .type = TENSOR_BF16, .dims = 3, .shape = {4, 0, 2}, .data = NULL},   \
            {.name = "bias",                                                                       \
             .type = TENSOR_F64,                                                                   \
             .dims = 1,                                                                            \
             .shape = {2},                                                                         \
             .data = biases,                                                                       \
             .bytes = sizeof biases},                                                              \
        {                                                                                          \
            .name = "step", .type = TENSOR_I64, .dims = 0, .data = &step, .bytes = sizeof step     \
        }                                                                                          \
    }

static void test_round_trip(void **state) {
    Place *place = *state;
    Error error = {0};
    TensorInfo tensors[] = SAMPLE;
    Hash hashes[5];
    assert_int_equal(safetensors_write(place->path, tensors, 5, hashes, &error), 0);
    Safetensors file;
    assert_int_equal(safetensors_open(&file, place->path, &error), 0);
    assert_int_equal(file.count, 5);
    for (size_t i = 0; i < 5; i++) {
        const TensorInfo *t = safetensors_find(&file, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, tensors[i].type);
        assert_int_equal(t->dims, tensors[i].dims);
        assert_memory_equal(t->shape, tensors[i].shape, sizeof t->shape);
        assert_int_equal(t->bytes, tensors[i].bytes);
        if (t->bytes)
            assert_memory_equal(t->data, tensors[i].data, t->bytes);
        assert_string_equal(file.tensors[i].name, tensors[i].name); /* in the order given */
        Hash hash = hash_bytes(t->data, t->bytes);
        assert_true(hash_same(&hash, &hashes[i]));
    }
    float out[6];
    assert_int_equal(safetensors_floats(out, 6, &file, "encoder.weight", &error), 0);
    assert_memory_equal(out, weights, sizeof weights);
    assert_int_equal(safetensors_floats(out, 2, &file, "bias", &error), 0);
    assert_true(out[0] == 0.1f && out[1] == -7);
    assert_int_equal(safetensors_floats(out, 5, &file, "encoder.weight", &error), -1);
    assert_non_null(strstr(error.text, "6 values, expected 5"));
    assert_int_equal(safetensors_floats(out, 1, &file, "step", &error), -1);
    assert_non_null(strstr(error.text, "I64"));
    assert_int_equal(safetensors_floats(out, 1, &file, "nobody", &error), -1);
    assert_non_null(strstr(error.text, "nobody"));
    assert_null(safetensors_find(&file, "nobody"));
    safetensors_close(&file);
    safetensors_close(&file);
}

/* Notes come back, are sorted in the file whatever the order given, and hide no tensor. */
static void test_notes(void **state) {
    Place *place = *state;
    Error error = {0};
    TensorInfo tensors[] = SAMPLE;
    TensorNote notes[] = {{"step", "12"}, {"family", "V-JEPA 2 \"\xc3\xa9\"\n"}, {"empty", ""}};
    uint8_t *first, *second;
    size_t count, again;
    Safetensors file;
    assert_int_equal(safetensors_write_noted(place->path, tensors, 5, notes, 3, NULL, &error), 0);
    assert_int_equal(file_read(&first, &count, place->path, 1 << 20, &error), 0);
    assert_int_equal(safetensors_open(&file, place->path, &error), 0);
    assert_int_equal(file.count, 5);
    assert_int_equal(file.notes_count, 3);
    assert_string_equal(file.notes[0].key, "empty");
    assert_string_equal(file.notes[2].key, "step");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(safetensors_note(&file, notes[i].key), notes[i].value);
    assert_null(safetensors_note(&file, "nothing"));
    safetensors_close(&file);
    TensorNote turned = notes[0];
    notes[0] = notes[2];
    notes[2] = turned;
    assert_int_equal(safetensors_write_noted(place->path, tensors, 5, notes, 3, NULL, &error), 0);
    assert_int_equal(file_read(&second, &again, place->path, 1 << 20, &error), 0);
    assert_int_equal(count, again);
    assert_memory_equal(first, second, count);
    free(first);
    free(second);
    notes[1].value = "\xff";
    assert_int_equal(safetensors_write_noted(place->path, tensors, 5, notes, 3, NULL, &error), -1);
    assert_non_null(strstr(error.text, "UTF-8"));
}

/* 16-bit sources at odd places: 1, -2, the smallest float16, 65504; 1, -3.140625, infinity. */
static void test_half_floats(void **state) {
    Place *place = *state;
    Error error = {0};
    const uint16_t halves[4] = {0x3c00, 0xc000, 0x0001, 0x7bff},
                   brains[3] = {0x3f80, 0xc049, 0x7f80};
    const float expected[4] = {1, -2, 0x1p-24f, 65504}, brain[3] = {1, -3.140625f, INFINITY};
    TensorInfo tensors[] = {
        {.name = "odd", .type = TENSOR_U8, .dims = 1, .shape = {1}, .data = flags, .bytes = 1},
        {.name = "h", .type = TENSOR_F16, .dims = 1, .shape = {4}, .data = halves, .bytes = 8},
        {.name = "b", .type = TENSOR_BF16, .dims = 1, .shape = {3}, .data = brains, .bytes = 6}};
    Safetensors file;
    assert_int_equal(safetensors_write(place->path, tensors, 3, NULL, &error), 0);
    assert_int_equal(safetensors_open(&file, place->path, &error), 0);
    float out[4];
    assert_int_equal(safetensors_floats(out, 4, &file, "h", &error), 0);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(safetensors_floats(out, 3, &file, "b", &error), 0);
    assert_memory_equal(out, brain, sizeof brain);
    safetensors_close(&file);
}

static void test_same_bytes(void **state) {
    Place *place = *state;
    Error error = {0};
    TensorInfo tensors[] = SAMPLE;
    Hash hashes[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(safetensors_write(place->path, tensors, 5, NULL, &error), 0);
        assert_int_equal(hash_file(&hashes[i], place->path, &error), 0);
    }
    assert_true(hash_same(&hashes[0], &hashes[1]));
    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, place->path, 10000, &error), 0);
    assert_int_equal(bytes[0] % 8, 0); /* the data start at a multiple of eight */
    assert_int_equal(bytes[8], '{');
    free(bytes);
}

/* The bytes, counted by hand: the header is 58 long and padded to 64. */
static void test_exact_bytes(void **state) {
    Place *place = *state;
    const uint8_t data[4] = {1, 2, 3, 4};
    TensorInfo tensor = {.name = "wei",
                         .type = TENSOR_I16,
                         .dims = 2,
                         .shape = {1, 2},
                         .data = data,
                         .bytes = sizeof data};
    const char expected[] = "\x40\0\0\0\0\0\0\0"
                            "{\"wei\":{\"dtype\":\"I16\",\"shape\":[1,2],\"data_offsets\":[0,4]}}"
                            "      \1\2\3\4";
    uint8_t *bytes;
    size_t count;
    assert_int_equal(safetensors_write(place->path, &tensor, 1, NULL, NULL), 0);
    assert_int_equal(file_read(&bytes, &count, place->path, 1000, NULL), 0);
    assert_int_equal(count, sizeof expected - 1);
    assert_memory_equal(bytes, expected, count);
    free(bytes);
}

static void test_no_tensors(void **state) {
    Place *place = *state;
    Error error = {0};
    Safetensors file;
    assert_int_equal(safetensors_write(place->path, NULL, 0, NULL, &error), 0);
    assert_int_equal(safetensors_open(&file, place->path, &error), 0);
    assert_int_equal(file.count, 0);
    assert_null(safetensors_find(&file, "x"));
    safetensors_close(&file);
}

static void test_types(void **state) {
    (void)state;
    const char *names[] = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"};
    const size_t sizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1};
    for (int i = 0; i < 10; i++) {
        assert_string_equal(tensor_type_name((TensorType)i), names[i]);
        assert_int_equal(tensor_type_bytes((TensorType)i), sizes[i]);
    }
}

/* Writes length field, header and `data_bytes` zeros, and opens it. */
static int open_header(Place *place, const char *header, size_t data_bytes, Error *error) {
    size_t length = strlen(header), count = 8 + length + data_bytes;
    uint8_t *bytes = memory_new(count, 1);
    bytes[0] = (uint8_t)length;
    bytes[1] = (uint8_t)(length >> 8);
    memcpy(bytes + 8, header, length);
    Safetensors file;
    int result = file_write(place->path, bytes, count, error);
    free(bytes);
    assert_int_equal(result, 0);
    result = safetensors_open(&file, place->path, error);
    if (!result)
        safetensors_close(&file);
    return result;
}

static void test_accepted_headers(void **state) {
    static const struct {
        const char *header;
        size_t data_bytes;
    } cases[] = {{"{}", 0},
                 {"{}      ", 0},
                 {"{\"__metadata__\":{\"format\":\"pt\"}}", 0},
                 {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4},
                 {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
                  "\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                  3}, /* any order in the header */
                 {"{\"b\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[2,2]},"
                  "\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]},"
                  "\"c\":{\"dtype\":\"I16\",\"shape\":[0,9],\"data_offsets\":[0,0]}}",
                  2}};
    Error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (open_header(*state, cases[i].header, cases[i].data_bytes, &error))
            fail_msg("%s: %s", cases[i].header, error.text);
}

static void test_refused_headers(void **state) {
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *word;
    } cases[] = {
        {"", 0, "no sound"},
        {"[]", 0, "no JSON object"},
        {"{", 0, "no sound"},
        {"{} x", 0, "no sound"},
        {"\xff\xfe", 0, "no sound"},
        {"{}", 1, "bytes after the last tensor"},
        {"{\"__metadata__\":5}", 0, "no description"},
        {"{\"a\":5}", 0, "no description"},
        {"{\"a\":{}}", 0, "unknown dtype"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype"},
        {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", 4, "no shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
         "8 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
         "impossible shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4,
         "impossible shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4,
         "impossible shape"},
        /* 2^32 * 2^32 * 4 wraps to nothing */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
         "impossible shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
         "impossible shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4, "outside the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
         "outside the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,3]}}", 4, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not fit"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
         6, "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
         4, "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
         3, "gap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "gap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2, "after the last"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, "uplicate"}};
    Place *place = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        assert_int_equal(open_header(place, cases[i].header, cases[i].data_bytes, &error), -1);
        if (!strstr(error.text, cases[i].word) || !strstr(error.text, place->path))
            fail_msg("%s: expected \"%s\" in \"%s\"", cases[i].header, cases[i].word, error.text);
    }
}

static void test_length_field(void **state) {
    Place *place = *state;
    const uint8_t lengths[][8] = {{3},
                                  {0, 0, 0, 0, 1},
                                  {0, 0, 0, 0, 0, 0, 0, 0x80},
                                  {255, 255, 255, 255, 255, 255, 255, 255}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t bytes[10];
        memcpy(bytes, lengths[i], 8);
        memcpy(bytes + 8, "{}", 2);
        Error error = {0};
        Safetensors file;
        assert_int_equal(file_write(place->path, bytes, sizeof bytes, &error), 0);
        assert_int_equal(safetensors_open(&file, place->path, &error), -1);
        assert_non_null(strstr(error.text, "longer than the file"));
        safetensors_close(&file); /* allowed after a failure */
    }
}

static void test_truncations(void **state) {
    Place *place = *state;
    Error error = {0};
    TensorInfo tensors[] = SAMPLE;
    assert_int_equal(safetensors_write(place->path, tensors, 5, NULL, &error), 0);
    struct stat about;
    assert_int_equal(stat(place->path, &about), 0);
    for (off_t length = about.st_size - 1; length >= 0; length--) {
        Safetensors file;
        assert_int_equal(truncate(place->path, length), 0);
        assert_int_equal(safetensors_open(&file, place->path, &error), -1);
    }
}

/* Any one damaged byte of the header: refused, or opened with every tensor inside the file. */
static void test_damaged_bytes(void **state) {
    Place *place = *state;
    Error error = {0};
    TensorInfo tensors[] = SAMPLE;
    assert_int_equal(safetensors_write(place->path, tensors, 5, NULL, &error), 0);
    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, place->path, 10000, &error), 0);
    const uint8_t values[] = {0, '9', '-', '}', ',', 0xff};
    for (size_t at = 0; at < count; at++) {
        uint8_t kept = bytes[at];
        bytes[at] = values[at % sizeof values];
        FILE *out = fopen(place->path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, count, out), count);
        assert_int_equal(fclose(out), 0);
        Safetensors file;
        if (!safetensors_open(&file, place->path, &error)) {
            for (size_t i = 0; i < file.count; i++)
                (void)hash_bytes(file.tensors[i].data, file.tensors[i].bytes);
            safetensors_close(&file);
        }
        bytes[at] = kept;
    }
    free(bytes);
}

static void test_missing(void **state) {
    Place *place = *state;
    Safetensors file;
    Error error = {0};
    assert_int_equal(safetensors_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(safetensors_open(&file, place->folder, &error), -1);
    assert_non_null(strstr(error.text, place->folder));
    assert_non_null(strstr(error.text, "not a plain file"));
    TensorInfo tensors[] = SAMPLE;
    char *below = path_join(place->path, "x");
    assert_int_equal(safetensors_write(below, tensors, 5, NULL, &error), -1);
    assert_non_null(strstr(error.text, below));
    free(below);
}

/* Files that the published Python library wrote. */
static void test_published_files(void **state) {
    (void)state;
    glob_t found = {0};
    if (glob(JEPA_SOURCE_DIR "/../shared/reference/*/*.safetensors", 0, NULL, &found)) {
        globfree(&found);
        print_message("no reference files beside the sources: skipped\n");
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        Safetensors file;
        Error error = {0};
        if (safetensors_open(&file, found.gl_pathv[i], &error))
            fail_msg("%s", error.text);
        assert_true(file.count > 0);
        for (size_t t = 0; t < file.count; t++) {
            size_t values = 1;
            for (int d = 0; d < file.tensors[t].dims; d++)
                values *= (size_t)file.tensors[t].shape[d];
            assert_int_equal(values * tensor_type_bytes(file.tensors[t].type),
                             file.tensors[t].bytes);
        }
        safetensors_close(&file);
    }
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_notes, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_half_floats, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_same_bytes, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_exact_bytes, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_no_tensors, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_accepted_headers, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_refused_headers, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_length_field, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_truncations, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_damaged_bytes, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_missing, make_place, drop_place),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_published_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
