/* The invariance loss: every view of a clip is to embed where its global view, view 0, does
 * (LeVJEPA's prediction loss, MLO-lab/LeVJEPA module.py). V views, G clips, K embedding width:
 *     loss = Σ_v Σ_g Σ_k (e[0][g][k] - e[v][g][k])² / (V G K)
 * View 0 counts in V and adds nothing. Both sides learn: there is no teacher. */
#ifndef JEPA_KERNELS_INVARIANCE_H
#define JEPA_KERNELS_INVARIANCE_H

#include <stdint.h>

typedef struct Device Device;

/* *loss += weight · the loss above, in device memory, over e[V][G][K]. Uses the device's scratch
 * for sums over G·K elements. */
typedef void InvarianceForward(double *loss, const float *e, int64_t views, int64_t clips,
                               int64_t width, double weight, Device *device);
/* de[V][G][K] = the gradient of weight · loss: with d[v] = 2 weight (e[0] - e[v]) / (V G K),
 * de[v] = -d[v] for v > 0 and de[0] = Σ_v d[v] */
typedef void InvarianceBackward(float *de, const float *e, int64_t views, int64_t clips,
                                int64_t width, double weight, Device *device);

InvarianceForward cpu_invariance_forward, cuda_invariance_forward, reference_invariance_forward;
InvarianceBackward cpu_invariance_backward, cuda_invariance_backward, reference_invariance_backward;

#endif
