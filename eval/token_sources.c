/* Sources of tokens. See eval/token_sources.h. */
#include "eval/token_sources.h"
#include "base/log.h"
#include "eval/encode.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS     4 /* clips tried of one part of a video */
#define RING_BATCHES 3
#define SLOTS_MAX    ((int64_t)UINT32_MAX)

/* out[layers][rows][width] = in[rows][layers][width] */
static void turn_layers(float *out, const float *in, int64_t rows, int layers, int64_t width) {
    for (int l = 0; l < layers; l++)
        for (int64_t n = 0; n < rows; n++)
            memcpy(out + (l * rows + n) * width, in + (n * layers + l) * width,
                   (size_t)width * sizeof *out);
}

/* ---- from a store ---- */

static int read_store(float *out, const int64_t *items, int64_t n, void *context, Error *error) {
    StoreTokens *t = context;
    const StoreAbout *a = &t->store->about;
    int64_t clip = (int64_t)a->rows * a->width; /* values of a clip */
    int segments = t->layout.across_segments ? a->segments : 1;
    (void)error;
    for (int64_t i = 0; i < n; i++) {
        JEPA_ASSERT(items[i] >= 0 && items[i] < t->source.count);
        const TokenSequence *s = &t->sequences[items[i]];
        for (int k = 0; k < segments; k++, out += clip) {
            float *to = t->clip ? t->clip : out;
            store_floats(to, t->store, s->video, (s->segment + k) * a->views + s->view);
            if (t->clip)
                turn_layers(out, t->clip, a->rows, t->layers, a->width / t->layers);
        }
    }
    return 0;
}

int store_tokens_open(StoreTokens *t, const Store *store, const int64_t *videos, int64_t count,
                      int view, TokenLayout layout, Error *error) {
    const StoreAbout *a = &store->about;
    int64_t most = videos ? count : store->videos;
    int parts = layout.across_segments ? 1 : a->segments, sequences = parts * a->views;
    JEPA_ASSERT(view < a->views);
    *t = (StoreTokens){.store = store, .layout = layout, .layers = a->layers ? a->layers : 1};
    t->sequences = memory_new((size_t)(most * sequences), sizeof *t->sequences);
    for (int64_t i = 0; i < most; i++) {
        int64_t video = videos ? videos[i] : i;
        JEPA_ASSERT(video >= 0 && video < store->videos);
        for (int s = 0; s < sequences && !store->failed[video]; s++)
            if (view < 0 || s % a->views == view)
                t->sequences[t->source.count++] = (TokenSequence){video, s / a->views,
                                                                  s % a->views};
    }
    if (!t->source.count) {
        store_tokens_close(t);
        return error_set(error, ERROR_RUN, "%s: none of the videos has features", store->folder);
    }
    bool turns = layout.layers_as_tokens && t->layers > 1;
    t->source.tokens = (int64_t)a->rows * (layout.across_segments ? a->segments : 1) *
                       (turns ? t->layers : 1);
    t->source.width = turns ? a->width / t->layers : a->width;
    t->source.context = t;
    t->source.read = read_store;
    if (turns)
        t->clip = memory_new((size_t)a->rows * (size_t)a->width, sizeof *t->clip);
    return 0;
}

void store_tokens_close(StoreTokens *t) {
    free(t->sequences);
    free(t->clip);
    memset(t, 0, sizeof *t);
}

/* ---- on the fly ---- */

struct AugmentedTokens {
    AugmentedSettings settings;
    uint32_t *files; /* [count] */
    int64_t *order;  /* [count] of this pass */
    bool *warned;    /* [count] */
    int epoch;
    bool begun; /* encode is open */
    Encode encode;
    int64_t next;  /* clip of the pass that is handed out next */
    int64_t first; /* of the batch that is held */
    int held;      /* clips of it */
    float *rows;   /* [samples][rows][D] of that batch */
    int layers;
};

ClipSpec augment_published(const ClipSpec *spec) {
    ClipSpec s = *spec;
    s.scale[0] = 0.08;
    s.scale[1] = 1;
    s.ratio[0] = 3. / 4;
    s.ratio[1] = 4. / 3;
    s.flip = false;
    s.augment = (AugmentSpec){.rand_augment = true, .reprob = 0.25};
    s.views = (ClipViews){0};
    return s;
}

void augmented_tokens_draw(ClipDraw *draw, const AugmentedSettings *s, int epoch, int64_t sequence,
                           int segment, int attempt) {
    uint64_t step = (uint64_t)epoch * ATTEMPTS + (uint64_t)attempt;
    uint64_t slot = (uint64_t)(sequence * s->segments + segment);
    Random frames = random_at(s->seed, RANDOM_FRAMES, step, slot);
    Random crop = random_at(s->seed, RANDOM_CROP, step, slot);
    Random flip = random_at(s->seed, RANDOM_FLIP, step, slot);
    Random augment = random_at(s->seed, RANDOM_AUGMENT, step, slot);
    memset(draw, 0, sizeof *draw);
    draw->file = s->files[sequence];
    draw->attempt = attempt;
    VideoFile file = video_index_file(s->index, draw->file);
    clip_draw_frames(draw, &file, &s->spec,
                     clip_part_share(&file, &s->spec, segment, s->segments, random_unit(&frames)));
    clip_draw_crop(draw, &file, &s->spec, &crop);
    draw->flip = random_unit(&flip) < 0.5 && s->spec.flip;
    augment_draw(&draw->augment, &s->spec.augment, &augment);
}

