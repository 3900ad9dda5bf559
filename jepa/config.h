/* The shape of a model: everything that decides its parameters and its arithmetic. */
#ifndef JEPA_JEPA_CONFIG_H
#define JEPA_JEPA_CONFIG_H

#include "base/error.h"
#include "jepa/positions.h"
#include "masking/mask.h"
#include <stdbool.h>

#define LAYERNORM_EPS        1e-6 /* encoder and predictor, published */
#define TARGET_LAYERNORM_EPS 1e-5 /* F.layer_norm over the targets, PyTorch's default */
#define LEVELS_MAX           4    /* depths whose outputs V-JEPA 2.1 concatenates */

/* What is learnt, and from what. */
typedef enum Objective {
    OBJECTIVE_JEPA,  /* a predictor of what a teacher sees where the context does not */
    OBJECTIVE_SIGREG /* no teacher, no predictor: views agree, embeddings are Gaussian (LeVJEPA) */
} Objective;

/* A ViT's own sizes. */
typedef struct EncoderConfig {
    int dim, depth, heads, hidden; /* hidden: MLP width; with SwiGLU that of each factor */
    bool swiglu;
    Positions positions;
    int rope_side;      /* > 0: rows and columns rescaled to a square of so many tokens */
    bool uniform_power; /* sine-cosine: the same share of the width for each axis */
    int norms;          /* final norms: 1, or 4 at four depths (V-JEPA 2.1) */
} EncoderConfig;

typedef struct ModelConfig {
    Objective objective;
    /* input: clips of frames x height x width pixels, cut into tubelet x patch x patch */
    int frames, height, width, tubelet, patch;
    /* the input size that the positions were made for; others are interpolated. Equal to the above
     * in training. */
    int trained_frames, trained_height, trained_width;
    /* context encoder; the target encoder is the same unless `teacher` says otherwise */
    int dim, depth, heads, hidden;
    int pred_dim, pred_depth, pred_heads, pred_hidden;
    bool swiglu, pred_swiglu;
    Positions positions;
    int rope_side;
    bool uniform_power;
    double drop_path; /* stochastic depth: the last block's rate; block i's is i/(depth-1) of it */
    int mask_tokens, used_mask_tokens; /* those further on are kept, and never moved */
    bool token_by_length; /* as published by V-JEPA 2: mask token k belongs to the k-th clip length;
                             else to mask setting k */
    bool zero_init_mask_tokens;
    bool rescale_init; /* divide attn.proj and mlp.fc2 by sqrt(2 layer); the
                        * published V-JEPA 1 undoes it by accident: off */
    double init_std;   /* 0.02, truncated normal */

    int norms;          /* 4: V-JEPA 2.1 */
    int levels;         /* of these norms, the last so many are predicted and predict: 1 or 4 */
    bool modality;      /* embeddings that say video or picture (2.1) */
    bool image_patches; /* a patch embedding of its own for pictures (2.1) */
    bool videos_only;   /* no pictures come: what they alone reach is kept, and never moved */
    bool context_loss;  /* context tokens are predicted too (2.1) */
    bool plane;         /* two-dimensional: I-JEPA's names, shapes and positions */
    bool class_token;   /* one token that stands for the clip (LeVJEPA) */
    bool causal;        /* attention across time steps reads the past only (LeVJEPA) */
    int projector_hidden, projector_out; /* SIGReg: widths of the projector */

    bool frozen;           /* the target encoder is a given one that does not move */
    EncoderConfig teacher; /* its sizes; dim 0: those of the context encoder */
} ModelConfig;

MaskGrid config_grid(const ModelConfig *config);
MaskGrid config_trained_grid(const ModelConfig *config);
int config_patch_size(const ModelConfig *config); /* values in one patch: 3 tubelet patch² */
EncoderConfig config_encoder(const ModelConfig *config); /* the context encoder's sizes */
EncoderConfig config_teacher(const ModelConfig *config); /* the target encoder's */
/* The block whose output norm k (0 .. norms-1) belongs to: the last one; four norms lie a quarter
 * of the depth apart (2.1's lists for 12, 24, 40 and 48 blocks). */
int config_norm_block(const EncoderConfig *encoder, int k);

/* Width of a SwiGLU's factors for an MLP of `hidden` (facebookresearch/vjepa2 modules.py): two
 * thirds, rounded up to a multiple of 8, where `wide` (wide_silu); else all of it. */
int config_swiglu_hidden(int hidden, bool wide);

/* Sets dim, depth, heads, hidden from a published name, vit_tiny to vit_gigantic. -1: no such name,
 * the message lists them. */
int config_set_name(ModelConfig *config, const char *name, Error *error);

/* Whose networks these are: "V-JEPA 1", "V-JEPA 2", "V-JEPA 2.1", "I-JEPA" or "LeVJEPA". */
const char *config_family(const ModelConfig *config);
const char *config_positions(const EncoderConfig *encoder); /* "rotary, tiled", ... */

/* Does it fit together? Names the sizes that do not, and what would. */
int config_check(const ModelConfig *config, Error *error);

#endif
