/* 256 colours for a picture that has more, for GIF.
 *
 * The colours that occur are counted in 32 steps a channel; the box of them that holds the largest
 * sum of squared distances to its mean is cut in two at its mean along the channel that varies
 * most, again and again, until there are 256 boxes or no box varies; every box is shown as its
 * mean. (After Wan, Wong and Prusinkiewicz, "An algorithm for multidimensional data clustering",
 * 1988.) No dithering: tokens stay flat squares. The same picture gives the same colours. */
#ifndef JEPA_VIDEO_PALETTE_H
#define JEPA_VIDEO_PALETTE_H

#include <stdint.h>

#define PALETTE_MOST 256

/* index[count] of palette[][3] for rgb[count][3]; returns how many colours there are, 1 to
 * PALETTE_MOST (0 for no pixels). */
int palette_choose(uint8_t palette[PALETTE_MOST][3], uint8_t *index, const uint8_t *rgb,
                   int64_t count);

#endif
