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
