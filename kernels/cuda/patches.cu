/* Cutting patches on the GPU. See kernels/patches.h.
 *
 * Bound by memory: an element in bfloat16 moves 3 bytes, its pixel in, its value out. A block cuts
 * ROWS rows. Where an element of a patch lies, as seen from the patch's first pixel, is the same
 * for every patch of its kind, so a thread works out the place of its V neighbours in a line once
 * and goes from row to row, with the pixels of all of them under way; the first pixels of the rows
 * lie in shared memory. V is as many as make 16 bytes of the larger of the two types, if the lines
 * of a patch are a multiple of that; else 1. A mirrored clip is read from the right, V at a time
 * too. */
#include "kernels/cuda/launch.h"

#define ROWS    4
#define THREADS 256

typedef struct PatchSizes {
    int64_t frame, channel;      /* pixels of a frame of one channel, of all frames of it */
    int width, patch, tubelet;   /* pixels, pixels, frames */
    int across, grid;            /* tokens of a line, of a frame */
    int elements;                /* of a row: 3 · tubelet · patch² */
    float scale[PATCH_CHANNELS]; /* value = pixel scale + shift */
    float shift[PATCH_CHANNELS];
} PatchSizes;

static __device__ inline float value_of(uint8_t pixel, float scale, float shift) {
    return (float)pixel * scale + shift;
}
static __device__ inline float value_of(float value, float, float) {
    return value; /* normalised already */
}

template <typename T, typename P, int V>
__global__ void __launch_bounds__(THREADS, 4)
    patches_kernel(T *patches, const P *__restrict__ pixels, const uint8_t *__restrict__ mirror,
                   const int32_t *__restrict__ clip, const int32_t *__restrict__ token,
                   int64_t rows, const PatchSizes s) {
    CUDA_SHARED(int64_t, first, [ROWS]); /* pixel of a row; for mirrored ones the rightmost */
    CUDA_SHARED(int, kind, [ROWS]);      /* -1: no pixels, 0: as it is, 1: mirrored */
    int64_t row = (int64_t)blockIdx.x * ROWS;
    if (threadIdx.x < ROWS && row + threadIdx.x < rows) {
        int n = token[row + threadIdx.x];
        int64_t c = clip[row + threadIdx.x];
        int flip = n >= 0 && mirror && mirror[c];
        int64_t t = n / s.grid, h = n % s.grid / s.across, w = n % s.across;
        int64_t left = flip ? s.width - 1 - w * s.patch : w * s.patch;
        first[threadIdx.x] = c * PATCH_CHANNELS * s.channel + t * s.tubelet * s.frame +
                             h * s.patch * s.width + left;
        kind[threadIdx.x] = n < 0 ? -1 : flip;
    }
    __syncthreads();
    patches += row * s.elements;
    for (int i = threadIdx.x * V; i < s.elements; i += blockDim.x * V) {
        /* i = ((c · tubelet + f) · patch + y) · patch + x */
        int line = i / s.patch, x = i - line * s.patch, cf = line / s.patch,
            y = line - cf * s.patch, c = cf / s.tubelet, f = cf - c * s.tubelet;
        int64_t from = c * s.channel + f * s.frame + (int64_t)y * s.width;
        float scale = c == 0 ? s.scale[0] : c == 1 ? s.scale[1] : s.scale[2];
        float shift = c == 0 ? s.shift[0] : c == 1 ? s.shift[1] : s.shift[2];
        Pack<P, V> in[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            in[r] = Pack<P, V>{};
            if (row + r < rows && kind[r] >= 0)
                in[r] = load<P, V>(pixels + first[r] + from + (kind[r] ? -x - (V - 1) : x));
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (row + r >= rows)
                continue;
            Pack<T, V> out;
            for (int k = 0; k < V; k++) {
                P pixel = kind[r] > 0 ? in[r].at[V - 1 - k] : in[r].at[k];
                put(&out.at[k], kind[r] < 0 ? 0.0f : value_of(pixel, scale, shift));
            }
            store<T, V>(patches + (int64_t)r * s.elements + i, out);
        }
    }
}

template <typename T, typename P>
static void cut(T *patches, const P *pixels, const uint8_t *mirror, const int32_t *clip,
                const int32_t *token, int64_t rows, const PatchSizes *s, Device *device) {
    const int V = 16 / (sizeof(T) > sizeof(P) ? sizeof(T) : sizeof(P));
    bool fits = s->patch % V == 0 && s->width % V == 0 &&
                (uintptr_t)pixels % (V * sizeof(P)) == 0 &&
                (uintptr_t)patches % (V * sizeof(T)) == 0;
    int threads = (s->elements / (fits ? V : 1) + WARP - 1) / WARP * WARP;
    threads = threads < THREADS ? threads : THREADS;
    if (fits)
        CUDA_LAUNCH((patches_kernel<T, P, V>), blocks_for(rows, ROWS), (unsigned)threads, 0, device,
                    patches, pixels, mirror, clip, token, rows, *s);
    else
        CUDA_LAUNCH((patches_kernel<T, P, 1>), blocks_for(rows, ROWS), (unsigned)threads, 0, device,
                    patches, pixels, mirror, clip, token, rows, *s);
}

extern "C" void cuda_patches_cut(Activation *patches, const uint8_t *pixels, const float *values,
                                 const uint8_t *mirror, const int32_t *clip, const int32_t *token,
                                 int64_t rows, const PatchShape *shape, Device *device) {
    if (!rows)
        return;
    PatchSizes s = {};
    s.width = shape->width;
    s.patch = shape->patch;
    s.tubelet = shape->tubelet;
    s.frame = (int64_t)shape->height * shape->width;
    s.channel = s.frame * shape->frames;
    s.across = shape->width / shape->patch;
    s.grid = s.across * (shape->height / shape->patch);
    s.elements = PATCH_CHANNELS * shape->tubelet * shape->patch * shape->patch;
    for (int c = 0; c < PATCH_CHANNELS; c++) {
        s.scale[c] = 1.0f / (255.0f * patch_std[c]);
        s.shift[c] = -patch_mean[c] / patch_std[c];
    }
    if (pixels)
        ACTIVATION(device, cut<T>((T *)patches, pixels, mirror, clip, token, rows, &s, device));
    else
        ACTIVATION(device, cut<T>((T *)patches, values, mirror, clip, token, rows, &s, device));
}
