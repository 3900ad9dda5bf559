/* Checkpoints: they appear whole or not at all, and hold everything.
 *
 *   RUN/step-N/checkpoint.msgpack     {hash, header}: header is a MessagePack record of step,
 * recipe, index hash, and the BLAKE2b-256 of every tensor; hash is over it
 *   RUN/step-N/model.safetensors      encoder.*, predictor.*, target_encoder.*   published names
 *   RUN/step-N/optimizer.safetensors  exp_avg.*, exp_avg_sq.*
 *
 * Written into RUN/step-N.partial, flushed to the disk, renamed; only then are older ones removed,
 * by renaming them to .partial first. There are no clocks, paths or thread counts in them: equal
 * training gives equal bytes. Every hash is verified on loading. */
#ifndef JEPA_JEPA_CHECKPOINT_H
#define JEPA_JEPA_CHECKPOINT_H

#include "base/hash.h"
#include "jepa/model.h"

typedef struct Checkpoint {
    char *folder;     /* RUN/step-N */
    int64_t step;     /* steps done */
    int64_t replaced; /* slots whose clip had to be re-drawn so far */
    char *recipe;     /* resolved YAML */
    Hash index;       /* of the frozen index */
    size_t tensors;
    struct CheckpointTensor {
        char *name;
        Hash hash;
    } * tensor; /* [tensors] */
} Checkpoint;

/* What a run hands over; `recipe` and hash as above. `keep` newest ones stay. */
typedef struct CheckpointState {
    const Model *model;
    int64_t step, replaced;
    const char *recipe;
    Hash index;
} CheckpointState;
int checkpoint_save(const char *run, const CheckpointState *state, int keep, Error *error);

/* Steps of the checkpoints in RUN, ascending; caller frees. 0 with *count 0 when there are none. */
int checkpoint_list(int64_t **steps, size_t *count, const char *run, Error *error);
/* Removes what an interrupted run left under a .partial name. */
int checkpoint_clean(const char *run, Error *error);

/* Reads the header of `path`: a step-N folder, or a RUN, whose newest is taken. */
int checkpoint_open(Checkpoint *checkpoint, const char *path, Error *error);
void checkpoint_close(Checkpoint *checkpoint);

/* Are both tensor files whole? Every hash is verified; nothing is kept. */
int checkpoint_verify(const Checkpoint *checkpoint, Error *error);

/* Fills weights and target, and the moments of a training model; verifies every hash. The plan of
 * the model must be that of the checkpoint's recipe. */
int checkpoint_load(Model *model, const Checkpoint *checkpoint, Error *error);

#endif
