/* Plans for cuBLASLt. See kernels/cuda/gemm.h.
 *
 * The library's matrices are column-major: a row-major y[R][out] is its matrix of out x R with
 * leading dimension out. So with D = op(A) op(B):
 *
 *                   D          A               B
 *   GEMM_FORWARD    out x R    w in x out, ᵀ   x in x R
 *   GEMM_INPUT      in x R     w in x out      dy out x R
 *   GEMM_WEIGHT     in x out   x in x R        dy out x R, ᵀ
 *
 * A is the call's right factor, B its left one. All are dense: the leading dimension is the number
 * of rows. A bias has one entry for each row of D. R is a number of columns everywhere, so that
 * other row counts change no stride. */
#include "kernels/cuda/gemm.h"
#include "base/log.h"
#include "kernels/cuda/bias.h"
#include "kernels/cuda/cublaslt_library.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/graphs.h"
#include "kernels/device.h"
#include <stdlib.h>
#include <string.h>

/* NVIDIA's own advice for cuBLAS: 32 MiB from Hopper on, 4 MiB before. */
#define WORKSPACE_HOPPER ((size_t)32 << 20)
#define WORKSPACE_BEFORE ((size_t)4 << 20)
#define HOPPER           9
#define ALIGNMENT_MOST   16   /* bytes: the widest access of a kernel */
#define BUCKETS          16   /* of row counts between a power of two and the next */
#define BUCKET_WIDEST    1024 /* rows */
#define SETS             256  /* of the table of plans */
#define WAYS             4    /* plans in a set, the oldest of which is dropped */
#define CANDIDATES       8    /* that the heuristic may name */

/* FP8 with a scale for each row came with 12.9: attributes of operations, and their value. Headers
 * before that do not name them. */
#define EIGHTS_VERSION 120900
#define SCALE_MODE_A   ((cublasLtMatmulDescAttributes_t)31)
#define SCALE_MODE_B   ((cublasLtMatmulDescAttributes_t)32)
#define SCALE_OUTER    3  /* CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F */
#define ADA            89 /* the first cards with FP8 */

/* What a choice depends on. Compared byte by byte: no padding may differ. */
typedef struct PlanKey {
    int64_t rows; /* that the heuristic is asked for */
    int64_t in, out;
    uint8_t kind, precision, float_result, added, bias, tf32, exact, eights;
    uint8_t align_a, align_b, align_c, align_d, align_bias, unused_too[3]; /* bytes */
} PlanKey;

typedef struct Plan {
    PlanKey key;
    uint64_t used; /* when it was asked for last; 0: an empty place */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, d; /* c has d's */
    int64_t rows;                   /* in the layouts at present */
    bool chosen;                    /* there is an algorithm */
    bool fits;                      /* and it suits those rows */
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
    float waves; /* of the key's rows */
} Plan;

typedef struct CudaGemm {
    CublasLt lt;
    cublasLtHandle_t handle;
    cublasLtMatmulPreference_t preference;
    void *workspace;
    size_t workspace_bytes;
    uint64_t clock, choices, dropped;
    bool eights_refused; /* it was said that some shape stays in bfloat16 */
    Plan plans[SETS][WAYS];
} CudaGemm;

_Noreturn static void failed(const CudaGemm *g, const char *call, cublasStatus_t status, int line) {
    fprintf(stderr, "jepa: the GPU failed: cuBLASLt %zu, %s (%s) at %s:%d\n", g->lt.GetVersion(),
            g->lt.GetStatusName(status), call, __FILE__, line);
    abort();
}

