/* Attention of one head without its N x N matrix, forward and backward, for one instruction set:
 * included by attention_<set>.c, see attention_vector.h. After Dao, FlashAttention-2 (arXiv
 * 2307.08691), algorithms 1 and 2.
 *
 * Everything is transposed: a tile of scores is S[keys][queries], so that a vector holds queries.
 * Then the softmax needs no sums across a vector, and of the operands only Q (and dO) have to be
 * turned, once a tile. With c = log2(e)/√d, tile of keys after tile of keys,
 *
 *   forward    S = K Qᵀ                     BLOCK_ROWS keys x a panel of up to 3 vectors of queries
 *              m' = max(m, max_j S c)       the largest score so far of each query
 *              P = 2^(S c - m')
 *              l = l 2^(m - m') + Σ_j P,    Oᵀ = Oᵀ 2^(m - m') + Vᵀ P
 *              at the end O = (Oᵀ / l)ᵀ,    lse = ln(2^m l)
 *   backward   P = 2^(S c - lse log2(e)),   dP = V dOᵀ
 *              dS = P (dP - delta),         delta_i = Σ_d dO_i O_i
 *              dV += P dO,  dK += dS Q,  dQᵀ += Kᵀ dS;  dQ and dK times 1/√d at the end
 *
 * A part of the forward pass is up to FORWARD_QUERIES queries of one head; a packed tile of keys is
 * read by all of its panels while it is in the second-level cache, a panel's scores (keys x 3
 * vectors) stay in the first. The backward pass takes a whole head: outside tiles of queries with
 * their dQᵀ, inside tiles of keys, whose dK and dV are sums in scratch memory.
 *
 * Every sum has one order, given by these tiles: along a tile, then over the tiles as they come. */
#ifndef JEPA_KERNELS_CPU_ATTENTION_FLASH_H
#define JEPA_KERNELS_CPU_ATTENTION_FLASH_H

#include "kernels/cpu/attention_pack.h"
#include <math.h>

#define LOG2_E 1.44269504088896341
#define LN_2   0.693147180559945309

/* Scratch memory is handed out in whole cache lines; cpu_attention_scratch adds the same sizes. */
INLINE void *take(char **scratch, int64_t words) {
    void *memory = *scratch;
    *scratch += attention_round_up(words, 16) * 4;
    return memory;
}

/* ---- causal order ---- */

typedef struct Range {
    int32_t least, most;
} Range;

INLINE Range range_of(const int32_t *block, int64_t count) {
    Range r = {INT32_MAX, INT32_MIN};
    for (int64_t i = 0; block && i < count; i++) {
        r.least = block[i] < r.least ? block[i] : r.least;
        r.most = block[i] > r.most ? block[i] : r.most;
    }
    return r;
}

typedef enum Visible { NONE, SOME, ALL } Visible;

/* What queries see of keys. */
INLINE Visible visible(const int32_t *block, Range queries, Range keys) {
    return !block || keys.most <= queries.least ? ALL : keys.least <= queries.most ? SOME : NONE;
}

/* Scores of keys that a query may not see become -inf: probability 0. */
static void hide_later(float *s, int64_t row, const int32_t *key_block, const int32_t *query_block,
                       int64_t keys, int64_t queries) {
    for (int64_t j = 0; j < keys; j++, s += row)
        for (int64_t i = 0; i < queries; i += LANES) {
            Integers later = key_block[j] > *(const Integers *)(query_block + i);
            store(s + i, choose(later, splat(-INFINITY), load(s + i)));
        }
}

/* Blocks of `queries` queries, and of the columns that fill the last vector. */
static void copy_blocks(int32_t *to, const int32_t *block, int64_t queries) {
    for (int64_t i = 0; block && i < attention_round_up(queries, 16); i++)
        to[i] = block[i < queries ? i : queries - 1];
}

/* ---- forward ---- */

