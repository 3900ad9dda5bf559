/* Inputs of a group on their way to the device. See jepa/model_input.h. */
#include "jepa/model_input.h"
#include "base/random.h"
#include "masking/distance.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void upload_indices(Model *model, int32_t *to, int64_t count) {
    model->device->upload(to, model->staging, (size_t)count * sizeof(int32_t), model->device);
}

static int64_t frame_plane(const Model *model) {
    return (int64_t)model->plan.config.height * model->plan.config.width;
}

/* Tokens of a clip of so many frames. */
static int tokens_of(const Model *model, int frames) {
    return frames / model->plan.config.tubelet * model->grid.height * model->grid.width;
}

/* Step of time of a token; a class token reads all and is read by none. */
static int32_t step_of(const Model *model, int32_t token) {
    return token < 0 ? INT32_MAX : token / (model->grid.height * model->grid.width);
}

void model_set_clips(Model *model, const int *frames, int samples) {
    int32_t *cu = model->cu_target_clips, *staging = model->staging;
    int extra = model->rows - model->tokens;
    for (int b = 0; b < samples; b++)
        cu[b + 1] = cu[b] + extra + (frames ? tokens_of(model, frames[b]) : model->tokens);
    int64_t rows = cu[samples];
    for (int b = 0; b < samples; b++)
        for (int32_t i = cu[b]; i < cu[b + 1]; i++)
            staging[i] = b;
    upload_indices(model, model->all_clip, rows);
    for (int b = 0; b < samples; b++)
        for (int32_t i = cu[b]; i < cu[b + 1]; i++)
            staging[i] = i - cu[b] - extra;
    upload_indices(model, model->all_token, rows);
    for (int64_t i = 0; i < rows && model->all_step; i++)
        staging[i] = step_of(model, staging[i]);
    if (model->all_step)
        upload_indices(model, model->all_step, rows);
}

/* A clip of fewer frames has its planes close together: spread, so that every clip of the group has
 * the same strides. What lies behind its frames is never read. */
static void upload_spread(Model *model, const ModelInput *input) {
    const ModelConfig *c = &model->plan.config;
    int64_t plane = frame_plane(model), clip = 3 * c->frames * plane;
    size_t size = input->pixels ? 1 : sizeof(float);
    const char *from = input->pixels ? (const char *)input->pixels : (const char *)input->values;
    char *to = input->pixels ? (char *)model->pixels : (char *)model->values;
    for (int b = 0; b < input->samples; b++) {
        int64_t frames = input->frames[b];
        for (int channel = 0; channel < 3; channel++)
            model->device->upload(to + (size_t)(b * clip + channel * c->frames * plane) * size,
                                  from + (size_t)(b * clip + channel * frames * plane) * size,
                                  (size_t)(frames * plane) * size, model->device);
    }
}

void model_set_input(Model *model, const ModelInput *input) {
    const ModelConfig *c = &model->plan.config;
    Device *device = model->device;
    JEPA_ASSERT(input->samples >= 1 && input->samples <= model->plan.samples);
    size_t clip = (size_t)(3 * c->frames * frame_plane(model)), count = (size_t)input->samples;
    if (input->frames) {
        upload_spread(model, input);
    } else {
        if (input->pixels)
            device->upload(model->pixels, input->pixels, count * clip, device);
        if (input->values)
            device->upload(model->values, input->values, count * clip * sizeof(float), device);
    }
    if (input->mirror)
        device->upload(model->mirror, input->mirror, count, device);
    else
        device->zero(model->mirror, count, device);
    model_set_clips(model, input->frames, input->samples);
}

/* 1/sqrt of the distance to the nearest target, for every context row (V-JEPA 2.1,
 * app/vjepa_2_1/models/utils/masks_dist.py). */
static void set_distances(Model *model, const MaskGroup *masks, int samples) {
    MaskGrid grid = model->grid;
    float *weight = model->staging_weight;
    for (int s = 0; s < model->plan.settings * samples; s++) {
        int e = masks->context_of[s / samples];
        int from = masks->cu_context[e * samples + s % samples],
            to = masks->cu_context[e * samples + s % samples + 1];
        float *row = weight + model->cu_joined[s];
        mask_distance(row, masks->context + from, to - from, masks->target + masks->cu_target[s],
                      masks->cu_target[s + 1] - masks->cu_target[s], grid);
        for (int i = 0; i < to - from; i++)
            row[i] = 1 / sqrtf(row[i]);
    }
    model->device->upload(model->seen_weight, weight, (size_t)model->joined_rows * sizeof(float),
                          model->device);
}

