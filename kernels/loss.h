/* The prediction loss and the spread regulariser (facebookresearch/jepa app/vjepa/train.py).
 *     loss = weight Σ |z - h|^p / p          p = loss_exp; weight = 1 / (elements · mask settings)
 *     spread[s][d] = sqrt(var_i z[i][d] + 1e-4)   variance over the tokens i of sequence s, n - 1
 *     reg = weight Σ relu(1 - mean over settings of spread) */
#ifndef JEPA_KERNELS_LOSS_H
#define JEPA_KERNELS_LOSS_H

#include <stdint.h>

typedef struct Device Device;

#define SPREAD_EPS 1e-4 /* added to the variance, published value */

/* Instead of a power: Huber's smooth L1 with β = 1 (I-JEPA, src/train.py), e²/2 below 1, else
 * |e| - 1/2. */
#define LOSS_SMOOTH_L1 0.0

/* *loss += weight Σ_i row_weight[i] Σ_d |z - h|^p / p over z[R][D], h[R][D]; row_weight[R] in
 * device memory, NULL: all 1 */
typedef void LossForward(double *loss, const float *z, const float *h, int64_t rows, int64_t width,
                         double power, double weight, const float *row_weight, Device *device);
/* dz[R][D] = weight row_weight |z - h|^(p-1) sign(z - h); zero where z = h */
typedef void LossBackward(float *dz, const float *z, const float *h, int64_t rows, int64_t width,
                          double power, double weight, const float *row_weight, Device *device);

/* z is packed by mask setting, then sample: sequence m·B + b is setting m of sample b.
 * spread[M·B][D]; *reg += weight Σ_b Σ_d relu(1 - Σ_m spread[m·B + b][d] / M).
 * A sequence of one token has variance 0. cu_seqlens[M·B+1] in host memory. */
typedef void SpreadForward(double *reg, float *spread, const float *z, const int32_t *cu_seqlens,
                           int64_t settings, int64_t samples, int64_t width, double weight,
                           Device *device);
/* dz += the gradient of weight · reg */
typedef void SpreadBackward(float *dz, const float *spread, const float *z,
                            const int32_t *cu_seqlens, int64_t settings, int64_t samples,
                            int64_t width, double weight, Device *device);

/* *total = Σ_m loss[m] + reg_coeff · *reg; all in device memory */
typedef void LossTotal(double *total, const double *loss, int64_t settings, const double *reg,
                       double reg_coeff, Device *device);

LossForward cpu_loss_forward, cuda_loss_forward, reference_loss_forward;
LossTotal cpu_loss_total, cuda_loss_total, reference_loss_total;
LossBackward cpu_loss_backward, cuda_loss_backward, reference_loss_backward;
SpreadForward cpu_spread_forward, cuda_spread_forward, reference_spread_forward;
SpreadBackward cpu_spread_backward, cuda_spread_backward, reference_spread_backward;

#endif
