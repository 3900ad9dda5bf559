/* SwiGLU on the CPU. See kernels/swiglu.h. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

/* σ(a) from exp(-|a|), so that nothing overflows */
static inline float sigmoid_f32(float a) {
    float e = exp_f32(a < 0 ? a : -a);
    return (a < 0 ? e : 1.0f) / (1.0f + e);
}

INLINE void forward_loop(Activation *y, const Activation *a, const Activation *b, int64_t count,
                         Precision p) {
    for (int64_t i = 0; i < count; i++) {
        float value = activation_get(a, i, p);
        activation_put(y, i, value * sigmoid_f32(value) * activation_get(b, i, p), p);
    }
}

/* y = a σ(a) b  =>  da = dy b σ (1 + a (1 - σ)),  db = dy a σ */
INLINE void backward_loop(Activation *da, Activation *db, Activation *y, const Activation *dy,
                          const Activation *a, const Activation *b, int64_t count, Precision p) {
    for (int64_t i = 0; i < count; i++) {
        float value = activation_get(a, i, p), gate = activation_get(b, i, p);
        float s = sigmoid_f32(value), d = activation_get(dy, i, p);
        activation_put(db, i, d * value * s, p);
        activation_put(da, i, d * gate * s * (1.0f + value * (1.0f - s)), p);
        if (y)
            activation_put(y, i, value * s * gate, p);
    }
}

MANY_CPUS static void forward_float(float *y, const float *a, const float *b, int64_t count) {
    forward_loop(y, a, b, count, PRECISION_FLOAT32);
}
MANY_CPUS static void forward_bf16(uint16_t *y, const uint16_t *a, const uint16_t *b,
                                   int64_t count) {
    forward_loop(y, a, b, count, PRECISION_BFLOAT16);
}
MANY_CPUS static void backward_float(float *da, float *db, float *y, const float *dy,
                                     const float *a, const float *b, int64_t count) {
    backward_loop(da, db, y, dy, a, b, count, PRECISION_FLOAT32);
}
MANY_CPUS static void backward_bf16(uint16_t *da, uint16_t *db, uint16_t *y, const uint16_t *dy,
                                    const uint16_t *a, const uint16_t *b, int64_t count) {
    backward_loop(da, db, y, dy, a, b, count, PRECISION_BFLOAT16);
}

void cpu_swiglu_forward(Activation *y, const Activation *a, const Activation *b, int64_t count,
                        Device *device) {
    Precision p = device->precision;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE, length = min_i64(FLAT_TILE, count - i);
        if (p == PRECISION_BFLOAT16)
            forward_bf16(activation_at(y, i, p), activation_of(a, i, p), activation_of(b, i, p),
                         length);
        else
            forward_float((float *)y + i, (const float *)a + i, (const float *)b + i, length);
    }
}

void cpu_swiglu_backward(Activation *da, Activation *db, Activation *y, const Activation *dy,
                         const Activation *a, const Activation *b, int64_t count, Device *device) {
    Precision p = device->precision;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE, length = min_i64(FLAT_TILE, count - i);
        Activation *again = y ? activation_at(y, i, p) : NULL;
        if (p == PRECISION_BFLOAT16)
            backward_bf16(activation_at(da, i, p), activation_at(db, i, p), again,
                          activation_of(dy, i, p), activation_of(a, i, p), activation_of(b, i, p),
                          length);
        else
            backward_float(activation_at(da, i, p), activation_at(db, i, p), again,
                           activation_of(dy, i, p), activation_of(a, i, p), activation_of(b, i, p),
                           length);
    }
}
