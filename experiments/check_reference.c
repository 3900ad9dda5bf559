/* jepa check-reference DIR: holds the network against values that other code computed: the
 * published one, or for V-JEPA 2.1 an independent one.
 *
 * DIR holds config.json, weights, batches, forward_backward and trajectory (.safetensors);
 * everything is read from them, nothing is hard-coded. Error of a tensor = max |ours - theirs| /
 * max |theirs|. */
#include "experiments/check_reference.h"
#include "base/file.h"
#include "base/log.h"
#include "experiments/certificate.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/plan.h"
#include "jepa/checkpoint.h"
#include "jepa/weights_file.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Limits for float32, relative to the largest value of the tensor. Rounding alone, over other
 * orders of the same sums, reaches about a fifth of each; an epsilon of 1e-5 in a norm, an EMA a
 * step late or decay on biases goes past them. */
#define LIMIT_STAGE    5e-6
#define LIMIT_LOSS     2e-6
#define LIMIT_GRADIENT 1e-5
#define LIMIT_FINAL    5e-5
#define LIMIT_SCHEDULE 1e-12

/* With rotary positions (the V-JEPA 2 reference) rounding weighs more over a whole run: the sign of
 * an L1 error that is nearly 0 turns over, and Adam's first steps make much of it. Weights changed
 * by 1e-7 (--perturb 1e-7) move the losses by 1.1e-6 and the final weights by 2.9e-4; the reference
 * device, which sums in another order, by 4.6e-6 and 8.6e-4. Small and short runs keep the limits
 * above, and say so in config.json (limit_loss, limit_final): of those in tests/jepa/reference the
 * same changes move the losses by up to 1.5e-7 and the final weights by up to 7.1e-6. */
#define LIMIT_LOSS_ROTARY  1e-5
#define LIMIT_FINAL_ROTARY 1.5e-3

/* In bfloat16 the values of every stage carry 8 bits: 2^-9 = 0.002 of each is rounding. What that
 * does by itself is seen in float32 with weights changed by 0.002 (--perturb 0.002): over all
 * references stages move by up to 9e-3, losses by 6e-4, gradients of the two published ones by
 * 3.6e-2, gradient norms by 3.1e-2, final weights by 2.1e-2; bfloat16 moves them by 8.6e-3, 9e-4,
 * 5.1e-2, 3.7e-2 and 2.0e-2. The limits are about twice that; a norm left out, a transposed factor
 * or a sum kept in 8 bits goes past them. The references in tests/jepa/reference are so small that
 * one L1 error near 0 whose sign turns over moves a gradient by a tenth of its largest entry: by
 * 0.28 in float32 with weights changed by 0.004, by 0.24 in bfloat16. */
#define LIMIT_STAGE_BF16          1.6e-2
#define LIMIT_LOSS_BF16           1.6e-3
#define LIMIT_GRADIENT_BF16       0.1
#define LIMIT_GRADIENT_BF16_SMALL 0.4
#define LIMIT_FINAL_BF16          4e-2

typedef struct Limits {
    double stage, loss, gradient;
    double loss_run, final; /* over a whole run */
} Limits;

typedef struct Check {
    Reference reference;
    Limits limits;
    double perturb; /* the weights are multiplied by 1 ± this, to see what rounding alone does */
    const char *weights; /* a file to take the weights from; NULL: the folder's own */
    CheckTable table;
} Check;

void check_title(void) {
    printf("%-58s | %9s | %7s | %s\n", "stage", "max rel", "limit", "ok");
}

void check_row(CheckTable *table, const char *stage, double error, double limit) {
    int ok = error <= limit; /* false for NaN */
    printf("%-58s | %9.2e | %7.0e | %s\n", stage, error, limit, ok ? "ok" : "OVER");
    if (table->certificate)
        certificate_row(table->certificate, stage, error, limit);
    table->rows++;
    table->failed += !ok;
}

double check_error(const float *ours, const float *theirs, int64_t count, int64_t from,
                   int64_t to) {
    double largest = 0, error = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i >= from && i < to)
            continue;
        largest = fmax(largest, fabs((double)theirs[i]));
        double e = fabs((double)ours[i] - theirs[i]);
        error = e > error || isnan(e) ? e : error;
    }
    return largest > 0 ? error / largest : error;
}

