/* The collapse sentry: judges every diagnosis by the recipe's thresholds, and says when enough is
 * enough.
 *
 *   complaint   a value that is watched is not finite, is below its least value (sentry.std_min,
 *               rankme_min), or below a share of the largest that the run has had so far
 *               (std_share, rankme_share, lidar_share). Watched are std and RankMe of the context
 *               encoder and of the target encoder, and LiDAR.
 *   acts        after `patience` complaints in a row
 *   sound       a diagnosis without a complaint; with action rewind a checkpoint is written after
 *               each, whatever else is, so that what a run goes back to depends on steps alone
 *
 * With action rewind a step whose loss is not finite, which ends a run otherwise, is gone back from
 * like a collapse (jepa/trainer.c).
 *
 * Its memory is part of every checkpoint: a run that is resumed is judged as one that never
 * stopped. The first weights are not judged and set no mark. */
#ifndef JEPA_JEPA_SENTRY_H
#define JEPA_JEPA_SENTRY_H

#include "base/record.h"
#include "jepa/diagnosis.h"
#include "jepa/recipe.h"
#include "jepa/rewinds.h"

#define SENTRY_WATCHED 5

/* What the sentry, and the choice of the best checkpoint, remember. */
typedef struct Health {
    int64_t branch;     /* of the last step done */
    double lr_scale;    /* that it was done with */
    int64_t complaints; /* evaluations in a row that were complained of */
    int64_t sound;      /* steps done at the last one that was not; 0: the first weights */
    double largest[SENTRY_WATCHED]; /* so far; 0: not measured yet */
    /* the best checkpoint: by which diagnosis, its value, steps done and branch */
    KeepBest best_by; /* KEEP_BEST_NONE: there is none */
    double best;
    int64_t best_step, best_branch;
} Health;

void health_start(Health *health);
/* What is remembered where a run goes on from a checkpoint of so many steps: what it has gone back
 * to was sound, and is complained of no longer. */
void health_go_on(Health *health, const Rewinds *rewinds, int64_t steps);
/* Takes over what is remembered of the best checkpoint. */
void health_keep_best(Health *health, const Health *from);

typedef struct SentryVerdict {
    bool complains, acts;
    char reason[200]; /* of the complaint: "target_rankme 1.02, less than sentry.rankme_min 2" */
} SentryVerdict;

/* Judges the diagnosis of the model after `steps` steps. */
void sentry_judge(SentryVerdict *verdict, Health *health, const Diagnosis *diagnosis,
                  const Recipe *recipe, int64_t steps);

/* Is this the best so far by checkpoint.keep_best? Notes it. Never of a diagnosis that was
 * complained of. */
bool health_is_best(Health *health, const SentryVerdict *verdict, const Diagnosis *diagnosis,
                    const Recipe *recipe, int64_t steps);
/* "rankme": name of a choice. */
const char *keep_best_name(KeepBest by);

/* As a field of a checkpoint's header; -1: not as it was written. */
void health_put(RecordWriter *writer, const Health *health);
int health_read(Health *health, const msgpack_object *object);

#endif
