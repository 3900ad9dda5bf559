/* Attention's backward pass on the GPU in bfloat16, on tensor cores. Formulas: kernels/attention.h.
 * The same two kernels as attention_float32_backward.cu; products by attention_mma.h, with P and dS
 * rounded to bfloat16, as PyTorch's and cuDNN's kernels do. All sums are float32. Bound as the
 * forward pass, with 7 d FMAs for each pair of tokens. */
#include "kernels/cuda/attention_mma.h"

/* What a tile of queries brings by dK and dV, in shared memory: Q, dO, lse and delta. */
template <int HD, int COLUMNS> struct Queries {
    Bf16 *q, *g;
    float *lse, *delta;
};

#define QUERIES_BYTES(hd, columns) (2 * (columns) * (((hd) + PAD) * sizeof(Bf16) + sizeof(float)))

template <int HD, int COLUMNS> INLINE Queries<HD, COLUMNS> queries_at(Bf16 *stages, int stage) {
    Queries<HD, COLUMNS> to;
    to.q = stages + stage * (QUERIES_BYTES(HD, COLUMNS) / sizeof(Bf16));
    to.g = to.q + COLUMNS * (HD + PAD);
    to.lse = (float *)(to.g + COLUMNS * (HD + PAD));
    to.delta = to.lse + COLUMNS;
    return to;
}

template <int HD, int COLUMNS>
INLINE void load_queries(Queries<HD, COLUMNS> to, const Bf16 *q, const Bf16 *g, const float *lse,
                         const float *delta, const Tile &t, const Ragged &a) {
    load_tile<HD, COLUMNS>(to.q, q + t.at * 3 * a.width, 3 * a.width, t.columns, a);
    load_tile<HD, COLUMNS>(to.g, g + t.at * a.width, a.width, t.columns, a);
    int i = (int)threadIdx.x % COLUMNS;
    bool is = i < t.columns;
    int64_t at = is ? (int64_t)(t.at + i) * a.heads : 0;
    if (threadIdx.x < COLUMNS)
        copy_later<4>(to.lse + i, lse + at, is);
    else if (threadIdx.x < 2 * COLUMNS)
        copy_later<4>(to.delta + i, delta + at, is);
}

/* ---- dK and dV ---- */

template <int HD, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    dk_dv_kernel(Bf16 *dqkv, const Bf16 *dout, const Bf16 *qkv, const float *all_lse,
                 const float *all_delta, const Ragged a) {
    CUDA_SHARED_DYNAMIC(Bf16, shared);
    Bf16 *k = shared, *v = k + ROWS * (HD + PAD), *stages = v + ROWS * (HD + PAD);
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const Bf16 *row = qkv + own.first * stride + own.head * a.head;
    const Bf16 *dout_row = dout + own.first * a.width + own.head * a.head;
    all_lse += own.first * a.heads + own.head;
    all_delta += own.first * a.heads + own.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    Tile t = next_tile<COLUMNS, true>(0, own, block, mine);
    load_queries(queries_at<HD, COLUMNS>(stages, 0), row, dout_row, all_lse, all_delta, t, a);
    load_tile<HD, ROWS>(k, row + a.width + own.at * stride, stride, own.rows, a);
    load_tile<HD, ROWS>(v, row + 2 * a.width + own.at * stride, stride, own.rows, a);

    float dk[HD / 8][4], dv[HD / 8][4];
    clear<HD / 8>(dk);
    clear<HD / 8>(dv);
    for (int stage = 0; t.columns; stage ^= 1) {
        const Queries<HD, COLUMNS> its = queries_at<HD, COLUMNS>(stages, stage);
        Tile next = next_tile<COLUMNS, true>(t.at + COLUMNS, own, block, mine);
        copies_arrive();
        __syncthreads(); /* this tile is here, the one before has been read */
        if (next.columns)
            load_queries(queries_at<HD, COLUMNS>(stages, stage ^ 1), row, dout_row, all_lse,
                         all_delta, next, a);
        float s[COLUMNS / 8][4], ds[COLUMNS / 8][4]; /* transposed: rows are keys */
        uint32_t rows[HD / 16][4];
        load_rows<HD>(rows, k);
        dot<HD, COLUMNS>(s, rows, its.q);
        load_rows<HD>(rows, v);
        dot<HD, COLUMNS>(ds, rows, its.g);
        if (t.sees == SOME || t.columns < COLUMNS)
            hide<COLUMNS, true>(s, t.sees == SOME ? block + own.at : NULL, block + t.at, own.rows,
                                t.columns);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++) {
            Pack<float, 2> lse = load<float, 2>(its.lse + column_of(n));
            Pack<float, 2> delta = load<float, 2>(its.delta + column_of(n));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[n][i] = power_of_two(s[n][i] * a.scale2 - lse.at[i % 2] * (float)LOG2_E);
                ds[n][i] = s[n][i] * (ds[n][i] - delta.at[i % 2]);
            }
        }
        accumulate<HD, COLUMNS>(dv, s, its.g);
        accumulate<HD, COLUMNS>(dk, ds, its.q);
        t = next;
    }

    const float one[2] = {1, 1}, scale[2] = {a.scale, a.scale};
    Bf16 *to = dqkv + (own.first + own.at) * stride + own.head * a.head;
    store_rows<HD>(to + a.width, stride, dk, scale, own.rows, a);
    store_rows<HD>(to + 2 * a.width, stride, dv, one, own.rows, a);
}

