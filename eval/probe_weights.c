/* See eval/probe_weights.h. */
#include "eval/probe_weights.h"
#include "base/file.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS_FILE    "probe.safetensors"
#define ABOUT_FILE      "probe.json"
#define ABOUT_LIMIT     ((size_t)1 << 20)
#define FORMAT          "jepa.c probe"
#define VERSION         1
#define SIZE_MOST       32768
#define DEPTH_MOST      64
#define CLASSES_MOST    (1 << 20)
#define PUBLISHED_HEADS 16

static void add(ProbeWeights *probe, const char *prefix, const char *name, int dims, int64_t a,
                int64_t b, int64_t c) {
    probe->tensors = memory_grow(probe->tensors, probe->count + 1, sizeof *probe->tensors);
    ProbeTensor *t = &probe->tensors[probe->count++];
    *t = (ProbeTensor){.name = memory_text("%s%s", prefix, name),
                       .dims = dims,
                       .shape = {a, b, c},
                       .count = a * (dims > 1 ? b : 1) * (dims > 2 ? c : 1)};
}

static void add_linear(ProbeWeights *probe, const char *prefix, const char *name, int64_t out,
                       int64_t in) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    add(probe, prefix, full, 2, out, in, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    add(probe, prefix, full, 1, out, 0, 0);
}

static void add_norm(ProbeWeights *probe, const char *prefix, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    add(probe, prefix, full, 1, probe->width, 0, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    add(probe, prefix, full, 1, probe->width, 0, 0);
}

/* Every tensor of a probe of these sizes, without values. */
static void list_tensors(ProbeWeights *p) {
    const char *cross = "pooler.cross_attention_block.";
    int64_t d = p->width, hidden = p->hidden;
    add(p, "", "pooler.query_tokens", 3, 1, p->queries, d);
    add_norm(p, cross, "norm1");
    add_linear(p, cross, "xattn.q", d, d);
    add_linear(p, cross, "xattn.kv", 2 * d, d);
    add_norm(p, cross, "norm2");
    add_linear(p, cross, "mlp.fc1", hidden, d);
    add_linear(p, cross, "mlp.fc2", d, hidden);
    for (int i = 0; i < p->depth - 1; i++) {
        char block[48];
        snprintf(block, sizeof block, "pooler.blocks.%d.", i);
        add_norm(p, block, "norm1");
        add_linear(p, block, "attn.qkv", 3 * d, d);
        add_linear(p, block, "attn.proj", d, d);
        add_norm(p, block, "norm2");
        add_linear(p, block, "mlp.fc1", hidden, d);
        add_linear(p, block, "mlp.fc2", d, hidden);
    }
    add_linear(p, "", "linear", p->classes, d);
}

void probe_weights_free(ProbeWeights *probe) {
    for (size_t i = 0; i < probe->count; i++) {
        free(probe->tensors[i].name);
        free(probe->tensors[i].values);
    }
    free(probe->tensors);
    free(probe->source);
    memset(probe, 0, sizeof *probe);
}

const ProbeTensor *probe_weights_find(const ProbeWeights *probe, const char *name) {
    for (size_t i = 0; i < probe->count; i++)
        if (!strcmp(probe->tensors[i].name, name))
            return &probe->tensors[i];
    return NULL;
}

static int check_sizes(const ProbeWeights *p, const char *where, Error *error) {
    if (p->depth < 1 || p->depth > DEPTH_MOST || p->width < 1 || p->width > SIZE_MOST ||
        p->hidden < 1 || p->hidden > SIZE_MOST || p->queries < 1 || p->queries > 64 ||
        p->classes < 1 || p->classes > CLASSES_MOST || p->heads < 1 || p->heads > p->width)
        return error_set(error, ERROR_RUN,
                         "%s: a probe of %d channels, %d blocks, %d heads, MLP %d, %d queries and "
                         "%d classes: one of these numbers is impossible",
                         where, p->width, p->depth, p->heads, p->hidden, p->queries, p->classes);
    if (p->width % p->heads)
        return error_set(error, ERROR_USAGE,
                         "%s: a probe of %d channels cannot have %d heads: give --heads N", where,
                         p->width, p->heads);
    return 0;
}

int probe_weights_list(ProbeWeights *probe, Error *error) {
    if (check_sizes(probe, "attentive probe", error))
        return -1;
    list_tensors(probe);
    return 0;
}

/* ---- from another program's file ---- */

/* Dimension d of tensor `name` of this classifier, 0 if it is not there. */
static int64_t size_of(const WeightsFile *file, const char *classifier, const char *name, int d) {
    char full[200];
    snprintf(full, sizeof full, "%s%s", classifier, name);
    const WeightsTensor *t = weights_file_find(file, full);
    return t && t->dims > d && t->shape[d] <= CLASSES_MOST ? t->shape[d] : 0;
}

static int take_tensor(ProbeTensor *t, const WeightsFile *file, const char *classifier,
                       bool allow_nonfinite, Error *error) {
    char full[200];
    snprintf(full, sizeof full, "%s%s", classifier, t->name);
    const WeightsTensor *from = weights_file_find(file, full);
    if (!from)
        return error_set(error, ERROR_RUN, "%s: %s is missing", file->path, full);
    if (from->dims != t->dims || memcmp(from->shape, t->shape, (size_t)t->dims * sizeof *t->shape))
        return error_set(error, ERROR_RUN,
                         "%s: %s has another shape than the other tensors ask for", file->path,
                         full);
    t->values = memory_new((size_t)t->count, sizeof *t->values);
    return weights_tensor_floats(t->values, from, allow_nonfinite, error);
}

static int check_left_over(const ProbeWeights *probe, const WeightsFile *file,
                           const char *classifier, Error *error) {
    size_t length = strlen(classifier);
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        if (!strncmp(name, classifier, length) && !probe_weights_find(probe, name + length) &&
            !strstr(name, ".xattn.proj."))
            return error_set(error, ERROR_RUN,
                             "%s: %s: an attentive probe with one output layer has no such tensor",
                             file->path, name);
    }
    return 0;
}

