/* The contact sheet: tiles land where the layout says, text never crops, limits are errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eval/sheet.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t red[3] = {220, 10, 10}, green[3] = {10, 200, 10}, blue[3] = {10, 10, 210};

static size_t pixels_of(const Canvas *canvas, const uint8_t color[3]) {
    size_t count = 0;
    for (size_t i = 0; i < (size_t)canvas->width * (size_t)canvas->height; i++) {
        count += memcmp(canvas->rgb + 3 * i, color, 3) == 0;
    }
    return count;
}

static void tiles_are_whole(void **state) {
    (void)state;
    Error error = {0};
    Sheet *sheet = sheet_new("A title", "A subtitle", 128);
    const uint8_t *images[3] = {red, green, NULL};
    const char *headings[3] = {"0.00 s", "0.27 s", "0.53 s"};
    assert_int_equal(sheet_headings(sheet, headings, 3, &error), 0);
    assert_int_equal(
        sheet_row(sheet, "Frames", "What goes in.", images, 3, 1, 1, UPSCALE_NEAREST, &error), 0);
    images[0] = blue;
    assert_int_equal(sheet_section(sheet, "Part two", &error), 0);
    assert_int_equal(sheet_row(sheet, "Smooth", NULL, images, 1, 1, 1, UPSCALE_SMOOTH, &error), 0);
    sheet_colourbar(sheet, COLORMAP_DEPTH, 0.0, 1.5, "L1");
    sheet_key(sheet, palette_color(0), "predicted");
    sheet_caption(sheet, "A caption.");
    Canvas *canvas;
    assert_int_equal(sheet_draw(&canvas, sheet, &error), 0);
    assert_int_equal(pixels_of(canvas, red), 128 * 128);
    assert_int_equal(pixels_of(canvas, green), 128 * 128);
    assert_int_equal(pixels_of(canvas, blue), 128 * 128);
    canvas_free(canvas);
    sheet_free(sheet);
}

static void long_texts_make_the_sheet_higher(void **state) {
    (void)state;
    Error error = {0};
    const uint8_t *images[1] = {red};
    char text[2000];
    memset(text, 'm', sizeof text); /* one word without a space */
    text[sizeof text - 1] = 0;
    int heights[2];
    for (int pass = 0; pass < 2; pass++) {
        const char *words = pass ? text : "short";
        Sheet *sheet = sheet_new(words, words, 64);
        assert_int_equal(sheet_headings(sheet, &words, 1, &error), 0);
        assert_int_equal(sheet_row(sheet, words, words, images, 1, 1, 1, UPSCALE_NEAREST, &error),
                         0);
        sheet_colourbar(sheet, COLORMAP_BALANCE, NAN, INFINITY, words);
        sheet_caption(sheet, words);
        Canvas *canvas;
        assert_int_equal(sheet_draw(&canvas, sheet, &error), 0);
        heights[pass] = canvas->height;
        for (int y = 0; y < canvas->height; y++) { /* the margin stays white */
            assert_int_equal(canvas_get(canvas, canvas->width - 6, y).g, 255);
            assert_int_equal(canvas_get(canvas, 6, y).g, 255);
        }
        canvas_free(canvas);
        sheet_free(sheet);
    }
    assert_true(heights[1] > heights[0] + 300);
}

static void limits_are_errors(void **state) {
    (void)state;
    Error error = {0};
    const uint8_t *images[SHEET_COLUMNS_MAX + 1] = {red};
    Sheet *sheet = sheet_new("Limits", NULL, 1024);
    Canvas *canvas;
    assert_int_equal(sheet_draw(&canvas, sheet, &error), 0); /* empty */
    canvas_free(canvas);
    assert_int_equal(
        sheet_row(sheet, "x", "", images, SHEET_COLUMNS_MAX + 1, 1, 1, UPSCALE_NEAREST, &error),
        -1);
    assert_int_equal(sheet_row(sheet, "x", "", images, 0, 1, 1, UPSCALE_NEAREST, &error), -1);
    assert_int_equal(sheet_row(sheet, "x", "", images, 1, 0, 1, UPSCALE_NEAREST, &error), -1);
    assert_int_equal(
        sheet_row(sheet, "x", "", images, 1, 1, SHEET_IMAGE_MAX + 1, UPSCALE_NEAREST, &error), -1);
    assert_int_equal(sheet_row(sheet, "x", "", images, 20, 1, 1, UPSCALE_NEAREST, &error), 0);
    assert_int_equal(sheet_draw(&canvas, sheet, &error), -1); /* 20 x 1024 pixels and more */
    assert_null(canvas);
    assert_non_null(strstr(error.text, "16384"));
    sheet_free(sheet);
    sheet_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_whole),
        cmocka_unit_test(long_texts_make_the_sheet_higher),
        cmocka_unit_test(limits_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
