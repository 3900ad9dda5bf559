/* Text in pictures, from a stroke font that is drawn here: no font file is needed.
 *
 * A glyph is a few strokes on a grid: baseline 0, x-height 7, capitals 10, descenders -3 (the
 * middle of the stroke). Before drawing, the grid is fitted to the pixels: baseline, x-height and
 * capital height, and the left and right edge of each glyph, are moved to whole pixels, so that
 * small text stays crisp. `size` is the usual font size in pixels: capitals are 0.72 of it high.
 * Characters: ASCII 32..126 and µ × ± · – — − … ° ² ’ ← →; any other shows as a box.
 */
#ifndef JEPA_EVAL_FONT_H
#define JEPA_EVAL_FONT_H

#include "eval/canvas.h"
#include <stdbool.h>
#include <stddef.h>

typedef enum FontAlign { FONT_LEFT, FONT_CENTRE, FONT_RIGHT } FontAlign;

typedef struct FontStyle {
    double size; /* pixels; readable from 11 */
    bool bold;
    Color color;
    FontAlign align; /* which part of the text stands at x */
    double angle;    /* degrees counter-clockwise; 0 and 90 are the crisp ones */
} FontStyle;

/* One line of UTF-8 text with its baseline through (x, y); give y in whole pixels. Control
 * characters count as spaces. */
void font_draw(Canvas *canvas, double x, double y, const char *text, const FontStyle *style);

double font_width(const char *text, double size, bool bold); /* pixels */
double font_capital(double size);                            /* height of a capital, pixels */
double font_line(double size);                               /* baseline to baseline, pixels */

/* `text`, or its beginning and "…", so that it is at most `width` pixels wide (the dots alone may
 * be wider). New text, the caller frees. */
char *font_elide(const char *text, double size, bool bold, double width);

/* Breaks `text` at spaces into lines of at most `width` pixels; a longer word is broken anywhere;
 * '\n' always breaks. Returns the number of lines; *lines is an array of texts, see
 * font_lines_free. */
size_t font_wrap(char ***lines, const char *text, double size, bool bold, double width);
void font_lines_free(char **lines, size_t count);

/* Decodes one character of UTF-8 and moves *text past it. A broken byte gives U+FFFD and moves on
 * by one byte. *text must not point at the final zero. */
unsigned font_decode(const char **text);

#endif
