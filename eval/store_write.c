/* Extraction of features into a store. See eval/store_write.h. */
#include "eval/store_write.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sealed.h"
#include "eval/store_header.h"
#include "eval/store_shards.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* A kill loses at most one shard: not so many bytes that it hurts, not so many files that the
 * system's limit of maps (65,530 of a process on Linux) comes near. */
#define SHARD_BYTES ((int64_t)128 << 20)
#define SHARD_CLIPS 1024
#define SHARDS_MANY 8192

/* Which frames and which crop, of every clip in order. */
static Hash hash_frames(const VideoIndex *index, const ClipSpec *spec, const FeatureViews *views) {
    EvaluationClips clips = {index, spec, views};
    uint64_t jobs = (uint64_t)index->usable * (uint64_t)views->segments * (uint64_t)views->views;
    HashState state;
    hash_start(&state);
    for (uint64_t job = 0; job < jobs; job++) {
        ClipDraw draw;
        evaluation_draw(&clips, job, 0, &draw);
        const int32_t crop[] = {draw.top, draw.left, draw.height, draw.width, draw.count};
        hash_add(&state, crop, sizeof crop);
        hash_add(&state, draw.frames, (size_t)draw.count * sizeof *draw.frames);
    }
    return hash_end(&state);
}

void store_about(StoreAbout *about, const Model *model, const VideoIndex *index,
                 const ClipSpec *spec, const FeatureViews *views, char network, bool pooled,
                 StoreType type) {
    *about = (StoreAbout){.files = index->hash,
                          .frames = hash_frames(index, spec, views),
                          .precision = memory_text("%s", precision_name(model->device->precision)),
                          .network = network,
                          .pooled = pooled,
                          .type = type,
                          .layers = model->plan.layers,
                          .segments = views->segments,
                          .views = views->views,
                          .clip_frames = spec->frames,
                          .height = spec->crop,
                          .width_pixels = clip_width(spec),
                          .grid = {model->grid.time, model->grid.height, model->grid.width},
                          .rows = pooled ? 1 : model->rows,
                          .width = model->teacher.dim * model->features.count,
                          .heads = model->teacher.heads};
    memcpy(about->layer, model->plan.layer, sizeof about->layer);
}

/* ---- what is there already ---- */

/* 1: it is, and is open. */
static int open_done(Store *store, const char *folder, const StoreAbout *about, Error *error) {
    char *path = path_join(folder, STORE_FILE);
    bool there = file_exists(path);
    free(path);
    if (!there)
        return 0;
    if (store_open(store, folder, false, error))
        return -1;
    if (!store_matches(store, about, error))
        return 1;
    store_close(store);
    return -1;
}

static void report_done(StoreReport *report, const Store *store) {
    *report = (StoreReport){.videos = store->videos,
                            .clips = store->videos * store->clips,
                            .resumed = store->videos * store->clips,
                            .shards = store->shard_count};
    for (int64_t v = 0; v < store->videos; v++)
        report->failed += store->failed[v];
}

int store_is_done(StoreReport *report, const char *folder, const StoreAbout *about, Error *error) {
    Store store;
    int done = open_done(&store, folder, about, error);
    if (done == 1) {
        report_done(report, &store);
        store_close(&store);
    }
    return done;
}

/* A folder that is none of ours is left alone. */
static int check_folder(const char *folder, Error *error) {
    char *lock = path_join(folder, STORE_LOCK);
    bool ours = file_exists(lock);
    free(lock);
    if (ours || (!folder_exists(folder) && !file_exists(folder)))
        return 0;
    DIR *list = opendir(folder);
    int entries = 0;
    while (list && readdir(list))
        entries++;
    if (list)
        closedir(list);
    if (entries > 2) /* . and .. */
        return error_set(error, ERROR_USAGE,
                         "%s is not empty and no feature store: name another folder", folder);
    return 0;
}

/* Shards from the first that are whole: *whole of them. Their failed videos and hashes are taken
 * over. Of the last one, which was written when the kill came or the power went, every byte is
 * verified. */
