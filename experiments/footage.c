/* The videos that are shown to a model. See experiments/scene.h. */
#include "base/columns.h"
#include "base/file.h"
#include "base/log.h"
#include "experiments/scene.h"
#include "video/ffmpeg.h"
#include "video/sources.h"
#include "video/windows.h"
#include <stdlib.h>
#include <string.h>

static bool is_list(const char *path) {
    size_t length = strlen(path);
    return length > 4 && (!strcmp(path + length - 4, ".csv") || !strcmp(path + length - 4, ".txt"));
}

static int paths_of_index(char ***paths, size_t *count, const char *source, Error *error) {
    VideoIndex index;
    if (video_index_build(&index, source, 1, error))
        return -1;
    *paths = memory_new(index.usable + 1, sizeof **paths);
    for (size_t i = 0; i < index.usable; i++) {
        VideoFile file = video_index_file(&index, index.usable_files[i]);
        (*paths)[(*count)++] = memory_text("%s", file.path);
    }
    video_index_free(&index);
    return 0;
}

int footage_paths(char ***paths, size_t *count, const char *source, Error *error) {
    SourceList list = {0};
    *paths = NULL;
    *count = 0;
    if (columns_is(source))
        return paths_of_index(paths, count, source, error);
    if (!folder_exists(source) && !is_list(source)) {
        *paths = memory_new(1, sizeof **paths);
        (*paths)[(*count)++] = memory_text("%s", source);
        return 0;
    }
    if (source_list(&list, source, error))
        return -1;
    *paths = memory_new(list.count + 1, sizeof **paths);
    for (size_t i = 0; i < list.count; i++)
        (*paths)[(*count)++] = memory_text("%s", list.files[i].path);
    source_list_free(&list);
    return 0;
}

void footage_paths_free(char **paths, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
}

int footage_open(Footage *f, const char *path, const ClipSpec *clip, Error *error) {
    const ScanSettings settings = {.check = VIDEO_CHECK_PACKETS};
    memset(f, 0, sizeof *f);
    ffmpeg_quiet();
    video_file_scan(&f->file, path, &settings);
    f->file.name = memory_text("%s", path);
    f->file.label = -1;
    if (f->file.reason)
        return error_set(error, ERROR_RUN, "%s: %s", path, f->file.reason);
    if (clip && window_fits(&f->file, clip, error))
        return -1;
    return video_index_of_files(&f->index, &f->file, 1, NULL, 0, error);
}

void footage_close(Footage *f) {
    video_index_free(&f->index);
    video_file_free(&f->file);
    memset(f, 0, sizeof *f);
}

void footage_free(Footage *footage, size_t count) {
    for (size_t i = 0; i < count; i++)
        footage_close(&footage[i]);
    free(footage);
}

int footage_choose(Footage **footage, size_t *count, const char *source, size_t most,
                   const ClipSpec *clip, Error *error) {
    char **paths;
    size_t found;
    *footage = NULL;
    *count = 0;
    if (footage_paths(&paths, &found, source, error))
        return -1;
    most = most < found ? most : found;
    *footage = memory_new(most + 1, sizeof **footage);
    size_t next = 0; /* the first path that was not tried */
    for (size_t k = 0; k < most; k++) {
        size_t place = k * found / most, end = (k + 1) * found / most;
        for (next = next > place ? next : place; next < end; next++) {
            Footage *into = &(*footage)[*count];
            if (!footage_open(into, paths[next], clip, error)) {
                (*count)++;
                next++;
                break;
            }
            footage_close(into);
            if (found > 1)
                log_warn("passed over: %s", error->text);
        }
    }
    footage_paths_free(paths, found);
    if (*count) {
        *error = (Error){0};
        return 0;
    }
    footage_free(*footage, 0);
    *footage = NULL;
    if (found == 1)
        return -1;
    return error_set(error, ERROR_RUN, "%s: none of its %zu videos can be shown", source, found);
}
