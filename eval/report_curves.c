/* The charts of a report. See eval/report_parts.h.
 *
 * One run: a chart for each panel (eval/panels.h), its columns over each other. Several runs: a
 * chart for each column, the runs over each other. Columns that no panel knows get a chart each, so
 * that whatever is logged is seen. */
#include "eval/html.h"
#include "eval/plot.h"
#include "eval/report_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_ONE     720 /* of a series: one for each pixel column of a chart on a desk */
#define PARTS_ALL     1440
#define PARTS_LEAST   240
#define UNKNOWN_MOST  48 /* charts of columns that no panel has, of a source */
#define UNKNOWN_GROUP "other"

typedef struct Curves {
    FILE *out;
    const ReportPage *page;
    int number;     /* of the next figure */
    char *zeros;    /* names of columns that are zero throughout */
    bool shortened; /* a series has more points than parts */
} Curves;

static const char *group_title(const char *group) {
    static const char *const titles[][2] = {{"loss", "Loss"},
                                            {"schedule", "Schedules"},
                                            {"gradient", "Gradients"},
                                            {"collapse", "Collapse measures"},
                                            {"diagnostics", "Diagnostics"},
                                            {"speed", "Throughput and waiting"},
                                            {"tokens", "Tokens"},
                                            {UNKNOWN_GROUP, "Other columns"}};
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (!strcmp(titles[i][0], group))
            return titles[i][1];
    return group;
}

static size_t parts_of(const ReportPage *page) {
    size_t parts = page->count > 1 ? (size_t)(PARTS_ALL / page->count) : PARTS_ONE;
    return parts > PARTS_LEAST ? parts : PARTS_LEAST;
}

static bool is_zero(const double *values, size_t rows) {
    size_t finite = 0;
    for (size_t i = 0; values && i < rows; i++) {
        if (values[i] != 0 && isfinite(values[i]))
            return false;
        finite += isfinite(values[i]) ? 1 : 0;
    }
    return finite > 0;
}

