/* Linear probes: that what is found is the minimum, seen from outside; that few rows of many
 * features give the same as plain algebra; that threads change no bit. */
#include "base/file.h"
#include "base/random.h"
#include "eval/linear_weights.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH   5
#define CLASSES 3

/* Three Gaussian clouds in five dimensions. */
static void make_clouds(float *rows, int *labels, int n, double apart, uint64_t seed) {
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n; i++) {
        labels[i] = i % CLASSES;
        for (int d = 0; d < WIDTH; d++)
            rows[i * WIDTH + d] = (float)(random_normal(&random) * (d + 1) +
                                          (d == labels[i] ? apart * (d + 1) : 0));
    }
}

/* Rows of noise and two outputs that depend on some of it. */
static void make_values(float *rows, float *values, int n, int width, bool labels, uint64_t seed) {
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < width; d++)
            rows[i * width + d] = (float)(random_normal(&random) * (1 + d % 3) + d % 5);
        double a = rows[i * width] + 0.3 * random_normal(&random);
        double b = 40 * rows[i * width + 1] - 9 * rows[i * width + 2] + 7;
        values[2 * i] = labels ? a > 0 : (float)a;
        values[2 * i + 1] = labels ? b > 30 : (float)b;
    }
}

static void separable_clouds_are_separated(void **state) {
    (void)state;
    float rows[300 * WIDTH], test[300 * WIDTH], out[300 * CLASSES];
    int labels[300], test_labels[300];
    make_clouds(rows, labels, 300, 8, 1);
    make_clouds(test, test_labels, 300, 8, 2);
    Targets train = {.task = TASK_CLASSES, .count = 300, .outputs = CLASSES, .classes = labels};
    Targets said = {.task = TASK_CLASSES, .count = 300, .outputs = CLASSES, .classes = test_labels};
    LinearModel model;
    linear_fit(&model, rows, WIDTH, &train, LINEAR_SOFTMAX, 0.01, 1);
    assert_true(model.converged);
    linear_outputs(out, &model, test, 300);
    assert_true(score(&said, out, NULL) >= 298. / 300); /* clouds 8 standard deviations apart */
    linear_probabilities(out, 300, CLASSES, LINEAR_SOFTMAX);
    for (int i = 0; i < 300; i++)
        assert_true(fabs(out[3 * i] + out[3 * i + 1] + out[3 * i + 2] - 1.F) < 1e-6F);
    linear_free(&model);
}

/* The largest entry of the gradient of model's problem at its weights, computed here from the
 * definition; the values' own scale is taken out again. */
static double gradient_at(const LinearModel *m, const float *rows, const Targets *t) {
    int width = m->width, outputs = m->outputs;
    size_t size = (size_t)outputs * (size_t)(width + 1);
    double *gradient = memory_new(size, sizeof *gradient), largest = 0;
    double *x = memory_new((size_t)width + 1, sizeof *x);
    double *centre = memory_new((size_t)outputs, sizeof *centre);
    double *spread = memory_new((size_t)outputs, sizeof *spread), n = (double)t->count;
    bool numbers = m->loss == LINEAR_SQUARED || m->loss == LINEAR_HUBER;
    for (int k = 0; k < outputs; k++) {
        spread[k] = 1;
        if (!numbers)
            continue;
        for (int64_t i = 0; i < t->count; i++)
            centre[k] += t->values[i * outputs + k] / n;
        double square = 0;
        for (int64_t i = 0; i < t->count; i++)
            square += pow(t->values[i * outputs + k] - centre[k], 2) / n;
        spread[k] = sqrt(square);
    }
    for (int64_t i = 0; i < t->count; i++) {
        double s[8], sum = 0;
        for (int d = 0; d < width; d++)
            x[d] = (rows[i * width + d] - m->mean[d]) * m->scale[d];
        x[width] = 1;
        for (int k = 0; k < outputs; k++) {
            s[k] = -centre[k];
            for (int d = 0; d <= width; d++)
                s[k] += m->weights[k * (width + 1) + d] * x[d];
            s[k] /= spread[k];
            sum += exp(s[k]);
        }
        for (int k = 0; k < outputs; k++) {
            double e = t->values ? s[k] - (t->values[i * outputs + k] - centre[k]) / spread[k] : 0;
            double g = m->loss == LINEAR_SOFTMAX ? exp(s[k]) / sum - (k == t->classes[i])
                       : m->loss == LINEAR_SIGMOID
                           ? 1 / (1 + exp(-s[k])) - t->values[i * outputs + k]
                       : m->loss == LINEAR_SQUARED ? e
                                                   : fmax(-1, fmin(1, e));
            for (int d = 0; d <= width; d++)
                gradient[k * (width + 1) + d] += g * x[d] / n;
        }
    }
    for (int k = 0; k < outputs; k++)
        for (int d = 0; d <= width; d++) {
            size_t at = (size_t)k * (size_t)(width + 1) + (size_t)d;
            double penalty = d < width ? m->lambda * m->weights[at] / spread[k] : 0;
            largest = fmax(largest, fabs(gradient[at] + penalty));
        }
    free(gradient);
    free(x);
    free(centre);
    free(spread);
    return largest;
}

