/* Linear layer on the CPU: GEMM tiles of fixed size, shared among threads; what follows the product
 * is done while its tile is in the cache. See kernels/linear.h. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <stdlib.h>
#include <string.h>

#define WEIGHT_HEIGHT_MAX 384 /* of the tile of dw that one thread computes */
#define WEIGHT_WIDTH_MAX  512
#define WEIGHT_TILES      8   /* at least so many */
#define SUM_ROWS          64  /* rows of dy that are summed in float32 */
#define TOKEN_BLOCK       512 /* tokens that one GEMM of a weight gradient sums over */

static int64_t round_up(int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}

/* y = x wᵀ (w [out][in]) or dx = dy w: a call for the first tile of rows. */
static GemmCall product(const Activation *x, const float *w, int64_t in, int64_t out, bool backward,
                        Device *device) {
    int64_t k = backward ? out : in, n = backward ? in : out;
    return (GemmCall){.precision = device->precision,
                      .a = {x, k, false},
                      .b = {w, in, !backward},
                      .weights = gemm_weights(device->gemm, w, device->precision, backward),
                      .backward = backward,
                      .c_stride = n,
                      .n = n,
                      .k = k};
}

/* The call for a tile of rows whose result goes to c. */
static GemmCall tile_of(const GemmCall *whole, void *c, Precision c_precision, int64_t first,
                        int64_t count) {
    GemmCall call = *whole;
    call.m = count;
    call.a.at = activation_of(whole->a.at, first * whole->k, whole->precision);
    call.c = activation_at(c, first * whole->n, c_precision);
    call.c_precision = c_precision;
    return call;
}

/* bfloat16 products want bfloat16 weights: where none are kept, they are made for this call. */
static uint16_t *round_weights(GemmCall *call, const float *w, int64_t count) {
    if (call->precision == PRECISION_FLOAT32 || call->weights)
        return NULL;
    uint16_t *rounded = memory_new((unsigned long)count, sizeof *rounded);
    for (int64_t i = 0; i < count; i++)
        rounded[i] = bf16_from_float(w[i]);
    call->b.at = rounded;
    return rounded;
}

/* The product, tile by tile; with a residual the result is float32. */
static void run_tiles(GemmCall *whole, void *c, Precision c_precision, const float *residual,
                      const float *w, int64_t rows, Device *device) {
    uint16_t *rounded = round_weights(whole, w, whole->n * whole->k);
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
        int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
        GemmCall call = tile_of(whole, c, c_precision, first, count);
        call.residual = residual ? residual + first * whole->n : NULL;
        gemm_run(device->gemm, &call);
    }
    free(rounded);
}

void cpu_linear_forward(Activation *y, const Activation *x, const float *w, const float *b,
                        int64_t rows, int64_t in, int64_t out, Device *device) {
    GemmCall whole = product(x, w, in, out, false, device);
    whole.bias = b;
    run_tiles(&whole, y, device->precision, NULL, w, rows, device);
}

void cpu_linear_residual_forward(float *y, const Activation *x, const float *w, const float *b,
                                 const float *residual, int64_t rows, int64_t in, int64_t out,
                                 Device *device) {
    GemmCall whole = product(x, w, in, out, false, device);
    whole.bias = b;
    run_tiles(&whole, y, PRECISION_FLOAT32, residual, w, rows, device);
}

/* y = x wᵀ  =>  dx = dy w */
void cpu_linear_backward_input(Activation *dx, const Activation *dy, const float *w, int64_t rows,
                               int64_t in, int64_t out, Device *device) {
    GemmCall whole = product(dy, w, in, out, true, device);
    run_tiles(&whole, dx, device->precision, NULL, w, rows, device);
}

void cpu_linear_gelu_forward(Activation *activated, Activation *y, const Activation *x,
                             const float *w, const float *b, int64_t rows, int64_t in, int64_t out,
                             Device *device) {
    GemmCall whole = product(x, w, in, out, false, device);
    uint16_t *rounded = round_weights(&whole, w, in * out);
    Precision p = device->precision;
    whole.bias = b;
    whole.gelu = !y;
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
        int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
        GemmCall call = tile_of(&whole, y ? y : activated, p, first, count);
        gemm_run(device->gemm, &call);
        if (y)
            cpu_gelu_tile(activation_at(activated, first * out, p), call.c, count * out, p);
    }
    free(rounded);
}

/* y = gelu(a) wᵀ  =>  da = (dy w) gelu'(a) */
void cpu_linear_gelu_backward_input(Activation *da, Activation *x, const Activation *dy,
                                    const float *w, const Activation *a, int64_t rows, int64_t in,
                                    int64_t out, Device *device) {
    GemmCall whole = product(dy, w, in, out, true, device);
    uint16_t *rounded = round_weights(&whole, w, in * out);
    Precision p = device->precision;
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
        int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
        GemmCall call = tile_of(&whole, da, p, first, count);
        gemm_run(device->gemm, &call);
        cpu_gelu_backward_tile(call.c, x ? activation_at(x, first * in, p) : NULL, call.c,
                               activation_of(a, first * in, p), count * in, p);
    }
    free(rounded);
}

