/* What bfloat16 and FP8 do to the targets: the target encoder's outputs for the same clips and
 * weights in float32, in bfloat16, and in bfloat16 with its linear layers in FP8
 * (model.target_precision), before and after the layer norm that the loss puts behind them.
 *
 *   fp8_effect DIR [CLIPS] [DEVICE]
 *
 * DIR: a folder of reference values (config.json; experiments/check_reference.h), whose batches are
 * the clips; or a run, the first CLIPS (8) videos of whose index are. Errors are relative:
 * ‖a - b‖ / ‖b‖ over all tokens and channels, and the largest |a - b| over the largest |b|.
 * experiments/results/2026-11-21-fp8.md */
#include "base/file.h"
#include "experiments/check_reference.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "video/index.h"
#include "video/loader.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT32, BFLOAT16, FP8, MODES };
static const char *const modes[MODES] = {"float32", "bfloat16", "fp8"};

typedef struct Effect {
    const char *folder, *device;
    Reference reference; /* of a folder of reference values ... */
    Checkpoint checkpoint;
    Recipe recipe; /* ... or of a run */
    bool run;
    ModelConfig config;
    int samples;
    float *values;   /* [samples] clips, normalised float32; or NULL */
    uint8_t *pixels; /* or so */
    int64_t count;   /* elements of an output */
    int width;
    double *out[MODES]; /* [count] */
} Effect;

static int open_reference(Effect *e, Error *error) {
    e->reference.folder = path_join(".", e->folder);
    if (reference_open(&e->reference, error))
        return -1;
    e->config = e->reference.config;
    e->samples = e->reference.samples;
    size_t count = (size_t)(3 * e->config.frames * e->config.height * e->config.width) *
                   (size_t)e->samples;
    e->values = memory_new(count, sizeof *e->values);
    return safetensors_floats(e->values, count, &e->reference.batches, "batch0.clips", error);
}

typedef struct Source {
    const VideoIndex *index;
    const ClipSpec *spec;
} Source;

static int draw_job(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const Source *s = context;
    if (attempt > 0)
        return 0;
    clip_draw_evaluation(draw, s->index, s->index->usable_files[job], s->spec, 0, 1, 0, 1);
    return 1;
}

static int read_clips(Effect *e, Error *error) {
    ClipSpec spec = recipe_clip(&e->recipe);
    VideoIndex index;
    char *path = path_join(e->folder, "videos.index");
    int result = video_index_load(&index, path, error);
    free(path);
    if (result)
        return -1;
    if ((size_t)e->samples > index.usable)
        e->samples = (int)index.usable;
    Source source = {&index, &spec};
    LoaderConfig config = {.index = &index,
                           .spec = spec,
                           .source = {&source, draw_job},
                           .jobs = (uint64_t)e->samples,
                           .batch = e->samples,
                           .ring = 2,
                           .threads = 1};
    Loader *loader;
    if (loader_open(&loader, &config, error))
        return -1;
    const LoaderBatch *batch = loader_next(loader, error);
    size_t count = (size_t)(3 * e->config.frames * e->config.height * e->config.width);
    if (batch && batch->clips) {
        e->pixels = memory_new(count * (size_t)e->samples, 1);
        memcpy(e->pixels, batch->clips, count * (size_t)e->samples);
    } else if (batch) {
        error_set(error, ERROR_USAGE, "%s: expected data.interpolation: fast", e->folder);
    }
    loader_close(loader);
    video_index_free(&index);
    return e->pixels ? 0 : -1;
}

static int open_run(Effect *e, Error *error) {
    if (checkpoint_open(&e->checkpoint, e->folder, error) ||
        recipe_parse(&e->recipe, e->checkpoint.recipe, "the checkpoint's recipe", error))
        return -1;
    e->config = recipe_model(&e->recipe);
    return read_clips(e, error);
}

/* The target encoder's weights of a reference, as experiments/check_reference.c takes them. */
static int load_reference(const Effect *e, Model *model, Error *error) {
    const Safetensors *file = &e->reference.weights;
    size_t count = (size_t)model->target_table.owner[OWNER_ENCODER].end;
    float *flat = memory_new(count, sizeof *flat);
    int result = 0;
    for (size_t i = 0; i < model->target_table.count && !result; i++) {
        const Parameter *p = &model->target_table.parameters[i];
        char target[80];
        snprintf(target, sizeof target, "target_%s", p->name);
        if (p->owner == OWNER_ENCODER)
            result = safetensors_floats(flat + p->offset, (size_t)p->count, file,
                                        reference_has(file, target) ? target : p->name, error);
    }
    model->device->upload(model->target, flat, count * sizeof *flat, model->device);
    model_weights_changed(model);
    free(flat);
    return result;
}