/* At the minimum the gradient vanishes; the solver's own limit is 1e-6. With more features than
 * rows it works in a basis of their span that leaves out what is shorter than 1e-6 of the longest
 * row. */
static void the_minimum_is_one(void **state) {
    (void)state;
    const int widths[] = {WIDTH, 150};
    for (int w = 0; w < 2; w++) {
        enum { n = 120 };
        int width = widths[w], labels[n];
        float *rows = memory_new((size_t)(n * width), sizeof *rows), values[2 * n];
        const double lambdas[] = {0.1, 1e-3};
        for (int l = 0; l < 2; l++)
            for (int loss = LINEAR_SOFTMAX; loss <= LINEAR_HUBER; loss++) {
                LinearModel m;
                Targets t = {.task = loss == LINEAR_SIGMOID ? TASK_LABELS : TASK_VALUES,
                             .count = n,
                             .outputs = 2,
                             .values = values};
                make_values(rows, values, n, width, loss <= LINEAR_SIGMOID, 3);
                for (int i = 0; i < n; i++)
                    labels[i] = (int)(values[2 * i] + values[2 * i + 1]);
                if (loss == LINEAR_SOFTMAX)
                    t = (Targets){
                        .task = TASK_CLASSES, .count = n, .outputs = 3, .classes = labels};
                linear_fit(&m, rows, width, &t, (LinearLoss)loss, lambdas[l], 1);
                assert_true(m.converged);
                assert_true(gradient_at(&m, rows, &t) < 1e-5);
                linear_free(&m);
            }
        free(rows);
    }
}

