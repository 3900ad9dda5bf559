/* See eval/linear_weights.h. */
#include "eval/linear_weights.h"
#include "base/file.h"
#include "base/safetensors.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS_FILE "probe.safetensors"
#define ABOUT_FILE   "probe.json"
#define ABOUT_LIMIT  ((size_t)1 << 20)
#define FORMAT       "jepa.c probe"
#define VERSION      1
#define WIDTH_MOST   (1 << 20)
#define OUTPUTS_MOST (1 << 20)
#define TENSORS      4

static const char *const losses[] = {"softmax", "sigmoid", "squared", "huber"};

static int save_into(const char *folder, const LinearModel *m, Error *error) {
    size_t width = (size_t)m->width, outputs = (size_t)m->outputs;
    double *weight = memory_new(width * outputs, sizeof *weight);
    double *bias = memory_new(outputs, sizeof *bias);
    for (size_t k = 0; k < outputs; k++) {
        memcpy(weight + k * width, m->weights + k * (width + 1), width * sizeof *weight);
        bias[k] = m->weights[k * (width + 1) + width];
    }
    char names[TENSORS][8] = {"mean", "scale", "weight", "bias"}, text[HASH_TEXT];
    TensorInfo list[TENSORS] = {
        {.dims = 1, .shape = {m->width}, .data = (const void *)m->mean, .bytes = width * 8},
        {.dims = 1, .shape = {m->width}, .data = (const void *)m->scale, .bytes = width * 8},
        {.dims = 2,
         .shape = {m->outputs, m->width},
         .data = (const void *)weight,
         .bytes = width * outputs * 8},
        {.dims = 1, .shape = {m->outputs}, .data = (const void *)bias, .bytes = outputs * 8}};
    for (int i = 0; i < TENSORS; i++) {
        list[i].name = names[i];
        list[i].type = TENSOR_F64;
    }
    char *path = path_join(folder, TENSORS_FILE);
    Hash hash;
    int result = safetensors_write(path, list, TENSORS, NULL, error);
    if (!result)
        result = hash_file(&hash, path, error);
    free(path);
    free(weight);
    free(bias);
    if (result)
        return -1;
    hash_text(text, &hash);
    json_t *about = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:f, s:s}", "format", FORMAT,
                              "version", VERSION, "kind", "linear", "loss", losses[m->loss],
                              "width", m->width, "outputs", m->outputs, "lambda", m->lambda,
                              "blake2b_256", text);
    char *json = about ? json_dumps(about, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(about);
    JEPA_ASSERT(json);
    path = path_join(folder, ABOUT_FILE);
    result = file_write(path, json, strlen(json), error);
    free(path);
    free(json);
    return result;
}

int linear_weights_save(const char *folder, const LinearModel *model, Error *error) {
    if (folder_exists(folder) || file_exists(folder))
        return error_set(error, ERROR_USAGE, "%s is there already: name another folder", folder);
    char *partial = folder_begin(folder, error);
    return partial ? folder_end(partial, folder, save_into(partial, model, error), error) : -1;
}

static int read_about(LinearModel *m, Hash *hash, const char *path, Error *error) {
    uint8_t *bytes = NULL;
    size_t count = 0;
    json_error_t reason;
    if (file_read(&bytes, &count, path, ABOUT_LIMIT, error))
        return -1;
    json_t *about = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, &reason);
    free(bytes);
    const char *format = "", *kind = "", *loss = "", *text = "";
    int version = 0, which = 0;
    bool bad = !about ||
               json_unpack(about, "{s:s, s:i, s:s, s:s, s:i, s:i, s:F, s:s}", "format", &format,
                           "version", &version, "kind", &kind, "loss", &loss, "width", &m->width,
                           "outputs", &m->outputs, "lambda", &m->lambda, "blake2b_256", &text) ||
               strcmp(format, FORMAT) || version != VERSION || strcmp(kind, "linear") ||
               m->width < 1 || m->width > WIDTH_MOST || m->outputs < 1 ||
               m->outputs > OUTPUTS_MOST || hash_from_text(hash, text);
    while (which < 4 && strcmp(loss, losses[which]))
        which++;
    m->loss = (LinearLoss)(which & 3);
    bad |= which == 4;
    json_decref(about);
    return bad ? error_set(error, ERROR_RUN, "%s is damaged or no description of a linear probe",
                           path)
               : 0;
}

/* A float64 tensor of `count` numbers, all finite. */
static int take(double *out, const Safetensors *file, const char *name, int dims, int64_t rows,
                int64_t columns, Error *error) {
    const TensorInfo *t = safetensors_find(file, name);
    if (!t || t->type != TENSOR_F64 || t->dims != dims || t->shape[0] != rows ||
        (dims > 1 && t->shape[1] != columns))
        return error_set(error, ERROR_RUN, "%s: %s is missing or of another shape", file->path,
                         name);
    memcpy(out, t->data, t->bytes);
    for (size_t i = 0; i < t->bytes / sizeof *out; i++)
        if (!isfinite(out[i]))
            return error_set(error, ERROR_RUN, "%s: %s holds what is no finite number", file->path,
                             name);
    return 0;
}

static int read_tensors(LinearModel *m, const Safetensors *file, Error *error) {
    size_t width = (size_t)m->width, outputs = (size_t)m->outputs, all = 0;
    for (size_t i = 0; i < file->count; i++)
        all += file->tensors[i].bytes;
    if (all != (2 * width + outputs * (width + 1)) * sizeof(double))
        return error_set(error, ERROR_RUN, "%s does not hold what %s describes", file->path,
                         ABOUT_FILE);
    double *weight = memory_new(width * outputs, sizeof *weight);
    double *bias = memory_new(outputs, sizeof *bias);
    m->mean = memory_new(width, sizeof *m->mean);
    m->scale = memory_new(width, sizeof *m->scale);
    m->weights = memory_new(outputs * (width + 1), sizeof *m->weights);
    int result = take(m->mean, file, "mean", 1, m->width, 0, error);
    if (!result)
        result = take(m->scale, file, "scale", 1, m->width, 0, error);
    if (!result)
        result = take(weight, file, "weight", 2, m->outputs, m->width, error);
    if (!result)
        result = take(bias, file, "bias", 1, m->outputs, 0, error);
    for (size_t k = 0; k < outputs; k++) {
        memcpy(m->weights + k * (width + 1), weight + k * width, width * sizeof *weight);
        m->weights[k * (width + 1) + width] = bias[k];
    }
    free(weight);
    free(bias);
    return result;
}

int linear_weights_load(LinearModel *m, const char *folder, Error *error) {
    char *about = path_join(folder, ABOUT_FILE), *tensors = path_join(folder, TENSORS_FILE);
    Hash wanted = {0}, found;
    Safetensors file = {0};
    memset(m, 0, sizeof *m);
    int result = read_about(m, &wanted, about, error);
    if (!result)
        result = hash_file(&found, tensors, error);
    if (!result && !hash_same(&wanted, &found))
        result = error_set(error, ERROR_RUN, "%s is damaged: its hash does not match", tensors);
    if (!result)
        result = safetensors_open(&file, tensors, error);
    if (!result)
        result = read_tensors(m, &file, error);
    safetensors_close(&file);
    free(about);
    free(tensors);
    m->converged = true;
    if (result)
        linear_free(m);
    return result;
}
