/* Transcoding folders. See video/prepare.h. */
#include "video/prepare.h"
#include "base/file.h"
#include "base/log.h"
#include "base/words.h"
#include "video/ffmpeg.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOURNAL_LIMIT ((size_t)1 << 32) /* bytes */

typedef struct Item {
    char *name;            /* of the result, relative to OUT */
    char *reason;          /* why there is none; NULL: there is one */
    bool done, kept, twin; /* twin: another entry of the same source makes the result */
    TranscodeResult result;
} Item;

typedef struct Prepare {
    const char *out;
    const VideoIndex *index;
    const TranscodeSettings *settings;
    Item *items; /* [index->count] */
    FILE *journal;
    pthread_mutex_t lock;
    size_t next, ready;
    Error fatal;
    Progress progress;
    double started, frames;
} Prepare;

/* ---- names ---- */

/* A name inside of OUT: no leading slashes, ".." as "up". Caller frees. */
static char *inside(const char *name) {
    char *text = memory_new(strlen(name) + 1, 1), *to = text;
    for (const char *at = name; *at;) {
        size_t length = strcspn(at, "/");
        bool up = length == 2 && !strncmp(at, "..", 2), here = length == 1 && *at == '.';
        if (length && !here) {
            if (to > text)
                *to++ = '/';
            memcpy(to, up ? "up" : at, length);
            to += length;
        }
        at += length;
        at += *at == '/';
    }
    *to = 0;
    return text;
}

static char *without_ending(const char *name) {
    const char *dot = strrchr(name, '.'), *slash = strrchr(name, '/');
    int length = dot && (!slash || dot > slash + 1) ? (int)(dot - name) : (int)strlen(name);
    return memory_text("%.*s", length, name);
}

typedef struct Named {
    char *stem; /* lower case: two names must differ on any file system */
    size_t item;
} Named;

static int by_stem(const void *a, const void *b) {
    const Named *x = a, *y = b;
    int order = strcasecmp(x->stem, y->stem);
    return order ? order : (x->item > y->item) - (x->item < y->item);
}

/* a.avi becomes a.mp4; where a.mkv is there too, a.avi.mp4 and a.mkv.mp4. */
static int name_results(Prepare *p, Error *error) {
    size_t count = p->index->count;
    Named *named = memory_new(count, sizeof *named);
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        char *name = inside(video_index_name(p->index, (uint32_t)i));
        named[i] = (Named){without_ending(name), i};
        p->items[i].name = name; /* for now with its own ending */
    }
    if (count)
        qsort(named, count, sizeof *named, by_stem);
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && !strcasecmp(named[end].stem, named[first].stem))
            end++;
        VideoFile one = video_index_file(p->index, (uint32_t)named[first].item);
        for (size_t i = first; i < end; i++) {
            Item *item = &p->items[named[i].item];
            VideoFile file = video_index_file(p->index, (uint32_t)named[i].item);
            bool same = !strcmp(file.path, one.path);
            item->twin = i > first && same;
            bool alone = true;
            for (size_t k = first; k < end && alone; k++)
                alone = !strcmp(video_index_file(p->index, (uint32_t)named[k].item).path,
                                file.path);
            char *name = memory_text("%s.mp4", alone ? named[i].stem : item->name);
            free(item->name);
            item->name = name;
        }
        for (size_t i = first + 1; i < end && !result; i++) {
            const Item *a = &p->items[named[i - 1].item], *b = &p->items[named[i].item];
            VideoFile x = video_index_file(p->index, (uint32_t)named[i - 1].item);
            VideoFile y = video_index_file(p->index, (uint32_t)named[i].item);
            if (!strcasecmp(a->name, b->name) && strcmp(x.path, y.path))
                result = error_set(error, ERROR_RUN, "%s and %s would both become %s: rename one",
                                   x.path, y.path, a->name);
        }
    }
    for (size_t i = 0; i < count; i++)
        free(named[i].stem);
    free(named);
    return result;
}

