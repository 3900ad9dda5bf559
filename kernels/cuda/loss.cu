/* The prediction loss and the spread regulariser on the GPU. See kernels/loss.h.
 *
 * All are bound by memory: loss_forward reads 8 bytes per element, loss_backward reads 8 and writes
 * 4. A block has a tile of as many whole rows as make CUDA_SUM_TILE elements, so that the place of
 * an element's row in row_weight is a division of 32 bits; sums of tiles are double (tile_sums.h).
 *
 * The spread's statistics run down the columns of a sequence: a block has one sequence and a tile
 * of columns (columns.h), and reads each element once: Σ (z - k) and Σ (z - k)² with k the first
 * row, in double, so that little cancels. Backward reads z twice, for the mean and for the
 * gradient, and only where the relu is open. */
#include "kernels/cuda/column_blocks.h"
#include "kernels/cuda/tile_sums.h"

#define THREADS 256

typedef enum Curve { CURVE_ABSOLUTE, CURVE_SQUARE, CURVE_SMOOTH, CURVE_POWER } Curve;

static Curve curve_of(double power) {
    return power == 1.0              ? CURVE_ABSOLUTE
           : power == 2.0            ? CURVE_SQUARE
           : power == LOSS_SMOOTH_L1 ? CURVE_SMOOTH
                                     : CURVE_POWER;
}

/* Rows of a tile; no more tiles than CUDA_SUM_TILE fits into the elements. */
static int64_t tile_height(int64_t width) {
    return (CUDA_SUM_TILE + width - 1) / width;
}

/* `kernel<curve, 4 or 1>` for the power and the alignment at hand. */
#define LAUNCH_CURVE(kernel, vectors, grid, device, ...)                                           \
    do {                                                                                           \
        if (vectors)                                                                               \
            CUDA_LAUNCH((kernel<CURVE, 4>), grid, THREADS, 0, device, __VA_ARGS__);                \
        else                                                                                       \
            CUDA_LAUNCH((kernel<CURVE, 1>), grid, THREADS, 0, device, __VA_ARGS__);                \
    } while (0)

/* ---- forward ---- */

template <Curve CURVE> static __device__ inline double loss_of(double d, double power) {
    double e = fabs(d);
    if (CURVE == CURVE_ABSOLUTE)
        return e;
    if (CURVE == CURVE_SQUARE)
        return e * e / 2;
    if (CURVE == CURVE_SMOOTH)
        return e < 1 ? 0.5 * e * e : e - 0.5;
    return pow(e, power) / power;
}

/* partials[b] = Σ over the rows of tile b. V = 4: width is a multiple of 4, and a thread's four
 * elements lie in one row. */
template <Curve CURVE, int V>
__global__ void loss_forward_kernel(double *partials, const float *z, const float *h,
                                    const float *row_weight, int64_t rows, int width, int height,
                                    double power) {
    CUDA_SHARED(double, slots, [WARP]);
    int64_t row = (int64_t)blockIdx.x * height;
    int here = (int)(rows - row < height ? rows - row : height) * width;
    z += row * width;
    h += row * width;
    double sum = 0;
    for (int i = 4 * (int)threadIdx.x; i < here; i += 4 * THREADS) {
        Pack<float, 4> a = four<V>(z, i, here), b = four<V>(h, i, here);
        double weight = row_weight ? (double)row_weight[row + (unsigned)i / (unsigned)width] : 1;
        for (int k = 0; k < 4; k++) {
            if (V == 1 && row_weight && k && i + k < here)
                weight = row_weight[row + (unsigned)(i + k) / (unsigned)width];
            sum += weight * loss_of<CURVE>((double)a.at[k] - b.at[k], power);
        }
    }
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0)
        partials[blockIdx.x] = sum;
}

template <Curve CURVE>
static void forward(double *partials, const float *z, const float *h, const float *row_weight,
                    int64_t rows, int64_t width, double power, Device *device) {
    int height = (int)tile_height(width);
    LAUNCH_CURVE(loss_forward_kernel,
                 vectors_fit(z, width, sizeof *z) && vectors_fit(h, width, sizeof *h),
                 blocks_for(rows, height), device, partials, z, h, row_weight, rows, (int)width,
                 height, power);
}

