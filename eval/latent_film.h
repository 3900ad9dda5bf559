/* Films of what a model says: panels beside each other that move with the video.
 *
 *   masks     the video, and what each mask setting shows of it
 *   latents   above the video and what each setting shows of it, below the target latents and what
 *             is predicted from that
 *   errors    a row for each setting: what it shows, the error of the prediction, those of the
 *             trivial predictors
 *   future    the video, the target latents, the error of the prediction; below them the last frame
 *             that was shown, the predicted latents, the error of repeating what was seen last
 * A token stands for several frames: its panels change when the time step does. */
#ifndef JEPA_EVAL_LATENT_FILM_H
#define JEPA_EVAL_LATENT_FILM_H

#include "eval/film.h"
#include "eval/latent_paint.h"

typedef enum LatentFilmKind {
    LATENT_FILM_MASKS,
    LATENT_FILM_LATENTS,
    LATENT_FILM_ERRORS,
    LATENT_FILM_FUTURE
} LatentFilmKind;

#define LATENT_FILM_MASKS_MOST 4 /* settings in one film: the first ones */

typedef struct LatentFilmSpec {
    LatentFilmKind kind;
    int masks, mask[LATENT_FILM_MASKS_MOST]; /* settings to show */
    int tile_height, tile_width;             /* latent_film_tile */
    const char *title, *subtitle;
    double low, high; /* of the errors' colours */
    const char *folder, *name;
    unsigned formats; /* eval/film.h */
    VideoFraction rate;
} LatentFilmSpec;

typedef struct LatentFilm LatentFilm;

/* FilmPage beside each other. */
int latent_film_columns(LatentFilmKind kind, int masks);
/* Height and *width of a tile, for films of so many columns that are about 1,280 pixels wide at
 * most; `wished`: that high, 0: as said. */
int film_tile(int *width, int columns, MaskGrid grid, int wished);

int latent_film_open(LatentFilm **film, const LatentFilmSpec *spec, Error *error);
/* One picture: frame [tile_height][tile_width][3] of the video in time step `step` of the clip that
 * `paint` is of (its mask is changed), `last` the last frame that was shown (future; or NULL).
 * `moment` and `progress` as in eval/film_page.h. */
int latent_film_add(LatentFilm *film, LatentPaint *paint, int step, const uint8_t *frame,
                    const uint8_t *last, const char *moment, double progress, Error *error);
/* Finishes; see film_close. Frees always. */
int latent_film_close(LatentFilm *film, FILE *list, Error *error);
void latent_film_abandon(LatentFilm *film);

#endif
