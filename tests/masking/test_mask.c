/* The mask sampler: its distribution against the published one, and its rules. */
#include "base/yaml.h"
#include "masking/mask.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STATISTICS JEPA_SOURCE_DIR "/../shared/reference/mask_statistics.json"
#define GROUP      24 /* samples that share a block size, in the published batch and here */
#define GROUPS     1200

static MaskSetting multiblock(int blocks, double scale) {
    return (MaskSetting){.num_blocks = blocks,
                         .aspect_ratio = {0.75, 1.5},
                         .spatial_scale = {scale, scale},
                         .temporal_scale = {1, 1},
                         .max_temporal_keep = 1};
}

static MaskRecipe published(int samples) {
    MaskRecipe recipe = {.settings = 2, .grid = {8, 14, 14}, .samples = samples};
    recipe.setting[0] = multiblock(8, 0.15);
    recipe.setting[1] = multiblock(2, 0.7);
    return recipe;
}

static int64_t all_tokens(const MaskRecipe *recipe) {
    return (int64_t)recipe->settings * recipe->samples * mask_grid_tokens(recipe->grid);
}

/* ---- distribution ---- */

static double number(const YamlNode *map, const char *key) {
    double value = NAN;
    const YamlNode *node = yaml_find(map, key);
    assert_non_null(node);
    if (!yaml_is_null(node))
        assert_int_equal(yaml_number(node, &value), 0);
    return value;
}

static void pair(double out[2], const YamlNode *map, const char *key) {
    const YamlNode *list = yaml_find(map, key);
    assert_true(list && list->count == 2);
    assert_int_equal(yaml_number(list->items[0], &out[0]), 0);
    assert_int_equal(yaml_number(list->items[1], &out[1]), 0);
}

/* Mean and variance over groups of some quantity of a group. */
typedef struct Moments {
    double sum, square;
} Moments;

static void add(Moments *m, double x) {
    m->sum += x;
    m->square += x * x;
}

/* |ours - theirs| within 4 combined standard errors. A block size is shared by a group, so a group
 * is the unit on both sides: ours GROUPS, theirs samples / GROUP of them, with the variance between
 * groups that we measure. 1e-4: the file's figures are rounded to four decimals. */
static void assert_close(const char *name, const char *what, const Moments *ours, double theirs,
                         double their_groups) {
    double mean = ours->sum / GROUPS;
    double variance = fmax(0, ours->square / GROUPS - mean * mean);
    double error = sqrt(variance / GROUPS + variance / their_groups);
    if (fabs(mean - theirs) > 4 * error + 1e-4)
        fail_msg("%s: %s: %g, the published sampler has %g, standard error %g", name, what, mean,
                 theirs, error);
}

