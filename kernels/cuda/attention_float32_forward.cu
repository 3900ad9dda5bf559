/* Attention's forward pass on the GPU. Formulas: kernels/attention.h. After Dao, FlashAttention-2
 * (arXiv 2307.08691), algorithm 1.
 *
 * A block owns ROWS queries of one head of one sequence; K and V pass by in tiles of COLUMNS
 * tokens. With c = log2(e)/√d, tile after tile,
 *     S = Q Kᵀ,  m' = max(m, max_j S c),  P = 2^(S c - m')
 *     l = l 2^(m - m') + Σ_j P,           O = O 2^(m - m') + P V
 * and at the end O / l and lse = ln(2^m l). A thread sums l over its own columns; the 16 threads of
 * a row meet when all keys have passed. Bound by FMAs: 2 d for each pair of tokens, against
 * 8 d / ROWS bytes from memory or L2 in float32. */
#include "kernels/cuda/attention_tile.h"

/* From a row's 16 threads to all of them. */
INLINE float row_most(float x) {
    for (int lanes = WIDE / 2; lanes; lanes /= 2)
        x = fmaxf(x, __shfl_xor_sync(FULL, x, lanes));
    return x;
}
INLINE float row_sum(float x) {
    for (int lanes = WIDE / 2; lanes; lanes /= 2)
        x += __shfl_xor_sync(FULL, x, lanes);
    return x;
}

/* S to P in place; most, sum and o follow the highest score so far. */
template <int RT, int CT, int CHANNELS>
INLINE void online_softmax(float s[RT][CT], float o[RT][CHANNELS], float most[RT], float sum[RT],
                           float scale2) {
#pragma unroll
    for (int i = 0; i < RT; i++) {
        float top = s[i][0];
        for (int j = 1; j < CT; j++)
            top = fmaxf(top, s[i][j]);
        top = fmaxf(most[i], row_most(top) * scale2);
        float factor = exp2f(most[i] - top), total = 0;
        most[i] = top;
        for (int j = 0; j < CT; j++) {
            s[i][j] = exp2f(s[i][j] * scale2 - top);
            total += s[i][j];
        }
        sum[i] = sum[i] * factor + total;
        for (int k = 0; k < CHANNELS; k++)
            o[i][k] *= factor;
    }
}

template <int HD, int RT, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    forward_kernel(float *out, float *lse, const float *qkv, const Ragged a) {
    constexpr int ROWS = DEEP * RT, CT = COLUMNS / WIDE;
    CUDA_SHARED_DYNAMIC(float, shared);
    float *q = shared, *k = q + ROWS * (HD + PAD), *v = k + COLUMNS * (HD + PAD);
    float *p = v + COLUMNS * (HD + PAD);
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const float *row = qkv + own.first * stride + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    load_tile<HD, ROWS>(q, row + own.at * stride, stride, own.rows, a);

    float o[RT][HD / WIDE], most[RT], sum[RT];
    clear<RT, HD / WIDE>(o);
    for (int i = 0; i < RT; i++) {
        most[i] = -1e30f; /* finite: a difference to -inf is -inf */
        sum[i] = 0;
    }
    for (Tile t = next_tile<COLUMNS, false>(0, own, block, mine); t.columns;
         t = next_tile<COLUMNS, false>(t.at + COLUMNS, own, block, mine)) {
        __syncthreads(); /* the tile before has been read */
        load_tile<HD, COLUMNS>(k, row + a.width + t.at * stride, stride, t.columns, a);
        load_tile<HD, COLUMNS>(v, row + 2 * a.width + t.at * stride, stride, t.columns, a);
        __syncthreads();
        float s[RT][CT];
        dot<HD, RT, COLUMNS>(s, q, k);
        if (t.sees == SOME || t.columns < COLUMNS)
            hide<RT, COLUMNS, false>(s, t.sees == SOME ? block + own.at : NULL, block + t.at,
                                     own.rows, t.columns);
        online_softmax<RT, CT, HD / WIDE>(s, o, most, sum, a.scale2);
        share<RT, COLUMNS>(p, s);
        accumulate<HD, RT, COLUMNS>(o, p, v, t.columns);
    }

    float factor[RT];
#pragma unroll
    for (int i = 0; i < RT; i++) {
        sum[i] = row_sum(sum[i]);
        factor[i] = 1 / sum[i];
        int r = my_row() + i * DEEP;
        if (lse && my_column() == 0 && r < own.rows)
            lse[(own.first + own.at + r) * a.heads + own.head] = most[i] * (float)LN_2 +
                                                                 logf(sum[i]);
    }
    store_rows<HD, RT>(out + (own.first + own.at) * a.width + own.head * a.head, a.width, o, factor,
                       own.rows, a);
}

template <int HD, int RT, int COLUMNS>
static void launch(float *out, float *lse, const float *qkv, Ragged a, int longest,
                   int64_t sequences, Device *device) {
    constexpr int ROWS = DEEP * RT;
    size_t bytes = sizeof(float) * ((ROWS + 2 * COLUMNS) * (HD + PAD) + ROWS * (COLUMNS + PAD));
    a.tiles = (longest + ROWS - 1) / ROWS;
    allow_shared((const void *)forward_kernel<HD, RT, COLUMNS>, bytes, device);
    CUDA_LAUNCH((forward_kernel<HD, RT, COLUMNS>), blocks_for(sequences * a.heads * a.tiles, 1),
                THREADS, bytes, device, out, lse, qkv, a);
}

extern "C" void cuda_attention_float32_forward(Activation *out_, float *lse, const Activation *qkv_,
                                               const int32_t *cu_seqlens, const int32_t *block,
                                               int64_t sequences, int64_t width, int64_t heads,
                                               Device *device) {
    float *out = (float *)out_;
    const float *qkv = (const float *)qkv_;
    Ragged a;
    int longest;
    if (!ragged_of(&a, &longest, cu_seqlens, block, sequences, width, heads, device))
        return;
    a.vectors = vectors_fit(qkv, a.head, sizeof *qkv) && vectors_fit(out, a.head, sizeof *out);
    if (a.head <= 32)
        launch<32, 8, 64>(out, lse, qkv, a, longest, sequences, device);
    else if (a.head <= 64)
        launch<64, 8, 64>(out, lse, qkv, a, longest, sequences, device);
    else if (a.head <= 96)
        launch<96, 8, 32>(out, lse, qkv, a, longest, sequences, device);
    else
        launch<128, 8, 32>(out, lse, qkv, a, longest, sequences, device);
}
