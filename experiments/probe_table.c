/* Results on the terminal. See experiments/probe.h. */
#include "experiments/probe.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LABEL           23 /* columns of a line's name */
#define CELL            24 /* columns of a probe */
#define CHOSEN_INDENT   "                       "
#define OUTPUTS_AT_MOST 16 /* labels or numbers that are shown one by one */

const char *probe_metric(Task task) {
    return task == TASK_CLASSES ? "top-1" : task == TASK_LABELS ? "mAP" : "R2";
}

/* The probes of the table, in the order of what they take. */
static int list_probes(const char *names[3], const ProbeStudy *s) {
    static const char *const all[] = {"kNN", "linear", "attentive"};
    int count = 0;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < s->result_count; i++)
            if (!strcmp(s->results[i].probe, all[k])) {
                names[count++] = all[k];
                break;
            }
    return count;
}

static const ProbeResult *find(const ProbeStudy *s, const char *probe, const char *features) {
    for (int i = 0; i < s->result_count; i++)
        if (!strcmp(s->results[i].probe, probe) && !strcmp(s->results[i].features, features))
            return &s->results[i];
    return NULL;
}

/* A line of cells; it ends where its last text does. */
static void print_line(const char *label, char cells[][64], int count) {
    int at = printf("%-*.*s", LABEL, LABEL + CELL, label);
    for (int k = 0; k < count; k++)
        if (cells[k][0])
            at += printf("%*s%s", LABEL + k * CELL > at ? LABEL + k * CELL - at : 0, "", cells[k]);
    printf("\n");
}

/* "81.5", "0.815" or "-", as wide as it must be. */
static void score_text(char text[16], double value, Task task) {
    if (isnan(value))
        snprintf(text, 16, "%5s", "-");
    else if (task == TASK_VALUES)
        snprintf(text, 16, "%5.2f", value);
    else
        snprintf(text, 16, "%5.1f", 100 * value);
}

/* "41.2 % [30.1, 52.9]" */
static void interval_text(char text[64], double score, double low_end, double high_end, Task task) {
    char value[16], low[16], high[16];
    score_text(value, score, task);
    score_text(low, low_end, task);
    score_text(high, high_end, task);
    /* inside the brackets one column less: few are 100 % */
    snprintf(text, 64, "%s %s[%s, %s]", value, task == TASK_VALUES ? " " : "% ",
             low + (low[0] == ' '), high + (high[0] == ' '));
}

static void result_text(char text[64], const ProbeResult *r, Task task) {
    text[0] = 0;
    if (r)
        interval_text(text, r->score, r->low, r->high, task);
}

static void print_table(const ProbeStudy *s) {
    const char *probes[3];
    char cells[3][64], label[64];
    Task task = s->test.targets.task;
    int count = list_probes(probes, s);
    for (int k = 0; k < count; k++)
        snprintf(cells[k], sizeof cells[k], "%s", probes[k]);
    snprintf(label, sizeof label, "%s, %" PRId64 " test videos", probe_metric(task), s->test.count);
    print_line(label, cells, count);
    for (int source = 0; source < SOURCES; source++) {
        for (int k = 0; k < count; k++)
            result_text(cells[k], find(s, probes[k], probe_source_names[source]), task);
        print_line(probe_source_names[source], cells, count);
    }
    result_text(cells[0], find(s, "", probe_trivial_name(task)), task);
    print_line(probe_trivial_name(task), cells, 1);
}

/* What was chosen for this encoder, and by what. */
static void print_settings(const ProbeStudy *s) {
    const char *probes[3];
    int count = list_probes(probes, s);
    printf("%-*s", LABEL, "chosen");
    for (int k = 0, begun = 0; k < count; k++) {
        const ProbeResult *r = find(s, probes[k], probe_source_names[SOURCE_ENCODER]);
        if (r)
            printf("%s%s: %s",
                   !begun++ ? ""
                   : k < 2  ? "; "
                            : ";\n" CHOSEN_INDENT,
                   probes[k], r->setting);
    }
    if (s->a->select_on_test)
        printf("\n%-*sby the test videos themselves, as in the published protocol: too good\n",
               LABEL, "selected on test");
    else
        printf("   (on training videos)\n");
}

