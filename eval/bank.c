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

#define SEARCH_ROWS 4096 /* as float32 at once: some tens of MB */

/* A bank on its way: the same memory as bank's, to be written. */
typedef struct Filling {
    Bank *bank;
    uint16_t *latents;
    uint8_t *pixels;
    int32_t *places;
    Model *model;
    EvaluationClips clips;
    uint64_t jobs, drawn; /* clips there are, and those that have a share of the rows */
    float *rows;          /* [N or N + 1][D] of one clip */
} Filling;

/* Rows of the first `job` clips, were there no end to a clip's tokens. */
static int64_t share(int64_t rows, uint64_t job, uint64_t jobs) {
    return (int64_t)((uint64_t)rows * job / jobs);
}

/* The clip that is drawn as number n: the first whose end is past row n where there are fewer rows
 * than clips, else clip n. */
static uint64_t job_of(const Filling *f, uint64_t n) {
    return ((n + 1) * f->jobs - 1) / f->drawn;
}

static int draw_one(void *filling, uint64_t n, int attempt, ClipDraw *draw) {
    Filling *f = filling;
    return evaluation_draw(&f->clips, job_of(f, n), attempt, draw);
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
    uint64_t job = job_of(f, batch->first_job + (uint64_t)b);
    int64_t tokens = mask_grid_tokens(bank->grid), area = bank->grid.height * bank->grid.width;
    int64_t count = share(bank->about.tokens, job + 1, f->jobs) -
                    share(bank->about.tokens, job, f->jobs);
    const ClipSpec *spec = f->clips.spec;
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
    progress_start(&progress, "target latents", (double)f->drawn, 0);
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
    Filling f = {.bank = bank, .model = model, .clips = {index, spec, views}};
    LoaderConfig loading = evaluation_loader(&f.clips, model, threads);
    Loader *loader;
    JEPA_ASSERT(views->views == 1 && model->plan.settings == 0 && bank->about.tokens > 0);
    bank->grid = model->grid;
    bank->width = model->target_width;
    bank->tubelet = config->tubelet;
    bank->patch = config->patch;
    bank->outputs = config_patch_size(config);
    bank->about.segments = views->segments;
    bank->rows = 0;
    name_videos(bank, index);
    f.jobs = loading.jobs;
    f.drawn = (uint64_t)bank->about.tokens < f.jobs ? (uint64_t)bank->about.tokens : f.jobs;
    loading.jobs = f.drawn;
    loading.source = (LoaderSource){&f, draw_one};
    int64_t all = (int64_t)f.jobs * mask_grid_tokens(bank->grid);
    size_t room = (size_t)(bank->about.tokens < all ? bank->about.tokens : all);
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

int bank_about_matches(const BankAbout *about, const char *folder, const Hash *checkpoint,
                       const Hash *recipe, const char *maker, Error *error) {
    if (!hash_same(&about->checkpoint, checkpoint))
        return error_set(error, ERROR_USAGE,
                         "%s is of another checkpoint, %s: make one of this with %s", folder,
                         about->source, maker);
    if (!hash_same(&about->recipe, recipe))
        return error_set(error, ERROR_USAGE,
                         "%s is of this checkpoint with another recipe: give the same --set, or "
                         "make another with %s",
                         folder, maker);
    return 0;
}

typedef struct Owner {
    Hash hash; /* first: compared by hash_order */
    int64_t video;
} Owner;

static int by_hash(const void *a, const void *b) {
    const Owner *x = a, *y = b;
    int order = hash_order(&x->hash, &y->hash);
    return order ? order : (x->video > y->video) - (x->video < y->video);
}

int64_t bank_distinct(int64_t *first, const Bank *bank) {
    size_t videos = (size_t)bank->videos, count = 0;
    int64_t distinct = 0;
    bool *there = memory_new(videos + 1, sizeof *there);
    Owner *owner = memory_new(videos + 1, sizeof *owner);
    for (int64_t i = 0; i < bank->rows; i++)
        there[bank->places[3 * i]] = true;
    for (size_t v = 0; v < videos; v++)
        if (there[v])
            owner[count++] = (Owner){bank->hashes[v], (int64_t)v};
    qsort(owner, count, sizeof *owner, by_hash);
    for (size_t v = 0; v < videos && first; v++)
        first[v] = -1;
    for (size_t i = 0, begin = 0; i < count; i++) {
        if (!i || !hash_same(&owner[i].hash, &owner[begin].hash)) {
            begin = i;
            distinct++;
        }
        if (first)
            first[owner[i].video] = owner[begin].video;
    }
    free(there);
    free(owner);
    return distinct;
}

void bank_nearest(int32_t *nearest, float *cosine, const Bank *bank, const float *queries,
                  int64_t q, const Hash *own, int threads) {
    size_t width = (size_t)bank->width;
    int64_t most = bank->rows < SEARCH_ROWS ? bank->rows : SEARCH_ROWS;
    float *latents = memory_new((size_t)most * width + 1, sizeof *latents);
    float *near = memory_new((size_t)q + 1, sizeof *near);
    int32_t *row = memory_new((size_t)q + 1, sizeof *row);
    int *fold = memory_new((size_t)most + 1, sizeof *fold);
    int *query = memory_new((size_t)q + 1, sizeof *query);
    for (int64_t i = 0; i < q; i++) {
        query[i] = 1;
        nearest[i] = -1;
        cosine[i] = 0;
    }
    for (int64_t at = 0; at < bank->rows; at += most) {
        int64_t count = bank->rows - at < most ? bank->rows - at : most;
        float16_to_floats(latents, bank->latents + (size_t)at * width, (size_t)count * width);
        for (int64_t i = 0; i < count; i++) /* the same file may be there under several names */
            fold[i] = own && hash_same(&bank->hashes[bank->places[3 * (at + i)]], own);
        knn_search(row, near, latents, fold, count, queries, query, q, bank->width, 1, threads);
        for (int64_t i = 0; i < q; i++)
            if (row[i] >= 0 && (nearest[i] < 0 || near[i] > cosine[i])) {
                nearest[i] = (int32_t)at + row[i];
                cosine[i] = near[i];
            }
    }
    free(latents);
    free(near);
    free(row);
    free(fold);
    free(query);
}
