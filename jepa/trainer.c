/* The trainer. See jepa/trainer.h. */
#include "jepa/trainer.h"
#include "base/log.h"
#include "jepa/trainer_parts.h"
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double resident_mib(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    int fields = file ? fscanf(file, "%ld %ld", &pages, &resident) : 0;
    if (file)
        fclose(file);
    return fields == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20) : 0;
}

void training_begin_unit(Training *t) {
    float *place = reduce_place(&t->reduction);
    Model *first = &t->stream[0].model;
    for (int i = 0; i < t->streams; i++) {
        Model *model = &t->stream[i].model;
        model->gradients = place;
        model->leaf = first->leaf_scalars + reduce_leaf(&t->reduction);
    }
}

const GradientsFinal *training_final(Training *t) {
    if (shard_ranks(t->shard) == 1 || !reduce_is_last(&t->reduction))
        return NULL;
    ranks_sum_begin(&t->sum);
    return &t->sum.final;
}

int training_agree(Training *t, int status, Error *error) {
    Exchange *x = t->exchange;
    t->agreed = true;
    x->doing = "the start of a step's exchange";
    if (!exchange_agree(x, status, error))
        return 0;
    double *starved = memory_new((size_t)x->ranks, sizeof *starved);
    starved[x->rank] = t->starved;
    x->all(starved, 1, x);
    for (int r = 0; r < x->ranks; r++)
        t->starved = t->starved || starved[r] > 0;
    free(starved);
    return -1;
}

/* ---- a step ---- */

/* What ranks tell each other at the end of a step. */
enum {
    SHARE_CONTEXT,
    SHARE_TARGET,
    SHARE_REPLACED,
    SHARE_DECODE,
    SHARE_RING,
    SHARE_SUMS, /* those above are summed, those below the largest counts */
    SHARE_WAIT = SHARE_SUMS,
    SHARE_COMPUTE,
    SHARE_WALL,
    SHARE_SIGNAL,
    SHARE_STOP,
    SHARE_DUE,
    SHARE_NOTES,
    SHARE_MEASURES, /* of the rank that measures */
    SHARES = SHARE_MEASURES + sizeof(Measures) / sizeof(double)
};

/* What is decided together after a step. */
typedef struct Decided {
    int signal;
    bool stop, due;
} Decided;

/* The last unit of a step is the last rank's: what is measured is what one rank would measure. */
static bool measures_here(const Training *t) {
    return t->shard.rank == shard_ranks(t->shard) - 1;
}

static void send_notes(Trainer *trainer) {
    Training *t = &trainer->t;
    fclose(t->notes);
    char *all = training_gather(t, trainer->noted);
    if (all)
        fputs(all, t->run->quarantine);
    free(all);
    free(trainer->noted);
    t->notes = open_memstream(&trainer->noted, &trainer->noted_bytes);
    JEPA_ASSERT(t->notes);
}

