/* Emulated captures and graphs. See capture.h. */
#include "tests/cuda/emulation/capture.h"
#include <memory>
#include <utility>
#include <vector>

struct CUgraph_st {
    std::vector<std::function<void()>> operations;
};
struct CUgraphExec_st {
    std::vector<std::function<void()>> operations;
};

namespace {

thread_local struct {
    cudaStream_t stream; /* NULL: nothing is captured */
    cudaGraph_t graph;
    bool invalid;
} capture;

} // namespace

bool emulation_captures(cudaStream_t stream) {
    return capture.stream && (!stream || stream == capture.stream);
}

bool emulation_refuses(void) {
    capture.invalid = capture.invalid || capture.stream;
    return capture.stream != nullptr;
}

void emulation_record(std::function<void()> run) {
    capture.graph->operations.push_back(std::move(run));
}

void emulation_record_call(void (*run)(void *own), void (*release)(void *own), void *own) {
    std::shared_ptr<void> kept(own, release);
    emulation_record([run, kept] { run(kept.get()); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    if (capture.stream || mode != cudaStreamCaptureModeThreadLocal)
        return cudaErrorIllegalState;
    capture = {stream, new CUgraph_st, false};
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    if (!capture.stream || stream != capture.stream)
        return cudaErrorIllegalState;
    bool invalid = capture.invalid;
    *graph = invalid ? nullptr : capture.graph;
    if (invalid)
        delete capture.graph;
    capture = {};
    return invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    if (nodes)
        return cudaErrorInvalidValue;
    *count = graph->operations.size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *made, cudaGraph_t graph,
                                          unsigned long long flags) {
    if (flags)
        return cudaErrorInvalidValue;
    *made = new CUgraphExec_st{graph->operations};
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    if (capture.stream || !stream)
        return cudaErrorIllegalState;
    for (const std::function<void()> &operation : graph->operations)
        operation();
    return cudaSuccess;
}
