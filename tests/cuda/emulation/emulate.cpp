/* Fibers for the threads of a block. See emulate.h. */
#include "tests/cuda/emulation/emulate.h"
#include "tests/cuda/emulation/apart.h"
#include "tests/cuda/emulation/capture.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

#define THREADS_MAX 1024
#define WARPS_MAX   (THREADS_MAX / 32)
#define STACK_BYTES ((size_t)128 << 10)
#define GUARD_BYTES 64
#define SHARED_MAX  ((size_t)228 << 10) /* what an H200 gives a block */
#define LOCALS_MAX  1024                /* static shared arrays of all kernels */

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

struct Copy {
    void *to;
    const void *from;
    size_t bytes, taken;
};

struct Fiber {
    void *sp;
    char *stack;
    const volatile unsigned *waits_for; /* runs on when this is no longer `value` */
    unsigned value;
    bool over;
    unsigned shuffles;        /* of this thread so far */
    std::vector<Copy> copies; /* under way */
};

struct Warp {
    unsigned generation, arrived;
    unsigned char slot[2][32][16];
};

Fiber fibers[THREADS_MAX];
Warp warps[WARPS_MAX];
unsigned barrier_generation, barrier_arrived;
int threads, running, finished, chosen_order;
void *scheduler_sp;
const std::function<void()> *body;
const char *kernel_name;
char *shared_memory;
struct {
    void *at;
    uint64_t block;
} locals[LOCALS_MAX];
uint64_t block_serial;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "emulation of %s, block %u, thread %u: %s\n", kernel_name, blockIdx.x,
            threadIdx.x, what);
    abort();
}

#ifdef __x86_64__
/* Saves the registers that a call keeps and the stack pointer, goes on at another's. */
extern "C" void emulation_switch(void **save, void *to);
asm(".text\n.globl emulation_switch\n.type emulation_switch,@function\nemulation_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
void go(void **save, void *to) {
    emulation_switch(save, to);
}
void *start(char *stack, void (*entry)(void)) {
    uintptr_t top = ((uintptr_t)stack + STACK_BYTES) / 16 * 16;
    void **sp = (void **)top;
    *--sp = nullptr; /* where entry would return to; and 16-byte alignment as after a call */
    *--sp = (void *)entry;
    for (int i = 0; i < 6; i++)
        *--sp = nullptr;
    return sp;
}
#else
/* Everywhere else: the system's contexts, slower. */
ucontext_t contexts[THREADS_MAX + 1];
void go(void **save, void *to) {
    *save = *save ? *save : &contexts[THREADS_MAX];
    swapcontext((ucontext_t *)*save, (ucontext_t *)to);
}
void *start(char *stack, void (*entry)(void)) {
    ucontext_t *c = &contexts[running];
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK_BYTES;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
    return c;
}
#endif

void back_to_scheduler() {
    go(&fibers[running].sp, scheduler_sp);
}

void entry() {
    (*body)();
    if (!fibers[running].copies.empty())
        fail("left with copies under way");
    fibers[running].over = true;
    back_to_scheduler();
    abort();
}

void wait_for(const unsigned *generation, unsigned value) {
    Fiber *f = &fibers[running];
    f->waits_for = generation;
    f->value = value;
    back_to_scheduler();
    f->waits_for = nullptr;
}

void run(int i) {
    running = i;
    unsigned t = (unsigned)i;
    threadIdx.x = t % blockDim.x;
    threadIdx.y = t / blockDim.x % blockDim.y;
    threadIdx.z = t / blockDim.x / blockDim.y;
    go(&scheduler_sp, fibers[i].sp);
}

/* order[threads]: warp after warp, so that a warp's lanes are neighbours in it. */
void order_of(int *order) {
    uint32_t state = (uint32_t)chosen_order * 2654435761u + 12345u;
    auto shuffle = [&state](int *list, int count) {
        for (int i = count - 1; chosen_order > 1 && i > 0; i--) {
            state = state * 1664525u + 1013904223u;
            int j = (int)((state >> 8) % (unsigned)(i + 1)), kept = list[i];
            list[i] = list[j];
            list[j] = kept;
        }
    };
    int warp[WARPS_MAX], warp_count = (threads + 31) / 32, at = 0;
    for (int i = 0; i < warp_count; i++)
        warp[i] = chosen_order == 1 ? warp_count - 1 - i : i;
    shuffle(warp, warp_count);
    for (int i = 0; i < warp_count; i++) {
        int first = warp[i] * 32, lanes = threads - first < 32 ? threads - first : 32;
        for (int k = 0; k < lanes; k++)
            order[at + k] = first + (chosen_order == 1 ? lanes - 1 - k : k);
        shuffle(order + at, lanes);
        at += lanes;
    }
}

/* Each of these threads in turn, if it can. Whether any could. */
bool run_threads(const int *order, int count) {
    bool moved = false;
    for (int k = 0; k < count; k++) {
        Fiber *f = &fibers[order[k]];
        if (f->over || (f->waits_for && *f->waits_for == f->value))
            continue;
        run(order[k]);
        moved = true;
        finished += f->over;
    }
    return moved;
}

/* Even orders: all threads in turn. Odd ones: each warp as far as it gets before the next. */
bool run_warps(const int *order) {
    bool moved = false;
    if (chosen_order % 2 == 0)
        return run_threads(order, threads);
    for (int at = 0, lanes; at < threads; at += lanes) {
        int in_warp = threads - order[at] / 32 * 32;
        lanes = in_warp < 32 ? in_warp : 32;
        while (run_threads(order + at, lanes))
            moved = true;
    }
    return moved;
}

/* The block that runs as number i of `count`: in their order, backwards, or in steps of a number
 * that has no divisor in common with `count`. */
uint64_t block_of(uint64_t i, uint64_t count) {
    if (chosen_order == 0)
        return i;
    if (chosen_order == 1)
        return count - 1 - i;
    uint64_t step = (uint64_t)chosen_order * 7919 % count, a = count, b = 0;
    while (a != 1) {
        step++;
        for (a = count, b = step; b;) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
    }
    return i * (step % count) % count;
}

void run_block(const int *order, size_t shared_bytes) {
    block_serial++;
    memset(shared_memory, 0xff, shared_bytes + GUARD_BYTES);
    memset(warps, 0, sizeof warps);
    barrier_generation = barrier_arrived = 0;
    finished = 0;
    for (int i = 0; i < threads; i++) {
        running = i;
        fibers[i].waits_for = nullptr;
        fibers[i].over = false;
        fibers[i].shuffles = 0;
        fibers[i].sp = start(fibers[i].stack, entry);
    }
    while (finished < threads)
        if (!run_warps(order))
            fail(finished ? "some threads left while others wait for them"
                          : "threads wait at different places");
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if ((unsigned char)shared_memory[shared_bytes + i] != 0xff)
            fail("wrote behind its dynamic shared memory");
}

} // namespace

