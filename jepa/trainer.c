/* The trainer. See jepa/trainer.h. */
#include "jepa/trainer.h"
#include "base/log.h"
#include "base/words.h"
#include "jepa/training.h"
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A run that waits this long says so, once: after so many steps, and so many seconds of waiting. */
#define WAIT_SHARE   0.1
#define WAIT_STEPS   20
#define WAIT_SECONDS 1

typedef struct Trainer {
    Training t;
    int64_t replaced, saved; /* saved: step of the newest checkpoint, -1: none */
    double saved_at;         /* seconds */
} Trainer;

/* The loader asks from its own threads: a pure function of the job number. */
static int draw_job(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const Stream *s = context;
    uint64_t slots = (uint64_t)s->groups * (uint64_t)s->samples;
    sampler_draw(&s->sampler, draw, job / slots, slots, (uint64_t)s->samples, job % slots, attempt);
    return 1;
}

static double resident_mib(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    int fields = file ? fscanf(file, "%ld %ld", &pages, &resident) : 0;
    if (file)
        fclose(file);
    return fields == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20) : 0;
}

static LoaderConfig loader_config(const Training *t, Stream *s) {
    uint64_t slots = (uint64_t)s->groups * (uint64_t)s->samples;
    LoaderConfig loader = stream_loader(t, s);
    loader.source = (LoaderSource){s, draw_job};
    loader.first_job = (uint64_t)t->step * slots;
    loader.jobs = (uint64_t)t->total * slots;
    return loader;
}

static void note_replaced(const Training *t, const Stream *s, const LoaderBatch *batch, int group) {
    for (int b = 0; b < batch->count; b++)
        if (batch->slots[b].reason) {
            char *name = csv_quote(video_index_name(s->index, batch->slots[b].bad_file));
            char *reason = csv_quote(batch->slots[b].reason);
            fprintf(t->run->quarantine, "%" PRId64 ",%d,%s,%s\n", t->step,
                    (s->first_group + group) * s->samples + b, name, reason);
            free(name);
            free(reason);
        }
}

const LoaderBatch *stream_next(Training *t, Stream *s, int group, StepReport *report,
                               Error *error) {
    const LoaderBatch *batch = loader_next(s->loader, error);
    if (!batch) {
        t->starved = true;
        error_prefix(error, "step %" PRId64, t->step);
        return NULL;
    }
    JEPA_ASSERT(batch->count == s->samples);
    for (int b = 0; b < s->samples; b++) {
        const LoaderSlot *slot = &batch->slots[b];
        if (slot->failed) {
            t->starved = true;
            error_set(error, ERROR_RUN,
                      "step %" PRId64 ": no clip could be decoded for slot %d of the %s in many "
                      "attempts; the first failure: %s",
                      t->step, group * s->samples + b, s->name,
                      slot->reason ? slot->reason : "unknown");
            return NULL;
        }
        s->mirror[b] = slot->draw.flip;
        report->replaced += slot->draw.attempt > 0;
        s->draws[group * s->samples + b] = slot->draw;
    }
    note_replaced(t, s, batch, group);
    report->wait_ms += batch->wait * 1e3;
    report->decode_rate += batch->decode; /* seconds; the rate at the end of the step */
    report->ring += (double)batch->ready_ahead / s->groups / t->streams;
    return batch;
}

/* Names step, slots and files of a loss that is not finite. */
static int not_finite(const Trainer *trainer, double loss, Error *error) {
    const Training *t = &trainer->t;
    char names[600] = "";
    char *path = memory_text("%s/nonfinite-step-%" PRId64 ".csv", t->run->folder, t->step);
    FILE *list = fopen(path, "we");
    int shown = 0, slots = 0;
    if (list)
        fprintf(list, "slot,file,first_frame,last_frame\n");
    for (int k = 0; k < t->streams; k++) {
        const Stream *s = &t->stream[k];
        for (int i = 0; i < s->groups * s->samples; i++, slots++) {
            const ClipDraw *draw = &s->draws[i];
            if (!draw->count) /* not come to */
                continue;
            const char *name = video_index_name(s->index, draw->file);
            int64_t first = draw->frames[0], last = draw->frames[draw->count - 1];
            char *quoted = csv_quote(name);
            if (list)
                fprintf(list, "%d,%s,%" PRId64 ",%" PRId64 "\n", slots, quoted, first, last);
            free(quoted);
            if (shown < 8)
                snprintf(names + strlen(names), sizeof names - strlen(names),
                         "%sslot %d %.40s frames %" PRId64 "..%" PRId64, shown++ ? ", " : "", slots,
                         name, first, last);
        }
    }
    if (list)
        fclose(list);
    error_set(
        error, ERROR_RUN,
        "step %" PRId64 ": the loss is %g: stopped, the last checkpoint is untouched (step %" PRId64
        "); the clips: %s%s (all of them in %s); a lower lr or a look at these files may help",
        t->step, loss, trainer->saved < 0 ? 0 : trainer->saved, names, slots > shown ? ", ..." : "",
        path);
    free(path);
    return -1;
}

