/* The headers of a feature store (eval/store.h): packing them, and reading what a stranger may have
 * written. Every number is bounded before it is used, and every list is as long as it should be. */
#ifndef JEPA_EVAL_STORE_HEADER_H
#define JEPA_EVAL_STORE_HEADER_H

#include "base/record.h"
#include "eval/store.h"

#define STORE_FILE         "store.msgpack"
#define STORE_LOCK         "store.lock"
#define STORE_HEADER_LIMIT ((size_t)256 << 20) /* bytes; a million videos: some 100 MB */
#define STORE_CLIPS_MAX    4096                /* segments · views */
#define STORE_SHARD_MOST   65536               /* clips of a shard */

struct StoreShard {
    Hash index;          /* of its index's bytes */
    int64_t count;       /* clips */
    bool *failed;        /* [count] */
    Hash *hashes;        /* [count] of each clip's bytes */
    const uint8_t *data; /* [count][N][D] mapped; NULL: not yet */
};
void store_shard_free(StoreShard *shard); /* its lists; nothing is unmapped */

/* Names of files within a store; the caller frees. */
char *store_shard_path(const char *folder, int64_t number, const char *ending);

int64_t store_clip_bytes(const StoreAbout *about); /* N · D · 2 */
int64_t store_shard_bytes(const Store *store, const StoreShard *shard);
/* Clips of shard `number`, where a store has so many videos and clips of each. */
int64_t store_shard_size(const Store *store, int64_t number);

/* STORE/store.msgpack, unsealed. Unpacking fills everything but folder and the shards' contents
 * (their hashes are there); `name` stands in messages. store_header_free frees what was filled,
 * also after a failure. */
void store_header_pack(RecordWriter *record, const Store *store);
int store_header_unpack(Store *store, const msgpack_object *root, const char *name, Error *error);
void store_header_free(Store *store);

/* What an index says of a clip. */
typedef struct StoreClip {
    bool failed;
    const int64_t *frames; /* [about.clip_frames] */
    int crop[4];           /* top, left, height, width in the upright frame */
    Hash hash;
} StoreClip;

/* STORE/shard-NNNNN.msgpack: begun, then a clip at a time, in order. */
void store_index_start(RecordWriter *record, const Store *store, int64_t number);
void store_index_add(RecordWriter *record, const Store *store, int64_t number, int64_t place,
                     const StoreClip *clip);
/* Fills failed and hashes of the shard. It must be the index of just this shard of this store:
 * about, videos, clips, shard_clips are those of `store`; ERROR_USAGE where it is of another
 * extraction, which is then named, ERROR_RUN where it is damaged. */
int store_index_unpack(StoreShard *shard, const Store *store, int64_t number,
                       const msgpack_object *root, const char *name, Error *error);

/* Reads a shard's index and maps its tensors, whose hashes are verified when asked for. `wanted` is
 * the index's hash, NULL where nobody knows it yet. Errors as store_index_unpack and store_open
 * say; store_shard_close frees what is there, also after one. In eval/store.c. */
int store_shard_open(Store *store, int64_t number, const Hash *wanted, bool verify, Error *error);
void store_shard_close(Store *store, int64_t number);

/* Are these the same features? ERROR_USAGE names the first thing that differs; `folder` is where
 * `there` comes from. */
int store_about_same(const StoreAbout *there, const StoreAbout *now, const char *folder,
                     Error *error);

#endif
