/* Pictures and films of what a model expects (eval/expected.h).
 *
 *   expected.png   the video, and for each mask: what it is shown, the nearest real patches of
 *                  predictions and of targets, what the decoder draws of targets and of predictions
 *   expected.*     a row for each mask, the same beside each other, frame by frame */
#ifndef JEPA_EVAL_EXPECTED_SHEET_H
#define JEPA_EVAL_EXPECTED_SHEET_H

#include "eval/expected.h"
#include "eval/film.h"
#include <stdio.h>

#define EXPECTED_MASKS_MOST 4 /* masks in a film */

typedef struct ExpectedPictures {
    const Expected *expected;
    int masks, mask[MASK_SETTINGS_MAX]; /* those to show */
    const char *const *mask_text;       /* [M] "8 blocks of 15 % of the picture" */
    const char *mask_name;              /* NULL: "Mask 2" and the like */
    int tile_height, tile_width;
    const uint8_t *const
        *frames; /* stills: [T] the first of each time step; films: all of the clip */
    const char *const *moments; /* [T] or [frames] "0.27 s · frame 8" */
    const char *title, *origin; /* origin stands under the title */
    const char *bank;           /* what the bank is, for the caption; NULL: none */
    const char *decoder;        /* likewise */
    bool trained_on;            /* the decoder was, on this video too */
    const char *folder;
    const char *name; /* of the files; NULL: "expected" */
} ExpectedPictures;

/* Writes FOLDER/NAME.png and prints its path to `list`. Errors: unwritable. */
int expected_picture_write(const ExpectedPictures *pictures, FILE *list, Error *error);
/* Panels beside each other in a film. */
int expected_film_columns(bool bank, bool decoder);
/* Writes FOLDER/NAME.mp4, ...: pictures->frames[count], `rate` of them a second. */
int expected_film_write(const ExpectedPictures *pictures, int count, unsigned formats,
                        VideoFraction rate, FILE *list, Error *error);

/* The same picture by picture, of clip after clip with masks of the same numbers: of `pictures`
 * expected, frames and moments are not looked at. */
typedef struct ExpectedFilm ExpectedFilm;
int expected_film_open(ExpectedFilm **film, const ExpectedPictures *pictures, unsigned formats,
                       VideoFraction rate, Error *error);
int expected_film_add(ExpectedFilm *film, const Expected *expected, int frame, const uint8_t *rgb,
                      const char *moment, double progress, Error *error);
int expected_film_close(ExpectedFilm *film, FILE *list, Error *error); /* frees always */
void expected_film_abandon(ExpectedFilm *film); /* leaves nothing behind; NULL is fine */

#endif
