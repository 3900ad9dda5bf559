/* Emulated cuDNN. See tests/cuda/emulation/cudnn.h. */
#include "tests/cuda/emulation/cudnn.h"
#include "tests/cuda/emulation/apart.h"
#include "tests/cuda/emulation/capture.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION        91900
#define ATTRIBUTES_MAX 16
#define UIDS_MAX       4096
#define WORKSPACE      512 /* bytes that every plan asks for */

/* ---- descriptors ---- */

typedef struct Descriptor Descriptor;

typedef struct Attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    void *values;
} Attribute;

struct Descriptor {
    cudnnBackendDescriptorType_t type;
    int references; /* its creator's, and those of descriptors that it was set in */
    int attributes;
    Attribute attribute[ATTRIBUTES_MAX];
};

static size_t size_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_CHAR:
    case CUDNN_TYPE_BOOLEAN:
        return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default: /* enumerations */
        return 4;
    }
}

static void drop(Descriptor *d) {
    if (--d->references)
        return;
    for (int i = 0; i < d->attributes; i++) {
        Attribute *a = &d->attribute[i];
        for (int64_t k = 0; a->type == CUDNN_TYPE_BACKEND_DESCRIPTOR && k < a->count; k++)
            drop(((Descriptor **)a->values)[k]);
        free(a->values);
    }
    free(d);
}

static cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *made) {
    Descriptor *d = memory_new(1, sizeof *d);
    d->type = type;
    d->references = 1;
    *made = (cudnnBackendDescriptor_t)d;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor) {
    drop((Descriptor *)descriptor);
    return CUDNN_STATUS_SUCCESS;
}

static const Attribute *find(const Descriptor *d, cudnnBackendAttributeName_t name) {
    for (int i = 0; i < d->attributes; i++)
        if (d->attribute[i].name == name)
            return &d->attribute[i];
    return NULL;
}

static cudnnStatus_t set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                         cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    Descriptor *d = (Descriptor *)descriptor;
    JEPA_ASSERT(d->attributes < ATTRIBUTES_MAX && !find(d, name) && count > 0 && values);
    Attribute *a = &d->attribute[d->attributes++];
    *a = (Attribute){name, type, count, memory_new((size_t)count, size_of(type))};
    memcpy(a->values, values, (size_t)count * size_of(type));
    for (int64_t k = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && k < count; k++)
        ((Descriptor **)a->values)[k]->references++;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finalize(cudnnBackendDescriptor_t descriptor) {
    (void)descriptor;
    return CUDNN_STATUS_SUCCESS;
}

static Descriptor *part(const Descriptor *d, cudnnBackendAttributeName_t name) {
    const Attribute *a = find(d, name);
    return a ? *(Descriptor **)a->values : NULL;
}

/* The one proposal of the heuristics: an engine for their graph. */
static void propose(Descriptor *config, Descriptor *graph) {
    cudnnBackendDescriptor_t engine, operations = (cudnnBackendDescriptor_t)graph;
    create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine);
    set(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &operations);
    set((cudnnBackendDescriptor_t)config, CUDNN_ATTR_ENGINECFG_ENGINE,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    destroy(engine);
}