/* S[keys][vectors] to P in place; most, sum and factor = 2^(old most - new most) for each query. */
INLINE void online_softmax_panel(float *s, int64_t keys, float *most, float *sum, float *factor,
                                 float c, int vectors) {
    Vector top[2][BLOCK_VECTORS], total[BLOCK_VECTORS];
    int64_t row = vectors * LANES, j = 0;
    EACH(v, vectors) {
        top[0][v] = top[1][v] = splat(-INFINITY);
        total[v] = (Vector){0};
    }
    for (; j + 2 <= keys; j += 2) {
        EACH(v, vectors) {
            top[0][v] = maximum(load(s + j * row + v * LANES), top[0][v]);
            top[1][v] = maximum(load(s + (j + 1) * row + v * LANES), top[1][v]);
        }
    }
    EACH(v, vectors) {
        if (j < keys)
            top[0][v] = maximum(load(s + j * row + v * LANES), top[0][v]);
        Vector before = load(most + v * LANES);
        top[0][v] = maximum(maximum(top[0][v], top[1][v]) * c, before);
        store(most + v * LANES, top[0][v]);
        store(factor + v * LANES, exp2_vector(before - top[0][v]));
    }
    for (j = 0; j < keys; j++, s += row) {
        EACH(v, vectors) {
            Vector p = exp2_vector(load(s + v * LANES) * c - top[0][v]);
            total[v] += p;
            store(s + v * LANES, p);
        }
    }
    EACH(v, vectors) {
        store(sum + v * LANES, load(sum + v * LANES) * load(factor + v * LANES) + total[v]);
    }
}

static void online_softmax(float *s, int64_t keys, float *most, float *sum, float *factor, float c,
                           int64_t vectors) {
    if (vectors == 3)
        online_softmax_panel(s, keys, most, sum, factor, c, 3);
    else if (vectors == 2)
        online_softmax_panel(s, keys, most, sum, factor, c, 2);
    else
        online_softmax_panel(s, keys, most, sum, factor, c, 1);
}

/* p[WORDS(keys)][queries]: float32 as it is, or pairs of neighbouring rows */
static const Word *pair_rows(Word *to, int64_t ldt, const float *p, int64_t ldp, int64_t keys,
                             int64_t queries) {
#if PAIRS
    for (int64_t j = 0; j < keys; j += 2, p += 2 * ldp)
        for (int64_t i = 0; i < queries; i += LANES) {
            Vector next = j + 1 < keys ? load(p + ldp + i) : (Vector){0};
            Bits low = __builtin_convertvector(to_halves(load(p + i)), Bits);
            Bits high = __builtin_convertvector(to_halves(next), Bits);
            *(Bits *)(to + j / 2 * ldt + i) = low | high << 16;
        }
    return to;
#else
    (void)to, (void)ldt, (void)ldp, (void)keys, (void)queries;
    return (const Word *)p;
#endif
}

/* p[keys][WORDS(queries)]: float32 as it is, or pairs of neighbours in a row */
static const Word *pair_columns(Word *to, int64_t ldt, const float *p, int64_t ldp, int64_t keys,
                                int64_t queries) {
#if PAIRS
    for (int64_t j = 0; j < keys; j++, p += ldp)
        for (int64_t i = 0; i < queries; i += LANES)
            *(Halves *)((uint16_t *)(to + j * ldt) + i) = to_halves(load(p + i));
    return to;
#else
    (void)to, (void)ldt, (void)ldp, (void)keys, (void)queries;
    return (const Word *)p;
#endif
}

/* rows[queries][d] of words to panels[vectors][d]: panel after panel of a few vectors */
static void pack_panels(Word *panels, const Word *rows, int64_t row, int64_t queries, int64_t words,
                        int64_t step) {
    for (int64_t i = 0, width; i < queries; i += width) {
        width = column_vectors((queries - i + LANES - 1) / LANES) * LANES;
        transpose(panels + i * step, width, rows + i * row, row, width, words);
    }
}

#define EXPORT_(a, b) a##b
#define EXPORT(a, b)  EXPORT_(a, b)

AttentionForwardPart EXPORT(attention_forward_, SET);
AttentionBackwardPart EXPORT(attention_backward_, SET);

