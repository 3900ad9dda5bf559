/* What a report shows of a run, read from its folder. Every piece may be missing or damaged: then
 * the others are shown all the same, and what is wrong is said in its place. Nothing is written,
 * and nothing is locked: a run may be training in the folder. */
#ifndef JEPA_EVAL_REPORT_RUN_H
#define JEPA_EVAL_REPORT_RUN_H

#include "base/hash.h"
#include "base/yaml.h"
#include "eval/curves.h"
#include "eval/panels.h"
#include "eval/table.h"
#include "video/census.h"

#define REPORT_ROWS        200 /* of a table of text that are shown */
#define REPORT_PROBES      32
#define REPORT_PICTURES    1000
#define REPORT_CHECKPOINTS 1000

typedef enum ReportState {
    REPORT_RUNNING,  /* a process of this machine trains in it */
    REPORT_PERHAPS,  /* its log has changed of late: perhaps one of another machine does */
    REPORT_FINISHED, /* every step is done */
    REPORT_STOPPED   /* none of these */
} ReportState;

typedef struct ReportCheckpoint {
    char *name;    /* "step-180"; "best": that of RUN/best, if there is one */
    char *problem; /* NULL: its header could be read */
    int64_t step, updates;
    const char *precision;
    char hash[HASH_TEXT]; /* of the header, which holds the hash of every tensor */
    bool other_recipe;    /* it was made with another recipe than RUN/recipe.yaml */
    bool other_index;     /* or with other videos */
} ReportCheckpoint;

typedef struct ReportProbe {
    char *name;    /* its folder within RUN: "probe" */
    char *problem; /* NULL: results.csv could be read */
    Table results;
    char **confusions; /* [confusions_count] paths of confusion.png and confusion-*.png */
    size_t confusions_count;
    char *manifest; /* text of manifest.json; NULL: there is none */
} ReportProbe;

typedef struct ReportPicture {
    char *folder, *name, *path; /* "pictures/step-180", "mask-0.png" */
    int64_t step;               /* last number of the folder's name after "step-"; -1: none */
    size_t bytes;
} ReportPicture;

typedef struct ReportRun {
    char *folder, *name;
    /* frozen when the run begins; read once */
    char *recipe_text, *recipe_problem;
    char recipe_hash[HASH_TEXT];
    YamlNode *recipe; /* NULL: no YAML */
    char *index_problem;
    bool has_index;
    char index_hash[HASH_TEXT];
    char **sources; /* [sources_count] */
    int sources_count, classes;
    VideoCensus census;
    int64_t total; /* steps of the whole run; 0: not known */
    /* what comes while it trains */
    CurvesLog log[PANEL_SOURCES];
    char *log_problem[PANEL_SOURCES];
    Table quarantine, rewinds, changes; /* no columns: not there */
    char *table_problem;                /* of one of these */
    ReportCheckpoint *checkpoints;      /* [checkpoints_count] best, then step-N, N ascending */
    ReportProbe *probes;                /* [probes_count] */
    ReportPicture *pictures;            /* [pictures_count] by folder, then name */
    size_t checkpoints_count, probes_count, pictures_count;
    ReportState state;
    int64_t steps;          /* done, by the log */
    double seconds, waited; /* of all logged steps; NaN: not logged */
} ReportRun;

/* Reads everything; on a run that was read before only what may have changed. Errors: `folder` is
 * no folder, or holds nothing of a run. Zero the struct before the first call; free with
 * report_run_free. */
int report_run_read(ReportRun *run, const char *folder, Error *error);
void report_run_free(ReportRun *run);

const double *report_column(const ReportRun *run, PanelSource source, const char *name);
/* The last finite value of a column of the log; NaN: there is none. */
double report_last(const ReportRun *run, const char *column);
/* Mean of the first or the last finite values of a column, at most `count` of them. */
double report_mean(const ReportRun *run, const char *column, size_t count, bool last);
/* Median of the last finite values of a column, at most 1,000 of them. */
double report_median(const ReportRun *run, const char *column);

#endif
