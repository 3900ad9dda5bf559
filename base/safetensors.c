/* Reading and writing safetensors. See base/safetensors.h. */
#include "base/safetensors.h"
#include "base/half.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_LIMIT ((uint64_t)100 << 20) /* bytes; the format's own limit */
#define LENGTH_BYTES 8

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are stored little-endian");

typedef struct TypeInfo {
    const char *name;
    size_t bytes;
} TypeInfo;

static const TypeInfo types[] = {
    [TENSOR_F64] = {"F64", 8},   [TENSOR_F32] = {"F32", 4}, [TENSOR_F16] = {"F16", 2},
    [TENSOR_BF16] = {"BF16", 2}, [TENSOR_I64] = {"I64", 8}, [TENSOR_I32] = {"I32", 4},
    [TENSOR_I16] = {"I16", 2},   [TENSOR_I8] = {"I8", 1},   [TENSOR_U8] = {"U8", 1},
    [TENSOR_BOOL] = {"BOOL", 1}};

size_t tensor_type_bytes(TensorType type) {
    return types[type].bytes;
}

const char *tensor_type_name(TensorType type) {
    return types[type].name;
}

bool tensor_type_is_float(TensorType type) {
    return type == TENSOR_F64 || type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16;
}

void tensor_type_floats(float *out, const void *values, size_t count, TensorType type) {
    JEPA_ASSERT(tensor_type_is_float(type));
    const unsigned char *at = values;
    if (!count)
        return;
    if (type == TENSOR_F32) {
        memcpy(out, values, count * sizeof *out);
    } else if (type == TENSOR_F64) {
        for (size_t i = 0; i < count; i++, at += sizeof(double)) {
            double value;
            memcpy(&value, at, sizeof value);
            out[i] = (float)value;
        }
    } else {
        for (size_t i = 0; i < count; i++, at += sizeof(uint16_t)) {
            uint16_t bits;
            memcpy(&bits, at, sizeof bits);
            out[i] = type == TENSOR_F16 ? float16_to_float(bits) : bfloat16_to_float(bits);
        }
    }
}

static int bad(const Safetensors *file, Error *error, const char *name, const char *what) {
    return error_set(error, ERROR_RUN, "%s is no sound safetensors file: %s%s%s", file->path,
                     name ? name : "", name ? ": " : "", what);
}

/* One entry of the header: {"dtype": .., "shape": [..], "data_offsets": [begin, end]} */
static int read_entry(TensorInfo *t, const Safetensors *file, json_t *entry, uint64_t data_bytes,
                      uint64_t *begin, Error *error) {
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape"),
           *offsets = json_object_get(entry, "data_offsets");
    int found = -1;
    for (int i = 0; type && i < (int)(sizeof types / sizeof *types); i++)
        if (!strcmp(type, types[i].name))
            found = i;
    if (found < 0)
        return bad(file, error, t->name, "unknown dtype");
    t->type = (TensorType)found;
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_DIMS)
        return bad(file, error, t->name, "no shape, or more than 8 dimensions");
    t->dims = (int)json_array_size(shape);
    uint64_t bytes = types[found].bytes;
    for (int i = 0; i < t->dims; i++) {
        json_t *size = json_array_get(shape, (size_t)i);
        t->shape[i] = json_integer_value(size);
        if (!json_is_integer(size) || t->shape[i] < 0 ||
            __builtin_mul_overflow(bytes, (uint64_t)t->shape[i], &bytes))
            return bad(file, error, t->name, "impossible shape");
    }
    json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !json_is_integer(first) ||
        !json_is_integer(last) || json_integer_value(first) < 0 ||
        json_integer_value(last) < json_integer_value(first) ||
        (uint64_t)json_integer_value(last) > data_bytes)
        return bad(file, error, t->name, "data_offsets outside the file");
    *begin = (uint64_t)json_integer_value(first);
    if ((uint64_t)json_integer_value(last) - *begin != bytes)
        return bad(file, error, t->name, "data_offsets do not fit dtype and shape");
    t->bytes = (size_t)bytes;
    return 0;
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const TensorNote *)a)->key, ((const TensorNote *)b)->key);
}

static int read_notes(Safetensors *file, json_t *object, Error *error) {
    const char *key;
    json_t *value;
    size_t bytes = 0;
    if (!json_is_object(object))
        return bad(file, error, "__metadata__", "no description");
    if (json_object_size(object) > TENSOR_NOTES_MAX)
        return bad(file, error, "__metadata__", "too many entries");
    file->notes = memory_new(json_object_size(object), sizeof *file->notes);
    json_object_foreach(object, key, value) {
        if (!json_is_string(value))
            return bad(file, error, "__metadata__", "a value that is no text");
        bytes += strlen(key) + json_string_length(value);
        if (bytes > TENSOR_NOTES_BYTES_MAX)
            return bad(file, error, "__metadata__", "longer than 1 MiB");
        file->notes[file->notes_count++] = (TensorNote){
            memory_text("%s", key), memory_text("%s", json_string_value(value))};
    }
    if (file->notes_count)
        qsort(file->notes, file->notes_count, sizeof *file->notes, by_key);
    return 0;
}

