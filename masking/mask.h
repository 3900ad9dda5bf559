/* Multi-block 3-D masks: which tokens are context and which are predicted.
 *
 * Published sampler (facebookresearch/jepa src/masks/multiblock3d.py, V-JEPA paper section 3.2):
 * for each mask setting one block size (t, h, w) is drawn for a whole group of samples; for each
 * sample `num_blocks` blocks of that size are placed uniformly; their union is the target, the rest
 * is the context. With max_temporal_keep < 1 the context only spans the first share of the clip. A
 * sample whose context is empty is drawn again. Random tubes (src/masks/random_tube.py): a share
 * `ratio` of the spatial positions is the target, through all of time.
 *
 * Tokens are numbered time-major: (t H + h) W + w. Every mask is a pure function of
 * (seed, step, group, slot, setting).
 */
#ifndef JEPA_MASKING_MASK_H
#define JEPA_MASKING_MASK_H

#include "base/error.h"
#include "base/random.h"
#include <stdbool.h>
#include <stdint.h>

#define MASK_SETTINGS_MAX 16 /* settings per recipe; the published ones have 2 */

typedef enum MaskKind { MASK_MULTIBLOCK, MASK_TUBE } MaskKind;

typedef struct MaskSetting {
    MaskKind kind;
    int num_blocks;
    double aspect_ratio[2];   /* height / width of a block, uniform */
    double spatial_scale[2];  /* area of a block as a share of the grid, uniform */
    double temporal_scale[2]; /* duration of a block as a share of the clip, uniform */
    double max_temporal_keep; /* the context spans this share of the clip, from its start */
    int max_keep;             /* most context tokens of a sample; 0: no limit */
    double ratio;             /* tubes: share of positions that is target */
} MaskSetting;

typedef struct MaskGrid {
    int time, height, width; /* in tokens */
} MaskGrid;

static inline int mask_grid_tokens(MaskGrid grid) {
    return grid.time * grid.height * grid.width;
}

typedef enum MaskBatch {
    MASK_PACKED,  /* every sample keeps all its tokens */
    MASK_TRUNCATE /* published: each list is cut to the shortest of the group */
} MaskBatch;

typedef struct MaskRecipe {
    MaskBatch batch;
    int settings; /* M */
    MaskSetting setting[MASK_SETTINGS_MAX];
    MaskGrid grid;
    int samples; /* B: slots in a group */
} MaskRecipe;

/* The masks of one group, packed: sequence m·B + b is setting m of sample b; its context tokens are
 * context[cu_context[s] .. cu_context[s+1]-1], ascending; targets likewise. */
typedef struct MaskGroup {
    int32_t *context, *target;                 /* token numbers, [capacity] */
    int32_t *cu_context, *cu_target;           /* [M·B + 1] */
    int64_t capacity_context, capacity_target; /* tokens that fit */
    int redraws;                               /* how often the group exceeded the capacity */
} MaskGroup;

/* Is the recipe possible? Names what is wrong with which setting. Settings that hardly ever leave a
 * context (fewer than 1 draw in 100) are errors. */
int mask_check(const MaskRecipe *recipe, Error *error);

/* Tokens to plan memory for: the mean of the group's totals plus six standard deviations, over 512
 * simulated groups, at most what the grid holds. */
void mask_capacity(int64_t *context, int64_t *target, const MaskRecipe *recipe);

void mask_group_new(MaskGroup *group, const MaskRecipe *recipe, int64_t capacity_context,
                    int64_t capacity_target); /* owns its arrays; mask_group_free */
void mask_group_free(MaskGroup *group);

/* Draws the masks of group `group` of step `step`. A group that exceeds the capacity is drawn again
 * with the next attempt number; after 4,096 attempts its lists are cut, latest tokens first (never
 * seen: six standard deviations). */
void mask_group_draw(MaskGroup *group, const MaskRecipe *recipe, uint64_t seed, uint64_t step,
                     uint64_t group_number);

/* One sample: lists of at most all tokens; returns through the counts. `block` is (t, h, w). -1
 * when blocks of that size hardly ever leave a context. */
void mask_block_size(int block[3], const MaskSetting *setting, MaskGrid grid, Random *random);
int mask_sample(int32_t *context, int *contexts, int32_t *target, int *targets,
                const MaskSetting *setting, MaskGrid grid, const int block[3], Random *random);

#endif
