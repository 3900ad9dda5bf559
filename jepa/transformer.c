/* The transformer stack. See jepa/transformer.h. */
#include "jepa/transformer.h"
#include "jepa/config.h"
#include <stdlib.h>

static void take_block(BlockActivations *a, StackShape s, int64_t rows, Arena *arena,
                       const Device *device) {
    a->mean1 = arena_floats(arena, rows);
    a->rstd1 = arena_floats(arena, rows);
    a->qkv = arena_activations(arena, rows * 3 * s.width, device);
    a->attention = arena_activations(arena, rows * s.width, device);
    a->lse = arena_floats(arena, rows * s.heads);
    a->middle = arena_floats(arena, rows * s.width);
    a->mean2 = arena_floats(arena, rows);
    a->rstd2 = arena_floats(arena, rows);
    a->fc1 = arena_activations(arena, rows * s.hidden, device);
    a->fc2 = s.swiglu ? arena_activations(arena, rows * s.hidden, device) : NULL;
}

void stack_activations_take(StackActivations *activations, StackShape shape, int64_t rows,
                            StackKeep keep, Arena *arena, const Device *device) {
    if (!activations->blocks)
        activations->blocks = memory_new((size_t)shape.depth, sizeof *activations->blocks);
    activations->keep = keep;
    float *turn[2] = {NULL, NULL};
    for (int i = 0; i < shape.depth; i++) {
        BlockActivations *a = &activations->blocks[i];
        if (keep == STACK_KEEPS_BLOCKS || i == 0)
            take_block(a, shape, rows, arena, device);
        else
            *a = activations->blocks[0];
        /* Inference: block i writes where block i - 1 read. */
        if (keep == STACK_KEEPS_NOTHING && i > 1)
            a->x = turn[i % 2];
        else
            a->x = arena_floats(arena, rows * shape.width);
        turn[i % 2] = a->x;
    }
    if (keep != STACK_KEEPS_NOTHING || shape.depth == 1)
        activations->out = arena_floats(arena, rows * shape.width);
    else
        activations->out = turn[shape.depth % 2];
}

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

void stack_scratch_take(StackScratch *scratch, const StackShape *shapes, const int64_t *rows,
                        int count, int backward, Arena *arena, const Device *device) {
    int64_t wide = 0, hidden = 0, back_wide = 0, back_hidden = 0;
    bool gated = false, drops = false;
    for (int i = 0; i < count; i++) {
        wide = max_i64(wide, rows[i] * shapes[i].width);
        hidden = max_i64(hidden, rows[i] * shapes[i].hidden);
        if (i >= backward)
            continue;
        back_wide = wide;
        back_hidden = hidden;
        gated = gated || shapes[i].swiglu;
        drops = drops || shapes[i].drops;
    }
    *scratch = (StackScratch){.norm = arena_activations(arena, wide, device),
                              .activated = arena_activations(arena, hidden, device)};
    if (!backward)
        return;
    scratch->da = arena_activations(arena, back_wide, device);
    scratch->dqkv = arena_activations(arena, 3 * back_wide, device);
    scratch->dh = arena_activations(arena, back_hidden, device);
    scratch->narrow = arena_narrowed(arena, NULL, back_wide, device);
    if (gated) {
        scratch->dgate = arena_activations(arena, back_hidden, device);
        scratch->dnorm = arena_activations(arena, back_wide, device);
    }
    if (drops) {
        scratch->branch = arena_floats(arena, back_wide);
        scratch->dbranch = arena_narrowed(arena, scratch->branch, back_wide, device);
    }
}

float *stack_output(const StackActivations *activations, StackShape shape, int i) {
    return i + 1 < shape.depth ? activations->blocks[i + 1].x : activations->out;
}

/* y = residual + s (x W + b); s is left out where branches are not dropped */
static void add_branch(float *y, const Activation *x, const float *w, const float *b,
                       const float *residual, int64_t in, int64_t out, const StackRows *r,
                       const float *keep, Device *op) {
    op->linear_residual_forward(y, x, w, b, keep ? NULL : residual, r->rows, in, out, op);
    if (keep)
        op->rows_blend(y, residual, keep, r->cu_seqlens, r->sequences, out, op);
}

