/* "did you mean": near words are found, far ones are not. */
#include "base/words.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const words[] = {"learning_rate", "batch", "momentum", "mask", "frames"};
#define COUNT (sizeof words / sizeof *words)

static void test_near(void **state) {
    (void)state;
    assert_string_equal(nearest_word("learning-rate", words, COUNT), "learning_rate");
    assert_string_equal(nearest_word("lerning_rat", words, COUNT), "learning_rate");
    assert_string_equal(nearest_word("bacth", words, COUNT), "batch");
    assert_string_equal(nearest_word("frame", words, COUNT), "frames");
    assert_string_equal(nearest_word("mask", words, COUNT), "mask");
}

static void test_far(void **state) {
    (void)state;
    assert_null(nearest_word("", words, COUNT));
    assert_null(nearest_word("zzzzzz", words, COUNT));
    assert_null(nearest_word("x", words, COUNT));
    assert_null(nearest_word("mask", words, 0));
    char longest[500];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_null(nearest_word(longest, words, COUNT));
    const char *const long_candidate[] = {longest};
    assert_null(nearest_word("aaaa", long_candidate, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_near), cmocka_unit_test(test_far)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
