/* The colours of latents: three axes that are fitted once, and kept.
 *
 *   axes      the three principal components of target and predicted tokens together (eval/pca.h:
 *             order by variance, sign by the largest entry), over all clips that are given
 *   place     of a token along an axis: its projection, with the percentiles 1 and 99 of the rows
 *             that were fitted at 0 and 1, cut to that
 *   colour    colormap_triple(place): lightness, blue to yellow, green to pink
 * So the same colour is the same place along these axes, in targets and predictions, under every
 * mask, in every clip, and, with axes from a file, in clips that were not part of the fit.
 *
 * File: safetensors "mean" F64 [D], "axes" F64 [3][D], "low", "high", "variance" F64 [3], "total"
 * F64 [1]; notes "format" (LATENT_AXES_FORMAT) and "checkpoint" (hash of the one they were fitted
 * for). */
#ifndef JEPA_EVAL_LATENT_AXES_H
#define JEPA_EVAL_LATENT_AXES_H

#include "base/hash.h"
#include "eval/pca.h"
#include <stdint.h>

#define LATENT_COLORS      3
#define LATENT_AXES_FORMAT "jepa latent axes 1"

typedef struct LatentAxes {
    Pca pca;                                        /* LATENT_COLORS components */
    double low[LATENT_COLORS], high[LATENT_COLORS]; /* places 0 and 1 */
    char checkpoint[HASH_TEXT];                     /* in hexadecimal; "": not known */
} LatentAxes;

/* Rows that are collected for a fit. */
typedef struct LatentRows {
    size_t each; /* at most so many of what is added at a time; 0: all */
    int width;
    size_t count, room;
    float *rows; /* [count][width] */
} LatentRows;

/* Adds rows[n][width], or all->each of them, evenly spaced. */
void latent_rows_add(LatentRows *all, const float *rows, size_t n, int width);
void latent_rows_free(LatentRows *all);

/* Errors: width below three, a value that is not finite, no rows. Free also after an error. */
int latent_axes_fit(LatentAxes *axes, const LatentRows *rows, Error *error);
void latent_axes_free(LatentAxes *axes);

int latent_axes_save(const LatentAxes *axes, const char *path, Error *error);
/* Errors: no such file, not such axes, of another width than `width`. */
int latent_axes_load(LatentAxes *axes, const char *path, int width, Error *error);

/* place[n][LATENT_COLORS] in 0..1 of rows[n][width]. */
void latent_axes_place(float *place, const LatentAxes *axes, const float *rows, size_t n);

/* Share of the variance that component k carries. */
double latent_axes_share(const LatentAxes *axes, int k);

#endif
