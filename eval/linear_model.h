/* Linear probes: one linear map of frozen features, the best there is by a convex measure.
 *
 *   minimise over W, b    1/n Σ_i loss(s_i, y_i) + λ/2 |W|²       s = W x̂ + b, b not penalised
 *
 *   LINEAR_SOFTMAX   -log softmax(s)[y]                         classes: multinomial logistic
 *   LINEAR_SIGMOID   Σ_k log(1 + exp(s_k)) - y_k s_k            labels: one against the rest
 *   LINEAR_SQUARED   ½ Σ_k (s_k - y_k)²                         values: ridge regression
 *   LINEAR_HUBER     Σ_k e²/2 where |e| ≤ δ, else δ (|e| - δ/2)   e = s_k - y_k, δ = 1
 *
 * Features are standardised by the training rows (eval/linear_basis.h), values too, so that one λ
 * means the same for all. Ridge regression is solved in closed form (normal equations, Cholesky),
 * the others by L-BFGS from zero until every entry of the gradient is below 1e-6: for λ > 0 the
 * minimum is one, so the answer does not depend on the way. λ is chosen on folds of the training
 * rows, never on the rows tested. Sums have an order that depends on the shapes alone: the same
 * bits on any number of threads. */
#ifndef JEPA_EVAL_LINEAR_MODEL_H
#define JEPA_EVAL_LINEAR_MODEL_H

#include "eval/scores.h"

typedef enum LinearLoss { LINEAR_SOFTMAX, LINEAR_SIGMOID, LINEAR_SQUARED, LINEAR_HUBER } LinearLoss;

typedef struct LinearModel {
    LinearLoss loss;
    int width, outputs; /* D, K */
    double *mean;       /* [D] of the training rows */
    double *scale;      /* [D] 1 / standard deviation; 0 where it is constant */
    double *weights;    /* [K][D + 1] of x̂, the bias last; in the values' own units */
    double lambda;
    double objective; /* what was minimised, at the end; of values standardised */
    int iterations;   /* 0: closed form */
    bool converged;
} LinearModel;

#define LINEAR_FOLDS       4   /* folds that λ is chosen on */
#define LINEAR_HUBER_DELTA 1.0 /* standard deviations of a value */
#define LINEAR_LAMBDA      0.1 /* where there is nothing to choose by */
#define LINEAR_LAMBDAS     9   /* candidates, the largest first: */
extern const double linear_lambdas[LINEAR_LAMBDAS];

/* Fits rows[n][D] to targets of n rows, n >= 1. Free with linear_free. */
void linear_fit(LinearModel *model, const float *rows, int width, const Targets *targets,
                LinearLoss loss, double lambda, int threads);
void linear_free(LinearModel *model);

/* The λ of linear_lambdas with the best score() over `folds` folds: every row is predicted by a
 * model of the other folds' rows, fold[n] in 0..folds-1. Ties: the larger λ. LINEAR_LAMBDA where
 * that says nothing (a fold that holds everything). scores[LINEAR_LAMBDAS] (or NULL) receives what
 * they came to, NaN where nothing. */
double linear_choose(double *scores, const float *rows, int width, const Targets *targets,
                     const int *fold, int folds, LinearLoss loss, int threads);

/* s of rows[n][D] into out[n][K]: logits of classes and labels, values. */
void linear_outputs(float *out, const LinearModel *model, const float *rows, int64_t n);
/* Logits out[n][K] to probabilities, in place: softmax over K, or of each its own. */
void linear_probabilities(float *out, int64_t n, int outputs, LinearLoss loss);

#endif
