/* What the model predicts for one clip, token by token: the numbers behind `jepa visualize`.
 *
 *   h[n] = layer_norm(target_encoder(clip))[n]           n < N, all tokens: the target latents
 *   c[j] = layer_norm(context_encoder(visible tokens))   for every visible token seen_token[j]
 *   z[i] = predictor(context_encoder(visible tokens))    for every hidden token token[i]
 *   error[i] = (1/D) Σ_d |z[i]_d - h[token[i]]_d|        the published loss, per token
 *   mean_error, nearest_error: the same of the trivial predictors (eval/trivial.h)
 *   skill      1 - error / error of the better trivial one, of means over a mask's hidden tokens;
 *              0: no better; 1: perfect
 *   cosine     mean_i cos(z[i], h[token[i]])
 *   spread     sqrt(Σ_i |z[i] - mean z|² / Σ_i |h[token[i]] - mean h|²)   0: it always says the
 * same Layer norms are without affine part, level by level where there are several (V-JEPA 2.1), so
 * that h, c and z are on one scale. */
#ifndef JEPA_EVAL_LATENTS_H
#define JEPA_EVAL_LATENTS_H

#include "jepa/model.h"

/* One mask setting: rows first .. first + count - 1 of the hidden tokens, and of the visible ones
 * likewise (settings that share a context have the same). */
typedef struct LatentMask {
    int64_t first, count, seen_first, seen_count;
    double share;                /* of the clip's tokens that are hidden */
    double error, mean, nearest; /* means over the hidden tokens */
    double skill, spread;        /* NaN where all answers are the same */
    double cosine;
} LatentMask;

typedef struct Latents {
    MaskGrid grid;
    int tokens, width, settings; /* N, D, M */
    int64_t hidden, visible; /* R, C: hidden tokens of all masks, visible ones of all contexts */
    float *target;           /* [N][D]  h */
    float *predicted;        /* [R][D]  z */
    float *seen;             /* [C][D]  c; NULL with a frozen teacher, whose features differ */
    int32_t *token;          /* [R] ascending within a mask */
    int32_t *seen_token;     /* [C] ascending within a context */
    LatentMask mask[MASK_SETTINGS_MAX];
    float *error, *mean_error, *nearest_error; /* [R] */
} Latents;

/* Sizes from the masks of one clip; latents and measures zero. Free with latents_free. */
void latents_new(Latents *latents, MaskGrid grid, int width, const MaskGroup *masks, int settings);
void latents_free(Latents *latents);

/* Errors and measures from target, predicted, token and seen_token. Errors: a value that is not
 * finite. */
int latents_measure(Latents *latents, Error *error);

/* Target encoder, context encoder and predictor over one clip, then latents_measure. The plan of
 * the model: samples 1, M settings. `length`: the number of the mask token for all settings, for a
 * model whose config.token_by_length says so; -1: each setting's own. */
int latents_compute(Latents *latents, Model *model, const ModelInput *input, const MaskGroup *masks,
                    int length, Error *error);

#endif
