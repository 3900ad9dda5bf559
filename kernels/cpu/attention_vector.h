/* Vectors, the exponential and the matrix products of the CPU attention, for one instruction set.
 *
 * Included once by each attention_<set>.c, which defines first
 *   SET            the name that its functions get: attention_forward_<SET>, ...
 *   VECTOR_BYTES   16, 32 or 64
 *   BLOCK_ROWS     rows of a register block, 4 or 8
 *   PAIRS          1: the products take pairs of bfloat16, 0: float32
 *   QUICK_TO_BUILD 1: loops are not unrolled (vectors of 64 bytes in portable C)
 *
 * A product is C[i][j] = Σ_k A[i][k] B[k][j]. A register block is BLOCK_ROWS x up to BLOCK_VECTORS
 * vectors of C: a step broadcasts BLOCK_ROWS entries of A and loads a row of B. With 16 registers
 * (AVX2) 4 x 3 vectors hold 12 sums, 3 vectors of B and an entry of A; 12 sums are enough to hide
 * the latency of two FMA pipes of 4 cycles, and 7 loads feed 12 FMAs. With 32 registers (AVX-512)
 * it is 8 x 3; 4 x 3 for pairs, which compilers spill otherwise. See Goto and van de Geijn, Anatomy
 * of high-performance matrix multiplication, 2008.
 *
 * Operands are words of 32 bits: a float, or two bfloat16 that are neighbours along k, the earlier
 * one in the lower half. So a sum over n terms has WORDS(n) steps, and everything but one operation
 * is the same for both. */
#ifndef JEPA_KERNELS_CPU_ATTENTION_VECTOR_H
#define JEPA_KERNELS_CPU_ATTENTION_VECTOR_H

#include "kernels/cpu/attention.h"
#include "kernels/cpu/bf16.h"
#include <string.h>
/* The instructions, for the variant that is named after them alone, whatever the compiler allows.
 */
#if PAIRS && !QUICK_TO_BUILD && defined(__AVX512BF16__)
#define NATIVE_PAIRS 1
#include <immintrin.h>
#else
#define NATIVE_PAIRS 0
#endif

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions only */

#define LANES         (VECTOR_BYTES / 4)
#define BLOCK_VECTORS 3
#if QUICK_TO_BUILD || defined(__SANITIZE_ADDRESS__) /* minutes a file otherwise */
#define UNROLL(times)
#else
#define UNROLL(times)  UNROLL_(GCC unroll times)
#define UNROLL_(words) _Pragma(#words)
#endif
/* A loop over registers: must unroll. */
#define EACH(i, count) UNROLL(8) for (int i = 0; i < (count); i++)

typedef float Vector __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));

INLINE Vector load(const void *from) {
    return *(const Vector *)from;
}

INLINE void store(void *to, Vector x) {
    *(Vector *)to = x;
}

INLINE Vector splat(float x) {
    return x - (Vector){0};
}

/* mask ? a : b, where a comparison made the mask; C has no such operator for vectors */
INLINE Vector choose(Integers mask, Vector a, Vector b) {
    return (Vector)(((Integers)a & mask) | ((Integers)b & ~mask));
}

INLINE Vector maximum(Vector a, Vector b) {
    return choose(a > b, a, b);
}

/* 2^x for x <= 127, to 1.2e-7 relative from -126 on; below that to 2^-126, exactly 0 for x <= -127,
 * NaN for NaN.
 * x = n + r, |r| <= 1/2; 2^r by a polynomial through Chebyshev points (error 1e-8) that is exactly
 * 1 at 0; 2^n by adding n to the exponent, which for x = -127 leaves nothing. */
INLINE Vector exp2_vector(Vector x) {
    const float shift = 12582912.0f; /* 1.5 · 2^23: the low bits of the sum are those of n */
    x = choose(x < -127.0f, splat(-127.0f), x);
    Vector rounded = x + shift;
    Vector r = x - (rounded - shift);
    Vector p = r * 1.54531634e-4f + 1.33908633e-3f;
    p = p * r + 9.61808302e-3f;
    p = p * r + 5.55035695e-2f;
    p = p * r + 2.40226507e-1f;
    p = p * r + 6.93147182e-1f;
    p = p * r + 1.0f;
    return (Vector)((Bits)p + ((Bits)rounded << 23));
}

/* The bfloat16 nearest to each entry, ties to even. */
INLINE Halves to_halves(Vector x) {
#if NATIVE_PAIRS
    return (Halves)_mm512_cvtneps_pbh((__m512)x);
#else
    Bits bits = (Bits)x, nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    Bits nan = (Bits)(x != x);
    return __builtin_convertvector((nearest & ~nan) | ((bits >> 16 | 0x40u) & nan), Halves);
#endif
}

INLINE Vector from_halves(Halves x) {
    return (Vector)(__builtin_convertvector(x, Bits) << 16);
}

#if PAIRS
typedef uint32_t Word __attribute__((may_alias));
typedef Bits Words;
#define WORDS(terms) (((terms) + 1) / 2)

#if NATIVE_PAIRS
INLINE Vector multiply_add(Vector sum, Word a, Words b) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}
#else /* the same in portable C, for tests: slow, and quick to compile */
static __attribute__((noinline)) Vector multiply_add(Vector sum, Word a, Words b) {
    float low, high;
    uint32_t bits = a << 16;
    memcpy(&low, &bits, sizeof low);
    bits = a & 0xffff0000u;
    memcpy(&high, &bits, sizeof high);
    return sum + low * (Vector)(b << 16) + high * (Vector)(b & 0xffff0000u);
}
#endif
#else
typedef float Word __attribute__((may_alias));
typedef Vector Words;
#define WORDS(terms) (terms)

