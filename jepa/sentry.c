/* The collapse sentry. See jepa/sentry.h. */
#include "jepa/sentry.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is watched: where its thresholds lie in the recipe, and what they are called. */
typedef struct Watch {
    DiagnosisValue value;
    size_t least, share; /* offsets of a double; 0: none */
    const char *least_key, *share_key;
} Watch;

#define AT(member) offsetof(Recipe, sentry.member)

static const Watch watches[SENTRY_WATCHED] = {
    {DIAGNOSIS_CONTEXT_STD, AT(std_min), AT(std_share), "sentry.std_min", "sentry.std_share"},
    {DIAGNOSIS_TARGET_STD, AT(std_min), AT(std_share), "sentry.std_min", "sentry.std_share"},
    {DIAGNOSIS_CONTEXT_RANKME, AT(rankme_min), AT(rankme_share), "sentry.rankme_min",
     "sentry.rankme_share"},
    {DIAGNOSIS_TARGET_RANKME, AT(rankme_min), AT(rankme_share), "sentry.rankme_min",
     "sentry.rankme_share"},
    {DIAGNOSIS_LIDAR, 0, AT(lidar_share), NULL, "sentry.lidar_share"},
};

void health_start(Health *health) {
    *health = (Health){.lr_scale = 1};
}

void health_go_on(Health *h, const Rewinds *rewinds, int64_t steps) {
    for (int i = 0; i < rewinds->count; i++) {
        int64_t to = rewinds->rewind[i].to;
        if (to <= steps && to > h->sound)
            h->sound = to;
        if (to == steps)
            h->complaints = 0;
    }
}

void health_keep_best(Health *h, const Health *from) {
    h->best_by = from->best_by;
    h->best = from->best;
    h->best_step = from->best_step;
    h->best_branch = from->best_branch;
}

static double threshold(const Recipe *recipe, size_t offset) {
    return offset ? *(const double *)(const void *)((const char *)recipe + offset) : 0;
}

/* One value; the first complaint is told. */
static void judge(SentryVerdict *verdict, double largest, double value, const Watch *watch,
                  const Recipe *recipe) {
    double least = threshold(recipe, watch->least), share = threshold(recipe, watch->share);
    const char *name = diagnosis_name(watch->value);
    char reason[sizeof verdict->reason] = "";
    if (!isfinite(value))
        snprintf(reason, sizeof reason, "%s is not finite", name);
    else if (value < least)
        snprintf(reason, sizeof reason, "%s %.4g, less than %s %g", name, value, watch->least_key,
                 least);
    else if (value < share * largest)
        snprintf(reason, sizeof reason, "%s %.4g, less than %s %g of the largest, %.4g", name,
                 value, watch->share_key, share, largest);
    if (*reason && !verdict->complains)
        memcpy(verdict->reason, reason, sizeof reason);
    verdict->complains |= *reason != 0;
}

void sentry_judge(SentryVerdict *verdict, Health *health, const Diagnosis *diagnosis,
                  const Recipe *recipe, int64_t steps) {
    *verdict = (SentryVerdict){0};
    for (int i = 0; i < SENTRY_WATCHED && steps > 0; i++) {
        double value = diagnosis->value[watches[i].value];
        if (!isnan(value)) /* not measured */
            judge(verdict, health->largest[i], value, &watches[i], recipe);
    }
    /* only what is sound is a mark for later */
    for (int i = 0; i < SENTRY_WATCHED && steps > 0 && !verdict->complains; i++)
        health->largest[i] = fmax(health->largest[i], diagnosis->value[watches[i].value]);
    health->complaints = verdict->complains ? health->complaints + 1 : 0;
    if (!verdict->complains)
        health->sound = steps;
    verdict->acts = health->complaints >= recipe->sentry.patience;
}

