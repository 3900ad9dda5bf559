/* Attention in float32 and bfloat16, on the CPU in every set of instructions that this machine
 * runs, or on a GPU (tests/kernels/under_test.h): against the reference device, against finite
 * differences, and against itself.
 *
 * Tolerances, relative to the largest entry of a tensor:
 *   float32   4e-6, as in test_operations.c. 4e-5 where scores reach some hundreds, whose rounding
 *             to float32 (2e-5) is that of P.
 *   bfloat16  2^-7: P and O, or P, dS, delta (from a rounded O) and a gradient, are rounded to 8
 * bits of mantissa, which is off by up to 2^-8 for each; all sums are float32. The reference
 * computes in float32 from the same rounded inputs. */
#include "base/random.h"
#include "kernels/cpu/attention.h"
#include "kernels/device.h"
#include "tests/kernels/under_test.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SET          test
#define VECTOR_BYTES 16
#define BLOCK_ROWS   4
#define PAIRS        0
#ifndef JEPA_TEST_CUDA
#include "kernels/cpu/attention_vector.h"
#endif

#ifdef JEPA_CUDA_EMULATED /* an emulated thread is slow */
#define LONGEST        333
#define SEQUENCES_MOST 600
#define HEADS_MOST     1
#else
#define LONGEST        2001
#define SEQUENCES_MOST 3000
#define HEADS_MOST     2
#endif
#define ROWS_MOST 4096 /* of a case, all sequences */

/* ---- a case ---- */

typedef struct Case {
    int64_t heads, head;
    int causal;
    int sequences;
    int32_t length[6];
    double scale; /* of q, k and v; 0: 1 */
    int more;     /* times that these sequences follow once more */
} Case;

typedef struct Tensors {
    int64_t rows, width;
    int64_t sequences;
    int32_t cu[SEQUENCES_MOST + 1], *block;
    float *qkv, *dout;       /* rounded to bfloat16 where the case is in bfloat16 */
    float *out, *lse, *dqkv; /* results, widened */
} Tensors;

static float rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void *zeros(int64_t count, size_t size) {
    void *x = shared_new((size_t)(count + 1) * size);
    memset(x, 0, (size_t)(count + 1) * size);
    return x;
}

static float *fill(int64_t count, double scale, uint64_t seed, Precision precision) {
    float *x = zeros(count, sizeof *x);
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++) {
        x[i] = (float)(scale * random_normal(&random));
        if (precision == PRECISION_BFLOAT16)
            x[i] = rounded(x[i]);
    }
    return x;
}

static Tensors make(const Case *c, Precision precision) {
    Tensors t = {.width = c->heads * c->head, .sequences = c->sequences * (1 + c->more)};
    assert_true(t.sequences <= SEQUENCES_MOST);
    for (int64_t i = 0; i < t.sequences; i++)
        t.cu[i + 1] = t.cu[i] + c->length[i % c->sequences];
    t.rows = t.cu[t.sequences];
    t.qkv = fill(t.rows * 3 * t.width, c->scale > 0 ? c->scale : 1, 1, precision);
    t.dout = fill(t.rows * t.width, 1, 2, precision);
    t.out = zeros(t.rows * t.width, sizeof *t.out);
    t.lse = zeros(t.rows * c->heads, sizeof *t.lse);
    t.dqkv = zeros(t.rows * 3 * t.width, sizeof *t.dqkv);
    /* steps of time: in turn, or mixed, and a class token that nobody else reads */
    t.block = zeros(t.rows, sizeof *t.block);
    for (int64_t i = 0; i < t.rows; i++)
        t.block[i] = (int32_t)(c->causal == 1 ? i / 60 : i * 7 % 5);
    for (int64_t i = 0; i < t.sequences && c->causal; i++)
        t.block[t.cu[i]] = INT32_MAX;
    return t;
}

static void drop(Tensors *t) {
    shared_free(t->block), shared_free(t->qkv), shared_free(t->dout);
    shared_free(t->out), shared_free(t->lse), shared_free(t->dqkv);
}

/* Scratch whose contents must not matter. */
static Device *with_scratch(Device *device) {
    Error error = {0};
    size_t bytes = device_scratch_bytes(device, &(ScratchNeeds){.longest = LONGEST,
                                                                .head = 128,
                                                                .elements = 1,
                                                                .rows = ROWS_MOST,
                                                                .heads = 16,
                                                                .width = 1 << 10});
    assert_int_equal(device_reserve(device, bytes, &error), 0);
    void *pattern = memory_new(device->scratch_bytes + 1, 1);
    memset(pattern, 0xff, device->scratch_bytes);
    device->upload(device->scratch, pattern, device->scratch_bytes, device);
    free(pattern);
    return device;
}

