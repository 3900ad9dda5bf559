/* Planning the memory of a model, and its life. See jepa/model.h; the passes are in jepa/passes.c.
 */
#include "jepa/model.h"
#include "jepa/model_input.h"
#include "jepa/model_weights.h"
#include "jepa/positions.h"
#include <stdlib.h>
#include <string.h>

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* What is updated: with one rank the flat buffers themselves. */
static void lay_out_shard(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    int64_t encoder = shard_blocks(model->table.owner[OWNER_ENCODER].end);
    int64_t own = model->shard_blocks * SHARD_BLOCK;
    bool follows = !plan->config.frozen;
    arena->kind = MEMORY_OPTIMISER;
    model->first_moment = arena_floats(arena, own);
    model->second_moment = arena_floats(arena, own);
    if (shard_ranks(plan->shard) == 1) {
        model->own_weights = model->weights;
        model->own_target = follows ? model->target : NULL;
        model->own_gradients = model->gradients;
        return;
    }
    model->own_weights = arena_floats(arena, own);
    if (follows)
        model->own_target = arena_floats(arena, shard_most(plan->shard, encoder) * SHARD_BLOCK);
    arena->kind = MEMORY_GRADIENTS;
    model->pieces = arena_floats(arena, shard_ranks(plan->shard) * own);
    model->own_gradients = model->pieces;
}

/* The parts that two models may share. */
static void lay_out_weights(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    int64_t total = model->table.total, target = model->target_table.owner[OWNER_ENCODER].end;
    if (plan->beside) {
        model->weights = plan->beside->weights;
        model->target = plan->beside->target;
        model->gradients = plan->beside->gradients;
        model->first_moment = plan->beside->first_moment;
        model->second_moment = plan->beside->second_moment;
        model->scalars = model->leaf = plan->beside->scalars;
        model->leaf_scalars = plan->beside->leaf_scalars;
        model->own_weights = plan->beside->own_weights;
        model->own_target = plan->beside->own_target;
        model->own_gradients = plan->beside->own_gradients;
        model->pieces = plan->beside->pieces;
        model->block_sums = plan->beside->block_sums;
        return;
    }
    arena->kind = MEMORY_WEIGHTS;
    model->weights = arena_floats(arena, total);
    model->target = arena_floats(arena, target);
    if (plan->training) {
        arena->kind = MEMORY_GRADIENTS;
        for (int i = 0; i < plan->gradient_sums || !i; i++)
            model->gradient_sum[i] = arena_floats(arena, total);
        model->gradients = model->gradient_sum[0];
        arena->kind = MEMORY_OPTIMISER;
        lay_out_shard(model, arena);
    }
    arena->kind = MEMORY_INPUT;
    model->scalars = model->leaf = arena_take(arena, 1, sizeof *model->scalars);
    if (plan->training)
        model->block_sums = arena_take(arena, shard_ranks(plan->shard) * model->shard_blocks,
                                       sizeof *model->block_sums);
    if (plan->leaves)
        model->leaf_scalars = arena_take(arena, plan->leaves, sizeof *model->leaf_scalars);
}

static void lay_out_positions(Model *model, Arena *arena) {
    const ModelConfig *c = &model->plan.config;
    const EncoderConfig *t = &model->teacher;
    int64_t n = model->tokens;
    bool predicts = c->objective == OBJECTIVE_JEPA;
    arena->kind = MEMORY_WEIGHTS;
    if (c->positions == POSITIONS_SINCOS) {
        model->position = arena_floats(arena, n * c->dim);
        model->predictor_position = predicts ? arena_floats(arena, n * c->pred_dim) : NULL;
    } else {
        model->rope = arena_floats(arena, n * 2 * (c->dim / c->heads));
        if (predicts)
            model->predictor_rope = arena_floats(arena, n * 2 * (c->pred_dim / c->pred_heads));
    }
    model->target_position = model->position;
    model->target_rope = model->rope;
    if (c->teacher.dim) {
        model->target_position = model->target_rope = NULL;
        if (t->positions == POSITIONS_SINCOS)
            model->target_position = arena_floats(arena, n * t->dim);
        else
            model->target_rope = arena_floats(arena, n * 2 * (t->dim / t->heads));
    }
}

