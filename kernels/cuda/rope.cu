/* Rotary positions on the GPU. See kernels/rope.h.
 *
 * Bound by memory: 4 bytes for an element of Q and K in bfloat16; V is not touched, and the table
 * stays in the caches. A warp turns a row: its lanes share out the 16-byte groups of a head, as
 * many heads at once as fit. A lane keeps the angles of its group in registers and goes from head
 * to head, BATCH of them under way. Heads of D/H = 64 in bfloat16: 8 lanes to a head, 4 heads at
 * once.
 *
 * Heads that are no multiple of 16 bytes: a thread for each pair of channels. */
#include "kernels/cuda/launch.h"

#define THREADS 128
#define BATCH   4

/* y_2i = x_2i c_2i - x_2i+1 s_2i,  y_2i+1 = x_2i+1 c_2i+1 + x_2i s_2i+1; back: the transpose,
 * dx_2i = dy_2i c_2i + dy_2i+1 s_2i+1,  dx_2i+1 = dy_2i+1 c_2i+1 - dy_2i s_2i */
template <typename T>
static __device__ inline void turn(T *pair, const float *cosine, const float *sine, bool back) {
    float a = widen(pair[0]), b = widen(pair[1]);
    put(&pair[0], back ? a * cosine[0] + b * sine[1] : a * cosine[0] - b * sine[0]);
    put(&pair[1], back ? b * cosine[1] - a * sine[0] : b * cosine[1] + a * sine[1]);
}

/* A warp for each row; V channels to a lane. heads: 2 H, those of Q and of K. */
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, 5)
    rope_kernel(T *qkv, const float *__restrict__ table, const int32_t *__restrict__ token,
                int64_t rows, int head, int heads, bool back) {
    int64_t row = (int64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= rows || token[row] < 0) /* the whole warp */
        return;
    int groups = head / V, across = groups < WARP ? groups : WARP, at_once = WARP / across;
    int lane = threadIdx.x % WARP, first = lane / across;
    if (first >= at_once)
        return;
    const float *angles = table + (int64_t)token[row] * 2 * head;
    T *x = qkv + row * heads / 2 * 3 * head;
    for (int g = lane % across * V; g < head; g += across * V) {
        alignas(16) float cosine[V], sine[V];
        for (int k = 0; k < V; k += 4) {
            *(Pack<float, 4> *)&cosine[k] = load<float, 4>(angles + g + k);
            *(Pack<float, 4> *)&sine[k] = load<float, 4>(angles + head + g + k);
        }
        for (int h = first; h < heads; h += BATCH * at_once) {
            Pack<T, V> pack[BATCH];
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (h + i * at_once < heads)
                    pack[i] = load<T, V>(x + (h + i * at_once) * head + g);
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (h + i * at_once < heads) {
                    for (int k = 0; k < V; k += 2)
                        turn(&pack[i].at[k], &cosine[k], &sine[k], back);
                    store<T, V>(x + (h + i * at_once) * head + g, pack[i]);
                }
        }
    }
}

/* A thread for each pair. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    rope_pairs_kernel(T *qkv, const float *table, const int32_t *token, int64_t rows, int head,
                      int heads, bool back) {
    int64_t pairs = head / 2, i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    int64_t row = i / (heads * pairs), h = i / pairs % heads, j = i % pairs * 2;
    if (row >= rows || token[row] < 0)
        return;
    const float *angles = table + (int64_t)token[row] * 2 * head + j;
    turn(qkv + (row * heads / 2 * 3 + h) * head + j, angles, angles + head, back);
}

template <typename T>
static void turn_rows(T *qkv, const float *table, const int32_t *token, int64_t rows, int64_t width,
                      int64_t heads, bool back, Device *device) {
    const int V = 16 / sizeof(T);
    int64_t head = width / heads;
    if (!rows || head < 2)
        return;
    if (head % V == 0 && vectors_fit(qkv, head, sizeof *qkv) &&
        vectors_fit(table, head, sizeof *table))
        CUDA_LAUNCH((rope_kernel<T, V>), blocks_for(rows, THREADS / WARP), THREADS, 0, device, qkv,
                    table, token, rows, (int)head, (int)(2 * heads), back);
    else
        CUDA_LAUNCH(rope_pairs_kernel<T>, blocks_for(rows * 2 * heads * (head / 2), THREADS),
                    THREADS, 0, device, qkv, table, token, rows, (int)head, (int)(2 * heads), back);
}

extern "C" void cuda_rope_forward(Activation *qkv, const float *table, const int32_t *token,
                                  int64_t rows, int64_t width, int64_t heads, Device *device) {
    ACTIVATION(device, turn_rows<T>((T *)qkv, table, token, rows, width, heads, false, device));
}

extern "C" void cuda_rope_backward(Activation *dqkv, const float *table, const int32_t *token,
                                   int64_t rows, int64_t width, int64_t heads, Device *device) {
    ACTIVATION(device, turn_rows<T>((T *)dqkv, table, token, rows, width, heads, true, device));
}
