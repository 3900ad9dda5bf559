/* Where the tokens of attentive probes come from (TokenSource in eval/attentive.h): a feature
 * store, or the encoder itself, on new random views of the videos in every epoch.
 *
 * A sequence holds the tokens of one clip, or with across_segments those of all segments of a
 * (video, view), one segment after another, as attend_across_segments of the published probes.
 * Several layers lie side by side in a row, D = layers · width; with layers_as_tokens they lie one
 * after another instead, as V-JEPA 2 has them for Diving48 and Jester: layers · N rows of `width`.
 * Letters: N rows of a sequence, D width of a row.
 */
#ifndef JEPA_EVAL_TOKEN_SOURCES_H
#define JEPA_EVAL_TOKEN_SOURCES_H

#include "eval/attentive.h"
#include "eval/store.h"
#include "jepa/model.h"
#include "video/clip.h"
#include "video/frame_cache.h"

typedef struct TokenLayout {
    bool across_segments, layers_as_tokens;
} TokenLayout;

/* What a sequence of a store is. */
typedef struct TokenSequence {
    int64_t video; /* of the store */
    int segment;   /* 0 with across_segments */
    int view;
} TokenSequence;

typedef struct StoreTokens {
    TokenSource source; /* its context is this struct, which must stay where it is */
    const Store *store;
    TokenLayout layout;
    TokenSequence *sequences; /* [source.count] by video, then segment, then view */
    int layers;
    float *clip; /* [rows][D] of a clip on its way, where layers are turned; or NULL */
} StoreTokens;

/* `videos`: [count] numbers of the store's videos, in any order; NULL: all of them. Those that
 * could not be decoded are left out. `view`: only this one; -1: all. The store must stay open.
 * Errors: no video is left. The caller closes it. */
int store_tokens_open(StoreTokens *tokens, const Store *store, const int64_t *videos, int64_t count,
                      int view, TokenLayout layout, Error *error);
void store_tokens_close(StoreTokens *tokens);

/* The published augmentation of probes' training: random resized crop of scale 0.08 to 1 and ratio
 * 3/4 to 4/3, RandAugment rand-m7-n4-mstd0.5-inc1, random erasing with probability 0.25, no
 * mirroring (facebookresearch/jepa evals/video_classification_frozen). */
ClipSpec augment_published(const ClipSpec *spec);

/* Clips through the encoder, in every epoch other ones: clip `segment` of a sequence lies somewhere
 * in that part of the video, cropped and augmented by itself; all a pure function of (seed, epoch,
 * sequence, segment). They are decoded ahead in the order that begin is told. A clip that cannot be
 * decoded is drawn again from the same part, a few times, with a warning that names the file; a
 * video that gives none ends the pass with an error. */
typedef struct AugmentedSettings {
    Model *model; /* plan.settings 0, with its weights; used by read alone */
    char network; /* 't' or 'c' */
    const VideoIndex *index;
    ClipSpec spec;         /* as they are drawn: augment_published of the recipe's */
    const uint32_t *files; /* [count] numbers into the index: a sequence each; copied */
    int64_t count;
    int segments; /* clips of a sequence; 1: one clip, from anywhere in the video */
    bool layers_as_tokens;
    uint64_t seed;
    double timeout;          /* seconds for one clip; 0: no limit */
    FrameCache *cache;       /* or NULL */
    VideoHardware *hardware; /* or NULL */
    int threads;             /* that decode */
} AugmentedSettings;

typedef struct AugmentedTokens AugmentedTokens;
/* Errors: too many clips for one epoch's random numbers. Everything in settings but `files` must
 * outlive it. */
int augmented_tokens_open(AugmentedTokens **tokens, const AugmentedSettings *settings,
                          Error *error);
void augmented_tokens_close(AugmentedTokens *tokens);
/* `read` must be asked in the order that `begin` was told; a pass may be left early. Without begin
 * the first is epoch 0, ascending. */
TokenSource augmented_tokens_source(AugmentedTokens *tokens);
/* The draw of a clip, for whoever wants to look at it: pure. */
void augmented_tokens_draw(ClipDraw *draw, const AugmentedSettings *settings, int epoch,
                           int64_t sequence, int segment, int attempt);

#endif
