/* The sum of the gradients of a step's micro-batches, in an order that their numbers alone decide.
 *
 * The U micro-batches of a step, numbered 0 .. U-1 in the order in which they are computed, fall
 * into L = min(U, optimization.reduce_leaves) leaves: contiguous ranges, leaf l = micro-batches
 * ⌊l U/L⌋ .. ⌊(l+1) U/L⌋ - 1. Inside a leaf gradients are added one after the other; leaves are
 * added in pairs, pairs of pairs and so on:
 *
 *     ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
 *
 * so that 1, 2, 4 or 8 ranks, each with its own subtree, come to the same bits. Leaves that are
 * finished wait on a stack, where two of equal rank (number of leaves, log2) become one: a binary
 * counter. It holds at most 1 + log2 L buffers, and the sum comes out in the first.
 *
 * Of W ranks, rank r has leaves r L/W .. (r+1) L/W - 1, where L/W is a power of two: a whole
 * subtree. Its sum comes out here; the same counter then goes on over ranks (exchange_add). */
#ifndef JEPA_JEPA_REDUCE_H
#define JEPA_JEPA_REDUCE_H

#include "kernels/device.h"

#define REDUCE_LEAVES_MAX  64 /* a power of two, so that ranks hold whole subtrees */
#define REDUCE_BUFFERS_MAX 7  /* 1 + log2 of it */

typedef struct Reduction {
    float *buffer[REDUCE_BUFFERS_MAX]; /* [values] each, as many as reduce_buffers says */
    int64_t values;
    int units, leaves; /* U, L of the whole step */
    int unit, end;     /* at work, of the whole step's; behind the last of this rank */
    bool joined;       /* the sums of the last micro-batch were joined by reduce_join */
    int waiting;       /* finished sums: buffer[0 .. waiting-1]; the leaf at work is the next */
    int rank[REDUCE_BUFFERS_MAX];
    Device *device;
} Reduction;

/* Leaves in use. */
int reduce_leaves(int units, int most);
/* Buffers that so many leaves need. */
int reduce_buffers(int leaves);

/* The first micro-batch of a leaf; of leaf L: U. */
int reduce_first_unit(int units, int leaves, int leaf);

/* Begins a step with leaves first_leaf .. first_leaf + count - 1 (all of them: 0, L): buffer[0]
 * must be zero. values, buffer and device are set already. */
void reduce_begin(Reduction *reduction, int units, int leaves, int first_leaf, int count);
/* The leaf of the micro-batch at work. Is it the last of this rank? */
int reduce_leaf(const Reduction *reduction);
bool reduce_is_last(const Reduction *reduction);
/* Where the micro-batch at work adds its gradients. */
float *reduce_place(const Reduction *reduction);
/* Of the last micro-batch, while it is at work: elements [from, to) of its buffer are final. Their
 * sum over the rank's leaves is in buffer[0] then. Who begins with this does it for all elements,
 * before or after the last reduce_next. */
void reduce_join(Reduction *reduction, int64_t from, int64_t to);
/* It has: on to the next. After the last the sum is in buffer[0]. */
void reduce_next(Reduction *reduction);

#endif
