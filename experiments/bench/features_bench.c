/* What a feature store costs beside the encoder's own passes, on the same clips, in one run.
 *
 * The clips are decoded once, into memory. Then, in turn: the encoder's passes over them and
 * nothing else; and a whole extraction into a new store (copy to the host, 16 bits, hashes, writing
 * to the disk and flushing it), whose loader finds every frame decoded in a cache, so that only
 * cropping and scaling are left of decoding. See experiments/bench/features.sh. */
#include "base/file.h"
#include "base/log.h"
#include "eval/store_write.h"
#include "experiments/encoder.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES ((size_t)8 << 30)

typedef struct Bench {
    EncoderArguments encoder;
    const char *data, *out;
    int64_t segments, crops, rounds;
    bool pooled;
    FrozenEncoder e;
    VideoIndex index;
    FeatureViews views;
    int64_t clips;
    size_t clip_bytes;
    uint8_t *pixels; /* [clips][clip_bytes], float32 with published interpolation */
    bool floats;
} Bench;

/* Every clip into memory; what was decoded stays in the cache. */
static int decode(Bench *b, Error *error) {
    EvaluationClips evaluation = {&b->index, &b->e.clip, &b->views};
    LoaderConfig config = evaluation_loader(&evaluation, &b->e.model, b->e.device->threads);
    const LoaderBatch *batch;
    Loader *loader;
    const ClipSpec *spec = &b->e.clip;
    b->floats = spec->interpolation == CLIP_PUBLISHED;
    b->clip_bytes = (size_t)3 * (size_t)spec->frames * (size_t)spec->crop *
                    (size_t)clip_width(spec) * (b->floats ? sizeof(float) : 1);
    b->clips = (int64_t)config.jobs;
    b->pixels = memory_new((size_t)b->clips, b->clip_bytes);
    if (loader_open(&loader, &config, error))
        return -1;
    while ((batch = loader_next(loader, error)))
        memcpy(b->pixels + batch->first_job * b->clip_bytes,
               batch->values ? (const void *)batch->values : (const void *)batch->clips,
               (size_t)batch->count * b->clip_bytes);
    loader_close(loader);
    return error->code ? -1 : 0;
}

/* Seconds of the encoder's passes over all clips. */
static double forward(Bench *b) {
    Model *m = &b->e.model;
    double started = time_now();
    float last;
    for (int64_t first = 0; first < b->clips; first += m->plan.samples) {
        int64_t left = b->clips - first;
        const uint8_t *clips = b->pixels + (size_t)first * b->clip_bytes;
        ModelInput input = {.samples = (int)(left < m->plan.samples ? left : m->plan.samples),
                            .pixels = b->floats ? NULL : clips,
                            .values = b->floats ? (const float *)(const void *)clips : NULL};
        model_set_input(m, &input);
        model_features(m, input.samples, b->e.network);
    }
    b->e.device->download(&last, m->target_out, sizeof last, b->e.device); /* a GPU has done it */
    return time_now() - started;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(Bench *b, Error *error) {
    StoreAbout about;
    double *ratio = memory_new((size_t)b->rounds, sizeof *ratio), passes = 0;
    encoder_about(&about, &b->e, &b->index, &b->views, b->pooled, STORE_FLOAT16);
    int result = 0;
    forward(b); /* libraries make up their minds */
    printf("| round | encoder alone, s | jepa features, s | of it waiting for clips, s | ratio |\n"
           "| --- | --- | --- | --- | --- |\n");
    for (int64_t r = 0; r < b->rounds && !result; r++) {
        StoreReport report;
        char *out = memory_text("%s/store-%" PRId64, b->out, r);
        double alone = forward(b);
        result = store_write(&report, out, &b->e.model, &b->index, &b->e.clip, &b->views, &about, 0,
                             b->e.device->threads, error);
        if (!result)
            result = folder_remove(out, error);
        ratio[r] = result ? 0 : report.seconds / alone;
        passes += alone;
        if (!result)
            printf("| %" PRId64 " | %.3f | %.3f | %.3f | %.3f |\n", r + 1, alone, report.seconds,
                   report.wait, ratio[r]);
        free(out);
    }
    if (!result) {
        qsort(ratio, (size_t)b->rounds, sizeof *ratio, by_value);
        printf("median ratio %.3f; %" PRId64
               " clips of %d x %d x %d, %d rows of %d, %s, %s, %.3f s "
               "a clip\n",
               ratio[b->rounds / 2], b->clips, about.clip_frames, about.height, about.width_pixels,
               about.rows, about.width, about.precision, b->e.device->name,
               passes / (double)(b->rounds * b->clips));
    }
    store_about_free(&about);
    free(ratio);
    return result;
}

static int bench(Bench *b, Error *error) {
    FrameCache *cache = NULL;
    int result = encoder_open(&b->e, &b->encoder, 0, error);
    if (!result)
        result = encoder_load(&b->e, error);
    if (!result)
        result = encoder_index(&b->index, &b->e, b->data, error);
    if (!result)
        result = frame_cache_open(&cache, CACHE_BYTES, NULL, error);
    if (!result) {
        b->views = encoder_views(&b->e, (int)b->segments, (int)b->crops);
        b->views.cache = cache;
        result = decode(b, error);
    }
    if (!result)
        result = measure(b, error);
    free(b->pixels);
    video_index_free(&b->index);
    encoder_close(&b->e);
    frame_cache_close(cache);
    return result;
}

int main(int argc, char **argv) {
    const CommandHelp help = {
        "features_bench --checkpoint RUN --data FOLDER --out FOLDER",
        "Times extractions of features against the encoder's own passes on the same clips. Stores "
        "are written into --out and removed."};
    Bench b = {.encoder = ENCODER_ARGUMENTS, .segments = 2, .crops = 1, .rounds = 3};
    const Option options[] = {
        ENCODER_OPTIONS(b.encoder),
        {"data", "PATH", "the videos", OPTION_TEXT, &b.data},
        {"out", "DIR", "where the stores are written", OPTION_TEXT, &b.out},
        {"segments", "N", "clips of a video", OPTION_INTEGER, &b.segments},
        {"crops", "N", "crops of a clip", OPTION_INTEGER, &b.crops},
        {"rounds", "N", "of both, in turn", OPTION_INTEGER, &b.rounds},
        {"pooled", NULL, "the mean of each clip's tokens", OPTION_FLAG, &b.pooled},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && !encoder_check_arguments(&b.encoder, &error)) {
        if (!b.data || !b.out || b.rounds < 1 || b.segments < 1 || b.crops < 1)
            error_set(&error, ERROR_USAGE, "--data and --out are needed; numbers from 1 on");
        else
            bench(&b, &error);
    }
    if (error.code)
        fprintf(stderr, "features_bench: %s\n", error.text);
    free(b.encoder.sets.items);
    free(rest.items);
    return error.code;
}
