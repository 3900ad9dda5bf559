/* Opening and reading a stranger's video. See video/input.h. */
#include "video/input.h"
#include "base/log.h"
#include "video/sniff.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* No playlists, no concatenation scripts, no devices, no networks. */
#define PROTOCOLS "file"
#define INPUT_FORMATS                                                                              \
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,ivf,"         \
    "jpeg_pipe,png_pipe,bmp_pipe,webp_pipe,tiff_pipe"

static const char *reason_of(int code, char text[AV_ERROR_MAX_STRING_SIZE]) {
    if (code == AVERROR_INVALIDDATA)
        return "its data make no sense as a video";
    if (code == AVERROR(EINVAL))
        return "not one of the containers that are read (a playlist, script or text?)";
    av_make_error_string(text, AV_ERROR_MAX_STRING_SIZE, code);
    return text;
}

/* libav asks this while it reads. */
static int interrupt(void *context) {
    const VideoInput *input = context;
    return input->deadline > 0 && time_now() > input->deadline;
}

/* Has its time run out? */
static int check_time(VideoInput *input, Error *error) {
    if (!interrupt(input))
        return 0;
    input->timed_out = true;
    return error_set(error, ERROR_RUN, "reading it took longer than it may");
}

static int failed(VideoInput *input, Error *error, const char *what, int code) {
    if (check_time(input, error))
        return -1;
    char text[AV_ERROR_MAX_STRING_SIZE];
    return error_set(error, ERROR_RUN, "%s: %s", what, reason_of(code, text));
}

/* Does the header alone say how to decode? Not in AVI, FLV and MPEG streams, which say too little.
 */
static bool header_suffices(const AVFormatContext *format) {
    if (!strstr(format->iformat->name, "mp4") && !strstr(format->iformat->name, "matroska"))
        return false;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVCodecParameters *about = format->streams[i]->codecpar;
        bool headed = about->codec_id == AV_CODEC_ID_H264 || about->codec_id == AV_CODEC_ID_HEVC ||
                      about->codec_id == AV_CODEC_ID_MPEG4;
        if (about->codec_type == AVMEDIA_TYPE_VIDEO &&
            (about->codec_id == AV_CODEC_ID_NONE || about->width <= 0 || about->height <= 0 ||
             (headed && about->extradata_size <= 0)))
            return false;
    }
    return true;
}

static int open_demuxer(VideoInput *input, const char *path, Error *error) {
    AVDictionary *options = NULL;
    av_dict_set(&options, "protocol_whitelist", PROTOCOLS, 0);
    av_dict_set(&options, "format_whitelist", INPUT_FORMATS, 0);
    av_dict_set(&options, "probesize", INPUT_PROBE_BYTES, 0);
    av_dict_set(&options, "analyzeduration", INPUT_PROBE_USEC, 0);
    av_dict_set(&options, "max_streams", INPUT_STREAMS_MAX, 0);
    char *url = memory_text("file:%s", path); /* so that no name is taken for a protocol */
    input->format = avformat_alloc_context();
    if (!input->format)
        return error_set(error, ERROR_RUN, "not enough memory for a demuxer");
    input->format->interrupt_callback = (AVIOInterruptCB){interrupt, input};
    /* By its name, a JPEG would go to the demuxer for numbered pictures, which opens other files.
     */
    int code = avformat_open_input(&input->format, url,
                                   sniff_is_jpeg(path) ? av_find_input_format("jpeg_pipe") : NULL,
                                   &options);
    free(url);
    av_dict_free(&options);
    if (code < 0) {
        const char *known = interrupt(input) ? NULL : sniff_reason(path);
        return known ? error_set(error, ERROR_RUN, "%s", known)
                     : failed(input, error, "cannot be opened", code);
    }
    input->quick = input->quick && header_suffices(input->format);
    if (!input->quick)
        code = avformat_find_stream_info(input->format, NULL);
    if (code < 0)
        return failed(input, error, "no stream can be read", code);
    for (unsigned i = 0; i < input->format->nb_streams; i++) {
        AVStream *stream = input->format->streams[i];
        if (!input->stream && stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
            !(stream->disposition & AV_DISPOSITION_ATTACHED_PIC))
            input->stream = stream;
        else
            stream->discard = AVDISCARD_ALL;
    }
    if (!input->stream)
        return error_set(error, ERROR_RUN, "no video stream in it (audio only?)");
    return 0;
}

