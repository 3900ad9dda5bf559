/* Linear layer: y = x wᵀ + b, weights as PyTorch keeps them, [out][in]. */
#ifndef JEPA_KERNELS_LINEAR_H
#define JEPA_KERNELS_LINEAR_H

#include <stdint.h>

typedef struct Device Device;

/* y[R][out] = residual[R][out] + x[R][in] w[out][in]ᵀ + b[out]; residual and b may be NULL, y may
 * be residual itself. */
typedef void LinearForward(float *y, const float *x, const float *w, const float *b,
                           const float *residual, int64_t rows, int64_t in, int64_t out,
                           Device *device);
/* dx[R][in] = dy[R][out] w[out][in] */
typedef void LinearBackwardInput(float *dx, const float *dy, const float *w, int64_t rows,
                                 int64_t in, int64_t out, Device *device);
/* dw[out][in] += dy[R][out]ᵀ x[R][in];  db[out] += Σ_rows dy, db may be NULL */
typedef void LinearBackwardWeight(float *dw, float *db, const float *dy, const float *x,
                                  int64_t rows, int64_t in, int64_t out, Device *device);

LinearForward cpu_linear_forward, reference_linear_forward;
LinearBackwardInput cpu_linear_backward_input, reference_linear_backward_input;
LinearBackwardWeight cpu_linear_backward_weight, reference_linear_backward_weight;

#endif
