/* Reading feature stores. See eval/store.h. */
#include "eval/store.h"
#include "base/file.h"
#include "base/half.h"
#include "base/sealed.h"
#include "eval/store_header.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are stored little-endian");

/* Maps a shard's tensors, which must be as long as they should be, to the byte. */
static int map_shard(StoreShard *shard, const Store *store, const char *path, Error *error) {
    int64_t bytes = store_shard_bytes(store, shard);
    struct stat about;
    int handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (handle < 0)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
    int result = 0;
    void *map = MAP_FAILED;
    if (fstat(handle, &about) || !S_ISREG(about.st_mode))
        result = error_set(error, ERROR_RUN, "cannot read %s: it is not a plain file", path);
    else if (about.st_size != bytes)
        result = error_set(error, ERROR_RUN, "%s is damaged: it has %lld bytes, expected %" PRId64,
                           path, (long long)about.st_size, bytes);
    else if ((map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, handle, 0)) == MAP_FAILED)
        result = error_set(error, ERROR_RUN, "cannot map %s: %s", path, strerror(errno));
    close(handle);
    shard->data = result ? NULL : map;
    return result;
}

/* Every clip's bytes against their hash; the first that differs is named. */
static int verify_shard(const StoreShard *shard, const Store *store, const char *path,
                        Error *error) {
    int64_t bytes = store_clip_bytes(&store->about), bad = shard->count;
#pragma omp parallel for schedule(dynamic, 1) reduction(min : bad)
    for (int64_t i = 0; i < shard->count; i++) {
        Hash found = hash_bytes(shard->data + i * bytes, (size_t)bytes);
        if (!hash_same(&found, &shard->hashes[i]) && i < bad)
            bad = i;
    }
    if (bad < shard->count)
        return error_set(error, ERROR_RUN,
                         "%s is damaged: the bytes of clip %" PRId64 " in it are not what was "
                         "written",
                         path, bad);
    return 0;
}

int store_shard_open(Store *store, int64_t number, const Hash *wanted, bool verify, Error *error) {
    StoreShard *shard = &store->shards[number];
    char *index = store_shard_path(store->folder, number, "msgpack");
    char *data = store_shard_path(store->folder, number, "bin");
    Sealed sealed;
    int result = sealed_open(&sealed, index, STORE_HEADER_LIMIT, "feature store", error);
    if (!result) {
        if (wanted && !hash_same(wanted, &sealed.hash))
            result = error_set(error, ERROR_RUN, "%s is not the one that %s was written with",
                               index, STORE_FILE);
        else
            result = store_index_unpack(shard, store, number, sealed.record.root, index, error);
        shard->index = sealed.hash;
        sealed_close(&sealed);
    }
    if (!result)
        result = map_shard(shard, store, data, error);
    if (!result && verify)
        result = verify_shard(shard, store, data, error);
    free(shard->hashes); /* as long as the data */
    shard->hashes = NULL;
    free(index);
    free(data);
    return result;
}

void store_shard_close(Store *store, int64_t number) {
    StoreShard *shard = &store->shards[number];
    if (shard->data)
        munmap((void *)(uintptr_t)shard->data, (size_t)store_shard_bytes(store, shard));
    shard->data = NULL;
    store_shard_free(shard);
}

/* A video has failed where one of its clips has. */
static int check_failed(const Store *s, Error *error) {
    bool *failed = memory_new((size_t)s->videos, sizeof *failed);
    for (int64_t k = 0; k < s->shard_count; k++)
        for (int64_t i = 0; i < s->shards[k].count; i++)
            if (s->shards[k].failed[i])
                failed[(k * s->shard_clips + i) / s->clips] = true;
    bool same = !memcmp(failed, s->failed, (size_t)s->videos * sizeof *failed);
    free(failed);
    return same ? 0
                : error_set(error, ERROR_RUN,
                            "%s/%s is damaged: other videos have failed than its shards say",
                            s->folder, STORE_FILE);
}

/* What a folder without store.msgpack is. */
static int not_complete(const char *folder, Error *error) {
    char *first = store_shard_path(folder, 0, "msgpack"), *lock = path_join(folder, STORE_LOCK);
    bool begun = file_exists(first) || file_exists(lock);
    free(first);
    free(lock);
    if (begun)
        return error_set(error, ERROR_RUN,
                         "%s is not complete: run the same jepa features again, it goes on where "
                         "it was stopped",
                         folder);
    return error_set(error, ERROR_RUN, "%s is no feature store: there is no %s in it", folder,
                     STORE_FILE);
}

int store_open(Store *store, const char *folder, bool verify, Error *error) {
    memset(store, 0, sizeof *store);
    store->folder = path_trim(folder);
    char *path = path_join(store->folder, STORE_FILE);
    Sealed sealed;
    int result = file_exists(path)
                     ? sealed_open(&sealed, path, STORE_HEADER_LIMIT, "feature store", error)
                     : not_complete(store->folder, error);
    if (!result) {
        result = store_header_unpack(store, sealed.record.root, path, error);
        sealed_close(&sealed);
    }
    free(path);
    for (int64_t k = 0; k < store->shard_count && !result; k++) {
        Hash wanted = store->shards[k].index;
        result = store_shard_open(store, k, &wanted, verify, error);
    }
    if (!result)
        result = check_failed(store, error);
    if (result)
        store_close(store);
    return result ? -1 : 0;
}

void store_close(Store *store) {
    for (int64_t k = 0; k < store->shard_count; k++)
        store_shard_close(store, k);
    store_header_free(store);
    free(store->folder);
    memset(store, 0, sizeof *store);
}

int store_matches(const Store *store, const StoreAbout *now, Error *error) {
    return store_about_same(&store->about, now, store->folder, error);
}

const uint16_t *store_clip(const Store *store, int64_t video, int clip) {
    JEPA_ASSERT(video >= 0 && video < store->videos && clip >= 0 && clip < store->clips);
    int64_t at = video * store->clips + clip;
    const StoreShard *shard = &store->shards[at / store->shard_clips];
    const uint8_t *bytes = shard->data + at % store->shard_clips * store_clip_bytes(&store->about);
    return (const uint16_t *)(const void *)bytes;
}

void store_floats(float *out, const Store *store, int64_t video, int clip) {
    size_t count = (size_t)store->about.rows * (size_t)store->about.width;
    const uint16_t *bits = store_clip(store, video, clip);
    if (store->about.type == STORE_FLOAT16)
        float16_to_floats(out, bits, count);
    else
        bfloat16_to_floats(out, bits, count);
}

void store_video_mean(float *out, const Store *store, int64_t video) {
    size_t rows = (size_t)store->about.rows, width = (size_t)store->about.width;
    float *clip = memory_new(rows * width, sizeof *clip);
    double *row = memory_new(2 * width, sizeof *row), *sum = row + width;
    for (int c = 0; c < store->clips; c++) {
        store_floats(clip, store, video, c);
        memset(row, 0, width * sizeof *row);
        for (size_t n = 0; n < rows; n++)
            for (size_t d = 0; d < width; d++)
                row[d] += clip[n * width + d];
        for (size_t d = 0; d < width; d++)
            sum[d] += row[d] / (double)rows;
    }
    for (size_t d = 0; d < width; d++)
        out[d] = (float)(sum[d] / store->clips);
    free(row);
    free(clip);
}
