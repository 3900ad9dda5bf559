/* Attention's backward pass on the GPU. Formulas: kernels/attention.h. After Dao, FlashAttention-2
 * (arXiv 2307.08691), algorithm 2, in two kernels so that nothing is added by two blocks: one whose
 * blocks own keys and let the queries pass by, for dK and dV, and one whose blocks own queries and
 * let the keys pass by, for dQ. Both recompute, with c = log2(e)/√d,
 *     P = 2^(S c - lse log2(e)),  S = Q Kᵀ
 *     dS = P (dP - delta),        dP = dO Vᵀ,  delta_i = Σ_d dO_i O_i
 * and sum   dV = Pᵀ dO,  dK = dSᵀ Q / √d,     dQ = dS K / √d
 * in the order of the tokens. delta is found first, once, into device->scratch: [R][H] floats.
 * Bound by FMAs: 7 d for each pair of tokens (7 products, two of them twice). */
#include "kernels/cuda/attention_tile.h"

/* ---- dK and dV ---- */

/* lse log2(e) and delta of COLUMNS queries from a row on, into shared memory. */
template <int COLUMNS>
INLINE void load_statistics(float *lse2, float *delta, const float *all_lse, const float *all_delta,
                            int64_t row, int columns, int head, const Ragged &a) {
    for (int i = (int)threadIdx.x; i < COLUMNS; i += THREADS) {
        int64_t at = (row + i) * a.heads + head;
        lse2[i] = i < columns ? all_lse[at] * (float)LOG2_E : 0;
        delta[i] = i < columns ? all_delta[at] : 0;
    }
}

template <int HD, int RT, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    dk_dv_kernel(float *dqkv, const float *dout, const float *qkv, const float *all_lse,
                 const float *all_delta, const Ragged a) {
    constexpr int ROWS = DEEP * RT, CT = COLUMNS / WIDE;
    CUDA_SHARED_DYNAMIC(float, shared);
    float *k = shared, *v = k + ROWS * (HD + PAD), *q = v + ROWS * (HD + PAD);
    float *g = q + COLUMNS * (HD + PAD), *p = g + COLUMNS * (HD + PAD);
    float *lse2 = p + ROWS * (COLUMNS + PAD), *delta = lse2 + COLUMNS;
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const float *row = qkv + own.first * stride + own.head * a.head;
    const float *dout_row = dout + own.first * a.width + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    load_tile<HD, ROWS>(k, row + a.width + own.at * stride, stride, own.rows, a);
    load_tile<HD, ROWS>(v, row + 2 * a.width + own.at * stride, stride, own.rows, a);

    float dk[RT][HD / WIDE], dv[RT][HD / WIDE];
    clear<RT, HD / WIDE>(dk);
    clear<RT, HD / WIDE>(dv);
    for (Tile t = next_tile<COLUMNS, true>(0, own, block, mine); t.columns;
         t = next_tile<COLUMNS, true>(t.at + COLUMNS, own, block, mine)) {
        __syncthreads(); /* the tile before has been read */
        load_tile<HD, COLUMNS>(q, row + t.at * stride, stride, t.columns, a);
        load_tile<HD, COLUMNS>(g, dout_row + t.at * a.width, a.width, t.columns, a);
        load_statistics<COLUMNS>(lse2, delta, all_lse, all_delta, own.first + t.at, t.columns,
                                 own.head, a);
        __syncthreads();
        float s[RT][CT], ds[RT][CT]; /* transposed: rows are keys */
        dot<HD, RT, COLUMNS>(s, k, q);
        dot<HD, RT, COLUMNS>(ds, v, g);
        if (t.sees == SOME || t.columns < COLUMNS)
            hide<RT, COLUMNS, true>(s, t.sees == SOME ? block + own.at : NULL, block + t.at,
                                    own.rows, t.columns);
#pragma unroll
        for (int j = 0; j < CT; j++) {
            float its_lse2 = lse2[my_column() + j * WIDE],
                  its_delta = delta[my_column() + j * WIDE];
#pragma unroll
            for (int i = 0; i < RT; i++) {
                s[i][j] = exp2f(s[i][j] * a.scale2 - its_lse2);
                ds[i][j] = s[i][j] * (ds[i][j] - its_delta);
            }
        }
        share<RT, COLUMNS>(p, s);
        accumulate<HD, RT, COLUMNS>(dv, p, g, t.columns);
        share<RT, COLUMNS>(p, ds);
        accumulate<HD, RT, COLUMNS>(dk, p, q, t.columns);
    }

    float one[RT], scale[RT];
    for (int i = 0; i < RT; i++) {
        one[i] = 1;
        scale[i] = a.scale;
    }
    float *to = dqkv + (own.first + own.at) * stride + own.head * a.head;
    store_rows<HD, RT>(to + a.width, stride, dk, scale, own.rows, a);
    store_rows<HD, RT>(to + 2 * a.width, stride, dv, one, own.rows, a);
}

/* ---- dQ ---- */

