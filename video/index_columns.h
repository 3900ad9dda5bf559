/* The index as columns: how entries are laid out, packed and looked at. Private to the index. */
#ifndef JEPA_VIDEO_INDEX_COLUMNS_H
#define JEPA_VIDEO_INDEX_COLUMNS_H

#include "video/index.h"

struct IndexColumns {
    ColumnFile file;
    size_t count;
    /* [count] each, unless said otherwise */
    const char *texts;                   /* every text, each with its final zero */
    const int64_t *path, *name, *reason; /* where in texts; reason -1: none */
    const int32_t *dataset, *label;
    const int64_t *bytes, *modified;
    const uint8_t *hash;                       /* [count][HASH_BYTES] */
    const int64_t *codec, *container, *format; /* where in texts */
    const int32_t *shape;                      /* [count][3] width, height, rotation */
    const int32_t *colour;                     /* [count][4] */
    const int32_t *streams;                    /* [count][3] */
    const double *fps, *duration;
    const int32_t *stream;    /* [count] */
    const int32_t *time_base; /* [count][2] */
    const int64_t *packets, *frames;
    const int32_t *timed;
    const int64_t *pts_first, *pts_step;
    const int64_t *pts_at; /* [count + 1] rows in pts */
    const int64_t *key_at; /* [count + 1] rows in key_* */
    const int64_t *pts, *key_pts, *key_dts, *key_frame;
    size_t pts_count, key_count;
};

/* What the header says beside the columns. */
typedef struct IndexAbout {
    char **sources; /* [sources_count] */
    int sources_count;
    char **class_names; /* [classes] */
    int classes;
    VideoCheck check;
} IndexAbout;

/* The image of an index of these files (name, label, dataset filled), the caller's. */
void index_pack(uint8_t **image, size_t *bytes, const VideoFile *files, size_t count,
                const IndexAbout *about);
/* Takes the opened columns over and fills the index from them; checks every row. On failure all is
 * freed. */
int index_take(VideoIndex *index, ColumnFile *file, Error *error);

/* Holds the lists of time stamps and keyframes against their hashes, which opening does not. */
int index_verify_lists(const VideoIndex *index, Error *error);

#define INDEX_FORMAT  "jepa.c video index"
#define INDEX_VERSION 2

/* Which program scanned: other libraries may present other frames. Stays in the header; entries of
 * another scanner are not taken over. */
const char *index_scanner(void);
/* Was this index made by the same scanner with the same check? */
bool index_same_scanner(const VideoIndex *index, VideoCheck check);

#endif
