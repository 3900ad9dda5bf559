/* Exact t-SNE. Rows of a sum are computed by one thread each, in order, and totals added in the
 * order of rows. See eval/tsne.h. */
#include "eval/tsne.h"
#include "base/random.h"
#include "eval/pca.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define EXAGGERATION   12.0
#define STEP_LEAST     50.0
#define MOMENTUM_FIRST 0.5
#define MOMENTUM_LAST  0.8
#define GAIN_MORE      0.2 /* added where the direction stays */
#define GAIN_LESS      0.8 /* factor where it turns */
#define GAIN_LEAST     0.01
#define P_LEAST        1e-12
#define START_SPREAD   1e-2    /* standard deviation of the first axis at the start */
#define NOISE          0.1     /* of it */
#define NOISE_STREAM   0x7e5eu /* the step of its random numbers: apart from other measures */
#define SEARCHES       64      /* halvings for β */
#define ENTROPY_NEAR   1e-5
#define PARALLEL       200 /* points from which threads pay */

/* p[j] of row i for squared distances d[n], and its entropy. */
static double row_probabilities(double *p, const double *d, size_t n, size_t i, double beta) {
    double least = INFINITY, sum = 0, weighted = 0;
    for (size_t j = 0; j < n; j++)
        least = j != i && d[j] < least ? d[j] : least;
    for (size_t j = 0; j < n; j++) {
        p[j] = j == i ? 0 : exp(-beta * (d[j] - least));
        sum += p[j];
        weighted += p[j] * (d[j] - least);
    }
    for (size_t j = 0; j < n; j++)
        p[j] /= sum;
    return log(sum) + beta * weighted / sum;
}

/* β by bisection, so that the entropy is `wanted`. */
static void choose_row(double *p, const double *d, size_t n, size_t i, double wanted) {
    double low = 0, high = INFINITY, mean = 0;
    for (size_t j = 0; j < n; j++)
        mean += d[j] / (double)n;
    double beta = mean > 0 ? 1 / mean : 1;
    for (int s = 0; s < SEARCHES; s++) {
        double off = row_probabilities(p, d, n, i, beta) - wanted;
        if (fabs(off) < ENTROPY_NEAR)
            return;
        if (off > 0) { /* too flat */
            low = beta;
            beta = isinf(high) ? 2 * beta : (low + high) / 2;
        } else {
            high = beta;
            beta = (low + high) / 2;
        }
    }
}

/* p [n][n] */
static float *affinities(const float *rows, size_t n, int width, double perplexity) {
    float *p = memory_new(n * n, sizeof *p);
    double wanted = log(perplexity);
#pragma omp parallel if (n >= PARALLEL)
    {
        double *d = memory_new(n, sizeof *d), *row = memory_new(n, sizeof *row);
#pragma omp for schedule(static)
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                d[j] = 0;
                for (int k = 0; k < width; k++) {
                    double by = (double)rows[i * (size_t)width + (size_t)k] -
                                rows[j * (size_t)width + (size_t)k];
                    d[j] += by * by;
                }
            }
            choose_row(row, d, n, i, wanted);
            for (size_t j = 0; j < n; j++)
                p[i * n + j] = (float)row[j];
        }
        free(d);
        free(row);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double both = ((double)p[i * n + j] + p[j * n + i]) / (2.0 * (double)n);
            p[i * n + j] = p[j * n + i] = i == j ? 0 : (float)fmax(both, P_LEAST);
        }
    return p;
}

