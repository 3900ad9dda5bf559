/* Nearest neighbours, each row held out in turn. See eval/neighbours.h. */
#include "eval/neighbours.h"
#include "base/error.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* Centred rows of length 1; a row that is the mean stays 0. */
static double *directions(const float *rows, size_t n, size_t d) {
    double *x = memory_new(n * d, sizeof *x), *mean = memory_new(d, sizeof *mean);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            mean[k] += rows[i * d + k] / (double)n;
    for (size_t i = 0; i < n; i++) {
        double square = 0;
        for (size_t k = 0; k < d; k++) {
            x[i * d + k] = rows[i * d + k] - mean[k];
            square += x[i * d + k] * x[i * d + k];
        }
        for (size_t k = 0; k < d && square > 0; k++)
            x[i * d + k] /= sqrt(square);
    }
    free(mean);
    return x;
}

/* The class that the neighbours vote for, from their similarities; -1: there are none. Those that
 * are taken do not vote. */
static int vote(double *score, const double *similar, bool *taken, const int *labels, int n,
                int classes) {
    int found = -1;
    for (int c = 0; c < classes; c++)
        score[c] = 0;
    for (int k = 0; k < NEIGHBOURS; k++) {
        int best = -1;
        for (int j = 0; j < n; j++)
            if (!taken[j] && (best < 0 || similar[j] > similar[best]))
                best = j;
        if (best < 0)
            break;
        taken[best] = true;
        score[labels[best]] += exp(similar[best] / NEIGHBOURS_TEMPERATURE);
    }
    for (int c = 0; c < classes; c++)
        if (score[c] > (found < 0 ? 0 : score[found]))
            found = c;
    return found;
}

double neighbours_accuracy(const float *rows, const int *labels, const uint32_t *groups, int n,
                           int width, int classes) {
    size_t d = (size_t)width, count = (size_t)n;
    JEPA_ASSERT(n >= 1 && classes >= 1);
    double *x = directions(rows, count, d), *similar = memory_new(count, sizeof *similar),
           *score = memory_new((size_t)classes, sizeof *score);
    bool *taken = memory_new(count, sizeof *taken);
    int right = 0;
    for (int i = 0; i < n; i++) {
        for (size_t j = 0; j < count; j++) {
            double dot = 0;
            for (size_t k = 0; k < d; k++)
                dot += x[(size_t)i * d + k] * x[j * d + k];
            similar[j] = dot;
            taken[j] = groups[j] == groups[i];
        }
        right += vote(score, similar, taken, labels, n, classes) == labels[i];
    }
    free(x);
    free(similar);
    free(score);
    free(taken);
    return (double)right / n;
}

double majority_share(const int *labels, int n, int classes) {
    int most = 0;
    int *count = memory_new((size_t)classes, sizeof *count);
    for (int i = 0; i < n; i++)
        if (++count[labels[i]] > most)
            most = count[labels[i]];
    free(count);
    return (double)most / n;
}
