/* A contact sheet: rows of small pictures with their names at the left, headings above, captions
 * below.
 *
 *     title
 *     subtitle
 *                      0.00 s     0.27 s     0.53 s        <- headings
 *     row label        [tile]     [tile]     [tile]   |    <- colour bar of the row, if it has one
 *     explanation
 *     caption, wrapped
 *
 * All tiles of a sheet have the same height; a tile is as wide as its picture's shape asks for. The
 * sheet computes its own size. Texts and images are copied.
 */
#ifndef JEPA_EVAL_SHEET_H
#define JEPA_EVAL_SHEET_H

#include "base/error.h"
#include "eval/canvas.h"
#include "eval/colormap.h"
#include "eval/upscale.h"
#include <stddef.h>
#include <stdint.h>

#define SHEET_COLUMNS_MAX 64
#define SHEET_ROWS_MAX    256
#define SHEET_IMAGE_MAX   4096 /* side of an image that is handed in, pixels */

typedef struct Sheet Sheet;

/* `tile` is the height of the pictures in pixels (64..1024); 144 looks well. Free with sheet_free.
 */
Sheet *sheet_new(const char *title, const char *subtitle, int tile);
void sheet_free(Sheet *sheet);

/* Column headings for the rows that follow (until the next headings), e.g. "0.27 s". count may be
 * 0. */
int sheet_headings(Sheet *sheet, const char *const *headings, int count, Error *error);
/* A heading in bold across the sheet, above the next row. */
int sheet_section(Sheet *sheet, const char *title, Error *error);

/* Adds a row of `count` images, each rgb [height][width][3] bytes, scaled to the tile by `mode`.
 * An image may be NULL: an empty tile. `label` is bold, `explanation` (may be NULL) small beneath
 * it. Errors: too many rows or columns, sides outside 1..SHEET_IMAGE_MAX. */
int sheet_row(Sheet *sheet, const char *label, const char *explanation,
              const uint8_t *const *images, int count, int height, int width, UpscaleMode mode,
              Error *error);
/* Gives the last row a colour bar from `low` to `high`; `unit` (may be NULL) stands under it. */
void sheet_colourbar(Sheet *sheet, Colormap map, double low, double high, const char *unit);
/* Names a colour of the last row ("masked"), shown under its explanation; at most 4 a row. */
void sheet_key(Sheet *sheet, Color color, const char *name);

/* A paragraph under the rows; '\n' breaks. May be called again for more paragraphs, at most 16. */
void sheet_caption(Sheet *sheet, const char *text);

/* Draws the sheet; the caller frees *canvas. Errors: larger than a picture can be. */
int sheet_draw(Canvas **canvas, const Sheet *sheet, Error *error);

#endif
