/* What a run will be and take, before anything of it is taken: sizes of a step, memory by kind,
 * floating-point operations; and what other micro-batches would take. The trainer plans by the same
 * code. */
#ifndef JEPA_JEPA_TRAINER_PLAN_H
#define JEPA_JEPA_TRAINER_PLAN_H

#include "jepa/arena.h"
#include "jepa/flops.h"
#include "jepa/recipe.h"

typedef struct TrainerPlan {
    int64_t parameters;             /* of the networks that are trained */
    int clips, pictures;            /* in a step */
    int micro_batch, picture_batch; /* clips, pictures of a micro-batch */
    int units, leaves, sums;        /* micro-batches of a step, leaves of their sum, its buffers */
    int ranks;                      /* sizes are those of one of them */
    int64_t steps;                  /* 0: it takes the videos to know (optimization.ipe: 0) */
    int64_t context, target;        /* most tokens of a micro-batch of clips */
    double step_context, step_target; /* tokens of a step, on average */
    StepFlops flops;                  /* of a step, on average */
    /* bytes */
    size_t by_kind[MEMORY_KINDS], scratch; /* of the device */
    size_t ring, cache;                    /* clips ahead, decoded frames */
    size_t
        checkpoint; /* host copies while one is written: with a GPU, of rank 0 of several ranks */
    size_t diagnostics; /* device and host */
    size_t own;         /* the objective's: own_name */
    const char *own_name;
    size_t total;
    size_t device; /* of it in the device's memory; the rest in the host's. A host device: all */
} TrainerPlan;

typedef struct TrainerHooks TrainerHooks;

/* Rank 0 of `ranks`; of the hooks (or NULL) what memory they take. The recipe must have passed
 * recipe_check. ERROR_USAGE for a number of ranks that does not fit it. */
int trainer_plan(TrainerPlan *plan, const Recipe *recipe, Device *device, int loader_threads,
                 int ranks, const TrainerHooks *hooks, Error *error);

/* What the run takes with this micro-batch. */
typedef struct TrainerChoice {
    int micro_batch;
    size_t bytes; /* of the device's memory (TrainerPlan.device) */
} TrainerChoice;
#define TRAINER_CHOICES_MAX 64

/* For every micro-batch that divides a group and that the ranks can share out, the largest first;
 * returns how many. */
int trainer_choices(TrainerChoice choices[TRAINER_CHOICES_MAX], const Recipe *recipe,
                    Device *device, int loader_threads, int ranks, const TrainerHooks *hooks);

/* "weights 1.0, gradients 2.0, ..., clips ahead 3.0", in MiB */
void trainer_plan_kinds(char *text, size_t room, const TrainerPlan *plan);

#endif
