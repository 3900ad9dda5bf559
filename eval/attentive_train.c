/* Training of attentive probes as published: AdamW, a cosine for the learning rate and, in V-JEPA
 * 1, for the weight decay (jepa/schedule.h with one epoch of ipe = ceil(count / batch) steps), the
 * batches of an epoch in the order of a keyed permutation.
 *
 * Source: facebookresearch/jepa and vjepa2, evals/video_classification_frozen/eval.py. */
#include "base/log.h"
#include "base/random.h"
#include "eval/attentive_parts.h"
#include "jepa/schedule.h"
#include "kernels/cpu/parallel.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISHED_BATCH 256

void attentive_published(AttentiveTraining *t, int family) {
    static const double lr[] = {5e-3, 3e-3, 1e-3, 3e-4, 1e-4};
    static const double weight_decay[] = {0.01, 0.1, 0.4, 0.8};
    enum { rates = sizeof lr / sizeof *lr, decays = sizeof weight_decay / sizeof *weight_decay };
    JEPA_ASSERT(family == 1 || family == 2);
    *t = (AttentiveTraining){.loss = ATTENTIVE_CLASSES,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .epochs = 20,
                             .batch = PUBLISHED_BATCH,
                             .huber = 1};
    if (family == 1) {
        t->probes = 1;
        t->lr[0] = 1e-3;
        t->weight_decay[0] = 0.01;
        t->final_weight_decay = 1e-6;
        t->clip_grad = 1;
        return;
    }
    t->probes = rates * decays;
    t->final_weight_decay = -1;
    t->decay_all = true;
    for (int i = 0; i < t->probes; i++) {
        t->lr[i] = lr[i / decays];
        t->weight_decay[i] = weight_decay[i % decays];
    }
}

typedef struct Run {
    Attentive *probe;
    const AttentiveTraining *training;
    const TokenSource *source;
    const AttentiveLabels *labels;
    float *first_moment, *second_moment; /* [P][total] */
    int64_t *order;                      /* [sequences] of this epoch */
    double *sums;                        /* [P] losses of the epoch */
    int64_t epoch_steps;                 /* ipe */
} Run;

static Schedule schedule_of(const Run *run, int probe) {
    const AttentiveTraining *t = run->training;
    double end = t->final_weight_decay;
    return (Schedule){.epochs = t->epochs,
                      .ipe = (double)run->epoch_steps,
                      .ipe_scale = 1,
                      .warmup = t->warmup,
                      .lr = t->lr[probe],
                      .weight_decay = t->weight_decay[probe],
                      .final_weight_decay = end < 0 ? t->weight_decay[probe] : end};
}

/* AdamW on one probe: what decays and what does not are two ranges. */
static void update(Run *run, int p, int64_t step, double loss, HeadScratch *scratch, Device *op) {
    const AttentiveTraining *t = run->training;
    Attentive *a = run->probe;
    Schedule schedule = schedule_of(run, p);
    AdamwSettings settings = {.lr = schedule_lr(&schedule, step),
                              .weight_decay = schedule_weight_decay(&schedule, step),
                              .beta1 = t->beta1,
                              .beta2 = t->beta2,
                              .eps = t->eps,
                              .max_norm = t->clip_grad,
                              .step = step + 1};
    float *w = probe_weights_at(a, p), *g = probe_gradients_at(a, p);
    float *m = run->first_moment + p * a->total, *v = run->second_moment + p * a->total;
    double square = 0;
    op->square_sums(scratch->squares, g, a->total, op);
    op->sums_add(&square, scratch->squares, 0, shard_blocks(a->total), 1, shard_blocks(a->total), 1,
                 op);
    int64_t split = t->decay_all ? a->total : a->decayed;
    op->adamw_ema(w, m, v, NULL, g, split, &square, &loss, &settings, op);
    settings.weight_decay = 0;
    op->adamw_ema(w + split, m + split, v + split, NULL, g + split, a->total - split, &square,
                  &loss, &settings, op);
}

/* Sequences items[count] through all probes, forward and backward, then the update. */
static int run_batch(Run *run, const int64_t *items, int64_t count, int64_t step, Error *error) {
    const AttentiveTraining *t = run->training;
    Attentive *a = run->probe;
    AttentiveWork *k = &a->work;
    attentive_begin(a, true);
    for (int64_t first = 0; first < count; first += k->sequences) {
        ProbePass pass = {.n = min_i64(k->sequences, count - first),
                          .items = items + first,
                          .labels = run->labels,
                          .loss = t->loss,
                          .huber = t->huber,
                          .share = 1 / (double)count,
                          .backward = true};
        if (run->source->read(k->x, pass.items, pass.n, run->source->context, error))
            return -1;
        attentive_chunk(a, &pass);
    }
    attentive_end(a);
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->lane_count)
    for (int p = 0; p < a->probes; p++) {
        int lane = omp_get_thread_num();
        run->sums[p] += k->losses[p];
        update(run, p, step, k->losses[p], &k->head[lane], a->lanes[lane]);
    }
    a->device->linear_weights_changed(a->weights, a->weights + a->probes * a->total, a->device);
    return 0;
}

