/* Instead of kernels/cpu/onednn.c where there is no oneDNN (CMake: JEPA_ONEDNN): there are no
 * blocked kernels, nothing is packed, and every product is OpenBLAS's. bfloat16 is emulated. */
#include "kernels/cpu/onednn.h"
#include <cblas.h>

int onednn_open(OneDnn **dnn, int threads, Error *error) {
    (void)threads, (void)error;
    *dnn = NULL;
    return 0;
}

void onednn_close(OneDnn *dnn) {
    (void)dnn;
}

const char *onednn_name(void) {
    return "no oneDNN";
}

bool onednn_blocked(const OneDnn *dnn, Precision precision) {
    (void)dnn, (void)precision;
    return false;
}

void onednn_sgemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed,
                  const float *b, int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k,
                  float alpha, float beta) {
    cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
                b_transposed ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

OneDnnLayout *onednn_layout(OneDnn *dnn, int64_t in, int64_t out, Precision precision,
                            bool backward, size_t *bytes) {
    (void)dnn, (void)in, (void)out, (void)precision, (void)backward;
    *bytes = 0;
    return NULL;
}

void onednn_layout_free(OneDnnLayout *layout) {
    (void)layout;
}

void onednn_pack(OneDnn *dnn, int thread, void *packed, const OneDnnLayout *layout, const float *w,
                 int64_t in, int64_t out, bool backward) {
    (void)dnn, (void)thread, (void)packed, (void)layout, (void)w, (void)in, (void)out;
    (void)backward;
}

bool onednn_run(OneDnn *dnn, int thread, const GemmCall *call, const OneDnnLayout *layout,
                const void *packed) {
    (void)dnn, (void)thread, (void)call, (void)layout, (void)packed;
    return false;
}
