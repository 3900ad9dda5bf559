/* The loader: a ring of batches filled by worker threads. See video/loader.h.
 *
 * Jobs are handed out in order, one clip at a time; job j belongs to batch j / B, slot j mod B, and
 * batch n lives in ring place n mod R. A worker may start a job only when its batch's place is
 * free, that is when batch n - R has been handed back. Jobs that go together are taken at once and
 * done one after another: then a worker may wait for a place in their middle, for which only jobs
 * that come before them, and are begun, are waited for. */
#include "video/loader.h"
#include "base/log.h"
#include "video/ffmpeg.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define ATTEMPTS 16 /* clips tried for a slot before it counts as failed */

typedef struct Place {
    LoaderBatch batch;
    int done; /* slots decoded */
} Place;

struct Loader {
    LoaderConfig config;
    size_t clip_bytes, local_bytes; /* of a slot */
    uint64_t batches;               /* of a finite source; UINT64_MAX: endless */
    Place *ring;                    /* [config.ring] */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot was decoded, a batch handed back, or stopping */
    uint64_t next_job;      /* counted from first_job */
    uint64_t taken;         /* batches handed back by the consumer */
    bool holding;           /* the consumer has batch `taken` */
    bool stopping, closing;
    Error fatal;          /* code set: a clip took too long */
    uint64_t fatal_batch; /* the batch it belongs to; those before it are still handed on */
    int threads;          /* started */
    pthread_t *workers;
};

static uint64_t jobs_in(const LoaderConfig *config) {
    return config->jobs == UINT64_MAX ? UINT64_MAX : config->jobs - config->first_job;
}

static bool is_float(const LoaderConfig *config) {
    return config->spec.interpolation == CLIP_PUBLISHED;
}

static size_t clip_bytes(const LoaderConfig *config) {
    size_t values = (size_t)3 * config->spec.frames * config->spec.crop * clip_width(&config->spec);
    return values * (is_float(config) ? sizeof(float) : 1);
}

/* All local views of a slot; 0 without. */
static size_t local_bytes(const LoaderConfig *config) {
    const ClipViews *views = &config->spec.views;
    return (size_t)views->local_views * 3 * (size_t)config->spec.frames *
           (size_t)views->local_crop * (size_t)views->local_crop;
}

size_t loader_bytes(const LoaderConfig *config) {
    size_t slot = clip_bytes(config) + local_bytes(config) + sizeof(LoaderSlot);
    return (size_t)config->ring * (size_t)config->batch * slot;
}

static int decode_clip(Loader *loader, ClipDecoder *decoder, void *clip, uint8_t *locals,
                       const ClipDraw *draw, Error *error) {
    VideoFile file = video_index_file(loader->config.index, draw->file);
    ClipSpec spec = loader->config.spec;
    spec.frames = draw->count;
    if (is_float(&loader->config))
        return clip_decode_values(clip, decoder, &file, draw, &spec, error);
    return clip_decode_views(clip, locals, decoder, &file, draw, &spec, error);
}

/* Decodes one job, with further attempts where the first cannot be decoded. -1: the time is over.
 */
static int decode_job(Loader *loader, ClipDecoder *decoder, uint64_t job, void *clip,
                      uint8_t *locals, LoaderSlot *slot, Error *error) {
    const LoaderConfig *config = &loader->config;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        Error reason = {0};
        if (!config->source.draw(config->source.context, config->first_job + job, attempt,
                                 &slot->draw))
            break;
        if (!decode_clip(loader, decoder, clip, locals, &slot->draw, &reason))
            return 0;
        if (clip_decoder_timed_out(decoder))
            return error_set(error, ERROR_RUN,
                             "%s: a clip of it took longer than the %.0f seconds of data.timeout: "
                             "take the file out, or raise the limit",
                             video_index_name(config->index, slot->draw.file), config->timeout);
        if (!slot->reason) {
            slot->reason = memory_text("%s", reason.text);
            slot->bad_file = slot->draw.file;
        }
    }
    slot->failed = true;
    memset(clip, 0, loader->clip_bytes);
    if (locals)
        memset(locals, 0, loader->local_bytes);
    return 0;
}

