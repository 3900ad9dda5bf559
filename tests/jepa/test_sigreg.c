/* The head of the teacher-free objective: losses, embeddings and every gradient against float64
 * values of the published definition (data/sigreg.py), the same bits in every variant of the device
 * under test (tests/kernels/under_test.h), and the directions. */
#include "base/random.h"
#include "base/safetensors.h"
#include "jepa/sigreg.h"
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

#define TOLERANCE 1e-5 /* of the largest entry; float32 rounds at 6e-8, some dozens of times */

/* A head with its memory, weights and directions. */
typedef struct Fixture {
    Device *device;
    SigregHead head;
    SigregOffsets at;
    int64_t total; /* elements of the flat buffers */
    void *memory;
    float *weights, *gradients, *features, *dfeatures, *directions;
    SigregScalars *scalars;
} Fixture;

static void lay_out(Fixture *f, Arena *arena) {
    const SigregHeadShape *s = &f->head.shape;
    sigreg_head_take(&f->head, arena);
    f->weights = arena_floats(arena, f->total);
    f->gradients = arena_floats(arena, f->total);
    f->features = arena_floats(arena, s->views * s->clips * s->width);
    f->dfeatures = arena_floats(arena, s->views * s->clips * s->width);
    f->directions = arena_floats(arena, s->output * s->directions);
    f->scalars = arena_take(arena, 1, sizeof *f->scalars);
}

static Fixture make(SigregHeadShape s, const char *name, int variant) {
    Fixture f = {.head.shape = s};
    Error error = {0};
    int64_t *offsets[] = {&f.at.w0, &f.at.b0, &f.at.bn_w, &f.at.bn_b, &f.at.w3, &f.at.b3};
    int64_t counts[] = {s.hidden * s.width,  s.hidden, s.hidden, s.hidden,
                        s.output * s.hidden, s.output};
    for (int i = 0; i < 6; i++) {
        *offsets[i] = f.total + 3; /* not where the buffer begins */
        f.total += counts[i] + 3;
    }
    assert_int_equal(strcmp(name, UNDER_TEST) ? device_open(&f.device, name, 1, &error)
                                              : under_test_open(&f.device, variant, &error),
                     0);
    size_t scratch = device_scratch_bytes(f.device, &(ScratchNeeds){.elements = s.clips * s.output,
                                                                    .rows = s.views * s.clips,
                                                                    .width = s.hidden});
    assert_int_equal(device_reserve(f.device, scratch, &error), 0);
    Arena arena = {.kind = MEMORY_INPUT};
    lay_out(&f, &arena);
    assert_int_equal(arena.kind, MEMORY_INPUT);
    size_t planned = arena.used;
    f.memory = shared_new(planned);
    memset(f.memory, 0, planned);
    arena = (Arena){.base = f.memory};
    lay_out(&f, &arena);
    assert_int_equal(arena.used, planned);
    sigreg_head_start(&f.head, f.device);
    under_test_settle();
    return f;
}

static void done(Fixture *f) {
    shared_free(f->memory);
    device_close(f->device);
}

static void run(Fixture *f, double lambda) {
    sigreg_head_forward(f->scalars, &f->head, f->features, f->weights, &f->at, f->directions,
                        lambda, f->device);
    sigreg_head_backward(f->dfeatures, f->gradients, &f->head, f->features, f->weights, &f->at,
                         f->directions, lambda, f->device);
    under_test_settle();
}

/* ---- published values ---- */

static double *golden(const Safetensors *file, const char *name, int64_t count) {
    const TensorInfo *tensor = safetensors_find(file, name);
    if (!tensor || tensor->type != TENSOR_F64 || tensor->bytes != (size_t)count * sizeof(double))
        fail_msg("no tensor %s of %lld float64 numbers", name, (long long)count);
    double *values = malloc((size_t)count * sizeof *values);
    memcpy(values, tensor->data, (size_t)count * sizeof *values);
    return values;
}

