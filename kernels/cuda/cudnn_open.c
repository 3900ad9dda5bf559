/* cuDNN on this device's card. See kernels/cuda/attention_cudnn.h. */
#include "kernels/cuda/attention_cudnn.h"

int cuda_cudnn_open(CudnnLibrary *library, CudnnTarget *target, cudaStream_t stream, int capability,
                    Error *error) {
    return cudnn_library_open(library, error) ||
                   cudnn_target_open(target, library, stream, capability, error)
               ? -1
               : 0;
}
