/* The passes of a training step: target encoder, context encoder, predictor, loss; and back.
 * See jepa/model.h for the letters. */
#include "base/hash.h"
#include "jepa/model.h"
#include "jepa/ranks.h"
#include <string.h>

void model_begin_step(Model *model) {
    Device *device = model->device;
    device->zero(model->gradients, (size_t)model->table.total * sizeof(float), device);
    device->zero(model->scalars, sizeof *model->scalars, device);
    if (model->leaf_scalars)
        device->zero(model->leaf_scalars, (size_t)model->plan.leaves * sizeof *model->leaf_scalars,
                     device);
    model_weights_changed(model);
}

/* One of the encoders, with the weights it is to use. */
typedef struct Encoder {
    const float *weights;
    const ParameterTable *table;
    StackShape shape;
    const EncoderOutputs *outputs;
    const float *position, *rope;
    bool fp8; /* its linear layers */
} Encoder;

static Encoder context_encoder(const Model *model) {
    return (Encoder){.weights = model->weights,
                     .table = &model->table,
                     .shape = model->encoder_shape,
                     .outputs = &model->levels,
                     .position = model->position,
                     .rope = model->rope};
}

static Encoder target_encoder(const Model *model, const EncoderOutputs *outputs) {
    return (Encoder){.weights = model->target,
                     .table = &model->target_table,
                     .shape = model->teacher_shape,
                     .outputs = outputs,
                     .position = model->target_position,
                     .rope = model->target_rope,
                     .fp8 = model->plan.target_fp8};
}

/* Which patches go into a stack: those of these clips and tokens. `of`: the row of the stack i is
 * patch of[i], embedded[patches][D] before that; NULL: row i is patch i. */
typedef struct Patches {
    Activation *values; /* [patches][P] */
    const int32_t *clip, *token;
    int64_t count;
    const int32_t *of;
    float *embedded;
} Patches;

/* Patches -> embedding + position (+ the modality's embedding), into blocks[0].x of a stack, whose
 * rows have these tokens; class tokens take their own places. */
static void embed(Model *model, const Encoder *e, float *x, const Patches *p, const int32_t *token,
                  int64_t rows, const int32_t *cu_seqlens, int64_t sequences) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = e->table;
    Device *op = model->device;
    int64_t width = e->shape.width;
    bool picture = model->plan.picture && c->image_patches;
    PatchShape shape = {c->frames, c->height, c->width, c->tubelet, c->patch};
    op->patches_cut(p->values, model->values ? NULL : model->pixels, model->values, model->mirror,
                    p->clip, p->token, p->count, &shape, op);
    op->linear_residual_forward(p->of ? p->embedded : x, p->values,
                                e->weights + (picture ? t->image_w : t->patch_w),
                                e->weights + (picture ? t->image_b : t->patch_b), NULL, p->count,
                                config_patch_size(c), width, op);
    if (p->of || e->position)
        op->rows_gather(x, NULL, p->of ? p->embedded : x, p->of, e->position, token, rows, width,
                        op);
    if (c->modality)
        op->rows_gather(x, NULL, x, NULL, e->weights + (picture ? t->image_mode : t->video_mode),
                        model->zeros, rows, width, op);
    if (c->class_token) {
        int32_t *first = model->staging;
        for (int64_t s = 0; s < sequences; s++)
            first[s] = cu_seqlens[s];
        op->upload(model->class_rows, first, (size_t)sequences * sizeof *first, op);
        op->rows_gather(x, model->class_rows, NULL, NULL, e->weights + t->class_token, model->zeros,
                        sequences, width, op);
    }
}

