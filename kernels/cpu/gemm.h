/* The one place that knows the BLAS: row-major single-threaded float32 GEMM, safe to call from the
 * threads of a parallel loop. */
#ifndef JEPA_KERNELS_CPU_GEMM_H
#define JEPA_KERNELS_CPU_GEMM_H

#include <stdint.h>

/* Must be called once before the first gemm: takes the library's own threads away from it. */
void gemm_start(void);
const char *gemm_name(void); /* library and kernel set, for `jepa doctor` */

/* c[m][n] (row stride ldc) = alpha op(a) op(b) + beta c.
 * a_transposed: a is [k][m], else [m][k]; b_transposed: b is [n][k], else [k][n]. */
void gemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed, const float *b,
          int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k, float alpha, float beta);

#endif
