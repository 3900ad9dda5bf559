/* I-JEPA's blocks: their distribution against the published sampler, and their rules. */
#include "masking/mask.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GROUPS 20000 /* of one sample; the published figures are from as many */
#define ROWS   16

static const MaskSetting vith14 = {.aspect_ratio = {0.75, 1.5},
                                   .pred_mask_scale = {0.15, 0.2},
                                   .enc_mask_scale = {0.85, 1},
                                   .min_keep = 10};

static MaskRecipe ijepa(MaskSetting setting, int targets, MaskGrid grid, int samples) {
    MaskRecipe recipe = {.grid = grid, .samples = samples};
    mask_ijepa(&recipe, &setting, targets);
    return recipe;
}

static void new_group(MaskGroup *group, const MaskRecipe *recipe) {
    int64_t tokens = (int64_t)recipe->samples * mask_grid_tokens(recipe->grid);
    mask_group_new(group, recipe, tokens * recipe->contexts, tokens * recipe->settings);
}

/* ---- distribution ---- */

/* Figures of the published class MaskCollator (facebookresearch/ijepa @52c1ae9,
 * src/masks/multiblock.py, torch.manual_seed(0)), simulated: 20,000 batches of 1 and 2,500 of 8.
 * Means; deviations are those between batches. */
typedef struct Published {
    const char *name;
    MaskSetting setting;
    int targets;
    MaskGrid grid;
    double context, target, shared; /* tokens in the context, in a target, in context and targets */
    double cut_context, cut_target; /* the first two in batches of 8, cut to the shortest */
    double context_row[ROWS], target_row[ROWS]; /* share of a row's tokens that is in the list */
    double target_column[ROWS];
} Published;

static const Published published[] = {
    {"ViT-H/14",
     {.aspect_ratio = {0.75, 1.5},
      .pred_mask_scale = {0.15, 0.2},
      .enc_mask_scale = {0.85, 1},
      .min_keep = 10},
     4,
     {1, 16, 16},
     110.1857,
     44.2114,
     0,
     86.2796,
     44.1880,
     {0.7753, 0.6391, 0.5266, 0.4354, 0.3603, 0.3033, 0.2713, 0.2613, 0.2721, 0.3037, 0.3617,
      0.4354, 0.5275, 0.6393, 0.7742, 0},
     {0.0443, 0.0891, 0.1336, 0.1781, 0.2227, 0.2650, 0.2946, 0.3082, 0.2948, 0.2655, 0.2221,
      0.1781, 0.1334, 0.0889, 0.0446, 0},
     {0.0444, 0.0900, 0.1346, 0.1803, 0.2254, 0.2705, 0.2851, 0.2856, 0.2862, 0.2738, 0.2282,
      0.1831, 0.1379, 0.0921, 0.0460, 0}},
    {"with overlap",
     {.aspect_ratio = {0.75, 1.5},
      .pred_mask_scale = {0.15, 0.2},
      .enc_mask_scale = {0.85, 1},
      .min_keep = 10,
      .allow_overlap = true},
     4,
     {1, 14, 14},
     169,
     33.3640,
     87.0623,
     169,
     33.3920,
     {0.9286, 0.9286, 0.9286, 0.9286, 0.9286, 0.9286, 0.9286, 0.9286, 0.9286, 0.9286, 0.9286,
      0.9286, 0.9286, 0},
     {0.0498, 0.0999, 0.1501, 0.2005, 0.2510, 0.2878, 0.3065, 0.2878, 0.2502, 0.2001, 0.1502,
      0.0997, 0.0497, 0},
     {0.0518, 0.1025, 0.1540, 0.2055, 0.2567, 0.2802, 0.2810, 0.2810, 0.2572, 0.2055, 0.1545,
      0.1024, 0.0509, 0}},
    /* large targets and a small context, for which targets must often be given up */
    {"tight",
     {.aspect_ratio = {0.75, 1.5},
      .pred_mask_scale = {0.3, 0.5},
      .enc_mask_scale = {0.15, 0.3},
      .min_keep = 10},
     3,
     {1, 8, 12},
     14.7474,
     37.7502,
     8.0305,
     12.7272,
     37.7040,
     {0.0980, 0.1586, 0.2269, 0.2594, 0.2273, 0.1593, 0.0994, 0},
     {0.3610, 0.4624, 0.5000, 0.5000, 0.5000, 0.4629, 0.3595, 0},
     {0.1312, 0.2622, 0.3932, 0.5255, 0.6558, 0.7865, 0.6553, 0.5243, 0.3933, 0.2609, 0.1307, 0}},
};

typedef struct Moments {
    double sum, square;
    int count;
} Moments;