/* The tolerance is a fraction of the largest entry, or of `scale` where that is larger. */
static void assert_golden(const Safetensors *file, const char *name, const float *ours,
                          int64_t count, double scale) {
    double *exact = golden(file, name, count);
    for (int64_t i = 0; i < count; i++)
        scale = fmax(scale, fabs(exact[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(ours[i] - exact[i]) <= TOLERANCE * scale))
            fail_msg("%s: entry %lld is %.9g, expected %.9g", name, (long long)i, ours[i],
                     exact[i]);
    free(exact);
}

static void read_inputs(Fixture *f, const Safetensors *file) {
    const SigregHeadShape *s = &f->head.shape;
    struct {
        const char *name;
        float *to;
        int64_t count;
    } const inputs[] = {
        {"features", f->features, s->views * s->clips * s->width},
        {"net.0.weight", f->weights + f->at.w0, s->hidden * s->width},
        {"net.0.bias", f->weights + f->at.b0, s->hidden},
        {"net.1.weight", f->weights + f->at.bn_w, s->hidden},
        {"net.1.bias", f->weights + f->at.bn_b, s->hidden},
        {"net.3.weight", f->weights + f->at.w3, s->output * s->hidden},
        {"net.3.bias", f->weights + f->at.b3, s->output},
        {"directions", f->directions, s->output * s->directions},
    };
    Error error = {0};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (safetensors_floats(inputs[i].to, (size_t)inputs[i].count, file, inputs[i].name, &error))
            fail_msg("%s", error.text);
}

static void matches_published_values(void **state) {
    (void)state;
    SigregHeadShape s = {3, 5, 12, 16, 8, 10, 17, false};
    const double lambda = 0.5; /* so that both losses weigh */
    Safetensors file;
    Error error = {0};
    if (safetensors_open(&file, JEPA_SOURCE_DIR "/tests/jepa/data/sigreg.safetensors", &error))
        fail_msg("%s", error.text);
    const char *const names[] = {UNDER_TEST, "reference"};
    for (int i = 0; i < 2; i++) {
        Fixture f = make(s, names[i], 1);
        read_inputs(&f, &file);
        run(&f, lambda);
        double *scalars = golden(&file, "scalars", 3);
        assert_true(fabs(f.scalars->invariance / scalars[0] - 1) < TOLERANCE);
        assert_true(fabs(f.scalars->sigreg / scalars[1] - 1) < TOLERANCE);
        assert_true(fabs(f.scalars->total / scalars[2] - 1) < TOLERANCE);
        free(scalars);
        double *statistic = golden(&file, "statistic", s.views * s.directions);
        for (int64_t k = 0; k < s.views * s.directions; k++)
            assert_true(fabs(f.head.statistic[k] / statistic[k] - 1) < TOLERANCE);
        free(statistic);
        const float *g = f.gradients;
        assert_golden(&file, "embeddings", f.head.embeddings, s.views * s.clips * s.output, 0);
        assert_golden(&file, "d.features", f.dfeatures, s.views * s.clips * s.width, 0);
        assert_golden(&file, "d.net.0.weight", g + f.at.w0, s.hidden * s.width, 0);
        /* Batch normalisation takes a shift away: this gradient is 0 but for rounding, to be
         * measured by the terms that cancel. */
        assert_golden(&file, "d.net.0.bias", g + f.at.b0, s.hidden, 1);
        assert_golden(&file, "d.net.1.weight", g + f.at.bn_w, s.hidden, 0);
        assert_golden(&file, "d.net.1.bias", g + f.at.bn_b, s.hidden, 0);
        assert_golden(&file, "d.net.3.weight", g + f.at.w3, s.output * s.hidden, 0);
        assert_golden(&file, "d.net.3.bias", g + f.at.b3, s.output, 0);
        assert_golden(&file, "net.1.running_mean", f.head.running_mean, s.hidden, 0);
        assert_golden(&file, "net.1.running_var", f.head.running_var, s.hidden, 0);
        done(&f);
    }
    safetensors_close(&file);
}

/* Without the factor G, and lambda G: the same total and gradients. */
static void normalises_by_clips(void **state) {
    (void)state;
    SigregHeadShape s = {3, 5, 12, 16, 8, 10, 17, false};
    Safetensors file;
    Error error = {0};
    if (safetensors_open(&file, JEPA_SOURCE_DIR "/tests/jepa/data/sigreg.safetensors", &error))
        fail_msg("%s", error.text);
    Fixture with = make(s, UNDER_TEST, 0);
    s.normalize_by_n = true;
    Fixture without = make(s, UNDER_TEST, 0);
    read_inputs(&with, &file);
    read_inputs(&without, &file);
    run(&with, 0.5);
    run(&without, 2.5);
    assert_true(fabs(5 * without.scalars->sigreg / with.scalars->sigreg - 1) < 1e-12);
    assert_true(fabs(without.scalars->total / with.scalars->total - 1) < 1e-12);
    for (int64_t i = 0; i < with.total; i++)
        assert_true(fabsf(with.gradients[i] - without.gradients[i]) < 1e-6f);
    done(&with);
    done(&without);
    safetensors_close(&file);
}

/* ---- variants, steps ---- */

static void fill(float *x, int64_t count, double scale, uint64_t slot) {
    Random random = random_at(3, RANDOM_TEST, 0, slot);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(scale * random_normal(&random));
}

static Fixture larger(int variant) {
    SigregHeadShape s = {4, 40, 48, 150, 40, 200, SIGREG_KNOTS, false};
    Fixture f = make(s, UNDER_TEST, variant);
    fill(f.features, s.views * s.clips * s.width, 1, 0);
    fill(f.weights, f.total, 0.2, 1);
    sigreg_directions(f.directions, s.output, s.directions, 7, 3);
    return f;
}

static void variants_agree(void **state) {
    (void)state;
    Fixture one = larger(0);
    run(&one, SIGREG_LAMBDA);
    const SigregHeadShape *s = &one.head.shape;
    for (int variant = 1; variant < UNDER_TEST_VARIANTS; variant++) {
        Fixture many = larger(variant);
        run(&many, SIGREG_LAMBDA);
        assert_memory_equal(one.scalars, many.scalars, sizeof *one.scalars);
        assert_memory_equal(one.gradients, many.gradients, (size_t)one.total * sizeof(float));
        assert_memory_equal(one.dfeatures, many.dfeatures,
                            (size_t)(s->views * s->clips * s->width) * sizeof(float));
        assert_memory_equal(one.head.running_var, many.head.running_var,
                            (size_t)s->hidden * sizeof(float));
        done(&many);
    }
    done(&one);
}

/* Along the gradient g the loss changes by |g| per unit of length. Central difference over a step
 * of 1e-2, weights being some 23 long: float32 leaves 1e-4 of it, the third derivative less. */
static void loss_changes_along_the_gradient(void **state) {
    (void)state;
    Fixture f = larger(1);
    run(&f, SIGREG_LAMBDA);
    float *g = malloc((size_t)f.total * sizeof *g);
    memcpy(g, f.gradients, (size_t)f.total * sizeof *g);
    double square = 0, loss[2];
    for (int64_t i = 0; i < f.total; i++)
        square += (double)g[i] * g[i];
    float step = (float)(1e-2 / sqrt(square));
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < f.total; i++)
            f.weights[i] += (side ? -2 : 1) * step * g[i];
        run(&f, SIGREG_LAMBDA);
        loss[side] = f.scalars->total;
    }
    assert_true(fabs((loss[0] - loss[1]) / 2e-2 / sqrt(square) - 1) < 1e-3);
    free(g);
    done(&f);
}

