/* The objective over views: sin and cos, batch normalisation, the invariance loss and SIGReg. Each
 * operation of the device under test (under_test.h) against the reference device, bit for bit
 * against itself in other variants, and both against central differences of the formula, written
 * here in double.
 *
 * Tolerances are relative to the largest entry of a tensor. Against the reference 4e-6, for the
 * float32 sums of up to a thousand terms (see test_operations.c). Against differences 1e-5: those
 * are exact to about 1e-9 (step 1e-5, double), and the operations round to float32 a few times. */
#include "base/random.h"
#include "kernels/cpu/math.h"
#include "kernels/device.h"
#include "tests/kernels/under_test.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REFERENCE_TOLERANCE  4e-6
#define DIFFERENCE_TOLERANCE 1e-5
#define STEP                 1e-5

static float *fill(int64_t count, double scale, double shift, uint64_t seed) {
    float *x = shared_new(sizeof *x * (size_t)count);
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(shift + scale * random_normal(&random));
    return x;
}

static float *blank(int64_t count) {
    return fill(count, 1, 0, 99); /* so that what must be overwritten is not zero */
}

/* [K][M] with columns of length 1 */
static float *unit_columns(int64_t width, int64_t directions) {
    float *a = fill(width * directions, 1, 0, 77);
    for (int64_t m = 0; m < directions; m++) {
        double square = 0;
        for (int64_t k = 0; k < width; k++)
            square += (double)a[k * directions + m] * a[k * directions + m];
        for (int64_t k = 0; k < width; k++)
            a[k * directions + m] = (float)(a[k * directions + m] / sqrt(square));
    }
    return a;
}

/* A double that operations add to, and its value afterwards. */
static double *scalar(double value) {
    double *x = shared_new(sizeof *x);
    *x = value;
    return x;
}

static double scalar_take(double *x) {
    under_test_settle();
    double value = *x;
    shared_free(x);
    return value;
}

static Device *open_device(const char *name, int variant) {
    Device *device;
    Error error = {0};
    assert_int_equal(strcmp(name, UNDER_TEST) ? device_open(&device, name, 1, &error)
                                              : under_test_open(&device, variant, &error),
                     0);
    assert_int_equal(
        device_reserve(
            device,
            device_scratch_bytes(
                device, &(ScratchNeeds){.elements = 1 << 20, .rows = 1 << 10, .width = 1 << 10}),
            &error),
        0);
    return device;
}

static void assert_near(const char *what, const float *ours, const double *exact, int64_t count,
                        double tolerance) {
    double largest = 1e-30;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(exact[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(ours[i] - exact[i]) <= tolerance * largest))
            fail_msg("%s: entry %lld is %.9g, expected %.9g (largest %g)", what, (long long)i,
                     ours[i], exact[i], largest);
}

/* What an operation wrote. */
#define OUTPUTS 6
typedef struct Outcome {
    float *out[OUTPUTS];
    int64_t count[OUTPUTS];
    double loss; /* exact bits matter too */
} Outcome;

static void keep(Outcome *o, int k, float *x, int64_t count) {
    o->out[k] = x;
    o->count[k] = count;
}

static void drop(Outcome *o) {
    for (int k = 0; k < OUTPUTS; k++)
        shared_free(o->out[k]);
}

static void compare(const char *what, Outcome (*run)(Device *device, const int64_t *sizes),
                    const int64_t *sizes) {
    Device *reference = open_device("reference", 0), *one = open_device(UNDER_TEST, 0);
    Outcome expected = run(reference, sizes), first = run(one, sizes);
    under_test_settle();
    assert_true(fabs(first.loss - expected.loss) <= 1e-6 * fabs(expected.loss));
    for (int k = 0; k < OUTPUTS; k++) {
        double *exact = malloc(sizeof *exact * (size_t)(expected.count[k] + 1));
        for (int64_t i = 0; i < expected.count[k]; i++)
            exact[i] = expected.out[k][i];
        assert_near(what, first.out[k], exact, expected.count[k], REFERENCE_TOLERANCE);
        free(exact);
    }
    for (int variant = 1; variant < UNDER_TEST_VARIANTS; variant++) {
        Device *other = open_device(UNDER_TEST, variant);
        Outcome again = run(other, sizes);
        under_test_settle();
        assert_memory_equal(&again.loss, &first.loss, sizeof again.loss);
        for (int k = 0; k < OUTPUTS; k++)
            if (again.out[k] &&
                memcmp(again.out[k], first.out[k], (size_t)again.count[k] * sizeof(float)))
                fail_msg("%s: other bits in variant %d", what, variant);
        drop(&again);
        device_close(other);
    }
    drop(&expected);
    drop(&first);
    device_close(reference);
    device_close(one);
}

