/* Floating-point operations of a training step, counted from the formulas: what speed is measured
 * against. Each multiplication and each addition counts.
 *
 *     linear layer, forward      2 in out            for each row
 *     attention, forward         4 N² D              for each sequence of N tokens: q kᵀ and its
 *                                                    product with v
 *     backward                   twice the forward   gradients of inputs and of weights; once for
 *                                                    the patch embedding, whose input needs none
 *     target encoder             forward only
 *
 * What a program computes again in the backward pass is not counted, nor are norms, activations,
 * positions, losses and the update. Causal attention is counted as if it were whole. For the JEPA
 * objectives. Letters as in jepa/model.h. */
#ifndef JEPA_JEPA_FLOPS_H
#define JEPA_JEPA_FLOPS_H

#include "jepa/config.h"
#include <stdint.h>

/* Packed sequences: Σ N and Σ N². Means of several steps will do. */
typedef struct FlopsTokens {
    double rows, squares;
} FlopsTokens;

FlopsTokens flops_tokens(const int32_t *cu_seqlens, int64_t sequences);

/* What goes through the networks in a step. */
typedef struct FlopsInput {
    FlopsTokens all;        /* target encoder */
    FlopsTokens context;    /* context encoder */
    FlopsTokens predictor;  /* context and mask tokens together */
    double targets, joined; /* Rt predicted rows, Rj context rows in the predictor */
} FlopsInput;

typedef struct StepFlops {
    double target, context, predictor; /* forward, of each network */
    double backward;                   /* of context encoder and predictor */
    double attention;                  /* what of the total is attention */
    double total;
} StepFlops;

void flops_step(StepFlops *flops, const ModelConfig *config, const FlopsInput *input);

#endif
