/* Charts: ticks and numbers, what is drawn where, and the page of curves from a log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/axis.h"
#include "eval/chart.h"
#include "eval/colormap.h"
#include "eval/curves.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pixels of exactly this colour in columns left..right - 1. */
static size_t pixels_of(const Canvas *canvas, Color color, int left, int right) {
    size_t count = 0;
    for (int y = 0; y < canvas->height; y++) {
        for (int x = left; x < right && x < canvas->width; x++) {
            Color c = canvas_get(canvas, x, y);
            count += c.r == color.r && c.g == color.g && c.b == color.b;
        }
    }
    return count;
}

/* Nothing is cropped: the outermost pixels of the picture are white. */
static void check_margins(const Canvas *canvas) {
    for (int x = 0; x < canvas->width; x++) {
        assert_int_equal(canvas_get(canvas, x, 0).r, 255);
        assert_int_equal(canvas_get(canvas, x, canvas->height - 1).r, 255);
    }
    for (int y = 0; y < canvas->height; y++) {
        assert_int_equal(canvas_get(canvas, 0, y).r, 255);
        assert_int_equal(canvas_get(canvas, canvas->width - 1, y).r, 255);
    }
}

static void linear_ticks_are_round_numbers(void **state) {
    (void)state;
    static const double ranges[][2] = {{0, 1},       {0.35, 0.9}, {-3, 17},         {0.998, 1},
                                       {0, 6.25e-4}, {1e5, 1e6},  {0.9986, 0.9988}, {-1e-9, 1e-9},
                                       {5, 5},       {0, 0},      {1e12, 2e12},     {3, -3},
                                       {NAN, 1}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (int out = 0; out < 2; out++) {
            Axis axis = axis_linear(ranges[i][0], ranges[i][1], 5, out);
            assert_true(axis.low < axis.high);
            assert_in_range(axis.count, 2, 12);
            double step = axis.ticks[1] - axis.ticks[0];
            double lead = step / pow(10.0, floor(log10(step) + 1e-6));
            assert_true(fabs(lead - 1) < 1e-4 || fabs(lead - 2) < 1e-4 || fabs(lead - 5) < 1e-4);
            for (int t = 0; t < axis.count; t++) {
                double place = axis_place(&axis, axis.ticks[t]);
                assert_true(place > -1e-6 && place < 1 + 1e-6);
                assert_true(t == 0 || strcmp(axis.labels[t], axis.labels[t - 1]) != 0);
            }
        }
    }
}

static void logarithmic_ticks_are_powers(void **state) {
    (void)state;
    static const double ranges[][2] = {{1e-3, 1e3},   {0.07, 8}, {1, 1}, {2, 3},
                                       {1e-30, 1e30}, {0, 1},    {-1, 5}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        Axis axis = axis_logarithmic(ranges[i][0], ranges[i][1], 5);
        assert_true(axis.low > 0.0 && axis.low < axis.high);
        assert_in_range(axis.count, 1, AXIS_TICKS);
        for (int t = 1; t < axis.count; t++) {
            assert_true(axis.ticks[t] > axis.ticks[t - 1]);
        }
    }
    Axis axis = axis_logarithmic(0.01, 100, 5);
    assert_true(fabs(axis_place(&axis, 1.0) - 0.5) < 1e-12);
    assert_true(isnan(axis_place(&axis, -1.0)));
}

static void numbers_are_for_people(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.42831, "0.4283"}, {12450, "12,450"}, {0.5, "0.5"},          {20, "20"},
        {1e-5, "1e-05"},     {0, "0"},          {NAN, "\xE2\x80\x93"}, {-1234567, "-1,234,567"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[NUMBER_TEXT];
        number_text(text, cases[i].value, 4);
        assert_string_equal(text, cases[i].text);
    }
    char text[NUMBER_TEXT];
    number_whole(text, -0.2);
    assert_string_equal(text, "0");
    number_whole(text, 1000);
    assert_string_equal(text, "1,000");
    number_text(text, -DBL_MAX, 17);
    number_text(text, DBL_MIN, 17);
}

static void draws_lines_gaps_and_dots(void **state) {
    (void)state;
    enum { N = 101 };
    double x[N], y[N], one[N];
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = i > 40 && i < 60 ? NAN : 0.01 * i;
        one[i] = i == 50 ? 0.5 : NAN;
    }
    Error error = {0};
    Chart *chart = chart_new("Title", "Subtitle", 2, 640, 300);
    ChartPanel *panel = chart_panel(chart, "Loss", NULL, "step", CHART_LINEAR);
    assert_int_equal(chart_series(panel, "gap", x, y, N, 0, &error), 0);
    assert_int_equal(chart_series(panel, "dot", x, one, N, 5, &error), 0);
    Canvas *canvas;
    assert_int_equal(chart_draw(&canvas, chart, &error), 0);
    assert_true(canvas->width >= 640 && canvas->height >= 300);
    check_margins(canvas);
    int left = canvas->width * 35 / 100, right = canvas->width * 60 / 100;
    assert_true(pixels_of(canvas, palette_color(0), 0, left) > 50);
    assert_true(pixels_of(canvas, palette_color(0), right, canvas->width) > 50);
    assert_true(pixels_of(canvas, palette_color(1), left, right) > 8); /* the lone value */
    /* The line is broken in the middle (the legend stands further left). */
    assert_int_equal(
        pixels_of(canvas, palette_color(0), canvas->width * 47 / 100, canvas->width * 57 / 100), 0);
    canvas_free(canvas);
    chart_free(chart);
}

