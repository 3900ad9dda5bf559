/* Layer normalisation on the GPU. See kernels/layernorm.h.
 *
 * All of it is bound by memory. Bytes for an element in bfloat16: forward and again 6 (x in, y
 * out), backward 16 (dy, x, dx in; dx, narrow out). So everything is read once.
 *
 * Forward, again: a warp for each row, which it keeps in registers: PACKS 16-byte packs to a lane,
 * for widths of up to 2048. No barriers; 4 rows to a block.
 *
 * Backward: a block has a thread for every 4 columns and takes ROWS rows at a time, so that
 *     dx += rstd (g - mean(g) - n mean(g n)),   g = dy w,   n = (x - mean) rstd
 * needs one barrier for all of them, and the columns' dw += dy n and db += dy stay in the registers
 * of their thread until the block has seen all its rows. What it then holds is a partial sum, added
 * to those of other blocks by kernels/cuda/row_partials.h. The next rows are on their way while
 * these are worked on.
 *
 * Widths that are no multiple of 4 and pointers that are not aligned take the general kernels. */
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_partials.h"

#define THREADS 128 /* forward: 4 warps */
#define LANES4  (4 * WARP)

/* y = (x - mean) rstd w + b: the same rounding wherever it is computed */
template <int V>
static __device__ inline Pack<float, V> normalised(const Pack<float, V> &x, float mean, float rstd,
                                                   const float *__restrict__ w,
                                                   const float *__restrict__ b) {
    Pack<float, V> y;
    for (int k = 0; k < V; k++)
        y.at[k] = (x.at[k] - mean) * rstd;
    if (!w)
        return y;
    Pack<float, V> weight = load<float, V>(w), bias = load<float, V>(b);
    for (int k = 0; k < V; k++)
        y.at[k] = fmaf(y.at[k], weight.at[k], bias.at[k]);
    return y;
}

template <typename T, int V>
static __device__ inline void store_as(T *to, const Pack<float, V> &from) {
    Pack<T, V> pack;
    for (int k = 0; k < V; k++)
        put(&pack.at[k], from.at[k]);
    store<T, V>(to, pack);
}

/* What a forward pass leaves of each row, or finds; either may be NULL where it is written. */
typedef struct Statistics {
    float *mean, *rstd; /* [R] */
    double share;       /* 1 / D */
    float eps;
    bool known; /* read them instead */
} Statistics;

static __device__ inline void statistics_put(const Statistics *s, int64_t row, float mean,
                                             float rstd) {
    if (threadIdx.x % WARP || s->known)
        return;
    if (s->mean)
        s->mean[row] = mean;
    if (s->rstd)
        s->rstd[row] = rstd;
}

/* A warp's row in registers. Lanes add floats, the warp adds doubles. */
template <typename T, int PACKS>
__global__ void __launch_bounds__(THREADS)
    layernorm_kernel(T *y, Statistics found, const float *x, const float *__restrict__ w,
                     const float *__restrict__ b, int64_t rows, int width) {
    int64_t row = (int64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    int first = threadIdx.x % WARP * 4;
    if (row >= rows) /* the whole warp */
        return;
    x += row * width;
    y += row * width;
    Pack<float, 4> in[PACKS];
#pragma unroll
    for (int p = 0; p < PACKS; p++)
        if (first + p * LANES4 < width)
            in[p] = load<float, 4>(x + first + p * LANES4);
    float mean, rstd;
    if (found.known) {
        mean = found.mean[row];
        rstd = found.rstd[row];
    } else {
        float sum[4] = {0, 0, 0, 0}, square[4] = {0, 0, 0, 0};
#pragma unroll
        for (int p = 0; p < PACKS; p++)
            for (int k = 0; k < 4 && first + p * LANES4 < width; k++)
                sum[k] += in[p].at[k];
        mean = (float)(warp_sum((double)((sum[0] + sum[1]) + (sum[2] + sum[3]))) * found.share);
#pragma unroll
        for (int p = 0; p < PACKS; p++)
            for (int k = 0; k < 4 && first + p * LANES4 < width; k++) {
                float d = in[p].at[k] - mean;
                square[k] += d * d;
            }
        double all = warp_sum((double)((square[0] + square[1]) + (square[2] + square[3])));
        rstd = 1.0f / sqrtf((float)(all * found.share) + found.eps);
        statistics_put(&found, row, mean, rstd);
    }
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        int i = first + p * LANES4;
        if (i < width)
            store_as<T, 4>(y + i,
                           normalised<4>(in[p], mean, rstd, w ? w + i : NULL, w ? b + i : NULL));
    }
}

