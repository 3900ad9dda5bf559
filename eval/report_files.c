/* Probes and pictures of a run. See eval/report_files.h. */
#include "eval/report_files.h"
#include "base/file.h"
#include "eval/split.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX    3
#define ENTRIES_MAX  10000 /* of a folder */
#define MANIFEST_MAX ((size_t)256 << 10)

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && !strcmp(text + length - tail, end);
}

static int by_name(const void *a, const void *b) {
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    int order = natural_order(x, y);
    return order ? order : strcmp(x, y);
}

/* Names in a folder, sorted; hidden ones are left out. Caller frees each and the list. */
static size_t list_folder(char ***names, const char *path) {
    DIR *folder = opendir(path);
    size_t count = 0;
    *names = NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder)) && count < ENTRIES_MAX;)
        if (entry->d_name[0] != '.') {
            *names = memory_grow(*names, count + 1, sizeof **names);
            (*names)[count++] = memory_text("%s", entry->d_name);
        }
    if (folder)
        closedir(folder);
    if (count)
        qsort(*names, count, sizeof **names, by_name);
    return count;
}

/* ---- probes ---- */

static void find_confusions(ReportProbe *p, const char *folder) {
    char **names;
    size_t count = list_folder(&names, folder);
    for (size_t i = 0; i < count; i++) {
        bool main = !strcmp(names[i], "confusion.png");
        if (main || (!strncmp(names[i], "confusion-", 10) && ends_with(names[i], ".png"))) {
            p->confusions = memory_grow(p->confusions, p->confusions_count + 1,
                                        sizeof *p->confusions);
            size_t at = main ? 0 : p->confusions_count;
            for (size_t k = p->confusions_count; k > at; k--)
                p->confusions[k] = p->confusions[k - 1];
            p->confusions[at] = path_join(folder, names[i]);
            p->confusions_count++;
        }
        free(names[i]);
    }
    free(names);
}

static void read_probe(ReportRun *run, const char *folder, const char *name) {
    char *results = path_join(folder, "results.csv");
    char *manifest = path_join(folder, "manifest.json");
    if (file_exists(results) && run->probes_count < REPORT_PROBES) {
        run->probes = memory_grow(run->probes, run->probes_count + 1, sizeof *run->probes);
        ReportProbe *p = &run->probes[run->probes_count++];
        Error error = {0};
        uint8_t *bytes = NULL;
        size_t count;
        memset(p, 0, sizeof *p);
        p->name = memory_text("%s", name);
        if (table_read(&p->results, results, REPORT_ROWS, false, &error)) {
            table_free(&p->results);
            p->problem = memory_text("%s", error.text);
        }
        if (file_exists(manifest) && !file_read(&bytes, &count, manifest, MANIFEST_MAX, &error))
            p->manifest = (char *)bytes;
        find_confusions(p, folder);
    }
    free(results);
    free(manifest);
}

static void find_probes(ReportRun *run, const char *folder, const char *name, int depth) {
    char **names;
    read_probe(run, folder, name);
    size_t count = depth ? list_folder(&names, folder) : 0;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]), *inner = memory_text("%s/%s", name, names[i]);
        if (folder_exists(path))
            find_probes(run, path, inner, depth - 1);
        free(path);
        free(inner);
        free(names[i]);
    }
    if (depth)
        free(names);
}

/* ---- pictures ---- */

static int64_t step_of(const char *folder) {
    int64_t step = -1;
    for (const char *at = folder; (at = strstr(at, "step-")); at++)
        if (strspn(at + 5, "0123456789"))
            step = strtoll(at + 5, NULL, 10);
    return step;
}

static void add_picture(ReportRun *run, const char *folder, const char *name, const char *path,
                        size_t bytes) {
    if (run->pictures_count == REPORT_PICTURES)
        return;
    run->pictures = memory_grow(run->pictures, run->pictures_count + 1, sizeof *run->pictures);
    run->pictures[run->pictures_count++] = (ReportPicture){
        .folder = memory_text("%s", folder),
        .name = memory_text("%s", name),
        .path = memory_text("%s", path),
        .step = step_of(folder),
        .bytes = bytes,
    };
}

/* `inner`: the folder's name within RUN, "" for RUN itself. */
static void find_pictures(ReportRun *run, const char *folder, const char *inner, int depth) {
    char **names;
    size_t count = list_folder(&names, folder);
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]);
        char *within = *inner ? memory_text("%s/%s", inner, names[i]) : memory_text("%s", names[i]);
        struct stat about;
        bool there = !lstat(path, &about);
        bool probe = !*inner && !strncmp(names[i], "probe", 5);
        if (there && S_ISDIR(about.st_mode) && depth && !probe)
            find_pictures(run, path, within, depth - 1);
        if (there && S_ISREG(about.st_mode) && *inner &&
            (ends_with(names[i], ".png") || ends_with(names[i], ".gif")))
            add_picture(run, inner, names[i], path, (size_t)about.st_size);
        free(path);
        free(within);
        free(names[i]);
    }
    free(names);
}

void report_files_read(ReportRun *run) {
    char **names;
    report_files_free(run);
    size_t count = list_folder(&names, run->folder);
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(run->folder, names[i]);
        if (!strncmp(names[i], "probe", 5) && folder_exists(path))
            find_probes(run, path, names[i], 1);
        free(path);
        free(names[i]);
    }
    free(names);
    find_pictures(run, run->folder, "", DEPTH_MAX);
}

void report_files_free(ReportRun *run) {
    for (size_t i = 0; i < run->probes_count; i++) {
        ReportProbe *p = &run->probes[i];
        table_free(&p->results);
        free(p->name);
        free(p->problem);
        for (size_t k = 0; k < p->confusions_count; k++)
            free(p->confusions[k]);
        free(p->confusions);
        free(p->manifest);
    }
    for (size_t i = 0; i < run->pictures_count; i++) {
        free(run->pictures[i].folder);
        free(run->pictures[i].name);
        free(run->pictures[i].path);
    }
    free(run->probes);
    free(run->pictures);
    run->probes = NULL;
    run->pictures = NULL;
    run->probes_count = run->pictures_count = 0;
}
