/* See jepa/recognise.h. */
#include "jepa/recognise.h"
#include "jepa/parameters.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MOST        32768 /* of any dimension that becomes a size */
#define PUBLISHED_TOKENS 10    /* mask tokens of V-JEPA 2's checkpoints */
#define PUBLISHED_HEADS  12    /* of the predictors of V-JEPA 2 and 2.1 */
#define PROBES_MOST      64

static const char *const names[] = {"vit_tiny",           "vit_small",    "vit_base",
                                    "vit_large",          "vit_huge",     "vit_giant",
                                    "vit_giant_xformers", "vit_gigantic", "vit_gigantic_xformers"};
#define NAMES (sizeof names / sizeof *names)

typedef struct Network {
    int dim, depth, hidden;
    bool swiglu;
} Network;

/* What the shapes say. */
typedef struct Shapes {
    const char *own; /* "encoder." or "target_encoder.": the one that the sizes are read from */
    Network encoder, predictor;
    int patch, tubelet, norms, levels, mask_tokens;
    bool plane, class_token, modality, image_patches, context_loss;
    int projector_hidden, projector_out;
} Shapes;

static const WeightsTensor *tensor(const WeightsFile *file, const char *network, const char *name) {
    char full[256];
    snprintf(full, sizeof full, "%s%s", network, name);
    return weights_file_find(file, full);
}

static int missing(const WeightsFile *file, const char *network, const char *name, Error *error) {
    return error_set(error, ERROR_RUN, "%s: %s%s is missing", file->path, network, name);
}

/* Dimension `d` of a tensor of `dims` dimensions, as a size. */
static int size_of(int *size, const WeightsFile *file, const char *network, const char *name,
                   int dims, int d, Error *error) {
    const WeightsTensor *t = tensor(file, network, name);
    if (!t)
        return missing(file, network, name, error);
    if (t->dims != dims || t->shape[d] < 1 || t->shape[d] > SIZE_MOST)
        return error_set(error, ERROR_RUN, "%s: %s%s: expected %d dimensions of 1 to %d",
                         file->path, network, name, dims, SIZE_MOST);
    *size = (int)t->shape[d];
    return 0;
}

/* One more than the largest number after `prefix`: blocks and mask tokens. */
static int64_t numbered(const WeightsFile *file, const char *network, const char *list) {
    char prefix[96];
    int64_t most = -1;
    int length = snprintf(prefix, sizeof prefix, "%s%s", network, list);
    for (size_t i = 0; i < file->count; i++)
        if (!strncmp(file->tensors[i].name, prefix, (size_t)length)) {
            const char *digits = file->tensors[i].name + length;
            long long number = strspn(digits, "0123456789") < 7 ? atoll(digits) : SIZE_MOST;
            most = number > most ? number : most;
        }
    return most + 1;
}

static int read_blocks(Network *n, const WeightsFile *file, const char *network, const char *list,
                       Error *error) {
    char name[64];
    int64_t depth = numbered(file, network, list);
    if (depth < 1 || depth > 128)
        return error_set(error, ERROR_RUN, "%s: %s%s: expected 1 to 128 blocks, found %" PRId64,
                         file->path, network, list, depth);
    n->depth = (int)depth;
    snprintf(name, sizeof name, "%s0.mlp.fc3.weight", list);
    n->swiglu = tensor(file, network, name) != NULL;
    snprintf(name, sizeof name, "%s0.mlp.fc1.weight", list);
    return size_of(&n->hidden, file, network, name, 2, 0, error);
}

static int read_encoder(Shapes *s, const WeightsFile *file, Error *error) {
    const char *patch = "patch_embed.proj.weight";
    const WeightsTensor *t = tensor(file, s->own, patch);
    if (!t)
        return missing(file, s->own, patch, error);
    s->plane = t->dims == 4;
    s->tubelet = 1;
    if (size_of(&s->encoder.dim, file, s->own, patch, s->plane ? 4 : 5, 0, error) ||
        size_of(&s->patch, file, s->own, patch, t->dims, t->dims - 1, error) ||
        (!s->plane && size_of(&s->tubelet, file, s->own, patch, 5, 2, error)))
        return -1;
    if (t->shape[1] != 3)
        return error_set(error, ERROR_RUN, "%s: %s%s: expected 3 channels (RGB), found %" PRId64,
                         file->path, s->own, patch, t->shape[1]);
    s->class_token = tensor(file, s->own, "cls_token") != NULL;
    s->norms = tensor(file, s->own, "norms_block.0.weight") ? LEVELS_MAX : 1;
    s->modality = tensor(file, s->own, "video_mod_embed") != NULL;
    s->image_patches = tensor(file, s->own, "patch_embed_img.proj.weight") != NULL;
    return read_blocks(&s->encoder, file, s->own, "blocks.", error);
}

