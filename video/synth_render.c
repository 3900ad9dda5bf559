/* Draws a synthetic scene: background, a wall if there is one, objects with anti-aliased edges, the
 * pillar (a screen, where it does not reach from top to bottom) in front.
 *
 * Background: three colours blended by value noise (random numbers on a lattice, smoothly
 * interpolated, four octaves, each twice as fine and half as strong), periodic over the frame so
 * that it can drift for ever. It is made once per video and sampled between its pixels. Objects:
 * the signed distance d to the outline, in pixels and negative inside, gives the coverage clamp(1/2
 * - d, 0, 1); the texture lives in the object's own turned coordinates u, v in [-1, 1]. Everything
 * a picture shows depends on the states at its own t alone: no motion blur, no trace.
 */
#include "video/synth_scene.h"
#include <math.h>
#include <stdlib.h>

#define PI      3.14159265358979323846
#define CORNERS 12 /* most corners of an outline: the cross */

typedef struct Column { /* upright and round, like the pillar */
    int left, columns;  /* of the frame; no columns: there is none */
    float *pixels;      /* [size][columns][4]: RGB 0..255 and coverage 0..1 */
} Column;

struct SynthPainter {
    const SynthScene *scene;
    float *background; /* [size][size][3], 0..255 */
    Column pillar, wall;
};

static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

static double smooth(double x) { /* 0 to 1 with flat ends */
    x = clamp(x, 0, 1);
    return x * x * (3 - 2 * x);
}

/* A fixed random number in [0, 1) for each lattice point: a multiply-xorshift mix of all inputs. */
static double lattice(uint32_t grain, int x, int y) {
    uint32_t h = grain ^ ((uint32_t)x * 0x9E3779B1u) ^ ((uint32_t)y * 0x85EBCA77u);
    h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
    h = (h ^ (h >> 12)) * 0x297A2D39u;
    return (h ^ (h >> 15)) * (1.0 / 4294967296.0);
}

/* Value noise in 0..1 at (x, y) in lattice cells; period: cells after which it repeats, 0 for
 * never. */
static double noise(uint32_t grain, double x, double y, int period) {
    int left = (int)floor(x), top = (int)floor(y);
    double fx = smooth(x - left), fy = smooth(y - top);
    int right = left + 1, bottom = top + 1;
    if (period) {
        left = (left % period + period) % period;
        right = (right % period + period) % period;
        top = (top % period + period) % period;
        bottom = (bottom % period + period) % period;
    }
    double above = lattice(grain, left, top) * (1 - fx) + lattice(grain, right, top) * fx;
    double below = lattice(grain, left, bottom) * (1 - fx) + lattice(grain, right, bottom) * fx;
    return above * (1 - fy) + below * fy;
}

/* Octaves of noise over the unit square, periodic, in 0..1 with mean 1/2. */
static double octaves(uint32_t grain, double x, double y, int cells) {
    double sum = 0, weight = 1, total = 0;
    for (int i = 0; i < 4; i++) {
        sum += weight * noise(grain + (uint32_t)i * 7919u, x * cells, y * cells, cells);
        total += weight;
        weight /= 2;
        cells *= 2;
    }
    return sum / total;
}

static void background_make(SynthPainter *painter) {
    const SynthBackdrop *backdrop = &painter->scene->backdrop;
    int size = painter->scene->size;
    float *out = painter->background;
    for (int row = 0; row < size; row++) {
        for (int column = 0; column < size; column++) {
            double x = (double)column / size, y = (double)row / size;
            double level = smooth((octaves(backdrop->grain, x, y, 3) - 0.22) / 0.56) * 2;
            double light = 0.88 + 0.24 * octaves(backdrop->grain + 1u, x, y, 10);
            int low = level < 1 ? 0 : 1;
            double share = clamp(level - low, 0, 1);
            for (int c = 0; c < 3; c++) {
                double colour = backdrop->colour[low][c] * (1 - share) +
                                backdrop->colour[low + 1][c] * share;
                *out++ = (float)clamp(255 * colour * light, 0, 255);
            }
        }
    }
}

/* A round column around x = centre: brighter in the middle, grain along it, and a dark rim one
 * pixel wide. `top` and `bottom` in pixels: it covers the rows between. */
