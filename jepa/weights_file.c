/* See jepa/weights_file.h. */
#include "jepa/weights_file.h"
#include "base/file.h"
#include "jepa/weights_names.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JSON_LIMIT   ((size_t)16 << 20) /* bytes of an index of shards; ViT-G's has 200 KB */
#define SHARDS_MOST  256
#define KINDS_MOST   64 /* of unused tensors that are told apart */
#define TOKENS_MOST  64 /* mask tokens in one tensor */
#define TORCH_MAGIC  "PK\3\4"
#define LEGACY_MAGIC 0x80 /* a bare pickle */

/* A tensor, or a piece of one, as it was found. */
typedef struct Found {
    char *name, *raw;
    int part, parts;
    bool teacher;
    int dims;
    int64_t shape[TENSOR_DIMS];
    WeightsPart source;
} Found;

typedef struct FoundList {
    Found *items;
    size_t count, room;
    bool average; /* an ema_encoder is among them */
} FoundList;

static int by_name(const void *a, const void *b) {
    const Found *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (!order)
        order = (x->part > y->part) - (x->part < y->part);
    return order ? order : strcmp(x->raw, y->raw);
}

static void add_unused(WeightsFile *file, const char *raw, bool tensor) {
    int length = (int)strcspn(raw, ".");
    size_t i = 0;
    length = length > 40 ? 40 : length;
    while (i < file->unused_count &&
           (strncmp(file->unused[i].kind, raw, (size_t)length) || file->unused[i].kind[length]))
        i++;
    if (i == file->unused_count && i == KINDS_MOST)
        i--; /* the last kind stands for all that follow */
    if (i == file->unused_count) {
        file->unused = memory_grow(file->unused, i + 1, sizeof *file->unused);
        file->unused[file->unused_count++] = (WeightsUnused){
            .kind = memory_text("%.*s", length, raw), .first = memory_text("%.200s", raw)};
    }
    file->unused[i].tensors += tensor;
    file->unused[i].numbers += !tensor;
}

static Found *new_found(FoundList *list) {
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 256;
        list->items = memory_grow(list->items, list->room, sizeof *list->items);
    }
    Found *f = &list->items[list->count++];
    memset(f, 0, sizeof *f);
    return f;
}

static int add_tokens(FoundList *list, const WeightsName *name, const Found *like,
                      const WeightsFile *file, Error *error) {
    const int64_t *s = like->shape;
    if (like->dims != 4 || s[1] != 1 || s[2] != 1 || s[0] < 1 || s[0] > TOKENS_MOST)
        return error_set(error, ERROR_RUN, "%s: %s: expected a shape [n,1,1,width] with n up to %d",
                         file->path, like->raw, TOKENS_MOST);
    for (int64_t k = 0; k < s[0]; k++) {
        Found *f = new_found(list);
        *f = *like;
        f->name = memory_text("%s%d", name->name, (int)k);
        f->raw = memory_text("%s", like->raw);
        f->dims = 3;
        f->shape[0] = 1;
        f->shape[2] = s[3];
        f->source.first = k * s[3];
        f->source.count = s[3];
    }
    return 0;
}

static bool ends(const char *text, const char *with) {
    size_t length = strlen(text), end = strlen(with);
    return length >= end && !strcmp(text + length - end, with);
}

/* One tensor of a file. `source.count` is its number of elements. */
static int add_tensor(WeightsFile *file, FoundList *list, const char *raw, TensorType type,
                      int dims, const int64_t *shape, WeightsPart source, Error *error) {
    WeightsName name;
    if (!weights_name(&name, raw) || ends(name.name, ".num_batches_tracked")) {
        add_unused(file, raw, true);
        return 0;
    }
    if (!tensor_type_is_float(type))
        return error_set(error, ERROR_RUN, "%s: %.200s is %s, expected F64, F32, F16 or BF16",
                         file->path, raw, tensor_type_name(type));
    Found like = {.part = name.part, .parts = name.parts, .dims = dims, .source = source};
    like.teacher = name.teacher;
    memcpy(like.shape, shape, (size_t)dims * sizeof *shape);
    list->average = list->average || name.average;
    if (name.tokens) {
        like.raw = (char *)(uintptr_t)raw;
        return add_tokens(list, &name, &like, file, error);
    }
    like.name = memory_text("%s", name.name);
    like.raw = memory_text("%s", raw);
    *new_found(list) = like;
    return 0;
}

static void free_found(Found *f) {
    free(f->name);
    free(f->raw);
}

