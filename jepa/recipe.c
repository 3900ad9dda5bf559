/* Recipes: defaults, checks, and the parts that the other floors want. See jepa/recipe.h; the keys
 * are in jepa/recipe_keys.c. */
#include "jepa/recipe.h"
#include "jepa/recipe_keys.h"
#include "jepa/sigreg.h"
#include "video/hold_out.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_TOKENS_MAX (1 << 30)   /* packed lengths are 32-bit numbers */
#define WIDTH_MAX        8192        /* channels */
#define CLIPS_MAX        (1 << 24)   /* slots of a step, see clip_draw_training */
#define IMAGE_SEED       0x494D4147u /* pictures are drawn apart from the clips */

void recipe_default(Recipe *r) {
    memset(r, 0, sizeof *r);
    r->nodes = r->tasks_per_node = 1;
    r->data.batch_size = 24;
    r->data.num_clips = 1;
    r->data.timeout = 600;
    r->data.num_frames = 16;
    r->data.tubelet_size = 2;
    r->data.sampling_rate = 4;
    r->data.crop_size = 224;
    r->data.patch_size = 16;
    r->data_aug.random_resize_aspect_ratio[0] = 0.75;
    r->data_aug.random_resize_aspect_ratio[1] = 1.35;
    r->data_aug.random_resize_scale[0] = 0.3;
    r->data_aug.random_resize_scale[1] = 1.0;
    r->data_aug.horizontal_flip = true;
    r->loss.loss_exp = 1;
    r->mask.count = 2;
    for (int m = 0; m < 2; m++)
        r->mask.settings[m] = (MaskSetting){.num_blocks = m ? 2 : 8,
                                            .aspect_ratio = {0.75, 1.5},
                                            .spatial_scale = {m ? 0.7 : 0.15, m ? 0.7 : 0.15},
                                            .temporal_scale = {1, 1},
                                            .max_temporal_keep = 1};
    r->meta.seed = 234;
    r->model.model_name = memory_text("vit_large");
    r->model.pred_depth = 12;
    r->model.pred_embed_dim = 384;
    r->model.uniform_power = true;
    r->model.zero_init_mask_tokens = true;
    r->model.init_std = 0.02;
    r->model.wide_silu = true;
    r->loss.lambda_value_vid = r->loss.lambda_value_img = 0.5;
    r->loss.lambda_start = 15000;
    r->loss.lambda_end = 30000;
    r->sigreg.weight = SIGREG_LAMBDA;
    r->sigreg.num_proj = SIGREG_DIRECTIONS;
    r->sigreg.hidden_dim = SIGREG_HIDDEN;
    r->sigreg.output_dim = SIGREG_OUTPUT;
    r->sigreg.token_drop_rate = 0.95;
    r->sigreg.block_causal = true;
    r->sigreg.local_crops_number = 10;
    r->sigreg.local_size = 96;
    r->sigreg.local_crops_scale[0] = 0.02;
    r->sigreg.local_crops_scale[1] = 0.4;
    r->sigreg.local_crops_ratio[0] = 0.75;
    r->sigreg.local_crops_ratio[1] = 4.0 / 3;
    r->sigreg.hflip = true;
    r->sigreg.color_jitter_prob = 0.8;
    r->sigreg.brightness = r->sigreg.contrast = 0.4;
    r->sigreg.saturation = 0.2;
    r->sigreg.hue = 0.1;
    r->sigreg.grayscale_prob = 0.2;
    r->optimization.ipe = 300;
    r->optimization.ipe_scale = 1.25;
    r->optimization.clip_grad = -1; /* auto */
    r->optimization.weight_decay = 0.04;
    r->optimization.final_weight_decay = 0.4;
    r->optimization.epochs = 300;
    r->optimization.warmup = 40;
    r->optimization.start_lr = 2e-4;
    r->optimization.lr = 6.25e-4;
    r->optimization.final_lr = 1e-6;
    r->optimization.ema[0] = 0.998;
    r->optimization.ema[1] = 1;
    r->optimization.betas[0] = 0.9;
    r->optimization.betas[1] = 0.999;
    r->optimization.eps = 1e-8;
    r->optimization.reduce_leaves = 8;
    r->checkpoint.every_minutes = 10;
    r->checkpoint.keep = 2;
    r->logging.diagnostics_every = 10;
    r->meta.deterministic = true;
    recipe_default_health(r);
    r->ranks.timeout = 600;
}

