/* The CUDA grid on the CPU, for tests: what kernels/cuda/launch.h takes from nvcc otherwise.
 *
 * Blocks run one after another. Each thread of a block is a fiber that runs until it must wait for
 * others, at a barrier or a shuffle; then another one runs. Who goes first, and whether a warp may
 * run ahead of the others, is chosen by emulation_order: a kernel that lacks a barrier, or whose
 * blocks write to the same place, computes other values in another order. So a test runs a kernel
 * in several orders and asks for the same bits. Shared memory holds NaN patterns when a block
 * begins, dynamic shared memory has a guard behind it, and a barrier that some threads of the block
 * never reach ends the process with a message. tests/cuda/test_emulation.cpp holds it to that.
 * While a stream is captured (capture.h) a launch is kept with the values of its arguments instead.
 */
#ifndef JEPA_TESTS_CUDA_EMULATE_H
#define JEPA_TESTS_CUDA_EMULATE_H

#include <cuda_runtime_api.h>
#include <functional>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tuple>

#undef __launch_bounds__
#define __launch_bounds__(...)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

void emulation_launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                      const std::function<void()> &thread);
void emulation_barrier(void);
/* Waits for the lanes of `mask`; gives the `bytes` that lane `from` (0..31) brought. */
void emulation_shuffle(unsigned mask, int from, const void *mine, void *theirs, size_t bytes);
int emulation_lane(void);
/* A copy that is under way until this thread waits for its copies: until then `to` holds NaN
 * patterns. Beyond the first `taken` bytes it becomes 0. */
void emulation_copy_later(void *to, const void *from, size_t bytes, size_t taken);
void emulation_copies_arrive(void);
/* An access of so many bytes: a CPU makes it anywhere, a GPU at multiples of them only. */
void emulation_aligned(const void *at, size_t bytes);
void *emulation_shared(void);
void emulation_poison(void *shared, size_t bytes); /* once for each block */

/* 0: threads and blocks in their order, 1: backwards, more: shuffled, another order for each
 * number. Even: all threads in turn, from one wait to the next; odd: each warp as far as it gets.
 */
extern "C" void emulation_order(int order);

/* A kernel with the values of its arguments, of the types that it declares. */
template <typename... P> struct EmulationCall {
    void (*kernel)(P...);
    std::function<void()> with(P... given) const {
        return
            [kernel = kernel, values = std::tuple<P...>(given...)] { std::apply(kernel, values); };
    }
};
template <typename... P> static inline EmulationCall<P...> emulation_call(void (*kernel)(P...)) {
    return {kernel};
}

#define CUDA_LAUNCH(kernel, grid, block, shared, device, ...)                                      \
    do {                                                                                           \
        (void)(device);                                                                            \
        emulation_launch(#kernel, dim3(grid), dim3(block), (size_t)(shared),                       \
                         emulation_call(kernel).with(__VA_ARGS__));                                \
    } while (0)
#define CUDA_SHARED(type, name, extent)                                                            \
    alignas(16) static type name extent;                                                           \
    emulation_poison(name, sizeof name)
#define CUDA_SHARED_DYNAMIC(type, name) type *name = (type *)emulation_shared()
#define CUDA_ALIGNED(at, bytes)         emulation_aligned(at, bytes)
#define __launch_bounds__(...)

static inline void __syncthreads(void) {
    emulation_barrier();
}
static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    char mine = 0, theirs;
    emulation_shuffle(mask, emulation_lane(), &mine, &theirs, 1);
}
template <typename T> static inline T __shfl_sync(unsigned mask, T x, int from) {
    T theirs;
    emulation_shuffle(mask, from % 32, &x, &theirs, sizeof x);
    return theirs;
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T x, int lanes) {
    return __shfl_sync(mask, x, emulation_lane() ^ lanes);
}
template <typename T> static inline T __shfl_down_sync(unsigned mask, T x, int lanes) {
    int from = emulation_lane() + lanes;
    return __shfl_sync(mask, x, from < 32 ? from : emulation_lane());
}

#endif
