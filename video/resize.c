/* The published resize. See video/resize.h. */
#include "video/resize.h"
#include "base/error.h"
#include <stdlib.h>

const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f};
const float imagenet_std[3] = {0.229f, 0.224f, 0.225f};

typedef struct Tap {
    int first, next;   /* neighbours */
    float keep, share; /* their weights */
} Tap;

static void fill_taps(Tap *taps, int in, int out) {
    float scale = (float)in / (float)out;
    for (int i = 0; i < out; i++) {
        float at = scale * ((float)i + 0.5f) - 0.5f;
        at = at < 0 ? 0 : at;
        int first = (int)at < in - 1 ? (int)at : in - 1;
        taps[i].first = first;
        taps[i].next = first < in - 1 ? first + 1 : first;
        taps[i].share = at - (float)first;
        taps[i].keep = 1 - taps[i].share;
    }
}

void resize_published(float *out, size_t channel, const uint8_t *const planes[3], int stride,
                      int top, int left, int height, int width, int rows, int columns,
                      bool mirror) {
    Tap *taps = memory_new((size_t)rows + (size_t)columns, sizeof *taps), *across = taps + rows;
    fill_taps(taps, height, rows);
    fill_taps(across, width, columns);
    for (int c = 0; c < 3; c++) {
        float mean = imagenet_mean[c] * 255, deviation = imagenet_std[c] * 255;
        const uint8_t *window = planes[c] + (ptrdiff_t)top * stride + left;
        for (int y = 0; y < rows; y++) {
            const uint8_t *upper = window + (ptrdiff_t)taps[y].first * stride;
            const uint8_t *lower = window + (ptrdiff_t)taps[y].next * stride;
            float *row = out + (size_t)c * channel + (size_t)y * (size_t)columns;
            for (int x = 0; x < columns; x++) {
                Tap t = across[x];
                float above = t.keep * upper[t.first] + t.share * upper[t.next];
                float below = t.keep * lower[t.first] + t.share * lower[t.next];
                float value = taps[y].keep * above + taps[y].share * below;
                row[mirror ? columns - 1 - x : x] = (value - mean) / deviation;
            }
        }
    }
    free(taps);
}