static int check_tensor(Check *check, const Safetensors *file, const char *name, const float *ours,
                        int64_t count, double limit, Error *error) {
    float *theirs = memory_new((size_t)count, sizeof *theirs);
    int result = safetensors_floats(theirs, (size_t)count, file, name, error);
    if (!result) {
        size_t length = strlen(name);
        bool qkv_bias = length > 8 && !strcmp(name + length - 8, "qkv.bias");
        /* the key third of a qkv bias: its gradient is zero in exact arithmetic, so it holds
         * rounding noise, which Adam turns into full steps */
        int64_t from = qkv_bias ? count / 3 : 0, to = qkv_bias ? 2 * count / 3 : 0;
        check_row(&check->table, name, check_error(ours, theirs, count, from, to), limit);
    }
    free(theirs);
    return result;
}

/* A copy of `count` floats of the device, to be freed. */
static float *fetch(const Device *device, const float *from, int64_t count) {
    float *host = memory_new((size_t)count, sizeof *host);
    device->download(host, from, (size_t)count * sizeof *host, (Device *)device);
    return host;
}

/* check_tensor for values in the device's memory. */
static int check_device(Check *check, const Safetensors *file, const char *name, const Model *model,
                        const float *values, int64_t count, double limit, Error *error) {
    float *ours = fetch(model->device, values, count);
    int result = check_tensor(check, file, name, ours, count, limit, error);
    free(ours);
    return result;
}

/* The first weights on the host, on their way to the device. */
typedef struct FirstWeights {
    float *weights, *target; /* flat buffers */
} FirstWeights;

/* Loads the weights under their names into the flat buffers. A target encoder that is not there
 * starts as a copy of the encoder, as published. */
static int load_weights(FirstWeights *first, const Model *model, const Reference *r, Error *error) {
    const Safetensors *file = &r->weights;
    for (size_t i = 0; i < model->table.count; i++) {
        const Parameter *p = &model->table.parameters[i];
        if (safetensors_floats(first->weights + p->offset, (size_t)p->count, file, p->name, error))
            return -1;
    }
    for (size_t i = 0; i < model->target_table.count; i++) {
        const Parameter *p = &model->target_table.parameters[i];
        char target[80];
        snprintf(target, sizeof target, "target_%s", p->name);
        if (p->owner == OWNER_ENCODER &&
            safetensors_floats(first->target + p->offset, (size_t)p->count, file,
                               r->config.frozen || reference_has(file, target) ? target : p->name,
                               error))
            return -1;
    }
    return 0;
}

/* One parameter from a file of weights; the target encoder's own where it has one. */
static int take_weight(float *flat, const WeightsFile *file, const Parameter *p, bool target,
                       Error *error) {
    char name[80];
    snprintf(name, sizeof name, "%s%s", target ? "target_" : "", p->name);
    const WeightsTensor *t = weights_file_find(file, name);
    if (!t && target) /* one encoder only: it is both, as at the start of a run */
        t = weights_file_find(file, p->name);
    if (!t && !target && p->owner == OWNER_ENCODER) {
        snprintf(name, sizeof name, "target_%s", p->name);
        t = weights_file_find(file, name);
    }
    bool fits = t && t->dims == p->dims;
    for (int i = 0; i < p->dims && fits; i++)
        fits = t->shape[i] == p->shape[i];
    if (!fits)
        return error_set(error, ERROR_RUN, "%s: %s %s", file->path, p->name,
                         t ? "has another shape than the reference's config.json asks for"
                           : "is not in it");
    return weights_tensor_floats(flat + p->offset, t, false, error);
}

/* Weights from --weights: a checkpoint of ours, or anything that jepa import reads. */
static int load_weights_from(FirstWeights *first, const Model *model, const Check *check,
                             Error *error) {
    Checkpoint checkpoint;
    WeightsFile file;
    Error ignored = {0};
    char *path = memory_text("%s", check->weights);
    if (folder_exists(path) && !checkpoint_open(&checkpoint, path, &ignored)) {
        free(path);
        path = path_join(checkpoint.folder, "model.safetensors");
        int damaged = checkpoint_verify(&checkpoint, error);
        checkpoint_close(&checkpoint);
        if (damaged) {
            free(path);
            return -1;
        }
    }
    int result = weights_file_open(&file, path, error);
    free(path);
    if (result)
        return -1;
    printf("weights from %s, %s\n", check->weights, file.format);
    for (size_t i = 0; i < model->table.count && !result; i++)
        result = take_weight(first->weights, &file, &model->table.parameters[i], false, error);
    for (size_t i = 0; i < model->target_table.count && !result; i++)
        if (model->target_table.parameters[i].owner == OWNER_ENCODER)
            result = take_weight(first->target, &file, &model->target_table.parameters[i], true,
                                 error);
    Hash hash;
    if (!result && check->table.certificate && !(result = weights_file_hash(&hash, &file, error)))
        certificate_hash(check->table.certificate, path_name(check->weights), &hash);
    weights_file_close(&file);
    return result;
}

