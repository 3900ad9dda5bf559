/* The keys of V-JEPA 2's sampler: complements, swapped lists, clips of several lengths. */
#include "masking/mask.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES 6
#define STEPS   40

static MaskRecipe published(MaskBatch batch) {
    MaskRecipe recipe = {.batch = batch, .settings = 2, .grid = {8, 14, 14}, .samples = SAMPLES};
    for (int m = 0; m < 2; m++)
        recipe.setting[m] = (MaskSetting){.num_blocks = m ? 2 : 8,
                                          .aspect_ratio = {0.75, 1.5},
                                          .spatial_scale = {m ? 0.7 : 0.15, m ? 0.7 : 0.15},
                                          .temporal_scale = {1, 1},
                                          .max_temporal_keep = 1};
    return recipe;
}

static void set_keys(MaskRecipe *recipe, int keys) {
    for (int m = 0; m < recipe->settings; m++) {
        recipe->setting[m].full_complement = keys & 1;
        recipe->setting[m].pred_full_complement = keys & 2;
        recipe->setting[m].inv_block = keys & 4;
    }
}

static void new_group(MaskGroup *group, const MaskRecipe *recipe) {
    int64_t all = (int64_t)recipe->settings * recipe->samples * mask_grid_tokens(recipe->grid);
    mask_group_new(group, recipe, all, all);
}

typedef struct List {
    const int32_t *tokens;
    int count;
} List;

static List context_of(const MaskGroup *g, int s) {
    return (List){g->context + g->cu_context[s], g->cu_context[s + 1] - g->cu_context[s]};
}

static List target_of(const MaskGroup *g, int s) {
    return (List){g->target + g->cu_target[s], g->cu_target[s + 1] - g->cu_target[s]};
}

static void assert_list(List list, int tokens) {
    assert_true(list.count > 0);
    for (int i = 0; i < list.count; i++) {
        assert_in_range(list.tokens[i], 0, tokens - 1);
        assert_true(!i || list.tokens[i] > list.tokens[i - 1]);
    }
}

static void assert_same(List a, List b) {
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.tokens, b.tokens, (size_t)a.count * sizeof *a.tokens);
}

/* `a` and `b` hold every token of the grid once between them. */
static void assert_complement(List a, List b, int tokens) {
    assert_int_equal(a.count + b.count, tokens);
    for (int i = 0, j = 0, k = 0; i < tokens; i++) {
        bool in_a = j < a.count && a.tokens[j] == i, in_b = k < b.count && b.tokens[k] == i;
        assert_true(in_a != in_b);
        j += in_a;
        k += in_b;
    }
}

/* Order of the published sampler: cut, then the one complement or the other, then the swap. The
 * same recipe without the keys says what was drawn and cut. Clips of two lengths or of one. */
static void keys_apply_in_the_published_order(void **state) {
    (void)state;
    static const int mixed[SAMPLES] = {8, 3, 8, 8, 3, 1};
    for (int run = 0; run < 2 * 2 * 8; run++) {
        MaskBatch batch = run & 1 ? MASK_TRUNCATE : MASK_PACKED;
        const int *time = run & 2 ? mixed : NULL;
        int keys = run >> 2;
        MaskRecipe plain = published(batch), recipe = plain;
        plain.setting[1].max_keep = recipe.setting[1].max_keep = 40;
        set_keys(&recipe, keys);
        MaskGroup before, after;
        new_group(&before, &plain);
        new_group(&after, &recipe);
        for (uint64_t step = 0; step < STEPS; step++) {
            mask_group_draw(&before, &plain, 3, step, 1, time);
            mask_group_draw(&after, &recipe, 3, step, 1, time);
            for (int s = 0; s < 2 * SAMPLES; s++) {
                int tokens = (time ? time[s % SAMPLES] : 8) * 14 * 14;
                List context = context_of(&after, s), target = target_of(&after, s);
                assert_list(context, tokens);
                assert_list(target, tokens);
                if (keys & 4) {
                    List other = context;
                    context = target;
                    target = other;
                }
                if (keys & 3)
                    assert_complement(context, target, tokens);
                if (keys & 1 || !(keys & 2))
                    assert_same(context, context_of(&before, s));
                if (!(keys & 1))
                    assert_same(target, target_of(&before, s));
                if (s >= SAMPLES && keys != 2 && keys != 6)
                    assert_true(context.count <= 40);
            }
        }
        mask_group_free(&before);
        mask_group_free(&after);
    }
}

