/* The exchange between GPUs through NCCL. See kernels/exchange.h.
 *
 * Everything is queued on a stream of its own: a start waits, on the device, for the arithmetic
 * that was queued before it, a finish makes the arithmetic after it wait for the exchange; the host
 * goes on. Blocks go to their owners by send and receive, in one group for each start, so nothing
 * is summed on the way: the owner adds the pieces in the order of their ranks (exchange_add). The
 * `fast` form is NCCL's own reduce-scatter, whose order depends on the number of ranks.
 *
 * With W ranks, row k of a flat buffer is its blocks kW .. kW + W-1, one of each rank: what
 * collectives move at once. Rows that a range cuts go block by block.
 *
 * NCCL waits for a peer that has died for ever. So a thread looks at an event behind the last
 * exchange: one that has not come to its end within the exchange's timeout ends this process, and
 * so the run, with one line. Ranks that are missing already at the exchange of the step's results,
 * which goes through MPI, are named there. The same thread watches NCCL's beginning, which waits
 * for ever too where the ranks' networks do not reach each other. */
#include "kernels/cuda/exchange_nccl.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/nccl_library.h"
#include "kernels/cuda_device.h"
#include "kernels/device.h"
#include "kernels/exchange.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct Nccl {
    Exchange inner; /* as it was before: host memory, and the end */
    NcclLibrary library;
    ncclComm_t comm;
    cudaStream_t stream;
    cudaEvent_t ready, arrived; /* arithmetic before an exchange, the exchange */
    Exchange *exchange;
    pthread_t watchman;
    atomic_bool watching, closing;
    atomic_llong started; /* nanoseconds of the monotonic clock: the exchange at work; 0: none */
    atomic_llong joining; /* likewise: NCCL's beginning; 0: it is over */
    int ordinal;          /* of the GPU */
} Nccl;

static void check(ncclResult_t result, const char *what, const Exchange *x) {
    const Nccl *n = x->own;
    if (result == ncclSuccess)
        return;
    fprintf(stderr, "jepa: %s: NCCL failed in step %" PRId64 ": %s (%s)\n", x->who[x->rank],
            x->step, n->library.error_string(result), what);
    n->inner.close(false, (Exchange *)&n->inner);
    exit(ERROR_RUN);
}
#define CHECK(call) check(call, #call, x)

#define JOIN_SECONDS 600 /* NCCL's beginning, at most: it takes seconds on hundreds of GPUs */

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- the thread that notices an exchange without end ---- */

/* A thread begins with GPU 0, and asking about an event would make a context there: half a GiB of a
 * card that is another rank's. */
static void *watch(void *own) {
    Nccl *n = own;
    cudaSetDevice(n->ordinal);
    while (!atomic_load(&n->closing)) {
        struct timespec moment = {.tv_nsec = 200 * 1000 * 1000};
        nanosleep(&moment, NULL);
        int64_t started = atomic_load(&n->started), joining = atomic_load(&n->joining);
        if (joining && nanoseconds() - joining > JOIN_SECONDS * INT64_C(1000000000)) {
            fprintf(stderr,
                    "jepa: %s: NCCL has not begun for %d s: the ranks' networks may not reach each "
                    "other; NCCL_DEBUG=INFO says more, NCCL_SOCKET_IFNAME chooses a network\n",
                    n->exchange->who[n->exchange->rank], JOIN_SECONDS);
            n->inner.close(false, &n->inner);
            _exit(ERROR_RUN);
        }
        double timeout = n->exchange->timeout;
        if (!started || timeout <= 0)
            continue;
        if (cudaEventQuery(n->arrived) != cudaErrorNotReady) {
            long long same = started;
            atomic_compare_exchange_strong(&n->started, &same, 0);
        } else if ((double)(nanoseconds() - started) > timeout * 1e9) {
            fprintf(stderr,
                    "jepa: %s: step %" PRId64 ": the exchange between the GPUs has not ended for "
                    "%.0f s (ranks.timeout): a rank has died or its GPU hangs. The last checkpoint "
                    "is untouched (step %" PRId64 ")\n",
                    n->exchange->who[n->exchange->rank], n->exchange->step, timeout,
                    n->exchange->saved);
            n->inner.close(false, &n->inner);
            _exit(ERROR_RUN);
        }
    }
    return NULL;
}