/* How dw is cut: height x width of a tile. At least eight tiles and a multiple of that, so that few
 * threads share them evenly, and as large and as square as that allows: each tile reads its rows of
 * dy and x anew, in proportion to 1/width and 1/height. A function of the shape alone. */
typedef struct WeightTile {
    int64_t height, width;
} WeightTile;

static WeightTile weight_tile(int64_t in, int64_t out) {
    WeightTile best = {WEIGHT_HEIGHT_MAX, WEIGHT_WIDTH_MAX};
    double least = 1e9;
    for (int64_t down = 1; down <= 8; down++)
        for (int64_t across = 1; across <= 8; across++) {
            WeightTile tile = {round_up(TILES(out, down), 16), round_up(TILES(in, across), 16)};
            double cost = 1.0 / (double)tile.height + 1.0 / (double)tile.width;
            if (down * across % WEIGHT_TILES == 0 && tile.height <= WEIGHT_HEIGHT_MAX &&
                tile.width <= WEIGHT_WIDTH_MAX && cost < least) {
                least = cost;
                best = tile;
            }
        }
    return best;
}

/* sum[columns] += Σ dy: four rows at a time and SUM_ROWS of them in float32, those in double. */
INLINE void sum_loop(double *sum, const Activation *dy, int64_t rows, int64_t stride,
                     int64_t columns, Precision p) {
    for (int64_t first = 0; first < rows; first += SUM_ROWS) {
        float part[WEIGHT_HEIGHT_MAX] = {0};
        int64_t count = min_i64(SUM_ROWS, rows - first), r = 0;
        const Activation *block = activation_of(dy, first * stride, p);
        for (; r + 4 <= count; r += 4) {
            const Activation *row = activation_of(block, r * stride, p);
            for (int64_t c = 0; c < columns; c++)
                part[c] += (activation_get(row, c, p) + activation_get(row, stride + c, p)) +
                           (activation_get(row, 2 * stride + c, p) +
                            activation_get(row, 3 * stride + c, p));
        }
        for (; r < count; r++)
            for (int64_t c = 0; c < columns; c++)
                part[c] += activation_get(block, r * stride + c, p);
        for (int64_t c = 0; c < columns; c++)
            sum[c] += part[c];
    }
}
MANY_CPUS static void sum_float(double *sum, const float *dy, int64_t rows, int64_t stride,
                                int64_t columns) {
    sum_loop(sum, dy, rows, stride, columns, PRECISION_FLOAT32);
}
MANY_CPUS static void sum_bf16(double *sum, const uint16_t *dy, int64_t rows, int64_t stride,
                               int64_t columns) {
    sum_loop(sum, dy, rows, stride, columns, PRECISION_BFLOAT16);
}

/* y = x wᵀ + b  =>  dw += dyᵀ x, db += Σ dy. A tile of dw belongs to one thread, which adds the
 * blocks of tokens in their order, and sums its share of db from the rows of dy that its GEMM has
 * just read. */
void cpu_linear_backward_weight(float *dw, float *db, const Activation *dy, const Activation *x,
                                int64_t rows, int64_t in, int64_t out, Device *device) {
    Precision p = device->precision;
    WeightTile size = weight_tile(in, out);
    int64_t panels = TILES(in, size.width);
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t task = 0; task < TILES(out, size.height) * panels; task++) {
        int64_t o = task / panels * size.height, i = task % panels * size.width;
        int64_t m = min_i64(size.height, out - o), n = min_i64(size.width, in - i);
        int64_t panel = task % panels, from = m * panel / panels;
        int64_t share = m * (panel + 1) / panels - from; /* columns of db */
        double sum[WEIGHT_HEIGHT_MAX] = {0};
        float *tile = dw + o * in + i;
        for (int64_t first = 0; first < rows; first += TOKEN_BLOCK) {
            int64_t count = min_i64(TOKEN_BLOCK, rows - first);
            const Activation *dy_block = activation_of(dy, first * out + o, p);
            GemmCall call = {.c = tile,
                             .c_stride = in,
                             .residual = tile,
                             .precision = p,
                             .a = {dy_block, out, true},
                             .b = {activation_of(x, first * in + i, p), in, false},
                             .m = m,
                             .n = n,
                             .k = count};
            gemm_run(device->gemm, &call);
            if (db && p == PRECISION_BFLOAT16)
                sum_bf16(sum, (const uint16_t *)dy_block + from, count, out, share);
            else if (db)
                sum_float(sum, (const float *)dy_block + from, count, out, share);
        }
        for (int64_t c = 0; c < share && db; c++)
            db[o + from + c] += (float)sum[c];
    }
}

size_t cpu_linear_weights_bytes(const LinearWeights *weights, Device *device) {
    return gemm_weights_bytes(device->gemm, weights, device->precision);
}

int cpu_linear_weights_add(const LinearWeights *weights, Device *device, Error *error) {
    return gemm_weights_add(device->gemm, weights, device->precision, error);
}

void cpu_linear_weights_changed(const float *from, const float *to, Device *device) {
    gemm_weights_changed(device->gemm, from, to);
}

void cpu_linear_weights_remove(const float *from, const float *to, Device *device) {
    gemm_weights_remove(device->gemm, from, to);
}
