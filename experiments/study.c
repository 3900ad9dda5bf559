/* jepa study: what probes and diagnostics say of runs in the course of their training, in one table
 * and one picture.
 *
 *   DIR/RUN/                     a run, with its checkpoints step-N and diagnostics.csv
 *   DIR/RUN-probe-N/results.csv  `jepa probe` on its checkpoint of N steps
 *   DIR/RUN-values-N/results.csv the same with --task regression; may be missing
 *   DIR/study.csv, study.png     what comes out
 *
 * 0 % is the random initialisation, as the first of these tables has it. Of diagnostics.csv the row
 * of a checkpoint is the last one measured before or at it. Nothing is computed anew. */
#include "base/file.h"
#include "base/words.h"
#include "eval/chart.h"
#include "eval/curves.h"
#include "eval/png.h"
#include "eval/table.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "jepa/checkpoint.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX   4
#define POINTS_MAX 64 /* checkpoints of a run, and 0 % */
#define ROWS_MAX   4096
#define PANEL_W    520
#define PANEL_H    300

/* What is followed through a run: a probe's score, or a column of diagnostics.csv. */
typedef struct Line {
    const char *name;     /* in the table */
    const char *probe;    /* of results.csv; NULL: a column */
    const char *features; /* likewise */
    const char *column;   /* of diagnostics.csv */
    bool values;          /* from RUN-values-N */
    double scale;         /* of what is printed: 100 for percent */
} Line;

static const Line lines[] = {
    {"kNN, %", "kNN", "this encoder", NULL, false, 100},
    {"linear, %", "linear", "this encoder", NULL, false, 100},
    {"attentive, %", "attentive", "this encoder", NULL, false, 100},
    {"raw pixels, linear, %", "linear", "raw pixels", NULL, false, 100},
    {"majority class, %", "", "majority class", NULL, false, 100},
    {"values, linear, R2", "linear", "this encoder", NULL, true, 1},
    {"values, raw pixels, R2", "linear", "raw pixels", NULL, true, 1},
    {"target RankMe", NULL, NULL, "target_rankme", false, 1},
    {"LiDAR", NULL, NULL, "lidar", false, 1},
    {"target alpha-ReQ", NULL, NULL, "target_alpha", false, 1},
    {"target std", NULL, NULL, "target_std", false, 1},
    {"target SIGReg", NULL, NULL, "target_sigreg", false, 1},
    {"predictor skill", NULL, NULL, "skill", false, 1},
    {"online kNN, %", NULL, NULL, "knn", false, 100},
};
#define LINES (sizeof lines / sizeof *lines)

typedef struct Course {
    const char *name; /* of the run */
    int points;
    int64_t step[POINTS_MAX];
    double share[POINTS_MAX]; /* percent of the training */
    double value[LINES][POINTS_MAX], low[LINES][POINTS_MAX], high[LINES][POINTS_MAX];
    CurvesLog diagnostics;
} Course;

static double number(const Table *t, size_t row, const char *column) {
    const char *cell = table_cell(t, row, table_column(t, column));
    char *end;
    double value = strtod(cell, &end);
    return end == cell ? NAN : value;
}

/* One table of results into point `p`; `first`: its random initialisation is point 0. */
static int take_results(Course *c, const char *path, int p, bool values, bool first, Error *error) {
    Table t = {0};
    if (!file_exists(path))
        return 0;
    int result = table_read(&t, path, ROWS_MAX, false, error);
    int probe = result ? -1 : table_column(&t, "probe");
    int features = result ? -1 : table_column(&t, "features");
    if (!result && (probe < 0 || features < 0 || table_column(&t, "score") < 0))
        result = error_set(error, ERROR_RUN, "%s: it has no columns probe, features and score",
                           path);
    for (size_t row = 0; !result && row < t.rows; row++)
        for (size_t l = 0; l < LINES; l++) {
            if (!lines[l].probe || lines[l].values != values ||
                strcmp(lines[l].probe, table_cell(&t, row, probe)))
                continue;
            const char *of = table_cell(&t, row, features);
            bool random = first && !strcmp(of, "random initialisation") &&
                          !strcmp(lines[l].features, "this encoder");
            bool floor = strcmp(lines[l].features, "this encoder") != 0;
            if (strcmp(of, lines[l].features) && !random)
                continue;
            for (int at = 0; at <= p; at++) {
                if (random ? at > 0 : at < p && !(floor && first))
                    continue;
                c->value[l][at] = lines[l].scale * number(&t, row, "score");
                c->low[l][at] = lines[l].scale * number(&t, row, "low95");
                c->high[l][at] = lines[l].scale * number(&t, row, "high95");
            }
        }
    table_free(&t);
    return result;
}