/* The exchange's stream goes on when the arithmetic before it is done ... */
static void begin(Device *device, Exchange *x) {
    Nccl *n = x->own;
    CUDA_CHECK(cudaEventRecord(n->ready, device->cuda->stream));
    CUDA_CHECK(cudaStreamWaitEvent(n->stream, n->ready, 0));
}

static void mark(Exchange *x) {
    Nccl *n = x->own;
    CUDA_CHECK(cudaEventRecord(n->arrived, n->stream));
    atomic_store(&n->started, nanoseconds());
}

/* ... and the arithmetic after it when the exchange is. */
static void end(Device *device, Exchange *x) {
    Nccl *n = x->own;
    mark(x);
    CUDA_CHECK(cudaStreamWaitEvent(device->cuda->stream, n->arrived, 0));
}

static Shard shard_of(const Exchange *x) {
    return (Shard){x->rank, x->ranks};
}

/* Rows that lie whole in [from, to). */
static void whole_rows(const Exchange *x, int64_t from, int64_t to, int64_t *first, int64_t *last) {
    *first = (from + x->ranks - 1) / x->ranks;
    *last = to / x->ranks;
    if (*last < *first) /* the range lies inside one row */
        *first = *last = 0;
}

static bool in_rows(const Exchange *x, int64_t block, int64_t first, int64_t last) {
    return block >= first * x->ranks && block < last * x->ranks;
}

/* ---- gradients ---- */

static void send_blocks(const ExchangeSum *sum, int64_t from, int64_t to, Exchange *x) {
    Nccl *n = x->own;
    int64_t most = shard_most(shard_of(x), sum->blocks);
    for (int64_t b = from; b < to; b++) {
        int owner = (int)(b % x->ranks);
        if (owner != x->rank)
            CHECK(n->library.send(sum->flat + b * SHARD_BLOCK, SHARD_BLOCK, ncclFloat, owner,
                                  n->comm, n->stream));
    }
    for (int64_t b = from; b < to; b++) {
        if (b % x->ranks != x->rank)
            continue;
        for (int peer = 0; peer < x->ranks; peer++)
            if (peer != x->rank)
                CHECK(n->library.receive(sum->pieces + (peer * most + b / x->ranks) * SHARD_BLOCK,
                                         SHARD_BLOCK, ncclFloat, peer, n->comm, n->stream));
    }
}

static void reduce_blocks(const ExchangeSum *sum, int64_t from, int64_t to, Exchange *x) {
    Nccl *n = x->own;
    int64_t first, last;
    whole_rows(x, from, to, &first, &last);
    for (int64_t k = first; k < last; k++)
        CHECK(n->library.reduce_scatter(sum->flat + k * x->ranks * SHARD_BLOCK,
                                        sum->pieces + k * SHARD_BLOCK, SHARD_BLOCK, ncclFloat,
                                        ncclSum, n->comm, n->stream));
    for (int64_t b = from; b < to; b++)
        if (!in_rows(x, b, first, last))
            CHECK(n->library.reduce(sum->flat + b * SHARD_BLOCK,
                                    sum->pieces + b / x->ranks * SHARD_BLOCK, SHARD_BLOCK,
                                    ncclFloat, ncclSum, (int)(b % x->ranks), n->comm, n->stream));
}

static void sum_start(const ExchangeSum *sum, int64_t from, int64_t to, Device *device,
                      Exchange *x) {
    Nccl *n = x->own;
    if (from >= to)
        return;
    begin(device, x);
    CHECK(n->library.group_start());
    if (sum->fast)
        reduce_blocks(sum, from, to, x);
    else
        send_blocks(sum, from, to, x);
    CHECK(n->library.group_end());
    Shard shard = shard_of(x);
    int64_t own = shard_blocks_of(shard, x->rank, from);
    int64_t count = shard_blocks_of(shard, x->rank, to) - own;
    size_t block = SHARD_BLOCK * sizeof(float);
    if (!sum->fast && count) { /* the own piece, from every W-th block to one behind the other */
        int64_t most = shard_most(shard, sum->blocks);
        CUDA_CHECK(cudaMemcpy2DAsync(sum->pieces + (x->rank * most + own) * SHARD_BLOCK, block,
                                     sum->flat + (own * x->ranks + x->rank) * SHARD_BLOCK,
                                     block * (size_t)x->ranks, block, (size_t)count,
                                     cudaMemcpyDeviceToDevice, n->stream));
    }
    mark(x);
}

