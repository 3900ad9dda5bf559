/* config.json of a reference -> sizes, schedule, loss. See experiments/check_reference.h. */
#include "base/file.h"
#include "base/yaml.h"
#include "experiments/check_reference.h"
#include <stdlib.h>
#include <string.h>

typedef enum Family { VJEPA, VJEPA21, IJEPA } Family; /* VJEPA: versions 1 and 2 */

/* What config.json says, before it is put together. */
typedef struct Settings {
    double mlp_ratio, ipe, epochs;
    int teacher_dim, teacher_depth, teacher_heads;
    bool silu, pred_silu, wide, standard, smooth_l1;
} Settings;

typedef enum KeyKind { KEY_INTEGER, KEY_NUMBER, KEY_BOOL } KeyKind;

typedef struct Key {
    const char *name;
    KeyKind kind;
    bool needed;
    void *value; /* int, double or bool; kept where the key is absent */
} Key;

static int read_integer(int *value, const YamlNode *node, const char *key, Error *error) {
    int64_t number;
    if (!node || yaml_integer(node, &number) || number < 0 || number > 1 << 20)
        return error_set(error, ERROR_RUN, "config.json: expected a whole number as \"%s\"", key);
    *value = (int)number;
    return 0;
}

static int read_key(const Key *key, const YamlNode *root, Error *error) {
    const YamlNode *node = yaml_find(root, key->name);
    if (!node && !key->needed)
        return 0;
    if (key->kind == KEY_INTEGER)
        return read_integer(key->value, node, key->name, error);
    if (key->kind == KEY_NUMBER && (!node || yaml_number(node, key->value)))
        return error_set(error, ERROR_RUN, "config.json: expected a number as \"%s\"", key->name);
    if (key->kind == KEY_BOOL && (!node || yaml_bool(node, key->value)))
        return error_set(error, ERROR_RUN, "config.json: expected true or false as \"%s\"",
                         key->name);
    return 0;
}

static int read_keys(const Key *keys, size_t count, const YamlNode *root, Error *error) {
    for (size_t i = 0; i < count; i++)
        if (read_key(&keys[i], root, error))
            return -1;
    return 0;
}

static bool is_list(const YamlNode *node, size_t count) {
    return node && node->kind == YAML_LIST && node->count == count;
}

/* "crop": one side of a square, or [height, width]. */
static int read_crop(ModelConfig *c, const YamlNode *root, Error *error) {
    const YamlNode *crop = yaml_find(root, "crop");
    bool pair = is_list(crop, 2);
    if (read_integer(&c->height, pair ? crop->items[0] : crop, "crop", error) ||
        read_integer(&c->width, pair ? crop->items[1] : crop, "crop", error))
        return -1;
    return 0;
}

/* "lengths": frames of clips of several lengths, the longest first; absent: one. */
static int read_lengths(Reference *r, const YamlNode *root, Error *error) {
    const YamlNode *lengths = yaml_find(root, "lengths");
    r->lengths = 1;
    r->frames[0] = r->config.frames;
    if (!lengths)
        return 0;
    if (lengths->kind != YAML_LIST || !lengths->count || lengths->count > MASK_LENGTHS_MAX)
        return error_set(error, ERROR_RUN, "config.json: expected a list as \"lengths\"");
    r->lengths = (int)lengths->count;
    for (int i = 0; i < r->lengths; i++) {
        if (read_integer(&r->frames[i], lengths->items[i], "lengths", error))
            return -1;
        if (r->frames[i] > r->config.frames || !r->config.tubelet || r->frames[i] < 1 ||
            r->frames[i] % r->config.tubelet)
            return error_set(error, ERROR_RUN,
                             "config.json: \"lengths\" holds %d: expected multiples of the "
                             "tubelet, at most \"frames\"",
                             r->frames[i]);
    }
    return 0;
}

static int read_lists(Reference *r, const YamlNode *root, Error *error) {
    const YamlNode *masks = yaml_find(root, "mask"), *ema = yaml_find(root, "ema");
    if (!masks || masks->kind != YAML_LIST || !masks->count || masks->count > MASK_SETTINGS_MAX ||
        !is_list(ema, 2) || yaml_number(ema->items[0], &r->schedule.ema[0]) ||
        yaml_number(ema->items[1], &r->schedule.ema[1]))
        return error_set(error, ERROR_RUN,
                         "config.json: expected \"mask\" (a list) and \"ema\" (two numbers)");
    r->settings = (int)masks->count;
    return read_lengths(r, root, error);
}

