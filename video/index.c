/* Building, saving and checking the index. See video/index.h. */
#include "video/index.h"
#include "base/file.h"
#include "base/log.h"
#include "base/record.h"
#include "video/input.h"
#include "video/sources.h"
#include <libavutil/log.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INDEX_FORMAT  "jepa.c video index"
#define INDEX_VERSION 1
#define INDEX_LIMIT   ((size_t)4 << 30)  /* bytes */
#define PTS_MAX       ((int64_t)1 << 61) /* so that differences cannot overflow */

/* ---- building ---- */

typedef struct ScanWork {
    VideoIndex *index;
    pthread_mutex_t lock;
    size_t next, done;
    Progress progress;
} ScanWork;

static void *scan_some(void *argument) {
    ScanWork *work = argument;
    pthread_mutex_lock(&work->lock);
    while (work->next < work->index->count) {
        VideoFile *file = &work->index->files[work->next++];
        pthread_mutex_unlock(&work->lock);
        char *path = file->path;
        file->path = NULL;
        video_file_scan(file, path);
        free(path);
        pthread_mutex_lock(&work->lock);
        work->done++;
        progress_show(&work->progress, (double)work->done, "videos read and decoded");
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

static void scan_all(VideoIndex *index, int threads) {
    ScanWork work = {.index = index};
    pthread_mutex_init(&work.lock, NULL);
    progress_start(&work.progress, "index", (double)index->count, 0);
    pthread_t *workers = memory_new((size_t)threads, sizeof *workers);
    int started = 0;
    for (int i = 1; i < threads; i++)
        started += !pthread_create(&workers[started], NULL, scan_some, &work);
    scan_some(&work);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    progress_end(&work.progress);
    free(workers);
    pthread_mutex_destroy(&work.lock);
}

static bool is_number(const char *text, long long *value) {
    char *end;
    *value = strtoll(text, &end, 10);
    return *text && !*end;
}

/* Numbers first, by value; then words. */
static int by_class(const void *a, const void *b) {
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    long long nx, ny;
    bool x_number = is_number(x, &nx), y_number = is_number(y, &ny);
    if (x_number != y_number)
        return x_number ? -1 : 1;
    if (x_number && nx != ny)
        return nx < ny ? -1 : 1;
    return strcmp(x, y);
}

static void name_classes(VideoIndex *index, const SourceList *list) {
    const char **names = memory_new(list->count, sizeof *names);
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].label)
            names[count++] = list->files[i].label;
    if (count)
        qsort(names, count, sizeof *names, by_class);
    for (size_t i = 0; i < count; i++)
        if (!kept || strcmp(names[i], names[kept - 1]))
            names[kept++] = names[i];
    index->classes = (int)kept;
    index->class_names = memory_new(kept, sizeof *index->class_names);
    for (size_t i = 0; i < kept; i++)
        index->class_names[i] = memory_text("%s", names[i]);
    for (size_t i = 0; i < list->count; i++) {
        const char *label = list->files[i].label;
        const char **found = label ? bsearch(&label, names, kept, sizeof *names, by_class) : NULL;
        index->files[i].label = found ? (int)(found - names) : -1;
    }
    free(names);
}

/* Everything that is derived from the files: which are usable, and the hash over all. */
static void finish(VideoIndex *index) {
    HashState state;
    hash_start(&state);
    free(index->usable_files);
    index->usable_files = memory_new(index->count, sizeof *index->usable_files);
    index->usable = 0;
    for (size_t i = 0; i < index->count; i++) {
        const VideoFile *f = &index->files[i];
        const char *reason = f->reason ? f->reason : "";
        int64_t numbers[3] = {f->bytes, f->label, f->frames};
        hash_add(&state, f->name, strlen(f->name) + 1);
        hash_add(&state, numbers, sizeof numbers);
        hash_add(&state, f->hash.bytes, HASH_BYTES);
        hash_add(&state, reason, strlen(reason) + 1);
        if (!f->reason)
            index->usable_files[index->usable++] = (uint32_t)i;
    }
    index->hash = hash_end(&state);
}

int video_index_build(VideoIndex *index, const char *source, int threads, Error *error) {
    SourceList list;
    memset(index, 0, sizeof *index);
    if (source_list(&list, source, error))
        return -1;
    if (list.count > UINT32_MAX) {
        source_list_free(&list);
        return error_set(error, ERROR_RUN, "%s: more than 4 billion videos", source);
    }
    av_log_set_level(AV_LOG_QUIET); /* what is wrong with a file becomes its reason */
    index->source = memory_text("%s", source);
    index->count = list.count;
    index->files = memory_new(list.count, sizeof *index->files);
    for (size_t i = 0; i < list.count; i++) {
        index->files[i].path = memory_text("%s", list.files[i].path);
        index->files[i].name = memory_text("%s", list.files[i].name);
    }
    name_classes(index, &list);
    source_list_free(&list);
    scan_all(index, threads < 1 ? 1 : threads);
    finish(index);
    if (index->usable)
        return 0;
    error_set(error, ERROR_RUN, "%s: none of its %zu videos can be used; the first: %s: %s", source,
              index->count, index->files[0].name, index->files[0].reason);
    video_index_free(index);
    return -1;
}

