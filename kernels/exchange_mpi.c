/* The exchange over MPI. See kernels/exchange.h.
 *
 * Everything goes from rank to rank in messages of its own (the bytes are those of a ring), so that
 * a rank that waits knows for whom: a rank that lives has sent what it has to send before it waits.
 * Messages are posted, never waited for inside the library: waits are loops over MPI_Testsome with
 * a deadline (kernels/exchange_wait.c). */
#include "kernels/exchange_mpi.h"
#include "base/machine.h"
#include "kernels/device.h"
#include "kernels/exchange_wait.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_BLOCKS 64 /* of a message: 16 MiB, so that waiting sees it move */

enum { TAG_ALL, TAG_BROADCAST, TAG_TEXT, TAG_COLLECT, TAG_GATHER, TAG_SHARE, TAG_SUM };

/* ---- host memory ---- */

static void mpi_all(double *table, int count, Exchange *x) {
    Mpi *own = x->own;
    for (int r = 0; r < x->ranks; r++)
        if (r != x->rank) {
            exchange_receive(&own->now, x, table + r * count, count, MPI_DOUBLE, r, TAG_ALL);
            exchange_send(&own->now, x, table + x->rank * count, count, MPI_DOUBLE, r, TAG_ALL);
        }
    exchange_finish(&own->now, x);
}

static void mpi_broadcast(void *bytes, size_t count, int from, Exchange *x) {
    Mpi *own = x->own;
    JEPA_ASSERT(count < (size_t)1 << 30);
    if (x->rank != from)
        exchange_receive(&own->now, x, bytes, (int)count, MPI_BYTE, from, TAG_BROADCAST);
    for (int r = 0; r < x->ranks && x->rank == from; r++)
        if (r != from)
            exchange_send(&own->now, x, bytes, (int)count, MPI_BYTE, r, TAG_BROADCAST);
    exchange_finish(&own->now, x);
}

static void mpi_texts(char **texts, const char *text, Exchange *x) {
    Mpi *own = x->own;
    double *lengths = memory_new((size_t)x->ranks, sizeof *lengths);
    lengths[x->rank] = (double)strlen(text);
    mpi_all(lengths, 1, x);
    for (int r = 0; r < x->ranks && x->rank == 0; r++) {
        texts[r] = memory_new((size_t)lengths[r] + 1, 1);
        if (r)
            exchange_receive(&own->now, x, texts[r], (int)lengths[r], MPI_CHAR, r, TAG_TEXT);
        else
            memcpy(texts[0], text, strlen(text));
    }
    if (x->rank)
        exchange_send(&own->now, x, text, (int)strlen(text), MPI_CHAR, 0, TAG_TEXT);
    exchange_finish(&own->now, x);
    free(lengths);
}

/* ---- blocks ---- */

/* A host buffer that only grows. */
static char *staged(Exchange *x, int which, size_t bytes) {
    Mpi *own = x->own;
    if (own->stage_bytes[which] < bytes) {
        free(own->stage[which]);
        own->stage[which] = memory_new(bytes, 1);
        own->stage_bytes[which] = bytes;
    }
    return own->stage[which];
}

/* The blocks of a rank in [from, to): the first, and how many. */
typedef struct Own {
    int64_t first, count;
    int64_t place; /* of the first in the rank's compact buffer */
} Own;

static Own own_of(const Exchange *x, int rank, int64_t from, int64_t to) {
    Shard s = {rank, x->ranks};
    int64_t place = shard_blocks_of(s, rank, from);
    return (Own){place * x->ranks + rank, shard_blocks_of(s, rank, to) - place, place};
}

/* `blocks` blocks of `bytes` bytes, `apart` blocks from one to the next, in messages that are not
 * too long. */
static void move_blocks(Posted *p, Exchange *x, char *at, int64_t blocks, int64_t apart,
                        size_t bytes, int peer, int tag, bool send) {
    for (int64_t done = 0; done < blocks; done += MESSAGE_BLOCKS) {
        int count = (int)(blocks - done < MESSAGE_BLOCKS ? blocks - done : MESSAGE_BLOCKS);
        MPI_Datatype type;
        MPI_Type_create_hvector(count, (int)bytes, (MPI_Aint)apart * (MPI_Aint)bytes, MPI_BYTE,
                                &type);
        MPI_Type_commit(&type);
        char *place = at + (size_t)(done * apart) * bytes;
        if (send)
            exchange_send(p, x, place, 1, type, peer, tag);
        else
            exchange_receive(p, x, place, 1, type, peer, tag);
        MPI_Type_free(&type); /* when the message is done */
    }
}

static const size_t block_bytes = SHARD_BLOCK * sizeof(float);