/* The pieces of one tensor, which lie side by side in the sorted list. */
static int join(WeightsFile *file, const Found *f, size_t count, Error *error) {
    WeightsTensor *t = &file->tensors[file->count];
    for (size_t i = 1; i < count; i++)
        if (f[i].part == f[i - 1].part || f[i].parts != f[i - 1].parts)
            return error_set(error, ERROR_RUN, "%s: %.120s and %.120s are both %s", file->path,
                             f[i - 1].raw, f[i].raw, f->name);
    if ((int)count != f->parts)
        return error_set(error, ERROR_RUN,
                         "%s: %.200s is one of %d parts of %s, of which %zu are there", file->path,
                         f->raw, f->parts, f->name, count);
    *t = (WeightsTensor){.dims = f->dims, .count = 1, .parts = f->parts};
    memcpy(t->shape, f->shape, sizeof t->shape);
    for (size_t i = 0; i < count; i++) {
        if (f[i].dims != f->dims || (count > 1 && !f->dims) ||
            memcmp(f[i].shape, f->shape, (size_t)f->dims * sizeof *f->shape))
            return error_set(error, ERROR_RUN, "%s: %.120s and %.120s differ in shape", file->path,
                             f->raw, f[i].raw);
        t->part[i] = f[i].source;
    }
    if (count > 1 && __builtin_mul_overflow(t->shape[0], (int64_t)count, &t->shape[0]))
        return error_set(error, ERROR_RUN, "%s: %.200s: impossible shape", file->path, f->raw);
    for (int i = 0; i < t->dims; i++) /* parts lie in the file: no overflow */
        t->count *= t->shape[i];
    t->name = memory_text("%s", f->name);
    file->count++;
    return 0;
}

static int join_all(WeightsFile *file, FoundList *list, Error *error) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        Found f = list->items[i];
        if (f.teacher && list->average) { /* a distilled student's teacher */
            add_unused(file, f.raw, true);
            free_found(&f);
        } else {
            list->items[kept++] = f;
        }
    }
    list->count = kept;
    if (!kept)
        return 0;
    qsort(list->items, kept, sizeof *list->items, by_name);
    file->tensors = memory_new(kept, sizeof *file->tensors);
    for (size_t i = 0, next; i < kept; i = next) {
        for (next = i + 1; next < kept; next++)
            if (strcmp(list->items[next].name, list->items[i].name))
                break;
        if (join(file, &list->items[i], next - i, error))
            return -1;
    }
    return 0;
}

/* ---- the kinds of files ---- */

static int read_torch(WeightsFile *file, FoundList *list, Error *error) {
    if (torch_file_open(&file->torch, file->path, error))
        return -1;
    for (size_t i = 0; i < file->torch.count; i++) {
        const TorchTensor *t = &file->torch.tensors[i];
        WeightsPart source = {.torch = t, .count = (int64_t)t->count};
        if (add_tensor(file, list, t->path, t->type, t->dims, t->shape, source, error))
            return -1;
    }
    for (size_t i = 0; i < file->torch.scalar_count; i++)
        add_unused(file, file->torch.scalars[i].path, false);
    return 0;
}

static int read_shard(WeightsFile *file, FoundList *list, const char *path, Error *error) {
    Safetensors *shard = &file->shards[file->shard_count++];
    if (safetensors_open(shard, path, error))
        return -1;
    for (size_t i = 0; i < shard->count; i++) {
        const TensorInfo *t = &shard->tensors[i];
        WeightsPart source = {.info = t, .count = (int64_t)(t->bytes / tensor_type_bytes(t->type))};
        if (add_tensor(file, list, t->name, t->type, t->dims, t->shape, source, error))
            return -1;
    }
    return 0;
}

static int read_json(json_t **root, const char *path, Error *error) {
    uint8_t *bytes = NULL;
    size_t count = 0;
    json_error_t reason;
    if (file_read(&bytes, &count, path, JSON_LIMIT, error))
        return -1;
    *root = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, &reason);
    free(bytes);
    if (*root && json_is_object(*root))
        return 0;
    int result = error_set(error, ERROR_RUN, "%s:%d: %s", path, *root ? 1 : reason.line,
                           *root ? "expected a JSON object" : reason.text);
    json_decref(*root);
    *root = NULL;
    return result;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A file name inside its folder: no way out of it. */
static bool plain_name(const char *name) {
    return name && name[0] && name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\') &&
           strlen(name) < 200 && ends(name, ".safetensors");
}