static Column column_make(int size, double centre, double width, double top, double bottom,
                          const double colour[3], uint32_t grain_seed) {
    Column column = {0};
    int left = (int)floor(centre - width / 2 - 1), right = (int)ceil(centre + width / 2 + 1);
    column.left = left < 0 ? 0 : left;
    column.columns = (right > size ? size : right) - column.left;
    column.pixels = memory_new((size_t)size * (size_t)column.columns * 4, sizeof(float));
    double half = width / 2;
    float *out = column.pixels;
    for (int row = 0; row < size; row++) {
        double within = clamp(row + 1 - top, 0, 1) * clamp(bottom - row, 0, 1);
        for (int i = 0; i < column.columns; i++) {
            double x = column.left + i + 0.5 - centre;
            double across = clamp(x / half, -1, 1);
            double grain = noise(grain_seed, across * 9, row * 6.0 / size, 0);
            double speck = noise(grain_seed + 1u, across * 14, row * 40.0 / size, 0);
            double light = 0.5 + 0.45 * sqrt(1 - 0.97 * across * across) - 0.08 * across;
            light *= 0.84 + 0.2 * grain + 0.12 * speck;
            light *= 0.55 + 0.45 * smooth((half - fabs(x)) / 1.5);
            for (int c = 0; c < 3; c++)
                *out++ = (float)clamp(255 * colour[c] * light, 0, 255);
            *out++ = (float)(clamp(half - fabs(x) + 0.5, 0, 1) * within);
        }
    }
    return column;
}

SynthPainter *synth_painter_new(const SynthScene *scene) {
    SynthPainter *painter = memory_new(1, sizeof *painter);
    const SynthBackdrop *backdrop = &scene->backdrop;
    size_t size = (size_t)scene->size;
    painter->scene = scene;
    painter->background = memory_new(size * size * 3, sizeof(float));
    background_make(painter);
    if (scene->pillar_width > 0)
        painter->pillar = column_make(scene->size, scene->pillar_x, scene->pillar_width,
                                      scene->pillar_top, scene->pillar_bottom, backdrop->pillar,
                                      backdrop->pillar_grain);
    if (scene->wall_width > 0)
        painter->wall = column_make(scene->size, scene->pillar_x, scene->wall_width, 0, scene->size,
                                    backdrop->wall, backdrop->pillar_grain + 2u);
    return painter;
}

void synth_painter_free(SynthPainter *painter) {
    if (!painter)
        return;
    free(painter->background);
    free(painter->pillar.pixels);
    free(painter->wall.pixels);
    free(painter);
}

/* The corners of a shape in the unit circle, in order; 0 for shapes that are round. */
static int outline(double corner[CORNERS][2], SynthShape shape) {
    if (shape == SYNTH_CROSS) {
        const double arm = 0.36, tip = 0.93; /* arm^2 + tip^2 < 1 */
        const double quarter[3][2] = {{arm, arm}, {tip, arm}, {tip, -arm}};
        for (int i = 0; i < 12; i++) { /* each quarter is the first, turned */
            double x = quarter[i % 3][0], y = quarter[i % 3][1];
            for (int turn = 0; turn < i / 3; turn++) {
                double old = x;
                x = y;
                y = -old;
            }
            corner[i][0] = x;
            corner[i][1] = y;
        }
        return 12;
    }
    int count = shape == SYNTH_TRIANGLE  ? 3
                : shape == SYNTH_SQUARE  ? 4
                : shape == SYNTH_HEXAGON ? 6
                : shape == SYNTH_STAR    ? 10
                                         : 0;
    for (int i = 0; i < count; i++) {
        double reach = shape == SYNTH_STAR && i % 2 ? 0.55 : 1;
        corner[i][0] = reach * sin(2 * PI * i / count);
        corner[i][1] = -reach * cos(2 * PI * i / count);
    }
    return count;
}

