/* See experiments/probe_saved.h. */
#include "experiments/probe_saved.h"
#include "base/file.h"
#include "eval/linear_weights.h"
#include "experiments/json.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABOUT_FILE   "trained.json"
#define ABOUT_LIMIT  ((size_t)64 << 20)
#define FORMAT       "jepa.c trained probe"
#define VERSION      1
#define OUTPUTS_MOST (1 << 20)
#define SETS_MOST    1000

static const char *const tasks[] = {"classify", "multilabel", "regression"};

/* ---- writing ---- */

static json_t *numbers_json(const double *values, int count) {
    json_t *json = json_array();
    for (int k = 0; values && k < count; k++)
        json_array_append_new(json, json_real(values[k]));
    return json;
}

static json_t *about_json(const ProbeStudy *s, const char *kind, const char *setting,
                          const char *selected_on, const double *centre, const double *spread) {
    const ProbeArguments *a = s->a;
    const Targets *t = &s->train.targets;
    json_t *names = json_array(), *sets = json_array();
    for (int k = 0; k < t->outputs; k++)
        json_array_append_new(names, json_text(t->names[k]));
    for (size_t i = 0; i < a->encoder.sets.count; i++)
        json_array_append_new(sets, json_text(a->encoder.sets.items[i]));
    return json_pack("{s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:I, s:f, "
                     "s:I, s:I, s:I, s:s, s:s}",
                     "format", FORMAT, "version", VERSION, "kind", kind, "task", tasks[t->task],
                     "outputs", names, "centre", numbers_json(centre, t->outputs), "spread",
                     numbers_json(spread, t->outputs), "checkpoint", json_text(s->source),
                     "checkpoint_blake2b_256", json_hash(&s->weights), "recipe_blake2b_256",
                     json_hash(&s->encoder.recipe_hash), "network", a->encoder.network, "layers",
                     a->encoder.layers ? a->encoder.layers : "", "set", sets, "frame_step",
                     (json_int_t)a->encoder.frame_step, "fps", a->encoder.fps, "random_init",
                     (json_int_t)a->encoder.random_init, "segments", (json_int_t)a->segments,
                     "crops", (json_int_t)a->crops, "setting", setting, "selected_on", selected_on);
}

/* Removes a probe that was saved there before, and nothing else: another folder of that name is in
 * the way. */
static int remove_saved(const char *folder, Error *error) {
    char *head = path_join(folder, "head"), *half = path_join(folder, "head.partial");
    char *about = path_join(folder, ABOUT_FILE);
    int result = 0;
    if (folder_exists(folder) && !file_exists(about) && !folder_exists(head) &&
        !folder_exists(half))
        result = error_set(error, ERROR_USAGE,
                           "%s is in the way and no trained probe: give another --out", folder);
    free(about);
    if (!result && folder_exists(head))
        result = folder_remove(head, error);
    if (!result && folder_exists(half))
        result = folder_remove(half, error);
    if (!result && folder_exists(folder))
        result = folder_remove(folder, error);
    free(head);
    free(half);
    return result;
}

int probe_saved_remove(const char *out, Error *error) {
    static const char *const names[] = {"linear", "attentive", "linear.partial",
                                        "attentive.partial"};
    int result = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !result; i++) {
        char *folder = path_join(out, names[i]);
        result = remove_saved(folder, error);
        free(folder);
    }
    return result;
}

/* OUT/NAME, made beside and renamed; one of LinearModel and ProbeWeights. */
static int save(const ProbeStudy *s, const char *name, json_t *about, const LinearModel *linear,
                const ProbeWeights *attentive, Error *error) {
    char *folder = path_join(s->out, name), *partial = memory_text("%s.partial", folder);
    char *head = path_join(partial, "head");
    int result = remove_saved(partial, error);
    if (!result)
        result = folder_make(partial, error);
    if (!result)
        result = linear ? linear_weights_save(head, linear, error)
                        : probe_weights_save(head, attentive, error);
    if (!result)
        result = json_save(about, partial, ABOUT_FILE, error);
    else
        json_decref(about);
    if (!result)
        result = remove_saved(folder, error);
    if (!result && rename(partial, folder))
        result = error_set(error, ERROR_RUN, "cannot rename %s to %s: %s", partial, folder,
                           strerror(errno));
    free(folder);
    free(partial);
    free(head);
    return result;
}

int probe_saved_linear(const ProbeStudy *s, const LinearModel *model, Error *error) {
    char setting[64];
    snprintf(setting, sizeof setting, "lambda %g", model->lambda);
    json_t *about = about_json(s, "linear", setting,
                               s->a->select_on_test ? SELECTED_TEST : SELECTED_FOLDS, NULL, NULL);
    return save(s, "linear", about, model, NULL, error);
}

int probe_saved_attentive(const ProbeStudy *s, const ProbeWeights *weights, const char *setting,
                          const double *centre, const double *spread, Error *error) {
    json_t *about = about_json(s, "attentive", setting,
                               s->a->select_on_test ? SELECTED_TEST : SELECTED_HELD_OUT, centre,
                               spread);
    return save(s, "attentive", about, NULL, weights, error);
}

/* ---- reading ---- */

