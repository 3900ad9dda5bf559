/* The emulated cuDNN for the emulated device; JEPA_EMULATE_NO_CUDNN: as if it were not there. */
#include "kernels/cuda/attention_cudnn.h"
#include "tests/cuda/emulation/cudnn.h"
#include <stdlib.h>

int cuda_cudnn_open(CudnnLibrary *library, CudnnTarget *target, cudaStream_t stream, int capability,
                    Error *error) {
    (void)stream;
    if (getenv("JEPA_EMULATE_NO_CUDNN"))
        return error_set(error, ERROR_RUN, "cuDNN is not emulated");
    emulated_cudnn(library, target, capability);
    return 0;
}
