/* What every kernel file begins with: types, 16-byte accesses, fixed-order sums, launching.
 *
 * The same files are compiled twice: by nvcc for the GPU, and by the host's C++ compiler for the
 * tests, where tests/cuda/emulation runs the grid on the CPU, each thread of a block as a fiber.
 * So kernels use no more than this header offers:
 *   CUDA_LAUNCH(kernel, grid, block, shared_bytes, device, arguments...)
 *   CUDA_SHARED(type, name, [n]...)     shared memory of a fixed size; 16-byte aligned, which an
 *                                       array of floats alone is not; not initialised
 *   CUDA_SHARED_DYNAMIC(type, name)     the launch's shared_bytes, 16-byte aligned
 *   CUDA_ALIGNED(at, bytes)             checked in the tests; a GPU stops at an access that is not
 *   __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync, __shfl_down_sync
 *
 * Rules: no atomics on floats; sums have an order that shapes alone decide; every launch goes to
 * the device's one compute stream; a thread that could leave early stays for the barriers of its
 * block. */
#ifndef JEPA_KERNELS_CUDA_LAUNCH_H
#define JEPA_KERNELS_CUDA_LAUNCH_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define _Noreturn [[noreturn]] /* the C headers' */
extern "C" {
#include "kernels/cuda/cuda.h"
#include "kernels/device.h"
}

#ifdef __CUDACC__
#define CUDA_LAUNCH(kernel, grid, block, shared, device, ...)                                      \
    do {                                                                                           \
        kernel<<<grid, block, shared, (device)->cuda->stream>>>(__VA_ARGS__);                      \
        CUDA_CHECK(cudaGetLastError());                                                            \
    } while (0)
#define CUDA_SHARED(type, name, extent) __shared__ __align__(16) type name extent
#define CUDA_SHARED_DYNAMIC(type, name)                                                            \
    extern __shared__ __align__(16) unsigned char cuda_shared_bytes[];                             \
    type *name = (type *)cuda_shared_bytes
#define CUDA_ALIGNED(at, bytes) ((void)0)
#else
#include "tests/cuda/emulation/emulate.h"
#endif

#define WARP 32
#define FULL 0xffffffffu /* all lanes of a warp */

/* A bfloat16: the upper half of a float32, rounded to nearest even. */
typedef struct Bf16 {
    uint16_t bits;
} Bf16;

static __device__ inline float widen(float x) {
    return x;
}
static __device__ inline float widen(Bf16 x) {
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)x.bits << 16};
    return v.f;
}
static __device__ inline Bf16 bf16_of(float x) {
#ifdef __CUDA_ARCH__
    Bf16 one; /* an instruction of its own since sm_80, instead of eight */
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(one.bits) : "f"(x));
    return one;
#else
    union {
        float f;
        uint32_t u;
    } v = {x};
    if ((v.u & 0x7fffffffu) > 0x7f800000u) /* NaN stays one */
        return Bf16{(uint16_t)(v.u >> 16 | 0x40)};
    return Bf16{(uint16_t)((v.u + 0x7fffu + (v.u >> 16 & 1)) >> 16)};
#endif
}
static __device__ inline void put(float *to, float x) {
    *to = x;
}
static __device__ inline void put(Bf16 *to, float x) {
    *to = bf16_of(x);
}

/* V elements of T that are read or written in one access of up to 16 bytes. */
template <typename T, int V> struct alignas(sizeof(T) * V) Pack { T at[V]; };
template <typename T, int V> static __device__ inline Pack<T, V> load(const T *from) {
    CUDA_ALIGNED(from, sizeof(Pack<T, V>));
    return *(const Pack<T, V> *)from;
}
template <typename T, int V> static __device__ inline void store(T *to, const Pack<T, V> &pack) {
    CUDA_ALIGNED(to, sizeof pack);
    *(Pack<T, V> *)to = pack;
}

/* May these be read 16 bytes at a time, row after row of `width` elements of `size` bytes? */
static inline bool vectors_fit(const void *a, int64_t width, size_t size) {
    return (uintptr_t)a % 16 == 0 && width * (int64_t)size % 16 == 0;
}

/* Sums over the lanes of a warp, over the threads of a block: always in the same order; every
 * thread gets the result. `slots` is shared memory for a value of each warp (32 at most). */
template <typename T> static __device__ inline T warp_sum(T x) {
    for (int lanes = WARP / 2; lanes; lanes /= 2)
        x += __shfl_xor_sync(FULL, x, lanes);
    return x;
}
template <typename T> static __device__ inline T block_sum(T x, T *slots) {
    int warps = ((int)blockDim.x + WARP - 1) / WARP;
    x = warp_sum(x);
    __syncthreads(); /* slots may still be read from the sum before */
    if (threadIdx.x % WARP == 0)
        slots[threadIdx.x / WARP] = x;
    __syncthreads();
    T sum = slots[0];
    for (int i = 1; i < warps; i++)
        sum += slots[i];
    return sum;
}

/* Blocks for `count` elements; grids have 2^31 - 1 blocks at most, far more than fit a device. */
static inline unsigned blocks_for(int64_t count, int64_t of) {
    int64_t blocks = (count + of - 1) / of;
    JEPA_ASSERT(blocks <= 0x7fffffff);
    return (unsigned)blocks;
}

/* Calls `body` with T the type of the device's activations: `ACTIVATION(device, body<T>(...))`. */
#define ACTIVATION(device, ...)                                                                    \
    do {                                                                                           \
        if ((device)->precision == PRECISION_BFLOAT16) {                                           \
            typedef Bf16 T;                                                                        \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef float T;                                                                       \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

#endif
