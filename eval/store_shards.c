/* Writing shards. See eval/store_shards.h. */
#include "eval/store_shards.h"
#include "base/file.h"
#include "base/half.h"
#include "base/sealed.h"
#include "eval/store_header.h"
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 2 /* one is filled while the other is written */

/* A batch on its way. */
typedef struct Place {
    int count;       /* clips; 0: none yet */
    float *rows;     /* [batch][N][D] */
    uint16_t *bits;  /* [batch][N][D] */
    StoreClip *clip; /* [batch] */
    int64_t *frames; /* [batch][clip_frames] */
    size_t *lost;    /* [batch] values that are no finite numbers in 16 bits */
} Place;

struct ShardWriter {
    Store *store;
    int batch, threads;
    int64_t values; /* N · D of a clip */
    int64_t shard;  /* at work */
    int64_t clips;  /* of it that are written */
    FileWriter file;
    RecordWriter index;
    bool begun; /* file and index are open */
    Place place[PLACES];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t given, done; /* batches */
    bool ending, failed;
    Error error;
};

/* The value that does not fit, for a person. */
static int name_lost(const ShardWriter *w, const Place *place, int b, Error *error) {
    const float *rows = place->rows + b * w->values;
    int64_t clip = w->shard * w->store->shard_clips + w->clips + b;
    const char *name = w->store->names[clip / w->store->clips];
    for (int64_t i = 0; i < w->values; i++)
        if (!isfinite(rows[i]))
            return error_set(error, ERROR_RUN,
                             "%s: the encoder gives values for it that are no finite numbers: is "
                             "this the checkpoint of a run that has diverged?",
                             name);
    float most = 0;
    for (int64_t i = 0; i < w->values; i++)
        most = fmaxf(most, fabsf(rows[i]));
    return error_set(error, ERROR_RUN,
                     "%s: a feature of size %g does not fit into %s (the largest is %g): take "
                     "bfloat16",
                     name, (double)most, w->store->about.type == STORE_FLOAT16 ? "float16" : "bf16",
                     w->store->about.type == STORE_FLOAT16 ? 65504. : 3.39e38);
}

/* One clip: its bits and their hash. What could not be decoded is zero. */
static void narrow(const ShardWriter *w, Place *place, int b) {
    const float *rows = place->rows + b * w->values;
    uint16_t *bits = place->bits + b * w->values;
    size_t count = (size_t)w->values;
    place->lost[b] = 0;
    if (place->clip[b].failed)
        memset(bits, 0, count * sizeof *bits);
    else if (w->store->about.type == STORE_FLOAT16)
        place->lost[b] = float16_from_floats(bits, rows, count);
    else
        place->lost[b] = bfloat16_from_floats(bits, rows, count);
    place->clip[b].hash = hash_bytes(bits, count * sizeof *bits);
}

static int begin_shard(ShardWriter *w, Error *error) {
    char *path = store_shard_path(w->store->folder, w->shard, "bin");
    int result = file_writer_open(&w->file, path, error);
    free(path);
    if (result)
        return -1;
    record_writer_start(&w->index);
    store_index_start(&w->index, w->store, w->shard);
    w->begun = true;
    w->clips = 0;
    return 0;
}

static int end_shard(ShardWriter *w, Error *error) {
    char *path = store_shard_path(w->store->folder, w->shard, "msgpack");
    int result = file_writer_commit(&w->file, error);
    if (!result)
        result = sealed_write(&w->store->shards[w->shard].index, path, &w->index, error);
    record_writer_free(&w->index);
    w->begun = false;
    w->shard++;
    free(path);
    return result;
}

