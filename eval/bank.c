/* Gathering a bank, and looking into one. See eval/bank.h. */
#include "eval/bank.h"
#include "base/half.h"
#include "base/log.h"
#include "eval/knn.h"
#include "kernels/patches.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RING_BATCHES 3

/* A bank on its way: the same memory as bank's, to be written. */
typedef struct Filling {
    Bank *bank;
    uint16_t *latents;
    uint8_t *pixels;
    int32_t *places;
    Model *model;
    const ClipSpec *spec;
    const VideoIndex *index;
    uint64_t jobs;
    float *rows; /* [N or N + 1][D] of one clip */
} Filling;

/* Rows of the first `job` clips, were there no end to a clip's tokens. */
static int64_t share(int64_t rows, uint64_t job, uint64_t jobs) {
    return (int64_t)((double)rows * (double)job / (double)jobs);
}

/* One value of a normalised picture, as the byte that it was. */
static uint8_t byte_of(float value, int channel) {
    double byte = 255 * ((double)value * patch_std[channel] + patch_mean[channel]);
    return (uint8_t)lrint(byte < 0 ? 0 : byte > 255 ? 255 : byte);
}

void bank_cut(uint8_t *out, const uint8_t *pixels, const float *values, const PatchShape *shape,
              int token) {
    int p = shape->patch, down = shape->height / p, across = shape->width / p;
    int t = token / (down * across), y = token / across % down, x = token % across;
    size_t wide = (size_t)shape->width, high = (size_t)shape->height;
    for (int c = 0; c < 3; c++)
        for (int k = 0; k < shape->tubelet; k++)
            for (int r = 0; r < p; r++, out += p) {
                size_t frame = (size_t)(c * shape->frames + t * shape->tubelet + k);
                size_t at = (frame * high + (size_t)(y * p + r)) * wide + (size_t)(x * p);
                if (pixels)
                    memcpy(out, pixels + at, (size_t)p);
                else
                    for (int i = 0; i < p; i++)
                        out[i] = byte_of(values[at + (size_t)i], c);
            }
}

/* The sample of one clip's tokens. */
static int add_clip(Filling *f, const LoaderBatch *batch, int b, Error *error) {
    Bank *bank = f->bank;
    const Model *model = f->model;
    uint64_t job = batch->first_job + (uint64_t)b;
    int64_t tokens = mask_grid_tokens(bank->grid), area = bank->grid.height * bank->grid.width;
    int64_t count = share(bank->about.tokens, job + 1, f->jobs) -
                    share(bank->about.tokens, job, f->jobs);
    const ClipSpec *spec = f->spec;
    PatchShape shape = {spec->frames, spec->crop, clip_width(spec), bank->tubelet, bank->patch};
    size_t clip = (size_t)b * 3 * (size_t)shape.frames * (size_t)shape.height * (size_t)shape.width;
    size_t width = (size_t)bank->width, class_rows = (size_t)(model->rows - tokens);
    model->device->download(f->rows, model->target_out + (size_t)b * (size_t)model->rows * width,
                            (size_t)model->rows * width * sizeof *f->rows, model->device);
    for (int64_t i = 0; i < count && i < tokens; i++) {
        int64_t row = bank->rows;
        int32_t token = (int32_t)random_permute((uint64_t)bank->about.seed, RANDOM_BANK, job,
                                                (uint64_t)i, (uint64_t)tokens);
        if (float16_from_floats(f->latents + (size_t)row * width,
                                f->rows + ((size_t)token + class_rows) * width, width))
            return error_set(error, ERROR_RUN,
                             "%s: its target latents are not finite numbers: the checkpoint is "
                             "damaged, or its training has diverged",
                             bank->names[job / (uint64_t)bank->about.segments]);
        bank_cut(f->pixels + (size_t)row * (size_t)bank->outputs,
                 batch->clips ? batch->clips + clip : NULL,
                 batch->values ? batch->values + clip : NULL, &shape, token);
        int32_t *place = f->places + 3 * row;
        place[0] = (int32_t)(job / (uint64_t)bank->about.segments);
        place[1] = (int32_t)batch->slots[b].draw.frames[token / area * bank->tubelet];
        place[2] = token;
        bank->rows++;
    }
    return 0;
}

static int add_all(Filling *f, Loader *loader, Error *error) {
    const LoaderBatch *batch;
    Progress progress;
    int result = 0;
    progress_start(&progress, "target latents", (double)f->jobs, 0);
    while (!result && (batch = loader_next(loader, error))) {
        ModelInput input = {
            .samples = batch->count, .pixels = batch->clips, .values = batch->values};
        model_set_input(f->model, &input);
        model_forward_target(f->model, batch->count);
        for (int b = 0; b < batch->count && !result; b++)
            if (!batch->slots[b].failed)
                result = add_clip(f, batch, b, error);
            else
                log_warn("left out: %s", batch->slots[b].reason ? batch->slots[b].reason : "?");
        progress_show(&progress, (double)(batch->first_job + (uint64_t)batch->count), "clips");
    }
    progress_end(&progress);
    return result;
}

