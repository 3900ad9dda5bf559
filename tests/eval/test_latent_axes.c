/* Axes of colours: kept and read again they give the same places; a rule fixes order and signs;
 * places are robust against outliers; files that are no axes, or others', are refused in a line;
 * colours are as light as they say, and inside sRGB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/random.h"
#include "base/safetensors.h"
#include "eval/colormap.h"
#include "eval/latent_axes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 12
#define ROWS  600

/* Normal numbers that spread 4, 2, 1 along the axes 5, 2 and 7, and little along the others. */
static float *make_rows(void) {
    float *rows = memory_new((size_t)ROWS * WIDTH, sizeof *rows);
    Random random = random_at(9, RANDOM_TEST, 0, 0);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        int d = i % WIDTH;
        double spread = d == 5 ? 4 : d == 2 ? 2 : d == 7 ? 1 : 0.1;
        rows[i] = (float)(spread * random_normal(&random) + d);
    }
    return rows;
}

static LatentAxes fit(const float *rows, size_t n) {
    Error error = {0};
    LatentRows all = {0};
    LatentAxes axes;
    latent_rows_add(&all, rows, n / 2, WIDTH);
    latent_rows_add(&all, rows + n / 2 * WIDTH, n - n / 2, WIDTH);
    assert_int_equal(latent_axes_fit(&axes, &all, &error), 0);
    latent_rows_free(&all);
    return axes;
}

static void rule(void **state) {
    (void)state;
    static const int along[LATENT_COLORS] = {5, 2, 7};
    float *rows = make_rows(), place[ROWS * LATENT_COLORS], *mirrored = make_rows();
    for (int i = 0; i < ROWS * WIDTH; i++)
        mirrored[i] = -rows[i]; /* the same axes: their signs do not depend on the data's */
    LatentAxes axes = fit(rows, ROWS), other = fit(mirrored, ROWS);
    for (int k = 0; k < LATENT_COLORS; k++)
        for (int d = 0; d < WIDTH; d++) {
            double value = axes.pca.axes[k * WIDTH + d];
            assert_true(d == along[k] ? value > 0.99 : fabs(value) < 0.15);
            assert_true(fabs(value - other.pca.axes[k * WIDTH + d]) < 1e-9);
        }
    assert_true(latent_axes_share(&axes, 0) > 0.7 && latent_axes_share(&axes, 1) > 0.15);
    /* one row far out moves hardly any colour */
    latent_axes_place(place, &axes, rows, ROWS);
    int at_ends = 0;
    for (int i = 0; i < ROWS * LATENT_COLORS; i++) {
        assert_true(place[i] >= 0 && place[i] <= 1);
        at_ends += place[i] == 0 || place[i] == 1;
    }
    assert_in_range(at_ends, ROWS * LATENT_COLORS / 100, ROWS * LATENT_COLORS * 3 / 100);
    latent_axes_free(&axes);
    latent_axes_free(&other);
    free(rows);
    free(mirrored);
}

static void kept(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa_axes_XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = path_join(folder, "axes.safetensors"), *other = path_join(folder, "other");
    Error error = {0};
    float *rows = make_rows(), place[ROWS * LATENT_COLORS], again[ROWS * LATENT_COLORS];
    LatentAxes axes = fit(rows, ROWS), read;
    strcpy(axes.checkpoint, "0123abcd");
    assert_int_equal(latent_axes_save(&axes, path, &error), 0);
    assert_int_equal(latent_axes_load(&read, path, WIDTH, &error), 0);
    assert_string_equal(read.checkpoint, "0123abcd");
    latent_axes_place(place, &axes, rows, ROWS);
    latent_axes_place(again, &read, rows, ROWS);
    assert_memory_equal(place, again, sizeof place);
    assert_true(latent_axes_share(&axes, 2) == latent_axes_share(&read, 2));
    latent_axes_free(&read);

    assert_int_equal(latent_axes_load(&read, path, WIDTH + 1, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "13"));
    assert_int_equal(latent_axes_load(&read, "/nonexistent", WIDTH, &error), -1);
    TensorInfo tensor = {.name = (char *)(uintptr_t) "mean",
                         .type = TENSOR_F64,
                         .dims = 1,
                         .shape = {2},
                         .data = axes.low,
                         .bytes = 16};
    assert_int_equal(safetensors_write(other, &tensor, 1, NULL, &error), 0);
    assert_int_equal(latent_axes_load(&read, other, 2, &error), -1);
    assert_non_null(strstr(error.text, "not a file of axes"));
    axes.low[1] = NAN;
    assert_int_equal(latent_axes_save(&axes, other, &error), 0);
    assert_int_equal(latent_axes_load(&read, other, WIDTH, &error), -1);
    assert_non_null(strstr(error.text, "\"low\""));
    assert_int_equal(folder_remove(folder, &error), 0);
    latent_axes_free(&axes);
    free(path);
    free(other);
    free(rows);
}

/* At most `each` rows are taken at a time, spread over all. */
static void bounded(void **state) {
    (void)state;
    float values[100];
    for (int i = 0; i < 100; i++)
        values[i] = (float)i;
    LatentRows rows = {.each = 10};
    latent_rows_add(&rows, values, 100, 1);
    latent_rows_add(&rows, values, 7, 1);
    assert_int_equal(rows.count, 17);
    for (int i = 0; i < 10; i++)
        assert_true(rows.rows[i] == 10 * i);
    assert_true(rows.rows[16] == 6);
    latent_rows_free(&rows);
    Error error = {0};
    LatentAxes axes;
    assert_int_equal(latent_axes_fit(&axes, &(LatentRows){.width = WIDTH}, &error), -1);
    latent_axes_free(&axes);
}

/* Lightness climbs with the first number whatever the others are; grey is grey; cut to 0..1. */
static void colors(void **state) {
    (void)state;
    for (int a = 0; a <= 4; a++)
        for (int b = 0; b <= 4; b++) {
            double before = -1;
            for (int l = 0; l <= 8; l++) {
                float place[3] = {(float)l / 8, (float)a / 4, (float)b / 4};
                Color c = colormap_triple(place);
                double linear = 0; /* luminance */
                const double weight[3] = {0.2126, 0.7152, 0.0722};
                const uint8_t rgb[3] = {c.r, c.g, c.b};
                for (int k = 0; k < 3; k++)
                    linear += weight[k] * pow((rgb[k] / 255.0 + 0.055) / 1.055, 2.4);
                assert_true(linear > before);
                before = linear;
            }
        }
    Color grey = colormap_triple((float[]){0.5f, 0.5f, 0.5f});
    assert_true(abs(grey.r - grey.g) <= 1 && abs(grey.g - grey.b) <= 1);
    Color cut = colormap_triple((float[]){-3, 0.5f, NAN}),
          end = colormap_triple((float[]){0, 0.5f, 0.5f});
    assert_memory_equal(&cut, &end, sizeof cut);
    /* blue to yellow, green to pink */
    Color blue = colormap_triple((float[]){0.5f, 0, 0.5f}),
          yellow = colormap_triple((float[]){0.5f, 1, 0.5f});
    assert_true(blue.b > blue.r + 30 && yellow.r > yellow.b + 60);
    Color green = colormap_triple((float[]){0.5f, 0.5f, 0}),
          pink = colormap_triple((float[]){0.5f, 0.5f, 1});
    assert_true(green.g > green.r + 30 && pink.r > pink.g + 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule),
        cmocka_unit_test(kept),
        cmocka_unit_test(bounded),
        cmocka_unit_test(colors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
