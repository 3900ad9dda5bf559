/* The memory of attentive probes' passes: laid out twice, first to measure, then to hand out
 * (jepa/arena.h). */
#include "eval/attentive_parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void lay_out_head(HeadScratch *h, const Attentive *a, int64_t n, bool training,
                         Arena *arena) {
    const AttentiveConfig *c = &a->config;
    int64_t wide = n * c->width, hidden = n * c->hidden;
    *h = (HeadScratch){.z = arena_floats(arena, wide),
                       .part = arena_floats(arena, wide / c->heads),
                       .sum = arena_floats(arena, wide),
                       .mean = arena_floats(arena, n),
                       .rstd = arena_floats(arena, n),
                       .norm = arena_floats(arena, wide),
                       .hidden = arena_floats(arena, hidden),
                       .activated = arena_floats(arena, hidden),
                       .out = arena_floats(arena, wide),
                       .logits = arena_floats(arena, n * c->outputs)};
    if (!training)
        return;
    h->dz = arena_floats(arena, wide);
    h->dnorm = arena_floats(arena, wide);
    h->dhidden = arena_floats(arena, hidden);
    h->dout = arena_floats(arena, wide);
    h->dlogits = arena_floats(arena, n * c->outputs);
    h->affine = arena_take(arena, 2 * c->width, sizeof *h->affine);
    h->dquery = arena_floats(arena, c->width);
    h->dtoken = arena_floats(arena, c->width);
    h->squares = arena_take(arena, shard_blocks(a->total), sizeof *h->squares);
}

static void lay_out_blocks(AttentiveWork *k, const Attentive *a, int64_t n, Arena *arena) {
    StackShape shape = attentive_stack(a);
    int64_t rows = n * k->tokens, d = shape.width;
    k->cu = arena_indices(arena, n + 1);
    stack_activations_take(&k->stack, shape, rows,
                           k->training ? STACK_KEEPS_BLOCKS : STACK_KEEPS_NOTHING, arena,
                           a->device);
    stack_scratch_take(&k->scratch, &shape, &rows, 1, k->training, arena, a->device);
    k->normed = arena_floats(arena, rows * d);
    k->mean = arena_floats(arena, rows);
    k->rstd = arena_floats(arena, rows);
    if (!k->training)
        return;
    k->dx = arena_floats(arena, rows * d);
    k->dnormed = arena_floats(arena, rows * d);
    k->ones = arena_floats(arena, d);
    k->spare = arena_floats(arena, 2 * d);
}

/* For n sequences; heads is [lanes], host. */
static void lay_out(AttentiveWork *k, const Attentive *a, int64_t n, Arena *arena) {
    const AttentiveConfig *c = &a->config;
    int64_t d = c->width, heads = (int64_t)a->probes * c->heads;
    int64_t queries = (int64_t)attentive_together(a) * c->heads; /* Q */
    k->query = arena_floats(arena, a->probes * d);
    k->folded = arena_floats(arena, heads * d);
    k->u = arena_floats(arena, heads * d);
    k->losses = arena_take(arena, a->probes, sizeof *k->losses);
    k->x = arena_floats(arena, n * k->tokens * d);
    k->normed = k->x;
    k->attention = arena_floats(arena, n * queries * k->tokens);
    k->pooled = arena_floats(arena, n * queries * d);
    if (k->training) {
        k->du = arena_floats(arena, heads * d);
        k->dattention = arena_floats(arena, a->lane_count * queries * k->tokens);
        k->dpooled = arena_floats(arena, n * queries * d);
    }
    for (int i = 0; i < a->lane_count; i++)
        lay_out_head(&k->head[i], a, n, k->training, arena);
    if (c->depth > 1)
        lay_out_blocks(k, a, n, arena);
}

static size_t measure(AttentiveWork *k, const Attentive *a, int64_t n) {
    Arena arena = {0};
    lay_out(k, a, n, &arena);
    return arena.used;
}

static void release_work(Attentive *a) {
    AttentiveWork *k = &a->work;
    if (k->memory)
        a->device->release(k->memory, a->device);
    free(k->head);
    free(k->stack.blocks);
    memset(k, 0, sizeof *k);
}

/* As many sequences as chunk_bytes allow: a function of sizes alone, not of the machine.
 */
static int take_work(Attentive *a, int64_t tokens, int64_t most, bool training, Error *error) {
    const AttentiveConfig *c = &a->config;
    AttentiveWork *k = &a->work;
    release_work(a);
    k->tokens = tokens;
    k->most = most;
    k->training = training;
    k->head = memory_new((size_t)a->lane_count, sizeof *k->head);
    Attentive one = *a;
    one.lane_count = 1; /* lanes differ from machine to machine */
    size_t each = measure(k, &one, 1) - measure(k, &one, 0);
    k->sequences = min_i64(most, (int64_t)(a->chunk_bytes / each));
    k->sequences = k->sequences < 1 ? 1 : k->sequences;
    size_t bytes = measure(k, a, k->sequences), room = a->device->memory(a->device);
    if (room && bytes > room)
        return error_set(error, ERROR_RUN,
                         "attentive probes on sequences of %lld tokens of width %d need %.1f GiB "
                         "for activations, %.1f GiB are free",
                         (long long)tokens, c->width, (double)bytes / ((size_t)1 << 30),
                         (double)room / ((size_t)1 << 30));
    ScratchNeeds needs = {.longest = c->depth > 1 ? tokens : 0,
                          .head = c->width / c->heads,
                          .heads = c->heads,
                          .rows = k->sequences * tokens,
                          .width = c->hidden > 3 * c->width ? c->hidden : 3 * c->width};
    if (device_reserve(a->given, device_scratch_bytes(a->given, &needs), error) ||
        a->device->allocate(&k->memory, bytes, a->device, error))
        return -1;
    Arena arena = {.base = k->memory};
    lay_out(k, a, k->sequences, &arena);
    for (int64_t i = 0; i <= k->sequences && c->depth > 1; i++)
        k->cu[i] = (int32_t)(i * tokens);
    for (int i = 0; i < c->width && k->ones; i++)
        k->ones[i] = 1;
    return 0;
}

int attentive_plan(Attentive *a, int64_t tokens, int64_t most, bool training, Error *error) {
    const AttentiveWork *k = &a->work;
    JEPA_ASSERT(tokens > 0 && most > 0);
    if (tokens > INT32_MAX / 2)
        return error_set(error, ERROR_USAGE, "sequences of %lld tokens: too long",
                         (long long)tokens);
    if (training && !a->gradients && attentive_take(&a->gradients, a, 1, error))
        return -1;
    bool fits = training ? k->training && k->most == most
                         : k->most >= most || k->sequences < k->most; /* as many as there can be */
    if (k->memory && k->tokens == tokens && fits)
        return 0;
    int result = take_work(a, tokens, most, training, error);
    if (result)
        release_work(a);
    return result;
}

void attentive_release(Attentive *a) {
    release_work(a);
    float *memory[] = {a->weights, a->gradients};
    for (int i = 0; i < 2; i++)
        if (memory[i])
            a->device->release(memory[i], a->device);
}
