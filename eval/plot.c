/* Charts in a page. See eval/plot.h; eval/report.js draws the same again for other ranges. */
#include "eval/plot.h"
#include "eval/axis.h"
#include "eval/html.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIDE     1000 /* units of the SVG along both axes of the plot */
#define X_TICKS  5
#define Y_TICKS  4
#define X_DIGITS 8
#define Y_DIGITS 6

void plot_add(Plot *plot, const char *name, int color, const double *x, const double *y,
              size_t rows, size_t columns) {
    if (plot->count == PLOT_SERIES)
        return;
    PlotSeries *s = &plot->series[plot->count];
    envelope_make(&s->envelope, x, y, rows, columns);
    if (!s->envelope.count) {
        envelope_free(&s->envelope);
        return;
    }
    s->name = memory_text("%s", name);
    s->color = color;
    plot->count++;
}

void plot_free(Plot *plot) {
    for (int i = 0; i < plot->count; i++) {
        free(plot->series[i].name);
        envelope_free(&plot->series[i].envelope);
    }
    plot->count = 0;
}

/* With so many digits that a momentum below 1 does not become 1. */
static void value_text(char text[NUMBER_TEXT], double value) {
    for (int digits = 4; digits < 10; digits++) {
        number_text(text, value, digits);
        if (!(value < 1 && strtod(text, NULL) >= 1))
            return;
    }
}

/* ---- axes ---- */

typedef struct Axes {
    Axis x, y;
} Axes;

static Axes choose_axes(const Plot *plot) {
    double left = INFINITY, right = -INFINITY, low = INFINITY, high = -INFINITY,
           positive = INFINITY;
    for (int i = 0; i < plot->count; i++) {
        const Envelope *e = &plot->series[i].envelope;
        left = fmin(left, e->x[0]);
        right = fmax(right, e->x[e->count - 1]);
        for (size_t k = 0; k < e->count; k++) {
            low = fmin(low, e->low[k]);
            high = fmax(high, e->high[k]);
            double least = e->low[k] > 0 ? e->low[k] : e->high[k];
            positive = least > 0 ? fmin(positive, least) : positive;
        }
    }
    Axes axes;
    if (left == right) { /* one step */
        left -= 1;
        right += 1;
    }
    axes.x = axis_linear(left, right, X_TICKS, false);
    bool log_scale = plot->scale == CHART_LOG ||
                     (plot->scale == CHART_AUTO && low > 0 && high > 50 * low);
    if (log_scale && high > 0) {
        axes.y = axis_logarithmic(positive / 1.15, high * 1.15, Y_TICKS);
        return axes;
    }
    if (plot->zero) {
        low = fmin(low, 0);
        high = fmax(high, 0);
    }
    axes.y = axis_linear(low, high, Y_TICKS, true);
    return axes;
}

static double percent(const Axis *axis, double value) {
    return 100 * axis_place(axis, value);
}

/* Lines and numbers of the axes; the y axis runs upward. */
static void write_axes(FILE *out, const Axes *axes) {
    fputs("<g class=\"grid\">", out);
    for (int i = 0; i < axes->y.count; i++) {
        double y = 100 - percent(&axes->y, axes->y.ticks[i]);
        fprintf(out, "<line x1=\"0\" x2=\"100%%\" y1=\"%.5g%%\" y2=\"%.5g%%\"/>", y, y);
    }
    fputs("</g><g class=\"ticks\">", out);
    for (int i = 0; i < axes->y.count; i++)
        fprintf(out, "<text class=\"y\" x=\"0\" dx=\"-6\" y=\"%.5g%%\" dy=\".32em\">%s</text>",
                100 - percent(&axes->y, axes->y.ticks[i]), axes->y.labels[i]);
    for (int i = 0; i < axes->x.count; i++) {
        double x = percent(&axes->x, axes->x.ticks[i]);
        fprintf(out, "<text class=\"x\" x=\"%.5g%%\" y=\"100%%\" dy=\"1.5em\">%s</text>", x,
                axes->x.labels[i]);
    }
    fputs("</g>", out);
}

/* ---- lines ---- */

/* A coordinate with at most one decimal. */
static void put_coordinate(FILE *out, double value) {
    long tenths = lround(fmin(fmax(value, -10 * SIDE), 11 * SIDE) * 10);
    if (tenths % 10)
        fprintf(out, "%.1f", (double)tenths / 10);
    else
        fprintf(out, "%ld", tenths / 10);
}

static bool put_point(FILE *out, const Axes *axes, char command, double x, double y) {
    double across = SIDE * axis_place(&axes->x, x), down = SIDE * (1 - axis_place(&axes->y, y));
    if (!isfinite(down)) /* a logarithmic axis cannot show it */
        return false;
    fputc(command, out);
    put_coordinate(out, across);
    fputc(' ', out);
    fprintf(out, "%ld", lround(down));
    return true;
}

static void write_line(FILE *out, const Axes *axes, const char *kind, int color, const double *x,
                       const double *y, size_t count) {
    bool down = false;
    fprintf(out, "<path class=\"%s c%d\" d=\"", kind, color);
    for (size_t i = 0; i < count; i++)
        down = put_point(out, axes, down ? 'L' : 'M', x[i], y[i]);
    fputs(count == 1 && down ? "h0\"/>" : "\"/>", out); /* a lone point: its round end is a dot */
}

/* Forth along the highest values, back along the lowest; on a logarithmic axis down to its edge
 * where these are not positive. */
