/* Masks of a group of samples: which tokens are context and which are predicted.
 *
 * Multi-block 3-D (facebookresearch/jepa src/masks/multiblock3d.py, V-JEPA paper section 3.2): for
 * each mask setting one block size (t, h, w) is drawn for a whole group of samples; for each sample
 * `num_blocks` blocks of that size are placed uniformly; their union is the target, the rest is the
 * context. With max_temporal_keep < 1 the context only spans the first share of the clip. A sample
 * whose context is empty is drawn again. Random tubes (src/masks/random_tube.py): a share `ratio`
 * of the spatial positions is the target, through all of time.
 *
 * V-JEPA 2 (facebookresearch/vjepa2 src/masks/multiseq_multiblock3d.py) adds clips of several
 * lengths in one group, each length with its own block size and cut among its own, and, after the
 * cut, full_complement: target = all that is not context; else pred_full_complement: context = all
 * that is not target; last inv_block: the two lists change places.
 *
 * I-JEPA (facebookresearch/ijepa src/masks/multiblock.py): several target blocks, each a prediction
 * of its own, share one context: a block of its own size without the tokens of the targets. So
 * there are M settings but E <= M contexts, and setting m predicts from context context_of[m].
 * On clips the blocks are tubes through all of time.
 *
 * Tokens are numbered time-major: (t H + h) W + w. Every mask is a pure function of
 * (seed, step, group, slot, setting) and the clip length of its sample.
 */
#ifndef JEPA_MASKING_MASK_H
#define JEPA_MASKING_MASK_H

#include "base/error.h"
#include "base/random.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MASK_SETTINGS_MAX 16 /* settings per recipe; the published ones have 1 to 4 */
#define MASK_LENGTHS_MAX  16 /* clip lengths per recipe; the published ones have 1 */

typedef enum MaskKind { MASK_MULTIBLOCK, MASK_TUBE, MASK_IJEPA } MaskKind;

typedef struct MaskSetting {
    MaskKind kind;
    int num_blocks;
    double aspect_ratio[2];    /* height / width of a block, uniform */
    double spatial_scale[2];   /* area of a block as a share of the grid, uniform */
    double temporal_scale[2];  /* duration of a block as a share of the clip, uniform */
    double max_temporal_keep;  /* the context spans this share of the clip, from its start */
    int max_keep;              /* most context tokens of a sample; 0: no limit */
    double ratio;              /* tubes: share of positions that is target */
    bool full_complement;      /* targets: all tokens that are not context */
    bool pred_full_complement; /* context: all tokens that are not target; full_complement wins */
    bool inv_block;            /* last of all, context and target change places */
    double pred_mask_scale[2]; /* I-JEPA: area of a target block as a share of the grid */
    double enc_mask_scale[2];  /* I-JEPA: area of the context block (a square) likewise */
    int min_keep;              /* I-JEPA: lists cover more positions (h, w) than this */
    bool allow_overlap;        /* I-JEPA: the context keeps the tokens of the targets */
} MaskSetting;

typedef struct MaskGrid {
    int time, height, width; /* in tokens */
} MaskGrid;

static inline int mask_grid_tokens(MaskGrid grid) {
    return grid.time * grid.height * grid.width;
}

typedef enum MaskBatch {
    MASK_PACKED,  /* every sample keeps all its tokens */
    MASK_TRUNCATE /* published: each list is cut to the shortest of the group (and clip length) */
} MaskBatch;

typedef struct MaskRecipe {
    MaskBatch batch;
    int settings; /* M */
    MaskSetting setting[MASK_SETTINGS_MAX];
    int contexts; /* E; 0: every setting has its own, E = M and context_of[m] = m */
    int context_of[MASK_SETTINGS_MAX]; /* 0, ..., E-1, ascending; several only for I-JEPA */
    MaskGrid grid;                     /* of the longest clip */
    int samples;                       /* B: slots in a group */
    /* Clip lengths to check and to plan memory for, in time steps, at most grid.time, and how often
     * each comes (relative; all 0: equally often). lengths 0: every clip has grid.time. */
    int lengths, length[MASK_LENGTHS_MAX];
    double length_weight[MASK_LENGTHS_MAX];
} MaskRecipe;

