/* A run's folder. See jepa/run.h. */
#include "jepa/run.h"
#include "base/file.h"
#include "base/log.h"
#include "base/words.h"
#include "jepa/run_tables.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_NAME    "videos.index"
#define PICTURES_NAME "pictures.index"
#define HELD_OUT_NAME "diagnostics.index"
#define PLANS_NAME    "plans.txt"
#define PLANS_LIMIT   ((size_t)16 << 20)
#define RECIPE_LIMIT  ((size_t)1 << 20)
bool run_exists(const char *folder) {
    char *path = path_join(folder, "recipe.yaml");
    bool there = file_exists(path);
    free(path);
    return there;
}

/* Is the recipe that of the run, but for what may change? What did, in run->changes. */
static int same_recipe(Run *run, const Recipe *recipe, Error *error) {
    char *path = path_join(run->folder, "recipe.yaml");
    uint8_t *bytes = NULL;
    size_t count;
    int result = file_read(&bytes, &count, path, RECIPE_LIMIT, error);
    if (!result)
        result = recipe_compare_text(&run->changes, (char *)bytes, path, recipe, error);
    const RecipeChange *fixed = result ? NULL : run->changes.fixed;
    if (fixed)
        result = error_set(
            error, ERROR_USAGE,
            "%s is another recipe than the one asked for: %s: %.200s there, %.200s now. A run "
            "keeps its recipe and its data: resume without --data, --recipe and --set, or start a "
            "new run",
            path, fixed->path, fixed->before, fixed->after);
    run->rewrite = !result && strcmp((char *)bytes, run->recipe_text);
    free(bytes);
    free(path);
    return result;
}

/* Was the checkpoint written in this run, and by the branch that the run is in? */
static int is_own(const Run *run, const Recipe *recipe, Error *error) {
    const Checkpoint *c = &run->checkpoint;
    RecipeChanges changes;
    Error ignored = {0};
    bool same = hash_same(&c->index, &run->index.hash) &&
                !recipe_compare_text(&changes, c->recipe, "its recipe", recipe, &ignored);
    if (same) {
        same = !changes.fixed;
        recipe_changes_free(&changes);
    }
    if (!same)
        return error_set(error, ERROR_RUN, "%s belongs to another run", c->folder);
    int64_t branch = rewinds_branch_of(&run->rewinds, c->step);
    if (c->health.branch == branch)
        return 0;
    return error_set(error, ERROR_RUN,
                     "%s is of branch %" PRId64 ", where %s/" REWINDS_NAME " has branch %" PRId64,
                     c->folder, c->health.branch, run->folder, branch);
}

/* Of a branch that was given up, when the run went back? */
static bool is_given_up(const Run *run) {
    return run->checkpoint.health.branch < rewinds_branch_of(&run->rewinds, run->checkpoint.step);
}

/* The newest checkpoint that is whole; damaged ones are named. What a rewind gave up goes, if it
 * was interrupted before it had. */
static int find_checkpoint(Run *run, const Recipe *recipe, Error *error) {
    int64_t *steps = NULL;
    size_t count = 0;
    int result = 0;
    if (checkpoint_clean(run->folder, error) || checkpoint_list(&steps, &count, run->folder, error))
        return -1;
    Error first = {0};
    for (size_t i = count; i > 0 && !run->resumed && !result; i--) {
        Error reason = {0};
        bool given_up = false;
        char *folder = memory_text("%s/step-%" PRId64, run->folder, steps[i - 1]);
        if (!checkpoint_open(&run->checkpoint, folder, &reason)) {
            run->resumed = !checkpoint_verify(&run->checkpoint, &reason) &&
                           !is_own(run, recipe, &reason);
            given_up = !run->resumed && is_given_up(run);
            if (!run->resumed)
                checkpoint_close(&run->checkpoint);
        }
        if (given_up) {
            result = checkpoint_remove(run->folder, steps[i - 1], error);
        } else if (!run->resumed) {
            log_warn("%s", reason.text);
            first = first.code ? first : reason;
        }
        free(folder);
    }
    free(steps);
    if (result)
        return -1;
    if (count && !run->resumed)
        return error_set(
            error, ERROR_RUN,
            "%s: no checkpoint can be used (%s): start a new run, or remove the step-N "
            "folders to begin again",
            run->folder, first.code ? first.text : "those of branches that were given up are gone");
    if (run->rewinds.count && !run->resumed)
        return error_set(error, ERROR_RUN,
                         "%s/" REWINDS_NAME " tells of checkpoints that are gone: remove it too to "
                         "begin again",
                         run->folder);
    return 0;
}

