/* Pictures to a video file: RGB -> Y'CbCr 4:2:0 (libswscale), or as it is, or 256 colours -> an
 * encoder of libavcodec (video/encode_codec.c chooses) -> libavformat.
 *
 * Limited range; the matrix is BT.601 below 720 lines and BT.709 from there on, as players assume,
 * and the stream says so. A keyframe every 12 frames (or each), no B-frames: frame n is packet n.
 * The muxer writes no time stamps or version strings. The file is written as `path`.partial,
 * flushed to disk and renamed.
 */
#include "video/encode.h"
#include "base/file.h"
#include "video/encode_codec.h"
#include "video/palette.h"
#include <errno.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYFRAME_EVERY  12 /* frames */
#define H264_QUALITY    18 /* crf: close to what the eye can tell apart */
#define INTRA_QUANTISER 20 /* QP of pictures coded one by one: finer than the eye can tell */
#define HD_LINES        720
#define SIZE_MAX_SIDE   8192 /* pixels */
#define GIF_LEAST       2    /* 1/100 s that a picture of a GIF lasts: viewers slow down less */

struct VideoWriter {
    char *path, *partial;
    const EncodeContainer *container;
    int width, height;
    AVFormatContext *muxer;
    AVCodecContext *encoder;
    AVStream *stream; /* owned by the muxer */
    struct SwsContext *scaler;
    AVFrame *frame;
    AVPacket *packet;
    int64_t frames;   /* taken so far */
    int64_t shown;    /* 1/100 s at which the last one is: of GIF */
    int64_t duration; /* of a frame, in time base, where the encoder does not say */
};

static AVRational rational(VideoFraction of) {
    return (AVRational){of.num, of.den};
}

VideoWriterSpec video_writer_plain(int width, int height, VideoFraction rate) {
    bool hd = height >= HD_LINES;
    return (VideoWriterSpec){.width = width,
                             .height = height,
                             .time_base = {rate.den, rate.num},
                             .rate = rate,
                             .gop = KEYFRAME_EVERY,
                             .crf = H264_QUALITY,
                             .matrix = hd ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M,
                             .primaries = hd ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M,
                             .transfer = hd ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M};
}

const char *video_writer_codec_of(const char *path) {
    VideoWriterSpec spec = video_writer_plain(64, 64, (VideoFraction){16, 1});
    const EncodeContainer *container = encode_container(path);
    if (!av_guess_format(container->muxer, NULL, NULL))
        return "none";
    AVCodecContext *encoder = encode_codec_open(container, &spec, 1);
    const char *name = encoder ? encoder->codec->name : "none"; /* belongs to libavcodec */
    avcodec_free_context(&encoder);
    return name;
}

const char *video_writer_codec(void) {
    return video_writer_codec_of(".mp4");
}

static int av_failed(VideoWriter *writer, int code, const char *what, Error *error) {
    char reason[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, reason, sizeof reason);
    return error_set(error, ERROR_RUN, "%s: cannot %s: %s", writer->path, what, reason);
}

void video_writer_abandon(VideoWriter *writer) {
    if (!writer)
        return;
    if (writer->muxer) {
        if (writer->muxer->pb) {
            avio_closep(&writer->muxer->pb);
            unlink(writer->partial);
        }
        avformat_free_context(writer->muxer);
    }
    avcodec_free_context(&writer->encoder);
    sws_freeContext(writer->scaler);
    av_frame_free(&writer->frame);
    av_packet_free(&writer->packet);
    free(writer->path);
    free(writer->partial);
    free(writer);
}

