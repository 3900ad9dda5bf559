/* oneDNN. See kernels/cpu/onednn.h. The one file that knows its version.
 *
 * A primitive is created for one shape: those with dimensions left open fall back to slow kernels
 * (measured for 2.6). Batches are packed, so the last tile of rows has another height in every
 * step. A thread therefore has two tables: whole tiles, a few hundred shapes that stay, and odd
 * ones, dropped all at once when there are ODD_MAX. A creation costs 0.1 ms, of a step of seconds.
 *
 * Everything runs on the calling thread: primitives are created while OpenMP may use one thread
 * (gemm_open), and each thread has its own, with its own stream and scratch memory. */
#include "kernels/cpu/onednn.h"
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES     2048 /* of a table; a power of two */
#define WHOLE_MAX   1536
#define ODD_MAX     512
#define WHOLE       64  /* a multiple of it is a whole tile, of rows or of tokens */
#define LAYOUT_ROWS 128 /* rows that a layout is asked for */

#define CHECK(call)                                                                                \
    do {                                                                                           \
        dnnl_status_t check_status = (call);                                                       \
        if (check_status != dnnl_success) {                                                        \
            fprintf(stderr, "%s:%d: oneDNN error %d in %s\n", __FILE__, __LINE__,                  \
                    (int)check_status, #call);                                                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- what differs between the versions ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t Desc; /* a handle */
#define AT(desc) (desc)

static Desc desc_strided(int64_t rows, int64_t columns, dnnl_data_type_t type, int64_t row,
                         int64_t column) {
    Desc desc;
    dnnl_dims_t dims = {rows, columns}, strides = {row, column};
    CHECK(dnnl_memory_desc_create_with_strides(&desc, 2, dims, type, strides));
    return desc;
}
static Desc desc_any(int64_t rows, int64_t columns, dnnl_data_type_t type) {
    Desc desc;
    dnnl_dims_t dims = {rows, columns};
    CHECK(dnnl_memory_desc_create_with_tag(&desc, 2, dims, type, dnnl_format_tag_any));
    return desc;
}
static Desc desc_copy(const_dnnl_memory_desc_t from) {
    Desc desc;
    CHECK(dnnl_memory_desc_clone(&desc, from));
    return desc;
}
static void desc_free(Desc desc) {
    dnnl_memory_desc_destroy(desc);
}
static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, Desc a, Desc b,
                                 const Desc *bias, Desc c, dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(out, engine, a, b, bias ? *bias : NULL, c, attr);
}
static void append_sum(dnnl_post_ops_t ops) {
    CHECK(dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef));
}
static void append_gelu(dnnl_post_ops_t ops) {
    CHECK(dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_gelu_erf, 0, 0));
}
static dnnl_status_t reorder_desc(dnnl_primitive_desc_t *out, Desc from, Desc to,
                                  dnnl_engine_t engine) {
    return dnnl_reorder_primitive_desc_create(out, from, engine, to, engine, NULL);
}
#else
typedef dnnl_memory_desc_t Desc; /* a struct */
#define AT(desc) (&(desc))

static Desc desc_strided(int64_t rows, int64_t columns, dnnl_data_type_t type, int64_t row,
                         int64_t column) {
    Desc desc;
    dnnl_dims_t dims = {rows, columns}, strides = {row, column};
    CHECK(dnnl_memory_desc_init_by_strides(&desc, 2, dims, type, strides));
    return desc;
}
static Desc desc_any(int64_t rows, int64_t columns, dnnl_data_type_t type) {
    Desc desc;
    dnnl_dims_t dims = {rows, columns};
    CHECK(dnnl_memory_desc_init_by_tag(&desc, 2, dims, type, dnnl_format_tag_any));
    return desc;
}
static Desc desc_copy(const dnnl_memory_desc_t *from) {
    return *from;
}
static void desc_free(Desc desc) {
    (void)desc;
}
static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, Desc a, Desc b,
                                 const Desc *bias, Desc c, dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, &a, &b, bias, &c);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, attr, engine, NULL)
                                  : status;
}
static void append_sum(dnnl_post_ops_t ops) {
    CHECK(dnnl_post_ops_append_sum(ops, 1.0f));
}
static void append_gelu(dnnl_post_ops_t ops) {
    CHECK(dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_gelu_erf, 0, 0));
}
static dnnl_status_t reorder_desc(dnnl_primitive_desc_t *out, Desc from, Desc to,
                                  dnnl_engine_t engine) {
    return dnnl_reorder_primitive_desc_create(out, &from, engine, &to, engine, NULL);
}
#endif