/* Sums and maxima over ranks into every rank's report; decisions. */
static Decided end_step(Trainer *trainer, StepReport *r, int signal, TrainDecision decision) {
    Training *t = &trainer->t;
    Exchange *x = t->exchange;
    int64_t step = t->step + 1;
    if (x->ranks == 1)
        return (Decided){signal, decision == TRAIN_STOP, trainer_save_is_due(trainer, step)};
    double *all = memory_new((size_t)x->ranks * SHARES, sizeof *all), *own = all + x->rank * SHARES;
    own[SHARE_CONTEXT] = (double)r->context_tokens;
    own[SHARE_TARGET] = (double)r->target_tokens;
    own[SHARE_REPLACED] = r->replaced;
    own[SHARE_DECODE] = r->decode_rate;
    own[SHARE_RING] = r->ring;
    own[SHARE_WAIT] = r->wait_ms;
    own[SHARE_COMPUTE] = r->compute_ms;
    own[SHARE_WALL] = r->wall_ms;
    own[SHARE_SIGNAL] = signal;
    own[SHARE_STOP] = decision == TRAIN_STOP;
    own[SHARE_DUE] = trainer_save_is_due(trainer, step);
    fflush(t->notes);
    own[SHARE_NOTES] = trainer->noted_bytes > 0;
    memcpy(own + SHARE_MEASURES, &r->measures, sizeof r->measures);
    x->doing = "the end of the step";
    x->all(all, SHARES, x);
    double sum[SHARES] = {0};
    for (int k = 0; k < SHARE_MEASURES; k++)
        for (int rank = 0; rank < x->ranks; rank++) {
            double value = all[rank * SHARES + k];
            sum[k] = k < SHARE_SUMS ? sum[k] + value : fmax(sum[k], value);
        }
    memcpy(&r->measures, all + (x->ranks - 1) * SHARES + SHARE_MEASURES, sizeof r->measures);
    free(all);
    r->context_tokens = (int64_t)sum[SHARE_CONTEXT];
    r->target_tokens = (int64_t)sum[SHARE_TARGET];
    r->replaced = (int)sum[SHARE_REPLACED];
    r->decode_rate = sum[SHARE_DECODE];
    r->ring = sum[SHARE_RING];
    r->wait_ms = sum[SHARE_WAIT];
    r->compute_ms = sum[SHARE_COMPUTE];
    r->wall_ms = sum[SHARE_WALL];
    if (sum[SHARE_NOTES] > 0)
        send_notes(trainer);
    return (Decided){(int)sum[SHARE_SIGNAL], sum[SHARE_STOP] > 0, sum[SHARE_DUE] > 0};
}

/* Gradients, norms, update: of this rank's share, with what the others have. */
static void update(Training *t, const StepReport *report) {
    Model *model = &t->stream[0].model;
    const Recipe *r = t->recipe;
    double clip = recipe_clip_grad(r);
    AdamwSettings settings = {.lr = report->lr,
                              .weight_decay = report->weight_decay,
                              .beta1 = r->optimization.betas[0],
                              .beta2 = r->optimization.betas[1],
                              .eps = r->optimization.eps,
                              .momentum = report->momentum,
                              .max_norm = schedule_clips(&t->schedule, t->step) ? clip : 0,
                              .step = t->updates + 1};
    if (shard_ranks(t->shard) > 1) {
        ranks_sum_finish(&t->sum);
        ranks_share_leaves(model);
    }
    model_finish_gradients(model, r->loss.reg_coeff);
    model_update(model, &settings);
}

/* One step, up to its scalars, which are still on the device. */
static int train_step(Trainer *trainer, StepReport *report, Error *error) {
    Training *t = &trainer->t;
    Model *model = &t->stream[0].model;
    double started = time_now();
    *report = (StepReport){.step = t->step,
                           .epoch = (int64_t)((double)t->step / t->schedule.ipe),
                           .lr = schedule_lr(&t->schedule, t->step) *
                                 rewinds_lr_scale(&t->run->rewinds, t->step),
                           .weight_decay = schedule_weight_decay(&t->schedule, t->step),
                           .momentum = schedule_momentum(&t->schedule, t->step),
                           .measures = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
                           .model = model};
    report->itr = t->step - (int64_t)((double)report->epoch * t->schedule.ipe);
    int every = t->recipe->logging.diagnostics_every;
    report->measure = t->step % every == 0 || t->step + 1 == t->total;
    trainer->health.branch = rewinds_branch(&t->run->rewinds, t->step);
    trainer->health.lr_scale = rewinds_lr_scale(&t->run->rewinds, t->step);
    t->exchange->step = t->step;
    t->exchange->saved = trainer->saved;
    t->agreed = false;
    model_begin_step(model);
    reduce_begin(&t->reduction, t->units, t->leaves, t->first_leaf, t->own_leaves);
    int status = t->objective->step(t, report, error);
    if (status && !t->agreed)
        training_agree(t, status, error);
    if (status)
        return -1;
    JEPA_ASSERT(t->reduction.unit == t->reduction.end);
    model->gradients = model->gradient_sum[0];
    double update_started = time_now();
    update(t, report);
    report->compute_ms += (time_now() - update_started) * 1e3;
    report->wall_ms = (time_now() - started) * 1e3;
    return 0;
}

