/* Sums of columns (kernels/cuda/columns.cu). */
#ifndef JEPA_KERNELS_CUDA_COLUMNS_H
#define JEPA_KERNELS_CUDA_COLUMNS_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

/* sum[width] += Σ_rows x[rows][width]: the gradient of a bias. Uses device->scratch. */
void cuda_columns_add(float *sum, const Activation *x, int64_t rows, int64_t width, Device *device);

#endif