/* A predictor that predicts something else than this encoder's own tokens is left out. */
static int read_predictor(Recognised *r, Shapes *s, const WeightsFile *file, Error *error) {
    const char *p = "predictor.";
    int target = 0, levels = tensor(file, p, "predictor_embed.0.weight") ? LEVELS_MAX : 1;
    if (weights_file_has(file, "predictor.action_encoder.")) {
        snprintf(r->without, sizeof r->without, "it predicts from actions (V-JEPA 2-AC)");
        r->predictor = false;
        return 0;
    }
    if (size_of(&target, file, p, "predictor_proj.weight", 2, 0, error) ||
        size_of(&s->predictor.dim, file, p, "predictor_proj.weight", 2, 1, error) ||
        read_blocks(&s->predictor, file, p, "predictor_blocks.", error))
        return -1;
    if (target != levels * s->encoder.dim) {
        snprintf(r->without, sizeof r->without,
                 "it predicts %d channels of another teacher, not %d x %d", target, levels,
                 s->encoder.dim);
        r->predictor = false;
        return 0;
    }
    s->levels = levels;
    s->context_loss = tensor(file, p, "predictor_proj_context.weight") != NULL;
    int64_t tokens = s->plane ? 1 : numbered(file, p, "mask_tokens.");
    if (tokens < 1 || tokens > MASK_SETTINGS_MAX)
        return error_set(error, ERROR_RUN,
                         "%s: predictor.mask_tokens: expected 1 to %d, found %" PRId64, file->path,
                         MASK_SETTINGS_MAX, tokens);
    s->mask_tokens = (int)tokens;
    return 0;
}

/* ---- positions ---- */

/* The largest difference of a stored table [1,N,width] from ours. */
static int table_difference(double *difference, const WeightsTensor *t, MaskGrid grid, bool plane,
                            bool uniform, Error *error) {
    size_t count = (size_t)t->count;
    int width = (int)t->shape[t->dims - 1];
    float *stored = memory_new(count, sizeof *stored), *own = memory_new(count, sizeof *own);
    int result = weights_tensor_floats(stored, t, true, error);
    if (plane)
        positions_sincos_image(own, grid, width);
    else
        positions_sincos(own, grid, width, uniform);
    *difference = 0;
    for (size_t i = 0; i < count && !result; i++) {
        double d = fabs((double)stored[i] - own[i]);
        *difference = d <= *difference ? *difference : isnan(d) ? INFINITY : d;
    }
    free(stored);
    free(own);
    return result;
}

static int64_t root_of(int64_t square) {
    int64_t root = (int64_t)llround(sqrt((double)square));
    return root * root == square ? root : 0;
}

/* The grid of a table of N positions: the one in which it is our table, the published 8 time steps
 * first. Squares only; a grid that the caller or config.json gave is taken. */
static int find_grid(Recognised *r, MaskGrid *grid, bool *uniform, const WeightsTensor *t,
                     const Shapes *s, const WeightsFile *file, int frames, int crop, Error *error) {
    int64_t count = t->dims == 3 && t->shape[0] == 1 ? t->shape[1] : 0;
    MaskGrid best = {0};
    bool best_uniform = true;
    double least = INFINITY;
    if (count < 1 || count > SIZE_MOST || t->shape[2] != s->encoder.dim)
        return error_set(error, ERROR_RUN, "%s: %s: expected a table [1, tokens, %d]", file->path,
                         t->name, s->encoder.dim);
    int published = s->plane ? 1 : 16 / s->tubelet;
    for (int i = 0; i <= count && least > RECOGNISED_TABLE_LIMIT; i++) {
        int64_t steps = i ? i : published;
        int64_t side = steps && count % steps == 0 ? root_of(count / steps) : 0;
        if (!side || (s->plane && steps != 1) || (i && steps == published) ||
            (frames && steps != frames / s->tubelet) || (crop && side != crop / s->patch))
            continue;
        MaskGrid tried = {(int)steps, (int)side, (int)side};
        for (int flat = 0; flat < (s->plane ? 1 : 2) && least > RECOGNISED_TABLE_LIMIT; flat++) {
            double difference;
            if (table_difference(&difference, t, tried, s->plane, !flat, error))
                return -1;
            if (difference < least || !best.time) {
                least = difference;
                best = tried;
                best_uniform = !flat;
            }
        }
    }
    if (!best.time)
        return error_set(error, ERROR_RUN,
                         "%s: %s has %" PRId64 " positions, which is no grid of %s%s", file->path,
                         t->name, count, s->plane ? "a square" : "time steps of a square",
                         frames || crop ? " with the frames and crop that were given" : "");
    *grid = best;
    *uniform = best_uniform;
    r->table = true;
    r->table_difference = least;
    const WeightsTensor *p = weights_file_find(file, "predictor.predictor_pos_embed");
    if (r->predictor && p && p->dims == 3 && p->shape[0] == 1 && p->shape[1] == count &&
        p->shape[2] == s->predictor.dim)
        return table_difference(&r->predictor_table_difference, p, best, s->plane, best_uniform,
                                error);
    if (r->predictor && p)
        r->predictor_table_difference = INFINITY;
    return 0;
}