/* Of classes the worst and the best, of labels and numbers all, if they are few. */
static void print_each(const ProbeStudy *s) {
    const char *probes[3];
    int count = list_probes(probes, s);
    const Targets *t = &s->test.targets;
    if (t->task != TASK_CLASSES) {
        char cells[3][64];
        for (int k = 0; k < count; k++)
            snprintf(cells[k], sizeof cells[k], "%s", probes[k]);
        print_line(t->task == TASK_LABELS ? "AP, this encoder" : "R2, this encoder", cells, count);
        for (int o = 0; o < t->outputs && o < OUTPUTS_AT_MOST; o++) {
            char label[LABEL];
            for (int k = 0; k < count; k++) {
                const ProbeResult *r = find(s, probes[k], probe_source_names[SOURCE_ENCODER]);
                cells[k][0] = 0;
                if (r && isnan(r->each[o]))
                    snprintf(cells[k], sizeof cells[k], "%5s", "-");
                else if (r)
                    interval_text(cells[k], r->each[o], r->each_low[o], r->each_high[o], t->task);
            }
            snprintf(label, sizeof label, "  %s", t->names[o]);
            print_line(label, cells, count);
        }
        if (t->outputs > OUTPUTS_AT_MOST)
            printf("  and %d more           %s/by_%s.csv\n", t->outputs - OUTPUTS_AT_MOST, s->out,
                   t->task == TASK_LABELS ? "label" : "value");
        return;
    }
    for (int k = 0; k < count; k++) {
        const ProbeResult *r = find(s, probes[k], probe_source_names[SOURCE_ENCODER]);
        int worst = -1, best = -1;
        for (int o = 0; r && o < t->outputs; o++) {
            if (isnan(r->each[o]))
                continue;
            worst = worst < 0 || r->each[o] < r->each[worst] ? o : worst;
            best = best < 0 || r->each[o] > r->each[best] ? o : best;
        }
        char head[64];
        snprintf(head, sizeof head, "by class, %s", probes[k]);
        if (best >= 0)
            printf("%-*s%.1f %% (%s) to %.1f %% (%s)\n", LABEL, head, 100 * r->each[worst],
                   t->names[worst], 100 * r->each[best], t->names[best]);
    }
}

static void print_low_shot(const ProbeStudy *s) {
    static const char *const probes[] = {"kNN", "linear"};
    char cells[2][64], label[64];
    if (!s->low_shot_count)
        return;
    int count = 0;
    for (int k = 0; k < 2; k++)
        if (k ? s->a->linear : s->a->knn)
            snprintf(cells[count++], 64, "%s: mean (range)", probes[k]);
    snprintf(label, sizeof label, "low-shot, %" PRId64 " draw%s", s->a->seeds,
             s->a->seeds > 1 ? "s" : "");
    print_line(label, cells, count);
    for (int p = 0; p < s->a->low_shot_count; p++)
        for (int source = 0; source < SOURCES; source++) {
            int at = 0;
            for (int i = 0; i < s->low_shot_count; i++) {
                const ProbeLowShot *few = &s->low_shot[i];
                if (few->features != probe_source_names[source] ||
                    fabs(few->percent - s->a->low_shot[p]) > 0)
                    continue;
                if (!source && !at)
                    printf("%g %% of the labels: %" PRId64 "\n", few->percent, few->labels);
                snprintf(cells[at++], 64, "%5.1f %% (%.1f-%.1f)", 100 * few->mean, 100 * few->low,
                         100 * few->high);
            }
            snprintf(label, sizeof label, " %s", probe_source_names[source]);
            print_line(label, cells, at);
        }
}

void probe_print(const ProbeStudy *s) {
    printf("checkpoint             %s\n", s->source);
    print_table(s);
    print_settings(s);
    print_each(s);
    print_low_shot(s);
}