void recipe_free(Recipe *r) {
    for (int i = 0; i < r->data.datasets_count; i++)
        free(r->data.datasets[i]);
    for (int i = 0; i < r->img_data.datasets_count; i++)
        free(r->img_data.datasets[i]);
    free(r->data.cache_folder);
    free(r->diagnostics.data);
    free(r->target);
    free(r->init_from);
    free(r->optimization.anneal_ckpt);
    free(r->meta.dtype);
    free(r->model.model_name);
    free(r->ignored);
    free(r->not_built);
    memset(r, 0, sizeof *r);
}

int recipe_slots(const Recipe *recipe) {
    return recipe->data.batch_size * recipe->data.num_clips;
}

/* The largest divisor of `slots` that is at most micro_batch. */
static int micro_batch_of(const Recipe *recipe, int slots) {
    int micro = recipe->optimization.micro_batch;
    if (micro < 1 || micro > slots)
        micro = slots;
    while (slots % micro)
        micro--;
    return micro;
}

int recipe_micro_batch(const Recipe *recipe) {
    return micro_batch_of(recipe, recipe_slots(recipe));
}

int recipe_image_micro_batch(const Recipe *recipe) {
    return micro_batch_of(recipe, recipe->img_data.batch_size);
}

int recipe_groups(const Recipe *recipe) {
    return recipe->nodes * recipe->tasks_per_node - recipe_image_groups(recipe);
}

/* As the published ranks: int(ranks · ratio) of them read pictures. */
int recipe_image_groups(const Recipe *recipe) {
    return (int)(recipe->nodes * recipe->tasks_per_node * recipe->img_data.rank_ratio);
}

int recipe_lengths(int *lengths, const Recipe *r) {
    int count = 0;
    for (int i = 0; i < r->data.fpcs_count; i++) {
        int known = 0;
        while (known < count && lengths[known] != r->data.fpcs[i])
            known++;
        if (known == count)
            lengths[count++] = r->data.fpcs[i];
    }
    if (!count)
        lengths[count++] = r->data.num_frames;
    return count;
}

bool recipe_rotary(const Recipe *r) {
    const char *name = r->model.model_name;
    size_t length = name ? strlen(name) : 0;
    return r->model.use_rope || (length > 5 && !strcmp(name + length - 5, "_rope"));
}

Precision recipe_precision(const Recipe *r) {
    return r->meta.dtype && strcmp(r->meta.dtype, "float32") ? PRECISION_BFLOAT16
                                                             : PRECISION_FLOAT32;
}

bool recipe_target_fp8(const Recipe *r) {
    return r->model.target_precision && r->objective == OBJECTIVE_JEPA;
}

double recipe_clip_grad(const Recipe *r) {
    if (r->optimization.clip_grad >= 0)
        return r->optimization.clip_grad;
    return recipe_rotary(r) ? 0 : 10;
}

const char *recipe_teacher(const Recipe *r) {
    return r->target && !strncmp(r->target, "frozen:", 7) ? r->target + 7 : NULL;
}

double recipe_lambda(const Recipe *r, int64_t step, bool picture) {
    if (!r->loss.predict_all)
        return 0;
    double value = picture ? r->loss.lambda_value_img : r->loss.lambda_value_vid;
    double from = r->loss.lambda_start, to = r->loss.lambda_end, at = (double)step;
    if (!r->loss.lambda_progressive || at >= to)
        return value;
    return at <= from ? 0 : value * (at - from) / (to - from);
}

/* Mask settings of the stream that has most. */
static int most_settings(const Recipe *r) {
    int videos = r->mask.num_pred_masks ? r->mask.num_pred_masks : r->mask.count;
    int pictures = recipe_image_groups(r) ? r->img_mask.count : 0;
    return videos > pictures ? videos : pictures;
}

