/* Products of tiles in shared memory on tensor cores, bfloat16 in and float32 out: the inner loops
 * of attention_bfloat16_*.cu.
 *
 * A warp has 16 of its block's own tokens as rows; COLUMNS tokens pass by in tiles.
 *   dot        s[row][column] = Σ_d a[row][d] b[column][d]
 *   accumulate o[row][d]     += Σ_column s[row][column] b[column][d],  s rounded to bfloat16
 * Both are made of D = A B + C with A[16][16], B[16][8] (the PTX manual's mma.m16n8k16). Of C and D
 * lane 4 g + t holds columns 2 t and 2 t + 1 of rows g and g + 8; of A the same pairs, and those 8
 * columns further; of B rows 2 t, 2 t + 1 and 8 further, of column g. So what a lane holds of two
 * neighbouring blocks of scores is what it must bring of A in the next product: P never leaves the
 * registers. Blocks of 8 x 8 come from shared memory by ldmatrix, turned where B is read against
 * the rows' direction. Rows of a tile are 8 values longer than their contents, an odd number of 16
 * bytes: eight rows lie in different banks.
 *
 * Tiles arrive by cp.async: a kernel has two stages, and while it computes with one the next tile
 * is copied into the other, so that one barrier a tile is enough.
 *
 * In the tests' emulation of the grid these instructions are plain loops; copies stay away until
 * they are waited for. */
#ifndef JEPA_KERNELS_CUDA_ATTENTION_MMA_H
#define JEPA_KERNELS_CUDA_ATTENTION_MMA_H

#include "kernels/cuda/attention_place.h"

#define THREADS 128
#define ROWS    64 /* tokens of a block: 16 of each warp */
#define PAD     8  /* values */

/* ---- the instructions ---- */

#ifdef __CUDACC__

/* Four 8 x 8 blocks of 16 x 16 values whose rows are `step` apart: upper left, lower left, upper
 * right, lower right. TURNED: lane 4 g + t gets column g of rows 2 t, 2 t + 1, else row g. */
template <bool TURNED> INLINE void load_blocks(uint32_t x[4], const Bf16 *from, int step) {
    int lane = (int)threadIdx.x % WARP;
    from += lane % 16 * step + lane / 16 * 8;
    uint32_t at = (uint32_t)__cvta_generic_to_shared(from);
    if (TURNED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(at)
                     : "memory");
}

/* d += a b */
INLINE void mma_16x8x16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* BYTES (4, 16) to shared memory, or zeros, while the thread goes on; until copies_arrive. */
template <int BYTES> INLINE void copy_later(void *to, const void *from, bool is) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :
                     : "r"(at), "l"(from), "r"(is ? 16 : 0)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                     :
                     : "r"(at), "l"(from), "r"(is ? 4 : 0)
                     : "memory");
}
INLINE void copies_arrive(void) {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/* 2^x, off by up to 2^-22 of it */
INLINE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

INLINE uint32_t pair_of(float low, float high) {
    uint32_t x;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
    return x;
}

#else

template <bool TURNED> INLINE void load_blocks(uint32_t x[4], const Bf16 *from, int step) {
    int g = (int)threadIdx.x % WARP / 4, t = (int)threadIdx.x % 4;
    for (int block = 0; block < 4; block++) {
        const Bf16 *at = from + block % 2 * 8 * step + block / 2 * 8;
        Bf16 low = TURNED ? at[2 * t * step + g] : at[g * step + 2 * t];
        Bf16 high = TURNED ? at[(2 * t + 1) * step + g] : at[g * step + 2 * t + 1];
        x[block] = low.bits | (uint32_t)high.bits << 16;
    }
}

INLINE void mma_16x8x16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    static float all[32][WARP][12]; /* what the lanes of each warp bring: 8 of A, 4 of B */
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    float(*warp)[12] = all[threadIdx.x / WARP];
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    __syncwarp(); /* the last product has been read */
    for (int i = 0; i < 12; i++)
        warp[lane][i] = widen(Bf16{(uint16_t)(mine[i / 2] >> i % 2 * 16)});
    __syncwarp();
    for (int i = 0; i < 4; i++) { /* row g + 8 (i / 2), column 2 t + i % 2 */
        const float *row = warp[4 * g] + i / 2 * 2, *column = warp[4 * (2 * t + i % 2)] + 8;
        for (int k = 0; k < 16; k++) /* pairs of 4 lanes, then those 8 further */
            d[i] += row[k % 8 / 2 * 12 + k / 8 * 4 + k % 2] *
                    column[k % 8 / 2 * 12 + k / 8 * 2 + k % 2];
    }
}

template <int BYTES> INLINE void copy_later(void *to, const void *from, bool is) {
    emulation_copy_later(to, from, BYTES, is ? BYTES : 0);
}
INLINE void copies_arrive(void) {
    emulation_copies_arrive();
}

INLINE float power_of_two(float x) {
    return exp2f(x);
}

INLINE uint32_t pair_of(float low, float high) {
    return bf16_of(low).bits | (uint32_t)bf16_of(high).bits << 16;
}

#endif

/* ---- where a lane's values lie: s[block][2 i + e] ---- */

INLINE int row_of(int i) { /* in the block's tile; i: 0, 1 */
    return (int)threadIdx.x / WARP * 16 + (int)threadIdx.x % WARP / 4 + i * 8;
}
INLINE int column_of(int block) { /* and the next one */
    return block * 8 + (int)threadIdx.x % 4 * 2;
}
INLINE const Bf16 *warp_rows(const Bf16 *tile, int step) {
    return tile + (int)threadIdx.x / WARP * 16 * step;
}

