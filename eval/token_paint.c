/* Painting tiles of tokens. See eval/token_paint.h. */
#include "eval/token_paint.h"
#include "eval/axis.h"
#include "eval/colormap.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HATCH       7    /* pixels from one line of the hatching to the next */
#define TINT        0.62 /* share of the mask's colour over a hidden token */
#define PALE        0.75 /* share of white over what is left out */
#define LINE        2    /* pixels: white */
#define LINE_BELOW  4    /* pixels: dark, beneath it */
#define COLOR_DARK  ((Color){60, 60, 60})
#define WHOLE_LEAST 0.75 /* share of the wished size that whole pixels are worth */
#define RANGE_STEPS 12   /* ticks between which a range is rounded */

typedef struct Box {
    int left, top, right, bottom;
} Box;

static Box box_of(const Canvas *tile, MaskGrid grid, int y, int x) {
    return (Box){x * tile->width / grid.width, y * tile->height / grid.height,
                 (x + 1) * tile->width / grid.width, (y + 1) * tile->height / grid.height};
}

/* The token that a pixel lies in. */
static int token_at(const Canvas *tile, MaskGrid grid, int y, int x) {
    int ty = (y * grid.height + grid.height - 1) / tile->height,
        tx = (x * grid.width + grid.width - 1) / tile->width;
    ty = ty < grid.height ? ty : grid.height - 1;
    tx = tx < grid.width ? tx : grid.width - 1;
    /* box_of rounds down: the last token that begins at or before the pixel */
    while (ty > 0 && ty * tile->height / grid.height > y)
        ty--;
    while (tx > 0 && tx * tile->width / grid.width > x)
        tx--;
    return ty * grid.width + tx;
}

void token_paint_picture(Canvas *tile, const uint8_t *rgb) {
    canvas_image(tile, 0, 0, rgb, tile->width, tile->height);
}

void token_paint_colors(Canvas *tile, MaskGrid grid, const Color *colors, UpscaleMode mode) {
    if (mode == UPSCALE_SMOOTH) {
        size_t area = (size_t)grid.height * (size_t)grid.width;
        uint8_t *small = memory_new(area, 3);
        for (size_t i = 0; i < area; i++) {
            small[3 * i] = colors[i].r;
            small[3 * i + 1] = colors[i].g;
            small[3 * i + 2] = colors[i].b;
        }
        upscale_bytes(tile->rgb, tile->height, tile->width, small, grid.height, grid.width, mode);
        free(small);
        return;
    }
    for (int y = 0; y < grid.height; y++)
        for (int x = 0; x < grid.width; x++) {
            Box box = box_of(tile, grid, y, x);
            canvas_rectangle(tile, box.left, box.top, box.right - box.left, box.bottom - box.top,
                             colors[y * grid.width + x], 1);
        }
}

