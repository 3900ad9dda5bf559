/* Which of the own kernels of attention computes. See kernels/cuda/attention_ragged.h. */
#include "kernels/cuda/attention_ragged.h"
#include "kernels/device.h"

void cuda_attention_ragged_forward(Activation *out, float *lse, const Activation *qkv,
                                   const int32_t *cu_seqlens, const int32_t *block,
                                   int64_t sequences, int64_t width, int64_t heads,
                                   Device *device) {
    AttentionForward *forward = device->precision == PRECISION_BFLOAT16
                                    ? cuda_attention_bfloat16_forward
                                    : cuda_attention_float32_forward;
    JEPA_ASSERT(!heads || width / heads <= RAGGED_HEAD_MOST);
    forward(out, lse, qkv, cu_seqlens, block, sequences, width, heads, device);
}

void cuda_attention_ragged_backward(Activation *dqkv, const Activation *dout, const Activation *qkv,
                                    const Activation *out, const float *lse,
                                    const int32_t *cu_seqlens, const int32_t *block,
                                    int64_t sequences, int64_t width, int64_t heads,
                                    Device *device) {
    AttentionBackward *backward = device->precision == PRECISION_BFLOAT16
                                      ? cuda_attention_bfloat16_backward
                                      : cuda_attention_float32_backward;
    JEPA_ASSERT(!heads || width / heads <= RAGGED_HEAD_MOST);
    backward(dqkv, dout, qkv, out, lse, cu_seqlens, block, sequences, width, heads, device);
}
