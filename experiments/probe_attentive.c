/* Attentive probes: the grid is trained on a part of the training videos, its best setting taken by
 * the rest of them, and that head, as it was trained, scored on the test videos. A sequence is a
 * video seen in one crop, all its segments side by side; what is said of a video is the mean over
 * its crops of softmax (sigmoid, values). With --select-on-test, as published, the grid is trained
 * on all training videos and its best setting taken by the test set. See experiments/probe.h.
 * Source: facebookresearch/vjepa2 evals/video_classification_frozen/eval.py. */
#include "eval/token_sources.h"
#include "experiments/probe.h"
#include "experiments/probe_saved.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISHED_HEADS 16 /* of V-JEPA 2's probes, whatever the encoder has */

/* Some videos of a side, as sequences of tokens. */
typedef struct Part {
    const ProbeSide *side;
    int64_t count;   /* videos */
    int64_t *items;  /* [count] numbers into the side */
    int64_t *videos; /* [count] numbers into the store */
    int set;
} Part;

typedef struct Grid {
    AttentiveTraining training;
    AttentiveConfig config;
    TokenLayout layout;
    double *centre, *spread; /* [K] of values, 0 and 1 where they are not standardised */
} Grid;

/* ---- what is trained ---- */

static void add_unique(double *list, int *count, double value) {
    for (int i = 0; i < *count; i++)
        if (!(list[i] < value) && !(list[i] > value))
            return;
    list[(*count)++] = value;
}

/* Every learning rate with every weight decay; those that are not given are V-JEPA 2's. The rest of
 * the rules is V-JEPA 1's for depth 1, else V-JEPA 2's. */
static int make_training(AttentiveTraining *t, const ProbeStudy *s, Error *error) {
    const ProbeArguments *a = s->a;
    AttentiveTraining published;
    double lr[ATTENTIVE_PROBES_MAX], decay[ATTENTIVE_PROBES_MAX];
    int lr_count = a->lr_count, decay_count = a->decay_count;
    memcpy(lr, a->lr, sizeof lr);
    memcpy(decay, a->decay, sizeof decay);
    attentive_published(&published, 2);
    for (int i = 0; i < published.probes; i++) {
        if (!a->lr_count)
            add_unique(lr, &lr_count, published.lr[i]);
        if (!a->decay_count)
            add_unique(decay, &decay_count, published.weight_decay[i]);
    }
    if (lr_count * decay_count > ATTENTIVE_PROBES_MAX)
        return error_set(error, ERROR_USAGE,
                         "--lr and --weight-decay: %d times %d settings, but at most %d can be "
                         "trained at once",
                         lr_count, decay_count, ATTENTIVE_PROBES_MAX);
    attentive_published(t, a->depth == 1 ? 1 : 2);
    t->probes = lr_count * decay_count;
    for (int i = 0; i < t->probes; i++) {
        t->lr[i] = lr[i / decay_count];
        t->weight_decay[i] = decay[i % decay_count];
    }
    t->loss = a->task == TASK_CLASSES  ? ATTENTIVE_CLASSES
              : a->task == TASK_LABELS ? ATTENTIVE_LABELS
                                       : ATTENTIVE_VALUES;
    t->epochs = a->epochs;
    t->batch = (int)a->batch;
    t->seed = (uint64_t)a->seed;
    return 0;
}

int probe_attentive_check(const ProbeStudy *s, Error *error) {
    AttentiveTraining training;
    int width = s->encoder.model.teacher.dim;
    if (make_training(&training, s, error))
        return -1;
    if (s->a->heads && width % s->a->heads)
        return error_set(error, ERROR_USAGE,
                         "--heads %" PRId64
                         ": attentive probes of %d channels cannot have %d heads",
                         s->a->heads, width, (int)s->a->heads);
    return 0;
}

static AttentiveConfig make_config(const ProbeStudy *s, const Store *store,
                                   const TokenLayout *layout) {
    int layers = store->about.layers > 1 && layout->layers_as_tokens ? store->about.layers : 1;
    int width = store->about.width / layers;
    bool published = s->a->depth > 1 && width % PUBLISHED_HEADS == 0;
    return (AttentiveConfig){.depth = (int)s->a->depth,
                             .width = width,
                             .heads = s->a->heads ? (int)s->a->heads
                                      : published ? PUBLISHED_HEADS
                                                  : store->about.heads,
                             .hidden = 4 * width,
                             .outputs = s->train.targets.outputs,
                             .layernorm_eps = PROBE_LAYERNORM_EPS};
}

