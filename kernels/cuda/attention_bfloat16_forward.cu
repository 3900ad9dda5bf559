/* Attention's forward pass on the GPU in bfloat16, on tensor cores. Formulas: kernels/attention.h.
 * The same algorithm and tiles as attention_float32_forward.cu; products by attention_mma.h, with P
 * rounded to bfloat16, as PyTorch's and cuDNN's kernels do. m, l and O are float32. The 4 lanes
 * that share a row agree on m in every tile and add up l at the end.
 *
 * Bound by tensor cores and what feeds them: 2 d FMAs for each pair of tokens, against d / 16 bytes
 * from L2 and d / 4 from shared memory. */
#include "kernels/cuda/attention_mma.h"

/* S to P in place; most, sum and o follow the highest score so far. */
template <int HD, int COLUMNS>
INLINE void online_softmax(float s[COLUMNS / 8][4], float o[HD / 8][4], float most[2], float sum[2],
                           float scale2) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float top = s[0][2 * i];
        for (int n = 0; n < COLUMNS / 8; n++)
            top = fmaxf(top, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
        for (int lanes = 2; lanes; lanes /= 2)
            top = fmaxf(top, __shfl_xor_sync(FULL, top, lanes));
        top = fmaxf(most[i], top * scale2);
        float factor = power_of_two(most[i] - top), total = 0;
        most[i] = top;
        for (int n = 0; n < COLUMNS / 8; n++)
            for (int e = 0; e < 2; e++) {
                s[n][2 * i + e] = power_of_two(s[n][2 * i + e] * scale2 - top);
                total += s[n][2 * i + e];
            }
        sum[i] = sum[i] * factor + total;
        for (int n = 0; n < HD / 8; n++) {
            o[n][2 * i] *= factor;
            o[n][2 * i + 1] *= factor;
        }
    }
}

template <int HD, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    forward_kernel(Bf16 *out, float *lse, const Bf16 *qkv, const Ragged a) {
    CUDA_SHARED_DYNAMIC(Bf16, shared);
    Bf16 *q = shared, *stages = q + ROWS * (HD + PAD);
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const Bf16 *row = qkv + own.first * stride + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    Tile t = next_tile<COLUMNS, false>(0, own, block, mine);
    load_tile<HD, ROWS>(q, row + own.at * stride, stride, own.rows, a);
    load_keys<HD, COLUMNS>(stages, row, t, a);
    copies_arrive();
    __syncthreads();
    uint32_t rows[HD / 16][4];
    load_rows<HD>(rows, q);

    float o[HD / 8][4], most[2] = {-1e30f, -1e30f},
                        sum[2] = {0, 0}; /* a difference to -inf is -inf */
    clear<HD / 8>(o);
    for (int stage = 0; t.columns; stage ^= 1) {
        const Bf16 *k = stages + stage * 2 * COLUMNS * (HD + PAD), *v = k + COLUMNS * (HD + PAD);
        Tile next = next_tile<COLUMNS, false>(t.at + COLUMNS, own, block, mine);
        copies_arrive();
        __syncthreads(); /* this tile is here, the one before has been read */
        if (next.columns)
            load_keys<HD, COLUMNS>(stages + (stage ^ 1) * 2 * COLUMNS * (HD + PAD), row, next, a);
        float s[COLUMNS / 8][4];
        dot<HD, COLUMNS>(s, rows, k);
        if (t.sees == SOME || t.columns < COLUMNS)
            hide<COLUMNS, false>(s, t.sees == SOME ? block + own.at : NULL, block + t.at, own.rows,
                                 t.columns);
        online_softmax<HD, COLUMNS>(s, o, most, sum, a.scale2);
        accumulate<HD, COLUMNS>(o, s, v);
        t = next;
    }

    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        for (int lanes = 2; lanes; lanes /= 2)
            sum[i] += __shfl_xor_sync(FULL, sum[i], lanes);
        factor[i] = 1 / sum[i];
        if (lse && threadIdx.x % 4 == 0 && row_of(i) < own.rows)
            lse[(own.first + own.at + row_of(i)) * a.heads + own.head] = most[i] * (float)LN_2 +
                                                                         logf(sum[i]);
    }
    store_rows<HD>(out + (own.first + own.at) * a.width + own.head * a.head, a.width, o, factor,
                   own.rows, a);
}

template <int HD, int COLUMNS>
static void launch(Bf16 *out, float *lse, const Bf16 *qkv, Ragged a, int longest, int64_t sequences,
                   Device *device) {
    size_t bytes = sizeof(Bf16) * (ROWS + 4 * COLUMNS) * (HD + PAD);
    a.tiles = (longest + ROWS - 1) / ROWS;
    allow_shared((const void *)forward_kernel<HD, COLUMNS>, bytes, device);
    CUDA_LAUNCH((forward_kernel<HD, COLUMNS>), blocks_for(sequences * a.heads * a.tiles, 1),
                THREADS, bytes, device, out, lse, qkv, a);
}

extern "C" void cuda_attention_bfloat16_forward(Activation *out_, float *lse,
                                                const Activation *qkv_, const int32_t *cu_seqlens,
                                                const int32_t *block, int64_t sequences,
                                                int64_t width, int64_t heads, Device *device) {
    Bf16 *out = (Bf16 *)out_;
    const Bf16 *qkv = (const Bf16 *)qkv_;
    Ragged a;
    int longest;
    if (!ragged_of(&a, &longest, cu_seqlens, block, sequences, width, heads, device))
        return;
    a.vectors = vectors_fit(qkv, a.head, sizeof *qkv) && vectors_fit(out, a.head, sizeof *out);
    if (a.head <= 32)
        launch<32, 64>(out, lse, qkv, a, longest, sequences, device);
    else if (a.head <= 64)
        launch<64, 64>(out, lse, qkv, a, longest, sequences, device);
    else if (a.head <= 80)
        launch<80, 64>(out, lse, qkv, a, longest, sequences, device);
    else if (a.head <= 96)
        launch<96, 64>(out, lse, qkv, a, longest, sequences, device);
    else
        launch<128, 64>(out, lse, qkv, a, longest, sequences, device);
}
