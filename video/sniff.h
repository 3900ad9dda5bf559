/* What a file's first bytes say, where libav says no more than "invalid data". */
#ifndef JEPA_VIDEO_SNIFF_H
#define JEPA_VIDEO_SNIFF_H

#include <stdbool.h>
#include <stdint.h>

/* Why a file that no demuxer opened is no video: one line, or NULL when the bytes do not tell. */
const char *sniff_reason(const char *path);

/* Is it a JPEG picture? */
bool sniff_is_jpeg(const char *path);

/* Bytes that the file says it has, by the sizes of its outermost parts: mp4 and mov boxes, RIFF
 * chunks, a Matroska or WebM Segment. 0: the file does not say. More than there are means that it
 * was cut short, which demuxers take for an ordinary end. */
int64_t sniff_announced_bytes(const char *path);

#endif
