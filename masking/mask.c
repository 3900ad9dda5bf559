/* The masks of a group: draw, cut, complement, swap, pack. See masking/mask.h. */
#include "masking/mask.h"
#include "masking/sample.h"
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS     4096
#define STREAMS      64 /* streams of a slot or group: one a setting, then one an I-JEPA context */
#define IJEPA_STREAM 32 /* the first of the latter */

/* One attempt at a group. */
typedef struct Draw {
    const MaskRecipe *recipe;
    const int *time; /* [B], or NULL: every clip has grid.time */
    uint64_t seed, step, group;
    bool cut; /* lists are cut to fit instead of giving up */
} Draw;

void mask_ijepa(MaskRecipe *recipe, const MaskSetting *setting, int num_targets) {
    JEPA_ASSERT(num_targets >= 1 && num_targets <= MASK_SETTINGS_MAX);
    recipe->settings = num_targets;
    recipe->contexts = 1;
    memset(recipe->context_of, 0, sizeof recipe->context_of);
    for (int m = 0; m < num_targets; m++) {
        recipe->setting[m] = *setting;
        recipe->setting[m].kind = MASK_IJEPA;
    }
}

/* The settings that share the context of setting m are m .. result - 1. */
static int context_end(const MaskRecipe *recipe, int m) {
    int e = mask_context_of(recipe, m), end = m + 1;
    while (end < recipe->settings && mask_context_of(recipe, end) == e)
        end++;
    return end;
}

/* Tokens behind the capacity. A context and its targets are drawn whole behind those already there,
 * and cut only then. */
static void find_spare(int64_t *context, int64_t *target, const MaskRecipe *recipe) {
    int widest = 1;
    for (int m = 0; m < recipe->settings; m = context_end(recipe, m))
        widest = context_end(recipe, m) - m > widest ? context_end(recipe, m) - m : widest;
    *context = (int64_t)recipe->samples * mask_grid_tokens(recipe->grid);
    *target = widest * *context;
}

size_t mask_group_bytes(const MaskRecipe *recipe, int64_t capacity_context,
                        int64_t capacity_target) {
    int64_t context, target;
    find_spare(&context, &target, recipe);
    return (size_t)(capacity_context + context + capacity_target + target) * sizeof(int32_t);
}

void mask_group_new(MaskGroup *group, const MaskRecipe *recipe, int64_t capacity_context,
                    int64_t capacity_target) {
    size_t samples = (size_t)recipe->samples, contexts = (size_t)mask_contexts(recipe);
    int64_t context, target;
    find_spare(&context, &target, recipe);
    group->context = memory_new((size_t)(capacity_context + context), sizeof *group->context);
    group->target = memory_new((size_t)(capacity_target + target), sizeof *group->target);
    group->cu_context = memory_new(contexts * samples + 1, sizeof *group->cu_context);
    group->cu_target = memory_new((size_t)recipe->settings * samples + 1, sizeof *group->cu_target);
    group->shortest = memory_new((size_t)recipe->grid.time + 1, sizeof *group->shortest);
    group->capacity_context = capacity_context;
    group->capacity_target = capacity_target;
    group->contexts = (int)contexts;
    for (int m = 0; m < MASK_SETTINGS_MAX; m++)
        group->context_of[m] = m < recipe->settings ? mask_context_of(recipe, m) : 0;
    group->sample_context = group->sample_target = 0;
    group->redraws = 0;
}

void mask_group_free(MaskGroup *group) {
    free(group->context);
    free(group->target);
    free(group->cu_context);
    free(group->cu_target);
    free(group->shortest);
    memset(group, 0, sizeof *group);
}

static MaskGrid grid_of(const Draw *draw, int b) {
    MaskGrid grid = draw->recipe->grid;
    if (draw->time)
        grid.time = draw->time[b];
    return grid;
}

/* Each clip length has a block size of its own: the longest takes the first three numbers of the
 * stream, a clip that is n steps shorter the n-th three after them. */
