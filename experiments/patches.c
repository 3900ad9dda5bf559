/* See experiments/patches.h. */
#include "experiments/patches.h"
#include "jepa/recipe_compare.h"
#include "jepa/run.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MOST 64
#define THREADS_MOST  4096
#define CLIPS         8 /* that go through the encoder at once */

int patch_check_arguments(const PatchArguments *a, const TextList *rest, Error *error) {
    if (rest->count)
        return error_set(error, ERROR_USAGE, "unexpected argument \"%s\"", rest->items[0]);
    if (!a->checkpoint || !a->data || !a->out)
        return error_set(error, ERROR_USAGE, "--checkpoint, --data and --out are needed");
    if (a->tokens < 1 || a->tokens > BANK_ROWS_MAX)
        return error_set(error, ERROR_USAGE, "--tokens %" PRId64 ": expected 1 to %" PRId64,
                         a->tokens, BANK_ROWS_MAX);
    if (a->segments < 1 || a->segments > SEGMENTS_MOST)
        return error_set(error, ERROR_USAGE, "--segments %" PRId64 ": expected 1 to %d",
                         a->segments, SEGMENTS_MOST);
    if (a->seed < 0 || a->threads < 0 || a->threads > THREADS_MOST)
        return error_set(error, ERROR_USAGE, "--seed: 0 or more; --threads: 0 to %d", THREADS_MOST);
    return 0;
}

int patch_scene_open(PatchScene *s, const PatchArguments *a, Error *error) {
    memset(s, 0, sizeof *s);
    if (scene_open(&s->scene, a->checkpoint, &a->sets, error) ||
        scene_needs_predictor(&s->scene, "predictions", "features and probes", error) ||
        scene_open_device(&s->scene, a->device, (int)a->threads, error))
        return -1;
    s->recipe = recipe_hash(&s->scene.recipe);
    Recipe recipe = s->scene.recipe; /* whatever its own data sets were */
    recipe.data.datasets[0] = (char *)(uintptr_t)a->data;
    recipe.data.datasets_count = 1;
    return run_index(&s->index, &recipe, s->scene.device->threads, error);
}

void patch_scene_close(PatchScene *s) {
    video_index_free(&s->index);
    scene_close(&s->scene);
}

void patch_scene_about(BankAbout *about, const PatchScene *s, const PatchArguments *a) {
    *about = (BankAbout){.checkpoint = s->scene.hash,
                         .recipe = s->recipe,
                         .files = s->index.hash,
                         .source = memory_text("%s", s->scene.source),
                         .tokens = a->tokens,
                         .seed = a->seed,
                         .segments = (int)a->segments};
}

int patch_scene_gather(Bank *bank, const PatchScene *s, const PatchArguments *a, Error *error) {
    Model model;
    ModelPlan plan = {.samples = CLIPS};
    FeatureViews views = {
        .segments = (int)a->segments, .views = 1, .timeout = s->scene.recipe.data.timeout};
    if (scene_model(&model, &s->scene, &plan, 't', error))
        return -1;
    int result = bank_gather(bank, &model, &s->index, &s->scene.clip, &views,
                             s->scene.device->threads, error);
    model_free(&model);
    return result;
}
