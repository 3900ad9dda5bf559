/* Reading PyTorch checkpoints. See base/torch_file.h. */
#include "base/torch_file.h"
#include "base/pickle.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_LIMIT 64   /* containers within containers */
#define PATH_LIMIT  1024 /* bytes of a path */
#define KEY_LIMIT   64   /* bytes of a storage's key: they are numbers, counted from 0 */
/* A pickle may name one object many times, so that the flat lists could outgrow any bound: bytes
 * of lists and paths that a byte of pickle may cost. A list of small integers needs about 40. */
#define BUDGET       128
#define BUDGET_FIRST 65536

/* All that a checkpoint may name. */
static const PickleClass classes[] = {
    {"collections.OrderedDict", PICKLE_DICT},
    {"torch._utils._rebuild_tensor_v2", PICKLE_CALLED},
    {"torch._utils._rebuild_parameter", PICKLE_CALLED},
    {"torch.Size", PICKLE_CALLED},
    {"torch.DoubleStorage", PICKLE_NAMED},
    {"torch.FloatStorage", PICKLE_NAMED},
    {"torch.HalfStorage", PICKLE_NAMED},
    {"torch.BFloat16Storage", PICKLE_NAMED},
    {"torch.LongStorage", PICKLE_NAMED},
    {"torch.IntStorage", PICKLE_NAMED},
    {"torch.ShortStorage", PICKLE_NAMED},
    {"torch.CharStorage", PICKLE_NAMED},
    {"torch.ByteStorage", PICKLE_NAMED},
    {"torch.BoolStorage", PICKLE_NAMED},
    {"torch.storage.UntypedStorage", PICKLE_NAMED},
    {"torch.float64", PICKLE_NAMED},
    {"torch.float32", PICKLE_NAMED},
    {"torch.float16", PICKLE_NAMED},
    {"torch.bfloat16", PICKLE_NAMED},
    {"torch.int64", PICKLE_NAMED},
    {"torch.int32", PICKLE_NAMED},
    {"torch.int16", PICKLE_NAMED},
    {"torch.int8", PICKLE_NAMED},
    {"torch.uint8", PICKLE_NAMED},
    {"torch.bool", PICKLE_NAMED},
    {"numpy.core.multiarray.scalar", PICKLE_CALLED},
    {"numpy._core.multiarray.scalar", PICKLE_CALLED},
    {"numpy.dtype", PICKLE_STATED},
    {"_codecs.encode", PICKLE_CALLED}, /* how protocol 2 writes bytes */
};

static const struct {
    const char *name;
    TensorType type;
} storages[] = {{"torch.DoubleStorage", TENSOR_F64}, {"torch.FloatStorage", TENSOR_F32},
                {"torch.HalfStorage", TENSOR_F16},   {"torch.BFloat16Storage", TENSOR_BF16},
                {"torch.LongStorage", TENSOR_I64},   {"torch.IntStorage", TENSOR_I32},
                {"torch.ShortStorage", TENSOR_I16},  {"torch.CharStorage", TENSOR_I8},
                {"torch.ByteStorage", TENSOR_U8},    {"torch.BoolStorage", TENSOR_BOOL}};

/* What the walk from the root to the leaves carries. */
typedef struct Walk {
    TorchFile *file;
    const char *prefix; /* [prefix_bytes]: the part of entry names before "/data.pkl" */
    size_t prefix_bytes;
    char path[PATH_LIMIT + 1]; /* of the value at hand */
    size_t length;             /* its bytes */
    size_t tensor_room, scalar_room;
    char **containers; /* their paths: these must be unique as well */
    size_t container_count, container_room;
    uint64_t budget; /* bytes left for lists and paths */
    Error *error;
} Walk;

