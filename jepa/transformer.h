/* A stack of pre-norm transformer blocks over packed sequences, forward and backward.
 *     middle = x + s_a proj(attention(rope(qkv(norm1(x)))))
 *     next   = middle + s_m mlp(norm2(middle))
 *     mlp(x) = fc2(gelu(fc1(x)))   or, SwiGLU,   fc3(silu(fc1(x)) fc2(x))
 * s is 1, or stochastic depth's 0 or 1/(1 - p) for each sequence and branch. Rotary positions turn
 * queries and keys; without them rope is left out. Source: facebookresearch/jepa and vjepa2
 * src/models/utils/modules.py. R rows, D width, F hidden, H heads, S sequences. */
#ifndef JEPA_JEPA_TRANSFORMER_H
#define JEPA_JEPA_TRANSFORMER_H

#include "jepa/arena.h"
#include "jepa/parameters.h"
#include "kernels/device.h"

typedef struct StackShape {
    int depth, width, heads, hidden;
    bool swiglu;
    bool drops; /* stochastic depth */
} StackShape;

/* What a block's backward pass needs. */
typedef struct BlockActivations {
    float *x;                     /* [R][D]  input */
    float *norm1, *mean1, *rstd1; /* [R][D], [R], [R] */
    float *qkv;                   /* [R][3][H][D/H], queries and keys turned */
    float *attention, *lse;       /* [R][D], [R][H] */
    float *middle;                /* [R][D] */
    float *norm2, *mean2, *rstd2; /* [R][D], [R], [R] */
    float *fc1, *fc2;             /* [R][F]; fc2: SwiGLU's second factor, else NULL */
    float *activated;             /* [R][F] */
} BlockActivations;

typedef struct StackActivations {
    BlockActivations *blocks; /* [depth]; the input is blocks[0].x */
    float *out;               /* [R][D] output of the last block */
} StackActivations;

/* Gradients on their way back; one set serves every stack in turn. */
typedef struct StackScratch {
    float *da;     /* [R][D] */
    float *dqkv;   /* [R][3D] */
    float *dh;     /* [R][F] */
    float *dgate;  /* [R][F], SwiGLU; else NULL */
    float *branch; /* [R][D], SwiGLU or stochastic depth; else NULL */
} StackScratch;

/* The rows of a pass. */
typedef struct StackRows {
    int64_t rows;
    const int32_t *cu_seqlens; /* [S + 1], host */
    int64_t sequences;
    const float *rope;    /* table of kernels/rope.h, device; NULL: no rotary positions */
    const int32_t *token; /* [R] device, with rope: where each row lies; < 0: nowhere */
    const int32_t *block; /* [R] device: causal order (kernels/attention.h); NULL: none */
    const float *keep;    /* [depth][2][S] device: s_a and s_m of each block; NULL: 1 */
} StackRows;

/* Takes the memory for `rows` rows. keep: every block has its own (training); otherwise the blocks
 * share one set (inference). The array of blocks itself is host memory, made on the first call. */
void stack_activations_take(StackActivations *activations, StackShape shape, int64_t rows,
                            bool keep, Arena *arena);
/* Scratch that serves stacks of these two shapes with these numbers of rows. */
void stack_scratch_take(StackScratch *scratch, StackShape a, int64_t rows_a, StackShape b,
                        int64_t rows_b, Arena *arena);

/* Blocks from .. to-1: blocks[from].x -> stack_output(to - 1). `weights` is the flat buffer that
 * the offsets index. */
void stack_forward(StackActivations *activations, const float *weights, const BlockOffsets *blocks,
                   StackShape shape, const StackRows *rows, int from, int to, Device *device);
/* Output of block i, [R][D]. Of stacks that share memory only the last computed one is there. */
float *stack_output(const StackActivations *activations, StackShape shape, int i);
/* Blocks to-1 .. from: dx[R][D], the gradient of stack_output(to - 1), becomes that of
 * blocks[from].x; parameter gradients += */
void stack_backward(float *dx, float *gradients, StackScratch *scratch,
                    const StackActivations *activations, const float *weights,
                    const BlockOffsets *blocks, StackShape shape, const StackRows *rows, int from,
                    int to, Device *device);

#endif
