/* Frames to RGB: the crop is taken by moving plane pointers, then one scaling pass to planar RGB,
 * with the stream's own matrix and range. See video/scale.h.
 *
 * Planar GBR is what libswscale writes fastest, and as exact as its slow flags (measured:
 * experiments/results). HDR goes through 16 bits (video/tonemap.h). */
#include "video/scale.h"
#include "video/tonemap.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

struct Scaler {
    struct SwsContext *context;
    int width, height, out_width, out_height; /* what it was made for */
    VideoColour colour;
    Tonemap *tonemap;
    uint16_t *wide; /* [3][wide_count] 16-bit planes */
    size_t wide_count;
};

Scaler *scaler_new(void) {
    return memory_new(1, sizeof(Scaler));
}

void scaler_free(Scaler *s) {
    if (!s)
        return;
    sws_freeContext(s->context);
    tonemap_free(s->tonemap);
    free(s->wide);
    free(s);
}

static bool same_colour(const VideoColour *a, const VideoColour *b) {
    return a->format == b->format && a->matrix == b->matrix && a->full == b->full &&
           a->transfer == b->transfer;
}

/* A context for this size and these colours; kept from frame to frame of a clip. */
static int prepare(Scaler *s, const VideoColour *colour, int width, int height, int out_width,
                   int out_height, Error *error) {
    if (s->context && s->width == width && s->height == height && s->out_width == out_width &&
        s->out_height == out_height && same_colour(&s->colour, colour))
        return 0;
    sws_freeContext(s->context);
    bool hdr = colour->transfer != VIDEO_SDR;
    int flags = SWS_AREA;
    if (hdr || (width == out_width && height == out_height)) /* chroma is interpolated in full */
        flags |= SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
    s->context = sws_getContext(width, height, (enum AVPixelFormat)colour->format, out_width,
                                out_height, hdr ? AV_PIX_FMT_GBRP16 : AV_PIX_FMT_GBRP, flags, NULL,
                                NULL, NULL);
    const char *name = av_get_pix_fmt_name((enum AVPixelFormat)colour->format);
    if (!s->context)
        return error_set(error, ERROR_RUN, "pictures of format %s cannot be scaled",
                         name ? name : "?");
    sws_setColorspaceDetails(s->context, sws_getCoefficients(colour->matrix), colour->full,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    s->width = width;
    s->height = height;
    s->out_width = out_width;
    s->out_height = out_height;
    s->colour = *colour;
    return 0;
}

/* Where the window's planes begin. Moves its corner to where a chroma sample lies. */
static int find_window(const uint8_t *data[4], ScaleWindow *window, const AVFrame *frame,
                       Error *error) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    int right = window->left + window->width, bottom = window->top + window->height;
    JEPA_ASSERT(window->left >= 0 && window->top >= 0 && right <= frame->width &&
                bottom <= frame->height && window->width > 0 && window->height > 0);
    window->left &= ~((1 << about->log2_chroma_w) - 1);
    window->top &= ~((1 << about->log2_chroma_h) - 1);
    window->width = right - window->left;
    window->height = bottom - window->top;
    for (int p = 0; p < 4; p++)
        data[p] = frame->data[p];
    if (about->flags & (AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL)) {
        if (window->width == frame->width && window->height == frame->height)
            return 0;
        return error_set(error, ERROR_RUN, "pictures of format %s cannot be cropped", about->name);
    }
    for (int c = 0; c < about->nb_components; c++) {
        int p = about->comp[c].plane;
        if (data[p] != frame->data[p])
            continue; /* moved already: components that share a plane */
        bool chroma = (c == 1 || c == 2) && !(about->flags & AV_PIX_FMT_FLAG_RGB);
        int x = chroma ? window->left >> about->log2_chroma_w : window->left;
        int y = chroma ? window->top >> about->log2_chroma_h : window->top;
        data[p] += (ptrdiff_t)y * frame->linesize[p] + (ptrdiff_t)x * about->comp[c].step;
    }
    return 0;
}

