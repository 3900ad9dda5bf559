/* The small reference models' weights as a list that a test can change and write: under the
 * published names, and under those of Hugging Face. */
#ifndef JEPA_TESTS_REFERENCE_WEIGHTS_H
#define JEPA_TESTS_REFERENCE_WEIGHTS_H

#include "base/file.h"
#include "base/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFERENCE JEPA_SOURCE_DIR "/../shared/reference"

typedef struct TensorList {
    TensorInfo *items; /* names and data are owned */
    size_t count;
} TensorList;

static inline void tensors_put(TensorList *list, const char *name, int dims, const int64_t *shape,
                               const void *data, size_t bytes) {
    list->items = memory_grow(list->items, list->count + 1, sizeof *list->items);
    TensorInfo *t = &list->items[list->count++];
    *t = (TensorInfo){.name = memory_text("%s", name), .type = TENSOR_F32, .dims = dims};
    memcpy(t->shape, shape, (size_t)dims * sizeof *shape);
    void *copy = memory_new(bytes ? bytes : 1, 1);
    memcpy(copy, data, bytes);
    t->data = copy;
    t->bytes = bytes;
}

static inline void tensors_drop(TensorList *list, const char *prefix) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->items[i].name, prefix, strlen(prefix))) {
            list->items[kept++] = list->items[i];
        } else {
            free(list->items[i].name);
            free((void *)(uintptr_t)list->items[i].data);
        }
    list->count = kept;
}

static inline void tensors_free(TensorList *list) {
    tensors_drop(list, "");
    free(list->items);
    memset(list, 0, sizeof *list);
}

/* Those of a file whose names begin with `prefix`, which `instead` takes the place of. */
static inline int tensors_take(TensorList *list, const char *path, const char *prefix,
                               const char *instead) {
    Safetensors file;
    Error error = {0};
    if (safetensors_open(&file, path, &error))
        return -1;
    for (size_t i = 0; i < file.count; i++) {
        const TensorInfo *t = &file.tensors[i];
        if (strncmp(t->name, prefix, strlen(prefix)))
            continue;
        char *name = memory_text("%s%s", instead, t->name + strlen(prefix));
        tensors_put(list, name, t->dims, t->shape, t->data, t->bytes);
        free(name);
    }
    safetensors_close(&file);
    return 0;
}

static inline TensorInfo *tensors_find(TensorList *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->items[i].name, name))
            return &list->items[i];
    return NULL;
}

static inline int tensors_write(const TensorList *list, size_t from, size_t to, const char *folder,
                                const char *name) {
    Error error = {0};
    char *path = path_join(folder, name);
    int result = safetensors_write(path, list->items + from, to - from, NULL, &error);
    free(path);
    return result;
}

static inline void text_write(const char *folder, const char *name, const char *text) {
    Error error = {0};
    char *path = path_join(folder, name);
    if (file_write(path, text, strlen(text), &error))
        abort();
    free(path);
}

/* text with every `from` in it replaced; caller frees */
static inline char *text_swap(const char *text, const char *from, const char *to) {
    char *copy = memory_text("%s", text), *at;
    size_t start = 0;
    while ((at = strstr(copy + start, from))) {
        char *longer = memory_text("%.*s%s%s", (int)(at - copy), copy, to, at + strlen(from));
        start = (size_t)(at - copy) + strlen(to);
        free(copy);
        copy = longer;
    }
    return copy;
}

/* An encoder and predictor as transformers names them: q, k and v apart, one tensor of all mask
 * tokens. Written from the description of the format, not with the code under test. */
static inline TensorList tensors_hugging_face(const TensorList *own, const char *prefix) {
    TensorList out = {0};
    static const char *const thirds[] = {"query", "key", "value"};
    static const char *const swaps[][2] = {
        {"encoder.patch_embed.", "encoder.embeddings.patch_embeddings."},
        {"encoder.blocks.", "encoder.layer."},
        {"encoder.norm.", "encoder.layernorm."},
        {"predictor.predictor_embed.", "predictor.embeddings.predictor_embeddings."},
        {"predictor.predictor_blocks.", "predictor.layer."},
        {"predictor.predictor_norm.", "predictor.layernorm."},
        {"predictor.predictor_proj.", "predictor.proj."},
        {".attn.", ".attention."},
    };
    char *tokens = NULL;
    size_t tokens_bytes = 0;
    int64_t token_count = 0, token_width = 0;
    for (size_t i = 0; i < own->count; i++) {
        const TensorInfo *t = &own->items[i];
        if (!strncmp(t->name, "target_", 7) || strstr(t->name, "pos_embed"))
            continue;
        if (!strncmp(t->name, "predictor.mask_tokens.", 22)) { /* .0, .1: in this order */
            tokens = memory_grow(tokens, tokens_bytes + t->bytes, 1);
            memcpy(tokens + tokens_bytes, t->data, t->bytes);
            tokens_bytes += t->bytes;
            token_width = t->shape[2];
            token_count++;
            continue;
        }
        char *name = memory_text("%s%s", prefix, t->name);
        for (size_t k = 0; k < sizeof swaps / sizeof *swaps; k++) {
            char *next = text_swap(name, swaps[k][0], swaps[k][1]);
            free(name);
            name = next;
        }
        char *qkv = strstr(name, "attention.qkv.");
        for (int k = 0; k < (qkv ? 3 : 1); k++) {
            char *part = qkv ? memory_text("%.*sattention.%s.%s", (int)(qkv - name), name,
                                           thirds[k], qkv + strlen("attention.qkv."))
                             : memory_text("%s", name);
            int64_t shape[TENSOR_DIMS];
            memcpy(shape, t->shape, sizeof shape);
            shape[0] /= qkv ? 3 : 1;
            size_t bytes = t->bytes / (qkv ? 3 : 1);
            tensors_put(&out, part, t->dims, shape, (const char *)t->data + (size_t)k * bytes,
                        bytes);
            free(part);
        }
        free(name);
    }
    if (token_count) {
        char *name = memory_text("%spredictor.embeddings.mask_tokens", prefix);
        tensors_put(&out, name, 4, (int64_t[]){token_count, 1, 1, token_width}, tokens,
                    tokens_bytes);
        free(name);
    }
    free(tokens);
    return out;
}

/* Two shards and their index. */
static inline int tensors_write_sharded(const TensorList *list, const char *folder) {
    size_t half = list->count / 2;
    static const char *const shards[] = {"model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors"};
    char *text = memory_text("{\"metadata\": {}, \"weight_map\": {");
    for (size_t i = 0; i < list->count; i++) {
        char *longer = memory_text("%s%s\"%s\": \"%s\"", text, i ? ", " : "", list->items[i].name,
                                   shards[i >= half]);
        free(text);
        text = longer;
    }
    char *whole = memory_text("%s}}", text);
    text_write(folder, "model.safetensors.index.json", whole);
    free(text);
    free(whole);
    return tensors_write(list, 0, half, folder, shards[0]) ||
           tensors_write(list, half, list->count, folder, shards[1]);
}

#endif
