/* jepa probe: how much the frozen features know, beside what an untrained encoder and the majority
 * class know. */
#include "base/file.h"
#include "base/log.h"
#include "base/words.h"
#include "eval/confusion.h"
#include "eval/features.h"
#include "eval/logistic.h"
#include "eval/png.h"
#include "eval/split.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/plan.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "jepa/run.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_CLIPS 8 /* clips that go through the encoder at once */

typedef struct ProbeArguments {
    const char *checkpoint, *data, *val, *out, *regex, *network, *layers, *device;
    TextList sets;
    int64_t threads, segments, crops, seed;
} ProbeArguments;

/* One set of labelled feature rows. */
typedef struct Rows {
    int64_t count;
    float *rows;
    int *labels, *fold;
    uint32_t *files;
} Rows;

typedef struct Score {
    const char *name;
    int64_t correct, count;
    double lambda;
    int64_t *confusion; /* [K][K] */
} Score;

static void rows_free(Rows *r) {
    free(r->rows);
    free(r->labels);
    free(r->fold);
    free(r->files);
}

/* The rows of one side of the split. */
static Rows select_rows(const Features *features, const VideoIndex *index, const Split *split,
                        bool test) {
    Rows r = {0};
    size_t most = (size_t)features->count, width = (size_t)features->width;
    r.rows = memory_new(most * width, sizeof *r.rows);
    r.labels = memory_new(most, sizeof *r.labels);
    r.fold = memory_new(most, sizeof *r.fold);
    r.files = memory_new(most, sizeof *r.files);
    for (size_t i = 0; i < most; i++) {
        uint32_t file = features->files[i];
        if (video_index_label(index, file) < 0 || (split && split->test[file] != test))
            continue;
        memcpy(r.rows + (size_t)r.count * width, features->rows + i * width,
               width * sizeof *r.rows);
        r.labels[r.count] = video_index_label(index, file);
        r.fold[r.count] = split ? split->fold[file] : 0;
        r.files[r.count++] = file;
    }
    return r;
}

/* Fits on train (lambda chosen on its folds), scores on test. */
static Score score_probe(const char *name, const Rows *train, const Rows *test, int width,
                         int classes, int *predictions) {
    Score score = {.name = name, .count = test->count};
    Logistic model;
    score.confusion = memory_new((size_t)classes * (size_t)classes, sizeof *score.confusion);
    score.lambda = logistic_choose(train->rows, train->labels, train->fold, train->count, width,
                                   classes);
    logistic_fit(&model, train->rows, train->labels, train->count, width, classes, score.lambda);
    for (int64_t i = 0; i < test->count; i++) {
        int k = logistic_predict(&model, test->rows + i * width);
        score.correct += k == test->labels[i];
        score.confusion[(size_t)test->labels[i] * (size_t)classes + (size_t)k]++;
        if (predictions)
            predictions[i] = k;
    }
    logistic_free(&model);
    return score;
}

/* The class that is most frequent in training, said of every test video. */
static Score score_majority(const Rows *train, const Rows *test, int classes) {
    Score score = {.name = "majority class", .count = test->count};
    int64_t *counts = memory_new((size_t)classes, sizeof *counts);
    int best = 0;
    for (int64_t i = 0; i < train->count; i++)
        counts[train->labels[i]]++;
    for (int k = 1; k < classes; k++)
        best = counts[k] > counts[best] ? k : best;
    for (int64_t i = 0; i < test->count; i++)
        score.correct += test->labels[i] == best;
    free(counts);
    return score;
}

static void print_score(const Score *score) {
    double low, high;
    wilson_interval(&low, &high, score->correct, score->count);
    printf("%-22s %5.1f %%   [%4.1f, %4.1f]   %" PRId64 " of %" PRId64 "\n", score->name,
           100.0 * (double)score->correct / (double)score->count, 100 * low, 100 * high,
           score->correct, score->count);
}

static int write_results(const char *out, const Score *scores, int count, Error *error) {
    char *text = NULL, *path = path_join(out, "results.csv");
    size_t size;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    fprintf(file, "probe,top1,low95,high95,correct,test_videos,lambda\n");
    for (int i = 0; i < count; i++) {
        double low, high;
        wilson_interval(&low, &high, scores[i].correct, scores[i].count);
        fprintf(file, "%s,%.6f,%.6f,%.6f,%" PRId64 ",%" PRId64 ",%g\n", scores[i].name,
                (double)scores[i].correct / (double)scores[i].count, low, high, scores[i].correct,
                scores[i].count, scores[i].lambda);
    }
    fclose(file);
    int result = file_write(path, text, size, error);
    free(text);
    free(path);
    return result;
}