/* Limited range out, full range in, the matrix that the stream is tagged with. */
static int scaler_open(VideoWriter *writer, Error *error) {
    writer->scaler = sws_getContext(
        writer->width, writer->height, AV_PIX_FMT_RGB24, writer->width, writer->height,
        AV_PIX_FMT_YUV420P, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
    const int *matrix = sws_getCoefficients(writer->height >= HD_LINES ? SWS_CS_ITU709
                                                                       : SWS_CS_ITU601);
    if (!writer->scaler ||
        sws_setColorspaceDetails(writer->scaler, matrix, 1, matrix, 0, 0, 1 << 16, 1 << 16) < 0)
        return error_set(error, ERROR_RUN, "%s: libswscale cannot convert RGB to 4:2:0 at %dx%d",
                         writer->path, writer->width, writer->height);
    return 0;
}

static int muxer_open(VideoWriter *writer, const VideoWriterSpec *spec, Error *error) {
    const EncodeContainer *container = writer->container;
    int code = avformat_alloc_output_context2(&writer->muxer, NULL, container->muxer, NULL);
    if (code < 0)
        return error_set(error, ERROR_RUN, "%s: libavformat of this machine cannot write %s",
                         writer->path, container->what);
    writer->muxer->flags |= AVFMT_FLAG_BITEXACT;
    int header = writer->muxer->oformat->flags & AVFMT_GLOBALHEADER;
    writer->encoder = encode_codec_open(container, spec, header);
    if (!writer->encoder)
        return error_set(
            error, ERROR_RUN, "%s: %s%s of libavcodec on this machine opens for %s of %dx%d pixels",
            writer->path, spec->encoder ? "no encoder " : "no encoder",
            spec->encoder ? spec->encoder : "", container->what, writer->width, writer->height);
    writer->stream = avformat_new_stream(writer->muxer, NULL);
    if (!writer->stream)
        return av_failed(writer, AVERROR(ENOMEM), "add a stream", error);
    writer->stream->time_base = writer->encoder->time_base;
    writer->stream->avg_frame_rate = writer->encoder->framerate;
    writer->stream->sample_aspect_ratio = writer->encoder->sample_aspect_ratio;
    code = avcodec_parameters_from_context(writer->stream->codecpar, writer->encoder);
    if (code < 0)
        return av_failed(writer, code, "describe the stream", error);

    char *url = memory_text("file:%s", writer->partial); /* a ':' in the path is no protocol */
    code = avio_open(&writer->muxer->pb, url, AVIO_FLAG_WRITE);
    free(url);
    if (code < 0)
        return av_failed(writer, code, "create the file", error);
    AVDictionary *options = NULL;
    if (container->loop)
        av_dict_set_int(&options, container->loop, container->loops, 0);
    code = avformat_write_header(writer->muxer, &options);
    av_dict_free(&options);
    return code < 0 ? av_failed(writer, code, "write the header", error) : 0;
}

int video_writer_open_spec(VideoWriter **out, const char *path, const VideoWriterSpec *spec,
                           Error *error) {
    int width = spec->width, height = spec->height;
    const EncodeContainer *container = encode_container(path);
    bool even = container->format == AV_PIX_FMT_YUV420P;
    *out = NULL;
    if (width < 2 || height < 2 || (even && (width % 2 || height % 2)) || width > SIZE_MAX_SIDE ||
        height > SIZE_MAX_SIDE)
        return error_set(error, ERROR_USAGE, "%s: width and height must be %s2 to %d, not %dx%d",
                         path, even ? "even, " : "", SIZE_MAX_SIDE, width, height);
    VideoWriter *writer = memory_new(1, sizeof *writer);
    writer->container = container;
    writer->shown = -GIF_LEAST;
    writer->path = memory_text("%s", path);
    writer->partial = memory_text("%s.partial", path);
    writer->width = width;
    writer->height = height;
    /* one frame at the average rate */
    double ticks = spec->rate.num > 0
                       ? 1 / (av_q2d(rational(spec->rate)) * av_q2d(rational(spec->time_base)))
                       : 1;
    writer->duration = ticks >= 1 && ticks < 1e9 ? (int64_t)(ticks + 0.5) : 1;
    int result = muxer_open(writer, spec, error);
    if (result == 0 && even)
        result = scaler_open(writer, error);
    if (result == 0) {
        writer->packet = av_packet_alloc();
        writer->frame = av_frame_alloc();
        JEPA_ASSERT(writer->packet && writer->frame);
        writer->frame->format = container->format;
        writer->frame->width = width;
        writer->frame->height = height;
        writer->frame->color_range = writer->encoder->color_range;
        writer->frame->colorspace = writer->encoder->colorspace;
        writer->frame->color_primaries = writer->encoder->color_primaries;
        writer->frame->color_trc = writer->encoder->color_trc;
        writer->frame->chroma_location = writer->encoder->chroma_sample_location;
        writer->frame->quality = writer->encoder->global_quality;
        int code = av_frame_get_buffer(writer->frame, 0);
        if (code < 0)
            result = av_failed(writer, code, "allocate a picture", error);
    }
    if (result) {
        video_writer_abandon(writer);
        return -1;
    }
    *out = writer;
    return 0;
}

static int open_plain(VideoWriter **out, const char *path, int fps, const VideoWriterSpec *spec,
                      Error *error) {
    *out = NULL;
    if (fps < 1 || fps > 1000)
        return error_set(error, ERROR_USAGE, "%s: frames per second must be 1 to 1000, not %d",
                         path, fps);
    return video_writer_open_spec(out, path, spec, error);
}

int video_writer_open_with(VideoWriter **out, const char *path, int width, int height, int fps,
                           const char *encoder, Error *error) {
    VideoWriterSpec spec = video_writer_plain(width, height, (VideoFraction){fps, 1});
    spec.encoder = encoder;
    return open_plain(out, path, fps, &spec, error);
}

int video_writer_open_intra(VideoWriter **out, const char *path, int width, int height, int fps,
                            Error *error) {
    VideoWriterSpec spec = video_writer_plain(width, height, (VideoFraction){fps, 1});
    spec.gop = 1;
    spec.quantiser = INTRA_QUANTISER;
    return open_plain(out, path, fps, &spec, error);
}

int video_writer_open(VideoWriter **writer, const char *path, int width, int height, int fps,
                      Error *error) {
    return video_writer_open_with(writer, path, width, height, fps, NULL, error);
}

/* Hands `frame` (NULL: no more) to the encoder and writes every packet that comes out. */
static int encode(VideoWriter *writer, const AVFrame *frame, Error *error) {
    int code = avcodec_send_frame(writer->encoder, frame);
    if (code < 0)
        return av_failed(writer, code, "encode", error);
    while ((code = avcodec_receive_packet(writer->encoder, writer->packet)) >= 0) {
        writer->packet->stream_index = writer->stream->index;
        if (writer->packet->duration == 0)
            writer->packet->duration = writer->duration;
        av_packet_rescale_ts(writer->packet, writer->encoder->time_base, writer->stream->time_base);
        code = av_interleaved_write_frame(writer->muxer, writer->packet);
        if (code < 0)
            return av_failed(writer, code, "write", error);
    }
    if (code != AVERROR(EAGAIN) && code != AVERROR_EOF)
        return av_failed(writer, code, "encode", error);
    return 0;
}

AVFrame *video_writer_picture(VideoWriter *writer, Error *error) {
    int code = av_frame_make_writable(writer->frame);
    if (code < 0)
        av_failed(writer, code, "allocate a picture", error);
    return code < 0 ? NULL : writer->frame;
}

int video_writer_put(VideoWriter *writer, int64_t pts, Error *error) {
    writer->frames++;
    writer->frame->pts = pts;
    return encode(writer, writer->frame, error);
}

/* Indices and colours of a GIF's picture. */
static void fill_palette(const VideoWriter *writer, const uint8_t *rgb) {
    AVFrame *frame = writer->frame;
    size_t width = (size_t)writer->width;
    uint8_t palette[PALETTE_MOST][3] = {{0}};
    uint8_t *index = memory_new(width * (size_t)writer->height, 1);
    palette_choose(palette, index, rgb, (int64_t)width * writer->height);
    for (int y = 0; y < writer->height; y++)
        memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], index + (size_t)y * width,
               width);
    uint32_t *colors = (uint32_t *)(void *)frame->data[1];
    for (int i = 0; i < PALETTE_MOST; i++)
        colors[i] = 0xFF000000u | (uint32_t)palette[i][0] << 16 | (uint32_t)palette[i][1] << 8 |
                    palette[i][2];
    free(index);
}

