/* Plans for the GPU's matrix products (kernels/cuda/gemm.h), on the emulated library: the same bits
 * whatever ran before, few questions to the heuristic, weights that change. The emulated algorithms
 * differ in how they split their sums and in the row counts that they refuse. */
#include "base/random.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/weights.h"
#include "kernels/device.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS_MOST 2100
#define WIDTH     320 /* k of the emulated algorithms that split begins at 256 */

typedef struct Inputs {
    float *x, *w, *y, *b;
} Inputs;

static float *fill(int64_t count, uint64_t seed) {
    float *x = aligned_alloc(256, (size_t)(count * 4 + 255) / 256 * 256);
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)random_normal(&random);
    return x;
}

static int start(void **state) {
    Inputs *in = calloc(1, sizeof *in);
    in->x = fill(ROWS_MOST * WIDTH, 1);
    in->w = fill(WIDTH * WIDTH, 2);
    in->b = fill(WIDTH, 3);
    in->y = fill(ROWS_MOST * WIDTH, 4);
    *state = in;
    return 0;
}

static int finish(void **state) {
    Inputs *in = *state;
    free(in->x), free(in->w), free(in->b), free(in->y), free(in);
    return 0;
}

static Device *open_device(Precision precision) {
    Device *d;
    Error error = {0};
    if (device_open(&d, "cuda", 0, &error))
        fail_msg("%s", error.text);
    device_set_precision(d, precision, true);
    ScratchNeeds needs = {.width = WIDTH, .rows = ROWS_MOST};
    assert_int_equal(device_reserve(d, device_scratch_bytes(d, &needs), &error), 0);
    return d;
}

/* Row counts in, above and below the middle of buckets, of every divisibility. */
static const int64_t counts[] = {1000, 1024, 1001, 17, 2050, 1006, 640, 1023, 999, 2048, 1, 2100};
#define COUNTS (int)(sizeof counts / sizeof *counts)

static uint64_t bits_of(const void *memory, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const unsigned char *)memory)[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t pass(Inputs *in, int64_t rows, int64_t width, Device *d) {
    size_t size = activation_size(d->precision);
    d->linear_forward(in->y, in->x, in->w, in->b, rows, WIDTH, width, d);
    uint64_t bits = bits_of(in->y, (size_t)(rows * width) * size);
    float *dw = calloc(WIDTH * (size_t)width, sizeof *dw);
    d->linear_backward_weight(dw, NULL, in->y, in->x, rows, WIDTH, width, d);
    bits ^= bits_of(dw, WIDTH * (size_t)width * sizeof *dw);
    free(dw);
    return bits;
}

static void same_bits_whatever_ran_before(void **state) {
    Inputs *in = *state;
    for (int p = 0; p < 2; p++) {
        uint64_t alone[COUNTS];
        for (int i = 0; i < COUNTS; i++) {
            Device *d = open_device(p ? PRECISION_BFLOAT16 : PRECISION_FLOAT32);
            alone[i] = pass(in, counts[i], WIDTH, d);
            device_close(d);
        }
        Device *d = open_device(p ? PRECISION_BFLOAT16 : PRECISION_FLOAT32);
        for (int turn = 0; turn < 3; turn++) {
            for (int i = 0; i < COUNTS; i++) {
                int k = turn == 1 ? COUNTS - 1 - i : i;
                assert_true(pass(in, counts[k], WIDTH, d) == alone[k]);
            }
            /* far more shapes than the table holds */
            for (int64_t width = 1; turn == 1 && width <= 300; width++)
                for (int64_t rows = 1; rows <= 8; rows++)
                    d->linear_forward(in->y, in->x, in->w, NULL, rows, 4, width, d);
        }
        device_close(d);
    }
}

/* A second turn through many row counts asks nothing: the table holds what a run needs. */
static void steady_state_asks_nothing(void **state) {
    Inputs *in = *state;
    Device *d = open_device(PRECISION_BFLOAT16);
    uint64_t first = 0;
    for (int turn = 0; turn < 2; turn++) {
        for (int64_t rows = 1984; rows <= 2048; rows += 1)
            d->linear_forward(in->y, in->x, in->w, in->b, rows, 16, 16, d);
        first = turn ? first : cuda_gemm_choices(d);
    }
    assert_int_equal(cuda_gemm_choices(d), first);
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    cuda_gemm_report(d, out);
    fclose(out);
    assert_non_null(strstr(text, "forward rows 2048 in 16 out 16, bfloat16, bias"));
    assert_non_null(strstr(text, ": algorithm "));
    free(text);
    device_close(d);
}

static float bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float widened(const void *half, int64_t i) {
    uint32_t bits = (uint32_t)((const uint16_t *)half)[i] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* With x the unit vectors, y is the transposed weights plus bias: both as the copies hold them. */
static void check_copies(Inputs *in, int64_t width, const float *w, const float *b, Device *d) {
    uint16_t *x = (uint16_t *)in->x;
    memset(x, 0, (size_t)(width * width) * sizeof *x);
    for (int64_t i = 0; i < width; i++)
        x[i * width + i] = 0x3f80;
    d->linear_forward(in->y, x, w, b, width, width, width, d);
    for (int64_t r = 0; r < width; r++)
        for (int64_t o = 0; o < width; o++)
            assert_true(widened(in->y, r * width + o) ==
                        bf16(bf16(w[o * width + r]) + (b ? bf16(b[o]) : 0)));
}

/* A flat buffer with weights that are registered, in any order, their biases, and others. */
static void copies_follow_their_weights(void **state) {
    Inputs *in = *state;
    enum { LAYERS = 150, SIZE = 20, STRIDE = 32 * 16 };
    Device *d = open_device(PRECISION_BFLOAT16);
    Error error = {0};
    float *flat = fill(LAYERS * STRIDE, 5);
    for (int i = 0; i < LAYERS; i++) {
        LinearWeights known = {flat + i * 7 % LAYERS * STRIDE, SIZE, SIZE, true, false};
        if (i % 5)
            assert_int_equal(d->linear_weights_add(&known, d, &error), 0);
    }
    /* 800 bytes of weights and 40 of a bias, each to a multiple of 256 */
    LinearWeights one = {flat, SIZE, SIZE, true, false};
    assert_int_equal(d->linear_weights_bytes(&one, d), 1024 + 256);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < LAYERS; i += 1 + turn) {
            float *w = flat + i * STRIDE, *b = w + 400;
            check_copies(in, SIZE, w, i % 3 ? b : NULL, d);
        }
        for (int i = 0; i < LAYERS * STRIDE; i++)
            flat[i] *= -1.5f;
        if (turn)
            d->linear_weights_changed(flat, flat + LAYERS * STRIDE, d);
        else /* in two parts */
            for (int half = 0; half < 2; half++)
                d->linear_weights_changed(flat + half * 75 * STRIDE,
                                          flat + (half + 1) * 75 * STRIDE, d);
    }
    d->linear_weights_remove(flat, flat + 40 * STRIDE, d);
    for (int i = 0; i < LAYERS; i += 7)
        check_copies(in, SIZE, flat + i * STRIDE, flat + i * STRIDE + 400, d);
    d->linear_weights_remove(flat, flat + LAYERS * STRIDE, d);
    device_close(d);
    free(flat);
}

