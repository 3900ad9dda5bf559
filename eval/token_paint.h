/* Tokens as pictures: a tile is the picture of one time step, [H][W] tokens over all of it.
 *
 * Tokens are drawn as whole rectangles, so that no detail is seen that is not there, or, where a
 * reader wants it, blended into each other (eval/upscale.h). */
#ifndef JEPA_EVAL_TOKEN_PAINT_H
#define JEPA_EVAL_TOKEN_PAINT_H

#include "eval/canvas.h"
#include "eval/upscale.h"
#include "masking/mask.h"
#include <stdbool.h>

#define COLOR_HIDDEN  palette_color(1)         /* tokens to be predicted: vermilion */
#define COLOR_CONTEXT ((Color){222, 222, 222}) /* visible tokens, where nothing is said of them */

/* What a mask makes of a token. */
typedef enum TokenState {
    TOKEN_SEEN,  /* context */
    TOKEN_ASKED, /* hidden, to be predicted */
    TOKEN_LEFT   /* neither: hidden, and not asked for */
} TokenState;

/* The tile shows rgb [tile's height][tile's width][3]. */
void token_paint_picture(Canvas *tile, const uint8_t *rgb);

/* One colour a token, colors[H][W]. */
void token_paint_colors(Canvas *tile, MaskGrid grid, const Color *colors, UpscaleMode mode);

/* One value a token, values[H][W], through a colour map whose ends are low and high; NaN shows as
 * COLOR_CONTEXT (blended: as `low`). */
void token_paint_values(Canvas *tile, MaskGrid grid, const float *values, double low, double high,
                        Colormap map, UpscaleMode mode);
/* Ends for values[count]: percentiles 1 and 99, widened to round numbers; 0 and 1 for none. */
void token_range(double *low, double *high, const float *values, size_t count);

/* What is hidden loses its picture: grey, tinted and hatched where it is asked for, pale where it
 * is left out. state[H][W] */
void token_paint_mask(Canvas *tile, MaskGrid grid, const TokenState *state);

/* Lines between what is asked for and what is not, white on dark, so that they show on any colour.
 */
void token_paint_edges(Canvas *tile, MaskGrid grid, const TokenState *state);

/* A frame around token (y, x), likewise. */
void token_paint_frame(Canvas *tile, MaskGrid grid, int y, int x);

/* The height of a tile, near `wished` pixels, at which tokens are whole pixels where that is
 * possible; *width for tokens as wide as high, at most `most`. */
int token_tile(int *width, MaskGrid grid, int wished, int most);

#endif
