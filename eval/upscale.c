/* Separable resampling, pixel centres aligned: output pixel i looks at (i + 1/2) * in / out - 1/2.
 *
 * The smooth kernel is Catmull and Rom's cubic (Keys, 1981, a = -1/2):
 *     w(x) = 1.5 |x|^3 - 2.5 |x|^2 + 1              for |x| < 1
 *     w(x) = -0.5 |x|^3 + 2.5 |x|^2 - 4 |x| + 2     for |x| < 2
 * stretched by in / out where the image is made smaller, so that nothing flickers. Weights outside
 * the image fall on its edge pixel.
 */
#include "eval/upscale.h"

#include <math.h>
#include <stdlib.h>

static double cubic(double x) {
    x = fabs(x);
    if (x < 1.0) {
        return (1.5 * x - 2.5) * x * x + 1.0;
    }
    return x < 2.0 ? ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 : 0.0;
}

/* Resamples `in` values that lie `in_step` floats apart into `out` values `out_step` apart, three
 * channels at a time. */
static void resample(float *to, int out, size_t out_step, const float *from, int in, size_t in_step,
                     UpscaleMode mode) {
    double ratio = (double)in / out, stretch = fmax(ratio, 1.0);
    for (int i = 0; i < out; i++) {
        double centre = (i + 0.5) * ratio - 0.5;
        double sum[3] = {0.0, 0.0, 0.0}, total = 0.0;
        int first = (int)ceil(centre - 2.0 * stretch), last = (int)floor(centre + 2.0 * stretch);
        if (mode == UPSCALE_NEAREST) {
            first = last = (int)floor((i + 0.5) * ratio);
        }
        for (int j = first; j <= last; j++) {
            double weight = mode == UPSCALE_NEAREST ? 1.0 : cubic((j - centre) / stretch);
            const float *pixel = from + (size_t)(j < 0 ? 0 : j >= in ? in - 1 : j) * in_step;
            for (int c = 0; c < 3; c++) {
                sum[c] += weight * pixel[c];
            }
            total += weight;
        }
        for (int c = 0; c < 3; c++) {
            to[(size_t)i * out_step + (size_t)c] = (float)(sum[c] / total);
        }
    }
}

static void resize(uint8_t *out, int out_height, int out_width, const float *rgb, int height,
                   int width, UpscaleMode mode) {
    JEPA_ASSERT(height >= 1 && width >= 1 && out_height >= 1 && out_width >= 1);
    float *wide = memory_new((size_t)height * (size_t)out_width, 3 * sizeof *wide);
    float *column = memory_new((size_t)out_height, 3 * sizeof *column);
    size_t row = (size_t)out_width * 3;
    for (int y = 0; y < height; y++) {
        resample(wide + (size_t)y * row, out_width, 3, rgb + (size_t)y * (size_t)width * 3, width,
                 3, mode);
    }
    for (int x = 0; x < out_width; x++) {
        resample(column, out_height, 3, wide + (size_t)x * 3, height, row, mode);
        for (int y = 0; y < out_height; y++) {
            for (int c = 0; c < 3; c++) {
                float value = column[(size_t)y * 3 + (size_t)c];
                value = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
                out[(size_t)y * row + (size_t)x * 3 + (size_t)c] = (uint8_t)lroundf(255 * value);
            }
        }
    }
    free(column);
    free(wide);
}

void upscale_bytes(uint8_t *out, int out_height, int out_width, const uint8_t *rgb, int height,
                   int width, UpscaleMode mode) {
    size_t count = (size_t)height * (size_t)width * 3;
    float *floats = memory_new(count, sizeof *floats);
    for (size_t i = 0; i < count; i++) {
        floats[i] = (float)rgb[i] / 255.0f;
    }
    resize(out, out_height, out_width, floats, height, width, mode);
    free(floats);
}

void upscale_floats(uint8_t *out, int out_height, int out_width, const float *rgb, int height,
                    int width, UpscaleMode mode) {
    size_t count = (size_t)height * (size_t)width * 3;
    float *floats = memory_new(count, sizeof *floats);
    for (size_t i = 0; i < count; i++) {
        floats[i] = rgb[i] > 0.0f ? (rgb[i] < 1.0f ? rgb[i] : 1.0f) : 0.0f;
    }
    resize(out, out_height, out_width, floats, height, width, mode);
    free(floats);
}

void upscale_values(uint8_t *out, const float *values, int height, int width, double low,
                    double high, Colormap map) {
    for (size_t i = 0; i < (size_t)height * (size_t)width; i++) {
        double t = isnan(values[i]) ? NAN : high > low ? (values[i] - low) / (high - low) : 0.5;
        Color color = colormap_color(map, t);
        out[3 * i] = color.r;
        out[3 * i + 1] = color.g;
        out[3 * i + 2] = color.b;
    }
}
