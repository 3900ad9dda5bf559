/* A film strip with curves below it, on one axis of time; narrow, with large letters, so that it
 * reads on a phone.
 *
 *     title
 *     label of a strip
 *     [tile][tile][tile][tile]
 *     ─ name  ─ name                    <- of the curves
 *     |   __      |
 *     |__/  \_____:____
 *     0 s     1 s     2 s
 *     caption
 * A tile stands where its moment is: the middle of tile i of n is at (i + 1/2)/n of the time. */
#ifndef JEPA_EVAL_SURPRISE_SHEET_H
#define JEPA_EVAL_SURPRISE_SHEET_H

#include "eval/canvas.h"

#define SURPRISE_SHEET_WIDTH 900 /* pixels */
#define SURPRISE_TILES_MOST  8

typedef struct SurpriseStrip {
    const char *label;
    Color color;                              /* of the label */
    int count, height, width;                 /* tiles, pixels of each */
    const uint8_t *tile[SURPRISE_TILES_MOST]; /* [height][width][3]; NULL: empty */
} SurpriseStrip;

typedef struct SurpriseLine {
    const char *name;
    Color color;
    double thickness;    /* pixels */
    const double *x, *y; /* [count] seconds, surprise */
    int64_t count;
} SurpriseLine;

typedef struct SurpriseSheet {
    const char *title, *caption; /* wrapped */
    const char *unit;            /* of the curves */
    double seconds;              /* end of the axis, > 0 */
    double mark;                 /* a moment that is marked; NaN: none */
    const char *mark_name;
    const SurpriseStrip *strips;
    int strip_count;
    const SurpriseLine *lines;
    int line_count;
} SurpriseSheet;

/* How many tiles stand beside each other for frames of this shape, and their size. */
int surprise_tiles(int *height, int *width, int frame_height, int frame_width);

/* The caller frees *canvas. Errors: larger than a picture can be. */
int surprise_sheet_draw(Canvas **canvas, const SurpriseSheet *sheet, Error *error);

#endif
