/* The shape of a model: everything that decides its parameters and its arithmetic. */
#ifndef JEPA_JEPA_CONFIG_H
#define JEPA_JEPA_CONFIG_H

#include "base/error.h"
#include "jepa/positions.h"
#include "masking/mask.h"
#include <stdbool.h>

#define LAYERNORM_EPS        1e-6 /* encoder and predictor, published */
#define TARGET_LAYERNORM_EPS 1e-5 /* F.layer_norm over the targets, PyTorch's default */

typedef struct ModelConfig {
    /* input: clips of frames x height x width pixels, cut into tubelet x patch x patch */
    int frames, height, width, tubelet, patch;
    /* the input size that the positions were made for; others are interpolated. Equal to the above
     * in training. */
    int trained_frames, trained_height, trained_width;
    int dim, depth, heads, hidden; /* context and target encoder; hidden: MLP width */
    int pred_dim, pred_depth, pred_heads, pred_hidden;
    bool swiglu, pred_swiglu; /* MLPs with two factors; hidden is then the width of each */
    Positions positions;
    int rope_side;    /* > 0: rows and columns rescaled to a square of so many tokens */
    double drop_path; /* stochastic depth: the last block's rate; block i's is i/(depth-1) of it */
    int mask_tokens, used_mask_tokens; /* those further on are kept, and never moved */
    bool token_by_length; /* as published by V-JEPA 2: mask token k belongs to the k-th clip length;
                             else to mask setting k */
    bool uniform_power;   /* the same share of the width for each axis */
    bool zero_init_mask_tokens;
    bool rescale_init; /* divide attn.proj and mlp.fc2 by sqrt(2 layer); the
                        * published V-JEPA 1 undoes it by accident: off */
    double init_std;   /* 0.02, truncated normal */
} ModelConfig;

MaskGrid config_grid(const ModelConfig *config);
MaskGrid config_trained_grid(const ModelConfig *config);
int config_patch_size(const ModelConfig *config); /* values in one patch: 3 tubelet patch² */

/* Width of a SwiGLU's factors for an MLP of `hidden` (facebookresearch/vjepa2 modules.py): two
 * thirds, rounded up to a multiple of 8, where `wide` (wide_silu); else all of it. */
int config_swiglu_hidden(int hidden, bool wide);

/* Sets dim, depth, heads, hidden from a published name, vit_tiny to vit_gigantic. -1: no such name,
 * the message lists them. */
int config_set_name(ModelConfig *config, const char *name, Error *error);

/* Does it fit together? Names the sizes that do not, and what would. */
int config_check(const ModelConfig *config, Error *error);

#endif
