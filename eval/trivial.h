/* The trivial predictors: what a prediction has to beat before it can be called one.
 *
 *   mean      always says the mean answer of the mask,  m = (1/R) Σ_i h[target[i]]
 *   nearest   repeats the visible token that is nearest, h[n(i)]: the context token with the least
 *             (t - t')² + (y - y')² + (x - x')² in tokens, of equally near ones the first
 *   error     (1/D) Σ_d |p_d - h[target[i]]_d|, the published loss, for each hidden token
 * Both are told more than the predictor is: the first the mean of the answers themselves, the
 * second features of the target encoder, which has seen the whole clip. So a prediction that is no
 * better than the better of them has not been shown to know anything of its own.
 *   skill     1 - error / min(mean's error, nearest's error), of means over the same tokens
 *
 * Letters: N tokens of the clip, D width, R hidden tokens (targets) and C visible ones (context) of
 * one mask of one clip; tokens are numbered (t H + y) W + x. */
#ifndef JEPA_EVAL_TRIVIAL_H
#define JEPA_EVAL_TRIVIAL_H

#include "masking/mask.h"
#include <stdint.h>

/* nearest[targets]: the context token that each target is nearest to. context ascending, at least
 * one. Exact, R · C comparisons. */
void trivial_nearest(int32_t *nearest, const int32_t *target, int64_t targets,
                     const int32_t *context, int64_t contexts, MaskGrid grid);

/* Errors of both predictors, mean[targets] and nearest[targets] (either may be NULL), where h
 * [N][width] are the targets of all tokens of the clip. At least one target; at least one context
 * token where `nearest` is asked for. */
void trivial_errors(float *mean, float *nearest, const float *h, int width, const int32_t *target,
                    int64_t targets, const int32_t *context, int64_t contexts, MaskGrid grid);

/* 1 - error / the smaller of the two; NaN where that is 0. */
double trivial_skill(double error, double mean, double nearest);

#endif
