/* cuDNN, loaded when the program asks for it, and the GPU that plans are made for.
 *
 * The library is opened when it is asked for (kernels/cuda/library.h). What is used of it, the
 * graph API ("backend API": descriptors of tensors, operations and plans), stands in a table of
 * functions. Headers of the same major version are needed to build.
 *
 * A target is a GPU with its stream, or a GPU's description in JSON: cuDNN chooses, checks,
 * compiles and sizes plans for the latter too, on a machine without a GPU; they cannot run. */
#ifndef JEPA_KERNELS_CUDA_CUDNN_LIBRARY_H
#define JEPA_KERNELS_CUDA_CUDNN_LIBRARY_H

#include "base/error.h"
#include <cudnn.h>
#include <stddef.h>

typedef struct CudnnLibrary {
    void *library;
    size_t version; /* 91900: 9.19.0 */
    size_t (*get_version)(void);
    const char *(*error_string)(cudnnStatus_t status);
    void (*last_error)(char *text, size_t room);
    cudnnStatus_t (*create)(cudnnHandle_t *handle);
    cudnnStatus_t (*destroy)(cudnnHandle_t handle);
    cudnnStatus_t (*set_stream)(cudnnHandle_t handle, cudaStream_t stream);
    cudnnStatus_t (*descriptor_create)(cudnnBackendDescriptorType_t type,
                                       cudnnBackendDescriptor_t *descriptor);
    cudnnStatus_t (*descriptor_destroy)(cudnnBackendDescriptor_t descriptor);
    cudnnStatus_t (*descriptor_finalize)(cudnnBackendDescriptor_t descriptor);
    cudnnStatus_t (*descriptor_set)(cudnnBackendDescriptor_t descriptor,
                                    cudnnBackendAttributeName_t name,
                                    cudnnBackendAttributeType_t type, int64_t count,
                                    const void *values);
    cudnnStatus_t (*descriptor_get)(cudnnBackendDescriptor_t descriptor,
                                    cudnnBackendAttributeName_t name,
                                    cudnnBackendAttributeType_t type, int64_t room, int64_t *count,
                                    void *values);
    cudnnStatus_t (*execute)(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack);
} CudnnLibrary;

int cudnn_library_open(CudnnLibrary *library, Error *error);

/* "WHAT: cuDNN 9.19.0 says STATUS (last message)". Value -1. */
int cudnn_error(const CudnnLibrary *library, cudnnStatus_t status, const char *what, Error *error);

typedef struct CudnnTarget {
    const CudnnLibrary *library;
    int capability;                      /* 90: compute capability 9.0 */
    cudnnHandle_t handle;                /* a GPU; or NULL */
    cudnnBackendDescriptor_t properties; /* its description; or NULL */
} CudnnTarget;

/* The current GPU; work goes to `stream`. capability: 10 major + minor, from the runtime. */
int cudnn_target_open(CudnnTarget *target, const CudnnLibrary *library, cudaStream_t stream,
                      int capability, Error *error);
/* A GPU that need not be there. `json`: the text of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, as
 * in tests/cuda/devices. */
int cudnn_target_describe(CudnnTarget *target, const CudnnLibrary *library, const char *json,
                          Error *error);
void cudnn_target_close(CudnnTarget *target); /* zeroed, opened or described */

#endif
