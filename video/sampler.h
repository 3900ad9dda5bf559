/* The sampler: which video, which stretch of it, which frames and which crop each slot of each step
 * gets. A pure function of (seed, step, slot, attempt); there is no state to save.
 *
 * Sampling counts in units. `video`: every video is one unit. `duration`: every stretch of a video
 * as long as a clip is one, so that long films come as often as they are long, and an epoch goes
 * through all of their stretches once. The order of an epoch is a keyed permutation of the units.
 *
 * Several data sets without weights are joined end to end. With weights, every block of 4,096
 * samples holds each data set's share of it (largest remainder), in an order that is a keyed
 * permutation, and each data set goes through its own epochs: shares are exact, nothing is drawn
 * twice before all has been drawn once. (The published sampler draws with replacement,
 * independently.)
 *
 * num_clips > 1: each unit gives that many clips to the batch, their first frames one from each
 * equal part of those that are possible (the published code cuts the video itself into parts; where
 * it is long the two are the same); slots b, b + B/num_clips, ... of a group belong together.
 */
#ifndef JEPA_VIDEO_SAMPLER_H
#define JEPA_VIDEO_SAMPLER_H

#include "video/clip.h"
#include "video/index.h"

#define SAMPLER_BLOCK 4096 /* samples over which the shares of data sets are exact */

typedef enum SamplerMode { SAMPLER_VIDEO, SAMPLER_DURATION } SamplerMode;

typedef struct SamplerSettings {
    ClipSpec clip; /* frames: the longest of `frames` below */
    SamplerMode mode;
    int num_clips; /* clips of a unit in a batch, >= 1 */
    int weighted;  /* data sets with weights; 0: joined */
    double weights[INDEX_SOURCES_MAX];
    int frames[INDEX_SOURCES_MAX]; /* frames of a clip by data set (dataset_fpcs); 0: clip.frames */
    uint64_t seed;
    int hold_out; /* videos that are never drawn (video/hold_out.h) */
} SamplerSettings;

typedef struct SamplerSet {
    uint32_t *files; /* [count] file numbers */
    size_t count;
    uint64_t *ends; /* [count] units up to and with each file; NULL: one a file */
    uint64_t units;
    uint32_t quota, start; /* samples in a block, and where they begin in it */
} SamplerSet;

typedef struct Sampler {
    const VideoIndex *index;
    SamplerSettings settings;
    int sets;
    SamplerSet set[INDEX_SOURCES_MAX];
    uint64_t units;   /* of all sets */
    size_t too_short; /* videos that are not drawn because they are shorter than a clip */
    size_t hdr;       /* videos that are not drawn because they are HDR (data.hdr: refuse) */
    size_t held;      /* videos that are held out, copies of them included */
} Sampler;

/* `index` must outlive it. Errors: no video can give a clip, weights that do not fit, local views
 * that cannot be had (clip_check_views). */
int sampler_new(Sampler *sampler, const VideoIndex *index, const SamplerSettings *settings,
                Error *error);
void sampler_free(Sampler *sampler);

/* Draws slot `slot` of `slots` in `step`, in groups of `group` slots; attempt > 0 draws another
 * file of the same data set at random. */
void sampler_draw(const Sampler *sampler, ClipDraw *draw, uint64_t step, uint64_t slots,
                  uint64_t group, uint64_t slot, int attempt);

/* What the data set's clips are like: the spec with its own number of frames. */
ClipSpec sampler_clip(const Sampler *sampler, uint32_t file);

#endif
