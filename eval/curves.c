/* From log.csv to curves.png, from diagnostics.csv to diagnostics.png. See curves.h. */
#include "eval/curves.h"

#include "base/file.h"
#include "eval/axis.h"
#include "eval/panels.h"
#include "eval/png.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BYTES_MAX   (256u << 20)
#define LOG_COLUMNS_MAX 256
#define PANEL_WIDTH     680
#define PANEL_HEIGHT    310
#define SMOOTH_SHARE    60 /* the running mean spans 1 / 60 of the log */

/* Ends the field that begins at *text, moves past its comma or to the end of the line. */
static char *next_field(char **text) {
    char *field = *text;
    size_t length = strcspn(field, ",");
    *text = field[length] ? field + length + 1 : field + length;
    field[length] = 0;
    while (*field == ' ' || *field == '"') {
        field++;
    }
    for (size_t n = strlen(field); n > 0 && strchr(" \"\r", field[n - 1]); n--) {
        field[n - 1] = 0;
    }
    return field;
}

static double field_number(const char *field) {
    char *end;
    double value = strtod(field, &end);
    return end == field || *end ? NAN : value;
}

/* Ends the line at *text and moves past it; NULL where no whole line is left. */
static char *next_line(char **text) {
    char *end = strchr(*text, '\n');
    if (!end) {
        return NULL;
    }
    char *line = *text;
    *end = 0;
    *text = end + 1;
    return line;
}

static size_t lines_in(const char *text) {
    size_t count = 0;
    for (; (text = strchr(text, '\n')); text++) {
        count++;
    }
    return count;
}

static int read_header(CurvesLog *log, char *line, const char *path, Error *error) {
    log->names = memory_new(LOG_COLUMNS_MAX, sizeof *log->names);
    log->values = memory_new(LOG_COLUMNS_MAX, sizeof *log->values);
    bool step = false;
    for (char *rest = line; *rest;) {
        if (log->columns == LOG_COLUMNS_MAX) {
            return error_set(error, ERROR_RUN, "%s: more than %d columns; is this a run's log.csv?",
                             path, LOG_COLUMNS_MAX);
        }
        const char *name = next_field(&rest);
        step = step || strcmp(name, "step") == 0;
        log->names[log->columns++] = memory_text("%s", name);
    }
    if (!step) {
        return error_set(error, ERROR_RUN,
                         "%s: the first line names no column \"step\"; is this a run's log.csv?",
                         path);
    }
    return 0;
}

int curves_log_read(CurvesLog *log, const char *path, Error *error) {
    memset(log, 0, sizeof *log);
    uint8_t *bytes;
    size_t count;
    if (file_read(&bytes, &count, path, LOG_BYTES_MAX, error)) {
        return -1;
    }
    char *text = (char *)bytes;
    size_t most = lines_in(text);
    char *line = next_line(&text);
    if (line && read_header(log, line, path, error)) {
        free(bytes);
        curves_log_free(log);
        return -1;
    }
    for (size_t c = 0; c < log->columns; c++) {
        log->values[c] = memory_new(most ? most : 1, sizeof *log->values[c]);
    }
    const double *step = curves_log_column(log, "step");
    while (line && (line = next_line(&text))) {
        if (!*line || *line == '\r') {
            continue;
        }
        for (size_t c = 0; c < log->columns; c++) {
            log->values[c][log->rows] = field_number(next_field(&line));
        }
        double now = step[log->rows];
        if (!isfinite(now)) {
            continue; /* no place on the axis */
        }
        size_t row = log->rows, keep = row;
        while (keep > 0 && step[keep - 1] >= now) {
            keep--;
        }
        for (size_t c = 0; c < log->columns && keep < row; c++) {
            log->values[c][keep] = log->values[c][row];
        }
        log->rows = keep + 1;
    }
    free(bytes);
    return 0;
}

void curves_log_free(CurvesLog *log) {
    for (size_t c = 0; c < log->columns; c++) {
        free(log->names[c]);
        free(log->values[c]);
    }
    free(log->names);
    free(log->values);
    memset(log, 0, sizeof *log);
}

const double *curves_log_column(const CurvesLog *log, const char *name) {
    for (size_t c = 0; c < log->columns; c++) {
        if (strcmp(log->names[c], name) == 0) {
            return log->values[c];
        }
    }
    return NULL;
}

