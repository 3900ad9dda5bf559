/* A frozen encoder from --checkpoint. See experiments/encoder.h. */
#include "experiments/encoder.h"
#include "base/file.h"
#include "eval/store_write.h"
#include "jepa/recipe_compare.h"
#include "jepa/recognise.h"
#include "jepa/run.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_STEP_MOST 1000 /* as the recipe's own */
#define FPS_MOST        1000

int encoder_check_arguments(const EncoderArguments *a, Error *error) {
    if (!a->checkpoint)
        return error_set(error, ERROR_USAGE, "--checkpoint is missing: a run, or a step-N folder");
    if (strcmp(a->network, "target") && strcmp(a->network, "context"))
        return error_set(error, ERROR_USAGE, "--network %s: expected target or context",
                         a->network);
    if (a->frame_step && a->fps > 0)
        return error_set(error, ERROR_USAGE,
                         "--frame-step and --fps both say how far frames lie apart: give one");
    if (a->frame_step < 0 || a->frame_step > FRAME_STEP_MOST)
        return error_set(error, ERROR_USAGE, "--frame-step %" PRId64 ": expected 1 to %d",
                         a->frame_step, FRAME_STEP_MOST);
    if (!(a->fps >= 0 && a->fps <= FPS_MOST))
        return error_set(error, ERROR_USAGE, "--fps %g: expected a number above 0, at most %d",
                         a->fps, FPS_MOST);
    if (a->random_init < -1 || a->threads < 0)
        return error_set(error, ERROR_USAGE, "--random-init and --threads: expected 0 or more");
    return 0;
}

/* "3,7,11": the blocks whose outputs are put side by side, counted from 0; -1 is the last. */
static int parse_layers(ModelPlan *plan, const char *text, Error *error) {
    int depth = config_teacher(&plan->config).depth;
    for (const char *at = text; *at;) {
        char *end;
        long block = strtol(at, &end, 10);
        block = block < 0 ? depth + block : block;
        if (end == at || (*end && *end != ',') || block < 0 || block >= depth ||
            plan->layers == MODEL_LAYERS_MAX)
            return error_set(error, ERROR_USAGE,
                             "--layers %s: expected up to %d numbers from 0 to %d, with commas",
                             text, MODEL_LAYERS_MAX, depth - 1);
        plan->layer[plan->layers++] = (int)block;
        at = *end ? end + 1 : end;
    }
    /* they are computed one after another */
    for (int i = 1; i < plan->layers; i++)
        if (plan->layer[i] <= plan->layer[i - 1])
            return error_set(error, ERROR_USAGE, "--layers %s: expected ascending numbers", text);
    return 0;
}

/* Is it a file of weights, or the folder of one, and no checkpoint of this program? */
static bool is_weights(const char *path) {
    char *config = path_join(path, "config.json"), *run = path_join(path, "recipe.yaml");
    bool is = !folder_exists(path) ? file_exists(path) : file_exists(config) && !file_exists(run);
    free(config);
    free(run);
    return is;
}

/* What was trained, and its recipe. */
static int open_source(FrozenEncoder *e, const char *path, Error *error) {
    if (!is_weights(path)) {
        if (checkpoint_open(&e->checkpoint, path, error) ||
            recipe_parse(&e->recipe, e->checkpoint.recipe, "the checkpoint's recipe", error))
            return -1;
        e->weights = e->checkpoint.hash;
        e->source = memory_text("%s, step %" PRId64, e->checkpoint.folder, e->checkpoint.step);
        return recipe_check(&e->recipe, error);
    }
    RecogniseOptions options = {0};
    WeightsFile *file = memory_new(1, sizeof *file);
    if (weights_file_open(file, path, error)) {
        free(file);
        return -1;
    }
    e->file = file;
    Recognised *known = memory_new(1, sizeof *known);
    if (recognise(known, file, &options, error)) {
        free(known);
        return error_prefix(error, "jepa import can be told what a file does not tell");
    }
    e->recognised = known;
    if (!known->family)
        return error_set(error, ERROR_RUN, "%s: no encoder in it", path);
    if (weights_file_hash(&e->weights, file, error))
        return -1;
    char *text = recipe_text(&known->recipe);
    int result = recipe_parse(&e->recipe, text, "the recipe that was recognised", error);
    free(text);
    e->source = memory_text("%s", file->path);
    return result ? result : recipe_check(&e->recipe, error);
}

/* What random weights are known by. */
static void name_random(FrozenEncoder *e, uint64_t seed) {
    free(e->source);
    e->source = memory_text("random initialisation, seed %" PRIu64, seed);
    e->weights = hash_bytes(e->source, strlen(e->source));
}

