/* Column files: a MessagePack header, then columns of numbers that are used as they lie in the
 * file.
 *
 *     8 bytes  "jepacol\n"
 *     8 bytes  length of the header, little-endian
 *     header   MessagePack: {format, version, about: anything, columns: [[name, type, count,
 * offset, BLAKE2b-256], ...]} columns  little-endian, each at a multiple of 64 bytes from the start
 *
 * A file is mapped, not read: opening costs the same for ten rows and for a million. Every length
 * is held against the bytes that are there before it is believed. The map is read-only and the file
 * must not be cut while it is open (files of this program are replaced whole, never changed).
 */
#ifndef JEPA_BASE_COLUMNS_H
#define JEPA_BASE_COLUMNS_H

#include "base/error.h"
#include "base/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ColumnType { COLUMN_U8, COLUMN_I32, COLUMN_I64, COLUMN_F64 } ColumnType;

typedef struct Column {
    const char *name;
    ColumnType type;
    const void *data; /* [count] */
    size_t count;
} Column;

/* The bytes of a column file; *image is the caller's (free). `about` is a whole MessagePack record
 * of about_bytes. */
void columns_pack(uint8_t **image, size_t *bytes, const char *format, int version,
                  const uint8_t *about, size_t about_bytes, const Column *columns, size_t count);

typedef struct ColumnFile {
    const uint8_t *image;
    size_t bytes;
    bool mapped; /* else owned memory */
    Record header;
    const msgpack_object *about;
    char *name; /* for messages */
} ColumnFile;

/* Maps the file at `path`; or takes over an image in memory (freed by columns_close, also on
 * failure). Errors: not such a file, another version, lengths that do not fit. */
int columns_open(ColumnFile *file, const char *path, const char *format, int version, Error *error);
int columns_open_image(ColumnFile *file, uint8_t *image, size_t bytes, const char *name,
                       const char *format, int version, Error *error);
void columns_close(ColumnFile *file);

/* Is this a column file? By its first bytes. */
bool columns_is(const char *path);

/* A column, [*count] of the type asked for. `expected`: rows it must have, or SIZE_MAX. With
 * `verify` its bytes are held against their hash. */
int columns_get(const void **data, size_t *count, const ColumnFile *file, const char *name,
                ColumnType type, size_t expected, bool verify, Error *error);

#endif
