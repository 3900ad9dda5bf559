/* The parts of the trainer (jepa/trainer.h): jepa/trainer_start.c begins, jepa/trainer_clips.c
 * reads clips, jepa/trainer.c goes from step to step, jepa/trainer_health.c diagnoses and goes
 * back, jepa/trainer_save.c writes checkpoints, jepa/trainer_log.c all else. Shared by these files
 * alone.
 */
#ifndef JEPA_JEPA_TRAINER_PARTS_H
#define JEPA_JEPA_TRAINER_PARTS_H

#include "jepa/training.h"

typedef struct Trainer {
    Training t;
    int64_t replaced, saved; /* saved: step of the newest checkpoint, -1: none */
    double saved_at;         /* seconds */
    double slots;            /* clips of a step */
    char *noted;             /* rows of t.notes that have not gone to rank 0 yet */
    size_t noted_bytes;
    /* A device that is not the host says a step later what came out: that step's report, complete
     * but for the scalars. */
    StepReport pending;
    double pending_started; /* seconds */
    bool late;              /* there is one */
    ModelScalars scalars;
    double arrived; /* seconds: when the last of them were there */
    int64_t broken; /* steps done with that whose loss was not finite; 0: there was none */
    /* diagnostics */
    Health health;     /* after the steps done */
    bool diagnostics;  /* they are open */
    int64_t diagnosed; /* times */
    double diagnosing; /* seconds of that */
    double started;    /* seconds: before the first step */
} Trainer;

/* Everything up to the first step; says the memory plan. */
int trainer_prepare(Trainer *trainer, Error *error);
/* Weights, moments and extras of a checkpoint of this run. */
int trainer_load(Training *training, const Checkpoint *checkpoint, Error *error);

/* Clips ahead, from the step at hand on. */
int trainer_open_loaders(Training *training, Error *error);
void trainer_close_loaders(Training *training);

/* Is the model to be diagnosed after the steps done? */
bool trainer_diagnoses(const Trainer *trainer);
/* Does it, writes the row, judges; *best: this is the best checkpoint so far. All ranks together.
 */
int trainer_diagnose(Trainer *trainer, SentryVerdict *verdict, bool *best, Error *error);
/* Goes back to the newest sound checkpoint, if there is one and the recipe allows one more rewind:
 * *back. `steps` were done when `reason` was seen. All ranks together. */
int trainer_go_back(Trainer *trainer, const char *reason, int64_t steps, bool *back, Error *error);

/* Writes a checkpoint of the steps done, unless there is one; all ranks together. */
int trainer_save(Trainer *trainer, Error *error);
/* Is one due after so many steps? Clocks differ: ranks agree. */
bool trainer_save_is_due(const Trainer *trainer, int64_t steps);

/* A row of log.csv. */
void write_row(const Training *t, const StepReport *report);
void read_scalars(StepReport *report, const ModelScalars *scalars);
/* Rows for quarantine.csv of clips that were re-drawn; the first is in this slot of the stream. */
void note_replaced(Training *t, const Stream *s, const LoaderBatch *batch, int slot);
/* Says once that a run waits for clips. */
void note_waiting(const Training *t, TrainerResult *result, const StepReport *report, int64_t steps,
                  bool *said);
/* Names step, slots and files of a loss that is not finite; all ranks together. */
int not_finite(const Trainer *trainer, const StepReport *report, Error *error);
/* Every rank's text one after the other, in the order of their slots: for rank 0, which frees it;
 * NULL for others. */
char *training_gather(const Training *t, const char *text);

#endif
