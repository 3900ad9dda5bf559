/* SwiGLU on the GPU. See kernels/swiglu.h. Bound by memory: in bfloat16 an element moves 6 bytes
 * forward, 12 backward with y (dy, a, b in; da, db, y out). A thread has 16 bytes of each. */
#include "kernels/cuda/launch.h"

#define THREADS 256

/* σ(a) = 1 / (1 + exp(-a)): an infinite exponential gives zero. The quick division is off by two
 * units in the last place; the other one would take as long as the memory does. */
static __device__ inline float sigmoid(float a) {
#ifdef __CUDA_ARCH__
    float e = expf(-a); /* quick division by more than 2^126 gives zero, by infinity too */
    return __fdividef(1.0f, 1.0f + e);
#else
    return 1.0f / (1.0f + expf(-a));
#endif
}

template <typename T, int V>
__global__ void swiglu_forward_kernel(T *y, const T *a, const T *b, int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<T, V> value = load<T, V>(a + i), gate = load<T, V>(b + i);
    for (int k = 0; k < V; k++) {
        float v = widen(value.at[k]);
        put(&value.at[k], v * sigmoid(v) * widen(gate.at[k]));
    }
    store<T, V>(y + i, value);
}

/* y = a σ(a) b  =>  da = dy b σ (1 + a (1 - σ)),  db = dy a σ; y once more where it is wanted */
template <typename T, int V>
__global__ void swiglu_backward_kernel(T *da, T *db, T *y, const T *dy, const T *a, const T *b,
                                       int64_t count) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= count)
        return;
    Pack<T, V> d = load<T, V>(dy + i), value = load<T, V>(a + i), gate = load<T, V>(b + i), again;
    for (int k = 0; k < V; k++) {
        float v = widen(value.at[k]), g = widen(gate.at[k]), dv = widen(d.at[k]), s = sigmoid(v);
        put(&value.at[k], dv * g * s * (1.0f + v * (1.0f - s)));
        put(&gate.at[k], dv * v * s);
        put(&again.at[k], v * s * g);
    }
    store<T, V>(da + i, value);
    store<T, V>(db + i, gate);
    if (y)
        store<T, V>(y + i, again);
}

template <typename T>
static void forward(T *y, const T *a, const T *b, int64_t count, Device *device) {
    const int V = 16 / sizeof(T);
    if (vectors_fit(y, count, sizeof *y) && vectors_fit(a, count, sizeof *y) &&
        vectors_fit(b, count, sizeof *y))
        CUDA_LAUNCH((swiglu_forward_kernel<T, V>), blocks_for(count, V * THREADS), THREADS, 0,
                    device, y, a, b, count);
    else
        CUDA_LAUNCH((swiglu_forward_kernel<T, 1>), blocks_for(count, THREADS), THREADS, 0, device,
                    y, a, b, count);
}

template <typename T>
static void backward(T *da, T *db, T *y, const T *dy, const T *a, const T *b, int64_t count,
                     Device *device) {
    const int V = 16 / sizeof(T);
    if (vectors_fit(da, count, sizeof *y) && vectors_fit(db, count, sizeof *y) &&
        vectors_fit(y, count, sizeof *y) && vectors_fit(dy, count, sizeof *y) &&
        vectors_fit(a, count, sizeof *y) && vectors_fit(b, count, sizeof *y))
        CUDA_LAUNCH((swiglu_backward_kernel<T, V>), blocks_for(count, V * THREADS), THREADS, 0,
                    device, da, db, y, dy, a, b, count);
    else
        CUDA_LAUNCH((swiglu_backward_kernel<T, 1>), blocks_for(count, THREADS), THREADS, 0, device,
                    da, db, y, dy, a, b, count);
}

extern "C" void cuda_swiglu_forward(Activation *y, const Activation *a, const Activation *b,
                                    int64_t count, Device *device) {
    if (count)
        ACTIVATION(device, forward<T>((T *)y, (const T *)a, (const T *)b, count, device));
}

extern "C" void cuda_swiglu_backward(Activation *da, Activation *db, Activation *y,
                                     const Activation *dy, const Activation *a, const Activation *b,
                                     int64_t count, Device *device) {
    if (count)
        ACTIVATION(device, backward<T>((T *)da, (T *)db, (T *)y, (const T *)dy, (const T *)a,
                                       (const T *)b, count, device));
}
