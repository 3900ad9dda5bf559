/* Spectra of features. See eval/spectrum.h. */
#include "eval/spectrum.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>

/* BLAS and LAPACK, column by column: rows[n][D] is their D x n. */
void openblas_set_num_threads(int threads);
void dsyrk_(const char *uplo, const char *trans, const int *n, const int *k, const double *alpha,
            const double *a, const int *lda, const double *beta, double *c, const int *ldc,
            size_t uplo_length, size_t trans_length);
void dtrsm_(const char *side, const char *uplo, const char *trans, const char *diag, const int *m,
            const int *n, const double *alpha, const double *a, const int *lda, double *b,
            const int *ldb, size_t side_length, size_t uplo_length, size_t trans_length,
            size_t diag_length);
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
             size_t uplo_length);
void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
            double *work, const int *lwork, int *info, size_t jobz_length, size_t uplo_length);

/* upper[size][size] = scale Σ x xᵀ (by columns), of `count` vectors of `size` numbers each. */
static void products(double *upper, const double *x, int size, int count, double scale) {
    const double zero = 0;
    openblas_set_num_threads(1);
    dsyrk_("U", "N", &size, &count, &scale, x, &size, &zero, upper, &size, 1, 1);
}

/* Eigenvalues of a symmetric matrix, which is overwritten; values[size], largest first. */
static int eigenvalues(double *values, double *upper, int size) {
    int lwork = 34 * size, info = 0; /* LAPACK's block size of 32 and two */
    double *work = memory_new((size_t)lwork, sizeof *work);
    dsyev_("N", "U", &size, upper, &size, values, work, &lwork, &info, 1, 1);
    free(work);
    for (int i = 0, j = size - 1; i < j; i++, j--) {
        double value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
    for (int i = 0; i < size; i++)
        values[i] = fmax(0, values[i]);
    return info ? -1 : 0;
}

static bool all_finite(const float *rows, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(rows[i]))
            return false;
    return true;
}

int spectrum(double *values, const float *rows, int64_t n, int width, bool centred) {
    size_t d = (size_t)width;
    JEPA_ASSERT(n > 0 && n <= INT32_MAX && width > 0);
    if (!all_finite(rows, n * width))
        return -1;
    double *mean = memory_new(d, sizeof *mean), *x = memory_new((size_t)n * d, sizeof *x),
           *upper = memory_new(d * d, sizeof *upper);
    for (int64_t i = 0; i < n && centred; i++)
        for (size_t k = 0; k < d; k++)
            mean[k] += rows[(size_t)i * d + k];
    for (size_t k = 0; k < d; k++)
        mean[k] /= (double)n;
    for (int64_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            x[(size_t)i * d + k] = rows[(size_t)i * d + k] - mean[k];
    products(upper, x, width, (int)n, centred ? 1.0 / (double)n : 1);
    int result = eigenvalues(values, upper, width);
    free(mean);
    free(x);
    free(upper);
    return result;
}

double spectrum_rankme(const double *values, int width) {
    double sum = 0, entropy = 0;
    for (int k = 0; k < width; k++)
        sum += sqrt(values[k]);
    for (int k = 0; k < width && sum > 0; k++) {
        double p = sqrt(values[k]) / sum + RANKME_EPSILON;
        entropy -= p * log(p);
    }
    return exp(entropy);
}

double spectrum_alpha(const double *values, int64_t n, int width) {
    int64_t rank = n - 1 < width ? n - 1 : width;
    int last = rank / 2 < ALPHA_LAST ? (int)(rank / 2) : ALPHA_LAST, used = 0;
    double w = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (int i = ALPHA_FIRST; i <= last; i++) {
        double value = values[i - 1], weight = 1.0 / i, u = log(i);
        if (!(value > 1e-10 * values[0]))
            break;
        w += weight;
        x += weight * u;
        y += weight * log(value);
        xx += weight * u * u;
        xy += weight * u * log(value);
        used++;
    }
    return used < ALPHA_FEWEST ? NAN : -(w * xy - x * y) / (w * xx - x * x);
}

/* Differences of views to their class's mean, and of these to the mean of all, each over the square
 * root of what their sums are divided by. */
static void scatters(double *within, double *between, const float *rows, int classes, int views,
                     int width) {
    double in = 1 / sqrt((double)classes * (views - 1)), out = 1 / sqrt(classes - 1.0);
    size_t d = (size_t)width, v = (size_t)views;
    double *mean = memory_new(d, sizeof *mean);
    for (size_t i = 0; i < (size_t)classes; i++) {
        double *own = between + i * d;
        for (size_t j = 0; j < v; j++)
            for (size_t k = 0; k < d; k++)
                own[k] += rows[(i * v + j) * d + k] / (double)views;
        for (size_t j = 0; j < v; j++)
            for (size_t k = 0; k < d; k++)
                within[(i * v + j) * d + k] = (rows[(i * v + j) * d + k] - own[k]) * in;
        for (size_t k = 0; k < d; k++)
            mean[k] += own[k] / classes;
    }
    for (size_t i = 0; i < (size_t)classes; i++)
        for (size_t k = 0; k < d; k++)
            between[i * d + k] = (between[i * d + k] - mean[k]) * out;
    free(mean);
}

/* exp of the entropy of the D eigenvalues, of which `count` are given; the others are 0. */
static double lidar_of(const double *values, int count, int width) {
    double sum = width * LIDAR_EPSILON, entropy = 0, all = 0;
    for (int k = 0; k < count; k++)
        all += values[k];
    /* Nothing is told apart: ε must be less than a thousandth of the whole, or it decides. */
    if (!(all > 1e3 * width * LIDAR_EPSILON))
        return 1;
    sum += all;
    for (int k = 0; k < width; k++) {
        double p = ((k < count ? values[k] : 0) + LIDAR_EPSILON) / sum;
        entropy -= p * log(p);
    }
    return exp(entropy);
}

double spectrum_lidar(const float *rows, int classes, int views, int width) {
    size_t d = (size_t)width, c = (size_t)classes;
    JEPA_ASSERT(classes >= 2 && views >= 2);
    if (!all_finite(rows, (int64_t)classes * views * width))
        return NAN;
    double *within = memory_new(c * (size_t)views * d, sizeof *within),
           *between = memory_new(c * d, sizeof *between), *s_w = memory_new(d * d, sizeof *s_w),
           *gram = memory_new(c * c, sizeof *gram), *values = memory_new(c, sizeof *values);
    scatters(within, between, rows, classes, views, width);
    products(s_w, within, width, classes * views, 1);
    for (size_t k = 0; k < d; k++)
        s_w[k * d + k] += LIDAR_DELTA;
    /* S_w = Uᵀ U, and S_b = B Bᵀ: the eigenvalues other than 0 are those of (U^-T B)ᵀ (U^-T B) */
    int info = 0;
    const double one = 1, zero = 0;
    dpotrf_("U", &width, s_w, &width, &info, 1);
    double result = NAN;
    if (!info) {
        dtrsm_("L", "U", "T", "N", &width, &classes, &one, s_w, &width, between, &width, 1, 1, 1,
               1);
        dsyrk_("U", "T", &classes, &width, &one, between, &width, &zero, gram, &classes, 1, 1);
        if (!eigenvalues(values, gram, classes))
            result = lidar_of(values, classes < width ? classes : width, width);
    }
    free(within);
    free(between);
    free(s_w);
    free(gram);
    free(values);
    return result;
}
