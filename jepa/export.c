/* Names and shapes for other programs. See jepa/export.h. */
#include "jepa/export.h"
#include "base/file.h"
#include "jepa/parameters.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS 3

static TensorInfo *add(ExportList *list, const TensorInfo *source, char *name) {
    list->tensors = memory_grow(list->tensors, list->count + 1, sizeof *list->tensors);
    TensorInfo *t = &list->tensors[list->count++];
    *t = *source;
    t->name = name;
    return t;
}

void export_free(ExportList *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->tensors[i].name);
    free(list->tensors);
    free(list->stacked);
    memset(list, 0, sizeof *list);
}

int export_published(ExportList *list, const Safetensors *networks, ExportNetwork network,
                     Error *error) {
    const char *prefix = network == EXPORT_ENCODER  ? "encoder."
                         : network == EXPORT_TARGET ? "target_encoder."
                                                    : "";
    size_t length = strlen(prefix);
    memset(list, 0, sizeof *list);
    for (size_t i = 0; i < networks->count; i++) {
        const TensorInfo *t = &networks->tensors[i];
        if (!strncmp(t->name, prefix, length))
            add(list, t, memory_text("%s", t->name + length));
    }
    if (!list->count)
        return error_set(error, ERROR_RUN, "%s: it has no tensor %s*", networks->path, prefix);
    return 0;
}

/* ---- Hugging Face: what fits ---- */

static bool same_encoder(const EncoderConfig *a, const EncoderConfig *b) {
    return a->dim == b->dim && a->depth == b->depth && a->heads == b->heads &&
           a->hidden == b->hidden && a->swiglu == b->swiglu && a->positions == b->positions &&
           a->rope_side == b->rope_side && a->norms == b->norms;
}

/* NULL: it fits. */
static const char *what_does_not_fit(const ModelConfig *c) {
    EncoderConfig own = config_encoder(c), teacher = config_teacher(c);
    if (c->objective == OBJECTIVE_SIGREG || c->class_token || c->causal)
        return "LeVJEPA (objective: sigreg) has a class token and no predictor";
    if (c->plane)
        return "I-JEPA (model.two_dimensional) has patches of pictures and sine-cosine positions";
    if (own.norms > 1 || c->levels > 1 || c->modality || c->image_patches || c->context_loss)
        return "V-JEPA 2.1 has several norms, modality embeddings, patches of pictures or a "
               "context loss";
    if (c->swiglu || c->pred_swiglu)
        return "its MLPs are SwiGLU (model.use_silu or use_pred_silu)";
    if (own.positions == POSITIONS_SINCOS)
        return "its positions are sine-cosine (V-JEPA 1)";
    if (own.positions == POSITIONS_ROPE)
        return "its rotary positions are the standard ones (model.rope: standard)";
    if (own.rope_side)
        return "its rotary positions are rescaled (model.interpolate_rope)";
    if (c->height != c->width)
        return "its clips are not square (data.crop_size)";
    if (!same_encoder(&own, &teacher))
        return "its frozen target encoder has other sizes than its context encoder";
    return NULL;
}

int export_hf_check(const ModelConfig *config, Error *error) {
    const char *reason = what_does_not_fit(config);
    if (reason)
        return error_set(error, ERROR_USAGE,
                         "transformers' VJEPA2Model cannot hold this model: %s; --format "
                         "safetensors takes it",
                         reason);
    return 0;
}

/* ---- Hugging Face: names ---- */

typedef struct Rename {
    const char *ours, *theirs; /* beginnings of names */
} Rename;

static const Rename renames[] = {
    {"encoder.patch_embed.", "encoder.embeddings.patch_embeddings."},
    {"encoder.blocks.", "encoder.layer."},
    {"encoder.norm.", "encoder.layernorm."},
    {"predictor.predictor_embed.", "predictor.embeddings.predictor_embeddings."},
    {"predictor.predictor_blocks.", "predictor.layer."},
    {"predictor.predictor_norm.", "predictor.layernorm."},
    {"predictor.predictor_proj.", "predictor.proj."},
};
#define RENAMES (sizeof renames / sizeof *renames)

