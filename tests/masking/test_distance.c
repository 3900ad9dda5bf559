/* Distances of context tokens to the nearest target, against all pairs. */
#include "masking/distance.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static int square(int token, int other, MaskGrid grid) {
    int plane = grid.height * grid.width;
    int t = token / plane - other / plane, w = token % grid.width - other % grid.width;
    int h = token % plane / grid.width - other % plane / grid.width;
    return t * t + h * h + w * w;
}

static void compare(MaskGrid grid, double share, uint64_t step) {
    int tokens = mask_grid_tokens(grid), contexts = 0, targets = 0;
    int32_t *context = malloc((size_t)tokens * sizeof *context);
    int32_t *target = malloc((size_t)tokens * sizeof *target);
    float *distance = malloc((size_t)tokens * sizeof *distance);
    Random random = random_at(1, RANDOM_TEST, step, 0);
    for (int i = 0; i < tokens; i++)
        if (random_unit(&random) < share)
            target[targets++] = i;
        else
            context[contexts++] = i;
    if (!targets)
        target[targets++] = context[--contexts];
    mask_distance(distance, context, contexts, target, targets, grid);
    for (int i = 0; i < contexts; i++) {
        int nearest = INT32_MAX;
        for (int k = 0; k < targets; k++) {
            int far = square(context[i], target[k], grid);
            nearest = far < nearest ? far : nearest;
        }
        assert_true(distance[i] == sqrtf((float)nearest)); /* whole numbers until the root */
    }
    free(context);
    free(target);
    free(distance);
}

static void equals_the_nearest_of_all_pairs(void **state) {
    (void)state;
    static const MaskGrid grids[] = {{1, 1, 1}, {1, 1, 9},   {1, 7, 1},   {6, 1, 1},
                                     {2, 3, 4}, {1, 14, 14}, {8, 14, 14}, {5, 3, 17}};
    static const double shares[] = {0, 0.002, 0.02, 0.1, 0.5, 0.95};
    uint64_t step = 0;
    for (size_t g = 0; g < sizeof grids / sizeof *grids; g++)
        for (size_t k = 0; k < sizeof shares / sizeof *shares; k++)
            for (int again = 0; again < 4; again++)
                if (mask_grid_tokens(grids[g]) > 1)
                    compare(grids[g], shares[k], step++);
}

static void on_a_drawn_mask_of_a_long_clip(void **state) {
    (void)state;
    MaskRecipe recipe = {.settings = 1, .grid = {16, 24, 24}, .samples = 1};
    recipe.setting[0] = (MaskSetting){.num_blocks = 8,
                                      .aspect_ratio = {0.75, 1.5},
                                      .spatial_scale = {0.15, 0.15},
                                      .temporal_scale = {0.4, 0.6},
                                      .max_temporal_keep = 1};
    MaskGroup group;
    mask_group_new(&group, &recipe, 16 * 24 * 24, 16 * 24 * 24);
    mask_group_draw(&group, &recipe, 1, 1, 0, NULL);
    float *distance = malloc((size_t)group.cu_context[1] * sizeof *distance);
    mask_distance(distance, group.context, group.cu_context[1], group.target, group.cu_target[1],
                  recipe.grid);
    for (int32_t i = 0; i < group.cu_context[1]; i += 7) {
        int nearest = INT32_MAX;
        for (int32_t k = 0; k < group.cu_target[1]; k++) {
            int far = square(group.context[i], group.target[k], recipe.grid);
            nearest = far < nearest ? far : nearest;
        }
        assert_true(nearest >= 1 && distance[i] == sqrtf((float)nearest));
    }
    free(distance);
    mask_group_free(&group);
}

/* I-JEPA with overlap: a context token that is predicted as well lies at 0. */
static void a_target_lies_at_zero(void **state) {
    (void)state;
    const int32_t context[] = {3, 0}, target[] = {3};
    float distance[2];
    mask_distance(distance, context, 2, target, 1, (MaskGrid){1, 2, 2});
    assert_true(distance[0] == 0 && distance[1] == sqrtf(2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_nearest_of_all_pairs),
        cmocka_unit_test(on_a_drawn_mask_of_a_long_clip),
        cmocka_unit_test(a_target_lies_at_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
