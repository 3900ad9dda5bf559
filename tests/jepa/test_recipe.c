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

/* Micro-batches are equal parts of a group; pictures take the most that divide theirs. */
static void micro_batches_divide_a_group(void **state) {
    (void)state;
    Recipe r;
    Error error = {0};
    recipe_default(&r); /* 24 clips */
    assert_int_equal(recipe_micro_batch(&r), 24);
    assert_int_equal(recipe_set(&r, "optimization.micro_batch=8", &error), 0);
    assert_int_equal(recipe_check(&r, &error), 0);
    assert_int_equal(recipe_micro_batch(&r), 8);
    r.img_data.batch_size = 36;
    assert_int_equal(recipe_image_micro_batch(&r), 6);
    for (int micro = 5; micro <= 48; micro += 43) {
        r.optimization.micro_batch = micro;
        assert_int_equal(recipe_check(&r, &error), -1);
        assert_int_equal(error.code, ERROR_USAGE);
        assert_non_null(strstr(error.text, "1, 2, 3, 4, 6, 8, 12, 24"));
    }
    r.optimization.micro_batch = 0;
    for (int leaves = 0; leaves <= 130; leaves++) {
        r.optimization.reduce_leaves = leaves;
        bool power = leaves && leaves <= 64 && !(leaves & (leaves - 1));
        assert_int_equal(recipe_check(&r, &error), power ? 0 : -1);
    }
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

/* Sizes of the released networks, from the files' own keys. Facts: encoders of 303,885,312 and
 * 1,012,173,952 parameters; the predictor has as many channels and heads in both. */
static void sizes_of_the_released_vjepa2(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int dim, depth, heads, hidden;
    } cases[] = {{"vit_large", 1024, 24, 16, 4096},
                 {"vit_huge", 1280, 32, 16, 5120},
                 {"vit_giant_xformers", 1408, 40, 22, 6144}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe r;
        Error error = {0};
        recipe_default(&r);
        assert_int_equal(apply(&r, vjepa2, &error), 0);
        char *name = memory_text("model.model_name=%s", cases[i].name);
        assert_int_equal(recipe_set(&r, name, &error), 0);
        free(name);
        assert_int_equal(recipe_check(&r, &error), 0);
        ModelConfig c = recipe_model(&r);
        assert_int_equal(c.dim, cases[i].dim);
        assert_int_equal(c.depth, cases[i].depth);
        assert_int_equal(c.heads, cases[i].heads);
        assert_int_equal(c.hidden, cases[i].hidden);
        assert_int_equal(c.pred_dim, 384);
        assert_int_equal(c.pred_depth, 12);
        assert_int_equal(c.pred_heads, 12); /* its own, not the encoder's as in V-JEPA 1 */
        assert_int_equal(c.pred_hidden, 1536);
        assert_int_equal(c.positions, POSITIONS_ROPE_TILED);
        assert_true(c.rescale_init && c.token_by_length && !c.swiglu);
        assert_true(recipe_clip_grad(&r) == 0);
        recipe_free(&r);
    }
}

/* The released files name three data sets of one length: still one mask token, one stream. */
static void data_sets_of_one_length(void **state) {
    (void)state;
    Recipe r;
    Error error = {0};
    int lengths[RECIPE_SOURCES_MAX];
    recipe_default(&r);
    assert_int_equal(apply(&r, vjepa2, &error), 0);
    assert_int_equal(recipe_set(&r, "data.datasets=[a.csv, b.csv, c.csv]", &error), 0);
    assert_int_equal(recipe_set(&r, "data.datasets_weights=[0.335, 0.1, 0.565]", &error), 0);
    assert_int_equal(recipe_set(&r, "data.dataset_fpcs=[64, 64, 64]", &error), 0);
    if (recipe_check(&r, &error))
        fail_msg("%s", error.text);
    assert_int_equal(recipe_lengths(lengths, &r), 1);
    assert_int_equal(lengths[0], 64);
    assert_int_equal(recipe_model(&r).frames, 64);
    assert_int_equal(recipe_model(&r).used_mask_tokens, 1);
    assert_int_equal(recipe_mask(&r).lengths, 0);
    /* two lengths, one of them of two data sets whose shares add up */
    assert_int_equal(recipe_set(&r, "data.dataset_fpcs=[64, 16, 64]", &error), 0);
    if (recipe_check(&r, &error))
        fail_msg("%s", error.text);
    assert_int_equal(recipe_lengths(lengths, &r), 2);
    assert_true(lengths[0] == 64 && lengths[1] == 16);
    assert_int_equal(recipe_model(&r).frames, 64); /* the longest */
    assert_int_equal(recipe_model(&r).used_mask_tokens, 2);
    MaskRecipe mask = recipe_mask(&r);
    assert_int_equal(mask.lengths, 2);
    assert_true(mask.length[0] == 32 && mask.length[1] == 8); /* tubelets */
    assert_true(mask.length_weight[0] == 0.335 + 0.565 && mask.length_weight[1] == 0.1);
    recipe_free(&r);
}

