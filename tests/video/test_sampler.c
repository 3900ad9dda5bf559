/* The sampler: who is drawn how often, by video, by duration, from mixes, in several lengths. */
#include "video/hold_out.h"
#include "video/sampler.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static ClipSpec spec(void) {
    return (ClipSpec){
        .frames = 8, .step = 2, .crop = 32, .scale = {0.3, 1}, .ratio = {0.75, 1.35}, .flip = true};
}

static VideoFile paper(int64_t frames, int dataset) {
    return (VideoFile){.label = -1,
                       .dataset = dataset,
                       .width = 64,
                       .height = 48,
                       .fps = 25,
                       .frames = frames,
                       .duration = (double)frames / 25};
}

static VideoIndex pack(const VideoFile *files, size_t count) {
    VideoIndex index;
    Error error = {0};
    assert_int_equal(video_index_of_files(&index, files, count, NULL, 0, &error), 0);
    return index;
}

static Sampler make(const VideoIndex *index, const SamplerSettings *settings) {
    Sampler sampler;
    Error error = {0};
    if (sampler_new(&sampler, index, settings, &error))
        fail_msg("%s", error.text);
    return sampler;
}

/* An epoch by duration goes through every stretch of every film once. */
static void test_duration(void **state) {
    (void)state;
    const VideoFile files[] = {paper(160, 0), paper(16, 0), paper(10, 0), paper(1614, 0)};
    VideoIndex index = pack(files, 4);
    SamplerSettings settings = {
        .clip = spec(), .mode = SAMPLER_DURATION, .num_clips = 1, .seed = 4};
    Sampler sampler = make(&index, &settings);
    assert_int_equal(sampler.units, 10 + 1 + 1 + 100); /* a clip takes 16 frames */
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        int seen[4] = {0};
        bool part[100] = {false};
        for (uint64_t n = 0; n < sampler.units; n++) {
            ClipDraw draw;
            sampler_draw(&sampler, &draw, epoch * sampler.units + n, 1, 1, 0, 0);
            seen[draw.file]++;
            if (draw.file == 3) { /* of 1,600 starts a hundredth each */
                int64_t stretch = draw.frames[0] * 100 / 1600;
                assert_false(part[stretch]);
                part[stretch] = true;
            }
        }
        const int expected[4] = {10, 1, 1, 100};
        for (int i = 0; i < 4; i++)
            assert_int_equal(seen[i], expected[i]);
    }
    sampler_free(&sampler);
    video_index_free(&index);
}

/* Shares are exact in every block of samples, and each data set goes through its own epochs. */
static void test_weights(void **state) {
    (void)state;
    VideoFile files[60];
    for (int i = 0; i < 60; i++)
        files[i] = paper(100, i < 10 ? 0 : i < 40 ? 1 : 2);
    VideoIndex index = pack(files, 60);
    SamplerSettings settings = {
        .clip = spec(), .num_clips = 1, .weighted = 3, .weights = {0.5, 0.2, 0.3}, .seed = 9};
    Sampler sampler = make(&index, &settings);
    int drawn[60] = {0}, sets[3] = {0}, early[3] = {0};
    for (uint64_t n = 0; n < SAMPLER_BLOCK; n++) {
        ClipDraw draw;
        sampler_draw(&sampler, &draw, n / 4, 4, 4, n % 4, 0);
        drawn[draw.file]++;
        sets[files[draw.file].dataset]++;
        early[files[draw.file].dataset] += n < 400;
    }
    assert_int_equal(sets[0], 2048);
    assert_in_range(sets[1], 819, 820);
    assert_in_range(sets[2], 1228, 1229);
    for (int i = 0; i < 60; i++) { /* within one of each other in its set */
        int count = i < 10 ? 10 : i < 40 ? 30 : 20, of = sets[files[i].dataset];
        assert_in_range(drawn[i], of / count, of / count + 1);
    }
    assert_in_range(early[0], 150, 250); /* mixed, not one after the other */
    sampler_free(&sampler);

    Error error = {0};
    settings.weighted = 2;
    assert_int_equal(sampler_new(&sampler, &index, &settings, &error), -1);
    assert_non_null(strstr(error.text, "3 data sets"));
    video_index_free(&index);
}

