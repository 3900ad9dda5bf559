/* Feature rows as a convex solver wants them: standardised, in double precision, and in no more
 * dimensions than there are rows.
 *
 *   x̂[i][d] = (x[i][d] - mean[d]) scale[d]          of the training rows; scale 1 / deviation, 0
 *                                                   where a feature does not vary
 * Where D > n the rows span at most n - 1 dimensions, and a penalty |W|² leaves W in their span. So
 * the problem is solved in coordinates z of an orthonormal basis V of it, x̂ = z Vᵀ, |W| = |W V|:
 *   G = x̂ x̂ᵀ = L Lᵀ   (pivoted Cholesky, LAPACK's dpstrf)     z = rows of L, back in their order
 * and W = W_z Vᵀ, Vᵀ = L₁⁻¹ x̂₁ with the r pivot rows L₁, x̂₁. Dimensions in which the rows lie less
 * than 1e-6 of the longest row apart are left out. */
#ifndef JEPA_EVAL_LINEAR_BASIS_H
#define JEPA_EVAL_LINEAR_BASIS_H

#include <stdint.h>

typedef struct LinearBasis {
    int64_t n;
    int width;            /* D */
    int rank;             /* r: columns of z besides the last */
    double *mean, *scale; /* [D] */
    double *z;            /* [n][r + 1], 1 in the last column */
    /* where D > n, else NULL: */
    double *triangle; /* [r][r] L₁ by rows */
    double *pivots;   /* [r][D] x̂₁ */
} LinearBasis;

/* Of rows[n][D]. Free with linear_basis_free. */
void linear_basis_make(LinearBasis *basis, const float *rows, int64_t n, int width);
void linear_basis_free(LinearBasis *basis);

/* weights[K][D + 1] of x̂ from those of z, solved[K][r + 1]; the bias is last in both. */
void linear_basis_weights(double *weights, const LinearBasis *basis, const double *solved,
                          int outputs);

#endif
