/* jepa probe: what its parts hand to one another.
 *
 *   probe.c            the order of things
 *   probe_options.c    the command line
 *   probe_study.c      which encoder, which videos, who trains and who tests
 *   probe_rows.c       pooled features of a source: the encoder, the same untrained, raw pixels
 *   probe_stores.c     features that are kept in stores
 *   probe_simple.c     kNN, linear probes, what says nothing (majority, prior, mean), low-shot
 *   probe_attentive.c  attentive probes
 *   probe_table.c      results on the terminal
 *   probe_files.c      results as files: CSV, JSON, confusion matrices, the manifest
 *   probe_saved.c      trained probes in folders; probe_apply.c labels other videos with them
 *
 * Letters: n videos, D width, K outputs (classes, labels, numbers). */
#ifndef JEPA_EXPERIMENTS_PROBE_H
#define JEPA_EXPERIMENTS_PROBE_H

#include "eval/attentive.h"
#include "eval/linear_model.h"
#include "eval/split.h"
#include "experiments/encoder.h"

#define PROBE_LIST_MAX 16 /* most entries of --k, --low-shot */

/* ---- the command line ---- */

typedef struct ProbeArguments {
    EncoderArguments encoder;
    const char *data, *val, *out, *regex, *probes, *task_name, *targets, *val_targets, *loss_name;
    const char *store, *k_list, *low_shot_list, *lr_list, *decay_list, *apply;
    int64_t segments, crops, seed, seeds, depth, batch, heads;
    double epochs;
    bool select_on_test, augment;
    int argc;
    char **argv; /* as given, for the manifest */
    /* what the texts say */
    bool knn, linear, attentive;
    Task task;
    LinearLoss loss; /* of linear probes */
    int k[PROBE_LIST_MAX], k_count;
    double low_shot[PROBE_LIST_MAX]; /* percent */
    int low_shot_count;
    double lr[ATTENTIVE_PROBES_MAX], decay[ATTENTIVE_PROBES_MAX];
    int lr_count, decay_count; /* 0: the published ones */
} ProbeArguments;

/* 0 to go on, 1 after --help, -1 with an error. The caller frees arguments->encoder.sets.items. */
int probe_options(ProbeArguments *arguments, int argc, char **argv, Error *error);

/* ---- what is studied ---- */

/* Where feature rows come from; each is a row of the table. */
typedef enum ProbeSource { SOURCE_ENCODER, SOURCE_RANDOM, SOURCE_PIXELS, SOURCES } ProbeSource;
extern const char *const probe_source_names[SOURCES];

/* The videos that train, or those that test, in the order of the index. */
typedef struct ProbeSide {
    const VideoIndex *index;
    int64_t count;   /* n */
    uint32_t *files; /* [n] of the index */
    Targets targets; /* of these n */
    int *fold;       /* [n] of training videos */
    int64_t *group;  /* [n] the first of these whose group it shares */
} ProbeSide;

typedef struct ProbeResult {
    const char *probe, *features; /* "linear", "this encoder"; static */
    char setting[64];             /* "lambda 0.1"; "": nothing to choose */
    const char *selected_on;      /* what the setting was chosen on; static */
    double score, low, high;      /* and its 95% interval */
    double *each;                 /* [K] by class, label or number; NaN where there is none */
    double *each_low, *each_high; /* [K] and their intervals */
    float *outputs;               /* [n][K] for the test videos */
} ProbeResult;

/* One candidate and what it came to where it was chosen from. */
typedef struct ProbeSetting {
    const char *probe, *features, *measured_on;
    char setting[64];
    double score;
} ProbeSetting;

typedef struct ProbeLowShot {
    const char *probe, *features;
    double percent;
    int64_t labels;         /* training videos used */
    double mean, low, high; /* over the draws */
} ProbeLowShot;

