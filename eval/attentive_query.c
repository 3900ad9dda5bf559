/* Cross-attention of one learnt query, on the query's side. Of each head h (D/H channels each):
 *
 *   q = W_q t + b_q,  f = W_k[h]ᵀ q[h],  u = γ ∘ f / √(D/H)
 *   score[n] = x̂[n] · u,   a = softmax(score),   m = Σ_n a[n] x̂[n]
 *
 * with x̂ the tokens without norm1's γ and β. Left out of the scores, as they are the same for every
 * token: β · f and b_k · q. So b_k has no gradient, and β none from the keys.
 *
 * Backward, from dm of each sequence, S = attention's softmax:
 *   da[n] = dm · x̂[n],  ds[n] = a[n] (da[n] - dm · m)      for Σ a da = dm · m
 *   du = Σ_n ds[n] x̂[n],  dx̂[n] = a[n] dm + ds[n] u        the latter below other blocks only
 * and once for a batch, from the sum of all du:
 *   df = γ ∘ du / √(D/H),  dγ = Σ_h f ∘ du / √(D/H),  dW_k[h] = q[h] dfᵀ,  dq[h] = W_k[h] df
 *   dW_q = dq tᵀ,  db_q = dq,  dt = W_qᵀ dq
 *
 * Q heads of all probes at once are rows of matrices: scores [Q][N] = u x̂ᵀ and m [Q][D] = a x̂. */
#include "eval/attentive_parts.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include <math.h>
#include <string.h>

#define SUM_WIDTH 16  /* partial sums of a row */
#define SUM_BLOCK 512 /* elements that are summed in float32 */

/* ---- a probe's query ---- */

void query_fold(Attentive *a, int probe, Device *lane) {
    const AttentiveConfig *c = &a->config;
    const ProbeOffsets *at = &a->at;
    const float *w = probe_weights_at(a, probe), *gamma = w + at->norm1_w;
    int64_t d = c->width, size = d / c->heads, first = (int64_t)probe * c->heads * d;
    float *q = a->work.query + probe * d, scale = (float)(1 / sqrt((double)size));
    lane->linear_forward(q, w + at->query, w + at->q_w, w + at->q_b, 1, d, d, lane);
    for (int64_t h = 0; h < c->heads; h++) {
        float *folded = a->work.folded + first + h * d, *u = a->work.u + first + h * d;
        lane->linear_backward_input(folded, q + h * size, w + at->kv_w + h * size * d, 1, d, size,
                                    lane);
        for (int64_t i = 0; i < d; i++)
            u[i] = scale * gamma[i] * folded[i];
    }
}

void query_fold_backward(Attentive *a, int probe, HeadScratch *scratch, Device *lane) {
    const AttentiveConfig *c = &a->config;
    const ProbeOffsets *at = &a->at;
    const float *w = probe_weights_at(a, probe), *gamma = w + at->norm1_w;
    int64_t d = c->width, size = d / c->heads, first = (int64_t)probe * c->heads * d;
    const float *q = a->work.query + probe * d;
    float *g = probe_gradients_at(a, probe), *dq = scratch->dquery;
    float scale = (float)(1 / sqrt((double)size));
    for (int64_t h = 0; h < c->heads; h++) {
        const float *folded = a->work.folded + first + h * d;
        float *df = a->work.du + first + h * d, *dgamma = g + at->norm1_w;
        int64_t keys = at->kv_w + h * size * d;
        for (int64_t i = 0; i < d; i++) { /* u = scale γ f */
            dgamma[i] += scale * folded[i] * df[i];
            df[i] *= scale * gamma[i];
        }
        /* f = W_k[h]ᵀ q[h] */
        lane->linear_forward(dq + h * size, df, w + keys, NULL, 1, d, size, lane);
        lane->linear_backward_weight(g + keys, NULL, q + h * size, df, 1, d, size, lane);
    }
    /* q = W_q t + b_q */
    lane->linear_backward_weight(g + at->q_w, g + at->q_b, dq, w + at->query, 1, d, d, lane);
    lane->linear_backward_input(scratch->dtoken, dq, w + at->q_w, 1, d, d, lane);
    lane->rows_sum(g + at->query, scratch->dtoken, NULL, 1, d, lane);
}

/* ---- a sequence ---- */

