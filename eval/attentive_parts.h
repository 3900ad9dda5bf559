/* What the files of the attentive probes share (eval/attentive*.c). Not for others.
 *
 * Letters: as in eval/attentive.h; n sequences of a chunk, G probes that are computed side by side
 * (depth 1: all of them; else one), Q = G H rows of queries. */
#ifndef JEPA_EVAL_ATTENTIVE_PARTS_H
#define JEPA_EVAL_ATTENTIVE_PARTS_H

#include "eval/attentive.h"
#include "jepa/transformer.h"

#define PROBE_HEADS_MAX 128

/* Where a probe's tensors are, in elements of its weights. */
typedef struct ProbeOffsets {
    int64_t query, norm1_w, norm1_b, q_w, q_b, kv_w, kv_b;
    int64_t norm2_w, norm2_b, fc1_w, fc1_b, fc2_w, fc2_b, linear_w, linear_b;
} ProbeOffsets;

/* What a probe's rows after the pooling need; one for each lane. */
typedef struct HeadScratch {
    float *z, *dz;             /* [n][D] what one head's values are made of */
    float *part;               /* [n][D/H] values of one head, and their gradient */
    float *sum, *mean, *rstd;  /* [n][D], [n] r = t + y and its statistics */
    float *norm, *dnorm;       /* [n][D] */
    float *hidden, *activated; /* [n][F] before and after GELU */
    float *dhidden;            /* [n][F] */
    float *out, *dout;         /* [n][D] */
    float *logits, *dlogits;   /* [n][K] */
    double *affine;            /* [2][D] sums of the gradients of norm1 */
    float *dquery, *dtoken;    /* [D] of the folded query, [D] */
    double *squares;           /* [blocks of a probe's gradients] */
} HeadScratch;

/* Planned memory of a pass. */
typedef struct AttentiveWork {
    void *memory;         /* NULL: not planned */
    int64_t tokens, most; /* N; sequences that were asked for */
    int64_t sequences;    /* n that fit */
    bool training;
    /* queries of all probes */
    float *query;           /* [P][D] q */
    float *folded, *u, *du; /* [P H][D] W_kᵀ q; γ ∘ W_kᵀ q / √(D/H); its gradient over a batch */
    /* a chunk */
    float *x;                /* [n][N][D] tokens; depth 1: normalised in place */
    float *normed;           /* [n][N][D] x̂; depth 1: x */
    float *attention;        /* [n][Q][N] a, then the gradient of the scores */
    float *dattention;       /* [lanes][Q][N] */
    float *pooled, *dpooled; /* [n][Q][D] Σ a x̂ and its gradient, then that of u */
    HeadScratch *head;       /* [lanes] */
    double *losses;          /* [P] of a batch */
    /* self-attention blocks */
    int32_t *cu; /* [n + 1] */
    StackActivations stack;
    StackScratch scratch;
    float *mean, *rstd;  /* [n N] of norm1's input */
    float *dx, *dnormed; /* [n][N][D] */
    float *ones, *spare; /* [D], [2][D] an affine part that is not there */
} AttentiveWork;

struct Attentive {
    AttentiveConfig config;
    int probes;
    Device *given;  /* the caller's, or own */
    Device *own;    /* opened here where the caller's is not on the host; or NULL */
    Device *device; /* given's float32 form */
    Device **lanes; /* [lane_count] one thread each: what sequences, or probes, do side by side */
    int lane_count;
    ProbeWeights table;     /* names and shapes, without values */
    int64_t *offset;        /* [table.count] of each tensor */
    int64_t decayed, total; /* elements: V-JEPA 1 decays the first `decayed` of `total` */
    ProbeOffsets at;
    BlockOffsets *blocks; /* [depth - 1] */
    float *weights;       /* [P][total] */
    float *gradients;     /* [P][total]; NULL until they are wanted */
    size_t chunk_bytes;   /* ATTENTIVE_CHUNK_BYTES; tests have less */
    AttentiveWork work;
};

