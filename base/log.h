/* What a person reads while a program runs. Log lines go to stderr; results go to stdout.
 *
 * On a terminal a progress line is redrawn in place; elsewhere it becomes a plain log line now and
 * then, so that a log file stays readable.
 *
 * Of several processes that do one thing together, one speaks: the others call log_as once, at
 * their start. Their warnings come with that name; what is for information alone, and progress,
 * does not come from them. The name is kept in the environment, as whatever belongs to a whole
 * process.
 */
#ifndef JEPA_BASE_LOG_H
#define JEPA_BASE_LOG_H

#include <stdbool.h>

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "rank 2 (host)". Before the first thread. */
void log_as(const char *name);

typedef struct Progress {
    const char *what;  /* e.g. "index"; not owned */
    double total;      /* units in all; 0 when unknown */
    double started;    /* seconds, monotonic */
    double last_drawn; /* seconds, monotonic */
    double first_done; /* units already done at the start (a resumed run) */
    bool terminal;     /* stderr is a terminal */
    bool silent;       /* another process speaks */
} Progress;

void progress_start(Progress *progress, const char *what, double total, double first_done);
/* Shows `done` of total with an ETA, and `detail` after it ("loss 0.61  12.1 clips/s").
 * Rate-limited: 10 a second on a terminal, one in 10 s elsewhere. */
void progress_show(Progress *progress, double done, const char *detail);
void progress_end(Progress *progress); /* clears the line on a terminal */

double time_now(void); /* seconds, monotonic */

#endif
