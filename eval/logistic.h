/* Multinomial logistic regression to convergence: the linear probe.
 *     minimise  -mean_i log softmax(W x_i + b)[y_i] + (lambda / 2) |W|²
 * by L-BFGS (Nocedal, Math. Comp. 35, 1980) from zero; strictly convex for lambda > 0, so the
 * answer does not depend on the start. Features are standardised with the training rows' mean and
 * standard deviation. lambda is chosen on folds of the training rows, never on the rows tested. */
#ifndef JEPA_EVAL_LOGISTIC_H
#define JEPA_EVAL_LOGISTIC_H

#include <stdint.h>

typedef struct Logistic {
    int width, classes; /* D, K */
    double *mean;       /* [D] of the training rows */
    double *scale;      /* [D] 1 / standard deviation; 0 where it is constant */
    double *weights;    /* [K][D + 1], the bias last */
    double lambda;
    int iterations;
    int converged; /* the gradient's largest entry fell below 1e-6 */
} Logistic;

#define LOGISTIC_FOLDS 4

/* rows[n][D], labels[n] in 0..K-1. Free with logistic_free. */
void logistic_fit(Logistic *model, const float *rows, const int *labels, int64_t n, int width,
                  int classes, double lambda);
/* The lambda of 1e-4 .. 10 with the best accuracy over LOGISTIC_FOLDS folds; fold[n] in 0..folds-1
 * says where each row is held out, so that rows of one source can share a fold. Ties: the larger.
 */
double logistic_choose(const float *rows, const int *labels, const int *fold, int64_t n, int width,
                       int classes);
int logistic_predict(const Logistic *model, const float *row); /* the class */
void logistic_free(Logistic *model);

/* Wilson's 95% interval of a share: correct out of n. */
void wilson_interval(double *low, double *high, int64_t correct, int64_t n);

#endif
