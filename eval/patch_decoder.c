/* The decoder of patches, forward and backward. See eval/patch_decoder.h. */
#include "eval/patch_decoder.h"
#include "base/half.h"
#include "base/log.h"
#include "jepa/arena.h"
#include "jepa/schedule.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNED     16   /* floats */
#define DRAW_ROWS   256  /* at once */
#define WARMUP      0.05 /* share of the steps */
#define FINAL_LR    0.01 /* of the peak: the last step counts, also the only one */
#define BETA1       0.9
#define BETA2       0.999
#define EPS         1e-8
#define LEAST_SPLIT 1e-6 /* of a deviation: of pictures of one colour */

static int64_t part(int64_t *total, int64_t count) {
    int64_t at = *total;
    *total += (count + ALIGNED - 1) / ALIGNED * ALIGNED;
    return at;
}

/* Normal with variance 1 / inputs. */
static void initial(float *w, int64_t count, int64_t inputs, uint64_t seed, uint64_t slot) {
    Random random = random_at(seed, RANDOM_WEIGHTS, 0, slot);
    for (int64_t i = 0; i < count; i++)
        w[i] = (float)(random_normal(&random) / sqrt((double)inputs));
}

void patch_decoder_new(PatchDecoder *d, int width, int hidden, int outputs, uint64_t seed) {
    int64_t last = hidden ? hidden : width;
    *d = (PatchDecoder){
        .width = width, .hidden = hidden, .outputs = outputs, .deviation = {1, 1, 1}};
    d->w1 = part(&d->total, (int64_t)hidden * width);
    d->w2 = part(&d->total, outputs * last);
    d->decayed = d->total;
    d->b1 = part(&d->total, hidden);
    d->b2 = part(&d->total, outputs);
    d->weights = memory_new((size_t)d->total, sizeof *d->weights);
    initial(d->weights + d->w1, (int64_t)hidden * width, width, seed, 0);
    initial(d->weights + d->w2, outputs * last, last, seed, 1);
}

void patch_decoder_free(PatchDecoder *d) {
    free(d->weights);
    memset(d, 0, sizeof *d);
}

/* ---- passes ---- */

/* Memory of passes of `most` rows, of the device. */
typedef struct Pass {
    int64_t most;
    void *memory;
    float *weights; /* [total] the decoder's, aligned */
    float *x, *before, *hidden, *y;
    float *wanted, *dy, *dbefore, *gradients, *first_moment, *second_moment;
    double *squares, *sums; /* sums: loss, Σ g² */
} Pass;

static void lay_out(Pass *k, const PatchDecoder *d, bool training, Arena *arena) {
    k->weights = arena_floats(arena, d->total);
    k->x = arena_floats(arena, k->most * d->width);
    k->before = arena_floats(arena, k->most * d->hidden);
    k->hidden = arena_floats(arena, k->most * d->hidden);
    k->y = arena_floats(arena, k->most * d->outputs);
    if (!training)
        return;
    k->wanted = arena_floats(arena, k->most * d->outputs);
    k->dy = arena_floats(arena, k->most * d->outputs);
    k->dbefore = arena_floats(arena, k->most * d->hidden);
    k->gradients = arena_floats(arena, d->total);
    k->first_moment = arena_floats(arena, d->total);
    k->second_moment = arena_floats(arena, d->total);
    k->squares = arena_take(arena, shard_blocks(d->total), sizeof *k->squares);
    k->sums = arena_take(arena, 2, sizeof *k->sums);
}

static int pass_open(Pass *k, const PatchDecoder *d, int64_t most, bool training, Device *device,
                     Error *error) {
    Arena arena = {0};
    int widest = d->outputs > d->hidden ? d->outputs : d->hidden;
    widest = d->width > widest ? d->width : widest;
    ScratchNeeds needs = {.elements = d->total > most * widest ? d->total : most * widest,
                          .rows = most,
                          .width = widest};
    JEPA_ASSERT(device->on_host && device->precision == PRECISION_FLOAT32);
    *k = (Pass){.most = most};
    lay_out(k, d, training, &arena);
    if (device_reserve(device, device_scratch_bytes(device, &needs), error) ||
        device->allocate(&k->memory, arena.used, device, error))
        return -1;
    arena = (Arena){.base = k->memory};
    lay_out(k, d, training, &arena);
    memcpy(k->weights, d->weights, (size_t)d->total * sizeof *k->weights);
    return 0;
}

static void forward(Pass *k, const PatchDecoder *d, int64_t n, Device *op) {
    const float *w = k->weights;
    if (d->hidden)
        op->linear_gelu_forward(k->hidden, k->before, k->x, w + d->w1, w + d->b1, n, d->width,
                                d->hidden, op);
    op->linear_forward(k->y, d->hidden ? k->hidden : k->x, w + d->w2, w + d->b2, n,
                       d->hidden ? d->hidden : d->width, d->outputs, op);
}

