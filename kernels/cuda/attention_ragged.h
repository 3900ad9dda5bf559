/* Attention by this program's own kernels: any width of a head up to RAGGED_HEAD_MOST, float32 and
 * bfloat16, with or without causal order. What they compute: kernels/attention.h. */
#ifndef JEPA_KERNELS_CUDA_ATTENTION_RAGGED_H
#define JEPA_KERNELS_CUDA_ATTENTION_RAGGED_H

#include "kernels/attention.h"

#define RAGGED_HEAD_MOST 128 /* channels of a head */

AttentionForward cuda_attention_ragged_forward;
AttentionBackward cuda_attention_ragged_backward; /* delta[R][H] floats in device->scratch */

#endif