static int read_family(Family *family, const YamlNode *root, Error *error) {
    const YamlNode *node = yaml_find(root, "family");
    const char *text = node && node->kind == YAML_SCALAR ? node->text : "";
    *family = !strcmp(text, "vjepa2.1") ? VJEPA21 : !strcmp(text, "ijepa") ? IJEPA : VJEPA;
    if (node && *family == VJEPA)
        return error_set(error, ERROR_RUN,
                         "config.json: expected vjepa2.1 or ijepa as \"family\" (none: V-JEPA 1 or "
                         "2), found \"%s\"",
                         text);
    return 0;
}

static void set_positions(Reference *r, Family family, const Settings *s) {
    ModelConfig *c = &r->config;
    bool rotary = family == VJEPA21 ||
                  (family == VJEPA && !reference_has(&r->weights, "encoder.pos_embed"));
    c->positions = !rotary                            ? POSITIONS_SINCOS
                   : family == VJEPA21 || s->standard ? POSITIONS_ROPE
                                                      : POSITIONS_ROPE_TILED;
    /* as published, a token for each setting and length, of which only the lengths' are used */
    c->token_by_length = rotary;
    c->mask_tokens = rotary ? r->settings * r->lengths : r->settings;
    c->used_mask_tokens = rotary ? r->lengths : r->settings;
    if (c->mask_tokens > MASK_SETTINGS_MAX)
        c->mask_tokens = MASK_SETTINGS_MAX;
}

/* The rest of the model's sizes. */
static void complete(Reference *r, Family family, const Settings *s) {
    ModelConfig *c = &r->config;
    c->trained_frames = c->frames;
    c->trained_height = c->height;
    c->trained_width = c->width;
    c->swiglu = s->silu;
    c->pred_swiglu = s->pred_silu;
    int hidden = (int)(s->mlp_ratio * c->dim), pred_hidden = (int)(s->mlp_ratio * c->pred_dim);
    c->hidden = s->silu ? config_swiglu_hidden(hidden, s->wide) : hidden;
    c->pred_hidden = s->pred_silu ? config_swiglu_hidden(pred_hidden, s->wide) : pred_hidden;
    if (!c->pred_heads)
        c->pred_heads = c->heads;
    c->init_std = 0.02;
    set_positions(r, family, s);
    if (family == VJEPA21) {
        c->norms = c->levels = LEVELS_MAX;
        c->modality = c->image_patches = c->context_loss = true;
        c->videos_only = true; /* as the run is; pictures are compared by their gradients */
    }
    if (family == IJEPA) {
        c->plane = true;
        c->mask_tokens = c->used_mask_tokens = 1;
    }
    if (s->teacher_dim) {
        c->frozen = true;
        c->teacher = (EncoderConfig){.dim = s->teacher_dim,
                                     .depth = s->teacher_depth,
                                     .heads = s->teacher_heads,
                                     .hidden = (int)(s->mlp_ratio * s->teacher_dim),
                                     .positions = c->positions,
                                     .norms = 1};
    }
}

static int check_counts(const Reference *r, Error *error) {
    if (r->samples < 1 || r->batch_count < 1)
        return error_set(error, ERROR_RUN, "config.json: batch and nbatches must be positive");
    if (r->samples > 1 << 10)
        return error_set(error, ERROR_RUN, "config.json: a batch of %d samples", r->samples);
    if (r->contexts != 1 && r->contexts != r->settings)
        return error_set(error, ERROR_RUN,
                         "config.json: %d contexts for %d masks: expected 1, or as many",
                         r->contexts, r->settings);
    const EncoderConfig *t = &r->config.teacher;
    if (t->dim && (t->depth < 1 || t->heads < 1 || t->dim % t->heads || t->dim > 8192 ||
                   t->depth > 128 || t->hidden < 1))
        return error_set(error, ERROR_RUN, "config.json: teacher: %d wide, %d deep, %d heads",
                         t->dim, t->depth, t->heads);
    return 0;
}