static void add(Moments *m, double x) {
    m->sum += x;
    m->square += x * x;
    m->count++;
}

/* Within 4.5 standard errors of the difference (about 170 figures are compared: one in 900 sets
 * would fail by chance, and the seed is fixed), a batch as the unit, as many on both sides. 1e-4:
 * the published figures are rounded to four decimals. */
static void assert_close(const char *name, const char *what, int i, const Moments *ours,
                         double theirs) {
    double mean = ours->sum / ours->count;
    double variance = fmax(0, ours->square / ours->count - mean * mean);
    double error = sqrt(2 * variance / ours->count);
    if (fabs(mean - theirs) > 4.5 * error + 1e-4)
        fail_msg("%s: %s %d: %g, the published sampler has %g, standard error %g", name, what, i,
                 mean, theirs, error);
}

static void compare(const Published *p) {
    MaskRecipe recipe = ijepa(p->setting, p->targets, p->grid, 1);
    int height = p->grid.height, width = p->grid.width;
    Moments context = {0}, target = {0}, shared = {0};
    Moments context_row[ROWS] = {0}, target_row[ROWS] = {0}, target_column[ROWS] = {0};
    MaskGroup group;
    new_group(&group, &recipe);
    for (uint64_t step = 0; step < GROUPS; step++) {
        mask_group_draw(&group, &recipe, 1, step, 0, NULL);
        int32_t contexts = group.cu_context[1], targets = group.cu_target[recipe.settings];
        double rows[ROWS] = {0}, target_rows[ROWS] = {0}, columns[ROWS] = {0};
        uint8_t hidden[ROWS * ROWS] = {0};
        int both = 0;
        for (int32_t i = 0; i < targets; i++) {
            hidden[group.target[i]] = 1;
            target_rows[group.target[i] / width] += 1.0 / width / p->targets;
            columns[group.target[i] % width] += 1.0 / height / p->targets;
        }
        for (int32_t i = 0; i < contexts; i++) {
            both += hidden[group.context[i]];
            rows[group.context[i] / width] += 1.0 / width;
        }
        add(&context, contexts);
        add(&target, (double)targets / p->targets);
        add(&shared, both);
        for (int h = 0; h < height; h++) {
            add(&context_row[h], rows[h]);
            add(&target_row[h], target_rows[h]);
        }
        for (int w = 0; w < width; w++)
            add(&target_column[w], columns[w]);
    }
    mask_group_free(&group);
    assert_close(p->name, "context tokens", 0, &context, p->context);
    assert_close(p->name, "target tokens", 0, &target, p->target);
    assert_close(p->name, "tokens in both", 0, &shared, p->shared);
    for (int h = 0; h < height; h++) {
        assert_close(p->name, "context, row", h, &context_row[h], p->context_row[h]);
        assert_close(p->name, "targets, row", h, &target_row[h], p->target_row[h]);
    }
    for (int w = 0; w < width; w++)
        assert_close(p->name, "targets, column", w, &target_column[w], p->target_column[w]);
    recipe.samples = 8;
    recipe.batch = MASK_TRUNCATE;
    new_group(&group, &recipe);
    context = target = (Moments){0};
    for (uint64_t step = 0; step < GROUPS / 8; step++) {
        mask_group_draw(&group, &recipe, 1, step, 0, NULL);
        add(&context, group.cu_context[1]);
        add(&target, group.cu_target[1]);
    }
    mask_group_free(&group);
    assert_close(p->name, "context tokens of a batch of 8", 0, &context, p->cut_context);
    assert_close(p->name, "target tokens of a batch of 8", 0, &target, p->cut_target);
}

static void follows_the_published_distribution(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        compare(&published[i]);
}

/* ---- rules ---- */

