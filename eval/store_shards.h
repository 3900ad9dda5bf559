/* Writing the shards of a feature store, on a thread of its own: rows are narrowed to 16 bits,
 * hashed and written while the encoder computes the next batch.
 *
 * Memory: two batches of rows, whatever the data. A shard gets its names when it is whole: first
 * its tensors, then its index (eval/store.h). */
#ifndef JEPA_EVAL_STORE_SHARDS_H
#define JEPA_EVAL_STORE_SHARDS_H

#include "eval/store.h"
#include "video/loader.h"

typedef struct ShardWriter ShardWriter;

/* Begins with shard `first` of the store, whose folder, about, videos, clips and shard_clips are
 * set; shards[k].index is filled as they are written. `batch` divides shard_clips. `threads` narrow
 * and hash. */
int shard_writer_open(ShardWriter **writer, Store *store, int64_t first, int batch, int threads,
                      Error *error);
/* A place for the rows of the next batch, [batch][N][D]; waits until one is free. NULL: writing has
 * failed, shard_writer_close says why. */
float *shard_writer_place(ShardWriter *writer);
/* The rows are there, of these clips: all but the last batch are whole ones. */
void shard_writer_give(ShardWriter *writer, const LoaderBatch *batch);
/* Waits until everything that was given is written; a shard that is not whole is dropped. Errors: a
 * full disk; a value that is no finite number, or none in float16, naming the video. */
int shard_writer_close(ShardWriter *writer, Error *error);

#endif
