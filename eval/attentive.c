/* Attentive probes: passes over chunks of sequences. See eval/attentive.h. */
#include "base/log.h"
#include "eval/attentive_parts.h"
#include "kernels/cpu/parallel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES_MAX 64 /* a chunk has not many more sequences, nor a grid more probes */

/* ---- to make and to free ---- */

static int open_devices(Attentive *a, Device *device, Error *error) {
    a->given = device;
    if (!device->on_host) {
        if (device_open(&a->own, "cpu", 0, error))
            return -1;
        a->given = a->own;
    }
    a->device = a->given->exact;
    int lanes = (int)min_i64(a->device->threads, LANES_MAX);
    a->lanes = memory_new((size_t)lanes, sizeof(Device *));
    for (; a->lane_count < lanes; a->lane_count++)
        if (device_open(&a->lanes[a->lane_count], a->device->name, 1, error))
            return -1;
    return 0;
}

static int make(Attentive *a, uint64_t seed, Device *device, Error *error) {
    if (open_devices(a, device, error) || attentive_lay_out(a, error) ||
        attentive_take(&a->weights, a, 1, error))
        return -1;
    attentive_init(a, seed);
    return attentive_register(a, error);
}

int attentive_new(Attentive **probe, const AttentiveConfig *config, int probes, uint64_t seed,
                  Device *device, Error *error) {
    if (probes < 1 || probes > ATTENTIVE_PROBES_MAX)
        return error_set(error, ERROR_USAGE, "%d attentive probes at once: expected 1 to %d",
                         probes, ATTENTIVE_PROBES_MAX);
    Attentive *a = memory_new(1, sizeof *a);
    a->config = *config;
    a->probes = probes;
    a->chunk_bytes = ATTENTIVE_CHUNK_BYTES;
    if (make(a, seed, device, error)) {
        attentive_free(a);
        return -1;
    }
    *probe = a;
    return 0;
}

void attentive_free(Attentive *a) {
    if (!a)
        return;
    if (a->device) {
        if (a->weights)
            a->device->linear_weights_remove(a->weights, a->weights + a->probes * a->total,
                                             a->device);
        attentive_release(a);
    }
    for (int i = 0; i < a->lane_count; i++)
        device_close(a->lanes[i]);
    device_close(a->own);
    probe_weights_free(&a->table);
    free(a->lanes);
    free(a->offset);
    free(a->blocks);
    free(a);
}

/* ---- a batch ---- */

void attentive_begin(Attentive *a, bool backward) {
    AttentiveWork *k = &a->work;
    const AttentiveConfig *c = &a->config;
    size_t total = (size_t)a->total * sizeof(float);
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->lane_count)
    for (int p = 0; p < a->probes; p++) {
        query_fold(a, p, a->lanes[omp_get_thread_num()]);
        k->losses[p] = 0;
        if (backward) {
            memset(probe_gradients_at(a, p), 0, total);
            memset(k->du + (int64_t)p * c->heads * c->width, 0,
                   (size_t)c->heads * (size_t)c->width * sizeof *k->du);
        }
    }
}

void attentive_end(Attentive *a) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->lane_count)
    for (int p = 0; p < a->probes; p++) {
        int lane = omp_get_thread_num();
        query_fold_backward(a, p, &a->work.head[lane], a->lanes[lane]);
    }
}

/* The queries of probes from `first` on, G of them, over the chunk: x̂ -> pooled. */
static void pool(Attentive *a, int first, int64_t n) {
    AttentiveWork *k = &a->work;
    int64_t d = a->config.width, rows = (int64_t)attentive_together(a) * a->config.heads;
    const float *u = k->u + (int64_t)first * a->config.heads * d;
    bool normalise = a->config.depth == 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->lane_count)
    for (int64_t s = 0; s < n; s++) {
        Device *lane = a->lanes[omp_get_thread_num()];
        float *x = k->normed + s * k->tokens * d;
        if (normalise)
            lane->layernorm_values(x, NULL, NULL, x, NULL, NULL, k->tokens, d,
                                   a->config.layernorm_eps, lane);
        query_pool(k->pooled + s * rows * d, k->attention + s * rows * k->tokens, x, u, rows,
                   k->tokens, d, lane);
    }
}

/* dpooled -> du of these probes, summed over the sequences in their order, and dnormed. */
static void pool_backward(Attentive *a, int first, int64_t n) {
    AttentiveWork *k = &a->work;
    int64_t d = a->config.width, rows = (int64_t)attentive_together(a) * a->config.heads;
    int64_t offset = (int64_t)first * a->config.heads * d;
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->lane_count)
    for (int64_t s = 0; s < n; s++) {
        int lane = omp_get_thread_num();
        int64_t at = s * rows * d, tokens = s * k->tokens * d;
        query_pool_backward(k->dpooled + at, k->dnormed ? k->dnormed + tokens : NULL,
                            k->attention + s * rows * k->tokens,
                            k->dattention + lane * rows * k->tokens, k->pooled + at,
                            k->normed + tokens, k->u + offset, rows, k->tokens, d, a->lanes[lane]);
    }
    a->device->rows_sum(k->du + offset, k->dpooled, NULL, n, rows * d, a->device);
}