static void lay_out_input(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    const ModelConfig *c = &plan->config;
    int64_t b = plan->samples, m = plan->settings, e = plan->contexts;
    int64_t rc = plan->context, rt = plan->target, rj = plan->joined, rp = rj + rt;
    arena->kind = MEMORY_INPUT;
    int64_t clip = 3 * (int64_t)c->frames * c->height * c->width;
    model->pixels = arena_take(arena, b * clip, 1);
    model->values = plan->keep_target || plan->float_input ? arena_floats(arena, b * clip) : NULL;
    model->mirror = arena_take(arena, b, 1);
    model->all_clip = arena_indices(arena, b * model->rows);
    model->all_token = arena_indices(arena, b * model->rows);
    model->zeros = arena_indices(arena, max_i64(b * model->rows, rp));
    model->class_rows = c->class_token ? arena_indices(arena, max_i64(b, e * b)) : NULL;
    if (c->causal)
        model->all_step = arena_indices(arena, b * model->rows);
    if (!m)
        return;
    model->context_token = arena_indices(arena, rc);
    model->patch_clip = arena_indices(arena, rc);
    model->patch_token = plan->contexts > 1 ? arena_indices(arena, rc) : model->context_token;
    model->patch_of = plan->contexts > 1 ? arena_indices(arena, rc) : NULL;
    model->joined_row = arena_indices(arena, rj);
    model->joined_place = arena_indices(arena, rj);
    model->joined_token = arena_indices(arena, rj);
    model->joined_target = arena_indices(arena, rj);
    model->target_row = arena_indices(arena, rt);
    model->target_token = arena_indices(arena, rt);
    model->target_place = arena_indices(arena, rt);
    model->target_weight = arena_floats(arena, rt);
    model->predictor_token = arena_indices(arena, rp);
    if (c->causal)
        model->context_step = arena_indices(arena, rc);
    if (plan->training && c->drop_path > 0) {
        model->keep = arena_floats(arena, 2 * c->depth * e * b);
        model->predictor_keep = arena_floats(arena, 2 * c->pred_depth * m * b);
    }
}

/* Patches that contexts may see: no more than there are, nor than context tokens. */
static int64_t patches_most(const ModelPlan *plan, const Model *model) {
    int64_t all = (int64_t)plan->samples * model->tokens;
    return plan->contexts > 1 && all < plan->context ? all : plan->context;
}

static void lay_out_passes(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    const ModelConfig *c = &plan->config;
    int64_t n = model->rows, b = plan->samples, patch = config_patch_size(c);
    int64_t rc = plan->context, rt = plan->target, rj = plan->joined, rp = rj + rt;
    int64_t chunk = model->target_chunk, out = model->out_width, target = model->target_width;
    bool predicts = plan->settings > 0 && c->objective == OBJECTIVE_JEPA;
    const Device *op = model->device;
    StackKeep keep = !plan->training       ? STACK_KEEPS_NOTHING
                     : plan->checkpointing ? STACK_KEEPS_INPUTS
                                           : STACK_KEEPS_BLOCKS;
    int levels = model->levels.count;
    arena->kind = MEMORY_ACTIVATIONS;
    if (!plan->settings || predicts) {
        int64_t most = model->features.count > model->target_levels.count
                           ? model->features.count
                           : model->target_levels.count;
        stack_activations_take(&model->act_target, model->teacher_shape, chunk * n,
                               plan->keep_target ? STACK_KEEPS_BLOCKS : STACK_KEEPS_NOTHING, arena,
                               op);
        model->target_patches = arena_activations(arena, chunk * n * patch, op);
        model->target_out = arena_floats(arena, b * n * model->teacher.dim * most);
        if (most > 1)
            model->level = arena_floats(
                arena, max_i64(chunk * n * model->teacher.dim, plan->settings ? rc * c->dim : 0));
    }
    if (!plan->settings)
        return;
    stack_activations_take(&model->act_context, model->encoder_shape, rc, keep, arena, op);
    int64_t ru = patches_most(plan, model);
    model->context_patches = arena_activations(arena, ru * patch, op);
    if (plan->contexts > 1) {
        model->context_embedded = arena_floats(arena, ru * c->dim);
        model->dpatches = arena_narrowed(arena, model->context_embedded,
                                         plan->training ? ru * c->dim : 0, op);
    }
    model->context_out = arena_floats(arena, rc * out);
    model->context_in = arena_narrowed(arena, model->context_out, predicts ? rc * out : 0, op);
    model->context_mean = arena_floats(arena, levels * rc);
    model->context_rstd = arena_floats(arena, levels * rc);
    if (!predicts)
        return;
    model->h = arena_floats(arena, rt * target);
    if (levels > 1) {
        model->mixed = arena_activations(arena, rc * c->dim, op);
        model->mixed_gelu = arena_activations(arena, rc * c->dim, op);
    }
    stack_activations_take(&model->act_predictor, model->predictor_shape, rp, keep, arena, op);
    model->embedded = arena_floats(arena, rc * c->pred_dim);
    model->last = arena_floats(arena, rt * c->pred_dim);
    model->last_norm = arena_activations(arena, rt * c->pred_dim, op);
    model->last_mean = arena_floats(arena, rt);
    model->last_rstd = arena_floats(arena, rt);
    model->z = arena_floats(arena, rt * target);
    model->spread = arena_floats(arena, plan->settings * b * target);
    if (c->context_loss) {
        model->seen = arena_floats(arena, rj * c->pred_dim);
        model->seen_norm = arena_activations(arena, rj * c->pred_dim, op);
        model->seen_mean = arena_floats(arena, rj);
        model->seen_rstd = arena_floats(arena, rj);
        model->zc = arena_floats(arena, rj * target);
        model->hc = arena_floats(arena, rj * target);
        model->seen_weight = arena_floats(arena, rj);
    }
}

