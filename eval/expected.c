/* Patches for predicted tokens, and painting them. See eval/expected.h. */
#include "eval/expected.h"
#include "eval/trivial.h"
#include "eval/upscale.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Real patches of the bank for latents[count][D]. */
static int find(uint8_t **patches, float **cosine, const Bank *bank, const float *latents,
                int64_t count, const Hash *own, Device *device, Error *error) {
    size_t p = (size_t)bank->outputs;
    int32_t *row = memory_new((size_t)count + 1, sizeof *row);
    int result = 0;
    *patches = memory_new((size_t)count * p + 1, 1);
    *cosine = memory_new((size_t)count + 1, sizeof **cosine);
    bank_nearest(row, *cosine, bank, latents, count, own, device->threads);
    for (int64_t i = 0; i < count && !result; i++)
        if (row[i] < 0)
            result = error_set(error, ERROR_USAGE,
                               "the bank holds patches of this very video only: build one over "
                               "others");
        else
            memcpy(*patches + (size_t)i * p, bank->pixels + (size_t)row[i] * p, p);
    free(row);
    return result;
}

/* Σ (a - b)² of two patches, as 0..1. */
static double square_error(const uint8_t *a, const uint8_t *b, int count) {
    int64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return (double)sum / (255.0 * 255);
}

static double colour_error(const uint8_t *patch, const double *mean, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
        double e = patch[i] - mean[i / (count / 3)];
        sum += e * e;
    }
    return sum / (255.0 * 255);
}

static void measure(Expected *e, int m) {
    const Latents *l = e->latents;
    const LatentMask *mask = &l->mask[m];
    ExpectedErrors *errors = &e->errors[m];
    size_t p = (size_t)e->outputs;
    double scale = 1 / ((double)mask->count * e->outputs), mean[3] = {0};
    int32_t *nearest = memory_new((size_t)mask->count + 1, sizeof *nearest);
    *errors = (ExpectedErrors){.visible = 0};
    trivial_nearest(nearest, l->token + mask->first, mask->count, l->seen_token + mask->seen_first,
                    mask->seen_count, l->grid);
    for (int64_t i = 0; i < mask->seen_count; i++)
        for (size_t v = 0; v < p; v++)
            mean[v / (p / 3)] += e->real[(size_t)l->seen_token[mask->seen_first + i] * p + v] /
                                 ((double)mask->seen_count * (double)(p / 3));
    for (int64_t i = 0; i < mask->count; i++) {
        size_t row = (size_t)(mask->first + i), token = (size_t)l->token[row];
        const uint8_t *real = e->real + token * p;
        for (int k = EXPECTED_NEAREST; k < EXPECTED_KINDS; k++)
            if (e->patches[k])
                errors->of[k] += scale *
                                 square_error(e->patches[k] +
                                                  (k == EXPECTED_DRAWN_REAL ? token : row) * p,
                                              real, e->outputs);
        errors->visible += scale * square_error(e->real + (size_t)nearest[i] * p, real, e->outputs);
        errors->colour += scale * colour_error(real, mean, e->outputs);
    }
    for (int k = EXPECTED_NEAREST; k < EXPECTED_KINDS; k++)
        if (!e->patches[k])
            errors->of[k] = NAN;
    free(nearest);
}

static int check_sizes(const Latents *l, const PatchShape *shape, const Bank *bank,
                       const PatchDecoder *decoder, Error *error) {
    int outputs = 3 * shape->tubelet * shape->patch * shape->patch;
    if (bank && (bank->width != l->width || bank->outputs != outputs))
        return error_set(error, ERROR_USAGE, "the bank is of latents or patches of another size");
    if (decoder && (decoder->width != l->width || decoder->outputs != outputs))
        return error_set(error, ERROR_USAGE,
                         "the decoder is of latents or patches of another size");
    return 0;
}

int expected_compute(Expected *e, const Latents *l, const uint8_t *pixels, const float *values,
                     const PatchShape *shape, const Bank *bank, const Hash *own,
                     const PatchDecoder *decoder, Device *device, Error *error) {
    size_t p = 3 * (size_t)shape->tubelet * (size_t)shape->patch * (size_t)shape->patch;
    size_t width = (size_t)l->width, hidden = (size_t)l->hidden;
    *e = (Expected){.latents = l, .shape = *shape, .outputs = (int)p};
    if (check_sizes(l, shape, bank, decoder, error))
        return -1;
    e->real = memory_new((size_t)l->tokens * p, 1);
    for (int i = 0; i < l->tokens; i++)
        bank_cut(e->real + (size_t)i * p, pixels, values, shape, i);
    int result = 0;
    if (bank) {
        float *answers = memory_new(hidden * width + 1, sizeof *answers);
        for (size_t i = 0; i < hidden; i++)
            memcpy(answers + i * width, l->target + (size_t)l->token[i] * width,
                   width * sizeof *answers);
        result = find(&e->patches[EXPECTED_NEAREST], &e->cosine, bank, l->predicted, l->hidden, own,
                      device, error);
        if (!result)
            result = find(&e->patches[EXPECTED_NEAREST_REAL], &e->cosine_real, bank, answers,
                          l->hidden, own, device, error);
        free(answers);
    }
    if (decoder && !result) {
        e->patches[EXPECTED_DRAWN_REAL] = memory_new((size_t)l->tokens * p, 1);
        e->patches[EXPECTED_DRAWN] = memory_new(hidden * p + 1, 1);
        result = patch_decoder_draw(e->patches[EXPECTED_DRAWN_REAL], decoder, l->target, l->tokens,
                                    device, error);
        if (!result)
            result = patch_decoder_draw(e->patches[EXPECTED_DRAWN], decoder, l->predicted,
                                        l->hidden, device, error);
    }
    for (int m = 0; m < l->settings && !result; m++)
        measure(e, m);
    return result;
}

