/* Losses, AdamW and the operations over views at sizes of several tiles, on memory that is aligned
 * to 16 bytes and on memory that begins 4, 8 or 12 bytes later. How elements are read must not
 * change the order in which they are added: the same bits as aligned, in every variant of the
 * device under test (under_test.h), and near the reference device.
 *
 * Tolerance: 4e-6 of the largest entry of a tensor, as in test_operations.c; 1e-7 of a sum: the
 * sums are double, what the spread regulariser adds is rounded to float32. */
#include "base/random.h"
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

#define TOLERANCE     4e-6
#define SUM_TOLERANCE 1e-7
#define BLOCKS        16
#define OUTPUTS       6
#define SCALARS       3

/* What a run allocated, and what of it operations wrote. */
typedef struct Outcome {
    int offset; /* elements by which memory is off a multiple of 16 bytes */
    void *block[BLOCKS];
    int blocks;
    float *out[OUTPUTS];
    int64_t count[OUTPUTS];
    double *scalar; /* [SCALARS] */
} Outcome;

static float *fill(Outcome *o, int64_t count, double scale, uint64_t seed) {
    assert_true(o->blocks < BLOCKS);
    float *x = shared_new(sizeof *x * (size_t)(count + 4));
    o->block[o->blocks++] = x;
    x += o->offset;
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(scale * random_normal(&random));
    return x;
}

/* The same, to be compared. */
static float *out(Outcome *o, int k, int64_t count, double scale, uint64_t seed) {
    o->count[k] = count;
    return o->out[k] = fill(o, count, scale, seed);
}

typedef void Run(Outcome *o, const int64_t *sizes, Device *d);

static Device *open_device(const char *name, int variant) {
    Device *device;
    Error error = {0};
    assert_int_equal(strcmp(name, UNDER_TEST) ? device_open(&device, name, 1, &error)
                                              : under_test_open(&device, variant, &error),
                     0);
    ScratchNeeds needs = {.elements = 1 << 20, .rows = 1 << 12, .width = 1 << 10};
    assert_int_equal(device_reserve(device, device_scratch_bytes(device, &needs), &error), 0);
    return device;
}

static Outcome run_on(Run *run, const int64_t *sizes, int offset, Device *device) {
    Outcome o = {.offset = offset};
    o.scalar = shared_new(SCALARS * sizeof *o.scalar);
    for (int i = 0; i < SCALARS; i++)
        o.scalar[i] = i; /* is added to */
    run(&o, sizes, device);
    under_test_settle();
    return o;
}

static void drop(Outcome *o) {
    for (int i = 0; i < o->blocks; i++)
        shared_free(o->block[i]);
    shared_free(o->scalar);
}

static void assert_near(const char *what, const Outcome *ours, const Outcome *theirs) {
    for (int i = 0; i < SCALARS; i++)
        if (!(fabs(ours->scalar[i] - theirs->scalar[i]) <=
              SUM_TOLERANCE * (1 + fabs(theirs->scalar[i]))))
            fail_msg("%s: sum %d is %.15g, expected %.15g", what, i, ours->scalar[i],
                     theirs->scalar[i]);
    for (int k = 0; k < OUTPUTS; k++) {
        double largest = 1e-30;
        for (int64_t i = 0; i < theirs->count[k]; i++)
            largest = fmax(largest, fabs((double)theirs->out[k][i]));
        for (int64_t i = 0; i < theirs->count[k]; i++)
            if (!(fabs((double)ours->out[k][i] - theirs->out[k][i]) <= TOLERANCE * largest))
                fail_msg("%s: output %d, entry %lld is %g, expected %g (largest %g)", what, k,
                         (long long)i, ours->out[k][i], theirs->out[k][i], largest);
    }
}