#define bad(walk, format, ...)                                                                     \
    error_set((walk)->error, ERROR_RUN, "%s: data.pkl: %.200s: " format, (walk)->file->store.path, \
              (walk)->length ? (walk)->path : "the root", ##__VA_ARGS__)

static int spend(Walk *walk, uint64_t bytes) {
    bytes += walk->length + 1;
    if (bytes > walk->budget)
        return bad(walk, "shared objects unfold into far more than the pickle's size: refused");
    walk->budget -= bytes;
    return 0;
}

static void *one_more(void *list, size_t count, size_t *room, size_t size) {
    if (count == *room) {
        *room = *room ? 2 * *room : 16;
        list = memory_grow(list, *room, size);
    }
    return list;
}

static bool is_call(const PickleValue *value, const char *name, size_t arguments) {
    return value->kind == PICKLE_CALL && !strcmp(value->class->name, name) &&
           value->items[0]->count >= arguments;
}

/* ("storage", class, key, place, elements): finds the bytes and checks their number. */
static int find_storage(const ZipEntry **entry, TensorType *type, uint64_t *elements,
                        const PickleValue *value, Walk *walk) {
    const PickleValue *key = value->kind == PICKLE_PERSISTENT ? value->items[0] : NULL;
    if (!key || key->kind != PICKLE_TUPLE || key->count != 5 ||
        key->items[0]->kind != PICKLE_TEXT || key->items[0]->length != strlen("storage") ||
        memcmp(key->items[0]->text, "storage", strlen("storage")) ||
        key->items[1]->kind != PICKLE_CLASS || key->items[2]->kind != PICKLE_TEXT ||
        key->items[4]->kind != PICKLE_INT)
        return bad(walk, "its storage is not told as (storage, class, key, place, elements)");
    int found = -1;
    for (int i = 0; i < (int)(sizeof storages / sizeof *storages); i++)
        if (!strcmp(storages[i].name, key->items[1]->class->name))
            found = i;
    if (found < 0)
        return bad(walk, "a storage of class %s holds no known type of number",
                   key->items[1]->class->name);
    *type = storages[found].type;
    const PickleValue *id = key->items[2];
    if (!id->length || id->length > KEY_LIMIT || memchr(id->text, 0, id->length))
        return bad(walk, "its storage's key is empty, too long or holds a zero byte");
    char *name = memory_text("%.*s/data/%.*s", (int)walk->prefix_bytes, walk->prefix,
                             (int)id->length, id->text);
    *entry = zip_store_find(&walk->file->store, name);
    int result = 0;
    int64_t said = key->items[4]->integer;
    uint64_t bytes;
    if (!*entry)
        result = bad(walk, "its storage %s is not in the file", name);
    else if (said < 0 || __builtin_mul_overflow((uint64_t)said, tensor_type_bytes(*type), &bytes) ||
             bytes != (*entry)->bytes)
        result = bad(walk, "its storage %s has %zu bytes, expected %lld elements of %zu", name,
                     (*entry)->bytes, (long long)said, tensor_type_bytes(*type));
    free(name);
    *elements = (uint64_t)said;
    return result;
}

/* The sizes of a tuple of integers >= 0. */
static int read_sizes(int64_t sizes[TENSOR_DIMS], int *dims, const PickleValue *value, Walk *walk) {
    if (is_call(value, "torch.Size", 1))
        value = value->items[0]->items[0];
    if (value->kind != PICKLE_TUPLE || value->count > TENSOR_DIMS)
        return bad(walk, "a shape or strides that are no tuple of at most %d", TENSOR_DIMS);
    *dims = (int)value->count;
    for (int i = 0; i < *dims; i++) {
        if (value->items[i]->kind != PICKLE_INT || value->items[i]->integer < 0)
            return bad(walk, "a shape or stride that is negative or no integer");
        sizes[i] = value->items[i]->integer;
    }
    return 0;
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, ...): offset and strides in elements. */
static int add_tensor(const PickleValue *call, Walk *walk) {
    TorchFile *file = walk->file;
    PickleValue *const *arguments = call->items[0]->items;
    TorchTensor tensor = {0};
    const ZipEntry *entry;
    uint64_t elements, bytes;
    int strides;
    if (spend(walk, sizeof tensor) ||
        find_storage(&entry, &tensor.type, &elements, arguments[0], walk) ||
        read_sizes(tensor.shape, &tensor.dims, arguments[2], walk) ||
        read_sizes(tensor.strides, &strides, arguments[3], walk))
        return -1;
    if (strides != tensor.dims)
        return bad(walk, "%d strides for %d dimensions", strides, tensor.dims);
    if (arguments[1]->kind != PICKLE_INT || arguments[1]->integer < 0 ||
        (uint64_t)arguments[1]->integer > elements)
        return bad(walk, "it starts outside its storage");
    uint64_t count = 1, last = (uint64_t)arguments[1]->integer, reach;
    bool empty = false, absurd = false;
    for (int i = 0; i < tensor.dims; i++)
        empty |= !tensor.shape[i];
    for (int i = 0; i < tensor.dims && !empty; i++)
        absurd |= __builtin_mul_overflow(count, (uint64_t)tensor.shape[i], &count) ||
                  __builtin_mul_overflow((uint64_t)tensor.shape[i] - 1, (uint64_t)tensor.strides[i],
                                         &reach) ||
                  __builtin_add_overflow(last, reach, &last);
    if (!empty && (absurd || last >= elements))
        return bad(walk, "it reaches beyond its storage of %llu elements",
                   (unsigned long long)elements);
    if (empty)
        count = 0;
    if (__builtin_mul_overflow(count, tensor_type_bytes(tensor.type), &bytes) ||
        bytes > file->store.map_bytes)
        return bad(walk, "%llu elements, more than the file has bytes for",
                   (unsigned long long)count);
    tensor.count = (size_t)count;
    tensor.data = entry->data + (uint64_t)arguments[1]->integer * tensor_type_bytes(tensor.type);
    tensor.path = memory_text("%s", walk->path);
    file->tensors = one_more(file->tensors, file->count, &walk->tensor_room, sizeof tensor);
    file->tensors[file->count++] = tensor;
    return 0;
}

static int add_scalar(const PickleValue *value, Walk *walk) {
    TorchFile *file = walk->file;
    TorchScalar scalar = {0};
    const char *text = NULL;
    switch (value->kind) {
    case PICKLE_NONE:
        scalar.type = TORCH_NONE;
        break;
    case PICKLE_BOOL:
    case PICKLE_INT:
        scalar.type = value->kind == PICKLE_INT ? TORCH_INT : TORCH_BOOL;
        scalar.integer = value->integer;
        break;
    case PICKLE_FLOAT:
        scalar.type = TORCH_FLOAT;
        scalar.number = value->number;
        break;
    case PICKLE_TEXT:
        scalar.type = TORCH_TEXT;
        text = value->text;
        scalar.length = value->length;
        break;
    default: /* PICKLE_LONG, BYTES, CLASS, CALL, PERSISTENT */
        scalar.type = TORCH_OPAQUE;
        text = value->kind == PICKLE_LONG         ? "long integer"
               : value->kind == PICKLE_BYTES      ? "bytes"
               : value->kind == PICKLE_PERSISTENT ? "storage"
                                                  : value->class->name;
        scalar.length = strlen(text);
    }
    if (spend(walk, sizeof scalar + scalar.length))
        return -1;
    if (text) {
        scalar.text = memory_new(scalar.length + 1, 1);
        memcpy(scalar.text, text, scalar.length);
    }
    scalar.path = memory_text("%s", walk->path);
    file->scalars = one_more(file->scalars, file->scalar_count, &walk->scalar_room, sizeof scalar);
    file->scalars[file->scalar_count++] = scalar;
    return 0;
}

/* Adds a key to the path. Returns the length before, to be set again, or -1. */
static int enter(Walk *walk, const PickleValue *key, size_t place) {
    char number[32];
    const char *text = number;
    size_t before = walk->length, length;
    if (key && key->kind == PICKLE_TEXT) {
        text = key->text;
        length = key->length;
        if (!length || memchr(text, 0, length))
            return bad(walk, "a key that is empty or holds a zero byte: refused");
    } else if (key && key->kind != PICKLE_INT) {
        return bad(walk, "a key that is neither text nor an integer: refused");
    } else {
        long long value = key ? (long long)key->integer : (long long)place;
        length = (size_t)snprintf(number, sizeof number, "%lld", value);
    }
    size_t dot = before ? 1 : 0;
    if (length > PATH_LIMIT - dot || before > PATH_LIMIT - dot - length)
        return bad(walk, "a path of more than %d bytes: refused", PATH_LIMIT);
    if (dot)
        walk->path[before] = '.';
    memcpy(walk->path + before + dot, text, length);
    walk->length = before + dot + length;
    walk->path[walk->length] = 0;
    return (int)before;
}

static int visit(const PickleValue *value, int depth, Walk *walk) {
    if (depth > DEPTH_LIMIT)
        return bad(walk, "nested deeper than %d, or within itself: refused", DEPTH_LIMIT);
    if (is_call(value, "torch._utils._rebuild_parameter", 1))
        return visit(value->items[0]->items[0], depth + 1, walk);
    if (is_call(value, "torch._utils._rebuild_tensor_v2", 4))
        return add_tensor(value, walk);
    if (is_call(value, "torch.Size", 1))
        return visit(value->items[0]->items[0], depth + 1, walk);
    if (value->kind == PICKLE_CALL && !strncmp(value->class->name, "torch.", strlen("torch.")))
        return bad(walk, "%s with too few arguments: refused", value->class->name);
    if (value->kind != PICKLE_TUPLE && value->kind != PICKLE_LIST &&
        value->kind != PICKLE_DICTIONARY)
        return add_scalar(value, walk);
    if (spend(walk, sizeof(char *)))
        return -1;
    walk->containers = one_more(walk->containers, walk->container_count, &walk->container_room,
                                sizeof(char *));
    walk->containers[walk->container_count++] = memory_text("%s", walk->path);
    size_t stride = value->kind == PICKLE_DICTIONARY ? 2 : 1;
    for (size_t i = 0; i < value->count; i += stride) {
        int before = enter(walk, stride == 2 ? value->items[i] : NULL, i);
        if (before < 0 || visit(value->items[i + stride - 1], depth + 1, walk))
            return -1;
        walk->length = (size_t)before;
        walk->path[before] = 0;
    }
    return 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int refuse_duplicates(Walk *walk) {
    const TorchFile *file = walk->file;
    size_t count = file->count + file->scalar_count + walk->container_count, n = 0;
    const char **paths = memory_new(count, sizeof *paths);
    for (size_t i = 0; i < file->count; i++)
        paths[n++] = file->tensors[i].path;
    for (size_t i = 0; i < file->scalar_count; i++)
        paths[n++] = file->scalars[i].path;
    for (size_t i = 0; i < walk->container_count; i++)
        paths[n++] = walk->containers[i];
    if (count)
        qsort(paths, count, sizeof *paths, by_text);
    int result = 0;
    for (size_t i = 1; i < count && !result; i++)
        if (!strcmp(paths[i], paths[i - 1]))
            result = error_set(walk->error, ERROR_RUN,
                               "%s: data.pkl: two values have the path %.200s: refused",
                               file->store.path, paths[i]);
    free(paths);
    return result;
}

/* Files from before PyTorch 1.6 end in neither zip record: says so instead of "no zip". */
static void explain_old_format(const char *path, Error *error) {
    /* PROTO 2, LONG1 of 10 bytes: 0x1950a86a20f9469cfc6c, STOP */
    static const uint8_t magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                    0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
    uint8_t head[512];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = file < 0 ? -1 : pread(file, head, sizeof head, 0);
    if (file >= 0)
        close(file);
    bool pickled = got >= (ssize_t)sizeof magic && !memcmp(head, magic, sizeof magic);
    bool tar = got == (ssize_t)sizeof head && !memcmp(head + 257, "ustar", 5); /* POSIX ustar */
    if (pickled || tar)
        error_fill(
            error, ERROR_RUN,
            "%s was written in the format from before PyTorch 1.6: load it and save it again "
            "with a recent PyTorch",
            path);
}

/* The one entry "<prefix>/data.pkl", and what else the file says about itself. */
static const ZipEntry *find_pickle(const ZipStore *store, Error *error) {
    static const char tail[] = "/data.pkl";
    const ZipEntry *found = NULL;
    for (size_t i = 0; i < store->count; i++) {
        const char *slash = strchr(store->entries[i].name, '/');
        if (!slash || strcmp(slash, tail))
            continue;
        if (found) {
            error_set(error, ERROR_RUN, "%s holds two checkpoints, %s and %s: refused", store->path,
                      found->name, store->entries[i].name);
            return NULL;
        }
        found = &store->entries[i];
    }
    if (!found) {
        error_set(error, ERROR_RUN, "%s is a zip but no PyTorch checkpoint: no data.pkl in it",
                  store->path);
        return NULL;
    }
    char *name = memory_text("%.*s/byteorder", (int)(strlen(found->name) - strlen(tail)),
                             found->name);
    const ZipEntry *order = zip_store_find(store, name);
    free(name);
    if (order && (order->bytes != 6 || memcmp(order->data, "little", 6))) {
        error_set(error, ERROR_RUN,
                  "%s: its byte order is %.*s, expected little: save it again on a little-endian "
                  "machine",
                  store->path, (int)(order->bytes < 16 ? order->bytes : 16),
                  (const char *)order->data);
        return NULL;
    }
    return found;
}

int torch_file_open(TorchFile *file, const char *path, Error *error) {
    memset(file, 0, sizeof *file);
    if (zip_store_open(&file->store, path, error)) {
        explain_old_format(path, error);
        return -1;
    }
    const ZipEntry *entry = find_pickle(&file->store, error);
    if (!entry) {
        torch_file_close(file);
        return -1;
    }
    Pickle pickle;
    char *name = memory_text("%s: data.pkl", path);
    int result = pickle_read(&pickle, entry->data, entry->bytes, classes,
                             sizeof classes / sizeof *classes, name, error);
    free(name);
    if (!result) {
        Walk walk = {.file = file,
                     .prefix = entry->name,
                     .prefix_bytes = strlen(entry->name) - strlen("/data.pkl"),
                     .budget = BUDGET_FIRST + (uint64_t)BUDGET * entry->bytes,
                     .error = error};
        result = visit(pickle.root, 0, &walk) ? -1 : refuse_duplicates(&walk);
        for (size_t i = 0; i < walk.container_count; i++)
            free(walk.containers[i]);
        free(walk.containers);
        pickle_free(&pickle);
    }
    if (result)
        torch_file_close(file);
    return result;
}

void torch_file_close(TorchFile *file) {
    for (size_t i = 0; i < file->count; i++)
        free(file->tensors[i].path);
    for (size_t i = 0; i < file->scalar_count; i++) {
        free(file->scalars[i].path);
        free(file->scalars[i].text);
    }
    free(file->tensors);
    free(file->scalars);
    zip_store_close(&file->store);
    memset(file, 0, sizeof *file);
}

const TorchTensor *torch_file_find(const TorchFile *file, const char *path) {
    for (size_t i = 0; i < file->count; i++)
        if (!strcmp(file->tensors[i].path, path))
            return &file->tensors[i];
    return NULL;
}

const TorchScalar *torch_file_scalar(const TorchFile *file, const char *path) {
    for (size_t i = 0; i < file->scalar_count; i++)
        if (!strcmp(file->scalars[i].path, path))
            return &file->scalars[i];
    return NULL;
}

int torch_tensor_floats(float *out, const TorchTensor *t, Error *error) {
    if (!tensor_type_is_float(t->type))
        return error_set(error, ERROR_RUN, "%s is %s, expected F64, F32, F16 or BF16", t->path,
                         tensor_type_name(t->type));
    if (!t->count)
        return 0;
    /* the innermost dimensions that lie one after another are copied in one go */
    int outer = t->dims;
    size_t run = 1, width = tensor_type_bytes(t->type);
    while (outer && (t->shape[outer - 1] == 1 || t->strides[outer - 1] == (int64_t)run))
        run *= (size_t)t->shape[--outer];
    int64_t at[TENSOR_DIMS] = {0};
    const char *source = t->data;
    for (size_t done = 0;;) {
        tensor_type_floats(out + done, source, run, t->type);
        if ((done += run) >= t->count)
            return 0;
        int d = outer - 1;
        for (; ++at[d] == t->shape[d]; d--) { /* carry; ends, as some element is left */
            source -= (size_t)(t->shape[d] - 1) * (size_t)t->strides[d] * width;
            at[d] = 0;
        }
        source += (size_t)t->strides[d] * width;
    }
}
