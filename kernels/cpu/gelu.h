/* GELU of a tile that is in the cache, for the linear layers it is fused with. */
#ifndef JEPA_KERNELS_CPU_GELU_H
#define JEPA_KERNELS_CPU_GELU_H

#include "kernels/activation.h"

/* y[count] = gelu(x); y may be x */
void cpu_gelu_tile(Activation *y, const Activation *x, int64_t count, Precision precision);
/* dx = dy gelu'(x) and, unless y is NULL, y = gelu(x); dx may be dy */
void cpu_gelu_backward_tile(Activation *dx, Activation *y, const Activation *dy,
                            const Activation *x, int64_t count, Precision precision);

#endif