static void write_row(const Training *t, const StepReport *r) {
    FILE *log = t->run->log;
    const Measures *m = &r->measures;
    const double values[] = {m->context_std,    m->target_std,    m->predictor_std,
                             m->context_rankme, m->target_rankme, m->predictor_rankme,
                             m->cosine,         m->skill};
    fprintf(log, "%" PRId64 ",%" PRId64 ",%.9g,%.9g,%.9g,%.6g,%.6g,%.1f,%.1f,", r->epoch, r->itr,
            r->loss, r->loss_jepa, r->reg_loss, r->encoder_norm, r->predictor_norm, r->compute_ms,
            r->wall_ms);
    fprintf(log, "%" PRId64 ",%.9g,%.9g,%.9g,%.2f,%.1f,%" PRId64 ",%" PRId64 ",%d,%d", r->step,
            r->lr, r->weight_decay, r->momentum, r->clips_per_second, r->wait_ms, r->context_tokens,
            r->target_tokens, r->replaced, r->mask_redraws);
    fprintf(log, ",%.1f,%.2f", r->decode_rate, r->ring);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (isnan(values[i]))
            fputc(',', log);
        else
            fprintf(log, ",%.6g", values[i]);
    fprintf(log, ",%.9g,%.9g,%.9g", r->loss_context, r->invariance, r->sigreg);
    fputc('\n', log);
    fflush(log);
}

static void read_scalars(StepReport *report, const Model *model) {
    ModelScalars scalars;
    model->device->download(&scalars, model->scalars, sizeof scalars, model->device);
    report->loss = scalars.total;
    report->reg_loss = scalars.reg;
    for (int m = 0; m < MASK_SETTINGS_MAX; m++) {
        report->loss_jepa += scalars.loss[m];
        report->loss_context += scalars.loss[MASK_SETTINGS_MAX + m];
    }
    report->invariance = scalars.invariance;
    report->sigreg = scalars.sigreg;
    report->encoder_norm = sqrt(scalars.square_sum[0]);
    report->predictor_norm = sqrt(scalars.square_sum[1]);
}

static int train_step(Trainer *trainer, StepReport *report, Error *error) {
    Training *t = &trainer->t;
    Model *model = &t->stream[0].model;
    double started = time_now();
    *report = (StepReport){.step = t->step,
                           .epoch = (int64_t)((double)t->step / t->schedule.ipe),
                           .lr = schedule_lr(&t->schedule, t->step),
                           .weight_decay = schedule_weight_decay(&t->schedule, t->step),
                           .momentum = schedule_momentum(&t->schedule, t->step),
                           .measures = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
                           .model = model};
    report->itr = t->step - (int64_t)((double)report->epoch * t->schedule.ipe);
    int every = t->recipe->logging.diagnostics_every, slots = training_slots(t);
    report->measure = t->step % every == 0 || t->step + 1 == t->total;
    model_begin_step(model);
    reduce_begin(&t->reduction, training_units(t), t->recipe->optimization.reduce_leaves);
    if (t->objective->step(t, report, error))
        return -1;
    JEPA_ASSERT(t->reduction.unit == t->reduction.units);
    model->gradients = model->gradient_sum[0];
    double update_started = time_now();
    const Recipe *r = t->recipe;
    model_finish_gradients(model, r->loss.reg_coeff);
    double clip = recipe_clip_grad(r);
    AdamwSettings settings = {.lr = report->lr,
                              .weight_decay = report->weight_decay,
                              .beta1 = r->optimization.betas[0],
                              .beta2 = r->optimization.betas[1],
                              .eps = r->optimization.eps,
                              .momentum = report->momentum,
                              .max_norm = schedule_clips(&t->schedule, t->step) ? clip : 0,
                              .step = t->updates + 1};
    model_update(model, &settings);
    read_scalars(report, model);
    report->compute_ms += (time_now() - update_started) * 1e3;
    if (!isfinite(report->loss) || !isfinite(report->encoder_norm) ||
        !isfinite(report->predictor_norm))
        return not_finite(trainer, isfinite(report->loss) ? (double)NAN : report->loss, error);
    report->wall_ms = (time_now() - started) * 1e3;
    report->decode_rate = slots / fmax(report->decode_rate, 1e-9);
    report->clips_per_second = slots / (report->wall_ms / 1e3);
    return 0;
}