/* embed, backward: dx[Rc][D] of the stack's rows -> gradients of the patch embedding */
static void embed_backward(Model *model, const float *dx) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    Device *op = model->device;
    float *g = model->gradients, *sum = model->context_embedded;
    int64_t d = c->dim, rows = model->patch_rows;
    bool picture = model->plan.picture && c->image_patches;
    const float *dembedded = dx;
    Activation *narrow = model->scratch.narrow;
    if (model->patch_of) { /* contexts one after the other: within one no patch comes twice */
        const int32_t *cu = model->cu_context;
        int contexts = model->plan.contexts, samples = model->context_samples;
        op->zero(sum, (size_t)(rows * d) * sizeof *sum, op);
        for (int e = 0; e < contexts; e++) {
            int64_t from = cu[e * samples], to = cu[(e + 1) * samples];
            op->rows_scatter_add(sum, model->patch_of + from, dx + from * d, NULL, to - from, d,
                                 op);
        }
        dembedded = sum;
        narrow = model->dpatches;
    }
    if (narrow)
        op->rows_narrow(narrow, dembedded, rows * d, op);
    op->linear_backward_weight(g + (picture ? t->image_w : t->patch_w),
                               g + (picture ? t->image_b : t->patch_b), narrow ? narrow : dembedded,
                               model->context_patches, rows, config_patch_size(c), d, op);
}

/* The stack, and the wanted outputs side by side: out[R][count · D]. mean and rstd, [count][R], may
 * be NULL. */
static void run_encoder(Model *model, const Encoder *e, StackActivations *activations, float *out,
                        float *mean, float *rstd, const StackRows *rows) {
    const EncoderOutputs *outputs = e->outputs;
    const ParameterTable *t = e->table;
    Device *op = model->device;
    int64_t width = e->shape.width, r = rows->rows;
    for (int k = 0, from = 0; k < outputs->count; k++) {
        int to = outputs->block[k] + 1, norm = outputs->norm[k];
        op->fp8 = e->fp8;
        stack_forward(activations, &model->scratch, e->weights, t->blocks, e->shape, rows, from, to,
                      op);
        op->fp8 = false;
        float *level = outputs->count > 1 ? model->level : out;
        op->layernorm_values(level, mean ? mean + k * r : NULL, rstd ? rstd + k * r : NULL,
                             stack_output(activations, e->shape, to - 1),
                             e->weights + t->norm_w[norm], e->weights + t->norm_b[norm], r, width,
                             LAYERNORM_EPS, op);
        if (outputs->count > 1)
            op->rows_columns(out, outputs->count * width, k * width, level, width, 0, r, width,
                             sizeof(float), op);
        from = to;
    }
}

/* All that the launches of run_encoder depend on: of these addresses, the rest of the model's
 * follow. */
static uint64_t key_of(const Model *model, const Encoder *e, const float *out,
                       const StackRows *rows) {
    const void *addresses[] = {model->memory, e->weights, out, rows->token, rows->block};
    HashState state;
    uint64_t key;
    hash_start(&state);
    hash_add(&state, addresses, sizeof addresses);
    hash_add(&state, &e->fp8, sizeof e->fp8);
    hash_add(&state, e->outputs, sizeof *e->outputs);
    hash_add(&state, rows->cu_seqlens, (size_t)(rows->sequences + 1) * sizeof *rows->cu_seqlens);
    Hash hash = hash_end(&state);
    memcpy(&key, hash.bytes, sizeof key);
    return key;
}

/* run_encoder of a pass that keeps nothing; replayed where it comes again. */
static void encode_chunk(Model *model, const Encoder *e, float *out, const StackRows *rows) {
    Device *op = model->device;
    bool replays = op->graphs && op->replay;
    if (replays && op->replay(key_of(model, e, out, rows), op))
        return;
    do
        run_encoder(model, e, &model->act_target, out, NULL, NULL, rows);
    while (replays && !op->replay_end(op));
}

