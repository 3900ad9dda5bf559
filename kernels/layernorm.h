/* Layer normalisation over the width D of each row.
 *     mean = Σ x / D,  rstd = 1 / sqrt(Σ (x - mean)² / D + eps),  y = (x - mean) rstd · w + b */
#ifndef JEPA_KERNELS_LAYERNORM_H
#define JEPA_KERNELS_LAYERNORM_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

/* y[R][D], mean[R], rstd[R] (both may be NULL) from x[R][D] */
typedef void LayernormForward(Activation *y, float *mean, float *rstd, const float *x,
                              const float *w, const float *b, int64_t rows, int64_t width,
                              double eps, Device *device);
/* The same with a float32 result; w, b NULL: no affine part. y may be x. */
typedef void LayernormValues(float *y, float *mean, float *rstd, const float *x, const float *w,
                             const float *b, int64_t rows, int64_t width, double eps,
                             Device *device);
/* y[R][D] once more, from x and what the forward pass found: so that it need not be kept */
typedef void LayernormAgain(Activation *y, const float *x, const float *mean, const float *rstd,
                            const float *w, const float *b, int64_t rows, int64_t width,
                            Device *device);
/* dx[R][D] += ..., dw[D] += Σ dy (x - mean) rstd, db[D] += Σ dy; with g = dy·w, n = (x - mean)
 * rstd: dx = rstd (g - mean_D(g) - n mean_D(g n)). narrow[R][D]: the new dx as activations, for
 * the GEMMs that come next; NULL, or dx itself on a float32 device: not written. */
typedef void LayernormBackward(float *dx, Activation *narrow, float *dw, float *db,
                               const Activation *dy, const float *x, const float *mean,
                               const float *rstd, const float *w, int64_t rows, int64_t width,
                               Device *device);

LayernormForward cpu_layernorm_forward, cuda_layernorm_forward, reference_layernorm_forward;
LayernormValues cpu_layernorm_values, cuda_layernorm_values, reference_layernorm_values;
LayernormAgain cpu_layernorm_again, cuda_layernorm_again, reference_layernorm_again;
LayernormBackward cpu_layernorm_backward, cuda_layernorm_backward, reference_layernorm_backward;

#endif
