/* The still pictures of `jepa visualize`: rows of tiles, one column for each time step.
 *
 *   masks.png          the frames, then what each mask setting shows and hides
 *   latents.png        the frames, target latents, and for each setting the predicted ones among
 *                      those of the visible tokens
 *   errors.png         for each setting the error of the prediction above those of the trivial
 *                      predictors, on one scale
 *   contact-sheet.png  all of it */
#ifndef JEPA_EVAL_LATENT_SHEET_H
#define JEPA_EVAL_LATENT_SHEET_H

#include "eval/latent_paint.h"
#include <stdio.h>

#define LATENT_COLUMNS 16 /* time steps shown; of more, so many spread evenly */

/* Which pictures. */
#define LATENT_MASKS_PICTURE   1u
#define LATENT_LATENTS_PICTURE 2u
#define LATENT_ERRORS_PICTURE  4u
#define LATENT_SHEET_PICTURE   8u

typedef struct LatentPictures {
    LatentPaint *paint;           /* masks are chosen in turn */
    const LatentAxes *axes;       /* of its colours */
    int tile_height, tile_width;  /* latent_tile */
    const uint8_t *const *frames; /* [T] each [tile_height][tile_width][3]: first of a time step */
    /* [T] each [whole_height][whole_width][3], no larger than a tile: the whole frame, where the
     * model sees a part only, which lies at `part`: left, top, width, height in its pixels; or NULL
     */
    const uint8_t *const *whole;
    int whole_height, whole_width, part[4];
    const double *seconds;        /* [T] when that frame is shown, from the start of the video */
    const int64_t *number;        /* [T] its number in the video, 0 is the first */
    const char *video;            /* name for the titles */
    const char *origin;           /* checkpoint, frames, sizes: stands under the titles */
    const char *input;            /* what of the frames the model sees, "64 x 64 pixels" */
    const char *const *mask_text; /* [M] "8 blocks of 15 % of the picture" */
    const char *mask_name;        /* what a setting is called: "Mask"; a number follows if M > 1 */
    int only;                     /* the one mask to show; -1: all */
} LatentPictures;

/* Height and *width of a tile: about 144 pixels high, whole pixels to a token where possible, and
 * narrow enough for a sheet of 2,400 pixels where that leaves 96. `wished`: that high; 0: as said.
 */
int latent_tile(int *width, MaskGrid grid, int wished);

/* Writes one of them (a bit of above) into `folder`, which exists; `name` without ".png" and
 * `what`, the beginning of the title, may be NULL for what is said above. Its path is printed to
 * `list` (may be NULL) on a line. Errors: unwritable. */
int latent_picture_write(const LatentPictures *p, unsigned picture, const char *what,
                         const char *name, const char *folder, FILE *list, Error *error);

/* "59 % of the tokens hidden · error 0.300 · ...": measures of a mask; caller frees. */
char *latent_mask_measures(const LatentMask *mask);

#endif
