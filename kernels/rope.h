/* Rotary positions: queries and keys are turned by angles that depend on where their token lies.
 *
 * A table holds, for every token n of a grid and every channel j of a head, the cosine and the sine
 * of that channel's angle θ_j(n). Channels come in pairs (2i, 2i+1):
 *     y_2i   = x_2i   cos θ_2i   - x_2i+1 sin θ_2i
 *     y_2i+1 = x_2i+1 cos θ_2i+1 + x_2i   sin θ_2i+1
 * In the standard form both members of a pair share an angle, and this is a rotation. In the form
 * that V-JEPA 2 was trained with they do not (facebookresearch/vjepa2 src/models/utils/modules.py,
 * rotate_queries_or_keys); jepa/positions.h fills both tables. Values are left as they are. */
#ifndef JEPA_KERNELS_ROPE_H
#define JEPA_KERNELS_ROPE_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

/* Turns Q and K of qkv[R][3][H][D/H] in place. table[N][2][D/H]: cosines, then sines; row i is
 * token token[i], and stays as it is where that is negative (a class token). All in device memory.
 */
typedef void RopeForward(Activation *qkv, const float *table, const int32_t *token, int64_t rows,
                         int64_t width, int64_t heads, Device *device);
/* The transpose: gradients of turned Q and K in dqkv[R][3][H][D/H] become those of the unturned. */
typedef void RopeBackward(Activation *dqkv, const float *table, const int32_t *token, int64_t rows,
                          int64_t width, int64_t heads, Device *device);

RopeForward cpu_rope_forward, cuda_rope_forward, reference_rope_forward;
RopeBackward cpu_rope_backward, cuda_rope_backward, reference_rope_backward;

#endif
