/* jepa pretrain: trains a V-JEPA on a folder of videos. */
#include "base/file.h"
#include "base/log.h"
#include "eval/curves.h"
#include "eval/diagnostics.h"
#include "eval/measures.h"
#include "eval/tensorboard.h"
#include "experiments/commands.h"
#include "experiments/health.h"
#include "experiments/options.h"
#include "experiments/plan.h"
#include "jepa/trainer.h"
#include "kernels/cuda_device.h"
#include "video/ffmpeg.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUMMARY_STEPS 10 /* steps that the first and the last loss are the mean of */

typedef struct PretrainArguments {
    const char *data, *recipe, *cooldown, *out, *device;
    TextList sets;
    bool resume, dry_run, emulate;
    int64_t threads, workers;
} PretrainArguments;

/* What the trainer's hooks work on. */
typedef struct Hooks {
    Tensorboard *board; /* NULL: no event files are asked for, or they cannot be written */
} Hooks;

static TrainDecision observe(void *context, StepReport *report) {
    (void)context;
    if (report->measure)
        measure_model(&report->measures, report->model);
    return TRAIN_CONTINUE;
}

/* New rows of the logs as events. A failure ends these, not the run. */
static void note_logged(void *context) {
    Hooks *hooks = context;
    Error error = {0};
    if (!hooks->board || !tensorboard_update(hooks->board, &error))
        return;
    log_warn(
        "no more event files for TensorBoard: %s (jepa report RUN --tensorboard DIR makes them "
        "from the log)",
        error.text);
    tensorboard_close(hooks->board);
    hooks->board = NULL;
}

/* A checkpoint's recipe into `recipe`, and by what its rewinds had multiplied the learning rate. */
static int recipe_of_checkpoint(Recipe *recipe, double *lr_scale, const char *path, Error *error) {
    Checkpoint checkpoint;
    if (checkpoint_open(&checkpoint, path, error))
        return -1;
    int result = recipe_parse(recipe, checkpoint.recipe, "the checkpoint's recipe", error);
    *lr_scale = checkpoint.health.lr_scale;
    checkpoint_close(&checkpoint);
    return result;
}

/* --cooldown RUN: RUN's recipe with the learning rate falling linearly over a twentieth of its
 * epochs (V-JEPA 2: 12,000 of 252,000 iterations), unless --recipe and --set say more. */
static int begin_cooldown(Recipe *recipe, const PretrainArguments *a, Error *error) {
    if (!a->recipe) {
        double scale;
        if (recipe_of_checkpoint(recipe, &scale, a->cooldown, error))
            return -1;
        recipe->optimization.start_lr *= scale; /* what the run had gone down to */
        recipe->optimization.lr *= scale;
        recipe->optimization.final_lr *= scale;
        recipe->optimization.epochs = fmax(1, ceil(recipe->optimization.epochs / 20));
        recipe->optimization.warmup = 0;
        recipe->optimization.final_lr = fmin(1e-6, recipe->optimization.final_lr);
        recipe->optimization.ipe_scale = 1; /* to the end of the line */
    }
    recipe->optimization.is_anneal = true;
    free(recipe->optimization.anneal_ckpt);
    recipe->optimization.anneal_ckpt = memory_text("%s", a->cooldown);
    return 0;
}

/* The sizes of a frozen teacher, from its checkpoint; they stay in the run's recipe. */
static int resolve_teacher(Recipe *recipe, Error *error) {
    const char *path = recipe_teacher(recipe);
    if (!path || recipe->teacher.dim)
        return 0;
    Recipe own;
    double ignored;
    recipe_default(&own);
    int result = recipe_of_checkpoint(&own, &ignored, path, error);
    if (!result)
        result = recipe_check(&own, error);
    if (!result) {
        ModelConfig config = recipe_model(&own), mine = recipe_model(recipe);
        if (config.tubelet != mine.tubelet || config.patch != mine.patch)
            result = error_set(error, ERROR_USAGE,
                               "it cuts clips into %d x %d x %d, the recipe into %d x %d x %d: "
                               "set data.tubelet_size and patch_size to its own",
                               config.tubelet, config.patch, config.patch, mine.tubelet, mine.patch,
                               mine.patch);
        /* what its sizes alone do not tell must be the student's own */
        bool grids = config.trained_frames == mine.frames && config.trained_height == mine.height &&
                     config.trained_width == mine.width;
        const char *other = config.class_token || config.causal ? "a class token"
                            : config.plane != mine.plane        ? "two dimensions"
                            : config.modality && !mine.modality ? "modality embeddings"
                            : config.positions == POSITIONS_SINCOS && !grids
                                ? "positions of another clip size"
                                : NULL;
        if (!result && other)
            result = error_set(error, ERROR_USAGE,
                               "it has %s, which a teacher of this recipe cannot have", other);
        recipe->teacher = config_teacher(&config);
    }
    recipe_free(&own);
    return result ? error_prefix(error, "target: %s", recipe->target) : 0;
}

