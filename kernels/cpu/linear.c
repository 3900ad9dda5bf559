/* Linear layer on the CPU: GEMM tiles of fixed size, shared among threads. See kernels/linear.h. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <string.h>

/* Rows of dw that one thread computes in one GEMM: enough tiles to share, few enough to be fast.
 * A function of the shape alone. */
static int64_t weight_tile(int64_t out) {
    int64_t tile = (out / 8 + 15) / 16 * 16;
    return tile < 16 ? 16 : tile > 128 ? 128 : tile;
}

void cpu_linear_forward(float *y, const float *x, const float *w, const float *b,
                        const float *residual, int64_t rows, int64_t in, int64_t out,
                        Device *device) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
        int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
        float *y_tile = y + first * out;
        for (int64_t r = 0; r < count && (b || residual); r++) {
            float *row = y_tile + r * out;
            const float *from = residual ? residual + (first + r) * out : NULL;
            if (from && b)
                for (int64_t o = 0; o < out; o++)
                    row[o] = from[o] + b[o];
            else if (from && from != row)
                memcpy(row, from, (size_t)out * sizeof *row);
            else if (b)
                memcpy(row, b, (size_t)out * sizeof *row);
        }
        gemm(y_tile, out, x + first * in, in, 0, w, in, 1, count, out, in, 1.0f,
             b || residual ? 1.0f : 0.0f);
    }
}

/* y = x wᵀ  =>  dx = dy w */
void cpu_linear_backward_input(float *dx, const float *dy, const float *w, int64_t rows, int64_t in,
                               int64_t out, Device *device) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
        int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
        gemm(dx + first * in, in, dy + first * out, out, 0, w, in, 0, count, in, out, 1.0f, 0.0f);
    }
}

/* y = x wᵀ + b  =>  dw += dyᵀ x, db += Σ dy. A tile of dw sums over all rows in one GEMM call of
 * one thread; the columns of db sum in double, row after row. */
void cpu_linear_backward_weight(float *dw, float *db, const float *dy, const float *x, int64_t rows,
                                int64_t in, int64_t out, Device *device) {
    int64_t tile_rows = weight_tile(out);
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(out, tile_rows); tile++) {
        int64_t first = tile * tile_rows, count = min_i64(tile_rows, out - first);
        gemm(dw + first * in, in, dy + first, out, 1, x, in, 0, count, in, rows, 1.0f, 1.0f);
    }
    if (db)
        cpu_rows_sum(db, dy, NULL, rows, out, device);
}
