/* Tiles of what a model says of a clip: frames, masks, latents in colour, errors.
 *
 * One tile is one time step of the token grid; pictures put them beside each other
 * (eval/latent_sheet.h), films after each other (eval/latent_film.h). */
#ifndef JEPA_EVAL_LATENT_PAINT_H
#define JEPA_EVAL_LATENT_PAINT_H

#include "eval/latent_axes.h"
#include "eval/latents.h"
#include "eval/token_paint.h"

typedef enum LatentQuantity {
    LATENT_FRAME,         /* what the model sees, or would without a mask */
    LATENT_MASKED,        /* the same under the mask */
    LATENT_TARGET,        /* target latents of all tokens */
    LATENT_PREDICTED,     /* predicted ones, among those of the visible tokens */
    LATENT_ERROR,         /* of the prediction, hidden tokens */
    LATENT_ERROR_MEAN,    /* of the mean answer */
    LATENT_ERROR_NEAREST, /* of the nearest visible token */
    LATENT_QUANTITIES
} LatentQuantity;

typedef struct LatentPaint {
    const Latents *latents;
    UpscaleMode mode;  /* of latents; errors are always squares */
    double low, high;  /* ends of the errors' colours, of model and trivial predictors alike */
    int mask;          /* the current one: latent_paint_choose */
    TokenState *state; /* [N] under it */
    int64_t *row;      /* [N] hidden row, or visible row; -1: neither */
    float *target, *predicted, *seen; /* places along the axes, [..][LATENT_COLORS] */
} LatentPaint;

/* Places of all latents along the axes (NULL: latents are not painted). The latents must live on.
 * Mask 0 is chosen; low and high are 0 and 1. */
void latent_paint_new(LatentPaint *paint, const Latents *latents, const LatentAxes *axes,
                      UpscaleMode mode);
void latent_paint_free(LatentPaint *paint);
void latent_paint_choose(LatentPaint *paint, int mask);

/* Paints all of `tile`: frame rgb [tile's height][tile's width][3] of time step `step` (may be NULL
 * where none is shown). */
void latent_paint_tile(Canvas *tile, const LatentPaint *paint, LatentQuantity quantity, int step,
                       const uint8_t *frame);

/* What a quantity is called, for labels. */
const char *latent_quantity_name(LatentQuantity quantity);

/* Ends of a colour scale for errors[count] of several kinds: percentiles 1 and 99, widened to round
 * numbers. */
void latent_error_range(double *low, double *high, const float *errors, size_t count);
/* The same for one clip's errors of all kinds. */
void latent_errors_range(double *low, double *high, const Latents *latents);

/* Mean error of a quantity over the hidden tokens of one time step; NaN if there are none. */
double latent_step_error(const LatentPaint *paint, LatentQuantity quantity, int step);

#endif