static int by_place(const void *a, const void *b) {
    const TensorInfo *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1; /* empty tensors first */
    return strcmp(x->name, y->name);
}

static int read_header(Safetensors *file, json_t *header, const char *data, uint64_t data_bytes,
                       Error *error) {
    const char *name;
    json_t *entry;
    file->tensors = memory_new(json_object_size(header), sizeof *file->tensors);
    json_object_foreach(header, name, entry) {
        if (!strcmp(name, "__metadata__")) {
            if (read_notes(file, entry, error))
                return -1;
            continue;
        }
        TensorInfo *t = &file->tensors[file->count++];
        uint64_t begin = 0;
        t->name = memory_text("%s", name);
        if (!json_is_object(entry))
            return bad(file, error, name, "no description");
        if (read_entry(t, file, entry, data_bytes, &begin, error))
            return -1;
        t->data = data + begin;
    }
    if (file->count)
        qsort(file->tensors, file->count, sizeof *file->tensors, by_place);
    const char *next = data;
    for (size_t i = 0; i < file->count; i++) {
        if ((const char *)file->tensors[i].data != next)
            return bad(file, error, file->tensors[i].name, "tensors overlap or leave a gap");
        next += file->tensors[i].bytes;
    }
    if (next != data + data_bytes)
        return bad(file, error, NULL, "bytes after the last tensor");
    return 0;
}

