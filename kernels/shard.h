/* Which rank owns what of a flat buffer of parameters.
 *
 * A flat buffer is cut into blocks of 65,536 elements; block b belongs to rank b mod W, so that
 * every part of the network, and so every exchange of one, loads all ranks alike. A rank keeps its
 * own blocks one behind the other, compact: [K][65536], local block k is block k W + r. Compact
 * order is flat order, so whatever is one range of the flat buffer is one range of the compact one.
 * With one rank both are the same.
 * Letters: W ranks, r this one, K local blocks, B blocks of the flat buffer. */
#ifndef JEPA_KERNELS_SHARD_H
#define JEPA_KERNELS_SHARD_H

#include <stdint.h>

#define SHARD_BLOCK 65536 /* elements: 256 KiB of float32, a message of good size */

typedef struct Shard {
    int rank, ranks; /* r, W; ranks 0 means one */
} Shard;

static inline int shard_ranks(Shard s) {
    return s.ranks > 1 ? s.ranks : 1;
}
/* B, of a buffer of so many elements */
static inline int64_t shard_blocks(int64_t elements) {
    return (elements + SHARD_BLOCK - 1) / SHARD_BLOCK;
}
/* Blocks below `block` that rank r owns; its K for block = B. */
static inline int64_t shard_blocks_of(Shard s, int rank, int64_t block) {
    int w = shard_ranks(s);
    return (block + w - 1 - rank) / w;
}
/* The K of the rank with most. */
static inline int64_t shard_most(Shard s, int64_t blocks) {
    return shard_blocks_of(s, 0, blocks);
}
/* Own elements below flat place `at`: where the own part of a flat range begins or ends. */
static inline int64_t shard_place(Shard s, int64_t at) {
    int w = shard_ranks(s);
    int64_t block = at / SHARD_BLOCK, whole = shard_blocks_of(s, s.rank, block) * SHARD_BLOCK;
    return block % w == s.rank ? whole + at % SHARD_BLOCK : whole;
}

#endif
