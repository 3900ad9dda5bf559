/* Which weights the linear layers read. See jepa/model_weights.h. */
#include "jepa/model_weights.h"
#include <string.h>

typedef struct Visit {
    const Model *model;
    Device *device;
    size_t bytes; /* of all */
    bool add;     /* take the memory too */
    bool fp8;     /* what is visited now */
    Error *error;
    int result;
} Visit;

static void visit(Visit *v, const float *w, int64_t in, int64_t out, bool backward) {
    LinearWeights weights = {w, in, out, backward, v->fp8};
    if (v->add && !v->result)
        v->result = v->device->linear_weights_add(&weights, v->device, v->error);
    else if (!v->add)
        v->bytes += v->device->linear_weights_bytes(&weights, v->device);
}

static void visit_stack(Visit *v, const float *w, const BlockOffsets *blocks, StackShape s,
                        bool backward) {
    int64_t d = s.width, f = s.hidden;
    for (int i = 0; i < s.depth; i++) {
        const BlockOffsets *o = &blocks[i];
        visit(v, w + o->qkv_w, d, 3 * d, backward);
        visit(v, w + o->proj_w, d, d, backward);
        visit(v, w + o->fc1_w, d, f, backward);
        if (s.swiglu)
            visit(v, w + o->fc2_w, d, f, backward);
        visit(v, w + o->out_w, f, d, backward);
    }
}

static void visit_patches(Visit *v, const float *w, const ParameterTable *t, const ModelConfig *c,
                          int64_t width) {
    visit(v, w + t->patch_w, config_patch_size(c), width, false);
    if (c->image_patches)
        visit(v, w + t->image_w, config_patch_size(c) / c->tubelet, width, false);
}

static void visit_all(Visit *v) {
    const Model *model = v->model;
    const ModelPlan *plan = &model->plan;
    const ModelConfig *c = &plan->config;
    const ParameterTable *t = &model->table;
    const float *w = model->weights;
    bool predicts = plan->settings > 0 && c->objective == OBJECTIVE_JEPA, back = plan->training;
    if (plan->beside)
        return;
    if (!plan->settings || predicts) {
        visit_patches(v, model->target, &model->target_table, c, model->teacher.dim);
        v->fp8 = plan->target_fp8;
        visit_stack(v, model->target, model->target_table.blocks, model->teacher_shape, false);
        v->fp8 = false;
    }
    if (!plan->settings)
        return;
    visit_patches(v, w, t, c, c->dim);
    visit_stack(v, w, t->blocks, model->encoder_shape, back);
    if (!predicts)
        return;
    if (model->levels.count > 1)
        visit(v, w + t->levels_w, model->out_width, c->dim, back);
    visit(v, w + t->embed_w, c->dim, c->pred_dim, back);
    visit_stack(v, w, t->pred_blocks, model->predictor_shape, back);
    visit(v, w + t->proj_w, c->pred_dim, model->target_width, back);
    if (c->context_loss)
        visit(v, w + t->context_w, c->pred_dim, model->target_width, back);
}

size_t model_weights_bytes(const Model *model) {
    Visit v = {.model = model, .device = model->device};
    visit_all(&v);
    return v.bytes;
}

int model_weights_register(Model *model, Error *error) {
    Visit v = {.model = model, .device = model->device, .add = true, .error = error};
    visit_all(&v);
    return v.result;
}

static int64_t target_values(const Model *model) {
    return model->target_table.owner[OWNER_ENCODER].end;
}

void model_weights_release(Model *model) {
    Device *op = model->device;
    if (model->plan.beside)
        return;
    op->linear_weights_remove(model->weights, model->weights + model->table.total, op);
    op->linear_weights_remove(model->target, model->target + target_values(model), op);
}

void model_weights_changed(Model *model) {
    Device *op = model->device;
    op->linear_weights_changed(model->weights, model->weights + model->table.total, op);
    op->linear_weights_changed(model->target, model->target + target_values(model), op);
}
