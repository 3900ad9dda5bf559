/* Log lines go to stderr, whole; progress elsewhere than on a terminal does not flood a log. */
#include "base/log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void say(void) {
    log_info("read %d files", 3);
    log_warn("%s is odd", "this");
}

static void progress_twice(void) {
    Progress progress;
    progress_start(&progress, "index", 100, 10);
    progress_show(&progress, 20, "quick"); /* too early for a log line */
    progress.last_drawn -= 60;
    progress.started -= 60;
    progress_show(&progress, 40, "loss 0.61");
    progress_end(&progress);
}

static void progress_oddities(void) {
    Progress progress;
    const double totals[] = {0, 1e300, 5, 5}, done[] = {7, 1, 9, 0};
    for (int i = 0; i < 4; i++) {
        progress_start(&progress, "x", totals[i], 0);
        progress.last_drawn -= 60;
        progress_show(&progress, done[i], i ? "" : NULL);
    }
}

/* What `act` writes to stderr, which is a pipe meanwhile. */
static void capture(char *text, size_t room, void (*act)(void)) {
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    act();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    size_t used = 0;
    ssize_t got;
    while ((got = read(ends[0], text + used, room - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = 0;
    close(ends[0]);
}

static void test_lines(void **state) {
    (void)state;
    char text[4096];
    capture(text, sizeof text, say);
    assert_string_equal(text, "read 3 files\nwarning: this is odd\n");
}

static void test_progress(void **state) {
    (void)state;
    char text[4096];
    capture(text, sizeof text, progress_twice);
    /* 30 done in 60 s, 60 to go: two minutes, give or take the machine's own delay */
    assert_non_null(strstr(text, "index 40/100  loss 0.61  "));
    assert_non_null(strstr(text, " left\n"));
    assert_null(strstr(text, "quick"));
    assert_null(strchr(text, '\r'));
}

static void test_oddities(void **state) {
    (void)state;
    char text[4096];
    capture(text, sizeof text, progress_oddities);
    assert_non_null(strstr(text, "x 7\n"));
    assert_non_null(strstr(text, "x 9/5\n"));
    assert_non_null(strstr(text, "x 0/5\n"));
}

static void test_clock(void **state) {
    (void)state;
    double before = time_now();
    assert_true(time_now() >= before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines), cmocka_unit_test(test_progress),
        cmocka_unit_test(test_oddities), cmocka_unit_test(test_clock)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
