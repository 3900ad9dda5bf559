/* Matrix products on the CPU, on the calling thread alone: the operations cut their work into tiles
 * of fixed size, so that no sum depends on the number of threads.
 *
 * Which library computes a product is decided here, once, from what the machine has (measured in
 * experiments/results/):
 *   - oneDNN's blocked kernels, with weights packed for them, where it has any for this CPU:
 * float32 and bfloat16 on AVX-512 (kernels/cpu/onednn.c);
 *   - otherwise float32 through oneDNN's sgemm where the second factor is transposed, and through
 *     OpenBLAS where it is not: each is ahead there on AVX2;
 *   - bfloat16 without instructions for it: float32 products of the rounded values, for tests.
 * Without oneDNN (kernels/cpu/onednn_absent.c) everything is OpenBLAS's. */
#ifndef JEPA_KERNELS_CPU_GEMM_H
#define JEPA_KERNELS_CPU_GEMM_H

#include "base/error.h"
#include "kernels/activation.h"
#include "kernels/linear.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct Gemm Gemm;
typedef struct GemmWeights GemmWeights;

/* Libraries on the host start no threads of their own, whatever device computes. */
void gemm_one_thread(void);
/* The same around a call from a program that is not ours, from any of its threads: gemm_enter gives
 * the number of OpenMP threads that gemm_leave takes back; OpenBLAS's, which is the whole
 * process's, is put back by the last caller to leave. */
int gemm_enter(void);
void gemm_leave(int openmp);
int gemm_open(Gemm **gemm, int threads, Error *error);
void gemm_close(Gemm *gemm);
const char *gemm_name(void);          /* libraries and kernel set, for `jepa doctor` */
bool gemm_has_bfloat16(const Gemm *); /* instructions for it */
/* For tests: 0 the plain path, 1 oneDNN's primitives whatever they are; -1 as chosen. */
void gemm_force_primitives(Gemm *gemm, int use);

typedef struct GemmMatrix {
    const void *at;
    int64_t stride; /* elements from one row, as it lies in memory, to the next */
    bool transposed;
} GemmMatrix;

/* c[m][n] = residual + op(a)[m][k] op(b)[k][n] + bias. a and b have `precision`; a transposed
 * matrix lies in memory as [k][m] or [n][k]. */
typedef struct GemmCall {
    void *c;
    int64_t c_stride;
    Precision c_precision;
    Precision precision;
    GemmMatrix a, b;
    GemmWeights *weights;  /* instead of b, from gemm_weights; or NULL */
    bool backward;         /* how they are read: op(b) = w, otherwise its transpose */
    const float *bias;     /* [n]; or NULL */
    const float *residual; /* [m][n] with c's stride, may be c; or NULL. c is float32 then */
    bool gelu;             /* of the sum; bias without residual only */
    int64_t m, n, k;
} GemmCall;

void gemm_run(Gemm *gemm, const GemmCall *call);

/* The plain float32 product c = alpha op(a) op(b) + beta c, strides in elements. */
void gemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed, const float *b,
          int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k, float alpha, float beta);

/* Weights that are kept packed, or rounded: kernels/linear.h. */
size_t gemm_weights_bytes(Gemm *gemm, const LinearWeights *weights, Precision precision);
int gemm_weights_add(Gemm *gemm, const LinearWeights *weights, Precision precision, Error *error);
void gemm_weights_changed(Gemm *gemm, const float *from, const float *to);
void gemm_weights_remove(Gemm *gemm, const float *from, const float *to);
/* Those of w for op(b) = wᵀ (or backward: w), packed anew with all others that have changed; NULL:
 * none are kept. Not from within a parallel region. */
GemmWeights *gemm_weights(Gemm *gemm, const float *w, Precision precision, bool backward);

#endif
