/* Folders and lists of videos. See video/sources.h. */
#include "video/sources.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LIST_LIMIT  ((size_t)1 << 30) /* bytes of a list */
#define LINE_LIMIT  8192              /* bytes of one of its lines */
#define DEPTH_LIMIT 64                /* folders in folders */

static const char *const extensions[] = {
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg",  "mpeg", "ts",  "m2ts", "mts", "flv", "wmv",
    "asf", "3gp", "ogv", "gif", "ivf",  "jpg", "jpeg", "png",  "bmp", "webp", "tif", "tiff"};

static bool is_video_name(const char *name) {
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof extensions / sizeof *extensions; i++)
        if (!strcasecmp(dot + 1, extensions[i]))
            return true;
    return false;
}

/* Takes over path, name and label. */
static void add(SourceList *list, char *path, char *name, char *label) {
    if (!(list->count & (list->count - 1))) /* grows at powers of two */
        list->files = memory_grow(list->files, list->count ? 2 * list->count : 1,
                                  sizeof *list->files);
    list->files[list->count++] = (SourceFile){path, name, label};
}

/* The folders from the top down to here, so that a link back up is seen as a loop. */
typedef struct Level {
    dev_t device;
    ino_t inode;
    const struct Level *up;
    int depth;
} Level;

static int walk(SourceList *list, const char *folder, const char *name, const Level *up,
                Error *error) {
    struct stat about;
    DIR *open = opendir(folder);
    if (!open || stat(folder, &about)) {
        error_set(error, ERROR_RUN, "cannot read the folder %s: %s", folder, strerror(errno));
        if (open)
            closedir(open);
        return -1;
    }
    Level level = {about.st_dev, about.st_ino, up, up ? up->depth + 1 : 0};
    bool loop = level.depth > DEPTH_LIMIT;
    for (const Level *l = up; l; l = l->up)
        loop |= l->device == level.device && l->inode == level.inode;
    int result = 0;
    for (struct dirent *entry; !result && !loop && (entry = readdir(open));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = path_join(folder, entry->d_name);
        char *inside = *name ? path_join(name, entry->d_name) : memory_text("%s", entry->d_name);
        if (!stat(path, &about) && S_ISDIR(about.st_mode)) {
            result = walk(list, path, inside, &level, error);
        } else if (is_video_name(entry->d_name)) {
            add(list, path, inside, NULL);
            continue;
        } else {
            list->ignored++;
        }
        free(path);
        free(inside);
    }
    closedir(open);
    return result;
}

/* The class of a file is its first-level folder, when every file lies in one. */
static void label_by_folder(SourceList *list) {
    for (size_t i = 0; i < list->count; i++)
        if (!strchr(list->files[i].name, '/'))
            return;
    for (size_t i = 0; i < list->count; i++)
        list->files[i].label = memory_text("%.*s", (int)strcspn(list->files[i].name, "/"),
                                           list->files[i].name);
}

static void trim_end(char *text) {
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        text[--length] = 0;
}

/* One line: "path label", path label separated by a space, a comma or "::"; the path may be quoted.
 * Without a label the whole line is the path. Returns the label or NULL; *path points into the
 * line. */
static char *split_line(char *line, char **path) {
    char *label = NULL;
    line += strspn(line, " \t");
    trim_end(line);
    if (*line == '"') {
        char *end = strchr(line + 1, '"');
        *path = line + 1;
        if (end) {
            *end = 0;
            label = end + 1 + strspn(end + 1, " \t,:");
        }
    } else {
        *path = line;
        char *colons = strstr(line, "::"), *comma = strrchr(line, ','), *cut = strrchr(line, ' ');
        cut = !cut || (comma && comma > cut) ? comma : cut;
        if (colons) {
            *colons = 0;
            label = colons + 2;
        } else if (cut && !is_video_name(cut)) {
            *cut = 0;
            label = cut + 1;
        }
        trim_end(line);
    }
    if (label)
        label += strspn(label, " \t");
    return label && *label ? label : NULL;
}

static int read_list(SourceList *list, const char *source, Error *error) {
    uint8_t *bytes;
    size_t count;
    if (file_read(&bytes, &count, source, LIST_LIMIT, error))
        return -1;
    char *folder = path_folder(source), *line = (char *)bytes;
    int result = 0, number = 0;
    while (!result && line < (char *)bytes + count) {
        char *end = strchrnul(line, '\n'), *next = end + 1, *path;
        number++;
        *end = 0;
        if (end - line > LINE_LIMIT || memchr(line, 0, (size_t)(end - line)))
            result = error_set(error, ERROR_RUN, "%s:%d: no line of a list of videos", source,
                               number);
        line += strspn(line, " \t\r");
        if (!result && *line && *line != '#') {
            char *label = split_line(line, &path);
            if (*path)
                add(list, path_join(folder, path), memory_text("%s", path),
                    label ? memory_text("%s", label) : NULL);
        }
        line = next;
    }
    free(folder);
    free(bytes);
    return result;
}

static int by_name(const void *a, const void *b) {
    const SourceFile *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->label ? x->label : "", y->label ? y->label : "");
}

int source_list(SourceList *list, const char *source, Error *error) {
    memset(list, 0, sizeof *list);
    int result;
    if (folder_exists(source)) {
        result = walk(list, source, "", NULL, error);
        if (!result)
            label_by_folder(list);
    } else if (!file_exists(source)) {
        result = error_set(error, ERROR_RUN, "%s: no such folder or list of videos", source);
    } else if (is_video_name(source)) {
        result = 0;
        add(list, memory_text("%s", source), memory_text("%s", path_name(source)), NULL);
    } else {
        result = read_list(list, source, error);
    }
    if (!result && !list->count)
        result = error_set(error, ERROR_RUN, "%s: no videos in it%s", source,
                           list->ignored ? " (only files of other kinds)" : "");
    if (!result)
        qsort(list->files, list->count, sizeof *list->files, by_name);
    else
        source_list_free(list);
    return result;
}

void source_list_free(SourceList *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->files[i].path);
        free(list->files[i].name);
        free(list->files[i].label);
    }
    free(list->files);
    memset(list, 0, sizeof *list);
}
