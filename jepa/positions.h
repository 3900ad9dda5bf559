/* Positions: fixed sine-cosine tables (facebookresearch/jepa src/models/utils/pos_embs.py) and the
 * angles of rotary ones.
 *
 * Each axis (time, row, column) gets an even width d of the D channels:
 *     [ sin(p ω_0) .. sin(p ω_{d/2-1}) | cos(p ω_0) .. ],  ω_k = 10000^(-k / (d/2))
 * uniform_power: d = 2 ceil(D/6) for each, the concatenation cut to D; otherwise D/2, D/4, D/4. */
#ifndef JEPA_JEPA_POSITIONS_H
#define JEPA_JEPA_POSITIONS_H

#include "masking/mask.h"
#include <stdbool.h>

typedef enum Positions {
    POSITIONS_SINCOS,     /* fixed tables, added to the patches (V-JEPA 1, I-JEPA) */
    POSITIONS_ROPE_TILED, /* rotary, with the angles as V-JEPA 2 was trained with them */
    POSITIONS_ROPE        /* rotary, standard: both channels of a pair share an angle (2.1) */
} Positions;

/* table[T·H·W][width] for the trained grid */
void positions_sincos(float *table, MaskGrid grid, int width, bool uniform_power);

/* Trilinear interpolation of a table from one grid to another (half-pixel centres, edges repeated),
 * as F.interpolate does where the input size differs from the trained one. */
void positions_interpolate(float *out, MaskGrid to, const float *table, MaskGrid from, int width);

/* I-JEPA's two-dimensional table (facebookresearch/ijepa src/models/vision_transformer.py): half of
 * the channels for the column, then half for the row, in this order. table[H·W][width] */
void positions_sincos_image(float *table, MaskGrid grid, int width);

/* The table of kernels/rope.h for a grid: table[T·H·W][2][head]. The first 3 d channels of a head
 * are time, row and column, d = 2 floor(floor(head / 3) / 2) each; the rest is not turned. With
 * k = 0 .. d/2-1 and ω_k = 10000^(-k / (d/2)), channel j of an axis has the angle p ω_(j mod d/2)
 * in the tiled form and p ω_floor(j/2) in the standard one; p is the position in tokens.
 * side > 0: rows and columns are rescaled to a square of that many tokens, p (side-1)/(H-1) and
 * p (side-1)/(W-1), as V-JEPA 2.1 does (interpolate_rope, side = 256 / patch). Sources:
 * facebookresearch/vjepa2 src/models/utils/modules.py, app/vjepa_2_1/models/utils/modules.py. */
void positions_rope(float *table, MaskGrid grid, int head, Positions form, int side);

#endif
