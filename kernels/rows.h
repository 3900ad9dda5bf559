/* Moving rows of width D: positions, mask tokens, packing, pooling. Index arrays lie in device
 * memory; a NULL index array stands for 0, 1, 2, ... */
#ifndef JEPA_KERNELS_ROWS_H
#define JEPA_KERNELS_ROWS_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

/* y[to[i]] = x[from[i]] + table[entry[i]], i < rows; x or table may be NULL (then without it).
 * y may be x when to and from are both NULL. The `to` are distinct. */
typedef void RowsGather(float *y, const int32_t *to, const float *x, const int32_t *from,
                        const float *table, const int32_t *entry, int64_t rows, int64_t width,
                        Device *device);
/* dx[from[i]] += dy[to[i]], i < rows; the `from` are distinct. */
typedef void RowsScatterAdd(float *dx, const int32_t *from, const float *dy, const int32_t *to,
                            int64_t rows, int64_t width, Device *device);
/* sum[D] += Σ_i x[from[i]], in the order of i */
typedef void RowsSum(float *sum, const float *x, const int32_t *from, int64_t rows, int64_t width,
                     Device *device);
/* mean[S][D]: the mean row of each packed sequence; cu_seqlens[S+1] in host memory */
typedef void RowsMean(float *mean, const float *x, const int32_t *cu_seqlens, int64_t sequences,
                      int64_t width, Device *device);

/* y[i] = (x ? x[i] : 0) + scale[s] y[i] for the rows i of each packed sequence s: a residual branch
 * that is dropped (0) or scaled up (stochastic depth). scale[S] in device memory, cu_seqlens[S+1]
 * in the host's. */
typedef void RowsBlend(float *y, const float *x, const float *scale, const int32_t *cu_seqlens,
                       int64_t sequences, int64_t width, Device *device);
/* y[i][to .. to+width-1] = x[i][from .. from+width-1], i < rows, rows of y_width and x_width;
 * elements of `size` bytes */
typedef void RowsColumns(void *y, int64_t y_width, int64_t to, const void *x, int64_t x_width,
                         int64_t from, int64_t rows, int64_t width, size_t size, Device *device);
/* y[count] += x[count] */
typedef void RowsAdd(Activation *y, const Activation *x, int64_t count, Device *device);

/* y[count] = x[count] as activations; nothing is done where y is x, on a float32 device. */
typedef void RowsNarrow(Activation *y, const float *x, int64_t count, Device *device);

/* y[count] = x[count] as float32: what rows_narrow has lost is lost. y is not x. */
typedef void RowsWiden(float *y, const Activation *x, int64_t count, Device *device);

RowsGather cpu_rows_gather, cuda_rows_gather, reference_rows_gather;
RowsScatterAdd cpu_rows_scatter_add, cuda_rows_scatter_add, reference_rows_scatter_add;
RowsSum cpu_rows_sum, cuda_rows_sum, reference_rows_sum;
RowsMean cpu_rows_mean, cuda_rows_mean, reference_rows_mean;
RowsBlend cpu_rows_blend, cuda_rows_blend, reference_rows_blend;
RowsColumns cpu_rows_columns, cuda_rows_columns, reference_rows_columns;
RowsAdd cpu_rows_add, cuda_rows_add, reference_rows_add;
RowsNarrow cpu_rows_narrow, cuda_rows_narrow, reference_rows_narrow;
RowsWiden cpu_rows_widen, cuda_rows_widen, reference_rows_widen;

#endif
