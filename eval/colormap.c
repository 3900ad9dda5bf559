/* Colour maps through Oklab, and the palette of Okabe and Ito. See colormap.h. */
#include "eval/colormap.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define TRIPLE_DARK   0.36 /* Oklab lightness */
#define TRIPLE_LIGHT  0.92
#define TRIPLE_CHROMA 0.15 /* at the ends of the other two axes */

/* A stop of a map in cylindrical Oklab: lightness 0..1, chroma, hue in degrees. */
typedef struct Stop {
    double lightness, chroma, hue;
} Stop;

/* Lightness is evenly spaced; chroma stays inside what sRGB can show at that lightness and hue. */
static const Stop depth[] = {
    {0.230, 0.105, 312}, {0.319, 0.125, 296}, {0.407, 0.125, 278},
    {0.496, 0.105, 253}, {0.585, 0.092, 222}, {0.673, 0.105, 186},
    {0.762, 0.145, 154}, {0.851, 0.170, 124}, {0.940, 0.150, 108},
};
static const Stop paper[] = {
    {0.990, 0.003, 240}, {0.882, 0.045, 240}, {0.774, 0.085, 242}, {0.666, 0.115, 246},
    {0.558, 0.125, 251}, {0.450, 0.115, 256}, {0.342, 0.090, 260},
};
/* Written with both hues running through the neutral middle, where chroma is 0. */
static const Stop balance_low[] = {
    {0.400, 0.125, 258}, {0.545, 0.125, 252}, {0.690, 0.095, 247},
    {0.835, 0.050, 243}, {0.975, 0.000, 240},
};
static const Stop balance_high[] = {
    {0.975, 0.000, 55}, {0.835, 0.070, 52}, {0.690, 0.125, 46},
    {0.545, 0.150, 40}, {0.400, 0.120, 33},
};

static double stored(double linear) {
    linear = fmin(fmax(linear, 0.0), 1.0);
    return linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
}

/* Oklab to linear sRGB; the two matrices are Ottosson's. */
static void oklab_linear(double rgb[3], double l, double a, double b) {
    double x = pow(l + 0.3963377774 * a + 0.2158037573 * b, 3);
    double y = pow(l - 0.1055613458 * a - 0.0638541728 * b, 3);
    double z = pow(l - 0.0894841775 * a - 1.2914855480 * b, 3);
    rgb[0] = 4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z;
    rgb[1] = -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z;
    rgb[2] = -0.0041960863 * x - 0.7034186147 * y + 1.7076147010 * z;
}

static Color oklab(double l, double a, double b) {
    double rgb[3];
    oklab_linear(rgb, l, a, b);
    return (Color){(uint8_t)lround(255 * stored(rgb[0])), (uint8_t)lround(255 * stored(rgb[1])),
                   (uint8_t)lround(255 * stored(rgb[2]))};
}

static bool inside_srgb(double l, double a, double b) {
    double rgb[3];
    oklab_linear(rgb, l, a, b);
    for (int c = 0; c < 3; c++)
        if (rgb[c] < 0 || rgb[c] > 1)
            return false;
    return true;
}

static Color along(const Stop *stops, size_t count, double t) {
    double place = t * (double)(count - 1);
    size_t i = place >= (double)(count - 1) ? count - 2 : (size_t)place;
    double part = place - (double)i;
    const Stop *p = &stops[i], *q = &stops[i + 1];
    double lightness = p->lightness + (q->lightness - p->lightness) * part;
    double chroma = p->chroma + (q->chroma - p->chroma) * part;
    double hue = (p->hue + (q->hue - p->hue) * part) * (M_PI / 180.0);
    return oklab(lightness, chroma * cos(hue), chroma * sin(hue));
}

#define ALONG(stops, t) along(stops, sizeof(stops) / sizeof((stops)[0]), t)

Color colormap_color(Colormap map, double t) {
    if (isnan(t)) {
        return COLOR_VOID;
    }
    t = fmin(fmax(t, 0.0), 1.0);
    if (map == COLORMAP_DEPTH) {
        return ALONG(depth, t);
    }
    if (map == COLORMAP_PAPER) {
        return ALONG(paper, t);
    }
    return t < 0.5 ? ALONG(balance_low, 2 * t) : ALONG(balance_high, 2 * t - 1);
}

Color colormap_triple(const float place[3]) {
    double t[3];
    for (int k = 0; k < 3; k++)
        t[k] = isnan(place[k]) ? 0.5 : fmin(fmax((double)place[k], 0.0), 1.0);
    double l = TRIPLE_DARK + (TRIPLE_LIGHT - TRIPLE_DARK) * t[0];
    double a = TRIPLE_CHROMA * (2 * t[2] - 1), b = TRIPLE_CHROMA * (2 * t[1] - 1);
    double inside = 0, outside = 1;
    if (inside_srgb(l, a, b))
        return oklab(l, a, b);
    while (outside - inside > 1.0 / 256) { /* grey of every lightness is inside */
        double middle = (inside + outside) / 2;
        if (inside_srgb(l, middle * a, middle * b))
            inside = middle;
        else
            outside = middle;
    }
    return oklab(l, inside * a, inside * b);
}

Color palette_color(int i) {
    static const Color palette[PALETTE_COLORS] = {
        {0x00, 0x72, 0xB2}, {0xD5, 0x5E, 0x00}, {0x00, 0x9E, 0x73}, {0xCC, 0x79, 0xA7},
        {0xE6, 0x9F, 0x00}, {0x56, 0xB4, 0xE9}, {0x00, 0x00, 0x00}, {0xF0, 0xE4, 0x42},
    };
    return palette[((i % PALETTE_COLORS) + PALETTE_COLORS) % PALETTE_COLORS];
}
