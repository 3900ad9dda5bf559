/* From a draw to pixels: decode, crop, scale, turn upright, augment. See video/clip.h. */
#include "video/clip.h"
#include "video/frame_cache.h"
#include "video/resize.h"
#include "video/scale.h"
#include <stdlib.h>
#include <string.h>

struct ClipDecoder {
    double seconds;
    FrameCache *cache;
    bool timed_out;
    Scaler *scaler;
    uint8_t *planes; /* pictures on their way: [room], padded */
    size_t room;
    uint8_t *turned, *scratch; /* [room] each */
};

ClipDecoder *clip_decoder_new(double seconds, FrameCache *cache) {
    ClipDecoder *decoder = memory_new(1, sizeof *decoder);
    decoder->seconds = seconds;
    decoder->cache = cache;
    decoder->scaler = scaler_new();
    return decoder;
}

void clip_decoder_free(ClipDecoder *d) {
    if (!d)
        return;
    scaler_free(d->scaler);
    free(d->planes);
    free(d->turned);
    free(d->scratch);
    free(d);
}

bool clip_decoder_timed_out(const ClipDecoder *decoder) {
    return decoder->timed_out;
}

static void make_room(ClipDecoder *d, size_t bytes) {
    if (d->room >= bytes)
        return;
    d->room = bytes;
    d->planes = memory_grow(d->planes, bytes, 1);
    d->turned = memory_grow(d->turned, bytes, 1);
    d->scratch = memory_grow(d->scratch, bytes, 1);
}

typedef struct Take {
    uint8_t *clip; /* one of them */
    float *values;
    ClipDecoder *decoder;
    const VideoFile *file;
    const ClipDraw *draw;
    const ClipSpec *spec;
} Take;

static int check_size(const Take *take, const AVFrame *frame, Error *error) {
    if (frame->width != take->file->width || frame->height != take->file->height)
        return error_set(error, ERROR_RUN, "the picture size changes within the video");
    return 0;
}

/* The crop is chosen in the upright frame; in the stored one it lies elsewhere. */
static ScaleWindow stored_window(const Take *take) {
    const ClipDraw *d = take->draw;
    int w = take->file->width, h = take->file->height;
    int left = d->left, top = d->top, width = d->width, height = d->height;
    switch (take->file->rotation) {
    case 90: /* upright (x, y) = stored (y, h - 1 - x) */
        return (ScaleWindow){top, h - left - width, height, width};
    case 180:
        return (ScaleWindow){w - left - width, h - top - height, width, height};
    case 270: /* upright (x, y) = stored (w - 1 - y, x) */
        return (ScaleWindow){w - top - height, left, height, width};
    default:
        return (ScaleWindow){left, top, width, height};
    }
}

/* Cropped, scaled to the clip's size, upright, then augmented. */
static int take_pixels(void *context, size_t i, const AVFrame *frame, Error *error) {
    const Take *take = context;
    ClipDecoder *d = take->decoder;
    int side = take->spec->crop;
    if (check_size(take, frame, error))
        return -1;
    size_t plane = (size_t)side * (size_t)side, channel = plane * (size_t)take->spec->frames;
    make_room(d, 3 * plane + SCALE_PADDING);
    uint8_t *planes[3] = {d->planes, d->planes + plane, d->planes + 2 * plane};
    if (scaler_apply(planes, side, d->scaler, frame, stored_window(take), side, side,
                     take->spec->hdr, error))
        return -1;
    uint8_t *out[3];
    for (int c = 0; c < 3; c++) {
        out[c] = take->clip + (size_t)c * channel + i * plane;
        if (take->file->rotation)
            plane_rotate(out[c], side, planes[c], side, side, side, take->file->rotation);
        else
            memcpy(out[c], planes[c], plane);
    }
    if (augment_changes_frames(&take->draw->augment))
        augment_frame(out, side, side, side, &take->draw->augment, d->scratch);
    return 0;
}

