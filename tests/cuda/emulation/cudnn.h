/* cuDNN's graph API on the CPU, as far as kernels/cuda uses it: graphs are kept as they are built,
 * and a plan that runs is computed operation by operation, in order, from the tensors' dimensions,
 * strides and ragged offsets. What is emulated is the meaning of a graph, not what cuDNN makes of
 * it: tensors of its inside have their type's precision, and rows beyond a sequence's length are
 * neither read nor written. Memory of "the device" is the host's. */
#ifndef JEPA_TESTS_CUDA_EMULATION_CUDNN_H
#define JEPA_TESTS_CUDA_EMULATION_CUDNN_H

#include "kernels/cuda/cudnn_library.h"

/* A library and a GPU of this capability; cudnn_target_close closes the latter, the former has
 * nothing to close. */
void emulated_cudnn(CudnnLibrary *library, CudnnTarget *target, int capability);

#endif