/* ∂f/∂x[i] by central differences for all i; f is written in double. */
static double *differences(double (*f)(const double *x, const void *context), const float *x,
                           int64_t count, const void *context) {
    double *at = malloc(sizeof *at * (size_t)count), *d = malloc(sizeof *d * (size_t)count);
    for (int64_t i = 0; i < count; i++)
        at[i] = x[i];
    for (int64_t i = 0; i < count; i++) {
        at[i] = x[i] + STEP;
        double above = f(at, context);
        at[i] = x[i] - STEP;
        d[i] = (above - f(at, context)) / (2 * STEP);
        at[i] = x[i];
    }
    free(at);
    return d;
}

/* ---- sin and cos ---- */

#ifndef JEPA_TEST_CUDA /* the CPU's own */

/* 2 units in the last place, each at most 2^-23 of the value, wherever reduction is exact. */
static void sine_and_cosine_are_exact(void **state) {
    (void)state;
    double largest = 0;
    for (int64_t i = -2000000; i <= 2000000; i++) {
        /* evenly over [-1e4, 1e4], and closer around 0 */
        float x = (float)(i % 2 ? (double)i * 5e-3 : (double)i * 1.0007e-5), s, c;
        sincos_f32(x, &s, &c);
        double sine = sin((double)x), cosine = cos((double)x);
        largest = fmax(largest, fabs(s - sine) / fmax(fabs(sine), 1e-30));
        largest = fmax(largest, fabs(c - cosine) / fmax(fabs(cosine), 1e-30));
    }
    if (largest > 2 * 0x1p-23)
        fail_msg("relative error %g = %.2f units", largest, largest * 0x1p23);
    /* multiples of π/2 rounded to float32: the reduction cancels all digits */
    for (int n = -6000; n <= 6000; n++) {
        float x = (float)(n * M_PI_2), s, c;
        sincos_f32(x, &s, &c);
        double sine = sin((double)x), cosine = cos((double)x);
        if (fabs(s - sine) > 2 * 0x1p-23 * fabs(sine) ||
            fabs(c - cosine) > 2 * 0x1p-23 * fabs(cosine))
            fail_msg("%d π/2: %.9g %.9g, expected %.9g %.9g", n, s, c, sine, cosine);
    }
}

static void sine_and_cosine_stay_bounded(void **state) {
    (void)state;
    float s, c;
    for (double x = 1e4; x < 1e38; x *= 1.37)
        for (int sign = -1; sign <= 1; sign += 2) {
            sincos_f32((float)(sign * x), &s, &c);
            assert_true(fabsf(s) <= 1.000001f && fabsf(c) <= 1.000001f);
            if (x <= 1e5)
                assert_true(fabs(s - sin((double)(float)(sign * x))) < 2e-6);
        }
    sincos_f32(0, &s, &c);
    assert_true(s == 0 && c == 1);
    const float no[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        sincos_f32(no[i], &s, &c);
        assert_true(isnan(s) && isnan(c));
    }
}

#endif

/* ---- batch normalisation ---- */

static Outcome run_batchnorm(Device *d, const int64_t *s) {
    int64_t rows = s[0], width = s[1];
    float *x = fill(rows * width, 3, 1, 1), *w = fill(width, 1, 0, 2), *b = fill(width, 1, 0, 3);
    float *dy = fill(rows * width, 1, 0, 4), *y = s[2] ? x : blank(rows * width);
    float *mean = blank(width), *rstd = blank(width), *moving = fill(2 * width, 0.1, 1, 5);
    float *dx = s[2] ? dy : blank(rows * width);
    float *gradients = fill(2 * width, 1, 0, 6); /* are added to */
    Outcome o = {0};
    float *before = fill(rows * width, 3, 1, 1);
    d->batchnorm_forward(y, mean, rstd, s[3] ? moving : NULL, s[3] ? moving + width : NULL, x, w, b,
                         rows, width, 1e-5, 0.1, d);
    d->batchnorm_backward(dx, gradients, gradients + width, dy, before, mean, rstd, w, rows, width,
                          d);
    shared_free(w), shared_free(b), shared_free(before);
    if (!s[2])
        shared_free(x), shared_free(dy);
    keep(&o, 0, y, rows * width);
    keep(&o, 1, mean, width);
    keep(&o, 2, rstd, width);
    keep(&o, 3, moving, 2 * width);
    keep(&o, 4, dx, rows * width);
    keep(&o, 5, gradients, 2 * width);
    return o;
}