static void name_videos(Bank *bank, const VideoIndex *index) {
    bank->videos = (int64_t)index->usable;
    bank->names = memory_new(index->usable, sizeof *bank->names);
    bank->hashes = memory_new(index->usable, sizeof *bank->hashes);
    for (size_t v = 0; v < index->usable; v++) {
        VideoFile file = video_index_file(index, index->usable_files[v]);
        bank->names[v] = memory_text("%s", file.name);
        bank->hashes[v] = file.hash;
    }
}

int bank_gather(Bank *bank, Model *model, const VideoIndex *index, const ClipSpec *spec,
                const FeatureViews *views, int threads, Error *error) {
    const ModelConfig *config = &model->plan.config;
    EvaluationClips clips = {index, spec, views};
    LoaderConfig loading = evaluation_loader(&clips, model, threads);
    Loader *loader;
    JEPA_ASSERT(views->views == 1 && model->plan.settings == 0 && bank->about.tokens > 0);
    loading.ring = RING_BATCHES;
    bank->grid = model->grid;
    bank->width = model->target_width;
    bank->tubelet = config->tubelet;
    bank->patch = config->patch;
    bank->outputs = config_patch_size(config);
    bank->about.segments = views->segments;
    bank->rows = 0;
    name_videos(bank, index);
    int64_t all = (int64_t)loading.jobs * mask_grid_tokens(bank->grid);
    size_t room = (size_t)(bank->about.tokens < all ? bank->about.tokens : all);
    Filling f = {.bank = bank, .model = model, .spec = spec, .index = index, .jobs = loading.jobs};
    bank->latents = f.latents = memory_new(room * (size_t)bank->width, sizeof *f.latents);
    bank->pixels = f.pixels = memory_new(room * (size_t)bank->outputs, 1);
    bank->places = f.places = memory_new(3 * room, sizeof *f.places);
    f.rows = memory_new((size_t)model->rows * (size_t)bank->width, sizeof *f.rows);
    Error stopped = {0};
    int result = loader_open(&loader, &loading, &stopped);
    if (!result) {
        result = add_all(&f, loader, &stopped);
        loader_close(loader);
    }
    free(f.rows);
    if (result || stopped.code) {
        *error = stopped;
        return -1;
    }
    if (!bank->rows)
        return error_set(error, ERROR_RUN, "not one video could be decoded for its latents");
    return 0;
}

void bank_close(Bank *bank) {
    size_t rows = (size_t)bank->rows;
    const void *const parts[] = {bank->latents, bank->pixels, bank->places};
    const size_t bytes[] = {rows * (size_t)bank->width * sizeof *bank->latents,
                            rows * (size_t)bank->outputs, rows * 3 * sizeof *bank->places};
    for (int i = 0; i < 3; i++) {
        void *part = (void *)(uintptr_t)parts[i];
        if (part && bank->mapped)
            munmap(part, bytes[i]);
        else
            free(part);
    }
    for (int64_t v = 0; v < bank->videos && bank->names; v++)
        free(bank->names[v]);
    free(bank->names);
    free(bank->hashes);
    free(bank->about.source);
    memset(bank, 0, sizeof *bank);
}

int bank_matches(const Bank *bank, const char *folder, const Hash *checkpoint, const Hash *recipe,
                 Error *error) {
    if (!hash_same(&bank->about.checkpoint, checkpoint))
        return error_set(error, ERROR_USAGE,
                         "%s is of another checkpoint, %s: build one of this with jepa bank",
                         folder, bank->about.source);
    if (!hash_same(&bank->about.recipe, recipe))
        return error_set(error, ERROR_USAGE,
                         "%s is of this checkpoint with another recipe: give the same --set, or "
                         "build another with jepa bank",
                         folder);
    return 0;
}

int64_t bank_video(const Bank *bank, const Hash *hash) {
    int64_t v = 0;
    while (v < bank->videos && !hash_same(&bank->hashes[v], hash))
        v++;
    return v < bank->videos ? v : -1;
}

void bank_nearest(int32_t *nearest, float *cosine, const Bank *bank, const float *queries,
                  int64_t q, const Hash *own, int threads) {
    size_t rows = (size_t)bank->rows, width = (size_t)bank->width;
    float *latents = memory_new(rows * width, sizeof *latents);
    int *fold = memory_new(rows, sizeof *fold), *query = memory_new((size_t)q + 1, sizeof *query);
    float16_to_floats(latents, bank->latents, rows * width);
    for (size_t i = 0; i < rows; i++) /* the same file may be there under several names */
        fold[i] = own && hash_same(&bank->hashes[bank->places[3 * i]], own);
    for (int64_t i = 0; i < q; i++)
        query[i] = 1;
    knn_search(nearest, cosine, latents, fold, bank->rows, queries, query, q, bank->width, 1,
               threads);
    free(latents);
    free(fold);
    free(query);
}
