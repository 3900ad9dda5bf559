/* Opening a stranger's video: the one place that knows the limits, and libav's versions 4.4 to 7.
 */
#ifndef JEPA_VIDEO_INPUT_H
#define JEPA_VIDEO_INPUT_H

#include "base/error.h"
#include "video/hardware.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct AVFormatContext;
struct AVStream;
struct AVCodecContext;
struct AVPacket;
struct AVFrame;

/* Limits for strangers' files. What a file is judged to be depends on its bytes alone: budgets are
 * packets and frames. Seconds (VideoInput.deadline) only ever stop work, they never drop a file
 * from a training run.
 *
 *     what                                 limit
 *     protocols                            file
 *     containers                           INPUT_FORMATS in video/input.c: no playlists, scripts,
 *                                          numbered pictures, devices or networks
 *     width, height                        8,192 pixels each
 *     streams in a file                    32
 *     bytes, seconds read to find streams  5,000,000 each
 *     packets of all streams               40,000,000; once scanned, those the scan counted
 *     frames of a video                    10,000,000; and at most 16 a packet
 *     refused packets in a row             1,000
 */
#define INPUT_SIDE_MAX          8192     /* pixels */
#define INPUT_FRAMES_MAX        10000000 /* frames of a video: 4 days at 30 a second */
#define INPUT_PACKETS_MAX       40000000 /* packets of all streams */
#define INPUT_FRAMES_PER_PACKET 16
#define INPUT_REFUSED_MAX       1000 /* packets in a row that the decoder refuses */
#define INPUT_STREAMS_MAX       "32"
#define INPUT_PROBE_BYTES       "5000000"
#define INPUT_PROBE_USEC        "5000000"

typedef struct VideoInput {
    struct AVFormatContext *format;
    struct AVStream *stream;      /* the first video stream that is no attached picture */
    struct AVCodecContext *codec; /* one thread */
    HardwarePlace *place;         /* of the GPU that may decode; NULL: software does */
    struct AVPacket *packet;
    struct AVFrame *frame;
    int64_t packets;      /* read since the file was opened or searched */
    int64_t packet_limit; /* of them; 0: INPUT_PACKETS_MAX */
    double deadline;      /* time_now() at which to give up; 0: never */
    bool timed_out;       /* that is why the last call failed */
    int draining;         /* the end was sent to the decoder */
    int errors;           /* packets that the decoder refused after the first frame came */
    int refused;          /* packets refused in a row */
    int64_t frames;       /* frames received since the last seek */
    int64_t first_pts; /* of the first packet since the last seek; only valid once a frame came */
    int fresh;         /* no packet was read since the last seek */
    int quick;         /* opened without probing the streams */
    bool moved;        /* no longer at the start: something was read or searched */
    /* While not NULL: time stamps [wanted_count], ascending, of the only frames that matter. Frames
     * that no other needs are skipped, and reading ends with the last that is wanted. */
    const int64_t *wanted;
    size_t wanted_count, wanted_sent;
    /* Is shown every packet of the stream before it is decoded; may be NULL. */
    void (*see_packet)(void *context, const struct AVPacket *packet);
    void *see_context;
} VideoInput;

/* Opens demuxer and decoder. Errors are one line without the file's name. `seconds` from now on, it
 * gives up (0: never). */
int video_input_open(VideoInput *input, const char *path, double seconds, Error *error);
/* The same for a file that was scanned before: mp4 and Matroska are not probed again, which costs
 * as much as decoding some frames. Time stamps are the same; the order of frames may differ where
 * the header does not tell how far they are reordered. With `hardware` (or NULL) the GPU decodes
 * where it can and has a place left: then frames are to be fetched, and what the decoder refuses
 * ends the reading at once, since it says nothing of the file. */
int video_input_open_quickly(VideoInput *input, const char *path, double seconds,
                             VideoHardware *hardware, Error *error);
void video_input_close(VideoInput *input);

/* The next decoded frame into input->frame: 1, 0 at the end, -1 on an error. */
int video_input_next(VideoInput *input, Error *error);
/* Brings the frame into memory where the GPU has it; other frames are there already. */
int video_input_fetch(VideoInput *input, Error *error);
/* Jumps to `timestamp` (stream time base; INT64_MIN: the start) or before; the decoder is emptied.
 */
int video_input_seek(VideoInput *input, int64_t timestamp, Error *error);

/* Reads the next packet of the stream into input->packet without decoding it: 1, 0 at the end, -1
 * on an error. The caller unrefs it. */
int video_input_packet(VideoInput *input, Error *error);

/* Is this frame known to be damaged? */
bool video_frame_damaged(const struct AVFrame *frame);
bool video_frame_is_key(const struct AVFrame *frame);
/* Is it a pair of fields, which may have come in two packets with a time stamp each? */
bool video_frame_interlaced(const struct AVFrame *frame);
/* Degrees clockwise that show the stream upright: 0, 90, 180, 270. */
int video_stream_rotation(const struct AVStream *stream);

#endif
