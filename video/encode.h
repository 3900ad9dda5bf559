/* Writes videos through libavcodec: H.264 where the build has an encoder, else a codec that always
 * exists. Same pictures in, same bytes out, on one machine (one encoder thread, no time stamps in
 * the metadata). Written beside and renamed. */
#ifndef JEPA_VIDEO_ENCODE_H
#define JEPA_VIDEO_ENCODE_H

#include "base/error.h"
#include <stdint.h>

typedef struct VideoWriter VideoWriter;

/* `path` ends in .mp4; width and height even; fps frames per second. */
int video_writer_open(VideoWriter **writer, const char *path, int width, int height, int fps,
                      Error *error);
/* The same with the encoder named ("libx264", "mpeg4", ...); NULL takes the best there is. */
int video_writer_open_with(VideoWriter **writer, const char *path, int width, int height, int fps,
                           const char *encoder, Error *error);
/* rgb [height][width][3] */
int video_writer_frame(VideoWriter *writer, const uint8_t *rgb, Error *error);
int video_writer_close(VideoWriter *writer, Error *error); /* finishes and renames; frees always */
void video_writer_abandon(VideoWriter *writer);            /* leaves nothing behind */
const char *video_writer_codec(void);                      /* name of the encoder that is used */

#endif
