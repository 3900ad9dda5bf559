/* The passes of a training step: target encoder, context encoder, predictor, loss; and back.
 * See jepa/model.h for the letters. */
#include "jepa/model.h"
#include <stdlib.h>

void model_begin_step(Model *model) {
    Device *device = model->device;
    device->zero(model->gradients, (size_t)model->table.total * sizeof(float), device);
    device->zero(model->scalars, sizeof *model->scalars, device);
}

void model_set_input(Model *model, const ModelInput *input) {
    const ModelConfig *c = &model->plan.config;
    Device *device = model->device;
    JEPA_ASSERT(input->samples >= 1 && input->samples <= model->plan.samples);
    size_t clip = (size_t)3 * c->frames * c->height * c->width, count = (size_t)input->samples;
    if (input->pixels)
        device->upload(model->pixels, input->pixels, count * clip, device);
    if (input->values)
        device->upload(model->values, input->values, count * clip * sizeof(float), device);
    if (input->mirror)
        device->upload(model->mirror, input->mirror, count, device);
    else
        device->zero(model->mirror, count, device);
}

static void upload_indices(Model *model, int32_t *to, int64_t count) {
    model->device->upload(to, model->staging, (size_t)count * sizeof(int32_t), model->device);
}

/* Predictor sequence s is its context tokens, then its target tokens. */
void model_set_masks(Model *model, const MaskGroup *masks, int samples) {
    int sequences = model->plan.settings * samples;
    int64_t rc = masks->cu_context[sequences], rt = masks->cu_target[sequences];
    JEPA_ASSERT(rc <= model->plan.context && rt <= model->plan.target);
    model->context_rows = rc;
    model->target_rows = rt;
    for (int s = 0; s <= sequences; s++) {
        model->cu_context[s] = masks->cu_context[s];
        model->cu_target[s] = masks->cu_target[s];
        model->cu_predictor[s] = masks->cu_context[s] + masks->cu_target[s];
    }
    int32_t *staging = model->staging;
    for (int s = 0; s < sequences; s++)
        for (int32_t i = masks->cu_context[s]; i < masks->cu_context[s + 1]; i++)
            staging[i] = s % samples;
    upload_indices(model, model->context_clip, rc);
    for (int s = 0; s < sequences; s++)
        for (int32_t i = masks->cu_context[s]; i < masks->cu_context[s + 1]; i++)
            staging[i] = i + masks->cu_target[s];
    upload_indices(model, model->context_place, rc);
    for (int s = 0; s < sequences; s++)
        for (int32_t i = masks->cu_target[s]; i < masks->cu_target[s + 1]; i++)
            staging[i] = i + masks->cu_context[s + 1];
    upload_indices(model, model->target_place, rt);
    for (int s = 0; s < sequences; s++)
        for (int32_t i = masks->cu_target[s]; i < masks->cu_target[s + 1]; i++)
            staging[i] = s % samples * model->tokens + masks->target[i];
    upload_indices(model, model->target_row, rt);
    for (int s = 0; s < sequences; s++) {
        int32_t *row = staging + model->cu_predictor[s];
        for (int32_t i = masks->cu_context[s]; i < masks->cu_context[s + 1]; i++)
            *row++ = masks->context[i];
        for (int32_t i = masks->cu_target[s]; i < masks->cu_target[s + 1]; i++)
            *row++ = masks->target[i];
    }
    upload_indices(model, model->predictor_token, rc + rt);
    model->device->upload(model->context_token, masks->context, (size_t)rc * sizeof(int32_t),
                          model->device);
    model->device->upload(model->target_token, masks->target, (size_t)rt * sizeof(int32_t),
                          model->device);
}

/* 0 for a dropped branch, 1/(1-p) for one that stays; p grows linearly with the depth
 * (facebookresearch/vjepa2 src/models/vision_transformer.py, drop_path of each sample). */
