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
    a->gelu = arena_floats(arena, rows * s.hidden);
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

void stack_scratch_take(StackScratch *scratch, StackShape shape, int64_t rows, Arena *arena) {
    scratch->da = arena_floats(arena, rows * shape.width);
    scratch->dqkv = arena_floats(arena, rows * 3 * shape.width);
    scratch->dh = arena_floats(arena, rows * shape.hidden);
}

void stack_forward(StackActivations *activations, const float *weights, const BlockOffsets *blocks,
                   StackShape shape, int64_t rows, const int32_t *cu_seqlens, int64_t sequences,
                   Device *device) {
    int64_t d = shape.width, f = shape.hidden;
    const Device *op = device;
    for (int i = 0; i < shape.depth; i++) {
        const BlockOffsets *o = &blocks[i];
        BlockActivations *a = &activations->blocks[i];
        float *next = i + 1 < shape.depth ? activations->blocks[i + 1].x : activations->out;
        const float *w = weights;
        op->layernorm_forward(a->norm1, a->mean1, a->rstd1, a->x, w + o->norm1_w, w + o->norm1_b,
                              rows, d, LAYERNORM_EPS, device);
        op->linear_forward(a->qkv, a->norm1, w + o->qkv_w, w + o->qkv_b, NULL, rows, d, 3 * d,
                           device);
        op->attention_forward(a->attention, a->lse, a->qkv, cu_seqlens, sequences, d, shape.heads,
                              device);
        op->linear_forward(a->middle, a->attention, w + o->proj_w, w + o->proj_b, a->x, rows, d, d,
                           device);
        op->layernorm_forward(a->norm2, a->mean2, a->rstd2, a->middle, w + o->norm2_w,
                              w + o->norm2_b, rows, d, LAYERNORM_EPS, device);
        op->linear_forward(a->fc1, a->norm2, w + o->fc1_w, w + o->fc1_b, NULL, rows, d, f, device);
        op->gelu_forward(a->gelu, a->fc1, rows * f, device);
        op->linear_forward(next, a->gelu, w + o->fc2_w, w + o->fc2_b, a->middle, rows, f, d,
                           device);
    }
}

void stack_backward(float *dx, float *gradients, StackScratch *scratch,
                    const StackActivations *activations, const float *weights,
                    const BlockOffsets *blocks, StackShape shape, int64_t rows,
                    const int32_t *cu_seqlens, int64_t sequences, Device *device) {
    int64_t d = shape.width, f = shape.hidden;
    const Device *op = device;
    float *da = scratch->da, *dqkv = scratch->dqkv, *dh = scratch->dh, *g = gradients;
    for (int i = shape.depth - 1; i >= 0; i--) {
        const BlockOffsets *o = &blocks[i];
        const BlockActivations *a = &activations->blocks[i];
        const float *w = weights;
        /* next = middle + fc2(gelu(fc1(norm2(middle)))) */
        op->linear_backward_weight(g + o->fc2_w, g + o->fc2_b, dx, a->gelu, rows, f, d, device);
        op->linear_backward_input(dh, dx, w + o->fc2_w, rows, f, d, device);
        op->gelu_backward(dh, dh, a->fc1, rows * f, device);
        op->linear_backward_weight(g + o->fc1_w, g + o->fc1_b, dh, a->norm2, rows, d, f, device);
        op->linear_backward_input(da, dh, w + o->fc1_w, rows, d, f, device);
        op->layernorm_backward(dx, g + o->norm2_w, g + o->norm2_b, da, a->middle, a->mean2,
                               a->rstd2, w + o->norm2_w, rows, d, device);
        /* middle = x + proj(attention(qkv(norm1(x)))) */
        op->linear_backward_weight(g + o->proj_w, g + o->proj_b, dx, a->attention, rows, d, d,
                                   device);
        op->linear_backward_input(da, dx, w + o->proj_w, rows, d, d, device);
        op->attention_backward(dqkv, da, a->qkv, a->attention, a->lse, cu_seqlens, sequences, d,
                               shape.heads, device);
        op->linear_backward_weight(g + o->qkv_w, g + o->qkv_b, dqkv, a->norm1, rows, d, 3 * d,
                                   device);
        op->linear_backward_input(da, dqkv, w + o->qkv_w, rows, d, 3 * d, device);
        op->layernorm_backward(dx, g + o->norm1_w, g + o->norm1_b, da, a->x, a->mean1, a->rstd1,
                               w + o->norm1_w, rows, d, device);
    }
}
