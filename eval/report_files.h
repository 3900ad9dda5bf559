/* The probes and pictures that lie in a run's folder. Part of eval/report_run.c. */
#ifndef JEPA_EVAL_REPORT_FILES_H
#define JEPA_EVAL_REPORT_FILES_H

#include "eval/report_run.h"

/* Fills run->probes and run->pictures anew. A probe is a folder RUN/probe*, or a folder within one,
 * that holds a results.csv. Pictures are PNG and GIF files at most three folders deep, but those of
 * probes and of the run itself (curves.png). Links to folders are not followed. */
void report_files_read(ReportRun *run);
void report_files_free(ReportRun *run);

#endif
