/* The model: weights, optimiser state and activations in planned memory; one forward and backward
 * pass over a group of clips; one update.
 *
 *   clip ──► target encoder (all tokens) ──► layer norm ──► target tokens h ─────────┐
 *     │                                                                              ▼
 *     └────► context encoder (visible tokens) ──► predictor(context, mask tokens) ─► |z - h|
 *
 * Letters: B samples in a group, M mask settings, E contexts of a sample (E = M unless settings
 * share one, as I-JEPA's four do), N tokens of the longest clip, Na rows of all clips (their
 * tokens, each clip's class token before them if there is one), Rc context tokens and Rt target
 * tokens of the whole group (packed: context sequence e·B + b, target sequence m·B + b), Ru patches
 * that these contexts see, Rj context
 * tokens as the predictor reads them (each of its M·B sequences has its context: Rj = Rc where E =
 * M), Rp = Rj + Rt, D width, Do = levels · D what the encoder hands on, Dh = levels · width of the
 * teacher, P values of a patch. Sources: facebookresearch/jepa app/vjepa/train.py, src/models/;
 * vjepa2 app/vjepa, app/vjepa_2_1; ijepa src/.
 */
#ifndef JEPA_JEPA_MODEL_H
#define JEPA_JEPA_MODEL_H

#include "jepa/arena.h"
#include "jepa/config.h"
#include "jepa/parameters.h"
#include "jepa/reduce.h"
#include "jepa/transformer.h"
#include "kernels/device.h"
#include "kernels/exchange.h"

#define MODEL_LAYERS_MAX 8 /* blocks whose outputs are handed out at once */

typedef struct Model Model;

/* What to plan memory for. */
typedef struct ModelPlan {
    ModelConfig config;
    int samples;             /* B, largest group */
    int settings;            /* M; 0: encoder only, no training (probe, features) */
    int contexts;            /* E; 0: as many as settings */
    int64_t context, target; /* most context and target tokens of a group */
    int64_t joined;          /* most context tokens as the predictor reads them; 0: `context` */
    bool training;           /* gradients and optimiser state */
    int gradient_sums;       /* buffers of gradients (jepa/reduce.h); 0: one */
    int leaves;              /* of a step, each with scalars of its own; 0: one for all */
    Shard shard;             /* what of the optimiser's state is here: all, or a rank's part */
    bool float_input;        /* pictures come as normalised float32 (published interpolation) */
    bool keep_target;        /* keep every block of the target encoder (comparison of stages) */
    bool checkpointing;      /* of activations: blocks are computed again on the way back */
    bool target_fp8;         /* the target encoder's linear layers in FP8; the device has it */
    bool picture; /* the clips are single pictures, with a patch embedding of their own */
    /* model_features: these blocks (counted from 0) instead of the last one */
    int layer[MODEL_LAYERS_MAX], layers;
    /* Weights, gradients, optimiser state and scalars are another model's, whose config is the same
     * but for the input's size (and the tubelet, 1 for pictures): two kinds of clips train one
     * network. NULL: its own. */
    Model *beside;
} ModelPlan;

/* Scalars in device memory. */
typedef struct ModelScalars {
    /* each setting's share of the loss on its targets, then on the context tokens (2.1), which
     * start at MASK_SETTINGS_MAX; their sum is the loss */
    double loss[2 * MASK_SETTINGS_MAX];
    double reg;                /* Σ relu(1 - spread), mean; before reg_coeff */
    double sigreg, invariance; /* of the teacher-free objective, before their weights */
    double total;              /* what is descended; the update is skipped when it is not finite */
    double square_sum[2];      /* Σ g² of encoder and predictor */
} ModelScalars;

/* The outputs of an encoder that are wanted, side by side: block and norm of each. */
typedef struct EncoderOutputs {
    int count;
    int block[MODEL_LAYERS_MAX], norm[MODEL_LAYERS_MAX];
} EncoderOutputs;

struct Model {
    ModelPlan plan;
    Device *device;
    ParameterTable table;        /* context encoder and predictor */
    ParameterTable target_table; /* target encoder */
    EncoderConfig teacher;
    Arena arena;  /* of everything below */
    void *memory; /* the one block */
    MaskGrid grid;
    int tokens;                  /* N */
    int rows;                    /* of a clip: N, and one for a class token */
    int target_chunk;            /* samples that go through the target encoder at once */
    int out_width, target_width; /* Do, Dh */