static void show(Progress *progress, const Run *run, int64_t step, int64_t epoch, int64_t seen) {
    char detail[96];
    double least = INFINITY, most = 0;
    int diverged = 0;
    for (int p = 0; p < run->probe->probes; p++) {
        double loss = run->sums[p] / (double)seen;
        diverged += !isfinite(loss);
        least = loss < least ? loss : least;
        most = isfinite(loss) && loss > most ? loss : most;
    }
    int used = snprintf(detail, sizeof detail, "epoch %lld, loss %.4g to %.4g",
                        (long long)epoch + 1, least, most);
    if (diverged)
        snprintf(detail + used, sizeof detail - (size_t)used, ", %d not finite", diverged);
    progress_show(progress, (double)(step + 1), detail);
}

static int run_all(Run *run, double *losses, Error *error) {
    const TokenSource *source = run->source;
    const AttentiveTraining *t = run->training;
    int probes = run->probe->probes;
    Schedule schedule = schedule_of(run, 0);
    int64_t steps = schedule_steps(&schedule), step = 0, n = source->count;
    steps = steps < 1 ? 1 : steps;
    Progress progress;
    int result = 0;
    progress_start(&progress, "attentive probes", (double)steps, 0);
    for (int64_t epoch = 0; step < steps && !result; epoch++) {
        int64_t seen = 0;
        memset(run->sums, 0, (size_t)probes * sizeof *run->sums);
        for (int64_t i = 0; i < n; i++)
            run->order[i] = (int64_t)random_permute(t->seed, RANDOM_ORDER, (uint64_t)epoch,
                                                    (uint64_t)i, (uint64_t)n);
        if (source->begin)
            result = source->begin((int)epoch, run->order, source->context, error);
        for (; seen < n && step < steps && !result; step++) {
            int64_t count = min_i64(t->batch, n - seen);
            result = run_batch(run, run->order + seen, count, step, error);
            seen += count;
            show(&progress, run, step, epoch, seen);
        }
        for (int p = 0; p < probes; p++)
            losses[p] = run->sums[p] / (double)seen;
    }
    progress_end(&progress);
    return result;
}

static int check(const Attentive *a, const AttentiveTraining *t, const TokenSource *s,
                 const AttentiveLabels *labels, Error *error) {
    if (t->probes != a->probes)
        return error_set(error, ERROR_USAGE, "settings of %d probes for %d probes", t->probes,
                         a->probes);
    if (s->count < 1 || s->tokens < 1)
        return error_set(error, ERROR_USAGE, "no sequences to train attentive probes with");
    if (s->width != a->config.width)
        return error_set(error, ERROR_USAGE, "tokens of width %d for probes of width %d", s->width,
                         a->config.width);
    for (int p = 0; p < t->probes; p++)
        if (!(t->lr[p] >= 0 && t->lr[p] <= 1e3) ||
            !(t->weight_decay[p] >= 0 && t->weight_decay[p] <= 1e3))
            return error_set(error, ERROR_USAGE,
                             "learning rate %g and weight decay %g: expected 0 to 1000", t->lr[p],
                             t->weight_decay[p]);
    if (t->batch < 1 || !(t->epochs > 0 && t->epochs <= 1e6) ||
        !(t->warmup >= 0 && t->warmup <= t->epochs) || !(t->huber > 0) || !(t->clip_grad >= 0))
        return error_set(error, ERROR_USAGE,
                         "attentive probes: batch %d, %g epochs, warm-up %g, Huber's delta %g, "
                         "clip_grad %g: one of these numbers is impossible",
                         t->batch, t->epochs, t->warmup, t->huber, t->clip_grad);
    return attentive_check_labels(labels, t->loss, s->count, a->config.outputs, error);
}

int attentive_train(Attentive *a, double *losses, const AttentiveTraining *t,
                    const TokenSource *source, const AttentiveLabels *labels, Error *error) {
    if (check(a, t, source, labels, error))
        return -1;
    int64_t batch = min_i64(t->batch, source->count);
    Run run = {.probe = a,
               .training = t,
               .source = source,
               .labels = labels,
               .epoch_steps = TILES(source->count, t->batch)};
    if (attentive_plan(a, source->tokens, batch, true, error) ||
        attentive_take(&run.first_moment, a, 2, error))
        return -1;
    run.second_moment = run.first_moment + a->total * a->probes;
    run.order = memory_new((size_t)source->count, sizeof *run.order);
    run.sums = memory_new((size_t)a->probes, sizeof *run.sums);
    int result = run_all(&run, losses, error);
    a->device->release(run.first_moment, a->device);
    free(run.order);
    free(run.sums);
    return result;
}