/* What the families differ in. */
static void resolve_networks(ModelConfig *c, const Recipe *r) {
    int lengths[RECIPE_SOURCES_MAX];
    bool rotary = recipe_rotary(r), dense = r->model.levels_predictor > 0;
    c->objective = (Objective)r->objective;
    /* 2.1 mended the angles of version 2, so its recipes mean the standard form */
    int form = r->model.rope ? r->model.rope : dense ? 2 : 1;
    c->positions = !rotary ? POSITIONS_SINCOS : form == 1 ? POSITIONS_ROPE_TILED : POSITIONS_ROPE;
    c->rope_side = rotary && r->model.interpolate_rope ? (c->patch == 14 ? 252 : 256) / c->patch
                                                       : 0;
    c->swiglu = r->model.use_silu;
    c->pred_swiglu = r->model.use_pred_silu;
    if (c->swiglu)
        c->hidden = config_swiglu_hidden(c->hidden, r->model.wide_silu);
    if (c->pred_swiglu)
        c->pred_hidden = config_swiglu_hidden(c->pred_hidden, r->model.wide_silu);
    c->drop_path = r->model.drop_path_rate;
    c->plane = r->model.two_dimensional;
    c->token_by_length = r->model.mask_tokens ? r->model.mask_tokens == 2 : rotary;
    c->used_mask_tokens = c->plane             ? 1
                          : c->token_by_length ? recipe_lengths(lengths, r)
                                               : most_settings(r);
    c->mask_tokens = r->model.num_mask_tokens ? r->model.num_mask_tokens : c->used_mask_tokens;
    if (dense) {
        c->norms = LEVELS_MAX;
        c->levels = r->model.levels_predictor;
    }
    c->modality = r->model.modality_embedding;
    c->image_patches = r->model.img_temporal_dim_size > 0;
    c->videos_only = !recipe_image_groups(r);
    c->context_loss = r->loss.predict_all;
    if (c->objective == OBJECTIVE_SIGREG) {
        c->class_token = true;
        c->causal = r->sigreg.block_causal;
        c->projector_hidden = r->sigreg.hidden_dim;
        c->projector_out = r->sigreg.output_dim;
    }
    c->frozen = recipe_teacher(r) != NULL;
    if (c->frozen)
        c->teacher = r->teacher;
}

/* Sizes by name or by number; a number wins over the name. */
static int resolve_model(ModelConfig *c, const Recipe *r, Error *error) {
    memset(c, 0, sizeof *c);
    c->frames = c->trained_frames = r->data.num_frames;
    c->height = c->trained_height = r->data.crop_size;
    c->width = c->trained_width = r->data.crop_width ? r->data.crop_width : r->data.crop_size;
    c->tubelet = r->data.tubelet_size;
    c->patch = r->data.patch_size;
    if (r->model.model_name && config_set_name(c, r->model.model_name, error))
        return -1;
    if (r->model.embed_dim > WIDTH_MAX || r->model.pred_embed_dim > WIDTH_MAX ||
        !(r->model.mlp_ratio >= 0 && r->model.mlp_ratio <= 64))
        return error_set(error, ERROR_USAGE,
                         "model: expected widths up to %d and mlp_ratio from 0 to 64", WIDTH_MAX);
    if (r->model.embed_dim) {
        c->dim = r->model.embed_dim;
        c->hidden = 4 * c->dim;
    }
    c->depth = r->model.depth ? r->model.depth : c->depth;
    c->heads = r->model.num_heads ? r->model.num_heads : c->heads;
    if (r->model.mlp_ratio > 0)
        c->hidden = (int)(c->dim * r->model.mlp_ratio);
    c->pred_dim = r->model.pred_embed_dim;
    c->pred_depth = r->model.pred_depth;
    c->pred_heads = r->model.pred_num_heads ? r->model.pred_num_heads : c->heads;
    c->pred_hidden = 4 * c->pred_dim;
    resolve_networks(c, r);
    c->uniform_power = r->model.uniform_power;
    c->zero_init_mask_tokens = r->model.zero_init_mask_tokens;
    c->rescale_init = r->model.rescale_init ? r->model.rescale_init == CHOICE_ON
                                            : c->positions != POSITIONS_SINCOS;
    c->init_std = r->model.init_std;
    return config_check(c, error);
}

ModelConfig recipe_model(const Recipe *recipe) {
    ModelConfig config;
    Error error = {0};
    JEPA_ASSERT(!resolve_model(&config, recipe, &error));
    return config;
}

