/* Is a mask recipe possible? By drawing. See masking/mask.h. */
#include "masking/mask.h"
#include "masking/sample.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHECKED_DRAWS 1000 /* of each setting and clip length */

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

static int check_values(const MaskSetting *s, int m, Error *error) {
    if (s->kind == MASK_TUBE) {
        if (!(s->ratio > 0 && s->ratio < 1))
            return error_set(error, ERROR_USAGE,
                             "mask[%d].ratio: expected a share between 0 and 1, found %g", m,
                             s->ratio);
    } else if (s->kind == MASK_IJEPA) {
        if (check_range(s->aspect_ratio, 0.01, 100, "aspect_ratio", m, error) ||
            check_range(s->pred_mask_scale, 0, 1, "pred_mask_scale", m, error) ||
            check_range(s->enc_mask_scale, 0, 1, "enc_mask_scale", m, error))
            return -1;
        if (s->min_keep < 0)
            return error_set(error, ERROR_USAGE, "mask[%d].min_keep: expected 0 or more, found %d",
                             m, s->min_keep);
        if (s->full_complement || s->pred_full_complement || s->inv_block)
            return error_set(error, ERROR_USAGE,
                             "mask[%d]: full_complement, pred_full_complement and inv_block do not "
                             "go with I-JEPA's blocks, which share one context: leave them false",
                             m);
    } else if (s->num_blocks < 1 || s->num_blocks > 1000) {
        return error_set(error, ERROR_USAGE, "mask[%d].num_blocks: expected 1 to 1000, found %d", m,
                         s->num_blocks);
    } else if (check_range(s->aspect_ratio, 0.01, 100, "aspect_ratio", m, error) ||
               check_range(s->spatial_scale, 0, 1, "spatial_scale", m, error) ||
               check_range(s->temporal_scale, 0, 1, "temporal_scale", m, error)) {
        return -1;
    } else if (!(s->max_temporal_keep > 0 && s->max_temporal_keep <= 1)) {
        return error_set(error, ERROR_USAGE,
                         "mask[%d].max_temporal_keep: expected a share above 0 up to 1, found %g",
                         m, s->max_temporal_keep);
    }
    return 0;
}

static bool same_ijepa(const MaskSetting *a, const MaskSetting *b) {
    return a->kind == MASK_IJEPA && b->kind == MASK_IJEPA &&
           !memcmp(a->aspect_ratio, b->aspect_ratio, sizeof a->aspect_ratio) &&
           !memcmp(a->pred_mask_scale, b->pred_mask_scale, sizeof a->pred_mask_scale) &&
           !memcmp(a->enc_mask_scale, b->enc_mask_scale, sizeof a->enc_mask_scale) &&
           a->min_keep == b->min_keep && a->allow_overlap == b->allow_overlap;
}

static int check_contexts(const MaskRecipe *recipe, Error *error) {
    if (recipe->contexts < 0 || recipe->contexts > recipe->settings)
        return error_set(error, ERROR_USAGE, "mask: expected 1 to %d contexts, found %d",
                         recipe->settings, recipe->contexts);
    for (int m = 0; m < recipe->settings; m++) {
        int e = mask_context_of(recipe, m), before = m ? mask_context_of(recipe, m - 1) : -1;
        if (e != before && e != before + 1)
            return error_set(error, ERROR_USAGE,
                             "mask[%d]: uses context %d after context %d: number contexts from 0 "
                             "on, in the order of the settings",
                             m, e, before);
        if (e == before && !same_ijepa(&recipe->setting[m], &recipe->setting[m - 1]))
            return error_set(error, ERROR_USAGE,
                             "mask[%d]: shares a context with mask[%d]: expected I-JEPA's blocks "
                             "with the same numbers",
                             m, m - 1);
    }
    if (mask_context_of(recipe, recipe->settings - 1) != mask_contexts(recipe) - 1)
        return error_set(error, ERROR_USAGE, "mask: %d contexts, but the settings use %d",
                         recipe->contexts, mask_context_of(recipe, recipe->settings - 1) + 1);
    return 0;
}

