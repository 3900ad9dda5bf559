/* What ranks do together: W processes train one network, to the same bits as one.
 *
 *   compute    rank r has leaves r L/W .. (r+1) L/W - 1 of the step's sum (jepa/reduce.h): a
 *              contiguous range of micro-batches, and of each stream's slots
 *   gradients  the blocks of every rank's sum go to their owners, which add them in the order that
 *              jepa/reduce.h continues; a layer's while the layers below are still in backward
 *   losses     every rank has the scalars of all leaves, and adds them in leaf order
 *   norms      every rank has Σ g² of all blocks, and adds them in block order
 *   update     the owner's blocks: AdamW, moving average (ZeRO-1: the optimiser's state is shared
 *              out)
 *   weights    of all blocks to all ranks; matrices in the type that linear layers read them in
 *
 * Nothing of this depends on W but who does it. */
#ifndef JEPA_JEPA_RANKS_H
#define JEPA_JEPA_RANKS_H

#include "jepa/model.h"

/* Can so many ranks share out the leaves? They must divide them into whole powers of two. */
bool ranks_fit(int leaves, int ranks);
/* ERROR_USAGE that says which numbers can. */
int ranks_check(int units, int leaves, int ranks, Error *error);

/* The gradients of a step, on their way. */
typedef struct RanksSum {
    Model *model;
    Reduction *reduction;
    ExchangeSum sum;
    int32_t *left;        /* [B] elements of each block that are not final yet; -1: it is off */
    GradientsFinal final; /* for the backward pass of the last micro-batch */
} RanksSum;

void ranks_sum_new(RanksSum *sum, Model *model, Reduction *reduction, bool fast);
void ranks_sum_free(RanksSum *sum);
/* Before the last backward pass of the rank's last micro-batch; hand its model sum->final. */
void ranks_sum_begin(RanksSum *sum);
/* After it: own_gradients is the sum over all ranks. */
void ranks_sum_finish(RanksSum *sum);

/* leaf_scalars of all leaves, from the ranks that have them. */
void ranks_share_leaves(Model *model);
/* block_sums of all blocks likewise. */
void ranks_share_sums(Model *model);
/* weights and target from what every rank has updated. */
void ranks_gather_weights(Model *model);
/* The own blocks of weights and target, which were loaded or drawn whole. */
void ranks_take_shards(Model *model);
/* compact[K][SHARD_BLOCK] = the own blocks of flat[elements] in host memory */
void ranks_take_blocks(float *compact, const float *flat, int64_t elements, const Model *model);

#endif
