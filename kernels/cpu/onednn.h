/* oneDNN's matmul primitives, versions 2 and 3 alike: created once for each shape and thread, kept,
 * run on the calling thread. See kernels/cpu/gemm.h, which decides when they are used. */
#ifndef JEPA_KERNELS_CPU_ONEDNN_H
#define JEPA_KERNELS_CPU_ONEDNN_H

#include "kernels/cpu/gemm.h"

typedef struct OneDnn OneDnn;
typedef struct OneDnnLayout OneDnnLayout; /* how packed weights lie in memory */

int onednn_open(OneDnn **dnn, int threads, Error *error);
void onednn_close(OneDnn *dnn);
const char *onednn_name(void); /* version and instruction set; a static buffer */
/* Are there blocked kernels for this precision on this CPU? Only they gain from packing. */
bool onednn_blocked(const OneDnn *dnn, Precision precision);

/* c = op(a) op(b): a row-major float32, b transposed; on the calling thread. */
void onednn_sgemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed,
                  const float *b, int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k,
                  float alpha, float beta);

/* The layout that weights w[out][in] have for y = x wᵀ (or, backward, dx = dy w), and its size in
 * bytes; NULL where there is no such primitive. Caller frees. */
OneDnnLayout *onednn_layout(OneDnn *dnn, int64_t in, int64_t out, Precision precision,
                            bool backward, size_t *bytes);
void onednn_layout_free(OneDnnLayout *layout);
/* float32 weights into that layout. thread: number of the calling thread */
void onednn_pack(OneDnn *dnn, int thread, void *packed, const OneDnnLayout *layout, const float *w,
                 int64_t in, int64_t out, bool backward);

/* Runs a call, its second factor packed (layout and data) or plain (layout NULL: call->b). False
 * where there is no such primitive. */
bool onednn_run(OneDnn *dnn, int thread, const GemmCall *call, const OneDnnLayout *layout,
                const void *packed);

#endif
