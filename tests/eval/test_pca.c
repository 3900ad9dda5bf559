/* Principal components: known axes, orthonormality, sign, joint fits, scaling, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "eval/pca.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS  700 /* more than one chunk */
#define WIDTH 24

/* Rows that spread 5, 3, 1 along three known orthonormal directions, and little along all. */
static float *make_rows(double axes[3][WIDTH], size_t n) {
    for (int k = 0; k < 3; k++) { /* three rows of a discrete cosine basis */
        for (int d = 0; d < WIDTH; d++) {
            axes[k][d] = sqrt(2.0 / WIDTH) * cos(M_PI * (k + 1) * (d + 0.5) / WIDTH);
        }
    }
    static const double spread[3] = {5, 3, 1};
    float *rows = memory_new(n * WIDTH, sizeof *rows);
    Random random = random_at(7, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < n; i++) {
        double row[WIDTH];
        for (int d = 0; d < WIDTH; d++) {
            row[d] = 10.0 + d + 0.01 * random_normal(&random);
        }
        for (int k = 0; k < 3; k++) {
            double along = spread[k] * random_normal(&random);
            for (int d = 0; d < WIDTH; d++) {
                row[d] += along * axes[k][d];
            }
        }
        for (int d = 0; d < WIDTH; d++) {
            rows[i * WIDTH + (size_t)d] = (float)row[d];
        }
    }
    return rows;
}

static double dot(const double *a, const double *b) {
    double sum = 0.0;
    for (int d = 0; d < WIDTH; d++) {
        sum += a[d] * b[d];
    }
    return sum;
}

static void finds_known_axes(void **state) {
    (void)state;
    double axes[3][WIDTH];
    float *rows = make_rows(axes, ROWS);
    Error error = {0};
    Pca pca;
    assert_int_equal(pca_fit(&pca, rows, ROWS, WIDTH, 3, &error), 0);
    for (int k = 0; k < 3; k++) {
        const double *axis = pca.axes + k * WIDTH;
        assert_true(fabs(dot(axis, axes[k])) > 0.99);
        for (int j = 0; j <= k; j++) {
            assert_true(fabs(dot(axis, pca.axes + j * WIDTH) - (j == k)) < 1e-10);
        }
        int largest = 0;
        for (int d = 1; d < WIDTH; d++) {
            largest = fabs(axis[d]) > fabs(axis[largest]) ? d : largest;
        }
        assert_true(axis[largest] > 0.0);
        assert_true(k == 0 || pca.variance[k] <= pca.variance[k - 1]);
    }
    assert_true(fabs(pca.variance[0] - 25.0) < 4.0);
    double sum = pca.variance[0] + pca.variance[1] + pca.variance[2];
    assert_true(sum <= pca.total && sum > 0.99 * pca.total);

    /* The variance of what is projected is the eigenvalue, its mean is 0. */
    float *out = memory_new(ROWS * 3, sizeof *out);
    pca_project(out, &pca, rows, ROWS);
    for (size_t k = 0; k < 3; k++) {
        double mean = 0.0, square = 0.0;
        for (size_t i = 0; i < ROWS; i++) {
            mean += out[i * 3 + k] / ROWS;
            square += out[i * 3 + k] * out[i * 3 + k] / ROWS;
        }
        assert_true(fabs(mean) < 1e-4);
        assert_true(fabs(square - pca.variance[k]) < 1e-4 * pca.variance[k]);
    }
    free(out);
    pca_free(&pca);
    free(rows);
}

static void joint_fit_is_the_fit_of_both(void **state) {
    (void)state;
    double axes[3][WIDTH];
    float *rows = make_rows(axes, ROWS);
    Error error = {0};
    Pca whole, parts, again;
    assert_int_equal(pca_fit(&whole, rows, ROWS, WIDTH, 3, &error), 0);
    assert_int_equal(
        pca_fit_joint(&parts, rows, 300, rows + 300 * WIDTH, ROWS - 300, WIDTH, 3, &error), 0);
    assert_int_equal(pca_fit(&again, rows, ROWS, WIDTH, 3, &error), 0);
    assert_memory_equal(whole.axes, again.axes, 3 * WIDTH * sizeof(double));
    for (int i = 0; i < 3 * WIDTH; i++) {
        assert_true(fabs(whole.axes[i] - parts.axes[i]) < 1e-9);
    }
    pca_free(&whole);
    pca_free(&parts);
    pca_free(&again);
    free(rows);
}

static void few_and_constant_rows_work(void **state) {
    (void)state;
    float rows[5 * 8];
    for (int i = 0; i < 40; i++) {
        rows[i] = 0.25f;
    }
    for (size_t n = 1; n <= 5; n += 4) {
        Error error = {0};
        Pca pca;
        assert_int_equal(pca_fit(&pca, rows, n, 8, 8, &error), 0);
        float out[5 * 8];
        pca_project(out, &pca, rows, n);
        double low[8], high[8];
        pca_range(low, high, out, n, 8);
        pca_scale(out, n, 8, low, high);
        for (size_t i = 0; i < n * 8; i++) {
            assert_true(out[i] == 0.5f);
        }
        assert_true(pca.total == 0.0 && pca.variance[0] >= 0.0);
        pca_free(&pca);
    }
}

static void percentiles_resist_outliers(void **state) {
    (void)state;
    float values[1001];
    for (int i = 0; i <= 1000; i++) {
        values[i] = (float)(1000 - i);
    }
    values[0] = 1e9f; /* in place of 1000 */
    double low, high;
    pca_range(&low, &high, values, 1001, 1);
    assert_true(fabs(low - 10.0) < 1e-6 && fabs(high - 990.0) < 1e-6);
    pca_scale(values, 1001, 1, &low, &high);
    assert_true(values[0] == 1.0f && values[1000] == 0.0f);
    assert_true(fabsf(values[500] - 0.5f) < 1e-6f);
}

static void refuses_what_makes_no_sense(void **state) {
    (void)state;
    float rows[12] = {0};
    Error error = {0};
    Pca pca;
    static const int cases[][3] = {{0, 4, 2}, {3, 0, 1}, {3, 4, 0}, {3, 4, 5}, {3, 1 << 20, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pca_fit(&pca, rows, (size_t)cases[i][0], cases[i][1], cases[i][2], &error),
                         -1);
        pca_free(&pca);
    }
    rows[6] = NAN;
    assert_int_equal(pca_fit(&pca, rows, 3, 4, 2, &error), -1);
    assert_non_null(strstr(error.text, "row 1, entry 2"));
    pca_free(&pca);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_known_axes),
        cmocka_unit_test(joint_fit_is_the_fit_of_both),
        cmocka_unit_test(few_and_constant_rows_work),
        cmocka_unit_test(percentiles_resist_outliers),
        cmocka_unit_test(refuses_what_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