/* Signed distance from (u, v) to the outline, negative inside; in radii. */
static double distance_to(double corner[CORNERS][2], int corners, SynthShape shape, double u,
                          double v) {
    if (shape == SYNTH_DISC || shape == SYNTH_RING) {
        double r = hypot(u, v);
        return shape == SYNTH_DISC ? r - 1 : fabs(r - 0.69) - 0.31;
    }
    double nearest = 1e9;
    int inside = 0;
    for (int i = 0, j = corners - 1; i < corners; j = i++) {
        double ex = corner[j][0] - corner[i][0], ey = corner[j][1] - corner[i][1];
        double px = u - corner[i][0], py = v - corner[i][1];
        double along = clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1);
        double dx = px - along * ex, dy = py - along * ey;
        nearest = fmin(nearest, dx * dx + dy * dy);
        if ((corner[i][1] > v) != (corner[j][1] > v) &&
            u < corner[i][0] + (v - corner[i][1]) * ex / ey)
            inside = !inside;
    }
    return inside ? -sqrt(nearest) : sqrt(nearest);
}

/* How much of the second colour shows at (u, v): 0..1; `pixel` is one pixel in radii, for soft
 * edges. */
static double texture_at(const SynthObject *object, double u, double v, double pixel) {
    double edge = 0; /* signed distance to the nearest border between the colours, in radii */
    switch (object->texture) {
    case SYNTH_STRIPES: {
        double phase = u * 1.25 + 0.25; /* a band is 0.4 radii wide */
        edge = (0.25 - fabs(phase - floor(phase) - 0.5)) / 1.25;
        break;
    }
    case SYNTH_CHECKS: {
        double a = 0.25 - fabs(u * 0.8 - floor(u * 0.8) - 0.5);
        double b = 0.25 - fabs(v * 0.8 - floor(v * 0.8) - 0.5);
        edge = copysign(fmin(fabs(a), fabs(b)), a * b) / 0.8;
        break;
    }
    case SYNTH_DOTS: {
        double a = u / 0.7, b = v / 0.7;
        edge = (0.31 - hypot(a - floor(a) - 0.5, b - floor(b) - 0.5)) * 0.7;
        break;
    }
    case SYNTH_HALVES:
        edge = u;
        break;
    case SYNTH_WEDGES: {
        double phase = atan2(v, u) * 3 / (2 * PI);
        edge = (0.25 - fabs(phase - floor(phase) - 0.5)) * hypot(u, v) * 2 * PI / 3;
        break;
    }
    case SYNTH_MARBLE: {
        uint32_t grain = (uint32_t)lround(object->colour[0][0] * 1e6); /* its own, kept for life */
        edge = (noise(grain, u * 2.2 + 9, v * 2.2 + 9, 0) - 0.5) * 0.8;
        break;
    }
    case SYNTH_TEXTURES:
        break;
    }
    return clamp(edge / pixel + 0.5, 0, 1);
}

/* Draws the object with its centre at x, which may lie outside the frame. */
static void object_paint(float *picture, const SynthScene *scene, const SynthObject *object,
                         const SynthState *state, double x) {
    double corner[CORNERS][2];
    int corners = outline(corner, object->shape);
    int size = scene->size;
    double radius = scene->radius;
    double cosine = cos(state->angle), sine = sin(state->angle);
    int top = (int)fmax(floor(state->y - radius - 1), 0);
    int bottom = (int)fmin(ceil(state->y + radius + 1), size);
    int left = (int)fmax(floor(x - radius - 1), 0);
    int right = (int)fmin(ceil(x + radius + 1), size);
    for (int row = top; row < bottom; row++) {
        for (int column = left; column < right; column++) {
            double dx = (column + 0.5 - x) / radius, dy = (row + 0.5 - state->y) / radius;
            if (dx * dx + dy * dy > 1.2)
                continue;
            double u = cosine * dx + sine * dy, v = cosine * dy - sine * dx;
            double distance = distance_to(corner, corners, object->shape, u, v) * radius;
            double coverage = clamp(0.5 - distance, 0, 1);
            if (coverage <= 0)
                continue;
            double second = texture_at(object, u, v, 1 / radius);
            double light = 1 - 0.14 * smooth((v + 1) / 2);          /* one end of it is darker */
            light *= 0.45 + 0.55 * smooth((-distance - 0.2) / 1.3); /* dark rim */
            float *pixel = picture + ((size_t)row * (size_t)size + (size_t)column) * 3;
            for (int c = 0; c < 3; c++) {
                double colour = object->colour[0][c] * (1 - second) + object->colour[1][c] * second;
                double mixed = pixel[c] * (1 - coverage) + 255 * colour * light * coverage;
                pixel[c] = (float)mixed;
            }
        }
    }
}

