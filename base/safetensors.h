/* safetensors files: 8-byte little-endian header length, JSON header, raw little-endian tensors.
 *
 * Reading maps the file and checks everything the header claims: lengths, offsets inside the file,
 * offsets against shape and dtype, no overlap, names unique. Writing goes to a partial file that is
 * renamed at the end; tensors appear in the order given and notes (the header's "__metadata__",
 * texts by name) in the order of their keys, so equal content gives equal bytes.
 */
#ifndef JEPA_BASE_SAFETENSORS_H
#define JEPA_BASE_SAFETENSORS_H

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_DIMS 8

typedef enum TensorType {
    TENSOR_F64,
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_I64,
    TENSOR_I32,
    TENSOR_I16,
    TENSOR_I8,
    TENSOR_U8,
    TENSOR_BOOL
} TensorType;

size_t tensor_type_bytes(TensorType type);
const char *tensor_type_name(TensorType type); /* "F32", ... as in the file */
bool tensor_type_is_float(TensorType type);    /* F64, F32, F16, BF16 */

/* `count` values one after another, maybe unaligned, as float32: F32, F16 and BF16 exactly, F64 to
 * the nearest. Other types are a bug of the caller. */
void tensor_type_floats(float *out, const void *values, size_t count, TensorType type);

typedef struct TensorInfo {
    char *name;
    TensorType type;
    int dims;
    int64_t shape[TENSOR_DIMS];
    const void
        *data; /* reading: inside the mapping, maybe unaligned; writing: the caller's bytes */
    size_t bytes;
} TensorInfo;

/* An entry of "__metadata__". */
typedef struct TensorNote {
    char *key, *value; /* reading: owned by the file; writing: the caller's */
} TensorNote;

#define TENSOR_NOTES_MAX       1024              /* entries */
#define TENSOR_NOTES_BYTES_MAX ((size_t)1 << 20) /* of all keys and values */

typedef struct Safetensors {
    size_t count;
    TensorInfo *tensors; /* [count], in the order of the data */
    size_t notes_count;
    TensorNote *notes; /* [notes_count], by key (strcmp) */
    void *map;         /* the mapped file */
    size_t map_bytes;
    char *path;
} Safetensors;

int safetensors_open(Safetensors *file, const char *path, Error *error);
void safetensors_close(Safetensors *file);
const TensorInfo *safetensors_find(const Safetensors *file, const char *name); /* NULL if absent */
const char *safetensors_note(const Safetensors *file, const char *key);        /* NULL if absent */

/* Copies a tensor as float32 (F64, F32, F16 and BF16 sources only, count must match). */
int safetensors_floats(float *out, size_t count, const Safetensors *file, const char *name,
                       Error *error);

/* Writes whole or not at all. `hashes` may be NULL, else [count]: BLAKE2b of each tensor's bytes.
 */
int safetensors_write(const char *path, const TensorInfo *tensors, size_t count, Hash *hashes,
                      Error *error);
/* The same with notes: [notes_count], in any order, keys unique, within the limits above. */
int safetensors_write_noted(const char *path, const TensorInfo *tensors, size_t count,
                            const TensorNote *notes, size_t notes_count, Hash *hashes,
                            Error *error);
/* The same for tensors that are not in memory: writes the header (their data is not looked at). The
 * caller puts their bytes in order, without gaps, with file_writer_put, then commits or abandons.
 */
int safetensors_begin(FileWriter *writer, const char *path, const TensorInfo *tensors, size_t count,
                      const TensorNote *notes, size_t notes_count, Error *error);

#endif
