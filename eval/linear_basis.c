/* See eval/linear_basis.h. */
#include "eval/linear_basis.h"
#include "base/error.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RANK_TOLERANCE 1e-12 /* of the squared length of the longest row */

/* Fortran: every argument by address, and the length of the text at the end. */
void dpstrf_(const char *uplo, const int *n, double *a, const int *lda, int *pivot, int *rank,
             const double *tolerance, double *work, int *info, size_t uplo_n);

static void standardise(LinearBasis *b, const float *rows) {
    size_t width = (size_t)b->width, n = (size_t)b->n;
    double *square = memory_new(width, sizeof *square);
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < width; d++)
            b->mean[d] += rows[i * width + d] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < width; d++) {
            double away = rows[i * width + d] - b->mean[d];
            square[d] += away * away / (double)n;
        }
    for (size_t d = 0; d < width; d++)
        b->scale[d] = square[d] > 1e-20 ? 1 / sqrt(square[d]) : 0;
    free(square);
}

/* x̂[n][stride], of which D columns are written. */
static void standardised(double *x, const LinearBasis *b, const float *rows, size_t stride) {
    size_t width = (size_t)b->width;
    for (size_t i = 0; i < (size_t)b->n; i++)
        for (size_t d = 0; d < width; d++)
            x[i * stride + d] = (rows[i * width + d] - b->mean[d]) * b->scale[d];
}

/* z, the triangle and the pivot rows from x[n][D]. */
static void reduce(LinearBasis *b, const double *x) {
    int n = (int)b->n, width = b->width, info = 0;
    size_t side = (size_t)n;
    double *gram = memory_new(side * side, sizeof *gram),
           *work = memory_new(2 * side, sizeof *work);
    int *pivot = memory_new(side, sizeof *pivot);
    /* by columns the lower triangle; x by rows is its transpose by columns */
    cblas_dsyrk(CblasColMajor, CblasLower, CblasTrans, n, width, 1, x, width, 0, gram, n);
    double longest = 0;
    for (size_t i = 0; i < side; i++)
        longest = fmax(longest, gram[i * side + i]);
    double tolerance = RANK_TOLERANCE * longest;
    b->rank = 0;
    if (longest > 0)
        dpstrf_("L", &n, gram, &n, pivot, &b->rank, &tolerance, work, &info, 1);
    JEPA_ASSERT(info >= 0);
    size_t rank = (size_t)b->rank;
    b->z = memory_new(side * (rank + 1), sizeof *b->z);
    b->triangle = memory_new(rank * rank + 1, sizeof *b->triangle);
    b->pivots = memory_new(rank * (size_t)width + 1, sizeof *b->pivots);
    for (size_t i = 0; i < side; i++) {
        size_t row = longest > 0 ? (size_t)pivot[i] - 1 : i; /* numbered from 1 */
        for (size_t k = 0; k <= i && k < rank; k++)
            b->z[row * (rank + 1) + k] = gram[k * side + i];
        b->z[row * (rank + 1) + rank] = 1;
        if (i >= rank)
            continue;
        for (size_t k = 0; k <= i; k++)
            b->triangle[i * rank + k] = gram[k * side + i];
        memcpy(b->pivots + i * (size_t)width, x + row * (size_t)width,
               (size_t)width * sizeof *b->pivots);
    }
    free(gram);
    free(work);
    free(pivot);
}

void linear_basis_make(LinearBasis *b, const float *rows, int64_t n, int width) {
    *b = (LinearBasis){.n = n, .width = width, .rank = width};
    b->mean = memory_new((size_t)width, sizeof *b->mean);
    b->scale = memory_new((size_t)width, sizeof *b->scale);
    standardise(b, rows);
    if (width > n) {
        double *x = memory_new((size_t)n * (size_t)width, sizeof *x);
        standardised(x, b, rows, (size_t)width);
        reduce(b, x);
        free(x);
        return;
    }
    size_t stride = (size_t)width + 1;
    b->z = memory_new((size_t)n * stride, sizeof *b->z);
    standardised(b->z, b, rows, stride);
    for (size_t i = 0; i < (size_t)n; i++)
        b->z[i * stride + (size_t)width] = 1;
}

void linear_basis_free(LinearBasis *b) {
    free(b->mean);
    free(b->scale);
    free(b->z);
    free(b->triangle);
    free(b->pivots);
    memset(b, 0, sizeof *b);
}

void linear_basis_weights(double *weights, const LinearBasis *b, const double *solved,
                          int outputs) {
    size_t width = (size_t)b->width, rank = (size_t)b->rank, rows = (size_t)outputs;
    if (!b->pivots) {
        memcpy(weights, solved, rows * (width + 1) * sizeof *weights);
        return;
    }
    double *a = memory_new(rows * rank + 1, sizeof *a);
    for (size_t k = 0; k < rows; k++)
        memcpy(a + k * rank, solved + k * (rank + 1), rank * sizeof *a);
    if (rank) { /* a ← a L₁⁻¹, then a x̂₁ */
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, outputs,
                    b->rank, 1, b->triangle, b->rank, a, b->rank);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, outputs, b->width, b->rank, 1, a,
                    b->rank, b->pivots, b->width, 0, weights, b->width + 1);
    } else {
        memset(weights, 0, rows * (width + 1) * sizeof *weights);
    }
    for (size_t k = 0; k < rows; k++)
        weights[k * (width + 1) + width] = solved[k * (rank + 1) + rank];
    free(a);
}
