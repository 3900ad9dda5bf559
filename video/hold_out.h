/* Videos that are kept from training, so that a model can be looked at with what it has not seen.
 */
#ifndef JEPA_VIDEO_HOLD_OUT_H
#define JEPA_VIDEO_HOLD_OUT_H

#include "video/index.h"

#define HOLD_OUT_MAX 100000

/* Which videos of the index these are: the first `count` of the usable ones in an order keyed by
 * `seed`, and all that have the same bytes as one of them: for one seed and one folder the same
 * whatever else a recipe says. held [index->count], the caller frees; NULL for count 0. */
bool *hold_out(const VideoIndex *index, uint64_t seed, int count);

#endif