/* All tokens of all samples through an encoder, chunk by chunk, into target_out. */
static void encode_all(Model *model, int samples, const Encoder *e) {
    const int32_t *cu = model->cu_target_clips;
    int64_t width = e->shape.width * (int64_t)e->outputs->count;
    int32_t *own = model->staging; /* packed lengths from the start of a chunk */
    for (int first = 0; first < samples; first += model->target_chunk) {
        int count = samples - first < model->target_chunk ? samples - first : model->target_chunk;
        int64_t start = cu[first], rows = cu[first + count] - start;
        /* behind what embed stages */
        int32_t *lengths = own + model->target_chunk;
        for (int b = 0; b <= count; b++)
            lengths[b] = cu[first + b] - (int32_t)start;
        Patches patches = {.values = model->target_patches,
                           .clip = model->all_clip + start,
                           .token = model->all_token + start,
                           .count = rows};
        embed(model, e, model->act_target.blocks[0].x, &patches, patches.token, rows, lengths,
              count);
        StackRows packed = {.rows = rows,
                            .cu_seqlens = lengths,
                            .sequences = count,
                            .rope = e->rope,
                            .token = model->all_token + start,
                            .block = model->all_step ? model->all_step + start : NULL};
        encode_chunk(model, e, model->target_out + start * width, &packed);
    }
}

void model_features(Model *model, int samples, char network) {
    Encoder e = target_encoder(model, &model->features);
    if (network == 'c') {
        JEPA_ASSERT(!model->plan.config.teacher.dim);
        e.weights = model->weights;
        e.fp8 = false;
    }
    encode_all(model, samples, &e);
}

/* h = layer_norm(target_encoder(clip)), level by level, then the target tokens of each mask */
void model_forward_target(Model *model, int samples) {
    Device *op = model->device;
    Encoder e = target_encoder(model, &model->target_levels);
    encode_all(model, samples, &e);
    int64_t rows = model->cu_target_clips[samples];
    op->layernorm_values(model->target_out, NULL, NULL, model->target_out, NULL, NULL,
                         rows * e.outputs->count, e.shape.width, TARGET_LAYERNORM_EPS, op);
    op->rows_gather(model->h, NULL, model->target_out, model->target_row, NULL, NULL,
                    model->target_rows, model->target_width, op);
    if (model->hc)
        op->rows_gather(model->hc, NULL, model->target_out, model->joined_target, NULL, NULL,
                        model->joined_rows, model->target_width, op);
}

/* The packed rows of the context encoder and of the predictor. */
static StackRows context_stack(const Model *model, int samples) {
    return (StackRows){.rows = model->context_rows,
                       .cu_seqlens = model->cu_context,
                       .sequences = (int64_t)model->plan.contexts * samples,
                       .rope = model->rope,
                       .token = model->context_token,
                       .block = model->context_step,
                       .keep = model->keep};
}

static StackRows predictor_stack(const Model *model, int samples) {
    return (StackRows){.rows = model->joined_rows + model->target_rows,
                       .cu_seqlens = model->cu_predictor,
                       .sequences = (int64_t)model->plan.settings * samples,
                       .rope = model->predictor_rope,
                       .token = model->predictor_token,
                       .keep = model->predictor_keep};
}

/* context encoder: visible tokens only */
void model_forward_context(Model *model, int samples) {
    Encoder e = context_encoder(model);
    StackRows packed = context_stack(model, samples);
    Patches patches = {model->context_patches, model->patch_clip, model->patch_token,
                       model->patch_rows,      model->patch_of,   model->context_embedded};
    embed(model, &e, model->act_context.blocks[0].x, &patches, model->context_token,
          model->context_rows, model->cu_context, packed.sequences);
    run_encoder(model, &e, &model->act_context, model->context_out, model->context_mean,
                model->context_rstd, &packed);
}

/* Runs of target rows that share a mask token: one for each setting, or, with several clip lengths,
 * for each sample. */
typedef struct TokenRun {
    int32_t from, to;
    int token;
} TokenRun;

static int token_runs(const Model *model, int samples) {
    return model->plan.settings * (model->lengths_differ ? samples : 1);
}

static TokenRun token_run(const Model *model, int samples, int run) {
    int m = model->lengths_differ ? run / samples : run;
    int first = model->lengths_differ ? run : run * samples,
        last = model->lengths_differ ? run + 1 : (run + 1) * samples;
    const ModelConfig *c = &model->plan.config;
    int token = c->token_by_length ? model->sample_length[first % samples] : c->plane ? 0 : m;
    JEPA_ASSERT(token < c->mask_tokens);
    return (TokenRun){model->cu_target[first], model->cu_target[last], token};
}

