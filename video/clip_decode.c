/* From a draw to pixels: decode, crop, scale, turn upright, augment. See video/clip.h. */
#include "video/clip.h"
#include "video/frame_cache.h"
#include "video/resize.h"
#include "video/scale.h"
#include <libavutil/frame.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

struct ClipDecoder {
    double seconds;
    FrameCache *cache;
    VideoHardware *hardware;
    bool timed_out;
    Scaler *scalers[1 + CLIP_VIEWS_MAX]; /* of the clip, then of its local views: each has a
                                            window of its own; NULL until needed */
    uint8_t *planes;                     /* pictures on their way: [room], padded */
    size_t room;
    uint8_t *turned, *scratch; /* [room] each */
};

ClipDecoder *clip_decoder_new(double seconds, FrameCache *cache) {
    ClipDecoder *decoder = memory_new(1, sizeof *decoder);
    decoder->seconds = seconds;
    decoder->cache = cache;
    return decoder;
}

void clip_decoder_use(ClipDecoder *decoder, VideoHardware *hardware) {
    decoder->hardware = hardware;
}

void clip_decoder_free(ClipDecoder *d) {
    if (!d)
        return;
    for (int i = 0; i <= CLIP_VIEWS_MAX; i++)
        scaler_free(d->scalers[i]);
    free(d->planes);
    free(d->turned);
    free(d->scratch);
    free(d);
}

bool clip_decoder_timed_out(const ClipDecoder *decoder) {
    return decoder->timed_out;
}

