/* Published model sizes (facebookresearch/jepa src/models/vision_transformer.py) and checks. */
#include "jepa/config.h"
#include "base/words.h"
#include <stdio.h>
#include <string.h>

typedef struct NamedSize {
    const char *name;
    int dim, depth, heads, hidden;
} NamedSize;

/* hidden = 4 dim, but giant: 48/11 dim. The published ViT-gigantic asks for 64/13 and, by a typo in
 * a keyword, gets 4. V-JEPA 2's "ViT-g" is giant_xformers, giant with 22 heads; 2.1's "ViT-G" is
 * gigantic_xformers, with 26 heads and 64/13. */
static const NamedSize sizes[] = {
    {"vit_tiny", 192, 12, 3, 768},
    {"vit_small", 384, 12, 6, 1536},
    {"vit_base", 768, 12, 12, 3072},
    {"vit_large", 1024, 24, 16, 4096},
    {"vit_huge", 1280, 32, 16, 5120},
    {"vit_giant", 1408, 40, 16, 6144},
    {"vit_giant_xformers", 1408, 40, 22, 6144},
    {"vit_gigantic", 1664, 48, 16, 6656},
    {"vit_gigantic_xformers", 1664, 48, 26, 8192},
};
#define SIZES (sizeof sizes / sizeof *sizes)

MaskGrid config_grid(const ModelConfig *c) {
    return (MaskGrid){c->frames / c->tubelet, c->height / c->patch, c->width / c->patch};
}

MaskGrid config_trained_grid(const ModelConfig *c) {
    return (MaskGrid){c->trained_frames / c->tubelet, c->trained_height / c->patch,
                      c->trained_width / c->patch};
}

EncoderConfig config_encoder(const ModelConfig *c) {
    return (EncoderConfig){.dim = c->dim,
                           .depth = c->depth,
                           .heads = c->heads,
                           .hidden = c->hidden,
                           .swiglu = c->swiglu,
                           .positions = c->positions,
                           .rope_side = c->rope_side,
                           .uniform_power = c->uniform_power,
                           .norms = c->norms ? c->norms : 1};
}

EncoderConfig config_teacher(const ModelConfig *c) {
    return c->teacher.dim ? c->teacher : config_encoder(c);
}

int config_norm_block(const EncoderConfig *e, int k) {
    if (e->norms == 1)
        return e->depth - 1;
    if (e->depth == 48 && k == 2)
        return 37; /* as published; a quarter would be 35 */
    return (k + 1) * e->depth / e->norms - 1;
}

int config_patch_size(const ModelConfig *c) {
    return 3 * c->tubelet * c->patch * c->patch;
}

int config_set_name(ModelConfig *config, const char *name, Error *error) {
    const char *names[SIZES];
    char list[320] = "";
    size_t length = strlen(name), suffix = strlen("_rope");
    if (length > suffix && !strcmp(name + length - suffix, "_rope"))
        length -= suffix; /* 2.1's names say it twice */
    for (size_t i = 0; i < SIZES; i++) {
        names[i] = sizes[i].name;
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 sizes[i].name);
        if (strlen(sizes[i].name) == length && !strncmp(name, sizes[i].name, length)) {
            config->dim = sizes[i].dim;
            config->depth = sizes[i].depth;
            config->heads = sizes[i].heads;
            config->hidden = sizes[i].hidden;
            return 0;
        }
    }
    const char *near = nearest_word(name, names, SIZES);
    return error_set(
        error, ERROR_USAGE,
        "model.model_name: there is no \"%s\"%s%s%s; known: %s; or give model.embed_dim, "
        "depth and num_heads",
        name, near ? ", did you mean " : "", near ? near : "", near ? "?" : "", list);
}

int config_swiglu_hidden(int hidden, bool wide) {
    return wide ? (2 * hidden / 3 + 7) / 8 * 8 : hidden;
}

const char *config_family(const ModelConfig *c) {
    if (c->objective == OBJECTIVE_SIGREG)
        return "LeVJEPA";
    if (c->plane)
        return "I-JEPA";
    if (c->norms > 1 || c->modality || c->image_patches || c->context_loss)
        return "V-JEPA 2.1";
    return c->positions == POSITIONS_SINCOS ? "V-JEPA 1" : "V-JEPA 2";
}

const char *config_positions(const EncoderConfig *e) {
    if (e->positions == POSITIONS_SINCOS)
        return "sine-cosine";
    if (e->rope_side)
        return e->positions == POSITIONS_ROPE ? "rotary, standard, rescaled to the trained grid"
                                              : "rotary, tiled, rescaled to the trained grid";
    return e->positions == POSITIONS_ROPE ? "rotary, standard" : "rotary, tiled";
}

static int check_size(int value, int low, int high, const char *name, Error *error) {
    if (value < low || value > high)
        return error_set(error, ERROR_USAGE, "%s: expected %d to %d, found %d", name, low, high,
                         value);
    return 0;
}

static int check_divides(int divisor, int value, const char *small, const char *large,
                         Error *error) {
    if (value % divisor)
        return error_set(error, ERROR_USAGE, "%s %d does not divide %s %d: use %s %d or %d", small,
                         divisor, large, value, large, value / divisor * divisor,
                         (value / divisor + 1) * divisor);
    return 0;
}

static int check_predictor(const ModelConfig *c, Error *error) {
    return check_size(c->pred_dim, 8, 8192, "model.pred_embed_dim", error) ||
                   check_size(c->pred_depth, 1, 128, "model.pred_depth", error) ||
                   check_size(c->pred_heads, 1, 128, "model.pred_num_heads", error) ||
                   check_size(c->pred_hidden, 8, 32768, "predictor MLP width", error) ||
                   check_size(c->mask_tokens, 1, MASK_SETTINGS_MAX, "number of mask tokens", error)
               ? -1
               : 0;
}

