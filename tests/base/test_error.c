/* Errors: one line, never overrun, prefixes, and the loud end of a broken invariant. */
#include "base/error.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_set(void **state) {
    (void)state;
    Error error = {0};
    assert_int_equal(error_set(&error, ERROR_USAGE, "%s has %d", "it", 3), -1);
    assert_string_equal(error.text, "it has 3");
    assert_int_equal(error.code, ERROR_USAGE);
    assert_int_equal(error_set(NULL, ERROR_RUN, "nobody listens"), -1);
    assert_int_equal(error_prefix(NULL, "nobody listens"), -1);
}

static void test_prefix(void **state) {
    (void)state;
    Error error = {0};
    error_fill(&error, ERROR_USAGE, "bad number");
    assert_int_equal(error_prefix(&error, "step %d", 7), -1);
    assert_string_equal(error.text, "step 7: bad number");
    assert_int_equal(error.code, ERROR_USAGE); /* the code of the first cause stays */
    Error empty = {0};
    error_extend(&empty, "here");
    assert_int_equal(empty.code, ERROR_RUN);
}

static void test_own_text_as_argument(void **state) {
    (void)state;
    Error error = {0};
    error_fill(&error, ERROR_RUN, "first");
    error_fill(&error, ERROR_RUN, "second after %s", error.text);
    assert_string_equal(error.text, "second after first");
}

static void test_one_line(void **state) {
    (void)state;
    Error error = {0};
    error_fill(&error, ERROR_RUN, "no file %s", "a\nb\033[31m\x7f \xc3\xa9");
    assert_string_equal(error.text, "no file a?b?[31m? \xc3\xa9");
    error_extend(&error, "%s", "x\ny");
    assert_string_equal(error.text, "x?y: no file a?b?[31m? \xc3\xa9");
}

static void test_truncation(void **state) {
    (void)state;
    struct {
        Error error;
        char guard[16];
    } inside = {0};
    char *text = memory_new(5001, 1);
    memset(text, 'x', 5000);
    memset(inside.guard, 'g', sizeof inside.guard);
    error_fill(&inside.error, ERROR_RUN, "%s", text);
    assert_int_equal(strlen(inside.error.text), sizeof inside.error.text - 1);
    for (int i = 0; i < 3; i++)
        error_extend(&inside.error, "%s", text);
    assert_true(strlen(inside.error.text) < sizeof inside.error.text);
    for (size_t i = 0; i < sizeof inside.guard; i++)
        assert_int_equal(inside.guard[i], 'g');
    free(text);
}

static void test_memory(void **state) {
    (void)state;
    unsigned char *memory = memory_new(100, 3);
    for (int i = 0; i < 300; i++)
        assert_int_equal(memory[i], 0);
    memory[299] = 9;
    memory = memory_grow(memory, 1000, 3);
    assert_int_equal(memory[299], 9);
    free(memory);
    free(memory_new(0, 0));
    free(memory_grow(NULL, 0, 8));
    char *text = memory_text("%d-%s", 5, "x");
    assert_string_equal(text, "5-x");
    free(text);
}

static void overflow(void) {
    free(memory_grow(NULL, (unsigned long)-1, 16));
}

static void broken(void) {
    JEPA_ASSERT(1 + 1 == 3);
}

/* Runs `act` in a child; expects it to die of SIGABRT and to say `word` on stderr. */
static void expect_abort(void (*act)(void), const char *word) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        act();
        _exit(0);
    }
    close(ends[1]);
    char said[4096] = "";
    size_t used = 0;
    ssize_t got;
    while ((got = read(ends[0], said + used, sizeof said - 1 - used)) > 0)
        used += (size_t)got;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, word));
}

static void test_aborts(void **state) {
    (void)state;
    expect_abort(broken, "1 + 1 == 3");
    expect_abort(overflow, "no memory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),      cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_one_line), cmocka_unit_test(test_own_text_as_argument),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_aborts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
