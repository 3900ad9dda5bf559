/* The operations in bfloat16 against the plain loops of the reference device on the same values,
 * and the CPU's GEMM library's primitives with packed weights, which this CPU may not choose by
 * itself. test_precision NAME runs the tests whose name is that.
 *
 * Tolerance in bfloat16: an entry may differ by 2^-8 of the largest of its tensor. Its rounding is
 * half a unit of 8 bits, 2^-9 of the entry; what lies before it is float32. Results that pass
 * through two roundings (an output that is rounded and then goes on) get 2^-7. A result that was
 * never rounded, a float32 sum of products of bfloat16 values, is held to 4e-6 as elsewhere. */
#include "base/half.h"
#include "base/random.h"
#include "kernels/cpu/gemm.h"
#include "kernels/device.h"
#include "tests/kernels/under_test.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXACT   4e-6
#define ROUNDED (1.0 / 256)
#define TWICE   (1.0 / 128)
#ifdef JEPA_TEST_CUDA
#define GELU_ONCE TWICE /* GELU of the rounded value, whether that is kept or not */
#else
#define GELU_ONCE ROUNDED
#endif

/* The same tensor as float32 and as bfloat16; values are rounded already. */
typedef struct Tensor {
    float *f;
    uint16_t *h;
    int64_t count;
} Tensor;

/* Memory that the device under test and the host share, zeroed. */
static void *zeros(int64_t count, size_t size) {
    void *memory = shared_new((size_t)count * size);
    memset(memory, 0, (size_t)count * size);
    return memory;
}

static float *copy(const float *x, int64_t count) {
    float *y = zeros(count, sizeof *y);
    memcpy(y, x, (size_t)count * sizeof *y);
    return y;
}

static Tensor tensor(int64_t count, double scale, uint64_t seed) {
    Tensor t = {zeros(count, sizeof *t.f), zeros(count, sizeof *t.h), count};
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count && scale > 0; i++) {
        t.h[i] = bfloat16_from_float((float)(scale * random_normal(&random)));
        t.f[i] = bfloat16_to_float(t.h[i]);
    }
    return t;
}

static void drop(Tensor *t) {
    shared_free(t->f);
    shared_free(t->h);
}

static void near_floats(const char *what, const float *ours, const float *theirs, int64_t count,
                        double tolerance) {
    double largest = 1e-30;
    under_test_settle();
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)theirs[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)ours[i] - theirs[i]) <= tolerance * largest))
            fail_msg("%s: entry %lld is %g, expected %g (largest %g)", what, (long long)i, ours[i],
                     theirs[i], largest);
}

static void near_half(const char *what, const Tensor *t, double tolerance) {
    float *ours = malloc(sizeof *ours * (size_t)t->count);
    under_test_settle();
    for (int64_t i = 0; i < t->count; i++)
        ours[i] = bfloat16_to_float(t->h[i]);
    near_floats(what, ours, t->f, t->count, tolerance);
    free(ours);
}

static Device *open_device(const char *name, Precision precision) {
    Device *device;
    Error error = {0};
    assert_int_equal(strcmp(name, UNDER_TEST) ? device_open(&device, name, 1, &error)
                                              : under_test_open(&device, 1, &error),
                     0);
    assert_int_equal(device_set_precision(device, precision, true), precision);
    assert_int_equal(
        device_reserve(
            device,
            device_scratch_bytes(
                device, &(ScratchNeeds){.elements = 1 << 20, .rows = 1 << 10, .width = 1 << 12}),
            &error),
        0);
    return device;
}

static const int64_t sizes[][3] = {
    {1, 5, 7}, {17, 16, 48}, {128, 96, 64}, {300, 100, 33}, {700, 64, 20}};
#define SIZES (sizeof sizes / sizeof *sizes)

