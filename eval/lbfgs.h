/* Smooth functions of many variables minimised by L-BFGS (Nocedal, Math. Comp. 35, 1980): the
 * gradient's own changes over the last ten steps stand for the second derivatives; each step is
 * halved until Armijo's condition holds. Same bits for the same function and start. */
#ifndef JEPA_EVAL_LBFGS_H
#define JEPA_EVAL_LBFGS_H

#include <stdbool.h>
#include <stddef.h>

/* The function's value and its gradient[size] at point[size]. */
typedef double LbfgsFunction(double *gradient, const double *point, void *context);

typedef struct LbfgsResult {
    double value;
    int iterations;
    bool converged; /* the gradient's largest entry fell below the limit */
} LbfgsResult;

/* Moves point[size] to a minimum: until every entry of the gradient is below `limit`, no step goes
 * down any more, or `iterations` are over. */
LbfgsResult lbfgs_minimise(double *point, size_t size, LbfgsFunction *function, void *context,
                           double limit, int iterations);

#endif
