/* jepa visualize: what its parts share. Private to experiments/visualize*.c. */
#ifndef JEPA_EXPERIMENTS_VISUALIZE_H
#define JEPA_EXPERIMENTS_VISUALIZE_H

#include "eval/film.h"
#include "eval/latent_axes.h"
#include "eval/latents.h"
#include "experiments/scene.h"
#include "video/windows.h"

/* What can be asked for by --parts. */
#define PART_SHEET      1u
#define PART_MASKS      2u
#define PART_LATENTS    4u
#define PART_ERRORS     8u
#define PART_FUTURE     16u
#define PART_SIMILARITY 32u
#define PART_ATTENTION  64u
#define PART_MAP        128u
#define PART_EXPECTED   256u
#define PARTS_CLIP      (PART_SHEET | PART_MASKS | PART_LATENTS | PART_ERRORS)
#define PARTS_COLOURED  (PARTS_CLIP | PART_FUTURE)                    /* need axes of colours */
#define PARTS_PREDICT   (PARTS_COLOURED | PART_EXPECTED)              /* need a predictor */
#define PARTS_PREDICTED "masks, latents, errors, future and expected" /* for messages */
#define PARTS_QUERY     (PART_SIMILARITY | PART_ATTENTION)
#define PARTS_OTHER     "similarity, attention and map" /* for messages: what needs none */

#define FIT_WINDOWS 16 /* of the future in all videos, spread evenly: for the axes of colours */
#define NOT_GIVEN   INT64_MIN

typedef struct ExpectedShow ExpectedShow;

typedef struct Show {
    Scene scene;
    unsigned parts, formats; /* formats: eval/film.h */
    unsigned future_formats; /* of the future: a film unless formats were given */
    const char *video, *out, *axes_file, *device;
    const char *bank, *decoder; /* expected */
    int64_t mask, mask_seed, start, tile, context_frames, windows, videos, threads;
    bool smooth;
    /* --query, --layer, --head, --network */
    TextList queries;
    int64_t layer, head;
    const char *network;
    /* map */
    int64_t segments, seed;
    double perplexity;

    Footage *footage; /* [count] what is shown */
    size_t count;
    Model model; /* of the recipe's masks; where a part predicts */
    bool has_model;
    LatentAxes axes;
    ExpectedShow *expected; /* bank and decoder; NULL: not asked for */
} Show;

/* Where the pictures of footage i go: --out, or with several a folder in it; caller frees. Made if
 * it is missing. */
char *show_folder(const Show *show, size_t i, Error *error);

/* "clip.mp4" */
const char *show_name(const Footage *footage);
/* "run/step-3, step 3 · frames 4 to 34 of 40: a clip of 16 · 8×8×8 tokens of ..."; caller frees. */
char *show_origin(const Show *show, const Footage *footage, const int64_t *frames);
/* "", or " · the middle 720×720 of 1280×720 pixels" where the model sees a part; caller frees. */
char *show_crop(const Footage *footage, const ClipDraw *draw);
/* Pictures of a clip in a second of the video. */
double show_rate(const Footage *footage, const int64_t *frames, int count);
/* "1.25 s · frame 30"; caller frees. */
char *show_moment(const Footage *footage, int64_t frame);
/* The evaluation crop, and the frames of the middle of the video or of --start. */
int show_draw(ClipDraw *draw, const Show *show, const Footage *footage, Error *error);

/* "8 blocks of 15 % of the picture"; caller frees. */
char *show_mask_text(const MaskSetting *setting);
/* The recipe's masks of one clip, by --mask-seed; mask_group_free. */
void show_draw_masks(MaskGroup *masks, const Show *show);

/* One clip of a video: what the model sees of it, and its frames for people. */
typedef struct ShownClip {
    ClipDraw draw;
    uint8_t *pixels; /* [3][frames][height][width], or NULL with published interpolation: */
    float *values;   /* the same normalised */
    int time;        /* T */
    /* height and width of a tile: of pictures, of films, of whole frames */
    int small[2], large[2], whole[2];
    uint8_t **small_frames; /* [T] the first frame of each time step */
    uint8_t **large_frames; /* [frames] where films are asked for; else NULL */
    uint8_t **whole_frames; /* [T] where the model sees a part only; else NULL */
    int part[4];            /* which: left, top, width, height in the whole frame's tile */
} ShownClip;

/* Decodes it; films will have so many columns. Free with shown_clip_free, also after an error. */
int shown_clip_read(ShownClip *clip, const Show *show, const Footage *footage, int columns,
                    Error *error);
void shown_clip_free(ShownClip *clip);

/* Masks, latents, errors and the contact sheet of one clip of each video. Gathering adds rows for
 * the axes of colours; drawing needs show->axes. */
typedef struct ClipShow ClipShow;
int clip_show_gather(ClipShow **clips, Show *show, LatentRows *rows, Error *error);
int clip_show_draw(ClipShow *clips, Show *show, Error *error);
void clip_show_free(ClipShow *clips);

/* The future, window after window along each video. */
typedef struct FutureShow FutureShow;
int future_check(const Show *show, Error *error); /* is --context-frames possible? */
int future_show_gather(FutureShow **future, Show *show, LatentRows *rows, Error *error);
int future_show_draw(FutureShow *future, Show *show, Error *error);
void future_show_free(FutureShow *future);

/* What it expects of one clip of each video, as pixels. Opening reads --bank and --decoder; drawing
 * needs show->model; free also after an error. */
int expected_show_open(ExpectedShow **expected, const Show *show, Error *error);
int expected_show_draw(ExpectedShow *expected, Show *show, Error *error);
void expected_show_free(ExpectedShow *expected);

/* Similarity and attention of tokens; the map of a folder's clips. */
int query_check(const Show *show, Error *error); /* are --query, --layer, --head possible? */
int query_show(const Show *show, Error *error);
int map_show(const Show *show, Error *error);

#endif
