/* A folder that a command fills with videos of its own making: new or empty when it begins, filled
 * by several workers, without the command's files again when it fails. Private to video/. */
#ifndef JEPA_VIDEO_OUTPUT_H
#define JEPA_VIDEO_OUTPUT_H

#include "base/error.h"
#include <stdint.h>

/* `out` must be free to use: absent, or a folder with nothing in it; *exists tells which. */
int output_check(const char *out, int *exists, Error *error);

/* Calls make(context, item) once for every item 0..count-1, from `threads` threads at most (the
 * caller's is one of them), and shows progress as `what`. After a failure no new item is begun; of
 * several failures the error is that of the lowest item. */
typedef int (*OutputMake)(void *context, int item, Error *error);
int output_fill(const char *what, int count, int threads, OutputMake make, void *context,
                Error *error);

/* Folder OUT/NAME. */
int output_folder(const char *out, const char *name, Error *error);
/* Removes OUT/NAME: a file; or a folder, if nothing is in it. What is not there stays so. */
void output_remove(const char *out, const char *name);

/* Brings MP4 files OUT/names[0..count-1] to one size by a `free` box at the end of each, which
 * every reader skips; *bytes is that size. Each is written beside and renamed. */
int output_level(int64_t *bytes, const char *out, const char *const *names, int count,
                 Error *error);

#endif
