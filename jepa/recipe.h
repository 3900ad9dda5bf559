/* The recipe: everything that decides a training run, as YAML with the published keys.
 *
 * Reads the configuration files of V-JEPA 1 and V-JEPA 2 (facebookresearch/jepa and vjepa2,
 * configs/pretrain and configs/train). A key that is unknown is an error that names the nearest
 * known one; a key without meaning here is collected in `ignored`; a published feature that is not
 * built is refused by recipe_check. Our own keys: mask as a map {batch, settings} or with I-JEPA's
 * keys, checkpoint, objective, target, init_from, sigreg, model.embed_dim and its fellows,
 * model.{rope, mask_tokens, num_mask_tokens, drop_path_rate, two_dimensional, target_precision},
 * loss.smooth_l1, data.{sampling, spacing, short_videos, interpolation, hdr, index_check, decoder,
 * timeout, cache, cache_folder}, data_aug.color_jitter, optimization.{micro_batch, reduce_leaves},
 * logging.{diagnostics_every, tensorboard}, meta.{tf32, deterministic, cuda_graphs},
 * diagnostics, sentry, checkpoint.keep_best, ranks.{exchange, timeout}. */
#ifndef JEPA_JEPA_RECIPE_H
#define JEPA_JEPA_RECIPE_H

#include "base/yaml.h"
#include "jepa/config.h"
#include "jepa/reduce.h"
#include "jepa/schedule.h"
#include "kernels/activation.h"
#include "masking/mask.h"
#include "video/sampler.h"

#define RECIPE_SOURCES_MAX 64

/* "auto": what the published code of the recipe's family does. */
typedef enum Choice3 { CHOICE_AUTO, CHOICE_OFF, CHOICE_ON } Choice3;

/* How gradients of ranks are summed: to the bits of one rank, or by the library's own reduction. */
typedef enum RanksExchange { RANKS_ORDERED, RANKS_FAST } RanksExchange;

/* What the collapse sentry does when it has complained `patience` times in a row. */
typedef enum SentryAction { SENTRY_WARN, SENTRY_STOP, SENTRY_REWIND } SentryAction;

/* By which diagnosis RUN/best is chosen. */
typedef enum KeepBest {
    KEEP_BEST_NONE,
    KEEP_BEST_RANKME,
    KEEP_BEST_LIDAR,
    KEEP_BEST_PROBE
} KeepBest;

typedef struct RecipeMasks {
    int count;
    MaskSetting settings[MASK_SETTINGS_MAX];
} RecipeMasks;

