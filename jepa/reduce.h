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
 * counter. It holds at most 1 + log2 L buffers, and the sum comes out in the first. */
#ifndef JEPA_JEPA_REDUCE_H
#define JEPA_JEPA_REDUCE_H

#include "kernels/device.h"

#define REDUCE_LEAVES_MAX  64 /* a power of two, so that ranks hold whole subtrees */
#define REDUCE_BUFFERS_MAX 7  /* 1 + log2 of it */

typedef struct Reduction {
    float *buffer[REDUCE_BUFFERS_MAX]; /* [values] each, as many as reduce_buffers says */
    int64_t values;
    int units, leaves; /* U, L */
    int unit;          /* at work */
    int waiting;       /* finished sums: buffer[0 .. waiting-1]; the leaf at work is the next */
    int rank[REDUCE_BUFFERS_MAX];
    Device *device;
} Reduction;

/* Leaves in use. */
int reduce_leaves(int units, int most);
/* Buffers that so many leaves need. */
int reduce_buffers(int leaves);

/* Begins a step: buffer[0] must be zero. values, buffer and device are set already. */
void reduce_begin(Reduction *reduction, int units, int most_leaves);
/* Where the micro-batch at work adds its gradients. */
float *reduce_place(const Reduction *reduction);
/* It has: on to the next. After the last the sum is in buffer[0]. */
void reduce_next(Reduction *reduction);

#endif
