/* Multi-head self-attention over packed sequences: tokens of sequence s are rows
 * cu_seqlens[s] .. cu_seqlens[s+1]-1, and attend to each other only.
 *     P = softmax(Q Kᵀ / √(D/H)) row by row,  O = P V
 * The N x N matrix is never kept: the backward pass recomputes P from the row's log-sum-exp.
 *
 * Causal order: with `block`, a query of row i attends to the keys of those rows j of its sequence
 * with block[j] <= block[i]. Blocks are time steps for frame-causal attention; a class token of
 * block INT32_MAX reads the whole clip and is read by nobody else (LeVJEPA's block-causal form). */
#ifndef JEPA_KERNELS_ATTENTION_H
#define JEPA_KERNELS_ATTENTION_H

#include "base/error.h"
#include "kernels/activation.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Device Device;

/* out[R][D], lse[R][H] (natural log of the sum of exponentials; NULL: not wanted) from
 * qkv[R][3][H][D/H]. cu_seqlens[S+1] lies in host memory, block[R] in the device's (NULL: all
 * attend to all). */
typedef void AttentionForward(Activation *out, float *lse, const Activation *qkv,
                              const int32_t *cu_seqlens, const int32_t *block, int64_t sequences,
                              int64_t width, int64_t heads, Device *device);
/* dqkv[R][3][H][D/H] from dout[R][D] and what the forward pass read and wrote. With
 * delta_i = Σ_d dout_i out_i:  dV = Pᵀ dO,  dS = P (dO Vᵀ - delta),  dQ = dS K/√d,  dK = dSᵀ Q/√d
 */
typedef void AttentionBackward(Activation *dqkv, const Activation *dout, const Activation *qkv,
                               const Activation *out, const float *lse, const int32_t *cu_seqlens,
                               const int32_t *block, int64_t sequences, int64_t width,
                               int64_t heads, Device *device);

/* The attention of a network that will run, for devices that prepare theirs. */
typedef struct AttentionNeed {
    int64_t width, heads;    /* D, H */
    int64_t sequences, rows; /* most in a batch */
    int64_t longest;         /* most tokens of a sequence */
    bool varies;             /* the longest of a batch differs from batch to batch */
    bool backward, causal;
} AttentionNeed;

/* *bytes: device memory that this takes beside the scratch. With `take` it is taken and all is
 * prepared: a second or several. ERROR_RUN where there is not enough memory. */
typedef int AttentionPlan(size_t *bytes, const AttentionNeed *needs, int count, bool take,
                          Device *device, Error *error);

AttentionForward cpu_attention_forward, cuda_attention_forward, reference_attention_forward;
AttentionBackward cpu_attention_backward, cuda_attention_backward, reference_attention_backward;

#endif