/* Positions and the input's size, into the recipe. */
static int set_positions(Recognised *r, const Shapes *s, const WeightsFile *file,
                         const RecogniseOptions *o, Error *error) {
    Recipe *recipe = &r->recipe;
    int frames = o->frames, crop = o->crop;
    const WeightsTensor *table = tensor(file, s->own, "pos_embed");
    bool given = frames || crop;
    if ((!frames &&
         weights_file_config(&frames, file, "frames", "frames_per_clip", 1, 256, error)) ||
        (!crop && weights_file_config(&crop, file, "crop", "crop_size", 8, 1024, error)))
        return -1;
    if (s->plane)
        frames = 1;
    bool rotary = s->norms > 1 || s->class_token ||
                  (!s->plane && (!table || s->mask_tokens == PUBLISHED_TOKENS));
    if (o->positions)
        rotary = strcmp(o->positions, "sincos") != 0;
    r->input_from = given ? "as given" : crop ? "config.json" : "published size";
    recipe->model.use_rope = rotary;
    if (rotary && o->positions)
        recipe->model.rope = strcmp(o->positions, "tiled") ? 2 : 1;
    recipe->model.interpolate_rope = rotary && s->norms > 1;
    if (!rotary && table) {
        MaskGrid grid;
        if (find_grid(r, &grid, &recipe->model.uniform_power, table, s, file, frames, crop, error))
            return -1;
        frames = grid.time * s->tubelet;
        crop = grid.height * s->patch;
        r->input_from = r->table_difference <= RECOGNISED_TABLE_LIMIT ? "from the position table"
                                                                      : r->input_from;
    }
    /* released: V-JEPA 1 16 x 224, V-JEPA 2 64 x 256, 2.1 64 x 384, LeVJEPA 16 x 224 */
    bool large = rotary && !s->class_token;
    recipe->data.num_frames = frames ? frames : large ? 64 : 16;
    recipe->data.crop_size = crop ? crop : !large ? 224 : s->norms > 1 ? 384 : 256;
    recipe->data.tubelet_size = s->tubelet;
    recipe->data.patch_size = s->patch;
    return 0;
}

/* ---- heads ---- */

/* Of the published model with this width and depth; 0: there is none. */
static int published_heads(const Network *n, bool rotary) {
    ModelConfig c;
    Error ignored;
    int heads = 0;
    for (size_t i = 0; i < NAMES; i++)
        if (!config_set_name(&c, names[i], &ignored) && c.dim == n->dim && c.depth == n->depth &&
            (!heads || rotary)) /* rotary ones of the two largest are the "xformers", further on */
            heads = c.heads;
    return heads;
}

/* Can a predictor of this width have so many heads? Rotary ones need pairs on three axes. */
static bool fits(int width, int heads, const Recognised *r) {
    return width % heads == 0 &&
           (!r->recipe.model.use_rope || (width / heads >= 6 && width / heads % 2 == 0));
}