static Random size_stream(const Draw *draw, int m, int time) {
    Random random = random_at(draw->seed, RANDOM_MASK_SIZE, draw->step,
                              draw->group * STREAMS + (uint64_t)m);
    for (int i = 0; i < 3 * (draw->recipe->grid.time - time); i++)
        random_unit(&random);
    return random;
}

static Random place_stream(const Draw *draw, int b, int stream) {
    uint64_t slot = draw->group * (uint64_t)draw->recipe->samples + (uint64_t)b;
    return random_at(draw->seed, RANDOM_MASK_PLACE, draw->step, slot * STREAMS + (uint64_t)stream);
}

/* Setting m, with its own context e: every sample, uncut. 0 when one never has a context. */
static int draw_blocks(MaskGroup *group, const Draw *draw, int e, int m) {
    const MaskRecipe *recipe = draw->recipe;
    const MaskSetting *setting = &recipe->setting[m];
    int32_t *cu_context = group->cu_context + e * recipe->samples;
    int32_t *cu_target = group->cu_target + m * recipe->samples;
    int block[3] = {0};
    for (int b = 0; b < recipe->samples; b++) {
        MaskGrid grid = grid_of(draw, b);
        if (setting->kind == MASK_MULTIBLOCK && (!b || draw->time)) {
            Random size = size_stream(draw, m, grid.time);
            mask_block_size(block, setting, grid, &size);
        }
        Random place = place_stream(draw, b, m);
        int contexts, targets;
        if (mask_sample(group->context + cu_context[b], &contexts, group->target + cu_target[b],
                        &targets, setting, grid, block, &place))
            return 0;
        cu_context[b + 1] = cu_context[b] + contexts;
        cu_target[b + 1] = cu_target[b] + targets;
    }
    return 1;
}

/* Sample b's block sizes (I-JEPA settings that share a context share them). 0 when too small. */
static int ijepa_blocks(int target[3], int context[3], const Draw *draw, int b, int m) {
    const MaskSetting *setting = &draw->recipe->setting[m];
    MaskGrid grid = grid_of(draw, b);
    Random size = size_stream(draw, m, grid.time);
    mask_ijepa_size(target, context, setting, grid, &size);
    return mask_ijepa_possible(target, setting) && mask_ijepa_possible(context, setting);
}

static MaskCorner ijepa_corner(const int block[3], const Draw *draw, int b, int m) {
    Random place = place_stream(draw, b, m);
    return mask_ijepa_corner(block, grid_of(draw, b), &place);
}

/* I-JEPA settings m .. end - 1, which share context e: every sample, uncut. Positions are drawn
 * twice, once for the target lists, which lie setting by setting, and once for the holes in the
 * context. 0 when the blocks are too small. */
static int draw_ijepa(MaskGroup *group, const Draw *draw, int e, int m, int end) {
    const MaskRecipe *recipe = draw->recipe;
    int32_t *cu_context = group->cu_context + e * recipe->samples;
    MaskCorner corner[MASK_SETTINGS_MAX];
    int block[3], context_block[3];
    for (int k = m; k < end; k++)
        for (int b = 0; b < recipe->samples; b++) {
            if (!ijepa_blocks(block, context_block, draw, b, m))
                return 0;
            int32_t *cu = group->cu_target + k * recipe->samples + b;
            corner[0] = ijepa_corner(block, draw, b, k);
            cu[1] = cu[0] +
                    mask_ijepa_target(group->target + cu[0], block, corner[0], grid_of(draw, b));
        }
    for (int b = 0; b < recipe->samples; b++) {
        if (!ijepa_blocks(block, context_block, draw, b, m))
            return 0;
        for (int k = m; k < end; k++)
            corner[k - m] = ijepa_corner(block, draw, b, k);
        Random place = place_stream(draw, b, IJEPA_STREAM + e);
        int count = mask_ijepa_context(group->context + cu_context[b], context_block, corner,
                                       end - m, block, &recipe->setting[m], grid_of(draw, b),
                                       &place);
        cu_context[b + 1] = cu_context[b] + count;
    }
    return 1;
}

/* Published: lists are cut to the shortest of those of the same clip length, `list[:shortest]`,
 * which takes the latest time steps away first. Sequences first .. first + count - 1. */
