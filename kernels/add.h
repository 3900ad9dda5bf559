/* The sum of two flat buffers: gradients of parts of a step (jepa/reduce.h). */
#ifndef JEPA_KERNELS_ADD_H
#define JEPA_KERNELS_ADD_H

#include <stdint.h>

typedef struct Device Device;

/* y[i] += x[i], i < count */
typedef void Add(float *y, const float *x, int64_t count, Device *device);

Add cpu_add, cuda_add, reference_add;

#endif
