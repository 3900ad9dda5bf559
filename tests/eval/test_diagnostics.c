/* Diagnostics: spectra against eigenvalues found in another way and against cases whose answer is
 * known; neighbours; drift; and what a clip leaves behind against the passes made one by one. */
#include "base/random.h"
#include "eval/diagnostics_passes.h"
#include "eval/drift.h"
#include "eval/latents.h"
#include "eval/neighbours.h"
#include "eval/spectrum.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_near(double value, double expected, double relative) {
    if (!(fabs(value - expected) <= relative * fabs(expected)))
        fail_msg("%.12g, expected %.12g", value, expected);
}

static float *normal_rows(int64_t n, int width, uint64_t slot) {
    float *rows = memory_new((size_t)(n * width), sizeof *rows);
    Random random = random_at(7, RANDOM_TEST, 0, slot);
    for (int64_t i = 0; i < n * width; i++)
        rows[i] = (float)random_normal(&random);
    return rows;
}

/* ---- another way to eigenvalues: Jacobi's rotations of a symmetric matrix a[n][n] ---- */

static void jacobi(double *a, double *vectors, int n) {
    for (int i = 0; i < n * n; i++)
        vectors[i] = i % (n + 1) == 0;
    for (int sweep = 0; sweep < 60; sweep++)
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                if (fabs(a[p * n + q]) < 1e-300)
                    continue;
                double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                double c = 1 / sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < n; k++) {
                    double x = a[k * n + p], y = a[k * n + q];
                    a[k * n + p] = c * x - s * y, a[k * n + q] = s * x + c * y;
                }
                for (int k = 0; k < n; k++) {
                    double x = a[p * n + k], y = a[q * n + k];
                    a[p * n + k] = c * x - s * y, a[q * n + k] = s * x + c * y;
                }
                for (int k = 0; k < n; k++) {
                    double x = vectors[k * n + p], y = vectors[k * n + q];
                    vectors[k * n + p] = c * x - s * y, vectors[k * n + q] = s * x + c * y;
                }
            }
}