/* ---- settings and journal ---- */

static char *settings_text(const TranscodeSettings *s) {
    return memory_text("# how jepa transcode made this folder\nshort_side: %d\ngop: %d\ncrf: %d\n"
                       "fps: %.17g\nhdr: %s\n",
                       s->short_side, s->gop, s->crf, s->fps,
                       s->hdr == CLIP_HDR_REFUSE ? "refuse" : "tonemap");
}

static int check_settings(const Prepare *p, Error *error) {
    char *path = path_join(p->out, "transcode.yaml"), *text = settings_text(p->settings);
    int result = 0;
    if (file_exists(path)) {
        uint8_t *bytes = NULL;
        size_t count;
        result = file_read(&bytes, &count, path, 1 << 16, error);
        if (!result && strcmp((char *)bytes, text))
            result = error_set(error, ERROR_USAGE,
                               "%s was made with other settings (%s): give the same, or another "
                               "--out",
                               p->out, path);
        free(bytes);
    } else {
        result = file_write(path, text, strlen(text), error);
    }
    free(text);
    free(path);
    return result;
}

/* number of the source, its size and time, and what came out of it; a line a video, by name */
static void journal_put(Prepare *p, size_t i) {
    const Item *item = &p->items[i];
    VideoFile file = video_index_file(p->index, (uint32_t)i);
    char hash[HASH_TEXT], source[HASH_TEXT];
    hash_text(hash, &item->result.hash);
    hash_text(source, &file.hash);
    fprintf(p->journal, "%s %" PRId64 " %" PRId64 " %s %" PRId64 " %" PRId64 " %d %d %s\n", source,
            file.bytes, file.modified, hash, item->result.bytes, item->result.frames,
            item->result.width, item->result.height, item->name);
    fflush(p->journal);
}

