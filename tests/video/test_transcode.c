/* Transcoding keeps what it should: times, colours, uprightness, names, labels; and goes on. */
#include "base/file.h"
#include "video/clip.h"
#include "video/encode.h"
#include "video/prepare.h"
#include <ftw.h>
#include <libavutil/frame.h>
#include <libavutil/log.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARED JEPA_SOURCE_DIR "/../shared/videos"

static int setup(void **state) {
    char *folder = memory_text("/tmp/jepa_transcode_XXXXXX");
    *state = folder;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about, (void)kind, (void)place;
    return remove(path);
}

static int teardown(void **state) {
    int result = nftw(*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return result;
}

/* Frames at uneven times, in quarters of red, green, blue and grey that grow with time. */
static void make_video(const char *path, int width, int height, int frames) {
    VideoWriterSpec spec = {.width = width,
                            .height = height,
                            .time_base = {1, 1000},
                            .rate = {25, 1},
                            .gop = 12,
                            .crf = 10,
                            .matrix = AVCOL_SPC_BT709,
                            .primaries = AVCOL_PRI_BT709,
                            .transfer = AVCOL_TRC_BT709};
    VideoWriter *writer;
    Error error = {0};
    if (video_writer_open_spec(&writer, path, &spec, &error))
        fail_msg("%s", error.text);
    int64_t pts = 7;
    for (int f = 0; f < frames; f++) {
        AVFrame *picture = video_writer_picture(writer, &error);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                picture->data[0][y * picture->linesize[0] + x] =
                    (uint8_t)(60 + 3 * f + (x < width / 2 ? 40 : 0));
        for (int y = 0; y < height / 2; y++)
            for (int x = 0; x < width / 2; x++) {
                picture->data[1][y * picture->linesize[1] + x] = (uint8_t)(y < height / 4 ? 90
                                                                                          : 160);
                picture->data[2][y * picture->linesize[2] + x] = (uint8_t)(x < width / 4 ? 170
                                                                                         : 100);
            }
        assert_int_equal(video_writer_put(writer, pts, &error), 0);
        pts += 20 + f * 7 % 60;
    }
    if (video_writer_close(writer, &error))
        fail_msg("%s", error.text);
}

static VideoFile scan(const char *path) {
    VideoFile file = {0};
    video_file_scan(&file, path, NULL);
    if (file.reason)
        fail_msg("%s: %s", path, file.reason);
    return file;
}

static int take_rgb(void *context, size_t i, const AVFrame *frame, Error *error) {
    int width, height;
    (void)i;
    return clip_frame_rgb(context, &width, &height, frame, 0, error);
}

static uint8_t *frame_rgb(const VideoFile *file, int64_t number) {
    VideoReader *reader;
    Error error = {0};
    uint8_t *rgb = NULL;
    assert_int_equal(video_reader_open(&reader, file, 0, &error), 0);
    if (video_reader_frames(reader, &number, 1, take_rgb, &rgb, &error))
        fail_msg("%s", error.text);
    video_reader_close(reader);
    return rgb;
}

static TranscodeSettings plain(void) {
    return (TranscodeSettings){.short_side = 64, .gop = 8, .crf = 12};
}

static void test_times_and_colours(void **state) {
    char *path = path_join(*state, "a.mp4"), *to = path_join(*state, "b.mp4");
    make_video(path, 128, 96, 40);
    VideoFile from = scan(path);
    TranscodeSettings settings = plain();
    TranscodeResult result;
    Error error = {0};
    if (transcode_video(&result, to, &from, &settings, &error))
        fail_msg("%s", error.text);
    assert_int_equal(result.frames, 40);
    assert_int_equal(result.width, 86);
    assert_int_equal(result.height, 64);
    VideoFile made = scan(to);
    assert_int_equal(made.frames, 40);
    assert_true(hash_same(&made.hash, &result.hash));
    for (int64_t f = 0; f < 40; f++) /* to the tick: milliseconds in both */
        assert_true(fabs(video_file_seconds(&from, f) - video_file_seconds(&made, f)) < 1e-9);
    size_t longest = 0;
    for (size_t k = 1; k < made.key_count; k++) {
        size_t gap = (size_t)(made.key_frame[k] - made.key_frame[k - 1]);
        longest = gap > longest ? gap : longest;
    }
    assert_in_range(longest, 1, 8);
    for (int64_t f = 0; f < 40; f += 13) { /* middles of the four quarters */
        uint8_t *before = frame_rgb(&from, f), *after = frame_rgb(&made, f);
        for (int q = 0; q < 4; q++)
            for (int c = 0; c < 3; c++) {
                int x = q % 2 ? 3 : 1, y = q / 2 ? 3 : 1;
                int old = before[((96 * y / 4) * 128 + 128 * x / 4) * 3 + c];
                int new = after[((64 * y / 4) * 86 + 86 * x / 4) * 3 + c];
                assert_true(abs(old - new) <= 5);
            }
        free(before);
        free(after);
    }
    video_file_free(&made);
    settings.fps = 10; /* brought to a rate: the frame that is shown at each tick */
    assert_int_equal(transcode_video(&result, to, &from, &settings, &error), 0);
    made = scan(to);
    assert_int_equal(made.frames, result.frames);
    assert_in_range(result.frames, (int64_t)(from.duration * 10),
                    (int64_t)(from.duration * 10) + 1);
    for (int64_t f = 0; f < made.frames; f += 5) {
        assert_true(fabs(video_file_seconds(&made, f) - (double)f / 10) < 1e-6);
        uint8_t *before = frame_rgb(&from, video_file_frame_at(&from, (double)f / 10));
        uint8_t *after = frame_rgb(&made, f);
        assert_true(abs(before[(24 * 128 + 32) * 3] - after[(16 * 86 + 21) * 3]) <= 5);
        free(before);
        free(after);
    }
    video_file_free(&made);
    video_file_free(&from);
    free(path);
    free(to);
}

static void test_sizes(void **state) {
    const int cases[][4] = {{32, 24, 32, 24}, {128, 256, 64, 128}, {66, 64, 66, 64}};
    for (int i = 0; i < 3; i++) {
        char *path = path_join(*state, "a.mp4"), *to = path_join(*state, "b.mp4");
        make_video(path, cases[i][0], cases[i][1], 5);
        VideoFile from = scan(path);
        TranscodeSettings settings = plain();
        TranscodeResult result;
        Error error = {0};
        assert_int_equal(transcode_video(&result, to, &from, &settings, &error), 0);
        assert_int_equal(result.width, cases[i][2]);
        assert_int_equal(result.height, cases[i][3]);
        video_file_free(&from);
        free(path);
        free(to);
    }
}

/* Awkward real files: upright, as many frames, the same times; damaged ones refused. */
static void test_real_files(void **state) {
    const char *names[] = {"containers/rot.mp4",
                           "containers/vfr.mp4",
                           "containers/editlist_cut.mp4",
                           "containers/h264_in_avi.avi",
                           "edge_cases/bt601_full_range.mp4",
                           "edge_cases/testsrc2_444_10bit_hevc.mp4",
                           "edge_cases/testsrc2_odd_height_and_width_mpeg2.mp4",
                           "edge_cases/animated.gif"};
    if (!folder_exists(SHARED "/containers")) {
        print_message("no " SHARED " here: skipped\n");
        skip();
    }
    char *to = path_join(*state, "b.mp4");
    TranscodeSettings settings = plain();
    TranscodeResult result;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = path_join(SHARED, names[i]);
        VideoFile from = scan(path);
        Error error = {0};
        if (transcode_video(&result, to, &from, &settings, &error))
            fail_msg("%s: %s", path, error.text);
        VideoFile made = scan(to);
        assert_int_equal(made.frames, from.frames);
        assert_int_equal(made.rotation, 0);
        double before = (double)video_file_width(&from) / video_file_height(&from);
        double after = (double)made.width / made.height;
        assert_true(fabs(after / before - 1) < 0.05);
        for (int64_t f = 0; f < made.frames && from.timed; f++)
            if (fabs(video_file_seconds(&from, f) - video_file_seconds(&made, f)) > 1e-6)
                fail_msg("%s: frame %lld at %f, was at %f", path, (long long)f,
                         video_file_seconds(&made, f), video_file_seconds(&from, f));
        video_file_free(&from);
        video_file_free(&made);
        free(path);
    }
    /* full range becomes limited, whether the size changes or not */
    const int sides[] = {64, 4096};
    for (int i = 0; i < 2; i++) {
        VideoFile from = scan(SHARED "/edge_cases/bt601_full_range.mp4");
        Error error = {0};
        settings.short_side = sides[i];
        if (transcode_video(&result, to, &from, &settings, &error))
            fail_msg("%s", error.text);
        VideoFile made = scan(to);
        uint8_t *before = frame_rgb(&from, 3), *after = frame_rgb(&made, 3);
        double sums[2] = {0, 0}, squares[2] = {0, 0};
        for (int k = 0; k < from.width * from.height * 3; k++)
            sums[0] += before[k], squares[0] += before[k] * before[k];
        for (int k = 0; k < made.width * made.height * 3; k++)
            sums[1] += after[k], squares[1] += after[k] * after[k];
        double count[2] = {3. * from.width * from.height, 3. * made.width * made.height};
        double mean[2], spread[2];
        for (int k = 0; k < 2; k++) {
            mean[k] = sums[k] / count[k];
            spread[k] = sqrt(squares[k] / count[k] - mean[k] * mean[k]);
        }
        /* mistaken ranges change the contrast by 255 / 219 */
        if (fabs(mean[0] - mean[1]) > 3 || fabs(spread[1] / spread[0] - 1) > 0.06)
            fail_msg("side %d: mean %.1f to %.1f, spread %.1f to %.1f", sides[i], mean[0], mean[1],
                     spread[0], spread[1]);
        free(before);
        free(after);
        video_file_free(&from);
        video_file_free(&made);
    }
    settings = plain();
    char *path = path_join(SHARED, "damaged/h264_flip0.0001.mp4");
    VideoFile claimed = scan(SHARED "/containers/vfr.mp4"); /* an entry that does not fit */
    free((void *)(uintptr_t)claimed.path);
    claimed.path = path;
    Error error = {0};
    unlink(to);
    assert_int_equal(transcode_video(&result, to, &claimed, &settings, &error), -1);
    assert_false(file_exists(to));
    video_file_free(&claimed);
    free(to);
}

