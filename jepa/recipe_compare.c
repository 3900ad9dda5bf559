/* What differs between two recipes, and whether a run may go on all the same. See
 * jepa/recipe_compare.h. */
#include "jepa/recipe_compare.h"
#include "jepa/recipe_keys.h"
#include <stdlib.h>
#include <string.h>

/* The keys that a run may change when it is resumed: none of them enters what a step computes. */
static const char *const free_keys[] = {
    "data.num_workers", /* who decodes, not what */
    "data.decoder",     /* likewise: the same bytes from both */
    "data.timeout",     /* when a slow file stops the run */
    "data.cache",       /* what is kept of what was decoded, and where */
    "data.cache_folder",
    "model.use_activation_checkpointing", /* memory against time, to the same bits */
    "meta.cuda_graphs",                   /* how kernels are launched, not which */
    "checkpoint.every",                   /* when the state is written, and how much is kept */
    "checkpoint.keep",
    "checkpoint.keep_best",
    "logging.diagnostics_every", /* what is looked at; steps do not depend on it */
    "logging.tensorboard",
    "diagnostics.every",
    "sentry.action",  /* what is done about a collapse that is seen: when a run is ended or goes */
    "sentry.std_min", /* back, but no step in between. Rewinds that were made stand in */
    "sentry.std_share", /* rewinds.csv and are not judged again */
    "sentry.rankme_min",
    "sentry.rankme_share",
    "sentry.lidar_share",
    "sentry.patience",
    "sentry.lr_scale",
    "sentry.most_rewinds",
    "ranks.timeout", /* when one that is missing ends the run */
};
#define FREE_KEYS (sizeof free_keys / sizeof *free_keys)

static bool is_free(const char *path) {
    for (size_t i = 0; i < FREE_KEYS; i++)
        if (!strcmp(path, free_keys[i]))
            return true;
    return false;
}

/* "  key: value\n" -> "value"; further lines are joined by spaces. */
static char *value_of(const char *text) {
    const char *colon = strchr(text, ':');
    char *value = memory_text("%s", colon ? colon + 1 : text), *to = value;
    bool blank = true; /* what was written last */
    for (const char *from = value; *from; from++) {
        bool space = *from == ' ' || *from == '\n';
        if (!space || !blank)
            *to++ = space ? ' ' : *from;
        blank = space;
    }
    while (to > value && to[-1] == ' ')
        to--;
    *to = 0;
    return value;
}

void recipe_compare(RecipeChanges *changes, const Recipe *before, const Recipe *after) {
    *changes = (RecipeChanges){0};
    for (size_t i = 0; i < recipe_key_count; i++) {
        const RecipeKey *key = &recipe_keys[i];
        char *a = recipe_key_text(before, key), *b = recipe_key_text(after, key);
        if (strcmp(a, b)) {
            changes->change = memory_grow(changes->change, changes->count + 1,
                                          sizeof *changes->change);
            changes->change[changes->count++] = (RecipeChange){key->path, value_of(a), value_of(b),
                                                               is_free(key->path)};
        }
        free(a);
        free(b);
    }
    for (size_t i = changes->count; i > 0; i--)
        if (!changes->change[i - 1].free)
            changes->fixed = &changes->change[i - 1];
}

void recipe_changes_free(RecipeChanges *changes) {
    for (size_t i = 0; i < changes->count; i++) {
        free(changes->change[i].before);
        free(changes->change[i].after);
    }
    free(changes->change);
    *changes = (RecipeChanges){0};
}

int recipe_compare_text(RecipeChanges *changes, const char *before, const char *name,
                        const Recipe *after, Error *error) {
    Recipe recipe;
    *changes = (RecipeChanges){0};
    recipe_default(&recipe);
    int result = recipe_parse(&recipe, before, name, error);
    if (!result)
        recipe_compare(changes, &recipe, after);
    recipe_free(&recipe);
    return result;
}

Hash recipe_hash(const Recipe *recipe) {
    Recipe plain;
    RecipeChanges changes;
    HashState state;
    recipe_default(&plain);
    recipe_compare(&changes, &plain, recipe);
    hash_start(&state);
    for (size_t i = 0; i < changes.count; i++) {
        const RecipeChange *c = &changes.change[i];
        if (c->free)
            continue;
        hash_add(&state, c->path, strlen(c->path) + 1);
        hash_add(&state, c->after, strlen(c->after) + 1);
    }
    recipe_changes_free(&changes);
    recipe_free(&plain);
    return hash_end(&state);
}
