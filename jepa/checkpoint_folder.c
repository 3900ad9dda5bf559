/* A run's checkpoints as folders. See jepa/checkpoint_folder.h and jepa/checkpoint.h. */
#include "jepa/checkpoint_folder.h"
#include "base/file.h"
#include "jepa/checkpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARTIAL      ".partial"
#define BEST_PARTIAL CHECKPOINT_BEST PARTIAL
#define BEST_BEFORE  CHECKPOINT_BEST ".before" PARTIAL
#define COPY_BYTES   ((size_t)1 << 20)

int folder_move(const char *from, const char *to, Error *error) {
    if (rename(from, to))
        return error_set(error, ERROR_RUN, "cannot rename %s to %s: %s", from, to, strerror(errno));
    return 0;
}

int checkpoint_folder_remove(const char *folder, Error *error) {
    char *partial = memory_text("%s" PARTIAL, folder);
    int result = folder_move(folder, partial, error);
    if (!result)
        result = folder_remove(partial, error);
    free(partial);
    return result;
}

static char *folder_of(const char *run, int64_t step) {
    return memory_text("%s/step-%" PRId64, run, step);
}

int checkpoint_remove(const char *run, int64_t step, Error *error) {
    char *folder = folder_of(run, step);
    int result = checkpoint_folder_remove(folder, error);
    free(folder);
    return result;
}

int checkpoint_remove_older(const char *run, int keep, int64_t spared, Error *error) {
    int64_t *steps = NULL, stays = -1;
    size_t count = 0;
    int result = checkpoint_list(&steps, &count, run, error);
    for (size_t i = 0; i < count; i++)
        stays = steps[i] <= spared ? steps[i] : stays;
    for (size_t i = 0; !result && i + (size_t)keep < count; i++)
        if (steps[i] != stays)
            result = checkpoint_remove(run, steps[i], error);
    free(steps);
    return result;
}

/* The number of a "step-N" name, -1 for anything else. */
static int64_t step_of(const char *name) {
    int64_t step = 0;
    if (strncmp(name, "step-", 5) || !name[5] || strlen(name) > 20)
        return -1;
    for (const char *at = name + 5; *at; at++) {
        if (*at < '0' || *at > '9')
            return -1;
        step = step * 10 + (*at - '0');
    }
    return step;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int checkpoint_list(int64_t **steps, size_t *count, const char *run, Error *error) {
    *steps = NULL;
    *count = 0;
    DIR *folder = opendir(run);
    if (!folder)
        return error_set(error, ERROR_RUN, "cannot read the run %s: %s", run, strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0)
            continue;
        *steps = memory_grow(*steps, *count + 1, sizeof **steps);
        (*steps)[(*count)++] = step;
    }
    closedir(folder);
    if (*count)
        qsort(*steps, *count, sizeof **steps, ascending);
    return 0;
}

/* "step-N.partial" and those of the best one */
static bool is_left_over(const char *name) {
    size_t length = strlen(name), end = strlen(PARTIAL);
    char stem[32];
    if (!strcmp(name, BEST_PARTIAL) || !strcmp(name, BEST_BEFORE))
        return true;
    if (length <= end || length > 30 || strcmp(name + length - end, PARTIAL))
        return false;
    snprintf(stem, sizeof stem, "%.*s", (int)(length - end), name);
    return step_of(stem) >= 0;
}

int checkpoint_clean(const char *run, Error *error) {
    char *best = path_join(run, CHECKPOINT_BEST), *before = path_join(run, BEST_BEFORE);
    int result = 0;
    if (!folder_exists(best) && folder_exists(before)) /* stopped between two names */
        result = folder_move(before, best, error);
    free(best);
    free(before);
    DIR *folder = result ? NULL : opendir(run);
    if (!folder)
        return result ? -1
                      : error_set(error, ERROR_RUN, "cannot read the run %s: %s", run,
                                  strerror(errno));
    for (struct dirent *entry; !result && (entry = readdir(folder));) {
        if (!is_left_over(entry->d_name))
            continue;
        char *path = path_join(run, entry->d_name);
        result = folder_remove(path, error);
        free(path);
    }
    closedir(folder);
    return result;
}

/* ---- the best one ---- */

static int copy_file(const char *from, const char *to, Error *error) {
    FILE *in = fopen(from, "rbe");
    FileWriter out;
    if (!in)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", from, strerror(errno));
    int result = file_writer_open(&out, to, error);
    if (!result) {
        void *bytes = memory_new(COPY_BYTES, 1);
        size_t got;
        while (!result && (got = fread(bytes, 1, COPY_BYTES, in)) > 0)
            result = file_writer_put(&out, bytes, got, error);
        if (!result && ferror(in))
            result = error_set(error, ERROR_RUN, "cannot read %s", from);
        free(bytes);
        if (result)
            file_writer_abandon(&out);
        else
            result = file_writer_commit(&out, error);
    }
    fclose(in);
    return result;
}

/* The plain files of a folder in another, as links where the file system has them. */
static int link_files(const char *from, const char *to, Error *error) {
    DIR *folder = opendir(from);
    int result = 0;
    if (!folder)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", from, strerror(errno));
    for (struct dirent *entry; !result && (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *a = path_join(from, entry->d_name), *b = path_join(to, entry->d_name);
        if (link(a, b))
            result = copy_file(a, b, error);
        free(a);
        free(b);
    }
    closedir(folder);
    return result;
}

/* `partial` becomes `best` in one step where the system can exchange names, else in two, between
 * which checkpoint_clean would find the one before. */
static int replace_best(const char *run, const char *partial, const char *best, Error *error) {
    if (!folder_exists(best))
        return folder_move(partial, best, error);
    if (!renameat2(AT_FDCWD, partial, AT_FDCWD, best, RENAME_EXCHANGE))
        return folder_remove(partial, error);
    char *before = path_join(run, BEST_BEFORE);
    int result = folder_exists(before) ? folder_remove(before, error) : 0;
    if (!result && !(result = folder_move(best, before, error)) &&
        !(result = folder_move(partial, best, error)))
        result = folder_remove(before, error);
    free(before);
    return result;
}

int checkpoint_keep_best(const char *run, int64_t step, Error *error) {
    char *from = folder_of(run, step), *best = path_join(run, CHECKPOINT_BEST),
         *partial = path_join(run, BEST_PARTIAL);
    int result = folder_exists(partial) ? folder_remove(partial, error) : 0;
    if (!result && !(result = folder_make(partial, error)) &&
        !(result = link_files(from, partial, error)) && !(result = folder_sync(partial, error)) &&
        !(result = replace_best(run, partial, best, error)))
        result = folder_sync(run, error);
    if (result)
        error_prefix(error, "the best checkpoint, of step %" PRId64 ", was not kept", step);
    free(from);
    free(best);
    free(partial);
    return result ? -1 : 0;
}
