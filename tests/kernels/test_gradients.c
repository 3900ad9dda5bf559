/* The backward passes of the operations against differences of their plain formulas, both in double
 * precision, on the reference device and the one under test (under_test.h), for one table of sizes:
 * one row, odd widths, more rows than a tile's remainder. (Attention has the same in
 * test_attention.c, SIGReg's operations in test_sigreg.c.)
 *
 * Tolerance: 2e-6 of the largest entry of a gradient. Central differences with a step of 1e-5 are
 * off by some 1e-10 here, float32 sums of a few hundred terms by 1e-6. */
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

#define TOLERANCE 2e-6
#define STEP      1e-5
#define PARTS     3

typedef struct Sizes {
    int64_t rows, in, out;
} Sizes;

static const Sizes table[] = {{1, 5, 7}, {3, 16, 8}, {17, 12, 20}, {130, 6, 3}};

/* Inputs of an operation, in double and as floats; those that have no gradient lie in `fixed`. */
typedef struct Values {
    Sizes s;
    int64_t count[PARTS];
    double *x[PARTS];
    float *f[PARTS], *gradient[PARTS];
    double *dy; /* L = Σ dy y */
    float *fdy;
    int64_t outputs;
    double power;
} Values;

typedef double Loss(const Values *v);
typedef void Backward(Values *v, Device *d);

static double normal(double x) {
    return 0.5 * erfc(-x * M_SQRT1_2);
}

static double linear_loss(const Values *v) {
    double loss = 0;
    for (int64_t r = 0; r < v->s.rows; r++)
        for (int64_t o = 0; o < v->s.out; o++) {
            double y = v->x[2][o];
            for (int64_t i = 0; i < v->s.in; i++)
                y += v->x[0][r * v->s.in + i] * v->x[1][o * v->s.in + i];
            loss += v->dy[r * v->s.out + o] * y;
        }
    return loss;
}
static void linear_gradient(Values *v, Device *d) {
    d->linear_backward_input(v->gradient[0], v->fdy, v->f[1], v->s.rows, v->s.in, v->s.out, d);
    d->linear_backward_weight(v->gradient[1], v->gradient[2], v->fdy, v->f[0], v->s.rows, v->s.in,
                              v->s.out, d);
}

/* y = gelu(a) wᵀ */
static double gelu_linear_loss(const Values *v) {
    double loss = 0;
    for (int64_t r = 0; r < v->s.rows; r++)
        for (int64_t o = 0; o < v->s.out; o++) {
            double y = 0;
            for (int64_t i = 0; i < v->s.in; i++) {
                double a = v->x[0][r * v->s.in + i];
                y += a * normal(a) * v->x[1][o * v->s.in + i];
            }
            loss += v->dy[r * v->s.out + o] * y;
        }
    return loss;
}
static void gelu_linear_gradient(Values *v, Device *d) {
    float *x = shared_new(sizeof *x * (size_t)(v->s.rows * v->s.in));
    d->linear_gelu_backward_input(v->gradient[0], x, v->fdy, v->f[1], v->f[0], v->s.rows, v->s.in,
                                  v->s.out, d);
    d->linear_backward_weight(v->gradient[1], NULL, v->fdy, x, v->s.rows, v->s.in, v->s.out, d);
    under_test_settle();
    shared_free(x);
}

static double layernorm_loss(const Values *v) {
    double loss = 0;
    int64_t n = v->s.in;
    for (int64_t r = 0; r < v->s.rows; r++) {
        const double *x = v->x[0] + r * n;
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < n; i++)
            mean += x[i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            variance += (x[i] - mean) * (x[i] - mean) / (double)n;
        for (int64_t i = 0; i < n; i++)
            loss += v->dy[r * n + i] *
                    ((x[i] - mean) / sqrt(variance + 1e-6) * v->x[1][i] + v->x[2][i]);
    }
    return loss;
}
static void layernorm_gradient(Values *v, Device *d) {
    int64_t rows = v->s.rows, n = v->s.in;
    float *y = shared_new(sizeof *y * (size_t)(rows * n)),
          *mean = shared_new(sizeof *mean * (size_t)rows),
          *rstd = shared_new(sizeof *rstd * (size_t)rows);
    d->layernorm_forward(y, mean, rstd, v->f[0], v->f[1], v->f[2], rows, n, 1e-6, d);
    d->layernorm_backward(v->gradient[0], NULL, v->gradient[1], v->gradient[2], v->fdy, v->f[0],
                          mean, rstd, v->f[1], rows, n, d);
    under_test_settle();
    shared_free(y), shared_free(mean), shared_free(rstd);
}

