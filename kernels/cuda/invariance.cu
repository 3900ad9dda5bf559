/* The invariance loss on the GPU. See kernels/invariance.h.
 *
 * A thread keeps four neighbouring elements of view 0 and goes through the other views, so that e
 * is read once: 4 bytes per element forward, 8 backward. Small: some megabytes in all. */
#include "kernels/cuda/tile_sums.h"

#define THREADS (CUDA_SUM_TILE / 4) /* a tile of a view in one access of each thread */

/* partials[b] = Σ_v Σ (e[0] - e[v])² over tile b of the `stride` = G·K elements of a view */
template <int V>
__global__ void __launch_bounds__(THREADS)
    invariance_forward_kernel(double *partials, const float *e, int64_t views, int64_t stride) {
    CUDA_SHARED(double, slots, [WARP]);
    int64_t first = (int64_t)blockIdx.x * CUDA_SUM_TILE;
    int i = 4 * (int)threadIdx.x;
    int here = (int)(stride - first < CUDA_SUM_TILE ? stride - first : CUDA_SUM_TILE);
    Pack<float, 4> own = four<V>(e + first, i, here);
    double sum = 0;
    for (int64_t v = 1; v < views; v++) {
        Pack<float, 4> other = four<V>(e + v * stride + first, i, here);
        for (int k = 0; k < 4; k++) {
            double d = (double)own.at[k] - other.at[k];
            sum += d * d;
        }
    }
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0)
        partials[blockIdx.x] = sum;
}

extern "C" void cuda_invariance_forward(double *loss, const float *e, int64_t views, int64_t clips,
                                        int64_t width, double weight, Device *device) {
    int64_t stride = clips * width, tiles = blocks_for(stride, CUDA_SUM_TILE);
    if (!tiles)
        return;
    double *partials = tile_sums_take(tiles, device);
    if (vectors_fit(e, stride, sizeof *e))
        CUDA_LAUNCH(invariance_forward_kernel<4>, (unsigned)tiles, THREADS, 0, device, partials, e,
                    views, stride);
    else
        CUDA_LAUNCH(invariance_forward_kernel<1>, (unsigned)tiles, THREADS, 0, device, partials, e,
                    views, stride);
    tile_sums_add(loss, partials, tiles, weight / (double)(views * stride), device);
}

/* loss = scale/2 Σ (e0 - ev)²  =>  d = scale (e0 - ev), de0 += d, dev = -d */
template <int V>
__global__ void __launch_bounds__(THREADS)
    invariance_backward_kernel(float *de, const float *e, int64_t views, int64_t stride,
                               float scale) {
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * V;
    if (i >= stride)
        return;
    Pack<float, V> own = load<float, V>(e + i), sum;
    for (int k = 0; k < V; k++)
        sum.at[k] = 0;
    for (int64_t v = 1; v < views; v++) {
        Pack<float, V> other = load<float, V>(e + v * stride + i);
        for (int k = 0; k < V; k++) {
            float d = scale * (own.at[k] - other.at[k]);
            sum.at[k] += d;
            other.at[k] = -d;
        }
        store<float, V>(de + v * stride + i, other);
    }
    store<float, V>(de + i, sum);
}

extern "C" void cuda_invariance_backward(float *de, const float *e, int64_t views, int64_t clips,
                                         int64_t width, double weight, Device *device) {
    int64_t stride = clips * width;
    float scale = (float)(2 * weight / (double)(views * stride));
    if (!stride)
        return;
    if (vectors_fit(e, stride, sizeof *e) && vectors_fit(de, stride, sizeof *e))
        CUDA_LAUNCH(invariance_backward_kernel<4>, blocks_for(stride, 4 * THREADS), THREADS, 0,
                    device, de, e, views, stride, scale);
    else
        CUDA_LAUNCH(invariance_backward_kernel<1>, blocks_for(stride, THREADS), THREADS, 0, device,
                    de, e, views, stride, scale);
}