/* Sums of a row: SUM_WIDTH partial sums of SUM_BLOCK elements, those in double. */
static double fold_sums(const float sums[SUM_WIDTH]) {
    double total = 0;
    for (int k = 0; k < SUM_WIDTH; k++)
        total += sums[k];
    return total;
}

/* row = exp(row - max), its sum. */
MANY_CPUS static double exponentials(float *row, int64_t count, float most) {
    double total = 0;
    for (int64_t first = 0; first < count; first += SUM_BLOCK) {
        float sums[SUM_WIDTH] = {0};
        int64_t end = min_i64(count, first + SUM_BLOCK), i = first;
        for (; i + SUM_WIDTH <= end; i += SUM_WIDTH)
            for (int k = 0; k < SUM_WIDTH; k++) {
                row[i + k] = exp_f32(row[i + k] - most);
                sums[k] += row[i + k];
            }
        for (int k = 0; i < end; i++, k++) {
            row[i] = exp_f32(row[i] - most);
            sums[k] += row[i];
        }
        total += fold_sums(sums);
    }
    return total;
}

MANY_CPUS static float largest(const float *row, int64_t count) {
    float most[SUM_WIDTH], result;
    int64_t whole = count / SUM_WIDTH * SUM_WIDTH;
    for (int k = 0; k < SUM_WIDTH; k++)
        most[k] = row[0];
    for (int64_t i = 0; i < whole; i += SUM_WIDTH)
        for (int k = 0; k < SUM_WIDTH; k++)
            most[k] = row[i + k] > most[k] ? row[i + k] : most[k];
    result = most[0];
    for (int k = 1; k < SUM_WIDTH; k++)
        result = most[k] > result ? most[k] : result;
    for (int64_t i = whole; i < count; i++)
        result = row[i] > result ? row[i] : result;
    return result;
}

MANY_CPUS static void multiply(float *row, int64_t count, float by) {
    for (int64_t i = 0; i < count; i++)
        row[i] *= by;
}

static void softmax(float *row, int64_t count) {
    double sum = exponentials(row, count, largest(row, count));
    multiply(row, count, (float)(1 / sum));
}

MANY_CPUS static float dot(const float *x, const float *y, int64_t count) {
    double sums[8] = {0}, total = 0;
    int64_t whole = count / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++)
            sums[k] += (double)x[i + k] * y[i + k];
    for (int64_t i = whole; i < count; i++)
        sums[i - whole] += (double)x[i] * y[i];
    for (int k = 0; k < 8; k++)
        total += sums[k];
    return (float)total;
}

/* a = a (da - delta) */
MANY_CPUS static void softmax_backward(float *restrict a, const float *restrict da, int64_t count,
                                       float delta) {
    for (int64_t i = 0; i < count; i++)
        a[i] *= da[i] - delta;
}

void query_pool(float *pooled, float *attention, const float *normed, const float *u,
                int64_t queries, int64_t tokens, int64_t width, Device *lane) {
    /* score = u x̂ᵀ */
    lane->linear_forward(attention, u, normed, NULL, queries, width, tokens, lane);
    for (int64_t q = 0; q < queries; q++)
        softmax(attention + q * tokens, tokens);
    /* m = a x̂ */
    lane->linear_backward_input(pooled, attention, normed, queries, width, tokens, lane);
}

void query_pool_backward(float *dpooled, float *dnormed, float *attention, float *dattention,
                         const float *pooled, const float *normed, const float *u, int64_t queries,
                         int64_t tokens, int64_t width, Device *lane) {
    /* m = a x̂ */
    lane->linear_forward(dattention, dpooled, normed, NULL, queries, width, tokens, lane);
    if (dnormed) {
        memset(dnormed, 0, (size_t)(tokens * width) * sizeof *dnormed);
        lane->linear_backward_weight(dnormed, NULL, attention, dpooled, queries, width, tokens,
                                     lane);
    }
    /* a = softmax(score) */
    for (int64_t q = 0; q < queries; q++)
        softmax_backward(attention + q * tokens, dattention + q * tokens, tokens,
                         dot(dpooled + q * width, pooled + q * width, width));
    /* score = u x̂ᵀ */
    lane->linear_backward_input(dpooled, attention, normed, queries, width, tokens, lane);
    if (dnormed)
        lane->linear_backward_weight(dnormed, NULL, attention, u, queries, width, tokens, lane);
}