static cudnnStatus_t get(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                         cudnnBackendAttributeType_t type, int64_t room, int64_t *count,
                         void *values) {
    const Descriptor *d = (const Descriptor *)descriptor;
    JEPA_ASSERT(room > 0);
    (void)type;
    *count = 1;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
        propose(*(Descriptor **)values, part(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
    else if (name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES)
        *count = 0;
    else if (name == CUDNN_ATTR_ENGINECFG_ENGINE)
        return CUDNN_STATUS_SUCCESS; /* every engine has the same number, below */
    else if (name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX)
        *(int64_t *)values = 0;
    else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
        *(int64_t *)values = WORKSPACE;
    else
        return CUDNN_STATUS_NOT_SUPPORTED;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- tensors ---- */

/* A tensor while a plan runs: all values, dense, in the order of its dimensions. */
typedef struct Tensor {
    const Descriptor *from;
    int64_t dim[4], stride[4];
    cudnnDataType_t type;
    char *memory; /* NULL: virtual */
    const int32_t *ragged;
    double *values;
} Tensor;

typedef struct Run {
    Tensor tensor[UIDS_MAX]; /* by uid */
    const Attribute *uids, *pointers;
} Run;

static char *pointer_of(const Run *run, int64_t uid) {
    for (int64_t i = 0; i < run->uids->count; i++)
        if (((const int64_t *)run->uids->values)[i] == uid)
            return ((char **)run->pointers->values)[i];
    fprintf(stderr, "emulated cuDNN: no pointer for tensor %d\n", (int)uid);
    abort();
}

static int64_t uid_of(const Descriptor *d) {
    return *(const int64_t *)find(d, CUDNN_ATTR_TENSOR_UNIQUE_ID)->values;
}

static double rounded(double x, cudnnDataType_t type) {
    float f = (float)x;
    uint32_t bits;
    if (type == CUDNN_DATA_BFLOAT16 && isfinite(f)) {
        memcpy(&bits, &f, sizeof bits);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
        memcpy(&f, &bits, sizeof f);
    }
    return type == CUDNN_DATA_INT32 || type == CUDNN_DATA_BOOLEAN ? x : (double)f;
}

static int64_t size(const Tensor *t) {
    return t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
}

/* Where value i of the dense order lies, in elements; -1: beyond the end of its sequence. */
static int64_t place(const Tensor *t, int64_t i) {
    int64_t at[4], inside = 0;
    for (int k = 3; k >= 0; k--) {
        at[k] = i % t->dim[k];
        i /= t->dim[k];
    }
    for (int k = 1; k < 4; k++)
        inside += at[k] * t->stride[k];
    if (!t->ragged)
        return inside + at[0] * t->stride[0];
    int64_t start = t->ragged[at[0]], end = t->ragged[at[0] + 1];
    return start + inside < end ? start + inside : -1;
}

static double read_element(const Tensor *t, int64_t at) {
    uint32_t bits;
    float f;
    if (t->type == CUDNN_DATA_INT32)
        return ((const int32_t *)(const void *)t->memory)[at];
    if (t->type == CUDNN_DATA_FLOAT)
        return (double)((const float *)(const void *)t->memory)[at];
    bits = (uint32_t)((const uint16_t *)(const void *)t->memory)[at] << 16;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static Tensor *describe(Run *run, const Descriptor *d) {
    int64_t uid = uid_of(d);
    JEPA_ASSERT(d->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && uid < UIDS_MAX);
    Tensor *t = &run->tensor[uid];
    const Descriptor *ragged = part(d, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC);
    const Attribute *dims = find(d, CUDNN_ATTR_TENSOR_DIMENSIONS);
    if (t->from) {
        JEPA_ASSERT(t->from == d); /* uids are unique */
        return t;
    }
    JEPA_ASSERT(dims->count == 4);
    t->from = d;
    t->type = *(const cudnnDataType_t *)find(d, CUDNN_ATTR_TENSOR_DATA_TYPE)->values;
    memcpy(t->dim, dims->values, sizeof t->dim);
    memcpy(t->stride, find(d, CUDNN_ATTR_TENSOR_STRIDES)->values, sizeof t->stride);
    if (!find(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL)) {
        t->memory = pointer_of(run, uid);
        int64_t alignment = *(int64_t *)find(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)->values;
        JEPA_ASSERT((uintptr_t)t->memory % (uintptr_t)alignment == 0);
    }
    if (ragged)
        t->ragged = (const int32_t *)(const void *)pointer_of(run, uid_of(ragged));
    return t;
}

static Tensor *input(Run *run, const Descriptor *d) {
    Tensor *t = describe(run, d);
    if (!t->values) {
        JEPA_ASSERT(t->memory);
        t->values = memory_new((size_t)size(t), sizeof *t->values);
        for (int64_t i = 0; i < size(t); i++) {
            int64_t at = place(t, i);
            t->values[i] = at < 0 ? NAN : read_element(t, at);
        }
    }
    return t;
}

static Tensor *output(Run *run, const Descriptor *d) {
    Tensor *t = describe(run, d);
    JEPA_ASSERT(!t->values);
    t->values = memory_new((size_t)size(t), sizeof *t->values);
    return t;
}

/* Rounds to the tensor's type; to memory where it has some. */
static void finish(Tensor *t) {
    for (int64_t i = 0; i < size(t); i++) {
        t->values[i] = rounded(t->values[i], t->type);
        int64_t at = t->memory ? place(t, i) : -1;
        float f = (float)t->values[i];
        uint32_t bits;
        if (at < 0)
            continue;
        memcpy(&bits, &f, sizeof bits);
        if (t->type == CUDNN_DATA_FLOAT)
            ((float *)(void *)t->memory)[at] = f;
        else
            ((uint16_t *)(void *)t->memory)[at] = (uint16_t)(bits >> 16);
    }
}

/* ---- operations ---- */

/* Value of x for value i of y, whose dimensions are x's or those where x has 1. */
static double at(const Tensor *x, const Tensor *y, int64_t i) {
    int64_t index = 0, step = 1;
    for (int k = 3; k >= 0; k--) {
        int64_t here = i % y->dim[k];
        i /= y->dim[k];
        JEPA_ASSERT(x->dim[k] == y->dim[k] || x->dim[k] == 1);
        index += (x->dim[k] == 1 ? 0 : here) * step;
        step *= x->dim[k];
    }
    return x->values[index];
}

static double element(cudnnPointwiseMode_t mode, double x, double b, double t) {
    switch (mode) {
    case CUDNN_POINTWISE_ADD:
        return x + b;
    case CUDNN_POINTWISE_SUB:
        return x - b;
    case CUDNN_POINTWISE_MUL:
        return x * b;
    case CUDNN_POINTWISE_DIV:
        return x / b;
    case CUDNN_POINTWISE_EXP:
        return exp(x);
    case CUDNN_POINTWISE_LOG:
        return log(x);
    case CUDNN_POINTWISE_IDENTITY:
        return x;
    case CUDNN_POINTWISE_CMP_LT:
        return x < b;
    case CUDNN_POINTWISE_LOGICAL_AND:
        return x != 0 && b != 0;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return t != 0 ? x : b;
    default:
        fprintf(stderr, "emulated cuDNN: pointwise mode %d\n", (int)mode);
        abort();
    }
}

static void pointwise(Run *run, const Descriptor *d) {
    const Descriptor *how = part(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Descriptor *of_b = part(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    const Descriptor *of_t = part(d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    cudnnPointwiseMode_t mode =
        *(const cudnnPointwiseMode_t *)find(how, CUDNN_ATTR_POINTWISE_MODE)->values;
    const Tensor *x = input(run, part(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
    const Tensor *b = of_b ? input(run, of_b) : NULL, *t = of_t ? input(run, of_t) : NULL;
    Tensor *y = output(run, part(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    const Attribute *axis = find(how, CUDNN_ATTR_POINTWISE_AXIS);
    int64_t below = 1;
    for (int64_t k = 3; axis && k > *(const int64_t *)axis->values; k--)
        below *= y->dim[k];
    for (int64_t i = 0; i < size(y); i++)
        y->values[i] = mode == CUDNN_POINTWISE_GEN_INDEX
                           ? (double)(i / below % y->dim[*(const int64_t *)axis->values])
                           : element(mode, at(x, y, i), b ? at(b, y, i) : 0, t ? at(t, y, i) : 0);
    finish(y);
}

/* Along the last dimension. */
static void reduce(Run *run, const Descriptor *d) {
    const Descriptor *how = part(d, CUDNN_ATTR_OPERATION_REDUCTION_DESC);
    cudnnReduceTensorOp_t op =
        *(const cudnnReduceTensorOp_t *)find(how, CUDNN_ATTR_REDUCTION_OPERATOR)->values;
    const Tensor *x = input(run, part(d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC));
    Tensor *y = output(run, part(d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC));
    JEPA_ASSERT(y->dim[3] == 1 && size(y) * x->dim[3] == size(x));
    for (int64_t i = 0; i < size(y); i++) {
        double sum = op == CUDNN_REDUCE_TENSOR_MAX ? -INFINITY : 0;
        for (int64_t k = 0; k < x->dim[3]; k++) {
            double v = x->values[i * x->dim[3] + k];
            sum = op == CUDNN_REDUCE_TENSOR_MAX ? fmax(sum, v) : sum + v;
        }
        y->values[i] = sum;
    }
    finish(y);
}

/* The same memory in another order: the last two dimensions change places. */
static void reshape(Run *run, const Descriptor *d) {
    const Tensor *x = input(run, part(d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
    Tensor *y = output(run, part(d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
    int64_t rows = y->dim[2], columns = y->dim[3];
    JEPA_ASSERT(x->dim[2] == columns && x->dim[3] == rows && x->stride[2] == y->stride[3] &&
                x->stride[3] == y->stride[2]);
    for (int64_t i = 0; i < size(y); i++) {
        int64_t row = i / columns % rows, column = i % columns;
        y->values[i] = x->values[i / (rows * columns) * rows * columns + column * rows + row];
    }
    finish(y);
}

/* The true size of a dimension in part b of the batch. */
static int64_t limit(Run *run, const Descriptor *d, cudnnBackendAttributeName_t name, int64_t b,
                     int64_t all) {
    const Descriptor *given = part(d, name);
    return given ? (int64_t)input(run, given)->values[b] : all;
}

static void matmul(Run *run, const Descriptor *d) {
    const Tensor *a = input(run, part(d, CUDNN_ATTR_OPERATION_MATMUL_ADESC));
    const Tensor *b = input(run, part(d, CUDNN_ATTR_OPERATION_MATMUL_BDESC));
    Tensor *c = output(run, part(d, CUDNN_ATTR_OPERATION_MATMUL_CDESC));
    int64_t rows = c->dim[2], columns = c->dim[3], depth = a->dim[3];
    JEPA_ASSERT(a->dim[2] == rows && b->dim[2] == depth && b->dim[3] == columns);
    for (int64_t g = 0; g < c->dim[0] * c->dim[1]; g++) {
        int64_t batch = g / c->dim[1];
        int64_t m = limit(run, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, batch, rows);
        int64_t n = limit(run, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, batch, columns);
        int64_t k = limit(run, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, batch, depth);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t l = 0; l < k; l++)
                    sum += a->values[(g * rows + i) * depth + l] *
                           b->values[(g * depth + l) * columns + j];
                c->values[(g * rows + i) * columns + j] = sum;
            }
    }
    finish(c);
}

/* Scratch tensors, of float32 and dense, lie apart from each other and from the plan's workspace.
 */
static void check_scratch(const Run *run, const char *workspace) {
    for (int i = 0; i < UIDS_MAX; i++) {
        const Tensor *a = &run->tensor[i];
        if (!a->memory || a->ragged || a->type != CUDNN_DATA_FLOAT || size(a) == 1)
            continue;
        const char *end = a->memory + size(a) * (int64_t)sizeof(float);
        JEPA_ASSERT(end <= workspace || workspace + WORKSPACE <= a->memory);
        for (int k = 0; k < i; k++) {
            const Tensor *b = &run->tensor[k];
            if (b->memory && !b->ragged && b->type == CUDNN_DATA_FLOAT && size(b) > 1)
                JEPA_ASSERT(end <= b->memory ||
                            b->memory + size(b) * (int64_t)sizeof(float) <= a->memory);
        }
    }
}

static const Attribute *operations_of(const Descriptor *plan) {
    const Descriptor *config = part(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const Descriptor *engine = part(config, CUDNN_ATTR_ENGINECFG_ENGINE);
    const Descriptor *graph = part(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
    return find(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

static void compute(const Descriptor *plan, const Descriptor *p) {
    const Attribute *operations = operations_of(plan);
    Run *run = memory_new(1, sizeof *run);
    run->uids = find(p, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    run->pointers = find(p, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    char *workspace = *(char **)find(p, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)->values;
    emulation_device_begin();
    memset(workspace, 0xff, WORKSPACE); /* NaN */
    for (int64_t i = 0; i < operations->count; i++) {
        const Descriptor *d = ((Descriptor **)operations->values)[i];
        if (d->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
            pointwise(run, d);
        else if (d->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
            reduce(run, d);
        else if (d->type == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
            reshape(run, d);
        else
            matmul(run, d);
    }
    check_scratch(run, workspace);
    emulation_device_end();
    for (int i = 0; i < UIDS_MAX; i++)
        free(run->tensor[i].values);
    free(run);
}

/* A launch that is kept while a stream is captured: the pack's memory is the device's, but for
 * scalars, which are the host's and are taken now. */
#define SCALARS_MAX 8
typedef struct Launch {
    Descriptor *plan, *pack;
    float scalar[SCALARS_MAX];
} Launch;

static bool is_scalar(const Descriptor *plan, int64_t uid) {
    const Attribute *operations = operations_of(plan);
    for (int64_t i = 0; i < operations->count; i++) {
        const Descriptor *d = ((Descriptor **)operations->values)[i];
        for (int k = 0; k < d->attributes; k++) {
            const Descriptor *t = d->attribute[k].type == CUDNN_TYPE_BACKEND_DESCRIPTOR
                                      ? *(Descriptor **)d->attribute[k].values
                                      : NULL;
            if (t && t->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && uid_of(t) == uid &&
                find(t, CUDNN_ATTR_TENSOR_IS_BY_VALUE))
                return true;
        }
    }
    return false;
}

static void run_launch(void *own) {
    const Launch *launch = own;
    compute(launch->plan, launch->pack);
}
static void end_launch(void *own) {
    Launch *launch = own;
    drop(launch->plan);
    drop(launch->pack);
    free(launch);
}

static void record(Descriptor *plan, Descriptor *pack) {
    Launch *launch = memory_new(1, sizeof *launch);
    const Attribute *uids = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    void **pointer = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->values;
    int scalars = 0;
    for (int64_t i = 0; i < uids->count; i++)
        if (is_scalar(plan, ((const int64_t *)uids->values)[i])) {
            JEPA_ASSERT(scalars < SCALARS_MAX);
            launch->scalar[scalars] = *(const float *)pointer[i];
            pointer[i] = &launch->scalar[scalars++];
        }
    launch->plan = plan;
    launch->pack = pack;
    plan->references++;
    pack->references++;
    emulation_record_call(run_launch, end_launch, launch);
}

static cudnnStatus_t execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack) {
    (void)handle;
    if (emulation_captures(NULL))
        record((Descriptor *)plan, (Descriptor *)pack);
    else
        compute((const Descriptor *)plan, (const Descriptor *)pack);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- the library ---- */

static size_t version(void) {
    return VERSION;
}
static const char *error_string(cudnnStatus_t status) {
    return status ? "an error" : "no error";
}
static void last_error(char *text, size_t room) {
    snprintf(text, room, "emulated");
}
static cudnnStatus_t close_handle(cudnnHandle_t handle) {
    (void)handle;
    return CUDNN_STATUS_SUCCESS;
}

void emulated_cudnn(CudnnLibrary *library, CudnnTarget *target, int capability) {
    static int handle; /* what the handle points to */
    *library = (CudnnLibrary){.version = VERSION,
                              .get_version = version,
                              .error_string = error_string,
                              .last_error = last_error,
                              .destroy = close_handle,
                              .descriptor_create = create,
                              .descriptor_destroy = destroy,
                              .descriptor_finalize = finalize,
                              .descriptor_set = set,
                              .descriptor_get = get,
                              .execute = execute};
    *target = (CudnnTarget){
        .library = library, .capability = capability, .handle = (cudnnHandle_t)(void *)&handle};
}
