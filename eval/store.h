/* The feature store: what a frozen encoder says of every clip of a data set, kept on disk, so that
 * the encoder runs once and every probe reads.
 *
 *   STORE/store.msgpack        {hash, header}: what the features are and what they depend on;
 *                              written last, so it marks a store as complete
 *   STORE/shard-NNNNN.bin      raw tensors, one after another: [rows][width] of 16-bit numbers for
 *                              each clip, little-endian, ready to be mapped
 *   STORE/shard-NNNNN.msgpack  its index, sealed likewise: for every clip video, segment, view,
 *                              frames, crop, offset, and the BLAKE2b-256 of its bytes; written
 *                              behind its .bin, so a shard is there whole or not at all
 *   STORE/store.lock           held while a process writes
 *
 * A clip is (video, segment, view): each usable video of the index gives segments x views of them,
 * segment-major, as clip_draw_evaluation draws them. A killed extraction goes on behind its last
 * whole shard. The same extraction gives the same bytes: nothing of the machine or the clock is in
 * them. Letters: N rows of a clip (tokens t-major, then h, w; a class token first where the encoder
 * has one; 1 when pooled), D width of a row (layers side by side). */
#ifndef JEPA_EVAL_STORE_H
#define JEPA_EVAL_STORE_H

#include "base/hash.h"
#include "jepa/model.h"
#include "video/clip.h"
#include "video/frame_cache.h"
#include "video/index.h"

typedef enum StoreType { STORE_FLOAT16, STORE_BFLOAT16 } StoreType;

/* What features depend on. All of it is compared before a store is read for a purpose. */
typedef struct StoreAbout {
    Hash checkpoint; /* checkpoint_hash of the header, and so of every weight; of a file of
                        published weights: of the file; of random weights: of "random
                        initialisation" and the seed */
    Hash recipe;     /* recipe_hash of it as used (with --set) */
    Hash files;      /* VideoIndex.hash: names, sizes, bytes, labels */
    Hash frames;     /* of every clip's frame numbers and crop, in order */
    char *source;    /* for a person: checkpoint's path and step; owned; not compared */
    char *precision; /* "float32", "bfloat16": what the encoder computed in; owned */
    char network;    /* 't' target or 'c' context encoder */
    bool pooled;     /* a clip's row is the mean of its tokens */
    StoreType type;
    int layers, layer[MODEL_LAYERS_MAX]; /* blocks counted from 0; layers 0: the last one's output
                                          */
    int segments, views;
    int clip_frames, height, width_pixels; /* of a clip */
    int grid[3];                           /* T, H, W tokens of a clip */
    int rows;                              /* N as stored */
    int width;                             /* D */
    int heads;                             /* of the encoder: what a probe takes by default */
} StoreAbout;
void store_about_free(StoreAbout *about);

typedef struct StoreShard StoreShard; /* eval/store_header.h */

typedef struct Store {
    char *folder;
    StoreAbout about;
    int64_t videos; /* usable videos of the index */
    int clips;      /* of a video: segments x views */
    char **names;   /* [videos] as the index has them */
    int *labels;    /* [videos] class, -1: none */
    int classes;
    char **class_names; /* [classes] */
    bool *failed;       /* [videos] some clip could not be decoded: the video has no features */
    StoreShard *shards; /* [shard_count] */
    int64_t shard_count;
    int64_t shard_clips; /* in a shard, the last one apart */
} Store;

/* Maps a complete store; every size and hash of the headers is verified, those of the tensors when
 * `verify` is set (it reads everything). Errors: not a store, incomplete (go on with jepa
 * features), damaged. The caller closes it. */
int store_open(Store *store, const char *folder, bool verify, Error *error);
void store_close(Store *store);

/* The clip's [N][D] as stored, mapped: valid until store_close. clip = segment · views + view. Of a
 * clip that could not be decoded all is zero. */
const uint16_t *store_clip(const Store *store, int64_t video, int clip);
/* The same as float32 into out[N][D]. */
void store_floats(float *out, const Store *store, int64_t video, int clip);
/* Mean over each clip's rows, and over all clips of the video: out[D]. */
void store_video_mean(float *out, const Store *store, int64_t video);

/* Is the store what would be extracted now? ERROR_USAGE names the first thing that differs. */
int store_matches(const Store *store, const StoreAbout *now, Error *error);

#endif
