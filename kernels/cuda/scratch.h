/* What the CUDA operations put into the device's scratch (device->scratch), one at a time:
 *   sums over rows (LayerNorm's and biases' gradients)  [2][cuda_partials(width)][width] float
 *   sums over flat buffers                              [elements / CUDA_SUM_TILE + 1] double
 *   batch normalisation's sums                          [2][at most 65][width] double
 *   attention's own backward pass                       delta[rows][heads] float
 *   FP8: what goes into a linear layer                  [rows][width] bytes, [rows] float */
#ifndef JEPA_KERNELS_CUDA_SCRATCH_H
#define JEPA_KERNELS_CUDA_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define CUDA_PARTIALS 264  /* blocks that share the rows of a sum: two for each of an H200's SMs */
#define CUDA_SUM_TILE 4096 /* elements that one block sums */

/* The most partial sums of rows of this width: of narrow rows a block holds less, so there are more
 * blocks, always for the same bytes under way. Never more floats than those of 1024 columns, or of
 * CUDA_PARTIALS rows. */
static inline int64_t cuda_partials(int64_t width) {
    return width < 1024 ? CUDA_PARTIALS * (1024 / width) : CUDA_PARTIALS;
}

typedef struct Device Device;
typedef struct ScratchNeeds ScratchNeeds;

size_t cuda_scratch(const Device *device, const ScratchNeeds *needs);

#endif