/* context_out -> embedded[Rc][Dp]: a linear layer, or with several levels
 * linear, GELU, linear */
static void embed_context(Model *model) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    const float *w = model->weights;
    const Activation *x = model->context_in;
    Device *op = model->device;
    int64_t rc = model->context_rows;
    op->rows_narrow(model->context_in, model->context_out, rc * model->out_width, op);
    if (model->mixed) {
        op->linear_gelu_forward(model->mixed_gelu, model->mixed, x, w + t->levels_w,
                                w + t->levels_b, rc, model->out_width, c->dim, op);
        x = model->mixed_gelu;
    }
    op->linear_residual_forward(model->embedded, x, w + t->embed_w, w + t->embed_b, NULL, rc,
                                c->dim, c->pred_dim, op);
}

/* out[R] = projection(norm(predictor's rows)) */
static void project(Model *model, float *out, float *row, Activation *norm, float *mean,
                    float *rstd, const int32_t *place, int64_t rows, int64_t w_at, int64_t b_at) {
    const ParameterTable *t = &model->table;
    const float *w = model->weights;
    Device *op = model->device;
    int64_t dp = model->plan.config.pred_dim;
    op->rows_gather(row, NULL, model->act_predictor.out, place, NULL, NULL, rows, dp, op);
    op->layernorm_forward(norm, mean, rstd, row, w + t->pred_norm_w, w + t->pred_norm_b, rows, dp,
                          LAYERNORM_EPS, op);
    op->linear_residual_forward(out, norm, w + w_at, w + b_at, NULL, rows, dp, model->target_width,
                                op);
}

/* The weight of each target row where clips of several lengths count apart; else NULL. */
static const float *row_weights(Model *model, int samples, const LossWeights *weights) {
    if (!weights->length)
        return NULL;
    float *weight = model->staging_weight;
    for (int s = 0; s < model->plan.settings * samples; s++)
        for (int32_t i = model->cu_target[s]; i < model->cu_target[s + 1]; i++)
            weight[i] = (float)weights->length[model->sample_length[s % samples]][s / samples];
    model->device->upload(model->target_weight, weight, (size_t)model->target_rows * sizeof *weight,
                          model->device);
    return model->target_weight;
}

static const float *offset(const float *x, int64_t by) {
    return x ? x + by : NULL;
}

static void compute_losses(Model *model, int samples, const LossWeights *weights) {
    Device *op = model->device;
    int64_t width = model->target_width;
    const float *share = row_weights(model, samples, weights);
    for (int m = 0; m < model->plan.settings; m++) {
        int64_t from = model->cu_target[m * samples], to = model->cu_target[(m + 1) * samples];
        op->loss_forward(&model->leaf->loss[m], model->z + from * width, model->h + from * width,
                         to - from, width, weights->power, weights->element[m], offset(share, from),
                         op);
        from = model->cu_joined[m * samples];
        to = model->cu_joined[(m + 1) * samples];
        if (model->zc && weights->context[m] != 0)
            op->loss_forward(&model->leaf->loss[MASK_SETTINGS_MAX + m], model->zc + from * width,
                             model->hc + from * width, to - from, width, weights->power,
                             weights->context[m],
                             weights->by_distance ? model->seen_weight + from : NULL, op);
    }
    op->spread_forward(&model->leaf->reg, model->spread, model->z, model->cu_target,
                       model->plan.settings, samples, width, weights->reg_weight, op);
}

