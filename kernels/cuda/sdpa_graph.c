/* The graphs of attention. See kernels/cuda/sdpa_graph.h. */
#include "kernels/cuda/sdpa_graph.h"

#define INDEX_ALIGNMENT 4 /* bytes: parts of arrays of int32 and float32 */

/* A graph on its way. */
typedef struct Draft {
    Graph *graph;
    SdpaGraphShape s;
    GraphTensor lengths_q, lengths_kv, offsets_qkv, offsets_out, offsets_lse;
    GraphTensor scale, one, masked;
} Draft;

/* ---- tensors ---- */

static GraphTensor index_tensor(Draft *d, SdpaUid uid, int64_t count) {
    return graph_tensor(d->graph, &(GraphTensorSpec){.uid = uid,
                                                     .type = CUDNN_DATA_INT32,
                                                     .dims = 4,
                                                     .dim = {count, 1, 1, 1},
                                                     .stride = {1, 1, 1, 1},
                                                     .alignment = INDEX_ALIGNMENT});
}

static GraphTensor host_value(Draft *d, SdpaUid uid) {
    return graph_tensor(d->graph, &(GraphTensorSpec){.uid = uid,
                                                     .type = CUDNN_DATA_FLOAT,
                                                     .memory = GRAPH_HOST,
                                                     .dims = 4,
                                                     .dim = {1, 1, 1, 1},
                                                     .stride = {1, 1, 1, 1},
                                                     .alignment = INDEX_ALIGNMENT});
}

/* Part of qkv or dqkv, [B][h][S][hd]; turned: [B][h][hd][S], a matrix product's second factor. */
static GraphTensor part(Draft *d, SdpaUid uid, bool turned) {
    const SdpaGraphShape *s = &d->s;
    int64_t row = 3 * s->all_heads * s->head;
    GraphTensorSpec spec = {.uid = uid,
                            .type = CUDNN_DATA_BFLOAT16,
                            .dims = 4,
                            .dim = {s->sequences, s->heads, s->tokens, s->head},
                            .stride = {row * s->tokens, s->head, row, 1},
                            .ragged = d->offsets_qkv};
    if (turned) {
        spec.dim[2] = s->head, spec.stride[2] = 1;
        spec.dim[3] = s->tokens, spec.stride[3] = row;
    }
    return graph_tensor(d->graph, &spec);
}

/* out or dout, [B][h][S][hd] */
static GraphTensor output(Draft *d, SdpaUid uid) {
    const SdpaGraphShape *s = &d->s;
    int64_t row = s->all_heads * s->head;
    return graph_tensor(d->graph,
                        &(GraphTensorSpec){.uid = uid,
                                           .type = CUDNN_DATA_BFLOAT16,
                                           .dims = 4,
                                           .dim = {s->sequences, s->heads, s->tokens, s->head},
                                           .stride = {row * s->tokens, s->head, row, 1},
                                           .ragged = d->offsets_out});
}

/* lse, [B][h][S][1] */
static GraphTensor row_sums(Draft *d) {
    const SdpaGraphShape *s = &d->s;
    return graph_tensor(d->graph,
                        &(GraphTensorSpec){.uid = SDPA_LSE,
                                           .type = CUDNN_DATA_FLOAT,
                                           .dims = 4,
                                           .dim = {s->sequences, s->heads, s->tokens, 1},
                                           .stride = {s->all_heads * s->tokens, 1, s->all_heads, 1},
                                           .alignment = INDEX_ALIGNMENT,
                                           .ragged = d->offsets_lse});
}

/* A value for each row, [B][h][S][1]; uid 0: virtual. */
static GraphTensor of_rows(Draft *d, SdpaUid uid) {
    const SdpaGraphShape *s = &d->s;
    return graph_tensor(d->graph,
                        &(GraphTensorSpec){.uid = uid,
                                           .type = CUDNN_DATA_FLOAT,
                                           .memory = uid ? GRAPH_DEVICE : GRAPH_VIRTUAL,
                                           .dims = 4,
                                           .dim = {s->sequences, s->heads, s->tokens, 1},
                                           .stride = {s->heads * s->tokens, s->tokens, 1, 1}});
}

/* Virtual [B][h][S][S]; turned: columns before rows. */
static GraphTensor scores(Draft *d, cudnnDataType_t type, bool turned) {
    const SdpaGraphShape *s = &d->s;
    int64_t n = s->tokens;
    return graph_tensor(d->graph, &(GraphTensorSpec){.type = type,
                                                     .memory = GRAPH_VIRTUAL,
                                                     .dims = 4,
                                                     .dim = {s->sequences, s->heads, n, n},
                                                     .stride = {s->heads * n * n, n * n,
                                                                turned ? 1 : n, turned ? n : 1}});
}

/* ---- pieces ---- */