static void the_plan_covers_complements(void **state) {
    (void)state;
    for (int keys = 0; keys < 8; keys++) {
        MaskRecipe recipe = published(MASK_TRUNCATE);
        set_keys(&recipe, keys);
        Error error = {0};
        assert_int_equal(mask_check(&recipe, &error), 0);
        int64_t context, target;
        mask_capacity(&context, &target, &recipe);
        MaskGroup group;
        mask_group_new(&group, &recipe, context, target);
        int redraws = 0;
        for (uint64_t step = 0; step < 200; step++) {
            mask_group_draw(&group, &recipe, 5, step, 0, NULL);
            assert_true(group.cu_context[2 * SAMPLES] <= context);
            assert_true(group.cu_target[2 * SAMPLES] <= target);
            redraws += group.redraws;
        }
        if (keys) /* six standard deviations; plain lists are measured before the cut as well */
            assert_int_equal(redraws, 0);
        mask_group_free(&group);
    }
}

/* ---- clip lengths ---- */

static void all_of_the_longest_is_none_given(void **state) {
    (void)state;
    static const int time[SAMPLES] = {8, 8, 8, 8, 8, 8};
    MaskRecipe recipe = published(MASK_TRUNCATE);
    MaskGroup a, b;
    new_group(&a, &recipe);
    new_group(&b, &recipe);
    for (uint64_t step = 0; step < STEPS; step++) {
        mask_group_draw(&a, &recipe, 2, step, 0, NULL);
        mask_group_draw(&b, &recipe, 2, step, 0, time);
        for (int s = 0; s < 2 * SAMPLES; s++) {
            assert_same(context_of(&a, s), context_of(&b, s));
            assert_same(target_of(&a, s), target_of(&b, s));
        }
    }
    mask_group_free(&a);
    mask_group_free(&b);
}

/* Height and width of the one block of sample s: tubes, so the first time step shows it. */
static void block_of(int size[2], const MaskGroup *group, int s, MaskGrid grid) {
    List target = target_of(group, s);
    int rows = 0, count = 0;
    for (int i = 0; i < target.count && target.tokens[i] < grid.height * grid.width; i++) {
        rows += !i || target.tokens[i] / grid.width != target.tokens[i - 1] / grid.width;
        count++;
    }
    size[0] = rows;
    size[1] = count / rows;
}

static void each_length_has_its_own_block_size(void **state) {
    (void)state;
    static const int time[SAMPLES] = {8, 4, 2, 4, 8, 2};
    MaskRecipe recipe = published(MASK_PACKED);
    recipe.settings = 1;
    recipe.setting[0].num_blocks = 1;
    recipe.setting[0].spatial_scale[0] = 0.2;
    recipe.setting[0].spatial_scale[1] = 0.6;
    MaskGroup group;
    new_group(&group, &recipe);
    int different[2] = {0};
    for (uint64_t step = 0; step < 100; step++) {
        int size[SAMPLES][2];
        mask_group_draw(&group, &recipe, 2, step, 0, time);
        for (int b = 0; b < SAMPLES; b++)
            block_of(size[b], &group, b, recipe.grid);
        for (int b = 0; b < SAMPLES; b++) {
            int same = b == 3 ? 1 : b == 4 ? 0 : b == 5 ? 2 : b;
            assert_memory_equal(size[b], size[same], sizeof size[b]);
        }
        different[0] += memcmp(size[0], size[1], sizeof size[0]) != 0;
        different[1] += memcmp(size[1], size[2], sizeof size[0]) != 0;
    }
    /* areas of 39 to 117 tokens: two independent sizes rarely agree */
    assert_true(different[0] > 80 && different[1] > 80);
    mask_group_free(&group);
}