static int write_predictions(const char *out, const Rows *test, const int *predictions,
                             const VideoIndex *index, Error *error) {
    char *text = NULL, *path = path_join(out, "predictions.csv");
    size_t size;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    fprintf(file, "file,class,predicted\n");
    for (int64_t i = 0; i < test->count; i++) {
        char *fields[3] = {csv_quote(video_index_name(index, test->files[i])),
                           csv_quote(index->class_names[test->labels[i]]),
                           csv_quote(index->class_names[predictions[i]])};
        fprintf(file, "%s,%s,%s\n", fields[0], fields[1], fields[2]);
        for (int f = 0; f < 3; f++)
            free(fields[f]);
    }
    fclose(file);
    int result = file_write(path, text, size, error);
    free(text);
    free(path);
    return result;
}

static int write_confusion(const char *out, const Score *score, const VideoIndex *index,
                           Error *error) {
    char *path = path_join(out, "confusion.png");
    Canvas *canvas = NULL;
    int result = confusion_draw(&canvas, score->confusion, (const char *const *)index->class_names,
                                index->classes, "Linear probe on frozen features: confusion", NULL,
                                error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result)
        printf("confusion matrix       %s\n", path);
    canvas_free(canvas);
    free(path);
    return result;
}

/* Features of train and test videos, with the weights that the model now holds. */
static int extract_both(Features features[2], Model *model, const VideoIndex index[2], int sets,
                        const ClipSpec *clip, const FeatureViews *views, const ProbeArguments *a,
                        Error *error) {
    memset(features, 0, 2 * sizeof *features);
    for (int i = 0; i < sets; i++)
        if (features_extract(&features[i], model, &index[i], clip, views, a->network[0],
                             model->device->threads, error))
            return -1;
    return 0;
}

/* The classes of both indexes must be the same list. */
static int same_classes(const VideoIndex *train, const VideoIndex *test, Error *error) {
    bool same = train->classes == test->classes;
    for (int k = 0; k < train->classes && same; k++)
        same = !strcmp(train->class_names[k], test->class_names[k]);
    if (!same)
        return error_set(
            error, ERROR_USAGE,
            "%s and %s have different classes (%d and %d): both need the same folder names "
            "or labels",
            train->sources[0], test->sources[0], train->classes, test->classes);
    return 0;
}

typedef struct Study {
    VideoIndex index[2]; /* training and test videos; without --val only the first */
    int sets;
    Split split;
    Model model;
    Recipe recipe;
    Checkpoint checkpoint;
    Device *device;
    FrameCache *cache; /* both encoders look at the same clips */
    char *out;
} Study;

/* With the recipe's check and cache, whatever its own data sets were. */
static int index_videos(VideoIndex *index, const Study *s, const char *source, Error *error) {
    Recipe recipe = s->recipe;
    recipe.data.datasets[0] = (char *)(uintptr_t)source;
    recipe.data.datasets_count = 1;
    return run_index(index, &recipe, s->device->threads, error);
}

/* "3,7,11": the blocks whose outputs are put side by side, counted from 0; -1 is the last. */
static int parse_layers(ModelPlan *plan, const char *text, Error *error) {
    int depth = config_teacher(&plan->config).depth;
    for (const char *at = text; *at;) {
        char *end;
        long block = strtol(at, &end, 10);
        block = block < 0 ? depth + block : block;
        if (end == at || (*end && *end != ',') || block < 0 || block >= depth ||
            plan->layers == MODEL_LAYERS_MAX)
            return error_set(error, ERROR_USAGE,
                             "--layers %s: expected up to %d numbers from 0 to %d, with commas",
                             text, MODEL_LAYERS_MAX, depth - 1);
        plan->layer[plan->layers++] = (int)block;
        at = *end ? end + 1 : end;
    }
    /* they are computed one after another */
    for (int i = 1; i < plan->layers; i++)
        if (plan->layer[i] <= plan->layer[i - 1])
            return error_set(error, ERROR_USAGE, "--layers %s: expected ascending numbers", text);
    return 0;
}

