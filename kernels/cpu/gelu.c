/* Exact GELU on the CPU. See kernels/gelu.h. */
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

MANY_CPUS static void forward_tile(float *y, const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float e;
        y[i] = x[i] * normal_f32(x[i], &e);
    }
}

/* y = x Φ(x)  =>  dx = dy (Φ(x) + x φ(x)),  φ(x) = exp(-x²/2) / √(2π) */
MANY_CPUS static void backward_tile(float *dx, const float *dy, const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float e;
        float phi = normal_f32(x[i], &e);
        dx[i] = dy[i] * (phi + x[i] * e * 0.398942280f);
    }
}

void cpu_gelu_forward(float *y, const float *x, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t first = tile * FLAT_TILE;
        forward_tile(y + first, x + first, min_i64(FLAT_TILE, count - first));
    }
}

void cpu_gelu_backward(float *dx, const float *dy, const float *x, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t first = tile * FLAT_TILE;
        backward_tile(dx + first, dy + first, x + first, min_i64(FLAT_TILE, count - first));
    }
}
