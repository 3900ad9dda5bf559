/* The index: which videos there are, what is in them, and which cannot be used and why.
 *
 * Built by reading and decoding every file once, in parallel, then frozen: a run keeps its index
 * and refuses to go on when a file has changed under it. A file that cannot be used stays in the
 * index with its reason (quarantine); it is never replaced silently. Order: by name, bytewise, so
 * that the same files give the same index on any machine.
 */
#ifndef JEPA_VIDEO_INDEX_H
#define JEPA_VIDEO_INDEX_H

#include "base/error.h"
#include "base/hash.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct VideoKey {
    int64_t pts; /* stream time base; AV_NOPTS_VALUE if unknown */
    int64_t dts;
    int64_t frame; /* number of the frame in presentation order, or -1 */
} VideoKey;

typedef struct VideoFile {
    char *path;         /* opens the file */
    char *name;         /* relative to the folder or the list; what is printed and hashed */
    int label;          /* class, -1 if none */
    char *reason;       /* NULL: usable; else one line that says why it is quarantined */
    int64_t bytes;      /* size */
    int64_t modified;   /* nanoseconds since 1970 */
    Hash hash;          /* of the file's bytes */
    char codec[32];     /* libavcodec's name */
    char container[64]; /* libavformat's name */
    int width, height;  /* pixels, as stored, before rotation */
    int rotation;       /* 0, 90, 180, 270 degrees clockwise to show it upright */
    double fps;         /* average frames per second */
    int stream;         /* number of the video stream */
    int time_base[2];   /* numerator, denominator of pts, seconds */
    int64_t frames;     /* frames that decoding presents, counted from packets */
    int64_t *pts;       /* [frames] ascending, stream time base; NULL if the packets carry none */
    size_t key_count;
    VideoKey *keys; /* [key_count] ascending */
} VideoFile;

typedef struct VideoIndex {
    char *source; /* the folder or list it came from */
    size_t count;
    VideoFile *files; /* [count] by name */
    size_t usable;
    uint32_t *usable_files; /* [usable] numbers into files, ascending */
    int classes;            /* number of classes, 0 without labels */
    char *
        *class_names; /* [classes]: folder names, or the list's labels, sorted (numbers by value) */
    Hash hash;        /* over name, size, hash, label, reason of every file */
} VideoIndex;

/* `source` is a folder (walked recursively, links to folders followed once, loops cut; the class of
 * a file is its first-level subfolder when every video lies in one) or a list in the published
 * form: one "path label" a line, space (or comma, or "::") before the label, paths with spaces in
 * double quotes, relative paths relative to the list; label optional. Errors: no such source, no
 * video in it, every video unusable. The caller frees with video_index_free. `threads` workers;
 * progress is shown. */
int video_index_build(VideoIndex *index, const char *source, int threads, Error *error);
void video_index_free(VideoIndex *index);

/* One MessagePack record; written whole or not at all; every length checked on reading. */
int video_index_save(const VideoIndex *index, const char *path, Error *error);
int video_index_load(VideoIndex *index, const char *path, Error *error);

/* Are all files still what the index says? Size and modification time first; where the time
 * differs, the bytes are hashed again. The first file that changed or vanished is the error. */
int video_index_verify(const VideoIndex *index, Error *error);

/* Scans one file: fills everything but label and name. Never fails: what is wrong becomes `reason`.
 */
void video_file_scan(VideoFile *file, const char *path);
void video_file_free(VideoFile *file);

/* Displayed size, rotation applied. */
int video_file_width(const VideoFile *file);
int video_file_height(const VideoFile *file);

#endif