/* Every weight times 1 + p or 1 - p, by turns that a hash of its place decides. */
static void perturb(FirstWeights *first, const Model *model, double p) {
    Random random = random_at(0, RANDOM_TEST, 0, 0);
    bool follows = !model->plan.config.frozen; /* a frozen teacher is given, not trained */
    int64_t encoder = follows ? model->table.owner[OWNER_ENCODER].end : 0;
    for (int64_t i = 0; i < model->table.total; i++) {
        float factor = (float)(1 + (random_below(&random, 2) ? p : -p));
        first->weights[i] *= factor;
        if (i < encoder)
            first->target[i] *= factor;
    }
}

/* From the reference, or from --weights; perturbed where that is asked for. */
static int place_weights(Model *model, const Check *check, Error *error) {
    size_t count = (size_t)model->table.total;
    size_t target = (size_t)model->target_table.owner[OWNER_ENCODER].end;
    FirstWeights first = {memory_new(count, sizeof(float)), memory_new(target, sizeof(float))};
    int result = check->weights ? load_weights_from(&first, model, check, error)
                                : load_weights(&first, model, &check->reference, error);
    check_title();
    if (!result && check->perturb > 0)
        perturb(&first, model, check->perturb);
    model->device->upload(model->weights, first.weights, count * sizeof(float), model->device);
    model->device->upload(model->target, first.target, target * sizeof(float), model->device);
    free(first.weights);
    free(first.target);
    return result;
}

static double largest(const float *x, int64_t count) {
    double most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)x[i]));
    return most;
}

/* A stage of some of the group's rows; `from` and `to` in rows of [..][width]. */
typedef struct Rows {
    int64_t from, to;
} Rows;

static int check_rows(Check *check, const char *prefix, const char *stage, const Model *model,
                      const float *ours, Rows rows, int64_t width, Error *error) {
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, stage);
    return check_device(check, &check->reference.passes, name, model, ours + rows.from * width,
                        (rows.to - rows.from) * width, check->limits.stage, error);
}

/* Device memory for `count` floats, to be released. */
static float *take(const Model *model, int64_t count) {
    void *memory = NULL;
    Error error = {0};
    JEPA_ASSERT(
        !model->device->allocate(&memory, (size_t)count * sizeof(float), model->device, &error));
    return memory;
}

/* Patches embedded by the target encoder, before positions and modality: taken from x by
 * subtracting them would lose digits. [Na][D] on the device, to be released. */
static float *embedded_patches(const Model *model) {
    const ModelPlan *plan = &model->plan;
    const ParameterTable *t = &model->target_table;
    bool picture = plan->picture && plan->config.image_patches;
    int64_t rows = model->cu_target_clips[plan->samples];
    float *patches = take(model, rows * model->teacher.dim);
    model->device->linear_residual_forward(
        patches, model->target_patches, model->target + (picture ? t->image_w : t->patch_w),
        model->target + (picture ? t->image_b : t->patch_b), NULL, rows,
        config_patch_size(&plan->config), model->teacher.dim, model->device);
    return patches;
}

/* The target encoder's outputs side by side, each after its norm: [Na][Dh] on the device, to be
 * released. target_out is normalised once more. */
