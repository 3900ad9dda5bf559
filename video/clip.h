/* Clips: which frames, which crop, and the pixels.
 *
 * A clip is uint8 [3][frames][crop][crop] (red, green, blue; the published order C,T,H,W), cropped
 * before it is scaled. Flipping and normalisation happen on the device, when patches are cut.
 * Every choice is a pure function of (seed, step, slot, attempt). Source of the rules:
 * facebookresearch /jepa src/datasets/video_dataset.py, app/vjepa/transforms.py.
 */
#ifndef JEPA_VIDEO_CLIP_H
#define JEPA_VIDEO_CLIP_H

#include "base/error.h"
#include "base/random.h"
#include "video/augment.h"
#include "video/decode.h"
#include "video/index.h"
#include <stdbool.h>
#include <stdint.h>

#define CLIP_FRAMES_MAX 256
#define CLIP_CROP_MAX   1024

typedef enum ClipSpacing {
    CLIP_SPACING_STEP,     /* exactly `step` frames apart */
    CLIP_SPACING_PUBLISHED /* linspace over frames*step: 64/15 apart for 16 x 4, as published */
} ClipSpacing;

/* What a video shorter than a clip gives. Pictures are always repeated. */
typedef enum ClipShort {
    CLIP_SHORT_REPEAT, /* its frames spread over the clip, then its last one again, as published */
    CLIP_SHORT_LOOP,   /* from the start again */
    CLIP_SHORT_SKIP    /* nothing: it is not drawn */
} ClipShort;

typedef enum ClipInterpolation {
    CLIP_FAST,     /* cropped, then one scaling pass (area-weighted) to uint8 RGB */
    CLIP_PUBLISHED /* RGB first, then bilinear without antialiasing in float32, as published */
} ClipInterpolation;

/* What becomes of PQ and HLG video (SMPTE ST 2084, ARIB STD-B67). */
typedef enum ClipHdr { CLIP_HDR_TONEMAP, CLIP_HDR_REFUSE } ClipHdr;

typedef struct ClipSpec {
    int frames;      /* frames in a clip, 1..CLIP_FRAMES_MAX */
    int step;        /* sampling_rate: frames from one to the next, >= 1 */
    double fps;      /* > 0: instead of `step`, this many frames per second: by time stamps; with
                        published spacing by a step, ceil(average rate) // fps */
    double duration; /* > 0: instead of `step`, the clip spans this many seconds (clip_duration): by
                        time stamps; with published spacing by a step, int(duration fps / frames) */
    ClipSpacing spacing;
    ClipShort short_videos;
    ClipInterpolation interpolation;
    ClipHdr hdr;
    int crop;        /* output height and width in pixels, 1..CLIP_CROP_MAX */
    double scale[2]; /* random_resize_scale: area of the crop as a share of the frame */
    double ratio[2]; /* random_resize_aspect_ratio: width / height, log-uniform */
    bool flip;       /* mirror half of the clips */
    AugmentSpec augment;
} ClipSpec;

typedef struct ClipDraw {
    uint32_t file;                   /* number in the index */
    int attempt;                     /* 0, or how often the slot was re-drawn */
    int count;                       /* frames */
    int64_t frames[CLIP_FRAMES_MAX]; /* [count]; a short video gives some of them again */
    int top, left, height, width;    /* crop in the upright frame, pixels */
    bool flip;
    Augment augment; /* what else is done to the pictures; all zero: nothing */
} ClipDraw;

/* The window at `share` of those possible (0: the first, towards 1: the last) into draw->frames and
 * draw->count; videos shorter than a clip as spec->short_videos says (skip: repeated). */
void clip_draw_frames(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, double share);
/* The clip whose first frame is `first`; an error says which ones are possible. */
int clip_draw_from(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, int64_t first,
                   Error *error);
/* A random resized crop of the upright frame, one for all frames. */
void clip_draw_crop(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, Random *random);

/* Is the video shorter than one clip? Never true of a picture. */
bool clip_is_short(const VideoFile *file, const ClipSpec *spec);
/* Clips without common frames that the video gives, at least 1. */
int64_t clip_stretches(const VideoFile *file, const ClipSpec *spec);
/* Different first frames that a clip can have; 0 for a short video that is skipped. */
int64_t clip_windows(const VideoFile *file, const ClipSpec *spec);

/* The evaluation draw: window `segment` of `segments` spread evenly over the file (1: the middle);
 * of it the largest square, `view` of `views` along the longer side (1: the centre; 3: start,
 * centre and end, as the published probes). */
void clip_draw_evaluation(ClipDraw *draw, const VideoIndex *index, uint32_t file,
                          const ClipSpec *spec, int segment, int segments, int view, int views);

/* Frame numbers of the published sampler for a window that ends (exclusive) at `window_end`;
 * window_end < 0 for a video not longer than frames * step (short-video rule). */
void clip_frames_published(int64_t *frames, int64_t video_frames, int count, int step,
                           int64_t window_end);

/* A place for decoded pictures and scalers, reused from clip to clip; one per thread. A clip may
 * take `seconds` (0: no limit); `cache` (or NULL) is shared. */
typedef struct FrameCache FrameCache;
typedef struct ClipDecoder ClipDecoder;
ClipDecoder *clip_decoder_new(double seconds, FrameCache *cache);
void clip_decoder_free(ClipDecoder *decoder);
/* Did the last clip fail because its time was over? */
bool clip_decoder_timed_out(const ClipDecoder *decoder);

/* Decodes the drawn clip into clip[3][spec.frames][spec.crop][spec.crop]. */
int clip_decode(uint8_t *clip, ClipDecoder *decoder, const VideoFile *file, const ClipDraw *draw,
                const ClipSpec *spec, Error *error);
/* The published way: RGB at full size, crop, bilinear without antialiasing, all in float32 to the
 * end; mirrored if drawn so, normalised by the ImageNet mean and deviation. */
int clip_decode_values(float *clip, ClipDecoder *decoder, const VideoFile *file,
                       const ClipDraw *draw, const ClipSpec *spec, Error *error);

/* A whole frame as RGB, turned by `rotation` degrees clockwise: *rgb[*height][*width][3], caller
 * frees. Matrix and range are the frame's own. */
int clip_frame_rgb(uint8_t **rgb, int *width, int *height, const struct AVFrame *frame,
                   int rotation, Error *error);

#endif
