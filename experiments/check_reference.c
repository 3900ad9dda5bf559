/* jepa check-reference DIR: holds the network against values that the published code computed.
 *
 * DIR holds config.json, weights, batches, forward_backward and trajectory (.safetensors);
 * everything is read from them, nothing is hard-coded. Error of a tensor = max |ours - theirs| /
 * max |theirs|. */
#include "base/file.h"
#include "base/safetensors.h"
#include "base/yaml.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "jepa/model.h"
#include "jepa/schedule.h"
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
 * device, which sums in another order, by 4.6e-6 and 8.6e-4. */
#define LIMIT_LOSS_ROTARY  1e-5
#define LIMIT_FINAL_ROTARY 1.5e-3

typedef struct Check {
    char *folder;
    Safetensors weights, batches, passes, trajectory;
    ModelConfig config;
    Schedule schedule;
    int samples, batch_count, settings;
    double loss_exp, reg_coeff, clip_grad;
    double perturb; /* the weights are multiplied by 1 ± this, to see what rounding alone does */
    int rows, failed;
} Check;

static void report(Check *check, const char *stage, double error, double limit) {
    int ok = error <= limit; /* false for NaN */
    printf("%-58s | %9.2e | %7.0e | %s\n", stage, error, limit, ok ? "ok" : "OVER");
    check->rows++;
    check->failed += !ok;
}

/* Relative error of ours[count] against a tensor; the key third of a qkv bias is left out: its
 * gradient is zero in exact arithmetic, so it holds rounding noise, which Adam turns into full
 * steps. */
static double compare(const float *ours, const float *theirs, int64_t count, bool qkv_bias) {
    double largest = 0, error = 0;
    for (int64_t i = 0; i < count; i++) {
        if (qkv_bias && i >= count / 3 && i < 2 * count / 3)
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
        report(check, name, compare(ours, theirs, count, qkv_bias), limit);
    }
    free(theirs);
    return result;
}

static int want_integer(int *value, const YamlNode *root, const char *key, Error *error) {
    int64_t number;
    const YamlNode *node = yaml_find(root, key);
    if (!node || yaml_integer(node, &number) || number < 0 || number > 1 << 20)
        return error_set(error, ERROR_RUN, "config.json: expected a whole number as \"%s\"", key);
    *value = (int)number;
    return 0;
}

static int want_number(double *value, const YamlNode *root, const char *key, Error *error) {
    const YamlNode *node = yaml_find(root, key);
    if (!node || yaml_number(node, value))
        return error_set(error, ERROR_RUN, "config.json: expected a number as \"%s\"", key);
    return 0;
}

/* As want_number; `otherwise` where there is no such key. */
static int may_number(double *value, const YamlNode *root, const char *key, double otherwise,
                      Error *error) {
    *value = otherwise;
    return yaml_find(root, key) ? want_number(value, root, key, error) : 0;
}

static int may_bool(bool *value, const YamlNode *root, const char *key, Error *error) {
    const YamlNode *node = yaml_find(root, key);
    if (node && yaml_bool(node, value))
        return error_set(error, ERROR_RUN, "config.json: expected true or false as \"%s\"", key);
    return 0;
}

/* Is this tensor among the reference values? V-JEPA 2 has no positions to compare and no
 * regulariser. */
static bool is_there(const Safetensors *file, const char *name) {
    return safetensors_find(file, name) != NULL;
}

/* "crop": one side of a square, or [height, width]. */
static int read_size(int *height, int *width, const YamlNode *root, Error *error) {
    const YamlNode *crop = yaml_find(root, "crop");
    int64_t h, w;
    if (crop && crop->kind == YAML_LIST && crop->count == 2 && !yaml_integer(crop->items[0], &h) &&
        !yaml_integer(crop->items[1], &w) && h > 0 && h < 1 << 20 && w > 0 && w < 1 << 20) {
        *height = (int)h;
        *width = (int)w;
        return 0;
    }
    if (want_integer(height, root, "crop", error))
        return -1;
    *width = *height;
    return 0;
}

