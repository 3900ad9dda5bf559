/* What an attentive probe does with its pooled tokens, forward, loss and backward: n rows.
 *
 *   z = γ ∘ m + β,   y[h] = W_v[h] z[h] + b_v[h]       for each head, m from eval/attentive_query.c
 *   r = t + y,   o = r + fc2(gelu(fc1(norm2(r)))),   logits = linear(o)
 *
 * The query itself, not normalised, is the residual; no projection of y. Source:
 * CrossAttentionBlock in facebookresearch/jepa src/models/utils/modules.py. */
#include "eval/attentive_parts.h"
#include <string.h>

/* One head's rows of m: row i at from + i · stride. */
typedef struct PooledHead {
    const float *from;
    float *gradient; /* NULL: not wanted */
    int64_t stride;
} PooledHead;

static void scale_rows(float *restrict z, const PooledHead *m, const float *gamma,
                       const float *beta, int64_t n, int64_t width) {
    for (int64_t i = 0; i < n; i++) {
        const float *restrict row = m->from + i * m->stride;
        for (int64_t d = 0; d < width; d++)
            z[i * width + d] = gamma[d] * row[d] + beta[d];
    }
}

/* z = γ m + β: dm, and sums of dγ, dβ in affine[2][D] */
static void scale_rows_backward(double *restrict affine, const float *restrict dz,
                                const PooledHead *m, const float *gamma, int64_t n, int64_t width) {
    for (int64_t i = 0; i < n; i++) {
        const float *restrict row = m->from + i * m->stride;
        float *restrict dm = m->gradient + i * m->stride;
        for (int64_t d = 0; d < width; d++) {
            float g = dz[i * width + d];
            dm[d] = gamma[d] * g;
            affine[d] += g * row[d];
            affine[width + d] += g;
        }
    }
}

static void values_forward(const Attentive *a, const float *w, const PooledHead *pooled,
                           HeadScratch *s, int64_t n, Device *op) {
    const ProbeOffsets *at = &a->at;
    int64_t d = a->config.width, heads = a->config.heads, size = d / heads;
    for (int64_t h = 0; h < heads; h++) {
        int64_t row = d + h * size; /* of kv's weight and bias: values come behind keys */
        scale_rows(s->z, &pooled[h], w + at->norm1_w, w + at->norm1_b, n, d);
        op->linear_forward(s->part, s->z, w + at->kv_w + row * d, w + at->kv_b + row, n, d, size,
                           op);
        for (int64_t i = 0; i < n; i++) /* r = t + y */
            for (int64_t k = 0; k < size; k++)
                s->sum[i * d + h * size + k] = w[at->query + h * size + k] + s->part[i * size + k];
    }
}

static void values_backward(const Attentive *a, const float *w, float *g, const PooledHead *pooled,
                            HeadScratch *s, int64_t n, Device *op) {
    const ProbeOffsets *at = &a->at;
    int64_t d = a->config.width, heads = a->config.heads, size = d / heads;
    memset(s->affine, 0, 2 * (size_t)d * sizeof *s->affine);
    op->rows_sum(g + at->query, s->dout, NULL, n, d, op); /* r = t + y */
    for (int64_t h = 0; h < heads; h++) {
        int64_t row = d + h * size;
        scale_rows(s->z, &pooled[h], w + at->norm1_w, w + at->norm1_b, n, d);
        op->rows_columns(s->part, size, 0, s->dout, d, h * size, n, size, sizeof(float), op);
        op->linear_backward_weight(g + at->kv_w + row * d, g + at->kv_b + row, s->part, s->z, n, d,
                                   size, op);
        op->linear_backward_input(s->dz, s->part, w + at->kv_w + row * d, n, d, size, op);
        scale_rows_backward(s->affine, s->dz, &pooled[h], w + at->norm1_w, n, d);
    }
    for (int64_t i = 0; i < d; i++) {
        g[at->norm1_w + i] += (float)s->affine[i];
        g[at->norm1_b + i] += (float)s->affine[d + i];
    }
}

static void mlp_forward(const Attentive *a, const float *w, HeadScratch *s, int64_t n, Device *op) {
    const AttentiveConfig *c = &a->config;
    const ProbeOffsets *at = &a->at;
    int64_t d = c->width, f = c->hidden;
    op->layernorm_forward(s->norm, s->mean, s->rstd, s->sum, w + at->norm2_w, w + at->norm2_b, n, d,
                          c->layernorm_eps, op);
    op->linear_gelu_forward(s->activated, s->hidden, s->norm, w + at->fc1_w, w + at->fc1_b, n, d, f,
                            op);
    op->linear_residual_forward(s->out, s->activated, w + at->fc2_w, w + at->fc2_b, s->sum, n, f, d,
                                op);
    op->linear_forward(s->logits, s->out, w + at->linear_w, w + at->linear_b, n, d, c->outputs, op);
}

/* dlogits -> dout, the gradient of r. */
static void mlp_backward(const Attentive *a, const float *w, float *g, HeadScratch *s, int64_t n,
                         Device *op) {
    const AttentiveConfig *c = &a->config;
    const ProbeOffsets *at = &a->at;
    int64_t d = c->width, f = c->hidden, k = c->outputs;
    /* logits = linear(out) */
    op->linear_backward_weight(g + at->linear_w, g + at->linear_b, s->dlogits, s->out, n, d, k, op);
    op->linear_backward_input(s->dout, s->dlogits, w + at->linear_w, n, d, k, op);
    /* out = r + fc2(gelu(hidden)), hidden = fc1(norm) */
    op->linear_gelu_backward_input(s->dhidden, s->activated, s->dout, w + at->fc2_w, s->hidden, n,
                                   f, d, op);
    op->linear_backward_weight(g + at->fc2_w, g + at->fc2_b, s->dout, s->activated, n, f, d, op);
    op->linear_backward_weight(g + at->fc1_w, g + at->fc1_b, s->dhidden, s->norm, n, d, f, op);
    op->linear_backward_input(s->dnorm, s->dhidden, w + at->fc1_w, n, d, f, op);
    /* norm = norm2(r) */
    op->layernorm_backward(s->dout, NULL, g + at->norm2_w, g + at->norm2_b, s->dnorm, s->sum,
                           s->mean, s->rstd, w + at->norm2_w, n, d, op);
}

void head_run(Attentive *a, int probe, int64_t first, HeadScratch *s, const ProbePass *pass,
              Device *op) {
    const AttentiveConfig *c = &a->config;
    const float *w = probe_weights_at(a, probe);
    int64_t n = pass->n, d = c->width, k = c->outputs;
    PooledHead pooled[PROBE_HEADS_MAX];
    for (int64_t h = 0; h < c->heads; h++) {
        int64_t row = (first + h) * d;
        pooled[h] = (PooledHead){a->work.pooled + row,
                                 pass->backward ? a->work.dpooled + row : NULL,
                                 (int64_t)attentive_together(a) * c->heads * d};
    }
    values_forward(a, w, pooled, s, n, op);
    mlp_forward(a, w, s, n, op);
    if (pass->out)
        memcpy(pass->out + probe * pass->out_stride * k, s->logits,
               (size_t)(n * k) * sizeof *pass->out);
    if (pass->labels)
        a->work.losses[probe] += attentive_loss(pass->backward ? s->dlogits : NULL, s->logits, k,
                                                pass);
    if (!pass->backward)
        return;
    float *g = probe_gradients_at(a, probe);
    mlp_backward(a, w, g, s, n, op);
    values_backward(a, w, g, pooled, s, n, op);
}
