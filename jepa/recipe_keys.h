/* The keys of a recipe: one table that reading (jepa/recipe_read.c) and writing
 * (jepa/recipe_write.c) go by. */
#ifndef JEPA_JEPA_RECIPE_KEYS_H
#define JEPA_JEPA_RECIPE_KEYS_H

#include "jepa/recipe.h"
#include <stddef.h>

typedef enum RecipeKeyKind {
    KEY_INT,    /* int >= 0 */
    KEY_INT64,  /* int64_t */
    KEY_NUMBER, /* double */
    KEY_BOOL,   /* bool */
    KEY_TEXT,   /* char *, owned */
    KEY_PAIR,   /* double[2] */
    KEY_DATASETS,
    KEY_WEIGHTS,
    KEY_CHOICE, /* int: number of the word in `only` */
    KEY_FILTER, /* filter_short_videos: another word for short_videos: skip */
    KEY_AUTO,   /* double; "auto" is -1 */
    KEY_SIZE,   /* double, bytes: "2 GiB" */
    KEY_CROP,   /* pixels, or [height, width] */
    KEY_MASK_TYPE,
    KEY_MASK_BATCH,
    KEY_IMG_MASKS, /* written as a list of mask settings */
    KEY_IMG_DATASETS,
    KEY_FPCS,
    KEY_EVERY,
    KEY_IGNORED, /* means nothing here */
    KEY_ONLY     /* only the values in `only` (or null) are built */
} RecipeKeyKind;

typedef struct RecipeKey {
    const char *path;
    RecipeKeyKind kind;
    size_t offset;
    const char *only; /* KEY_ONLY, KEY_CHOICE: accepted values, separated by '|' */
} RecipeKey;

extern const RecipeKey recipe_keys[]; /* in the order in which they are written */
extern const size_t recipe_key_count;

/* The key's line or lines as recipe_text has them; "" where it writes none. Caller frees. */
char *recipe_key_text(const Recipe *recipe, const RecipeKey *key);

/* Parts of recipe_default and recipe_check (jepa/recipe_health.c). */
void recipe_default_health(Recipe *recipe);
int recipe_check_health(const Recipe *recipe, Error *error);

#endif