typedef struct ProbeStudy {
    const ProbeArguments *a;
    FrozenEncoder encoder;
    Hash weights;        /* of the encoder that is probed */
    char *source;        /* for a person, likewise; owned */
    VideoIndex index[2]; /* training and test videos; without --val only the first */
    int sets;
    Split split[2];
    Targets targets[2]; /* of every file of an index */
    FeatureViews views;
    ProbeSide train, test; /* empty until the first features are there */
    char *out;
    int threads;
    ProbeResult *results;
    int result_count;
    ProbeSetting *settings;
    int setting_count;
    ProbeLowShot *low_shot;
    int low_shot_count;
    struct { /* stores that were read or written */
        char *folder;
        Hash files, frames, checkpoint;
    } stores[4]; /* of two encoders and two data sets */
    int store_count;
} ProbeStudy;

/* Opens everything but the weights. Close it also after a failure. */
int probe_study_open(ProbeStudy *study, const ProbeArguments *arguments, Error *error);
void probe_study_close(ProbeStudy *study);
/* Fills train and test with the files of features[sets] that have features; removes from OUT what a
 * study before wrote there, and writes split.csv. Errors: none left. */
int probe_study_sides(ProbeStudy *study, const Features *features, Error *error);
/* Weights of a source into the model; nothing for pixels. */
int probe_study_load(ProbeStudy *study, ProbeSource source, Error *error);

/* ---- feature rows ---- */

typedef struct ProbeRows {
    int width;           /* D */
    float *train, *test; /* [n][D] of the sides */
} ProbeRows;

/* The pooled rows of a source, whose weights are loaded; the first call makes the sides. */
int probe_rows(ProbeRows *rows, ProbeStudy *study, ProbeSource source, Error *error);
void probe_rows_free(ProbeRows *rows);

/* ---- stores ---- */

/* Are features of this study kept in stores? */
bool probe_uses_stores(const ProbeStudy *study);
/* The store of a source, whose weights are loaded, and of an index: made where there is none,
 * verified, open. Tokens where attentive probes are asked for. The caller closes it. Errors: a
 * store of something else is there. */
int probe_store(Store *store, ProbeStudy *study, ProbeSource source, int set, Error *error);
/* The videos of a store that have features (.files); and also their pooled rows. */
int probe_store_files(Features *features, const Store *store, const VideoIndex *index,
                      Error *error);
int probe_store_rows(Features *features, const Store *store, const VideoIndex *index, Error *error);

/* ---- probes ---- */

/* A place for a result; score, interval and each are computed from outputs[n][K] of the test
 * videos, which it takes over. Valid until the next result. */
ProbeResult *probe_add(ProbeStudy *study, const char *probe, const char *features,
                       const char *selected_on, float *outputs);
void probe_add_setting(ProbeStudy *study, const ProbeSetting *setting);

void probe_knn(ProbeStudy *study, const ProbeRows *rows, ProbeSource source);
/* `kept` (or NULL) receives the model. */
void probe_linear(LinearModel *kept, ProbeStudy *study, const ProbeRows *rows, ProbeSource source);
void probe_low_shot(ProbeStudy *study, const ProbeRows *rows, ProbeSource source);
/* What knows nothing of the videos: the majority class, the labels' shares, the mean. */
void probe_trivial(ProbeStudy *study);
/* Can what was asked of attentive probes be done? Once the encoder is open. */
int probe_attentive_check(const ProbeStudy *study, Error *error);
/* All of the attentive part for a source; of the encoder the trained probe is saved. */
int probe_attentive(ProbeStudy *study, ProbeSource source, Error *error);

/* What a setting was chosen on, as it is said everywhere. */
#define SELECTED_FOLDS    "folds of the training set"
#define SELECTED_HELD_OUT "a held-out part of the training set"
#define SELECTED_TEST     "test set"
#define SELECTED_NOTHING  "nothing to select"

/* ---- results ---- */

const char *probe_metric(Task task); /* "top-1", "mAP", "R2" */
const char *probe_trivial_name(Task task);
void probe_print(const ProbeStudy *study);
/* results.csv, results.json, by_class.csv, settings.csv, predictions.csv, confusion matrices,
 * manifest.json in OUT; says where the pictures are. */
int probe_write(const ProbeStudy *study, Error *error);

#endif
