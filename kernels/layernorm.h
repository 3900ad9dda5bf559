/* Layer normalisation over the width D of each row.
 *     mean = Σ x / D,  rstd = 1 / sqrt(Σ (x - mean)² / D + eps),  y = (x - mean) rstd · w + b */
#ifndef JEPA_KERNELS_LAYERNORM_H
#define JEPA_KERNELS_LAYERNORM_H

#include <stdint.h>

typedef struct Device Device;

/* y[R][D], mean[R], rstd[R] (both may be NULL) from x[R][D]; w[D], b[D] NULL: no affine part.
 * y may be x. */
typedef void LayernormForward(float *y, float *mean, float *rstd, const float *x, const float *w,
                              const float *b, int64_t rows, int64_t width, double eps,
                              Device *device);
/* dx[R][D] += ..., dw[D] += Σ dy (x - mean) rstd, db[D] += Σ dy; with g = dy·w, n = (x - mean)
 * rstd: dx = rstd (g - mean_D(g) - n mean_D(g n)) */
typedef void LayernormBackward(float *dx, float *dw, float *db, const float *dy, const float *x,
                               const float *mean, const float *rstd, const float *w, int64_t rows,
                               int64_t width, Device *device);

LayernormForward cpu_layernorm_forward, reference_layernorm_forward;
LayernormBackward cpu_layernorm_backward, reference_layernorm_backward;

#endif