static int find_heads(Recognised *r, int *heads, int *pred_heads, const Shapes *s,
                      const WeightsFile *file, const RecogniseOptions *o, Error *error) {
    *heads = o->heads;
    *pred_heads = o->pred_heads;
    r->heads_from = "as given";
    if (!*heads && o->name) {
        ModelConfig named;
        if (config_set_name(&named, o->name, error))
            return -1;
        *heads = named.heads;
    }
    if (!*heads) {
        r->heads_from = "config.json";
        if (weights_file_config(heads, file, "heads", "num_attention_heads", 1, 128, error))
            return -1;
    }
    if (!*heads) {
        r->heads_from = "published model of this size";
        *heads = published_heads(&s->encoder, r->recipe.model.use_rope);
    }
    if (!*heads)
        return error_set(error, ERROR_USAGE,
                         "%s: how many attention heads it has does not show in the weights, and no "
                         "published model has %d channels in %d blocks: give --heads N",
                         file->path, s->encoder.dim, s->encoder.depth);
    if (!*pred_heads && weights_file_config(pred_heads, file, "pred_heads",
                                            "pred_num_attention_heads", 1, 128, error))
        return -1;
    int width = r->recipe.model.pred_embed_dim;
    if (!*pred_heads)
        *pred_heads = r->recipe.model.use_rope ? PUBLISHED_HEADS : *heads;
    if (!r->predictor && !fits(width, *pred_heads, r)) /* a fresh one */
        *pred_heads = fits(width, *heads, r) ? *heads : 1;
    if (!fits(width, *pred_heads, r))
        return error_set(error, ERROR_USAGE,
                         "%s: a predictor of %d channels cannot have %d heads, as this family's "
                         "have: give --pred-heads N",
                         file->path, width, *pred_heads);
    return 0;
}

/* ---- the recipe ---- */

/* mlp_ratio and wide_silu that give these widths. */
static int set_hidden(Recognised *r, const Shapes *s, const WeightsFile *file, int named,
                      Error *error) {
    Recipe *recipe = &r->recipe;
    const Network *e = &s->encoder, *p = &s->predictor;
    for (int wide = 1; wide >= 0; wide--) {
        int expected = p->swiglu ? config_swiglu_hidden(4 * p->dim, wide) : 4 * p->dim;
        if (r->predictor && expected != p->hidden)
            continue;
        int last = e->swiglu ? 2 * e->hidden + 16 : e->hidden, from = e->hidden;
        for (int i = -1; i <= last - from; i++) { /* the named model's first */
            int hidden = i < 0 ? named : from + i;
            if (!hidden || (e->swiglu ? config_swiglu_hidden(hidden, wide) : hidden) != e->hidden)
                continue;
            recipe->model.wide_silu = wide;
            recipe->model.mlp_ratio = 0;
            if (hidden != named) {
                double ratio = (double)hidden / e->dim;
                recipe->model.mlp_ratio = (int)(e->dim * ratio) == hidden ? ratio
                                                                          : (hidden + 0.5) / e->dim;
            }
            return 0;
        }
    }
    return error_set(error, ERROR_RUN,
                     "%s: MLPs of %d (encoder) and %d (predictor of %d channels): expected 4 times "
                     "the width in the predictor",
                     file->path, e->hidden, p->hidden, p->dim);
}

/* Width, depth and heads: by name where a published model has them. */
static int set_sizes(Recognised *r, const Shapes *s, const WeightsFile *file, int heads,
                     const RecogniseOptions *o, Error *error) {
    Recipe *recipe = &r->recipe;
    const char *name = o->name;
    ModelConfig named = {0};
    for (int exact = 1; exact >= 0 && !name; exact--)
        for (size_t i = 0; i < NAMES && !name; i++) {
            Error ignored;
            if (!config_set_name(&named, names[i], &ignored) && named.dim == s->encoder.dim &&
                named.depth == s->encoder.depth && (!exact || named.heads == heads))
                name = names[i];
        }
    free(recipe->model.model_name);
    recipe->model.model_name = name ? memory_text("%s", name) : NULL;
    if (name) {
        if (config_set_name(&named, name, error))
            return -1;
        if (named.dim != s->encoder.dim || named.depth != s->encoder.depth)
            return error_set(
                error, ERROR_USAGE, "%s is no %s: it has %d channels in %d blocks, not %d in %d",
                file->path, name, s->encoder.dim, s->encoder.depth, named.dim, named.depth);
        recipe->model.num_heads = heads == named.heads ? 0 : heads;
        return set_hidden(r, s, file, named.hidden, error);
    }
    recipe->model.embed_dim = s->encoder.dim;
    recipe->model.depth = s->encoder.depth;
    recipe->model.num_heads = heads;
    return set_hidden(r, s, file, 4 * s->encoder.dim, error);
}