static void write_band(FILE *out, const Axes *axes, int color, const Envelope *e) {
    double edge = axes->y.logarithmic ? axes->y.low : -INFINITY;
    fprintf(out, "<path class=\"band c%d\" d=\"", color);
    for (size_t i = 0; i < e->count; i++)
        put_point(out, axes, i ? 'L' : 'M', e->x[i], fmax(e->high[i], edge));
    for (size_t i = e->count; i-- > 0;)
        put_point(out, axes, 'L', e->x[i], fmax(e->low[i], edge));
    fputs("Z\"/>", out);
}

static void write_series(FILE *out, const Axes *axes, const Plot *plot, const PlotSeries *s,
                         bool under) {
    const Envelope *e = &s->envelope;
    size_t window = plot->smooth ? e->count / PLOT_SMOOTH : 0;
    if (under && !e->exact)
        write_band(out, axes, s->color, e);
    if (under && e->exact && window > 1)
        write_line(out, axes, "raw", s->color, e->x, e->mean, e->count);
    if (under)
        return;
    double *mean = memory_new(e->count, sizeof *mean);
    envelope_smooth(mean, e, window > 1 ? window : 0);
    write_line(out, axes, "line", s->color, e->x, mean, e->count);
    free(mean);
}

static void write_svg(FILE *out, const Plot *plot, const Axes *axes) {
    fputs("<svg class=\"axes\" role=\"img\" aria-label=\"", out);
    html_format(out, "%s by step:", plot->title);
    for (int i = 0; i < plot->count; i++) {
        char last[NUMBER_TEXT];
        value_text(last, plot->series[i].envelope.last);
        html_format(out, "%s %s, at last %s", i ? ";" : "", plot->series[i].name, last);
    }
    fputs("\">", out);
    write_axes(out, axes);
    fprintf(out,
            "<svg class=\"data\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
            "width=\"100%%\" height=\"100%%\">",
            SIDE, SIDE);
    for (int i = 0; i < plot->marks; i++)
        fprintf(out, "<path class=\"mark\" d=\"M%.1f 0V%d\"/>",
                SIDE * axis_place(&axes->x, plot->mark[i]), SIDE);
    /* the first series matters most, so it is drawn last; bands lie under all lines */
    for (int under = 1; under >= 0; under--)
        for (int i = plot->count - 1; i >= 0; i--)
            write_series(out, axes, plot, &plot->series[i], under);
    fputs("</svg><line class=\"base\" x1=\"0\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/></svg>", out);
}

/* ---- numbers for the script ---- */

static void write_numbers(FILE *out, const char *name, const double *values, size_t count,
                          int digits) {
    fprintf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (i)
            fputc(',', out);
        html_json_number(out, values[i], digits);
    }
    fputc(']', out);
}

static void write_data(FILE *out, const Plot *plot, const Axes *axes) {
    fprintf(out, "<script type=\"application/json\">{\"log\":%s,\"zero\":%s,\"smooth\":%s",
            axes->y.logarithmic ? "true" : "false", plot->zero ? "true" : "false",
            plot->smooth ? "true" : "false");
    write_numbers(out, "marks", plot->mark, (size_t)plot->marks, X_DIGITS);
    fputs(",\"series\":[", out);
    for (int i = 0; i < plot->count; i++) {
        const PlotSeries *s = &plot->series[i];
        const Envelope *e = &s->envelope;
        fprintf(out, "%s{\"color\":%d,\"name\":", i ? "," : "", s->color);
        html_json_text(out, s->name);
        write_numbers(out, "x", e->x, e->count, X_DIGITS);
        write_numbers(out, "y", e->mean, e->count, Y_DIGITS);
        if (!e->exact) {
            write_numbers(out, "low", e->low, e->count, Y_DIGITS);
            write_numbers(out, "high", e->high, e->count, Y_DIGITS);
            write_numbers(out, "n", e->n, e->count, X_DIGITS);
        }
        fputc('}', out);
    }
    fputs("]}</script>", out);
}

void plot_write(FILE *out, const Plot *plot, int number) {
    fprintf(out, "<figure class=\"chart\" id=\"chart-%d\"><figcaption>", number);
    if (plot->group)
        html_element(out, "span", NULL, plot->group);
    html_element(out, "b", NULL, plot->title);
    if (plot->unit) {
        fputs(" <small>", out);
        html_text(out, plot->unit);
        fputs("</small>", out);
    }
    fputs("</figcaption>", out);
    if (!plot->count) {
        fputs("<p class=\"absent\">no values yet</p></figure>\n", out);
        return;
    }
    fputs("<ul class=\"legend\">", out);
    for (int i = 0; i < plot->count; i++) {
        char last[NUMBER_TEXT];
        value_text(last, plot->series[i].envelope.last);
        fprintf(out, "<li class=\"c%d\"><i></i>", plot->series[i].color);
        html_text(out, plot->series[i].name);
        fprintf(out, " <b>%s</b></li>", last);
    }
    Axes axes = choose_axes(plot);
    size_t widest = 3;
    for (int i = 0; i < axes.y.count; i++) {
        size_t width = strlen(axes.y.labels[i]);
        widest = width > widest ? width : widest;
    }
    fprintf(out, "</ul><div class=\"plot\" style=\"--gutter:%zuch\">", widest);
    write_svg(out, plot, &axes);
    fputs("</div>", out);
    write_data(out, plot, &axes);
    fputs("</figure>\n", out);
}
