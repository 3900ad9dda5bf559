/* Windows: clips that follow each other along a video, which is read once from start to end.
 *
 * A frame is decoded once, scaled once for the network and once for people, and kept as long as a
 * window to come needs it; so memory is that of the frames of one window, however long the video
 * is. What a window holds is what clip_decode gives for the same draw, byte for byte. */
#ifndef JEPA_VIDEO_WINDOWS_H
#define JEPA_VIDEO_WINDOWS_H

#include "video/clip.h"

#define WINDOW_PICTURES 3 /* kinds of pictures for people */

typedef struct WindowSpec {
    const ClipSpec *clip; /* frames, spacing, size; its local views are left out */
    ClipDraw crop;        /* which part of the upright frame: that of clip_draw_evaluation */
    /* Pictures for people beside it: of the same crop or the whole frame, scaled to height x width
     * (up to CLIP_CROP_MAX); 0: not wanted */
    struct WindowPicture {
        int height, width;
        bool whole;
    } picture[WINDOW_PICTURES];
    double timeout; /* seconds for the whole video; 0: no limit */
} WindowSpec;

typedef struct Window {
    int64_t number;        /* 0, 1, ... */
    const int64_t *frames; /* [clip.frames] numbers in the video */
    const uint8_t *pixels; /* [3][frames][height][width], or NULL with published interpolation */
    const float *values;   /* the same normalised, or NULL */
    /* [frames] each [height][width][3]; NULL: not wanted */
    const uint8_t *const *picture[WINDOW_PICTURES];
} Window;

/* First frames of windows `stride` clip frames apart (1 to clip.frames - 1), from frame `start` on
 * to the end of the video, at most `most` of them (0: all): *first[*count], which the caller frees.
 * Errors: the video is shorter than a window, or has none from `start` on. */
int windows_plan(int64_t **first, int64_t *count, const VideoFile *file, const ClipSpec *clip,
                 int64_t start, int stride, int64_t most, Error *error);

/* Calls `take` for each window in turn; what it is given lives until it returns. -1 stops. first
 * [count] ascending. */
typedef int (*WindowTake)(void *context, const Window *window, Error *error);
int windows_read(const VideoFile *file, const WindowSpec *spec, const int64_t *first, int64_t count,
                 WindowTake take, void *context, Error *error);

/* One line for a video that is shorter than a clip; 0 where it is not, or is a picture. */
int window_fits(const VideoFile *file, const ClipSpec *clip, Error *error);

#endif