static int read_config(Check *check, Error *error) {
    char *path = path_join(check->folder, "config.json");
    YamlNode *root = NULL;
    int result = yaml_load(&root, path, error);
    free(path);
    if (result)
        return -1;
    ModelConfig *c = &check->config;
    Schedule *s = &check->schedule;
    double epochs = 0, ipe = 0;
    const YamlNode *masks = yaml_find(root, "mask"), *ema = yaml_find(root, "ema");
    c->positions = is_there(&check->weights, "encoder.pos_embed") ? POSITIONS_SINCOS
                                                                  : POSITIONS_ROPE_TILED;
    bool rope = c->positions != POSITIONS_SINCOS, silu = false, pred_silu = false, wide = true,
         standard = false;
    if (read_size(&c->height, &c->width, root, error) ||
        want_integer(&c->patch, root, "patch", error) ||
        want_integer(&c->frames, root, "frames", error) ||
        want_integer(&c->tubelet, root, "tubelet", error) ||
        want_integer(&c->dim, root, "dim", error) ||
        want_integer(&c->depth, root, "depth", error) ||
        want_integer(&c->heads, root, "heads", error) ||
        want_integer(&c->pred_dim, root, "pred_dim", error) ||
        want_integer(&c->pred_depth, root, "pred_depth", error) ||
        want_integer(&check->samples, root, "batch", error) ||
        want_integer(&check->batch_count, root, "nbatches", error) ||
        want_number(&check->loss_exp, root, "loss_exp", error) ||
        may_number(&check->reg_coeff, root, "reg_coeff", 0, error) ||
        may_number(&check->clip_grad, root, "clip_grad", 0, error) ||
        may_bool(&c->uniform_power, root, "uniform_power", error) ||
        may_bool(&silu, root, "use_silu", error) ||
        may_bool(&pred_silu, root, "use_pred_silu", error) ||
        may_bool(&wide, root, "wide_silu", error) ||
        may_bool(&standard, root, "rope_standard", error) ||
        may_bool(&s->anneal, root, "is_anneal", error) || want_number(&ipe, root, "ipe", error) ||
        want_number(&epochs, root, "epochs", error) ||
        want_number(&s->ipe_scale, root, "ipe_scale", error) ||
        want_number(&s->warmup, root, "warmup", error) ||
        want_number(&s->start_lr, root, "start_lr", error) ||
        want_number(&s->lr, root, "lr", error) ||
        want_number(&s->final_lr, root, "final_lr", error) ||
        want_number(&s->weight_decay, root, "wd", error) ||
        want_number(&s->final_weight_decay, root, "final_wd", error))
        result = -1;
    else if (!masks || masks->kind != YAML_LIST || !masks->count ||
             masks->count > MASK_SETTINGS_MAX || !ema || ema->kind != YAML_LIST ||
             ema->count != 2 || yaml_number(ema->items[0], &s->ema[0]) ||
             yaml_number(ema->items[1], &s->ema[1]))
        result = error_set(error, ERROR_RUN,
                           "config.json: expected \"mask\" (a list) and \"ema\" (two numbers)");
    if (!result) {
        s->epochs = epochs;
        s->ipe = ipe;
        c->trained_frames = c->frames;
        c->trained_height = c->height;
        c->trained_width = c->width;
        c->swiglu = silu;
        c->pred_swiglu = pred_silu;
        c->hidden = silu ? config_swiglu_hidden(4 * c->dim, wide) : 4 * c->dim;
        c->pred_hidden = pred_silu ? config_swiglu_hidden(4 * c->pred_dim, wide) : 4 * c->pred_dim;
        c->token_by_length = rope; /* as published: one clip length, so one token */
        if (standard)
            c->positions = POSITIONS_ROPE;
        c->pred_heads = c->heads;
        int heads;
        if (yaml_find(root, "pred_heads") && !want_integer(&heads, root, "pred_heads", error))
            c->pred_heads = heads;
        c->mask_tokens = check->settings = (int)masks->count;
        c->used_mask_tokens = rope ? 1 : c->mask_tokens;
        c->init_std = 0.02;
        result = config_check(c, error);
        if (!result && (check->samples < 1 || check->batch_count < 1))
            result = error_set(error, ERROR_RUN,
                               "config.json: batch and nbatches must be positive");
    }
    yaml_release(root);
    return result;
}

static int open_tensors(Safetensors *file, const char *folder, const char *name, Error *error) {
    char *path = path_join(folder, name);
    int result = safetensors_open(file, path, error);
    free(path);
    return result;
}

