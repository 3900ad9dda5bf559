/* Is the representation alive? Measures of collapse, from what a training step leaves behind.
 *
 * Three sets of token features, each row brought to mean 0 and variance 1 over its width (a layer
 * norm without affine part, as the targets have it), so that the three are on one scale: context
 * outputs of the context encoder target     outputs of the target encoder, as they enter the loss
 *     predictor  predictions z
 * std     = mean over the D dimensions of the standard deviation over the rows: 0 when every token
 *           has the same feature, near 1 when dimensions are used freely
 * RankMe  = exp(-Σ p_k log p_k), p_k = σ_k / Σ σ + 1e-7, σ the singular values of the rows, not
 *           centred (Garrido et al., arXiv 2210.02885): 1 when all rows point one way, at most D
 * cosine  = mean over target tokens of cos(z, h)
 * skill   = 1 - Σ|z - h| / Σ|h - mean of h|: what the prediction gains over always saying the mean
 * Rows: at most MEASURE_ROWS, evenly spaced. */
#ifndef JEPA_EVAL_MEASURES_H
#define JEPA_EVAL_MEASURES_H

#include "eval/spectrum.h"
#include "jepa/trainer.h"

#define MEASURE_ROWS 1024

/* Measures of the last group that `model` worked on. */
void measure_model(Measures *measures, const Model *model);

/* RankMe of rows[n][width], as given. NaN when a value is not finite. */
double measure_rankme(const float *rows, int64_t n, int width);
/* Mean over the dimensions of the standard deviation over the rows. */
double measure_std(const float *rows, int64_t n, int width);

#endif