typedef struct Recipe {
    /* top level: the machines of the published run; only their product counts here */
    int nodes, tasks_per_node;
    int objective; /* Objective */
    char *target;  /* "frozen:CHECKPOINT"; owned; NULL: "ema" */
    EncoderConfig
        teacher;     /* sizes of a frozen teacher, read from its checkpoint when a run begins */
    char *init_from; /* checkpoint whose weights are the first; owned; NULL: drawn */
    struct {
        char *datasets[RECIPE_SOURCES_MAX]; /* folders or lists; owned */
        int datasets_count;
        double weights[RECIPE_SOURCES_MAX]; /* of the data sets */
        int weights_count;                  /* 0: the data sets are joined */
        int fpcs[RECIPE_SOURCES_MAX];       /* frames of a clip by data set */
        int fpcs_count;                     /* 0: num_frames for all */
        int batch_size;                     /* videos in a group: one rank's batch */
        int num_clips;                      /* of each of these videos */
        int num_frames, tubelet_size, sampling_rate, patch_size;
        int crop_size, crop_width; /* height; width, 0: a square */
        double fps, clip_duration; /* 0: not used */
        int sampling;              /* SamplerMode */
        int spacing;               /* ClipSpacing */
        int short_videos;          /* ClipShort */
        int interpolation;         /* ClipInterpolation */
        int hdr;                   /* ClipHdr */
        int index_check;           /* VideoCheck */
        int decoder;               /* VideoDecoder */
        int num_workers;           /* 0: chosen from the machine */
        double timeout;            /* seconds for one clip; 0: no limit */
        double cache_bytes;        /* of decoded frames; 0: no cache */
        char *cache_folder;        /* owned; NULL: in memory */
    } data;
    struct {
        double random_resize_aspect_ratio[2], random_resize_scale[2];
        bool horizontal_flip, auto_augment;
        double color_jitter, reprob;
    } data_aug;
    /* pictures beside the videos (V-JEPA 2.1): `rank_ratio` of the groups are of these */
    struct {
        char *datasets[RECIPE_SOURCES_MAX]; /* owned */
        int datasets_count;
        int batch_size, crop_size;
        double rank_ratio; /* 0: no pictures */
    } img_data;
    struct {
        double loss_exp, reg_coeff;
        bool smooth_l1;                            /* I-JEPA, instead of loss_exp */
        bool predict_all;                          /* context tokens too (2.1) */
        bool weight_distance_loss;                 /* they count 1/sqrt(distance) */
        double lambda_value_vid, lambda_value_img; /* weight of their loss */
        bool lambda_progressive;                   /* which warms up */
        double lambda_start, lambda_end;           /* from this step to that */
    } loss;
    struct {
        MaskBatch batch;
        int count;
        MaskSetting settings[MASK_SETTINGS_MAX];
        bool tubes;         /* data.mask_type: random_tube */
        int num_pred_masks; /* > 0: I-JEPA's sampler with so many targets; `ijepa` holds the rest */
        MaskSetting ijepa;
    } mask;
    RecipeMasks img_mask; /* of pictures beside videos */
    /* objective: sigreg (LeVJEPA) */
    struct {
        double weight; /* λ */
        int num_proj, hidden_dim, output_dim;
        double token_drop_rate;
        bool block_causal;
        int local_crops_number, local_size;
        double local_crops_scale[2], local_crops_ratio[2];
        bool hflip;
        double color_jitter_prob, brightness, contrast, saturation, hue, grayscale_prob;
    } sigreg;
    struct {
        int64_t seed;
        char *dtype;        /* float32, bfloat16, float16; owned; NULL: float32 */
        bool tf32;          /* GPU: float32 products with 10 bits of mantissa */
        bool deterministic; /* GPU: the same bits run after run; else what is faster */
        bool cuda_graphs;   /* GPU: passes that come again are launched at once */
    } meta;
    struct {
        char *model_name;                               /* owned; NULL: sizes are given */
        int embed_dim, depth, num_heads;                /* 0: from the name */
        double mlp_ratio;                               /* 0: from the name, or 4 */
        int pred_depth, pred_embed_dim, pred_num_heads; /* pred_num_heads 0: the encoder's */
        bool uniform_power, zero_init_mask_tokens;
        int rescale_init; /* Choice3; auto: as V-JEPA 2 does, where positions are rotary */
        bool use_rope, interpolate_rope;
        int rope; /* 0 auto, 1 tiled, 2 standard */
        bool use_silu, use_pred_silu, wide_silu;
        double drop_path_rate;
        int mask_tokens;      /* 0 auto, 1 by setting, 2 by length */
        int num_mask_tokens;  /* 0: as many as are used */
        int levels_predictor; /* V-JEPA 2.1: 4 or 1; 0: not 2.1 */
        bool modality_embedding;
        int img_temporal_dim_size;         /* 1: pictures have their own patch embedding */
        bool two_dimensional;              /* I-JEPA's names and positions */
        bool use_activation_checkpointing; /* blocks are computed again in the backward pass */
        double init_std;
        int target_precision; /* 0: as meta.dtype, 1: FP8, on GPUs */
    } model;
    struct {
        int64_t ipe; /* steps in an epoch; 0: once through the videos */
        double ipe_scale, clip_grad, weight_decay, final_weight_decay, epochs, warmup;
        double start_lr, lr, final_lr, ema[2], betas[2], eps;
        /* clip_grad < 0: auto, 10 as V-JEPA 1, none as V-JEPA 2 (rotary positions) */
        bool is_anneal;    /* cooldown: lr falls linearly */
        char *anneal_ckpt; /* run or checkpoint it starts from, moments included; owned */
        int micro_batch;   /* clips that go through the networks at once; 0: a whole group */
        int reduce_leaves; /* of the sum over micro-batches, see jepa/reduce.h */
    } optimization;
    struct {
        int64_t every_steps;  /* 0: not by steps */
        double every_minutes; /* 0: not by time */
        int keep;             /* checkpoints kept */
        int keep_best;        /* KeepBest: one more, in RUN/best */
    } checkpoint;
    struct {
        int diagnostics_every; /* steps */
        bool tensorboard;      /* event files in RUN/tensorboard */
    } logging;
    /* measures of a fixed set of clips (eval/diagnostics.h) */
    struct {
        int every;    /* steps; 0: none */
        int videos;   /* clips of the set */
        char *data;   /* folder, list or index that they come from; owned; NULL: of the run's own */
        int hold_out; /* videos of these that are not trained on; 0: those that are */
    } diagnostics;
    /* what is made of them (jepa/sentry.h); a threshold of 0 is none */
    struct {
        int action;                                  /* SentryAction */
        double std_min, rankme_min;                  /* least values */
        double std_share, rankme_share, lidar_share; /* least shares of the best so far */
        int patience;     /* evaluations in a row that are complained of before it acts */
        double lr_scale;  /* of the learning rate, with each rewind */
        int most_rewinds; /* then it stops instead */
    } sentry;
    struct {
        int exchange;   /* RanksExchange */
        double timeout; /* seconds that one may wait for another; 0: for ever */
    } ranks;

    char *ignored;   /* "a, b": keys given that mean nothing here; owned; NULL: none */
    char *not_built; /* "model.use_rope: true; ...": features asked for that are not there; owned */
} Recipe;

