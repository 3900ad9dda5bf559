/* Which videos train and which test: order of names, quarters, groups, refusals. */
#include "eval/split.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDS 4

static void natural(void **state) {
    (void)state;
    assert_true(natural_order("clip2.mp4", "clip10.mp4") < 0);
    assert_true(natural_order("clip010.mp4", "clip9.mp4") > 0);
    assert_true(natural_order("a1b2", "a1b10") < 0);
    assert_true(natural_order("a", "b") < 0);
    assert_int_equal(natural_order("a07", "a7"), 0);
}

/* An index without files on the disk: the split reads names and labels only. */
static VideoIndex make_index(const char *const *names, const int *labels, size_t count,
                             int classes) {
    VideoFile *files = memory_new(count, sizeof *files);
    const char **class_names = memory_new((size_t)classes, sizeof *class_names);
    VideoIndex index;
    Error error = {0};
    for (int k = 0; k < classes; k++)
        class_names[k] = memory_text("class%d", k);
    for (size_t i = 0; i < count; i++)
        files[i] = (VideoFile){
            .name = names[i], .label = labels[i], .frames = 1, .width = 1, .height = 1};
    assert_int_equal(video_index_of_files(&index, files, count, class_names, classes, &error), 0);
    for (int k = 0; k < classes; k++)
        free((void *)(uintptr_t)class_names[k]);
    free(class_names);
    free(files);
    return index;
}

static void the_last_quarter_of_each_class_tests(void **state) {
    (void)state;
    const char *names[16];
    char text[16][16];
    int labels[16];
    for (int i = 0; i < 16; i++) {
        snprintf(text[i], sizeof text[i], "%s%d.mp4", i < 8 ? "a" : "b", i < 8 ? i + 5 : i);
        names[i] = text[i];
        labels[i] = i >= 8;
    }
    VideoIndex index = make_index(names, labels, 16, 2);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, NULL, FOLDS, true, &error), 0);
    assert_int_equal(split.train_count, 12);
    assert_int_equal(split.test_count, 4);
    for (int i = 0; i < 16; i++)
        assert_int_equal(split.test[i], i % 8 >= 6); /* a11, a12 come after a5 .. a10 */
    for (int i = 0; i < 16; i++)
        assert_true(split.fold[i] >= 0 && split.fold[i] < FOLDS);
    split_free(&split);
    video_index_free(&index);
}

static void groups_stay_on_one_side(void **state) {
    (void)state;
    const char *names[] = {"x_g1_c1.mp4", "x_g1_c2.mp4", "x_g2_c1.mp4", "x_g2_c2.mp4",
                           "y_g1_c1.mp4", "y_g2_c1.mp4", "y_g3_c1.mp4", "y_g3_c2.mp4",
                           "x_g3_c1.mp4", "x_g3_c2.mp4"};
    const int labels[] = {0, 0, 0, 0, 1, 1, 1, 1, 0, 0};
    VideoIndex index = make_index(names, labels, 10, 2);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, "_(g[0-9]+)_", FOLDS, true, &error), 0);
    for (size_t i = 0; i < 10; i++)
        for (size_t k = 0; k < 10; k++)
            if (!strcmp(split.group[i], split.group[k]))
                assert_int_equal(split.test[i], split.test[k]);
    assert_string_equal(split.group[0], "g1");
    assert_true(split.test_count > 0 && split.train_count > 0);
    split_free(&split);
    assert_int_equal(split_make(&split, &index, "(", FOLDS, true, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    video_index_free(&index);
}

static void one_class_is_refused(void **state) {
    (void)state;
    const char *names[] = {"a1.mp4", "a2.mp4"};
    const int labels[] = {0, 0};
    VideoIndex index = make_index(names, labels, 2, 1);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, NULL, FOLDS, true, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    video_index_free(&index);
}

/* Where classes are not asked for, the last quarter of all files is the test set. */
static void without_classes(void **state) {
    (void)state;
    const char *names[] = {"a1.mp4", "a2.mp4", "a3.mp4", "a4.mp4",
                           "a5.mp4", "a6.mp4", "a7.mp4", "a8.mp4"};
    const int labels[] = {-1, -1, -1, -1, 0, -1, -1, -1};
    VideoIndex index = make_index(names, labels, 8, 1);
    Split split;
    Error error = {0};
    assert_int_equal(split_make(&split, &index, NULL, FOLDS, false, &error), 0);
    assert_true(split.train_count == 6 && split.test_count == 2);
    assert_true(split.test[6] && split.test[7] && !split.test[5]);
    split_free(&split);
    assert_int_equal(split_all_train(&split, &index, "a[1-4]", FOLDS, false, &error), 0);
    assert_true(split.train_count == 8);
    assert_string_equal(split.group[0], "a1");
    assert_string_equal(split.group[7], "a8.mp4");
    split_free(&split);
    assert_int_equal(split_all_train(&split, &index, "(", FOLDS, false, &error), -1);
    video_index_free(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(natural),
        cmocka_unit_test(the_last_quarter_of_each_class_tests),
        cmocka_unit_test(groups_stay_on_one_side),
        cmocka_unit_test(one_class_is_refused),
        cmocka_unit_test(without_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
