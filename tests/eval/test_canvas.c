/* Pictures: limits, drawing, text, colours, scaling and the PNG file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/colormap.h"
#include "eval/font.h"
#include "eval/png.h"
#include "eval/upscale.h"
#include <math.h>
#include <png.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static bool same(Color a, Color b) {
    return a.r == b.r && a.g == b.g && a.b == b.b;
}

static Canvas *canvas_make(int width, int height) {
    Error error = {0};
    Canvas *canvas;
    assert_int_equal(canvas_new(&canvas, width, height, COLOR_PAPER, &error), 0);
    return canvas;
}

/* Sum over all pixels of how much darker than white they are, in pixels of full ink (red channel).
 */
static double ink(const Canvas *canvas) {
    double sum = 0.0;
    for (size_t i = 0; i < (size_t)canvas->width * (size_t)canvas->height; i++) {
        sum += (255 - canvas->rgb[3 * i]) / 255.0;
    }
    return sum;
}

static void refuses_impossible_sizes(void **state) {
    (void)state;
    static const int sizes[][2] = {{0, 5}, {5, 0}, {-3, 7}, {CANVAS_SIDE_MAX + 1, 1}, {1, 1 << 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        Error error = {0};
        Canvas *canvas;
        assert_int_equal(canvas_new(&canvas, sizes[i][0], sizes[i][1], COLOR_PAPER, &error), -1);
        assert_null(canvas);
        assert_int_equal(error.code, ERROR_RUN);
        assert_non_null(strstr(error.text, "16384"));
    }
}

static void rectangles_are_exact_and_clipped(void **state) {
    (void)state;
    Canvas *canvas = canvas_make(20, 10);
    Color red = {200, 0, 0};
    canvas_rectangle(canvas, 2, 3, 4, 5, red, 1.0);
    for (int y = 0; y < 10; y++) {
        for (int x = 0; x < 20; x++) {
            bool inside = x >= 2 && x < 6 && y >= 3 && y < 8;
            assert_true(same(canvas_get(canvas, x, y), inside ? red : COLOR_PAPER));
        }
    }
    canvas_rectangle(canvas, -100, -100, 1 << 30, 1 << 30, red, 1.0); /* far beyond every edge */
    assert_true(same(canvas_get(canvas, 19, 9), red));
    canvas_clip(canvas, 5, 5, 2, 2);
    canvas_rectangle(canvas, 0, 0, 20, 10, COLOR_PAPER, 0.5);
    assert_int_equal(canvas_get(canvas, 5, 5).g, 128);
    assert_int_equal(canvas_get(canvas, 7, 5).g, 0);
    canvas_free(canvas);
}

static void strokes_cover_their_area_once(void **state) {
    (void)state;
    Color black = {0, 0, 0};
    Canvas *canvas = canvas_make(60, 60);
    canvas_line(canvas, 10, 30.5, 50, 30.5, 1.0, black, 1.0); /* through pixel centres: crisp */
    assert_true(same(canvas_get(canvas, 30, 30), black));
    assert_true(same(canvas_get(canvas, 30, 29), COLOR_PAPER));
    canvas_free(canvas);

    canvas = canvas_make(60, 60);
    canvas_line(canvas, 10, 10, 50, 45, 3.0, black, 1.0);
    double expected = hypot(40, 35) * 3.0 + M_PI * 1.5 * 1.5; /* a band with two half discs */
    assert_true(fabs(ink(canvas) - expected) < 0.03 * expected);
    canvas_free(canvas);

    canvas = canvas_make(60, 60);
    Point back_and_forth[] = {{10, 30.5}, {50, 30.5}, {10, 30.5}};
    canvas_stroke(canvas, back_and_forth, 3, 1.0, black, 0.5);
    assert_int_equal(canvas_get(canvas, 30, 30).r, 128); /* blended once */
    canvas_free(canvas);
}

static void strokes_survive_wild_points(void **state) {
    (void)state;
    Canvas *canvas = canvas_make(40, 40);
    Point points[] = {{NAN, 3},         {5, 5},    {INFINITY, 5}, {1e8, 40 - 1e8},
                      {-1e8, 40 + 1e8}, {20, NAN}, {30, 30},      {-1e300, 4}};
    canvas_stroke(canvas, points, sizeof points / sizeof points[0], 2.0, COLOR_INK, 1.0);
    assert_true(canvas_get(canvas, 4, 4).r < 255); /* lone points are dots */
    assert_true(canvas_get(canvas, 29, 29).r < 255);
    assert_true(canvas_get(canvas, 20, 19).r < 255); /* the long line crosses the middle */
    canvas_stroke(canvas, points, 0, 2.0, COLOR_INK, 1.0);
    canvas_stroke(canvas, points, 2, NAN, COLOR_INK, 1.0);
    canvas_free(canvas);
}

static void text_has_the_width_it_says(void **state) {
    (void)state;
    static const double sizes[] = {11, 13, 18, 24};
    for (size_t i = 0; i < 4; i++) {
        for (int align = FONT_LEFT; align <= FONT_RIGHT; align++) {
            Canvas *canvas = canvas_make(600, 60);
            const char *text =
                "Holdout loss 0.4283 (n = 12,450) \xC2\xB5 \xC3\x97 \xC2\xB1 \xE2\x80\xA6";
            FontStyle style = {sizes[i], false, COLOR_INK, (FontAlign)align, 0.0};
            double width = font_width(text, sizes[i], false);
            double x = align == FONT_LEFT ? 20 : align == FONT_CENTRE ? 300 : 580;
            font_draw(canvas, x, 40, text, &style);
            int first = 600, last = -1;
            for (int c = 0; c < 600; c++) {
                for (int r = 0; r < 60; r++) {
                    if (canvas_get(canvas, c, r).r < 255) {
                        first = c < first ? c : first;
                        last = c;
                    }
                }
            }
            double left = align == FONT_LEFT ? x : align == FONT_CENTRE ? x - width / 2 : x - width;
            assert_true(first >= left - 1 && first <= left + sizes[i] / 2);
            assert_true(last <= left + width + 1 && last >= left + width - sizes[i] / 2);
            canvas_free(canvas);
        }
    }
    assert_true(font_width("0123456789", 13, false) == 10 * font_width("1", 13, false));
    assert_true(font_width("abc", 13, true) >= font_width("abc", 13, false));
}

static void every_character_leaves_ink(void **state) {
    (void)state;
    for (int c = 33; c < 127; c++) {
        char text[2] = {(char)c, 0};
        for (int other = 33; other < c; other += 13) { /* and looks different from some others */
            Canvas *a = canvas_make(40, 40), *b = canvas_make(40, 40);
            FontStyle style = {18, false, COLOR_INK, FONT_LEFT, 0.0};
            char second[2] = {(char)other, 0};
            font_draw(a, 10, 28, text, &style);
            font_draw(b, 10, 28, second, &style);
            assert_true(ink(a) > 1.0);
            assert_memory_not_equal(a->rgb, b->rgb, 40 * 40 * 3);
            canvas_free(a);
            canvas_free(b);
        }
    }
}

static void broken_utf8_is_read_byte_by_byte(void **state) {
    (void)state;
    const char *text = "a\xC2\xB5\xE2\x80\xA6\xF0\x9F\x98\x80\xFF\xC3";
    static const unsigned expected[] = {'a', 0xB5, 0x2026, 0x1F600, 0xFFFD, 0xFFFD};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(font_decode(&text), expected[i]);
    }
    assert_int_equal(*text, 0);
    for (int c = 1; c < 256; c++) { /* any byte anywhere, alone or cut short */
        char any[3] = {(char)c, 0, 0};
        assert_true(font_width(any, 12, false) > 0.0);
        any[1] = (char)c;
        assert_true(font_width(any, 12, false) > 0.0);
    }
}

