/* May a run go on with this recipe? A run keeps its recipe, but for the keys that do not decide
 * what a step computes, and keys that this program has and the one that began the run had not:
 * those stand at their defaults, which are what was done before there was a key. So recipes are
 * compared as they are read today, key by key, not as texts. */
#ifndef JEPA_JEPA_RECIPE_COMPARE_H
#define JEPA_JEPA_RECIPE_COMPARE_H

#include "base/hash.h"
#include "jepa/recipe.h"

typedef struct RecipeChange {
    const char *path;     /* of the key */
    char *before, *after; /* values as in a recipe, on one line; owned */
    bool free;            /* the run may go on with it */
} RecipeChange;

typedef struct RecipeChanges {
    RecipeChange *change; /* [count], in the order of the keys */
    size_t count;
    const RecipeChange *fixed; /* the first that is not free; NULL: the run can go on */
} RecipeChanges;

/* Keys whose values differ. Free with recipe_changes_free. */
void recipe_compare(RecipeChanges *changes, const Recipe *before, const Recipe *after);
void recipe_changes_free(RecipeChanges *changes);

/* recipe_compare with a resolved text, `name` in messages. Error: it is no recipe of this program.
 */
int recipe_compare_text(RecipeChanges *changes, const char *before, const char *name,
                        const Recipe *after, Error *error);

/* Of what the recipe computes: its keys that are neither free nor at their defaults, so that keys
 * which are new in a later program change nothing. */
Hash recipe_hash(const Recipe *recipe);

#endif
