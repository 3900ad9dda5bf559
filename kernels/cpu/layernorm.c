/* Layer normalisation on the CPU. See kernels/layernorm.h. Statistics in double, as float32 sums of
 * wide rows would lose the last digits that the reference comparison asks for. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>

MANY_CPUS static void forward_row(float *y, float *mean, float *rstd, const float *x,
                                  const float *w, const float *b, int64_t width, double eps) {
    /* eight partial sums: a fixed order that vectorises */
    double sum[8] = {0}, square[8] = {0};
    int64_t whole = width / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += x[i + k];
    for (int64_t i = whole; i < width; i++)
        sum[i - whole] += x[i];
    double m = (((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))) /
               (double)width;
    for (int64_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++) {
            double d = x[i + k] - m;
            square[k] += d * d;
        }
    for (int64_t i = whole; i < width; i++) {
        double d = x[i] - m;
        square[i - whole] += d * d;
    }
    double variance = (((square[0] + square[1]) + (square[2] + square[3])) +
                       ((square[4] + square[5]) + (square[6] + square[7]))) /
                      (double)width;
    float row_mean = (float)m, row_rstd = (float)(1.0 / sqrt(variance + eps));
    if (w)
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - row_mean) * row_rstd * w[i] + b[i];
    else
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - row_mean) * row_rstd;
    if (mean)
        *mean = row_mean;
    if (rstd)
        *rstd = row_rstd;
}

void cpu_layernorm_forward(float *y, float *mean, float *rstd, const float *x, const float *w,
                           const float *b, int64_t rows, int64_t width, double eps,
                           Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t r = 0; r < rows; r++)
        forward_row(y + r * width, mean ? mean + r : NULL, rstd ? rstd + r : NULL, x + r * width, w,
                    b, width, eps);
}

/* y = n w + b, n = (x - mean) rstd  =>  dx += rstd (g - mean(g) - n mean(g n)), g = dy w */
MANY_CPUS static void backward_row(float *dx, const float *dy, const float *x, float mean,
                                   float rstd, const float *w, int64_t width) {
    double g_sum[4] = {0}, gn_sum[4] = {0};
    int64_t whole = width / 4 * 4;
    for (int64_t i = 0; i < whole; i += 4)
        for (int k = 0; k < 4; k++) {
            float g = dy[i + k] * w[i + k], n = (x[i + k] - mean) * rstd;
            g_sum[k] += g;
            gn_sum[k] += (double)g * n;
        }
    for (int64_t i = whole; i < width; i++) {
        float g = dy[i] * w[i], n = (x[i] - mean) * rstd;
        g_sum[i - whole] += g;
        gn_sum[i - whole] += (double)g * n;
    }
    float g_mean = (float)(((g_sum[0] + g_sum[1]) + (g_sum[2] + g_sum[3])) / (double)width);
    float gn_mean = (float)(((gn_sum[0] + gn_sum[1]) + (gn_sum[2] + gn_sum[3])) / (double)width);
    for (int64_t i = 0; i < width; i++) {
        float n = (x[i] - mean) * rstd;
        dx[i] += rstd * (dy[i] * w[i] - g_mean - n * gn_mean);
    }
}

/* dw += Σ dy n, db += Σ dy over a tile of columns, row after row */
MANY_CPUS static void backward_columns(float *dw, float *db, const float *dy, const float *x,
                                       const float *mean, const float *rstd, int64_t rows,
                                       int64_t width, int64_t columns) {
    double weight[COLUMN_TILE] = {0}, bias[COLUMN_TILE] = {0};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            float g = dy[r * width + c];
            weight[c] += g * ((x[r * width + c] - mean[r]) * rstd[r]);
            bias[c] += g;
        }
    for (int64_t c = 0; c < columns; c++) {
        dw[c] += (float)weight[c];
        db[c] += (float)bias[c];
    }
}

void cpu_layernorm_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                            const float *mean, const float *rstd, const float *w, int64_t rows,
                            int64_t width, Device *device) {
#pragma omp parallel num_threads(device->threads)
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < rows; r++)
            backward_row(dx + r * width, dy + r * width, x + r * width, mean[r], rstd[r], w, width);
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < TILES(width, COLUMN_TILE); tile++) {
            int64_t c = tile * COLUMN_TILE;
            backward_columns(dw + c, db + c, dy + c, x + c, mean, rstd, rows, width,
                             min_i64(COLUMN_TILE, width - c));
        }
    }
}