static int check_lengths(const MaskRecipe *recipe, Error *error) {
    if (recipe->lengths < 0 || recipe->lengths > MASK_LENGTHS_MAX)
        return error_set(error, ERROR_USAGE, "mask: expected at most %d clip lengths, found %d",
                         MASK_LENGTHS_MAX, recipe->lengths);
    for (int i = 0; i < recipe->lengths; i++) {
        if (recipe->length[i] < 1 || recipe->length[i] > recipe->grid.time)
            return error_set(error, ERROR_USAGE,
                             "mask: expected clips of 1 to %d time steps, found %d",
                             recipe->grid.time, recipe->length[i]);
        if (!(recipe->length_weight[i] >= 0 && recipe->length_weight[i] <= 1e12))
            return error_set(error, ERROR_USAGE,
                             "mask: weight of clips of %d time steps: expected 0 or more, found %g",
                             recipe->length[i], recipe->length_weight[i]);
    }
    return 0;
}

/* Draws of I-JEPA's blocks; the context, once its block is large enough, is always found. */
static int try_ijepa(const MaskSetting *s, MaskGrid grid, int m, Error *error) {
    int possible[2] = {0};
    for (uint64_t i = 0; i < CHECKED_DRAWS; i++) {
        Random random = random_at(0, RANDOM_MASK_SIZE, i, (uint64_t)m);
        int block[2][3];
        mask_ijepa_size(block[0], block[1], s, grid, &random);
        int target = mask_ijepa_possible(block[0], s);
        possible[0] += target;
        possible[1] += target && mask_ijepa_possible(block[1], s);
    }
    if (possible[1] < CHECKED_DRAWS / 100)
        return error_set(
            error, ERROR_USAGE,
            "mask[%d]: blocks of %s hardly ever have more than %d positions of a %d x %d "
            "grid: raise it or lower min_keep",
            m, possible[0] < CHECKED_DRAWS / 100 ? "pred_mask_scale" : "enc_mask_scale",
            s->min_keep, grid.height, grid.width);
    return 0;
}

/* Draws of blocks and tubes. Cuts, complements and swaps leave both lists with a token where the
 * draw did: a cut list is never cut to nothing, and lacks a token that the other has. */
static int try_blocks(const MaskSetting *s, MaskGrid grid, int m, Error *error) {
    int32_t *context = memory_new((size_t)mask_grid_tokens(grid), sizeof *context);
    int32_t *target = memory_new((size_t)mask_grid_tokens(grid), sizeof *target);
    int contexts, targets, with_context = 0, with_target = 0;
    for (uint64_t i = 0; i < CHECKED_DRAWS; i++) {
        Random random = random_at(0, RANDOM_MASK_SIZE, i, (uint64_t)m);
        int block[3] = {0};
        if (s->kind == MASK_MULTIBLOCK)
            mask_block_size(block, s, grid, &random);
        with_context += mask_try(context, &contexts, target, &targets, s, grid, block, &random);
        with_target += targets > 0;
    }
    free(context);
    free(target);
    if (with_context < CHECKED_DRAWS / 100 || with_target < CHECKED_DRAWS)
        return error_set(
            error, ERROR_USAGE, "mask[%d] hides %s of a %d x %d x %d grid: use %s blocks", m,
            with_target < CHECKED_DRAWS ? "nothing" : "nearly always all", grid.time, grid.height,
            grid.width, with_target < CHECKED_DRAWS ? "larger" : "fewer or smaller");
    return 0;
}

int mask_check(const MaskRecipe *recipe, Error *error) {
    if (recipe->settings < 1 || recipe->settings > MASK_SETTINGS_MAX)
        return error_set(error, ERROR_USAGE, "mask: expected 1 to %d settings, found %d",
                         MASK_SETTINGS_MAX, recipe->settings);
    if (check_contexts(recipe, error) || check_lengths(recipe, error))
        return -1;
    for (int m = 0; m < recipe->settings; m++) {
        const MaskSetting *s = &recipe->setting[m];
        if (check_values(s, m, error))
            return -1;
        for (int i = 0; i < recipe->lengths || !i; i++) {
            MaskGrid grid = recipe->grid;
            if (recipe->lengths)
                grid.time = recipe->length[i];
            if (s->kind == MASK_IJEPA ? try_ijepa(s, grid, m, error)
                                      : try_blocks(s, grid, m, error))
                return -1;
        }
    }
    return 0;
}