int safetensors_open(Safetensors *file, const char *path, Error *error) {
    memset(file, 0, sizeof *file);
    file->path = memory_text("%s", path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (descriptor < 0 || fstat(descriptor, &about)) {
        error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        safetensors_close(file);
        return -1;
    }
    int result = 0;
    if (!S_ISREG(about.st_mode)) {
        result = error_set(error, ERROR_RUN, "cannot read %s: it is not a plain file", path);
    } else if (about.st_size < LENGTH_BYTES) {
        result = bad(file, error, NULL, "shorter than its own length field");
    } else {
        file->map_bytes = (size_t)about.st_size;
        file->map = mmap(NULL, file->map_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (file->map == MAP_FAILED) {
            file->map = NULL;
            result = error_set(error, ERROR_RUN, "cannot map %s: %s", path, strerror(errno));
        }
    }
    close(descriptor);
    if (!result) {
        const unsigned char *bytes = file->map;
        uint64_t length = 0;
        for (int i = LENGTH_BYTES - 1; i >= 0; i--)
            length = length << 8 | bytes[i];
        uint64_t rest = file->map_bytes - LENGTH_BYTES;
        json_error_t reason;
        json_t *header = NULL;
        if (length > rest || length > HEADER_LIMIT)
            result = bad(file, error, NULL, "the header is longer than the file");
        else if (!(header = json_loadb((const char *)bytes + LENGTH_BYTES, (size_t)length,
                                       JSON_REJECT_DUPLICATES, &reason)) ||
                 !json_is_object(header))
            result = bad(file, error, NULL, header ? "the header is no JSON object" : reason.text);
        else
            result = read_header(file, header, (const char *)bytes + LENGTH_BYTES + length,
                                 rest - length, error);
        json_decref(header);
    }
    if (result)
        safetensors_close(file);
    return result;
}

void safetensors_close(Safetensors *file) {
    for (size_t i = 0; i < file->count; i++)
        free(file->tensors[i].name);
    free(file->tensors);
    for (size_t i = 0; i < file->notes_count; i++) {
        free(file->notes[i].key);
        free(file->notes[i].value);
    }
    free(file->notes);
    free(file->path);
    if (file->map)
        munmap(file->map, file->map_bytes);
    memset(file, 0, sizeof *file);
}

const TensorInfo *safetensors_find(const Safetensors *file, const char *name) {
    for (size_t i = 0; i < file->count; i++)
        if (!strcmp(file->tensors[i].name, name))
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_note(const Safetensors *file, const char *key) {
    for (size_t i = 0; i < file->notes_count; i++)
        if (!strcmp(file->notes[i].key, key))
            return file->notes[i].value;
    return NULL;
}

int safetensors_floats(float *out, size_t count, const Safetensors *file, const char *name,
                       Error *error) {
    const TensorInfo *t = safetensors_find(file, name);
    if (!t)
        return error_set(error, ERROR_RUN, "%s: no tensor %s", file->path, name);
    if (!tensor_type_is_float(t->type))
        return error_set(error, ERROR_RUN, "%s: %s is %s, expected F64, F32, F16 or BF16",
                         file->path, name, tensor_type_name(t->type));
    size_t found = t->bytes / tensor_type_bytes(t->type);
    if (found != count)
        return error_set(error, ERROR_RUN, "%s: %s has %zu values, expected %zu", file->path, name,
                         found, count);
    tensor_type_floats(out, t->data, count, t->type);
    return 0;
}

/* Sorted by key; -1: a key or value that is no UTF-8. */
static int put_notes(json_t *header, const TensorNote *notes, size_t count) {
    json_t *object = json_object();
    TensorNote *sorted = memory_new(count, sizeof *sorted);
    size_t bytes = 0;
    int result = 0;
    memcpy(sorted, notes, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_key);
    JEPA_ASSERT(count <= TENSOR_NOTES_MAX);
    for (size_t i = 0; i < count; i++) {
        JEPA_ASSERT(!i || strcmp(sorted[i - 1].key, sorted[i].key));
        bytes += strlen(sorted[i].key) + strlen(sorted[i].value);
        if (json_object_set_new(object, sorted[i].key, json_string(sorted[i].value)))
            result = -1;
    }
    JEPA_ASSERT(bytes <= TENSOR_NOTES_BYTES_MAX);
    free(sorted);
    if (json_object_set_new(header, "__metadata__", object))
        result = -1;
    return result;
}

/* The header as JSON text, padded with spaces to a multiple of 8 bytes; caller frees. NULL: a note
 * that is no UTF-8. */
static char *header_text(const TensorInfo *tensors, size_t count, const TensorNote *notes,
                         size_t notes_count, size_t *length) {
    json_t *header = json_object();
    uint64_t at = 0;
    if (notes_count && put_notes(header, notes, notes_count)) {
        json_decref(header);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const TensorInfo *t = &tensors[i];
        size_t bytes = tensor_type_bytes(t->type);
        json_t *shape = json_array();
        for (int d = 0; d < t->dims; d++) {
            bytes *= (size_t)t->shape[d];
            json_array_append_new(shape, json_integer(t->shape[d]));
        }
        JEPA_ASSERT(bytes == t->bytes && !json_object_get(header, t->name));
        int failed = json_object_set_new(
            header, t->name,
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor_type_name(t->type), "shape", shape,
                      "data_offsets", (json_int_t)at, (json_int_t)(at + bytes)));
        JEPA_ASSERT(!failed);
        at += bytes;
    }
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(header);
    JEPA_ASSERT(text);
    size_t used = strlen(text);
    *length = (used + 7) / 8 * 8;
    char *padded = memory_new(*length + 1, 1);
    memset(padded, ' ', *length);
    memcpy(padded, text, used);
    free(text);
    return padded;
}

int safetensors_write(const char *path, const TensorInfo *tensors, size_t count, Hash *hashes,
                      Error *error) {
    return safetensors_write_noted(path, tensors, count, NULL, 0, hashes, error);
}

int safetensors_begin(FileWriter *writer, const char *path, const TensorInfo *tensors, size_t count,
                      const TensorNote *notes, size_t notes_count, Error *error) {
    size_t length;
    char *header = header_text(tensors, count, notes, notes_count, &length);
    if (!header)
        return error_set(error, ERROR_RUN, "cannot write %s: a note in it is no UTF-8", path);
    if (file_writer_open(writer, path, error)) {
        free(header);
        return -1;
    }
    unsigned char prefix[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        prefix[i] = (unsigned char)((uint64_t)length >> (8 * i));
    int result = file_writer_put(writer, prefix, sizeof prefix, error);
    if (!result)
        result = file_writer_put(writer, header, length, error);
    free(header);
    if (result)
        file_writer_abandon(writer);
    return result;
}

int safetensors_write_noted(const char *path, const TensorInfo *tensors, size_t count,
                            const TensorNote *notes, size_t notes_count, Hash *hashes,
                            Error *error) {
    FileWriter writer;
    int result = 0;
    if (safetensors_begin(&writer, path, tensors, count, notes, notes_count, error))
        return -1;
    for (size_t i = 0; i < count && !result; i++) {
        result = file_writer_put(&writer, tensors[i].data, tensors[i].bytes, error);
        if (hashes)
            hashes[i] = hash_bytes(tensors[i].data, tensors[i].bytes);
    }
    if (result) {
        file_writer_abandon(&writer);
        return -1;
    }
    return file_writer_commit(&writer, error);
}
