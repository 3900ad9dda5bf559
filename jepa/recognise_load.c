/* Recognised weights into a model's own buffers. See jepa/recognise.h. */
#include "jepa/recognise.h"
#include <stdio.h>
#include <stdlib.h>

/* Tensors of one network into their places in a flat buffer. */
static int fill(float *to, const ParameterTable *table, ParameterOwner owner,
                const WeightsFile *file, const char *prefix, bool allow_nonfinite, Device *device,
                Error *error) {
    int64_t first = table->owner[owner].begin, count = table->owner[owner].end - first;
    float *flat = device->on_host ? to + first : memory_new((size_t)count, sizeof *flat);
    int result = 0;
    for (size_t i = 0; i < table->count && !result; i++) {
        const Parameter *p = &table->parameters[i];
        char name[96];
        if (p->owner != owner)
            continue;
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        const WeightsTensor *t = weights_file_find(file, name);
        if (!t || t->count != p->count) /* of another recipe than recognise has found */
            result = error_set(error, ERROR_RUN,
                               "%s: %s is missing, or has another shape than the recipe asks for",
                               file->path, name);
        else if (weights_tensor_floats(flat + p->offset - first, t, allow_nonfinite, error))
            result = error_prefix(error, "%s", file->path);
    }
    if (!device->on_host) {
        if (!result)
            device->upload(to + first, flat, (size_t)count * sizeof *flat, device);
        free(flat);
    }
    return result;
}

int recognised_load(Model *model, const Recognised *r, const WeightsFile *file,
                    bool allow_nonfinite, Error *error) {
    const char *own = r->encoder ? "" : "target_", *target = r->target ? "target_" : "";
    if (fill(model->weights, &model->table, OWNER_ENCODER, file, own, allow_nonfinite,
             model->device, error) ||
        fill(model->target, &model->target_table, OWNER_ENCODER, file, target, allow_nonfinite,
             model->device, error))
        return -1;
    if ((r->predictor || r->projector) && fill(model->weights, &model->table, OWNER_PREDICTOR, file,
                                               "", allow_nonfinite, model->device, error))
        return -1;
    model_weights_changed(model);
    return 0;
}