static Desc desc_of_query(const_dnnl_primitive_desc_t primitive, dnnl_query_t what) {
    return desc_copy(dnnl_primitive_desc_query_md(primitive, what, 0));
}

/* ---- the threads' primitives ---- */

struct OneDnnLayout {
    Desc desc;
};

/* What a primitive was made for; compared byte by byte, so all of it is set. */
typedef struct Key {
    int64_t m, n, k, a_stride, b_stride, c_stride, flags;
} Key;

typedef struct Entry {
    Key key;
    bool used;
    dnnl_primitive_t primitive; /* NULL: there is none */
    dnnl_memory_t a, b, c, bias, scratch;
    size_t scratch_bytes;
} Entry;

typedef struct Table {
    Entry *entries; /* [ENTRIES]; NULL: none yet */
    int count;
} Table;

typedef struct Slot {
    dnnl_stream_t stream;
    Table tables[2]; /* [odd] */
    void *scratch;
    size_t scratch_bytes;
} Slot;

struct OneDnn {
    dnnl_engine_t engine;
    int threads;
    Slot *slots; /* [threads] */
    bool blocked[2];
};

static dnnl_data_type_t type_of(Precision precision) {
    return precision == PRECISION_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
}

/* op(b)[k][n] of weights w[out][in] */
static Desc weights_any(int64_t in, int64_t out, Precision precision, bool backward) {
    return desc_any(backward ? out : in, backward ? in : out, type_of(precision));
}

