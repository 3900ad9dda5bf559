/* Hostile recipes: YAML to tree to recipe, and what is accepted must survive being written. */
#include "jepa/recipe.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    YamlNode *root = NULL;
    Error error = {0};
    if (yaml_parse(&root, (const char *)data, size, "fuzz", &error))
        return 0;
    Recipe recipe, again;
    recipe_default(&recipe);
    if (!recipe_apply(&recipe, root, "fuzz", &error) && !recipe_check(&recipe, &error)) {
        char *text = recipe_text(&recipe);
        YamlNode *written = NULL;
        recipe_default(&again);
        if (!yaml_parse(&written, text, strlen(text), "written",
                        &error)) { /* odd bytes in a name */
            if (recipe_apply(&again, written, "written", &error) || recipe_check(&again, &error))
                abort();
            char *twice = recipe_text(&again);
            if (strcmp(text, twice))
                abort();
            free(twice);
        }
        yaml_release(written);
        recipe_free(&again);
        free(text);
    }
    recipe_free(&recipe);
    yaml_release(root);
    return 0;
}
