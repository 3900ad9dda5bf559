/* An attentive probe's weights: where each tensor lies, what it starts as, and the way to and from
 * files (eval/probe_weights.h).
 *
 * A probe is one flat buffer: tensors of two and more dimensions first (those that V-JEPA 1
 * decays), then biases and norms, each at a multiple of 16 elements; gaps stay zero. */
#include "base/random.h"
#include "eval/attentive_parts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16 /* elements: 64 bytes */
#define INIT_STD  0.02

static int64_t offset_of(const Attentive *a, const char *prefix, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const ProbeTensor *t = probe_weights_find(&a->table, full);
    JEPA_ASSERT(t);
    return a->offset[t - a->table.tensors];
}

static void place(Attentive *a) {
    const char *cross = "pooler.cross_attention_block.";
    a->at = (ProbeOffsets){.query = offset_of(a, "", "pooler.query_tokens"),
                           .norm1_w = offset_of(a, cross, "norm1.weight"),
                           .norm1_b = offset_of(a, cross, "norm1.bias"),
                           .q_w = offset_of(a, cross, "xattn.q.weight"),
                           .q_b = offset_of(a, cross, "xattn.q.bias"),
                           .kv_w = offset_of(a, cross, "xattn.kv.weight"),
                           .kv_b = offset_of(a, cross, "xattn.kv.bias"),
                           .norm2_w = offset_of(a, cross, "norm2.weight"),
                           .norm2_b = offset_of(a, cross, "norm2.bias"),
                           .fc1_w = offset_of(a, cross, "mlp.fc1.weight"),
                           .fc1_b = offset_of(a, cross, "mlp.fc1.bias"),
                           .fc2_w = offset_of(a, cross, "mlp.fc2.weight"),
                           .fc2_b = offset_of(a, cross, "mlp.fc2.bias"),
                           .linear_w = offset_of(a, "", "linear.weight"),
                           .linear_b = offset_of(a, "", "linear.bias")};
    for (int i = 0; i < a->config.depth - 1; i++) {
        char block[48];
        snprintf(block, sizeof block, "pooler.blocks.%d.", i);
        a->blocks[i] = (BlockOffsets){.norm1_w = offset_of(a, block, "norm1.weight"),
                                      .norm1_b = offset_of(a, block, "norm1.bias"),
                                      .qkv_w = offset_of(a, block, "attn.qkv.weight"),
                                      .qkv_b = offset_of(a, block, "attn.qkv.bias"),
                                      .proj_w = offset_of(a, block, "attn.proj.weight"),
                                      .proj_b = offset_of(a, block, "attn.proj.bias"),
                                      .norm2_w = offset_of(a, block, "norm2.weight"),
                                      .norm2_b = offset_of(a, block, "norm2.bias"),
                                      .fc1_w = offset_of(a, block, "mlp.fc1.weight"),
                                      .fc1_b = offset_of(a, block, "mlp.fc1.bias"),
                                      .out_w = offset_of(a, block, "mlp.fc2.weight"),
                                      .out_b = offset_of(a, block, "mlp.fc2.bias")};
    }
}

int attentive_lay_out(Attentive *a, Error *error) {
    const AttentiveConfig *c = &a->config;
    a->table = (ProbeWeights){.depth = c->depth,
                              .width = c->width,
                              .heads = c->heads,
                              .hidden = c->hidden,
                              .queries = 1,
                              .classes = c->outputs,
                              .layernorm_eps = c->layernorm_eps};
    if (c->heads > PROBE_HEADS_MAX)
        return error_set(error, ERROR_USAGE, "attentive probes of %d heads: expected up to %d",
                         c->heads, PROBE_HEADS_MAX);
    if (probe_weights_list(&a->table, error))
        return -1;
    a->offset = memory_new(a->table.count, sizeof *a->offset);
    a->blocks = memory_new((size_t)c->depth, sizeof *a->blocks);
    for (int vectors = 0; vectors < 2; vectors++) {
        for (size_t i = 0; i < a->table.count; i++) {
            const ProbeTensor *t = &a->table.tensors[i];
            if ((t->dims == 1) != vectors)
                continue;
            a->offset[i] = a->total;
            a->total += (t->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        if (!vectors)
            a->decayed = a->total;
    }
    place(a);
    return 0;
}

/* `copies` of all probes' weights, zeroed. */
int attentive_take(float **memory, const Attentive *a, int copies, Error *error) {
    void *taken = NULL;
    size_t bytes = (size_t)a->total * (size_t)a->probes * (size_t)copies * sizeof(float);
    size_t room = a->device->memory(a->device);
    if (room && bytes > room)
        return error_set(error, ERROR_RUN,
                         "%d attentive probes of %d blocks and width %d need %.1f GiB more, %.1f "
                         "GiB are free: train fewer at a time",
                         a->probes, a->config.depth, a->config.width,
                         (double)bytes / ((size_t)1 << 30), (double)room / ((size_t)1 << 30));
    if (a->device->allocate(&taken, bytes, a->device, error))
        return -1;
    *memory = taken;
    return 0;
}

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), own = strlen(end);
    return length >= own && !strcmp(name + length - own, end);
}

