/* float32 to bfloat16, for the copies of weights (kernels/cuda/weights.h).
 *
 * Bound by memory: 4 bytes read and 2 written for each element. A block rounds NARROW_TILE
 * neighbours of one range, each thread 8 at a time in 16-byte accesses; which range is its block
 * finds by halving the list, which stays in the cache. */
#include "kernels/cuda/launch.h"
extern "C" {
#include "kernels/cuda/narrow.h"
}

#define THREADS 256
#define AT_ONCE 8

static __device__ inline void narrow_tile(Bf16 *to, const float *from, int64_t count, int tile) {
    int64_t start = (int64_t)tile * NARROW_TILE;
    int here = count - start < NARROW_TILE ? (int)(count - start) : NARROW_TILE, done = 0;
    to += start;
    from += start;
    if (((uintptr_t)to | (uintptr_t)from) % 16 == 0) {
        done = here / AT_ONCE * AT_ONCE;
        for (int i = (int)threadIdx.x * AT_ONCE; i < done; i += THREADS * AT_ONCE) {
            Pack<float, 4> low = load<float, 4>(from + i), high = load<float, 4>(from + i + 4);
            Pack<Bf16, AT_ONCE> out;
            for (int k = 0; k < 4; k++) {
                out.at[k] = bf16_of(low.at[k]);
                out.at[k + 4] = bf16_of(high.at[k]);
            }
            store<Bf16, AT_ONCE>(to + i, out);
        }
    }
    for (int i = done + (int)threadIdx.x; i < here; i += THREADS)
        to[i] = bf16_of(from[i]);
}

__global__ void narrow_kernel(Bf16 *to, const float *from, int64_t count) {
    narrow_tile(to, from, count, (int)blockIdx.x);
}

__global__ void narrow_ranges_kernel(const NarrowRange *ranges, int count) {
    int low = 0, high = count; /* the last range that begins at this block or before */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (ranges[middle].first <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    NarrowRange range = ranges[low];
    narrow_tile((Bf16 *)range.to, range.from, range.count, (int)(blockIdx.x - range.first));
}

extern "C" void cuda_narrow(uint16_t *to, const float *from, int64_t count, Device *device) {
    if (count)
        CUDA_LAUNCH(narrow_kernel, blocks_for(count, NARROW_TILE), THREADS, 0, device, (Bf16 *)to,
                    from, count);
}

extern "C" void cuda_narrow_ranges(const NarrowRange *ranges, int64_t count, int64_t blocks,
                                   Device *device) {
    if (blocks)
        CUDA_LAUNCH(narrow_ranges_kernel, blocks_for(blocks, 1), THREADS, 0, device, ranges,
                    (int)count);
}
