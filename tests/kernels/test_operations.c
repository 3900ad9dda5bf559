/* Every operation: the device under test against the plain loops of the reference device, and
 * against itself in other variants (numbers of threads, orders of them), bit for bit.
 *
 * test_operations NAME runs the tests whose name is that; * stands for anything.
 *
 * Tolerance: an entry may differ by 4e-6 of the largest entry of its tensor. Sums here have up to a
 * thousand float32 terms; a float32 sum of n terms in some order is off by about sqrt(n) · 6e-8 of
 * its typical term, 2e-6 for n = 1000. A wrong index, sign or missing term is off by far more. */
#include "base/random.h"
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

#define TOLERANCE 4e-6

static float *fill(int64_t count, double scale, uint64_t seed) {
    float *x = shared_new(sizeof *x * (size_t)(count ? count : 1));
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(scale * random_normal(&random));
    return x;
}

static float *copy(const float *x, int64_t count) {
    float *y = shared_new(sizeof *y * (size_t)(count ? count : 1));
    memcpy(y, x, sizeof *y * (size_t)count);
    return y;
}

static int32_t *indices(const int32_t *from, int64_t count) {
    int32_t *at = shared_new(sizeof *at * (size_t)count);
    memcpy(at, from, sizeof *at * (size_t)count);
    return at;
}

static double *number(double value) {
    double *at = shared_new(sizeof *at);
    *at = value;
    return at;
}

static Device *open_device(const char *name, int variant) {
    Device *device;
    Error error = {0};
    assert_int_equal(strcmp(name, UNDER_TEST) ? device_open(&device, name, 1, &error)
                                              : under_test_open(&device, variant, &error),
                     0);
    assert_int_equal(
        device_reserve(device,
                       device_scratch_bytes(device, &(ScratchNeeds){.longest = 700,
                                                                    .head = 128,
                                                                    .elements = 1 << 20,
                                                                    .rows = 1 << 12,
                                                                    .heads = 16,
                                                                    .width = 1 << 12}),
                       &error),
        0);
    return device;
}

static void assert_near(const char *what, const float *ours, const float *theirs, int64_t count) {
    double largest = 1e-30;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)theirs[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)ours[i] - theirs[i]) <= TOLERANCE * largest))
            fail_msg("%s: entry %lld is %g, expected %g (largest %g)", what, (long long)i, ours[i],
                     theirs[i], largest);
}

/* What an operation wrote, kept to be compared: up to four tensors. */
typedef struct Outcome {
    float *out[4];
    int64_t count[4];
} Outcome;

static void keep(Outcome *o, int k, float *x, int64_t count) {
    o->out[k] = x;
    o->count[k] = count;
}

static void drop(Outcome *o) {
    for (int k = 0; k < 4; k++)
        shared_free(o->out[k]);
}

/* The devices that `compare` compares, opened by the first case. */
typedef struct Compared {
    Device *reference, *variant[UNDER_TEST_VARIANTS];
} Compared;

static Compared *compared(void) {
    static Compared devices;
    return &devices;
}

static int close_compared(void **state) {
    (void)state;
    Compared *devices = compared();
    device_close(devices->reference);
    for (int variant = 0; variant < UNDER_TEST_VARIANTS; variant++)
        device_close(devices->variant[variant]);
    memset(devices, 0, sizeof *devices);
    return 0;
}

/* Runs a case on the reference device and on every variant of the one under test. */
static void compare(const char *what, Outcome (*run)(Device *device, const int64_t *sizes),
                    const int64_t *sizes) {
    Compared *devices = compared();
    if (!devices->reference)
        devices->reference = open_device("reference", 0);
    Outcome expected = run(devices->reference, sizes), first = {0};
    for (int variant = 0; variant < UNDER_TEST_VARIANTS; variant++) {
        if (!devices->variant[variant])
            devices->variant[variant] = open_device(UNDER_TEST, variant);
        under_test_variant(variant);
        Outcome again = run(devices->variant[variant], sizes);
        under_test_settle();
        for (int k = 0; k < 4; k++) {
            if (!variant && expected.out[k])
                assert_near(what, again.out[k], expected.out[k], expected.count[k]);
            if (variant && again.out[k] &&
                memcmp(again.out[k], first.out[k], (size_t)again.count[k] * sizeof(float)))
                fail_msg("%s: other bits in variant %d", what, variant);
        }
        if (variant)
            drop(&again);
        else
            first = again;
    }
    drop(&expected);
    drop(&first);
}

static const int64_t row_counts[] = {1, 3, 17, 128, 129, 300};
static const int64_t widths[] = {5, 16, 96, 100};

/* ---- linear ---- */

