/* The rewinds of a run: when it went back to which checkpoint, and what changed with that.
 *
 *   RUN/rewinds.csv    branch,from,to,lr_scale,reason     a row each, branches 1, 2, ...
 *
 * A run that collapsed and went back would collapse again, bit for bit. So every rewind begins a
 * branch: its number is part of every random key (random_branch) and the learning rate is
 * multiplied by lr_scale from there on. Both are functions of this ledger and the step alone,
 *     branch(step) = the last rewind r with to_r <= step; 0 when there is none
 * as a later rewind overrules the earlier ones from its own `to` on. The file is written whole or
 * not at all, before anything else of a rewind is done: that is the moment in which a run goes
 * back. Steps are counted from 0; a checkpoint of S steps done is what step S begins with. */
#ifndef JEPA_JEPA_REWINDS_H
#define JEPA_JEPA_REWINDS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REWINDS_MAX  1000
#define REWINDS_NAME "rewinds.csv"

typedef struct Rewind {
    int64_t from, to; /* steps done when it was decided, and of the checkpoint gone back to */
    double lr_scale;  /* of the learning rate of the schedule from there on */
} Rewind;

typedef struct Rewinds {
    Rewind rewind[REWINDS_MAX]; /* that of branch b is b - 1 */
    int count;
} Rewinds;

/* Reads RUN's ledger; none is no rewind. Error: it is damaged. */
int rewinds_load(Rewinds *rewinds, const char *run, Error *error);
/* One more; with `run` not NULL written there, else only noted (the file is another rank's). */
int rewinds_add(Rewinds *rewinds, const Rewind *rewind, const char *reason, const char *run,
                Error *error);

/* What step `step` is computed with. */
int64_t rewinds_branch(const Rewinds *rewinds, int64_t step);
double rewinds_lr_scale(const Rewinds *rewinds, int64_t step);
uint64_t rewinds_seed(const Rewinds *rewinds, uint64_t seed, int64_t step);

/* The branch that a checkpoint of so many steps done must be of to be the run's: that of its last
 * step. A checkpoint of a smaller one is of what was given up. */
int64_t rewinds_branch_of(const Rewinds *rewinds, int64_t steps);

#endif
