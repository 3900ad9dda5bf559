/* Which encoder is probed, on which videos, and who trains and who tests. See experiments/probe.h.
 */
#include "base/file.h"
#include "base/log.h"
#include "experiments/probe_saved.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const probe_source_names[SOURCES] = {"this encoder", "random initialisation",
                                                 "raw pixels"};

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

static int same_targets(const ProbeStudy *s, Error *error) {
    const Targets *train = &s->targets[0], *test = &s->targets[1];
    bool same = train->outputs == test->outputs;
    for (int k = 0; k < train->outputs && same; k++)
        same = !strcmp(train->names[k], test->names[k]);
    return same ? 0
                : error_set(error, ERROR_USAGE,
                            "%s and %s have different columns: both need the same names in the "
                            "same order",
                            s->a->targets, s->a->val_targets ? s->a->val_targets : s->a->targets);
}

static int read_targets(ProbeStudy *s, Error *error) {
    const ProbeArguments *a = s->a;
    if (a->task == TASK_CLASSES) {
        for (int i = 0; i < s->sets; i++)
            targets_of_classes(&s->targets[i], &s->index[i]);
        return s->sets == 2 ? same_classes(&s->index[0], &s->index[1], error) : 0;
    }
    for (int i = 0; i < s->sets; i++) {
        const char *path = i && a->val_targets ? a->val_targets : a->targets;
        if (targets_read(&s->targets[i], path, a->task, &s->index[i], NULL, error))
            return -1;
    }
    return s->sets == 2 ? same_targets(s, error) : 0;
}

/* Classes part the videos where they are asked for, and where every one has one. */
static bool split_by_class(const ProbeStudy *s) {
    if (s->a->task == TASK_CLASSES)
        return true;
    const VideoIndex *index = &s->index[0];
    bool all = index->classes > 1;
    for (size_t i = 0; i < index->usable && all; i++)
        all = video_index_label(index, index->usable_files[i]) >= 0;
    return all;
}

static int make_split(ProbeStudy *s, Error *error) {
    const ProbeArguments *a = s->a;
    bool by_class = split_by_class(s);
    if (s->sets == 1)
        return split_make(&s->split[0], &s->index[0], a->regex, LINEAR_FOLDS, by_class, error);
    if (a->task == TASK_CLASSES && s->index[0].classes < 2)
        return error_set(error, ERROR_USAGE,
                         "%s: a probe needs two classes or more: one folder for each class, or "
                         "labels in the list",
                         a->data);
    for (int i = 0; i < 2; i++)
        if (split_all_train(&s->split[i], &s->index[i], a->regex, LINEAR_FOLDS, by_class, error))
            return -1;
    return 0;
}

/* What another study left in OUT must not be taken for this one's. */
static void remove_results(const char *out) {
    static const char *const names[] = {
        "manifest.json",          "results.csv",   "results.json",      "by_class.csv",
        "by_label.csv",           "by_value.csv",  "settings.csv",      "low_shot.csv",
        "predictions.csv",        "confusion.png", "confusion-knn.png", "confusion-linear.png",
        "confusion-attentive.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = path_join(out, names[i]);
        unlink(path);
        free(path);
    }
}

static int name_out(ProbeStudy *s, Error *error) {
    const ProbeArguments *a = s->a;
    if (a->out) {
        s->out = memory_text("%s", a->out);
    } else if (s->encoder.checkpoint.folder) {
        char *run = path_folder(s->encoder.checkpoint.folder);
        s->out = path_join(run, "probe");
        free(run);
    } else {
        return error_set(error, ERROR_USAGE, "--out is needed: %s is no run to write into",
                         a->encoder.checkpoint);
    }
    if (folder_make(s->out, error))
        return -1;
    if (s->sets == 1)
        printf("split                  %zu videos train, %zu test   (%s/split.csv)\n",
               s->split[0].train_count, s->split[0].test_count, s->out);
    return 0;
}

static int by_hash(const void *a, const void *b) {
    return memcmp(a, b, sizeof(Hash));
}

/* Says how many test videos have the bytes of a training video. */
static void warn_of_copies(const ProbeStudy *s) {
    const VideoIndex *train = &s->index[0], *test = &s->index[1];
    size_t found = 0;
    Hash *hashes = memory_new(train->usable + 1, sizeof *hashes);
    for (size_t i = 0; i < train->usable; i++)
        hashes[i] = video_index_file(train, train->usable_files[i]).hash;
    qsort(hashes, train->usable, sizeof *hashes, by_hash);
    for (size_t i = 0; i < test->usable; i++) {
        Hash own = video_index_file(test, test->usable_files[i]).hash;
        found += bsearch(&own, hashes, train->usable, sizeof *hashes, by_hash) != NULL;
    }
    free(hashes);
    if (found)
        log_warn("%zu of the %zu test videos are training videos too: what is said of these is "
                 "remembered, not known",
                 found, test->usable);
}