static Outcome run_linear(Device *d, const int64_t *s) {
    int64_t rows = s[0], in = s[1], out = s[2];
    float *x = fill(rows * in, 1, 1), *w = fill(out * in, 0.1, 2), *b = fill(out, 1, 3);
    float *residual = fill(rows * out, 1, 4), *dy = fill(rows * out, 1, 5);
    float *y = s[3] & 1 ? copy(residual, rows * out) : shared_new(sizeof *y * (size_t)(rows * out));
    float *dx = shared_new(sizeof *dx * (size_t)(rows * in));
    float *dw = fill(out * in, 1, 6), *db = fill(out, 1, 7); /* gradients are added to */
    if (s[3] & 5)
        d->linear_residual_forward(y, x, w, s[3] & 2 ? b : NULL, s[3] & 1 ? y : residual, rows, in,
                                   out, d);
    else
        d->linear_forward(y, x, w, s[3] & 2 ? b : NULL, rows, in, out, d);
    d->linear_backward_input(dx, dy, w, rows, in, out, d);
    d->linear_backward_weight(dw, s[3] & 2 ? db : NULL, dy, x, rows, in, out, d);
    shared_free(x), shared_free(w), shared_free(b), shared_free(residual), shared_free(dy);
    Outcome o = {0};
    keep(&o, 0, y, rows * out);
    keep(&o, 1, dx, rows * in);
    keep(&o, 2, dw, out * in);
    keep(&o, 3, db, out);
    return o;
}

static void linear(void **state) {
    (void)state;
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (size_t k = 0; k < 4; k++)
            for (int64_t options = 0; options < 8; options += 2 + (options == 2)) {
                int64_t sizes[4] = {row_counts[r], widths[k], widths[(k + r) % 4] * 2, options};
                compare("linear", run_linear, sizes);
            }
    compare("linear, residual in place", run_linear, (int64_t[]){130, 33, 20, 3});
}

/* A linear layer with the GELU after it, and before it on the way back. */
static Outcome run_linear_gelu(Device *d, const int64_t *s) {
    int64_t rows = s[0], in = s[1], out = s[2];
    float *x = fill(rows * in, 1, 1), *w = fill(out * in, 0.2, 2), *b = fill(out, 1, 3);
    float *a = fill(rows * in, 1, 4), *dy = fill(rows * out, 1, 5);
    float *y = shared_new(sizeof *y * (size_t)(rows * out));
    float *activated = shared_new(sizeof *y * (size_t)(rows * out));
    float *da = shared_new(sizeof *da * (size_t)(rows * in)), *again = NULL;
    d->linear_gelu_forward(activated, s[3] ? y : NULL, x, w, b, rows, in, out, d);
    if (s[3])
        again = shared_new(sizeof *again * (size_t)(rows * in));
    else
        memset(y, 0, sizeof *y * (size_t)(rows * out));
    d->linear_gelu_backward_input(da, again, dy, w, a, rows, in, out, d);
    shared_free(x), shared_free(w), shared_free(b), shared_free(a), shared_free(dy);
    Outcome o = {0};
    keep(&o, 0, activated, rows * out);
    keep(&o, 1, y, rows * out);
    keep(&o, 2, da, rows * in);
    keep(&o, 3, again, rows * in);
    return o;
}

static void linear_gelu(void **state) {
    (void)state;
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (size_t k = 0; k < 4; k++)
            for (int64_t both = 0; both < 2; both++)
                compare("linear and gelu", run_linear_gelu,
                        (int64_t[]){row_counts[r], widths[k], widths[(k + r) % 4] * 3, both});
}

/* More tokens than one block, and as many outputs and inputs as make several tiles and panels. */
static void linear_of_many_tokens(void **state) {
    (void)state;
    compare("linear, many tokens", run_linear, (int64_t[]){1300, 70, 40, 2});
    compare("linear, wide", run_linear, (int64_t[]){33, 1100, 410, 2});
}

/* ---- layer norm ---- */

/* s: rows, width, 1: without the affine part, and how many floats each tensor lies behind an even
 * address */
