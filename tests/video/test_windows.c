/* Windows: each holds what clip_decode gives for the same frames, whatever the spacing, the overlap
 * and the size; they lie as far apart as was asked for, from the start to the end of the video. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include "video/encode.h"
#include "video/windows.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH  48
#define HEIGHT 32
#define FRAMES 301 /* more than one group of windows */

typedef struct Fixture {
    char folder[64];
    char *path;
    VideoFile file;
    VideoIndex index;
} Fixture;

static int begin(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    Error error = {0};
    VideoWriter *writer;
    strcpy(f->folder, "/tmp/jepa_windows_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->path = path_join(f->folder, "a.mp4");
    uint8_t *rgb = memory_new((size_t)WIDTH * HEIGHT, 3);
    assert_int_equal(video_writer_open(&writer, f->path, WIDTH, HEIGHT, 25, &error), 0);
    for (int t = 0; t < FRAMES; t++) {
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                uint8_t *pixel = rgb + (y * WIDTH + x) * 3;
                pixel[0] = (uint8_t)(x < t % WIDTH ? 220 : 30);
                pixel[1] = (uint8_t)(4 * y + t);
                pixel[2] = (uint8_t)(5 * x);
            }
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    free(rgb);
    video_file_scan(&f->file, f->path, NULL);
    assert_null(f->file.reason);
    f->file.name = memory_text("a.mp4");
    assert_int_equal(video_index_of_files(&f->index, &f->file, 1, NULL, 0, &error), 0);
    *state = f;
    return 0;
}

static int end(void **state) {
    Fixture *f = *state;
    unlink(f->path);
    rmdir(f->folder);
    video_index_free(&f->index);
    video_file_free(&f->file);
    free(f->path);
    free(f);
    return 0;
}

typedef struct Seen {
    const Fixture *f;
    const ClipSpec *clip;
    const int64_t *first;
    ClipDraw draw;
    WindowSpec spec;
    int64_t count, stop;
} Seen;

/* Picture `kind` of a window against clip_decode at that size. */
static void check_pictures(const Seen *seen, const Window *window, int kind) {
    Error error = {0};
    ClipDraw draw = seen->draw;
    ClipSpec spec = *seen->clip;
    spec.interpolation = CLIP_FAST;
    spec.crop = seen->spec.picture[kind].height;
    spec.crop_width = seen->spec.picture[kind].width;
    if (!spec.crop) {
        assert_null(window->picture[kind]);
        return;
    }
    if (seen->spec.picture[kind].whole) {
        draw.top = draw.left = 0;
        draw.height = HEIGHT;
        draw.width = WIDTH;
    }
    size_t area = (size_t)spec.crop * (size_t)spec.crop_width, frames = (size_t)spec.frames;
    uint8_t *clip = memory_new(3 * frames * area, 1);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    assert_int_equal(clip_decode(clip, decoder, &seen->f->file, &draw, &spec, &error), 0);
    for (size_t t = 0; t < frames; t++)
        for (size_t i = 0; i < area; i++)
            for (size_t c = 0; c < 3; c++)
                if (window->picture[kind][t][3 * i + c] != clip[(c * frames + t) * area + i])
                    fail_msg("window %d, picture of kind %d: frame %d differs", (int)window->number,
                             kind, (int)t);
    clip_decoder_free(decoder);
    free(clip);
}

static int check(void *context, const Window *window, Error *error) {
    Seen *seen = context;
    if (seen->stop && window->number == seen->stop)
        return error_set(error, ERROR_RUN, "enough");
    assert_int_equal(window->number, seen->count++);
    assert_int_equal(
        clip_draw_from(&seen->draw, &seen->f->file, seen->clip, seen->first[window->number], error),
        0);
    size_t frames = (size_t)seen->clip->frames;
    assert_memory_equal(window->frames, seen->draw.frames, frames * sizeof(int64_t));
    if (window->number % 7 > 1 && window->number + 1 < 270) /* some are enough */
        return 0;
    size_t area = (size_t)seen->clip->crop * (size_t)clip_width(seen->clip);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    if (seen->clip->interpolation == CLIP_PUBLISHED) {
        float *values = memory_new(3 * frames * area, sizeof *values);
        assert_null(window->pixels);
        assert_int_equal(
            clip_decode_values(values, decoder, &seen->f->file, &seen->draw, seen->clip, error), 0);
        assert_memory_equal(window->values, values, 3 * frames * area * sizeof *values);
        free(values);
    } else {
        uint8_t *clip = memory_new(3 * frames * area, 1);
        assert_null(window->values);
        assert_int_equal(clip_decode(clip, decoder, &seen->f->file, &seen->draw, seen->clip, error),
                         0);
        assert_memory_equal(window->pixels, clip, 3 * frames * area);
        free(clip);
    }
    clip_decoder_free(decoder);
    for (int kind = 0; kind < WINDOW_PICTURES; kind++)
        check_pictures(seen, window, kind);
    return 0;
}

/* All windows of the video, `stride` clip frames apart; returns how many. */
static int64_t read_windows(const Fixture *f, const ClipSpec *clip, int stride, int whole) {
    Error error = {0};
    int64_t *first, count;
    Seen seen = {.f = f, .clip = clip, .spec = {.clip = clip}};
    clip_draw_evaluation(&seen.draw, &f->index, 0, clip, 0, 1, 0, 1);
    seen.spec.crop = seen.draw;
    seen.spec.picture[0].height = 40;
    seen.spec.picture[0].width = 44;
    if (whole) {
        seen.spec.picture[2].height = 16;
        seen.spec.picture[2].width = 24;
        seen.spec.picture[2].whole = true;
    }
    assert_int_equal(windows_plan(&first, &count, &f->file, clip, 0, stride, 0, &error), 0);
    seen.first = first;
    if (windows_read(&f->file, &seen.spec, first, count, check, &seen, &error))
        fail_msg("%s", error.text);
    assert_int_equal(seen.count, count);
    free(first);
    return count;
}

static void steps(void **state) {
    const Fixture *f = *state;
    const ClipSpec clip = {.frames = 8, .step = 3, .crop = 16, .hdr = CLIP_HDR_TONEMAP};
    assert_int_equal(read_windows(f, &clip, 6, 1), (FRAMES - 22) / 18 + 1);
    const ClipSpec dense = {.frames = 4, .step = 1, .crop = 12, .crop_width = 20};
    assert_int_equal(read_windows(f, &dense, 1, 0), FRAMES - 3); /* two groups */
}

/* Frames of one window lie between those of the next. */
static void published(void **state) {
    const Fixture *f = *state;
    const ClipSpec clip = {.frames = 16,
                           .step = 4,
                           .spacing = CLIP_SPACING_PUBLISHED,
                           .interpolation = CLIP_PUBLISHED,
                           .crop = 16};
    assert_true(read_windows(f, &clip, 5, 0) > 8);
    const ClipSpec fast = {.frames = 16, .step = 1, .spacing = CLIP_SPACING_PUBLISHED, .crop = 8};
    assert_true(read_windows(f, &fast, 1, 0) > 256);
}

static void times(void **state) {
    const Fixture *f = *state;
    const ClipSpec clip = {.frames = 8, .step = 1, .fps = 10, .crop = 16};
    int64_t count = read_windows(f, &clip, 4, 0);
    assert_in_range(count, 25, 30); /* 12 s, one every 0.4 s, the last begins at 11.3 s */
}

static void limits(void **state) {
    const Fixture *f = *state;
    Error error = {0};
    int64_t *first, count;
    ClipSpec clip = {.frames = 8, .step = 3, .crop = 16};
    assert_int_equal(windows_plan(&first, &count, &f->file, &clip, 100, 4, 3, &error), 0);
    assert_int_equal(count, 3);
    assert_int_equal(first[0], 100);
    assert_int_equal(first[2], 124);
    Seen seen = {.f = f, .clip = &clip, .spec = {.clip = &clip}, .first = first, .stop = 1};
    clip_draw_evaluation(&seen.draw, &f->index, 0, &clip, 0, 1, 0, 1);
    seen.spec.crop = seen.draw;
    assert_int_equal(windows_read(&f->file, &seen.spec, first, count, check, &seen, &error), -1);
    assert_non_null(strstr(error.text, "enough"));
    assert_int_equal(seen.count, 1);
    free(first);

    assert_int_equal(windows_plan(&first, &count, &f->file, &clip, 290, 4, 0, &error), -1);
    assert_non_null(strstr(error.text, "0 to 279"));
    clip.step = 50;
    assert_int_equal(windows_plan(&first, &count, &f->file, &clip, 0, 4, 0, &error), -1);
    assert_non_null(strstr(error.text, "a.mp4: 301 frames"));
    assert_null(strchr(error.text, '\n'));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps),
        cmocka_unit_test(published),
        cmocka_unit_test(times),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
