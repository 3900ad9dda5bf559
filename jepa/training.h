/* What a training step works on, and the seam between the trainer and the objectives.
 *
 * The trainer (jepa/trainer.c) owns steps, checkpoints, logs and signals. What is learnt from the
 * clips of a step is an objective's: it plans its memory, and in each step fills the gradients of
 * the weights and the scalars of the loss. A further objective is one more ObjectiveSteps.
 *
 * Clips come in streams: videos, and with V-JEPA 2.1 pictures beside them. A stream has its own
 * sampler, masks and activations; the weights are those of the first. Letters as in jepa/model.h;
 * a step takes `groups` groups of B slots from each stream. A group is read and masked as a whole
 * and goes through the networks in micro-batches of n slots, for which memory is planned. */
#ifndef JEPA_JEPA_TRAINING_H
#define JEPA_JEPA_TRAINING_H

#include "jepa/model.h"
#include "jepa/trainer.h"
#include "jepa/trainer_plan.h"
#include "video/loader.h"

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
    bool picture;
    uint8_t *mirror; /* [samples] of the current group */
    ClipDraw *draws; /* [groups · samples] of the current step, for messages */
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
    Schedule schedule;
    Stream stream[STREAMS_MAX];
    int streams;
    int lengths[RECIPE_SOURCES_MAX], length_count; /* clip lengths in frames */
    int64_t step, total;
    int64_t updates;     /* of the optimiser, those of a run that is gone on from included */
    bool starved;        /* the loader could not go on */
    Reduction reduction; /* of the step's gradients */
    const ObjectiveSteps *objective;
    void *own; /* the objective's */
} Training;

struct ObjectiveSteps {
    const char *name;
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
     * its training_units adds its gradients at reduce_place, then calls reduce_next. */
    int (*step)(Training *training, StepReport *report, Error *error);
    int (*extras)(ExtraTensor extras[EXTRA_TENSORS_MAX], const Training *training);
    void (*release)(Training *training);
};

extern const ObjectiveSteps objective_jepa, objective_sigreg;

/* The next group's clips of a stream, checked: every slot has one, draws and mirror are filled.
 * NULL with an error otherwise. Valid until the next call for that stream. */
const LoaderBatch *stream_next(Training *training, Stream *stream, int group, StepReport *report,
                               Error *error);
/* All clips of a step, and all micro-batches. */
int training_slots(const Training *training);
int training_units(const Training *training);

/* Planning (jepa/trainer_plan.c). Sizes of the streams from the recipe, before they are opened: */
void training_start(Training *training);
void training_forget(Training *training); /* frees what planning took */
/* Fills stream[].plan, and the plan but for steps, tokens and operations. */
void training_measure(TrainerPlan *plan, Training *training);
/* An error that says what would fit. */
int training_fits(const TrainerPlan *plan, const Training *training, Error *error);
LoaderConfig stream_loader(const Training *training, const Stream *stream); /* without its source */

#endif
