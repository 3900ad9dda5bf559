/* kNN and linear probes on pooled features, what they are measured against, and low-shot. See
 * experiments/probe.h. */
#include "base/log.h"
#include "eval/knn.h"
#include "eval/low_shot.h"
#include "experiments/probe.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- results ---- */

/* Test videos of a class. */
static int64_t count_class(const Targets *t, int class) {
    int64_t count = 0;
    for (int64_t i = 0; i < t->count; i++)
        count += t->classes[i] == class;
    return count;
}

/* Wilson's for classes, else the bootstrap's over groups. */
static void add_intervals(ProbeResult *r, const ProbeStudy *s) {
    const Targets *t = &s->test.targets;
    if (t->task != TASK_CLASSES) {
        bootstrap_intervals(r->each_low, r->each_high, t, r->outputs, s->test.group,
                            (uint64_t)s->a->seed);
        r->low = r->each_low[t->outputs];
        r->high = r->each_high[t->outputs];
        return;
    }
    wilson_interval(&r->low, &r->high, llround(r->score * (double)t->count), t->count);
    for (int k = 0; k < t->outputs; k++) {
        int64_t count = count_class(t, k);
        r->each_low[k] = r->each_high[k] = NAN;
        if (count)
            wilson_interval(&r->each_low[k], &r->each_high[k], llround(r->each[k] * (double)count),
                            count);
    }
}

ProbeResult *probe_add(ProbeStudy *s, const char *probe, const char *features,
                       const char *selected_on, float *outputs) {
    s->results = memory_grow(s->results, (size_t)s->result_count + 1, sizeof *s->results);
    ProbeResult *r = &s->results[s->result_count++];
    const Targets *t = &s->test.targets;
    size_t size = (size_t)t->outputs + 1;
    *r = (ProbeResult){.probe = probe,
                       .features = features,
                       .selected_on = selected_on,
                       .outputs = outputs,
                       .score = score(t, outputs, NULL),
                       .each = memory_new(size, sizeof(double)),
                       .each_low = memory_new(size, sizeof(double)),
                       .each_high = memory_new(size, sizeof(double))};
    score_each(r->each, t, outputs, NULL);
    add_intervals(r, s);
    return r;
}

void probe_add_setting(ProbeStudy *s, const ProbeSetting *setting) {
    s->settings = memory_grow(s->settings, (size_t)s->setting_count + 1, sizeof *s->settings);
    s->settings[s->setting_count++] = *setting;
}

/* The candidates of one choice, and what they came to. */
static void add_settings(ProbeStudy *s, const char *probe, ProbeSource source, const char *name,
                         const double *values, const double *scores, int count) {
    for (int i = 0; i < count; i++) {
        ProbeSetting setting = {.probe = probe,
                                .features = probe_source_names[source],
                                .measured_on = s->a->select_on_test ? SELECTED_TEST
                                                                    : SELECTED_FOLDS,
                                .score = scores[i]};
        snprintf(setting.setting, sizeof setting.setting, "%s %g", name, values[i]);
        probe_add_setting(s, &setting);
    }
}

static float *new_outputs(const ProbeSide *side) {
    return memory_new((size_t)side->count * (size_t)side->targets.outputs + 1, sizeof(float));
}

/* ---- kNN ---- */

/* The candidates that `rows` training rows can give, as their folds leave three quarters. */
static int possible_ks(int *ks, const ProbeArguments *a, int64_t rows) {
    int count = 0;
    for (int i = 0; i < a->k_count; i++)
        if (!count || a->k[i] <= rows * (LINEAR_FOLDS - 1) / LINEAR_FOLDS)
            ks[count++] = a->k[i];
    return count;
}

