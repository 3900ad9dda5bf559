/* A run's folder. See jepa/run.h. */
#include "jepa/run.h"
#include "base/file.h"
#include "base/log.h"
#include "base/words.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_NAME    "videos.index"
#define PICTURES_NAME "pictures.index"
#define PLANS_NAME    "plans.txt"
#define PLANS_LIMIT   ((size_t)16 << 20)
#define LOG_LIMIT     ((size_t)1 << 30) /* bytes of log.csv that are read back */

/* The published columns first (facebookresearch/jepa app/vjepa/train.py), then ours. */
#define LOG_HEADER                                                                                 \
    "epoch,itr,loss,loss-jepa,reg-loss,enc-grad-norm,pred-grad-norm,gpu-time(ms),wall-time(ms),"   \
    "step,lr,wd,momentum,clips_per_second,wait(ms),context_tokens,target_tokens,replaced,"         \
    "mask_redraws,decode(clips/"                                                                   \
    "s),ring,context_std,target_std,predictor_std,context_rankme,target_rankme,"                   \
    "predictor_rankme,cosine,skill,loss_context,invariance,sigreg\n"
#define LOG_STEP_COLUMN        9
#define QUARANTINE_HEADER      "step,slot,file,reason\n"
#define QUARANTINE_STEP_COLUMN 0

bool run_exists(const char *folder) {
    char *path = path_join(folder, "recipe.yaml");
    bool there = file_exists(path);
    free(path);
    return there;
}

/* The step in column `column` of a CSV line, -1 if there is none. */
static int64_t line_step(const char *line, int column) {
    for (int i = 0; i < column; i++) {
        line = strchr(line, ',');
        if (!line)
            return -1;
        line++;
    }
    char *end;
    long long step = strtoll(line, &end, 10);
    return end == line ? -1 : step;
}

/* Opens a CSV for appending, cut back to the rows before `step`: rows of steps that are done again
 * would come twice. Rows without a step stay. A last line that a crash cut short goes. */
static int open_csv(FILE **file, const char *folder, const char *name, const char *header,
                    int column, int64_t step, Error *error) {
    char *path = path_join(folder, name), *text = NULL;
    uint8_t *bytes = NULL;
    size_t count = 0, size = 0;
    int result = 0;
    FILE *kept = open_memstream(&text, &size);
    JEPA_ASSERT(kept);
    fputs(header, kept);
    if (file_exists(path)) {
        result = file_read(&bytes, &count, path, LOG_LIMIT, error);
        char *line = result ? NULL : strchr((char *)bytes, '\n');
        for (line = line ? line + 1 : NULL; line && *line;) {
            char *end = strchr(line, '\n');
            if (!end)
                break;
            *end = 0;
            if (line_step(line, column) < step)
                fprintf(kept, "%s\n", line);
            line = end + 1;
        }
    }
    fclose(kept);
    if (!result)
        result = file_write(path, text, size, error);
    if (!result && !(*file = fopen(path, "ae")))
        result = error_set(error, ERROR_RUN, "cannot write %s: %s", path, strerror(errno));
    free(bytes);
    free(text);
    free(path);
    return result;
}

/* The first line in which two texts differ, for the message. */
static void first_difference(char out[160], const char *a, const char *b) {
    while (*a && *b) {
        size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");
        if (la != lb || strncmp(a, b, la))
            break;
        a += la + (a[la] != 0);
        b += lb + (b[lb] != 0);
    }
    int la = (int)strcspn(a, "\n"), lb = (int)strcspn(b, "\n");
    snprintf(out, 160, "\"%.*s\" there, \"%.*s\" now", la < 60 ? la : 60, a, lb < 60 ? lb : 60, b);
}

static int same_recipe(const Run *run, Error *error) {
    char *path = path_join(run->folder, "recipe.yaml"), difference[160];
    uint8_t *bytes = NULL;
    size_t count;
    int result = file_read(&bytes, &count, path, (size_t)1 << 20, error);
    if (!result && strcmp((char *)bytes, run->recipe_text)) {
        first_difference(difference, (char *)bytes, run->recipe_text);
        result = error_set(
            error, ERROR_USAGE,
            "%s is another recipe than the one asked for: %s. A run keeps its recipe and its data: "
            "resume without --data, --recipe and --set, or start a new run",
            path, difference);
    }
    free(bytes);
    free(path);
    return result;
}

/* The newest checkpoint that is whole; damaged ones are named. */
static int find_checkpoint(Run *run, Error *error) {
    int64_t *steps = NULL;
    size_t count = 0;
    if (checkpoint_clean(run->folder, error) || checkpoint_list(&steps, &count, run->folder, error))
        return -1;
    Error first = {0};
    for (size_t i = count; i > 0 && !run->resumed; i--) {
        Error reason = {0};
        char *folder = memory_text("%s/step-%" PRId64, run->folder, steps[i - 1]);
        if (!checkpoint_open(&run->checkpoint, folder, &reason)) {
            if (checkpoint_verify(&run->checkpoint, &reason)) {
                checkpoint_close(&run->checkpoint);
            } else if (hash_same(&run->checkpoint.index, &run->index.hash) &&
                       !strcmp(run->checkpoint.recipe, run->recipe_text)) {
                run->resumed = true;
            } else {
                checkpoint_close(&run->checkpoint);
                error_set(&reason, ERROR_RUN, "%s belongs to another run", folder);
            }
        }
        if (!run->resumed) {
            log_warn("%s", reason.text);
            first = first.code ? first : reason;
        }
        free(folder);
    }
    free(steps);
    if (count && !run->resumed)
        return error_set(
            error, ERROR_RUN,
            "%s: no checkpoint can be used (%s): start a new run, or remove the step-N "
            "folders to begin again",
            run->folder, first.text);
    return 0;
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
    if (!result)
        result = file_write(path, run->recipe_text, strlen(run->recipe_text), error);
    free(path);
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

static int go_on(Run *run, const Recipe *recipe, Error *error) {
    if (same_recipe(run, error) || load_index(&run->index, run, INDEX_NAME, error) ||
        (recipe_image_groups(recipe) && load_index(&run->pictures, run, PICTURES_NAME, error)))
        return -1;
    return find_checkpoint(run, error);
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
    int64_t step = run->resumed ? run->checkpoint.step : 0;
    if (open_csv(&run->log, run->folder, "log.csv", LOG_HEADER, LOG_STEP_COLUMN, step, error) ||
        open_csv(&run->quarantine, run->folder, "quarantine.csv", QUARANTINE_HEADER,
                 QUARANTINE_STEP_COLUMN, step, error))
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
    if (same_recipe(run, error) || load_index(&run->index, run, INDEX_NAME, error) ||
        (recipe_image_groups(recipe) && load_index(&run->pictures, run, PICTURES_NAME, error)))
        return -1;
    if (step < 0)
        return 0;
    char *path = memory_text("%s/step-%" PRId64, run->folder, step);
    int result = checkpoint_open(&run->checkpoint, path, error);
    run->resumed = !result;
    free(path);
    return result;
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
    FILE *files[2] = {run->log, run->quarantine};
    for (int i = 0; i < 2; i++)
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
    if (run->checkpoint.folder)
        checkpoint_close(&run->checkpoint);
    video_index_free(&run->index);
    video_index_free(&run->pictures);
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
