/* One token and all others: how alike their features are, and how much of its attention they get.
 *
 *   similarity[n] = <f_q, f_n> / (|f_q| |f_n|)                  f: an encoder's output, after its
 * norm attention[n]  = exp(s_n) / Σ_m exp(s_m),  s_n = <q_q, k_n> / √d   of one block and head, d
 *                   channels a head; queries and keys as they enter the kernel, turned by rotary
 *                   positions where there are any; a row of P in kernels/attention.h
 * The kernel never keeps P; its queries and keys are computed again by a pass that ends with the
 * block, and the row from them, in double precision. Letters: N tokens, R = N rows, or N + 1 where
 * a class token comes first; H heads. */
#ifndef JEPA_EVAL_TOKEN_QUERY_H
#define JEPA_EVAL_TOKEN_QUERY_H

#include "jepa/model.h"

/* similarity[n] of row `query` to each of rows[n][width]; 0 for a row of zeros. */
void token_similarity(float *similarity, const float *rows, int64_t n, int width, int64_t query);

/* attention[n] of row `query` in head `head`, from qkv [n][3][heads][width / heads]. step[n] (or
 * NULL): causal order, the query attends to rows with step[m] <= step[query] (others get 0). */
void token_attention(float *attention, const float *qkv, const int32_t *step, int64_t n, int width,
                     int heads, int head, int64_t query);

/* What a model says of its current input (model_set_input, one sample). The plan: samples 1, no
 * settings. `network` 't' or 'c'. */
typedef struct TokenFeatures {
    int64_t rows;            /* R */
    int width, heads, extra; /* D, H; rows before the first token: 0, or 1 for a class token */
    float *values;           /* [R][D] output of the encoder, after its norm */
    float *qkv;              /* [R][3][H][D/H] of `block` */
    int32_t *step;           /* [R] for token_attention; NULL: all attend to all */
} TokenFeatures;

/* Both passes; block 0 to depth - 1. Free with token_features_free. */
void token_features(TokenFeatures *features, Model *model, char network, int block);
void token_features_free(TokenFeatures *features);

#endif
