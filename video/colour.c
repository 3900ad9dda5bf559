/* The colours of a stream. See video/colour.h. */
#include "video/colour.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#define HD_LINES   720
#define HD_COLUMNS 1280

/* The yuvj formats are yuv with full range, said in a way that swscale deprecates. */
static int plain_format(int format, bool *full) {
    switch (format) {
    case AV_PIX_FMT_YUVJ420P:
        *full = true;
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        *full = true;
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
        *full = true;
        return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P:
        *full = true;
        return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ411P:
        *full = true;
        return AV_PIX_FMT_YUV411P;
    default:
        return format;
    }
}

static int matrix_of(const AVFrame *frame) {
    switch (frame->colorspace) {
    case AVCOL_SPC_BT709:
        return SWS_CS_ITU709;
    case AVCOL_SPC_BT2020_NCL:
        return SWS_CS_BT2020;
    case AVCOL_SPC_SMPTE240M:
        return SWS_CS_SMPTE240M;
    case AVCOL_SPC_FCC:
        return SWS_CS_FCC;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return SWS_CS_ITU601;
    case AVCOL_SPC_UNSPECIFIED:
    case AVCOL_SPC_RESERVED:
    case AVCOL_SPC_RGB: /* on a YCbCr format: a mistake of the writer's */
        return frame->height >= HD_LINES || frame->width >= HD_COLUMNS ? SWS_CS_ITU709
                                                                       : SWS_CS_ITU601;
    default:
        return -1;
    }
}

int video_colour_of(VideoColour *colour, const AVFrame *frame, Error *error) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    bool full = frame->color_range == AVCOL_RANGE_JPEG;
    if (!about)
        return error_set(error, ERROR_RUN, "the decoder gave a picture of no known format");
    *colour = (VideoColour){.format = plain_format(frame->format, &full)};
    bool coloured = !(about->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) &&
                    about->nb_components >= 3;
    colour->matrix = coloured ? matrix_of(frame) : SWS_CS_ITU601;
    colour->full = full || about->flags & AV_PIX_FMT_FLAG_RGB;
    colour->wide = frame->color_primaries == AVCOL_PRI_BT2020;
    colour->transfer = frame->color_trc == AVCOL_TRC_SMPTE2084      ? VIDEO_PQ
                       : frame->color_trc == AVCOL_TRC_ARIB_STD_B67 ? VIDEO_HLG
                                                                    : VIDEO_SDR;
    if (colour->matrix < 0)
        return error_set(error, ERROR_RUN, "colours by the matrix %s are not read: transcode it",
                         av_color_space_name(frame->colorspace)
                             ? av_color_space_name(frame->colorspace)
                             : "of no known number");
    return 0;
}