/* The scalars that were sent for, into the report of a step that began at `started`. An error when
 * they are not finite. Calls of a device that is not the host return before it has done anything:
 * its time for a step is that between the scalars of two steps, or from the start where it had
 * nothing to do until then. */
static int take_scalars(Trainer *trainer, StepReport *report, double started, Error *error) {
    Device *device = trainer->t.config->device;
    device->wait(device);
    double now = time_now();
    if (!device->on_host) {
        report->wall_ms = (now - fmax(started, trainer->arrived)) * 1e3;
        report->compute_ms = fmax(report->wall_ms - report->wait_ms, 0);
    }
    trainer->arrived = now;
    read_scalars(report, &trainer->scalars);
    if (!isfinite(report->loss) || !isfinite(report->encoder_norm) ||
        !isfinite(report->predictor_norm)) {
        trainer->broken = report->step + 1;
        return not_finite(trainer, report, error);
    }
    return 0;
}

static void send_for_scalars(Trainer *trainer) {
    const Model *model = &trainer->t.stream[0].model;
    model->device->post(&trainer->scalars, model->scalars, sizeof trainer->scalars, model->device);
}

/* The signal that asked for an end, 0: none. The one variable of this program that is not in a
 * struct: a signal handler can reach nothing else, and blocking signals would miss those that
 * arrive on threads of libraries. */
static volatile sig_atomic_t stop_signal;

static void note_signal(int signal) {
    stop_signal = signal;
}

static const int stop_signals[] = {SIGINT, SIGTERM, SIGUSR1};
#define STOP_SIGNALS (sizeof stop_signals / sizeof *stop_signals)

/* The first signal ends the run in order after the step at work; the same again ends it at once. */
static void catch_signals(struct sigaction old[STOP_SIGNALS]) {
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
    stop_signal = 0;
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signals[i], &action, &old[i]);
}

static void restore_signals(const struct sigaction old[STOP_SIGNALS]) {
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signals[i], &old[i], NULL);
}

/* ---- from step to step ---- */

/* What train() keeps from one step to the next. */
typedef struct Course {
    Progress progress;
    TrainerResult *result;
    int64_t first; /* step */
    bool said;
} Course;

/* A report that has everything: its row, a line for people. */
static void finish_report(Trainer *trainer, StepReport *report, Course *course) {
    Training *t = &trainer->t;
    char detail[96];
    report->decode_rate = trainer->slots / fmax(report->decode_rate, 1e-9);
    report->clips_per_second = trainer->slots / (report->wall_ms / 1e3);
    if (t->run->log) {
        write_row(t, report);
        if (t->config->hooks.logged)
            t->config->hooks.logged(t->config->hooks.context);
    }
    note_waiting(t, course->result, report, report->step - course->first, &course->said);
    snprintf(detail, sizeof detail, "loss %.4f  %.1f clips/s", report->loss,
             report->clips_per_second);
    progress_show(&course->progress, (double)report->step + 1, detail);
}

/* The report of the step before, if it is still waited for. */
static int finish_late(Trainer *trainer, Course *course, Error *error) {
    if (!trainer->late)
        return 0;
    trainer->late = false;
    if (take_scalars(trainer, &trainer->pending, trainer->pending_started, error))
        return -1;
    finish_report(trainer, &trainer->pending, course);
    return 0;
}

/* After a step at which the model is diagnosed: what is to be done. *due: a checkpoint; *stop: the
 * run; *back: it went back. */
