/* jepa surprise: what its parts share. Private to experiments/surprise*.c. */
#ifndef JEPA_EXPERIMENTS_SURPRISE_H
#define JEPA_EXPERIMENTS_SURPRISE_H

#include "eval/surprise.h"
#include "eval/surprise_sheet.h"
#include "experiments/scene.h"
#include "video/windows.h"
#include <math.h>
#include <stdio.h>

/* Who expects. */
typedef enum SurpriseModel {
    SURPRISE_TRAINED,  /* the checkpoint */
    SURPRISE_REPEATED, /* its target encoder, and the nearest seen token for a prediction */
    SURPRISE_RANDOM,   /* the same architecture with its initial weights */
    SURPRISE_MODELS
} SurpriseModel;
const char *surprise_model_name(SurpriseModel model); /* "trained" */

/* A pair, in the order of the list. */
typedef struct Pair {
    char *kind, *possible, *impossible; /* paths that open */
    int64_t number;                     /* as the list has it (column pair), else its row */
    int64_t scene;                      /* numbers of (kind, scene) as they come */
    int64_t event;                      /* frame; -1: not known */
} Pair;
typedef struct PairList {
    Pair *pairs; /* [count] */
    size_t count;
    bool scenes; /* told by the list; else each pair is one */
} PairList;

typedef struct Surprise {
    Scene scene;
    const char *video, *pairs, *out;
    int contexts[SURPRISE_CONTEXTS], count; /* frames that are seen of a window */
    int64_t stride;                         /* frames of the clip from window to window */
    int64_t videos, pictures, random_seed, threads;
    Footage *footage; /* [footage_count] of --video */
    size_t footage_count;
    PairList list; /* of --pairs */
    MaskGroup masks;
    int token;
    Model model, random;
    bool has_model, has_random;
} Surprise;

/* One video, window after window. */
typedef struct SurpriseVideo {
    int64_t count;         /* windows */
    int64_t *first, *last; /* [count] frames of the video */
    double *from, *to;     /* [count] seconds of these */
    double *middle;        /* [contexts][count] middle of the frames that are predicted, s */
    double *values[SURPRISE_MODELS]; /* [count][contexts]; NULL: not asked */
    SurpriseScore score[SURPRISE_MODELS];
    SurpriseStrip strip;
    uint8_t *tile[SURPRISE_TILES_MOST]; /* of the strip, where one was asked for */
} SurpriseVideo;

/* Reads it once from start to end; memory is that of a window, of a few tiles and of the numbers.
 * Tiles for a strip over `axis` seconds (0: none), empty where the video is shorter. `progress`:
 * what it is called there; NULL: it is not shown. Free also after an error. */
int surprise_video(SurpriseVideo *video, Surprise *surprise, const Footage *footage, double axis,
                   const char *progress, Error *error);
/* The axis of a video: seconds of its last frame, above 0. */
double surprise_axis(const Footage *footage);
void surprise_video_free(SurpriseVideo *video);

/* Rows of windows as CSV: before each `prefix`, which ends with a comma or is "". */
void surprise_heading(FILE *file, const Surprise *surprise, const char *prefix);
void surprise_rows(FILE *file, const Surprise *surprise, const SurpriseVideo *video,
                   const char *prefix);

/* values of one context length, for a curve: [count], the caller frees. */
double *surprise_curve(const SurpriseVideo *video, const Surprise *surprise, int context);
/* "Windows of 16 frames (1 s), 2 of these apart" and what the model sees of the picture; caller
 * frees. */
char *surprise_about(const Surprise *surprise, const Footage *footage);

/* "6" for context length `context` of the list, "least" behind the last; caller frees. */
char *surprise_context_text(const Surprise *surprise, int context);
/* Draws the sheet into a file of OUT and says so. */
int surprise_picture(const char *path, const SurpriseSheet *sheet, Error *error);

/* All of --video, and all of --pairs; OUT is there. */
int surprise_films(Surprise *surprise, Error *error);
int surprise_study(Surprise *surprise, Error *error);

/* `source`: a pairs.csv, a folder with one, or a folder with files NAME_possible.EXT and
 * NAME_impossible.EXT. Errors: neither, a file without the columns, a pair with a file missing.
 * Free also after an error. */
int pair_list(PairList *list, const char *source, Error *error);
void pair_list_free(PairList *list);

#endif
