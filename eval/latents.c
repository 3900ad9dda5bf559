/* Targets, predictions and their errors, token by token. See eval/latents.h. */
#include "eval/latents.h"
#include "eval/trivial.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NORM_LEAST 1e-12 /* of a pair of vectors, so that their cosine is defined */

void latents_new(Latents *l, MaskGrid grid, int width, const MaskGroup *masks, int settings) {
    memset(l, 0, sizeof *l);
    l->grid = grid;
    l->tokens = mask_grid_tokens(grid);
    l->width = width;
    l->settings = settings;
    l->hidden = masks->cu_target[settings];
    l->visible = masks->cu_context[masks->contexts ? masks->contexts : settings];
    size_t n = (size_t)l->tokens, rows = (size_t)l->hidden, seen = (size_t)l->visible,
           d = (size_t)width;
    l->target = memory_new(n * d, sizeof *l->target);
    l->predicted = memory_new(rows * d, sizeof *l->predicted);
    l->seen = memory_new(seen * d, sizeof *l->seen);
    l->token = memory_new(rows, sizeof *l->token);
    l->seen_token = memory_new(seen, sizeof *l->seen_token);
    l->error = memory_new(rows, sizeof *l->error);
    l->mean_error = memory_new(rows, sizeof *l->mean_error);
    l->nearest_error = memory_new(rows, sizeof *l->nearest_error);
    memcpy(l->token, masks->target, rows * sizeof *l->token);
    memcpy(l->seen_token, masks->context, seen * sizeof *l->seen_token);
    for (int m = 0; m < settings; m++) {
        LatentMask *mask = &l->mask[m];
        int e = masks->contexts ? masks->context_of[m] : m;
        mask->first = masks->cu_target[m];
        mask->count = masks->cu_target[m + 1] - mask->first;
        mask->seen_first = masks->cu_context[e];
        mask->seen_count = masks->cu_context[e + 1] - mask->seen_first;
        mask->share = (double)mask->count / l->tokens;
    }
}

void latents_free(Latents *l) {
    free(l->target);
    free(l->predicted);
    free(l->seen);
    free(l->token);
    free(l->seen_token);
    free(l->error);
    free(l->mean_error);
    free(l->nearest_error);
    memset(l, 0, sizeof *l);
}

/* The target of hidden row i. */
static const float *answer(const Latents *l, int64_t i) {
    return l->target + (int64_t)l->token[i] * l->width;
}

/* Σ_i |row_i - mean|² over the rows of a mask, of the predictions or of the answers. */
static double scatter(const Latents *l, const LatentMask *mask, const double *mean, bool answers) {
    double sum = 0;
    for (int64_t i = mask->first; i < mask->first + mask->count; i++) {
        const float *row = answers ? answer(l, i) : l->predicted + i * l->width;
        for (int d = 0; d < l->width; d++)
            sum += (row[d] - mean[d]) * (row[d] - mean[d]);
    }
    return sum;
}

static double mean_of(const float *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += values[i] / (double)count;
    return sum;
}

static void measure_mask(Latents *l, LatentMask *mask) {
    int width = l->width;
    double *mean = memory_new((size_t)width, sizeof *mean), cosine = 0;
    double *own_mean = memory_new((size_t)width, sizeof *own_mean);
    int64_t first = mask->first, end = mask->first + mask->count;
    for (int64_t i = first; i < end; i++)
        for (int d = 0; d < width; d++) {
            mean[d] += answer(l, i)[d] / (double)mask->count;
            own_mean[d] += l->predicted[i * width + d] / (double)mask->count;
        }
    for (int64_t i = first; i < end; i++) {
        const float *z = l->predicted + i * width, *h = answer(l, i);
        double zh = 0, zz = 0, hh = 0, error = 0;
        for (int d = 0; d < width; d++) {
            double a = z[d], b = h[d];
            zh += a * b;
            zz += a * a;
            hh += b * b;
            error += fabs(a - b);
        }
        l->error[i] = (float)(error / width);
        cosine += zh / (sqrt(zz * hh) + NORM_LEAST);
    }
    trivial_errors(l->mean_error + first, l->nearest_error + first, l->target, width,
                   l->token + first, mask->count, l->seen_token + mask->seen_first,
                   mask->seen_count, l->grid);
    mask->error = mean_of(l->error + first, mask->count);
    mask->mean = mean_of(l->mean_error + first, mask->count);
    mask->nearest = mean_of(l->nearest_error + first, mask->count);
    mask->cosine = cosine / (double)mask->count;
    mask->skill = trivial_skill(mask->error, mask->mean, mask->nearest);
    double answers = scatter(l, mask, mean, true), own = scatter(l, mask, own_mean, false);
    mask->spread = answers > 0 ? sqrt(own / answers) : NAN;
    free(mean);
    free(own_mean);
}

static int check_finite(const float *values, int64_t rows, int width, const char *what,
                        Error *error) {
    for (int64_t i = 0; values && i < rows * width; i++)
        if (!isfinite(values[i]))
            return error_set(error, ERROR_RUN,
                             "%s of token %lld are not finite numbers: the checkpoint is damaged, "
                             "or its training has diverged",
                             what, (long long)(i / width));
    return 0;
}

int latents_measure(Latents *l, Error *error) {
    if (check_finite(l->target, l->tokens, l->width, "the target latents", error) ||
        check_finite(l->predicted, l->hidden, l->width, "the predicted latents", error) ||
        check_finite(l->seen, l->visible, l->width, "the context encoder's latents", error))
        return -1;
    for (int m = 0; m < l->settings; m++)
        measure_mask(l, &l->mask[m]);
    return 0;
}

/* rows[n][levels · width], each level to mean 0 and variance 1, as the targets are. */
static void normalise(float *rows, int64_t n, int levels, int width) {
    for (int64_t i = 0; i < n * levels; i++) {
        float *row = rows + i * width;
        double mean = 0, square = 0;
        for (int d = 0; d < width; d++)
            mean += row[d] / (double)width;
        for (int d = 0; d < width; d++)
            square += (row[d] - mean) * (row[d] - mean) / width;
        double scale = 1 / sqrt(square + TARGET_LAYERNORM_EPS);
        for (int d = 0; d < width; d++)
            row[d] = (float)((row[d] - mean) * scale);
    }
}

int latents_compute(Latents *l, Model *model, const ModelInput *input, const MaskGroup *masks,
                    int length, Error *error) {
    const ModelPlan *plan = &model->plan;
    Device *device = model->device;
    JEPA_ASSERT(plan->samples == 1 && plan->settings >= 1);
    latents_new(l, model->grid, model->target_width, masks, plan->settings);

    /* The device's own loss is not read, but it is computed: any weights do. */
    LossWeights weights = {.power = 1};
    device->zero(model->scalars, sizeof *model->scalars, device);
    model_set_input(model, input);
    model_set_masks(model, masks, 1);
    if (length >= 0)
        model_set_lengths(model, &length, 1);
    model_forward_target(model, 1);
    model_forward_prediction(model, 1, &weights);
    size_t row = (size_t)l->width * sizeof(float);
    device->download(l->target, model->target_out, (size_t)l->tokens * row, device);
    device->download(l->predicted, model->z, (size_t)l->hidden * row, device);
    if (!plan->config.teacher.dim) {
        device->download(l->seen, model->context_out, (size_t)l->visible * row, device);
        normalise(l->seen, l->visible, model->levels.count, l->width / model->levels.count);
    } else { /* a frozen teacher: its features are of another kind */
        free(l->seen);
        l->seen = NULL;
    }
    int result = latents_measure(l, error);
    if (result)
        latents_free(l);
    return result;
}