void recipe_default(Recipe *recipe); /* the published V-JEPA 1 values of ViT-L/16 */
void recipe_free(Recipe *recipe);

/* Changes what the document says; everything else stays. */
int recipe_apply(Recipe *recipe, const YamlNode *root, const char *name, Error *error);
int recipe_load(Recipe *recipe, const char *path, Error *error);
int recipe_parse(Recipe *recipe, const char *text, const char *name, Error *error);
/* "section.key=value", value in YAML: --set */
int recipe_set(Recipe *recipe, const char *assignment, Error *error);

/* Everything resolved, as YAML that recipe_load reads back to the same recipe. Caller frees. */
char *recipe_text(const Recipe *recipe);

/* Do the numbers make sense together? Also refuses `not_built`. */
int recipe_check(const Recipe *recipe, Error *error);
/* Only what recipe_sampler needs: those of the data section, and what is held out. */
int recipe_check_data(const Recipe *recipe, Error *error);

/* The parts as the other floors want them; recipe_check must have passed. */
ModelConfig recipe_model(const Recipe *recipe);
ClipSpec recipe_clip(const Recipe *recipe);
SamplerSettings recipe_sampler(const Recipe *recipe);
MaskRecipe recipe_mask(const Recipe *recipe);
/* Distinct clip lengths in frames, in the order of data.dataset_fpcs; at least one. Returns how
 * many; lengths[RECIPE_SOURCES_MAX]. */
int recipe_lengths(int *lengths, const Recipe *recipe);
double recipe_clip_grad(const Recipe *recipe); /* 0: none */
/* What its networks want to be computed in: bfloat16 for float16 too, whose range would need the
 * loss to be scaled. */
Precision recipe_precision(const Recipe *recipe);
/* The target encoder's linear layers in FP8, where the device has it. */
bool recipe_target_fp8(const Recipe *recipe);
/* Rotary positions: asked for, or said by the model's name ("vit_large_rope"). */
bool recipe_rotary(const Recipe *recipe);
/* The teacher's checkpoint of `target: frozen:CHECKPOINT`; NULL: none. Inside recipe->target. */
const char *recipe_teacher(const Recipe *recipe);
/* λ of the context loss at a step: 0 up to lambda_start, linear to its value at lambda_end. */
double recipe_lambda(const Recipe *recipe, int64_t step, bool picture);

/* Pictures beside videos: groups of them in a step (0: none), slots of a group, and their parts. */
int recipe_image_groups(const Recipe *recipe);
ClipSpec recipe_image_clip(const Recipe *recipe);
SamplerSettings recipe_image_sampler(const Recipe *recipe);
MaskRecipe recipe_image_mask(const Recipe *recipe);
ModelConfig recipe_image_model(const Recipe *recipe);
/* `units`: what an epoch goes through, see video/sampler.h */
Schedule recipe_schedule(const Recipe *recipe, int64_t units);
int recipe_groups(const Recipe *recipe); /* groups in a step: nodes x tasks_per_node */
int recipe_slots(const Recipe *recipe);  /* clips in a group: batch_size x num_clips */
/* Clips in a micro-batch; of pictures, whose groups have a size of their own, the most that divide
 * theirs and are no more than optimization.micro_batch. */
int recipe_micro_batch(const Recipe *recipe);
int recipe_image_micro_batch(const Recipe *recipe);

#endif