/* gradients = those of the mean over n rows of |y - wanted|² / 2; the loss into sums[0]. */
static void backward(Pass *k, const PatchDecoder *d, int64_t n, Device *op) {
    double weight = 1 / ((double)n * d->outputs);
    const float *w = k->weights;
    float *g = k->gradients;
    op->zero(g, (size_t)d->total * sizeof *g, op);
    op->zero(k->sums, 2 * sizeof *k->sums, op);
    op->loss_forward(&k->sums[0], k->y, k->wanted, n, d->outputs, 2, weight, NULL, op);
    op->loss_backward(k->dy, k->y, k->wanted, n, d->outputs, 2, weight, NULL, op);
    if (!d->hidden) { /* y = w2 x + b2 */
        op->linear_backward_weight(g + d->w2, g + d->b2, k->dy, k->x, n, d->width, d->outputs, op);
        return;
    }
    /* y = w2 hidden + b2 */
    op->linear_backward_weight(g + d->w2, g + d->b2, k->dy, k->hidden, n, d->hidden, d->outputs,
                               op);
    /* hidden = gelu(before) */
    op->linear_gelu_backward_input(k->dbefore, NULL, k->dy, w + d->w2, k->before, n, d->hidden,
                                   d->outputs, op);
    /* before = w1 x + b1 */
    op->linear_backward_weight(g + d->w1, g + d->b1, k->dbefore, k->x, n, d->width, d->hidden, op);
}

static void update(Pass *k, const PatchDecoder *d, const Schedule *schedule, int64_t step,
                   Device *op) {
    AdamwSettings settings = {.lr = schedule_lr(schedule, step),
                              .weight_decay = schedule_weight_decay(schedule, step),
                              .beta1 = BETA1,
                              .beta2 = BETA2,
                              .eps = EPS,
                              .step = step + 1};
    int64_t blocks = shard_blocks(d->total), at = d->decayed;
    op->square_sums(k->squares, k->gradients, d->total, op);
    op->sums_add(&k->sums[1], k->squares, 0, blocks, 1, blocks, 1, op);
    op->adamw_ema(k->weights, k->first_moment, k->second_moment, NULL, k->gradients, at,
                  &k->sums[1], &k->sums[0], &settings, op);
    settings.weight_decay = 0;
    op->adamw_ema(k->weights + at, k->first_moment + at, k->second_moment + at, NULL,
                  k->gradients + at, d->total - at, &k->sums[1], &k->sums[0], &settings, op);
}

/* ---- training ---- */

static int channel_of(const Bank *bank, int value) {
    return value / (bank->tubelet * bank->patch * bank->patch);
}

/* Mean and deviation of each channel, by whole numbers, so that the order does not matter. */
static void measure_colours(PatchDecoder *d, const Bank *bank, const int64_t *items,
                            int64_t count) {
    uint64_t sum[3] = {0}, square[3] = {0};
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = bank->pixels + items[i] * bank->outputs;
        for (int v = 0; v < bank->outputs; v++) {
            int c = channel_of(bank, v);
            sum[c] += p[v];
            square[c] += (uint64_t)p[v] * p[v];
        }
    }
    for (int c = 0; c < 3; c++) {
        double n = (double)count * bank->outputs / 3, mean = (double)sum[c] / n;
        double variance = (double)square[c] / n - mean * mean;
        d->mean[c] = mean / 255;
        d->deviation[c] = sqrt(variance > 0 ? variance : 0) / 255;
        if (d->deviation[c] < LEAST_SPLIT)
            d->deviation[c] = 1;
    }
}

/* Rows of the bank into x and wanted. */
static void take_rows(Pass *k, const PatchDecoder *d, const Bank *bank, const int64_t *rows,
                      int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = bank->pixels + rows[i] * d->outputs;
        float16_to_floats(k->x + i * d->width, bank->latents + rows[i] * d->width,
                          (size_t)d->width);
        for (int v = 0; k->wanted && v < d->outputs; v++) {
            int c = channel_of(bank, v);
            k->wanted[i * d->outputs + v] = (float)((p[v] / 255.0 - d->mean[c]) / d->deviation[c]);
        }
    }
}

int patch_decoder_train(PatchDecoder *d, double *losses, const PatchTraining *t, const Bank *bank,
                        const int64_t *items, int64_t count, Device *device, Error *error) {
    Pass k;
    int64_t batch = t->batch < count ? t->batch : count, per_epoch = count / batch;
    int64_t *rows = memory_new((size_t)batch, sizeof *rows);
    Schedule schedule = {.epochs = 1,
                         .ipe = (double)t->steps,
                         .ipe_scale = 1,
                         .warmup = WARMUP,
                         .lr = t->lr,
                         .final_lr = FINAL_LR * t->lr,
                         .weight_decay = t->weight_decay,
                         .final_weight_decay = t->weight_decay};
    Progress progress;
    JEPA_ASSERT(bank->width == d->width && bank->outputs == d->outputs && count > 0);
    measure_colours(d, bank, items, count);
    int result = pass_open(&k, d, batch, true, device, error);
    progress_start(&progress, "decoder", (double)t->steps, 0);
    for (int64_t step = 0; step < t->steps && !result; step++) {
        uint64_t epoch = (uint64_t)(step / per_epoch);
        for (int64_t i = 0; i < batch; i++)
            rows[i] =
                items[random_permute(t->seed, RANDOM_ORDER, epoch,
                                     (uint64_t)(step % per_epoch * batch + i), (uint64_t)count)];
        take_rows(&k, d, bank, rows, batch);
        forward(&k, d, batch, device);
        backward(&k, d, batch, device);
        update(&k, d, &schedule, step, device);
        if (losses)
            losses[step] = k.sums[0];
        char detail[48];
        snprintf(detail, sizeof detail, "loss %.4f", k.sums[0]);
        progress_show(&progress, (double)step + 1, detail);
        if (!isfinite(k.sums[0]))
            result = error_set(error, ERROR_RUN,
                               "the decoder's loss is not finite at step %lld: try a smaller --lr",
                               (long long)step);
    }
    progress_end(&progress);
    if (!result)
        memcpy(d->weights, k.weights, (size_t)d->total * sizeof *d->weights);
    if (k.memory)
        device->release(k.memory, device);
    free(rows);
    return result;
}