int video_writer_frame(VideoWriter *writer, const uint8_t *rgb, Error *error) {
    AVFrame *frame = video_writer_picture(writer, error);
    const uint8_t *const source[4] = {rgb};
    const int stride[4] = {writer->width * 3};
    if (!frame)
        return -1;
    if (frame->format == AV_PIX_FMT_PAL8) {
        int64_t at = av_rescale_q_rnd(writer->frames, writer->encoder->time_base,
                                      (AVRational){1, 100}, AV_ROUND_DOWN);
        if (at < writer->shown + GIF_LEAST) {
            writer->frames++;
            return 0;
        }
        writer->shown = at;
        fill_palette(writer, rgb);
    } else if (frame->format == AV_PIX_FMT_RGB24) {
        for (int y = 0; y < writer->height; y++)
            memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0],
                   rgb + (size_t)y * (size_t)stride[0], (size_t)stride[0]);
    } else {
        sws_scale(writer->scaler, source, stride, 0, writer->height, frame->data, frame->linesize);
    }
    return video_writer_put(writer, writer->frames, error);
}

/* Closes the file and reports every error that was held back, of a full disk for instance. */
static int finish(VideoWriter *writer, Error *error) {
    if (writer->frames == 0)
        return error_set(error, ERROR_RUN, "%s: a video needs at least one frame", writer->path);
    if (encode(writer, NULL, error))
        return -1;
    int code = av_write_trailer(writer->muxer);
    if (code < 0)
        return av_failed(writer, code, "write", error);
    avio_flush(writer->muxer->pb);
    code = writer->muxer->pb->error;
    int closed = avio_closep(&writer->muxer->pb);
    if (code >= 0)
        code = closed;
    if (code < 0) {
        unlink(writer->partial);
        return av_failed(writer, code, "write", error);
    }
    int file = open(writer->partial, O_RDONLY | O_CLOEXEC);
    int failed = file < 0 || fsync(file) || rename(writer->partial, writer->path);
    int reason = errno;
    if (file >= 0)
        close(file);
    if (failed) {
        unlink(writer->partial);
        return error_set(error, ERROR_RUN, "%s: cannot finish the file: %s", writer->path,
                         strerror(reason));
    }
    char *folder = path_folder(writer->path);
    int result = folder_sync(folder, error);
    free(folder);
    return result;
}

int video_writer_close(VideoWriter *writer, Error *error) {
    int result = finish(writer, error);
    video_writer_abandon(writer);
    return result;
}
