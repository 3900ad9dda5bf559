/* GELU in its exact form: y = x Φ(x), Φ(x) = (1 + erf(x / √2)) / 2. dy/dx = Φ(x) + x φ(x). */
#ifndef JEPA_KERNELS_GELU_H
#define JEPA_KERNELS_GELU_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

typedef void GeluForward(Activation *y, const Activation *x, int64_t count, Device *device);
/* dx = dy (Φ(x) + x φ(x)); dx may be dy */
typedef void GeluBackward(Activation *dx, const Activation *dy, const Activation *x, int64_t count,
                          Device *device);

GeluForward cpu_gelu_forward, cuda_gelu_forward, reference_gelu_forward;
GeluBackward cpu_gelu_backward, cuda_gelu_backward, reference_gelu_backward;

#endif
