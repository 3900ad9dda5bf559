/* Colour operations on 8-bit pictures, with PIL's rounding. See video/augment_pixels.h.
 *
 * Those that treat each level alike are tables of 256 entries. The enhancers are blends
 *     out = from + factor (picture - from)    in float32, cut to 0..255, truncated
 * from black (Brightness), the mean grey (Contrast), the pixel's grey (Color) or the smoothed
 * picture (Sharpness). Sources: Pillow src/libImaging/{Blend,Convert,Filter}.c, src/PIL/
 * {ImageOps,ImageEnhance,ImageStat}.py, torchvision transforms/_functional_pil.py.
 */
#include "video/augment_pixels.h"
#include "base/error.h"
#include <math.h>
#include <string.h>

static uint8_t *line_of(const AugmentPicture *picture, int plane, int y) {
    return picture->planes[plane] + (size_t)y * picture->stride;
}

void augment_copy(uint8_t *scratch, const AugmentPicture *picture) {
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < picture->height; y++, scratch += picture->width)
            memcpy(scratch, line_of(picture, plane, y), picture->width);
}

static void look_up(const AugmentPicture *picture, int plane, const uint8_t table[256]) {
    for (int y = 0; y < picture->height; y++) {
        uint8_t *line = line_of(picture, plane, y);
        for (int x = 0; x < picture->width; x++)
            line[x] = table[line[x]];
    }
}

static void look_up_all(const AugmentPicture *picture, const uint8_t table[256]) {
    for (int plane = 0; plane < 3; plane++)
        look_up(picture, plane, table);
}

