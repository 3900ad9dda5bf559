/* Batch normalisation on the GPU. See kernels/batchnorm.h.
 *
 * Three kernels each way. The first cuts the rows into up to SPLITS_MAX parts, so that the blocks
 * of all parts and tiles of columns (columns.h) fill the device, and leaves two sums for each part
 * and column in scratch. The second adds the parts in their order, a thread for each column. The
 * third goes through the rows again. Bound by memory: 12 bytes per element forward, 20 backward.
 *
 * All in double: where a column's mean is far from zero, or rows are few, little is left after the
 * means are taken away. The first row is taken off before squares are summed, so that one pass
 * gives the variance: Σ (x - k)² - (Σ (x - k))² / R.
 *
 * Scratch: sums[parts][2][D], then two constants of each column [2][D], all double. */
#include "kernels/cuda/column_blocks.h"

#define SPLITS_MAX      64  /* parts of the rows: with 32 tiles of 64 columns, 15 blocks per SM */
#define ROWS_LEAST      64  /* of a part */
#define ROWS_OF_A_BLOCK 128 /* of the last kernel */
#define STATS_THREADS   64

/* How the rows are cut: by their number alone. */
typedef struct Split {
    int64_t rows; /* of a part; the last has what is left */
    int parts;
} Split;

static Split split_rows(int64_t rows) {
    int64_t of = (rows + SPLITS_MAX - 1) / SPLITS_MAX;
    of = of < ROWS_LEAST ? ROWS_LEAST : of;
    return Split{of, (int)((rows + of - 1) / of)};
}

static double *take_scratch(int64_t width, int parts, Device *device) {
    JEPA_ASSERT(2 * (parts + 1) * width * (int64_t)sizeof(double) <=
                (int64_t)device->scratch_bytes);
    return (double *)device->scratch;
}

/* Where a block and a thread of it are: block part · tiles + t has tile t of the columns. */
typedef struct Place {
    int64_t part, column; /* the block's first column */
    int64_t d;            /* the thread's first column; `width` and more: none */
    int64_t begin, end;   /* rows */
} Place;

template <int V> static __device__ inline Place place_of(int64_t rows, int tiles, int64_t of) {
    Place p;
    p.part = blockIdx.x / (unsigned)tiles;
    p.column = (int64_t)(blockIdx.x % (unsigned)tiles) * ColumnTile<V>::width;
    p.d = p.column + column_of<V>();
    p.begin = p.part * of;
    p.end = p.begin + of < rows ? p.begin + of : rows;
    return p;
}

/* sums[part][0 and 1][D] from what the groups of the block have */
template <int V>
static __device__ inline void leave_sums(double *sums, const Place &p, int64_t width,
                                         double (*one)[COLUMN_LANES * V],
                                         double (*two)[COLUMN_LANES * V]) {
    int c = (int)threadIdx.x;
    if (c < ColumnTile<V>::width && p.column + c < width) {
        sums[2 * p.part * width + p.column + c] = one[0][c];
        sums[(2 * p.part + 1) * width + p.column + c] = two[0][c];
    }
}

/* ---- forward ---- */

template <int V>
__global__ void batchnorm_sums_kernel(double *sums, const float *x, int64_t rows, int64_t width,
                                      int tiles, int64_t of) {
    CUDA_SHARED(double, one, [COLUMN_GROUPS][COLUMN_LANES * V]);
    CUDA_SHARED(double, two, [COLUMN_GROUPS][COLUMN_LANES * V]);
    Place p = place_of<V>(rows, tiles, of);
    double sum[V] = {}, square[V] = {};
    if (p.d < width) {
        Pack<float, V> pivot = load<float, V>(x + p.d);
        for (int64_t r = p.begin + group_of(); r < p.end; r += COLUMN_GROUPS) {
            Pack<float, V> in = load<float, V>(x + r * width + p.d);
            for (int k = 0; k < V; k++) {
                double e = (double)in.at[k] - pivot.at[k];
                sum[k] += e;
                square[k] += e * e;
            }
        }
    }
    columns_add<V>(one, sum);
    columns_add<V>(two, square);
    leave_sums<V>(sums, p, width, one, two);
}

