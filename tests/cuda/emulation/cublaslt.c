/* cuBLASLt on the CPU, as far as kernels/cuda uses it; put into the same table of functions as the
 * library's own (kernels/cuda/cublaslt_library.h).
 *
 * Descriptors mean what they mean in the library: column-major layouts with a type and a leading
 * dimension, transposed factors, D = alpha op(A) op(B) + beta C + bias, float32 sums. What the
 * library would leave undefined or answer with an illegal access ends the process with a message:
 * pointers less aligned than was promised when the algorithm was chosen, a leading dimension that
 * is too small, a workspace that is, an output that overlaps its inputs, a descriptor after its
 * end, a bias that is not there.
 *
 * Algorithms differ in what can go wrong with them. One is chosen from the shape and then demands
 * of n and k the divisibility by powers of two (to 64) that it was chosen for: others are refused.
 * It may split the sum over k in two or three parts, so that another choice gives other bits. Of
 * the kinds of splitting that are not masked out, the heuristic names one that adds in place first.
 * None adds a bias to an odd number of rows and columns.
 *
 * FP8: both factors e4m3, the first transposed, m and k multiples of 16, a scale for each row of
 * either in float32, D bfloat16 or float32, the bias bfloat16, everything 16-byte aligned; else the
 * heuristic has nothing, or the process ends where the library would read what is not there. It has
 * nothing below 16 columns, nor a bias with float32 results for an odd number of columns; and with
 * JEPA_EMULATE_NO_FP8 nothing at all. */
#include "kernels/cuda/cublaslt_library.h"
#include "tests/cuda/emulation/apart.h"
#include "tests/cuda/emulation/capture.h"
#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATION  0x6f706572u /* marks of living descriptors */
#define LAYOUT     0x6c61796fu
#define PREFERENCE 0x70726566u
#define HANDLE     0x68616e64u
#define ALGORITHM  0x616c676fu

#define SCALE_MODE_A 31 /* 12.8's and 12.9's, which older headers lack */
#define SCALE_SCALAR 0
#define SCALE_OUTER  3

typedef struct Operation {
    uint32_t mark, epilogue;
    int32_t compute, scale, transposed[2], bias_type, scale_mode[2]; /* of A and B */
    const void *bias;
    const float *scales[2];
} Operation;

typedef struct Layout {
    uint32_t mark;
    int32_t type;
    int64_t rows, columns, ld;
} Layout;

typedef struct Preference {
    uint32_t mark, schemes, align[4];
    uint64_t workspace;
} Preference;

typedef struct Algorithm { /* fits a cublasLtMatmulAlgo_t */
    uint32_t mark;
    int32_t id, split;
    uint32_t scheme;
    uint16_t align[5]; /* A, B, C, D, bias */
    uint8_t n_grain, k_grain;
    uint64_t workspace;
    int32_t in, out;
} Algorithm;

typedef struct Problem {
    int64_t m, n, k;
    const Operation *operation;
    const Layout *a, *b, *c, *d;
} Problem;

_Noreturn static void misuse(const char *what) {
    fprintf(stderr, "emulation of cuBLASLt: %s\n", what);
    abort();
}

static void *living(void *descriptor, uint32_t mark, const char *what) {
    if (!descriptor || *(uint32_t *)descriptor != mark)
        misuse(what);
    return descriptor;
}

static void *made(size_t bytes, uint32_t mark) {
    void *memory = calloc(1, bytes);
    if (!memory)
        misuse("no memory");
    *(uint32_t *)memory = mark;
    return memory;
}

static cublasStatus_t end(void *descriptor, uint32_t mark, const char *what) {
    *(uint32_t *)living(descriptor, mark, what) = 0;
    free(descriptor);
    return CUBLAS_STATUS_SUCCESS;
}

static void take(void *to, size_t size, const void *from, size_t given) {
    if (!from || given != size)
        misuse("an attribute of another size");
    memcpy(to, from, size);
}

/* ---- descriptors ---- */