static void the_cut_is_among_clips_of_a_length(void **state) {
    (void)state;
    static const int time[SAMPLES] = {8, 4, 8, 4, 4, 8};
    MaskRecipe packed = published(MASK_PACKED), cut = published(MASK_TRUNCATE);
    MaskGroup a, b;
    new_group(&a, &packed);
    new_group(&b, &cut);
    for (uint64_t step = 0; step < STEPS; step++) {
        mask_group_draw(&a, &packed, 2, step, 0, time);
        mask_group_draw(&b, &cut, 2, step, 0, time);
        for (int s = 0; s < 2 * SAMPLES; s++) {
            int first = s / SAMPLES * SAMPLES, contexts = INT32_MAX, targets = INT32_MAX;
            for (int i = first; i < first + SAMPLES; i++)
                if (time[i - first] == time[s - first]) {
                    List c = context_of(&a, i), t = target_of(&a, i);
                    contexts = c.count < contexts ? c.count : contexts;
                    targets = t.count < targets ? t.count : targets;
                }
            assert_same(context_of(&b, s), (List){context_of(&a, s).tokens, contexts});
            assert_same(target_of(&b, s), (List){target_of(&a, s).tokens, targets});
        }
    }
    mask_group_free(&a);
    mask_group_free(&b);
}

/* What the other samples of the group are does not matter: a mask depends on its own length. */
static void a_mask_depends_on_its_own_length_only(void **state) {
    (void)state;
    static const int times[2][SAMPLES] = {{8, 4, 2, 4, 8, 2}, {2, 4, 8, 8, 8, 4}};
    MaskRecipe recipe = published(MASK_PACKED);
    MaskGroup a, b;
    new_group(&a, &recipe);
    new_group(&b, &recipe);
    mask_group_draw(&a, &recipe, 4, 7, 2, times[0]);
    mask_group_draw(&b, &recipe, 4, 7, 2, times[1]);
    for (int s = 0; s < 2 * SAMPLES; s++)
        if (times[0][s % SAMPLES] == times[1][s % SAMPLES]) {
            assert_same(context_of(&a, s), context_of(&b, s));
            assert_same(target_of(&a, s), target_of(&b, s));
        }
    mask_group_free(&a);
    mask_group_free(&b);
}

/* Truncated groups of many lengths are cut less than those of one: the plan must know. */
static void the_plan_covers_clip_lengths(void **state) {
    (void)state;
    MaskRecipe recipe = published(MASK_TRUNCATE);
    recipe.lengths = 3;
    recipe.length[0] = 8;
    recipe.length[1] = 7;
    recipe.length[2] = 2;
    recipe.length_weight[0] = recipe.length_weight[1] = 2;
    recipe.length_weight[2] = 1;
    Error error = {0};
    assert_int_equal(mask_check(&recipe, &error), 0);
    int64_t context, target;
    mask_capacity(&context, &target, &recipe);
    MaskGroup group;
    mask_group_new(&group, &recipe, context, target);
    int redraws = 0;
    for (uint64_t step = 0; step < 300; step++) {
        int time[SAMPLES];
        for (int b = 0; b < SAMPLES; b++) {
            Random random = random_at(1, RANDOM_TEST, step, (uint64_t)b);
            time[b] = recipe.length[random_below(&random, 5) / 2];
        }
        mask_group_draw(&group, &recipe, 9, step, 0, time);
        redraws += group.redraws;
    }
    assert_int_equal(redraws, 0);
    mask_group_free(&group);
    recipe.length[2] = 9;
    assert_int_equal(mask_check(&recipe, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    /* half of the time steps of a long clip stay; a clip of one step is hidden whole */
    MaskRecipe short_clips = {.settings = 1, .grid = {8, 6, 6}, .samples = 2};
    short_clips.setting[0] = (MaskSetting){.num_blocks = 1,
                                           .aspect_ratio = {1, 1},
                                           .spatial_scale = {1, 1},
                                           .temporal_scale = {0.5, 0.5},
                                           .max_temporal_keep = 1};
    assert_int_equal(mask_check(&short_clips, &error), 0);
    short_clips.lengths = 2;
    short_clips.length[0] = 8;
    short_clips.length[1] = 1;
    assert_int_equal(mask_check(&short_clips, &error), -1);
    assert_non_null(strstr(error.text, "1 x 6 x 6"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_apply_in_the_published_order),
        cmocka_unit_test(the_plan_covers_complements),
        cmocka_unit_test(all_of_the_longest_is_none_given),
        cmocka_unit_test(each_length_has_its_own_block_size),
        cmocka_unit_test(the_cut_is_among_clips_of_a_length),
        cmocka_unit_test(a_mask_depends_on_its_own_length_only),
        cmocka_unit_test(the_plan_covers_clip_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