static int set_predictor(Recognised *r, const Shapes *s, const WeightsFile *file, Error *error) {
    Recipe *recipe = &r->recipe;
    int width = 0, depth = 0;
    if (weights_file_config(&width, file, "pred_dim", "pred_hidden_size", 8, 8192, error) ||
        weights_file_config(&depth, file, "pred_depth", "pred_num_hidden_layers", 1, 128, error))
        return -1;
    if (r->predictor) {
        width = s->predictor.dim;
        depth = s->predictor.depth;
        recipe->model.use_pred_silu = s->predictor.swiglu;
        if (!s->plane && s->mask_tokens < recipe->mask.count)
            recipe->mask.count = s->mask_tokens;
        recipe->model.num_mask_tokens = s->plane ? 0 : s->mask_tokens;
    }
    recipe->model.pred_embed_dim = width ? width : 384;
    recipe->model.pred_depth = depth ? depth : 12;
    return 0;
}

/* What a family trains with, as far as it decides which parameters there are. */
static void set_family(Recognised *r, const Shapes *s) {
    Recipe *recipe = &r->recipe;
    recipe->model.use_silu = s->encoder.swiglu;
    recipe->model.two_dimensional = s->plane;
    recipe->model.modality_embedding = s->modality;
    recipe->model.img_temporal_dim_size = s->image_patches;
    if (s->plane) {
        r->family = "I-JEPA";
        recipe->loss.smooth_l1 = true;
        recipe->mask.num_pred_masks = 4; /* configs/in1k_vith14_ep300.yaml */
        recipe->mask.ijepa = (MaskSetting){.aspect_ratio = {0.75, 1.5},
                                           .pred_mask_scale = {0.15, 0.2},
                                           .enc_mask_scale = {0.85, 1},
                                           .min_keep = 10};
        if (recipe->data.crop_size / s->patch < 8) /* ten tokens are a fifth of 7 x 7 */
            recipe->mask.ijepa.min_keep = 0;
    } else if (s->class_token) {
        r->family = "LeVJEPA";
        recipe->objective = OBJECTIVE_SIGREG;
        if (r->projector) {
            recipe->sigreg.hidden_dim = s->projector_hidden;
            recipe->sigreg.output_dim = s->projector_out;
        }
        while (recipe->sigreg.local_size % s->patch)
            recipe->sigreg.local_size++;
    } else if (s->norms > 1) {
        r->family = "V-JEPA 2.1";
        recipe->model.levels_predictor = r->predictor ? s->levels : LEVELS_MAX;
        recipe->loss.predict_all = r->predictor ? s->context_loss : true;
    } else {
        r->family = recipe->model.use_rope ? "V-JEPA 2" : "V-JEPA 1";
    }
}

/* ---- every tensor at its place ---- */

static void shape_text(char out[96], int dims, const int64_t *shape) {
    int at = snprintf(out, 96, "[");
    for (int i = 0; i < dims && at < 80; i++)
        at += snprintf(out + at, (size_t)(96 - at), "%s%" PRId64, i ? "," : "", shape[i]);
    snprintf(out + at, (size_t)(96 - at), "]");
}

static int check_tensor(const WeightsFile *file, const char *prefix, const Parameter *p,
                        Error *error) {
    const WeightsTensor *t = tensor(file, prefix, p->name);
    char expected[96], found[96];
    if (!t)
        return missing(file, prefix, p->name, error);
    if (t->dims == p->dims && !memcmp(t->shape, p->shape, (size_t)p->dims * sizeof *p->shape))
        return 0;
    shape_text(expected, p->dims, p->shape);
    shape_text(found, t->dims, t->shape);
    return error_set(error, ERROR_RUN, "%s: %s%s has the shape %s, expected %s", file->path, prefix,
                     p->name, found, expected);
}

static bool is_buffer(const char *name) {
    return strstr(name, "pos_embed") || strstr(name, ".running_");
}

/* A tensor of a network in use that has no place would be arithmetic left out. */
static int check_unknown(const WeightsFile *file, const ParameterTable *table, const char *network,
                         size_t skip, Error *error) {
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        bool known = strncmp(name, network, strlen(network)) != 0 || is_buffer(name);
        for (size_t k = 0; k < table->count && !known; k++)
            known = !strcmp(name + skip, table->parameters[k].name);
        if (!known)
            return error_set(error, ERROR_RUN,
                             "%s: %s: this program's networks have no such tensor", file->path,
                             name);
    }
    return 0;
}