/* What a matrix's truncated normal is divided by: sqrt(2 (i + 1)) for the layers that write into
 * the residual stream of block i. */
static double divisor(const Attentive *a, const char *name) {
    int block = a->config.depth > 2 ? a->config.depth - 2 : 0; /* of the cross-attention */
    if (!ends_with(name, ".mlp.fc2.weight") && !ends_with(name, ".attn.proj.weight"))
        return 1;
    if (sscanf(name, "pooler.blocks.%d.", &block) != 1)
        block = a->config.depth > 2 ? a->config.depth - 2 : 0;
    return sqrt(2.0 * (block + 1));
}

/* Tensor i from stream (seed, RANDOM_PROBE, 0, i), so that it does not depend on the others. */
static void init_tensor(const Attentive *a, float *values, size_t i, uint64_t seed) {
    const ProbeTensor *t = &a->table.tensors[i];
    Random random = random_at(seed, RANDOM_PROBE, 0, i);
    double bound = 1 / sqrt((double)a->config.width), by = divisor(a, t->name);
    bool linear = !strncmp(t->name, "linear.", 7);
    for (int64_t k = 0; k < t->count; k++) {
        double value = ends_with(t->name, "weight"); /* norms 1, biases 0 */
        if (linear)
            value = random_between(&random, -bound, bound);
        else if (t->dims > 1)
            do
                value = random_normal(&random) * INIT_STD / by;
            while (fabs(value * by) > 2); /* trunc_normal_'s absolute bounds */
        values[k] = (float)value;
    }
}

void attentive_init(Attentive *a, uint64_t seed) {
    for (size_t i = 0; i < a->table.count; i++)
        init_tensor(a, a->weights + a->offset[i], i, seed);
    for (int p = 1; p < a->probes; p++)
        memcpy(probe_weights_at(a, p), a->weights, (size_t)a->total * sizeof *a->weights);
}

int attentive_register(Attentive *a, Error *error) {
    const AttentiveConfig *c = &a->config;
    int64_t d = c->width, f = c->hidden;
    for (int p = 0; p < a->probes; p++)
        for (int i = 0; i < c->depth - 1; i++) {
            const float *w = probe_weights_at(a, p);
            const BlockOffsets *o = &a->blocks[i];
            const LinearWeights layers[] = {{w + o->qkv_w, d, 3 * d, true, false},
                                            {w + o->proj_w, d, d, true, false},
                                            {w + o->fc1_w, d, f, true, false},
                                            {w + o->out_w, f, d, true, false}};
            for (int k = 0; k < 4; k++)
                if (a->device->linear_weights_add(&layers[k], a->device, error))
                    return -1;
        }
    return 0;
}

static void copy_out(ProbeWeights *out, const Attentive *a, const float *from) {
    Error error;
    *out = a->table;
    out->tensors = NULL;
    out->count = 0;
    JEPA_ASSERT(!probe_weights_list(out, &error)); /* as these were */
    for (size_t i = 0; i < out->count; i++) {
        ProbeTensor *t = &out->tensors[i];
        t->values = memory_new((size_t)t->count, sizeof *t->values);
        memcpy(t->values, from + a->offset[i], (size_t)t->count * sizeof *t->values);
    }
}

void attentive_get(ProbeWeights *weights, const Attentive *a, int number) {
    JEPA_ASSERT(number >= 0 && number < a->probes);
    copy_out(weights, a, probe_weights_at(a, number));
}

void attentive_get_gradients(ProbeWeights *gradients, const Attentive *a, int number) {
    JEPA_ASSERT(number >= 0 && number < a->probes && a->gradients);
    copy_out(gradients, a, probe_gradients_at(a, number));
}

int attentive_set(Attentive *a, int number, const ProbeWeights *weights, Error *error) {
    const ProbeWeights *own = &a->table;
    JEPA_ASSERT(number >= 0 && number < a->probes);
    if (weights->depth != own->depth || weights->width != own->width ||
        weights->heads != own->heads || weights->hidden != own->hidden ||
        weights->queries != own->queries || weights->classes != own->classes ||
        weights->layernorm_eps != own->layernorm_eps || weights->count != own->count)
        return error_set(error, ERROR_USAGE,
                         "a probe of %d blocks, width %d, %d heads, MLP %d, %d queries and %d "
                         "outputs where %d, %d, %d, %d, %d and %d were expected",
                         weights->depth, weights->width, weights->heads, weights->hidden,
                         weights->queries, weights->classes, own->depth, own->width, own->heads,
                         own->hidden, own->queries, own->classes);
    float *to = probe_weights_at(a, number);
    for (size_t i = 0; i < own->count; i++)
        memcpy(to + a->offset[i], weights->tensors[i].values,
               (size_t)own->tensors[i].count * sizeof *to);
    a->device->linear_weights_changed(to, to + a->total, a->device);
    return 0;
}
