/* A clip through the networks. See eval/diagnostics_passes.h and, for what is measured,
 * eval/diagnostics.h. */
#include "eval/diagnostics_passes.h"
#include "eval/trivial.h"
#include "masking/drop.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- records ---- */

static int pooled_width(const RecordShape *s) {
    return s->target_width ? s->target_width : s->context_width;
}

static size_t record_floats(const RecordShape *s) {
    size_t rows = (size_t)s->rows, c = (size_t)s->context_width, t = (size_t)s->target_width;
    return rows * (c + 2 * t) + (size_t)s->views * c + (size_t)pooled_width(s);
}

size_t record_bytes_of(const RecordShape *s) {
    size_t bytes = record_floats(s) * sizeof(float) + RECORD_COUNTS * sizeof(int32_t);
    return RECORD_SUMS * sizeof(double) + (bytes + 7) / 8 * 8;
}

ClipRecord record_at(void *bytes, const RecordShape *s) {
    size_t rows = (size_t)s->rows, c = (size_t)s->context_width, t = (size_t)s->target_width;
    ClipRecord r = {.sums = bytes};
    r.context = (float *)(void *)(r.sums + RECORD_SUMS);
    r.target = r.context + rows * c;
    r.predictor = r.target + rows * t;
    r.views = r.predictor + rows * t;
    r.pooled = r.views + (size_t)s->views * c;
    r.counts = (int32_t *)(void *)(r.pooled + pooled_width(s));
    return r;
}

/* ---- the model ---- */

ModelPlan passes_plan(const Recipe *r, Device *device) {
    ModelConfig config = recipe_model(r);
    bool predicts = config.objective == OBJECTIVE_JEPA;
    int64_t tokens = mask_grid_tokens(config_grid(&config));
    ModelPlan plan = {.config = config,
                      .samples = 1,
                      .settings = 1,
                      .contexts = 1,
                      .context = tokens + 1, /* a class token */
                      .target_fp8 = recipe_target_fp8(r) && device_has_fp8(device)};
    if (predicts) { /* masks that exceed what is planned are drawn again (masking/mask.h) */
        MaskRecipe masks = recipe_mask(r);
        masks.samples = 1;
        masks.lengths = 0;
        plan.settings = masks.settings;
        plan.contexts = mask_contexts(&masks);
        mask_capacity(&plan.context, &plan.target, &masks);
        plan.joined = plan.context * plan.settings / plan.contexts;
    }
    return plan;
}

/* Elements of the host's copies. */
typedef struct Copies {
    size_t target, context, predicted, hidden;
} Copies;

static Copies copies_of(const ModelPlan *plan) {
    const ModelConfig *c = &plan->config;
    EncoderConfig teacher = config_teacher(c);
    bool predicts = c->objective == OBJECTIVE_JEPA;
    size_t tokens = (size_t)mask_grid_tokens(config_grid(c)), levels = c->levels ? c->levels : 1,
           dh = levels * (size_t)teacher.dim;
    Copies copies = {.context = (size_t)plan->context * levels * (size_t)c->dim};
    if (!predicts)
        return copies;
    copies.target = tokens * dh;
    copies.hidden = (size_t)plan->target;
    copies.predicted = copies.hidden * dh;
    if (copies.context < tokens * (size_t)c->dim)
        copies.context = tokens * (size_t)c->dim;
    return copies;
}

size_t passes_host_bytes(const ModelPlan *plan) {
    Copies c = copies_of(plan);
    return (c.target + c.context + c.predicted + 2 * c.hidden) * sizeof(float);
}

RecordShape passes_shape(const ModelPlan *plan, int clips) {
    bool predicts = plan->config.objective == OBJECTIVE_JEPA;
    int rows = DIAGNOSTIC_ROWS / clips;
    return (RecordShape){.rows = rows < 1 ? 1 : rows,
                         .views = DIAGNOSTIC_VIEWS,
                         .context_width = plan->config.dim,
                         .target_width = predicts ? config_teacher(&plan->config).dim : 0};
}

/* The number of the longest clips among the recipe's lengths. */
static int length_of(const Recipe *r) {
    int lengths[RECIPE_SOURCES_MAX], count = recipe_lengths(lengths, r), k = 0;
    while (k < count && lengths[k] != r->data.num_frames)
        k++;
    return count > 1 ? k : -1;
}

