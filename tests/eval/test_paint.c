/* Tiles and panels: every pixel of a tile belongs to the token it should; masks, lines and frames
 * lie where they must; a film's picture has even sides, free margins and its tiles in place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eval/film_page.h"
#include "eval/token_paint.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const MaskGrid grid = {1, 3, 4};

static Canvas *tile_new(int width, int height) {
    Error error = {0};
    Canvas *tile;
    assert_int_equal(canvas_new(&tile, width, height, COLOR_PAPER, &error), 0);
    return tile;
}

static bool same(Color a, Color b) {
    return a.r == b.r && a.g == b.g && a.b == b.b;
}

/* Token of a pixel, as the boundaries y·height/H say. */
static int token_of(const Canvas *tile, int y, int x) {
    int ty = 0, tx = 0;
    while ((ty + 1) * tile->height / grid.height <= y)
        ty++;
    while ((tx + 1) * tile->width / grid.width <= x)
        tx++;
    return ty * grid.width + tx;
}

static void squares(void **state) {
    (void)state;
    static const int sizes[][2] = {{40, 30}, {41, 29}, {4, 3}, {127, 200}};
    Color colors[12];
    for (int i = 0; i < 12; i++)
        colors[i] = (Color){(uint8_t)(20 * i), (uint8_t)(240 - 20 * i), 77};
    for (int s = 0; s < 4; s++) {
        Canvas *tile = tile_new(sizes[s][0], sizes[s][1]);
        token_paint_colors(tile, grid, colors, UPSCALE_NEAREST);
        for (int y = 0; y < tile->height; y++)
            for (int x = 0; x < tile->width; x++)
                assert_true(same(canvas_get(tile, x, y), colors[token_of(tile, y, x)]));
        canvas_free(tile);
    }
    /* blended: the middle of a token keeps its colour nearly, the border lies between */
    Canvas *tile = tile_new(200, 150);
    for (int i = 0; i < 12; i++)
        colors[i] = i % 4 < 2 ? (Color){0, 0, 0} : (Color){200, 200, 200};
    token_paint_colors(tile, grid, colors, UPSCALE_SMOOTH);
    assert_true(canvas_get(tile, 25, 70).r < 10 && canvas_get(tile, 175, 70).r > 190);
    assert_in_range(canvas_get(tile, 100, 70).r, 85, 115);
    /* values: the same through a map; what is not a number is grey */
    float values[12];
    for (int i = 0; i < 12; i++)
        values[i] = i == 5 ? NAN : (float)i;
    token_paint_values(tile, grid, values, 0, 11, COLORMAP_DEPTH, UPSCALE_NEAREST);
    for (int i = 0; i < 12; i++) {
        Color wanted = i == 5 ? COLOR_CONTEXT : colormap_color(COLORMAP_DEPTH, i / 11.0);
        assert_true(same(canvas_get(tile, i % 4 * 50 + 25, i / 4 * 50 + 25), wanted));
    }
    canvas_free(tile);
}

static void masks(void **state) {
    (void)state;
    TokenState states[12];
    Canvas *tile = tile_new(80, 60);
    uint8_t *rgb = memory_new(80 * 60, 3);
    for (int i = 0; i < 80 * 60; i++)
        rgb[3 * i] = 255; /* red */
    for (int i = 0; i < 12; i++)
        states[i] = i == 5 || i == 6 ? TOKEN_ASKED : i == 11 ? TOKEN_LEFT : TOKEN_SEEN;
    token_paint_picture(tile, rgb);
    token_paint_mask(tile, grid, states);
    for (int y = 0; y < 60; y++)
        for (int x = 0; x < 80; x++) {
            Color c = canvas_get(tile, x, y);
            TokenState of = states[token_of(tile, y, x)];
            if (of == TOKEN_SEEN)
                assert_true(same(c, (Color){255, 0, 0}));
            if (of == TOKEN_ASKED)
                assert_true(!same(c, (Color){255, 0, 0}) && c.r > c.b);
            if (of == TOKEN_LEFT)
                assert_true(c.r == c.g && c.g == c.b && c.r > 150);
        }
    /* lines around what is asked for, and nowhere else */
    canvas_rectangle(tile, 0, 0, 80, 60, (Color){10, 200, 10}, 1);
    token_paint_edges(tile, grid, states);
    assert_true(same(canvas_get(tile, 20, 30), COLOR_PAPER));          /* left of token 5 */
    assert_true(same(canvas_get(tile, 30, 20), COLOR_PAPER));          /* above it */
    assert_true(same(canvas_get(tile, 59, 30), COLOR_PAPER));          /* right of token 6 */
    assert_true(same(canvas_get(tile, 40, 30), (Color){10, 200, 10})); /* between the two: none */
    assert_true(same(canvas_get(tile, 60, 50), (Color){10, 200, 10})); /* around token 11: none */
    for (int i = 0; i < 12; i++)
        states[i] = TOKEN_ASKED; /* all: along the tile's own border, within it */
    canvas_rectangle(tile, 0, 0, 80, 60, (Color){10, 200, 10}, 1);
    token_paint_edges(tile, grid, states);
    assert_true(same(canvas_get(tile, 1, 30), COLOR_PAPER));
    assert_true(same(canvas_get(tile, 78, 30), COLOR_PAPER));
    assert_true(same(canvas_get(tile, 40, 58), COLOR_PAPER));
    assert_false(same(canvas_get(tile, 0, 30), COLOR_PAPER));
    assert_true(same(canvas_get(tile, 40, 30), (Color){10, 200, 10}));
    canvas_free(tile);
    free(rgb);
}

