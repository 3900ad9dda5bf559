/* Reading recipes: from YAML, from a file, from --set. See jepa/recipe.h. */
#include "base/words.h"
#include "jepa/recipe_keys.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keys of one mask setting. */
static const char *const mask_keys[] = {
    "aspect_ratio", "num_blocks", "spatial_scale",   "temporal_scale",       "max_temporal_keep",
    "max_keep",     "ratio",      "full_complement", "pred_full_complement", "inv_block"};
#define MASK_KEYS (sizeof mask_keys / sizeof *mask_keys)

static void append(char **list, const char *separator, const char *what) {
    char *longer = memory_text("%s%s%s", *list ? *list : "", *list ? separator : "", what);
    free(*list);
    *list = longer;
}

static void replace_text(char **place, const char *text) {
    free(*place);
    *place = text ? memory_text("%s", text) : NULL;
}

static int wrong(const YamlNode *node, const char *name, const char *path, const char *wanted,
                 Error *error) {
    return error_set(
        error, ERROR_USAGE, "%s:%d: %s: expected %s, found %s%s%s", name, node->line, path, wanted,
        node->kind == YAML_SCALAR ? "\""
        : node->kind == YAML_LIST ? "a list"
                                  : "a map",
        node->kind == YAML_SCALAR ? node->text : "", node->kind == YAML_SCALAR ? "\"" : "");
}

static int read_pair(double pair[2], const YamlNode *node) {
    if (node->kind != YAML_LIST || node->count != 2)
        return -1;
    return yaml_number(node->items[0], &pair[0]) || yaml_number(node->items[1], &pair[1]) ? -1 : 0;
}

