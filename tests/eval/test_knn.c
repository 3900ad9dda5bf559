/* Nearest neighbours by brute force, and which rows a low-shot probe may see. */
#include "base/random.h"
#include "eval/knn.h"
#include "eval/low_shot.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double cosine(const float *a, const float *b, int width) {
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < width; d++) {
        ab += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
    }
    return ab / sqrt(aa * bb);
}

/* More rows and queries than a tile has, k of each by repeated search of the largest. Float32
 * similarities of 17 terms are right to about 1e-6. */
static void neighbours_are_the_nearest(void **state) {
    (void)state;
    enum { n = 1500, q = 130, width = 17, k = 7 };
    float *rows = memory_new(n * width, sizeof *rows);
    float *queries = memory_new(q * width, sizeof *queries);
    int *fold = memory_new(n, sizeof *fold), *query_fold = memory_new(q, sizeof *query_fold);
    int32_t *nearest = memory_new(q * k, sizeof *nearest),
            *again = memory_new(q * k, sizeof *again);
    float *similarity = memory_new(q * k, sizeof *similarity);
    Random random = random_at(4, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n * width; i++)
        rows[i] = (float)random_normal(&random);
    for (int i = 0; i < q * width; i++)
        queries[i] = (float)random_normal(&random);
    for (int i = 0; i < n; i++)
        fold[i] = i % 3;
    for (int i = 0; i < q; i++)
        query_fold[i] = i % 4; /* fold 3 excludes nothing */
    for (int folds = 0; folds < 2; folds++) {
        knn_search(nearest, similarity, rows, folds ? fold : NULL, n, queries,
                   folds ? query_fold : NULL, q, width, k, 1);
        knn_search(again, similarity, rows, folds ? fold : NULL, n, queries,
                   folds ? query_fold : NULL, q, width, k, 3);
        assert_memory_equal(nearest, again, q * k * sizeof *nearest);
        for (int i = 0; i < q; i++) {
            double before = 2;
            for (int j = 0; j < k; j++) {
                int row = nearest[i * k + j], better = 0;
                double sim = cosine(queries + i * width, rows + row * width, width);
                assert_true(fabs(sim - similarity[i * k + j]) < 1e-5);
                assert_true(sim < before + 1e-5);
                before = sim;
                assert_true(!folds || fold[row] != query_fold[i]);
                for (int r = 0; r < n; r++)
                    better += (!folds || fold[r] != query_fold[i]) &&
                              cosine(queries + i * width, rows + r * width, width) > sim + 1e-5;
                assert_true(better <= j);
            }
        }
    }
    free(rows);
    free(queries);
    free(fold);
    free(query_fold);
    free(nearest);
    free(again);
    free(similarity);
}

/* Two neighbours of class 1 at 0.8 outweigh one of class 0 at 0.84: 2 exp(-0.04 / 0.07) > 1; the
 * other way round with 0.9: 2 exp(-0.1 / 0.07) < 1. */
static void votes_are_weighted(void **state) {
    (void)state;
    int classes[] = {0, 1, 1};
    float values[] = {10, 20, 30}, out[2], number[1], similarity[] = {0.84F, 0.8F, 0.8F};
    int32_t nearest[] = {0, 1, 2};
    Targets t = {.task = TASK_CLASSES, .count = 3, .outputs = 2, .classes = classes};
    Targets v = {.task = TASK_VALUES, .count = 3, .outputs = 1, .values = values};
    knn_outputs(out, nearest, similarity, 1, 3, 3, &t);
    double w = exp(-0.04 / KNN_TEMPERATURE);
    assert_true(fabs(out[1] - 2 * w / (1 + 2 * w)) < 1e-5 && out[1] > out[0]);
    knn_outputs(number, nearest, similarity, 1, 3, 3, &v);
    assert_true(fabs(number[0] - (10 + 50 * w) / (1 + 2 * w)) < 1e-4);
    knn_outputs(out, nearest, similarity, 1, 3, 1, &t);
    assert_true(out[0] == 1 && out[1] == 0);
    similarity[0] = 0.9F;
    knn_outputs(out, nearest, similarity, 1, 3, 3, &t);
    assert_true(out[0] > out[1]);
    nearest[1] = -1; /* fewer rows than k */
    knn_outputs(out, nearest, similarity, 1, 3, 3, &t);
    assert_true(out[0] == 1);
}

/* Two tight clouds with one wrong label beside each point: k = 1 is misled, k = 5 is not. */
static void k_is_chosen(void **state) {
    (void)state;
    enum { n = 120 };
    float rows[2 * n];
    int classes[n], fold[n];
    const int ks[] = {1, 5};
    Random random = random_at(6, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n; i++) {
        int cloud = i % 2;
        rows[2 * i] = (float)(cloud + 0.1 * random_normal(&random));
        rows[2 * i + 1] = (float)(1 - cloud + 0.1 * random_normal(&random));
        classes[i] = random_unit(&random) < 0.25 ? 1 - cloud : cloud;
        fold[i] = i * 4 / n;
    }
    Targets t = {.task = TASK_CLASSES, .count = n, .outputs = 2, .classes = classes};
    assert_int_equal(knn_choose(NULL, ks, 2, rows, 2, &t, fold, 1), 5);
}

static void few_labels_of_every_class(void **state) {
    (void)state;
    enum { n = 230 };
    int classes[n], count[3] = {0};
    int64_t items[n], more[n], other[n];
    for (int i = 0; i < n; i++)
        classes[i] = i < 200 ? 0 : i < 229 ? 1 : 2;
    Targets t = {.task = TASK_CLASSES, .count = n, .outputs = 3, .classes = classes};
    int64_t few = low_shot_draw(items, &t, 5, 7, 0), many = low_shot_draw(more, &t, 10, 7, 0);
    for (int64_t i = 0; i < few; i++) {
        assert_true(i == 0 || items[i] > items[i - 1]);
        count[classes[items[i]]]++;
        bool there = false;
        for (int64_t j = 0; j < many; j++)
            there |= more[j] == items[i];
        assert_true(there); /* the larger share holds the smaller one */
    }
    assert_true(count[0] == 10 && count[1] == 1 && count[2] == 1); /* 1.45 is 1, at least one */
    assert_int_equal(low_shot_draw(other, &t, 5, 7, 1), few);
    assert_memory_not_equal(items, other, (size_t)few * sizeof *items);
    assert_int_equal(low_shot_draw(other, &t, 5, 7, 0), few);
    assert_memory_equal(items, other, (size_t)few * sizeof *items);
    assert_int_equal(low_shot_draw(other, &t, 100, 7, 1), n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_the_nearest),
        cmocka_unit_test(votes_are_weighted),
        cmocka_unit_test(k_is_chosen),
        cmocka_unit_test(few_labels_of_every_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
