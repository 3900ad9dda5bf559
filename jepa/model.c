/* Planning the memory of a model, and its life. See jepa/model.h; the passes are in jepa/passes.c.
 */
#include "jepa/model.h"
#include "jepa/positions.h"
#include <stdlib.h>
#include <string.h>

/* Rows that go through the target encoder at once: large enough for GEMM, small enough for caches.
 */
#define TARGET_ROWS 2048

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Lays out everything; called once to measure and once to place. */
static void lay_out(Model *model, Arena *arena) {
    const ModelPlan *plan = &model->plan;
    const ModelConfig *c = &plan->config;
    int64_t total = model->table.total, encoder = model->table.owner[OWNER_ENCODER].end;
    int64_t n = model->tokens, b = plan->samples, patch = config_patch_size(c);
    int64_t rc = plan->context, rt = plan->target, rp = rc + rt, m = plan->settings;
    int64_t chunk = model->target_chunk;
    bool predicts = plan->settings > 0;

    arena->kind = MEMORY_WEIGHTS;
    model->weights = arena_floats(arena, total);
    model->target = arena_floats(arena, encoder);
    if (c->positions == POSITIONS_SINCOS) {
        model->position = arena_floats(arena, n * c->dim);
        model->predictor_position = arena_floats(arena, n * c->pred_dim);
    } else {
        model->rope = arena_floats(arena, n * 2 * (c->dim / c->heads));
        model->predictor_rope = arena_floats(arena, n * 2 * (c->pred_dim / c->pred_heads));
    }
    if (plan->training) {
        arena->kind = MEMORY_GRADIENTS;
        model->gradients = arena_floats(arena, total);
        arena->kind = MEMORY_OPTIMISER;
        model->first_moment = arena_floats(arena, total);
        model->second_moment = arena_floats(arena, total);
    }

    arena->kind = MEMORY_INPUT;
    int64_t clip = 3 * (int64_t)c->frames * c->height * c->width;
    model->pixels = arena_take(arena, b * clip, 1);
    model->values = plan->keep_target || plan->float_input ? arena_floats(arena, b * clip) : NULL;
    model->mirror = arena_take(arena, b, 1);
    model->all_clip = arena_indices(arena, b * n);
    model->all_token = arena_indices(arena, b * n);
    model->scalars = arena_take(arena, 1, sizeof *model->scalars);
    if (predicts) {
        model->context_clip = arena_indices(arena, rc);
        model->context_token = arena_indices(arena, rc);
        model->context_place = arena_indices(arena, rc);
        model->target_row = arena_indices(arena, rt);
        model->target_token = arena_indices(arena, rt);
        model->target_place = arena_indices(arena, rt);
        model->predictor_token = arena_indices(arena, rp);
        model->zeros = arena_indices(arena, rt);
        if (plan->training && c->drop_path > 0) {
            model->keep = arena_floats(arena, 2 * c->depth * m * b);
            model->predictor_keep = arena_floats(arena, 2 * c->pred_depth * m * b);
        }
    }

    arena->kind = MEMORY_ACTIVATIONS;
    stack_activations_take(&model->act_target, model->encoder_shape, chunk * n, plan->keep_target,
                           arena);
    model->target_patches = arena_floats(arena, chunk * n * patch);
    model->target_out = arena_floats(arena, b * n * c->dim);
    if (predicts) {
        model->h = arena_floats(arena, rt * c->dim);
        bool keep = plan->training;
        stack_activations_take(&model->act_context, model->encoder_shape, rc, keep, arena);
        model->context_patches = arena_floats(arena, rc * patch);
        model->context_out = arena_floats(arena, rc * c->dim);
        model->context_mean = arena_floats(arena, rc);
        model->context_rstd = arena_floats(arena, rc);
        stack_activations_take(&model->act_predictor, model->predictor_shape, rp, keep, arena);
        model->embedded = arena_floats(arena, rc * c->pred_dim);
        model->last = arena_floats(arena, rt * c->pred_dim);
        model->last_norm = arena_floats(arena, rt * c->pred_dim);
        model->last_mean = arena_floats(arena, rt);
        model->last_rstd = arena_floats(arena, rt);
        model->z = arena_floats(arena, rt * c->dim);
        model->spread = arena_floats(arena, m * b * c->dim);
    }
    if (plan->training) {
        arena->kind = MEMORY_WORKSPACE;
        /* One set of scratch for the encoder's and the predictor's backward pass, in turn. */
        int64_t wide = max_i64(rc * c->dim, rp * c->pred_dim);
        stack_scratch_take(&model->scratch, model->encoder_shape, rc, model->predictor_shape, rp,
                           arena);
        model->dx = arena_floats(arena, wide);
        model->dz = arena_floats(arena, rt * c->dim);
        model->dlast = arena_floats(arena, rt * c->pred_dim);
        model->dnorm = arena_floats(arena, rt * c->pred_dim);
        model->dcontext = arena_floats(arena, rc * c->dim);
    }
}

