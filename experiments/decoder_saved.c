/* See experiments/decoder_saved.h. */
#include "experiments/decoder_saved.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "experiments/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABOUT_FILE   "decoder.json"
#define TENSORS_FILE "decoder.safetensors"
#define ABOUT_LIMIT  ((size_t)1 << 20)
#define FORMAT       "jepa.c decoder of patches"
#define VERSION      1
#define WIDTH_MAX    (1 << 20)
#define TENSORS      4

void decoder_about_free(DecoderAbout *about) {
    free(about->bank.source);
    memset(about, 0, sizeof *about);
}

/* The tensors of a decoder, those of the last layer first; how many. */
static size_t list_tensors(TensorInfo tensors[TENSORS], const PatchDecoder *d) {
    int last = d->hidden ? d->hidden : d->width;
    const TensorInfo all[TENSORS] = {
        {.name = "w2.weight", .dims = 2, .shape = {d->outputs, last}, .data = d->weights + d->w2},
        {.name = "w2.bias", .dims = 1, .shape = {d->outputs}, .data = d->weights + d->b2},
        {.name = "w1.weight",
         .dims = 2,
         .shape = {d->hidden, d->width},
         .data = d->weights + d->w1},
        {.name = "w1.bias", .dims = 1, .shape = {d->hidden}, .data = d->weights + d->b1}};
    size_t count = d->hidden ? TENSORS : 2;
    for (size_t i = 0; i < count; i++) {
        tensors[i] = all[i];
        tensors[i].type = TENSOR_F32;
        tensors[i].bytes = sizeof(float);
        for (int k = 0; k < tensors[i].dims; k++)
            tensors[i].bytes *= (size_t)tensors[i].shape[k];
    }
    return count;
}

static json_t *about_json(const PatchDecoder *d, const DecoderAbout *a, const Hash *tensors) {
    const BankAbout *b = &a->bank;
    return json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i,i], s:[f,f,f], s:[f,f,f], s:o, s:o, s:o, s:o, "
        "s:o, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:f}",
        "format", FORMAT, "version", VERSION, "width", d->width, "hidden", d->hidden, "outputs",
        d->outputs, "tubelet", a->tubelet, "patch", a->patch, "grid", a->grid.time, a->grid.height,
        a->grid.width, "mean", d->mean[0], d->mean[1], d->mean[2], "deviation", d->deviation[0],
        d->deviation[1], d->deviation[2], "checkpoint", json_text(b->source),
        "checkpoint_blake2b_256", json_hash(&b->checkpoint), "recipe_blake2b_256",
        json_hash(&b->recipe), "videos_blake2b_256", json_hash(&b->files), "tensors_blake2b_256",
        json_hash(tensors), "tokens", (json_int_t)b->tokens, "seed", (json_int_t)b->seed,
        "segments", b->segments, "steps", (json_int_t)a->steps, "rows", (json_int_t)a->rows,
        "held_out", (json_int_t)a->held_out, "held_out_videos", (json_int_t)a->held_out_videos,
        "error", a->errors.decoder, "error_of_mean_colour", a->errors.colour,
        "error_of_mean_of_place", a->errors.place);
}

int decoder_save(const PatchDecoder *d, const DecoderAbout *about, const char *folder,
                 Error *error) {
    TensorInfo tensors[TENSORS];
    size_t count = list_tensors(tensors, d);
    char *out = path_trim(folder), *partial = folder_begin(out, error);
    if (!partial) {
        free(out);
        return -1;
    }
    char *path = path_join(partial, TENSORS_FILE);
    Hash hash;
    int result = safetensors_write(path, tensors, count, NULL, error);
    if (!result)
        result = hash_file(&hash, path, error);
    if (!result)
        result = json_save(about_json(d, about, &hash), partial, ABOUT_FILE, error);
    result = folder_end(partial, out, result, error);
    free(path);
    free(out);
    return result;
}

/* ---- reading ---- */

static bool between(int value, int low, int high) {
    return value >= low && value <= high;
}

