/* Batch normalisation on the CPU. See kernels/batchnorm.h. A tile of columns belongs to one thread,
 * which sums it row after row. All in double: where a column's mean is far from zero, or rows are
 * few, little is left after the means are taken away. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>

MANY_CPUS static void forward_columns(float *y, float *mean, float *rstd, float *running_mean,
                                      float *running_var, const float *x, const float *w,
                                      const float *b, int64_t rows, int64_t width, int64_t columns,
                                      double eps, double momentum) {
    double center[COLUMN_TILE] = {0}, square[COLUMN_TILE] = {0};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            center[c] += x[r * width + c];
    for (int64_t c = 0; c < columns; c++)
        center[c] /= (double)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            double d = x[r * width + c] - center[c];
            square[c] += d * d;
        }
    double scale[COLUMN_TILE];
    for (int64_t c = 0; c < columns; c++) {
        double inverse = 1.0 / sqrt(square[c] / (double)rows + eps);
        scale[c] = inverse * w[c];
        mean[c] = (float)center[c];
        rstd[c] = (float)inverse;
        if (running_mean) {
            running_mean[c] = (float)((1 - momentum) * running_mean[c] + momentum * center[c]);
            running_var[c] = (float)((1 - momentum) * running_var[c] +
                                     momentum * square[c] / (double)(rows - 1));
        }
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            y[r * width + c] = (float)((x[r * width + c] - center[c]) * scale[c] + b[c]);
}

void cpu_batchnorm_forward(float *y, float *mean, float *rstd, float *running_mean,
                           float *running_var, const float *x, const float *w, const float *b,
                           int64_t rows, int64_t width, double eps, double momentum,
                           Device *device) {
    JEPA_ASSERT(rows > 1);
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(width, COLUMN_TILE); tile++) {
        int64_t c = tile * COLUMN_TILE;
        forward_columns(y + c, mean + c, rstd + c, running_mean ? running_mean + c : NULL,
                        running_var ? running_var + c : NULL, x + c, w + c, b + c, rows, width,
                        min_i64(COLUMN_TILE, width - c), eps, momentum);
    }
}

/* y = n w + b, n = (x - mean) rstd, mean and rstd of the column
 * => dw += Σ dy n, db += Σ dy, dx = rstd w (dy - mean(dy) - n mean(dy n)) */
MANY_CPUS static void backward_columns(float *dx, float *dw, float *db, const float *dy,
                                       const float *x, const float *mean, const float *rstd,
                                       const float *w, int64_t rows, int64_t width,
                                       int64_t columns) {
    double weight[COLUMN_TILE] = {0}, bias[COLUMN_TILE] = {0};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            double g = dy[r * width + c];
            weight[c] += g * (((double)x[r * width + c] - mean[c]) * rstd[c]);
            bias[c] += g;
        }
    double scale[COLUMN_TILE];
    for (int64_t c = 0; c < columns; c++) {
        dw[c] += (float)weight[c];
        db[c] += (float)bias[c];
        bias[c] /= (double)rows;
        weight[c] /= (double)rows;
        scale[c] = (double)rstd[c] * w[c];
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            double n = ((double)x[r * width + c] - mean[c]) * rstd[c];
            dx[r * width + c] = (float)(scale[c] * (dy[r * width + c] - bias[c] - n * weight[c]));
        }
}

void cpu_batchnorm_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                            const float *mean, const float *rstd, const float *w, int64_t rows,
                            int64_t width, Device *device) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(width, COLUMN_TILE); tile++) {
        int64_t c = tile * COLUMN_TILE;
        backward_columns(dx + c, dw + c, db + c, dy + c, x + c, mean + c, rstd + c, w + c, rows,
                         width, min_i64(COLUMN_TILE, width - c));
    }
}
