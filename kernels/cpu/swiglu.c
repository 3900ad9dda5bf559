/* SwiGLU on the CPU. See kernels/swiglu.h. */
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

/* σ(a) from exp(-|a|), so that nothing overflows */
static inline float sigmoid_f32(float a) {
    float e = exp_f32(a < 0 ? a : -a);
    return (a < 0 ? e : 1.0f) / (1.0f + e);
}

MANY_CPUS static void forward_tile(float *y, const float *a, const float *b, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        y[i] = a[i] * sigmoid_f32(a[i]) * b[i];
}

/* y = a σ(a) b  =>  da = dy b σ (1 + a (1 - σ)),  db = dy a σ */
MANY_CPUS static void backward_tile(float *da, float *db, const float *dy, const float *a,
                                    const float *b, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float s = sigmoid_f32(a[i]), d = dy[i];
        db[i] = d * a[i] * s;
        da[i] = d * b[i] * s * (1.0f + a[i] * (1.0f - s));
    }
}

void cpu_swiglu_forward(float *y, const float *a, const float *b, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE;
        forward_tile(y + i, a + i, b + i, min_i64(FLAT_TILE, count - i));
    }
}

void cpu_swiglu_backward(float *da, float *db, const float *dy, const float *a, const float *b,
                         int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE;
        backward_tile(da + i, db + i, dy + i, a + i, b + i, min_i64(FLAT_TILE, count - i));
    }
}
