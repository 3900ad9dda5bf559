/* See eval/scores.h. */
#include "eval/scores.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WILSON_Z 1.959964 /* 97.5% of the normal distribution */

int score_best(const float *outputs, int count) {
    int best = 0;
    for (int k = 1; k < count; k++)
        best = outputs[k] > outputs[best] ? k : best;
    return best;
}

static double weight_of(const double *weight, int64_t i) {
    return weight ? weight[i] : 1;
}

/* ---- classes ---- */

static void accuracy_each(double *each, const Targets *t, const float *outputs,
                          const double *weight) {
    double *all = memory_new((size_t)t->outputs, sizeof *all);
    memset(each, 0, (size_t)t->outputs * sizeof *each);
    for (int64_t i = 0; i < t->count; i++) {
        int k = t->classes[i];
        all[k] += weight_of(weight, i);
        if (score_best(outputs + i * t->outputs, t->outputs) == k)
            each[k] += weight_of(weight, i);
    }
    for (int k = 0; k < t->outputs; k++)
        each[k] = all[k] > 0 ? each[k] / all[k] : NAN;
    free(all);
}

static double accuracy(const Targets *t, const float *outputs, const double *weight) {
    double correct = 0, all = 0;
    for (int64_t i = 0; i < t->count; i++) {
        all += weight_of(weight, i);
        if (score_best(outputs + i * t->outputs, t->outputs) == t->classes[i])
            correct += weight_of(weight, i);
    }
    return all > 0 ? correct / all : NAN;
}

/* ---- labels ---- */

typedef struct Ranked {
    float output;
    bool there;
    double weight;
} Ranked;

static int larger_first(const void *a, const void *b) {
    float x = ((const Ranked *)a)->output, y = ((const Ranked *)b)->output;
    return (x < y) - (x > y);
}

double average_precision(const float *output, const float *truth, int64_t n, int stride,
                         const double *weight) {
    Ranked *rows = memory_new((size_t)n + 1, sizeof *rows);
    double positive = 0, found = 0, seen = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        rows[i] = (Ranked){output[i * stride], truth[i * stride] > 0.5F, weight_of(weight, i)};
        positive += rows[i].there ? rows[i].weight : 0;
    }
    qsort(rows, (size_t)n, sizeof *rows, larger_first);
    for (int64_t i = 0; i < n && positive > 0;) {
        double more = 0;
        float threshold = rows[i].output;
        do { /* equal outputs stand or fall together */
            seen += rows[i].weight;
            more += rows[i].there ? rows[i].weight : 0;
            i++;
        } while (i < n && !(rows[i].output < threshold));
        found += more;
        if (seen > 0)
            sum += more / positive * (found / seen);
    }
    free(rows);
    return positive > 0 ? sum : NAN;
}

/* ---- values ---- */

static double r_squared(const float *output, const float *truth, int64_t n, int stride,
                        const double *weight) {
    double all = 0, mean = 0, error = 0, spread = 0;
    for (int64_t i = 0; i < n; i++) {
        all += weight_of(weight, i);
        mean += weight_of(weight, i) * truth[i * stride];
    }
    mean /= all;
    for (int64_t i = 0; i < n; i++) {
        double y = truth[i * stride], e = y - output[i * stride];
        error += weight_of(weight, i) * e * e;
        spread += weight_of(weight, i) * (y - mean) * (y - mean);
    }
    return spread > 0 ? 1 - error / spread : NAN;
}

/* ---- all ---- */

void score_each(double *each, const Targets *t, const float *outputs, const double *weight) {
    if (t->task == TASK_CLASSES) {
        accuracy_each(each, t, outputs, weight);
        return;
    }
    for (int k = 0; k < t->outputs; k++)
        each[k] = (t->task == TASK_LABELS ? average_precision : r_squared)(
            outputs + k, t->values + k, t->count, t->outputs, weight);
}

/* Of those that are known. */
static double mean_of(const double *each, int count) {
    double sum = 0;
    int known = 0;
    for (int k = 0; k < count; k++)
        if (!isnan(each[k])) {
            sum += each[k];
            known++;
        }
    return known ? sum / known : NAN;
}

double score(const Targets *t, const float *outputs, const double *weight) {
    if (t->task == TASK_CLASSES)
        return accuracy(t, outputs, weight);
    double *each = memory_new((size_t)t->outputs, sizeof *each);
    score_each(each, t, outputs, weight);
    double mean = mean_of(each, t->outputs);
    free(each);
    return mean;
}

/* ---- intervals ---- */

void wilson_interval(double *low, double *high, int64_t correct, int64_t n) {
    wilson_share(low, high, n ? (double)correct / (double)n : 0, (double)n);
}

void wilson_share(double *low, double *high, double p, double n) {
    if (!(n > 0)) {
        *low = 0;
        *high = 1;
        return;
    }
    double z2 = WILSON_Z * WILSON_Z;
    double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = WILSON_Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
    *low = fmax(0, centre - half);
    *high = fmin(1, centre + half);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value below which a share of sorted[n] lies, linearly interpolated. */
static double percentile(const double *sorted, int n, double share) {
    double at = share * (n - 1);
    int below = (int)at, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/* Percentiles of the numbers among values[n · stride]. */
static void interval_of(double *low, double *high, const double *values, int n, int stride) {
    double *sorted = memory_new((size_t)n, sizeof *sorted);
    int known = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(values[(size_t)i * (size_t)stride]))
            sorted[known++] = values[(size_t)i * (size_t)stride];
    *low = *high = NAN;
    if (known) {
        qsort(sorted, (size_t)known, sizeof *sorted, ascending);
        *low = percentile(sorted, known, 0.025);
        *high = percentile(sorted, known, 0.975);
    }
    free(sorted);
}

void bootstrap_intervals(double *low, double *high, const Targets *t, const float *outputs,
                         const int64_t *group, uint64_t seed) {
    size_t n = (size_t)t->count, columns = (size_t)t->outputs + 1;
    int64_t *number = memory_new(n + 1, sizeof *number); /* of a group, those that occur counted */
    double *times = memory_new(n + 1, sizeof *times), *weight = memory_new(n + 1, sizeof *weight);
    double *scores = memory_new(BOOTSTRAP_DRAWS * columns, sizeof *scores);
    int64_t groups = 0;
    for (size_t i = 0; i < n; i++)
        number[group[i]] = 1;
    for (size_t i = 0; i < n; i++)
        number[i] = number[i] ? groups++ : 0;
    for (size_t draw = 0; draw < BOOTSTRAP_DRAWS; draw++) {
        Random random = random_at(seed, RANDOM_BOOTSTRAP, draw, 0);
        double *each = scores + draw * columns;
        memset(times, 0, n * sizeof *times);
        for (int64_t g = 0; g < groups; g++)
            times[random_below(&random, (uint64_t)groups)]++;
        for (size_t i = 0; i < n; i++)
            weight[i] = times[number[group[i]]];
        score_each(each, t, outputs, weight);
        each[t->outputs] = t->task == TASK_CLASSES ? accuracy(t, outputs, weight)
                                                   : mean_of(each, t->outputs);
    }
    for (size_t k = 0; k < columns; k++)
        interval_of(&low[k], &high[k], scores + k, BOOTSTRAP_DRAWS, (int)columns);
    free(number);
    free(times);
    free(weight);
    free(scores);
}
