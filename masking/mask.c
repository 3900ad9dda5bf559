/* The published mask sampler on counter-based random numbers. See masking/mask.h. */
#include "masking/mask.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIMULATED_GROUPS 512
#define ATTEMPTS         4096
#define EMPTY_TRIES                                                                                \
    1000 /* draws of a sample before its group is drawn again, block size included */

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

/* 1 if the sample has a context */
static int draw_once(int32_t *context, int *contexts, int32_t *target, int *targets,
                     const MaskSetting *setting, MaskGrid grid, const int block[3],
                     Random *random) {
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
    while (!draw_once(context, contexts, target, targets, setting, grid, block, random))
        if (++tries == EMPTY_TRIES)
            return -1;
    if (setting->max_keep && *contexts > setting->max_keep)
        *contexts = setting->max_keep;
    return 0;
}

void mask_group_new(MaskGroup *group, const MaskRecipe *recipe, int64_t capacity_context,
                    int64_t capacity_target) {
    size_t sequences = (size_t)(recipe->settings * recipe->samples);
    /* One sample is drawn in place behind those already there, before it is known to fit. */
    size_t spare = (size_t)mask_grid_tokens(recipe->grid);
    group->context = memory_new((size_t)capacity_context + spare, sizeof *group->context);
    group->target = memory_new((size_t)capacity_target + spare, sizeof *group->target);
    group->cu_context = memory_new(sequences + 1, sizeof *group->cu_context);
    group->cu_target = memory_new(sequences + 1, sizeof *group->cu_target);
    group->capacity_context = capacity_context;
    group->capacity_target = capacity_target;
    group->redraws = 0;
}

void mask_group_free(MaskGroup *group) {
    free(group->context);
    free(group->target);
    free(group->cu_context);
    free(group->cu_target);
    memset(group, 0, sizeof *group);
}

/* multiblock3d.py: lists are cut to the shortest of the group, `list[:shortest]`, which takes the
 * latest time steps away first. Sequences first .. first + samples - 1 are the group. */
static void truncate_setting(int32_t *tokens, int32_t *cu, int first, int samples) {
    int32_t shortest = INT32_MAX;
    for (int s = first; s < first + samples; s++)
        shortest = cu[s + 1] - cu[s] < shortest ? cu[s + 1] - cu[s] : shortest;
    int32_t from = cu[first];
    for (int b = 0; b < samples; b++) {
        int32_t next = cu[first + b + 1];
        memmove(tokens + cu[first] + b * shortest, tokens + from,
                (size_t)shortest * sizeof *tokens);
        cu[first + b] = cu[first] + b * shortest;
        from = next;
    }
    cu[first + samples] = cu[first] + samples * shortest;
}

/* 1 if all fits. With `cut`, lists are cut to fit instead. */
static int draw_group(MaskGroup *group, const MaskRecipe *recipe, uint64_t seed, uint64_t step,
                      uint64_t group_number, int cut) {
    int32_t contexts = 0, targets = 0;
    group->cu_context[0] = group->cu_target[0] = 0;
    for (int m = 0; m < recipe->settings; m++) {
        const MaskSetting *setting = &recipe->setting[m];
        int block[3] = {0};
        Random size = random_at(seed, RANDOM_MASK_SIZE, step, group_number * 64 + (uint64_t)m);
        if (setting->kind == MASK_MULTIBLOCK)
            mask_block_size(block, setting, recipe->grid, &size);
        for (int b = 0; b < recipe->samples; b++) {
            uint64_t slot = group_number * (uint64_t)recipe->samples + (uint64_t)b;
            Random place = random_at(seed, RANDOM_MASK_PLACE, step, slot * 64 + (uint64_t)m);
            int c, t, s = m * recipe->samples + b;
            if (mask_sample(group->context + contexts, &c, group->target + targets, &t, setting,
                            recipe->grid, block, &place))
                return 0;
            if (cut && contexts + c > group->capacity_context)
                c = (int)(group->capacity_context - contexts);
            if (cut && targets + t > group->capacity_target)
                t = (int)(group->capacity_target - targets);
            contexts += c;
            targets += t;
            if (contexts > group->capacity_context || targets > group->capacity_target)
                return 0;
            group->cu_context[s + 1] = contexts;
            group->cu_target[s + 1] = targets;
        }
        if (recipe->batch == MASK_TRUNCATE) {
            truncate_setting(group->context, group->cu_context, m * recipe->samples,
                             recipe->samples);
            truncate_setting(group->target, group->cu_target, m * recipe->samples, recipe->samples);
            contexts = group->cu_context[(m + 1) * recipe->samples];
            targets = group->cu_target[(m + 1) * recipe->samples];
        }
    }
    return 1;
}

