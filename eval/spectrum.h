/* What the spectrum of a set of features says: how many dimensions are in use, and how evenly.
 *
 * rows [n][D], one feature each. All sums are double and in a fixed order; LAPACK finds the
 * eigenvalues, with one thread, so that they do not depend on how many there are.
 *
 * RankMe   (Garrido et al., arXiv 2210.02885), of rows as given, not centred:
 *              p_k = σ_k / Σ σ + 1e-7,  RankMe = exp(-Σ p_k log p_k)
 *          σ the singular values of the rows. 1: all rows point one way; at most min(n, D).
 * α-ReQ    (Agrawal et al., NeurIPS 2022), of centred rows: eigenvalues of the covariance
 *              Σ (x - m)(x - m)ᵀ / n, largest first, are fitted by λ_i = c i^-α: least squares
 *          of log λ_i on log i with weights 1/i (as Stringer et al., Nature 2019, whose code the
 *          paper uses), over i = 4 .. min(100, K/2), K = min(D, n - 1): the first ones and the
 *          tail follow other laws. Near 1 is said to be best; a larger α is a narrower
 *          representation. NaN with fewer than five eigenvalues in that range above 1e-10 λ_1.
 * LiDAR    (Thilak et al., arXiv 2312.04000): C classes (clips) of V views each, x_ij, as given
 *              S_b = Σ_i (μ_i - μ)(μ_i - μ)ᵀ / (C - 1)
 *              S_w = Σ_ij (x_ij - μ_i)(x_ij - μ_i)ᵀ / (C (V - 1)) + δ I,   δ = 1e-4
 *              λ   = the D eigenvalues of S_w^-1/2 S_b S_w^-1/2
 *              p_k = (λ_k + ε) / Σ (λ + ε),  ε = 1e-8,   LiDAR = exp(-Σ p_k log p_k)
 *          the number of directions in which classes can be told apart by what their views share.
 *          1: one direction, or none (Σ λ of at most 1,000 D ε, which would decide else); at most
 *          min(D, C - 1). It says nothing of the size of features: below δ all of them are noise to
 *          it. */
#ifndef JEPA_EVAL_SPECTRUM_H
#define JEPA_EVAL_SPECTRUM_H

#include <stdbool.h>
#include <stdint.h>

#define RANKME_EPSILON 1e-7
#define ALPHA_FIRST    4
#define ALPHA_LAST     100
#define ALPHA_FEWEST   5
#define LIDAR_DELTA    1e-4
#define LIDAR_EPSILON  1e-8

/* values[width], largest first, never negative: eigenvalues of Σ x xᵀ; centred: of the covariance.
 * -1 where a row is not finite. */
int spectrum(double *values, const float *rows, int64_t n, int width, bool centred);

/* Of values from spectrum(..., false). */
double spectrum_rankme(const double *values, int width);
/* Of values from spectrum(..., true) of n rows. */
double spectrum_alpha(const double *values, int64_t n, int width);
/* rows[classes][views][width], two or more of each. NaN where a row is not finite. */
double spectrum_lidar(const float *rows, int classes, int views, int width);

#endif