void EXPORT(attention_forward_, SET)(Activation *out, float *lse, const AttentionHead *h,
                                     int64_t first, int64_t queries, void *scratch) {
    int64_t d = h->head, row = attention_row(d), words = WORDS(d), deep = attention_round_up(d, 4);
    float c = (float)(LOG2_E / sqrt((double)d));
    char *memory = scratch;
    Word *k_rows = take(&memory, FORWARD_KEYS * row),
         *v_columns = take(&memory, FORWARD_KEYS * row);
    float *o = take(&memory, FORWARD_QUERIES * row); /* first Q */
    Word *q_panels = take(&memory, FORWARD_QUERIES * deep);
    float *o_panels = take(&memory, FORWARD_QUERIES * deep);
    float *s = take(&memory, FORWARD_KEYS * BLOCK_VECTORS * 16);
    Word *pairs = take(&memory, FORWARD_KEYS * BLOCK_VECTORS * 16);
    float *most = take(&memory, FORWARD_QUERIES), *sum = take(&memory, FORWARD_QUERIES);
    int32_t *query_block = take(&memory, FORWARD_QUERIES);
    float factor[BLOCK_VECTORS * LANES];
    (void)pairs;

    pack_rows((Word *)o, row, activation_of(h->q, first * h->stride, h->precision), h->stride,
              queries, d, h->precision);
    pack_panels(q_panels, (const Word *)o, row, queries, words, deep);
    const int32_t *block = h->block ? h->block + first : NULL;
    Range range = range_of(block, queries);
    copy_blocks(query_block, block, queries);
    memset(o_panels, 0, (size_t)(attention_round_up(queries, LANES) * deep) * sizeof *o_panels);
    for (int64_t i = 0; i < attention_round_up(queries, LANES); i++) {
        most[i] = -1e30f; /* finite: a difference to -inf is -inf */
        sum[i] = 0;
    }
    for (int64_t j = 0; j < h->count; j += FORWARD_KEYS) {
        int64_t keys = h->count - j < FORWARD_KEYS ? h->count - j : FORWARD_KEYS;
        const int32_t *key_block = block ? h->block + j : NULL;
        Range key_range = range_of(key_block, keys);
        if (visible(block, range, key_range) == NONE)
            continue;
        pack_rows(k_rows, row, activation_of(h->k, j * h->stride, h->precision), h->stride, keys, d,
                  h->precision);
        pack_columns(v_columns, row, activation_of(h->v, j * h->stride, h->precision), h->stride,
                     keys, d, h->precision);
        for (int64_t i = 0, width; i < queries; i += width) {
            int64_t vectors = column_vectors((queries - i + LANES - 1) / LANES);
            width = vectors * LANES;
            Visible sees = visible(block, range_of(query_block + i, block ? width : 0), key_range);
            if (sees == NONE)
                continue;
            product_of_rows(s, width, k_rows, row, q_panels + i * deep, width, keys, vectors,
                            words);
            if (sees == SOME)
                hide_later(s, width, key_block, query_block + i, keys, width);
            online_softmax(s, keys, most + i, sum + i, factor, c, vectors);
            const Word *p = pair_rows(pairs, width, s, width, keys, width);
            add_product_of_columns_scaled(o_panels + i * deep, width, v_columns, row, p, width, d,
                                          vectors, WORDS(keys), factor);
        }
    }
    for (int64_t i = 0, width; i < queries; i += width) {
        width = column_vectors((queries - i + LANES - 1) / LANES) * LANES;
        float *panel = o_panels + i * deep;
        for (int64_t channel = 0; channel < d; channel++)
            for (int64_t v = 0; v < width; v += LANES)
                store(panel + channel * width + v,
                      load(panel + channel * width + v) / load(sum + i + v));
        transpose(o + i * row, row, panel, width, d, width);
    }
    unpack(out, h->width, o, row, queries, d, 1, h->precision);
    for (int64_t i = 0; i < queries && lse; i++)
        lse[i * h->heads] = (float)(most[i] * LN_2 + log((double)sum[i]));
}

/* ---- backward ---- */

/* forward: P = 2^(S c - lse log2(e)) */
static void probabilities(float *s, int64_t row, const float *lse, float c, int64_t keys,
                          int64_t queries) {
    for (int64_t j = 0; j < keys; j++, s += row)
        for (int64_t i = 0; i < queries; i += LANES)
            store(s + i, exp2_vector(load(s + i) * c - load(lse + i)));
}

