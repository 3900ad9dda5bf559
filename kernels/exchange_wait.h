/* Messages of MPI and waiting for them: for kernels/exchange_mpi.c alone. */
#ifndef JEPA_KERNELS_EXCHANGE_WAIT_H
#define JEPA_KERNELS_EXCHANGE_WAIT_H

#include "kernels/exchange.h"
#include <mpi.h>
#include <sys/types.h>

enum { STAGE_OUT, STAGE_IN, STAGES };

/* Messages under way, and whom each is to or from. */
typedef struct Posted {
    MPI_Request *request;
    int *peer; /* -1: all of them */
    int count, room;
} Posted;

typedef struct Mpi {
    MPI_Comm comm;
    Posted sum, now; /* of a sum between start and finish; of a call */
    int *finished;   /* [room] */
    int finished_room;
    int highest_tag;
    pid_t *process;      /* [ranks] of this machine that can be looked after; 0: not */
    char *stage[STAGES]; /* host copies of device memory */
    size_t stage_bytes[STAGES];
} Mpi;

/* Posts one message of `count` elements of a type. */
void exchange_send(Posted *posted, Exchange *exchange, const void *from, int count,
                   MPI_Datatype type, int to, int tag);
void exchange_receive(Posted *posted, Exchange *exchange, void *to, int count, MPI_Datatype type,
                      int from, int tag);
/* The place of a further request that belongs to no single rank. */
MPI_Request *exchange_post(Posted *posted, int peer);
/* Looks for news; true when nothing is under way any more. */
bool exchange_test(Posted *posted, Exchange *exchange, bool *news);
/* Waits for all of them; ends all ranks when one is dead or late. */
void exchange_finish(Posted *posted, Exchange *exchange);
/* Ends all ranks when MPI itself failed in `what`. */
void exchange_check(Exchange *exchange, int code, const char *what);

#endif