/* Outputs for the test rows with each of ks[count]: out[count][n][K]. */
static void knn_sweep(float *out, const ProbeSide *train, const float *rows, const ProbeSide *test,
                      const float *test_rows, int width, const int *ks, int count, int threads) {
    int most = ks[count - 1];
    size_t found = (size_t)test->count * (size_t)most;
    size_t size = (size_t)test->count * (size_t)test->targets.outputs;
    int32_t *nearest = memory_new(found + 1, sizeof *nearest);
    float *similarity = memory_new(found + 1, sizeof *similarity);
    knn_search(nearest, similarity, rows, NULL, train->count, test_rows, NULL, test->count, width,
               most, threads);
    for (int i = 0; i < count; i++)
        knn_outputs(out + (size_t)i * size, nearest, similarity, test->count, most, ks[i],
                    &train->targets);
    free(nearest);
    free(similarity);
}

void probe_knn(ProbeStudy *s, const ProbeRows *rows, ProbeSource source) {
    int ks[PROBE_LIST_MAX], count = possible_ks(ks, s->a, s->train.count), best = 0;
    size_t size = (size_t)s->test.count * (size_t)s->test.targets.outputs;
    double values[PROBE_LIST_MAX], scores[PROBE_LIST_MAX];
    float *all = memory_new((size_t)count * size + 1, sizeof *all), *out = new_outputs(&s->test);
    knn_sweep(all, &s->train, rows->train, &s->test, rows->test, rows->width, ks, count,
              s->threads);
    for (int i = 0; i < count; i++)
        values[i] = ks[i];
    if (s->a->select_on_test) {
        for (int i = 0; i < count; i++) {
            scores[i] = score(&s->test.targets, all + (size_t)i * size, NULL);
            best = scores[i] > scores[best] ? i : best;
        }
    } else {
        int k = knn_choose(scores, ks, count, rows->train, rows->width, &s->train.targets,
                           s->train.fold, s->threads);
        while (ks[best] != k)
            best++;
    }
    memcpy(out, all + (size_t)best * size, size * sizeof *out);
    free(all);
    add_settings(s, "kNN", source, "k", values, scores, count);
    ProbeResult *r = probe_add(s, "kNN", probe_source_names[source],
                               s->a->select_on_test ? SELECTED_TEST : SELECTED_FOLDS, out);
    snprintf(r->setting, sizeof r->setting, "k %d", ks[best]);
}

/* ---- linear ---- */

/* λ by the test set: every candidate is fitted to all training rows. */
static double choose_on_test(double *scores, const ProbeStudy *s, const ProbeRows *rows) {
    float *out = new_outputs(&s->test);
    int best = 0;
    for (int i = 0; i < LINEAR_LAMBDAS; i++) {
        LinearModel model;
        linear_fit(&model, rows->train, rows->width, &s->train.targets, s->a->loss,
                   linear_lambdas[i], s->threads);
        linear_outputs(out, &model, rows->test, s->test.count);
        scores[i] = score(&s->test.targets, out, NULL);
        best = scores[i] > scores[best] ? i : best;
        linear_free(&model);
    }
    free(out);
    return linear_lambdas[best];
}

void probe_linear(LinearModel *kept, ProbeStudy *s, const ProbeRows *rows, ProbeSource source) {
    double scores[LINEAR_LAMBDAS];
    float *out = new_outputs(&s->test);
    LinearModel model;
    double lambda = s->a->select_on_test
                        ? choose_on_test(scores, s, rows)
                        : linear_choose(scores, rows->train, rows->width, &s->train.targets,
                                        s->train.fold, LINEAR_FOLDS, s->a->loss, s->threads);
    linear_fit(&model, rows->train, rows->width, &s->train.targets, s->a->loss, lambda, s->threads);
    if (!model.converged)
        log_warn("the linear probe of %s was stopped after %d iterations, before it had converged",
                 probe_source_names[source], model.iterations);
    linear_outputs(out, &model, rows->test, s->test.count);
    linear_probabilities(out, s->test.count, s->test.targets.outputs, s->a->loss);
    add_settings(s, "linear", source, "lambda", linear_lambdas, scores, LINEAR_LAMBDAS);
    ProbeResult *r = probe_add(s, "linear", probe_source_names[source],
                               s->a->select_on_test ? SELECTED_TEST : SELECTED_FOLDS, out);
    snprintf(r->setting, sizeof r->setting, "lambda %g", lambda);
    if (kept)
        *kept = model;
    else
        linear_free(&model);
}