    /* flat buffers [table.total]; target: [encoder part of target_table] */
    float *weights, *gradients, *target;
    float *gradient_sum[REDUCE_BUFFERS_MAX]; /* the first is `gradients` at the start of a step */
    /* What is updated, [K][SHARD_BLOCK]: the own blocks of each (kernels/shard.h). With one rank
     * these are the flat buffers themselves. With several, weights and target are what the passes
     * read: where a matrix travels as bfloat16 it is rounded there, and exact here. */
    int64_t blocks, shard_blocks; /* B of a flat buffer, K of the rank with most */
    float *first_moment, *second_moment, *own_weights, *own_gradients;
    float *own_target; /* of the encoder's blocks; NULL: the target is frozen */
    float *pieces;     /* [W][K][SHARD_BLOCK] own gradients, rank by rank; the first is their sum */
    double *block_sums;          /* [W][K] Σ g² of each block */
    Exchange *exchange;          /* with several ranks; set by the trainer */
    const GradientsFinal *final; /* of the backward pass at work; NULL: nobody asks */
    float *position;             /* [N][D] */
    float *target_position;      /* [N][teacher's D]; the same as position for an equal teacher */
    float *predictor_position;   /* [N][Dp]; all NULL with rotary positions */
    float *rope, *target_rope, *predictor_rope; /* [N][2][D/H]: kernels/rope.h; or NULL */

    /* target encoder */
    StackShape encoder_shape, teacher_shape, predictor_shape;
    EncoderOutputs levels, target_levels, features;
    StackActivations act_target; /* of one chunk */
    Activation *target_patches;  /* [chunk N][P] */
    float *level;                /* [max rows][max D] one level on its way; NULL with one level */
    float *target_out; /* [Na][Dh] encoder output, normalised by its norms, then without affine */
    float *h;          /* [Rt][Dh] targets of the loss */
    /* context encoder */
    StackActivations act_context;
    Activation *context_patches;                      /* [Ru][P] */
    float *context_embedded;                          /* [Ru][D] where contexts share patches, or
                                                         NULL; its gradient later */
    Activation *dpatches;                             /* the same as activations */
    float *context_out, *context_mean, *context_rstd; /* [Rc][Do], [levels][Rc] after the norms */
    Activation *context_in;                           /* context_out as activations */
    /* predictor */
    Activation *mixed, *mixed_gelu; /* [Rc][D]: several levels on their way in; or NULL */
    float *embedded;                /* [Rc][Dp] */
    StackActivations act_predictor;
    float *last, *last_mean, *last_rstd; /* [Rt][Dp] target rows before their norm, [Rt] */
    Activation *last_norm;               /* [Rt][Dp] and after */
    float *z;                            /* [Rt][Dh] predictions */
    float *spread;                       /* [M·B][Dh] */
    /* the same for the context rows, where their loss counts; else NULL */
    float *seen, *seen_mean, *seen_rstd, *zc, *hc; /* [Rj][Dp], [Rj], [Rj][Dh] */
    Activation *seen_norm;                         /* [Rj][Dp] */
    float *seen_weight;                            /* [Rj] 1/sqrt(distance) */
    /* backward */
    StackScratch scratch;
    float *dx;                     /* [max(Rc D, Rp Dp)] */
    float *dz, *dlast;             /* [max(Rt, Rj)][Dh], [..][Dp] */
    Activation *dz_narrow, *dnorm; /* dz as activations, [max(Rt, Rj)][Dp] */
    float *dfeatures;              /* [Rc][Do] gradient of context_out where it comes in float32: of
                                      an objective without a predictor; else NULL */
    Activation *dcontext;          /* [Rc][Do] the same, and of the predictor's, as activations */
    Activation *dembedded;         /* [Rc][Dp] gradient of embedded */
    Activation *dmixed;            /* [Rc][D]; or NULL */
    Activation *dlevel;            /* [Rc][D] one level of dcontext; or NULL */
    ModelScalars *scalars;
    ModelScalars *leaf_scalars; /* [leaves] losses of each leaf's micro-batches */
    ModelScalars *leaf;         /* where losses are added: the leaf at work, or `scalars` */
    /* inputs */
    uint8_t *pixels;               /* [B][3][frames][height][width] */
    float *values;                 /* the same as normalised float32, where asked for; else NULL */
    uint8_t *mirror;               /* [B] */
    int32_t *all_clip, *all_token; /* [Na] clip, token */
    int32_t *context_token;        /* [Rc] */
    /* the patches that some context sees, each once: [Ru] clip and token, and [Rc] which of them a
     * row of the context is; NULL with one context, where they are its rows */
    int32_t *patch_clip, *patch_token, *patch_of;
    int32_t *joined_row, *joined_place, *joined_token, *joined_target;
    /* [Rj] row of the context, row in the predictor, token, row of target_out */
    int32_t *target_row, *target_token, *target_place; /* [Rt] row of target_out, token, row in
                                                          the predictor */
    int32_t *predictor_token;                          /* [Rp] token of each predictor row */
    int32_t *context_step;                             /* [Rc] causal order; or NULL */
    int32_t *all_step;                                 /* [chunk N] likewise */
    float *target_weight;         /* [Rt] share of each row, with several clip lengths */
    int32_t *zeros;               /* [most rows] */
    int32_t *class_rows;          /* [sequences] where the class tokens are; or NULL */
    float *keep, *predictor_keep; /* [depth][2][sequences] of each: stochastic depth; or NULL */
    /* host: packed lengths and staging */
    int32_t *cu_target_clips;                      /* [B + 1] tokens of each clip */
    int32_t *cu_context;                           /* [E·B + 1] */
    int32_t *cu_target, *cu_joined, *cu_predictor; /* [M·B + 1] */
    int32_t *staging;                              /* [most rows] */
    float *staging_weight;                         /* [most rows] */
    int *sample_length;                            /* [B] number of each clip's length */
    bool lengths_differ;
    int context_samples;                                        /* of the current group */
    int32_t *patch_staging;                                     /* [N + 3 Rc] */
    int64_t context_rows, target_rows, joined_rows, patch_rows; /* of the current group */
};