/* Weights that the device knows of, and weights that it does not. */
static void linear(void **state) {
    (void)state;
    Device *ours = open_device(UNDER_TEST, PRECISION_BFLOAT16),
           *theirs = open_device("reference", PRECISION_FLOAT32);
    for (size_t k = 0; k < 2 * SIZES; k++) {
        int64_t rows = sizes[k / 2][0], in = sizes[k / 2][1], out = sizes[k / 2][2];
        Tensor x = tensor(rows * in, 1, 1), w = tensor(in * out, 0.2, 2), b = tensor(out, 1, 3);
        Tensor y = tensor(rows * out, 0, 0), dy = tensor(rows * out, 1, 4),
               dx = tensor(rows * in, 0, 0);
        Tensor activated = tensor(rows * out, 0, 0), again = tensor(rows * in, 0, 0);
        Tensor sum = tensor(rows * out, 1, 5), dw = tensor(in * out, 1, 6), db = tensor(out, 1, 7);
        float *own_sum = zeros(rows * out, sizeof *own_sum);
        float *own_dw = copy(dw.f, in * out), *own_db = copy(db.f, out);
        Error error = {0};
        LinearWeights known = {w.f, in, out, true, false};
        if (k % 2)
            assert_int_equal(ours->linear_weights_add(&known, ours, &error), 0);
        ours->linear_forward(y.h, x.h, w.f, b.f, rows, in, out, ours);
        theirs->linear_forward(y.f, x.f, w.f, b.f, rows, in, out, theirs);
        near_half("linear_forward", &y, ROUNDED);
        ours->linear_residual_forward(own_sum, x.h, w.f, b.f, sum.f, rows, in, out, ours);
        theirs->linear_residual_forward(sum.f, x.f, w.f, b.f, sum.f, rows, in, out, theirs);
        near_floats("linear_residual_forward", own_sum, sum.f, rows * out, EXACT);
        ours->linear_gelu_forward(activated.h, NULL, x.h, w.f, b.f, rows, in, out, ours);
        theirs->linear_gelu_forward(activated.f, NULL, x.f, w.f, b.f, rows, in, out, theirs);
        near_half("linear_gelu_forward", &activated, GELU_ONCE);
        ours->linear_gelu_forward(activated.h, y.h, x.h, w.f, b.f, rows, in, out, ours);
        near_half("linear_gelu_forward, both", &activated, TWICE);
        near_half("linear_gelu_forward, before", &y, ROUNDED);
        ours->linear_backward_input(dx.h, dy.h, w.f, rows, in, out, ours);
        theirs->linear_backward_input(dx.f, dy.f, w.f, rows, in, out, theirs);
        near_half("linear_backward_input", &dx, ROUNDED);
        ours->linear_gelu_backward_input(dx.h, again.h, dy.h, w.f, x.h, rows, in, out, ours);
        theirs->linear_gelu_backward_input(dx.f, again.f, dy.f, w.f, x.f, rows, in, out, theirs);
        near_half("linear_gelu_backward_input", &dx, TWICE);
        near_half("linear_gelu_backward_input, again", &again, ROUNDED);
        ours->linear_backward_weight(own_dw, own_db, dy.h, x.h, rows, in, out, ours);
        theirs->linear_backward_weight(dw.f, db.f, dy.f, x.f, rows, in, out, theirs);
        near_floats("linear_backward_weight", own_dw, dw.f, in * out, EXACT);
        near_floats("linear_backward_weight, bias", own_db, db.f, out, EXACT);
        if (k % 2)
            ours->linear_weights_remove(w.f, w.f + 1, ours);
        drop(&x), drop(&w), drop(&b), drop(&y), drop(&dy), drop(&dx), drop(&activated),
            drop(&again);
        drop(&sum), drop(&dw), drop(&db);
        shared_free(own_sum), shared_free(own_dw), shared_free(own_db);
    }
    device_close(ours);
    device_close(theirs);
}

