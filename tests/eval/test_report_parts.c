/* What a report is made of: escaping, CSV tables, envelopes of long series, charts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/html.h"
#include "eval/plot.h"
#include "eval/table.h"
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a function writes, as text. */
typedef struct Written {
    char *text;
    size_t size;
    FILE *out;
} Written;

static void begin(Written *w) {
    w->text = NULL;
    w->out = open_memstream(&w->text, &w->size);
    assert_non_null(w->out);
}

static const char *finish(Written *w) {
    if (w->out)
        fclose(w->out);
    w->out = NULL;
    return w->text;
}

static void assert_escaped(const char *text, const char *expected) {
    Written w;
    begin(&w);
    html_text(w.out, text);
    assert_string_equal(finish(&w), expected);
    free(w.text);
}

static void names_are_never_markup(void **state) {
    (void)state;
    assert_escaped("<script>alert('x')</script>",
                   "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;");
    assert_escaped("a\" onload=\"b&c", "a&quot; onload=&quot;b&amp;c");
    assert_escaped("Größe 日本 🎬", "Größe 日本 🎬");
    assert_escaped("a\x01z\x7f", "a\xEF\xBF\xBDz\xEF\xBF\xBD");
    assert_escaped("\xff\xc3", "\xEF\xBF\xBD\xEF\xBF\xBD");
    /* overlong forms of '<', and half of a surrogate pair */
    assert_escaped("\xE0\x80\xBC", "&lt;");
    assert_escaped("\xED\xA0\x80", "\xEF\xBF\xBD");
    /* a name that would read backwards */
    assert_escaped("a\xE2\x80\xAEgpj.exe", "a[U+202E]gpj.exe");
    Written w;
    begin(&w);
    html_element(w.out, "td", "number", "<1>");
    html_format(w.out, "%s&%d", "<", 5);
    assert_string_equal(finish(&w), "<td class=\"number\">&lt;1&gt;</td>&lt;&amp;5");
    free(w.text);
}

static void json_cannot_end_its_script(void **state) {
    (void)state;
    Written w;
    begin(&w);
    html_json_text(w.out, "</script>&\"\\'\n\xE2\x80\xA8ö");
    html_json_number(w.out, NAN, 6);
    html_json_number(w.out, 0.25, 6);
    assert_string_equal(finish(&w), "\"\\u003c/script\\u003e\\u0026\\u0022\\u005c\\u0027\\u000a"
                                    "\\u2028ö\"null0.25");
    free(w.text);
}

static void base64_of_any_length(void **state) {
    (void)state;
    enum { MOST = 100000 };
    uint8_t *bytes = memory_new(MOST, 1), *back = memory_new(MOST, 1);
    for (size_t i = 0; i < MOST; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    static const size_t counts[] = {0, 1, 2, 3, 4, 49151, 49152, 49153, MOST};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        Written w;
        begin(&w);
        html_data_url(w.out, "image/png", bytes, counts[i]);
        const char *text = finish(&w), *start = "data:image/png;base64,";
        size_t got;
        assert_int_equal(strncmp(text, start, strlen(start)), 0);
        text += strlen(start);
        assert_int_equal(sodium_base642bin(back, MOST, text, strlen(text), NULL, &got, NULL,
                                           sodium_base64_VARIANT_ORIGINAL),
                         0);
        assert_int_equal(got, counts[i]);
        assert_memory_equal(back, bytes, got);
        free(w.text);
    }
    free(bytes);
    free(back);
}

/* ---- tables ---- */

static int read_text(Table *table, const char *text, size_t most, Error *error) {
    char path[] = "/tmp/jepa_table_XXXXXX";
    close(mkstemp(path));
    assert_int_equal(file_write(path, text, strlen(text), NULL), 0);
    int result = table_read(table, path, most, false, error);
    unlink(path);
    return result;
}

