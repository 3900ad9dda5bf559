/* Batch normalisation over the R rows, for each of D columns, with the statistics of these rows
 * (Ioffe and Szegedy, "Batch normalization", ICML 2015; as PyTorch's BatchNorm1d in training).
 *     mean = Σ x / R,  rstd = 1 / sqrt(Σ (x - mean)² / R + eps),  y = (x - mean) rstd · w + b
 * For use after training, a moving average of the statistics is kept:
 *     running_mean = (1 - momentum) running_mean + momentum · mean
 *     running_var  = (1 - momentum) running_var  + momentum · Σ (x - mean)² / (R - 1) */
#ifndef JEPA_KERNELS_BATCHNORM_H
#define JEPA_KERNELS_BATCHNORM_H

#include <stdint.h>

typedef struct Device Device;

/* y[R][D], mean[D], rstd[D] from x[R][D], w[D], b[D]. running_mean[D] and running_var[D] move
 * towards the statistics of x; both NULL: none are kept. y may be x. At least two rows: one row has
 * no variance. */
typedef void BatchnormForward(float *y, float *mean, float *rstd, float *running_mean,
                              float *running_var, const float *x, const float *w, const float *b,
                              int64_t rows, int64_t width, double eps, double momentum,
                              Device *device);
/* dw[D] += Σ dy n, db[D] += Σ dy, n = (x - mean) rstd;
 * dx[R][D] = rstd w (dy - mean_R(dy) - n mean_R(dy n)); dx may be dy. */
typedef void BatchnormBackward(float *dx, float *dw, float *db, const float *dy, const float *x,
                               const float *mean, const float *rstd, const float *w, int64_t rows,
                               int64_t width, Device *device);

BatchnormForward cpu_batchnorm_forward, cuda_batchnorm_forward, reference_batchnorm_forward;
BatchnormBackward cpu_batchnorm_backward, cuda_batchnorm_backward, reference_batchnorm_backward;

#endif
