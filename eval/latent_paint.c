/* Painting tiles of latents. See eval/latent_paint.h. */
#include "eval/latent_paint.h"
#include "eval/colormap.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *places(const LatentAxes *axes, const float *rows, int64_t n) {
    if (!axes || !rows)
        return NULL;
    float *place = memory_new((size_t)n * LATENT_COLORS + 1, sizeof *place);
    latent_axes_place(place, axes, rows, (size_t)n);
    return place;
}

void latent_paint_new(LatentPaint *p, const Latents *l, const LatentAxes *axes, UpscaleMode mode) {
    *p = (LatentPaint){.latents = l, .mode = mode, .high = 1};
    p->state = memory_new((size_t)l->tokens, sizeof *p->state);
    p->row = memory_new((size_t)l->tokens, sizeof *p->row);
    p->target = places(axes, l->target, l->tokens);
    p->predicted = places(axes, l->predicted, l->hidden);
    p->seen = places(axes, l->seen, l->visible);
    latent_paint_choose(p, 0);
}

void latent_paint_free(LatentPaint *p) {
    free(p->state);
    free(p->row);
    free(p->target);
    free(p->predicted);
    free(p->seen);
    memset(p, 0, sizeof *p);
}

void latent_paint_choose(LatentPaint *p, int m) {
    const Latents *l = p->latents;
    const LatentMask *mask = &l->mask[m];
    p->mask = m;
    for (int i = 0; i < l->tokens; i++) {
        p->state[i] = TOKEN_LEFT;
        p->row[i] = -1;
    }
    for (int64_t i = mask->seen_first; i < mask->seen_first + mask->seen_count; i++) {
        p->state[l->seen_token[i]] = TOKEN_SEEN;
        p->row[l->seen_token[i]] = i;
    }
    for (int64_t i = mask->first; i < mask->first + mask->count; i++) {
        p->state[l->token[i]] = TOKEN_ASKED;
        p->row[l->token[i]] = i;
    }
}

static const float *errors_of(const Latents *l, LatentQuantity quantity) {
    return quantity == LATENT_ERROR        ? l->error
           : quantity == LATENT_ERROR_MEAN ? l->mean_error
                                           : l->nearest_error;
}

static Color token_color(const LatentPaint *p, LatentQuantity quantity, int64_t token) {
    int64_t row = p->row[token];
    if (quantity == LATENT_TARGET)
        return colormap_triple(p->target + token * LATENT_COLORS);
    if (p->state[token] == TOKEN_ASKED)
        return colormap_triple(p->predicted + row * LATENT_COLORS);
    if (p->state[token] == TOKEN_LEFT)
        return COLOR_CONTEXT;
    return colormap_triple(p->seen ? p->seen + row * LATENT_COLORS
                                   : p->target + token * LATENT_COLORS);
}

static void paint_latents(Canvas *tile, const LatentPaint *p, LatentQuantity quantity,
                          int64_t first, int area) {
    Color *colors = memory_new((size_t)area, sizeof *colors);
    for (int i = 0; i < area; i++)
        colors[i] = token_color(p, quantity, first + i);
    token_paint_colors(tile, p->latents->grid, colors, p->mode);
    free(colors);
}

static void paint_errors(Canvas *tile, const LatentPaint *p, LatentQuantity quantity, int64_t first,
                         int area) {
    const float *errors = errors_of(p->latents, quantity);
    float *values = memory_new((size_t)area, sizeof *values);
    for (int i = 0; i < area; i++)
        values[i] = p->state[first + i] == TOKEN_ASKED ? errors[p->row[first + i]] : NAN;
    token_paint_values(tile, p->latents->grid, values, p->low, p->high, COLORMAP_DEPTH,
                       UPSCALE_NEAREST);
    free(values);
}

void latent_paint_tile(Canvas *tile, const LatentPaint *p, LatentQuantity quantity, int step,
                       const uint8_t *frame) {
    MaskGrid grid = p->latents->grid;
    int area = grid.height * grid.width;
    int64_t first = (int64_t)step * area;
    if (quantity <= LATENT_MASKED)
        token_paint_picture(tile, frame);
    else if (quantity < LATENT_ERROR)
        paint_latents(tile, p, quantity, first, area);
    else
        paint_errors(tile, p, quantity, first, area);
    if (quantity == LATENT_MASKED)
        token_paint_mask(tile, grid, p->state + first);
    if (quantity != LATENT_FRAME && quantity != LATENT_TARGET)
        token_paint_edges(tile, grid, p->state + first);
}

const char *latent_quantity_name(LatentQuantity quantity) {
    static const char *const names[LATENT_QUANTITIES] = {"Video",
                                                         "What it is shown",
                                                         "Target latents",
                                                         "Predicted latents",
                                                         "Error of the prediction",
                                                         "Error of the mean answer",
                                                         "Error of the nearest visible token"};
    return names[quantity];
}

void latent_error_range(double *low, double *high, const float *errors, size_t count) {
    token_range(low, high, errors, count);
    *low = *low < 0 ? 0 : *low;
}

void latent_errors_range(double *low, double *high, const Latents *l) {
    size_t rows = (size_t)l->hidden;
    float *all = memory_new(3 * rows + 1, sizeof *all);
    memcpy(all, l->error, rows * sizeof *all);
    memcpy(all + rows, l->mean_error, rows * sizeof *all);
    memcpy(all + 2 * rows, l->nearest_error, rows * sizeof *all);
    latent_error_range(low, high, all, 3 * rows);
    free(all);
}

double latent_step_error(const LatentPaint *p, LatentQuantity quantity, int step) {
    MaskGrid grid = p->latents->grid;
    int area = grid.height * grid.width, count = 0;
    double sum = 0;
    for (int i = 0; i < area; i++) {
        int64_t token = (int64_t)step * area + i;
        if (p->state[token] != TOKEN_ASKED)
            continue;
        sum += errors_of(p->latents, quantity)[p->row[token]];
        count++;
    }
    return count ? sum / count : NAN;
}
