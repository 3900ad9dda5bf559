/* What a file is, from names and shapes: every family, written here from its own parameter table
 * (whose names and shapes tests of the model hold against the published code), comes back as the
 * same configuration. */
#include "jepa/parameters.h"
#include "jepa/recognise.h"
#include "tests/jepa/reference_weights.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[40];
    char *path;
} Place;

static int setup(void **state) {
    Place *p = memory_new(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/jepa-recognise-XXXXXX");
    *state = p;
    if (!mkdtemp(p->folder))
        return -1;
    p->path = path_join(p->folder, "x.safetensors");
    return 0;
}

static int teardown(void **state) {
    Place *p = *state;
    Error error = {0};
    int result = folder_remove(p->folder, &error);
    free(p->path);
    free(p);
    return result;
}

/* A recipe from the defaults and "key=value" settings, checked. */
static Recipe make_recipe(const char *const *sets) {
    Recipe recipe;
    Error error = {0};
    recipe_default(&recipe);
    for (; *sets; sets++)
        if (recipe_set(&recipe, *sets, &error))
            fail_msg("%s", error.text);
    if (recipe_check(&recipe, &error))
        fail_msg("%s", error.text);
    return recipe;
}

/* The tensors of a configuration, all of 0.5, with its position tables. */
static TensorList make_tensors(const ModelConfig *c, bool target, bool predictor) {
    ParameterTable table;
    TensorList list = {0};
    parameter_table_new(&table, c);
    int64_t most = 0;
    for (size_t i = 0; i < table.count; i++)
        most = table.parameters[i].count > most ? table.parameters[i].count : most;
    float *values = memory_new((size_t)most, sizeof *values);
    for (int64_t i = 0; i < most; i++)
        values[i] = 0.5f;
    for (size_t i = 0; i < table.count; i++) {
        const Parameter *p = &table.parameters[i];
        char name[96];
        snprintf(name, sizeof name, "target_%s", p->name);
        if (p->owner == OWNER_ENCODER || predictor)
            tensors_put(&list, p->name, p->dims, p->shape, values,
                        (size_t)p->count * sizeof *values);
        if (p->owner == OWNER_ENCODER && target)
            tensors_put(&list, name, p->dims, p->shape, values, (size_t)p->count * sizeof *values);
    }
    free(values);
    MaskGrid grid = config_grid(c);
    int64_t tokens = (int64_t)grid.time * grid.height * grid.width;
    for (int k = 0; k < 2 && c->positions == POSITIONS_SINCOS; k++) {
        int width = k ? c->pred_dim : c->dim;
        float *positions = memory_new((size_t)(tokens * width), sizeof *positions);
        if (c->plane)
            positions_sincos_image(positions, grid, width);
        else
            positions_sincos(positions, grid, width, c->uniform_power);
        if (!k || predictor)
            tensors_put(&list, k ? "predictor.predictor_pos_embed" : "encoder.pos_embed", 3,
                        (int64_t[]){1, tokens, width}, positions,
                        (size_t)(tokens * width) * sizeof *positions);
        free(positions);
    }
    parameter_table_free(&table);
    return list;
}

static int recognise_list(Recognised *r, const Place *p, const TensorList *list,
                          const RecogniseOptions *options, Error *error) {
    WeightsFile file;
    assert_int_equal(tensors_write(list, 0, list->count, p->folder, "x.safetensors"), 0);
    assert_int_equal(weights_file_open(&file, p->path, error), 0);
    int result = recognise(r, &file, options, error);
    weights_file_close(&file);
    return result;
}

static void expect_same_config(const ModelConfig *a, const ModelConfig *b) {
#define SAME(field) assert_int_equal(a->field, b->field)
    SAME(objective), SAME(frames), SAME(height), SAME(width), SAME(tubelet), SAME(patch);
    SAME(dim), SAME(depth), SAME(heads), SAME(hidden), SAME(swiglu), SAME(positions);
    SAME(pred_dim), SAME(pred_depth), SAME(pred_heads), SAME(pred_hidden), SAME(pred_swiglu);
    SAME(rope_side), SAME(uniform_power), SAME(mask_tokens), SAME(norms), SAME(levels);
    SAME(modality), SAME(image_patches), SAME(context_loss), SAME(plane), SAME(class_token);
    SAME(projector_hidden), SAME(projector_out);
#undef SAME
}

typedef struct Family {
    const char *name;
    const char *sets[24];
    RecogniseOptions options;
} Family;

#define SMALL                                                                                      \
    "model.model_name=null", "model.embed_dim=48", "model.depth=4", "model.num_heads=4",           \
        "model.pred_embed_dim=24", "model.pred_depth=2", "data.crop_size=64"
#define MASKS                                                                                      \
    "mask=[{num_blocks: 2, spatial_scale: [0.3, 0.3]}, {num_blocks: 1, spatial_scale: [0.5, "      \
    "0.5]}]"

static const Family families[] = {
    {"V-JEPA 1", {SMALL, MASKS, "data.num_frames=8"}, {.heads = 4}},
    {"V-JEPA 1",
     {SMALL, MASKS, "data.num_frames=4", "model.uniform_power=false", "model.mlp_ratio=3.1"},
     {.heads = 4}},
    {"V-JEPA 2",
     {SMALL, MASKS, "data.num_frames=8", "model.use_rope=true", "model.pred_num_heads=2",
      "model.num_mask_tokens=10"},
     {.heads = 4, .pred_heads = 2, .frames = 8, .crop = 64}},
    {"V-JEPA 2",
     {SMALL, MASKS, "data.num_frames=8", "model.use_rope=true", "model.pred_num_heads=2",
      "model.use_silu=true", "model.use_pred_silu=true", "model.wide_silu=false"},
     {.heads = 4, .pred_heads = 2, .frames = 8, .crop = 64}},
    {"V-JEPA 2",
     {SMALL, MASKS, "data.num_frames=8", "model.use_rope=true", "model.pred_num_heads=2",
      "model.use_silu=true"},
     {.heads = 4, .pred_heads = 2, .frames = 8, .crop = 64}},
    {"V-JEPA 2.1",
     {SMALL, MASKS, "data.num_frames=8", "model.use_rope=true", "model.pred_num_heads=2",
      "model.levels_predictor=4", "model.interpolate_rope=true", "model.modality_embedding=true",
      "model.img_temporal_dim_size=1", "loss.predict_all=true", "model.num_mask_tokens=8"},
     {.heads = 4, .pred_heads = 2, .frames = 8, .crop = 64}},
    {"I-JEPA",
     {SMALL, "data.patch_size=8", "data.num_frames=1", "data.tubelet_size=1",
      "model.two_dimensional=true", "mask.num_pred_masks=4", "mask.pred_mask_scale=[0.15, 0.2]",
      "mask.enc_mask_scale=[0.85, 1]", "mask.aspect_ratio=[0.75, 1.5]", "mask.min_keep=10"},
     {.heads = 4}},
    {"LeVJEPA",
     {SMALL, "objective=sigreg", "data.num_frames=8", "model.use_rope=true",
      "model.pred_num_heads=2", "sigreg.hidden_dim=64", "sigreg.output_dim=16"},
     {.heads = 4, .frames = 8, .crop = 64}},
};

static void test_families(void **state) {
    Place *p = *state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const Family *f = &families[i];
        Recipe recipe = make_recipe(f->sets), again;
        ModelConfig config = recipe_model(&recipe);
        bool levjepa = config.objective == OBJECTIVE_SIGREG;
        TensorList list = make_tensors(&config, true, true);
        Recognised r;
        Error error = {0};
        if (recognise_list(&r, p, &list, &f->options, &error))
            fail_msg("%s (%zu): %s", f->name, i, error.text);
        assert_string_equal(r.family, f->name);
        if (levjepa) { /* it has no predictor: what its recipe says of one does not count */
            config.pred_dim = r.config.pred_dim;
            config.pred_depth = r.config.pred_depth;
            config.pred_heads = r.config.pred_heads;
            config.pred_hidden = r.config.pred_hidden;
        }
        expect_same_config(&r.config, &config);
        assert_true(r.encoder && r.target && r.predictor != levjepa && r.projector == levjepa);
        assert_int_equal(r.table, config.positions == POSITIONS_SINCOS);
        if (r.table) {
            assert_true(r.table_difference <= 1e-7);
            assert_true(r.predictor_table_difference >= 0 && r.predictor_table_difference <= 1e-7);
        }
        /* the recipe's text says it all */
        char *text = recipe_text(&r.recipe);
        YamlNode *root = NULL;
        recipe_default(&again);
        assert_int_equal(yaml_parse(&root, text, strlen(text), "recipe", &error), 0);
        assert_int_equal(recipe_apply(&again, root, "recipe", &error), 0);
        ModelConfig second = recipe_model(&again);
        expect_same_config(&second, &r.config);
        yaml_release(root);
        free(text);
        recipe_free(&again);
        recognised_free(&r);
        /* the encoder alone */
        tensors_drop(&list, "predictor.");
        tensors_drop(&list, "projector.");
        tensors_drop(&list, "target_encoder.");
        if (recognise_list(&r, p, &list, &f->options, &error))
            fail_msg("%s (%zu), encoder alone: %s", f->name, i, error.text);
        assert_string_equal(r.family, f->name);
        assert_int_equal(r.config.hidden, config.hidden);
        assert_int_equal(r.config.heads, config.heads);
        assert_true(r.encoder && !r.target && !r.predictor && !r.projector);
        recognised_free(&r);
        tensors_free(&list);
        recipe_free(&recipe);
    }
}

