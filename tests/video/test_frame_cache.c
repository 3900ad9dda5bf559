/* The cache of frames: the same bytes as decoding, within its limit, in memory and in a folder. */
#include "base/file.h"
#include "video/encode.h"
#include "video/frame_cache.h"
#include <dirent.h>
#include <libavutil/frame.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SIDE 64
#define CLIP (4 * (SIDE * SIDE * 3 / 2)) /* bytes of 4 frames of 4:2:0, at least */

typedef struct Fixture {
    char *folder, *path;
    VideoFile file;
} Fixture;

static int setup(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    f->folder = memory_text("/tmp/jepa_cache_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->path = path_join(f->folder, "v.mp4");
    Error error = {0};
    VideoWriter *writer;
    uint8_t *rgb = memory_new(SIDE * SIDE, 3);
    assert_int_equal(video_writer_open(&writer, f->path, SIDE, SIDE, 25, &error), 0);
    for (int t = 0; t < 40; t++) {
        for (int i = 0; i < SIDE * SIDE * 3; i++)
            rgb[i] = (uint8_t)(i % 3 * 40 + 5 * t + i / 200);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    free(rgb);
    video_file_scan(&f->file, f->path, NULL);
    assert_null(f->file.reason);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    Error error = {0};
    video_file_free(&f->file);
    unlink(f->path);
    char *cache = path_join(f->folder, "frames");
    if (folder_exists(cache))
        folder_remove(cache, &error);
    free(cache);
    folder_remove(f->folder, &error);
    free(f->path);
    free(f->folder);
    free(f);
    return 0;
}

/* Sums of luma by place, and that what is told of the colours comes along. */
typedef struct Sums {
    uint64_t luma[8];
    size_t order[8], count;
    int colorspace;
} Sums;

static int take(void *context, size_t i, const AVFrame *frame, Error *error) {
    Sums *sums = context;
    (void)error;
    sums->order[sums->count++] = i;
    sums->luma[i] = 0;
    sums->colorspace = frame->colorspace;
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++)
            sums->luma[i] = sums->luma[i] * 31 + frame->data[0][y * frame->linesize[0] + x];
    return 0;
}

static Sums read_frames(FrameCache *cache, const VideoFile *file, const int64_t *frames) {
    Sums sums;
    bool timed_out;
    Error error = {0};
    memset(&sums, 0, sizeof sums);
    if (frame_cache_read(cache, file, frames, 4, 0, NULL, &timed_out, take, &sums, &error))
        fail_msg("%s", error.text);
    assert_int_equal(sums.count, 4);
    return sums;
}

static void check(Fixture *f, FrameCache *cache) {
    const int64_t frames[] = {7, 3, 30, 3};
    Sums straight = read_frames(NULL, &f->file, frames);
    Sums first = read_frames(cache, &f->file, frames),
         second = read_frames(cache, &f->file, frames);
    assert_memory_equal(&straight, &first, sizeof first);
    assert_memory_equal(&straight, &second, sizeof second);
    FrameCacheStats stats = frame_cache_stats(cache);
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.misses, 1);
    assert_true(stats.bytes >= CLIP);
    /* served without the file; another file's bytes are another key */
    char *away = path_join(f->folder, "away");
    assert_int_equal(rename(f->path, away), 0);
    Sums third = read_frames(cache, &f->file, frames);
    assert_memory_equal(&straight, &third, sizeof third);
    VideoFile other = f->file;
    Error error = {0};
    Sums none = {.count = 0};
    bool timed_out;
    other.hash.bytes[0] ^= 1;
    assert_int_equal(
        frame_cache_read(cache, &other, frames, 4, 0, NULL, &timed_out, take, &none, &error), -1);
    assert_int_equal(rename(away, f->path), 0);
    free(away);
}

static void test_memory(void **state) {
    FrameCache *cache;
    Error error = {0};
    assert_int_equal(frame_cache_open(&cache, 1 << 20, NULL, &error), 0);
    check(*state, cache);
    frame_cache_close(cache);
}

static void test_folder(void **state) {
    Fixture *f = *state;
    FrameCache *cache;
    Error error = {0};
    char *folder = path_join(f->folder, "frames");
    assert_int_equal(frame_cache_open(&cache, 1 << 20, folder, &error), 0);
    check(f, cache);
    frame_cache_close(cache);
    /* another run finds it; a damaged file is decoded again */
    const int64_t frames[] = {7, 3, 30, 3};
    Sums straight = read_frames(NULL, &f->file, frames);
    assert_int_equal(frame_cache_open(&cache, 1 << 20, folder, &error), 0);
    Sums again = read_frames(cache, &f->file, frames);
    assert_memory_equal(&straight, &again, sizeof again);
    assert_int_equal(frame_cache_stats(cache).hits, 1);
    DIR *open = opendir(folder);
    for (struct dirent *entry; (entry = readdir(open));)
        if (strstr(entry->d_name, ".frames")) {
            char *path = path_join(folder, entry->d_name);
            FILE *file = fopen(path, "r+");
            assert_int_equal(fseek(file, 300, SEEK_SET), 0);
            int byte = fgetc(file);
            assert_int_equal(fseek(file, 300, SEEK_SET), 0);
            fputc(byte ^ 255, file);
            fclose(file);
            free(path);
        }
    closedir(open);
    again = read_frames(cache, &f->file, frames);
    assert_memory_equal(&straight, &again, sizeof again);
    assert_int_equal(frame_cache_stats(cache).hits, 1);
    frame_cache_close(cache);
    free(folder);
}

/* The least recently used goes; the limit is kept. */
static void test_limit(void **state) {
    Fixture *f = *state;
    FrameCache *cache;
    Error error = {0};
    const int64_t first[] = {0, 1, 2, 3};
    assert_int_equal(frame_cache_open(&cache, 1 << 20, NULL, &error), 0);
    read_frames(cache, &f->file, first);
    size_t one = frame_cache_stats(cache).bytes;
    frame_cache_close(cache);
    assert_int_equal(frame_cache_open(&cache, 3 * one, NULL, &error), 0);
    for (int64_t k = 0; k < 8; k++) {
        const int64_t frames[] = {k, k + 1, k + 2, k + 3};
        read_frames(cache, &f->file, frames);
        read_frames(cache, &f->file, first); /* in use all the time: stays */
        assert_true(frame_cache_stats(cache).bytes <= 3 * one);
    }
    assert_int_equal(frame_cache_stats(cache).hits, 8);
    frame_cache_close(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
