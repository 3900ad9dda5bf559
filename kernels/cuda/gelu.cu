/* GELU on the GPU. See kernels/gelu.h. */
#include "kernels/cuda/launch.h"
extern "C" {
#include "kernels/cuda/gelu.h"
}

#define THREADS 256

static __device__ inline float gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

/* Φ(x) + x φ(x) */
static __device__ inline float gelu_slope(float x) {
    float cdf = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
    return cdf + x * 0.39894228040143268f * expf(-0.5f * x * x);
}

template <typename T, int V> __global__ void gelu_forward_kernel(T *y, const T *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<T, V> in = load<T, V>(x + i), out;
    for (int k = 0; k < V; k++)
        put(&out.at[k], gelu(widen(in.at[k])));
    store<T, V>(y + i, out);
}

/* dx = dy (Φ(x) + x φ(x)); y once more where it is wanted */
template <typename T, int V>
__global__ void gelu_backward_kernel(T *dx, T *y, const T *dy, const T *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<T, V> in = load<T, V>(x + i), slope = load<T, V>(dy + i), out;
    for (int k = 0; k < V; k++) {
        put(&slope.at[k], widen(slope.at[k]) * gelu_slope(widen(in.at[k])));
        put(&out.at[k], gelu(widen(in.at[k])));
    }
    store<T, V>(dx + i, slope);
    if (y)
        store<T, V>(y + i, out);
}

template <typename T> static void forward(T *y, const T *x, int64_t count, Device *device) {
    const int V = 16 / sizeof(T);
    if (vectors_fit(x, count, sizeof *x) && vectors_fit(y, count, sizeof *y))
        CUDA_LAUNCH((gelu_forward_kernel<T, V>), blocks_for(count, V * THREADS), THREADS, 0, device,
                    y, x, count);
    else
        CUDA_LAUNCH((gelu_forward_kernel<T, 1>), blocks_for(count, THREADS), THREADS, 0, device, y,
                    x, count);
}

template <typename T>
static void backward(T *dx, T *y, const T *dy, const T *x, int64_t count, Device *device) {
    const int V = 16 / sizeof(T);
    if (vectors_fit(x, count, sizeof *x) && vectors_fit(dx, count, sizeof *x) &&
        vectors_fit(dy, count, sizeof *x) && vectors_fit(y, count, sizeof *x))
        CUDA_LAUNCH((gelu_backward_kernel<T, V>), blocks_for(count, V * THREADS), THREADS, 0,
                    device, dx, y, dy, x, count);
    else
        CUDA_LAUNCH((gelu_backward_kernel<T, 1>), blocks_for(count, THREADS), THREADS, 0, device,
                    dx, y, dy, x, count);
}

extern "C" void cuda_gelu_forward(Activation *y, const Activation *x, int64_t count,
                                  Device *device) {
    if (count)
        ACTIVATION(device, forward<T>((T *)y, (const T *)x, count, device));
}

extern "C" void cuda_gelu_backward_again(Activation *dx, Activation *y, const Activation *dy,
                                         const Activation *x, int64_t count, Device *device) {
    if (count)
        ACTIVATION(device,
                   backward<T>((T *)dx, (T *)y, (const T *)dy, (const T *)x, count, device));
}

extern "C" void cuda_gelu_backward(Activation *dx, const Activation *dy, const Activation *x,
                                   int64_t count, Device *device) {
    cuda_gelu_backward_again(dx, NULL, dy, x, count, device);
}
