/* The exchange between ranks: one process each, started together by mpirun or srun, all training
 * one network (jepa/ranks.h says what each does). One small table of functions, as a device is one:
 *
 *   alone    one rank: nothing is exchanged
 *   mpi      kernels/exchange_mpi.c, between the hosts' memories; what lies in a device's is
 * brought there and back, so that ranks on one machine may share a GPU
 *
 * Rules:
 *  - every rank makes the same calls in the same order;
 *  - buffers lie in device memory unless a line says host; what is exchanged is copied, never
 *    summed, but by sum_finish (and there in an order that the ranks' numbers fix);
 *  - `start` returns at once. Until the `finish` that belongs to it the buffers are the
 *    exchange's; progress() in between keeps it going;
 *  - nothing fails: a rank that is missing past the deadline, or has died, is named, and the
 *    exchange ends all ranks with exit code ERROR_RUN. Errors of this program's own are agreed
 *    upon by the caller (exchange_agree).
 *
 * W ranks, r this one; blocks of SHARD_BLOCK elements, B of them in a flat buffer, K of the rank
 * with most in a compact one (kernels/shard.h). */
#ifndef JEPA_KERNELS_EXCHANGE_H
#define JEPA_KERNELS_EXCHANGE_H

#include "base/error.h"
#include "kernels/shard.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Device Device;
typedef struct Exchange Exchange;

/* What a rank has of a buffer that all will have: `count` runs of `bytes` bytes, the first at byte
 * `first`, each `stride` bytes behind the one before. */
typedef struct ExchangePart {
    int64_t first, bytes, stride, count;
} ExchangePart;

/* Gradients on their way: flat buffer and pieces stay the caller's. */
typedef struct ExchangeSum {
    float *flat;    /* [B][SHARD_BLOCK] this rank's sum, whole */
    float *pieces;  /* [W][K][SHARD_BLOCK] what every rank has of the own blocks; then, in the first
                       K blocks, their sum */
    int64_t blocks; /* B */
    bool fast;      /* in the order of the library's own reduction: other bits for another W */
} ExchangeSum;

struct Exchange {
    const char *name; /* "alone", "mpi" */
    int rank, ranks;
    int node_rank, node_ranks; /* among those on the same machine */
    int cores;                 /* of the machine for this rank */
    char **who;                /* [ranks] "rank 2 (host, process 123)" */
    double timeout;            /* seconds that a wait may take; 0: no limit */
    int64_t step, saved;       /* for messages: the step at work, that of the last checkpoint */
    const char *doing;         /* what is waited for: "the exchange of gradients" */
    void *own;

    /* ---- host memory ---- */
    /* table[ranks][count]: every rank has filled its own row, and has all of them then */
    void (*all)(double *table, int count, Exchange *exchange);
    /* bytes[count] of rank `from` to all others */
    void (*broadcast)(void *bytes, size_t count, int from, Exchange *exchange);
    /* Rank 0: texts[ranks] receives a copy of every rank's text, to be freed. Others: nothing. */
    void (*texts)(char **texts, const char *text, Exchange *exchange);
    /* Rank 0: flat[B][SHARD_BLOCK] in host memory from every rank's compact[K][SHARD_BLOCK].
     * Others: flat is not looked at. */
    void (*collect)(float *flat, const float *compact, int64_t blocks, Device *device,
                    Exchange *exchange);

    /* ---- device memory ---- */
    /* Blocks [from, to) of sum->flat are final: off to their owners. Every block once between two
     * calls of sum_finish. */
    void (*sum_start)(const ExchangeSum *sum, int64_t from, int64_t to, Device *device,
                      Exchange *exchange);
    /* All pieces are there, and summed into the first K blocks of sum->pieces: pairs of ranks,
     * pairs of pairs and so on, as jepa/reduce.h continues. */
    void (*sum_finish)(const ExchangeSum *sum, Device *device, Exchange *exchange);
    /* Blocks [from, to) of flat, elements of `size` bytes, from every rank's compact buffer, whose
     * first block is the first own one of [from, to). */
    void (*gather)(void *flat, const void *compact, int64_t from, int64_t to, size_t size,
                   Device *device, Exchange *exchange);
    /* parts[ranks] of one buffer: the own part is filled, all are then. */
    void (*share)(void *buffer, const ExchangePart *parts, Device *device, Exchange *exchange);
    /* Keeps what was started going; to be called now and then between start and finish. */
    void (*progress)(Exchange *exchange);
    /* Ends the exchange in order: waits for all ranks. Without `wait` (an error that ended this
     * rank alone, before anything could be agreed on) ends all ranks. */
    void (*close)(bool wait, Exchange *exchange);
};

/* Joins the ranks that were started together, if there are several: seen from what mpirun, srun and
 * their like put into the environment. Otherwise, or where this is the only one, *exchange is
 * `alone` and no library is started. ERROR_USAGE: one of several, in a build without MPI. */
int exchange_open(Exchange **exchange, Error *error);
void exchange_close(Exchange *exchange, bool wait);

/* Ranks that the environment says were started together; 1 without a launcher. */
int exchange_launched(void);

/* Is every rank well? `status` and `error` of this one. 0 when all are, else -1 on all of them with
 * the error of the first rank that is not, with its name before it (but rank 0's). */
int exchange_agree(Exchange *exchange, int status, Error *error);

/* Sum of the W pieces of `count` elements, `apart` elements from one to the next, into the first,
 * in the fixed order: for exchanges to call. */
void exchange_add(float *pieces, int64_t apart, int64_t count, Device *device, int ranks);

#endif
