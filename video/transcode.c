/* Transcoding one video. See video/transcode.h.
 *
 * A frame that is neither turned nor HDR goes from its own format to the output's in one scaling
 * pass, its matrix kept and its range made limited; others go through upright RGB. */
#include "video/transcode.h"
#include "video/encode.h"
#include "video/input.h"
#include "video/scale.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define B_FRAMES   2
#define TICK_SLACK 1e-6 /* seconds */

typedef struct Transcoder {
    const VideoFile *from;
    const TranscodeSettings *settings;
    const char *to;
    VideoInput input;
    VideoWriter *writer;
    VideoWriterSpec spec;
    VideoColour colour;
    struct SwsContext *direct; /* source format to yuv420p */
    struct SwsContext *coded;  /* upright RGB to yuv420p */
    Scaler *scaler;
    uint8_t *stored, *upright; /* RGB planes, where they are needed */
    int64_t frames;            /* taken from the source */
    int64_t ticks;             /* of the output's rate that were written */
} Transcoder;

static int even(double pixels) {
    int rounded = 2 * (int)lround(pixels / 2);
    return rounded < 2 ? 2 : rounded;
}

static VideoFraction fraction(AVRational of) {
    return (VideoFraction){of.num, of.den};
}

static bool through_rgb(const Transcoder *t) {
    return t->from->rotation || t->colour.transfer != VIDEO_SDR;
}

/* What the output is like, by the first frame. */
static void choose(Transcoder *t, const AVFrame *first) {
    const VideoFile *f = t->from;
    int width = video_file_width(f), height = video_file_height(f);
    int side = width < height ? width : height;
    double scale = side > t->settings->short_side ? (double)t->settings->short_side / side : 1;
    VideoWriterSpec *spec = &t->spec;
    *spec = (VideoWriterSpec){.width = even(width * scale),
                              .height = even(height * scale),
                              .gop = t->settings->gop,
                              .b_frames = t->settings->gop > B_FRAMES ? B_FRAMES : 0,
                              .crf = t->settings->crf};
    double fps = f->fps > 0 ? f->fps : VIDEO_FPS_GUESS;
    spec->rate = fraction(av_d2q(t->settings->fps > 0 ? t->settings->fps : fps, 1000000));
    spec->time_base = (VideoFraction){spec->rate.den, spec->rate.num};
    if (t->settings->fps <= 0 && f->timed && f->time_base[0] > 0 && f->time_base[1] > 0)
        spec->time_base = (VideoFraction){f->time_base[0], f->time_base[1]};
    if (first->sample_aspect_ratio.num > 0 && first->sample_aspect_ratio.den > 0)
        spec->aspect = fraction(f->rotation % 180 ? av_inv_q(first->sample_aspect_ratio)
                                                  : first->sample_aspect_ratio);
    /* the matrix that the pixels have; guesses are written down */
    int matrix = t->colour.transfer != VIDEO_SDR ? SWS_CS_ITU709 : t->colour.matrix;
    spec->matrix = matrix == SWS_CS_ITU709      ? AVCOL_SPC_BT709
                   : matrix == SWS_CS_BT2020    ? AVCOL_SPC_BT2020_NCL
                   : matrix == SWS_CS_SMPTE240M ? AVCOL_SPC_SMPTE240M
                   : matrix == SWS_CS_FCC       ? AVCOL_SPC_FCC
                                                : AVCOL_SPC_SMPTE170M;
    bool mapped = t->colour.transfer != VIDEO_SDR;
    spec->primaries = mapped ? AVCOL_PRI_BT709 : first->color_primaries;
    spec->transfer = mapped ? AVCOL_TRC_BT709 : first->color_trc;
}

static int matrix_number(const Transcoder *t) {
    return t->colour.transfer != VIDEO_SDR ? SWS_CS_ITU709 : t->colour.matrix;
}

