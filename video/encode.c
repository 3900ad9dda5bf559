/* Pictures to a video file: RGB -> Y'CbCr 4:2:0 (libswscale) -> H.264 (libavcodec) -> MP4
 * (libavformat).
 *
 * Encoders are tried in this order and the first that opens is used: libx264, libopenh264, any
 * other software H.264 encoder, and MPEG-4 part 2, which is part of libavcodec itself. Limited
 * range; the matrix is BT.601 below 720 lines and BT.709 from there on, as players assume, and the
 * stream says so. A keyframe every 12 frames (or each), no B-frames: frame n is packet n. One
 * thread, no time stamps or version strings from the muxer: equal pictures give equal bytes. The
 * file is written as `path`.partial, flushed to disk and renamed.
 */
#include "video/encode.h"
#include "base/file.h"
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
#define MPEG4_QUALITY   2  /* quantiser, 1 (best) to 31 */
#define HD_LINES        720
#define SIZE_MAX_SIDE   8192 /* pixels */
#define QUIET           64   /* added to the level of libavcodec's messages: they never show */

struct VideoWriter {
    char *path, *partial;
    int width, height;
    AVFormatContext *muxer;
    AVCodecContext *encoder;
    AVStream *stream; /* owned by the muxer */
    struct SwsContext *scaler;
    AVFrame *frame;
    AVPacket *packet;
    int64_t frames;   /* taken so far */
    int64_t duration; /* of a frame, in time base, where the encoder does not say */
};

/* The encoder number `i` in order of preference, NULL for one this build lacks; *end after the
 * last. */
static const AVCodec *candidate(int i, int *end) {
    *end = 0;
    if (i == 0)
        return avcodec_find_encoder_by_name("libx264");
    if (i == 1)
        return avcodec_find_encoder_by_name("libopenh264");
    void *walk = NULL;
    const AVCodec *codec;
    for (int n = 2; (codec = av_codec_iterate(&walk));) {
        if (codec->id != AV_CODEC_ID_H264 || !av_codec_is_encoder(codec) ||
            (codec->capabilities & (AV_CODEC_CAP_HARDWARE | AV_CODEC_CAP_HYBRID)))
            continue;
        if (n++ == i)
            return codec;
    }
    *end = 1;
    return avcodec_find_encoder_by_name("mpeg4");
}

static AVRational rational(VideoFraction of) {
    return (AVRational){of.num, of.den};
}

/* An opened encoder, or NULL where this codec does not open (a wrapper without its library). */
static AVCodecContext *encoder_open(const AVCodec *codec, const VideoWriterSpec *spec,
                                    int global_header) {
    AVCodecContext *encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!encoder)
        return NULL;
    encoder->log_level_offset = QUIET;
    encoder->width = spec->width;
    encoder->height = spec->height;
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->time_base = rational(spec->time_base);
    encoder->framerate = rational(spec->rate);
    encoder->sample_aspect_ratio = spec->aspect.num > 0 ? rational(spec->aspect)
                                                        : (AVRational){1, 1};
    encoder->gop_size = spec->gop;
    encoder->max_b_frames = strcmp(codec->name, "libx264") ? 0 : spec->b_frames;
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT | (global_header ? AV_CODEC_FLAG_GLOBAL_HEADER : 0);
    encoder->color_range = AVCOL_RANGE_MPEG;
    encoder->chroma_sample_location = AVCHROMA_LOC_LEFT;
    encoder->colorspace = (enum AVColorSpace)spec->matrix;
    encoder->color_primaries = (enum AVColorPrimaries)spec->primaries;
    encoder->color_trc = (enum AVColorTransferCharacteristic)spec->transfer;
    AVDictionary *options = NULL;
    if (strcmp(codec->name, "libx264") == 0) {
        av_dict_set_int(&options, spec->quantiser > 0 ? "qp" : "crf",
                        spec->quantiser > 0 ? spec->quantiser : spec->crf, 0);
        av_dict_set(&options, "preset", "fast", 0);
    } else if (codec->id == AV_CODEC_ID_H264) { /* others know a bit rate only: 0.5 bit per pixel */
        double fps = spec->rate.num > 0 ? av_q2d(rational(spec->rate)) : 25;
        encoder->bit_rate = (int64_t)(spec->width * spec->height * fps / 2) + 100000;
    } else {
        encoder->flags |= AV_CODEC_FLAG_QSCALE;
        encoder->global_quality = FF_QP2LAMBDA * MPEG4_QUALITY;
    }
    int opened = avcodec_open2(encoder, codec, &options);
    av_dict_free(&options);
    if (opened < 0)
        avcodec_free_context(&encoder);
    return encoder;
}

