/* Choosing an exchange; one rank alone; what all exchanges have in common. See kernels/exchange.h.
 */
#include "kernels/exchange.h"
#include "base/machine.h"
#include "kernels/device.h"
#ifdef JEPA_MPI
#include "kernels/exchange_mpi.h"
#endif
#include <stdlib.h>
#include <string.h>

/* ---- alone: every rank's share is all there is ---- */

static void alone_all(double *table, int count, Exchange *exchange) {
    (void)table, (void)count, (void)exchange;
}
static void alone_broadcast(void *bytes, size_t count, int from, Exchange *exchange) {
    (void)bytes, (void)count, (void)from, (void)exchange;
}
static void alone_texts(char **texts, const char *text, Exchange *exchange) {
    (void)exchange;
    texts[0] = memory_text("%s", text);
}
static void alone_progress(Exchange *exchange) {
    (void)exchange;
}
static void alone_close(bool wait, Exchange *exchange) {
    (void)wait, (void)exchange;
}

/* Networks are not exchanged with one rank (jepa/ranks.c): the other functions are never called. */
static Exchange *open_alone(void) {
    Exchange *made = memory_new(1, sizeof *made);
    *made = (Exchange){.name = "alone",
                       .ranks = 1,
                       .node_ranks = 1,
                       .cores = machine_cores(),
                       .doing = "nothing",
                       .all = alone_all,
                       .broadcast = alone_broadcast,
                       .texts = alone_texts,
                       .progress = alone_progress,
                       .close = alone_close};
    made->who = memory_new(1, sizeof *made->who);
    made->who[0] = memory_text("rank 0");
    return made;
}

/* The number of tasks as launchers say it: Open MPI, PMI-1 and 2 (MPICH, Cray, srun --mpi=pmi2),
 * and srun itself for a job step of several tasks (its PMIx says no number). */
int exchange_launched(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        int ranks = value ? atoi(value) : 0;
        if (ranks > 1)
            return ranks;
    }
    return 1;
}

int exchange_open(Exchange **exchange, Error *error) {
    int ranks = exchange_launched();
    *exchange = NULL;
    if (ranks == 1) {
        *exchange = open_alone();
        return 0;
    }
#ifdef JEPA_MPI
    return exchange_mpi_open(exchange, ranks, error);
#else
    return error_set(
        error, ERROR_USAGE,
        "started as one of %d ranks, but this build has no MPI: install it (Debian and "
        "Ubuntu: libopenmpi-dev openmpi-bin) and build with -DJEPA_MPI=ON, or start "
        "one process",
        ranks);
#endif
}

void exchange_close(Exchange *exchange, bool wait) {
    if (!exchange)
        return;
    exchange->close(wait, exchange);
    for (int r = 0; r < exchange->ranks; r++)
        free(exchange->who[r]);
    free(exchange->who);
    free(exchange);
}

int exchange_agree(Exchange *exchange, int status, Error *error) {
    if (exchange->ranks == 1)
        return status ? -1 : 0;
    double *failed = memory_new((size_t)exchange->ranks, sizeof *failed);
    failed[exchange->rank] = status != 0;
    exchange->all(failed, 1, exchange);
    int first = 0;
    while (first < exchange->ranks && failed[first] == 0)
        first++;
    free(failed);
    if (first == exchange->ranks)
        return 0;
    Error own = {0};
    if (first == exchange->rank) {
        own = *error;
        if (first)
            error_extend(&own, "%s", exchange->who[first]);
    }
    exchange->broadcast(&own, sizeof own, first, exchange);
    *error = own;
    return -1;
}

/* The binary counter of jepa/reduce.c over ranks: ((0 + 1) + (2 + 3)) + ((4 + 5) + 6). */
void exchange_add(float *pieces, int64_t apart, int64_t count, Device *device, int ranks) {
    for (int step = 1; step < ranks; step *= 2)
        for (int r = 0; r + step < ranks; r += 2 * step)
            device->add(pieces + r * apart, pieces + (r + step) * apart, count, device);
}