void probe_saved_close(ProbeSaved *p) {
    for (int k = 0; k < p->outputs && p->names; k++)
        free(p->names[k]);
    for (size_t i = 0; i < p->sets.count; i++)
        free((void *)(uintptr_t)p->sets.items[i]);
    free(p->names);
    free(p->centre);
    free(p->spread);
    free(p->sets.items);
    free(p->folder);
    free(p->kind);
    free(p->source);
    free(p->network);
    free(p->layers);
    free(p->selected_on);
    free(p->setting);
    memset(p, 0, sizeof *p);
}

/* [K] finite numbers, or none. */
static bool read_numbers(double **out, json_t *list, int count) {
    *out = NULL;
    if (!json_array_size(list))
        return true;
    if (json_array_size(list) != (size_t)count)
        return false;
    *out = memory_new((size_t)count, sizeof **out);
    for (int k = 0; k < count; k++) {
        json_t *value = json_array_get(list, (size_t)k);
        if (!json_is_number(value) || !isfinite(json_number_value(value)))
            return false;
        (*out)[k] = json_number_value(value);
    }
    return true;
}

static bool read_names(ProbeSaved *p, json_t *names, json_t *sets) {
    size_t count = json_array_size(names), set_count = json_array_size(sets);
    if (!count || count > OUTPUTS_MOST || set_count > SETS_MOST)
        return false;
    p->outputs = (int)count;
    p->names = memory_new(count, sizeof *p->names);
    for (size_t k = 0; k < count; k++) {
        const char *name = json_string_value(json_array_get(names, k));
        if (!name)
            return false;
        p->names[k] = memory_text("%s", name);
    }
    p->sets.items = memory_new(set_count + 1, sizeof *p->sets.items);
    for (size_t i = 0; i < set_count; i++) {
        const char *text = json_string_value(json_array_get(sets, i));
        if (!text)
            return false;
        p->sets.items[p->sets.count++] = memory_text("%s", text);
    }
    return true;
}

static bool read_about(ProbeSaved *p, json_t *about) {
    const char *format, *kind, *task, *source, *weights, *recipe, *network, *layers, *setting,
        *selected_on;
    json_t *names, *centre, *spread, *sets;
    json_int_t frame_step, random_init, segments, crops;
    int version, which = 0;
    if (!about ||
        json_unpack(about,
                    "{s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:F, "
                    "s:I, s:I, s:I, s:s, s:s}",
                    "format", &format, "version", &version, "kind", &kind, "task", &task, "outputs",
                    &names, "centre", &centre, "spread", &spread, "checkpoint", &source,
                    "checkpoint_blake2b_256", &weights, "recipe_blake2b_256", &recipe, "network",
                    &network, "layers", &layers, "set", &sets, "frame_step", &frame_step, "fps",
                    &p->fps, "random_init", &random_init, "segments", &segments, "crops", &crops,
                    "setting", &setting, "selected_on", &selected_on) ||
        strcmp(format, FORMAT) || version != VERSION ||
        (strcmp(kind, "linear") && strcmp(kind, "attentive")) || segments < 1 || segments > 64 ||
        crops < 1 || crops > 16)
        return false;
    while (which < 3 && strcmp(task, tasks[which]))
        which++;
    if (which == 3 || hash_from_text(&p->weights, weights) || hash_from_text(&p->recipe, recipe) ||
        !read_names(p, names, sets) || !read_numbers(&p->centre, centre, p->outputs) ||
        !read_numbers(&p->spread, spread, p->outputs) || !p->centre != !p->spread)
        return false;
    p->task = (Task)which;
    p->kind = memory_text("%s", kind);
    p->source = memory_text("%s", source);
    p->network = memory_text("%s", network);
    p->layers = memory_text("%s", layers);
    p->setting = memory_text("%s", setting);
    p->selected_on = memory_text("%s", selected_on);
    p->frame_step = frame_step;
    p->random_init = random_init;
    p->segments = segments;
    p->crops = crops;
    return true;
}

/* Which probes lie in the folder of a study, for a message. */
static int no_probe(const char *folder, Error *error) {
    char *linear = path_join(folder, "linear"), *attentive = path_join(folder, "attentive");
    bool first = folder_exists(linear), second = folder_exists(attentive);
    if (first || second)
        error_set(error, ERROR_USAGE, "%s holds several things: give the probe itself, %s%s%s",
                  folder, first ? linear : "", first && second ? " or " : "",
                  second ? attentive : "");
    else
        error_set(error, ERROR_USAGE,
                  "%s is no trained probe: jepa probe writes them into its --out, as linear and "
                  "attentive",
                  folder);
    free(linear);
    free(attentive);
    return -1;
}

int probe_saved_open(ProbeSaved *p, const char *folder, Error *error) {
    memset(p, 0, sizeof *p);
    char *path = path_join(folder, ABOUT_FILE);
    uint8_t *bytes = NULL;
    size_t count = 0;
    int result = file_exists(path) ? file_read(&bytes, &count, path, ABOUT_LIMIT, error)
                                   : no_probe(folder, error);
    if (!result) {
        json_t *about = json_loadb((const char *)bytes, count, JSON_REJECT_DUPLICATES, NULL);
        if (!read_about(p, about))
            result = error_set(error, ERROR_RUN, "%s is damaged or describes no trained probe",
                               path);
        json_decref(about);
    }
    p->folder = memory_text("%s", folder);
    free(bytes);
    free(path);
    if (result)
        probe_saved_close(p);
    return result;
}