static int look_after(Trainer *trainer, Course *course, bool *due, bool *stop, bool *back,
                      Error *error) {
    SentryVerdict verdict;
    bool best = false;
    int action = trainer->t.recipe->sentry.action;
    if (trainer_diagnose(trainer, &verdict, &best, error))
        return -1;
    /* what a run goes back to must not depend on when else a checkpoint was written */
    *due = *due || best || (action == SENTRY_REWIND && !verdict.complains);
    if (!verdict.acts || action == SENTRY_WARN)
        return 0;
    if (action == SENTRY_REWIND &&
        trainer_go_back(trainer, verdict.reason, trainer->t.step, back, error))
        return -1;
    if (*back) {
        course->first = trainer->t.step;
        return 0;
    }
    snprintf(course->result->sentry, sizeof course->result->sentry, "%s", verdict.reason);
    *stop = true;
    return 0;
}

/* One step with everything that comes after it. *stop: it was the last one. */
static int go_step(Trainer *trainer, Course *course, bool *stop, Error *error) {
    Training *t = &trainer->t;
    const TrainerHooks *hooks = &t->config->hooks;
    StepReport report;
    TrainDecision decision = TRAIN_CONTINUE;
    double started = time_now();
    int status = train_step(trainer, &report, error);
    Error late = {0};
    if (finish_late(trainer, course, &late)) {
        t->starved = false; /* what the weights are after that step is not worth a checkpoint */
        *error = late;
        return -1;
    }
    if (status)
        return -1;
    send_for_scalars(trainer);
    bool at_once = t->config->device->on_host || report.measure;
    if (at_once && take_scalars(trainer, &report, started, error))
        return -1;
    if (hooks->observe && measures_here(t))
        decision = hooks->observe(hooks->context, &report);
    Decided decided = end_step(trainer, &report, stop_signal, decision);
    course->result->signal = decided.signal;
    *stop = decided.signal || decided.stop;
    trainer->replaced += report.replaced;
    t->step++;
    t->updates++;
    if (at_once) {
        finish_report(trainer, &report, course);
    } else {
        trainer->pending = report;
        trainer->pending_started = started;
        trainer->late = true;
    }
    bool back = false;
    if (trainer_diagnoses(trainer) &&
        (finish_late(trainer, course, error) ||
         look_after(trainer, course, &decided.due, stop, &back, error)))
        return -1;
    if (back)
        return 0; /* all that could be saved is */
    if (*stop)
        log_info("stopping after step %" PRId64 ": writing a checkpoint", t->step);
    if (!*stop && !decided.due)
        return 0;
    return finish_late(trainer, course, error) || trainer_save(trainer, error) ? -1 : 0;
}

/* After a step that failed with *error: when its loss was not finite and the recipe has the sentry
 * go back, it is the same case as a collapse. 0: the run is where it went back to. */
static int after_failure(Trainer *trainer, Course *course, Error *error) {
    Training *t = &trainer->t;
    int64_t steps = trainer->broken;
    char reason[80];
    bool back = false;
    Error own = {0};
    trainer->broken = 0;
    if (!steps || t->recipe->sentry.action != SENTRY_REWIND)
        return -1;
    if (!t->exchange->rank)
        log_warn("sentry: %s", error->text);
    snprintf(reason, sizeof reason, "the loss of step %" PRId64 " is not finite", steps - 1);
    if (trainer_go_back(trainer, reason, steps, &back, &own)) {
        *error = own;
        return -1;
    }
    if (!back)
        return -1;
    *error = (Error){0};
    course->first = t->step;
    return 0;
}

static int train(Trainer *trainer, TrainerResult *result, Error *error) {
    Training *t = &trainer->t;
    Course course = {.result = result, .first = t->step};
    bool stop = false;
    progress_start(&course.progress, "step", (double)t->total, (double)t->step);
    while (t->step < t->total && !stop)
        if (go_step(trainer, &course, &stop, error) && after_failure(trainer, &course, error)) {
            Error ignored = {0};
            if (t->starved) /* the weights are those after the last whole step: nothing is lost */
                trainer_save(trainer, &ignored);
            return -1;
        }
    progress_end(&course.progress);
    return 0;
}

static void say_cache(FrameCache *cache) {
    if (!cache)
        return;
    FrameCacheStats stats = frame_cache_stats(cache);
    log_info("cache of frames: %.1f MiB, %" PRIu64 " clips found, %" PRIu64 " not",
             mib(stats.bytes), stats.hits, stats.misses);
}