/* One set of scratch for every stack, in turn. */
static void lay_out_scratch(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    bool predicts = plan->config.objective == OBJECTIVE_JEPA && plan->settings > 0;
    StackShape shapes[3];
    int64_t rows[3];
    int count = 0;
    if (plan->settings) {
        shapes[count] = model->encoder_shape;
        rows[count++] = plan->context;
    }
    if (predicts) {
        shapes[count] = model->predictor_shape;
        rows[count++] = plan->joined + plan->target;
    }
    int backward = plan->training ? count : 0;
    if (!plan->settings || predicts) {
        shapes[count] = model->teacher_shape;
        rows[count++] = (int64_t)model->target_chunk * model->rows;
    }
    arena->kind = MEMORY_WORKSPACE;
    stack_scratch_take(&model->scratch, shapes, rows, count, backward, arena, model->device);
}

static void lay_out_backward(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    const ModelConfig *c = &plan->config;
    const Device *op = model->device;
    if (!plan->training)
        return;
    bool predicts = c->objective == OBJECTIVE_JEPA;
    int64_t rc = plan->context, rt = plan->target, rj = plan->joined, rp = rj + rt;
    int64_t rows = c->context_loss ? max_i64(rt, rj) : rt, context = rc * model->out_width;
    arena->kind = MEMORY_WORKSPACE;
    model->dx = arena_floats(arena, max_i64(rc * c->dim, predicts ? rp * c->pred_dim : 0));
    if (predicts) {
        model->dcontext = arena_activations(arena, context, op);
    } else {
        model->dfeatures = arena_floats(arena, context);
        model->dcontext = arena_narrowed(arena, model->dfeatures, context, op);
    }
    if (model->levels.count > 1)
        model->dlevel = arena_activations(arena, rc * c->dim, op);
    if (!predicts)
        return;
    model->dz = arena_floats(arena, rows * model->target_width);
    model->dz_narrow = arena_narrowed(arena, model->dz, rows * model->target_width, op);
    model->dlast = arena_floats(arena, rows * c->pred_dim);
    model->dnorm = arena_activations(arena, rows * c->pred_dim, op);
    model->dembedded = arena_narrowed(arena, model->embedded, rc * c->pred_dim, op);
    if (model->levels.count > 1)
        model->dmixed = arena_activations(arena, rc * c->dim, op);
}

/* Lays out everything; called once to measure and once to place. */
static void lay_out(Model *model, Arena *arena) {
    lay_out_weights(model, arena);
    lay_out_positions(model, arena);
    lay_out_input(model, arena);
    lay_out_passes(model, arena);
    lay_out_scratch(model, arena);
    lay_out_backward(model, arena);
}