/* exp(-Σ p log p) of p_k = (λ_k + eps) / Σ (λ + eps) on the diagonal of a */
static double entropy_rank(const double *a, int n, double eps) {
    double sum = 0, entropy = 0;
    for (int k = 0; k < n; k++)
        sum += a[k * (n + 1)] + eps;
    for (int k = 0; k < n; k++) {
        double p = (a[k * (n + 1)] + eps) / sum;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    return exp(entropy);
}

/* The formula of LiDAR as it stands in eval/spectrum.h, with S_w^-1/2 itself. */
static double plain_lidar(const float *x, int classes, int views, int d) {
    enum { most = 12 };
    double within[most * most] = {0}, between[most * most] = {0}, vectors[most * most],
                         root[most * most] = {0}, sigma[most * most] = {0}, all[most] = {0};
    assert_true(d <= most);
    for (int i = 0; i < classes * views; i++)
        for (int k = 0; k < d; k++)
            all[k] += x[i * d + k] / (double)(classes * views);
    for (int c = 0; c < classes; c++) {
        double mean[most] = {0};
        for (int v = 0; v < views; v++)
            for (int k = 0; k < d; k++)
                mean[k] += x[(c * views + v) * d + k] / (double)views;
        for (int a = 0; a < d; a++)
            for (int b = 0; b < d; b++) {
                between[a * d + b] += (mean[a] - all[a]) * (mean[b] - all[b]) / (classes - 1);
                for (int v = 0; v < views; v++) {
                    const float *row = x + (c * views + v) * d;
                    within[a * d + b] += (row[a] - mean[a]) * (row[b] - mean[b]) /
                                         ((double)classes * (views - 1));
                }
            }
    }
    for (int k = 0; k < d; k++)
        within[k * d + k] += 1e-4;
    jacobi(within, vectors, d);
    for (int a = 0; a < d; a++)
        for (int b = 0; b < d; b++)
            for (int k = 0; k < d; k++)
                root[a * d + b] += vectors[a * d + k] * vectors[b * d + k] /
                                   sqrt(within[k * d + k]);
    for (int a = 0; a < d; a++)
        for (int b = 0; b < d; b++)
            for (int i = 0; i < d; i++)
                for (int j = 0; j < d; j++)
                    sigma[a * d + b] += root[a * d + i] * between[i * d + j] * root[j * d + b];
    jacobi(sigma, vectors, d);
    for (int k = 0; k < d; k++)
        sigma[k * (d + 1)] = fmax(0, sigma[k * (d + 1)]);
    return entropy_rank(sigma, d, 1e-8);
}

static void lidar_as_its_formula(void **state) {
    (void)state;
    const int shapes[][3] = {{9, 4, 6}, {5, 3, 12}, {20, 2, 12}}; /* fewer classes than D, more */
    for (size_t k = 0; k < 3; k++) {
        int c = shapes[k][0], v = shapes[k][1], d = shapes[k][2];
        float *rows = normal_rows((int64_t)c * v, d, k);
        for (int i = 0; i < c * v; i++) /* unequal directions */
            for (int j = 0; j < d; j++)
                rows[i * d + j] *= (float)(1.0 / (1 + j)) * (i % v ? 0.1f : 1);
        /* both are exact but for rounding; conditions of S_w are below 1e4 */
        assert_near(spectrum_lidar(rows, c, v, d), plain_lidar(rows, c, v, d), 1e-9);
        free(rows);
    }
}

static void eigenvalues_as_found_in_another_way(void **state) {
    (void)state;
    enum { n = 40, d = 10 };
    float *rows = normal_rows(n, d, 9);
    double a[d * d] = {0}, vectors[d * d], values[d], mean[d] = {0}, sum = 0, entropy = 0;
    for (int i = 0; i < n * d; i++)
        rows[i] = rows[i] * (float)(1 + i % d) + 2;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d; k++)
            mean[k] += rows[i * d + k] / (double)n;
    for (int centred = 0; centred < 2; centred++) {
        memset(a, 0, sizeof a);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < d; j++)
                for (int k = 0; k < d; k++)
                    a[j * d + k] += (rows[i * d + j] - centred * mean[j]) *
                                    (rows[i * d + k] - centred * mean[k]) / (centred ? n : 1);
        jacobi(a, vectors, d);
        assert_int_equal(spectrum(values, rows, n, d, centred), 0);
        for (int k = 0; k < d; k++) { /* each is one of the other way's */
            double nearest = INFINITY;
            for (int j = 0; j < d; j++)
                nearest = fmin(nearest, fabs(values[k] - a[j * (d + 1)]));
            assert_true(nearest < 1e-10 * values[0]);
            assert_true(!k || values[k] <= values[k - 1]);
        }
        if (centred)
            continue;
        for (int k = 0; k < d; k++)
            sum += sqrt(a[k * (d + 1)]);
        for (int k = 0; k < d; k++) {
            double p = sqrt(a[k * (d + 1)]) / sum + 1e-7;
            entropy -= p * log(p);
        }
        assert_near(spectrum_rankme(values, d), exp(entropy), 1e-10);
    }
    free(rows);
}

static void isotropic_gaussian(void **state) {
    (void)state;
    enum { n = 4000, d = 32, classes = 400, views = 4 };
    double values[d];
    float *rows = normal_rows(n, d, 1);
    assert_int_equal(spectrum(values, rows, n, d, false), 0);
    assert_true(spectrum_rankme(values, d) > 0.999 * d);
    assert_int_equal(spectrum(values, rows, n, d, true), 0);
    /* eigenvalues scatter by sqrt(d/n) = 9 % about 1, and are sorted: nearly flat */
    double alpha = spectrum_alpha(values, n, d);
    assert_true(alpha > 0 && alpha < 0.1);
    free(rows);
    /* classes anywhere, views a hundredth apart: every direction tells them apart */
    float *clips = normal_rows(classes, d, 2), *noise = normal_rows(classes * views, d, 3);
    for (int i = 0; i < classes * views; i++)
        for (int k = 0; k < d; k++)
            noise[i * d + k] = clips[i / views * d + k] + 0.01f * noise[i * d + k];
    double lidar = spectrum_lidar(noise, classes, views, d);
    assert_true(lidar > 0.95 * d && lidar <= d);
    free(clips);
    free(noise);
}

