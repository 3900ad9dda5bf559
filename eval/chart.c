/* Line charts. See chart.h. Everything is laid out in whole pixels from the top left. */
#include "eval/chart.h"

#include "eval/axis.h"
#include "eval/colormap.h"
#include "eval/font.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN      28 /* around the picture */
#define GAP_X       36 /* between panels */
#define GAP_Y       30
#define TITLE_SIZE  22.0
#define SMALL_SIZE  13.0 /* subtitle, legend */
#define PANEL_SIZE  15.0 /* panel titles */
#define TICK_SIZE   12.0
#define HEAD        52 /* title and one line of legend of a panel, pixels */
#define LEGEND_LINE 20 /* each further line */
#define FOOT        44 /* tick labels and x label of a panel */
#define LINE_WIDTH  1.8
#define LABEL_GAP   7 /* between tick labels and the frame */

typedef struct Series {
    char *name;
    Point *values; /* [count] data units */
    size_t count;
    int smooth;
} Series;

struct ChartPanel {
    char *title, *unit, *x_label;
    ChartScale scale;
    bool zero;
    int series_count;
    Series series[CHART_SERIES];
};

struct Chart {
    char *title, *subtitle;
    int columns, panel_width, panel_height;
    int panel_count;
    ChartPanel *panels[CHART_PANELS];
};

static char *copy(const char *text) {
    return text ? memory_text("%s", text) : NULL;
}

Chart *chart_new(const char *title, const char *subtitle, int columns, int panel_width,
                 int panel_height) {
    Chart *chart = memory_new(1, sizeof *chart);
    chart->title = copy(title);
    chart->subtitle = copy(subtitle);
    chart->columns = columns < 1 ? 1 : columns;
    chart->panel_width = panel_width < 320 ? 320 : panel_width;
    chart->panel_height = panel_height < 200 ? 200 : panel_height;
    return chart;
}

void chart_free(Chart *chart) {
    if (!chart) {
        return;
    }
    for (int i = 0; i < chart->panel_count; i++) {
        ChartPanel *panel = chart->panels[i];
        for (int j = 0; j < panel->series_count; j++) {
            free(panel->series[j].name);
            free(panel->series[j].values);
        }
        free(panel->title);
        free(panel->unit);
        free(panel->x_label);
        free(panel);
    }
    free(chart->title);
    free(chart->subtitle);
    free(chart);
}

ChartPanel *chart_panel(Chart *chart, const char *title, const char *unit, const char *x_label,
                        ChartScale scale) {
    JEPA_ASSERT(chart->panel_count < CHART_PANELS);
    ChartPanel *panel = memory_new(1, sizeof *panel);
    panel->title = copy(title);
    panel->unit = copy(unit);
    panel->x_label = copy(x_label);
    panel->scale = scale;
    chart->panels[chart->panel_count++] = panel;
    return panel;
}

void chart_panel_zero(ChartPanel *panel) {
    panel->zero = true;
}

int chart_series(ChartPanel *panel, const char *name, const double *x, const double *y,
                 size_t count, int smooth, Error *error) {
    if (panel->series_count == CHART_SERIES || count > CHART_POINTS_MAX) {
        return error_set(
            error, ERROR_RUN,
            "chart \"%s\": series \"%s\" with %zu points does not fit; a panel holds %d "
            "series of at most %d points",
            panel->title, name, count, CHART_SERIES, CHART_POINTS_MAX);
    }
    Series *series = &panel->series[panel->series_count++];
    series->name = copy(name);
    series->count = count;
    series->smooth = smooth;
    series->values = memory_new(count ? count : 1, sizeof *series->values);
    for (size_t i = 0; i < count; i++) {
        series->values[i] = (Point){x[i], y[i]};
    }
    return 0;
}

/* out[i] = mean of the finite y within half a window of i; gaps stay gaps. */
static void smooth_values(Point *out, const Point *in, size_t count, int window) {
    size_t half = (size_t)window / 2, first = 0, last = 0, used = 0; /* window is first..last - 1 */
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        for (; last < count && last <= i + half; last++) {
            if (isfinite(in[last].y)) {
                sum += in[last].y;
                used++;
            }
        }
        for (; first + half < i; first++) {
            if (isfinite(in[first].y)) {
                sum -= in[first].y;
                used--;
            }
        }
        out[i].x = in[i].x;
        out[i].y = isfinite(in[i].y) && used ? sum / (double)used : NAN;
    }
}

