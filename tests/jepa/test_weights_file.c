/* Weights from elsewhere: the same bits under our names from every kind of file, and every lie
 * refused by name. */
#include "jepa/weights_file.h"
#include "tests/base/zip_bytes.h"
#include "tests/jepa/reference_weights.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[40];
    TensorList own; /* vjepa2_tiny, or two small tensors where there are no references */
    bool reference;
} Place;

static int setup(void **state) {
    Place *p = memory_new(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/jepa-weights-XXXXXX");
    *state = p;
    if (!mkdtemp(p->folder))
        return -1;
    p->reference = !tensors_take(&p->own, REFERENCE "/vjepa2_tiny/weights.safetensors", "", "");
    return 0;
}

static int teardown(void **state) {
    Place *p = *state;
    Error error = {0};
    tensors_free(&p->own);
    int result = folder_remove(p->folder, &error);
    free(p);
    return result;
}

/* Every tensor of `own` that begins with `prefix` is in the file with the same bits. */
static void expect_same(const WeightsFile *file, const TensorList *own, const char *prefix) {
    size_t seen = 0;
    Error error = {0};
    for (size_t i = 0; i < own->count; i++) {
        const TensorInfo *t = &own->items[i];
        if (strncmp(t->name, prefix, strlen(prefix)))
            continue;
        const WeightsTensor *found = weights_file_find(file, t->name);
        if (!found)
            fail_msg("no %s", t->name);
        assert_int_equal(found->dims, t->dims);
        assert_memory_equal(found->shape, t->shape, (size_t)t->dims * sizeof *t->shape);
        float *values = memory_new((size_t)found->count, sizeof *values);
        assert_int_equal(weights_tensor_floats(values, found, false, &error), 0);
        assert_memory_equal(values, t->data, t->bytes);
        free(values);
        seen++;
    }
    assert_true(seen > 0);
}

static void expect_refused(const char *path, const char *message) {
    WeightsFile file;
    Error error = {0};
    assert_int_equal(weights_file_open(&file, path, &error), -1);
    if (!strstr(error.text, message))
        fail_msg("\"%s\" is not in: %s", message, error.text);
    assert_null(strchr(error.text, '\n'));
}

static void test_published(void **state) {
    Place *p = *state;
    static const char *const paths[] = {"checkpoint.pt", "weights.safetensors"};
    if (!p->reference)
        skip();
    for (int k = 0; k < 2; k++) {
        WeightsFile file;
        Error error = {0};
        char *path = path_join(REFERENCE "/vjepa2_tiny", paths[k]);
        assert_int_equal(weights_file_open(&file, path, &error), 0);
        assert_int_equal(file.count, p->own.count);
        expect_same(&file, &p->own, "");
        int heads = 0;
        assert_int_equal(weights_file_config(&heads, &file, "heads", NULL, 1, 9, &error), 0);
        assert_int_equal(heads, 3);
        assert_int_equal(weights_file_config(&heads, &file, "none", "dim", 1, 9, &error), -1);
        assert_non_null(strstr(error.text, "dim: expected a whole number from 1 to 9"));
        if (!k) /* opt, scaler and the numbers are told */
            assert_true(file.unused_count >= 5);
        weights_file_close(&file);
        free(path);
    }
}

static void test_hugging_face(void **state) {
    Place *p = *state;
    Error error = {0};
    WeightsFile file;
    Hash one, two;
    if (!p->reference)
        skip();
    for (int k = 0; k < 4; k++) { /* sharded or not, VJEPA2Model or a classifier's */
        TensorList theirs = tensors_hugging_face(&p->own, k & 1 ? "vjepa2." : "");
        char *folder = memory_text("%s/hf%d", p->folder, k);
        assert_int_equal(folder_make(folder, &error), 0);
        text_write(folder, "config.json", "{\"hidden_size\": 96}");
        if (k & 2)
            assert_int_equal(tensors_write_sharded(&theirs, folder), 0);
        else
            assert_int_equal(tensors_write(&theirs, 0, theirs.count, folder, "model.safetensors"),
                             0);
        assert_int_equal(weights_file_open(&file, folder, &error), 0);
        expect_same(&file, &p->own, "encoder.");
        expect_same(&file, &p->own, "predictor.");
        assert_false(weights_file_has(&file, "target_encoder."));
        assert_int_equal(weights_file_hash(k & 1 ? &two : &one, &file, &error), 0);
        weights_file_close(&file);
        if (k == 3) { /* the names are in the shards: another hash */
            assert_false(hash_same(&one, &two));
            char *index = path_join(folder, "model.safetensors.index.json");
            assert_int_equal(weights_file_open(&file, index, &error), 0);
            expect_same(&file, &p->own, "encoder.");
            weights_file_close(&file);
            free(index);
        }
        assert_int_equal(folder_remove(folder, &error), 0);
        tensors_free(&theirs);
        free(folder);
    }
}

/* Writes the list as a file and expects a refusal. */
static void refuse_list(const Place *p, const TensorList *list, const char *message) {
    char *path = path_join(p->folder, "x.safetensors");
    assert_int_equal(tensors_write(list, 0, list->count, p->folder, "x.safetensors"), 0);
    expect_refused(path, message);
    free(path);
}

static void test_names(void **state) {
    Place *p = *state;
    const float values[6] = {1, 2, 3, 4, 5, 6};
    const int64_t two = 2, shape[2] = {1, 2};
    TensorList list = {0};
    Error error = {0};
    WeightsFile file;
    tensors_put(&list, "module.backbone.encoder.module.norm.weight", 1, &two, values, 8);
    tensors_put(&list, "encoder.backbone.module.blocks.3.norm1.weight", 1, &two, values, 8);
    tensors_put(&list, "ema_encoder.module.norm.bias", 1, &two, values + 2, 8);
    tensors_put(&list, "target_encoder.module.norm.bias", 1, &two, values, 8);
    tensors_put(&list, "classifiers.12.module.pooler.query_tokens", 1, &two, values, 8);
    tensors_put(&list, "classifier.bias", 1, &two, values, 8);
    tensors_put(&list, "pooler.cross_attention_layer.cross_attn.v_proj.weight", 2, shape,
                values + 4, 8);
    tensors_put(&list, "pooler.cross_attention_layer.cross_attn.k_proj.weight", 2, shape,
                values + 2, 8);
    tensors_put(&list, "opt.state.0", 1, &two, values, 8);
    tensors_put(&list, "opt.state.1", 1, &two, values, 8);
    assert_int_equal(tensors_write(&list, 0, list.count, p->folder, "x.safetensors"), 0);
    char *path = path_join(p->folder, "x.safetensors");
    assert_int_equal(weights_file_open(&file, path, &error), 0);
    static const char *const names[] = {"classifier.0.linear.bias",
                                        "classifier.0.pooler.cross_attention_block.xattn.kv.weight",
                                        "classifier.12.pooler.query_tokens",
                                        "encoder.blocks.3.norm1.weight",
                                        "encoder.norm.weight",
                                        "target_encoder.norm.bias"};
    assert_int_equal(file.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(file.tensors[i].name, names[i]);
    float out[4];
    assert_int_equal(weights_tensor_floats(out, &file.tensors[1], false, &error), 0);
    assert_memory_equal(out, values + 2, sizeof out); /* keys, then values */
    assert_int_equal(file.tensors[1].shape[0], 2);
    assert_int_equal(weights_tensor_floats(out, &file.tensors[5], false, &error), 0);
    assert_memory_equal(out, values + 2, 8); /* the average, not the student's teacher */
    assert_int_equal(file.unused_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(file.unused[i].tensors, file.unused[i].kind[0] == 'o' ? 2 : 1);
    assert_true(weights_file_has(&file, "encoder.b"));
    assert_false(weights_file_has(&file, "encoder.c"));
    weights_file_close(&file);
    tensors_free(&list);
    free(path);
}

static void test_refusals(void **state) {
    Place *p = *state;
    const float values[4] = {1, NAN, 3, 4};
    const int64_t two = 2, four = 4, tokens[4] = {1, 2, 1, 2};
    TensorList list = {0};
    Error error = {0};
    tensors_put(&list, "encoder.norm.weight", 1, &two, values, 8);
    tensors_put(&list, "encoder.module.norm.weight", 1, &two, values, 8);
    refuse_list(p, &list, "encoder.module.norm.weight and encoder.norm.weight are both");
    tensors_drop(&list, "encoder.module");
    list.items[0].type = TENSOR_I32;
    refuse_list(p, &list, "encoder.norm.weight is I32");
    tensors_free(&list);
    tensors_put(&list, "encoder.layer.0.attention.query.bias", 1, &two, values, 8);
    tensors_put(&list, "encoder.layer.0.attention.key.bias", 1, &two, values, 8);
    refuse_list(p, &list, "of which 2 are there");
    tensors_put(&list, "encoder.layer.0.attention.value.bias", 1, &four, values, 16);
    refuse_list(p, &list, "differ in shape");
    tensors_drop(&list, "encoder.layer.0.attention.value");
    tensors_put(&list, "encoder.blocks.0.attn.qkv.bias", 1, &four, values, 16);
    refuse_list(p, &list, "are both encoder.blocks.0.attn.qkv.bias");
    tensors_free(&list);
    tensors_put(&list, "predictor.embeddings.mask_tokens", 4, tokens, values, 16);
    refuse_list(p, &list, "mask_tokens: expected a shape [n,1,1,width]");
    tensors_free(&list);
    /* no numbers */
    tensors_put(&list, "encoder.norm.weight", 1, &four, values, 16);
    assert_int_equal(tensors_write(&list, 0, 1, p->folder, "x.safetensors"), 0);
    char *path = path_join(p->folder, "x.safetensors");
    WeightsFile file;
    float out[4];
    assert_int_equal(weights_file_open(&file, path, &error), 0);
    assert_int_equal(weights_tensor_floats(out, file.tensors, true, &error), 0);
    assert_int_equal(weights_tensor_floats(out, file.tensors, false, &error), -1);
    assert_non_null(strstr(error.text, "encoder.norm.weight: value 1 is"));
    weights_file_close(&file);
    expect_refused("/nowhere", "no such file");
    text_write(p->folder, "x.safetensors", "PK");
    expect_refused(path, "empty or cut short");
    text_write(p->folder, "x.safetensors", "\x80\x02}q.");
    expect_refused(path, "before 1.6");
    tensors_free(&list);
    free(path);
}

static void test_shards(void **state) {
    Place *p = *state;
    const float values[2] = {1, 2};
    const int64_t two = 2;
    TensorList list = {0};
    Error error = {0};
    char *folder = path_join(p->folder, "hf");
    assert_int_equal(folder_make(folder, &error), 0);
    expect_refused(folder, "expected model.safetensors");
    tensors_put(&list, "encoder.norm.weight", 1, &two, values, 8);
    assert_int_equal(tensors_write(&list, 0, 1, folder, "a.safetensors"), 0);
    assert_int_equal(tensors_write(&list, 0, 1, folder, "b.safetensors"), 0);
    const char *index = "model.safetensors.index.json";
    static const char *const outside[] = {"../a.safetensors", "/a.safetensors", "a/b.safetensors",
                                          ".a.safetensors",   "config.json",    ""};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char *text = memory_text("{\"weight_map\": {\"encoder.norm.weight\": \"%s\"}}", outside[i]);
        text_write(folder, index, text);
        expect_refused(folder, "in the same folder");
        free(text);
    }
    text_write(folder, index, "{\"weight_map\": {\"encoder.norm.weight\": 3}}");
    expect_refused(folder, "in the same folder");
    text_write(folder, index, "{\"weight_map\": {}}");
    expect_refused(folder, "no weight_map");
    text_write(folder, index, "[1]");
    expect_refused(folder, "expected a JSON object");
    text_write(folder, index, "{\"weight_map\": {\"encoder.norm.bias\": \"a.safetensors\"}}");
    expect_refused(folder, "1 more that are not there");
    text_write(folder, index,
               "{\"weight_map\": {\"encoder.norm.weight\": \"a.safetensors\", \"x\": "
               "\"c.safetensors\"}}");
    expect_refused(folder, "c.safetensors");
    text_write(folder, index,
               "{\"weight_map\": {\"encoder.norm.weight\": \"a.safetensors\", \"x\": "
               "\"b.safetensors\"}}");
    expect_refused(folder, "b.safetensors has 1 tensors");
    text_write(folder, index, "{\"weight_map\": {\"encoder.norm.weight\": \"a.safetensors\"}}");
    WeightsFile file;
    assert_int_equal(weights_file_open(&file, folder, &error), 0);
    weights_file_close(&file);
    text_write(folder, "config.json", "{\"heads\": 99999999999999999999999999}");
    expect_refused(folder, "config.json:1: ");
    assert_int_equal(folder_remove(folder, &error), 0);
    tensors_free(&list);
    free(folder);
}

/* A PyTorch tensor whose strides of zero repeat one value claims more than its file holds. */
static void test_repeated(void **state) {
    Place *p = *state;
    static const char pickle[] =
        "\x80\2}(X\x13\0\0\0encoder.norm.weight"
        "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\1tQK\0J\xff\xff\xff\x7f\x85K\0\x85\x89"
        "ccollections\nOrderedDict\n)RtRu.";
    const float one = 1;
    const ZipPart parts[] = {{"x/data.pkl", pickle, sizeof pickle - 1},
                             {"x/data/0", &one, sizeof one},
                             {"x/version", "3\n", 2}};
    ZipBytes zip = zip_build(parts, 3, true);
    char *path = path_join(p->folder, "x.pt");
    Error error = {0};
    assert_int_equal(file_write(path, zip.data, zip.count, &error), 0);
    expect_refused(path, "more than the file has bytes for");
    free(zip.data);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_published, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hugging_face, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