/* Gradients of parameters are added to, that of the features is not. */
static void gradients_are_added_to(void **state) {
    (void)state;
    Fixture f = larger(1);
    run(&f, SIGREG_LAMBDA);
    float once = f.gradients[f.at.bn_w], feature = f.dfeatures[5];
    run(&f, SIGREG_LAMBDA);
    assert_true(once != 0 && f.gradients[f.at.bn_w] == 2 * once);
    assert_true(f.dfeatures[5] == feature);
    done(&f);
}

/* ---- directions ---- */

static void directions_are_unit_and_recomputable(void **state) {
    (void)state;
    enum { WIDTH = 32, COUNT = 500 };
    float *a = malloc(WIDTH * COUNT * sizeof *a), *b = malloc(WIDTH * COUNT * sizeof *b);
    double mean = 0, fourth = 0;
    sigreg_directions(a, WIDTH, COUNT, 1, 2);
    for (int m = 0; m < COUNT; m++) {
        double square = 0;
        for (int k = 0; k < WIDTH; k++) {
            double x = a[k * COUNT + m];
            square += x * x;
            mean += x / (WIDTH * COUNT);
            fourth += x * x * x * x / (WIDTH * COUNT);
        }
        assert_true(fabs(square - 1) < 1e-6);
    }
    /* uniform on the sphere: E x = 0, E x⁴ = 3 / (K (K + 2)); 16000 numbers, four deviations */
    assert_true(fabs(mean) < 4 / sqrt(WIDTH) / sqrt(WIDTH * COUNT));
    assert_true(fabs(fourth * WIDTH * (WIDTH + 2) / 3 - 1) < 0.1);
    sigreg_directions(b, WIDTH, COUNT, 1, 2);
    assert_memory_equal(a, b, WIDTH * COUNT * sizeof *a);
    sigreg_directions(b, WIDTH, COUNT - 100, 1, 2); /* column m depends on nothing but m */
    for (int k = 0; k < WIDTH; k++)
        assert_memory_equal(a + k * COUNT, b + k * (COUNT - 100), (COUNT - 100) * sizeof *a);
    sigreg_directions(b, WIDTH, COUNT, 1, 3);
    assert_memory_not_equal(a, b, WIDTH * COUNT * sizeof *a);
    sigreg_directions(b, WIDTH, COUNT, 2, 2);
    assert_memory_not_equal(a, b, WIDTH * COUNT * sizeof *a);
    free(a), free(b);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_published_values),
        cmocka_unit_test(normalises_by_clips),
        cmocka_unit_test(variants_agree),
        cmocka_unit_test(loss_changes_along_the_gradient),
        cmocka_unit_test(gradients_are_added_to),
        cmocka_unit_test(directions_are_unit_and_recomputable),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