template <int HD, int RT, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    dq_kernel(float *dqkv, const float *dout, const float *qkv, const float *all_lse,
              const float *all_delta, const Ragged a) {
    constexpr int ROWS = DEEP * RT, CT = COLUMNS / WIDE;
    CUDA_SHARED_DYNAMIC(float, shared);
    float *q = shared, *g = q + ROWS * (HD + PAD), *k = g + ROWS * (HD + PAD);
    float *v = k + COLUMNS * (HD + PAD), *p = v + COLUMNS * (HD + PAD);
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const float *row = qkv + own.first * stride + own.head * a.head;
    const float *dout_row = dout + (own.first + own.at) * a.width + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    load_tile<HD, ROWS>(q, row + own.at * stride, stride, own.rows, a);
    load_tile<HD, ROWS>(g, dout_row, a.width, own.rows, a);

    float dq[RT][HD / WIDE], lse2[RT], delta[RT];
    clear<RT, HD / WIDE>(dq);
    for (int i = 0; i < RT; i++) {
        int r = my_row() + i * DEEP;
        int64_t at = (own.first + own.at + r) * a.heads + own.head;
        lse2[i] = r < own.rows ? all_lse[at] * (float)LOG2_E : 0;
        delta[i] = r < own.rows ? all_delta[at] : 0;
    }
    for (Tile t = next_tile<COLUMNS, false>(0, own, block, mine); t.columns;
         t = next_tile<COLUMNS, false>(t.at + COLUMNS, own, block, mine)) {
        __syncthreads(); /* the tile before has been read */
        load_tile<HD, COLUMNS>(k, row + a.width + t.at * stride, stride, t.columns, a);
        load_tile<HD, COLUMNS>(v, row + 2 * a.width + t.at * stride, stride, t.columns, a);
        __syncthreads();
        float s[RT][CT], ds[RT][CT];
        dot<HD, RT, COLUMNS>(s, q, k);
        dot<HD, RT, COLUMNS>(ds, g, v);
        if (t.sees == SOME || t.columns < COLUMNS)
            hide<RT, COLUMNS, false>(s, t.sees == SOME ? block + own.at : NULL, block + t.at,
                                     own.rows, t.columns);
#pragma unroll
        for (int i = 0; i < RT; i++)
#pragma unroll
            for (int j = 0; j < CT; j++)
                ds[i][j] = exp2f(s[i][j] * a.scale2 - lse2[i]) * (ds[i][j] - delta[i]);
        share<RT, COLUMNS>(p, ds);
        accumulate<HD, RT, COLUMNS>(dq, p, k, t.columns);
    }

    float scale[RT];
    for (int i = 0; i < RT; i++)
        scale[i] = a.scale;
    store_rows<HD, RT>(dqkv + (own.first + own.at) * stride + own.head * a.head, stride, dq, scale,
                       own.rows, a);
}

/* ---- launching ---- */

template <int HD, int RT, int COLUMNS>
static void launch(float *dqkv, const float *dout, const float *qkv, const float *lse,
                   const float *delta, Ragged a, int longest, int64_t sequences, Device *device) {
    constexpr int ROWS = DEEP * RT;
    size_t bytes = sizeof(float) * (2 * (ROWS + COLUMNS) * (HD + PAD) + ROWS * (COLUMNS + PAD));
    size_t statistics = sizeof(float) * 2 * COLUMNS;
    a.tiles = (longest + ROWS - 1) / ROWS;
    unsigned blocks = blocks_for(sequences * a.heads * a.tiles, 1);
    allow_shared((const void *)dk_dv_kernel<HD, RT, COLUMNS>, bytes + statistics, device);
    CUDA_LAUNCH((dk_dv_kernel<HD, RT, COLUMNS>), blocks, THREADS, bytes + statistics, device, dqkv,
                dout, qkv, lse, delta, a);
    allow_shared((const void *)dq_kernel<HD, RT, COLUMNS>, bytes, device);
    CUDA_LAUNCH((dq_kernel<HD, RT, COLUMNS>), blocks, THREADS, bytes, device, dqkv, dout, qkv, lse,
                delta, a);
}

extern "C" void cuda_attention_float32_backward(Activation *dqkv_, const Activation *dout_,
                                                const Activation *qkv_, const Activation *out,
                                                const float *lse, const int32_t *cu_seqlens,
                                                const int32_t *block, int64_t sequences,
                                                int64_t width, int64_t heads, Device *device) {
    float *dqkv = (float *)dqkv_;
    const float *dout = (const float *)dout_, *qkv = (const float *)qkv_;
    Ragged a;
    int longest;
    if (!ragged_of(&a, &longest, cu_seqlens, block, sequences, width, heads, device))
        return;
    const float *delta = cuda_attention_delta(dout, out, cu_seqlens[sequences], width, heads,
                                              device);
    a.vectors = vectors_fit(qkv, a.head, sizeof *qkv) && vectors_fit(dqkv, a.head, sizeof *dqkv) &&
                vectors_fit(dout, a.head, sizeof *dout);
    if (a.head <= 32)
        launch<32, 8, 64>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else if (a.head <= 64)
        launch<64, 8, 64>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else if (a.head <= 96)
        launch<96, 8, 32>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else
        launch<128, 4, 32>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
}
