/* Scanning one file: hash, shape, time stamps, keyframes, damage.
 *
 * Decoding all of it tells which frames there really are (packets do not always: some carry no
 * picture, some two fields of one) and finds damage before a run depends on the file. Reading the
 * packets only is ten times as fast and more; it is believed where every packet has its own time
 * stamp and the first frames that are decoded bear them, one for one. What cannot be presented in
 * order, by distinct time stamps, is later read from the start, by count. */
#include "base/log.h"
#include "video/colour.h"
#include "video/index_columns.h"
#include "video/input.h"
#include "video/sniff.h"
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TRIAL_FRAMES 48  /* decoded to see whether packets tell the frames */
#define SCANNER      "2" /* changes when scanning finds something else in the same file */

const char *index_scanner(void) {
    return "scan " SCANNER ", " LIBAVFORMAT_IDENT ", " LIBAVCODEC_IDENT;
}

typedef struct Stamp {
    int64_t pts, dts;
    bool key;
} Stamp;

typedef struct Scan {
    VideoFile *file;
    ScanSettings settings;
    VideoInput input;
    int64_t *pts; /* [file->frames] */
    size_t pts_room, key_room;
    VideoKey *keys; /* [key_count] */
    size_t key_count;
    int64_t damaged, first_damaged;
    Stamp *stamps; /* of packets, in the order of decoding */
    size_t stamp_count, stamp_room;
    bool ordered; /* every frame has a later time stamp than the one before */
} Scan;

static void see_packet(void *context, const AVPacket *packet) {
    Scan *scan = context;
    if (packet->flags & AV_PKT_FLAG_DISCARD)
        return;
    if (scan->stamp_count == scan->stamp_room) {
        scan->stamp_room = scan->stamp_room ? 2 * scan->stamp_room : 256;
        scan->stamps = memory_grow(scan->stamps, scan->stamp_room, sizeof *scan->stamps);
    }
    scan->stamps[scan->stamp_count++] = (Stamp){packet->pts, packet->dts,
                                                (packet->flags & AV_PKT_FLAG_KEY) != 0};
}

static int by_pts(const void *a, const void *b) {
    const Stamp *x = a, *y = b;
    return (x->pts > y->pts) - (x->pts < y->pts);
}

/* A decoded frame does not know its own dts, but its packet has the same pts. Both ascend. */
static void find_key_times(Scan *scan) {
    size_t next = 0;
    if (scan->stamp_count)
        qsort(scan->stamps, scan->stamp_count, sizeof *scan->stamps, by_pts);
    for (size_t i = 0; i < scan->key_count; i++) {
        VideoKey *key = &scan->keys[i];
        while (next < scan->stamp_count && scan->stamps[next].pts < key->pts)
            next++;
        bool found = next < scan->stamp_count && scan->stamps[next].pts == key->pts;
        key->dts = found ? scan->stamps[next].dts : AV_NOPTS_VALUE;
    }
}

static void add_key(Scan *scan, int64_t pts, int64_t dts, int64_t frame) {
    if (scan->key_count == scan->key_room) {
        scan->key_room = scan->key_room ? 2 * scan->key_room : 16;
        scan->keys = memory_grow(scan->keys, scan->key_room, sizeof *scan->keys);
    }
    scan->keys[scan->key_count++] = (VideoKey){pts, dts, frame};
}

static void add_pts(Scan *scan, int64_t pts) {
    VideoFile *file = scan->file;
    if ((size_t)file->frames == scan->pts_room) {
        scan->pts_room = scan->pts_room ? 2 * scan->pts_room : 256;
        scan->pts = memory_grow(scan->pts, scan->pts_room, sizeof *scan->pts);
    }
    if (pts < -INDEX_PTS_MAX || pts > INDEX_PTS_MAX ||
        (file->frames && pts <= scan->pts[file->frames - 1]))
        scan->ordered = false;
    scan->pts[file->frames++] = pts;
}

