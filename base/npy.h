/* .npy files, NumPy's own format: written piece by piece.
 *
 *   8 bytes  "\x93NUMPY" 1 0      version 1.0
 *   2 bytes  length of the text, little-endian
 *   text     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   padded with spaces, so
 *            that the data begins at a multiple of 64 bytes
 *   data     in C order
 *
 * Source: NumPy's documentation of numpy.lib.format. */
#ifndef JEPA_BASE_NPY_H
#define JEPA_BASE_NPY_H

#include "base/file.h"

#define NPY_DIMS 8

/* Opens `path` and writes the header. descr: "<f2", "<f4", "<i8", ... The caller puts the data with
 * file_writer_put, then commits or abandons. */
int npy_begin(FileWriter *writer, const char *path, const char *descr, const int64_t *shape,
              int dims, Error *error);

#endif
