/* CUDA graphs of passes. See kernels/cuda/graphs.h. */
#include "kernels/cuda/graphs.h"
#include "base/log.h"
#include "kernels/cuda/weights.h"
#include "kernels/device.h"
#include <stdlib.h>
#include <string.h>

#define PASSES     CUDA_PINNED /* that are known at a time: each may use a list of its own */
#define PINS_LISTS 2           /* the pass that pins its lists; the next one is captured */

typedef struct Pass {
    uint64_t key;
    /* of the device: what is launched depends on these too */
    Precision precision;
    bool tf32, fast;
    int times;     /* met so far; 0: an empty place */
    uint64_t used; /* when it was met last */
    bool plain;    /* its lists cannot all stay: it is launched one by one */
    cudaGraphExec_t graph;
} Pass;

typedef struct CudaGraphs {
    Pass pass[PASSES];
    Pass *at_work; /* between replay and replay_end */
    uint64_t clock;
    int64_t launched;
    bool off;           /* a capture failed */
    const char *spoilt; /* by what */
    bool said;          /* that there are graphs */
} CudaGraphs;

/* off: there is no room for the lists that would stay. */
static CudaGraphs *graphs_of(Device *device) {
    Cuda *cuda = device->cuda;
    if (!cuda->graphs) {
        cuda->graphs = memory_new(1, sizeof *cuda->graphs);
        cuda->pins = 1;
        cuda->graphs->off = cuda_lengths_more(CUDA_PINNED, device) != 0;
        if (cuda->graphs->off)
            log_warn("CUDA graphs: no memory for their lists; launched one by one");
    }
    return cuda->graphs;
}

static bool is_of(const Pass *pass, uint64_t key, const Device *device) {
    return pass->times && pass->key == key && pass->precision == device->precision &&
           pass->tf32 == device->tf32 && pass->fast == device->fast;
}

/* The pass of a key, in the place of one that was met only once if it is new; NULL: all places
 * belong to passes that came again. */
static Pass *pass_of(CudaGraphs *g, uint64_t key, const Device *device) {
    Pass *oldest = NULL;
    for (int i = 0; i < PASSES; i++) {
        Pass *pass = &g->pass[i];
        if (is_of(pass, key, device))
            return pass;
        if (pass->times < PINS_LISTS && (!oldest || pass->used < oldest->used))
            oldest = pass;
    }
    if (oldest)
        *oldest = (Pass){
            .key = key, .precision = device->precision, .tf32 = device->tf32, .fast = device->fast};
    return oldest;
}

static void launch(CudaGraphs *g, const Pass *pass, Device *device) {
    CUDA_CHECK(cudaGraphLaunch(pass->graph, device->cuda->stream));
    g->launched++;
}

bool cuda_replay(uint64_t key, Device *device) {
    Cuda *cuda = device->cuda;
    CudaGraphs *g = graphs_of(device);
    Pass *pass = g->off ? NULL : pass_of(g, key, device);
    JEPA_ASSERT(!g->at_work);
    if (!pass)
        return false;
    pass->used = ++g->clock;
    if (pass->graph) {
        cuda_weights_ready(device);
        launch(g, pass, device);
        return true;
    }
    g->at_work = pass;
    pass->times++;
    cuda->pinning = pass->times == PINS_LISTS;
    if (pass->times > PINS_LISTS && !pass->plain) {
        cuda_weights_ready(device);
        g->spoilt = NULL;
        /* thread-local: threads that load videos go on as they like */
        CUDA_CHECK(cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
        cuda->capturing = true;
    }
    return false;
}

/* Ends the capture; why it failed, or NULL. */
static const char *make_graph(CudaGraphs *g, Pass *pass, Device *device) {
    cudaGraph_t graph = NULL;
    size_t nodes = 0;
    cudaError_t status = cudaStreamEndCapture(device->cuda->stream, &graph);
    device->cuda->capturing = false;
    if (status == cudaSuccess && !g->spoilt)
        status = cudaGraphGetNodes(graph, NULL, &nodes);
    if (status == cudaSuccess && !g->spoilt)
        status = cudaGraphInstantiateWithFlags(&pass->graph, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    cudaGetLastError(); /* it is told here; later calls start afresh */
    if (status != cudaSuccess || g->spoilt) {
        pass->graph = NULL;
        return g->spoilt ? g->spoilt : cudaGetErrorString(status);
    }
    if (!g->said)
        log_info("CUDA graphs: passes that come again in the same shape are launched at once, the "
                 "first one with %d operations",
                 (int)nodes);
    g->said = true;
    return NULL;
}

bool cuda_replay_end(Device *device) {
    Cuda *cuda = device->cuda;
    CudaGraphs *g = cuda->graphs;
    if (!g || !g->at_work)
        return true;
    Pass *pass = g->at_work;
    g->at_work = NULL;
    cuda->pinning = false;
    if (!cuda->capturing)
        return true;
    const char *why = make_graph(g, pass, device);
    if (!why) {
        launch(g, pass, device);
        return true;
    }
    log_warn("CUDA graphs: a pass could not be captured (%s): launched one by one from here on",
             why);
    g->off = true;
    return false;
}

bool cuda_graphs_spoil(const char *what, Device *device) {
    if (!device->cuda->capturing)
        return false;
    if (!device->cuda->graphs->spoilt)
        device->cuda->graphs->spoilt = what;
    return true;
}

void cuda_graphs_pin(uint64_t *mark, int others, Device *device) {
    Cuda *cuda = device->cuda;
    if (!cuda->pinning || *mark == cuda->pins)
        return;
    if (others >= CUDA_PINNED)
        cuda->graphs->at_work->plain = true;
    else
        *mark = cuda->pins;
}

void cuda_graphs_drop(Device *device) {
    CudaGraphs *g = device->cuda->graphs;
    if (!g)
        return;
    for (int i = 0; i < PASSES; i++)
        if (g->pass[i].graph)
            cudaGraphExecDestroy(g->pass[i].graph);
    memset(g->pass, 0, sizeof g->pass);
    device->cuda->pinning = false;
    device->cuda->pins++;
}

void cuda_graphs_close(Device *device) {
    cuda_graphs_drop(device);
    free(device->cuda->graphs);
    device->cuda->graphs = NULL;
}

int64_t cuda_graphs_launched(const Device *device) {
    return device->cuda->graphs ? device->cuda->graphs->launched : 0;
}
