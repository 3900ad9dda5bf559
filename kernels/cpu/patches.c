/* Cutting patches on the CPU. See kernels/patches.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <string.h>

void cpu_patches_cut(float *patches, const uint8_t *pixels, const float *values,
                     const uint8_t *mirror, const int32_t *clip, const int32_t *token, int64_t rows,
                     const PatchShape *shape, Device *device) {
    int64_t p = shape->patch, tubelet = shape->tubelet, width = shape->width;
    int64_t grid_h = shape->height / p, grid_w = shape->width / p;
    int64_t frame = (int64_t)shape->height * width, channel = frame * shape->frames;
    float scale[PATCH_CHANNELS], shift[PATCH_CHANNELS];
    for (int c = 0; c < PATCH_CHANNELS; c++) {
        scale[c] = 1.0f / (255.0f * patch_std[c]);
        shift[c] = -patch_mean[c] / patch_std[c];
    }
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        float *row = patches + i * PATCH_CHANNELS * tubelet * p * p;
        if (token[i] < 0) {
            memset(row, 0, (size_t)(PATCH_CHANNELS * tubelet * p * p) * sizeof *row);
            continue;
        }
        int64_t t = token[i] / (grid_h * grid_w), h = token[i] / grid_w % grid_h,
                w = token[i] % grid_w;
        int flip = mirror && mirror[clip[i]];
        /* A mirrored clip: the patch at column w shows the pixels of column W-1-w, reversed. */
        int64_t left = flip ? width - 1 - w * p : w * p, next = flip ? -1 : 1;
        for (int64_t c = 0; c < PATCH_CHANNELS; c++)
            for (int64_t f = 0; f < tubelet; f++)
                for (int64_t y = 0; y < p; y++, row += p) {
                    int64_t from = clip[i] * PATCH_CHANNELS * channel + c * channel +
                                   (t * tubelet + f) * frame + (h * p + y) * width + left;
                    if (pixels)
                        for (int64_t x = 0; x < p; x++)
                            row[x] = (float)pixels[from + x * next] * scale[c] + shift[c];
                    else
                        for (int64_t x = 0; x < p; x++)
                            row[x] = values[from + x * next];
                }
    }
}
