/* The parameter table: one list that drives sizes, offsets in the flat buffers, initialisation,
 * AdamW groups, the moving average, checkpoints and comparison with the published code.
 *
 * Names and shapes are the published ones. The flat buffer is laid out by owner, matrices before
 * the other decayed tensors before those that are not decayed, each in published order:
 *     encoder: matrices | decayed | not decayed || predictor: matrices | decayed | not decayed
 * so that each AdamW group, each network's gradient norm and the encoder's moving average are
 * single ranges. Matrices: what linear layers alone read, whose values travel between ranks in the
 * type of these layers. Networks and matrices are whole blocks of 65,536 elements
 * (kernels/shard.h). Decayed: neither a bias nor one-dimensional (mask tokens are [1,1,D], so they
 * decay, as published), unless nothing in the run reaches the tensor. Where there is no predictor
 * (SIGReg) the second network is the projector, which is computed in float32: it has no matrices in
 * this sense. Tensors start at multiples of 16 elements; the gaps stay zero. */
#ifndef JEPA_JEPA_PARAMETERS_H
#define JEPA_JEPA_PARAMETERS_H

#include "jepa/config.h"
#include <stddef.h>
#include <stdint.h>

typedef enum ParameterOwner { OWNER_ENCODER, OWNER_PREDICTOR } ParameterOwner;
typedef enum ParameterInit {
    INIT_NORMAL, /* truncated, init_std · init_scale */
    INIT_ZERO,
    INIT_ONE,
    INIT_UNIFORM /* ± init_scale: PyTorch's own for a linear layer, 1/sqrt(inputs) */
} ParameterInit;

typedef struct Parameter {
    char name[64]; /* "encoder.blocks.0.attn.qkv.weight" */
    int dims;
    int64_t shape[5];
    int64_t count;  /* elements */
    int64_t offset; /* in the flat buffers, elements */
    bool decays;
    bool matrix; /* only linear layers read it */
    ParameterOwner owner;
    ParameterInit init;
    double init_scale; /* times the normal's standard deviation */
} Parameter;

typedef struct ParameterRange {
    int64_t begin, end; /* elements of the flat buffers */
} ParameterRange;

/* Offsets of one transformer block and of a stack of them, in elements. */
typedef struct BlockOffsets {
    int64_t norm1_w, norm1_b, qkv_w, qkv_b, proj_w, proj_b;
    int64_t norm2_w, norm2_b, fc1_w, fc1_b;
    int64_t fc2_w, fc2_b; /* SwiGLU's second factor */
    int64_t out_w, out_b; /* back to the width: named fc2, or fc3 with SwiGLU */
    int64_t end;          /* of the block's matrices, which begin at qkv_w; where the next begin */
} BlockOffsets;

typedef struct ParameterTable {
    size_t count;
    Parameter *parameters;      /* [count], published order */
    int64_t total;              /* elements of a flat buffer */
    int64_t values;             /* elements that are parameters */
    ParameterRange group[2][2]; /* [owner][0 decayed, 1 not] */
    ParameterRange owner[2];    /* [owner], whole blocks */
    ParameterRange matrices[2]; /* [owner], whole blocks, at its beginning */
    int64_t patch_w, patch_b;
    int64_t image_w, image_b;       /* patch embedding of pictures */
    int64_t video_mode, image_mode; /* modality embeddings */
    int64_t class_token;
    int64_t norm_w[LEVELS_MAX], norm_b[LEVELS_MAX];
    BlockOffsets *blocks;       /* [depth] */
    int64_t embed_w, embed_b;   /* into the predictor; of several levels: its second layer */
    int64_t levels_w, levels_b; /* the first layer then, [D][levels · D] */
    int64_t pred_norm_w, pred_norm_b, proj_w, proj_b, context_w, context_b;
    int64_t pred_video_mode, pred_image_mode;
    int64_t mask_token[MASK_SETTINGS_MAX];
    BlockOffsets *pred_blocks; /* [pred_depth] */
    /* SIGReg's projector: linear, batch norm, linear */
    int64_t project_w, project_b, batch_w, batch_b, out_w, out_b;
} ParameterTable;

void parameter_table_new(ParameterTable *table, const ModelConfig *config);
/* The table of the target encoder: only its encoder part counts. Where the teacher has the context
 * encoder's sizes it equals that part. */
void parameter_table_teacher(ParameterTable *table, const ModelConfig *config);
void parameter_table_free(ParameterTable *table);

/* Fills flat[total]: truncated normal (std, cut at ±2), zeros or ones; tensor i is drawn from
 * stream (seed, RANDOM_WEIGHTS, 0, i), so it does not depend on the other tensors. Host memory. */
void parameters_init(float *flat, const ParameterTable *table, const ModelConfig *config,
                     uint64_t seed);

#endif
