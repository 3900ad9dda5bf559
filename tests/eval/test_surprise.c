/* Surprise: that it is |prediction - target|, with masks that hide the later frames alone; scores
 * of a video; what pairs of scores say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eval/surprise.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES  16
#define TUBELET 2
#define WIDTH   6

static const MaskGrid grid = {.time = FRAMES / TUBELET, .height = 2, .width = 3};

static void test_contexts(void **state) {
    (void)state;
    Error error = {0};
    int c[SURPRISE_CONTEXTS], n;
    assert_int_equal(surprise_contexts(c, &n, NULL, 16, 2, &error), 0);
    const int published[] = {2, 4, 6, 8, 10};
    assert_int_equal(n, 5);
    assert_memory_equal(c, published, sizeof published);
    assert_int_equal(surprise_contexts(c, &n, NULL, 64, 2, &error), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(c[i], 4 * published[i]);
    assert_int_equal(surprise_contexts(c, &n, NULL, 4, 2, &error), 0); /* one is all that can be */
    assert_int_equal(n, 1);
    assert_int_equal(c[0], 2);
    assert_int_equal(surprise_contexts(c, &n, "8,2,8", 16, 2, &error), 0);
    assert_int_equal(n, 2);
    assert_int_equal(c[0], 2);
    assert_int_equal(c[1], 8);
    const char *bad[] = {"", "3", "0", "16", "2,", "2;4", "-2", "x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error = (Error){0};
        assert_int_equal(surprise_contexts(c, &n, bad[i], 16, 2, &error), -1);
        assert_int_equal(error.code, ERROR_USAGE);
    }
    error = (Error){0};
    assert_int_equal(surprise_contexts(c, &n, NULL, 2, 2, &error), -1);
}

static void test_masks(void **state) {
    (void)state;
    const int contexts[] = {2, 10};
    MaskGroup masks;
    surprise_masks(&masks, contexts, 2, TUBELET, grid);
    assert_int_equal(masks.cu_context[1], 6);
    assert_int_equal(masks.cu_context[2], 6 + 30);
    assert_int_equal(masks.cu_target[1], 42);
    assert_int_equal(masks.cu_target[2], 42 + 18);
    for (int i = 0; i < 42; i++)
        assert_int_equal(masks.target[i], 6 + i);
    for (int i = 0; i < 18; i++)
        assert_int_equal(masks.target[42 + i], 30 + i);
    for (int i = 0; i < 30; i++)
        assert_int_equal(masks.context[6 + i], i);
    mask_group_free(&masks);
}

/* A published baseline once took |target| for it, as its predictions were zeroed before the loss:
 * then both of these would be wrong. */
static void test_difference(void **state) {
    (void)state;
    Error error = {0};
    const int contexts[] = {4, 8};
    MaskGroup masks;
    Latents l;
    double values[2], size = 0;
    surprise_masks(&masks, contexts, 2, TUBELET, grid);
    latents_new(&l, grid, WIDTH, &masks, 2);
    for (int i = 0; i < l.tokens * WIDTH; i++)
        l.target[i] = (float)(3 * sin(i));
    for (int64_t i = 0; i < l.hidden; i++) /* right all along */
        memcpy(l.predicted + i * WIDTH, l.target + l.token[i] * WIDTH, WIDTH * sizeof(float));
    assert_int_equal(latents_measure(&l, &error), 0);
    surprise_values(values, &l);
    assert_true(values[0] == 0 && values[1] == 0);
    for (int64_t i = 0; i < l.hidden * WIDTH; i++) /* off by 1/2 and by 1, up and down */
        l.predicted[i] += (i % 2 ? 1 : -1) * (i < l.mask[1].first * WIDTH ? 0.5f : 1.0f);
    assert_int_equal(latents_measure(&l, &error), 0);
    surprise_values(values, &l);
    /* float32 sums of numbers up to 4: a few parts in 1e7 */
    assert_true(fabs(values[0] - 0.5) < 1e-6 && fabs(values[1] - 1) < 1e-6);
    memset(l.predicted, 0, (size_t)l.hidden * WIDTH * sizeof(float)); /* says nothing: |target| */
    assert_int_equal(latents_measure(&l, &error), 0);
    surprise_values(values, &l);
    for (int i = 2 * 6 * WIDTH; i < l.tokens * WIDTH; i++)
        size += fabs(l.target[i]) / ((l.tokens - 12) * WIDTH);
    assert_true(fabs(values[0] - size) < 1e-6);
    latents_free(&l);
    mask_group_free(&masks);
}

