/* Floating-point operations of a step. See jepa/flops.h. */
#include "jepa/flops.h"

FlopsTokens flops_tokens(const int32_t *cu_seqlens, int64_t sequences) {
    FlopsTokens tokens = {0};
    for (int64_t s = 0; s < sequences; s++) {
        double n = cu_seqlens[s + 1] - cu_seqlens[s];
        tokens.rows += n;
        tokens.squares += n * n;
    }
    return tokens;
}

static double linear(double rows, double in, double out) {
    return 2 * rows * in * out;
}

static double attention(FlopsTokens t, double depth, double width) {
    return depth * 4 * t.squares * width;
}

/* qkv, proj, and the MLP's two or (SwiGLU) three layers */
static double blocks(FlopsTokens t, double depth, double width, double hidden, bool swiglu) {
    double layers = linear(t.rows, width, 3 * width) + linear(t.rows, width, width) +
                    (swiglu ? 3 : 2) * linear(t.rows, width, hidden);
    return depth * layers + attention(t, depth, width);
}

void flops_step(StepFlops *flops, const ModelConfig *c, const FlopsInput *in) {
    EncoderConfig teacher = config_teacher(c);
    double patch = config_patch_size(c), levels = c->levels ? c->levels : 1;
    double target_width = teacher.dim * levels;
    double cut = linear(in->context.rows, patch, c->dim);

    flops->target = linear(in->all.rows, patch, teacher.dim) +
                    blocks(in->all, teacher.depth, teacher.dim, teacher.hidden, teacher.swiglu);
    flops->context = cut + blocks(in->context, c->depth, c->dim, c->hidden, c->swiglu);
    flops->predictor = linear(in->context.rows, c->dim, c->pred_dim) +
                       blocks(in->predictor, c->pred_depth, c->pred_dim, c->pred_hidden,
                              c->pred_swiglu) +
                       linear(in->targets, c->pred_dim, target_width);
    if (levels > 1)
        flops->predictor += linear(in->context.rows, levels * c->dim, c->dim);
    if (c->context_loss)
        flops->predictor += linear(in->joined, c->pred_dim, target_width);
    flops->backward = 2 * (flops->context + flops->predictor) - cut;
    flops->attention = attention(in->all, teacher.depth, teacher.dim) +
                       3 * (attention(in->context, c->depth, c->dim) +
                            attention(in->predictor, c->pred_depth, c->pred_dim));
    flops->total = flops->target + flops->context + flops->predictor + flops->backward;
}
