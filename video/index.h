/* The index: which videos there are, what is in them, and which cannot be used and why.
 *
 * Built by reading every file once, in parallel, and kept: files that have not changed since are
 * not read again. A run copies its index and refuses to go on when a file has changed under it. A
 * file that cannot be used stays in the index with its reason (quarantine); it is never replaced
 * silently. Order: by data set, then by name, bytewise, so that the same files give the same index
 * on any machine.
 *
 * On disk: a column file (base/columns.h), one row a video, mapped as it lies, so that a million
 * videos open in a fraction of a second; see video/index_columns.c for the columns.
 */
#ifndef JEPA_VIDEO_INDEX_H
#define JEPA_VIDEO_INDEX_H

#include "base/columns.h"
#include "base/error.h"
#include "base/hash.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_SOURCES_MAX 64
#define INDEX_EXTENSION   ".index"
/* Time stamps and steps beyond these are not kept as numbers of frames: differences and products of
 * them with the most frames must not overflow. */
#define INDEX_PTS_MAX  (INT64_MAX / 8)
#define INDEX_STEP_MAX (INT64_MAX / 8 / 10000001)

#define VIDEO_FPS_GUESS 25. /* of a file that tells neither times nor a rate */

typedef struct VideoKey {
    int64_t pts; /* stream time base; AV_NOPTS_VALUE if unknown */
    int64_t dts;
    int64_t frame; /* number of the frame in presentation order */
} VideoKey;

/* One video. From an index it is a view: texts, time stamps and keys lie in the index. From
 * video_file_scan they are the file's own, freed by video_file_free. */
typedef struct VideoFile {
    const char *path;   /* opens the file */
    const char *name;   /* relative to the folder or the list; what is printed and hashed */
    const char *reason; /* NULL: usable; else one line that says why it is quarantined */
    int dataset;        /* number of its source */
    int label;          /* class, -1 if none */
    int64_t bytes;      /* size */
    int64_t modified;   /* nanoseconds since 1970 */
    Hash hash;          /* of the file's bytes */
    char codec[32];     /* libavcodec's name */
    char container[64]; /* libavformat's name */
    char format[32];    /* pixel format, libavutil's name */
    int width, height;  /* pixels, as stored, before rotation */
    int rotation;       /* 0, 90, 180, 270 degrees clockwise to show it upright */
    int colour[4];    /* matrix, range (1 limited, 2 full), transfer, primaries: ITU-T H.273 numbers
                         as libavutil has them; 2 (range: 0) unspecified */
    int streams[3];   /* video, audio and other streams in the file */
    double fps;       /* average frames per second */
    double duration;  /* seconds that its frames are shown */
    int stream;       /* number of the video stream */
    int time_base[2]; /* numerator, denominator of pts, seconds */
    int64_t packets;  /* of all streams, to the end of the file */
    int64_t frames;   /* frames that decoding presents */
    bool timed;       /* frames are told by their time stamps, else by counting */
    int64_t pts_first, pts_step; /* pts_step > 0: frame n is at pts_first + n pts_step */
    const int64_t *pts;          /* else [frames] ascending, stream time base */
    size_t key_count;
    const int64_t *key_pts, *key_dts, *key_frame; /* [key_count] ascending */
} VideoFile;

/* Time stamp of a frame, stream time base. The file must be timed. */
static inline int64_t video_file_pts(const VideoFile *file, int64_t frame) {
    return file->pts_step > 0 ? file->pts_first + frame * file->pts_step : file->pts[frame];
}
/* Seconds from the first frame to this one: by time stamps, else by the average rate. */
double video_file_seconds(const VideoFile *file, int64_t frame);
/* Is its transfer function that of PQ or HLG? */
bool video_file_is_hdr(const VideoFile *file);
/* Displayed size, rotation applied. */
int video_file_width(const VideoFile *file);
int video_file_height(const VideoFile *file);