static void batchnorm(void **state) {
    (void)state;
    const int64_t rows[] = {2, 3, 17, 128, 300}, widths[] = {1, 5, 64, 100};
    for (int r = 0; r < 5; r++)
        for (int k = 0; k < 4; k++)
            for (int64_t options = 0; options < 4; options++)
                compare("batchnorm", run_batchnorm,
                        (int64_t[]){rows[r], widths[k], options & 1, options >> 1});
}

enum { ROWS = 7, COLUMNS = 3 };

/* Σ dy · batchnorm(x); x[ROWS][COLUMNS], then w, then b */
static double normalised(const double *x, const void *context) {
    const float *dy = context;
    const double *w = x + ROWS * COLUMNS, *b = w + COLUMNS;
    double sum = 0;
    for (int c = 0; c < COLUMNS; c++) {
        double mean = 0, variance = 0;
        for (int r = 0; r < ROWS; r++)
            mean += x[r * COLUMNS + c] / ROWS;
        for (int r = 0; r < ROWS; r++)
            variance += pow(x[r * COLUMNS + c] - mean, 2) / ROWS;
        for (int r = 0; r < ROWS; r++)
            sum += dy[r * COLUMNS + c] *
                   ((x[r * COLUMNS + c] - mean) / sqrt(variance + 1e-5) * w[c] + b[c]);
    }
    return sum;
}

static void batchnorm_follows_differences(void **state) {
    (void)state;
    enum { COUNT = ROWS * COLUMNS };
    float *x = fill(COUNT + 2 * COLUMNS, 1, 0.3, 1), *dy = fill(COUNT, 1, 0, 2);
    double *exact = differences(normalised, x, COUNT + 2 * COLUMNS, dy);
    const char *const names[] = {UNDER_TEST, "reference"};
    for (int i = 0; i < 2; i++) {
        Device *d = open_device(names[i], 0);
        float *y = blank(COUNT), *mean = blank(COLUMNS), *rstd = blank(COLUMNS);
        float *gradient = fill(COUNT + 2 * COLUMNS, 0, 0, 0); /* zeros: is added to */
        const float *w = x + COUNT, *b = w + COLUMNS;
        d->batchnorm_forward(y, mean, rstd, NULL, NULL, x, w, b, ROWS, COLUMNS, 1e-5, 0.1, d);
        d->batchnorm_backward(gradient, gradient + COUNT, gradient + COUNT + COLUMNS, dy, x, mean,
                              rstd, w, ROWS, COLUMNS, d);
        under_test_settle();
        assert_near(names[i], gradient, exact, COUNT, DIFFERENCE_TOLERANCE);
        assert_near(names[i], gradient + COUNT, exact + COUNT, 2 * COLUMNS, DIFFERENCE_TOLERANCE);
        shared_free(y), shared_free(mean), shared_free(rstd), shared_free(gradient);
        device_close(d);
    }
    shared_free(x), shared_free(dy), free(exact);
}

/* ---- invariance ---- */

static Outcome run_invariance(Device *d, const int64_t *s) {
    int64_t count = s[0] * s[1] * s[2];
    float *e = fill(count, 1, 0, 1), *de = blank(count);
    double *loss = scalar(2); /* is added to */
    d->invariance_forward(loss, e, s[0], s[1], s[2], 0.7, d);
    d->invariance_backward(de, e, s[0], s[1], s[2], 0.7, d);
    Outcome o = {.loss = scalar_take(loss)};
    shared_free(e);
    keep(&o, 0, de, count);
    return o;
}