static int write_batch(ShardWriter *w, Place *place, Error *error) {
    if (!w->begun && begin_shard(w, error))
        return -1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(w->threads)
    for (int b = 0; b < place->count; b++)
        narrow(w, place, b);
    for (int b = 0; b < place->count; b++)
        if (place->lost[b])
            return name_lost(w, place, b, error);
    size_t bytes = (size_t)place->count * (size_t)w->values * sizeof *place->bits;
    if (file_writer_put(&w->file, place->bits, bytes, error))
        return -1;
    for (int b = 0; b < place->count; b++)
        store_index_add(&w->index, w->store, w->shard, w->clips + b, &place->clip[b]);
    w->clips += place->count;
    return w->clips == store_shard_size(w->store, w->shard) ? end_shard(w, error) : 0;
}

static void *work(void *argument) {
    ShardWriter *w = argument;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->given == w->done && !w->ending)
            pthread_cond_wait(&w->changed, &w->lock);
        if (w->given == w->done || w->failed)
            break;
        Place *place = &w->place[w->done % PLACES];
        pthread_mutex_unlock(&w->lock);
        Error error = {0};
        int result = write_batch(w, place, &error);
        pthread_mutex_lock(&w->lock);
        if (result) {
            w->failed = true;
            w->error = error;
        }
        w->done++;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void free_writer(ShardWriter *w) {
    for (int i = 0; i < PLACES; i++) {
        Place *place = &w->place[i];
        free(place->rows);
        free(place->bits);
        free(place->clip);
        free(place->frames);
        free(place->lost);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
}

int shard_writer_open(ShardWriter **writer, Store *store, int64_t first, int batch, int threads,
                      Error *error) {
    JEPA_ASSERT(store->shard_clips % batch == 0 && threads >= 1);
    ShardWriter *w = memory_new(1, sizeof *w);
    const StoreAbout *about = &store->about;
    size_t clips = (size_t)batch;
    w->store = store;
    w->batch = batch;
    w->threads = threads;
    w->values = (int64_t)about->rows * about->width;
    w->shard = first;
    for (int i = 0; i < PLACES; i++) {
        Place *place = &w->place[i];
        place->rows = memory_new(clips * (size_t)w->values, sizeof *place->rows);
        place->bits = memory_new(clips * (size_t)w->values, sizeof *place->bits);
        place->clip = memory_new(clips, sizeof *place->clip);
        place->frames = memory_new(clips * (size_t)about->clip_frames, sizeof *place->frames);
        place->lost = memory_new(clips, sizeof *place->lost);
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (pthread_create(&w->thread, NULL, work, w)) {
        free_writer(w);
        return error_set(error, ERROR_RUN, "cannot start a thread for writing");
    }
    *writer = w;
    return 0;
}

float *shard_writer_place(ShardWriter *w) {
    pthread_mutex_lock(&w->lock);
    while (w->given - w->done == PLACES && !w->failed)
        pthread_cond_wait(&w->changed, &w->lock);
    float *rows = w->failed ? NULL : w->place[w->given % PLACES].rows;
    pthread_mutex_unlock(&w->lock);
    return rows;
}

void shard_writer_give(ShardWriter *w, const LoaderBatch *batch) {
    Place *place = &w->place[w->given % PLACES];
    size_t frames = (size_t)w->store->about.clip_frames;
    JEPA_ASSERT(batch->count <= w->batch);
    place->count = batch->count;
    for (int b = 0; b < batch->count; b++) {
        const ClipDraw *draw = &batch->slots[b].draw;
        int64_t *own = place->frames + (size_t)b * frames;
        JEPA_ASSERT((size_t)draw->count == frames);
        memcpy(own, draw->frames, frames * sizeof *own);
        place->clip[b] = (StoreClip){.failed = batch->slots[b].failed,
                                     .frames = own,
                                     .crop = {draw->top, draw->left, draw->height, draw->width}};
    }
    pthread_mutex_lock(&w->lock);
    w->given++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

int shard_writer_close(ShardWriter *w, Error *error) {
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    int result = 0;
    if (w->begun) {
        file_writer_abandon(&w->file);
        record_writer_free(&w->index);
    }
    if (w->failed) {
        *error = w->error;
        result = -1;
    }
    free_writer(w);
    return result;
}
