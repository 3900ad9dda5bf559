/* The transformer stack. See jepa/transformer.h. */
#include "jepa/transformer.h"
#include "jepa/config.h"
#include <stdlib.h>

static void take_block(BlockActivations *a, StackShape s, int64_t rows, Arena *arena) {
    a->norm1 = arena_floats(arena, rows * s.width);
    a->mean1 = arena_floats(arena, rows);
    a->rstd1 = arena_floats(arena, rows);
    a->qkv = arena_floats(arena, rows * 3 * s.width);
    a->attention = arena_floats(arena, rows * s.width);
    a->lse = arena_floats(arena, rows * s.heads);
    a->middle = arena_floats(arena, rows * s.width);
    a->norm2 = arena_floats(arena, rows * s.width);
    a->mean2 = arena_floats(arena, rows);
    a->rstd2 = arena_floats(arena, rows);
    a->fc1 = arena_floats(arena, rows * s.hidden);
    a->fc2 = s.swiglu ? arena_floats(arena, rows * s.hidden) : NULL;
    a->activated = arena_floats(arena, rows * s.hidden);
}

void stack_activations_take(StackActivations *activations, StackShape shape, int64_t rows,
                            bool keep, Arena *arena) {
    if (!activations->blocks)
        activations->blocks = memory_new((size_t)shape.depth, sizeof *activations->blocks);
    float *turn[2] = {NULL, NULL};
    for (int i = 0; i < shape.depth; i++) {
        BlockActivations *a = &activations->blocks[i];
        if (keep || i == 0) {
            a->x = arena_floats(arena, rows * shape.width);
            take_block(a, shape, rows, arena);
        } else {
            /* Inference: block i writes where block i - 1 read. */
            if (i == 1)
                turn[1] = arena_floats(arena, rows * shape.width);
            turn[0] = activations->blocks[0].x;
            *a = activations->blocks[0];
            a->x = turn[i % 2];
        }
    }
    if (keep || shape.depth == 1)
        activations->out = arena_floats(arena, rows * shape.width);
    else
        activations->out = turn[shape.depth % 2];
}

void stack_scratch_take(StackScratch *scratch, StackShape a, int64_t rows_a, StackShape b,
                        int64_t rows_b, Arena *arena) {
    int64_t wide_a = rows_a * a.width, wide_b = rows_b * b.width;
    int64_t hidden_a = rows_a * a.hidden, hidden_b = rows_b * b.hidden;
    int64_t wide = wide_a > wide_b ? wide_a : wide_b;
    int64_t hidden = hidden_a > hidden_b ? hidden_a : hidden_b;
    bool gated = a.swiglu || b.swiglu;
    scratch->da = arena_floats(arena, wide);
    scratch->dqkv = arena_floats(arena, 3 * wide);
    scratch->dh = arena_floats(arena, hidden);
    scratch->dgate = gated ? arena_floats(arena, hidden) : NULL;
    scratch->branch = gated || a.drops || b.drops ? arena_floats(arena, wide) : NULL;
}

float *stack_output(const StackActivations *activations, StackShape shape, int i) {
    return i + 1 < shape.depth ? activations->blocks[i + 1].x : activations->out;
}

/* y = residual + s (x W + b); s is left out where branches are not dropped */
static void add_branch(float *y, const float *x, const float *w, const float *b,
                       const float *residual, int64_t in, int64_t out, const StackRows *r,
                       const float *keep, Device *op) {
    op->linear_forward(y, x, w, b, keep ? NULL : residual, r->rows, in, out, op);
    if (keep)
        op->rows_blend(y, residual, keep, r->cu_seqlens, r->sequences, out, op);
}

/* Scale of branch 0 (attention) or 1 (MLP) of block i, [S]. */
static const float *keep_of(const StackRows *r, int i, int branch) {
    return r->keep ? r->keep + (2 * i + branch) * r->sequences : NULL;
}

