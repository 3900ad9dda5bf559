/* float32 or bfloat16 rows as e4m3 with a scale for each row: see kernels/cuda/eights.h.
 *
 * Bound by memory: of an activation 2 bytes read and 1 written, of a weight 4 and 1. A block takes
 * a row: each thread 16 neighbours at a time, read and written in 16-byte accesses, kept in
 * registers while the largest is looked for (KEPT times; what a longer row has beyond that is read
 * again, from the cache). One barrier a row. The largest of a row does not depend on the order in
 * which it is looked for. */
#include "kernels/cuda/launch.h"
extern "C" {
#include "kernels/cuda/eights.h"
}

#define AT_ONCE EIGHTS_WIDTH
#define THREADS 256 /* at most: 4096 values at once, ViT-L's hidden width */
#define KEPT    2   /* times that a thread keeps its values */

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 890
/* A number as e4m3: sign, 4 bits of exponent (bias 7), 3 of mantissa. */
static __device__ inline uint8_t e4m3_of(float x) {
    union {
        float f;
        uint32_t u;
    } v = {x};
    uint32_t sign = v.u >> 31 << 7, magnitude = v.u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return 0x7f;
    if (magnitude < 0x3c800000u) { /* below 2^-6: multiples of 2^-9; the addition rounds */
        v.u = magnitude;
        v.f += 16384.0f; /* 2^14, whose last bit counts 2^-9 */
        return (uint8_t)(sign | (v.u & 0xff));
    }
    magnitude += 0x7ffffu + (magnitude >> 20 & 1); /* 3 of 23 bits of mantissa stay */
    magnitude = (magnitude >> 20) - ((127 - 7) << 3);
    return (uint8_t)(sign | (magnitude > 0x7e ? 0x7e : magnitude)); /* 0x7e: 448 */
}
#endif

/* Four of them; an instruction for two since sm_89. */
static __device__ inline uint32_t e4m3_four(const float *x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t low, high;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(x[1]), "f"(x[0]));
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(x[3]), "f"(x[2]));
    return (uint32_t)high << 16 | low;
#else
    return (uint32_t)e4m3_of(x[0]) | (uint32_t)e4m3_of(x[1]) << 8 | (uint32_t)e4m3_of(x[2]) << 16 |
           (uint32_t)e4m3_of(x[3]) << 24;
#endif
}

template <typename T, bool ALIGNED>
static __device__ inline void take(Pack<T, AT_ONCE> *to, const T *from) {
    const int V = 16 / (int)sizeof(T);
    for (int k = 0; k < AT_ONCE; k += V)
        if (ALIGNED) {
            Pack<T, V> part = load<T, V>(from + k);
            for (int j = 0; j < V; j++)
                to->at[k + j] = part.at[j];
        } else {
            for (int j = 0; j < V; j++)
                to->at[k + j] = from[k + j];
        }
}

template <typename T> static __device__ inline float largest_of(const Pack<T, AT_ONCE> &x) {
    float most = 0;
    for (int k = 0; k < AT_ONCE; k++)
        most = fmaxf(most, fabsf(widen(x.at[k]))); /* NaN is passed over, and stays itself below */
    return most;
}

template <typename T>
static __device__ inline void give(uint8_t *to, const Pack<T, AT_ONCE> &x, float inverse) {
    Pack<uint32_t, AT_ONCE / 4> out;
    for (int k = 0; k < AT_ONCE; k += 4) {
        float four[4];
        for (int j = 0; j < 4; j++)
            four[j] = widen(x.at[k + j]) * inverse;
        out.at[k / 4] = e4m3_four(four);
    }
    store<uint32_t, AT_ONCE / 4>((uint32_t *)to, out);
}

template <typename T, bool ALIGNED>
__global__ void eights_kernel(uint8_t *q, float *scale, const T *x, int width) {
    CUDA_SHARED(float, slots, [WARP]);
    int64_t row = blockIdx.x;
    int step = (int)blockDim.x * AT_ONCE, first = (int)threadIdx.x * AT_ONCE;
    int warps = ((int)blockDim.x + WARP - 1) / WARP;
    Pack<T, AT_ONCE> kept[KEPT], other;
    float most = 0;
    x += row * width;
    q += row * width;
#pragma unroll
    for (int i = 0; i < KEPT; i++)
        if (first + i * step < width) {
            take<T, ALIGNED>(&kept[i], x + first + i * step);
            most = fmaxf(most, largest_of(kept[i]));
        }
    for (int at = first + KEPT * step; at < width; at += step) {
        take<T, ALIGNED>(&other, x + at);
        most = fmaxf(most, largest_of(other));
    }
    for (int lanes = WARP / 2; lanes; lanes /= 2)
        most = fmaxf(most, __shfl_xor_sync(FULL, most, lanes));
    if (threadIdx.x % WARP == 0)
        slots[threadIdx.x / WARP] = most;
    __syncthreads();
    for (int i = 0; i < warps; i++)
        most = fmaxf(most, slots[i]);
    most = fmaxf(most, EIGHTS_LEAST);
    float inverse = EIGHTS_LARGEST / most;
    if (!threadIdx.x)
        scale[row] = most / EIGHTS_LARGEST;
#pragma unroll
    for (int i = 0; i < KEPT; i++)
        if (first + i * step < width)
            give(q + first + i * step, kept[i], inverse);
    for (int at = first + KEPT * step; at < width; at += step) {
        take<T, ALIGNED>(&other, x + at);
        give(q + at, other, inverse);
    }
}

template <typename T>
static void quantise(uint8_t *q, float *scale, const T *x, int64_t rows, int64_t width,
                     Device *device) {
    int64_t threads = (width / AT_ONCE + WARP - 1) / WARP * WARP;
    unsigned block = (unsigned)(threads < THREADS ? threads : THREADS);
    if (vectors_fit(x, width, sizeof(T)))
        CUDA_LAUNCH((eights_kernel<T, true>), blocks_for(rows, 1), block, 0, device, q, scale, x,
                    (int)width);
    else
        CUDA_LAUNCH((eights_kernel<T, false>), blocks_for(rows, 1), block, 0, device, q, scale, x,
                    (int)width);
}

extern "C" void cuda_eights(uint8_t *q, float *scale, const void *x, Precision precision,
                            int64_t rows, int64_t width, Device *device) {
    JEPA_ASSERT(width % EIGHTS_WIDTH == 0 && (uintptr_t)q % 16 == 0);
    if (!rows)
        return;
    if (precision == PRECISION_BFLOAT16)
        quantise(q, scale, (const Bf16 *)x, rows, width, device);
    else
        quantise(q, scale, (const float *)x, rows, width, device);
}
