/* Which encoder writes which kind of file. Private to this floor. */
#ifndef JEPA_VIDEO_ENCODE_CODEC_H
#define JEPA_VIDEO_ENCODE_CODEC_H

#include "video/encode.h"

struct AVCodecContext;

/* What a file's name asks for. */
typedef struct EncodeContainer {
    const char *extension; /* ".mp4" */
    const char *muxer;     /* libavformat's name */
    const char *what;      /* for messages */
    int format;            /* pixel format of its pictures */
    int loops;             /* the muxer's option that makes it play for ever is 0; -1: none */
    const char *loop;      /* that option */
} EncodeContainer;

/* By the end of `path`, .mp4 for any other. */
const EncodeContainer *encode_container(const char *path);

/* The encoder by its name, or with NULL the first of the container's that opens: *encoder, which
 * the caller frees. NULL where none does. */
struct AVCodecContext *encode_codec_open(const EncodeContainer *container,
                                         const VideoWriterSpec *spec, int global_header);

#endif
