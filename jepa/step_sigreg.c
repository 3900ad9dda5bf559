/* The step of the teacher-free objective (LeVJEPA): every clip gives one global and V local views;
 * each goes through the encoder, most of its tokens dropped, and hands on its class token; what is
 * descended is computed from the class tokens of the whole global batch (jepa/sigreg.h).
 *
 *   for every part:    features[v][g] = class token of view v of clip g        (forward)
 *   once:              loss and dfeatures from all features                    (statistics)
 *   for every part:    the forward pass again, then back from its dfeatures    (backward)
 *
 * where a part is a micro-batch of a group. So a part's activations never live beside another's,
 * and the loss does not depend on how the batch was cut. With one part nothing is computed twice.
 * Of several ranks each has its own parts and the features of all, computes the loss from these,
 * and goes back through its parts; the projector's gradients, which all have, count once. Source:
 * MLO-lab/LeVJEPA main.py, module.py. */
#include "base/log.h"
#include "jepa/sigreg.h"
#include "jepa/training.h"
#include "masking/drop.h"
#include <stdlib.h>
#include <string.h>

#define VIEW_STREAMS 64 /* streams of random numbers for the views of a slot */

/* The views of one kind: their model, and which tokens it sees. */
typedef struct Views {
    Model *model;
    MaskGroup masks;
    int count;       /* views of a clip */
    int first;       /* number of the first of them */
    int32_t *place;  /* [samples · count] row in features of each sequence, host */
    int32_t *places; /* the same on the device */
} Views;

typedef struct SigregTraining {
    Model local; /* beside the stream's model */
    Views views[2];
    SigregHead head;
    Arena arena;
    void *memory;
    float *features, *dfeatures; /* [1 + V][G][D] */
    float *directions, *drawn;   /* [K][M], device and host */
    SigregScalars *scalars;
    int clips; /* G */
    /* [own parts][micro][global, then local views] of the step; NULL: one part */
    uint8_t *pixels;
    size_t part_bytes, global_bytes;
} SigregTraining;

static int views_of(const Training *t) {
    return t->recipe->sigreg.local_crops_number;
}

/* Rows of one view: its class token and the tokens that are kept. */
static int64_t view_rows(const Training *t, const ModelConfig *c) {
    return 1 + mask_drop_count(mask_grid_tokens(config_grid(c)), t->recipe->sigreg.token_drop_rate);
}

static void plan(ModelPlan *plan, const Training *t, Stream *stream) {
    plan->settings = plan->contexts = 1;
    plan->context = stream->micro * view_rows(t, &plan->config);
}

static void take_views(Views *views, Model *model, int samples, int64_t rows) {
    size_t sequences = (size_t)(samples * views->count);
    views->model = model;
    views->masks.context = memory_new(sequences * (size_t)rows, sizeof *views->masks.context);
    views->masks.cu_context = memory_new(sequences + 1, sizeof *views->masks.cu_context);
    views->place = memory_new(sequences, sizeof *views->place);
}

/* Features, head and index lists in one block; called to measure and to place. */
static void lay_out(SigregTraining *own, const Training *t, Arena *arena) {
    const Stream *s = &t->stream[0];
    int64_t d = s->plan.config.dim, rows = own->head.shape.views * own->clips;
    sigreg_head_take(&own->head, arena);
    arena->kind = MEMORY_ACTIVATIONS;
    own->features = arena_floats(arena, rows * d);
    own->dfeatures = arena_floats(arena, rows * d);
    own->directions = arena_floats(arena, own->head.shape.output * own->head.shape.directions);
    own->scalars = arena_take(arena, 1, sizeof *own->scalars);
    for (int k = 0; k < 2; k++)
        own->views[k].places = arena_indices(arena, (int64_t)s->micro * own->views[k].count);
}

static ModelPlan local_plan(const Training *t) {
    const Stream *s = &t->stream[0];
    ModelPlan local = s->plan;
    local.config.height = local.config.width = local.config.trained_height =
        local.config.trained_width = t->recipe->sigreg.local_size;
    local.samples = s->micro * views_of(t);
    local.context = local.samples * view_rows(t, &local.config);
    local.joined = 0;
    return local;
}

