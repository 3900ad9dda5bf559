/* Biases on the GPU. Their gradients: sums of columns, db[width] += Σ_rows dy[rows][width].
 *
 * Bound by memory: reads each element once, 2 or 4 bytes. Grid: (tiles of columns, groups of rows),
 * blocks of 8 warps. A lane reads 16 bytes, so a warp reads 32 x V neighbouring columns of one row;
 * warp i takes rows i, i + 8, ... of its group, four of them in flight. The warps' sums meet in
 * shared memory; a partial sum for each group goes to the scratch, where
 * kernels/cuda/row_partials.h adds them. The shape alone decides the order.
 *
 * Groups: enough for GROUP_BLOCKS blocks in all, which fill an H200 (132 SMs of 8 such blocks), at
 * most CUDA_PARTIALS, which the scratch has room for.
 *
 * And the rows that a product is added to where the library has no kernel that adds a bias: rare,
 * an element for each thread. */
#include "kernels/cuda/row_partials.h"
extern "C" {
#include "kernels/cuda/bias.h"
}

#define WARPS        8
#define IN_FLIGHT    4    /* rows that a warp reads before it adds them */
#define GROUP_BLOCKS 1056 /* 8 x 132 */
#define GROUP_ROWS   32   /* at least so many in a group */

template <typename T, int V>
__global__ void columns_kernel(float *partial, const T *x, int64_t rows, int width,
                               int group_rows) {
    CUDA_SHARED(float, sums, [WARPS][V][WARP]);
    int lane = (int)threadIdx.x, warp = (int)threadIdx.y;
    int column = ((int)blockIdx.x * WARP + lane) * V;
    int64_t first = (int64_t)blockIdx.y * group_rows;
    int count = rows - first < group_rows ? (int)(rows - first) : group_rows, r = warp;
    float sum[V];
    for (int k = 0; k < V; k++)
        sum[k] = 0;
    if (column < width) { /* V divides the width */
        const T *at = x + first * width + column;
        for (; r + (IN_FLIGHT - 1) * WARPS < count; r += IN_FLIGHT * WARPS) {
            Pack<T, V> in[IN_FLIGHT];
            for (int i = 0; i < IN_FLIGHT; i++)
                in[i] = load<T, V>(at + (int64_t)(r + i * WARPS) * width);
            for (int i = 0; i < IN_FLIGHT; i++)
                for (int k = 0; k < V; k++)
                    sum[k] += widen(in[i].at[k]);
        }
        for (; r < count; r += WARPS) {
            Pack<T, V> in = load<T, V>(at + (int64_t)r * width);
            for (int k = 0; k < V; k++)
                sum[k] += widen(in.at[k]);
        }
    }
    for (int k = 0; k < V; k++)
        sums[warp][k][lane] = sum[k];
    __syncthreads();
    /* warp k adds what all warps found for the k-th column of each lane */
    for (int k = warp; k < V; k += WARPS) {
        float total = sums[0][k][lane];
        for (int i = 1; i < WARPS; i++)
            total += sums[i][k][lane];
        if (column < width)
            partial[(int64_t)blockIdx.y * width + column + k] = total;
    }
}

static int64_t ceiling(int64_t x, int64_t of) {
    return (x + of - 1) / of;
}

template <typename T, int V>
static void add_columns(float *sum, const T *x, int64_t rows, int64_t width, Device *device) {
    int64_t tiles = ceiling(width, WARP * V), groups = GROUP_BLOCKS / tiles;
    groups = groups < ceiling(rows, GROUP_ROWS) ? groups : ceiling(rows, GROUP_ROWS);
    groups = groups < 1 ? 1 : groups > CUDA_PARTIALS ? CUDA_PARTIALS : groups;
    int64_t group_rows = ceiling(rows, groups);
    groups = ceiling(rows, group_rows);
    float *partial = partials_room(1, groups, width, device);
    CUDA_LAUNCH((columns_kernel<T, V>), dim3((unsigned)tiles, (unsigned)groups), dim3(WARP, WARPS),
                0, device, partial, x, rows, (int)width, (int)group_rows);
    Sums sums = {{sum, NULL}};
    partials_add(sums, 1, groups, width, device);
}

extern "C" void cuda_bias_gradient(float *db, const Activation *dy, int64_t rows, int64_t width,
                                   Device *device) {
    if (!rows)
        return;
    if (vectors_fit(dy, width, activation_size(device->precision)))
        ACTIVATION(device,
                   add_columns<T, 16 / (int)sizeof(T)>(db, (const T *)dy, rows, width, device));
    else
        ACTIVATION(device, add_columns<T, 1>(db, (const T *)dy, rows, width, device));
}

template <typename T>
__global__ void bias_rows_kernel(T *y, const T *added, const T *b, int64_t count, int64_t width) {
    int64_t i = (int64_t)blockIdx.x * WARP * WARPS + threadIdx.x;
    if (i < count)
        put(&y[i], widen(b[i % width]) + (added ? widen(added[i]) : 0.0f));
}

extern "C" void cuda_bias_rows(void *y, const void *added, const void *b, int64_t rows,
                               int64_t width, Precision precision, Device *device) {
    unsigned blocks = blocks_for(rows * width, WARP * WARPS);
    if (!blocks)
        return;
    if (precision == PRECISION_BFLOAT16)
        CUDA_LAUNCH(bias_rows_kernel<Bf16>, blocks, WARP * WARPS, 0, device, (Bf16 *)y,
                    (const Bf16 *)added, (const Bf16 *)b, rows * width, width);
    else
        CUDA_LAUNCH(bias_rows_kernel<float>, blocks, WARP * WARPS, 0, device, (float *)y,
                    (const float *)added, (const float *)b, rows * width, width);
}