static void compare(const char *what, Run *run, const int64_t *sizes) {
    Device *reference = open_device("reference", 0);
    Outcome first = {0}, expected = run_on(run, sizes, 0, reference);
    for (int variant = 0; variant < UNDER_TEST_VARIANTS; variant++) {
        Device *d = open_device(UNDER_TEST, variant);
        for (int offset = 0; offset < 4; offset++) {
            Outcome o = run_on(run, sizes, offset, d);
            if (!variant && !offset) {
                first = o;
                assert_near(what, &o, &expected);
                continue;
            }
            if (memcmp(o.scalar, first.scalar, SCALARS * sizeof *o.scalar))
                fail_msg("%s: other sums in variant %d, off by %d", what, variant, offset);
            for (int k = 0; k < OUTPUTS; k++)
                if (o.count[k] &&
                    memcmp(o.out[k], first.out[k], (size_t)o.count[k] * sizeof *o.out[k]))
                    fail_msg("%s: other bits in variant %d, off by %d", what, variant, offset);
            drop(&o);
        }
        device_close(d);
    }
    drop(&first);
    drop(&expected);
    device_close(reference);
}

/* ---- losses ---- */

static void run_loss(Outcome *o, const int64_t *s, Device *d) {
    int64_t rows = s[0], width = s[1];
    double power = (double)s[2] / 2;
    float *z = fill(o, rows * width, 1, 1), *h = fill(o, rows * width, 1, 2);
    float *weights = fill(o, rows, 1, 3);
    float *dz = out(o, 0, rows * width, 1, 4);
    for (int64_t i = 0; i < rows; i++)
        weights[i] = fabsf(weights[i]);
    d->loss_forward(&o->scalar[0], z, h, rows, width, power, 1e-3, s[3] ? weights : NULL, d);
    d->loss_backward(dz, z, h, rows, width, power, 1e-3, s[3] ? weights : NULL, d);
    d->loss_total(&o->scalar[1], o->scalar, 1, &o->scalar[2], 0.5, d);
}

static void losses(void **state) {
    (void)state;
    for (int64_t power = 0; power <= 5; power++) /* halves; 0: smooth L1 */
        for (int64_t weighted = 0; weighted < 2 && power != 1; weighted++) {
            compare("loss", run_loss, (int64_t[]){130, 96, power, weighted});
            compare("loss, wide", run_loss, (int64_t[]){5, 5124, power, weighted});
        }
    compare("loss, one column", run_loss, (int64_t[]){9000, 1, 2, 1});
    compare("loss, nothing", run_loss, (int64_t[]){0, 16, 2, 0});
}

static void run_spread(Outcome *o, const int64_t *s, Device *d) {
    int64_t width = s[0], settings = 2, samples = 3;
    int32_t cu[] = {0, 100, 100, 101, 103, 180, 300};
    float *z = fill(o, cu[6] * width, 1, 1), *dz = out(o, 0, cu[6] * width, 1e-3, 2);
    float *spread = out(o, 1, settings * samples * width, 1, 3);
    for (int64_t i = 0; i < cu[6] * width; i++)
        z[i] = 1.1f * z[i] + (float)(i % width); /* columns whose mean is far from 0 */
    d->spread_forward(&o->scalar[0], spread, z, cu, settings, samples, width, 0.1, d);
    d->spread_backward(dz, spread, z, cu, settings, samples, width, 0.1, d);
}

static void spread(void **state) {
    (void)state;
    const int64_t widths[] = {1, 64, 100, 103};
    for (int i = 0; i < 4; i++)
        compare("spread", run_spread, &widths[i]);
}

/* ---- optimiser ---- */

/* *sum = Σ x² */
static void norm(double *sum, const float *x, int64_t count, Device *d) {
    int64_t blocks = shard_blocks(count);
    double *sums = shared_new((size_t)blocks * sizeof *sums);
    d->square_sums(sums, x, count, d);
    under_test_settle();
    *sum = 0;
    d->sums_add(sum, sums, 0, blocks, 1, blocks, 1, d);
    shared_free(sums);
}

