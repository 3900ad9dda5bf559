/* See eval/lbfgs.h. */
#include "eval/lbfgs.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY  10
#define HALVINGS 50
#define ARMIJO   1e-4 /* share of the slope that a step must bring (Nocedal and Wright, 3.1) */

typedef struct Memory {
    double *step, *change; /* [HISTORY][size] of the point, of the gradient */
    int stored, newest;
    size_t size;
} Memory;

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double largest_entry(const double *a, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(a[i]));
    return largest;
}

/* The two-loop recursion: direction = -H gradient. */
static void direction_of(double *direction, const double *gradient, const Memory *m) {
    double alpha[HISTORY];
    memcpy(direction, gradient, m->size * sizeof *direction);
    for (int h = 0; h < m->stored; h++) {
        size_t at = (size_t)((m->newest - h + HISTORY) % HISTORY) * m->size;
        alpha[h] = dot(m->step + at, direction, m->size) /
                   dot(m->step + at, m->change + at, m->size);
        for (size_t i = 0; i < m->size; i++)
            direction[i] -= alpha[h] * m->change[at + i];
    }
    if (m->stored) {
        size_t at = (size_t)m->newest * m->size;
        double scale = dot(m->step + at, m->change + at, m->size) /
                       dot(m->change + at, m->change + at, m->size);
        for (size_t i = 0; i < m->size; i++)
            direction[i] *= scale;
    }
    for (int h = m->stored - 1; h >= 0; h--) {
        size_t at = (size_t)((m->newest - h + HISTORY) % HISTORY) * m->size;
        double beta = dot(m->change + at, direction, m->size) /
                      dot(m->step + at, m->change + at, m->size);
        for (size_t i = 0; i < m->size; i++)
            direction[i] += (alpha[h] - beta) * m->step[at + i];
    }
    for (size_t i = 0; i < m->size; i++)
        direction[i] = -direction[i];
}

/* Keeps a step, if the function is convex along it. */
static void remember(Memory *m, const double *from, const double *to, const double *gradient,
                     const double *next_gradient) {
    int place = m->stored ? (m->newest + 1) % HISTORY : 0;
    double *step = m->step + (size_t)place * m->size, *change = m->change + (step - m->step);
    double curvature = 0;
    for (size_t i = 0; i < m->size; i++)
        curvature += (to[i] - from[i]) * (next_gradient[i] - gradient[i]);
    if (!(curvature > 1e-14))
        return;
    for (size_t i = 0; i < m->size; i++) {
        step[i] = to[i] - from[i];
        change[i] = next_gradient[i] - gradient[i];
    }
    m->newest = place;
    m->stored = m->stored < HISTORY ? m->stored + 1 : HISTORY;
}

LbfgsResult lbfgs_minimise(double *point, size_t size, LbfgsFunction *function, void *context,
                           double limit, int iterations) {
    Memory memory = {.step = memory_new(size * HISTORY, sizeof(double)),
                     .change = memory_new(size * HISTORY, sizeof(double)),
                     .size = size};
    double *gradient = memory_new(size, sizeof *gradient), *next = memory_new(size, sizeof *next);
    double *next_gradient = memory_new(size, sizeof *next_gradient);
    double *direction = memory_new(size, sizeof *direction);
    LbfgsResult result = {.value = function(gradient, point, context)};
    result.converged = largest_entry(gradient, size) < limit;
    while (result.iterations < iterations && !result.converged) {
        direction_of(direction, gradient, &memory);
        double slope = dot(direction, gradient, size), step = 1, value = result.value;
        if (slope >= 0)
            break;
        for (int halvings = 0; halvings < HALVINGS; halvings++, step /= 2) {
            for (size_t i = 0; i < size; i++)
                next[i] = point[i] + step * direction[i];
            value = function(next_gradient, next, context);
            if (value <= result.value + ARMIJO * step * slope)
                break;
        }
        if (!(value < result.value))
            break;
        remember(&memory, point, next, gradient, next_gradient);
        memcpy(point, next, size * sizeof *point);
        memcpy(gradient, next_gradient, size * sizeof *gradient);
        result.value = value;
        result.iterations++;
        result.converged = largest_entry(gradient, size) < limit;
    }
    free(memory.step);
    free(memory.change);
    free(gradient);
    free(next);
    free(next_gradient);
    free(direction);
    return result;
}
