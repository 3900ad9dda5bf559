/* jepa surprise: which videos are pairs. See experiments/surprise.h. */
#include "base/file.h"
#include "eval/table.h"
#include "experiments/surprise.h"
#include <stdlib.h>
#include <string.h>

#define PAIRS_MOST ((size_t)400000)
#define TEXT_MOST  4096 /* characters of a cell */

typedef struct Named {
    const char *kind, *scene;
    size_t index;
} Named;

static int by_scene(const void *a, const void *b) {
    const Named *x = a, *y = b;
    int kind = strcmp(x->kind, y->kind), scene = strcmp(x->scene, y->scene);
    return kind ? kind : scene ? scene : (x->index > y->index) - (x->index < y->index);
}

/* Numbers for scenes: those of two kinds are different ones, and each pair without one is its own.
 */
static void number_scenes(PairList *list, Named *names) {
    int64_t number = 0;
    qsort(names, list->count, sizeof *names, by_scene);
    for (size_t i = 0; i < list->count; i++) {
        number += i && (!*names[i].scene || strcmp(names[i].kind, names[i - 1].kind) != 0 ||
                        strcmp(names[i].scene, names[i - 1].scene) != 0);
        list->pairs[names[i].index].scene = number;
    }
}

/* ---- a file ---- */

/* A number from 0 on; -1: none. */
static int64_t number_of(const char *text) {
    char *end;
    long long value = strtoll(text, &end, 10);
    return *text && !*end && value >= 0 ? value : -1;
}

static int take_row(PairList *list, Named *name, const Table *t, const int *column, size_t row,
                    const char *path, const char *folder, Error *error) {
    const char *kind = table_cell(t, row, column[0]), *possible = table_cell(t, row, column[1]),
               *impossible = table_cell(t, row, column[2]), *scene = table_cell(t, row, column[3]);
    if (!*possible || !*impossible || strlen(possible) > TEXT_MOST ||
        strlen(impossible) > TEXT_MOST || strlen(kind) > TEXT_MOST)
        return error_set(
            error, ERROR_RUN,
            "%s, pair %zu: expected the paths of a possible and of an impossible video", path,
            row + 1);
    int64_t number = number_of(table_cell(t, row, column[5]));
    list->pairs[row] = (Pair){.kind = memory_text("%s", *kind ? kind : "pairs"),
                              .possible = path_join(folder, possible),
                              .impossible = path_join(folder, impossible),
                              .number = number < 0 ? (int64_t)row : number,
                              .scene = (int64_t)row,
                              .event = number_of(table_cell(t, row, column[4]))};
    list->count = row + 1;
    *name = (Named){list->pairs[row].kind, scene, row};
    return 0;
}

static int read_file(PairList *list, const char *path, Error *error) {
    Table t;
    if (table_read(&t, path, PAIRS_MOST, true, error)) {
        table_free(&t);
        return -1;
    }
    static const char *const names[] = {"kind",  "possible",    "impossible",
                                        "scene", "event_frame", "pair"};
    int column[6], result = 0;
    for (int c = 0; c < 6; c++)
        column[c] = table_column(&t, names[c]);
    char *folder = path_folder(path);
    Named *scenes = memory_new(t.rows + 1, sizeof *scenes);
    list->pairs = memory_new(t.rows + 1, sizeof *list->pairs);
    list->scenes = column[3] >= 0;
    if (column[1] < 0 || column[2] < 0)
        result = error_set(error, ERROR_RUN,
                           "%s: no columns \"possible\" and \"impossible\" in its first line; "
                           "expected a pairs.csv as jepa synth --physics writes it",
                           path);
    else if (!t.rows || t.total > t.rows)
        result = error_set(error, ERROR_RUN, "%s: %zu pairs; expected 1 to %zu", path, t.total,
                           PAIRS_MOST);
    for (size_t row = 0; row < t.rows && !result; row++)
        result = take_row(list, &scenes[row], &t, column, row, path, folder, error);
    if (!result && list->scenes)
        number_scenes(list, scenes);
    free(scenes);
    free(folder);
    table_free(&t);
    return result;
}

/* ---- a folder ---- */

typedef struct Half {
    char *key; /* the path up to _possible or _impossible */
    const char *path;
    bool impossible;
} Half;

static int by_key(const void *a, const void *b) {
    const Half *x = a, *y = b;
    int key = strcmp(x->key, y->key);
    return key ? key : x->impossible - y->impossible;
}

/* false: a name without either end */
static bool take_half(Half *half, const char *path) {
    static const char *const ends[] = {"_possible", "_impossible"};
    const char *dot = strrchr(path_name(path), '.');
    size_t length = dot ? (size_t)(dot - path) : strlen(path);
    for (int e = 0; e < 2; e++) {
        size_t end = strlen(ends[e]);
        if (length <= end || memcmp(path + length - end, ends[e], end) != 0)
            continue;
        *half = (Half){memory_text("%.*s", (int)(length - end), path), path, e == 1};
        return true;
    }
    return false;
}

/* The name of the file's folder, where that is not the source itself. */
static char *kind_of(const char *path, const char *source) {
    char *folder = path_folder(path), *whole = path_trim(source);
    char *kind = memory_text("%s", strcmp(folder, whole) != 0 ? path_name(folder) : "pairs");
    free(folder);
    free(whole);
    return kind;
}

static int read_folder(PairList *list, const char *source, Error *error) {
    char **paths;
    size_t count, halves = 0;
    if (footage_paths(&paths, &count, source, error))
        return -1;
    Half *half = memory_new(count + 1, sizeof *half);
    for (size_t i = 0; i < count; i++)
        halves += take_half(&half[halves], paths[i]);
    qsort(half, halves, sizeof *half, by_key);
    list->pairs = memory_new(halves / 2 + 1, sizeof *list->pairs);
    int result = 0;
    for (size_t i = 0; i < halves && !result; i += 2) {
        bool both = i + 1 < halves && !strcmp(half[i].key, half[i + 1].key) &&
                    !half[i].impossible && half[i + 1].impossible;
        if (!both)
            result = error_set(error, ERROR_RUN,
                               "%s: its counterpart is missing, or there are several: expected "
                               "NAME_possible.EXT and NAME_impossible.EXT",
                               half[i].path);
        else
            list->pairs[list->count++] = (Pair){.kind = kind_of(half[i].path, source),
                                                .possible = memory_text("%s", half[i].path),
                                                .impossible = memory_text("%s", half[i + 1].path),
                                                .number = (int64_t)(i / 2),
                                                .scene = (int64_t)(i / 2),
                                                .event = -1};
    }
    if (!result && !halves)
        result = error_set(error, ERROR_RUN,
                           "%s: no pairs.csv in it, and no videos NAME_possible.EXT and "
                           "NAME_impossible.EXT",
                           source);
    for (size_t i = 0; i < halves; i++)
        free(half[i].key);
    free(half);
    footage_paths_free(paths, count);
    return result;
}

int pair_list(PairList *list, const char *source, Error *error) {
    memset(list, 0, sizeof *list);
    if (!folder_exists(source))
        return read_file(list, source, error);
    char *path = path_join(source, "pairs.csv");
    int result = file_exists(path) ? read_file(list, path, error)
                                   : read_folder(list, source, error);
    free(path);
    return result;
}

void pair_list_free(PairList *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->pairs[i].kind);
        free(list->pairs[i].possible);
        free(list->pairs[i].impossible);
    }
    free(list->pairs);
    memset(list, 0, sizeof *list);
}