static float *normed_levels(const Model *model) {
    const EncoderOutputs *levels = &model->target_levels;
    const ParameterTable *t = &model->target_table;
    int64_t rows = model->cu_target_clips[model->plan.samples], d = model->teacher.dim;
    float *out = take(model, rows * model->target_width), *level = take(model, rows * d);
    for (int k = 0; k < levels->count; k++) {
        int norm = levels->norm[k];
        model->device->layernorm_values(
            level, NULL, NULL,
            stack_output(&model->act_target, model->teacher_shape, levels->block[k]),
            model->target + t->norm_w[norm], model->target + t->norm_b[norm], rows, d,
            LAYERNORM_EPS, model->device);
        model->device->rows_columns(out, model->target_width, k * d, level, d, 0, rows, d,
                                    sizeof *level, model->device);
    }
    model->device->release(level, model->device);
    return out;
}

/* Stages of the target encoder for the clips of one length. */
static int check_target(Check *check, const Model *model, const ReferencePart *part, Error *error) {
    const int32_t *cu = model->cu_target_clips;
    Rows rows = {cu[part->first], cu[part->first + part->count]};
    int64_t d = model->teacher.dim;
    char name[96];
    float *out = embedded_patches(model);
    int result = check_rows(check, part->prefix, "target.patch_embed", model, out, rows, d, error);
    model->device->release(out, model->device);
    for (int i = 0; i < model->teacher.depth && !result; i++) {
        snprintf(name, sizeof name, "target.block%d", i);
        result = check_rows(check, part->prefix, name, model,
                            stack_output(&model->act_target, model->teacher_shape, i), rows, d,
                            error);
    }
    if (result)
        return -1;
    out = normed_levels(model);
    result = check_rows(check, part->prefix, "target.out", model, out, rows, model->target_width,
                        error);
    model->device->release(out, model->device);
    snprintf(name, sizeof name, "%starget.layer_norm", part->prefix);
    if (!result && reference_has(&check->reference.passes, name))
        result = check_rows(check, part->prefix, "target.layer_norm", model, model->target_out,
                            rows, model->target_width, error);
    return result;
}

static Rows sequences(const int32_t *cu, int m, const Model *model, const ReferencePart *part) {
    int first = m * model->plan.samples + part->first;
    return (Rows){cu[first], cu[first + part->count]};
}

/* Context encoder, predictor and targets of one mask setting, for the clips of one length. */
static int check_setting(Check *check, const Model *model, const ReferencePart *part, int m,
                         Error *error) {
    typedef struct Stage {
        const char *name;
        const float *values;
        const int32_t *cu;
        int count;
        int64_t width;
    } Stage;
    int64_t width = model->target_width;
    int settings = model->plan.settings;
    const Stage stages[] = {
        {"encoder.out", model->context_out, model->cu_context, model->plan.contexts,
         model->out_width},
        {"predictor.out", model->z, model->cu_target, settings, width},
        {"targets", model->h, model->cu_target, settings, width},
        {"predictor.context", model->zc, model->cu_joined, settings, width},
        {"context_targets", model->hc, model->cu_joined, settings, width},
    };
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        const Stage *s = &stages[i];
        char name[96];
        snprintf(name, sizeof name, "%s.%d", s->name, m);
        if (s->values && m < s->count &&
            check_rows(check, part->prefix, name, model, s->values,
                       sequences(s->cu, m, model, part), s->width, error))
            return -1;
    }
    return 0;
}

static int check_loss(Check *check, const char *prefix, const char *stage, double ours, bool needed,
                      Error *error) {
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, stage);
    float value = (float)ours;
    if (!needed && !reference_has(&check->reference.passes, name))
        return 0;
    return check_tensor(check, &check->reference.passes, name, &value, 1, check->limits.loss,
                        error);
}

/* Losses and gradients. A parameter without a gradient there must have none here. */
static int check_gradients(Check *check, const Model *model, const char *prefix, Error *error) {
    const Reference *r = &check->reference;
    ModelScalars fetched, *scalars = &fetched;
    model->device->download(scalars, model->scalars, sizeof *scalars, model->device);
    double targets = 0, context = 0;
    for (int m = 0; m < model->plan.settings; m++) {
        targets += scalars->loss[m];
        context += scalars->loss[MASK_SETTINGS_MAX + m];
    }
    if (check_loss(check, prefix, "loss", scalars->total, true, error) ||
        check_loss(check, prefix, "reg_loss", scalars->reg, r->reg_coeff > 0, error) ||
        check_loss(check, prefix, "loss_targets", targets, false, error) ||
        (r->lambda > 0 &&
         check_loss(check, prefix, "loss_context", context / r->lambda, false, error)))
        return -1;
    for (size_t i = 0; i < model->table.count; i++) {
        const Parameter *p = &model->table.parameters[i];
        float *gradient = fetch(model->device, model->gradients + p->offset, p->count);
        char name[96];
        int result = 0;
        snprintf(name, sizeof name, "%sgrad.%s", prefix, p->name);
        if (!reference_has(&r->passes, name))
            check_row(&check->table, name, largest(gradient, p->count), 0);
        else
            result = check_tensor(check, &r->passes, name, gradient, p->count,
                                  check->limits.gradient, error);
        free(gradient);
        if (result)
            return -1;
    }
    return 0;
}