/* By context encoder, whose features LiDAR is of, too. */
static const struct {
    const char *name;
    DiagnosisValue value;
} choices[] = {[KEEP_BEST_NONE] = {"none", DIAGNOSIS_VALUES},
               [KEEP_BEST_RANKME] = {"rankme", DIAGNOSIS_CONTEXT_RANKME},
               [KEEP_BEST_LIDAR] = {"lidar", DIAGNOSIS_LIDAR},
               [KEEP_BEST_PROBE] = {"probe", DIAGNOSIS_KNN}};

const char *keep_best_name(KeepBest by) {
    return choices[by].name;
}

bool health_is_best(Health *h, const SentryVerdict *verdict, const Diagnosis *diagnosis,
                    const Recipe *recipe, int64_t steps) {
    KeepBest by = (KeepBest)recipe->checkpoint.keep_best;
    double value = by ? diagnosis->value[choices[by].value] : NAN;
    if (!steps || verdict->complains || !isfinite(value))
        return false;
    bool again = h->best_by == by && h->best_step == steps && h->best_branch == h->branch;
    if (h->best_by == by && !(value > h->best) && !again)
        return false;
    h->best_by = by;
    h->best = value;
    h->best_step = steps;
    h->best_branch = h->branch;
    return true;
}

/* ---- in a checkpoint's header ---- */

void health_put(RecordWriter *w, const Health *h) {
    record_put_map(w, 6);
    record_put_text(w, "branch");
    record_put_integer(w, h->branch);
    record_put_text(w, "lr_scale");
    record_put_number(w, h->lr_scale);
    record_put_text(w, "complaints");
    record_put_integer(w, h->complaints);
    record_put_text(w, "sound");
    record_put_integer(w, h->sound);
    record_put_text(w, "largest");
    record_put_map(w, SENTRY_WATCHED);
    for (int i = 0; i < SENTRY_WATCHED; i++) {
        record_put_text(w, diagnosis_name(watches[i].value));
        record_put_number(w, h->largest[i]);
    }
    record_put_text(w, "best");
    record_put_list(w, 4);
    record_put_text(w, keep_best_name(h->best_by));
    record_put_number(w, h->best);
    record_put_integer(w, h->best_step);
    record_put_integer(w, h->best_branch);
}

static int read_integer(int64_t *value, const msgpack_object *map, const char *key) {
    const msgpack_object *object = record_find(map, key);
    return !object || record_integer(object, value) || *value < 0 ? -1 : 0;
}

static int read_best(Health *h, const msgpack_object *list) {
    const msgpack_object *name = list ? record_item(list, 0) : NULL;
    char *text = name ? record_text(name) : NULL;
    int by = KEEP_BEST_PROBE;
    while (text && by > KEEP_BEST_NONE && strcmp(text, choices[by].name))
        by--;
    free(text);
    const msgpack_object *value = list ? record_item(list, 1) : NULL,
                         *step = list ? record_item(list, 2) : NULL,
                         *branch = list ? record_item(list, 3) : NULL;
    h->best_by = (KeepBest)by;
    return !text || !value || record_number(value, &h->best) || !step ||
                   record_integer(step, &h->best_step) || !branch ||
                   record_integer(branch, &h->best_branch)
               ? -1
               : 0;
}

int health_read(Health *h, const msgpack_object *object) {
    health_start(h);
    const msgpack_object *scale = record_find(object, "lr_scale"),
                         *largest = record_find(object, "largest");
    if (read_integer(&h->branch, object, "branch") || !scale ||
        record_number(scale, &h->lr_scale) || !(h->lr_scale > 0 && h->lr_scale <= 1) ||
        read_integer(&h->complaints, object, "complaints") ||
        read_integer(&h->sound, object, "sound") || !largest ||
        read_best(h, record_find(object, "best")))
        return -1;
    for (int i = 0; i < SENTRY_WATCHED; i++) { /* what is not there was not watched then */
        const msgpack_object *value = record_find(largest, diagnosis_name(watches[i].value));
        if (value && record_number(value, &h->largest[i]))
            return -1;
    }
    return 0;
}
