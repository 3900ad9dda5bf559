/* A neighbour embedding in two dimensions: t-SNE, exact (van der Maaten and Hinton, "Visualizing
 * data using t-SNE", JMLR 9, 2008).
 *
 *   p_j|i = exp(-β_i |x_i - x_j|²) / Σ_k exp(-β_i |x_i - x_k|²), p_i|i = 0; β_i such that the
 *           entropy of p_.|i is log(perplexity)
 *   p_ij  = (p_j|i + p_i|j) / 2n
 *   q_ij  = (1 + |y_i - y_j|²)^-1 / Z,  Z = Σ_{k≠l} (1 + |y_k - y_l|²)^-1
 *   dC/dy_i = 4 Σ_j (p_ij - q_ij) (1 + |y_i - y_j|²)^-1 (y_i - y_j)
 * Gradient descent with the published momentum (0.5, then 0.8) and gains; p is 12 times as large
 * during the first quarter (early exaggeration); the step is n / 12, at least 50 (Belkina et al.,
 * 2019). It starts at the first two principal components, made small (Kobak and Berens, 2019), plus
 * noise of a tenth of that by the seed. Time n² an iteration, memory n² floats. Distances between
 * far clusters, their sizes and densities mean little in the result. */
#ifndef JEPA_EVAL_TSNE_H
#define JEPA_EVAL_TSNE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define TSNE_POINTS_MAX 4096

typedef struct TsneSpec {
    double perplexity; /* at least 1; lowered to (n - 1) / 3 where that is less */
    int iterations;    /* 1,000 is usual */
    uint64_t seed;
} TsneSpec;

/* place[n][2] of rows[n][width], centred. The same bits for any number of threads. Errors: more
 * than TSNE_POINTS_MAX rows or fewer than one, a value that is not finite. */
int tsne_embed(double *place, const float *rows, size_t n, int width, const TsneSpec *spec,
               Error *error);

#endif
