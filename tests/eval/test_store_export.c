/* Exports of feature stores: .npy and safetensors hold what the store holds, without the videos
 * that have no features, and only appear whole. Their videos: synth_write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/safetensors.h"
#include "base/yaml.h"
#include "eval/store_export.h"
#include "tests/eval/store_fixture.h"
#include <sys/stat.h>

#define BROKEN 2 /* the video that has no features */

typedef struct Array {
    uint8_t *bytes;
    const uint8_t *data;
    size_t count; /* bytes of data */
} Array;

/* A .npy file whose header must be just this. */
static Array read_npy(const Fixture *f, const char *name, const char *header) {
    Array a = {0};
    size_t size;
    a.bytes = fixture_read(&size, f, "npy", name);
    assert_true(size > 10 && !memcmp(a.bytes, "\x93NUMPY\x01\x00", 8));
    size_t length = a.bytes[8] + 256u * a.bytes[9], wanted = strlen(header);
    assert_int_equal((10 + length) % 64, 0);
    assert_memory_equal(a.bytes + 10, header, wanted);
    for (size_t i = wanted; i + 1 < length; i++)
        assert_int_equal(a.bytes[10 + i], ' ');
    assert_int_equal(a.bytes[10 + length - 1], '\n');
    a.data = a.bytes + 10 + length;
    a.count = size - 10 - length;
    return a;
}

/* A store of all videos but one, whose name has quotes and is no UTF-8. */
static void write_store(Fixture *f, Store *store, bool pooled, StoreType type, int segments) {
    Error error = {0};
    StoreReport report;
    char *strange = memory_text("%s/videos/%s", f->folder, "a \"\xff\\\xc3\xa9.mp4");
    if (!file_exists(strange)) {
        fixture_run(f, "mv \"$(find videos -name '*.mp4' | sort | head -n 1)\" \"$(printf "
                       "'videos/a \"\\377\\\\\\303\\251.mp4')\"");
        assert_true(file_exists(strange));
        video_index_free(&f->index);
        char *path = path_join(f->folder, "videos");
        assert_int_equal(video_index_build(&f->index, path, 2, &error), 0);
        free(path);
        VideoFile broken = video_index_file(&f->index, f->index.usable_files[BROKEN]);
        assert_int_equal(file_write(broken.path, "gone", 4, &error), 0);
    }
    free(strange);
    f->views.segments = f->views.views = segments;
    StoreAbout about = fixture_about(f, pooled, type);
    fixture_run(f, "rm -rf store npy f.safetensors");
    if (fixture_write(&report, f, "store", &about, 2, &error))
        fail_msg("%s", error.text);
    store_about_free(&about);
    fixture_open(store, f, "store");
}

static void check_json(const Fixture *f, const char *text) {
    Error error = {0};
    YamlNode *root;
    /* lone surrogates are no YAML: another name stands in for theirs */
    const char *strange = "\"a \\\"\\udcff\\\\\\udcc3\\udca9.mp4\"";
    char *plain = memory_text("%s", text), *at = strstr(plain, strange);
    assert_non_null(at);
    memset(at + 1, 'x', strlen(strange) - 2);
    if (yaml_parse(&root, plain, strlen(plain), "videos.json", &error))
        fail_msg("%s", error.text);
    assert_int_equal(yaml_find(root, "names")->count, VIDEOS - 1);
    assert_int_equal(yaml_find(root, "left_out")->count, 1);
    assert_string_equal(yaml_find(root, "left_out")->items[0]->text,
                        video_index_name(&f->index, f->index.usable_files[BROKEN]));
    assert_string_equal(yaml_find(root, "names")->items[BROKEN]->text,
                        video_index_name(&f->index, f->index.usable_files[BROKEN + 1]));
    yaml_release(root);
    free(plain);
}