/* The last `count` norms and the blocks they belong to. */
static EncoderOutputs last_levels(const EncoderConfig *e, int count) {
    EncoderOutputs outputs = {.count = count};
    for (int k = 0; k < count; k++) {
        outputs.norm[k] = e->norms - count + k;
        outputs.block[k] = config_norm_block(e, outputs.norm[k]);
    }
    return outputs;
}

/* The layers that were asked for; each with the norm of its own depth if there is one, else with
 * the last (facebookresearch/vjepa2 src/models/vision_transformer.py, out_layers). */
static EncoderOutputs feature_outputs(const EncoderConfig *e, const ModelPlan *plan) {
    EncoderOutputs outputs = last_levels(e, 1);
    if (plan->layers)
        outputs.count = plan->layers;
    for (int i = 0; i < plan->layers; i++) {
        outputs.block[i] = plan->layer[i];
        outputs.norm[i] = e->norms - 1;
        for (int k = 0; k < e->norms; k++)
            if (config_norm_block(e, k) == plan->layer[i])
                outputs.norm[i] = k;
    }
    return outputs;
}

/* Sizes that follow from the plan. */
static void prepare(Model *model, const ModelPlan *plan, Device *device) {
    const ModelConfig *c = &plan->config;
    memset(model, 0, sizeof *model);
    model->plan = *plan;
    if (!plan->contexts)
        model->plan.contexts = plan->settings;
    if (!plan->joined)
        model->plan.joined = plan->context;
    model->device = device;
    model->grid = config_grid(c);
    model->tokens = mask_grid_tokens(model->grid);
    model->rows = model->tokens + (c->class_token ? 1 : 0);
    model->target_chunk = device->rows_at_once / model->tokens;
    if (model->target_chunk < 1)
        model->target_chunk = 1;
    if (model->target_chunk > plan->samples || plan->keep_target)
        model->target_chunk = plan->samples;
    bool drops = plan->training && c->drop_path > 0;
    EncoderConfig own = config_encoder(c), *t = &model->teacher;
    *t = config_teacher(c);
    int levels = c->levels ? c->levels : 1;
    double eps = LAYERNORM_EPS;
    model->encoder_shape = (StackShape){c->depth,  c->dim, c->heads, c->hidden,
                                        c->swiglu, drops,  eps};
    model->teacher_shape = (StackShape){t->depth,  t->dim, t->heads, t->hidden,
                                        t->swiglu, false,  eps};
    model->predictor_shape = (StackShape){
        c->pred_depth, c->pred_dim, c->pred_heads, c->pred_hidden, c->pred_swiglu, drops, eps};
    model->levels = last_levels(&own, levels);
    model->target_levels = last_levels(t, levels);
    model->features = feature_outputs(t, plan);
    model->out_width = levels * c->dim;
    model->target_width = levels * t->dim;
    /* the shapes of parameters are those of the weights that are used */
    const ModelConfig *owner = plan->beside ? &plan->beside->plan.config : c;
    parameter_table_new(&model->table, owner);
    parameter_table_teacher(&model->target_table, owner);
    model->blocks = shard_blocks(model->table.total);
    model->shard_blocks = shard_most(plan->shard, model->blocks);
}

static void free_host(Model *model) {
    parameter_table_free(&model->table);
    parameter_table_free(&model->target_table);
    free(model->act_target.blocks);
    free(model->act_context.blocks);
    free(model->act_predictor.blocks);
    free(model->cu_target_clips);
    free(model->cu_context);
    free(model->cu_target);
    free(model->cu_joined);
    free(model->cu_predictor);
    free(model->staging);
    free(model->staging_weight);
    free(model->patch_staging);
    free(model->sample_length);
}