/* Ridge regression against (xᵀx / n + λ) w = xᵀy / n by elimination, on centred columns. */
static void ridge_solves_the_normal_equations(void **state) {
    (void)state;
    enum { n = 60, width = 4 };
    float rows[n * width], values[2 * n], out[2 * n];
    double x[n][width], a[width][width + 1], w[width], lambda = 0.3;
    make_values(rows, values, n, width, false, 8);
    Targets t = {.task = TASK_VALUES, .count = n, .outputs = 2, .values = values};
    LinearModel m;
    linear_fit(&m, rows, width, &t, LINEAR_SQUARED, lambda, 1);
    linear_outputs(out, &m, rows, n);
    for (int d = 0; d < width; d++) {
        double mean = 0, square = 0;
        for (int i = 0; i < n; i++)
            mean += rows[i * width + d] / (double)n;
        for (int i = 0; i < n; i++)
            square += pow(rows[i * width + d] - mean, 2) / n;
        for (int i = 0; i < n; i++)
            x[i][d] = (rows[i * width + d] - mean) / sqrt(square);
    }
    for (int k = 0; k < 2; k++) {
        double mean = 0;
        for (int i = 0; i < n; i++)
            mean += values[2 * i + k] / (double)n;
        for (int d = 0; d < width; d++) {
            a[d][width] = 0;
            for (int e = 0; e < width; e++)
                a[d][e] = d == e ? lambda : 0;
            for (int i = 0; i < n; i++) {
                a[d][width] += x[i][d] * (values[2 * i + k] - mean) / n;
                for (int e = 0; e < width; e++)
                    a[d][e] += x[i][d] * x[i][e] / n;
            }
        }
        for (int p = 0; p < width; p++)
            for (int r = 0; r < width; r++)
                for (int c = width; r != p && c >= p; c--)
                    a[r][c] -= a[r][p] / a[p][p] * a[p][c];
        for (int d = 0; d < width; d++)
            w[d] = a[d][width] / a[d][d];
        for (int i = 0; i < n; i++) {
            double said = mean;
            for (int d = 0; d < width; d++)
                said += w[d] * x[i][d];
            /* float32 outputs of values up to 300 */
            assert_true(fabs(said - out[2 * i + k]) < 1e-4 * fmax(1, fabs(said)));
        }
    }
    linear_free(&m);
}

/* Many rows of several classes, in as many chunks as there can be. */
static void threads_change_nothing(void **state) {
    (void)state;
    enum { n = 5000 };
    float *rows = memory_new(n * WIDTH, sizeof *rows);
    int *labels = memory_new(n, sizeof *labels);
    make_clouds(rows, labels, n, 1, 5);
    Targets t = {.task = TASK_CLASSES, .count = n, .outputs = CLASSES, .classes = labels};
    LinearModel one, many;
    linear_fit(&one, rows, WIDTH, &t, LINEAR_SOFTMAX, 0.01, 1);
    linear_fit(&many, rows, WIDTH, &t, LINEAR_SOFTMAX, 0.01, 4);
    assert_memory_equal(one.weights, many.weights, CLASSES * (WIDTH + 1) * sizeof(double));
    assert_int_equal(one.iterations, many.iterations);
    linear_free(&one);
    linear_free(&many);
    free(rows);
    free(labels);
}

static void constant_features_do_no_harm(void **state) {
    (void)state;
    float rows[60 * 2], out[60 * 2];
    int labels[60], fold[60];
    for (int i = 0; i < 60; i++) {
        rows[2 * i] = 5;
        rows[2 * i + 1] = (float)(i % 2);
        labels[i] = i % 2;
        fold[i] = i % LINEAR_FOLDS;
    }
    Targets t = {.task = TASK_CLASSES, .count = 60, .outputs = 2, .classes = labels};
    double lambda = linear_choose(NULL, rows, 2, &t, fold, LINEAR_FOLDS, LINEAR_SOFTMAX, 1);
    LinearModel m;
    linear_fit(&m, rows, 2, &t, LINEAR_SOFTMAX, lambda, 1);
    linear_outputs(out, &m, rows, 60);
    assert_true(score(&t, out, NULL) == 1);
    linear_free(&m);
    /* nothing varies at all, and more features than rows */
    float same[2 * 8] = {0};
    Targets two = {.task = TASK_CLASSES, .count = 2, .outputs = 2, .classes = labels};
    linear_fit(&m, same, 8, &two, LINEAR_SOFTMAX, 1, 1);
    linear_outputs(out, &m, same, 2);
    assert_true(fabsf(out[0] - out[1]) < 1e-6F);
    linear_free(&m);
}

/* Ten features say it and 190 are noise, of 80 rows: hardly any penalty learns the noise by heart.
 * One fold that holds everything says nothing. */