/* The context sequence that target sequence s = m·B + b is predicted from. */
static int context_sequence(const MaskGroup *masks, int s, int samples) {
    return masks->context_of[s / samples] * samples + s % samples;
}

/* Predictor sequence s is its context tokens, then its target tokens. */
static void set_predictor_rows(Model *model, const MaskGroup *masks, int samples) {
    int sequences = model->plan.settings * samples;
    int32_t *staging = model->staging, *cu = model->cu_predictor, *joined = model->cu_joined;
    const int32_t *target = model->cu_target;
    for (int s = 0; s < sequences; s++)
        for (int32_t i = target[s]; i < target[s + 1]; i++)
            staging[i] = cu[s] + joined[s + 1] - joined[s] + i - target[s];
    upload_indices(model, model->target_place, model->target_rows);
    for (int s = 0; s < sequences; s++)
        for (int32_t i = target[s]; i < target[s + 1]; i++)
            staging[i] = model->cu_target_clips[s % samples] + masks->target[i];
    upload_indices(model, model->target_row, model->target_rows);
    for (int s = 0; s < sequences; s++)
        for (int32_t i = joined[s]; i < joined[s + 1]; i++)
            staging[i] = cu[s] + i - joined[s];
    upload_indices(model, model->joined_place, model->joined_rows);
    for (int kind = 0; kind < 3; kind++) { /* row of the context, its token, row of the target */
        for (int s = 0; s < sequences; s++) {
            int32_t first = masks->cu_context[context_sequence(masks, s, samples)];
            for (int32_t i = joined[s]; i < joined[s + 1]; i++) {
                int32_t row = first + i - joined[s], token = masks->context[row];
                staging[i] = kind == 0   ? row
                             : kind == 1 ? token
                                         : model->cu_target_clips[s % samples] + token;
            }
        }
        upload_indices(model,
                       kind == 0   ? model->joined_row
                       : kind == 1 ? model->joined_token
                                   : model->joined_target,
                       model->joined_rows);
    }
    for (int s = 0; s < sequences; s++) {
        int32_t *row = staging + cu[s], c = context_sequence(masks, s, samples);
        for (int32_t i = masks->cu_context[c]; i < masks->cu_context[c + 1]; i++)
            *row++ = masks->context[i];
        for (int32_t i = target[s]; i < target[s + 1]; i++)
            *row++ = masks->target[i];
    }
    upload_indices(model, model->predictor_token, model->joined_rows + model->target_rows);
    model->device->upload(model->target_token, masks->target,
                          (size_t)model->target_rows * sizeof(int32_t), model->device);
}

/* Several contexts of a clip see some patches in common: which there are, clip by clip in the order
 * in which they come, and which of them every context row is. */
static void set_patches(Model *model, const MaskGroup *masks, int samples) {
    const int32_t *cu = model->cu_context;
    int64_t most = model->plan.context;
    int32_t *number = model->patch_staging; /* [N] of each token of the clip; -1: not seen yet */
    int32_t *clip = number + model->tokens, *token = clip + most, *of = token + most, count = 0;
    for (int b = 0; b < samples; b++) {
        for (int i = 0; i < model->tokens; i++)
            number[i] = -1;
        for (int s = b; s < model->plan.contexts * samples; s += samples)
            for (int32_t i = cu[s]; i < cu[s + 1]; i++) {
                int32_t n = masks->context[i];
                JEPA_ASSERT(n >= 0);
                if (number[n] < 0) {
                    number[n] = count;
                    clip[count] = b;
                    token[count++] = n;
                }
                of[i] = number[n];
            }
    }
    Device *device = model->device;
    model->patch_rows = count;
    device->upload(model->patch_clip, clip, (size_t)count * sizeof *clip, device);
    device->upload(model->patch_token, token, (size_t)count * sizeof *token, device);
    device->upload(model->patch_of, of, (size_t)model->context_rows * sizeof *of, device);
}

