/* Line charts: several panels in one picture, each with axes, a light grid and a legend.
 *
 * Panels fill rows from the left. The legend stands above the plot, never on it, and gives the last
 * value of every series; where it takes several lines, all panels grow by them. A series may be
 * drawn smoothed: the raw points pale, and over them s_i = mean of the raw values within `smooth` /
 * 2 points of i (fewer near the ends). What is not a number leaves a gap; a lone value is a dot.
 */
#ifndef JEPA_EVAL_CHART_H
#define JEPA_EVAL_CHART_H

#include "base/error.h"
#include "eval/canvas.h"
#include <stdbool.h>
#include <stddef.h>

#define CHART_SERIES     8 /* in one panel */
#define CHART_PANELS     64
#define CHART_POINTS_MAX 4000000 /* in one series */

typedef enum ChartScale {
    CHART_LINEAR,
    CHART_LOG, /* base 10; values that are not positive are left out */
    CHART_AUTO /* logarithmic where all values are positive and span more than a factor 50 */
} ChartScale;

typedef struct Chart Chart;
typedef struct ChartPanel ChartPanel;

/* `title` and `subtitle` (may be NULL) stand above all panels. Panels are panel_width x
 * panel_height pixels, at least 320 x 200, in `columns` columns. Free with chart_free. Texts are
 * copied. */
Chart *chart_new(const char *title, const char *subtitle, int columns, int panel_width,
                 int panel_height);
void chart_free(Chart *chart);

/* The next panel; it lives in the chart. `unit` (may be NULL) stands after the title in grey. */
ChartPanel *chart_panel(Chart *chart, const char *title, const char *unit, const char *x_label,
                        ChartScale scale);
void chart_panel_zero(ChartPanel *panel); /* a linear y axis reaches down (or up) to 0 */

/* Adds a line through (x[i], y[i]), i < count; both are copied. `smooth` > 1: number of points of
 * the running mean. Fails with an error when the panel is full or the series too long. */
int chart_series(ChartPanel *panel, const char *name, const double *x, const double *y,
                 size_t count, int smooth, Error *error);

/* Draws everything into a new picture, which the caller frees. A chart without panels or data says
 * so in the picture. Errors: larger than a picture can be. */
int chart_draw(Canvas **canvas, const Chart *chart, Error *error);

#endif