/* All that follows from the recipe. */
static void set_sizes(SigregTraining *own, const Training *t) {
    const Recipe *r = t->recipe;
    const Stream *s = &t->stream[0];
    int views = views_of(t);
    own->clips = s->groups * s->samples;
    own->head.shape = (SigregHeadShape){.views = 1 + views,
                                        .clips = own->clips,
                                        .width = s->plan.config.dim,
                                        .hidden = r->sigreg.hidden_dim,
                                        .output = r->sigreg.output_dim,
                                        .directions = r->sigreg.num_proj,
                                        .knots = SIGREG_KNOTS};
    own->views[0] = (Views){.count = 1, .first = 0};
    own->views[1] = (Views){.count = views, .first = 1};
    size_t frames = (size_t)r->data.num_frames * 3;
    own->global_bytes = (size_t)s->micro * frames * (size_t)(s->clip.crop * clip_width(&s->clip));
    own->part_bytes = own->global_bytes + (size_t)(s->micro * views) * frames *
                                              (size_t)(r->sigreg.local_size * r->sigreg.local_size);
}

/* Pixels are kept for the second pass where there is one. */
static size_t pixel_bytes(const SigregTraining *own, const Stream *s) {
    return s->parts > 1 ? (size_t)s->parts * own->part_bytes : 0;
}

/* The local views' model, the head, the pixels. */
static size_t memory(const Training *t) {
    SigregTraining own = {0};
    Arena head = {0}, model;
    size_t scratch;
    ModelPlan local = local_plan(t);
    Model weights = {.plan = t->stream[0].plan};
    local.beside = &weights;
    set_sizes(&own, t);
    lay_out(&own, t, &head);
    model_measure(&model, &scratch, &local, t->config->device);
    return head.used + model.used + pixel_bytes(&own, &t->stream[0]);
}

/* The forward pass once: where there are several parts it is done twice. */
static void count(TrainerPlan *plan, const Training *t) {
    const Stream *s = &t->stream[0];
    const Recipe *r = t->recipe;
    ModelPlan local = local_plan(t);
    const ModelConfig *configs[2] = {&s->plan.config, &local.config};
    double clips = s->groups * s->samples, views = 1 + views_of(t);
    for (int k = 0; k < 2; k++) {
        double rows = (double)view_rows(t, configs[k]), sequences = k ? clips * (views - 1) : clips;
        FlopsInput input = {.context = {sequences * rows, sequences * rows * rows}};
        StepFlops flops;
        flops_step(&flops, configs[k], &input);
        plan->flops.context += flops.context;
        plan->flops.attention += flops.attention;
        plan->step_context += input.context.rows;
    }
    double hidden = r->sigreg.hidden_dim;
    plan->flops.predictor = 2 * clips * views * hidden *
                            (s->plan.config.dim + r->sigreg.output_dim);
    plan->flops.backward = 2 * (plan->flops.context + plan->flops.predictor);
    plan->flops.total = plan->flops.context + plan->flops.predictor + plan->flops.backward;
}

static int prepare(Training *t, Error *error) {
    Stream *s = &t->stream[0];
    Device *device = t->config->device;
    SigregTraining *own = t->own = memory_new(1, sizeof *own);
    ModelPlan local = local_plan(t);
    local.beside = &s->model;
    if (model_new(&own->local, &local, device, error))
        return -1;
    set_sizes(own, t);
    take_views(&own->views[0], &s->model, s->micro, view_rows(t, &s->plan.config));
    take_views(&own->views[1], &own->local, s->micro, view_rows(t, &local.config));
    Arena measure = {0};
    lay_out(own, t, &measure);
    const SigregHeadShape *head = &own->head.shape;
    ScratchNeeds needs = {.elements = own->clips * head->output,
                          .rows = head->views * head->clips,
                          .width = head->hidden > head->width ? head->hidden : head->width};
    if (device->allocate(&own->memory, measure.used, device, error) ||
        device_reserve(device, device_scratch_bytes(device, &needs), error))
        return error_prefix(error, "planning the views");
    own->arena.base = own->memory;
    lay_out(own, t, &own->arena);
    sigreg_head_start(&own->head, device);
    own->drawn = memory_new((size_t)(own->head.shape.output * own->head.shape.directions),
                            sizeof *own->drawn);
    if (pixel_bytes(own, s))
        own->pixels = memory_new(pixel_bytes(own, s), 1);
    return 0;
}

static void release(Training *t) {
    SigregTraining *own = t->own;
    if (!own)
        return;
    for (int k = 0; k < 2; k++) {
        free(own->views[k].masks.context);
        free(own->views[k].masks.cu_context);
        free(own->views[k].place);
    }
    if (own->memory)
        t->config->device->release(own->memory, t->config->device);
    if (own->local.device)
        model_free(&own->local);
    free(own->drawn);
    free(own->pixels);
    free(own);
}

