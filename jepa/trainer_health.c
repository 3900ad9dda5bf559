/* The health of a run: diagnoses, what the sentry makes of them, and going back. See
 * jepa/trainer_parts.h, jepa/sentry.h and jepa/rewinds.h. */
#include "base/log.h"
#include "jepa/trainer_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define LR_SCALE_LEAST 1e-12 /* of all rewinds together */

bool trainer_diagnoses(const Trainer *trainer) {
    const Training *t = &trainer->t;
    int every = t->recipe->diagnostics.every;
    return trainer->diagnostics && (t->step % every == 0 || t->step == t->total);
}

/* A row of diagnostics.csv; the columns that a clock decides come last. */
static void write_diagnosis(const Trainer *trainer, const Diagnosis *d, double seconds) {
    FILE *out = trainer->t.run->diagnostics;
    fprintf(out, "%" PRId64 ",%" PRId64 ",%.9g", trainer->t.step, trainer->health.branch,
            trainer->health.lr_scale);
    for (int i = 0; i < DIAGNOSIS_VALUES; i++)
        if (isnan(d->value[i]))
            fputc(',', out);
        else
            fprintf(out, ",%.9g", d->value[i]);
    fprintf(out, ",%.3f,%.5f\n", seconds,
            trainer->diagnosing / fmax(time_now() - trainer->started, 1e-9));
    fflush(out);
}

int trainer_diagnose(Trainer *trainer, SentryVerdict *verdict, bool *best, Error *error) {
    Training *t = &trainer->t;
    const TrainerDiagnostics *hooks = &t->config->hooks.diagnostics;
    Diagnosis diagnosis;
    double started = time_now();
    t->exchange->doing = "the diagnostics";
    if (hooks->run(&diagnosis, hooks->context, error))
        return error_prefix(error, "diagnostics after step %" PRId64, t->step);
    double seconds = time_now() - started;
    trainer->diagnosing += seconds;
    trainer->diagnosed++;
    sentry_judge(verdict, &trainer->health, &diagnosis, t->recipe, t->step);
    *best = health_is_best(&trainer->health, verdict, &diagnosis, t->recipe, t->step);
    if (t->run->diagnostics)
        write_diagnosis(trainer, &diagnosis, seconds);
    if (verdict->complains && !t->exchange->rank)
        log_warn("sentry, after step %" PRId64 ": %s", t->step, verdict->reason);
    return 0;
}

/* ---- going back ---- */

/* The newest checkpoint of the run that was sound, of at most so many steps, -1: there is none.
 * Rank 0 looks. */
static int64_t find_sound(const Trainer *trainer, int64_t most) {
    const Run *run = trainer->t.run;
    int64_t *steps = NULL, found = -1;
    size_t count = 0;
    Error reason = {0};
    if (checkpoint_list(&steps, &count, run->folder, &reason))
        log_warn("%s", reason.text);
    for (size_t i = count; i > 0 && found < 0; i--) {
        Checkpoint checkpoint;
        if (steps[i - 1] > most)
            continue;
        char *folder = memory_text("%s/step-%" PRId64, run->folder, steps[i - 1]);
        if (checkpoint_open(&checkpoint, folder, &reason)) {
            log_warn("%s", reason.text);
        } else {
            if (checkpoint_verify(&checkpoint, &reason))
                log_warn("%s", reason.text);
            else if (checkpoint.health.branch == rewinds_branch_of(&run->rewinds, steps[i - 1]) &&
                     !checkpoint.health.complaints)
                found = steps[i - 1];
            checkpoint_close(&checkpoint);
        }
        free(folder);
    }
    free(steps);
    return found;
}

/* Rank 0's number, for all. */
static int64_t tell(Exchange *x, int64_t value) {
    double *all = memory_new((size_t)x->ranks, sizeof *all);
    all[x->rank] = (double)value;
    x->all(all, 1, x);
    value = (int64_t)all[0];
    free(all);
    return value;
}

/* The last step from which the run may begin anew: that of the last sound diagnosis; one before
 * where the run has gone back to that already, and its very next step failed again. */