static int apply_hdr(uint8_t *const planes[3], int stride, Scaler *s, const uint8_t *const data[4],
                     const AVFrame *frame, int height, int out_width, int out_height,
                     Error *error) {
    size_t lines = ((size_t)out_width + 31) / 32 * 32, count = lines * (size_t)out_height;
    if (s->wide_count < count + SCALE_PADDING) {
        s->wide_count = count + SCALE_PADDING;
        s->wide = memory_grow(s->wide, 3 * s->wide_count, sizeof *s->wide);
    }
    if (!s->tonemap || tonemap_transfer(s->tonemap) != s->colour.transfer) {
        tonemap_free(s->tonemap);
        s->tonemap = tonemap_new(s->colour.transfer);
    }
    uint16_t *red = s->wide, *green = red + s->wide_count, *blue = green + s->wide_count;
    uint8_t *to[4] = {(uint8_t *)green, (uint8_t *)blue, (uint8_t *)red, NULL};
    int strides[4] = {(int)(2 * lines), (int)(2 * lines), (int)(2 * lines), 0};
    if (sws_scale(s->context, data, frame->linesize, 0, height, to, strides) != out_height)
        return error_set(error, ERROR_RUN, "a picture could not be scaled");
    for (int y = 0; y < out_height; y++) {
        size_t at = (size_t)y * lines;
        uint8_t *rgb[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = planes[c] + (ptrdiff_t)y * stride;
        const uint16_t *wide[3] = {red + at, green + at, blue + at};
        tonemap_apply(rgb, wide, (size_t)out_width, s->tonemap);
    }
    return 0;
}

int scaler_apply(uint8_t *const planes[3], int stride, Scaler *s, const AVFrame *frame,
                 ScaleWindow window, int out_width, int out_height, ClipHdr hdr, Error *error) {
    VideoColour colour;
    const uint8_t *data[4];
    if (video_colour_of(&colour, frame, error) || find_window(data, &window, frame, error))
        return -1;
    if (colour.transfer != VIDEO_SDR && hdr == CLIP_HDR_REFUSE)
        return error_set(error, ERROR_RUN,
                         "HDR video (%s), which data.hdr: refuse keeps out; tonemap takes it in",
                         colour.transfer == VIDEO_PQ ? "PQ" : "HLG");
    if (prepare(s, &colour, window.width, window.height, out_width, out_height, error))
        return -1;
    if (colour.transfer != VIDEO_SDR)
        return apply_hdr(planes, stride, s, data, frame, window.height, out_width, out_height,
                         error);
    uint8_t *to[4] = {planes[1], planes[2], planes[0], NULL}; /* GBR */
    int strides[4] = {stride, stride, stride, 0};
    if (sws_scale(s->context, data, frame->linesize, 0, window.height, to, strides) != out_height)
        return error_set(error, ERROR_RUN, "a picture could not be scaled");
    return 0;
}

void plane_rotate(uint8_t *out, int out_stride, const uint8_t *in, int in_stride, int width,
                  int height, int degrees) {
    int out_width = degrees % 180 ? height : width, out_height = degrees % 180 ? width : height;
    for (int y = 0; y < out_height; y++)
        for (int x = 0; x < out_width; x++) {
            int sx = x, sy = y; /* where the upright pixel is stored */
            if (degrees == 90)
                sx = y, sy = height - 1 - x;
            else if (degrees == 180)
                sx = width - 1 - x, sy = height - 1 - y;
            else if (degrees == 270)
                sx = width - 1 - y, sy = x;
            out[(ptrdiff_t)y * out_stride + x] = in[(ptrdiff_t)sy * in_stride + sx];
        }
}

void plane_mirror(uint8_t *plane, int stride, int width, int height) {
    for (int y = 0; y < height; y++, plane += stride)
        for (int left = 0, right = width - 1; left < right; left++, right--) {
            uint8_t kept = plane[left];
            plane[left] = plane[right];
            plane[right] = kept;
        }
}
