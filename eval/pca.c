/* Principal components: covariance by BLAS, axes by LAPACK's dsyevr. See pca.h. */
#include "eval/pca.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 256 /* rows turned to double at a time */

/* Fortran: every argument by address, and the lengths of the texts at the end. */
void dsyevr_(const char *jobz, const char *range, const char *uplo, const int *n, double *a,
             const int *lda, const double *vl, const double *vu, const int *il, const int *iu,
             const double *abstol, int *m, double *w, double *z, const int *ldz, int *isuppz,
             double *work, const int *lwork, int *iwork, const int *liwork, int *info,
             size_t jobz_n, size_t range_n, size_t uplo_n);

static int add_to_mean(double *mean, const float *rows, size_t n, int width, Error *error) {
    for (size_t i = 0; i < n; i++) {
        for (int d = 0; d < width; d++) {
            float value = rows[i * (size_t)width + (size_t)d];
            if (!isfinite(value)) {
                return error_set(error, ERROR_RUN,
                                 "principal components: row %zu, entry %d is %f, not a finite "
                                 "number; the features are damaged",
                                 i, d, (double)value);
            }
            mean[d] += value;
        }
    }
    return 0;
}

/* covariance [D][D], one triangle, += scale * sum (x - mean)(x - mean)^T */
static void add_to_covariance(double *covariance, double *chunk, const double *mean,
                              const float *rows, size_t n, int width, double scale) {
    for (size_t first = 0; first < n; first += CHUNK) {
        int count = (int)(n - first < CHUNK ? n - first : CHUNK);
        for (int i = 0; i < count; i++) {
            for (int d = 0; d < width; d++) {
                size_t at = (size_t)i * (size_t)width + (size_t)d;
                chunk[at] = rows[first * (size_t)width + at] - mean[d];
            }
        }
        cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, width, count, scale, chunk, width, 1.0,
                    covariance, width);
    }
}

/* Eigenvectors of the k largest eigenvalues; `covariance` is destroyed. */
static int solve(Pca *pca, double *covariance, Error *error) {
    int n = pca->width, first = n - pca->components + 1, found = 0, info = 0;
    int ask = -1, integers = 0;
    double none = 0.0, doubles = 0.0;
    double *values = memory_new((size_t)n, sizeof *values);
    double *vectors = memory_new((size_t)n * (size_t)pca->components, sizeof *vectors);
    int *support = memory_new(2 * (size_t)n, sizeof *support);
    dsyevr_("V", "I", "L", &n, covariance, &n, &none, &none, &first, &n, &none, &found, values,
            vectors, &n, support, &doubles, &ask, &integers, &ask, &info, 1, 1, 1);
    int work_count = (int)doubles, integer_count = integers;
    double *work = memory_new((size_t)work_count, sizeof *work);
    int *integer_work = memory_new((size_t)integer_count, sizeof *integer_work);
    if (info == 0) {
        dsyevr_("V", "I", "L", &n, covariance, &n, &none, &none, &first, &n, &none, &found, values,
                vectors, &n, support, work, &work_count, integer_work, &integer_count, &info, 1, 1,
                1);
    }
    for (int k = 0; k < found && info == 0; k++) { /* LAPACK gives ascending order */
        const double *vector = vectors + (size_t)(found - 1 - k) * (size_t)n;
        double *axis = pca->axes + (size_t)k * (size_t)n;
        int largest = 0;
        for (int d = 1; d < n; d++) {
            largest = fabs(vector[d]) > fabs(vector[largest]) ? d : largest;
        }
        double sign = vector[largest] < 0.0 ? -1.0 : 1.0;
        for (int d = 0; d < n; d++) {
            axis[d] = sign * vector[d];
        }
        pca->variance[k] = fmax(values[found - 1 - k], 0.0);
    }
    free(integer_work);
    free(work);
    free(support);
    free(vectors);
    free(values);
    if (info != 0 || found != pca->components) {
        return error_set(
            error, ERROR_RUN,
            "principal components: the eigenvalue solver of LAPACK gave up (code %d, %d "
            "of %d found)",
            info, found, pca->components);
    }
    return 0;
}

