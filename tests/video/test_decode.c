/* Exact frames: whatever is asked for, in any container, equals what decoding from the start gives.
 */
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "video/decode.h"
#include "video/encode.h"
#include <dirent.h>
#include <libavutil/frame.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARED     JEPA_SOURCE_DIR "/../shared/videos"
#define FRAMES_MAX 512

/* Hash of a frame's planes, without the padding of their lines. */
static Hash frame_hash(const AVFrame *frame) {
    enum AVPixelFormat format = (enum AVPixelFormat)frame->format;
    int bytes = av_image_get_buffer_size(format, frame->width, frame->height, 1);
    assert_true(bytes > 0);
    uint8_t *buffer = memory_new((size_t)bytes, 1);
    av_image_copy_to_buffer(buffer, bytes, (const uint8_t *const *)frame->data, frame->linesize,
                            format, frame->width, frame->height, 1);
    Hash hash = hash_bytes(buffer, (size_t)bytes);
    free(buffer);
    return hash;
}

typedef struct Taken {
    Hash hashes[FRAMES_MAX];
    size_t count;
    size_t stop_at; /* -1 from the call that takes this one */
} Taken;

static int take(void *context, size_t i, const AVFrame *frame, Error *error) {
    Taken *taken = context;
    assert_true(i < FRAMES_MAX && taken->count < FRAMES_MAX);
    if (taken->count == taken->stop_at)
        return error_set(error, ERROR_RUN, "enough");
    taken->hashes[i] = frame_hash(frame); /* each once, whatever the order */
    taken->count++;
    return 0;
}

static void read_frames(Taken *taken, VideoReader *reader, const int64_t *frames, size_t count) {
    Error error = {0};
    taken->count = 0;
    taken->stop_at = SIZE_MAX;
    if (video_reader_frames(reader, frames, count, take, taken, &error))
        fail_msg("%s", error.text);
    assert_int_equal(taken->count, count);
}

static VideoReader *open_reader(const VideoFile *file) {
    VideoReader *reader;
    Error error = {0};
    if (video_reader_open(&reader, file, 0, &error))
        fail_msg("%s: %s", file->path, error.text);
    return reader;
}

static void assert_same_hash(const Hash *a, const Hash *b, const char *path, int64_t frame) {
    if (!hash_same(a, b))
        fail_msg("%s: frame %lld differs from decoding in order", path, (long long)frame);
}

/* All frames in order, then `tries` single frames and `tries` clips of 8, with the same reader and
 * with fresh ones. */
static void check_exact(const char *path, uint64_t tries) {
    VideoFile file = {0};
    video_file_scan(&file, path, NULL);
    if (file.reason)
        fail_msg("%s: %s", path, file.reason);
    assert_true(file.frames <= FRAMES_MAX);
    size_t count = (size_t)file.frames;
    Taken *all = memory_new(1, sizeof *all), *some = memory_new(1, sizeof *some);
    int64_t *frames = memory_new(count, sizeof *frames);
    for (size_t i = 0; i < count; i++)
        frames[i] = (int64_t)i;
    VideoReader *reader = open_reader(&file);
    read_frames(all, reader, frames, count);
    for (uint64_t t = 0; t < tries; t++) {
        Random random = random_at(7, RANDOM_TEST, t, 0);
        int64_t one = t == 0 ? 0 : t == 1 ? file.frames - 1 : (int64_t)random_below(&random, count);
        if (t % 2) { /* every other time in a file that nobody has read from */
            video_reader_close(reader);
            reader = open_reader(&file);
        }
        read_frames(some, reader, &one, 1);
        assert_same_hash(&some->hashes[0], &all->hashes[one], path, one);
        int64_t clip[8], step = 1 + (int64_t)random_below(&random, 5);
        for (int i = 0; i < 8; i++) { /* the last is repeated at the end of the file */
            clip[i] = one + i * step;
            clip[i] = clip[i] < file.frames ? clip[i] : file.frames - 1;
        }
        read_frames(some, reader, clip, 8);
        for (int i = 0; i < 8; i++)
            assert_same_hash(&some->hashes[i], &all->hashes[clip[i]], path, clip[i]);
        for (int i = 0; i < 8; i++) /* in no order, from all over the file */
            clip[i] = t % 3 ? (int64_t)random_below(&random, count) : file.frames - 1 - i * step;
        for (int i = 0; i < 8; i++)
            clip[i] = clip[i] < 0 ? 0 : clip[i];
        read_frames(some, reader, clip, 8);
        for (int i = 0; i < 8; i++)
            assert_same_hash(&some->hashes[i], &all->hashes[clip[i]], path, clip[i]);
    }
    video_reader_close(reader);
    free(frames);
    free(all);
    free(some);
    video_file_free(&file);
}