#define LT_CHECK(g, call)                                                                          \
    do {                                                                                           \
        cublasStatus_t status_ = (g)->lt.call;                                                     \
        if (status_ != CUBLAS_STATUS_SUCCESS)                                                      \
            failed(g, #call, status_, __LINE__);                                                   \
    } while (0)

/* ---- keys ---- */

static int64_t round_up(int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}

/* The member of a bucket that is asked for in its name: the largest that is divisible by 2, 4 and 8
 * as `rows` is. */
static int64_t representative(int64_t rows) {
    int64_t width = 1;
    while (width < BUCKET_WIDEST && width * 2 * BUCKETS <= rows)
        width *= 2;
    int64_t divisor = rows & -rows;
    if (width < 16) /* too narrow to hold such a member for every count */
        return rows;
    return divisor >= 8 ? round_up(rows, width) : round_up(rows, width) - divisor;
}

static uint8_t alignment(const void *pointer) {
    uintptr_t low = (uintptr_t)pointer | ALIGNMENT_MOST;
    return (uint8_t)(low & -low);
}

static PlanKey key_of(const CudaGemmCall *call, const Device *device) {
    PlanKey key;
    memset(&key, 0, sizeof key);
    key.rows = representative(call->rows);
    key.in = call->in;
    key.out = call->out;
    key.kind = (uint8_t)call->kind;
    key.precision = (uint8_t)device->precision;
    key.float_result = call->float_result || device->precision == PRECISION_FLOAT32;
    key.added = call->added != NULL;
    key.bias = call->bias != NULL;
    key.eights = call->left_scale != NULL;
    key.tf32 = device->tf32 && device->precision == PRECISION_FLOAT32;
    key.align_a = alignment(call->right);
    key.align_b = alignment(call->left);
    key.align_c = alignment(call->added ? call->added : call->result);
    key.align_d = alignment(call->result);
    key.align_bias = call->bias ? alignment(call->bias) : 0;
    return key;
}

static uint64_t hash_of(const PlanKey *key) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *key; i++)
        hash = (hash ^ ((const unsigned char *)key)[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* ---- plans ---- */

static cublasLtMatrixLayout_t layout(CudaGemm *g, cudaDataType_t type, int64_t rows,
                                     int64_t columns) {
    cublasLtMatrixLayout_t made;
    LT_CHECK(g, MatrixLayoutCreate(&made, type, (uint64_t)rows, (uint64_t)columns, rows));
    return made;
}

static void set_operation(CudaGemm *g, cublasLtMatmulDesc_t operation,
                          cublasLtMatmulDescAttributes_t attribute, const void *value,
                          size_t size) {
    LT_CHECK(g, MatmulDescSetAttribute(operation, attribute, value, size));
}

static void make_descriptors(CudaGemm *g, Plan *plan) {
    const PlanKey *key = &plan->key;
    bool weight = key->kind == GEMM_WEIGHT;
    cudaDataType_t own = key->precision == PRECISION_BFLOAT16 ? CUDA_R_16BF : CUDA_R_32F;
    cudaDataType_t factor = key->eights ? CUDA_R_8F_E4M3 : own;
    cudaDataType_t result = key->float_result ? CUDA_R_32F : own;
    cublasComputeType_t compute = key->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    int32_t trans_a = key->kind == GEMM_FORWARD ? CUBLAS_OP_T : CUBLAS_OP_N;
    int32_t trans_b = weight ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint32_t epilogue = key->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    LT_CHECK(g, MatmulDescCreate(&plan->operation, compute, CUDA_R_32F));
    cublasLtMatmulDesc_t op = plan->operation;
    set_operation(g, op, CUBLASLT_MATMUL_DESC_TRANSA, &trans_a, sizeof trans_a);
    set_operation(g, op, CUBLASLT_MATMUL_DESC_TRANSB, &trans_b, sizeof trans_b);
    set_operation(g, op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (key->eights) {
        int32_t mode = SCALE_OUTER, bias = CUDA_R_16BF;
        set_operation(g, op, SCALE_MODE_A, &mode, sizeof mode);
        set_operation(g, op, SCALE_MODE_B, &mode, sizeof mode);
        set_operation(g, op, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof bias);
    }
    plan->rows = key->rows;
    plan->a = layout(g, factor, key->in, weight ? key->rows : key->out);
    plan->b = layout(g, factor, key->kind == GEMM_FORWARD ? key->in : key->out, key->rows);
    plan->d = layout(g, result, key->kind == GEMM_FORWARD ? key->out : key->in,
                     weight ? key->out : key->rows);
}

static void drop(CudaGemm *g, Plan *plan) {
    if (!plan->used)
        return;
    LT_CHECK(g, MatmulDescDestroy(plan->operation));
    LT_CHECK(g, MatrixLayoutDestroy(plan->a));
    LT_CHECK(g, MatrixLayoutDestroy(plan->b));
    LT_CHECK(g, MatrixLayoutDestroy(plan->d));
    memset(plan, 0, sizeof *plan);
}

static void prefer(CudaGemm *g, cublasLtMatmulPreferenceAttributes_t attribute, uint32_t value) {
    LT_CHECK(g, MatmulPreferenceSetAttribute(g->preference, attribute, &value, sizeof value));
}

static int64_t setting(const CudaGemm *g, const cublasLtMatmulAlgo_t *algo,
                       cublasLtMatmulAlgoConfigAttributes_t attribute, size_t size) {
    union {
        int32_t wide;
        uint16_t narrow;
    } value = {0};
    size_t written;
    if (g->lt.MatmulAlgoConfigGetAttribute(algo, attribute, &value, size, &written) !=
        CUBLAS_STATUS_SUCCESS)
        return -1;
    return size == sizeof value.wide ? value.wide : value.narrow;
}

static void set_pointers(CudaGemm *g, cublasLtMatmulDesc_t operation, const CudaGemmCall *call) {
    if (call->bias)
        set_operation(g, operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &call->bias,
                      sizeof call->bias);
    if (!call->left_scale)
        return;
    set_operation(g, operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &call->right_scale,
                  sizeof call->right_scale);
    set_operation(g, operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &call->left_scale,
                  sizeof call->left_scale);
}

/* The first that the heuristic names whose sum has a fixed order: in one piece, or in parts that
 * are kept in float32 and added one after another. First it is asked for no others; should it then
 * know none at all, for every kind. */
static void choose(CudaGemm *g, Plan *plan, const CudaGemmCall *call) {
    const PlanKey *key = &plan->key;
    const uint32_t masks[] = {CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
                              CUBLASLT_REDUCTION_SCHEME_MASK};
    g->choices++;
    prefer(g, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key->align_a);
    prefer(g, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->align_b);
    prefer(g, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->align_c);
    prefer(g, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->align_d);
    set_pointers(g, plan->operation, call); /* looked at for their alignment */
    for (int i = 0; i < 2 && !plan->chosen; i++) {
        cublasLtMatmulHeuristicResult_t found[CANDIDATES];
        int count = 0;
        prefer(g, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, masks[i]);
        cublasStatus_t status = g->lt.MatmulAlgoGetHeuristic(
            g->handle, plan->operation, plan->a, plan->b, plan->d, plan->d, g->preference,
            CANDIDATES, found, &count);
        bool refused = status == CUBLAS_STATUS_NOT_SUPPORTED ||
                       (key->eights && status == CUBLAS_STATUS_INVALID_VALUE);
        if (status != CUBLAS_STATUS_SUCCESS && !refused)
            failed(g, "cublasLtMatmulAlgoGetHeuristic", status, __LINE__);
        for (int k = 0; status == CUBLAS_STATUS_SUCCESS && k < count && !plan->chosen; k++) {
            int64_t scheme = setting(g, &found[k].algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4);
            if (found[k].state != CUBLAS_STATUS_SUCCESS ||
                found[k].workspaceSize > g->workspace_bytes ||
                (scheme != CUBLASLT_REDUCTION_SCHEME_NONE &&
                 scheme != CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE))
                continue;
            plan->algo = found[k].algo;
            plan->workspace = found[k].workspaceSize;
            plan->waves = found[k].wavesCount;
            plan->chosen = plan->fits = true;
        }
    }
}

/* The plan of a key; what a new one replaces is the one of its set that was used longest ago. */
static Plan *plan_of(CudaGemm *g, const PlanKey *key, const CudaGemmCall *call) {
    Plan *set = g->plans[hash_of(key) % SETS], *oldest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].used && !memcmp(&set[i].key, key, sizeof *key)) {
            set[i].used = ++g->clock;
            return &set[i];
        }
        oldest = set[i].used < oldest->used ? &set[i] : oldest;
    }
    g->dropped += oldest->used > 0;
    drop(g, oldest);
    oldest->key = *key;
    oldest->used = ++g->clock;
    make_descriptors(g, oldest);
    choose(g, oldest, call);
    return oldest;
}

