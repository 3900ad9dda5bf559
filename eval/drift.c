/* Distance of two encoders. See eval/drift.h. */
#include "eval/drift.h"
#include <math.h>
#include <stdlib.h>

/* Σ (θ - ξ)² and Σ θ² of one block, of which `count` elements count. */
static void block_sums(double sums[2], const Model *model, float *theta, float *xi, int64_t local,
                       int64_t count) {
    Device *device = model->device;
    int64_t at = local * SHARD_BLOCK;
    size_t bytes = (size_t)count * sizeof *theta;
    device->download(theta, model->own_weights + at, bytes, device);
    device->download(xi, model->own_target + at, bytes, device);
    for (int64_t i = 0; i < count; i++) {
        double difference = (double)theta[i] - xi[i];
        sums[0] += difference * difference;
        sums[1] += (double)theta[i] * theta[i];
    }
}

double drift_weights(const Model *model, Exchange *x) {
    int64_t end = model->table.owner[OWNER_ENCODER].end, blocks = shard_blocks(end);
    Shard shard = model->plan.shard;
    int64_t ranks = shard_ranks(shard), most = shard_most(shard, blocks);
    if (!model->own_target)
        return NAN;
    double *table = memory_new((size_t)(ranks * most * 2), sizeof *table),
           *own = table + shard.rank * most * 2, difference = 0, size = 0;
    float *theta = memory_new(SHARD_BLOCK, sizeof *theta),
          *xi = memory_new(SHARD_BLOCK, sizeof *xi);
    for (int64_t b = shard.rank, k = 0; b < blocks; b += ranks, k++) {
        int64_t left = end - b * SHARD_BLOCK;
        block_sums(own + 2 * k, model, theta, xi, k, left < SHARD_BLOCK ? left : SHARD_BLOCK);
    }
    if (ranks > 1)
        x->all(table, (int)(most * 2), x);
    for (int64_t b = 0; b < blocks; b++) {
        const double *sums = table + (b % ranks * most + b / ranks) * 2;
        difference += sums[0];
        size += sums[1];
    }
    free(table);
    free(theta);
    free(xi);
    return sqrt(difference / size);
}
