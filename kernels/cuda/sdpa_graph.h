/* The graphs of attention over packed sequences, as cuDNN wants them. The operation is that of
 * kernels/attention.h; here are the graphs alone, kernels/cuda/sdpa.h plans and runs them.
 *
 * Tensors have the dimensions [B][H][S][hd] in cuDNN's eyes, with strides that fit our layouts and
 * "ragged offsets" that say where each sequence begins, so B and S are the most that fit:
 *
 *     q, k, v, dq, dk, dv  element (b, h, s, c) at offset_qkv[b] + s 3 H hd + h hd + c of a pointer
 *                          into qkv[R][3][H][hd] or dqkv
 *     out, dout            at offset_out[b] + s H hd + h hd + c
 *     lse                  at offset_lse[b] + s H + h
 *
 * S x S tensors are virtual. A mask by row and column number covers what lies beyond a sequence's
 * length. A graph may have fewer heads than the tensors: heads are independent, pointers then start
 * at the first of them.
 *
 * Sources: the fused patterns that cuDNN documents for attention ("Graph API, supported fusion
 * patterns: Flash attention fprop, bprop"), with dP's workspace where the order of sums is to be
 * fixed; facts of NVIDIA's cudnn-frontend 1.23 (sdpa_support_surface.h and the SDPA node). */
#ifndef JEPA_KERNELS_CUDA_SDPA_GRAPH_H
#define JEPA_KERNELS_CUDA_SDPA_GRAPH_H

#include "kernels/cuda/cudnn_graph.h"

typedef enum SdpaPass {
    SDPA_INFERENCE,    /* out */
    SDPA_FORWARD,      /* out and lse */
    SDPA_BACKWARD,     /* dqkv; sums in a fixed order: dQ comes from dS, which is kept whole */
    SDPA_BACKWARD_FAST /* dqkv; dQ is summed in float32 by atomic additions in any order */
} SdpaPass;
#define SDPA_PASSES 4

typedef struct SdpaGraphShape {
    SdpaPass pass;
    int64_t sequences; /* B, most */
    int64_t tokens;    /* S, most in a sequence */
    int64_t heads;     /* of the graph */
    int64_t all_heads; /* H, of the tensors */
    int64_t head;      /* hd, channels of a head */
} SdpaGraphShape;

/* uids of what has memory */
typedef enum SdpaUid {
    SDPA_Q = 1,
    SDPA_K,
    SDPA_V,
    SDPA_OUT,
    SDPA_LSE,
    SDPA_DOUT,
    SDPA_DQ,
    SDPA_DK,
    SDPA_DV,
    SDPA_DELTA,     /* scratch float32 [B][heads][S]: Σ dout out of each row */
    SDPA_DQ_SUM,    /* scratch float32 [B][heads][S][hd], SDPA_BACKWARD_FAST */
    SDPA_LENGTHS_Q, /* int32 [B] tokens of each sequence; may be 0 */
    SDPA_LENGTHS_KV,
    SDPA_OFFSETS_QKV, /* int32 [B + 1] */
    SDPA_OFFSETS_OUT,
    SDPA_OFFSETS_LSE,
    SDPA_SCALE, /* host float32: 1/sqrt(hd) */
    SDPA_ONE,   /* host float32: 1 */
    SDPA_MASKED /* host float32: -inf */
} SdpaUid;

/* Adds the operations of a pass to a graph that was started. */
void sdpa_graph(Graph *graph, const SdpaGraphShape *shape);

/* Bytes of the scratch tensors, besides the plan's workspace. */
int64_t sdpa_delta_bytes(const SdpaGraphShape *shape);
int64_t sdpa_dq_sum_bytes(const SdpaGraphShape *shape);

#endif