/* Which tokens each view of a part keeps: its class token (-1) and a random share of the others. */
static void draw_views(Training *t, Views *views, int part) {
    const Stream *s = &t->stream[0];
    MaskGroup *masks = &views->masks;
    int tokens = views->model->tokens, sequences = s->micro * views->count;
    const SigregTraining *own = t->own;
    uint64_t seed = training_seed(t);
    for (int i = 0; i < sequences; i++) {
        uint64_t slot = (uint64_t)(part * s->micro + i / views->count);
        int view = views->first + i % views->count;
        Random random = random_at(seed, RANDOM_DROP, (uint64_t)t->step,
                                  slot * VIEW_STREAMS + (uint64_t)view);
        int32_t *row = masks->context + masks->cu_context[i];
        row[0] = -1;
        masks->cu_context[i + 1] = masks->cu_context[i] + 1 +
                                   mask_drop(row + 1, tokens, t->recipe->sigreg.token_drop_rate,
                                             &random);
        views->place[i] = (int32_t)(view * own->clips + (int)slot);
    }
}

/* The class tokens of one kind of views of a part, to their places among the features. */
static void forward_views(Training *t, Views *views, const uint8_t *pixels, const uint8_t *mirror,
                          int part) {
    SigregTraining *own = t->own;
    const Stream *s = &t->stream[0];
    Model *model = views->model;
    Device *op = model->device;
    int sequences = s->micro * views->count, of = s->samples * views->count;
    int group = part * s->micro / s->samples, first = part * s->micro % s->samples * views->count;
    draw_views(t, views, part);
    ModelInput input = {.samples = sequences, .pixels = pixels, .mirror = mirror};
    model_set_input(model, &input);
    model_set_masks(model, &views->masks, sequences);
    model_set_drops(model, first, sequences, of, training_seed(t), (uint64_t)t->step,
                    (uint64_t)(2 * group + views->first));
    model_forward_context(model, sequences);
    op->upload(views->places, views->place, (size_t)sequences * sizeof *views->place, op);
    op->rows_gather(own->features, views->places, model->context_out, model->class_rows, NULL, NULL,
                    sequences, model->out_width, op);
}

static void backward_views(Training *t, Views *views) {
    SigregTraining *own = t->own;
    Model *model = views->model;
    Device *op = model->device;
    int sequences = t->stream[0].micro * views->count;
    op->zero(model->dfeatures, (size_t)(model->context_rows * model->out_width) * sizeof(float),
             op);
    op->rows_gather(model->dfeatures, model->class_rows, own->dfeatures, views->places, NULL, NULL,
                    sequences, model->out_width, op);
    model_backward_context(model, sequences);
}

/* Both kinds of views of a part, from the kept pixels or from the batch itself. Mirrors are part of
 * the draws. */
static void forward_part(Training *t, const uint8_t *clips, const uint8_t *locals, int part) {
    SigregTraining *own = t->own;
    Stream *s = &t->stream[0];
    const ClipDraw *draws = stream_draws(s, t->step);
    for (int b = 0; b < s->micro; b++)
        s->mirror[b] = draws[part * s->micro + b].flip;
    forward_views(t, &own->views[0], clips, s->mirror, part);
    forward_views(t, &own->views[1], locals, NULL, part);
}

/* A part whose pixels were kept. */
static void forward_kept(Training *t, int part) {
    const SigregTraining *own = t->own;
    const uint8_t *kept = own->pixels + (size_t)(part - t->stream[0].first_part) * own->part_bytes;
    forward_part(t, kept, kept + own->global_bytes, part);
}

/* The projector's gradients go to the first micro-batch that is gone back through. */
static void head_step(Training *t) {
    SigregTraining *own = t->own;
    Model *model = &t->stream[0].model;
    const ParameterTable *p = &model->table;
    Device *op = model->device->exact; /* statistics of the whole batch: float32 */
    SigregOffsets offsets = {p->project_w, p->project_b, p->batch_w,
                             p->batch_b,   p->out_w,     p->out_b};
    const SigregHeadShape *shape = &own->head.shape;
    double lambda = t->recipe->sigreg.weight;
    sigreg_directions(own->drawn, shape->output, shape->directions, training_seed(t),
                      (uint64_t)t->step);
    op->upload(own->directions, own->drawn,
               (size_t)(shape->output * shape->directions) * sizeof(float), op);
    op->zero(own->scalars, sizeof *own->scalars, op);
    sigreg_head_forward(own->scalars, &own->head, own->features, model->weights, &offsets,
                        own->directions, lambda, op);
    sigreg_head_backward(own->dfeatures, model->gradients, &own->head, own->features,
                         model->weights, &offsets, own->directions, lambda, op);
    op->loss_total(&model->scalars->total, &own->scalars->total, 1, &own->scalars->total, 0, op);
    op->loss_total(&model->scalars->invariance, &own->scalars->invariance, 1, &own->scalars->total,
                   0, op);
    op->loss_total(&model->scalars->sigreg, &own->scalars->sigreg, 1, &own->scalars->total, 0, op);
}