static int take_whole(int64_t *whole, Store *store, Error *error) {
    for (*whole = 0; *whole < store->shard_count; (*whole)++) {
        char *index = store_shard_path(store->folder, *whole, "msgpack");
        char *next = store_shard_path(store->folder, *whole + 1, "msgpack");
        bool there = file_exists(index), last = !file_exists(next);
        Error why = {0};
        int result = 0;
        if (there)
            result = store_shard_open(store, *whole, NULL, last, &why);
        const StoreShard *shard = &store->shards[*whole];
        for (int64_t i = 0; there && !result && i < shard->count; i++)
            if (shard->failed[i])
                store->failed[(*whole * store->shard_clips + i) / store->clips] = true;
        store_shard_close(store, *whole);
        free(index);
        free(next);
        if (result && why.code == ERROR_USAGE) {
            *error = why;
            return -1;
        }
        if (result)
            log_warn("%s: extracted again from there", why.text);
        if (result || !there)
            break;
    }
    return 0;
}

/* ---- extraction ---- */

static int64_t shard_size(const StoreAbout *about, int64_t clips, int batch, int64_t asked) {
    int64_t size = SHARD_BYTES / store_clip_bytes(about), many = clips / SHARDS_MANY + 1;
    size = size > SHARD_CLIPS ? SHARD_CLIPS : size;
    size = asked ? asked : size < many ? many : size;
    size = (size + batch - 1) / batch * batch;
    size = size < batch ? batch : size;
    return size > STORE_SHARD_MOST ? STORE_SHARD_MOST / batch * batch : size;
}

/* A store as it will be. */
static void plan_store(Store *store, const char *folder, const VideoIndex *index,
                       const StoreAbout *about, int batch, int64_t shard_clips) {
    size_t videos = index->usable;
    *store = (Store){.folder = memory_text("%s", folder),
                     .about = *about,
                     .videos = (int64_t)videos,
                     .clips = about->segments * about->views,
                     .classes = index->classes};
    store->about.source = memory_text("%s", about->source ? about->source : "");
    store->about.precision = memory_text("%s", about->precision);
    store->names = memory_new(videos, sizeof *store->names);
    store->labels = memory_new(videos, sizeof *store->labels);
    store->failed = memory_new(videos, sizeof *store->failed);
    for (size_t v = 0; v < videos; v++) {
        store->names[v] = memory_text("%s", video_index_name(index, index->usable_files[v]));
        store->labels[v] = video_index_label(index, index->usable_files[v]);
    }
    store->class_names = memory_new((size_t)index->classes, sizeof *store->class_names);
    for (int k = 0; k < index->classes; k++)
        store->class_names[k] = memory_text("%s", index->class_names[k]);
    int64_t total = store->videos * store->clips;
    store->shard_clips = shard_size(about, total, batch, shard_clips);
    store->shard_count = (total + store->shard_clips - 1) / store->shard_clips;
    store->shards = memory_new((size_t)store->shard_count, sizeof *store->shards);
}

/* store.msgpack; `write` false: would it be too long to be read again? */
static int write_header(const Store *store, bool write, Error *error) {
    RecordWriter record;
    int result = 0;
    char *path = path_join(store->folder, STORE_FILE);
    record_writer_start(&record);
    store_header_pack(&record, store);
    if (record.buffer.size > STORE_HEADER_LIMIT / 2)
        result = error_set(error, ERROR_USAGE,
                           "%s would describe %" PRId64 " videos in %zu bytes, more than can be "
                           "read again: extract them in parts",
                           path, store->videos, record.buffer.size);
    else if (write)
        result = sealed_write(NULL, path, &record, error);
    record_writer_free(&record);
    free(path);
    return result;
}

/* A video that cannot be decoded is named once. */
static void note_failed(Store *store, const LoaderBatch *batch) {
    for (int b = 0; b < batch->count; b++) {
        int64_t video = (int64_t)(batch->first_job + (uint64_t)b) / store->clips;
        if (!batch->slots[b].failed)
            continue;
        if (!store->failed[video])
            log_warn("left out: %s",
                     batch->slots[b].reason ? batch->slots[b].reason : store->names[video]);
        store->failed[video] = true;
    }
}

