/* Reading and writing recipes: one table of keys drives both. See jepa/recipe.h. */
#include "base/words.h"
#include "jepa/recipe.h"
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum KeyKind {
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
} KeyKind;

typedef struct Key {
    const char *path;
    KeyKind kind;
    size_t offset;
    const char *only; /* KEY_ONLY, KEY_CHOICE: accepted values, separated by '|' */
} Key;

#define AT(member) offsetof(Recipe, member)

static const Key keys[] = {
    {"app", KEY_ONLY, 0, "vjepa|vjepa_2_1"},
    {"objective", KEY_CHOICE, AT(objective), "jepa|sigreg"},
    {"target", KEY_TEXT, AT(target), NULL},
    {"init_from", KEY_TEXT, AT(init_from), NULL},
    {"teacher.embed_dim", KEY_INT, AT(teacher.dim), NULL},
    {"teacher.depth", KEY_INT, AT(teacher.depth), NULL},
    {"teacher.num_heads", KEY_INT, AT(teacher.heads), NULL},
    {"teacher.mlp_dim", KEY_INT, AT(teacher.hidden), NULL},
    {"teacher.use_silu", KEY_BOOL, AT(teacher.swiglu), NULL},
    {"teacher.positions", KEY_CHOICE, AT(teacher.positions), "sincos|tiled|standard"},
    {"teacher.rope_side", KEY_INT, AT(teacher.rope_side), NULL},
    {"teacher.uniform_power", KEY_BOOL, AT(teacher.uniform_power), NULL},
    {"teacher.norms", KEY_INT, AT(teacher.norms), NULL},
    {"nodes", KEY_INT, AT(nodes), NULL},
    {"tasks_per_node", KEY_INT, AT(tasks_per_node), NULL},
    {"folder", KEY_IGNORED, 0, NULL},
    {"cpus_per_task", KEY_IGNORED, 0, NULL},
    {"mem_per_gpu", KEY_IGNORED, 0, NULL},
    {"data.dataset_type", KEY_ONLY, 0, "VideoDataset|videodataset"},
    {"data.datasets", KEY_DATASETS, 0, NULL},
    {"data.datasets_weights", KEY_WEIGHTS, 0, NULL},
    {"data.mask_type", KEY_MASK_TYPE, 0, NULL},
    {"data.batch_size", KEY_INT, AT(data.batch_size), NULL},
    {"data.num_clips", KEY_INT, AT(data.num_clips), NULL},
    {"data.num_frames", KEY_INT, AT(data.num_frames), NULL},
    {"data.dataset_fpcs", KEY_FPCS, 0, NULL}, /* after num_frames, which it sets */
    {"data.tubelet_size", KEY_INT, AT(data.tubelet_size), NULL},
    {"data.sampling_rate", KEY_INT, AT(data.sampling_rate), NULL},
    {"data.fps", KEY_NUMBER, AT(data.fps), NULL},
    {"data.clip_duration", KEY_NUMBER, AT(data.clip_duration), NULL},
    {"data.sampling", KEY_CHOICE, AT(data.sampling), "video|duration"},
    {"data.spacing", KEY_CHOICE, AT(data.spacing), "step|published"},
    {"data.short_videos", KEY_CHOICE, AT(data.short_videos), "repeat|loop|skip"},
    {"data.interpolation", KEY_CHOICE, AT(data.interpolation), "fast|published"},
    {"data.hdr", KEY_CHOICE, AT(data.hdr), "tonemap|refuse"},
    {"data.index_check", KEY_CHOICE, AT(data.index_check), "decode|packets"},
    {"data.timeout", KEY_NUMBER, AT(data.timeout), NULL},
    {"data.cache", KEY_SIZE, AT(data.cache_bytes), NULL},
    {"data.cache_folder", KEY_TEXT, AT(data.cache_folder), NULL},
    {"data.crop_size", KEY_CROP, 0, NULL},
    {"data.patch_size", KEY_INT, AT(data.patch_size), NULL},
    {"data.num_workers", KEY_INT, AT(data.num_workers), NULL},
    {"data.filter_short_videos", KEY_FILTER, 0, NULL},
    {"data.decode_one_clip", KEY_IGNORED, 0, NULL},
    {"data.pin_mem", KEY_IGNORED, 0, NULL},
    {"data.persistent_workers", KEY_IGNORED, 0, NULL},
    {"data.log_resource_utilization", KEY_IGNORED, 0, NULL},
    {"data_aug.auto_augment", KEY_BOOL, AT(data_aug.auto_augment), NULL},
    {"data_aug.color_jitter", KEY_NUMBER, AT(data_aug.color_jitter), NULL},
    {"data_aug.motion_shift", KEY_ONLY, 0, "false"},
    {"data_aug.reprob", KEY_NUMBER, AT(data_aug.reprob), NULL},
    {"data_aug.horizontal_flip", KEY_BOOL, AT(data_aug.horizontal_flip), NULL},
    {"data_aug.random_resize_aspect_ratio", KEY_PAIR, AT(data_aug.random_resize_aspect_ratio),
     NULL},
    {"data_aug.random_resize_scale", KEY_PAIR, AT(data_aug.random_resize_scale), NULL},
    {"img_data.datasets", KEY_IMG_DATASETS, 0, NULL},
    {"img_data.batch_size", KEY_INT, AT(img_data.batch_size), NULL},
    {"img_data.crop_size", KEY_INT, AT(img_data.crop_size), NULL},
    {"img_data.rank_ratio", KEY_NUMBER, AT(img_data.rank_ratio), NULL},
    {"img_data.dataset_type", KEY_IGNORED, 0, NULL},
    {"img_data.datasets_weights", KEY_IGNORED, 0, NULL},
    {"img_data.dataset_fpcs", KEY_IGNORED, 0, NULL},
    {"img_data.num_workers", KEY_IGNORED, 0, NULL},
    {"logging.folder", KEY_IGNORED, 0, NULL},
    {"logging.write_tag", KEY_IGNORED, 0, NULL},
    {"logging.diagnostics_every", KEY_INT, AT(logging.diagnostics_every), NULL},
    {"loss.loss_exp", KEY_NUMBER, AT(loss.loss_exp), NULL},
    {"loss.reg_coeff", KEY_NUMBER, AT(loss.reg_coeff), NULL},
    {"loss.smooth_l1", KEY_BOOL, AT(loss.smooth_l1), NULL},
    {"loss.predict_all", KEY_BOOL, AT(loss.predict_all), NULL},
    {"loss.weight_distance_loss", KEY_BOOL, AT(loss.weight_distance_loss), NULL},
    {"loss.offset_context_loss", KEY_ONLY, 0, "false"},
    {"loss.shift_by_n", KEY_ONLY, 0, "0"},
    {"loss.lambda_start", KEY_NUMBER, AT(loss.lambda_start), NULL},
    {"loss.lambda_end", KEY_NUMBER, AT(loss.lambda_end), NULL},
    {"mask.batch", KEY_MASK_BATCH, 0, NULL},
    {"mask.num_pred_masks", KEY_INT, AT(mask.num_pred_masks), NULL},
    {"mask.num_enc_masks", KEY_ONLY, 0, "1"},
    {"mask.pred_mask_scale", KEY_PAIR, AT(mask.ijepa.pred_mask_scale), NULL},
    {"mask.enc_mask_scale", KEY_PAIR, AT(mask.ijepa.enc_mask_scale), NULL},
    {"mask.aspect_ratio", KEY_PAIR, AT(mask.ijepa.aspect_ratio), NULL},
    {"mask.min_keep", KEY_INT, AT(mask.ijepa.min_keep), NULL},
    {"mask.allow_overlap", KEY_BOOL, AT(mask.ijepa.allow_overlap), NULL},
    {"img_mask", KEY_IMG_MASKS, 0, NULL},
    {"sigreg.weight", KEY_NUMBER, AT(sigreg.weight), NULL},
    {"sigreg.num_proj", KEY_INT, AT(sigreg.num_proj), NULL},
    {"sigreg.knots", KEY_ONLY, 0, "17"},
    {"sigreg.hidden_dim", KEY_INT, AT(sigreg.hidden_dim), NULL},
    {"sigreg.output_dim", KEY_INT, AT(sigreg.output_dim), NULL},
    {"sigreg.token_drop_rate", KEY_NUMBER, AT(sigreg.token_drop_rate), NULL},
    {"sigreg.block_causal", KEY_BOOL, AT(sigreg.block_causal), NULL},
    {"sigreg.local_crops_number", KEY_INT, AT(sigreg.local_crops_number), NULL},
    {"sigreg.local_size", KEY_INT, AT(sigreg.local_size), NULL},
    {"sigreg.local_crops_scale", KEY_PAIR, AT(sigreg.local_crops_scale), NULL},
    {"sigreg.local_crops_ratio", KEY_PAIR, AT(sigreg.local_crops_ratio), NULL},
    {"sigreg.hflip", KEY_BOOL, AT(sigreg.hflip), NULL},
    {"sigreg.color_jitter_prob", KEY_NUMBER, AT(sigreg.color_jitter_prob), NULL},
    {"sigreg.brightness", KEY_NUMBER, AT(sigreg.brightness), NULL},
    {"sigreg.contrast", KEY_NUMBER, AT(sigreg.contrast), NULL},
    {"sigreg.saturation", KEY_NUMBER, AT(sigreg.saturation), NULL},
    {"sigreg.hue", KEY_NUMBER, AT(sigreg.hue), NULL},
    {"sigreg.grayscale_prob", KEY_NUMBER, AT(sigreg.grayscale_prob), NULL},
    {"meta.seed", KEY_INT64, AT(meta.seed), NULL},
    {"meta.dtype", KEY_TEXT, AT(meta.dtype), NULL},
    {"meta.load_checkpoint", KEY_IGNORED, 0, NULL},
    {"meta.read_checkpoint", KEY_ONLY, 0, ""},
    {"meta.eval_freq", KEY_IGNORED, 0, NULL},
    {"meta.use_sdpa", KEY_IGNORED, 0, NULL},
    {"meta.save_every_freq", KEY_IGNORED, 0, NULL},
    {"meta.skip_batches", KEY_ONLY, 0, "-1|0"},
    {"meta.sync_gc", KEY_IGNORED, 0, NULL},
    {"model.model_name", KEY_TEXT, AT(model.model_name), NULL},
    {"model.embed_dim", KEY_INT, AT(model.embed_dim), NULL},
    {"model.depth", KEY_INT, AT(model.depth), NULL},
    {"model.num_heads", KEY_INT, AT(model.num_heads), NULL},
    {"model.mlp_ratio", KEY_NUMBER, AT(model.mlp_ratio), NULL},
    {"model.pred_depth", KEY_INT, AT(model.pred_depth), NULL},
    {"model.pred_embed_dim", KEY_INT, AT(model.pred_embed_dim), NULL},
    {"model.pred_num_heads", KEY_INT, AT(model.pred_num_heads), NULL},
    {"model.uniform_power", KEY_BOOL, AT(model.uniform_power), NULL},
    {"model.use_mask_tokens", KEY_ONLY, 0, "true"},
    {"model.zero_init_mask_tokens", KEY_BOOL, AT(model.zero_init_mask_tokens), NULL},
    {"model.rescale_init", KEY_CHOICE, AT(model.rescale_init), "auto|false|true"},
    {"model.init_std", KEY_NUMBER, AT(model.init_std), NULL},
    {"model.use_rope", KEY_BOOL, AT(model.use_rope), NULL},
    {"model.rope", KEY_CHOICE, AT(model.rope), "auto|tiled|standard"},
    {"model.interpolate_rope", KEY_BOOL, AT(model.interpolate_rope), NULL},
    {"model.use_silu", KEY_BOOL, AT(model.use_silu), NULL},
    {"model.use_pred_silu", KEY_BOOL, AT(model.use_pred_silu), NULL},
    {"model.wide_silu", KEY_BOOL, AT(model.wide_silu), NULL},
    {"model.drop_path_rate", KEY_NUMBER, AT(model.drop_path_rate), NULL},
    {"model.mask_tokens", KEY_CHOICE, AT(model.mask_tokens), "auto|setting|length"},
    {"model.num_mask_tokens", KEY_INT, AT(model.num_mask_tokens), NULL},
    {"model.levels_predictor", KEY_INT, AT(model.levels_predictor), NULL},
    {"model.modality_embedding", KEY_BOOL, AT(model.modality_embedding), NULL},
    {"model.img_temporal_dim_size", KEY_INT, AT(model.img_temporal_dim_size), NULL},
    {"model.two_dimensional", KEY_BOOL, AT(model.two_dimensional), NULL},
    {"model.lambda_value_vid", KEY_NUMBER, AT(loss.lambda_value_vid), NULL},
    {"model.lambda_value_img", KEY_NUMBER, AT(loss.lambda_value_img), NULL},
    {"model.lambda_progressive", KEY_BOOL, AT(loss.lambda_progressive), NULL},
    {"model.n_registers", KEY_ONLY, 0, "0"},
    {"model.n_registers_predictor", KEY_ONLY, 0, "0"},
    {"model.has_cls_first", KEY_ONLY, 0, "false"},
    {"model.normalize_predictor", KEY_ONLY, 0, "false"},
    {"model.is_causal", KEY_ONLY, 0, "false"},
    {"model.pred_is_causal", KEY_ONLY, 0, "false"},
    {"model.init_type", KEY_ONLY, 0, "default"},
    {"model.use_activation_checkpointing", KEY_IGNORED, 0, NULL},
    {"model.compile_model", KEY_IGNORED, 0, NULL},
    {"optimization.ipe", KEY_INT64, AT(optimization.ipe), NULL},
    {"optimization.ipe_scale", KEY_NUMBER, AT(optimization.ipe_scale), NULL},
    {"optimization.clip_grad", KEY_AUTO, AT(optimization.clip_grad), NULL},
    {"optimization.weight_decay", KEY_NUMBER, AT(optimization.weight_decay), NULL},
    {"optimization.final_weight_decay", KEY_NUMBER, AT(optimization.final_weight_decay), NULL},
    {"optimization.epochs", KEY_NUMBER, AT(optimization.epochs), NULL},
    {"optimization.warmup", KEY_NUMBER, AT(optimization.warmup), NULL},
    {"optimization.start_lr", KEY_NUMBER, AT(optimization.start_lr), NULL},
    {"optimization.lr", KEY_NUMBER, AT(optimization.lr), NULL},
    {"optimization.final_lr", KEY_NUMBER, AT(optimization.final_lr), NULL},
    {"optimization.ema", KEY_PAIR, AT(optimization.ema), NULL},
    {"optimization.betas", KEY_PAIR, AT(optimization.betas), NULL},
    {"optimization.eps", KEY_NUMBER, AT(optimization.eps), NULL},
    {"optimization.is_anneal", KEY_BOOL, AT(optimization.is_anneal), NULL},
    {"optimization.anneal_ckpt", KEY_TEXT, AT(optimization.anneal_ckpt), NULL},
    {"optimization.resume_anneal", KEY_IGNORED, 0, NULL}, /* --resume */
    {"optimization.use_radamw", KEY_ONLY, 0, "false"},
    {"optimization.loss_reg_std_mult", KEY_ONLY, 0, ""},
    {"optimization.loss_reg_num_tracking_steps", KEY_IGNORED, 0, NULL},
    {"optimization.loss_reg_min_epoch", KEY_IGNORED, 0, NULL},
    {"checkpoint.every", KEY_EVERY, 0, NULL},
    {"checkpoint.keep", KEY_INT, AT(checkpoint.keep), NULL},
};
#define KEYS (sizeof keys / sizeof *keys)

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
static void apply_only(Recipe *r, const Key *key, const YamlNode *node) {
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

static int apply_datasets(char **sets, int *count, const Key *key, const YamlNode *node,
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

static int apply_weights(Recipe *r, const Key *key, const YamlNode *node, const char *name,
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
static int apply_fpcs(Recipe *r, const Key *key, const YamlNode *node, const char *name,
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

static void put_choice(FILE *out, const char *words, int number) {
    for (; number > 0; number--)
        words = strchr(words, '|') + 1;
    fprintf(out, "%.*s", (int)strcspn(words, "|"), words);
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
static int apply_crop(Recipe *r, const Key *key, const YamlNode *node, const char *name,
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
static int apply_every(Recipe *r, const Key *key, const YamlNode *node, const char *name,
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

static int apply_key(Recipe *r, const Key *key, const YamlNode *node, const char *name,
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
        if (key->offset == AT(model.model_name) &&
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
    const char *paths[KEYS];
    for (size_t i = 0; i < KEYS; i++)
        paths[i] = keys[i].path;
    const char *near = nearest_word(path, paths, KEYS);
    return error_set(error, ERROR_USAGE, "%s:%d: unknown key %s%s%s%s", name, node->line, path,
                     near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
}

static int apply_path(Recipe *r, const char *path, const YamlNode *node, const char *name,
                      Error *error) {
    if (!strcmp(path, "mask.settings"))
        return apply_masks(r->mask.settings, &r->mask.count, node, name, error);
    for (size_t i = 0; i < KEYS; i++)
        if (!strcmp(path, keys[i].path))
            return apply_key(r, &keys[i], node, name, error);
    return unknown_key(path, node, name, error);
}

static bool is_section(const char *key) {
    size_t length = strlen(key);
    for (size_t i = 0; i < KEYS; i++)
        if (!strncmp(keys[i].path, key, length) && keys[i].path[length] == '.')
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

/* ---- writing ---- */

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

static void write_key(FILE *out, const Recipe *r, const Key *key) {
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

char *recipe_text(const Recipe *recipe) {
    char *text = NULL, section[32] = "";
    size_t size;
    FILE *out = open_memstream(&text, &size);
    JEPA_ASSERT(out);
    for (size_t i = 0; i < KEYS; i++) {
        const Key *key = &keys[i];
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
