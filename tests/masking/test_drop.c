/* Token dropping: counts, order, and that every token is kept equally often. */
#include "masking/drop.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void counts_round_half_to_even(void **state) {
    (void)state;
    static const struct {
        int tokens;
        double rate;
        int kept;
    } cases[] = {{10, 0, 10},      {10, 0.5, 5},
                 {5, 0.5, 2}, /* 2.5 */
                 {7, 0.5, 4},      /* 3.5 */ {196, 0.75, 49},
                 {1568, 0.9, 157}, {1, 0.999, 1},
                 {3, 0.99, 1}};
    int32_t keep[1568];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Random random = random_at(1, RANDOM_DROP, i, 0);
        assert_int_equal(mask_drop_count(cases[i].tokens, cases[i].rate), cases[i].kept);
        assert_int_equal(mask_drop(keep, cases[i].tokens, cases[i].rate, &random), cases[i].kept);
        for (int k = 0; k < cases[i].kept; k++) {
            assert_in_range(keep[k], 0, cases[i].tokens - 1);
            assert_true(!k || keep[k] > keep[k - 1]);
        }
    }
}

/* All C(6, 3) = 20 subsets come equally often: chi-squared with 19 degrees of freedom stays below
 * 43.8 but once in a thousand; the seed is fixed. */
static void subsets_are_equally_likely(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    int seen[64] = {0};
    for (uint64_t step = 0; step < DRAWS; step++) {
        int32_t keep[3];
        Random random = random_at(1, RANDOM_DROP, step, 0);
        assert_int_equal(mask_drop(keep, 6, 0.5, &random), 3);
        seen[1 << keep[0] | 1 << keep[1] | 1 << keep[2]]++;
    }
    double chi = 0, expected = DRAWS / 20.0;
    int subsets = 0;
    for (int i = 0; i < 64; i++)
        if (seen[i]) {
            subsets++;
            chi += (seen[i] - expected) * (seen[i] - expected) / expected;
        }
    assert_int_equal(subsets, 20);
    assert_true(chi < 43.8);
}

static void a_subset_is_a_function_of_its_numbers(void **state) {
    (void)state;
    int32_t a[100], b[100];
    Random random = random_at(5, RANDOM_DROP, 7, 3);
    int count = mask_drop(a, 100, 0.4, &random);
    random = random_at(5, RANDOM_DROP, 7, 3);
    assert_int_equal(mask_drop(b, 100, 0.4, &random), count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    random = random_at(5, RANDOM_DROP, 8, 3);
    mask_drop(b, 100, 0.4, &random);
    assert_memory_not_equal(a, b, (size_t)count * sizeof *a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_round_half_to_even),
        cmocka_unit_test(subsets_are_equally_likely),
        cmocka_unit_test(a_subset_is_a_function_of_its_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
