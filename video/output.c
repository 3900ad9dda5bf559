/* Filling a folder with videos. See video/output.h. */
#include "video/output.h"
#include "base/file.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BOX_HEAD   8                 /* bytes: size and kind of a box */
#define FILE_LIMIT ((size_t)1 << 30) /* of one video: box sizes have 32 bits */

typedef struct Work { /* shared by the workers; everything below `lock` is guarded by it */
    int count;
    OutputMake make;
    void *context;
    pthread_mutex_t lock;
    int next; /* item to make next */
    int done;
    int failed_item; /* lowest item that failed, -1 while none has */
    Error error;     /* its error */
    Progress progress;
} Work;

int output_check(const char *out, int *exists, Error *error) {
    *exists = 0;
    if (!*out)
        return error_set(error, ERROR_USAGE, "the name of the folder for the videos is empty");
    DIR *folder = opendir(out);
    if (!folder && errno == ENOENT)
        return 0;
    if (!folder)
        return error_set(error, ERROR_RUN, "%s: cannot be used as a folder for the videos: %s", out,
                         strerror(errno));
    int entries = 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            entries++;
    closedir(folder);
    *exists = 1;
    if (entries)
        return error_set(error, ERROR_USAGE,
                         "%s: is not empty (%d entries); name a new or an empty folder", out,
                         entries);
    return 0;
}

static void *work_run(void *context) {
    Work *work = context;
    pthread_mutex_lock(&work->lock);
    while (work->next < work->count && work->failed_item < 0) {
        int item = work->next++;
        pthread_mutex_unlock(&work->lock);
        Error error = {0};
        int result = work->make(work->context, item, &error);
        pthread_mutex_lock(&work->lock);
        if (result && (work->failed_item < 0 || item < work->failed_item)) {
            work->failed_item = item;
            work->error = error;
        }
        progress_show(&work->progress, ++work->done, "");
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

/* The calling thread works too, so a machine that refuses more threads only makes it slower. */
int output_fill(const char *what, int count, int threads, OutputMake make, void *context,
                Error *error) {
    Work work = {.count = count, .make = make, .context = context, .failed_item = -1};
    int helpers = (threads < count ? threads : count) - 1, started = 0;
    helpers = helpers < 0 ? 0 : helpers;
    pthread_t *workers = memory_new((unsigned long)helpers + 1, sizeof *workers);
    pthread_mutex_init(&work.lock, NULL);
    progress_start(&work.progress, what, count, 0);
    while (started < helpers && pthread_create(&workers[started], NULL, work_run, &work) == 0)
        started++;
    work_run(&work);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    progress_end(&work.progress);
    pthread_mutex_destroy(&work.lock);
    free(workers);
    if (work.failed_item >= 0 && error)
        *error = work.error;
    return work.failed_item >= 0 ? -1 : 0;
}

int output_folder(const char *out, const char *name, Error *error) {
    char *path = path_join(out, name);
    int result = folder_make(path, error);
    free(path);
    return result;
}

void output_remove(const char *out, const char *name) {
    char *path = path_join(out, name);
    remove(path);
    free(path);
}

/* A box of `room` bytes: its size, big-endian, "free", zeros (ISO/IEC 14496-12, 8.1.2). */
static int write_padded(const char *path, const uint8_t *bytes, size_t count, size_t room,
                        Error *error) {
    const uint8_t head[BOX_HEAD] = {(uint8_t)(room >> 24),
                                    (uint8_t)(room >> 16),
                                    (uint8_t)(room >> 8),
                                    (uint8_t)room,
                                    'f',
                                    'r',
                                    'e',
                                    'e'};
    uint8_t *zeros = memory_new(room, 1);
    FileWriter file;
    int result = file_writer_open(&file, path, error);
    if (!result) {
        result = file_writer_put(&file, bytes, count, error);
        if (!result)
            result = file_writer_put(&file, head, BOX_HEAD, error);
        if (!result)
            result = file_writer_put(&file, zeros, room - BOX_HEAD, error);
        if (!result)
            result = file_writer_commit(&file, error);
        else
            file_writer_abandon(&file);
    }
    free(zeros);
    return result;
}

int output_level(int64_t *bytes, const char *out, const char *const *names, int count,
                 Error *error) {
    size_t most = 0;
    int result = 0;
    for (int i = 0; i < count && !result; i++) {
        struct stat about;
        char *path = path_join(out, names[i]);
        if (stat(path, &about))
            result = error_set(error, ERROR_RUN, "%s vanished while it was written", path);
        else if ((size_t)about.st_size > most)
            most = (size_t)about.st_size;
        free(path);
    }
    most += BOX_HEAD; /* the largest has a box as well */
    for (int i = 0; i < count && !result; i++) {
        char *path = path_join(out, names[i]);
        uint8_t *file = NULL;
        size_t size;
        result = file_read(&file, &size, path, FILE_LIMIT, error);
        if (!result)
            result = write_padded(path, file, size, most - size, error);
        free(file);
        free(path);
    }
    *bytes = (int64_t)most;
    return result;
}
