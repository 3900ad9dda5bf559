/* Biases of linear layers (kernels/cuda/bias.cu). */
#ifndef JEPA_KERNELS_CUDA_BIAS_H
#define JEPA_KERNELS_CUDA_BIAS_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

/* db[width] += Σ_rows dy[rows][width]. Uses device->scratch. */
void cuda_bias_gradient(float *db, const Activation *dy, int64_t rows, int64_t width,
                        Device *device);

/* y[rows][width] = added + b[width], all of one precision; added may be NULL, or y. */
void cuda_bias_rows(void *y, const void *added, const void *b, int64_t rows, int64_t width,
                    Precision precision, Device *device);

#endif
