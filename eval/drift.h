/* How far the target encoder is behind the context encoder that it averages.
 *     distance = |θ - ξ| / |θ|     over the encoder's parameters, θ context, ξ target
 * 0: they are the same (momentum 0, or nothing is learnt any more). Of several ranks each has its
 * own blocks exactly (jepa/model.h), and their sums are added in the order of the blocks: the same
 * number for any number of ranks. */
#ifndef JEPA_EVAL_DRIFT_H
#define JEPA_EVAL_DRIFT_H

#include "jepa/model.h"

/* On all ranks together. NaN where the target is no average of the encoder (a frozen teacher). */
double drift_weights(const Model *model, Exchange *exchange);

#endif