static inline float *probe_weights_at(const Attentive *a, int probe) {
    return a->weights + probe * a->total;
}
static inline float *probe_gradients_at(const Attentive *a, int probe) {
    return a->gradients + probe * a->total;
}
static inline int attentive_together(const Attentive *a) {
    return a->config.depth == 1 ? a->probes : 1; /* G */
}
static inline StackShape attentive_stack(const Attentive *a) {
    const AttentiveConfig *c = &a->config;
    return (StackShape){.depth = c->depth - 1,
                        .width = c->width,
                        .heads = c->heads,
                        .hidden = c->hidden,
                        .eps = c->layernorm_eps};
}

/* What a chunk is for. */
typedef struct ProbePass {
    int64_t n;                     /* sequences */
    const int64_t *items;          /* [n] whose labels */
    const AttentiveLabels *labels; /* NULL: no loss */
    AttentiveLoss loss;
    double huber;
    double share; /* of a sequence in the loss: 1 / batch */
    bool backward;
    float *out;         /* [P][stride][K], the chunk's rows of it; NULL: not wanted */
    int64_t out_stride; /* sequences */
} ProbePass;

/* eval/attentive_weights.c: the table, initial weights, their memory. */
int attentive_lay_out(Attentive *a, Error *error);
void attentive_init(Attentive *a, uint64_t seed);
int attentive_register(Attentive *a, Error *error); /* linear layers of the blocks */
int attentive_take(float **memory, const Attentive *a, int copies, Error *error);

/* eval/attentive_work.c: plans and takes the memory of passes over up to `most` sequences of
 * `tokens` tokens; nothing where it is there already. Gradients too for training. */
int attentive_plan(Attentive *a, int64_t tokens, int64_t most, bool training, Error *error);
void attentive_release(Attentive *a);

/* eval/attentive_query.c. q, folded and u of a probe; and, from du, the gradients of W_q, b_q, W_k,
 * γ and the query. */
void query_fold(Attentive *a, int probe, Device *lane);
void query_fold_backward(Attentive *a, int probe, HeadScratch *scratch, Device *lane);
/* pooled[Q][D] and attention[Q][N] from normed[N][D] and u[Q][D]. */
void query_pool(float *pooled, float *attention, const float *normed, const float *u,
                int64_t queries, int64_t tokens, int64_t width, Device *lane);
/* dpooled[Q][D] becomes du; attention[Q][N] the gradient of the scores. dnormed[N][D] is
 * overwritten; NULL: not wanted. dattention[Q][N] is scratch. */
void query_pool_backward(float *dpooled, float *dnormed, float *attention, float *dattention,
                         const float *pooled, const float *normed, const float *u, int64_t queries,
                         int64_t tokens, int64_t width, Device *lane);

/* eval/attentive_head.c: from pooled[n][Q][D], where the probe's heads begin at row `first`, to its
 * outputs and its loss; and back to dpooled. */
void head_run(Attentive *a, int probe, int64_t first, HeadScratch *scratch, const ProbePass *pass,
              Device *device);

/* eval/attentive_loss.c: Σ over rows of the loss; dlogits[n][K] = share · its gradient, unless
 * NULL. */
double attentive_loss(float *dlogits, const float *logits, int64_t outputs, const ProbePass *pass);
int attentive_check_labels(const AttentiveLabels *labels, AttentiveLoss loss, int64_t count,
                           int64_t outputs, Error *error);

/* eval/attentive_blocks.c: x[n][N][D] through the blocks of a probe into normed; and back, from
 * dnormed to the blocks' gradients. */
void blocks_forward(Attentive *a, int probe, int64_t n);
void blocks_backward(Attentive *a, int probe, int64_t n);

/* eval/attentive.c: the sequences in work.x, n of them, through all probes. Before the first chunk
 * of a batch gradients and losses are set to zero and queries folded; after the last the folding
 * is taken back. */
void attentive_begin(Attentive *a, bool backward);
void attentive_chunk(Attentive *a, const ProbePass *pass);
void attentive_end(Attentive *a);

#endif
