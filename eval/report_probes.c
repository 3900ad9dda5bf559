/* Probe results in a report. See eval/report_parts.h.
 *
 * results.csv is shown as it is: its header names the columns. Where they say so, a row is also
 * drawn as its value with its 95 % interval, on one axis for all rows; the rows that a model must
 * be better than (the floors) stand in grey, and a line marks the best of them. */
#include "base/file.h"
#include "eval/html.h"
#include "eval/report_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Columns that mean something here; -1: not there. */
typedef struct Columns {
    int value, low, high;
} Columns;

typedef struct Score {
    double value, low, high; /* NaN: none */
    bool floor;
} Score;

static int first_of(const Table *t, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (table_column(t, names[i]) >= 0)
            return table_column(t, names[i]);
    return -1;
}

static Columns columns_of(const Table *t) {
    static const char *const values[] = {"top1", "accuracy", "value", "score", "mean"};
    static const char *const lows[] = {"low95", "low", "lower"};
    static const char *const highs[] = {"high95", "high", "upper"};
    return (Columns){first_of(t, values, sizeof values / sizeof *values),
                     first_of(t, lows, sizeof lows / sizeof *lows),
                     first_of(t, highs, sizeof highs / sizeof *highs)};
}

static double number(const char *text) {
    char *end;
    double value = strtod(text, &end);
    return end == text || *end ? NAN : value;
}

/* Does this column say what a row is of? Those of these names do; where there are none, all whose
 * cells are no numbers. */
static bool tells(const Table *t, size_t row, size_t column) {
    static const char *const names[] = {"probe", "features", "metric"};
    bool any = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int found = table_column(t, names[i]);
        if (found == (int)column)
            return true;
        any = any || found >= 0;
    }
    return !any && !isfinite(number(table_cell(t, row, (int)column)));
}

static bool is_floor(const Table *t, size_t row) {
    static const char *const floors[] = {"random init", "majority",       "raw pixels",
                                         "untrained",   "labels' shares", "training mean"};
    for (size_t c = 0; c < t->columns; c++)
        for (size_t i = 0; i < sizeof floors / sizeof *floors; i++)
            if (tells(t, row, c) && strcasestr(table_cell(t, row, (int)c), floors[i]))
                return true;
    return false;
}

static Score score_of(const Table *t, size_t row, const Columns *c) {
    return (Score){number(table_cell(t, row, c->value)), number(table_cell(t, row, c->low)),
                   number(table_cell(t, row, c->high)), is_floor(t, row)};
}

/* Are the values shares of 1, to be shown in per cent? */
static bool are_shares(const Table *t, const Columns *c) {
    for (size_t r = 0; r < t->rows; r++) {
        Score s = score_of(t, r, c);
        if (s.value < 0 || s.value > 1)
            return false;
    }
    return true;
}

/* "12.5 %", and "[3.5, 36.0]" or "" */
static void score_text(char value[64], char interval[64], const Score *s, bool share) {
    double scale = share ? 100 : 1;
    snprintf(interval, 64, "%s", "");
    if (!isfinite(s->value)) {
        snprintf(value, 64, "–");
        return;
    }
    snprintf(value, 64, share ? "%.1f %%" : "%.4g", scale * s->value);
    if (isfinite(s->low) && isfinite(s->high))
        snprintf(interval, 64, share ? "[%.1f, %.1f]" : "[%.4g, %.4g]", scale * s->low,
                 scale * s->high);
}

/* The value as a dot on its interval; `best`: the best floor. low..high: the axis. */
static void write_interval(FILE *out, const Score *s, double best, double low, double high) {
    double at = 100 / (high - low);
    fprintf(out, "<td class=\"interval\"><svg class=\"%s\" role=\"img\" aria-hidden=\"true\">",
            s->floor ? "floor" : "score");
    fputs("<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"50%\" y2=\"50%\"/>", out);
    if (isfinite(best))
        fprintf(out, "<line class=\"best\" x1=\"%.5g%%\" x2=\"%.5g%%\" y1=\"0\" y2=\"100%%\"/>",
                at * (best - low), at * (best - low));
    if (isfinite(s->low) && isfinite(s->high))
        fprintf(out, "<line class=\"range\" x1=\"%.5g%%\" x2=\"%.5g%%\" y1=\"50%%\" y2=\"50%%\"/>",
                at * (s->low - low), at * (s->high - low));
    if (isfinite(s->value))
        fprintf(out, "<circle cx=\"%.5g%%\" cy=\"50%%\" r=\"4.5\"/>", at * (s->value - low));
    fputs("</svg></td>", out);
}

