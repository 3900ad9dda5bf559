/* Attentive probes on frozen tokens, many at once: the published grid of learning rates and weight
 * decays is trained in one pass over the data, every head seeing the same batches.
 *
 *   tokens x[N][D] ─► depth-1 self-attention blocks ─► cross-attention of one learnt query
 *     ─► + query ─► norm, MLP ─► + ─► linear ─► logits[K]
 *
 * Depth 1 (V-JEPA 1): one query, so keys and values need not be computed for every token. With
 * x̂ = (x - mean) / std of each token, which no probe changes,
 *   score[n] = Σ_d x̂[n][d] (γ ∘ W_kᵀ q)[d] + const        the constant falls out of the softmax
 *   Σ_n a[n] v[n] = W_v (γ ∘ Σ_n a[n] x̂[n] + β) + b_v     Σ a = 1
 * so a sequence costs 4 N D (probes · heads) operations forward, as much backward for the query's
 * side, instead of 4 N D² for each probe: two matrix products for all heads of all probes.
 * Depth d (V-JEPA 2: 4): d-1 self-attention blocks on all tokens first, one probe after another.
 *
 * Sources: facebookresearch/jepa and vjepa2 src/models/attentive_pooler.py, evals/
 * video_classification_frozen/eval.py. The cross-attention's output projection is never applied
 * there and is not kept (eval/probe_weights.h). */
#ifndef JEPA_EVAL_ATTENTIVE_H
#define JEPA_EVAL_ATTENTIVE_H

#include "eval/probe_weights.h"
#include "kernels/device.h"

/* Sequences of frozen tokens. What is a sequence is the source's: a clip, or the clips of all
 * segments of a video side by side (attend_across_segments). */
typedef struct TokenSource {
    void *context;
    int64_t count;  /* sequences */
    int64_t tokens; /* N of a sequence */
    int width;      /* D */
    /* Tokens of sequences items[n] into out[n][N][D], host; from one thread. */
    int (*read)(float *out, const int64_t *items, int64_t n, void *context, Error *error);
    /* Before each pass over the data: order[count] are the items in the order in which read will be
     * asked for them, so that they can be made ahead (NULL: ascending); valid during the call.
     * Augmentation on the fly draws the views of this epoch. NULL `begin`: nothing to be told. */
    int (*begin)(int epoch, const int64_t *order, void *context, Error *error);
} TokenSource;

typedef enum AttentiveLoss {
    ATTENTIVE_CLASSES, /* softmax cross-entropy of one class */
    ATTENTIVE_LABELS,  /* sigmoid cross-entropy of each of K labels */
    ATTENTIVE_VALUES   /* Huber loss of K standardised values */
} AttentiveLoss;

typedef struct AttentiveConfig {
    int depth, width, heads, hidden; /* hidden: MLP width; published: 4 width */
    int outputs;                     /* K: classes, labels or values */
    double layernorm_eps;            /* PROBE_LAYERNORM_EPS */
} AttentiveConfig;

#define ATTENTIVE_PROBES_MAX 64

typedef struct AttentiveTraining {
    AttentiveLoss loss;
    int probes;
    double lr[ATTENTIVE_PROBES_MAX], weight_decay[ATTENTIVE_PROBES_MAX];
    double final_weight_decay; /* cosine to this (V-JEPA 1: 1e-6); < 0: constant (V-JEPA 2) */
    bool decay_all;            /* V-JEPA 2: biases and norms too; V-JEPA 1: matrices alone */
    double clip_grad;          /* V-JEPA 1: 1; 0: none */
    double beta1, beta2, eps;  /* 0.9, 0.999, 1e-8 */
    double warmup, epochs;     /* epochs; learning rate: linear, then cosine to 0 */
    int batch;                 /* sequences in a step */
    double huber;              /* δ of ATTENTIVE_VALUES */
    uint64_t seed;             /* initial weights (RANDOM_PROBE) and order */
} AttentiveTraining;

/* The published settings: V-JEPA 1 (depth 1, one probe) and V-JEPA 2 (depth 4, the grid of 20). */
void attentive_published(AttentiveTraining *training, int family);

/* Labels of the sequences: classes[count], or values[count][K] for the other two losses. */
typedef struct AttentiveLabels {
    const int *classes;
    const float *values;
} AttentiveLabels;

typedef struct Attentive Attentive; /* `probes` probes of one config */

/* Fresh weights: truncated normal of std 0.02, output layers of block i divided by sqrt(2 (i + 1)),
 * as published; free with attentive_free. */
int attentive_new(Attentive **probe, const AttentiveConfig *config, int probes, uint64_t seed,
                  Device *device, Error *error);
void attentive_free(Attentive *probe);

/* Trains all probes; losses[probes] of the last epoch. Shows progress. The same seed gives the same
 * bits on any number of threads. */
int attentive_train(Attentive *probe, double *losses, const AttentiveTraining *training,
                    const TokenSource *source, const AttentiveLabels *labels, Error *error);

/* Outputs of every probe for sequences tokens[n][N][D]: out[probes][n][K], before softmax/sigmoid.
 */
void attentive_forward(float *out, Attentive *probe, const float *tokens, int64_t n,
                       int64_t count_tokens);
/* The same for all sequences of a source: out[probes][count][K]. */
int attentive_apply(float *out, Attentive *probe, const TokenSource *source, int batch,
                    Error *error);

/* Weights of one probe, by their published names, and back. `weights` is filled and freed as
 * probe_weights_* say. */
int attentive_get(ProbeWeights *weights, const Attentive *probe, int number, Error *error);
int attentive_set(Attentive *probe, int number, const ProbeWeights *weights, Error *error);

#endif