/* How much of a file is looked at. */
typedef enum VideoCheck {
    VIDEO_CHECK_DECODE, /* every frame is decoded: all damage is found before a run begins */
    VIDEO_CHECK_PACKETS /* packets are read and the first frames decoded; where these do not show
                           which frames there are, all is decoded. Later damage is found when a clip
                           meets it. */
} VideoCheck;

typedef struct ScanSettings {
    VideoCheck check;
    double timeout; /* seconds for one file; 0: no limit */
} ScanSettings;

/* Scans one file: fills everything but name, label and data set. Never fails: what is wrong becomes
 * `reason`. `settings` NULL: everything decoded, no limit of time. */
void video_file_scan(VideoFile *file, const char *path, const ScanSettings *settings);
void video_file_free(VideoFile *file);            /* of a scanned file or a copy, never of a view */
VideoFile video_file_copy(const VideoFile *file); /* with texts and lists of its own */

typedef struct IndexColumns IndexColumns; /* video/index_columns.h */

typedef struct VideoIndex {
    size_t count;
    size_t usable;
    uint32_t *usable_files; /* [usable] file numbers, ascending */
    int sources_count;
    char **sources; /* [sources_count] the folders or lists it came from */
    int classes;    /* number of classes, 0 without labels */
    char *
        *class_names; /* [classes]: folder names, or the lists' labels, sorted (numbers by value) */
    Hash hash;        /* over name, size, hash, label, data set, frames and reason of every file */
    VideoCheck check;
    IndexColumns *columns;
} VideoIndex;

typedef struct IndexSettings {
    const char *sources[INDEX_SOURCES_MAX];
    int sources_count;
    int threads; /* workers */
    ScanSettings scan;
    /* An index file whose entries are taken over where size and modification time are the same, and
     * that receives the result; while it is made, PATH.journal keeps what was done, so that a
     * killed build goes on where it was. NULL: nothing is kept. */
    const char *kept;
    bool kept_may_fail;   /* a kept index that cannot be written is only warned of */
    bool may_be_unusable; /* that no video can be used is no error */
} IndexSettings;

/* A source is a folder (walked recursively, links to folders followed once, loops cut; the class of
 * a file is its first-level subfolder when every video lies in one), one video, or a list in the
 * published form: one "path label" a line, space (or comma, or "::") before the label, paths with
 * spaces in double quotes, relative paths relative to the list; label optional. A single source may
 * be an index file as well: it is loaded and verified. Errors: no such source, no video in it,
 * every video unusable. The caller frees with video_index_free. Progress is shown. */
int video_index_make(VideoIndex *index, const IndexSettings *settings, Error *error);
/* The same for one source, everything decoded, nothing kept. */
int video_index_build(VideoIndex *index, const char *source, int threads, Error *error);
/* An index of files that are known already; takes nothing over. Labels are numbers of class_names.
 */
int video_index_of_files(VideoIndex *index, const VideoFile *files, size_t count,
                         const char *const *class_names, int classes, Error *error);
void video_index_free(VideoIndex *index);

/* Where the index of these sources is kept between runs: in $XDG_CACHE_HOME/jepa, or
 * ~/.cache/jepa. NULL where neither is known. Caller frees. */
char *video_index_cache(const char *const *sources, int count, VideoCheck check);

/* Entry i as a view; valid until video_index_free. */
VideoFile video_index_file(const VideoIndex *index, uint32_t i);
const char *video_index_name(const VideoIndex *index, uint32_t i);
const char *video_index_reason(const VideoIndex *index, uint32_t i); /* NULL: usable */
int video_index_label(const VideoIndex *index, uint32_t i);
int video_index_dataset(const VideoIndex *index, uint32_t i);

/* Written whole or not at all; every length is checked on reading. */
int video_index_save(const VideoIndex *index, const char *path, Error *error);
int video_index_load(VideoIndex *index, const char *path, Error *error);

/* Are all files still what the index says? Size and modification time first; where the time
 * differs, the bytes are hashed again. The first file that changed or vanished is the error. */
int video_index_verify(const VideoIndex *index, Error *error);

#endif
