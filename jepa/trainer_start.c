/* The beginning of a run: streams, planned memory, the first weights. See jepa/trainer_parts.h. */
#include "base/log.h"
#include "jepa/trainer_parts.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One stream: what it draws from. */
static int open_stream(Training *t, Stream *s, Error *error) {
    const Recipe *r = t->recipe;
    s->rewinds = &t->run->rewinds;
    s->index = s->picture ? &t->run->pictures : &t->run->index;
    SamplerSettings sampling = s->picture ? recipe_image_sampler(r) : recipe_sampler(r);
    if (sampler_new(&s->sampler, s->index, &sampling, error))
        return error_prefix(error, "%s", s->name);
    if (s->sampler.too_short)
        log_info("%zu videos are shorter than a clip and not drawn (data.short_videos: skip)",
                 s->sampler.too_short);
    if (s->sampler.hdr)
        log_info("%zu videos are HDR and not drawn (data.hdr: refuse)", s->sampler.hdr);
    if (s->sampler.held)
        log_info("%zu videos are held out (diagnostics.hold_out)", s->sampler.held);
    s->mirror = memory_new((size_t)s->micro, 1);
    size_t slots = (size_t)s->groups * (size_t)s->samples;
    s->frames = memory_new(slots, sizeof *s->frames);
    s->steps = memory_new(slots, sizeof *s->steps);
    s->length = memory_new(slots, sizeof *s->length);
    s->draws = memory_new(2 * slots, sizeof *s->draws);
    return 0;
}

/* Memory is planned before any of it is taken. */
static int make_models(Training *t, Error *error) {
    TrainerPlan plan;
    Device *device = t->config->device;
    char kinds[400];
    if (run_load_plans(t->run, device, error))
        return -1;
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
    Model *model = &t->stream[0].model;
    model->exchange = t->exchange;
    t->reduction = (Reduction){.values = model->table.total, .device = device};
    memcpy(t->reduction.buffer, model->gradient_sum, sizeof t->reduction.buffer);
    if (shard_ranks(t->shard) > 1)
        ranks_sum_new(&t->sum, model, &t->reduction, t->recipe->ranks.exchange == RANKS_FAST);
    if (t->objective->prepare(t, error))
        return -1;
    trainer_plan_kinds(kinds, sizeof kinds, &plan);
    char where[64] = "";
    if (!device->on_host)
        snprintf(where, sizeof where, ", %.1f of it on %s", mib(plan.device), device->name);
    log_info("memory plan: %.1f MiB%s (%s)%s", mib(plan.total), where, kinds,
             plan.ranks > 1 ? " for rank 0" : "");
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

int trainer_load(Training *t, const Checkpoint *checkpoint, Error *error) {
    ExtraTensor extra[EXTRA_TENSORS_MAX];
    Model *model = &t->stream[0].model;
    int extras = t->objective->extras(extra, t);
    if (checkpoint_load(model, checkpoint, error) ||
        checkpoint_load_extra(extra, extras, model, checkpoint, error))
        return -1;
    ranks_take_shards(model);
    return 0;
}

/* What the run goes on with. */
static int load_weights(Training *t, Error *error) {
    const Checkpoint *checkpoint = &t->run->checkpoint;
    Precision before = checkpoint->precision, now = t->config->device->precision;
    if (before != now)
        log_warn(
            "the run was computed in %s so far and goes on in %s: not with the bits of one that "
            "was never stopped",
            precision_name(before), precision_name(now));
    return trainer_load(t, checkpoint, error);
}

/* Diagnostics, if they are wanted: the clips they are made on are read here. */
static int open_diagnostics(Trainer *trainer, Error *error) {
    Training *t = &trainer->t;
    const TrainerDiagnostics *hooks = &t->config->hooks.diagnostics;
    DiagnosticsStart start = {.recipe = t->recipe,
                              .run = t->run,
                              .device = t->config->device,
                              .exchange = t->exchange,
                              .model = &t->stream[0].model,
                              .threads = stream_loader(t, &t->stream[0]).threads};
    if (!hooks->open || !t->recipe->diagnostics.every || t->step >= t->total)
        return 0;
    trainer->diagnostics = true;
    return hooks->open(hooks->context, &start, error);
}

int trainer_prepare(Trainer *trainer, Error *error) {
    Training *t = &trainer->t;
    const Recipe *recipe = t->recipe;
    const Run *run = t->run;
    if (training_start(t, error))
        return -1;
    for (int i = 0; i < t->streams; i++)
        if (open_stream(t, &t->stream[i], error))
            return -1;
    t->schedule = recipe_schedule(recipe, (int64_t)t->stream[0].sampler.units);
    t->total = schedule_steps(&t->schedule);
    if (t->total < 1)
        return error_set(error, ERROR_USAGE, "optimization.epochs x ipe: less than one step");
    t->step = run->resumed ? run->checkpoint.step : 0;
    t->updates = run->resumed ? run->checkpoint.updates : 0;
    trainer->replaced = run->resumed ? run->checkpoint.replaced : 0;
    trainer->saved = run->resumed ? t->step : -1;
    trainer->saved_at = time_now();
    trainer->health = run->health;
    if (recipe->data.cache_bytes > 0 &&
        frame_cache_open(&t->cache, (size_t)recipe->data.cache_bytes, recipe->data.cache_folder,
                         error))
        return -1;
    if (make_models(t, error))
        return -1;
    t->hardware = run_hardware_open(recipe, t->config->device); /* from what memory is left */
    if ((run->resumed ? load_weights(t, error) : first_weights(t, error)))
        return -1;
    if (!run->resumed)
        ranks_take_shards(&t->stream[0].model);
    return open_diagnostics(trainer, error);
}