typedef struct Range {
    double low, high; /* low > high: nothing seen */
    double least_positive;
} Range;

static void range_add(Range *range, double value) {
    if (isfinite(value)) {
        range->low = fmin(range->low, value);
        range->high = fmax(range->high, value);
        if (value > 0.0) {
            range->least_positive = fmin(range->least_positive, value);
        }
    }
}

static void panel_ranges(const ChartPanel *panel, Range *x, Range *y) {
    *x = *y = (Range){INFINITY, -INFINITY, INFINITY};
    for (int j = 0; j < panel->series_count; j++) {
        for (size_t i = 0; i < panel->series[j].count; i++) {
            Point p = panel->series[j].values[i];
            if (isfinite(p.x) && isfinite(p.y)) {
                range_add(x, p.x);
                range_add(y, p.y);
            }
        }
    }
}

static Axis y_axis(const ChartPanel *panel, Range y, int plot_height) {
    int wanted = plot_height / 48;
    bool log_scale = panel->scale == CHART_LOG ||
                     (panel->scale == CHART_AUTO && y.low > 0.0 && y.high > 50.0 * y.low);
    if (log_scale && y.high > 0.0) {
        return axis_logarithmic(y.least_positive / 1.15, y.high * 1.15, wanted);
    }
    if (panel->zero && y.low <= y.high) {
        y.low = fmin(y.low, 0.0);
        y.high = fmax(y.high, 0.0);
    }
    return axis_linear(y.low, y.high, wanted, true);
}

/* A frame of pixels and the axes that map data into it. */
typedef struct Plot {
    int x, y, width, height;
    Axis x_axis, y_axis;
} Plot;

static Point place(const Plot *plot, Point value) {
    return (Point){plot->x + axis_place(&plot->x_axis, value.x) * plot->width,
                   plot->y + (1.0 - axis_place(&plot->y_axis, value.y)) * plot->height};
}

/* Draws a series. Where it has more points than pixels, each half pixel column keeps its first,
 * lowest, highest and last point, which looks the same. */
static void draw_series(Canvas *canvas, const Plot *plot, const Point *values, size_t count,
                        double width, Color color, double alpha) {
    Point *points = memory_new(count ? count : 1, sizeof *points);
    size_t used = 0;
    for (size_t i = 0; i < count;) {
        Point first = place(plot, values[i]);
        size_t end = i + 1;
        if (isfinite(first.x) && isfinite(first.y) && count > 4 * (size_t)plot->width) {
            size_t low = i, high = i;
            double column = floor(first.x * 2);
            for (; end < count && isfinite(values[end].y); end++) {
                if (floor(place(plot, values[end]).x * 2) != column) {
                    break;
                }
                low = values[end].y < values[low].y ? end : low;
                high = values[end].y > values[high].y ? end : high;
            }
            size_t kept[4] = {i, low < high ? low : high, low < high ? high : low, end - 1};
            for (int k = 0; k < 4; k++) {
                if (k == 0 || kept[k] != kept[k - 1]) {
                    points[used++] = place(plot, values[kept[k]]);
                }
            }
        } else {
            points[used++] = first;
        }
        i = end;
    }
    canvas_stroke(canvas, points, used, width, color, alpha);
    for (size_t i = 0; i < used; i++) { /* lone values: a dot that can be seen */
        bool before = i > 0 && isfinite(points[i - 1].y);
        bool after = i + 1 < used && isfinite(points[i + 1].y);
        if (!before && !after && isfinite(points[i].y)) {
            canvas_stroke(canvas, &points[i], 1, width + 4.0, color, alpha);
        }
    }
    free(points);
}

/* Above the plot: for each series a stroke of its colour, its name and its last value, in as many
 * lines as it takes. Returns the number of lines; with canvas NULL only counts them. */