static int draw_job(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const AugmentedTokens *t = context;
    const AugmentedSettings *s = &t->settings;
    if (attempt == ATTEMPTS)
        return 0;
    augmented_tokens_draw(draw, s, t->epoch, t->order[job / (uint64_t)s->segments],
                          (int)(job % (uint64_t)s->segments), attempt);
    return 1;
}

static void end_pass(AugmentedTokens *t) {
    if (t->begun)
        encode_close(&t->encode);
    t->begun = false;
    t->held = 0;
}

static int begin(int epoch, const int64_t *order, void *context, Error *error) {
    AugmentedTokens *t = context;
    const AugmentedSettings *s = &t->settings;
    end_pass(t);
    t->epoch = epoch;
    t->next = t->first = 0;
    for (int64_t i = 0; i < s->count; i++) {
        t->order[i] = order ? order[i] : i;
        JEPA_ASSERT(t->order[i] >= 0 && t->order[i] < s->count);
    }
    LoaderConfig config = {.index = s->index,
                           .spec = s->spec,
                           .source = {t, draw_job},
                           .jobs = (uint64_t)(s->count * s->segments),
                           .batch = s->model->plan.samples,
                           .ring = RING_BATCHES,
                           .threads = s->threads,
                           .timeout = s->timeout,
                           .cache = s->cache,
                           .hardware = s->hardware};
    if (encode_open(&t->encode, s->model, &config, s->network, false, error))
        return -1;
    t->begun = true;
    return 0;
}

/* What could not be decoded: said once of each video; an error where nothing came instead. */
static int check_slots(AugmentedTokens *t, const LoaderBatch *batch, Error *error) {
    for (int b = 0; b < batch->count; b++) {
        const LoaderSlot *slot = &batch->slots[b];
        int64_t sequence = t->order[(t->first + b) / t->settings.segments];
        if (slot->failed)
            return error_set(error, ERROR_RUN, "%s: take the file out of the training videos",
                             slot->reason ? slot->reason : "a clip cannot be decoded");
        if (slot->reason && !t->warned[sequence])
            log_warn("%s; another clip of it is taken", slot->reason);
        t->warned[sequence] = t->warned[sequence] || slot->reason;
    }
    return 0;
}

/* The batch of the clip that is next. */
static int next_batch(AugmentedTokens *t, Error *error) {
    Error stopped = {0};
    const LoaderBatch *batch = encode_next(&t->encode, &stopped);
    JEPA_ASSERT(batch || stopped.code); /* it has as many clips as are asked for */
    if (!batch) {
        *error = stopped;
        return -1;
    }
    t->first = (int64_t)batch->first_job;
    t->held = batch->count;
    if (check_slots(t, batch, error))
        return -1;
    encode_rows(t->rows, &t->encode, batch->count);
    return 0;
}

static int read_augmented(float *out, const int64_t *items, int64_t n, void *context,
                          Error *error) {
    AugmentedTokens *t = context;
    const AugmentedSettings *s = &t->settings;
    int64_t width = s->model->teacher.dim, rows = s->model->rows;
    int64_t clip = rows * width * t->layers;
    if (!t->begun && begin(0, NULL, t, error))
        return -1;
    for (int64_t i = 0; i < n * s->segments; i++, t->next++, out += clip) {
        JEPA_ASSERT(t->next < s->count * s->segments &&
                    items[i / s->segments] == t->order[t->next / s->segments]);
        if (t->next >= t->first + t->held && next_batch(t, error)) {
            end_pass(t);
            return -1;
        }
        const float *from = t->rows + (t->next - t->first) * clip;
        if (s->layers_as_tokens)
            turn_layers(out, from, rows, t->layers, width);
        else
            memcpy(out, from, (size_t)clip * sizeof *out);
    }
    return 0;
}

int augmented_tokens_open(AugmentedTokens **tokens, const AugmentedSettings *settings,
                          Error *error) {
    const AugmentedSettings *s = settings;
    JEPA_ASSERT(s->count >= 1 && s->segments >= 1 && !s->model->plan.settings);
    if (s->count > SLOTS_MAX / s->segments)
        return error_set(error, ERROR_USAGE,
                         "%" PRId64 " videos of %d segments are more than %" PRId64 " clips",
                         s->count, s->segments, SLOTS_MAX);
    AugmentedTokens *t = memory_new(1, sizeof *t);
    size_t count = (size_t)s->count;
    t->settings = *s;
    t->files = memory_new(count, sizeof *t->files);
    memcpy(t->files, s->files, count * sizeof *t->files);
    t->settings.files = t->files;
    t->order = memory_new(count, sizeof *t->order);
    t->warned = memory_new(count, sizeof *t->warned);
    t->layers = s->model->features.count;
    t->rows = memory_new((size_t)s->model->plan.samples * (size_t)s->model->rows,
                         (size_t)(s->model->teacher.dim * t->layers) * sizeof *t->rows);
    *tokens = t;
    return 0;
}

void augmented_tokens_close(AugmentedTokens *t) {
    if (!t)
        return;
    end_pass(t);
    free(t->files);
    free(t->order);
    free(t->warned);
    free(t->rows);
    free(t);
}

TokenSource augmented_tokens_source(AugmentedTokens *t) {
    const AugmentedSettings *s = &t->settings;
    bool turns = s->layers_as_tokens;
    return (TokenSource){.context = t,
                         .count = s->count,
                         .tokens = (int64_t)s->model->rows * s->segments * (turns ? t->layers : 1),
                         .width = s->model->teacher.dim * (turns ? 1 : t->layers),
                         .read = read_augmented,
                         .begin = begin};
}