extern "C" void cuda_loss_forward(double *loss, const float *z, const float *h, int64_t rows,
                                  int64_t width, double power, double weight,
                                  const float *row_weight, Device *device) {
    if (!rows || !width)
        return;
    int64_t tiles = blocks_for(rows, tile_height(width));
    double *partials = tile_sums_take(tiles, device);
    switch (curve_of(power)) {
    case CURVE_ABSOLUTE:
        forward<CURVE_ABSOLUTE>(partials, z, h, row_weight, rows, width, power, device);
        break;
    case CURVE_SQUARE:
        forward<CURVE_SQUARE>(partials, z, h, row_weight, rows, width, power, device);
        break;
    case CURVE_SMOOTH:
        forward<CURVE_SMOOTH>(partials, z, h, row_weight, rows, width, power, device);
        break;
    case CURVE_POWER:
        forward<CURVE_POWER>(partials, z, h, row_weight, rows, width, power, device);
        break;
    }
    tile_sums_add(loss, partials, tiles, weight, device);
}

/* ---- backward ---- */

/* loss = weight Σ |z - h|^p / p  =>  dz = weight |z - h|^(p-1) sign(z - h) */
template <Curve CURVE>
static __device__ inline float slope_of(float d, double exact, float w, double power) {
    if (CURVE == CURVE_ABSOLUTE)
        return d > 0 ? w : d < 0 ? -w : 0.0f;
    if (CURVE == CURVE_SQUARE)
        return w * d;
    if (CURVE == CURVE_SMOOTH)
        return w * (d < -1 ? -1.0f : d > 1 ? 1.0f : d);
    return d == 0 ? 0.0f : (float)(exact * pow((double)fabsf(d), power - 1) * (d > 0 ? 1 : -1));
}

template <Curve CURVE, int V>
__global__ void loss_backward_kernel(float *dz, const float *z, const float *h,
                                     const float *row_weight, int64_t rows, int width, int height,
                                     double power, double weight) {
    int64_t row = (int64_t)blockIdx.x * height;
    int here = (int)(rows - row < height ? rows - row : height) * width;
    dz += row * width;
    z += row * width;
    h += row * width;
    double exact = weight;
    float w = (float)weight;
    for (int i = V * (int)threadIdx.x; i < here; i += V * THREADS) {
        Pack<float, V> a = load<float, V>(z + i), b = load<float, V>(h + i);
        if (row_weight) {
            exact = weight * row_weight[row + (unsigned)i / (unsigned)width];
            w = (float)exact;
        }
        for (int k = 0; k < V; k++)
            a.at[k] = slope_of<CURVE>(a.at[k] - b.at[k], exact, w, power);
        store<float, V>(dz + i, a);
    }
}

template <Curve CURVE>
static void backward(float *dz, const float *z, const float *h, const float *row_weight,
                     int64_t rows, int64_t width, double power, double weight, Device *device) {
    int height = (int)tile_height(width);
    LAUNCH_CURVE(loss_backward_kernel,
                 vectors_fit(z, width, sizeof *z) && vectors_fit(h, width, sizeof *h) &&
                     vectors_fit(dz, width, sizeof *dz),
                 blocks_for(rows, height), device, dz, z, h, row_weight, rows, (int)width, height,
                 power, weight);
}

extern "C" void cuda_loss_backward(float *dz, const float *z, const float *h, int64_t rows,
                                   int64_t width, double power, double weight,
                                   const float *row_weight, Device *device) {
    if (!rows || !width)
        return;
    switch (curve_of(power)) {
    case CURVE_ABSOLUTE:
        backward<CURVE_ABSOLUTE>(dz, z, h, row_weight, rows, width, power, weight, device);
        break;
    case CURVE_SQUARE:
        backward<CURVE_SQUARE>(dz, z, h, row_weight, rows, width, power, weight, device);
        break;
    case CURVE_SMOOTH:
        backward<CURVE_SMOOTH>(dz, z, h, row_weight, rows, width, power, weight, device);
        break;
    case CURVE_POWER:
        backward<CURVE_POWER>(dz, z, h, row_weight, rows, width, power, weight, device);
        break;
    }
}

