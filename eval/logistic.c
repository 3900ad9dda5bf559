/* The linear probe. See eval/logistic.h. */
#include "eval/logistic.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY        10
#define ITERATIONS_MAX 1000
#define GRADIENT_LIMIT 1e-6
#define WILSON_Z       1.959964 /* 97.5% of the normal distribution */

typedef struct Problem {
    const double *x; /* [n][D + 1] standardised, 1 at the end */
    const int *labels;
    int64_t n;
    int width, classes; /* width: D + 1 */
    double lambda;
} Problem;

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Loss and gradient[K][D + 1] at weights[K][D + 1]. */
static double evaluate(double *gradient, const double *weights, const Problem *p) {
    size_t width = (size_t)p->width, size = width * (size_t)p->classes;
    double *score = memory_new((size_t)p->classes, sizeof *score), loss = 0;
    memset(gradient, 0, size * sizeof *gradient);
    for (int64_t i = 0; i < p->n; i++) {
        const double *x = p->x + (size_t)i * width;
        double top = -INFINITY, sum = 0;
        for (int k = 0; k < p->classes; k++) {
            score[k] = dot(weights + (size_t)k * width, x, width);
            top = fmax(top, score[k]);
        }
        for (int k = 0; k < p->classes; k++)
            sum += exp(score[k] - top);
        loss += (top + log(sum) - score[p->labels[i]]) / (double)p->n;
        for (int k = 0; k < p->classes; k++) {
            double g = (exp(score[k] - top) / sum - (k == p->labels[i])) / (double)p->n;
            double *row = gradient + (size_t)k * width;
            for (size_t d = 0; d < width; d++)
                row[d] += g * x[d];
        }
    }
    for (size_t i = 0; i < size; i++)
        if ((i + 1) % width) { /* the bias is not penalised */
            loss += 0.5 * p->lambda * weights[i] * weights[i];
            gradient[i] += p->lambda * weights[i];
        }
    free(score);
    return loss;
}

/* The two-loop recursion: direction = -H gradient from the last steps s and gradient changes y. */
static void direction_of(double *direction, const double *gradient, const double *s,
                         const double *y, int stored, int newest, size_t size) {
    double alpha[HISTORY];
    memcpy(direction, gradient, size * sizeof *direction);
    for (int h = 0; h < stored; h++) {
        size_t at = (size_t)((newest - h + HISTORY) % HISTORY) * size;
        alpha[h] = dot(s + at, direction, size) / dot(s + at, y + at, size);
        for (size_t i = 0; i < size; i++)
            direction[i] -= alpha[h] * y[at + i];
    }
    if (stored) {
        size_t at = (size_t)newest * size;
        double scale = dot(s + at, y + at, size) / dot(y + at, y + at, size);
        for (size_t i = 0; i < size; i++)
            direction[i] *= scale;
    }
    for (int h = stored - 1; h >= 0; h--) {
        size_t at = (size_t)((newest - h + HISTORY) % HISTORY) * size;
        double beta = dot(y + at, direction, size) / dot(s + at, y + at, size);
        for (size_t i = 0; i < size; i++)
            direction[i] += (alpha[h] - beta) * s[at + i];
    }
    for (size_t i = 0; i < size; i++)
        direction[i] = -direction[i];
}

static int minimise(double *weights, const Problem *p, int *converged) {
    size_t size = (size_t)p->width * (size_t)p->classes;
    double *gradient = memory_new(size, sizeof *gradient), *next = memory_new(size, sizeof *next);
    double *next_gradient = memory_new(size, sizeof *next_gradient);
    double *direction = memory_new(size, sizeof *direction);
    double *s = memory_new(size * HISTORY, sizeof *s), *y = memory_new(size * HISTORY, sizeof *y);
    double loss = evaluate(gradient, weights, p);
    int iteration = 0, stored = 0, newest = 0;
    *converged = 0;
    for (; iteration < ITERATIONS_MAX && !*converged; iteration++) {
        direction_of(direction, gradient, s, y, stored, newest, size);
        double slope = dot(direction, gradient, size), step = 1, next_loss = loss;
        if (slope >= 0)
            break;
        for (int halvings = 0; halvings < 50; halvings++, step /= 2) { /* Armijo's condition */
            for (size_t i = 0; i < size; i++)
                next[i] = weights[i] + step * direction[i];
            next_loss = evaluate(next_gradient, next, p);
            if (next_loss <= loss + 1e-4 * step * slope)
                break;
        }
        if (!(next_loss < loss))
            break;
        int place = stored ? (newest + 1) % HISTORY : 0;
        double curvature = 0, largest = 0;
        for (size_t i = 0; i < size; i++) {
            s[(size_t)place * size + i] = next[i] - weights[i];
            y[(size_t)place * size + i] = next_gradient[i] - gradient[i];
            curvature += s[(size_t)place * size + i] * y[(size_t)place * size + i];
            largest = fmax(largest, fabs(next_gradient[i]));
        }
        if (curvature > 1e-14) {
            newest = place;
            stored = stored < HISTORY ? stored + 1 : HISTORY;
        }
        memcpy(weights, next, size * sizeof *weights);
        memcpy(gradient, next_gradient, size * sizeof *gradient);
        loss = next_loss;
        *converged = largest < GRADIENT_LIMIT;
    }
    free(gradient);
    free(next);
    free(next_gradient);
    free(direction);
    free(s);
    free(y);
    return iteration;
}

