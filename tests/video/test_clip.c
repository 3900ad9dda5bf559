/* Clips: which frames, which crop, and that the pixels are those of the crop, upright. */
#include "base/file.h"
#include "video/clip.h"
#include "video/encode.h"
#include "video/sampler.h"
#include <jansson.h>
#include <libavutil/frame.h>
#include <libavutil/log.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARED JEPA_SOURCE_DIR "/../shared"

static ClipSpec spec_16x4(void) {
    return (ClipSpec){.frames = 16,
                      .step = 4,
                      .crop = 32,
                      .scale = {0.3, 1.0},
                      .ratio = {0.75, 1.35},
                      .flip = true};
}

/* A file that exists only on paper. */
static VideoFile paper_file(int64_t frames, int width, int height) {
    return (VideoFile){.label = -1,
                       .width = width,
                       .height = height,
                       .fps = 25,
                       .frames = frames,
                       .duration = (double)frames / 25};
}

static VideoIndex paper_pack(const VideoFile *files, size_t count) {
    VideoIndex index;
    Error error = {0};
    if (video_index_of_files(&index, files, count, NULL, 0, &error))
        fail_msg("%s", error.text);
    return index;
}

static VideoIndex paper_index(uint32_t count, int64_t frames, int width, int height) {
    VideoFile *files = memory_new(count, sizeof *files);
    for (uint32_t i = 0; i < count; i++)
        files[i] = paper_file(frames, width, height);
    VideoIndex index = paper_pack(files, count);
    free(files);
    return index;
}

static void paper_free(VideoIndex *index) {
    video_index_free(index);
}

/* One draw of training, each video as often as any other. */
static void draw_training(ClipDraw *draw, const VideoIndex *index, const ClipSpec *spec,
                          uint64_t seed, uint64_t step, uint64_t slots, uint64_t slot,
                          int attempt) {
    SamplerSettings settings = {.clip = *spec, .num_clips = 1, .seed = seed};
    Sampler sampler;
    Error error = {0};
    if (sampler_new(&sampler, index, &settings, &error))
        fail_msg("%s", error.text);
    sampler_draw(&sampler, draw, step, slots, slots, slot, attempt);
    sampler_free(&sampler);
}

static void check_published(int64_t video_frames, int count, int step, int64_t window_end,
                            const int64_t *expected) {
    int64_t frames[CLIP_FRAMES_MAX];
    clip_frames_published(frames, video_frames, count, step, window_end);
    for (int i = 0; i < count; i++)
        if (frames[i] != expected[i])
            fail_msg("%lld frames, %d x %d, end %lld: frame %d is %lld, published %lld",
                     (long long)video_frames, count, step, (long long)window_end, i,
                     (long long)frames[i], (long long)expected[i]);
}

static void test_published_frames(void **state) {
    (void)state;
    const int64_t first[] = {0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63};
    const int64_t forty[] = {0, 4, 8, 13, 17, 22, 26, 31, 35, 39, 39, 39, 39, 39, 39, 39};
    const int64_t eight[] = {0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
    const int64_t three[] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
    check_published(300, 16, 4, 64, first);
    check_published(64, 16, 4, -1, first);
    check_published(40, 16, 4, -1, forty);
    check_published(8, 16, 4, -1, eight);
    check_published(3, 16, 4, -1, three);
    /* where numpy's rounding shows: its linspace(0, 122, 15)[7] is a hair below 61 */
    const int64_t hair[] = {0, 8, 17, 26, 34, 43, 52, 60, 69, 78, 87, 95, 104, 113, 121, 121};
    check_published(122, 16, 8, -1, hair);
}

static void test_published_cases(void **state) {
    (void)state;
    const char *path = SHARED "/reference/transforms/cases.json";
    json_t *root = json_load_file(path, 0, NULL);
    if (!root) {
        print_message("no %s here: skipped\n", path);
        skip();
    }
    const json_t *cases = json_object_get(root, "clip_indices_published");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i), *indices = json_object_get(one, "indices");
        const json_t *end = json_object_get(one, "window_end");
        int64_t expected[CLIP_FRAMES_MAX];
        for (size_t k = 0; k < json_array_size(indices); k++)
            expected[k] = json_integer_value(json_array_get(indices, k));
        check_published(json_integer_value(json_object_get(one, "video_frames")),
                        (int)json_integer_value(json_object_get(one, "frames_per_clip")),
                        (int)json_integer_value(json_object_get(one, "frame_step")),
                        json_is_integer(end) ? json_integer_value(end) : -1, expected);
    }
    json_decref(root);
}

