/* Accuracy, average precision, R², and their intervals. */
#include "base/random.h"
#include "eval/scores.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static void classes(void **state) {
    (void)state;
    int classes[] = {0, 0, 1, 2};
    float out[] = {0.9F, 0.1F, 0,    0.2F, 0.7F, 0.1F,  //
                   0.3F, 0.4F, 0.3F, 0.5F, 0.5F, 0.1F}; /* 0, 1, 1, 0 */
    Targets t = {.task = TASK_CLASSES, .count = 4, .outputs = 4 - 1, .classes = classes};
    double each[3], weight[] = {1, 0, 2, 1};
    assert_true(fabs(score(&t, out, NULL) - 0.5) < 1e-12);
    assert_true(fabs(score(&t, out, weight) - 0.75) < 1e-12);
    score_each(each, &t, out, NULL);
    assert_true(each[0] == 0.5 && each[1] == 1 && each[2] == 0);
    t.count = 3; /* nothing of class 2 */
    score_each(each, &t, out, NULL);
    assert_true(isnan(each[2]));
    t.count = 0;
    assert_true(isnan(score(&t, out, NULL)));
}

/* Ranked 1 0 1 0 1: precisions 1/1, 2/3, 3/5 at the rows that have the label. */
static void average_precision_by_hand(void **state) {
    (void)state;
    const float out[] = {0.9F, 0.8F, 0.7F, 0.6F, 0.5F}, truth[] = {1, 0, 1, 0, 1};
    const float same[] = {2, 2, 2, 2, 2}, none[] = {0, 0, 0, 0, 0};
    double expected = (1 + 2. / 3 + 3. / 5) / 3;
    assert_true(fabs(average_precision(out, truth, 5, 1, NULL) - expected) < 1e-12);
    /* the same for all: the share of rows that have it */
    assert_true(fabs(average_precision(same, truth, 5, 1, NULL) - 0.6) < 1e-12);
    assert_true(isnan(average_precision(out, none, 5, 1, NULL)));
    /* ties: {1, 0} at the top, then {1}: 1/2 of recall at precision 1/2, 1/2 at 2/3 */
    const float tied[] = {3, 3, 1}, two[] = {1, 0, 1};
    assert_true(fabs(average_precision(tied, two, 3, 1, NULL) - (0.25 + 1. / 3)) < 1e-12);
    /* a row counted twice is two rows */
    const float twice_out[] = {0.9F, 0.8F, 0.8F, 0.7F}, twice[] = {1, 0, 0, 1};
    const float once_out[] = {0.9F, 0.8F, 0.7F}, once[] = {1, 0, 1};
    const double weight[] = {1, 2, 1};
    assert_true(fabs(average_precision(twice_out, twice, 4, 1, NULL) -
                     average_precision(once_out, once, 3, 1, weight)) < 1e-12);
}

static void labels(void **state) {
    (void)state;
    float values[] = {1, 0, 0, 0, 1, 0}, out[] = {3, 1, 9, 1, 2, 9}; /* [3][2] */
    Targets t = {.task = TASK_LABELS, .count = 3, .outputs = 2, .values = values};
    double each[2];
    score_each(each, &t, out, NULL);
    assert_true(fabs(each[0] - (1. / 2 + 2. / 3) / 2) < 1e-12);
    assert_true(isnan(each[1])); /* a label that never occurs is left out of the mean */
    assert_true(fabs(score(&t, out, NULL) - each[0]) < 1e-12);
}

static void values(void **state) {
    (void)state;
    float y[] = {1, 2, 3, 4}, good[] = {1, 2, 3, 4}, mean[] = {2.5F, 2.5F, 2.5F, 2.5F};
    float off[] = {2, 2, 3, 4};
    Targets t = {.task = TASK_VALUES, .count = 4, .outputs = 1, .values = y};
    assert_true(score(&t, good, NULL) == 1);
    assert_true(fabs(score(&t, mean, NULL)) < 1e-12);
    assert_true(fabs(score(&t, off, NULL) - (1 - 1. / 5)) < 1e-12); /* Σ (y - 2.5)² = 5 */
    float same[] = {7, 7, 7, 7};
    t.values = same;
    assert_true(isnan(score(&t, good, NULL)));
}

/* A share's bootstrap interval must be near Wilson's where every row is its own group; with rows
 * that come in fives of one kind it must be about sqrt(5) times as wide. */
static void bootstrap(void **state) {
    (void)state;
    enum { n = 400 };
    int classes[n];
    float out[2 * n];
    int64_t own[n], fives[n];
    for (int i = 0; i < n; i++) {
        bool right = i / 5 % 10 < 7; /* 70 %, alike within a group of five */
        classes[i] = 0;
        out[2 * i] = right;
        out[2 * i + 1] = !right;
        own[i] = i;
        fives[i] = i / 5 * 3;
    }
    Targets t = {.task = TASK_CLASSES, .count = n, .outputs = 2, .classes = classes};
    double low[4], high[4], lows[3], highs[3];
    const int64_t *groups[] = {own, fives, own};
    for (int i = 0; i < 3; i++) {
        bootstrap_intervals(lows, highs, &t, out, groups[i], 1);
        low[i] = lows[2];
        high[i] = highs[2];
        /* all rows are of class 0 */
        assert_true(lows[0] == lows[2] && highs[0] == highs[2] && isnan(lows[1]));
    }
    wilson_interval(&low[3], &high[3], n * 7 / 10, n);
    assert_true(low[0] == low[2] && high[0] == high[2]);
    /* 1000 draws place a 2.5 % percentile to about a tenth of the half width (0.045) */
    assert_true(fabs(low[0] - low[3]) < 0.01 && fabs(high[0] - high[3]) < 0.01);
    double wider = (high[1] - low[1]) / (high[0] - low[0]);
    assert_true(wider > 1.9 && wider < 2.6); /* 2.24 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson),
        cmocka_unit_test(classes),
        cmocka_unit_test(average_precision_by_hand),
        cmocka_unit_test(labels),
        cmocka_unit_test(values),
        cmocka_unit_test(bootstrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
