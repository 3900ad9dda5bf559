/* jepa import, the whole way: what lies in the checkpoint afterwards has the bits of the reference
 * weights, from whichever file they came; what is refused leaves nothing behind. */
#include "eval/probe_weights.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "tests/jepa/reference_weights.h"
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[40];
    TensorList own[2];
    bool reference;
} Place;

static const char *const references[2] = {"vjepa1_tiny", "vjepa2_tiny"};

static int setup(void **state) {
    Place *p = memory_new(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/jepa-import-XXXXXX");
    *state = p;
    if (!mkdtemp(p->folder))
        return -1;
    p->reference = !tensors_take(&p->own[0], REFERENCE "/vjepa1_tiny/weights.safetensors", "",
                                 "") &&
                   !tensors_take(&p->own[1], REFERENCE "/vjepa2_tiny/weights.safetensors", "", "");
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk) {
    (void)about, (void)type, (void)walk;
    return remove(path);
}

static int teardown(void **state) {
    Place *p = *state;
    tensors_free(&p->own[0]);
    tensors_free(&p->own[1]);
    nftw(p->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

/* jepa import FILE --out PLACE/out OPTIONS, what it says into PLACE/said; its exit code. */
static int run_import(const Place *p, const char *file, const char *options) {
    char *line = memory_text("%s import '%s' --out %s/out %s >%s/said 2>%s/error", JEPA_PROGRAM,
                             file, p->folder, options, p->folder, p->folder);
    int status = system(line);
    free(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *said(const Place *p, const char *name) {
    uint8_t *bytes = NULL;
    size_t count;
    Error error = {0};
    char *path = path_join(p->folder, name);
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    free(path);
    return (char *)bytes;
}

static void drop_out(const Place *p) {
    char *out = path_join(p->folder, "out");
    nftw(out, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(out);
}

/* The checkpoint's tensors `to`... have the bits of the list's `from`...; all of them, and it
 * verifies. */
static void expect_bits(const Place *p, const TensorList *own, const char *from, const char *to) {
    Error error = {0};
    Checkpoint c;
    Safetensors file;
    size_t seen = 0;
    char *out = path_join(p->folder, "out");
    if (checkpoint_open(&c, out, &error) || checkpoint_verify(&c, &error))
        fail_msg("%s", error.text);
    char *path = path_join(c.folder, "model.safetensors");
    assert_int_equal(safetensors_open(&file, path, &error), 0);
    for (size_t i = 0; i < own->count; i++) {
        const TensorInfo *t = &own->items[i];
        if (strncmp(t->name, from, strlen(from)) || strstr(t->name, "pos_embed"))
            continue;
        char *name = memory_text("%s%s", to, t->name + strlen(from));
        const TensorInfo *found = safetensors_find(&file, name);
        if (!found)
            fail_msg("no %s", name);
        assert_int_equal(found->bytes, t->bytes);
        assert_memory_equal(found->data, t->data, t->bytes);
        free(name);
        seen++;
    }
    assert_true(seen > 0);
    assert_false(c.moments);
    assert_non_null(strstr(c.source, ", BLAKE2b-256 "));
    assert_null(strchr(c.source, '/'));
    safetensors_close(&file);
    checkpoint_close(&c);
    free(path);
    free(out);
}

static ModelConfig config_of_out(const Place *p) {
    Error error = {0};
    Checkpoint c;
    Recipe recipe;
    YamlNode *root = NULL;
    char *out = path_join(p->folder, "out");
    assert_int_equal(checkpoint_open(&c, out, &error), 0);
    recipe_default(&recipe);
    assert_int_equal(yaml_parse(&root, c.recipe, strlen(c.recipe), "recipe", &error), 0);
    assert_int_equal(recipe_apply(&recipe, root, "recipe", &error), 0);
    assert_int_equal(recipe_check(&recipe, &error), 0);
    ModelConfig config = recipe_model(&recipe);
    yaml_release(root);
    recipe_free(&recipe);
    checkpoint_close(&c);
    free(out);
    return config;
}

static void test_references(void **state) {
    Place *p = *state;
    static const char *const files[2][2] = {{"checkpoint.pth.tar", "weights.safetensors"},
                                            {"checkpoint.pt", "weights.safetensors"}};
    if (!p->reference)
        skip();
    for (int k = 0; k < 4; k++) {
        char *path = memory_text("%s/%s/%s", REFERENCE, references[k / 2], files[k / 2][k % 2]);
        if (run_import(p, path, ""))
            fail_msg("%s", said(p, "error"));
        expect_bits(p, &p->own[k / 2], "encoder.", "encoder.");
        expect_bits(p, &p->own[k / 2], "target_encoder.", "target_encoder.");
        expect_bits(p, &p->own[k / 2], "predictor.", "predictor.");
        ModelConfig c = config_of_out(p);
        assert_int_equal(c.positions, k / 2 ? POSITIONS_ROPE_TILED : POSITIONS_SINCOS);
        assert_int_equal(c.frames, 8);
        assert_int_equal(c.height, 64);
        assert_int_equal(c.heads, 3);
        assert_int_equal(c.pred_dim, k / 2 ? 60 : 48);
        assert_int_equal(c.mask_tokens, 2);
        assert_int_equal(run_import(p, path, ""), 2); /* it is there already */
        char *error = said(p, "error");
        assert_non_null(strstr(error, "is there already"));
        free(error);
        expect_bits(p, &p->own[k / 2], "encoder.", "encoder.");
        drop_out(p);
        free(path);
    }
}

static void test_hugging_face(void **state) {
    Place *p = *state;
    Error error = {0};
    if (!p->reference)
        skip();
    char *folder = path_join(p->folder, "hf");
    for (int sharded = 0; sharded < 2; sharded++) {
        TensorList theirs = tensors_hugging_face(&p->own[1], "");
        assert_int_equal(folder_make(folder, &error), 0);
        text_write(folder, "config.json",
                   "{\"model_type\": \"vjepa2\", \"hidden_size\": 96, \"num_hidden_layers\": 2, "
                   "\"num_attention_heads\": 3, \"pred_num_attention_heads\": 3, \"crop_size\": "
                   "64, \"frames_per_clip\": 8, \"patch_size\": 16, \"tubelet_size\": 2}");
        if (sharded)
            assert_int_equal(tensors_write_sharded(&theirs, folder), 0);
        else
            assert_int_equal(tensors_write(&theirs, 0, theirs.count, folder, "model.safetensors"),
                             0);
        if (run_import(p, folder, ""))
            fail_msg("%s", said(p, "error"));
        expect_bits(p, &p->own[1], "encoder.", "encoder.");
        expect_bits(p, &p->own[1], "encoder.", "target_encoder."); /* it has no other */
        expect_bits(p, &p->own[1], "predictor.", "predictor.");
        ModelConfig c = config_of_out(p);
        assert_int_equal(c.positions, POSITIONS_ROPE_TILED);
        assert_int_equal(c.heads, 3);
        assert_int_equal(c.frames, 8);
        assert_int_equal(folder_remove(folder, &error), 0);
        tensors_free(&theirs);
        drop_out(p);
    }
    free(folder);
}

static void test_one_network(void **state) {
    Place *p = *state;
    if (!p->reference)
        skip();
    /* encoder and target must differ for this to mean anything */
    TensorInfo *t = tensors_find(&p->own[0], "target_encoder.norm.bias");
    float *values = (float *)(uintptr_t)t->data;
    values[0] += 1;
    char *path = path_join(p->folder, "x.safetensors");
    assert_int_equal(tensors_write(&p->own[0], 0, p->own[0].count, p->folder, "x.safetensors"), 0);
    assert_int_equal(run_import(p, path, "--network target --heads 3"), 0);
    expect_bits(p, &p->own[0], "target_encoder.", "encoder.");
    expect_bits(p, &p->own[0], "target_encoder.", "target_encoder.");
    drop_out(p);
    assert_int_equal(run_import(p, path, "--network encoder --heads 3"), 0);
    expect_bits(p, &p->own[0], "encoder.", "encoder.");
    expect_bits(p, &p->own[0], "encoder.", "target_encoder.");
    ModelConfig c = config_of_out(p); /* no config.json beside it: the table tells the grid */
    assert_int_equal(c.frames, 8);
    assert_int_equal(c.height, 64);
    drop_out(p);
    /* without a predictor */
    tensors_drop(&p->own[0], "predictor.");
    assert_int_equal(tensors_write(&p->own[0], 0, p->own[0].count, p->folder, "x.safetensors"), 0);
    assert_int_equal(run_import(p, path, "--heads 3"), 0);
    expect_bits(p, &p->own[0], "target_encoder.", "target_encoder.");
    char *text = said(p, "said");
    assert_non_null(strstr(text, "predictor: it stays at its initial values"));
    free(text);
    free(path);
}

/* Exit code 1 or 2, one line that says `message`, no folder. */
static void expect_refused(const Place *p, const TensorList *list, const char *message) {
    char *path = path_join(p->folder, "x.safetensors"), *out = path_join(p->folder, "out");
    assert_int_equal(tensors_write(list, 0, list->count, p->folder, "x.safetensors"), 0);
    assert_in_range(run_import(p, path, "--heads 3 --pred-heads 3"), 1, 2);
    char *error = said(p, "error");
    if (!strstr(error, message) || strchr(error, '\n') != error + strlen(error) - 1)
        fail_msg("\"%s\" is not in, or not the only line of: %s", message, error);
    assert_false(folder_exists(out));
    char *probe = memory_text("%s.partial", out);
    assert_false(folder_exists(probe));
    free(probe);
    free(error);
    free(path);
    free(out);
}

static void test_refusals(void **state) {
    Place *p = *state;
    if (!p->reference)
        skip();
    TensorList *list = &p->own[1];
    TensorInfo *t = tensors_find(list, "predictor.predictor_norm.bias");
    float *values = (float *)(uintptr_t)t->data, kept = values[5];
    values[5] = NAN;
    expect_refused(p, list, "predictor.predictor_norm.bias: value 5 is");
    values[5] = INFINITY;
    expect_refused(p, list, "predictor.predictor_norm.bias: value 5 is inf");
    char *path = path_join(p->folder, "x.safetensors");
    assert_int_equal(run_import(p, path, "--heads 3 --pred-heads 3 --allow-nonfinite"), 0);
    drop_out(p);
    values[5] = kept;
    t->shape[0] = 30, t->shape[1] = 2, t->dims = 2;
    expect_refused(p, list, "predictor.predictor_norm.bias has the shape [30,2], expected [60]");
    t->shape[0] = 60, t->dims = 1;
    TensorInfo copy = *t; /* the list moves as it grows */
    tensors_put(list, "module.encoder.backbone.norm.bias", 1, copy.shape, copy.data, copy.bytes);
    expect_refused(p, list, "are both encoder.norm.bias");
    tensors_drop(list, "module.");
    tensors_drop(list, "target_encoder.blocks.0.mlp.fc2.bias");
    expect_refused(p, list, "target_encoder.blocks.0.mlp.fc2.bias is missing");
    free(path);
}

/* Files of probes: one classifier is the folder itself, several are folders in it. */
static void test_probes(void **state) {
    Place *p = *state;
    TensorList list = {0};
    if (!p->reference)
        skip();
    static const char *const from = REFERENCE "/attentive_probe_tiny/probe.safetensors";
    assert_int_equal(tensors_take(&list, from, "weights.", "classifier.module."), 0);
    char *path = path_join(p->folder, "x.safetensors");
    assert_int_equal(tensors_write(&list, 0, list.count, p->folder, "x.safetensors"), 0);
    assert_int_equal(run_import(p, path, "--heads 3"), 0);
    ProbeWeights probe;
    Error error = {0};
    char *out = path_join(p->folder, "out");
    assert_int_equal(probe_weights_load(&probe, out, &error), 0);
    assert_int_equal(probe.depth, 1);
    assert_int_equal(probe.classes, 7);
    assert_int_equal(strncmp(probe.source, "x.safetensors, BLAKE2b-256 ", 27), 0);
    const ProbeTensor *query = probe_weights_find(&probe, "pooler.query_tokens");
    const TensorInfo *own = tensors_find(&list, "classifier.module.pooler.query_tokens");
    assert_memory_equal(query->values, own->data, own->bytes);
    probe_weights_free(&probe);
    drop_out(p);
    tensors_free(&list);
    assert_int_equal(tensors_take(&list, from, "weights.", "classifiers.0.module."), 0);
    assert_int_equal(tensors_take(&list, from, "weights.", "classifiers.1.module."), 0);
    assert_int_equal(tensors_write(&list, 0, list.count, p->folder, "x.safetensors"), 0);
    assert_int_equal(run_import(p, path, "--heads 3"), 0);
    for (int i = 0; i < 2; i++) {
        char *folder = memory_text("%s/probe-%d", out, i);
        assert_int_equal(probe_weights_load(&probe, folder, &error), 0);
        probe_weights_free(&probe);
        free(folder);
    }
    drop_out(p);
    tensors_drop(&list, "classifiers.1.module.pooler.cross_attention_block.norm2.bias");
    expect_refused(p, &list, "classifier.1.pooler.cross_attention_block.norm2.bias is missing");
    tensors_free(&list);
    free(path);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hugging_face, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_network, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