/* Of the calling thread alone, which Linux can do. Without leave to, it stays as it is. */
static void lower_priority(int by) {
#ifdef __linux__
    id_t thread = (id_t)syscall(SYS_gettid);
    errno = 0;
    int now = getpriority(PRIO_PROCESS, thread);
    if (by && !errno)
        setpriority(PRIO_PROCESS, thread, now + by);
#else
    (void)by;
#endif
}

/* Is there nothing more to do for a worker whose next job is of this batch? Closing ends all; after
 * a fatal job, jobs that were taken and come before it are done. */
static bool ended(const Loader *loader, bool taken, uint64_t batch) {
    return loader->stopping &&
           !(loader->fatal.code && !loader->closing && taken && batch < loader->fatal_batch);
}

/* The end (exclusive) of the jobs that go together with this one. */
static uint64_t last_together(const Loader *loader, uint64_t job) {
    uint64_t together = loader->config.together > 1 ? (uint64_t)loader->config.together : 1;
    uint64_t number = loader->config.first_job + job;
    uint64_t end = job + together - number % together, total = jobs_in(&loader->config);
    return end < total ? end : total;
}

static void *work(void *argument) {
    Loader *loader = argument;
    lower_priority(loader->config.nice);
    ClipDecoder *decoder = clip_decoder_new(loader->config.timeout, loader->config.cache);
    clip_decoder_use(decoder, loader->config.hardware);
    uint64_t total = jobs_in(&loader->config), size = (uint64_t)loader->config.batch;
    uint64_t job = 0, end = 0; /* those taken: job .. end - 1 */
    pthread_mutex_lock(&loader->lock);
    for (;;) {
        /* of those taken, what comes before a fatal one must still be done */
        uint64_t next = job < end ? job : loader->next_job;
        while (!ended(loader, job < end, next / size) && next < total &&
               next / size >= loader->taken + (uint64_t)loader->config.ring) {
            pthread_cond_wait(&loader->changed, &loader->lock);
            next = job < end ? job : loader->next_job;
        }
        if (ended(loader, job < end, next / size) || next >= total)
            break;
        if (job == end) {
            job = next;
            end = last_together(loader, job);
            loader->next_job = end;
        }
        Place *place = &loader->ring[job / size % (uint64_t)loader->config.ring];
        pthread_mutex_unlock(&loader->lock);

        size_t at = (size_t)(job % size);
        double started = time_now();
        Error fatal = {0};
        uint8_t *clips = place->batch.values ? (uint8_t *)place->batch.values : place->batch.clips;
        uint8_t *locals = place->batch.locals;
        decode_job(loader, decoder, job, clips + at * loader->clip_bytes,
                   locals ? locals + at * loader->local_bytes : NULL, &place->batch.slots[at],
                   &fatal);
        double spent = time_now() - started;

        pthread_mutex_lock(&loader->lock);
        if (fatal.code && (!loader->fatal.code || job / size < loader->fatal_batch)) {
            loader->fatal = fatal;
            loader->fatal_batch = job / size;
        }
        loader->stopping = loader->stopping || fatal.code;
        place->batch.decode += spent;
        place->done++;
        job++;
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->lock);
    clip_decoder_free(decoder);
    return NULL;
}

/* Makes a ring place ready for batch `number`. */
static void reset_place(Loader *loader, uint64_t number) {
    Place *place = &loader->ring[number % (uint64_t)loader->config.ring];
    for (int b = 0; b < loader->config.batch; b++) {
        free(place->batch.slots[b].reason);
        memset(&place->batch.slots[b], 0, sizeof place->batch.slots[b]);
    }
    uint64_t total = jobs_in(&loader->config), size = (uint64_t)loader->config.batch;
    uint64_t first = number * size, left = first < total ? total - first : 0;
    place->done = 0;
    place->batch.decode = place->batch.wait = 0;
    place->batch.first_job = loader->config.first_job + first;
    place->batch.count = (int)(left < size ? left : size);
}