static int draw_legend(Canvas *canvas, const ChartPanel *panel, int left, int y, int width) {
    FontStyle text = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    FontStyle number = {SMALL_SIZE, true, COLOR_INK, FONT_LEFT, 0.0};
    int x = left, lines = 1;
    for (int j = 0; j < panel->series_count; j++) {
        const Series *series = &panel->series[j];
        double last = NAN;
        for (size_t i = series->count; i-- > 0 && !isfinite(last);) {
            last = series->values[i].y;
        }
        char value[NUMBER_TEXT];
        number_text(value, last, 4);
        int value_width = (int)font_width(value, SMALL_SIZE, true);
        int fixed = 24 + 6 + value_width; /* the stroke, the gap before the value, the value */
        char *name = font_elide(series->name, SMALL_SIZE, false, width - fixed);
        int name_width = (int)font_width(name, SMALL_SIZE, false);
        if (x > left && x + fixed + name_width > left + width) {
            x = left;
            y += LEGEND_LINE;
            lines++;
        }
        if (canvas) {
            canvas_line(canvas, x + 1, y - 4.5, x + 17, y - 4.5, 3.0, palette_color(j), 1.0);
            font_draw(canvas, x + 24, y, name, &text);
            font_draw(canvas, x + 24 + name_width + 6, y, value, &number);
        }
        x += fixed + name_width + 24;
        free(name);
    }
    return lines;
}

static void draw_axes(Canvas *canvas, const Plot *plot, const char *x_label) {
    FontStyle style = {TICK_SIZE, false, COLOR_FAINT, FONT_RIGHT, 0.0};
    int half = (int)font_capital(TICK_SIZE) / 2;
    int bottom = plot->y + plot->height;
    for (int i = 0; i < plot->y_axis.count; i++) {
        double up = axis_place(&plot->y_axis, plot->y_axis.ticks[i]);
        int y = plot->y + (int)lround((1.0 - up) * plot->height);
        canvas_rectangle(canvas, plot->x, y, plot->width, 1, COLOR_GRID, 1.0);
        font_draw(canvas, plot->x - LABEL_GAP, y + half, plot->y_axis.labels[i], &style);
    }
    style.align = FONT_CENTRE;
    for (int i = 0; i < plot->x_axis.count; i++) {
        double along = axis_place(&plot->x_axis, plot->x_axis.ticks[i]);
        int x = plot->x + (int)lround(along * plot->width);
        canvas_rectangle(canvas, x, plot->y, 1, plot->height, COLOR_GRID, 1.0);
        canvas_rectangle(canvas, x, bottom, 1, 4, COLOR_FRAME, 1.0);
        font_draw(canvas, x, bottom + 18, plot->x_axis.labels[i], &style);
    }
    canvas_rectangle(canvas, plot->x, bottom, plot->width + 1, 1, COLOR_FRAME, 1.0);
    if (x_label) {
        font_draw(canvas, plot->x + plot->width / 2, bottom + 37, x_label, &style);
    }
}