static void tables_are_read(void **state) {
    (void)state;
    Table t;
    Error error = {0};
    assert_int_equal(read_text(&t,
                               "step,file,reason\r\n"
                               ",\"a, \"\"b\"\"\",cut short\r\n"
                               "\n"
                               "7,x\n"
                               "8,\"open quote\n"
                               "9,y,z,more,fields\n"
                               "10,half a li",
                               3, &error),
                     0);
    assert_int_equal(t.columns, 3);
    assert_int_equal(t.total, 4);
    assert_int_equal(t.rows, 3);
    int file = table_column(&t, "file");
    assert_int_equal(file, 1);
    assert_int_equal(table_column(&t, "nothing"), -1);
    assert_string_equal(table_cell(&t, 0, 0), "");
    assert_string_equal(table_cell(&t, 0, file), "a, \"b\"");
    assert_string_equal(table_cell(&t, 0, 2), "cut short");
    assert_string_equal(table_cell(&t, 1, file), "x");
    assert_string_equal(table_cell(&t, 1, 2), "");
    assert_string_equal(table_cell(&t, 2, file), "open quote");
    assert_string_equal(table_cell(&t, 2, -1), "");
    table_free(&t);
    assert_int_equal(read_text(&t, "no line end", 3, &error), -1);
    table_free(&t);
    assert_int_equal(read_text(&t, "", 3, &error), -1);
    table_free(&t);
}

/* ---- envelopes ---- */

#define STEPS 252000

static void spikes_survive(void **state) {
    (void)state;
    enum { PARTS = 720 };
    double *x = memory_new(STEPS, sizeof *x), *y = memory_new(STEPS, sizeof *y), sum = 0;
    for (int i = 0; i < STEPS; i++) {
        x[i] = i;
        y[i] = 1 + 0.001 * (i % 7);
    }
    static const int spikes[] = {0, 1, 12345, 126000, STEPS - 1};
    for (int k = 0; k < 5; k++)
        y[spikes[k]] = k % 2 ? -50 - k : 50 + k;
    y[777] = NAN;
    y[778] = INFINITY;
    Envelope e;
    envelope_make(&e, x, y, STEPS, PARTS);
    assert_false(e.exact);
    assert_int_equal(e.count, PARTS);
    for (int k = 0; k < 5; k++) {
        bool found = false;
        for (size_t i = 0; i < e.count; i++) /* near its step, a part's width at most */
            found = found || (fabs(e.x[i] - spikes[k]) <= (double)STEPS / PARTS &&
                              (k % 2 ? e.low[i] : e.high[i]) == y[spikes[k]]);
        assert_true(found);
    }
    double n = 0, all = 0;
    for (size_t i = 0; i < e.count; i++) {
        assert_true(e.low[i] <= e.mean[i] && e.mean[i] <= e.high[i]);
        assert_true(i == 0 || e.x[i] > e.x[i - 1]);
        n += e.n[i];
        all += e.n[i] * e.mean[i];
    }
    for (int i = 0; i < STEPS; i++)
        sum += isfinite(y[i]) ? y[i] : 0;
    assert_true(n == STEPS - 2);
    assert_true(fabs(all - sum) < 1e-9 * fabs(sum));
    assert_true(e.last == y[STEPS - 1]);
    envelope_free(&e);
    envelope_make(&e, x, y, 720, 720);
    assert_true(e.exact);
    assert_memory_equal(e.mean, y, 720 * sizeof *y);
    envelope_free(&e);
    free(x);
    free(y);
}

static void envelopes_of_little(void **state) {
    (void)state;
    const double x[] = {5, 5, 5, 6}, y[] = {NAN, 2, 4, NAN};
    Envelope e;
    envelope_make(&e, x, y, 4, 1);
    assert_int_equal(e.count, 1);
    assert_true(e.low[0] == 2 && e.high[0] == 4 && e.mean[0] == 3 && e.x[0] == 5);
    envelope_free(&e);
    envelope_make(&e, x, y, 1, 10);
    assert_int_equal(e.count, 0);
    assert_true(isnan(e.last));
    envelope_free(&e);
    envelope_make(&e, NULL, NULL, 0, 10);
    assert_int_equal(e.count, 0);
    envelope_free(&e);
}

