/* What the model predicts for one clip, token by token: the numbers behind `jepa visualize`.
 *
 *   h[n] = layer_norm(target_encoder(clip))[n]           n < N, all tokens: the target latents
 *   z[i] = predictor(context_encoder(visible tokens))    for every hidden token token[i]
 *   error[i]   = (1/D) Σ_d |z[i]_d - h[token[i]]_d|      the published loss, per token
 *   trivial[i] = (1/D) Σ_d |m_d - h[token[i]]_d|,  m = mean of h over the mask's hidden tokens
 *   skill      = 1 - Σ error / Σ trivial                 0: no better than the mean; 1: perfect
 *   cosine     = mean_i cos(z[i], h[token[i]])
 *   spread     = sqrt(Σ_i |z[i] - mean z|² / Σ_i |h[token[i]] - m|²)   0: it always says the same
 * Colours: one PCA with three components over the hidden tokens' h and z of all masks together,
 * each component scaled to 0..1 by the percentiles 1 and 99 of the same rows. So the same colour is
 * the same place along these axes, in targets and predictions and under every mask. */
#ifndef JEPA_EVAL_LATENTS_H
#define JEPA_EVAL_LATENTS_H

#include "jepa/model.h"

#define LATENT_COLORS 3 /* components shown: red, green, blue */

/* The hidden tokens of one mask setting: rows first .. first + count - 1. */
typedef struct LatentMask {
    int64_t first, count;
    double share;          /* of the clip's tokens that are hidden */
    double error, trivial; /* means over the tokens */
    double skill, spread;  /* NaN where all answers are the same */
    double cosine;
} LatentMask;

typedef struct Latents {
    MaskGrid grid;
    int tokens, width, settings; /* N, D, M */
    int64_t hidden;              /* R: hidden tokens of all masks */
    float *target;               /* [N][D]  h */
    float *predicted;            /* [R][D]  z */
    int32_t *token;              /* [R] ascending within a mask */
    LatentMask mask[MASK_SETTINGS_MAX];
    float *error, *trivial;         /* [R] */
    float *target_rgb;              /* [N][3] in 0..1 */
    float *predicted_rgb;           /* [R][3] in 0..1 */
    double variance[LATENT_COLORS]; /* share of the variance that each component carries */
} Latents;

/* Sizes from the masks of one clip; latents and measures zero. Free with latents_free. */
void latents_new(Latents *latents, MaskGrid grid, int width, const MaskGroup *masks, int settings);
void latents_free(Latents *latents);

/* Fills everything that follows from target, predicted and token. Errors: fewer than three
 * dimensions, a value that is not finite. */
int latents_measure(Latents *latents, Error *error);

/* Target encoder, context encoder and predictor over one clip, then latents_measure. pixels
 * [3][frames][height][width]. The plan of the model: samples 1, M settings. */
int latents_compute(Latents *latents, Model *model, const ModelInput *input, const MaskGroup *masks,
                    Error *error);

#endif