/* One forward and backward pass over a batch. */
static void run_batch(Model *model, const ReferenceBatch *batch) {
    bool lengths = batch->parts > 1;
    ModelInput input = {.samples = batch->samples,
                        .values = batch->clips,
                        .frames = lengths ? batch->frames : NULL};
    model_begin_step(model);
    model_set_input(model, &input);
    model_set_masks(model, &batch->masks, batch->samples);
    if (lengths)
        model_set_lengths(model, batch->length, batch->samples);
    model_forward_target(model, batch->samples);
    model_forward_prediction(model, batch->samples, &batch->weights);
    model_backward(model, batch->samples, &batch->weights);
    model_finish_gradients(model, batch->weights.reg_coeff);
}

/* Stage outputs, losses and gradients of batch 0. */
static int check_passes(Check *check, Model *model, ReferenceBatch *batch, Error *error) {
    const Safetensors *file = &check->reference.passes;
    if (reference_batch_read(batch, &check->reference, "batch0", error))
        return -1;
    run_batch(model, batch);
    if (model->position &&
        (check_device(check, file, "pos_embed", model, model->position,
                      (int64_t)model->tokens * model->plan.config.dim, check->limits.stage,
                      error) ||
         check_device(check, file, "predictor_pos_embed", model, model->predictor_position,
                      (int64_t)model->tokens * model->plan.config.pred_dim, check->limits.stage,
                      error)))
        return -1;
    for (int l = 0; l < batch->parts; l++)
        if (check_target(check, model, &batch->part[l], error))
            return -1;
    for (int m = 0; m < model->plan.settings; m++)
        for (int l = 0; l < batch->parts; l++)
            if (check_setting(check, model, &batch->part[l], m, error))
                return -1;
    return check_gradients(check, model, "", error);
}

/* A column of the trajectory, float64 [steps]. */
static int trajectory_column(const double **values, const Reference *r, const char *name,
                             int64_t steps, Error *error) {
    const TensorInfo *t = safetensors_find(&r->trajectory, name);
    if (!t || t->type != TENSOR_F64 || t->dims != 1 || t->shape[0] != steps ||
        (uintptr_t)t->data % sizeof(double))
        return error_set(error, ERROR_RUN,
                         "trajectory.safetensors: expected %s as float64 [%" PRId64 "]", name,
                         steps);
    *values = t->data;
    return 0;
}

/* As trajectory_column; NULL where the published code has no such value. */
static int may_column(const double **values, const Reference *r, const char *name, int64_t steps,
                      Error *error) {
    *values = NULL;
    return reference_has(&r->trajectory, name) ? trajectory_column(values, r, name, steps, error)
                                               : 0;
}

static double relative(double ours, double theirs) {
    return theirs != 0 ? fabs(ours - theirs) / fabs(theirs) : fabs(ours);
}

/* Published norms are 0 on steps that are not clipped; no column: nothing to compare. */
static double norm_error(double square_sum, const double *column, int64_t step, int clips_now) {
    if (!column)
        return 0;
    return clips_now ? relative(sqrt(square_sum), column[step]) : fabs(column[step]);
}

typedef struct Columns {
    const double *loss, *reg, *lr, *wd, *momentum, *enc_norm, *pred_norm;
} Columns;

static int open_columns(Columns *t, const Reference *r, int64_t steps, Error *error) {
    bool moves = !r->config.frozen;
    return trajectory_column(&t->loss, r, "trajectory.loss", steps, error) ||
                   trajectory_column(&t->lr, r, "trajectory.lr", steps, error) ||
                   trajectory_column(&t->wd, r, "trajectory.wd", steps, error) ||
                   (moves ? trajectory_column : may_column)(&t->momentum, r, "trajectory.momentum",
                                                            steps, error) ||
                   may_column(&t->reg, r, "trajectory.reg_loss", steps, error) ||
                   may_column(&t->enc_norm, r, "trajectory.enc_grad_norm", steps, error) ||
                   may_column(&t->pred_norm, r, "trajectory.pred_grad_norm", steps, error)
               ? -1
               : 0;
}