/* Scale of branch 0 (attention) or 1 (MLP) of block i, [S]. */
static const float *keep_of(const StackRows *r, int i, int branch) {
    return r->keep ? r->keep + (2 * i + branch) * r->sequences : NULL;
}

/* One block; next NULL: only what its backward pass needs. */
static void block_forward(float *next, const BlockActivations *a, StackScratch *scratch,
                          const float *w, const BlockOffsets *o, StackShape shape, StackKeep keep,
                          const StackRows *r, int i, Device *op) {
    int64_t d = shape.width, f = shape.hidden, rows = r->rows;
    Activation *norm = scratch->norm, *activated = scratch->activated;
    op->layernorm_forward(norm, a->mean1, a->rstd1, a->x, w + o->norm1_w, w + o->norm1_b, rows, d,
                          shape.eps, op);
    op->linear_forward(a->qkv, norm, w + o->qkv_w, w + o->qkv_b, rows, d, 3 * d, op);
    if (r->rope)
        op->rope_forward(a->qkv, r->rope, r->token, rows, d, shape.heads, op);
    op->attention_forward(a->attention, a->lse, a->qkv, r->cu_seqlens, r->block, r->sequences, d,
                          shape.heads, op);
    add_branch(a->middle, a->attention, w + o->proj_w, w + o->proj_b, a->x, d, d, r,
               keep_of(r, i, 0), op);
    op->layernorm_forward(norm, a->mean2, a->rstd2, a->middle, w + o->norm2_w, w + o->norm2_b, rows,
                          d, shape.eps, op);
    if (shape.swiglu) {
        op->linear_forward(a->fc1, norm, w + o->fc1_w, w + o->fc1_b, rows, d, f, op);
        op->linear_forward(a->fc2, norm, w + o->fc2_w, w + o->fc2_b, rows, d, f, op);
        if (next)
            op->swiglu_forward(activated, a->fc1, a->fc2, rows * f, op);
    } else if (next) {
        op->linear_gelu_forward(activated, keep == STACK_KEEPS_NOTHING ? NULL : a->fc1, norm,
                                w + o->fc1_w, w + o->fc1_b, rows, d, f, op);
    } else {
        op->linear_forward(a->fc1, norm, w + o->fc1_w, w + o->fc1_b, rows, d, f, op);
    }
    if (next)
        add_branch(next, activated, w + o->out_w, w + o->out_b, a->middle, f, d, r,
                   keep_of(r, i, 1), op);
}

void stack_forward(StackActivations *activations, StackScratch *scratch, const float *weights,
                   const BlockOffsets *blocks, StackShape shape, const StackRows *r, int from,
                   int to, Device *op) {
    for (int i = from; i < to; i++)
        block_forward(stack_output(activations, shape, i), &activations->blocks[i], scratch,
                      weights, &blocks[i], shape, activations->keep, r, i, op);
}

/* The gradient of a branch as activations: dx itself (narrow holds it already), or scaled as the
 * branch was. */
static const Activation *branch_gradient(const float *dx, const float *keep, StackScratch *scratch,
                                         const StackRows *r, int64_t d, Device *op) {
    if (!keep)
        return scratch->narrow ? scratch->narrow : dx;
    op->rows_gather(scratch->branch, NULL, dx, NULL, NULL, NULL, r->rows, d, op);
    op->rows_blend(scratch->branch, NULL, keep, r->cu_seqlens, r->sequences, d, op);
    op->rows_narrow(scratch->dbranch, scratch->branch, r->rows * d, op);
    return scratch->dbranch;
}