void video_index_free(VideoIndex *index) {
    for (size_t i = 0; i < index->count; i++)
        video_file_free(&index->files[i]);
    for (int i = 0; i < index->classes; i++)
        free(index->class_names[i]);
    free(index->files);
    free(index->class_names);
    free(index->usable_files);
    free(index->source);
    memset(index, 0, sizeof *index);
}

/* ---- saving: a map of source, classes, and a list of 17 fields for each file ---- */

#define FILE_FIELDS 17

static void put_file(RecordWriter *w, const VideoFile *f) {
    record_put_list(w, FILE_FIELDS);
    record_put_text(w, f->path);
    record_put_text(w, f->name);
    record_put_integer(w, f->label);
    if (f->reason)
        record_put_text(w, f->reason);
    else
        record_put_null(w);
    record_put_integer(w, f->bytes);
    record_put_integer(w, f->modified);
    record_put_bytes(w, f->hash.bytes, HASH_BYTES);
    record_put_text(w, f->codec);
    record_put_text(w, f->container);
    record_put_integer(w, f->width);
    record_put_integer(w, f->height);
    record_put_integer(w, f->rotation);
    record_put_number(w, f->fps);
    record_put_list(w, 3);
    record_put_integer(w, f->stream);
    record_put_integer(w, f->time_base[0]);
    record_put_integer(w, f->time_base[1]);
    record_put_integer(w, f->frames);
    record_put_list(w, f->pts ? (size_t)f->frames : 0);
    for (int64_t i = 0; f->pts && i < f->frames; i++)
        record_put_integer(w, f->pts[i]);
    record_put_list(w, f->key_count);
    for (size_t i = 0; i < f->key_count; i++) {
        record_put_list(w, 3);
        record_put_integer(w, f->keys[i].pts);
        record_put_integer(w, f->keys[i].dts);
        record_put_integer(w, f->keys[i].frame);
    }
}

int video_index_save(const VideoIndex *index, const char *path, Error *error) {
    RecordWriter w;
    record_writer_start(&w);
    record_put_map(&w, 5);
    record_put_text(&w, "format");
    record_put_text(&w, INDEX_FORMAT);
    record_put_text(&w, "version");
    record_put_integer(&w, INDEX_VERSION);
    record_put_text(&w, "source");
    record_put_text(&w, index->source);
    record_put_text(&w, "classes");
    record_put_list(&w, (size_t)index->classes);
    for (int i = 0; i < index->classes; i++)
        record_put_text(&w, index->class_names[i]);
    record_put_text(&w, "files");
    record_put_list(&w, index->count);
    for (size_t i = 0; i < index->count; i++)
        put_file(&w, &index->files[i]);
    int result = file_write(path, w.buffer.data, w.buffer.size, error);
    record_writer_free(&w);
    return result;
}

/* ---- loading: nothing is believed ---- */

static int get_int(int *value, const msgpack_object *object, int64_t low, int64_t high) {
    int64_t number;
    if (record_integer(object, &number) || number < low || number > high)
        return -1;
    *value = (int)number;
    return 0;
}

static int get_word(char *to, size_t room, const msgpack_object *object) {
    char *text = record_text(object);
    if (!text)
        return -1;
    snprintf(to, room, "%s", text);
    free(text);
    return 0;
}

static int get_times(VideoFile *f, const msgpack_object *pts, const msgpack_object *keys) {
    size_t count = record_count(pts);
    if (!pts || pts->type != MSGPACK_OBJECT_ARRAY || (count && (int64_t)count != f->frames))
        return -1;
    if (count)
        f->pts = memory_new(count, sizeof *f->pts);
    for (size_t i = 0; i < count; i++)
        if (record_integer(record_item(pts, i), &f->pts[i]) || f->pts[i] < -PTS_MAX ||
            f->pts[i] > PTS_MAX || (i && f->pts[i] <= f->pts[i - 1]))
            return -1;
    if (!keys || keys->type != MSGPACK_OBJECT_ARRAY)
        return -1;
    f->key_count = record_count(keys);
    f->keys = memory_new(f->key_count, sizeof *f->keys);
    for (size_t i = 0; i < f->key_count; i++) {
        const msgpack_object *key = record_item(keys, i);
        if (record_integer(record_item(key, 0), &f->keys[i].pts) ||
            record_integer(record_item(key, 1), &f->keys[i].dts) ||
            record_integer(record_item(key, 2), &f->keys[i].frame) || f->keys[i].frame < 0 ||
            f->keys[i].frame >= f->frames || (i && f->keys[i].frame <= f->keys[i - 1].frame))
            return -1;
    }
    return 0;
}