static void odd_data_gives_a_picture(void **state) {
    (void)state;
    double x[6] = {0, 1, 2, 3, 4, 5};
    double rows[][6] = {{1, 1, 1, 1, 1, 1},
                        {NAN, NAN, NAN, NAN, NAN, NAN},
                        {INFINITY, -INFINITY, 1, 2, 3, NAN},
                        {0, 0, 0, 0, 0, 0},
                        {-1, -2, -3, -4, -5, -6},
                        {1e-300, 1e300, 1, 1e-300, 1e300, 1},
                        {DBL_MAX, -DBL_MAX, 0, 1, 2, 3}};
    for (int scale = CHART_LINEAR; scale <= CHART_AUTO; scale++) {
        Error error = {0};
        Chart *chart = chart_new("Odd", NULL, 3, 320, 200);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            ChartPanel *panel = chart_panel(
                chart, "A panel with a title that is much too long for its width", "u", "step",
                (ChartScale)scale);
            chart_panel_zero(panel);
            for (size_t n = 0; n <= 6; n += 3) {
                assert_int_equal(
                    chart_series(panel, "a very long name of a series", x, rows[i], n, 3, &error),
                    0);
            }
        }
        Canvas *canvas;
        assert_int_equal(chart_draw(&canvas, chart, &error), 0);
        check_margins(canvas);
        canvas_free(canvas);
        chart_free(chart);
    }
}

static void limits_are_errors(void **state) {
    (void)state;
    double x[1] = {0};
    Error error = {0};
    Chart *chart = chart_new("Wide", NULL, 64, 640, 300);
    ChartPanel *panel = chart_panel(chart, "p", NULL, NULL, CHART_LINEAR);
    for (int i = 0; i < CHART_SERIES; i++) {
        assert_int_equal(chart_series(panel, "s", x, x, 1, 0, &error), 0);
    }
    assert_int_equal(chart_series(panel, "s", x, x, 1, 0, &error), -1);
    for (int i = 1; i < CHART_PANELS; i++) {
        chart_panel(chart, "p", NULL, NULL, CHART_LINEAR);
    }
    Canvas *canvas;
    assert_int_equal(chart_draw(&canvas, chart, &error), -1);
    assert_null(canvas);
    chart_free(chart);
    chart = chart_new(NULL, NULL, 1, 0, 0);
    assert_int_equal(chart_draw(&canvas, chart, &error), 0); /* no panel at all */
    canvas_free(canvas);
    chart_free(chart);
}

/* Writes `text` as a log, reads it, draws it; gives the log back. */
static void draw_log(CurvesLog *log, const char *text) {
    char folder[] = "/tmp/jepa_test_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    char *csv = path_join(folder, "log.csv"), *png = path_join(folder, "curves.png");
    assert_int_equal(file_write(csv, text, strlen(text), &error), 0);
    assert_int_equal(curves_write(png, csv, "A run", &error), 0);
    assert_true(file_exists(png));
    assert_int_equal(curves_log_read(log, csv, &error), 0);
    unlink(csv);
    unlink(png);
    free(csv);
    free(png);
    assert_int_equal(rmdir(folder), 0);
}

static void logs_are_read_as_they_come(void **state) {
    (void)state;
    CurvesLog log;
    draw_log(&log, "step,loss,lr,unknown\r\n1,0.9,1e-4,x\r\n2,,2e-4\r\n\n3,nan,abc,1,2,3\r\n4,0.5");
    assert_int_equal(log.columns, 4);
    assert_int_equal(log.rows, 3); /* the last line is not finished yet */
    const double *loss = curves_log_column(&log, "loss"), *lr = curves_log_column(&log, "lr");
    assert_true(loss[0] == 0.9 && isnan(loss[1]) && isnan(loss[2]));
    assert_true(lr[1] == 2e-4 && isnan(lr[2]));
    assert_null(curves_log_column(&log, "wd"));
    curves_log_free(&log);

    /* A run rewound from step 4 to 2: the way that was given up is gone. */
    draw_log(&log, "loss,step\n1,1\n2,2\n3,3\n4,4\n20,2\n30,3\n");
    assert_int_equal(log.rows, 3);
    loss = curves_log_column(&log, "loss");
    assert_true(loss[0] == 1 && loss[1] == 20 && loss[2] == 30);
    curves_log_free(&log);

    static const char *small[] = {
        "step,loss\n", "step,loss",          "",
        "step\n1\n",   "step,loss\n1,0.5\n", "step,loss,cosine,skill\n5,0.1,0.2,-0.3\n6,0.1,,\n"};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        draw_log(&log, small[i]);
        curves_log_free(&log);
    }
}

static void what_is_no_log_is_refused(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa_test_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    char *csv = path_join(folder, "log.csv"), *png = path_join(folder, "curves.png");
    assert_int_equal(curves_write(png, csv, NULL, &error), -1); /* missing */
    char commas[1000] = {0};
    memset(commas, ',', sizeof commas - 2);
    commas[sizeof commas - 2] = '\n';
    const char *bad[] = {"epoch,loss\n1,2\n", "\n", "\x89PNG\r\n\x1a\n", commas};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(file_write(csv, bad[i], strlen(bad[i]), &error), 0);
        assert_int_equal(curves_write(png, csv, "A run", &error), -1);
        assert_non_null(strstr(error.text, "log.csv"));
        assert_false(file_exists(png));
    }
    unlink(csv);
    free(csv);
    free(png);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_ticks_are_round_numbers),
        cmocka_unit_test(logarithmic_ticks_are_powers),
        cmocka_unit_test(numbers_are_for_people),
        cmocka_unit_test(draws_lines_gaps_and_dots),
        cmocka_unit_test(odd_data_gives_a_picture),
        cmocka_unit_test(limits_are_errors),
        cmocka_unit_test(logs_are_read_as_they_come),
        cmocka_unit_test(what_is_no_log_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
