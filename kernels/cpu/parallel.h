/* How the CPU operations share work: an OpenMP loop over tiles of fixed size. Which thread computes
 * a tile changes nothing, so results are the same for any number of threads. */
#ifndef JEPA_KERNELS_CPU_PARALLEL_H
#define JEPA_KERNELS_CPU_PARALLEL_H

#include <omp.h>
#include <stdint.h>

#define ROW_TILE    128  /* rows of a GEMM or row-wise tile */
#define COLUMN_TILE 64   /* columns of a tile that sums over rows: 256 bytes of each row */
#define FLAT_TILE   8192 /* elements of a flat tile: 32 KiB of float32, the first-level cache */

#define TILES(count, tile) (((count) + (tile)-1) / (tile))

/* Compiled for several instruction sets and chosen at run time. Contraction to FMA is off but where
 * CMakeLists.txt says so (GELU, SwiGLU), so that every other version computes the same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#if __GNUC__ >= 12 /* the levels have names from here on */
#define MANY_CPUS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MANY_CPUS __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#endif
#else
#define MANY_CPUS
#endif

static inline int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

#endif
