/* Decoding on a GPU. See video/hardware.h.
 *
 * Facts of FFmpeg 4.4 to 7.1 that this file goes by (libavcodec/decode.c, nvdec.c,
 * libavutil/hwcontext_cuda.c):
 *   - AVCodecContext.hw_device_ctx and get_format choose CUDA; where the driver refuses the stream,
 *     get_format is asked again without it. sw_pix_fmt is then what software would give.
 *   - The pool of surfaces is as large as the stream needs and 5 more, since one frame at a time is
 *     held here: extra_hw_frames is not needed. The driver keeps as many again for its output.
 *   - Frames are the driver's own surfaces; where FFmpeg would copy each of them on the GPU first
 *     (from 6.0 on), it is asked not to ("unsafe output": for who holds many frames).
 *   - Of a frame on the GPU only right and bottom are cropped; left and top are left to us.
 *   - av_hwframe_transfer_data says nothing of copies that fail, so that a mark is laid where the
 *     pixels come (lay_marks). Where an odd size has its chroma is not sure: odd sizes are refused.
 *   - Software adds film grain that it is asked for, the GPU does not or in its own way. */
#include "video/hardware.h"
#include "base/log.h"
#include "video/ffmpeg.h"
#include "video/planes.h"
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SURFACES 42 /* of one decoder: 16 references and 5 more, decoded and given out */
#define SAID_MAX 16
#define MARK     32 /* bytes; lines are at least as long */

#ifdef FF_CODEC_PROPERTY_FILM_GRAIN
#define WANTS_GRAIN FF_CODEC_PROPERTY_FILM_GRAIN
#else
#define WANTS_GRAIN 0 /* before FFmpeg 5 it is only known for AV1, which then stays in software */
#endif

static const enum AVCodecID exact[] = {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_VP9,
                                       AV_CODEC_ID_AV1};

struct VideoHardware {
    AVBufferRef *device;
    pthread_mutex_t lock;
    int places;
    size_t bytes; /* of places */
    VideoHardwareStats stats;
    int said[SAID_MAX], said_count; /* codecs */
};

struct HardwarePlace {
    VideoHardware *hardware;
    const AVCodec *codec;
    size_t bytes;
    AVFrame *staging; /* what was downloaded last; NULL: nothing yet */
};

/* The driver's part for video, which containers often lack. */
static bool has_video_library(void) {
    void *library = dlopen("libnvcuvid.so.1", RTLD_LAZY);
    if (library)
        dlclose(library);
    return library != NULL;
}

int video_hardware_open(VideoHardware **hardware, const char *device, Error *error) {
    int number = 0;
    char name[16];
    AVBufferRef *opened = NULL;
    *hardware = NULL;
    ffmpeg_quiet(); /* what is missing or fails is told in our words */
    if (device && sscanf(device, "cuda:%d", &number) != 1)
        number = 0;
    snprintf(name, sizeof name, "%d", number);
    enum AVHWDeviceType type = AV_HWDEVICE_TYPE_NONE;
    while ((type = av_hwdevice_iterate_types(type)) != AV_HWDEVICE_TYPE_NONE)
        if (type == AV_HWDEVICE_TYPE_CUDA)
            break;
    if (type != AV_HWDEVICE_TYPE_CUDA)
        return error_set(error, ERROR_RUN, "FFmpeg %s was built without CUDA", av_version_info());
    if (av_hwdevice_ctx_create(&opened, type, name, NULL, 0) < 0)
        return error_set(error, ERROR_RUN,
                         "FFmpeg %s finds no NVIDIA driver, or no GPU of number %d",
                         av_version_info(), number);
    if (!has_video_library()) {
        av_buffer_unref(&opened);
        return error_set(
            error, ERROR_RUN,
            "the driver's video library, libnvcuvid.so.1, is not there (for containers: "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video)");
    }
    VideoHardware *made = memory_new(1, sizeof *made);
    made->device = opened;
    pthread_mutex_init(&made->lock, NULL);
    *hardware = made;
    return 0;
}

