/* Writes a picture as a PNG file. */
#ifndef JEPA_EVAL_PNG_H
#define JEPA_EVAL_PNG_H

#include "base/error.h"
#include "eval/canvas.h"

/* Writes `canvas` to `path` whole or not at all: beside it first, flushed to the disk, renamed.
 * Errors: unwritable folder, full disk; nothing is left behind then. */
int png_write(const char *path, const Canvas *canvas, Error *error);

#endif
