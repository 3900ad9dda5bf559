/* What a training step works on, and the seam between the trainer and the objectives.
 *
 * The trainer (jepa/trainer.c) owns steps, checkpoints, logs and signals. What is learnt from the
 * clips of a step is an objective's: it plans its memory, and in each step fills the gradients of
 * the weights and the scalars of the loss. A further objective is one more ObjectiveSteps.
 *
 * Clips come in streams: videos, and with V-JEPA 2.1 pictures beside them. A stream has its own
 * sampler, masks and activations; the weights are those of the first. Letters as in jepa/model.h;
 * a step takes `groups` groups of B slots from each stream. A group is masked as a whole; it is
 * read and goes through the networks in micro-batches of n slots (the parts of a stream), for which
 * memory is planned. Of W ranks each has a contiguous range of the step's micro-batches, and so of
 * each stream's parts and slots, which may begin inside a group (jepa/ranks.h). */
#ifndef JEPA_JEPA_TRAINING_H
#define JEPA_JEPA_TRAINING_H

#include "jepa/model.h"
#include "jepa/ranks.h"
#include "jepa/trainer.h"
#include "jepa/trainer_plan.h"
#include "video/loader.h"
#include <stdio.h>

typedef struct Stream {
    const char *name; /* "videos", "pictures" */
    const VideoIndex *index;
    ClipSpec clip;
    MaskRecipe mask_recipe;
    MaskGroup *masks;       /* [groups] */
    MaskGroup part;         /* those of a micro-batch */
    MaskCapacity *capacity; /* [capacities] tokens to plan for, by micro-batch; or NULL */
    int capacities;
    ModelPlan plan;
    Sampler sampler;
    Loader *loader;
    Model model;
    int groups, samples, micro; /* groups in a step, slots in a group, in a micro-batch */
    int first_group;            /* groups of earlier streams */
    int first_part, parts;      /* this rank's: part p is slots p n .. (p+1) n - 1 */
    bool picture;
    const Rewinds *rewinds; /* of the run */
    uint8_t *mirror;        /* [n] of the current part */
    /* [2][groups · samples] of the current step and the one before, for messages; this rank's */
    ClipDraw *draws;
    /* of all slots of the current step, [groups · samples], where clips differ in length */
    int *frames, *steps, *length;        /* frames, time steps, number of the length */
    double (*shares)[MASK_SETTINGS_MAX]; /* [lengths] for LossWeights.length */
} Stream;

#define STREAMS_MAX 2

typedef struct ObjectiveSteps ObjectiveSteps;

typedef struct Training {
    const TrainerConfig *config;
    const Recipe *recipe;
    Run *run;
    FrameCache *cache;
    VideoHardware *hardware; /* or NULL: clips are decoded on the CPU */
    Schedule schedule;
    Stream stream[STREAMS_MAX];
    int streams;
    int lengths[RECIPE_SOURCES_MAX], length_count; /* clip lengths in frames */
    Shard shard;
    Exchange *exchange;
    int units, leaves; /* U, L of a step */
    int first_leaf, own_leaves;
    FILE *notes; /* rows for quarantine.csv: the file, or to be sent to rank 0 */
    bool agreed; /* all ranks know that all have the clips of the step at work */
    int64_t step, total;
    int64_t updates;     /* of the optimiser, those of a run that is gone on from included */
    bool starved;        /* the loader could not go on */
    Reduction reduction; /* of the step's gradients */
    RanksSum sum;        /* the same among ranks */
    DiagnosticsMemory diagnostics; /* measured once */
    bool diagnostics_measured;
    const ObjectiveSteps *objective;
    void *own; /* the objective's */
} Training;

struct ObjectiveSteps {
    const char *name;
    bool backwards; /* micro-batches are computed last slots first, else last stream first */
    /* The plans of the streams' models (config, samples and the rest are filled in already). */
    void (*plan)(ModelPlan *plan, const Training *training, Stream *stream);
    /* Memory of its own in bytes, from the streams' plans; what it is called. */
    size_t (*memory)(const Training *training);
    const char *memory_name;
    /* Tokens and operations of a step, on average, into the plan. */
    void (*count)(TrainerPlan *plan, const Training *training);
    /* After the models are made. */
    int (*prepare)(Training *training, Error *error);
    /* One step: gradients and scalars of stream[0].model, from the clips of every stream. Each of
     * this rank's micro-batches is between training_begin_unit and reduce_next. When the rank has
     * all its clips, and before it exchanges anything: training_agree. */
    int (*step)(Training *training, StepReport *report, Error *error);
    int (*extras)(ExtraTensor extras[EXTRA_TENSORS_MAX], const Training *training);
    void (*release)(Training *training);
};

extern const ObjectiveSteps objective_jepa, objective_sigreg;

/* The clips of a stream's part, the next one of this rank, checked: every slot has one, draws and
 * mirror are filled. NULL with an error otherwise. Valid until the next call for that stream. */
const LoaderBatch *stream_next(Training *training, Stream *stream, int part, StepReport *report,
                               Error *error);
/* The draws of a step's slots, this one or the one before. */
static inline ClipDraw *stream_draws(const Stream *s, int64_t step) {
    return s->draws + step % 2 * s->groups * s->samples;
}
/* Draws a slot of a step, under the step's own branch. */
void stream_draw(const Stream *stream, ClipDraw *draw, int64_t step, uint64_t slot, int attempt);
/* The seed of all other random choices of the step at work. */
static inline uint64_t training_seed(const Training *t) {
    return rewinds_seed(&t->run->rewinds, (uint64_t)t->recipe->meta.seed, t->step);
}
/* Where the micro-batch at work adds gradients and losses, in every model. */
void training_begin_unit(Training *training);
/* Who hears of final gradients in the last backward pass of the micro-batch at work: NULL, or with
 * the last one of several ranks their exchange. */
const GradientsFinal *training_final(Training *training);
/* Has any rank failed? Then -1 and its error on all of them. */
int training_agree(Training *training, int status, Error *error);
/* All clips of a step, of all ranks. */
int training_slots(const Training *training);

/* Planning (jepa/trainer_plan.c). Sizes of the streams from the recipe, before they are opened, and
 * this rank's share. ERROR_USAGE for a number of ranks that cannot have equal ones. */
int training_start(Training *training, Error *error);
void training_forget(Training *training); /* frees what planning took */
/* Fills stream[].plan, and the plan but for steps, tokens and operations. */
void training_measure(TrainerPlan *plan, Training *training);
/* An error that says what would fit. */
int training_fits(const TrainerPlan *plan, const Training *training, Error *error);
LoaderConfig stream_loader(const Training *training, const Stream *stream); /* without its source */

#endif