void video_hardware_close(VideoHardware *h) {
    if (!h)
        return;
    JEPA_ASSERT(!h->places);
    av_buffer_unref(&h->device);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

VideoHardwareStats video_hardware_stats(VideoHardware *h) {
    pthread_mutex_lock(&h->lock);
    VideoHardwareStats stats = h->stats;
    pthread_mutex_unlock(&h->lock);
    return stats;
}

/* Is this the first time? */
static bool says_first(VideoHardware *h, enum AVCodecID codec) {
    pthread_mutex_lock(&h->lock);
    bool said = h->said_count == SAID_MAX;
    for (int i = 0; i < h->said_count; i++)
        said = said || h->said[i] == (int)codec;
    if (!said)
        h->said[h->said_count++] = (int)codec;
    pthread_mutex_unlock(&h->lock);
    return !said;
}

/* The decoder of libavcodec that can use a CUDA device; not the driver's own one ("cuvid"), which
 * drops and reorders frames by rules of its own. */
static const AVCodec *decoder_for(enum AVCodecID id) {
    void *at = NULL;
    for (const AVCodec *codec; (codec = av_codec_iterate(&at));) {
        const AVCodecHWConfig *config;
        if (codec->id != id || !av_codec_is_decoder(codec))
            continue;
        for (int i = 0; (config = avcodec_get_hw_config(codec, i)); i++)
            if (config->device_type == AV_HWDEVICE_TYPE_CUDA &&
                config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX &&
                !(config->methods & AV_CODEC_HW_CONFIG_METHOD_INTERNAL))
                return codec;
    }
    return NULL;
}

static const AVCodec *exact_decoder_for(enum AVCodecID id) {
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (exact[i] == id && (WANTS_GRAIN || id != AV_CODEC_ID_AV1))
            return decoder_for(id);
    return NULL;
}

char *video_hardware_codecs(void) {
    char *list = memory_text("%s", "");
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        const AVCodec *codec = exact_decoder_for(exact[i]);
        if (!codec)
            continue;
        char *longer = memory_text("%s%s%s", list, *list ? " " : "", avcodec_get_name(exact[i]));
        free(list);
        list = longer;
    }
    return list;
}

/* ---- places ---- */

/* Exp-Golomb code (H.264 9.1) at bit *at of data[bytes]; -1: it does not end. */
static int read_golomb(const uint8_t *data, int bytes, int *at) {
    int zeros = 0, value = 0;
    while (*at < 8 * bytes && !(data[*at / 8] >> (7 - *at % 8) & 1))
        zeros++, ++*at;
    if (zeros > 15 || *at + zeros >= 8 * bytes)
        return -1;
    for (int i = 0; i <= zeros; i++, ++*at)
        value = 2 * value + (data[*at / 8] >> (7 - *at % 8) & 1);
    return value - 1;
}

/* H.264 may be grey while libavcodec calls it yuv420p, and the driver is not told. Grey is known by
 * chroma_format_idc 0 in the sequence parameter set (7.3.2.1.1), which profiles from High on have.
 * What cannot be read is no reason to trust. */
static bool h264_has_chroma(const AVCodecParameters *about) {
    const uint8_t *data = about->extradata;
    int bytes = about->extradata_size, at = 0;
    bool avcc = bytes > 8 && data[0] == 1; /* ISO/IEC 14496-15; else start codes */
    if (avcc)
        at = 8;
    else
        while (at + 3 < bytes &&
               (data[at] || data[at + 1] || data[at + 2] != 1 || (data[at + 3] & 31) != 7))
            at++;
    at += avcc ? 0 : 3;
    if (at + 6 > bytes || (data[at] & 31) != 7)
        return false;
    int profile = data[at + 1], bit = 0;
    data += at + 4; /* behind profile, constraints and level */
    bytes -= at + 4;
    if (profile == 66 || profile == 77 || profile == 88) /* Baseline, Main, Extended: 4:2:0 */
        return true;
    return read_golomb(data, bytes, &bit) >= 0 && read_golomb(data, bytes, &bit) > 0;
}

static size_t surfaces_of(const AVCodecParameters *about) {
    return (size_t)SURFACES * 3 * (size_t)about->width * (size_t)about->height /
           (about->bits_per_raw_sample > 8 ? 1 : 2);
}

