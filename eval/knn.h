/* The k nearest neighbours: what the training videos say that look most like this one.
 *
 *   sim = cosine of two feature rows
 *   out = Σ_j exp(sim_j / 0.07) y_j / Σ_j exp(sim_j / 0.07)     over the k most similar rows j
 *
 * y is a class as a one, labels, or numbers. Nothing is learnt but k, which is chosen on folds of
 * the training rows. Source of the weights and of the temperature: Wu et al., arXiv 1805.01978;
 * facebookresearch/dino eval_knn.py. Letters: n training rows, q queries, D width, K outputs. */
#ifndef JEPA_EVAL_KNN_H
#define JEPA_EVAL_KNN_H

#include "eval/targets.h"

#define KNN_TEMPERATURE 0.07
#define KNN_MAX         1000 /* most neighbours */

/* The k most similar of rows[n][D] for each of queries[q][D], most similar first, the lower number
 * of equals: nearest[q][k], similarity[q][k]. With fold and query_fold (else NULL) rows of the
 * query's own fold are passed over; where too few rows are left the rest of nearest is -1. A row of
 * zeros is similar to nothing (0). */
void knn_search(int32_t *nearest, float *similarity, const float *rows, const int *fold, int64_t n,
                const float *queries, const int *query_fold, int64_t q, int width, int k,
                int threads);

/* out[q][K] from the first k of the `found` neighbours of each query. */
void knn_outputs(float *out, const int32_t *nearest, const float *similarity, int64_t q, int found,
                 int k, const Targets *targets);

/* The k among ks[count] (ascending) with the best score() of predictions from other folds. Ties:
 * the smaller. ks[0] where that says nothing. scores[count] (or NULL) receives what they came to.
 */
int knn_choose(double *scores, const int *ks, int count, const float *rows, int width,
               const Targets *targets, const int *fold, int threads);

#endif