static void rank_one_and_nothing(void **state) {
    (void)state;
    enum { n = 60, d = 16 };
    double values[d];
    float *along = normal_rows(n, 1, 4), *rows = memory_new(n * d, sizeof *rows);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d; k++)
            rows[i * d + k] = along[i] * (float)(k - 3);
    assert_int_equal(spectrum(values, rows, n, d, false), 0);
    /* eigenvalues that are 0 come as 1e-16 of the first, their roots as 1e-8 */
    assert_near(spectrum_rankme(values, d), 1, 1e-4);
    assert_int_equal(spectrum(values, rows, n, d, true), 0);
    assert_true(isnan(spectrum_alpha(values, n, d))); /* no law to be fitted */
    assert_near(spectrum_lidar(rows, n / 4, 4, d), 1, 1e-5);
    for (int i = 0; i < n; i++) /* every clip the same */
        memcpy(rows + i * d, rows, d * sizeof *rows);
    assert_near(spectrum_lidar(rows, n / 4, 4, d), 1, 1e-12);
    rows[5] = NAN;
    assert_int_equal(spectrum(values, rows, n, d, true), -1);
    assert_true(isnan(spectrum_lidar(rows, n / 4, 4, d)));
    free(along);
    free(rows);
}

/* Clips of two kinds, whose views differ in all other directions alike: one direction is left. */
static void two_clusters(void **state) {
    (void)state;
    enum { classes = 50, views = 4, d = 24 };
    float *rows = normal_rows(classes * views, d, 5);
    for (int i = 0; i < classes * views; i++)
        for (int k = 0; k < d; k++)
            rows[i * d + k] = 0.01f * rows[i * d + k] + (k == 2 ? i / views % 2 ? 1 : -1 : 0);
    double lidar = spectrum_lidar(rows, classes, views, d);
    assert_true(lidar >= 1 && lidar < 1.1);
    free(rows);
}

/* Rows ± sqrt(d λ_i) e_i have exactly the covariance diag(λ). */
static void power_law(void **state) {
    (void)state;
    enum { d = 200 };
    const double alphas[] = {0.5, 1, 2};
    double *values = memory_new(d, sizeof *values);
    for (size_t a = 0; a < 3; a++) {
        float *rows = memory_new(2 * d * d, sizeof *rows);
        for (int i = 0; i < d; i++)
            for (int sign = 0; sign < 2; sign++)
                rows[(2 * i + sign) * d + i] = (float)((sign ? -1 : 1) *
                                                       sqrt(d * pow(i + 1, -alphas[a])));
        assert_int_equal(spectrum(values, rows, 2 * d, d, true), 0);
        assert_near(spectrum_alpha(values, 2 * d, d), alphas[a], 1e-6); /* rows are float */
        free(rows);
    }
    for (int i = 0; i < d; i++) /* exact for a spectrum that is given */
        values[i] = 3 * pow(i + 1, -1.25);
    assert_near(spectrum_alpha(values, 2 * d, d), 1.25, 1e-12);
    assert_true(isnan(spectrum_alpha(values, 16, d))); /* too few: 4 .. 7 */
    free(values);
}

static void neighbours_of_clusters(void **state) {
    (void)state;
    enum { n = 48, d = 8, classes = 4 };
    float *rows = normal_rows(n, d, 6);
    int labels[n];
    uint32_t groups[n];
    for (int i = 0; i < n; i++) {
        labels[i] = i % classes;
        groups[i] = (uint32_t)i;
        rows[i * d + labels[i]] += 20;
    }
    assert_near(neighbours_accuracy(rows, labels, groups, n, d, classes), 1, 0);
    assert_near(majority_share(labels, n, classes), 0.25, 0);
    for (int i = 0; i < n; i++)
        groups[i] = (uint32_t)labels[i]; /* the only ones that are alike are no neighbours */
    assert_true(neighbours_accuracy(rows, labels, groups, n, d, classes) == 0);
    for (int i = 0; i < n; i++)
        groups[i] = 0;
    assert_true(neighbours_accuracy(rows, labels, groups, n, d, classes) == 0);
    free(rows);
}

