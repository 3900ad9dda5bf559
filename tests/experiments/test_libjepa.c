/* libjepa: encodes and predicts as the program does; every wrong size, number and file is one line;
 * the library hands out jepa_* and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/store.h"
#include "experiments/libjepa.h"
#include "kernels/patches.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SETS                                                                                       \
    " --set data.batch_size=2 --set data.num_frames=8 --set data.crop_size=32"                     \
    " --set optimization.ipe=3 --set optimization.epochs=1 --set optimization.warmup=0"
#define CLIP   (3 * 8 * 32 * 32)
#define TOKENS 64 /* 4 x 4 x 4 */

typedef struct Fixture {
    char folder[64];
    char *run, *alone, *said, *video; /* alone: a run without a predictor */
    JepaModel *model;
    int64_t rows, dim, count; /* of an encoded clip */
    uint8_t clip[CLIP];       /* of the video's middle */
} Fixture;

/* Runs a command line, output to folder/said. Takes the text over. */
static void must(const Fixture *f, char *command) {
    char *line = memory_text("%s >'%s' 2>&1", command, f->said);
    int status = system(line);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        char *show = memory_text("cat '%s'", f->said);
        print_message("%s\n", line);
        assert_int_not_equal(system(show), -2);
        fail_msg("a command failed");
    }
    free(line);
    free(command);
}

static int begin(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/jepa_libjepa_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->said = path_join(f->folder, "said");
    f->run = path_join(f->folder, "run");
    f->alone = path_join(f->folder, "alone");
    f->video = path_join(f->folder, "videos/one.mp4");
    const char *recipe = JEPA_SOURCE_DIR "/experiments/recipes/small-levjepa.yaml";
    must(f, memory_text("'%s' synth --out '%s/videos' --videos 8 --size 48 --frames 20 --seed 2",
                        JEPA_PROGRAM, f->folder));
    must(f, memory_text("'%s' pretrain --data '%s/videos' --out '%s'" SETS, JEPA_PROGRAM, f->folder,
                        f->run));
    must(f,
         memory_text("'%s' pretrain --data '%s/videos' --recipe '%s' --out '%s'"
                     " --set data.batch_size=2 --set data.sampling_rate=2 --set optimization.ipe=1"
                     " --set optimization.epochs=1 --set optimization.warmup=0",
                     JEPA_PROGRAM, f->folder, recipe, f->alone));
    must(f, memory_text(
                "'%s' features --checkpoint '%s' --data '%s/videos' --out '%s/store' --segments 1"
                " --set meta.dtype=float32",
                JEPA_PROGRAM, f->run, f->folder, f->folder));
    must(f, memory_text("cp \"$(find '%s/videos' -name '*.mp4' | sort | head -n 1)\" '%s'",
                        f->folder, f->video));
    if (jepa_open(&f->model, f->run, NULL, "cpu", 2, NULL))
        fail_msg("%s", jepa_error(f->model));
    f->rows = jepa_size(f->model, JEPA_ROWS);
    f->dim = jepa_size(f->model, JEPA_DIM);
    f->count = f->rows * f->dim;
    if (jepa_read_video(f->model, f->clip, JEPA_UINT8, CLIP, NULL, f->video, -1))
        fail_msg("%s", jepa_error(f->model));
    *state = f;
    return 0;
}