static void copy_blocks(float *to, int64_t to_apart, const float *from, int64_t from_apart,
                        int64_t blocks, size_t size, Device *device) {
    device->rows_columns(to, to_apart * SHARD_BLOCK, 0, from, from_apart * SHARD_BLOCK, 0, blocks,
                         SHARD_BLOCK, size, device);
}

static int sum_tag(const Mpi *own, int64_t from) {
    return TAG_SUM + (int)(from % (own->highest_tag - TAG_SUM));
}

static void mpi_sum_start(const ExchangeSum *sum, int64_t from, int64_t to, Device *device,
                          Exchange *x) {
    Mpi *own = x->own;
    if (sum->fast)
        return;
    int64_t most = shard_most((Shard){0, x->ranks}, sum->blocks);
    Own mine = own_of(x, x->rank, from, to);
    int tag = sum_tag(own, from);
    char *flat = (char *)sum->flat, *pieces = (char *)sum->pieces;
    if (!device->on_host) {
        pieces = staged(x, STAGE_IN, (size_t)(x->ranks * most) * block_bytes);
        flat = staged(x, STAGE_OUT, (size_t)sum->blocks * block_bytes);
        device->download(flat + (size_t)from * block_bytes, sum->flat + from * SHARD_BLOCK,
                         (size_t)(to - from) * block_bytes, device);
    }
    for (int i = 1; i < x->ranks; i++) { /* not all to the same one first */
        int peer = (x->rank + i) % x->ranks;
        Own its = own_of(x, peer, from, to);
        move_blocks(&own->sum, x, pieces + (size_t)(peer * most + mine.place) * block_bytes,
                    mine.count, 1, block_bytes, peer, tag, false);
        move_blocks(&own->sum, x, flat + (size_t)its.first * block_bytes, its.count, x->ranks,
                    block_bytes, peer, tag, true);
    }
    copy_blocks(sum->pieces + (x->rank * most + mine.place) * SHARD_BLOCK, 1,
                sum->flat + mine.first * SHARD_BLOCK, x->ranks, mine.count, sizeof(float), device);
}

/* The library's own reduction: each owner's blocks side by side, then one call. */
static void reduce_fast(const ExchangeSum *sum, int64_t most, Device *device, Exchange *x) {
    Mpi *own = x->own;
    double *here = memory_new((size_t)x->ranks, sizeof *here);
    size_t bytes = (size_t)(x->ranks * most) * block_bytes;
    for (int r = 0; r < x->ranks; r++) {
        Own its = own_of(x, r, 0, sum->blocks);
        float *piece = sum->pieces + r * most * SHARD_BLOCK;
        copy_blocks(piece, 1, sum->flat + its.first * SHARD_BLOCK, x->ranks, its.count,
                    sizeof(float), device);
        if (its.count < most)
            device->zero(piece + its.count * SHARD_BLOCK, block_bytes, device);
    }
    mpi_all(here, 1, x); /* says who is missing: a collective could not */
    free(here);
    float *pieces = sum->pieces;
    if (!device->on_host) {
        pieces = (float *)(void *)staged(x, STAGE_IN, bytes);
        device->download(pieces, sum->pieces, bytes, device);
    }
    JEPA_ASSERT(most * SHARD_BLOCK < (int64_t)1 << 31);
    exchange_check(x,
                   MPI_Ireduce_scatter_block(MPI_IN_PLACE, pieces, (int)(most * SHARD_BLOCK),
                                             MPI_FLOAT, MPI_SUM, own->comm,
                                             exchange_post(&own->now, -1)),
                   "a reduction");
    exchange_finish(&own->now, x);
    if (!device->on_host)
        device->upload(sum->pieces, pieces, (size_t)most * block_bytes, device);
}

static void mpi_sum_finish(const ExchangeSum *sum, Device *device, Exchange *x) {
    Mpi *own = x->own;
    int64_t most = shard_most((Shard){0, x->ranks}, sum->blocks);
    int64_t count = own_of(x, x->rank, 0, sum->blocks).count;
    x->doing = "the exchange of gradients";
    if (sum->fast) {
        reduce_fast(sum, most, device, x);
        return;
    }
    exchange_finish(&own->sum, x);
    for (int r = 0; r < x->ranks && !device->on_host; r++)
        if (r != x->rank)
            device->upload(sum->pieces + r * most * SHARD_BLOCK,
                           own->stage[STAGE_IN] + (size_t)(r * most) * block_bytes,
                           (size_t)count * block_bytes, device);
    exchange_add(sum->pieces, most * SHARD_BLOCK, count * SHARD_BLOCK, device, x->ranks);
}

