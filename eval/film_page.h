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
#ifndef JEPA_EVAL_FILM_PAGE_H
#define JEPA_EVAL_FILM_PAGE_H

#include "base/error.h"
#include "eval/canvas.h"
#include "eval/colormap.h"

#define FILM_PAGE_ROWS    8
#define FILM_PAGE_COLUMNS 8
#define FILM_PAGE_KEYS    4

typedef struct FilmPage FilmPage;

/* rows x columns tiles of tile_height x tile_width pixels. Texts are copied; subtitle and caption
 * may be NULL. Free with film_page_free. */
FilmPage *film_page_new(const char *title, const char *subtitle, const char *caption, int rows,
                        int columns, int tile_height, int tile_width);
void film_page_free(FilmPage *panels);

/* Before film_page_start: what stands above a tile. A panel without a label stays empty. */
void film_page_label(FilmPage *panels, int row, int column, const char *label);
void film_page_notes(FilmPage *panels); /* notes will stand under tiles: leaves room */
void film_page_bar(FilmPage *panels, int row, Colormap map, double low, double high,
                   const char *unit);
void film_page_key(FilmPage *panels, Color color, const char *name);

/* Lays out and draws what stays. Errors: larger than a picture can be. */
int film_page_start(FilmPage *panels, Error *error);
/* The tile of a panel, to be painted before each picture. */
Canvas *film_page_tile(FilmPage *panels, int row, int column);
void film_page_note(FilmPage *panels, int row, int column,
                    const char *note); /* of the next picture */
/* The picture, with the tiles as they are now: belongs to the panels, valid until the next call.
 * `moment` stands under the bar that shows `progress`, 0 to 1. */
const Canvas *film_page_picture(FilmPage *panels, const char *moment, double progress);
/* The picture's size, after film_page_start. */
void film_page_size(const FilmPage *panels, int *width, int *height);

#endif
