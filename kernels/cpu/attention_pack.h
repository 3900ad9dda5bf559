/* Packing for the CPU attention: activations to the words that the products read, and back.
 * See attention_vector.h for words; rows of scratch memory are attention_row(columns) words apart,
 * and what lies beside and below the values up to a multiple of 16 is zero. */
#ifndef JEPA_KERNELS_CPU_ATTENTION_PACK_H
#define JEPA_KERNELS_CPU_ATTENTION_PACK_H

#include "kernels/cpu/attention_vector.h"
#include <string.h>

#define ROWS_AHEAD 8 /* rows of a head lie too far apart for the hardware to see the next one */

INLINE void fetch_row(const void *row, int64_t bytes, int write) {
    for (int64_t i = 0; i < bytes; i += 64)
        if (write)
            __builtin_prefetch((const char *)row + i, 1);
        else
            __builtin_prefetch((const char *)row + i);
}

/* to[rows][columns] float32 */
static void pack_floats(float *to, int64_t row, const Activation *from, int64_t stride,
                        int64_t rows, int64_t columns, Precision precision) {
    int64_t whole = columns / LANES * LANES, padded = attention_round_up(columns, 16);
    for (int64_t i = 0; i < rows; i++, to += row) {
        if (precision == PRECISION_FLOAT32) {
            const float *x = (const float *)from + i * stride;
            fetch_row(x + (i + ROWS_AHEAD < rows ? ROWS_AHEAD * stride : 0), columns * 4, 0);
            for (int64_t j = 0; j < whole; j += LANES)
                store(to + j, load(x + j));
            for (int64_t j = whole; j < columns; j++)
                to[j] = x[j];
        } else {
            const uint16_t *x = (const uint16_t *)from + i * stride;
            fetch_row(x + (i + ROWS_AHEAD < rows ? ROWS_AHEAD * stride : 0), columns * 2, 0);
            for (int64_t j = 0; j < whole; j += LANES)
                store(to + j, from_halves(*(const Halves *)(x + j)));
            for (int64_t j = whole; j < columns; j++)
                to[j] = bf16_to_float(x[j]);
        }
        for (int64_t j = columns; j < padded; j++)
            to[j] = 0;
    }
    for (int64_t i = rows; i < attention_round_up(rows, 16); i++, to += row)
        memset(to, 0, (size_t)padded * sizeof *to);
}

#if PAIRS
/* to[rows][WORDS(columns)]: pairs along a row */
static void pack_rows(Word *to, int64_t row, const Activation *from, int64_t stride, int64_t rows,
                      int64_t columns, Precision precision) {
    (void)precision;
    size_t bytes = (size_t)columns * 2, padded = (size_t)attention_round_up(columns, 32) * 2;
    for (int64_t i = 0; i < attention_round_up(rows, 16); i++, to += row) {
        size_t filled = i < rows ? bytes : 0;
        memcpy(to, (const uint16_t *)from + (i < rows ? i : 0) * stride, filled);
        memset((char *)to + filled, 0, padded - filled);
    }
}

/* to[WORDS(rows)][columns]: pairs along a column */
static void pack_columns(Word *to, int64_t row, const Activation *from, int64_t stride,
                         int64_t rows, int64_t columns, Precision precision) {
    (void)precision;
    int64_t whole = columns / LANES * LANES, padded = attention_round_up(columns, 16);
    for (int64_t i = 0; i < rows; i += 2, to += row) {
        const uint16_t *x = (const uint16_t *)from + i * stride;
        const uint16_t *y = i + 1 < rows ? x + stride : NULL;
        for (int64_t j = 0; j < whole; j += LANES) {
            Bits low = __builtin_convertvector(*(const Halves *)(x + j), Bits);
            Bits high = y ? __builtin_convertvector(*(const Halves *)(y + j), Bits) : (Bits){0};
            *(Bits *)(to + j) = low | high << 16;
        }
        for (int64_t j = whole; j < columns; j++)
            to[j] = x[j] | (uint32_t)(y ? y[j] : 0) << 16;
        for (int64_t j = columns; j < padded; j++)
            to[j] = 0;
    }
}
#else
/* A word is a value: rows and columns have one form. */
#define pack_rows    pack_floats
#define pack_columns pack_floats
#endif

typedef uint32_t Four __attribute__((vector_size(16), aligned(4), may_alias));
#ifdef __clang__
#define FOUR(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define FOUR(a, b, i, j, k, l) __builtin_shuffle(a, b, (Four){i, j, k, l})
#endif

/* to[columns][rows] = from[rows][columns]ᵀ, 4 x 4 words at a time: both counts are rounded up. */
static void transpose(void *to_, int64_t ldt, const void *from_, int64_t ldf, int64_t rows,
                      int64_t columns) {
    char *to = to_;
    const char *from = from_;
    for (int64_t i = 0; i < rows; i += 4)
        for (int64_t j = 0; j < columns; j += 4) {
            const char *f = from + (i * ldf + j) * 4;
            Four a = *(const Four *)(const void *)f, b = *(const Four *)(const void *)(f + ldf * 4);
            Four c = *(const Four *)(const void *)(f + ldf * 8);
            Four d = *(const Four *)(const void *)(f + ldf * 12);
            Four ab = FOUR(a, b, 0, 4, 1, 5), cd = FOUR(c, d, 0, 4, 1, 5);
            Four AB = FOUR(a, b, 2, 6, 3, 7), CD = FOUR(c, d, 2, 6, 3, 7);
            char *t = to + (j * ldt + i) * 4;
            *(Four *)(void *)t = FOUR(ab, cd, 0, 1, 4, 5);
            *(Four *)(void *)(t + ldt * 4) = FOUR(ab, cd, 2, 3, 6, 7);
            *(Four *)(void *)(t + ldt * 8) = FOUR(AB, CD, 0, 1, 4, 5);
            *(Four *)(void *)(t + ldt * 12) = FOUR(AB, CD, 2, 3, 6, 7);
        }
}

/* to[rows][columns] = scale * from */
static void unpack(Activation *to, int64_t stride, const float *from, int64_t row, int64_t rows,
                   int64_t columns, float scale, Precision precision) {
    int64_t whole = columns / LANES * LANES;
    for (int64_t i = 0; i < rows; i++, from += row) {
        if (precision == PRECISION_FLOAT32) {
            float *y = (float *)to + i * stride;
            fetch_row(y + (i + ROWS_AHEAD < rows ? ROWS_AHEAD * stride : 0), columns * 4, 1);
            for (int64_t j = 0; j < whole; j += LANES)
                store(y + j, load(from + j) * scale);
            for (int64_t j = whole; j < columns; j++)
                y[j] = from[j] * scale;
        } else {
            uint16_t *y = (uint16_t *)to + i * stride;
            fetch_row(y + (i + ROWS_AHEAD < rows ? ROWS_AHEAD * stride : 0), columns * 2, 1);
            for (int64_t j = 0; j < whole; j += LANES)
                *(Halves *)(y + j) = to_halves(load(from + j) * scale);
            for (int64_t j = whole; j < columns; j++)
                y[j] = to_halves(splat(from[j] * scale))[0];
        }
    }
}

#endif
