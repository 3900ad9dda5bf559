/* Long series made short. See eval/envelope.h. */
#include "eval/envelope.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add_point(Envelope *e, double x, double y, bool opens) {
    size_t i = opens ? e->count++ : e->count - 1;
    e->x[i] += x; /* sums, until they are divided */
    e->mean[i] += y;
    e->low[i] = opens ? y : fmin(e->low[i], y);
    e->high[i] = opens ? y : fmax(e->high[i], y);
    e->n[i]++;
}

void envelope_make(Envelope *e, const double *x, const double *y, size_t rows, size_t columns) {
    size_t finite = 0;
    double first = NAN, last = NAN, part = NAN;
    memset(e, 0, sizeof *e);
    e->last = NAN;
    for (size_t i = 0; i < rows; i++)
        if (isfinite(x[i]) && isfinite(y[i])) {
            first = finite++ ? first : x[i];
            last = x[i];
            e->last = y[i];
        }
    e->exact = finite <= columns;
    size_t room = e->exact ? finite : columns;
    e->x = memory_new(room, sizeof *e->x);
    e->mean = memory_new(room, sizeof *e->mean);
    e->low = memory_new(room, sizeof *e->low);
    e->high = memory_new(room, sizeof *e->high);
    e->n = memory_new(room, sizeof *e->n);
    for (size_t i = 0; i < rows; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            continue;
        double where = 0;
        if (!e->exact && last > first)
            where = fmin(floor((x[i] - first) / (last - first) * (double)columns),
                         (double)(columns - 1));
        add_point(e, x[i], y[i], e->exact || where != part);
        part = where;
    }
    for (size_t i = 0; i < e->count; i++) {
        e->x[i] /= e->n[i];
        /* rounding must not push a mean out of its part */
        e->mean[i] = fmin(fmax(e->mean[i] / e->n[i], e->low[i]), e->high[i]);
    }
}

void envelope_free(Envelope *e) {
    free(e->x);
    free(e->mean);
    free(e->low);
    free(e->high);
    free(e->n);
    memset(e, 0, sizeof *e);
}

void envelope_smooth(double *out, const Envelope *e, size_t window) {
    size_t half = window / 2;
    for (size_t i = 0; i < e->count; i++) {
        size_t from = i > half ? i - half : 0;
        size_t to = e->count - i > half ? i + half + 1 : e->count;
        double sum = 0, n = 0;
        for (size_t j = from; j < to; j++) { /* at most 720 parts: no need for a moving sum */
            sum += e->n[j] * e->mean[j];
            n += e->n[j];
        }
        out[i] = sum / n;
    }
}