/* Any width, any pointer: the row is read three times, twice from the cache. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    layernorm_general_kernel(T *y, Statistics found, const float *x, const float *w, const float *b,
                             int64_t rows, int64_t width) {
    int64_t row = (int64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    x += row * width;
    y += row * width;
    float mean, rstd;
    if (found.known) {
        mean = found.mean[row];
        rstd = found.rstd[row];
    } else {
        double sum = 0, square = 0;
        for (int64_t i = lane; i < width; i += WARP)
            sum += x[i];
        mean = (float)(warp_sum(sum) * found.share);
        for (int64_t i = lane; i < width; i += WARP) {
            float d = x[i] - mean;
            square += (double)(d * d);
        }
        rstd = 1.0f / sqrtf((float)(warp_sum(square) * found.share) + found.eps);
        statistics_put(&found, row, mean, rstd);
    }
    for (int64_t i = lane; i < width; i += WARP) /* y may be x: each lane its own entries */
        store_as<T, 1>(y + i, normalised<1>(load<float, 1>(x + i), mean, rstd, w ? w + i : NULL,
                                            w ? b + i : NULL));
}

/* 4 columns of T at a time */
template <typename T> static bool four_fit(const T *a, int64_t width) {
    return (uintptr_t)a % (4 * sizeof *a) == 0 && width % 4 == 0;
}

template <typename T>
static void forward(T *y, Statistics found, const float *x, const float *w, const float *b,
                    int64_t rows, int64_t width, Device *device) {
    if (!rows)
        return;
    unsigned blocks = blocks_for(rows, THREADS / WARP);
    int64_t packs = (width + LANES4 - 1) / LANES4;
    if (packs > 16 || !four_fit(y, width) || !four_fit(x, width) || !four_fit(w, width) ||
        !four_fit(b, width))
        CUDA_LAUNCH(layernorm_general_kernel<T>, blocks, THREADS, 0, device, y, found, x, w, b,
                    rows, width);
    else if (packs <= 4)
        CUDA_LAUNCH((layernorm_kernel<T, 4>), blocks, THREADS, 0, device, y, found, x, w, b, rows,
                    (int)width);
    else if (packs <= 8)
        CUDA_LAUNCH((layernorm_kernel<T, 8>), blocks, THREADS, 0, device, y, found, x, w, b, rows,
                    (int)width);
    else
        CUDA_LAUNCH((layernorm_kernel<T, 16>), blocks, THREADS, 0, device, y, found, x, w, b, rows,
                    (int)width);
}

extern "C" void cuda_layernorm_forward(Activation *y, float *mean, float *rstd, const float *x,
                                       const float *w, const float *b, int64_t rows, int64_t width,
                                       double eps, Device *device) {
    Statistics found = {mean, rstd, 1.0 / (double)width, (float)eps, false};
    ACTIVATION(device, forward<T>((T *)y, found, x, w, b, rows, width, device));
}

extern "C" void cuda_layernorm_values(float *y, float *mean, float *rstd, const float *x,
                                      const float *w, const float *b, int64_t rows, int64_t width,
                                      double eps, Device *device) {
    Statistics found = {mean, rstd, 1.0 / (double)width, (float)eps, false};
    forward<float>(y, found, x, w, b, rows, width, device);
}

extern "C" void cuda_layernorm_again(Activation *y, const float *x, const float *mean,
                                     const float *rstd, const float *w, const float *b,
                                     int64_t rows, int64_t width, Device *device) {
    Statistics found = {(float *)mean, (float *)rstd, 0, 0, true};
    ACTIVATION(device, forward<T>((T *)y, found, x, w, b, rows, width, device));
}

