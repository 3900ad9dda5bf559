/* Clips: which frames, which crop, and the pixels.
 *
 * A clip is uint8 [3][frames][crop][crop] (red, green, blue; the published order C,T,H,W), cropped
 * before it is scaled. Flipping and normalisation happen on the device, when patches are cut.
 * Local views (LeJEPA, DINO: multi-crop) are further, smaller crops of the same frames, uint8
 * [views][3][frames][local_crop][local_crop], mirrored and recoloured already.
 * Every choice is a pure function of (seed, step, slot, attempt). Source of the rules:
 * facebookresearch /jepa src/datasets/video_dataset.py, app/vjepa/transforms.py;
 * local views: MLO-lab/LeVJEPA data/loader.py, conf/config.yaml.
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
#define CLIP_VIEWS_MAX  32

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

/* The local views of a clip. All zero: none. In [ ]: LeVJEPA's. */
typedef struct ClipViews {
    int local_views;           /* 0..CLIP_VIEWS_MAX [10] */
    int local_crop;            /* output height and width in pixels, 1..CLIP_CROP_MAX [96] */
    double local_scale[2];     /* area of the crop as a share of the frame [0.02, 0.4] */
    double local_ratio[2];     /* width / height, log-uniform [3/4, 4/3] */
    bool local_flip;           /* mirror half of the views [yes] */
    double jitter_probability; /* of ColorJitter, one set of factors for a view's frames [0.8] */
    double brightness, contrast, saturation; /* factors are uniform in max(0, 1 - s)..1 + s [0.4,
                                                0.4, 0.2] */
    double hue;                              /* shift uniform in -hue..hue turns, 0..0.5 [0.1] */
    double grayscale_probability;            /* of a view without colours [0.2] */
} ClipViews;

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
    int crop;            /* output height in pixels, 1..CLIP_CROP_MAX */
    int crop_width;      /* output width, likewise; 0: the height, a square */
    double scale[2];     /* random_resize_scale: area of the crop as a share of the frame */
    double ratio[2];     /* random_resize_aspect_ratio: width / height, log-uniform; of what comes
                            out: a crop for pictures twice as wide is twice as wide */
    bool flip;           /* mirror half of the clips */
    AugmentSpec augment; /* of the clip, not of its local views */
    ClipViews views;
} ClipSpec;

static inline int clip_width(const ClipSpec *spec) {
    return spec->crop_width ? spec->crop_width : spec->crop;
}

typedef struct ClipView {
    int top, left, height, width; /* crop in the upright frame, pixels */
    bool flip;
    AugmentView colors;
} ClipView;

typedef struct ClipDraw {
    uint32_t file;                   /* number in the index */
    int attempt;                     /* 0, or how often the slot was re-drawn */
    int count;                       /* frames */
    int64_t frames[CLIP_FRAMES_MAX]; /* [count]; a short video gives some of them again */
    int top, left, height, width;    /* crop in the upright frame, pixels */
    bool flip;
    Augment augment; /* what else is done to the pictures; all zero: nothing */
    int view_count;
    ClipView views[CLIP_VIEWS_MAX]; /* [view_count] local views of the same frames */
} ClipDraw;

/* Can the spec's local views be drawn and decoded? Errors: a number out of its range; views with
 * published interpolation, which has none. Samplers and loaders ask it when they are opened. */
int clip_check_views(const ClipSpec *spec, Error *error);

/* The window at `share` of those possible (0: the first, towards 1: the last) into draw->frames and
 * draw->count; videos shorter than a clip as spec->short_videos says (skip: repeated). */
void clip_draw_frames(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, double share);
/* The `share` of clip_draw_frames for a window in part `part` of `parts` of the video, as the
 * published evaluation places them (video_dataset.py): the video is cut into equal parts and a
 * window lies in each, at `within` (0..1) of what room there is; where a part has none, windows
 * overlap, and their starts are as far apart as can be, whatever `within`. */
double clip_part_share(const VideoFile *file, const ClipSpec *spec, int part, int parts,
                       double within);
