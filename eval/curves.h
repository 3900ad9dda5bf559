/* curves.png: a run's log as a page of line charts. */
#ifndef JEPA_EVAL_CURVES_H
#define JEPA_EVAL_CURVES_H

#include "base/error.h"
#include <stddef.h>

/* A log: one line of column names, then one line of numbers a step, separated by commas. */
typedef struct CurvesLog {
    size_t columns, rows;
    char **names;    /* [columns] */
    double **values; /* [columns][rows]; NaN where a field is empty, missing or no number */
} CurvesLog;

/* Reads log.csv. A last line without its end (a run that is still writing) is left out. Where the
 * step goes back (a run that was resumed or rewound), the earlier rows from that step on are
 * dropped: what counts is the run that went on. Errors: unreadable, larger than 256 MiB, no column
 * "step" first line. Free with curves_log_free. */
int curves_log_read(CurvesLog *log, const char *path, Error *error);
void curves_log_free(CurvesLog *log);
const double *curves_log_column(const CurvesLog *log,
                                const char *name); /* [rows], NULL if absent */

/* Draws the log at `csv_path` to `png_path`: loss, schedules, gradient norms, feature spread,
 * RankMe and speed, from whichever of the columns exist. `title` names the run. An empty log gives
 * a picture that says so. Errors: those of reading and of writing. */
int curves_write(const char *png_path, const char *csv_path, const char *title, Error *error);
/* The same of diagnostics.csv (eval/diagnostics.h): the columns that hold a number. */
int curves_write_diagnostics(const char *png_path, const char *csv_path, const char *title,
                             Error *error);

#endif
