/* The trainer: steps, checkpoints, logs, signals. What is measured besides the loss comes through a
 * hook, so that this floor knows nothing of probes or pictures. */
#ifndef JEPA_JEPA_TRAINER_H
#define JEPA_JEPA_TRAINER_H

#include "jepa/diagnosis.h"
#include "jepa/run.h"

/* Measures of the representation; NaN: not measured at this step. */
typedef struct Measures {
    double context_std, target_std, predictor_std;          /* mean over dimensions of the std */
    double context_rankme, target_rankme, predictor_rankme; /* effective rank */
    double cosine; /* of prediction and target, both as they enter the loss, mean over tokens */
    double skill;  /* 1 - loss / loss of the best constant prediction (the mean target) */
} Measures;

typedef struct StepReport {
    int64_t step, epoch, itr; /* 0-based step of the run, epoch and step within it */
    double loss, loss_jepa, reg_loss;
    double loss_context;                 /* of the context tokens (V-JEPA 2.1), λ included */
    double invariance, sigreg;           /* of the teacher-free objective, before λ */
    double encoder_norm, predictor_norm; /* gradient norms before clipping */
    double lr, weight_decay, momentum;
    double compute_ms, wall_ms, wait_ms; /* arithmetic, whole step, waiting for clips; the first is
                                            the difference where the device is not the host */
    double clips_per_second;
    int64_t context_tokens, target_tokens;
    int replaced;       /* slots of this step whose clip was re-drawn */
    int mask_redraws;   /* groups whose masks exceeded the planned memory */
    double decode_rate; /* clips that one second of a worker decodes; seconds while it is summed */
    double ring;        /* whole micro-batches that waited in the ring, mean over the step's */
    bool measure;       /* a step at which `measures` are wanted */
    Measures measures;
    const Model *model; /* the last micro-batch's activations are still there */
} StepReport;

typedef enum TrainDecision { TRAIN_CONTINUE, TRAIN_STOP } TrainDecision;

/* Bytes for the plan. */
typedef struct DiagnosticsMemory {
    size_t device, host; /* the device's memory, and this machine's own */
    size_t scratch;      /* of the device, shared with the steps */
} DiagnosticsMemory;

/* What diagnostics are made of. All of it outlives them. */
typedef struct DiagnosticsStart {
    const Recipe *recipe;
    const Run *run;
    Device *device;
    Exchange *exchange;
    Model *model; /* that is trained; its weights are read, nothing of it is changed */
    int threads;  /* that decode */
} DiagnosticsStart;

/* Diagnostics of the model on clips of their own (eval/diagnostics.h), after every
 * diagnostics.every steps, before the first and after the last one. All ranks call them together
 * and get the same numbers. They change nothing that a step computes. */
typedef struct TrainerDiagnostics {
    void *context;
    void (*memory)(DiagnosticsMemory *memory, const Recipe *recipe, Device *device, int ranks);
    int (*open)(void *context, const DiagnosticsStart *start, Error *error);
    int (*run)(Diagnosis *diagnosis, void *context, Error *error);
    void (*close)(void *context); /* also after a failed open */
} TrainerDiagnostics;

typedef struct TrainerHooks TrainerHooks;
struct TrainerHooks {
    void *context;
    /* Called after every step, before its row is logged, on the rank that had the step's last
     * micro-batch. Where the device is not the host the losses are in the report only if it asks
     * for measures. */
    TrainDecision (*observe)(void *context, StepReport *report);
    /* Called after a row of log.csv was written, by the rank that writes it. NULL: nobody. */
    void (*logged)(void *context);
    TrainerDiagnostics diagnostics; /* all NULL: none */
};

typedef struct TrainerConfig {
    const Recipe *recipe; /* checked */
    Run *run;
    Device *device;
    int loader_threads; /* 0: chosen from recipe and machine */
    Exchange *exchange; /* with the other ranks; to plan alone: NULL */
    int ranks;          /* to plan for, without an exchange; 0: one */
    TrainerHooks hooks;
} TrainerConfig;

typedef struct TrainerResult {
    int64_t steps, total;   /* done, and of the whole run */
    int64_t replaced;       /* slots re-drawn over the whole run */
    int signal;             /* the signal that stopped it, 0: none */
    double seconds, waited; /* of the steps of this process, and of these waiting for clips */
    int64_t diagnosed;      /* times in this process */
    double diagnosing;      /* seconds of that */
    char sentry[200];       /* why the sentry stopped it; "": it did not */
} TrainerResult;

/* Trains from where the run stands to its end, goes back where the sentry says so, or until SIGINT,
 * SIGTERM or SIGUSR1, after which a checkpoint is written; all ranks after the same step. Prints
 * the memory plan first. A loss that is not finite is an error that names step, slots and files;
 * the last checkpoint stays. */
int trainer_run(TrainerResult *result, const TrainerConfig *config, Error *error);

#endif