static Scaler *scaler_of(ClipDecoder *d, int which) {
    if (!d->scalers[which])
        d->scalers[which] = scaler_new();
    return d->scalers[which];
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
    uint8_t *clip;   /* this one, or values */
    uint8_t *locals; /* or NULL */
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
static ScaleWindow stored_window(const VideoFile *file, ScaleWindow upright) {
    int w = file->width, h = file->height;
    int left = upright.left, top = upright.top, width = upright.width, height = upright.height;
    switch (file->rotation) {
    case 90: /* upright (x, y) = stored (y, h - 1 - x) */
        return (ScaleWindow){top, h - left - width, height, width};
    case 180:
        return (ScaleWindow){w - left - width, h - top - height, width, height};
    case 270: /* upright (x, y) = stored (w - 1 - y, x) */
        return (ScaleWindow){w - top - height, left, height, width};
    default:
        return upright;
    }
}

/* The window of the frame, scaled to height x width and upright, as picture i of clip[3][frames]:
 * out[3] are its planes. */
static int take_window(uint8_t *out[3], uint8_t *clip, size_t i, const Take *take, Scaler *scaler,
                       const AVFrame *frame, ScaleWindow upright, int height, int width,
                       Error *error) {
    ClipDecoder *d = take->decoder;
    int rotation = take->file->rotation;
    size_t plane = (size_t)height * (size_t)width, channel = plane * (size_t)take->spec->frames;
    /* as it is stored it may lie on its side */
    int across = rotation % 180 ? height : width, down = rotation % 180 ? width : height;
    make_room(d, 3 * plane + SCALE_PADDING);
    uint8_t *planes[3] = {d->planes, d->planes + plane, d->planes + 2 * plane};
    if (scaler_apply(planes, across, scaler, frame, stored_window(take->file, upright), across,
                     down, take->spec->hdr, error))
        return -1;
    for (int c = 0; c < 3; c++) {
        out[c] = clip + (size_t)c * channel + i * plane;
        if (rotation)
            plane_rotate(out[c], width, planes[c], across, across, down, rotation);
        else
            memcpy(out[c], planes[c], plane);
    }
    return 0;
}

/* Picture i of local view v: cropped, scaled, upright, mirrored, recoloured. */
static int take_view(const Take *take, int v, size_t i, const AVFrame *frame, Error *error) {
    const ClipView *view = &take->draw->views[v];
    ScaleWindow window = {view->left, view->top, view->width, view->height};
    int side = take->spec->views.local_crop;
    size_t clip = (size_t)3 * (size_t)take->spec->frames * (size_t)side * (size_t)side;
    uint8_t *out[3];
    if (take_window(out, take->locals + (size_t)v * clip, i, take, scaler_of(take->decoder, 1 + v),
                    frame, window, side, side, error))
        return -1;
    for (int c = 0; c < 3 && view->flip; c++)
        plane_mirror(out[c], side, side, side);
    augment_view_frame(out, side, side, side, &view->colors, take->decoder->scratch);
    return 0;
}

/* Cropped, scaled to the clip's size, upright, then augmented; then the same for local views. */
static int take_pixels(void *context, size_t i, const AVFrame *frame, Error *error) {
    const Take *take = context;
    const ClipDraw *draw = take->draw;
    ScaleWindow window = {draw->left, draw->top, draw->width, draw->height};
    int height = take->spec->crop, width = clip_width(take->spec);
    uint8_t *out[3];
    if (check_size(take, frame, error) ||
        take_window(out, take->clip, i, take, scaler_of(take->decoder, 0), frame, window, height,
                    width, error))
        return -1;
    if (augment_changes_frames(&draw->augment))
        augment_frame(out, width, height, width, &draw->augment, take->decoder->scratch);
    for (int v = 0; take->locals && v < draw->view_count; v++)
        if (take_view(take, v, i, frame, error))
            return -1;
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
    if (scaler_apply(stored, (int)lines, scaler_of(d, 0), frame, (ScaleWindow){0, 0, w, h}, w, h,
                     hdr, error))
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
    int stride, height = take->spec->crop, width = clip_width(take->spec);
    if (check_size(take, frame, error) ||
        whole_frame(planes, &stride, d, frame, take->file->rotation, take->spec->hdr, error))
        return -1;
    if (augment_changes_frames(&draw->augment))
        augment_frame(planes, stride, video_file_height(take->file), video_file_width(take->file),
                      &draw->augment, d->scratch);
    size_t plane = (size_t)height * (size_t)width, channel = plane * (size_t)take->spec->frames;
    resize_published(take->values + i * plane, channel, (const uint8_t *const *)planes, stride,
                     draw->top, draw->left, draw->height, draw->width, height, width, draw->flip);
    return 0;
}

static int decode(Take *take, VideoTake frame, Error *error) {
    ClipDecoder *d = take->decoder;
    return frame_cache_read(d->cache, take->file, take->draw->frames, (size_t)take->spec->frames,
                            d->seconds, d->hardware, &d->timed_out, frame, take, error);
}

int clip_decode(uint8_t *clip, ClipDecoder *decoder, const VideoFile *file, const ClipDraw *draw,
                const ClipSpec *spec, Error *error) {
    return clip_decode_views(clip, NULL, decoder, file, draw, spec, error);
}

int clip_decode_views(uint8_t *clip, uint8_t *locals, ClipDecoder *decoder, const VideoFile *file,
                      const ClipDraw *draw, const ClipSpec *spec, Error *error) {
    JEPA_ASSERT(!locals || (draw->view_count == spec->views.local_views &&
                            draw->view_count <= CLIP_VIEWS_MAX));
    Take take = {.clip = clip,
                 .locals = locals,
                 .decoder = decoder,
                 .file = file,
                 .draw = draw,
                 .spec = spec};
    if (decode(&take, take_pixels, error))
        return -1;
    if (draw->augment.erases)
        augment_erase(clip, spec->frames, spec->crop, clip_width(spec), &draw->augment);
    return 0;
}

int clip_decode_values(float *clip, ClipDecoder *decoder, const VideoFile *file,
                       const ClipDraw *draw, const ClipSpec *spec, Error *error) {
    Take take = {.values = clip, .decoder = decoder, .file = file, .draw = draw, .spec = spec};
    if (decode(&take, take_values, error))
        return -1;
    if (draw->augment.erases)
        augment_erase_float(clip, spec->frames, spec->crop, clip_width(spec), &draw->augment);
    return 0;
}

int clip_take(uint8_t *clip, float *values, size_t i, ClipDecoder *decoder, const AVFrame *frame,
              const VideoFile *file, const ClipDraw *draw, const ClipSpec *spec, Error *error) {
    Take take = {.clip = clip,
                 .values = values,
                 .decoder = decoder,
                 .file = file,
                 .draw = draw,
                 .spec = spec};
    return values ? take_values(&take, i, frame, error) : take_pixels(&take, i, frame, error);
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

int clip_frame_native(uint8_t **planes, size_t *bytes, const char **format, const AVFrame *frame,
                      Error *error) {
    enum AVPixelFormat of = (enum AVPixelFormat)frame->format;
    int size = av_image_get_buffer_size(of, frame->width, frame->height, 1);
    *planes = NULL;
    *format = av_get_pix_fmt_name(of);
    if (size < 0)
        return error_set(error, ERROR_RUN, "pictures of format %s have no raw form", *format);
    *bytes = (size_t)size;
    *planes = memory_new(*bytes, 1);
    av_image_copy_to_buffer(*planes, size, (const uint8_t *const *)frame->data, frame->linesize, of,
                            frame->width, frame->height, 1);
    return 0;
}
