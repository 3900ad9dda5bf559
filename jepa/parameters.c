/* The parameter table. See jepa/parameters.h. */
#include "jepa/parameters.h"
#include "kernels/shard.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16 /* elements: 64 bytes, a cache line */

/* Appends a tensor. *offset receives its place once the layout is known. */
typedef struct Builder {
    ParameterTable *table;
    int64_t **places; /* where each tensor's offset is wanted */
    size_t room;
} Builder;

static void add(Builder *builder, int64_t *place, ParameterOwner owner, ParameterInit init,
                double init_scale, int dims, const int64_t *shape, const char *format, ...)
    __attribute__((format(printf, 8, 9)));

static void add(Builder *builder, int64_t *place, ParameterOwner owner, ParameterInit init,
                double init_scale, int dims, const int64_t *shape, const char *format, ...) {
    ParameterTable *table = builder->table;
    if (table->count == builder->room) {
        builder->room = builder->room ? 2 * builder->room : 64;
        table->parameters = memory_grow(table->parameters, builder->room,
                                        sizeof *table->parameters);
        builder->places = memory_grow(builder->places, builder->room, sizeof *builder->places);
    }
    Parameter *p = &table->parameters[table->count];
    memset(p, 0, sizeof *p);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->name, sizeof p->name, format, arguments);
    va_end(arguments);
    p->dims = dims;
    p->count = 1;
    for (int i = 0; i < dims; i++) {
        p->shape[i] = shape[i];
        p->count *= shape[i];
    }
    p->owner = owner;
    p->init = init;
    p->init_scale = init_scale;
    p->decays = dims > 1;
    builder->places[table->count++] = place;
}

/* Only linear layers read the tensor just added. */
static void matrix_last(Builder *builder) {
    builder->table->parameters[builder->table->count - 1].matrix = true;
}

static void add_vector(Builder *builder, int64_t *place, ParameterOwner owner, ParameterInit init,
                       int64_t count, const char *prefix, const char *name) {
    add(builder, place, owner, init, 1, 1, &count, "%s%s", prefix, name);
}

static void add_linear(Builder *builder, int64_t *w, int64_t *b, ParameterOwner owner, int64_t in,
                       int64_t out, double scale, const char *prefix, const char *name) {
    int64_t shape[2] = {out, in};
    add(builder, w, owner, INIT_NORMAL, scale, 2, shape, "%s%s.weight", prefix, name);
    matrix_last(builder);
    add(builder, b, owner, INIT_ZERO, 1, 1, &out, "%s%s.bias", prefix, name);
}

static void add_blocks(Builder *builder, BlockOffsets *blocks, ParameterOwner owner, int depth,
                       int64_t dim, int64_t hidden, bool swiglu, bool rescale, const char *name) {
    for (int i = 0; i < depth; i++) {
        BlockOffsets *b = &blocks[i];
        char prefix[48];
        snprintf(prefix, sizeof prefix, "%s.%d.", name, i);
        double scale = rescale ? 1 / sqrt(2.0 * (i + 1)) : 1;
        add_vector(builder, &b->norm1_w, owner, INIT_ONE, dim, prefix, "norm1.weight");
        add_vector(builder, &b->norm1_b, owner, INIT_ZERO, dim, prefix, "norm1.bias");
        add_linear(builder, &b->qkv_w, &b->qkv_b, owner, dim, 3 * dim, 1, prefix, "attn.qkv");
        add_linear(builder, &b->proj_w, &b->proj_b, owner, dim, dim, scale, prefix, "attn.proj");
        add_vector(builder, &b->norm2_w, owner, INIT_ONE, dim, prefix, "norm2.weight");
        add_vector(builder, &b->norm2_b, owner, INIT_ZERO, dim, prefix, "norm2.bias");
        add_linear(builder, &b->fc1_w, &b->fc1_b, owner, dim, hidden, 1, prefix, "mlp.fc1");
        /* the published rescaling goes by name: with SwiGLU it meets the second factor */
        if (swiglu)
            add_linear(builder, &b->fc2_w, &b->fc2_b, owner, dim, hidden, scale, prefix, "mlp.fc2");
        add_linear(builder, &b->out_w, &b->out_b, owner, hidden, dim, swiglu ? 1 : scale, prefix,
                   swiglu ? "mlp.fc3" : "mlp.fc2");
    }
}

/* Matrices, other decayed tensors, those that are not decayed. */
typedef enum Kind { KIND_MATRIX, KIND_DECAYED, KIND_OTHER, KINDS } Kind;

static Kind kind_of(const Parameter *p) {
    return !p->decays ? KIND_OTHER : p->matrix ? KIND_MATRIX : KIND_DECAYED;
}