/* A V-JEPA 2.1 recipe with pictures on half of the ranks. */
static const char *const vjepa21[] = {"app=vjepa_2_1",
                                      "model.model_name=vit_large_rope",
                                      "model.interpolate_rope=true",
                                      "model.levels_predictor=4",
                                      "model.modality_embedding=true",
                                      "model.img_temporal_dim_size=1",
                                      "model.num_mask_tokens=8",
                                      "model.lambda_value_vid=0.5",
                                      "model.lambda_value_img=0.25",
                                      "model.lambda_progressive=true",
                                      "loss.predict_all=true",
                                      "loss.weight_distance_loss=true",
                                      "img_data.datasets=[/data/images]",
                                      "img_data.batch_size=72",
                                      "img_data.crop_size=512",
                                      "img_data.rank_ratio=0.5",
                                      "img_mask=[{num_blocks: 10, spatial_scale: [0.15, 0.15]}]"};

static void start_vjepa21(Recipe *r) {
    Error error = {0};
    recipe_default(r);
    assert_int_equal(apply(r, vjepa2, &error), 0);
    for (size_t i = 0; i < sizeof vjepa21 / sizeof *vjepa21; i++)
        if (recipe_set(r, vjepa21[i], &error))
            fail_msg("%s: %s", vjepa21[i], error.text);
    if (recipe_check(r, &error))
        fail_msg("%s", error.text);
}

static void reads_vjepa21(void **state) {
    (void)state;
    Recipe r;
    start_vjepa21(&r);
    ModelConfig c = recipe_model(&r), pictures = recipe_image_model(&r);
    assert_int_equal(c.positions, POSITIONS_ROPE); /* mended there */
    assert_int_equal(c.rope_side, 16);             /* the trained 256 pixels in patches of 16 */
    assert_int_equal(c.norms, 4);
    assert_int_equal(c.levels, 4);
    assert_int_equal(c.mask_tokens, 8);
    assert_int_equal(c.used_mask_tokens, 1);
    assert_true(c.modality && c.image_patches && c.context_loss && !c.videos_only);
    assert_int_equal(recipe_groups(&r), 64); /* of 128 ranks */
    assert_int_equal(recipe_image_groups(&r), 64);
    assert_int_equal(pictures.tubelet, 1);
    assert_int_equal(pictures.height, 512);
    assert_int_equal(recipe_image_mask(&r).samples, 72);
    /* the context loss: nothing up to 15,000, linear, all of it from 30,000 on */
    assert_true(recipe_lambda(&r, 15000, false) == 0);
    assert_true(recipe_lambda(&r, 22500, false) == 0.25 && recipe_lambda(&r, 22500, true) == 0.125);
    assert_true(recipe_lambda(&r, 30000, false) == 0.5 && recipe_lambda(&r, 90000, true) == 0.25);
    recipe_free(&r);
}