static void eliding_and_wrapping_fit(void **state) {
    (void)state;
    const char *text = "Pretending to take something out of something";
    for (double width = 20; width < 400; width += 37) {
        char *shorter = font_elide(text, 13, false, width);
        assert_true(font_width(shorter, 13, false) <= width);
        free(shorter);
        char **lines;
        size_t count = font_wrap(&lines, text, 13, false, width);
        size_t letters = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(font_width(lines[i], 13, false) <= width);
            for (const char *c = lines[i]; *c; c++) {
                letters += *c != ' ';
            }
        }
        assert_int_equal(letters, strlen(text) - 6); /* nothing is lost but spaces */
        font_lines_free(lines, count);
    }
    char **lines;
    assert_int_equal(font_wrap(&lines, "one\n\ntwo", 13, false, 500), 3);
    assert_string_equal(lines[0], "one");
    assert_string_equal(lines[1], "");
    assert_string_equal(lines[2], "two");
    font_lines_free(lines, 3);
}

static double lightness(Color color) {
    return 0.2126 * pow(color.r / 255.0, 2.2) + 0.7152 * pow(color.g / 255.0, 2.2) +
           0.0722 * pow(color.b / 255.0, 2.2);
}

static void colormaps_are_monotonic(void **state) {
    (void)state;
    for (int i = 1; i <= 64; i++) {
        double a = (i - 1) / 64.0, b = i / 64.0;
        assert_true(lightness(colormap_color(COLORMAP_DEPTH, b)) >
                    lightness(colormap_color(COLORMAP_DEPTH, a)));
        assert_true(lightness(colormap_color(COLORMAP_PAPER, b)) <
                    lightness(colormap_color(COLORMAP_PAPER, a)));
    }
    Color middle = colormap_color(COLORMAP_BALANCE, 0.5);
    assert_true(abs(middle.r - middle.b) < 4 && middle.g > 235);
    assert_true(same(colormap_color(COLORMAP_DEPTH, -3), colormap_color(COLORMAP_DEPTH, 0)));
    assert_true(same(colormap_color(COLORMAP_DEPTH, INFINITY), colormap_color(COLORMAP_DEPTH, 1)));
    assert_true(same(colormap_color(COLORMAP_DEPTH, NAN), COLOR_VOID));
    assert_true(same(palette_color(-1), palette_color(PALETTE_COLORS - 1)));
}