/* ---- which videos ---- */

/* The videos of a side whose fold is (`held` true) or is not the one that chooses, the last that
 * there is; `all`: every one. */
static Part make_part(const ProbeStudy *s, const ProbeSide *side, int set, bool all, bool held) {
    Part p = {.side = side, .set = set};
    const VideoIndex *index = &s->index[set];
    size_t at = 0;
    int last = 0;
    for (int64_t i = 0; i < side->count; i++)
        last = side->fold[i] > last ? side->fold[i] : last;
    p.items = memory_new((size_t)side->count + 1, sizeof *p.items);
    p.videos = memory_new((size_t)side->count + 1, sizeof *p.videos);
    for (int64_t i = 0; i < side->count; i++) {
        while (index->usable_files[at] != side->files[i]) /* both ascend */
            at++;
        if (all || (side->fold[i] == last) == held) {
            p.items[p.count] = i;
            p.videos[p.count++] = (int64_t)at;
        }
    }
    return p;
}

static void part_free(Part *p) {
    free(p->items);
    free(p->videos);
}

/* Features of one encoder that another has not: labels would belong to other videos. */
static int check_part(const Part *p, const ProbeStudy *s, const Store *store, Error *error) {
    for (int64_t i = 0; i < p->count; i++)
        if (store->failed[p->videos[i]])
            return error_set(error, ERROR_RUN,
                             "%s could be decoded for one encoder and not for the next: remove %s "
                             "and begin again",
                             video_index_name(&s->index[p->set], p->side->files[p->items[i]]),
                             store->folder);
    return 0;
}

/* Means and deviations of the values that are trained on. */
static void measure_values(Grid *g, const Part *part) {
    const Targets *t = &part->side->targets;
    size_t outputs = (size_t)t->outputs;
    g->centre = memory_new(outputs, sizeof *g->centre);
    g->spread = memory_new(outputs, sizeof *g->spread);
    for (size_t k = 0; k < outputs; k++) {
        double mean = 0, square = 0, n = (double)part->count;
        g->spread[k] = 1;
        if (t->task != TASK_VALUES)
            continue;
        for (int64_t i = 0; i < part->count; i++)
            mean += t->values[(size_t)part->items[i] * outputs + k] / n;
        for (int64_t i = 0; i < part->count; i++)
            square += pow(t->values[(size_t)part->items[i] * outputs + k] - mean, 2) / n;
        g->centre[k] = mean;
        g->spread[k] = square > 0 ? sqrt(square) : 1;
    }
}

/* Labels of `views` sequences of each video. */
static AttentiveLabels make_labels(int **classes, float **values, const Grid *g, const Part *part,
                                   int views) {
    const Targets *t = &part->side->targets;
    size_t outputs = (size_t)t->outputs, n = (size_t)part->count * (size_t)views;
    *classes = NULL;
    *values = NULL;
    if (t->classes)
        *classes = memory_new(n + 1, sizeof **classes);
    else
        *values = memory_new(n * outputs + 1, sizeof **values);
    for (size_t i = 0; i < n; i++) {
        size_t item = (size_t)part->items[i / (size_t)views];
        if (t->classes)
            (*classes)[i] = t->classes[item];
        for (size_t k = 0; k < outputs && t->values; k++)
            (*values)[i * outputs + k] = (float)((t->values[item * outputs + k] - g->centre[k]) /
                                                 g->spread[k]);
    }
    return (AttentiveLabels){*classes, *values};
}

/* ---- training ---- */

