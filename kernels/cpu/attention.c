/* Attention on the CPU: one thread per (sequence, head), query blocks of fixed height, so at most
 * QUERY_BLOCK x N scores exist per thread. See kernels/attention.h. */
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>

int64_t cpu_attention_scratch(int64_t longest) {
    return 2 * (int64_t)sizeof(float) * QUERY_BLOCK * ((longest + 15) / 16 * 16);
}

/* One row of scores to probabilities; returns the log of the sum of exponentials. */
MANY_CPUS static float softmax_row(float *p, int64_t count) {
    int64_t whole = count / 8 * 8;
    float lane[8], top = p[0];
    for (int k = 0; k < 8; k++)
        lane[k] = p[0];
    for (int64_t j = 0; j < whole; j += 8)
        for (int k = 0; k < 8; k++)
            lane[k] = p[j + k] > lane[k] ? p[j + k] : lane[k];
    for (int k = 0; k < 8; k++)
        top = lane[k] > top ? lane[k] : top;
    for (int64_t j = whole; j < count; j++)
        top = p[j] > top ? p[j] : top;
    for (int64_t j = 0; j < count; j++)
        p[j] = exp_f32(p[j] - top);
    double sum[8] = {0};
    for (int64_t j = 0; j < whole; j += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += p[j + k];
    for (int64_t j = whole; j < count; j++)
        sum[j - whole] += p[j];
    double total = ((sum[0] + sum[1]) + (sum[2] + sum[3])) +
                   ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    float scale = (float)(1.0 / total);
    for (int64_t j = 0; j < count; j++)
        p[j] *= scale;
    return (float)(top + log(total));
}

/* Scores of keys that the query may not see become -inf: probability 0. */
static void hide_later(float *p, const int32_t *block, int32_t own, int64_t count) {
    for (int64_t j = 0; j < count; j++)
        if (block[j] > own)
            p[j] = -INFINITY;
}

MANY_CPUS static void probabilities_row(float *p, float lse, int64_t count) {
    for (int64_t j = 0; j < count; j++)
        p[j] = exp_f32(p[j] - lse);
}

/* dS = P (dP - delta) */
MANY_CPUS static void score_gradient_row(float *dp, const float *p, float delta, int64_t count) {
    for (int64_t j = 0; j < count; j++)
        dp[j] = p[j] * (dp[j] - delta);
}

void cpu_attention_forward(Activation *out_, float *lse, const Activation *qkv_,
                           const int32_t *cu_seqlens, const int32_t *block, int64_t sequences,
                           int64_t width, int64_t heads, Device *device) {
    float *out = out_;
    const float *qkv = qkv_;
    int64_t head = width / heads, stride = 3 * width;
    float scale = (float)(1.0 / sqrt((double)head));
    char *scratch = device->scratch;
    int64_t share = (int64_t)device->scratch_bytes / device->threads / 64 * 64;
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t task = 0; task < sequences * heads; task++) {
        int64_t s = task / heads, h = task % heads;
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        JEPA_ASSERT(cpu_attention_scratch(count) <= share);
        float *p = (float *)(void *)(scratch + omp_get_thread_num() * share);
        const float *q = qkv + first * stride + h * head, *k = q + width, *v = k + width;
        float *o = out + first * width + h * head;
        for (int64_t i = 0; i < count; i += QUERY_BLOCK) {
            int64_t queries = min_i64(QUERY_BLOCK, count - i);
            gemm(p, count, q + i * stride, stride, 0, k, stride, 1, queries, count, head, scale, 0);
            for (int64_t r = 0; r < queries; r++) {
                if (block)
                    hide_later(p + r * count, block + first, block[first + i + r], count);
                float value = softmax_row(p + r * count, count);
                if (lse)
                    lse[(first + i + r) * heads + h] = value;
            }
            gemm(o + i * width, width, p, count, 0, v, stride, 0, queries, head, count, 1, 0);
        }
    }
}

void cpu_attention_backward(Activation *dqkv_, const Activation *dout_, const Activation *qkv_,
                            const Activation *out_, const float *lse, const int32_t *cu_seqlens,
                            const int32_t *block, int64_t sequences, int64_t width, int64_t heads,
                            Device *device) {
    float *dqkv = dqkv_;
    const float *dout = dout_, *qkv = qkv_, *out = out_;
    int64_t head = width / heads, stride = 3 * width;
    float scale = (float)(1.0 / sqrt((double)head));
    char *scratch = device->scratch;
    int64_t share = (int64_t)device->scratch_bytes / device->threads / 64 * 64;
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int64_t task = 0; task < sequences * heads; task++) {
        int64_t s = task / heads, h = task % heads;
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        JEPA_ASSERT(cpu_attention_scratch(count) <= share);
        float *p = (float *)(void *)(scratch + omp_get_thread_num() * share);
        float *ds = p + QUERY_BLOCK * count;
        const float *q = qkv + first * stride + h * head, *k = q + width, *v = k + width;
        float *dq = dqkv + first * stride + h * head, *dk = dq + width, *dv = dk + width;
        const float *o = out + first * width + h * head, *d_o = dout + first * width + h * head;
        for (int64_t i = 0; i < count; i += QUERY_BLOCK) {
            int64_t queries = min_i64(QUERY_BLOCK, count - i);
            float begun = i ? 1.0f : 0.0f; /* the first block overwrites dK and dV */
            /* forward: P = softmax(Q Kᵀ scale), O = P V */
            gemm(p, count, q + i * stride, stride, 0, k, stride, 1, queries, count, head, scale, 0);
            gemm(ds, count, d_o + i * width, width, 0, v, stride, 1, queries, count, head, 1, 0);
            for (int64_t r = 0; r < queries; r++) {
                double delta = 0;
                for (int64_t d = 0; d < head; d++)
                    delta += (double)d_o[(i + r) * width + d] * o[(i + r) * width + d];
                if (block)
                    hide_later(p + r * count, block + first, block[first + i + r], count);
                probabilities_row(p + r * count, lse[(first + i + r) * heads + h], count);
                score_gradient_row(ds + r * count, p + r * count, (float)delta, count);
            }
            gemm(dv, stride, p, count, 1, d_o + i * width, width, 0, count, head, queries, 1,
                 begun);
            gemm(dq + i * stride, stride, ds, count, 0, k, stride, 0, queries, head, count, scale,
                 0);
            gemm(dk, stride, ds, count, 1, q + i * stride, stride, 0, count, head, queries, scale,
                 begun);
        }
    }
}