/* The recipe of the run: RUN's own when it is resumed without another being asked for, else the
 * file's or the built-in one, then --data and --set. */
static int resolve_recipe(Recipe *recipe, const PretrainArguments *a, Error *error) {
    recipe_default(recipe);
    bool goes_on = a->resume && a->out && run_exists(a->out);
    int result;
    if (goes_on && !a->recipe) {
        char *path = path_join(a->out, "recipe.yaml");
        result = recipe_load(recipe, path, error);
        free(path);
    } else if (a->cooldown && !a->recipe) {
        result = 0;
    } else {
        result = plan_load_recipe(recipe, a->recipe, error);
    }
    if (!result && a->cooldown && !goes_on)
        result = begin_cooldown(recipe, a, error);
    for (size_t i = 0; i < a->sets.count && !result; i++)
        result = recipe_set(recipe, a->sets.items[i], error);
    if (!result && a->data) {
        for (int i = 0; i < recipe->data.datasets_count; i++)
            free(recipe->data.datasets[i]);
        recipe->data.datasets[0] = memory_text("%s", a->data);
        recipe->data.datasets_count = 1;
        if (recipe->data.weights_count || recipe->data.fpcs_count)
            log_info(
                "recipe: datasets_weights and dataset_fpcs belong to its own data sets; --data "
                "is one, of %d frames a clip",
                recipe->data.num_frames);
        recipe->data.weights_count = recipe->data.fpcs_count = 0;
        memset(recipe->data.fpcs, 0, sizeof recipe->data.fpcs);
    }
    if (!result && !recipe->data.datasets_count && !a->dry_run)
        result = error_set(error, ERROR_USAGE, "no videos: give --data FOLDER or --data LIST.csv");
    if (!result && !a->dry_run && recipe_teacher(recipe) && !recipe->teacher.dim &&
        !(result = recipe_check(recipe, error)))
        result = resolve_teacher(recipe, error);
    if (!result)
        result = recipe_check(recipe, error);
    if (!result) { /* what is written must be readable again: names that are no UTF-8 are not */
        char *text = recipe_text(recipe);
        YamlNode *root = NULL;
        result = yaml_parse(&root, text, strlen(text), "the path of the data", error);
        yaml_release(root);
        free(text);
    }
    return result;
}

/* Mean over the first or last finite entries of a column. */
static double mean_of(const double *values, size_t rows, bool last) {
    double sum = 0;
    int count = 0;
    for (size_t i = 0; i < rows && count < SUMMARY_STEPS; i++) {
        double value = values[last ? rows - 1 - i : i];
        if (isfinite(value)) {
            sum += value;
            count++;
        }
    }
    return count ? sum / count : NAN;
}

static double last_of(const CurvesLog *log, const char *name) {
    const double *values = curves_log_column(log, name);
    for (size_t i = log->rows; values && i > 0; i--)
        if (isfinite(values[i - 1]))
            return values[i - 1];
    return NAN;
}

/* What came out, on stdout, from the whole log. */
static int summarise(const char *folder, const Recipe *recipe, const TrainerResult *result,
                     size_t quarantined, size_t videos, Error *error) {
    char *csv = path_join(folder, "log.csv"), *png = path_join(folder, "curves.png");
    CurvesLog log = {0};
    int status = curves_log_read(&log, csv, error);
    if (!status) {
        const double *loss = curves_log_column(&log, "loss");
        printf("steps            %" PRId64 " of %" PRId64 "\n", result->steps, result->total);
        if (loss && log.rows) {
            printf("loss             %.4f -> %.4f   (mean of the first and the last %d steps)\n",
                   mean_of(loss, log.rows, false), mean_of(loss, log.rows, true), SUMMARY_STEPS);
            printf("feature std      context %.3f, target %.3f, predictor %.3f   (0: collapsed)\n",
                   last_of(&log, "context_std"), last_of(&log, "target_std"),
                   last_of(&log, "predictor_std"));
            printf("RankMe           context %.1f, target %.1f, predictor %.1f   (1: collapsed)\n",
                   last_of(&log, "context_rankme"), last_of(&log, "target_rankme"),
                   last_of(&log, "predictor_rankme"));
            printf("prediction       cosine %.3f, skill over the mean target %.3f\n",
                   last_of(&log, "cosine"), last_of(&log, "skill"));
        }
        status = health_summary(folder, recipe, result, error);
        if (result->seconds > 0)
            printf("waiting          %.1f %% of the time for clips\n",
                   100 * result->waited / result->seconds);
        printf("videos           %zu, %zu in quarantine, %" PRId64
               " slots re-drawn   (%s/quarantine.csv)\n",
               videos, quarantined, result->replaced, folder);
        char *title = memory_text("%s", path_name(folder));
        if (!status)
            status = curves_write(png, csv, title, error);
        free(title);
        if (!status)
            printf("curves           %s\n", png);
    }
    curves_log_free(&log);
    free(csv);
    free(png);
    return status;
}