static int end(void **state) {
    Fixture *f = *state;
    jepa_close(f->model);
    char *command = memory_text("rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(command);
    free(f->run);
    free(f->alone);
    free(f->video);
    free(f->said);
    free(f);
    return 0;
}

static void sizes_are_the_recipes(void **state) {
    const Fixture *f = *state;
    static const struct {
        int size, value;
    } wanted[] = {{JEPA_FRAMES, 8},
                  {JEPA_HEIGHT, 32},
                  {JEPA_WIDTH, 32},
                  {JEPA_TUBELET, 2},
                  {JEPA_PATCH, 8},
                  {JEPA_GRID_TIME, 4},
                  {JEPA_GRID_HEIGHT, 4},
                  {JEPA_GRID_WIDTH, 4},
                  {JEPA_TOKENS, TOKENS},
                  {JEPA_ROWS, TOKENS},
                  {JEPA_DIM, 96},
                  {JEPA_TARGET_DIM, 96},
                  {JEPA_MASK_TOKENS, 2},
                  {JEPA_DEPTH, 4},
                  {JEPA_HEADS, 3},
                  {JEPA_STEP, 3},
                  {-1, -1},
                  {1000, -1}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (jepa_size(f->model, wanted[i].size) != wanted[i].value)
            fail_msg("size %d is %lld, not %d", wanted[i].size,
                     (long long)jepa_size(f->model, wanted[i].size), wanted[i].value);
    assert_int_equal(jepa_abi(), JEPA_ABI);
    assert_string_equal(jepa_version(), JEPA_VERSION);
    assert_non_null(strstr(jepa_text(f->model, JEPA_SOURCE), "step-3, step 3"));
    assert_non_null(strstr(jepa_text(f->model, JEPA_RECIPE), "embed_dim: 96"));
    assert_int_equal(strlen(jepa_text(f->model, JEPA_HASH)), 64);
    assert_string_equal(jepa_text(f->model, JEPA_DEVICE), "cpu");
    assert_null(jepa_text(f->model, 99));
}

/* A store of the same videos is what the program itself says; it keeps float16, whose numbers lie
 * 2^-11 of their size apart, and the program encodes 8 clips at once, which may sum otherwise. */
static void encodes_as_features_does(void **state) {
    const Fixture *f = *state;
    float *out = memory_new((size_t)f->count, sizeof *out), *kept = memory_new((size_t)f->count, 4);
    char *folder = path_join(f->folder, "store");
    Store store;
    Error error = {0};
    if (store_open(&store, folder, true, &error))
        fail_msg("%s", error.text);
    for (int64_t v = 0; v < store.videos; v++) {
        char *path = memory_text("%s/videos/%s", f->folder, store.names[v]);
        if (jepa_encode_video(f->model, out, f->count, NULL, path, -1))
            fail_msg("%s", jepa_error(f->model));
        store_floats(kept, &store, v, 0);
        for (int64_t i = 0; i < f->count; i++)
            if (fabsf(out[i] - kept[i]) > 1e-3f * (1 + fabsf(kept[i])))
                fail_msg("%s: value %lld is %g, and %g in the store", path, (long long)i, out[i],
                         kept[i]);
        free(path);
    }
    store_close(&store);
    free(folder);
    free(out);
    free(kept);
}

/* Bytes, normalised numbers and the file itself give the same bits. */
static void inputs_agree(void **state) {
    Fixture *f = *state;
    size_t bytes = (size_t)f->count * sizeof(float);
    float *a = memory_new((size_t)f->count, sizeof *a),
          *b = memory_new((size_t)f->count, sizeof *b);
    float *values = memory_new(CLIP, sizeof *values);
    int64_t frames[8];
    assert_int_equal(jepa_encode(f->model, a, f->count, f->clip, JEPA_UINT8, CLIP), 0);
    assert_int_equal(jepa_encode_video(f->model, b, f->count, frames, f->video, -1), 0);
    assert_memory_equal(a, b, bytes);
    for (int i = 1; i < 8; i++)
        assert_int_equal(frames[i] - frames[0], 2 * i);
    assert_int_equal(jepa_read_video(f->model, values, JEPA_FLOAT32, CLIP, NULL, f->video, -1), 0);
    for (int i = 0; i < CLIP; i++) {
        int c = i / (CLIP / 3);
        float expected = (f->clip[i] / 255.0f - patch_mean[c]) / patch_std[c];
        assert_true(fabsf(values[i] - expected) < 1e-5f);
    }
    assert_int_equal(jepa_encode(f->model, b, f->count, values, JEPA_FLOAT32, CLIP), 0);
    assert_memory_equal(a, b, bytes);
    assert_int_equal(jepa_encode_video(f->model, b, f->count, frames, f->video, 0), 0);
    assert_int_equal(frames[0], 0);
    assert_memory_not_equal(a, b, bytes);
    free(values);
    free(a);
    free(b);
}

/* Seen: the first half; hidden: the rest, or its end. */
static void predicts(void **state) {
    Fixture *f = *state;
    int32_t seen[32], hidden[32];
    for (int i = 0; i < 32; i++) {
        seen[i] = i;
        hidden[i] = 32 + i;
    }
    int64_t width = jepa_size(f->model, JEPA_TARGET_DIM);
    float *z = memory_new((size_t)(32 * width), sizeof *z),
          *again = memory_new((size_t)(32 * width), sizeof *z),
          *h = memory_new((size_t)(TOKENS * width), sizeof *h);
    if (jepa_predict(f->model, z, 32 * width, h, TOKENS * width, f->clip, JEPA_UINT8, CLIP, seen,
                     32, hidden, 32, -1))
        fail_msg("%s", jepa_error(f->model));
    for (int n = 0; n < TOKENS; n++) { /* targets are normalised */
        double mean = 0, square = 0;
        for (int64_t d = 0; d < width; d++) {
            mean += h[n * width + d] / (double)width;
            square += h[n * width + d] * h[n * width + d] / (double)width;
        }
        assert_true(fabs(mean) < 1e-5);
        assert_true(fabs(square - 1) < 1e-3);
    }
    /* without targets: the same; the other mask token: another answer */
    assert_int_equal(jepa_predict(f->model, again, 32 * width, NULL, 0, f->clip, JEPA_UINT8, CLIP,
                                  seen, 32, hidden, 32, 1),
                     0);
    assert_memory_equal(z, again, (size_t)(32 * width) * sizeof *z);
    assert_int_equal(jepa_predict(f->model, again, 32 * width, NULL, 0, f->clip, JEPA_UINT8, CLIP,
                                  seen, 32, hidden, 32, 0),
                     0);
    assert_memory_not_equal(z, again, (size_t)(32 * width) * sizeof *z);
    /* what is hidden does not reach the prediction; what is seen does */
    uint8_t *other = memory_new(CLIP, 1);
    memcpy(other, f->clip, CLIP);
    for (int c = 0; c < 3; c++)
        memset(other + c * CLIP / 3 + CLIP / 6, 77, CLIP / 6); /* the later frames */
    assert_int_equal(jepa_predict(f->model, again, 32 * width, NULL, 0, other, JEPA_UINT8, CLIP,
                                  seen, 32, hidden, 32, -1),
                     0);
    assert_memory_equal(z, again, (size_t)(32 * width) * sizeof *z);
    other[5] ^= 64;
    assert_int_equal(jepa_predict(f->model, again, 32 * width, NULL, 0, other, JEPA_UINT8, CLIP,
                                  seen, 32, hidden, 32, -1),
                     0);
    assert_memory_not_equal(z, again, (size_t)(32 * width) * sizeof *z);
    assert_int_equal(jepa_predict(f->model, z, width, NULL, 0, f->clip, JEPA_UINT8, CLIP, seen, 1,
                                  hidden + 31, 1, -1),
                     0);
    free(other);
    free(z);
    free(again);
    free(h);
}

/* The call failed, and said this. */
static void refused(JepaModel *m, int result, const char *part) {
    assert_int_equal(result, -1);
    if (!strstr(jepa_error(m), part))
        fail_msg("\"%s\", without \"%s\"", jepa_error(m), part);
    assert_null(strchr(jepa_error(m), '\n'));
}

static void wrong_calls_are_refused(void **state) {
    Fixture *f = *state;
    JepaModel *m = f->model;
    int64_t n = f->count;
    float *out = memory_new((size_t)n, sizeof *out), *values = memory_new(CLIP, sizeof *values);
    refused(m, jepa_encode(m, out, n - 1, f->clip, 0, CLIP), "out has 6143 values: expected 6144");
    refused(m, jepa_encode(m, NULL, n, f->clip, 0, CLIP), "out is NULL");
    refused(m, jepa_encode(m, out, n, f->clip, 0, CLIP + 1), "the clip has");
    refused(m, jepa_encode(m, out, n, f->clip, 7, CLIP), "type 7");
    values[9] = NAN;
    refused(m, jepa_encode(m, out, n, values, 1, CLIP), "value 9 is not a finite number");
    refused(m, jepa_encode_video(m, out, n, NULL, "/tmp/no such.mp4", -1), "no such.mp4");
    refused(m, jepa_encode_video(m, out, n, NULL, NULL, -1), "path is missing");
    refused(m, jepa_encode_video(m, out, n, NULL, f->said, -1), "said");
    refused(m, jepa_encode_video(m, out, n, NULL, f->video, 6), "6");
    refused(m, jepa_encode_video(m, out, n, NULL, f->video, -2), "first frame -2");
    const int32_t seen[] = {0, 1, 2}, mixed[] = {5, 4}, far[] = {3, TOKENS}, low[] = {-1};
    const int32_t hidden[] = {2, 3};
    int64_t one = jepa_size(m, JEPA_TARGET_DIM);
    const struct {
        const int32_t *seen;
        int seen_count;
        const int32_t *hidden;
        int hidden_count;
        int64_t room, token;
        const char *part;
    } wrong[] = {{seen, 3, hidden, 2, 2 * one, -1, "token 2 is both seen and hidden"},
                 {seen, 3, mixed, 2, 2 * one, -1, "hidden: token 4 at place 1"},
                 {seen, 3, far, 2, 2 * one, -1, "hidden: token 64"},
                 {low, 1, hidden, 2, 2 * one, -1, "seen: token -1"},
                 {seen, 0, hidden, 2, 2 * one, -1, "seen: expected 1 to 64"},
                 {NULL, 3, hidden, 2, 2 * one, -1, "seen: expected 1 to 64"},
                 {seen, 65, hidden, 2, 2 * one, -1, "seen: expected 1 to 64"},
                 {seen, 2, hidden, 2, one, -1, "predicted has 96 values"},
                 {seen, 2, hidden, 2, 2 * one, 2, "mask token 2"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused(m,
                jepa_predict(m, out, wrong[i].room, NULL, 0, f->clip, 0, CLIP, wrong[i].seen,
                             wrong[i].seen_count, wrong[i].hidden, wrong[i].hidden_count,
                             (int)wrong[i].token),
                wrong[i].part);
    assert_int_equal(jepa_encode(m, out, n, f->clip, 0, CLIP), 0); /* and it goes on */
    assert_string_equal(jepa_error(m), "");
    assert_int_equal(jepa_encode(NULL, out, n, f->clip, 0, CLIP), -1);
    assert_non_null(strstr(jepa_error(NULL), "no model"));
    free(values);
    free(out);
}

static void opening_says_why_not(void **state) {
    const Fixture *f = *state;
    const char *bad_set[] = {"data.crop_size=7", NULL};
    const struct {
        const char *path, *network, *device;
        int threads;
        const char *const *sets;
        const char *part;
    } wrong[] = {{"/tmp/no such run", NULL, "cpu", 1, NULL, "no such run"},
                 {NULL, NULL, "cpu", 1, NULL, "checkpoint is missing"},
                 {f->run, "both", "cpu", 1, NULL, "expected target or context"},
                 {f->run, NULL, "abacus", 1, NULL, "abacus"},
                 {f->run, NULL, "cpu", -1, NULL, "threads -1"},
                 {f->run, NULL, "cpu", 1, bad_set, "crop_size"},
                 {f->said, NULL, "cpu", 1, NULL, "said"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        JepaModel *m;
        int result = jepa_open(&m, wrong[i].path, wrong[i].network, wrong[i].device,
                               wrong[i].threads, wrong[i].sets);
        refused(m, result, wrong[i].part);
        assert_int_equal(jepa_size(m, JEPA_ROWS), -1);
        assert_null(jepa_text(m, JEPA_SOURCE));
        refused(m, jepa_encode(m, NULL, 0, NULL, 0, 0), "not open");
        jepa_close(m);
    }
    jepa_close(NULL);
}

/* Several at once, one of another input size, one without a predictor. */
static void models_do_not_share(void **state) {
    Fixture *f = *state;
    const char *sets[] = {"data.crop_size=48", NULL};
    JepaModel *large, *context, *alone;
    float *a = memory_new((size_t)f->count, sizeof *a),
          *b = memory_new((size_t)f->count, sizeof *b);
    if (jepa_open(&large, f->run, NULL, "cpu", 1, sets))
        fail_msg("%s", jepa_error(large));
    if (jepa_open(&context, f->run, "context", "cpu", 1, NULL))
        fail_msg("%s", jepa_error(context));
    if (jepa_open(&alone, f->alone, NULL, "cpu", 1, NULL))
        fail_msg("%s", jepa_error(alone));
    assert_int_equal(jepa_size(large, JEPA_TOKENS), 4 * 6 * 6);
    assert_string_equal(jepa_text(large, JEPA_HASH), jepa_text(f->model, JEPA_HASH));
    assert_int_equal(jepa_encode(f->model, a, f->count, f->clip, 0, CLIP), 0);
    assert_int_equal(jepa_encode(context, b, f->count, f->clip, 0, CLIP), 0);
    assert_memory_not_equal(a, b, (size_t)f->count * sizeof *a);
    assert_int_equal(jepa_size(alone, JEPA_TARGET_DIM), 0);
    const int32_t seen = 0, hidden = 1;
    refused(alone, jepa_predict(alone, a, 0, NULL, 0, f->clip, 0, CLIP, &seen, 1, &hidden, 1, -1),
            "no predictor");
    int64_t rows = jepa_size(alone, JEPA_ROWS), dim = jepa_size(alone, JEPA_DIM);
    float *out = memory_new((size_t)(rows * dim), sizeof *out);
    if (jepa_encode_video(alone, out, rows * dim, NULL, f->video, -1))
        fail_msg("%s", jepa_error(alone));
    free(out);
    jepa_close(large);
    jepa_close(context);
    jepa_close(alone);
    free(a);
    free(b);
}

static void exports_its_own_names_alone(void **state) {
    const Fixture *f = *state;
    char *command = memory_text("nm -D --defined-only '%s' | awk '$3 !~ /^jepa_/ {print; bad = 1} "
                                "$3 ~ /^jepa_/ {n++} END {exit bad || n != 11}'",
                                JEPA_SHARED);
    must(f, command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_are_the_recipes),
                                       cmocka_unit_test(encodes_as_features_does),
                                       cmocka_unit_test(inputs_agree),
                                       cmocka_unit_test(predicts),
                                       cmocka_unit_test(wrong_calls_are_refused),
                                       cmocka_unit_test(opening_says_why_not),
                                       cmocka_unit_test(models_do_not_share),
                                       cmocka_unit_test(exports_its_own_names_alone)};
    return cmocka_run_group_tests(tests, begin, end);
}
