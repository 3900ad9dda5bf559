/* FFmpeg, which reads and writes videos: is it in this program, and what can it do?
 *
 * A program can be built without it (CMake: JEPA_FFMPEG=OFF), for machines that lack it:
 * video/absent.c then stands in for every file of this floor that calls it. Whatever needs a
 * video's pictures fails there with one line; index files, samplers, augmentations and the
 * synthetic scenes are the same in both. */
#ifndef JEPA_VIDEO_FFMPEG_H
#define JEPA_VIDEO_FFMPEG_H

#include "base/error.h"

/* 0; without FFmpeg -1, and the error says what to do. For whoever would otherwise begin work that
 * cannot end well. */
int ffmpeg_needed(Error *error);

/* FFmpeg prints nothing from now on: what is wrong with a file becomes its reason. */
void ffmpeg_quiet(void);

/* For `jepa doctor`: version, the names of the decoders that matter and what is missing of them,
 * the encoder that is taken. Static and NULL without FFmpeg; the caller frees the list. */
const char *ffmpeg_version(void);
char *ffmpeg_decoders(void);

#endif