/* One epoch shows every file once; the next in another order; the same question, the same answer.
 */
static void test_epochs(void **state) {
    (void)state;
    VideoIndex index = paper_index(23, 100, 320, 240);
    ClipSpec spec = spec_16x4();
    int shown[23] = {0}, moved = 0;
    ClipDraw draw, again, later;
    for (uint64_t g = 0; g < 23; g++) {
        draw_training(&draw, &index, &spec, 5, g / 4, 4, g % 4, 0);
        draw_training(&again, &index, &spec, 5, g / 4, 4, g % 4, 0);
        assert_memory_equal(&draw, &again, sizeof draw);
        draw_training(&later, &index, &spec, 5, (g + 23) / 4, 4, (g + 23) % 4, 0);
        shown[draw.file]++;
        moved += draw.file != later.file;
    }
    for (int i = 0; i < 23; i++)
        assert_int_equal(shown[i], 1);
    assert_true(moved > 11);
    /* The sample's number decides which file, not how a step is cut into slots. */
    draw_training(&draw, &index, &spec, 5, 3, 4, 2, 0);
    draw_training(&again, &index, &spec, 5, 2, 7, 0, 0);
    assert_int_equal(draw.file, again.file);
    paper_free(&index);
}

static void test_quarantined_are_not_drawn(void **state) {
    (void)state;
    VideoFile files[9];
    for (int i = 0; i < 9; i++)
        files[i] = paper_file(100, 320, 240);
    files[4].reason = "damaged";
    VideoIndex index = paper_pack(files, 9);
    ClipSpec spec = spec_16x4();
    assert_int_equal(index.usable, 8);
    for (uint64_t step = 0; step < 200; step++) {
        ClipDraw draw;
        draw_training(&draw, &index, &spec, 1, step, 1, 0, (int)(step % 3));
        assert_int_not_equal(draw.file, 4);
    }
    paper_free(&index);
}

static void test_attempts_differ(void **state) {
    (void)state;
    VideoIndex index = paper_index(50, 1000, 320, 240);
    ClipSpec spec = spec_16x4();
    int same = 0;
    for (uint64_t slot = 0; slot < 40; slot++) {
        ClipDraw a, b;
        draw_training(&a, &index, &spec, 1, 7, 40, slot, 1);
        draw_training(&b, &index, &spec, 1, 7, 40, slot, 2);
        assert_int_equal(b.attempt, 2);
        same += a.file == b.file && a.frames[0] == b.frames[0];
    }
    assert_int_equal(same, 0);
    paper_free(&index);
}

/* Every window can be drawn, the first frame and the last of the file included. */
static void test_windows(void **state) {
    (void)state;
    const struct {
        int64_t frames, starts, last;
        ClipSpacing spacing;
    } cases[] = {
        {70, 10, 69, CLIP_SPACING_STEP},
        {61, 1, 60, CLIP_SPACING_STEP},
        {70, 6, 68, CLIP_SPACING_PUBLISHED}}; /* randint(64, 70): ends 64 to 69, exclusive */
    for (size_t c = 0; c < 3; c++) {
        VideoIndex index = paper_index(1, cases[c].frames, 320, 240);
        ClipSpec spec = spec_16x4();
        spec.spacing = cases[c].spacing;
        int64_t first = INT64_MAX, last = 0, count[16] = {0};
        for (uint64_t step = 0; step < 2000; step++) {
            ClipDraw draw;
            draw_training(&draw, &index, &spec, 3, step, 1, 0, 0);
            first = draw.frames[0] < first ? draw.frames[0] : first;
            last = draw.frames[15] > last ? draw.frames[15] : last;
            assert_in_range(draw.frames[0], 0, (uint64_t)(cases[c].starts - 1));
            count[draw.frames[0]]++;
            for (int i = 1; i < 16; i++)
                if (spec.spacing == CLIP_SPACING_STEP)
                    assert_int_equal(draw.frames[i] - draw.frames[i - 1], 4);
                else
                    assert_true(draw.frames[i] > draw.frames[i - 1]);
        }
        assert_int_equal(first, 0);
        assert_int_equal(last, cases[c].last);
        for (int64_t i = 0; i < cases[c].starts; i++) /* evenly: within five standard deviations */
            assert_true(fabs((double)count[i] - 2000.0 / (double)cases[c].starts) <=
                        5 * sqrt(2000.0 / (double)cases[c].starts));
        paper_free(&index);
    }
}

