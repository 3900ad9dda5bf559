/* Sums of doubles in a fixed order on the GPU. See kernels/sums.h.
 *
 * square_sums reads 4 bytes per parameter, once: a block of threads for each block of SHARD_BLOCK
 * elements, in double. sums_add adds one after the other, as every rank must: the rows come through
 * shared memory, many at a time, and a thread for each column adds what lies there. */
#include "kernels/cuda/tile_sums.h"

#define THREADS 256
#define STEPS   (CUDA_SUM_TILE / (4 * THREADS)) /* accesses of a thread to a tile */

/* sums[b] = Σ x² over tile b of `tile` elements, a multiple of CUDA_SUM_TILE. Thread t takes
 * elements 4 t .. 4 t + 3 of every 1024. */
template <int V>
__global__ void square_tiles_kernel(double *sums, const float *x, int64_t count, int tile) {
    CUDA_SHARED(double, slots, [WARP]);
    int64_t first = (int64_t)blockIdx.x * tile;
    int here = (int)(count - first < tile ? count - first : tile);
    double sum = 0;
    for (int at = 0; at < here; at += CUDA_SUM_TILE) {
        Pack<float, 4> in[STEPS];
        for (int s = 0; s < STEPS; s++)
            in[s] = four<V>(x + first, at + 4 * (s * THREADS + (int)threadIdx.x), here);
        for (int s = 0; s < STEPS; s++)
            for (int k = 0; k < 4; k++)
                sum += (double)in[s].at[k] * in[s].at[k];
    }
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

static void square_tiles(double *sums, const float *x, int64_t count, int tile, Device *device) {
    if (vectors_fit(x, count, sizeof *x))
        CUDA_LAUNCH(square_tiles_kernel<4>, blocks_for(count, tile), THREADS, 0, device, sums, x,
                    count, tile);
    else
        CUDA_LAUNCH(square_tiles_kernel<1>, blocks_for(count, tile), THREADS, 0, device, sums, x,
                    count, tile);
}

extern "C" void cuda_square_sums(double *sums, const float *x, int64_t count, Device *device) {
    if (count)
        square_tiles(sums, x, count, SHARD_BLOCK, device);
}

#define STAGED 2048 /* doubles in shared memory: 16 KiB */

/* Row i of the sum is row i / parts of part i mod parts. */
static __global__ void sums_add_kernel(double *sum, const double *x, int64_t from, int64_t to,
                                       int parts, int64_t rows, int width) {
    CUDA_SHARED(double, staged, [STAGED]);
    int column = (int)threadIdx.x, at_once = STAGED / width;
    double total = column < width ? sum[column] : 0;
    for (int64_t first = from; first < to; first += at_once) {
        int here = (int)(to - first < at_once ? to - first : at_once);
        for (int k = (int)threadIdx.x; k < here * width; k += THREADS) {
            int64_t i = first + k / width;
            staged[k] = x[(i % parts * rows + i / parts) * width + k % width];
        }
        __syncthreads();
        for (int k = 0; k < here && column < width; k++)
            total += staged[k * width + column];
        __syncthreads();
    }
    if (column < width)
        sum[column] = total;
}

extern "C" void cuda_sums_add(double *sum, const double *x, int64_t from, int64_t to, int64_t parts,
                              int64_t rows, int64_t width, Device *device) {
    JEPA_ASSERT(width >= 1 && width <= THREADS);
    if (from < to)
        CUDA_LAUNCH(sums_add_kernel, 1, THREADS, 0, device, sum, x, from, to, (int)parts, rows,
                    (int)width);
}