/* Statistics; center[D] = mean and scale[D] = rstd w behind the sums. */
__global__ void batchnorm_stats_kernel(float *mean, float *rstd, float *running_mean,
                                       float *running_var, double *sums, const float *x,
                                       const float *w, int64_t rows, int64_t width, int parts,
                                       double eps, double momentum) {
    int64_t d = (int64_t)blockIdx.x * STATS_THREADS + threadIdx.x;
    if (d >= width)
        return;
    double sum = 0, square = 0;
    for (int i = 0; i < parts; i++) {
        sum += sums[2 * i * width + d];
        square += sums[(2 * i + 1) * width + d];
    }
    double center = x[d] + sum / (double)rows;
    square -= sum * sum / (double)rows;
    square = square < 0 ? 0 : square; /* by rounding; a NaN stays */
    double inverse = 1.0 / sqrt(square / (double)rows + eps);
    sums[2 * parts * width + d] = center;
    sums[(2 * parts + 1) * width + d] = inverse * w[d];
    mean[d] = (float)center;
    rstd[d] = (float)inverse;
    if (running_mean) {
        running_mean[d] = (float)((1 - momentum) * running_mean[d] + momentum * center);
        running_var[d] = (float)((1 - momentum) * running_var[d] +
                                 momentum * square / (double)(rows - 1));
    }
}

/* y = (x - center) scale + b */
template <int V>
__global__ void batchnorm_forward_kernel(float *y, const float *x, const float *b,
                                         const double *constants, int64_t rows, int64_t width,
                                         int tiles) {
    Place p = place_of<V>(rows, tiles, ROWS_OF_A_BLOCK);
    if (p.d >= width)
        return;
    double center[V], scale[V], bias[V];
    for (int k = 0; k < V; k++) {
        center[k] = constants[p.d + k];
        scale[k] = constants[width + p.d + k];
        bias[k] = b[p.d + k];
    }
    for (int64_t r = p.begin + group_of(); r < p.end; r += COLUMN_GROUPS) {
        Pack<float, V> in = load<float, V>(x + r * width + p.d);
        for (int k = 0; k < V; k++)
            in.at[k] = (float)((in.at[k] - center[k]) * scale[k] + bias[k]);
        store<float, V>(y + r * width + p.d, in);
    }
}

template <int V>
static void forward(float *y, float *mean, float *rstd, float *running_mean, float *running_var,
                    const float *x, const float *w, const float *b, int64_t rows, int64_t width,
                    double eps, double momentum, Device *device) {
    Split split = split_rows(rows);
    int tiles = (int)column_tiles(width, V);
    double *sums = take_scratch(width, split.parts, device);
    CUDA_LAUNCH(batchnorm_sums_kernel<V>, blocks_for((int64_t)tiles * split.parts, 1),
                COLUMN_THREADS, 0, device, sums, x, rows, width, tiles, split.rows);
    CUDA_LAUNCH(batchnorm_stats_kernel, blocks_for(width, STATS_THREADS), STATS_THREADS, 0, device,
                mean, rstd, running_mean, running_var, sums, x, w, rows, width, split.parts, eps,
                momentum);
    CUDA_LAUNCH(batchnorm_forward_kernel<V>,
                blocks_for(tiles * (int64_t)blocks_for(rows, ROWS_OF_A_BLOCK), 1), COLUMN_THREADS,
                0, device, y, x, b, sums + 2 * split.parts * width, rows, width, tiles);
}

extern "C" void cuda_batchnorm_forward(float *y, float *mean, float *rstd, float *running_mean,
                                       float *running_var, const float *x, const float *w,
                                       const float *b, int64_t rows, int64_t width, double eps,
                                       double momentum, Device *device) {
    JEPA_ASSERT(rows > 1);
    if (vectors_fit(x, width, sizeof *x) && vectors_fit(y, width, sizeof *y))
        forward<4>(y, mean, rstd, running_mean, running_var, x, w, b, rows, width, eps, momentum,
                   device);
    else
        forward<1>(y, mean, rstd, running_mean, running_var, x, w, b, rows, width, eps, momentum,
                   device);
}

/* ---- backward ---- */

/* y = n w + b, n = (x - mean) rstd, mean and rstd of the column
 * => dw += Σ dy n, db += Σ dy, dx = rstd w (dy - mean(dy) - n mean(dy n)) */
