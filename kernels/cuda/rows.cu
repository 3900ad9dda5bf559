/* Moving and adding rows on the GPU. See kernels/rows.h.
 *
 * All of it is bound by memory. Rows that are moved (gather, scatter-add) have a warp each, which
 * keeps BATCH packs of 16 bytes for each lane under way. Flat work (blend, add, narrow) has 16
 * bytes of each tensor for each thread. Columns are a strided copy of the runtime's.
 *
 * Sums over rows: a block has 128 columns, 4 to a lane, and WARPS warps that take turns at the
 * rows; then the first warp adds up the warps. The mean of a sequence has a block for each tile of
 * columns. A sum over all rows is cut into slices whose number depends on the shape alone, and
 * kernels/cuda/row_partials.h adds them. Bytes for an element: gather 8 or 12, scatter-add 12,
 * sums 4.
 */
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_partials.h"

#define THREADS 128
#define BATCH   4

/* ---- rows from here to there ---- */

/* y[to[i]] = x[from[i]] + table[entry[i]]; an entry below zero adds nothing */
template <int V>
__global__ void __launch_bounds__(THREADS)
    gather_kernel(float *y, const int32_t *__restrict__ to, const float *x,
                  const int32_t *__restrict__ from, const float *__restrict__ table,
                  const int32_t *__restrict__ entry, int64_t rows, int64_t width) {
    int64_t i = (int64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (i >= rows)
        return;
    int64_t place = table && entry ? entry[i] : i;
    const float *a = x ? x + (from ? from[i] : i) * width : NULL;
    const float *b = table && place >= 0 ? table + place * width : NULL;
    y += (to ? to[i] : i) * width;
    for (int64_t c = threadIdx.x % WARP * V; c < width; c += BATCH * WARP * V) {
        Pack<float, V> sum[BATCH], other[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            int64_t j = c + k * WARP * V;
            sum[k] = other[k] = Pack<float, V>{};
            if (a && j < width)
                sum[k] = load<float, V>(a + j);
            if (b && j < width)
                other[k] = load<float, V>(b + j);
        }
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            int64_t j = c + k * WARP * V;
            for (int v = 0; v < V && b; v++)
                sum[k].at[v] += other[k].at[v];
            if (j < width)
                store<float, V>(y + j, sum[k]);
        }
    }
}

/* dx[from[i]] += dy[to[i]] */
template <int V>
__global__ void __launch_bounds__(THREADS)
    scatter_add_kernel(float *dx, const int32_t *__restrict__ from, const float *__restrict__ dy,
                       const int32_t *__restrict__ to, int64_t rows, int64_t width) {
    int64_t i = (int64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (i >= rows)
        return;
    dx += (from ? from[i] : i) * width;
    dy += (to ? to[i] : i) * width;
    for (int64_t c = threadIdx.x % WARP * V; c < width; c += BATCH * WARP * V) {
        Pack<float, V> sum[BATCH], other[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            int64_t j = c + k * WARP * V;
            if (j < width) {
                sum[k] = load<float, V>(dx + j);
                other[k] = load<float, V>(dy + j);
            }
        }
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            int64_t j = c + k * WARP * V;
            for (int v = 0; v < V && j < width; v++)
                sum[k].at[v] += other[k].at[v];
            if (j < width)
                store<float, V>(dx + j, sum[k]);
        }
    }
}

extern "C" void cuda_rows_gather(float *y, const int32_t *to, const float *x, const int32_t *from,
                                 const float *table, const int32_t *entry, int64_t rows,
                                 int64_t width, Device *device) {
    if (!rows || (x == y && !table && !from && !to))
        return;
    unsigned blocks = blocks_for(rows, THREADS / WARP);
    if (vectors_fit(y, width, sizeof *y) && vectors_fit(x, width, sizeof *y) &&
        vectors_fit(table, width, sizeof *y))
        CUDA_LAUNCH(gather_kernel<4>, blocks, THREADS, 0, device, y, to, x, from, table, entry,
                    rows, width);
    else
        CUDA_LAUNCH(gather_kernel<1>, blocks, THREADS, 0, device, y, to, x, from, table, entry,
                    rows, width);
}