/* On tokens of the store, or of clips drawn anew in every epoch. */
static int train(Attentive *probe, const Grid *g, ProbeStudy *s, const Store *store,
                 const Part *part, Error *error) {
    double losses[ATTENTIVE_PROBES_MAX];
    int *classes, views = s->a->augment ? 1 : store->about.views, result;
    float *values;
    AttentiveLabels labels = make_labels(&classes, &values, g, part, views);
    AttentiveTraining training = g->training;
    if (training.batch > part->count * views)
        training.batch = (int)(part->count * views);
    if (s->a->augment) {
        uint32_t *files = memory_new((size_t)part->count + 1, sizeof *files);
        for (int64_t i = 0; i < part->count; i++)
            files[i] = part->side->files[part->items[i]];
        AugmentedSettings settings = {.model = &s->encoder.model,
                                      .network = s->encoder.network,
                                      .index = &s->index[part->set],
                                      .spec = augment_published(&s->encoder.clip),
                                      .files = files,
                                      .count = part->count,
                                      .segments = s->views.segments,
                                      .layers_as_tokens = g->layout.layers_as_tokens,
                                      .seed = (uint64_t)s->a->seed,
                                      .timeout = s->views.timeout,
                                      .cache = s->views.cache,
                                      .hardware = s->views.hardware,
                                      .threads = s->threads};
        AugmentedTokens *tokens = NULL;
        result = augmented_tokens_open(&tokens, &settings, error);
        if (!result) {
            TokenSource source = augmented_tokens_source(tokens);
            result = attentive_train(probe, losses, &training, &source, &labels, error);
            augmented_tokens_close(tokens);
        }
        free(files);
    } else {
        StoreTokens tokens;
        result = store_tokens_open(&tokens, store, part->videos, part->count, -1, g->layout, error);
        if (!result) {
            result = attentive_train(probe, losses, &training, &tokens.source, &labels, error);
            store_tokens_close(&tokens);
        }
    }
    free(classes);
    free(values);
    return result;
}

/* What each of `probes` heads says of each video: out[probes][count][K]. */
static int say(float *out, Attentive *probe, int probes, const Grid *g, const ProbeStudy *s,
               const Store *store, const Part *part, Error *error) {
    StoreTokens tokens;
    size_t outputs = (size_t)g->config.outputs, views = (size_t)store->about.views;
    if (store_tokens_open(&tokens, store, part->videos, part->count, -1, g->layout, error))
        return -1;
    size_t sequences = (size_t)tokens.source.count;
    JEPA_ASSERT(sequences == (size_t)part->count * views);
    float *each = memory_new((size_t)probes * sequences * outputs + 1, sizeof *each);
    int result = attentive_apply(each, probe, &tokens.source, error);
    linear_probabilities(each, (int64_t)((size_t)probes * sequences), (int)outputs, s->a->loss);
    for (size_t p = 0; p < (size_t)probes && !result; p++)
        for (size_t i = 0; i < (size_t)part->count; i++)
            for (size_t k = 0; k < outputs; k++) {
                double sum = 0;
                for (size_t v = 0; v < views; v++)
                    sum += each[(p * sequences + i * views + v) * outputs + k];
                out[(p * (size_t)part->count + i) * outputs + k] =
                    (float)(g->centre[k] + g->spread[k] * sum / (double)views);
            }
    free(each);
    store_tokens_close(&tokens);
    return result;
}

/* ---- choosing ---- */

static void setting_text(char text[64], const AttentiveTraining *t, int depth, int probe) {
    snprintf(text, 64, "depth %d, lr %g, weight decay %g", depth, t->lr[probe],
             t->weight_decay[probe]);
}

/* The setting that says most of these videos; all are noted. -1: none says anything. */
static int choose(ProbeStudy *s, ProbeSource source, const Grid *g, const float *outputs,
                  const Part *part, const char *measured_on) {
    Targets targets;
    int best = -1;
    double best_score = -INFINITY;
    targets_take(&targets, &part->side->targets, part->items, part->count);
    for (int p = 0; p < g->training.probes; p++) {
        ProbeSetting setting = {.probe = "attentive",
                                .features = probe_source_names[source],
                                .measured_on = measured_on};
        setting_text(setting.setting, &g->training, g->config.depth, p);
        setting.score = score(&targets,
                              outputs + (size_t)p * (size_t)(part->count * targets.outputs), NULL);
        if (setting.score > best_score) {
            best_score = setting.score;
            best = p;
        }
        probe_add_setting(s, &setting);
    }
    targets_free(&targets);
    return best;
}