/* Keys that exclude or need each other: the message names the key that would mend it. */
static void families_do_not_mix(void **state) {
    (void)state;
    static const struct {
        const char *sets[3]; /* on a V-JEPA 2 recipe */
        const char *said;
    } cases[] = {
        {{"data.datasets=[a, b]", "data.dataset_fpcs=[16, 32]"}, "data.datasets_weights"},
        {{"data.datasets=[a, b]", "data.dataset_fpcs=[16, 15]", "data.datasets_weights=[1, 1]"},
         "tubelet_size"},
        {{"data.datasets=[a, b]", "data.dataset_fpcs=[16, 16, 8]", "data.datasets_weights=[1, 1]"},
         "3 lengths for 2 data sets"},
        {{"loss.predict_all=true"}, "model.levels_predictor"},
        {{"model.levels_predictor=3"}, "model.levels_predictor"},
        {{"optimization.is_anneal=true"}, "optimization.anneal_ckpt"},
        {{"optimization.anneal_ckpt=/run", "init_from=/other"}, "init_from"},
        {{"objective=sigreg", "model.use_rope=false"}, "model.use_rope"},
        {{"objective=sigreg", "model.levels_predictor=4"}, "objective sigreg"},
        {{"objective=sigreg", "model.target_precision=fp8"}, "model.target_precision"},
        {{"objective=sigreg", "sigreg.local_size=90"}, "sigreg.local_size"},
        {{"objective=sigreg", "sigreg.token_drop_rate=1"}, "sigreg.token_drop_rate"},
        {{"model.mask_tokens=setting", "model.num_mask_tokens=1",
          "mask=[{num_blocks: 8}, {num_blocks: 2}]"},
         "model.num_mask_tokens"},
        {{"model.two_dimensional=true"}, "data.num_frames"},
        {{"target=frozen"}, "frozen:CHECKPOINT"},
        {{"data.clip_duration=3"}, "data.fps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe r;
        Error error = {0};
        recipe_default(&r);
        assert_int_equal(apply(&r, vjepa2, &error), 0);
        assert_int_equal(recipe_check(&r, &error), 0);
        for (int k = 0; k < 3 && cases[i].sets[k]; k++)
            if (recipe_set(&r, cases[i].sets[k], &error))
                fail_msg("%s: %s", cases[i].sets[k], error.text);
        if (!recipe_check(&r, &error) || !strstr(error.text, cases[i].said))
            fail_msg("%s: \"%s\", expected a word on %s", cases[i].sets[0], error.text,
                     cases[i].said);
        assert_int_equal(error.code, ERROR_USAGE);
        recipe_free(&r);
    }
    static const char *const pictures[][2] = {
        {"img_data.rank_ratio=1", "img_data.rank_ratio"},
        {"img_data.datasets=[]", "img_data"},
        {"img_mask=null", "img_mask"},
        {"img_data.crop_size=250", "img_data.crop_size"},
        {"model.img_temporal_dim_size=null", "model.img_temporal_dim_size"}};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        Recipe r;
        Error error = {0};
        start_vjepa21(&r);
        assert_int_equal(recipe_set(&r, pictures[i][0], &error), 0);
        if (!recipe_check(&r, &error) || !strstr(error.text, pictures[i][1]))
            fail_msg("%s: \"%s\"", pictures[i][0], error.text);
        recipe_free(&r);
    }
}

