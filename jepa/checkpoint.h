/* Checkpoints: they appear whole or not at all, and hold everything.
 *
 *   RUN/step-N/checkpoint.msgpack     {hash, header}: a MessagePack record of step,
 *                                     recipe, index hash, health (jepa/sentry.h), and the
 *                                     BLAKE2b-256 of every tensor; hash is over it
 *   RUN/step-N/model.safetensors      encoder.*, predictor.*, target_encoder.*   published names
 *   RUN/step-N/optimizer.safetensors  exp_avg.*, exp_avg_sq.*; an imported checkpoint has none
 *   RUN/best/                         the best one by checkpoint.keep_best: the same files as a
 *                                     step-N had, which may be gone since
 *
 * Written into RUN/step-N.partial, flushed to the disk, renamed; only then are older ones removed,
 * by renaming them to .partial first. There are no clocks, paths or thread counts in them: equal
 * training gives equal bytes. Every hash is verified on loading. */
#ifndef JEPA_JEPA_CHECKPOINT_H
#define JEPA_JEPA_CHECKPOINT_H

#include "base/hash.h"
#include "base/safetensors.h"
#include "jepa/model.h"
#include "jepa/sentry.h"

/* A tensor that belongs to a run's state but to no network. */
typedef struct ExtraTensor {
    const char *name;
    float *values; /* device memory */
    int64_t count;
} ExtraTensor;
#define EXTRA_TENSORS_MAX 2

typedef struct Checkpoint {
    char *folder;        /* RUN/step-N */
    int64_t step;        /* steps done */
    int64_t updates;     /* of the optimiser, those before a cooldown included */
    char *source;        /* what an imported one was made from; NULL: trained here */
    bool moments;        /* are there an optimiser's moments? */
    int64_t replaced;    /* slots whose clip had to be re-drawn so far */
    Precision precision; /* that its passes were computed in */
    Health health;       /* what the sentry remembered, branch and learning rate's scale */
    char *recipe;        /* resolved YAML */
    Hash index;          /* of the frozen index */
    Hash hash;           /* of the header, and so of everything */
    size_t tensors;
    struct CheckpointTensor {
        char *name;
        Hash hash;
    } * tensor; /* [tensors] */
} Checkpoint;

/* What a run hands over; `recipe` and hash as above. `keep` newest ones stay. */
typedef struct CheckpointState {
    const Model *model;
    int64_t step, updates, replaced;
    const char *recipe;
    Hash index;
    const char *source; /* NULL: trained here */
    bool bare;          /* the networks alone: an import has no moments */
    /* Flat buffers in host memory where the model has no whole ones (several ranks); NULL: its own
     */
    float *weights, *target, *first_moment, *second_moment;
    ExtraTensor extra[EXTRA_TENSORS_MAX];
    int extra_count;
    const Health *health; /* NULL: as health_start */
    bool spares;          /* the newest checkpoint of at most `spared` steps stays as well */
    int64_t spared;
} CheckpointState;
int checkpoint_save(const char *run, const CheckpointState *state, int keep, Error *error);

/* Steps of the checkpoints in RUN, ascending; caller frees. 0 with *count 0 when there are none. */
int checkpoint_list(int64_t **steps, size_t *count, const char *run, Error *error);
/* Removes what an interrupted run left under a .partial name; brings RUN/best back if that was it.
 */
int checkpoint_clean(const char *run, Error *error);
int checkpoint_remove(const char *run, int64_t step, Error *error);

/* RUN/step-N becomes RUN/best, by hard links (or copies, where there are none), whole or not at
 * all.
 */
#define CHECKPOINT_BEST "best"
int checkpoint_keep_best(const char *run, int64_t step, Error *error);

/* Reads the header of `path`: a step-N folder, or a RUN, whose newest is taken. */
int checkpoint_open(Checkpoint *checkpoint, const char *path, Error *error);
void checkpoint_close(Checkpoint *checkpoint);

/* Are both tensor files whole? Every hash is verified; nothing is kept. */
int checkpoint_verify(const Checkpoint *checkpoint, Error *error);

/* Maps the networks' file, every hash verified: for reading tensors without a model. The caller
 * closes it. */
int checkpoint_networks(Safetensors *file, const Checkpoint *checkpoint, Error *error);

/* Fills weights and target, and the moments of a training model; verifies every hash. The plan of
 * the model must be that of the checkpoint's recipe. */
int checkpoint_load(Model *model, const Checkpoint *checkpoint, Error *error);
/* The extra tensors that were saved with it. */
int checkpoint_load_extra(ExtraTensor *extra, int count, const Model *model,
                          const Checkpoint *checkpoint, Error *error);

typedef struct CheckpointLoaded {
    int wanted, found;      /* tensors of the networks */
    char first_missing[96]; /* "": none */
} CheckpointLoaded;
/* The networks alone, as far as names and shapes agree; the rest stays as it is. The target is
 * loaded where its own tensors are there, else it is the encoder. An error when not one fits. */
int checkpoint_load_some(CheckpointLoaded *loaded, Model *model, const Checkpoint *checkpoint,
                         Error *error);
/* The target encoder from the checkpoint's target encoder (its encoder, if it has no other). */
int checkpoint_load_teacher(Model *model, const Checkpoint *checkpoint, Error *error);

#endif