static void draw_panel(Canvas *canvas, const ChartPanel *panel, int x, int y, int width,
                       int height) {
    FontStyle title = {PANEL_SIZE, true, COLOR_INK, FONT_LEFT, 0.0};
    FontStyle unit = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    Range x_range, y_range;
    panel_ranges(panel, &x_range, &y_range);
    Plot plot = {0};
    int head = HEAD + (draw_legend(NULL, panel, x, 0, width) - 1) * LEGEND_LINE;
    plot.y = y + head;
    plot.height = height - head - FOOT;
    plot.y_axis = y_axis(panel, y_range, plot.height);
    double widest = 24;
    for (int i = 0; i < plot.y_axis.count; i++) {
        widest = fmax(widest, font_width(plot.y_axis.labels[i], TICK_SIZE, false));
    }
    int labels = (int)widest + LABEL_GAP;
    plot.x = x + labels;
    plot.width = width - labels - 14; /* half of the last x label may stand out */
    bool empty = x_range.low > x_range.high;
    int ticks = plot.width / 90;
    if (x_range.low == x_range.high) { /* one step: its neighbours are whole steps as well */
        x_range.low -= 1.0;
        x_range.high += 1.0;
        ticks = 2;
    }
    plot.x_axis = axis_linear(x_range.low, x_range.high, ticks, false);

    char *name = font_elide(panel->title, PANEL_SIZE, true, width * 0.6);
    font_draw(canvas, x, y + 14, name, &title);
    if (panel->unit) {
        double used = font_width(name, PANEL_SIZE, true) + 10;
        char *shorter = font_elide(panel->unit, SMALL_SIZE, false, width - used);
        font_draw(canvas, x + used, y + 14, shorter, &unit);
        free(shorter);
    }
    free(name);
    draw_legend(canvas, panel, x, y + 36, width);
    if (empty) {
        canvas_rectangle(canvas, plot.x, plot.y, plot.width, plot.height, COLOR_VOID, 1.0);
        unit.align = FONT_CENTRE;
        font_draw(canvas, plot.x + plot.width / 2, plot.y + plot.height / 2 + 4, "no values yet",
                  &unit);
        return;
    }
    draw_axes(canvas, &plot, panel->x_label);
    canvas_clip(canvas, plot.x - 4, plot.y - 4, plot.width + 9, plot.height + 8);
    /* The first series matters most, so it is drawn last; raw points lie under all lines. */
    for (int pass = 0; pass < 2; pass++) {
        for (int j = panel->series_count - 1; j >= 0; j--) {
            const Series *series = &panel->series[j];
            bool smooth = series->smooth > 1 && series->count > 2 * (size_t)series->smooth;
            if (pass == 0 && smooth) {
                draw_series(canvas, &plot, series->values, series->count, 1.0, palette_color(j),
                            0.3);
            } else if (pass == 1) {
                Point *mean = memory_new(series->count ? series->count : 1, sizeof *mean);
                smooth_values(mean, series->values, series->count, smooth ? series->smooth : 1);
                draw_series(canvas, &plot, mean, series->count, LINE_WIDTH, palette_color(j), 1.0);
                free(mean);
            }
        }
    }
    canvas_unclip(canvas);
}

int chart_draw(Canvas **canvas, const Chart *chart, Error *error) {
    int panels = chart->panel_count > 0 ? chart->panel_count : 1;
    int columns = chart->columns < panels ? chart->columns : panels;
    int rows = (panels + columns - 1) / columns;
    int head = (chart->title ? 40 : 0) + (chart->subtitle ? 24 : 0);
    long width = 2L * MARGIN + (long)columns * chart->panel_width + (columns - 1L) * GAP_X;
    int legend = 1; /* all panels grow with the longest legend, so that plots keep their height */
    for (int i = 0; i < chart->panel_count; i++) {
        int lines = draw_legend(NULL, chart->panels[i], 0, 0, chart->panel_width);
        legend = lines > legend ? lines : legend;
    }
    int panel_height = chart->panel_height + (legend - 1) * LEGEND_LINE;
    long height = 2L * MARGIN + head + (long)rows * panel_height + (rows - 1L) * GAP_Y;
    *canvas = NULL;
    if (width > CANVAS_SIDE_MAX || height > CANVAS_SIDE_MAX) {
        return error_set(error, ERROR_RUN,
                         "chart: %d panels in %d columns make %ld x %ld pixels, %d a side are "
                         "possible; use fewer or smaller panels",
                         panels, columns, width, height, CANVAS_SIDE_MAX);
    }
    if (canvas_new(canvas, (int)width, (int)height, COLOR_PAPER, error)) {
        return -1;
    }
    int y = MARGIN;
    double room = (double)(width - 2L * MARGIN);
    if (chart->title) {
        FontStyle style = {TITLE_SIZE, true, COLOR_INK, FONT_LEFT, 0.0};
        char *text = font_elide(chart->title, TITLE_SIZE, true, room);
        font_draw(*canvas, MARGIN, y + 18, text, &style);
        free(text);
        y += 40;
    }
    FontStyle small = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    if (chart->subtitle) {
        char *text = font_elide(chart->subtitle, SMALL_SIZE, false, room);
        font_draw(*canvas, MARGIN, y + 4, text, &small);
        free(text);
        y += 24;
    }
    if (chart->panel_count == 0) {
        font_draw(*canvas, MARGIN, y + 30, "Nothing to draw yet.", &small);
    }
    for (int i = 0; i < chart->panel_count; i++) {
        draw_panel(*canvas, chart->panels[i], MARGIN + i % columns * (chart->panel_width + GAP_X),
                   y + i / columns * (panel_height + GAP_Y), chart->panel_width, panel_height);
    }
    return 0;
}