void stack_forward(StackActivations *activations, const float *weights, const BlockOffsets *blocks,
                   StackShape shape, const StackRows *r, int from, int to, Device *op) {
    int64_t d = shape.width, f = shape.hidden, rows = r->rows;
    const float *w = weights;
    for (int i = from; i < to; i++) {
        const BlockOffsets *o = &blocks[i];
        BlockActivations *a = &activations->blocks[i];
        float *next = stack_output(activations, shape, i);
        op->layernorm_forward(a->norm1, a->mean1, a->rstd1, a->x, w + o->norm1_w, w + o->norm1_b,
                              rows, d, LAYERNORM_EPS, op);
        op->linear_forward(a->qkv, a->norm1, w + o->qkv_w, w + o->qkv_b, NULL, rows, d, 3 * d, op);
        if (r->rope)
            op->rope_forward(a->qkv, r->rope, r->token, rows, d, shape.heads, op);
        op->attention_forward(a->attention, a->lse, a->qkv, r->cu_seqlens, r->block, r->sequences,
                              d, shape.heads, op);
        add_branch(a->middle, a->attention, w + o->proj_w, w + o->proj_b, a->x, d, d, r,
                   keep_of(r, i, 0), op);
        op->layernorm_forward(a->norm2, a->mean2, a->rstd2, a->middle, w + o->norm2_w,
                              w + o->norm2_b, rows, d, LAYERNORM_EPS, op);
        op->linear_forward(a->fc1, a->norm2, w + o->fc1_w, w + o->fc1_b, NULL, rows, d, f, op);
        if (shape.swiglu) {
            op->linear_forward(a->fc2, a->norm2, w + o->fc2_w, w + o->fc2_b, NULL, rows, d, f, op);
            op->swiglu_forward(a->activated, a->fc1, a->fc2, rows * f, op);
        } else {
            op->gelu_forward(a->activated, a->fc1, rows * f, op);
        }
        add_branch(next, a->activated, w + o->out_w, w + o->out_b, a->middle, f, d, r,
                   keep_of(r, i, 1), op);
    }
}

/* The gradient of a branch: dx itself, or scaled as the branch was, in scratch. */
static const float *branch_gradient(const float *dx, const float *keep, StackScratch *scratch,
                                    const StackRows *r, int64_t d, Device *op) {
    if (!keep)
        return dx;
    op->rows_gather(scratch->branch, NULL, dx, NULL, NULL, NULL, r->rows, d, op);
    op->rows_blend(scratch->branch, NULL, keep, r->cu_seqlens, r->sequences, d, op);
    return scratch->branch;
}

void stack_backward(float *dx, float *gradients, StackScratch *scratch,
                    const StackActivations *activations, const float *weights,
                    const BlockOffsets *blocks, StackShape shape, const StackRows *r, int from,
                    int to, Device *op) {
    int64_t d = shape.width, f = shape.hidden, rows = r->rows;
    float *da = scratch->da, *dqkv = scratch->dqkv, *dh = scratch->dh, *g = gradients;
    const float *w = weights;
    for (int i = to - 1; i >= from; i--) {
        const BlockOffsets *o = &blocks[i];
        const BlockActivations *a = &activations->blocks[i];
        /* next = middle + s out(activated) */
        const float *db = branch_gradient(dx, keep_of(r, i, 1), scratch, r, d, op);
        op->linear_backward_weight(g + o->out_w, g + o->out_b, db, a->activated, rows, f, d, op);
        op->linear_backward_input(dh, db, w + o->out_w, rows, f, d, op);
        if (shape.swiglu) { /* activated = silu(fc1(norm2)) fc2(norm2) */
            op->swiglu_backward(dh, scratch->dgate, dh, a->fc1, a->fc2, rows * f, op);
            op->linear_backward_weight(g + o->fc2_w, g + o->fc2_b, scratch->dgate, a->norm2, rows,
                                       d, f, op);
            op->linear_backward_input(scratch->branch, scratch->dgate, w + o->fc2_w, rows, d, f,
                                      op);
        } else { /* activated = gelu(fc1(norm2)) */
            op->gelu_backward(dh, dh, a->fc1, rows * f, op);
        }
        op->linear_backward_weight(g + o->fc1_w, g + o->fc1_b, dh, a->norm2, rows, d, f, op);
        op->linear_backward_input(da, dh, w + o->fc1_w, rows, d, f, op);
        if (shape.swiglu)
            op->rows_scatter_add(da, NULL, scratch->branch, NULL, rows, d, op);
        op->layernorm_backward(dx, g + o->norm2_w, g + o->norm2_b, da, a->middle, a->mean2,
                               a->rstd2, w + o->norm2_w, rows, d, op);
        /* middle = x + s proj(attention(rope(qkv(norm1(x))))) */
        db = branch_gradient(dx, keep_of(r, i, 0), scratch, r, d, op);
        op->linear_backward_weight(g + o->proj_w, g + o->proj_b, db, a->attention, rows, d, d, op);
        op->linear_backward_input(da, db, w + o->proj_w, rows, d, d, op);
        op->attention_backward(dqkv, da, a->qkv, a->attention, a->lse, r->cu_seqlens, r->block,
                               r->sequences, d, shape.heads, op);
        if (r->rope)
            op->rope_backward(dqkv, r->rope, r->token, rows, d, shape.heads, op);
        op->linear_backward_weight(g + o->qkv_w, g + o->qkv_b, dqkv, a->norm1, rows, d, 3 * d, op);
        op->linear_backward_input(da, dqkv, w + o->qkv_w, rows, d, 3 * d, op);
        op->layernorm_backward(dx, g + o->norm1_w, g + o->norm1_b, da, a->x, a->mean1, a->rstd1,
                               w + o->norm1_w, rows, d, op);
    }
}