static void layernorm(void **state) {
    (void)state;
    Device *ours = open_device(UNDER_TEST, PRECISION_BFLOAT16),
           *theirs = open_device("reference", PRECISION_FLOAT32);
    const int64_t models[][2] = {{1700, 384}, {900, 1024}, {600, 1408}, {7, 2052}};
    for (size_t k = 0; k < SIZES + 4; k++) {
        int64_t rows = k < SIZES ? sizes[k][0] : models[k - SIZES][0],
                width = k < SIZES ? sizes[k][1] : models[k - SIZES][1];
        Tensor x = tensor(rows * width, 2, 1), w = tensor(width, 1, 2), b = tensor(width, 1, 3),
               y = tensor(rows * width, 0, 0);
        Tensor dy = tensor(rows * width, 1, 4), dx = tensor(rows * width, 1, 5),
               dw = tensor(width, 1, 6), db = tensor(width, 1, 7);
        Tensor narrow = tensor(rows * width, 0, 0);
        float *mean = zeros(rows, sizeof *mean), *rstd = zeros(rows, sizeof *rstd);
        float *own[3];
        const Tensor *start[3] = {&dx, &dw, &db};
        for (int i = 0; i < 3; i++)
            own[i] = copy(start[i]->f, start[i]->count);
        ours->layernorm_forward(y.h, mean, rstd, x.f, w.f, b.f, rows, width, 1e-6, ours);
        under_test_settle();
        theirs->layernorm_forward(y.f, mean, rstd, x.f, w.f, b.f, rows, width, 1e-6, theirs);
        near_half("layernorm_forward", &y, ROUNDED);
        ours->zero(y.h, sizeof *y.h * (size_t)y.count, ours);
        ours->layernorm_again(y.h, x.f, mean, rstd, w.f, b.f, rows, width, ours);
        near_half("layernorm_again", &y, ROUNDED);
        ours->layernorm_backward(own[0], narrow.h, own[1], own[2], dy.h, x.f, mean, rstd, w.f, rows,
                                 width, ours);
        theirs->layernorm_backward(dx.f, narrow.f, dw.f, db.f, dy.f, x.f, mean, rstd, w.f, rows,
                                   width, theirs);
        near_floats("layernorm_backward", own[0], dx.f, rows * width, EXACT);
        near_floats("layernorm_backward, weight", own[1], dw.f, width, EXACT);
        near_floats("layernorm_backward, bias", own[2], db.f, width, EXACT);
        near_half("layernorm_backward, narrow", &narrow, ROUNDED);
        drop(&x), drop(&w), drop(&b), drop(&y), drop(&dy), drop(&dx), drop(&dw), drop(&db),
            drop(&narrow);
        shared_free(mean), shared_free(rstd), shared_free(own[0]), shared_free(own[1]),
            shared_free(own[2]);
    }
    device_close(ours);
    device_close(theirs);
}

static void pointwise(void **state) {
    (void)state;
    Device *ours = open_device(UNDER_TEST, PRECISION_BFLOAT16),
           *theirs = open_device("reference", PRECISION_FLOAT32);
    const int64_t counts[] = {1, 7, 8192, 20011, 20016};
    for (size_t k = 0; k < 5; k++) {
        int64_t n = counts[k];
        Tensor a = tensor(n, 3, 1), b = tensor(n, 1, 2), dy = tensor(n, 1, 3), y = tensor(n, 0, 0),
               da = tensor(n, 0, 0), db = tensor(n, 0, 0);
        ours->gelu_forward(y.h, a.h, n, ours);
        theirs->gelu_forward(y.f, a.f, n, theirs);
        near_half("gelu_forward", &y, ROUNDED);
        ours->gelu_backward(da.h, dy.h, a.h, n, ours);
        theirs->gelu_backward(da.f, dy.f, a.f, n, theirs);
        near_half("gelu_backward", &da, ROUNDED);
        ours->swiglu_forward(y.h, a.h, b.h, n, ours);
        theirs->swiglu_forward(y.f, a.f, b.f, n, theirs);
        near_half("swiglu_forward", &y, ROUNDED);
        ours->swiglu_backward(da.h, db.h, y.h, dy.h, a.h, b.h, n, ours);
        theirs->swiglu_backward(da.f, db.f, y.f, dy.f, a.f, b.f, n, theirs);
        near_half("swiglu_backward", &da, ROUNDED);
        near_half("swiglu_backward, gate", &db, ROUNDED);
        near_half("swiglu_backward, again", &y, ROUNDED);
        ours->rows_add(a.h, b.h, n, ours);
        theirs->rows_add(a.f, b.f, n, theirs);
        near_half("rows_add", &a, ROUNDED);
        ours->rows_narrow(y.h, dy.f, n, ours);
        theirs->rows_narrow(y.f, dy.f, n, theirs);
        near_half("rows_narrow", &y, 0); /* the values were rounded */
        drop(&a), drop(&b), drop(&dy), drop(&y), drop(&da), drop(&db);
    }
    device_close(ours);
    device_close(theirs);
}

