/* Files and folders: written beside and renamed, so that nothing half-written has a final name. */
#ifndef JEPA_BASE_FILE_H
#define JEPA_BASE_FILE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Reads a whole regular file of at most `limit` bytes. *bytes is zero-terminated beyond *count and
 * owned by the caller (free). Larger, missing or unreadable files are errors. */
int file_read(uint8_t **bytes, size_t *count, const char *path, size_t limit, Error *error);

/* Writes `path` whole or not at all: `path`.partial, flush, fsync, rename, fsync of the folder. */
int file_write(const char *path, const void *bytes, size_t count, Error *error);

/* The same for a file that is written piece by piece. */
typedef struct FileWriter {
    FILE *stream;  /* write here; every error is caught at commit as well */
    char *path;    /* final name, owned */
    char *partial; /* temporary name, owned */
} FileWriter;
int file_writer_open(FileWriter *writer, const char *path, Error *error);
int file_writer_put(FileWriter *writer, const void *bytes, size_t count, Error *error);
int file_writer_commit(FileWriter *writer,
                       Error *error);         /* closes; removes the partial on failure */
void file_writer_abandon(FileWriter *writer); /* closes and removes the partial file */

bool file_exists(const char *path);
bool folder_exists(const char *path);
int folder_make(const char *path, Error *error); /* mkdir -p */
int folder_sync(const char *path, Error *error); /* fsync of a folder, so that renames last */
int folder_remove(const char *path,
                  Error *error); /* a folder and the plain files in it; no recursion */

/* Could such a folder be made by folder_begin and folder_end? Asked before long work whose result
 * goes there; makes nothing. Errors: something is at `path` or at `path`.partial, a file where a
 * folder above should be, or one that cannot be written. */
int folder_check(const char *path, Error *error);
/* A folder that appears whole or not at all: filled as `path`.partial, whose name is returned, then
 * flushed and renamed; where `result` says that filling it has failed, removed with the plain files
 * in it. NULL: it cannot be made, or something is in the way. folder_end frees the name and returns
 * `result`, or -1 where it fails itself. */
char *folder_begin(const char *path, Error *error);
int folder_end(char *partial, const char *path, int result, Error *error);

char *path_join(const char *folder, const char *name); /* caller frees; an absolute name stays */
const char *path_name(const char *path);               /* the part after the last '/' */
char *path_trim(const char *path);   /* without slashes at its end; caller frees */
char *path_folder(const char *path); /* the part before it, "." if none; caller frees */
/* Would `path`, which need not exist yet, lie in the folder or be it? Links are followed. */
bool path_within(const char *path, const char *folder);

/* An exclusive lock on `path` (created if missing) that dies with its process.
 * Returns a file descriptor >= 0, or -1 with an error that names the holder's process id. */
int lock_take(const char *path, Error *error);
void lock_release(int lock);
/* The process of this machine that holds the lock at `path`, 0: none that can be seen. Looks from
 * outside (/proc/locks), so that whoever wants the lock never finds it taken by a look. */
long lock_holder(const char *path);

#endif
