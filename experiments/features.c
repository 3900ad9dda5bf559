/* jepa features: what a frozen encoder says of every clip, kept in a store (eval/store.h), so that
 * probes need not run it again; and what is in a store, for other programs. */
#include "base/log.h"
#include "eval/store_export.h"
#include "eval/store_write.h"
#include "experiments/commands.h"
#include "experiments/encoder.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL        17 /* columns before a line's value */
#define SEGMENTS_MAX 64
#define CROPS_MAX    16

typedef struct FeaturesArguments {
    EncoderArguments encoder;
    const char *data, *out, *type, *export, *npy, *safetensors, *verify;
    int64_t segments, crops, shard_clips;
    bool pooled;
} FeaturesArguments;

static void print_about(const StoreAbout *a, int64_t videos) {
    int clips = a->segments * a->views;
    double bytes = (double)videos * clips * a->rows * a->width * sizeof(uint16_t);
    printf("%-*s%s\n", LABEL, "checkpoint", a->source);
    printf("%-*s%s", LABEL, "encoder", a->network == 'c' ? "context" : "target");
    for (int i = 0; i < a->layers; i++)
        printf("%s%d", i ? "," : a->layers > 1 ? ", after blocks " : ", after block ", a->layer[i]);
    printf(", in %s\n", a->precision);
    printf("%-*s%" PRId64 " videos x %d segment%s x %d crop%s: %" PRId64 " clips of %d x %d x %d\n",
           LABEL, "clips", videos, a->segments, a->segments > 1 ? "s" : "", a->views,
           a->views > 1 ? "s" : "", videos * clips, a->clip_frames, a->height, a->width_pixels);
    bool class_token = a->rows > a->grid[0] * a->grid[1] * a->grid[2];
    printf("%-*s%s%s%d x %d x %d tokens", LABEL, "features", a->pooled ? "the mean of " : "",
           class_token ? "a class token and " : "", a->grid[0], a->grid[1], a->grid[2]);
    printf(" of %d channels a clip, %s: %.1f MB in all\n", a->width,
           a->type == STORE_FLOAT16 ? "float16" : "bfloat16", bytes / 1e6);
}

static void print_report(const StoreReport *r, const char *out) {
    printf("%-*s%s, %" PRId64 " shard%s", LABEL, "store", out, r->shards, r->shards > 1 ? "s" : "");
    if (r->failed)
        printf("; %" PRId64 " of %" PRId64 " videos have no features", r->failed, r->videos);
    putchar('\n');
    if (r->resumed == r->clips) {
        printf("%-*severything is there already: nothing to do\n", LABEL, "time");
        return;
    }
    printf("%-*s%.1f s for %" PRId64 " clips, %.1f s of it waiting for decoded ones", LABEL, "time",
           r->seconds, r->clips - r->resumed, r->wait);
    if (r->resumed)
        printf("; %" PRId64 " were there already", r->resumed);
    putchar('\n');
}

static int extract(const FeaturesArguments *a, Error *error) {
    FrozenEncoder e;
    VideoIndex index = {0};
    StoreAbout about = {0};
    StoreReport report;
    int done = 0, result = encoder_open(&e, &a->encoder, 0, error);
    if (!result)
        result = encoder_index(&index, &e, a->data, error);
    if (!result) {
        FeatureViews views = encoder_views(&e, (int)a->segments, (int)a->crops);
        StoreType type = strcmp(a->type, "bfloat16") ? STORE_FLOAT16 : STORE_BFLOAT16;
        encoder_about(&about, &e, &index, &views, a->pooled, type);
        print_about(&about, (int64_t)index.usable);
        done = store_is_done(&report, a->out, &about, error);
        result = done < 0 ? -1 : 0;
        if (!done)
            result = encoder_load(&e, error);
        if (!done && !result)
            result = store_write(&report, a->out, &e.model, &index, &e.clip, &views, &about,
                                 a->shard_clips, e.device->threads, error);
    }
    if (!result)
        print_report(&report, a->out);
    store_about_free(&about);
    video_index_free(&index);
    encoder_close(&e);
    return result;
}

static int verify(const char *folder, Error *error) {
    Store store;
    if (store_open(&store, folder, true, error))
        return -1;
    int64_t failed = 0;
    for (int64_t v = 0; v < store.videos; v++)
        failed += store.failed[v];
    print_about(&store.about, store.videos);
    printf("%-*s%s, %" PRId64 " shard%s, every hash is right", LABEL, "store", store.folder,
           store.shard_count, store.shard_count > 1 ? "s" : "");
    if (failed)
        printf("; %" PRId64 " of %" PRId64 " videos have no features", failed, store.videos);
    putchar('\n');
    store_close(&store);
    return 0;
}