static Device *open_reference(void) {
    Device *device;
    Error error = {0};
    assert_int_equal(device_open(&device, "reference", 1, &error), 0);
    return with_scratch(device);
}

/* The ways to compute under test: on the CPU every set of instructions, else the GPU. Each must
 * give the same bits in all `repeats`: numbers of threads, or orders of threads in a block. */
typedef struct Way {
    const char *name;
    const AttentionVariant *variant; /* NULL on a GPU */
} Way;

#ifdef JEPA_TEST_CUDA
static size_t list_ways(Way ways[8]) {
    ways[0] = (Way){UNDER_TEST, NULL};
    return 1;
}
#else
static size_t list_ways(Way ways[8]) {
    size_t count, here = 0;
    const AttentionVariant *variants = cpu_attention_variants(&count);
    for (size_t v = 0; v < count; v++)
        if (variants[v].runs())
            ways[here++] = (Way){variants[v].name, variants + v};
    assert_true(here <= 8);
    return here;
}
#endif

static Device *open_way(const Way *way, int repeat, Precision precision) {
    Device *device;
    Error error = {0};
    assert_int_equal(under_test_open(&device, repeat, &error), 0);
    device->precision = precision;
    if (way->variant)
        device->attention = way->variant;
    return with_scratch(device);
}

static void *narrow(const float *x, int64_t count, Precision precision) {
    void *y = zeros(count, activation_size(precision));
    for (int64_t i = 0; i < count; i++)
        if (precision == PRECISION_FLOAT32) {
            ((float *)y)[i] = x[i];
        } else {
            uint32_t bits;
            memcpy(&bits, x + i, sizeof bits);
            ((uint16_t *)y)[i] = (uint16_t)(bits >> 16);
        }
    return y;
}

static void widen(float *y, const void *x, int64_t count, Precision precision) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = precision ? (uint32_t)((const uint16_t *)x)[i] << 16 : 0;
        memcpy(y + i, precision ? (const void *)&bits : (const float *)x + i, sizeof *y);
    }
}

/* Forward and backward on a device, in its precision. */
static void run(Tensors *t, const Case *c, Device *d) {
    Precision precision = d->precision;
    const int32_t *block = c->causal ? t->block : NULL;
    int64_t values = t->rows * t->width;
    void *qkv = narrow(t->qkv, 3 * values, precision), *dout = narrow(t->dout, values, precision);
    void *out = narrow(t->out, values, precision), *dqkv = narrow(t->dqkv, 3 * values, precision);
    d->attention_forward(out, t->lse, qkv, t->cu, block, t->sequences, t->width, c->heads, d);
    d->attention_backward(dqkv, dout, qkv, out, t->lse, t->cu, block, t->sequences, t->width,
                          c->heads, d);
    under_test_settle();
    widen(t->out, out, values, precision);
    widen(t->dqkv, dqkv, 3 * values, precision);
    /* inference: no lse, the same bits */
    void *again = narrow(t->qkv, values, precision);
    d->attention_forward(again, NULL, qkv, t->cu, block, t->sequences, t->width, c->heads, d);
    under_test_settle();
    assert_memory_equal(again, out, (size_t)values * activation_size(precision));
    shared_free(qkv), shared_free(dout), shared_free(out), shared_free(dqkv), shared_free(again);
}

static void assert_near(const char *variant, const char *what, const Case *c, const float *ours,
                        const float *theirs, int64_t count, double tolerance) {
    double largest = 1e-30, worst = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)theirs[i]));
    for (int64_t i = 0; i < count; i++) {
        double error = fabs((double)ours[i] - theirs[i]) / largest;
        if (!(error <= tolerance))
            fail_msg("%s: %s[%lld] is %g, expected %g (largest %g); %lld heads of %lld, causal %d, "
                     "first length %d",
                     variant, what, (long long)i, ours[i], theirs[i], largest, (long long)c->heads,
                     (long long)c->head, c->causal, c->length[0]);
        worst = fmax(worst, error);
    }
    if (getenv("JEPA_TEST_VERBOSE"))
        printf("%s %s %lld x %lld: %.2g\n", variant, what, (long long)c->heads, (long long)c->head,
               worst);
}

/* All that is compared, kept open from case to case. */
typedef struct Bench {
    Way ways[8];
    size_t count;
    Device *reference, *device[8];
} Bench;

