/* Attention on the CPU: which head of which sequence a thread takes, and which instructions it
 * uses. The arithmetic is in attention_flash.h; formulas: kernels/attention.h.
 *
 * A task of the forward pass is a part of the queries of one head of one sequence, a task of the
 * backward pass a whole head: dK and dV sum over all queries. Each writes what no other does, and
 * tasks depend on the shapes alone: any number of threads computes the same bits. */
#include "kernels/cpu/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

static int always(void) {
    return 1;
}

#ifdef __x86_64__
static int runs_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int runs_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int runs_avx512bf16(void) {
    return runs_avx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

#define VARIANT(name, runs, float32, bfloat16)                                                     \
    {                                                                                              \
        name, runs, {attention_forward_##float32, attention_forward_##bfloat16}, {                 \
            attention_backward_##float32, attention_backward_##bfloat16                            \
        }                                                                                          \
    }

/* Where there is no product of bfloat16, they are widened as they are packed: all else is the
 * same, and no product is less exact for it. */
static const AttentionVariant variants[] = {
#ifdef __x86_64__
    VARIANT("avx512bf16", runs_avx512bf16, avx512, avx512bf16),
    VARIANT("avx512", runs_avx512, avx512, avx512),
    VARIANT("avx2", runs_avx2, avx2, avx2),
#endif
    VARIANT("portable", always, portable, portable),
    VARIANT("wide", always, wide, pairs),
};

const AttentionVariant *cpu_attention_variants(size_t *count) {
    *count = sizeof variants / sizeof *variants;
    return variants;
}

const AttentionVariant *cpu_attention_best(void) {
    const AttentionVariant *v = variants;
    while (!v->runs())
        v++;
    return v;
}

/* As attention_flash.h takes it, both passes. */
int64_t cpu_attention_scratch(int64_t longest, int64_t head) {
    int64_t row = attention_row(head), deep = attention_round_up(head, 4);
    int64_t forward = 2 * FORWARD_KEYS * row + FORWARD_QUERIES * (row + 2 * deep) +
                      2 * FORWARD_KEYS * 3 * 16 + 3 * FORWARD_QUERIES;
    int64_t padded = attention_round_up(longest, 16), pairs = attention_row((head + 1) / 2);
    int64_t packed = padded * 2 * row, packed_pairs = padded * 2 * pairs + padded / 2 * row;
    int64_t backward = 2 * padded * row + (packed > packed_pairs ? packed : packed_pairs) +
                       BACKWARD_QUERIES * (4 * row + 3 * deep) +
                       3 * BACKWARD_KEYS * attention_row(BACKWARD_QUERIES) + 3 * BACKWARD_QUERIES;
    return 4 * (forward > backward ? forward : backward);
}

/* One head of one sequence, tokens first .. first+count-1. */
static AttentionHead head_of(const Activation *qkv, const int32_t *block, int64_t first,
                             int64_t count, int64_t width, int64_t heads, int64_t h,
                             const Device *device) {
    int64_t head = width / heads, size = (int64_t)activation_size(device->precision);
    const char *q = (const char *)qkv + (first * 3 * width + h * head) * size;
    return (AttentionHead){.q = q,
                           .k = q + width * size,
                           .v = q + 2 * width * size,
                           .block = block ? block + first : NULL,
                           .count = count,
                           .head = head,
                           .stride = 3 * width,
                           .width = width,
                           .heads = heads,
                           .precision = device->precision};
}

/* Of this thread. */
static void *scratch_of(const Device *device, int64_t count, int64_t head) {
    int64_t share = (int64_t)device->scratch_bytes / device->threads / 64 * 64;
    JEPA_ASSERT(cpu_attention_scratch(count, head) <= share);
    return (char *)device->scratch + omp_get_thread_num() * share;
}

/* Queries of one task: equal parts of the sequence, in whole panels of every instruction set. */
static int64_t part_of(int64_t count) {
    int64_t parts = TILES(count, FORWARD_QUERIES);
    return parts ? attention_round_up(TILES(count, parts), 48) : FORWARD_QUERIES;
}

void cpu_attention_forward(Activation *out, float *lse, const Activation *qkv,
                           const int32_t *cu_seqlens, const int32_t *block, int64_t sequences,
                           int64_t width, int64_t heads, Device *device) {
    int64_t size = (int64_t)activation_size(device->precision), longest = 0;
    for (int64_t s = 0; s < sequences; s++)
        if (cu_seqlens[s + 1] - cu_seqlens[s] > longest)
            longest = cu_seqlens[s + 1] - cu_seqlens[s];
    int64_t parts = TILES(longest, FORWARD_QUERIES);
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t task = 0; task < sequences * heads * parts; task++) {
        int64_t s = task / (heads * parts), head = task / parts % heads;
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        int64_t part = part_of(count), at = task % parts * part;
        if (at >= count)
            continue;
        AttentionHead h = head_of(qkv, block, first, count, width, heads, head, device);
        int64_t row = first + at;
        device->attention->forward[device->precision](
            (char *)out + (row * width + head * h.head) * size,
            lse ? lse + row * heads + head : NULL, &h, at, min_i64(part, count - at),
            scratch_of(device, count, h.head));
    }
}

void cpu_attention_backward(Activation *dqkv, const Activation *dout, const Activation *qkv,
                            const Activation *out, const float *lse, const int32_t *cu_seqlens,
                            const int32_t *block, int64_t sequences, int64_t width, int64_t heads,
                            Device *device) {
    int64_t size = (int64_t)activation_size(device->precision);
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t task = 0; task < sequences * heads; task++) {
        int64_t s = task / heads, head = task % heads;
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        if (!count)
            continue;
        AttentionHead h = head_of(qkv, block, first, count, width, heads, head, device);
        char *dq = (char *)dqkv + (first * 3 * width + head * h.head) * size;
        int64_t at = (first * width + head * h.head) * size;
        device->attention->backward[device->precision](
            dq, dq + width * size, dq + 2 * width * size, (const char *)dout + at,
            (const char *)out + at, lse + first * heads + head, &h,
            scratch_of(device, count, h.head));
    }
}