void token_paint_values(Canvas *tile, MaskGrid grid, const float *values, double low, double high,
                        Colormap map, UpscaleMode mode) {
    size_t area = (size_t)grid.height * (size_t)grid.width;
    if (mode == UPSCALE_SMOOTH) { /* the values are blended, then coloured */
        size_t pixels = (size_t)tile->height * (size_t)tile->width;
        float *places = memory_new(3 * area, sizeof *places);
        for (size_t i = 0; i < 3 * area; i++)
            places[i] = (float)((values[i / 3] - low) / (high - low));
        upscale_floats(tile->rgb, tile->height, tile->width, places, grid.height, grid.width, mode);
        for (size_t i = 0; i < pixels; i++) {
            Color color = colormap_color(map, tile->rgb[3 * i] / 255.0);
            tile->rgb[3 * i] = color.r;
            tile->rgb[3 * i + 1] = color.g;
            tile->rgb[3 * i + 2] = color.b;
        }
        free(places);
        return;
    }
    Color *colors = memory_new(area, sizeof *colors);
    for (size_t i = 0; i < area; i++)
        colors[i] = isnan(values[i]) ? COLOR_CONTEXT
                                     : colormap_color(map, (values[i] - low) / (high - low));
    token_paint_colors(tile, grid, colors, mode);
    free(colors);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void token_range(double *low, double *high, const float *values, size_t count) {
    *low = 0;
    *high = 1;
    if (!count)
        return;
    float *sorted = memory_new(count, sizeof *sorted);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    Axis axis = axis_linear(sorted[count / 100], sorted[count - 1 - count / 100], RANGE_STEPS,
                            true);
    *low = axis.low;
    *high = axis.high;
    free(sorted);
}

void token_paint_mask(Canvas *tile, MaskGrid grid, const TokenState *state) {
    for (int y = 0; y < tile->height; y++)
        for (int x = 0; x < tile->width; x++) {
            TokenState of = state[token_at(tile, grid, y, x)];
            if (of == TOKEN_SEEN)
                continue;
            Color c = canvas_get(tile, x, y);
            uint8_t grey = (uint8_t)((c.r * 54 + c.g * 183 + c.b * 19) / 256);
            canvas_blend(tile, x, y, (Color){grey, grey, grey}, 1);
            if (of == TOKEN_LEFT)
                canvas_blend(tile, x, y, COLOR_PAPER, PALE);
            else
                canvas_blend(tile, x, y, COLOR_HIDDEN, (x + y) % HATCH < 2 ? 1 : TINT);
        }
}

/* Lines `wide` pixels wide along the sides of a token that are named, in the middle of the border
 * to the next token, and within the tile at its own border. */
typedef struct Sides {
    bool left, top, right, bottom;
} Sides;

static void paint_sides(Canvas *tile, Box box, Sides sides, int wide, Color color) {
    int half = wide / 2, in = (LINE_BELOW - wide) / 2; /* the dark one is outermost */
    int left = box.left > 0 ? box.left - half : in, top = box.top > 0 ? box.top - half : in,
        right = box.right < tile->width ? box.right + half : tile->width - in,
        bottom = box.bottom < tile->height ? box.bottom + half : tile->height - in;
    if (sides.left)
        canvas_rectangle(tile, left, top, wide, bottom - top, color, 1);
    if (sides.right)
        canvas_rectangle(tile, right - wide, top, wide, bottom - top, color, 1);
    if (sides.top)
        canvas_rectangle(tile, left, top, right - left, wide, color, 1);
    if (sides.bottom)
        canvas_rectangle(tile, left, bottom - wide, right - left, wide, color, 1);
}

static bool is_asked(MaskGrid grid, const TokenState *state, int y, int x) {
    return y >= 0 && x >= 0 && y < grid.height && x < grid.width &&
           state[y * grid.width + x] == TOKEN_ASKED;
}

void token_paint_edges(Canvas *tile, MaskGrid grid, const TokenState *state) {
    for (int pass = 0; pass < 2; pass++) /* first all of the dark, then the white */
        for (int y = 0; y < grid.height; y++)
            for (int x = 0; x < grid.width; x++) {
                Sides sides = {!is_asked(grid, state, y, x - 1), !is_asked(grid, state, y - 1, x),
                               !is_asked(grid, state, y, x + 1), !is_asked(grid, state, y + 1, x)};
                if (is_asked(grid, state, y, x))
                    paint_sides(tile, box_of(tile, grid, y, x), sides, pass ? LINE : LINE_BELOW,
                                pass ? COLOR_PAPER : COLOR_DARK);
            }
}

void token_paint_frame(Canvas *tile, MaskGrid grid, int y, int x) {
    Box box = box_of(tile, grid, y, x);
    int out = 2;
    canvas_frame(tile, box.left - out, box.top - out, box.right - box.left + 2 * out,
                 box.bottom - box.top + 2 * out, 4, (Color){0, 0, 0});
    canvas_frame(tile, box.left - out + 1, box.top - out + 1, box.right - box.left + 2 * out - 2,
                 box.bottom - box.top + 2 * out - 2, 2, COLOR_PAPER);
}

int token_tile(int *width, MaskGrid grid, int wished, int most) {
    int longest = grid.height > grid.width ? grid.height : grid.width;
    double token = (double)wished / grid.height;
    if (token * longest > most)
        token = (double)most / longest;
    if ((int)token >= WHOLE_LEAST * token)
        token = (int)token;
    int height = (int)(token * grid.height + 0.5);
    *width = (int)(token * grid.width + 0.5);
    *width = *width < 1 ? 1 : *width;
    return height < 1 ? 1 : height;
}
