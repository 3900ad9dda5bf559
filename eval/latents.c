/* Targets, predictions and their errors, token by token. See eval/latents.h. */
#include "eval/latents.h"
#include "eval/pca.h"
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
    size_t n = (size_t)l->tokens, rows = (size_t)l->hidden, d = (size_t)width;
    l->target = memory_new(n * d, sizeof *l->target);
    l->predicted = memory_new(rows * d, sizeof *l->predicted);
    l->token = memory_new(rows, sizeof *l->token);
    l->error = memory_new(rows, sizeof *l->error);
    l->trivial = memory_new(rows, sizeof *l->trivial);
    l->target_rgb = memory_new(n * LATENT_COLORS, sizeof *l->target_rgb);
    l->predicted_rgb = memory_new(rows * LATENT_COLORS, sizeof *l->predicted_rgb);
    memcpy(l->token, masks->target, rows * sizeof *l->token);
    for (int m = 0; m < settings; m++) {
        LatentMask *mask = &l->mask[m];
        mask->first = masks->cu_target[m];
        mask->count = masks->cu_target[m + 1] - mask->first;
        mask->share = (double)mask->count / l->tokens;
    }
}

void latents_free(Latents *l) {
    free(l->target);
    free(l->predicted);
    free(l->token);
    free(l->error);
    free(l->trivial);
    free(l->target_rgb);
    free(l->predicted_rgb);
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

static void measure_mask(Latents *l, LatentMask *mask) {
    int width = l->width;
    double *mean = memory_new((size_t)width, sizeof *mean), cosine = 0;
    double *own_mean = memory_new((size_t)width, sizeof *own_mean);
    int64_t end = mask->first + mask->count;
    for (int64_t i = mask->first; i < end; i++)
        for (int d = 0; d < width; d++) {
            mean[d] += answer(l, i)[d] / (double)mask->count;
            own_mean[d] += l->predicted[i * width + d] / (double)mask->count;
        }
    mask->error = mask->trivial = 0;
    for (int64_t i = mask->first; i < end; i++) {
        const float *z = l->predicted + i * width, *h = answer(l, i);
        double zh = 0, zz = 0, hh = 0, error = 0, trivial = 0;
        for (int d = 0; d < width; d++) {
            double a = z[d], b = h[d];
            zh += a * b;
            zz += a * a;
            hh += b * b;
            error += fabs(a - b);
            trivial += fabs(mean[d] - b);
        }
        l->error[i] = (float)(error / width);
        l->trivial[i] = (float)(trivial / width);
        mask->error += error / width / (double)mask->count;
        mask->trivial += trivial / width / (double)mask->count;
        cosine += zh / (sqrt(zz * hh) + NORM_LEAST);
    }
    mask->cosine = cosine / (double)mask->count;
    mask->skill = mask->trivial > 0 ? 1 - mask->error / mask->trivial : NAN;
    double answers = scatter(l, mask, mean, true), own = scatter(l, mask, own_mean, false);
    mask->spread = answers > 0 ? sqrt(own / answers) : NAN;
    free(mean);
    free(own_mean);
}

/* One PCA over the answers and the predictions of all hidden tokens, and the colours by it. */
static int color(Latents *l, Error *error) {
    size_t rows = (size_t)l->hidden, d = (size_t)l->width;
    float *answers = memory_new(rows * d, sizeof *answers);
    float *shown = memory_new(2 * rows * LATENT_COLORS, sizeof *shown);
    for (size_t i = 0; i < rows; i++)
        memcpy(answers + i * d, answer(l, (int64_t)i), d * sizeof *answers);
    Pca pca = {0};
    int result = pca_fit_joint(&pca, answers, rows, l->predicted, rows, l->width, LATENT_COLORS,
                               error);
    if (!result) {
        double low[LATENT_COLORS], high[LATENT_COLORS];
        pca_project(shown, &pca, answers, rows);
        pca_project(shown + rows * LATENT_COLORS, &pca, l->predicted, rows);
        pca_range(low, high, shown, 2 * rows, LATENT_COLORS);
        pca_project(l->target_rgb, &pca, l->target, (size_t)l->tokens);
        pca_scale(l->target_rgb, (size_t)l->tokens, LATENT_COLORS, low, high);
        pca_project(l->predicted_rgb, &pca, l->predicted, rows);
        pca_scale(l->predicted_rgb, rows, LATENT_COLORS, low, high);
        for (int k = 0; k < LATENT_COLORS; k++)
            l->variance[k] = pca.total > 0 ? pca.variance[k] / pca.total : 0;
    }
    pca_free(&pca);
    free(answers);
    free(shown);
    return result;
}

int latents_measure(Latents *l, Error *error) {
    for (int m = 0; m < l->settings; m++)
        measure_mask(l, &l->mask[m]);
    return color(l, error);
}

int latents_compute(Latents *l, Model *model, const ModelInput *input, const MaskGroup *masks,
                    Error *error) {
    const ModelPlan *plan = &model->plan;
    Device *device = model->device;
    JEPA_ASSERT(plan->samples == 1 && plan->settings >= 1);
    latents_new(l, model->grid, model->target_width, masks, plan->settings);

    /* The device's own loss is not read, but it is computed: any weights do. */
    LossWeights weights = {.power = 1};
    device->zero(model->scalars, sizeof *model->scalars, device);
    model_set_input(model, input);
    model_set_masks(model, masks, 1);
    model_forward_target(model, 1);
    model_forward_prediction(model, 1, &weights);
    size_t row = (size_t)l->width * sizeof(float);
    device->download(l->target, model->target_out, (size_t)l->tokens * row, device);
    device->download(l->predicted, model->z, (size_t)l->hidden * row, device);

    int result = latents_measure(l, error);
    if (result)
        latents_free(l);
    return result;
}
