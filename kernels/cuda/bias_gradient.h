/* Gradients of biases: sums of columns (kernels/cuda/bias_gradient.cu). */
#ifndef JEPA_KERNELS_CUDA_BIAS_GRADIENT_H
#define JEPA_KERNELS_CUDA_BIAS_GRADIENT_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

/* db[width] += Σ_rows dy[rows][width]. Uses device->scratch. */
void cuda_bias_gradient(float *db, const Activation *dy, int64_t rows, int64_t width,
                        Device *device);

#endif