static Bench open_bench(void) {
    Bench b = {.reference = open_reference()};
    b.count = list_ways(b.ways);
    for (size_t i = 0; i < b.count; i++)
        b.device[i] = open_way(b.ways + i, 1, PRECISION_FLOAT32);
    return b;
}

static void close_bench(Bench *b) {
    for (size_t i = 0; i < b->count; i++)
        device_close(b->device[i]);
    device_close(b->reference);
}

/* Every way and precision against the reference. */
static void compare(const Bench *b, const Case *c) {
    for (Precision precision = PRECISION_FLOAT32; precision <= PRECISION_BFLOAT16; precision++) {
        Tensors expected = make(c, precision);
        run(&expected, c, b->reference);
        double sharp = c->scale > 1 ? 10 : 1, tolerance = precision ? 0x1p-7 : 4e-6 * sharp;
        for (size_t i = 0; i < b->count; i++) {
            Tensors t = make(c, precision);
            b->device[i]->precision = precision;
            run(&t, c, b->device[i]);
            const char *name = b->ways[i].name;
            assert_near(name, "out", c, t.out, expected.out, t.rows * t.width, tolerance);
            assert_near(name, "lse", c, t.lse, expected.lse, t.rows * c->heads, 4e-6);
            if (c->scale <= 1) /* dS is a small difference there */
                assert_near(name, "dqkv", c, t.dqkv, expected.dqkv, t.rows * 3 * t.width,
                            tolerance);
            drop(&t);
        }
        drop(&expected);
    }
}

/* ---- tests ---- */

static void against_the_reference(void **state) {
    (void)state;
    Bench b = open_bench();
    const int64_t widths[] = {1, 5, 16, 20, 24, 64, 80, 88, 128};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int causal = 0; causal < 3; causal++) {
            int64_t d = widths[w];
            compare(&b, &(Case){1, d, causal, 1, {1}, 0, 0});
            compare(&b, &(Case){3, d, causal, 6, {5, 0, 12, 1, 0, 2}, 0, 0});
            compare(&b, &(Case){1, d, causal, 3, {65, 129, 50}, 0, 0});
            compare(&b, &(Case){HEADS_MOST, d, causal, 2, {193, 131}, 0, 0});
        }
    close_bench(&b);
}

/* Several parts of queries, many tiles of keys. */
static void long_sequences(void **state) {
    (void)state;
    Bench b = open_bench();
    compare(&b, &(Case){1, 33, 0, 1, {LONGEST}, 0, 0});
    compare(&b, &(Case){1, 20, 1, 2, {LONGEST / 3, LONGEST / 5}, 0, 0});
    close_bench(&b);
}

/* As many as local views have. */
static void many_sequences(void **state) {
    (void)state;
    Bench b = open_bench();
    compare(&b, &(Case){1, 32, 0, 3, {1, 0, 2}, 0, SEQUENCES_MOST / 3 - 1});
    compare(&b, &(Case){2, 16, 1, 2, {7, 2}, 0, 99});
    close_bench(&b);
}

/* Scores of some hundreds: one key takes all. */
static void sharp(void **state) {
    (void)state;
    Bench b = open_bench();
    for (int causal = 0; causal < 2; causal++)
        compare(&b, &(Case){2, 24, causal, 1, {140}, 8, 0});
    close_bench(&b);
}

/* Any number of threads, any order of the threads of a block, and every run. */
static void the_same_bits(void **state) {
    (void)state;
    const Case cases[] = {{2, 20, 1, 4, {LONGEST / 4, 0, 1, 130}, 0, 0},
                          {1, 64, 0, 2, {130, 3}, 0, 0},
                          {1, 88, 2, 1, {99}, 0, 0},
                          {1, 128, 0, 1, {99}, 0, 0}};
    Way ways[8];
    size_t count = list_ways(ways);
    for (const Case *c = cases; c < cases + 4; c++)
        for (const Way *way = ways; way < ways + count; way++)
            for (Precision precision = 0; precision <= PRECISION_BFLOAT16; precision++) {
                Tensors first = make(c, precision);
                for (int repeat = 0; repeat < UNDER_TEST_VARIANTS; repeat++) {
                    Device *d = open_way(way, repeat, precision);
                    Tensors t = make(c, precision);
                    run(repeat == 0 ? &first : &t, c, d);
                    if (repeat == 0) /* again */
                        run(&t, c, d);
                    size_t values = (size_t)(t.rows * t.width) * sizeof(float);
                    assert_memory_equal(t.out, first.out, values);
                    assert_memory_equal(t.lse, first.lse,
                                        (size_t)(t.rows * c->heads) * sizeof(float));
                    assert_memory_equal(t.dqkv, first.dqkv, 3 * values);
                    drop(&t);
                    device_close(d);
                }
                drop(&first);
            }
}