int pca_fit_joint(Pca *pca, const float *a, size_t n_a, const float *b, size_t n_b, int width,
                  int components, Error *error) {
    memset(pca, 0, sizeof *pca);
    size_t n = n_a + n_b;
    if (n == 0 || width < 1 || width > PCA_WIDTH_MAX || components < 1 || components > width) {
        return error_set(
            error, ERROR_RUN,
            "principal components: %d of %zu rows of width %d asked for; needed are one "
            "row, a width of 1 to %d, and 1 to that many components",
            components, n, width, PCA_WIDTH_MAX);
    }
    size_t wide = (size_t)width;
    pca->width = width;
    pca->components = components;
    pca->mean = memory_new(wide, sizeof *pca->mean);
    pca->axes = memory_new((size_t)components * wide, sizeof *pca->axes);
    pca->variance = memory_new((size_t)components, sizeof *pca->variance);
    if (add_to_mean(pca->mean, a, n_a, width, error) ||
        add_to_mean(pca->mean, b, n_b, width, error)) {
        return -1;
    }
    for (int d = 0; d < width; d++) {
        pca->mean[d] /= (double)n;
    }
    double *covariance = memory_new(wide * wide, sizeof *covariance);
    double *chunk = memory_new(CHUNK * wide, sizeof *chunk);
    add_to_covariance(covariance, chunk, pca->mean, a, n_a, width, 1.0 / (double)n);
    add_to_covariance(covariance, chunk, pca->mean, b, n_b, width, 1.0 / (double)n);
    for (size_t d = 0; d < wide; d++) {
        pca->total += covariance[d * wide + d];
    }
    int result = solve(pca, covariance, error);
    free(chunk);
    free(covariance);
    return result;
}

int pca_fit(Pca *pca, const float *rows, size_t n, int width, int components, Error *error) {
    return pca_fit_joint(pca, rows, n, NULL, 0, width, components, error);
}

void pca_free(Pca *pca) {
    free(pca->mean);
    free(pca->axes);
    free(pca->variance);
    memset(pca, 0, sizeof *pca);
}

void pca_project(float *out, const Pca *pca, const float *rows, size_t n) {
    size_t wide = (size_t)pca->width, k = (size_t)pca->components;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            const double *axis = pca->axes + j * wide;
            double sum = 0.0;
            for (size_t d = 0; d < wide; d++) {
                sum += (rows[i * wide + d] - pca->mean[d]) * axis[d];
            }
            out[i * k + j] = (float)sum;
        }
    }
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const float *sorted, size_t n, double share) {
    double place = share * (double)(n - 1);
    size_t below = (size_t)place;
    size_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + ((double)sorted[above] - sorted[below]) * (place - (double)below);
}

void pca_range(double *low, double *high, const float *projected, size_t n, int components) {
    float *column = memory_new(n ? n : 1, sizeof *column);
    for (int k = 0; k < components; k++) {
        low[k] = high[k] = 0.0;
        for (size_t i = 0; i < n; i++) {
            column[i] = projected[i * (size_t)components + (size_t)k];
        }
        if (n > 0) {
            qsort(column, n, sizeof *column, ascending);
            low[k] = percentile(column, n, 0.01);
            high[k] = percentile(column, n, 0.99);
        }
    }
    free(column);
}

void pca_scale(float *projected, size_t n, int components, const double *low, const double *high) {
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < components; k++) {
            float *value = &projected[i * (size_t)components + (size_t)k];
            double range = high[k] - low[k];
            double scaled = range > 0.0 ? (*value - low[k]) / range : 0.5;
            *value = (float)fmin(fmax(scaled, 0.0), 1.0);
        }
    }
}