/* Loads the weights under the published names into the flat buffers. */
static int load_weights(Model *model, const Check *check, Error *error) {
    for (size_t i = 0; i < model->table.count; i++) {
        const Parameter *p = &model->table.parameters[i];
        char target[80];
        if (safetensors_floats(model->weights + p->offset, (size_t)p->count, &check->weights,
                               p->name, error))
            return -1;
        snprintf(target, sizeof target, "target_%s", p->name);
        if (p->owner == OWNER_ENCODER &&
            safetensors_floats(model->target + p->offset, (size_t)p->count, &check->weights, target,
                               error))
            return -1;
    }
    return 0;
}

/* Every weight times 1 + p or 1 - p, by turns that a hash of its place decides. */
static void perturb(Model *model, double p) {
    Random random = random_at(0, RANDOM_TEST, 0, 0);
    int64_t encoder = model->table.owner[OWNER_ENCODER].end;
    for (int64_t i = 0; i < model->table.total; i++) {
        float factor = (float)(1 + (random_below(&random, 2) ? p : -p));
        model->weights[i] *= factor;
        if (i < encoder)
            model->target[i] *= factor;
    }
}

/* One batch: clips and masks of every setting, [samples][n] int64 each. */
static int read_batch(float *clips, MaskGroup *masks, const Check *check, int batch, Error *error) {
    const ModelConfig *c = &check->config;
    char name[64];
    int64_t tokens = mask_grid_tokens(config_grid(c));
    snprintf(name, sizeof name, "batch%d.clips", batch);
    size_t count = (size_t)check->samples * 3 * c->frames * c->height * c->width;
    if (safetensors_floats(clips, count, &check->batches, name, error))
        return -1;
    for (int kind = 0; kind < 2; kind++) {
        int32_t *list = kind ? masks->target : masks->context, filled = 0;
        int32_t *cu = kind ? masks->cu_target : masks->cu_context;
        cu[0] = 0;
        for (int m = 0; m < check->settings; m++) {
            snprintf(name, sizeof name, "batch%d.masks_%s.%d", batch, kind ? "pred" : "enc", m);
            const TensorInfo *t = safetensors_find(&check->batches, name);
            if (!t || t->type != TENSOR_I64 || t->dims != 2 || t->shape[0] != check->samples ||
                t->shape[1] < 1 || t->shape[1] > tokens)
                return error_set(error, ERROR_RUN,
                                 "batches.safetensors: expected %s as int64 [%d][n]", name,
                                 check->samples);
            for (int b = 0; b < check->samples; b++) {
                for (int64_t i = 0; i < t->shape[1]; i++) {
                    int64_t token;
                    memcpy(&token, (const char *)t->data + (b * t->shape[1] + i) * 8, 8);
                    if (token < 0 || token >= tokens)
                        return error_set(error, ERROR_RUN, "%s: token %" PRId64 " of %" PRId64,
                                         name, token, tokens);
                    list[filled++] = (int32_t)token;
                }
                cu[m * check->samples + b + 1] = filled;
            }
        }
    }
    return 0;
}

static void fill_loss_weights(LossWeights *weights, const Check *check, const MaskGroup *masks) {
    weights->power = check->loss_exp;
    weights->reg_coeff = check->reg_coeff;
    weights->reg_weight = 1.0 / ((double)check->samples * check->config.dim);
    for (int m = 0; m < check->settings; m++) {
        int64_t tokens = masks->cu_target[(m + 1) * check->samples] -
                         masks->cu_target[m * check->samples];
        weights->element[m] = 1.0 / ((double)check->settings * (double)tokens * check->config.dim);
    }
}

/* A mask token that no clip length of the reference uses, so that nothing moves it. */
static bool is_unused_token(const ModelConfig *c, const char *name) {
    const char *prefix = "predictor.mask_tokens.";
    return c->token_by_length && !strncmp(name, prefix, strlen(prefix)) &&
           strcmp(name + strlen(prefix), "0");
}

static double largest(const float *x, int64_t count) {
    double most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)x[i]));
    return most;
}

