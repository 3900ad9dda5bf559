/* Planning a run. See jepa/trainer_plan.h. */
#include "jepa/trainer_plan.h"
#include "base/machine.h"
#include "jepa/training.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOADER_NICE 10 /* experiments/results/2026-11-21-priority.md */

int training_slots(const Training *t) {
    int slots = 0;
    for (int i = 0; i < t->streams; i++)
        slots += t->stream[i].groups * t->stream[i].samples;
    return slots;
}

static int parts_of(const Stream *s) {
    return s->groups * s->samples / s->micro;
}

/* The sizes of a stream. */
static Stream stream_of(const Recipe *r, bool picture) {
    return (Stream){.name = picture ? "pictures" : "videos",
                    .groups = picture ? recipe_image_groups(r) : recipe_groups(r),
                    .samples = picture ? r->img_data.batch_size : recipe_slots(r),
                    .micro = picture ? recipe_image_micro_batch(r) : recipe_micro_batch(r),
                    .first_group = picture ? recipe_groups(r) : 0,
                    .picture = picture,
                    .clip = picture ? recipe_image_clip(r) : recipe_clip(r),
                    .mask_recipe = picture ? recipe_image_mask(r) : recipe_mask(r)};
}

/* The parts of a stream, which are units first .. of the step, among units [from, to). */
static void share_parts(Stream *s, int first, int from, int to) {
    int parts = parts_of(s), begin = from - first, end = to - first;
    begin = begin < 0 ? 0 : begin > parts ? parts : begin;
    end = end < 0 ? 0 : end > parts ? parts : end;
    s->first_part = begin;
    s->parts = end - begin;
}

/* This rank's leaves, and with them its parts of every stream. */
static int share_out(Training *t, Error *error) {
    int ranks = shard_ranks(t->shard), first = 0;
    t->units = 0;
    for (int i = 0; i < t->streams; i++)
        t->units += parts_of(&t->stream[i]);
    t->leaves = reduce_leaves(t->units, t->recipe->optimization.reduce_leaves);
    if (ranks_check(t->units, t->leaves, ranks, error))
        return -1;
    t->own_leaves = t->leaves / ranks;
    t->first_leaf = t->shard.rank * t->own_leaves;
    int from = reduce_first_unit(t->units, t->leaves, t->first_leaf);
    int to = reduce_first_unit(t->units, t->leaves, t->first_leaf + t->own_leaves);
    for (int i = t->streams - 1; i >= 0; first += parts_of(&t->stream[i--]))
        share_parts(&t->stream[i], first, from, to);
    if (t->objective->backwards) /* one stream: unit u is part U - 1 - u */
        share_parts(&t->stream[0], 0, t->units - to, t->units - from);
    return 0;
}

int training_start(Training *t, Error *error) {
    const Recipe *r = t->recipe;
    const TrainerConfig *c = t->config;
    t->exchange = c->exchange;
    t->shard = t->exchange ? (Shard){t->exchange->rank, t->exchange->ranks}
                           : (Shard){0, c->ranks > 1 ? c->ranks : 1};
    t->objective = r->objective == OBJECTIVE_SIGREG ? &objective_sigreg : &objective_jepa;
    t->length_count = recipe_lengths(t->lengths, r);
    t->streams = recipe_image_groups(r) ? 2 : 1;
    for (int i = 0; i < t->streams; i++)
        t->stream[i] = stream_of(r, i == 1);
    return share_out(t, error);
}

void training_forget(Training *t) {
    for (int i = 0; i < t->streams; i++)
        free(t->stream[i].capacity);
}

/* Cores for this rank. */
static int cores_of(const Training *t) {
    return t->exchange ? t->exchange->cores : machine_cores();
}

/* Recipes of clusters ask for more than this machine has cores; only --workers is taken at its
 * word. */
static int loader_threads(const Training *t) {
    int cores = cores_of(t), wanted = t->recipe->data.num_workers;
    if (t->config->loader_threads)
        return t->config->loader_threads;
    return wanted >= 1 && wanted < cores ? wanted : cores;
}

/* A micro-batch in work, one that waits whole, and two clips for every worker: one it is at, and
 * one that is done before the place of another becomes free. */
static int ring_batches(int threads, int samples) {
    return 2 + (2 * threads + samples - 1) / samples;
}

