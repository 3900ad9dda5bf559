/* Masks of recipes that runs already used: the same bits as when these hashes were taken, so that a
 * run can be resumed and recomputed with a later version of the program. */
#include "base/hash.h"
#include "masking/mask.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Golden {
    const char *name;
    MaskRecipe recipe;
    bool planned; /* memory as mask_capacity plans it, with its redraws; else room for all */
    const char *hash;
} Golden;

#define BLOCKS(n, scale)                                                                           \
    {                                                                                              \
        .num_blocks = n, .aspect_ratio = {0.75, 1.5}, .spatial_scale = {scale, scale},             \
        .temporal_scale = {1, 1}, .max_temporal_keep = 1                                           \
    }

static const Golden golden[] = {
    {"published, packed",
     {.settings = 2,
      .grid = {8, 14, 14},
      .samples = 4,
      .setting = {BLOCKS(8, 0.15), BLOCKS(2, 0.7)}},
     true,
     "14766c7313480041"},
    {"published, truncated",
     {.batch = MASK_TRUNCATE,
      .settings = 2,
      .grid = {8, 14, 14},
      .samples = 24,
      .setting = {BLOCKS(8, 0.15), BLOCKS(2, 0.7)}},
     true,
     "6a65ce3ba1eaaadf"},
    {"limits and ranges",
     {.settings = 3,
      .grid = {6, 9, 12},
      .samples = 5,
      .setting = {{.num_blocks = 3,
                   .aspect_ratio = {0.5, 2},
                   .spatial_scale = {0.1, 0.4},
                   .temporal_scale = {0.3, 0.9},
                   .max_temporal_keep = 0.5},
                  {.num_blocks = 2,
                   .aspect_ratio = {0.5, 2},
                   .spatial_scale = {0.2, 0.3},
                   .temporal_scale = {0.5, 1},
                   .max_temporal_keep = 1,
                   .max_keep = 50},
                  BLOCKS(4, 0.2)}},
     false,
     "678802f66b4aa5df"},
    {"tubes",
     {.settings = 2,
      .grid = {4, 6, 5},
      .samples = 3,
      .setting = {{.kind = MASK_TUBE, .ratio = 0.9}, {.kind = MASK_TUBE, .ratio = 0.4}}},
     true,
     "0babad970ed85d43"},
    {"sizes that leave no context",
     {.settings = 1,
      .grid = {2, 6, 6},
      .samples = 3,
      .setting = {{.num_blocks = 1,
                   .aspect_ratio = {0.75, 1.5},
                   .spatial_scale = {0.2, 1},
                   .temporal_scale = {1, 1},
                   .max_temporal_keep = 1}}},
     false,
     "df302ce093ba0b07"},
    {"truncated groups larger than planned before the cut",
     {.batch = MASK_TRUNCATE,
      .settings = 1,
      .grid = {8, 16, 16},
      .samples = 24,
      .setting = {BLOCKS(2, 0.7)}},
     true,
     "8602a44655be2642"},
};

static void masks_of_existing_recipes_are_unchanged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const MaskRecipe *recipe = &golden[i].recipe;
        size_t last = (size_t)(recipe->settings * recipe->samples);
        int64_t most = (int64_t)last * mask_grid_tokens(recipe->grid), context, target;
        mask_capacity(&context, &target, recipe);
        HashState state_of_hash;
        hash_start(&state_of_hash);
        hash_add(&state_of_hash, &context, sizeof context);
        hash_add(&state_of_hash, &target, sizeof target);
        MaskGroup group;
        mask_group_new(&group, recipe, golden[i].planned ? context : most,
                       golden[i].planned ? target : most);
        for (uint64_t step = 0; step < 64; step++) {
            mask_group_draw(&group, recipe, 234 + step / 32, step * 1000, step % 3, NULL);
            hash_add(&state_of_hash, &group.redraws, sizeof group.redraws);
            hash_add(&state_of_hash, group.cu_context, (last + 1) * sizeof(int32_t));
            hash_add(&state_of_hash, group.cu_target, (last + 1) * sizeof(int32_t));
            hash_add(&state_of_hash, group.context,
                     (size_t)group.cu_context[last] * sizeof(int32_t));
            hash_add(&state_of_hash, group.target, (size_t)group.cu_target[last] * sizeof(int32_t));
        }
        mask_group_free(&group);
        Hash hash = hash_end(&state_of_hash);
        char text[HASH_TEXT];
        hash_text(text, &hash);
        text[16] = 0;
        if (strcmp(text, golden[i].hash))
            fail_msg("%s: the masks hash to %s, expected %s", golden[i].name, text, golden[i].hash);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks_of_existing_recipes_are_unchanged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
