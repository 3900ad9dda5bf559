/* What differs between runs: final values, keys of their recipes. See eval/report_parts.h. */
#include "eval/axis.h"
#include "eval/html.h"
#include "eval/report_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MEAN_STEPS 10
#define KEYS_MAX   4096

void report_compare_head(FILE *out, const ReportPage *page, const char *first) {
    fputs("<thead><tr><th>", out);
    html_text(out, first);
    fputs("</th>", out);
    for (int r = 0; r < page->count; r++) {
        fprintf(out, "<th class=\"run c%d\"><i></i>", r);
        html_text(out, page->runs[r].name);
        fputs("</th>", out);
    }
    fputs("</tr></thead>", out);
}

/* ---- values ---- */

static void begin_row(FILE *out, const char *name) {
    fputs("<tr>", out);
    html_element(out, "th", NULL, name);
}

/* `digits` 0: a whole number. */
static void number_cell(FILE *out, double value, int digits) {
    char text[NUMBER_TEXT];
    if (digits)
        number_text(text, value, digits);
    else
        number_whole(text, value);
    html_element(out, "td", "number", text);
}

/* Mean of the loss of the last MEAN_STEPS logged steps before `end`. */
static double loss_before(const ReportRun *run, double end) {
    const double *loss = report_column(run, PANEL_LOG, "loss");
    const double *step = report_column(run, PANEL_LOG, "step");
    double sum = 0;
    int count = 0;
    for (size_t i = run->log[PANEL_LOG].rows; loss && i-- > 0 && count < MEAN_STEPS;)
        if (step[i] < end && isfinite(loss[i])) {
            sum += loss[i];
            count++;
        }
    return count ? sum / count : NAN;
}

static void write_steps(FILE *out, const ReportPage *page) {
    char text[32];
    begin_row(out, "State");
    for (int r = 0; r < page->count; r++) {
        fputs("<td>", out);
        report_state(out, &page->runs[r]);
        fputs("</td>", out);
    }
    fputs("</tr>\n", out);
    begin_row(out, "Steps done");
    for (int r = 0; r < page->count; r++)
        number_cell(out, (double)page->runs[r].steps, 0);
    fputs("</tr>\n", out);
    begin_row(out, "Time of the steps");
    for (int r = 0; r < page->count; r++) {
        report_duration(text, page->runs[r].seconds);
        html_element(out, "td", "number", text);
    }
    fputs("</tr>\n", out);
}

/* At the end of each, and where they have come equally far. */
static void write_losses(FILE *out, const ReportPage *page) {
    int64_t least = INT64_MAX, most = 0;
    for (int r = 0; r < page->count; r++) {
        int64_t steps = page->runs[r].steps;
        least = steps && steps < least ? steps : least;
        most = steps > most ? steps : most;
    }
    begin_row(out, "Loss, mean of the last 10 steps");
    for (int r = 0; r < page->count; r++)
        number_cell(out, loss_before(&page->runs[r], INFINITY), 4);
    fputs("</tr>\n", out);
    if (!most || least == most)
        return;
    char *name = memory_text("Loss, mean of the 10 steps before %" PRId64, least);
    begin_row(out, name);
    for (int r = 0; r < page->count; r++)
        number_cell(out, loss_before(&page->runs[r], (double)least), 4);
    fputs("</tr>\n", out);
    free(name);
}

void report_compare_values(FILE *out, const ReportPage *page) {
    static const char *const columns[][2] = {
        {"target_std", "Feature spread, target"},  {"target_rankme", "RankMe, target"},
        {"predictor_rankme", "RankMe, predictor"}, {"cosine", "Cosine of prediction and target"},
        {"skill", "Skill over the mean target"},   {"lr", "Learning rate"},
    };
    report_begin(out, "values", "Final values");
    fputs("<div class=\"scroll\"><table class=\"compare\">", out);
    report_compare_head(out, page, "");
    fputs("<tbody>\n", out);
    write_steps(out, page);
    write_losses(out, page);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        begin_row(out, columns[i][1]);
        for (int r = 0; r < page->count; r++)
            number_cell(out, report_last(&page->runs[r], columns[i][0]), 4);
        fputs("</tr>\n", out);
    }
    begin_row(out, "Clips per second, median");
    for (int r = 0; r < page->count; r++)
        number_cell(out, report_median(&page->runs[r], "clips_per_second"), 3);
    fputs("</tr>\n", out);
    begin_row(out, "Waiting for clips, %");
    for (int r = 0; r < page->count; r++)
        number_cell(out, 100 * page->runs[r].waited / page->runs[r].seconds, 2);
    fputs("</tr>\n", out);
    begin_row(out, "Videos used");
    for (int r = 0; r < page->count; r++)
        number_cell(out, page->runs[r].has_index ? (double)page->runs[r].census.usable : NAN, 0);
    fputs("</tr>\n</tbody></table></div>", out);
    report_end(out);
}