LoaderConfig stream_loader(const Training *t, const Stream *s) {
    int threads = loader_threads(t);
    return (LoaderConfig){.index = s->index,
                          .spec = s->clip,
                          .batch = s->micro,
                          .ring = ring_batches(threads, s->micro),
                          .threads = threads,
                          .nice = LOADER_NICE,
                          .timeout = t->recipe->data.timeout,
                          .cache = t->cache,
                          .hardware = t->hardware};
}

static void plan_stream(Training *t, Stream *s) {
    const Recipe *r = t->recipe;
    Device *device = t->config->device;
    s->plan = (ModelPlan){.config = s->picture ? recipe_image_model(r) : recipe_model(r),
                          .samples = s->micro,
                          .picture = s->picture,
                          .training = true,
                          .checkpointing = r->model.use_activation_checkpointing,
                          .gradient_sums = reduce_buffers(t->own_leaves),
                          .leaves = t->leaves,
                          .shard = t->shard,
                          .target_fp8 = recipe_target_fp8(r) && device_has_fp8(device),
                          .float_input = s->clip.interpolation == CLIP_PUBLISHED};
    t->objective->plan(&s->plan, t, s);
}

void training_measure(TrainerPlan *plan, Training *t) {
    const Recipe *r = t->recipe;
    Device *device = t->config->device;
    Model weights = {0}; /* only its plan and pointers are read while measuring */
    *plan = (TrainerPlan){.clips = t->stream[0].groups * t->stream[0].samples,
                          .micro_batch = t->stream[0].micro,
                          .units = t->units,
                          .leaves = t->leaves,
                          .sums = reduce_buffers(t->own_leaves),
                          .ranks = shard_ranks(t->shard),
                          .cache = r->data.cache_folder ? 0 : (size_t)r->data.cache_bytes};
    for (int i = 0; i < t->streams; i++) {
        Stream *s = &t->stream[i];
        LoaderConfig loader = stream_loader(t, s);
        Arena arena;
        size_t scratch;
        plan_stream(t, s);
        ModelPlan own = s->plan;
        if (i)
            own.beside = &weights;
        else
            weights.plan = own;
        model_measure(&arena, &scratch, &own, device);
        for (int k = 0; k < MEMORY_KINDS; k++)
            plan->by_kind[k] += arena.by_kind[k];
        plan->scratch = scratch > plan->scratch ? scratch : plan->scratch;
        plan->ring += s->parts ? loader_bytes(&loader) : 0;
        if (i) {
            plan->pictures = s->groups * s->samples;
            plan->picture_batch = s->micro;
            continue;
        }
        ParameterTable table;
        parameter_table_new(&table, &own.config);
        plan->parameters = table.values;
        if ((plan->ranks > 1 || !device->on_host) && !t->shard.rank) /* weights, moments, target */
            plan->checkpoint = (size_t)(3 * table.total + table.owner[OWNER_ENCODER].end) *
                               sizeof(float);
        parameter_table_free(&table);
        plan->context = own.context;
        plan->target = own.target;
    }
    plan->own_name = t->objective->memory_name;
    plan->own = t->objective->memory(t);
    const DiagnosticsMemory *diagnostics = &t->diagnostics;
    if (t->config->hooks.diagnostics.memory && r->diagnostics.every && !t->diagnostics_measured)
        t->config->hooks.diagnostics.memory(&t->diagnostics, r, device, plan->ranks);
    t->diagnostics_measured = true;
    plan->diagnostics = diagnostics->device + diagnostics->host;
    if (diagnostics->scratch > plan->scratch)
        plan->scratch = diagnostics->scratch;
    plan->total = plan->scratch + plan->ring + plan->cache + plan->own + plan->checkpoint +
                  plan->diagnostics;
    plan->device = plan->scratch + diagnostics->device;
    for (int k = 0; k < MEMORY_KINDS; k++) {
        plan->total += plan->by_kind[k];
        plan->device += plan->by_kind[k];
    }
    if (device->on_host)
        plan->device = plan->total;
    else if (r->objective == OBJECTIVE_SIGREG) /* views: pixels here, their model there */
        plan->device += plan->own;
}