ClipSpec recipe_clip(const Recipe *r) {
    ClipSpec spec = {
        .frames = r->data.num_frames,
        .step = r->data.sampling_rate,
        .fps = r->data.fps,
        .duration = r->data.clip_duration,
        .spacing = (ClipSpacing)r->data.spacing,
        .short_videos = (ClipShort)r->data.short_videos,
        .interpolation = (ClipInterpolation)r->data.interpolation,
        .hdr = (ClipHdr)r->data.hdr,
        .crop = r->data.crop_size,
        .crop_width = r->data.crop_width,
        .scale = {r->data_aug.random_resize_scale[0], r->data_aug.random_resize_scale[1]},
        .ratio = {r->data_aug.random_resize_aspect_ratio[0],
                  r->data_aug.random_resize_aspect_ratio[1]},
        .flip = r->data_aug.horizontal_flip,
        .augment = {.rand_augment = r->data_aug.auto_augment,
                    .color_jitter = r->data_aug.color_jitter,
                    .reprob = r->data_aug.reprob}};
    if (r->objective == OBJECTIVE_SIGREG)
        spec.views = (ClipViews){
            .local_views = r->sigreg.local_crops_number,
            .local_crop = r->sigreg.local_size,
            .local_scale = {r->sigreg.local_crops_scale[0], r->sigreg.local_crops_scale[1]},
            .local_ratio = {r->sigreg.local_crops_ratio[0], r->sigreg.local_crops_ratio[1]},
            .local_flip = r->sigreg.hflip,
            .jitter_probability = r->sigreg.color_jitter_prob,
            .brightness = r->sigreg.brightness,
            .contrast = r->sigreg.contrast,
            .saturation = r->sigreg.saturation,
            .hue = r->sigreg.hue,
            .grayscale_probability = r->sigreg.grayscale_prob};
    return spec;
}

SamplerSettings recipe_sampler(const Recipe *r) {
    SamplerSettings s = {.clip = recipe_clip(r),
                         .mode = (SamplerMode)r->data.sampling,
                         .num_clips = r->data.num_clips,
                         .weighted = r->data.weights_count,
                         .seed = (uint64_t)r->meta.seed,
                         .hold_out = r->diagnostics.hold_out};
    memcpy(s.weights, r->data.weights, sizeof s.weights);
    memcpy(s.frames, r->data.fpcs, sizeof s.frames);
    return s;
}

MaskRecipe recipe_mask(const Recipe *r) {
    ModelConfig config = recipe_model(r);
    MaskRecipe mask = {.batch = r->mask.batch,
                       .settings = r->mask.count,
                       .grid = config_grid(&config),
                       .samples = recipe_slots(r)};
    memcpy(mask.setting, r->mask.settings, sizeof mask.setting);
    int lengths[RECIPE_SOURCES_MAX], count = recipe_lengths(lengths, r);
    if (count > 1)
        for (mask.lengths = 0; mask.lengths < count; mask.lengths++) {
            mask.length[mask.lengths] = lengths[mask.lengths] / config.tubelet;
            for (int i = 0; i < r->data.fpcs_count; i++)
                if (r->data.fpcs[i] == lengths[mask.lengths])
                    mask.length_weight[mask.lengths] += r->data.weights_count ? r->data.weights[i]
                                                                              : 1;
        }
    if (r->mask.num_pred_masks) {
        MaskSetting setting = r->mask.ijepa;
        setting.kind = MASK_IJEPA;
        mask_ijepa(&mask, &setting, r->mask.num_pred_masks);
    }
    return mask;
}

ClipSpec recipe_image_clip(const Recipe *r) {
    ClipSpec spec = recipe_clip(r);
    spec.frames = spec.step = 1;
    spec.fps = spec.duration = 0;
    spec.crop = r->img_data.crop_size;
    spec.crop_width = 0;
    return spec;
}

SamplerSettings recipe_image_sampler(const Recipe *r) {
    SamplerSettings s = {
        .clip = recipe_image_clip(r), .num_clips = 1, .seed = (uint64_t)r->meta.seed ^ IMAGE_SEED};
    return s;
}

ModelConfig recipe_image_model(const Recipe *r) {
    ModelConfig config = recipe_model(r);
    config.frames = config.trained_frames = config.tubelet = 1;
    config.height = config.width = config.trained_height = config.trained_width =
        r->img_data.crop_size;
    return config;
}