static void mpi_gather(void *flat_, const void *compact_, int64_t from, int64_t to, size_t size,
                       Device *device, Exchange *x) {
    Mpi *own = x->own;
    size_t bytes = SHARD_BLOCK * size;
    Own mine = own_of(x, x->rank, from, to);
    char *flat = flat_, *compact = (char *)(uintptr_t)compact_;
    x->doing = "the exchange of weights";
    copy_blocks((float *)(void *)(flat + (size_t)mine.first * bytes), x->ranks, compact_, 1,
                mine.count, size, device);
    if (!device->on_host) {
        flat = staged(x, STAGE_IN, (size_t)to * bytes);
        compact = staged(x, STAGE_OUT, (size_t)mine.count * bytes);
        device->download(compact, compact_, (size_t)mine.count * bytes, device);
        for (int64_t k = 0; k < mine.count; k++)
            memcpy(flat + (size_t)(mine.first + k * x->ranks) * bytes, compact + (size_t)k * bytes,
                   bytes);
    }
    for (int i = 1; i < x->ranks; i++) {
        int peer = (x->rank + i) % x->ranks;
        Own its = own_of(x, peer, from, to);
        /* messages of both sides are cut alike: by the sender's blocks */
        move_blocks(&own->now, x, flat + (size_t)its.first * bytes, its.count, x->ranks, bytes,
                    peer, TAG_GATHER, false);
        move_blocks(&own->now, x, compact, mine.count, 1, bytes, peer, TAG_GATHER, true);
    }
    exchange_finish(&own->now, x);
    if (!device->on_host)
        device->upload((char *)flat_ + (size_t)from * bytes, flat + (size_t)from * bytes,
                       (size_t)(to - from) * bytes, device);
}

static void mpi_collect(float *flat, const float *compact_, int64_t blocks, Device *device,
                        Exchange *x) {
    Mpi *own = x->own;
    Own mine = own_of(x, x->rank, 0, blocks);
    char *compact = (char *)(uintptr_t)compact_;
    x->doing = "the collection of a checkpoint";
    if (!device->on_host) {
        compact = staged(x, STAGE_OUT, (size_t)mine.count * block_bytes);
        device->download(compact, compact_, (size_t)mine.count * block_bytes, device);
    }
    for (int64_t k = 0; k < mine.count && x->rank == 0; k++)
        memcpy(flat + (mine.first + k * x->ranks) * SHARD_BLOCK, compact + (size_t)k * block_bytes,
               block_bytes);
    for (int r = 1; r < x->ranks && x->rank == 0; r++) {
        Own its = own_of(x, r, 0, blocks);
        move_blocks(&own->now, x, (char *)(flat + its.first * SHARD_BLOCK), its.count, x->ranks,
                    block_bytes, r, TAG_COLLECT, false);
    }
    if (x->rank)
        move_blocks(&own->now, x, compact, mine.count, 1, block_bytes, 0, TAG_COLLECT, true);
    exchange_finish(&own->now, x);
}

/* ---- parts of any buffer ---- */

static void mpi_share(void *buffer, const ExchangePart *parts, Device *device, Exchange *x) {
    Mpi *own = x->own;
    char *at = buffer;
    const ExchangePart *mine = &parts[x->rank];
    if (!device->on_host) {
        int64_t end = 0;
        for (int r = 0; r < x->ranks; r++) {
            int64_t last = parts[r].first + (parts[r].count - 1) * parts[r].stride + parts[r].bytes;
            end = parts[r].count && last > end ? last : end;
        }
        at = staged(x, STAGE_IN, (size_t)end);
        for (int64_t i = 0; i < mine->count; i++) {
            int64_t place = mine->first + i * mine->stride;
            device->download(at + place, (char *)buffer + place, (size_t)mine->bytes, device);
        }
    }
    for (int i = 1; i < x->ranks; i++) {
        int peer = (x->rank + i) % x->ranks;
        for (int way = 0; way < 2; way++) {
            const ExchangePart *part = way ? mine : &parts[peer];
            MPI_Datatype type;
            if (!part->count || !part->bytes)
                continue;
            MPI_Type_create_hvector((int)part->count, (int)part->bytes, (MPI_Aint)part->stride,
                                    MPI_BYTE, &type);
            MPI_Type_commit(&type);
            if (way)
                exchange_send(&own->now, x, at + part->first, 1, type, peer, TAG_SHARE);
            else
                exchange_receive(&own->now, x, at + part->first, 1, type, peer, TAG_SHARE);
            MPI_Type_free(&type);
        }
    }
    exchange_finish(&own->now, x);
    for (int r = 0; r < x->ranks && !device->on_host; r++)
        for (int64_t i = 0; i < parts[r].count && r != x->rank; i++) {
            int64_t place = parts[r].first + i * parts[r].stride;
            device->upload((char *)buffer + place, at + place, (size_t)parts[r].bytes, device);
        }
}

