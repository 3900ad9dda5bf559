/* Writing a resolved recipe as YAML that reads back to the same recipe. See jepa/recipe.h. */
#include "jepa/recipe_keys.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Word `number` of "a|b|c". */
static void put_choice(FILE *out, const char *words, int number) {
    for (; number > 0; number--)
        words = strchr(words, '|') + 1;
    fprintf(out, "%.*s", (int)strcspn(words, "|"), words);
}

static void write_masks(FILE *out, const MaskSetting *settings, int count, const char *indent) {
    for (int m = 0; m < count; m++) {
        const MaskSetting *s = &settings[m];
        if (s->kind == MASK_TUBE)
            fprintf(out, "%s- ratio: %.17g\n", indent, s->ratio);
        else
            fprintf(out,
                    "%s- aspect_ratio: [%.17g, %.17g]\n%s  num_blocks: %d\n"
                    "%s  spatial_scale: [%.17g, %.17g]\n%s  temporal_scale: [%.17g, %.17g]\n"
                    "%s  max_temporal_keep: %.17g\n",
                    indent, s->aspect_ratio[0], s->aspect_ratio[1], indent, s->num_blocks, indent,
                    s->spatial_scale[0], s->spatial_scale[1], indent, s->temporal_scale[0],
                    s->temporal_scale[1], indent, s->max_temporal_keep);
        if (s->max_keep)
            fprintf(out, "%s  max_keep: %d\n", indent, s->max_keep);
        if (s->full_complement)
            fprintf(out, "%s  full_complement: true\n", indent);
        if (s->pred_full_complement)
            fprintf(out, "%s  pred_full_complement: true\n", indent);
        if (s->inv_block)
            fprintf(out, "%s  inv_block: true\n", indent);
    }
}

static void write_datasets(FILE *out, char *const *sets, int count) {
    fprintf(out, "  datasets:%s\n", count ? "" : " []");
    for (int i = 0; i < count; i++) {
        char *quoted = yaml_quote(sets[i]);
        fprintf(out, "    - %s\n", quoted);
        free(quoted);
    }
}

static void write_key(FILE *out, const Recipe *r, const RecipeKey *key) {
    const char *name = strrchr(key->path, '.');
    const char *place = (const char *)r + key->offset;
    const double *pair = (const double *)(const void *)place;
    const char *indent = name ? "  " : "";
    name = name ? name + 1 : key->path;
    switch (key->kind) {
    case KEY_INT:
        fprintf(out, "%s%s: %d\n", indent, name, *(const int *)(const void *)place);
        break;
    case KEY_INT64:
        fprintf(out, "%s%s: %" PRId64 "\n", indent, name, *(const int64_t *)(const void *)place);
        break;
    case KEY_NUMBER:
        fprintf(out, "%s%s: %.17g\n", indent, name, *pair);
        break;
    case KEY_BOOL:
        fprintf(out, "%s%s: %s\n", indent, name, *(const bool *)place ? "true" : "false");
        break;
    case KEY_TEXT: {
        const char *text = *(char *const *)(const void *)place;
        char *quoted = text ? yaml_quote(text) : NULL;
        fprintf(out, "%s%s: %s\n", indent, name, quoted ? quoted : "null");
        free(quoted);
        break;
    }
    case KEY_PAIR:
        fprintf(out, "%s%s: [%.17g, %.17g]\n", indent, name, pair[0], pair[1]);
        break;
    case KEY_DATASETS:
        write_datasets(out, r->data.datasets, r->data.datasets_count);
        break;
    case KEY_IMG_DATASETS:
        write_datasets(out, r->img_data.datasets, r->img_data.datasets_count);
        break;
    case KEY_AUTO:
        if (*pair < 0)
            fprintf(out, "%s%s: auto\n", indent, name);
        else
            fprintf(out, "%s%s: %.17g\n", indent, name, *pair);
        break;
    case KEY_WEIGHTS:
        if (!r->data.weights_count)
            break;
        fprintf(out, "  %s: [", name);
        for (int i = 0; i < r->data.weights_count; i++)
            fprintf(out, "%s%.17g", i ? ", " : "", r->data.weights[i]);
        fprintf(out, "]\n");
        break;
    case KEY_FPCS:
        if (!r->data.fpcs_count)
            break;
        fprintf(out, "  %s: [", name);
        for (int i = 0; i < r->data.fpcs_count; i++)
            fprintf(out, "%s%d", i ? ", " : "", r->data.fpcs[i]);
        fprintf(out, "]\n");
        break;
    case KEY_CHOICE:
        fprintf(out, "%s%s: ", indent, name);
        put_choice(out, key->only, *(const int *)(const void *)place);
        fputc('\n', out);
        break;
    case KEY_SIZE:
        fprintf(out, "%s%s: %.0f\n", indent, name, *pair);
        break;
    case KEY_CROP:
        if (r->data.crop_width)
            fprintf(out, "  crop_size: [%d, %d]\n", r->data.crop_size, r->data.crop_width);
        else
            fprintf(out, "  crop_size: %d\n", r->data.crop_size);
        break;
    case KEY_MASK_TYPE:
        fprintf(out, "  mask_type: %s\n", r->mask.tubes ? "random_tube" : "multiblock3d");
        break;
    case KEY_MASK_BATCH:
        fprintf(out, "  batch: %s\n  settings:\n",
                r->mask.batch == MASK_PACKED ? "packed" : "truncate");
        write_masks(out, r->mask.settings, r->mask.count, "    ");
        break;
    case KEY_IMG_MASKS:
        fprintf(out, "img_mask:%s\n", r->img_mask.count ? "" : " null");
        write_masks(out, r->img_mask.settings, r->img_mask.count, "  ");
        break;
    case KEY_EVERY:
        if (r->checkpoint.every_steps)
            fprintf(out, "  every: %" PRId64 " steps\n", r->checkpoint.every_steps);
        else
            fprintf(out, "  every: %.17g minutes\n", r->checkpoint.every_minutes);
        break;
    case KEY_FILTER:
    case KEY_IGNORED:
    case KEY_ONLY:
        break;
    }
}

char *recipe_key_text(const Recipe *recipe, const RecipeKey *key) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    JEPA_ASSERT(out);
    write_key(out, recipe, key);
    fclose(out);
    return text;
}

char *recipe_text(const Recipe *recipe) {
    char *text = NULL, section[32] = "";
    size_t size;
    FILE *out = open_memstream(&text, &size);
    JEPA_ASSERT(out);
    for (size_t i = 0; i < recipe_key_count; i++) {
        const RecipeKey *key = &recipe_keys[i];
        if (key->kind == KEY_IGNORED || key->kind == KEY_ONLY || key->kind == KEY_FILTER)
            continue;
        const char *dot = strchr(key->path, '.');
        if (dot && strncmp(section, key->path, (size_t)(dot - key->path) + 1)) {
            snprintf(section, sizeof section, "%.*s.", (int)(dot - key->path), key->path);
            fprintf(out, "%.*s:\n", (int)(dot - key->path), key->path);
        }
        write_key(out, recipe, key);
    }
    fclose(out);
    return text;
}