template <int V>
__global__ void batchnorm_backward_sums_kernel(double *sums, const float *dy, const float *x,
                                               const float *mean, const float *rstd, int64_t rows,
                                               int64_t width, int tiles, int64_t of) {
    CUDA_SHARED(double, one, [COLUMN_GROUPS][COLUMN_LANES * V]);
    CUDA_SHARED(double, two, [COLUMN_GROUPS][COLUMN_LANES * V]);
    Place p = place_of<V>(rows, tiles, of);
    double bias[V] = {}, weight[V] = {};
    if (p.d < width) {
        double center[V], inverse[V];
        for (int k = 0; k < V; k++) {
            center[k] = mean[p.d + k];
            inverse[k] = rstd[p.d + k];
        }
        for (int64_t r = p.begin + group_of(); r < p.end; r += COLUMN_GROUPS) {
            Pack<float, V> in = load<float, V>(x + r * width + p.d);
            Pack<float, V> g = load<float, V>(dy + r * width + p.d);
            for (int k = 0; k < V; k++) {
                bias[k] += g.at[k];
                weight[k] += g.at[k] * ((in.at[k] - center[k]) * inverse[k]);
            }
        }
    }
    columns_add<V>(one, bias);
    columns_add<V>(two, weight);
    leave_sums<V>(sums, p, width, one, two);
}

/* Gradients of w and b; mean(dy)[D] and mean(dy n)[D] behind the sums. */
__global__ void batchnorm_gradients_kernel(float *dw, float *db, double *sums, int64_t rows,
                                           int64_t width, int parts) {
    int64_t d = (int64_t)blockIdx.x * STATS_THREADS + threadIdx.x;
    if (d >= width)
        return;
    double bias = 0, weight = 0;
    for (int i = 0; i < parts; i++) {
        bias += sums[2 * i * width + d];
        weight += sums[(2 * i + 1) * width + d];
    }
    dw[d] += (float)weight;
    db[d] += (float)bias;
    sums[2 * parts * width + d] = bias / (double)rows;
    sums[(2 * parts + 1) * width + d] = weight / (double)rows;
}

template <int V>
__global__ void batchnorm_backward_kernel(float *dx, const float *dy, const float *x,
                                          const float *mean, const float *rstd, const float *w,
                                          const double *constants, int64_t rows, int64_t width,
                                          int tiles) {
    Place p = place_of<V>(rows, tiles, ROWS_OF_A_BLOCK);
    if (p.d >= width)
        return;
    /* dx = scale (dy - bias) - slope (x - mean), slope = scale rstd mean(dy n) */
    double center[V], scale[V], bias[V], slope[V];
    for (int k = 0; k < V; k++) {
        center[k] = mean[p.d + k];
        scale[k] = (double)rstd[p.d + k] * w[p.d + k];
        bias[k] = constants[p.d + k];
        slope[k] = scale[k] * rstd[p.d + k] * constants[width + p.d + k];
    }
    for (int64_t r = p.begin + group_of(); r < p.end; r += COLUMN_GROUPS) {
        Pack<float, V> in = load<float, V>(x + r * width + p.d);
        Pack<float, V> g = load<float, V>(dy + r * width + p.d);
        for (int k = 0; k < V; k++)
            g.at[k] = (float)(scale[k] * (g.at[k] - bias[k]) - slope[k] * (in.at[k] - center[k]));
        store<float, V>(dx + r * width + p.d, g);
    }
}

template <int V>
static void backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                     const float *mean, const float *rstd, const float *w, int64_t rows,
                     int64_t width, Device *device) {
    Split split = split_rows(rows);
    int tiles = (int)column_tiles(width, V);
    double *sums = take_scratch(width, split.parts, device);
    CUDA_LAUNCH(batchnorm_backward_sums_kernel<V>, blocks_for((int64_t)tiles * split.parts, 1),
                COLUMN_THREADS, 0, device, sums, dy, x, mean, rstd, rows, width, tiles, split.rows);
    CUDA_LAUNCH(batchnorm_gradients_kernel, blocks_for(width, STATS_THREADS), STATS_THREADS, 0,
                device, dw, db, sums, rows, width, split.parts);
    CUDA_LAUNCH(batchnorm_backward_kernel<V>,
                blocks_for(tiles * (int64_t)blocks_for(rows, ROWS_OF_A_BLOCK), 1), COLUMN_THREADS,
                0, device, dx, dy, x, mean, rstd, w, sums + 2 * split.parts * width, rows, width,
                tiles);
}

extern "C" void cuda_batchnorm_backward(float *dx, float *dw, float *db, const float *dy,
                                        const float *x, const float *mean, const float *rstd,
                                        const float *w, int64_t rows, int64_t width,
                                        Device *device) {
    if (!rows)
        return;
    if (vectors_fit(x, width, sizeof *x) && vectors_fit(dx, width, sizeof *dx) &&
        vectors_fit(dy, width, sizeof *dy))
        backward<4>(dx, dw, db, dy, x, mean, rstd, w, rows, width, device);
    else
        backward<1>(dx, dw, db, dy, x, mean, rstd, w, rows, width, device);
}
