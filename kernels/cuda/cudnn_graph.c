/* Graphs for cuDNN: tensors and operations. See kernels/cuda/cudnn_graph.h. */
#include "kernels/cuda/cudnn_graph.h"
#include <string.h>

#define ALIGNMENT   16   /* bytes, of tensors with memory: what vector loads want */
#define VIRTUAL_UID 1000 /* virtual tensors are numbered from here */

void graph_start(Graph *graph, const CudnnTarget *target) {
    *graph = (Graph){.target = target, .virtual_uid = VIRTUAL_UID};
}

void graph_end(Graph *graph) {
    while (graph->descriptors)
        graph->target->library->descriptor_destroy(graph->descriptor[--graph->descriptors]);
    *graph = (Graph){0};
}

/* ---- descriptors, with the first error kept ---- */

static void check(Graph *graph, cudnnStatus_t status, const char *what) {
    if (status == CUDNN_STATUS_SUCCESS || graph->failed)
        return;
    graph->failed = true;
    cudnn_error(graph->target->library, status, what, &graph->error);
}

static cudnnBackendDescriptor_t create(Graph *graph, cudnnBackendDescriptorType_t type,
                                       const char *what) {
    cudnnBackendDescriptor_t made = NULL;
    if (graph->failed)
        return NULL;
    JEPA_ASSERT(graph->descriptors < GRAPH_DESCRIPTORS_MAX);
    check(graph, graph->target->library->descriptor_create(type, &made), what);
    if (made)
        graph->descriptor[graph->descriptors++] = made;
    return made;
}

static void set(Graph *graph, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values,
                const char *what) {
    if (!graph->failed)
        check(graph, graph->target->library->descriptor_set(of, name, type, count, values), what);
}

/* An argument that may be left out. */
static void set_tensor(Graph *graph, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                       cudnnBackendDescriptor_t tensor, const char *what) {
    if (tensor)
        set(graph, of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &tensor, what);
}

static void finalize(Graph *graph, cudnnBackendDescriptor_t made, const char *what) {
    if (!graph->failed)
        check(graph, graph->target->library->descriptor_finalize(made), what);
}

static void add_operation(Graph *graph, cudnnBackendDescriptor_t operation, const char *what) {
    finalize(graph, operation, what);
    if (graph->failed)
        return;
    JEPA_ASSERT(graph->operations < GRAPH_OPERATIONS_MAX);
    graph->operation[graph->operations++] = operation;
}

/* ---- tensors ---- */

GraphTensor graph_tensor(Graph *graph, const GraphTensorSpec *spec) {
    const char *what = "a tensor";
    const bool yes = true;
    int64_t alignment = spec->alignment ? spec->alignment : ALIGNMENT, uid = spec->uid;
    if (spec->memory == GRAPH_VIRTUAL)
        uid = ++graph->virtual_uid;
    else
        JEPA_ASSERT(uid >= 1 && uid <= GRAPH_UIDS_MAX);
    GraphTensor t = create(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR, what);
    set(graph, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &spec->type, what);
    set(graph, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, spec->dims, spec->dim, what);
    set(graph, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, spec->dims, spec->stride, what);
    set(graph, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid, what);
    set(graph, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment, what);
    if (spec->memory == GRAPH_VIRTUAL)
        set(graph, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes, what);
    if (spec->memory == GRAPH_HOST)
        set(graph, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes, what);
    set_tensor(graph, t, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, spec->ragged, what);
    finalize(graph, t, what);
    return t;
}

/* ---- operations ---- */

/* What a pointwise operation computes; axis < 0: it has none. */
static cudnnBackendDescriptor_t pointwise_mode(Graph *graph, cudnnPointwiseMode_t mode,
                                               cudnnDataType_t computed, int64_t axis) {
    const char *what = "a pointwise operation";
    cudnnBackendDescriptor_t d = create(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, what);
    set(graph, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode, what);
    set(graph, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &computed, what);
    if (axis >= 0)
        set(graph, d, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis, what);
    finalize(graph, d, what);
    return d;
}

static cudnnBackendDescriptor_t pointwise_operation(Graph *graph, cudnnBackendDescriptor_t mode,
                                                    GraphTensor x) {
    const char *what = "a pointwise operation";
    cudnnBackendDescriptor_t d = create(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, mode, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x, what);
    return d;
}

void graph_pointwise(Graph *graph, cudnnPointwiseMode_t mode, cudnnDataType_t computed,
                     GraphTensor x, GraphTensor b, GraphTensor t, GraphTensor y) {
    const char *what = "a pointwise operation";
    cudnnBackendDescriptor_t d = pointwise_operation(graph,
                                                     pointwise_mode(graph, mode, computed, -1), x);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y, what);
    add_operation(graph, d, what);
}

void graph_pointwise_backward(Graph *graph, cudnnPointwiseMode_t mode, GraphTensor x,
                              GraphTensor dy, GraphTensor dx) {
    const char *what = "the gradient of a pointwise operation";
    cudnnBackendDescriptor_t d = pointwise_operation(
        graph, pointwise_mode(graph, mode, CUDNN_DATA_FLOAT, -1), x);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, dy, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, dx, what);
    add_operation(graph, d, what);
}

void graph_index(Graph *graph, GraphTensor x, GraphTensor y, int64_t axis) {
    const char *what = "an index";
    cudnnBackendDescriptor_t d = pointwise_operation(
        graph, pointwise_mode(graph, CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, axis), x);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y, what);
    add_operation(graph, d, what);
}

void graph_reduce(Graph *graph, cudnnReduceTensorOp_t reduction, GraphTensor x, GraphTensor y) {
    const char *what = "a reduction";
    const cudnnDataType_t computed = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t r = create(graph, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, what);
    set(graph, r, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &reduction,
        what);
    set(graph, r, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &computed, what);
    finalize(graph, r, what);
    cudnnBackendDescriptor_t d = create(graph, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_REDUCTION_DESC, r, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y, what);
    add_operation(graph, d, what);
}

void graph_reshape(Graph *graph, GraphTensor x, GraphTensor y) {
    const char *what = "a reshape";
    cudnnBackendDescriptor_t d = create(graph, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y, what);
    add_operation(graph, d, what);
}

void graph_matmul(Graph *graph, GraphTensor a, GraphTensor b, GraphTensor c, GraphTensor m,
                  GraphTensor n, GraphTensor k) {
    const char *what = "a matrix product";
    const cudnnDataType_t computed = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t mode = create(graph, CUDNN_BACKEND_MATMUL_DESCRIPTOR, what);
    set(graph, mode, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &computed, what);
    finalize(graph, mode, what);
    cudnnBackendDescriptor_t d = create(graph, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_DESC, mode, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, n, what);
    set_tensor(graph, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, k, what);
    add_operation(graph, d, what);
}
