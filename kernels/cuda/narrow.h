/* Rounding many float32 ranges to 16 bits in one launch (kernels/cuda/narrow.cu). */
#ifndef JEPA_KERNELS_CUDA_NARROW_H
#define JEPA_KERNELS_CUDA_NARROW_H

#include <stdint.h>

typedef struct Device Device;

#define NARROW_TILE 16384 /* elements that one block rounds */

typedef struct NarrowRange {
    const float *from;
    uint16_t *to;
    int64_t count;
    int64_t first; /* block of the launch */
} NarrowRange;

/* One range. */
void cuda_narrow(uint16_t *to, const float *from, int64_t count, Device *device);
/* `count` ranges, listed in device memory in the order of `first`, `blocks` in all. */
void cuda_narrow_ranges(const NarrowRange *ranges, int64_t count, int64_t blocks, Device *device);

#endif