/* ---- recipes ---- */

/* A recipe as keys ("mask.settings[0].num_blocks") with their values as text. */
typedef struct Keys {
    char *path[KEYS_MAX], *value[KEYS_MAX];
    int count;
} Keys;

/* 0.59999999999999998 as people write it. */
static char *plain_value(const YamlNode *node) {
    double value;
    char text[40];
    if (!node->quoted && !yaml_number(node, &value)) {
        snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) == value)
            return memory_text("%s", text);
    }
    return memory_text("%s", node->text);
}

static bool is_plain_list(const YamlNode *node) {
    for (size_t i = 0; i < node->count; i++)
        if (node->items[i]->kind != YAML_SCALAR)
            return false;
    return true;
}

static char *list_value(const YamlNode *node) {
    char *text = memory_text("[");
    for (size_t i = 0; i < node->count; i++) {
        char *value = plain_value(node->items[i]);
        char *longer = memory_text("%s%s%s", text, i ? ", " : "", value);
        free(text);
        free(value);
        text = longer;
    }
    char *whole = memory_text("%s]", text);
    free(text);
    return whole;
}

static void add_keys(Keys *keys, const YamlNode *node, const char *path) {
    bool whole = node->kind == YAML_SCALAR || !node->count ||
                 (node->kind == YAML_LIST && is_plain_list(node));
    if (keys->count == KEYS_MAX)
        return;
    if (whole) {
        keys->path[keys->count] = memory_text("%s", path);
        keys->value[keys->count++] = node->kind == YAML_SCALAR ? plain_value(node)
                                                               : list_value(node);
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        char *inner = node->kind == YAML_MAP
                          ? memory_text("%s%s%s", path, *path ? "." : "", node->keys[i])
                          : memory_text("%s[%zu]", path, i);
        add_keys(keys, node->items[i], inner);
        free(inner);
    }
}

static const char *find_key(const Keys *keys, const char *path) {
    for (int i = 0; i < keys->count; i++)
        if (!strcmp(keys->path[i], path))
            return keys->value[i];
    return NULL;
}

/* Does a run before this one have the key? Then it was looked at already. */
static bool was_seen(const Keys *keys, int run, const char *path) {
    for (int r = 0; r < run; r++)
        if (find_key(&keys[r], path))
            return true;
    return false;
}

static bool differs(const Keys *keys, int runs, const char *path) {
    const char *first = find_key(&keys[0], path);
    for (int r = 1; r < runs; r++) {
        const char *value = find_key(&keys[r], path);
        if (!first != !value || (first && strcmp(first, value) != 0))
            return true;
    }
    return false;
}

static void write_differences(FILE *out, const ReportPage *page, const Keys *keys) {
    int rows = 0;
    for (int r = 0; r < page->count; r++)
        for (int i = 0; i < keys[r].count; i++) {
            const char *path = keys[r].path[i];
            if (was_seen(keys, r, path) || !differs(keys, page->count, path))
                continue;
            if (!rows++) {
                fputs("<div class=\"scroll\"><table class=\"compare\">", out);
                report_compare_head(out, page, "Key");
                fputs("<tbody>\n", out);
            }
            begin_row(out, path);
            for (int k = 0; k < page->count; k++) {
                const char *value = find_key(&keys[k], path);
                html_element(out, "td", NULL, value ? value : "–");
            }
            fputs("</tr>\n", out);
        }
    fputs(rows ? "</tbody></table></div>" : "<p>The recipes are the same.</p>", out);
}

void report_compare_recipes(FILE *out, const ReportPage *page) {
    Keys *keys = memory_new((size_t)page->count, sizeof *keys);
    bool all = true;
    report_begin(out, "differences", "Where the recipes differ");
    for (int r = 0; r < page->count; r++) {
        const ReportRun *run = &page->runs[r];
        if (run->recipe)
            add_keys(&keys[r], run->recipe, "");
        else
            report_absent(out, "%s: %s", run->name, run->recipe_problem);
        all = all && run->recipe;
    }
    if (all)
        write_differences(out, page, keys);
    for (int r = 0; r < page->count; r++)
        for (int i = 0; i < keys[r].count; i++) {
            free(keys[r].path[i]);
            free(keys[r].value[i]);
        }
    free(keys);
    report_end(out);
}