static AVCodecContext *encoder_best(const VideoWriterSpec *spec, int global_header) {
    AVCodecContext *encoder = NULL;
    for (int i = 0, end = 0; !encoder && !end; i++)
        encoder = encoder_open(candidate(i, &end), spec, global_header);
    return encoder;
}

/* Pictures at a steady rate, coloured as players assume for their size. */
static VideoWriterSpec plain_spec(int width, int height, int fps, const char *encoder) {
    bool hd = height >= HD_LINES;
    return (VideoWriterSpec){.width = width,
                             .height = height,
                             .time_base = {1, fps},
                             .rate = {fps, 1},
                             .gop = KEYFRAME_EVERY,
                             .crf = H264_QUALITY,
                             .matrix = hd ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M,
                             .primaries = hd ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M,
                             .transfer = hd ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M,
                             .encoder = encoder};
}

const char *video_writer_codec(void) {
    VideoWriterSpec spec = plain_spec(64, 64, 16, NULL);
    AVCodecContext *encoder = encoder_best(&spec, 1);
    const char *name = encoder ? encoder->codec->name : "none"; /* belongs to libavcodec */
    avcodec_free_context(&encoder);
    return name;
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
    const char *name = spec->encoder;
    int code = avformat_alloc_output_context2(&writer->muxer, NULL, "mp4", NULL);
    if (code < 0)
        return av_failed(writer, code, "make an MP4 file (was libavformat built without it?)",
                         error);
    writer->muxer->flags |= AVFMT_FLAG_BITEXACT;
    int header = writer->muxer->oformat->flags & AVFMT_GLOBALHEADER;
    if (name)
        writer->encoder = encoder_open(avcodec_find_encoder_by_name(name), spec, header);
    else
        writer->encoder = encoder_best(spec, header);
    if (!writer->encoder)
        return error_set(error, ERROR_RUN,
                         "%s: the encoder %s of libavcodec does not open at %dx%d", writer->path,
                         name ? name : "mpeg4", writer->width, writer->height);
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
    code = avformat_write_header(writer->muxer, NULL);
    return code < 0 ? av_failed(writer, code, "write the header", error) : 0;
}

int video_writer_open_spec(VideoWriter **out, const char *path, const VideoWriterSpec *spec,
                           Error *error) {
    int width = spec->width, height = spec->height;
    *out = NULL;
    if (width < 2 || height < 2 || width % 2 || height % 2 || width > SIZE_MAX_SIDE ||
        height > SIZE_MAX_SIDE)
        return error_set(error, ERROR_USAGE,
                         "%s: width and height must be even, 2 to %d, not %dx%d", path,
                         SIZE_MAX_SIDE, width, height);
    VideoWriter *writer = memory_new(1, sizeof *writer);
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
    if (result == 0)
        result = scaler_open(writer, error);
    if (result == 0) {
        writer->packet = av_packet_alloc();
        writer->frame = av_frame_alloc();
        JEPA_ASSERT(writer->packet && writer->frame);
        writer->frame->format = AV_PIX_FMT_YUV420P;
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
    VideoWriterSpec spec = plain_spec(width, height, fps, encoder);
    return open_plain(out, path, fps, &spec, error);
}

int video_writer_open_intra(VideoWriter **out, const char *path, int width, int height, int fps,
                            Error *error) {
    VideoWriterSpec spec = plain_spec(width, height, fps, NULL);
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

int video_writer_frame(VideoWriter *writer, const uint8_t *rgb, Error *error) {
    if (!video_writer_picture(writer, error))
        return -1;
    const uint8_t *const source[4] = {rgb};
    const int stride[4] = {writer->width * 3};
    sws_scale(writer->scaler, source, stride, 0, writer->height, writer->frame->data,
              writer->frame->linesize);
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