/* The weights after the last step; a frozen teacher must be what it was. */
static int check_final(Check *check, const Model *model, double limit, Error *error) {
    const Reference *r = &check->reference;
    char name[96];
    for (size_t i = 0; i < model->table.count; i++) {
        const Parameter *p = &model->table.parameters[i];
        snprintf(name, sizeof name, "final.%s", p->name);
        if (check_device(check, &r->trajectory, name, model, model->weights + p->offset, p->count,
                         limit, error))
            return -1;
    }
    bool frozen = r->config.frozen;
    for (size_t i = 0; i < model->target_table.count; i++) {
        const Parameter *p = &model->target_table.parameters[i];
        snprintf(name, sizeof name, "%starget_%s", frozen ? "" : "final.", p->name);
        if (p->owner == OWNER_ENCODER &&
            check_device(check, frozen ? &r->weights : &r->trajectory, name, model,
                         model->target + p->offset, p->count, frozen ? 0 : limit, error))
            return -1;
    }
    return 0;
}

/* The whole training run; the largest error over all steps of each column, then the final weights.
 */
static int check_trajectory(Check *check, Model *model, ReferenceBatch *batch, Error *error) {
    const Reference *r = &check->reference;
    int64_t steps = schedule_steps(&r->schedule);
    Columns t;
    if (open_columns(&t, r, steps, error))
        return -1;
    double worst[7] = {0};
    for (int64_t step = 0; step < steps; step++) {
        char name[32];
        snprintf(name, sizeof name, "batch%d", (int)(step % r->batch_count));
        if (reference_batch_read(batch, r, name, error))
            return -1;
        run_batch(model, batch);
        int clips_now = r->clip_grad > 0 && schedule_clips(&r->schedule, step);
        AdamwSettings settings = {.lr = schedule_lr(&r->schedule, step),
                                  .weight_decay = schedule_weight_decay(&r->schedule, step),
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .eps = 1e-8,
                                  .momentum = schedule_momentum(&r->schedule, step),
                                  .max_norm = clips_now ? r->clip_grad : 0,
                                  .step = step + 1};
        model_update(model, &settings);
        ModelScalars scalars;
        model->device->download(&scalars, model->scalars, sizeof scalars, model->device);
        double errors[7] = {relative(scalars.total, t.loss[step]),
                            t.reg ? relative(scalars.reg, t.reg[step]) : 0,
                            relative(settings.lr, t.lr[step]),
                            relative(settings.weight_decay, t.wd[step]),
                            t.momentum ? relative(settings.momentum, t.momentum[step]) : 0,
                            norm_error(scalars.square_sum[0], t.enc_norm, step, clips_now),
                            norm_error(scalars.square_sum[1], t.pred_norm, step, clips_now)};
        for (int i = 0; i < 7; i++)
            worst[i] = errors[i] > worst[i] || isnan(errors[i]) ? errors[i] : worst[i];
    }
    const char *names[7] = {"loss",          "reg_loss",      "lr", "wd", "momentum",
                            "enc_grad_norm", "pred_grad_norm"};
    const Limits *l = &check->limits;
    const double limits[7] = {l->loss_run,    l->loss_run, LIMIT_SCHEDULE, LIMIT_SCHEDULE,
                              LIMIT_SCHEDULE, l->gradient, l->gradient};
    const double *columns[7] = {t.loss, t.reg, t.lr, t.wd, t.momentum, t.enc_norm, t.pred_norm};
    for (int i = 0; i < 7; i++) {
        char name[96];
        if (!columns[i])
            continue;
        snprintf(name, sizeof name, "trajectory.%s (%" PRId64 " steps)", names[i], steps);
        check_row(&check->table, name, worst[i], limits[i]);
    }
    return check_final(check, model, check->limits.final, error);
}

/* Most tokens of either kind, over all settings. */
static int64_t capacity(const ModelConfig *c, const Reference *r, int samples) {
    return (int64_t)mask_grid_tokens(config_grid(c)) * samples * r->settings;
}

