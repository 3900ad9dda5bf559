/* Counting what is in an index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "video/census.h"
#include <stdio.h>
#include <string.h>

static VideoFile video(const char *name, int width, int rotation, double seconds, int label) {
    VideoFile f = {.path = name,
                   .name = name,
                   .label = label,
                   .bytes = 1000,
                   .width = width,
                   .height = 48,
                   .rotation = rotation,
                   .colour = {1, 1, 2, 2},
                   .streams = {1, label == 0, 0},
                   .fps = 25,
                   .duration = seconds,
                   .time_base = {1, 25},
                   .frames = (int64_t)(25 * seconds),
                   .packets = 1,
                   .timed = true,
                   .pts_step = 1};
    strcpy(f.codec, "h264");
    strcpy(f.container, "mov");
    strcpy(f.format, "yuv420p");
    return f;
}

static void kinds_are_counted(void **state) {
    (void)state;
    static const char *const classes[] = {"a", "b"};
    VideoFile files[] = {video("1", 64, 0, 4, 0), video("2", 96, 90, 1, 1),
                         video("3", 96, 90, 2, 1), video("4", 32, 0, 9, 0)};
    files[3].reason = "cut short";
    VideoIndex index;
    VideoCensus census;
    Error error = {0};
    assert_int_equal(video_index_of_files(&index, files, 4, classes, 2, &error), 0);
    video_census(&census, &index);
    assert_int_equal(census.videos, 4);
    assert_int_equal(census.usable, 3);
    assert_true(census.seconds[0] == 1 && census.seconds[1] == 2 && census.seconds[2] == 4);
    assert_true(census.duration == 7 && census.bytes == 3000);
    assert_true(census.frames[2] == 100);
    assert_int_equal(census.sizes.kinds, 2); /* as they are shown, the most frequent first */
    assert_string_equal(census.sizes.texts[0], "48x96");
    assert_int_equal(census.sizes.counts[0], 2);
    assert_string_equal(census.sizes.texts[1], "64x48");
    assert_int_equal(census.classes.kinds, 2);
    assert_string_equal(census.classes.texts[0], "b");
    assert_string_equal(census.colours.texts[0], "BT.709");
    assert_string_equal(census.rates.texts[0], "25");
    assert_int_equal(census.rotated, 2);
    assert_int_equal(census.with_audio, 1);
    assert_int_equal(census.uneven, 0);
    video_census_free(&census);
    video_index_free(&index);
}

static void many_kinds_are_bounded(void **state) {
    (void)state;
    enum { FILES = TALLY_KINDS + 50 };
    static char names[FILES][16];
    static VideoFile files[FILES];
    for (int i = 0; i < FILES; i++) {
        snprintf(names[i], sizeof names[i], "%06d", i);
        files[i] = video(names[i], 16 + i, 0, 1, -1);
    }
    VideoIndex index;
    VideoCensus census;
    Error error = {0};
    assert_int_equal(video_index_of_files(&index, files, FILES, NULL, 0, &error), 0);
    video_census(&census, &index);
    assert_int_equal(census.sizes.kinds, TALLY_KINDS);
    assert_int_equal(census.sizes.beyond, 50);
    assert_int_equal(census.classes.kinds, 0);
    video_census_free(&census);
    video_index_free(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_counted),
        cmocka_unit_test(many_kinds_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
