/* The decoder of patches: a planted linear map is learnt, by the linear decoder and by the one with
 * a hidden layer, to errors far below what looks at no latent; the loss's first step is that of its
 * definition; the same bits for any number of threads; what patches of predicted tokens come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "eval/expected.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS    2000
#define TESTS   400
#define WIDTH   12
#define OUTPUTS 24 /* 3 channels, 2 frames, 2 x 2 pixels */

/* pixel = 128 + 25 Σ_d map[v][d] h[d] / sqrt(D), so that few are cut. */
static void plant(Bank *bank) {
    Random random = random_at(5, RANDOM_TEST, 0, 0);
    uint16_t *latents = memory_new(ROWS * WIDTH, sizeof *latents);
    uint8_t *pixels = memory_new(ROWS * OUTPUTS, 1);
    int32_t *places = memory_new(ROWS * 3, sizeof *places);
    double map[OUTPUTS * WIDTH];
    *bank = (Bank){.grid = {1, 2, 2},
                   .width = WIDTH,
                   .tubelet = 2,
                   .patch = 2,
                   .outputs = OUTPUTS,
                   .rows = ROWS,
                   .latents = latents,
                   .pixels = pixels,
                   .places = places};
    for (int i = 0; i < OUTPUTS * WIDTH; i++)
        map[i] = random_normal(&random);
    for (int64_t i = 0; i < ROWS; i++) {
        for (int d = 0; d < WIDTH; d++)
            latents[i * WIDTH + d] = float16_from_float((float)random_normal(&random));
        for (int v = 0; v < OUTPUTS; v++) {
            double sum = 0;
            for (int d = 0; d < WIDTH; d++)
                sum += map[v * WIDTH + d] * float16_to_float(latents[i * WIDTH + d]);
            double value = 128 + 25 * sum / sqrt(WIDTH);
            pixels[i * OUTPUTS + v] = (uint8_t)fmin(255, fmax(0, round(value)));
        }
        places[3 * i + 2] = (int32_t)(i % 4);
    }
}

static Device *open_device(int threads) {
    Device *device;
    Error error = {0};
    if (device_open(&device, "cpu", threads, &error))
        fail_msg("%s", error.text);
    return device;
}

/* Trains on all but the last TESTS rows. */
static void learn(PatchDecoder *d, double *losses, PatchErrors *errors, const Bank *bank,
                  int hidden, int64_t steps, int threads) {
    Device *device = open_device(threads);
    Error error = {0};
    int64_t *items = memory_new(ROWS, sizeof *items);
    PatchTraining training = {steps, 100, 0.01, 0, 9};
    for (int64_t i = 0; i < ROWS; i++)
        items[i] = i;
    patch_decoder_new(d, WIDTH, hidden, OUTPUTS, 9);
    if (patch_decoder_train(d, losses, &training, bank, items, ROWS - TESTS, device, &error) ||
        patch_decoder_errors(errors, d, bank, items, ROWS - TESTS, items + ROWS - TESTS, TESTS,
                             device, &error))
        fail_msg("%s", error.text);
    free(items);
    device_close(device);
}

static void a_linear_map_is_learnt(void **state) {
    const Bank *bank = *state;
    for (int hidden = 0; hidden <= 48; hidden += 48) {
        PatchDecoder d;
        PatchErrors errors;
        learn(&d, NULL, &errors, bank, hidden, 800, 2);
        /* the variance that was planted: 25² of 255², less what was cut; no place knows more */
        assert_true(errors.colour > 0.7 * 625 / (255.0 * 255) &&
                    errors.colour < 1.5 * 625 / (255.0 * 255));
        assert_true(errors.place > 0.9 * errors.colour);
        /* rounding alone leaves 2 / 12 of a step squared; the map is learnt to a few steps */
        assert_true(errors.decoder < (hidden ? 0.05 : 0.005) * errors.colour);
        patch_decoder_free(&d);
    }
}

/* The first loss is mean (y - wanted)² / 2 of the initial weights, by plain loops. */
static void the_loss_is_its_definition(void **state) {
    const Bank *bank = *state;
    PatchDecoder d, first;
    PatchErrors errors;
    double losses[1], sum = 0;
    enum { M = 5 };
    learn(&d, losses, &errors, bank, M, 1, 1);
    patch_decoder_new(&first, WIDTH, M, OUTPUTS, 9);
    const float *w = first.weights;
    for (int64_t i = 0; i < 100; i++) {
        int64_t row = (int64_t)random_permute(9, RANDOM_ORDER, 0, (uint64_t)i, ROWS - TESTS);
        double hidden[M];
        for (int m = 0; m < M; m++) {
            double a = 0;
            for (int k = 0; k < WIDTH; k++)
                a += w[first.w1 + m * WIDTH + k] * float16_to_float(bank->latents[row * WIDTH + k]);
            hidden[m] = a * (1 + erf(a / sqrt(2))) / 2;
        }
        for (int v = 0; v < OUTPUTS; v++) {
            double y = 0, wanted = bank->pixels[row * OUTPUTS + v] / 255.0;
            for (int m = 0; m < M; m++)
                y += w[first.w2 + v * M + m] * hidden[m];
            wanted = (wanted - d.mean[v / 8]) / d.deviation[v / 8];
            sum += (y - wanted) * (y - wanted) / 2 / (100.0 * OUTPUTS);
        }
    }
    /* float32 passes */
    assert_true(fabs(losses[0] - sum) < 1e-5 * sum);
    /* and the only step of a training is no lost one: AdamW's first moves each weight by its
     * learning rate, 1 % of 0.01 */
    double moved = 0;
    for (int64_t i = 0; i < M * WIDTH; i++)
        moved += fabs(d.weights[d.w1 + i] - first.weights[first.w1 + i]) / (M * WIDTH);
    assert_true(fabs(moved - 1e-4) < 1e-2 * 1e-4);
    patch_decoder_free(&d);
    patch_decoder_free(&first);
}

