/* delta_i = Σ_d dout_i out_i of each token and head, which attention's backward pass subtracts.
 * Formulas: kernels/attention.h. Into device->scratch: [R][H] floats. Bound by memory: two
 * activations read; 8 neighbouring threads take a row of a head. */
#include "kernels/cuda/attention_place.h"

#define THREADS 256
#define LANES   8

template <typename T, int V>
__global__ void delta_kernel(float *delta, const T *dout, const T *out, int64_t rows_heads,
                             int head) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / LANES;
    float sum = 0;
    if (i < rows_heads)
        for (int d = (int)threadIdx.x % LANES * V; d < head; d += LANES * V) {
            Pack<T, V> x = load<T, V>(dout + i * head + d), y = load<T, V>(out + i * head + d);
            for (int k = 0; k < V; k++)
                sum += widen(x.at[k]) * widen(y.at[k]);
        }
    for (int lanes = LANES / 2; lanes; lanes /= 2)
        sum += __shfl_xor_sync(FULL, sum, lanes);
    if (i < rows_heads && threadIdx.x % LANES == 0)
        delta[i] = sum;
}

template <typename T>
static void launch(float *delta, const T *dout, const T *out, int64_t rows_heads, int head,
                   Device *device) {
    unsigned blocks = blocks_for(rows_heads, THREADS / LANES);
    if (vectors_fit(dout, head, sizeof *dout) && vectors_fit(out, head, sizeof *out))
        CUDA_LAUNCH((delta_kernel<T, 16 / sizeof(T)>), blocks, THREADS, 0, device, delta, dout, out,
                    rows_heads, head);
    else
        CUDA_LAUNCH((delta_kernel<T, 1>), blocks, THREADS, 0, device, delta, dout, out, rows_heads,
                    head);
}

extern "C" const float *cuda_attention_delta(const Activation *dout, const Activation *out,
                                             int64_t rows, int64_t width, int64_t heads,
                                             Device *device) {
    float *delta = (float *)device->scratch;
    int64_t rows_heads = rows * heads;
    JEPA_ASSERT(rows_heads * (int64_t)sizeof *delta <= (int64_t)device->scratch_bytes);
    ACTIVATION(device, launch<T>(delta, (const T *)dout, (const T *)out, rows_heads,
                                 (int)(width / heads), device));
    return delta;
}
