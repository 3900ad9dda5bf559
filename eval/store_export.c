/* Feature stores for other programs. See eval/store_export.h. */
#include "eval/store_export.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/safetensors.h"
#include "base/words.h"
#include "eval/store_header.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What goes out: an array, row by row. */
typedef struct Rows {
    const Store *store;
    bool mean;       /* a row is a video's mean; else a clip as it is stored */
    bool widen;      /* to float32 */
    TensorType type; /* of the numbers that are written */
    int64_t videos;  /* that have features */
    int64_t count;   /* rows */
    int dims;
    int64_t shape[3];
} Rows;

/* `bfloat16`: can the file hold it? */
static Rows plan_rows(const Store *s, bool bfloat16) {
    const StoreAbout *a = &s->about;
    Rows r = {.store = s};
    for (int64_t v = 0; v < s->videos; v++)
        r.videos += !s->failed[v];
    r.mean = a->pooled && s->clips > 1;
    r.widen = r.mean || (a->type == STORE_BFLOAT16 && !bfloat16);
    r.type = r.widen ? TENSOR_F32 : a->type == STORE_FLOAT16 ? TENSOR_F16 : TENSOR_BF16;
    r.count = r.mean ? r.videos : r.videos * s->clips;
    r.dims = a->pooled ? 2 : 3;
    r.shape[0] = r.count;
    r.shape[1] = a->pooled ? a->width : a->rows;
    r.shape[2] = a->width;
    return r;
}

static int put_features(FileWriter *writer, const Rows *r, Error *error) {
    const Store *s = r->store;
    size_t values = (size_t)s->about.rows * (size_t)s->about.width;
    float *wide = r->widen ? memory_new(values, sizeof *wide) : NULL;
    int result = 0;
    for (int64_t v = 0; v < s->videos && !result; v++) {
        if (s->failed[v])
            continue;
        for (int c = 0; c < (r->mean ? 1 : s->clips) && !result; c++) {
            if (r->mean)
                store_video_mean(wide, s, v);
            else if (r->widen)
                store_floats(wide, s, v, c);
            result = file_writer_put(writer,
                                     wide ? (const void *)wide : (const void *)store_clip(s, v, c),
                                     values * tensor_type_bytes(r->type), error);
        }
    }
    free(wide);
    return result;
}

static int put_labels(FileWriter *writer, const Rows *r, Error *error) {
    const Store *s = r->store;
    int result = 0;
    for (int64_t v = 0; v < s->videos && !result; v++) {
        int64_t label = s->labels[v];
        for (int c = 0; c < (r->mean ? 1 : s->clips) && !s->failed[v] && !result; c++)
            result = file_writer_put(writer, &label, sizeof label, error);
    }
    return result;
}

/* ---- the description ---- */

static void say_text(FILE *out, const char *key, const char *text) {
    char *quoted = json_quote(text);
    fprintf(out, " \"%s\": %s,\n", key, quoted);
    free(quoted);
}

static void say_hash(FILE *out, const char *key, const Hash *hash) {
    char text[HASH_TEXT];
    hash_text(text, hash);
    fprintf(out, " \"%s\": \"%s\",\n", key, text);
}

static void say_names(FILE *out, const char *key, const Store *s, bool failed) {
    const char *comma = "";
    fprintf(out, " \"%s\": [", key);
    for (int64_t v = 0; v < s->videos; v++)
        if (s->failed[v] == failed) {
            char *quoted = json_quote(s->names[v]);
            fprintf(out, "%s\n  %s", comma, quoted);
            free(quoted);
            comma = ",";
        }
    fprintf(out, "]");
}

/* As JSON, *bytes of it; the caller frees. */
static char *describe(size_t *bytes, const Rows *r) {
    const Store *s = r->store;
    const StoreAbout *a = &s->about;
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    JEPA_ASSERT(out);
    fprintf(out, "{\n");
    say_text(out, "program", "jepa.c " JEPA_VERSION);
    say_text(out, "checkpoint", a->source);
    say_text(out, "network", a->network == 'c' ? "context" : "target");
    say_text(out, "precision", a->precision);
    say_hash(out, "checkpoint_blake2b", &a->checkpoint);
    say_hash(out, "recipe_blake2b", &a->recipe);
    say_hash(out, "files_blake2b", &a->files);
    say_hash(out, "frames_blake2b", &a->frames);
    fprintf(out, " \"rows\": \"%s\",\n",
            r->mean ? "mean of all clips of a video"
                    : "(video * segments + segment) * views + view");
    fprintf(out, " \"layers\": [");
    for (int i = 0; i < a->layers; i++)
        fprintf(out, "%s%d", i ? ", " : "", a->layer[i]);
    fprintf(out, "],\n \"segments\": %d,\n \"views\": %d,\n", a->segments, a->views);
    fprintf(out, " \"clip\": [%d, %d, %d],\n \"grid\": [%d, %d, %d],\n", a->clip_frames, a->height,
            a->width_pixels, a->grid[0], a->grid[1], a->grid[2]);
    fprintf(out, " \"class_names\": [");
    for (int k = 0; k < s->classes; k++) {
        char *quoted = json_quote(s->class_names[k]);
        fprintf(out, "%s%s", k ? ", " : "", quoted);
        free(quoted);
    }
    fprintf(out, "],\n");
    say_names(out, "names", s, false);
    fprintf(out, ",\n");
    say_names(out, "left_out", s, true);
    fprintf(out, "\n}\n");
    fclose(out);
    return text;
}