static void draw_keep(Model *model, float *keep, int depth, int64_t sequences, Random *random) {
    float *scale = memory_new((size_t)(2 * depth * sequences), sizeof *scale);
    double last = model->plan.config.drop_path;
    for (int i = 0; i < 2 * depth; i++) {
        double p = depth > 1 ? last * (i / 2) / (depth - 1) : 0;
        for (int64_t s = 0; s < sequences; s++)
            scale[i * sequences + s] = random_between(random, 0, 1) < p ? 0 : (float)(1 / (1 - p));
    }
    model->device->upload(keep, scale, (size_t)(2 * depth * sequences) * sizeof *scale,
                          model->device);
    free(scale);
}

void model_set_drops(Model *model, int samples, uint64_t seed, uint64_t step, uint64_t group) {
    if (!model->keep)
        return;
    int64_t sequences = (int64_t)model->plan.settings * samples;
    Random random = random_at(seed, RANDOM_DROP_PATH, step, group);
    draw_keep(model, model->keep, model->plan.config.depth, sequences, &random);
    draw_keep(model, model->predictor_keep, model->plan.config.pred_depth, sequences, &random);
}

/* Patches -> embedding + position, into blocks[0].x of a stack. */
static void embed(Model *model, float *x, float *patches, const float *weights, const int32_t *clip,
                  const int32_t *token, int64_t rows) {
    const ModelConfig *c = &model->plan.config;
    Device *op = model->device;
    PatchShape shape = {c->frames, c->height, c->width, c->tubelet, c->patch};
    op->patches_cut(patches, model->values ? NULL : model->pixels, model->values, model->mirror,
                    clip, token, rows, &shape, op);
    op->linear_forward(x, patches, weights + model->table.patch_w, weights + model->table.patch_b,
                       NULL, rows, config_patch_size(c), c->dim, op);
    if (model->position)
        op->rows_gather(x, NULL, x, NULL, model->position, token, rows, c->dim, op);
}

/* The packed rows of the context encoder and of the predictor. */
static StackRows context_rows(const Model *model, int64_t sequences) {
    return (StackRows){.rows = model->context_rows,
                       .cu_seqlens = model->cu_context,
                       .sequences = sequences,
                       .rope = model->rope,
                       .token = model->context_token,
                       .keep = model->keep};
}

static StackRows predictor_rows(const Model *model, int64_t sequences) {
    return (StackRows){.rows = model->context_rows + model->target_rows,
                       .cu_seqlens = model->cu_predictor,
                       .sequences = sequences,
                       .rope = model->predictor_rope,
                       .token = model->predictor_token,
                       .keep = model->predictor_keep};
}

/* The mask token of setting m. */
static int mask_token(const ModelConfig *config, int m) {
    return config->token_by_length ? 0 : m;
}

/* All tokens of all samples through the encoder with `weights`, chunk by chunk, into target_out. */
static void encode_all(Model *model, int samples, const float *weights) {
    const ModelConfig *c = &model->plan.config;
    Device *op = model->device;
    int64_t n = model->tokens;
    for (int first = 0; first < samples; first += model->target_chunk) {
        int count = samples - first < model->target_chunk ? samples - first : model->target_chunk;
        int64_t rows = count * n, start = first * n;
        embed(model, model->act_target.blocks[0].x, model->target_patches, weights,
              model->all_clip + start, model->all_token + start, rows);
        StackRows packed = {.rows = rows,
                            .cu_seqlens = model->cu_target_clips,
                            .sequences = count,
                            .rope = model->rope,
                            .token = model->all_token + start};
        stack_forward(&model->act_target, weights, model->table.blocks, model->encoder_shape,
                      &packed, 0, c->depth, op);
        op->layernorm_forward(model->target_out + start * c->dim, NULL, NULL, model->act_target.out,
                              weights + model->table.norm_w, weights + model->table.norm_b, rows,
                              c->dim, LAYERNORM_EPS, op);
    }
}

void model_features(Model *model, int samples, char network) {
    encode_all(model, samples, network == 'c' ? model->weights : model->target);
}