static void targets_share_one_context(void **state) {
    (void)state;
    enum { B = 5, T = 3 };
    MaskRecipe recipe = ijepa(vith14, 4, (MaskGrid){T, 16, 16}, B);
    int plane = 16 * 16;
    Error error = {0};
    assert_int_equal(mask_check(&recipe, &error), 0);
    MaskGroup group;
    new_group(&group, &recipe);
    assert_int_equal(group.contexts, 1);
    for (uint64_t step = 0; step < 50; step++) {
        mask_group_draw(&group, &recipe, 1, step, 0, NULL);
        for (int b = 0; b < B; b++) {
            uint8_t hidden[T * 16 * 16] = {0};
            for (int m = 0; m < 4; m++) {
                assert_int_equal(group.context_of[m], 0);
                int s = m * B + b, length = group.cu_target[s + 1] - group.cu_target[s];
                const int32_t *list = group.target + group.cu_target[s];
                assert_int_equal(length, group.cu_target[1]); /* one block size for the group */
                assert_true(length > T * 10 && length % T == 0);
                for (int i = 0; i < length; i++) {
                    hidden[list[i]] = 1;
                    assert_int_equal(list[i], list[i % (length / T)] + i / (length / T) * plane);
                }
                /* a full rectangle */
                int per = length / T, top = list[0] / 16, left = list[0] % 16;
                int bottom = list[per - 1] / 16, right = list[per - 1] % 16;
                assert_int_equal((bottom - top + 1) * (right - left + 1), per);
                assert_true(bottom < 15 && right < 15);
                for (int i = 1; i < per; i++)
                    assert_true(list[i] > list[i - 1] && list[i] % 16 >= left &&
                                list[i] % 16 <= right);
            }
            int length = group.cu_context[b + 1] - group.cu_context[b];
            const int32_t *list = group.context + group.cu_context[b];
            assert_true(length > T * 10 && length % T == 0);
            for (int i = 0; i < length; i++) {
                assert_false(hidden[list[i]]);
                assert_true(!i || list[i] > list[i - 1]);
                assert_int_equal(list[i], list[i % (length / T)] + i / (length / T) * plane);
            }
        }
    }
    mask_group_free(&group);
}

/* Contexts to the shortest context, all targets of all samples to the shortest target, within a
 * clip length; a group of several lengths has a block size for each. */
static void truncation_cuts_all_targets_alike(void **state) {
    (void)state;
    enum { B = 6 };
    static const int mixed[B] = {4, 2, 4, 4, 2, 2};
    MaskRecipe packed = ijepa(vith14, 4, (MaskGrid){4, 14, 14}, B), cut = packed;
    cut.batch = MASK_TRUNCATE;
    MaskGroup a, b;
    new_group(&a, &packed);
    new_group(&b, &cut);
    int sizes_differ = 0;
    for (uint64_t step = 0; step < 40; step++) {
        const int *time = step % 2 ? mixed : NULL;
        mask_group_draw(&a, &packed, 1, step, 0, time);
        mask_group_draw(&b, &cut, 1, step, 0, time);
        for (int s = 0; s < 4 * B; s++) {
            int32_t shortest[2] = {INT32_MAX, INT32_MAX};
            for (int i = 0; i < 4 * B; i++)
                if (!time || time[i % B] == time[s % B]) {
                    int32_t target = a.cu_target[i + 1] - a.cu_target[i];
                    shortest[1] = target < shortest[1] ? target : shortest[1];
                    int32_t context = i < B ? a.cu_context[i + 1] - a.cu_context[i] : INT32_MAX;
                    shortest[0] = context < shortest[0] ? context : shortest[0];
                }
            assert_int_equal(b.cu_target[s + 1] - b.cu_target[s], shortest[1]);
            assert_memory_equal(b.target + b.cu_target[s], a.target + a.cu_target[s],
                                (size_t)shortest[1] * sizeof *a.target);
            if (s < B) {
                assert_int_equal(b.cu_context[s + 1] - b.cu_context[s], shortest[0]);
                assert_memory_equal(b.context + b.cu_context[s], a.context + a.cu_context[s],
                                    (size_t)shortest[0] * sizeof *a.context);
            }
        }
        if (time)
            sizes_differ += a.cu_target[1] / 4 != (a.cu_target[2] - a.cu_target[1]) / 2;
    }
    assert_true(sizes_differ > 5);
    mask_group_free(&a);
    mask_group_free(&b);
}

static void a_mask_is_a_function_of_its_numbers(void **state) {
    (void)state;
    MaskRecipe recipe = ijepa(vith14, 4, (MaskGrid){1, 16, 16}, 3);
    MaskGroup a, b;
    new_group(&a, &recipe);
    new_group(&b, &recipe);
    mask_group_draw(&a, &recipe, 11, 100, 2, NULL);
    const uint64_t other[3][3] = {{12, 100, 2}, {11, 101, 2}, {11, 100, 3}};
    for (int i = 0; i < 3; i++) {
        mask_group_draw(&b, &recipe, other[i][0], other[i][1], other[i][2], NULL);
        assert_true(memcmp(a.cu_context, b.cu_context, 4 * sizeof *a.cu_context) ||
                    memcmp(a.context, b.context, (size_t)a.cu_context[3] * sizeof *a.context));
    }
    mask_group_draw(&b, &recipe, 11, 100, 2, NULL);
    assert_memory_equal(a.cu_context, b.cu_context, 4 * sizeof *a.cu_context);
    assert_memory_equal(a.cu_target, b.cu_target, 13 * sizeof *a.cu_target);
    assert_memory_equal(a.context, b.context, (size_t)a.cu_context[3] * sizeof *a.context);
    assert_memory_equal(a.target, b.target, (size_t)a.cu_target[12] * sizeof *a.target);
    mask_group_free(&a);
    mask_group_free(&b);
}

