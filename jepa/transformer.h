/* A stack of pre-norm transformer blocks over packed sequences, forward and backward.
 *     middle = x + proj(attention(qkv(norm1(x))))
 *     next   = middle + fc2(gelu(fc1(norm2(middle))))
 * Source: facebookresearch/jepa src/models/utils/modules.py. R rows, D width, F hidden, H heads. */
#ifndef JEPA_JEPA_TRANSFORMER_H
#define JEPA_JEPA_TRANSFORMER_H

#include "jepa/arena.h"
#include "jepa/parameters.h"
#include "kernels/device.h"

typedef struct StackShape {
    int depth, width, heads, hidden;
} StackShape;

/* What a block's backward pass needs. */
typedef struct BlockActivations {
    float *x;                     /* [R][D]  input */
    float *norm1, *mean1, *rstd1; /* [R][D], [R], [R] */
    float *qkv;                   /* [R][3][H][D/H] */
    float *attention, *lse;       /* [R][D], [R][H] */
    float *middle;                /* [R][D] */
    float *norm2, *mean2, *rstd2; /* [R][D], [R], [R] */
    float *fc1, *gelu;            /* [R][F], [R][F] */
} BlockActivations;

typedef struct StackActivations {
    BlockActivations *blocks; /* [depth]; the input is blocks[0].x */
    float *out;               /* [R][D] output of the last block */
} StackActivations;

/* Gradients on their way back; one set serves every stack in turn. */
typedef struct StackScratch {
    float *da;   /* [R][D] */
    float *dqkv; /* [R][3D] */
    float *dh;   /* [R][F] */
} StackScratch;

/* Takes the memory for `rows` rows. keep: every block has its own (training); otherwise the blocks
 * share one set (inference). The array of blocks itself is host memory, made on the first call. */
void stack_activations_take(StackActivations *activations, StackShape shape, int64_t rows,
                            bool keep, Arena *arena);
void stack_scratch_take(StackScratch *scratch, StackShape shape, int64_t rows, Arena *arena);

/* blocks[0].x -> out. `weights` is the flat buffer that the offsets index. */
void stack_forward(StackActivations *activations, const float *weights, const BlockOffsets *blocks,
                   StackShape shape, int64_t rows, const int32_t *cu_seqlens, int64_t sequences,
                   Device *device);
/* dx[R][D]: gradient of `out` in, gradient of blocks[0].x out; parameter gradients += */
void stack_backward(float *dx, float *gradients, StackScratch *scratch,
                    const StackActivations *activations, const float *weights,
                    const BlockOffsets *blocks, StackShape shape, int64_t rows,
                    const int32_t *cu_seqlens, int64_t sequences, Device *device);

#endif
