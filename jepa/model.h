/* The model: weights, optimiser state and activations in planned memory; one forward and backward
 * pass over a group of clips; one update.
 *
 *   clip ──► target encoder (all tokens) ──► layer norm ──► target tokens h ─────────┐
 *     │                                                                              ▼
 *     └────► context encoder (visible tokens) ──► predictor(context, mask tokens) ─► |z - h|
 *
 * Letters: B samples in a group, M mask settings, N tokens of a clip, Rc context tokens and Rt
 * target tokens of the whole group (packed: sequence m·B + b is setting m of sample b), Rp = Rc +
 * Rt, D width, P values of a patch. Source: facebookresearch/jepa app/vjepa/train.py, src/models/.
 */
#ifndef JEPA_JEPA_MODEL_H
#define JEPA_JEPA_MODEL_H

#include "jepa/arena.h"
#include "jepa/config.h"
#include "jepa/parameters.h"
#include "jepa/transformer.h"
#include "kernels/device.h"

/* What to plan memory for. */
typedef struct ModelPlan {
    ModelConfig config;
    int samples;             /* B, largest group */
    int settings;            /* M; 0: encoder only, no training (probe, features) */
    int64_t context, target; /* most context and target tokens of a group */
    bool training;           /* gradients and optimiser state */
    bool float_input;        /* pictures come as normalised float32 (published interpolation) */
    bool keep_target;        /* keep every block of the target encoder (comparison of stages) */
} ModelPlan;

/* Scalars in device memory. */
typedef struct ModelScalars {
    double loss[MASK_SETTINGS_MAX]; /* each setting's share of the loss; their sum is the loss */
    double reg;                     /* Σ relu(1 - spread), mean; before reg_coeff */
    double total;         /* loss + reg_coeff reg; the update is skipped when not finite */
    double square_sum[2]; /* Σ g² of encoder and predictor */
} ModelScalars;

typedef struct Model {
    ModelPlan plan;
    Device *device;
    ParameterTable table;
    Arena arena;  /* of everything below */
    void *memory; /* the one block */
    MaskGrid grid;
    int tokens;       /* N */
    int target_chunk; /* samples that go through the target encoder at once */

    /* flat buffers [table.total]; target: [encoder part] */
    float *weights, *gradients, *first_moment, *second_moment, *target;
    float *position;              /* [N][D] */
    float *predictor_position;    /* [N][Dp]; both NULL with rotary positions */
    float *rope, *predictor_rope; /* [N][2][D/H], [N][2][Dp/Hp]: kernels/rope.h; or NULL */

    /* target encoder */
    StackShape encoder_shape, predictor_shape;
    StackActivations act_target; /* of one chunk */
    float *target_patches;       /* [chunk N][P] */
    float *target_out; /* [B N][D] encoder output, normalised by its norm, then without affine */
    float *h;          /* [Rt][D] targets of the loss */
    /* context encoder */
    StackActivations act_context;
    float *context_patches;                           /* [Rc][P] */
    float *context_out, *context_mean, *context_rstd; /* [Rc][D], [Rc], [Rc] after the final norm */
    /* predictor */
    StackActivations act_predictor;
    float *embedded; /* [Rc][Dp] */
    float *last, *last_norm, *last_mean,
        *last_rstd; /* [Rt][Dp] target rows, before and after norm */
    float *z;       /* [Rt][D] predictions */
    float *spread;  /* [M·B][D] */
    /* backward */
    StackScratch scratch;
    float *dx;                 /* [max(Rc D, Rp Dp)] */
    float *dz, *dlast, *dnorm; /* [Rt][D], [Rt][Dp], [Rt][Dp] */
    float *dcontext;           /* [Rc][D] */
    ModelScalars *scalars;
    /* inputs */
    uint8_t *pixels;               /* [B][3][frames][height][width] */
    float *values;                 /* the same as normalised float32, where asked for; else NULL */
    uint8_t *mirror;               /* [B] */
    int32_t *all_clip, *all_token; /* [B N] 0 0 .. 1 1 .., 0 1 2 .. */
    int32_t *context_clip, *context_token,
        *context_place;                                /* [Rc] clip, token, row in the predictor */
    int32_t *target_row, *target_token, *target_place; /* [Rt] row of target_out, token, row in
                                                          the predictor */
    int32_t *predictor_token;                          /* [Rp] token of each predictor row */
    int32_t *zeros;                                    /* [Rt] */
    float *keep, *predictor_keep; /* [depth][2][M·B] of each network: stochastic depth; or NULL */
    /* host: packed lengths and staging */
    int32_t *cu_target_clips;                       /* [B + 1] N each */
    int32_t *cu_context, *cu_target, *cu_predictor; /* [M·B + 1] */
    int32_t *staging;                               /* [max(Rp, B N)] */
    int64_t context_rows, target_rows;              /* of the current group */
} Model;

/* Measures without allocating; prints nothing. Kinds in arena.by_kind, bytes. `scratch` receives
 * the device's scratch. */
void model_measure(Arena *arena, size_t *scratch, const ModelPlan *plan, Device *device);

/* Plans, allocates once, fills positions. Weights are zero until model_init or a checkpoint. */
int model_new(Model *model, const ModelPlan *plan, Device *device, Error *error);
void model_free(Model *model);
void model_init(Model *model, uint64_t seed); /* initial weights; target = encoder */

/* Input of a group. */
typedef struct ModelInput {
    int samples;           /* <= plan.samples */
    const uint8_t *pixels; /* [samples][3][frames][height][width], host; or NULL */
    const float *
        values; /* the same, normalised float32, host (needs float_input or keep_target); or NULL */
    const uint8_t *mirror; /* [samples], host; NULL: none */
} ModelInput;

/* Weights of the loss: what one element of |z - h|^p / p counts for, by mask setting. */
typedef struct LossWeights {
    double power;                      /* loss_exp */
    double element[MASK_SETTINGS_MAX]; /* 1 / (M · elements of setting m in the global batch) */
    double reg_coeff;
    double reg_weight; /* 1 / (global samples · D) */
} LossWeights;

/* Gradients and scalars to zero: before the first group of a step. */
void model_begin_step(Model *model);
/* Uploads a group and its masks. */
void model_set_input(Model *model, const ModelInput *input);
void model_set_masks(Model *model, const MaskGroup *masks, int samples);
/* Draws which branches of which sequences are dropped, for config.drop_path > 0: a pure function of
 * (seed, step, group). After model_set_masks, before the forward pass. */
void model_set_drops(Model *model, int samples, uint64_t seed, uint64_t step, uint64_t group);
/* target_out of all samples, then h; needs masks when the plan has settings */
void model_forward_target(Model *model, int samples);
/* context_out, z and the losses */
void model_forward_prediction(Model *model, int samples, const LossWeights *weights);
/* gradients += */
void model_backward(Model *model, int samples, const LossWeights *weights);
/* Total loss and the norms of both networks' gradients into scalars, after the last group. */
void model_finish_gradients(Model *model, double reg_coeff);
/* AdamW on both networks and the target's moving average; weight decay for the decayed groups. */
void model_update(Model *model, const AdamwSettings *settings);

/* Frozen features: `network` 't' target or 'c' context weights, all tokens of all samples into
 * target_out [B N][D] after the final norm (no second layer norm). */
void model_features(Model *model, int samples, char network);

#endif