int passes_open(Passes *p, const Recipe *r, Model *trained, int clips, Error *error) {
    Device *device = trained->device;
    ModelPlan plan = passes_plan(r, device);
    Random random = random_at((uint64_t)r->meta.seed, RANDOM_DIAGNOSTIC, 1, 0);
    Copies copies = copies_of(&plan);
    void *scalars = NULL;
    *p = (Passes){.shape = passes_shape(&plan, clips),
                  .drop_rate = r->sigreg.token_drop_rate,
                  .length = length_of(r)};
    p->seed = (uint64_t)random_u32(&random) << 32;
    p->seed |= random_u32(&random);
    plan.beside = trained;
    if (model_new(&p->model, &plan, device, error))
        return -1;
    if (device->allocate(&scalars, sizeof *p->scalars, device, error))
        return -1;
    p->scalars = p->model.scalars = p->model.leaf = scalars;
    if (plan.config.objective == OBJECTIVE_JEPA) {
        p->masks = recipe_mask(r);
        p->masks.samples = 1;
        p->masks.lengths = 0; /* all clips have the longest */
        mask_group_new(&p->group, &p->masks, plan.context, plan.target);
    } else {
        p->group.context = memory_new((size_t)plan.context, sizeof *p->group.context);
        p->group.cu_context = memory_new(2, sizeof *p->group.cu_context);
    }
    p->target = memory_new(copies.target, sizeof *p->target);
    p->context = memory_new(copies.context, sizeof *p->context);
    p->predicted = memory_new(copies.predicted, sizeof *p->predicted);
    p->of_mean = memory_new(copies.hidden, sizeof *p->of_mean);
    p->of_nearest = memory_new(copies.hidden, sizeof *p->of_nearest);
    return 0;
}

void passes_close(Passes *p) {
    if (p->scalars)
        p->model.device->release(p->scalars, p->model.device);
    if (p->masks.samples) {
        mask_group_free(&p->group);
    } else {
        free(p->group.context);
        free(p->group.cu_context);
    }
    if (p->model.device)
        model_free(&p->model);
    free(p->target);
    free(p->context);
    free(p->predicted);
    free(p->of_mean);
    free(p->of_nearest);
    *p = (Passes){0};
}

/* ---- what is kept of a clip ---- */

static void download(float *to, const float *from, int64_t elements, const Model *model) {
    model->device->download(to, from, (size_t)elements * sizeof *to, model->device);
}

/* row[width] to mean 0 and variance 1, as the targets of the loss are */
static void normalise(float *row, int width) {
    double mean = 0, square = 0;
    for (int d = 0; d < width; d++)
        mean += row[d];
    mean /= width;
    for (int d = 0; d < width; d++)
        square += (row[d] - mean) * (row[d] - mean);
    double scale = 1 / sqrt(square / width + TARGET_LAYERNORM_EPS);
    for (int d = 0; d < width; d++)
        row[d] = (float)((row[d] - mean) * scale);
}

/* Up to `most` rows, evenly spaced, of from[count][stride], the last `width` columns; normalised.
 */
static int32_t sample(float *to, int most, const float *from, int64_t count, int64_t stride,
                      int width) {
    int taken = count < most ? (int)count : most;
    for (int i = 0; i < taken; i++) {
        const float *row = from + i * count / taken * stride + stride - width;
        memcpy(to + (size_t)i * (size_t)width, row, (size_t)width * sizeof *to);
        normalise(to + (size_t)i * (size_t)width, width);
    }
    return taken;
}

/* Mean of rows from .. to - 1 of x[..][stride], the last `width` columns. */
static void mean_rows(float *mean, const float *x, int64_t from, int64_t to, int64_t stride,
                      int width) {
    for (int d = 0; d < width; d++) {
        double sum = 0;
        for (int64_t i = from; i < to; i++)
            sum += x[i * stride + stride - width + d];
        mean[d] = (float)(sum / (double)(to - from));
    }
}

/* The context encoder's outputs for the masks at hand are in p->context: the views that they are,
 * of which `view` is the first. Returns the next one. */
static int keep_views(ClipRecord *r, const Passes *p, int view) {
    const Model *m = &p->model;
    const int32_t *cu = p->group.cu_context;
    int width = p->shape.context_width;
    bool class_token = m->plan.config.class_token;
    for (int e = 0; e < m->plan.contexts && view < p->shape.views; e++, view++)
        mean_rows(r->views + (size_t)view * (size_t)width, p->context, cu[e],
                  class_token ? cu[e] + 1 : cu[e + 1], m->out_width, width);
    return view;
}

