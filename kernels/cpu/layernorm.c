/* Layer normalisation on the CPU. See kernels/layernorm.h. Statistics in double, as float32 sums of
 * wide rows would lose the last digits that the reference comparison asks for. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>

/* mean and 1/sqrt(variance + eps) of a row; eight partial sums: a fixed order that vectorises */
INLINE void statistics(float *mean, float *rstd, const float *x, int64_t width, double eps) {
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
    *mean = (float)m;
    *rstd = (float)(1.0 / sqrt(variance + eps));
}

INLINE void normalise(Activation *y, const float *x, float mean, float rstd, const float *w,
                      const float *b, int64_t width, Precision p) {
    if (w)
        for (int64_t i = 0; i < width; i++)
            activation_put(y, i, (x[i] - mean) * rstd * w[i] + b[i], p);
    else
        for (int64_t i = 0; i < width; i++)
            activation_put(y, i, (x[i] - mean) * rstd, p);
}

MANY_CPUS static void forward_float(float *y, float *mean, float *rstd, const float *x,
                                    const float *w, const float *b, int64_t width, double eps) {
    statistics(mean, rstd, x, width, eps);
    normalise(y, x, *mean, *rstd, w, b, width, PRECISION_FLOAT32);
}
MANY_CPUS static void forward_bf16(uint16_t *y, float *mean, float *rstd, const float *x,
                                   const float *w, const float *b, int64_t width, double eps) {
    statistics(mean, rstd, x, width, eps);
    normalise(y, x, *mean, *rstd, w, b, width, PRECISION_BFLOAT16);
}
MANY_CPUS static void again_float(float *y, const float *x, float mean, float rstd, const float *w,
                                  const float *b, int64_t width) {
    normalise(y, x, mean, rstd, w, b, width, PRECISION_FLOAT32);
}
MANY_CPUS static void again_bf16(uint16_t *y, const float *x, float mean, float rstd,
                                 const float *w, const float *b, int64_t width) {
    normalise(y, x, mean, rstd, w, b, width, PRECISION_BFLOAT16);
}

static void forward(Activation *y, Precision p, float *mean, float *rstd, const float *x,
                    const float *w, const float *b, int64_t rows, int64_t width, double eps,
                    Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t r = 0; r < rows; r++) {
        float unused[2];
        float *m = mean ? mean + r : unused, *s = rstd ? rstd + r : unused + 1;
        Activation *row = activation_at(y, r * width, p);
        if (p == PRECISION_BFLOAT16)
            forward_bf16(row, m, s, x + r * width, w, b, width, eps);
        else
            forward_float(row, m, s, x + r * width, w, b, width, eps);
    }
}

void cpu_layernorm_forward(Activation *y, float *mean, float *rstd, const float *x, const float *w,
                           const float *b, int64_t rows, int64_t width, double eps,
                           Device *device) {
    forward(y, device->precision, mean, rstd, x, w, b, rows, width, eps, device);
}

void cpu_layernorm_values(float *y, float *mean, float *rstd, const float *x, const float *w,
                          const float *b, int64_t rows, int64_t width, double eps, Device *device) {
    forward(y, PRECISION_FLOAT32, mean, rstd, x, w, b, rows, width, eps, device);
}

void cpu_layernorm_again(Activation *y, const float *x, const float *mean, const float *rstd,
                         const float *w, const float *b, int64_t rows, int64_t width,
                         Device *device) {
    Precision p = device->precision;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t r = 0; r < rows; r++) {
        Activation *row = activation_at(y, r * width, p);
        if (p == PRECISION_BFLOAT16)
            again_bf16(row, x + r * width, mean[r], rstd[r], w, b, width);
        else
            again_float(row, x + r * width, mean[r], rstd[r], w, b, width);
    }
}

