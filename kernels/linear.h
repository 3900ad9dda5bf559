/* Linear layer: y = x wᵀ + b, weights as PyTorch keeps them, [out][in]; with what is done to its
 * result while that is still in the cache: a residual, GELU, GELU's gradient. */
#ifndef JEPA_KERNELS_LINEAR_H
#define JEPA_KERNELS_LINEAR_H

#include "base/error.h"
#include "kernels/activation.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct Device Device;

/* y[R][out] = x[R][in] w[out][in]ᵀ + b[out]; b may be NULL */
typedef void LinearForward(Activation *y, const Activation *x, const float *w, const float *b,
                           int64_t rows, int64_t in, int64_t out, Device *device);
/* y[R][out] = residual[R][out] + x[R][in] w[out][in]ᵀ + b[out], in float32: into the residual
 * stream, or what a loss reads. residual and b may be NULL, y may be residual itself. */
typedef void LinearResidualForward(float *y, const Activation *x, const float *w, const float *b,
                                   const float *residual, int64_t rows, int64_t in, int64_t out,
                                   Device *device);
/* activated[R][out] = gelu(y), y[R][out] = x wᵀ + b (kernels/gelu.h); y NULL: not kept */
typedef void LinearGeluForward(Activation *activated, Activation *y, const Activation *x,
                               const float *w, const float *b, int64_t rows, int64_t in,
                               int64_t out, Device *device);
/* dx[R][in] = dy[R][out] w[out][in] */
typedef void LinearBackwardInput(Activation *dx, const Activation *dy, const float *w, int64_t rows,
                                 int64_t in, int64_t out, Device *device);
/* Through a linear layer and the GELU before it: with x = gelu(a),
 *     da[R][in] = (dy[R][out] w[out][in]) gelu'(a),   x[R][in] = gelu(a) again
 * so that the forward pass need not keep x; NULL: x is not wanted. */
typedef void LinearGeluBackwardInput(Activation *da, Activation *x, const Activation *dy,
                                     const float *w, const Activation *a, int64_t rows, int64_t in,
                                     int64_t out, Device *device);
/* dw[out][in] += dy[R][out]ᵀ x[R][in];  db[out] += Σ_rows dy, db may be NULL. Rows are summed in
 * blocks of fixed size, one after another. */
typedef void LinearBackwardWeight(float *dw, float *db, const Activation *dy, const Activation *x,
                                  int64_t rows, int64_t in, int64_t out, Device *device);

LinearForward cpu_linear_forward, cuda_linear_forward, reference_linear_forward;
LinearResidualForward cpu_linear_residual_forward, cuda_linear_residual_forward,
    reference_linear_residual_forward;
LinearGeluForward cpu_linear_gelu_forward, cuda_linear_gelu_forward, reference_linear_gelu_forward;
LinearBackwardInput cpu_linear_backward_input, cuda_linear_backward_input,
    reference_linear_backward_input;
LinearGeluBackwardInput cpu_linear_gelu_backward_input, cuda_linear_gelu_backward_input,
    reference_linear_gelu_backward_input;
LinearBackwardWeight cpu_linear_backward_weight, cuda_linear_backward_weight,
    reference_linear_backward_weight;

/* Weights that linear layers will read again and again: a device may keep a form of its own beside
 * them (16 bits, packed for its GEMM), made when they are first read after a change. Without this a
 * layer still works, only slower. */
typedef struct LinearWeights {
    const float *w; /* [out][in], device memory */
    int64_t in, out;
    bool backward; /* linear_backward_input will read them too */
    bool fp8;      /* read by passes in FP8, if the device has that (Device.fp8) */
} LinearWeights;

/* Bytes that the device will keep for weights of these sizes. */
typedef size_t LinearWeightsBytes(const LinearWeights *weights, Device *device);
/* Takes that memory. ERROR_RUN where there is not enough. */
typedef int LinearWeightsAdd(const LinearWeights *weights, Device *device, Error *error);
/* All weights within [from, to) have changed, or (remove) will not be read again. */
typedef void LinearWeightsChanged(const float *from, const float *to, Device *device);

LinearWeightsBytes cpu_linear_weights_bytes, cuda_linear_weights_bytes,
    reference_linear_weights_bytes;
LinearWeightsAdd cpu_linear_weights_add, cuda_linear_weights_add, reference_linear_weights_add;
LinearWeightsChanged cpu_linear_weights_changed, cuda_linear_weights_changed,
    reference_linear_weights_changed;
LinearWeightsChanged cpu_linear_weights_remove, cuda_linear_weights_remove,
    reference_linear_weights_remove;

#endif
