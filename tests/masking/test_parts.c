/* Parts of a group: the same masks, within their own plan. */
#include "masking/mask.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES 6

/* Two settings with a context each, or three of I-JEPA that share one. */
static MaskRecipe recipe_of(bool ijepa) {
    MaskRecipe recipe = {.settings = 2, .grid = {4, 8, 8}, .samples = SAMPLES};
    for (int m = 0; m < 2; m++)
        recipe.setting[m] = (MaskSetting){.num_blocks = m ? 2 : 8,
                                          .aspect_ratio = {0.75, 1.5},
                                          .spatial_scale = {m ? 0.5 : 0.15, m ? 0.5 : 0.15},
                                          .temporal_scale = {1, 1},
                                          .max_temporal_keep = 1};
    if (ijepa) {
        MaskSetting setting = {.aspect_ratio = {0.75, 1.5},
                               .pred_mask_scale = {0.15, 0.2},
                               .enc_mask_scale = {0.85, 1},
                               .min_keep = 4};
        mask_ijepa(&recipe, &setting, 3);
    }
    return recipe;
}

static void a_part_has_the_masks_of_its_samples(void **state) {
    (void)state;
    for (int ijepa = 0; ijepa < 2; ijepa++) {
        MaskRecipe recipe = recipe_of(ijepa), small = recipe;
        int64_t most = SAMPLES * 3 * mask_grid_tokens(recipe.grid);
        MaskGroup group, part;
        small.samples = 2;
        mask_group_new(&group, &recipe, most, most);
        mask_group_new(&part, &small, most, most);
        mask_group_draw(&group, &recipe, 1, 2, 3, NULL);
        for (int first = 0; first < SAMPLES; first += 2) {
            assert_int_equal(mask_group_part(&part, &group, SAMPLES, first, 2, recipe.settings), 1);
            for (int m = 0; m < recipe.settings; m++)
                for (int b = 0; b < 2; b++) {
                    int32_t ours = part.cu_target[2 * m + b],
                            theirs = group.cu_target[SAMPLES * m + first + b],
                            count = group.cu_target[SAMPLES * m + first + b + 1] - theirs;
                    assert_int_equal(part.cu_target[2 * m + b + 1] - ours, count);
                    assert_memory_equal(part.target + ours, group.target + theirs,
                                        (size_t)count * sizeof(int32_t));
                }
            for (int e = 0; e < mask_contexts(&recipe); e++)
                for (int b = 0; b < 2; b++) {
                    int32_t ours = part.cu_context[2 * e + b],
                            theirs = group.cu_context[SAMPLES * e + first + b],
                            count = group.cu_context[SAMPLES * e + first + b + 1] - theirs;
                    assert_int_equal(part.cu_context[2 * e + b + 1] - ours, count);
                    assert_memory_equal(part.context + ours, group.context + theirs,
                                        (size_t)count * sizeof(int32_t));
                }
            assert_memory_equal(part.context_of, group.context_of, sizeof part.context_of);
        }
        /* what does not fit is refused whole */
        int32_t kept = part.cu_target[1];
        part.capacity_target = 10;
        assert_int_equal(mask_group_part(&part, &group, SAMPLES, 0, 2, recipe.settings), 0);
        assert_int_equal(part.cu_target[1], kept);
        mask_group_free(&group);
        mask_group_free(&part);
    }
}

static void capacities_hold(void **state) {
    (void)state;
    for (int lengths = 0; lengths < 2; lengths++) {
        MaskRecipe recipe = recipe_of(false);
        MaskCapacity parts[] = {{.samples = 1}, {.samples = 2}, {.samples = 3}, {.samples = 6}};
        if (lengths) { /* the long ones hardly ever come */
            recipe.lengths = 2;
            recipe.length[0] = 4;
            recipe.length[1] = 1;
            recipe.length_weight[0] = 1e-9;
            recipe.length_weight[1] = 1;
        }
        mask_capacities(parts, 4, &recipe);
        int64_t context, target;
        mask_capacity(&context, &target, &recipe);
        assert_int_equal(parts[3].context, context);
        assert_int_equal(parts[3].target, target);
        for (int p = 0; p + 2 < 4; p++)
            assert_true(parts[p].context <= parts[p + 1].context &&
                        parts[p + 1].context <= parts[p + 1].samples * parts[0].context);
        MaskGroup group, part;
        MaskRecipe small = recipe;
        small.samples = 2;
        int64_t most = SAMPLES * 2 * mask_grid_tokens(recipe.grid);
        mask_group_new(&group, &recipe, most, most);
        mask_group_new(&part, &small, parts[1].context, parts[1].target);
        group.sample_context = parts[0].context;
        group.sample_target = parts[0].target;
        int time[SAMPLES] = {1, 4, 1, 1, 4, 1};
        for (uint64_t step = 0; step < 300; step++) {
            mask_group_draw(&group, &recipe, 9, step, 0, lengths ? time : NULL);
            assert_int_equal(group.redraws, 0);
            for (int first = 0; first < SAMPLES && !lengths; first += 2)
                assert_int_equal(mask_group_part(&part, &group, SAMPLES, first, 2, recipe.settings),
                                 1);
        }
        mask_group_free(&group);
        mask_group_free(&part);
    }
}

static void samples_too_large_are_drawn_again(void **state) {
    (void)state;
    MaskRecipe recipe = recipe_of(false);
    MaskCapacity one = {.samples = 1};
    mask_capacities(&one, 1, &recipe);
    int64_t most = SAMPLES * 2 * mask_grid_tokens(recipe.grid);
    MaskGroup group;
    mask_group_new(&group, &recipe, most, most);
    group.sample_target = one.target * 3 / 4;
    int redraws = 0;
    for (uint64_t step = 0; step < 50; step++) {
        mask_group_draw(&group, &recipe, 1, step, 0, NULL);
        redraws += group.redraws;
        for (int b = 0; b < SAMPLES; b++)
            assert_true(group.cu_target[b + 1] - group.cu_target[b] +
                            group.cu_target[SAMPLES + b + 1] - group.cu_target[SAMPLES + b] <=
                        group.sample_target);
    }
    assert_true(redraws > 0);
    mask_group_free(&group);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_has_the_masks_of_its_samples),
        cmocka_unit_test(capacities_hold),
        cmocka_unit_test(samples_too_large_are_drawn_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