/* ---- total ---- */

__global__ void loss_total_kernel(double *total, const double *loss, int64_t settings,
                                  const double *reg, double reg_coeff) {
    double sum = reg_coeff * *reg;
    for (int64_t m = 0; m < settings; m++)
        sum += loss[m];
    *total = sum;
}

extern "C" void cuda_loss_total(double *total, const double *loss, int64_t settings,
                                const double *reg, double reg_coeff, Device *device) {
    CUDA_LAUNCH(loss_total_kernel, 1, 1, 0, device, total, loss, settings, reg, reg_coeff);
}

/* ---- spread, forward ---- */

/* spread[s][d] = sqrt(var_i z[i][d] + eps), var = (Σ (z - k)² - (Σ (z - k))² / n) / (n - 1);
 * block s · tiles + t has tile t of the columns of sequence s. */
template <int V>
__global__ void spread_forward_kernel(float *spread, const float *z, const int32_t *cu_seqlens,
                                      int64_t width, int tiles) {
    CUDA_SHARED(double, sums, [COLUMN_GROUPS][COLUMN_LANES * V]);
    CUDA_SHARED(double, squares, [COLUMN_GROUPS][COLUMN_LANES * V]);
    int64_t sequence = blockIdx.x / (unsigned)tiles;
    int64_t column = (int64_t)(blockIdx.x % (unsigned)tiles) * ColumnTile<V>::width;
    int32_t first = cu_seqlens[sequence], count = cu_seqlens[sequence + 1] - first;
    int64_t d = column + column_of<V>();
    double sum[V] = {}, square[V] = {};
    if (count > 1 && d < width) {
        const float *x = z + (int64_t)first * width + d;
        Pack<float, V> pivot = load<float, V>(x);
        for (int i = group_of(); i < count; i += COLUMN_GROUPS) {
            Pack<float, V> in = load<float, V>(x + i * width);
            for (int k = 0; k < V; k++) {
                double e = (double)in.at[k] - pivot.at[k];
                sum[k] += e;
                square[k] += e * e;
            }
        }
    }
    columns_add<V>(sums, sum);
    columns_add<V>(squares, square);
    int c = (int)threadIdx.x;
    if (c < ColumnTile<V>::width && column + c < width) {
        double variance = 0;
        if (count > 1)
            variance = (squares[0][c] - sums[0][c] * sums[0][c] / count) / (count - 1);
        variance = variance < 0 ? 0 : variance; /* by rounding; a NaN stays */
        spread[sequence * width + column + c] = (float)sqrt(variance + SPREAD_EPS);
    }
}

/* Σ_m spread[m·B + b][d] / M for element i = b·D + d of [B][D] */
static __device__ inline double spread_mean(const float *spread, int64_t i, int64_t settings,
                                            int64_t stride) {
    double sum = 0;
    for (int64_t m = 0; m < settings; m++)
        sum += spread[m * stride + i];
    return sum / (double)settings;
}

/* partials[b] = Σ relu(1 - mean over settings) over tile b of [B][D] */
__global__ void spread_sum_kernel(double *partials, const float *spread, int64_t settings,
                                  int64_t count) {
    CUDA_SHARED(double, slots, [WARP]);
    double sum = 0;
    for (int k = 0; k < CUDA_SUM_TILE / THREADS; k++) {
        int64_t i = (int64_t)blockIdx.x * CUDA_SUM_TILE + k * THREADS + threadIdx.x;
        double mean = i < count ? spread_mean(spread, i, settings, count) : 1;
        sum += mean < 1 ? 1 - mean : 0;
    }
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0)
        partials[blockIdx.x] = sum;
}