/* Sizes that follow from the plan. */
static void prepare(Model *model, const ModelPlan *plan, Device *device) {
    const ModelConfig *c = &plan->config;
    memset(model, 0, sizeof *model);
    model->plan = *plan;
    model->device = device;
    model->grid = config_grid(c);
    model->tokens = mask_grid_tokens(model->grid);
    model->target_chunk = TARGET_ROWS / model->tokens;
    if (model->target_chunk < 1)
        model->target_chunk = 1;
    if (model->target_chunk > plan->samples || plan->keep_target)
        model->target_chunk = plan->samples;
    bool drops = plan->training && c->drop_path > 0;
    model->encoder_shape = (StackShape){c->depth, c->dim, c->heads, c->hidden, c->swiglu, drops};
    model->predictor_shape = (StackShape){c->pred_depth,  c->pred_dim,    c->pred_heads,
                                          c->pred_hidden, c->pred_swiglu, drops};
    parameter_table_new(&model->table, c);
}

static void free_host(Model *model) {
    parameter_table_free(&model->table);
    free(model->act_target.blocks);
    free(model->act_context.blocks);
    free(model->act_predictor.blocks);
    free(model->cu_target_clips);
    free(model->cu_context);
    free(model->cu_target);
    free(model->cu_predictor);
    free(model->staging);
}

static size_t scratch_for(const Model *model) {
    const ModelPlan *plan = &model->plan;
    int64_t longest = model->tokens; /* context and target tokens of a sample never exceed them */
    int64_t elements = max_i64(model->table.total, plan->target * plan->config.dim);
    return device_scratch_bytes(model->device, longest, elements);
}

void model_measure(Arena *arena, size_t *scratch, const ModelPlan *plan, Device *device) {
    Model model;
    prepare(&model, plan, device);
    memset(arena, 0, sizeof *arena);
    lay_out(&model, arena);
    *scratch = scratch_for(&model);
    free_host(&model);
}

/* The fixed position tables, interpolated when the input differs from the trained size. */
static void place_positions(float *device_table, const Model *model, int width) {
    const ModelConfig *c = &model->plan.config;
    MaskGrid trained = config_trained_grid(c), grid = model->grid;
    float *table = memory_new((size_t)mask_grid_tokens(trained) * (size_t)width, sizeof *table);
    float *out = memory_new((size_t)model->tokens * (size_t)width, sizeof *out);
    positions_sincos(table, trained, width, c->uniform_power);
    if (trained.time == grid.time && trained.height == grid.height && trained.width == grid.width)
        memcpy(out, table, (size_t)model->tokens * (size_t)width * sizeof *out);
    else
        positions_interpolate(out, grid, table, trained, width);
    model->device->upload(device_table, out, (size_t)model->tokens * (size_t)width * sizeof *out,
                          model->device);
    free(table);
    free(out);
}

static void place_rope(float *device_table, const Model *model, int head) {
    const ModelConfig *c = &model->plan.config;
    size_t count = (size_t)model->tokens * 2 * (size_t)head;
    float *table = memory_new(count, sizeof *table);
    positions_rope(table, model->grid, head, c->positions, c->rope_side);
    model->device->upload(device_table, table, count * sizeof *table, model->device);
    free(table);
}

int model_new(Model *model, const ModelPlan *plan, Device *device, Error *error) {
    prepare(model, plan, device);
    Arena measure = {0};
    lay_out(model, &measure);
    if (device_reserve(device, scratch_for(model), error) ||
        device->allocate(&model->memory, measure.used, device, error)) {
        model_free(model);
        return error_prefix(error, "planning the model's memory");
    }
    model->arena.base = model->memory;
    lay_out(model, &model->arena);
    JEPA_ASSERT(model->arena.used == measure.used);

    int64_t n = model->tokens, b = plan->samples, sequences = (int64_t)plan->settings * b;
    model->cu_target_clips = memory_new((size_t)b + 1, sizeof *model->cu_target_clips);
    for (int64_t i = 0; i <= b; i++)
        model->cu_target_clips[i] = (int32_t)(i * n);
    model->cu_context = memory_new((size_t)sequences + 1, sizeof *model->cu_context);
    model->cu_target = memory_new((size_t)sequences + 1, sizeof *model->cu_target);
    model->cu_predictor = memory_new((size_t)sequences + 1, sizeof *model->cu_predictor);
    int64_t most = max_i64(b * n, plan->context + plan->target);
    model->staging = memory_new((size_t)most, sizeof *model->staging);
    for (int64_t i = 0; i < b * n; i++)
        model->staging[i] = (int32_t)(i / n);
    device->upload(model->all_clip, model->staging, (size_t)(b * n) * sizeof(int32_t), device);
    for (int64_t i = 0; i < b * n; i++)
        model->staging[i] = (int32_t)(i % n);
    device->upload(model->all_token, model->staging, (size_t)(b * n) * sizeof(int32_t), device);
    const ModelConfig *c = &plan->config;
    if (c->positions == POSITIONS_SINCOS) {
        place_positions(model->position, model, c->dim);
        place_positions(model->predictor_position, model, c->pred_dim);
    } else {
        place_rope(model->rope, model, c->dim / c->heads);
        place_rope(model->predictor_rope, model, c->pred_dim / c->pred_heads);
    }
    return 0;
}

void model_free(Model *model) {
    if (model->memory)
        model->device->release(model->memory, model->device);
    free_host(model);
    memset(model, 0, sizeof *model);
}

void model_init(Model *model, uint64_t seed) {
    size_t count = (size_t)model->table.total;
    float *flat = memory_new(count, sizeof *flat);
    parameters_init(flat, &model->table, &model->plan.config, seed);
    model->device->upload(model->weights, flat, count * sizeof *flat, model->device);
    model->device->upload(model->target, flat,
                          (size_t)model->table.owner[OWNER_ENCODER].end * sizeof *flat,
                          model->device);
    free(flat);
}