/* Stage outputs, losses and gradients of batch 0. */
static int check_passes(Check *check, Model *model, const MaskGroup *masks, Error *error) {
    const Safetensors *file = &check->passes;
    const ModelConfig *c = &check->config;
    int64_t rows = (int64_t)check->samples * model->tokens, d = c->dim;
    char name[96];
    if (model->position &&
        (check_tensor(check, file, "pos_embed", model->position, model->tokens * d, LIMIT_STAGE,
                      error) ||
         check_tensor(check, file, "predictor_pos_embed", model->predictor_position,
                      model->tokens * (int64_t)c->pred_dim, LIMIT_STAGE, error)))
        return -1;
    /* patch_embed has no positions yet: taken from x by subtracting them would lose digits */
    float *patches = memory_new((size_t)(rows * d), sizeof *patches);
    model->device->linear_forward(
        patches, model->target_patches, model->target + model->table.patch_w,
        model->target + model->table.patch_b, NULL, rows, config_patch_size(c), d, model->device);
    int result = check_tensor(check, file, "target.patch_embed", patches, rows * d, LIMIT_STAGE,
                              error);
    free(patches);
    for (int i = 0; i < c->depth && !result; i++) {
        snprintf(name, sizeof name, "target.block%d", i);
        const float *out = i + 1 < c->depth ? model->act_target.blocks[i + 1].x
                                            : model->act_target.out;
        result = check_tensor(check, file, name, out, rows * d, LIMIT_STAGE, error);
    }
    if (!result) {
        float *out = memory_new((size_t)(rows * d), sizeof *out);
        model->device->layernorm_forward(
            out, NULL, NULL, model->act_target.out, model->target + model->table.norm_w[0],
            model->target + model->table.norm_b[0], rows, d, LAYERNORM_EPS, model->device);
        result = check_tensor(check, file, "target.out", out, rows * d, LIMIT_STAGE, error);
        free(out);
    }
    if (!result && is_there(file, "target.layer_norm"))
        result = check_tensor(check, file, "target.layer_norm", model->target_out, rows * d,
                              LIMIT_STAGE, error);
    for (int m = 0; m < check->settings && !result; m++) {
        int64_t c0 = masks->cu_context[m * check->samples],
                c1 = masks->cu_context[(m + 1) * check->samples];
        int64_t t0 = masks->cu_target[m * check->samples],
                t1 = masks->cu_target[(m + 1) * check->samples];
        snprintf(name, sizeof name, "encoder.out.%d", m);
        result = check_tensor(check, file, name, model->context_out + c0 * d, (c1 - c0) * d,
                              LIMIT_STAGE, error);
        snprintf(name, sizeof name, "predictor.out.%d", m);
        if (!result)
            result = check_tensor(check, file, name, model->z + t0 * d, (t1 - t0) * d, LIMIT_STAGE,
                                  error);
        snprintf(name, sizeof name, "targets.%d", m);
        if (!result)
            result = check_tensor(check, file, name, model->h + t0 * d, (t1 - t0) * d, LIMIT_STAGE,
                                  error);
    }
    float loss = (float)model->scalars->total, reg = (float)model->scalars->reg;
    if (!result)
        result = check_tensor(check, file, "loss", &loss, 1, LIMIT_LOSS, error);
    if (!result && (check->reg_coeff > 0 || is_there(file, "reg_loss")))
        result = check_tensor(check, file, "reg_loss", &reg, 1, LIMIT_LOSS, error);
    for (size_t i = 0; i < model->table.count && !result; i++) {
        const Parameter *p = &model->table.parameters[i];
        snprintf(name, sizeof name, "grad.%s", p->name);
        if (is_unused_token(c, p->name)) { /* no gradient there: it must be none here */
            report(check, name, largest(model->gradients + p->offset, p->count), 0);
            continue;
        }
        result = check_tensor(check, file, name, model->gradients + p->offset, p->count,
                              LIMIT_GRADIENT, error);
    }
    return result;
}

/* A column of the trajectory, float64 [steps]. */
static int trajectory_column(const double **values, const Check *check, const char *name,
                             int64_t steps, Error *error) {
    const TensorInfo *t = safetensors_find(&check->trajectory, name);
    if (!t || t->type != TENSOR_F64 || t->dims != 1 || t->shape[0] != steps ||
        (uintptr_t)t->data % sizeof(double))
        return error_set(error, ERROR_RUN,
                         "trajectory.safetensors: expected %s as float64 [%" PRId64 "]", name,
                         steps);
    *values = t->data;
    return 0;
}

