/* FP8 products of linear layers (kernels/cuda/eights.h, kernels/cuda/linear.c): rounding against a
 * search through all e4m3 numbers, products against doubles over the rounded factors and against
 * float32 within what e4m3 can keep, the layers that stay in bfloat16, and nothing at all changed
 * where no pass asks for it. */
#include "base/random.h"
#include "kernels/cuda/eights.h"
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

#define NUMBERS 127 /* of e4m3 that are not negative */

static float number_of(int bits) {
    int exponent = bits >> 3, mantissa = bits & 7;
    return exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
}

/* The nearest number, of two as near the one with an even last bit, by looking at all. */
static uint8_t nearest(float x) {
    double most = fabs((double)x), best = 1e300;
    int found = 0;
    if (isnan(x))
        return 0x7f;
    for (int i = 0; i < NUMBERS; i++) {
        double far = fabs(number_of(i) - most);
        if (far < best || (far == best && i % 2 == 0)) {
            best = far;
            found = i;
        }
    }
    return (uint8_t)(found | (signbit(x) ? 0x80 : 0));
}

static float value_of(uint8_t bits) {
    return (bits & 0x7f) == 0x7f ? NAN : bits & 0x80 ? -number_of(bits & 0x7f) : number_of(bits);
}

static float widened(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint16_t narrowed(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static Device *open_device(int variant) {
    Device *d;
    Error error = {0};
    if (under_test_open(&d, variant, &error))
        fail_msg("%s", error.text);
    device_set_precision(d, PRECISION_BFLOAT16, true);
    ScratchNeeds needs = {.width = 640, .rows = 100, .fp8_rows = 100, .fp8_width = 640};
    assert_int_equal(device_reserve(d, device_scratch_bytes(d, &needs), &error), 0);
    return d;
}

/* e4m3 of every bfloat16 up to 448, in rows whose scale is 1. */
static void rounds_to_nearest(void **state) {
    (void)state;
    enum { WIDTH = 256 };
    uint16_t *x = shared_new(65536 * 2 * sizeof *x);
    uint8_t *q = shared_new(65536 * 2);
    float *scale = shared_new(65536 / 16 * sizeof *scale);
    int64_t count = 0;
    for (int bits = 0; bits < 65536; bits++) {
        if (count % WIDTH == 0)
            x[count++] = narrowed(448);
        if (fabsf(widened((uint16_t)bits)) <= 448 || isnan(widened((uint16_t)bits)))
            x[count++] = (uint16_t)bits;
    }
    count -= count % WIDTH;
    Device *d = open_device(0);
    cuda_eights(q, scale, x, PRECISION_BFLOAT16, count / WIDTH, WIDTH, d);
    under_test_settle();
    for (int64_t i = 0; i < count; i++)
        if (q[i] != nearest(widened(x[i])))
            fail_msg("%a became %02x, not %02x", (double)widened(x[i]), q[i],
                     nearest(widened(x[i])));
    for (int64_t r = 0; r < count / WIDTH; r++)
        assert_true(scale[r] == 1);
    device_close(d);
    shared_free(x), shared_free(q), shared_free(scale);
}

/* Rows of every kind and width, from aligned and odd places. */
static void scales_each_row(void **state) {
    (void)state;
    const int64_t widths[] = {16, 48, 192, 1024, 4096, 8192, 8208, 12304};
    enum { ROWS = 6, MOST = 12304 };
    float *x = shared_new((ROWS * MOST + 4) * sizeof *x);
    uint16_t *half = shared_new((ROWS * MOST + 4) * sizeof *half);
    uint8_t *q = shared_new(ROWS * MOST);
    float *scale = shared_new(ROWS * sizeof *scale);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (int variant = 0; variant < UNDER_TEST_VARIANTS; variant++) {
        Device *d = open_device(variant);
        for (int i = 0; i < (int)(sizeof widths / sizeof *widths); i++)
            for (int shift = 0; shift < 2; shift++)
                for (int wide = 0; wide < 2; wide++) {
                    int64_t width = widths[i];
                    for (int64_t k = 0; k < ROWS * width; k++) {
                        static const float sizes[ROWS] = {1, 1e-20f, 0, 3e4f, 1e-37f, 1};
                        x[shift + k] = (float)random_normal(&random) * sizes[k / width];
                        half[shift + k] = narrowed(x[shift + k]);
                        if (!wide)
                            x[shift + k] = widened(half[shift + k]);
                    }
                    x[shift + 5 * width + 3] = NAN; /* stays in its place */
                    half[shift + 5 * width + 3] = 0x7fc0;
                    memset(q, 0xee, ROWS * MOST);
                    cuda_eights(q, scale, wide ? (const void *)(x + shift) : half + shift,
                                wide ? PRECISION_FLOAT32 : PRECISION_BFLOAT16, ROWS, width, d);
                    under_test_settle();
                    for (int r = 0; r < ROWS; r++) {
                        const float *row = x + shift + r * width;
                        float most = 1e-30f;
                        for (int64_t k = 0; k < width; k++)
                            most = fmaxf(most, fabsf(row[k]));
                        assert_true(fabsf(scale[r] * 448 / most - 1) < 1e-6f);
                        for (int64_t k = 0; k < width; k += 1 + width / 200)
                            assert_int_equal(q[r * width + k] & (isnan(row[k]) ? 0x7f : 0xff),
                                             nearest(row[k] * (448 / most)));
                    }
                }
        device_close(d);
    }
    shared_free(x), shared_free(half), shared_free(q), shared_free(scale);
}

/* ---- layers ---- */

#define ROWS_MOST 100
#define IN        320
#define OUT       192

typedef struct Layer {
    uint16_t *x, *half; /* [ROWS_MOST][IN], [ROWS_MOST][OUT] */
    float *w, *b, *residual, *y;
} Layer;

static Layer new_layer(void) {
    Layer l = {shared_new(ROWS_MOST * 640 * 2), shared_new(ROWS_MOST * 640 * 2),
               shared_new(640 * 640 * 4),       shared_new(640 * 4),
               shared_new(ROWS_MOST * 640 * 4), shared_new(ROWS_MOST * 640 * 4)};
    Random random = random_at(2, RANDOM_TEST, 0, 0);
    for (int i = 0; i < ROWS_MOST * 640; i++)
        l.x[i] = narrowed((float)random_normal(&random) * (i / 640 % 3 ? 1 : 50));
    for (int i = 0; i < 640 * 640; i++)
        l.w[i] = (float)random_normal(&random) * 0.05f;
    for (int i = 0; i < 640; i++)
        l.b[i] = (float)random_normal(&random);
    for (int i = 0; i < ROWS_MOST * 640; i++)
        l.residual[i] = (float)random_normal(&random);
    return l;
}

static void free_layer(Layer *l) {
    shared_free(l->x), shared_free(l->half), shared_free(l->w), shared_free(l->b);
    shared_free(l->residual), shared_free(l->y);
}

/* A row of float32 after e4m3, and back. */
static void through_eights(double *to, const float *row, int64_t width) {
    float most = 1e-30f;
    for (int64_t k = 0; k < width; k++)
        most = fmaxf(most, fabsf(row[k]));
    float inverse = 448 / most;
    for (int64_t k = 0; k < width; k++)
        to[k] = (double)value_of(nearest(row[k] * inverse)) * (double)(most / 448);
}

/* [rows][OUT]: x wᵀ of the factors in e4m3, and as they are; and Σ|x||w| */
typedef struct Expected {
    double eights[ROWS_MOST * OUT], exact[ROWS_MOST * OUT], size[ROWS_MOST * OUT];
} Expected;

static void expect(Expected *e, const Layer *l, int64_t rows) {
    double *w = malloc(OUT * IN * sizeof *w), x[IN];
    for (int64_t o = 0; o < OUT; o++)
        through_eights(w + o * IN, l->w + o * IN, IN);
    for (int64_t r = 0; r < rows; r++) {
        float row[IN];
        for (int64_t k = 0; k < IN; k++)
            row[k] = widened(l->x[r * IN + k]);
        through_eights(x, row, IN);
        for (int64_t o = 0; o < OUT; o++) {
            double sum = 0, exact = 0, size = 0;
            for (int64_t k = 0; k < IN; k++) {
                sum += x[k] * w[o * IN + k];
                exact += (double)row[k] * (double)l->w[o * IN + k];
                size += fabs((double)row[k] * (double)l->w[o * IN + k]);
            }
            e->eights[r * OUT + o] = sum;
            e->exact[r * OUT + o] = exact;
            e->size[r * OUT + o] = size;
        }
    }
    free(w);
}

static double gelu(double x) {
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

/* The result is the product of the rounded factors (to what the sum in float32, and the result's
 * own type, may lose), and no further from the exact one than e4m3 may be: each factor is off by
 * 1/16 at most, but for those that are small beside the largest of their row. Tensor cores keep
 * fewer bits of a sum than float32: a real GPU may be off by 2^-10 of Σ|x||w|. */
static void close_to(double ours, double eights, double exact, double size, double unit) {
    double room = 1e-3 * size + unit * fabs(eights) + 1e-6;
    if (!(fabs(ours - eights) <= room))
        fail_msg("%g, not %g of the rounded factors", ours, eights);
    if (!(fabs(ours - exact) <= 0.14 * size + room))
        fail_msg("%g, not %g", ours, exact);
}

static void layers_in_eights(void **state) {
    (void)state;
    Layer l = new_layer();
    Expected *e = malloc(sizeof *e);
    uint8_t *before = calloc(ROWS_MOST * OUT, 4);
    /* a bias in the epilogue; before the product (an odd number); many rows */
    const int64_t counts[] = {64, 33, 100};
    for (int i = 0; i < 3; i++) {
        int64_t rows = counts[i];
        expect(e, &l, rows);
        for (int variant = 0; variant < UNDER_TEST_VARIANTS; variant++) {
            Device *d = open_device(variant);
            Error error = {0};
            if (!device_has_fp8(d)) {
                print_message("skipped: this device has no FP8\n");
                device_close(d);
                continue;
            }
            LinearWeights known = {l.w, IN, OUT, false, true};
            assert_int_equal(d->linear_weights_add(&known, d, &error), 0);
            d->fp8 = true;
            d->linear_residual_forward(l.y, l.x, l.w, l.b, l.residual, rows, IN, OUT, d);
            under_test_settle();
            double off = 0, all = 0;
            for (int k = 0; k < rows * OUT; k++) {
                double added = (double)l.residual[k] + (double)l.b[k % OUT];
                close_to((double)l.y[k] - added, e->eights[k], e->exact[k], e->size[k] + 2, 1e-6);
                off += pow((double)l.y[k] - added - e->exact[k], 2);
                all += e->exact[k] * e->exact[k];
            }
            assert_true(sqrt(off / all) < 0.05 && off > 0);
            if (variant)
                assert_memory_equal(before, l.y, (size_t)(rows * OUT) * sizeof *l.y);
            memcpy(before, l.y, (size_t)(rows * OUT) * sizeof *l.y);
            d->linear_forward(l.half, l.x, l.w, NULL, rows, IN, OUT, d);
            under_test_settle();
            for (int k = 0; k < rows * OUT; k++)
                close_to((double)widened(l.half[k]), e->eights[k], e->exact[k], e->size[k],
                         1.0 / 256);
            d->linear_gelu_forward(l.half, NULL, l.x, l.w, l.b, rows, IN, OUT, d);
            under_test_settle();
            for (int k = 0; k < rows * OUT; k++) {
                double y = e->eights[k] + (double)l.b[k % OUT];
                assert_true(fabs((double)widened(l.half[k]) - gelu(y)) <=
                            1e-3 * e->size[k] + fabs(y) / 64 + 0.01);
            }
            /* weights that change */
            for (int k = 0; k < OUT * IN; k++)
                l.w[k] *= 2;
            d->linear_weights_changed(l.w, l.w + 1, d);
            d->linear_residual_forward(l.y, l.x, l.w, NULL, NULL, rows, IN, OUT, d);
            under_test_settle();
            for (int k = 0; k < rows * OUT; k++)
                close_to((double)l.y[k] / 2, e->eights[k], e->exact[k], e->size[k], 1e-6);
            for (int k = 0; k < OUT * IN; k++)
                l.w[k] /= 2;
            device_close(d);
        }
    }
    free(e);
    free(before);
    free_layer(&l);
}

/* What layers give in bfloat16: with and without the wish, for weights that were registered for
 * FP8 or not, of widths that it cannot have and of few rows. */
static void layers_in_bfloat16(void **state) {
    (void)state;
    Layer l = new_layer();
    struct {
        bool registered, fp8, wish;
        int64_t rows, in, out;
    } cases[] = {{true, true, false, 64, IN, OUT}, {true, false, true, 64, IN, OUT},
                 {false, true, true, 64, IN, OUT}, {true, true, true, 64, 40, OUT},
                 {true, true, true, 64, IN, 200},
#ifdef JEPA_CUDA_EMULATED /* a rule of the emulated library */
                 {true, true, true, 8, IN, OUT}
#endif
    };
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        int64_t rows = cases[i].rows, in = cases[i].in, out = cases[i].out;
        size_t bytes = (size_t)(rows * out) * sizeof(float);
        float *plain = malloc(bytes);
        Error error = {0};
        for (int turn = 0; turn < 2; turn++) {
            Device *d = open_device(0);
            LinearWeights known = {l.w, in, out, false, cases[i].fp8};
            if (turn && cases[i].registered)
                assert_int_equal(d->linear_weights_add(&known, d, &error), 0);
            d->fp8 = turn && cases[i].wish;
            d->linear_residual_forward(l.y, l.x, l.w, l.b, l.residual, rows, in, out, d);
            under_test_settle();
            if (turn)
                assert_memory_equal(plain, l.y, bytes);
            memcpy(plain, l.y, bytes);
            device_close(d);
        }
        free(plain);
    }
    free_layer(&l);
}

/* A residual that is its own result, and memory as it was planned. */
static void in_place_and_planned(void **state) {
    (void)state;
    Layer l = new_layer();
    Device *d = open_device(0);
    Error error = {0};
    LinearWeights known = {l.w, IN, OUT, false, true}, plain = {l.w, IN, OUT, false, false};
    size_t own = device_has_fp8(d) ? IN * OUT + 768 : 0; /* 192 scales, to a multiple of 256 */
    assert_int_equal(d->linear_weights_bytes(&known, d), d->linear_weights_bytes(&plain, d) + own);
    assert_int_equal(d->linear_weights_add(&known, d, &error), 0);
    d->fp8 = true;
    for (int64_t rows = 63; rows <= 64; rows++) {
        size_t bytes = (size_t)(rows * OUT) * sizeof(float);
        float *apart = malloc(bytes);
        d->linear_residual_forward(l.y, l.x, l.w, l.b, l.residual, rows, IN, OUT, d);
        under_test_settle();
        memcpy(apart, l.y, bytes);
        memcpy(l.y, l.residual, bytes);
        d->linear_residual_forward(l.y, l.x, l.w, l.b, l.y, rows, IN, OUT, d);
        under_test_settle();
        for (int64_t k = 0; k < rows * OUT; k++) /* in bfloat16, or in FP8 once more */
            assert_true(fabsf(l.y[k] - apart[k]) < 30);
        if (rows % 2 == 0)
            assert_memory_equal(apart, l.y, bytes);
        free(apart);
    }
    device_close(d);
    free_layer(&l);
}

int main(int count, char **words) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_to_nearest),    cmocka_unit_test(scales_each_row),
        cmocka_unit_test(layers_in_eights),     cmocka_unit_test(layers_in_bfloat16),
        cmocka_unit_test(in_place_and_planned),
    };
    if (count > 1)
        cmocka_set_test_filter(words[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
