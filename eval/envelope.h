/* Long series made short without losing what can be seen of them.
 *
 *   points (x[i], y[i]), i < rows, x ascending; those whose y is not finite are left out
 *   no more than `columns` points:  kept as they are (exact)
 *   more:  the range of x in `columns` equal parts, and of each part that holds any points
 *          x, mean  the means of its points,  low, high  its extremes,  n  how many
 * A spike of one step is therefore the `high` of its part, however long the log, and
 * Σ n mean / Σ n is the mean of all values. With a part for each pixel column, the band from low to
 * high covers the same pixels as the line through all points. */
#ifndef JEPA_EVAL_ENVELOPE_H
#define JEPA_EVAL_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Envelope {
    size_t count;              /* parts that hold points */
    bool exact;                /* every part is one point: low = mean = high */
    double *x;                 /* [count] ascending */
    double *mean, *low, *high; /* [count] */
    double *n;                 /* [count] points */
    double last;               /* y of the last point; NaN: there is none */
} Envelope;

/* x, y [rows]; columns >= 1. Free with envelope_free. */
void envelope_make(Envelope *envelope, const double *x, const double *y, size_t rows,
                   size_t columns);
void envelope_free(Envelope *envelope);

/* Running mean, out [count]: over the parts within half of `window` parts to both sides (fewer near
 * the ends), each counted as often as it has points. */
void envelope_smooth(double *out, const Envelope *envelope, size_t window);

#endif
