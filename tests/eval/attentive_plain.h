/* An attentive probe in double, written the plain way: keys and values for every token, one
 * sequence after another, nothing moved to the query's side. What eval/attentive.c is held against.
 */
#ifndef JEPA_TESTS_ATTENTIVE_PLAIN_H
#define JEPA_TESTS_ATTENTIVE_PLAIN_H

#include "base/error.h"
#include "eval/attentive.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Plain {
    const ProbeWeights *shape;
    double **values; /* [shape->count], may be changed */
} Plain;

static inline Plain plain_new(const ProbeWeights *w) {
    Plain p = {w, memory_new(w->count, sizeof(double *))};
    for (size_t i = 0; i < w->count; i++) {
        p.values[i] = memory_new((size_t)w->tensors[i].count, sizeof(double));
        for (int64_t k = 0; k < w->tensors[i].count; k++)
            p.values[i][k] = w->tensors[i].values[k];
    }
    return p;
}

static inline void plain_free(Plain *p) {
    for (size_t i = 0; i < p->shape->count; i++)
        free(p->values[i]);
    free(p->values);
}

static inline const double *plain_find(const Plain *p, const char *prefix, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const ProbeTensor *t = probe_weights_find(p->shape, full);
    JEPA_ASSERT(t);
    return p->values[t - p->shape->tensors];
}

/* y[out] = W x + b */
static inline void plain_linear(double *y, const double *x, const double *w, const double *b,
                                int in, int out) {
    for (int o = 0; o < out; o++) {
        y[o] = b[o];
        for (int i = 0; i < in; i++)
            y[o] += w[o * in + i] * x[i];
    }
}

static inline void plain_norm(double *y, const double *x, const double *w, const double *b, int d,
                              double eps) {
    double mean = 0, square = 0;
    for (int i = 0; i < d; i++)
        mean += x[i] / d;
    for (int i = 0; i < d; i++)
        square += (x[i] - mean) * (x[i] - mean) / d;
    for (int i = 0; i < d; i++)
        y[i] = (x[i] - mean) / sqrt(square + eps) * w[i] + b[i];
}

/* out[D] of one query q[D] over k, v [N] rows, `stride` apart */
static inline void plain_attend(double *out, const double *q, const double *k, const double *v,
                                int stride, int n, int d, int heads) {
    int size = d / heads;
    double *a = memory_new((size_t)n, sizeof *a);
    for (int h = 0; h < heads; h++) {
        double most = -INFINITY, sum = 0;
        for (int t = 0; t < n; t++) {
            a[t] = 0;
            for (int i = h * size; i < (h + 1) * size; i++)
                a[t] += q[i] * k[t * stride + i] / sqrt(size);
            most = fmax(most, a[t]);
        }
        for (int t = 0; t < n; t++)
            sum += a[t] = exp(a[t] - most);
        for (int i = h * size; i < (h + 1) * size; i++) {
            out[i] = 0;
            for (int t = 0; t < n; t++)
                out[i] += a[t] / sum * v[t * stride + i];
        }
    }
    free(a);
}

/* x[D] += MLP(norm2(x)) */
static inline void plain_mlp(double *x, const Plain *p, const char *block) {
    int d = p->shape->width, f = p->shape->hidden;
    double *norm = memory_new((size_t)d, sizeof *norm), *y = memory_new((size_t)d, sizeof *y);
    double *hidden = memory_new((size_t)f, sizeof *hidden);
    plain_norm(norm, x, plain_find(p, block, "norm2.weight"), plain_find(p, block, "norm2.bias"), d,
               p->shape->layernorm_eps);
    plain_linear(hidden, norm, plain_find(p, block, "mlp.fc1.weight"),
                 plain_find(p, block, "mlp.fc1.bias"), d, f);
    for (int i = 0; i < f; i++)
        hidden[i] *= 0.5 * erfc(-hidden[i] / sqrt(2));
    plain_linear(y, hidden, plain_find(p, block, "mlp.fc2.weight"),
                 plain_find(p, block, "mlp.fc2.bias"), f, d);
    for (int i = 0; i < d; i++)
        x[i] += y[i];
    free(norm);
    free(y);
    free(hidden);
}