static int get_file(VideoFile *f, const msgpack_object *o, int classes) {
    const uint8_t *hash;
    size_t hash_count;
    const msgpack_object *stream = record_item(o, 13), *reason = record_item(o, 3);
    if (record_count(o) != FILE_FIELDS || !(f->path = record_text(record_item(o, 0))) ||
        !(f->name = record_text(record_item(o, 1))) ||
        get_int(&f->label, record_item(o, 2), -1, classes - 1) || !reason ||
        (reason->type != MSGPACK_OBJECT_NIL && !(f->reason = record_text(reason))) ||
        record_integer(record_item(o, 4), &f->bytes) ||
        record_integer(record_item(o, 5), &f->modified) ||
        record_bytes(record_item(o, 6), &hash, &hash_count) || hash_count != HASH_BYTES ||
        get_word(f->codec, sizeof f->codec, record_item(o, 7)) ||
        get_word(f->container, sizeof f->container, record_item(o, 8)) ||
        get_int(&f->width, record_item(o, 9), 0, INPUT_SIDE_MAX) ||
        get_int(&f->height, record_item(o, 10), 0, INPUT_SIDE_MAX) ||
        get_int(&f->rotation, record_item(o, 11), 0, 270) || f->rotation % 90 ||
        record_number(record_item(o, 12), &f->fps) ||
        get_int(&f->stream, record_item(stream, 0), 0, INT32_MAX) ||
        get_int(&f->time_base[0], record_item(stream, 1), 0, INT32_MAX) ||
        get_int(&f->time_base[1], record_item(stream, 2), 0, INT32_MAX) ||
        record_integer(record_item(o, 14), &f->frames) || f->frames < 0 ||
        f->frames > INPUT_FRAMES_MAX)
        return -1;
    memcpy(f->hash.bytes, hash, HASH_BYTES);
    if (!f->reason && (f->frames < 1 || f->width < 1 || f->height < 1))
        return -1;
    return get_times(f, record_item(o, 15), record_item(o, 16));
}

static int read_index(VideoIndex *index, const msgpack_object *root, const char *path,
                      Error *error) {
    int version = 0;
    char *format = record_text(record_find(root, "format"));
    const msgpack_object *classes = record_find(root, "classes"),
                         *files = record_find(root, "files");
    bool known = format && !strcmp(format, INDEX_FORMAT);
    free(format);
    if (!known || get_int(&version, record_find(root, "version"), 0, 1 << 20))
        return error_set(error, ERROR_RUN, "%s is no index of this program", path);
    if (version != INDEX_VERSION)
        return error_set(error, ERROR_RUN, "%s has format version %d; this program reads %d", path,
                         version, INDEX_VERSION);
    if (!(index->source = record_text(record_find(root, "source"))) || !classes || !files ||
        classes->type != MSGPACK_OBJECT_ARRAY || files->type != MSGPACK_OBJECT_ARRAY)
        return error_set(error, ERROR_RUN, "%s is damaged: fields are missing", path);
    size_t class_count = record_count(classes), count = record_count(files);
    if (count > UINT32_MAX || class_count > count)
        return error_set(error, ERROR_RUN, "%s is damaged: %zu classes of %zu files", path,
                         class_count, count);
    index->class_names = memory_new(class_count, sizeof *index->class_names);
    for (; (size_t)index->classes < class_count; index->classes++)
        if (!(index->class_names[index->classes] = record_text(
                  record_item(classes, (size_t)index->classes))))
            return error_set(error, ERROR_RUN, "%s is damaged: a class without a name", path);
    index->files = memory_new(count, sizeof *index->files);
    while (index->count < count) {
        size_t i = index->count++;
        if (get_file(&index->files[i], record_item(files, i), index->classes))
            return error_set(error, ERROR_RUN, "%s is damaged: entry %zu makes no sense", path, i);
    }
    finish(index);
    if (!index->usable)
        return error_set(error, ERROR_RUN, "%s holds no usable video", path);
    return 0;
}

int video_index_load(VideoIndex *index, const char *path, Error *error) {
    uint8_t *bytes;
    size_t count;
    Record record;
    memset(index, 0, sizeof *index);
    av_log_set_level(AV_LOG_QUIET);
    if (file_read(&bytes, &count, path, INDEX_LIMIT, error))
        return -1;
    int result = record_read(&record, bytes, count, path, error);
    if (!result) {
        result = read_index(index, record.root, path, error);
        record_free(&record);
    }
    free(bytes);
    if (result)
        video_index_free(index);
    return result;
}

int video_index_verify(const VideoIndex *index, Error *error) {
    for (size_t i = 0; i < index->count; i++) {
        const VideoFile *f = &index->files[i];
        struct stat about;
        Hash hash;
        if (f->reason)
            continue;
        if (stat(f->path, &about))
            return error_set(error, ERROR_RUN,
                             "%s has vanished since the run began: put it back, or start a new run",
                             f->path);
        int64_t modified = (int64_t)about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec;
        if (about.st_size == f->bytes && modified == f->modified)
            continue;
        if (about.st_size != f->bytes || hash_file(&hash, f->path, error) ||
            !hash_same(&hash, &f->hash))
            return error_set(error, ERROR_RUN,
                             "%s has changed since the run began: put it back, or start a new run",
                             f->path);
    }
    return 0;
}