/* Pictures beside the clips: the same weights, patches and embeddings of their own. */
static int check_pictures(Check *check, Model *model, Error *error) {
    const Reference *r = &check->reference;
    ModelPlan plan = model->plan;
    plan.config = reference_picture_config(r);
    plan.context = plan.target = plan.joined = capacity(&plan.config, r, plan.samples);
    plan.picture = true;
    plan.beside = model;
    Model pictures;
    if (model_new(&pictures, &plan, model->device, error))
        return -1;
    ReferenceBatch batch;
    reference_batch_new(&batch, &pictures, r);
    int result = reference_batch_read(&batch, r, "picture", error);
    if (!result) {
        run_batch(&pictures, &batch);
        float *out = embedded_patches(&pictures);
        Rows rows = {0, pictures.cu_target_clips[plan.samples]};
        result = check_rows(check, "picture.", "target.patch_embed", &pictures, out, rows,
                            pictures.teacher.dim, error);
        model->device->release(out, model->device);
    }
    if (!result)
        result = check_gradients(check, &pictures, "picture.", error);
    reference_batch_free(&batch);
    model_free(&pictures);
    return result;
}

static double limit(double usual, double own) {
    return own > 0 && own < usual ? own : usual;
}

static Limits limits_of(const Reference *r, Precision precision) {
    bool rotary = r->config.positions != POSITIONS_SINCOS;
    if (precision == PRECISION_BFLOAT16)
        return (Limits){LIMIT_STAGE_BF16, LIMIT_LOSS_BF16,
                        r->limit_final > 0 ? LIMIT_GRADIENT_BF16_SMALL : LIMIT_GRADIENT_BF16,
                        LIMIT_LOSS_BF16, LIMIT_FINAL_BF16};
    return (Limits){LIMIT_STAGE, LIMIT_LOSS, LIMIT_GRADIENT,
                    limit(rotary ? LIMIT_LOSS_ROTARY : LIMIT_LOSS, r->limit_loss),
                    limit(rotary ? LIMIT_FINAL_ROTARY : LIMIT_FINAL, r->limit_final)};
}

static int run_checks(Check *check, Device *device, Error *error) {
    const Reference *r = &check->reference;
    check->limits = limits_of(r, device->precision);
    int64_t most = capacity(&r->config, r, r->samples);
    ModelPlan plan = {.config = r->config,
                      .samples = r->samples,
                      .settings = r->settings,
                      .contexts = r->contexts,
                      .context = most,
                      .target = most,
                      .joined = most,
                      .training = true,
                      .keep_target = true};
    Model model;
    if (model_new(&model, &plan, device, error))
        return -1;
    ReferenceBatch batch;
    reference_batch_new(&batch, &model, r);
    int result = place_weights(&model, check, error);
    if (!result)
        result = check_passes(check, &model, &batch, error);
    if (!result && r->picture)
        result = check_pictures(check, &model, error);
    if (!result)
        result = check_trajectory(check, &model, &batch, error);
    reference_batch_free(&batch);
    model_free(&model);
    return result;
}

