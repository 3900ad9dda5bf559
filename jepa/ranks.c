/* What ranks do together. See jepa/ranks.h. */
#include "jepa/ranks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ranks_fit(int leaves, int ranks) {
    int own = leaves / ranks;
    return ranks >= 1 && leaves % ranks == 0 && (own & (own - 1)) == 0;
}

int ranks_check(int units, int leaves, int ranks, Error *error) {
    char list[200] = "";
    if (ranks_fit(leaves, ranks))
        return 0;
    for (int w = 1; w <= leaves; w++)
        if (ranks_fit(leaves, w)) {
            size_t at = strlen(list);
            snprintf(list + at, sizeof list - at, "%s%d", at ? ", " : "", w);
        }
    return error_set(error, ERROR_USAGE,
                     "%d ranks cannot share out a step of %d micro-batches, summed in %d leaves: "
                     "%s would do, or a smaller optimization.micro_batch and another "
                     "optimization.reduce_leaves (a run keeps both)",
                     ranks, units, leaves, list);
}

/* ---- gradients ---- */

/* Blocks [from, to): joined over the rank's leaves, and off. */
static void start(RanksSum *s, int64_t from, int64_t to) {
    Exchange *x = s->model->exchange;
    reduce_join(s->reduction, from * SHARD_BLOCK, to * SHARD_BLOCK);
    x->sum_start(&s->sum, from, to, s->model->device, x);
    for (int64_t b = from; b < to; b++)
        s->left[b] = -1;
}

/* Starts all that is ready from block `from` on, in runs; `all`: the rest too. */
static void start_ready(RanksSum *s, int64_t from, int64_t to, bool all) {
    for (int64_t b = from; b < to;) {
        int64_t end = b;
        while (end < to && (s->left[end] == 0 || (all && s->left[end] > 0)))
            end++;
        if (end > b)
            start(s, b, end);
        b = end > b ? end : b + 1;
    }
}

static void note_final(void *context, int64_t from, int64_t to) {
    RanksSum *s = context;
    for (int64_t at = from; at < to;) {
        int64_t b = at / SHARD_BLOCK, end = (b + 1) * SHARD_BLOCK;
        end = end < to ? end : to;
        s->left[b] -= (int32_t)(end - at);
        JEPA_ASSERT(s->left[b] >= 0);
        at = end;
    }
    if (to > from)
        start_ready(s, from / SHARD_BLOCK, shard_blocks(to), false);
    s->model->exchange->progress(s->model->exchange);
}

void ranks_sum_new(RanksSum *s, Model *model, Reduction *reduction, bool fast) {
    *s = (RanksSum){.model = model,
                    .reduction = reduction,
                    .sum = {model->gradient_sum[0], model->pieces, model->blocks, fast},
                    .left = memory_new((size_t)model->blocks, sizeof *s->left),
                    .final = {note_final, s}};
}

void ranks_sum_free(RanksSum *s) {
    free(s->left);
    memset(s, 0, sizeof *s);
}

void ranks_sum_begin(RanksSum *s) {
    for (int64_t b = 0; b < s->model->blocks; b++)
        s->left[b] = SHARD_BLOCK;
}

void ranks_sum_finish(RanksSum *s) {
    Exchange *x = s->model->exchange;
    start_ready(s, 0, s->model->blocks, true);
    x->sum_finish(&s->sum, s->model->device, x);
}

/* ---- scalars ---- */

/* A row for each rank of a table [ranks][bytes]. */
static void share_rows(void *table, int64_t bytes, Model *model, const char *doing) {
    Exchange *x = model->exchange;
    ExchangePart parts[REDUCE_LEAVES_MAX];
    JEPA_ASSERT(x->ranks <= REDUCE_LEAVES_MAX);
    for (int r = 0; r < x->ranks; r++)
        parts[r] = (ExchangePart){.first = r * bytes, .bytes = bytes, .count = 1};
    x->doing = doing;
    x->share(table, parts, model->device, x);
}