void model_forward_prediction(Model *model, int samples, const LossWeights *weights) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    Device *op = model->device;
    const float *w = model->weights;
    int64_t dp = c->pred_dim;
    model_forward_context(model, samples);

    /* predictor input: embedded context + position, mask token + position */
    float *x = model->act_predictor.blocks[0].x;
    embed_context(model);
    op->rows_gather(x, model->joined_place, model->embedded, model->joined_row,
                    model->predictor_position, model->joined_token, model->joined_rows, dp, op);
    for (int i = 0; i < token_runs(model, samples); i++) {
        TokenRun run = token_run(model, samples, i);
        op->rows_gather(x, model->target_place + run.from, w + t->mask_token[run.token],
                        model->zeros, model->predictor_position, model->target_token + run.from,
                        run.to - run.from, dp, op);
    }
    StackRows packed = predictor_stack(model, samples);
    if (c->modality)
        op->rows_gather(x, NULL, x, NULL,
                        w + (model->plan.picture ? t->pred_image_mode : t->pred_video_mode),
                        model->zeros, packed.rows, dp, op);
    stack_forward(&model->act_predictor, &model->scratch, w, t->pred_blocks, model->predictor_shape,
                  &packed, 0, c->pred_depth, op);
    project(model, model->z, model->last, model->last_norm, model->last_mean, model->last_rstd,
            model->target_place, model->target_rows, t->proj_w, t->proj_b);
    if (model->zc)
        project(model, model->zc, model->seen, model->seen_norm, model->seen_mean, model->seen_rstd,
                model->joined_place, model->joined_rows, t->context_w, t->context_b);
    compute_losses(model, samples, weights);
}

/* out = projection(norm(row)): dz[R] -> dx at the rows' places, += */
static void project_backward(Model *model, const float *row, const Activation *norm,
                             const float *mean, const float *rstd, const int32_t *place,
                             int64_t rows, int64_t w_at, int64_t b_at) {
    const ParameterTable *t = &model->table;
    const float *w = model->weights;
    float *g = model->gradients;
    Device *op = model->device;
    int64_t dp = model->plan.config.pred_dim;
    op->rows_narrow(model->dz_narrow, model->dz, rows * model->target_width, op);
    op->linear_backward_weight(g + w_at, g + b_at, model->dz_narrow, norm, rows, dp,
                               model->target_width, op);
    op->linear_backward_input(model->dnorm, model->dz_narrow, w + w_at, rows, dp,
                              model->target_width, op);
    op->zero(model->dlast, (size_t)(rows * dp) * sizeof(float), op);
    op->layernorm_backward(model->dlast, NULL, g + t->pred_norm_w, g + t->pred_norm_b, model->dnorm,
                           row, mean, rstd, w + t->pred_norm_w, rows, dp, op);
    op->rows_scatter_add(model->dx, place, model->dlast, NULL, rows, dp, op);
}

/* The losses -> dx[Rp][Dp], the gradient of the predictor's output. */
static void losses_backward(Model *model, int samples, const LossWeights *weights) {
    const ParameterTable *t = &model->table;
    Device *op = model->device;
    int64_t width = model->target_width, rows = model->joined_rows + model->target_rows;
    const float *share = weights->length ? model->target_weight : NULL;
    op->zero(model->dx, (size_t)(rows * model->plan.config.pred_dim) * sizeof(float), op);
    for (int m = 0; m < model->plan.settings; m++) {
        int64_t from = model->cu_target[m * samples], to = model->cu_target[(m + 1) * samples];
        op->loss_backward(model->dz + from * width, model->z + from * width,
                          model->h + from * width, to - from, width, weights->power,
                          weights->element[m], offset(share, from), op);
    }
    if (weights->reg_coeff != 0)
        op->spread_backward(model->dz, model->spread, model->z, model->cu_target,
                            model->plan.settings, samples, width,
                            weights->reg_coeff * weights->reg_weight, op);
    project_backward(model, model->last, model->last_norm, model->last_mean, model->last_rstd,
                     model->target_place, model->target_rows, t->proj_w, t->proj_b);
    if (!model->zc || weights->context[0] == 0)
        return;
    for (int m = 0; m < model->plan.settings; m++) {
        int64_t from = model->cu_joined[m * samples], to = model->cu_joined[(m + 1) * samples];
        op->loss_backward(model->dz + from * width, model->zc + from * width,
                          model->hc + from * width, to - from, width, weights->power,
                          weights->context[m],
                          weights->by_distance ? model->seen_weight + from : NULL, op);
    }
    project_backward(model, model->seen, model->seen_norm, model->seen_mean, model->seen_rstd,
                     model->joined_place, model->joined_rows, t->context_w, t->context_b);
}