static bool is_one_of(const char *text, const char *list) {
    size_t length = strlen(text);
    for (const char *at = list; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (!strncasecmp(at, text, length) && (at[length] == '|' || !at[length]))
            return true;
    return false;
}

/* A feature that is not built: noted, refused later by recipe_check, so that --set can undo it. */
static void apply_only(Recipe *r, const RecipeKey *key, const YamlNode *node) {
    const char *value = node->kind == YAML_SCALAR ? node->text : "...";
    bool fine = yaml_is_null(node) || (node->kind == YAML_SCALAR && is_one_of(value, key->only));
    char *entry = memory_text("%s: ", key->path), *kept = NULL;
    /* the last word on a key counts: drop what was noted of it before */
    for (char *at = r->not_built, *next; at && *at; at = next) {
        char *end = strstr(at, "; ");
        next = end ? end + 2 : NULL;
        if (end)
            *end = 0;
        if (strncmp(at, entry, strlen(entry)))
            append(&kept, "; ", at);
    }
    if (!fine) {
        char *noted = memory_text("%s%s", entry, value);
        append(&kept, "; ", noted);
        free(noted);
    }
    free(entry);
    free(r->not_built);
    r->not_built = kept;
}

static int apply_datasets(char **sets, int *count, const RecipeKey *key, const YamlNode *node,
                          const char *name, Error *error) {
    if (node->kind == YAML_SCALAR && !yaml_is_null(node)) {
        for (int i = 0; i < *count; i++)
            free(sets[i]);
        sets[0] = memory_text("%s", node->text);
        *count = 1;
        return 0;
    }
    if (node->kind == YAML_LIST && node->count > RECIPE_SOURCES_MAX)
        return error_set(error, ERROR_USAGE, "%s:%d: %s: expected at most %d paths, found %zu",
                         name, node->line, key->path, RECIPE_SOURCES_MAX, node->count);
    if (node->kind != YAML_LIST)
        return yaml_is_null(node) ? 0 : wrong(node, name, key->path, "a list of paths", error);
    for (size_t i = 0; i < node->count; i++)
        if (node->items[i]->kind != YAML_SCALAR)
            return wrong(node->items[i], name, key->path, "a path", error);
    for (int i = 0; i < *count; i++)
        free(sets[i]);
    *count = 0;
    for (size_t i = 0; i < node->count; i++)
        sets[(*count)++] = memory_text("%s", node->items[i]->text);
    return 0;
}

static int apply_weights(Recipe *r, const RecipeKey *key, const YamlNode *node, const char *name,
                         Error *error) {
    r->data.weights_count = 0;
    if (yaml_is_null(node))
        return 0;
    if (node->kind != YAML_LIST || node->count > RECIPE_SOURCES_MAX)
        return wrong(node, name, key->path, "a list of weights", error);
    for (size_t i = 0; i < node->count; i++)
        if (yaml_number(node->items[i], &r->data.weights[r->data.weights_count++]))
            return wrong(node->items[i], name, key->path, "a number", error);
    return 0;
}

/* Frames of a clip by data set; one number for all is num_frames. */
static int apply_fpcs(Recipe *r, const RecipeKey *key, const YamlNode *node, const char *name,
                      Error *error) {
    int most = 0;
    bool differ = false;
    if (node->kind != YAML_LIST || !node->count || node->count > RECIPE_SOURCES_MAX)
        return wrong(node, name, key->path, "a list of frames per clip", error);
    for (size_t i = 0; i < node->count; i++) {
        int64_t frames;
        if (yaml_integer(node->items[i], &frames) || frames < 1 || frames > CLIP_FRAMES_MAX)
            return wrong(node->items[i], name, key->path, "frames of a clip", error);
        r->data.fpcs[i] = (int)frames;
        differ = differ || frames != r->data.fpcs[0];
        most = frames > most ? (int)frames : most;
    }
    r->data.fpcs_count = differ ? (int)node->count : 0;
    if (!differ)
        memset(r->data.fpcs, 0, sizeof r->data.fpcs);
    r->data.num_frames = most;
    return 0;
}

/* Number of a word in "a|b|c", -1: not among them. */
static int choice_number(const char *text, const char *words) {
    size_t length = strlen(text);
    int number = 0;
    for (const char *at = words; at; number++) {
        const char *end = strchr(at, '|');
        if (!strncmp(at, text, length) && (at[length] == '|' || !at[length]))
            return number;
        at = end ? end + 1 : NULL;
    }
    return -1;
}

/* "2 GiB", "500MB", "1000000" */
static int read_size(double *bytes, const char *text) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"KiB", 1024},
                 {"MiB", 1048576},
                 {"kB", 1000},
                 {"MB", 1e6},
                 {"GiB", 1073741824},
                 {"GB", 1e9},
                 {"TB", 1e12},
                 {"TiB", 1099511627776.}};
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value >= 0) || value > 1e15)
        return -1;
    end += strspn(end, " ");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].name)) {
            *bytes = floor(value * units[i].bytes);
            return 0;
        }
    return -1;
}

/* 224, or [height, width] */
static int apply_crop(Recipe *r, const RecipeKey *key, const YamlNode *node, const char *name,
                      Error *error) {
    int64_t height, width = 0;
    bool pair = node->kind == YAML_LIST && node->count == 2;
    if (yaml_integer(pair ? node->items[0] : node, &height) ||
        (pair && yaml_integer(node->items[1], &width)) || height < 0 || width < 0 ||
        height > 1 << 20 || width > 1 << 20)
        return wrong(node, name, key->path, "pixels, or [height, width]", error);
    r->data.crop_size = (int)height;
    r->data.crop_width = width == height ? 0 : (int)width;
    return 0;
}

/* "500 steps", "10 minutes", or a number of steps */
static int apply_every(Recipe *r, const RecipeKey *key, const YamlNode *node, const char *name,
                       Error *error) {
    double value = 0;
    char unit[16] = "steps", extra;
    if (node->kind != YAML_SCALAR ||
        (sscanf(node->text, "%lf %15[a-z] %c", &value, unit, &extra) < 1) || !(value > 0) ||
        value > 1e12 || (value < 1 && unit[0] == 's') ||
        (strncmp(unit, "step", 4) && strncmp(unit, "minute", 6)))
        return wrong(node, name, key->path, "\"N steps\" or \"M minutes\"", error);
    r->checkpoint.every_steps = unit[0] == 's' ? (int64_t)value : 0;
    r->checkpoint.every_minutes = unit[0] == 'm' ? value : 0;
    return 0;
}

