/* The teacher-free objective. See jepa/sigreg.h. */
#include "jepa/sigreg.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>

void sigreg_head_take(SigregHead *head, Arena *arena) {
    SigregHeadShape s = head->shape;
    int64_t rows = s.views * s.clips;
    JEPA_ASSERT(rows > 1 && s.knots > 1 && s.knots <= SIGREG_KNOTS_MAX);
    MemoryKind before = arena->kind;
    arena->kind = MEMORY_WEIGHTS;
    head->running_mean = arena_floats(arena, s.hidden);
    head->running_var = arena_floats(arena, s.hidden);
    arena->kind = MEMORY_ACTIVATIONS;
    head->hidden = arena_floats(arena, rows * s.hidden);
    head->mean = arena_floats(arena, s.hidden);
    head->rstd = arena_floats(arena, s.hidden);
    head->normal = arena_floats(arena, rows * s.hidden);
    head->activated = arena_floats(arena, rows * s.hidden);
    head->embeddings = arena_floats(arena, rows * s.output);
    head->projections = arena_floats(arena, rows * s.directions);
    head->gap = arena_floats(arena, s.views * s.knots * 2 * s.directions);
    head->statistic = arena_take(arena, s.views * s.directions, sizeof *head->statistic);
    arena->kind = MEMORY_WORKSPACE;
    head->dembeddings = arena_floats(arena, rows * s.output);
    head->dhidden = arena_floats(arena, rows * s.hidden);
    arena->kind = before;
}

void sigreg_head_start(SigregHead *head, Device *device) {
    size_t bytes = (size_t)head->shape.hidden * sizeof(float);
    float *ones = memory_new((size_t)head->shape.hidden, sizeof *ones);
    for (int64_t i = 0; i < head->shape.hidden; i++)
        ones[i] = 1;
    device->zero(head->running_mean, bytes, device);
    device->upload(head->running_var, ones, bytes, device);
    free(ones);
}

void sigreg_directions(float *a, int64_t width, int64_t directions, uint64_t seed, uint64_t step) {
    double *column = memory_new((size_t)width, sizeof *column);
    for (int64_t m = 0; m < directions; m++) {
        Random random = random_at(seed, RANDOM_DIRECTIONS, step, (uint64_t)m);
        double square = 0;
        for (int64_t k = 0; k < width; k++) {
            column[k] = random_normal(&random);
            square += column[k] * column[k];
        }
        for (int64_t k = 0; k < width; k++)
            a[k * directions + m] = (float)(column[k] / sqrt(square));
    }
    free(column);
}

static SigregShape sketch(const SigregHeadShape *s) {
    return (SigregShape){s->views, s->clips, s->output, s->directions, s->knots};
}

/* The operation's statistic has the factor G. */
static double statistic_weight(const SigregHeadShape *s) {
    return s->normalize_by_n ? 1.0 / (double)s->clips : 1.0;
}

void sigreg_head_forward(SigregScalars *scalars, SigregHead *head, const float *features,
                         const float *weights, const SigregOffsets *at, const float *directions,
                         double lambda, Device *op) {
    const SigregHeadShape *s = &head->shape;
    const SigregShape shape = sketch(s);
    int64_t rows = s->views * s->clips;
    op->linear_forward(head->hidden, features, weights + at->w0, weights + at->b0, rows, s->width,
                       s->hidden, op);
    op->batchnorm_forward(head->normal, head->mean, head->rstd, head->running_mean,
                          head->running_var, head->hidden, weights + at->bn_w, weights + at->bn_b,
                          rows, s->hidden, BATCHNORM_EPS, BATCHNORM_MOMENTUM, op);
    op->gelu_forward(head->activated, head->normal, rows * s->hidden, op);
    op->linear_forward(head->embeddings, head->activated, weights + at->w3, weights + at->b3, rows,
                       s->hidden, s->output, op);
    op->zero(scalars, sizeof *scalars, op);
    op->invariance_forward(&scalars->invariance, head->embeddings, s->views, s->clips, s->output,
                           1.0, op);
    op->sigreg_forward(&scalars->sigreg, head->statistic, head->projections, head->gap,
                       head->embeddings, directions, &shape, statistic_weight(s), op);
    op->loss_total(&scalars->total, &scalars->invariance, 1, &scalars->sigreg, lambda, op);
}

void sigreg_head_backward(float *dfeatures, float *gradients, SigregHead *head,
                          const float *features, const float *weights, const SigregOffsets *at,
                          const float *directions, double lambda, Device *op) {
    const SigregHeadShape *s = &head->shape;
    const SigregShape shape = sketch(s);
    int64_t rows = s->views * s->clips;
    /* total = invariance(e) + lambda sigreg(e) */
    op->invariance_backward(head->dembeddings, head->embeddings, s->views, s->clips, s->output, 1.0,
                            op);
    op->sigreg_backward(head->dembeddings, head->projections, head->gap, directions, &shape,
                        lambda * statistic_weight(s), op);
    /* e = activated w3ᵀ + b3 */
    op->linear_backward_weight(gradients + at->w3, gradients + at->b3, head->dembeddings,
                               head->activated, rows, s->hidden, s->output, op);
    op->linear_backward_input(head->dhidden, head->dembeddings, weights + at->w3, rows, s->hidden,
                              s->output, op);
    /* activated = gelu(normal), normal = batchnorm(hidden) */
    op->gelu_backward(head->dhidden, head->dhidden, head->normal, rows * s->hidden, op);
    op->batchnorm_backward(head->dhidden, gradients + at->bn_w, gradients + at->bn_b, head->dhidden,
                           head->hidden, head->mean, head->rstd, weights + at->bn_w, rows,
                           s->hidden, op);
    /* hidden = features w0ᵀ + b0 */
    op->linear_backward_weight(gradients + at->w0, gradients + at->b0, head->dhidden, features,
                               rows, s->width, s->hidden, op);
    op->linear_backward_input(dfeatures, head->dhidden, weights + at->w0, rows, s->width, s->hidden,
                              op);
}
