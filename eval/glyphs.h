/* The shapes of the stroke font, as short texts. See font.h for the grid. */
#ifndef JEPA_EVAL_GLYPHS_H
#define JEPA_EVAL_GLYPHS_H

typedef struct Glyph {
    unsigned code;        /* Unicode */
    double before, after; /* space to the left and right of the strokes' middle, grid units */
    /* "x y": draw to this point; "(cx cy rx ry from to)": along an ellipse, angles in degrees
     * counter-clockwise from the right; ";": lift the pen. A lone point is a dot. y is up. */
    const char *path;
} Glyph;

const Glyph *glyph_find(unsigned code); /* never NULL: a box for what is unknown */

#endif