MaskRecipe recipe_image_mask(const Recipe *r) {
    ModelConfig config = recipe_image_model(r);
    MaskRecipe mask = {.batch = r->mask.batch,
                       .settings = r->img_mask.count,
                       .grid = config_grid(&config),
                       .samples = r->img_data.batch_size};
    memcpy(mask.setting, r->img_mask.settings, sizeof mask.setting);
    return mask;
}

Schedule recipe_schedule(const Recipe *r, int64_t units) {
    int64_t batch = (int64_t)r->data.batch_size * recipe_groups(r); /* of videos */
    int64_t ipe = r->optimization.ipe > 0 ? r->optimization.ipe : units / batch;
    return (Schedule){.epochs = r->optimization.epochs,
                      .ipe = (double)(ipe < 1 ? 1 : ipe),
                      .ipe_scale = r->optimization.ipe_scale,
                      .warmup = r->optimization.warmup,
                      .start_lr = r->optimization.start_lr,
                      .lr = r->optimization.lr,
                      .final_lr = r->optimization.final_lr,
                      .weight_decay = r->optimization.weight_decay,
                      .final_weight_decay = r->optimization.final_weight_decay,
                      .anneal = r->optimization.is_anneal,
                      .ema = {r->optimization.ema[0], r->optimization.ema[1]}};
}

static int check_number(double value, double low, double high, const char *path, Error *error) {
    if (!(value >= low && value <= high))
        return error_set(error, ERROR_USAGE, "%s: expected %g to %g, found %g", path, low, high,
                         value);
    return 0;
}

int recipe_check_data(const Recipe *r, Error *error) {
    if (check_number(r->data.batch_size, 1, 4096, "data.batch_size", error) ||
        check_number(r->data.num_clips, 1, 64, "data.num_clips", error) ||
        check_number(r->data.num_frames, 1, CLIP_FRAMES_MAX, "data.num_frames", error) ||
        check_number(r->data.crop_size, 1, CLIP_CROP_MAX, "data.crop_size", error) ||
        check_number(r->data.crop_width, 0, CLIP_CROP_MAX, "data.crop_size", error) ||
        check_number(r->data.timeout, 0, 1e9, "data.timeout", error) ||
        check_number(r->data.cache_bytes, 0, 1e15, "data.cache", error) ||
        check_number(r->data.sampling_rate, 1, 1000, "data.sampling_rate", error) ||
        check_number(r->data.fps, 0, 1000, "data.fps", error) ||
        check_number(r->data.clip_duration, 0, 86400, "data.clip_duration", error) ||
        check_number(r->diagnostics.hold_out, 0, HOLD_OUT_MAX, "diagnostics.hold_out", error) ||
        check_number(r->data_aug.color_jitter, 0, 1, "data_aug.color_jitter", error) ||
        check_number(r->data_aug.reprob, 0, 1, "data_aug.reprob", error) ||
        check_number(r->data_aug.random_resize_scale[0], 1e-3, 1, "data_aug.random_resize_scale",
                     error) ||
        check_number(r->data_aug.random_resize_scale[1], r->data_aug.random_resize_scale[0], 1,
                     "data_aug.random_resize_scale", error) ||
        check_number(r->data_aug.random_resize_aspect_ratio[0], 0.05, 20,
                     "data_aug.random_resize_aspect_ratio", error) ||
        check_number(r->data_aug.random_resize_aspect_ratio[1],
                     r->data_aug.random_resize_aspect_ratio[0], 20,
                     "data_aug.random_resize_aspect_ratio", error))
        return -1;
    if (r->data.fps > 0 && r->data.clip_duration > 0)
        return error_set(error, ERROR_USAGE,
                         "data.fps and data.clip_duration both say how far frames lie apart: give "
                         "one");
    if (r->data.cache_folder && !(r->data.cache_bytes > 0))
        return error_set(error, ERROR_USAGE,
                         "data.cache_folder needs a size: data.cache, for instance 20 GiB");
    if (r->data.decoder == VIDEO_DECODER_CUDA && r->data.index_check != VIDEO_CHECK_DECODE)
        return error_set(error, ERROR_USAGE,
                         "data.decoder: cuda needs data.index_check: decode: damaged pictures are "
                         "found by decoding on the CPU, once");
    for (int i = 0; i < r->data.fpcs_count; i++)
        if (r->data.fpcs[i] > r->data.num_frames)
            return error_set(error, ERROR_USAGE,
                             "data.dataset_fpcs: %d frames, but data.num_frames, given after it, "
                             "is %d: leave data.num_frames out",
                             r->data.fpcs[i], r->data.num_frames);
    int sets = r->data.datasets_count;
    double total = 0;
    for (int i = 0; i < r->data.weights_count; i++) {
        if (!(r->data.weights[i] >= 0 && r->data.weights[i] <= 1e12))
            return error_set(error, ERROR_USAGE,
                             "data.datasets_weights: expected 0 or more, found %g",
                             r->data.weights[i]);
        total += r->data.weights[i];
    }
    if (r->data.weights_count && !(total > 0))
        return error_set(error, ERROR_USAGE, "data.datasets_weights: all are 0");
    bool one = sets == 1; /* an index file may hold several: the sampler looks */
    if (sets && !one && r->data.weights_count && r->data.weights_count != sets)
        return error_set(error, ERROR_USAGE,
                         "data.datasets_weights: %d weights for %d data sets: expected one each",
                         r->data.weights_count, sets);
    if (sets && !one && r->data.fpcs_count && r->data.fpcs_count != sets)
        return error_set(error, ERROR_USAGE,
                         "data.dataset_fpcs: %d lengths for %d data sets: expected one each",
                         r->data.fpcs_count, sets);
    return 0;
}

