/* Building, keeping, saving and checking the index. See video/index.h. */
#include "video/index.h"
#include "base/file.h"
#include "base/log.h"
#include "video/ffmpeg.h"
#include "video/index_columns.h"
#include "video/index_journal.h"
#include "video/sources.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- scanning ---- */

/* Files while the index is made. */
typedef struct Making {
    const IndexSettings *settings;
    VideoFile *files; /* [count] owned */
    bool *known;      /* [count] taken over from a kept index or the journal */
    size_t count, unknown;
    Journal journal;
    int owner;  /* lock beside the kept index; -1: none */
    bool keeps; /* the result is written to the kept index */
    pthread_mutex_t lock;
    size_t next, done;
    Progress progress;
} Making;

static void *scan_some(void *argument) {
    Making *m = argument;
    pthread_mutex_lock(&m->lock);
    while (m->next < m->count) {
        size_t i = m->next++;
        if (m->known[i])
            continue;
        pthread_mutex_unlock(&m->lock);
        VideoFile scanned = {0}, *file = &m->files[i];
        video_file_scan(&scanned, file->path, &m->settings->scan);
        scanned.name = file->name;
        scanned.label = file->label;
        scanned.dataset = file->dataset;
        file->name = NULL;
        video_file_free(file);
        *file = scanned;
        pthread_mutex_lock(&m->lock);
        journal_add(&m->journal, file);
        m->done++;
        progress_show(&m->progress, (double)m->done, "videos read");
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

static void scan_unknown(Making *m) {
    int threads = m->settings->threads < 1 ? 1 : m->settings->threads;
    pthread_mutex_init(&m->lock, NULL);
    m->done = m->count - m->unknown;
    progress_start(&m->progress, "index", (double)m->count, (double)m->done);
    pthread_t *workers = memory_new((size_t)threads, sizeof *workers);
    int started = 0;
    for (int i = 1; i < threads && (size_t)i < m->unknown; i++)
        started += !pthread_create(&workers[started], NULL, scan_some, m);
    scan_some(m);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    progress_end(&m->progress);
    free(workers);
    pthread_mutex_destroy(&m->lock);
}

/* ---- classes ---- */

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

/* The sorted names of all classes; `labels` [count] each file's own or NULL. Caller frees. */
static void name_classes(IndexAbout *about, VideoFile *files, const char *const *labels,
                         size_t count) {
    const char **names = memory_new(count, sizeof *names);
    size_t given = 0, kept = 0;
    for (size_t i = 0; i < count; i++)
        if (labels[i])
            names[given++] = labels[i];
    if (given)
        qsort(names, given, sizeof *names, by_class);
    for (size_t i = 0; i < given; i++)
        if (!kept || strcmp(names[i], names[kept - 1]))
            names[kept++] = names[i];
    about->classes = (int)kept;
    about->class_names = memory_new(kept, sizeof *about->class_names);
    for (size_t i = 0; i < kept; i++)
        about->class_names[i] = memory_text("%s", names[i]);
    for (size_t i = 0; i < count; i++) {
        const char **found = labels[i] ? bsearch(&labels[i], names, kept, sizeof *names, by_class)
                                       : NULL;
        files[i].label = found ? (int)(found - names) : -1;
    }
    free(names);
}

/* ---- what is known already ---- */

static int64_t modified_of(const struct stat *about) {
    return (int64_t)about->st_mtim.tv_sec * 1000000000 + about->st_mtim.tv_nsec;
}

/* Takes what a scan found in `from` over, if the file on the disk is still that one. */
static bool take_over(VideoFile *file, const VideoFile *from) {
    struct stat about;
    if (strcmp(file->path, from->path) || stat(file->path, &about) ||
        about.st_size != from->bytes || modified_of(&about) != from->modified || !from->bytes ||
        (from->reason && strstr(from->reason, "given up")))
        return false;
    VideoFile copy = video_file_copy(from);
    free((void *)(uintptr_t)copy.name);
    copy.name = file->name;
    copy.label = file->label;
    copy.dataset = file->dataset;
    file->name = NULL;
    video_file_free(file);
    *file = copy;
    return true;
}

static int by_path(const void *a, const void *b) {
    const VideoFile *const *x = a, *const *y = b;
    return strcmp((*x)->path, (*y)->path);
}

/* Entries are found by their path. */
static void take_known(Making *m, const VideoFile *known, size_t count) {
    const VideoFile **order = memory_new(count, sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = &known[i];
    if (count)
        qsort(order, count, sizeof *order, by_path);
    for (size_t i = 0; i < m->count && count; i++) {
        const VideoFile *wanted = &m->files[i];
        const VideoFile **found = m->known[i]
                                      ? NULL
                                      : bsearch(&wanted, order, count, sizeof *order, by_path);
        if (found && take_over(&m->files[i], *found)) {
            m->known[i] = true;
            m->unknown--;
        }
    }
    free(order);
}

/* The kept index, if it can be read and was made by the same scanner. */
static void take_kept(Making *m) {
    const char *path = m->settings->kept;
    VideoIndex kept;
    Error error = {0};
    if (!path || !file_exists(path))
        return;
    if (video_index_load(&kept, path, &error)) {
        log_warn("%s: the index is made anew", error.text);
        return;
    }
    if (index_same_scanner(&kept, m->settings->scan.check) && !index_verify_lists(&kept, &error)) {
        VideoFile *views = memory_new(kept.count, sizeof *views);
        for (size_t i = 0; i < kept.count; i++)
            views[i] = video_index_file(&kept, (uint32_t)i);
        take_known(m, views, kept.count);
        free(views);
    }
    video_index_free(&kept);
}

/* ---- making ---- */

/* So that an index can be used from any folder. */
static char *absolute(const char *path) {
    char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    char *whole = here ? path_join(here, path) : memory_text("%s", path);
    free(here);
    return whole;
}

static int list_sources(Making *m, IndexAbout *about, Error *error) {
    const IndexSettings *settings = m->settings;
    const char **labels = NULL;
    SourceList lists[INDEX_SOURCES_MAX];
    int read = 0, result = 0;
    size_t total = 0;
    for (; read < settings->sources_count && !result; read += !result) {
        result = source_list(&lists[read], settings->sources[read], error);
        total += result ? 0 : lists[read].count;
    }
    if (!result && total > UINT32_MAX)
        result = error_set(error, ERROR_RUN, "%s: more than 4 billion videos",
                           settings->sources[0]);
    if (!result) {
        m->files = memory_new(total, sizeof *m->files);
        m->known = memory_new(total, sizeof *m->known);
        labels = memory_new(total, sizeof *labels);
        about->sources = memory_new((size_t)read, sizeof *about->sources);
        for (int s = 0; s < read; s++) {
            about->sources[about->sources_count++] = memory_text("%s", settings->sources[s]);
            for (size_t i = 0; i < lists[s].count; i++) {
                const SourceFile *file = &lists[s].files[i];
                labels[m->count] = file->label;
                m->files[m->count++] = (VideoFile){.path = absolute(file->path),
                                                   .name = memory_text("%s", file->name),
                                                   .dataset = s};
            }
        }
        m->unknown = m->count;
        name_classes(about, m->files, labels, m->count);
    }
    free(labels);
    for (int s = 0; s < read; s++)
        source_list_free(&lists[s]);
    return result;
}

static void about_free(IndexAbout *about) {
    for (int i = 0; i < about->sources_count; i++)
        free(about->sources[i]);
    for (int i = 0; i < about->classes; i++)
        free(about->class_names[i]);
    free(about->sources);
    free(about->class_names);
}

static int pack(VideoIndex *index, const VideoFile *files, size_t count, const IndexAbout *about,
                Error *error) {
    uint8_t *image;
    size_t bytes;
    ColumnFile file;
    index_pack(&image, &bytes, files, count, about);
    if (columns_open_image(&file, image, bytes, "the index", INDEX_FORMAT, INDEX_VERSION, error))
        return -1;
    return index_take(index, &file, error);
}

/* That the index cannot be kept may be no error. */
static int not_kept(const IndexSettings *settings, const Error *reason, Error *error) {
    if (settings->kept_may_fail) {
        log_warn("the index is not kept for the next time: %s", reason->text);
        return 0;
    }
    if (error)
        *error = *reason;
    return -1;
}

/* Before anything is read: may the index be written there, and does nobody else do so? */
static int claim(Making *m, long whole, Error *error) {
    const char *kept = m->settings->kept;
    Error reason = {0};
    m->owner = -1;
    if (!kept)
        return 0;
    char *lock = memory_text("%s.lock", kept), *folder = path_folder(kept);
    if (file_exists(kept) && !columns_is(kept))
        error_set(&reason, ERROR_USAGE, "%s is there already and no index: give another name",
                  kept);
    else if (!folder_make(folder, &reason))
        m->owner = lock_take(lock, &reason);
    free(lock);
    free(folder);
    if (m->owner >= 0 &&
        !journal_open(&m->journal, kept, m->settings->scan.check, whole, &reason)) {
        m->keeps = true;
        return 0;
    }
    return not_kept(m->settings, &reason, error);
}

/* Writes what is new and lets go. The journal goes once it is not needed any more. */
static int keep(Making *m, const VideoIndex *index, bool same, Error *error) {
    Error reason = {0};
    bool saved = same || !video_index_save(index, m->settings->kept, &reason);
    journal_close(&m->journal, saved);
    return saved ? 0 : not_kept(m->settings, &reason, error);
}

static void let_go(Making *m) {
    if (m->owner < 0)
        return;
    char *lock = memory_text("%s.lock", m->settings->kept);
    unlink(lock);
    lock_release(m->owner);
    free(lock);
}

static int load_and_verify(VideoIndex *index, const char *path, Error *error) {
    if (video_index_load(index, path, error))
        return -1;
    if (!video_index_verify(index, error))
        return 0;
    video_index_free(index);
    return error_prefix(error, "%s is out of date (make it anew with jepa index)", path);
}

static bool same_about(const VideoIndex *a, const IndexAbout *b) {
    bool same = a->sources_count == b->sources_count && a->classes == b->classes;
    for (int i = 0; same && i < a->sources_count; i++)
        same = !strcmp(a->sources[i], b->sources[i]);
    for (int i = 0; same && i < a->classes; i++)
        same = !strcmp(a->class_names[i], b->class_names[i]);
    return same;
}

/* Is the kept file what has just been made? Then it need not be written again. */
static bool kept_is_same(const VideoIndex *index, const IndexSettings *settings,
                         const IndexAbout *about) {
    VideoIndex kept;
    Error error;
    if (!settings->kept || video_index_load(&kept, settings->kept, &error))
        return false;
    bool same = hash_same(&kept.hash, &index->hash) && same_about(&kept, about) &&
                index_same_scanner(&kept, settings->scan.check);
    video_index_free(&kept);
    return same;
}

int video_index_make(VideoIndex *index, const IndexSettings *settings, Error *error) {
    Making m = {.settings = settings, .owner = -1};
    IndexAbout about = {.check = settings->scan.check};
    memset(index, 0, sizeof *index);
    JEPA_ASSERT(settings->sources_count >= 1 && settings->sources_count <= INDEX_SOURCES_MAX);
    ffmpeg_quiet(); /* what is wrong with a file becomes its reason */
    for (int s = 0; s < settings->sources_count; s++)
        if (columns_is(settings->sources[s])) {
            if (settings->sources_count == 1)
                return load_and_verify(index, settings->sources[0], error);
            return error_set(error, ERROR_USAGE,
                             "%s: an index stands for all of its videos: give it alone, or give "
                             "the folders",
                             settings->sources[s]);
        }
    if (ffmpeg_needed(error))
        return -1;
    int result = list_sources(&m, &about, error);
    if (!result) {
        VideoFile *journalled;
        size_t count;
        long whole = journal_read(&journalled, &count, settings->kept, settings->scan.check);
        result = claim(&m, whole, error);
        if (!result) {
            take_kept(&m);
            take_known(&m, journalled, count);
            bool all_known = m.unknown == 0;
            if (!all_known)
                scan_unknown(&m);
            result = pack(index, m.files, m.count, &about, error);
            if (!result && m.keeps)
                result = keep(&m, index, all_known && kept_is_same(index, settings, &about), error);
        }
        journal_close(&m.journal, false);
        journal_free_files(journalled, count);
        let_go(&m);
    }
    if (!result && !index->usable && !settings->may_be_unusable) {
        error_set(error, ERROR_RUN, "%s: none of its %zu videos can be used; the first: %s: %s",
                  settings->sources[0], index->count, video_index_name(index, 0),
                  video_index_reason(index, 0));
        result = -1;
    }
    if (result)
        video_index_free(index);
    for (size_t i = 0; i < m.count; i++)
        video_file_free(&m.files[i]);
    free(m.files);
    free(m.known);
    about_free(&about);
    return result;
}

int video_index_build(VideoIndex *index, const char *source, int threads, Error *error) {
    IndexSettings settings = {.sources = {source}, .sources_count = 1, .threads = threads};
    return video_index_make(index, &settings, error);
}

int video_index_of_files(VideoIndex *index, const VideoFile *files, size_t count,
                         const char *const *class_names, int classes, Error *error) {
    IndexAbout about = {.class_names = (char **)(uintptr_t)class_names, .classes = classes};
    VideoFile *copies = memory_new(count, sizeof *copies);
    char *sources[INDEX_SOURCES_MAX];
    for (size_t i = 0; i < count; i++) {
        copies[i] = files[i];
        copies[i].path = files[i].path ? files[i].path : "";
        copies[i].name = files[i].name ? files[i].name : copies[i].path;
        JEPA_ASSERT(files[i].dataset >= 0 && files[i].dataset < INDEX_SOURCES_MAX);
        if (files[i].dataset >= about.sources_count)
            about.sources_count = files[i].dataset + 1;
    }
    for (int i = 0; i < about.sources_count; i++)
        sources[i] = "files";
    about.sources = sources;
    int result = pack(index, copies, count, &about, error);
    free(copies);
    return result;
}

/* ---- files ---- */

int video_index_save(const VideoIndex *index, const char *path, Error *error) {
    return file_write(path, index->columns->file.image, index->columns->file.bytes, error);
}

int video_index_load(VideoIndex *index, const char *path, Error *error) {
    ColumnFile file;
    memset(index, 0, sizeof *index);
    ffmpeg_quiet();
    if (columns_open(&file, path, INDEX_FORMAT, INDEX_VERSION, error))
        return -1;
    return index_take(index, &file, error);
}

int video_index_verify(const VideoIndex *index, Error *error) {
    const IndexColumns *c = index->columns;
    if (!index_same_scanner(index, index->check))
        log_warn("%s was made with other versions of this program or of FFmpeg, which may count "
                 "frames otherwise",
                 c->file.name);
    for (size_t u = 0; u < index->usable; u++) {
        size_t i = index->usable_files[u];
        const char *path = c->texts + c->path[i];
        struct stat about;
        Hash hash;
        if (stat(path, &about))
            return error_set(error, ERROR_RUN,
                             "%s has vanished since it was indexed: put it back, or start a new "
                             "run",
                             path);
        if (about.st_size == c->bytes[i] && modified_of(&about) == c->modified[i])
            continue;
        if (about.st_size != c->bytes[i] || hash_file(&hash, path, error) ||
            memcmp(hash.bytes, c->hash + i * HASH_BYTES, HASH_BYTES))
            return error_set(error, ERROR_RUN,
                             "%s has changed since it was indexed: put it back, or start a new run",
                             path);
    }
    return 0;
}

char *video_index_cache(const char *const *sources, int count, VideoCheck check) {
    const char *given = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    HashState state;
    hash_start(&state);
    for (int i = 0; i < count; i++) {
        char *whole = realpath(sources[i], NULL);
        const char *path = whole ? whole : sources[i];
        hash_add(&state, path, strlen(path) + 1);
        free(whole);
    }
    hash_add(&state, &check, sizeof check);
    Hash hash = hash_end(&state);
    char text[HASH_TEXT];
    hash_text(text, &hash);
    bool own = given && *given == '/';
    if (!own && (!home || *home != '/'))
        return NULL;
    return memory_text("%s/%sjepa/%.32s" INDEX_EXTENSION, own ? given : home, own ? "" : ".cache/",
                       text);
}
