/* What a model expects, as pixels: each predicted token of a clip as the real patch whose target
 * latent is nearest (eval/bank.h), and as a decoder draws it (eval/patch_decoder.h); beside both
 * the same of the target latents, which is all that bank and decoder can show.
 *
 * Letters: N tokens of a clip, R hidden tokens of all masks, P = 3 · tubelet · patch². */
#ifndef JEPA_EVAL_EXPECTED_H
#define JEPA_EVAL_EXPECTED_H

#include "eval/bank.h"
#include "eval/latents.h"
#include "eval/patch_decoder.h"
#include "eval/token_paint.h"
#include "kernels/patches.h"

typedef enum ExpectedKind {
    EXPECTED_VIDEO,        /* what the model sees, or would without a mask */
    EXPECTED_MASKED,       /* the same under the mask */
    EXPECTED_NEAREST,      /* of each prediction the nearest real patch */
    EXPECTED_NEAREST_REAL, /* the same of the target latents */
    EXPECTED_DRAWN_REAL,   /* the decoder's drawing of the target latents, of all tokens */
    EXPECTED_DRAWN,        /* the decoder's drawing of the predictions */
    EXPECTED_KINDS
} ExpectedKind;

/* Mean squared errors of pixels as 0..1 over the hidden tokens of a mask; NaN: not asked for. */
typedef struct ExpectedErrors {
    double of[EXPECTED_KINDS]; /* from EXPECTED_NEAREST on */
    double visible, colour;    /* of repeating the nearest visible patch, and of saying the mean
                                  colour of what is visible: neither looks at a latent */
} ExpectedErrors;

typedef struct Expected {
    const Latents *latents; /* the caller's, lives on */
    PatchShape shape;
    int outputs;                      /* P */
    uint8_t *real;                    /* [N][P] the clip's own patches */
    uint8_t *patches[EXPECTED_KINDS]; /* [R][P], DRAWN_REAL [N][P]; NULL: not asked for */
    float *cosine, *cosine_real;      /* [R], or NULL */
    ExpectedErrors errors[MASK_SETTINGS_MAX];
} Expected;

/* Of a clip whose latents are computed; pixels or values as bank_cut. The bank (NULL: none) without
 * patches of videos whose bytes have the hash `own`; the decoder (NULL: none) on the device,
 * float32 on the host. Free with expected_free, also after an error. Errors: bank or decoder of
 * other sizes, a bank that holds no other video. */
int expected_compute(Expected *expected, const Latents *latents, const uint8_t *pixels,
                     const float *values, const PatchShape *shape, const Bank *bank,
                     const Hash *own, const PatchDecoder *decoder, Device *device, Error *error);
void expected_free(Expected *expected);

/* Paints all of `tile`: frame `frame` of the clip, whose rgb [tile's height][tile's width][3] is
 * shown wherever a kind has no patch of its own, under mask `mask`. */
void expected_tile(Canvas *tile, const Expected *expected, ExpectedKind kind, int mask, int frame,
                   const uint8_t *rgb);

/* "Nearest real patch", ...; whether there is something to show of it. */
const char *expected_name(ExpectedKind kind);
bool expected_has(const Expected *expected, ExpectedKind kind);

/* Mean cosine of the mask's hidden tokens of a time step to their nearest patch, of predictions or
 * of the targets (EXPECTED_NEAREST_REAL); NaN: none. */
double expected_step_cosine(const Expected *expected, ExpectedKind kind, int mask, int step);

#endif
