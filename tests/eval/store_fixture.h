/* What the tests of feature stores share: a few small labelled videos, their index, and a small
 * encoder with random weights. */
#ifndef JEPA_TESTS_STORE_FIXTURE_H
#define JEPA_TESTS_STORE_FIXTURE_H

#include "base/file.h"
#include "eval/store_write.h"
#include "video/synth.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VIDEOS   8
#define SAMPLES  3 /* clips of a pass: no divisor of the clips of a video */
#define SEGMENTS 2
#define VIEWS    2
#define CLIPS    (SEGMENTS * VIEWS)
#define SEED     5

typedef struct Fixture {
    char *folder; /* videos/ and stores */
    VideoIndex index;
    ClipSpec spec;
    FeatureViews views;
    Device *device;
    Model model;
} Fixture;

/* Small clips, two blocks; `layers` 2: both are handed out. */
static inline ModelPlan fixture_plan(int layers) {
    ModelPlan plan = {.config = {.frames = 4,
                                 .height = 16,
                                 .width = 16,
                                 .tubelet = 2,
                                 .patch = 8,
                                 .trained_frames = 4,
                                 .trained_height = 16,
                                 .trained_width = 16,
                                 .dim = 24,
                                 .depth = 2,
                                 .heads = 2,
                                 .hidden = 48,
                                 .pred_dim = 12,
                                 .pred_depth = 1,
                                 .pred_heads = 2,
                                 .pred_hidden = 24,
                                 .mask_tokens = 1,
                                 .used_mask_tokens = 1,
                                 .init_std = 0.2},
                      .samples = SAMPLES,
                      .layers = layers};
    plan.layer[1] = 1;
    return plan;
}

static inline void fixture_model(Fixture *f, int layers, int threads) {
    Error error = {0};
    ModelPlan plan = fixture_plan(layers);
    if (device_open(&f->device, "cpu", threads, &error) ||
        model_new(&f->model, &plan, f->device, &error))
        fail_msg("%s", error.text);
    model_init(&f->model, SEED);
}

static inline void fixture_model_free(Fixture *f) {
    model_free(&f->model);
    device_close(f->device);
}

/* `videos` wide videos, so that views differ, in their classes' folders; the index of a folder that
 * is there already. */
static inline void fixture_videos(Fixture *f, const char *folder, int videos) {
    Error error = {0};
    f->folder = memory_text("%s", folder);
    char *path = path_join(folder, "videos");
    SynthSpec synth = {
        .videos = videos, .seed = 3, .size = 32, .frames = 12, .fps = 12, .threads = 2};
    if (!folder_exists(path) && synth_write(path, &synth, &error))
        fail_msg("%s", error.text);
    if (video_index_build(&f->index, path, 2, &error))
        fail_msg("%s", error.text);
    free(path);
    f->spec = (ClipSpec){
        .frames = 4, .step = 2, .crop = 16, .crop_width = 16, .scale = {1, 1}, .ratio = {1, 1}};
    f->views = (FeatureViews){.segments = SEGMENTS, .views = VIEWS};
}

static inline void fixture_free(Fixture *f) {
    fixture_model_free(f);
    video_index_free(&f->index);
    free(f->folder);
}

/* What a store of it is about; the weights' name and hash are made up. */
static inline StoreAbout fixture_about(const Fixture *f, bool pooled, StoreType type) {
    StoreAbout about;
    store_about(&about, &f->model, &f->index, &f->spec, &f->views, 't', pooled, type);
    about.checkpoint = hash_bytes("weights", 7);
    about.recipe = hash_bytes("recipe", 6);
    about.source = memory_text("a test");
    return about;
}

/* Extracts into a folder within the fixture's; 0 or -1 with the error. */
static inline int fixture_write(StoreReport *report, const Fixture *f, const char *name,
                                const StoreAbout *about, int threads, Error *error) {
    char *path = path_join(f->folder, name);
    Fixture *own = (Fixture *)(uintptr_t)f;
    int result = store_write(report, path, &own->model, &f->index, &f->spec, &f->views, about,
                             SAMPLES, threads, error);
    free(path);
    return result;
}

static inline void fixture_remove(const char *folder) {
    char *command = memory_text("rm -rf '%s'", folder);
    if (system(command))
        fail_msg("cannot remove %s", folder);
    free(command);
}

/* A file within the fixture's folder; the caller frees. */
static inline uint8_t *fixture_read(size_t *count, const Fixture *f, const char *store,
                                    const char *name) {
    Error error = {0};
    uint8_t *bytes;
    char *path = memory_text("%s/%s/%s", f->folder, store, name);
    if (file_read(&bytes, count, path, (size_t)1 << 26, &error))
        fail_msg("%s", error.text);
    free(path);
    return bytes;
}

static inline Fixture *fixture_begin(int layers) {
    Fixture *f = memory_new(1, sizeof *f);
    char folder[] = "/tmp/jepa_store_XXXXXX";
    assert_non_null(mkdtemp(folder));
    fixture_videos(f, folder, VIDEOS);
    fixture_model(f, layers, 2);
    return f;
}

static inline int fixture_setup(void **state) {
    *state = fixture_begin(0);
    return 0;
}

static inline int fixture_teardown(void **state) {
    Fixture *f = *state;
    fixture_remove(f->folder);
    fixture_free(f);
    free(f);
    return 0;
}

static inline void fixture_open(Store *store, const Fixture *f, const char *name) {
    Error error = {0};
    char *path = path_join(f->folder, name);
    if (store_open(store, path, true, &error))
        fail_msg("%s", error.text);
    free(path);
}

/* An error of this kind that says this; nothing stays open. */
static inline void fixture_refused(const Fixture *f, const char *name, bool verify, int code,
                                   const char *word) {
    Error error = {0};
    Store store;
    char *path = path_join(f->folder, name);
    assert_int_equal(store_open(&store, path, verify, &error), -1);
    if (error.code != code || !strstr(error.text, word) || strchr(error.text, '\n'))
        fail_msg("expected \"%s\": %s", word, error.text);
    free(path);
}

/* Are the files of two stores the same, to the byte? */
static inline void fixture_same(const Fixture *f, const char *a, const char *b) {
    const char *const names[] = {"*.bin", "*.msgpack"};
    char *command = memory_text("cd '%s' && for x in %s/%s %s/%s; do cmp -s \"$x\" "
                                "\"%s/${x##*/}\" || exit 1; done; "
                                "[ \"$(ls %s)\" = \"$(ls %s)\" ]",
                                f->folder, a, names[0], a, names[1], b, a, b);
    int status = system(command);
    if (status)
        fail_msg("%s and %s differ", a, b);
    free(command);
}

static inline void fixture_run(const Fixture *f, const char *format, ...) {
    va_list arguments;
    char command[1024];
    int at = snprintf(command, sizeof command, "cd '%s' && ", f->folder);
    va_start(arguments, format);
    vsnprintf(command + at, sizeof command - (size_t)at, format, arguments);
    va_end(arguments);
    if (system(command))
        fail_msg("%s", command);
}

#endif