/* The shards that weight_map names, each once; then every name must be where the map says. */
static int read_index(WeightsFile *file, FoundList *list, const char *folder, const char *path,
                      Error *error) {
    json_t *root = NULL, *map, *value;
    const char *name, *names[SHARDS_MOST];
    size_t count = 0;
    if (read_json(&root, path, error))
        return -1;
    map = json_object_get(root, "weight_map");
    int result = json_is_object(map) && json_object_size(map)
                     ? 0
                     : error_set(error, ERROR_RUN, "%s: no weight_map in it", path);
    json_object_foreach(map, name, value) {
        const char *shard = json_string_value(value);
        if (result)
            break;
        if (!plain_name(shard)) {
            result = error_set(error, ERROR_RUN,
                               "%s: %.100s: expected the name of a .safetensors file in the same "
                               "folder, found \"%.100s\"",
                               path, name, shard ? shard : "");
            break;
        }
        size_t i = 0;
        while (i < count && strcmp(names[i], shard))
            i++;
        if (i == SHARDS_MOST)
            result = error_set(error, ERROR_RUN, "%s: more than %d shards", path, SHARDS_MOST);
        else if (i == count)
            names[count++] = shard;
    }
    if (!result) {
        qsort(names, count, sizeof *names, by_text);
        file->shards = memory_new(count, sizeof *file->shards);
    }
    for (size_t i = 0; i < count && !result; i++) {
        char *shard = path_join(folder, names[i]);
        result = read_shard(file, list, shard, error);
        free(shard);
        size_t there = 0, wanted = 0;
        for (size_t k = 0; !result && k < file->shards[i].count; k++) {
            const char *own = json_string_value(
                json_object_get(map, file->shards[i].tensors[k].name));
            there += own && !strcmp(own, names[i]);
        }
        if (!result)
            json_object_foreach(map, name, value)
                wanted += !strcmp(json_string_value(value), names[i]);
        if (!result && (there != wanted || there != file->shards[i].count))
            result = error_set(
                error, ERROR_RUN,
                "%s has %zu tensors, of which weight_map names %zu, and %zu more that "
                "are not there",
                file->shards[i].path, file->shards[i].count, there, wanted - there);
    }
    json_decref(root);
    return result;
}

static int read_config(WeightsFile *file, const char *folder, Error *error) {
    char *path = path_join(folder, "config.json");
    int result = 0;
    if (file_exists(path)) {
        result = read_json(&file->config, path, error);
        file->config_path = memory_text("%s", path);
    }
    free(path);
    return result;
}

static int read_folder(WeightsFile *file, FoundList *list, const char *folder, Error *error) {
    char *index = path_join(folder, "model.safetensors.index.json");
    char *single = path_join(folder, "model.safetensors");
    char *own = path_join(folder, "checkpoint.msgpack");
    int result = read_config(file, folder, error);
    file->format = "Hugging Face";
    if (result) {
    } else if (file_exists(own)) {
        result = error_set(error, ERROR_USAGE,
                           "%s is a checkpoint of this program already: use it as it is", folder);
    } else if (file_exists(index)) {
        result = read_index(file, list, folder, index, error);
    } else if (file_exists(single)) {
        file->shards = memory_new(1, sizeof *file->shards);
        result = read_shard(file, list, single, error);
    } else {
        result = error_set(error, ERROR_RUN,
                           "%s: expected model.safetensors or model.safetensors.index.json in it",
                           folder);
    }
    free(index);
    free(single);
    free(own);
    return result;
}

static int first_bytes(unsigned char bytes[4], const char *path, Error *error) {
    FILE *in = fopen(path, "rbe");
    size_t count = in ? fread(bytes, 1, 4, in) : 0;
    if (in)
        fclose(in);
    if (count < 4)
        return error_set(error, ERROR_RUN, in ? "%s: empty or cut short" : "cannot read %s", path);
    return 0;
}

static int read_single(WeightsFile *file, FoundList *list, Error *error) {
    unsigned char magic[4];
    char *folder = path_folder(file->path);
    int result = first_bytes(magic, file->path, error) || read_config(file, folder, error) ? -1 : 0;
    free(folder);
    if (result)
        return -1;
    if (!memcmp(magic, TORCH_MAGIC, 4)) {
        file->format = "PyTorch";
        return read_torch(file, list, error);
    }
    if (magic[0] == LEGACY_MAGIC)
        return error_set(error, ERROR_RUN,
                         "%s was written by PyTorch before 1.6: load it there and save it again",
                         file->path);
    file->format = "safetensors";
    file->shards = memory_new(1, sizeof *file->shards);
    return read_shard(file, list, file->path, error);
}