/* Measures that are taken now and then leave most fields empty: only full ones make a line. */
static int add_column(ChartPanel *panel, const CurvesLog *log, const char *column, const char *name,
                      bool smooth, Error *error) {
    const double *step = curves_log_column(log, "step"), *value = curves_log_column(log, column);
    double *x = memory_new(log->rows ? log->rows : 1, sizeof *x);
    double *y = memory_new(log->rows ? log->rows : 1, sizeof *y);
    size_t filled = 0, used = 0;
    for (size_t i = 0; i < log->rows; i++) {
        filled += isfinite(value[i]) ? 1 : 0;
    }
    bool sparse = filled * 2 < log->rows;
    for (size_t i = 0; i < log->rows; i++) {
        if (!sparse || isfinite(value[i])) {
            x[used] = step[i];
            y[used++] = value[i];
        }
    }
    size_t window = smooth ? used / SMOOTH_SHARE : 0;
    int result = chart_series(panel, name, x, y, used, (int)window, error);
    free(y);
    free(x);
    return result;
}

/* Is there a number in the column? */
static bool has_values(const CurvesLog *log, const char *column) {
    const double *value = curves_log_column(log, column);
    for (size_t i = 0; value && i < log->rows; i++) {
        if (isfinite(value[i])) {
            return true;
        }
    }
    return value && !log->rows;
}

static int add_panels(Chart *chart, const CurvesLog *log, PanelSource source, Error *error) {
    size_t count;
    const Panel *panels = panels_all(&count);
    for (const Panel *plan = panels; plan < panels + count; plan++) {
        ChartPanel *panel = NULL;
        bool drawn = plan->source == source && (plan->flags & PANEL_PAGE);
        for (int i = 0; drawn && i < PANEL_COLUMNS && plan->columns[i].column; i++) {
            const char *column = plan->columns[i].column;
            if (!has_values(log, column)) {
                continue;
            }
            if (!panel) {
                panel = chart_panel(chart, plan->title, plan->unit, "step", plan->scale);
                if (plan->flags & PANEL_ZERO) {
                    chart_panel_zero(panel);
                }
            }
            if (add_column(panel, log, column, plan->columns[i].name, plan->flags & PANEL_SMOOTH,
                           error)) {
                return -1;
            }
        }
    }
    return 0;
}

static int write_page(const char *png_path, const char *csv_path, const char *title,
                      PanelSource source, Error *error) {
    CurvesLog log;
    if (curves_log_read(&log, csv_path, error)) {
        return -1;
    }
    char *subtitle = NULL;
    if (log.rows > 0) {
        const double *step = curves_log_column(&log, "step");
        char first[NUMBER_TEXT], last[NUMBER_TEXT], rows[NUMBER_TEXT];
        number_whole(first, step[0]);
        number_whole(last, step[log.rows - 1]);
        number_whole(rows, (double)log.rows);
        bool steps = source == PANEL_LOG;
        subtitle = steps ? memory_text("Steps %s to %s, %s logged. Pale lines are single steps, "
                                       "strong lines running means; bold numbers are the latest "
                                       "values.",
                                       first, last, rows)
                         : memory_text("After steps %s to %s, %s diagnoses on the same clips and "
                                       "masks; bold numbers are the latest values.",
                                       first, last, rows);
    } else {
        subtitle = memory_text(source == PANEL_LOG ? "The log holds no step yet."
                                                   : "No diagnosis has been made yet.");
    }
    Chart *chart = chart_new(title, subtitle, 2, PANEL_WIDTH, PANEL_HEIGHT);
    Canvas *canvas = NULL;
    int result = add_panels(chart, &log, source, error);
    if (result == 0) {
        result = chart_draw(&canvas, chart, error);
    }
    if (result == 0) {
        result = png_write(png_path, canvas, error);
    }
    canvas_free(canvas);
    chart_free(chart);
    free(subtitle);
    curves_log_free(&log);
    return result;
}

int curves_write(const char *png_path, const char *csv_path, const char *title, Error *error) {
    return write_page(png_path, csv_path, title, PANEL_LOG, error);
}

int curves_write_diagnostics(const char *png_path, const char *csv_path, const char *title,
                             Error *error) {
    return write_page(png_path, csv_path, title, PANEL_DIAGNOSTICS, error);
}
