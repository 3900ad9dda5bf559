/* Products of tiles in shared memory, in float32: the inner loops of
 * attention_float32_*.cu.
 *
 * THREADS threads lie DEEP x WIDE over a tile of ROWS = 8 RT rows (the block's own tokens) and
 * COLUMNS tokens that pass by: thread (y, x) has rows y, y + 8, ... and columns x, x + 16, ...
 *   dot        s[row][column] = Σ_d a[row][d] b[column][d]           RT x COLUMNS/16 sums a thread
 *   accumulate o[row][d]     += Σ_column p[row][column] b[column][d]      RT x HD/16 sums a thread
 * Operands are read 16 bytes at a time, and each value that is read serves RT or HD/16 products:
 * with RT = 8, 128 FMAs stand against 12 reads. The 16 threads of a row are half a warp, so p goes
 * through shared memory without a barrier of the block.
 *
 * Rows of a tile are 4 floats longer than their contents: then eight rows that eight threads read
 * at one channel lie in different banks. HD is the width of a head rounded up to 32, 64, 96 or 128;
 * channels and tokens that do not exist are 0. */
#ifndef JEPA_KERNELS_CUDA_ATTENTION_TILE_H
#define JEPA_KERNELS_CUDA_ATTENTION_TILE_H

#include "kernels/cuda/attention_place.h"

#define THREADS 128
#define DEEP    8
#define WIDE    16
#define PAD     4 /* floats */

/* A thread sums HD/16 channels of its rows: groups of neighbours, 16 times as far apart. */
#define NEIGHBOURS(hd) ((hd) % 64 ? 2 : 4)

INLINE int my_row(void) {
    return (int)threadIdx.x / WIDE;
}
INLINE int my_column(void) {
    return (int)threadIdx.x % WIDE;
}

/* to[N][HD + PAD] from `rows` rows of a.head values, `stride` apart; zeros around them. */
template <int HD, int N>
INLINE void load_tile(float *to, const float *from, int64_t stride, int rows, const Ragged &a) {
    constexpr int V = 4, CHUNKS = HD / V;
    if (a.vectors) {
#pragma unroll
        for (int k = 0; k < N * CHUNKS / THREADS; k++) {
            int i = k * THREADS + (int)threadIdx.x, row = i / CHUNKS, d = i % CHUNKS * V;
            Pack<float, V> x = {};
            if (row < rows && d < a.head)
                x = load<float, V>(from + row * stride + d);
            store<float, V>(to + row * (HD + PAD) + d, x);
        }
    } else {
        for (int i = (int)threadIdx.x; i < N * HD; i += THREADS) {
            int row = i / HD, d = i % HD;
            bool is = row < rows && d < a.head;
            to[row * (HD + PAD) + d] = is ? from[row * stride + d] : 0.0f;
        }
    }
}

/* Sums o[RT][HD/16] times `factor` to rows of a.head values, `stride` apart. */
template <int HD, int RT>
INLINE void store_rows(float *to, int64_t stride, const float o[RT][HD / WIDE],
                       const float factor[RT], int rows, const Ragged &a) {
    constexpr int W = NEIGHBOURS(HD);
#pragma unroll
    for (int i = 0; i < RT; i++) {
        int row = my_row() + i * DEEP;
        if (row >= rows)
            continue;
#pragma unroll
        for (int g = 0; g < HD / WIDE; g += W) {
            int d = g * WIDE + my_column() * W;
            Pack<float, W> y;
            for (int k = 0; k < W; k++)
                y.at[k] = o[i][g + k] * factor[i];
            if (a.vectors && d < a.head)
                store<float, W>(to + row * stride + d, y);
            else
                for (int k = 0; k < W; k++)
                    if (d + k < a.head)
                        to[row * stride + d + k] = y.at[k];
        }
    }
}

template <int RT, int N> INLINE void clear(float o[RT][N]) {
#pragma unroll
    for (int i = 0; i < RT; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
            o[i][j] = 0;
}

/* s = a bᵀ */
template <int HD, int RT, int COLUMNS>
INLINE void dot(float s[RT][COLUMNS / WIDE], const float *a, const float *b) {
    constexpr int CT = COLUMNS / WIDE, STEP = HD + PAD;
    a += my_row() * STEP;
    b += my_column() * STEP;
    clear<RT, CT>(s);
#pragma unroll 2
    for (int d = 0; d < HD; d += 4) {
        Pack<float, 4> right[CT];
#pragma unroll
        for (int j = 0; j < CT; j++)
            right[j] = load<float, 4>(b + j * WIDE * STEP + d);
#pragma unroll
        for (int i = 0; i < RT; i++) {
            Pack<float, 4> left = load<float, 4>(a + i * DEEP * STEP + d);
#pragma unroll
            for (int j = 0; j < CT; j++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    s[i][j] += left.at[e] * right[j].at[e];
        }
    }
}

/* The scores to shared memory, p[ROWS][COLUMNS + PAD], for the other threads of their rows. */
template <int RT, int COLUMNS> INLINE void share(float *p, const float s[RT][COLUMNS / WIDE]) {
    p += my_row() * (COLUMNS + PAD) + my_column();
    __syncwarp(); /* what was there has been read */
#pragma unroll
    for (int i = 0; i < RT; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS / WIDE; j++)
            p[i * DEEP * (COLUMNS + PAD) + j * WIDE] = s[i][j];
    __syncwarp();
}

/* o += p b for the first `columns` columns, rounded up to 4 */
template <int HD, int RT, int COLUMNS>
INLINE void accumulate(float o[RT][HD / WIDE], const float *p, const float *b, int columns) {
    constexpr int STEP = HD + PAD, P_STEP = COLUMNS + PAD, W = NEIGHBOURS(HD);
    p += my_row() * P_STEP;
    b += my_column() * W;
    for (int c = 0; c < columns; c += 4) {
        Pack<float, 4> left[RT];
#pragma unroll
        for (int i = 0; i < RT; i++)
            left[i] = load<float, 4>(p + i * DEEP * P_STEP + c);
#pragma unroll
        for (int e = 0; e < 4; e++)
#pragma unroll
            for (int g = 0; g < HD / WIDE; g += W) {
                Pack<float, W> right = load<float, W>(b + (c + e) * STEP + g * WIDE);
#pragma unroll
                for (int i = 0; i < RT; i++)
#pragma unroll
                    for (int k = 0; k < W; k++)
                        o[i][g + k] += left[i].at[e] * right.at[k];
            }
    }
}

/* Scores of tokens that do not exist, or that lie later than the query, become -inf: no weight.
 * row_block, column_block: of the tile's first row and column, or NULL where all may be seen. */
template <int RT, int COLUMNS, bool ROWS_ARE_KEYS>
INLINE void hide(float s[RT][COLUMNS / WIDE], const int32_t *row_block, const int32_t *column_block,
                 int rows, int columns) {
#pragma unroll
    for (int j = 0; j < COLUMNS / WIDE; j++) {
        int column = my_column() + j * WIDE;
        bool outside = column >= columns;
        int32_t mine = row_block && !outside ? column_block[column] : 0;
#pragma unroll
        for (int i = 0; i < RT; i++) {
            int row = my_row() + i * DEEP;
            bool later = false;
            if (row_block && row < rows)
                later = ROWS_ARE_KEYS ? row_block[row] > mine : mine > row_block[row];
            if (outside || later)
                s[i][j] = -INFINITY;
        }
    }
}

#endif