static char *read_text(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    if (file_read(&bytes, &count, path, 1 << 20, &error))
        fail_msg("%s", error.text);
    free(path);
    return (char *)bytes;
}

/* Folders, names that would collide, labels, what cannot be used, other settings. */
static void test_folder(void **state) {
    char *source = path_join(*state, "in"), *out = path_join(*state, "out");
    char *b = path_join(source, "b"), *a = path_join(source, "a \"x\"");
    Error error = {0};
    assert_int_equal(folder_make(a, &error), 0);
    assert_int_equal(folder_make(b, &error), 0);
    const char *names[] = {"one.mp4", "one.mov", "TWO.mp4"};
    for (int i = 0; i < 3; i++) {
        char *path = path_join(i < 2 ? a : b, names[i]), *made = path_join(*state, "made.mp4");
        make_video(made, 32, 24, 4 + i);
        assert_int_equal(rename(made, path), 0);
        free(path);
        free(made);
    }
    char *bad = path_join(b, "bad.mp4");
    assert_int_equal(file_write(bad, "", 0, &error), 0);
    VideoIndex index;
    assert_int_equal(video_index_build(&index, source, 1, &error), 0);
    TranscodeSettings settings = plain();
    PrepareSummary sum;
    if (prepare_videos(&sum, out, &index, &settings, 2, &error))
        fail_msg("%s", error.text);
    assert_int_equal(sum.done, 3);
    assert_int_equal(sum.unusable, 1);
    char *csv = read_text(out, "transcode.csv"), *list = read_text(out, "videos.csv");
    assert_non_null(strstr(csv, "\"a \"\"x\"\"/one.mov.mp4\""));
    assert_non_null(strstr(csv, "\"a \"\"x\"\"/one.mp4.mp4\""));
    assert_non_null(strstr(csv, "\"b/TWO.mp4\""));
    assert_non_null(strstr(csv, "0 bytes"));
    assert_string_equal(list, "\"a \"\"x\"\"/one.mov.mp4\" a \"x\"\n"
                              "\"a \"\"x\"\"/one.mp4.mp4\" a \"x\"\n\"b/TWO.mp4\" b\n");
    /* nothing is done twice; a result that is gone is made again, to the same record */
    char *two = path_join(out, "b/TWO.mp4");
    assert_int_equal(unlink(two), 0);
    assert_int_equal(prepare_videos(&sum, out, &index, &settings, 2, &error), 0);
    assert_int_equal(sum.done, 1);
    assert_int_equal(sum.kept, 2);
    char *again = read_text(out, "transcode.csv");
    assert_string_equal(csv, again);
    settings.gop = 4;
    assert_int_equal(prepare_videos(&sum, out, &index, &settings, 2, &error), -1);
    assert_non_null(strstr(error.text, "other settings"));
    video_index_free(&index);
    /* the list that came out is one that can be read */
    char *path = path_join(out, "videos.csv");
    if (video_index_build(&index, path, 1, &error))
        fail_msg("%s", error.text);
    assert_int_equal(index.usable, 3);
    assert_int_equal(index.classes, 2);
    video_index_free(&index);
    free(csv);
    free(list);
    free(again);
    free(two);
    free(path);
    free(bad);
    free(a);
    free(b);
    free(source);
    free(out);
}

int main(void) {
    av_log_set_level(AV_LOG_QUIET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_times_and_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_real_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
