/* Matrix products on the CPU. See kernels/cpu/gemm.h. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/parallel.h"
#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct GemmWeights {
    LinearWeights of;
    Precision precision;
    bool current;            /* what is kept belongs to the present values */
    float *rounded;          /* [out][in] as bfloat16 would hold them, where it is emulated */
    OneDnnLayout *layout[2]; /* [backward] */
    void *packed[2];
    size_t bytes[2]; /* whole pages */
};

struct Gemm {
    OneDnn *dnn;
    int threads;
    int forced; /* gemm_force_primitives */
    GemmWeights *weights;
    int count, capacity;
};

void gemm_one_thread(void) {
    openblas_set_num_threads(1);
    omp_set_num_threads(1); /* for the libraries; our own regions say how many they want */
}

/* OpenBLAS has one number for the whole process, and so has this. */
static pthread_mutex_t callers_lock = PTHREAD_MUTEX_INITIALIZER;
static int callers, blas_before;

int gemm_enter(void) {
    int openmp = omp_get_max_threads();
    pthread_mutex_lock(&callers_lock);
    if (!callers++)
        blas_before = openblas_get_num_threads();
    gemm_one_thread();
    pthread_mutex_unlock(&callers_lock);
    return openmp;
}

void gemm_leave(int openmp) {
    pthread_mutex_lock(&callers_lock);
    if (!--callers)
        openblas_set_num_threads(blas_before);
    pthread_mutex_unlock(&callers_lock);
    omp_set_num_threads(openmp); /* last: an OpenBLAS that is built on OpenMP sets it too */
}

int gemm_open(Gemm **out, int threads, Error *error) {
    gemm_one_thread();
    Gemm *gemm = memory_new(1, sizeof *gemm);
    gemm->threads = threads;
    gemm->forced = -1;
    if (onednn_open(&gemm->dnn, threads, error)) {
        free(gemm);
        return -1;
    }
    *out = gemm;
    return 0;
}

static void drop_weights(GemmWeights *w) {
    free(w->rounded);
    for (int i = 0; i < 2; i++) {
        onednn_layout_free(w->layout[i]);
        free(w->packed[i]);
    }
}

void gemm_close(Gemm *gemm) {
    if (!gemm)
        return;
    for (int i = 0; i < gemm->count; i++)
        drop_weights(&gemm->weights[i]);
    free(gemm->weights);
    onednn_close(gemm->dnn);
    free(gemm);
}

const char *gemm_name(void) {
    static char name[200];
    snprintf(name, sizeof name, "%s, %s", onednn_name(), openblas_get_config());
    return name;
}

bool gemm_has_bfloat16(const Gemm *gemm) {
    return onednn_blocked(gemm->dnn, PRECISION_BFLOAT16);
}

void gemm_force_primitives(Gemm *gemm, int use) {
    gemm->forced = use;
}

static bool uses_primitives(const Gemm *gemm, Precision precision) {
    return gemm->forced < 0 ? onednn_blocked(gemm->dnn, precision)
                            : gemm->forced && precision == PRECISION_FLOAT32;
}

void gemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed, const float *b,
          int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
    if (m < 1 || n < 1)
        return;
    if (b_transposed && !a_transposed)
        onednn_sgemm(c, ldc, a, lda, a_transposed, b, ldb, b_transposed, m, n, k, alpha, beta);
    else
        cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
                    b_transposed ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k,
                    alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

/* c = residual + bias, whatever of them there is; then the product is added. */
static bool begin_sum(float *c, int64_t stride, const float *residual, const float *bias, int64_t m,
                      int64_t n) {
    for (int64_t r = 0; r < m && (residual || bias); r++) {
        float *row = c + r * stride;
        const float *from = residual ? residual + r * stride : NULL;
        if (from && bias)
            for (int64_t o = 0; o < n; o++)
                row[o] = from[o] + bias[o];
        else if (bias)
            memcpy(row, bias, (size_t)n * sizeof *row);
        else if (from != row)
            memcpy(row, from, (size_t)n * sizeof *row);
    }
    return residual || bias;
}

static void run_float(const GemmCall *call, float *c, int64_t c_stride, const GemmMatrix *a,
                      const GemmMatrix *b) {
    bool sum = begin_sum(c, c_stride, call->residual, call->bias, call->m, call->n);
    gemm(c, c_stride, a->at, a->stride, a->transposed, b->at, b->stride, b->transposed, call->m,
         call->n, call->k, 1, sum);
    for (int64_t r = 0; r < call->m && call->gelu; r++)
        cpu_gelu_tile(c + r * c_stride, c + r * c_stride, call->n, PRECISION_FLOAT32);
}

static float *emulation_memory(int64_t count) {
    float *memory = malloc((size_t)(count ? count : 1) * sizeof *memory);
    if (!memory) {
        fprintf(stderr, "not enough memory to emulate bfloat16\n");
        abort();
    }
    return memory;
}

static float *widened(const GemmMatrix *x, int64_t rows, int64_t columns, GemmMatrix *out) {
    int64_t height = x->transposed ? columns : rows, width = x->transposed ? rows : columns;
    float *wide = emulation_memory(height * width);
    for (int64_t r = 0; r < height; r++)
        for (int64_t i = 0; i < width; i++)
            wide[r * width + i] = bf16_to_float(((const uint16_t *)x->at)[r * x->stride + i]);
    *out = (GemmMatrix){wide, width, x->transposed};
    return wide;
}

/* Products of bfloat16 values are exact in float32, so only the order of the sums differs from what
 * the instructions do. */
