/* Waiting for messages of MPI: with a deadline, and an eye on the processes of this machine. See
 * kernels/exchange_wait.h. */
#include "kernels/exchange_wait.h"
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPIN    0.02 /* seconds without news after which a wait gives its core away */
#define NAP     200  /* microseconds */
#define LOOK    0.2  /* seconds between two looks at the processes of this machine */
#define STOPPED 2    /* seconds that no look takes: this process was stopped, its machine asleep */
#define GRACE   3    /* seconds that another rank has to say first what this one would say */

/* The one line that ends the run. */
_Noreturn static void give_up(Exchange *x, const char *missing, const char *how) {
    Mpi *own = x->own;
    char saved[96] = "", step[64] = "";
    if (x->step >= 0)
        snprintf(step, sizeof step, " at step %" PRId64, x->step);
    if (x->saved > 0)
        snprintf(saved, sizeof saved, "; the last checkpoint (step %" PRId64 ") is untouched",
                 x->saved);
    fprintf(stderr, "jepa: %s %s%s, in %s%s: all ranks end\n", missing, how, step, x->doing, saved);
    fflush(stderr);
    MPI_Abort(own->comm, ERROR_RUN);
    _exit(ERROR_RUN);
}

static bool has_died(const Mpi *own, int rank) {
    return own->process[rank] && kill(own->process[rank], 0) && errno == ESRCH;
}

/* Who has not answered; returns how long this rank leaves it to others to say so: those who miss
 * fewest know best (others may wait for the same one), and of them the lowest speaks. */
static double name_missing(char *text, size_t room, const Posted *p, const Exchange *x, bool dead) {
    int lowest = -1, count = 0;
    text[0] = 0;
    for (int r = 0; r < x->ranks; r++) {
        bool missing = false;
        for (int i = 0; i < p->count; i++)
            missing = missing || (p->request[i] != MPI_REQUEST_NULL && p->peer[i] == r);
        if (missing && dead)
            missing = has_died(x->own, r);
        size_t at = strlen(text);
        count += missing;
        if (missing)
            snprintf(text + at, room - at, "%s%s", at ? ", " : "", x->who[r]);
        else if (lowest < 0)
            lowest = r;
    }
    if (!text[0])
        snprintf(text, room, "some rank");
    double patience = lowest == x->rank ? 0 : GRACE;
    return patience + (count < GRACE ? count - 1 : GRACE);
}

/* Ends the run when a rank is dead or late. */
static void look_after(const Posted *p, Exchange *x, double waited, double *died) {
    char missing[600], how[80];
    const Mpi *own = x->own;
    for (int i = 0; i < p->count && *died < 0; i++)
        if (p->request[i] != MPI_REQUEST_NULL && p->peer[i] >= 0 && has_died(own, p->peer[i]))
            *died = waited;
    if (*died >= 0) {
        if (waited >= *died + name_missing(missing, sizeof missing, p, x, true))
            give_up(x, missing, "has died");
    }
    if (x->timeout > 0 && waited > x->timeout) {
        double patience = name_missing(missing, sizeof missing, p, x, false);
        snprintf(how, sizeof how, "has not answered for %.0f s (ranks.timeout)", x->timeout);
        if (waited >= x->timeout + patience)
            give_up(x, missing, how);
    }
}

void exchange_check(Exchange *x, int code, const char *what) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &length);
    x->doing = what;
    give_up(x, "MPI says:", text);
}

bool exchange_test(Posted *p, Exchange *x, bool *news) {
    Mpi *own = x->own;
    int done = 0;
    if (own->finished_room < p->count) {
        own->finished_room = p->room;
        own->finished = memory_grow(own->finished, (size_t)p->room, sizeof *own->finished);
    }
    if (p->count)
        exchange_check(
            x, MPI_Testsome(p->count, p->request, &done, own->finished, MPI_STATUSES_IGNORE),
            x->doing);
    *news = done != MPI_UNDEFINED && done > 0;
    if (!p->count || done == MPI_UNDEFINED)
        p->count = 0;
    return !p->count;
}

void exchange_finish(Posted *p, Exchange *x) {
    double started = time_now(), last = started, looked = started, died = -1;
    bool news;
    while (!exchange_test(p, x, &news)) {
        double now = time_now();
        if (news)
            last = now;
        if (now - looked > LOOK) {
            if (now - looked > STOPPED) /* it was this one that was not there */
                started += now - looked;
            looked = now;
            look_after(p, x, now - started, &died);
        }
        if (now - last < SPIN)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, NAP * 1000}, NULL);
    }
}

MPI_Request *exchange_post(Posted *p, int peer) {
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 64;
        p->request = memory_grow(p->request, (size_t)p->room, sizeof *p->request);
        p->peer = memory_grow(p->peer, (size_t)p->room, sizeof *p->peer);
    }
    p->peer[p->count] = peer;
    return &p->request[p->count++];
}

void exchange_send(Posted *p, Exchange *x, const void *from, int count, MPI_Datatype type, int to,
                   int tag) {
    const Mpi *own = x->own;
    exchange_check(x, MPI_Isend(from, count, type, to, tag, own->comm, exchange_post(p, to)),
                   "a send");
}
void exchange_receive(Posted *p, Exchange *x, void *to, int count, MPI_Datatype type, int from,
                      int tag) {
    const Mpi *own = x->own;
    exchange_check(x, MPI_Irecv(to, count, type, from, tag, own->comm, exchange_post(p, from)),
                   "a receive");
}