static void sum_finish(const ExchangeSum *sum, Device *device, Exchange *x) {
    Shard shard = shard_of(x);
    end(device, x);
    if (!sum->fast)
        exchange_add(sum->pieces, shard_most(shard, sum->blocks) * SHARD_BLOCK,
                     shard_blocks_of(shard, x->rank, sum->blocks) * SHARD_BLOCK, device, x->ranks);
}

/* ---- weights and features: bytes, whatever they mean ---- */

static void gather(void *flat, const void *compact, int64_t from, int64_t to, size_t size,
                   Device *device, Exchange *x) {
    Nccl *n = x->own;
    int64_t first, last, own = shard_blocks_of(shard_of(x), x->rank, from);
    size_t block = SHARD_BLOCK * size;
    if (from >= to)
        return;
    begin(device, x);
    whole_rows(x, from, to, &first, &last);
    CHECK(n->library.group_start());
    for (int64_t k = first; k < last; k++)
        CHECK(n->library.all_gather((const char *)compact + (size_t)(k - own) * block,
                                    (char *)flat + (size_t)(k * x->ranks) * block, block, ncclUint8,
                                    n->comm, n->stream));
    for (int64_t b = from; b < to; b++) {
        int owner = (int)(b % x->ranks);
        char *to_block = (char *)flat + (size_t)b * block;
        const char *mine = owner == x->rank
                               ? (const char *)compact + (size_t)(b / x->ranks - own) * block
                               : to_block;
        if (!in_rows(x, b, first, last))
            CHECK(
                n->library.broadcast(mine, to_block, block, ncclUint8, owner, n->comm, n->stream));
    }
    CHECK(n->library.group_end());
    end(device, x);
}

static void share(void *buffer, const ExchangePart *parts, Device *device, Exchange *x) {
    Nccl *n = x->own;
    begin(device, x);
    CHECK(n->library.group_start());
    for (int r = 0; r < x->ranks; r++)
        for (int64_t i = 0; i < parts[r].count && parts[r].bytes; i++) {
            char *run = (char *)buffer + parts[r].first + i * parts[r].stride;
            CHECK(n->library.broadcast(run, run, (size_t)parts[r].bytes, ncclUint8, r, n->comm,
                                       n->stream));
        }
    CHECK(n->library.group_end());
    end(device, x);
}

static void progress(Exchange *x) {
    (void)x; /* the GPUs do it */
}

/* ---- host memory, and the end: as before ---- */

static void all(double *table, int count, Exchange *x) {
    Nccl *n = x->own;
    n->inner.step = x->step, n->inner.saved = x->saved;
    n->inner.doing = x->doing, n->inner.timeout = x->timeout;
    n->inner.all(table, count, &n->inner);
}
static void broadcast(void *bytes, size_t count, int from, Exchange *x) {
    Nccl *n = x->own;
    n->inner.broadcast(bytes, count, from, &n->inner);
}
static void texts(char **all_texts, const char *text, Exchange *x) {
    Nccl *n = x->own;
    n->inner.texts(all_texts, text, &n->inner);
}
static void collect(float *flat, const float *compact, int64_t blocks, Device *device,
                    Exchange *x) {
    Nccl *n = x->own;
    n->inner.collect(flat, compact, blocks, device, &n->inner);
}

static void free_nccl(Nccl *n) {
    if (n->watching) {
        atomic_store(&n->closing, true);
        pthread_join(n->watchman, NULL);
    }
    if (n->ready)
        cudaEventDestroy(n->ready);
    if (n->arrived)
        cudaEventDestroy(n->arrived);
    if (n->stream)
        cudaStreamDestroy(n->stream);
    free(n);
}

