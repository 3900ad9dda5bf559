/* The trainer. See jepa/trainer.h. */
#include "jepa/trainer.h"
#include "base/log.h"
#include "base/words.h"
#include "video/loader.h"
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RING_BATCHES 3 /* groups decoded ahead: one in work, two waiting */

typedef struct Trainer {
    const TrainerConfig *config;
    const Recipe *recipe;
    Run *run;
    Model model;
    Schedule schedule;
    ClipSpec clip;
    MaskRecipe mask_recipe;
    MaskGroup *masks; /* [groups] */
    Sampler sampler;
    FrameCache *cache;
    Loader *loader;
    int groups, samples; /* groups in a step, slots in a group */
    int64_t step, total;
    bool starved;            /* the loader could not go on */
    int64_t replaced, saved; /* saved: step of the newest checkpoint, -1: none */
    double saved_at;         /* seconds */
    uint8_t *mirror;         /* [samples] of the current group */
    ClipDraw *draws;         /* [groups · samples] of the current step, for messages */
} Trainer;

/* The loader asks from its own threads: a pure function of the job number. */
static int draw_job(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const Trainer *t = context;
    uint64_t slots = (uint64_t)t->groups * (uint64_t)t->samples;
    sampler_draw(&t->sampler, draw, job / slots, slots, (uint64_t)t->samples, job % slots, attempt);
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

static double mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

static int loader_threads(const Trainer *t) {
    int wanted = t->config->loader_threads ? t->config->loader_threads
                                           : t->recipe->data.num_workers;
    int cores = device_threads_available();
    if (wanted < 1)
        wanted = cores;
    return wanted < 4 * cores ? wanted
                              : 4 * cores; /* recipes of clusters ask for more than helps */
}

static LoaderConfig loader_config(Trainer *t) {
    uint64_t slots = (uint64_t)t->groups * (uint64_t)t->samples;
    return (LoaderConfig){.index = &t->run->index,
                          .spec = t->clip,
                          .source = {t, draw_job},
                          .first_job = (uint64_t)t->step * slots,
                          .jobs = (uint64_t)t->total * slots,
                          .batch = t->samples,
                          .ring = RING_BATCHES,
                          .threads = loader_threads(t),
                          .timeout = t->recipe->data.timeout,
                          .cache = t->cache};
}

/* Says what memory the run will take, before it is taken. */
static size_t print_plan(const ModelPlan *plan, const LoaderConfig *loader, const Recipe *recipe,
                         Device *device) {
    Arena arena;
    size_t scratch, ring = loader_bytes(loader);
    model_measure(&arena, &scratch, plan, device);
    char parts[256] = "";
    for (int k = 0; k < MEMORY_KINDS; k++)
        snprintf(parts + strlen(parts), sizeof parts - strlen(parts), "%s %.1f, ",
                 memory_kind_name((MemoryKind)k), mib(arena.by_kind[k]));
    size_t cache = recipe->data.cache_folder ? 0 : (size_t)recipe->data.cache_bytes;
    size_t total = arena.used + scratch + ring + cache;
    if (cache)
        snprintf(parts + strlen(parts), sizeof parts - strlen(parts), "cache of frames %.1f, ",
                 mib(cache));
    log_info("memory plan: %.1f MiB (%sscratch %.1f, clips ahead %.1f)", mib(total), parts,
             mib(scratch), mib(ring));
    return total;
}

static int memory_enough(size_t planned, Error *error) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double machine = (double)pages * (double)page / (1 << 20);
    if (pages > 0 && mib(planned) > machine)
        return error_set(
            error, ERROR_RUN,
            "the recipe needs %.0f MiB, this machine has %.0f: lower data.batch_size "
            "(and raise tasks_per_node to keep the global batch), crop_size or the model",
            mib(planned), machine);
    return 0;
}

/* Weights of the loss for the global batch, from the masks of all its groups. */
static void fill_weights(LossWeights *weights, const Trainer *t, int group) {
    int settings = t->mask_recipe.settings, dim = t->model.plan.config.dim;
    weights->power = t->recipe->loss.loss_exp;
    weights->reg_coeff = t->recipe->loss.reg_coeff;
    weights->reg_weight = 1.0 / ((double)t->groups * t->samples * dim);
    for (int m = 0; m < settings; m++) {
        double tokens = 0;
        for (int g = 0; g < t->groups; g++) {
            const int32_t *cu = t->masks[g].cu_target;
            double own = cu[(m + 1) * t->samples] - cu[m * t->samples];
            /* packed: the mean over all target tokens of the global batch; truncate: the mean over
             * each rank's tokens, then over ranks, as the published code's gradient average does */
            if (t->mask_recipe.batch == MASK_PACKED)
                tokens += own;
            else if (g == group)
                tokens = own * t->groups;
        }
        weights->element[m] = 1.0 / (settings * tokens * dim);
    }
}

