/* The gated hidden layer of a SwiGLU MLP (Shazeer, "GLU variants improve transformer"; published
 * use: facebookresearch/vjepa2 src/models/utils/modules.py, SwiGLUFFN):
 *     y = silu(a) b,   silu(a) = a σ(a),   σ(a) = 1 / (1 + exp(-a)) */
#ifndef JEPA_KERNELS_SWIGLU_H
#define JEPA_KERNELS_SWIGLU_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

typedef void SwigluForward(Activation *y, const Activation *a, const Activation *b, int64_t count,
                           Device *device);
/* da = dy b σ(a) (1 + a (1 - σ(a))),  db = dy silu(a); da may be dy. y: what the forward pass wrote
 * once more, so that it need not be kept; NULL: not wanted. */
typedef void SwigluBackward(Activation *da, Activation *db, Activation *y, const Activation *dy,
                            const Activation *a, const Activation *b, int64_t count,
                            Device *device);

SwigluForward cpu_swiglu_forward, cuda_swiglu_forward, reference_swiglu_forward;
SwigluBackward cpu_swiglu_backward, cuda_swiglu_backward, reference_swiglu_backward;

#endif
