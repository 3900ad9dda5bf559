/* Recipes: the published files are read, wrong keys are named, and what is written is read back. */
#include "jepa/recipe.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The keys and values of the published V-JEPA 1 ViT-L/16 pretraining configuration. */
static const char vjepa1[] =
    "app: vjepa\nnodes: 16\ntasks_per_node: 8\n"
    "data:\n  dataset_type: VideoDataset\n  datasets: [/data/k710.csv]\n  decode_one_clip: true\n"
    "  batch_size: 24\n  num_clips: 1\n  num_frames: 16\n  tubelet_size: 2\n  sampling_rate: 4\n"
    "  crop_size: 224\n  patch_size: 16\n  pin_mem: true\n  num_workers: 12\n"
    "  filter_short_videos: false\n  clip_duration: null\n"
    "data_aug:\n  auto_augment: false\n  motion_shift: false\n"
    "  random_resize_aspect_ratio: [0.75, 1.35]\n  random_resize_scale: [0.3, 1.0]\n  reprob: 0.0\n"
    "logging:\n  folder: /logs\n  write_tag: jepa\n"
    "loss:\n  loss_exp: 1.0\n  reg_coeff: 0.0\n"
    "mask:\n"
    "  - {aspect_ratio: [0.75, 1.5], num_blocks: 8, spatial_scale: [0.15, 0.15],"
    " temporal_scale: [1.0, 1.0], max_temporal_keep: 1.0, max_keep: null}\n"
    "  - {aspect_ratio: [0.75, 1.5], num_blocks: 2, spatial_scale: [0.7, 0.7],"
    " temporal_scale: [1.0, 1.0], max_temporal_keep: 1.0, max_keep: null}\n"
    "meta:\n  load_checkpoint: false\n  read_checkpoint: null\n  seed: 234\n  eval_freq: 100\n"
    "  use_sdpa: true\n  dtype: bfloat16\n"
    "model:\n  model_name: vit_large\n  pred_depth: 12\n  pred_embed_dim: 384\n"
    "  uniform_power: true\n  use_mask_tokens: true\n  zero_init_mask_tokens: true\n"
    "optimization:\n  ipe: 300\n  ipe_scale: 1.25\n  clip_grad: 10.0\n  weight_decay: 0.04\n"
    "  final_weight_decay: 0.4\n  epochs: 300\n  warmup: 40\n  start_lr: 0.0002\n"
    "  lr: 0.000625\n  final_lr: 1.0e-06\n  ema: [0.998, 1.0]\n";

/* The same for V-JEPA 2: more keys, rotary positions, no clipping. */
static const char vjepa2[] =
    "app: vjepa\nfolder: /logs\nnodes: 16\ntasks_per_node: 8\ncpus_per_task: 16\nmem_per_gpu: "
    "220G\n"
    "data:\n  dataset_type: VideoDataset\n  datasets: [/data/a.csv]\n  datasets_weights: null\n"
    "  dataset_fpcs: [16]\n  batch_size: 24\n  crop_size: 256\n  patch_size: 16\n  tubelet_size: "
    "2\n"
    "  fps: 4\n  num_workers: 8\n  persistent_workers: true\n  pin_mem: true\n"
    "data_aug: {auto_augment: false, motion_shift: false, random_resize_aspect_ratio: [0.75, 1.35],"
    " random_resize_scale: [0.3, 1.0], reprob: 0.0}\n"
    "loss: {loss_exp: 1.0}\n"
    "mask:\n"
    "  - {aspect_ratio: [0.75, 1.5], full_complement: false, inv_block: false, num_blocks: 8,"
    " spatial_scale: [0.15, 0.15], temporal_scale: [1.0, 1.0], max_temporal_keep: 1.0, max_keep: "
    "null}\n"
    "meta: {dtype: bfloat16, eval_freq: 100, load_checkpoint: true, read_checkpoint: null,"
    " save_every_freq: 50, seed: 239, use_sdpa: true, sync_gc: true}\n"
    "model: {model_name: vit_large, pred_depth: 12, pred_embed_dim: 384, pred_num_heads: 12,"
    " uniform_power: true, use_activation_checkpointing: true, use_mask_tokens: true, use_rope: "
    "true,"
    " zero_init_mask_tokens: true, compile_model: true, use_silu: false, wide_silu: true}\n"
    "optimization: {is_anneal: false, ema: [0.99925, 0.99925], epochs: 800, final_lr: 0.000525,"
    " final_weight_decay: 0.04, ipe: 300, ipe_scale: 1.25, lr: 0.000525, start_lr: 0.0001, warmup: "
    "40,"
    " weight_decay: 0.04}\n";

