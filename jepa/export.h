/* Checkpoints for other programs: our tensors under the names that they expect.
 *
 *   published     the names of jepa/parameters.h: encoder.*, predictor.*, target_encoder.*; one
 *                 network alone without its prefix
 *   Hugging Face  those of transformers' VJEPA2Model, with its config.json. q, k and v are the
 *                 three parts of qkv's rows; n mask tokens [1,1,D] are one tensor [n,1,1,D]. It has
 *                 one encoder, the context or the target encoder.
 *
 * Values are not touched: exported tensors are views of the mapped checkpoint.
 * Sources: facebookresearch/vjepa2; transformers modeling_vjepa2.py, configuration_vjepa2.py. */
#ifndef JEPA_JEPA_EXPORT_H
#define JEPA_JEPA_EXPORT_H

#include "base/safetensors.h"
#include "jepa/config.h"

/* of tensors in a file: 5 GB, as save_pretrained */
#define EXPORT_SHARD_BYTES ((uint64_t)5000000000)

typedef enum ExportNetwork { EXPORT_ALL, EXPORT_ENCODER, EXPORT_TARGET } ExportNetwork;

typedef struct ExportList {
    size_t count;
    TensorInfo *tensors; /* [count]; names are the list's, data lies in the source */
    float *stacked;      /* mask tokens [n][1][1][D]; or NULL */
} ExportList;

/* The tensors of `networks` (published names, which must outlive the list). Errors: the network is
 * not there. */
int export_published(ExportList *list, const Safetensors *networks, ExportNetwork network,
                     Error *error);

/* Can transformers' VJEPA2Model hold such a model? It knows V-JEPA 2 alone: tiled rotary positions,
 * GELU, square clips, one encoder. Errors (usage) name what does not fit. */
int export_hf_check(const ModelConfig *config, Error *error);
/* The encoder (EXPORT_ALL: the target encoder) and the predictor. export_hf_check must have passed.
 * Errors: tensors that are missing or of another shape than `config` asks for. */
int export_hf(ExportList *list, const Safetensors *networks, const ModelConfig *config,
              ExportNetwork network, Error *error);
/* config.json of it; caller frees. */
char *export_hf_config(const ModelConfig *config);
/* Writes folder/config.json and folder/model.safetensors, or, where the tensors have more than
 * `shard` bytes, model-00001-of-0000N.safetensors and model.safetensors.index.json. No file holds
 * more than `shard` bytes of tensors unless one tensor alone does. The folder must exist. */
int export_hf_write(const char *folder, const ExportList *list, const ModelConfig *config,
                    uint64_t shard, Error *error);

void export_free(ExportList *list);

#endif