static void note_replaced(Trainer *t, const LoaderBatch *batch, int group) {
    for (int b = 0; b < batch->count; b++)
        if (batch->slots[b].reason) {
            char *name = csv_quote(video_index_name(&t->run->index, batch->slots[b].bad_file));
            char *reason = csv_quote(batch->slots[b].reason);
            fprintf(t->run->quarantine, "%" PRId64 ",%d,%s,%s\n", t->step, group * t->samples + b,
                    name, reason);
            free(name);
            free(reason);
        }
}

static int run_group(Trainer *t, int group, StepReport *report, Error *error) {
    const LoaderBatch *batch = loader_next(t->loader, error);
    if (!batch) {
        t->starved = true;
        return error_prefix(error, "step %" PRId64, t->step);
    }
    JEPA_ASSERT(batch->count == t->samples);
    uint8_t *mirror = t->mirror;
    for (int b = 0; b < t->samples; b++) {
        const LoaderSlot *slot = &batch->slots[b];
        if (slot->failed) {
            t->starved = true;
            return error_set(
                error, ERROR_RUN,
                "step %" PRId64 ": no clip could be decoded for slot %d in many attempts; "
                "the first failure: %s",
                t->step, group * t->samples + b, slot->reason ? slot->reason : "unknown");
        }
        mirror[b] = slot->draw.flip;
        report->replaced += slot->draw.attempt > 0;
        t->draws[group * t->samples + b] = slot->draw;
    }
    note_replaced(t, batch, group);
    report->wait_ms += batch->wait * 1e3;
    report->decode_rate += batch->decode; /* seconds; the rate at the end of the step */
    report->ring += (double)batch->ready_ahead / t->groups;
    LossWeights weights;
    fill_weights(&weights, t, group);
    ModelInput input = {.samples = t->samples,
                        .pixels = batch->clips,
                        .values = batch->values, /* mirrored already */
                        .mirror = batch->values ? NULL : mirror};
    model_set_input(&t->model, &input);
    model_set_masks(&t->model, &t->masks[group], t->samples);
    double started = time_now();
    model_forward_target(&t->model, t->samples);
    model_forward_prediction(&t->model, t->samples, &weights);
    model_backward(&t->model, t->samples, &weights);
    report->compute_ms += (time_now() - started) * 1e3;
    report->context_tokens += t->model.context_rows;
    report->target_tokens += t->model.target_rows;
    return 0;
}

/* Names step, slots and files of a loss that is not finite. */
static int not_finite(const Trainer *t, double loss, Error *error) {
    char names[600] = "";
    int slots = t->groups * t->samples, shown = 0;
    for (; shown < slots && shown < 8; shown++)
        snprintf(names + strlen(names), sizeof names - strlen(names),
                 "%sslot %d %.40s frames %" PRId64 "..%" PRId64, shown ? ", " : "", shown,
                 video_index_name(&t->run->index, t->draws[shown].file), t->draws[shown].frames[0],
                 t->draws[shown].frames[t->clip.frames - 1]);
    char *path = memory_text("%s/nonfinite-step-%" PRId64 ".csv", t->run->folder, t->step);
    FILE *list = fopen(path, "we");
    if (list) {
        fprintf(list, "slot,file,first_frame,last_frame\n");
        for (int i = 0; i < slots; i++)
            fprintf(list, "%d,\"%s\",%" PRId64 ",%" PRId64 "\n", i,
                    video_index_name(&t->run->index, t->draws[i].file), t->draws[i].frames[0],
                    t->draws[i].frames[t->clip.frames - 1]);
        fclose(list);
    }
    error_set(
        error, ERROR_RUN,
        "step %" PRId64 ": the loss is %g: stopped, the last checkpoint is untouched (step %" PRId64
        "); the clips: %s%s (all of them in %s); a lower lr or a look at these files may help",
        t->step, loss, t->saved < 0 ? 0 : t->saved, names, slots > shown ? ", ..." : "", path);
    free(path);
    return -1;
}

static void write_row(const Trainer *t, const StepReport *r) {
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
    fputc('\n', log);
    fflush(log);
}

