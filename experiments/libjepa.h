/* libjepa: a trained model for other languages, through a small C interface. Loads what `jepa`
 * loads (a RUN, its step-N, a file of published weights), encodes clips and video files, and
 * predicts hidden tokens. notebooks/jepa.py binds it to Python.
 *
 *   JepaModel *model;
 *   int failed = jepa_open(&model, "run", NULL, NULL, 0, NULL);
 *   if (!failed) {
 *       int64_t count = jepa_size(model, JEPA_ROWS) * jepa_size(model, JEPA_DIM);
 *       float *out = malloc(count * sizeof *out);                   out[rows][dim]
 *       failed = jepa_encode_video(model, out, count, NULL, "clip.mp4", -1);
 *       ...
 *       free(out);
 *   }
 *   if (failed)
 *       puts(jepa_error(model));
 *   jepa_close(model);                                              also after a failed jepa_open
 *
 * A clip is [3][frames][height][width] (red, green, blue), uint8, or float32 normalised by
 * (x/255 - mean) / deviation with mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224, 0.225. A
 * token n is the tubelet (t, h, w) = (n / (H W), n / W mod H, n mod W) of it. Everything is
 * computed in float32.
 *
 * Functions return 0, or -1 with a line in jepa_error. Every buffer comes with the number of values
 * it holds, which must be exactly what the model's sizes say.
 *
 * Different models may be used by different threads, whichever opened them; one model by one thread
 * at a time. What else belongs to the process: while a call computes, OpenBLAS has one thread in
 * all of it, and OpenMP in the calling thread (the model's own threads are started beside); both
 * have their numbers back when the last such call returns. FFmpeg's messages are switched off
 * (av_log_set_level) when a video is read, and stay off. Some failures cannot be handed back: where
 * memory runs out below what is planned at opening, where a GPU or its libraries fail in the middle
 * of a computation, and at a broken invariant, the process ends (abort) with a line on stderr. A
 * model that does not fit into memory is an ordinary error of jepa_open.
 *
 * Numbers and meanings below only ever grow; JEPA_ABI changes when they do not. */
#ifndef JEPA_EXPERIMENTS_LIBJEPA_H
#define JEPA_EXPERIMENTS_LIBJEPA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JEPA_ABI 1
#define JEPA_API __attribute__((visibility("default")))

typedef struct JepaModel JepaModel;

typedef enum JepaSize {
    JEPA_FRAMES = 0,      /* of a clip */
    JEPA_HEIGHT = 1,      /* pixels */
    JEPA_WIDTH = 2,       /* pixels */
    JEPA_TUBELET = 3,     /* frames of a token */
    JEPA_PATCH = 4,       /* height and width of a token in pixels */
    JEPA_GRID_TIME = 5,   /* T */
    JEPA_GRID_HEIGHT = 6, /* H */
    JEPA_GRID_WIDTH = 7,  /* W */
    JEPA_TOKENS = 8,      /* N = T H W */
    JEPA_ROWS = 9, /* of an encoded clip: N, or N + 1 with a class token, which comes first */
    JEPA_DIM = 10, /* of such a row */
    JEPA_TARGET_DIM = 11,  /* of a predicted token; 0: there is no predictor */
    JEPA_MASK_TOKENS = 12, /* that the predictor was trained with; 0 without one */
    JEPA_DEPTH = 13,       /* blocks of the encoder that encodes */
    JEPA_HEADS = 14,       /* heads of its attention */
    JEPA_STEP = 15         /* training steps done; 0 for published weights */
} JepaSize;

typedef enum JepaText {
    JEPA_SOURCE = 0, /* "run/step-180, step 180" */
    JEPA_RECIPE = 1, /* resolved, YAML */
    JEPA_HASH = 2, /* of the checkpoint's header (so of every weight) or of the file: BLAKE2b-256 */
    JEPA_DEVICE = 3 /* "cpu", "cuda:0" */
} JepaText;

typedef enum JepaType { JEPA_UINT8 = 0, JEPA_FLOAT32 = 1 } JepaType;

/* JEPA_ABI of the library that was loaded. */
JEPA_API int jepa_abi(void);
/* "0.1.0" */
JEPA_API const char *jepa_version(void);

/* Opens and loads, every hash verified. checkpoint: a RUN (its newest), a step-N folder, a file in
 * it, or a file or folder of published weights. network: "target" (NULL) or "context", the encoder
 * that encodes. device: "cpu", "cuda", "cuda:N"; NULL: the GPU where one works. threads 0: all.
 * settings: "section.key=value" that change the recipe, e.g. "data.crop_size=96", ended by NULL;
 * or NULL. *model receives a model also on failure, for jepa_error and jepa_close (NULL where not
 * even that can be had; both take it). */
JEPA_API int jepa_open(JepaModel **model, const char *checkpoint, const char *network,
                       const char *device, int threads, const char *const *settings);
JEPA_API void jepa_close(JepaModel *model); /* NULL: nothing */

/* What went wrong last, one line; "" after a success. Lives until the next call with this model. */
JEPA_API const char *jepa_error(const JepaModel *model);

/* A JepaSize; -1: no such size, or the model is not open. */
JEPA_API int64_t jepa_size(const JepaModel *model, int size);
/* A JepaText; NULL as above. Lives as long as the model. */
JEPA_API const char *jepa_text(const JepaModel *model, int text);

/* The clip of a video file as the model sees it: `first` is its first frame, -1: the middle of the
 * video; the largest crop of the clip's shape, at the centre. clip[3][frames][height][width] of
 * `type`; count: of its values. frames[frames] (or NULL) receives their numbers in the video.
 * JEPA_UINT8 is not there for a recipe with published interpolation, which never rounds. */
JEPA_API int jepa_read_video(JepaModel *model, void *clip, int type, int64_t count, int64_t *frames,
                             const char *path, int64_t first);

/* out[rows][dim]: the clip's tokens after the encoder's final norm. */
JEPA_API int jepa_encode(JepaModel *model, float *out, int64_t out_count, const void *clip,
                         int type, int64_t count);
/* jepa_read_video, then jepa_encode. */
JEPA_API int jepa_encode_video(JepaModel *model, float *out, int64_t out_count, int64_t *frames,
                               const char *path, int64_t first);

/* predicted[hidden_count][target_dim]: what the predictor says of the hidden tokens when the
 * context encoder sees the tokens `seen` alone. target[tokens][target_dim] (or NULL): what the
 * target encoder says of the whole clip, each level normalised to mean 0 and variance 1, on which
 * scale the predictions are: their mean absolute difference is the published loss. seen, hidden:
 * token numbers, ascending, none in both, at least one of each. mask_token: which of
 * JEPA_MASK_TOKENS stands for a hidden token; -1: the last, which in published recipes goes with
 * the mask that hides most, or that of the clip's length where they go by length. */
JEPA_API int jepa_predict(JepaModel *model, float *predicted, int64_t predicted_count,
                          float *target, int64_t target_count, const void *clip, int type,
                          int64_t count, const int32_t *seen, int64_t seen_count,
                          const int32_t *hidden, int64_t hidden_count, int mask_token);

#ifdef __cplusplus
}
#endif

#endif