static int apply(Recipe *recipe, const char *text, Error *error) {
    YamlNode *root;
    if (yaml_parse(&root, text, strlen(text), "test.yaml", error))
        return -1;
    int result = recipe_apply(recipe, root, "test.yaml", error);
    yaml_release(root);
    return result;
}

static void reads_vjepa1(void **state) {
    (void)state;
    Recipe r;
    Error error = {0};
    recipe_default(&r);
    assert_int_equal(apply(&r, vjepa1, &error), 0);
    assert_int_equal(recipe_check(&r, &error), 0);
    ModelConfig c = recipe_model(&r);
    assert_int_equal(c.dim, 1024);
    assert_int_equal(c.depth, 24);
    assert_int_equal(c.heads, 16);
    assert_int_equal(c.pred_heads, 16); /* the encoder's, as published */
    assert_int_equal(recipe_groups(&r), 128);
    assert_int_equal(schedule_steps(&(Schedule){.epochs = 300, .ipe = 300}), 90000);
    /* facts of the published schedule: it ends at 7.50e-5, weight decay 0.366, momentum 0.9996 */
    Schedule s = recipe_schedule(&r, 1);
    assert_true(schedule_lr(&s, 89999) > 7.4e-5 && schedule_lr(&s, 89999) < 7.6e-5);
    assert_true(schedule_weight_decay(&s, 89999) > 0.365 &&
                schedule_weight_decay(&s, 89999) < 0.367);
    assert_true(schedule_momentum(&s, 89999) > 0.9995 && schedule_momentum(&s, 89999) < 0.9997);
    assert_true(schedule_clips(&s, 41 * 300) && !schedule_clips(&s, 41 * 300 - 1));
    assert_non_null(strstr(r.ignored, "data.pin_mem"));
    assert_null(r.not_built);
    recipe_free(&r);
}

