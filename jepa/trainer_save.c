/* Checkpoints of a run: when, and from the shares of all ranks. See jepa/trainer_parts.h. */
#include "base/log.h"
#include "jepa/trainer_parts.h"
#include <stdlib.h>

/* Everything that ranks have of a buffer, in rank 0's host memory. */
static float *collect(const Training *t, const float *own, int64_t elements) {
    Exchange *x = t->exchange;
    float *flat = x->rank ? NULL : memory_new((size_t)elements, sizeof *flat);
    x->collect(flat, own, shard_blocks(elements), t->config->device, x);
    return flat;
}

/* What rank 0 does with the state. */
static int write_down(const Trainer *trainer, const CheckpointState *state, Error *error) {
    const Training *t = &trainer->t;
    const Health *h = &trainer->health;
    bool best = h->best_by != KEEP_BEST_NONE && h->best_step == t->step &&
                h->best_branch == h->branch;
    return run_flush(t->run, error) ||
                   checkpoint_save(t->run->folder, state, t->recipe->checkpoint.keep, error) ||
                   (best && checkpoint_keep_best(t->run->folder, t->step, error))
               ? -1
               : 0;
}

static int save_collected(Trainer *trainer, CheckpointState *state, Error *error) {
    const Training *t = &trainer->t;
    const Model *model = &t->stream[0].model;
    Exchange *x = t->exchange;
    int64_t total = model->table.total;
    float *flat[4] = {collect(t, model->own_weights, total), NULL,
                      collect(t, model->first_moment, total),
                      collect(t, model->second_moment, total)};
    if (model->own_target)
        flat[1] = collect(t, model->own_target, model->table.owner[OWNER_ENCODER].end);
    state->weights = flat[0], state->target = flat[1];
    state->first_moment = flat[2], state->second_moment = flat[3];
    int status = 0;
    if (!x->rank)
        status = write_down(trainer, state, error);
    for (int i = 0; i < 4; i++)
        free(flat[i]);
    x->doing = "the writing of a checkpoint";
    return exchange_agree(x, status, error);
}

int trainer_save(Trainer *trainer, Error *error) {
    const Training *t = &trainer->t;
    if (trainer->saved == t->step)
        return 0;
    CheckpointState state = {.model = &t->stream[0].model,
                             .step = t->step,
                             .updates = t->updates,
                             .replaced = trainer->replaced,
                             .recipe = t->run->recipe_text,
                             .index = t->run->index.hash,
                             .health = &trainer->health,
                             .spares = t->recipe->sentry.action != SENTRY_WARN,
                             .spared = trainer->health.sound};
    state.extra_count = t->objective->extras(state.extra, t);
    if (!t->exchange->rank && run_save_plans(t->run, t->config->device, error))
        log_warn("%s", error->text); /* nothing hangs on it */
    if (t->exchange->ranks > 1) {
        if (save_collected(trainer, &state, error))
            return -1;
    } else if (write_down(trainer, &state, error)) {
        return -1;
    }
    trainer->saved = t->step;
    trainer->saved_at = time_now();
    return 0;
}

bool trainer_save_is_due(const Trainer *trainer, int64_t step) {
    const Training *t = &trainer->t;
    int64_t steps = t->recipe->checkpoint.every_steps;
    double minutes = t->recipe->checkpoint.every_minutes;
    return (steps && step % steps == 0) ||
           (minutes > 0 && time_now() - trainer->saved_at >= 60 * minutes) || step == t->total;
}
