/* Folders and lists of videos. See video/sources.h. */
#include "video/sources.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LIST_LIMIT  ((size_t)1 << 30) /* bytes of a list */
#define LINE_LIMIT  8192              /* bytes of one of its lines */
#define DEPTH_LIMIT 64                /* folders in folders */

/* Pictures count as videos of one frame, but not beside videos: there they are thumbnails. */
static const char *const videos[] = {"mp4", "m4v",  "mov", "mkv",  "webm", "avi",
                                     "mpg", "mpeg", "ts",  "m2ts", "mts",  "flv",
                                     "wmv", "asf",  "3gp", "ogv",  "gif",  "ivf"};
static const char *const pictures[] = {"jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"};

static bool ends_in(const char *name, const char *const *endings, size_t count) {
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < count; i++)
        if (!strcasecmp(dot + 1, endings[i]))
            return true;
    return false;
}

static bool is_moving(const char *name) {
    return ends_in(name, videos, sizeof videos / sizeof *videos);
}

static bool is_video_name(const char *name) {
    return is_moving(name) || ends_in(name, pictures, sizeof pictures / sizeof *pictures);
}

/* Takes over path, name and label. */
static void add(SourceList *list, char *path, char *name, char *label) {
    if (!(list->count & (list->count - 1))) /* grows at powers of two */
        list->files = memory_grow(list->files, list->count ? 2 * list->count : 1,
                                  sizeof *list->files);
    list->files[list->count++] = (SourceFile){path, name, label};
}

/* A folder walk. Links to folders are put off until all true folders have been seen, then followed
 * in the order of their names, each target once: no loop, and no dependence on the disk's order. */
typedef struct Seen {
    dev_t device;
    ino_t inode;
} Seen;

typedef struct Walk {
    SourceList *list;
    Seen *seen;
    size_t seen_count, seen_room; /* room: a power of two, or 0 */
    SourceFile *links;            /* path and name */
    size_t link_count;
} Walk;

static size_t seen_place(const Walk *walk, const Seen *seen) {
    uint64_t mixed = ((uint64_t)seen->inode ^ (uint64_t)seen->device << 48) * 0x9e3779b97f4a7c15u;
    return (size_t)(mixed >> 20) & (walk->seen_room - 1);
}

static void seen_put(Walk *walk, Seen seen) {
    size_t at = seen_place(walk, &seen);
    while (walk->seen[at].inode)
        at = (at + 1) & (walk->seen_room - 1);
    walk->seen[at] = seen;
}

/* Was the folder walked already? If not, it counts as walked now. A table with open places; inode 0
 * is no folder's. */
static bool seen_before(Walk *walk, const struct stat *about) {
    Seen seen = {about->st_dev, about->st_ino ? about->st_ino : 1};
    for (size_t at = walk->seen_room ? seen_place(walk, &seen) : 0;
         walk->seen_room && walk->seen[at].inode; at = (at + 1) & (walk->seen_room - 1))
        if (walk->seen[at].device == seen.device && walk->seen[at].inode == seen.inode)
            return true;
    if (2 * (walk->seen_count + 1) > walk->seen_room) {
        Seen *old = walk->seen;
        size_t room = walk->seen_room;
        walk->seen_room = room ? 2 * room : 64;
        walk->seen = memory_new(walk->seen_room, sizeof *walk->seen);
        for (size_t i = 0; i < room; i++)
            if (old[i].inode)
                seen_put(walk, old[i]);
        free(old);
    }
    seen_put(walk, seen);
    walk->seen_count++;
    return false;
}

static int walk_folder(Walk *walk, const char *folder, const char *name, int depth, Error *error) {
    struct stat about;
    DIR *open = opendir(folder);
    if (!open || fstat(dirfd(open), &about)) {
        error_set(error, ERROR_RUN, "cannot read the folder %s: %s", folder, strerror(errno));
        if (open)
            closedir(open);
        return -1;
    }
    int result = 0;
    bool skip = seen_before(walk, &about);
    if (!skip && depth > DEPTH_LIMIT)
        result = error_set(error, ERROR_RUN, "%s: more than %d folders deep", folder, DEPTH_LIMIT);
    for (struct dirent *entry; !skip && !result && (entry = readdir(open));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = path_join(folder, entry->d_name);
        char *inside = *name ? path_join(name, entry->d_name) : memory_text("%s", entry->d_name);
        bool known = !lstat(path, &about), link = known && S_ISLNK(about.st_mode);
        if (link)
            known = !stat(path, &about);
        if (known && S_ISDIR(about.st_mode) && link) {
            walk->links = memory_grow(walk->links, walk->link_count + 1, sizeof *walk->links);
            walk->links[walk->link_count++] = (SourceFile){path, inside, NULL};
            continue;
        }
        if (known && S_ISDIR(about.st_mode)) {
            result = walk_folder(walk, path, inside, depth + 1, error);
        } else if (is_video_name(entry->d_name)) {
            add(walk->list, path, inside, NULL);
            continue;
        } else {
            walk->list->ignored++;
        }
        free(path);
        free(inside);
    }
    closedir(open);
    return result;
}