extern "C" void cuda_rows_scatter_add(float *dx, const int32_t *from, const float *dy,
                                      const int32_t *to, int64_t rows, int64_t width,
                                      Device *device) {
    if (!rows)
        return;
    unsigned blocks = blocks_for(rows, THREADS / WARP);
    if (vectors_fit(dx, width, sizeof *dx) && vectors_fit(dy, width, sizeof *dy))
        CUDA_LAUNCH(scatter_add_kernel<4>, blocks, THREADS, 0, device, dx, from, dy, to, rows,
                    width);
    else
        CUDA_LAUNCH(scatter_add_kernel<1>, blocks, THREADS, 0, device, dx, from, dy, to, rows,
                    width);
}

extern "C" void cuda_rows_columns(void *y, int64_t y_width, int64_t to, const void *x,
                                  int64_t x_width, int64_t from, int64_t rows, int64_t width,
                                  size_t size, Device *device) {
    if (!rows || !width)
        return;
    CUDA_CHECK(cudaMemcpy2DAsync((char *)y + (size_t)to * size, (size_t)y_width * size,
                                 (const char *)x + (size_t)from * size, (size_t)x_width * size,
                                 (size_t)width * size, (size_t)rows, cudaMemcpyDeviceToDevice,
                                 device->cuda->stream));
}

/* ---- sums over rows ---- */

#define WARPS   8
#define COLUMNS 4 /* of a thread */

/* Σ x[from[i]] over first <= i < last, of the four columns of this lane, `column` and on: in
 * doubles in the threads of the block's first warp, after one barrier. With V = 1 a lane's columns
 * lie WARP apart. Every thread of the block comes here. */