static void threads_change_nothing(void **state) {
    const Bank *bank = *state;
    PatchDecoder one, many;
    PatchErrors errors[2];
    learn(&one, NULL, &errors[0], bank, 20, 50, 1);
    learn(&many, NULL, &errors[1], bank, 20, 50, 3);
    assert_int_equal(one.total, many.total);
    assert_memory_equal(one.weights, many.weights, (size_t)one.total * sizeof *one.weights);
    assert_memory_equal(&errors[0], &errors[1], sizeof errors[0]);
    patch_decoder_free(&one);
    patch_decoder_free(&many);
}

/* A clip of one step of 2 x 2 tokens, of which two are hidden and predicted perfectly: the nearest
 * real patches of predictions and targets are the same, as are the drawings. */
static void a_perfect_prediction(void **state) {
    const Bank *bank = *state;
    Bank own = *bank;
    Hash hashes[2] = {hash_bytes("a", 1), hash_bytes("b", 1)};
    PatchShape shape = {2, 4, 4, 2, 2};
    uint8_t pixels[3 * 2 * 4 * 4];
    float target[4 * WIDTH], predicted[2 * WIDTH];
    Latents l = {.grid = {1, 2, 2},
                 .tokens = 4,
                 .width = WIDTH,
                 .settings = 1,
                 .hidden = 2,
                 .visible = 2,
                 .target = target,
                 .predicted = predicted,
                 .token = (int32_t[]){1, 2},
                 .seen_token = (int32_t[]){0, 3},
                 .mask = {{.count = 2, .seen_count = 2}}};
    Device *device = open_device(1);
    Error error = {0};
    PatchDecoder d;
    PatchErrors errors;
    Expected e;
    own.videos = 2;
    own.hashes = hashes;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 5 % 251);
    float16_to_floats(target, bank->latents + 10 * WIDTH, 4 * WIDTH);
    memcpy(predicted, target + WIDTH, sizeof predicted);
    learn(&d, NULL, &errors, bank, 0, 100, 1);
    if (expected_compute(&e, &l, pixels, NULL, &shape, &own, &hashes[1], &d, device, &error))
        fail_msg("%s", error.text);
    assert_memory_equal(e.patches[EXPECTED_NEAREST], bank->pixels + 11 * OUTPUTS, 2 * OUTPUTS);
    assert_memory_equal(e.patches[EXPECTED_NEAREST_REAL], bank->pixels + 11 * OUTPUTS, 2 * OUTPUTS);
    assert_memory_equal(e.patches[EXPECTED_DRAWN], e.patches[EXPECTED_DRAWN_REAL] + OUTPUTS,
                        2 * OUTPUTS);
    assert_true(e.cosine[0] > 0.999f);
    const ExpectedErrors *x = &e.errors[0];
    assert_true(x->of[EXPECTED_NEAREST] > 0 &&
                x->of[EXPECTED_NEAREST] == x->of[EXPECTED_NEAREST_REAL]);
    assert_true(x->of[EXPECTED_DRAWN] == x->of[EXPECTED_DRAWN_REAL]);
    /* painted: the hidden tokens hold their patches, the visible ones the video */
    Canvas *tile;
    assert_int_equal(canvas_new(&tile, 64, 64, COLOR_PAPER, &error), 0);
    uint8_t *large = memory_new(64 * 64, 3);
    memset(large, 77, 64 * 64 * 3);
    expected_tile(tile, &e, EXPECTED_NEAREST, 0, 1, large);
    Color seen = canvas_get(tile, 8, 8), hidden = canvas_get(tile, 56, 8);
    assert_int_equal(seen.r, 77);
    /* the middle of token 1's right upper pixel in frame 1: channel 0 at 4 + 1, bicubic */
    assert_true(abs(hidden.r - bank->pixels[11 * OUTPUTS + 4 + 1]) < 10);
    canvas_free(tile);
    free(large);
    expected_free(&e);
    /* all rows are of the video itself */
    assert_int_equal(
        expected_compute(&e, &l, pixels, NULL, &shape, &own, &hashes[0], NULL, device, &error), -1);
    assert_non_null(strstr(error.text, "this very video"));
    expected_free(&e);
    own.width = WIDTH + 1;
    assert_int_equal(
        expected_compute(&e, &l, pixels, NULL, &shape, &own, NULL, NULL, device, &error), -1);
    expected_free(&e);
    patch_decoder_free(&d);
    device_close(device);
}

static int begin(void **state) {
    Bank *bank = memory_new(1, sizeof *bank);
    plant(bank);
    *state = bank;
    return 0;
}

static int end(void **state) {
    bank_close(*state);
    free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_map_is_learnt), cmocka_unit_test(the_loss_is_its_definition),
        cmocka_unit_test(threads_change_nothing), cmocka_unit_test(a_perfect_prediction)};
    return cmocka_run_group_tests(tests, begin, end);
}