static Outcome run_layernorm(Device *d, const int64_t *s) {
    int64_t rows = s[0], width = s[1], odd = s[3], count = rows * width;
    float *x = fill(count + odd, 3, 1), *w = fill(width + odd, 1, 2), *b = fill(width + odd, 1, 3);
    float *dy = fill(count + odd, 1, 4);
    float *y = s[2] ? copy(x, count + odd) : fill(count + odd, 0, 1);
    float *mean = fill(rows, 1, 8), *rstd = fill(rows, 1, 9);
    float *dx = fill(count + odd, 1, 5), *dw = fill(width, 1, 6), *db = fill(width, 1, 7);
    if (s[2]) { /* in place, without the affine part and statistics */
        d->layernorm_values(y + odd, NULL, NULL, y + odd, NULL, NULL, rows, width, 1e-5, d);
    } else {
        d->layernorm_forward(y + odd, mean, rstd, x + odd, w + odd, b + odd, rows, width, 1e-6, d);
        d->zero(y, sizeof *y * (size_t)(count + odd), d);
        d->layernorm_again(y + odd, x + odd, mean, rstd, w + odd, b + odd, rows, width, d);
        d->layernorm_backward(dx + odd, NULL, dw, db, dy + odd, x + odd, mean, rstd, w + odd, rows,
                              width, d);
    }
    shared_free(x), shared_free(w), shared_free(b), shared_free(dy), shared_free(mean),
        shared_free(rstd);
    Outcome o = {0};
    keep(&o, 0, y, count + odd);
    keep(&o, 1, dx, count + odd);
    keep(&o, 2, dw, width);
    keep(&o, 3, db, width);
    return o;
}

static void layernorm(void **state) {
    (void)state;
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (size_t k = 0; k < 4; k++)
            for (int64_t plain = 0; plain < 2; plain++)
                for (int64_t odd = 0; odd < 2; odd++)
                    compare("layernorm", run_layernorm,
                            (int64_t[]){row_counts[r], widths[k], plain, odd});
    /* widths of models, and wider than those; rows enough that a GPU's block has several turns */
    compare("layernorm, ViT-S", run_layernorm, (int64_t[]){1100, 384, 0, 0});
    compare("layernorm, ViT-L", run_layernorm, (int64_t[]){600, 1024, 0, 0});
    compare("layernorm, ViT-g", run_layernorm, (int64_t[]){600, 1408, 0, 0});
    compare("layernorm, wide", run_layernorm, (int64_t[]){300, 2052, 0, 0});
    compare("layernorm, wide, odd", run_layernorm, (int64_t[]){9, 2051, 0, 1});
}

/* ---- GELU ---- */

static Outcome run_gelu(Device *d, const int64_t *s) {
    float *x = fill(s[0], (double)s[1], 1), *dy = fill(s[0], 1, 2);
    float *y = shared_new(sizeof *y * (size_t)s[0]);
    d->gelu_forward(y, x, s[0], d);
    d->gelu_backward(dy, dy, x, s[0], d); /* in place */
    shared_free(x);
    Outcome o = {0};
    keep(&o, 0, y, s[0]);
    keep(&o, 1, dy, s[0]);
    return o;
}

static void gelu(void **state) {
    (void)state;
    for (int64_t scale = 1; scale < 100; scale *= 3)
        compare("gelu", run_gelu, (int64_t[]){20011, scale});
}

/* Point by point, relative to the value itself: the tail is as exact as the middle. 1e-6: a few
 * roundings of float32, each 6e-8, grown by x²/2 in the exponential. */
static void gelu_is_exact_in_the_tail(void **state) {
    (void)state;
    Device *d = open_device(UNDER_TEST, 0);
    enum { COUNT = 1241 };
    float *x = shared_new(COUNT * sizeof *x), *y = shared_new(COUNT * sizeof *y);
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(-5 + 0.0137 * i);
    d->gelu_forward(y, x, COUNT, d);
    under_test_settle();
    for (int i = 0; i < COUNT; i++) {
        double expected = x[i] * 0.5 * erfc(-x[i] * M_SQRT1_2);
        if (fabs(y[i] - expected) > 1e-6 * fabs(expected) + 1e-30)
            fail_msg("gelu(%g) = %.9g, expected %.9g", x[i], y[i], expected);
    }
    shared_free(x), shared_free(y);
    device_close(d);
}

/* ---- attention ---- */

typedef struct Lengths {
    int count;
    int32_t length[6];
} Lengths;

static const Lengths packings[] = {
    {1, {1}}, {1, {257}}, {3, {5, 0, 12}}, {6, {1, 128, 2, 0, 129, 31}}, {2, {300, 256}}};
static const int64_t heads[][2] = {{1, 1}, {1, 16}, {3, 20}, {2, 24}, {1, 80}, {2, 88}, {1, 128}};

