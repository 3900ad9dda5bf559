/* Batches of a reference: clips, masks, weights of the loss. See experiments/check_reference.h. */
#include "experiments/check_reference.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void reference_batch_new(ReferenceBatch *batch, const Model *model, const Reference *r) {
    const ModelPlan *plan = &model->plan;
    size_t clip = (size_t)(3 * plan->config.frames) * plan->config.height * plan->config.width;
    size_t samples = (size_t)plan->samples;
    MaskRecipe recipe = {.settings = plan->settings,
                         .contexts = plan->contexts,
                         .samples = plan->samples,
                         .grid = model->grid};
    for (int m = 0; m < plan->settings; m++)
        recipe.context_of[m] = plan->contexts == plan->settings ? m : 0;
    *batch = (ReferenceBatch){.model = model, .samples = plan->samples};
    batch->clips = memory_new(samples * clip, sizeof *batch->clips);
    batch->frames = memory_new(samples, sizeof *batch->frames);
    batch->length = memory_new(samples, sizeof *batch->length);
    batch->weights = (LossWeights){
        .power = r->loss_exp, .by_distance = plan->config.context_loss, .reg_coeff = r->reg_coeff};
    mask_group_new(&batch->masks, &recipe, plan->context, plan->target);
}

void reference_batch_free(ReferenceBatch *batch) {
    if (batch->model)
        mask_group_free(&batch->masks);
    free(batch->clips);
    free(batch->frames);
    free(batch->length);
}

/* The clips of one length; how many there are says their shape: [b][3][frames][height][width], or
 * of pictures [b][3][height][width]. */
static int read_clips(ReferenceBatch *batch, const Reference *r, const char *name, int length,
                      Error *error) {
    const ModelConfig *c = &batch->model->plan.config;
    ReferencePart *part = &batch->part[length];
    int64_t plane = (int64_t)c->height * c->width, clip = 3 * part->frames * plane;
    char tensor[64];
    snprintf(tensor, sizeof tensor, "%s.%sclips", name, part->prefix);
    const TensorInfo *t = safetensors_find(&r->batches, tensor);
    int64_t room = batch->samples - part->first;
    if (!t || t->type != TENSOR_F32 || t->dims < 4 || t->shape[0] < 1 || t->shape[0] > room ||
        t->bytes != (size_t)(t->shape[0] * clip) * sizeof(float))
        return error_set(error, ERROR_RUN,
                         "batches.safetensors: expected %s as float32 [up to %" PRId64
                         "][3][%d][%d][%d]",
                         tensor, room, part->frames, c->height, c->width);
    part->count = (int)t->shape[0];
    for (int b = 0; b < part->count; b++) {
        int sample = part->first + b;
        memcpy(batch->clips + sample * 3 * c->frames * plane,
               (const char *)t->data + (size_t)(b * clip) * sizeof(float),
               (size_t)clip * sizeof(float));
        batch->frames[sample] = part->frames;
        batch->length[sample] = length;
    }
    return 0;
}

/* The tokens of one mask for the samples of one length, int64 [count][n], behind those read before.
 */
static int read_mask(int32_t *list, int32_t *cu, const ReferenceBatch *batch, const Reference *r,
                     const ReferencePart *part, const char *tensor, Error *error) {
    const ModelConfig *c = &batch->model->plan.config;
    int64_t tokens = part->frames / c->tubelet * batch->model->grid.height *
                     batch->model->grid.width;
    const TensorInfo *t = safetensors_find(&r->batches, tensor);
    if (!t || t->type != TENSOR_I64 || t->dims != 2 || t->shape[0] != part->count ||
        t->shape[1] < 1 || t->shape[1] > tokens)
        return error_set(error, ERROR_RUN, "batches.safetensors: expected %s as int64 [%d][n]",
                         tensor, part->count);
    for (int b = 0; b < part->count; b++) {
        int32_t filled = cu[part->first + b];
        for (int64_t i = 0; i < t->shape[1]; i++) {
            int64_t token;
            memcpy(&token, (const char *)t->data + (b * t->shape[1] + i) * 8, 8);
            if (token < 0 || token >= tokens)
                return error_set(error, ERROR_RUN, "%s: token %" PRId64 " of %" PRId64, tensor,
                                 token, tokens);
            list[filled++] = (int32_t)token;
        }
        cu[part->first + b + 1] = filled;
    }
    return 0;
}

static int read_masks(ReferenceBatch *batch, const Reference *r, const char *name, Error *error) {
    MaskGroup *masks = &batch->masks;
    masks->cu_context[0] = masks->cu_target[0] = 0;
    for (int kind = 0; kind < 2; kind++)
        for (int m = 0; m < (kind ? batch->model->plan.settings : masks->contexts); m++)
            for (int l = 0; l < batch->parts; l++) {
                char tensor[64];
                snprintf(tensor, sizeof tensor, "%s.%smasks_%s.%d", name, batch->part[l].prefix,
                         kind ? "pred" : "enc", m);
                if (read_mask(kind ? masks->target : masks->context,
                              (kind ? masks->cu_target : masks->cu_context) + m * batch->samples,
                              batch, r, &batch->part[l], tensor, error))
                    return -1;
            }
    return 0;
}

static double tokens(const int32_t *cu, int sequence, int count) {
    return cu[sequence + count] - cu[sequence];
}

static void fill_weights(ReferenceBatch *batch, const Reference *r) {
    LossWeights *weights = &batch->weights;
    const MaskGroup *masks = &batch->masks;
    int settings = batch->model->plan.settings, b = batch->samples;
    double width = batch->model->target_width;
    weights->reg_weight = 1.0 / (b * width);
    for (int m = 0; m < settings; m++) {
        int context = masks->context_of[m] * b;
        weights->element[m] = 1.0 / (settings * tokens(masks->cu_target, m * b, b) * width);
        weights->context[m] = r->lambda /
                              (settings * tokens(masks->cu_context, context, b) * width);
    }
    if (batch->parts == 1)
        return;
    for (int m = 0; m < settings; m++) {
        weights->element[m] = 1.0 / (batch->parts * settings * width);
        for (int l = 0; l < batch->parts; l++)
            batch->share[l][m] = 1.0 / tokens(masks->cu_target, m * b + batch->part[l].first,
                                              batch->part[l].count);
    }
    weights->length = (const double(*)[MASK_SETTINGS_MAX])batch->share;
}

int reference_batch_read(ReferenceBatch *batch, const Reference *r, const char *name,
                         Error *error) {
    bool several = r->lengths > 1;
    int first = 0;
    batch->parts = r->lengths;
    for (int l = 0; l < r->lengths; l++) {
        ReferencePart *part = &batch->part[l];
        *part = (ReferencePart){
            .first = first, .frames = several ? r->frames[l] : batch->model->plan.config.frames};
        if (several)
            snprintf(part->prefix, sizeof part->prefix, "length%d.", l);
        if (read_clips(batch, r, name, l, error))
            return -1;
        first += part->count;
    }
    if (first != batch->samples)
        return error_set(error, ERROR_RUN, "batches.safetensors: %s: %d clips, expected %d", name,
                         first, batch->samples);
    if (read_masks(batch, r, name, error))
        return -1;
    fill_weights(batch, r);
    return 0;
}