static void add_frame(Scan *scan) {
    const AVFrame *frame = scan->input.frame;
    int64_t pts = frame->best_effort_timestamp;
    if (frame->format == AV_PIX_FMT_PAL8 || /* its palette may lie in an earlier packet */
        frame->pts == AV_NOPTS_VALUE)
        scan->ordered = false;
    if (video_frame_damaged(frame)) {
        if (!scan->damaged)
            scan->first_damaged = scan->file->frames;
        scan->damaged++;
    }
    if (video_frame_is_key(frame))
        add_key(scan, pts, AV_NOPTS_VALUE, scan->file->frames);
    add_pts(scan, pts);
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

/* What the first frame says of all. */
static int look_at_first(Scan *scan, Error *error) {
    VideoFile *file = scan->file;
    const AVFrame *frame = scan->input.frame;
    file->width = frame->width;
    file->height = frame->height;
    const char *name = av_get_pix_fmt_name((enum AVPixelFormat)frame->format);
    snprintf(file->format, sizeof file->format, "%s", name ? name : "?");
    file->colour[0] = frame->colorspace;
    file->colour[1] = frame->color_range;
    file->colour[2] = frame->color_trc;
    file->colour[3] = frame->color_primaries;
    VideoColour colour;
    return video_colour_of(&colour, frame, error);
}

static int scan_frames(Scan *scan, int64_t most, Error *error) {
    VideoFile *file = scan->file;
    int more = 1;
    while (file->frames < most && (more = video_input_next(&scan->input, error)) == 1) {
        const AVFrame *frame = scan->input.frame;
        if (frame->width > INPUT_SIDE_MAX || frame->height > INPUT_SIDE_MAX)
            return error_set(error, ERROR_RUN, "%d x %d pixels, more than the %d that are read",
                             frame->width, frame->height, INPUT_SIDE_MAX);
        if (check_format(frame, error) || (file->frames == 0 && look_at_first(scan, error)))
            return -1;
        if (frame->width != file->width || frame->height != file->height)
            return error_set(
                error, ERROR_RUN, "the picture size changes from %d x %d to %d x %d at frame %lld",
                file->width, file->height, frame->width, frame->height, (long long)file->frames);
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

static void describe(Scan *scan) {
    VideoFile *file = scan->file;
    const AVFormatContext *format = scan->input.format;
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
    snprintf(file->container, sizeof file->container, "%s", format->iformat->name);
    memset(file->streams, 0, sizeof file->streams);
    for (unsigned i = 0; i < format->nb_streams; i++) {
        enum AVMediaType type = format->streams[i]->codecpar->codec_type;
        file->streams[type == AVMEDIA_TYPE_VIDEO ? 0 : type == AVMEDIA_TYPE_AUDIO ? 1 : 2]++;
    }
}

static int open_scan(Scan *scan, double left, Error *error) {
    if (video_input_open(&scan->input, scan->file->path, left, error))
        return -1;
    describe(scan);
    scan->input.see_packet = see_packet;
    scan->input.see_context = scan;
    scan->ordered = true;
    return 0;
}

/* Forgets what was found, to scan anew. */
static void forget(Scan *scan) {
    video_input_close(&scan->input);
    scan->file->frames = 0;
    scan->key_count = scan->stamp_count = 0;
    scan->damaged = 0;
}

static int decode_all(Scan *scan, double left, Error *error) {
    if (open_scan(scan, left, error) || scan_frames(scan, INT64_MAX, error))
        return -1;
    scan->file->packets = scan->input.packets;
    find_key_times(scan);
    return check_length(scan, error);
}

/* Frames from packets: 1 when they can be believed, 0 when all must be decoded, -1 on an error. */
static int read_packets(Scan *scan, double left, Error *error) {
    VideoFile *file = scan->file;
    if (open_scan(scan, left, error) || scan_frames(scan, TRIAL_FRAMES, error))
        return -1;
    int64_t trial = file->frames;
    bool interlaced = video_frame_interlaced(scan->input.frame);
    int more;
    while ((more = video_input_packet(&scan->input, error)) == 1) {
        see_packet(scan, scan->input.packet);
        av_packet_unref(scan->input.packet);
        if (scan->stamp_count > INPUT_FRAMES_MAX)
            return error_set(error, ERROR_RUN, "more than %d frames", INPUT_FRAMES_MAX);
    }
    if (more < 0)
        return -1;
    file->packets = scan->input.packets;
    if (interlaced || !scan->ordered || (int64_t)scan->stamp_count < trial ||
        !strcmp(file->container, "mpeg"))
        return 0;
    qsort(scan->stamps, scan->stamp_count, sizeof *scan->stamps, by_pts);
    for (int64_t i = 0; i < trial; i++)
        if (scan->stamps[i].pts != scan->pts[i])
            return 0;
    size_t tried = scan->key_count;
    file->frames = 0;
    scan->key_count = 0;
    for (size_t i = 0; i < scan->stamp_count; i++) {
        const Stamp *stamp = &scan->stamps[i];
        if (stamp->key)
            add_key(scan, stamp->pts, stamp->dts, file->frames);
        add_pts(scan, stamp->pts);
    }
    if (!scan->ordered || scan->key_count < tried)
        return 0;
    return check_length(scan, error) ? -1 : 1;
}

/* A constant step takes no memory. */
static void keep_times(Scan *scan) {
    VideoFile *file = scan->file;
    const int64_t *pts = scan->pts;
    file->timed = true;
    file->pts_first = pts[0];
    file->pts_step = file->frames > 1 ? pts[1] - pts[0] : 1;
    for (int64_t i = 1; i < file->frames && file->pts_step; i++)
        if (pts[i] - pts[i - 1] != file->pts_step || file->pts_step > INDEX_STEP_MAX)
            file->pts_step = 0;
    if (!file->pts_step) {
        file->pts = pts;
        scan->pts = NULL;
    }
    file->key_count = scan->key_count;
    int64_t *columns[3];
    for (int c = 0; c < 3; c++)
        columns[c] = memory_new(scan->key_count, sizeof *columns[c]);
    for (size_t i = 0; i < scan->key_count; i++) {
        columns[0][i] = scan->keys[i].pts;
        columns[1][i] = scan->keys[i].dts;
        columns[2][i] = scan->keys[i].frame;
    }
    file->key_pts = columns[0];
    file->key_dts = columns[1];
    file->key_frame = columns[2];
}

static void find_duration(VideoFile *file) {
    double fps = file->fps > 0 ? file->fps : VIDEO_FPS_GUESS;
    if (file->timed && file->frames > 1 && file->time_base[0] > 0 && file->time_base[1] > 0) {
        double shown = video_file_seconds(file, file->frames - 1);
        file->duration = shown * (double)file->frames / (double)(file->frames - 1);
    } else {
        file->duration = (double)file->frames / fps;
    }
}

static int scan_file(Scan *scan, Error *error) {
    VideoFile *file = scan->file;
    double started = time_now(), limit = scan->settings.timeout;
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
    int result = 0;
    if (scan->settings.check == VIDEO_CHECK_PACKETS) {
        result = read_packets(scan, limit, error);
        if (result == 0)
            forget(scan);
    }
    if (result == 0) {
        double left = limit > 0 ? limit - (time_now() - started) : 0;
        result = decode_all(scan, limit > 0 && left < 1e-9 ? 1e-9 : left, error);
    }
    if (result >= 0 && scan->ordered)
        keep_times(scan);
    if (result >= 0)
        find_duration(file);
    if (result < 0 && scan->input.timed_out)
        error_set(error, ERROR_RUN, "given up after %.0f seconds; --timeout gives it more", limit);
    return result < 0 ? -1 : 0;
}

void video_file_scan(VideoFile *file, const char *path, const ScanSettings *settings) {
    Scan scan = {.file = file};
    Error error = {0};
    char *own = memory_text("%s", path); /* `path` may be the file's own */
    video_file_free(file);
    file->path = own;
    file->label = -1;
    if (settings)
        scan.settings = *settings;
    if (scan_file(&scan, &error))
        file->reason = memory_text("%s", error.text);
    video_input_close(&scan.input);
    free(scan.stamps);
    free(scan.keys);
    free(scan.pts);
}
