/* The confusion matrix picture: sums, sizes from 1 class to many, odd names, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eval/confusion.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void accuracies_are_right(void **state) {
    (void)state;
    static const int64_t counts[9] = {8, 2, 0, 1, 1, 0, 0, 0, 0};
    assert_true(fabs(confusion_accuracy(counts, 3) - 9.0 / 12.0) < 1e-12);
    assert_true(fabs(confusion_mean_recall(counts, 3) - (0.8 + 0.5) / 2) < 1e-12);
    static const int64_t none[4] = {0};
    assert_true(isnan(confusion_accuracy(none, 2)));
    assert_true(isnan(confusion_mean_recall(none, 2)));
}

/* A matrix of `classes` with most clips on the diagonal and one empty row. */
static int64_t *make_counts(int classes) {
    int64_t *counts = memory_new((size_t)classes * (size_t)classes, sizeof *counts);
    for (int i = 0; i < classes; i++) {
        for (int j = 0; j < classes; j++) {
            counts[(size_t)i * (size_t)classes + (size_t)j] = i == 3   ? 0
                                                              : i == j ? 50
                                                                       : (i * 7 + j) % 5;
        }
    }
    return counts;
}

static void any_number_of_classes_is_drawn(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 7, 30, 61, 130};
    char text[130][120];
    const char *names[130];
    for (int i = 0; i < 130; i++) {
        snprintf(text[i], sizeof text[i],
                 "%d Pretending to take something out of something \xC3\xA9\xFF %d", i, i);
        names[i] = i % 3 == 0 ? text[i] : i % 3 == 1 ? "walk" : i == 2 ? "" : NULL;
    }
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int named = 0; named < 2; named++) {
            int64_t *counts = make_counts(sizes[s]);
            Error error = {0};
            Canvas *canvas;
            assert_int_equal(confusion_draw(&canvas, counts, named ? names : NULL, sizes[s],
                                            named ? "Probe" : NULL, NULL, &error),
                             0);
            assert_true(canvas->width > 16 * sizes[s] && canvas->height > 16 * sizes[s]);
            for (int y = 0; y < canvas->height; y++) { /* nothing touches the edges */
                for (int x = 0; x < 8; x++) {
                    assert_int_equal(canvas_get(canvas, x, y).r, 255);
                    assert_int_equal(canvas_get(canvas, canvas->width - 1 - x, y).r, 255);
                }
            }
            for (int x = 0; x < canvas->width; x++) {
                assert_int_equal(canvas_get(canvas, x, 4).r, 255);
                assert_int_equal(canvas_get(canvas, x, canvas->height - 5).r, 255);
            }
            canvas_free(canvas);
            free(counts);
        }
    }
}

static void the_diagonal_is_darker(void **state) {
    (void)state;
    static const int64_t right[4] = {9000, 0, 0, 9000}, wrong[4] = {0, 9000, 9000, 0};
    Error error = {0};
    Canvas *a, *b;
    assert_int_equal(confusion_draw(&a, right, NULL, 2, "x", "same", &error), 0);
    assert_int_equal(confusion_draw(&b, wrong, NULL, 2, "x", "same", &error), 0);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    /* In a column of pixels through the first column of cells, dark comes first in one picture and
     * last in the other. */
    int first_a = -1, first_b = -1;
    for (int x = 0; x < a->width && first_a < 0; x++) {
        int run_a = 0, run_b = 0;
        for (int y = 0; y < a->height; y++) {
            run_a = canvas_get(a, x, y).r < 60 && canvas_get(a, x, y).b > 100 ? run_a + 1 : 0;
            run_b = canvas_get(b, x, y).r < 60 && canvas_get(b, x, y).b > 100 ? run_b + 1 : 0;
            first_a = run_a == 60 ? y : first_a;
            first_b = run_b == 60 ? y : first_b;
        }
    }
    assert_true(first_a > 0 && first_b > first_a);
    canvas_free(a);
    canvas_free(b);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    int64_t counts[4] = {1, 2, -3, 4};
    Error error = {0};
    Canvas *canvas;
    assert_int_equal(confusion_draw(&canvas, counts, NULL, 2, NULL, NULL, &error), -1);
    assert_null(canvas);
    assert_non_null(strstr(error.text, "-3"));
    assert_int_equal(confusion_draw(&canvas, counts, NULL, 0, NULL, NULL, &error), -1);
    assert_int_equal(
        confusion_draw(&canvas, counts, NULL, CONFUSION_CLASSES_MAX + 1, NULL, NULL, &error), -1);
    memset(counts, 0, sizeof counts);
    assert_int_equal(confusion_draw(&canvas, counts, NULL, 2, "Nothing yet", NULL, &error), 0);
    canvas_free(canvas);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracies_are_right),
        cmocka_unit_test(any_number_of_classes_is_drawn),
        cmocka_unit_test(the_diagonal_is_darker),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
