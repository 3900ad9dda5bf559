/* What the tests of CUDA kernels rest on: that the emulated grid (tests/cuda/emulation) notices the
 * mistakes it is there for. Each kernel here has one; beside it stands the same without.
 *
 * Noticed by other bits in another order of threads or blocks: a barrier that lacks, slots that are
 * used again too early, blocks that write to one place. Noticed by NaN: shared memory that nobody
 * set. Noticed at once, by the end of the process with a message: a barrier or a shuffle that some
 * threads never reach, a write behind dynamic shared memory, an access that is not aligned, a
 * launch that no GPU would accept. */
#include "kernels/cuda/launch.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

#define THREADS 96
#define ORDERS  5

typedef void Run(float *out);

static void in_order(int order, Run *run, float *out) {
    memset(out, 0, THREADS * sizeof *out);
    emulation_order(order);
    run(out);
    emulation_order(0);
}

/* In how many of the orders the bits differ from those of the first. */
static int other_bits(Run *run) {
    float first[THREADS], again[THREADS];
    int other = 0;
    in_order(0, run, first);
    for (int order = 1; order < ORDERS; order++) {
        in_order(order, run, again);
        other += memcmp(first, again, sizeof first) != 0;
    }
    return other;
}

/* The run ends its process and says `message`. */
static void assert_ends(Run *run, const char *message) {
    int ends[2], status;
    char said[4096] = {0};
    size_t length = 0;
    ssize_t more;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        float out[THREADS];
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        in_order(0, run, out);
        _exit(0);
    }
    close(ends[1]);
    while (length + 1 < sizeof said &&
           (more = read(ends[0], said + length, sizeof said - 1 - length)) > 0)
        length += (size_t)more;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said, message))
        fail_msg("expected an end with \"%s\", found status %d and \"%s\"", message, status, said);
}

/* ---- a barrier that lacks ---- */

template <bool RIGHT> __global__ void neighbour_kernel(float *out) {
    CUDA_SHARED(float, values, [THREADS]);
    values[threadIdx.x] = (float)threadIdx.x;
    if (RIGHT)
        __syncthreads();
    out[threadIdx.x] = values[(threadIdx.x + 1) % THREADS];
}
template <bool RIGHT> static void neighbour(float *out) {
    CUDA_LAUNCH(neighbour_kernel<RIGHT>, 1, THREADS, 0, NULL, out);
}

static void a_missing_barrier(void **state) {
    (void)state;
    float out[THREADS];
    assert_true(other_bits(neighbour<false>) > 0);
    assert_int_equal(other_bits(neighbour<true>), 0);
    in_order(0, neighbour<true>, out);
    for (int i = 0; i < THREADS; i++)
        assert_true(out[i] == (float)((i + 1) % THREADS));
}

/* Two sums through the same slots: without a barrier between them a quick warp overwrites what a
 * slow one has yet to read. block_sum begins with that barrier. */
template <bool RIGHT> __global__ void two_sums_kernel(float *out) {
    CUDA_SHARED(float, slots, [THREADS / WARP]);
    float sums[2];
    for (int i = 0; i < 2; i++) {
        float x = (float)((threadIdx.x + 1) * (i + 1));
        if (RIGHT) {
            sums[i] = block_sum(x, slots);
            continue;
        }
        x = warp_sum(x);
        if (threadIdx.x % WARP == 0)
            slots[threadIdx.x / WARP] = x;
        __syncthreads();
        sums[i] = slots[0] + slots[1] + slots[2];
    }
    out[threadIdx.x] = sums[0] + 1000000 * sums[1];
}
template <bool RIGHT> static void two_sums(float *out) {
    CUDA_LAUNCH(two_sums_kernel<RIGHT>, 1, THREADS, 0, NULL, out);
}

static void slots_used_again(void **state) {
    (void)state;
    float out[THREADS], sum = THREADS * (THREADS + 1) / 2;
    assert_true(other_bits(two_sums<false>) > 0);
    assert_int_equal(other_bits(two_sums<true>), 0);
    in_order(0, two_sums<true>, out);
    for (int i = 0; i < THREADS; i++)
        assert_true(out[i] == sum + 1000000 * 2 * sum);
}

