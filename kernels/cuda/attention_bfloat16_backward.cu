/* Attention's backward pass on the GPU in bfloat16, on tensor cores. Formulas: kernels/attention.h.
 * The same two kernels as attention_float32_backward.cu; products by attention_mma.h, with P and dS
 * rounded to bfloat16, as PyTorch's and cuDNN's kernels do. All sums are float32. */
#include "kernels/cuda/attention_mma.h"

/* ---- dK and dV ---- */

template <int HD, int COLUMNS>
__global__ void __launch_bounds__(THREADS)
    dk_dv_kernel(Bf16 *dqkv, const Bf16 *dout, const Bf16 *qkv, const float *all_lse,
                 const float *all_delta, const Ragged a) {
    CUDA_SHARED_DYNAMIC(Bf16, shared);
    Bf16 *k = shared, *v = k + ROWS * (HD + PAD), *q = v + ROWS * (HD + PAD);
    Bf16 *g = q + COLUMNS * (HD + PAD);
    float *lse2 = (float *)(g + COLUMNS * (HD + PAD)), *delta = lse2 + COLUMNS;
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const Bf16 *row = qkv + own.first * stride + own.head * a.head;
    const Bf16 *dout_row = dout + own.first * a.width + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    load_tile<HD, ROWS>(k, row + a.width + own.at * stride, stride, own.rows, a);
    load_tile<HD, ROWS>(v, row + 2 * a.width + own.at * stride, stride, own.rows, a);

    float dk[HD / 8][4], dv[HD / 8][4];
    clear<HD / 8>(dk);
    clear<HD / 8>(dv);
    for (int at = 0; at < own.count; at += COLUMNS) {
        int columns = own.count - at < COLUMNS ? own.count - at : COLUMNS;
        Visible sees = block ? visible(range_of(block + at, columns), mine) : ALL;
        if (sees == NONE)
            continue;
        __syncthreads(); /* the tile before has been read */
        load_tile<HD, COLUMNS>(q, row + at * stride, stride, columns, a);
        load_tile<HD, COLUMNS>(g, dout_row + at * a.width, a.width, columns, a);
        load_statistics<COLUMNS, THREADS>(lse2, delta, all_lse, all_delta, own.first + at, columns,
                                          own.head, a);
        __syncthreads();
        float s[COLUMNS / 8][4], ds[COLUMNS / 8][4]; /* transposed: rows are keys */
        uint32_t rows[HD / 16][4];
        load_rows<HD>(rows, k);
        dot<HD, COLUMNS>(s, rows, q);
        load_rows<HD>(rows, v);
        dot<HD, COLUMNS>(ds, rows, g);
        if (sees == SOME || columns < COLUMNS)
            hide<COLUMNS, true>(s, sees == SOME ? block + own.at : NULL, block + at, own.rows,
                                columns);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++) {
            Pack<float, 2> its_lse2 = load<float, 2>(lse2 + column_of(n));
            Pack<float, 2> its_delta = load<float, 2>(delta + column_of(n));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[n][i] = exp2f(s[n][i] * a.scale2 - its_lse2.at[i % 2]);
                ds[n][i] = s[n][i] * (ds[n][i] - its_delta.at[i % 2]);
            }
        }
        accumulate<HD, COLUMNS>(dv, s, g);
        accumulate<HD, COLUMNS>(dk, ds, q);
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
    Bf16 *q = shared, *g = q + ROWS * (HD + PAD), *k = g + ROWS * (HD + PAD);
    Bf16 *v = k + COLUMNS * (HD + PAD);
    const Place own = place_of(a, ROWS);
    if (own.rows <= 0)
        return;
    const int64_t stride = 3 * a.width;
    const Bf16 *row = qkv + own.first * stride + own.head * a.head;
    const Bf16 *dout_row = dout + (own.first + own.at) * a.width + own.head * a.head;
    const int32_t *block = a.block ? a.block + own.first : NULL;
    const Range mine = block ? range_of(block + own.at, own.rows) : Range{};
    load_tile<HD, ROWS>(q, row + own.at * stride, stride, own.rows, a);
    load_tile<HD, ROWS>(g, dout_row, a.width, own.rows, a);

    float dq[HD / 8][4], lse2[2], delta[2];
    clear<HD / 8>(dq);
    for (int i = 0; i < 2; i++) {
        int64_t at = (own.first + own.at + row_of(i)) * a.heads + own.head;
        lse2[i] = row_of(i) < own.rows ? all_lse[at] * (float)LOG2_E : 0;
        delta[i] = row_of(i) < own.rows ? all_delta[at] : 0;
    }
    for (int at = 0; at < own.count; at += COLUMNS) {
        int columns = own.count - at < COLUMNS ? own.count - at : COLUMNS;
        Visible sees = block ? visible(mine, range_of(block + at, columns)) : ALL;
        if (sees == NONE)
            continue;
        __syncthreads(); /* the tile before has been read */
        load_tile<HD, COLUMNS>(k, row + a.width + at * stride, stride, columns, a);
        load_tile<HD, COLUMNS>(v, row + 2 * a.width + at * stride, stride, columns, a);
        __syncthreads();
        float s[COLUMNS / 8][4], ds[COLUMNS / 8][4];
        uint32_t rows[HD / 16][4];
        load_rows<HD>(rows, q);
        dot<HD, COLUMNS>(s, rows, k);
        load_rows<HD>(rows, g);
        dot<HD, COLUMNS>(ds, rows, v);
        if (sees == SOME || columns < COLUMNS)
            hide<COLUMNS, false>(s, sees == SOME ? block + own.at : NULL, block + at, own.rows,
                                 columns);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                ds[n][i] = exp2f(s[n][i] * a.scale2 - lse2[i / 2]) * (ds[n][i] - delta[i / 2]);
        accumulate<HD, COLUMNS>(dq, ds, k);
    }

    const float scale[2] = {a.scale, a.scale};
    store_rows<HD>(dqkv + (own.first + own.at) * stride + own.head * a.head, stride, dq, scale,
                   own.rows, a);
}

/* ---- launching ---- */

template <int HD, int COLUMNS>
static void launch(Bf16 *dqkv, const Bf16 *dout, const Bf16 *qkv, const float *lse,
                   const float *delta, Ragged a, int longest, int64_t sequences, Device *device) {
    size_t bytes = sizeof(Bf16) * 2 * (ROWS + COLUMNS) * (HD + PAD);
    size_t statistics = sizeof(float) * 2 * COLUMNS;
    a.tiles = (longest + ROWS - 1) / ROWS;
    unsigned blocks = blocks_for(sequences * a.heads * a.tiles, 1);
    allow_shared((const void *)dk_dv_kernel<HD, COLUMNS>, bytes + statistics, device);
    CUDA_LAUNCH((dk_dv_kernel<HD, COLUMNS>), blocks, THREADS, bytes + statistics, device, dqkv,
                dout, qkv, lse, delta, a);
    allow_shared((const void *)dq_kernel<HD, COLUMNS>, bytes, device);
    CUDA_LAUNCH((dq_kernel<HD, COLUMNS>), blocks, THREADS, bytes, device, dqkv, dout, qkv, lse,
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
