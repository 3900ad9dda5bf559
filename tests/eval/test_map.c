/* The map: t-SNE keeps clusters apart, is the same for a seed on any number of threads, and copes
 * with few and with equal points; pictures on the map do not cover each other; every class has its
 * mark in the legend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "eval/colormap.h"
#include "eval/map_sheet.h"
#include "eval/tsne.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS   120
#define CLUSTERS 4
#define WIDTH    10

/* Clusters around unit vectors, much wider than deep. */
static float *make_rows(double spread) {
    float *rows = memory_new(POINTS * WIDTH, sizeof *rows);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (int i = 0; i < POINTS * WIDTH; i++)
        rows[i] = (float)(spread * random_normal(&random) +
                          (i % WIDTH == i / WIDTH % CLUSTERS ? 1 : 0));
    return rows;
}

static double squared(const double *place, int i, int j) {
    double a = place[2 * i] - place[2 * j], b = place[2 * i + 1] - place[2 * j + 1];
    return a * a + b * b;
}

static void clusters(void **state) {
    (void)state;
    Error error = {0};
    float *rows = make_rows(0.1);
    double place[2 * POINTS];
    TsneSpec spec = {.perplexity = 15, .iterations = 300, .seed = 4};
    assert_int_equal(tsne_embed(place, rows, POINTS, WIDTH, &spec, &error), 0);
    for (int i = 0; i < POINTS; i++) { /* the ten nearest are of one's own cluster */
        for (int rank = 0; rank < 10; rank++) {
            int nearest = -1;
            static bool used[POINTS];
            if (rank == 0)
                memset(used, 0, sizeof used);
            for (int j = 0; j < POINTS; j++)
                if (j != i && !used[j] &&
                    (nearest < 0 || squared(place, i, j) < squared(place, i, nearest)))
                    nearest = j;
            used[nearest] = true;
            assert_int_equal(nearest % CLUSTERS, i % CLUSTERS);
        }
    }
    double mean[2] = {0, 0};
    for (int i = 0; i < 2 * POINTS; i++) {
        assert_true(isfinite(place[i]));
        mean[i % 2] += place[i];
    }
    assert_true(fabs(mean[0]) < 1e-6 && fabs(mean[1]) < 1e-6);
    free(rows);
}

static void repeatable(void **state) {
    (void)state;
    enum { MORE = 230 }; /* enough for several threads */
    Error error = {0};
    static float rows[MORE * WIDTH];
    static double place[3][2 * MORE];
    Random random = random_at(1, RANDOM_TEST, 0, 7);
    int threads = omp_get_max_threads();
    for (int i = 0; i < MORE * WIDTH; i++)
        rows[i] = (float)random_normal(&random);
    for (int i = 0; i < 3; i++) {
        TsneSpec spec = {.perplexity = 30, .iterations = 12, .seed = i == 2 ? 5 : 4};
        omp_set_num_threads(i == 1 ? 3 : 1);
        assert_int_equal(tsne_embed(place[i], rows, MORE, WIDTH, &spec, &error), 0);
    }
    omp_set_num_threads(threads);
    assert_memory_equal(place[0], place[1], sizeof place[0]);
    assert_true(memcmp(place[0], place[2], sizeof place[0]) != 0);
}

static void corners(void **state) {
    (void)state;
    Error error = {0};
    float equal[40 * 2], nan[6] = {0, 1, NAN, 2, 3, 4};
    double place[80];
    TsneSpec spec = {.perplexity = 30, .iterations = 50, .seed = 0};
    for (int i = 0; i < 80; i++)
        equal[i] = 2;
    for (size_t n = 1; n <= 40; n += n < 5 ? 1 : 7) {
        assert_int_equal(tsne_embed(place, equal, n, 2, &spec, &error), 0);
        for (size_t i = 0; i < 2 * n; i++)
            assert_true(isfinite(place[i]));
    }
    assert_int_equal(tsne_embed(place, equal, 5, 1, &spec, &error), 0);
    assert_int_equal(tsne_embed(place, nan, 3, 2, &spec, &error), -1);
    assert_non_null(strstr(error.text, "finite"));
    assert_int_equal(tsne_embed(place, equal, TSNE_POINTS_MAX + 1, 2, &spec, &error), -1);
}

