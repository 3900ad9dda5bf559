/* The invariance loss on the CPU. See kernels/invariance.h. A flat tile of the G·K elements of a
 * view belongs to one thread, which goes through all views. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <string.h>

#define LANES 8 /* partial sums: a fixed order that vectorises */

MANY_CPUS static double forward_tile(const float *e, int64_t views, int64_t stride, int64_t count) {
    double sum[LANES] = {0};
    int64_t whole = count / LANES * LANES;
    for (int64_t v = 1; v < views; v++) {
        const float *other = e + v * stride;
        for (int64_t i = 0; i < whole; i += LANES)
            for (int k = 0; k < LANES; k++) {
                double d = (double)e[i + k] - other[i + k];
                sum[k] += d * d;
            }
        for (int64_t i = whole; i < count; i++) {
            double d = (double)e[i] - other[i];
            sum[i - whole] += d * d;
        }
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

void cpu_invariance_forward(double *loss, const float *e, int64_t views, int64_t clips,
                            int64_t width, double weight, Device *device) {
    int64_t stride = clips * width;
    double *partial = device->scratch;
    JEPA_ASSERT(TILES(stride, FLAT_TILE) * (int64_t)sizeof(double) <=
                (int64_t)device->scratch_bytes);
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(stride, FLAT_TILE); tile++) {
        int64_t first = tile * FLAT_TILE;
        partial[tile] = forward_tile(e + first, views, stride, min_i64(FLAT_TILE, stride - first));
    }
    double sum = 0;
    for (int64_t tile = 0; tile < TILES(stride, FLAT_TILE); tile++)
        sum += partial[tile];
    *loss += weight * sum / (double)(views * stride);
}

/* loss = scale/2 Σ (e0 - ev)²  =>  d = scale (e0 - ev), de0 += d, dev = -d */
MANY_CPUS static void backward_tile(float *de, const float *e, int64_t views, int64_t stride,
                                    int64_t count, float scale) {
    memset(de, 0, (size_t)count * sizeof *de);
    for (int64_t v = 1; v < views; v++)
        for (int64_t i = 0; i < count; i++) {
            float d = scale * (e[i] - e[v * stride + i]);
            de[i] += d;
            de[v * stride + i] = -d;
        }
}

void cpu_invariance_backward(float *de, const float *e, int64_t views, int64_t clips, int64_t width,
                             double weight, Device *device) {
    int64_t stride = clips * width;
    float scale = (float)(2 * weight / (double)(views * stride));
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(stride, FLAT_TILE); tile++) {
        int64_t first = tile * FLAT_TILE;
        backward_tile(de + first, e + first, views, stride, min_i64(FLAT_TILE, stride - first),
                      scale);
    }
}