/* Windows of the published evaluation: one in each equal part of the video, in its middle; where a
 * part is no longer than a clip, starts as far apart as can be (video_dataset.py, written again
 * here with its integers). */
static void test_parts(void **state) {
    (void)state;
    ClipSpec spec = spec_16x4();
    spec.short_videos = CLIP_SHORT_REPEAT;
    const int64_t clip = 64;
    for (int64_t frames = 50; frames < 900; frames += 13)
        for (int parts = 1; parts <= 8; parts++) {
            VideoIndex index = paper_index(1, frames, 320, 240);
            int64_t part = frames / parts, before = -1;
            for (int p = 0; p < parts; p++) {
                ClipDraw draw;
                clip_draw_evaluation(&draw, &index, 0, &spec, p, parts, 0, 1);
                int64_t first = draw.frames[0], last = draw.frames[15];
                if (parts == 1) {
                    assert_int_equal(first, frames < 61 ? 0 : (frames - 60) / 2);
                } else if (part > clip) {
                    assert_int_equal(first, p * part + (part - clip) / 2);
                    assert_true(last < (p + 1) * part);
                } else {
                    assert_int_equal(first,
                                     frames < clip ? 0 : p * ((frames - clip) / (parts - 1)));
                }
                assert_true(first >= before && last < frames);
                before = first;
            }
            /* by time, every fourth frame at 25 a second: the same, as parts are not whole frames
             */
            ClipSpec timed = spec;
            timed.fps = 6.25;
            for (int p = 0; p < parts && part > clip; p++) {
                ClipDraw draw;
                clip_draw_evaluation(&draw, &index, 0, &timed, p, parts, 0, 1);
                int64_t middle = p * part + (part - clip) / 2;
                assert_true(draw.frames[0] >= middle - 2 && draw.frames[0] <= middle + parts + 2);
                assert_true(draw.frames[15] < (p + 1) * part + parts);
            }
            paper_free(&index);
        }
}

/* Any length, any spec: frames ascend and lie within the file, crops within the frame. */
static void test_always_in_bounds(void **state) {
    (void)state;
    for (int i = 0; i < 3000; i++) {
        VideoFile own = paper_file(1 + i % 150, 1 + i * 7 % 500, 1 + i * 13 % 300), *file = &own;
        file->rotation = i % 4 * 90;
        int64_t pts[150];
        if (i % 3 == 0) { /* uneven times */
            for (int64_t k = 0; k < file->frames; k++)
                pts[k] = 40 * k + (k > 5 ? 900 : 0);
            file->pts = pts;
            file->timed = true;
            file->time_base[0] = 1;
            file->time_base[1] = 1000;
        }
        ClipSpec spec = spec_16x4();
        spec.frames = 1 + i % 20;
        spec.step = 1 + i % 6;
        spec.spacing = i % 2 ? CLIP_SPACING_STEP : CLIP_SPACING_PUBLISHED;
        spec.fps = i % 5 == 1 ? 7.5 : 0;
        spec.duration = i % 5 == 2 ? 2.0 : 0;
        if (i % 7 == 0) /* a file may claim any rate */
            file->fps = i % 2 ? 1e300 : 0;
        VideoIndex index = paper_pack(file, 1);
        for (int kind = 0; kind < 4; kind++) {
            ClipDraw draw;
            if (kind == 0)
                draw_training(&draw, &index, &spec, 9, (uint64_t)i, 1, 0, 0);
            else
                clip_draw_evaluation(&draw, &index, 0, &spec, kind - 1, 3, 0, 1);
            for (int f = 0; f < spec.frames; f++) {
                assert_true(draw.frames[f] >= (f ? draw.frames[f - 1] : 0));
                assert_true(draw.frames[f] < file->frames);
            }
            assert_true(draw.left >= 0 && draw.top >= 0 && draw.width > 0 && draw.height > 0);
            assert_true(draw.left + draw.width <= video_file_width(file));
            assert_true(draw.top + draw.height <= video_file_height(file));
        }
        paper_free(&index);
    }
}

