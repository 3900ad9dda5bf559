/* NCCL by MPI, for tests: the functions that kernels/cuda/exchange_nccl.c uses, on memory of the
 * host. What lies between group_start and group_end happens at the end: messages between pairs are
 * posted together, collectives follow in their order. Without MPI there is only one rank. */
#include "kernels/cuda/nccl_library.h"
#include "tests/cuda/emulation/apart.h"
#include <stdlib.h>
#include <string.h>
#ifdef JEPA_MPI
#include <mpi.h>
#endif

enum { OPERATIONS_MAX = 1 << 16 };

typedef enum Kind { SEND, RECEIVE, BROADCAST, ALL_GATHER, REDUCE, REDUCE_SCATTER } Kind;
typedef struct Operation {
    Kind kind;
    const void *from;
    void *to;
    size_t count;
    ncclDataType_t type;
    int peer;
} Operation;

struct ncclComm {
    int ranks, rank;
};

/* An emulated process has one thread that exchanges; groups do not nest. */
static Operation operations[OPERATIONS_MAX];
static int waiting;
static int grouped;

static size_t size_of(ncclDataType_t type) {
    return type == ncclFloat ? sizeof(float) : 1;
}

#ifdef JEPA_MPI
static MPI_Datatype mpi_type(ncclDataType_t type) {
    return type == ncclFloat ? MPI_FLOAT : MPI_BYTE;
}

static void run_pairs(void) {
    MPI_Request *requests = malloc((size_t)(waiting + 1) * sizeof *requests);
    int count = 0;
    for (int i = 0; i < waiting; i++) {
        const Operation *o = &operations[i];
        int length = (int)o->count;
        if (o->kind == SEND)
            MPI_Isend(o->from, length, mpi_type(o->type), o->peer, 7, MPI_COMM_WORLD,
                      &requests[count++]);
        else if (o->kind == RECEIVE)
            MPI_Irecv(o->to, length, mpi_type(o->type), o->peer, 7, MPI_COMM_WORLD,
                      &requests[count++]);
    }
    MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    free(requests);
}

static void run_collective(const Operation *o) {
    int length = (int)o->count;
    MPI_Datatype type = mpi_type(o->type);
    if (o->kind == BROADCAST) {
        int rank;
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        if (rank == o->peer && o->to != o->from)
            memcpy(o->to, o->from, o->count * size_of(o->type));
        MPI_Bcast(o->to, length, type, o->peer, MPI_COMM_WORLD);
    } else if (o->kind == ALL_GATHER) {
        MPI_Allgather(o->from, length, type, o->to, length, type, MPI_COMM_WORLD);
    } else if (o->kind == REDUCE) {
        MPI_Reduce(o->from, o->to, length, type, MPI_SUM, o->peer, MPI_COMM_WORLD);
    } else if (o->kind == REDUCE_SCATTER) {
        MPI_Reduce_scatter_block(o->from, o->to, length, type, MPI_SUM, MPI_COMM_WORLD);
    }
}

#endif

/* One rank: what is gathered or summed is what it has. */
static void run_alone(void) {
    for (int i = 0; i < waiting; i++)
        if (operations[i].to && operations[i].from && operations[i].to != operations[i].from)
            memmove(operations[i].to, operations[i].from,
                    operations[i].count * size_of(operations[i].type));
}

static void run_all(void) {
#ifdef JEPA_MPI
    int begun = 0;
    MPI_Initialized(&begun);
    if (begun) {
        run_pairs();
        for (int i = 0; i < waiting; i++)
            run_collective(&operations[i]);
        return;
    }
#endif
    run_alone();
}

static ncclResult_t group_start(void) {
    grouped = 1;
    return ncclSuccess;
}
static ncclResult_t group_end(void) {
    emulation_device_begin();
    run_all();
    emulation_device_end();
    grouped = waiting = 0;
    return ncclSuccess;
}

static ncclResult_t note(Operation operation) {
    if (waiting == OPERATIONS_MAX)
        return ncclInvalidUsage;
    operations[waiting++] = operation;
    return grouped ? ncclSuccess : group_end();
}

static ncclResult_t send(const void *from, size_t count, ncclDataType_t type, int peer,
                         ncclComm_t comm, cudaStream_t stream) {
    (void)comm, (void)stream;
    return note((Operation){SEND, from, NULL, count, type, peer});
}
static ncclResult_t receive(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                            cudaStream_t stream) {
    (void)comm, (void)stream;
    return note((Operation){RECEIVE, NULL, to, count, type, peer});
}
static ncclResult_t broadcast(const void *from, void *to, size_t count, ncclDataType_t type,
                              int root, ncclComm_t comm, cudaStream_t stream) {
    (void)comm, (void)stream;
    return note((Operation){BROADCAST, from, to, count, type, root});
}
static ncclResult_t all_gather(const void *from, void *to, size_t count, ncclDataType_t type,
                               ncclComm_t comm, cudaStream_t stream) {
    (void)comm, (void)stream;
    return note((Operation){ALL_GATHER, from, to, count, type, 0});
}
static ncclResult_t reduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
    (void)comm, (void)stream;
    return op == ncclSum ? note((Operation){REDUCE, from, to, count, type, root})
                         : ncclInvalidArgument;
}
static ncclResult_t reduce_scatter(const void *from, void *to, size_t count, ncclDataType_t type,
                                   ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
    (void)comm, (void)stream;
    return op == ncclSum ? note((Operation){REDUCE_SCATTER, from, to, count, type, 0})
                         : ncclInvalidArgument;
}

static const char *error_string(ncclResult_t result) {
    return result == ncclSuccess ? "no error" : "an error of the emulation";
}
static ncclResult_t version(int *number) {
    *number = NCCL_VERSION_CODE;
    return ncclSuccess;
}
static ncclResult_t unique_id(ncclUniqueId *id) {
    memset(id, 1, sizeof *id);
    return ncclSuccess;
}
static ncclResult_t open_comm(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank) {
    if (id.internal[0] != 1)
        return ncclInvalidArgument;
    *comm = malloc(sizeof **comm);
    **comm = (struct ncclComm){ranks, rank};
    return ncclSuccess;
}
static ncclResult_t destroy(ncclComm_t comm) {
    free(comm);
    return ncclSuccess;
}
static ncclResult_t async_error(ncclComm_t comm, ncclResult_t *result) {
    (void)comm;
    *result = ncclSuccess;
    return ncclSuccess;
}

int nccl_library_open(NcclLibrary *library, Error *error) {
    (void)error;
    *library = (NcclLibrary){NULL,        error_string, version, unique_id,
                             open_comm,   destroy,      destroy, async_error,
                             group_start, group_end,    send,    receive,
                             broadcast,   all_gather,   reduce,  reduce_scatter};
    return 0;
}
