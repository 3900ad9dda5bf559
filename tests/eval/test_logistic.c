/* The linear probe, Wilson's interval and the split. */
#include "base/random.h"
#include "eval/logistic.h"
#include "eval/split.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Three Gaussian clouds in five dimensions. */
static void make_clouds(float *rows, int *labels, int n, double apart, uint64_t seed) {
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n; i++) {
        labels[i] = i % 3;
        for (int d = 0; d < 5; d++)
            rows[i * 5 + d] = (float)(random_normal(&random) * (d + 1) +
                                      (d == labels[i] ? apart * (d + 1) : 0));
    }
}

static void separable_clouds_are_separated(void **state) {
    (void)state;
    float rows[300 * 5], test[300 * 5];
    int labels[300], test_labels[300], correct = 0;
    make_clouds(rows, labels, 300, 8, 1);
    make_clouds(test, test_labels, 300, 8, 2);
    Logistic model;
    logistic_fit(&model, rows, labels, 300, 5, 3, 0.01);
    assert_true(model.converged);
    for (int i = 0; i < 300; i++)
        correct += logistic_predict(&model, test + i * 5) == test_labels[i];
    assert_true(correct >= 298); /* clouds 8 standard deviations apart */
    logistic_free(&model);
}

/* At the minimum the gradient vanishes: mean (p - y) x + lambda W = 0, checked from outside. */
static void the_minimum_is_one(void **state) {
    (void)state;
    enum { n = 120, width = 5, classes = 3 };
    float rows[n * width];
    int labels[n];
    const double lambda = 0.1;
    make_clouds(rows, labels, n, 1, 3);
    Logistic m;
    logistic_fit(&m, rows, labels, n, width, classes, lambda);
    double gradient[classes][width + 1] = {{0}};
    for (int i = 0; i < n; i++) {
        double x[width + 1], score[classes], sum = 0;
        for (int d = 0; d < width; d++)
            x[d] = (rows[i * width + d] - m.mean[d]) * m.scale[d];
        x[width] = 1;
        for (int k = 0; k < classes; k++) {
            score[k] = 0;
            for (int d = 0; d <= width; d++)
                score[k] += m.weights[k * (width + 1) + d] * x[d];
            sum += exp(score[k]);
        }
        for (int k = 0; k < classes; k++)
            for (int d = 0; d <= width; d++)
                gradient[k][d] += (exp(score[k]) / sum - (k == labels[i])) * x[d] / n;
    }
    for (int k = 0; k < classes; k++)
        for (int d = 0; d <= width; d++) {
            double g = gradient[k][d] + (d < width ? lambda * m.weights[k * (width + 1) + d] : 0);
            assert_true(fabs(g) < 1e-5); /* ten times the solver's own limit */
        }
    logistic_free(&m);
}

static void constant_features_do_no_harm(void **state) {
    (void)state;
    float rows[60 * 2];
    int labels[60], fold[60];
    for (int i = 0; i < 60; i++) {
        rows[2 * i] = 5;
        rows[2 * i + 1] = (float)(i % 2);
        labels[i] = i % 2;
        fold[i] = i % LOGISTIC_FOLDS;
    }
    double lambda = logistic_choose(rows, labels, fold, 60, 2, 2);
    Logistic m;
    logistic_fit(&m, rows, labels, 60, 2, 2, lambda);
    for (int i = 0; i < 60; i++)
        assert_int_equal(logistic_predict(&m, rows + 2 * i), labels[i]);
    logistic_free(&m);
}

/* Values from the formula worked out by hand: 8 of 10 gives [0.4902, 0.9433]. */
static void wilson(void **state) {
    (void)state;
    double low, high;
    wilson_interval(&low, &high, 8, 10);
    assert_true(fabs(low - 0.4902) < 1e-4 && fabs(high - 0.9433) < 1e-4);
    wilson_interval(&low, &high, 0, 20);
    assert_true(low == 0 && high > 0.1 && high < 0.2);
    wilson_interval(&low, &high, 0, 0);
    assert_true(low == 0 && high == 1);
}