/* embedded = embed(context_out), backward from dembedded[Rc][Dp] to dcontext */
static void embed_context_backward(Model *model, const Activation *dembedded) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    const float *w = model->weights;
    const Activation *x = model->mixed ? model->mixed_gelu : model->context_in;
    float *g = model->gradients;
    Activation *dx = model->mixed ? model->dmixed : model->dcontext;
    Device *op = model->device;
    int64_t rc = model->context_rows;
    op->linear_backward_weight(g + t->embed_w, g + t->embed_b, dembedded, x, rc, c->dim,
                               c->pred_dim, op);
    if (!model->mixed) {
        op->linear_backward_input(dx, dembedded, w + t->embed_w, rc, c->dim, c->pred_dim, op);
        return;
    }
    op->linear_gelu_backward_input(dx, NULL, dembedded, w + t->embed_w, model->mixed, rc, c->dim,
                                   c->pred_dim, op);
    op->linear_backward_weight(g + t->levels_w, g + t->levels_b, dx, model->context_in, rc,
                               model->out_width, c->dim, op);
    op->linear_backward_input(model->dcontext, dx, w + t->levels_w, rc, model->out_width, c->dim,
                              op);
}

/* context = norms(blocks(patches + position)), the last output first */
void model_backward_context(Model *model, int samples) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    const EncoderOutputs *outputs = &model->levels;
    Device *op = model->device;
    const float *w = model->weights;
    float *g = model->gradients, *dx = model->dx;
    int64_t rc = model->context_rows, d = c->dim;
    StackRows packed = context_stack(model, samples);
    op->zero(dx, (size_t)(rc * d) * sizeof(float), op);
    if (model->dfeatures)
        op->rows_narrow(model->dcontext, model->dfeatures, rc * model->out_width, op);
    for (int k = outputs->count - 1; k >= 0; k--) {
        int to = outputs->block[k] + 1, from = k ? outputs->block[k - 1] + 1 : 0,
            norm = outputs->norm[k];
        const Activation *dlevel = model->dcontext;
        if (model->dlevel) {
            op->rows_columns(model->dlevel, d, 0, model->dcontext, model->out_width, k * d, rc, d,
                             activation_size(op->precision), op);
            dlevel = model->dlevel;
        }
        op->layernorm_backward(dx, NULL, g + t->norm_w[norm], g + t->norm_b[norm], dlevel,
                               stack_output(&model->act_context, model->encoder_shape, to - 1),
                               model->context_mean + k * rc, model->context_rstd + k * rc,
                               w + t->norm_w[norm], rc, d, op);
        stack_backward(dx, g, &model->scratch, &model->act_context, w, t->blocks,
                       model->encoder_shape, &packed, from, to, model->final, op);
    }
    if (c->class_token) { /* x[class rows] = class token: nothing of it reaches the patches */
        op->rows_sum(g + t->class_token, dx, model->class_rows, packed.sequences, d, op);
        for (int64_t s = 0; s < packed.sequences; s++)
            op->zero(dx + packed.cu_seqlens[s] * d, (size_t)d * sizeof(float), op);
    }
    bool picture = model->plan.picture && c->image_patches;
    if (c->modality)
        op->rows_sum(g + (picture ? t->image_mode : t->video_mode), dx, NULL, rc, d, op);
    embed_backward(model, dx);
    gradients_final(model->final, 0, t->blocks[0].qkv_w);
    gradients_final(model->final, t->matrices[OWNER_ENCODER].end, t->owner[OWNER_ENCODER].end);
}

