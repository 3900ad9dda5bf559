/* A frozen encoder as the commands open it that only look through it (features, probe): checkpoint,
 * recipe with --set, device, and a model planned for passes without masks.
 *
 *   FrozenEncoder e;
 *   encoder_open(&e, &arguments, 0, &error)      nothing in memory is weights yet
 *   encoder_load(&e, &error)                     those of the checkpoint, or --random-init's
 *   encoder_random(&e, seed)                     or random ones, e.g. after the trained ones
 *   model_features(&e.model, n, e.network)       jepa/model.h; or features_extract, store_write
 *   encoder_close(&e)                            also after a failed encoder_open
 */
#ifndef JEPA_EXPERIMENTS_ENCODER_H
#define JEPA_EXPERIMENTS_ENCODER_H

#include "eval/features.h"
#include "eval/store.h"
#include "experiments/options.h"
#include "experiments/plan.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"

#define ENCODER_CLIPS 8 /* clips that go through it at once, unless the caller knows better */

/* Start from ENCODER_ARGUMENTS. Texts are the caller's. */
typedef struct EncoderArguments {
    const char *checkpoint; /* a RUN (its newest), its step-N, or a file of published weights */
    const char *network;    /* "target" or "context" */
    const char *layers;     /* "3,7,11": blocks counted from 0, -1 the last; NULL: the last */
    const char *device;     /* NULL: the GPU where one works */
    TextList sets;          /* "section.key=value"; items freed by the caller */
    int64_t frame_step;     /* frames from one to the next, instead of the recipe's; 0: its own */
    double fps;             /* frames per second, likewise; 0: its own */
    int64_t random_init;    /* seed of random weights instead of the checkpoint's; -1: its own */
    int64_t threads;        /* 0: all */
} EncoderArguments;

#define ENCODER_ARGUMENTS ((EncoderArguments){.network = "target", .random_init = -1})

/* Rows of an option table (experiments/options.h) for the arguments `a`. */
#define ENCODER_OPTIONS(a)                                                                         \
    {"checkpoint", "RUN|FILE",                                                                     \
     "a run (its newest checkpoint), a step-N folder, or a file of published weights",             \
     OPTION_TEXT, &(a).checkpoint},                                                                \
        {"network", "NAME", "target (default) or context: which encoder", OPTION_TEXT,             \
         &(a).network},                                                                            \
        {"layers", "LIST",                                                                         \
         "blocks whose outputs are taken instead of the last one's, side by side: 3,7,11",         \
         OPTION_TEXT, &(a).layers},                                                                \
        {"set", "KEY=VALUE",                                                                       \
         "change a key of the recipe, e.g. data.crop_size or meta.dtype; may be repeated",         \
         OPTION_LIST, &(a).sets},                                                                  \
        {"frame-step", "N", "frames from one of a clip to the next; default: as trained",          \
         OPTION_INTEGER, &(a).frame_step},                                                         \
        {"fps", "F", "frames per second of a clip, instead of a step", OPTION_NUMBER, &(a).fps},   \
        {"random-init", "SEED", "random weights instead of the checkpoint's: the floor",           \
         OPTION_INTEGER, &(a).random_init},                                                        \
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &(a).threads}, {             \
        "device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &(a).device                             \
    }

typedef struct FrozenEncoder {
    Checkpoint checkpoint;    /* .folder NULL: a file of weights was opened, or nothing */
    struct WeightsFile *file; /* NULL: a checkpoint was opened */
    struct Recognised *recognised;
    Recipe recipe;           /* as used: with --set, --frame-step, --fps */
    Device *device;          /* in the recipe's precision, where it can */
    Model model;             /* plan.settings 0; rows of a clip: model.rows */
    ClipSpec clip;           /* of evaluation: no local views, nothing drawn at random */
    FrameCache *cache;       /* NULL: the recipe asks for none */
    VideoHardware *hardware; /* likewise: data.decoder */
    char network;            /* 't' or 'c' */
    int64_t random_init;
    int width;        /* D of a row: layers · the encoder's width */
    Hash weights;     /* what the features depend on: see StoreAbout.checkpoint */
    Hash recipe_hash; /* recipe_hash of it */
    char *source;     /* for a person: the checkpoint's path and step, or the random seed; owned */
} FrozenEncoder;

/* Errors (ERROR_USAGE) of arguments that cannot be meant. Commands call it after parsing. */
int encoder_check_arguments(const EncoderArguments *arguments, Error *error);

/* Everything but the weights. `clips`: samples of a pass, 0 for ENCODER_CLIPS. On failure too there
 * may be something to close. */
int encoder_open(FrozenEncoder *encoder, const EncoderArguments *arguments, int clips,
                 Error *error);
void encoder_close(FrozenEncoder *encoder);

/* Weights into the model, every hash verified: the checkpoint's, or random ones where the arguments
 * say so. The target encoder of a run with a frozen teacher is not asked for (ERROR_USAGE). */
int encoder_load(FrozenEncoder *encoder, Error *error);
/* Random weights, as a run of the recipe with this seed begins; also after encoder_load. */
void encoder_random(FrozenEncoder *encoder, uint64_t seed);

/* The index of --data (a folder, a list, an index file) with the recipe's check; kept in the cache.
 * The caller frees it with video_index_free. */
int encoder_index(VideoIndex *index, const FrozenEncoder *encoder, const char *source,
                  Error *error);

/* What is looked at of each video, with the encoder's timeout and cache. */
FeatureViews encoder_views(const FrozenEncoder *encoder, int segments, int views);

/* What features of it depend on, as a store's header has it; store_about_free frees its texts.
 * Weights need not be there yet; those of encoder_random are meant only after it. */
void encoder_about(StoreAbout *about, const FrozenEncoder *encoder, const VideoIndex *index,
                   const FeatureViews *views, bool pooled, StoreType type);

#endif
