/* A linear probe's weights as a folder:
 *
 *   PROBE/probe.safetensors   float64: mean [D], scale [D], weight [K,D], bias [K]
 *   PROBE/probe.json          what it is: kind, loss, width, outputs, lambda, and the BLAKE2b-256
 * of the tensor file
 *
 * outputs = weight ((x - mean) ∘ scale) + bias: logits of classes and labels, or values. */
#ifndef JEPA_EVAL_LINEAR_WEIGHTS_H
#define JEPA_EVAL_LINEAR_WEIGHTS_H

#include "eval/linear_model.h"

/* Writes the folder whole or not at all; it must not exist. */
int linear_weights_save(const char *folder, const LinearModel *model, Error *error);
/* Reads it back, the hash verified; free with linear_free. On failure nothing is left to free. */
int linear_weights_load(LinearModel *model, const char *folder, Error *error);

#endif