/* ---- dQ ---- */

template <int HD, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    dq_kernel(Bf16 *dqkv, const Bf16 *dout, const Bf16 *qkv, const float *all_lse,
              const float *all_delta, const Ragged a) {
    CUDA_SHARED_DYNAMIC(Bf16, shared);
    Bf16 *q = shared, *g = q + ROWS * (HD + PAD), *stages = g + ROWS * (HD + PAD);
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const Bf16 *row = qkv + own.first * stride + own.head * a.head;
    const Bf16 *dout_row = dout + (own.first + own.at) * a.width + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    Tile t = next_tile<COLUMNS, false>(0, own, block, mine);
    load_keys<HD, COLUMNS>(stages, row, t, a);
    load_tile<HD, ROWS>(q, row + own.at * stride, stride, own.rows, a);
    load_tile<HD, ROWS>(g, dout_row, a.width, own.rows, a);

    float dq[HD / 8][4], lse2[2], delta[2];
    clear<HD / 8>(dq);
    for (int i = 0; i < 2; i++) {
        int64_t at = (own.first + own.at + row_of(i)) * a.heads + own.head;
        lse2[i] = row_of(i) < own.rows ? all_lse[at] * (float)LOG2_E : 0;
        delta[i] = row_of(i) < own.rows ? all_delta[at] : 0;
    }
    for (int stage = 0; t.columns; stage ^= 1) {
        const Bf16 *k = stages + stage * 2 * COLUMNS * (HD + PAD), *v = k + COLUMNS * (HD + PAD);
        Tile next = next_tile<COLUMNS, false>(t.at + COLUMNS, own, block, mine);
        copies_arrive();
        __syncthreads(); /* this tile is here, the one before has been read */
        if (next.columns)
            load_keys<HD, COLUMNS>(stages + (stage ^ 1) * 2 * COLUMNS * (HD + PAD), row, next, a);
        float s[COLUMNS / 8][4], ds[COLUMNS / 8][4];
        uint32_t rows[HD / 16][4];
        load_rows<HD>(rows, q);
        dot<HD, COLUMNS>(s, rows, k);
        load_rows<HD>(rows, g);
        dot<HD, COLUMNS>(ds, rows, v);
        if (t.sees == SOME || t.columns < COLUMNS)
            hide<COLUMNS, false>(s, t.sees == SOME ? block + own.at : NULL, block + t.at, own.rows,
                                 t.columns);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                ds[n][i] = power_of_two(s[n][i] * a.scale2 - lse2[i / 2]) *
                           (ds[n][i] - delta[i / 2]);
        accumulate<HD, COLUMNS>(dq, ds, k);
        t = next;
    }

    const float scale[2] = {a.scale, a.scale};
    store_rows<HD>(dqkv + (own.first + own.at) * stride + own.head * a.head, stride, dq, scale,
                   own.rows, a);
}

/* ---- launching ---- */

template <int HD, int COLUMNS>
static void launch(Bf16 *dqkv, const Bf16 *dout, const Bf16 *qkv, const float *lse,
                   const float *delta, Ragged a, int longest, int64_t sequences, Device *device) {
    size_t own = sizeof(Bf16) * 2 * ROWS * (HD + PAD);
    size_t queries = own + 2 * QUERIES_BYTES(HD, COLUMNS);
    size_t keys = own + sizeof(Bf16) * 4 * COLUMNS * (HD + PAD);
    a.tiles = (longest + ROWS - 1) / ROWS;
    unsigned blocks = blocks_for(sequences * a.heads * a.tiles, 1);
    allow_shared((const void *)dk_dv_kernel<HD, COLUMNS>, queries, device);
    CUDA_LAUNCH((dk_dv_kernel<HD, COLUMNS>), blocks, THREADS, queries, device, dqkv, dout, qkv, lse,
                delta, a);
    allow_shared((const void *)dq_kernel<HD, COLUMNS>, keys, device);
    CUDA_LAUNCH((dq_kernel<HD, COLUMNS>), blocks, THREADS, keys, device, dqkv, dout, qkv, lse,
                delta, a);
}

extern "C" void cuda_attention_bfloat16_backward(Activation *dqkv_, const Activation *dout_,
                                                 const Activation *qkv_, const Activation *out,
                                                 const float *lse, const int32_t *cu_seqlens,
                                                 const int32_t *block, int64_t sequences,
                                                 int64_t width, int64_t heads, Device *device) {
    Bf16 *dqkv = (Bf16 *)dqkv_;
    const Bf16 *dout = (const Bf16 *)dout_, *qkv = (const Bf16 *)qkv_;
    Ragged a;
    int longest;
    if (!ragged_of(&a, &longest, cu_seqlens, block, sequences, width, heads, device))
        return;
    const float *delta = cuda_attention_delta(dout, out, cu_seqlens[sequences], width, heads,
                                              device);
    a.vectors = vectors_fit(qkv, a.head, sizeof *qkv) && vectors_fit(dqkv, a.head, sizeof *dqkv) &&
                vectors_fit(dout, a.head, sizeof *dout);
    if (a.head <= 32)
        launch<32, 64>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else if (a.head <= 64)
        launch<64, 64>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else if (a.head <= 80)
        launch<80, 32>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else if (a.head <= 96)
        launch<96, 32>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
    else
        launch<128, 32>(dqkv, dout, qkv, lse, delta, a, longest, sequences, device);
}