static void close_stream(Stream *s) {
    if (s->model.device)
        model_free(&s->model);
    sampler_free(&s->sampler);
    free(s->mirror);
    free(s->frames);
    free(s->steps);
    free(s->length);
    free(s->draws);
}

/* Rank 0 writes rows at once when it is alone; else they are sent to it. */
static void open_notes(Trainer *trainer) {
    Training *t = &trainer->t;
    t->notes = t->run->quarantine;
    if (t->exchange->ranks > 1)
        t->notes = open_memstream(&trainer->noted, &trainer->noted_bytes);
    JEPA_ASSERT(t->notes);
}

static void close_notes(Trainer *trainer) {
    Training *t = &trainer->t;
    if (t->notes && t->notes != t->run->quarantine)
        fclose(t->notes);
    free(trainer->noted);
}

/* What comes before the first step: the first weights are looked at, too, and are what a run may go
 * back to. */
static int begin(Trainer *trainer, Error *error) {
    SentryVerdict verdict;
    bool best;
    if (trainer->t.run->resumed)
        return 0;
    if (trainer->diagnostics && trainer_diagnose(trainer, &verdict, &best, error))
        return -1;
    return trainer->t.recipe->sentry.action == SENTRY_REWIND ? trainer_save(trainer, error) : 0;
}

int trainer_run(TrainerResult *result, const TrainerConfig *config, Error *error) {
    Trainer trainer = {.t = {.config = config, .recipe = config->recipe, .run = config->run}};
    Training *t = &trainer.t;
    Exchange *x = config->exchange;
    memset(result, 0, sizeof *result);
    const Device *device = config->device;
    double before = resident_mib();
    size_t room = device->on_host ? 0 : device->memory(device);
    x->doing = "the start of the run";
    int status = exchange_agree(x, trainer_prepare(&trainer, error), error);
    struct sigaction old[STOP_SIGNALS];
    catch_signals(old);
    if (!status && t->step < t->total) {
        open_notes(&trainer);
        trainer.slots = training_slots(t);
        status = exchange_agree(x, trainer_open_loaders(t, error), error);
        if (!status) {
            char ranks[40] = "";
            if (x->ranks > 1)
                snprintf(ranks, sizeof ranks, " on each of %d ranks", x->ranks);
            log_info("%s %" PRId64 " of %" PRId64 " steps, %d clips a step, %" PRId64
                     " parameters, objective %s, device %s with %d threads%s",
                     t->step ? "going on at" : "training", t->step ? t->step : t->total, t->total,
                     training_slots(t), t->stream[0].model.table.values, t->objective->name,
                     config->device->name, config->device->threads, ranks);
            x->timeout = t->recipe->ranks.timeout;
            trainer.started = time_now();
            status = begin(&trainer, error) || train(&trainer, result, error) ? -1 : 0;
            log_info("resident memory grew by %.1f MiB since the plan", resident_mib() - before);
            if (!device->on_host)
                log_info("%s: %.1f MiB taken since the plan, by its own count", device->name,
                         ((double)room - (double)device->memory(device)) / (1 << 20));
        }
        trainer_close_loaders(t);
        close_notes(&trainer);
        say_cache(t->cache);
    }
    restore_signals(old);
    result->steps = t->step;
    result->total = t->total;
    result->replaced = trainer.replaced;
    result->diagnosed = trainer.diagnosed;
    result->diagnosing = trainer.diagnosing;
    if (trainer.diagnostics)
        config->hooks.diagnostics.close(config->hooks.diagnostics.context);
    frame_cache_close(t->cache);
    run_hardware_close(t->hardware);
    if (t->objective)
        t->objective->release(t);
    ranks_sum_free(&t->sum);
    for (int i = t->streams - 1; i >= 0; i--) /* the first owns the weights */
        close_stream(&t->stream[i]);
    training_forget(t);
    return status;
}