static void invariance(void **state) {
    (void)state;
    const int64_t views[] = {1, 2, 9}, clips[] = {1, 5, 130}, widths[] = {1, 8, 96};
    for (int v = 0; v < 3; v++)
        for (int g = 0; g < 3; g++)
            for (int k = 0; k < 3; k++)
                compare("invariance", run_invariance, (int64_t[]){views[v], clips[g], widths[k]});
    Device *d = open_device(UNDER_TEST, 1); /* one view agrees with itself */
    Outcome o = run_invariance(d, (int64_t[]){1, 5, 8});
    assert_true(o.loss == 2);
    for (int i = 0; i < 40; i++)
        assert_true(o.out[0][i] == 0);
    drop(&o);
    device_close(d);
}

/* ---- SIGReg ---- */

static Outcome run_sigreg(Device *d, const int64_t *s) {
    SigregShape shape = {s[0], s[1], s[2], s[3], (int)s[4]};
    int64_t rows = s[0] * s[1], across = s[0] * s[3];
    float *e = fill(rows * s[2], 1, 0.2, 1), *a = unit_columns(s[2], s[3]);
    float *x = blank(rows * s[3]), *gap = blank(across * 2 * s[4]);
    float *de = fill(rows * s[2], 1e-3, 0, 3); /* is added to */
    double *exact = shared_new(sizeof *exact * (size_t)across);
    double *loss = scalar(0.5); /* is added to */
    d->sigreg_forward(loss, exact, x, gap, e, a, &shape, 0.3, d);
    d->sigreg_backward(de, x, gap, a, &shape, 0.3, d);
    Outcome o = {.loss = scalar_take(loss)};
    float *statistic = shared_new(sizeof *statistic * (size_t)across);
    for (int64_t i = 0; i < across; i++)
        statistic[i] = (float)exact[i];
    shared_free(e), shared_free(a), shared_free(exact);
    keep(&o, 0, de, rows * s[2]);
    keep(&o, 1, x, rows * s[3]);
    keep(&o, 2, gap, across * 2 * s[4]);
    keep(&o, 3, statistic, across);
    return o;
}