/* ---- what knows nothing ---- */

const char *probe_trivial_name(Task task) {
    return task == TASK_CLASSES  ? "majority class"
           : task == TASK_LABELS ? "labels' shares"
                                 : "training mean";
}

void probe_trivial(ProbeStudy *s) {
    const Targets *t = &s->train.targets;
    size_t outputs = (size_t)t->outputs;
    float *out = new_outputs(&s->test);
    double *mean = memory_new(outputs, sizeof *mean);
    for (size_t i = 0; i < (size_t)t->count; i++)
        for (size_t k = 0; k < outputs; k++)
            mean[k] += (t->classes ? (size_t)t->classes[i] == k : t->values[i * outputs + k]) /
                       (double)t->count;
    for (size_t i = 0; i < (size_t)s->test.count * outputs; i++)
        out[i] = (float)mean[i % outputs];
    free(mean);
    probe_add(s, "", probe_trivial_name(t->task), SELECTED_NOTHING, out);
}

/* ---- low-shot ---- */

/* The score of one draw of the labels. */
static double score_few(ProbeStudy *s, const ProbeRows *rows, const int64_t *items, int64_t count,
                        bool linear) {
    size_t width = (size_t)rows->width;
    ProbeSide few = {.count = count, .fold = memory_new((size_t)count + 1, sizeof(int))};
    float *few_rows = memory_new((size_t)count * width + 1, sizeof *few_rows);
    float *out = new_outputs(&s->test);
    targets_take(&few.targets, &s->train.targets, items, count);
    for (size_t i = 0; i < (size_t)count; i++) {
        few.fold[i] = s->train.fold[items[i]];
        memcpy(few_rows + i * width, rows->train + (size_t)items[i] * width,
               width * sizeof *few_rows);
    }
    if (linear) {
        LinearModel model;
        double lambda = linear_choose(NULL, few_rows, rows->width, &few.targets, few.fold,
                                      LINEAR_FOLDS, s->a->loss, s->threads);
        linear_fit(&model, few_rows, rows->width, &few.targets, s->a->loss, lambda, s->threads);
        linear_outputs(out, &model, rows->test, s->test.count);
        linear_free(&model);
    } else {
        int ks[PROBE_LIST_MAX], ks_count = possible_ks(ks, s->a, count);
        int k = knn_choose(NULL, ks, ks_count, few_rows, rows->width, &few.targets, few.fold,
                           s->threads);
        knn_sweep(out, &few, few_rows, &s->test, rows->test, rows->width, &k, 1, s->threads);
    }
    double now = score(&s->test.targets, out, NULL);
    targets_free(&few.targets);
    free(few.fold);
    free(few_rows);
    free(out);
    return now;
}

void probe_low_shot(ProbeStudy *s, const ProbeRows *rows, ProbeSource source) {
    int64_t *items = memory_new((size_t)s->train.count + 1, sizeof *items);
    for (int p = 0; p < s->a->low_shot_count; p++)
        for (int linear = 0; linear < 2; linear++) {
            if (!(linear ? s->a->linear : s->a->knn))
                continue;
            ProbeLowShot few = {.probe = linear ? "linear" : "kNN",
                                .features = probe_source_names[source],
                                .percent = s->a->low_shot[p],
                                .low = INFINITY,
                                .high = -INFINITY};
            for (int64_t draw = 0; draw < s->a->seeds; draw++) {
                few.labels = low_shot_draw(items, &s->train.targets, few.percent,
                                           (uint64_t)s->a->seed, (uint64_t)draw);
                double now = score_few(s, rows, items, few.labels, linear);
                few.mean += now / (double)s->a->seeds;
                few.low = fmin(few.low, now);
                few.high = fmax(few.high, now);
            }
            s->low_shot = memory_grow(s->low_shot, (size_t)s->low_shot_count + 1,
                                      sizeof *s->low_shot);
            s->low_shot[s->low_shot_count++] = few;
        }
    free(items);
}