/* Rank 0 decides what the recipe is, the others are told. */
static int agree_on_recipe(Recipe *recipe, const PretrainArguments *a, Exchange *x, Error *error) {
    double *length = memory_new((size_t)x->ranks, sizeof *length);
    char *text = NULL;
    int status = 0;
    if (x->rank)
        recipe_default(recipe);
    else
        status = resolve_recipe(recipe, a, error);
    if (!(status = exchange_agree(x, status, error)) && x->ranks > 1) {
        if (!x->rank)
            text = recipe_text(recipe);
        length[x->rank] = text ? (double)strlen(text) : 0;
        x->all(length, 1, x);
        if (x->rank)
            text = memory_new((size_t)length[0] + 1, 1);
        x->broadcast(text, (size_t)length[0], 0, x);
        if (x->rank && !(status = recipe_parse(recipe, text, "the recipe of rank 0", error)))
            status = recipe_check(recipe, error);
        status = exchange_agree(x, status, error);
    }
    free(text);
    free(length);
    return status;
}

/* Rank 0 opens the run, the others join it. That may take long: the videos are read for the index.
 */
static int open_run(Run *run, const PretrainArguments *a, const Recipe *recipe,
                    const Device *device, Exchange *x, Error *error) {
    double *step = memory_new((size_t)x->ranks, sizeof *step);
    int status = 0;
    if (!x->rank)
        status = run_open(run, a->out, recipe, a->resume, device->threads, error);
    x->doing = "the opening of the run";
    status = exchange_agree(x, status, error);
    if (!status && x->ranks > 1) {
        step[x->rank] = run->resumed ? (double)run->checkpoint.step : -1;
        x->all(step, 1, x);
        if (x->rank)
            status = run_join(run, a->out, recipe, (int64_t)step[0], error);
        status = exchange_agree(x, status, error);
    }
    free(step);
    return status;
}

static int pretrain(const PretrainArguments *a, int *signal, Exchange *x, Error *error) {
    Recipe recipe;
    Run run = {.lock = -1};
    Device *device = NULL;
    TrainerResult result = {0};
    Hooks hooks = {NULL};
    int status = agree_on_recipe(&recipe, a, x, error);
    if (!status) {
        int threads = (int)a->threads;
        plan_say_about(&recipe);
        if (!threads && x->ranks > 1)
            threads = x->cores;
        status = exchange_agree(
            x, plan_open_device(&device, a->device, x->node_rank, threads, error), error);
        Error why = {0};
        if (!status)
            status = cuda_exchange_join(x, device, &why, error);
        if (!status && x->ranks > 1 && !device->on_host)
            log_info("gradients of the GPUs go through %s%s%s%s",
                     strcmp(x->name, "nccl") ? "the hosts' memory" : "NCCL", *why.text ? " (" : "",
                     why.text, *why.text ? ")" : "");
    }
    if (!status)
        plan_precision(device, &recipe, a->emulate);
    if (!status && a->dry_run) {
        if (!x->rank)
            status = plan_print(&recipe, device, (int)a->workers, x->ranks, error);
        device_close(device);
        recipe_free(&recipe);
        return exchange_agree(x, status, error);
    }
    if (!status) /* before there is a run */
        status = exchange_agree(x, ffmpeg_needed(error), error);
    if (!status)
        status = open_run(&run, a, &recipe, device, x, error);
    if (!status) {
        Diagnostics *diagnostics = NULL;
        TrainerConfig config = {.recipe = &recipe,
                                .run = &run,
                                .device = device,
                                .loader_threads = (int)a->workers,
                                .exchange = x,
                                .hooks = {.context = &hooks,
                                          .observe = observe,
                                          .logged = note_logged,
                                          .diagnostics = diagnostics_hooks(&diagnostics)}};
        size_t quarantined = run.index.count - run.index.usable;
        if (quarantined && !x->rank)
            log_warn("%zu of %zu videos cannot be used: see %s/quarantine.csv", quarantined,
                     run.index.count, a->out);
        if (recipe.logging.tensorboard && run.log) {
            char *folder = path_join(run.folder, "tensorboard");
            status = tensorboard_open(&hooks.board, run.folder, folder, false, error);
            free(folder);
            note_logged(&hooks); /* what is there of steps that are done again now */
        }
        if (!status)
            status = trainer_run(&result, &config, error);
        note_logged(&hooks); /* what came after the last row */
        if (!status && !x->rank)
            status = summarise(a->out, &recipe, &result, quarantined, run.index.count, error);
        if (!status && *result.sentry)
            status = error_set(
                error, ERROR_RUN,
                "the sentry stopped the run after step %" PRId64 ": %s; --resume "
                "goes on with it, with --set sentry.action=warn or rewind in another "
                "way",
                result.steps, result.sentry);
    }
    tensorboard_close(hooks.board);
    if (run.folder)
        run_close(&run);
    device_close(device);
    recipe_free(&recipe);
    *signal = result.signal;
    return status;
}