/* A key that a query may not see has probability 0: whatever it holds, no bit changes. */
static void the_hidden_has_no_weight(void **state) {
    (void)state;
    Case c = {1, 16, 1, 1, {200}, 0, 0}; /* blocks of 60 */
    Way ways[8];
    size_t count = list_ways(ways);
    for (const Way *way = ways; way < ways + count; way++)
        for (Precision precision = 0; precision <= PRECISION_BFLOAT16; precision++) {
            Device *d = open_way(way, 0, precision);
            Tensors before = make(&c, precision), after = make(&c, precision);
            for (int64_t i = 120 * 3 * 16; i < 200 * 3 * 16; i++)
                after.qkv[i] = 1e4f * after.qkv[i];
            run(&before, &c, d);
            run(&after, &c, d);
            assert_memory_equal(before.out + 16, after.out + 16, 119 * 16 * sizeof(float));
            assert_memory_not_equal(before.out, after.out, 16 * sizeof(float));
            drop(&before);
            drop(&after);
            device_close(d);
        }
}

/* What is not a number stays so: a diverged run must be noticed. */
static void nan_is_kept(void **state) {
    (void)state;
    Case c = {1, 16, 0, 1, {100}, 0, 0};
    Way ways[8];
    size_t count = list_ways(ways);
    for (const Way *way = ways; way < ways + count; way++)
        for (Precision precision = 0; precision <= PRECISION_BFLOAT16; precision++) {
            Device *d = open_way(way, 0, precision);
            Tensors t = make(&c, precision);
            t.qkv[7 * 3 * 16 + 3] = NAN; /* a query */
            run(&t, &c, d);
            for (int64_t i = 0; i < t.rows; i++)
                assert_int_equal(isnan(t.out[i * 16]) != 0, i == 7);
            assert_true(isnan(t.dqkv[16]) && isnan(t.dqkv[32])); /* dK and dV of all keys */
            drop(&t);
            device_close(d);
        }
}

/* ---- gradients ---- */

/* Σ dout · O in double by the plain formula. */
static double plain(const double *qkv, const float *dout, const int32_t *block, int64_t count,
                    int64_t heads, int64_t head) {
    int64_t width = heads * head;
    double total = 0;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < count; i++) {
            double sum = 0, weighted = 0;
            for (int64_t j = 0; j < count; j++) {
                double score = 0, value = 0;
                if (block && block[j] > block[i])
                    continue;
                for (int64_t d = 0; d < head; d++) {
                    const double *k = qkv + j * 3 * width + width + h * head + d;
                    score += qkv[i * 3 * width + h * head + d] * k[0];
                    value += dout[i * width + h * head + d] * k[width];
                }
                double p = exp(score / sqrt((double)head));
                sum += p;
                weighted += p * value;
            }
            total += weighted / sum;
        }
    return total;
}

/* Central differences with a step of 1e-4 in double are exact to about 1e-8. */
static void gradients_are_differences(void **state) {
    (void)state;
    Way ways[8];
    size_t count = list_ways(ways);
    for (int causal = 0; causal < 3; causal += 2)
        for (const Way *way = ways; way < ways + count; way++) {
            Case c = {2, 5, causal, 1, {9}, 0, 0};
            Device *d = open_way(way, 0, PRECISION_FLOAT32);
            Tensors t = make(&c, PRECISION_FLOAT32);
            run(&t, &c, d);
            int64_t values = t.rows * 3 * t.width;
            double *qkv = memory_new((size_t)values, sizeof *qkv);
            float *expected = memory_new((size_t)values, sizeof *expected);
            for (int64_t i = 0; i < values; i++)
                qkv[i] = t.qkv[i];
            for (int64_t i = 0; i < values; i++) {
                double side[2];
                for (int k = 0; k < 2; k++) {
                    qkv[i] = t.qkv[i] + (k ? 1e-4 : -1e-4);
                    side[k] = plain(qkv, t.dout, causal ? t.block : NULL, t.rows, c.heads, c.head);
                }
                qkv[i] = t.qkv[i];
                expected[i] = (float)((side[1] - side[0]) / 2e-4);
            }
            assert_near(way->name, "dqkv", &c, t.dqkv, expected, values, 1e-6);
            free(qkv), free(expected);
            drop(&t);
            device_close(d);
        }
}