/* Tensors of published sizes without values cannot be written, so that the smallest stands for
 * them: ViT-T has 3 heads by name. */
static void test_published_heads(void **state) {
    Place *p = *state;
    const char *const sets[] = {"model.model_name=vit_tiny",
                                "data.num_frames=4",
                                "data.crop_size=64",
                                "model.pred_depth=1",
                                MASKS,
                                NULL};
    Recipe recipe = make_recipe(sets);
    ModelConfig config = recipe_model(&recipe);
    TensorList list = make_tensors(&config, false, false);
    Recognised r;
    Error error = {0};
    RecogniseOptions none = {0};
    if (recognise_list(&r, p, &list, &none, &error))
        fail_msg("%s", error.text);
    assert_string_equal(r.recipe.model.model_name, "vit_tiny");
    assert_int_equal(r.config.heads, 3);
    assert_int_equal(r.config.frames, 4);
    recognised_free(&r);
    RecogniseOptions other = {.name = "vit_small"};
    assert_int_equal(recognise_list(&r, p, &list, &other, &error), -1);
    assert_non_null(strstr(error.text, "is no vit_small"));
    tensors_free(&list);
    recipe_free(&recipe);
}

static void expect_refused(const Place *p, const TensorList *list, const RecogniseOptions *options,
                           const char *message) {
    Recognised r;
    Error error = {0};
    assert_int_equal(recognise_list(&r, p, list, options, &error), -1);
    if (!strstr(error.text, message))
        fail_msg("\"%s\" is not in: %s", message, error.text);
}