/* Area and shape of the crops stay within what was asked for, and fill it. */
static void test_crops(void **state) {
    (void)state;
    VideoIndex index = paper_index(1, 100, 400, 300);
    ClipSpec spec = spec_16x4();
    double least = 1, most = 0, narrow = 9, wide = 0;
    int flips = 0;
    for (uint64_t step = 0; step < 4000; step++) {
        ClipDraw draw;
        draw_training(&draw, &index, &spec, 2, step, 1, 0, 0);
        double share = (double)draw.width * draw.height / (400.0 * 300.0);
        double ratio = (double)draw.width / draw.height;
        least = fmin(least, share), most = fmax(most, share);
        narrow = fmin(narrow, ratio), wide = fmax(wide, ratio);
        flips += draw.flip;
    }
    assert_true(least > 0.295 && least < 0.32 && most > 0.95 && most <= 1.0);
    assert_true(narrow > 0.74 && narrow < 0.77 && wide < 1.36 && wide > 1.32);
    assert_in_range(flips, 1850, 2150);
    ClipDraw draw; /* the evaluation's crop is the largest centred square, never mirrored */
    clip_draw_evaluation(&draw, &index, 0, &spec, 0, 1, 0, 1);
    assert_int_equal(draw.left, 50);
    assert_int_equal(draw.top, 0);
    assert_int_equal(draw.width, 300);
    assert_int_equal(draw.height, 300);
    assert_false(draw.flip);
    assert_in_range(draw.frames[0], 18, 21); /* the middle window of 40 */
    /* Frames too narrow for the ratio: the centre, with the nearest allowed ratio. */
    paper_free(&index);
    index = paper_index(1, 100, 20, 1000);
    draw_training(&draw, &index, &spec, 2, 0, 1, 0, 0);
    assert_int_equal(draw.width, 20);
    assert_int_equal(draw.height, 27);
    assert_int_equal(draw.top, 486);
    paper_free(&index);
}

/* Frames per second by time stamps: the frame shown at t0 + k / fps. */
static void test_time(void **state) {
    (void)state;
    VideoFile file = paper_file(12, 320, 240);
    int64_t pts[] = {0,  10,  20,  30,  40,  50,
                     90, 100, 110, 120, 200, 250}; /* hundredths of a second */
    file.pts = pts;
    file.timed = true;
    file.time_base[0] = 1;
    file.time_base[1] = 100;
    VideoIndex index = paper_pack(&file, 1);
    ClipSpec spec = spec_16x4();
    spec.frames = 6;
    spec.fps = 2;
    ClipDraw draw;
    clip_draw_evaluation(&draw, &index, 0, &spec, 0, 1, 0,
                         1); /* 2.5 s long: only one window fits */
    const int64_t expected[] = {0, 5, 7, 9, 10, 11};
    for (int i = 0; i < 6; i++)
        assert_int_equal(draw.frames[i], expected[i]);
    paper_free(&index);
}

/* ---- pixels ---- */

/* What frame f shows at (x, y): smooth, so that scaling and coding change it little. */
static void picture(uint8_t rgb[3], int x, int y, int f, int width, int height) {
    rgb[0] = (uint8_t)(20 + 200 * x / width);
    rgb[1] = (uint8_t)(20 + 200 * y / height);
    rgb[2] = (uint8_t)(20 + 5 * f);
}

