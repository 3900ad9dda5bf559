/* GELU on the GPU. See kernels/gelu.h.
 *
 * Bytes for an element in bfloat16: forward 4 (x in, y out), backward 8 (dy, x in; dx, y out). An
 * H200 can move some 20 bytes for each clock of an SM, which are 5 elements forward; so its 128
 * lanes have 25 instructions for an element, and that is what the kernel takes (by its listing for
 * sm_90; backward 31 of 50). With an exact division and exponential it took 41, in a chain. */
#include "kernels/cuda/launch.h"
extern "C" {
#include "kernels/cuda/gelu.h"
}

#define THREADS 256

/* 1 / x for x >= 1, off by a unit in the last place. The exact division takes a branch for each
 * element, whose elements then come one after another: a quarter of the instructions of a kernel
 * that has none to spare. */
static __device__ inline float inverse(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return 1.0f / x;
#endif
}

/* exp(-x²/2). Of an x of 8 bits x² is exact, and the quick one is off by 4e-6 of itself at most as
 * far as |x| = 12, where the result's own rounding to 8 bits is off by 2e-3. */
template <typename T> static __device__ inline float bell(float x) {
#ifdef __CUDA_ARCH__
    if (sizeof(T) == sizeof(Bf16)) {
        float y;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * x * -0.72134752f)); /* log2(e) / 2 */
        return y;
    }
#endif
    return expf(-0.5f * x * x);
}

/* Φ(x) and e = exp(-x²/2), exact to about 2e-7 of the value in the tail too, where 1 + erf(x/√2)
 * would cancel: the same polynomial as in kernels/cpu/math.h. With u = |x|/√2: erfc(u) = e · g(t),
 * t = 1/(1 + 0.38 u). It is quicker than erff, and e is the gradient's as well. T: of x. */
template <typename T> static __device__ inline float normal(float x, float *e) {
    float u = fabsf(x) * 0.707106781f, t = inverse(fmaf(0.38f, u, 1.0f)), g = 0.05896513744f;
    g = fmaf(g, t, -0.2622713817f);
    g = fmaf(g, t, 0.363838185f);
    g = fmaf(g, t, -0.1614283492f);
    g = fmaf(g, t, 0.2300004368f);
    g = fmaf(g, t, 0.1386620442f);
    g = fmaf(g, t, 0.203903153f);
    g = fmaf(g, t, 0.213919863f);
    g = fmaf(g, t, 0.2144109311f) * t;
    *e = bell<T>(x);
    float tail = 0.5f * *e * g;
    return x < 0 ? tail : 1.0f - tail;
}

template <typename T> static __device__ inline float gelu(float x) {
    float e;
    return x * normal<T>(x, &e);
}

template <typename T, int V> __global__ void gelu_forward_kernel(T *y, const T *x, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<T, V> in = load<T, V>(x + i), out;
    for (int k = 0; k < V; k++)
        put(&out.at[k], gelu<T>(widen(in.at[k])));
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
        float e, v = widen(in.at[k]), phi = normal<T>(v, &e);
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