/* The recipe as it is used from here on. */
static int settle_recipe(FrozenEncoder *e, const EncoderArguments *a, Error *error) {
    for (size_t i = 0; i < a->sets.count; i++)
        if (recipe_set(&e->recipe, a->sets.items[i], error))
            return -1;
    if (a->frame_step) {
        e->recipe.data.sampling_rate = (int)a->frame_step;
        e->recipe.data.fps = e->recipe.data.clip_duration = 0;
    }
    if (a->fps > 0) {
        e->recipe.data.fps = a->fps;
        e->recipe.data.clip_duration = 0;
    }
    e->recipe.model.target_precision = 0; /* FP8 is for training's targets, not for features */
    if (recipe_check(&e->recipe, error))
        return -1;
    e->recipe_hash = recipe_hash(&e->recipe);
    e->clip = recipe_clip(&e->recipe);
    e->clip.views = (ClipViews){0}; /* of training */
    return 0;
}

int encoder_open(FrozenEncoder *e, const EncoderArguments *a, int clips, Error *error) {
    memset(e, 0, sizeof *e);
    e->network = a->network[0];
    e->random_init = a->random_init;
    recipe_default(&e->recipe);
    if (open_source(e, a->checkpoint, error))
        return -1;
    ModelConfig trained = recipe_model(&e->recipe);
    if (settle_recipe(e, a, error) ||
        plan_open_device(&e->device, a->device, 0, (int)a->threads, error))
        return -1;
    plan_precision(e->device, &e->recipe, false);
    if (e->recipe.data.cache_bytes > 0 &&
        frame_cache_open(&e->cache, (size_t)e->recipe.data.cache_bytes, e->recipe.data.cache_folder,
                         error))
        return -1;
    ModelPlan plan = {.config = recipe_model(&e->recipe),
                      .samples = clips ? clips : ENCODER_CLIPS,
                      .float_input = e->recipe.data.interpolation == CLIP_PUBLISHED};
    plan.config.trained_frames = trained.frames; /* other input sizes: positions are interpolated */
    plan.config.trained_height = trained.height;
    plan.config.trained_width = trained.width;
    /* with a frozen teacher what was learnt is the context encoder, of other sizes perhaps */
    plan.config.teacher = (EncoderConfig){0};
    if ((a->layers && parse_layers(&plan, a->layers, error)) || config_check(&plan.config, error) ||
        model_new(&e->model, &plan, e->device, error))
        return -1;
    e->hardware = run_hardware_open(&e->recipe, e->device); /* from what memory is left */
    e->width = e->model.teacher.dim * e->model.features.count;
    if (e->random_init >= 0)
        name_random(e, (uint64_t)e->random_init);
    return 0;
}

void encoder_close(FrozenEncoder *e) {
    if (e->model.device)
        model_free(&e->model);
    frame_cache_close(e->cache);
    run_hardware_close(e->hardware);
    if (e->recognised)
        recognised_free(e->recognised);
    if (e->file)
        weights_file_close(e->file);
    free(e->recognised);
    free(e->file);
    checkpoint_close(&e->checkpoint);
    recipe_free(&e->recipe);
    device_close(e->device);
    free(e->source);
    memset(e, 0, sizeof *e);
}

int encoder_load(FrozenEncoder *e, Error *error) {
    if (e->random_init >= 0) {
        encoder_random(e, (uint64_t)e->random_init);
        return 0;
    }
    if (e->file)
        return recognised_load(&e->model, e->recognised, e->file, false, error);
    if (!recipe_teacher(&e->recipe))
        return checkpoint_load(&e->model, &e->checkpoint, error);
    if (e->network != 'c')
        return error_set(error, ERROR_USAGE,
                         "the target encoder of this run is a frozen teacher: give --network "
                         "context for what was learnt, or take the teacher's own checkpoint");
    CheckpointLoaded loaded;
    return checkpoint_load_some(&loaded, &e->model, &e->checkpoint, error);
}

void encoder_random(FrozenEncoder *e, uint64_t seed) {
    model_init(&e->model, seed);
    name_random(e, seed);
}

int encoder_index(VideoIndex *index, const FrozenEncoder *e, const char *source, Error *error) {
    Recipe recipe = e->recipe; /* whatever its own data sets were */
    recipe.data.datasets[0] = (char *)(uintptr_t)source;
    recipe.data.datasets_count = 1;
    return run_index(index, &recipe, e->device->threads, error);
}

FeatureViews encoder_views(const FrozenEncoder *e, int segments, int views) {
    return (FeatureViews){segments, views, e->recipe.data.timeout, e->cache, e->hardware};
}

void encoder_about(StoreAbout *about, const FrozenEncoder *e, const VideoIndex *index,
                   const FeatureViews *views, bool pooled, StoreType type) {
    store_about(about, &e->model, index, &e->clip, views, e->network, pooled, type);
    about->checkpoint = e->weights;
    about->recipe = e->recipe_hash;
    about->source = memory_text("%s", e->source);
}