/* Tells the layouts another number of rows, and asks whether the algorithm suits it. */
static void set_rows(CudaGemm *g, Plan *plan, int64_t rows) {
    uint64_t columns = (uint64_t)rows;
    cublasLtMatrixLayout_t other = plan->key.kind == GEMM_WEIGHT ? plan->a : plan->d;
    LT_CHECK(g, MatrixLayoutSetAttribute(plan->b, CUBLASLT_MATRIX_LAYOUT_COLS, &columns,
                                         sizeof columns));
    LT_CHECK(
        g, MatrixLayoutSetAttribute(other, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns));
    cublasLtMatmulHeuristicResult_t result = {0};
    plan->rows = rows;
    plan->fits = g->lt.MatmulAlgoCheck(g->handle, plan->operation, plan->a, plan->b, plan->d,
                                       plan->d, &plan->algo, &result) == CUBLAS_STATUS_SUCCESS &&
                 result.workspaceSize <= g->workspace_bytes;
}

/* Queues the product: false where the library refuses, before it has done anything. */
static bool run(CudaGemm *g, Plan *plan, const CudaGemmCall *call, Device *device) {
    const float one = 1, beta = call->added ? 1 : 0;
    if (!plan->fits)
        return false;
    set_pointers(g, plan->operation, call);
    cublasStatus_t status = g->lt.Matmul(
        g->handle, plan->operation, &one, call->right, plan->a, call->left, plan->b, &beta,
        call->added ? call->added : call->result, plan->d, call->result, plan->d, &plan->algo,
        g->workspace, g->workspace_bytes, device->cuda->stream);
    bool refused = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
    if (status != CUBLAS_STATUS_SUCCESS && !refused && cuda_graphs_spoil("cuBLASLt cannot", device))
        return true;
    plan->fits = status == CUBLAS_STATUS_SUCCESS;
    if (!plan->fits && !refused)
        failed(g, "cublasLtMatmul", status, __LINE__);
    return plan->fits;
}

