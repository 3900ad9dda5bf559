/* What all kernels of attention share: which tile a block computes, what it may see, the launch.
 *
 * A block owns `rows` tokens of one head of one sequence (queries in the forward pass and for dQ,
 * keys for dK and dV) and goes over all tokens of that sequence, tile by tile, in their order. The
 * grid is one row of (sequence, head, tile) with the tile running fastest, so that neighbours read
 * the same keys; the longest sequence gives the number of tiles, and a block that lies beyond the
 * end of its own leaves at once. */
#ifndef JEPA_KERNELS_CUDA_ATTENTION_PLACE_H
#define JEPA_KERNELS_CUDA_ATTENTION_PLACE_H

#include "kernels/cuda/launch.h"
extern "C" {
#include "kernels/cuda/attention_ragged.h"
}

#define INLINE static __device__ __forceinline__

#define LOG2_E 1.44269504088896341
#define LN_2   0.693147180559945309

typedef struct Ragged {
    const int32_t *cu_seqlens; /* on the device */
    const int32_t *block;      /* [R] or NULL */
    int64_t width;
    int heads, head, tiles; /* tiles of a sequence */
    float scale, scale2;    /* 1/√d, log2(e)/√d */
    bool vectors;           /* every row of a head can be read 16 bytes at a time */
} Ragged;

typedef struct Place {
    int64_t first; /* row of the sequence's first token */
    int count;     /* tokens of the sequence */
    int head;
    int at, rows; /* the block's own tokens; none: rows <= 0 */
} Place;

INLINE Place place_of(const Ragged &a, int rows) {
    unsigned tile = blockIdx.x % (unsigned)a.tiles, rest = blockIdx.x / (unsigned)a.tiles;
    unsigned sequence = rest / (unsigned)a.heads;
    Place p;
    p.first = a.cu_seqlens[sequence];
    p.count = (int)(a.cu_seqlens[sequence + 1] - p.first);
    p.head = (int)(rest % (unsigned)a.heads);
    p.at = (int)tile * rows;
    p.rows = p.count - p.at < rows ? p.count - p.at : rows;
    return p;
}

/* ---- causal order ---- */

typedef struct Range {
    int least, most;
} Range;

/* Of block[0..count-1]; every warp finds it for itself, so all of a block agree. */
INLINE Range range_of(const int32_t *block, int count) {
    Range r = {INT32_MAX, INT32_MIN};
    for (int i = (int)threadIdx.x % WARP; i < count; i += WARP) {
        r.least = block[i] < r.least ? block[i] : r.least;
        r.most = block[i] > r.most ? block[i] : r.most;
    }
    for (int lanes = WARP / 2; lanes; lanes /= 2) {
        int least = __shfl_xor_sync(FULL, r.least, lanes);
        int most = __shfl_xor_sync(FULL, r.most, lanes);
        r.least = least < r.least ? least : r.least;
        r.most = most > r.most ? most : r.most;
    }
    return r;
}

typedef enum Visible { NONE, SOME, ALL } Visible;

/* What queries see of keys. */
INLINE Visible visible(Range queries, Range keys) {
    return keys.most <= queries.least ? ALL : keys.least <= queries.most ? SOME : NONE;
}

/* Tokens that pass by a block's own. */
typedef struct Tile {
    int at, columns; /* none: 0 */
    Visible sees;
} Tile;

/* The next tile from `at` on of which something is seen. All threads of a warp call it. */
template <int COLUMNS, bool OWN_ARE_KEYS>
INLINE Tile next_tile(int at, const Place &own, const int32_t *block, Range mine) {
    for (; at < own.count; at += COLUMNS) {
        int columns = own.count - at < COLUMNS ? own.count - at : COLUMNS;
        Visible sees = ALL;
        if (block) {
            Range its = range_of(block + at, columns);
            sees = OWN_ARE_KEYS ? visible(its, mine) : visible(mine, its);
        }
        if (sees != NONE)
            return Tile{at, columns, sees};
    }
    return Tile{at, 0, NONE};
}

/* ---- launching ---- */

/* More than 48 KiB of shared memory must be asked for. */
static inline void allow_shared(const void *kernel, size_t bytes, const Device *device) {
    JEPA_ASSERT(bytes <= device->cuda->shared_bytes);
    if (bytes > 48 << 10)
        CUDA_CHECK(
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
}

/* Parameters of a launch but for `tiles` and `vectors`; 0 where there is nothing to compute. */
static inline int ragged_of(Ragged *a, int *longest, const int32_t *cu_seqlens,
                            const int32_t *block, int64_t sequences, int64_t width, int64_t heads,
                            Device *device) {
    if (!sequences || !heads || !width)
        return 0;
    const CudaLengths *lengths = cuda_lengths(cu_seqlens, sequences, device);
    *longest = lengths->longest;
    *a = Ragged{};
    a->cu_seqlens = lengths->device;
    a->block = block;
    a->width = width;
    a->heads = (int)heads;
    a->head = (int)(width / heads);
    a->scale = (float)(1 / sqrt((double)a->head));
    a->scale2 = (float)(LOG2_E / sqrt((double)a->head));
    return *longest > 0;
}

#endif