static inline int mask_contexts(const MaskRecipe *recipe) {
    return recipe->contexts ? recipe->contexts : recipe->settings;
}

static inline int mask_context_of(const MaskRecipe *recipe, int m) {
    return recipe->contexts ? recipe->context_of[m] : m;
}

/* Makes the settings of `recipe` an I-JEPA sampler: num_targets (1 to 16, published 4) settings
 * with the values of `setting`, all predicted from one context. Grid, samples, batch stay. */
void mask_ijepa(MaskRecipe *recipe, const MaskSetting *setting, int num_targets);

/* The masks of one group, packed. Target sequence m·B + b is setting m of sample b: its tokens are
 * target[cu_target[s] .. cu_target[s+1]-1], ascending. Context sequence e·B + b is context e of
 * sample b, likewise; setting m predicts from context context_of[m]. */
typedef struct MaskGroup {
    int32_t *context, *target;                   /* token numbers, [capacity] */
    int32_t *cu_context, *cu_target;             /* [E·B + 1], [M·B + 1] */
    int64_t capacity_context, capacity_target;   /* tokens that fit */
    int contexts, context_of[MASK_SETTINGS_MAX]; /* E, and for each setting */
    /* most tokens of one sample, over its contexts and over its settings; 0: no limit */
    int64_t sample_context, sample_target;
    int redraws;       /* how often the group exceeded one of these */
    int32_t *shortest; /* [grid.time + 1] scratch: shortest list of each clip length */
} MaskGroup;

/* Is the recipe possible? Names what is wrong with which setting. Settings that hardly ever leave a
 * context (fewer than 1 draw in 100), at any of the recipe's clip lengths, are errors. */
int mask_check(const MaskRecipe *recipe, Error *error);

/* Tokens to plan memory for: the mean of the group's totals plus six standard deviations, over 512
 * simulated groups with the recipe's clip lengths, at most what the grid holds. */
void mask_capacity(int64_t *context, int64_t *target, const MaskRecipe *recipe);

/* The same for parts of a group: runs of `samples` samples, which divide the group's, that begin at
 * a multiple of it. One sample has the capacity of the longest clips, and no other part less than
 * one sample. */
typedef struct MaskCapacity {
    int samples;
    int64_t context, target;
} MaskCapacity;
void mask_capacities(MaskCapacity *parts, int count, const MaskRecipe *recipe);

/* Tokens of a group on average, and the sums of the squares of its sequences' lengths: its clips,
 * their contexts, what the predictor reads (context and target, for each setting), the targets, the
 * context tokens in the predictor. */
typedef struct MaskMeans {
    double clips, clip_squares, context, context_squares, predictor, predictor_squares, target,
        joined;
} MaskMeans;
void mask_means(MaskMeans *means, const MaskRecipe *recipe);

void mask_group_new(MaskGroup *group, const MaskRecipe *recipe, int64_t capacity_context,
                    int64_t capacity_target); /* owns its arrays; mask_group_free */
void mask_group_free(MaskGroup *group);
/* Memory of a group in bytes, for the plan. */
size_t mask_group_bytes(const MaskRecipe *recipe, int64_t capacity_context,
                        int64_t capacity_target);

/* The masks of samples first .. first + count - 1 of a group of `samples`, a group of their own. 0
 * when they exceed the capacity of `part`, which then is what it was; but the lists of a single
 * sample (only a group that was cut has one that does) are cut to fit. */
int mask_group_part(MaskGroup *part, const MaskGroup *group, int samples, int first, int count,
                    int settings);

/* Draws the masks of group `group_number` of step `step`. time: [B] time steps of each sample's
 * grid, 1 to grid.time; NULL: all have grid.time. Both lists of every sample hold a token. A group
 * that exceeds the capacity, or has a sample that exceeds its own, is drawn again with the next
 * attempt number; after 4,096 attempts its lists are cut, the last ones first (never seen: six
 * standard deviations). */
void mask_group_draw(MaskGroup *group, const MaskRecipe *recipe, uint64_t seed, uint64_t step,
                     uint64_t group_number, const int *time);

#endif