static void scaling_keeps_what_it_should(void **state) {
    (void)state;
    uint8_t small[2 * 3 * 3], large[8 * 12 * 3];
    for (int i = 0; i < 18; i++) {
        small[i] = (uint8_t)(i * 14);
    }
    upscale_bytes(large, 8, 12, small, 2, 3, UPSCALE_NEAREST);
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 12; x++) {
            assert_memory_equal(&large[(y * 12 + x) * 3], &small[(y / 4 * 3 + x / 4) * 3], 3);
        }
    }
    float constant[5 * 5 * 3];
    for (int i = 0; i < 75; i++) {
        constant[i] = 0.6f;
    }
    upscale_floats(large, 8, 12, constant, 5, 5, UPSCALE_SMOOTH);
    for (size_t i = 0; i < sizeof large; i++) {
        assert_int_equal(large[i], 153);
    }
    float wild[3] = {NAN, INFINITY, -INFINITY};
    upscale_floats(large, 8, 12, wild, 1, 1, UPSCALE_SMOOTH);
    assert_int_equal(large[0], 0);
    assert_int_equal(large[1], 255);
    assert_int_equal(large[2], 0);
    uint8_t same_size[18];
    upscale_bytes(same_size, 2, 3, small, 2, 3, UPSCALE_SMOOTH);
    assert_memory_equal(same_size, small, 18);
}

static void png_comes_back_as_it_was(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa_test_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    char *path = path_join(folder, "caf\xC3\xA9 \xFF.png"); /* any bytes are a name */
    Canvas *canvas = canvas_make(37, 23);
    canvas_line(canvas, 0, 0, 37, 23, 2.5, palette_color(1), 1.0);
    assert_int_equal(png_write(path, canvas, &error), 0);

    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    assert_true(png_image_begin_read_from_memory(&image, bytes, count));
    assert_int_equal(image.width, 37);
    assert_int_equal(image.height, 23);
    image.format = PNG_FORMAT_RGB;
    uint8_t pixels[37 * 23 * 3];
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    assert_memory_equal(pixels, canvas->rgb, sizeof pixels);
    free(bytes);

    char *missing = path_join(folder, "no such folder/x.png");
    assert_int_equal(png_write(missing, canvas, &error), -1);
    assert_true(strlen(error.text) > 0);
    canvas_free(canvas);
    free(missing);
    unlink(path);
    free(path);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left behind */
}

static void png_on_a_full_disk_leaves_nothing(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa_test_XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = path_join(folder, "large.png");
    Canvas *canvas = canvas_make(300, 300);
    uint32_t noise = 1;
    for (size_t i = 0; i < 300 * 300 * 3; i++) { /* incompressible */
        noise = noise * 1664525u + 1013904223u;
        canvas->rgb[i] = (uint8_t)(noise >> 24);
    }
    /* A limit on the size of files stands in for a full disk. */
    struct rlimit old, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = old;
    tight.rlim_cur = 50000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    Error error = {0};
    int result = png_write(path, canvas, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(result, -1);
    assert_int_equal(error.code, ERROR_RUN);
    assert_non_null(strstr(error.text, "large.png"));
    canvas_free(canvas);
    free(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(rectangles_are_exact_and_clipped),
        cmocka_unit_test(strokes_cover_their_area_once),
        cmocka_unit_test(strokes_survive_wild_points),
        cmocka_unit_test(text_has_the_width_it_says),
        cmocka_unit_test(every_character_leaves_ink),
        cmocka_unit_test(broken_utf8_is_read_byte_by_byte),
        cmocka_unit_test(eliding_and_wrapping_fit),
        cmocka_unit_test(colormaps_are_monotonic),
        cmocka_unit_test(scaling_keeps_what_it_should),
        cmocka_unit_test(png_comes_back_as_it_was),
        cmocka_unit_test(png_on_a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
