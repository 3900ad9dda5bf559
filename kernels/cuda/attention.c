/* Attention on the GPU: cuDNN's plans where there are any, else the own kernels. Formulas:
 * kernels/attention.h. */
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_ragged.h"
#include "kernels/device.h"

void cuda_attention_forward(Activation *out, float *lse, const Activation *qkv,
                            const int32_t *cu_seqlens, const int32_t *block, int64_t sequences,
                            int64_t width, int64_t heads, Device *device) {
    if (block ||
        !cuda_attention_cudnn_forward(out, lse, qkv, cu_seqlens, sequences, width, heads, device))
        cuda_attention_ragged_forward(out, lse, qkv, cu_seqlens, block, sequences, width, heads,
                                      device);
}

void cuda_attention_backward(Activation *dqkv, const Activation *dout, const Activation *qkv,
                             const Activation *out, const float *lse, const int32_t *cu_seqlens,
                             const int32_t *block, int64_t sequences, int64_t width, int64_t heads,
                             Device *device) {
    if (block || !cuda_attention_cudnn_backward(dqkv, dout, qkv, out, lse, cu_seqlens, sequences,
                                                width, heads, device))
        cuda_attention_ragged_backward(dqkv, dout, qkv, out, lse, cu_seqlens, block, sequences,
                                       width, heads, device);
}
