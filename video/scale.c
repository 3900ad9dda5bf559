/* From a decoded frame to the planes of a clip: the crop is taken by moving plane pointers, then
 * one scaling pass to planar RGB, with the stream's own colour matrix and range. See video/clip.h.
 */
#include "base/error.h"
#include "video/clip.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

struct ClipDecoder {
    struct SwsContext *scaler;
    int crop_width, crop_height, out_width, out_height; /* what the scaler was made for */
    int format, colorspace, range;
    uint8_t *picture; /* [3][side][side] before rotation, padded */
    size_t picture_bytes;
};

#define PADDING 64 /* bytes that vector code may touch behind a picture */

ClipDecoder *clip_decoder_new(void) {
    return memory_new(1, sizeof(ClipDecoder));
}

void clip_decoder_free(ClipDecoder *decoder) {
    if (!decoder)
        return;
    sws_freeContext(decoder->scaler);
    free(decoder->picture);
    free(decoder);
}

/* The yuvj formats are yuv with full range, said in a way that swscale deprecates. */
static int plain_format(int format, int *full) {
    switch (format) {
    case AV_PIX_FMT_YUVJ420P:
        *full = 1;
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        *full = 1;
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
        *full = 1;
        return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P:
        *full = 1;
        return AV_PIX_FMT_YUV440P;
    default:
        return format;
    }
}

/* Unspecified matrices: BT.709 from 720 lines on, BT.601 below, the usual guess. */
static int matrix_of(const AVFrame *frame) {
    switch (frame->colorspace) {
    case AVCOL_SPC_BT709:
        return SWS_CS_ITU709;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return SWS_CS_BT2020;
    case AVCOL_SPC_SMPTE240M:
        return SWS_CS_SMPTE240M;
    case AVCOL_SPC_FCC:
        return SWS_CS_FCC;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return SWS_CS_ITU601;
    default:
        return frame->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
    }
}

/* A scaler for this crop and these colours; kept from frame to frame of a clip. */
static int prepare_scaler(ClipDecoder *d, const AVFrame *frame, int width, int height,
                          int out_width, int out_height, Error *error) {
    int full = frame->color_range == AVCOL_RANGE_JPEG;
    int format = plain_format(frame->format, &full), matrix = matrix_of(frame);
    if (d->scaler && d->crop_width == width && d->crop_height == height &&
        d->out_width == out_width && d->out_height == out_height && d->format == format &&
        d->colorspace == matrix && d->range == full)
        return 0;
    sws_freeContext(d->scaler);
    /* For GBRP the plain flags are as accurate as the slow ones when scaling; without scaling,
     * chroma is interpolated in full. */
    int flags = SWS_BILINEAR;
    if (width == out_width && height == out_height)
        flags |= SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
    d->scaler = sws_getContext(width, height, (enum AVPixelFormat)format, out_width, out_height,
                               AV_PIX_FMT_GBRP, flags, NULL, NULL, NULL);
    if (!d->scaler)
        return error_set(error, ERROR_RUN, "pictures of format %s cannot be scaled",
                         av_get_pix_fmt_name((enum AVPixelFormat)format));
    sws_setColorspaceDetails(d->scaler, sws_getCoefficients(matrix), full,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    d->crop_width = width;
    d->crop_height = height;
    d->out_width = out_width;
    d->out_height = out_height;
    d->format = format;
    d->colorspace = matrix;
    d->range = full;
    return 0;
}

/* Scales the window (stored orientation) of a frame to [3][out][out]: red, green, blue planes. */
static int scale_window(uint8_t *planes[3], ClipDecoder *d, const AVFrame *frame, int left, int top,
                        int width, int height, int out, Error *error) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    if (!about || about->flags & AV_PIX_FMT_FLAG_HWACCEL)
        return error_set(error, ERROR_RUN, "the decoder gave a picture of no known format");
    /* Chroma is shared by neighbours: the window starts and ends where a chroma sample does. */
    int right = left + width, bottom = top + height;
    int mask_x = (1 << about->log2_chroma_w) - 1, mask_y = (1 << about->log2_chroma_h) - 1;
    left &= ~mask_x;
    top &= ~mask_y;
    width = right - left;
    height = bottom - top;
    const uint8_t *data[4] = {0};
    int movable = !(about->flags & AV_PIX_FMT_FLAG_BITSTREAM); /* a palette has one component */
    for (int p = 0; p < 4 && frame->data[p]; p++)
        data[p] = frame->data[p];
    if (movable)
        for (int c = 0; c < about->nb_components; c++) {
            int p = about->comp[c].plane;
            if (data[p] != frame->data[p])
                continue; /* moved already: components that share a plane */
            int chroma = (c == 1 || c == 2) && !(about->flags & AV_PIX_FMT_FLAG_RGB);
            int x = chroma ? left >> about->log2_chroma_w : left;
            int y = chroma ? top >> about->log2_chroma_h : top;
            data[p] += (ptrdiff_t)y * frame->linesize[p] + (ptrdiff_t)x * about->comp[c].step;
        }
    else if (left || top || width != frame->width || height != frame->height)
        return error_set(error, ERROR_RUN, "pictures of format %s cannot be cropped", about->name);
    if (prepare_scaler(d, frame, width, height, out, out, error))
        return -1;
    uint8_t *to[4] = {planes[1], planes[2], planes[0], NULL}; /* GBR */
    int stride[4] = {out, out, out, 0};
    if (sws_scale(d->scaler, data, frame->linesize, 0, height, to, stride) != out)
        return error_set(error, ERROR_RUN, "a picture could not be scaled");
    return 0;
}