/* Keys that exclude or need each other. */
static int check_networks(const Recipe *r, const ModelConfig *config, Error *error) {
    int lengths[RECIPE_SOURCES_MAX], count = recipe_lengths(lengths, r);
    if (count > MASK_LENGTHS_MAX)
        return error_set(error, ERROR_USAGE, "data.dataset_fpcs: %d clip lengths, at most %d",
                         count, MASK_LENGTHS_MAX);
    for (int i = 0; i < count; i++)
        if (lengths[i] % config->tubelet)
            return error_set(error, ERROR_USAGE,
                             "data.dataset_fpcs: %d frames are no multiple of tubelet_size %d",
                             lengths[i], config->tubelet);
    if (count > 1 && !r->data.weights_count)
        return error_set(error, ERROR_USAGE,
                         "data.dataset_fpcs: several clip lengths in one run need "
                         "data.datasets_weights: what replaces a broken video must be as long");
    if (count > 1 && config->positions == POSITIONS_SINCOS)
        return error_set(error, ERROR_USAGE,
                         "data.dataset_fpcs: clips of several lengths in one run need rotary "
                         "positions (model.use_rope: true)");
    if (r->target && strcmp(r->target, "ema") && !recipe_teacher(r))
        return error_set(error, ERROR_USAGE, "target: expected ema or frozen:CHECKPOINT, found %s",
                         r->target);
    if (r->optimization.is_anneal && !r->optimization.anneal_ckpt)
        return error_set(error, ERROR_USAGE,
                         "optimization.is_anneal: a cooldown goes on from a run: give "
                         "optimization.anneal_ckpt, or --cooldown RUN");
    if (r->optimization.anneal_ckpt && r->init_from)
        return error_set(error, ERROR_USAGE,
                         "optimization.anneal_ckpt and init_from both say where to start: give "
                         "one");
    if (config->mask_tokens < config->used_mask_tokens)
        return error_set(error, ERROR_USAGE, "model.num_mask_tokens: %d, but %d are used",
                         config->mask_tokens, config->used_mask_tokens);
    if (r->loss.predict_all && !r->model.levels_predictor)
        return error_set(error, ERROR_USAGE,
                         "loss.predict_all belongs to V-JEPA 2.1: set model.levels_predictor to 4 "
                         "or 1");
    if (r->loss.predict_all && r->mask.num_pred_masks)
        return error_set(error, ERROR_USAGE,
                         "loss.predict_all does not go with I-JEPA's masks, whose targets share "
                         "one context");
    if (check_number(r->img_data.rank_ratio, 0, 1, "img_data.rank_ratio", error))
        return -1;
    if (r->img_data.rank_ratio > 0 && !recipe_image_groups(r))
        return error_set(error, ERROR_USAGE,
                         "img_data.rank_ratio: %g of %d group(s) is not one of pictures: raise "
                         "tasks_per_node (and lower data.batch_size to keep the batch)",
                         r->img_data.rank_ratio, r->nodes * r->tasks_per_node);
    if (r->objective == OBJECTIVE_SIGREG &&
        (r->img_data.rank_ratio > 0 || count > 1 || recipe_teacher(r)))
        return error_set(error, ERROR_USAGE,
                         "objective: sigreg takes videos of one length and has no teacher: leave "
                         "out %s",
                         r->img_data.rank_ratio > 0 ? "img_data.rank_ratio"
                         : count > 1                ? "data.dataset_fpcs of several lengths"
                                                    : "target: frozen");
    if (recipe_image_groups(r)) {
        if (recipe_groups(r) < 1)
            return error_set(error, ERROR_USAGE,
                             "img_data.rank_ratio: %g leaves no group for videos; pictures alone "
                             "are trained as data.datasets with num_frames 1",
                             r->img_data.rank_ratio);
        if (!r->img_data.datasets_count || !r->img_mask.count ||
            check_number(r->img_data.batch_size, 1, 4096, "img_data.batch_size", error) ||
            check_number(r->img_data.crop_size, 8, CLIP_CROP_MAX, "img_data.crop_size", error))
            return error->code
                       ? -1
                       : error_set(error, ERROR_USAGE, "img_data: expected datasets and img_mask");
        if (!config->image_patches)
            return error_set(error, ERROR_USAGE,
                             "img_data: pictures beside videos need model.img_temporal_dim_size: "
                             "1");
        MaskRecipe mask = recipe_image_mask(r);
        if (r->img_data.crop_size % config->patch)
            return error_set(error, ERROR_USAGE,
                             "img_data.crop_size %d is no multiple of patch_size %d",
                             r->img_data.crop_size, config->patch);
        if (mask_check(&mask, error))
            return error_prefix(error, "img_mask");
    }
    if (r->objective == OBJECTIVE_SIGREG &&
        (check_number(r->sigreg.weight, 0, 1e6, "sigreg.weight", error) ||
         check_number(r->sigreg.num_proj, 1, 65536, "sigreg.num_proj", error) ||
         check_number(r->sigreg.token_drop_rate, 0, 0.9999, "sigreg.token_drop_rate", error) ||
         check_number(r->sigreg.local_crops_number, 1, 32, "sigreg.local_crops_number", error) ||
         check_number(r->sigreg.local_size, config->patch, CLIP_CROP_MAX, "sigreg.local_size",
                      error)))
        return -1;
    ClipSpec clip = recipe_clip(r);
    if (clip_check_views(&clip, error))
        return -1;
    if (r->objective == OBJECTIVE_SIGREG && r->sigreg.local_size % config->patch)
        return error_set(error, ERROR_USAGE, "sigreg.local_size %d is no multiple of patch_size %d",
                         r->sigreg.local_size, config->patch);
    return 0;
}