/* Measures without allocating; prints nothing. Kinds in arena.by_kind, bytes. `scratch` receives
 * the device's scratch. */
void model_measure(Arena *arena, size_t *scratch, const ModelPlan *plan, Device *device);

/* Plans, allocates once, fills positions. Weights are zero until model_init or a checkpoint. */
int model_new(Model *model, const ModelPlan *plan, Device *device, Error *error);
void model_free(Model *model);
void model_init(Model *model, uint64_t seed); /* initial weights; target = encoder, if it can be */
/* To be called after weights or target were written by anything but this file and a step: the
 * device may keep other forms of them (kernels/linear.h). model_begin_step does so too. */
void model_weights_changed(Model *model);

/* Input of a group. */
typedef struct ModelInput {
    int samples;           /* <= plan.samples */
    const uint8_t *pixels; /* [samples][3][frames][height][width], host; or NULL */
    const float *
        values; /* the same, normalised float32, host (needs float_input or keep_target); or NULL */
    const uint8_t *mirror; /* [samples], host; NULL: none */
    const int *frames;     /* [samples], host: frames of each clip, whose pixels are then
                              [3][its frames][height][width] at the start of its part; NULL: all */
} ModelInput;

/* Weights of the loss: what one element of |z - h|^p / p counts for, by mask setting. */
typedef struct LossWeights {
    double power;                      /* loss_exp; LOSS_SMOOTH_L1 */
    double element[MASK_SETTINGS_MAX]; /* 1 / (M · elements of setting m in the global batch) */
    /* with several clip lengths: what element[m] is multiplied by for clips of length k; else NULL
     */
    const double (*length)[MASK_SETTINGS_MAX]; /* [lengths][M] */
    double context[MASK_SETTINGS_MAX]; /* the same for context tokens: λ / (M · elements) */
    bool by_distance;                  /* context tokens count 1/sqrt(distance to the targets) */
    double reg_coeff;
    double reg_weight; /* 1 / (global samples · Dh) */
} LossWeights;

/* Gradients and scalars to zero: before the first group of a step. */
void model_begin_step(Model *model);
/* Uploads a group and its masks. After model_set_input. */
void model_set_input(Model *model, const ModelInput *input);
void model_set_masks(Model *model, const MaskGroup *masks, int samples);
/* The number of each sample's clip length, [samples], for mask tokens and LossWeights.length. After
 * model_set_masks; without it all are 0. */
void model_set_lengths(Model *model, const int *length, int samples);
/* Draws which branches of which sequences are dropped, for config.drop_path > 0: a pure function of
 * (seed, step, group), of which samples first .. first + samples - 1 of `of` are taken. After
 * model_set_masks, before the forward pass. */
void model_set_drops(Model *model, int first, int samples, int of, uint64_t seed, uint64_t step,
                     uint64_t group);
/* target_out of all samples, then h; needs masks when the plan has settings */
void model_forward_target(Model *model, int samples);
/* context_out alone: the visible tokens through the context encoder */
void model_forward_context(Model *model, int samples);
/* context_out, z and the losses */
void model_forward_prediction(Model *model, int samples, const LossWeights *weights);
/* gradients += */
void model_backward(Model *model, int samples, const LossWeights *weights);
/* gradients += of the context encoder, from dcontext[Rc][Do]; or dfeatures, where there are */
void model_backward_context(Model *model, int samples);
/* Total loss and the norms of both networks' gradients into scalars, after the last group. With
 * several ranks own_gradients must be summed already. */
void model_finish_gradients(Model *model, double reg_coeff);
/* AdamW on both networks and the target's moving average; weight decay for the decayed groups. With
 * several ranks each its own blocks, which are then brought together. */
void model_update(Model *model, const AdamwSettings *settings);

/* Frozen features: `network` 't' target or 'c' context weights, all tokens of all samples into
 * target_out [Na][layers · D] after the final norm, or the norm that belongs to each layer (no
 * second layer norm). 'c' needs a target encoder of the same sizes. */
void model_features(Model *model, int samples, char network);

#endif
