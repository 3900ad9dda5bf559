/* A shallow network that draws a latent: the pixels of a token's tubelet from its target latent
 * alone, trained on frozen latents.
 *
 *   y = w2 gelu(w1 h + b1) + b2        w1[M][D] w2[P][M]; with M = 0: y = w2 h + b2, w2[P][D]
 *   pixel = 255 (y deviation[c] + mean[c]), cut to 0..255       mean and deviation of the training
 *                                                               pixels' channels, as 0..1
 *   loss = mean over rows and pixels of (y - wanted y)² / 2     AdamW, warm-up, cosine to 1 %
 *                                                               of the peak
 *
 * The latent is not normalised again: targets come from the loss's layer norm, and a prediction
 * that hedges is shorter and so is drawn closer to the mean. No token sees its neighbours, so
 * whatever holds a drawing together across patches is in the latents. What it draws is what can be
 * read out of them this simply, not all that is in them.
 *
 * Letters: D width of a latent, M hidden, P = 3 · tubelet · patch² (kernels/patches.h). */
#ifndef JEPA_EVAL_PATCH_DECODER_H
#define JEPA_EVAL_PATCH_DECODER_H

#include "eval/bank.h"
#include "kernels/device.h"

#define PATCH_DECODER_HIDDEN_MAX (1 << 18)

typedef struct PatchDecoder {
    int width, hidden, outputs; /* D, M, P */
    double mean[3], deviation[3];
    float *weights; /* [total] w1, w2, b1, b2; parts begin at multiples of 16 */
    int64_t w1, w2, b1, b2, decayed, total;
} PatchDecoder;

/* Random weights for these sizes; mean 0, deviation 1. Free with patch_decoder_free. */
void patch_decoder_new(PatchDecoder *decoder, int width, int hidden, int outputs, uint64_t seed);
void patch_decoder_free(PatchDecoder *decoder);

typedef struct PatchTraining {
    int64_t steps;
    int batch;
    double lr, weight_decay;
    uint64_t seed; /* of the order of the rows */
} PatchTraining;

/* Trains on rows items[count] of the bank, whose D and P are the decoder's; mean and deviation are
 * theirs. `losses` (or NULL) [steps]. `device`: float32, on the host. The same bits for any number
 * of threads. Errors: no memory, a loss that is not finite. */
int patch_decoder_train(PatchDecoder *decoder, double *losses, const PatchTraining *training,
                        const Bank *bank, const int64_t *items, int64_t count, Device *device,
                        Error *error);

/* pixels[n][P] of latents[n][D]. */
int patch_decoder_draw(uint8_t *pixels, const PatchDecoder *decoder, const float *latents,
                       int64_t n, Device *device, Error *error);

/* Mean squared errors of pixels as 0..1 over rows test[tests]: of what is drawn, and of what looks
 * at no latent: the mean colour of the training rows, and the mean of the training rows of the same
 * place (y, x) in the picture (the mean colour where there are none). */
typedef struct PatchErrors {
    double decoder, colour, place;
} PatchErrors;
int patch_decoder_errors(PatchErrors *errors, const PatchDecoder *decoder, const Bank *bank,
                         const int64_t *items, int64_t count, const int64_t *test, int64_t tests,
                         Device *device, Error *error);

#endif