/* Adds one parameter: as it is, or qkv as its three parts. */
static void add_renamed(ExportList *list, const TensorInfo *source, const char *ours) {
    static const char *const parts[] = {"query", "key", "value"};
    size_t k = 0;
    while (k < RENAMES && strncmp(ours, renames[k].ours, strlen(renames[k].ours)))
        k++;
    JEPA_ASSERT(k < RENAMES); /* every parameter of a model that fits has its name there */
    const char *rest = ours + strlen(renames[k].ours), *theirs = renames[k].theirs,
               *qkv = strstr(rest, ".attn.qkv."), *attention = strstr(rest, ".attn.");
    if (!attention) {
        add(list, source, memory_text("%s%s", theirs, rest));
    } else if (!qkv) {
        add(list, source,
            memory_text("%s%.*s.attention.%s", theirs, (int)(attention - rest), rest,
                        attention + strlen(".attn.")));
    } else {
        size_t bytes = source->bytes / 3;
        for (size_t i = 0; i < 3; i++) {
            TensorInfo *t = add(list, source,
                                memory_text("%s%.*s.attention.%s.%s", theirs, (int)(qkv - rest),
                                            rest, parts[i], qkv + strlen(".attn.qkv.")));
            t->shape[0] /= 3;
            t->bytes = bytes;
            t->data = (const char *)source->data + i * bytes;
        }
    }
}

static const TensorInfo *find(const Safetensors *networks, const Parameter *p, const char *prefix,
                              Error *error) {
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const TensorInfo *t = safetensors_find(networks, name);
    bool fits = t && t->type == TENSOR_F32 && t->dims == p->dims;
    for (int i = 0; fits && i < p->dims; i++)
        fits = t->shape[i] == p->shape[i];
    if (!fits)
        error_set(error, ERROR_RUN, "%s: %s %s", networks->path, name,
                  t ? "has another shape than the recipe asks for" : "is missing");
    return fits ? t : NULL;
}

int export_hf(ExportList *list, const Safetensors *networks, const ModelConfig *config,
              ExportNetwork network, Error *error) {
    ParameterTable table;
    int64_t width = config->pred_dim;
    int token = 0, result = 0;
    memset(list, 0, sizeof *list);
    parameter_table_new(&table, config);
    list->stacked = memory_new((size_t)(config->mask_tokens * width), sizeof *list->stacked);
    for (size_t i = 0; i < table.count && !result; i++) {
        const Parameter *p = &table.parameters[i];
        bool target = p->owner == OWNER_ENCODER && network != EXPORT_ENCODER;
        const TensorInfo *t = find(networks, p, target ? "target_" : "", error);
        if (!t) {
            result = -1;
        } else if (strncmp(p->name, "predictor.mask_tokens.", 22)) {
            add_renamed(list, t, p->name);
        } else {
            JEPA_ASSERT(token < config->mask_tokens && p->count == width);
            memcpy(list->stacked + token++ * width, t->data, t->bytes);
        }
    }
    parameter_table_free(&table);
    if (result) {
        export_free(list);
        return -1;
    }
    TensorInfo tokens = {.type = TENSOR_F32,
                         .dims = 4,
                         .shape = {config->mask_tokens, 1, 1, width},
                         .data = list->stacked,
                         .bytes = (size_t)(config->mask_tokens * width) * sizeof(float)};
    add(list, &tokens, memory_text("predictor.embeddings.mask_tokens"));
    return 0;
}

/* ---- Hugging Face: config.json ---- */

/* The least ratio for which int(width · ratio), as VJEPA2MLP has it, is `hidden` in doubles. */
static double mlp_ratio(int width, int hidden) {
    double ratio = (double)hidden / width;
    while ((int)(width * ratio) < hidden)
        ratio = nextafter(ratio, INFINITY);
    return ratio;
}

/* A number that reads back as the same double, with as few digits as that takes. */
static void put_number(FILE *out, const char *key, double value) {
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fprintf(out, "  \"%s\": %s%s,\n", key, text, strpbrk(text, ".e") ? "" : ".0");
}

