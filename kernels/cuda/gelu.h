/* GELU's gradient together with GELU once more, for linear layers (kernels/cuda/gelu.cu). */
#ifndef JEPA_KERNELS_CUDA_GELU_H
#define JEPA_KERNELS_CUDA_GELU_H

#include "kernels/activation.h"

typedef struct Device Device;

/* dx[count] = dy gelu'(x), y = gelu(x); y may be NULL, dx may be dy. */
void cuda_gelu_backward_again(Activation *dx, Activation *y, const Activation *dy,
                              const Activation *x, int64_t count, Device *device);

#endif
