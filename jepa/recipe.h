/* The recipe: everything that decides a training run, as YAML with the published keys.
 *
 * Reads the configuration files of V-JEPA 1 and V-JEPA 2 (facebookresearch/jepa and vjepa2,
 * configs/pretrain and configs/train). A key that is unknown is an error that names the nearest
 * known one; a key without meaning here is collected in `ignored`; a published feature that is not
 * built is refused by recipe_check. Our own keys: mask as a map {batch, settings}, checkpoint,
 * model.embed_dim and its fellows, data.{sampling, spacing, short_videos, interpolation, hdr,
 * index_check, timeout, cache, cache_folder}, data_aug.color_jitter, logging.diagnostics_every. */
#ifndef JEPA_JEPA_RECIPE_H
#define JEPA_JEPA_RECIPE_H

#include "base/yaml.h"
#include "jepa/config.h"
#include "jepa/schedule.h"
#include "masking/mask.h"
#include "video/sampler.h"

#define RECIPE_SOURCES_MAX 64

typedef struct Recipe {
    /* top level: the machines of the published run; only their product counts here */
    int nodes, tasks_per_node;
    struct {
        char *datasets[RECIPE_SOURCES_MAX]; /* folders or lists; owned */
        int datasets_count;
        double weights[RECIPE_SOURCES_MAX]; /* of the data sets */
        int weights_count;                  /* 0: the data sets are joined */
        int fpcs[RECIPE_SOURCES_MAX];       /* frames of a clip by data set */
        int fpcs_count;                     /* 0: num_frames for all */
        int batch_size;                     /* videos in a group: one rank's batch */
        int num_clips;                      /* of each of these videos */
        int num_frames, tubelet_size, sampling_rate, crop_size, patch_size;
        double fps, clip_duration; /* 0: not used */
        int sampling;              /* SamplerMode */
        int spacing;               /* ClipSpacing */
        int short_videos;          /* ClipShort */
        int interpolation;         /* ClipInterpolation */
        int hdr;                   /* ClipHdr */
        int index_check;           /* VideoCheck */
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
    struct {
        double loss_exp, reg_coeff;
    } loss;
    struct {
        MaskBatch batch;
        int count;
        MaskSetting settings[MASK_SETTINGS_MAX];
        bool tubes; /* data.mask_type: random_tube */
    } mask;
    struct {
        int64_t seed;
        char *dtype; /* as written; owned; NULL: float32 */
    } meta;
    struct {
        char *model_name;                               /* owned; NULL: sizes are given */
        int embed_dim, depth, num_heads;                /* 0: from the name */
        double mlp_ratio;                               /* 0: from the name, or 4 */
        int pred_depth, pred_embed_dim, pred_num_heads; /* pred_num_heads 0: the encoder's */
        bool uniform_power, zero_init_mask_tokens, rescale_init;
        double init_std;
    } model;
    struct {
        int64_t ipe; /* steps in an epoch; 0: once through the videos */
        double ipe_scale, clip_grad, weight_decay, final_weight_decay, epochs, warmup;
        double start_lr, lr, final_lr, ema[2], betas[2], eps;
    } optimization;
    struct {
        int64_t every_steps;  /* 0: not by steps */
        double every_minutes; /* 0: not by time */
        int keep;             /* checkpoints kept */
    } checkpoint;
    struct {
        int diagnostics_every; /* steps */
    } logging;

    char *ignored;   /* "a, b": keys given that mean nothing here; owned; NULL: none */
    char *not_built; /* "model.use_rope: true; ...": features asked for that are not there; owned */
} Recipe;

void recipe_default(Recipe *recipe); /* the published V-JEPA 1 values of ViT-L/16 */
void recipe_free(Recipe *recipe);

/* Changes what the document says; everything else stays. */
int recipe_apply(Recipe *recipe, const YamlNode *root, const char *name, Error *error);
int recipe_load(Recipe *recipe, const char *path, Error *error);
/* "section.key=value", value in YAML: --set */
int recipe_set(Recipe *recipe, const char *assignment, Error *error);

/* Everything resolved, as YAML that recipe_load reads back to the same recipe. Caller frees. */
char *recipe_text(const Recipe *recipe);

/* Do the numbers make sense together? Also refuses `not_built`. */
int recipe_check(const Recipe *recipe, Error *error);
/* Only those of the data section: all that recipe_sampler needs. */
int recipe_check_data(const Recipe *recipe, Error *error);

/* The parts as the other floors want them; recipe_check must have passed. */
ModelConfig recipe_model(const Recipe *recipe);
ClipSpec recipe_clip(const Recipe *recipe);
SamplerSettings recipe_sampler(const Recipe *recipe);
MaskRecipe recipe_mask(const Recipe *recipe);
/* `units`: what an epoch goes through, see video/sampler.h */
Schedule recipe_schedule(const Recipe *recipe, int64_t units);
int recipe_groups(const Recipe *recipe); /* groups in a step: nodes x tasks_per_node */
int recipe_slots(const Recipe *recipe);  /* clips in a group: batch_size x num_clips */

#endif