static Outcome run_attention(Device *d, const int64_t *s) {
    const Lengths *lengths = &packings[s[0]];
    int64_t count = s[1], width = count * s[2];
    int32_t cu[7] = {0};
    for (int i = 0; i < lengths->count; i++)
        cu[i + 1] = cu[i] + lengths->length[i];
    int64_t rows = cu[lengths->count];
    float *qkv = fill(rows * 3 * width, s[3] ? 6 : 1, 1), *dout = fill(rows * width, 1, 2);
    float *out = shared_new(sizeof *out * (size_t)(rows * width));
    float *lse = shared_new(sizeof *lse * (size_t)(rows * count));
    float *dqkv = shared_new(sizeof *dqkv * (size_t)(rows * 3 * width));
    /* causal: steps of time in any order, and a class token that nobody else may read */
    int32_t *block = shared_new(sizeof *block * (size_t)(rows + 1));
    for (int64_t i = 0; i < rows; i++)
        block[i] = (int32_t)(i * 7 % 5);
    for (int i = 0; i < lengths->count; i++)
        block[cu[i]] = INT32_MAX;
    const int32_t *order = s[4] ? block : NULL;
    d->attention_forward(out, lse, qkv, cu, order, lengths->count, width, count, d);
    d->attention_backward(dqkv, dout, qkv, out, lse, cu, order, lengths->count, width, count, d);
    shared_free(qkv), shared_free(dout), shared_free(block);
    Outcome o = {0};
    keep(&o, 0, out, rows * width);
    keep(&o, 1, lse, rows * count);
    /* A sharp softmax multiplies the rounding of scores of some tens: held by the forward pass and
     * by finite differences instead. */
    if (s[3])
        shared_free(dqkv);
    else
        keep(&o, 2, dqkv, rows * 3 * width);
    return o;
}

static void attention(void **state) {
    (void)state;
    for (int64_t p = 0; p < (int64_t)(sizeof packings / sizeof *packings); p++)
        for (size_t h = 0; h < sizeof heads / sizeof *heads; h++)
            for (int64_t causal = 0; causal < 2; causal++)
                compare("attention", run_attention,
                        (int64_t[]){p, heads[h][0], heads[h][1], 0, causal});
}

