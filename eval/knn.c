/* See eval/knn.h. */
#include "eval/knn.h"
#include "eval/scores.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_TILE 64
#define ROW_TILE   1024

/* rows[n][D] to length 1. */
static float *unit_rows(const float *rows, int64_t n, int width, int threads) {
    size_t w = (size_t)width;
    float *unit = memory_new((size_t)n * w + 1, sizeof *unit);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < (size_t)n; i++) {
        double square = 0;
        for (size_t d = 0; d < w; d++)
            square += (double)rows[i * w + d] * rows[i * w + d];
        double scale = square > 0 ? 1 / sqrt(square) : 0;
        for (size_t d = 0; d < w; d++)
            unit[i * w + d] = (float)(rows[i * w + d] * scale);
    }
    return unit;
}

/* Puts row `number` into a query's list, which is sorted. Rows come in ascending order, so that of
 * equals the first stays before. */
static void insert(int32_t *nearest, float *similarity, int k, int32_t number, float sim) {
    if (nearest[k - 1] >= 0 && !(sim > similarity[k - 1]))
        return;
    int at = k - 1;
    for (; at > 0 && (nearest[at - 1] < 0 || sim > similarity[at - 1]); at--) {
        nearest[at] = nearest[at - 1];
        similarity[at] = similarity[at - 1];
    }
    nearest[at] = number;
    similarity[at] = sim;
}

void knn_search(int32_t *nearest, float *similarity, const float *rows, const int *fold, int64_t n,
                const float *queries, const int *query_fold, int64_t q, int width, int k,
                int threads) {
    JEPA_ASSERT(n <= INT32_MAX && k >= 1);
    float *unit = unit_rows(rows, n, width, threads);
    float *unit_queries = unit_rows(queries, q, width, threads);
    size_t w = (size_t)width;
    for (int64_t i = 0; i < q * k; i++) {
        nearest[i] = -1;
        similarity[i] = 0;
    }
    int64_t tiles = (q + QUERY_TILE - 1) / QUERY_TILE;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t first = tile * QUERY_TILE;
        int count = (int)(q - first < QUERY_TILE ? q - first : QUERY_TILE);
        float *sims = memory_new(QUERY_TILE * ROW_TILE, sizeof *sims);
        for (int64_t at = 0; at < n; at += ROW_TILE) {
            int some = (int)(n - at < ROW_TILE ? n - at : ROW_TILE);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, some, width, 1,
                        unit_queries + (size_t)first * w, width, unit + (size_t)at * w, width, 0,
                        sims, ROW_TILE);
            for (int i = 0; i < count; i++)
                for (int j = 0; j < some; j++)
                    if (!fold || !query_fold || fold[at + j] != query_fold[first + i])
                        insert(nearest + (first + i) * k, similarity + (first + i) * k, k,
                               (int32_t)(at + j), sims[(size_t)i * ROW_TILE + (size_t)j]);
        }
        free(sims);
    }
    free(unit);
    free(unit_queries);
}

void knn_outputs(float *out, const int32_t *nearest, const float *similarity, int64_t q, int found,
                 int k, const Targets *t) {
    size_t outputs = (size_t)t->outputs;
    double *sum = memory_new(outputs, sizeof *sum);
    for (int64_t i = 0; i < q; i++) {
        double all = 0;
        memset(sum, 0, outputs * sizeof *sum);
        for (int j = 0; j < k && j < found && nearest[i * found + j] >= 0; j++) {
            int64_t row = nearest[i * found + j];
            /* relative to the nearest one: the same shares, and no overflow */
            double weight = exp((similarity[i * found + j] - similarity[i * found]) /
                                KNN_TEMPERATURE);
            all += weight;
            if (t->classes)
                sum[t->classes[row]] += weight;
            else
                for (size_t o = 0; o < outputs; o++)
                    sum[o] += weight * t->values[(size_t)row * outputs + o];
        }
        for (size_t o = 0; o < outputs; o++)
            out[(size_t)i * outputs + o] = (float)(all > 0 ? sum[o] / all : 0);
    }
    free(sum);
}

int knn_choose(double *scores, const int *ks, int count, const float *rows, int width,
               const Targets *t, const int *fold, int threads) {
    int most = ks[count - 1], best = ks[0];
    double best_score = -INFINITY;
    size_t n = (size_t)t->count;
    int32_t *nearest = memory_new(n * (size_t)most + 1, sizeof *nearest);
    float *similarity = memory_new(n * (size_t)most + 1, sizeof *similarity);
    float *out = memory_new(n * (size_t)t->outputs + 1, sizeof *out);
    knn_search(nearest, similarity, rows, fold, t->count, rows, fold, t->count, width, most,
               threads);
    for (int i = 0; i < count; i++) {
        knn_outputs(out, nearest, similarity, t->count, most, ks[i], t);
        double now = score(t, out, NULL);
        if (scores)
            scores[i] = now;
        if (now > best_score) {
            best_score = now;
            best = ks[i];
        }
    }
    free(nearest);
    free(similarity);
    free(out);
    return best;
}
