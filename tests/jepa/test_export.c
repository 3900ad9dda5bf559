/* Exports: every value of a checkpoint arrives bit for bit under the names that other programs
 * expect, and what they cannot hold is refused by name. */
#include "base/file.h"
#include "jepa/checkpoint.h"
#include "jepa/export.h"
#include <ftw.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The smallest V-JEPA 2 whose sizes all differ. */
static const ModelConfig config = {.frames = 4,
                                   .height = 16,
                                   .width = 16,
                                   .tubelet = 2,
                                   .patch = 8,
                                   .trained_frames = 4,
                                   .trained_height = 16,
                                   .trained_width = 16,
                                   .dim = 24,
                                   .depth = 2,
                                   .heads = 2,
                                   .hidden = 40,
                                   .pred_dim = 16,
                                   .pred_depth = 3,
                                   .pred_heads = 2,
                                   .pred_hidden = 64,
                                   .positions = POSITIONS_ROPE_TILED,
                                   .mask_tokens = 3,
                                   .used_mask_tokens = 1,
                                   .token_by_length = true,
                                   .init_std = 0.02};

typedef struct Fixture {
    char folder[64], run[80];
    Device *device;
    Model model;
    Checkpoint checkpoint;
    Safetensors networks;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    Error error = {0};
    snprintf(f->folder, sizeof f->folder, "/tmp/jepa-export-%s", "XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->run, sizeof f->run, "%s/run", f->folder);
    assert_int_equal(device_open(&f->device, "cpu", 1, &error), 0);
    ModelPlan plan = {.config = config, .samples = 1};
    assert_int_equal(model_new(&f->model, &plan, f->device, &error), 0);
    /* every value its own: weights 1, 2, ..; the target's negative */
    for (int64_t i = 0; i < f->model.table.total; i++)
        f->model.weights[i] = (float)(i + 1);
    for (int64_t i = 0; i < f->model.table.owner[OWNER_ENCODER].end; i++)
        f->model.target[i] = -(float)(i + 1);
    CheckpointState s = {.model = &f->model, .step = 3, .recipe = "a: recipe\n", .bare = true};
    assert_int_equal(checkpoint_save(f->run, &s, 1, &error), 0);
    assert_int_equal(checkpoint_open(&f->checkpoint, f->run, &error), 0);
    assert_int_equal(checkpoint_networks(&f->networks, &f->checkpoint, &error), 0);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk) {
    (void)about, (void)type, (void)walk;
    return remove(path);
}

static int teardown(void **state) {
    Fixture *f = *state;
    safetensors_close(&f->networks);
    checkpoint_close(&f->checkpoint);
    model_free(&f->model);
    device_close(f->device);
    nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static const TensorInfo *find(const ExportList *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->tensors[i].name, name))
            return &list->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static const float *ours(const Fixture *f, const char *name, bool target, int64_t *count) {
    for (size_t i = 0; i < f->model.table.count; i++) {
        const Parameter *p = &f->model.table.parameters[i];
        if (!strcmp(p->name, name)) {
            *count = p->count;
            return (target ? f->model.target : f->model.weights) + p->offset;
        }
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

/* Tensor `theirs` is values [first, first + its size) of parameter `name`. */
static void same(const Fixture *f, const ExportList *list, const char *theirs, const char *name,
                 bool target, int part, int parts) {
    int64_t count;
    const float *values = ours(f, name, target, &count);
    const TensorInfo *t = find(list, theirs);
    assert_int_equal(t->bytes, (size_t)(count / parts) * sizeof(float));
    assert_memory_equal(t->data, values + part * (count / parts), t->bytes);
}

static void published_names_and_bits(void **state) {
    Fixture *f = *state;
    Error error = {0};
    ExportList list;
    assert_int_equal(export_published(&list, &f->networks, EXPORT_ALL, &error), 0);
    assert_int_equal(list.count, f->networks.count);
    same(f, &list, "encoder.blocks.1.attn.qkv.weight", "encoder.blocks.1.attn.qkv.weight", false, 0,
         1);
    same(f, &list, "target_encoder.norm.bias", "encoder.norm.bias", true, 0, 1);
    same(f, &list, "predictor.mask_tokens.2", "predictor.mask_tokens.2", false, 0, 1);
    export_free(&list);
    for (int target = 0; target < 2; target++) {
        size_t wanted = 0;
        assert_int_equal(
            export_published(&list, &f->networks, target ? EXPORT_TARGET : EXPORT_ENCODER, &error),
            0);
        for (size_t i = 0; i < f->model.table.count; i++) {
            const Parameter *p = &f->model.table.parameters[i];
            if (p->owner != OWNER_ENCODER)
                continue;
            wanted++;
            same(f, &list, p->name + strlen("encoder."), p->name, target, 0, 1);
        }
        assert_int_equal(list.count, wanted);
        export_free(&list);
    }
}

static void hugging_face_names_and_bits(void **state) {
    Fixture *f = *state;
    Error error = {0};
    ExportList list;
    for (int target = 0; target < 2; target++) {
        char theirs[96], name[96];
        static const char *const plain[][2] = {{"norm1.weight", "norm1.weight"},
                                               {"norm1.bias", "norm1.bias"},
                                               {"norm2.weight", "norm2.weight"},
                                               {"norm2.bias", "norm2.bias"},
                                               {"attention.proj.weight", "attn.proj.weight"},
                                               {"attention.proj.bias", "attn.proj.bias"},
                                               {"mlp.fc1.weight", "mlp.fc1.weight"},
                                               {"mlp.fc1.bias", "mlp.fc1.bias"},
                                               {"mlp.fc2.weight", "mlp.fc2.weight"},
                                               {"mlp.fc2.bias", "mlp.fc2.bias"}};
        static const char *const parts[] = {"query", "key", "value"};
        assert_int_equal(
            export_hf(&list, &f->networks, &config, target ? EXPORT_ALL : EXPORT_ENCODER, &error),
            0);
        for (int owner = 0; owner < 2; owner++)
            for (int i = 0; i < (owner ? config.pred_depth : config.depth); i++) {
                bool its = target && !owner;
                const char *a = owner ? "predictor.layer" : "encoder.layer",
                           *b = owner ? "predictor.predictor_blocks" : "encoder.blocks";
                for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) {
                    snprintf(theirs, sizeof theirs, "%s.%d.%s", a, i, plain[k][0]);
                    snprintf(name, sizeof name, "%s.%d.%s", b, i, plain[k][1]);
                    same(f, &list, theirs, name, its, 0, 1);
                }
                for (int k = 0; k < 6; k++) {
                    const char *end = k < 3 ? "weight" : "bias";
                    snprintf(theirs, sizeof theirs, "%s.%d.attention.%s.%s", a, i, parts[k % 3],
                             end);
                    snprintf(name, sizeof name, "%s.%d.attn.qkv.%s", b, i, end);
                    same(f, &list, theirs, name, its, k % 3, 3);
                }
            }
        same(f, &list, "encoder.embeddings.patch_embeddings.proj.weight",
             "encoder.patch_embed.proj.weight", target, 0, 1);
        same(f, &list, "encoder.embeddings.patch_embeddings.proj.bias",
             "encoder.patch_embed.proj.bias", target, 0, 1);
        same(f, &list, "encoder.layernorm.weight", "encoder.norm.weight", target, 0, 1);
        same(f, &list, "encoder.layernorm.bias", "encoder.norm.bias", target, 0, 1);
        same(f, &list, "predictor.embeddings.predictor_embeddings.weight",
             "predictor.predictor_embed.weight", false, 0, 1);
        same(f, &list, "predictor.embeddings.predictor_embeddings.bias",
             "predictor.predictor_embed.bias", false, 0, 1);
        same(f, &list, "predictor.layernorm.weight", "predictor.predictor_norm.weight", false, 0,
             1);
        same(f, &list, "predictor.layernorm.bias", "predictor.predictor_norm.bias", false, 0, 1);
        same(f, &list, "predictor.proj.weight", "predictor.predictor_proj.weight", false, 0, 1);
        same(f, &list, "predictor.proj.bias", "predictor.predictor_proj.bias", false, 0, 1);
        const TensorInfo *tokens = find(&list, "predictor.embeddings.mask_tokens");
        const int64_t shape[] = {3, 1, 1, 16};
        assert_int_equal(tokens->dims, 4);
        assert_memory_equal(tokens->shape, shape, sizeof shape);
        for (int k = 0; k < 3; k++) {
            int64_t count;
            snprintf(name, sizeof name, "predictor.mask_tokens.%d", k);
            const float *values = ours(f, name, false, &count);
            assert_memory_equal((const float *)tokens->data + k * 16, values, 16 * sizeof(float));
        }
        /* nothing else: 16 in a block, 4 and 6 around them, the mask tokens */
        assert_int_equal(list.count, 16 * (2 + 3) + 4 + 6 + 1);
        const TensorInfo *key = find(&list, "encoder.layer.0.attention.key.weight");
        assert_int_equal(key->shape[0], 24);
        assert_int_equal(key->shape[1], 24);
        export_free(&list);
    }
    ModelConfig wider = config;
    wider.pred_hidden = 72;
    assert_int_equal(export_hf(&list, &f->networks, &wider, EXPORT_ALL, &error), -1);
    assert_non_null(strstr(error.text, "predictor.predictor_blocks.0.mlp.fc1.weight has another"));
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    Error error = {0};
    ModelConfig c = config;
    assert_int_equal(export_hf_check(&c, &error), 0);
#define REFUSED(change, words)                                                                     \
    do {                                                                                           \
        c = config;                                                                                \
        change;                                                                                    \
        error = (Error){0};                                                                        \
        assert_int_equal(export_hf_check(&c, &error), -1);                                         \
        assert_int_equal(error.code, ERROR_USAGE);                                                 \
        if (!strstr(error.text, words))                                                            \
            fail_msg("expected %s in: %s", words, error.text);                                     \
    } while (0)
    REFUSED(c.objective = OBJECTIVE_SIGREG, "LeVJEPA");
    REFUSED(c.plane = true, "I-JEPA");
    REFUSED(c.norms = 4, "V-JEPA 2.1");
    REFUSED(c.modality = true, "V-JEPA 2.1");
    REFUSED(c.context_loss = true, "V-JEPA 2.1");
    REFUSED(c.swiglu = true, "SwiGLU");
    REFUSED(c.pred_swiglu = true, "SwiGLU");
    REFUSED(c.positions = POSITIONS_SINCOS, "sine-cosine");
    REFUSED(c.positions = POSITIONS_ROPE, "standard");
    REFUSED(c.rope_side = 16, "rescaled");
    REFUSED(c.width = 24, "not square");
    REFUSED((c.teacher = config_encoder(&config), c.teacher.dim = 48), "frozen target encoder");
    c = config; /* a frozen teacher of the same sizes has its place */
    c.frozen = true;
    c.teacher = config_encoder(&config);
    assert_int_equal(export_hf_check(&c, &error), 0);
}

/* transformers makes the MLP int(hidden_size * mlp_ratio) wide, in doubles. */
static void ratio_gives_the_width_back(void **state) {
    (void)state;
    static const int sizes[][2] = {{1408, 6144}, {1664, 6656}, {1664, 8192}, {192, 768}, {49, 143}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes + 20000; i++) {
        bool listed = i < sizeof sizes / sizeof *sizes;
        ModelConfig c = config;
        c.dim = listed ? sizes[i][0] : 8 + (int)(i * 7919 % 1663);
        c.hidden = listed ? sizes[i][1] : 8 + (int)(i * 104729 % 8191);
        char *text = export_hf_config(&c);
        const char *at = strstr(text, "\"mlp_ratio\": ");
        assert_non_null(at);
        assert_int_equal((int)(c.dim * strtod(at + strlen("\"mlp_ratio\": "), NULL)), c.hidden);
        free(text);
    }
}

static json_t *read_json(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    free(path);
    return root;
}

static void shards_hold_everything(void **state) {
    Fixture *f = *state;
    Error error = {0};
    ExportList list;
    const uint64_t most = 10000;
    assert_int_equal(export_hf(&list, &f->networks, &config, EXPORT_ALL, &error), 0);
    char *folder = path_join(f->folder, "shards");
    assert_int_equal(folder_make(folder, &error), 0);
    assert_int_equal(export_hf_write(folder, &list, &config, most, &error), 0);
    json_t *index = read_json(folder, "model.safetensors.index.json"),
           *map = json_object_get(index, "weight_map");
    assert_int_equal(json_object_size(map), list.count);
    uint64_t total = 0;
    for (size_t i = 0; i < list.count; i++) {
        const TensorInfo *t = &list.tensors[i];
        Safetensors file;
        const char *name = json_string_value(json_object_get(map, t->name));
        assert_non_null(name);
        char *path = path_join(folder, name);
        assert_int_equal(safetensors_open(&file, path, &error), 0);
        assert_string_equal(safetensors_note(&file, "format"), "pt");
        const TensorInfo *back = safetensors_find(&file, t->name);
        assert_non_null(back);
        assert_memory_equal(back->data, t->data, t->bytes);
        uint64_t bytes = 0;
        for (size_t k = 0; k < file.count; k++)
            bytes += file.tensors[k].bytes;
        assert_true(bytes <= most || file.count == 1);
        total += t->bytes;
        safetensors_close(&file);
        free(path);
    }
    json_t *metadata = json_object_get(index, "metadata");
    assert_int_equal(json_integer_value(json_object_get(metadata, "total_size")), total);
    json_decref(index);
    /* in one file there is no index */
    char *whole = path_join(f->folder, "whole");
    assert_int_equal(folder_make(whole, &error), 0);
    assert_int_equal(export_hf_write(whole, &list, &config, EXPORT_SHARD_BYTES, &error), 0);
    char *path = path_join(whole, "model.safetensors.index.json");
    assert_false(file_exists(path));
    json_t *root = read_json(whole, "config.json");
    const struct {
        const char *key;
        int value;
    } numbers[] = {{"hidden_size", 24},
                   {"num_hidden_layers", 2},
                   {"num_attention_heads", 2},
                   {"pred_hidden_size", 16},
                   {"pred_num_hidden_layers", 3},
                   {"pred_num_attention_heads", 2},
                   {"pred_num_mask_tokens", 3},
                   {"crop_size", 16},
                   {"image_size", 16},
                   {"frames_per_clip", 4},
                   {"tubelet_size", 2},
                   {"patch_size", 8},
                   {"in_chans", 3}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_int_equal(json_integer_value(json_object_get(root, numbers[i].key)),
                         numbers[i].value);
    assert_true(json_real_value(json_object_get(root, "layer_norm_eps")) == 1e-6);
    assert_true(json_real_value(json_object_get(root, "pred_mlp_ratio")) == 4);
    assert_string_equal(json_string_value(json_object_get(root, "model_type")), "vjepa2");
    json_decref(root);
    free(path);
    free(whole);
    free(folder);
    export_free(&list);
}

/* A checkpoint whose networks are damaged gives nothing to export. */
static void damage_is_noticed(void **state) {
    Fixture *f = *state;
    Error error = {0};
    Safetensors file;
    char *path = path_join(f->checkpoint.folder, "model.safetensors");
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, -5, SEEK_END), 0);
    assert_int_equal(fputc(7, stream), 7);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(checkpoint_networks(&file, &f->checkpoint, &error), -1);
    assert_non_null(strstr(error.text, "damaged"));
    /* a tensor fewer, the others whole */
    TensorInfo *tensors = f->networks.tensors;
    char *other = path_join(f->folder, "fewer.safetensors");
    assert_int_equal(safetensors_write(other, tensors, f->networks.count - 1, NULL, &error), 0);
    assert_int_equal(rename(other, path), 0);
    assert_int_equal(checkpoint_networks(&file, &f->checkpoint, &error), -1);
    assert_non_null(strstr(error.text, "tensors, expected"));
    free(other);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(published_names_and_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(hugging_face_names_and_bits, setup, teardown),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(ratio_gives_the_width_back),
        cmocka_unit_test_setup_teardown(shards_hold_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_noticed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
