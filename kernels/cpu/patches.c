/* Cutting patches on the CPU. See kernels/patches.h. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <string.h>

/* A line of a patch, from the first pixel on to the right, or (step -1) to the left. */
INLINE void line_loop(Activation *row, const uint8_t *pixels, int64_t count, int64_t step,
                      float scale, float shift, Precision p) {
    if (step == 1)
        for (int64_t x = 0; x < count; x++)
            activation_put(row, x, (float)pixels[x] * scale + shift, p);
    else
        for (int64_t x = 0; x < count; x++)
            activation_put(row, x, (float)pixels[-x] * scale + shift, p);
}
MANY_CPUS static void line_float(float *row, const uint8_t *pixels, int64_t count, int64_t step,
                                 float scale, float shift) {
    line_loop(row, pixels, count, step, scale, shift, PRECISION_FLOAT32);
}
MANY_CPUS static void line_bf16(uint16_t *row, const uint8_t *pixels, int64_t count, int64_t step,
                                float scale, float shift) {
    line_loop(row, pixels, count, step, scale, shift, PRECISION_BFLOAT16);
}

void cpu_patches_cut(Activation *patches, const uint8_t *pixels, const float *values,
                     const uint8_t *mirror, const int32_t *clip, const int32_t *token, int64_t rows,
                     const PatchShape *shape, Device *device) {
    Precision precision = device->precision;
    int64_t p = shape->patch, tubelet = shape->tubelet, width = shape->width;
    int64_t grid_h = shape->height / p, grid_w = shape->width / p;
    int64_t frame = (int64_t)shape->height * width, channel = frame * shape->frames;
    int64_t size = PATCH_CHANNELS * tubelet * p * p;
    float scale[PATCH_CHANNELS], shift[PATCH_CHANNELS];
    for (int c = 0; c < PATCH_CHANNELS; c++) {
        scale[c] = 1.0f / (255.0f * patch_std[c]);
        shift[c] = -patch_mean[c] / patch_std[c];
    }
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        if (token[i] < 0) {
            memset(activation_at(patches, i * size, precision), 0,
                   (size_t)size * activation_size(precision));
            continue;
        }
        int64_t t = token[i] / (grid_h * grid_w), h = token[i] / grid_w % grid_h,
                w = token[i] % grid_w;
        int flip = mirror && mirror[clip[i]];
        /* A mirrored clip: the patch at column w shows the pixels of column W-1-w, reversed. */
        int64_t left = flip ? width - 1 - w * p : w * p, next = flip ? -1 : 1, to = i * size;
        for (int64_t c = 0; c < PATCH_CHANNELS; c++)
            for (int64_t f = 0; f < tubelet; f++)
                for (int64_t y = 0; y < p; y++, to += p) {
                    int64_t from = clip[i] * PATCH_CHANNELS * channel + c * channel +
                                   (t * tubelet + f) * frame + (h * p + y) * width + left;
                    if (!pixels)
                        for (int64_t x = 0; x < p; x++)
                            activation_put(patches, to + x, values[from + x * next], precision);
                    else if (precision == PRECISION_BFLOAT16)
                        line_bf16((uint16_t *)patches + to, pixels + from, p, next, scale[c],
                                  shift[c]);
                    else
                        line_float((float *)patches + to, pixels + from, p, next, scale[c],
                                   shift[c]);
                }
    }
}