/* What comes later changes nothing earlier: the defining property of causal attention. */
static void attention_does_not_see_the_future(void **state) {
    (void)state;
    enum { ROWS = 12, WIDTH = 16 };
    Device *d = open_device(UNDER_TEST, 1);
    const int32_t cu[2] = {0, ROWS}, steps[ROWS] = {INT32_MAX, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
    int32_t *block = indices(steps, ROWS);
    float *qkv = fill(ROWS * 3 * WIDTH, 1, 1);
    float *before = fill(ROWS * WIDTH, 1, 2), *after = fill(ROWS * WIDTH, 1, 3);
    d->attention_forward(before, NULL, qkv, cu, block, 1, WIDTH, 2, d);
    under_test_settle();
    for (int64_t i = 8 * 3 * WIDTH; i < ROWS * 3 * WIDTH; i++)
        qkv[i] += 1; /* the last step of time */
    d->attention_forward(after, NULL, qkv, cu, block, 1, WIDTH, 2, d);
    under_test_settle();
    assert_memory_equal(before + WIDTH, after + WIDTH, 7 * WIDTH * sizeof(float));
    assert_memory_not_equal(before, after, WIDTH * sizeof(float)); /* the class token sees all */
    shared_free(qkv), shared_free(block), shared_free(before), shared_free(after);
    device_close(d);
}

/* ---- rotary positions, SwiGLU ---- */

static Outcome run_rope(Device *d, const int64_t *s) {
    int64_t rows = s[0], count = s[1], head = s[2], width = count * head;
    float *qkv = fill(rows * 3 * width, 1, 1), *dqkv = fill(rows * 3 * width, 1, 2);
    float *table = fill(9 * 2 * head, 1, 3);
    int32_t *token = shared_new(sizeof *token * (size_t)rows);
    for (int64_t i = 0; i < rows; i++)
        token[i] = (int32_t)(i * 5 % 10) - 1; /* some rows lie nowhere */
    d->rope_forward(qkv, table, token, rows, width, count, d);
    d->rope_backward(dqkv, table, token, rows, width, count, d);
    shared_free(table), shared_free(token);
    Outcome o = {0};
    keep(&o, 0, qkv, rows * 3 * width);
    keep(&o, 1, dqkv, rows * 3 * width);
    return o;
}

static void rope(void **state) {
    (void)state;
    for (size_t r = 0; r < 6; r++)
        for (size_t h = 1; h < sizeof heads / sizeof *heads; h++)
            compare("rope", run_rope, (int64_t[]){row_counts[r], heads[h][0], heads[h][1]});
    compare("rope, wide heads", run_rope, (int64_t[]){17, 2, 160});
    compare("rope, odd heads", run_rope, (int64_t[]){17, 3, 7});
    /* forward and backward are transposes: <y, R x> = <Rᵀ y, x>, values included */
    Device *d = open_device(UNDER_TEST, 0);
    enum { WIDTH = 32 };
    float *x = fill(3 * WIDTH, 1, 1), *y = fill(3 * WIDTH, 1, 2), *table = fill(2 * 16, 1, 3);
    float *rx = copy(x, 3 * WIDTH), *ry = copy(y, 3 * WIDTH);
    int32_t *token = indices((int32_t[]){0}, 1);
    d->rope_forward(rx, table, token, 1, WIDTH, 2, d);
    d->rope_backward(ry, table, token, 1, WIDTH, 2, d);
    under_test_settle();
    double one = 0, two = 0;
    for (int i = 0; i < 3 * WIDTH; i++) {
        one += (double)y[i] * rx[i];
        two += (double)ry[i] * x[i];
    }
    assert_true(fabs(one - two) < 1e-5 * fabs(one));
    shared_free(x), shared_free(y), shared_free(table), shared_free(rx), shared_free(ry),
        shared_free(token);
    device_close(d);
}

static Outcome run_swiglu(Device *d, const int64_t *s) {
    int64_t count = s[0];
    float *a = fill(count, 4, 1), *b = fill(count, 1, 2), *dy = fill(count, 1, 3);
    float *y = shared_new(sizeof *y * (size_t)count), *db = shared_new(sizeof *db * (size_t)count);
    d->swiglu_forward(y, a, b, count, d);
    float *again = shared_new(sizeof *again * (size_t)count);
    d->swiglu_backward(dy, db, again, dy, a, b, count, d); /* in place */
    d->rows_add(again, y, count, d);
    shared_free(a), shared_free(b);
    Outcome o = {0};
    keep(&o, 0, y, count);
    keep(&o, 1, dy, count);
    keep(&o, 2, db, count);
    keep(&o, 3, again, count);
    return o;
}

static void swiglu(void **state) {
    (void)state;
    const int64_t counts[] = {1, 7, 1000, 8192, 20001};
    for (size_t i = 0; i < 5; i++)
        compare("swiglu", run_swiglu, (int64_t[]){counts[i]});
}

/* ---- patches, rows ---- */

/* s: pixels or values, mirrored or not, edge of a patch (of 8 and more: 16 bytes at a time), and
 * how many bytes or values the clips lie behind an even address */
static Outcome run_patches(Device *d, const int64_t *s) {
    PatchShape shape = {4, (int)s[2] * 3, (int)s[2] * 4, 2, (int)s[2]};
    enum { ROWS = 11 };
    int64_t clip_pixels = 3 * 4 * s[2] * 3 * s[2] * 4, pixels_count = 2 * clip_pixels;
    int64_t values = 3 * 2 * s[2] * s[2];
    uint8_t *pixels = shared_new((size_t)(pixels_count + s[3])), *mirror = shared_new(2);
    float *normal = fill(pixels_count + s[3], 1, 1);
    for (int64_t i = 0; i < pixels_count; i++)
        pixels[i + s[3]] = (uint8_t)(i * 37 % 251);
    mirror[0] = 0, mirror[1] = 1;
    int32_t *clip = indices((int32_t[]){0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0}, ROWS);
    int32_t *token = indices((int32_t[]){0, 23, 5, 11, 8, -1, 3, -1, 0, 12, 23}, ROWS);
    float *patches = shared_new(sizeof *patches * (size_t)(ROWS * values));
    d->patches_cut(patches, s[0] ? pixels + s[3] : NULL, s[0] ? NULL : normal + s[3],
                   s[1] ? mirror : NULL, clip, token, ROWS, &shape, d);
    shared_free(pixels), shared_free(normal), shared_free(mirror), shared_free(clip),
        shared_free(token);
    Outcome o = {0};
    keep(&o, 0, patches, ROWS * values);
    return o;
}

static void patches(void **state) {
    (void)state;
    const int64_t edges[] = {4, 5, 8, 16};
    for (int64_t i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            for (int64_t odd = 0; odd < 2; odd++)
                compare("patches", run_patches, (int64_t[]){i & 1, i >> 1, edges[k], odd});
}

static Outcome run_rows(Device *d, const int64_t *s) {
    int64_t width = s[0];
    float *x = fill(40 * width, 1, 1), *table = fill(9 * width, 1, 2);
    float *y = fill(40 * width, 1, 3), *dx = fill(40 * width, 1, 4), *sum = fill(width, 1, 5);
    float *mean = shared_new(sizeof *mean * (size_t)(3 * width));
    int32_t *to = indices((int32_t[]){3, 0, 39, 7}, 4),
            *from = indices((int32_t[]){1, 30, 2, 0}, 4);
    int32_t *entry = indices((int32_t[]){8, 0, 8, 3}, 4);
    const int32_t cu[] = {0, 5, 5, 40};
    d->rows_gather(y, to, x, from, table, entry, 4, width, d);
    d->rows_gather(y, NULL, y, NULL, table, NULL, 9, width, d); /* in place */
    d->rows_gather(y + 20 * width, NULL, x, from, NULL, NULL, 4, width, d);
    d->rows_gather(y + 30 * width, NULL, NULL, NULL, table, entry, 4, width, d);
    d->rows_scatter_add(dx, from, x, to, 4, width, d);
    d->rows_sum(sum, x, NULL, 40, width, d);
    d->rows_sum(sum, x, from, 4, width, d);
    d->rows_mean(mean, x, cu, 3, width, d);
    float *scale = fill(3, 0, 1); /* the second sequence is empty */
    scale[2] = 1.25f;
    d->rows_blend(y, x, scale, cu, 3, width, d);
    d->rows_blend(dx, NULL, scale, cu, 3, width, d);
    if (width > 4)
        d->rows_columns(dx, width, 1, x, width, 2, 9, 3, sizeof *dx, d);
    shared_free(x), shared_free(table), shared_free(to), shared_free(from), shared_free(entry),
        shared_free(scale);
    Outcome o = {0};
    keep(&o, 0, y, 40 * width);
    keep(&o, 1, dx, 40 * width);
    keep(&o, 2, sum, width);
    keep(&o, 3, mean, 3 * width);
    return o;
}

static void rows(void **state) {
    (void)state;
    for (size_t k = 0; k < 4; k++)
        compare("rows", run_rows, (int64_t[]){widths[k]});
    compare("rows", run_rows, (int64_t[]){129});
    compare("rows", run_rows, (int64_t[]){1024});
    compare("rows", run_rows, (int64_t[]){1031});
}

/* More rows than a block adds, and a sequence of many. */
static Outcome run_long_sums(Device *d, const int64_t *s) {
    int64_t rows = s[0], width = s[1];
    float *x = fill(rows * width, 1, 1), *sum = fill(width, 1, 2), *some = fill(width, 1, 3);
    float *mean = fill(3 * width, 1, 4);
    int32_t *from = shared_new(sizeof *from * (size_t)rows);
    for (int64_t i = 0; i < rows; i++)
        from[i] = (int32_t)((i * 7 + 3) % rows);
    const int32_t cu[] = {0, 1, (int32_t)(rows / 2), (int32_t)rows};
    d->rows_sum(sum, x, NULL, rows, width, d);
    d->rows_sum(some, x, from, rows / 3, width, d);
    d->rows_mean(mean, x, cu, 3, width, d);
    shared_free(x), shared_free(from);
    Outcome o = {0};
    keep(&o, 0, sum, width);
    keep(&o, 1, some, width);
    keep(&o, 2, mean, 3 * width);
    return o;
}

static void rows_sums(void **state) {
    (void)state;
    compare("sums of rows", run_long_sums, (int64_t[]){10007, 20});
    compare("sums of rows", run_long_sums, (int64_t[]){1500, 390});
    compare("sums of rows", run_long_sums, (int64_t[]){900, 37});
}

/* A class token has no entry in a table of positions (-1), and its row is overwritten later: what
 * is read for it must be harmless, and the other rows right. */
static void rows_without_an_entry(void **state) {
    (void)state;
    enum { ROWS = 6, WIDTH = 12 };
    Device *d = open_device(UNDER_TEST, 0);
    float *x = fill(ROWS * WIDTH, 1, 1), *table = fill(4 * WIDTH, 1, 2),
          *y = fill(ROWS * WIDTH, 1, 3);
    int32_t *entry = indices((int32_t[]){-1, 2, 0, -1, 1, 2}, ROWS);
    d->rows_gather(y, NULL, x, NULL, table + WIDTH, entry, ROWS, WIDTH, d);
    under_test_settle();
    for (int i = 0; i < ROWS * WIDTH; i++)
        if (entry[i / WIDTH] >= 0)
            assert_true(y[i] == x[i] + table[(entry[i / WIDTH] + 1) * WIDTH + i % WIDTH]);
    shared_free(x), shared_free(table), shared_free(y), shared_free(entry);
    device_close(d);
}

/* Nothing to do is nothing done. */
static void no_rows(void **state) {
    (void)state;
    Device *d = open_device(UNDER_TEST, 0);
    float *x = fill(64, 1, 1);
    PatchShape shape = {2, 8, 8, 2, 8};
    const int32_t *none = indices((int32_t[]){0}, 1);
    d->layernorm_forward(x, x, x, x, x, x, 0, 16, 1e-6, d);
    d->layernorm_values(x, NULL, NULL, x, NULL, NULL, 0, 16, 1e-6, d);
    d->layernorm_again(x, x, x, x, x, x, 0, 16, d);
    d->layernorm_backward(x, NULL, x, x, x, x, x, x, x, 0, 16, d);
    d->rope_forward(x, x, none, 0, 16, 2, d);
    d->rope_backward(x, x, none, 0, 16, 2, d);
    d->swiglu_forward(x, x, x, 0, d);
    d->swiglu_backward(x, x, NULL, x, x, x, 0, d);
    d->gelu_forward(x, x, 0, d);
    d->patches_cut(x, (const uint8_t *)x, NULL, NULL, none, none, 0, &shape, d);
    d->rows_gather(x, NULL, x, none, x, none, 0, 16, d);
    d->rows_scatter_add(x, none, x, none, 0, 16, d);
    d->rows_sum(x, x, NULL, 0, 16, d);
    d->rows_mean(x, x, none, 0, 16, d);
    d->rows_blend(x, x, x, none, 0, 16, d);
    d->rows_columns(x, 16, 0, x, 16, 0, 0, 16, sizeof *x, d);
    d->rows_add(x, x, 0, d);
    d->rows_narrow(x, x + 1, 0, d);
    under_test_settle();
    float *before = fill(64, 1, 1);
    assert_memory_equal(x, before, 64 * sizeof *x);
    shared_free(x), shared_free(before), shared_free((void *)none);
    device_close(d);
}

/* ---- losses, optimiser ---- */

static Outcome run_loss(Device *d, const int64_t *s) {
    int64_t width = s[0], total = 50;
    double power = (double)s[1] / 2;
    float *z = fill(total * width, 1, 1), *h = fill(total * width, 1, 2);
    memcpy(h, z, sizeof *h * (size_t)width); /* equal entries: no gradient */
    float *dz = shared_new(sizeof *dz * (size_t)(total * width));
    float *spread = shared_new(sizeof *spread * (size_t)(4 * width)),
          *sums = shared_new(3 * sizeof *sums);
    const int32_t cu[] = {0, 10, 11, 30, 50}; /* 2 settings of 2 samples; one of a single token */
    double *loss = number(1), *reg = number(2), *all = number(0);
    float *row_weight = fill(total, 1, 3);
    for (int64_t i = 0; i < total; i++)
        row_weight[i] = fabsf(row_weight[i]);
    const float *weights = s[2] ? row_weight : NULL;
    d->loss_forward(loss, z, h, total, width, power, 0.01, weights, d);
    d->loss_backward(dz, z, h, total, width, power, 0.01, weights, d);
    d->spread_forward(reg, spread, z, cu, 2, 2, width, 0.1, d);
    d->spread_backward(dz, spread, z, cu, 2, 2, width, 0.1, d);
    d->loss_total(all, loss, 1, reg, 0.5, d);
    under_test_settle();
    sums[0] = (float)*loss, sums[1] = (float)*reg, sums[2] = (float)*all;
    shared_free(z), shared_free(h), shared_free(row_weight), shared_free(loss), shared_free(reg),
        shared_free(all);
    Outcome o = {0};
    keep(&o, 0, dz, total * width);
    keep(&o, 1, spread, 4 * width);
    keep(&o, 2, sums, 3);
    return o;
}

static void losses(void **state) {
    (void)state;
    for (int64_t power = 0; power <= 4; power++) /* halves; 0: smooth L1 */
        for (size_t k = 0; k < 4 && power != 1; k++)
            for (int64_t weighted = 0; weighted < 2; weighted++)
                compare("loss", run_loss, (int64_t[]){widths[k], power, weighted});
}

static Outcome run_adamw(Device *d, const int64_t *s) {
    int64_t count = s[0];
    float *p = fill(count, 1, 1), *m = fill(count, 0.1, 2), *v = fill(count, 0.1, 3);
    float *target = fill(count, 1, 4), *g = fill(count, 1, 5);
    for (int64_t i = 0; i < count; i++)
        v[i] = v[i] * v[i];
    double *square = number(0), *loss = number(s[2] ? NAN : 1);
    d->square_sums(square, g, count, d);
    AdamwSettings settings = {.lr = 1e-2,
                              .weight_decay = 0.1,
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-8,
                              .momentum = 0.99,
                              .max_norm = s[1] ? 0.5 : 0,
                              .step = 7};
    d->adamw_ema(p, m, v, target, g, count, square, loss, &settings, d);
    shared_free(g), shared_free(square), shared_free(loss);
    Outcome o = {0};
    keep(&o, 0, p, count);
    keep(&o, 1, m, count);
    keep(&o, 2, v, count);
    keep(&o, 3, target, count);
    return o;
}

/* sizes: elements, parts */
static Outcome run_sums(Device *d, const int64_t *s) {
    int64_t blocks = shard_blocks(s[0]), rows = (blocks + s[1] - 1) / s[1];
    size_t bytes = (size_t)(rows * s[1]) * sizeof(double);
    float *x = fill(s[0] + 3, 1, 1); /* what lies behind the end is not to be added */
    float *found = shared_new((size_t)(blocks + 2) * sizeof *found);
    double *sums = shared_new(bytes), *shared = shared_new(bytes);
    double *total = number(0), *some = number(0);
    d->square_sums(sums, x, s[0], d);
    under_test_settle();
    for (int64_t b = 0; b < blocks; b++) { /* as the ranks have them */
        found[b] = (float)sums[b];
        shared[b % s[1] * rows + b / s[1]] = sums[b];
    }
    d->sums_add(total, shared, 0, blocks, s[1], rows, 1, d);
    d->sums_add(some, shared, 1, blocks, s[1], rows, 1, d);
    under_test_settle();
    double in_order = 0;
    for (int64_t b = 0; b < blocks; b++)
        in_order += sums[b];
    assert_true(*total == in_order);
    found[blocks] = (float)*total, found[blocks + 1] = (float)*some;
    shared_free(x), shared_free(sums), shared_free(shared), shared_free(total), shared_free(some);
    Outcome o = {0};
    keep(&o, 0, found, blocks + 2);
    return o;
}

static void sums(void **state) {
    (void)state;
    const int64_t sizes[][2] = {{1, 1}, {65536, 1}, {65537, 2}, {400000, 1}, {400000, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        compare("sums", run_sums, sizes[i]);
}

/* What a rank owns: every element once, in flat order. */
static void shards(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 5; ranks++)
        for (int64_t blocks = 1; blocks <= 12; blocks++) {
            int64_t all = 0;
            for (int r = 0; r < ranks; r++) {
                Shard s = {r, ranks};
                int64_t own = shard_blocks_of(s, r, blocks), at = 0;
                assert_true(own <= shard_most(s, blocks));
                for (int64_t e = 0; e < blocks * SHARD_BLOCK; e += SHARD_BLOCK / 4) {
                    assert_int_equal(shard_place(s, e), at);
                    if (e / SHARD_BLOCK % ranks == r)
                        at += SHARD_BLOCK / 4;
                }
                assert_int_equal(shard_place(s, blocks * SHARD_BLOCK), at);
                assert_int_equal(at, own * SHARD_BLOCK);
                all += own;
            }
            assert_int_equal(all, blocks);
        }
}

static Outcome run_add(Device *device, const int64_t *sizes) {
    Outcome o = {0};
    float *y = fill(sizes[0], 1, 1), *x = fill(sizes[0], 1, 2);
    device->add(y, x, sizes[0], device);
    keep(&o, 0, y, sizes[0]);
    shared_free(x);
    return o;
}

static void add(void **state) {
    (void)state;
    const int64_t sizes[][1] = {{1}, {1000}, {8192}, {50001}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        compare("add", run_add, sizes[i]);
}

static void adamw(void **state) {
    (void)state;
    const int64_t counts[] = {1, 1000, 8192, 20001};
    for (size_t i = 0; i < 4; i++)
        for (int64_t clip = 0; clip < 2; clip++)
            compare("adamw", run_adamw, (int64_t[]){counts[i], clip, 0});
    Device *d = open_device(UNDER_TEST, 1); /* a loss that is not finite changes nothing */
    Outcome o = run_adamw(d, (int64_t[]){100, 0, 1});
    float *before = fill(100, 1, 1);
    under_test_settle();
    assert_memory_equal(o.out[0], before, 100 * sizeof *before);
    shared_free(before);
    drop(&o);
    device_close(d);
}

int main(int count, char **arguments) {
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(linear_gelu),
        cmocka_unit_test(linear_of_many_tokens),
        cmocka_unit_test(layernorm),
        cmocka_unit_test(gelu),
        cmocka_unit_test(gelu_is_exact_in_the_tail),
        cmocka_unit_test(attention),
        cmocka_unit_test(attention_does_not_see_the_future),
        cmocka_unit_test(rope),
        cmocka_unit_test(swiglu),
        cmocka_unit_test(patches),
        cmocka_unit_test(rows),
        cmocka_unit_test(rows_sums),
        cmocka_unit_test(rows_without_an_entry),
        cmocka_unit_test(no_rows),
        cmocka_unit_test(losses),
        cmocka_unit_test(adamw),
        cmocka_unit_test(add),
        cmocka_unit_test(sums),
        cmocka_unit_test(shards),
    };
    return cmocka_run_group_tests(tests, NULL, close_compared);
}