static void running_means_count_points(void **state) {
    (void)state;
    double x[] = {0, 1, 2, 3}, mean[] = {4, 0, 8, 2}, n[] = {1, 3, 1, 1}, out[4];
    Envelope e = {.count = 4, .x = x, .mean = mean, .low = mean, .high = mean, .n = n};
    envelope_smooth(out, &e, 2);
    assert_true(fabs(out[0] - 4. / 4) < 1e-12);
    assert_true(fabs(out[1] - 12. / 5) < 1e-12);
    assert_true(fabs(out[3] - 10. / 2) < 1e-12);
    envelope_smooth(out, &e, 0);
    assert_memory_equal(out, mean, sizeof mean);
}

/* ---- charts ---- */

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)); text++)
        count++;
    return count;
}

static void charts_hold_lines_and_numbers(void **state) {
    (void)state;
    double x[200], y[200], z[200];
    for (int i = 0; i < 200; i++) {
        x[i] = i;
        y[i] = exp(-i / 20.);
        z[i] = i == 100 ? -1 : NAN;
    }
    Plot plot = {
        .group = "G", .title = "<b>", .unit = "a & b", .scale = CHART_AUTO, .smooth = true};
    plot_add(&plot, "</script>", 0, x, y, 200, 720);
    plot_add(&plot, "lone", 1, x, z, 200, 720);
    plot_add(&plot, "nothing", 2, x, z, 100, 720);
    assert_int_equal(plot.count, 2);
    plot.mark[plot.marks++] = 50;
    Written w;
    begin(&w);
    plot_write(w.out, &plot, 3);
    const char *text = finish(&w);
    assert_non_null(strstr(text, "id=\"chart-3\""));
    assert_non_null(strstr(text, "<b>&lt;b&gt;</b>"));
    assert_non_null(strstr(text, "a &amp; b"));
    assert_int_equal(count_of(text, "</script>"), 1); /* that of the numbers */
    assert_int_equal(count_of(text, "class=\"line c"), 2);
    assert_int_equal(count_of(text, "class=\"raw c0\""), 1);
    assert_int_equal(count_of(text, "class=\"mark\""), 1);
    assert_non_null(strstr(text, "h0\"/>")); /* a lone value is a dot */
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "\"y\":[1,0.951229,"));
    free(w.text);
    plot_free(&plot);
    begin(&w);
    plot_write(w.out, &plot, 4);
    assert_non_null(strstr(finish(&w), "no values yet"));
    free(w.text);
}

static void logarithmic_charts_leave_out_what_is_not_positive(void **state) {
    (void)state;
    const double x[] = {0, 1, 2, 3}, y[] = {1, 0, -1, 1000};
    Plot plot = {.title = "t", .scale = CHART_LOG};
    plot_add(&plot, "s", 0, x, y, 4, 720);
    Written w;
    begin(&w);
    plot_write(w.out, &plot, 0);
    const char *text = finish(&w);
    const char *path = strstr(text, "class=\"line c0\" d=\"");
    assert_non_null(path);
    assert_int_equal(strspn(path + 18, "M0123456789. L"), strcspn(path + 18, "\""));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    free(w.text);
    plot_free(&plot);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_never_markup),
        cmocka_unit_test(json_cannot_end_its_script),
        cmocka_unit_test(base64_of_any_length),
        cmocka_unit_test(tables_are_read),
        cmocka_unit_test(spikes_survive),
        cmocka_unit_test(envelopes_of_little),
        cmocka_unit_test(running_means_count_points),
        cmocka_unit_test(charts_hold_lines_and_numbers),
        cmocka_unit_test(logarithmic_charts_leave_out_what_is_not_positive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