/* Sizes into an empty decoder, all the rest into `a`. */
static bool read_about(PatchDecoder *d, DecoderAbout *a, Hash *tensors, json_t *json) {
    const char *format, *source, *checkpoint, *recipe, *files, *own;
    int version;
    json_int_t tokens, seed, steps, rows, held_out, videos;
    if (!json ||
        json_unpack(
            json,
            "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i,i], s:[F,F,F], s:[F,F,F], s:s, s:s, s:s, "
            "s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:F, s:F, s:F}",
            "format", &format, "version", &version, "width", &d->width, "hidden", &d->hidden,
            "outputs", &d->outputs, "tubelet", &a->tubelet, "patch", &a->patch, "grid",
            &a->grid.time, &a->grid.height, &a->grid.width, "mean", &d->mean[0], &d->mean[1],
            &d->mean[2], "deviation", &d->deviation[0], &d->deviation[1], &d->deviation[2],
            "checkpoint", &source, "checkpoint_blake2b_256", &checkpoint, "recipe_blake2b_256",
            &recipe, "videos_blake2b_256", &files, "tensors_blake2b_256", &own, "tokens", &tokens,
            "seed", &seed, "segments", &a->bank.segments, "steps", &steps, "rows", &rows,
            "held_out", &held_out, "held_out_videos", &videos, "error", &a->errors.decoder,
            "error_of_mean_colour", &a->errors.colour, "error_of_mean_of_place",
            &a->errors.place) ||
        strcmp(format, FORMAT) || version != VERSION || !between(d->width, 1, WIDTH_MAX) ||
        !between(d->hidden, 0, PATCH_DECODER_HIDDEN_MAX) ||
        !between(a->tubelet, 1, CLIP_FRAMES_MAX) || !between(a->patch, 1, CLIP_CROP_MAX) ||
        d->outputs != 3 * a->tubelet * a->patch * a->patch ||
        hash_from_text(&a->bank.checkpoint, checkpoint) || hash_from_text(&a->bank.recipe, recipe) ||
        hash_from_text(&a->bank.files, files) || hash_from_text(tensors, own))
        return false;
    for (int c = 0; c < 3; c++)
        if (!isfinite(d->mean[c]) || !isfinite(d->deviation[c]))
            return false;
    a->bank.source = memory_text("%s", source);
    a->bank.tokens = tokens;
    a->bank.seed = seed;
    a->steps = steps;
    a->rows = rows;
    a->held_out = held_out;
    a->held_out_videos = videos;
    return true;
}

/* Weights, of the sizes that the description has: the file must be as large as they are. */
static int read_tensors(PatchDecoder *d, const char *path, const Hash *wanted, Error *error) {
    Safetensors file;
    TensorInfo tensors[TENSORS];
    Hash hash;
    int64_t last = d->hidden ? d->hidden : d->width;
    if (hash_file(&hash, path, error))
        return -1;
    if (!hash_same(&hash, wanted))
        return error_set(error, ERROR_RUN, "%s is damaged: its bytes are not what was written",
                         path);
    if (safetensors_open(&file, path, error))
        return -1;
    const TensorInfo *info = safetensors_find(&file, "w2.weight");
    int result = 0;
    if (!info || info->dims != 2 || info->shape[0] != d->outputs || info->shape[1] != last)
        result = error_set(error, ERROR_RUN, "%s is not of the sizes that %s has", path,
                           ABOUT_FILE);
    info = d->hidden ? safetensors_find(&file, "w1.weight") : info;
    if (!result && (!info || info->dims != 2 || info->shape[1] != (d->hidden ? d->width : last)))
        result = error_set(error, ERROR_RUN, "%s is not of the sizes that %s has", path,
                           ABOUT_FILE);
    if (!result) {
        PatchDecoder sizes = *d;
        patch_decoder_new(d, sizes.width, sizes.hidden, sizes.outputs, 0);
        memcpy(d->mean, sizes.mean, sizeof d->mean);
        memcpy(d->deviation, sizes.deviation, sizeof d->deviation);
    }
    size_t count = result ? 0 : list_tensors(tensors, d);
    for (size_t i = 0; i < count && !result; i++)
        result = safetensors_floats((float *)(uintptr_t)tensors[i].data,
                                    tensors[i].bytes / sizeof(float), &file, tensors[i].name,
                                    error);
    safetensors_close(&file);
    return result;
}

int decoder_load(PatchDecoder *d, DecoderAbout *a, const char *given, Error *error) {
    char *folder = path_trim(given), *about = path_join(folder, ABOUT_FILE);
    char *tensors = path_join(folder, TENSORS_FILE);
    uint8_t *bytes = NULL;
    size_t count = 0;
    Hash hash;
    memset(d, 0, sizeof *d);
    memset(a, 0, sizeof *a);
    int result = 0;
    if (!file_exists(about))
        result = error_set(error, ERROR_USAGE,
                           "%s is no decoder of patches: there is no %s in it; jepa decoder train "
                           "makes one",
                           folder, ABOUT_FILE);
    else
        result = file_read(&bytes, &count, about, ABOUT_LIMIT, error);
    if (!result) {
        json_t *json = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, NULL);
        if (!read_about(d, a, &hash, json))
            result = error_set(error, ERROR_RUN, "%s is damaged, or of another version", about);
        json_decref(json);
    }
    if (!result)
        result = read_tensors(d, tensors, &hash, error);
    free(bytes);
    free(folder);
    free(about);
    free(tensors);
    return result;
}

int decoder_matches(const DecoderAbout *a, const char *folder, const Hash *checkpoint,
                    const Hash *recipe, Error *error) {
    if (!hash_same(&a->bank.checkpoint, checkpoint))
        return error_set(error, ERROR_USAGE,
                         "%s was trained on latents of another checkpoint, %s: train one on this "
                         "with jepa decoder train",
                         folder, a->bank.source);
    if (!hash_same(&a->bank.recipe, recipe))
        return error_set(error, ERROR_USAGE,
                         "%s was trained on this checkpoint with another recipe: give the same "
                         "--set, or train another with jepa decoder train",
                         folder);
    return 0;
}