/* dS = P (dP - delta) */
static void score_gradients(float *dp, const float *p, int64_t row, const float *delta,
                            int64_t keys, int64_t queries) {
    for (int64_t j = 0; j < keys; j++, dp += row, p += row)
        for (int64_t i = 0; i < queries; i += LANES)
            store(dp + i, load(p + i) * (load(dp + i) - load(delta + i)));
}

/* delta[i] = Σ_d dO_i O_i in double; lse[i] in units of ln(2). Columns beyond the last query get
 * P = 1 and dS = 0, and their rows of Q and dO are zero. */
static void query_constants(float *delta, float *lse2, const float *d_o, const float *o,
                            int64_t row, const float *lse, const AttentionHead *h,
                            int64_t queries) {
    for (int64_t i = 0; i < attention_round_up(queries, 16); i++) {
        double sum[4] = {0};
        for (int64_t c = 0; c < attention_round_up(h->head, 4) && i < queries; c += 4)
            for (int k = 0; k < 4; k++)
                sum[k] += (double)d_o[i * row + c + k] * o[i * row + c + k];
        delta[i] = (float)((sum[0] + sum[1]) + (sum[2] + sum[3]));
        lse2[i] = i < queries ? (float)(lse[i * h->heads] * LOG2_E) : 0;
    }
}

