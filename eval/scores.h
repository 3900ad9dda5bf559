/* How good predictions are.
 *
 *   classes   share of rows whose largest output is the class (top-1); by class: of its own rows
 *   labels    average precision of each label, and their mean over labels that occur (mAP):
 *                 AP = Σ_t (R_t - R_t-1) P_t   over thresholds t, the distinct outputs from the
 *             largest on; P and R precision and recall of all rows at or above t. An output that
 *             says nothing (the same for all rows) has AP = the share of rows with the label.
 *   values    R² of each number and their mean: 1 - Σ (y - ŷ)² / Σ (y - mean y)², over the rows
 *             scored; 1 is perfect, 0 as good as their mean, below 0 worse
 *
 * Intervals: Wilson's for shares; else the percentile bootstrap (Efron, 1979) over groups, as rows
 * of one group (views, clips of one source) are no independent witnesses. */
#ifndef JEPA_EVAL_SCORES_H
#define JEPA_EVAL_SCORES_H

#include "eval/targets.h"

/* The mean score of outputs[n][K] for the targets' n rows, row i counted weight[i] times (NULL:
 * once). NaN where nothing can be said: no rows, no label that occurs, no number that varies. */
double score(const Targets *targets, const float *outputs, const double *weight);
/* The same by class, label or number: each[K], NaN where nothing can be said. */
void score_each(double *each, const Targets *targets, const float *outputs, const double *weight);

/* Number of the largest of outputs[K], the first of equals. */
int score_best(const float *outputs, int count);

/* AP of output[n · stride] for truth[n · stride] (> 0.5: there); weight as above. */
double average_precision(const float *output, const float *truth, int64_t n, int stride,
                         const double *weight);

/* Wilson's 95% interval of a share: correct out of n. */
void wilson_interval(double *low, double *high, int64_t correct, int64_t n);
/* The same of a share, 0 to 1, that n independent witnesses gave: one of them may be right in part,
 * and n be an effective number. */
void wilson_share(double *low, double *high, double share, double n);

#define BOOTSTRAP_DRAWS 1000
/* 95% intervals of score_each() and, last, of score(): low, high [K + 1]. Percentiles 2.5 and 97.5
 * over BOOTSTRAP_DRAWS draws of as many groups, with replacement; group[n] any numbers 0..n-1. A
 * pure function of its inputs and the seed. NaN where the score is. */
void bootstrap_intervals(double *low, double *high, const Targets *targets, const float *outputs,
                         const int64_t *group, uint64_t seed);

#endif
