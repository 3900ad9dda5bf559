/* The command line of jepa probe. See experiments/probe.h. */
#include "eval/knn.h"
#include "experiments/probe.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* "1,5,10" as numbers low..high, ascending if asked for. */
static int parse_list(double *out, int *count, int most, const char *option, const char *text,
                      double low, double high, bool ascending, Error *error) {
    *count = 0;
    for (const char *at = text; at;) {
        char *end;
        double value = strtod(at, &end);
        bool bad = end == at || (*end && *end != ',') || !(value >= low && value <= high);
        if (!bad && ascending && *count)
            bad = value <= out[*count - 1];
        if (bad || *count == most)
            return error_set(error, ERROR_USAGE,
                             "--%s %s: expected up to %d %snumbers from %g to %g, with commas",
                             option, text, most, ascending ? "ascending " : "", low, high);
        out[(*count)++] = value;
        at = *end ? end + 1 : NULL;
    }
    return 0;
}

static int parse_probes(ProbeArguments *a, Error *error) {
    for (const char *at = a->probes; at;) {
        size_t length = strcspn(at, ",");
        if (length == 3 && !strncmp(at, "knn", length))
            a->knn = true;
        else if (length == 6 && !strncmp(at, "linear", length))
            a->linear = true;
        else if (length == 9 && !strncmp(at, "attentive", length))
            a->attentive = true;
        else
            return error_set(error, ERROR_USAGE,
                             "--probes %s: expected some of knn, linear, attentive, with commas",
                             a->probes);
        at = at[length] ? at + length + 1 : NULL;
    }
    return 0;
}

static int parse_task(ProbeArguments *a, Error *error) {
    static const char *const names[] = {"classify", "multilabel", "regression"};
    int task = 0;
    while (task < 3 && strcmp(a->task_name, names[task]))
        task++;
    if (task == 3)
        return error_set(error, ERROR_USAGE,
                         "--task %s: expected classify, multilabel or regression", a->task_name);
    a->task = (Task)task;
    if ((a->task == TASK_CLASSES) != !a->targets)
        return error_set(error, ERROR_USAGE,
                         "--task %s %s --targets FILE.csv: it says of every video %s", a->task_name,
                         a->targets ? "takes no" : "needs",
                         a->targets ? "labels or numbers; classes come from folders or a list"
                                    : "which labels or numbers it has");
    if (a->val_targets && (!a->targets || !a->val))
        return error_set(error, ERROR_USAGE, "--val-targets belongs to --val and --targets");
    bool huber = !strcmp(a->loss_name, "huber");
    if (!huber && strcmp(a->loss_name, "squared"))
        return error_set(error, ERROR_USAGE, "--loss %s: expected squared or huber", a->loss_name);
    if (huber && a->task != TASK_VALUES)
        return error_set(error, ERROR_USAGE, "--loss huber belongs to --task regression");
    a->loss = a->task == TASK_CLASSES  ? LINEAR_SOFTMAX
              : a->task == TASK_LABELS ? LINEAR_SIGMOID
              : huber                  ? LINEAR_HUBER
                                       : LINEAR_SQUARED;
    return 0;
}

static int check_numbers(const ProbeArguments *a, Error *error) {
    if (a->crops < 1 || a->crops > 16)
        return error_set(error, ERROR_USAGE, "--crops %" PRId64 ": expected 1 to 16", a->crops);
    if (a->segments < 1 || a->segments > 64)
        return error_set(error, ERROR_USAGE, "--segments %" PRId64 ": expected 1 to 64",
                         a->segments);
    if (a->seed < 0)
        return error_set(error, ERROR_USAGE, "--seed %" PRId64 ": expected 0 or more", a->seed);
    if (a->seeds < 1 || a->seeds > 1000)
        return error_set(error, ERROR_USAGE, "--seeds %" PRId64 ": expected 1 to 1000", a->seeds);
    if (a->depth < 1 || a->depth > 64)
        return error_set(error, ERROR_USAGE, "--depth %" PRId64 ": expected 1 to 64", a->depth);
    if (a->batch < 1 || a->batch > 65536)
        return error_set(error, ERROR_USAGE, "--batch %" PRId64 ": expected 1 to 65536", a->batch);
    if (a->heads < 0 || a->heads > 128)
        return error_set(error, ERROR_USAGE, "--heads %" PRId64 ": expected 1 to 128", a->heads);
    if (!(a->epochs > 0 && a->epochs <= 10000))
        return error_set(error, ERROR_USAGE,
                         "--epochs %g: expected a number above 0, at most 10000", a->epochs);
    return 0;
}