/* Pointers that are less aligned than any tensor of the model, and no rows. */
static void odd_pointers(void **state) {
    Inputs *in = *state;
    Device *d = open_device(PRECISION_FLOAT32), *r;
    Error error = {0};
    assert_int_equal(device_open(&r, "reference", 0, &error), 0);
    float *expected = fill(64 * 24, 6);
    for (int shift = 0; shift < 4; shift++) {
        float *x = in->x + shift, *w = in->w + (shift + 1) % 4, *y = in->y + (shift + 2) % 4;
        d->linear_forward(y, x, w, in->b + shift, 33, 24, 20, d);
        r->linear_forward(expected, x, w, in->b + shift, 33, 24, 20, r);
        for (int i = 0; i < 33 * 20; i++)
            assert_true(fabsf(y[i] - expected[i]) < 1e-4f);
    }
    float before = in->y[0], dw = in->w[0];
    d->linear_forward(in->y, in->x, in->w, in->b, 0, 24, 20, d);
    d->linear_residual_forward(in->y, in->x, in->w, in->b, NULL, 0, 24, 20, d);
    d->linear_gelu_forward(in->y, NULL, in->x, in->w, in->b, 0, 24, 20, d);
    d->linear_backward_input(in->y, in->x, in->w, 0, 24, 20, d);
    d->linear_gelu_backward_input(in->y, NULL, in->x, in->w, in->x, 0, 24, 20, d);
    d->linear_backward_weight(in->w, in->y, in->x, in->x, 0, 24, 20, d);
    assert_true(in->y[0] == before && in->w[0] == dw);
    free(expected);
    device_close(d);
    device_close(r);
}

int main(int count, char **words) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_whatever_ran_before),
        cmocka_unit_test(steady_state_asks_nothing),
        cmocka_unit_test(copies_follow_their_weights),
        cmocka_unit_test(odd_pointers),
    };
    if (count > 1)
        cmocka_set_test_filter(words[1]);
    return cmocka_run_group_tests(tests, start, finish);
}
