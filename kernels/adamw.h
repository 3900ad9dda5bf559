/* AdamW with the target encoder's moving average in one pass over flat buffers.
 *     g ← clip g,   clip = min(1, max_norm / (norm + 1e-6))     (max_norm = 0: no clipping)
 *     p ← p (1 - lr wd)
 *     m ← m + (1 - β1)(g - m),   v ← β2 v + (1 - β2) g²
 *     p ← p - lr/(1 - β1^t) · m / (sqrt(v)/sqrt(1 - β2^t) + eps)
 *     target ← μ target + (1 - μ) p
 * Loshchilov & Hutter, "Decoupled weight decay regularization", as torch.optim.AdamW computes it.
 */
#ifndef JEPA_KERNELS_ADAMW_H
#define JEPA_KERNELS_ADAMW_H

#include <stdint.h>

typedef struct Device Device;

typedef struct AdamwSettings {
    double lr, weight_decay, beta1, beta2, eps;
    double momentum; /* μ, of the moving average */
    double max_norm; /* 0: gradients are not clipped */
    int64_t step;    /* t, 1 at the first update */
} AdamwSettings;

/* One update of [count] parameters. `square_sum` is Σ g² of the whole network (device memory).
 * target NULL: no moving average. When *loss or *square_sum is not finite nothing is changed. */
typedef void AdamwEma(float *parameters, float *first_moment, float *second_moment, float *target,
                      const float *gradients, int64_t count, const double *square_sum,
                      const double *loss, const AdamwSettings *settings, Device *device);

AdamwEma cpu_adamw_ema, cuda_adamw_ema, reference_adamw_ema;

#endif