static void rope(void **state) {
    (void)state;
    Device *ours = open_device(UNDER_TEST, PRECISION_BFLOAT16),
           *theirs = open_device("reference", PRECISION_FLOAT32);
    const int64_t heads[][2] = {{2, 12}, {3, 64}, {16, 64}, {2, 80}, {1, 264}, {2, 7}};
    enum { ROWS = 19, GRID = 8 };
    int32_t *token = zeros(ROWS, sizeof *token);
    for (int i = 0; i < ROWS; i++)
        token[i] = i % 9 - 1;
    for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
        int64_t count = heads[k][0], head = heads[k][1], width = count * head;
        Tensor qkv = tensor(ROWS * 3 * width, 1, 1), table = tensor(GRID * 2 * head, 0.7, 2);
        ours->rope_forward(qkv.h, table.f, token, ROWS, width, count, ours);
        theirs->rope_forward(qkv.f, table.f, token, ROWS, width, count, theirs);
        near_half("rope_forward", &qkv, ROUNDED);
        ours->rope_backward(qkv.h, table.f, token, ROWS, width, count, ours);
        theirs->rope_backward(qkv.f, table.f, token, ROWS, width, count, theirs);
        near_half("rope_backward", &qkv, TWICE);
        drop(&qkv), drop(&table);
    }
    shared_free(token);
    device_close(ours);
    device_close(theirs);
}

/* Patches of 4 pixels, and of 8 and 16, whose lines a GPU reads in pieces of 8. */
static void patches(void **state) {
    (void)state;
    Device *ours = open_device(UNDER_TEST, PRECISION_BFLOAT16),
           *theirs = open_device("reference", PRECISION_FLOAT32);
    enum { ROWS = 19 };
    int32_t *token = zeros(ROWS, sizeof *token), *clip = zeros(ROWS, sizeof *clip);
    for (int i = 0; i < ROWS; i++)
        token[i] = i % 9 - 1, clip[i] = i * 5 % 2;
    for (int edge = 4; edge <= 16; edge *= 2) {
        PatchShape shape = {4, 2 * edge, 2 * edge, 2, edge};
        int64_t count = 2 * 3 * 4 * 4 * edge * edge, size = 3 * 2 * edge * edge;
        uint8_t *pixels = zeros(count, 1), *mirror = zeros(2, 1);
        float *floats = zeros(count, sizeof *floats);
        for (int64_t i = 0; i < count; i++) {
            pixels[i] = (uint8_t)(i * 37 % 251);
            floats[i] = (float)pixels[i] / 100;
        }
        mirror[1] = 1;
        Tensor out = tensor(ROWS * size, 0, 0);
        for (int values = 0; values < 2; values++) {
            ours->patches_cut(out.h, values ? NULL : pixels, values ? floats : NULL, mirror, clip,
                              token, ROWS, &shape, ours);
            theirs->patches_cut(out.f, values ? NULL : pixels, values ? floats : NULL, mirror, clip,
                                token, ROWS, &shape, theirs);
            near_half("patches_cut", &out, ROUNDED);
        }
        drop(&out);
        shared_free(pixels), shared_free(mirror), shared_free(floats);
    }
    shared_free(token), shared_free(clip);
    device_close(ours);
    device_close(theirs);
}

#ifndef JEPA_TEST_CUDA
/* float32 through the primitives that packed weights go through, on any CPU: the same results, also
 * when the number of rows changes, and after the weights have. */
