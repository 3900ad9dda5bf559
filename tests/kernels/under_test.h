/* The device that a test of operations is about: the CPU with 1 to 4 threads; or, in a build with
 * JEPA_TEST_CUDA, the GPU: emulated, with the threads of a block in several orders, or a real one,
 * several times. Variants of a device must agree bit for bit.
 *
 * Tests hand ordinary pointers to operations. On a GPU these come from pinned memory, which host
 * and device both reach; the device is waited for (under_test_settle) before the host looks. */
#ifndef JEPA_TESTS_KERNELS_UNDER_TEST_H
#define JEPA_TESTS_KERNELS_UNDER_TEST_H

#include "kernels/device.h"
#include <stdlib.h>

#ifdef JEPA_TEST_CUDA
#include <cuda_runtime_api.h>
#define UNDER_TEST          "cuda"
#define UNDER_TEST_VARIANTS 4
#ifdef JEPA_CUDA_EMULATED
void emulation_order(int order);
#else
static inline void emulation_order(int order) {
    (void)order;
}
#endif
static inline void *shared_new(size_t bytes) {
    void *memory = NULL;
    if (cudaHostAlloc(&memory, bytes ? bytes : 1, cudaHostAllocMapped) != cudaSuccess)
        abort();
    return memory;
}
static inline void shared_free(void *memory) {
    cudaDeviceSynchronize();
    cudaFreeHost(memory);
}
static inline void under_test_settle(void) {
    if (cudaDeviceSynchronize() != cudaSuccess)
        abort();
}
/* From here on the device runs as this variant. */
static inline void under_test_variant(int variant) {
    emulation_order(variant);
}
static inline int under_test_open(Device **device, int variant, Error *error) {
    under_test_variant(variant);
    return device_open(device, UNDER_TEST, 0, error);
}
#else
#define UNDER_TEST          "cpu"
#define UNDER_TEST_VARIANTS 4
static inline void *shared_new(size_t bytes) {
    return malloc(bytes ? bytes : 1);
}
static inline void shared_free(void *memory) {
    free(memory);
}
static inline void under_test_settle(void) {
}
static inline void under_test_variant(int variant) {
    (void)variant; /* the device was opened as one */
}
static inline int under_test_open(Device **device, int variant, Error *error) {
    return device_open(device, UNDER_TEST, variant + 1, error);
}
#endif

#endif
