/* Opening checkpoints to look at them. See experiments/scene.h. */
#include "experiments/scene.h"
#include "experiments/plan.h"
#include "experiments/source.h"
#include "jepa/recognise.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int scene_open(Scene *s, const char *path, const TextList *sets, Error *error) {
    memset(s, 0, sizeof *s);
    recipe_default(&s->recipe);
    const SourceParts parts = {&s->checkpoint, &s->file, &s->recognised,
                               &s->recipe,     &s->hash, &s->source};
    if (source_open(&parts, path, error) || recipe_check(&s->recipe, error))
        return -1;
    ModelConfig trained = recipe_model(&s->recipe);
    for (size_t i = 0; sets && i < sets->count; i++)
        if (recipe_set(&s->recipe, sets->items[i], error))
            return -1;
    if (recipe_check(&s->recipe, error))
        return -1;
    s->config = recipe_model(&s->recipe);
    s->config.trained_frames = trained.frames;
    s->config.trained_height = trained.height;
    s->config.trained_width = trained.width;
    s->clip = recipe_clip(&s->recipe);
    s->clip.views = (ClipViews){0};
    return config_check(&s->config, error);
}

int scene_open_device(Scene *s, const char *device, int threads, Error *error) {
    return plan_open_device(&s->device, device, 0, threads, error);
}

void scene_close(Scene *s) {
    device_close(s->device);
    if (s->recognised)
        recognised_free(s->recognised);
    if (s->file)
        weights_file_close(s->file);
    free(s->recognised);
    free(s->file);
    free(s->source);
    recipe_free(&s->recipe);
    checkpoint_close(&s->checkpoint);
}

int scene_needs_predictor(const Scene *s, const char *what, const char *instead, Error *error) {
    if (s->config.objective == OBJECTIVE_JEPA)
        return 0;
    return error_set(
        error, ERROR_USAGE,
        "%s: this checkpoint has no predictor (objective: sigreg), so there is nothing "
        "to show of %s; possible are %s",
        s->source, what, instead);
}

int scene_predictor_trained(const Scene *s, const Model *model, const char *what,
                            const char *instead, Error *error) {
    size_t width = (size_t)s->config.pred_dim;
    float *norm = memory_new(2 * width, sizeof *norm);
    bool untouched = true, absent = s->recognised && !s->recognised->predictor;
    s->device->download(norm, model->weights + model->table.pred_norm_w, width * sizeof *norm,
                        s->device);
    s->device->download(norm + width, model->weights + model->table.pred_norm_b,
                        width * sizeof *norm, s->device);
    for (size_t i = 0; i < 2 * width; i++)
        untouched = untouched && norm[i] == (i < width ? 1.0f : 0.0f);
    free(norm);
    if (!untouched && !absent)
        return 0;
    return error_set(
        error, ERROR_USAGE,
        "%s: this checkpoint has no trained predictor (%s), so there is nothing to show "
        "of %s; possible are %s",
        s->source, absent ? "the file holds none" : "its weights are the initial ones", what,
        instead);
}

int scene_model(Model *model, const Scene *s, const ModelPlan *wanted, char network, Error *error) {
    ModelPlan plan = *wanted;
    bool by_length = plan.config.token_by_length, teacher = recipe_teacher(&s->recipe) != NULL;
    plan.config = s->config;
    plan.config.token_by_length = plan.config.token_by_length || by_length;
    plan.float_input = plan.float_input || s->clip.interpolation == CLIP_PUBLISHED;
    if (network == 'c')
        plan.config.teacher = (EncoderConfig){0};
    if (model_new(model, &plan, s->device, error))
        return -1;
    int result = 0;
    CheckpointLoaded loaded;
    if (!plan.beside && s->file)
        result = recognised_load(model, s->recognised, s->file, false, error);
    else if (!plan.beside && network == 'c' && teacher)
        result = checkpoint_load_some(&loaded, model, &s->checkpoint, error);
    else if (!plan.beside)
        result = checkpoint_load(model, &s->checkpoint, error);
    if (result)
        model_free(model);
    return result;
}

int scene_mask_token(const Scene *s) {
    int lengths[RECIPE_SOURCES_MAX], count = recipe_lengths(lengths, &s->recipe), k = 0;
    if (!s->config.token_by_length)
        return -1;
    while (k + 1 < count && lengths[k] != s->clip.frames)
        k++;
    return k;
}

int scene_late_token(const Scene *s, int mask) {
    const ModelConfig *c = &s->config;
    int token = scene_mask_token(s);
    if (token >= 0)
        return token;
    token = mask < 0 ? c->used_mask_tokens - 1 : mask;
    return c->plane || token >= c->used_mask_tokens ? 0 : token;
}
