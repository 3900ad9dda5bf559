/* The self-attention blocks of an attentive probe of depth 2 and more: the project's own
 * transformer (jepa/transformer.h) over all tokens of a chunk, without positions, and norm1 of the
 * cross-attention without its γ and β, which belong to the query's side.
 *
 *   x ─► blocks ─► X,   x̂ = (X - mean) rstd */
#include "eval/attentive_parts.h"
#include <string.h>

static StackRows rows_of(const AttentiveWork *k, int64_t n) {
    return (StackRows){.rows = n * k->tokens, .cu_seqlens = k->cu, .sequences = n};
}

void blocks_forward(Attentive *a, int probe, int64_t n) {
    AttentiveWork *k = &a->work;
    Device *op = a->device;
    StackShape shape = attentive_stack(a);
    StackRows rows = rows_of(k, n);
    int64_t d = shape.width;
    memcpy(k->stack.blocks[0].x, k->x, (size_t)(rows.rows * d) * sizeof *k->x);
    stack_forward(&k->stack, &k->scratch, probe_weights_at(a, probe), a->blocks, shape, &rows, 0,
                  shape.depth, op);
    op->layernorm_values(k->normed, k->mean, k->rstd,
                         stack_output(&k->stack, shape, shape.depth - 1), NULL, NULL, rows.rows, d,
                         a->config.layernorm_eps, op);
}

void blocks_backward(Attentive *a, int probe, int64_t n) {
    AttentiveWork *k = &a->work;
    Device *op = a->device;
    StackShape shape = attentive_stack(a);
    StackRows rows = rows_of(k, n);
    int64_t d = shape.width;
    memset(k->dx, 0, (size_t)(rows.rows * d) * sizeof *k->dx);
    /* x̂ = (X - mean) rstd */
    op->layernorm_backward(k->dx, NULL, k->spare, k->spare + d, k->dnormed,
                           stack_output(&k->stack, shape, shape.depth - 1), k->mean, k->rstd,
                           k->ones, rows.rows, d, op);
    stack_backward(k->dx, probe_gradients_at(a, probe), &k->scratch, &k->stack,
                   probe_weights_at(a, probe), a->blocks, shape, &rows, 0, shape.depth, NULL, op);
}