void ranks_share_leaves(Model *model) {
    int64_t own = model->plan.leaves / model->exchange->ranks;
    share_rows(model->leaf_scalars, own * (int64_t)sizeof *model->leaf_scalars, model,
               "the exchange of losses");
}

void ranks_share_sums(Model *model) {
    share_rows(model->block_sums, model->shard_blocks * (int64_t)sizeof *model->block_sums, model,
               "the exchange of gradient norms");
}

/* ---- weights ---- */

/* Blocks [from, to) as they are. */
static void gather_exact(Model *model, float *flat, const float *own, int64_t from, int64_t to) {
    Exchange *x = model->exchange;
    int64_t place = shard_blocks_of(model->plan.shard, x->rank, from);
    if (to > from)
        x->gather(flat, own + place * SHARD_BLOCK, from, to, sizeof(float), model->device, x);
}

/* Blocks [from, to) of matrices, which a bfloat16 device reads rounded: half of the bytes. The
 * gradients' pieces are free by now: [K] own blocks, then [B] all, rounded. */
static void gather_matrices(Model *model, float *flat, const float *own, int64_t from, int64_t to) {
    Exchange *x = model->exchange;
    Device *op = model->device;
    Shard shard = model->plan.shard;
    if (op->precision == PRECISION_FLOAT32) {
        gather_exact(model, flat, own, from, to);
        return;
    }
    size_t size = activation_size(op->precision);
    int64_t place = shard_blocks_of(shard, x->rank, from);
    int64_t count = shard_blocks_of(shard, x->rank, to) - place;
    char *narrow = (char *)model->pieces;
    char *all = narrow + (size_t)(model->shard_blocks * SHARD_BLOCK) * size;
    op->rows_narrow(narrow, own + place * SHARD_BLOCK, count * SHARD_BLOCK, op);
    x->gather(all, narrow, from, to, size, op, x);
    op->rows_widen(flat + from * SHARD_BLOCK, all + (size_t)(from * SHARD_BLOCK) * size,
                   (to - from) * SHARD_BLOCK, op);
}

static void gather_network(Model *model, float *flat, const float *own, int owner) {
    ParameterRange all = model->table.owner[owner], matrices = model->table.matrices[owner];
    gather_matrices(model, flat, own, matrices.begin / SHARD_BLOCK, matrices.end / SHARD_BLOCK);
    gather_exact(model, flat, own, matrices.end / SHARD_BLOCK, all.end / SHARD_BLOCK);
}

void ranks_gather_weights(Model *model) {
    for (int owner = 0; owner < 2; owner++)
        gather_network(model, model->weights, model->own_weights, owner);
    if (model->own_target)
        gather_network(model, model->target, model->own_target, OWNER_ENCODER);
}

static void take(Model *model, float *own, const float *flat, int64_t blocks) {
    Shard s = model->plan.shard;
    int64_t count = shard_blocks_of(s, s.rank, blocks);
    model->device->rows_columns(own, SHARD_BLOCK, 0, flat + s.rank * SHARD_BLOCK,
                                (int64_t)s.ranks * SHARD_BLOCK, 0, count, SHARD_BLOCK,
                                sizeof(float), model->device);
}

void ranks_take_shards(Model *model) {
    if (shard_ranks(model->plan.shard) == 1)
        return;
    take(model, model->own_weights, model->weights, model->blocks);
    if (model->own_target)
        take(model, model->own_target, model->target,
             model->table.owner[OWNER_ENCODER].end / SHARD_BLOCK);
}

void ranks_take_blocks(float *compact, const float *flat, int64_t elements, const Model *model) {
    Shard s = model->plan.shard;
    Device *op = model->device;
    int64_t own = shard_blocks_of(s, s.rank, shard_blocks(elements));
    for (int64_t k = 0; k < own; k++)
        op->upload(compact + k * SHARD_BLOCK, flat + (k * shard_ranks(s) + s.rank) * SHARD_BLOCK,
                   SHARD_BLOCK * sizeof(float), op);
}