static size_t scratch_for(const Model *model) {
    const ModelPlan *plan = &model->plan;
    /* context and target of a predictor sequence may overlap (I-JEPA, allow_overlap); one more for
     * a class token */
    int64_t longest = (plan->settings ? 2 : 1) * (int64_t)model->tokens + 1;
    int64_t elements = max_i64(model->table.total,
                               max_i64(plan->target, plan->joined) * model->target_width);
    int64_t all = (int64_t)plan->samples * model->rows;
    ScratchNeeds needs = {.longest = longest,
                          .elements = elements,
                          .rows = max_i64(all, plan->joined + plan->target),
                          .width = max_i64(model->target_width, model->out_width)};
    const StackShape *stacks[] = {&model->encoder_shape, &model->teacher_shape,
                                  &model->predictor_shape};
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++)
        if (stacks[i]->heads) {
            needs.head = max_i64(needs.head, stacks[i]->width / stacks[i]->heads);
            needs.heads = max_i64(needs.heads, stacks[i]->heads);
            needs.width = max_i64(needs.width, max_i64(3 * stacks[i]->width, stacks[i]->hidden));
        }
    if (plan->target_fp8) {
        needs.fp8_rows = (int64_t)model->target_chunk * model->rows;
        needs.fp8_width = max_i64(model->teacher_shape.width, model->teacher_shape.hidden);
    }
    return device_scratch_bytes(model->device, &needs);
}

/* What each stack's attention will meet. */
static int attention_needs(AttentionNeed needs[3], const Model *model) {
    const ModelPlan *plan = &model->plan;
    const ModelConfig *c = &plan->config;
    const StackShape *t = &model->teacher_shape, *e = &model->encoder_shape,
                     *p = &model->predictor_shape;
    bool predicts = plan->settings > 0 && c->objective == OBJECTIVE_JEPA;
    int count = 0;
    if (!plan->settings || predicts)
        needs[count++] = (AttentionNeed){.width = t->width,
                                         .heads = t->heads,
                                         .sequences = model->target_chunk,
                                         .rows = (int64_t)model->target_chunk * model->rows,
                                         .longest = model->rows,
                                         .causal = c->causal};
    if (plan->settings)
        needs[count++] = (AttentionNeed){.width = e->width,
                                         .heads = e->heads,
                                         .sequences = (int64_t)plan->contexts * plan->samples,
                                         .rows = plan->context,
                                         .longest = model->rows,
                                         .varies = true,
                                         .backward = plan->training,
                                         .causal = c->causal};
    if (predicts)
        needs[count++] = (AttentionNeed){.width = p->width,
                                         .heads = p->heads,
                                         .sequences = (int64_t)plan->settings * plan->samples,
                                         .rows = plan->joined + plan->target,
                                         .longest = (c->plane ? 2 : 1) * (int64_t)model->tokens,
                                         .varies = true,
                                         .backward = plan->training};
    return count;
}

static int plan_attention(size_t *bytes, const Model *model, bool take, Error *error) {
    AttentionNeed needs[3];
    Device *device = model->device;
    *bytes = 0;
    if (!device->attention_plan)
        return 0;
    return device->attention_plan(bytes, needs, attention_needs(needs, model), take, device, error);
}

void model_measure(Arena *arena, size_t *scratch, const ModelPlan *plan, Device *device) {
    Model model;
    prepare(&model, plan, device);
    memset(arena, 0, sizeof *arena);
    lay_out(&model, arena);
    size_t kept = model_weights_bytes(&model);
    arena->by_kind[MEMORY_WEIGHTS] += kept;
    arena->used += kept;
    size_t attention;
    Error ignored = {0};
    plan_attention(&attention, &model, false, &ignored);
    *scratch = scratch_for(&model) + attention;
    free_host(&model);
}

/* The fixed position tables, interpolated when the input differs from the trained size. */
static void place_positions(float *device_table, const Model *model, int width,
                            bool uniform_power) {
    const ModelConfig *c = &model->plan.config;
    MaskGrid trained = config_trained_grid(c), grid = model->grid;
    float *table = memory_new((size_t)mask_grid_tokens(trained) * (size_t)width, sizeof *table);
    float *out = memory_new((size_t)model->tokens * (size_t)width, sizeof *out);
    if (c->plane)
        positions_sincos_image(table, trained, width);
    else
        positions_sincos(table, trained, width, uniform_power);
    if (trained.time == grid.time && trained.height == grid.height && trained.width == grid.width)
        memcpy(out, table, (size_t)model->tokens * (size_t)width * sizeof *out);
    else
        positions_interpolate(out, grid, table, trained, width);
    model->device->upload(device_table, out, (size_t)model->tokens * (size_t)width * sizeof *out,
                          model->device);
    free(table);
    free(out);
}

