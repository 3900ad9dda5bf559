/* Sums over many rows, in two steps of a fixed order: blocks leave partial sums of their rows in
 * the device's scratch, [tensors][partials][width] float; then these are added here, in doubles.
 * How many there are depends on the shape alone, so a sum has the same bits on every GPU.
 *
 *     sums[t][D] += Σ_p partials[t][p][D]
 *
 * A block of the second step has 32 columns and 8 threads for each: thread g adds the partials g,
 * g + 8, ..., then the first adds the eight. Its input is a few MiB that still lie in the L2 cache.
 */
#ifndef JEPA_KERNELS_CUDA_ROW_PARTIALS_H
#define JEPA_KERNELS_CUDA_ROW_PARTIALS_H

#include "kernels/cuda/launch.h"
#include "kernels/cuda/scratch.h"

#define PARTIAL_GROUPS 8

/* Where the sums of up to two tensors go. */
typedef struct Sums {
    float *of[2]; /* [width] */
} Sums;

static __global__ void __launch_bounds__(WARP *PARTIAL_GROUPS)
    partials_add_kernel(Sums sums, const float *partials, int count, int64_t width) {
    CUDA_SHARED(double, group_sum, [PARTIAL_GROUPS][WARP]);
    int lane = threadIdx.x % WARP, group = threadIdx.x / WARP;
    int64_t column = (int64_t)blockIdx.x * WARP + lane;
    const float *from = partials + blockIdx.y * count * width + column;
    double sum = 0;
    for (int p = group; p < count && column < width; p += PARTIAL_GROUPS)
        sum += from[p * width];
    group_sum[group][lane] = sum;
    __syncthreads();
    if (group || column >= width)
        return;
    for (int g = 1; g < PARTIAL_GROUPS; g++)
        sum += group_sum[g][lane];
    float *to = blockIdx.y ? sums.of[1] : sums.of[0];
    to[column] += (float)sum;
}

/* Scratch for `tensors` times `count` rows of partial sums, and their addition. */
static inline float *partials_room(int64_t tensors, int64_t count, int64_t width, Device *device) {
    JEPA_ASSERT((size_t)(tensors * count * width) * sizeof(float) <= device->scratch_bytes);
    return (float *)device->scratch;
}
static inline void partials_add(Sums sums, int tensors, int64_t count, int64_t width,
                                Device *device) {
    dim3 grid(blocks_for(width, WARP), (unsigned)tensors);
    CUDA_LAUNCH(partials_add_kernel, grid, WARP * PARTIAL_GROUPS, 0, device, sums,
                (const float *)device->scratch, (int)count, width);
}

#endif
