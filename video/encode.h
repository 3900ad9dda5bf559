/* Writes videos and animated pictures through libavcodec. What kind of file it is, the end of its
 * name says: .mp4 (H.264 where the build has an encoder, else a codec that always exists), .webm
 * (VP9, VP8 or AV1, where there is an encoder), .apng (exact) or .gif (256 colours a picture). Same
 * pictures in, same bytes out, on one machine (one encoder thread, no time stamps in the metadata).
 * Written beside and renamed. */
#ifndef JEPA_VIDEO_ENCODE_H
#define JEPA_VIDEO_ENCODE_H

#include "base/error.h"
#include <stdint.h>

struct AVFrame;
typedef struct VideoWriter VideoWriter;

typedef struct VideoFraction {
    int num, den;
} VideoFraction;

/* How a video is written. */
typedef struct VideoWriterSpec {
    int width, height;               /* even for .mp4 and .webm */
    VideoFraction time_base;         /* of the time stamps, seconds */
    VideoFraction rate;              /* average frames per second; {0, 1}: unknown */
    VideoFraction aspect;            /* of a pixel, width / height; {0, 1}: square */
    int gop;                         /* frames from keyframe to keyframe, at most */
    int b_frames;                    /* at most this many in a row, with libx264 */
    int crf;                         /* quality of libx264: 0 lossless, 18 fine, 51 worst */
    int quantiser;                   /* > 0: instead of crf this one (QP) for every picture */
    int matrix, primaries, transfer; /* ITU-T H.273 numbers, as libavutil has them */
    const char *encoder;             /* its name; NULL: the best there is */
} VideoWriterSpec;

/* Pictures at a steady rate, coloured as players assume for their size. */
VideoWriterSpec video_writer_plain(int width, int height, VideoFraction rate);

/* Limited range, 8-bit 4:2:0 for .mp4 and .webm, which any other name counts as. */
int video_writer_open_spec(VideoWriter **writer, const char *path, const VideoWriterSpec *spec,
                           Error *error);
/* The writer's own picture (of .mp4 and .webm: yuv420p, width x height, limited range): fill its
 * planes, then hand it on with its time stamp, which must ascend. */
struct AVFrame *video_writer_picture(VideoWriter *writer, Error *error);
int video_writer_put(VideoWriter *writer, int64_t pts, Error *error);

/* fps frames per second, of .mp4 and .webm with even sides */
int video_writer_open(VideoWriter **writer, const char *path, int width, int height, int fps,
                      Error *error);
/* The same with the encoder named ("libx264", "mpeg4", ...); NULL takes the best there is. */
int video_writer_open_with(VideoWriter **writer, const char *path, int width, int height, int fps,
                           const char *encoder, Error *error);
/* The same with every picture coded by itself and with the same quantiser (libx264, MPEG-4; other
 * encoders know a bit rate only): what a picture comes out as, and how many bytes it takes, does
 * not depend on the pictures around it. */
int video_writer_open_intra(VideoWriter **writer, const char *path, int width, int height, int fps,
                            Error *error);
/* rgb [height][width][3]. A GIF's pictures last 2/100 s at least: one that comes sooner is left
 * out.
 */
int video_writer_frame(VideoWriter *writer, const uint8_t *rgb, Error *error);
int video_writer_close(VideoWriter *writer, Error *error); /* finishes and renames; frees always */
void video_writer_abandon(VideoWriter *writer);            /* leaves nothing behind */
const char *video_writer_codec(void);                      /* name of the encoder of .mp4 */
/* The same for any kind of file ("x.webm", ".gif"); "none" where this build cannot write it. */
const char *video_writer_codec_of(const char *path);

#endif