int weights_file_open(WeightsFile *file, const char *path, Error *error) {
    FoundList list = {0};
    memset(file, 0, sizeof *file);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    file->path = memory_text("%.*s", (int)length, path);
    int result;
    if (folder_exists(file->path)) {
        result = read_folder(file, &list, file->path, error);
    } else if (!file_exists(file->path)) {
        result = error_set(error, ERROR_RUN, "%s: no such file or folder", file->path);
    } else if (ends(file->path, ".safetensors.index.json")) {
        char *folder = path_folder(file->path);
        file->format = "Hugging Face";
        result = read_config(file, folder, error) ||
                         read_index(file, &list, folder, file->path, error)
                     ? -1
                     : 0;
        free(folder);
    } else {
        result = read_single(file, &list, error);
    }
    if (!result)
        result = join_all(file, &list, error);
    for (size_t i = 0; i < list.count; i++)
        free_found(&list.items[i]);
    free(list.items);
    if (result)
        weights_file_close(file);
    return result;
}

void weights_file_close(WeightsFile *file) {
    for (size_t i = 0; i < file->count; i++)
        free(file->tensors[i].name);
    for (size_t i = 0; i < file->unused_count; i++) {
        free(file->unused[i].kind);
        free(file->unused[i].first);
    }
    for (size_t i = 0; i < file->shard_count; i++)
        safetensors_close(&file->shards[i]);
    torch_file_close(&file->torch);
    json_decref(file->config);
    free(file->tensors);
    free(file->unused);
    free(file->shards);
    free(file->config_path);
    free(file->path);
    memset(file, 0, sizeof *file);
}

/* The first tensor whose name is not before `name`. */
static size_t place_of(const WeightsFile *file, const char *name) {
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(file->tensors[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const WeightsTensor *weights_file_find(const WeightsFile *file, const char *name) {
    size_t i = place_of(file, name);
    return i < file->count && !strcmp(file->tensors[i].name, name) ? &file->tensors[i] : NULL;
}

bool weights_file_has(const WeightsFile *file, const char *prefix) {
    size_t i = place_of(file, prefix);
    return i < file->count && !strncmp(file->tensors[i].name, prefix, strlen(prefix));
}

static int part_floats(float *out, const WeightsPart *part, Error *error) {
    if (part->info) {
        const TensorInfo *t = part->info;
        const char *data = t->data;
        tensor_type_floats(out, data + (size_t)part->first * tensor_type_bytes(t->type),
                           (size_t)part->count, t->type);
        return 0;
    }
    size_t all = part->torch->count;
    if ((size_t)part->count == all)
        return torch_tensor_floats(out, part->torch, error);
    float *whole = memory_new(all, sizeof *whole);
    int result = torch_tensor_floats(whole, part->torch, error);
    memcpy(out, whole + part->first, (size_t)part->count * sizeof *out);
    free(whole);
    return result;
}

int weights_tensor_floats(float *out, const WeightsTensor *tensor, bool allow_nonfinite,
                          Error *error) {
    float *at = out;
    for (int i = 0; i < tensor->parts; i++) {
        if (part_floats(at, &tensor->part[i], error))
            return error_prefix(error, "%s", tensor->name);
        at += tensor->part[i].count;
    }
    for (int64_t i = 0; i < tensor->count && !allow_nonfinite; i++)
        if (!isfinite(out[i]))
            return error_set(error, ERROR_RUN,
                             "%s: value %lld is %g: these weights are broken (--allow-nonfinite "
                             "takes them all the same)",
                             tensor->name, (long long)i, (double)out[i]);
    return 0;
}

int weights_file_config(int *value, const WeightsFile *file, const char *key, const char *other,
                        int low, int high, Error *error) {
    json_t *found = json_object_get(file->config, key);
    if (!found && other)
        found = json_object_get(file->config, key = other);
    if (!found || json_is_null(found))
        return 0;
    if (!json_is_integer(found) || json_integer_value(found) < low ||
        json_integer_value(found) > high)
        return error_set(error, ERROR_RUN, "%s: %s: expected a whole number from %d to %d",
                         file->config_path, key, low, high);
    *value = (int)json_integer_value(found);
    return 0;
}

int weights_file_hash(Hash *hash, const WeightsFile *file, Error *error) {
    if (!file->shard_count)
        return hash_file(hash, file->path, error);
    if (file->shard_count == 1)
        return hash_file(hash, file->shards[0].path, error);
    HashState state;
    hash_start(&state);
    for (size_t i = 0; i < file->shard_count; i++) {
        if (hash_file(hash, file->shards[i].path, error))
            return -1;
        hash_add(&state, hash->bytes, HASH_BYTES);
    }
    *hash = hash_end(&state);
    return 0;
}
