/* Surprise: how far what comes is from what was expected.
 *
 *   s(w, c) = 1/(R D) Σ_i Σ_d |z[i]_d - h[i]_d|      over the R tokens of window w behind frame c
 *     z   predictor(context encoder(the first c frames of the window))
 *     h   layer_norm(target encoder(the whole window)), without affine part
 *   least   s(w) = min over c of s(w, c): the length of context that serves best
 *   score of a video: the mean (avg) or the greatest (max) of s over its windows
 *
 * It is the difference of the two, never the size of h alone: that would call whatever has large
 * features surprising, whatever was predicted.
 * Source: Garrido et al., "Intuitive physics understanding emerges from self-supervised pretraining
 * on natural videos", 2025 (arXiv 2502.11831), and facebookresearch/jepa-intuitive-physics: windows
 * of 16 frames, 2 frames apart, c in {2, 4, 6, 8, 10}. Given another length of clips, the same
 * shares of it. Where a predictor has a mask token for each mask setting, the first stands for all
 * later frames, as there. Other than there, equal scores of a pair count half, not as wrong, and
 * frames of a window are as far apart as the recipe has them. */
#ifndef JEPA_EVAL_SURPRISE_H
#define JEPA_EVAL_SURPRISE_H

#include "eval/latents.h"

#define SURPRISE_CONTEXTS (MASK_SETTINGS_MAX - 1) /* context lengths at most */

/* Context lengths in frames, ascending, each a multiple of `tubelet` that leaves a time step to
 * predict: those of `text` ("2,4,6"), or with NULL the published shares of clips of `frames`. At
 * least one. ERROR_USAGE: others, or clips of a single time step. */
int surprise_contexts(int contexts[SURPRISE_CONTEXTS], int *count, const char *text, int frames,
                      int tubelet, Error *error);

/* One mask setting for each context length, of one clip: its first frames are seen, all later ones
 * are hidden. mask_group_free. */
void surprise_masks(MaskGroup *masks, const int *contexts, int count, int tubelet, MaskGrid grid);

/* values[settings]: s(w, c) of measured latents with those masks (latents_measure). */
void surprise_values(double *values, const Latents *latents);
/* The same of the trivial predictor that repeats the nearest token it sees (eval/trivial.h). */
void surprise_repeated(double *values, const Latents *latents);

/* A video's scores, window after window; {0} at first. Of `count` context lengths, and at [count]
 * of the least. */
typedef struct SurpriseScore {
    int64_t windows;
    double mean[SURPRISE_CONTEXTS + 1], most[SURPRISE_CONTEXTS + 1];
} SurpriseScore;
void surprise_add(SurpriseScore *score, const double *values, int count);
double surprise_least(const double *values, int count);

/* What scores say of n pairs of videos, one possible and one impossible.
 *
 *   accuracy   share of the pairs in which the impossible one has the greater score; equal scores
 *              (before the event both may have their greatest) count half
 *   low, high  95 % interval of Wilson; n of it is (sum m)² / sum m² over the m pairs of each scene
 *              (Kish), as pairs of one scene are no independent witnesses: the number of scenes
 *              where all have as many pairs, less where they have not
 *   scene_...  the same for scenes as a whole: the share of them whose impossible videos together
 *              have more than their possible ones. Where the pairs of a scene exchange their
 *              endings (video/physics.h), whatever one beginning or one ending adds to a score is
 *              on both sides and cancels, while it decides the pairs: half of them rightly. What is
 *              left is what beginning and ending have to do with each other
 *   auroc      probability that an impossible video has a greater score than a possible one, of
 *              any pair; equal ones count half */
typedef struct SurprisePairs {
    int64_t pairs, scenes, right, equal;
    double accuracy, low, high, auroc;
    double scene_accuracy, scene_low, scene_high;
} SurprisePairs;
/* possible[n], impossible[n] finite; scene[n]: any numbers, NULL: every pair is a scene. NaN for no
 * pairs. */
void surprise_pairs(SurprisePairs *result, const double *possible, const double *impossible,
                    const int64_t *scene, size_t n);

#endif
