/* Reading a run for its report. See eval/report_run.h; probes and pictures in report_files.c. */
#include "eval/report_run.h"
#include "base/file.h"
#include "eval/report_files.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RECIPE_MAX    ((size_t)1 << 20)
#define MEDIAN_OF     1000
#define FRESH_SECONDS 60 /* a log that changed within these may be of a run elsewhere */
#define FRESH_STEPS   20 /* or within the time of so many steps */

static const char *const logs[PANEL_SOURCES] = {"log.csv", "diagnostics.csv"};

static bool holds(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static char *kept_text(const Error *error) {
    return memory_text("%s", error->text);
}

/* ---- frozen ---- */

/* Steps of the whole run: of the recipe alone, or of recipe and videos. */
static int count_steps(ReportRun *run, const VideoIndex *index, Error *error) {
    Recipe recipe;
    recipe_default(&recipe);
    int result = recipe_parse(&recipe, run->recipe_text, "recipe.yaml", error);
    if (!result)
        result = recipe_check(&recipe, error);
    if (!result && (recipe.optimization.ipe || index)) {
        Sampler sampler = {0};
        SamplerSettings settings = recipe_sampler(&recipe);
        if (!recipe.optimization.ipe)
            result = sampler_new(&sampler, index, &settings, error);
        if (!result) {
            Schedule schedule = recipe_schedule(&recipe, (int64_t)sampler.units);
            run->total = schedule_steps(&schedule);
        }
        sampler_free(&sampler);
    }
    recipe_free(&recipe);
    return result;
}

static void read_recipe(ReportRun *run) {
    char *path = path_join(run->folder, "recipe.yaml");
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    if (!file_exists(path)) {
        run->recipe_problem = memory_text("recipe.yaml is not there");
    } else if (file_read(&bytes, &count, path, RECIPE_MAX, &error)) {
        run->recipe_problem = kept_text(&error);
    } else {
        Hash hash = hash_bytes(bytes, count);
        hash_text(run->recipe_hash, &hash);
        run->recipe_text = (char *)bytes;
        if (yaml_parse(&run->recipe, run->recipe_text, strlen(run->recipe_text), path, &error))
            run->recipe_problem = kept_text(&error);
    }
    free(path);
}

static void read_index(ReportRun *run) {
    char *path = path_join(run->folder, "videos.index");
    VideoIndex index;
    Error error = {0};
    if (!file_exists(path)) {
        run->index_problem = memory_text("videos.index is not there");
    } else if (video_index_load(&index, path, &error)) {
        run->index_problem = kept_text(&error);
    } else {
        run->has_index = true;
        hash_text(run->index_hash, &index.hash);
        video_census(&run->census, &index);
        run->classes = index.classes;
        run->sources_count = index.sources_count;
        run->sources = memory_new((size_t)index.sources_count, sizeof *run->sources);
        for (int i = 0; i < index.sources_count; i++)
            run->sources[i] = memory_text("%s", index.sources[i]);
    }
    if (run->recipe && count_steps(run, run->has_index ? &index : NULL, &error) &&
        !run->recipe_problem)
        run->recipe_problem = kept_text(&error);
    if (run->has_index)
        video_index_free(&index);
    free(path);
}

/* ---- what comes while it trains ---- */

static void read_logs(ReportRun *run) {
    for (int i = 0; i < PANEL_SOURCES; i++) {
        char *path = path_join(run->folder, logs[i]);
        Error error = {0};
        curves_log_free(&run->log[i]);
        free(run->log_problem[i]);
        run->log_problem[i] = NULL;
        if (!file_exists(path))
            run->log_problem[i] = memory_text("%s is not there", logs[i]);
        else if (curves_log_read(&run->log[i], path, &error))
            run->log_problem[i] = kept_text(&error);
        free(path);
    }
}

static void read_tables(ReportRun *run) {
    struct {
        const char *name;
        Table *table;
    } all[] = {{"quarantine.csv", &run->quarantine},
               {"rewinds.csv", &run->rewinds},
               {"changes.csv", &run->changes}};
    free(run->table_problem);
    run->table_problem = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char *path = path_join(run->folder, all[i].name);
        Error error = {0};
        table_free(all[i].table);
        if (file_exists(path) && table_read(all[i].table, path, REPORT_ROWS, false, &error)) {
            table_free(all[i].table);
            free(run->table_problem);
            run->table_problem = kept_text(&error);
        }
        free(path);
    }
}

static void free_checkpoints(ReportRun *run) {
    for (size_t i = 0; i < run->checkpoints_count; i++) {
        free(run->checkpoints[i].name);
        free(run->checkpoints[i].problem);
    }
    free(run->checkpoints);
    run->checkpoints = NULL;
    run->checkpoints_count = 0;
}

/* That in RUN/`folder`. */
static void read_checkpoint(ReportCheckpoint *c, const ReportRun *run, const char *folder) {
    char *path = path_join(run->folder, folder);
    Checkpoint checkpoint;
    Error error = {0};
    c->name = memory_text("%s", folder);
    if (checkpoint_open(&checkpoint, path, &error)) {
        c->problem = kept_text(&error);
    } else {
        char index[HASH_TEXT];
        c->step = checkpoint.step;
        c->updates = checkpoint.updates;
        c->precision = precision_name(checkpoint.precision);
        hash_text(c->hash, &checkpoint.hash);
        hash_text(index, &checkpoint.index);
        c->other_recipe = run->recipe_text && strcmp(checkpoint.recipe, run->recipe_text) != 0;
        c->other_index = run->has_index && strcmp(index, run->index_hash) != 0;
        checkpoint_close(&checkpoint);
    }
    free(path);
}

