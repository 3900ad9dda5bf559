/* Philox against the published known answers (Random123's kat_vectors), and what is drawn from it.
 */
#include "base/error.h"
#include "base/random.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                 {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                  {0xffffffff, 0xffffffff},
                  {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                 {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                  {0xa4093822, 0x299f31d0},
                  {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        philox4x32(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].expected, sizeof out);
    }
}

/* The layout of the counter is part of the format of a run. */
static void test_counter_layout(void **state) {
    (void)state;
    Random random = random_at(0x1122334455667788u, RANDOM_CROP, 0xabcd12345678u, 0x9abcdef0u);
    for (uint32_t block = 0; block < 3; block++) {
        const uint32_t key[2] = {0x55667788u, 0x11223344u};
        const uint32_t counter[4] = {block, 0x9abcdef0u, 0x12345678u, RANDOM_CROP << 16 | 0xabcdu};
        uint32_t out[4];
        philox4x32(out, counter, key);
        for (int i = 0; i < 4; i++)
            assert_int_equal(random_u32(&random), out[i]);
    }
}

static void test_streams_differ(void **state) {
    (void)state;
    Random streams[] = {random_at(1, RANDOM_CROP, 5, 9), random_at(2, RANDOM_CROP, 5, 9),
                        random_at(1, RANDOM_FLIP, 5, 9), random_at(1, RANDOM_CROP, 6, 9),
                        random_at(1, RANDOM_CROP, 5, 10)};
    Random again = random_at(1, RANDOM_CROP, 5, 9);
    uint32_t first[5];
    for (int i = 0; i < 5; i++)
        first[i] = random_u32(&streams[i]);
    assert_int_equal(random_u32(&again), first[0]);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            assert_int_not_equal(first[i], first[j]);
}

/* Moments within five standard errors: the seed is fixed, so this either always holds or never. */
static void test_unit_and_normal(void **state) {
    (void)state;
    const int n = 100000;
    Random random = random_at(7, RANDOM_TEST, 0, 0);
    double sum = 0, squares = 0, low = 1, high = 0;
    for (int i = 0; i < n; i++) {
        double u = random_unit(&random);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        low = u < low ? u : low;
        high = u > high ? u : high;
    }
    double mean = sum / n, variance = squares / n - mean * mean;
    assert_true(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12 / n));
    assert_true(fabs(variance - 1.0 / 12) < 5 * sqrt(1.0 / 180 / n));
    assert_true(low < 1e-3 && high > 1 - 1e-3);
    sum = squares = 0;
    double fourth = 0;
    for (int i = 0; i < n; i++) {
        double x = random_normal(&random);
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / n) < 5 / sqrt(n));
    assert_true(fabs(squares / n - 1) < 5 * sqrt(2.0 / n));
    assert_true(fabs(fourth / n - 3) < 5 * sqrt(96.0 / n));
}

static void test_between(void **state) {
    (void)state;
    Random random = random_at(3, RANDOM_TEST, 0, 0);
    double next = nextafter(1.0, 2.0);
    for (int i = 0; i < 2000; i++) {
        double x = random_between(&random, -2, 3);
        assert_true(x >= -2 && x < 3);
        assert_true(random_between(&random, 1, next) == 1); /* rounding never reaches the end */
        assert_true(random_between(&random, 4, 4) == 4);
    }
}

static void test_below(void **state) {
    (void)state;
    Random random = random_at(11, RANDOM_TEST, 0, 0);
    int counts[10] = {0};
    const int n = 100000;
    for (int i = 0; i < n; i++)
        counts[random_below(&random, 10)]++;
    double chi = 0; /* chi-square with 9 degrees of freedom: above 40 once in 10^5 */
    for (int i = 0; i < 10; i++)
        chi += (counts[i] - n / 10.0) * (counts[i] - n / 10.0) / (n / 10.0);
    assert_true(chi < 40);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(random_below(&random, 1), 0);
        assert_true(random_below(&random, UINT64_MAX) < UINT64_MAX);
        uint64_t most = (1ull << 63) + 1; /* nearly half of all draws are drawn again */
        assert_true(random_below(&random, most) < most);
    }
}

static void test_permutation(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 300; n++) {
        unsigned char seen[300] = {0};
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = random_permute(42, RANDOM_ORDER, n % 5, i, n);
            assert_true(at < n);
            assert_int_equal(seen[at], 0);
            seen[at] = 1;
        }
    }
}

/* A shuffle has about one fixed point and hardly any linear correlation with the identity. */
static void test_looks_shuffled(void **state) {
    (void)state;
    const uint64_t n = 10007;
    int fixed = 0, same = 0, follows = 0;
    double product = 0, centre = (double)(n - 1) / 2;
    uint64_t before = n;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = random_permute(9, RANDOM_ORDER, 0, i, n);
        fixed += at == i;
        same += at == random_permute(9, RANDOM_ORDER, 1, i, n);
        follows += at == before + 1;
        before = at;
        product += ((double)i - centre) * ((double)at - centre);
    }
    double correlation = product / ((double)n * ((double)n * (double)n - 1) / 12);
    assert_true(fixed < 8 && same < 8 && follows < 8);
    assert_true(fabs(correlation) < 5 / sqrt((double)n));
}

/* Every order of four things comes about equally often over the epochs. */
static void test_small_orders_are_fair(void **state) {
    (void)state;
    int counts[256] = {0}, kinds = 0;
    const int epochs = 24000;
    for (int epoch = 0; epoch < epochs; epoch++) {
        unsigned code = 0;
        for (uint64_t i = 0; i < 4; i++)
            code = code << 2 | (unsigned)random_permute(5, RANDOM_ORDER, (uint64_t)epoch, i, 4);
        counts[code]++;
    }
    for (int i = 0; i < 256; i++) {
        kinds += counts[i] > 0;
        assert_true(!counts[i] || (counts[i] > 500 && counts[i] < 2000));
    }
    assert_int_equal(kinds, 24);
}

static void test_large_permutation(void **state) {
    (void)state;
    const uint64_t sizes[] = {1ull << 32, (1ull << 32) + 1, 1ull << 62, UINT64_MAX};
    for (size_t s = 0; s < 4; s++) {
        uint64_t last = 0;
        for (uint64_t i = 0; i < 50; i++) {
            uint64_t at = random_permute(1, RANDOM_ORDER, 3, sizes[s] - 1 - i, sizes[s]);
            assert_true(at < sizes[s] && at != last);
            last = at;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),     cmocka_unit_test(test_counter_layout),
        cmocka_unit_test(test_streams_differ),    cmocka_unit_test(test_unit_and_normal),
        cmocka_unit_test(test_between),           cmocka_unit_test(test_below),
        cmocka_unit_test(test_permutation),       cmocka_unit_test(test_looks_shuffled),
        cmocka_unit_test(test_large_permutation), cmocka_unit_test(test_small_orders_are_fair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