static void primitives(void **state) {
    (void)state;
    Device *ours = open_device(UNDER_TEST, PRECISION_FLOAT32),
           *theirs = open_device("reference", PRECISION_FLOAT32);
    if (!strncmp(gemm_name(), "no oneDNN", 9)) { /* nor its primitives */
        device_close(ours);
        device_close(theirs);
        skip();
    }
    gemm_force_primitives(ours->gemm, 1);
    for (size_t k = 0; k < SIZES; k++) {
        int64_t rows = sizes[k][0], in = sizes[k][1], out = sizes[k][2];
        Tensor x = tensor(rows * in, 1, 1), w = tensor(in * out, 0.2, 2), b = tensor(out, 1, 3);
        Tensor dy = tensor(rows * out, 1, 4), residual = tensor(rows * out, 1, 5);
        float *mine = calloc((size_t)(rows * (in + out)), sizeof(float)),
              *his = calloc((size_t)(rows * (in + out)), sizeof(float));
        float *dw[2] = {calloc((size_t)(in * out), sizeof(float)),
                        calloc((size_t)(in * out), sizeof(float))};
        LinearWeights known = {w.f, in, out, true, false};
        Error error = {0};
        assert_int_equal(ours->linear_weights_add(&known, ours, &error), 0);
        assert_true(ours->linear_weights_bytes(&known, ours) >=
                    (size_t)(2 * in * out) * sizeof(float));
        for (int turn = 0; turn < 3; turn++) {
            int64_t r = turn == 1 ? (rows + 1) / 2 : rows;
            if (turn == 2) {
                for (int64_t i = 0; i < in * out; i++)
                    w.f[i] *= -3;
                ours->linear_weights_changed(w.f, w.f + in * out, ours);
            }
            ours->linear_forward(mine, x.f, w.f, b.f, r, in, out, ours);
            theirs->linear_forward(his, x.f, w.f, b.f, r, in, out, theirs);
            near_floats("primitive, forward", mine, his, r * out, EXACT);
            ours->linear_residual_forward(mine, x.f, w.f, turn ? b.f : NULL, residual.f, r, in, out,
                                          ours);
            theirs->linear_residual_forward(his, x.f, w.f, turn ? b.f : NULL, residual.f, r, in,
                                            out, theirs);
            near_floats("primitive, residual", mine, his, r * out, EXACT);
            ours->linear_gelu_forward(mine, NULL, x.f, w.f, b.f, r, in, out, ours);
            theirs->linear_gelu_forward(his, NULL, x.f, w.f, b.f, r, in, out, theirs);
            near_floats("primitive, gelu", mine, his, r * out, EXACT);
            ours->linear_backward_input(mine, dy.f, w.f, r, in, out, ours);
            theirs->linear_backward_input(his, dy.f, w.f, r, in, out, theirs);
            near_floats("primitive, backward", mine, his, r * in, EXACT);
            ours->linear_backward_weight(dw[0], NULL, dy.f, x.f, r, in, out, ours);
            theirs->linear_backward_weight(dw[1], NULL, dy.f, x.f, r, in, out, theirs);
            near_floats("primitive, weight", dw[0], dw[1], in * out, 2 * EXACT);
        }
        ours->linear_weights_remove(w.f, w.f + 1, ours);
        drop(&x), drop(&w), drop(&b), drop(&dy), drop(&residual);
        free(mine), free(his), free(dw[0]), free(dw[1]);
    }
    device_close(ours);
    device_close(theirs);
}
#endif

/* A device that is told bfloat16 keeps a float32 one beside it, with the same memory. */
static void exact_device(void **state) {
    (void)state;
    Device *d = open_device(UNDER_TEST, PRECISION_BFLOAT16);
    assert_ptr_not_equal(d->exact, d);
    assert_int_equal(d->exact->precision, PRECISION_FLOAT32);
    assert_ptr_equal(d->exact->scratch, d->scratch);
    assert_ptr_equal(d->exact->exact, d->exact);
    float *x = copy((float[]){1.00390625f, 2}, 2), *w = copy((float[]){1, 1}, 2);
    float *y = zeros(1, sizeof *y); /* 1 + 2^-8 is no bfloat16 */
    d->exact->linear_forward(y, x, w, NULL, 1, 2, 1, d->exact);
    under_test_settle();
    assert_true(*y == 3.00390625f);
    shared_free(x), shared_free(w), shared_free(y);
    device_close(d);
    assert_int_equal(device_open(&d, "reference", 1, &(Error){0}), 0);
    assert_int_equal(device_set_precision(d, PRECISION_BFLOAT16, true), PRECISION_FLOAT32);
    device_close(d);
}

int main(int count, char **arguments) {
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),       cmocka_unit_test(layernorm), cmocka_unit_test(pointwise),
        cmocka_unit_test(rope),         cmocka_unit_test(patches),
#ifndef JEPA_TEST_CUDA
        cmocka_unit_test(primitives),
#endif
        cmocka_unit_test(exact_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