extern "C" void cuda_spread_forward(double *reg, float *spread, const float *z,
                                    const int32_t *cu_seqlens, int64_t settings, int64_t samples,
                                    int64_t width, double weight, Device *device) {
    int64_t sequences = settings * samples, tiles = blocks_for(samples * width, CUDA_SUM_TILE);
    if (!sequences || !width)
        return;
    const int32_t *lengths = cuda_lengths(cu_seqlens, sequences, device)->device;
    if (vectors_fit(z, width, sizeof *z))
        CUDA_LAUNCH(spread_forward_kernel<4>, blocks_for(sequences * column_tiles(width, 4), 1),
                    COLUMN_THREADS, 0, device, spread, z, lengths, width,
                    (int)column_tiles(width, 4));
    else
        CUDA_LAUNCH(spread_forward_kernel<1>, blocks_for(sequences * column_tiles(width, 1), 1),
                    COLUMN_THREADS, 0, device, spread, z, lengths, width,
                    (int)column_tiles(width, 1));
    double *partials = tile_sums_take(tiles, device);
    CUDA_LAUNCH(spread_sum_kernel, (unsigned)tiles, THREADS, 0, device, partials, spread, settings,
                samples * width);
    tile_sums_add(reg, partials, tiles, weight, device);
}

/* ---- spread, backward ---- */

/* reg = weight Σ relu(1 - Σ_m spread / M), spread = sqrt(var + eps)
 * => dz_i += -weight / M · (z_i - mean) / ((n - 1) spread) where the relu is open */
template <int V>
__global__ void spread_backward_kernel(float *dz, const float *spread, const float *z,
                                       const int32_t *cu_seqlens, int64_t settings, int64_t samples,
                                       int64_t width, int tiles, double weight) {
    CUDA_SHARED(double, sums, [COLUMN_GROUPS][COLUMN_LANES * V]);
    int64_t sequence = blockIdx.x / (unsigned)tiles;
    int64_t d = (int64_t)(blockIdx.x % (unsigned)tiles) * ColumnTile<V>::width + column_of<V>();
    int32_t first = cu_seqlens[sequence], count = cu_seqlens[sequence + 1] - first;
    int64_t at = (int64_t)first * width + d;
    double sum[V] = {}, factor[V] = {}; /* 0: the relu is closed */
    bool any = false;
    if (count > 1 && d < width)
        for (int k = 0; k < V; k++) {
            int64_t i = sequence % samples * width + d + k;
            if (spread_mean(spread, i, settings, samples * width) >= 1)
                continue;
            factor[k] = -weight / (double)settings /
                        ((double)(count - 1) * spread[sequence * width + d + k]);
            any = true;
        }
    for (int i = group_of(); any && i < count; i += COLUMN_GROUPS) {
        Pack<float, V> in = load<float, V>(z + at + i * width);
        for (int k = 0; k < V; k++)
            sum[k] += in.at[k];
    }
    columns_add<V>(sums, sum);
    for (int i = group_of(); any && i < count; i += COLUMN_GROUPS) {
        Pack<float, V> in = load<float, V>(z + at + i * width);
        Pack<float, V> out = load<float, V>(dz + at + i * width);
        for (int k = 0; k < V; k++) {
            double mean = sums[0][column_of<V>() + k] / count;
            out.at[k] += (float)(factor[k] * (in.at[k] - mean));
        }
        store<float, V>(dz + at + i * width, out);
    }
}

extern "C" void cuda_spread_backward(float *dz, const float *spread, const float *z,
                                     const int32_t *cu_seqlens, int64_t settings, int64_t samples,
                                     int64_t width, double weight, Device *device) {
    int64_t sequences = settings * samples;
    if (!sequences || !width)
        return;
    const int32_t *lengths = cuda_lengths(cu_seqlens, sequences, device)->device;
    if (vectors_fit(z, width, sizeof *z) && vectors_fit(dz, width, sizeof *dz))
        CUDA_LAUNCH(spread_backward_kernel<4>, blocks_for(sequences * column_tiles(width, 4), 1),
                    COLUMN_THREADS, 0, device, dz, spread, z, lengths, settings, samples, width,
                    (int)column_tiles(width, 4), weight);
    else
        CUDA_LAUNCH(spread_backward_kernel<1>, blocks_for(sequences * column_tiles(width, 1), 1),
                    COLUMN_THREADS, 0, device, dz, spread, z, lengths, settings, samples, width,
                    (int)column_tiles(width, 1), weight);
}
