/* Gradient norm and the AdamW + EMA pass on the CPU. See kernels/adamw.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>
#include <stddef.h>

MANY_CPUS static double square_tile(const float *x, int64_t count) {
    double sum[8] = {0};
    int64_t whole = count / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += (double)x[i + k] * x[i + k];
    for (int64_t i = whole; i < count; i++)
        sum[i - whole] += (double)x[i] * x[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

void cpu_square_sum(double *sum, const float *x, int64_t count, Device *device) {
    double *partial = device->scratch;
    JEPA_ASSERT(TILES(count, FLAT_TILE) * (int64_t)sizeof(double) <=
                (int64_t)device->scratch_bytes);
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++)
        partial[tile] = square_tile(x + tile * FLAT_TILE,
                                    min_i64(FLAT_TILE, count - tile * FLAT_TILE));
    double total = 0;
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++)
        total += partial[tile];
    *sum += total;
}

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
