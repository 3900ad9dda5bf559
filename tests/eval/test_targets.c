/* Labels and numbers of videos from a CSV: what is read, and what is refused with its line. */
#include "base/file.h"
#include "eval/targets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = {"a/one.mp4", "a/two, \"2\".mp4", "b/three.mp4", "broken.mp4"};

static VideoIndex make_index(void) {
    VideoFile files[4];
    VideoIndex index;
    Error error = {0};
    static const char *const class_names[] = {"a", "b"};
    for (int i = 0; i < 4; i++)
        files[i] = (VideoFile){.name = names[i],
                               .label = i == 3 ? -1 : i / 2,
                               .frames = 1,
                               .width = 1,
                               .height = 1,
                               .reason = i == 3 ? "empty" : NULL};
    assert_int_equal(video_index_of_files(&index, files, 4, class_names, 2, &error), 0);
    return index;
}

static char path[64];

static int read_text(Targets *t, Task task, const char *text, int64_t *others, Error *error) {
    VideoIndex index = make_index();
    memset(error, 0, sizeof *error);
    assert_int_equal(file_write(path, text, strlen(text), error), 0);
    int result = targets_read(t, path, task, &index, others, error);
    video_index_free(&index);
    return result;
}

static void classes_of_an_index(void **state) {
    (void)state;
    VideoIndex index = make_index();
    Targets t, some;
    const int64_t items[] = {2, 0};
    targets_of_classes(&t, &index);
    assert_int_equal(t.outputs, 2);
    assert_true(t.classes[1] == 0 && t.classes[2] == 1 && t.classes[3] == -1);
    targets_take(&some, &t, items, 2);
    assert_true(some.count == 2 && some.classes[0] == 1 && some.classes[1] == 0);
    assert_string_equal(some.names[1], "b");
    targets_free(&some);
    targets_free(&t);
    video_index_free(&index);
}

static void numbers_by_name(void **state) {
    (void)state;
    Targets t, some;
    Error error;
    int64_t others;
    const char *text =
        "file,x,\"speed, px\"\r\nb/three.mp4,1.5,-2e1\r\n\"a/two, \"\"2\"\".mp4\",3, 4 \n\n"
        "elsewhere.mp4,0,0\na/one.mp4,\"7\",8";
    assert_int_equal(read_text(&t, TASK_VALUES, text, &others, &error), 0);
    assert_true(t.outputs == 2 && t.count == 4 && others == 1);
    assert_string_equal(t.names[1], "speed, px");
    const float expected[] = {7, 8, 3, 4, 1.5F, -20, 0, 0};
    assert_memory_equal(t.values, expected, sizeof expected);
    const int64_t items[] = {2};
    targets_take(&some, &t, items, 1);
    assert_true(some.values[0] == 1.5F && some.values[1] == -20);
    targets_free(&some);
    targets_free(&t);
}

static void labels_are_zero_or_one(void **state) {
    (void)state;
    Targets t;
    Error error;
    assert_int_equal(read_text(&t, TASK_LABELS,
                               "file,dog\na/one.mp4,1\n\"a/two, \"\"2\"\".mp4\",0\nb/three.mp4,1\n",
                               NULL, &error),
                     0);
    assert_true(t.values[0] == 1 && t.values[1] == 0);
    targets_free(&t);
    assert_int_equal(read_text(&t, TASK_LABELS, "file,dog\na/one.mp4,0.5\n", NULL, &error), -1);
    assert_non_null(strstr(error.text, "expected 0 or 1"));
}

static void bad_files_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "expected the header"},
        {"name,x\n", "expected the header"},
        {"file\n", "expected the header"},
        {"file,x,x\n", "two columns of the same name"},
        {"file,,x\n", "a column without a name"},
        {"file,\"x\n", "a quote that is not closed"},
        {"file,x\na/one.mp4,1,2\n", "line 2: more fields"},
        {"file,x,y\na/one.mp4,1\n", "line 2: fewer fields"},
        {"file,x\na/one.mp4,one\n", "line 2: x is \"one\": expected a number"},
        {"file,x\na/one.mp4,nan\n", "expected a number"},
        {"file,x\na/one.mp4,1e99\n", "expected a number"},
        {"file,x\na/one.mp4,\n", "expected a number"},
        {"file,x\na/one.mp4,1\na/one.mp4,1\n", "line 3: a/one.mp4 is named a second time"},
        {"file,x\n\"a\"b,1\n", "line 2: a quote"},
        {"file,x\na/one.mp4\n", "line 2: one field only"},
        {"file,x\na/one.mp4,1\n", "no line for 2 of 3 videos, the first of them a/two"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Targets t;
        Error error;
        assert_int_equal(read_text(&t, TASK_VALUES, cases[i][0], NULL, &error), -1);
        assert_int_equal(error.code, ERROR_USAGE);
        if (!strstr(error.text, cases[i][1]))
            fail_msg("\"%s\" is not in \"%s\"", cases[i][1], error.text);
    }
    Targets t;
    Error error = {0};
    VideoIndex index = make_index();
    assert_int_equal(file_write(path, "file,x\na\0b,1\n", 13, &error), 0);
    assert_int_equal(targets_read(&t, path, TASK_VALUES, &index, NULL, &error), -1);
    assert_non_null(strstr(error.text, "zero byte"));
    unlink(path);
    assert_int_equal(targets_read(&t, path, TASK_VALUES, &index, NULL, &error), -1);
    video_index_free(&index);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/jepa_targets_%d.csv", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_of_an_index),
        cmocka_unit_test(numbers_by_name),
        cmocka_unit_test(labels_are_zero_or_one),
        cmocka_unit_test(bad_files_are_refused),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return result;
}