static int prepare(Study *s, const ProbeArguments *a, Error *error) {
    int result;
    if (checkpoint_open(&s->checkpoint, a->checkpoint, error) ||
        recipe_parse(&s->recipe, s->checkpoint.recipe, "the checkpoint's recipe", error) ||
        recipe_check(&s->recipe, error))
        return -1;
    ModelConfig trained = recipe_model(&s->recipe);
    for (size_t i = 0; i < a->sets.count; i++)
        if (recipe_set(&s->recipe, a->sets.items[i], error))
            return -1;
    if (recipe_check(&s->recipe, error) ||
        plan_open_device(&s->device, a->device, 0, (int)a->threads, error) ||
        index_videos(&s->index[0], s, a->data, error))
        return -1;
    if (s->recipe.data.cache_bytes > 0 &&
        frame_cache_open(&s->cache, (size_t)s->recipe.data.cache_bytes, s->recipe.data.cache_folder,
                         error))
        return -1;
    s->sets = 1;
    if (a->val) {
        s->sets = 2;
        if (index_videos(&s->index[1], s, a->val, error) ||
            same_classes(&s->index[0], &s->index[1], error))
            return -1;
        split_all_train(&s->split, &s->index[0], LOGISTIC_FOLDS);
    } else if (split_make(&s->split, &s->index[0], a->regex, LOGISTIC_FOLDS, error)) {
        return -1;
    }
    ModelPlan plan = {.config = recipe_model(&s->recipe),
                      .samples = BATCH_CLIPS,
                      .float_input = s->recipe.data.interpolation == CLIP_PUBLISHED};
    plan.config.trained_frames = trained.frames; /* other input sizes: positions are interpolated */
    plan.config.trained_height = trained.height;
    plan.config.trained_width = trained.width;
    /* with a frozen teacher what was learnt is the context encoder, of other sizes perhaps */
    plan.config.teacher = (EncoderConfig){0};
    if (a->layers && parse_layers(&plan, a->layers, error))
        return -1;
    if (config_check(&plan.config, error) || model_new(&s->model, &plan, s->device, error))
        return -1;
    char *run = path_folder(s->checkpoint.folder);
    s->out = a->out ? memory_text("%s", a->out) : path_join(run, "probe");
    free(run);
    char *path = path_join(s->out, "split.csv");
    result = folder_make(s->out, error);
    if (!result)
        result = split_save(&s->split, &s->index[0], path, error);
    if (!result && !a->val)
        printf("split                  %zu videos train, %zu test   (%s)\n", s->split.train_count,
               s->split.test_count, path);
    free(path);
    return result;
}

/* The networks; what the recipe's teacher is, if it has one of its own, is not asked for. */
static int load_encoder(Study *s, const ProbeArguments *a, Error *error) {
    if (!recipe_teacher(&s->recipe))
        return checkpoint_load(&s->model, &s->checkpoint, error);
    if (a->network[0] != 'c')
        return error_set(error, ERROR_USAGE,
                         "the target encoder of this run is a frozen teacher: give --network "
                         "context for what was learnt, or probe the teacher's own checkpoint");
    CheckpointLoaded loaded;
    return checkpoint_load_some(&loaded, &s->model, &s->checkpoint, error);
}

/* Scores of the trained and of the untrained encoder, and of the majority class. */
static int study(Study *s, const ProbeArguments *a, Error *error) {
    ClipSpec clip = recipe_clip(&s->recipe);
    clip.views = (ClipViews){0}; /* of training */
    FeatureViews views = {(int)a->segments, (int)a->crops, s->recipe.data.timeout, s->cache};
    int classes = s->index[0].classes, width = s->model.teacher.dim * s->model.features.count,
        result = 0;
    const VideoIndex *test_index = &s->index[s->sets - 1];
    Score scores[3] = {{0}};
    for (int untrained = 0; untrained < 2 && !result; untrained++) {
        Features features[2] = {{0}};
        if (untrained)
            model_init(&s->model, (uint64_t)a->seed);
        else
            result = load_encoder(s, a, error);
        if (!result)
            result = extract_both(features, &s->model, s->index, s->sets, &clip, &views, a, error);
        if (!result) {
            const Split *split = s->sets == 1 ? &s->split : NULL;
            Rows train = select_rows(&features[0], &s->index[0], &s->split, false);
            Rows test = select_rows(&features[s->sets - 1], test_index, split, true);
            int *predictions = memory_new((size_t)test.count + 1, sizeof *predictions);
            if (!train.count || !test.count) {
                result = error_set(error, ERROR_RUN,
                                   "no labelled videos left to train or to test on");
            } else {
                scores[untrained] = score_probe(untrained ? "random initialisation"
                                                          : "this encoder",
                                                &train, &test, width, classes, predictions);
                if (!untrained) {
                    scores[2] = score_majority(&train, &test, classes);
                    result = write_predictions(s->out, &test, predictions, test_index, error);
                }
            }
            free(predictions);
            rows_free(&train);
            rows_free(&test);
        }
        features_free(&features[0]);
        features_free(&features[1]);
    }
    if (!result) {
        printf("checkpoint             %s\n", s->checkpoint.folder);
        printf("linear probe           top-1     95%% interval   test videos\n");
        for (int i = 0; i < 3; i++)
            print_score(&scores[i]);
        result = write_results(s->out, scores, 3, error);
    }
    if (!result)
        result = write_confusion(s->out, &scores[0], &s->index[0], error);
    for (int i = 0; i < 3; i++)
        free(scores[i].confusion);
    return result;
}