static void the_plan_covers_the_groups(void **state) {
    (void)state;
    for (int batch = 0; batch < 2; batch++) {
        MaskRecipe recipe = ijepa(vith14, 4, (MaskGrid){1, 16, 16}, 8);
        recipe.batch = batch ? MASK_TRUNCATE : MASK_PACKED;
        int64_t context, target;
        mask_capacity(&context, &target, &recipe);
        assert_true(context <= 8 * 256 && target <= 4 * 8 * 256);
        MaskGroup group;
        mask_group_new(&group, &recipe, context, target);
        for (uint64_t step = 0; step < 300; step++) {
            mask_group_draw(&group, &recipe, 5, step, 0, NULL);
            assert_int_equal(group.redraws, 0);
        }
        mask_group_free(&group);
    }
}

/* Blocks and I-JEPA in one recipe: contexts 0, 1 and 2 serve settings 0, 1..3 and 4. */
static void settings_of_both_kinds_mix(void **state) {
    (void)state;
    enum { B = 3 };
    MaskRecipe recipe = {.settings = 5,
                         .contexts = 3,
                         .context_of = {0, 1, 1, 1, 2},
                         .grid = {2, 14, 14},
                         .samples = B};
    for (int m = 0; m < 5; m++) {
        recipe.setting[m] = vith14;
        recipe.setting[m].kind = MASK_IJEPA;
    }
    recipe.setting[0] = recipe.setting[4] = (MaskSetting){.num_blocks = 2,
                                                          .aspect_ratio = {0.75, 1.5},
                                                          .spatial_scale = {0.3, 0.3},
                                                          .temporal_scale = {1, 1},
                                                          .max_temporal_keep = 1};
    Error error = {0};
    assert_int_equal(mask_check(&recipe, &error), 0);
    MaskGroup group;
    new_group(&group, &recipe);
    mask_group_draw(&group, &recipe, 1, 1, 0, NULL);
    for (int m = 0; m < 5; m++)
        for (int b = 0; b < B; b++) {
            int s = group.context_of[m] * B + b;
            uint8_t seen[2 * 14 * 14] = {0};
            for (int32_t i = group.cu_context[s]; i < group.cu_context[s + 1]; i++)
                seen[group.context[i]] = 1;
            for (int32_t i = group.cu_target[m * B + b]; i < group.cu_target[m * B + b + 1]; i++)
                assert_false(seen[group.target[i]]);
        }
    mask_group_free(&group);
}

static void impossible_settings_are_refused(void **state) {
    (void)state;
    Error error = {0};
    MaskGrid grid = {1, 14, 14};
    MaskSetting setting = vith14;
    setting.min_keep = 60; /* target blocks of 29 to 39 positions: published, an endless loop */
    MaskRecipe recipe = ijepa(setting, 4, grid, 2);
    assert_int_equal(mask_check(&recipe, &error), -1);
    assert_non_null(strstr(error.text, "pred_mask_scale"));
    setting = vith14;
    setting.enc_mask_scale[0] = setting.enc_mask_scale[1] = 0.02;
    recipe = ijepa(setting, 4, grid, 2);
    assert_int_equal(mask_check(&recipe, &error), -1);
    assert_non_null(strstr(error.text, "enc_mask_scale"));
    setting = vith14;
    setting.inv_block = true;
    recipe = ijepa(setting, 4, grid, 2);
    assert_int_equal(mask_check(&recipe, &error), -1);
    recipe = ijepa(vith14, 4, grid, 2);
    recipe.setting[2].min_keep = 9;
    assert_int_equal(mask_check(&recipe, &error), -1);
    assert_non_null(strstr(error.text, "mask[2]"));
    recipe = ijepa(vith14, 4, grid, 2);
    recipe.context_of[3] = 2;
    assert_int_equal(mask_check(&recipe, &error), -1);
    recipe = ijepa(vith14, 4, grid, 2);
    recipe.contexts = 2;
    assert_int_equal(mask_check(&recipe, &error), -1);
    /* a grid of one row has no place for a block, which the published sampler keeps below it */
    recipe = ijepa(vith14, 4, (MaskGrid){1, 1, 100}, 2);
    assert_int_equal(mask_check(&recipe, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_published_distribution),
        cmocka_unit_test(targets_share_one_context),
        cmocka_unit_test(truncation_cuts_all_targets_alike),
        cmocka_unit_test(a_mask_is_a_function_of_its_numbers),
        cmocka_unit_test(the_plan_covers_the_groups),
        cmocka_unit_test(settings_of_both_kinds_mix),
        cmocka_unit_test(impossible_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