void expected_free(Expected *e) {
    for (int k = 0; k < EXPECTED_KINDS; k++)
        free(e->patches[k]);
    free(e->real);
    free(e->cosine);
    free(e->cosine_real);
    memset(e, 0, sizeof *e);
}

const char *expected_name(ExpectedKind kind) {
    static const char *const names[EXPECTED_KINDS] = {"Video",
                                                      "What it is shown",
                                                      "Prediction: nearest real patch",
                                                      "Target: nearest real patch",
                                                      "Target: drawn by a decoder",
                                                      "Prediction: drawn by a decoder"};
    return names[kind];
}

bool expected_has(const Expected *e, ExpectedKind kind) {
    return kind < EXPECTED_NEAREST || e->patches[kind];
}

double expected_step_cosine(const Expected *e, ExpectedKind kind, int m, int step) {
    const LatentMask *mask = &e->latents->mask[m];
    const float *cosine = kind == EXPECTED_NEAREST ? e->cosine : e->cosine_real;
    int area = e->latents->grid.height * e->latents->grid.width, count = 0;
    double sum = 0;
    for (int64_t i = mask->first; cosine && i < mask->first + mask->count; i++)
        if (e->latents->token[i] / area == step) {
            sum += cosine[i];
            count++;
        }
    return count ? sum / count : NAN;
}

/* ---- painting ---- */

/* Frame `k` of a tubelet over token (y, x). */
static void paint_patch(Canvas *tile, const Expected *e, const uint8_t *patch, int k, int y,
                        int x) {
    MaskGrid grid = e->latents->grid;
    int p = e->shape.patch, left = x * tile->width / grid.width,
        top = y * tile->height / grid.height;
    int width = (x + 1) * tile->width / grid.width - left,
        height = (y + 1) * tile->height / grid.height - top;
    size_t area = (size_t)p * (size_t)p;
    if (width < 1 || height < 1)
        return;
    uint8_t *small = memory_new(area, 3);
    uint8_t *large = memory_new((size_t)width * (size_t)height, 3);
    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < 3; c++)
            small[3 * i + c] = patch[(c * (size_t)e->shape.tubelet + (size_t)k) * area + i];
    upscale_bytes(large, height, width, small, p, p, UPSCALE_SMOOTH);
    canvas_image(tile, left, top, large, width, height);
    free(small);
    free(large);
}

void expected_tile(Canvas *tile, const Expected *e, ExpectedKind kind, int m, int frame,
                   const uint8_t *rgb) {
    const Latents *l = e->latents;
    const LatentMask *mask = &l->mask[m];
    int area = l->grid.height * l->grid.width, step = frame / e->shape.tubelet,
        k = frame % e->shape.tubelet, first = step * area;
    size_t p = (size_t)e->outputs;
    TokenState *state = memory_new((size_t)area, sizeof *state);
    token_paint_picture(tile, rgb);
    for (int i = 0; i < area; i++)
        state[i] = TOKEN_LEFT;
    for (int64_t i = mask->seen_first; i < mask->seen_first + mask->seen_count; i++)
        if (l->seen_token[i] / area == step)
            state[l->seen_token[i] - first] = TOKEN_SEEN;
    for (int64_t i = mask->first; i < mask->first + mask->count; i++) {
        int at = l->token[i] - first;
        if (l->token[i] / area != step)
            continue;
        state[at] = TOKEN_ASKED;
        if (kind >= EXPECTED_NEAREST && kind != EXPECTED_DRAWN_REAL)
            paint_patch(tile, e, e->patches[kind] + (size_t)i * p, k, at / l->grid.width,
                        at % l->grid.width);
    }
    for (int i = 0; i < area && kind == EXPECTED_DRAWN_REAL; i++)
        paint_patch(tile, e, e->patches[kind] + (size_t)(first + i) * p, k, i / l->grid.width,
                    i % l->grid.width);
    if (kind == EXPECTED_MASKED)
        token_paint_mask(tile, l->grid, state);
    if (kind != EXPECTED_VIDEO)
        token_paint_edges(tile, l->grid, state);
    free(state);
}