int probe_study_open(ProbeStudy *s, const ProbeArguments *a, Error *error) {
    memset(s, 0, sizeof *s);
    s->a = a;
    if (encoder_open(&s->encoder, &a->encoder, 0, error))
        return -1;
    if (a->attentive && probe_attentive_check(s, error))
        return -1;
    s->threads = s->encoder.device->threads;
    s->views = encoder_views(&s->encoder, (int)a->segments, (int)a->crops);
    s->sets = a->val ? 2 : 1;
    for (int i = 0; i < s->sets; i++)
        if (encoder_index(&s->index[i], &s->encoder, i ? a->val : a->data, error))
            return -1;
    if (s->sets == 2)
        warn_of_copies(s);
    return read_targets(s, error) || make_split(s, error) || name_out(s, error) ? -1 : 0;
}

static void side_free(ProbeSide *side) {
    free(side->files);
    free(side->fold);
    free(side->group);
    targets_free(&side->targets);
}

void probe_study_close(ProbeStudy *s) {
    for (int i = 0; i < s->result_count; i++) {
        free(s->results[i].each);
        free(s->results[i].each_low);
        free(s->results[i].each_high);
        free(s->results[i].outputs);
    }
    free(s->results);
    free(s->settings);
    free(s->low_shot);
    for (int i = 0; i < s->store_count; i++)
        free(s->stores[i].folder);
    side_free(&s->train);
    side_free(&s->test);
    for (int i = 0; i < 2; i++) {
        targets_free(&s->targets[i]);
        split_free(&s->split[i]);
        video_index_free(&s->index[i]);
    }
    encoder_close(&s->encoder);
    free(s->source);
    free(s->out);
}

int probe_study_load(ProbeStudy *s, ProbeSource source, Error *error) {
    if (source == SOURCE_RANDOM)
        encoder_random(&s->encoder, (uint64_t)s->a->seed);
    if (source != SOURCE_ENCODER)
        return 0;
    if (encoder_load(&s->encoder, error))
        return -1;
    s->weights = s->encoder.weights;
    free(s->source);
    s->source = memory_text("%s", s->encoder.source);
    return 0;
}

/* ---- who trains and who tests ---- */

typedef struct Named {
    const char *name;
    int64_t number;
} Named;

static int by_name(const void *a, const void *b) {
    const Named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

/* group[n]: the first of the side's videos whose group is the same. */
static void number_groups(ProbeSide *side, const Split *split) {
    size_t count = (size_t)side->count;
    Named *named = memory_new(count + 1, sizeof *named);
    for (size_t i = 0; i < count; i++)
        named[i] = (Named){split->group[side->files[i]], (int64_t)i};
    qsort(named, count, sizeof *named, by_name);
    for (size_t i = 0; i < count; i++)
        side->group[named[i].number] = i && !strcmp(named[i].name, named[i - 1].name)
                                           ? side->group[named[i - 1].number]
                                           : named[i].number;
    free(named);
}

static void make_side(ProbeSide *side, const ProbeStudy *s, const Features *features, int set,
                      bool test) {
    const Split *split = &s->split[set];
    size_t most = (size_t)features->count;
    int64_t *items = memory_new(most + 1, sizeof *items);
    *side = (ProbeSide){.index = &s->index[set]};
    side->files = memory_new(most + 1, sizeof *side->files);
    side->fold = memory_new(most + 1, sizeof *side->fold);
    side->group = memory_new(most + 1, sizeof *side->group);
    for (size_t i = 0; i < most; i++) {
        uint32_t file = features->files[i];
        if ((s->a->task == TASK_CLASSES && s->targets[set].classes[file] < 0) ||
            (s->sets == 1 && split->test[file] != test))
            continue;
        items[side->count] = file;
        side->fold[side->count] = split->fold[file];
        side->files[side->count++] = file;
    }
    targets_take(&side->targets, &s->targets[set], items, side->count);
    number_groups(side, split);
    free(items);
}

/* From here on OUT is this study's. */
static int begin_out(const ProbeStudy *s, Error *error) {
    char *path = path_join(s->out, "split.csv");
    remove_results(s->out);
    int result = probe_saved_remove(s->out, error);
    if (!result)
        result = split_save(&s->split[0], &s->index[0], path, error);
    free(path);
    return result;
}

int probe_study_sides(ProbeStudy *s, const Features *features, Error *error) {
    make_side(&s->train, s, &features[0], 0, false);
    make_side(&s->test, s, &features[s->sets - 1], s->sets - 1, true);
    if (!s->train.count || !s->test.count)
        return error_set(error, ERROR_RUN, "no labelled videos left to train or to test on");
    return begin_out(s, error);
}
