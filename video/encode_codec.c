/* Encoders, the best first, for each kind of file:
 *
 *   .mp4   libx264, libopenh264, any other software H.264 encoder, MPEG-4 part 2 (libavcodec's own)
 *   .webm  libvpx-vp9, libvpx (VP8), libaom-av1
 *   .apng  apng: every pixel as it was drawn
 *   .gif   gif: 256 colours a picture (video/palette.h)
 * One thread, no version strings: equal pictures give equal bytes. See video/encode.h. */
#include "video/encode_codec.h"
#include <libavcodec/avcodec.h>
#include <string.h>

#define MPEG4_QUALITY 2  /* quantiser, 1 (best) to 31 */
#define VP9_QUALITY   24 /* crf, 0 to 63; as fine to the eye as libx264's 18 */
#define QUIET         64 /* added to the level of libavcodec's messages: they never show */

static const EncodeContainer containers[] = {
    {".mp4", "mp4", "an MP4 file", AV_PIX_FMT_YUV420P, -1, NULL},
    {".webm", "webm", "a WebM file", AV_PIX_FMT_YUV420P, -1, NULL},
    {".apng", "apng", "an animated PNG", AV_PIX_FMT_RGB24, 0, "plays"},
    {".gif", "gif", "a GIF", AV_PIX_FMT_PAL8, 0, "loop"},
};

const EncodeContainer *encode_container(const char *path) {
    size_t length = strlen(path);
    for (size_t i = 1; i < sizeof containers / sizeof *containers; i++) {
        size_t end = strlen(containers[i].extension);
        if (length > end && !strcmp(path + length - end, containers[i].extension))
            return &containers[i];
    }
    return &containers[0];
}

/* The encoder of H.264 number `i` in order of preference, NULL for one this build lacks; *end after
 * the last. */
static const AVCodec *h264(int i, int *end) {
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

/* The same of any container. */
static const AVCodec *candidate(const EncodeContainer *container, int i, int *end) {
    static const char *const webm[] = {"libvpx-vp9", "libvpx", "libaom-av1"};
    if (container == &containers[0])
        return h264(i, end);
    if (container == &containers[1]) {
        *end = i == 2;
        return avcodec_find_encoder_by_name(webm[i]);
    }
    *end = 1;
    return avcodec_find_encoder_by_name(container->muxer);
}

static AVRational rational(VideoFraction of) {
    return (AVRational){of.num, of.den};
}

static void set_quality(AVCodecContext *encoder, AVDictionary **options,
                        const VideoWriterSpec *spec) {
    const char *name = encoder->codec->name;
    double fps = spec->rate.num > 0 ? av_q2d(rational(spec->rate)) : 25;
    int64_t half_a_bit = (int64_t)(spec->width * spec->height * fps / 2) + 100000; /* a pixel */
    if (!strcmp(name, "libx264")) {
        av_dict_set_int(options, spec->quantiser > 0 ? "qp" : "crf",
                        spec->quantiser > 0 ? spec->quantiser : spec->crf, 0);
        av_dict_set(options, "preset", "fast", 0);
    } else if (!strcmp(name, "libvpx-vp9") || !strcmp(name, "libaom-av1")) {
        av_dict_set_int(options, "crf", VP9_QUALITY, 0);
        av_dict_set(options, "deadline", "good", 0);
        av_dict_set_int(options, "cpu-used", 5, 0);
        encoder->bit_rate = 0; /* quality alone decides */
    } else if (!strcmp(name, "libvpx")) {
        av_dict_set_int(options, "crf", 4, 0);
        encoder->bit_rate = 4 * half_a_bit;              /* at most */
    } else if (encoder->codec->id == AV_CODEC_ID_H264) { /* others know a bit rate only */
        encoder->bit_rate = half_a_bit;
    } else {
        encoder->flags |= AV_CODEC_FLAG_QSCALE;
        encoder->global_quality = FF_QP2LAMBDA * MPEG4_QUALITY;
    }
}

/* An opened encoder, or NULL where this codec does not open (a wrapper without its library). */
static AVCodecContext *open_codec(const AVCodec *codec, const EncodeContainer *container,
                                  const VideoWriterSpec *spec, int global_header) {
    AVCodecContext *encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!encoder)
        return NULL;
    encoder->log_level_offset = QUIET;
    encoder->width = spec->width;
    encoder->height = spec->height;
    encoder->pix_fmt = (enum AVPixelFormat)container->format;
    encoder->time_base = rational(spec->time_base);
    encoder->framerate = rational(spec->rate);
    encoder->sample_aspect_ratio = spec->aspect.num > 0 ? rational(spec->aspect)
                                                        : (AVRational){1, 1};
    encoder->gop_size = spec->gop;
    encoder->max_b_frames = strcmp(codec->name, "libx264") ? 0 : spec->b_frames;
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT | (global_header ? AV_CODEC_FLAG_GLOBAL_HEADER : 0);
    AVDictionary *options = NULL;
    if (container->format == AV_PIX_FMT_YUV420P) {
        encoder->color_range = AVCOL_RANGE_MPEG;
        encoder->chroma_sample_location = AVCHROMA_LOC_LEFT;
        encoder->colorspace = (enum AVColorSpace)spec->matrix;
        encoder->color_primaries = (enum AVColorPrimaries)spec->primaries;
        encoder->color_trc = (enum AVColorTransferCharacteristic)spec->transfer;
        set_quality(encoder, &options, spec);
    }
    int opened = avcodec_open2(encoder, codec, &options);
    av_dict_free(&options);
    if (opened < 0)
        avcodec_free_context(&encoder);
    return encoder;
}

AVCodecContext *encode_codec_open(const EncodeContainer *container, const VideoWriterSpec *spec,
                                  int global_header) {
    if (spec->encoder)
        return open_codec(avcodec_find_encoder_by_name(spec->encoder), container, spec,
                          global_header);
    AVCodecContext *encoder = NULL;
    for (int i = 0, end = 0; !encoder && !end; i++)
        encoder = open_codec(candidate(container, i, &end), container, spec, global_header);
    return encoder;
}