static void lambda_is_chosen_on_folds(void **state) {
    (void)state;
    enum { n = 80, width = 200 };
    float *rows = memory_new(n * width, sizeof *rows), values[n];
    int fold[n], whole[n] = {0};
    Random random = random_at(9, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int d = 0; d < width; d++) {
            rows[i * width + d] = (float)random_normal(&random);
            sum += d < 10 ? rows[i * width + d] : 0;
        }
        values[i] = (float)(sum + 2 * random_normal(&random));
        fold[i] = i * LINEAR_FOLDS / n;
    }
    Targets t = {.task = TASK_VALUES, .count = n, .outputs = 1, .values = values};
    double lambda = linear_choose(NULL, rows, width, &t, fold, LINEAR_FOLDS, LINEAR_SQUARED, 1);
    assert_true(lambda >= 0.3);
    assert_true(linear_choose(NULL, rows, width, &t, whole, LINEAR_FOLDS, LINEAR_SQUARED, 1) ==
                LINEAR_LAMBDA);
    free(rows);
}

/* Weights as a folder, there and back; a changed byte and other sizes are noticed. */
static void weights_in_a_folder(void **state) {
    (void)state;
    char above[] = "/tmp/jepa_linear_XXXXXX";
    assert_non_null(mkdtemp(above));
    char *folder = path_join(above, "probe"), *tensors = path_join(folder, "probe.safetensors");
    char *about = path_join(folder, "probe.json");
    float rows[40 * 3], values[2 * 40], said[2 * 40], again[2 * 40];
    make_values(rows, values, 40, 3, false, 11);
    Targets t = {.task = TASK_VALUES, .count = 40, .outputs = 2, .values = values};
    LinearModel model, loaded;
    Error error = {0};
    linear_fit(&model, rows, 3, &t, LINEAR_HUBER, 0.03, 1);
    linear_outputs(said, &model, rows, 40);
    assert_int_equal(linear_weights_save(folder, &model, &error), 0);
    assert_int_equal(linear_weights_save(folder, &model, &error), -1);
    assert_non_null(strstr(error.text, "is there already"));
    assert_int_equal(linear_weights_load(&loaded, folder, &error), 0);
    linear_outputs(again, &loaded, rows, 40);
    assert_memory_equal(said, again, sizeof said);
    assert_true(loaded.loss == LINEAR_HUBER && loaded.lambda == 0.03);
    linear_free(&loaded);

    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, tensors, 1 << 20, &error), 0);
    bytes[count - 1] ^= 1;
    assert_int_equal(file_write(tensors, bytes, count, &error), 0);
    assert_int_equal(linear_weights_load(&loaded, folder, &error), -1);
    assert_non_null(strstr(error.text, "its hash does not match"));
    bytes[count - 1] ^= 1;
    assert_int_equal(file_write(tensors, bytes, count, &error), 0);
    free(bytes);
    assert_int_equal(file_read(&bytes, &count, about, 1 << 20, &error), 0);
    char *width = strstr((char *)bytes, "\"width\": 3");
    assert_non_null(width);
    width[9] = '4';
    assert_int_equal(file_write(about, bytes, count, &error), 0);
    assert_int_equal(linear_weights_load(&loaded, folder, &error), -1);
    assert_non_null(strstr(error.text, "does not hold what"));
    memcpy(width, "\"width\": x", 10);
    assert_int_equal(file_write(about, bytes, count, &error), 0);
    assert_int_equal(linear_weights_load(&loaded, folder, &error), -1);
    assert_non_null(strstr(error.text, "no description of a linear probe"));
    free(bytes);
    linear_free(&model);
    assert_int_equal(folder_remove(folder, &error), 0);
    assert_int_equal(folder_remove(above, &error), 0);
    free(folder);
    free(tensors);
    free(about);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separable_clouds_are_separated),
        cmocka_unit_test(the_minimum_is_one),
        cmocka_unit_test(ridge_solves_the_normal_equations),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(constant_features_do_no_harm),
        cmocka_unit_test(lambda_is_chosen_on_folds),
        cmocka_unit_test(weights_in_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