static void standardise(Logistic *model, const float *rows, int64_t n) {
    int width = model->width;
    for (int d = 0; d < width; d++) {
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; i++)
            mean += rows[i * width + d] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (rows[i * width + d] - mean) * (rows[i * width + d] - mean) / (double)n;
        model->mean[d] = mean;
        model->scale[d] = square > 1e-20 ? 1 / sqrt(square) : 0;
    }
}

void logistic_fit(Logistic *model, const float *rows, const int *labels, int64_t n, int width,
                  int classes, double lambda) {
    size_t padded = (size_t)width + 1;
    *model = (Logistic){.width = width,
                        .classes = classes,
                        .mean = memory_new((size_t)width, sizeof(double)),
                        .scale = memory_new((size_t)width, sizeof(double)),
                        .weights = memory_new(padded * (size_t)classes, sizeof(double)),
                        .lambda = lambda};
    standardise(model, rows, n);
    double *x = memory_new((size_t)n * padded, sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        for (int d = 0; d < width; d++)
            x[(size_t)i * padded + (size_t)d] = (rows[i * width + d] - model->mean[d]) *
                                                model->scale[d];
        x[(size_t)i * padded + (size_t)width] = 1;
    }
    Problem problem = {x, labels, n, width + 1, classes, lambda};
    model->iterations = minimise(model->weights, &problem, &model->converged);
    free(x);
}

int logistic_predict(const Logistic *model, const float *row) {
    int best = 0;
    double best_score = -INFINITY;
    for (int k = 0; k < model->classes; k++) {
        const double *w = model->weights + (size_t)k * ((size_t)model->width + 1);
        double score = w[model->width];
        for (int d = 0; d < model->width; d++)
            score += w[d] * (row[d] - model->mean[d]) * model->scale[d];
        if (score > best_score) {
            best_score = score;
            best = k;
        }
    }
    return best;
}

void logistic_free(Logistic *model) {
    free(model->mean);
    free(model->scale);
    free(model->weights);
    memset(model, 0, sizeof *model);
}

/* Correct predictions on fold f when trained on the others. */
static int64_t fold_correct(const float *rows, const int *labels, const int *fold, int64_t n,
                            int width, int classes, double lambda, int f) {
    float *kept = memory_new((size_t)(n * width) + 1, sizeof *kept);
    int *kept_labels = memory_new((size_t)n + 1, sizeof *kept_labels);
    int64_t count = 0, correct = 0;
    for (int64_t i = 0; i < n; i++)
        if (fold[i] != f) {
            memcpy(kept + count * width, rows + i * width, (size_t)width * sizeof *kept);
            kept_labels[count++] = labels[i];
        }
    Logistic model;
    if (count) {
        logistic_fit(&model, kept, kept_labels, count, width, classes, lambda);
        for (int64_t i = 0; i < n; i++)
            correct += fold[i] == f && logistic_predict(&model, rows + i * width) == labels[i];
        logistic_free(&model);
    }
    free(kept);
    free(kept_labels);
    return correct;
}

double logistic_choose(const float *rows, const int *labels, const int *fold, int64_t n, int width,
                       int classes) {
    static const double grid[] = {10, 3, 1, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4};
    double best = grid[0];
    int64_t best_correct = -1;
    for (size_t g = 0; g < sizeof grid / sizeof *grid; g++) {
        int64_t correct = 0;
        for (int f = 0; f < LOGISTIC_FOLDS; f++)
            correct += fold_correct(rows, labels, fold, n, width, classes, grid[g], f);
        if (correct > best_correct) {
            best_correct = correct;
            best = grid[g];
        }
    }
    return best;
}

void wilson_interval(double *low, double *high, int64_t correct, int64_t n) {
    if (!n) {
        *low = 0;
        *high = 1;
        return;
    }
    double p = (double)correct / (double)n, z2 = WILSON_Z * WILSON_Z, m = (double)n;
    double centre = (p + z2 / (2 * m)) / (1 + z2 / m);
    double half = WILSON_Z * sqrt(p * (1 - p) / m + z2 / (4 * m * m)) / (1 + z2 / m);
    *low = fmax(0, centre - half);
    *high = fmin(1, centre + half);
}