int probe_weights_take(ProbeWeights *probe, const WeightsFile *file, int number, int heads,
                       bool allow_nonfinite, Error *error) {
    char classifier[32], block[64];
    memset(probe, 0, sizeof *probe);
    snprintf(classifier, sizeof classifier, "classifier.%d.", number);
    if (!size_of(file, classifier, "pooler.query_tokens", 2) ||
        !size_of(file, classifier, "linear.weight", 0))
        return error_set(error, ERROR_RUN,
                         "%s: %s is no attentive probe with one output layer: expected "
                         "pooler.query_tokens and linear.weight",
                         file->path, classifier);
    probe->layernorm_eps = PROBE_LAYERNORM_EPS;
    probe->width = (int)size_of(file, classifier, "pooler.query_tokens", 2);
    probe->queries = (int)size_of(file, classifier, "pooler.query_tokens", 1);
    probe->classes = (int)size_of(file, classifier, "linear.weight", 0);
    probe->hidden = (int)size_of(file, classifier, "pooler.cross_attention_block.mlp.fc1.weight",
                                 0);
    for (probe->depth = 1; probe->depth <= DEPTH_MOST; probe->depth++) {
        snprintf(block, sizeof block, "pooler.blocks.%d.norm1.weight", probe->depth - 1);
        if (!size_of(file, classifier, block, 0))
            break;
    }
    probe->heads = heads;
    if (!heads && weights_file_config(&probe->heads, file, "heads", NULL, 1, 128, error))
        return -1;
    if (!probe->heads)
        probe->heads = PUBLISHED_HEADS;
    if (check_sizes(probe, file->path, error))
        return -1;
    list_tensors(probe);
    if (check_left_over(probe, file, classifier, error))
        return -1;
    for (size_t i = 0; i < probe->count; i++)
        if (take_tensor(&probe->tensors[i], file, classifier, allow_nonfinite, error))
            return -1;
    return 0;
}

/* ---- the folder ---- */