int clip_frame_rgb(uint8_t **rgb, int *width, int *height, const AVFrame *frame, int rotation,
                   Error *error) {
    ClipDecoder *d = clip_decoder_new();
    int w = frame->width, h = frame->height, turned = rotation % 180 != 0;
    size_t stride = ((size_t)w + 31) / 32 * 32, plane = stride * (size_t)h + PADDING;
    uint8_t *planes = memory_new(3 * plane, 1);
    uint8_t *to[4] = {planes + plane, planes + 2 * plane, planes, NULL}; /* GBR */
    int strides[4] = {(int)stride, (int)stride, (int)stride, 0};
    int result = prepare_scaler(d, frame, w, h, w, h, error);
    if (!result && sws_scale(d->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, h,
                             to, strides) != h)
        result = error_set(error, ERROR_RUN, "a picture could not be converted to RGB");
    *rgb = NULL;
    *width = turned ? h : w;
    *height = turned ? w : h;
    if (!result) {
        *rgb = memory_new((size_t)w * (size_t)h, 3);
        for (int y = 0; y < *height; y++)
            for (int x = 0; x < *width; x++) {
                int sx = x, sy = y; /* where the upright pixel is stored */
                if (rotation == 90)
                    sx = y, sy = h - 1 - x;
                else if (rotation == 180)
                    sx = w - 1 - x, sy = h - 1 - y;
                else if (rotation == 270)
                    sx = w - 1 - y, sy = x;
                for (int c = 0; c < 3; c++)
                    (*rgb)[((size_t)y * (size_t)*width + (size_t)x) * 3 + (size_t)c] =
                        planes[(size_t)c * plane + (size_t)sy * stride + (size_t)sx];
            }
    }
    free(planes);
    clip_decoder_free(d);
    return result;
}

typedef struct Take {
    uint8_t *clip;
    ClipDecoder *decoder;
    const VideoFile *file;
    const ClipDraw *draw;
    const ClipSpec *spec;
} Take;

/* The crop is chosen in the upright frame; in the stored one it lies elsewhere. */
static void stored_window(int window[4], const Take *take) {
    const ClipDraw *d = take->draw;
    int w = take->file->width, h = take->file->height;
    int left = d->left, top = d->top, width = d->width, height = d->height;
    switch (take->file->rotation) {
    case 90: /* upright (x, y) = stored (y, h - 1 - x) */
        window[0] = top, window[1] = h - left - width, window[2] = height, window[3] = width;
        break;
    case 180:
        window[0] = w - left - width, window[1] = h - top - height, window[2] = width,
        window[3] = height;
        break;
    case 270: /* upright (x, y) = stored (w - 1 - y, x) */
        window[0] = w - top - height, window[1] = left, window[2] = height, window[3] = width;
        break;
    default:
        window[0] = left, window[1] = top, window[2] = width, window[3] = height;
    }
}

/* Turns an S x S plane clockwise. */
static void rotate_plane(uint8_t *out, const uint8_t *in, int side, int degrees) {
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            int sx = x, sy = y;
            if (degrees == 90)
                sx = y, sy = side - 1 - x;
            else if (degrees == 180)
                sx = side - 1 - x, sy = side - 1 - y;
            else if (degrees == 270)
                sx = side - 1 - y, sy = x;
            out[y * side + x] = in[sy * side + sx];
        }
}

static int take_frame(void *context, size_t i, const AVFrame *frame, Error *error) {
    const Take *take = context;
    ClipDecoder *d = take->decoder;
    int side = take->spec->crop, window[4];
    if (frame->width != take->file->width || frame->height != take->file->height)
        return error_set(error, ERROR_RUN, "the picture size changes within the video");
    stored_window(window, take);
    size_t plane = (size_t)side * side, channel = plane * (size_t)take->spec->frames;
    if (d->picture_bytes < 3 * plane + PADDING) {
        d->picture_bytes = 3 * plane + PADDING;
        d->picture = memory_grow(d->picture, d->picture_bytes, 1);
    }
    uint8_t *planes[3] = {d->picture, d->picture + plane, d->picture + 2 * plane};
    if (scale_window(planes, d, frame, window[0], window[1], window[2], window[3], side, error))
        return -1;
    for (int c = 0; c < 3; c++) {
        uint8_t *out = take->clip + (size_t)c * channel + i * plane;
        if (take->file->rotation)
            rotate_plane(out, planes[c], side, take->file->rotation);
        else
            memcpy(out, planes[c], plane);
    }
    return 0;
}

int clip_decode(uint8_t *clip, ClipDecoder *decoder, const VideoFile *file, const ClipDraw *draw,
                const ClipSpec *spec, Error *error) {
    VideoReader *reader;
    if (video_reader_open(&reader, file, error))
        return -1;
    Take take = {clip, decoder, file, draw, spec};
    int result = video_reader_frames(reader, draw->frames, (size_t)spec->frames, take_frame, &take,
                                     error);
    video_reader_close(reader);
    return result;
}
