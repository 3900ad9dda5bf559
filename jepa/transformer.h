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
    double eps; /* of the layer norms */
} StackShape;

/* What a block's backward pass needs, besides what is quick to compute again: the outputs of the
 * layer norms and of the MLP's nonlinearity. */
typedef struct BlockActivations {
    float *x;             /* [R][D]  input */
    float *mean1, *rstd1; /* [R] */
    Activation *qkv;      /* [R][3][H][D/H], queries and keys turned */
    Activation *attention;
    float *lse;            /* [R][D], [R][H] */
    float *middle;         /* [R][D] */
    float *mean2, *rstd2;  /* [R] */
    Activation *fc1, *fc2; /* [R][F]; fc2: SwiGLU's second factor, else NULL */
} BlockActivations;

/* How much of its blocks a stack keeps. */
typedef enum StackKeep {
    STACK_KEEPS_NOTHING, /* inference: the blocks share one set */
    STACK_KEEPS_INPUTS,  /* activation checkpointing: the backward pass computes a block again */
    STACK_KEEPS_BLOCKS   /* training */
} StackKeep;

typedef struct StackActivations {
    BlockActivations *blocks; /* [depth]; the input is blocks[0].x */
    float *out;               /* [R][D] output of the last block */
    StackKeep keep;
} StackActivations;

/* What lives for the length of a block; one set serves every stack in turn. */
typedef struct StackScratch {
    Activation *norm;      /* [R][D] */
    Activation *activated; /* [R][F] */
    /* the backward pass */
    Activation *da;      /* [R][D] */
    Activation *dqkv;    /* [R][3D] */
    Activation *dh;      /* [R][F] */
    Activation *dgate;   /* [R][F], SwiGLU; else NULL */
    Activation *dnorm;   /* [R][D], SwiGLU; else NULL */
    Activation *narrow;  /* [R][D] dx as activations; NULL on a float32 device: dx itself */
    float *branch;       /* [R][D], stochastic depth; else NULL */
    Activation *dbranch; /* the same as activations */
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

/* Takes the memory for `rows` rows. The array of blocks itself is host memory, made on the first
 * call. */
void stack_activations_take(StackActivations *activations, StackShape shape, int64_t rows,
                            StackKeep keep, Arena *arena, const Device *device);
/* Scratch that serves stacks of these shapes with these numbers of rows; `backward` of them (the
 * first ones) are trained. */
void stack_scratch_take(StackScratch *scratch, const StackShape *shapes, const int64_t *rows,
                        int count, int backward, Arena *arena, const Device *device);

/* Blocks from .. to-1: blocks[from].x -> stack_output(to - 1). `weights` is the flat buffer that
 * the offsets index. */
void stack_forward(StackActivations *activations, StackScratch *scratch, const float *weights,
                   const BlockOffsets *blocks, StackShape shape, const StackRows *rows, int from,
                   int to, Device *device);
/* Output of block i, [R][D]. Of stacks that share memory only the last computed one is there. */
float *stack_output(const StackActivations *activations, StackShape shape, int i);
/* Who wants to know that gradients are final while a backward pass goes on: elements [from, to) of
 * the flat buffer will not change any more. A whole backward pass names every element once. */
typedef struct GradientsFinal {
    void (*call)(void *context, int64_t from, int64_t to);
    void *context;
} GradientsFinal;

static inline void gradients_final(const GradientsFinal *final, int64_t from, int64_t to) {
    if (final)
        final->call(final->context, from, to);
}

/* Blocks to-1 .. from: dx[R][D], the gradient of stack_output(to - 1), becomes that of
 * blocks[from].x; parameter gradients += . `final` (or NULL) hears of each block's matrices. */
void stack_backward(float *dx, float *gradients, StackScratch *scratch,
                    const StackActivations *activations, const float *weights,
                    const BlockOffsets *blocks, StackShape shape, const StackRows *rows, int from,
                    int to, const GradientsFinal *final, Device *device);

#endif