/* dy[n][2]; sums[n] is scratch. */
static void gradient(double *dy, double *sums, const double *y, const float *p, size_t n,
                     double exaggeration) {
    double z = 0;
#pragma omp parallel for schedule(static) if (n >= PARALLEL)
    for (size_t i = 0; i < n; i++) {
        sums[i] = 0;
        for (size_t j = 0; j < n; j++) {
            double a = y[2 * i] - y[2 * j], b = y[2 * i + 1] - y[2 * j + 1];
            sums[i] += j == i ? 0 : 1 / (1 + a * a + b * b);
        }
    }
    for (size_t i = 0; i < n; i++)
        z += sums[i];
#pragma omp parallel for schedule(static) if (n >= PARALLEL)
    for (size_t i = 0; i < n; i++) {
        double da = 0, db = 0;
        for (size_t j = 0; j < n; j++) {
            double a = y[2 * i] - y[2 * j], b = y[2 * i + 1] - y[2 * j + 1];
            double near = 1 / (1 + a * a + b * b);
            double force = (exaggeration * p[i * n + j] - near / z) * near;
            da += force * a;
            db += force * b;
        }
        dy[2 * i] = 4 * da;
        dy[2 * i + 1] = 4 * db;
    }
}

static void centre(double *y, size_t n) {
    double mean[2] = {0, 0};
    for (size_t i = 0; i < 2 * n; i++)
        mean[i % 2] += y[i] / (double)n;
    for (size_t i = 0; i < 2 * n; i++)
        y[i] -= mean[i % 2];
}

/* Principal components, small, and noise by the seed. */
static int start(double *y, const float *rows, size_t n, int width, uint64_t seed, Error *error) {
    Pca pca;
    int axes = width < 2 ? 1 : 2;
    if (pca_fit(&pca, rows, n, width, axes, error)) {
        pca_free(&pca);
        return -1;
    }
    float *place = memory_new(n * (size_t)axes, sizeof *place);
    double scale = pca.variance[0] > 0 ? START_SPREAD / sqrt(pca.variance[0]) : 0;
    pca_project(place, &pca, rows, n);
    for (size_t i = 0; i < n; i++) {
        Random random = random_at(seed, RANDOM_DIAGNOSTIC, NOISE_STREAM, i);
        for (size_t k = 0; k < 2; k++) {
            double at = k < (size_t)axes ? place[i * (size_t)axes + k] : 0;
            y[2 * i + k] = scale * at + NOISE * START_SPREAD * random_between(&random, -1, 1);
        }
    }
    free(place);
    pca_free(&pca);
    return 0;
}

static void descend(double *y, const float *p, size_t n, int iterations) {
    double *dy = memory_new(2 * n, sizeof *dy), *step = memory_new(2 * n, sizeof *step);
    double *gain = memory_new(2 * n, sizeof *gain), *sums = memory_new(n, sizeof *sums);
    double rate = fmax((double)n / EXAGGERATION, STEP_LEAST);
    int early = iterations / 4;
    for (size_t i = 0; i < 2 * n; i++)
        gain[i] = 1;
    for (int t = 0; t < iterations; t++) {
        double momentum = t < early ? MOMENTUM_FIRST : MOMENTUM_LAST;
        gradient(dy, sums, y, p, n, t < early ? EXAGGERATION : 1);
        for (size_t i = 0; i < 2 * n; i++) {
            bool stays = (dy[i] > 0) != (step[i] > 0); /* the step goes against the gradient */
            gain[i] = stays ? gain[i] + GAIN_MORE : fmax(gain[i] * GAIN_LESS, GAIN_LEAST);
            step[i] = momentum * step[i] - rate * gain[i] * dy[i];
            y[i] += step[i];
        }
        centre(y, n);
    }
    free(dy);
    free(step);
    free(gain);
    free(sums);
}

int tsne_embed(double *place, const float *rows, size_t n, int width, const TsneSpec *spec,
               Error *error) {
    if (n < 1 || n > TSNE_POINTS_MAX)
        return error_set(error, ERROR_RUN, "neighbour embedding: %zu points, expected 1 to %d", n,
                         TSNE_POINTS_MAX);
    if (start(place, rows, n, width, spec->seed, error))
        return -1;
    double perplexity = fmin(spec->perplexity, fmax(((double)n - 1) / 3, 1));
    if (n > 2) {
        float *p = affinities(rows, n, width, perplexity);
        descend(place, p, n, spec->iterations);
        free(p);
    }
    centre(place, n);
    return 0;
}