static int by_name(const void *a, const void *b) {
    const Item *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Takes over what an earlier run finished and is still there. */
static int read_journal(Prepare *p, Error *error) {
    char *path = path_join(p->out, "transcode.journal");
    uint8_t *bytes = NULL;
    size_t count = 0, items = p->index->count;
    int result = file_exists(path) ? file_read(&bytes, &count, path, JOURNAL_LIMIT, error) : 0;
    Item **order = memory_new(items, sizeof *order);
    for (size_t i = 0; i < items; i++)
        order[i] = &p->items[i];
    if (items)
        qsort(order, items, sizeof *order, by_name);
    char *line = (char *)bytes;
    for (char *end; !result && line && (end = strchr(line, '\n')); line = end + 1) {
        char source[HASH_TEXT], hash[HASH_TEXT];
        int64_t size, modified;
        TranscodeResult r;
        int at = 0;
        *end = 0;
        if (sscanf(line, "%64s %" SCNd64 " %" SCNd64 " %64s %" SCNd64 " %" SCNd64 " %d %d %n",
                   source, &size, &modified, hash, &r.bytes, &r.frames, &r.width, &r.height,
                   &at) != 8 ||
            !at || hash_from_text(&r.hash, hash))
            continue;
        Item key = {.name = line + at}, *wanted = &key;
        Item **found = items ? bsearch(&wanted, order, items, sizeof *order, by_name) : NULL;
        while (found && found > order && !strcmp(found[-1]->name, key.name))
            found--;
        for (; found && found < order + items && !strcmp((*found)->name, key.name); found++) {
            VideoFile file = video_index_file(p->index, (uint32_t)(*found - p->items));
            char *to = path_join(p->out, key.name);
            struct stat about;
            if (file.bytes == size && file.modified == modified && !stat(to, &about) &&
                about.st_size == r.bytes) {
                (*found)->result = r;
                (*found)->done = (*found)->kept = true;
            }
            free(to);
        }
    }
    if (!result && !(p->journal = fopen(path, "ae")))
        result = error_set(error, ERROR_RUN, "cannot write %s: %s", path, strerror(errno));
    /* a kill may have left half a line */
    if (!result && count && bytes[count - 1] != '\n' && bytes[count - 1] != 0)
        fputc('\n', p->journal);
    free(order);
    free(bytes);
    free(path);
    return result;
}

/* ---- work ---- */

/* Is it the disk, and not the video? */
static bool is_fatal(const char *to) {
    char *folder = path_folder(to), *trial = memory_text("%s/.trial", folder);
    uint8_t page[65536];
    Error error = {0};
    memset(page, 1, sizeof page);
    bool fatal = file_write(trial, page, sizeof page, &error) != 0;
    unlink(trial);
    free(trial);
    free(folder);
    return fatal;
}

static void do_one(Prepare *p, size_t i, Error *fatal) {
    Item *item = &p->items[i];
    VideoFile file = video_index_file(p->index, (uint32_t)i);
    Error error = {0};
    char *to = path_join(p->out, item->name), *folder = path_folder(to);
    char *partial = memory_text("%s.partial", to);
    unlink(partial); /* of a run that was killed */
    if (folder_make(folder, fatal))
        ;
    else if (transcode_video(&item->result, to, &file, p->settings, &error)) {
        if (is_fatal(to))
            *fatal = error;
        else
            item->reason = memory_text("%s", error.text);
    }
    item->done = !item->reason && !fatal->code;
    free(partial);
    free(folder);
    free(to);
}

static void *work(void *argument) {
    Prepare *p = argument;
    pthread_mutex_lock(&p->lock);
    while (p->next < p->index->count && !p->fatal.code) {
        size_t i = p->next++;
        Item *item = &p->items[i];
        if (item->done || item->twin || item->reason)
            continue;
        pthread_mutex_unlock(&p->lock);
        Error fatal = {0};
        do_one(p, i, &fatal);
        pthread_mutex_lock(&p->lock);
        if (fatal.code && !p->fatal.code)
            p->fatal = fatal;
        if (item->done) {
            journal_put(p, i);
            p->frames += (double)item->result.frames;
        }
        p->ready++;
        char detail[64];
        snprintf(detail, sizeof detail, "videos, %.0f frames/s",
                 p->frames / (time_now() - p->started + 1e-9));
        progress_show(&p->progress, (double)p->ready, detail);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void work_all(Prepare *p, int threads) {
    pthread_t *workers = memory_new((size_t)threads, sizeof *workers);
    int started = 0;
    pthread_mutex_init(&p->lock, NULL);
    p->started = time_now();
    progress_start(&p->progress, "transcode", (double)p->index->count, (double)p->ready);
    for (int i = 1; i < threads; i++)
        started += !pthread_create(&workers[started], NULL, work, p);
    work(p);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    progress_end(&p->progress);
    pthread_mutex_destroy(&p->lock);
    free(workers);
}

/* Entries of the same source share its result. */
static void share_results(Prepare *p) {
    size_t count = p->index->count;
    Item **order = memory_new(count, sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = &p->items[i];
    if (count)
        qsort(order, count, sizeof *order, by_name);
    for (size_t first = 0, end; first < count; first = end) {
        const Item *made = order[first];
        for (end = first; end < count && !strcmp(order[end]->name, order[first]->name); end++)
            if (!order[end]->twin)
                made = order[end];
        for (size_t i = first; i < end; i++)
            if (order[i]->twin && !order[i]->reason) {
                order[i]->result = made->result;
                order[i]->done = made->done;
                order[i]->kept = made->kept;
                order[i]->reason = made->reason ? memory_text("%s", made->reason) : NULL;
            }
    }
    free(order);
}

/* ---- records ---- */

static int write_text(const char *out, const char *name, const char *text, size_t size,
                      Error *error) {
    char *path = path_join(out, name);
    int result = file_write(path, text, size, error);
    free(path);
    return result;
}

static int write_records(const Prepare *p, Error *error) {
    char *text = NULL, *list = NULL;
    size_t size, list_size;
    FILE *csv = open_memstream(&text, &size), *labels = open_memstream(&list, &list_size);
    JEPA_ASSERT(csv && labels);
    fprintf(csv, "source,source_blake2b,source_bytes,source_width,source_height,result,"
                 "result_blake2b,result_bytes,result_width,result_height,frames,reason\n");
    for (size_t i = 0; i < p->index->count; i++) {
        const Item *item = &p->items[i];
        VideoFile f = video_index_file(p->index, (uint32_t)i);
        char hash[HASH_TEXT], made[HASH_TEXT];
        char *source = csv_quote(f.name), *name = csv_quote(item->name);
        char *reason = csv_quote(item->reason ? item->reason : "");
        hash_text(hash, &f.hash);
        hash_text(made, &item->result.hash);
        fprintf(csv, "%s,%s,%" PRId64 ",%d,%d,", source, hash, f.bytes, f.width, f.height);
        if (item->reason)
            fprintf(csv, ",,,,,,%s\n", reason);
        else
            fprintf(csv, "%s,%s,%" PRId64 ",%d,%d,%" PRId64 ",\n", name, made, item->result.bytes,
                    item->result.width, item->result.height, item->result.frames);
        if (!item->reason && f.label >= 0)
            fprintf(labels, "%s %s\n", name, p->index->class_names[f.label]);
        free(source);
        free(name);
        free(reason);
    }
    fclose(csv);
    fclose(labels);
    int result = write_text(p->out, "transcode.csv", text, size, error);
    if (!result && p->index->classes)
        result = write_text(p->out, "videos.csv", list, list_size, error);
    free(text);
    free(list);
    return result;
}

static void summarise(PrepareSummary *s, const Prepare *p) {
    *s = (PrepareSummary){.videos = p->index->count};
    for (size_t i = 0; i < p->index->count; i++) {
        const Item *item = &p->items[i];
        s->unusable += item->reason != NULL;
        s->kept += item->kept;
        s->done += item->done && !item->kept;
        if (item->done) {
            s->frames += (double)item->result.frames;
            s->bytes += (double)video_index_file(p->index, (uint32_t)i).bytes;
            s->result_bytes += (double)item->result.bytes;
        }
    }
}

static int prepare(Prepare *p, int threads, Error *error) {
    if (check_settings(p, error) || name_results(p, error) || read_journal(p, error))
        return -1;
    for (size_t i = 0; i < p->index->count; i++) {
        const char *reason = video_index_reason(p->index, (uint32_t)i);
        if (reason)
            p->items[i].reason = memory_text("%s", reason);
        p->ready += reason || p->items[i].done || p->items[i].twin;
    }
    work_all(p, threads);
    if (p->fatal.code) {
        *error = p->fatal;
        return -1;
    }
    share_results(p);
    return write_records(p, error);
}

int prepare_videos(PrepareSummary *summary, const char *out, const VideoIndex *index,
                   const TranscodeSettings *settings, int threads, Error *error) {
    Prepare p = {.out = out, .index = index, .settings = settings};
    if (ffmpeg_needed(error) || folder_make(out, error))
        return -1;
    char *path = path_join(out, "lock");
    int lock = lock_take(path, error);
    free(path);
    if (lock < 0)
        return error_prefix(error, "another jepa transcode works in %s, or it cannot be written",
                            out);
    p.items = memory_new(index->count, sizeof *p.items);
    int result = prepare(&p, threads < 1 ? 1 : threads, error);
    if (!result)
        summarise(summary, &p);
    if (p.journal)
        fclose(p.journal);
    for (size_t i = 0; i < index->count; i++) {
        free(p.items[i].name);
        free(p.items[i].reason);
    }
    free(p.items);
    lock_release(lock);
    return result;
}
