/* Principal components of feature rows, for colours of patches.
 *
 * rows [n][D] float. With mean m and covariance S = (1/n) sum (x - m)(x - m)^T (double), the axes
 * are the k eigenvectors of S with the largest eigenvalues, largest first. An eigenvector's sign is
 * arbitrary: here its entry of largest magnitude (the first such) is positive, so that the same
 * rows give the same colours. To compare target and predicted features, fit both together and
 * project each.
 */
#ifndef JEPA_EVAL_PCA_H
#define JEPA_EVAL_PCA_H

#include "base/error.h"
#include <stddef.h>

#define PCA_WIDTH_MAX 8192

typedef struct Pca {
    int width;        /* D */
    int components;   /* k */
    double *mean;     /* [D] */
    double *axes;     /* [k][D], orthonormal */
    double *variance; /* [k], largest first, never negative */
    double total;     /* variance over all D axes */
} Pca;

/* Errors: no rows, k outside 1..D, D above PCA_WIDTH_MAX, a value that is not finite. Free with
 * pca_free, also after an error. */
int pca_fit(Pca *pca, const float *rows, size_t n, int width, int components, Error *error);
/* Two sets of the same width fitted as one: a [n_a][D] and b [n_b][D]; b may be NULL with n_b 0. */
int pca_fit_joint(Pca *pca, const float *a, size_t n_a, const float *b, size_t n_b, int width,
                  int components, Error *error);
void pca_free(Pca *pca);

/* out [n][k] = (rows [n][D] - mean) axes^T. */
void pca_project(float *out, const Pca *pca, const float *rows, size_t n);

/* The range of each component that pictures show: percentiles 1 and 99, linearly interpolated.
 * projected [n][k]; low, high [k]. */
void pca_range(double *low, double *high, const float *projected, size_t n, int components);
/* Scales in place to 0..1 by such a range, cut to it; a constant component becomes 0.5. */
void pca_scale(float *projected, size_t n, int components, const double *low, const double *high);

#endif