/* Counts pixels of a colour. */
static int pixels_of(const Canvas *canvas, Color color) {
    int count = 0;
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++) {
            Color c = canvas_get(canvas, x, y);
            count += c.r == color.r && c.g == color.g && c.b == color.b;
        }
    return count;
}

static void sheet(void **state) {
    (void)state;
    Error error = {0};
    Canvas *canvas;
    double place[2 * 300];
    int label[300];
    bool chosen[300];
    char names[40][8];
    const char *list[40];
    const uint8_t *pictures[300] = {NULL};
    static uint8_t magenta[MAP_THUMBNAIL * MAP_THUMBNAIL * 3];
    for (size_t i = 0; i < sizeof magenta; i++)
        magenta[i] = i % 3 == 1 ? 0 : 255;
    Random random = random_at(2, RANDOM_TEST, 0, 0);
    for (int i = 0; i < 600; i++)
        place[i] = 1000 + random_normal(&random);
    for (int i = 0; i < 300; i++)
        label[i] = i % 10 - 1;
    for (int k = 0; k < 40; k++) {
        snprintf(names[k], sizeof names[k], "c%d", k);
        list[k] = names[k];
    }
    MapSpec spec = {.title = "A map",
                    .count = 300,
                    .place = place,
                    .label = label,
                    .classes = 9,
                    .class_names = list};
    map_thumbnails(chosen, &spec);
    int count = 0;
    for (int i = 0; i < 300; i++)
        if (chosen[i]) {
            pictures[i] = magenta;
            count++;
        }
    assert_in_range(count, 10, 200);
    spec.thumbnails = pictures;
    assert_int_equal(map_draw(&canvas, &spec, &error), 0);
    for (int k = 0; k < 8; k++)
        assert_true(pixels_of(canvas, palette_color(k)) > 100);
    canvas_free(canvas);
    /* alone, no picture is covered */
    MapSpec alone = {.title = "A map", .place = place};
    double own[2 * 300];
    const uint8_t *shown[300];
    for (int i = 0; i < 300; i++)
        if (chosen[i]) {
            memcpy(own + 2 * alone.count, place + 2 * i, 2 * sizeof *own);
            shown[alone.count++] = magenta;
        }
    alone.place = own;
    alone.thumbnails = shown;
    map_thumbnails(chosen, &alone);
    bool all = true; /* the ends of the field may have moved, if none of them was chosen */
    for (size_t i = 0; i < alone.count; i++)
        all = all && chosen[i];
    assert_int_equal(map_draw(&canvas, &alone, &error), 0);
    int area = MAP_THUMBNAIL * MAP_THUMBNAIL * (int)alone.count;
    int seen = pixels_of(canvas, (Color){255, 0, 255});
    assert_true(all ? seen == area : seen > area / 2);
    canvas_free(canvas);
    /* one point, no classes; too many classes */
    spec = (MapSpec){.title = "One", .count = 1, .place = place};
    assert_int_equal(map_draw(&canvas, &spec, &error), 0);
    canvas_free(canvas);
    spec = (MapSpec){.title = "Many",
                     .count = 300,
                     .place = place,
                     .label = label,
                     .classes = 40,
                     .class_names = list};
    assert_int_equal(map_draw(&canvas, &spec, &error), 0);
    assert_int_equal(pixels_of(canvas, palette_color(2)), 0);
    canvas_free(canvas);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clusters),
        cmocka_unit_test(repeatable),
        cmocka_unit_test(corners),
        cmocka_unit_test(sheet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