template <int V>
static __device__ inline void sum_columns(double *total, const float *__restrict__ x,
                                          const int32_t *__restrict__ from, int64_t first,
                                          int64_t last, int64_t width, int64_t column) {
    typedef Pack<float, COLUMNS> Four;
    CUDA_SHARED(Four, sums, [WARPS][WARP]);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    Pack<float, COLUMNS> sum = {};
    for (int64_t i = first + warp; i < last; i += BATCH * WARPS) {
        Pack<float, COLUMNS> in[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            int64_t row = i + k * WARPS;
            in[k] = Pack<float, COLUMNS>{};
            if (row >= last)
                continue;
            row = from ? from[row] : row;
            if (V == COLUMNS && column < width)
                in[k] = load<float, COLUMNS>(x + row * width + column);
            for (int c = 0; c < COLUMNS && V == 1; c++)
                if (column + c * WARP < width)
                    in[k].at[c] = x[row * width + column + c * WARP];
        }
#pragma unroll
        for (int k = 0; k < BATCH; k++)
            for (int c = 0; c < COLUMNS; c++)
                sum.at[c] += in[k].at[c];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    for (int c = 0; c < COLUMNS; c++) {
        total[c] = sums[0][lane].at[c];
        for (int w = 1; w < WARPS; w++)
            total[c] += sums[w][lane].at[c];
    }
}

/* The first column of this lane, and how far apart its four lie. */
template <int V> static __device__ inline int64_t first_column(void) {
    int lane = threadIdx.x % WARP;
    return (int64_t)blockIdx.x * COLUMNS * WARP + (V == 1 ? lane : lane * COLUMNS);
}
template <int V> static __device__ inline int64_t apart(void) {
    return V == 1 ? WARP : 1;
}

/* grid: tiles of columns, slices of the rows; partials[slice][D] */
template <int V>
__global__ void __launch_bounds__(WARPS *WARP)
    rows_sum_kernel(float *partials, const float *x, const int32_t *from, int64_t rows,
                    int64_t slice, int64_t width) {
    int64_t first = blockIdx.y * slice, last = first + slice < rows ? first + slice : rows;
    int64_t column = first_column<V>();
    double total[COLUMNS];
    sum_columns<V>(total, x, from, first, last, width, column);
    for (int c = 0; c < COLUMNS && threadIdx.x < WARP; c++)
        if (column + c * apart<V>() < width)
            partials[blockIdx.y * width + column + c * apart<V>()] = (float)total[c];
}

/* grid: tiles of columns, sequences */
template <int V>
__global__ void __launch_bounds__(WARPS *WARP)
    rows_mean_kernel(float *mean, const float *x, const int32_t *cu_seqlens, int64_t width) {
    int64_t first = cu_seqlens[blockIdx.y], last = cu_seqlens[blockIdx.y + 1];
    int64_t column = first_column<V>();
    double total[COLUMNS];
    sum_columns<V>(total, x, NULL, first, last, width, column);
    for (int c = 0; c < COLUMNS && threadIdx.x < WARP; c++)
        if (column + c * apart<V>() < width)
            mean[blockIdx.y * width + column + c * apart<V>()] =
                last > first ? (float)(total[c] / (double)(last - first)) : 0.0f;
}

extern "C" void cuda_rows_sum(float *sum, const float *x, const int32_t *from, int64_t rows,
                              int64_t width, Device *device) {
    if (!rows)
        return;
    int64_t count = (rows + BATCH * WARPS - 1) / (BATCH * WARPS);
    count = count < CUDA_PARTIALS ? count : CUDA_PARTIALS;
    int64_t slice = (rows + count - 1) / count;
    float *partials = partials_room(1, count, width, device);
    dim3 grid(blocks_for(width, COLUMNS * WARP), (unsigned)count);
    if (vectors_fit(x, width, sizeof *x))
        CUDA_LAUNCH(rows_sum_kernel<COLUMNS>, grid, WARPS * WARP, 0, device, partials, x, from,
                    rows, slice, width);
    else
        CUDA_LAUNCH(rows_sum_kernel<1>, grid, WARPS * WARP, 0, device, partials, x, from, rows,
                    slice, width);
    partials_add(Sums{{sum, NULL}}, 1, count, width, device);
}

extern "C" void cuda_rows_mean(float *mean, const float *x, const int32_t *cu_seqlens,
                               int64_t sequences, int64_t width, Device *device) {
    if (!sequences)
        return;
    const int32_t *cu = cuda_lengths(cu_seqlens, sequences, device)->device;
    dim3 grid(blocks_for(width, COLUMNS * WARP), (unsigned)sequences);
    if (vectors_fit(x, width, sizeof *x))
        CUDA_LAUNCH(rows_mean_kernel<COLUMNS>, grid, WARPS * WARP, 0, device, mean, x, cu, width);
    else
        CUDA_LAUNCH(rows_mean_kernel<1>, grid, WARPS * WARP, 0, device, mean, x, cu, width);
}

/* ---- flat work ---- */

#define FLAT 256 /* threads */

/* grid: tiles of the longest sequence, sequences. y = (x ? x : 0) + scale y */
template <int V>
__global__ void rows_blend_kernel(float *y, const float *__restrict__ x,
                                  const float *__restrict__ scale,
                                  const int32_t *__restrict__ cu_seqlens, int64_t width) {
    int64_t i = cu_seqlens[blockIdx.y] * width + ((int64_t)blockIdx.x * FLAT + threadIdx.x) * V;
    if (i >= cu_seqlens[blockIdx.y + 1] * width)
        return;
    float s = scale[blockIdx.y];
    Pack<float, V> own = load<float, V>(y + i), other = {};
    if (x)
        other = load<float, V>(x + i);
    for (int k = 0; k < V; k++)
        own.at[k] = other.at[k] + s * own.at[k];
    store<float, V>(y + i, own);
}

template <typename T, int V> __global__ void rows_add_kernel(T *y, const T *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * FLAT + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<T, V> a = load<T, V>(y + i), b = load<T, V>(x + i);
    for (int k = 0; k < V; k++)
        put(&a.at[k], widen(a.at[k]) + widen(b.at[k]));
    store<T, V>(y + i, a);
}

template <int V> __global__ void rows_narrow_kernel(Bf16 *y, const float *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * FLAT + threadIdx.x) * V;
    if (i >= count)
        return;
    const int P = V < 4 ? V : 4; /* floats of an access */
    Pack<Bf16, V> out;
#pragma unroll
    for (int k = 0; k < V; k += P) {
        Pack<float, P> in = load<float, P>(x + i + k);
        for (int p = 0; p < P; p++)
            put(&out.at[k + p], in.at[p]);
    }
    store<Bf16, V>(y + i, out);
}

