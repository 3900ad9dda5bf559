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
#define SEAL_FILE    "decoder.b2sum"
#define ABOUT_LIMIT  ((size_t)1 << 20)
#define SEAL_LIMIT   ((size_t)1 << 10)
#define FORMAT       "jepa.c decoder of patches"
#define VERSION      2
#define WIDTH_MAX    (1 << 20)
#define SIDE_MAX     4096 /* tokens along an axis */
#define WEIGHTS      4
#define TENSORS      (WEIGHTS + 1)

void decoder_about_free(DecoderAbout *about) {
    free(about->bank.source);
    free(about->videos);
    memset(about, 0, sizeof *about);
}

/* The weights of a decoder, which may be of sizes alone, those of the last layer first; how many.
 */
static size_t list_weights(TensorInfo tensors[WEIGHTS], const PatchDecoder *d) {
    int last = d->hidden ? d->hidden : d->width;
    const TensorInfo all[WEIGHTS] = {
        {.name = "w2.weight", .dims = 2, .shape = {d->outputs, last}},
        {.name = "w2.bias", .dims = 1, .shape = {d->outputs}},
        {.name = "w1.weight", .dims = 2, .shape = {d->hidden, d->width}},
        {.name = "w1.bias", .dims = 1, .shape = {d->hidden}}};
    const int64_t at[WEIGHTS] = {d->w2, d->b2, d->w1, d->b1};
    size_t count = d->hidden ? WEIGHTS : 2;
    for (size_t i = 0; i < count; i++) {
        tensors[i] = all[i];
        tensors[i].type = TENSOR_F32;
        tensors[i].data = d->weights ? d->weights + at[i] : NULL;
        tensors[i].bytes = sizeof(float);
        for (int k = 0; k < tensors[i].dims; k++)
            tensors[i].bytes *= (size_t)tensors[i].shape[k];
    }
    return count;
}

static json_t *about_json(const PatchDecoder *d, const DecoderAbout *a) {
    const BankAbout *b = &a->bank;
    return json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i,i], s:[f,f,f], s:[f,f,f], s:o, s:o, s:o, s:o, "
        "s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:f}",
        "format", FORMAT, "version", VERSION, "width", d->width, "hidden", d->hidden, "outputs",
        d->outputs, "tubelet", a->tubelet, "patch", a->patch, "grid", a->grid.time, a->grid.height,
        a->grid.width, "mean", d->mean[0], d->mean[1], d->mean[2], "deviation", d->deviation[0],
        d->deviation[1], d->deviation[2], "checkpoint", json_text(b->source),
        "checkpoint_blake2b_256", json_hash(&b->checkpoint), "recipe_blake2b_256",
        json_hash(&b->recipe), "videos_blake2b_256", json_hash(&b->files), "tokens",
        (json_int_t)b->tokens, "seed", (json_int_t)b->seed, "segments", b->segments, "steps",
        (json_int_t)a->steps, "rows", (json_int_t)a->rows, "held_out", (json_int_t)a->held_out,
        "held_out_videos", (json_int_t)a->held_out_videos, "error", a->errors.decoder,
        "error_of_mean_colour", a->errors.colour, "error_of_mean_of_place", a->errors.place);
}

/* What b2sum -l 256 says of the two files in `folder`; the caller frees. */
static char *seal_text(const char *folder, Error *error) {
    static const char *const names[] = {ABOUT_FILE, TENSORS_FILE};
    char text[2][HASH_TEXT];
    for (int i = 0; i < 2; i++) {
        Hash hash;
        char *path = path_join(folder, names[i]);
        int result = hash_file(&hash, path, error);
        free(path);
        if (result)
            return NULL;
        hash_text(text[i], &hash);
    }
    return memory_text("%s  %s\n%s  %s\n", text[0], names[0], text[1], names[1]);
}

static int write_seal(const char *folder, Error *error) {
    char *text = seal_text(folder, error), *path = path_join(folder, SEAL_FILE);
    int result = text ? file_write(path, text, strlen(text), error) : -1;
    free(text);
    free(path);
    return result;
}