/* Of input->place, or in software. */
static int start_decoder(VideoInput *input, const AVCodec *codec, Error *error) {
    input->codec = avcodec_alloc_context3(codec);
    if (!input->codec)
        return error_set(error, ERROR_RUN, "not enough memory for a decoder");
    int code = avcodec_parameters_to_context(input->codec, input->stream->codecpar);
    input->codec->thread_count = 1;
    input->codec->max_pixels = (int64_t)INPUT_SIDE_MAX * INPUT_SIDE_MAX;
    input->codec->pkt_timebase = input->stream->time_base;
    if (input->place && hardware_place_use(input->place, input->codec, error))
        return -1;
    if (code >= 0)
        code = avcodec_open2(input->codec, codec, NULL);
    if (code < 0)
        return failed(input, error, "its decoder does not start", code);
    return 0;
}

/* Of the GPU, if it has a place: 1; 0: none, or its decoder does not start. */
static int start_hardware(VideoInput *input, VideoHardware *hardware) {
    Error ignored;
    input->place = hardware_place_take(hardware, input->stream->codecpar);
    if (!input->place)
        return 0;
    if (!start_decoder(input, hardware_place_codec(input->place), &ignored))
        return 1;
    avcodec_free_context(&input->codec);
    hardware_place_give(input->place);
    input->place = NULL;
    return 0;
}

static int open_decoder(VideoInput *input, VideoHardware *hardware, Error *error) {
    const AVCodecParameters *about = input->stream->codecpar;
    if (about->width > INPUT_SIDE_MAX || about->height > INPUT_SIDE_MAX)
        return error_set(error, ERROR_RUN, "%d x %d pixels, more than the %d that are read",
                         about->width, about->height, INPUT_SIDE_MAX);
    const AVCodec *codec = avcodec_find_decoder(about->codec_id);
    if (!codec)
        return error_set(error, ERROR_RUN, "no decoder for %s in this build of FFmpeg",
                         avcodec_get_name(about->codec_id));
    input->packet = av_packet_alloc();
    input->frame = av_frame_alloc();
    if (!input->packet || !input->frame)
        return error_set(error, ERROR_RUN, "not enough memory for a decoder");
    return hardware && start_hardware(input, hardware) ? 0 : start_decoder(input, codec, error);
}

static int open_input(VideoInput *input, const char *path, int quick, double seconds,
                      VideoHardware *hardware, Error *error) {
    memset(input, 0, sizeof *input);
    input->quick = quick;
    input->deadline = seconds > 0 ? time_now() + seconds : 0;
    if (open_demuxer(input, path, error) || open_decoder(input, hardware, error)) {
        video_input_close(input);
        return -1;
    }
    return 0;
}

int video_input_open(VideoInput *input, const char *path, double seconds, Error *error) {
    return open_input(input, path, 0, seconds, NULL, error);
}

int video_input_open_quickly(VideoInput *input, const char *path, double seconds,
                             VideoHardware *hardware, Error *error) {
    return open_input(input, path, 1, seconds, hardware, error);
}

void video_input_close(VideoInput *input) {
    av_frame_free(&input->frame);
    av_packet_free(&input->packet);
    avcodec_free_context(&input->codec);
    hardware_place_give(input->place);
    input->place = NULL;
    avformat_close_input(&input->format);
}

static bool is_wanted(const VideoInput *input, int64_t pts) {
    size_t low = 0, high = input->wanted_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (input->wanted[middle] < pts)
            low = middle + 1;
        else
            high = middle;
    }
    return low < input->wanted_count && input->wanted[low] == pts;
}

/* Lets the decoder skip the next packet if its frame is neither wanted nor referred to by others.
 * The decoder has no packet left when this is called, so that the choice is for this one. */
static void choose_skip(VideoInput *input) {
    int64_t pts = input->packet->pts;
    bool wanted = !input->wanted || pts == AV_NOPTS_VALUE || is_wanted(input, pts);
    input->codec->skip_frame = wanted ? AVDISCARD_DEFAULT : AVDISCARD_NONREF;
    if (input->wanted && wanted && pts != AV_NOPTS_VALUE)
        input->wanted_sent++;
}

int video_input_packet(VideoInput *input, Error *error) {
    int64_t limit = input->packet_limit ? input->packet_limit : INPUT_PACKETS_MAX;
    for (;;) {
        if (check_time(input, error))
            return -1;
        input->moved = true;
        if (av_read_frame(input->format, input->packet) < 0)
            return check_time(input, error) ? -1 : 0; /* the end, or a file cut short */
        if (++input->packets > limit) {
            av_packet_unref(input->packet);
            return error_set(error, ERROR_RUN, "more than %lld packets", (long long)limit);
        }
        if (input->packet->stream_index == input->stream->index)
            return 1;
        av_packet_unref(input->packet);
    }
}