static bool has(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

/* What kind of reference is it? Kinds that this build cannot compute are refused by name. */
static int refuse_other_kinds(const char *folder, Error *error) {
    if (!folder_exists(folder))
        return error_set(error, ERROR_USAGE, "%s: no such folder", folder);
    if (has(folder, "ac_predictor.safetensors"))
        return error_set(
            error, ERROR_RUN,
            "%s: an action-conditioned predictor (V-JEPA 2-AC); this build has none yet", folder);
    if (has(folder, "crop_resize_normalise.safetensors"))
        return error_set(error, ERROR_RUN,
                         "%s: image transforms; this build compares networks only", folder);
    const char *needed[] = {"config.json", "weights.safetensors", "batches.safetensors",
                            "forward_backward.safetensors", "trajectory.safetensors"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!has(folder, needed[i]))
            return error_set(error, ERROR_RUN, "%s: no %s in it, so no reference of a network",
                             folder, needed[i]);
    return 0;
}

/* probe.safetensors: an attentive probe; else a network. */
static bool is_probe(const char *folder) {
    return folder_exists(folder) && has(folder, "probe.safetensors");
}

static int check_folder(Check *check, Device *device, Error *error) {
    if (is_probe(check->reference.folder))
        return check_probe(&check->table, check->reference.folder, check->weights, check->perturb,
                           device, error);
    return refuse_other_kinds(check->reference.folder, error) ||
                   reference_open(&check->reference, error) || run_checks(check, device, error)
               ? -1
               : 0;
}

/* What was compared, for the certificate. */
static int describe(Check *check, const Device *device, Error *error) {
    static const char *const network[] = {"config.json", "weights.safetensors",
                                          "batches.safetensors", "forward_backward.safetensors",
                                          "trajectory.safetensors"};
    static const char *const probe[] = {"config.json", "probe.safetensors"};
    bool of_probe = is_probe(check->reference.folder);
    const char *const *names = of_probe ? probe : network;
    size_t count = of_probe ? sizeof probe / sizeof *probe : sizeof network / sizeof *network;
    char number[32];
    certificate_text(check->table.certificate, "reference", path_name(check->reference.folder));
    certificate_text(check->table.certificate, "device", device->name);
    snprintf(number, sizeof number, "%d", device->threads);
    certificate_text(check->table.certificate, "threads", number);
    certificate_text(check->table.certificate, "precision", precision_name(device->precision));
    if (check->perturb > 0) {
        snprintf(number, sizeof number, "%g", check->perturb);
        certificate_text(check->table.certificate, "perturbed", number);
    }
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(check->reference.folder, names[i]);
        int result = certificate_file(check->table.certificate, path, error);
        free(path);
        if (result)
            return -1;
    }
    return 0;
}

int command_check_reference(int argc, char **argv) {
    const CommandHelp help = {
        "jepa check-reference DIR [--weights FILE] [--certificate FILE.json] [--device "
        "cpu|reference]",
        "Builds the network from DIR/config.json, runs it on DIR's weights and batches, and "
        "compares every stage, the losses, every gradient and a whole training run with the values "
        "in DIR; of an attentive probe's reference, its outputs, loss and gradients. --weights "
        "takes the weights from another file or checkpoint, so that what was "
        "imported or exported is held against the same values."};
    const char *certificate = NULL;
    const char *device_name = NULL, *precision_text = "float32";
    Precision precision = PRECISION_FLOAT32;
    int64_t threads = 0;
    Check check = {0};
    const Option options[] = {
        {"perturb", "P", "multiply the weights by 1 + P or 1 - P: what rounding alone changes",
         OPTION_NUMBER, &check.perturb},
        {"weights", "FILE",
         "weights from a checkpoint of ours, or from any file that jepa import reads", OPTION_TEXT,
         &check.weights},
        {"certificate", "FILE", "write what was compared, errors and hashes as JSON", OPTION_TEXT,
         &certificate},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &device_name},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &threads},
        {"precision", "TYPE",
         "float32 (default), or bfloat16 with limits of its own; emulated on a CPU without it",
         OPTION_TEXT, &precision_text},
    };
    TextList rest = {0};
    Error error = {0};
    Device *device = NULL;
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && rest.count != 1)
        parsed = error_set(&error, ERROR_USAGE,
                           "expected one folder; see jepa check-reference --help");
    if (parsed == 0 && precision_parse(&precision, precision_text))
        parsed = error_set(&error, ERROR_USAGE, "--precision %s: expected float32 or bfloat16",
                           precision_text);
    if (parsed == 0 && !plan_open_device(&device, device_name, 0, (int)threads, &error)) {
        if (device_set_precision(device, precision, true) != precision)
            log_info("device %s has no %s: float32", device->name, precision_text);
        check.reference.folder = path_join(".", rest.items[0]);
        check.table.certificate = certificate ? certificate_new() : NULL;
        if (!check_folder(&check, device, &error) &&
            (!certificate || (!describe(&check, device, &error) &&
                              !certificate_write(check.table.certificate, certificate, &error)))) {
            printf("%d of %d within their limits\n", check.table.rows - check.table.failed,
                   check.table.rows);
            if (check.table.failed)
                error.code = ERROR_RUN;
        }
    }
    if (error.text[0])
        fprintf(stderr, "jepa check-reference: %s\n", error.text);
    certificate_free(check.table.certificate);
    reference_close(&check.reference);
    free(check.reference.folder);
    free(rest.items);
    device_close(device);
    return error.code;
}
