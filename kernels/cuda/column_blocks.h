/* Sums over rows for every column of a matrix x[R][D], in double. A block of 256 threads has 16
 * columns of threads, each of V neighbouring columns of x, and 16 groups of rows: group g takes
 * rows g, g + 16, ... of the block's. A warp reads 256 bytes of two rows at a time (V = 4). The
 * groups' sums are added in their order, which does not depend on V. */
#ifndef JEPA_KERNELS_CUDA_COLUMN_BLOCKS_H
#define JEPA_KERNELS_CUDA_COLUMN_BLOCKS_H

#include "kernels/cuda/launch.h"

#define COLUMN_THREADS 256
#define COLUMN_LANES   16 /* threads side by side */
#define COLUMN_GROUPS  (COLUMN_THREADS / COLUMN_LANES)

/* Columns of a block. */
template <int V> struct ColumnTile { static const int width = COLUMN_LANES * V; };

/* The first of this thread's columns within its block, and its group of rows. */
template <int V> static __device__ inline int column_of(void) {
    return (int)(threadIdx.x % COLUMN_LANES) * V;
}
static __device__ inline int group_of(void) {
    return (int)(threadIdx.x / COLUMN_LANES);
}

/* Adds what the groups have: afterwards slots[0][c] is the sum of the block's column c, for every
 * thread to read. */
template <int V>
static __device__ inline void columns_add(double (*slots)[COLUMN_LANES * V],
                                          const double (&own)[V]) {
    for (int k = 0; k < V; k++)
        slots[group_of()][column_of<V>() + k] = own[k];
    __syncthreads();
    int c = (int)threadIdx.x;
    if (c < ColumnTile<V>::width) {
        double sum = slots[0][c];
        for (int g = 1; g < COLUMN_GROUPS; g++)
            sum += slots[g][c];
        slots[0][c] = sum;
    }
    __syncthreads();
}

/* Blocks across a row. */
static inline int64_t column_tiles(int64_t width, int v) {
    return (width + COLUMN_LANES * v - 1) / (COLUMN_LANES * v);
}

#endif