int decoder_save(const PatchDecoder *d, const DecoderAbout *about, const char *folder,
                 Error *error) {
    TensorInfo tensors[TENSORS];
    size_t count = list_weights(tensors, d);
    char *out = path_trim(folder), *partial = folder_begin(out, error);
    if (!partial) {
        free(out);
        return -1;
    }
    tensors[count++] = (TensorInfo){.name = "videos",
                                    .type = TENSOR_U8,
                                    .dims = 2,
                                    .shape = {about->video_count, HASH_BYTES},
                                    .data = about->videos,
                                    .bytes = (size_t)about->video_count * HASH_BYTES};
    char *path = path_join(partial, TENSORS_FILE);
    int result = safetensors_write(path, tensors, count, NULL, error);
    if (!result)
        result = json_save(about_json(d, about), partial, ABOUT_FILE, error);
    if (!result)
        result = write_seal(partial, error);
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
static bool read_about(PatchDecoder *d, DecoderAbout *a, json_t *json) {
    const char *format, *source, *checkpoint, *recipe, *files;
    int version;
    json_int_t tokens, seed, steps, rows, held_out, videos;
    if (!json ||
        json_unpack(
            json,
            "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i,i], s:[F,F,F], s:[F,F,F], s:s, s:s, s:s, "
            "s:s, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:F, s:F, s:F}",
            "format", &format, "version", &version, "width", &d->width, "hidden", &d->hidden,
            "outputs", &d->outputs, "tubelet", &a->tubelet, "patch", &a->patch, "grid",
            &a->grid.time, &a->grid.height, &a->grid.width, "mean", &d->mean[0], &d->mean[1],
            &d->mean[2], "deviation", &d->deviation[0], &d->deviation[1], &d->deviation[2],
            "checkpoint", &source, "checkpoint_blake2b_256", &checkpoint, "recipe_blake2b_256",
            &recipe, "videos_blake2b_256", &files, "tokens", &tokens, "seed", &seed, "segments",
            &a->bank.segments, "steps", &steps, "rows", &rows, "held_out", &held_out,
            "held_out_videos", &videos, "error", &a->errors.decoder, "error_of_mean_colour",
            &a->errors.colour, "error_of_mean_of_place", &a->errors.place) ||
        strcmp(format, FORMAT) || version != VERSION || !between(d->width, 1, WIDTH_MAX) ||
        !between(d->hidden, 0, PATCH_DECODER_HIDDEN_MAX) ||
        !between(a->tubelet, 1, CLIP_FRAMES_MAX) || !between(a->patch, 1, CLIP_CROP_MAX) ||
        d->outputs != 3 * a->tubelet * a->patch * a->patch || !between(a->grid.time, 1, SIDE_MAX) ||
        !between(a->grid.height, 1, SIDE_MAX) || !between(a->grid.width, 1, SIDE_MAX) ||
        hash_from_text(&a->bank.checkpoint, checkpoint) ||
        hash_from_text(&a->bank.recipe, recipe) || hash_from_text(&a->bank.files, files))
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

/* Hashes of videos, ascending, none twice. */
static bool read_videos(DecoderAbout *a, const Safetensors *file) {
    const TensorInfo *info = safetensors_find(file, "videos");
    if (!info || info->type != TENSOR_U8 || info->dims != 2 || info->shape[0] < 1 ||
        info->shape[0] > BANK_VIDEOS_MAX || info->shape[1] != HASH_BYTES)
        return false;
    a->video_count = info->shape[0];
    a->videos = memory_new((size_t)a->video_count, sizeof *a->videos);
    memcpy(a->videos, info->data, info->bytes);
    for (int64_t v = 1; v < a->video_count; v++)
        if (hash_order(&a->videos[v - 1], &a->videos[v]) >= 0)
            return false;
    return true;
}

/* Weights, of the sizes that the description has: nothing is allocated before the file, whose
 * length safetensors_open has checked, has them too. */
static int read_tensors(PatchDecoder *d, DecoderAbout *a, const char *path, Error *error) {
    Safetensors file;
    TensorInfo tensors[WEIGHTS];
    if (safetensors_open(&file, path, error))
        return -1;
    size_t count = list_weights(tensors, d);
    bool good = file.count == count + 1;
    for (size_t i = 0; i < count && good; i++) {
        const TensorInfo *info = safetensors_find(&file, tensors[i].name);
        good = info && info->type == TENSOR_F32 && info->dims == tensors[i].dims &&
               !memcmp(info->shape, tensors[i].shape, (size_t)info->dims * sizeof *info->shape);
    }
    int result = 0;
    if (!good)
        result = error_set(error, ERROR_RUN, "%s is not of the sizes that %s has", path,
                           ABOUT_FILE);
    else if (!read_videos(a, &file))
        result = error_set(error, ERROR_RUN, "%s: videos is no list of hashes", path);
    if (!result) {
        PatchDecoder sizes = *d;
        patch_decoder_new(d, sizes.width, sizes.hidden, sizes.outputs, 0);
        memcpy(d->mean, sizes.mean, sizeof d->mean);
        memcpy(d->deviation, sizes.deviation, sizeof d->deviation);
        list_weights(tensors, d);
    }
    for (size_t i = 0; i < count && !result; i++)
        result = safetensors_floats((float *)(uintptr_t)tensors[i].data,
                                    tensors[i].bytes / sizeof(float), &file, tensors[i].name,
                                    error);
    safetensors_close(&file);
    return result;
}

/* Are both files, to the byte, what was written? */
static int check_seal(const char *folder, Error *error) {
    char *path = path_join(folder, SEAL_FILE), *wanted = seal_text(folder, error);
    uint8_t *bytes = NULL;
    size_t count = 0;
    int result = wanted ? file_read(&bytes, &count, path, SEAL_LIMIT, error) : -1;
    if (!result && (count != strlen(wanted) || memcmp(bytes, wanted, count)))
        result = error_set(error, ERROR_RUN,
                           "%s is damaged: its bytes are not those that %s has hashes of", folder,
                           SEAL_FILE);
    free(bytes);
    free(path);
    free(wanted);
    return result;
}

static int read_file(PatchDecoder *d, DecoderAbout *a, const char *path, Error *error) {
    uint8_t *bytes = NULL;
    size_t count = 0;
    if (file_read(&bytes, &count, path, ABOUT_LIMIT, error))
        return -1;
    json_t *json = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, NULL);
    int result = 0;
    if (!read_about(d, a, json))
        result = error_set(error, ERROR_RUN, "%s is damaged, or of another version", path);
    json_decref(json);
    free(bytes);
    return result;
}

int decoder_load(PatchDecoder *d, DecoderAbout *a, const char *given, const Hash *checkpoint,
                 const Hash *recipe, int width, Error *error) {
    char *folder = path_trim(given), *about = path_join(folder, ABOUT_FILE);
    char *tensors = path_join(folder, TENSORS_FILE);
    memset(d, 0, sizeof *d);
    memset(a, 0, sizeof *a);
    int result = 0;
    if (!file_exists(about))
        result = error_set(error, ERROR_USAGE,
                           "%s is no decoder of patches: there is no %s in it; jepa decoder train "
                           "makes one",
                           folder, ABOUT_FILE);
    else
        result = check_seal(folder, error);
    if (!result)
        result = read_file(d, a, about, error);
    if (!result)
        result = bank_about_matches(&a->bank, folder, checkpoint, recipe, "jepa decoder train",
                                    error);
    if (!result && d->width != width)
        result = error_set(error, ERROR_RUN,
                           "%s draws latents of %d numbers, those of this checkpoint have %d: it "
                           "is damaged",
                           folder, d->width, width);
    if (!result)
        result = read_tensors(d, a, tensors, error);
    free(folder);
    free(about);
    free(tensors);
    return result;
}

bool decoder_has_seen(const DecoderAbout *a, const Hash *video) {
    return bsearch(video, a->videos, (size_t)a->video_count, sizeof *a->videos, hash_order) != NULL;
}