/* Cells of recognised shares in per cent, everything else as it stands in the file. */
static void write_cell(FILE *out, const Table *t, size_t row, int column, const Columns *c,
                       bool share) {
    const char *text = table_cell(t, row, column);
    bool value = column == c->value || column == c->low || column == c->high;
    if (value && share && isfinite(number(text)))
        fprintf(out, "<td class=\"number\">%.1f %%</td>", 100 * number(text));
    else
        html_element(out, "td", isfinite(number(text)) ? "number" : NULL, text);
}

static void write_results(FILE *out, const Table *t) {
    Columns c = columns_of(t);
    double best = NAN, low = 0, high = 0;
    bool share = c.value >= 0 && are_shares(t, &c);
    for (size_t r = 0; r < t->rows; r++) {
        Score s = score_of(t, r, &c);
        if (s.floor && isfinite(s.value))
            best = isnan(best) ? s.value : fmax(best, s.value);
        low = fmin(low, fmin(s.value, isfinite(s.low) ? s.low : s.value));
        high = fmax(high, fmax(s.value, isfinite(s.high) ? s.high : s.value));
    }
    bool drawn = c.value >= 0 && high > low;
    fputs("<div class=\"scroll\"><table class=\"probe\"><thead><tr>", out);
    for (size_t k = 0; k < t->columns; k++) {
        bool numbers = t->rows && isfinite(number(table_cell(t, 0, (int)k)));
        if (drawn && (int)k == c.value)
            fprintf(out, "<th class=\"interval\">%.3g to %.3g%s</th>", share ? 100 * low : low,
                    share ? 100 * high : high, share ? " %" : "");
        html_element(out, "th", numbers ? "number" : NULL, t->names[k]);
    }
    fputs("</tr></thead><tbody>\n", out);
    for (size_t r = 0; r < t->rows; r++) {
        Score s = score_of(t, r, &c);
        fputs(s.floor ? "<tr class=\"floor\">" : "<tr>", out);
        for (size_t k = 0; k < t->columns; k++) {
            if (drawn && (int)k == c.value)
                write_interval(out, &s, best, low, high);
            write_cell(out, t, r, (int)k, &c, share);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>", out);
    if (t->total > t->rows)
        fprintf(out, "<p class=\"note\">and %zu more rows</p>", t->total - t->rows);
    if (drawn)
        fputs(
            "<p class=\"note\">Dot and bar: value and 95 % interval. Grey: the floors, which tell "
            "what is learnt from what comes for free; the dashed line is the best of them.</p>",
            out);
}

void report_probes(FILE *out, const ReportRun *run) {
    size_t room = (size_t)16 << 20;
    report_begin(out, "probes", "Probes");
    if (!run->probes_count)
        report_absent(out,
                      "no results of a probe in %s/probe (jepa probe --checkpoint %s --data "
                      "FOLDER)",
                      run->folder, run->folder);
    for (size_t i = 0; i < run->probes_count; i++) {
        const ReportProbe *p = &run->probes[i];
        html_element(out, "h3", NULL, p->name);
        if (p->problem)
            report_absent(out, "%s", p->problem);
        else
            write_results(out, &p->results);
        if (!p->confusions_count)
            report_absent(out, "no confusion.png beside it");
        for (size_t k = 0; k < p->confusions_count; k++) { /* the first is that of the main probe */
            if (k == 1)
                fputs("<details><summary>Other probes</summary>", out);
            fputs("<div class=\"confusion\">", out);
            report_picture(out, p->confusions[k], path_name(p->confusions[k]), &room);
            fputs("</div>", out);
        }
        if (p->confusions_count > 1)
            fputs("</details>", out);
        if (p->manifest) {
            fputs("<details><summary>manifest.json</summary>", out);
            html_element(out, "pre", NULL, p->manifest);
            fputs("</details>", out);
        }
    }
    report_end(out);
}

bool report_probe_first(char value[64], char note[96], const ReportRun *run) {
    char interval[64];
    for (size_t i = 0; i < run->probes_count; i++) {
        const Table *t = &run->probes[i].results;
        Columns c = columns_of(t);
        for (size_t r = 0; c.value >= 0 && r < t->rows; r++) {
            Score s = score_of(t, r, &c);
            if (s.floor || !isfinite(s.value))
                continue;
            score_text(value, interval, &s, are_shares(t, &c));
            snprintf(note, 96, "%s%s%s: %s", interval, *interval ? ", " : "", run->probes[i].name,
                     table_cell(t, r, 0));
            return true;
        }
    }
    return false;
}

/* ---- several runs ---- */

/* What a row is of. Caller frees. */
static char *row_name(const Table *t, size_t row) {
    char *name = NULL;
    for (size_t c = 0; c < t->columns; c++) {
        const char *cell = table_cell(t, row, (int)c);
        if (!*cell || !tells(t, row, c))
            continue;
        char *longer = memory_text("%s%s%s", name ? name : "", name ? ", " : "", cell);
        free(name);
        name = longer;
    }
    return name ? name : memory_text("row %zu", row + 1);
}

/* The first row of a run's probe with these names; false: there is none. */
static bool find_score(Score *score, bool *share, const ReportRun *run, const char *probe,
                       const char *row) {
    for (size_t i = 0; i < run->probes_count; i++) {
        const Table *t = &run->probes[i].results;
        Columns c = columns_of(t);
        if (strcmp(run->probes[i].name, probe) != 0 || c.value < 0)
            continue;
        bool found = false;
        for (size_t r = 0; r < t->rows && !found; r++) {
            char *name = row_name(t, r);
            if ((found = !strcmp(name, row))) {
                *score = score_of(t, r, &c);
                *share = are_shares(t, &c);
            }
            free(name);
        }
        if (found)
            return true;
    }
    return false;
}

/* Has a run before `before` this row? Then it was written already. */
static bool was_written(const ReportPage *page, int before, const char *probe, const char *row) {
    Score score;
    bool share;
    for (int r = 0; r < before; r++)
        if (find_score(&score, &share, &page->runs[r], probe, row))
            return true;
    return false;
}

static void compare_row(FILE *out, const ReportPage *page, const char *probe, const char *row) {
    fputs("<tr><th>", out);
    html_text(out, probe);
    fputs(": ", out);
    html_text(out, row);
    fputs("</th>", out);
    for (int r = 0; r < page->count; r++) {
        Score score = {.value = NAN};
        bool share = false;
        char value[64], interval[64];
        find_score(&score, &share, &page->runs[r], probe, row);
        score_text(value, interval, &score, share);
        fputs("<td class=\"number\"><b>", out);
        html_text(out, value);
        fputs("</b> ", out);
        html_text(out, interval);
        fputs("</td>", out);
    }
    fputs("</tr>\n", out);
}

void report_compare_probes(FILE *out, const ReportPage *page) {
    bool any = false;
    report_begin(out, "probes", "Probes");
    for (int r = 0; r < page->count; r++)
        for (size_t i = 0; i < page->runs[r].probes_count; i++) {
            const ReportProbe *p = &page->runs[r].probes[i];
            Columns c = columns_of(&p->results);
            for (size_t k = 0; c.value >= 0 && k < p->results.rows; k++) {
                char *row = row_name(&p->results, k);
                if (!was_written(page, r, p->name, row)) {
                    if (!any) {
                        fputs("<div class=\"scroll\"><table class=\"compare\">", out);
                        report_compare_head(out, page, "value [95 % interval]");
                        fputs("<tbody>\n", out);
                    }
                    any = true;
                    compare_row(out, page, p->name, row);
                }
                free(row);
            }
        }
    if (any)
        fputs("</tbody></table></div>", out);
    else
        report_absent(out, "no run has results of a probe");
    report_end(out);
}