/* As trajectory_column; NULL where the published code has no such value. */
static int may_column(const double **values, const Check *check, const char *name, int64_t steps,
                      Error *error) {
    *values = NULL;
    return is_there(&check->trajectory, name) ? trajectory_column(values, check, name, steps, error)
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

/* The whole training run; the largest error over all steps of each column, then the final weights.
 */
static int check_trajectory(Check *check, Model *model, float *clips, MaskGroup *masks,
                            Error *error) {
    int64_t steps = schedule_steps(&check->schedule);
    Columns t;
    if (trajectory_column(&t.loss, check, "trajectory.loss", steps, error) ||
        trajectory_column(&t.lr, check, "trajectory.lr", steps, error) ||
        trajectory_column(&t.wd, check, "trajectory.wd", steps, error) ||
        trajectory_column(&t.momentum, check, "trajectory.momentum", steps, error) ||
        may_column(&t.reg, check, "trajectory.reg_loss", steps, error) ||
        may_column(&t.enc_norm, check, "trajectory.enc_grad_norm", steps, error) ||
        may_column(&t.pred_norm, check, "trajectory.pred_grad_norm", steps, error))
        return -1;
    double worst[7] = {0};
    for (int64_t step = 0; step < steps; step++) {
        if (read_batch(clips, masks, check, (int)(step % check->batch_count), error))
            return -1;
        LossWeights weights;
        fill_loss_weights(&weights, check, masks);
        ModelInput input = {.samples = check->samples, .values = clips};
        model_begin_step(model);
        model_set_input(model, &input);
        model_set_masks(model, masks, check->samples);
        model_forward_target(model, check->samples);
        model_forward_prediction(model, check->samples, &weights);
        model_backward(model, check->samples, &weights);
        model_finish_gradients(model, check->reg_coeff);
        int clips_now = check->clip_grad > 0 && schedule_clips(&check->schedule, step);
        AdamwSettings settings = {.lr = schedule_lr(&check->schedule, step),
                                  .weight_decay = schedule_weight_decay(&check->schedule, step),
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .eps = 1e-8,
                                  .momentum = schedule_momentum(&check->schedule, step),
                                  .max_norm = clips_now ? check->clip_grad : 0,
                                  .step = step + 1};
        model_update(model, &settings);
        double errors[7] = {
            relative(model->scalars->total, t.loss[step]),
            t.reg ? relative(model->scalars->reg, t.reg[step]) : 0,
            relative(settings.lr, t.lr[step]),
            relative(settings.weight_decay, t.wd[step]),
            relative(settings.momentum, t.momentum[step]),
            norm_error(model->scalars->square_sum[0], t.enc_norm, step, clips_now),
            norm_error(model->scalars->square_sum[1], t.pred_norm, step, clips_now)};
        for (int i = 0; i < 7; i++)
            worst[i] = errors[i] > worst[i] || isnan(errors[i]) ? errors[i] : worst[i];
    }
    const char *names[7] = {"loss",          "reg_loss",      "lr", "wd", "momentum",
                            "enc_grad_norm", "pred_grad_norm"};
    bool rotary = check->config.positions != POSITIONS_SINCOS;
    double loss = rotary ? LIMIT_LOSS_ROTARY : LIMIT_LOSS;
    double final = rotary ? LIMIT_FINAL_ROTARY : LIMIT_FINAL;
    const double limits[7] = {loss,           loss,           LIMIT_SCHEDULE, LIMIT_SCHEDULE,
                              LIMIT_SCHEDULE, LIMIT_GRADIENT, LIMIT_GRADIENT};
    const double *columns[7] = {t.loss, t.reg, t.lr, t.wd, t.momentum, t.enc_norm, t.pred_norm};
    for (int i = 0; i < 7; i++) {
        char name[96];
        if (!columns[i])
            continue;
        snprintf(name, sizeof name, "trajectory.%s (%" PRId64 " steps)", names[i], steps);
        report(check, name, worst[i], limits[i]);
    }
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < model->table.count; i++) {
            const Parameter *p = &model->table.parameters[i];
            char name[96];
            snprintf(name, sizeof name, "final.%s%s", side ? "target_" : "", p->name);
            if (side && p->owner != OWNER_ENCODER)
                continue;
            if (check_tensor(check, &check->trajectory, name,
                             (side ? model->target : model->weights) + p->offset, p->count, final,
                             error))
                return -1;
        }
    return 0;
}

