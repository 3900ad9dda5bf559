/* Block sizes and positions of one sample. See masking/sample.h. */
#include "masking/sample.h"
#include <math.h>
#include <string.h>

#define EMPTY_TRIES                                                                                \
    1000               /* draws of a sample before its group is drawn again, block size included */
#define IJEPA_DRAWS 20 /* multiblock.py og_timeout */

/* multiblock3d.py _sample_block_size: int() truncates, round() goes to even on ties */
void mask_block_size(int block[3], const MaskSetting *setting, MaskGrid grid, Random *random) {
    double temporal = random_between(random, setting->temporal_scale[0],
                                     setting->temporal_scale[1]);
    double spatial = random_between(random, setting->spatial_scale[0], setting->spatial_scale[1]);
    double aspect = random_between(random, setting->aspect_ratio[0], setting->aspect_ratio[1]);
    int time = (int)(grid.time * temporal);
    double area = (int)(grid.height * grid.width * spatial);
    int height = (int)nearbyint(sqrt(area * aspect)), width = (int)nearbyint(sqrt(area / aspect));
    block[0] = time < 1 ? 1 : time;
    block[1] = height < grid.height ? height : grid.height;
    block[2] = width < grid.width ? width : grid.width;
}

static void mark_blocks(uint8_t *hidden, const MaskSetting *setting, MaskGrid grid,
                        const int block[3], Random *random) {
    for (int n = 0; n < setting->num_blocks; n++) {
        int top = (int)random_below(random, (uint64_t)(grid.height - block[1] + 1));
        int left = (int)random_below(random, (uint64_t)(grid.width - block[2] + 1));
        int start = (int)random_below(random, (uint64_t)(grid.time - block[0] + 1));
        for (int t = start; t < start + block[0]; t++)
            for (int h = top; h < top + block[1]; h++)
                memset(hidden + (t * grid.height + h) * grid.width + left, 1, (size_t)block[2]);
    }
    /* The context spans the first frames only; what comes later is predicted. */
    int span = (int)(grid.time * setting->max_temporal_keep), plane = grid.height * grid.width;
    span = span < 1 ? 1 : span;
    if (span < grid.time)
        memset(hidden + span * plane, 1, (size_t)((grid.time - span) * plane));
}

/* random_tube.py: int(positions (1 - ratio)) positions are kept, in every frame. The first `kept`
 * of a shuffle are chosen by selection sampling, in order of position. */
static void mark_tubes(uint8_t *hidden, const MaskSetting *setting, MaskGrid grid, Random *random) {
    int plane = grid.height * grid.width, left = (int)(plane * (1 - setting->ratio));
    for (int i = 0; i < plane; i++) {
        int keep = random_below(random, (uint64_t)(plane - i)) < (uint64_t)left;
        left -= keep;
        for (int t = 0; t < grid.time; t++)
            hidden[t * plane + i] = !keep;
    }
}

int mask_try(int32_t *context, int *contexts, int32_t *target, int *targets,
             const MaskSetting *setting, MaskGrid grid, const int block[3], Random *random) {
    int tokens = mask_grid_tokens(grid);
    /* target doubles as the map of hidden tokens: bytes first, numbers after */
    uint8_t *hidden = (uint8_t *)target + (size_t)tokens * (sizeof *target - 1);
    memset(hidden, 0, (size_t)tokens);
    if (setting->kind == MASK_TUBE)
        mark_tubes(hidden, setting, grid, random);
    else
        mark_blocks(hidden, setting, grid, block, random);
    int kept = 0, cut = 0;
    for (int i = 0; i < tokens; i++)
        if (!hidden[i])
            context[kept++] = i;
    /* hidden[i] lies at or behind target[i]'s last byte, so numbers never overwrite flags unread */
    for (int i = 0; i < tokens; i++)
        if (hidden[i])
            target[cut++] = i;
    *contexts = kept;
    *targets = cut;
    return kept > 0;
}

