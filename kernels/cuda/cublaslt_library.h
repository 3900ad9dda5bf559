/* cuBLASLt, NVIDIA's library of matrix products, as a table of functions that is filled when a
 * CUDA device is opened (kernels/cuda/library.h); the tests fill the same table with functions of
 * their own (tests/cuda/emulation/cublaslt.c).
 *
 * Versions 13 and 12 serve alike. Every function below has the same prototype in both, and so have
 * the attributes, their numbers and sizes, cublasLtMatmulAlgo_t and
 * cublasLtMatmulHeuristicResult_t. The descriptor of an operation does not (32 words in 13, 23 in
 * 12.0): it is made by the library (...Create), never in memory of our own (...Init). */
#ifndef JEPA_KERNELS_CUDA_CUBLASLT_LIBRARY_H
#define JEPA_KERNELS_CUDA_CUBLASLT_LIBRARY_H

#include "base/error.h"
#include <cublasLt.h>

#define CUBLASLT_FUNCTIONS(X)                                                                      \
    X(Create)                                                                                      \
    X(Destroy)                                                                                     \
    X(GetVersion)                                                                                  \
    X(GetStatusName)                                                                               \
    X(MatmulDescCreate)                                                                            \
    X(MatmulDescDestroy)                                                                           \
    X(MatmulDescSetAttribute)                                                                      \
    X(MatrixLayoutCreate)                                                                          \
    X(MatrixLayoutDestroy)                                                                         \
    X(MatrixLayoutSetAttribute)                                                                    \
    X(MatmulPreferenceCreate)                                                                      \
    X(MatmulPreferenceDestroy)                                                                     \
    X(MatmulPreferenceSetAttribute)                                                                \
    X(MatmulAlgoGetHeuristic)                                                                      \
    X(MatmulAlgoCheck)                                                                             \
    X(MatmulAlgoConfigGetAttribute)                                                                \
    X(Matmul)

typedef struct CublasLt {
    void *library; /* what dlopen gave */
#define MEMBER(name) __typeof__(cublasLt##name) *name;
    CUBLASLT_FUNCTIONS(MEMBER)
#undef MEMBER
} CublasLt;

/* ERROR_RUN where the library is missing or too old. */
int cublaslt_open(CublasLt *lt, Error *error);

#endif