static void start(Draft *d, Graph *graph, const SdpaGraphShape *shape) {
    *d = (Draft){.graph = graph, .s = *shape};
    d->lengths_q = index_tensor(d, SDPA_LENGTHS_Q, shape->sequences);
    d->lengths_kv = index_tensor(d, SDPA_LENGTHS_KV, shape->sequences);
    d->offsets_qkv = index_tensor(d, SDPA_OFFSETS_QKV, shape->sequences + 1);
    d->offsets_out = index_tensor(d, SDPA_OFFSETS_OUT, shape->sequences + 1);
    if (shape->pass != SDPA_INFERENCE)
        d->offsets_lse = index_tensor(d, SDPA_OFFSETS_LSE, shape->sequences + 1);
    d->scale = host_value(d, SDPA_SCALE);
    d->masked = host_value(d, SDPA_MASKED);
}

/* y = mode(x, b) in float32, as a new tensor of scores */
static GraphTensor of_scores(Draft *d, cudnnPointwiseMode_t mode, GraphTensor x, GraphTensor b,
                             cudnnDataType_t type) {
    GraphTensor y = scores(d, type, false);
    graph_pointwise(d->graph, mode, CUDNN_DATA_FLOAT, x, b, NULL, y);
    return y;
}

/* number of the row (axis 2) or column (axis 3) < length of the sequence */
static GraphTensor inside(Draft *d, GraphTensor x, int64_t axis, GraphTensor lengths) {
    GraphTensor number = scores(d, CUDNN_DATA_INT32, false);
    GraphTensor below = scores(d, CUDNN_DATA_BOOLEAN, false);
    graph_index(d->graph, x, number, axis);
    graph_pointwise(d->graph, CUDNN_POINTWISE_CMP_LT, CUDNN_DATA_BOOLEAN, number, lengths, NULL,
                    below);
    return below;
}

/* Q Kᵀ / √hd, -inf beyond the sequence's length */
static GraphTensor masked_scores(Draft *d, GraphTensor q, GraphTensor k_turned) {
    GraphTensor product = scores(d, CUDNN_DATA_FLOAT, false);
    graph_matmul(d->graph, q, k_turned, product, d->lengths_q, d->lengths_kv, NULL);
    GraphTensor scaled = of_scores(d, CUDNN_POINTWISE_MUL, product, d->scale, CUDNN_DATA_FLOAT);
    GraphTensor rows = inside(d, scaled, 2, d->lengths_q);
    GraphTensor columns = inside(d, scaled, 3, d->lengths_kv);
    GraphTensor both = scores(d, CUDNN_DATA_BOOLEAN, false);
    GraphTensor masked = scores(d, CUDNN_DATA_FLOAT, false);
    graph_pointwise(d->graph, CUDNN_POINTWISE_LOGICAL_AND, CUDNN_DATA_BOOLEAN, rows, columns, NULL,
                    both);
    graph_pointwise(d->graph, CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, scaled, d->masked,
                    both, masked);
    return masked;
}

/* The transposed bfloat16 copy that a product over rows needs. */
static GraphTensor turned_scores(Draft *d, GraphTensor x) {
    GraphTensor y = scores(d, CUDNN_DATA_BFLOAT16, true);
    graph_reshape(d->graph, x, y);
    return y;
}

/* ---- passes ---- */

/* m = max S,  e = exp(S - m),  l = Σ e;  lse = m + log l;  P = e / l;  O = P V */
static void forward(Draft *d) {
    Graph *g = d->graph;
    GraphTensor q = part(d, SDPA_Q, false), k = part(d, SDPA_K, true), v = part(d, SDPA_V, false);
    GraphTensor s = masked_scores(d, q, k);
    GraphTensor most = of_rows(d, 0), sum = of_rows(d, 0);
    graph_reduce(g, CUDNN_REDUCE_TENSOR_MAX, s, most);
    GraphTensor below = of_scores(d, CUDNN_POINTWISE_SUB, s, most, CUDNN_DATA_FLOAT);
    GraphTensor e = of_scores(d, CUDNN_POINTWISE_EXP, below, NULL, CUDNN_DATA_FLOAT);
    graph_reduce(g, CUDNN_REDUCE_TENSOR_ADD, e, sum);
    GraphTensor logarithm = of_rows(d, 0);
    GraphTensor lse = d->s.pass == SDPA_FORWARD ? row_sums(d) : of_rows(d, 0);
    graph_pointwise(g, CUDNN_POINTWISE_LOG, CUDNN_DATA_FLOAT, sum, NULL, NULL, logarithm);
    graph_pointwise(g, CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, most, logarithm, NULL, lse);
    GraphTensor p = of_scores(d, CUDNN_POINTWISE_DIV, e, sum, CUDNN_DATA_BFLOAT16);
    graph_matmul(g, p, v, output(d, SDPA_OUT), d->lengths_q, NULL, d->lengths_kv);
}

/* delta = Σ dO O (channels),  P = exp(S - lse),  dV = Pᵀ dO
 * dS = P (dO Vᵀ - delta) / √hd,  dK = dSᵀ Q,  dQ = dS K */