/* A part: its class tokens, its pixels for later. */
static void forward_next(Training *t, const LoaderBatch *batch, int part, StepReport *report) {
    SigregTraining *own = t->own;
    Stream *s = &t->stream[0];
    if (own->pixels) {
        uint8_t *kept = own->pixels + (size_t)(part - s->first_part) * own->part_bytes;
        memcpy(kept, batch->clips, own->global_bytes);
        memcpy(kept + own->global_bytes, batch->locals, own->part_bytes - own->global_bytes);
    }
    double started = time_now();
    forward_part(t, batch->clips, batch->locals, part);
    report->compute_ms += (time_now() - started) * 1e3;
    report->context_tokens += s->model.context_rows + own->local.context_rows;
}

/* The class tokens of all clips, from the ranks that have computed them: of each view, a range of
 * clips. */
static void share_features(Training *t) {
    const SigregTraining *own = t->own;
    const Stream *s = &t->stream[0];
    Exchange *x = t->exchange;
    int64_t row = s->model.out_width * (int64_t)sizeof(float);
    ExchangePart parts[REDUCE_LEAVES_MAX];
    for (int r = 0; r < x->ranks; r++) { /* the first rank has the last parts */
        int from = reduce_first_unit(t->units, t->leaves, r * t->own_leaves);
        int to = reduce_first_unit(t->units, t->leaves, (r + 1) * t->own_leaves);
        parts[r] = (ExchangePart){.first = (int64_t)(t->units - to) * s->micro * row,
                                  .bytes = (int64_t)(to - from) * s->micro * row,
                                  .stride = own->clips * row,
                                  .count = own->head.shape.views};
    }
    x->doing = "the exchange of features";
    x->share(own->features, parts, s->model.device, x);
}

/* Its gradients are in the leaf of unit 0 alone. */
static void drop_head_gradients(Training *t) {
    const Model *model = &t->stream[0].model;
    ParameterRange head = model->table.owner[OWNER_PREDICTOR];
    model->device->zero(model->gradients + head.begin,
                        (size_t)(head.end - head.begin) * sizeof(float), model->device);
}

static int step(Training *t, StepReport *report, Error *error) {
    SigregTraining *own = t->own;
    Stream *s = &t->stream[0];
    int first = s->first_part, last = s->first_part + s->parts - 1;
    for (int part = first; part <= last; part++) {
        const LoaderBatch *batch = stream_next(t, s, part, report, error);
        if (!batch)
            return -1;
        forward_next(t, batch, part, report);
    }
    if (training_agree(t, 0, error))
        return -1;
    double started = time_now();
    if (shard_ranks(t->shard) > 1)
        share_features(t);
    head_step(t);
    if (t->first_leaf > 0)
        drop_head_gradients(t);
    for (int part = last; part >= first; part--) { /* the last one's activations are still there */
        if (part < last)
            forward_kept(t, part);
        training_begin_unit(t);
        own->local.gradients = s->model.gradients;
        s->model.final = NULL;
        backward_views(t, &own->views[0]);
        own->local.final = training_final(t);
        if (own->local.final) { /* the head's have been for long */
            ParameterRange head = s->model.table.owner[OWNER_PREDICTOR];
            gradients_final(own->local.final, head.begin, head.end);
        }
        backward_views(t, &own->views[1]);
        reduce_next(&t->reduction);
    }
    report->compute_ms += (time_now() - started) * 1e3;
    return 0;
}

/* Batch normalisation's moving averages: used by nothing here, but what a reader of the projector
 * needs, and part of what must come back after a crash. */
static int extras(ExtraTensor list[EXTRA_TENSORS_MAX], const Training *t) {
    const SigregTraining *own = t->own;
    int64_t hidden = own->head.shape.hidden;
    list[0] = (ExtraTensor){"projector.net.1.running_mean", own->head.running_mean, hidden};
    list[1] = (ExtraTensor){"projector.net.1.running_var", own->head.running_var, hidden};
    return 2;
}

const ObjectiveSteps objective_sigreg = {"sigreg", true,    plan, memory, "views",
                                         count,    prepare, step, extras, release};