static int apply_mask_setting(MaskSetting *s, const YamlNode *map, int m, const char *name,
                              Error *error) {
    char path[64];
    if (map->kind != YAML_MAP)
        return wrong(map, name, "mask", "a map for each mask setting", error);
    *s = (MaskSetting){.num_blocks = 1,
                       .aspect_ratio = {0.75, 1.5},
                       .spatial_scale = {0.2, 0.8},
                       .temporal_scale = {1, 1},
                       .max_temporal_keep = 1};
    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i];
        const YamlNode *node = map->items[i];
        int64_t integer = 0;
        bool flag = false;
        int bad = 0;
        snprintf(path, sizeof path, "mask[%d].%.40s", m, key);
        if (!strcmp(key, "aspect_ratio"))
            bad = read_pair(s->aspect_ratio, node);
        else if (!strcmp(key, "spatial_scale"))
            bad = read_pair(s->spatial_scale, node);
        else if (!strcmp(key, "temporal_scale"))
            bad = read_pair(s->temporal_scale, node);
        else if (!strcmp(key, "max_temporal_keep"))
            bad = yaml_number(node, &s->max_temporal_keep);
        else if (!strcmp(key, "ratio")) {
            bad = yaml_number(node, &s->ratio);
            s->kind = MASK_TUBE;
        } else if (!strcmp(key, "num_blocks") || !strcmp(key, "max_keep")) {
            bad = !yaml_is_null(node) &&
                  (yaml_integer(node, &integer) || integer < 0 || integer > 1 << 24);
            *(key[0] == 'n' ? &s->num_blocks : &s->max_keep) = (int)integer;
        } else if (!strcmp(key, "full_complement") || !strcmp(key, "pred_full_complement") ||
                   !strcmp(key, "inv_block")) {
            bad = yaml_bool(node, &flag);
            if (bad)
                return wrong(node, name, path, "true or false", error);
            *(key[0] == 'f'   ? &s->full_complement
              : key[0] == 'p' ? &s->pred_full_complement
                              : &s->inv_block) = flag;
        } else {
            const char *near = nearest_word(key, mask_keys, MASK_KEYS);
            return error_set(error, ERROR_USAGE, "%s:%d: unknown key mask.%s%s%s%s", name,
                             node->line, key, near ? ": did you mean " : "", near ? near : "",
                             near ? "?" : "");
        }
        if (bad)
            return wrong(node, name, path, "a number or a pair of numbers", error);
    }
    return 0;
}

static int apply_masks(MaskSetting *to, int *count, const YamlNode *list, const char *name,
                       Error *error) {
    if (list->kind != YAML_LIST || !list->count || list->count > MASK_SETTINGS_MAX)
        return wrong(list, name, "mask", "a list of 1 to 16 mask settings", error);
    MaskSetting settings[MASK_SETTINGS_MAX];
    for (size_t m = 0; m < list->count; m++)
        if (apply_mask_setting(&settings[m], list->items[m], (int)m, name, error))
            return -1;
    memcpy(to, settings, sizeof settings);
    *count = (int)list->count;
    return 0;
}

