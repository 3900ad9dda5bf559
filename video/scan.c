/* Scanning one file: hash, shape, and every frame decoded once, in order.
 *
 * Decoding all of it tells which frames there really are (packets do not: some carry no picture,
 * some two fields of one) and finds damage before a run depends on the file. What decoding cannot
 * present in order, by distinct time stamps, is later read from the start, by count. */
#include "video/index.h"
#include "video/input.h"
#include "video/sniff.h"
#include <errno.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PTS_MAX                                                                                    \
    ((int64_t)1 << 61) /* so that differences cannot overflow; AV_NOPTS_VALUE is below */

typedef struct Scan {
    VideoFile *file;
    VideoInput input;
    size_t pts_room, key_room;
    int64_t damaged, first_damaged;
    VideoKey *key_packets; /* in the order of decoding; .frame is not known */
    size_t key_packet_count, key_packet_room;
    bool ordered; /* every frame has a later time stamp than the one before */
} Scan;

static void see_packet(void *context, const AVPacket *packet) {
    Scan *scan = context;
    if (!(packet->flags & AV_PKT_FLAG_KEY))
        return;
    if (scan->key_packet_count == scan->key_packet_room) {
        scan->key_packet_room = scan->key_packet_room ? 2 * scan->key_packet_room : 16;
        scan->key_packets = memory_grow(scan->key_packets, scan->key_packet_room,
                                        sizeof *scan->key_packets);
    }
    scan->key_packets[scan->key_packet_count++] = (VideoKey){packet->pts, packet->dts, -1};
}

/* A decoded frame does not know its own dts, but its packet has the same pts. Both ascend. */
static void find_key_times(Scan *scan) {
    size_t next = 0;
    for (size_t i = 0; i < scan->file->key_count; i++) {
        VideoKey *key = &scan->file->keys[i];
        while (next < scan->key_packet_count && scan->key_packets[next].pts < key->pts)
            next++;
        bool found = next < scan->key_packet_count && scan->key_packets[next].pts == key->pts;
        key->dts = found ? scan->key_packets[next].dts : AV_NOPTS_VALUE;
    }
}

static void add_frame(Scan *scan) {
    VideoFile *file = scan->file;
    const AVFrame *frame = scan->input.frame;
    if ((size_t)file->frames == scan->pts_room) {
        scan->pts_room = scan->pts_room ? 2 * scan->pts_room : 256;
        file->pts = memory_grow(file->pts, scan->pts_room, sizeof *file->pts);
    }
    int64_t pts = frame->best_effort_timestamp;
    if (frame->format == AV_PIX_FMT_PAL8 || /* its palette may lie in an earlier packet */
        frame->pts == AV_NOPTS_VALUE || pts < -PTS_MAX || pts > PTS_MAX ||
        (file->frames && pts <= file->pts[file->frames - 1]))
        scan->ordered = false;
    file->pts[file->frames] = pts;
    if (video_frame_damaged(frame)) {
        if (!scan->damaged)
            scan->first_damaged = file->frames;
        scan->damaged++;
    }
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    bool key = frame->flags & AV_FRAME_FLAG_KEY;
#else
    bool key = frame->key_frame;
#endif
    if (key) {
        if (file->key_count == scan->key_room) {
            scan->key_room = scan->key_room ? 2 * scan->key_room : 16;
            file->keys = memory_grow(file->keys, scan->key_room, sizeof *file->keys);
        }
        file->keys[file->key_count++] = (VideoKey){pts, AV_NOPTS_VALUE, file->frames};
    }
    file->frames++;
}

/* Can the pictures be cut and scaled (video/scale.c)? */
static int check_format(const AVFrame *frame, Error *error) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    if (about && !(about->flags & (AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL)) &&
        sws_isSupportedInput((enum AVPixelFormat)frame->format))
        return 0;
    return error_set(error, ERROR_RUN, "pictures of format %s are not read",
                     about ? about->name : "(unknown)");
}

