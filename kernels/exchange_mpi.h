/* The exchange over MPI. See kernels/exchange.h. */
#ifndef JEPA_KERNELS_EXCHANGE_MPI_H
#define JEPA_KERNELS_EXCHANGE_MPI_H

#include "kernels/exchange.h"

/* `launched`: the ranks that the environment speaks of. */
int exchange_mpi_open(Exchange **exchange, int launched, Error *error);

#endif