static void backward(Draft *d) {
    Graph *g = d->graph;
    const SdpaGraphShape *shape = &d->s;
    d->one = host_value(d, SDPA_ONE);
    GraphTensor q = part(d, SDPA_Q, false), k_turned = part(d, SDPA_K, true),
                v_turned = part(d, SDPA_V, true);
    GraphTensor out = output(d, SDPA_OUT), dout = output(d, SDPA_DOUT), lse = row_sums(d);
    GraphTensor dq = part(d, SDPA_DQ, false), dk = part(d, SDPA_DK, false),
                dv = part(d, SDPA_DV, false);
    int64_t n = shape->tokens, c = shape->head;
    GraphTensorSpec rows = {.type = CUDNN_DATA_FLOAT,
                            .memory = GRAPH_VIRTUAL,
                            .dims = 4,
                            .dim = {shape->sequences, shape->heads, n, c},
                            .stride = {shape->heads * n * c, n * c, shape->heads * c, 1}};
    /* delta; cuDNN's pattern has a factor there, which dropout would need */
    GraphTensor products = graph_tensor(g, &rows), sums = of_rows(d, 0),
                delta = of_rows(d, SDPA_DELTA);
    graph_pointwise(g, CUDNN_POINTWISE_MUL, CUDNN_DATA_FLOAT, dout, out, NULL, products);
    graph_reduce(g, CUDNN_REDUCE_TENSOR_ADD, products, sums);
    graph_pointwise(g, CUDNN_POINTWISE_MUL, CUDNN_DATA_FLOAT, sums, d->one, NULL, delta);
    /* P, dV */
    GraphTensor s = masked_scores(d, q, k_turned);
    GraphTensor below = of_scores(d, CUDNN_POINTWISE_SUB, s, lse, CUDNN_DATA_FLOAT);
    GraphTensor p = of_scores(d, CUDNN_POINTWISE_EXP, below, NULL, CUDNN_DATA_FLOAT);
    graph_matmul(g, turned_scores(d, p), dout, dv, d->lengths_kv, NULL, d->lengths_q);
    /* dS */
    GraphTensor dp = scores(d, CUDNN_DATA_FLOAT, false);
    graph_matmul(g, dout, v_turned, dp, d->lengths_q, d->lengths_kv, NULL);
    GraphTensor centred = of_scores(d, CUDNN_POINTWISE_SUB, dp, delta, CUDNN_DATA_FLOAT);
    GraphTensor unscaled = of_scores(d, CUDNN_POINTWISE_MUL, centred, p, CUDNN_DATA_FLOAT);
    GraphTensor ds = of_scores(d, CUDNN_POINTWISE_MUL, unscaled, d->scale, CUDNN_DATA_BFLOAT16);
    /* dK, dQ */
    graph_matmul(g, turned_scores(d, ds), q, dk, d->lengths_kv, NULL, d->lengths_q);
    int64_t row = 3 * shape->all_heads * c;
    GraphTensor k = graph_tensor(g,
                                 &(GraphTensorSpec){.type = CUDNN_DATA_BFLOAT16,
                                                    .memory = GRAPH_VIRTUAL,
                                                    .dims = 4,
                                                    .dim = {shape->sequences, shape->heads, n, c},
                                                    .stride = {row * n, c, row, 1},
                                                    .ragged = d->offsets_qkv});
    graph_reshape(g, k_turned, k);
    if (shape->pass == SDPA_BACKWARD) {
        graph_matmul(g, ds, k, dq, d->lengths_q, NULL, d->lengths_kv);
        return;
    }
    rows.uid = SDPA_DQ_SUM;
    rows.memory = GRAPH_DEVICE;
    rows.stride[2] = c;
    GraphTensor sum = graph_tensor(g, &rows);
    graph_matmul(g, ds, k, sum, d->lengths_q, NULL, d->lengths_kv);
    graph_pointwise(g, CUDNN_POINTWISE_IDENTITY, CUDNN_DATA_FLOAT, sum, NULL, NULL, dq);
}

void sdpa_graph(Graph *graph, const SdpaGraphShape *shape) {
    Draft d;
    start(&d, graph, shape);
    if (shape->pass == SDPA_INFERENCE || shape->pass == SDPA_FORWARD)
        forward(&d);
    else
        backward(&d);
}

int64_t sdpa_delta_bytes(const SdpaGraphShape *s) {
    bool backward = s->pass == SDPA_BACKWARD || s->pass == SDPA_BACKWARD_FAST;
    return backward ? s->sequences * s->heads * s->tokens * (int64_t)sizeof(float) : 0;
}

int64_t sdpa_dq_sum_bytes(const SdpaGraphShape *s) {
    return s->pass == SDPA_BACKWARD_FAST ? sdpa_delta_bytes(s) * s->head : 0;
}