static void compare_case(const char *name, const YamlNode *entry) {
    const YamlNode *grid = yaml_find(entry, "grid"), *mask = yaml_find(entry, "mask");
    int64_t size[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(yaml_integer(grid->items[i], &size[i]), 0);
    MaskRecipe recipe = {
        .settings = 1, .samples = GROUP, .grid = {(int)size[0], (int)size[1], (int)size[2]}};
    MaskSetting *s = &recipe.setting[0];
    pair(s->aspect_ratio, mask, "aspect_ratio");
    pair(s->spatial_scale, mask, "spatial_scale");
    pair(s->temporal_scale, mask, "temporal_scale");
    s->num_blocks = (int)number(mask, "num_blocks");
    s->max_temporal_keep = number(mask, "max_temporal_keep");
    assert_true(yaml_is_null(yaml_find(mask, "max_keep")));

    double their_groups = number(entry, "samples") / GROUP;
    int tokens = mask_grid_tokens(recipe.grid), plane = recipe.grid.height * recipe.grid.width;
    Moments context = {0}, target = {0}, cut_context = {0}, cut_target = {0};
    Moments *rows = calloc((size_t)recipe.grid.height, sizeof *rows);
    Moments *columns = calloc((size_t)recipe.grid.width, sizeof *columns);
    Moments *times = calloc((size_t)recipe.grid.time, sizeof *times);
    int *kept = calloc((size_t)tokens, sizeof *kept);
    MaskGroup group;
    mask_group_new(&group, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    for (uint64_t g = 0; g < GROUPS; g++) {
        recipe.batch = MASK_PACKED;
        mask_group_draw(&group, &recipe, 7, g, 0, NULL);
        add(&context, (double)group.cu_context[GROUP] / GROUP);
        add(&target, (double)group.cu_target[GROUP] / GROUP);
        memset(kept, 0, (size_t)tokens * sizeof *kept);
        for (int32_t i = 0; i < group.cu_context[GROUP]; i++)
            kept[group.context[i]]++;
        for (int h = 0; h < recipe.grid.height; h++) {
            double share = 0;
            for (int i = 0; i < tokens; i++)
                share += i / recipe.grid.width % recipe.grid.height == h ? kept[i] : 0;
            add(&rows[h], share * recipe.grid.height / (double)tokens / GROUP);
        }
        for (int w = 0; w < recipe.grid.width; w++) {
            double share = 0;
            for (int i = w; i < tokens; i += recipe.grid.width)
                share += kept[i];
            add(&columns[w], share * recipe.grid.width / (double)tokens / GROUP);
        }
        for (int t = 0; t < recipe.grid.time; t++) {
            double share = 0;
            for (int i = t * plane; i < (t + 1) * plane; i++)
                share += kept[i];
            add(&times[t], share / plane / GROUP);
        }
        recipe.batch = MASK_TRUNCATE;
        mask_group_draw(&group, &recipe, 7, g, 0, NULL);
        add(&cut_context, group.cu_context[1]);
        add(&cut_target, group.cu_target[1]);
    }
    assert_close(name, "context tokens", &context,
                 number(yaml_find(entry, "context_tokens"), "mean"), their_groups);
    assert_close(name, "target tokens", &target, number(yaml_find(entry, "target_tokens"), "mean"),
                 their_groups);
    /* how many batches the file's truncated figures come from follows from its samples */
    assert_close(name, "context tokens of a batch of 24", &cut_context,
                 number(yaml_find(entry, "batch24_context_tokens"), "mean"), their_groups);
    assert_close(name, "target tokens of a batch of 24", &cut_target,
                 number(yaml_find(entry, "batch24_target_tokens"), "mean"), their_groups);
    const char *names[3] = {"context_occupancy_by_row", "context_occupancy_by_column",
                            "context_occupancy_by_time"};
    const Moments *ours[3] = {rows, columns, times};
    for (int k = 0; k < 3; k++) {
        const YamlNode *list = yaml_find(entry, names[k]);
        for (size_t i = 0; i < list->count; i++) {
            double theirs;
            assert_int_equal(yaml_number(list->items[i], &theirs), 0);
            assert_close(name, names[k], &ours[k][i], theirs, their_groups);
        }
    }
    mask_group_free(&group);
    free(rows);
    free(columns);
    free(times);
    free(kept);
}

static void follows_the_published_distribution(void **state) {
    (void)state;
    YamlNode *root;
    Error error = {0};
    if (yaml_load(&root, STATISTICS, &error)) {
        print_message("skipped: %s\n", error.text);
        skip();
    }
    assert_int_equal(root->count, 5);
    for (size_t i = 0; i < root->count; i++)
        compare_case(root->keys[i], root->items[i]);
    yaml_release(root);
}

/* ---- rules ---- */

static void context_and_target_share_no_token(void **state) {
    (void)state;
    MaskRecipe recipe = published(4);
    int tokens = mask_grid_tokens(recipe.grid);
    MaskGroup group;
    mask_group_new(&group, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    for (uint64_t step = 0; step < 20; step++) {
        mask_group_draw(&group, &recipe, 1, step, 3, NULL);
        for (int s = 0; s < 8; s++) {
            uint8_t *seen = calloc((size_t)tokens, 1);
            for (int32_t i = group.cu_context[s]; i < group.cu_context[s + 1]; i++) {
                assert_true(i == group.cu_context[s] || group.context[i] > group.context[i - 1]);
                seen[group.context[i]]++;
            }
            for (int32_t i = group.cu_target[s]; i < group.cu_target[s + 1]; i++) {
                assert_true(i == group.cu_target[s] || group.target[i] > group.target[i - 1]);
                seen[group.target[i]]++;
            }
            for (int i = 0; i < tokens; i++) /* tubes over the whole clip: every token is in one */
                assert_int_equal(seen[i], 1);
            assert_true(group.cu_context[s + 1] > group.cu_context[s]);
            free(seen);
        }
    }
    mask_group_free(&group);
}

static void truncation_cuts_to_the_shortest(void **state) {
    (void)state;
    MaskRecipe packed = published(6), cut = packed;
    cut.batch = MASK_TRUNCATE;
    MaskGroup a, b;
    mask_group_new(&a, &packed, all_tokens(&packed), all_tokens(&packed));
    mask_group_new(&b, &cut, all_tokens(&cut), all_tokens(&cut));
    mask_group_draw(&a, &packed, 5, 9, 0, NULL);
    mask_group_draw(&b, &cut, 5, 9, 0, NULL);
    for (int m = 0; m < 2; m++) {
        int32_t shortest = INT32_MAX;
        for (int s = m * 6; s < m * 6 + 6; s++) {
            int32_t length = a.cu_target[s + 1] - a.cu_target[s];
            shortest = length < shortest ? length : shortest;
        }
        for (int s = m * 6; s < m * 6 + 6; s++) {
            assert_int_equal(b.cu_target[s + 1] - b.cu_target[s], shortest);
            assert_memory_equal(b.target + b.cu_target[s], a.target + a.cu_target[s],
                                (size_t)shortest * sizeof *a.target);
        }
    }
    mask_group_free(&a);
    mask_group_free(&b);
}

static void a_mask_is_a_function_of_its_numbers(void **state) {
    (void)state;
    MaskRecipe recipe = published(3);
    MaskGroup a, b;
    mask_group_new(&a, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    mask_group_new(&b, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    mask_group_draw(&a, &recipe, 11, 100, 2, NULL);
    mask_group_draw(&b, &recipe, 11, 99, 2, NULL); /* whatever was drawn before */
    mask_group_draw(&b, &recipe, 11, 100, 2, NULL);
    assert_memory_equal(a.cu_context, b.cu_context, 7 * sizeof *a.cu_context);
    assert_memory_equal(a.context, b.context, (size_t)a.cu_context[6] * sizeof *a.context);
    const uint64_t other[3][3] = {{12, 100, 2}, {11, 101, 2}, {11, 100, 3}};
    for (int i = 0; i < 3; i++) {
        mask_group_draw(&b, &recipe, other[i][0], other[i][1], other[i][2], NULL);
        assert_true(memcmp(a.cu_context, b.cu_context, 7 * sizeof *a.cu_context) ||
                    memcmp(a.context, b.context, (size_t)a.cu_context[6] * sizeof *a.context));
    }
    mask_group_free(&a);
    mask_group_free(&b);
}

static void groups_too_large_are_drawn_again(void **state) {
    (void)state;
    MaskRecipe recipe = published(4);
    int64_t context, target;
    mask_capacity(&context, &target, &recipe);
    assert_true(context > 0 && context <= all_tokens(&recipe));
    MaskGroup group;
    int redraws = 0;
    int64_t tight = target * 3 / 4; /* about the mean: half of the groups do not fit */
    mask_group_new(&group, &recipe, context, tight);
    for (uint64_t step = 0; step < 50; step++) {
        mask_group_draw(&group, &recipe, 1, step, 0, NULL);
        assert_true(group.cu_context[8] <= context && group.cu_target[8] <= tight);
        redraws += group.redraws;
    }
    assert_true(redraws > 0);
    mask_group_free(&group);
}

/* Some block sizes of this setting cover the whole grid: such a group is drawn again. */
static void sizes_without_context_are_drawn_again(void **state) {
    (void)state;
    MaskRecipe recipe = {.settings = 1, .grid = {2, 6, 6}, .samples = 3};
    recipe.setting[0] = multiblock(1, 1);
    recipe.setting[0].spatial_scale[0] = 0.2;
    Error error = {0};
    assert_int_equal(mask_check(&recipe, &error), 0);
    MaskGroup group;
    mask_group_new(&group, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    for (uint64_t step = 0; step < 300; step++) {
        mask_group_draw(&group, &recipe, 1, step, 0, NULL);
        for (int s = 0; s < 3; s++)
            assert_true(group.cu_context[s + 1] > group.cu_context[s]);
    }
    mask_group_free(&group);
}

static void limits_on_the_context(void **state) {
    (void)state;
    MaskRecipe recipe = published(5);
    recipe.setting[0].max_keep = 10;
    recipe.setting[1].max_temporal_keep = 0.5;
    MaskGroup group;
    mask_group_new(&group, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    mask_group_draw(&group, &recipe, 1, 1, 0, NULL);
    for (int s = 0; s < 5; s++)
        assert_true(group.cu_context[s + 1] - group.cu_context[s] <= 10);
    for (int32_t i = group.cu_context[5]; i < group.cu_context[10]; i++)
        assert_true(group.context[i] < 4 * 14 * 14);
    mask_group_free(&group);
}

static void tubes(void **state) {
    (void)state;
    MaskRecipe recipe = {.settings = 1, .grid = {4, 6, 5}, .samples = 3};
    recipe.setting[0] = (MaskSetting){.kind = MASK_TUBE, .ratio = 0.9};
    MaskGroup group;
    Error error = {0};
    assert_int_equal(mask_check(&recipe, &error), 0);
    mask_group_new(&group, &recipe, all_tokens(&recipe), all_tokens(&recipe));
    mask_group_draw(&group, &recipe, 1, 1, 0, NULL);
    for (int s = 0; s < 3; s++) {
        const int32_t *tokens = group.context + group.cu_context[s];
        /* int(30 (1 - 0.9)) is 2 in floating point, there as here */
        assert_int_equal(group.cu_context[s + 1] - group.cu_context[s], 4 * 2);
        for (int t = 1; t < 4; t++)
            for (int i = 0; i < 2; i++)
                assert_int_equal(tokens[t * 2 + i], tokens[i] + t * 30);
    }
    mask_group_free(&group);
}

static void impossible_settings_are_refused(void **state) {
    (void)state;
    Error error = {0};
    MaskRecipe recipe = published(2);
    assert_int_equal(mask_check(&recipe, &error), 0);
    recipe.setting[1].spatial_scale[0] = recipe.setting[1].spatial_scale[1] = 1;
    recipe.setting[1].aspect_ratio[0] = recipe.setting[1].aspect_ratio[1] = 1;
    assert_int_equal(mask_check(&recipe, &error), -1); /* hides everything, always */
    assert_non_null(strstr(error.text, "mask[1]"));
    recipe = published(2);
    recipe.setting[0].aspect_ratio[0] = 3;
    assert_int_equal(mask_check(&recipe, &error), -1);
    recipe = published(2);
    recipe.setting[0].num_blocks = 0;
    assert_int_equal(mask_check(&recipe, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_published_distribution),
        cmocka_unit_test(context_and_target_share_no_token),
        cmocka_unit_test(truncation_cuts_to_the_shortest),
        cmocka_unit_test(a_mask_is_a_function_of_its_numbers),
        cmocka_unit_test(groups_too_large_are_drawn_again),
        cmocka_unit_test(sizes_without_context_are_drawn_again),
        cmocka_unit_test(limits_on_the_context),
        cmocka_unit_test(tubes),
        cmocka_unit_test(impossible_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