static int apply_key(Recipe *r, const RecipeKey *key, const YamlNode *node, const char *name,
                     Error *error) {
    char *place = (char *)r + key->offset;
    int64_t integer;
    double number, pair[2];
    bool flag;
    bool null = yaml_is_null(node);
    const char *text = node->kind == YAML_SCALAR ? node->text : "";
    switch (key->kind) {
    case KEY_IGNORED:
        append(&r->ignored, ", ", key->path);
        return 0;
    case KEY_ONLY:
        apply_only(r, key, node);
        return 0;
    case KEY_INT:
        if (null)
            integer = 0;
        else if (yaml_integer(node, &integer) || integer < 0 || integer > 1 << 30)
            return wrong(node, name, key->path, "a whole number", error);
        *(int *)(void *)place = (int)integer;
        return 0;
    case KEY_INT64:
        if (null)
            integer = 0;
        else if (yaml_integer(node, &integer))
            return wrong(node, name, key->path, "a whole number", error);
        *(int64_t *)(void *)place = integer;
        return 0;
    case KEY_NUMBER:
        if (null)
            number = 0;
        else if (yaml_number(node, &number))
            return wrong(node, name, key->path, "a number", error);
        *(double *)(void *)place = number;
        return 0;
    case KEY_BOOL:
        if (yaml_bool(node, &flag))
            return wrong(node, name, key->path, "true or false", error);
        *(bool *)(void *)place = flag;
        return 0;
    case KEY_TEXT:
        if (node->kind != YAML_SCALAR)
            return wrong(node, name, key->path, "a word", error);
        replace_text((char **)(void *)place, null ? NULL : text);
        if (key->offset == offsetof(Recipe, model.model_name) &&
            !null) { /* sizes said before it no longer count */
            r->model.embed_dim = r->model.depth = r->model.num_heads = 0;
            r->model.mlp_ratio = 0;
        }
        return 0;
    case KEY_PAIR:
        if (read_pair(pair, node))
            return wrong(node, name, key->path, "two numbers, [a, b]", error);
        memcpy(place, pair, sizeof pair);
        return 0;
    case KEY_DATASETS:
        return apply_datasets(r->data.datasets, &r->data.datasets_count, key, node, name, error);
    case KEY_IMG_DATASETS:
        return apply_datasets(r->img_data.datasets, &r->img_data.datasets_count, key, node, name,
                              error);
    case KEY_IMG_MASKS:
        if (null) {
            r->img_mask.count = 0;
            return 0;
        }
        return apply_masks(r->img_mask.settings, &r->img_mask.count, node, name, error);
    case KEY_AUTO:
        if (!strcmp(text, "auto"))
            number = -1;
        else if (null)
            number = 0;
        else if (yaml_number(node, &number) || number < 0)
            return wrong(node, name, key->path, "a number of 0 or more, or auto", error);
        *(double *)(void *)place = number;
        return 0;
    case KEY_WEIGHTS:
        return apply_weights(r, key, node, name, error);
    case KEY_CHOICE: {
        if (null)
            return 0;
        int choice = choice_number(text, key->only);
        if (choice < 0)
            return wrong(node, name, key->path, key->only, error);
        *(int *)(void *)place = choice;
        return 0;
    }
    case KEY_FILTER:
        if (null || yaml_bool(node, &flag))
            return null ? 0 : wrong(node, name, key->path, "true or false", error);
        if (flag)
            r->data.short_videos = CLIP_SHORT_SKIP;
        else if (r->data.short_videos == CLIP_SHORT_SKIP)
            r->data.short_videos = CLIP_SHORT_REPEAT;
        return 0;
    case KEY_SIZE:
        if (null)
            number = 0;
        else if (read_size(&number, text))
            return wrong(node, name, key->path, "a size such as 500 MiB or 2 GiB", error);
        *(double *)(void *)place = number;
        return 0;
    case KEY_CROP:
        return apply_crop(r, key, node, name, error);
    case KEY_MASK_TYPE:
        if (strcmp(text, "multiblock3d") && strcmp(text, "random_tube"))
            return wrong(node, name, key->path, "multiblock3d or random_tube", error);
        r->mask.tubes = text[0] == 'r';
        return 0;
    case KEY_MASK_BATCH:
        if (strcmp(text, "packed") && strcmp(text, "truncate"))
            return wrong(node, name, key->path, "packed or truncate", error);
        r->mask.batch = text[0] == 'p' ? MASK_PACKED : MASK_TRUNCATE;
        return 0;
    case KEY_FPCS:
        if (null) {
            r->data.fpcs_count = 0;
            memset(r->data.fpcs, 0, sizeof r->data.fpcs);
            return 0;
        }
        return apply_fpcs(r, key, node, name, error);
    case KEY_EVERY:
        return apply_every(r, key, node, name, error);
    }
    return 0;
}