/* Another attempt stays in the data set; a weight of 0 is never drawn. */
static void test_attempts(void **state) {
    (void)state;
    VideoFile files[30];
    for (int i = 0; i < 30; i++)
        files[i] = paper(100, i / 10);
    VideoIndex index = pack(files, 30);
    SamplerSettings settings = {
        .clip = spec(), .num_clips = 1, .weighted = 3, .weights = {1, 0, 1}, .seed = 2};
    Sampler sampler = make(&index, &settings);
    for (uint64_t n = 0; n < 300; n++) {
        ClipDraw first, second;
        sampler_draw(&sampler, &first, n, 1, 1, 0, 0);
        sampler_draw(&sampler, &second, n, 1, 1, 0, 1);
        assert_int_not_equal(files[first.file].dataset, 1);
        assert_int_equal(files[first.file].dataset, files[second.file].dataset);
    }
    sampler_free(&sampler);
    video_index_free(&index);
}

/* Several clips of each video in a batch, one from each of its parts. */
static void test_num_clips(void **state) {
    (void)state;
    VideoFile files[6];
    for (int i = 0; i < 6; i++)
        files[i] = paper(315, 0); /* 301 starts */
    VideoIndex index = pack(files, 6);
    SamplerSettings settings = {.clip = spec(), .num_clips = 3, .seed = 1};
    Sampler sampler = make(&index, &settings);
    int seen[6] = {0};
    for (uint64_t step = 0; step < 2; step++)
        for (uint64_t group = 0; group < 2; group++) /* groups of 6 slots: 2 videos */
            for (uint64_t b = 0; b < 2; b++) {
                ClipDraw draw[3];
                for (uint64_t clip = 0; clip < 3; clip++) {
                    sampler_draw(&sampler, &draw[clip], step, 12, 6, group * 6 + clip * 2 + b, 0);
                    assert_int_equal(draw[clip].file, draw[0].file);
                    assert_in_range(draw[clip].frames[0], 100 * clip, 100 * clip + 101);
                }
                seen[draw[0].file]++;
            }
    int twice = 0;
    for (int i = 0; i < 6; i++) { /* 8 draws of 6 videos: all of them, two again */
        assert_in_range(seen[i], 1, 2);
        twice += seen[i] == 2;
    }
    assert_int_equal(twice, 2);
    sampler_free(&sampler);
    video_index_free(&index);
}

/* Videos that are held out are never drawn, nor are copies of them; which they are goes by the
 * seed.
 */
static void test_hold_out(void **state) {
    (void)state;
    VideoFile files[40];
    for (int i = 0; i < 40; i++) {
        files[i] = paper(100, 0);
        files[i].hash.bytes[0] = (uint8_t)(i / 2); /* each is there twice */
    }
    VideoIndex index = pack(files, 40);
    SamplerSettings settings = {.clip = spec(), .num_clips = 1, .seed = 5, .hold_out = 3};
    bool *held = hold_out(&index, 5, 3), *same = hold_out(&index, 5, 3),
         *other = hold_out(&index, 6, 3);
    size_t count = 0;
    for (int i = 0; i < 40; i++) {
        count += held[i];
        assert_int_equal(held[i], held[i ^ 1]);
    }
    assert_in_range(count, 4, 6); /* two of the three may be copies of each other */
    assert_memory_equal(held, same, 40 * sizeof *held);
    assert_memory_not_equal(held, other, 40 * sizeof *held);
    Sampler sampler = make(&index, &settings);
    assert_int_equal(sampler.held, count);
    assert_int_equal(sampler.units, 40 - count);
    bool drawn[40] = {0};
    for (uint64_t step = 0; step < 200; step++)
        for (int attempt = 0; attempt < 2; attempt++) {
            ClipDraw draw;
            sampler_draw(&sampler, &draw, step, 4, 4, step % 4, attempt);
            drawn[draw.file] = true;
        }
    for (int i = 0; i < 40; i++)
        assert_int_equal(drawn[i], !held[i]);
    sampler_free(&sampler);
    Error error = {0};
    settings.hold_out = 40;
    assert_int_equal(sampler_new(&sampler, &index, &settings, &error), -1);
    assert_non_null(strstr(error.text, "no video is left"));
    assert_null(hold_out(&index, 5, 0));
    free(held);
    free(same);
    free(other);
    video_index_free(&index);
}