/* What the run remembers: its checkpoint's, and what the best checkpoint is, which may be of a
 * branch that was given up since. */
static int take_health(Run *run, bool writes, Error *error) {
    Health *h = &run->health;
    health_start(h);
    if (!run->resumed)
        return 0;
    const Checkpoint *c = &run->checkpoint;
    char *folder = path_join(run->folder, CHECKPOINT_BEST);
    Checkpoint best;
    Error reason = {0};
    bool is_best = c->health.best_by != KEEP_BEST_NONE && c->health.best_step == c->step &&
                   c->health.best_branch == c->health.branch;
    *h = c->health;
    bool there = folder_exists(folder) && !checkpoint_open(&best, folder, &reason);
    if (reason.code && writes)
        log_warn("%s", reason.text);
    int result = 0;
    if (is_best && writes && (!there || !hash_same(&best.hash, &c->hash)))
        result = checkpoint_keep_best(run->folder, c->step, error); /* it was stopped before that */
    if (!is_best && there)
        health_keep_best(h, &best.health);
    else if (!is_best)
        h->best_by = KEEP_BEST_NONE;
    if (there)
        checkpoint_close(&best);
    free(folder);
    health_go_on(h, &run->rewinds, c->step);
    return result;
}

static int make_index(VideoIndex *index, const Recipe *recipe, char *const *sets, int count,
                      int threads, Error *error) {
    IndexSettings settings = {.sources_count = count,
                              .threads = threads,
                              .scan = {.check = (VideoCheck)recipe->data.index_check},
                              .kept_may_fail = true};
    for (int i = 0; i < settings.sources_count; i++)
        settings.sources[i] = sets[i];
    char *cache = video_index_cache(settings.sources, settings.sources_count, settings.scan.check);
    settings.kept = cache;
    int result = video_index_make(index, &settings, error);
    free(cache);
    return result;
}

int run_index(VideoIndex *index, const Recipe *recipe, int threads, Error *error) {
    return make_index(index, recipe, recipe->data.datasets, recipe->data.datasets_count, threads,
                      error);
}

VideoHardware *run_hardware_open(const Recipe *recipe, const Device *device) {
    VideoHardware *hardware;
    Error error = {0};
    if (recipe->data.decoder != VIDEO_DECODER_CUDA)
        return NULL;
    if (video_hardware_open(&hardware, device->name, &error))
        log_warn("data.decoder: cuda: %s; videos are decoded on the CPU, to the same clips",
                 error.text);
    return hardware;
}

void run_hardware_close(VideoHardware *hardware) {
    if (!hardware)
        return;
    VideoHardwareStats s = video_hardware_stats(hardware);
    log_info("decoded on the GPU: %" PRIu64 " readings; on the CPU: %" PRIu64 ", of them %" PRIu64
             " while no place on the GPU was free, %" PRIu64 " after the GPU failed",
             s.gpu, s.cpu, s.full, s.failed);
    video_hardware_close(hardware);
}

/* Makes one of a run's indexes and freezes it in its folder. */
static int freeze_index(VideoIndex *index, const Run *run, const char *name, const Recipe *recipe,
                        char *const *sets, int count, int threads, Error *error) {
    char *path = path_join(run->folder, name);
    int result = make_index(index, recipe, sets, count, threads, error);
    if (!result)
        result = video_index_save(index, path, error);
    free(path);
    return result;
}