static bool is_equal(const double *a, const double *b, size_t rows) {
    for (size_t i = 0; i < rows; i++)
        if (a[i] != b[i] && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static void note_zero(Curves *c, const char *column) {
    char *longer = memory_text("%s%s%s", c->zeros ? c->zeros : "", c->zeros ? ", " : "", column);
    free(c->zeros);
    c->zeros = longer;
}

/* Is there anything to see of this column in this run? A part of the loss that is all of it, or
 * nothing of it, is not drawn again. */
static const double *worth(const ReportRun *run, PanelSource source, const char *column,
                           bool *zero) {
    const double *values = report_column(run, source, column);
    const double *loss = report_column(run, PANEL_LOG, "loss");
    size_t rows = run->log[source].rows;
    if (!values)
        return NULL;
    if (is_zero(values, rows)) {
        *zero = true;
        return NULL;
    }
    bool again = source == PANEL_LOG && !strcmp(column, "loss-jepa") && loss;
    return again && is_equal(values, loss, rows) ? NULL : values;
}

static void add_series(Curves *c, Plot *plot, const ReportRun *run, PanelSource source,
                       const char *name, int color, const double *values) {
    const CurvesLog *log = &run->log[source];
    int before = plot->count;
    plot_add(plot, name, color, curves_log_column(log, "step"), values, log->rows,
             parts_of(c->page));
    if (plot->count > before)
        c->shortened = c->shortened || !plot->series[before].envelope.exact;
}

/* Where runs went back to: rewinds.csv. Of one run only; of several nobody could tell whose. */
static void add_marks(Plot *plot, const ReportPage *page) {
    const Table *rewinds = &page->runs[0].rewinds;
    int to = table_column(rewinds, "to");
    for (size_t i = 0; page->count == 1 && to >= 0 && i < rewinds->rows; i++)
        if (plot->marks < PLOT_MARKS)
            plot->mark[plot->marks++] = strtod(table_cell(rewinds, i, to), NULL);
}

static void finish_plot(Curves *c, Plot *plot, const char *group) {
    if (plot->count) {
        if (!c->number)
            fputs("<div class=\"charts\">\n", c->out);
        plot->group = group_title(group);
        add_marks(plot, c->page);
        plot_write(c->out, plot, c->number++);
    }
    plot_free(plot);
}

/* One column: of the one run, or of every run that has it. */
static void draw_column(Curves *c, Plot *plot, PanelSource source, const char *column,
                        const char *name, const char *group, int color) {
    const ReportPage *page = c->page;
    bool zero = false, any = false;
    for (int r = 0; r < page->count; r++) {
        const double *values = worth(&page->runs[r], source, column, &zero);
        if (values)
            add_series(c, plot, &page->runs[r], source, page->count > 1 ? page->runs[r].name : name,
                       page->count > 1 ? r : color, values);
        any = any || values;
    }
    if (zero && !any)
        note_zero(c, column);
    if (page->count > 1)
        finish_plot(c, plot, group);
}

static void draw_panel(Curves *c, const Panel *panel) {
    Plot plot = {.title = panel->title,
                 .unit = panel->unit,
                 .scale = panel->scale,
                 .zero = panel->flags & PANEL_ZERO,
                 .smooth = panel->flags & PANEL_SMOOTH};
    bool several = c->page->count > 1 && panel->columns[1].column;
    for (int i = 0; i < PANEL_COLUMNS && panel->columns[i].column; i++) {
        char *title = several ? memory_text("%s: %s", panel->title, panel->columns[i].name) : NULL;
        plot.title = title ? title : panel->title;
        draw_column(c, &plot, panel->source, panel->columns[i].column, panel->columns[i].name,
                    panel->group, i);
        plot.title = panel->title;
        free(title);
    }
    if (c->page->count == 1)
        finish_plot(c, &plot, panel->group);
}

/* Columns that no panel has, by the run that has most of them. */
static void draw_unknown(Curves *c, PanelSource source) {
    const CurvesLog *log = &c->page->runs[0].log[source];
    for (int r = 1; r < c->page->count; r++)
        if (c->page->runs[r].log[source].columns > log->columns)
            log = &c->page->runs[r].log[source];
    int drawn = 0;
    for (size_t i = 0; i < log->columns && drawn < UNKNOWN_MOST; i++) {
        const char *column = log->names[i];
        if (panels_is_key(column) || strcmp(panels_group(source, column), UNKNOWN_GROUP) != 0)
            continue;
        Plot plot = {.title = column,
                     .unit = source == PANEL_DIAGNOSTICS ? "diagnostics.csv" : NULL,
                     .scale = CHART_AUTO};
        draw_column(c, &plot, source, column, column, UNKNOWN_GROUP, 0);
        if (c->page->count == 1)
            finish_plot(c, &plot, UNKNOWN_GROUP);
        drawn++;
    }
}

static void write_notes(const Curves *c) {
    fputs(
        "<p class=\"note\">Pale: every logged value; strong: running means over a sixtieth of the "
        "steps, where values are noisy.",
        c->out);
    if (c->shortened)
        fprintf(
            c->out,
            " Long logs are drawn in %zu parts of equal length: the pale band goes from the "
            "lowest to the highest value of each part, so that a spike of one step is seen, and "
            "the line through their means. Zooming shows the same parts larger.",
            parts_of(c->page));
    if (c->page->count == 1 && table_column(&c->page->runs[0].rewinds, "to") >= 0 &&
        c->page->runs[0].rewinds.rows)
        fputs(" Dotted: the step to which the run went back.", c->out);
    if (c->zeros) {
        fputs(" Zero throughout: ", c->out);
        html_text(c->out, c->zeros);
        fputc('.', c->out);
    }
    fputs("</p>", c->out);
}

void report_curves(FILE *out, const ReportPage *page) {
    Curves c = {.out = out, .page = page};
    size_t count;
    const Panel *panels = panels_all(&count);
    report_begin(out, "curves", "Curves");
    for (int r = 0; r < page->count; r++) {
        const ReportRun *run = &page->runs[r];
        if (run->log_problem[PANEL_LOG])
            report_absent(out, "%s%s%s", page->count > 1 ? run->name : "",
                          page->count > 1 ? ": " : "", run->log_problem[PANEL_LOG]);
        else if (!run->log[PANEL_LOG].rows)
            report_absent(out, "%s%sno step is logged yet", page->count > 1 ? run->name : "",
                          page->count > 1 ? ": " : "");
        if (!run->log_problem[PANEL_DIAGNOSTICS] ||
            strstr(run->log_problem[PANEL_DIAGNOSTICS], "is not there"))
            continue;
        report_absent(out, "%s", run->log_problem[PANEL_DIAGNOSTICS]);
    }
    fputs("<div class=\"controls\" id=\"controls\"></div>", out);
    for (size_t i = 0; i < count; i++)
        draw_panel(&c, &panels[i]);
    for (int source = 0; source < PANEL_SOURCES; source++)
        draw_unknown(&c, source);
    if (c.number) {
        fputs("</div>", out);
        write_notes(&c);
    }
    free(c.zeros);
    report_end(out);
}
