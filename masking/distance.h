/* How far a context token lies from the nearest token that is predicted.
 *
 * V-JEPA 2.1 (arXiv 2603.14482; facebookresearch/vjepa2 app/vjepa_2_1, masks_dist.py) weighs the
 * loss of context tokens by 1 / sqrt(d), d the Euclidean distance in (t, h, w) tokens to the
 * nearest target token of the sample. */
#ifndef JEPA_MASKING_DISTANCE_H
#define JEPA_MASKING_DISTANCE_H

#include "masking/mask.h"
#include <stdint.h>

/* distance: [contexts] in tokens, for each context token; 0 where it is a target itself.
 * context, target: token numbers (t H + h) W + w of one sample, in any order; targets >= 1.
 * Exact, in time proportional to the grid; takes 4 bytes a token of memory while it works. Grids of
 * up to 2^28 tokens with sides up to 2^14. */
void mask_distance(float *distance, const int32_t *context, int contexts, const int32_t *target,
                   int targets, MaskGrid grid);

#endif