/* Is there room for what is still to come? A file system may be wrong about it, so it only warns.
 */
static void check_room(const Store *store, int64_t clips) {
    struct statvfs disk;
    double bytes = (double)clips * (double)store_clip_bytes(&store->about);
    if (!statvfs(store->folder, &disk) && bytes > (double)disk.f_bavail * (double)disk.f_frsize)
        log_warn("%s: %.1f GB are to be written, %.1f GB are free there", store->folder,
                 bytes / 1e9, (double)disk.f_bavail * (double)disk.f_frsize / 1e9);
}

/* All clips behind the first `whole` shards. */
static int extract(StoreReport *report, Store *store, Model *model, LoaderConfig *config,
                   int64_t whole, Error *error) {
    Device *device = model->device;
    ShardWriter *writer;
    Encode encode;
    config->first_job = (uint64_t)(whole * store->shard_clips);
    /* on the CPU the encoder has the cores */
    int threads = device->on_host ? 1 : device->threads;
    if (encode_open(&encode, model, config, store->about.network, store->about.pooled, error))
        return -1;
    int result = shard_writer_open(&writer, store, whole, config->batch, threads, error);
    if (!result) {
        Progress progress;
        const LoaderBatch *batch;
        Error stopped = {0};
        float *rows;
        double started = time_now();
        progress_start(&progress, "features", (double)config->jobs, (double)config->first_job);
        while ((batch = encode_next(&encode, &stopped)) && (rows = shard_writer_place(writer))) {
            encode_rows(rows, &encode, batch->count);
            note_failed(store, batch);
            shard_writer_give(writer, batch);
            progress_show(&progress, (double)(batch->first_job + (uint64_t)batch->count), "clips");
        }
        progress_end(&progress);
        result = shard_writer_close(writer, error);
        report->seconds = time_now() - started;
        if (!result && stopped.code) {
            *error = stopped;
            result = -1;
        }
    }
    report->wait = encode.wait;
    encode_close(&encode);
    return result;
}

/* With the lock held. */
static int write_locked(StoreReport *report, Store *store, Model *model, LoaderConfig *config,
                        Error *error) {
    int64_t whole;
    if (write_header(store, false, error) || take_whole(&whole, store, error))
        return -1;
    report->clips = (int64_t)config->jobs;
    report->shards = store->shard_count;
    report->resumed = whole < store->shard_count ? whole * store->shard_clips : report->clips;
    check_room(store, report->clips - report->resumed);
    if (whole < store->shard_count && extract(report, store, model, config, whole, error))
        return -1;
    for (int64_t v = 0; v < store->videos; v++)
        report->failed += store->failed[v];
    if (report->failed == store->videos)
        return error_set(error, ERROR_RUN, "not one video could be decoded for its features");
    return write_header(store, true, error);
}

int store_write(StoreReport *report, const char *folder, Model *model, const VideoIndex *index,
                const ClipSpec *spec, const FeatureViews *views, const StoreAbout *about,
                int64_t shard_clips, int threads, Error *error) {
    Store store;
    EvaluationClips clips = {index, spec, views};
    LoaderConfig config = evaluation_loader(&clips, model, threads);
    *report = (StoreReport){.videos = (int64_t)index->usable};
    if (check_folder(folder, error) || folder_make(folder, error))
        return -1;
    char *path = path_join(folder, STORE_LOCK);
    int lock = lock_take(path, error);
    free(path);
    if (lock < 0)
        return -1;
    int done = store_is_done(report, folder, about, error), result = done < 0 ? -1 : 0;
    if (!done) {
        plan_store(&store, folder, index, about, config.batch, shard_clips);
        result = write_locked(report, &store, model, &config, error);
        store_close(&store);
    }
    lock_release(lock);
    return result;
}