INLINE Vector multiply_add(Vector sum, Word a, Words b) {
    return sum + a * b;
}
#endif

/* ---- products ---- */

/* Entry (i, k) of the left operand is at[i * row + k * step]. */
typedef struct Left {
    const Word *at;
    int64_t row, step;
} Left;

/* Where sums begin: at 0, at what is there, at what is there times a factor for each column. */
typedef enum Begin { AT_ZERO, AT_SUM, AT_SCALED_SUM } Begin;

INLINE void register_block(float *c, int64_t ldc, Left a, const Word *b, int64_t ldb, int64_t steps,
                           const float *factor, Begin begin, int rows, int vectors) {
    Vector sum[BLOCK_ROWS][BLOCK_VECTORS];
    EACH(i, rows) {
        EACH(j, vectors) {
            sum[i][j] = begin == AT_ZERO ? (Vector){0} : load(c + i * ldc + j * LANES);
            if (begin == AT_SCALED_SUM)
                sum[i][j] *= load(factor + j * LANES);
        }
    }
    UNROLL(4)
    for (int64_t k = 0; k < steps; k++) {
        Words row[BLOCK_VECTORS];
        EACH(j, vectors) {
            row[j] = *(const Words *)(const void *)(b + k * ldb + j * LANES);
        }
        EACH(i, rows) {
            Word entry = a.at[i * a.row + k * a.step];
            EACH(j, vectors) {
                sum[i][j] = multiply_add(sum[i][j], entry, row[j]);
            }
        }
    }
    EACH(i, rows) {
        EACH(j, vectors) {
            store(c + i * ldc + j * LANES, sum[i][j]);
        }
    }
}

/* All rows of C, `vectors` vectors wide. */
INLINE void column_of_blocks(float *c, int64_t ldc, Left a, const Word *b, int64_t ldb,
                             int64_t rows, int64_t steps, const float *factor, Begin begin,
                             int vectors) {
    int64_t i = 0;
#define ROWS(n)                                                                                    \
    register_block(c + i * ldc, ldc, (Left){a.at + i * a.row, a.row, a.step}, b, ldb, steps,       \
                   factor, begin, n, vectors);                                                     \
    i += n
    while (i + BLOCK_ROWS <= rows) {
        ROWS(BLOCK_ROWS);
    }
#if BLOCK_ROWS > 4
    if (rows - i >= 4) {
        ROWS(4);
    }
#endif
    if (rows - i >= 2) {
        ROWS(2);
    }
    if (rows - i >= 1) {
        ROWS(1);
    }
#undef ROWS
}

/* Vectors of the next column of blocks, when so many are left: no column of one beside one of
 * three, because one vector has too few sums to hide the latency. */
INLINE int64_t column_vectors(int64_t left) {
    return left == 4 ? 2 : left < BLOCK_VECTORS ? left : BLOCK_VECTORS;
}

INLINE void product(float *c, int64_t ldc, Left a, const Word *b, int64_t ldb, int64_t rows,
                    int64_t vectors, int64_t steps, const float *factor, Begin begin) {
    for (int64_t v = 0, now; v < vectors; v += now) {
        now = column_vectors(vectors - v);
        float *to = c + v * LANES;
        const Word *from = b + v * LANES;
        const float *by = factor ? factor + v * LANES : NULL;
        if (now == 3)
            column_of_blocks(to, ldc, a, from, ldb, rows, steps, by, begin, 3);
        else if (now == 2)
            column_of_blocks(to, ldc, a, from, ldb, rows, steps, by, begin, 2);
        else
            column_of_blocks(to, ldc, a, from, ldb, rows, steps, by, begin, 1);
    }
}

/* The four that attention needs; rows of A contiguous (a row every `lda` words), or columns. */

/* C = A B */
static __attribute__((noinline)) void product_of_rows(float *c, int64_t ldc, const Word *a,
                                                      int64_t lda, const Word *b, int64_t ldb,
                                                      int64_t rows, int64_t vectors,
                                                      int64_t steps) {
    product(c, ldc, (Left){a, lda, 1}, b, ldb, rows, vectors, steps, NULL, AT_ZERO);
}

/* C += A B */
static __attribute__((noinline)) void add_product_of_rows(float *c, int64_t ldc, const Word *a,
                                                          int64_t lda, const Word *b, int64_t ldb,
                                                          int64_t rows, int64_t vectors,
                                                          int64_t steps) {
    product(c, ldc, (Left){a, lda, 1}, b, ldb, rows, vectors, steps, NULL, AT_SUM);
}

/* C += Aᵀ B with a[k][i] */
static __attribute__((noinline)) void add_product_of_columns(float *c, int64_t ldc, const Word *a,
                                                             int64_t lda, const Word *b,
                                                             int64_t ldb, int64_t rows,
                                                             int64_t vectors, int64_t steps) {
    product(c, ldc, (Left){a, 1, lda}, b, ldb, rows, vectors, steps, NULL, AT_SUM);
}

/* C = C diag(factor) + Aᵀ B with a[k][i] */
static __attribute__((noinline)) void
add_product_of_columns_scaled(float *c, int64_t ldc, const Word *a, int64_t lda, const Word *b,
                              int64_t ldb, int64_t rows, int64_t vectors, int64_t steps,
                              const float *factor) {
    product(c, ldc, (Left){a, 1, lda}, b, ldb, rows, vectors, steps, factor, AT_SCALED_SUM);
}

#endif
