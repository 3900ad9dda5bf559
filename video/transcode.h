/* Preparation: a video made small and quick to read for training. H.264 in MP4 where the build has
 * an encoder, short side and keyframe distance as asked for, upright, 8-bit 4:2:0, limited range,
 * the source's matrix and time stamps kept, no sound. */
#ifndef JEPA_VIDEO_TRANSCODE_H
#define JEPA_VIDEO_TRANSCODE_H

#include "video/clip.h"

typedef struct TranscodeSettings {
    int short_side; /* pixels, at most: smaller videos keep their size; even sizes */
    int gop;        /* frames from keyframe to keyframe */
    int crf;        /* quality */
    double fps;     /* > 0: the frames nearest to, not after, each tick; 0: every frame */
    ClipHdr hdr;
    double timeout; /* seconds for one video; 0: no limit */
} TranscodeSettings;

typedef struct TranscodeResult {
    int64_t frames;
    int width, height; /* pixels */
    int64_t bytes;
    Hash hash; /* of the file's bytes */
} TranscodeResult;

/* Writes `to` whole or not at all, from a scanned file. Time stamps begin at 0 and are the source's
 * own in its time base; files without usable ones get their average rate. Every frame is decoded: a
 * damaged one is an error. */
int transcode_video(TranscodeResult *result, const char *to, const VideoFile *from,
                    const TranscodeSettings *settings, Error *error);

#endif
