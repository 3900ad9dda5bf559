/* 16-bit floats: every pattern there and back, and rounding against a search among all values. */
#include "base/half.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct Kind {
    float (*to)(uint16_t bits);
    uint16_t (*from)(float value);
    int mantissa, bias; /* bits; exponent bias */
    uint16_t infinity;
} Kind;

static const Kind kinds[] = {{float16_to_float, float16_from_float, 10, 15, 0x7c00},
                             {bfloat16_to_float, bfloat16_from_float, 7, 127, 0x7f80}};

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The value by its definition: (-1)^s * (1 + m / 2^p) * 2^(e - bias), or m / 2^p * 2^(1 - bias). */
static double defined(const Kind *kind, uint16_t bits) {
    int exponent = (bits & 0x7fff) >> kind->mantissa;
    double fraction = ldexp(bits & ((1 << kind->mantissa) - 1), -kind->mantissa);
    double size = exponent ? ldexp(1 + fraction, exponent - kind->bias)
                           : ldexp(fraction, 1 - kind->bias);
    return bits & 0x8000 ? -size : size;
}

static void test_every_pattern(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++)
        for (uint32_t p = 0; p < 65536; p++) {
            const Kind *kind = &kinds[k];
            uint16_t bits = (uint16_t)p, size = bits & 0x7fff;
            float value = kind->to(bits);
            assert_int_equal(!!signbit(value), bits >> 15);
            if (size > kind->infinity)
                assert_true(isnan(value));
            else if (size == kind->infinity)
                assert_true(isinf(value));
            else
                assert_true((double)value == defined(kind, bits));
            assert_int_equal(kind->from(value), bits); /* NaN payloads too */
        }
}

/* Each value, the middle to its neighbour and the float32 on either side of the middle. */
static void test_nearest_even(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++)
        for (uint16_t low = 0; low < kinds[k].infinity; low++) {
            const Kind *kind = &kinds[k];
            uint16_t high = (uint16_t)(low + 1), even = low & 1 ? high : low;
            /* the step after the largest value is as wide as the one before it */
            double a = defined(kind, low), b = high == kind->infinity
                                                   ? 2 * a - defined(kind, (uint16_t)(low - 1))
                                                   : defined(kind, high);
            float middle = (float)((a + b) / 2); /* exact: one more bit */
            assert_true((double)middle == (a + b) / 2);
            assert_int_equal(kind->from(middle), even);
            assert_int_equal(kind->from(of_bits(bits_of(middle) - 1)), low);
            assert_int_equal(kind->from(of_bits(bits_of(middle) + 1)), high);
            assert_int_equal(kind->from(-middle), even | 0x8000);
        }
}

static void test_ends(void **state) {
    (void)state;
    assert_int_equal(float16_from_float(65504), 0x7bff);
    assert_int_equal(float16_from_float(65536), 0x7c00);
    assert_int_equal(float16_from_float(1e30f), 0x7c00);
    assert_int_equal(float16_from_float(-INFINITY), 0xfc00);
    assert_int_equal(float16_from_float(of_bits(1)), 0); /* the smallest float32 */
    assert_int_equal(bfloat16_from_float(of_bits(0x7f7fffff)), 0x7f80);
    assert_int_equal(bfloat16_from_float(1), 0x3f80);
    /* NaNs whose payload lies in the bits that are cut off */
    assert_int_equal(float16_from_float(of_bits(0xff800001)), 0xfe00);
    assert_int_equal(bfloat16_from_float(of_bits(0x7f800001)), 0x7fc0);
}

/* Many at a time: what one by one gives, and how many are no finite numbers. */
static void test_many(void **state) {
    (void)state;
    static uint16_t bits[65536], back[65536];
    static float values[65536];
    for (uint32_t p = 0; p < 65536; p++)
        bits[p] = (uint16_t)p;
    for (int k = 0; k < 2; k++) {
        const Kind *kind = &kinds[k];
        (k ? bfloat16_to_floats : float16_to_floats)(values, bits, 65536);
        for (uint32_t p = 0; p < 65536; p++)
            assert_int_equal(bits_of(values[p]), bits_of(kind->to((uint16_t)p)));
        size_t lost = (k ? bfloat16_from_floats : float16_from_floats)(back, values, 65536);
        assert_int_equal(lost, 2 << kind->mantissa); /* all of the last exponent, both signs */
        assert_memory_equal(back, bits, sizeof bits);
        for (uint32_t p = 0; p < 65536; p++) /* patterns of all exponents */
            values[p] = of_bits(p * 65521);
        (k ? bfloat16_from_floats : float16_from_floats)(back, values, 65536);
        for (uint32_t p = 0; p < 65536; p++)
            assert_int_equal(back[p], kind->from(values[p]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_pattern),
                                       cmocka_unit_test(test_nearest_even),
                                       cmocka_unit_test(test_many), cmocka_unit_test(test_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