static void run_emulated(const GemmCall *call) {
    GemmMatrix a, b;
    float *wide_a = widened(&call->a, call->m, call->k, &a), *wide_b = NULL;
    if (call->weights)
        b = (GemmMatrix){call->weights->rounded, call->weights->of.in, !call->backward};
    else
        wide_b = widened(&call->b, call->k, call->n, &b);
    if (call->c_precision == PRECISION_FLOAT32) {
        run_float(call, call->c, call->c_stride, &a, &b);
    } else {
        float *c = emulation_memory(call->m * call->n);
        run_float(call, c, call->n, &a, &b);
        for (int64_t r = 0; r < call->m; r++)
            for (int64_t i = 0; i < call->n; i++)
                ((uint16_t *)call->c)[r * call->c_stride + i] = bf16_from_float(c[r * call->n + i]);
        free(c);
    }
    free(wide_a);
    free(wide_b);
}

void gemm_run(Gemm *gemm, const GemmCall *call) {
    JEPA_ASSERT(!call->residual || call->c_precision == PRECISION_FLOAT32);
    JEPA_ASSERT(!call->gelu || !call->residual);
    if (call->m < 1)
        return;
    bool primitives = uses_primitives(gemm, call->precision);
    const GemmWeights *w = call->weights;
    int side = call->backward;
    if (primitives && onednn_run(gemm->dnn, omp_get_thread_num(), call, w ? w->layout[side] : NULL,
                                 w ? w->packed[side] : NULL))
        return;
    JEPA_ASSERT(!w || w->rounded); /* packed weights have their primitive */
    if (call->precision == PRECISION_FLOAT32)
        run_float(call, call->c, call->c_stride, &call->a, &call->b);
    else
        run_emulated(call);
}

/* ---- weights ---- */

static size_t plan_weights(Gemm *gemm, GemmWeights *w, Precision precision) {
    const LinearWeights *of = &w->of;
    size_t total = 0;
    if (uses_primitives(gemm, precision))
        for (int side = 0; side < (of->backward ? 2 : 1); side++) {
            size_t bytes;
            w->layout[side] = onednn_layout(gemm->dnn, of->in, of->out, precision, side, &bytes);
            w->bytes[side] = (bytes + 4095) / 4096 * 4096;
            total += w->bytes[side];
        }
    else if (precision == PRECISION_BFLOAT16)
        total = (size_t)(of->in * of->out) * sizeof(float);
    return total;
}

size_t gemm_weights_bytes(Gemm *gemm, const LinearWeights *weights, Precision precision) {
    GemmWeights probe = {.of = *weights, .precision = precision};
    size_t bytes = plan_weights(gemm, &probe, precision);
    drop_weights(&probe);
    return bytes;
}

int gemm_weights_add(Gemm *gemm, const LinearWeights *weights, Precision precision, Error *error) {
    GemmWeights w = {.of = *weights, .precision = precision};
    if (!plan_weights(gemm, &w, precision))
        return 0;
    bool enough = true;
    for (int side = 0; side < 2; side++)
        if (w.layout[side]) {
            w.packed[side] = aligned_alloc(4096, w.bytes[side]);
            enough = enough && w.packed[side];
        }
    if (!w.layout[0] && !w.layout[1]) {
        w.rounded = malloc((size_t)(weights->in * weights->out) * sizeof *w.rounded);
        enough = enough && w.rounded;
    }
    if (!enough) {
        drop_weights(&w);
        return error_set(error, ERROR_RUN, "not enough memory for packed weights: a smaller model");
    }
    if (gemm->count == gemm->capacity) {
        gemm->capacity = gemm->capacity ? 2 * gemm->capacity : 64;
        gemm->weights = memory_grow(gemm->weights, (size_t)gemm->capacity, sizeof w);
    }
    gemm->weights[gemm->count++] = w;
    return 0;
}

static bool within(const GemmWeights *w, const float *from, const float *to) {
    return w->of.w >= from && w->of.w < to;
}

void gemm_weights_changed(Gemm *gemm, const float *from, const float *to) {
    for (int i = 0; i < gemm->count; i++)
        if (within(&gemm->weights[i], from, to))
            gemm->weights[i].current = false;
}

void gemm_weights_remove(Gemm *gemm, const float *from, const float *to) {
    int kept = 0;
    for (int i = 0; i < gemm->count; i++)
        if (within(&gemm->weights[i], from, to))
            drop_weights(&gemm->weights[i]);
        else
            gemm->weights[kept++] = gemm->weights[i];
    gemm->count = kept;
}

static void pack(Gemm *gemm, GemmWeights *w) {
    const LinearWeights *of = &w->of;
    for (int64_t i = 0; i < of->in * of->out && w->rounded; i++)
        w->rounded[i] = bf16_to_float(bf16_from_float(of->w[i]));
    for (int side = 0; side < 2; side++)
        if (w->layout[side])
            onednn_pack(gemm->dnn, omp_get_thread_num(), w->packed[side], w->layout[side], of->w,
                        of->in, of->out, side);
    w->current = true;
}

GemmWeights *gemm_weights(Gemm *gemm, const float *w, Precision precision, bool side) {
    GemmWeights *found = NULL;
    for (int i = 0; i < gemm->count && !found; i++)
        if (gemm->weights[i].of.w == w)
            found = &gemm->weights[i];
    /* kept for bfloat16 and read by the exact device, or not kept for this side: as if there were
     * none */
    if (!found || found->precision != precision || (!found->rounded && !found->layout[side]))
        return NULL;
    if (!found->current) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(gemm->threads)
        for (int i = 0; i < gemm->count; i++)
            if (!gemm->weights[i].current)
                pack(gemm, &gemm->weights[i]);
    }
    return found;
}
