/* A feature store for other programs: .npy files or one safetensors file, written piece by piece,
 * each whole or not at all.
 *
 *   tokens   features [clips][N][D]; clip = (video · segments + segment) · views + view
 *   pooled   features [videos][D], the mean of all clips of a video
 *   labels   [clips] or [videos], int64: the class of each row of features; -1: none
 *   videos   JSON: names in order, class names, videos left out, and what the features depend on
 *
 * Videos that could not be decoded are left out. Numbers stay as they are stored, with two
 * exceptions that are float32: means over several clips, and bfloat16 in .npy, which NumPy does not
 * know. In names, bytes that are no UTF-8 text are written as Python's surrogateescape has them. */
#ifndef JEPA_EVAL_STORE_EXPORT_H
#define JEPA_EVAL_STORE_EXPORT_H

#include "eval/store.h"

/* What was written, for a person. */
typedef struct StoreExport {
    int dims;
    int64_t shape[3]; /* [dims] of the features */
    const char *type; /* "float16", ... */
    const char *what; /* "a row is the mean of a video's clips", ... */
    int64_t left_out; /* videos */
} StoreExport;

/* folder/features.npy, labels.npy, videos.json; the folder must not exist. */
int store_export_npy(StoreExport *exported, const Store *store, const char *folder, Error *error);
/* One file, which must not exist, with tensors features, labels, and videos (the JSON's bytes). */
int store_export_safetensors(StoreExport *exported, const Store *store, const char *path,
                             Error *error);

#endif