static void truncate_lists(int32_t *tokens, int32_t *cu, int first, int count, int32_t *shortest,
                           const Draw *draw) {
    int samples = draw->recipe->samples;
    for (int t = 0; t <= draw->recipe->grid.time; t++)
        shortest[t] = INT32_MAX;
    for (int s = first; s < first + count; s++) {
        int t = grid_of(draw, s % samples).time;
        shortest[t] = cu[s + 1] - cu[s] < shortest[t] ? cu[s + 1] - cu[s] : shortest[t];
    }
    int32_t from = cu[first], to = cu[first];
    for (int s = first; s < first + count; s++) {
        int32_t next = cu[s + 1], kept = shortest[grid_of(draw, s % samples).time];
        memmove(tokens + to, tokens + from, (size_t)kept * sizeof *tokens);
        to += kept;
        cu[s + 1] = to;
        from = next;
    }
}

/* List b of `out` becomes the tokens that list b of `in` lacks. The cu point at sample 0. */
static void complement_lists(int32_t *out, int32_t *cu_out, const int32_t *in, const int32_t *cu_in,
                             const Draw *draw) {
    for (int b = 0; b < draw->recipe->samples; b++) {
        int32_t next = cu_in[b], count = cu_out[b];
        for (int32_t i = 0; i < mask_grid_tokens(grid_of(draw, b)); i++)
            if (next < cu_in[b + 1] && in[next] == i)
                next++;
            else
                out[count++] = i;
        cu_out[b + 1] = count;
    }
}

/* Context and target of setting m change places. Both have room for all tokens of all samples. */
static void swap_lists(MaskGroup *group, int e, int m, int samples) {
    int32_t *cu_context = group->cu_context + e * samples;
    int32_t *cu_target = group->cu_target + m * samples;
    int32_t *context = group->context + cu_context[0], *target = group->target + cu_target[0];
    int32_t contexts = cu_context[samples] - cu_context[0];
    int32_t targets = cu_target[samples] - cu_target[0];
    for (int32_t i = 0; i < contexts || i < targets; i++) {
        int32_t token = context[i];
        context[i] = target[i];
        target[i] = token;
    }
    for (int b = 1; b <= samples; b++) {
        int32_t length = cu_context[b] - cu_context[0];
        cu_context[b] = cu_context[0] + cu_target[b] - cu_target[0];
        cu_target[b] = cu_target[0] + length;
    }
}

/* 1 if sequences first .. first + count - 1 fit and none is empty. With draw->cut they are made to
 * fit. */
static int lists_fit(int32_t *cu, int first, int count, int64_t capacity, const Draw *draw) {
    for (int s = first; s < first + count; s++) {
        if (draw->cut)
            cu[s + 1] = cu[s + 1] < capacity ? cu[s + 1] : (int32_t)capacity;
        else if (cu[s + 1] > capacity || cu[s + 1] == cu[s])
            return 0;
    }
    return 1;
}

/* 1 if no sample has more than `limit` tokens in its `lists` lists; limit 0: none. */
static int samples_fit(const int32_t *cu, int lists, int samples, int64_t limit) {
    for (int b = 0; b < samples && limit; b++) {
        int64_t tokens = 0;
        for (int s = b; s < lists * samples; s += samples)
            tokens += cu[s + 1] - cu[s];
        if (tokens > limit)
            return 0;
    }
    return 1;
}