int mask_sample(int32_t *context, int *contexts, int32_t *target, int *targets,
                const MaskSetting *setting, MaskGrid grid, const int block[3], Random *random) {
    int tries = 0;
    while (!mask_try(context, contexts, target, targets, setting, grid, block, random))
        if (++tries == EMPTY_TRIES)
            return -1;
    if (setting->max_keep && *contexts > setting->max_keep)
        *contexts = setting->max_keep;
    return 0;
}

/* One number decides both area and aspect ratio: large blocks are tall ones. */
static void ijepa_size(int block[3], const double scale[2], const double aspect_ratio[2],
                       MaskGrid grid, Random *random) {
    double share = random_unit(random);
    double aspect = aspect_ratio[0] + share * (aspect_ratio[1] - aspect_ratio[0]);
    double area = (int)(grid.height * grid.width * (scale[0] + share * (scale[1] - scale[0])));
    int height = (int)nearbyint(sqrt(area * aspect)), width = (int)nearbyint(sqrt(area / aspect));
    block[0] = grid.time;
    block[1] = height < grid.height ? height : grid.height - 1;
    block[2] = width < grid.width ? width : grid.width - 1;
}

void mask_ijepa_size(int target[3], int context[3], const MaskSetting *setting, MaskGrid grid,
                     Random *random) {
    static const double square[2] = {1, 1};
    ijepa_size(target, setting->pred_mask_scale, setting->aspect_ratio, grid, random);
    ijepa_size(context, setting->enc_mask_scale, square, grid, random);
}

int mask_ijepa_possible(const int block[3], const MaskSetting *setting) {
    return block[1] * block[2] > setting->min_keep;
}

MaskCorner mask_ijepa_corner(const int block[3], MaskGrid grid, Random *random) {
    int top = (int)random_below(random, (uint64_t)(grid.height - block[1]));
    int left = (int)random_below(random, (uint64_t)(grid.width - block[2]));
    return (MaskCorner){top, left};
}

static bool inside(int h, int w, const int block[3], MaskCorner corner) {
    return h >= corner.top && h < corner.top + block[1] && w >= corner.left &&
           w < corner.left + block[2];
}

/* A block without the first `holes` of the target blocks, in the first time step. */
static int ijepa_plane(int32_t *list, const int block[3], MaskCorner at, const MaskCorner *corner,
                       int holes, const int hole[3], MaskGrid grid) {
    int count = 0;
    for (int h = at.top; h < at.top + block[1]; h++)
        for (int w = at.left; w < at.left + block[2]; w++) {
            bool taken = false;
            for (int k = 0; k < holes && !taken; k++)
                taken = inside(h, w, hole, corner[k]);
            if (!taken)
                list[count++] = h * grid.width + w;
        }
    return count;
}

/* The same positions in all later time steps. */
static int through_time(int32_t *list, int count, MaskGrid grid) {
    for (int t = 1; t < grid.time; t++)
        for (int i = 0; i < count; i++)
            list[t * count + i] = list[i] + t * grid.height * grid.width;
    return count * grid.time;
}

int mask_ijepa_target(int32_t *target, const int block[3], MaskCorner corner, MaskGrid grid) {
    return through_time(target, ijepa_plane(target, block, corner, NULL, 0, block, grid), grid);
}

int mask_ijepa_context(int32_t *context, const int block[3], const MaskCorner *corner, int targets,
                       const int target_block[3], const MaskSetting *setting, MaskGrid grid,
                       Random *random) {
    JEPA_ASSERT(mask_ijepa_possible(block, setting));
    int holes = setting->allow_overlap ? 0 : targets, count = 0;
    for (int draws = 1;; draws++) {
        MaskCorner at = mask_ijepa_corner(block, grid, random);
        count = ijepa_plane(context, block, at, corner, holes, target_block, grid);
        if (count > setting->min_keep)
            return through_time(context, count, grid);
        holes -= holes && draws % IJEPA_DRAWS == 0;
    }
}