static int save_into(const char *folder, const ProbeWeights *p, Error *error) {
    TensorInfo *list = memory_new(p->count, sizeof *list);
    for (size_t i = 0; i < p->count; i++) {
        const ProbeTensor *t = &p->tensors[i];
        list[i] = (TensorInfo){.name = t->name,
                               .type = TENSOR_F32,
                               .dims = t->dims,
                               .data = t->values,
                               .bytes = (size_t)t->count * sizeof(float)};
        memcpy(list[i].shape, t->shape, sizeof t->shape);
    }
    char *path = path_join(folder, TENSORS_FILE), text[HASH_TEXT];
    Hash hash;
    int result = safetensors_write(path, list, p->count, NULL, error);
    if (!result)
        result = hash_file(&hash, path, error);
    free(path);
    free(list);
    if (result)
        return -1;
    hash_text(text, &hash);
    json_t *about = json_pack(
        "{s:s, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s, s:s}", "format", FORMAT, "version",
        VERSION, "kind", "attentive", "depth", p->depth, "width", p->width, "heads", p->heads,
        "hidden", p->hidden, "queries", p->queries, "classes", p->classes, "layernorm_eps",
        p->layernorm_eps, "source", p->source ? p->source : "", "blake2b_256", text);
    char *json = about ? json_dumps(about, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(about);
    if (!json) /* a source that is no UTF-8 */
        return error_set(error, ERROR_RUN, "%s: the name of the source is no UTF-8 text", folder);
    path = path_join(folder, ABOUT_FILE);
    result = file_write(path, json, strlen(json), error);
    free(path);
    free(json);
    return result;
}

int probe_weights_save(const char *folder, const ProbeWeights *probe, Error *error) {
    if (folder_exists(folder) || file_exists(folder))
        return error_set(error, ERROR_USAGE, "%s is there already: name another folder", folder);
    char *partial = memory_text("%s.partial", folder);
    int result = folder_exists(partial) ? folder_remove(partial, error) : 0;
    if (!result && !(result = folder_make(partial, error))) {
        result = save_into(partial, probe, error);
        if (!result)
            result = folder_sync(partial, error);
        if (!result && rename(partial, folder))
            result = error_set(error, ERROR_RUN, "cannot rename %s to %s: %s", partial, folder,
                               strerror(errno));
        if (result) {
            Error ignored;
            folder_remove(partial, &ignored);
        }
    }
    free(partial);
    return result;
}

static int read_about(ProbeWeights *p, Hash *hash, const char *path, Error *error) {
    uint8_t *bytes = NULL;
    size_t count = 0;
    json_error_t reason;
    if (file_read(&bytes, &count, path, ABOUT_LIMIT, error))
        return -1;
    json_t *about = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, &reason);
    free(bytes);
    const char *format = "", *kind = "", *source = "", *text = "";
    int version = 0;
    int bad = !about ||
              json_unpack(about, "{s:s, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:F, s:s, s:s}",
                          "format", &format, "version", &version, "kind", &kind, "depth", &p->depth,
                          "width", &p->width, "heads", &p->heads, "hidden", &p->hidden, "queries",
                          &p->queries, "classes", &p->classes, "layernorm_eps", &p->layernorm_eps,
                          "source", &source, "blake2b_256", &text) ||
              strcmp(format, FORMAT) || version != VERSION || strcmp(kind, "attentive") ||
              hash_from_text(hash, text) || !(p->layernorm_eps > 0 && p->layernorm_eps < 1);
    if (!bad)
        p->source = memory_text("%s", source);
    json_decref(about);
    return bad ? error_set(error, ERROR_RUN,
                           "%s is damaged or no description of an attentive probe", path)
               : check_sizes(p, path, error);
}

static int read_tensors(ProbeWeights *p, const Safetensors *file, Error *error) {
    size_t found = 0;
    int64_t wanted = 0;
    for (size_t i = 0; i < file->count; i++)
        found += file->tensors[i].bytes / sizeof(float);
    list_tensors(p);
    for (size_t i = 0; i < p->count; i++)
        wanted += p->tensors[i].count;
    if (file->count != p->count || (size_t)wanted != found)
        return error_set(error, ERROR_RUN, "%s does not hold what %s describes", file->path,
                         ABOUT_FILE);
    for (size_t i = 0; i < p->count; i++) {
        ProbeTensor *t = &p->tensors[i];
        const TensorInfo *from = safetensors_find(file, t->name);
        if (!from || from->dims != t->dims ||
            memcmp(from->shape, t->shape, (size_t)t->dims * sizeof *t->shape))
            return error_set(error, ERROR_RUN, "%s: %s is missing or of another shape", file->path,
                             t->name);
        t->values = memory_new((size_t)t->count, sizeof *t->values);
        if (safetensors_floats(t->values, (size_t)t->count, file, t->name, error))
            return -1;
    }
    return 0;
}

int probe_weights_load(ProbeWeights *probe, const char *folder, Error *error) {
    char *about = path_join(folder, ABOUT_FILE), *tensors = path_join(folder, TENSORS_FILE);
    Hash wanted = {0}, found;
    Safetensors file = {0};
    memset(probe, 0, sizeof *probe);
    int result = read_about(probe, &wanted, about, error);
    if (!result)
        result = hash_file(&found, tensors, error);
    if (!result && !hash_same(&wanted, &found))
        result = error_set(error, ERROR_RUN, "%s is damaged: its hash does not match", tensors);
    if (!result)
        result = safetensors_open(&file, tensors, error);
    if (!result)
        result = read_tensors(probe, &file, error);
    safetensors_close(&file);
    free(about);
    free(tensors);
    if (result)
        probe_weights_free(probe);
    return result;
}
