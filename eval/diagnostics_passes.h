/* One clip through the networks, for diagnostics: what is kept of it. Part of eval/diagnostics.c.
 */
#ifndef JEPA_EVAL_DIAGNOSTICS_PASSES_H
#define JEPA_EVAL_DIAGNOSTICS_PASSES_H

#include "eval/diagnostics.h"

/* Sizes of what is kept of a clip: T rows of each set, V views; widths Dc of the context encoder,
 * Dt of the target encoder. */
typedef struct RecordShape {
    int rows, views, context_width, target_width;
} RecordShape;

enum { RECORD_VALID, RECORD_CONTEXT, RECORD_TARGET, RECORD_PREDICTOR, RECORD_COUNTS };
enum {
    RECORD_ERROR,
    RECORD_ERROR_MEAN,
    RECORD_ERROR_NEAREST, /* sums over hidden tokens */
    RECORD_HIDDEN,
    RECORD_COSINE, /* sum over tokens */
    RECORD_TOKENS,
    RECORD_SUMS
};

/* A clip's numbers, in one run of bytes that ranks hand on. */
typedef struct ClipRecord {
    float *context, *target, *predictor; /* [T][Dc], [T][Dt], [T][Dt] */
    float *views;                        /* [V][Dc] */
    float *pooled;                       /* [Dt], or [Dc] without a target encoder */
    int32_t *counts;                     /* [RECORD_COUNTS] valid; rows of each set */
    double *sums;                        /* [RECORD_SUMS] */
} ClipRecord;

size_t record_bytes_of(const RecordShape *shape); /* a multiple of 8 */
ClipRecord record_at(void *bytes, const RecordShape *shape);

/* What a clip goes through. */
typedef struct Passes {
    Model model; /* beside the one that is trained */
    MaskRecipe masks;
    MaskGroup group;
    RecordShape shape;
    double drop_rate; /* sigreg */
    int length;       /* number of the clips' length among the recipe's, -1: there is one */
    uint64_t seed;
    ModelScalars *scalars; /* of its own: the device's losses are not read */
    /* host: [N][Dh], [max N, Rc][Do], [Rt][Dh] */
    float *target, *context, *predicted;
    float *of_mean, *of_nearest; /* [Rt] errors of the trivial predictors */
} Passes;

ModelPlan passes_plan(const Recipe *recipe, Device *device);
size_t passes_host_bytes(const ModelPlan *plan);
RecordShape passes_shape(const ModelPlan *plan, int clips);
/* A model beside `trained`, with device memory of its own. */
int passes_open(Passes *passes, const Recipe *recipe, Model *trained, int clips, Error *error);
void passes_close(Passes *passes);

/* Clip `number` of the set into the record. */
void passes_clip(ClipRecord *record, Passes *passes, const uint8_t *pixels, int number);

#endif