static int scan_frames(Scan *scan, Error *error) {
    VideoFile *file = scan->file;
    int more;
    scan->ordered = true;
    while ((more = video_input_next(&scan->input, error)) == 1) {
        const AVFrame *frame = scan->input.frame;
        if (check_format(frame, error))
            return -1;
        if (file->frames == 0) {
            file->width = frame->width;
            file->height = frame->height;
        } else if (frame->width != file->width || frame->height != file->height) {
            return error_set(
                error, ERROR_RUN, "the picture size changes from %d x %d to %d x %d at frame %lld",
                file->width, file->height, frame->width, frame->height, (long long)file->frames);
        }
        if (file->frames >= INPUT_FRAMES_MAX)
            return error_set(error, ERROR_RUN, "more than %d frames", INPUT_FRAMES_MAX);
        add_frame(scan);
    }
    if (more < 0)
        return -1;
    if (!file->frames)
        return error_set(error, ERROR_RUN, "not one frame of it can be decoded");
    if (scan->damaged)
        return error_set(error, ERROR_RUN, "damaged: %lld of %lld frames, the first is frame %lld",
                         (long long)scan->damaged, (long long)file->frames,
                         (long long)scan->first_damaged);
    if (scan->input.errors)
        return error_set(error, ERROR_RUN, "damaged: the decoder refused %d packets",
                         scan->input.errors);
    return 0;
}

/* A file that ends before its container says: cut off in copying. */
static int check_length(const Scan *scan, Error *error) {
    const AVFormatContext *format = scan->input.format;
    const VideoFile *file = scan->file;
    if (format->pb && format->pb->error < 0)
        return error_set(error, ERROR_RUN, "it cannot be read to its end");
    int64_t promised = scan->input.stream->nb_frames;
    if (promised > 0 && file->frames < promised / 2)
        return error_set(error, ERROR_RUN,
                         "cut short: %lld of the %lld frames that it announces can be decoded",
                         (long long)file->frames, (long long)promised);
    return 0;
}

static int scan_file(Scan *scan, Error *error) {
    VideoFile *file = scan->file;
    struct stat about;
    if (stat(file->path, &about))
        return error_set(error, ERROR_RUN, errno == ENOENT ? "missing" : "cannot be read: %s",
                         strerror(errno));
    if (!S_ISREG(about.st_mode))
        return error_set(error, ERROR_RUN, "not a plain file");
    file->bytes = about.st_size;
    file->modified = (int64_t)about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec;
    if (!file->bytes)
        return error_set(error, ERROR_RUN, "empty: 0 bytes");
    if (hash_file(&file->hash, file->path, error))
        return error_set(error, ERROR_RUN, "cannot be read: %s", strerror(errno));
    int64_t announced = sniff_announced_bytes(file->path);
    if (announced > file->bytes)
        return error_set(error, ERROR_RUN, "cut short: %lld of at least %lld bytes",
                         (long long)file->bytes, (long long)announced);
    if (video_input_open(&scan->input, file->path, error))
        return -1;
    const AVStream *stream = scan->input.stream;
    AVRational rate = stream->avg_frame_rate.num > 0 && stream->avg_frame_rate.den > 0
                          ? stream->avg_frame_rate
                          : stream->r_frame_rate;
    file->fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    file->stream = stream->index;
    file->time_base[0] = stream->time_base.num;
    file->time_base[1] = stream->time_base.den;
    file->rotation = video_stream_rotation(stream);
    snprintf(file->codec, sizeof file->codec, "%s", avcodec_get_name(stream->codecpar->codec_id));
    snprintf(file->container, sizeof file->container, "%s", scan->input.format->iformat->name);
    scan->input.see_packet = see_packet;
    scan->input.see_context = scan;
    int result = scan_frames(scan, error);
    find_key_times(scan);
    free(scan->key_packets);
    if (!result)
        result = check_length(scan, error);
    if (!scan->ordered || result) {
        free(file->pts);
        free(file->keys);
        file->pts = NULL;
        file->keys = NULL;
        file->key_count = 0;
    }
    video_input_close(&scan->input);
    return result;
}

void video_file_scan(VideoFile *file, const char *path) {
    Scan scan = {.file = file};
    Error error = {0};
    free(file->path);
    file->path = memory_text("%s", path);
    if (scan_file(&scan, &error)) {
        free(file->reason);
        file->reason = memory_text("%s", error.text);
    }
}

void video_file_free(VideoFile *file) {
    free(file->path);
    free(file->name);
    free(file->reason);
    free(file->pts);
    free(file->keys);
    memset(file, 0, sizeof *file);
}

int video_file_width(const VideoFile *file) {
    return file->rotation % 180 ? file->height : file->width;
}

int video_file_height(const VideoFile *file) {
    return file->rotation % 180 ? file->width : file->height;
}
