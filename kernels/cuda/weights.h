/* Weights and biases in 16 bits, as bfloat16 products read them.
 *
 * A weight that was registered (kernels/linear.h) has a copy, and room for a copy of the bias that
 * it is used with, which need not be known before. When something is read that is not current, all
 * that is not current is converted in one launch: once per step of the optimiser. A weight that
 * nobody registered is converted for each product, into memory that is taken when it is first
 * needed and grows: slower, for tests and single products.
 *
 * Why biases too: cuBLASLt adds a bias in the result's type. PyTorch's autocast rounds it as well.
 *
 * A weight that passes in FP8 read has a copy in 8 bits too, with its scales, which is made when it
 * is first read after a change; its 16-bit copy is kept current only from when that is first read.
 */
#ifndef JEPA_KERNELS_CUDA_WEIGHTS_H
#define JEPA_KERNELS_CUDA_WEIGHTS_H

#include <stdint.h>

typedef struct Device Device;

/* The 16-bit copy of w[out][in], in device memory. */
const void *cuda_weight(const float *w, int64_t in, int64_t out, Device *device);
/* That of b[out], the bias that is used with w. */
const void *cuda_bias(const float *b, const float *w, int64_t out, Device *device);

/* The copy in 8 bits of w[out][in] and its scales[out]; NULL where it was not registered for FP8.
 */
const uint8_t *cuda_weight_eights(const float **scales, const float *w, int64_t in, int64_t out,
                                  Device *device);
/* Converts what is not current: before a graph is launched that reads it. */
void cuda_weights_ready(Device *device);

void cuda_weights_close(Device *device);

#endif
