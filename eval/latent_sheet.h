/* The pictures of `jepa visualize`: latents, predictions and errors as rows of tiles, one column
 * for each time step of the token grid.
 *
 *   frames.png               the first frame of each time step
 *   latents-target.png       the target encoder's latents of all tokens
 *   mask-K.png               frames with what mask K hides
 *   latents-predicted-K.png  targets and predictions of the hidden tokens, one above the other
 *   error-K.png              the prediction's error, and that of the trivial predictor
 *   contact-sheet.png        all of it
 * Tokens are drawn as whole squares, never blended, so that no detail is seen that is not there. */
#ifndef JEPA_EVAL_LATENT_SHEET_H
#define JEPA_EVAL_LATENT_SHEET_H

#include "eval/latents.h"
#include <stdio.h>

#define LATENT_COLUMNS 16 /* time steps shown; of more, so many spread evenly */

typedef struct LatentPictures {
    const Latents *latents;
    int tile;                     /* side of a tile, pixels: latent_tile */
    const uint8_t *frames;        /* [T][tile][tile][3] first frame of each time step */
    const double *seconds;        /* [T] when that frame is shown, from the start of the video */
    const int64_t *number;        /* [T] its number in the video, 0 is the first */
    const char *video;            /* name for the titles */
    const char *origin;           /* checkpoint, frames, sizes: stands under the titles */
    const char *input;            /* what of the frames the model sees, "64 x 64 pixels" */
    const char *const *mask_text; /* [M] "8 blocks of 15 % of the picture" */
    int only;                     /* the one mask to show; -1: all */
} LatentPictures;

/* Side of a tile: 128 pixels or more, whole pixels to a token where possible, and a sheet of at
 * most 2,400 pixels where that leaves 128. */
int latent_tile(MaskGrid grid);

/* Writes all pictures into `folder`, which exists; the path of each is printed to `list` (may be
 * NULL), one a line. Errors: unwritable. */
int latent_pictures_write(const LatentPictures *pictures, const char *folder, FILE *list,
                          Error *error);

#endif
