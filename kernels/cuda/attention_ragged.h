/* Attention by this program's own kernels: heads of 1 to RAGGED_HEAD_MOST channels, float32 and
 * bfloat16, with or without causal order. What they compute: kernels/attention.h. */
#ifndef JEPA_KERNELS_CUDA_ATTENTION_RAGGED_H
#define JEPA_KERNELS_CUDA_ATTENTION_RAGGED_H

#include "kernels/attention.h"

#define RAGGED_HEAD_MOST 128

/* The backward passes put delta[R][H] into device->scratch. */
AttentionForward cuda_attention_ragged_forward;
AttentionBackward cuda_attention_ragged_backward;

/* What they choose from, by the device's precision. */
AttentionForward cuda_attention_float32_forward, cuda_attention_bfloat16_forward;
AttentionBackward cuda_attention_float32_backward, cuda_attention_bfloat16_backward;

/* delta[rows][heads], in device->scratch */
const float *cuda_attention_delta(const Activation *dout, const Activation *out, int64_t rows,
                                  int64_t width, int64_t heads, Device *device);

#endif