/* y = n w + b, n = (x - mean) rstd  =>  dx += rstd (g - mean(g) - n mean(g n)), g = dy w */
INLINE void backward_row(float *dx, uint16_t *narrow, const Activation *dy, const float *x,
                         float mean, float rstd, const float *w, int64_t width, Precision p) {
    double g_sum[4] = {0}, gn_sum[4] = {0};
    int64_t whole = width / 4 * 4;
    for (int64_t i = 0; i < whole; i += 4)
        for (int k = 0; k < 4; k++) {
            float g = activation_get(dy, i + k, p) * w[i + k], n = (x[i + k] - mean) * rstd;
            g_sum[k] += g;
            gn_sum[k] += (double)g * n;
        }
    for (int64_t i = whole; i < width; i++) {
        float g = activation_get(dy, i, p) * w[i], n = (x[i] - mean) * rstd;
        g_sum[i - whole] += g;
        gn_sum[i - whole] += (double)g * n;
    }
    float g_mean = (float)(((g_sum[0] + g_sum[1]) + (g_sum[2] + g_sum[3])) / (double)width);
    float gn_mean = (float)(((gn_sum[0] + gn_sum[1]) + (gn_sum[2] + gn_sum[3])) / (double)width);
    for (int64_t i = 0; i < width; i++) {
        float n = (x[i] - mean) * rstd;
        dx[i] += rstd * (activation_get(dy, i, p) * w[i] - g_mean - n * gn_mean);
        if (p == PRECISION_BFLOAT16 && narrow)
            narrow[i] = bf16_from_float(dx[i]);
    }
}

/* dw += Σ dy n, db += Σ dy over a tile of columns, row after row */
INLINE void backward_columns(float *dw, float *db, const Activation *dy, const float *x,
                             const float *mean, const float *rstd, int64_t rows, int64_t width,
                             int64_t columns, Precision p) {
    double weight[COLUMN_TILE] = {0}, bias[COLUMN_TILE] = {0};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            float g = activation_get(dy, r * width + c, p);
            weight[c] += g * ((x[r * width + c] - mean[r]) * rstd[r]);
            bias[c] += g;
        }
    for (int64_t c = 0; c < columns; c++) {
        dw[c] += (float)weight[c];
        db[c] += (float)bias[c];
    }
}

MANY_CPUS static void row_float(float *dx, const float *dy, const float *x, float mean, float rstd,
                                const float *w, int64_t width) {
    backward_row(dx, NULL, dy, x, mean, rstd, w, width, PRECISION_FLOAT32);
}
MANY_CPUS static void row_bf16(float *dx, uint16_t *narrow, const uint16_t *dy, const float *x,
                               float mean, float rstd, const float *w, int64_t width) {
    backward_row(dx, narrow, dy, x, mean, rstd, w, width, PRECISION_BFLOAT16);
}
MANY_CPUS static void columns_float(float *dw, float *db, const float *dy, const float *x,
                                    const float *mean, const float *rstd, int64_t rows,
                                    int64_t width, int64_t columns) {
    backward_columns(dw, db, dy, x, mean, rstd, rows, width, columns, PRECISION_FLOAT32);
}
MANY_CPUS static void columns_bf16(float *dw, float *db, const uint16_t *dy, const float *x,
                                   const float *mean, const float *rstd, int64_t rows,
                                   int64_t width, int64_t columns) {
    backward_columns(dw, db, dy, x, mean, rstd, rows, width, columns, PRECISION_BFLOAT16);
}

void cpu_layernorm_backward(float *dx, Activation *narrow, float *dw, float *db,
                            const Activation *dy, const float *x, const float *mean,
                            const float *rstd, const float *w, int64_t rows, int64_t width,
                            Device *device) {
    bool half = device->precision == PRECISION_BFLOAT16;
#pragma omp parallel num_threads(device->threads)
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < rows; r++) {
            int64_t i = r * width;
            if (half)
                row_bf16(dx + i, narrow ? (uint16_t *)narrow + i : NULL, (const uint16_t *)dy + i,
                         x + i, mean[r], rstd[r], w, width);
            else
                row_float(dx + i, (const float *)dy + i, x + i, mean[r], rstd[r], w, width);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < TILES(width, COLUMN_TILE); tile++) {
            int64_t c = tile * COLUMN_TILE, columns = min_i64(COLUMN_TILE, width - c);
            if (half)
                columns_bf16(dw + c, db + c, (const uint16_t *)dy + c, x + c, mean, rstd, rows,
                             width, columns);
            else
                columns_float(dw + c, db + c, (const float *)dy + c, x + c, mean, rstd, rows, width,
                              columns);
        }
    }
}