/* Sends the next packet of the stream, or the end: what was sent is still decoded. */
static int feed(VideoInput *input, Error *error) {
    bool sent_all = input->wanted && input->wanted_sent == input->wanted_count;
    int more = sent_all ? 0 : video_input_packet(input, error);
    if (more < 0)
        return -1;
    if (!more) {
        input->draining = 1;
        avcodec_send_packet(input->codec, NULL);
        return 0;
    }
    if (input->fresh)
        input->first_pts = input->packet->pts;
    input->fresh = 0;
    if (input->see_packet)
        input->see_packet(input->see_context, input->packet);
    choose_skip(input);
    int code = avcodec_send_packet(input->codec, input->packet);
    av_packet_unref(input->packet);
    if (code >= 0 || code == AVERROR(EAGAIN)) {
        input->refused = 0;
        return 0;
    }
    if (input->place)
        return error_set(error, ERROR_RUN, "the GPU does not decode a packet");
    /* A stream may begin in mid-picture; refusals before the first frame are no damage. */
    input->errors += input->frames > 0;
    if (++input->refused > INPUT_REFUSED_MAX)
        return error_set(error, ERROR_RUN, "damaged: the decoder refused %d packets in a row",
                         INPUT_REFUSED_MAX);
    return 0;
}

int video_input_next(VideoInput *input, Error *error) {
    for (;;) {
        int code = avcodec_receive_frame(input->codec, input->frame);
        if (code >= 0) {
            if (++input->frames > (input->packets + 1) * INPUT_FRAMES_PER_PACKET)
                return error_set(error, ERROR_RUN, "more than %d frames a packet",
                                 INPUT_FRAMES_PER_PACKET);
            return check_time(input, error) ? -1 : 1;
        }
        if (code == AVERROR_EOF)
            return 0;
        if (code != AVERROR(EAGAIN) && input->place)
            return error_set(error, ERROR_RUN, "the GPU does not decode a frame");
        if (code != AVERROR(EAGAIN) && input->frames > 0)
            input->errors++;
        if (code != AVERROR(EAGAIN) && input->draining)
            return 0;
        if (feed(input, error))
            return -1;
    }
}

int video_input_fetch(VideoInput *input, Error *error) {
    return input->place ? hardware_place_download(input->place, input->frame, input->codec, error)
                        : 0;
}

int video_input_seek(VideoInput *input, int64_t timestamp, Error *error) {
    /* With the upper bound equal to the target, the demuxer lands on the keyframe or before it. */
    input->moved = true;
    int code = avformat_seek_file(input->format, input->stream->index, INT64_MIN, timestamp,
                                  timestamp, 0);
    if (code < 0)
        return failed(input, error, "cannot seek", code);
    avcodec_flush_buffers(input->codec);
    input->draining = 0;
    input->packets = 0;
    input->frames = 0;
    input->refused = 0;
    input->fresh = 1;
    input->wanted_sent = 0;
    return 0;
}

bool video_frame_damaged(const AVFrame *frame) {
    return frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0;
}

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
bool video_frame_is_key(const AVFrame *frame) {
    return (frame->flags & AV_FRAME_FLAG_KEY) != 0;
}

bool video_frame_interlaced(const AVFrame *frame) {
    return (frame->flags & AV_FRAME_FLAG_INTERLACED) != 0;
}
#else
bool video_frame_is_key(const AVFrame *frame) {
    return frame->key_frame != 0;
}

bool video_frame_interlaced(const AVFrame *frame) {
    return frame->interlaced_frame != 0;
}
#endif

int video_stream_rotation(const AVStream *stream) {
    const int32_t *matrix = NULL;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100)
    const AVPacketSideData *data = av_packet_side_data_get(stream->codecpar->coded_side_data,
                                                           stream->codecpar->nb_coded_side_data,
                                                           AV_PKT_DATA_DISPLAYMATRIX);
    if (data && data->size >= 9 * sizeof *matrix)
        matrix = (const int32_t *)(const void *)data->data;
#elif LIBAVFORMAT_VERSION_MAJOR >= 59
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (data && size >= 9 * sizeof *matrix)
        matrix = (const int32_t *)(const void *)data;
#else
    int size = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (data && size >= (int)(9 * sizeof *matrix))
        matrix = (const int32_t *)(const void *)data;
#endif
    double angle = matrix ? av_display_rotation_get(matrix) : 0; /* counter-clockwise */
    if (!isfinite(angle))
        return 0;
    long turns = lround(-angle / 90) % 4;
    return (int)((turns + 4) % 4 * 90);
}