/* 1 if all fits. */
static int draw_group(MaskGroup *group, const Draw *draw) {
    const MaskRecipe *recipe = draw->recipe;
    int samples = recipe->samples;
    group->cu_context[0] = group->cu_target[0] = 0;
    for (int m = 0, end; m < recipe->settings; m = end) {
        const MaskSetting *setting = &recipe->setting[m];
        int e = mask_context_of(recipe, m), c = e * samples, t = m * samples;
        end = context_end(recipe, m);
        int targets = (end - m) * samples;
        if (setting->kind == MASK_IJEPA) {
            if (!draw_ijepa(group, draw, e, m, end))
                return 0;
        } else {
            JEPA_ASSERT(end == m + 1);
            if (!draw_blocks(group, draw, e, m))
                return 0;
            /* Plain settings have always been measured before the cut, too. It only matters to
             * truncated recipes with little room, and stays for the sake of their masks. */
            bool plain = !draw->time && !setting->full_complement &&
                         !setting->pred_full_complement && !setting->inv_block;
            if (plain && !draw->cut &&
                (group->cu_context[c + samples] > group->capacity_context ||
                 group->cu_target[t + samples] > group->capacity_target))
                return 0;
        }
        if (recipe->batch == MASK_TRUNCATE) {
            truncate_lists(group->context, group->cu_context, c, samples, group->shortest, draw);
            truncate_lists(group->target, group->cu_target, t, targets, group->shortest, draw);
        }
        if (setting->full_complement)
            complement_lists(group->target, group->cu_target + t, group->context,
                             group->cu_context + c, draw);
        else if (setting->pred_full_complement)
            complement_lists(group->context, group->cu_context + c, group->target,
                             group->cu_target + t, draw);
        if (setting->inv_block)
            swap_lists(group, e, m, samples);
        if (!lists_fit(group->cu_context, c, samples, group->capacity_context, draw) ||
            !lists_fit(group->cu_target, t, targets, group->capacity_target, draw))
            return 0;
    }
    return draw->cut ||
           (samples_fit(group->cu_context, group->contexts, samples, group->sample_context) &&
            samples_fit(group->cu_target, recipe->settings, samples, group->sample_target));
}

/* Lists s with s mod samples in first .. first + count - 1, in order; at most so many tokens of
 * each.
 */
static void copy_lists(int32_t *tokens, int32_t *cu, const int32_t *from, const int32_t *cu_from,
                       int lists, int samples, int first, int count, int64_t most) {
    for (int l = 0; l < lists; l++)
        for (int b = 0; b < count; b++) {
            int32_t at = cu_from[l * samples + first + b],
                    end = cu_from[l * samples + first + b + 1], to = cu[l * count + b];
            if (end - at > most)
                end = at + (int32_t)most;
            memcpy(tokens + to, from + at, (size_t)(end - at) * sizeof *tokens);
            cu[l * count + b + 1] = to + end - at;
        }
}

static int64_t tokens_of(const int32_t *cu, int lists, int samples, int first, int count) {
    int64_t tokens = 0;
    for (int l = 0; l < lists; l++)
        tokens += cu[l * samples + first + count] - cu[l * samples + first];
    return tokens;
}

int mask_group_part(MaskGroup *part, const MaskGroup *group, int samples, int first, int count,
                    int settings) {
    int64_t context = INT32_MAX, target = INT32_MAX; /* tokens of a list */
    if (tokens_of(group->cu_context, group->contexts, samples, first, count) >
            part->capacity_context ||
        tokens_of(group->cu_target, settings, samples, first, count) > part->capacity_target) {
        if (count > 1)
            return 0;
        context = part->capacity_context / group->contexts;
        target = part->capacity_target / settings;
    }
    copy_lists(part->context, part->cu_context, group->context, group->cu_context, group->contexts,
               samples, first, count, context);
    copy_lists(part->target, part->cu_target, group->target, group->cu_target, settings, samples,
               first, count, target);
    return 1;
}

void mask_group_draw(MaskGroup *group, const MaskRecipe *recipe, uint64_t seed, uint64_t step,
                     uint64_t group_number, const int *time) {
    /* Attempt a uses the seed a · 2^64/φ further on, which no other purpose does. */
    const uint64_t golden = 0x9E3779B97F4A7C15u;
    Draw draw = {recipe, NULL, seed, step, group_number, false};
    for (int b = 0; time && b < recipe->samples; b++) {
        JEPA_ASSERT(time[b] >= 1 && time[b] <= recipe->grid.time);
        if (time[b] != recipe->grid.time)
            draw.time = time;
    }
    for (group->redraws = 0; group->redraws < ATTEMPTS; group->redraws++) {
        draw.seed = seed + (uint64_t)group->redraws * golden;
        if (draw_group(group, &draw))
            return;
    }
    draw.seed = seed;
    draw.cut = true;
    JEPA_ASSERT(draw_group(group, &draw));
}