static int unknown_key(const char *path, const YamlNode *node, const char *name, Error *error) {
    const char *paths[recipe_key_count];
    for (size_t i = 0; i < recipe_key_count; i++)
        paths[i] = recipe_keys[i].path;
    const char *near = nearest_word(path, paths, recipe_key_count);
    return error_set(error, ERROR_USAGE, "%s:%d: unknown key %s%s%s%s", name, node->line, path,
                     near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
}

static int apply_path(Recipe *r, const char *path, const YamlNode *node, const char *name,
                      Error *error) {
    if (!strcmp(path, "mask.settings"))
        return apply_masks(r->mask.settings, &r->mask.count, node, name, error);
    for (size_t i = 0; i < recipe_key_count; i++)
        if (!strcmp(path, recipe_keys[i].path))
            return apply_key(r, &recipe_keys[i], node, name, error);
    return unknown_key(path, node, name, error);
}

static bool is_section(const char *key) {
    size_t length = strlen(key);
    for (size_t i = 0; i < recipe_key_count; i++)
        if (!strncmp(recipe_keys[i].path, key, length) && recipe_keys[i].path[length] == '.')
            return true;
    return false;
}

int recipe_apply(Recipe *recipe, const YamlNode *root, const char *name, Error *error) {
    if (root->kind != YAML_MAP)
        return yaml_is_null(root) ? 0 : wrong(root, name, "recipe", "a map of sections", error);
    for (size_t i = 0; i < root->count; i++) {
        const char *section = root->keys[i];
        const YamlNode *node = root->items[i];
        if (!strcmp(section, "mask") && node->kind == YAML_LIST) {
            if (apply_masks(recipe->mask.settings, &recipe->mask.count, node, name, error))
                return -1;
        } else if (is_section(section)) {
            if (yaml_is_null(node))
                continue;
            if (node->kind != YAML_MAP)
                return wrong(node, name, section, "a map of keys", error);
            for (size_t k = 0; k < node->count; k++) {
                char path[160];
                snprintf(path, sizeof path, "%.60s.%.90s", section, node->keys[k]);
                if (apply_path(recipe, path, node->items[k], name, error))
                    return -1;
            }
        } else if (apply_path(recipe, section, node, name, error)) {
            return -1;
        }
    }
    return 0;
}

int recipe_load(Recipe *recipe, const char *path, Error *error) {
    YamlNode *root = NULL;
    if (yaml_load(&root, path, error))
        return -1;
    int result = recipe_apply(recipe, root, path, error);
    yaml_release(root);
    return result;
}

int recipe_parse(Recipe *recipe, const char *text, const char *name, Error *error) {
    YamlNode *root = NULL;
    if (yaml_parse(&root, text, strlen(text), name, error))
        return -1;
    int result = recipe_apply(recipe, root, name, error);
    yaml_release(root);
    return result;
}

int recipe_set(Recipe *recipe, const char *assignment, Error *error) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment || equals - assignment > 100)
        return error_set(error, ERROR_USAGE, "--set %s: expected section.key=value", assignment);
    char path[128];
    snprintf(path, sizeof path, "%.*s", (int)(equals - assignment), assignment);
    YamlNode *value = NULL;
    const char *text = equals[1] ? equals + 1 : "null";
    if (yaml_parse(&value, text, strlen(text), "--set", error))
        return -1;
    int result = !strcmp(path, "mask") && value->kind == YAML_LIST
                     ? apply_masks(recipe->mask.settings, &recipe->mask.count, value, "--set",
                                   error)
                     : apply_path(recipe, path, value, "--set", error);
    yaml_release(value);
    return result;
}