static void tell(StoreExport *exported, const Rows *r) {
    *exported = (StoreExport){.dims = r->dims,
                              .type = r->type == TENSOR_F32   ? "float32"
                                      : r->type == TENSOR_F16 ? "float16"
                                                              : "bfloat16",
                              .what = r->mean ? "a row is the mean of a video's clips"
                                              : "a row is a clip",
                              .left_out = r->store->videos - r->videos};
    memcpy(exported->shape, r->shape, sizeof r->shape);
}

static int not_there(const char *path, Error *error) {
    if (!file_exists(path) && !folder_exists(path))
        return 0;
    return error_set(error, ERROR_USAGE, "%s is there already: give another name", path);
}

/* ---- the two forms ---- */

static int write_npy(const char *folder, const Rows *r, bool labels, Error *error) {
    FileWriter writer;
    char *path = path_join(folder, labels ? "labels.npy" : "features.npy");
    const char *type = labels ? "<i8" : r->type == TENSOR_F16 ? "<f2" : "<f4";
    int result = npy_begin(&writer, path, type, r->shape, labels ? 1 : r->dims, error);
    free(path);
    if (result)
        return -1;
    if (labels ? put_labels(&writer, r, error) : put_features(&writer, r, error)) {
        file_writer_abandon(&writer);
        return -1;
    }
    return file_writer_commit(&writer, error);
}

int store_export_npy(StoreExport *exported, const Store *store, const char *folder, Error *error) {
    Rows rows = plan_rows(store, false);
    char *whole = path_trim(folder);
    char *partial = not_there(whole, error) ? NULL : folder_begin(whole, error);
    if (!partial) {
        free(whole);
        return -1;
    }
    int result = write_npy(partial, &rows, false, error) || write_npy(partial, &rows, true, error);
    if (!result) {
        size_t bytes;
        char *path = path_join(partial, "videos.json"), *text = describe(&bytes, &rows);
        result = file_write(path, text, bytes, error);
        free(text);
        free(path);
    }
    tell(exported, &rows);
    result = folder_end(partial, whole, result, error);
    free(whole);
    return result;
}

int store_export_safetensors(StoreExport *exported, const Store *store, const char *path,
                             Error *error) {
    Rows rows = plan_rows(store, true);
    size_t bytes;
    FileWriter writer;
    if (not_there(path, error))
        return -1;
    char *text = describe(&bytes, &rows);
    int64_t values = rows.shape[0] * rows.shape[1] * (rows.dims == 3 ? rows.shape[2] : 1);
    TensorInfo tensors[3] = {{.name = "features",
                              .type = rows.type,
                              .dims = rows.dims,
                              .bytes = (size_t)values * tensor_type_bytes(rows.type)},
                             {.name = "labels",
                              .type = TENSOR_I64,
                              .dims = 1,
                              .shape = {rows.count},
                              .bytes = (size_t)rows.count * sizeof(int64_t)},
                             {.name = "videos",
                              .type = TENSOR_U8,
                              .dims = 1,
                              .shape = {(int64_t)bytes},
                              .bytes = bytes}};
    memcpy(tensors[0].shape, rows.shape, sizeof rows.shape);
    TensorNote notes[] = {{"format", "pt"}, {"program", "jepa.c " JEPA_VERSION}};
    int result = safetensors_begin(&writer, path, tensors, 3, notes, 2, error);
    if (!result) {
        result = put_features(&writer, &rows, error) || put_labels(&writer, &rows, error) ||
                 file_writer_put(&writer, text, bytes, error);
        if (result)
            file_writer_abandon(&writer);
        else
            result = file_writer_commit(&writer, error);
    }
    free(text);
    tell(exported, &rows);
    return result ? -1 : 0;
}