static double gelu_loss(const Values *v) {
    double loss = 0;
    for (int64_t i = 0; i < v->count[0]; i++)
        loss += v->dy[i] * v->x[0][i] * normal(v->x[0][i]);
    return loss;
}
static void gelu_gradient(Values *v, Device *d) {
    d->gelu_backward(v->gradient[0], v->fdy, v->f[0], v->count[0], d);
}

static double swiglu_loss(const Values *v) {
    double loss = 0;
    for (int64_t i = 0; i < v->count[0]; i++)
        loss += v->dy[i] * v->x[0][i] / (1 + exp(-v->x[0][i])) * v->x[1][i];
    return loss;
}
static void swiglu_gradient(Values *v, Device *d) {
    d->swiglu_backward(v->gradient[0], v->gradient[1], NULL, v->fdy, v->f[0], v->f[1], v->count[0],
                       d);
}

/* One head of 2 or more channels; x[0] is qkv, the angles are made up of the row's number. */
static double angle(int64_t row, int64_t channel, bool sine) {
    double theta = 0.3 * (double)(row + 1) * (double)(channel + 1);
    return (float)(sine ? sin(theta) : cos(theta));
}
static double rope_loss(const Values *v) {
    int64_t head = v->s.in / 2 * 2;
    double loss = 0;
    for (int64_t r = 0; r < v->s.rows; r++)
        for (int64_t part = 0; part < 3; part++)
            for (int64_t j = 0; j < head; j++) {
                const double *x = v->x[0] + (r * 3 + part) * head;
                double y = x[j];
                if (part < 2) /* values are not turned */
                    y = x[j] * angle(r, j, false) +
                        (j % 2 ? x[j - 1] : -x[j + 1]) * angle(r, j, true);
                loss += v->dy[(r * 3 + part) * head + j] * y;
            }
    return loss;
}
static void rope_gradient(Values *v, Device *d) {
    int64_t head = v->s.in / 2 * 2;
    float *angles = shared_new(sizeof *angles * (size_t)(v->s.rows * 2 * head));
    int32_t *token = shared_new(sizeof *token * (size_t)v->s.rows);
    for (int64_t r = 0; r < v->s.rows; r++) {
        token[r] = (int32_t)r;
        for (int64_t j = 0; j < head; j++) {
            angles[r * 2 * head + j] = (float)angle(r, j, false);
            angles[r * 2 * head + head + j] = (float)angle(r, j, true);
        }
    }
    memcpy(v->gradient[0], v->fdy, sizeof(float) * (size_t)v->count[0]);
    d->rope_backward(v->gradient[0], angles, token, v->s.rows, head, 1, d);
    under_test_settle();
    shared_free(angles), shared_free(token);
}

/* |z - h|^p / p, or smooth L1, with dy for h. */
static double power_loss(const Values *v) {
    double loss = 0;
    for (int64_t i = 0; i < v->count[0]; i++) {
        double e = fabs(v->x[0][i] - v->fdy[i]);
        loss += v->power == LOSS_SMOOTH_L1 ? (e < 1 ? e * e / 2 : e - 0.5)
                                           : pow(e, v->power) / v->power;
    }
    return 0.7 * loss;
}
static void power_gradient(Values *v, Device *d) {
    d->loss_backward(v->gradient[0], v->f[0], v->fdy, v->s.rows, v->s.in, v->power, 0.7, NULL, d);
}

static void new_part(Values *v, int part, int64_t count) {
    Random random = random_at(11, RANDOM_TEST, 0, (uint64_t)part);
    v->count[part] = count;
    v->x[part] = malloc(sizeof(double) * (size_t)count);
    v->f[part] = shared_new(sizeof(float) * (size_t)count);
    v->gradient[part] = shared_new(sizeof(float) * (size_t)count);
    memset(v->gradient[part], 0, sizeof(float) * (size_t)count);
    for (int64_t i = 0; i < count; i++)
        v->x[part][i] = v->f[part][i] = (float)random_normal(&random);
}

static Values new_values(Sizes s, const int64_t *counts, int64_t outputs) {
    Values v = {.s = s, .outputs = outputs};
    Random random = random_at(12, RANDOM_TEST, 0, 0);
    for (int k = 0; k < PARTS; k++)
        if (counts[k])
            new_part(&v, k, counts[k]);
    v.dy = malloc(sizeof(double) * (size_t)outputs);
    v.fdy = shared_new(sizeof(float) * (size_t)outputs);
    for (int64_t i = 0; i < outputs; i++)
        v.dy[i] = v.fdy[i] = (float)random_normal(&random);
    return v;
}

static void drop(Values *v) {
    for (int k = 0; k < PARTS; k++)
        free(v->x[k]), shared_free(v->f[k]), shared_free(v->gradient[k]);
    free(v->dy), shared_free(v->fdy);
}