static void ranges(void **state) {
    (void)state;
    float values[1000];
    double low, high;
    for (int i = 0; i < 1000; i++)
        values[i] = (float)i / 1000;
    values[3] = 500; /* far out */
    token_range(&low, &high, values, 1000);
    assert_true(low >= -0.1 && low <= 0.01 && high >= 0.98 && high <= 1.1);
    token_range(&low, &high, values, 0);
    assert_true(low == 0 && high == 1);
    for (int i = 0; i < 1000; i++)
        values[i] = 3;
    token_range(&low, &high, values, 1000);
    assert_true(low < 3 && high > 3);
}

/* Where the first pixel of a colour lies; false: nowhere. */
static bool find(const Canvas *canvas, Color color, int *x, int *y) {
    for (*y = 0; *y < canvas->height; ++*y)
        for (*x = 0; *x < canvas->width; ++*x)
            if (same(canvas_get(canvas, *x, *y), color))
                return true;
    return false;
}

static void panels(void **state) {
    (void)state;
    static const char *const titles[] = {"Short", "A title that is much longer than the picture is "
                                                  "wide, so that it has to be broken, perhaps more "
                                                  "than once, into lines"};
    for (int t = 0; t < 2; t++)
        for (int size = 63; size <= 160; size += 97) {
            Error error = {0};
            FilmPage *p = film_page_new(titles[t], titles[1], titles[1], 2, 3, size, size + 10);
            int width, height, x, y, x2, y2;
            for (int i = 0; i < 5; i++) /* the last one stays empty */
                film_page_label(p, i / 3, i % 3, i == 1 ? titles[1] : "Label");
            film_page_notes(p);
            film_page_bar(p, 0, COLORMAP_DEPTH, 0, 1, "a unit that is too long to fit");
            film_page_key(p, (Color){1, 2, 3}, titles[1]);
            film_page_key(p, (Color){3, 2, 1}, "short");
            assert_int_equal(film_page_start(p, &error), 0);
            film_page_size(p, &width, &height);
            assert_true(width % 2 == 0 && height % 2 == 0);
            assert_null(film_page_tile(p, 1, 2));
            canvas_rectangle(film_page_tile(p, 0, 0), 0, 0, 999, 999, (Color){250, 1, 1}, 1);
            canvas_rectangle(film_page_tile(p, 1, 1), 0, 0, 999, 999, (Color){1, 250, 1}, 1);
            film_page_note(p, 0, 0, "mean 0.123 and more than there is room for");
            const Canvas *picture = film_page_picture(p, titles[1], 0.5);
            assert_true(picture->width == width && picture->height == height);
            assert_true(find(picture, (Color){250, 1, 1}, &x, &y));
            assert_true(find(picture, (Color){1, 250, 1}, &x2, &y2));
            assert_true(x2 > x + size && y2 > y + size);
            int red = 0;
            for (int i = 0; i < width * height; i++)
                red += picture->rgb[3 * i] == 250 && picture->rgb[3 * i + 1] == 1;
            assert_int_equal(red, size * (size + 10)); /* nothing covers it */
            for (y = 0; y < height; y++)               /* nothing reaches the border */
                for (x = 0; x < width; x++)
                    if (x < 8 || y < 8 || x >= width - 8 || y >= height - 8)
                        assert_true(same(canvas_get(picture, x, y), COLOR_PAPER));
            film_page_free(p);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squares),
        cmocka_unit_test(masks),
        cmocka_unit_test(ranges),
        cmocka_unit_test(panels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
