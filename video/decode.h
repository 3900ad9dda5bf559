/* Exact frames: any frame by number, equal to what decoding from the start would give.
 *
 * Seek to the indexed keyframe before the frame wanted, decode forward, match frames by their time
 * stamps. On a miss go back further, then decode from the start; a frame that never comes is an
 * error, not a neighbour's picture. One decoder thread; bounded in packets, never in seconds.
 */
#ifndef JEPA_VIDEO_DECODE_H
#define JEPA_VIDEO_DECODE_H

#include "base/error.h"
#include "video/hardware.h"
#include "video/index.h"

struct AVFrame;
typedef struct VideoReader VideoReader;

/* Opens demuxer and decoder with the limits for strangers' files. `file` must outlive the reader.
 * `seconds`: after that long it gives up (0: never). *reader is the caller's on failure as well. */
int video_reader_open(VideoReader **reader, const VideoFile *file, double seconds, Error *error);
/* The same with a GPU that decodes what it can (NULL: none), for files of which every frame was
 * decoded when they were scanned. Frames are the same, and so is what fails. */
int video_reader_open_on(VideoReader **reader, const VideoFile *file, double seconds,
                         VideoHardware *hardware, Error *error);
void video_reader_close(VideoReader *reader);
/* Did the last call fail because the time was over? */
bool video_reader_timed_out(const VideoReader *reader);

/* Decodes frames[0..count-1] (numbers in presentation order; any order, repeats allowed) and calls
 * `take` once for each, in the order of the video, with its place i in the list. The AVFrame
 * (software, the stream's own pixel format, unrotated) is only valid during the call; `take`
 * returns 0, or -1 to stop. Damaged frames (concealed, flagged corrupt) are errors: "frame 31:
 * ...".
 */
typedef int (*VideoTake)(void *context, size_t i, const struct AVFrame *frame, Error *error);
int video_reader_frames(VideoReader *reader, const int64_t *frames, size_t count, VideoTake take,
                        void *context, Error *error);

/* The frame that is shown `seconds` after the first: the last one whose time is not later. */
int64_t video_file_frame_at(const VideoFile *file, double seconds);

#endif
