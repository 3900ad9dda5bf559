/* A map of clips: points in two dimensions, in the colours and shapes of their classes, some of
 * them as the clip's picture, and a legend.
 *
 * Both axes have the same scale, since distances are what is looked at. Pictures are placed where
 * they cover no other, the points in a mixed order; every other point is a mark. */
#ifndef JEPA_EVAL_MAP_SHEET_H
#define JEPA_EVAL_MAP_SHEET_H

#include "base/error.h"
#include "eval/canvas.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_THUMBNAIL    56 /* pixels: side of a clip's picture */
#define MAP_CLASSES_MOST 32 /* told apart by 8 colours and 4 shapes; of more, all look the same */

typedef struct MapSpec {
    const char *title, *subtitle, *caption; /* the last two may be NULL */
    size_t count;
    const double *place; /* [count][2] */
    const int *label;    /* [count] -1: none; NULL: no classes at all */
    int classes;
    const char *const *class_names;
    /* [count] rgb [MAP_THUMBNAIL][MAP_THUMBNAIL][3] of those points that map_thumbnails chose, NULL
     * for the others; NULL: none */
    const uint8_t *const *thumbnails;
} MapSpec;

/* Which points will be shown as pictures: chosen[count] true or false. Reads count and place. */
void map_thumbnails(bool *chosen, const MapSpec *spec);

/* A new picture, which the caller frees. Errors: larger than a picture can be. */
int map_draw(Canvas **canvas, const MapSpec *spec, Error *error);

#endif