/* Three axes of pairs do not fit into such a head. */
static bool odd_heads(int dim, int heads) {
    return (dim / heads) % 2 || dim / heads < 6;
}

/* A frozen teacher's sizes, which may be anybody's. */
static int check_teacher(const EncoderConfig *t, Error *error) {
    if (check_size(t->dim, 8, 8192, "teacher.embed_dim", error) ||
        check_size(t->depth, 1, 128, "teacher.depth", error) ||
        check_size(t->heads, 1, 128, "teacher.num_heads", error) ||
        check_size(t->hidden, 8, 32768, "teacher.mlp_dim", error) ||
        check_size(t->rope_side, 0, 1024, "teacher.rope_side", error) ||
        check_divides(t->heads, t->dim, "teacher.num_heads", "teacher.embed_dim", error))
        return -1;
    if ((t->norms != 1 && t->norms != LEVELS_MAX) || t->depth < t->norms)
        return error_set(error, ERROR_USAGE,
                         "teacher.norms: expected 1, or 4 in 4 blocks or more, found %d in %d",
                         t->norms, t->depth);
    if (t->positions != POSITIONS_SINCOS && odd_heads(t->dim, t->heads))
        return error_set(error, ERROR_USAGE,
                         "teacher: heads of %d channels: rotary positions need an even number, 6 "
                         "or more",
                         t->dim / t->heads);
    return 0;
}

int config_check(const ModelConfig *c, Error *error) {
    if (check_size(c->frames, 1, 256, "data.num_frames", error) ||
        check_size(c->height, 8, 1024, "data.crop_size", error) ||
        check_size(c->width, 8, 1024, "data.crop_size", error) ||
        check_size(c->tubelet, 1, 16, "data.tubelet_size", error) ||
        check_size(c->patch, 2, 64, "data.patch_size", error) ||
        check_size(c->dim, 8, 8192, "model.embed_dim", error) ||
        check_size(c->depth, 1, 128, "model.depth", error) ||
        check_size(c->heads, 1, 128, "model.num_heads", error) ||
        check_size(c->hidden, 8, 32768, "model.mlp_ratio x embed_dim", error) ||
        (c->objective == OBJECTIVE_JEPA && check_predictor(c, error)))
        return -1;
    if (check_divides(c->patch, c->height, "data.patch_size", "data.crop_size", error) ||
        check_divides(c->patch, c->width, "data.patch_size", "data.crop_size", error) ||
        check_divides(c->tubelet, c->frames, "data.tubelet_size", "data.num_frames", error) ||
        check_divides(c->heads, c->dim, "model.num_heads", "model.embed_dim", error) ||
        (c->objective == OBJECTIVE_JEPA &&
         check_divides(c->pred_heads, c->pred_dim, "model.pred_num_heads", "model.pred_embed_dim",
                       error)))
        return -1;
    if (c->trained_frames % c->tubelet || c->trained_height % c->patch ||
        c->trained_width % c->patch)
        return error_set(
            error, ERROR_USAGE,
            "the size that the positions were trained for is no multiple of the patch");
    if (c->positions != POSITIONS_SINCOS &&
        (odd_heads(c->dim, c->heads) ||
         (c->objective == OBJECTIVE_JEPA && odd_heads(c->pred_dim, c->pred_heads))))
        return error_set(error, ERROR_USAGE,
                         "model.use_rope: heads of %d channels (predictor: %d): rotary positions "
                         "need an even number, 6 or more",
                         c->dim / c->heads, c->pred_heads ? c->pred_dim / c->pred_heads : 0);
    if (c->teacher.dim && check_teacher(&c->teacher, error))
        return -1;
    EncoderConfig own = config_encoder(c), teacher = config_teacher(c);
    int levels = c->levels ? c->levels : 1;
    if ((own.norms != 1 && own.norms != LEVELS_MAX) || own.depth < own.norms ||
        (levels != 1 && levels != own.norms) || levels > teacher.norms)
        return error_set(
            error, ERROR_USAGE,
            "model.levels_predictor: %d of %d norms in %d blocks (the teacher has %d): "
            "expected 1, or 4 with V-JEPA 2.1's four norms",
            levels, own.norms, own.depth, teacher.norms);
    if (c->plane && (c->frames != 1 || c->tubelet != 1))
        return error_set(error, ERROR_USAGE,
                         "pictures (I-JEPA): data.num_frames and tubelet_size must be 1, found %d "
                         "and %d",
                         c->frames, c->tubelet);
    if (levels > 1 && c->pred_swiglu)
        return error_set(error, ERROR_USAGE,
                         "model.use_pred_silu: not built for a predictor of several levels");
    if (c->objective == OBJECTIVE_SIGREG &&
        (!c->class_token || own.norms != 1 || c->positions == POSITIONS_SINCOS))
        return error_set(error, ERROR_USAGE,
                         "objective sigreg needs model.use_rope: true and one norm");
    if (c->objective == OBJECTIVE_SIGREG &&
        (check_size(c->projector_hidden, 8, 32768, "sigreg.hidden_dim", error) ||
         check_size(c->projector_out, 8, 8192, "sigreg.output_dim", error)))
        return -1;
    if (!(c->drop_path >= 0 && c->drop_path < 1))
        return error_set(error, ERROR_USAGE, "model.drop_path_rate: expected 0 up to below 1");
    if (!(c->init_std > 0 && c->init_std < 1))
        return error_set(error, ERROR_USAGE, "model.init_std: expected a number above 0 below 1");
    return 0;
}