static void natural(void **state) {
    (void)state;
    assert_true(natural_order("clip2.mp4", "clip10.mp4") < 0);
    assert_true(natural_order("clip010.mp4", "clip9.mp4") > 0);
    assert_true(natural_order("a1b2", "a1b10") < 0);
    assert_true(natural_order("a", "b") < 0);
    assert_int_equal(natural_order("a07", "a7"), 0);
}

/* An index without files on the disk: the split reads names and labels only. */
static VideoIndex make_index(const char *const *names, const int *labels, size_t count,
                             int classes) {
    VideoFile *files = memory_new(count, sizeof *files);
    const char **class_names = memory_new((size_t)classes, sizeof *class_names);
    VideoIndex index;
    Error error = {0};
    for (int k = 0; k < classes; k++)
        class_names[k] = memory_text("class%d", k);
    for (size_t i = 0; i < count; i++)
        files[i] = (VideoFile){
            .name = names[i], .label = labels[i], .frames = 1, .width = 1, .height = 1};
    assert_int_equal(video_index_of_files(&index, files, count, class_names, classes, &error), 0);
    for (int k = 0; k < classes; k++)
        free((void *)(uintptr_t)class_names[k]);
    free(class_names);
    free(files);
    return index;
}

static void the_last_quarter_of_each_class_tests(void **state) {
    (void)state;
    const char *names[16];
    char text[16][16];
    int labels[16];
    for (int i = 0; i < 16; i++) {
        snprintf(text[i], sizeof text[i], "%s%d.mp4", i < 8 ? "a" : "b", i < 8 ? i + 5 : i);
        names[i] = text[i];
        labels[i] = i >= 8;
    }
    VideoIndex index = make_index(names, labels, 16, 2);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, NULL, LOGISTIC_FOLDS, &error), 0);
    assert_int_equal(split.train_count, 12);
    assert_int_equal(split.test_count, 4);
    for (int i = 0; i < 16; i++)
        assert_int_equal(split.test[i], i % 8 >= 6); /* a11, a12 come after a5 .. a10 */
    for (int i = 0; i < 16; i++)
        assert_true(split.fold[i] >= 0 && split.fold[i] < LOGISTIC_FOLDS);
    split_free(&split);
    video_index_free(&index);
}

static void groups_stay_on_one_side(void **state) {
    (void)state;
    const char *names[] = {"x_g1_c1.mp4", "x_g1_c2.mp4", "x_g2_c1.mp4", "x_g2_c2.mp4",
                           "y_g1_c1.mp4", "y_g2_c1.mp4", "y_g3_c1.mp4", "y_g3_c2.mp4",
                           "x_g3_c1.mp4", "x_g3_c2.mp4"};
    const int labels[] = {0, 0, 0, 0, 1, 1, 1, 1, 0, 0};
    VideoIndex index = make_index(names, labels, 10, 2);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, "_(g[0-9]+)_", LOGISTIC_FOLDS, &error), 0);
    for (size_t i = 0; i < 10; i++)
        for (size_t k = 0; k < 10; k++)
            if (!strcmp(split.group[i], split.group[k]))
                assert_int_equal(split.test[i], split.test[k]);
    assert_string_equal(split.group[0], "g1");
    assert_true(split.test_count > 0 && split.train_count > 0);
    split_free(&split);
    assert_int_equal(split_make(&split, &index, "(", LOGISTIC_FOLDS, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    video_index_free(&index);
}

static void one_class_is_refused(void **state) {
    (void)state;
    const char *names[] = {"a1.mp4", "a2.mp4"};
    const int labels[] = {0, 0};
    VideoIndex index = make_index(names, labels, 2, 1);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, NULL, LOGISTIC_FOLDS, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    video_index_free(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separable_clouds_are_separated),
        cmocka_unit_test(the_minimum_is_one),
        cmocka_unit_test(constant_features_do_no_harm),
        cmocka_unit_test(wilson),
        cmocka_unit_test(natural),
        cmocka_unit_test(the_last_quarter_of_each_class_tests),
        cmocka_unit_test(groups_stay_on_one_side),
        cmocka_unit_test(one_class_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