/* A self-attention block over x[N][D]. */
static inline void plain_block(double *x, const Plain *p, const char *block, int n) {
    int d = p->shape->width;
    size_t wide = (size_t)n * (size_t)d;
    double *norm = memory_new((size_t)d, sizeof *norm), *qkv = memory_new(3 * wide, sizeof *qkv);
    double *out = memory_new((size_t)d, sizeof *out), *y = memory_new((size_t)d, sizeof *y);
    for (int t = 0; t < n; t++) {
        plain_norm(norm, x + t * d, plain_find(p, block, "norm1.weight"),
                   plain_find(p, block, "norm1.bias"), d, p->shape->layernorm_eps);
        plain_linear(qkv + 3 * t * d, norm, plain_find(p, block, "attn.qkv.weight"),
                     plain_find(p, block, "attn.qkv.bias"), d, 3 * d);
    }
    for (int t = 0; t < n; t++) {
        plain_attend(out, qkv + 3 * t * d, qkv + d, qkv + 2 * d, 3 * d, n, d, p->shape->heads);
        plain_linear(y, out, plain_find(p, block, "attn.proj.weight"),
                     plain_find(p, block, "attn.proj.bias"), d, d);
        for (int i = 0; i < d; i++)
            x[t * d + i] += y[i];
        plain_mlp(x + t * d, p, block);
    }
    free(norm);
    free(qkv);
    free(out);
    free(y);
}

/* logits[K] of tokens[N][D] */
static inline void plain_forward(double *logits, const Plain *p, const float *tokens, int n) {
    const char *cross = "pooler.cross_attention_block.";
    int d = p->shape->width;
    size_t wide = (size_t)n * (size_t)d;
    double *x = memory_new(wide, sizeof *x), *kv = memory_new(2 * wide, sizeof *kv);
    double *q = memory_new((size_t)d, sizeof *q), *y = memory_new((size_t)d, sizeof *y);
    const double *query = plain_find(p, "", "pooler.query_tokens");
    for (size_t i = 0; i < wide; i++)
        x[i] = tokens[i];
    for (int i = 0; i < p->shape->depth - 1; i++) {
        char block[48];
        snprintf(block, sizeof block, "pooler.blocks.%d.", i);
        plain_block(x, p, block, n);
    }
    for (int t = 0; t < n; t++) {
        plain_norm(y, x + t * d, plain_find(p, cross, "norm1.weight"),
                   plain_find(p, cross, "norm1.bias"), d, p->shape->layernorm_eps);
        plain_linear(kv + 2 * t * d, y, plain_find(p, cross, "xattn.kv.weight"),
                     plain_find(p, cross, "xattn.kv.bias"), d, 2 * d);
    }
    plain_linear(q, query, plain_find(p, cross, "xattn.q.weight"),
                 plain_find(p, cross, "xattn.q.bias"), d, d);
    plain_attend(y, q, kv, kv + d, 2 * d, n, d, p->shape->heads);
    for (int i = 0; i < d; i++)
        y[i] += query[i];
    plain_mlp(y, p, cross);
    plain_linear(logits, y, plain_find(p, "", "linear.weight"), plain_find(p, "", "linear.bias"), d,
                 p->shape->classes);
    free(x);
    free(kv);
    free(q);
    free(y);
}

/* Mean loss of tokens[count][N][D]. */
static inline double plain_loss(const Plain *p, AttentiveLoss kind, double huber,
                                const float *tokens, const AttentiveLabels *labels, int count,
                                int n) {
    int classes = p->shape->classes;
    double *o = memory_new((size_t)classes, sizeof *o), loss = 0;
    for (int s = 0; s < count; s++) {
        plain_forward(o, p, tokens + s * n * p->shape->width, n);
        double sum = 0, row = 0;
        for (int k = 0; k < classes; k++) {
            double y = labels->values ? labels->values[s * classes + k] : 0, e = fabs(o[k] - y);
            sum += exp(o[k]);
            if (kind == ATTENTIVE_LABELS)
                row += (log(1 + exp(o[k])) - y * o[k]) / classes;
            if (kind == ATTENTIVE_VALUES)
                row += (e <= huber ? e * e / 2 : huber * e - huber * huber / 2) / classes;
        }
        if (kind == ATTENTIVE_CLASSES)
            row = log(sum) - o[labels->classes[s]];
        loss += row / count;
    }
    free(o);
    return loss;
}

#endif