static void place_rope(float *device_table, const Model *model, int head, Positions form,
                       int side) {
    size_t count = (size_t)model->tokens * 2 * (size_t)head;
    float *table = memory_new(count, sizeof *table);
    positions_rope(table, model->grid, head, form, side);
    model->device->upload(device_table, table, count * sizeof *table, model->device);
    free(table);
}

static void place_tables(Model *model) {
    const ModelConfig *c = &model->plan.config;
    const EncoderConfig *t = &model->teacher;
    if (model->position)
        place_positions(model->position, model, c->dim, c->uniform_power);
    if (model->predictor_position)
        place_positions(model->predictor_position, model, c->pred_dim, c->uniform_power);
    if (model->target_position && model->target_position != model->position)
        place_positions(model->target_position, model, t->dim, t->uniform_power);
    if (model->rope)
        place_rope(model->rope, model, c->dim / c->heads, c->positions, c->rope_side);
    if (model->predictor_rope)
        place_rope(model->predictor_rope, model, c->pred_dim / c->pred_heads, c->positions,
                   c->rope_side);
    if (model->target_rope && model->target_rope != model->rope)
        place_rope(model->target_rope, model, t->dim / t->heads, t->positions, t->rope_side);
}

int model_new(Model *model, const ModelPlan *plan, Device *device, Error *error) {
    prepare(model, plan, device);
    plan = &model->plan;
    Arena measure = {0};
    size_t attention;
    lay_out(model, &measure);
    if (plan_attention(&attention, model, true, error) ||
        device_reserve(device, scratch_for(model), error) ||
        device->allocate(&model->memory, measure.used, device, error)) {
        model_free(model);
        return error_prefix(error, "planning the model's memory");
    }
    model->arena.base = model->memory;
    lay_out(model, &model->arena);
    JEPA_ASSERT(model->arena.used == measure.used);
    if (model_weights_register(model, error)) {
        model_free(model);
        return -1;
    }

    int64_t n = model->rows, b = plan->samples, sequences = (int64_t)plan->settings * b;
    model->cu_target_clips = memory_new((size_t)b + 1, sizeof *model->cu_target_clips);
    model->cu_context = memory_new((size_t)(plan->contexts * b) + 1, sizeof *model->cu_context);
    model->cu_target = memory_new((size_t)sequences + 1, sizeof *model->cu_target);
    model->cu_joined = memory_new((size_t)sequences + 1, sizeof *model->cu_joined);
    model->cu_predictor = memory_new((size_t)sequences + 1, sizeof *model->cu_predictor);
    /* index lists of a group, or the packed lengths of a chunk behind its class rows */
    int64_t most = max_i64(max_i64(b * n, plan->joined + plan->target), 2 * b + 1);
    model->staging = memory_new((size_t)most, sizeof *model->staging);
    model->staging_weight = memory_new((size_t)most, sizeof *model->staging_weight);
    if (model->patch_of)
        model->patch_staging = memory_new((size_t)(model->tokens + 3 * plan->context),
                                          sizeof *model->patch_staging);
    model->sample_length = memory_new((size_t)b, sizeof *model->sample_length);
    model_set_clips(model, NULL, plan->samples);
    place_tables(model);
    return 0;
}

void model_free(Model *model) {
    if (model->memory) {
        model_weights_release(model);
        model->device->release(model->memory, model->device);
    }
    free_host(model);
    memset(model, 0, sizeof *model);
}

void model_init(Model *model, uint64_t seed) {
    size_t count = (size_t)model->table.total;
    float *flat = memory_new(count, sizeof *flat);
    parameters_init(flat, &model->table, &model->plan.config, seed);
    model->device->upload(model->weights, flat, count * sizeof *flat, model->device);
    if (!model->plan.config.teacher.dim)
        model->device->upload(model->target, flat,
                              (size_t)model->table.owner[OWNER_ENCODER].end * sizeof *flat,
                              model->device);
    free(flat);
    model_weights_changed(model);
}