static void block_backward(float *dx, float *g, StackScratch *scratch, const BlockActivations *a,
                           const float *w, const BlockOffsets *o, StackShape shape,
                           const StackRows *r, int i, Device *op) {
    int64_t d = shape.width, f = shape.hidden, rows = r->rows;
    Activation *da = scratch->da, *dqkv = scratch->dqkv, *dh = scratch->dh;
    Activation *norm = scratch->norm, *activated = scratch->activated;
    /* next = middle + s out(activated) */
    const Activation *db = branch_gradient(dx, keep_of(r, i, 1), scratch, r, d, op);
    if (shape.swiglu) { /* activated = silu(fc1(norm2)) fc2(norm2) */
        op->linear_backward_input(dh, db, w + o->out_w, rows, f, d, op);
        op->swiglu_backward(dh, scratch->dgate, activated, dh, a->fc1, a->fc2, rows * f, op);
    } else { /* activated = gelu(fc1(norm2)) */
        op->linear_gelu_backward_input(dh, activated, db, w + o->out_w, a->fc1, rows, f, d, op);
    }
    op->linear_backward_weight(g + o->out_w, g + o->out_b, db, activated, rows, f, d, op);
    op->layernorm_again(norm, a->middle, a->mean2, a->rstd2, w + o->norm2_w, w + o->norm2_b, rows,
                        d, op);
    op->linear_backward_weight(g + o->fc1_w, g + o->fc1_b, dh, norm, rows, d, f, op);
    op->linear_backward_input(da, dh, w + o->fc1_w, rows, d, f, op);
    if (shape.swiglu) {
        op->linear_backward_weight(g + o->fc2_w, g + o->fc2_b, scratch->dgate, norm, rows, d, f,
                                   op);
        op->linear_backward_input(scratch->dnorm, scratch->dgate, w + o->fc2_w, rows, d, f, op);
        op->rows_add(da, scratch->dnorm, rows * d, op);
    }
    op->layernorm_backward(dx, scratch->narrow, g + o->norm2_w, g + o->norm2_b, da, a->middle,
                           a->mean2, a->rstd2, w + o->norm2_w, rows, d, op);
    /* middle = x + s proj(attention(rope(qkv(norm1(x))))) */
    db = branch_gradient(dx, keep_of(r, i, 0), scratch, r, d, op);
    op->linear_backward_weight(g + o->proj_w, g + o->proj_b, db, a->attention, rows, d, d, op);
    op->linear_backward_input(da, db, w + o->proj_w, rows, d, d, op);
    op->attention_backward(dqkv, da, a->qkv, a->attention, a->lse, r->cu_seqlens, r->block,
                           r->sequences, d, shape.heads, op);
    if (r->rope)
        op->rope_backward(dqkv, r->rope, r->token, rows, d, shape.heads, op);
    op->layernorm_again(norm, a->x, a->mean1, a->rstd1, w + o->norm1_w, w + o->norm1_b, rows, d,
                        op);
    op->linear_backward_weight(g + o->qkv_w, g + o->qkv_b, dqkv, norm, rows, d, 3 * d, op);
    op->linear_backward_input(da, dqkv, w + o->qkv_w, rows, d, 3 * d, op);
    op->layernorm_backward(dx, scratch->narrow, g + o->norm1_w, g + o->norm1_b, da, a->x, a->mean1,
                           a->rstd1, w + o->norm1_w, rows, d, op);
}

void stack_backward(float *dx, float *gradients, StackScratch *scratch,
                    const StackActivations *activations, const float *weights,
                    const BlockOffsets *blocks, StackShape shape, const StackRows *r, int from,
                    int to, const GradientsFinal *final, Device *op) {
    if (scratch->narrow)
        op->rows_narrow(scratch->narrow, dx, r->rows * shape.width, op);
    for (int i = to - 1; i >= from; i--) {
        const BlockActivations *a = &activations->blocks[i];
        /* the last block that went forward is still there */
        if (activations->keep == STACK_KEEPS_INPUTS && i != shape.depth - 1)
            block_forward(NULL, a, scratch, weights, &blocks[i], shape, activations->keep, r, i,
                          op);
        block_backward(dx, gradients, scratch, a, weights, &blocks[i], shape, r, i, op);
        gradients_final(final, blocks[i].qkv_w, blocks[i].end);
    }
}