int loader_open(Loader **loader, const LoaderConfig *config, Error *error) {
    JEPA_ASSERT(config->batch >= 1 && config->ring >= 2 && config->threads >= 1 &&
                config->jobs >= config->first_job);
    if (clip_check_views(&config->spec, error) || ffmpeg_needed(error))
        return -1;
    if (config->hardware && config->index->check != VIDEO_CHECK_DECODE)
        return error_set(error, ERROR_USAGE,
                         "data.decoder: cuda with an index whose files were not decoded (check: "
                         "packets): a GPU does not tell damaged pictures; make the index with "
                         "data.index_check: decode (jepa index --check decode)");
    Loader *made = memory_new(1, sizeof *made);
    made->config = *config;
    made->clip_bytes = clip_bytes(config);
    made->local_bytes = local_bytes(config);
    uint64_t total = jobs_in(config), size = (uint64_t)config->batch;
    made->batches = total == UINT64_MAX ? UINT64_MAX : (total + size - 1) / size;
    made->ring = memory_new((size_t)config->ring, sizeof *made->ring);
    for (int i = 0; i < config->ring; i++) {
        void *clips = memory_new((size_t)config->batch, made->clip_bytes);
        made->ring[i].batch.clips = is_float(config) ? NULL : clips;
        made->ring[i].batch.values = is_float(config) ? clips : NULL;
        if (made->local_bytes)
            made->ring[i].batch.locals = memory_new((size_t)config->batch, made->local_bytes);
        made->ring[i].batch.slots = memory_new((size_t)config->batch,
                                               sizeof *made->ring[i].batch.slots);
        reset_place(made, (uint64_t)i);
    }
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    made->workers = memory_new((size_t)config->threads, sizeof *made->workers);
    for (int i = 0; i < config->threads; i++)
        if (!pthread_create(&made->workers[made->threads], NULL, work, made))
            made->threads++;
    *loader = made;
    if (!made->threads) {
        loader_close(made);
        *loader = NULL;
        return error_set(error, ERROR_RUN, "cannot start a thread for decoding");
    }
    return 0;
}

const LoaderBatch *loader_next(Loader *loader, Error *error) {
    double started = time_now();
    pthread_mutex_lock(&loader->lock);
    if (loader->holding) { /* hand back the batch of the last call */
        reset_place(loader, loader->taken + (uint64_t)loader->config.ring);
        loader->taken++;
        loader->holding = false;
        pthread_cond_broadcast(&loader->changed);
    }
    if (loader->taken >= loader->batches) {
        pthread_mutex_unlock(&loader->lock);
        return NULL;
    }
    Place *place = &loader->ring[loader->taken % (uint64_t)loader->config.ring];
    /* jobs are begun in order: whatever comes before the fatal one is being finished */
    while (place->done < place->batch.count &&
           !(loader->fatal.code && loader->taken >= loader->fatal_batch))
        pthread_cond_wait(&loader->changed, &loader->lock);
    if (place->done < place->batch.count ||
        (loader->fatal.code && loader->taken >= loader->fatal_batch)) {
        if (error)
            *error = loader->fatal;
        pthread_mutex_unlock(&loader->lock);
        return NULL;
    }
    loader->holding = true;
    place->batch.wait = time_now() - started;
    place->batch.ready_ahead = 0;
    for (int i = 1; i < loader->config.ring; i++) {
        const Place *ahead =
            &loader->ring[(loader->taken + (uint64_t)i) % (uint64_t)loader->config.ring];
        if (ahead->batch.count == 0 || ahead->done < ahead->batch.count)
            break;
        place->batch.ready_ahead++;
    }
    pthread_mutex_unlock(&loader->lock);
    return &place->batch;
}

void loader_close(Loader *loader) {
    if (!loader)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->stopping = loader->closing = true;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->threads; i++)
        pthread_join(loader->workers[i], NULL);
    for (int i = 0; i < loader->config.ring; i++) {
        for (int b = 0; b < loader->config.batch; b++)
            free(loader->ring[i].batch.slots[b].reason);
        free(loader->ring[i].batch.clips);
        free(loader->ring[i].batch.values);
        free(loader->ring[i].batch.locals);
        free(loader->ring[i].batch.slots);
    }
    free(loader->ring);
    free(loader->workers);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->changed);
    free(loader);
}