HardwarePlace *hardware_place_take(VideoHardware *h, const AVCodecParameters *about) {
    const AVCodec *codec = exact_decoder_for(about->codec_id);
    size_t bytes = surfaces_of(about);
    if (!codec && says_first(h, about->codec_id))
        log_info("%s is decoded on the CPU: the GPU decodes %s", avcodec_get_name(about->codec_id),
                 "H.264, HEVC, VP9 and AV1, as far as FFmpeg can use it");
    if (!codec || (about->codec_id == AV_CODEC_ID_H264 && !h264_has_chroma(about)) ||
        about->field_order > AV_FIELD_PROGRESSIVE) /* fields never go the quick way */
        return NULL;
    pthread_mutex_lock(&h->lock);
    bool room = h->places < HARDWARE_DECODERS && h->bytes + bytes <= HARDWARE_BYTES;
    h->places += room;
    h->bytes += room ? bytes : 0;
    h->stats.full += !room;
    pthread_mutex_unlock(&h->lock);
    if (!room)
        return NULL;
    HardwarePlace *place = memory_new(1, sizeof *place);
    *place = (HardwarePlace){.hardware = h, .codec = codec, .bytes = bytes};
    return place;
}

void hardware_place_give(HardwarePlace *place) {
    if (!place)
        return;
    VideoHardware *h = place->hardware;
    pthread_mutex_lock(&h->lock);
    h->places--;
    h->bytes -= place->bytes;
    pthread_mutex_unlock(&h->lock);
    av_frame_free(&place->staging);
    free(place);
}

const AVCodec *hardware_place_codec(const HardwarePlace *place) {
    return place->codec;
}

/* Pictures of which planes_copy makes what software gives. */
static bool is_taken(const AVCodecContext *codec) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get(codec->sw_pix_fmt);
    if (!about || codec->coded_width % 2 || codec->coded_height % 2 || codec->width % 2 ||
        codec->height % 2)
        return false;
    switch (about->comp[0].depth) {
    case 8:
        return planes_fit(codec->sw_pix_fmt, AV_PIX_FMT_NV12);
    case 10:
        return planes_fit(codec->sw_pix_fmt, AV_PIX_FMT_P010);
    case 12:
        return planes_fit(codec->sw_pix_fmt, AV_PIX_FMT_P016);
    default:
        return false;
    }
}

/* Called by libavcodec when it knows the stream, and again without CUDA where that failed. */
static enum AVPixelFormat choose_format(AVCodecContext *codec, const enum AVPixelFormat *offered) {
    const HardwarePlace *place = codec->opaque;
    for (int i = 0; offered[i] != AV_PIX_FMT_NONE; i++)
        if (offered[i] == AV_PIX_FMT_CUDA && is_taken(codec))
            return AV_PIX_FMT_CUDA;
    if (says_first(place->hardware, codec->codec_id))
        log_info("%s: the GPU does not take every stream of this codec; those are decoded on the "
                 "CPU",
                 avcodec_get_name(codec->codec_id));
    for (int i = 0; offered[i] != AV_PIX_FMT_NONE; i++) {
        const AVPixFmtDescriptor *about = av_pix_fmt_desc_get(offered[i]);
        if (about && !(about->flags & AV_PIX_FMT_FLAG_HWACCEL))
            return offered[i];
    }
    return AV_PIX_FMT_NONE;
}

int hardware_place_use(HardwarePlace *place, AVCodecContext *codec, Error *error) {
    codec->hw_device_ctx = av_buffer_ref(place->hardware->device);
    codec->get_format = choose_format;
#ifdef AV_HWACCEL_FLAG_UNSAFE_OUTPUT
    codec->hwaccel_flags |= AV_HWACCEL_FLAG_UNSAFE_OUTPUT;
#endif
    codec->opaque = place;
    if (!codec->hw_device_ctx)
        return error_set(error, ERROR_RUN, "not enough memory for a decoder");
    return 0;
}

/* ---- frames ---- */

/* The beginning of the last line that is copied. */
static uint8_t *mark_place(const AVFrame *staging, int plane, int height) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)staging->format);
    int lines = plane ? height >> about->log2_chroma_h : height;
    return staging->data[plane] + (ptrdiff_t)(lines - 1) * staging->linesize[plane];
}

/* Bytes that no picture is likely to have; if one has them, software decodes it once more. */
static void lay_marks(AVFrame *staging, int height, uint8_t mark[MARK]) {
    for (int i = 0; i < MARK; i++)
        mark[i] = (uint8_t)(i * 151 + 89);
    for (int p = 0; p < 2; p++)
        memcpy(mark_place(staging, p, height), mark, MARK);
}