static int save(Trainer *trainer, Error *error) {
    const Training *t = &trainer->t;
    if (trainer->saved == t->step)
        return 0;
    CheckpointState state = {.model = &t->stream[0].model,
                             .step = t->step,
                             .updates = t->updates,
                             .replaced = trainer->replaced,
                             .recipe = t->run->recipe_text,
                             .index = t->run->index.hash};
    state.extra_count = t->objective->extras(state.extra, t);
    if (run_flush(t->run, error) ||
        checkpoint_save(t->run->folder, &state, t->recipe->checkpoint.keep, error))
        return -1;
    trainer->saved = t->step;
    trainer->saved_at = time_now();
    return 0;
}

static bool save_is_due(const Trainer *trainer) {
    const Training *t = &trainer->t;
    int64_t steps = t->recipe->checkpoint.every_steps;
    double minutes = t->recipe->checkpoint.every_minutes;
    return (steps && t->step % steps == 0) ||
           (minutes > 0 && time_now() - trainer->saved_at >= 60 * minutes) || t->step == t->total;
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

/* Time of the steps, and of waiting for clips in it. The first step always waits: nothing could be
 * read ahead of it. */
static void note_waiting(const Training *t, TrainerResult *result, const StepReport *report,
                         int64_t steps, bool *said) {
    if (!steps)
        return;
    result->seconds += report->wall_ms / 1e3;
    result->waited += report->wait_ms / 1e3;
    if (*said || steps < WAIT_STEPS || result->waited < WAIT_SECONDS ||
        result->waited < WAIT_SHARE * result->seconds)
        return;
    *said = true;
    log_warn("%.0f %% of the time is spent waiting for clips, which %d threads decode: smaller "
             "files (jepa transcode), data.cache, or more cores and --workers would help",
             100 * result->waited / result->seconds, stream_loader(t, &t->stream[0]).threads);
}

static int train(Trainer *trainer, TrainerResult *result, Error *error) {
    Training *t = &trainer->t;
    Progress progress;
    int64_t first = t->step;
    bool said = false;
    progress_start(&progress, "step", (double)t->total, (double)t->step);
    while (t->step < t->total) {
        StepReport report;
        if (train_step(trainer, &report, error)) {
            Error ignored = {0};
            if (t->starved) /* the weights are those after the last whole step: nothing is lost */
                save(trainer, &ignored);
            return -1;
        }
        TrainDecision decision = TRAIN_CONTINUE;
        if (t->config->hooks.observe)
            decision = t->config->hooks.observe(t->config->hooks.context, &report);
        write_row(t, &report);
        note_waiting(t, result, &report, t->step - first, &said);
        t->step++;
        t->updates++;
        trainer->replaced += report.replaced;
        char detail[96];
        snprintf(detail, sizeof detail, "loss %.4f  %.1f clips/s", report.loss,
                 report.clips_per_second);
        progress_show(&progress, (double)t->step, detail);
        result->signal = stop_signal;
        bool stopping = result->signal || decision == TRAIN_STOP;
        if (stopping)
            log_info("stopping after step %" PRId64 ": writing a checkpoint", t->step);
        if ((stopping || save_is_due(trainer)) && save(trainer, error))
            return -1;
        if (stopping)
            break;
    }
    progress_end(&progress);
    return 0;
}

/* One stream: what it draws from. */
static int open_stream(Training *t, Stream *s, Error *error) {
    const Recipe *r = t->recipe;
    s->index = s->picture ? &t->run->pictures : &t->run->index;
    SamplerSettings sampling = s->picture ? recipe_image_sampler(r) : recipe_sampler(r);
    if (sampler_new(&s->sampler, s->index, &sampling, error))
        return error_prefix(error, "%s", s->name);
    if (s->sampler.too_short)
        log_info("%zu videos are shorter than a clip and not drawn (data.short_videos: skip)",
                 s->sampler.too_short);
    if (s->sampler.hdr)
        log_info("%zu videos are HDR and not drawn (data.hdr: refuse)", s->sampler.hdr);
    size_t samples = (size_t)s->samples;
    s->mirror = memory_new(samples, 1);
    size_t slots = (size_t)s->groups * samples;
    s->frames = memory_new(slots, sizeof *s->frames);
    s->steps = memory_new(slots, sizeof *s->steps);
    s->length = memory_new(slots, sizeof *s->length);
    s->draws = memory_new(slots, sizeof *s->draws);
    return 0;
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

/* Memory is planned before any of it is taken. */
static int make_models(Training *t, Error *error) {
    TrainerPlan plan;
    Device *device = t->config->device;
    char kinds[400];
    training_measure(&plan, t);
    if (training_fits(&plan, t, error))
        return -1;
    for (int i = 0; i < t->streams; i++) {
        Stream *s = &t->stream[i];
        if (i)
            s->plan.beside = &t->stream[0].model;
        if (model_new(&s->model, &s->plan, device, error))
            return -1;
    }
    const Model *model = &t->stream[0].model;
    t->reduction = (Reduction){.values = model->table.total, .device = device};
    memcpy(t->reduction.buffer, model->gradient_sum, sizeof t->reduction.buffer);
    if (t->objective->prepare(t, error))
        return -1;
    trainer_plan_kinds(kinds, sizeof kinds, &plan);
    log_info("memory plan: %.1f MiB (%s)", mib(plan.total), kinds);
    return 0;
}

static bool has_frozen_teacher(const Checkpoint *checkpoint) {
    Recipe recipe;
    Error ignored = {0};
    recipe_default(&recipe);
    bool frozen = !recipe_parse(&recipe, checkpoint->recipe, "its recipe", &ignored) &&
                  recipe_teacher(&recipe);
    recipe_free(&recipe);
    return frozen;
}

/* The target encoder begins as the encoder, where it has its sizes. */
static void copy_to_target(Model *model) {
    int64_t count = model->table.owner[OWNER_ENCODER].end;
    if (model->plan.config.teacher.dim)
        return;
    float *host = memory_new((size_t)count, sizeof *host);
    model->device->download(host, model->weights, (size_t)count * sizeof *host, model->device);
    model->device->upload(model->target, host, (size_t)count * sizeof *host, model->device);
    free(host);
}

/* The weights that a run begins with: another run's with its moments (cooldown), another's weights
 * alone, or drawn; and those of a frozen teacher. */
static int first_weights(Training *t, Error *error) {
    const Recipe *r = t->recipe;
    Model *model = &t->stream[0].model;
    Checkpoint source = {0};
    int result = 0;
    model_init(model, (uint64_t)r->meta.seed);
    const char *from = r->optimization.anneal_ckpt ? r->optimization.anneal_ckpt : r->init_from;
    if (from) {
        result = checkpoint_open(&source, from, error);
        if (!result && r->optimization.anneal_ckpt) {
            ExtraTensor extra[EXTRA_TENSORS_MAX];
            result = checkpoint_load(model, &source, error) ||
                     checkpoint_load_extra(extra, t->objective->extras(extra, t), model, &source,
                                           error);
            t->updates = source.updates;
            if (!result)
                log_info("going on from %s after %" PRId64 " updates, moments included", from,
                         source.updates);
        } else if (!result) {
            CheckpointLoaded loaded;
            result = checkpoint_load_some(&loaded, model, &source, error);
            if (!result && has_frozen_teacher(&source))
                copy_to_target(model); /* its target encoder is no average of what is loaded */
            if (!result)
                log_info("starting from %s: %d of %d tensors, %d are new%s%s", from, loaded.found,
                         loaded.wanted, loaded.wanted - loaded.found,
                         loaded.first_missing[0] ? ", the first " : "", loaded.first_missing);
        }
        if (!result || source.folder)
            checkpoint_close(&source);
        if (result)
            return error_prefix(error, "where to start from");
    }
    const char *teacher = recipe_teacher(r);
    if (teacher) {
        result = checkpoint_open(&source, teacher, error);
        if (!result) {
            result = checkpoint_load_teacher(model, &source, error);
            checkpoint_close(&source);
        }
        if (result)
            return error_prefix(error, "target: %s", r->target);
        log_info("the target encoder is that of %s, frozen", teacher);
    }
    return 0;
}

static int prepare(Trainer *trainer, Error *error) {
    Training *t = &trainer->t;
    const Recipe *recipe = t->recipe;
    training_start(t);
    for (int i = 0; i < t->streams; i++)
        if (open_stream(t, &t->stream[i], error))
            return -1;
    t->schedule = recipe_schedule(recipe, (int64_t)t->stream[0].sampler.units);
    t->total = schedule_steps(&t->schedule);
    if (t->total < 1)
        return error_set(error, ERROR_USAGE, "optimization.epochs x ipe: less than one step");
    t->step = t->run->resumed ? t->run->checkpoint.step : 0;
    t->updates = t->run->resumed ? t->run->checkpoint.updates : 0;
    trainer->replaced = t->run->resumed ? t->run->checkpoint.replaced : 0;
    trainer->saved = t->run->resumed ? t->step : -1;
    trainer->saved_at = time_now();
    if (recipe->data.cache_bytes > 0 &&
        frame_cache_open(&t->cache, (size_t)recipe->data.cache_bytes, recipe->data.cache_folder,
                         error))
        return -1;
    if (make_models(t, error))
        return -1;
    if (!t->run->resumed)
        return first_weights(t, error);
    Precision before = t->run->checkpoint.precision, now = t->config->device->precision;
    if (before != now)
        log_warn(
            "the run was computed in %s so far and goes on in %s: not with the bits of one that "
            "was never stopped",
            precision_name(before), precision_name(now));
    ExtraTensor extra[EXTRA_TENSORS_MAX];
    int extras = t->objective->extras(extra, t);
    return checkpoint_load(&t->stream[0].model, &t->run->checkpoint, error) ||
                   checkpoint_load_extra(extra, extras, &t->stream[0].model, &t->run->checkpoint,
                                         error)
               ? -1
               : 0;
}

static void say_cache(FrameCache *cache) {
    if (!cache)
        return;
    FrameCacheStats stats = frame_cache_stats(cache);
    log_info("cache of frames: %.1f MiB, %" PRIu64 " clips found, %" PRIu64 " not",
             mib(stats.bytes), stats.hits, stats.misses);
}

static int open_loaders(Training *t, Error *error) {
    for (int i = 0; i < t->streams; i++) {
        LoaderConfig loader = loader_config(t, &t->stream[i]);
        if (loader_open(&t->stream[i].loader, &loader, error))
            return -1;
    }
    return 0;
}

int trainer_run(TrainerResult *result, const TrainerConfig *config, Error *error) {
    Trainer trainer = {.t = {.config = config, .recipe = config->recipe, .run = config->run}};
    Training *t = &trainer.t;
    memset(result, 0, sizeof *result);
    double before = resident_mib();
    int status = prepare(&trainer, error);
    struct sigaction old[STOP_SIGNALS];
    catch_signals(old);
    if (!status && t->step < t->total) {
        status = open_loaders(t, error);
        if (!status) {
            log_info("%s %" PRId64 " of %" PRId64 " steps, %d clips a step, %" PRId64
                     " parameters, objective %s, device %s with %d threads",
                     t->step ? "going on at" : "training", t->step ? t->step : t->total, t->total,
                     training_slots(t), t->stream[0].model.table.values, t->objective->name,
                     config->device->name, config->device->threads);
            status = train(&trainer, result, error);
            log_info("resident memory grew by %.1f MiB since the plan", resident_mib() - before);
        }
        for (int i = 0; i < t->streams; i++)
            if (t->stream[i].loader)
                loader_close(t->stream[i].loader);
        say_cache(t->cache);
    }
    restore_signals(old);
    result->steps = t->step;
    result->total = t->total;
    result->replaced = trainer.replaced;
    frame_cache_close(t->cache);
    if (t->objective)
        t->objective->release(t);
    for (int i = t->streams - 1; i >= 0; i--) /* the first owns the weights */
        close_stream(&t->stream[i]);
    training_forget(t);
    return status;
}