/* h = layer_norm(target_encoder(clip)), then the target tokens of each mask */
void model_forward_target(Model *model, int samples) {
    const ModelConfig *c = &model->plan.config;
    Device *op = model->device;
    encode_all(model, samples, model->target);
    op->layernorm_forward(model->target_out, NULL, NULL, model->target_out, NULL, NULL,
                          samples * (int64_t)model->tokens, c->dim, TARGET_LAYERNORM_EPS, op);
    op->rows_gather(model->h, NULL, model->target_out, model->target_row, NULL, NULL,
                    model->target_rows, c->dim, op);
}

void model_forward_prediction(Model *model, int samples, const LossWeights *weights) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    Device *op = model->device;
    const float *w = model->weights;
    int64_t rc = model->context_rows, rt = model->target_rows, dp = c->pred_dim;
    int settings = model->plan.settings, sequences = settings * samples;

    /* context encoder: visible tokens only */
    embed(model, model->act_context.blocks[0].x, model->context_patches, w, model->context_clip,
          model->context_token, rc);
    StackRows packed = context_rows(model, sequences);
    stack_forward(&model->act_context, w, t->blocks, model->encoder_shape, &packed, 0, c->depth,
                  op);
    op->layernorm_forward(model->context_out, model->context_mean, model->context_rstd,
                          model->act_context.out, w + t->norm_w, w + t->norm_b, rc, c->dim,
                          LAYERNORM_EPS, op);

    /* predictor input: embedded context + position, mask token of the setting + position */
    float *x = model->act_predictor.blocks[0].x;
    op->linear_forward(model->embedded, model->context_out, w + t->embed_w, w + t->embed_b, NULL,
                       rc, c->dim, dp, op);
    op->rows_gather(x, model->context_place, model->embedded, NULL, model->predictor_position,
                    model->context_token, rc, dp, op);
    for (int m = 0; m < settings; m++) {
        int32_t from = model->cu_target[m * samples], to = model->cu_target[(m + 1) * samples];
        op->rows_gather(x, model->target_place + from, w + t->mask_token[mask_token(c, m)],
                        model->zeros, model->predictor_position, model->target_token + from,
                        to - from, dp, op);
    }
    packed = predictor_rows(model, sequences);
    stack_forward(&model->act_predictor, w, t->pred_blocks, model->predictor_shape, &packed, 0,
                  c->pred_depth, op);
    /* norm and projection of the target rows alone */
    op->rows_gather(model->last, NULL, model->act_predictor.out, model->target_place, NULL, NULL,
                    rt, dp, op);
    op->layernorm_forward(model->last_norm, model->last_mean, model->last_rstd, model->last,
                          w + t->pred_norm_w, w + t->pred_norm_b, rt, dp, LAYERNORM_EPS, op);
    op->linear_forward(model->z, model->last_norm, w + t->proj_w, w + t->proj_b, NULL, rt, dp,
                       c->dim, op);

    for (int m = 0; m < settings; m++) {
        int32_t from = model->cu_target[m * samples], to = model->cu_target[(m + 1) * samples];
        op->loss_forward(&model->scalars->loss[m], model->z + (int64_t)from * c->dim,
                         model->h + (int64_t)from * c->dim, to - from, c->dim, weights->power,
                         weights->element[m], NULL, op);
    }
    op->spread_forward(&model->scalars->reg, model->spread, model->z, model->cu_target, settings,
                       samples, c->dim, weights->reg_weight, op);
}