static void test_scores(void **state) {
    (void)state;
    SurpriseScore s = {0};
    const double windows[3][2] = {{1, 3}, {4, 2}, {1, 7}};
    for (int w = 0; w < 3; w++)
        surprise_add(&s, windows[w], 2);
    assert_int_equal(s.windows, 3);
    assert_true(fabs(s.mean[0] - 2) < 1e-12 && fabs(s.mean[1] - 4) < 1e-12);
    assert_true(fabs(s.mean[2] - 4.0 / 3) < 1e-12); /* least of each: 1, 2, 1 */
    assert_true(s.most[0] == 4 && s.most[1] == 7 && s.most[2] == 2);
}

static void test_pairs(void **state) {
    (void)state;
    SurprisePairs r, by_scene;
    const double possible[] = {1, 2, 3, 4}, impossible[] = {2, 2, 5, 3};
    const int64_t scene[] = {7, 7, 9, 9};
    surprise_pairs(&r, possible, impossible, NULL, 4);
    assert_int_equal(r.right, 2);
    assert_int_equal(r.equal, 1);
    assert_int_equal(r.scenes, 4);
    assert_true(fabs(r.accuracy - 2.5 / 4) < 1e-12);
    /* 2 beats 1, equals 2: 1.5, twice; 5 beats four; 3 beats 1, 2, equals 3: 2.5 */
    assert_true(fabs(r.auroc - (1.5 + 1.5 + 4 + 2.5) / 16) < 1e-12);
    surprise_pairs(&by_scene, possible, impossible, scene, 4);
    assert_int_equal(by_scene.scenes, 2);
    assert_true(by_scene.accuracy == r.accuracy && by_scene.auroc == r.auroc);
    assert_true(by_scene.low < r.low && by_scene.high > r.high); /* fewer witnesses */
    /* Wilson by hand: p = 0.625, n = 2, z = 1.959964 */
    assert_true(fabs(by_scene.low - 0.14169) < 1e-4 && fabs(by_scene.high - 0.94390) < 1e-4);
    /* more by 1 + 0 in the first, by 2 - 1 in the second */
    assert_true(by_scene.scene_accuracy == 1 && r.scene_accuracy == r.accuracy);
    /* endings that decide every pair, one rightly and one wrongly, and a switch that adds 0.1 */
    const double possible2[] = {1, 2, 1, 2}, impossible2[] = {2.1, 1.1, 2.1, 1.1};
    surprise_pairs(&r, possible2, impossible2, scene, 4);
    assert_true(r.accuracy == 0.5 && r.scene_accuracy == 1);
    surprise_pairs(&r, possible2, possible2, scene, 4);
    assert_true(r.accuracy == 0.5 && r.scene_accuracy == 0.5 && r.auroc == 0.5);
    /* three pairs of one scene and one of another are 16 / 10 witnesses; all right: the lower end
     * is n / (n + z²) */
    const double low[] = {1, 1, 1, 1}, high[] = {2, 2, 2, 2};
    const int64_t uneven[] = {5, 9, 5, 5};
    surprise_pairs(&r, low, high, uneven, 4);
    assert_int_equal(r.scenes, 2);
    assert_true(fabs(r.low - 1.6 / (1.6 + 1.959964 * 1.959964)) < 1e-6);
    surprise_pairs(&r, possible, impossible, NULL, 0);
    assert_true(isnan(r.accuracy) && r.pairs == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_contexts),
                                       cmocka_unit_test(test_masks),
                                       cmocka_unit_test(test_difference),
                                       cmocka_unit_test(test_scores), cmocka_unit_test(test_pairs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