static void reads_vjepa2_and_names_what_is_missing(void **state) {
    (void)state;
    Recipe r;
    Error error = {0};
    recipe_default(&r);
    assert_int_equal(apply(&r, vjepa2, &error), 0);
    assert_int_equal(r.data.num_frames, 16);
    assert_true(r.data.fps == 4);
    assert_non_null(strstr(r.ignored, "mem_per_gpu"));
    if (recipe_check(&r, &error))
        fail_msg("%s", error.text);
    /* what its published code does and a recipe does not say */
    ModelConfig c = recipe_model(&r);
    assert_int_equal(c.positions, POSITIONS_ROPE_TILED);
    assert_int_equal(c.rope_side, 0);
    assert_true(c.rescale_init && c.token_by_length);
    assert_int_equal(c.used_mask_tokens, 1);
    assert_true(recipe_clip_grad(&r) == 0);
    assert_int_equal(recipe_set(&r, "model.rope=standard", &error), 0);
    assert_int_equal(recipe_model(&r).positions, POSITIONS_ROPE);
    assert_int_equal(recipe_set(&r, "model.mask_tokens=setting", &error), 0);
    assert_int_equal(recipe_model(&r).used_mask_tokens, r.mask.count);
    assert_int_equal(recipe_set(&r, "model.use_rope=false", &error), 0);
    assert_int_equal(recipe_check(&r, &error), 0);
    assert_true(recipe_clip_grad(&r) == 10 && !recipe_model(&r).rescale_init);
    /* what is not there is refused by its name */
    assert_int_equal(recipe_set(&r, "model.n_registers=4", &error), 0);
    assert_int_equal(recipe_check(&r, &error), -1);
    assert_non_null(strstr(error.text, "model.n_registers"));
    assert_int_equal(error.code, ERROR_USAGE);
    recipe_free(&r);
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    const char *cases[][2] = {{"data: {batchsize: 3}", "data.batch_size"},
                              {"optimisation: {lr: 1}", "optimization"},
                              {"mask: [{num_block: 2}]", "num_blocks"},
                              {"model: {modelname: vit_tiny}", "model.model_name"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe r;
        Error error = {0};
        recipe_default(&r);
        assert_int_equal(apply(&r, cases[i][0], &error), -1);
        assert_int_equal(error.code, ERROR_USAGE);
        assert_non_null(strstr(error.text, "unknown key"));
        if (i != 1) /* a section by another spelling is too far from any whole path */
            assert_non_null(strstr(error.text, cases[i][1]));
        assert_non_null(strstr(error.text, "test.yaml:1"));
        recipe_free(&r);
    }
}

static void wrong_kinds_are_refused(void **state) {
    (void)state;
    const char *cases[] = {"data: {batch_size: many}",
                           "data: {batch_size: -1}",
                           "data: 3",
                           "optimization: {ema: 0.9}",
                           "optimization: {lr: '1e-3'}",
                           "mask: [3]",
                           "mask: []",
                           "model: {uniform_power: 3}",
                           "checkpoint: {every: often}",
                           "checkpoint: {every: -3 steps}",
                           "- a\n- b"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe r;
        Error error = {0};
        recipe_default(&r);
        assert_int_equal(apply(&r, cases[i], &error), -1);
        assert_int_equal(error.code, ERROR_USAGE);
        recipe_free(&r);
    }
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    Recipe a, b;
    Error error = {0};
    recipe_default(&a);
    recipe_default(&b);
    assert_int_equal(apply(&a, vjepa1, &error), 0);
    const char *sets[] = {"mask.batch=truncate",
                          "checkpoint.every=7 minutes",
                          "optimization.lr=0.1",
                          "data.spacing=published",
                          "model.embed_dim=96",
                          "model.num_heads=3",
                          "data.datasets=[\"a folder: with #strange 'name\"]",
                          "meta.seed=77"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        assert_int_equal(recipe_set(&a, sets[i], &error), 0);
    char *first = recipe_text(&a);
    assert_int_equal(apply(&b, first, &error), 0);
    char *second = recipe_text(&b);
    assert_string_equal(first, second);
    assert_int_equal(b.mask.batch, MASK_TRUNCATE);
    assert_true(b.checkpoint.every_minutes == 7 && b.checkpoint.every_steps == 0);
    assert_string_equal(b.data.datasets[0], "a folder: with #strange 'name");
    free(first);
    free(second);
    recipe_free(&a);
    recipe_free(&b);
}

static void complements_of_masks(void **state) {
    (void)state;
    Recipe a, b;
    Error error = {0};
    recipe_default(&a);
    recipe_default(&b);
    char *plain = recipe_text(&a);
    assert_null(strstr(plain, "complement")); /* texts of runs without these keys stay the same */
    assert_null(strstr(plain, "inv_block"));
    assert_int_equal(
        apply(&a,
              "mask:\n  - {num_blocks: 8, spatial_scale: [0.15, 0.15], full_complement: "
              "true}\n  - {num_blocks: 2, pred_full_complement: true, inv_block: true}\n"
              "  - {num_blocks: 2, inv_block: false}\n",
              &error),
        0);
    char *text = recipe_text(&a);
    assert_int_equal(apply(&b, text, &error), 0);
    for (int m = 0; m < 3; m++) {
        assert_true(b.mask.settings[m].full_complement == (m == 0));
        assert_true(b.mask.settings[m].pred_full_complement == (m == 1));
        assert_true(b.mask.settings[m].inv_block == (m == 1));
    }
    assert_int_equal(apply(&a, "mask:\n  - {num_blocks: 8, inv_block: 3}\n", &error), -1);
    assert_non_null(strstr(error.text, "mask[0].inv_block"));
    free(plain);
    free(text);
    recipe_free(&a);
    recipe_free(&b);
}

static void sizes_must_fit(void **state) {
    (void)state;
    const char *cases[][2] = {
        {"data.patch_size=15", "patch_size 15"},       {"data.num_frames=15", "tubelet_size"},
        {"model.num_heads=7", "num_heads 7"},          {"model.model_name=vit_larg", "vit_large"},
        {"data.mask_type=random_tube", "random_tube"}, {"checkpoint.keep=1", "checkpoint.keep"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe r;
        Error error = {0};
        recipe_default(&r);
        assert_int_equal(recipe_check(&r, &error), 0);
        assert_int_equal(recipe_set(&r, cases[i][0], &error), 0);
        assert_int_equal(recipe_check(&r, &error), -1);
        if (!strstr(error.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], error.text);
        recipe_free(&r);
    }
}

/* Sizes that no machine has are refused before anything is allocated for them. */
static void giants_are_refused(void **state) {
    (void)state;
    const char *tokens[] = {"data.batch_size=4096", "data.crop_size=1024", "data.patch_size=2",
                            "data.num_frames=256"};
    const char *clips[] = {"data.batch_size=4096", "data.crop_size=64", "nodes=65536"};
    Recipe r;
    Error error = {0};
    recipe_default(&r);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        assert_int_equal(recipe_set(&r, tokens[i], &error), 0);
    assert_int_equal(recipe_check(&r, &error), -1);
    assert_non_null(strstr(error.text, "tokens"));
    recipe_free(&r);
    recipe_default(&r);
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++)
        assert_int_equal(recipe_set(&r, clips[i], &error), 0);
    assert_int_equal(recipe_check(&r, &error), -1);
    assert_non_null(strstr(error.text, "clips"));
    recipe_free(&r);
}

/* What the data section says about clips survives being written, and means what it says. */
static void test_clips(void **state) {
    (void)state;
    static const char *const sets[] = {"data.datasets=[a, b, c]",
                                       "data.datasets_weights=[0.335, 0.1, 0.565]",
                                       "data.dataset_fpcs=[16, 16, 16]",
                                       "data.num_clips=2",
                                       "data.sampling=duration",
                                       "data.spacing=published",
                                       "data.filter_short_videos=true",
                                       "data.interpolation=published",
                                       "data.hdr=refuse",
                                       "data.index_check=packets",
                                       "data.timeout=30",
                                       "data.cache=1.5 GiB",
                                       "data.cache_folder=/tmp/frames",
                                       "data_aug.auto_augment=true",
                                       "data_aug.reprob=0.25",
                                       "data_aug.color_jitter=0.5"};
    Recipe recipe, again;
    Error error = {0};
    YamlNode *root = NULL;
    recipe_default(&recipe);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (recipe_set(&recipe, sets[i], &error))
            fail_msg("%s: %s", sets[i], error.text);
    assert_int_equal(recipe_check(&recipe, &error), 0);
    char *text = recipe_text(&recipe);
    recipe_default(&again);
    assert_int_equal(yaml_parse(&root, text, strlen(text), "text", &error), 0);
    assert_int_equal(recipe_apply(&again, root, "text", &error), 0);
    char *twice = recipe_text(&again);
    assert_string_equal(text, twice);
    SamplerSettings sampler = recipe_sampler(&again);
    assert_int_equal(sampler.mode, SAMPLER_DURATION);
    assert_int_equal(sampler.weighted, 3);
    assert_true(sampler.weights[2] == 0.565);
    assert_int_equal(sampler.frames[0], 0); /* all alike: num_frames */
    assert_int_equal(sampler.clip.frames, 16);
    assert_int_equal(sampler.num_clips, 2);
    assert_int_equal(sampler.clip.short_videos, CLIP_SHORT_SKIP);
    assert_int_equal(sampler.clip.interpolation, CLIP_PUBLISHED);
    assert_int_equal(sampler.clip.hdr, CLIP_HDR_REFUSE);
    assert_true(sampler.clip.augment.rand_augment && sampler.clip.augment.reprob == 0.25);
    assert_true(again.data.cache_bytes == 1.5 * 1024 * 1024 * 1024);
    assert_int_equal(recipe_slots(&again), 2 * again.data.batch_size);
    free(twice);
    free(text);
    yaml_release(root);
    recipe_free(&again);

    /* several lengths: drawn, but not taken by the networks */
    assert_int_equal(recipe_set(&recipe, "data.dataset_fpcs=[16, 8, 4]", &error), 0);
    assert_int_equal(recipe_sampler(&recipe).frames[2], 4);
    assert_int_equal(recipe_check_data(&recipe, &error), 0);
    assert_int_equal(recipe_check(&recipe, &error), -1);
    assert_int_equal(recipe_set(&recipe, "data.dataset_fpcs=null", &error), 0);
    assert_int_equal(recipe_check(&recipe, &error), 0);
    assert_int_equal(recipe_set(&recipe, "data.filter_short_videos=false", &error), 0);
    assert_int_equal(recipe_sampler(&recipe).clip.short_videos, CLIP_SHORT_REPEAT);
    static const char *const wrong[] = {"data.sampling=often", "data.cache=much", "data.hdr=1",
                                        "data.datasets_weights=[a]", "data.dataset_fpcs=[0]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(recipe_set(&recipe, wrong[i], &error), -1);
    recipe_free(&recipe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_vjepa1),
        cmocka_unit_test(reads_vjepa2_and_names_what_is_missing),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(wrong_kinds_are_refused),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(complements_of_masks),
        cmocka_unit_test(sizes_must_fit),
        cmocka_unit_test(giants_are_refused),
        cmocka_unit_test(test_clips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
