/* SIGReg, sketched isotropic Gaussian regularisation: the embeddings of each view, projected onto
 * random directions, are to look standard normal (Balestriero and LeCun, "LeJEPA", 2025; MLO-lab/
 * LeVJEPA module.py). Along each direction the Epps-Pulley statistic compares the empirical
 * characteristic function with the normal's, phi(t) = exp(-t²/2):
 *     x[v][g][m]   = Σ_k e[v][g][k] a[k][m]
 *     c, s         = mean over g of cos(t_j x), sin(t_j x)
 *     statistic[v][m] = G Σ_j weight_j ((c - phi(t_j))² + s²)
 *     loss         = mean over v, m of statistic
 * over J knots t_j = 0 .. 3 equally spaced by dt; weight_j = phi(t_j) times 2 dt, or dt at both
 * ends: the trapezoid rule over [-3, 3], whose two halves are equal.
 * Shapes: V views, G clips, K embedding width, M directions, J knots. */
#ifndef JEPA_KERNELS_SIGREG_H
#define JEPA_KERNELS_SIGREG_H

#include <math.h>
#include <stdint.h>

typedef struct Device Device;

#define SIGREG_END       3.0 /* the last knot, published */
#define SIGREG_KNOTS     17  /* published */
#define SIGREG_KNOTS_MAX 64  /* at least 2 */

typedef struct SigregShape {
    int64_t views, clips, width, directions;
    int knots;
} SigregShape;

typedef struct SigregKnot {
    double t, phi, weight;
} SigregKnot;

static inline SigregKnot sigreg_knot(int j, int knots) {
    double dt = SIGREG_END / (knots - 1), t = j * dt, phi = exp(-t * t / 2);
    return (SigregKnot){t, phi, phi * (j == 0 || j == knots - 1 ? dt : 2 * dt)};
}

/* *loss += weight · the loss above, in device memory, from e[V][G][K] and unit directions a[K][M].
 * Written for the backward pass, and to be looked at: statistic[V][M], x[V][G][M], and
 * gap[V][J][2][M], which holds c - phi and s. */
typedef void SigregForward(double *loss, double *statistic, float *x, float *gap, const float *e,
                           const float *a, const SigregShape *shape, double weight, Device *device);
/* de[V][G][K] += the gradient of weight · loss = dx aᵀ, where
 *     dx[v][g][m] = 2 weight / (V M) Σ_j weight_j t_j (s cos(t_j x) - (c - phi) sin(t_j x));
 * x, as forward left it, is overwritten by dx. */
typedef void SigregBackward(float *de, float *x, const float *gap, const float *a,
                            const SigregShape *shape, double weight, Device *device);

SigregForward cpu_sigreg_forward, cuda_sigreg_forward, reference_sigreg_forward;
SigregBackward cpu_sigreg_backward, cuda_sigreg_backward, reference_sigreg_backward;

#endif