static void take_diagnostics(Course *c) {
    const double *steps = curves_log_column(&c->diagnostics, "step");
    for (size_t l = 0; l < LINES; l++) {
        const double *column = lines[l].column ? curves_log_column(&c->diagnostics, lines[l].column)
                                               : NULL;
        for (int p = 0; column && steps && p < c->points; p++)
            for (size_t row = 0; row < c->diagnostics.rows; row++)
                if (steps[row] <= (double)c->step[p])
                    c->value[l][p] = lines[l].scale * column[row];
    }
}

static int read_course(Course *c, const char *dir, const char *name, Error *error) {
    char *run = path_join(dir, name), *diagnostics = path_join(run, "diagnostics.csv");
    int64_t *steps = NULL;
    size_t count = 0, probed = 0;
    c->name = name;
    for (size_t l = 0; l < LINES; l++)
        for (int p = 0; p < POINTS_MAX; p++)
            c->value[l][p] = c->low[l][p] = c->high[l][p] = NAN;
    int result = checkpoint_list(&steps, &count, run, error);
    if (!result && (!count || count >= POINTS_MAX))
        result = error_set(error, ERROR_RUN, "%s: it has %zu checkpoints, expected 1 to %d", run,
                           count, POINTS_MAX - 1);
    c->points = 1;
    for (size_t i = 0; !result && i < count; i++) {
        size_t tables = 0;
        c->step[c->points] = steps[i];
        c->share[c->points] = 100. * (double)steps[i] / (double)steps[count - 1];
        for (int values = 0; values < 2 && !result; values++) {
            char *path = memory_text("%s/%s-%s-%" PRId64 "/results.csv", dir, name,
                                     values ? "values" : "probe", steps[i]);
            tables += file_exists(path);
            result = take_results(c, path, c->points, values, !probed, error);
            free(path);
        }
        probed += tables;
        c->points += tables > 0; /* one that was not probed is no point */
    }
    if (!result && !probed)
        result = error_set(error, ERROR_RUN,
                           "%s: no checkpoint of it was probed: jepa probe --checkpoint "
                           "%s/step-%" PRId64 " ... --out %s-probe-%" PRId64,
                           run, run, steps[0], run, steps[0]);
    if (!result && file_exists(diagnostics)) {
        result = curves_log_read(&c->diagnostics, diagnostics, error);
        if (!result)
            take_diagnostics(c);
    }
    free(steps);
    free(diagnostics);
    free(run);
    return result;
}

static bool has_values(const Course *c, size_t l) {
    for (int p = 0; p < c->points; p++)
        if (isfinite(c->value[l][p]))
            return true;
    return false;
}

static void print_course(const Course *c) {
    printf("%-24s", c->name);
    for (int p = 0; p < c->points; p++)
        printf("%8.0f %%", c->share[p]);
    printf("   of %" PRId64 " steps\n", c->step[c->points - 1]);
    for (size_t l = 0; l < LINES; l++) {
        if (!has_values(c, l))
            continue;
        printf("%-24s", lines[l].name);
        for (int p = 0; p < c->points; p++)
            if (isfinite(c->value[l][p]))
                printf(lines[l].scale > 1 ? "%10.1f" : "%10.3f", c->value[l][p]);
            else
                printf("%10s", "");
        printf("\n");
    }
}

static int write_csv(const char *dir, const Course *courses, int runs, Error *error) {
    char *text = NULL, *path = path_join(dir, "study.csv");
    size_t size;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    fprintf(file, "run,step,share,what,value,low95,high95\n");
    for (int r = 0; r < runs; r++)
        for (size_t l = 0; l < LINES; l++)
            for (int p = 0; p < courses[r].points; p++) {
                const Course *c = &courses[r];
                char *name = csv_quote(c->name);
                if (!isfinite(c->value[l][p])) {
                    free(name);
                    continue;
                }
                fprintf(file, "%s,%" PRId64 ",%g,\"%s\",%.6g", name, c->step[p], c->share[p],
                        lines[l].name, c->value[l][p]);
                if (isfinite(c->low[l][p]))
                    fprintf(file, ",%.6g,%.6g\n", c->low[l][p], c->high[l][p]);
                else
                    fprintf(file, ",,\n");
                free(name);
            }
    fclose(file);
    int result = file_write(path, text, size, error);
    free(text);
    free(path);
    return result;
}

