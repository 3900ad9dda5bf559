/* Attention by cuDNN's plans behind the device's table: what is prepared for the networks, and what
 * of a batch goes to it. See kernels/cuda/sdpa.h; everything else goes to the own kernels. */
#ifndef JEPA_KERNELS_CUDA_ATTENTION_CUDNN_H
#define JEPA_KERNELS_CUDA_ATTENTION_CUDNN_H

#include "kernels/attention.h"
#include "kernels/cuda/cudnn_library.h"
#include <stdbool.h>
#include <stdio.h>

/* The device's `attention_plan` (kernels/attention.h). */
AttentionPlan cuda_attention_plan;

/* False where nothing was prepared for such a batch: then the own kernels take it. */
bool cuda_attention_cudnn_forward(Activation *out, float *lse, const Activation *qkv,
                                  const int32_t *cu_seqlens, int64_t sequences, int64_t width,
                                  int64_t heads, Device *device);
bool cuda_attention_cudnn_backward(Activation *dqkv, const Activation *dout, const Activation *qkv,
                                   const Activation *out, const float *lse,
                                   const int32_t *cu_seqlens, int64_t sequences, int64_t width,
                                   int64_t heads, Device *device);

/* What was chosen, a line for each plan. */
void cuda_attention_report(FILE *file, const Device *device);
void cuda_attention_close(Device *device);

/* The library and this device's card (kernels/cuda/cudnn_open.c; tests put an emulation there). */
int cuda_cudnn_open(CudnnLibrary *library, CudnnTarget *target, cudaStream_t stream, int capability,
                    Error *error);

#endif