/* A warp's lanes are no lockstep either. */
template <bool RIGHT> __global__ void lanes_kernel(float *out) {
    CUDA_SHARED(float, values, [THREADS]);
    values[threadIdx.x] = (float)threadIdx.x;
    if (RIGHT)
        __syncwarp();
    out[threadIdx.x] = values[threadIdx.x ^ 1];
}
template <bool RIGHT> static void lanes(float *out) {
    CUDA_LAUNCH(lanes_kernel<RIGHT>, 1, THREADS, 0, NULL, out);
}

static void lanes_without_a_barrier(void **state) {
    (void)state;
    assert_true(other_bits(lanes<false>) > 0);
    assert_int_equal(other_bits(lanes<true>), 0);
}

/* ---- blocks that write to one place ---- */

template <bool RIGHT> __global__ void blocks_kernel(float *out) {
    if (threadIdx.x == 0)
        out[RIGHT ? blockIdx.x + blockIdx.y * gridDim.x : blockIdx.x] += (float)blockIdx.y + 0.1f;
    if (!RIGHT && threadIdx.x == 0 && blockIdx.x == 0)
        out[THREADS - 1] = (float)blockIdx.y;
}
template <bool RIGHT> static void blocks(float *out) {
    CUDA_LAUNCH(blocks_kernel<RIGHT>, dim3(5, 7), WARP, 0, NULL, out);
}

static void blocks_at_one_place(void **state) {
    (void)state;
    float out[THREADS];
    assert_true(other_bits(blocks<false>) > 0);
    assert_int_equal(other_bits(blocks<true>), 0);
    for (int order = 0; order < ORDERS; order++) { /* each block runs, once */
        in_order(order, blocks<true>, out);
        for (int i = 0; i < 35; i++)
            assert_true(out[i] == (float)(i / 5) + 0.1f);
    }
}

/* ---- shared memory that nobody set ---- */

template <bool RIGHT> __global__ void unset_kernel(float *out) {
    CUDA_SHARED(float, sum, [WARP]);
    CUDA_SHARED_DYNAMIC(float, more);
    if (RIGHT)
        sum[threadIdx.x] = more[threadIdx.x] = 0;
    sum[threadIdx.x] += 1;
    more[threadIdx.x] += 1;
    out[blockIdx.x * WARP + threadIdx.x] = blockIdx.x ? sum[threadIdx.x] : more[threadIdx.x];
}
template <bool RIGHT> static void unset(float *out) {
    CUDA_LAUNCH(unset_kernel<RIGHT>, 3, WARP, WARP * sizeof(float), NULL, out);
}

static void unset_shared_memory(void **state) {
    (void)state;
    float out[THREADS];
    for (int order = 0; order < ORDERS;
         order++) { /* not what the block before left there, either */
        in_order(order, unset<false>, out);
        for (int i = 0; i < THREADS; i++)
            assert_true(isnan(out[i]));
        in_order(order, unset<true>, out);
        for (int i = 0; i < THREADS; i++)
            assert_true(out[i] == 1);
    }
}

/* ---- what ends the process ---- */