static int train_step(Trainer *t, StepReport *report, Error *error) {
    double started = time_now();
    uint64_t seed = (uint64_t)t->recipe->meta.seed;
    *report = (StepReport){.step = t->step,
                           .epoch = (int64_t)((double)t->step / t->schedule.ipe),
                           .lr = schedule_lr(&t->schedule, t->step),
                           .weight_decay = schedule_weight_decay(&t->schedule, t->step),
                           .momentum = schedule_momentum(&t->schedule, t->step),
                           .measures = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
                           .model = &t->model};
    report->itr = t->step - (int64_t)((double)report->epoch * t->schedule.ipe);
    int every = t->recipe->logging.diagnostics_every;
    report->measure = t->step % every == 0 || t->step + 1 == t->total;
    for (int g = 0; g < t->groups; g++) {
        mask_group_draw(&t->masks[g], &t->mask_recipe, seed, (uint64_t)t->step, (uint64_t)g, NULL);
        report->mask_redraws += t->masks[g].redraws;
    }
    model_begin_step(&t->model);
    for (int g = 0; g < t->groups; g++)
        if (run_group(t, g, report, error))
            return -1;
    double update_started = time_now();
    model_finish_gradients(&t->model, t->recipe->loss.reg_coeff);
    const Recipe *r = t->recipe;
    AdamwSettings settings = {
        .lr = report->lr,
        .weight_decay = report->weight_decay,
        .beta1 = r->optimization.betas[0],
        .beta2 = r->optimization.betas[1],
        .eps = r->optimization.eps,
        .momentum = report->momentum,
        .max_norm = schedule_clips(&t->schedule, t->step) ? r->optimization.clip_grad : 0,
        .step = t->step + 1};
    model_update(&t->model, &settings);
    ModelScalars scalars;
    t->model.device->download(&scalars, t->model.scalars, sizeof scalars, t->model.device);
    report->compute_ms += (time_now() - update_started) * 1e3;
    report->loss = scalars.total;
    report->reg_loss = scalars.reg;
    for (int m = 0; m < t->mask_recipe.settings; m++)
        report->loss_jepa += scalars.loss[m];
    report->encoder_norm = sqrt(scalars.square_sum[0]);
    report->predictor_norm = sqrt(scalars.square_sum[1]);
    if (!isfinite(report->loss) || !isfinite(report->encoder_norm) ||
        !isfinite(report->predictor_norm))
        return not_finite(t, isfinite(report->loss) ? (double)NAN : report->loss, error);
    report->wall_ms = (time_now() - started) * 1e3;
    report->decode_rate = t->groups * t->samples / fmax(report->decode_rate, 1e-9);
    report->clips_per_second = t->groups * t->samples / (report->wall_ms / 1e3);
    return 0;
}

static int save(Trainer *t, Error *error) {
    if (t->saved == t->step)
        return 0;
    CheckpointState state = {.model = &t->model,
                             .step = t->step,
                             .replaced = t->replaced,
                             .recipe = t->run->recipe_text,
                             .index = t->run->index.hash};
    if (run_flush(t->run, error) ||
        checkpoint_save(t->run->folder, &state, t->recipe->checkpoint.keep, error))
        return -1;
    t->saved = t->step;
    t->saved_at = time_now();
    return 0;
}

