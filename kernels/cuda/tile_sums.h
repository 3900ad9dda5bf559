/* Sums over flat buffers, in two steps: every block of a grid sums one tile in double and leaves
 * the sum in the device's scratch; one block adds these up. No float atomics, no counters: which
 * element is added when depends on the number of elements alone, not on how they are aligned. */
#ifndef JEPA_KERNELS_CUDA_TILE_SUMS_H
#define JEPA_KERNELS_CUDA_TILE_SUMS_H

#include "kernels/cuda/launch.h"
#include "kernels/cuda/scratch.h"

#define TILE_SUMS_THREADS 1024 /* of the one block that adds the sums of tiles */

/* x[i..i+3] of x[count]; what lies behind the end is 0. V = 4: x is 16-byte aligned, which makes it
 * one access wherever all four are there. */
template <int V> static __device__ inline Pack<float, 4> four(const float *x, int i, int count) {
    if (V == 4 && i + 4 <= count)
        return load<float, 4>(x + i);
    Pack<float, 4> pack;
    for (int k = 0; k < 4; k++)
        pack.at[k] = i + k < count ? x[i + k] : 0.0f;
    return pack;
}

/* *sum += factor Σ partials[count]: thread t adds t, t + 1024, ..., then the block adds threads. */
static __global__ void __launch_bounds__(TILE_SUMS_THREADS)
    tile_sums_add_kernel(double *sum, const double *partials, int64_t count, double factor) {
    CUDA_SHARED(double, slots, [WARP]);
    double own = 0;
    for (int64_t i = threadIdx.x; i < count; i += TILE_SUMS_THREADS)
        own += partials[i];
    double total = block_sum(own, slots);
    if (threadIdx.x == 0)
        *sum += factor * total;
}

static inline void tile_sums_add(double *sum, const double *partials, int64_t count, double factor,
                                 Device *device) {
    CUDA_LAUNCH(tile_sums_add_kernel, 1, TILE_SUMS_THREADS, 0, device, sum, partials, count,
                factor);
}

/* Room for the sums of `tiles`. */
static inline double *tile_sums_take(int64_t tiles, Device *device) {
    JEPA_ASSERT(tiles * (int64_t)sizeof(double) <= (int64_t)device->scratch_bytes);
    return (double *)device->scratch;
}

#endif
