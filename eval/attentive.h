/* Attentive probes on frozen tokens, many at once: the published grid of learning rates and weight
 * decays is trained in one pass over the data, every probe seeing the same batches.
 *
 *   tokens x[N][D] ─► depth-1 self-attention blocks ─► cross-attention of one learnt query t
 *     ─► r = t + y ─► r + MLP(norm2(r)) ─► linear ─► logits[K]
 *
 *   cross-attention: q = W_q t + b_q (t is not normalised), k and v from norm1(x), heads of D/H
 *   channels, softmax of q·k / √(D/H), and no projection of the output
 *   (eval/probe_weights.h); LayerNorm's epsilon is 1e-5 everywhere.
 *
 * Depth 1 (V-JEPA 1): one query, so keys and values need not be computed for every token. With
 * x̂ = (x - mean) / std of each token, which no probe changes,
 *   score[n] = x̂[n] · u + const,   u = γ ∘ W_kᵀ q / √(D/H)    the constant leaves the softmax
 *   Σ_n a[n] v[n] = W_v (γ ∘ Σ_n a[n] x̂[n] + β) + b_v         Σ a = 1
 * for each head, so a sequence costs 4 N D (probes · heads) operations forward and as many backward
 * instead of 4 N D² each way for each probe: two matrix products for all heads of all probes, and x̂
 * is computed once. The bias of the keys, being part of the constant, has the gradient 0.
 * Depth d (V-JEPA 2: 4): d-1 self-attention blocks on all tokens first (jepa/transformer.h, without
 * positions), one probe after another, then the same.
 *
 * Everything is float32 in the host's memory: where the device given is not on the host, probes
 * open a CPU device of their own. Memory: weights for good; gradients and two moments while
 * training; activations of as many sequences as fit ATTENTIVE_CHUNK_BYTES, at least one, through
 * which a batch goes in turn. All of it is planned and compared with what is free before it is
 * taken.
 *
 * Sources: facebookresearch/jepa and vjepa2 src/models/attentive_pooler.py, src/models/utils/
 * modules.py, evals/video_classification_frozen/eval.py.
 * Letters: N tokens of a sequence, D width, H heads, F hidden, K outputs, P probes. */
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
    ATTENTIVE_LABELS,  /* sigmoid cross-entropy of each of K labels, mean over them */
    ATTENTIVE_VALUES   /* Huber loss of K standardised values, mean over them */
} AttentiveLoss;

typedef struct AttentiveConfig {
    int depth, width, heads, hidden; /* hidden: MLP width; published: 4 width */
    int outputs;                     /* K: classes, labels or values */
    double layernorm_eps;            /* PROBE_LAYERNORM_EPS */
} AttentiveConfig;

#define ATTENTIVE_PROBES_MAX  64
#define ATTENTIVE_CHUNK_BYTES ((size_t)512 << 20) /* of activations */

typedef struct AttentiveTraining {
    AttentiveLoss loss;
    int probes;
    double lr[ATTENTIVE_PROBES_MAX], weight_decay[ATTENTIVE_PROBES_MAX];
    double final_weight_decay; /* cosine to this (V-JEPA 1: 1e-6); < 0: constant (V-JEPA 2) */
    bool decay_all;            /* V-JEPA 2: biases and norms too; V-JEPA 1: not what is 1-D */
    double clip_grad;          /* V-JEPA 1: 1; 0: none */
    double beta1, beta2, eps;  /* 0.9, 0.999, 1e-8 */
    double warmup, epochs;     /* epochs; learning rate: linear from 0, then cosine to 0 */
    int batch;                 /* sequences in a step; the last one of an epoch may be shorter */
    double huber;              /* δ of ATTENTIVE_VALUES */
    uint64_t seed;             /* of the order (RANDOM_ORDER); weights: attentive_new */
} AttentiveTraining;

/* The published settings: family 1, V-JEPA 1's (one probe; depth 1), or 2, V-JEPA 2's (the grid of
 * 20; depth 4). Batch 256: 64 GPUs of 4 videos. */
void attentive_published(AttentiveTraining *training, int family);

/* Labels of the sequences: classes[count] in 0..K-1, or values[count][K] for the other two losses
 * (labels: 0 to 1). */
typedef struct AttentiveLabels {
    const int *classes;
    const float *values;
} AttentiveLabels;

typedef struct Attentive Attentive; /* `probes` probes of one config */

/* The config of weights that were loaded or imported. */
static inline AttentiveConfig attentive_config(const ProbeWeights *w) {
    return (AttentiveConfig){w->depth, w->width, w->heads, w->hidden, w->classes, w->layernorm_eps};
}

/* Fresh weights, as published: truncated normal of std 0.02 (matrices and query), attn.proj and
 * mlp.fc2 of block i divided by sqrt(2 (i + 1)), where the cross-attention's block counts as the
 * last before it; biases 0, norms 1; `linear` uniform within ± 1/sqrt(D), as PyTorch starts it. All
 * probes start alike, so that settings alone tell them apart, and a probe does not depend on those
 * beside it. `device` stays the caller's. ERROR_USAGE: impossible sizes; ERROR_RUN: no memory. Free
 * with attentive_free. */
int attentive_new(Attentive **probe, const AttentiveConfig *config, int probes, uint64_t seed,
                  Device *device, Error *error);
void attentive_free(Attentive *probe);

/* Trains all probes; losses[probes]: mean of the last epoch, while it went on. Shows progress. The
 * same seed gives the same bits on any number of threads. A step whose loss or gradient is not
 * finite changes nothing in that probe, and its loss says so. Errors: labels or sizes that do not
 * fit, what the source says, no memory. */
int attentive_train(Attentive *probe, double *losses, const AttentiveTraining *training,
                    const TokenSource *source, const AttentiveLabels *labels, Error *error);

/* Outputs of every probe for sequences tokens[n][N][D]: out[probes][n][K], before softmax/sigmoid.
 */
int attentive_forward(float *out, Attentive *probe, const float *tokens, int64_t n,
                      int64_t count_tokens, Error *error);
/* The same for all sequences of a source, in their order: out[probes][count][K]. Shows progress. */
int attentive_apply(float *out, Attentive *probe, const TokenSource *source, Error *error);

/* One pass forward and backward: losses[probes], the mean over tokens[n][N][D] (n at least 1), and
 * the gradients, which attentive_get_gradients reads. Nothing is updated. */
int attentive_backward(double *losses, Attentive *probe, AttentiveLoss loss, double huber,
                       const float *tokens, const AttentiveLabels *labels, int64_t n,
                       int64_t count_tokens, Error *error);

/* Weights of one probe, by their published names, and back. `weights` is filled and freed as
 * probe_weights_* say. ERROR_USAGE: sizes differ. */
void attentive_get(ProbeWeights *weights, const Attentive *probe, int number);
int attentive_set(Attentive *probe, int number, const ProbeWeights *weights, Error *error);
/* Gradients in the same form, after attentive_backward. */
void attentive_get_gradients(ProbeWeights *gradients, const Attentive *probe, int number);

#endif