#ifndef JEPA_TEST_CUDA
/* ---- parts of the CPU's ---- */

static void exponential(void **state) {
    (void)state;
    double worst = 0;
    for (double x = -126; x < 1; x += 1e-5) {
        float f = (float)x;
        worst = fmax(worst, fabs(exp2_vector(splat(f))[1] / exp2(f) - 1));
    }
    assert_true(worst < 1.2e-7);
    const float nothing[] = {-127, -127.4f, -1e3f, -1e30f, -FLT_MAX, -INFINITY};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        assert_true(exp2_vector(splat(nothing[i]))[0] == 0);
    assert_true(exp2_vector(splat(-126.5f))[0] >= 0);
    assert_true(exp2_vector(splat(0))[0] == 1);
    assert_true(isnan(exp2_vector(splat(NAN))[0]));
}

static void to_bfloat16(void **state) {
    (void)state;
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (int i = 0; i < 100000; i++) {
        float x = (float)random_normal(&random);
        uint32_t bits;
        float expected = rounded(x);
        memcpy(&bits, &expected, sizeof bits);
        assert_int_equal(to_halves(splat(x))[0], bits >> 16);
    }
    assert_int_equal(to_halves(splat(INFINITY))[0], 0x7f80);
    assert_int_equal(to_halves(splat(NAN))[0] & 0x7fc0, 0x7fc0);
}

/* Blocks of every size, against sums in double. */
static void products(void **state) {
    (void)state;
    enum { MOST = 31, DEEP = 37 };
    float *a = fill(MOST * 48, 1, 1, 0), *b = fill(DEEP * 48, 1, 2, 0), c[MOST * 48], before[48];
    for (int rows = 1; rows <= MOST; rows++)
        for (int vectors = 1; vectors <= 9; vectors++)
            for (int kind = 0; kind < 4; kind++) {
                for (int i = 0; i < MOST * 48; i++)
                    c[i] = (float)i;
                memcpy(before, b, sizeof before);
                float *by = kind == 3 ? before : NULL;
                if (kind == 0)
                    product_of_rows(c, 48, a, 48, b, 48, rows, vectors, DEEP);
                if (kind == 1)
                    add_product_of_rows(c, 48, a, 48, b, 48, rows, vectors, DEEP);
                if (kind == 2)
                    add_product_of_columns(c, 48, a, 48, b, 48, rows, vectors, MOST);
                if (kind == 3)
                    add_product_of_columns_scaled(c, 48, a, 48, b, 48, rows, vectors, MOST, by);
                for (int i = 0; i < MOST; i++)
                    for (int j = 0; j < 48; j++) {
                        double sum = i * 48 + j;
                        if (i < rows && j < vectors * LANES) {
                            sum *= kind == 0 ? 0 : kind == 3 ? by[j] : 1;
                            for (int k = 0; k < (kind < 2 ? DEEP : MOST); k++)
                                sum += (double)a[kind < 2 ? i * 48 + k : k * 48 + i] *
                                       b[k * 48 + j];
                        }
                        assert_true(fabs(c[i * 48 + j] - sum) <= 1e-6 * (i * 48 + j + 50));
                    }
            }
    shared_free(a), shared_free(b);
}

static void the_best_comes_first(void **state) {
    (void)state;
    size_t count;
    const AttentionVariant *variants = cpu_attention_variants(&count), *best = cpu_attention_best();
    assert_true(best->runs());
    for (const AttentionVariant *v = variants; v < best; v++)
        assert_false(v->runs());
    assert_string_not_equal(best->name, "wide");
    for (size_t v = 0; v < count; v++)
        printf("%s: %s%s\n", variants[v].name, variants[v].runs() ? "tested" : "does not run here",
               variants + v == best ? ", the default" : "");
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifndef JEPA_TEST_CUDA
        cmocka_unit_test(the_best_comes_first),  cmocka_unit_test(exponential),
        cmocka_unit_test(to_bfloat16),           cmocka_unit_test(products),
#endif
        cmocka_unit_test(against_the_reference), cmocka_unit_test(long_sequences),
        cmocka_unit_test(many_sequences),        cmocka_unit_test(sharp),
        cmocka_unit_test(the_same_bits),         cmocka_unit_test(the_hidden_has_no_weight),
        cmocka_unit_test(nan_is_kept),           cmocka_unit_test(gradients_are_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