static void test_refusals(void **state) {
    Place *p = *state;
    Recipe recipe = make_recipe(families[0].sets);
    ModelConfig config = recipe_model(&recipe);
    const RecogniseOptions heads = {.heads = 4}, none = {0};
    const float values[2] = {0.5f, 0.5f};
    TensorList list = make_tensors(&config, true, true);
    expect_refused(p, &list, &none, "give --heads N");
    expect_refused(p, &list, &(RecogniseOptions){.heads = 5, .pred_heads = 4},
                   "num_heads 5 does not divide");
    expect_refused(p, &list, &(RecogniseOptions){.heads = 4, .frames = 6}, "no grid");
    tensors_put(&list, "encoder.blocks.0.ls1.gamma", 1, (int64_t[]){2}, values, 8);
    expect_refused(p, &list, &heads, "encoder.blocks.0.ls1.gamma: this program's networks have no");
    tensors_drop(&list, "encoder.blocks.0.ls1");
    tensors_find(&list, "target_encoder.norm.bias")->dims = 2;
    tensors_find(&list, "target_encoder.norm.bias")->shape[1] = 1;
    expect_refused(p, &list, &heads,
                   "target_encoder.norm.bias has the shape [48,1], expected [48]");
    expect_refused(p, &list, &(RecogniseOptions){.heads = 4, .network = 'x'}, "norm.bias has");
    tensors_drop(&list, "target_encoder.");
    expect_refused(p, &list, &(RecogniseOptions){.heads = 4, .network = 't'},
                   "no target_encoder in it");
    tensors_drop(&list, "encoder.blocks.2.");
    expect_refused(p, &list, &heads, "encoder.blocks.2.norm1.weight is missing");
    tensors_drop(&list, "encoder.blocks.0.");
    expect_refused(p, &list, &heads, "encoder.blocks.0.mlp.fc1.weight is missing");
    tensors_drop(&list, "encoder.patch");
    expect_refused(p, &list, &heads, "encoder.patch_embed.proj.weight is missing");
    tensors_drop(&list, "encoder.");
    tensors_drop(&list, "predictor.");
    tensors_put(&list, "weights", 1, (int64_t[]){2}, values, 8);
    expect_refused(p, &list, &heads, "no encoder, target_encoder or classifier in it; it begins");
    text_write(p->folder, "config.json", "{\"dim\": 64}");
    TensorList whole = make_tensors(&config, false, false);
    expect_refused(p, &whole, &heads, "speaks of 64 channels");
    text_write(p->folder, "config.json", "{\"num_attention_heads\": 1000000000}");
    expect_refused(p, &whole, &none, "num_attention_heads: expected a whole number from 1 to 128");
    text_write(p->folder, "config.json", "{\"num_attention_heads\": 4, \"crop\": 1e300}");
    expect_refused(p, &whole, &none, "crop: expected a whole number");
    tensors_free(&whole);
    tensors_free(&list);
    recipe_free(&recipe);
}

/* A table that is not ours is told, and what predicts something else is left out and told. */
static void test_told(void **state) {
    Place *p = *state;
    Recipe recipe = make_recipe(families[0].sets);
    ModelConfig config = recipe_model(&recipe);
    const RecogniseOptions options = {.heads = 4};
    TensorList list = make_tensors(&config, false, true);
    Recognised r;
    Error error = {0};
    float *table = (float *)(uintptr_t)tensors_find(&list, "encoder.pos_embed")->data;
    table[100] += 0.125f;
    assert_int_equal(recognise_list(&r, p, &list, &options, &error), 0);
    assert_true(fabs(r.table_difference - 0.125) < 1e-6);
    recognised_free(&r);
    table[100] -= 0.125f;
    const float values[2] = {0.5f, 0.5f};
    tensors_put(&list, "predictor.action_encoder.bias", 1, (int64_t[]){2}, values, 8);
    assert_int_equal(recognise_list(&r, p, &list, &options, &error), 0);
    assert_false(r.predictor);
    assert_non_null(strstr(r.without, "actions"));
    recognised_free(&r);
    tensors_free(&list);
    recipe_free(&recipe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_families, setup, teardown),
        cmocka_unit_test_setup_teardown(test_published_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