static void print_key(const PlanKey *key, FILE *out) {
    static const char *const kinds[] = {"forward", "input", "weight"};
    fprintf(out, "%s rows %lld%s in %lld out %lld, %s%s%s%s%s, aligned %d %d %d %d %d",
            kinds[key->kind], (long long)key->rows, key->exact ? " exactly" : "",
            (long long)key->in, (long long)key->out,
            key->eights ? "e4m3" : precision_name((Precision)key->precision),
            key->tf32 ? " as tf32" : "", key->float_result ? " to float32" : "",
            key->added ? ", added to" : "", key->bias ? ", bias" : "", key->align_a, key->align_b,
            key->align_c, key->align_d, key->align_bias);
}

_Noreturn static void no_algorithm(const CudaGemm *g, const PlanKey *key) {
    fprintf(stderr, "jepa: cuBLASLt %zu has no algorithm with a fixed order of sums for: ",
            g->lt.GetVersion());
    print_key(key, stderr);
    fprintf(stderr, "; use another version of cuBLAS, or --device cpu\n");
    abort();
}

/* False: the library has no algorithm for this. `key` says for what. */
static bool multiply(const CudaGemmCall *call, PlanKey *key, Device *device) {
    CudaGemm *g = device->cuda->gemm;
    *key = key_of(call, device);
    Plan *plan = plan_of(g, key, call);
    if (plan->chosen && plan->rows != call->rows)
        set_rows(g, plan, call->rows);
    if (run(g, plan, call, device))
        return true;
    /* What was chosen for the bucket does not suit this count: a choice for it alone. */
    key->rows = call->rows;
    key->exact = 1;
    return run(g, plan_of(g, key, call), call, device);
}

/* ---- FP8 ---- */

/* A plan of this key, and does it suit the call's rows? */
static bool suits(const PlanKey *key, const CudaGemmCall *call, CudaGemm *g) {
    Plan *plan = plan_of(g, key, call);
    if (plan->chosen && plan->rows != call->rows)
        set_rows(g, plan, call->rows);
    return plan->fits;
}

bool cuda_gemm_able(const CudaGemmCall *call, Device *device) {
    CudaGemm *g = device->cuda->gemm;
    PlanKey key = key_of(call, device);
    if (suits(&key, call, g))
        return true;
    key.rows = call->rows;
    key.exact = 1;
    return suits(&key, call, g);
}

bool cuda_gemm_eights(const CudaGemmCall *call, Device *device) {
    PlanKey key;
    return multiply(call, &key, device);
}

bool cuda_gemm_has_eights(Device *device) {
    static const _Alignas(256) float anywhere; /* the heuristic reads no memory */
    void *aligned = (void *)(uintptr_t)&anywhere;
    CudaGemmCall usual = {.kind = GEMM_FORWARD,
                          .rows = 4096,
                          .in = 1024,
                          .out = 1024,
                          .result = aligned,
                          .left = aligned,
                          .right = aligned,
                          .bias = aligned,
                          .left_scale = aligned,
                          .right_scale = aligned};
    return device->precision == PRECISION_BFLOAT16 && device->cuda->capability >= ADA &&
           device->cuda->gemm->lt.GetVersion() >= EIGHTS_VERSION && cuda_gemm_able(&usual, device);
}

void cuda_gemm_stays(const CudaGemmCall *call, Device *device) {
    CudaGemm *g = device->cuda->gemm;
    if (!g->eights_refused)
        log_info("FP8: cuBLASLt %zu has nothing for %lld rows from %lld to %lld channels%s: such "
                 "layers stay in bfloat16",
                 g->lt.GetVersion(), (long long)call->rows, (long long)call->in,
                 (long long)call->out, call->float_result ? ", float32 results" : "");
    g->eights_refused = true;
}