static int by_name(const void *a, const void *b) {
    const SourceFile *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->label ? x->label : "", y->label ? y->label : "");
}

/* Pictures in a folder that has videos as well. */
static void drop_thumbnails(SourceList *list) {
    size_t moving = 0, kept = 0;
    for (size_t i = 0; i < list->count; i++)
        moving += is_moving(list->files[i].name);
    for (size_t i = 0; moving && i < list->count; i++) {
        if (is_moving(list->files[i].name)) {
            list->files[kept++] = list->files[i];
            continue;
        }
        free(list->files[i].path);
        free(list->files[i].name);
        list->ignored++;
    }
    if (moving)
        list->count = kept;
}

static int read_folder(SourceList *list, const char *source, Error *error) {
    Walk walk = {.list = list};
    int result = walk_folder(&walk, source, "", 0, error);
    size_t sorted = 0; /* links that have been put in order */
    for (size_t next = 0; next < walk.link_count; next++) {
        if (walk.link_count != sorted)
            qsort(walk.links + next, walk.link_count - next, sizeof *walk.links, by_name);
        sorted = walk.link_count;
        SourceFile link = walk.links[next]; /* the array may move below */
        if (!result)
            result = walk_folder(&walk, link.path, link.name, 0, error);
        free(link.path);
        free(link.name);
    }
    free(walk.links);
    free(walk.seen);
    drop_thumbnails(list);
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

/* Takes the quotes off "path"; a doubled quote stands for one. Returns what follows the last quote.
 */
static char *unquote(char *line) {
    char *from = line + 1, *to = line;
    while (*from && (*from != '"' || from[1] == '"')) {
        from += *from == '"';
        *to++ = *from++;
    }
    char *rest = *from ? from + 1 : from;
    *to = 0;
    return rest;
}

/* Where an unquoted line's label begins to be parted from the path: at "::", else at the last
 * space, tab or comma that follows a video's ending ("my video.mp4,riding a bike"), else at the
 * last one. */
static char *find_delimiter(char *line) {
    char *colons = strstr(line, "::"), *cut = NULL;
    if (colons)
        return colons;
    if (is_video_name(line))
        return NULL; /* all of it is a path */
    for (size_t i = strlen(line); i-- > 1;) {
        char kept = line[i];
        if (!strchr(" \t,", kept))
            continue;
        if (!cut)
            cut = line + i;
        line[i] = 0;
        bool video = is_video_name(line);
        line[i] = kept;
        if (video)
            return line + i;
    }
    return cut;
}

/* One line: path and label, or the path alone. Returns the label or NULL; *path points into the
 * line. */
static char *split_line(char *line, char **path) {
    char *label = NULL;
    trim_end(line);
    *path = line;
    if (*line == '"') {
        label = unquote(line);
        label += strspn(label, " \t,:");
    } else {
        char *cut = find_delimiter(line);
        if (cut) {
            label = cut + strspn(cut, " \t,:");
            *cut = 0;
        }
        trim_end(line);
    }
    return label && *label ? label : NULL;
}

static int read_list(SourceList *list, const char *source, Error *error) {
    uint8_t *bytes;
    size_t count;
    if (file_read(&bytes, &count, source, LIST_LIMIT, error))
        return -1;
    char *folder = path_folder(source), *line = (char *)bytes, *stop = line + count;
    int result = 0, number = 0;
    if (count >= 3 && !memcmp(line, "\xef\xbb\xbf", 3))
        line += 3; /* the byte order mark that some editors write */
    while (!result && line < stop) {
        char *end = memchr(line, '\n', (size_t)(stop - line)), *path;
        end = end ? end : stop; /* file_read puts a zero there */
        char *next = end + 1;
        number++;
        *end = 0;
        if (end - line > LINE_LIMIT || memchr(line, 0, (size_t)(end - line)))
            result = error_set(
                error, ERROR_RUN,
                "%s:%d: expected \"path label\" in at most %d bytes of text; is this a "
                "list of videos?",
                source, number, LINE_LIMIT);
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

int source_list(SourceList *list, const char *source, Error *error) {
    memset(list, 0, sizeof *list);
    int result;
    if (folder_exists(source)) {
        result = read_folder(list, source, error);
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
