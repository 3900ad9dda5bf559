/* A picture of a film: panels in rows and columns, of which only the tiles change from one picture
 * to the next.
 *
 *     title
 *     subtitle
 *     label          label            label
 *     [tile]         [tile]           [tile]     | colour bar of the row
 *     note           note             note
 *     ===============-----------------------------   progress
 *     moment
 *     key   key
 *     caption
 * Sizes follow from the tiles; both sides are even. All texts but the moment and the notes are
 * drawn once. */
#ifndef JEPA_EVAL_PANELS_H
#define JEPA_EVAL_PANELS_H

#include "base/error.h"
#include "eval/canvas.h"
#include "eval/colormap.h"

#define PANELS_ROWS    8
#define PANELS_COLUMNS 8
#define PANELS_KEYS    4

typedef struct Panels Panels;

/* rows x columns tiles of tile_height x tile_width pixels. Texts are copied; subtitle and caption
 * may be NULL. Free with panels_free. */
Panels *panels_new(const char *title, const char *subtitle, const char *caption, int rows,
                   int columns, int tile_height, int tile_width);
void panels_free(Panels *panels);

/* Before panels_start: what stands above a tile. A panel without a label stays empty. */
void panels_label(Panels *panels, int row, int column, const char *label);
void panels_notes(Panels *panels); /* notes will stand under tiles: leaves room */
void panels_bar(Panels *panels, int row, Colormap map, double low, double high, const char *unit);
void panels_key(Panels *panels, Color color, const char *name);

/* Lays out and draws what stays. Errors: larger than a picture can be. */
int panels_start(Panels *panels, Error *error);
/* The tile of a panel, to be painted before each picture. */
Canvas *panels_tile(Panels *panels, int row, int column);
void panels_note(Panels *panels, int row, int column, const char *note); /* of the next picture */
/* The picture, with the tiles as they are now: belongs to the panels, valid until the next call.
 * `moment` stands under the bar that shows `progress`, 0 to 1. */
const Canvas *panels_picture(Panels *panels, const char *moment, double progress);
/* The picture's size, after panels_start. */
void panels_size(const Panels *panels, int *width, int *height);

#endif
