/* The masks of one sample: the published samplers on counter-based random numbers. The groups of
 * masking/mask.h are made of these. Lists are ascending token numbers (t H + h) W + w and have room
 * for all tokens of the grid; blocks are (t, h, w) in tokens. */
#ifndef JEPA_MASKING_SAMPLE_H
#define JEPA_MASKING_SAMPLE_H

#include "masking/mask.h"

/* ---- multi-block and tubes ---- */

/* multiblock3d.py _sample_block_size; draws three numbers */
void mask_block_size(int block[3], const MaskSetting *setting, MaskGrid grid, Random *random);

/* One draw; max_keep is not applied. 1 if the sample has a context. `block` is unused by tubes. */
int mask_try(int32_t *context, int *contexts, int32_t *target, int *targets,
             const MaskSetting *setting, MaskGrid grid, const int block[3], Random *random);

/* Draws until there is a context, then applies max_keep; -1 when blocks of that size hardly ever
 * leave one. */
int mask_sample(int32_t *context, int *contexts, int32_t *target, int *targets,
                const MaskSetting *setting, MaskGrid grid, const int block[3], Random *random);

/* ---- I-JEPA ---- */

typedef struct MaskCorner {
    int top, left;
} MaskCorner;

/* multiblock.py _sample_block_size of a target block and of the context block; draws two numbers.
 * Blocks span all of time. */
void mask_ijepa_size(int target[3], int context[3], const MaskSetting *setting, MaskGrid grid,
                     Random *random);

/* 1 if a list from a block of this size can have more than min_keep positions. The published
 * sampler never returns where it cannot. */
int mask_ijepa_possible(const int block[3], const MaskSetting *setting);

/* multiblock.py draws the top in [0, H - h), the left in [0, W - w): the last row and column are
 * never covered. Kept as published. */
MaskCorner mask_ijepa_corner(const int block[3], MaskGrid grid, Random *random);

/* The tokens of a block; returns how many. */
int mask_ijepa_target(int32_t *target, const int block[3], MaskCorner corner, MaskGrid grid);

/* The context block without the tokens of the sample's target blocks at corner[0..targets-1],
 * drawn until it has more than min_keep positions; after every 20 draws in vain one more target
 * block, from the last on, is left in. Returns its number of tokens. The block must be possible. */
int mask_ijepa_context(int32_t *context, const int block[3], const MaskCorner *corner, int targets,
                       const int target_block[3], const MaskSetting *setting, MaskGrid grid,
                       Random *random);

#endif
