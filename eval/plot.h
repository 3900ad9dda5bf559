/* A chart in a page: axes, lines and legend as HTML and SVG, and the numbers for the page's script.
 *
 * Everything in it stands at percentages of the plot, so that text keeps its size and lines their
 * width on a phone and on a desk; it needs no script. Lines are drawn from envelopes: a pale band
 * from the lowest to the highest value of each part, or the pale points themselves where there are
 * few enough, and over it the mean (a running mean where the values are noisy). */
#ifndef JEPA_EVAL_PLOT_H
#define JEPA_EVAL_PLOT_H

#include "eval/chart.h"
#include "eval/envelope.h"
#include <stdio.h>

#define PLOT_SERIES 8
#define PLOT_MARKS  64
#define PLOT_SMOOTH 60 /* the running mean spans 1 / 60 of the parts */

typedef struct PlotSeries {
    char *name;
    int color; /* of the page, 0..7 */
    Envelope envelope;
} PlotSeries;

typedef struct Plot {
    const char *group, *title, *unit; /* not owned; group and unit may be NULL */
    ChartScale scale;
    bool zero, smooth; /* a linear axis reaches 0; values are noisy */
    int count;
    PlotSeries series[PLOT_SERIES];
    int marks;
    double mark[PLOT_MARKS]; /* vertical lines at these x, e.g. where a run went back */
} Plot;

/* Adds points (x[i], y[i]), i < rows, x ascending, shortened to `columns` parts. A series without
 * any finite value is not added. A plot that is full takes no more. */
void plot_add(Plot *plot, const char *name, int color, const double *x, const double *y,
              size_t rows, size_t columns);
void plot_free(Plot *plot);

/* A <figure>. `number` tells the figures of a page apart. */
void plot_write(FILE *out, const Plot *plot, int number);

#endif
