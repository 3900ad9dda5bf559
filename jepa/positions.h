/* Fixed 3-D sine-cosine positions (facebookresearch/jepa src/models/utils/pos_embs.py).
 *
 * Each axis (time, row, column) gets an even width d of the D channels:
 *     [ sin(p ω_0) .. sin(p ω_{d/2-1}) | cos(p ω_0) .. ],  ω_k = 10000^(-k / (d/2))
 * uniform_power: d = 2 ceil(D/6) for each, the concatenation cut to D; otherwise D/2, D/4, D/4. */
#ifndef JEPA_JEPA_POSITIONS_H
#define JEPA_JEPA_POSITIONS_H

#include "masking/mask.h"
#include <stdbool.h>

/* table[T·H·W][width] for the trained grid */
void positions_sincos(float *table, MaskGrid grid, int width, bool uniform_power);

/* Trilinear interpolation of a table from one grid to another (half-pixel centres, edges repeated),
 * as F.interpolate does where the input size differs from the trained one. */
void positions_interpolate(float *out, MaskGrid to, const float *table, MaskGrid from, int width);

#endif
