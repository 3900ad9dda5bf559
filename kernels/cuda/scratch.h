/* What the CUDA operations put into the device's scratch (device->scratch), one at a time:
 *   sums over rows (LayerNorm's and biases' gradients)  [2][CUDA_PARTIALS][width] float
 *   sums over flat buffers                              [elements / CUDA_SUM_TILE + 1] double
 *   attention's own backward pass                       delta[rows][heads] float */
#ifndef JEPA_KERNELS_CUDA_SCRATCH_H
#define JEPA_KERNELS_CUDA_SCRATCH_H

#include <stddef.h>

#define CUDA_PARTIALS 264  /* blocks that share the rows of a sum: two for each of an H200's SMs */
#define CUDA_SUM_TILE 4096 /* elements that one block sums */

typedef struct Device Device;
typedef struct ScratchNeeds ScratchNeeds;

size_t cuda_scratch(const Device *device, const ScratchNeeds *needs);

#endif
