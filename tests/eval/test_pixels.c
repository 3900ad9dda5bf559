/* The raw-pixel floor: rows are the means of the clips' own pixels. */
#include "eval/pixels.h"
#include "video/synth.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FRAMES 16 /* of a clip: two for one of the row */

/* Adds to row[3][8][16][16] every second frame, from the second on, of a clip that was decoded
 * whole at that size. */
static void add_clip(double *row, const VideoFile *file, const ClipDraw *draw, const ClipSpec *spec,
                     double share) {
    size_t plane = PIXELS_SIDE * PIXELS_SIDE;
    uint8_t *clip = memory_new(3 * FRAMES * plane, 1);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    ClipSpec small = *spec;
    Error error = {0};
    small.crop = PIXELS_SIDE;
    if (clip_decode(clip, decoder, file, draw, &small, &error))
        fail_msg("%s", error.text);
    for (size_t c = 0; c < 3; c++)
        for (size_t t = 0; t < PIXELS_FRAMES; t++)
            for (size_t i = 0; i < plane; i++)
                row[(c * PIXELS_FRAMES + t) * plane + i] +=
                    share * clip[(c * FRAMES + 2 * t + 1) * plane + i] / 255;
    clip_decoder_free(decoder);
    free(clip);
}

static void rows_are_means_of_pixels(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa_pixels_XXXXXX";
    assert_non_null(mkdtemp(folder));
    SynthSpec synth = {.videos = 3, .seed = 4, .size = 48, .frames = 30, .fps = 16, .threads = 1};
    VideoIndex index;
    Error error = {0};
    if (synth_write(folder, &synth, &error) || video_index_build(&index, folder, 1, &error))
        fail_msg("%s", error.text);
    ClipSpec spec = {.frames = FRAMES, .step = 1, .crop = 32, .scale = {1, 1}, .ratio = {1, 1}};
    FeatureViews views = {.segments = 2, .views = 1};
    Features one, two;
    assert_int_equal(pixels_extract(&one, &index, &spec, &views, 1, &error), 0);
    assert_int_equal(pixels_extract(&two, &index, &spec, &views, 3, &error), 0);
    assert_int_equal(one.count, 3);
    assert_int_equal(one.width, 3 * PIXELS_FRAMES * PIXELS_SIDE * PIXELS_SIDE);
    size_t width = (size_t)one.width;
    assert_memory_equal(one.rows, two.rows, 3 * width * sizeof(float));
    for (size_t v = 0; v < 3; v++) {
        double *row = memory_new(width, sizeof *row);
        VideoFile file = video_index_file(&index, index.usable_files[v]);
        for (int segment = 0; segment < 2; segment++) {
            ClipDraw draw;
            clip_draw_evaluation(&draw, &index, index.usable_files[v], &spec, segment, 2, 0, 1);
            add_clip(row, &file, &draw, &spec, 0.5);
        }
        for (size_t i = 0; i < width; i++) /* float32 sums of two clips */
            assert_true(fabs(row[i] - one.rows[v * width + i]) < 1e-6);
        free(row);
    }
    features_free(&one);
    features_free(&two);
    video_index_free(&index);
    char *command = memory_text("rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_means_of_pixels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