static __global__ void half_barrier_kernel(float *out) {
    if (threadIdx.x % 2)
        __syncthreads();
    else
        __shfl_sync(FULL, out[0], 0);
    out[threadIdx.x] = 1;
}
static void half_barrier(float *out) {
    CUDA_LAUNCH(half_barrier_kernel, 1, THREADS, 0, NULL, out);
}
static __global__ void early_kernel(float *out) {
    if (threadIdx.x >= 80)
        return;
    __syncthreads();
    out[threadIdx.x] = 1;
}
static void early(float *out) {
    CUDA_LAUNCH(early_kernel, 1, THREADS, 0, NULL, out);
}
static void early_backwards(float *out) {
    emulation_order(1);
    early(out);
}
static __global__ void half_shuffle_kernel(float *out) {
    float x = (float)threadIdx.x;
    if (threadIdx.x % 2)
        x = __shfl_xor_sync(FULL, x, 2);
    out[threadIdx.x] = x;
}
static void half_shuffle(float *out) {
    CUDA_LAUNCH(half_shuffle_kernel, 1, THREADS, 0, NULL, out);
}
static __global__ void foreign_shuffle_kernel(float *out) {
    out[threadIdx.x] = __shfl_xor_sync(0xffffu, (float)threadIdx.x, 1);
}
static void foreign_shuffle(float *out) {
    CUDA_LAUNCH(foreign_shuffle_kernel, 1, THREADS, 0, NULL, out);
}
static __global__ void behind_kernel(float *out) {
    CUDA_SHARED_DYNAMIC(float, values);
    values[threadIdx.x + 1] = 1; /* the last thread: one too far */
    out[threadIdx.x] = 1;
}
static void behind(float *out) {
    CUDA_LAUNCH(behind_kernel, 2, THREADS, THREADS * sizeof(float), NULL, out);
}
static __global__ void askew_kernel(float *out) {
    alignas(16) float values[8] = {0};
    store<float, 4>(out, load<float, 4>(values + 2)); /* 16 bytes at a multiple of 8 */
}
static void askew(float *out) {
    (void)out;
    alignas(16) float aligned[4];
    CUDA_LAUNCH(askew_kernel, 1, 1, 0, NULL, aligned);
}
static __global__ void nothing_kernel(void) {
}
static void too_wide(float *out) {
    (void)out;
    CUDA_LAUNCH(nothing_kernel, 1, 1025, 0, NULL);
}
static void no_blocks(float *out) {
    (void)out;
    CUDA_LAUNCH(nothing_kernel, 0, WARP, 0, NULL);
}
static void too_tall(float *out) {
    (void)out;
    CUDA_LAUNCH(nothing_kernel, dim3(1, 65536), WARP, 0, NULL);
}
static void too_much_shared(float *out) {
    (void)out;
    CUDA_LAUNCH(nothing_kernel, 1, WARP, (size_t)229 << 10, NULL);
}

static void what_ends_the_process(void **state) {
    (void)state;
    assert_ends(half_barrier, "threads wait at different places");
    assert_ends(early, "some threads left while others wait for them");
    assert_ends(early_backwards, "a barrier after other threads have left");
    assert_ends(half_shuffle, "while others wait");
    assert_ends(foreign_shuffle, "a shuffle whose mask lacks the thread itself");
    assert_ends(behind, "wrote behind its dynamic shared memory");
    assert_ends(askew, "an access that is not aligned");
    assert_ends(too_wide, "a block of an impossible size");
    assert_ends(no_blocks, "a grid of an impossible size");
    assert_ends(too_tall, "a grid of an impossible size");
    assert_ends(too_much_shared, "more shared memory than a block has");
}

/* ---- and what it must not change ---- */

static __global__ void shuffles_kernel(float *out) {
    float x = (float)threadIdx.x;
    float down = __shfl_down_sync(FULL, x, 3), across = __shfl_xor_sync(FULL, x, 5),
          third = __shfl_sync(FULL, x, 3);
    out[threadIdx.x] = down + 100 * across + 10000 * third;
}
static void shuffles(float *out) {
    CUDA_LAUNCH(shuffles_kernel, 1, THREADS, 0, NULL, out);
}

static void shuffles_are_right(void **state) {
    (void)state;
    float out[THREADS];
    for (int order = 0; order < ORDERS; order++) {
        in_order(order, shuffles, out);
        for (int i = 0; i < THREADS; i++) {
            int lane = i % WARP, first = i - lane, down = lane + 3 < WARP ? i + 3 : i;
            assert_true(out[i] == (float)(down + 100 * (first + (lane ^ 5)) + 10000 * (first + 3)));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_barrier),       cmocka_unit_test(slots_used_again),
        cmocka_unit_test(lanes_without_a_barrier), cmocka_unit_test(blocks_at_one_place),
        cmocka_unit_test(unset_shared_memory),     cmocka_unit_test(what_ends_the_process),
        cmocka_unit_test(shuffles_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