static int begin(Run *run, const Recipe *recipe, int threads, Error *error) {
    int64_t *steps;
    size_t count;
    if (checkpoint_list(&steps, &count, run->folder, error))
        return -1;
    free(steps);
    if (count)
        return error_set(error, ERROR_USAGE,
                         "%s holds checkpoints but no recipe.yaml: give another --out",
                         run->folder);
    char *path = path_join(run->folder, "recipe.yaml");
    int result = freeze_index(&run->index, run, INDEX_NAME, recipe, recipe->data.datasets,
                              recipe->data.datasets_count, threads, error);
    if (!result && recipe_image_groups(recipe))
        result = freeze_index(&run->pictures, run, PICTURES_NAME, recipe, recipe->img_data.datasets,
                              recipe->img_data.datasets_count, threads, error);
    if (!result && recipe->diagnostics.data)
        result = freeze_index(&run->held_out, run, HELD_OUT_NAME, recipe, &recipe->diagnostics.data,
                              1, threads, error);
    if (!result)
        result = file_write(path, run->recipe_text, strlen(run->recipe_text), error);
    free(path);
    health_start(&run->health);
    return result;
}

static int load_index(VideoIndex *index, const Run *run, const char *name, Error *error) {
    char *path = path_join(run->folder, name);
    int result;
    if (!file_exists(path))
        result = error_set(error, ERROR_RUN,
                           "%s has no %s: it was made by another version of this program and "
                           "cannot be gone on with",
                           run->folder, name);
    else
        result = video_index_load(index, path, error);
    free(path);
    return result ? -1 : video_index_verify(index, error);
}

/* All that is frozen. */
static int load_frozen(Run *run, const Recipe *recipe, Error *error) {
    return same_recipe(run, recipe, error) || rewinds_load(&run->rewinds, run->folder, error) ||
                   load_index(&run->index, run, INDEX_NAME, error) ||
                   (recipe_image_groups(recipe) &&
                    load_index(&run->pictures, run, PICTURES_NAME, error)) ||
                   (recipe->diagnostics.data &&
                    load_index(&run->held_out, run, HELD_OUT_NAME, error))
               ? -1
               : 0;
}

/* Says and writes down what the recipe is from here on. */
static int take_changes(Run *run, Error *error) {
    int64_t step = run->resumed ? run->checkpoint.step : 0;
    for (size_t i = 0; i < run->changes.count; i++)
        log_info("recipe: %s was %s, from step %" PRId64 " on it is %s",
                 run->changes.change[i].path, run->changes.change[i].before, step,
                 run->changes.change[i].after);
    char *path = path_join(run->folder, "recipe.yaml");
    int result = run->changes.count ? run_note_changes(run, &run->changes, step, error) : 0;
    if (!result && run->rewrite)
        result = file_write(path, run->recipe_text, strlen(run->recipe_text), error);
    free(path);
    return result;
}

static int go_on(Run *run, const Recipe *recipe, Error *error) {
    return load_frozen(run, recipe, error) || find_checkpoint(run, recipe, error) ||
                   take_health(run, true, error) || take_changes(run, error)
               ? -1
               : 0;
}

static void write_quarantined(FILE *out, const VideoIndex *index, uint32_t i) {
    char *name = csv_quote(video_index_name(index, i));
    char *reason = csv_quote(video_index_reason(index, i));
    fprintf(out, ",,%s,%s\n", name, reason);
    free(name);
    free(reason);
}

static int open_inside(Run *run, const Recipe *recipe, bool resume, int threads, Error *error) {
    bool exists = run_exists(run->folder);
    if (exists && !resume)
        return error_set(
            error, ERROR_USAGE,
            "%s holds a run already: add --resume to go on with it, or give another --out",
            run->folder);
    if (folder_make(run->folder, error))
        return -1;
    char *lock = path_join(run->folder, "lock");
    run->lock = lock_take(lock, error);
    free(lock);
    if (run->lock < 0)
        return error_prefix(error, "another training run works in %s, or it cannot be written",
                            run->folder);
    exists = run_exists(
        run->folder); /* another process may have begun it before the lock was ours */
    if (exists && !resume)
        return error_set(error, ERROR_USAGE,
                         "%s holds a run already: add --resume to go on with it", run->folder);
    if (exists ? go_on(run, recipe, error) : begin(run, recipe, threads, error))
        return -1;
    int64_t step = run->resumed ? run->checkpoint.step : -1;
    if (run_open_tables(run, step, rewinds_branch(&run->rewinds, step), error))
        return -1;
    if (!exists)
        for (size_t i = 0; i < run->index.count; i++)
            if (video_index_reason(&run->index, (uint32_t)i))
                write_quarantined(run->quarantine, &run->index, (uint32_t)i);
    if (!exists)
        for (size_t i = 0; i < run->pictures.count; i++)
            if (video_index_reason(&run->pictures, (uint32_t)i))
                write_quarantined(run->quarantine, &run->pictures, (uint32_t)i);
    return run_flush(run, error);
}

