/* peak_bench: what this machine can do at most, to measure kernels and steps against.
 *
 *   peak_bench [THREADS]        0 or nothing: all
 *
 * Multiply-adds from registers to registers, in independent chains, by instruction set and type,
 * and reading and copying memory far larger than the caches. Each is measured several times; the
 * best counts. Prints lines of
 *
 *   peak NAME VALUE UNIT        peak float32-avx2 68.4 GFLOP/s
 *   best float32 VALUE GFLOP/s, best bfloat16 VALUE GFLOP/s (0: no such instructions)
 */
#include "base/error.h"
#include "base/log.h"
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined __x86_64__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined __aarch64__
#include <arm_neon.h>
#include <sys/auxv.h>
#endif

#define REPEATS   7
#define LAPS      4000000      /* of a kernel's loop: some tens of milliseconds */
#define MEMORY    (256l << 20) /* bytes that are read; the copy takes as many again */
#define MEMORY_GB (MEMORY / 1e9)

/* Runs `laps` laps and returns something that depends on all of them. */
typedef float Kernel(long laps);

typedef struct Peak {
    const char *name; /* "float32-avx2" */
    bool bfloat16;
    bool there;      /* does this processor have the instructions? */
    double lap_flop; /* operations of a lap */
    Kernel *kernel;
} Peak;

#if defined __x86_64__

/* Twelve chains: two units, a latency of four or five cycles, and the next lap. */
#define TWELVE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
/* Kept in registers, opaque to the compiler. */
#define HOLD(i) __asm__ volatile("" : "+v"(c[i]));

__attribute__((target("avx2,fma"))) static float fma_avx2(long laps) {
    __m256 c[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < 12; i++)
        c[i] = _mm256_set1_ps((float)i);
    for (long lap = 0; lap < laps; lap++) {
#define STEP(i) c[i] = _mm256_fmadd_ps(a, c[i], b);
        TWELVE(STEP)
#undef STEP
        __asm__ volatile("" : "+x"(a), "+x"(b));
    }
    for (int i = 1; i < 12; i++)
        c[0] = _mm256_add_ps(c[0], c[i]);
    return _mm256_cvtss_f32(c[0]);
}

__attribute__((target("avx512f"))) static float fma_avx512(long laps) {
    __m512 c[12], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < 12; i++)
        c[i] = _mm512_set1_ps((float)i);
    for (long lap = 0; lap < laps; lap++) {
#define STEP(i) c[i] = _mm512_fmadd_ps(a, c[i], b);
        TWELVE(STEP)
#undef STEP
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 1; i < 12; i++)
        c[0] = _mm512_add_ps(c[0], c[i]);
    return _mm512_cvtss_f32(c[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static float dot_avx512(long laps) {
    __m512 c[12];
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f)), b = a;
    for (int i = 0; i < 12; i++)
        c[i] = _mm512_set1_ps((float)i);
    for (long lap = 0; lap < laps; lap++) {
#define STEP(i) c[i] = _mm512_dpbf16_ps(c[i], a, b);
        TWELVE(STEP)
#undef STEP
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 1; i < 12; i++)
        c[0] = _mm512_add_ps(c[0], c[i]);
    return _mm512_cvtss_f32(c[0]);
}

#define ARCH_REQ_XCOMP_PERM 0x1023 /* Linux: ask for the tiles' state */
#define XFEATURE_XTILEDATA  18

/* Four tiles of 16 x 16 sums; each instruction multiplies 16 x 32 by 32 x 16. */
__attribute__((target("amx-tile,amx-bf16"))) static float dot_amx(long laps) {
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t columns[16]; /* bytes */
        uint8_t rows[16];
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16}};
    uint8_t values[1024] = {0};
    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    _tile_loadconfig(&shape);
    _tile_loadd(4, values, 64);
    _tile_loadd(5, values, 64);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long lap = 0; lap < laps; lap++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, values, 64);
    _tile_release();
    return values[0];
}

/* cpuid leaf 7: avx512_bf16 is bit 5 of eax in subleaf 1, amx-bf16 bit 22 of edx in subleaf 0;
 * this compiler's __builtin_cpu_supports may not know their names. */
static bool leaf7(int subleaf, char in, int bit) {
    uint32_t a = 7, b, c = (uint32_t)subleaf, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return ((in == 'a' ? a : d) >> bit) & 1;
}

static bool has_amx(void) {
    return leaf7(0, 'd', 22) && !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

static int list_peaks(Peak peaks[8]) {
    bool avx512 = __builtin_cpu_supports("avx512f");
    peaks[0] = (Peak){"float32-avx2", false,
                      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), 12 * 8 * 2,
                      fma_avx2};
    peaks[1] = (Peak){"float32-avx512", false, avx512, 12 * 16 * 2, fma_avx512};
    peaks[2] = (Peak){"bfloat16-avx512", true, avx512 && leaf7(1, 'a', 5), 12 * 32 * 2, dot_avx512};
    peaks[3] = (Peak){"bfloat16-amx", true, has_amx(), 4 * 16 * 16 * 32 * 2, dot_amx};
    return 4;
}

