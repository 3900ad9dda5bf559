/* Choosing a GIF's colours. See video/encode_gif.h. */
#include "video/encode_gif.h"
#include "base/error.h"
#include "video/palette.h"
#include <stdlib.h>
#include <string.h>

#define COLORS    (GIF_ENTRIES - 1)
#define SAMPLE    ((int64_t)1 << 21) /* pixels that the colours are chosen from */
#define WORSE     3.0                /* times its own colours' error that a picture bears, */
#define NO_MATTER 12.0               /* and squared levels that do not matter */

typedef struct Held {
    uint8_t *rgb;
    int64_t pts;
} Held;

struct GifColors {
    size_t width, height;
    Held *held;
    size_t count, next; /* held pictures; the first that was not taken */
    bool chosen;
    uint8_t palette[COLORS][3];
    int colors;
};

GifColors *gif_colors_new(int width, int height) {
    GifColors *gif = memory_new(1, sizeof *gif);
    gif->width = (size_t)width;
    gif->height = (size_t)height;
    return gif;
}

void gif_colors_free(GifColors *gif) {
    if (!gif)
        return;
    for (size_t i = 0; i < gif->count; i++)
        free(gif->held[i].rgb);
    free(gif->held);
    free(gif);
}

bool gif_hold(GifColors *gif, const uint8_t *rgb, int64_t pts) {
    size_t bytes = gif->width * gif->height * 3;
    if (gif->count && (gif->count + 1) * bytes > GIF_HELD_BYTES)
        return false;
    if ((gif->count & (gif->count + 1)) == 0)
        gif->held = memory_grow(gif->held, 2 * gif->count + 2, sizeof *gif->held);
    Held *held = &gif->held[gif->count++];
    *held = (Held){memory_new(bytes, 1), pts};
    memcpy(held->rgb, rgb, bytes);
    return true;
}

bool gif_holds(const GifColors *gif) {
    return !gif->chosen;
}

void gif_choose(GifColors *gif) {
    int64_t area = (int64_t)(gif->width * gif->height), all = area * (int64_t)gif->count, taken = 0;
    int64_t step = all / SAMPLE + 1;
    uint8_t *sample = memory_new((size_t)(all / step + 1), 3);
    for (int64_t i = 0; i < all; i += step)
        memcpy(sample + 3 * taken++, gif->held[i / area].rgb + 3 * (i % area), 3);
    gif->colors = palette_choose(gif->palette, COLORS, sample, taken);
    gif->chosen = true;
    free(sample);
}

const uint8_t *gif_next(GifColors *gif, int64_t *pts) {
    if (gif->next > 0) {
        free(gif->held[gif->next - 1].rgb);
        gif->held[gif->next - 1].rgb = NULL;
    }
    if (gif->next == gif->count)
        return NULL;
    *pts = gif->held[gif->next].pts;
    return gif->held[gif->next++].rgb;
}

void gif_fill(GifColors *gif, uint8_t *index, int stride, uint32_t entries[GIF_ENTRIES],
              const uint8_t *rgb) {
    int64_t count = (int64_t)(gif->width * gif->height);
    uint8_t own[COLORS][3], *indices = memory_new((size_t)count, 1);
    int colors = palette_choose(own, COLORS, rgb, count);
    double best = palette_apply(indices, own, colors, rgb, count);
    const uint8_t(*palette)[3] = gif->palette;
    if (palette_apply(indices, gif->palette, gif->colors, rgb, count) > WORSE * best + NO_MATTER) {
        palette = own;
        palette_apply(indices, own, colors, rgb, count);
    } else {
        colors = gif->colors;
    }
    for (size_t y = 0; y < gif->height; y++)
        memcpy(index + (ptrdiff_t)y * stride, indices + y * gif->width, gif->width);
    for (int i = 0; i < GIF_ENTRIES; i++) {
        const uint8_t *c = palette[i < colors ? i : 0];
        entries[i] = i < COLORS ? 0xFF000000u | (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2]
                                : 0; /* as before */
    }
    free(indices);
}
