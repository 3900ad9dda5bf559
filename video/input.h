/* Opening a stranger's video: the one place that knows the limits, and libav's versions 4.4 to 7.
 */
#ifndef JEPA_VIDEO_INPUT_H
#define JEPA_VIDEO_INPUT_H

#include "base/error.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>

/* Limits for untrusted files. Budgets are packets and frames, never seconds, so that what a file is
 * judged to be depends on its bytes alone. */
#define INPUT_SIDE_MAX    8192     /* pixels */
#define INPUT_FRAMES_MAX  10000000 /* frames of a video: 4 days at 30 a second */
#define INPUT_PACKETS_MAX 40000000 /* packets of all streams */
#define INPUT_STREAMS_MAX "32"
#define INPUT_PROBE_BYTES "5000000"
#define INPUT_PROBE_USEC  "5000000"

typedef struct VideoInput {
    AVFormatContext *format;
    AVStream *stream;      /* the first video stream that is no attached picture */
    AVCodecContext *codec; /* one thread */
    AVPacket *packet;
    AVFrame *frame;
    int64_t packets;   /* read so far */
    int draining;      /* the end was sent to the decoder */
    int errors;        /* packets that the decoder refused after the first frame came */
    int64_t frames;    /* frames received since the last seek */
    int64_t first_pts; /* of the first packet since the last seek; only valid once a frame came */
    int fresh;         /* no packet was read since the last seek */
    int quick;         /* opened without probing the streams */
    /* While not NULL: time stamps [wanted_count], ascending, of the only frames that matter. Frames
     * that no other needs are skipped, and reading ends with the last that is wanted. */
    const int64_t *wanted;
    size_t wanted_count, wanted_sent;
    /* Is shown every packet of the stream before it is decoded; may be NULL. */
    void (*see_packet)(void *context, const AVPacket *packet);
    void *see_context;
} VideoInput;

/* Opens demuxer and decoder. Errors are one line without the file's name. */
int video_input_open(VideoInput *input, const char *path, Error *error);
/* The same for a file that was scanned before: mp4 and Matroska are not probed again, which costs
 * as much as decoding some frames. Time stamps are the same; the order of frames may differ where
 * the header does not tell how far they are reordered. */
int video_input_open_quickly(VideoInput *input, const char *path, Error *error);
void video_input_close(VideoInput *input);

/* The next decoded frame into input->frame: 1, 0 at the end, -1 on an error. */
int video_input_next(VideoInput *input, Error *error);
/* Jumps to `timestamp` (stream time base; INT64_MIN: the start) or before; the decoder is emptied.
 */
int video_input_seek(VideoInput *input, int64_t timestamp, Error *error);

/* Is this frame known to be damaged? */
int video_frame_damaged(const AVFrame *frame);
/* Degrees clockwise that show the stream upright: 0, 90, 180, 270. */
int video_stream_rotation(const AVStream *stream);

#endif