static int check_all(const Recognised *r, const WeightsFile *file, Error *error) {
    ParameterTable table;
    int result = 0;
    parameter_table_new(&table, &r->config);
    for (size_t i = 0; i < table.count && !result; i++) {
        const Parameter *p = &table.parameters[i];
        bool second = p->owner == OWNER_PREDICTOR;
        if (second ? r->predictor || r->projector : r->encoder)
            result = check_tensor(file, "", p, error);
        if (!second && r->target && !result)
            result = check_tensor(file, "target_", p, error);
    }
    if (!result && r->encoder)
        result = check_unknown(file, &table, "encoder.", 0, error);
    if (!result && r->target)
        result = check_unknown(file, &table, "target_encoder.", strlen("target_"), error);
    if (!result && r->predictor)
        result = check_unknown(file, &table, "predictor.", 0, error);
    if (!result && r->projector)
        result = check_unknown(file, &table, "projector.", 0, error);
    parameter_table_free(&table);
    return result;
}

/* What config.json says of the sizes must be so. */
static int check_config(const Shapes *s, const WeightsFile *file, Error *error) {
    int dim = s->encoder.dim, depth = s->encoder.depth, patch = s->patch, tubelet = s->tubelet;
    if (weights_file_config(&dim, file, "dim", "hidden_size", 1, SIZE_MOST, error) ||
        weights_file_config(&depth, file, "depth", "num_hidden_layers", 1, 128, error) ||
        weights_file_config(&patch, file, "patch", "patch_size", 1, 64, error) ||
        weights_file_config(&tubelet, file, "tubelet", "tubelet_size", 1, 16, error))
        return -1;
    if (dim != s->encoder.dim || depth != s->encoder.depth || patch != s->patch ||
        (tubelet != s->tubelet && !s->plane))
        return error_set(error, ERROR_RUN,
                         "%s speaks of %d channels in %d blocks and patches of %d x %d x %d, the "
                         "weights have %d, %d and %d x %d x %d",
                         file->config_path, dim, depth, patch, patch, tubelet, s->encoder.dim,
                         s->encoder.depth, s->patch, s->patch, s->tubelet);
    return 0;
}

static int recognise_into(Recognised *r, const WeightsFile *file, const RecogniseOptions *o,
                          Error *error) {
    Shapes s = {.own = r->encoder ? "encoder." : "target_encoder."};
    int heads, pred_heads;
    if (read_encoder(&s, file, error) || (r->predictor && read_predictor(r, &s, file, error)))
        return -1;
    if (r->projector &&
        (size_of(&s.projector_hidden, file, "projector.", "net.0.weight", 2, 0, error) ||
         size_of(&s.projector_out, file, "projector.", "net.3.weight", 2, 0, error)))
        return -1;
    if (check_config(&s, file, error) || set_positions(r, &s, file, o, error) ||
        set_predictor(r, &s, file, error))
        return -1;
    set_family(r, &s);
    if (find_heads(r, &heads, &pred_heads, &s, file, o, error) ||
        set_sizes(r, &s, file, heads, o, error))
        return -1;
    r->recipe.model.pred_num_heads = pred_heads;
    if (recipe_check(&r->recipe, error))
        return error_prefix(error, "%s", file->path);
    r->config = recipe_model(&r->recipe);
    return check_all(r, file, error);
}

int recognise(Recognised *r, const WeightsFile *file, const RecogniseOptions *o, Error *error) {
    memset(r, 0, sizeof *r);
    r->predictor_table_difference = -1;
    recipe_default(&r->recipe);
    r->encoder = o->network != 't' && weights_file_has(file, "encoder.");
    r->target = o->network != 'e' && weights_file_has(file, "target_encoder.");
    r->predictor = weights_file_has(file, "predictor.");
    r->projector = weights_file_has(file, "projector.");
    int result = 0;
    int64_t probes = numbered(file, "", "classifier.");
    if (probes > PROBES_MOST)
        result = error_set(error, ERROR_RUN, "%s: more than %d probes", file->path, PROBES_MOST);
    r->probes = (int)probes;
    if (result) {
    } else if (r->encoder || r->target) {
        result = recognise_into(r, file, o, error);
    } else if (o->network) {
        result = error_set(error, ERROR_RUN, "%s: no %s in it", file->path,
                           o->network == 't' ? "target_encoder" : "encoder");
    } else if (!probes) {
        result = error_set(error, ERROR_RUN,
                           "%s: no encoder, target_encoder or classifier in it%s%s", file->path,
                           file->unused_count ? "; it begins with " : "",
                           file->unused_count ? file->unused[0].first : "");
    }
    if (result)
        recognised_free(r);
    return result;
}

void recognised_free(Recognised *r) {
    recipe_free(&r->recipe);
    memset(r, 0, sizeof *r);
}