static void chunk_together(Attentive *a, const ProbePass *pass) {
    pool(a, 0, pass->n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->lane_count)
    for (int p = 0; p < a->probes; p++) {
        int lane = omp_get_thread_num();
        head_run(a, p, (int64_t)p * a->config.heads, &a->work.head[lane], pass, a->lanes[lane]);
    }
    if (pass->backward)
        pool_backward(a, 0, pass->n);
}

static void chunk_in_turn(Attentive *a, const ProbePass *pass) {
    for (int p = 0; p < a->probes; p++) {
        blocks_forward(a, p, pass->n);
        pool(a, p, pass->n);
        head_run(a, p, 0, &a->work.head[0], pass, a->device);
        if (pass->backward) {
            pool_backward(a, p, pass->n);
            blocks_backward(a, p, pass->n);
        }
    }
}

void attentive_chunk(Attentive *a, const ProbePass *pass) {
    if (a->config.depth == 1)
        chunk_together(a, pass);
    else
        chunk_in_turn(a, pass);
}

/* ---- what others call ---- */

int attentive_forward(float *out, Attentive *a, const float *tokens, int64_t n,
                      int64_t count_tokens, Error *error) {
    if (n < 1)
        return 0;
    if (attentive_plan(a, count_tokens, n, false, error))
        return -1;
    AttentiveWork *k = &a->work;
    int64_t each = count_tokens * a->config.width;
    attentive_begin(a, false);
    for (int64_t first = 0; first < n; first += k->sequences) {
        int64_t count = min_i64(k->sequences, n - first);
        memcpy(k->x, tokens + first * each, (size_t)(count * each) * sizeof *k->x);
        ProbePass pass = {.n = count, .out = out + first * a->config.outputs, .out_stride = n};
        attentive_chunk(a, &pass);
    }
    return 0;
}

int attentive_apply(float *out, Attentive *a, const TokenSource *source, Error *error) {
    if (source->width != a->config.width)
        return error_set(error, ERROR_USAGE, "tokens of width %d for a probe of width %d",
                         source->width, a->config.width);
    if (source->count < 1)
        return 0;
    if (attentive_plan(a, source->tokens, source->count, false, error))
        return -1;
    AttentiveWork *k = &a->work;
    int64_t *items = memory_new((size_t)k->sequences, sizeof *items);
    Progress progress;
    int result = 0;
    progress_start(&progress, "attentive probes", (double)source->count, 0);
    attentive_begin(a, false);
    for (int64_t first = 0; first < source->count && !result; first += k->sequences) {
        int64_t count = min_i64(k->sequences, source->count - first);
        for (int64_t i = 0; i < count; i++)
            items[i] = first + i;
        ProbePass pass = {
            .n = count, .out = out + first * a->config.outputs, .out_stride = source->count};
        result = source->read(k->x, items, count, source->context, error);
        if (!result)
            attentive_chunk(a, &pass);
        progress_show(&progress, (double)(first + count), "sequences");
    }
    progress_end(&progress);
    free(items);
    return result;
}

int attentive_backward(double *losses, Attentive *a, AttentiveLoss loss, double huber,
                       const float *tokens, const AttentiveLabels *labels, int64_t n,
                       int64_t count_tokens, Error *error) {
    if (attentive_check_labels(labels, loss, n, a->config.outputs, error) ||
        attentive_plan(a, count_tokens, n, true, error))
        return -1;
    AttentiveWork *k = &a->work;
    int64_t each = count_tokens * a->config.width;
    int64_t *items = memory_new((size_t)k->sequences, sizeof *items);
    attentive_begin(a, true);
    for (int64_t first = 0; first < n; first += k->sequences) {
        ProbePass pass = {.n = min_i64(k->sequences, n - first),
                          .items = items,
                          .labels = labels,
                          .loss = loss,
                          .huber = huber,
                          .share = 1 / (double)n,
                          .backward = true};
        for (int64_t i = 0; i < pass.n; i++)
            items[i] = first + i;
        memcpy(k->x, tokens + first * each, (size_t)(pass.n * each) * sizeof *k->x);
        attentive_chunk(a, &pass);
    }
    attentive_end(a);
    for (int p = 0; p < a->probes; p++)
        losses[p] = k->losses[p] / (double)n;
    free(items);
    return 0;
}
