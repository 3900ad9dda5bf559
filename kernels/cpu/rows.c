/* Moving rows on the CPU. See kernels/rows.h. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <string.h>

void cpu_rows_gather(float *y, const int32_t *to, const float *x, const int32_t *from,
                     const float *table, const int32_t *entry, int64_t rows, int64_t width,
                     Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        float *out = y + (to ? to[i] : i) * width;
        const float *a = x ? x + (from ? from[i] : i) * width : NULL;
        const float *b = table ? table + (entry ? entry[i] : i) * width : NULL;
        if (a && b)
            for (int64_t d = 0; d < width; d++)
                out[d] = a[d] + b[d];
        else if ((a ? a : b) != out)
            memcpy(out, a ? a : b, (size_t)width * sizeof *out);
    }
}

void cpu_rows_scatter_add(float *dx, const int32_t *from, const float *dy, const int32_t *to,
                          int64_t rows, int64_t width, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        float *out = dx + (from ? from[i] : i) * width;
        const float *a = dy + (to ? to[i] : i) * width;
        for (int64_t d = 0; d < width; d++)
            out[d] += a[d];
    }
}

MANY_CPUS static void sum_columns(float *sum, const float *x, const int32_t *from, int64_t rows,
                                  int64_t width, int64_t columns) {
    double total[COLUMN_TILE] = {0};
    for (int64_t i = 0; i < rows; i++) {
        const float *row = x + (from ? from[i] : i) * width;
        for (int64_t c = 0; c < columns; c++)
            total[c] += row[c];
    }
    for (int64_t c = 0; c < columns; c++)
        sum[c] += (float)total[c];
}

void cpu_rows_sum(float *sum, const float *x, const int32_t *from, int64_t rows, int64_t width,
                  Device *device) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(width, COLUMN_TILE); tile++) {
        int64_t c = tile * COLUMN_TILE;
        sum_columns(sum + c, x + c, from, rows, width, min_i64(COLUMN_TILE, width - c));
    }
}

void cpu_rows_mean(float *mean, const float *x, const int32_t *cu_seqlens, int64_t sequences,
                   int64_t width, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t s = 0; s < sequences; s++) {
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        for (int64_t c = 0; c < width; c += COLUMN_TILE) {
            int64_t columns = min_i64(COLUMN_TILE, width - c);
            float *out = mean + s * width + c;
            memset(out, 0, (size_t)columns * sizeof *out);
            sum_columns(out, x + first * width + c, NULL, count, width, columns);
            for (int64_t d = 0; d < columns && count; d++)
                out[d] /= (float)count;
        }
    }
}

void cpu_rows_blend(float *y, const float *x, const float *scale, const int32_t *cu_seqlens,
                    int64_t sequences, int64_t width, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t i = cu_seqlens[s] * width; i < cu_seqlens[s + 1] * width; i++)
            y[i] = (x ? x[i] : 0) + scale[s] * y[i];
}

void cpu_rows_columns(void *y, int64_t y_width, int64_t to, const void *x, int64_t x_width,
                      int64_t from, int64_t rows, int64_t width, size_t size, Device *device) {
    int64_t bytes = (int64_t)size;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++)
        memcpy((char *)y + (i * y_width + to) * bytes,
               (const char *)x + (i * x_width + from) * bytes, (size_t)width * size);
}

MANY_CPUS static void add_float(float *y, const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}
MANY_CPUS static void add_bf16(uint16_t *y, const uint16_t *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        y[i] = bf16_from_float(bf16_to_float(y[i]) + bf16_to_float(x[i]));
}

void cpu_rows_add(Activation *y, const Activation *x, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE, length = min_i64(FLAT_TILE, count - i);
        if (device->precision == PRECISION_BFLOAT16)
            add_bf16((uint16_t *)y + i, (const uint16_t *)x + i, length);
        else
            add_float((float *)y + i, (const float *)x + i, length);
    }
}

MANY_CPUS static void narrow_tile(uint16_t *y, const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        y[i] = bf16_from_float(x[i]);
}

void cpu_rows_narrow(Activation *y, const float *x, int64_t count, Device *device) {
    if (y == x)
        return;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE, length = min_i64(FLAT_TILE, count - i);
        if (device->precision == PRECISION_BFLOAT16)
            narrow_tile((uint16_t *)y + i, x + i, length);
        else
            memcpy((float *)y + i, x + i, (size_t)length * sizeof *x);
    }
}

MANY_CPUS static void widen_tile(float *y, const uint16_t *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        y[i] = bf16_to_float(x[i]);
}

void cpu_rows_widen(float *y, const Activation *x, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++) {
        int64_t i = tile * FLAT_TILE, length = min_i64(FLAT_TILE, count - i);
        if (device->precision == PRECISION_BFLOAT16)
            widen_tile(y + i, (const uint16_t *)x + i, length);
        else
            memcpy(y + i, (const float *)x + i, (size_t)length * sizeof *y);
    }
}
