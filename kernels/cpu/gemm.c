/* GEMM through OpenBLAS. Each call runs on the calling thread alone: the callers cut the work into
 * tiles of fixed size, so that no sum depends on the number of threads. */
#include "kernels/cpu/gemm.h"
#include <cblas.h>

void gemm_start(void) {
    openblas_set_num_threads(1);
}

const char *gemm_name(void) {
    return openblas_get_config();
}

void gemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed, const float *b,
          int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
    cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
                b_transposed ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}
