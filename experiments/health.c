/* The health of a run, for a person. See experiments/health.h. */
#include "experiments/health.h"
#include "base/file.h"
#include "eval/curves.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The last row's number, NaN where it is empty. */
static double last_of(const CurvesLog *log, DiagnosisValue value) {
    const double *column = curves_log_column(log, diagnosis_name(value));
    return column && log->rows ? column[log->rows - 1] : NAN;
}

/* "name 1.23", if it was measured */
static void put(const char *format, double value) {
    if (!isnan(value))
        printf(format, value);
}

static void print_diagnosis(const CurvesLog *log, const Recipe *recipe) {
    const double *step = curves_log_column(log, "step");
    double knn = last_of(log, DIAGNOSIS_KNN);
    printf("diagnosis        step %.0f, %.0f clips of %s\n", step[log->rows - 1],
           last_of(log, DIAGNOSIS_CLIPS),
           recipe->diagnostics.data       ? recipe->diagnostics.data
           : recipe->diagnostics.hold_out ? "videos that are held out"
                                          : "the training videos");
    put("  std            context %.3f", last_of(log, DIAGNOSIS_CONTEXT_STD));
    put(", target %.3f", last_of(log, DIAGNOSIS_TARGET_STD));
    put(", predictor %.3f", last_of(log, DIAGNOSIS_PREDICTOR_STD));
    put("; RankMe context %.1f", last_of(log, DIAGNOSIS_CONTEXT_RANKME));
    put(", target %.1f", last_of(log, DIAGNOSIS_TARGET_RANKME));
    put(", predictor %.1f", last_of(log, DIAGNOSIS_PREDICTOR_RANKME));
    put("\n  LiDAR          %.1f", last_of(log, DIAGNOSIS_LIDAR));
    put("; alpha context %.2f", last_of(log, DIAGNOSIS_CONTEXT_ALPHA));
    put(", target %.2f", last_of(log, DIAGNOSIS_TARGET_ALPHA));
    put("; SIGReg context %.1f", last_of(log, DIAGNOSIS_CONTEXT_SIGREG));
    put(", target %.1f", last_of(log, DIAGNOSIS_TARGET_SIGREG));
    put("\n  skill          %.3f over the better of mean and nearest token",
        last_of(log, DIAGNOSIS_SKILL));
    put("\n  drift          weights %.4f", last_of(log, DIAGNOSIS_DRIFT_WEIGHTS));
    put(", features' cosine %.3f", last_of(log, DIAGNOSIS_DRIFT_COSINE));
    put("\n  neighbours     %.1f %%", 100 * knn);
    put(" (majority class %.1f %%)", 100 * last_of(log, DIAGNOSIS_MAJORITY));
    putchar('\n');
}

/* Rewinds and the best checkpoint, as they lie in the folder. */
static int print_history(const char *folder, const Recipe *recipe, Error *error) {
    Rewinds rewinds;
    if (rewinds_load(&rewinds, folder, error))
        return -1;
    if (rewinds.count)
        printf("rewinds          %d, the last to step %" PRId64
               ", learning rate times %g   (%s/" REWINDS_NAME ")\n",
               rewinds.count, rewinds.rewind[rewinds.count - 1].to,
               rewinds.rewind[rewinds.count - 1].lr_scale, folder);
    char *path = path_join(folder, CHECKPOINT_BEST);
    Checkpoint best;
    if (recipe->checkpoint.keep_best && folder_exists(path) &&
        !checkpoint_open(&best, path, error)) {
        printf("best             step %" PRId64 ", by %s: %.4g   (%s)\n", best.step,
               keep_best_name(best.health.best_by), best.health.best, path);
        checkpoint_close(&best);
    }
    free(path);
    return error->code ? -1 : 0;
}

int health_summary(const char *folder, const Recipe *recipe, const TrainerResult *result,
                   Error *error) {
    char *csv = path_join(folder, "diagnostics.csv"), *png = path_join(folder, "diagnostics.png");
    CurvesLog log = {0};
    int status = file_exists(csv) ? curves_log_read(&log, csv, error) : 0;
    if (!status && log.rows) {
        double all = result->seconds + result->diagnosing;
        print_diagnosis(&log, recipe);
        if (result->diagnosed)
            printf("  cost           %.2f s each, %" PRId64 " of them: %.1f %% of the time\n",
                   result->diagnosing / (double)result->diagnosed, result->diagnosed,
                   100 * result->diagnosing / fmax(all, 1e-9));
        char *title = memory_text("%s", path_name(folder));
        status = curves_write_diagnostics(png, csv, title, error);
        free(title);
        if (!status)
            printf("  picture        %s\n", png);
    }
    if (!status)
        status = print_history(folder, recipe, error);
    curves_log_free(&log);
    free(csv);
    free(png);
    return status;
}