/* Joins the other ranks, if there are any, does the work and parts from them: rank 0 says what went
 * wrong, before any of them ends (mpirun ends all when one has failed). */
static int pretrain_together(const PretrainArguments *a, const char *command, int *signal,
                             Error *error) {
    Exchange *x;
    if (exchange_open(&x, error)) {
        fprintf(stderr, "%s: %s\n", command, error->text);
        return -1;
    }
    if (x->rank)
        log_as(x->who[x->rank]);
    int status = pretrain(a, signal, x, error);
    if (status && !x->rank)
        fprintf(stderr, "%s: %s\n", command, error->text);
    fflush(stdout);
    exchange_close(x, true);
    return status;
}

int command_pretrain(int argc, char **argv) {
    const CommandHelp help = {
        "jepa pretrain --data FOLDER|LIST.csv [--recipe FILE.yaml] --out RUN [--resume]",
        "Trains a context encoder, a predictor and an EMA target encoder on the videos. RUN "
        "receives "
        "recipe.yaml, log.csv, curves.png, quarantine.csv and checkpoints step-N/. SIGINT, SIGTERM "
        "and "
        "SIGUSR1 end it after the step at work, with a checkpoint; --resume goes on as if it had "
        "never "
        "stopped, bit for bit. Under mpirun or srun all ranks train together, to the same bits."};
    PretrainArguments a = {0};
    const Option options[] = {
        {"data", "PATH", "folder (walked recursively) or list of lines \"path label\"", OPTION_TEXT,
         &a.data},
        {"recipe", "FILE", "recipe in YAML; default: the built-in quickstart.yaml", OPTION_TEXT,
         &a.recipe},
        {"cooldown", "RUN",
         "go on from this run's weights and moments with a learning rate that falls linearly; "
         "without --recipe over a twentieth of its epochs",
         OPTION_TEXT, &a.cooldown},
        {"out", "RUN", "folder of the run", OPTION_TEXT, &a.out},
        {"resume", NULL, "go on with RUN; starts it if there is none", OPTION_FLAG, &a.resume},
        {"dry-run", NULL, "say what the run would be: sizes, steps, memory; needs no videos",
         OPTION_FLAG, &a.dry_run},
        {"set", "KEY=VALUE",
         "change a key of the recipe, e.g. optimization.epochs=5; may be repeated", OPTION_LIST,
         &a.sets},
        {"threads", "N", "threads for the arithmetic of a rank; 0: all it may use (default)",
         OPTION_INTEGER, &a.threads},
        {"workers", "N", "threads that decode; 0: from the recipe or the machine", OPTION_INTEGER,
         &a.workers},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &a.device},
        {"emulate-bfloat16", NULL,
         "compute bfloat16 recipes so on a CPU without its instructions too: slow, for comparison",
         OPTION_FLAG, &a.emulate},
    };
    TextList rest = {0};
    Error error = {0}, said = {0}; /* said: it was printed already */
    int signal = 0;
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count)
            error_set(&error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
        else if (!a.out && !a.dry_run)
            error_set(&error, ERROR_USAGE, "--out is missing: the folder that receives the run");
        else if (a.threads < 0 || a.workers < 0)
            error_set(&error, ERROR_USAGE, "--threads and --workers: expected 0 or more");
        else
            pretrain_together(&a, "jepa pretrain", &signal, &said);
    }
    if (error.code)
        fprintf(stderr, "jepa pretrain: %s\n", error.text);
    error = error.code ? error : said;
    free(a.sets.items);
    free(rest.items);
    return error.code ? error.code : signal ? 128 + signal : 0;
}
