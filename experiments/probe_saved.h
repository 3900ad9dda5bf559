/* Trained probes in folders, whole or not at all:
 *
 *   OUT/linear/trained.json     what it says, and of which encoder's features: checkpoint and
 * recipe by hash, layers, views, how its setting was chosen OUT/linear/head/ eval/linear_weights.h
 *   OUT/attentive/...           the same with eval/probe_weights.h
 */
#ifndef JEPA_EXPERIMENTS_PROBE_SAVED_H
#define JEPA_EXPERIMENTS_PROBE_SAVED_H

#include "experiments/probe.h"

typedef struct ProbeSaved {
    char *folder, *kind; /* "linear", "attentive" */
    Task task;
    int outputs;
    char **names;   /* [K] */
    double *centre; /* [K] of an attentive regression's values: y = centre + spread · output */
    double *spread; /* [K] */
    Hash weights;   /* of the checkpoint, as in FrozenEncoder */
    Hash recipe;    /* of its resolved text as used */
    char *source;   /* for a person */
    char *network, *layers; /* layers "": the last one */
    char *selected_on, *setting;
    int64_t segments, crops, frame_step, random_init;
    double fps;
    TextList sets;
} ProbeSaved;

/* The study's linear probe into OUT/linear, in place of one that is there. */
int probe_saved_linear(const ProbeStudy *study, const LinearModel *model, Error *error);
/* The same of an attentive one; centre and spread [K], or NULL. */
int probe_saved_attentive(const ProbeStudy *study, const ProbeWeights *weights, const char *setting,
                          const double *centre, const double *spread, Error *error);

/* Removes what a study saved in OUT. */
int probe_saved_remove(const char *out, Error *error);

/* Errors: no such folder, a folder that holds several probes, damage. */
int probe_saved_open(ProbeSaved *saved, const char *folder, Error *error);
void probe_saved_close(ProbeSaved *saved);

/* jepa probe --apply */
int probe_apply(const ProbeArguments *arguments, Error *error);

#endif