/* ---- all others ---- */

void cuda_gemm(const CudaGemmCall *call, Device *device) {
    PlanKey key;
    if (multiply(call, &key, device))
        return;
    if (call->bias) { /* not with a bias: it goes first, the product is added to it */
        CudaGemmCall plain = *call;
        bool halves = device->precision == PRECISION_BFLOAT16 && !call->float_result;
        cuda_bias_rows(call->result, call->added, call->bias, call->rows, call->out,
                       halves ? PRECISION_BFLOAT16 : PRECISION_FLOAT32, device);
        plain.bias = NULL;
        plain.added = call->result;
        if (multiply(&plain, &key, device))
            return;
    }
    if (!cuda_graphs_spoil("cuBLASLt has no algorithm", device))
        no_algorithm(device->cuda->gemm, &key);
}

/* ---- the table ---- */

uint64_t cuda_gemm_choices(const Device *device) {
    return device->cuda->gemm->choices;
}

static int compare_plans(const void *a, const void *b) {
    const PlanKey *x = &(*(Plan *const *)a)->key, *y = &(*(Plan *const *)b)->key;
    int64_t left[] = {x->kind, x->in, x->out, x->rows}, right[] = {y->kind, y->in, y->out, y->rows};
    for (int i = 0; i < 4; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return memcmp(x, y, sizeof *x);
}

static void print_plan(const CudaGemm *g, const Plan *plan, FILE *out) {
    const cublasLtMatmulAlgo_t *algo = &plan->algo;
    print_key(&plan->key, out);
    if (!plan->chosen) {
        fprintf(out, ": none\n");
        return;
    }
    fprintf(out,
            ": algorithm %lld tile %lld stages %lld split %lld reduction %lld swizzle %lld option "
            "%lld inner %lld cluster %lld workspace %zu waves %.2f\n",
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_ID, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_TILE_ID, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_STAGES_ID, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, 4),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, 2),
            (long long)setting(g, algo, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 2), plan->workspace,
            (double)plan->waves);
}

void cuda_gemm_report(const Device *device, FILE *out) {
    CudaGemm *g = device->cuda->gemm;
    Plan **order = memory_new(SETS * WAYS, sizeof *order);
    size_t count = 0;
    for (int i = 0; i < SETS * WAYS; i++)
        if (g->plans[i / WAYS][i % WAYS].used)
            order[count++] = &g->plans[i / WAYS][i % WAYS];
    qsort(order, count, sizeof *order, compare_plans);
    fprintf(out, "cuBLASLt %zu, workspace %zu bytes; %llu choices, %llu of them dropped since\n",
            g->lt.GetVersion(), g->workspace_bytes, (unsigned long long)g->choices,
            (unsigned long long)g->dropped);
    for (size_t i = 0; i < count; i++)
        print_plan(g, order[i], out);
    free(order);
}

int cuda_gemm_open(Device *device, int capability, Error *error) {
    CudaGemm *g = device->cuda->gemm = memory_new(1, sizeof *g);
    if (cublaslt_open(&g->lt, error))
        return error_prefix(error, "--device %s", device->name);
    cublasStatus_t status = g->lt.Create(&g->handle);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = g->lt.MatmulPreferenceCreate(&g->preference);
    if (status != CUBLAS_STATUS_SUCCESS)
        return error_set(error, ERROR_RUN,
                         "--device %s: cuBLASLt %zu does not start: %s; a newer driver or another "
                         "version of cuBLAS may, or use --device cpu",
                         device->name, g->lt.GetVersion(), g->lt.GetStatusName(status));
    g->workspace_bytes = capability >= HOPPER ? WORKSPACE_HOPPER : WORKSPACE_BEFORE;
    uint64_t most = g->workspace_bytes;
    LT_CHECK(g, MatmulPreferenceSetAttribute(
                    g->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most));
    return device->allocate(&g->workspace, g->workspace_bytes, device, error);
}

void cuda_gemm_close(Device *device) {
    CudaGemm *g = device->cuda->gemm;
    if (!g)
        return;
    for (int i = 0; i < SETS * WAYS; i++)
        drop(g, &g->plans[i / WAYS][i % WAYS]);
    if (g->preference)
        LT_CHECK(g, MatmulPreferenceDestroy(g->preference));
    if (g->handle)
        LT_CHECK(g, Destroy(g->handle));
    cudaFree(g->workspace);
    free(g);
    device->cuda->gemm = NULL;
}