static int export(const FeaturesArguments *a, Error *error) {
    Store store;
    StoreExport exported;
    if (store_open(&store, a->export, false, error))
        return -1;
    const char *out = a->npy ? a->npy : a->safetensors;
    int result = a->npy ? store_export_npy(&exported, &store, a->npy, error)
                        : store_export_safetensors(&exported, &store, a->safetensors, error);
    if (!result) {
        printf("%-*s%s: %s [%" PRId64, LABEL, "written", out, exported.type, exported.shape[0]);
        for (int i = 1; i < exported.dims; i++)
            printf(" x %" PRId64, exported.shape[i]);
        printf("], labels, names; %s\n", exported.what);
        if (exported.left_out)
            printf("%-*s%" PRId64 " videos that could not be decoded\n", LABEL, "left out",
                   exported.left_out);
    }
    store_close(&store);
    return result;
}

static int check_arguments(const FeaturesArguments *a, const TextList *rest, Error *error) {
    if (rest->count)
        return error_set(error, ERROR_USAGE, "unexpected argument \"%s\"", rest->items[0]);
    bool extracts = a->encoder.checkpoint || a->data || a->out;
    if (extracts + (a->export != NULL) + (a->verify != NULL) != 1)
        return error_set(error, ERROR_USAGE,
                         "give --checkpoint, --data and --out; or --export STORE; or --verify "
                         "STORE");
    if (!a->export && (a->npy || a->safetensors))
        return error_set(error, ERROR_USAGE, "--npy and --safetensors go with --export STORE");
    if (a->export && !a->npy == !a->safetensors)
        return error_set(error, ERROR_USAGE,
                         "--export: expected --npy DIR or --safetensors FILE, one of them");
    if (!extracts)
        return 0;
    if (!a->data || !a->out)
        return error_set(error, ERROR_USAGE,
                         "--data (the videos) and --out (the store) are needed");
    if (strcmp(a->type, "float16") && strcmp(a->type, "bfloat16"))
        return error_set(error, ERROR_USAGE, "--type %s: expected float16 or bfloat16", a->type);
    if (a->segments < 1 || a->segments > SEGMENTS_MAX || a->crops < 1 || a->crops > CROPS_MAX)
        return error_set(error, ERROR_USAGE, "--segments: expected 1 to %d; --crops: 1 to %d",
                         SEGMENTS_MAX, CROPS_MAX);
    if (a->shard_clips < 0 || a->shard_clips > 65536)
        return error_set(error, ERROR_USAGE, "--shard-clips: expected 1 to 65536");
    return encoder_check_arguments(&a->encoder, error);
}

int command_features(int argc, char **argv) {
    const CommandHelp help = {
        "jepa features --checkpoint RUN|FILE --data FOLDER|LIST.csv --out STORE",
        "Runs the frozen encoder once over every video and keeps its outputs in a store, which "
        "probes read. A stopped extraction goes on where it was when it is started again; a store "
        "of other weights, videos or settings is refused. The published settings 16x8x3 and 16x2x3 "
        "are --segments 8 (or 2) --crops 3. --export and --verify are for stores that are there."};
    FeaturesArguments a = {
        .encoder = ENCODER_ARGUMENTS, .type = "float16", .segments = 2, .crops = 1};
    const Option options[] = {
        ENCODER_OPTIONS(a.encoder),
        {"data", "PATH", "the videos: a folder, a list, or an index file", OPTION_TEXT, &a.data},
        {"out", "STORE", "folder of the store", OPTION_TEXT, &a.out},
        {"segments", "N", "clips taken from each video (default 2)", OPTION_INTEGER, &a.segments},
        {"crops", "N", "crops along the longer side of each clip (default 1: the centre)",
         OPTION_INTEGER, &a.crops},
        {"pooled", NULL, "keep the mean of each clip's tokens instead of the tokens", OPTION_FLAG,
         &a.pooled},
        {"type", "TYPE", "float16 (default) or bfloat16", OPTION_TEXT, &a.type},
        {"shard-clips", "N",
         "clips of a file of the store; default: some 128 MiB. A kill loses at most one",
         OPTION_INTEGER, &a.shard_clips},
        {"verify", "STORE", "read all of a store and hold it against its hashes", OPTION_TEXT,
         &a.verify},
        {"export", "STORE", "write a store's features for other programs", OPTION_TEXT, &a.export},
        {"npy", "DIR", "with --export: features.npy, labels.npy, videos.json in a new folder",
         OPTION_TEXT, &a.npy},
        {"safetensors", "FILE", "with --export: the same as one new file", OPTION_TEXT,
         &a.safetensors},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && !check_arguments(&a, &rest, &error)) {
        if (a.verify)
            verify(a.verify, &error);
        else if (a.export)
            export(&a, &error);
        else
            extract(&a, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa features: %s\n", error.text);
    free(a.encoder.sets.items);
    free(rest.items);
    return error.code;
}