/* The background moved by the drift at t, sampled between its pixels, wrapping around. */
static void background_paint(float *picture, const SynthPainter *painter, int t) {
    const SynthScene *scene = painter->scene;
    int size = scene->size;
    double shift[2], whole[2];
    for (int i = 0; i < 2; i++) {
        double moved = -scene->backdrop.drift[i] * t / size;
        shift[i] = (moved - floor(moved)) * size;
        whole[i] = floor(shift[i]);
    }
    float fx = (float)(shift[0] - whole[0]), fy = (float)(shift[1] - whole[1]);
    for (int row = 0; row < size; row++) {
        int above = (row + (int)whole[1]) % size, below = (above + 1) % size;
        const float *a = painter->background + (size_t)above * (size_t)size * 3;
        const float *b = painter->background + (size_t)below * (size_t)size * 3;
        for (int column = 0; column < size; column++) {
            int left = (column + (int)whole[0]) % size, right = (left + 1) % size;
            for (int c = 0; c < 3; c++) {
                float upper = a[left * 3 + c] * (1 - fx) + a[right * 3 + c] * fx;
                float lower = b[left * 3 + c] * (1 - fx) + b[right * 3 + c] * fx;
                *picture++ = upper * (1 - fy) + lower * fy;
            }
        }
    }
}

static void column_paint(float *picture, const Column *column, int size) {
    for (int row = 0; row < size; row++) {
        float *line = picture + (size_t)row * (size_t)size * 3;
        const float *from = column->pixels + (size_t)row * (size_t)column->columns * 4;
        for (int i = 0; i < column->columns; i++) {
            float *pixel = line + (column->left + i) * 3;
            float coverage = from[i * 4 + 3];
            for (int c = 0; c < 3; c++)
                pixel[c] = pixel[c] * (1 - coverage) + from[i * 4 + c] * coverage;
        }
    }
}

/* The soft shade that the pillar throws to its right. */
static void shade_paint(float *picture, const SynthScene *scene) {
    int size = scene->size;
    double edge = scene->pillar_x + scene->pillar_width / 2, reach = 0.05 * size;
    int top = (int)fmax(ceil(scene->pillar_top), 0);
    int bottom = (int)fmin(floor(scene->pillar_bottom), size);
    for (int row = top; row < bottom; row++) {
        float *line = picture + (size_t)row * (size_t)size * 3;
        for (int column = (int)edge; column < size && column < edge + reach; column++) {
            double shade = 1 - 0.4 * smooth(1 - (column + 0.5 - edge) / reach);
            for (int c = 0; c < 3; c++)
                line[column * 3 + c] *= (float)shade;
        }
    }
}

void synth_paint_states(uint8_t *rgb, const SynthPainter *painter, const SynthState *state, int t) {
    const SynthScene *scene = painter->scene;
    size_t count = (size_t)scene->size * (size_t)scene->size * 3;
    float *picture = memory_new(count, sizeof *picture);
    background_paint(picture, painter, t);
    column_paint(picture, &painter->wall, scene->size);
    for (int i = 0; i < scene->objects; i++)
        for (int copy = -1; copy <= 1 && !state[i].absent; copy++) /* those outside draw nothing */
            object_paint(picture, scene, &scene->object[i], &state[i],
                         state[i].x + copy * scene->world);
    if (scene->pillar_width > 0)
        shade_paint(picture, scene);
    column_paint(picture, &painter->pillar, scene->size);
    for (size_t i = 0; i < count; i++)
        rgb[i] = (uint8_t)clamp(picture[i] + 0.5, 0, 255);
    free(picture);
}

void synth_paint(uint8_t *rgb, const SynthPainter *painter, int t) {
    SynthState state[SYNTH_OBJECTS];
    synth_scene_states(state, painter->scene, t);
    synth_paint_states(rgb, painter, state, t);
}

void synth_render(uint8_t *rgb, const SynthSpec *spec, int label, int number, int t) {
    SynthScene scene;
    synth_scene_make(&scene, spec->seed, spec->size, label, number);
    SynthPainter *painter = synth_painter_new(&scene);
    synth_paint(rgb, painter, t);
    synth_painter_free(painter);
}