static void sigreg(void **state) {
    (void)state;
    const int64_t cases[][5] = {{1, 1, 1, 1, 2},    {1, 2, 3, 5, 17},     {3, 5, 8, 10, 17},
                                {2, 33, 16, 64, 9}, {9, 16, 20, 130, 17}, {2, 150, 64, 100, 64},
                                {2, 40, 150, 70, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare("sigreg", run_sigreg, cases[i]);
}

enum { VIEWS = 3, CLIPS = 4, WIDTH = 5, DIRECTIONS = 6 };

/* weight 0.6 invariance + weight 1.7 SIGReg */
static double objective(const double *e, const void *context) {
    const float *a = context;
    double sum = 0;
    for (int v = 0; v < VIEWS; v++)
        for (int i = 0; i < CLIPS * WIDTH; i++)
            sum += 0.6 * pow(e[i] - e[v * CLIPS * WIDTH + i], 2) / (VIEWS * CLIPS * WIDTH);
    for (int v = 0; v < VIEWS; v++)
        for (int m = 0; m < DIRECTIONS; m++)
            for (int j = 0; j < 17; j++) {
                double t = 3.0 * j / 16, even = 0, odd = 0;
                for (int g = 0; g < CLIPS; g++) {
                    double x = 0;
                    for (int k = 0; k < WIDTH; k++)
                        x += e[(v * CLIPS + g) * WIDTH + k] * a[k * DIRECTIONS + m];
                    even += cos(t * x) / CLIPS;
                    odd += sin(t * x) / CLIPS;
                }
                double phi = exp(-t * t / 2), weight = (j % 16 ? 2 : 1) * (3.0 / 16) * phi;
                sum += 1.7 * CLIPS * weight * (pow(even - phi, 2) + odd * odd) /
                       (VIEWS * DIRECTIONS);
            }
    return sum;
}

static void losses_follow_differences(void **state) {
    (void)state;
    enum { COUNT = VIEWS * CLIPS * WIDTH };
    SigregShape shape = {VIEWS, CLIPS, WIDTH, DIRECTIONS, 17};
    float *e = fill(COUNT, 1, 0, 1), *a = unit_columns(WIDTH, DIRECTIONS);
    double *exact = differences(objective, e, COUNT, a), at[COUNT];
    for (int i = 0; i < COUNT; i++)
        at[i] = e[i];
    const char *const names[] = {UNDER_TEST, "reference"};
    for (int i = 0; i < 2; i++) {
        Device *d = open_device(names[i], 0);
        float *de = blank(COUNT), *x = blank(VIEWS * CLIPS * DIRECTIONS);
        float *gap = blank(VIEWS * 17 * 2 * DIRECTIONS);
        double *sum = scalar(0), *statistic = shared_new(sizeof *statistic * VIEWS * DIRECTIONS);
        d->invariance_forward(sum, e, VIEWS, CLIPS, WIDTH, 0.6, d);
        d->sigreg_forward(sum, statistic, x, gap, e, a, &shape, 1.7, d);
        double loss = scalar_take(sum);
        assert_true(fabs(loss - objective(at, a)) < 1e-6 * loss);
        d->invariance_backward(de, e, VIEWS, CLIPS, WIDTH, 0.6, d);
        d->sigreg_backward(de, x, gap, a, &shape, 1.7, d);
        under_test_settle();
        assert_near(names[i], de, exact, COUNT, DIFFERENCE_TOLERANCE);
        shared_free(de), shared_free(x), shared_free(gap), shared_free(statistic);
        device_close(d);
    }
    shared_free(e), shared_free(a), free(exact);
}

/* Mean statistic of 1000 embeddings of width 8 along 64 directions. */
static double mean_statistic(const float *e) {
    SigregShape shape = {1, 1000, 8, 64, 17};
    Device *d = open_device(UNDER_TEST, 1);
    float *a = unit_columns(8, 64), *x = blank(1000 * 64), *gap = blank(2 * 17 * 64);
    double *sum = scalar(0), *statistic = shared_new(64 * sizeof *statistic);
    d->sigreg_forward(sum, statistic, x, gap, e, a, &shape, 1, d);
    double loss = scalar_take(sum);
    shared_free(a), shared_free(x), shared_free(gap), shared_free(statistic);
    device_close(d);
    return loss;
}

/* What it is for. The statistic of a normal sample does not depend on its size: its expectation is
 * Σ_j weight_j (1 - phi(t_j)²), about 1.05, since G Var(cos) + G Var(sin) = 1 - phi². Others grow
 * with the size. */
static void sigreg_knows_a_normal_sample(void **state) {
    (void)state;
    double expected = 0;
    for (int j = 0; j < 17; j++) {
        SigregKnot knot = sigreg_knot(j, 17);
        expected += knot.weight * (1 - knot.phi * knot.phi);
    }
    float *e = fill(8000, 1, 0, 1);
    double normal = mean_statistic(e);
    assert_true(fabs(normal / expected - 1) < 0.25);
    for (int i = 0; i < 1000; i++) /* rank 2, of the same total variance */
        for (int k = 0; k < 8; k++)
            e[i * 8 + k] = k < 2 ? 2 * e[i * 8 + k] : 0;
    assert_true(mean_statistic(e) > 10 * normal);
    for (int i = 8; i < 8000; i++) /* collapsed: all equal */
        e[i] = e[i % 8];
    assert_true(mean_statistic(e) > 10 * normal);
    memset(e, 0, 8000 * sizeof *e);
    assert_true(mean_statistic(e) > 10 * normal);
    shared_free(e);
    e = fill(8000, 1.5, 0, 1); /* too wide */
    assert_true(mean_statistic(e) > 10 * normal);
    shared_free(e);
    e = fill(8000, 1, 1, 1); /* off centre */
    assert_true(mean_statistic(e) > 10 * normal);
    shared_free(e);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
#ifndef JEPA_TEST_CUDA
        cmocka_unit_test(sine_and_cosine_are_exact),
        cmocka_unit_test(sine_and_cosine_stay_bounded),
#endif
        cmocka_unit_test(batchnorm),
        cmocka_unit_test(batchnorm_follows_differences),
        cmocka_unit_test(invariance),
        cmocka_unit_test(sigreg),
        cmocka_unit_test(losses_follow_differences),
        cmocka_unit_test(sigreg_knows_a_normal_sample),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