static bool save_is_due(const Trainer *t) {
    int64_t steps = t->recipe->checkpoint.every_steps;
    double minutes = t->recipe->checkpoint.every_minutes;
    return (steps && t->step % steps == 0) ||
           (minutes > 0 && time_now() - t->saved_at >= 60 * minutes) || t->step == t->total;
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

static int train(Trainer *t, TrainerResult *result, Error *error) {
    Progress progress;
    progress_start(&progress, "step", (double)t->total, (double)t->step);
    while (t->step < t->total) {
        StepReport report;
        if (train_step(t, &report, error)) {
            Error ignored = {0};
            if (t->starved) /* the weights are those after the last whole step: nothing is lost */
                save(t, &ignored);
            return -1;
        }
        TrainDecision decision = TRAIN_CONTINUE;
        if (t->config->hooks.observe)
            decision = t->config->hooks.observe(t->config->hooks.context, &report);
        write_row(t, &report);
        t->step++;
        t->replaced += report.replaced;
        char detail[96];
        snprintf(detail, sizeof detail, "loss %.4f  %.1f clips/s", report.loss,
                 report.clips_per_second);
        progress_show(&progress, (double)t->step, detail);
        result->signal = stop_signal;
        bool stopping = result->signal || decision == TRAIN_STOP;
        if (stopping)
            log_info("stopping after step %" PRId64 ": writing a checkpoint", t->step);
        if ((stopping || save_is_due(t)) && save(t, error))
            return -1;
        if (stopping)
            break;
    }
    progress_end(&progress);
    return 0;
}

static int prepare(Trainer *t, Error *error) {
    const Recipe *recipe = t->recipe;
    t->groups = recipe_groups(recipe);
    t->samples = recipe_slots(recipe);
    SamplerSettings sampling = recipe_sampler(recipe);
    if (sampler_new(&t->sampler, &t->run->index, &sampling, error))
        return -1;
    if (t->sampler.too_short)
        log_info("%zu videos are shorter than a clip and not drawn (data.short_videos: skip)",
                 t->sampler.too_short);
    if (t->sampler.hdr)
        log_info("%zu videos are HDR and not drawn (data.hdr: refuse)", t->sampler.hdr);
    t->schedule = recipe_schedule(recipe, (int64_t)t->sampler.units);
    t->clip = recipe_clip(recipe);
    t->mask_recipe = recipe_mask(recipe);
    t->total = schedule_steps(&t->schedule);
    if (t->total < 1)
        return error_set(error, ERROR_USAGE, "optimization.epochs x ipe: less than one step");
    t->step = t->run->resumed ? t->run->checkpoint.step : 0;
    t->replaced = t->run->resumed ? t->run->checkpoint.replaced : 0;
    t->saved = t->run->resumed ? t->step : -1;
    t->saved_at = time_now();
    ModelPlan plan = {.config = recipe_model(recipe),
                      .samples = t->samples,
                      .settings = t->mask_recipe.settings,
                      .training = true,
                      .float_input = t->clip.interpolation == CLIP_PUBLISHED};
    mask_capacity(&plan.context, &plan.target, &t->mask_recipe);
    LoaderConfig loader = loader_config(t);
    if (memory_enough(print_plan(&plan, &loader, recipe, t->config->device), error) ||
        model_new(&t->model, &plan, t->config->device, error))
        return -1;
    t->masks = memory_new((size_t)t->groups, sizeof *t->masks);
    for (int g = 0; g < t->groups; g++)
        mask_group_new(&t->masks[g], &t->mask_recipe, plan.context, plan.target);
    t->mirror = memory_new((size_t)t->samples, 1);
    if (recipe->data.cache_bytes > 0 &&
        frame_cache_open(&t->cache, (size_t)recipe->data.cache_bytes, recipe->data.cache_folder,
                         error))
        return -1;
    t->draws = memory_new((size_t)(t->groups * t->samples), sizeof *t->draws);
    if (t->run->resumed)
        return checkpoint_load(&t->model, &t->run->checkpoint, error);
    model_init(&t->model, (uint64_t)recipe->meta.seed);
    return 0;
}

static void say_cache(FrameCache *cache) {
    if (!cache)
        return;
    FrameCacheStats stats = frame_cache_stats(cache);
    log_info("cache of frames: %.1f MiB, %" PRIu64 " clips found, %" PRIu64 " not",
             mib(stats.bytes), stats.hits, stats.misses);
}

int trainer_run(TrainerResult *result, const TrainerConfig *config, Error *error) {
    Trainer t = {.config = config, .recipe = config->recipe, .run = config->run};
    memset(result, 0, sizeof *result);
    double before = resident_mib();
    int status = prepare(&t, error);
    struct sigaction old[STOP_SIGNALS];
    catch_signals(old);
    if (!status && t.step < t.total) {
        LoaderConfig loader = loader_config(&t);
        status = loader_open(&t.loader, &loader, error);
        if (!status) {
            log_info("%s %" PRId64 " of %" PRId64 " steps, %d clips a step, %" PRId64
                     " parameters, device %s with %d threads",
                     t.step ? "going on at" : "training", t.step ? t.step : t.total, t.total,
                     t.groups * t.samples, t.model.table.values, config->device->name,
                     config->device->threads);
            status = train(&t, result, error);
            log_info("resident memory grew by %.1f MiB since the plan", resident_mib() - before);
            loader_close(t.loader);
            say_cache(t.cache);
        }
    }
    restore_signals(old);
    result->steps = t.step;
    result->total = t.total;
    result->replaced = t.replaced;
    for (int g = 0; g < t.groups && t.masks; g++)
        mask_group_free(&t.masks[g]);
    frame_cache_close(t.cache);
    sampler_free(&t.sampler);
    free(t.masks);
    free(t.draws);
    free(t.mirror);
    if (t.model.device)
        model_free(&t.model);
    return status;
}