static int run_mode(Effect *e, int mode, Error *error) {
    Device *device;
    Model model = {0};
    if (device_open(&device, e->device, 0, error))
        return -1;
    device_set_precision(device, mode == FLOAT32 ? PRECISION_FLOAT32 : PRECISION_BFLOAT16, true);
    ModelPlan plan = {.config = e->config,
                      .samples = e->samples,
                      .float_input = e->values != NULL,
                      .target_fp8 = mode == FP8 && device_has_fp8(device)};
    if (mode == FP8 && !plan.target_fp8)
        printf("%s has no FP8: the same as bfloat16\n", e->device);
    if (model_new(&model, &plan, device, error) ||
        (e->run ? checkpoint_load(&model, &e->checkpoint, error)
                : load_reference(e, &model, error))) {
        device_close(device);
        return -1;
    }
    ModelInput input = {.samples = e->samples, .pixels = e->pixels, .values = e->values};
    model_set_input(&model, &input);
    model_features(&model, e->samples, 't');
    e->width = model.teacher.dim;
    e->count = (int64_t)model.cu_target_clips[e->samples] * e->width;
    float *host = memory_new((size_t)e->count, sizeof *host);
    device->download(host, model.target_out, (size_t)e->count * sizeof *host, device);
    e->out[mode] = memory_new((size_t)e->count, sizeof *e->out[mode]);
    for (int64_t i = 0; i < e->count; i++)
        e->out[mode][i] = (double)host[i];
    free(host);
    model_free(&model);
    device_close(device);
    return 0;
}

/* Rows of mean 0 and variance 1, as model_forward_target makes them. */
static void normalise(double *x, int64_t rows, int width) {
    for (int64_t r = 0; r < rows; r++, x += width) {
        double mean = 0, variance = 0;
        for (int k = 0; k < width; k++)
            mean += x[k] / width;
        for (int k = 0; k < width; k++)
            variance += (x[k] - mean) * (x[k] - mean) / width;
        for (int k = 0; k < width; k++)
            x[k] = (x[k] - mean) / sqrt(variance + 1e-5);
    }
}

static void compare(const Effect *e, int a, int b, const char *where) {
    double off = 0, all = 0, worst = 0, most = 0;
    for (int64_t i = 0; i < e->count; i++) {
        double d = e->out[a][i] - e->out[b][i];
        off += d * d;
        all += e->out[b][i] * e->out[b][i];
        worst = fmax(worst, fabs(d));
        most = fmax(most, fabs(e->out[b][i]));
    }
    printf("%-17s %-8s against %-8s  norm %.2e  largest %.2e\n", where, modes[a], modes[b],
           sqrt(off / all), worst / most);
}

int main(int count, char **words) {
    Effect e = {.samples = count > 2 ? atoi(words[2]) : 8,
                .device = count > 3 ? words[3] : "cuda",
                .folder = count > 1 ? words[1] : NULL};
    Error error = {0};
    recipe_default(&e.recipe);
    if (count < 2 || e.samples < 1) {
        fprintf(stderr, "usage: fp8_effect DIR [CLIPS] [DEVICE]\n");
        return 2;
    }
    char *config = path_join(e.folder, "config.json");
    e.run = !file_exists(config);
    free(config);
    int result = e.run ? open_run(&e, &error) : open_reference(&e, &error);
    for (int mode = 0; mode < MODES && !result; mode++)
        result = run_mode(&e, mode, &error);
    if (result) {
        fprintf(stderr, "fp8_effect: %s\n", error.text);
        return 1;
    }
    printf("%s: %d clips, %lld tokens of %d channels\n", e.folder, e.samples,
           (long long)(e.count / e.width), e.width);
    for (int after = 0; after < 2; after++) {
        const char *where = after ? "after layer norm" : "before layer norm";
        for (int mode = 0; mode < MODES && after; mode++)
            normalise(e.out[mode], e.count / e.width, e.width);
        compare(&e, BFLOAT16, FLOAT32, where);
        compare(&e, FP8, FLOAT32, where);
        compare(&e, FP8, BFLOAT16, where);
    }
    return 0;
}