/* ---- backward ---- */

/* What a thread holds of one row: 4 columns. Zeros behind the last row and column. */
template <typename T> struct Columns {
    Pack<float, 4> x;
    Pack<T, 4> dy;
    float mean, rstd;
};

template <typename T, int ROWS>
static __device__ inline void fetch(Columns<T> *c, const T *__restrict__ dy,
                                    const float *__restrict__ x, const float *__restrict__ mean,
                                    const float *__restrict__ rstd, int first, int rows,
                                    int width) {
    int column = threadIdx.x * 4;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        c[r] = Columns<T>{};
        if (column < width && first + r < rows) {
            int64_t i = (int64_t)(first + r) * width + column;
            c[r].x = load<float, 4>(x + i);
            c[r].dy = load<T, 4>(dy + i);
            c[r].mean = mean[first + r];
            c[r].rstd = rstd[first + r];
        }
    }
}

/* grid: partial sums; block: width / 4 threads, made up to whole warps.
 * partials[2][gridDim][D]: of dw, then of db */
template <typename T, int ROWS, int MOST, int BLOCKS>
__global__ void __launch_bounds__(MOST, BLOCKS)
    layernorm_backward_kernel(float *dx, T *narrow, float *partials, const T *__restrict__ dy,
                              const float *__restrict__ x, const float *__restrict__ mean,
                              const float *__restrict__ rstd, const float *__restrict__ w, int rows,
                              int width) {
    struct RowSums {
        float at[2 * ROWS]; /* of g and of g n */
    };
    CUDA_SHARED(RowSums, slots, [2][MOST / WARP]);
    int column = threadIdx.x * 4, warps = blockDim.x / WARP;
    Pack<float, 4> weight = {}, dw = {}, db = {};
    if (column < width)
        weight = load<float, 4>(w + column);
    float inverse = 1.0f / (float)width;
    int step = (int)gridDim.x * ROWS; /* rows are counted in 32 bits: packed lengths are */
    int turn = 0;
    Columns<T> now[ROWS], next[ROWS];
    fetch<T, ROWS>(now, dy, x, mean, rstd, (int)blockIdx.x * ROWS, rows, width);
    for (int first = blockIdx.x * ROWS; first < rows; first += step, turn ^= 1) {
        Pack<float, 4> before[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (column < width && first + r < rows)
                before[r] = load<float, 4>(dx + (int64_t)(first + r) * width + column);
        fetch<T, ROWS>(next, dy, x, mean, rstd, first + step, rows, width);
        RowSums sums = {};
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            for (int k = 0; k < 4; k++) {
                float n = (now[r].x.at[k] - now[r].mean) * now[r].rstd;
                float d = widen(now[r].dy.at[k]), g = d * weight.at[k];
                now[r].x.at[k] = n; /* from here on */
                sums.at[2 * r] += g;
                sums.at[2 * r + 1] += g * n;
                dw.at[k] += d * n;
                db.at[k] += d;
            }
#pragma unroll
        for (int i = 0; i < 2 * ROWS; i++)
            sums.at[i] = warp_sum(sums.at[i]);
        /* Two sets of slots: who is late still reads those of the turn before. */
        if (threadIdx.x % WARP == 0)
            slots[turn][threadIdx.x / WARP] = sums;
        __syncthreads();
        sums = slots[turn][0];
#pragma unroll 1
        for (int i = 1; i < warps; i++) {
#pragma unroll
            for (int k = 0; k < 2 * ROWS; k++)
                sums.at[k] += slots[turn][i].at[k];
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (column >= width || first + r >= rows)
                continue;
            int64_t i = (int64_t)(first + r) * width + column;
            float g_mean = sums.at[2 * r] * inverse;
            float gn_mean = sums.at[2 * r + 1] * inverse;
            Pack<float, 4> d = before[r];
            for (int k = 0; k < 4; k++) {
                float g = widen(now[r].dy.at[k]) * weight.at[k];
                d.at[k] += now[r].rstd * (g - g_mean - now[r].x.at[k] * gn_mean);
            }
            store<float, 4>(dx + i, d);
            if (narrow)
                store_as<T, 4>(narrow + i, d);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            now[r] = next[r];
    }
    if (column >= width)
        return;
    partials += (int64_t)blockIdx.x * width + column;
    store<float, 4>(partials, dw);
    store<float, 4>(partials + (int64_t)gridDim.x * width, db);
}

/* Any width, any pointer: a block for a row at a time, its partial sums kept in scratch. */
#define GENERAL 256
template <typename T>
__global__ void __launch_bounds__(GENERAL)
    layernorm_backward_general_kernel(float *dx, T *narrow, float *partials, const T *dy,
                                      const float *x, const float *mean, const float *rstd,
                                      const float *w, int64_t rows, int64_t width) {
    CUDA_SHARED(float, slots, [GENERAL / WARP]);
    float *dw = partials + blockIdx.x * width, *db = dw + gridDim.x * width;
    for (int64_t c = threadIdx.x; c < width; c += GENERAL)
        dw[c] = db[c] = 0;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        float m = mean[row], s = rstd[row], g_sum = 0, gn_sum = 0;
        for (int64_t c = threadIdx.x; c < width; c += GENERAL) {
            float g = widen(dy[row * width + c]) * w[c];
            g_sum += g;
            gn_sum += g * ((x[row * width + c] - m) * s);
        }
        float g_mean = block_sum(g_sum, slots) / (float)width;
        float gn_mean = block_sum(gn_sum, slots) / (float)width;
        for (int64_t c = threadIdx.x; c < width; c += GENERAL) {
            int64_t i = row * width + c;
            float d = widen(dy[i]), n = (x[i] - m) * s;
            dw[c] += d * n;
            db[c] += d;
            float sum = dx[i] + s * (d * w[c] - g_mean - n * gn_mean);
            dx[i] = sum;
            if (narrow)
                put(&narrow[i], sum);
        }
    }
}

template <typename T>
static void backward(float *dx, T *narrow, float *dw, float *db, const T *dy, const float *x,
                     const float *mean, const float *rstd, const float *w, int64_t rows,
                     int64_t width, Device *device) {
    if (!rows)
        return;
    JEPA_ASSERT(rows <= 0x40000000);
    narrow = (void *)narrow == (void *)dx ? NULL : narrow;
    bool four = width <= 2048 && four_fit(dx, width) && four_fit(narrow, width) &&
                four_fit(dy, width) && four_fit(x, width) && four_fit(w, width);
    /* As many rows as the registers of two blocks on a multiprocessor hold. */
    const int ROWS = sizeof(T) == 2 ? 3 : 2;
    int64_t at_once = !four ? 1 : width <= 1024 ? ROWS : 2;
    int64_t count = (rows + at_once - 1) / at_once, most = cuda_partials(width);
    count = count < most ? count : most;
    float *partials = partials_room(2, count, width, device);
    unsigned threads = (unsigned)((width / 4 + WARP - 1) / WARP * WARP), blocks = (unsigned)count;
    if (!four)
        CUDA_LAUNCH(layernorm_backward_general_kernel<T>, blocks, GENERAL, 0, device, dx, narrow,
                    partials, dy, x, mean, rstd, w, rows, width);
    else if (width <= 1024)
        CUDA_LAUNCH((layernorm_backward_kernel<T, ROWS, 256, 2>), blocks, threads, 0, device, dx,
                    narrow, partials, dy, x, mean, rstd, w, (int)rows, (int)width);
    else
        CUDA_LAUNCH((layernorm_backward_kernel<T, 2, 512, 1>), blocks, threads, 0, device, dx,
                    narrow, partials, dy, x, mean, rstd, w, (int)rows, (int)width);
    partials_add(Sums{{dw, db}}, 2, count, width, device);
}

extern "C" void cuda_layernorm_backward(float *dx, Activation *narrow, float *dw, float *db,
                                        const Activation *dy, const float *x, const float *mean,
                                        const float *rstd, const float *w, int64_t rows,
                                        int64_t width, Device *device) {
    ACTIVATION(device, backward<T>(dx, (T *)narrow, dw, db, (const T *)dy, x, mean, rstd, w, rows,
                                   width, device));
}