int run_open(Run *run, const char *folder, const Recipe *recipe, bool resume, int threads,
             Error *error) {
    memset(run, 0, sizeof *run);
    run->lock = -1;
    run->folder = memory_text("%s", folder);
    run->recipe_text = recipe_text(recipe);
    int result = open_inside(run, recipe, resume, threads, error);
    if (result)
        run_close(run);
    return result;
}

static int join(Run *run, const Recipe *recipe, int64_t step, Error *error) {
    if (!run_exists(run->folder))
        return error_set(error, ERROR_RUN,
                         "%s is not to be seen from this machine: all ranks need a file system in "
                         "which it is the same folder",
                         run->folder);
    if (load_frozen(run, recipe, error))
        return -1;
    if (step < 0)
        return take_health(run, false, error);
    char *path = memory_text("%s/step-%" PRId64, run->folder, step);
    int result = checkpoint_open(&run->checkpoint, path, error);
    run->resumed = !result;
    free(path);
    return result ? -1 : take_health(run, false, error);
}

int run_join(Run *run, const char *folder, const Recipe *recipe, int64_t step, Error *error) {
    memset(run, 0, sizeof *run);
    run->lock = -1;
    run->folder = memory_text("%s", folder);
    run->recipe_text = recipe_text(recipe);
    int result = join(run, recipe, step, error);
    if (result)
        run_close(run);
    return result;
}

int run_flush(Run *run, Error *error) {
    FILE *files[3] = {run->log, run->quarantine, run->diagnostics};
    for (int i = 0; i < 3; i++)
        if (ferror(files[i]) || fflush(files[i]) || fsync(fileno(files[i])))
            return error_set(error, ERROR_RUN, "cannot write the log in %s: %s", run->folder,
                             strerror(errno));
    return 0;
}

void run_close(Run *run) {
    if (run->log)
        fclose(run->log);
    if (run->quarantine)
        fclose(run->quarantine);
    if (run->diagnostics)
        fclose(run->diagnostics);
    recipe_changes_free(&run->changes);
    if (run->checkpoint.folder)
        checkpoint_close(&run->checkpoint);
    video_index_free(&run->index);
    video_index_free(&run->pictures);
    video_index_free(&run->held_out);
    lock_release(run->lock);
    free(run->recipe_text);
    free(run->folder);
    memset(run, 0, sizeof *run);
    run->lock = -1;
}

int run_save_plans(const Run *run, const Device *device, Error *error) {
    char *text = NULL, *path = path_join(run->folder, PLANS_NAME);
    size_t size = 0;
    int result = 0;
    FILE *file = device->report ? open_memstream(&text, &size) : NULL;
    if (file) {
        device->report(file, device);
        fclose(file);
        result = file_write(path, text, size, error);
    }
    free(text);
    free(path);
    return result;
}

int run_load_plans(const Run *run, Device *device, Error *error) {
    char *path = path_join(run->folder, PLANS_NAME);
    uint8_t *bytes = NULL;
    size_t count;
    int result = 0;
    if (device->report && file_exists(path))
        result = file_read(&bytes, &count, path, PLANS_LIMIT, error);
    if (bytes && !result) {
        free(device->chosen);
        device->chosen = memory_text("%s", (const char *)bytes);
    }
    free(bytes);
    free(path);
    return result;
}