static int read_config(Reference *r, const YamlNode *root, Error *error) {
    ModelConfig *c = &r->config;
    Schedule *s = &r->schedule;
    Settings own = {.mlp_ratio = 4, .wide = true};
    Family family;
    const Key keys[] = {
        {"patch", KEY_INTEGER, true, &c->patch},
        {"frames", KEY_INTEGER, true, &c->frames},
        {"tubelet", KEY_INTEGER, true, &c->tubelet},
        {"dim", KEY_INTEGER, true, &c->dim},
        {"depth", KEY_INTEGER, true, &c->depth},
        {"heads", KEY_INTEGER, true, &c->heads},
        {"pred_dim", KEY_INTEGER, true, &c->pred_dim},
        {"pred_depth", KEY_INTEGER, true, &c->pred_depth},
        {"pred_heads", KEY_INTEGER, false, &c->pred_heads},
        {"mlp_ratio", KEY_NUMBER, false, &own.mlp_ratio},
        {"uniform_power", KEY_BOOL, false, &c->uniform_power},
        {"use_silu", KEY_BOOL, false, &own.silu},
        {"use_pred_silu", KEY_BOOL, false, &own.pred_silu},
        {"wide_silu", KEY_BOOL, false, &own.wide},
        {"rope_standard", KEY_BOOL, false, &own.standard},
        {"rope_side", KEY_INTEGER, false, &c->rope_side},
        {"batch", KEY_INTEGER, true, &r->samples},
        {"nbatches", KEY_INTEGER, true, &r->batch_count},
        {"smooth_l1", KEY_BOOL, false, &own.smooth_l1},
        {"lambda", KEY_NUMBER, false, &r->lambda},
        {"reg_coeff", KEY_NUMBER, false, &r->reg_coeff},
        {"clip_grad", KEY_NUMBER, false, &r->clip_grad},
        {"limit_loss", KEY_NUMBER, false, &r->limit_loss},
        {"limit_final", KEY_NUMBER, false, &r->limit_final},
        {"is_anneal", KEY_BOOL, false, &s->anneal},
        {"ipe", KEY_NUMBER, true, &own.ipe},
        {"epochs", KEY_NUMBER, true, &own.epochs},
        {"ipe_scale", KEY_NUMBER, true, &s->ipe_scale},
        {"warmup", KEY_NUMBER, true, &s->warmup},
        {"start_lr", KEY_NUMBER, true, &s->start_lr},
        {"lr", KEY_NUMBER, true, &s->lr},
        {"final_lr", KEY_NUMBER, true, &s->final_lr},
        {"wd", KEY_NUMBER, true, &s->weight_decay},
        {"final_wd", KEY_NUMBER, true, &s->final_weight_decay},
    };
    const Key teacher[] = {{"dim", KEY_INTEGER, true, &own.teacher_dim},
                           {"depth", KEY_INTEGER, true, &own.teacher_depth},
                           {"heads", KEY_INTEGER, true, &own.teacher_heads}};
    const YamlNode *teacher_node = yaml_find(root, "teacher");
    if (read_family(&family, root, error) || read_crop(c, root, error) ||
        read_keys(keys, sizeof keys / sizeof *keys, root, error) ||
        (teacher_node &&
         read_keys(teacher, sizeof teacher / sizeof *teacher, teacher_node, error)) ||
        read_lists(r, root, error))
        return -1;
    r->loss_exp = LOSS_SMOOTH_L1;
    if (!(own.mlp_ratio > 0 && own.mlp_ratio <= 64))
        return error_set(error, ERROR_RUN, "config.json: expected mlp_ratio up to 64");
    if (!(r->limit_loss >= 0) || !(r->limit_final >= 0))
        return error_set(error, ERROR_RUN, "config.json: a limit below 0");
    const Key power = {"loss_exp", KEY_NUMBER, true, &r->loss_exp};
    const Key contexts = {"contexts", KEY_INTEGER, false, &r->contexts};
    r->contexts = r->settings;
    if ((!own.smooth_l1 && read_key(&power, root, error)) || read_key(&contexts, root, error))
        return -1;
    s->ipe = own.ipe;
    s->epochs = own.epochs;
    complete(r, family, &own);
    r->picture = reference_has(&r->batches, "picture.clips");
    if (config_check(c, error) || check_counts(r, error))
        return -1;
    if (r->picture && !c->image_patches)
        return error_set(error, ERROR_RUN,
                         "batches.safetensors: pictures, but no family that has them");
    return 0;
}

bool reference_has(const Safetensors *file, const char *name) {
    return safetensors_find(file, name) != NULL;
}

ModelConfig reference_picture_config(const Reference *reference) {
    ModelConfig c = reference->config;
    c.frames = c.trained_frames = c.tubelet = 1;
    return c;
}

static int open_tensors(Safetensors *file, const char *folder, const char *name, Error *error) {
    char *path = path_join(folder, name);
    int result = safetensors_open(file, path, error);
    free(path);
    return result;
}

int reference_open(Reference *r, Error *error) {
    if (open_tensors(&r->weights, r->folder, "weights.safetensors", error) ||
        open_tensors(&r->batches, r->folder, "batches.safetensors", error) ||
        open_tensors(&r->passes, r->folder, "forward_backward.safetensors", error) ||
        open_tensors(&r->trajectory, r->folder, "trajectory.safetensors", error))
        return -1;
    char *path = path_join(r->folder, "config.json");
    YamlNode *root = NULL;
    int result = yaml_load(&root, path, error);
    free(path);
    if (!result)
        result = read_config(r, root, error);
    yaml_release(root);
    return result;
}

void reference_close(Reference *r) {
    safetensors_close(&r->weights);
    safetensors_close(&r->batches);
    safetensors_close(&r->passes);
    safetensors_close(&r->trajectory);
}