/* One of the heads, alone. */
static int take_head(Attentive **head, ProbeWeights *weights, const Attentive *grid, int number,
                     const Grid *g, ProbeStudy *s, Error *error) {
    attentive_get(weights, grid, number);
    weights->source = memory_text("jepa probe on %s", s->source);
    if (attentive_new(head, &g->config, 1, g->training.seed, s->encoder.device, error))
        return -1;
    return attentive_set(*head, 0, weights, error);
}

/* Training, choice and test with stores[sets] of the source's tokens. */
static int study(ProbeStudy *s, ProbeSource source, Store *stores, Error *error) {
    bool on_test = s->a->select_on_test;
    Grid g = {.layout = {true, true}};
    Attentive *grid = NULL, *head = NULL;
    ProbeWeights weights = {0};
    Store *test_store = &stores[s->sets - 1];
    Part fit = make_part(s, &s->train, 0, on_test, false);
    Part test = make_part(s, &s->test, s->sets - 1, true, false);
    Part judge = on_test ? make_part(s, &s->test, s->sets - 1, true, false)
                         : make_part(s, &s->train, 0, false, true);
    g.config = make_config(s, &stores[0], &g.layout);
    int result = make_training(&g.training, s, error), best = 0;
    if (!result && (!fit.count || !judge.count))
        result = error_set(error, ERROR_USAGE,
                           "too few groups of training videos to hold some out for the attentive "
                           "probe: %" PRId64 " would train, %" PRId64 " choose the setting",
                           fit.count, judge.count);
    if (!result && !s->a->augment)
        result = check_part(&fit, s, &stores[0], error);
    if (!result)
        result = check_part(&judge, s, on_test ? test_store : &stores[0], error);
    if (!result)
        result = check_part(&test, s, test_store, error);
    size_t outputs = (size_t)g.config.outputs, probes = (size_t)g.training.probes;
    float *judged = memory_new(probes * (size_t)judge.count * outputs + 1, sizeof *judged);
    float *said = memory_new((size_t)test.count * outputs + 1, sizeof *said);
    if (!result) {
        measure_values(&g, &fit);
        result = attentive_new(&grid, &g.config, (int)probes, g.training.seed, s->encoder.device,
                               error);
    }
    if (!result)
        result = train(grid, &g, s, &stores[0], &fit, error);
    if (!result)
        result = say(judged, grid, (int)probes, &g, s, on_test ? test_store : &stores[0], &judge,
                     error);
    if (!result) {
        best = choose(s, source, &g, judged, &judge, on_test ? SELECTED_TEST : SELECTED_HELD_OUT);
        best = best < 0 ? 0 : best;
        result = take_head(&head, &weights, grid, best, &g, s, error);
    }
    if (!result)
        result = say(said, head, 1, &g, s, test_store, &test, error);
    if (!result) {
        ProbeResult *r = probe_add(s, "attentive", probe_source_names[source],
                                   on_test ? SELECTED_TEST : SELECTED_HELD_OUT, said);
        setting_text(r->setting, &g.training, g.config.depth, best);
        said = NULL;
        if (source == SOURCE_ENCODER)
            result = probe_saved_attentive(s, &weights, r->setting,
                                           s->a->task == TASK_VALUES ? g.centre : NULL,
                                           s->a->task == TASK_VALUES ? g.spread : NULL, error);
    }
    attentive_free(grid);
    attentive_free(head);
    probe_weights_free(&weights);
    part_free(&fit);
    part_free(&test);
    part_free(&judge);
    free(judged);
    free(said);
    free(g.centre);
    free(g.spread);
    return result;
}

int probe_attentive(ProbeStudy *s, ProbeSource source, Error *error) {
    Store stores[2] = {{0}};
    Features features[2] = {{0}};
    int result = 0;
    for (int set = 0; set < s->sets && !result; set++) {
        result = probe_store(&stores[set], s, source, set, error);
        if (!result)
            result = probe_store_files(&features[set], &stores[set], &s->index[set], error);
    }
    if (!result && !s->train.count)
        result = probe_study_sides(s, features, error);
    if (!result)
        result = study(s, source, stores, error);
    for (int set = 0; set < s->sets; set++) {
        store_close(&stores[set]);
        features_free(&features[set]);
    }
    return result;
}