/* ---- passes ---- */

typedef struct Fixture {
    Device *device;
    Recipe recipe;
    Model model; /* as if it were trained */
    uint8_t *pixels;
} Fixture;

static void open_fixture(Fixture *f, const char *more) {
    const char *keys[] = {
        "data.batch_size=2",      "data.num_frames=4",       "data.crop_size=64",
        "data.patch_size=8",      "model.embed_dim=48",      "model.depth=2",
        "model.num_heads=2",      "model.pred_embed_dim=16", "model.pred_depth=1",
        "model.pred_num_heads=1", "model.model_name=null",   "model.init_std=0.2",
        "sigreg.hidden_dim=16",   "sigreg.output_dim=8",     "sigreg.local_size=16",
        "model.mlp_ratio=2"};
    Error error = {0};
    recipe_default(&f->recipe);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (recipe_set(&f->recipe, keys[i], &error))
            fail_msg("%s", error.text);
    if ((more && recipe_parse(&f->recipe, more, "more", &error)) ||
        recipe_check(&f->recipe, &error))
        fail_msg("%s", error.text);
    assert_int_equal(device_open(&f->device, "cpu", 2, &error), 0);
    ModelPlan plan = passes_plan(&f->recipe, f->device);
    plan.training = true;
    assert_int_equal(model_new(&f->model, &plan, f->device, &error), 0);
    model_init(&f->model, 3);
    size_t bytes = 3 * 4 * 64 * 64;
    f->pixels = memory_new(bytes, 1);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < bytes; i++) /* coarse patterns, so that tokens differ */
        f->pixels[i] = (uint8_t)(128 + 100 * sin((double)(i / 64 % 64 * (i % 64)) / 60.0) +
                                 (double)random_below(&random, 20));
}

static void close_fixture(Fixture *f) {
    model_free(&f->model);
    device_close(f->device);
    recipe_free(&f->recipe);
    free(f->pixels);
}

/* Moves the context encoder away from the target. */
static void move_weights(Fixture *f, float by) {
    Random random = random_at(1, RANDOM_TEST, 0, 1);
    for (int64_t i = 0; i < f->model.table.total; i++)
        f->model.weights[i] += by * (float)random_normal(&random);
    model_weights_changed(&f->model);
}

static ClipRecord one_clip(Fixture *f, Passes *p, void **memory) {
    Error error = {0};
    assert_int_equal(passes_open(p, &f->recipe, &f->model, 50, &error), 0);
    *memory = memory_new(1, record_bytes_of(&p->shape));
    ClipRecord record = record_at(*memory, &p->shape);
    passes_clip(&record, p, f->pixels, 7);
    return record;
}