#elif defined __aarch64__

/* Twenty-four chains: four units, a latency of four cycles. */
static float fma_neon(long laps) {
    float32x4_t c[24], a = vdupq_n_f32(0.999f), b = vdupq_n_f32(1e-3f);
    for (int i = 0; i < 24; i++)
        c[i] = vdupq_n_f32((float)i);
    for (long lap = 0; lap < laps; lap++) {
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++) {
            c[i] = vfmaq_f32(c[i], a, b);
            __asm__ volatile("" : "+w"(c[i]));
        }
    }
    for (int i = 1; i < 24; i++)
        c[0] = vaddq_f32(c[0], c[i]);
    return vgetq_lane_f32(c[0], 0);
}

/* bfmmla v0..v23.4s, v30.8h, v30.8h: 2 x 4 by 4 x 2 onto 2 x 2, 32 operations each. As numbers,
 * so that neither compiler nor assembler need know the instruction. */
static float dot_neon(long laps) {
#define STEP(i) ".inst 0x6e5eefc0 + " #i "\n\t"
    __asm__ volatile("movi v30.8h, #0" ::: "v30");
    for (long lap = 0; lap < laps; lap++)
        __asm__ volatile(STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8)
                             STEP(9) STEP(10) STEP(11) STEP(12) STEP(13) STEP(14) STEP(15) STEP(16)
                                 STEP(17) STEP(18) STEP(19) STEP(20) STEP(21) STEP(22) STEP(23)::
                                     : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9",
                                       "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                                       "v18", "v19", "v20", "v21", "v22", "v23", "v30");
#undef STEP
    return 0;
}

#define HWCAP2_BIT_BF16 (1ul << 14) /* Linux, arch/arm64/include/uapi/asm/hwcap.h */

static int list_peaks(Peak peaks[8]) {
    peaks[0] = (Peak){"float32-neon", false, true, 24 * 4 * 2, fma_neon};
    peaks[1] = (Peak){"bfloat16-neon", true, getauxval(AT_HWCAP2) & HWCAP2_BIT_BF16, 24 * 32,
                      dot_neon};
    return 2;
}

#else

static int list_peaks(Peak peaks[8]) {
    (void)peaks;
    return 0;
}

#endif

static volatile float sink; /* so that nothing is optimised away */

/* Operations a second of all threads, 1e9. */
static double measure(const Peak *peak, int threads) {
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        double started = time_now();
#pragma omp parallel num_threads(threads)
        {
            float value = peak->kernel(LAPS);
#pragma omp critical
            sink = value;
        }
        double rate = threads * peak->lap_flop * LAPS / (time_now() - started) / 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

static void measure_memory(int threads) {
    uint64_t *from = memory_new(MEMORY, 1), *to = memory_new(MEMORY, 1);
    long words = MEMORY / 8;
    double read = 0, copy = 0;
    memset(from, 1, MEMORY);
    memset(to, 2, MEMORY);
    for (int r = 0; r < REPEATS; r++) {
        uint64_t sum = 0;
        double started = time_now();
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static)
        for (long block = 0; block < words / 4096; block++) {
            uint64_t part[4] = {0};
            for (long i = 0; i < 4096; i += 4)
                for (int k = 0; k < 4; k++)
                    part[k] += from[block * 4096 + i + k];
            sum += part[0] + part[1] + part[2] + part[3];
        }
        double middle = time_now();
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int part = 0; part < threads; part++) {
            size_t begin = (size_t)part * MEMORY / (size_t)threads / 64 * 64,
                   end = ((size_t)part + 1) * MEMORY / (size_t)threads / 64 * 64;
            memcpy((char *)to + begin, (char *)from + begin, end - begin);
        }
        double ended = time_now();
        sink = (float)sum;
        read = MEMORY_GB / (middle - started) > read ? MEMORY_GB / (middle - started) : read;
        copy = 2 * MEMORY_GB / (ended - middle) > copy ? 2 * MEMORY_GB / (ended - middle) : copy;
    }
    printf("peak memory-read %.1f GB/s\npeak memory-copy %.1f GB/s\n", read, copy);
    free(from);
    free(to);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    if (threads < 1)
        threads = omp_get_max_threads();
    Peak peaks[8];
    double best[2] = {0, 0};
    int count = list_peaks(peaks);
    for (int i = 0; i < count; i++)
        if (peaks[i].there) {
            double one = measure(&peaks[i], 1), all = measure(&peaks[i], threads);
            printf("peak %s %.1f GFLOP/s (one thread %.1f)\n", peaks[i].name, all, one);
            if (all > best[peaks[i].bfloat16])
                best[peaks[i].bfloat16] = all;
        }
    measure_memory(threads);
    printf("best float32 %.1f GFLOP/s\nbest bfloat16 %.1f GFLOP/s\n", best[0], best[1]);
    return 0;
}