static void test_short_videos(void **state) {
    (void)state;
    const VideoFile files[] = {paper(5, 0), paper(15, 0), paper(14, 0), paper(1, 0)};
    VideoIndex index = pack(files, 4);
    SamplerSettings settings = {.clip = spec(), .num_clips = 1, .seed = 1};
    ClipDraw draw = {.count = 0};
    settings.clip.short_videos = CLIP_SHORT_SKIP;
    Sampler sampler = make(&index, &settings);
    assert_int_equal(sampler.too_short, 2); /* a clip spans 15 frames; a picture is never short */
    assert_int_equal(sampler.units, 2);
    for (uint64_t n = 0; n < 20; n++) {
        sampler_draw(&sampler, &draw, n, 1, 1, 0, 0);
        assert_true(draw.file == 1 || draw.file == 3);
    }
    sampler_free(&sampler);

    clip_draw_frames(&draw, &files[0], &settings.clip,
                     0.5); /* skipped in training: repeated here */
    for (int i = 1; i < 8; i++)
        assert_true(draw.frames[i] >= draw.frames[i - 1]);
    settings.clip.short_videos = CLIP_SHORT_LOOP;
    clip_draw_frames(&draw, &files[0], &settings.clip, 0.5);
    const int64_t looped[8] = {0, 2, 4, 1, 3, 0, 2, 4};
    for (int i = 0; i < 8; i++)
        assert_int_equal(draw.frames[i], looped[i]);
    VideoFile none = paper(3, 0);
    VideoIndex small = pack(&none, 1);
    Error error = {0};
    settings.clip.short_videos = CLIP_SHORT_SKIP;
    assert_int_equal(sampler_new(&sampler, &small, &settings, &error), -1);
    assert_non_null(strstr(error.text, "short_videos"));
    video_index_free(&small);
    video_index_free(&index);
}

/* Clips of another length for each data set. */
static void test_lengths(void **state) {
    (void)state;
    const VideoFile files[] = {paper(100, 0), paper(100, 1)};
    VideoIndex index = pack(files, 2);
    SamplerSettings settings = {.clip = spec(), .num_clips = 1, .frames = {8, 4}, .seed = 1};
    Sampler sampler = make(&index, &settings);
    for (uint64_t n = 0; n < 10; n++) {
        ClipDraw draw;
        sampler_draw(&sampler, &draw, n, 1, 1, 0, 0);
        assert_int_equal(draw.count, draw.file ? 4 : 8);
        assert_int_equal(sampler_clip(&sampler, draw.file).frames, draw.count);
    }
    sampler_free(&sampler);
    video_index_free(&index);
}

/* Windows that can be drawn, in every way of going through time. */
static void test_counts(void **state) {
    (void)state;
    ClipSpec s = spec();
    VideoFile file = paper(100, 0);
    assert_int_equal(clip_windows(&file, &s), 86);
    assert_int_equal(clip_stretches(&file, &s), 6);
    s.spacing = CLIP_SPACING_PUBLISHED;
    assert_int_equal(clip_windows(&file, &s), 84);
    s = spec();
    s.fps = 5; /* every fifth frame of 25 a second: 7 x 0.2 s of 3.96 s */
    assert_int_equal(clip_windows(&file, &s), 65);
    assert_int_equal(clip_stretches(&file, &s), 2);
    s = spec();
    s.duration = 8.0 / 5; /* the same, said otherwise */
    assert_int_equal(clip_windows(&file, &s), 65);
    file.frames = 10;
    file.duration = 0.4;
    assert_true(clip_is_short(&file, &s));
    assert_int_equal(clip_windows(&file, &s), 1);
    file.frames = 1;
    assert_false(clip_is_short(&file, &s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_attempts), cmocka_unit_test(test_num_clips),
        cmocka_unit_test(test_hold_out), cmocka_unit_test(test_short_videos),
        cmocka_unit_test(test_lengths),  cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
