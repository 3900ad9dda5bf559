/* Linear layers on the GPU: a product through cuBLASLt (kernels/cuda/gemm.h) with bias and residual
 * added by the library, then GELU or its gradient by own kernels. See kernels/linear.h.
 *
 * GELU is the exact one, with erf; the library's own GELU is the tanh form and would be another
 * model. It is applied to the stored result, in place where only the activated one is wanted: so
 * the same bits come out whether the value before it is kept or not. That costs a pass over
 * memory, 4 bytes per element in bfloat16.
 *
 * In FP8 (device->fp8) x is rounded to e4m3 into the scratch, row by row, just before the product:
 * that costs 3 bytes of traffic per element of x. Where the library cannot add the bias, it is
 * written into the result first; where it has no such product at all the layer stays in bfloat16,
 * which the shape alone decides. */
#include "kernels/cuda/bias.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/eights.h"
#include "kernels/cuda/gelu.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/weights.h"
#include "kernels/device.h"

static bool halves(const Device *device) {
    return device->precision == PRECISION_BFLOAT16;
}

/* w as products read it. */
static const void *read_weight(const float *w, int64_t in, int64_t out, Device *device) {
    return halves(device) ? cuda_weight(w, in, out, device) : w;
}

/* result = residual + x wᵀ + b in FP8; false, and the result is as it was, where it is to be
 * computed in bfloat16. */
static bool forward_eights(void *result, bool float_result, const Activation *x, const float *w,
                           const float *b, const float *residual, int64_t rows, int64_t in,
                           int64_t out, Device *device) {
    const float *scales;
    const uint8_t *weights = device->fp8 && halves(device)
                                 ? cuda_weight_eights(&scales, w, in, out, device)
                                 : NULL;
    if (!weights)
        return false;
    JEPA_ASSERT(eights_room(rows, in) <= device->scratch_bytes);
    uint8_t *q = device->scratch;
    float *own = (float *)(q + eights_bytes(rows, in));
    CudaGemmCall call = {.kind = GEMM_FORWARD,
                         .rows = rows,
                         .in = in,
                         .out = out,
                         .result = result,
                         .float_result = float_result,
                         .left = q,
                         .right = weights,
                         .added = residual,
                         .bias = b ? cuda_bias(b, w, out, device) : NULL,
                         .left_scale = own,
                         .right_scale = scales};
    CudaGemmCall plain = call; /* the bias goes first */
    plain.added = b ? result : residual;
    plain.bias = NULL;
    bool with_bias = cuda_gemm_able(&call, device);
    if (!with_bias && !cuda_gemm_able(&plain, device)) {
        cuda_gemm_stays(&call, device);
        return false;
    }
    cuda_eights(q, own, x, PRECISION_BFLOAT16, rows, in, device);
    if (with_bias && cuda_gemm_eights(&call, device))
        return true;
    if (b && residual != result) /* else bfloat16 could not begin anew, were it refused again */
        cuda_bias_rows(result, residual, float_result ? (const void *)b : call.bias, rows, out,
                       float_result ? PRECISION_FLOAT32 : PRECISION_BFLOAT16, device);
    if ((!b || residual != result) && cuda_gemm_eights(&plain, device))
        return true;
    cuda_gemm_stays(&call, device);
    return false;
}

void cuda_linear_forward(Activation *y, const Activation *x, const float *w, const float *b,
                         int64_t rows, int64_t in, int64_t out, Device *device) {
    if (!rows || forward_eights(y, false, x, w, b, NULL, rows, in, out, device))
        return;
    const void *bias = b && halves(device) ? cuda_bias(b, w, out, device) : b;
    cuda_gemm(&(CudaGemmCall){.kind = GEMM_FORWARD,
                              .rows = rows,
                              .in = in,
                              .out = out,
                              .result = y,
                              .left = x,
                              .right = read_weight(w, in, out, device),
                              .bias = bias},
              device);
}

void cuda_linear_residual_forward(float *y, const Activation *x, const float *w, const float *b,
                                  const float *residual, int64_t rows, int64_t in, int64_t out,
                                  Device *device) {
    if (rows && !forward_eights(y, true, x, w, b, residual, rows, in, out, device))
        cuda_gemm(&(CudaGemmCall){.kind = GEMM_FORWARD,
                                  .rows = rows,
                                  .in = in,
                                  .out = out,
                                  .result = y,
                                  .float_result = true,
                                  .left = x,
                                  .right = read_weight(w, in, out, device),
                                  .added = residual,
                                  .bias = b},
                  device);
}

void cuda_linear_gelu_forward(Activation *activated, Activation *y, const Activation *x,
                              const float *w, const float *b, int64_t rows, int64_t in, int64_t out,
                              Device *device) {
    Activation *before = y ? y : activated;
    cuda_linear_forward(before, x, w, b, rows, in, out, device);
    cuda_gelu_forward(activated, before, rows * out, device);
}

/* y = x wᵀ  =>  dx = dy w */
void cuda_linear_backward_input(Activation *dx, const Activation *dy, const float *w, int64_t rows,
                                int64_t in, int64_t out, Device *device) {
    if (rows)
        cuda_gemm(&(CudaGemmCall){.kind = GEMM_INPUT,
                                  .rows = rows,
                                  .in = in,
                                  .out = out,
                                  .result = dx,
                                  .left = dy,
                                  .right = read_weight(w, in, out, device)},
                  device);
}

/* y = gelu(a) wᵀ  =>  da = (dy w) gelu'(a) */
void cuda_linear_gelu_backward_input(Activation *da, Activation *x, const Activation *dy,
                                     const float *w, const Activation *a, int64_t rows, int64_t in,
                                     int64_t out, Device *device) {
    cuda_linear_backward_input(da, dy, w, rows, in, out, device);
    cuda_gelu_backward_again(da, x, da, a, rows * in, device);
}

/* y = x wᵀ + b  =>  dw += dyᵀ x, db += Σ dy */
void cuda_linear_backward_weight(float *dw, float *db, const Activation *dy, const Activation *x,
                                 int64_t rows, int64_t in, int64_t out, Device *device) {
    if (!rows)
        return;
    cuda_gemm(&(CudaGemmCall){.kind = GEMM_WEIGHT,
                              .rows = rows,
                              .in = in,
                              .out = out,
                              .result = dw,
                              .float_result = true,
                              .left = dy,
                              .right = x,
                              .added = dw},
              device);
    if (db)
        cuda_bias_gradient(db, dy, rows, out, device);
}
