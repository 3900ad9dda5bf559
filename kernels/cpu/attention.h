/* Between the driver of the CPU attention (attention.c) and its kernels, which are written once
 * (attention_vector.h, attention_pack.h, attention_flash.h) and compiled once per instruction set
 * (attention_portable.c, attention_avx2.c, ...). The set is chosen when the device is opened. */
#ifndef JEPA_KERNELS_CPU_ATTENTION_H
#define JEPA_KERNELS_CPU_ATTENTION_H

#include "kernels/activation.h"
#include <stddef.h>
#include <stdint.h>

/* Tiles, in tokens; measured on Zen 3 (32 KiB and 512 KiB of cache a core) with heads of 64. */
#define FORWARD_QUERIES  384 /* queries that read one packed tile of keys */
#define FORWARD_KEYS     64
#define BACKWARD_QUERIES 144
#define BACKWARD_KEYS    96

/* One head of one sequence: rows of `head` values, `stride` values apart. */
typedef struct AttentionHead {
    const Activation *q, *k, *v; /* [count][head] */
    const int32_t *block;        /* [count], or NULL: see kernels/attention.h */
    int64_t count, head, stride;
    int64_t width, heads; /* strides of out and dout, and of lse */
    Precision precision;  /* of q, k, v, out and their gradients */
} AttentionHead;

/* out[queries][head], lse[queries] (NULL: not wanted) for queries first .. first+queries-1, at most
 * FORWARD_QUERIES of them. out and lse point to row `first`. */
typedef void AttentionForwardPart(Activation *out, float *lse, const AttentionHead *h,
                                  int64_t first, int64_t queries, void *scratch);
/* dq, dk, dv[count][head], `stride` apart, for all tokens. */
typedef void AttentionBackwardPart(Activation *dq, Activation *dk, Activation *dv,
                                   const Activation *dout, const Activation *out, const float *lse,
                                   const AttentionHead *h, void *scratch);

typedef struct AttentionVariant {
    const char *name;
    int (*runs)(void);                /* can this CPU run it? */
    AttentionForwardPart *forward[2]; /* by Precision */
    AttentionBackwardPart *backward[2];
} AttentionVariant;

/* All variants of this build, best first. The last is for tests only: 64-byte vectors and products
 * of bfloat16 pairs, as with AVX-512, in portable C. */
const AttentionVariant *cpu_attention_variants(size_t *count);
const AttentionVariant *cpu_attention_best(void); /* the first that this CPU runs */

/* Bytes per thread for sequences of up to `longest` tokens and heads of up to `head` channels. */
int64_t cpu_attention_scratch(int64_t longest, int64_t head);

#define ATTENTION_KERNELS(name)                                                                    \
    AttentionForwardPart attention_forward_##name;                                                 \
    AttentionBackwardPart attention_backward_##name
ATTENTION_KERNELS(portable);
ATTENTION_KERNELS(avx2);
ATTENTION_KERNELS(avx512);
ATTENTION_KERNELS(avx512bf16);
ATTENTION_KERNELS(wide);
ATTENTION_KERNELS(pairs);

/* Floats from one row of `columns` values to the next in scratch memory: whole cache lines, an odd
 * number of them, so that a column of rows spreads over all sets of a cache. */
static inline int64_t attention_row(int64_t columns) {
    return ((columns + 15) / 16 | 1) * 16;
}

static inline int64_t attention_round_up(int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}

#endif
