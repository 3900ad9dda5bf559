/* A graph of operations for cuDNN, and the plan that computes it.
 *
 * A graph is built operation by operation from tensors. What cuDNN fuses into one kernel is the
 * whole graph; tensors between its operations are virtual, they have shapes but no memory. Building
 * never stops at an error: the first one is kept, later calls do nothing, graph_plan returns it.
 *
 *     graph_start(&graph, &target);
 *     GraphTensor *y = graph_tensor(...), ...;
 *     graph_matmul(&graph, a, b, y, ...);
 *     graph_plan(&plan, &graph, NULL, &error);
 *     graph_end(&graph);
 *
 * A plan is chosen by cuDNN's heuristics, a pure function of graph, GPU and version, never by
 * timing. What was chosen is a line of text, "engine 6 knobs 14:2 24:31", that can be stored and
 * asked for again. Source: cuDNN's graph API, cudnn_graph_v9.h. */
#ifndef JEPA_KERNELS_CUDA_CUDNN_GRAPH_H
#define JEPA_KERNELS_CUDA_CUDNN_GRAPH_H

#include "kernels/cuda/cudnn_library.h"
#include <stdbool.h>
#include <stdint.h>

#define GRAPH_OPERATIONS_MAX  48
#define GRAPH_DESCRIPTORS_MAX 192 /* of tensors, operations and what these are made of */
#define GRAPH_UIDS_MAX        32  /* tensors with memory */
#define PLAN_CHOICE_TEXT      256

/* Handle of a tensor inside a graph; NULL after an error and where an argument is left out. */
typedef cudnnBackendDescriptor_t GraphTensor;

typedef struct Graph {
    const CudnnTarget *target;
    cudnnBackendDescriptor_t descriptor[GRAPH_DESCRIPTORS_MAX]; /* all, in order of creation */
    int descriptors;
    cudnnBackendDescriptor_t operation[GRAPH_OPERATIONS_MAX]; /* some of these */
    int operations;
    int64_t virtual_uid; /* the last one given to a tensor without memory */
    bool failed;
    Error error;
} Graph;

typedef enum GraphMemory {
    GRAPH_DEVICE,  /* a pointer on the GPU, given by uid when the plan runs */
    GRAPH_HOST,    /* one value on the host, likewise; read when the plan is launched */
    GRAPH_VIRTUAL, /* none */
} GraphMemory;

typedef struct GraphTensorSpec {
    int64_t uid; /* 1 .. GRAPH_UIDS_MAX; virtual tensors are given theirs */
    cudnnDataType_t type;
    GraphMemory memory;
    int dims; /* 3 or 4 */
    int64_t dim[4], stride[4];
    int64_t alignment;  /* bytes; 0: 16 */
    GraphTensor ragged; /* [dim[0] + 1] where each part of dim[0] begins, in elements; or NULL */
} GraphTensorSpec;

void graph_start(Graph *graph, const CudnnTarget *target);
void graph_end(Graph *graph); /* releases all; plans stay */

GraphTensor graph_tensor(Graph *graph, const GraphTensorSpec *spec);

/* y = mode(x, b, t) element by element; b and t NULL where the mode has none. */
void graph_pointwise(Graph *graph, cudnnPointwiseMode_t mode, cudnnDataType_t computed,
                     GraphTensor x, GraphTensor b, GraphTensor t, GraphTensor y);
/* dx = mode(x, dy), of modes that end in _BWD */
void graph_pointwise_backward(Graph *graph, cudnnPointwiseMode_t mode, GraphTensor x,
                              GraphTensor dy, GraphTensor dx);
/* y = number of the element along `axis`; x has the shape */
void graph_index(Graph *graph, GraphTensor x, GraphTensor y, int64_t axis);
/* y = reduction of x along the dimensions that are 1 in y, in float32 */
void graph_reduce(Graph *graph, cudnnReduceTensorOp_t reduction, GraphTensor x, GraphTensor y);
/* y = x in another order of strides */
void graph_reshape(Graph *graph, GraphTensor x, GraphTensor y);
/* c[.., M, N] = a[.., M, K] b[.., K, N] in float32; m, n, k: [dim[0]] of the true sizes, or NULL */
void graph_matmul(Graph *graph, GraphTensor a, GraphTensor b, GraphTensor c, GraphTensor m,
                  GraphTensor n, GraphTensor k);

typedef struct Plan {
    const CudnnTarget *target;
    cudnnBackendDescriptor_t config, plan;
    int64_t workspace; /* bytes */
    char choice[PLAN_CHOICE_TEXT];
} Plan;

/* The choice that graph_plan would try first, without building it: milliseconds, not half a second.
 */
int graph_choose(char found[PLAN_CHOICE_TEXT], const Graph *graph, const char *choice,
                 Error *error);
/* choice NULL: the first of the heuristics' proposals that can be built; or a Plan's `choice`. */
int graph_plan(Plan *plan, const Graph *graph, const char *choice, Error *error);
/* Launches on the target's stream. uid, pointer: [count]; workspace: plan.workspace bytes. */
int plan_run(const Plan *plan, const int64_t *uid, void *const *pointer, int count, void *workspace,
             Error *error);
void plan_end(Plan *plan); /* zeroed or made */

#endif
