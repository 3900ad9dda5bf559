/* Exact GELU on the CPU. See kernels/gelu.h. */
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

INLINE void forward_loop(Activation *y, const Activation *x, int64_t count, Precision p) {
    for (int64_t i = 0; i < count; i++) {
        float e, value = activation_get(x, i, p);
        activation_put(y, i, value * normal_f32(value, &e), p);
    }
}

/* y = x Φ(x)  =>  dx = dy (Φ(x) + x φ(x)),  φ(x) = exp(-x²/2) / √(2π) */
INLINE void backward_loop(Activation *dx, Activation *y, const Activation *dy, const Activation *x,
                          int64_t count, Precision p) {
    for (int64_t i = 0; i < count; i++) {
        float e, value = activation_get(x, i, p);
        float phi = normal_f32(value, &e);
        float d = activation_get(dy, i, p) * (phi + value * e * 0.398942280f);
        activation_put(dx, i, d, p);
        if (y)
            activation_put(y, i, value * phi, p);
    }
}

MANY_CPUS static void forward_float(float *y, const float *x, int64_t count) {
    forward_loop(y, x, count, PRECISION_FLOAT32);
}
MANY_CPUS static void forward_bf16(uint16_t *y, const uint16_t *x, int64_t count) {
    forward_loop(y, x, count, PRECISION_BFLOAT16);
}
MANY_CPUS static void backward_float(float *dx, const float *dy, const float *x, int64_t count) {
    backward_loop(dx, NULL, dy, x, count, PRECISION_FLOAT32);
}
MANY_CPUS static void backward_bf16(uint16_t *dx, const uint16_t *dy, const uint16_t *x,
                                    int64_t count) {
    backward_loop(dx, NULL, dy, x, count, PRECISION_BFLOAT16);
}
MANY_CPUS static void both_float(float *dx, float *restrict y, const float *dy, const float *x,
                                 int64_t count) {
    backward_loop(dx, y, dy, x, count, PRECISION_FLOAT32);
}
MANY_CPUS static void both_bf16(uint16_t *dx, uint16_t *restrict y, const uint16_t *dy,
                                const uint16_t *x, int64_t count) {
    backward_loop(dx, y, dy, x, count, PRECISION_BFLOAT16);
}

void cpu_gelu_tile(Activation *y, const Activation *x, int64_t count, Precision precision) {
    if (precision == PRECISION_BFLOAT16)
        forward_bf16(y, x, count);
    else
        forward_float(y, x, count);
}

void cpu_gelu_backward_tile(Activation *dx, Activation *y, const Activation *dy,
                            const Activation *x, int64_t count, Precision precision) {
    bool narrow = precision == PRECISION_BFLOAT16;
    if (y && narrow)
        both_bf16(dx, y, dy, x, count);
    else if (y)
        both_float(dx, y, dy, x, count);
    else if (narrow)
        backward_bf16(dx, dy, x, count);
    else
        backward_float(dx, dy, x, count);
}

void cpu_gelu_forward(Activation *y, const Activation *x, int64_t count, Device *device) {
    Precision p = device->precision;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE;
        cpu_gelu_tile(activation_at(y, i, p), activation_of(x, i, p), min_i64(FLAT_TILE, count - i),
                      p);
    }
}

void cpu_gelu_backward(Activation *dx, const Activation *dy, const Activation *x, int64_t count,
                       Device *device) {
    Precision p = device->precision;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE;
        cpu_gelu_backward_tile(activation_at(dx, i, p), NULL, activation_of(dy, i, p),
                               activation_of(x, i, p), min_i64(FLAT_TILE, count - i), p);
    }
}
