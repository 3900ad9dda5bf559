/* Numbers to colours.
 *
 * Maps are paths through Oklab (Björn Ottosson, "A perceptual color space for image processing",
 * 2020), in which equal steps look equally large. A sequential map climbs evenly in lightness from
 * dark violet to light yellow, so that it also reads in grey and to colour-blind eyes; the
 * diverging map is light in the middle and equally dark at both ends.
 */
#ifndef JEPA_EVAL_COLORMAP_H
#define JEPA_EVAL_COLORMAP_H

#include "eval/canvas.h"

typedef enum Colormap {
    COLORMAP_DEPTH,  /* sequential: dark violet, blue, teal, green, light yellow */
    COLORMAP_PAPER,  /* sequential on white: paper to dark blue; for shares and counts */
    COLORMAP_BALANCE /* diverging: blue, almost white, vermilion */
} Colormap;

/* The colour of t in 0..1 (cut to it); COLOR_VOID for NaN. */
Color colormap_color(Colormap map, double t);

/* Three numbers in 0..1 (cut to it; 0.5 for NaN) as one colour, so that equal distances look about
 * equally large: the first is the lightness (0 dark, 1 light), the second runs from blue to yellow,
 * the third from green to pink. The first two are told apart by colour-blind eyes as well. Where
 * sRGB has no such colour, the nearest one of the same lightness and hue. */
Color colormap_triple(const float place[3]);

/* Colour number i (any, taken modulo the count) of a palette that colour-blind readers can tell
 * apart: Okabe and Ito, "Color universal design", 2008; the yellow, weak on white, comes last. */
#define PALETTE_COLORS 8
Color palette_color(int i);

#endif