static int run_checks(Check *check, Device *device, Error *error) {
    int64_t tokens = mask_grid_tokens(config_grid(&check->config));
    int64_t capacity = tokens * check->samples * check->settings;
    ModelPlan plan = {.config = check->config,
                      .samples = check->samples,
                      .settings = check->settings,
                      .context = capacity,
                      .target = capacity,
                      .training = true,
                      .keep_target = true};
    const ModelConfig *c = &check->config;
    Model model;
    if (model_new(&model, &plan, device, error))
        return -1;
    MaskRecipe recipe = {
        .settings = check->settings, .samples = check->samples, .grid = config_grid(c)};
    MaskGroup masks;
    mask_group_new(&masks, &recipe, capacity, capacity);
    size_t clip = (size_t)3 * c->frames * c->height * c->width;
    float *clips = memory_new((size_t)check->samples * clip, sizeof *clips);

    printf("%-58s | %9s | %7s | %s\n", "stage", "max rel", "limit", "ok");
    int result = load_weights(&model, check, error);
    if (!result && check->perturb > 0)
        perturb(&model, check->perturb);
    if (!result)
        result = read_batch(clips, &masks, check, 0, error);
    if (!result) {
        LossWeights weights;
        fill_loss_weights(&weights, check, &masks);
        ModelInput input = {.samples = check->samples, .values = clips};
        model_begin_step(&model);
        model_set_input(&model, &input);
        model_set_masks(&model, &masks, check->samples);
        model_forward_target(&model, check->samples);
        model_forward_prediction(&model, check->samples, &weights);
        model_backward(&model, check->samples, &weights);
        model_finish_gradients(&model, check->reg_coeff);
        result = check_passes(check, &model, &masks, error);
    }
    if (!result)
        result = check_trajectory(check, &model, clips, &masks, error);
    free(clips);
    mask_group_free(&masks);
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
static int refuse_other_kinds(const Check *check, Error *error) {
    const char *folder = check->folder;
    if (!folder_exists(folder))
        return error_set(error, ERROR_USAGE, "%s: no such folder", folder);
    if (has(folder, "probe.safetensors"))
        return error_set(error, ERROR_RUN, "%s: an attentive probe; this build has none yet",
                         folder);
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

static int check_folder(Check *check, Device *device, Error *error) {
    if (refuse_other_kinds(check, error) ||
        open_tensors(&check->weights, check->folder, "weights.safetensors", error))
        return -1;
    if (open_tensors(&check->batches, check->folder, "batches.safetensors", error) ||
        open_tensors(&check->passes, check->folder, "forward_backward.safetensors", error) ||
        open_tensors(&check->trajectory, check->folder, "trajectory.safetensors", error) ||
        read_config(check, error) || run_checks(check, device, error))
        return -1;
    return 0;
}

int command_check_reference(int argc, char **argv) {
    const CommandHelp help = {
        "jepa check-reference DIR [--device cpu|reference] [--threads N]",
        "Builds the network from DIR/config.json, runs it on DIR's weights and batches, and "
        "compares "
        "every stage, the losses, every gradient and a whole training run with the values in DIR."};
    const char *device_name = "cpu";
    int64_t threads = 0;
    Check check = {0};
    const Option options[] = {
        {"perturb", "P", "multiply the weights by 1 + P or 1 - P: what rounding alone changes",
         OPTION_NUMBER, &check.perturb},
        {"device", "NAME", "cpu, or reference (plain loops)", OPTION_TEXT, &device_name},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &threads},
    };
    TextList rest = {0};
    Error error = {0};
    Device *device = NULL;
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && rest.count != 1)
        parsed = error_set(&error, ERROR_USAGE,
                           "expected one folder; see jepa check-reference --help");
    if (parsed == 0 && !device_open(&device, device_name, (int)threads, &error)) {
        check.folder = path_join(".", rest.items[0]);
        if (!check_folder(&check, device, &error)) {
            printf("%d of %d within their limits\n", check.rows - check.failed, check.rows);
            if (check.failed)
                error.code = ERROR_RUN;
        }
    }
    if (error.text[0])
        fprintf(stderr, "jepa check-reference: %s\n", error.text);
    safetensors_close(&check.weights);
    safetensors_close(&check.batches);
    safetensors_close(&check.passes);
    safetensors_close(&check.trajectory);
    free(check.folder);
    free(rest.items);
    device_close(device);
    return error.code;
}
