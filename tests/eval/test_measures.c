/* Measures of collapse on rows whose answer is known. */
#include "base/random.h"
#include "eval/measures.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Orthogonal rows of equal length: all singular values are equal, RankMe is the width. The epsilon
 * added to every p shifts it by less than 1e-4. */
static void full_rank(void **state) {
    (void)state;
    float rows[64 * 16] = {0};
    for (int i = 0; i < 64; i++)
        rows[i * 16 + i % 16] = 3;
    assert_true(fabs(measure_rankme(rows, 64, 16) - 16) < 1e-2);
}

static void collapsed(void **state) {
    (void)state;
    float rows[64 * 16];
    for (int i = 0; i < 64; i++)
        for (int d = 0; d < 16; d++)
            rows[i * 16 + d] = (float)(d - 7);
    assert_true(fabs(measure_rankme(rows, 64, 16) - 1) < 1e-2);
    assert_true(measure_std(rows, 64, 16) < 1e-6);
}

/* Two directions with singular values 3 : 1 -> exp(H(3/4, 1/4)) = 1.7548 */
static void two_directions(void **state) {
    (void)state;
    float rows[2 * 4] = {3, 0, 0, 0, 0, 1, 0, 0};
    double expected = exp(-(0.75 * log(0.75) + 0.25 * log(0.25)));
    assert_true(fabs(measure_rankme(rows, 2, 4) - expected) < 1e-4);
}

static void not_finite(void **state) {
    (void)state;
    float rows[2 * 2] = {1, NAN, 2, 3};
    assert_true(isnan(measure_rankme(rows, 2, 2)));
}

static void spread_of_a_normal(void **state) {
    (void)state;
    enum { n = 4000, width = 8 };
    float *rows = malloc(sizeof *rows * n * width);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (int i = 0; i < n * width; i++)
        rows[i] = (float)(2 * random_normal(&random));
    /* standard error of a standard deviation: 2 / sqrt(2 n width) = 0.008 */
    assert_true(fabs(measure_std(rows, n, width) - 2) < 0.04);
    assert_true(measure_rankme(rows, n, width) > 7.9);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_rank),          cmocka_unit_test(collapsed),
        cmocka_unit_test(two_directions),     cmocka_unit_test(not_finite),
        cmocka_unit_test(spread_of_a_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