static void set_context_rows(Model *model, const MaskGroup *masks, int samples) {
    int sequences = model->plan.contexts * samples;
    int32_t *staging = model->staging;
    const int32_t *cu = model->cu_context;
    model->device->upload(model->context_token, masks->context,
                          (size_t)model->context_rows * sizeof(int32_t), model->device);
    if (model->patch_of) {
        set_patches(model, masks, samples);
    } else {
        model->patch_rows = model->context_rows;
        for (int s = 0; s < sequences; s++)
            for (int32_t i = cu[s]; i < cu[s + 1]; i++)
                staging[i] = s;
        upload_indices(model, model->patch_clip, model->context_rows);
    }
    if (model->context_step) {
        for (int64_t i = 0; i < model->context_rows; i++)
            staging[i] = step_of(model, masks->context[i]);
        upload_indices(model, model->context_step, model->context_rows);
    }
}

void model_set_masks(Model *model, const MaskGroup *masks, int samples) {
    int contexts = model->plan.contexts * samples, sequences = model->plan.settings * samples;
    model->context_rows = masks->cu_context[contexts];
    model->context_samples = samples;
    model->target_rows = masks->cu_target ? masks->cu_target[sequences] : 0;
    JEPA_ASSERT(model->context_rows <= model->plan.context &&
                model->target_rows <= model->plan.target);
    memcpy(model->cu_context, masks->cu_context,
           (size_t)(contexts + 1) * sizeof *model->cu_context);
    set_context_rows(model, masks, samples);
    memset(model->sample_length, 0, (size_t)samples * sizeof *model->sample_length);
    model->lengths_differ = false;
    if (model->plan.config.objective != OBJECTIVE_JEPA)
        return;
    memcpy(model->cu_target, masks->cu_target, (size_t)(sequences + 1) * sizeof *model->cu_target);
    for (int s = 0; s < sequences; s++) {
        int c = context_sequence(masks, s, samples);
        model->cu_joined[s + 1] = model->cu_joined[s] + masks->cu_context[c + 1] -
                                  masks->cu_context[c];
        model->cu_predictor[s + 1] = model->cu_joined[s + 1] + masks->cu_target[s + 1];
    }
    model->joined_rows = model->cu_joined[sequences];
    JEPA_ASSERT(model->joined_rows <= model->plan.joined);
    set_predictor_rows(model, masks, samples);
    if (model->seen_weight)
        set_distances(model, masks, samples);
}

void model_set_lengths(Model *model, const int *length, int samples) {
    memcpy(model->sample_length, length, (size_t)samples * sizeof *length);
    model->lengths_differ = true;
}

/* Samples first .. first + samples - 1 of a group of `of`, which is drawn whole. */
typedef struct Slice {
    int first, samples, of;
} Slice;

/* 0 for a dropped branch, 1/(1-p) for one that stays; p grows linearly with the depth
 * (facebookresearch/vjepa2 src/models/vision_transformer.py, drop_path of each sample). Sequence s
 * = l·B + b of `lists` lists. */
static void draw_keep(Model *model, float *keep, int depth, int lists, Slice slice,
                      Random *random) {
    size_t count = (size_t)(2 * depth * lists * slice.samples), n = 0;
    float *scale = memory_new(count, sizeof *scale);
    double last = model->plan.config.drop_path;
    for (int i = 0; i < 2 * depth; i++) {
        double p = depth > 1 ? last * (i / 2) / (depth - 1) : 0;
        for (int s = 0; s < lists * slice.of; s++) {
            float drawn = random_between(random, 0, 1) < p ? 0 : (float)(1 / (1 - p));
            int b = s % slice.of - slice.first;
            if (b >= 0 && b < slice.samples)
                scale[n++] = drawn;
        }
    }
    model->device->upload(keep, scale, count * sizeof *scale, model->device);
    free(scale);
}

void model_set_drops(Model *model, int first, int samples, int of, uint64_t seed, uint64_t step,
                     uint64_t group) {
    const ModelPlan *plan = &model->plan;
    if (!model->keep)
        return;
    Slice slice = {first, samples, of};
    Random random = random_at(seed, RANDOM_DROP_PATH, step, group);
    draw_keep(model, model->keep, plan->config.depth, plan->contexts, slice, &random);
    draw_keep(model, model->predictor_keep, plan->config.pred_depth, plan->settings, slice,
              &random);
}