/* ---- tiles ---- */

/* to[N][HD + PAD] from `rows` rows of a.head values, `stride` apart; zeros around them. There when
 * the copies have arrived. */
template <int HD, int N>
INLINE void load_tile(Bf16 *to, const Bf16 *from, int64_t stride, int rows, const Ragged &a) {
    constexpr int V = 8, CHUNKS = HD / V;
    if (a.vectors) {
#pragma unroll
        for (int k = 0; k < (N * CHUNKS + THREADS - 1) / THREADS; k++) {
            int i = k * THREADS + (int)threadIdx.x, row = i / CHUNKS, d = i % CHUNKS * V;
            bool is = row < rows && d < a.head;
            if (row < N)
                copy_later<16>(to + row * (HD + PAD) + d, is ? from + row * stride + d : from, is);
        }
    } else {
        for (int i = (int)threadIdx.x; i < N * HD; i += THREADS) {
            int row = i / HD, d = i % HD;
            bool is = row < rows && d < a.head;
            to[row * (HD + PAD) + d] = is ? from[row * stride + d] : Bf16{0};
        }
    }
}

/* K and V of a tile's tokens, one behind the other. `row`: the head's Q of the sequence's first. */
template <int HD, int COLUMNS>
INLINE void load_keys(Bf16 *to, const Bf16 *row, const Tile &t, const Ragged &a) {
    const Bf16 *k = row + t.at * 3 * a.width + a.width;
    load_tile<HD, COLUMNS>(to, k, 3 * a.width, t.columns, a);
    load_tile<HD, COLUMNS>(to + COLUMNS * (HD + PAD), k + a.width, 3 * a.width, t.columns, a);
}

/* A lane's sums o[HD/8][4] times `factor` of its two rows to rows of a.head values. */
template <int HD>
INLINE void store_rows(Bf16 *to, int64_t stride, const float o[HD / 8][4], const float factor[2],
                       int rows, const Ragged &a) {
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            int row = row_of(i), d = column_of(n);
            if (row >= rows)
                continue;
            Pack<Bf16, 2> y;
            for (int e = 0; e < 2; e++)
                put(&y.at[e], o[n][2 * i + e] * factor[i]);
            if (a.vectors && d < a.head)
                store<Bf16, 2>(to + row * stride + d, y);
            else
                for (int e = 0; e < 2; e++)
                    if (d + e < a.head)
                        to[row * stride + d + e] = y.at[e];
        }
}

template <int N> INLINE void clear(float o[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            o[n][i] = 0;
}

/* A warp's rows as operand A. */
template <int HD> INLINE void load_rows(uint32_t rows[HD / 16][4], const Bf16 *tile) {
#pragma unroll
    for (int k = 0; k < HD / 16; k++)
        load_blocks<false>(rows[k], warp_rows(tile, HD + PAD) + k * 16, HD + PAD);
}

/* s = a bᵀ */
template <int HD, int COLUMNS>
INLINE void dot(float s[COLUMNS / 8][4], const uint32_t a[HD / 16][4], const Bf16 *b) {
    clear<COLUMNS / 8>(s);
#pragma unroll
    for (int k = 0; k < HD / 16; k++)
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n += 2) {
            uint32_t x[4];
            load_blocks<false>(x, b + n * 8 * (HD + PAD) + k * 16, HD + PAD);
            mma_16x8x16(s[n], a[k], x[0], x[2]);
            mma_16x8x16(s[n + 1], a[k], x[1], x[3]);
        }
}

/* o += s b */
template <int HD, int COLUMNS>
INLINE void accumulate(float o[HD / 8][4], const float s[COLUMNS / 8][4], const Bf16 *b) {
#pragma unroll
    for (int k = 0; k < COLUMNS / 8; k += 2) {
        const uint32_t a[4] = {pair_of(s[k][0], s[k][1]), pair_of(s[k][2], s[k][3]),
                               pair_of(s[k + 1][0], s[k + 1][1]),
                               pair_of(s[k + 1][2], s[k + 1][3])};
#pragma unroll
        for (int n = 0; n < HD / 8; n += 2) {
            uint32_t x[4];
            load_blocks<true>(x, b + k * 8 * (HD + PAD) + n * 8, HD + PAD);
            mma_16x8x16(o[n], a, x[0], x[1]);
            mma_16x8x16(o[n + 1], a, x[2], x[3]);
        }
    }
}

/* Scores of tokens that do not exist, or that lie later than the query, become -inf: no weight.
 * row_block, column_block: of the tile's first row and column, or NULL where all may be seen. */
template <int COLUMNS, bool ROWS_ARE_KEYS>
INLINE void hide(float s[COLUMNS / 8][4], const int32_t *row_block, const int32_t *column_block,
                 int rows, int columns) {
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int column = column_of(n) + e;
            bool outside = column >= columns;
            int32_t its = row_block && !outside ? column_block[column] : 0;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                bool later = false;
                if (row_block && row_of(i) < rows)
                    later = ROWS_ARE_KEYS ? row_block[row_of(i)] > its : its > row_block[row_of(i)];
                if (outside || later)
                    s[n][2 * i + e] = -INFINITY;
            }
        }
}

#endif
