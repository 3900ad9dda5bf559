/* Diagnostics during pretraining: is the representation alive, and does the prediction know
 * anything? Measured on a fixed set of clips under fixed masks, so that values of one run, and
 * of runs of one recipe, can be compared. Nothing of the training is touched: the weights are
 * read by a model with activations of its own (ModelPlan.beside), one clip at a time.
 *
 * Clips   diagnostics.videos of them (50): of diagnostics.data, or of the training videos where
 *         that is not given. Which videos is a keyed draw (seed, RANDOM_DIAGNOSTIC), the same in
 *         every branch; of each one clip, its middle, or several that are spread over it where
 *         there are too few videos; centre crop, no augmentation, decoded the fast way. They are
 *         read once and kept. One that cannot be decoded is left out, and named.
 * Views   V = 4 random masks of each clip (LiDAR on clips: 50 x 4), by the recipe's mask
 *         settings in turn; with objective sigreg, random choices of the tokens that are kept.
 * Rows    of each clip the same number of tokens, evenly spaced, about 1,024 in all (`rows`),
 *         each brought to mean 0 and variance 1 over its width, as the loss has its targets; of
 *         the last level, where an encoder hands on several (V-JEPA 2.1):
 *           context     of the context encoder on the visible tokens of the first view (sigreg:
 *                       its class token too)
 *           target      of the target encoder, which sees the clip whole
 *           predictor   predictions z
 *
 * *_std, *_std_least
 *         mean and least over dimensions of the standard deviation over rows
 * *_rankme, *_alpha
 *         RankMe of the rows, not centred; alpha-ReQ of the rows, centred (eval/spectrum.h)
 * *_sigreg
 *         the SIGReg statistic of the rows against N(0, I): kernels/sigreg.h with its factor G =
 *         rows, 17 knots, 256 fixed directions; neither centred nor scaled. Near 1 for a
 *         Gaussian; a good part of G in a collapse
 * lidar   of the views' features: outputs of the context encoder as they are, mean over the
 *         visible tokens (sigreg: class tokens); its classes are the clips
 * error, error_mean, error_nearest, skill
 *         mean absolute error of the predictions of the first masks' hidden tokens, of the two
 *         trivial predictors, and what is gained over the better of these (eval/trivial.h)
 * drift_weights, drift_cosine
 *         distance of context and target encoder (eval/drift.h); mean over tokens of the cosine
 *         of what the two make of the same whole clips, normalised as rows are
 * knn, majority
 *         where all clips have labels: accuracy of the nearest neighbours (eval/neighbours.h) by
 *         mean target rows over all tokens (sigreg: mean class tokens of the views), each video
 *         held out in turn; and of saying the most frequent class
 * clips, rows
 *         how many there were
 *
 * Ranks share the clips out; every number is computed from the same values in the same order, so
 * none depends on how many ranks there are. */
#ifndef JEPA_EVAL_DIAGNOSTICS_H
#define JEPA_EVAL_DIAGNOSTICS_H

#include "jepa/trainer.h"

#define DIAGNOSTIC_VIEWS      4
#define DIAGNOSTIC_ROWS       1024 /* of each set, at most */
#define DIAGNOSTIC_DIRECTIONS 256

/* The table of functions for the trainer. Its context is a place for a pointer that is the table's
 * own, NULL before and after: Diagnostics *own = NULL; diagnostics_hooks(&own). To plan alone:
 * NULL.
 */
typedef struct Diagnostics Diagnostics;
TrainerDiagnostics diagnostics_hooks(Diagnostics **own);

#endif