static void mpi_progress(Exchange *x) {
    Mpi *own = x->own;
    bool news;
    x->doing = "the exchange of gradients";
    exchange_test(&own->sum, x, &news);
}

/* ---- life ---- */

static void mpi_close(bool wait, Exchange *x) {
    Mpi *own = x->own;
    if (!wait) {
        MPI_Abort(own->comm, ERROR_RUN);
        _exit(ERROR_RUN);
    }
    double *here = memory_new((size_t)x->ranks, sizeof *here);
    x->doing = "the end of the run";
    mpi_all(here, 1, x);
    free(here);
    MPI_Comm_free(&own->comm);
    MPI_Finalize();
    for (int i = 0; i < STAGES; i++)
        free(own->stage[i]);
    free(own->sum.request);
    free(own->sum.peer);
    free(own->now.request);
    free(own->now.peer);
    free(own->finished);
    free(own->process);
    free(own);
}

/* What every rank tells the others at the start. */
typedef struct Hello {
    char machine[200];
    int process;
    int node; /* lowest rank on its machine */
    unsigned char mask[MACHINE_MASK];
} Hello;

static void meet(Exchange *x, Mpi *own) {
    Hello *all = memory_new((size_t)x->ranks, sizeof *all), *me = &all[x->rank];
    unsigned char(*masks)[MACHINE_MASK] = memory_new((size_t)x->ranks, sizeof *masks);
    MPI_Comm node;
    int mine = 0;
    snprintf(me->machine, sizeof me->machine, "this machine");
    if (gethostname(me->machine, sizeof me->machine - 1))
        me->machine[0] = 0;
    me->process = (int)getpid();
    machine_mask(me->mask);
    MPI_Comm_split_type(own->comm, MPI_COMM_TYPE_SHARED, x->rank, MPI_INFO_NULL, &node);
    me->node = x->rank;
    MPI_Bcast(&me->node, 1, MPI_INT, 0, node);
    MPI_Comm_free(&node);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, (int)sizeof *all, MPI_BYTE, own->comm);
    x->who = memory_new((size_t)x->ranks, sizeof *x->who);
    own->process = memory_new((size_t)x->ranks, sizeof *own->process);
    for (int r = 0; r < x->ranks; r++) {
        x->who[r] = memory_text("rank %d (%s, process %d)", r, all[r].machine, all[r].process);
        if (all[r].node != me->node)
            continue;
        if (r == x->rank)
            mine = x->node_rank = x->node_ranks;
        memcpy(masks[x->node_ranks++], all[r].mask, MACHINE_MASK);
        if (r != x->rank && !kill(all[r].process, 0)) /* not from within another container */
            own->process[r] = all[r].process;
    }
    x->cores = machine_cores_among((const unsigned char(*)[MACHINE_MASK])masks, x->node_ranks,
                                   mine);
    free(masks);
    free(all);
}

int exchange_mpi_open(Exchange **exchange, int launched, Error *error) {
    int given = 0, ranks = 0, rank = 0, found = 0, *highest = NULL;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS)
        return error_set(error, ERROR_RUN, "MPI does not start");
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (ranks != launched) {
        MPI_Finalize();
        return error_set(
            error, ERROR_USAGE,
            "started as one of %d ranks, but MPI sees %d: mpirun or srun belongs to "
            "another MPI than this program was built with (with Slurm: srun --mpi=list "
            "shows what there is)",
            launched, ranks);
    }
    Exchange *made = memory_new(1, sizeof *made);
    Mpi *own = memory_new(1, sizeof *own);
    *made = (Exchange){.name = "mpi",
                       .rank = rank,
                       .ranks = ranks,
                       .step = -1,
                       .doing = "the start of the run",
                       .own = own,
                       .all = mpi_all,
                       .broadcast = mpi_broadcast,
                       .texts = mpi_texts,
                       .collect = mpi_collect,
                       .sum_start = mpi_sum_start,
                       .sum_finish = mpi_sum_finish,
                       .gather = mpi_gather,
                       .share = mpi_share,
                       .progress = mpi_progress,
                       .close = mpi_close};
    MPI_Comm_dup(MPI_COMM_WORLD, &own->comm);
    MPI_Comm_set_errhandler(own->comm, MPI_ERRORS_RETURN);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &highest, &found);
    own->highest_tag = found ? *highest : 32767;
    meet(made, own);
    *exchange = made;
    return 0;
}
