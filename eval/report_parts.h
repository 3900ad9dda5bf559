/* The sections of a report (eval/report_page.h), each in a file of its own. Shared by these alone.
 */
#ifndef JEPA_EVAL_REPORT_PARTS_H
#define JEPA_EVAL_REPORT_PARTS_H

#include "eval/report_page.h"

/* <section id><h2>title</h2> and its end. */
void report_begin(FILE *out, const char *id, const char *title);
void report_end(FILE *out);
/* <p class="absent">: what is not there, and how to get it. */
void report_absent(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A row of a <dl>: the value escaped; "–" for an empty one. */
void report_fact(FILE *out, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A table of text with its names; rows beyond those kept are counted below it. */
void report_table(FILE *out, const Table *table);
/* "3 min 20 s", "5.1 h" */
void report_duration(char text[32], double seconds);

/* report_head.c: what stands above the sections */
void report_state(FILE *out, const ReportRun *run);
void report_tiles(FILE *out, const ReportRun *run);

/* report_curves.c: all charts, of one run or of several over each other */
void report_curves(FILE *out, const ReportPage *page);

/* report_probes.c */
void report_probes(FILE *out, const ReportRun *run);
void report_compare_probes(FILE *out, const ReportPage *page);
/* The first row that is no floor: "12.5 %", "[3.5, 36.0], probe: linear"; false: there is none. */
bool report_probe_first(char value[64], char note[96], const ReportRun *run);

/* report_pictures.c */
void report_pictures(FILE *out, const ReportRun *run);
/* <img> with the file in it; `room`: bytes that may still go into the page, which it takes from. A
 * file that does not fit or is no picture is named instead. */
void report_picture(FILE *out, const char *path, const char *name, size_t *room);

/* report_facts.c: data, recipe, checkpoints */
void report_data(FILE *out, const ReportRun *run);
void report_recipe(FILE *out, const ReportRun *run);
void report_checkpoints(FILE *out, const ReportPage *page);

/* report_compare.c: what differs between runs */
void report_compare_values(FILE *out, const ReportPage *page);
void report_compare_recipes(FILE *out, const ReportPage *page);
/* <thead> with a column for each run, under the colour of its curves. */
void report_compare_head(FILE *out, const ReportPage *page, const char *first);

#endif