static bool marks_gone(const AVFrame *staging, int height, const uint8_t mark[MARK]) {
    return memcmp(mark_place(staging, 0, height), mark, MARK) != 0 &&
           memcmp(mark_place(staging, 1, height), mark, MARK) != 0;
}

/* Room for a surface, kept from frame to frame. */
static AVFrame *staging_for(HardwarePlace *place, const AVHWFramesContext *surfaces) {
    AVFrame *staging = place->staging;
    if (staging && staging->format == surfaces->sw_format && staging->width == surfaces->width &&
        staging->height == surfaces->height)
        return staging;
    av_frame_free(&place->staging);
    place->staging = staging = av_frame_alloc();
    if (!staging)
        return NULL;
    staging->format = surfaces->sw_format;
    staging->width = surfaces->width;
    staging->height = surfaces->height;
    if (av_frame_get_buffer(staging, 0) < 0)
        av_frame_free(&place->staging);
    return place->staging;
}

/* Into `out`, which is empty. */
static int download(AVFrame *out, HardwarePlace *place, const AVFrame *frame,
                    const AVCodecContext *codec, Error *error) {
    const AVHWFramesContext *surfaces = (const void *)frame->hw_frames_ctx->data;
    uint8_t mark[MARK];
    if (!planes_fit(codec->sw_pix_fmt, surfaces->sw_format) || frame->height % 2 ||
        frame->width > surfaces->width || frame->height > surfaces->height)
        return error_set(error, ERROR_RUN, "the GPU gives pictures of another kind (%s for %s)",
                         av_get_pix_fmt_name(surfaces->sw_format),
                         av_get_pix_fmt_name(codec->sw_pix_fmt));
    AVFrame *staging = staging_for(place, surfaces);
    out->format = codec->sw_pix_fmt;
    out->width = frame->width;
    out->height = frame->height;
    if (!staging || av_frame_get_buffer(out, 0) < 0)
        return error_set(error, ERROR_RUN, "not enough memory for a picture");
    lay_marks(staging, frame->height, mark);
    if (av_hwframe_transfer_data(staging, frame, 0) < 0 ||
        !marks_gone(staging, frame->height, mark))
        return error_set(error, ERROR_RUN, "a picture could not be fetched from the GPU");
    planes_copy(out, staging);
    if (av_frame_copy_props(out, frame) < 0 || av_frame_apply_cropping(out, 0) < 0)
        return error_set(error, ERROR_RUN, "a picture from the GPU could not be cropped");
    return 0;
}

int hardware_place_download(HardwarePlace *place, AVFrame *frame, const AVCodecContext *codec,
                            Error *error) {
    if (frame->format != AV_PIX_FMT_CUDA)
        return 0;
#ifdef FF_CODEC_PROPERTY_FILM_GRAIN
    if (codec->properties & FF_CODEC_PROPERTY_FILM_GRAIN)
        return error_set(error, ERROR_RUN, "it asks for film grain");
#endif
    AVFrame *out = av_frame_alloc();
    if (!out)
        return error_set(error, ERROR_RUN, "not enough memory for a picture");
    if (download(out, place, frame, codec, error)) {
        av_frame_free(&out);
        return -1;
    }
    av_frame_unref(frame);
    av_frame_move_ref(frame, out);
    av_frame_free(&out);
    return 0;
}

/* ---- what is told ---- */

void hardware_count(VideoHardware *h, const HardwarePlace *place) {
    pthread_mutex_lock(&h->lock);
    *(place && place->staging ? &h->stats.gpu : &h->stats.cpu) += 1;
    pthread_mutex_unlock(&h->lock);
}

void hardware_failed(HardwarePlace *place, const char *name, const char *why) {
    VideoHardware *h = place->hardware;
    if (says_first(h, place->codec->id))
        log_info("%s: %s: not decoded on the GPU (%s), but on the CPU, as others of this codec "
                 "that fail there",
                 name, avcodec_get_name(place->codec->id), why);
    pthread_mutex_lock(&h->lock);
    h->stats.failed++;
    pthread_mutex_unlock(&h->lock);
}