static dnnl_primitive_attr_t attributes(bool residual, bool gelu) {
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
    CHECK(dnnl_primitive_attr_create(&attr));
    CHECK(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    CHECK(dnnl_post_ops_create(&ops));
    if (residual)
        append_sum(ops);
    if (gelu)
        append_gelu(ops);
    CHECK(dnnl_primitive_attr_set_post_ops(attr, ops));
    CHECK(dnnl_post_ops_destroy(ops));
    return attr;
}

/* The matmul that weights of this size are packed for; NULL: none. */
static dnnl_primitive_desc_t weights_primitive(const OneDnn *dnn, int64_t in, int64_t out,
                                               Precision precision, bool backward) {
    int64_t k = backward ? out : in, n = backward ? in : out;
    Desc a = desc_strided(LAYOUT_ROWS, k, type_of(precision), k, 1);
    Desc b = weights_any(in, out, precision, backward);
    Desc c = desc_strided(LAYOUT_ROWS, n, type_of(precision), n, 1);
    dnnl_primitive_attr_t attr = attributes(false, false);
    dnnl_primitive_desc_t primitive = NULL;
    if (matmul_desc(&primitive, dnn->engine, a, b, NULL, c, attr) != dnnl_success)
        primitive = NULL;
    dnnl_primitive_attr_destroy(attr);
    desc_free(a), desc_free(b), desc_free(c);
    return primitive;
}

/* Blocked kernels are called brg:avx512_core...; the others would gain nothing from packing (or,
 * for AVX2, have not been measured). */
static bool find_blocked(const OneDnn *dnn, Precision precision) {
    dnnl_primitive_desc_t primitive = weights_primitive(dnn, 384, 384, precision, false);
    const char *name = NULL;
    if (!primitive)
        return false;
    dnnl_primitive_desc_query(primitive, dnnl_query_impl_info_str, 0, (void *)&name);
    bool blocked = name && strstr(name, "brg") && strstr(name, "avx512");
    dnnl_primitive_desc_destroy(primitive);
    return blocked;
}

int onednn_open(OneDnn **out, int threads, Error *error) {
    OneDnn *dnn = memory_new(1, sizeof *dnn);
    dnn->threads = threads;
    dnn->slots = memory_new((size_t)threads, sizeof *dnn->slots);
    if (dnnl_engine_create(&dnn->engine, dnnl_cpu, 0) != dnnl_success) {
        free(dnn->slots);
        free(dnn);
        return error_set(error, ERROR_RUN, "oneDNN does not start on this CPU");
    }
    for (int i = 0; i < threads; i++)
        CHECK(dnnl_stream_create(&dnn->slots[i].stream, dnn->engine, dnnl_stream_default_flags));
    for (int p = 0; p < 2; p++)
        dnn->blocked[p] = find_blocked(dnn, (Precision)p);
    *out = dnn;
    return 0;
}

static void drop_entry(Entry *entry) {
    if (entry->primitive) {
        dnnl_primitive_destroy(entry->primitive);
        dnnl_memory_destroy(entry->a);
        dnnl_memory_destroy(entry->b);
        dnnl_memory_destroy(entry->c);
        dnnl_memory_destroy(entry->scratch);
        if (entry->bias)
            dnnl_memory_destroy(entry->bias);
    }
    *entry = (Entry){0};
}

static void drop_entries(Table *table) {
    for (int i = 0; i < ENTRIES && table->entries; i++)
        drop_entry(&table->entries[i]);
    table->count = 0;
}

void onednn_close(OneDnn *dnn) {
    if (!dnn)
        return;
    for (int i = 0; i < dnn->threads; i++) {
        for (int odd = 0; odd < 2; odd++) {
            drop_entries(&dnn->slots[i].tables[odd]);
            free(dnn->slots[i].tables[odd].entries);
        }
        free(dnn->slots[i].scratch);
        dnnl_stream_destroy(dnn->slots[i].stream);
    }
    dnnl_engine_destroy(dnn->engine);
    free(dnn->slots);
    free(dnn);
}

const char *onednn_name(void) {
    static char name[64];
    const dnnl_version_t *v = dnnl_version();
    snprintf(name, sizeof name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return name;
}

bool onednn_blocked(const OneDnn *dnn, Precision precision) {
    return dnn->blocked[precision];
}

void onednn_sgemm(float *c, int64_t ldc, const float *a, int64_t lda, int a_transposed,
                  const float *b, int64_t ldb, int b_transposed, int64_t m, int64_t n, int64_t k,
                  float alpha, float beta) {
    CHECK(dnnl_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', m, n, k, alpha, a, lda, b,
                     ldb, beta, c, ldc));
}

OneDnnLayout *onednn_layout(OneDnn *dnn, int64_t in, int64_t out, Precision precision,
                            bool backward, size_t *bytes) {
    dnnl_primitive_desc_t primitive = weights_primitive(dnn, in, out, precision, backward);
    *bytes = 0;
    if (!primitive)
        return NULL;
    OneDnnLayout *layout = memory_new(1, sizeof *layout);
    layout->desc = desc_of_query(primitive, dnnl_query_weights_md);
    *bytes = dnnl_memory_desc_get_size(AT(layout->desc));
    dnnl_primitive_desc_destroy(primitive);
    return layout;
}

void onednn_layout_free(OneDnnLayout *layout) {
    if (!layout)
        return;
    desc_free(layout->desc);
    free(layout);
}

static dnnl_memory_t memory_at(const OneDnn *dnn, Desc desc, const void *data) {
    dnnl_memory_t memory;
    CHECK(dnnl_memory_create(&memory, AT(desc), dnn->engine, (void *)(uintptr_t)data));
    return memory;
}

void onednn_pack(OneDnn *dnn, int thread, void *packed, const OneDnnLayout *layout, const float *w,
                 int64_t in, int64_t out, bool backward) {
    Desc plain = backward ? desc_strided(out, in, dnnl_f32, in, 1)
                          : desc_strided(in, out, dnnl_f32, 1, in);
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    CHECK(reorder_desc(&desc, plain, layout->desc, dnn->engine));
    CHECK(dnnl_primitive_create(&reorder, desc));
    dnnl_memory_t from = memory_at(dnn, plain, w), to = memory_at(dnn, layout->desc, packed);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    CHECK(dnnl_primitive_execute(reorder, dnn->slots[thread].stream, 2, args));
    CHECK(dnnl_stream_wait(dnn->slots[thread].stream));
    dnnl_memory_destroy(from);
    dnnl_memory_destroy(to);
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
    desc_free(plain);
}

static Key key_of(const GemmCall *call, bool packed) {
    int64_t flags = (int64_t)call->precision | (int64_t)call->c_precision << 1 |
                    (int64_t)call->a.transposed << 2 | (int64_t)call->b.transposed << 3 |
                    (int64_t)packed << 4 | (int64_t)call->backward << 5 |
                    (int64_t)(call->bias != NULL) << 6 | (int64_t)(call->residual != NULL) << 7 |
                    (int64_t)call->gelu << 8;
    return (Key){call->m,        call->n, call->k, call->a.stride, packed ? 0 : call->b.stride,
                 call->c_stride, flags};
}

static Desc matrix_desc(const GemmMatrix *x, int64_t rows, int64_t columns, dnnl_data_type_t type) {
    return x->transposed ? desc_strided(rows, columns, type, 1, x->stride)
                         : desc_strided(rows, columns, type, x->stride, 1);
}

static void create_entry(const OneDnn *dnn, Entry *entry, const GemmCall *call,
                         const OneDnnLayout *layout) {
    dnnl_data_type_t type = type_of(call->precision);
    Desc a = matrix_desc(&call->a, call->m, call->k, type);
    Desc b = layout ? desc_copy(AT(layout->desc)) : matrix_desc(&call->b, call->k, call->n, type);
    Desc c = desc_strided(call->m, call->n, type_of(call->c_precision), call->c_stride, 1);
    Desc bias = desc_strided(1, call->n, dnnl_f32, call->n, 1);
    dnnl_primitive_attr_t attr = attributes(call->residual != NULL, call->gelu);
    dnnl_primitive_desc_t desc;
    if (matmul_desc(&desc, dnn->engine, a, b, call->bias ? &bias : NULL, c, attr) == dnnl_success) {
        CHECK(dnnl_primitive_create(&entry->primitive, desc));
        Desc scratch = desc_of_query(desc, dnnl_query_scratchpad_md);
        entry->scratch_bytes = dnnl_memory_desc_get_size(AT(scratch));
        entry->a = memory_at(dnn, a, DNNL_MEMORY_NONE);
        entry->b = memory_at(dnn, b, DNNL_MEMORY_NONE);
        entry->c = memory_at(dnn, c, DNNL_MEMORY_NONE);
        entry->bias = call->bias ? memory_at(dnn, bias, DNNL_MEMORY_NONE) : NULL;
        entry->scratch = memory_at(dnn, scratch, DNNL_MEMORY_NONE);
        desc_free(scratch);
        dnnl_primitive_desc_destroy(desc);
    }
    dnnl_primitive_attr_destroy(attr);
    desc_free(a), desc_free(b), desc_free(c), desc_free(bias);
}

static uint64_t hash_key(const Key *key) {
    const int64_t parts[] = {key->m,        key->n,        key->k,    key->a_stride,
                             key->b_stride, key->c_stride, key->flags};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        hash = (hash ^ (uint64_t)parts[i]) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

static Entry *find_entry(OneDnn *dnn, Slot *slot, const GemmCall *call,
                         const OneDnnLayout *layout) {
    bool odd = call->m % 16 || (call->a.transposed ? call->k : call->m) % WHOLE;
    Table *table = &slot->tables[odd];
    if (!table->entries)
        table->entries = memory_new(ENTRIES, sizeof *table->entries);
    Key key = key_of(call, layout != NULL);
    uint64_t at = hash_key(&key);
    for (;; at++) {
        Entry *entry = &table->entries[at % ENTRIES];
        if (entry->used && !memcmp(&entry->key, &key, sizeof key))
            return entry;
        if (entry->used)
            continue;
        if (table->count >= (odd ? ODD_MAX : WHOLE_MAX)) { /* begin anew */
            drop_entries(table);
            return find_entry(dnn, slot, call, layout);
        }
        entry->used = true;
        entry->key = key;
        table->count++;
        create_entry(dnn, entry, call, layout);
        return entry;
    }
}

static void point(dnnl_memory_t memory, const void *data) {
    CHECK(dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data));
}

bool onednn_run(OneDnn *dnn, int thread, const GemmCall *call, const OneDnnLayout *layout,
                const void *packed) {
    Slot *slot = &dnn->slots[thread];
    Entry *entry = find_entry(dnn, slot, call, layout);
    if (!entry->primitive)
        return false;
    if (entry->scratch_bytes > slot->scratch_bytes) { /* seldom: the largest so far */
        free(slot->scratch);
        slot->scratch_bytes = (entry->scratch_bytes + 4095) / 4096 * 4096;
        slot->scratch = aligned_alloc(4096, slot->scratch_bytes);
        if (!slot->scratch) {
            fprintf(stderr, "not enough memory for oneDNN's scratch of %zu bytes\n",
                    slot->scratch_bytes);
            abort();
        }
    }
    if (call->residual && call->residual != call->c)
        for (int64_t r = 0; r < call->m; r++)
            memcpy((float *)call->c + r * call->c_stride, call->residual + r * call->c_stride,
                   (size_t)call->n * sizeof(float));
    point(entry->a, call->a.at);
    point(entry->b, layout ? packed : call->b.at);
    point(entry->c, call->c);
    point(entry->scratch, slot->scratch);
    dnnl_exec_arg_t args[5] = {{DNNL_ARG_SRC, entry->a},
                               {DNNL_ARG_WEIGHTS, entry->b},
                               {DNNL_ARG_DST, entry->c},
                               {DNNL_ARG_SCRATCHPAD, entry->scratch}};
    int count = 4;
    if (call->bias) {
        point(entry->bias, call->bias);
        args[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, entry->bias};
    }
    CHECK(dnnl_primitive_execute(entry->primitive, slot->stream, count, args));
    CHECK(dnnl_stream_wait(slot->stream));
    return true;
}