static int64_t place_kind(Builder *builder, int owner, Kind kind, int64_t next) {
    ParameterTable *table = builder->table;
    for (size_t i = 0; i < table->count; i++) {
        Parameter *p = &table->parameters[i];
        if ((int)p->owner != owner || kind_of(p) != kind)
            continue;
        p->offset = *builder->places[i] = next;
        next += (p->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        table->values += p->count;
    }
    return next;
}

/* Gives every tensor its place: owner by owner, kind by kind. */
static void lay_out(Builder *builder) {
    ParameterTable *table = builder->table;
    int64_t next = 0;
    for (int owner = 0; owner < 2; owner++) {
        ParameterRange *group = table->group[owner];
        group[0].begin = table->owner[owner].begin = table->matrices[owner].begin = next;
        next = shard_blocks(place_kind(builder, owner, KIND_MATRIX, next)) * SHARD_BLOCK;
        table->matrices[owner].end = next;
        next = group[0].end = group[1].begin = place_kind(builder, owner, KIND_DECAYED, next);
        next = group[1].end = place_kind(builder, owner, KIND_OTHER, next);
        next = table->owner[owner].end = shard_blocks(next) * SHARD_BLOCK;
    }
    table->total = next;
}

/* Where the matrices of each block end. */
static void end_blocks(BlockOffsets *blocks, int depth, int64_t end) {
    for (int i = 0; i < depth; i++)
        blocks[i].end = i + 1 < depth ? blocks[i + 1].qkv_w : end;
}

static void add_mode(Builder *builder, int64_t *place, ParameterOwner owner, int64_t dim,
                     double scale, const char *name) {
    int64_t shape[3] = {1, 1, dim};
    add(builder, place, owner, INIT_NORMAL, scale, 3, shape, "%s", name);
}

/* The tensor just added gets no gradient. PyTorch leaves such a tensor alone: no decay either. Then
 * it is no matrix of the layout. */
static void keep_last(Builder *builder) {
    builder->table->parameters[builder->table->count - 1].decays = false;
}

static void add_encoder(Builder *builder, const ModelConfig *c) {
    ParameterTable *table = builder->table;
    ParameterOwner e = OWNER_ENCODER;
    EncoderConfig own = config_encoder(c);
    int64_t conv[5] = {c->dim, 3, c->tubelet, c->patch, c->patch};
    int64_t flat[4] = {c->dim, 3, c->patch, c->patch};
    int64_t image[5] = {c->dim, 3, 1, c->patch, c->patch};
    double small = 1e-6 / c->init_std; /* modality embeddings start as N(0, 1e-6) */
    if (c->class_token)
        add_mode(builder, &table->class_token, e, c->dim, 1, "encoder.cls_token");
    if (c->modality) {
        add_mode(builder, &table->image_mode, e, c->dim, small, "encoder.img_mod_embed");
        if (c->videos_only)
            keep_last(builder);
        add_mode(builder, &table->video_mode, e, c->dim, small, "encoder.video_mod_embed");
    }
    add(builder, &table->patch_w, e, INIT_NORMAL, 1, c->plane ? 4 : 5, c->plane ? flat : conv,
        "encoder.patch_embed.proj.weight");
    matrix_last(builder);
    add_vector(builder, &table->patch_b, e, INIT_ZERO, c->dim, "encoder.", "patch_embed.proj.bias");
    if (c->image_patches) {
        add(builder, &table->image_w, e, INIT_NORMAL, 1, 5, image,
            "encoder.patch_embed_img.proj.weight");
        matrix_last(builder);
        if (c->videos_only)
            keep_last(builder);
        add_vector(builder, &table->image_b, e, INIT_ZERO, c->dim, "encoder.",
                   "patch_embed_img.proj.bias");
    }
    add_blocks(builder, table->blocks, e, c->depth, c->dim, c->hidden, c->swiglu, c->rescale_init,
               "encoder.blocks");
    for (int k = 0; k < own.norms; k++) {
        char name[32] = "norm.";
        if (own.norms > 1)
            snprintf(name, sizeof name, "norms_block.%d.", k);
        add(builder, &table->norm_w[k], e, INIT_ONE, 1, 1, (int64_t[]){c->dim}, "encoder.%sweight",
            name);
        add(builder, &table->norm_b[k], e, INIT_ZERO, 1, 1, (int64_t[]){c->dim}, "encoder.%sbias",
            name);
    }
}

static void add_predictor(Builder *builder, const ModelConfig *c) {
    ParameterTable *table = builder->table;
    ParameterOwner p = OWNER_PREDICTOR;
    int64_t levels = c->levels ? c->levels : 1, target = config_teacher(c).dim * levels;
    if (levels > 1) {
        add_linear(builder, &table->levels_w, &table->levels_b, p, levels * c->dim, c->dim, 1,
                   "predictor.", "predictor_embed.0");
        add_linear(builder, &table->embed_w, &table->embed_b, p, c->dim, c->pred_dim, 1,
                   "predictor.", "predictor_embed.2");
    } else {
        add_linear(builder, &table->embed_w, &table->embed_b, p, c->dim, c->pred_dim, 1,
                   "predictor.", "predictor_embed");
    }
    int64_t token[3] = {1, 1, c->pred_dim};
    for (int m = 0; m < c->mask_tokens; m++) {
        ParameterInit init = c->zero_init_mask_tokens ? INIT_ZERO : INIT_NORMAL;
        if (c->plane)
            add(builder, &table->mask_token[m], p, init, 1, 3, token, "predictor.mask_token");
        else
            add(builder, &table->mask_token[m], p, init, 1, 3, token, "predictor.mask_tokens.%d",
                m);
        if (m >= c->used_mask_tokens)
            keep_last(builder);
    }
    if (c->modality) {
        double small = 1e-6 / c->init_std;
        add_mode(builder, &table->pred_image_mode, p, c->pred_dim, small,
                 "predictor.img_mod_embed");
        if (c->videos_only)
            keep_last(builder);
        add_mode(builder, &table->pred_video_mode, p, c->pred_dim, small,
                 "predictor.video_mod_embed");
    }
    add_blocks(builder, table->pred_blocks, p, c->pred_depth, c->pred_dim, c->pred_hidden,
               c->pred_swiglu, c->rescale_init, "predictor.predictor_blocks");
    add_vector(builder, &table->pred_norm_w, p, INIT_ONE, c->pred_dim, "predictor.",
               "predictor_norm.weight");
    add_vector(builder, &table->pred_norm_b, p, INIT_ZERO, c->pred_dim, "predictor.",
               "predictor_norm.bias");
    add_linear(builder, &table->proj_w, &table->proj_b, p, c->pred_dim, target, 1, "predictor.",
               "predictor_proj");
    if (c->context_loss)
        add_linear(builder, &table->context_w, &table->context_b, p, c->pred_dim, target, 1,
                   "predictor.", "predictor_proj_context");
}

/* A linear layer as PyTorch starts it. */
static void add_default_linear(Builder *builder, int64_t *w, int64_t *b, int64_t in, int64_t out,
                               const char *name) {
    int64_t shape[2] = {out, in};
    double bound = 1 / sqrt((double)in);
    add(builder, w, OWNER_PREDICTOR, INIT_UNIFORM, bound, 2, shape, "%s.weight", name);
    add(builder, b, OWNER_PREDICTOR, INIT_UNIFORM, bound, 1, &out, "%s.bias", name);
}

static void add_projector(Builder *builder, const ModelConfig *c) {
    ParameterTable *table = builder->table;
    int64_t hidden = c->projector_hidden;
    add_default_linear(builder, &table->project_w, &table->project_b, c->dim, hidden,
                       "projector.net.0");
    add_vector(builder, &table->batch_w, OWNER_PREDICTOR, INIT_ONE, hidden, "projector.",
               "net.1.weight");
    add_vector(builder, &table->batch_b, OWNER_PREDICTOR, INIT_ZERO, hidden, "projector.",
               "net.1.bias");
    add_default_linear(builder, &table->out_w, &table->out_b, hidden, c->projector_out,
                       "projector.net.3");
}

void parameter_table_new(ParameterTable *table, const ModelConfig *c) {
    memset(table, 0, sizeof *table);
    table->blocks = memory_new((size_t)c->depth, sizeof *table->blocks);
    table->pred_blocks = memory_new((size_t)c->pred_depth, sizeof *table->pred_blocks);
    Builder builder = {.table = table};
    add_encoder(&builder, c);
    if (c->objective == OBJECTIVE_JEPA)
        add_predictor(&builder, c);
    else
        add_projector(&builder, c);
    lay_out(&builder);
    end_blocks(table->blocks, c->depth, table->matrices[OWNER_ENCODER].end);
    if (c->objective == OBJECTIVE_JEPA)
        end_blocks(table->pred_blocks, c->pred_depth, table->proj_w);
    free(builder.places);
}

void parameter_table_teacher(ParameterTable *table, const ModelConfig *c) {
    EncoderConfig e = config_teacher(c);
    ModelConfig own = *c;
    own.dim = e.dim;
    own.depth = e.depth;
    own.heads = e.heads;
    own.hidden = e.hidden;
    own.swiglu = e.swiglu;
    own.norms = e.norms;
    own.teacher = (EncoderConfig){0};
    parameter_table_new(table, &own);
}

void parameter_table_free(ParameterTable *table) {
    free(table->parameters);
    free(table->blocks);
    free(table->pred_blocks);
    memset(table, 0, sizeof *table);
}

void parameters_init(float *flat, const ParameterTable *table, const ModelConfig *config,
                     uint64_t seed) {
    memset(flat, 0, (size_t)table->total * sizeof *flat);
    for (size_t i = 0; i < table->count; i++) {
        const Parameter *p = &table->parameters[i];
        Random random = random_at(seed, RANDOM_WEIGHTS, 0, i);
        for (int64_t k = 0; k < p->count && p->init != INIT_ZERO; k++) {
            double value = 1;
            if (p->init == INIT_UNIFORM)
                value = random_between(&random, -p->init_scale, p->init_scale);
            if (p->init == INIT_NORMAL)
                do
                    value = random_normal(&random) * config->init_std;
                while (fabs(value) > 2); /* trunc_normal_(a=-2, b=2): absolute bounds */
            flat[p->offset + k] = (float)(p->init == INIT_NORMAL ? value * p->init_scale : value);
        }
    }
}