static int64_t last_sound(const Trainer *trainer, int64_t steps) {
    const Rewinds *r = &trainer->t.run->rewinds;
    int64_t most = trainer->health.sound;
    bool again = r->count && r->rewind[r->count - 1].to == steps - 1;
    return again && most >= steps - 1 ? steps - 2 : most;
}

/* What was noted of the step that failed is not sent. */
static void drop_notes(Trainer *trainer) {
    Training *t = &trainer->t;
    fclose(t->notes);
    free(trainer->noted);
    t->notes = open_memstream(&trainer->noted, &trainer->noted_bytes);
    JEPA_ASSERT(t->notes);
}

/* Rank 0: the moment of going back, and what is left of the branch that is given up. */
static int write_rewind(Run *run, const Rewind *rewind, const char *reason, Error *error) {
    int64_t *steps = NULL;
    size_t count = 0;
    int result = run_flush(run, error) ||
                 rewinds_add(&run->rewinds, rewind, reason, run->folder, error) ||
                 checkpoint_list(&steps, &count, run->folder, error);
    for (size_t i = 0; i < count && !result; i++)
        if (steps[i] > rewind->to)
            result = checkpoint_remove(run->folder, steps[i], error);
    free(steps);
    return result || run_cut_quarantine(run, rewind->to, error) ? -1 : 0;
}

/* Weights and counts of the checkpoint. */
static int take_state(Trainer *trainer, int64_t step, Error *error) {
    Training *t = &trainer->t;
    Health before = trainer->health;
    Checkpoint checkpoint;
    char *folder = memory_text("%s/step-%" PRId64, t->run->folder, step);
    int result = checkpoint_open(&checkpoint, folder, error);
    if (!result) {
        result = trainer_load(t, &checkpoint, error);
        t->step = checkpoint.step;
        t->updates = checkpoint.updates;
        trainer->replaced = checkpoint.replaced;
        trainer->health = checkpoint.health;
        checkpoint_close(&checkpoint);
    }
    health_keep_best(&trainer->health, &before); /* whatever branch it was of */
    health_go_on(&trainer->health, &t->run->rewinds, t->step);
    trainer->saved = t->step;
    trainer->saved_at = time_now();
    free(folder);
    return result;
}

int trainer_go_back(Trainer *trainer, const char *reason, int64_t steps, bool *back, Error *error) {
    Training *t = &trainer->t;
    Run *run = t->run;
    Exchange *x = t->exchange;
    x->doing = "going back to a checkpoint";
    *back = false;
    if (run->rewinds.count >= t->recipe->sentry.most_rewinds) {
        if (!x->rank)
            log_warn("the run has gone back %d times (sentry.most_rewinds): it stops",
                     run->rewinds.count);
        return 0;
    }
    double scale = rewinds_lr_scale(&run->rewinds, t->step) * t->recipe->sentry.lr_scale;
    if (scale < LR_SCALE_LEAST) {
        if (!x->rank)
            log_warn("the learning rate would be multiplied by %g: the run stops", scale);
        return 0;
    }
    int64_t most = last_sound(trainer, steps);
    int64_t to = tell(x, x->rank ? -1 : find_sound(trainer, most));
    if (to < 0) {
        if (!x->rank)
            log_warn("there is no sound checkpoint of step %" PRId64
                     " or before to go back to: the "
                     "run stops",
                     most);
        return 0;
    }
    Rewind rewind = {steps, to, scale};
    bool alone = t->notes == run->quarantine; /* which is opened anew */
    trainer_close_loaders(t);
    int status = x->rank ? rewinds_add(&run->rewinds, &rewind, reason, NULL, error)
                         : write_rewind(run, &rewind, reason, error);
    if (alone)
        t->notes = run->quarantine;
    else
        drop_notes(trainer);
    if (exchange_agree(x, status, error) ||
        exchange_agree(x, take_state(trainer, to, error), error) ||
        exchange_agree(x, trainer_open_loaders(t, error), error))
        return -1;
    log_info("going back from step %" PRId64 " to the checkpoint of step %" PRId64
             ": branch %d, other random choices, the learning rate times %g",
             rewind.from, to, run->rewinds.count, rewind.lr_scale);
    *back = true;
    return 0;
}