static int probe(const ProbeArguments *a, Error *error) {
    Study s = {.sets = 0};
    recipe_default(&s.recipe);
    int result = prepare(&s, a, error);
    if (!result)
        result = study(&s, a, error);
    if (s.model.device)
        model_free(&s.model);
    split_free(&s.split);
    video_index_free(&s.index[0]);
    video_index_free(&s.index[1]);
    frame_cache_close(s.cache);
    checkpoint_close(&s.checkpoint);
    recipe_free(&s.recipe);
    device_close(s.device);
    free(s.out);
    return result;
}

int command_probe(int argc, char **argv) {
    const CommandHelp help = {
        "jepa probe --checkpoint RUN --data FOLDER|LIST.csv [--val FOLDER|LIST.csv] [--out DIR]",
        "Trains a linear classifier on the mean-pooled features of the frozen encoder and scores "
        "it on "
        "videos it has not seen, beside the same encoder with random weights and the majority "
        "class. "
        "Classes are the first-level folders, or the labels of a list. Without --val the last "
        "quarter "
        "of each class, in the order of names, is the test set."};
    ProbeArguments a = {.network = "target", .segments = 2, .crops = 1, .seed = 0};
    const Option options[] = {
        {"checkpoint", "RUN", "a run (its newest checkpoint) or a step-N folder", OPTION_TEXT,
         &a.checkpoint},
        {"data", "PATH", "labelled videos: class folders or a list", OPTION_TEXT, &a.data},
        {"val", "PATH", "other labelled videos to test on", OPTION_TEXT, &a.val},
        {"out", "DIR", "results; default: RUN/probe", OPTION_TEXT, &a.out},
        {"group-regex", "REGEX",
         "files whose names match in the same text stay on one side of the split", OPTION_TEXT,
         &a.regex},
        {"segments", "N", "clips taken from each video (default 2)", OPTION_INTEGER, &a.segments},
        {"crops", "N", "crops along the longer side of each clip (default 1: the centre)",
         OPTION_INTEGER, &a.crops},
        {"set", "KEY=VALUE",
         "change a key of the recipe, e.g. data.crop_size or data.sampling_rate; may be repeated",
         OPTION_LIST, &a.sets},
        {"network", "NAME", "target (default) or context: which encoder", OPTION_TEXT, &a.network},
        {"layers", "LIST",
         "blocks whose outputs are taken instead of the last one's, side by side: 3,7,11",
         OPTION_TEXT, &a.layers},
        {"seed", "N", "of the random initialisation (default 0)", OPTION_INTEGER, &a.seed},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &a.threads},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &a.device},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count)
            error_set(&error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
        else if (!a.checkpoint || !a.data)
            error_set(&error, ERROR_USAGE, "--checkpoint and --data are needed");
        else if (strcmp(a.network, "target") && strcmp(a.network, "context"))
            error_set(&error, ERROR_USAGE, "--network %s: expected target or context", a.network);
        else if (a.crops < 1 || a.crops > 16)
            error_set(&error, ERROR_USAGE, "--crops %" PRId64 ": expected 1 to 16", a.crops);
        else if (a.segments < 1 || a.segments > 64 || a.threads < 0 || a.seed < 0)
            error_set(&error, ERROR_USAGE, "--segments: 1 to 64; --threads and --seed: 0 or more");
        else
            probe(&a, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa probe: %s\n", error.text);
    free(a.sets.items);
    free(rest.items);
    return error.code;
}