void EXPORT(attention_backward_, SET)(Activation *dq, Activation *dk, Activation *dv,
                                      const Activation *dout, const Activation *out,
                                      const float *lse, const AttentionHead *h, void *scratch) {
    int64_t d = h->head, row = attention_row(d), words = WORDS(d), deep = attention_round_up(d, 4);
    int64_t vectors_d = (d + LANES - 1) / LANES, p_row = attention_row(BACKWARD_QUERIES);
    float scale = (float)(1.0 / sqrt((double)d)), c = (float)(LOG2_E / sqrt((double)d));
    Precision precision = h->precision;
    char *memory = scratch;
    float *dk_sum = take(&memory, h->count * row), *dv_sum = take(&memory, h->count * row);
    Word *q_columns = take(&memory, BACKWARD_QUERIES * row);
    Word *do_columns = take(&memory, BACKWARD_QUERIES * row);
    Word *rows = take(&memory, BACKWARD_QUERIES * row);
    float *o = take(&memory, BACKWARD_QUERIES * row);
    Word *q_panels = take(&memory, BACKWARD_QUERIES * deep);
    Word *do_panels = take(&memory, BACKWARD_QUERIES * deep);
    float *dq_panels = take(&memory, BACKWARD_QUERIES * deep);
    int64_t k_row = attention_row(words), padded = attention_round_up(h->count, 16);
    Word *k_rows = take(&memory, padded * k_row), *v_rows = take(&memory, padded * k_row);
    Word *k_columns = PAIRS ? take(&memory, WORDS(padded) * row) : k_rows;
    float *p = take(&memory, BACKWARD_KEYS * p_row), *ds = take(&memory, BACKWARD_KEYS * p_row);
    Word *pairs = take(&memory, BACKWARD_KEYS * p_row);
    float *delta = take(&memory, BACKWARD_QUERIES), *lse2 = take(&memory, BACKWARD_QUERIES);
    int32_t *query_block = take(&memory, BACKWARD_QUERIES);

    memset(dk_sum, 0, (size_t)(h->count * row) * sizeof *dk_sum);
    memset(dv_sum, 0, (size_t)(h->count * row) * sizeof *dv_sum);
    pack_rows(k_rows, k_row, h->k, h->stride, h->count, d, precision);
    pack_rows(v_rows, k_row, h->v, h->stride, h->count, d, precision);
    if (PAIRS)
        pack_columns(k_columns, row, h->k, h->stride, h->count, d, precision);
    for (int64_t first = 0; first < h->count; first += BACKWARD_QUERIES) {
        int64_t queries = h->count - first < BACKWARD_QUERIES ? h->count - first : BACKWARD_QUERIES;
        int64_t q_at = first * h->stride, o_at = first * h->width;
        int64_t columns = attention_round_up(queries, LANES);
        const Activation *q = activation_of(h->q, q_at, precision);
        const Activation *d_o = activation_of(dout, o_at, precision);
        pack_columns(q_columns, row, q, h->stride, queries, d, precision);
        pack_columns(do_columns, row, d_o, h->width, queries, d, precision);
        if (PAIRS)
            pack_rows(rows, row, q, h->stride, queries, d, precision);
        pack_panels(q_panels, PAIRS ? rows : q_columns, row, queries, words, deep);
        if (PAIRS)
            pack_rows(rows, row, d_o, h->width, queries, d, precision);
        pack_panels(do_panels, PAIRS ? rows : do_columns, row, queries, words, deep);
        if (PAIRS)
            pack_floats((float *)(void *)rows, row, d_o, h->width, queries, d, precision);
        pack_floats(o, row, activation_of(out, o_at, precision), h->width, queries, d, precision);
        query_constants(delta, lse2, PAIRS ? (float *)(void *)rows : (float *)(void *)do_columns, o,
                        row, lse + first * h->heads, h, queries);
        memset(dq_panels, 0, (size_t)(columns * deep) * sizeof *dq_panels);
        const int32_t *block = h->block ? h->block + first : NULL;
        Range range = range_of(block, queries);
        copy_blocks(query_block, block, queries);

        for (int64_t j = 0; j < h->count; j += BACKWARD_KEYS) {
            int64_t keys = h->count - j < BACKWARD_KEYS ? h->count - j : BACKWARD_KEYS;
            const int32_t *key_block = block ? h->block + j : NULL;
            Visible sees = visible(block, range, range_of(key_block, keys));
            if (sees == NONE)
                continue;
            /* forward: S = K Qᵀ, P = 2^(S c - lse log2(e)) */
            for (int64_t i = 0, vectors; i < columns; i += vectors * LANES) {
                vectors = column_vectors((columns - i) / LANES);
                product_of_rows(p + i, p_row, k_rows + j * k_row, k_row, q_panels + i * deep,
                                vectors * LANES, keys, vectors, words);
                product_of_rows(ds + i, p_row, v_rows + j * k_row, k_row, do_panels + i * deep,
                                vectors * LANES, keys, vectors, words);
            }
            if (sees == SOME)
                hide_later(p, p_row, key_block, query_block, keys, columns);
            probabilities(p, p_row, lse2, c, keys, columns);
            score_gradients(ds, p, p_row, delta, keys, columns);
            /* forward: O = P V, S = K Qᵀ  =>  dV += P dO, dK += dS Q, dQᵀ += Kᵀ dS */
            const Word *a = pair_columns(pairs, p_row, p, p_row, keys, columns);
            add_product_of_rows(dv_sum + j * row, row, a, p_row, do_columns, row, keys, vectors_d,
                                WORDS(queries));
            a = pair_columns(pairs, p_row, ds, p_row, keys, columns);
            add_product_of_rows(dk_sum + j * row, row, a, p_row, q_columns, row, keys, vectors_d,
                                WORDS(queries));
            a = pair_rows(pairs, p_row, ds, p_row, keys, columns);
            for (int64_t i = 0, vectors; i < columns; i += vectors * LANES) {
                vectors = column_vectors((columns - i) / LANES);
                add_product_of_columns(dq_panels + i * deep, vectors * LANES,
                                       k_columns + WORDS(j) * row, row, a + i, p_row, d, vectors,
                                       WORDS(keys));
            }
        }
        for (int64_t i = 0, width; i < queries; i += width) {
            width = column_vectors((queries - i + LANES - 1) / LANES) * LANES;
            transpose(o + i * row, row, dq_panels + i * deep, width, d, width);
        }
        unpack((char *)dq + q_at * (int64_t)activation_size(precision), h->stride, o, row, queries,
               d, scale, precision);
    }
    unpack(dk, h->stride, dk_sum, row, h->count, d, scale, precision);
    unpack(dv, h->stride, dv_sum, row, h->count, d, 1, precision);
}

#endif
