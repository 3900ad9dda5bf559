/* Weights that someone else wrote, as one list of tensors under our names (jepa/parameters.h):
 * "encoder.blocks.0.attn.qkv.weight", "predictor.mask_tokens.0", "target_encoder.norm.bias", and
 * for probes "classifier.0.pooler.query_tokens".
 *
 *   .pt, .pth.tar     PyTorch (base/torch_file.h); "module." and "backbone." are left out of names;
 *                     2.1's ema_encoder is the target encoder
 *   .safetensors      the published names
 *   a folder, or its model.safetensors.index.json    Hugging Face: model.safetensors or shards
 *
 * Hugging Face's names of V-JEPA 2 are known wherever they appear: query, key and value become the
 * rows q | k | v of one tensor, mask_tokens [n,1,1,D] becomes n tensors [1,1,D]. A number that the
 * names cannot tell (heads, frames) may stand in a config.json beside the file.
 * Sources: facebookresearch/jepa, vjepa2, ijepa; transformers modeling_vjepa2.py. */
#ifndef JEPA_JEPA_WEIGHTS_FILE_H
#define JEPA_JEPA_WEIGHTS_FILE_H

#include "base/hash.h"
#include "base/torch_file.h"
#include <stdbool.h>

#define WEIGHTS_PARTS 3 /* q, k and v */

/* One piece of a tensor, inside one of the files. */
typedef struct WeightsPart {
    const TorchTensor *torch; /* or */
    const TensorInfo *info;
    int64_t first, count; /* elements of it */
} WeightsPart;

typedef struct WeightsTensor {
    char *name;
    int dims;
    int64_t shape[TENSOR_DIMS]; /* [dims] */
    int64_t count;              /* elements */
    int parts;                  /* one after the other along the first dimension */
    WeightsPart part[WEIGHTS_PARTS];
} WeightsTensor;

/* What lies in the file and belongs to no network, by the first part of its name. */
typedef struct WeightsUnused {
    char *kind;              /* "opt" */
    char *first;             /* name of the first */
    size_t tensors, numbers; /* how many */
} WeightsUnused;

typedef struct WeightsFile {
    char *path;
    const char *format; /* "PyTorch", "safetensors", "Hugging Face" */
    size_t count;
    WeightsTensor *tensors; /* [count], in the order of their names (strcmp) */
    size_t unused_count;
    WeightsUnused *unused; /* [unused_count] */
    char *config_path;     /* of config.json; NULL: there is none */
    struct json_t *config;
    TorchFile torch;
    Safetensors *shards; /* [shard_count] */
    size_t shard_count;
} WeightsFile;

/* Opens and checks; on failure nothing needs closing (it may be). Values are not looked at. Errors:
 * a name that comes twice, a dtype that is no float, query without key and value, shards outside
 * the folder. */
int weights_file_open(WeightsFile *file, const char *path, Error *error);
void weights_file_close(WeightsFile *file);
const WeightsTensor *weights_file_find(const WeightsFile *file, const char *name); /* or NULL */
/* Does a tensor's name begin so? */
bool weights_file_has(const WeightsFile *file, const char *prefix);

/* Copies a tensor into out [tensor->count], in C order, as float32 (F64 to the nearest). Values
 * that are not finite are an error that names the tensor, unless allowed. */
int weights_tensor_floats(float *out, const WeightsTensor *tensor, bool allow_nonfinite,
                          Error *error);

/* A whole number of config.json: 0 leaves *value alone where there is no such key; -1 where it is
 * no whole number of low to high. `other`: another name of it, or NULL. */
int weights_file_config(int *value, const WeightsFile *file, const char *key, const char *other,
                        int low, int high, Error *error);

/* BLAKE2b-256 of the file; of several shards, that of their hashes one after the other. */
int weights_file_hash(Hash *hash, const WeightsFile *file, Error *error);

#endif