/* The probes of one run. */
static int draw_probes(Chart *chart, const Course *c, bool values, Error *error) {
    char *title = memory_text("%s: %s", c->name, values ? "positions and velocities" : "probes");
    ChartPanel *panel = NULL;
    int result = 0;
    for (size_t l = 0; l < LINES && !result; l++) {
        if (!lines[l].probe || lines[l].values != values || !has_values(c, l))
            continue;
        if (!panel)
            panel = chart_panel(chart, title, values ? "R2" : "top-1, %", "% of training",
                                CHART_LINEAR);
        if (panel && !values)
            chart_panel_zero(panel);
        result = chart_series(panel, lines[l].name, c->share, c->value[l], (size_t)c->points, 0,
                              error);
    }
    free(title);
    return result;
}

/* A column of diagnostics.csv, all runs in one panel, every measurement. */
static int draw_column(Chart *chart, const Course *courses, int runs, size_t l, Error *error) {
    ChartPanel *panel = NULL;
    int result = 0;
    for (int r = 0; r < runs && !result; r++) {
        const Course *c = &courses[r];
        const double *steps = curves_log_column(&c->diagnostics, "step");
        const double *column = curves_log_column(&c->diagnostics, lines[l].column);
        if (!steps || !column || !has_values(c, l))
            continue;
        if (!panel)
            panel = chart_panel(chart, lines[l].name, NULL, "step", CHART_AUTO);
        double *scaled = memory_new(c->diagnostics.rows + 1, sizeof *scaled);
        for (size_t row = 0; row < c->diagnostics.rows; row++)
            scaled[row] = lines[l].scale * column[row];
        result = chart_series(panel, c->name, steps, scaled, c->diagnostics.rows, 0, error);
        free(scaled);
    }
    return result;
}

static int draw(const char *dir, const Course *courses, int runs, Error *error) {
    char *path = path_join(dir, "study.png");
    Chart *chart = chart_new("What has it learnt, and when?",
                             "Frozen features of unseen videos by share of training; 0 %: random "
                             "weights. Below: diagnostics without labels, by step",
                             runs > 1 ? 2 : 1, PANEL_W, PANEL_H);
    Canvas *canvas = NULL;
    int result = 0;
    for (int values = 0; values < 2; values++)
        for (int r = 0; r < runs && !result; r++)
            result = draw_probes(chart, &courses[r], values, error);
    for (size_t l = 0; l < LINES && !result; l++)
        if (lines[l].column)
            result = draw_column(chart, courses, runs, l, error);
    if (!result)
        result = chart_draw(&canvas, chart, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result)
        printf("study            %s, study.csv\n", path);
    canvas_free(canvas);
    chart_free(chart);
    free(path);
    return result;
}

static int study(const char *dir, const char *const *names, int runs, Error *error) {
    Course *courses = memory_new((size_t)runs, sizeof *courses);
    int result = 0;
    for (int r = 0; r < runs && !result; r++) {
        result = read_course(&courses[r], dir, names[r], error);
        if (!result)
            print_course(&courses[r]);
    }
    if (!result)
        result = write_csv(dir, courses, runs, error);
    if (!result)
        result = draw(dir, courses, runs, error);
    for (int r = 0; r < runs; r++)
        curves_log_free(&courses[r].diagnostics);
    free(courses);
    return result;
}

int command_study(int argc, char **argv) {
    const CommandHelp help = {
        "jepa study DIR RUN [RUN...]",
        "Puts probes and diagnostics of runs side by side in the course of their training: DIR/RUN "
        "is a "
        "run, DIR/RUN-probe-N what jepa probe wrote of its checkpoint of N steps, DIR/RUN-values-N "
        "the "
        "same with --task regression. Writes DIR/study.csv and DIR/study.png. "
        "experiments/study.sh does all of it."};
    TextList rest = {0};
    Error error = {0};
    if (options_parse(argc, argv, &help, NULL, 0, &rest, &error) == 0) {
        if (rest.count < 2)
            error_set(&error, ERROR_USAGE, "expected a folder and the names of runs in it");
        else if (rest.count > RUNS_MAX + 1)
            error_set(&error, ERROR_USAGE, "at most %d runs", RUNS_MAX);
        else
            study(rest.items[0], (const char *const *)rest.items + 1, (int)rest.count - 1, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa study: %s\n", error.text);
    free(rest.items);
    return error.code;
}
