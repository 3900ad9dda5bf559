/* The sum of two flat buffers on the GPU. See kernels/add.h. */
#include "kernels/cuda/launch.h"

#define THREADS 256

template <int V> __global__ void add_kernel(float *y, const float *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<float, V> a = load<float, V>(y + i), b = load<float, V>(x + i);
    for (int k = 0; k < V; k++)
        a.at[k] += b.at[k];
    store<float, V>(y + i, a);
}

extern "C" void cuda_add(float *y, const float *x, int64_t count, Device *device) {
    if (!count)
        return;
    if (vectors_fit(y, count, sizeof *y) && vectors_fit(x, count, sizeof *x))
        CUDA_LAUNCH(add_kernel<4>, blocks_for(count, 4 * THREADS), THREADS, 0, device, y, x, count);
    else
        CUDA_LAUNCH(add_kernel<1>, blocks_for(count, THREADS), THREADS, 0, device, y, x, count);
}