/* Errors of the predictions of every mask's hidden tokens, and of the trivial ones. */
static void keep_errors(ClipRecord *r, Passes *p) {
    const Model *m = &p->model;
    const MaskGroup *g = &p->group;
    int width = m->target_width;
    for (int s = 0; s < m->plan.settings; s++) {
        int32_t from = g->cu_target[s], to = g->cu_target[s + 1],
                context = g->cu_context[g->context_of[s]],
                end = g->cu_context[g->context_of[s] + 1];
        trivial_errors(p->of_mean, p->of_nearest, p->target, width, g->target + from, to - from,
                       g->context + context, end - context, m->grid);
        for (int32_t i = from; i < to; i++) {
            const float *z = p->predicted + (int64_t)i * width,
                        *h = p->target + (int64_t)g->target[i] * width;
            double sum = 0;
            for (int d = 0; d < width; d++)
                sum += fabs((double)z[d] - h[d]);
            r->sums[RECORD_ERROR] += sum / width;
            r->sums[RECORD_ERROR_MEAN] += p->of_mean[i - from];
            r->sums[RECORD_ERROR_NEAREST] += p->of_nearest[i - from];
        }
        r->sums[RECORD_HIDDEN] += to - from;
    }
}

/* The same whole clip by both encoders: p->target and p->context, [N] rows. */
static void keep_drift(ClipRecord *r, const Passes *p) {
    const Model *m = &p->model;
    int width = p->shape.target_width;
    float *row = memory_new((size_t)width, sizeof *row);
    for (int64_t n = 0; n < m->tokens; n++) {
        const float *h = p->target + n * m->target_width + m->target_width - width;
        double dot = 0, aa = 0, bb = 0;
        memcpy(row, p->context + n * width, (size_t)width * sizeof *row);
        normalise(row, width);
        for (int d = 0; d < width; d++) {
            dot += (double)row[d] * h[d];
            aa += (double)row[d] * row[d];
            bb += (double)h[d] * h[d];
        }
        r->sums[RECORD_COSINE] += dot / (sqrt(aa * bb) + 1e-12);
    }
    r->sums[RECORD_TOKENS] = m->tokens;
    free(row);
}

/* ---- passes ---- */

static void set_masks(Passes *p, int number, int round) {
    if (p->model.plan.config.objective == OBJECTIVE_JEPA) {
        mask_group_draw(&p->group, &p->masks, p->seed, (uint64_t)round, (uint64_t)number, NULL);
    } else {
        Random random = random_at(p->seed, RANDOM_DROP, (uint64_t)round, (uint64_t)number);
        p->group.context[0] = -1;
        p->group.cu_context[1] = 1 + mask_drop(p->group.context + 1, p->model.tokens, p->drop_rate,
                                               &random);
    }
    model_set_masks(&p->model, &p->group, 1);
    if (p->length >= 0)
        model_set_lengths(&p->model, &p->length, 1);
}

static void predict(ClipRecord *r, Passes *p) {
    Model *m = &p->model;
    const LossWeights weights = {.power = 1}; /* the device's own loss is not read */
    int width = p->shape.target_width;
    m->device->zero(p->scalars, sizeof *p->scalars, m->device);
    model_forward_target(m, 1);
    model_forward_prediction(m, 1, &weights);
    download(p->target, m->target_out, (int64_t)m->tokens * m->target_width, m);
    download(p->predicted, m->z, m->target_rows * m->target_width, m);
    r->counts[RECORD_TARGET] = sample(r->target, p->shape.rows, p->target, m->tokens,
                                      m->target_width, width);
    r->counts[RECORD_PREDICTOR] = sample(r->predictor, p->shape.rows, p->predicted, m->target_rows,
                                         m->target_width, width);
    mean_rows(r->pooled, p->target, 0, m->tokens, m->target_width, width);
    keep_errors(r, p);
}

void passes_clip(ClipRecord *r, Passes *p, const uint8_t *pixels, int number) {
    Model *m = &p->model;
    bool predicts = m->plan.config.objective == OBJECTIVE_JEPA;
    ModelInput input = {.samples = 1, .pixels = pixels};
    model_set_input(m, &input);
    for (int round = 0, view = 0; view < p->shape.views; round++) {
        set_masks(p, number, round);
        if (predicts && !round)
            predict(r, p);
        else
            model_forward_context(m, 1);
        download(p->context, m->context_out, m->context_rows * m->out_width, m);
        if (!round)
            r->counts[RECORD_CONTEXT] = sample(r->context, p->shape.rows, p->context,
                                               p->group.cu_context[1], m->out_width,
                                               p->shape.context_width);
        view = keep_views(r, p, view);
    }
    if (!predicts) {
        mean_rows(r->pooled, r->views, 0, p->shape.views, p->shape.context_width,
                  p->shape.context_width);
    } else if (!m->plan.config.teacher.dim) {
        model_features(m, 1, 'c');
        download(p->context, m->target_out, (int64_t)m->tokens * p->shape.context_width, m);
        keep_drift(r, p);
    }
    r->counts[RECORD_VALID] = 1;
}