static void prediction_as_latents_have_it(void **state) {
    (void)state;
    Fixture f;
    Passes p;
    Model alone;
    Latents latents;
    Error error = {0};
    void *memory;
    open_fixture(&f, NULL);
    move_weights(&f, 0.05f);
    size_t bytes = (size_t)f.model.table.total * sizeof(float);
    float *before = memory_new(1, bytes);
    memcpy(before, f.model.weights, bytes);
    f.model.scalars->total = 5;
    ClipRecord r = one_clip(&f, &p, &memory);
    /* nothing of the model that is trained has changed */
    assert_memory_equal(before, f.model.weights, bytes);
    assert_true(f.model.scalars->total == 5);
    /* the same masks and clip through a model of its own: jepa visualize's numbers */
    ModelPlan plan = passes_plan(&f.recipe, f.device);
    assert_int_equal(model_new(&alone, &plan, f.device, &error), 0);
    memcpy(alone.weights, f.model.weights, bytes);
    memcpy(alone.target, f.model.target,
           (size_t)f.model.table.owner[OWNER_ENCODER].end * sizeof(float));
    mask_group_draw(&p.group, &p.masks, p.seed, 0, 7, NULL);
    ModelInput input = {.samples = 1, .pixels = f.pixels};
    assert_int_equal(latents_compute(&latents, &alone, &input, &p.group, -1, &error), 0);
    double error_sum = 0, trivial = 0, hidden = 0;
    for (int m = 0; m < latents.settings; m++) {
        error_sum += latents.mask[m].error * (double)latents.mask[m].count;
        trivial += latents.mask[m].mean * (double)latents.mask[m].count;
        hidden += (double)latents.mask[m].count;
    }
    assert_true(r.sums[RECORD_HIDDEN] == hidden);
    assert_near(r.sums[RECORD_ERROR], error_sum, 1e-6); /* float against double in between */
    assert_near(r.sums[RECORD_ERROR_MEAN], trivial, 1e-6);
    /* target rows: evenly spaced tokens of the same, normalised once more, which changes nothing
     * but for the eps of 1e-5 */
    for (int i = 0; i < r.counts[RECORD_TARGET]; i++)
        for (int k = 0; k < latents.width; k++)
            assert_true(
                fabs(r.target[i * latents.width + k] -
                     latents.target[i * latents.tokens / r.counts[RECORD_TARGET] * latents.width +
                                    k]) < 1e-3);
    assert_true(r.sums[RECORD_TOKENS] == latents.tokens);
    double cosine = r.sums[RECORD_COSINE] / r.sums[RECORD_TOKENS];
    assert_true(cosine > 0 && cosine < 0.999);
    latents_free(&latents);
    model_free(&alone);
    passes_close(&p);
    close_fixture(&f);
    free(memory);
    free(before);
}

static void drift_of_known_weights(void **state) {
    (void)state;
    Fixture f;
    Passes p;
    void *memory;
    open_fixture(&f, NULL);
    assert_true(drift_weights(&f.model, NULL) == 0);
    ClipRecord r = one_clip(&f, &p, &memory); /* the same weights make the same features */
    assert_near(r.sums[RECORD_COSINE] / r.sums[RECORD_TOKENS], 1, 1e-5);
    int64_t end = f.model.table.owner[OWNER_ENCODER].end;
    double square = 0;
    for (int64_t i = 0; i < end; i++)
        square += f.model.weights[i] * (double)f.model.weights[i];
    f.model.target[end / 2] += 0.5f;
    assert_near(drift_weights(&f.model, NULL), 0.5 / sqrt(square), 1e-6);
    passes_close(&p);
    close_fixture(&f);
    free(memory);
}

/* Four views of each clip, whatever the settings; they differ, and come again for the same clip. */
static void views_of_all_objectives(void **state) {
    (void)state;
    const char *const kinds[] = {
        NULL,
        "mask: {num_pred_masks: 3, pred_mask_scale: [0.15, 0.3], enc_mask_scale: [0.85, 1.0], "
        "aspect_ratio: [0.75, 1.5], min_keep: 1}",
        "{objective: sigreg, model: {use_rope: true}}"};
    for (size_t k = 0; k < 3; k++) {
        Fixture f;
        Passes p;
        void *memory, *again;
        open_fixture(&f, kinds[k]);
        ClipRecord r = one_clip(&f, &p, &memory);
        int width = p.shape.context_width;
        for (int v = 0; v < DIAGNOSTIC_VIEWS; v++)
            for (int w = 0; w < v; w++)
                assert_true(memcmp(r.views + v * width, r.views + w * width,
                                   (size_t)width * sizeof *r.views) != 0);
        again = memory_new(1, record_bytes_of(&p.shape));
        ClipRecord second = record_at(again, &p.shape);
        passes_clip(&second, &p, f.pixels, 7);
        assert_memory_equal(memory, again, record_bytes_of(&p.shape));
        passes_close(&p);
        close_fixture(&f);
        free(memory);
        free(again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lidar_as_its_formula),
        cmocka_unit_test(eigenvalues_as_found_in_another_way),
        cmocka_unit_test(isotropic_gaussian),
        cmocka_unit_test(rank_one_and_nothing),
        cmocka_unit_test(two_clusters),
        cmocka_unit_test(power_law),
        cmocka_unit_test(neighbours_of_clusters),
        cmocka_unit_test(prediction_as_latents_have_it),
        cmocka_unit_test(drift_of_known_weights),
        cmocka_unit_test(views_of_all_objectives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
