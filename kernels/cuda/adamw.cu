/* The AdamW + EMA pass on the GPU. See kernels/adamw.h.
 *
 * Bound by memory: it reads five buffers and writes four, 36 bytes per parameter (28 without a
 * target), each once, 16 bytes per access; a thread updates four neighbouring parameters, so that
 * 80 bytes of each are on their way.
 *
 * The norm and the loss never come to the host: a kernel of one thread turns them into the factor
 * that clips the gradients, NaN where either is not finite, which makes the pass write nothing.
 * Double arithmetic, slow on GPUs for graphics, thus happens once and not in every thread. */
#include "kernels/cuda/tile_sums.h"

#define THREADS 256

typedef struct Factors {
    float decay, beta1_rest, beta2, beta2_rest, rate, root, eps, momentum, momentum_rest;
} Factors;

__global__ void clip_kernel(float *clip, const double *square_sum, const double *loss,
                            double max_norm) {
    double factor = 1;
    if (max_norm > 0)
        factor = fmin(1.0, max_norm / (sqrt(*square_sum) + 1e-6));
    *clip = isfinite(*loss) && isfinite(*square_sum) ? (float)factor : NAN;
}

/* V neighbouring parameters; nothing where the clip is NaN. */
template <int V>
static __device__ inline void update(float *parameters, float *first, float *second, float *target,
                                     const float *gradients, float clip, const Factors &f) {
    if (!(clip <= 1))
        return;
    Pack<float, V> p = load<float, V>(parameters), m = load<float, V>(first);
    Pack<float, V> v = load<float, V>(second), g = load<float, V>(gradients), t = p;
    if (target)
        t = load<float, V>(target);
    for (int k = 0; k < V; k++) {
        float clipped = g.at[k] * clip;
        m.at[k] = m.at[k] + f.beta1_rest * (clipped - m.at[k]);
        v.at[k] = f.beta2 * v.at[k] + f.beta2_rest * clipped * clipped;
        float denominator = sqrtf(v.at[k]) / f.root + f.eps;
        p.at[k] = p.at[k] * f.decay - f.rate * (m.at[k] / denominator);
        t.at[k] = f.momentum * t.at[k] + f.momentum_rest * p.at[k];
    }
    store<float, V>(parameters, p);
    store<float, V>(first, m);
    store<float, V>(second, v);
    if (target)
        store<float, V>(target, t);
}

template <int V>
__global__ void adamw_ema_kernel(float *parameters, float *first, float *second, float *target,
                                 const float *gradients, int64_t count, const float *clip,
                                 Factors f) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    float own = *clip;
    if (i + V <= count) {
        update<V>(parameters + i, first + i, second + i, target ? target + i : target,
                  gradients + i, own, f);
        return;
    }
    for (; i < count; i++)
        update<1>(parameters + i, first + i, second + i, target ? target + i : target,
                  gradients + i, own, f);
}

extern "C" void cuda_adamw_ema(float *parameters, float *first_moment, float *second_moment,
                               float *target, const float *gradients, int64_t count,
                               const double *square_sum, const double *loss,
                               const AdamwSettings *settings, Device *device) {
    if (!count)
        return;
    double t = (double)settings->step;
    Factors f;
    f.decay = (float)(1 - settings->lr * settings->weight_decay);
    f.beta1_rest = (float)(1 - settings->beta1);
    f.beta2 = (float)settings->beta2;
    f.beta2_rest = (float)(1 - settings->beta2);
    f.rate = (float)(settings->lr / (1 - pow(settings->beta1, t)));
    f.root = (float)sqrt(1 - pow(settings->beta2, t));
    f.eps = (float)settings->eps;
    f.momentum = (float)settings->momentum;
    f.momentum_rest = (float)(1 - settings->momentum);
    float *clip = (float *)tile_sums_take(1, device);
    CUDA_LAUNCH(clip_kernel, 1, 1, 0, device, clip, square_sum, loss, settings->max_norm);
    if (vectors_fit(parameters, 4, sizeof *parameters) &&
        vectors_fit(first_moment, 4, sizeof *parameters) &&
        vectors_fit(second_moment, 4, sizeof *parameters) &&
        vectors_fit(target, 4, sizeof *parameters) && vectors_fit(gradients, 4, sizeof *parameters))
        CUDA_LAUNCH(adamw_ema_kernel<4>, blocks_for(count, 4 * THREADS), THREADS, 0, device,
                    parameters, first_moment, second_moment, target, gradients, count, clip, f);
    else
        CUDA_LAUNCH(adamw_ema_kernel<1>, blocks_for(count, THREADS), THREADS, 0, device, parameters,
                    first_moment, second_moment, target, gradients, count, clip, f);
}