void model_backward(Model *model, int samples, const LossWeights *weights) {
    const ModelConfig *c = &model->plan.config;
    const ParameterTable *t = &model->table;
    Device *op = model->device;
    const float *w = model->weights;
    float *g = model->gradients, *dx = model->dx;
    int64_t rc = model->context_rows, rt = model->target_rows, rp = rc + rt, dp = c->pred_dim;
    int settings = model->plan.settings, sequences = settings * samples;

    for (int m = 0; m < settings; m++) {
        int64_t from = model->cu_target[m * samples], to = model->cu_target[(m + 1) * samples];
        op->loss_backward(model->dz + from * c->dim, model->z + from * c->dim,
                          model->h + from * c->dim, to - from, c->dim, weights->power,
                          weights->element[m], NULL, op);
    }
    if (weights->reg_coeff != 0)
        op->spread_backward(model->dz, model->spread, model->z, model->cu_target, settings, samples,
                            c->dim, weights->reg_coeff * weights->reg_weight, op);

    /* z = proj(norm(last)), last = target rows of the predictor's output */
    op->linear_backward_weight(g + t->proj_w, g + t->proj_b, model->dz, model->last_norm, rt, dp,
                               c->dim, op);
    op->linear_backward_input(model->dnorm, model->dz, w + t->proj_w, rt, dp, c->dim, op);
    op->zero(model->dlast, (size_t)(rt * dp) * sizeof(float), op);
    op->layernorm_backward(model->dlast, g + t->pred_norm_w, g + t->pred_norm_b, model->dnorm,
                           model->last, model->last_mean, model->last_rstd, w + t->pred_norm_w, rt,
                           dp, op);
    op->zero(dx, (size_t)(rp * dp) * sizeof(float), op);
    op->rows_scatter_add(dx, model->target_place, model->dlast, NULL, rt, dp, op);
    StackRows packed = predictor_rows(model, sequences);
    stack_backward(dx, g, &model->scratch, &model->act_predictor, w, t->pred_blocks,
                   model->predictor_shape, &packed, 0, c->pred_depth, op);

    /* x[target] = mask token + position,  x[context] = embed(context) + position */
    for (int m = 0; m < settings; m++) {
        int32_t from = model->cu_target[m * samples], to = model->cu_target[(m + 1) * samples];
        op->rows_sum(g + t->mask_token[mask_token(c, m)], dx, model->target_place + from, to - from,
                     dp, op);
    }
    float *dembedded = model->embedded; /* its values are no longer needed */
    op->rows_gather(dembedded, NULL, dx, model->context_place, NULL, NULL, rc, dp, op);
    op->linear_backward_weight(g + t->embed_w, g + t->embed_b, dembedded, model->context_out, rc,
                               c->dim, dp, op);
    op->linear_backward_input(model->dcontext, dembedded, w + t->embed_w, rc, c->dim, dp, op);

    /* context = norm(blocks(patches + position)) */
    op->zero(dx, (size_t)(rc * c->dim) * sizeof(float), op);
    op->layernorm_backward(dx, g + t->norm_w, g + t->norm_b, model->dcontext,
                           model->act_context.out, model->context_mean, model->context_rstd,
                           w + t->norm_w, rc, c->dim, op);
    packed = context_rows(model, sequences);
    stack_backward(dx, g, &model->scratch, &model->act_context, w, t->blocks, model->encoder_shape,
                   &packed, 0, c->depth, op);
    op->linear_backward_weight(g + t->patch_w, g + t->patch_b, dx, model->context_patches, rc,
                               config_patch_size(c), c->dim, op);
}

void model_finish_gradients(Model *model, double reg_coeff) {
    ModelScalars *scalars = model->scalars;
    model->device->loss_total(&scalars->total, scalars->loss, model->plan.settings, &scalars->reg,
                              reg_coeff, model->device);
    for (int owner = 0; owner < 2; owner++) {
        ParameterRange range = model->table.owner[owner];
        model->device->square_sum(&model->scalars->square_sum[owner],
                                  model->gradients + range.begin, range.end - range.begin,
                                  model->device);
    }
}

void model_update(Model *model, const AdamwSettings *settings) {
    for (int owner = 0; owner < 2; owner++)
        for (int group = 0; group < 2; group++) {
            ParameterRange range = model->table.group[owner][group];
            AdamwSettings own = *settings;
            if (group == 1)
                own.weight_decay = 0;
            model->device->adamw_ema(
                model->weights + range.begin, model->first_moment + range.begin,
                model->second_moment + range.begin,
                owner == OWNER_ENCODER ? model->target + range.begin : NULL,
                model->gradients + range.begin, range.end - range.begin,
                &model->scalars->square_sum[owner], &model->scalars->total, &own, model->device);
        }
}