void model_backward(Model *model, int samples, const LossWeights *weights) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    Device *op = model->device;
    float *g = model->gradients, *dx = model->dx;
    int64_t dp = c->pred_dim;
    losses_backward(model, samples, weights);
    gradients_final(model->final, t->proj_w, t->matrices[OWNER_PREDICTOR].end);
    StackRows packed = predictor_stack(model, samples);
    stack_backward(dx, g, &model->scratch, &model->act_predictor, model->weights, t->pred_blocks,
                   model->predictor_shape, &packed, 0, c->pred_depth, model->final, op);
    if (c->modality)
        op->rows_sum(g + (model->plan.picture ? t->pred_image_mode : t->pred_video_mode), dx, NULL,
                     packed.rows, dp, op);

    /* x[target] = mask token + position,  x[context] = embed(context) + position */
    for (int i = 0; i < token_runs(model, samples); i++) {
        TokenRun run = token_run(model, samples, i);
        op->rows_sum(g + t->mask_token[run.token], dx, model->target_place + run.from,
                     run.to - run.from, dp, op);
    }
    float *dembedded = model->embedded; /* its values are no longer needed */
    op->zero(dembedded, (size_t)(model->context_rows * dp) * sizeof(float), op);
    for (int m = 0; m < model->plan.settings; m++) { /* settings may share a context */
        int64_t from = model->cu_joined[m * samples], to = model->cu_joined[(m + 1) * samples];
        op->rows_scatter_add(dembedded, model->joined_row + from, dx, model->joined_place + from,
                             to - from, dp, op);
    }
    op->rows_narrow(model->dembedded, dembedded, model->context_rows * dp, op);
    embed_context_backward(model, model->dembedded);
    gradients_final(model->final, t->matrices[OWNER_PREDICTOR].begin, t->pred_blocks[0].qkv_w);
    gradients_final(model->final, t->matrices[OWNER_PREDICTOR].end, t->owner[OWNER_PREDICTOR].end);
    model_backward_context(model, samples);
}

/* The leaves' losses in the order of their numbers. */
static void add_leaves(Model *model) {
    const int width = sizeof(ModelScalars) / sizeof(double);
    int leaves = model->plan.leaves;
    if (model->leaf_scalars)
        model->device->sums_add((double *)model->scalars, (const double *)model->leaf_scalars, 0,
                                leaves, 1, leaves, width, model->device);
}

/* Norms: Σ g² of the own blocks, then of all blocks of a network in the order of their numbers. */
static void add_norms(Model *model) {
    Device *op = model->device;
    Shard shard = model->plan.shard;
    int64_t own = shard_blocks_of(shard, shard.rank, model->blocks);
    double *sums = model->block_sums + shard.rank * model->shard_blocks;
    op->square_sums(sums, model->own_gradients, own * SHARD_BLOCK, op);
    if (shard_ranks(shard) > 1)
        ranks_share_sums(model);
    for (int owner = 0; owner < 2; owner++) {
        ParameterRange range = model->table.owner[owner];
        op->sums_add(&model->scalars->square_sum[owner], model->block_sums,
                     range.begin / SHARD_BLOCK, range.end / SHARD_BLOCK, shard_ranks(shard),
                     model->shard_blocks, 1, op);
    }
}

void model_finish_gradients(Model *model, double reg_coeff) {
    ModelScalars *scalars = model->scalars;
    add_leaves(model);
    if (model->plan.config.objective == OBJECTIVE_JEPA)
        model->device->loss_total(&scalars->total, scalars->loss, 2 * MASK_SETTINGS_MAX,
                                  &scalars->reg, reg_coeff, model->device);
    add_norms(model);
}

void model_update(Model *model, const AdamwSettings *settings) {
    Shard shard = model->plan.shard;
    for (int owner = 0; owner < 2; owner++)
        for (int group = 0; group < 2; group++) {
            ParameterRange range = model->table.group[owner][group];
            int64_t from = shard_place(shard, range.begin), to = shard_place(shard, range.end);
            AdamwSettings own = *settings;
            if (group == 1)
                own.weight_decay = 0;
            model->device->adamw_ema(
                model->own_weights + from, model->first_moment + from, model->second_moment + from,
                owner == OWNER_ENCODER && model->own_target ? model->own_target + from : NULL,
                model->own_gradients + from, to - from, &model->scalars->square_sum[owner],
                &model->scalars->total, &own, model->device);
        }
    if (shard_ranks(shard) > 1)
        ranks_gather_weights(model);
    model_weights_changed(model);
}