/* The clip whose first frame is `first`; an error says which ones are possible. */
int clip_draw_from(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, int64_t first,
                   Error *error);
/* A random resized crop of the upright frame, one for all frames. */
void clip_draw_crop(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, Random *random);

/* The local views, one after another: their crops, flips and colours each from a stream. View v
 * does not depend on how many follow. */
void clip_draw_views(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, Random *crop,
                     Random *flip, Random *colors);

/* Is the video shorter than one clip? Never true of a picture. */
bool clip_is_short(const VideoFile *file, const ClipSpec *spec);
/* Clips without common frames that the video gives, at least 1. */
int64_t clip_stretches(const VideoFile *file, const ClipSpec *spec);
/* Can training draw clips from it: is it long enough, and of a transfer function that the spec
 * takes? */
bool clip_can_be_drawn(const VideoFile *file, const ClipSpec *spec);
/* Different first frames that a clip can have; 0 for a short video that is skipped. */
int64_t clip_windows(const VideoFile *file, const ClipSpec *spec);

/* The evaluation draw: the window in the middle of part `segment` of `segments` (clip_part_share;
 * the published one is drawn at random within its part); of it the largest square (or rectangle of
 * the spec's shape), `view` of `views` along the longer side (1: the centre; 3: start, centre and
 * end, as the published probes). It has no local views (view_count is 0). */
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
/* Clips are decoded on the GPU from now on (NULL: no longer), byte for byte the same: see
 * video/hardware.h for which files that is allowed. */
void clip_decoder_use(ClipDecoder *decoder, VideoHardware *hardware);
/* Did the last clip fail because its time was over? */
bool clip_decoder_timed_out(const ClipDecoder *decoder);

/* Decodes the drawn clip into clip[3][spec.frames][spec.crop][clip_width(spec)]. */
int clip_decode(uint8_t *clip, ClipDecoder *decoder, const VideoFile *file, const ClipDraw *draw,
                const ClipSpec *spec, Error *error);
/* The same clip, and from the same decoded frames the drawn local views into
 * locals[spec.views.local_views][3][spec.frames][spec.views.local_crop][spec.views.local_crop].
 * `locals` NULL: the clip alone. Each view is cropped, scaled in one pass, turned upright, mirrored
 * if drawn so (in the pixels: the device mirrors clips, not views), then recoloured. The draw must
 * have as many views as the spec. Published: antialiased bicubic interpolation; here the
 * fast path's, area-weighted where a crop is made smaller, bilinear where it is enlarged. Fails as
 * clip_decode does. */
int clip_decode_views(uint8_t *clip, uint8_t *locals, ClipDecoder *decoder, const VideoFile *file,
                      const ClipDraw *draw, const ClipSpec *spec, Error *error);
/* The published way: RGB at full size, crop, bilinear without antialiasing, all in float32 to the
 * end; mirrored if drawn so, normalised by the ImageNet mean and deviation. */
int clip_decode_values(float *clip, ClipDecoder *decoder, const VideoFile *file,
                       const ClipDraw *draw, const ClipSpec *spec, Error *error);

/* One decoded frame as picture `i` of such a clip, into `clip`, or as published into `values` (the
 * other NULL): for those who read frames themselves (video/windows.h). */
struct AVFrame;
int clip_take(uint8_t *clip, float *values, size_t i, ClipDecoder *decoder,
              const struct AVFrame *frame, const VideoFile *file, const ClipDraw *draw,
              const ClipSpec *spec, Error *error);

/* A whole frame as RGB, turned by `rotation` degrees clockwise: *rgb[*height][*width][3], caller
 * frees. Matrix and range are the frame's own. */
int clip_frame_rgb(uint8_t **rgb, int *width, int *height, const struct AVFrame *frame,
                   int rotation, Error *error);
/* Its planes in its own pixel format, one after another without padding between lines: what
 * rawvideo is. *planes[*bytes], caller frees; *format: libavutil's name, static. */
int clip_frame_native(uint8_t **planes, size_t *bytes, const char **format,
                      const struct AVFrame *frame, Error *error);

#endif