static void close_all(bool wait, Exchange *x) {
    Nccl *n = x->own;
    Exchange inner = n->inner;
    if (wait) {
        cudaStreamSynchronize(n->stream);
        n->library.destroy(n->comm);
        free_nccl(n);
    }
    inner.close(wait, &inner);
}

/* A number that machines do not share: that of their last start. gethostid is the same on all whose
 * own name means 127.0.1.1, as Debian has it; cards of two of them would seem to be one. */
static double machine_number(void) {
    char id[64] = "";
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool read = file && fgets(id, sizeof id, file);
    if (file)
        fclose(file);
    if (!read)
        return (double)gethostid();
    for (const char *c = id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return (double)(hash >> 11); /* 53 bits: exact */
}

/* What tells a card from all others: its machine and its number on the bus. */
static bool cards_differ(Exchange *x, const Device *device) {
    char id[64] = "";
    double *table = memory_new((size_t)x->ranks * 9, sizeof *table);
    if (device->cuda)
        cudaDeviceGetPCIBusId(id, sizeof id, device->cuda->ordinal);
    for (int i = 0; i < 8; i++) { /* 4 bytes in a double are exact */
        uint32_t part;
        memcpy(&part, id + 4 * i, sizeof part);
        table[x->rank * 9 + i] = part;
    }
    table[x->rank * 9 + 8] = machine_number();
    x->all(table, 9, x);
    bool differ = true;
    for (int a = 0; a < x->ranks; a++) {
        differ = differ && table[9 * a] != 0; /* a rank without a card */
        for (int b = 0; b < a; b++)
            differ = differ && memcmp(table + 9 * a, table + 9 * b, 9 * sizeof *table);
    }
    free(table);
    return differ;
}

static int open_nccl(Nccl *n, Exchange *x, Error *error) {
    ncclUniqueId id = {{0}};
    int status = nccl_library_open(&n->library, error);
    if (exchange_agree(x, status, error))
        return -1;
    if (!x->rank && n->library.unique_id(&id) != ncclSuccess)
        status = error_set(error, ERROR_RUN, "NCCL does not start");
    x->broadcast(&id, sizeof id, 0, x);
    if (exchange_agree(x, status, error))
        return -1;
    atomic_store(&n->joining, nanoseconds());
    n->watching = !pthread_create(&n->watchman, NULL, watch, n);
    ncclResult_t result = n->library.open(&n->comm, x->ranks, id, x->rank);
    atomic_store(&n->joining, 0);
    if (result != ncclSuccess)
        status = error_set(error, ERROR_RUN, "NCCL: %s; NCCL_DEBUG=WARN says more",
                           n->library.error_string(result));
    if (!status && (cudaStreamCreateWithFlags(&n->stream, cudaStreamNonBlocking) != cudaSuccess ||
                    cudaEventCreateWithFlags(&n->ready, cudaEventDisableTiming) != cudaSuccess ||
                    cudaEventCreateWithFlags(&n->arrived, cudaEventDisableTiming) != cudaSuccess))
        status = error_set(error, ERROR_RUN, "no stream for the exchange between GPUs");
    return exchange_agree(x, status, error);
}

int exchange_nccl_use(Exchange *x, Device *device, Error *error) {
    Nccl *n = memory_new(1, sizeof *n);
    n->ordinal = device->cuda ? device->cuda->ordinal : 0;
    n->inner = *x;
    n->exchange = x;
    if (open_nccl(n, x, error)) {
        free_nccl(n);
        return -1;
    }
    x->name = "nccl";
    x->own = n;
    x->all = all, x->broadcast = broadcast, x->texts = texts, x->collect = collect;
    x->sum_start = sum_start, x->sum_finish = sum_finish, x->gather = gather, x->share = share;
    x->progress = progress;
    x->close = close_all;
    return 0;
}

int cuda_exchange_join(Exchange *x, Device *device, Error *why, Error *error) {
    if (x->ranks == 1)
        return 0;
    if (!cards_differ(x, device)) {
        error_fill(why, ERROR_RUN, "ranks share a GPU, or one has none");
        return 0;
    }
    return exchange_nccl_use(x, device, error);
}
