/* An attentive probe's weights as a folder:
 *
 *   PROBE/probe.safetensors   float32, published names: pooler.query_tokens [1,Q,D],
 *                             pooler.cross_attention_block.{norm1,norm2,xattn.q,xattn.kv,mlp.fc1,
 *                             mlp.fc2}, pooler.blocks.i.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,
 *                             mlp.fc2}, linear.{weight [classes,D], bias}
 *   PROBE/probe.json          what it is: kind, depth, width, heads, classes, LayerNorm's epsilon,
 *                             where it came from, and the BLAKE2b-256 of the tensor file
 *
 * Depth d: d-1 self-attention blocks over the tokens, then one cross-attention block whose query is
 * learnt. xattn.proj exists in V-JEPA 1's files, is never applied, and is not kept. Sources:
 * facebookresearch/jepa and vjepa2, src/models/attentive_pooler.py. */
#ifndef JEPA_EVAL_PROBE_WEIGHTS_H
#define JEPA_EVAL_PROBE_WEIGHTS_H

#include "jepa/weights_file.h"

#define PROBE_LAYERNORM_EPS 1e-5 /* torch.nn.LayerNorm's own; the encoder has 1e-6 */

typedef struct ProbeTensor {
    char *name;
    int dims;
    int64_t shape[3];
    int64_t count;
    float *values; /* [count] */
} ProbeTensor;

typedef struct ProbeWeights {
    int depth;         /* blocks, the cross-attention block included */
    int width;         /* D: channels of the tokens */
    int heads, hidden; /* of every block; hidden: MLP width */
    int queries;       /* Q: 1 */
    int classes;
    double layernorm_eps;
    char *source; /* "FILE, BLAKE2b-256 ..."; owned */
    size_t count;
    ProbeTensor *tensors; /* [count], in a fixed order */
} ProbeWeights;

/* Takes classifier `number` of a file. Sizes are read from shapes; `heads` 0: config.json's, else
 * 16, which every published probe has. Names that are missing, left over, or of another shape are
 * errors. Free with probe_weights_free, also after a failure. */
int probe_weights_take(ProbeWeights *probe, const WeightsFile *file, int number, int heads,
                       bool allow_nonfinite, Error *error);
void probe_weights_free(ProbeWeights *probe);

/* Every tensor of a probe whose sizes are filled in (depth to layernorm_eps), without values
 * (NULL). ERROR_RUN or ERROR_USAGE: impossible sizes. */
int probe_weights_list(ProbeWeights *probe, Error *error);

/* Writes the folder whole or not at all; it must not exist. */
int probe_weights_save(const char *folder, const ProbeWeights *probe, Error *error);
/* Reads it back; the hash is verified. */
int probe_weights_load(ProbeWeights *probe, const char *folder, Error *error);

const ProbeTensor *probe_weights_find(const ProbeWeights *probe, const char *name); /* or NULL */

#endif