/* The whole frame as upright planes with *stride bytes a line, in d's memory. */
static int whole_frame(uint8_t *planes[3], int *stride, ClipDecoder *d, const AVFrame *frame,
                       int rotation, ClipHdr hdr, Error *error) {
    int w = frame->width, h = frame->height, turned = rotation % 180 != 0;
    size_t lines = ((size_t)w + 31) / 32 * 32, upright = turned ? (size_t)h : lines;
    size_t plane = lines * (size_t)h + SCALE_PADDING;
    make_room(d, 3 * plane);
    uint8_t *stored[3] = {d->planes, d->planes + plane, d->planes + 2 * plane};
    if (scaler_apply(stored, (int)lines, d->scaler, frame, (ScaleWindow){0, 0, w, h}, w, h, hdr,
                     error))
        return -1;
    *stride = (int)(rotation ? upright : lines);
    for (int c = 0; c < 3; c++) {
        planes[c] = stored[c];
        if (!rotation)
            continue;
        planes[c] = d->turned + (size_t)c * plane;
        plane_rotate(planes[c], *stride, stored[c], (int)lines, w, h, rotation);
    }
    return 0;
}

/* The published way: RGB at full size, augmented, then cropped and interpolated in float. */
static int take_values(void *context, size_t i, const AVFrame *frame, Error *error) {
    const Take *take = context;
    const ClipDraw *draw = take->draw;
    ClipDecoder *d = take->decoder;
    uint8_t *planes[3];
    int stride, side = take->spec->crop;
    if (check_size(take, frame, error) ||
        whole_frame(planes, &stride, d, frame, take->file->rotation, take->spec->hdr, error))
        return -1;
    if (augment_changes_frames(&draw->augment))
        augment_frame(planes, stride, video_file_height(take->file), video_file_width(take->file),
                      &draw->augment, d->scratch);
    size_t plane = (size_t)side * (size_t)side, channel = plane * (size_t)take->spec->frames;
    resize_published(take->values + i * plane, channel, (const uint8_t *const *)planes, stride,
                     draw->top, draw->left, draw->height, draw->width, side, draw->flip);
    return 0;
}

static int decode(Take *take, VideoTake frame, Error *error) {
    ClipDecoder *d = take->decoder;
    return frame_cache_read(d->cache, take->file, take->draw->frames, (size_t)take->spec->frames,
                            d->seconds, &d->timed_out, frame, take, error);
}

int clip_decode(uint8_t *clip, ClipDecoder *decoder, const VideoFile *file, const ClipDraw *draw,
                const ClipSpec *spec, Error *error) {
    Take take = {clip, NULL, decoder, file, draw, spec};
    if (decode(&take, take_pixels, error))
        return -1;
    if (draw->augment.erases)
        augment_erase(clip, spec->frames, spec->crop, &draw->augment);
    return 0;
}

int clip_decode_values(float *clip, ClipDecoder *decoder, const VideoFile *file,
                       const ClipDraw *draw, const ClipSpec *spec, Error *error) {
    Take take = {NULL, clip, decoder, file, draw, spec};
    if (decode(&take, take_values, error))
        return -1;
    if (draw->augment.erases)
        augment_erase_float(clip, spec->frames, spec->crop, &draw->augment);
    return 0;
}

int clip_frame_rgb(uint8_t **rgb, int *width, int *height, const AVFrame *frame, int rotation,
                   Error *error) {
    ClipDecoder *d = clip_decoder_new(0, NULL);
    uint8_t *planes[3];
    int stride;
    int result = whole_frame(planes, &stride, d, frame, rotation, CLIP_HDR_TONEMAP, error);
    *rgb = NULL;
    *width = rotation % 180 ? frame->height : frame->width;
    *height = rotation % 180 ? frame->width : frame->height;
    if (!result) {
        *rgb = memory_new((size_t)*width * (size_t)*height, 3);
        for (int y = 0; y < *height; y++)
            for (int x = 0; x < *width; x++)
                for (int c = 0; c < 3; c++)
                    (*rgb)[((size_t)y * (size_t)*width + (size_t)x) * 3 + (size_t)c] =
                        planes[c][(ptrdiff_t)y * stride + x];
    }
    clip_decoder_free(d);
    return result;
}