static int parse_lists(ProbeArguments *a, Error *error) {
    double k[PROBE_LIST_MAX];
    if (parse_list(k, &a->k_count, PROBE_LIST_MAX, "k", a->k_list, 1, KNN_MAX, true, error) ||
        parse_list(a->low_shot, &a->low_shot_count, PROBE_LIST_MAX, "low-shot", a->low_shot_list,
                   1e-3, 100, true, error) ||
        parse_list(a->lr, &a->lr_count, ATTENTIVE_PROBES_MAX, "lr", a->lr_list, 1e-9, 10, false,
                   error) ||
        parse_list(a->decay, &a->decay_count, ATTENTIVE_PROBES_MAX, "weight-decay", a->decay_list,
                   0, 10, false, error))
        return -1;
    for (int i = 0; i < a->k_count; i++) {
        a->k[i] = (int)k[i];
        if (k[i] > a->k[i])
            return error_set(error, ERROR_USAGE, "--k %s: expected whole numbers", a->k_list);
    }
    if (a->low_shot_count && a->task != TASK_CLASSES)
        return error_set(error, ERROR_USAGE,
                         "--low-shot takes shares of classes: it belongs to "
                         "--task classify");
    if (a->low_shot_count && !a->knn && !a->linear)
        return error_set(error, ERROR_USAGE,
                         "--low-shot is of the kNN and linear probes: name "
                         "one with --probes");
    return 0;
}

/* A trained probe knows how it was trained. */
static int check_apply(const ProbeArguments *a, Error *error) {
    static const char *const known[] = {"--checkpoint", "--data",    "--out",
                                        "--apply",      "--threads", "--device"};
    if (!a->out)
        return error_set(error, ERROR_USAGE, "--apply needs --out FILE.csv");
    for (int i = 1; i < a->argc; i++) {
        size_t length = strcspn(a->argv[i], "=");
        bool fits = strncmp(a->argv[i], "--", 2) != 0;
        for (size_t k = 0; k < sizeof known / sizeof *known && !fits; k++)
            fits = strlen(known[k]) == length && !strncmp(a->argv[i], known[k], length);
        if (!fits)
            return error_set(error, ERROR_USAGE,
                             "%.*s means nothing with --apply: the probe knows how it was trained; "
                             "give --checkpoint, --data and --out",
                             (int)length, a->argv[i]);
    }
    return 0;
}

static int check(ProbeArguments *a, Error *error) {
    if (!a->encoder.checkpoint || !a->data)
        return error_set(error, ERROR_USAGE, "--checkpoint and --data are needed");
    if (encoder_check_arguments(&a->encoder, error))
        return -1;
    if (a->apply)
        return check_apply(a, error);
    if (parse_probes(a, error) || parse_task(a, error) || check_numbers(a, error) ||
        parse_lists(a, error))
        return -1;
    bool of_attentive = a->augment || a->lr_count || a->decay_count;
    if (of_attentive && !a->attentive)
        return error_set(error, ERROR_USAGE,
                         "--augment, --lr and --weight-decay are of the attentive probe: name it "
                         "with --probes");
    return 0;
}