/* What is not there is refused by its name, and no longer once it is undone. */
static void missing_features_are_named(void **state) {
    (void)state;
    static const char *const cases[][3] = {{"model.n_registers", "4", "0"},
                                           {"model.n_registers_predictor", "4", "0"},
                                           {"loss.shift_by_n", "1", "0"},
                                           {"data_aug.motion_shift", "true", "false"},
                                           {"model.has_cls_first", "true", "false"},
                                           {"loss.offset_context_loss", "true", "false"},
                                           {"model.is_causal", "true", "false"},
                                           {"model.normalize_predictor", "true", "false"},
                                           {"optimization.use_radamw", "true", "false"},
                                           {"sigreg.knots", "9", "17"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe r;
        Error error = {0};
        recipe_default(&r);
        assert_int_equal(apply(&r, vjepa2, &error), 0);
        char *on = memory_text("%s=%s", cases[i][0], cases[i][1]);
        char *off = memory_text("%s=%s", cases[i][0], cases[i][2]);
        assert_int_equal(recipe_set(&r, on, &error), 0);
        assert_int_equal(recipe_check(&r, &error), -1);
        if (!strstr(error.text, cases[i][0]))
            fail_msg("%s: %s", on, error.text);
        assert_int_equal(recipe_set(&r, off, &error), 0);
        memset(&error, 0, sizeof error);
        if (recipe_check(&r, &error))
            fail_msg("%s: %s", off, error.text);
        free(on);
        free(off);
        recipe_free(&r);
    }
}

/* Every key of V-JEPA 2, 2.1, I-JEPA and LeVJEPA, at a value that is not its default, comes back
 * from the written text; together they need not make sense. */
static void new_keys_are_read_back(void **state) {
    (void)state;
    static const char *const sets[] = {
        "objective=sigreg",
        "target=frozen:/a teacher",
        "init_from=/another run",
        "teacher.embed_dim=1280",
        "teacher.depth=32",
        "teacher.num_heads=20",
        "teacher.mlp_dim=5000",
        "teacher.use_silu=true",
        "teacher.positions=standard",
        "teacher.rope_side=18",
        "teacher.uniform_power=true",
        "teacher.norms=4",
        "data.datasets=[a, b, c]",
        "data.datasets_weights=[0.25, 0.5, 0.125]",
        "data.dataset_fpcs=[16, 64, 32]",
        "data.crop_size=[256, 384]",
        "data.fps=7.5",
        "img_data.datasets=[x, 'y: z']",
        "img_data.batch_size=72",
        "img_data.crop_size=512",
        "img_data.rank_ratio=0.375",
        "img_mask=[{num_blocks: 10, spatial_scale: [0.125, 0.25]}, {num_blocks: 3, inv_block: "
        "true}]",
        "loss.smooth_l1=true",
        "loss.predict_all=true",
        "loss.weight_distance_loss=true",
        "loss.lambda_start=7",
        "loss.lambda_end=9",
        "mask.num_pred_masks=5",
        "mask.pred_mask_scale=[0.125, 0.1875]",
        "mask.enc_mask_scale=[0.75, 0.875]",
        "mask.aspect_ratio=[0.5, 2]",
        "mask.min_keep=11",
        "mask.allow_overlap=true",
        "sigreg.weight=0.03125",
        "sigreg.num_proj=77",
        "sigreg.hidden_dim=78",
        "sigreg.output_dim=79",
        "sigreg.token_drop_rate=0.875",
        "sigreg.block_causal=false",
        "sigreg.local_crops_number=3",
        "sigreg.local_size=64",
        "sigreg.local_crops_scale=[0.0625, 0.3125]",
        "sigreg.local_crops_ratio=[0.625, 1.5]",
        "sigreg.hflip=false",
        "sigreg.color_jitter_prob=0.5625",
        "sigreg.brightness=0.4375",
        "sigreg.contrast=0.1875",
        "sigreg.saturation=0.21875",
        "sigreg.hue=0.03125",
        "sigreg.grayscale_prob=0.28125",
        "model.rescale_init=true",
        "model.use_rope=true",
        "model.rope=standard",
        "model.interpolate_rope=true",
        "model.use_silu=true",
        "model.use_pred_silu=true",
        "model.wide_silu=false",
        "model.drop_path_rate=0.0625",
        "model.mask_tokens=setting",
        "model.num_mask_tokens=9",
        "model.levels_predictor=4",
        "model.modality_embedding=true",
        "model.img_temporal_dim_size=1",
        "model.two_dimensional=true",
        "model.target_precision=fp8",
        "model.lambda_value_vid=0.3125",
        "model.lambda_value_img=0.6875",
        "model.lambda_progressive=true",
        "optimization.clip_grad=3.5",
        "optimization.micro_batch=6",
        "optimization.reduce_leaves=4",
        "optimization.is_anneal=true",
        "optimization.anneal_ckpt=/runs/pretrained 800",
    };
    Recipe a, b, fresh;
    Error error = {0};
    recipe_default(&a);
    recipe_default(&b);
    recipe_default(&fresh);
    char *before = recipe_text(&fresh);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (recipe_set(&fresh, sets[i], &error) || recipe_set(&a, sets[i], &error))
            fail_msg("%s: %s", sets[i], error.text);
        char *after = recipe_text(&fresh);
        if (!strcmp(before, after)) /* it is written, and its value is not the default */
            fail_msg("%s leaves no trace in the text", sets[i]);
        free(before);
        before = after;
    }
    char *text = recipe_text(&a);
    assert_int_equal(apply(&b, text, &error), 0);
    char *again = recipe_text(&b);
    assert_string_equal(text, again);
    /* a few of them, lest reading and writing be wrong alike */
    assert_int_equal(b.objective, OBJECTIVE_SIGREG);
    assert_string_equal(recipe_teacher(&b), "/a teacher");
    assert_string_equal(b.optimization.anneal_ckpt, "/runs/pretrained 800");
    assert_string_equal(b.img_data.datasets[1], "y: z");
    assert_true(b.data.fpcs_count == 3 && b.data.fpcs[1] == 64 && b.data.num_frames == 64);
    assert_true(b.data.weights_count == 3 && b.data.weights[2] == 0.125);
    assert_true(b.data.crop_size == 256 && b.data.crop_width == 384);
    assert_true(b.img_mask.count == 2 && b.img_mask.settings[1].inv_block);
    assert_true(b.mask.ijepa.enc_mask_scale[1] == 0.875 && b.mask.ijepa.allow_overlap);
    assert_true(b.sigreg.local_crops_ratio[0] == 0.625 && b.sigreg.grayscale_prob == 0.28125);
    assert_true(b.loss.lambda_value_img == 0.6875 && b.loss.lambda_end == 9);
    free(before);
    free(text);
    free(again);
    recipe_free(&a);
    recipe_free(&b);
    recipe_free(&fresh);
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
        cmocka_unit_test(micro_batches_divide_a_group),
        cmocka_unit_test(test_clips),
        cmocka_unit_test(sizes_of_the_released_vjepa2),
        cmocka_unit_test(data_sets_of_one_length),
        cmocka_unit_test(reads_vjepa21),
        cmocka_unit_test(families_do_not_mix),
        cmocka_unit_test(missing_features_are_named),
        cmocka_unit_test(new_keys_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
