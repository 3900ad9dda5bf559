/* Rotation, shear and shift of 8-bit pictures, equal to PIL's. See video/augment_pixels.h.
 *
 * The centre of output pixel (x, y) comes from
 *     (u, v) = (m0 (x+1/2) + m1 (y+1/2) + m2, m3 (x+1/2) + m4 (y+1/2) + m5)
 * of the source; outside of it the output is grey. Inside, 4 x 4 pixels around are interpolated by
 * cubics through the middle two with slope (right - left) at each, which is Keys' kernel with
 * a = -1 (PIL resizes with -1/2 but transforms with -1), beyond the border the border repeated. The
 * result is truncated, so the sums are made in PIL's order and in double. Sources: Pillow
 * src/libImaging/Geometry.c, Image.rotate of src/PIL/Image.py.
 */
#include "base/error.h"
#include "video/augment_pixels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL 128

/* Rounded to 15 decimals, as Python rounds: through decimal digits. */
static double rounded15(double value) {
    char text[32];
    snprintf(text, sizeof text, "%.15f", value);
    return strtod(text, NULL);
}

static void rotation(double matrix[6], double degrees, int width, int height) {
    double turned = fmod(degrees, 360), x = -(width / 2.0), y = -(height / 2.0);
    if (turned < 0)
        turned += 360;
    double angle = -(turned * (M_PI / 180));
    double cosine = rounded15(cos(angle)), sine = rounded15(sin(angle)),
           other = rounded15(-sin(angle));
    const double values[6] = {cosine, sine,   cosine * x + sine * y - x,
                              other,  cosine, other * x + cosine * y - y};
    memcpy(matrix, values, sizeof values);
}

static double cubic(double a, double b, double c, double d, double place) {
    double p2 = -a + c, p3 = 2 * (a - b) + c - d, p4 = -a + b - c + d;
    return b + place * (p2 + place * (p3 + place * p4));
}

static uint8_t truncated(double value) {
    return (uint8_t)(value <= 0 ? 0 : value >= 255 ? 255 : value);
}

/* Where a pixel comes from: 4 columns, 4 lines (offsets), and the place between the middle two. */
typedef struct Source {
    size_t columns[4], lines[4];
    double dx, dy;
} Source;

static int clamped(int place, int count) {
    return place < 0 ? 0 : place < count ? place : count - 1;
}

static int floor_of(double value) {
    int whole = (int)value;
    return value < whole ? whole - 1 : whole;
}

static Source source_of(double u, double v, int width, int height) {
    int x = floor_of(u - 0.5), y = floor_of(v - 0.5);
    Source source = {.dx = u - 0.5 - x, .dy = v - 0.5 - y};
    for (int i = 0; i < 4; i++) {
        source.columns[i] = (size_t)clamped(x - 1 + i, width);
        source.lines[i] = (size_t)clamped(y - 1 + i, height) * (size_t)width;
    }
    return source;
}

/* cubic() along a line; the sums of bytes are the same in integers, and faster. */
static double line_value(const uint8_t *line, const Source *at) {
    int a = line[at->columns[0]], b = line[at->columns[1]], c = line[at->columns[2]],
        d = line[at->columns[3]], p2 = c - a, p3 = 2 * (a - b) + c - d, p4 = b - a + d - c;
    return b + at->dx * (p2 + at->dx * (p3 + at->dx * p4));
}

/* A place on a line or column of pixels needs no interpolation across it: there cubic() is exact.
 */
static uint8_t sample(const uint8_t *plane, const Source *at) {
    const size_t *y = at->lines, column = at->columns[1];
    if (at->dy == 0)
        return truncated(line_value(plane + y[1], at));
    if (at->dx == 0)
        return truncated(cubic(plane[y[0] + column], plane[y[1] + column], plane[y[2] + column],
                               plane[y[3] + column], at->dy));
    return truncated(cubic(line_value(plane + y[0], at), line_value(plane + y[1], at),
                           line_value(plane + y[2], at), line_value(plane + y[3], at), at->dy));
}

static void transform(const AugmentPicture *picture, const double m[6], uint8_t *scratch) {
    int height = picture->height, width = picture->width;
    size_t plane_size = (size_t)height * (size_t)width;
    augment_copy(scratch, picture);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double u = m[0] * (x + 0.5) + m[1] * (y + 0.5) + m[2];
            double v = m[3] * (x + 0.5) + m[4] * (y + 0.5) + m[5];
            bool inside = u >= 0 && u < width && v >= 0 && v < height;
            Source source = {0};
            if (inside)
                source = source_of(u, v, width, height);
            for (int plane = 0; plane < 3; plane++)
                picture->planes[plane][(size_t)y * picture->stride + x] =
                    inside ? sample(scratch + plane * plane_size, &source) : FILL;
        }
}

void augment_geometry(const AugmentPicture *picture, AugmentKind kind, double value,
                      uint8_t *scratch) {
    double matrix[6] = {1, 0, 0, 0, 1, 0};
    switch (kind) {
    case AUGMENT_ROTATE:
        rotation(matrix, value, picture->width, picture->height);
        break;
    case AUGMENT_SHEAR_X:
        matrix[1] = value;
        break;
    case AUGMENT_SHEAR_Y:
        matrix[3] = value;
        break;
    case AUGMENT_TRANSLATE_X:
        matrix[2] = value * picture->width;
        break;
    default:
        JEPA_ASSERT(kind == AUGMENT_TRANSLATE_Y);
        matrix[5] = value * picture->height;
    }
    transform(picture, matrix, scratch);
}