/* Every entry of every input that has a gradient. */
static void check(const char *name, Values *v, Loss *loss, Backward *backward, Device *d) {
    backward(v, d);
    under_test_settle();
    for (int k = 0; k < PARTS && v->x[k]; k++) {
        double largest = 1e-30, worst = 0;
        for (int64_t i = 0; i < v->count[k]; i++) {
            double at = v->x[k][i];
            v->x[k][i] = at + STEP;
            double above = loss(v);
            v->x[k][i] = at - STEP;
            double slope = (above - loss(v)) / (2 * STEP);
            v->x[k][i] = at;
            largest = fmax(largest, fabs(slope));
            worst = fmax(worst, fabs(slope - v->gradient[k][i]));
        }
        if (!(worst <= TOLERANCE * largest))
            fail_msg("%s on %s, %lld x %lld x %lld, input %d: off by %g of %g", name, d->name,
                     (long long)v->s.rows, (long long)v->s.in, (long long)v->s.out, k, worst,
                     largest);
    }
    drop(v);
}

typedef void Check(Sizes s, Device *d);

static void check_linear(Sizes s, Device *d) {
    Values v = new_values(s, (int64_t[]){s.rows * s.in, s.in * s.out, s.out}, s.rows * s.out);
    check("linear", &v, linear_loss, linear_gradient, d);
}

static void check_gelu_linear(Sizes s, Device *d) {
    Values v = new_values(s, (int64_t[]){s.rows * s.in, s.in * s.out, 0}, s.rows * s.out);
    check("gelu and linear", &v, gelu_linear_loss, gelu_linear_gradient, d);
}

static void check_layernorm(Sizes s, Device *d) {
    Values v = new_values(s, (int64_t[]){s.rows * s.in, s.in, s.in}, s.rows * s.in);
    check("layernorm", &v, layernorm_loss, layernorm_gradient, d);
}

static void check_gelu(Sizes s, Device *d) {
    Values v = new_values(s, (int64_t[]){s.rows * s.in, 0, 0}, s.rows * s.in);
    check("gelu", &v, gelu_loss, gelu_gradient, d);
}

static void check_swiglu(Sizes s, Device *d) {
    Values v = new_values(s, (int64_t[]){s.rows * s.in, s.rows * s.in, 0}, s.rows * s.in);
    check("swiglu", &v, swiglu_loss, swiglu_gradient, d);
}

static void check_rope(Sizes s, Device *d) {
    int64_t head = s.in / 2 * 2;
    Values v = new_values(s, (int64_t[]){s.rows * 3 * head, 0, 0}, s.rows * 3 * head);
    check("rope", &v, rope_loss, rope_gradient, d);
}

static void check_loss(Sizes s, Device *d) {
    const double powers[] = {2, 3, LOSS_SMOOTH_L1};
    for (int p = 0; p < 3; p++) {
        Values v = new_values(s, (int64_t[]){s.rows * s.in, 0, 0}, s.rows * s.in);
        v.power = powers[p];
        check("loss", &v, power_loss, power_gradient, d);
    }
}

static void on_devices(Check *check_sizes) {
    for (int i = 0; i < 2; i++) {
        Device *d;
        Error error = {0};
        assert_int_equal(
            i ? under_test_open(&d, 1, &error) : device_open(&d, "reference", 1, &error), 0);
        assert_int_equal(device_reserve(d,
                                        device_scratch_bytes(d, &(ScratchNeeds){.elements = 1 << 16,
                                                                                .rows = 1 << 10,
                                                                                .width = 1 << 10}),
                                        &error),
                         0);
        for (size_t k = 0; k < sizeof table / sizeof *table; k++)
            check_sizes(table[k], d);
        device_close(d);
    }
}

static void linear(void **state) {
    (void)state;
    on_devices(check_linear);
}

static void gelu_linear(void **state) {
    (void)state;
    on_devices(check_gelu_linear);
}

static void layernorm(void **state) {
    (void)state;
    on_devices(check_layernorm);
}

static void gelu(void **state) {
    (void)state;
    on_devices(check_gelu);
}

static void swiglu(void **state) {
    (void)state;
    on_devices(check_swiglu);
}

static void rope(void **state) {
    (void)state;
    on_devices(check_rope);
}

static void loss(void **state) {
    (void)state;
    on_devices(check_loss);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear), cmocka_unit_test(gelu_linear), cmocka_unit_test(layernorm),
        cmocka_unit_test(gelu),   cmocka_unit_test(swiglu),      cmocka_unit_test(rope),
        cmocka_unit_test(loss),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