static uint8_t byte_of(int value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* PIL's grey: ITU-R 601 weights in units of 2^-16, rounded. */
static uint8_t grey_of(uint8_t red, uint8_t green, uint8_t blue) {
    return (uint8_t)((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
}

static uint8_t blend(int from, int to, float factor) {
    float value = (float)from + factor * (float)(to - from);
    value = value > 0 ? value : 0;
    return (uint8_t)(int)(value < 255 ? value : 255);
}

static void count_levels(int64_t counts[256], const AugmentPicture *picture, int plane) {
    memset(counts, 0, 256 * sizeof *counts);
    for (int y = 0; y < picture->height; y++) {
        const uint8_t *line = line_of(picture, plane, y);
        for (int x = 0; x < picture->width; x++)
            counts[line[x]]++;
    }
}

/* The lowest and the highest level that occurs. */
static void range_of(int range[2], const int64_t counts[256]) {
    range[0] = 0;
    range[1] = 255;
    while (counts[range[0]] == 0)
        range[0]++;
    while (counts[range[1]] == 0)
        range[1]--;
}

/* Each plane's range stretched to 0..255. */
static void auto_contrast(const AugmentPicture *picture) {
    for (int plane = 0; plane < 3; plane++) {
        int64_t counts[256];
        int range[2];
        uint8_t table[256];
        count_levels(counts, picture, plane);
        range_of(range, counts);
        if (range[1] == range[0])
            continue;
        double scale = 255.0 / (range[1] - range[0]), offset = -range[0] * scale;
        for (int i = 0; i < 256; i++)
            table[i] = byte_of((int)(i * scale + offset));
        look_up(picture, plane, table);
    }
}

/* Each plane's levels spread so that all occur about equally often. */
static void equalize(const AugmentPicture *picture) {
    for (int plane = 0; plane < 3; plane++) {
        int64_t counts[256];
        int range[2];
        uint8_t table[256];
        count_levels(counts, picture, plane);
        range_of(range, counts);
        int64_t step = ((int64_t)picture->height * picture->width - counts[range[1]]) / 255;
        if (step == 0)
            continue;
        int64_t sum = step / 2;
        for (int i = 0; i < 256; i++) {
            int64_t level = sum / step;
            table[i] = (uint8_t)(level < 255 ? level : 255);
            sum += counts[i];
        }
        look_up(picture, plane, table);
    }
}

/* Blends every pixel from one grey level. */
static void blend_from(const AugmentPicture *picture, int grey, float factor) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = blend(grey, i, factor);
    look_up_all(picture, table);
}

static int mean_grey(const AugmentPicture *picture) {
    int64_t sum = 0;
    for (int y = 0; y < picture->height; y++) {
        const uint8_t *red = line_of(picture, 0, y), *green = line_of(picture, 1, y),
                      *blue = line_of(picture, 2, y);
        for (int x = 0; x < picture->width; x++)
            sum += grey_of(red[x], green[x], blue[x]);
    }
    return (int)((double)sum / ((double)picture->height * picture->width) + 0.5);
}

/* A line of each plane, which do not overlap: this becomes vector code. */
static void blend_line_from_greys(uint8_t *restrict red, uint8_t *restrict green,
                                  uint8_t *restrict blue, int width, float factor) {
    for (int x = 0; x < width; x++) {
        int grey = grey_of(red[x], green[x], blue[x]);
        red[x] = blend(grey, red[x], factor);
        green[x] = blend(grey, green[x], factor);
        blue[x] = blend(grey, blue[x], factor);
    }
}

static void blend_from_greys(const AugmentPicture *picture, float factor) {
    for (int y = 0; y < picture->height; y++)
        blend_line_from_greys(line_of(picture, 0, y), line_of(picture, 1, y),
                              line_of(picture, 2, y), picture->width, factor);
}

/* Smoothed: the mean of the 3 x 3 pixels around, the middle one 5 times, rounded; the border is
 * not smoothed. (A thirteenth is never halfway, so integers round as PIL's float32 do.) */
static void blend_from_smooth(const AugmentPicture *picture, float factor, uint8_t *scratch) {
    int height = picture->height, width = picture->width;
    augment_copy(scratch, picture);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 1; y < height - 1; y++) {
            const uint8_t *line = scratch + ((size_t)plane * height + y) * width;
            const uint8_t *above = line - width, *below = line + width;
            uint8_t *out = line_of(picture, plane, y);
            for (int x = 1; x < width - 1; x++) {
                int sum = above[x - 1] + above[x] + above[x + 1] + line[x - 1] + 5 * line[x] +
                          line[x + 1] + below[x - 1] + below[x] + below[x + 1];
                out[x] = blend((2 * sum + 13) / 26, line[x], factor);
            }
        }
}

static uint8_t point_value(AugmentKind kind, int level, int value) {
    switch (kind) {
    case AUGMENT_INVERT:
        return byte_of(255 - level);
    case AUGMENT_POSTERIZE:
        return byte_of(level >> (8 - value) << (8 - value));
    case AUGMENT_SOLARIZE:
        return byte_of(level < value ? level : 255 - level);
    default:
        JEPA_ASSERT(kind == AUGMENT_SOLARIZE_ADD);
        return byte_of(level < 128 ? level + value : level);
    }
}

void augment_colors(const AugmentPicture *picture, AugmentKind kind, double value,
                    uint8_t *scratch) {
    uint8_t table[256];
    float factor = (float)value;
    switch (kind) {
    case AUGMENT_AUTO_CONTRAST:
        auto_contrast(picture);
        break;
    case AUGMENT_EQUALIZE:
        equalize(picture);
        break;
    case AUGMENT_COLOR:
        blend_from_greys(picture, factor);
        break;
    case AUGMENT_CONTRAST:
        blend_from(picture, mean_grey(picture), factor);
        break;
    case AUGMENT_BRIGHTNESS:
        blend_from(picture, 0, factor);
        break;
    case AUGMENT_SHARPNESS:
        blend_from_smooth(picture, factor, scratch);
        break;
    default:
        JEPA_ASSERT(kind != AUGMENT_POSTERIZE || (value >= 0 && value <= 8));
        for (int i = 0; i < 256; i++)
            table[i] = point_value(kind, i, (int)value);
        look_up_all(picture, table);
    }
}

/* HSV in bytes, PIL's way: hue is a sixth of
 *     (max - blue) - (max - green)  over  max - min    where red is the greatest, and so on
 * from 0 to 255 for a turn, and both ways truncated or rounded as PIL does, float32 and all. */
typedef struct HueTables {
    uint8_t sector[256]; /* of the turn: 0..5 */
    float within[256];   /* place in the sector, 0 to 1 */
    float share[256];    /* saturation / 255 */
} HueTables;

static void hue_tables(HueTables *tables) {
    for (int i = 0; i < 256; i++) {
        int sector = i * 6 / 255;
        tables->sector[i] = (uint8_t)(sector % 6);
        tables->within[i] = (float)(i * 6.0 / 255.0 - sector);
        tables->share[i] = (float)(i / 255.0);
    }
}

/* Hue of a pixel that is not grey. */
static uint8_t hue_of(int red, int green, int blue, int greatest, int least) {
    float range = (float)(greatest - least), hue;
    float from_red = (float)(greatest - red) / range,
          from_green = (float)(greatest - green) / range,
          from_blue = (float)(greatest - blue) / range;
    if (red == greatest)
        hue = from_blue - from_green;
    else if (green == greatest)
        hue = (float)(2.0 + from_red - from_blue);
    else
        hue = (float)(4.0 + from_green - from_red);
    double turns = hue / 6.0 + 1.0; /* 5/6 to 11/6 */
    hue = (float)(turns >= 1 ? turns - 1 : turns);
    return byte_of((int)(hue * 255.0));
}

/* To the nearest, halves up; value >= 0. */
static uint8_t rounded(double value) {
    int whole = (int)value;
    return byte_of(value - whole >= 0.5 ? whole + 1 : whole);
}

static void turn_pixel(uint8_t *red, uint8_t *green, uint8_t *blue, uint8_t shift,
                       const HueTables *tables) {
    /* which of {greatest, least, falling, rising} red, green and blue are in each sector */
    static const uint8_t source[6][3] = {{0, 3, 1}, {2, 0, 1}, {1, 0, 3},
                                         {1, 2, 0}, {3, 1, 0}, {0, 1, 2}};
    int greatest = *red > *green ? *red : *green, least = *red < *green ? *red : *green;
    greatest = greatest > *blue ? greatest : *blue;
    least = least < *blue ? least : *blue;
    if (greatest == least)
        return; /* grey stays */
    uint8_t hue = (uint8_t)(hue_of(*red, *green, *blue, greatest, least) + shift);
    int saturation = (int)((float)(greatest - least) / (float)greatest * 255.0);
    float share = tables->share[saturation], within = tables->within[hue];
    float falling = share * within;
    uint8_t levels[4] = {(uint8_t)greatest, rounded(greatest * (1.0 - share)),
                         rounded(greatest * (1.0 - falling)),
                         rounded(greatest * (1.0 - share * (1.0 - within)))};
    const uint8_t *which = source[tables->sector[hue]];
    *red = levels[which[0]];
    *green = levels[which[1]];
    *blue = levels[which[2]];
}

void augment_hue(const AugmentPicture *picture, double turns) {
    HueTables tables;
    JEPA_ASSERT(turns >= -0.5 && turns <= 0.5);
    uint8_t shift = (uint8_t)(int)(turns * 255);
    hue_tables(&tables);
    for (int y = 0; y < picture->height; y++) {
        uint8_t *red = line_of(picture, 0, y), *green = line_of(picture, 1, y),
                *blue = line_of(picture, 2, y);
        for (int x = 0; x < picture->width; x++)
            turn_pixel(red + x, green + x, blue + x, shift, &tables);
    }
}