/* ---- drawing ---- */

int patch_decoder_draw(uint8_t *pixels, const PatchDecoder *d, const float *latents, int64_t n,
                       Device *device, Error *error) {
    Pass k;
    int part_values = d->outputs / 3;
    int result = pass_open(&k, d, DRAW_ROWS, false, device, error);
    for (int64_t at = 0; at < n && !result; at += DRAW_ROWS) {
        int64_t rows = n - at < DRAW_ROWS ? n - at : DRAW_ROWS;
        memcpy(k.x, latents + at * d->width, (size_t)(rows * d->width) * sizeof *k.x);
        forward(&k, d, rows, device);
        for (int64_t i = 0; i < rows * d->outputs; i++) {
            int c = (int)(i % d->outputs) / part_values;
            double value = 255 * (k.y[i] * d->deviation[c] + d->mean[c]);
            pixels[at * d->outputs + i] = (uint8_t)lrint(!(value > 0)  ? 0
                                                         : value > 255 ? 255
                                                                       : value);
        }
    }
    if (k.memory)
        device->release(k.memory, device);
    return result;
}

/* means[area][P] of the training rows of each place, 0..255. */
static float *place_means(const PatchDecoder *d, const Bank *bank, const int64_t *items,
                          int64_t count) {
    size_t area = (size_t)bank->grid.height * (size_t)bank->grid.width, p = (size_t)d->outputs;
    double *sums = memory_new(area * p, sizeof *sums);
    int64_t *found = memory_new(area, sizeof *found);
    float *means = memory_new(area * p, sizeof *means);
    for (int64_t i = 0; i < count; i++) {
        size_t place = (size_t)bank->places[3 * items[i] + 2] % area;
        found[place]++;
        for (size_t v = 0; v < p; v++)
            sums[place * p + v] += bank->pixels[(size_t)items[i] * p + v];
    }
    for (size_t i = 0; i < area * p; i++)
        means[i] = (float)(found[i / p] ? sums[i] / (double)found[i / p]
                                        : 255 * d->mean[channel_of(bank, (int)(i % p))]);
    free(sums);
    free(found);
    return means;
}

int patch_decoder_errors(PatchErrors *e, const PatchDecoder *d, const Bank *bank,
                         const int64_t *items, int64_t count, const int64_t *test, int64_t tests,
                         Device *device, Error *error) {
    size_t p = (size_t)d->outputs, area = (size_t)bank->grid.height * (size_t)bank->grid.width;
    float *x = memory_new((size_t)DRAW_ROWS * (size_t)d->width, sizeof *x);
    uint8_t *drawn = memory_new(DRAW_ROWS * p, 1);
    float *means = place_means(d, bank, items, count);
    int result = 0;
    *e = (PatchErrors){0};
    for (int64_t at = 0; at < tests && !result; at += DRAW_ROWS) {
        int64_t rows = tests - at < DRAW_ROWS ? tests - at : DRAW_ROWS;
        for (int64_t i = 0; i < rows; i++)
            float16_to_floats(x + i * d->width, bank->latents + test[at + i] * d->width,
                              (size_t)d->width);
        result = patch_decoder_draw(drawn, d, x, rows, device, error);
        for (int64_t i = 0; i < rows && !result; i++) {
            const uint8_t *wanted = bank->pixels + (size_t)test[at + i] * p;
            const float *mean = means + (size_t)bank->places[3 * test[at + i] + 2] % area * p;
            for (size_t v = 0; v < p; v++) {
                double by_colour = wanted[v] - 255 * d->mean[channel_of(bank, (int)v)];
                double by_place = (double)wanted[v] - mean[v],
                       own = wanted[v] - drawn[(size_t)i * p + v];
                e->decoder += own * own;
                e->colour += by_colour * by_colour;
                e->place += by_place * by_place;
            }
        }
    }
    double scale = 1 / (255.0 * 255 * (double)tests * (double)p);
    e->decoder *= scale;
    e->colour *= scale;
    e->place *= scale;
    free(x);
    free(drawn);
    free(means);
    return result;
}
