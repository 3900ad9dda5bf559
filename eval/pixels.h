/* The raw-pixel floor: what the same probe makes of the pictures themselves.
 *
 * A clip's row is its 8 frames (fewer where clips have fewer), the middles of equal parts of it,
 * of the same crop that the encoder sees, scaled to 16 x 16 by areas, red, green and blue as 0..1:
 * [3][8][16][16], D = 6144. A video's row is the mean over its clips, as that of features is. */
#ifndef JEPA_EVAL_PIXELS_H
#define JEPA_EVAL_PIXELS_H

#include "eval/features.h"

#define PIXELS_FRAMES 8
#define PIXELS_SIDE   16

/* Rows of all usable videos that could be decoded; arguments as those of features_extract. Free
 * with features_free. */
int pixels_extract(Features *features, const VideoIndex *index, const ClipSpec *spec,
                   const FeatureViews *views, int threads, Error *error);

#endif
