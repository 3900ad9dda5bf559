/* The report: one HTML file with all there is to see of a run, or of several beside each other.
 *
 * The file needs nothing else: style and script (eval/report.css, eval/report.js) and pictures are
 * in it, charts are SVG. Without its script everything is there but zoom, values under the pointer,
 * and other scales. Whatever comes from files is escaped (eval/html.h). */
#ifndef JEPA_EVAL_REPORT_PAGE_H
#define JEPA_EVAL_REPORT_PAGE_H

#include "eval/report_run.h"
#include <stdio.h>

#define REPORT_RUNS_MAX 8

typedef struct ReportPage {
    const ReportRun *runs; /* [count] */
    int count;             /* 1..REPORT_RUNS_MAX; from 2 on they are compared */
    double refresh;        /* seconds after which the page loads itself again; 0: never */
    const char *program;   /* which program wrote it, e.g. "jepa 0.1.0" */
    const char *hash;      /* BLAKE2b-256 of that program's file; NULL: not known */
    const char *written;   /* when, for a person */
} ReportPage;

/* Writes the page to `path` whole or not at all. Errors: unwritable, a full disk. */
int report_page_write(const char *path, const ReportPage *page, Error *error);

#endif
