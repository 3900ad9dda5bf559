/* PyTorch checkpoints (`torch.save` of PyTorch 1.6 and later), read without PyTorch and without
 * running anything that the file says.
 *
 *   <prefix>/data.pkl     the object, as a pickle: dictionaries and lists of tensors and numbers
 *   <prefix>/data/<key>   the bytes of one storage, to which tensors refer by key, offset, strides
 *   <prefix>/byteorder    "little" or absent
 *
 * The object is laid out as two flat lists, tensors and scalars, each with the path of keys that
 * leads to it, joined by '.'; items of lists and tuples count from 0:
 *
 *   {"encoder": {"module.norm.bias": tensor}, "opt": [{"lr": 0.1}]}
 *   -> tensor "encoder.module.norm.bias", scalar "opt.0.lr"
 *
 * Checked: the container (base/zip_store.h), the pickle (base/pickle.h), that each storage is as
 * long as it is said to be, that each tensor lies inside its storage, that paths are unique. Every
 * size is bounded by the file's. Containers without tensors or scalars leave no trace.
 * Source: torch/serialization.py, torch/_utils.py, torch/storage.py (PyTorch 2.5).
 */
#ifndef JEPA_BASE_TORCH_FILE_H
#define JEPA_BASE_TORCH_FILE_H

#include "base/error.h"
#include "base/safetensors.h"
#include "base/zip_store.h"

typedef struct TorchTensor {
    char *path;
    TensorType type;
    int dims;
    int64_t shape[TENSOR_DIMS];   /* [dims] */
    int64_t strides[TENSOR_DIMS]; /* [dims], in elements, >= 0; 0 repeats */
    size_t count;                 /* elements: the product of shape */
    const void *data;             /* the first element, inside the map, maybe unaligned */
} TorchTensor;

typedef enum TorchScalarType {
    TORCH_NONE,
    TORCH_BOOL,
    TORCH_INT,
    TORCH_FLOAT,
    TORCH_TEXT,
    TORCH_OPAQUE /* known by name only: torch.float32, numpy.core.multiarray.scalar, bytes, ... */
} TorchScalarType;

typedef struct TorchScalar {
    char *path;
    TorchScalarType type;
    int64_t integer; /* BOOL (0, 1), INT */
    double number;   /* FLOAT */
    char *text;      /* TEXT; OPAQUE: what it is; NULL otherwise. Zero-terminated, owned */
    size_t length;   /* bytes of text, which may hold zeros */
} TorchScalar;

typedef struct TorchFile {
    size_t count;
    TorchTensor *tensors; /* [count], in the order of the pickle */
    size_t scalar_count;
    TorchScalar *scalars; /* [scalar_count], in the order of the pickle */
    ZipStore store;       /* holds the map */
} TorchFile;

/* Opens and checks the whole file; on failure nothing needs closing (it may be). */
int torch_file_open(TorchFile *file, const char *path, Error *error);
void torch_file_close(TorchFile *file);
const TorchTensor *torch_file_find(const TorchFile *file, const char *path);   /* NULL if absent */
const TorchScalar *torch_file_scalar(const TorchFile *file, const char *path); /* NULL if absent */

/* Copies a tensor into out [tensor->count], in C order, as float32: F32, F16 and BF16 exactly, F64
 * to the nearest; other types are an error. */
int torch_tensor_floats(float *out, const TorchTensor *tensor, Error *error);

#endif
