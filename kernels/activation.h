/* What passes between the layers: activations and their gradients.
 *
 * A device computes its passes in one precision, chosen when it is opened. In float32 an Activation
 * is a float. In bfloat16 it is one of 16 bits, as the published recipes train (PyTorch's
 * autocast): inputs and outputs of GEMMs and attention have 8 bits of mantissa, while everything
 * that sums is float32: accumulators, the residual stream and its gradient, statistics, softmax,
 * losses, weights, gradients of weights, moments.
 *
 * An operation's header says for each argument which of the two it is: `Activation *` has the
 * device's type, `float *` is float32 always. */
#ifndef JEPA_KERNELS_ACTIVATION_H
#define JEPA_KERNELS_ACTIVATION_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum Precision { PRECISION_FLOAT32, PRECISION_BFLOAT16 } Precision;

typedef void Activation; /* float, or the 16 bits of a bfloat16 (uint16_t) */

static inline size_t activation_size(Precision precision) {
    return precision == PRECISION_BFLOAT16 ? 2 : 4;
}

/* "float32", "bfloat16" */
static inline const char *precision_name(Precision precision) {
    return precision == PRECISION_BFLOAT16 ? "bfloat16" : "float32";
}
/* 0, or -1 for another name */
static inline int precision_parse(Precision *precision, const char *name) {
    *precision = strcmp(name, "bfloat16") ? PRECISION_FLOAT32 : PRECISION_BFLOAT16;
    return strcmp(name, precision_name(*precision)) ? -1 : 0;
}

#endif