static int open_scalers(Transcoder *t, const AVFrame *first, Error *error) {
    int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INP;
    const int *matrix = sws_getCoefficients(matrix_number(t));
    struct SwsContext **made = through_rgb(t) ? &t->coded : &t->direct;
    int width = through_rgb(t) ? t->spec.width : first->width;
    int height = through_rgb(t) ? t->spec.height : first->height;
    int format = through_rgb(t) ? AV_PIX_FMT_GBRP : t->colour.format;
    bool full = through_rgb(t) || t->colour.full;
    /* both ranges must be known when it is made: between pictures of one size it would else become
     * a plain copy */
    struct SwsContext *scaler = *made = sws_alloc_context();
    if (!scaler)
        return error_set(error, ERROR_RUN, "not enough memory for a scaler");
    const struct {
        const char *name;
        int64_t value;
    } options[] = {{"srcw", width},         {"srch", height},
                   {"src_format", format},  {"src_range", full},
                   {"dstw", t->spec.width}, {"dsth", t->spec.height},
                   {"dst_range", 0},        {"dst_format", AV_PIX_FMT_YUV420P},
                   {"sws_flags", flags}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        av_opt_set_int(scaler, options[i].name, options[i].value, 0);
    sws_setColorspaceDetails(scaler, matrix, full, matrix, 0, 0, 1 << 16, 1 << 16);
    if (sws_init_context(scaler, NULL, NULL) < 0)
        return error_set(error, ERROR_RUN, "its pictures cannot be scaled");
    sws_setColorspaceDetails(scaler, matrix, full, matrix, 0, 0, 1 << 16, 1 << 16);
    if (through_rgb(t)) {
        size_t plane = (size_t)t->spec.width * (size_t)t->spec.height + SCALE_PADDING;
        t->scaler = scaler_new();
        t->stored = memory_new(3, plane);
        t->upright = memory_new(3, plane);
    }
    return 0;
}

/* Stored frame -> RGB of the output's size -> upright -> the writer's picture. */
static int convert_rgb(Transcoder *t, AVFrame *out, const AVFrame *frame, Error *error) {
    int degrees = t->from->rotation, width = t->spec.width, height = t->spec.height;
    int stored_width = degrees % 180 ? height : width,
        stored_height = degrees % 180 ? width : height;
    size_t plane = (size_t)width * (size_t)height + SCALE_PADDING;
    uint8_t *stored[3], *upright[3];
    for (size_t c = 0; c < 3; c++) {
        stored[c] = t->stored + c * plane;
        upright[c] = t->upright + c * plane;
    }
    if (scaler_apply(stored, stored_width, t->scaler, frame,
                     (ScaleWindow){0, 0, frame->width, frame->height}, stored_width, stored_height,
                     t->settings->hdr, error))
        return -1;
    for (int c = 0; c < 3; c++)
        plane_rotate(upright[c], width, stored[c], stored_width, stored_width, stored_height,
                     degrees);
    const uint8_t *from[4] = {upright[1], upright[2], upright[0], NULL}; /* GBR */
    const int strides[4] = {width, width, width, 0};
    sws_scale(t->coded, from, strides, 0, height, out->data, out->linesize);
    return 0;
}

static int convert(Transcoder *t, const AVFrame *frame, Error *error) {
    AVFrame *out = video_writer_picture(t->writer, error);
    if (!out)
        return -1;
    if (through_rgb(t))
        return convert_rgb(t, out, frame, error);
    sws_scale(t->direct, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
              out->data, out->linesize);
    return 0;
}

static int begin(Transcoder *t, const AVFrame *first, Error *error) {
    if (video_colour_of(&t->colour, first, error))
        return -1;
    if (t->colour.transfer != VIDEO_SDR && t->settings->hdr == CLIP_HDR_REFUSE)
        return error_set(error, ERROR_RUN, "HDR video: --hdr tonemap takes it in");
    choose(t, first);
    if (open_scalers(t, first, error))
        return -1;
    return video_writer_open_spec(&t->writer, t->to, &t->spec, error);
}

/* Seconds from the first frame. */
static double time_of(const Transcoder *t, int64_t number) {
    return video_file_seconds(t->from, number);
}

/* The picture that the writer holds, at every tick before `until` seconds that has none. */
static int write_ticks(Transcoder *t, double until, Error *error) {
    double fps = (double)t->spec.rate.num / t->spec.rate.den;
    while ((double)t->ticks / fps < until - TICK_SLACK)
        if (video_writer_put(t->writer, t->ticks++, error))
            return -1;
    return 0;
}

static int take(Transcoder *t, const AVFrame *frame, Error *error) {
    int64_t number = t->frames++;
    if (video_frame_damaged(frame))
        return error_set(error, ERROR_RUN, "damaged: frame %lld", (long long)number);
    if (frame->width != t->from->width || frame->height != t->from->height)
        return error_set(error, ERROR_RUN, "the picture size changes at frame %lld",
                         (long long)number);
    if (number >= t->from->frames)
        return error_set(error, ERROR_RUN, "it has more frames than were indexed");
    if (number == 0 && begin(t, frame, error))
        return -1;
    if (t->settings->fps > 0) {
        if (number && write_ticks(t, time_of(t, number), error))
            return -1;
        return convert(t, frame, error);
    }
    int64_t pts = t->from->timed ? video_file_pts(t->from, number) - video_file_pts(t->from, 0)
                                 : number;
    if (convert(t, frame, error))
        return -1;
    return video_writer_put(t->writer, pts, error);
}

static int run(Transcoder *t, Error *error) {
    if (video_input_open(&t->input, t->from->path, t->settings->timeout, error))
        return -1;
    int more;
    while ((more = video_input_next(&t->input, error)) == 1)
        if (take(t, t->input.frame, error))
            return -1;
    if (more < 0 && t->input.timed_out)
        return error_set(error, ERROR_RUN, "given up after %.0f seconds; --timeout gives it more",
                         t->settings->timeout);
    if (more < 0)
        return -1;
    if (t->input.errors || t->frames < t->from->frames)
        return error_set(error, ERROR_RUN, "damaged: %lld of %lld frames came, %d packets refused",
                         (long long)t->frames, (long long)t->from->frames, t->input.errors);
    if (t->settings->fps > 0)
        return write_ticks(t, t->from->duration, error);
    return 0;
}

int transcode_video(TranscodeResult *result, const char *to, const VideoFile *from,
                    const TranscodeSettings *settings, Error *error) {
    Transcoder t = {.from = from, .settings = settings, .to = to};
    struct stat about;
    memset(result, 0, sizeof *result);
    int status = run(&t, error);
    if (t.writer && status)
        video_writer_abandon(t.writer);
    else if (t.writer)
        status = video_writer_close(t.writer, error);
    if (!status && (stat(to, &about) || hash_file(&result->hash, to, error)))
        status = error_set(error, ERROR_RUN, "%s vanished while it was written", to);
    if (!status) {
        result->frames = settings->fps > 0 ? t.ticks : t.frames;
        result->width = t.spec.width;
        result->height = t.spec.height;
        result->bytes = about.st_size;
    }
    video_input_close(&t.input);
    sws_freeContext(t.direct);
    sws_freeContext(t.coded);
    scaler_free(t.scaler);
    free(t.stored);
    free(t.upright);
    return status;
}