static cublasStatus_t create(cublasLtHandle_t *handle) {
    *handle = made(16, HANDLE);
    openblas_set_num_threads(1);
    return CUBLAS_STATUS_SUCCESS;
}
static cublasStatus_t destroy(cublasLtHandle_t handle) {
    return end(handle, HANDLE, "a handle that is none");
}
static size_t get_version(void) {
    return CUBLAS_VERSION;
}
static const char *get_status_name(cublasStatus_t status) {
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "emulated";
}

static cublasStatus_t operation_create(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                       cudaDataType_t scale) {
    Operation *o = made(sizeof *o, OPERATION);
    o->compute = compute;
    o->scale = scale;
    o->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    o->bias_type = -1;
    *out = (cublasLtMatmulDesc_t)o;
    return CUBLAS_STATUS_SUCCESS;
}
static cublasStatus_t operation_destroy(cublasLtMatmulDesc_t operation) {
    return end(operation, OPERATION, "an operation that is none");
}
static cublasStatus_t operation_set(cublasLtMatmulDesc_t operation,
                                    cublasLtMatmulDescAttributes_t attribute, const void *value,
                                    size_t size) {
    Operation *o = living(operation, OPERATION, "an operation that is none");
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA || attribute == CUBLASLT_MATMUL_DESC_TRANSB)
        take(&o->transposed[attribute == CUBLASLT_MATMUL_DESC_TRANSB], sizeof(int32_t), value,
             size);
    else if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE)
        take(&o->epilogue, sizeof o->epilogue, value, size);
    else if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
        take(&o->bias, sizeof o->bias, value, size);
    else if (attribute == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER ||
             attribute == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER)
        take(&o->scales[attribute == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER], sizeof *o->scales,
             value, size);
    else if ((int)attribute == SCALE_MODE_A || (int)attribute == SCALE_MODE_A + 1)
        take(&o->scale_mode[(int)attribute - SCALE_MODE_A], sizeof *o->scale_mode, value, size);
    else if (attribute == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE)
        take(&o->bias_type, sizeof o->bias_type, value, size);
    else
        misuse("an attribute of operations that is not emulated");
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_create(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                    uint64_t columns, int64_t ld) {
    Layout *l = made(sizeof *l, LAYOUT);
    l->type = type;
    l->rows = (int64_t)rows;
    l->columns = (int64_t)columns;
    l->ld = ld;
    if (l->rows < 1 || l->columns < 1 || ld < l->rows)
        misuse("a matrix without rows or columns, or a leading dimension below its rows");
    if (type != CUDA_R_32F && type != CUDA_R_16BF && type != CUDA_R_8F_E4M3)
        misuse("a type that is not emulated");
    *out = (cublasLtMatrixLayout_t)l;
    return CUBLAS_STATUS_SUCCESS;
}
static cublasStatus_t layout_destroy(cublasLtMatrixLayout_t layout) {
    return end(layout, LAYOUT, "a layout that is none");
}
static cublasStatus_t layout_set(cublasLtMatrixLayout_t layout,
                                 cublasLtMatrixLayoutAttribute_t attribute, const void *value,
                                 size_t size) {
    Layout *l = living(layout, LAYOUT, "a layout that is none");
    if (attribute == CUBLASLT_MATRIX_LAYOUT_ROWS)
        take(&l->rows, sizeof l->rows, value, size);
    else if (attribute == CUBLASLT_MATRIX_LAYOUT_COLS)
        take(&l->columns, sizeof l->columns, value, size);
    else if (attribute == CUBLASLT_MATRIX_LAYOUT_LD)
        take(&l->ld, sizeof l->ld, value, size);
    else
        misuse("an attribute of layouts that is not emulated");
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_create(cublasLtMatmulPreference_t *out) {
    Preference *p = made(sizeof *p, PREFERENCE);
    p->schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
    for (int i = 0; i < 4; i++)
        p->align[i] = 256;
    *out = (cublasLtMatmulPreference_t)p;
    return CUBLAS_STATUS_SUCCESS;
}
static cublasStatus_t preference_destroy(cublasLtMatmulPreference_t preference) {
    return end(preference, PREFERENCE, "a preference that is none");
}
static cublasStatus_t preference_set(cublasLtMatmulPreference_t preference,
                                     cublasLtMatmulPreferenceAttributes_t attribute,
                                     const void *value, size_t size) {
    Preference *p = living(preference, PREFERENCE, "a preference that is none");
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        take(&p->workspace, sizeof p->workspace, value, size);
    else if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        take(&p->schemes, sizeof p->schemes, value, size);
    else if (attribute >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
             attribute <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)
        take(&p->align[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], sizeof *p->align,
             value, size);
    else
        misuse("an attribute of preferences that is not emulated");
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- choosing ---- */

static Problem problem_of(cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                          cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                          cublasLtMatrixLayout_t d) {
    Problem p = {.operation = living(operation, OPERATION, "an operation that is none"),
                 .a = living(a, LAYOUT, "no layout of A"),
                 .b = living(b, LAYOUT, "no layout of B"),
                 .c = living(c, LAYOUT, "no layout of C"),
                 .d = living(d, LAYOUT, "no layout of D")};
    const Operation *o = p.operation;
    bool ta = o->transposed[0] == CUBLAS_OP_T, tb = o->transposed[1] == CUBLAS_OP_T;
    p.m = p.d->rows;
    p.n = p.d->columns;
    p.k = ta ? p.a->rows : p.a->columns;
    if ((ta ? p.a->columns : p.a->rows) != p.m || (tb ? p.b->rows : p.b->columns) != p.n ||
        (tb ? p.b->columns : p.b->rows) != p.k || p.c->rows != p.m || p.c->columns != p.n)
        misuse("matrices whose shapes do not meet");
    if (p.a->ld < p.a->rows || p.b->ld < p.b->rows || p.c->ld < p.m || p.d->ld < p.m)
        misuse("a leading dimension below the rows");
    if (p.a->type != p.b->type || p.c->type != p.d->type ||
        (p.a->type == CUDA_R_32F && p.d->type != CUDA_R_32F) || p.d->type == CUDA_R_8F_E4M3)
        misuse("types that the library does not combine");
    if (p.a->type == CUDA_R_8F_E4M3) {
        if (o->scale_mode[0] != SCALE_OUTER || o->scale_mode[1] != SCALE_OUTER || !o->scales[0] ||
            !o->scales[1])
            misuse("FP8 without a scale for each row of both factors");
        if ((uintptr_t)o->scales[0] % 16 || (uintptr_t)o->scales[1] % 16)
            misuse("scales that are not aligned");
        if (o->epilogue == CUBLASLT_EPILOGUE_BIAS && o->bias_type != CUDA_R_16BF)
            misuse("FP8 with a bias that is not bfloat16");
    } else if (o->scale_mode[0] != SCALE_SCALAR || o->scale_mode[1] != SCALE_SCALAR ||
               o->scales[0] || o->scales[1]) {
        misuse("scales without FP8");
    }
    if (o->scale != CUDA_R_32F ||
        !(o->compute == CUBLAS_COMPUTE_32F ||
          (o->compute == CUBLAS_COMPUTE_32F_FAST_TF32 && p.a->type == CUDA_R_32F)))
        misuse("a type of computation that is not emulated");
    if (o->epilogue != CUBLASLT_EPILOGUE_DEFAULT && o->epilogue != CUBLASLT_EPILOGUE_BIAS)
        misuse("an epilogue that is not emulated");
    if (o->epilogue == CUBLASLT_EPILOGUE_BIAS && p.a->type != CUDA_R_8F_E4M3 &&
        o->bias_type != -1 && o->bias_type != p.d->type)
        misuse("a bias of another type than D");
    return p;
}

static uint8_t grain(int64_t x) {
    int64_t low = x & -x;
    return (uint8_t)(low < 64 ? low : 64);
}

static uint16_t alignment(const void *pointer) {
    uintptr_t low = (uintptr_t)pointer | 16;
    return (uint16_t)(low & -low);
}

/* Has it products in FP8 of this shape? */
static bool eights(const Problem *p, const Preference *preference) {
    const Operation *o = p->operation;
    for (int i = 0; i < 4; i++)
        if (preference->align[i] < 16)
            return false;
    bool bias = o->epilogue == CUBLASLT_EPILOGUE_BIAS;
    return !getenv("JEPA_EMULATE_NO_FP8") && o->transposed[0] == CUBLAS_OP_T &&
           o->transposed[1] == CUBLAS_OP_N && p->m % 16 == 0 && p->k % 16 == 0 && p->n >= 16 &&
           !(bias && (uintptr_t)o->bias % 16) && !(bias && p->d->type == CUDA_R_32F && p->n % 2);
}

static Algorithm algorithm_for(const Problem *p, const Preference *preference) {
    Algorithm a = {.mark = ALGORITHM,
                   .id = 60 + (int32_t)(p->n / 64 % 7),
                   .split = p->k < 256 ? 1 : 1 + (int32_t)((p->n / 64 + p->k / 64) % 3),
                   .n_grain = grain(p->n),
                   .k_grain = grain(p->k),
                   .in = p->a->type,
                   .out = p->d->type};
    for (int i = 0; i < 4; i++)
        a.align[i] = (uint16_t)(preference->align[i] < 16 ? preference->align[i] : 16);
    a.align[4] = p->operation->epilogue == CUBLASLT_EPILOGUE_BIAS ? alignment(p->operation->bias)
                                                                  : 1;
    a.workspace = (uint64_t)(p->m * p->n * a.split) * sizeof(float);
    if (a.split == 1 || !(preference->schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) ||
        a.workspace > preference->workspace) {
        a.split = 1;
        a.workspace = 0;
    }
    a.scheme = a.split > 1 ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
                           : CUBLASLT_REDUCTION_SCHEME_NONE;
    return a;
}

static void name(cublasLtMatmulHeuristicResult_t *result, const Algorithm *algorithm) {
    memset(result, 0, sizeof *result);
    memcpy(&result->algo, algorithm, sizeof *algorithm);
    result->workspaceSize = algorithm->workspace;
    result->wavesCount = 1;
}

static cublasStatus_t heuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                cublasLtMatmulPreference_t preference, int asked,
                                cublasLtMatmulHeuristicResult_t *results, int *count) {
    _Static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm is kept whole");
    living(handle, HANDLE, "no handle");
    Problem problem = problem_of(operation, a, b, c, d);
    const Preference *p = living(preference, PREFERENCE, "no preference");
    Algorithm chosen = algorithm_for(&problem, p);
    *count = 0;
    if (problem.operation->epilogue == CUBLASLT_EPILOGUE_BIAS && problem.m * problem.n % 2)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (problem.a->type == CUDA_R_8F_E4M3 && !eights(&problem, p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (asked > 1 && p->schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE) {
        Algorithm in_place = chosen;
        in_place.scheme = CUBLASLT_REDUCTION_SCHEME_INPLACE;
        name(&results[(*count)++], &in_place);
    }
    if (asked > *count)
        name(&results[(*count)++], &chosen);
    return CUBLAS_STATUS_SUCCESS;
}

static Algorithm algorithm_of(const cublasLtMatmulAlgo_t *algo) {
    Algorithm a;
    if (!algo)
        misuse("no algorithm");
    memcpy(&a, algo, sizeof a);
    if (a.mark != ALGORITHM)
        misuse("an algorithm that no heuristic named");
    return a;
}

static bool suits(const Algorithm *a, const Problem *p) {
    return p->n % a->n_grain == 0 && p->k % a->k_grain == 0 && a->in == p->a->type &&
           a->out == p->d->type;
}

static uint64_t workspace_for(const Algorithm *a, const Problem *p) {
    return a->split > 1 ? (uint64_t)(p->m * p->n * a->split) * sizeof(float) : 0;
}

static cublasStatus_t check(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                            cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                            cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                            const cublasLtMatmulAlgo_t *algo,
                            cublasLtMatmulHeuristicResult_t *result) {
    living(handle, HANDLE, "no handle");
    Problem p = problem_of(operation, a, b, c, d);
    Algorithm chosen = algorithm_of(algo);
    result->workspaceSize = workspace_for(&chosen, &p);
    return suits(&chosen, &p) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

static cublasStatus_t config(const cublasLtMatmulAlgo_t *algo,
                             cublasLtMatmulAlgoConfigAttributes_t attribute, void *value,
                             size_t size, size_t *written) {
    Algorithm a = algorithm_of(algo);
    int32_t values[] = {a.id, 20, a.split, (int32_t)a.scheme, 0, 0, 15, 0, 2};
    size_t expected = attribute >= CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID ? 2 : 4;
    if ((size_t)attribute >= sizeof values / sizeof *values || size != expected || !value)
        misuse("an attribute of algorithms that is not there, or of another size");
    memcpy(value, &values[attribute], size);
    *written = size;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- computing ---- */

static float e4m3(uint8_t bits) {
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float x = exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    if ((bits & 127) == 127)
        x = NAN;
    return bits & 128 ? -x : x;
}

static float get(const void *at, int64_t i, int32_t type) {
    if (type == CUDA_R_8F_E4M3)
        return e4m3(((const uint8_t *)at)[i]);
    if (type == CUDA_R_32F)
        return ((const float *)at)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void set(void *at, int64_t i, int32_t type, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (type == CUDA_R_32F)
        ((float *)at)[i] = x;
    else if (x != x)
        ((uint16_t *)at)[i] = (uint16_t)(bits >> 16 | 0x40);
    else
        ((uint16_t *)at)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static size_t extent(const Layout *l) { /* bytes */
    size_t size = l->type == CUDA_R_32F ? 4 : l->type == CUDA_R_16BF ? 2 : 1;
    return (size_t)((l->columns - 1) * l->ld + l->rows) * size;
}

/* The matrix in float32 with the same leading dimension; to be freed where it is not the same. */
static float *wide(const void *at, const Layout *l) {
    if (l->type == CUDA_R_32F)
        return (float *)(uintptr_t)at;
    float *memory = made((size_t)(l->ld * l->columns + 1) * sizeof *memory, 0);
    for (int64_t j = 0; j < l->columns; j++)
        for (int64_t i = 0; i < l->rows; i++)
            memory[j * l->ld + i] = get(at, j * l->ld + i, l->type);
    return memory;
}

static bool meet(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    return (uintptr_t)a < (uintptr_t)b + b_bytes && (uintptr_t)b < (uintptr_t)a + a_bytes;
}

static void look_at_pointers(const Problem *p, const Algorithm *algorithm, const void *a,
                             const void *b, const void *c, const void *d, bool reads_c) {
    const void *pointers[] = {a, b, c, d, p->operation->bias};
    for (int i = 0; i < 4 + (p->operation->epilogue == CUBLASLT_EPILOGUE_BIAS); i++)
        if (!pointers[i] || (uintptr_t)pointers[i] % algorithm->align[i])
            misuse("a pointer that is NULL, or less aligned than promised");
    if (meet(d, extent(p->d), a, extent(p->a)) || meet(d, extent(p->d), b, extent(p->b)))
        misuse("D overlaps A or B");
    if (reads_c && c != d && meet(d, extent(p->d), c, extent(p->c)))
        misuse("D overlaps C and is not the same");
}

/* part[m][n], column-major, of the sum over k from `first` to `last` */
static void multiply(float *part, const Problem *p, const float *a, const float *b, int64_t first,
                     int64_t last) {
    bool ta = p->operation->transposed[0] == CUBLAS_OP_T;
    bool tb = p->operation->transposed[1] == CUBLAS_OP_T;
    cblas_sgemm(CblasColMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                (blasint)p->m, (blasint)p->n, (blasint)(last - first), 1,
                a + first * (ta ? 1 : p->a->ld), (blasint)p->a->ld, b + first * (tb ? p->b->ld : 1),
                (blasint)p->b->ld, 0, part, (blasint)p->m);
}

/* A product with all that it was asked for with: descriptors may change before it is computed. */
typedef struct Product {
    Operation operation;
    Layout a_layout, b_layout, c_layout, d_layout;
    Algorithm algorithm;
    float one, add;
    const void *a, *b, *c;
    void *d;
    float *workspace;
} Product;

static void compute(void *own) {
    const Product *x = own;
    const Layout *d_layout = &x->d_layout;
    bool flip = x->operation.transposed[0] == CUBLAS_OP_T;
    Problem p = {.m = d_layout->rows,
                 .n = d_layout->columns,
                 .k = flip ? x->a_layout.rows : x->a_layout.columns,
                 .operation = &x->operation,
                 .a = &x->a_layout,
                 .b = &x->b_layout,
                 .c = &x->c_layout,
                 .d = d_layout};
    int32_t split = x->algorithm.split;
    emulation_device_begin();
    int64_t count = p.m * p.n;
    float *wide_a = wide(x->a, p.a), *wide_b = wide(x->b, p.b);
    float *parts = split > 1 ? x->workspace : made((size_t)count * sizeof(float) + 4, 0);
    for (int64_t i = 0; i < split; i++)
        multiply(parts + i * count, &p, wide_a, wide_b, p.k * i / split, p.k * (i + 1) / split);
    for (int64_t j = 0; j < p.n; j++)
        for (int64_t i = 0; i < p.m; i++) {
            float sum = parts[j * p.m + i];
            for (int64_t part = 1; part < split; part++)
                sum += parts[part * count + j * p.m + i];
            sum *= x->one;
            if (p.a->type == CUDA_R_8F_E4M3)
                sum *= p.operation->scales[0][i] * p.operation->scales[1][j];
            if (x->add != 0)
                sum += x->add * get(x->c, j * p.c->ld + i, p.c->type);
            if (p.operation->epilogue == CUBLASLT_EPILOGUE_BIAS)
                sum += get(p.operation->bias, i,
                           p.a->type == CUDA_R_8F_E4M3 ? CUDA_R_16BF : p.d->type);
            set(x->d, j * p.d->ld + i, p.d->type, sum);
        }
    if (wide_a != x->a)
        free(wide_a);
    if (wide_b != x->b)
        free(wide_b);
    if (parts != x->workspace)
        free(parts);
    emulation_device_end();
}

static cublasStatus_t matmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                             const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                             const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                             const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                             cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                             void *workspace, size_t workspace_bytes, cudaStream_t stream) {
    living(handle, HANDLE, "no handle");
    Problem p = problem_of(operation, a_layout, b_layout, c_layout, d_layout);
    Algorithm chosen = algorithm_of(algo);
    if (!suits(&chosen, &p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!alpha || !beta || !stream)
        misuse("no factors, or no stream");
    float one = *(const float *)alpha, add = *(const float *)beta;
    look_at_pointers(&p, &chosen, a, b, c, d, add != 0);
    if (chosen.split > 1 &&
        (!workspace || (uintptr_t)workspace % 256 || workspace_bytes < workspace_for(&chosen, &p)))
        misuse("a workspace that is too small or not aligned");
    Product product = {*p.operation, *p.a, *p.b, *p.c, *p.d, chosen,   one,
                       add,          a,    b,    c,    d,    workspace};
    if (emulation_captures(stream)) {
        Product *kept = made(sizeof *kept, 0);
        *kept = product;
        emulation_record_call(compute, free, kept);
    } else {
        compute(&product);
    }
    return CUBLAS_STATUS_SUCCESS;
}

int cublaslt_open(CublasLt *lt, Error *error) {
    (void)error;
    *lt = (CublasLt){.Create = create,
                     .Destroy = destroy,
                     .GetVersion = get_version,
                     .GetStatusName = get_status_name,
                     .MatmulDescCreate = operation_create,
                     .MatmulDescDestroy = operation_destroy,
                     .MatmulDescSetAttribute = operation_set,
                     .MatrixLayoutCreate = layout_create,
                     .MatrixLayoutDestroy = layout_destroy,
                     .MatrixLayoutSetAttribute = layout_set,
                     .MatmulPreferenceCreate = preference_create,
                     .MatmulPreferenceDestroy = preference_destroy,
                     .MatmulPreferenceSetAttribute = preference_set,
                     .MatmulAlgoGetHeuristic = heuristic,
                     .MatmulAlgoCheck = check,
                     .MatmulAlgoConfigGetAttribute = config,
                     .Matmul = matmul};
    return 0;
}