int trainer_plan(TrainerPlan *plan, const Recipe *recipe, Device *device, int threads, int ranks,
                 const TrainerHooks *hooks, Error *error) {
    TrainerConfig config = {
        .recipe = recipe, .device = device, .loader_threads = threads, .ranks = ranks};
    if (hooks)
        config.hooks = *hooks;
    Training t = {.config = &config, .recipe = recipe};
    if (training_start(&t, error))
        return -1;
    training_measure(plan, &t);
    t.objective->count(plan, &t);
    if (recipe->optimization.ipe > 0) {
        Schedule schedule = recipe_schedule(recipe, 1);
        plan->steps = schedule_steps(&schedule);
    }
    training_forget(&t);
    return 0;
}

/* Pictures go along: the most that divide their groups. */
static int cut_streams(Training *t, int micro) {
    Recipe cut = *t->recipe; /* its texts stay the recipe's */
    cut.optimization.micro_batch = micro;
    t->stream[0].micro = recipe_micro_batch(&cut);
    if (t->streams > 1)
        t->stream[1].micro = recipe_image_micro_batch(&cut);
    return share_out(t, NULL);
}

int trainer_choices(TrainerChoice choices[TRAINER_CHOICES_MAX], const Recipe *recipe,
                    Device *device, int threads, int ranks, const TrainerHooks *hooks) {
    TrainerConfig config = {
        .recipe = recipe, .device = device, .loader_threads = threads, .ranks = ranks};
    if (hooks)
        config.hooks = *hooks;
    Training t = {.config = &config, .recipe = recipe};
    int count = 0;
    if (training_start(&t, NULL))
        return 0;
    for (int slots = t.stream[0].samples, n = slots; n >= 1 && count < TRAINER_CHOICES_MAX; n--) {
        TrainerPlan plan;
        if (slots % n || cut_streams(&t, n))
            continue;
        training_measure(&plan, &t);
        choices[count++] = (TrainerChoice){n, plan.device};
    }
    training_forget(&t);
    return count;
}

void trainer_plan_kinds(char *text, size_t room, const TrainerPlan *p) {
    size_t at = 0;
    for (int k = 0; k < MEMORY_KINDS && at < room; k++)
        at += (size_t)snprintf(text + at, room - at, "%s %.1f, ", memory_kind_name((MemoryKind)k),
                               mib(p->by_kind[k]));
    if (at < room)
        at += (size_t)snprintf(text + at, room - at, "%s %.1f, ", p->own_name, mib(p->own));
    if (p->checkpoint && at < room)
        at += (size_t)snprintf(text + at, room - at, "checkpoint %.1f, ", mib(p->checkpoint));
    if (p->diagnostics && at < room)
        at += (size_t)snprintf(text + at, room - at, "diagnostics %.1f, ", mib(p->diagnostics));
    if (p->cache && at < room)
        at += (size_t)snprintf(text + at, room - at, "cache of frames %.1f, ", mib(p->cache));
    if (at < room)
        snprintf(text + at, room - at, "scratch %.1f, clips ahead %.1f", mib(p->scratch),
                 mib(p->ring));
}

int training_fits(const TrainerPlan *plan, const Training *t, Error *error) {
    const Exchange *x = t->exchange;
    const TrainerConfig *c = t->config;
    bool host = c->device->on_host;
    size_t sharing = (size_t)(x ? x->node_ranks : 1), machine = machine_memory() / sharing,
           room = host ? machine : c->device->memory(c->device);
    const char *each = x && x->node_ranks > 1 ? " for a rank" : "";
    if (!host && machine && plan->total - plan->device > machine)
        return error_set(
            error, ERROR_RUN,
            "the recipe needs %.0f MiB of this machine's own memory, which has %.0f%s, "
            "for clips, frames and checkpoints: a smaller data.cache or fewer "
            "--workers would help",
            mib(plan->total - plan->device), mib(machine), each);
    if (!room || plan->device <= room)
        return 0;
    TrainerChoice choices[TRAINER_CHOICES_MAX];
    int fits = 0, count = trainer_choices(choices, t->recipe, c->device, c->loader_threads,
                                          shard_ranks(t->shard), &c->hooks);
    while (fits < count && choices[fits].bytes > room)
        fits++;
    const TrainerChoice *choice = &choices[fits < count ? fits : count - 1];
    return error_set(error, ERROR_RUN,
                     "the recipe needs %.0f MiB, %s has %.0f%s: "
                     "optimization.micro_batch: %d needs %.0f MiB%s; jepa plan says more",
                     mib(plan->device), host ? "this machine" : c->device->name, mib(room), each,
                     choice->micro_batch, mib(choice->bytes),
                     fits < count ? "" : ", still too much: lower crop_size or the model");
}
