/* A picture in memory: RGB, 8 bits a channel, and the few ways to draw into it.
 *
 * Coordinates are pixels, x to the right, y down; (0, 0) is the top left corner of the top left
 * pixel, whose centre is (0.5, 0.5). Whatever lies outside the picture or the clip rectangle is cut
 * away silently. Colours are mixed as stored (sRGB values). Lines are anti-aliased by distance: a
 * pixel whose centre lies d from the middle of a stroke of width w is covered by
 *     clamp(w / 2 + 1 / 2 - d, 0, 1)
 * and a whole polyline is blended once, so that joints and crossings do not darken.
 */
#ifndef JEPA_EVAL_CANVAS_H
#define JEPA_EVAL_CANVAS_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define CANVAS_SIDE_MAX 16384 /* pixels; 768 MiB at most */

typedef struct Color {
    uint8_t r, g, b; /* sRGB */
} Color;

/* The colours of everything that is not data. */
#define COLOR_PAPER ((Color){255, 255, 255})
#define COLOR_INK   ((Color){51, 51, 51})    /* text */
#define COLOR_FAINT ((Color){110, 110, 110}) /* secondary text */
#define COLOR_FRAME ((Color){190, 190, 190}) /* axes, frames */
#define COLOR_GRID  ((Color){232, 232, 232})
#define COLOR_VOID  ((Color){243, 243, 243}) /* where there is no data */

typedef struct Point {
    double x, y; /* pixels */
} Point;

typedef struct Canvas {
    int width, height;            /* pixels */
    int left, top, right, bottom; /* clip rectangle: left <= x < right, top <= y < bottom */
    uint8_t *rgb;                 /* [height][width][3], owned */
} Canvas;

/* A new picture of one colour. Errors: a side outside 1..CANVAS_SIDE_MAX. Free with canvas_free. */
int canvas_new(Canvas **canvas, int width, int height, Color fill, Error *error);
void canvas_free(Canvas *canvas); /* NULL is fine */

/* Limits drawing to a rectangle (cut to the picture); canvas_unclip lifts the limit. */
void canvas_clip(Canvas *canvas, int x, int y, int width, int height);
void canvas_unclip(Canvas *canvas);

Color canvas_get(const Canvas *canvas, int x, int y); /* must lie inside the picture */

/* Mixes `color` over one pixel; alpha 0..1. */
void canvas_blend(Canvas *canvas, int x, int y, Color color, double alpha);

/* A filled rectangle; an empty one draws nothing. */
void canvas_rectangle(Canvas *canvas, int x, int y, int width, int height, Color color,
                      double alpha);
/* The outline of the same rectangle, `thickness` pixels wide, inside it. */
void canvas_frame(Canvas *canvas, int x, int y, int width, int height, int thickness, Color color);

/* A polyline with round ends and joints, `width` pixels wide. A point that is not finite lifts the
 * pen; a lone point becomes a dot. */
void canvas_stroke(Canvas *canvas, const Point *points, size_t count, double width, Color color,
                   double alpha);
void canvas_line(Canvas *canvas, double x0, double y0, double x1, double y1, double width,
                 Color color, double alpha);

/* Copies an image rgb [height][width][3] to (x, y). */
void canvas_image(Canvas *canvas, int x, int y, const uint8_t *rgb, int width, int height);

/* a + (b - a) * t per channel, t cut to 0..1. */
Color color_mix(Color a, Color b, double t);
/* Black or white text, whichever reads better on `background`. */
Color color_text_on(Color background);

#endif
