/* Operations on 8-bit pictures, with the results of PIL, which the published probes use. See
 * video/augment.h.
 *
 * Blends: out = base + factor (pixel - base), cut to 0..255, fractions dropped. base is black
 * (brightness), the picture's mean grey (contrast), its own grey (colour), or its smoothed self
 * (sharpness). Grey is (19595 R + 38470 G + 7471 B + 32768) >> 16. Affine operations take each
 * pixel from where it was, by bicubic interpolation over 4 x 4 neighbours, and 128 from outside. */
#include "base/error.h"
#include "video/augment.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#define FILL 128 /* what lies outside of the picture */

static uint8_t cut_byte(int value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static int grey_of(int r, int g, int b) {
    return (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
}

static uint8_t blend(int base, int pixel, float factor) {
    float value = (float)base + factor * (float)(pixel - base);
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

typedef struct Picture {
    uint8_t *const *planes;
    int stride, height, width;
} Picture;

static uint8_t *row_of(const Picture *p, int channel, int y) {
    return p->planes[channel] + (ptrdiff_t)y * p->stride;
}

static void look_up(const Picture *p, int channel, const uint8_t table[256]) {
    for (int y = 0; y < p->height; y++) {
        uint8_t *row = row_of(p, channel, y);
        for (int x = 0; x < p->width; x++)
            row[x] = table[row[x]];
    }
}

static void count_values(int64_t counts[256], const Picture *p, int channel) {
    memset(counts, 0, 256 * sizeof *counts);
    for (int y = 0; y < p->height; y++) {
        const uint8_t *row = row_of(p, channel, y);
        for (int x = 0; x < p->width; x++)
            counts[row[x]]++;
    }
}

/* The darkest value to 0, the brightest to 255, by channel. */
static void auto_contrast(const Picture *p) {
    for (int c = 0; c < 3; c++) {
        int64_t counts[256];
        uint8_t table[256];
        count_values(counts, p, c);
        int low = 0, high = 255;
        while (low < 255 && !counts[low])
            low++;
        while (high > 0 && !counts[high])
            high--;
        if (high <= low)
            continue;
        double scale = 255.0 / (high - low), offset = -low * scale;
        for (int i = 0; i < 256; i++)
            table[i] = cut_byte((int)(i * scale + offset));
        look_up(p, c, table);
    }
}

static void equalize(const Picture *p) {
    for (int c = 0; c < 3; c++) {
        int64_t counts[256], total = 0, last = 0, kinds = 0;
        uint8_t table[256];
        count_values(counts, p, c);
        for (int i = 0; i < 256; i++) {
            total += counts[i];
            kinds += counts[i] > 0;
            last = counts[i] ? counts[i] : last;
        }
        int64_t step = (total - last) / 255, sum = step / 2;
        if (kinds <= 1 || !step)
            continue;
        for (int i = 0; i < 256; i++) {
            table[i] = cut_byte((int)(sum / step));
            sum += counts[i];
        }
        look_up(p, c, table);
    }
}

static uint8_t point_of(AugmentOp op, int i) {
    int value = (int)op.value;
    switch (op.kind) {
    case AUGMENT_INVERT:
        return (uint8_t)(255 - i);
    case AUGMENT_POSTERIZE:
        return (uint8_t)(value >= 8 ? i : i & ~((1 << (8 - value)) - 1));
    case AUGMENT_SOLARIZE:
        return (uint8_t)(i < value ? i : 255 - i);
    case AUGMENT_SOLARIZE_ADD:
        return cut_byte(i < 128 ? i + value : i);
    default: /* brightness: black is the base */
        return blend(0, i, (float)op.value);
    }
}

static void map_points(const Picture *p, AugmentOp op) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = point_of(op, i);
    for (int c = 0; c < 3; c++)
        look_up(p, c, table);
}

static void change_contrast(const Picture *p, double factor) {
    uint8_t table[256];
    double sum = 0;
    for (int y = 0; y < p->height; y++) {
        const uint8_t *r = row_of(p, 0, y), *g = row_of(p, 1, y), *b = row_of(p, 2, y);
        int64_t line = 0;
        for (int x = 0; x < p->width; x++)
            line += grey_of(r[x], g[x], b[x]);
        sum += (double)line;
    }
    int mean = (int)(sum / ((double)p->height * p->width) + 0.5);
    for (int i = 0; i < 256; i++)
        table[i] = blend(mean, i, (float)factor);
    for (int c = 0; c < 3; c++)
        look_up(p, c, table);
}

static void change_colour(const Picture *p, double factor) {
    for (int y = 0; y < p->height; y++) {
        uint8_t *r = row_of(p, 0, y), *g = row_of(p, 1, y), *b = row_of(p, 2, y);
        for (int x = 0; x < p->width; x++) {
            int grey = grey_of(r[x], g[x], b[x]);
            r[x] = blend(grey, r[x], (float)factor);
            g[x] = blend(grey, g[x], (float)factor);
            b[x] = blend(grey, b[x], (float)factor);
        }
    }
}

static void copy_out(uint8_t *to, const Picture *p, int channel) {
    for (int y = 0; y < p->height; y++)
        memcpy(to + (size_t)y * (size_t)p->width, row_of(p, channel, y), (size_t)p->width);
}

/* Smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, the rim as it is. */
static void change_sharpness(const Picture *p, double factor, uint8_t *scratch) {
    ptrdiff_t w = p->width;
    for (int c = 0; c < 3; c++) {
        copy_out(scratch, p, c);
        for (int y = 1; y + 1 < p->height; y++) {
            const uint8_t *from = scratch + y * w;
            uint8_t *row = row_of(p, c, y);
            for (ptrdiff_t x = 1; x + 1 < w; x++) {
                int sum = 4 * from[x];
                for (ptrdiff_t k = -1; k <= 1; k++)
                    sum += from[x + k - w] + from[x + k] + from[x + k + w];
                row[x] = blend((2 * sum + 13) / 26, from[x], (float)factor);
            }
        }
    }
}

/* ---- hue, through PIL's 8-bit HSV ---- */

static void to_hsv(uint8_t hsv[3], int r, int g, int b) {
    int most = r > g ? (r > b ? r : b) : (g > b ? g : b);
    int least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    hsv[0] = hsv[1] = 0;
    hsv[2] = (uint8_t)most;
    if (most == least)
        return;
    float range = (float)(most - least), s = range / (float)most;
    float rc = (float)(most - r) / range, gc = (float)(most - g) / range,
          bc = (float)(most - b) / range;
    double h = r == most ? bc - gc : g == most ? 2.0 + rc - bc : 4.0 + gc - rc;
    h = fmod((float)h / 6.0 + 1.0, 1.0);
    hsv[0] = cut_byte((int)((float)h * 255.0));
    hsv[1] = cut_byte((int)(s * 255.0));
}

static void from_hsv(uint8_t rgb[3], const uint8_t hsv[3]) {
    int v = hsv[2];
    float at = (float)(hsv[0] * 6.0 / 255.0), fs = (float)hsv[1] / 255.0f;
    int sector = (int)floorf(at);
    float f = at - (float)sector;
    uint8_t p = cut_byte((int)lroundf((float)v * (1.0f - fs)));
    uint8_t q = cut_byte((int)lroundf((float)v * (1.0f - fs * f)));
    uint8_t t = cut_byte((int)lroundf((float)v * (1.0f - fs * (1.0f - f))));
    uint8_t u = (uint8_t)v;
    const uint8_t sectors[6][3] = {{u, t, p}, {q, u, p}, {p, u, t},
                                   {p, q, u}, {t, p, u}, {u, p, q}};
    if (!hsv[1])
        rgb[0] = rgb[1] = rgb[2] = u;
    else
        memcpy(rgb, sectors[sector % 6], 3);
}

static void change_hue(const Picture *p, double turns) {
    uint8_t shift = (uint8_t)(int)(turns * 255);
    for (int y = 0; y < p->height; y++) {
        uint8_t *r = row_of(p, 0, y), *g = row_of(p, 1, y), *b = row_of(p, 2, y);
        for (int x = 0; x < p->width; x++) {
            uint8_t hsv[3], rgb[3];
            to_hsv(hsv, r[x], g[x], b[x]);
            hsv[0] = (uint8_t)(hsv[0] + shift);
            from_hsv(rgb, hsv);
            r[x] = rgb[0], g[x] = rgb[1], b[x] = rgb[2];
        }
    }
}

/* ---- affine ---- */

/* Where output (x, y) comes from: (a0 x + a1 y + a2, a3 x + a4 y + a5), pixel centres at halves. */
static void matrix_of(double a[6], AugmentOp op, int height, int width) {
    const double identity[6] = {1, 0, 0, 0, 1, 0};
    memcpy(a, identity, sizeof identity);
    if (op.kind == AUGMENT_SHEAR_X)
        a[1] = op.value;
    else if (op.kind == AUGMENT_SHEAR_Y)
        a[3] = op.value;
    else if (op.kind == AUGMENT_TRANSLATE_X)
        a[2] = op.value * width;
    else if (op.kind == AUGMENT_TRANSLATE_Y)
        a[5] = op.value * height;
    else {
        double angle = -op.value * 3.14159265358979323846 / 180, cx = width / 2.0,
               cy = height / 2.0;
        a[0] = a[4] = cos(angle);
        a[1] = sin(angle);
        a[3] = -a[1];
        a[2] = cx - a[0] * cx - a[1] * cy;
        a[5] = cy - a[3] * cx - a[4] * cy;
    }
}

static double cubic(const double v[4], double d) {
    double p2 = v[2] - v[0], p3 = 2 * (v[0] - v[1]) + v[2] - v[3], p4 = v[1] - v[0] + v[3] - v[2];
    return v[1] + d * (p2 + d * (p3 + d * p4));
}

static int clamp(int i, int count) {
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

static uint8_t interpolate(const uint8_t *from, int height, int width, int x, int y, double dx,
                           double dy) {
    double rows[4];
    for (int k = 0; k < 4; k++) {
        const uint8_t *row = from + (ptrdiff_t)clamp(y + k, height) * width;
        const double v[4] = {row[clamp(x, width)], row[clamp(x + 1, width)],
                             row[clamp(x + 2, width)], row[clamp(x + 3, width)]};
        rows[k] = cubic(v, dx);
    }
    double value = cubic(rows, dy);
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

static void move_pixels(const Picture *p, AugmentOp op, uint8_t *scratch) {
    double a[6];
    size_t plane = (size_t)p->height * (size_t)p->width;
    matrix_of(a, op, p->height, p->width);
    for (int c = 0; c < 3; c++)
        copy_out(scratch + (size_t)c * plane, p, c);
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            double fx = a[0] * (x + 0.5) + a[1] * (y + 0.5) + a[2];
            double fy = a[3] * (x + 0.5) + a[4] * (y + 0.5) + a[5];
            bool inside = fx >= 0 && fx < p->width && fy >= 0 && fy < p->height;
            double left = floor(fx - 0.5), top = floor(fy - 0.5);
            for (int c = 0; c < 3; c++)
                row_of(p, c, y)[x] = inside ? interpolate(scratch + (size_t)c * plane, p->height,
                                                          p->width, (int)left - 1, (int)top - 1,
                                                          fx - 0.5 - left, fy - 0.5 - top)
                                            : FILL;
        }
}

void augment_apply(uint8_t *const planes[3], int stride, int height, int width, AugmentOp op,
                   uint8_t *scratch) {
    Picture picture = {planes, stride, height, width};
    switch (op.kind) {
    case AUGMENT_AUTO_CONTRAST:
        auto_contrast(&picture);
        break;
    case AUGMENT_EQUALIZE:
        equalize(&picture);
        break;
    case AUGMENT_INVERT:
    case AUGMENT_POSTERIZE:
    case AUGMENT_SOLARIZE:
    case AUGMENT_SOLARIZE_ADD:
    case AUGMENT_BRIGHTNESS:
        map_points(&picture, op);
        break;
    case AUGMENT_CONTRAST:
        change_contrast(&picture, op.value);
        break;
    case AUGMENT_COLOR:
        change_colour(&picture, op.value);
        break;
    case AUGMENT_SHARPNESS:
        change_sharpness(&picture, op.value, scratch);
        break;
    case AUGMENT_HUE:
        change_hue(&picture, op.value);
        break;
    default:
        JEPA_ASSERT(op.kind < AUGMENT_KINDS);
        move_pixels(&picture, op, scratch);
    }
}
