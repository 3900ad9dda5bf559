/* Reference values of a network: what a folder holds, and its batches ready for a model.
 *
 * The folder: config.json, and weights, batches, forward_backward and trajectory (.safetensors).
 * Keys of config.json beyond the published recipes' own: tests/jepa/reference/README.md. Letters as
 * in jepa/model.h. */
#ifndef JEPA_EXPERIMENTS_CHECK_REFERENCE_H
#define JEPA_EXPERIMENTS_CHECK_REFERENCE_H

#include "base/safetensors.h"
#include "experiments/certificate.h"
#include "jepa/model.h"
#include "jepa/schedule.h"

/* The table of what was compared. */
typedef struct CheckTable {
    Certificate *certificate; /* or NULL */
    int rows, failed;
} CheckTable;

void check_title(void);
void check_row(CheckTable *table, const char *stage, double error, double limit);
/* max |ours - theirs| / max |theirs| over [count]; elements from .. to - 1 are left out. */
double check_error(const float *ours, const float *theirs, int64_t count, int64_t from, int64_t to);

/* An attentive probe's reference: config.json and probe.safetensors. `weights` NULL: its own, else
 * a probe's folder or a file that jepa import reads; times 1 ± perturb. */
int check_probe(CheckTable *table, const char *folder, const char *weights, double perturb,
                Device *device, Error *error);

typedef struct Reference {
    char *folder;
    Safetensors weights, batches, passes, trajectory;
    ModelConfig config;
    Schedule schedule;
    int samples, batch_count, settings, contexts; /* B, batches, M, E */
    int frames[MASK_LENGTHS_MAX], lengths;        /* frames of clips of each length; most first */
    double loss_exp, lambda, reg_coeff, clip_grad;
    double limit_loss, limit_final; /* > 0: the run's own limits, where they are the smaller ones */
    bool picture; /* there is a batch of pictures too, compared by losses and gradients */
} Reference;

/* Opens the tensors and reads config.json; -1 with an error. reference->folder is given. */
int reference_open(Reference *reference, Error *error);
void reference_close(Reference *reference); /* not the folder */
bool reference_has(const Safetensors *file, const char *name);
/* The config of single pictures beside the clips'. */
ModelConfig reference_picture_config(const Reference *reference);

/* Clips of one length stand together: samples first .. first+count-1 of a batch. */
typedef struct ReferencePart {
    char prefix[24]; /* of the names of its tensors, "length1."; "" where all have one length */
    int first, count, frames;
} ReferencePart;

typedef struct ReferenceBatch {
    const Model *model; /* whose grid and settings it is made for */
    int samples, parts;
    ReferencePart part[MASK_LENGTHS_MAX];
    float *clips;         /* [B][3][frames][height][width]; of shorter clips the start */
    int *frames, *length; /* [B] frames and number of the length of each sample */
    MaskGroup masks;
    LossWeights weights;
    double share[MASK_LENGTHS_MAX][MASK_SETTINGS_MAX]; /* of weights.length */
} ReferenceBatch;

void reference_batch_new(ReferenceBatch *batch, const Model *model, const Reference *reference);
void reference_batch_free(ReferenceBatch *batch);
/* Reads NAME.clips and NAME.masks_enc.I, NAME.masks_pred.I ("batch0", "picture"), or with several
 * lengths NAME.lengthL.clips ..; fills the weights of the loss: the mean over lengths and settings
 * of the mean over elements, and λ times the same over context tokens. */
int reference_batch_read(ReferenceBatch *batch, const Reference *reference, const char *name,
                         Error *error);

#endif