/* Micro-batches are equal parts of a group, leaves a power of two. */
static int check_micro_batch(const Recipe *r, Error *error) {
    int slots = recipe_slots(r), micro = r->optimization.micro_batch;
    int leaves = r->optimization.reduce_leaves;
    if (leaves < 1 || leaves > REDUCE_LEAVES_MAX || (leaves & (leaves - 1)))
        return error_set(error, ERROR_USAGE,
                         "optimization.reduce_leaves: expected 1, 2, 4, ... %d, found %d",
                         REDUCE_LEAVES_MAX, leaves);
    if (!micro || micro == recipe_micro_batch(r))
        return 0;
    char divisors[200] = "";
    for (int n = 1, of = 0; n <= slots && strlen(divisors) < sizeof divisors - 16; n++)
        if (slots % n == 0)
            snprintf(divisors + strlen(divisors), sizeof divisors - strlen(divisors), "%s%d",
                     of++ ? ", " : "", n);
    return error_set(error, ERROR_USAGE,
                     "optimization.micro_batch: %d does not divide the %d clips of a group "
                     "(data.batch_size x num_clips): give one of %s, or 0 for all",
                     micro, slots, divisors);
}

int recipe_check(const Recipe *r, Error *error) {
    ModelConfig config;
    if (check_number(r->mask.num_pred_masks, 0, MASK_SETTINGS_MAX, "mask.num_pred_masks", error))
        return -1;
    if (r->not_built)
        return error_set(error, ERROR_USAGE, "the recipe asks for what is not built yet: %s",
                         r->not_built);
    if (recipe_check_data(r, error) || check_number(r->nodes, 1, 65536, "nodes", error) ||
        check_number(r->tasks_per_node, 1, 1024, "tasks_per_node", error) ||
        check_number(r->loss.loss_exp, 1, 10, "loss.loss_exp", error) ||
        check_number(r->loss.reg_coeff, 0, 1e6, "loss.reg_coeff", error) ||
        check_number((double)r->optimization.ipe, 0, 1e9, "optimization.ipe", error) ||
        check_number(r->optimization.epochs, 1e-6, 1e9, "optimization.epochs", error) ||
        check_number(r->optimization.ipe_scale, 1, 100, "optimization.ipe_scale", error) ||
        check_number(r->optimization.warmup, 0, 1e9, "optimization.warmup", error) ||
        check_number(r->optimization.clip_grad, -1, 1e12, "optimization.clip_grad", error) ||
        check_number(r->optimization.start_lr, 0, 100, "optimization.start_lr", error) ||
        check_number(r->optimization.lr, 0, 100, "optimization.lr", error) ||
        check_number(r->optimization.final_lr, 0, 100, "optimization.final_lr", error) ||
        check_number(r->optimization.weight_decay, 0, 100, "optimization.weight_decay", error) ||
        check_number(r->optimization.final_weight_decay, 0, 100, "optimization.final_weight_decay",
                     error) ||
        check_number(r->optimization.ema[0], 0, 1, "optimization.ema", error) ||
        check_number(r->optimization.ema[1], 0, 1, "optimization.ema", error) ||
        check_number(r->optimization.betas[0], 0, 0.999999, "optimization.betas", error) ||
        check_number(r->optimization.betas[1], 0, 0.9999999, "optimization.betas", error) ||
        check_number(r->optimization.eps, 1e-30, 1, "optimization.eps", error) ||
        check_number(r->checkpoint.keep, 2, 1e6, "checkpoint.keep", error) ||
        check_number(r->logging.diagnostics_every, 1, 1e6, "logging.diagnostics_every", error) ||
        resolve_model(&config, r, error))
        return -1;
    if (check_networks(r, &config, error) || check_micro_batch(r, error) ||
        recipe_check_health(r, error))
        return -1;
    const char *type = r->meta.dtype;
    if (type && strcmp(type, "float32") && strcmp(type, "bfloat16") && strcmp(type, "float16"))
        return error_set(error, ERROR_USAGE,
                         "meta.dtype: expected float32, bfloat16 or float16, found \"%s\"", type);
    if (r->model.target_precision && r->objective != OBJECTIVE_JEPA)
        return error_set(error, ERROR_USAGE,
                         "model.target_precision: fp8 means the target encoder, which objective: "
                         "sigreg does not have");
    for (int m = 0; m < r->mask.count; m++)
        if ((r->mask.settings[m].kind == MASK_TUBE) != r->mask.tubes && !r->mask.num_pred_masks)
            return error_set(error, ERROR_USAGE,
                             "data.mask_type %s does not fit mask[%d]: random_tube takes a ratio, "
                             "multiblock3d takes blocks",
                             r->mask.tubes ? "random_tube" : "multiblock3d", m);
    MaskRecipe mask = recipe_mask(r);
    double tokens = (double)mask_grid_tokens(mask.grid) * mask.samples * mask.settings;
    double clips = (double)mask.samples * r->nodes * r->tasks_per_node;
    if (tokens > GROUP_TOKENS_MAX)
        return error_set(
            error, ERROR_USAGE,
            "a group of %d clips has %.0f tokens under %d masks, more than the %d that are "
            "counted: lower data.batch_size (and raise tasks_per_node), crop_size or "
            "num_frames",
            mask.samples, tokens, mask.settings, GROUP_TOKENS_MAX);
    if (clips > CLIPS_MAX)
        return error_set(error, ERROR_USAGE, "a step of %.0f clips: expected at most %d", clips,
                         CLIPS_MAX);
    return r->objective == OBJECTIVE_JEPA ? mask_check(&mask, error) : 0;
}