void mask_group_draw(MaskGroup *group, const MaskRecipe *recipe, uint64_t seed, uint64_t step,
                     uint64_t group_number) {
    /* Attempt a uses the seed a · 2^64/φ further on, which no other purpose does. */
    const uint64_t golden = 0x9E3779B97F4A7C15u;
    for (group->redraws = 0; group->redraws < ATTEMPTS; group->redraws++)
        if (draw_group(group, recipe, seed + (uint64_t)group->redraws * golden, step, group_number,
                       0))
            return;
    JEPA_ASSERT(draw_group(group, recipe, seed, step, group_number, 1));
}

void mask_capacity(int64_t *context, int64_t *target, const MaskRecipe *recipe) {
    int64_t most = (int64_t)recipe->settings * recipe->samples * mask_grid_tokens(recipe->grid);
    MaskGroup group;
    mask_group_new(&group, recipe, most, most);
    double sum[2] = {0}, square[2] = {0};
    int64_t seen[2] = {0};
    int last = recipe->settings * recipe->samples;
    for (uint64_t i = 0; i < SIMULATED_GROUPS; i++) {
        mask_group_draw(&group, recipe, 0, i, 0);
        int64_t totals[2] = {group.cu_context[last], group.cu_target[last]};
        for (int k = 0; k < 2; k++) {
            sum[k] += (double)totals[k];
            square[k] += (double)totals[k] * (double)totals[k];
            seen[k] = totals[k] > seen[k] ? totals[k] : seen[k];
        }
    }
    mask_group_free(&group);
    int64_t capacity[2];
    for (int k = 0; k < 2; k++) {
        double mean = sum[k] / SIMULATED_GROUPS;
        double variance = fmax(0, square[k] / SIMULATED_GROUPS - mean * mean);
        capacity[k] = (int64_t)ceil(mean + 6 * sqrt(variance));
        capacity[k] = capacity[k] < seen[k] ? seen[k] : capacity[k];
        capacity[k] = capacity[k] < most ? capacity[k] : most;
    }
    *context = capacity[0];
    *target = capacity[1];
}

static int check_range(const double range[2], double low, double high, const char *name, int m,
                       Error *error) {
    if (!(range[0] >= low && range[0] <= range[1] && range[1] <= high))
        return error_set(
            error, ERROR_USAGE,
            "mask[%d].%s: expected two numbers from %g to %g, the smaller first, found "
            "[%g, %g]",
            m, name, low, high, range[0], range[1]);
    return 0;
}

int mask_check(const MaskRecipe *recipe, Error *error) {
    if (recipe->settings < 1 || recipe->settings > MASK_SETTINGS_MAX)
        return error_set(error, ERROR_USAGE, "mask: expected 1 to %d settings, found %d",
                         MASK_SETTINGS_MAX, recipe->settings);
    int tokens = mask_grid_tokens(recipe->grid);
    int32_t *context = memory_new((size_t)tokens, sizeof *context);
    int32_t *target = memory_new((size_t)tokens, sizeof *target);
    int result = 0;
    for (int m = 0; m < recipe->settings && !result; m++) {
        const MaskSetting *s = &recipe->setting[m];
        if (s->kind == MASK_TUBE) {
            if (!(s->ratio > 0 && s->ratio < 1))
                result = error_set(error, ERROR_USAGE,
                                   "mask[%d].ratio: expected a share between 0 and 1, found %g", m,
                                   s->ratio);
        } else if (s->num_blocks < 1 || s->num_blocks > 1000) {
            result = error_set(error, ERROR_USAGE,
                               "mask[%d].num_blocks: expected 1 to 1000, found %d", m,
                               s->num_blocks);
        } else if (check_range(s->aspect_ratio, 0.01, 100, "aspect_ratio", m, error) ||
                   check_range(s->spatial_scale, 0, 1, "spatial_scale", m, error) ||
                   check_range(s->temporal_scale, 0, 1, "temporal_scale", m, error)) {
            result = -1;
        } else if (!(s->max_temporal_keep > 0 && s->max_temporal_keep <= 1)) {
            result = error_set(
                error, ERROR_USAGE,
                "mask[%d].max_temporal_keep: expected a share above 0 up to 1, found %g", m,
                s->max_temporal_keep);
        }
        if (result)
            break;
        int contexts, targets, with_context = 0, with_target = 0;
        for (uint64_t i = 0; i < 1000; i++) {
            Random random = random_at(0, RANDOM_MASK_SIZE, i, (uint64_t)m);
            int block[3] = {0};
            if (s->kind == MASK_MULTIBLOCK)
                mask_block_size(block, s, recipe->grid, &random);
            with_context += draw_once(context, &contexts, target, &targets, s, recipe->grid, block,
                                      &random);
            with_target += targets > 0;
        }
        if (with_context < 1000 / 100 || with_target < 1000)
            result = error_set(error, ERROR_USAGE,
                               "mask[%d] hides %s of a %d x %d x %d grid: use %s blocks", m,
                               with_target < 1000 ? "nothing" : "nearly always all",
                               recipe->grid.time, recipe->grid.height, recipe->grid.width,
                               with_target < 1000 ? "larger" : "fewer or smaller");
    }
    free(context);
    free(target);
    return result;
}