extern "C" void cuda_rows_blend(float *y, const float *x, const float *scale,
                                const int32_t *cu_seqlens, int64_t sequences, int64_t width,
                                Device *device) {
    if (!sequences)
        return;
    const CudaLengths *lengths = cuda_lengths(cu_seqlens, sequences, device);
    int64_t most = lengths->longest * width;
    if (!most)
        return;
    if (vectors_fit(y, width, sizeof *y) && vectors_fit(x, width, sizeof *y))
        CUDA_LAUNCH(rows_blend_kernel<4>, dim3(blocks_for(most, 4 * FLAT), (unsigned)sequences),
                    FLAT, 0, device, y, x, scale, (const int32_t *)lengths->device, width);
    else
        CUDA_LAUNCH(rows_blend_kernel<1>, dim3(blocks_for(most, FLAT), (unsigned)sequences), FLAT,
                    0, device, y, x, scale, (const int32_t *)lengths->device, width);
}

template <typename T> static void add(T *y, const T *x, int64_t count, Device *device) {
    const int V = 16 / sizeof(T);
    if (vectors_fit(y, count, sizeof *y) && vectors_fit(x, count, sizeof *x))
        CUDA_LAUNCH((rows_add_kernel<T, V>), blocks_for(count, V * FLAT), FLAT, 0, device, y, x,
                    count);
    else
        CUDA_LAUNCH((rows_add_kernel<T, 1>), blocks_for(count, FLAT), FLAT, 0, device, y, x, count);
}

extern "C" void cuda_rows_add(Activation *y, const Activation *x, int64_t count, Device *device) {
    if (count)
        ACTIVATION(device, add<T>((T *)y, (const T *)x, count, device));
}

extern "C" void cuda_rows_narrow(Activation *y, const float *x, int64_t count, Device *device) {
    if (!count || y == x)
        return;
    if (device->precision == PRECISION_FLOAT32)
        CUDA_CHECK(cudaMemcpyAsync(y, x, (size_t)count * sizeof *x, cudaMemcpyDeviceToDevice,
                                   device->cuda->stream));
    else if (vectors_fit(y, count, sizeof(Bf16)) && vectors_fit(x, count, sizeof *x))
        CUDA_LAUNCH(rows_narrow_kernel<8>, blocks_for(count, 8 * FLAT), FLAT, 0, device, (Bf16 *)y,
                    x, count);
    else
        CUDA_LAUNCH(rows_narrow_kernel<1>, blocks_for(count, FLAT), FLAT, 0, device, (Bf16 *)y, x,
                    count);
}

template <int V> __global__ void rows_widen_kernel(float *y, const Bf16 *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * FLAT + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<Bf16, V> in = load<Bf16, V>(x + i);
    Pack<float, V> out;
    for (int k = 0; k < V; k++)
        out.at[k] = widen(in.at[k]);
    store<float, V>(y + i, out);
}

extern "C" void cuda_rows_widen(float *y, const Activation *x, int64_t count, Device *device) {
    if (!count)
        return;
    if (device->precision == PRECISION_FLOAT32)
        CUDA_CHECK(cudaMemcpyAsync(y, x, (size_t)count * sizeof *y, cudaMemcpyDeviceToDevice,
                                   device->cuda->stream));
    else if ((uintptr_t)x % 8 == 0 && vectors_fit(y, count, sizeof *y))
        CUDA_LAUNCH(rows_widen_kernel<4>, blocks_for(count, 4 * FLAT), FLAT, 0, device, y,
                    (const Bf16 *)x, count);
    else
        CUDA_LAUNCH(rows_widen_kernel<1>, blocks_for(count, FLAT), FLAT, 0, device, y,
                    (const Bf16 *)x, count);
}
