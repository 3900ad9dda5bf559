/* GELU on the GPU. See kernels/gelu.h. */
#include "kernels/cuda/launch.h"
extern "C" {
#include "kernels/cuda/gelu.h"
}

#define THREADS 256

/* Φ(x) and e = exp(-x²/2), exact to about 2e-7 of the value in the tail too, where 1 + erf(x/√2)
 * would cancel: the same polynomial as in kernels/cpu/math.h. With u = |x|/√2: erfc(u) = e · g(t),
 * t = 1/(1 + 0.38 u). It is quicker than erff, and e is the gradient's as well. */
static __device__ inline float normal(float x, float *e) {
    float u = fabsf(x) * 0.707106781f, t = 1.0f / fmaf(0.38f, u, 1.0f), g = 0.05896513744f;
    g = fmaf(g, t, -0.2622713817f);
    g = fmaf(g, t, 0.363838185f);
    g = fmaf(g, t, -0.1614283492f);
    g = fmaf(g, t, 0.2300004368f);
    g = fmaf(g, t, 0.1386620442f);
    g = fmaf(g, t, 0.203903153f);
    g = fmaf(g, t, 0.213919863f);
    g = fmaf(g, t, 0.2144109311f) * t;
    *e = expf(-0.5f * x * x);
    float tail = 0.5f * *e * g;
    return x < 0 ? tail : 1.0f - tail;
}

static __device__ inline float gelu(float x) {
    float e;
    return x * normal(x, &e);
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
        float e, v = widen(in.at[k]), phi = normal(v, &e);
        put(&slope.at[k], widen(slope.at[k]) * fmaf(v * e, 0.398942280f, phi));
        put(&out.at[k], v * phi);
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
