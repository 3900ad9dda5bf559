/* The gated hidden layer of a SwiGLU MLP (Shazeer, "GLU variants improve transformer"; published
 * use: facebookresearch/vjepa2 src/models/utils/modules.py, SwiGLUFFN):
 *     y = silu(a) b,   silu(a) = a σ(a),   σ(a) = 1 / (1 + exp(-a)) */
#ifndef JEPA_KERNELS_SWIGLU_H
#define JEPA_KERNELS_SWIGLU_H

#include <stdint.h>

typedef struct Device Device;

typedef void SwigluForward(float *y, const float *a, const float *b, int64_t count, Device *device);
/* da = dy b σ(a) (1 + a (1 - σ(a))),  db = dy silu(a); da may be dy */
typedef void SwigluBackward(float *da, float *db, const float *dy, const float *a, const float *b,
                            int64_t count, Device *device);

SwigluForward cpu_swiglu_forward, reference_swiglu_forward;
SwigluBackward cpu_swiglu_backward, reference_swiglu_backward;

#endif