char *export_hf_config(const ModelConfig *c) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    JEPA_ASSERT(out);
    fprintf(out, "{\n  \"architectures\": [\n    \"VJEPA2Model\"\n  ],\n");
    put_number(out, "attention_dropout", 0);
    put_number(out, "attention_probs_dropout_prob", 0);
    fprintf(out, "  \"crop_size\": %d,\n", c->height);
    put_number(out, "drop_path_rate", c->drop_path);
    fprintf(out, "  \"frames_per_clip\": %d,\n  \"hidden_act\": \"gelu\",\n", c->frames);
    fprintf(out, "  \"hidden_size\": %d,\n  \"image_size\": %d,\n", c->dim, c->height);
    fprintf(out, "  \"in_chans\": %d,\n", CHANNELS);
    put_number(out, "initializer_range", c->init_std);
    put_number(out, "layer_norm_eps", LAYERNORM_EPS);
    put_number(out, "mlp_ratio", mlp_ratio(c->dim, c->hidden));
    fprintf(out, "  \"model_type\": \"vjepa2\",\n  \"num_attention_heads\": %d,\n", c->heads);
    fprintf(out, "  \"num_hidden_layers\": %d,\n  \"num_pooler_layers\": 3,\n", c->depth);
    fprintf(out, "  \"patch_size\": %d,\n  \"pred_hidden_size\": %d,\n", c->patch, c->pred_dim);
    put_number(out, "pred_mlp_ratio", mlp_ratio(c->pred_dim, c->pred_hidden));
    fprintf(out, "  \"pred_num_attention_heads\": %d,\n", c->pred_heads);
    fprintf(out, "  \"pred_num_hidden_layers\": %d,\n", c->pred_depth);
    fprintf(out, "  \"pred_num_mask_tokens\": %d,\n", c->mask_tokens);
    fprintf(out, "  \"pred_zero_init_mask_tokens\": %s,\n",
            c->zero_init_mask_tokens ? "true" : "false");
    fprintf(out, "  \"qkv_bias\": true,\n  \"torch_dtype\": \"float32\",\n");
    fprintf(out, "  \"tubelet_size\": %d\n}\n", c->tubelet);
    JEPA_ASSERT(!fclose(out));
    return text;
}

/* ---- Hugging Face: files ---- */

/* One past the last tensor of the shard that starts at `first`. */
static size_t shard_end(const ExportList *list, size_t first, uint64_t most) {
    uint64_t bytes = list->tensors[first].bytes;
    size_t end = first + 1;
    while (end < list->count && bytes + list->tensors[end].bytes <= most)
        bytes += list->tensors[end++].bytes;
    return end;
}

static int shard_path(char *name, size_t size, size_t number, size_t shards) {
    if (shards == 1)
        return snprintf(name, size, "model.safetensors");
    return snprintf(name, size, "model-%05zu-of-%05zu.safetensors", number, shards);
}

/* Which file each tensor is in. Names of tensors have nothing in them that JSON escapes. */
static int write_index(const char *folder, const ExportList *list, size_t shards, uint64_t shard,
                       Error *error) {
    char *text = NULL, *path = path_join(folder, "model.safetensors.index.json");
    size_t length, end = 0, number = 0;
    uint64_t total = 0;
    for (size_t i = 0; i < list->count; i++)
        total += list->tensors[i].bytes;
    FILE *out = open_memstream(&text, &length);
    JEPA_ASSERT(out);
    fprintf(out, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n", total);
    fprintf(out, "  \"weight_map\": {\n");
    for (size_t i = 0; i < list->count; i++) {
        char name[64];
        if (i == end) {
            end = shard_end(list, i, shard);
            number++;
        }
        shard_path(name, sizeof name, number, shards);
        fprintf(out, "    \"%s\": \"%s\"%s\n", list->tensors[i].name, name,
                i + 1 < list->count ? "," : "");
    }
    fprintf(out, "  }\n}\n");
    JEPA_ASSERT(!fclose(out));
    int result = file_write(path, text, length, error);
    free(text);
    free(path);
    return result;
}

int export_hf_write(const char *folder, const ExportList *list, const ModelConfig *config,
                    uint64_t shard, Error *error) {
    const TensorNote format = {"format", "pt"}; /* from_pretrained asks for it */
    size_t shards = 0, number = 0;
    for (size_t first = 0; first < list->count; first = shard_end(list, first, shard))
        shards++;
    int result = 0;
    for (size_t first = 0, end; first < list->count && !result; first = end) {
        char name[64];
        end = shard_end(list, first, shard);
        shard_path(name, sizeof name, ++number, shards);
        char *path = path_join(folder, name);
        result = safetensors_write_noted(path, list->tensors + first, end - first, &format, 1, NULL,
                                         error);
        free(path);
    }
    if (!result && shards > 1)
        result = write_index(folder, list, shards, shard, error);
    if (!result) {
        char *text = export_hf_config(config), *path = path_join(folder, "config.json");
        result = file_write(path, text, strlen(text), error);
        free(text);
        free(path);
    }
    return result;
}