static void tokens(void **state) {
    Fixture *f = *state;
    Error error = {0};
    Store store;
    StoreExport exported;
    write_store(f, &store, false, STORE_FLOAT16, 2);
    char *npy = path_join(f->folder, "npy/"), *file = path_join(f->folder, "f.safetensors");
    assert_int_equal(store_export_npy(&exported, &store, npy, &error), 0);
    assert_int_equal(exported.left_out, 1);
    assert_string_equal(exported.type, "float16");
    Array features = read_npy(f, "features.npy",
                              "{'descr': '<f2', 'fortran_order': False, 'shape': (28, 8, 24), }");
    Array labels = read_npy(f, "labels.npy",
                            "{'descr': '<i8', 'fortran_order': False, 'shape': (28,), }");
    assert_int_equal(features.count, 28 * 8 * 24 * 2);
    assert_int_equal(labels.count, 28 * 8);
    assert_int_equal(store_export_safetensors(&exported, &store, file, &error), 0);
    Safetensors tensors;
    assert_int_equal(safetensors_open(&tensors, file, &error), 0);
    const TensorInfo *t = safetensors_find(&tensors, "features"),
                     *l = safetensors_find(&tensors, "labels"),
                     *v = safetensors_find(&tensors, "videos");
    assert_true(t && t->type == TENSOR_F16 && t->dims == 3 && t->shape[0] == 28 &&
                t->shape[1] == 8 && t->shape[2] == 24);
    assert_true(l && l->type == TENSOR_I64 && l->dims == 1 && l->shape[0] == 28);
    assert_memory_equal(t->data, features.data, features.count);
    assert_memory_equal(l->data, labels.data, labels.count);
    for (int row = 0; row < 28; row++) {
        int64_t video = row / 4 + (row / 4 >= BROKEN), label;
        assert_memory_equal(features.data + row * 8 * 24 * 2, store_clip(&store, video, row % 4),
                            8 * 24 * 2);
        memcpy(&label, labels.data + row * 8, sizeof label);
        assert_int_equal(label, store.labels[video]);
    }
    size_t count;
    uint8_t *json = fixture_read(&count, f, "npy", "videos.json");
    assert_int_equal(v->bytes, count);
    assert_memory_equal(v->data, json, count);
    check_json(f, (const char *)json);
    safetensors_close(&tensors);
    /* neither is written over */
    assert_int_equal(store_export_npy(&exported, &store, npy, &error), -1);
    assert_non_null(strstr(error.text, "is there already"));
    assert_int_equal(store_export_safetensors(&exported, &store, file, &error), -1);
    assert_non_null(strstr(error.text, "is there already"));
    store_close(&store);
    free(json);
    free(features.bytes);
    free(labels.bytes);
    free(npy);
    free(file);
}

/* bfloat16, which NumPy does not know; means of several clips; one clip, as it is stored. */
static void other_numbers(void **state) {
    Fixture *f = *state;
    char *npy = path_join(f->folder, "npy"), *file = path_join(f->folder, "f.safetensors");
    for (int k = 0; k < 3; k++) {
        Error error = {0};
        Store store;
        StoreExport exported;
        Safetensors tensors;
        write_store(f, &store, k > 0, k == 1 ? STORE_FLOAT16 : STORE_BFLOAT16, k == 2 ? 1 : 2);
        assert_int_equal(store_export_npy(&exported, &store, npy, &error), 0);
        assert_string_equal(exported.type, "float32");
        assert_int_equal(store_export_safetensors(&exported, &store, file, &error), 0);
        assert_string_equal(exported.type, k == 1 ? "float32" : "bfloat16");
        assert_int_equal(safetensors_open(&tensors, file, &error), 0);
        static const char *const shapes[] = {"28, 8, 24", "7, 24", "7, 24"};
        char *header = memory_text("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }",
                                   shapes[k]);
        Array features = read_npy(f, "features.npy", header);
        size_t values = features.count / 4;
        assert_int_equal(values, k ? 7 * 24 : 28 * 8 * 24);
        float *same = memory_new(values, sizeof *same), one[8 * 24];
        assert_int_equal(safetensors_floats(same, values, &tensors, "features", &error), 0);
        assert_memory_equal(same, features.data, features.count);
        int64_t video = 3; /* the third row of videos */
        if (k == 1)
            store_video_mean(one, &store, video);
        else
            store_floats(one, &store, video, 0);
        size_t width = k ? 24 : 8 * 24, clips = k ? 1 : 4;
        assert_memory_equal(same + 2 * clips * width, one, width * sizeof *one);
        safetensors_close(&tensors);
        store_close(&store);
        free(features.bytes);
        free(header);
        free(same);
    }
    free(npy);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tokens, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(other_numbers, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