/* A video of `frames` frames; the grey of frame f is 8 f modulo 256, so that each has its own. */
static char *make_video(int frames, const char *encoder) {
    char *path = memory_text("/tmp/jepa_decode_%d.mp4", (int)getpid());
    Error error = {0};
    VideoWriter *writer;
    uint8_t rgb[32 * 32 * 3];
    if (video_writer_open_with(&writer, path, 32, 32, 25, encoder, &error))
        fail_msg("%s", error.text);
    for (int f = 0; f < frames; f++) {
        memset(rgb, 8 * f % 256, sizeof rgb);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    return path;
}

static void test_own_videos(void **state) {
    (void)state;
    const char *encoders[] = {NULL, "mpeg4"};
    for (size_t i = 0; i < 2; i++) {
        char *path = make_video(60, encoders[i]);
        check_exact(path, 20);
        assert_int_equal(unlink(path), 0);
        free(path);
    }
}

/* Not only equal to itself: frame f is the one that was written f-th. */
static int take_grey(void *context, size_t i, const AVFrame *frame, Error *error) {
    (void)error;
    ((int *)context)[i] = frame->data[0][frame->linesize[0] * 16 + 16];
    return 0;
}

static void test_the_right_frames(void **state) {
    (void)state;
    char *path = make_video(30, NULL);
    VideoFile file = {0};
    Error error = {0};
    video_file_scan(&file, path, NULL);
    assert_null(file.reason);
    assert_int_equal(file.frames, 30);
    VideoReader *reader = open_reader(&file);
    const int64_t frames[] = {0, 3, 3, 17, 29};
    int greys[5];
    assert_int_equal(video_reader_frames(reader, frames, 5, take_grey, greys, &error), 0);
    for (int i = 0; i < 5; i++) { /* luma of limited range: 16 + 219 / 255 · grey */
        int expected = (int)(16 + 219.0 / 255 * (double)(8 * frames[i]) + 0.5);
        assert_in_range(greys[i], expected - 3, expected + 3);
    }
    video_reader_close(reader);
    video_file_free(&file);
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void test_wrong_numbers(void **state) {
    (void)state;
    char *path = make_video(10, NULL);
    VideoFile file = {0};
    video_file_scan(&file, path, NULL);
    VideoReader *reader = open_reader(&file);
    Taken taken = {.stop_at = SIZE_MAX};
    const int64_t wrong[][2] = {{0, 10}, {-1, 0}};
    for (size_t i = 0; i < 2; i++) {
        Error error = {0};
        assert_int_equal(video_reader_frames(reader, wrong[i], 2, take, &taken, &error), -1);
        assert_non_null(strstr(error.text, "10")); /* how many there are */
        assert_int_equal(taken.count, 0);
    }
    Error error = {0};
    assert_int_equal(video_reader_frames(reader, wrong[0], 0, take, &taken, &error), 0);
    taken.stop_at = 1; /* the taker's own error ends it */
    const int64_t frames[] = {1, 2, 3};
    assert_int_equal(video_reader_frames(reader, frames, 3, take, &taken, &error), -1);
    assert_non_null(strstr(error.text, "enough"));
    assert_int_equal(taken.count, 1);
    video_reader_close(reader);

    /* An index that promises more than the file holds: an error, no other frame, no crash. */
    assert_true(file.timed && file.pts_step > 0);
    file.timed = false;
    file.frames = 1000;
    reader = open_reader(&file);
    const int64_t late[] = {3, 700};
    taken = (Taken){.stop_at = SIZE_MAX};
    assert_int_equal(video_reader_frames(reader, late, 2, take, &taken, &error), -1);
    assert_non_null(strstr(error.text, "700"));
    video_reader_close(reader);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(video_reader_open(&reader, &file, 0, &error), -1);
    video_reader_close(reader);
    video_file_free(&file);
    free(path);
}

static void check_folder(const char *folder, uint64_t tries, int most) {
    if (!folder_exists(folder)) {
        print_message("no %s here: skipped\n", folder);
        skip();
    }
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort), checked = 0;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (name[0] != '.' && strncmp(name, "LICENSE", 7) && strncmp(name, "corrupted", 9) &&
            strncmp(name, "audio_only", 10) && checked++ < most) {
            char *path = path_join(folder, name);
            check_exact(path, tries);
            free(path);
        }
        free(names[i]);
    }
    free(names);
}

static void test_containers(void **state) {
    (void)state;
    check_folder(SHARED "/containers", 6, 100);
}

static void test_edge_cases(void **state) {
    (void)state;
    check_folder(SHARED "/edge_cases", 3, 100);
}

static void test_surveillance(void **state) {
    (void)state;
    check_folder(SHARED "/surveillance/fight", 3, 5);
}

/* Damaged files read through an index entry that claims they are whole. */
static void test_damaged(void **state) {
    (void)state;
    const char *folder = SHARED "/damaged";
    if (!folder_exists(folder)) {
        print_message("no %s here: skipped\n", folder);
        skip();
    }
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]->d_name);
        VideoFile file = {.path = path, .name = path, .frames = 1000};
        VideoReader *reader;
        Error error = {0};
        const int64_t frames[] = {0, 40, 200, 999};
        Taken taken = {.stop_at = SIZE_MAX};
        if (names[i]->d_name[0] != '.') {
            if (!video_reader_open(&reader, &file, 0, &error))
                assert_int_equal(video_reader_frames(reader, frames, 4, take, &taken, &error), -1);
            video_reader_close(reader);
        }
        free(path);
        free(names[i]);
    }
    free(names);
}

int main(void) {
    av_log_set_level(AV_LOG_QUIET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_videos),    cmocka_unit_test(test_the_right_frames),
        cmocka_unit_test(test_wrong_numbers), cmocka_unit_test(test_containers),
        cmocka_unit_test(test_edge_cases),    cmocka_unit_test(test_surveillance),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
