/* The AdamW + EMA pass on the CPU. See kernels/adamw.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>

typedef struct Factors {
    float clip, decay, beta1_rest, beta2, beta2_rest, rate, root, eps, momentum, momentum_rest;
} Factors;

MANY_CPUS static void update_tile(float *restrict p, float *restrict m, float *restrict v,
                                  float *restrict target, const float *restrict gradients,
                                  int64_t count, const Factors f) {
    for (int64_t i = 0; i < count; i++) {
        float g = gradients[i] * f.clip;
        m[i] = m[i] + f.beta1_rest * (g - m[i]);
        v[i] = f.beta2 * v[i] + f.beta2_rest * g * g;
        float denominator = sqrtf(v[i]) / f.root + f.eps;
        p[i] = p[i] * f.decay - f.rate * (m[i] / denominator);
    }
    if (target)
        for (int64_t i = 0; i < count; i++)
            target[i] = f.momentum * target[i] + f.momentum_rest * p[i];
}

void cpu_adamw_ema(float *parameters, float *first_moment, float *second_moment, float *target,
                   const float *gradients, int64_t count, const double *square_sum,
                   const double *loss, const AdamwSettings *settings, Device *device) {
    if (!isfinite(*loss) || !isfinite(*square_sum))
        return;
    double t = (double)settings->step;
    double clip = 1;
    if (settings->max_norm > 0)
        clip = fmin(1.0, settings->max_norm / (sqrt(*square_sum) + 1e-6));
    Factors f = {.clip = (float)clip,
                 .decay = (float)(1 - settings->lr * settings->weight_decay),
                 .beta1_rest = (float)(1 - settings->beta1),
                 .beta2 = (float)settings->beta2,
                 .beta2_rest = (float)(1 - settings->beta2),
                 .rate = (float)(settings->lr / (1 - pow(settings->beta1, t))),
                 .root = (float)sqrt(1 - pow(settings->beta2, t)),
                 .eps = (float)settings->eps,
                 .momentum = (float)settings->momentum,
                 .momentum_rest = (float)(1 - settings->momentum)};
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE;
        update_tile(parameters + i, first_moment + i, second_moment + i, target ? target + i : NULL,
                    gradients + i, min_i64(FLAT_TILE, count - i), f);
    }
}