int probe_options(ProbeArguments *a, int argc, char **argv, Error *error) {
    const CommandHelp help = {
        "jepa probe --checkpoint RUN --data FOLDER|LIST.csv [--val FOLDER|LIST.csv] [--out DIR] "
        "[--probes knn,linear,attentive]; jepa probe --apply OUT/PROBE --checkpoint RUN --data "
        "FOLDER --out FILE.csv",
        "Trains probes on the features of the frozen encoder and scores them on videos they have "
        "not seen, beside the same encoder with random weights, the raw pixels, and what knows "
        "nothing. Every setting of a probe is chosen on the training videos alone. Classes are "
        "the first-level folders, or the labels of a list. Without --val the last quarter of each "
        "class, in the order of names, is the test set."};
    *a = (ProbeArguments){.encoder = ENCODER_ARGUMENTS,
                          .probes = "knn,linear",
                          .task_name = "classify",
                          .loss_name = "squared",
                          .k_list = "1,5,10,20",
                          .segments = 2,
                          .crops = 1,
                          .seeds = 3,
                          .depth = 1,
                          .epochs = 20,
                          .batch = 32,
                          .argc = argc,
                          .argv = argv};
    const Option options[] = {
        ENCODER_OPTIONS(a->encoder),
        {"data", "PATH", "labelled videos: class folders or a list", OPTION_TEXT, &a->data},
        {"val", "PATH", "other labelled videos to test on", OPTION_TEXT, &a->val},
        {"out", "DIR", "results; default: RUN/probe", OPTION_TEXT, &a->out},
        {"group-regex", "REGEX",
         "files whose names match in the same text stay on one side of the split", OPTION_TEXT,
         &a->regex},
        {"segments", "N", "clips taken from each video (default 2)", OPTION_INTEGER, &a->segments},
        {"crops", "N", "crops along the longer side of each clip (default 1: the centre)",
         OPTION_INTEGER, &a->crops},
        {"probes", "LIST", "some of knn, linear, attentive (default knn,linear)", OPTION_TEXT,
         &a->probes},
        {"task", "NAME", "classify (default), multilabel or regression", OPTION_TEXT,
         &a->task_name},
        {"targets", "FILE", "CSV with file,NAME,...: 0 or 1 of each label, or numbers", OPTION_TEXT,
         &a->targets},
        {"val-targets", "FILE", "the same for --val; default: --targets", OPTION_TEXT,
         &a->val_targets},
        {"loss", "NAME", "of a linear regression: squared (default: ridge) or huber", OPTION_TEXT,
         &a->loss_name},
        {"k", "LIST", "neighbours of kNN to choose from (default 1,5,10,20)", OPTION_TEXT,
         &a->k_list},
        {"low-shot", "LIST", "also with so many percent of the training labels: 1,5,10",
         OPTION_TEXT, &a->low_shot_list},
        {"seeds", "N", "draws of these labels (default 3)", OPTION_INTEGER, &a->seeds},
        {"depth", "N", "blocks of the attentive probe: 1 (default, V-JEPA 1), 4 (V-JEPA 2)",
         OPTION_INTEGER, &a->depth},
        {"epochs", "N", "of the attentive probe (default 20)", OPTION_NUMBER, &a->epochs},
        {"batch", "N", "of the attentive probe (default 32; published 256)", OPTION_INTEGER,
         &a->batch},
        {"heads", "N",
         "of the attentive probe; default: the encoder's, and V-JEPA 2's 16 for --depth 4",
         OPTION_INTEGER, &a->heads},
        {"lr", "LIST", "learning rates of the attentive probe; default: V-JEPA 2's five",
         OPTION_TEXT, &a->lr_list},
        {"weight-decay", "LIST", "its weight decays; default: V-JEPA 2's four", OPTION_TEXT,
         &a->decay_list},
        {"augment", NULL,
         "train the attentive probe on clips drawn anew in every epoch, as published: the encoder "
         "runs each time",
         OPTION_FLAG, &a->augment},
        {"select-on-test", NULL,
         "choose settings by the test set, as the published protocol does; said in every output",
         OPTION_FLAG, &a->select_on_test},
        {"store", "DIR",
         "keep features there and take them from there; default for attentive: OUT/features",
         OPTION_TEXT, &a->store},
        {"seed", "N", "of the random initialisation, of probes and draws (default 0)",
         OPTION_INTEGER, &a->seed},
        {"apply", "DIR", "label --data with this trained probe (OUT/linear), into --out FILE.csv",
         OPTION_TEXT, &a->apply},
    };
    TextList rest = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               error);
    if (!parsed && rest.count)
        parsed = error_set(error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
    if (!parsed)
        parsed = check(a, error);
    free(rest.items);
    return parsed;
}