static void read_checkpoints(ReportRun *run) {
    int64_t *steps = NULL;
    size_t count = 0, best = holds(run->folder, "best/checkpoint.msgpack") ? 1 : 0;
    free_checkpoints(run);
    if (checkpoint_list(&steps, &count, run->folder, NULL))
        count = 0;
    size_t first = count > REPORT_CHECKPOINTS ? count - REPORT_CHECKPOINTS : 0;
    run->checkpoints_count = count - first + best;
    run->checkpoints = memory_new(run->checkpoints_count, sizeof *run->checkpoints);
    if (best)
        read_checkpoint(&run->checkpoints[0], run, "best");
    for (size_t i = first; i < count; i++) {
        char *folder = memory_text("step-%" PRId64, steps[i]);
        read_checkpoint(&run->checkpoints[best + i - first], run, folder);
        free(folder);
    }
    free(steps);
}

static ReportState find_state(const ReportRun *run) {
    char *lock = path_join(run->folder, "lock"), *log = path_join(run->folder, "log.csv");
    bool held = lock_holder(lock) > 0;
    struct stat about;
    double age = stat(log, &about) ? INFINITY : difftime(time(NULL), about.st_mtime);
    free(lock);
    free(log);
    if (held)
        return REPORT_RUNNING;
    if (run->total > 0 && run->steps >= run->total)
        return REPORT_FINISHED;
    double step = report_median(run, "wall-time(ms)") / 1e3;
    double fresh = isfinite(step) ? fmax(FRESH_SECONDS, FRESH_STEPS * step) : FRESH_SECONDS;
    return age < fresh ? REPORT_PERHAPS : REPORT_STOPPED;
}

static double sum_seconds(const ReportRun *run, const char *column) {
    const double *values = report_column(run, PANEL_LOG, column);
    double sum = values ? 0 : NAN;
    for (size_t i = 0; values && i < run->log[PANEL_LOG].rows; i++)
        sum += isfinite(values[i]) ? values[i] / 1e3 : 0;
    return sum;
}

int report_run_read(ReportRun *run, const char *folder, Error *error) {
    if (!folder_exists(folder))
        return error_set(error, ERROR_RUN, "%s: no such folder; expected that of a run", folder);
    if (!run->folder) {
        int64_t *steps = NULL;
        size_t count = 0;
        bool begun = holds(folder, "recipe.yaml") || holds(folder, "log.csv");
        if (!begun && !checkpoint_list(&steps, &count, folder, NULL))
            begun = count > 0;
        free(steps);
        if (!begun)
            return error_set(error, ERROR_RUN,
                             "%s holds no run: no recipe.yaml, no log.csv, no step-N", folder);
        char *whole = realpath(folder, NULL);
        run->folder = memory_text("%s", folder);
        run->name = memory_text("%s", path_name(whole ? whole : folder));
        free(whole);
        read_recipe(run);
        read_index(run);
    }
    read_logs(run);
    read_tables(run);
    read_checkpoints(run);
    report_files_read(run);
    const CurvesLog *log = &run->log[PANEL_LOG];
    run->steps = log->rows ? (int64_t)curves_log_column(log, "step")[log->rows - 1] + 1 : 0;
    run->seconds = sum_seconds(run, "wall-time(ms)");
    run->waited = sum_seconds(run, "wait(ms)");
    run->state = find_state(run);
    return 0;
}

void report_run_free(ReportRun *run) {
    free_checkpoints(run);
    report_files_free(run);
    for (int i = 0; i < PANEL_SOURCES; i++) {
        curves_log_free(&run->log[i]);
        free(run->log_problem[i]);
    }
    table_free(&run->quarantine);
    table_free(&run->rewinds);
    table_free(&run->changes);
    video_census_free(&run->census);
    yaml_release(run->recipe);
    for (int i = 0; i < run->sources_count; i++)
        free(run->sources[i]);
    free(run->sources);
    free(run->table_problem);
    free(run->recipe_text);
    free(run->recipe_problem);
    free(run->index_problem);
    free(run->folder);
    free(run->name);
    memset(run, 0, sizeof *run);
}

/* ---- values ---- */

const double *report_column(const ReportRun *run, PanelSource source, const char *name) {
    return curves_log_column(&run->log[source], name);
}

double report_mean(const ReportRun *run, const char *column, size_t most, bool last) {
    const double *values = report_column(run, PANEL_LOG, column);
    size_t rows = run->log[PANEL_LOG].rows, count = 0;
    double sum = 0;
    for (size_t i = 0; values && i < rows && count < most; i++) {
        double value = values[last ? rows - 1 - i : i];
        if (isfinite(value)) {
            sum += value;
            count++;
        }
    }
    return count ? sum / (double)count : NAN;
}

double report_last(const ReportRun *run, const char *column) {
    return report_mean(run, column, 1, true);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double report_median(const ReportRun *run, const char *column) {
    const double *values = report_column(run, PANEL_LOG, column);
    double some[MEDIAN_OF];
    size_t count = 0;
    for (size_t i = run->log[PANEL_LOG].rows; values && i-- > 0 && count < MEDIAN_OF;)
        if (isfinite(values[i]))
            some[count++] = values[i];
    if (!count)
        return NAN;
    qsort(some, count, sizeof *some, ascending);
    return some[count / 2];
}