static void run_adamw(Outcome *o, const int64_t *s, Device *d) {
    int64_t count = s[0];
    float *p = out(o, 0, count, 1, 1), *m = out(o, 1, count, 0.1, 2), *v = out(o, 2, count, 0.1, 3);
    float *target = s[1] ? out(o, 3, count, 1, 4) : NULL, *g = fill(o, count, 1, 5);
    AdamwSettings settings = {.lr = 1e-2,
                              .weight_decay = 0.1,
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-8,
                              .momentum = 0.99,
                              .max_norm = 0.5,
                              .step = 7};
    for (int64_t i = 0; i < count; i++)
        v[i] = i % 100 ? v[i] * v[i] : 0;
    norm(&o->scalar[0], g, count, d);
    if (s[2] == 1)
        o->scalar[1] = NAN;
    if (s[2] == 2)
        g[count / 2] = INFINITY;
    if (s[2] == 2)
        norm(&o->scalar[0], g, count, d);
    d->adamw_ema(p, m, v, target, g, count, &o->scalar[0], &o->scalar[1], &settings, d);
}

static void adamw(void **state) {
    (void)state;
    const int64_t counts[] = {1, 3, 4096, 4099, 70000};
    for (int i = 0; i < 5; i++)
        for (int64_t follows = 0; follows < 2; follows++)
            compare("adamw", run_adamw, (int64_t[]){counts[i], follows, 0});
    Device *d = open_device(UNDER_TEST,
                            1); /* a loss or a norm that is not finite changes nothing */
    for (int64_t what = 1; what < 3; what++) {
        Outcome o = run_on(run_adamw, (int64_t[]){5000, 1, what}, 0, d), before = {0};
        const int seeds[] = {1, 2, 3, 4};
        for (int k = 0; k < 4; k++) {
            float *x = fill(&before, 5000, k % 3 ? 0.1 : 1, (uint64_t)seeds[k]);
            for (int64_t i = 0; k == 2 && i < 5000; i++)
                x[i] = i % 100 ? x[i] * x[i] : 0;
            assert_memory_equal(o.out[k], x, 5000 * sizeof *x);
        }
        drop(&o);
        drop(&before);
    }
    device_close(d);
}

/* ---- views ---- */

static void run_batchnorm(Outcome *o, const int64_t *s, Device *d) {
    int64_t rows = s[0], width = s[1];
    float *x = fill(o, rows * width, 3, 1), *w = fill(o, width, 1, 2), *b = fill(o, width, 1, 3);
    float *dy = fill(o, rows * width, 1, 4), *y = out(o, 0, rows * width, 1, 5);
    float *mean = out(o, 1, width, 1, 6), *rstd = out(o, 2, width, 1, 7);
    float *moving = out(o, 3, 2 * width, 0.1, 8), *dx = out(o, 4, rows * width, 1, 9);
    float *gradients = out(o, 5, 2 * width, 1, 10);
    for (int64_t i = 0; i < rows * width; i++)
        x[i] += (float)(i % width);
    d->batchnorm_forward(y, mean, rstd, moving, moving + width, x, w, b, rows, width, 1e-5, 0.1, d);
    d->batchnorm_backward(dx, gradients, gradients + width, dy, x, mean, rstd, w, rows, width, d);
}

static void batchnorm(void **state) {
    (void)state;
    compare("batchnorm", run_batchnorm, (int64_t[]){700, 100});
    compare("batchnorm, many rows", run_batchnorm, (int64_t[]){5000, 8});
}

static void run_invariance(Outcome *o, const int64_t *s, Device *d) {
    float *e = fill(o, s[0] * s[1] * s[2], 1, 1);
    float *de = out(o, 0, s[0] * s[1] * s[2], 1, 2);
    d->invariance_forward(&o->scalar[0], e, s[0], s[1], s[2], 0.7, d);
    d->invariance_backward(de, e, s[0], s[1], s[2], 0.7, d);
}

static void invariance(void **state) {
    (void)state;
    compare("invariance", run_invariance, (int64_t[]){3, 70, 64});
    compare("invariance, odd", run_invariance, (int64_t[]){4, 91, 67});
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses),    cmocka_unit_test(spread),     cmocka_unit_test(adamw),
        cmocka_unit_test(batchnorm), cmocka_unit_test(invariance),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