static char *make_video(int width, int height, int frames) {
    char *path = memory_text("/tmp/jepa_clip_%d.mp4", (int)getpid());
    Error error = {0};
    VideoWriter *writer;
    uint8_t *rgb = memory_new((size_t)width * (size_t)height, 3);
    assert_int_equal(video_writer_open(&writer, path, width, height, 25, &error), 0);
    for (int f = 0; f < frames; f++) {
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                picture(rgb + 3 * (y * width + x), x, y, f, width, height);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    free(rgb);
    return path;
}

/* Decodes `draw` and compares with the picture: stored (x, y) of the upright crop's middle pixels.
 */
static void check_pixels(const VideoFile *file, const ClipDraw *draw, const ClipSpec *spec,
                         ClipDecoder *decoder) {
    int height = spec->crop, width = clip_width(spec);
    size_t plane = (size_t)height * (size_t)width, channel = plane * (size_t)spec->frames;
    uint8_t *clip = memory_new(3, channel);
    Error error = {0};
    if (clip_decode(clip, decoder, file, draw, spec, &error))
        fail_msg("%s", error.text);
    for (int f = 0; f < spec->frames; f++)
        for (int y = 2; y < height - 2; y += 3)
            for (int x = 2; x < width - 2; x += 3) {
                double ux = draw->left + (x + 0.5) * draw->width / width;
                double uy = draw->top + (y + 0.5) * draw->height / height;
                double sx = ux, sy = uy; /* stored */
                if (file->rotation == 90)
                    sx = uy, sy = file->height - ux;
                else if (file->rotation == 180)
                    sx = file->width - ux, sy = file->height - uy;
                else if (file->rotation == 270)
                    sx = file->width - uy, sy = ux;
                uint8_t rgb[3];
                picture(rgb, (int)sx, (int)sy, (int)draw->frames[f], file->width, file->height);
                for (int c = 0; c < 3; c++) {
                    int found =
                        clip[(size_t)c * channel + (size_t)f * plane + (size_t)(y * width + x)];
                    if (abs(found - rgb[c]) > 9)
                        fail_msg(
                            "rotation %d, crop %d,%d %dx%d, frame %d, pixel %d,%d, channel %d: "
                            "%d, expected %d",
                            file->rotation, draw->left, draw->top, draw->width, draw->height, f, x,
                            y, c, found, rgb[c]);
                }
            }
    free(clip);
}

static void test_pixels(void **state) {
    (void)state;
    char *path = make_video(160, 120, 30);
    VideoFile file = {0};
    video_file_scan(&file, path, NULL);
    assert_null(file.reason);
    ClipSpec spec = spec_16x4();
    spec.frames = 4;
    spec.step = 3;
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    for (int turn = 0; turn < 4; turn++) { /* the file does not say so, but what if it did */
        file.rotation = 90 * turn;
        VideoIndex index = paper_pack(&file, 1);
        for (uint64_t step = 0; step < 8; step++) {
            ClipDraw draw;
            draw_training(&draw, &index, &spec, 4, step, 1, 0, 0);
            check_pixels(&file, &draw, &spec, decoder);
            draw.left |= 1; /* odd corners, where chroma samples are shared */
            draw.top |= 1;
            draw.width = draw.left + draw.width > video_file_width(&file) ? draw.width - 1
                                                                          : draw.width;
            draw.height = draw.top + draw.height > video_file_height(&file) ? draw.height - 1
                                                                            : draw.height;
            check_pixels(&file, &draw, &spec, decoder);
        }
        ClipDraw whole = {.width = video_file_width(&file), .height = video_file_height(&file)};
        for (int i = 0; i < 4; i++)
            whole.frames[i] = 9 * i;
        check_pixels(&file, &whole, &spec, decoder);
        paper_free(&index);
    }
    spec.crop_width = 56; /* clips that are not square */
    for (int turn = 0; turn < 4; turn++) {
        file.rotation = 90 * turn;
        VideoIndex index = paper_pack(&file, 1);
        for (uint64_t step = 0; step < 8; step++) {
            ClipDraw draw;
            draw_training(&draw, &index, &spec, 4, step, 1, 0, 0);
            check_pixels(&file, &draw, &spec, decoder);
            clip_draw_evaluation(&draw, &index, 0, &spec, 0, 1, 0, 1);
            check_pixels(&file, &draw, &spec, decoder);
            /* the largest box of that shape, in the middle */
            double shape = (double)draw.width / draw.height;
            assert_true(fabs(shape / (56.0 / 32) - 1) < 0.02);
            assert_true(draw.width == video_file_width(&file) ||
                        draw.height == video_file_height(&file));
        }
        paper_free(&index);
    }
    spec.crop_width = 0;
    spec.crop = 120; /* no scaling at all */
    file.rotation = 0;
    VideoIndex index = paper_pack(&file, 1);
    ClipDraw draw;
    clip_draw_evaluation(&draw, &index, 0, &spec, 0, 1, 0, 1);
    check_pixels(&file, &draw, &spec, decoder);
    clip_decoder_free(decoder);
    paper_free(&index);
    video_file_free(&file);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* A grey ramp in an AVFrame with a matrix and a range, made by hand. */
static AVFrame *make_frame(int format, int width, int height, int y, int u, int v) {
    AVFrame *frame = av_frame_alloc();
    assert_non_null(frame);
    frame->format = format;
    frame->width = width;
    frame->height = height;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    for (int p = 0; p < 3; p++)
        for (int row = 0; row < (p ? (height + 1) / 2 : height); row++)
            memset(frame->data[p] + row * frame->linesize[p],
                   p == 0   ? y
                   : p == 1 ? u
                            : v,
                   (size_t)(p ? (width + 1) / 2 : width));
    return frame;
}

static void check_colour(AVFrame *frame, int red, int green, int blue) {
    uint8_t *rgb;
    int width, height;
    Error error = {0};
    if (clip_frame_rgb(&rgb, &width, &height, frame, 0, &error))
        fail_msg("%s", error.text);
    assert_int_equal(width, frame->width);
    assert_int_equal(height, frame->height);
    for (int i = 0; i < width * height; i++) {
        assert_in_range(rgb[3 * i], red > 1 ? red - 2 : 0, red + 2);
        assert_in_range(rgb[3 * i + 1], green > 1 ? green - 2 : 0, green + 2);
        assert_in_range(rgb[3 * i + 2], blue > 1 ? blue - 2 : 0, blue + 2);
    }
    free(rgb);
    av_frame_free(&frame);
}

/* Expected values by the standards' formulas: R = Y + 2 (1 - Kr) V and so on, Y = (y - 16) / 219.
 */
static void test_colours(void **state) {
    (void)state;
    AVFrame *frame = make_frame(AV_PIX_FMT_YUV420P, 33, 19, 126, 108, 148); /* odd sizes as well */
    frame->colorspace = AVCOL_SPC_SMPTE170M;
    frame->color_range = AVCOL_RANGE_MPEG;
    check_colour(frame, 160, 120, 88);
    frame = make_frame(AV_PIX_FMT_YUV420P, 33, 19, 126, 108, 148);
    frame->colorspace = AVCOL_SPC_BT709;
    frame->color_range = AVCOL_RANGE_MPEG;
    check_colour(frame, 164, 122, 86);
    frame = make_frame(AV_PIX_FMT_YUV420P, 33, 19, 126, 108, 148);
    frame->colorspace = AVCOL_SPC_BT709;
    frame->color_range = AVCOL_RANGE_JPEG;
    check_colour(frame, 157, 120, 89);
    frame = make_frame(AV_PIX_FMT_YUVJ420P, 33, 19, 126, 108, 148); /* unspecified, small: BT.601 */
    check_colour(frame, 154, 119, 91);
    frame = make_frame(AV_PIX_FMT_YUV420P, 64, 720, 126, 108, 148); /* unspecified, large: BT.709 */
    check_colour(frame, 164, 122, 86);
}

/* Real files: rotated ones come out upright and large enough; all spacings decode. */
static void test_real_files(void **state) {
    (void)state;
    const char *names[] = {"containers/rot.mp4",
                           "edge_cases/video_90.mov",
                           "edge_cases/animated.gif",
                           "edge_cases/testsrc2_odd_height_and_width_mpeg2.mp4",
                           "edge_cases/testsrc2_444_10bit_hevc.mp4",
                           "edge_cases/h264_10bits.mp4"};
    if (!folder_exists(SHARED "/videos/containers")) {
        print_message("no " SHARED "/videos here: skipped\n");
        skip();
    }
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    ClipSpec spec = spec_16x4();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = path_join(SHARED "/videos", names[i]);
        VideoFile file = {0};
        Error error = {0};
        video_file_scan(&file, path, NULL);
        if (file.reason)
            fail_msg("%s: %s", path, file.reason);
        if (i < 2)
            assert_int_equal(file.rotation % 180, 90);
        VideoIndex index = paper_pack(&file, 1);
        uint8_t *clip = memory_new(3 * 16, 32 * 32);
        for (uint64_t step = 0; step < 6; step++) {
            ClipDraw draw;
            draw_training(&draw, &index, &spec, 1, step, 1, 0, 0);
            if (clip_decode(clip, decoder, &file, &draw, &spec, &error))
                fail_msg("%s: %s", path, error.text);
        }
        free(clip);
        paper_free(&index);
        video_file_free(&file);
        free(path);
    }
    clip_decoder_free(decoder);
}

int main(void) {
    av_log_set_level(AV_LOG_QUIET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_frames),
        cmocka_unit_test(test_published_cases),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_quarantined_are_not_drawn),
        cmocka_unit_test(test_attempts_differ),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_always_in_bounds),
        cmocka_unit_test(test_crops),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