void emulation_barrier(void) {
    unsigned generation = barrier_generation;
    if (finished)
        fail("a barrier after other threads have left");
    if (++barrier_arrived == (unsigned)threads) {
        barrier_arrived = 0;
        barrier_generation++;
        return;
    }
    wait_for(&barrier_generation, generation);
}

int emulation_lane(void) {
    return running % 32;
}

void emulation_shuffle(unsigned mask, int from, const void *mine, void *theirs, size_t bytes) {
    Warp *w = &warps[running / 32];
    int lane = running % 32, in_warp = threads - running / 32 * 32;
    if (in_warp < 32)
        mask &= (1u << in_warp) - 1;
    if (bytes > sizeof w->slot[0][0])
        fail("a shuffle of more than 16 bytes");
    if (!(mask >> lane & 1))
        fail("a shuffle whose mask lacks the thread itself");
    unsigned char(*slot)[16] = w->slot[fibers[running].shuffles++ % 2];
    memcpy(slot[lane], mine, bytes);
    unsigned generation = w->generation;
    if (++w->arrived == (unsigned)__builtin_popcount(mask)) {
        w->arrived = 0;
        w->generation++;
    } else {
        wait_for(&w->generation, generation);
    }
    memcpy(theirs, slot[mask >> from & 1 ? from : lane], bytes);
}

void emulation_copy_later(void *to, const void *from, size_t bytes, size_t taken) {
    if ((uintptr_t)to % bytes || (uintptr_t)from % bytes)
        fail("a copy that is not aligned");
    memset(to, 0xff, bytes);
    fibers[running].copies.push_back({to, from, bytes, taken});
}

void emulation_aligned(const void *at, size_t bytes) {
    if ((uintptr_t)at % bytes)
        fail("an access that is not aligned");
}

void emulation_copies_arrive(void) {
    for (const Copy &c : fibers[running].copies) {
        memset(c.to, 0, c.bytes);
        memcpy(c.to, c.from, c.taken);
    }
    fibers[running].copies.clear();
}

void *emulation_shared(void) {
    return shared_memory;
}

void emulation_poison(void *shared, size_t bytes) {
    int i = 0;
    while (i < LOCALS_MAX && locals[i].at && locals[i].at != shared)
        i++;
    if (i == LOCALS_MAX)
        fail("too many shared arrays in this program for the emulation");
    if (locals[i].at == shared && locals[i].block == block_serial)
        return;
    locals[i].at = shared;
    locals[i].block = block_serial;
    memset(shared, 0xff, bytes);
}

void emulation_order(int order) {
    chosen_order = order;
}

void emulation_launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                      const std::function<void()> &thread) {
    static int order[THREADS_MAX];
    if (emulation_captures(nullptr)) {
        emulation_record([=] { emulation_launch(name, grid, block, shared_bytes, thread); });
        return;
    }
    kernel_name = name;
    threads = (int)(block.x * block.y * block.z);
    if (threads < 1 || threads > THREADS_MAX || block.z > 64)
        fail("a block of an impossible size");
    if (shared_bytes > SHARED_MAX)
        fail("more shared memory than a block has");
    if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535)
        fail("a grid of an impossible size");
    if (!shared_memory)
        shared_memory = (char *)aligned_alloc(64, SHARED_MAX + GUARD_BYTES);
    for (int i = 0; i < threads; i++)
        if (!fibers[i].stack) {
            void *stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (stack == MAP_FAILED)
                fail("no memory for its stacks");
            fibers[i].stack = (char *)stack;
        }
    body = &thread;
    blockDim = block;
    gridDim = grid;
    order_of(order);
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    emulation_device_begin();
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t b = block_of(i, blocks);
        blockIdx = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y),
                    (unsigned)(b / grid.x / grid.y)};
        run_block(order, shared_bytes);
    }
    emulation_device_end();
}
