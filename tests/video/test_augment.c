/* Augmentations: pictures as PIL gives them, draws within their ranges, erasing where it should. */
#include "base/error.h"
#include "video/augment.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEIGHT 17
#define WIDTH  23
#define STRIDE 32

typedef struct Picture {
    uint8_t bytes[3][HEIGHT * STRIDE];
    uint8_t *planes[3];
} Picture;

/* pixel (x, y, c) = 7 x + 13 y + 29 c + x y, modulo 256; 0xee behind each line */
static void make_picture(Picture *p) {
    memset(p->bytes, 0xee, sizeof p->bytes);
    for (int c = 0; c < 3; c++) {
        p->planes[c] = p->bytes[c];
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                p->bytes[c][y * STRIDE + x] = (uint8_t)(x * 7 + y * 13 + c * 29 + x * y);
    }
}

/* s = 31 s + value over lines, columns, channels, modulo 2^32 */
static uint32_t sum_of(const Picture *p) {
    uint32_t sum = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++)
                sum = sum * 31 + p->bytes[c][y * STRIDE + x];
    return sum;
}

/* Sums computed with Pillow 13 and torchvision 0.29 (hue) on the same picture. */
static void test_pictures(void **state) {
    (void)state;
    const struct {
        AugmentOp op;
        uint32_t sum;
    } cases[] = {
        {{AUGMENT_AUTO_CONTRAST, 0}, 0xd4ba2d6cu},   {{AUGMENT_EQUALIZE, 0}, 0x81546e2du},
        {{AUGMENT_INVERT, 0}, 0x5b2b2bd5u},          {{AUGMENT_ROTATE, -21.5}, 0xebaee69cu},
        {{AUGMENT_POSTERIZE, 2}, 0xb70b3840u},       {{AUGMENT_SOLARIZE, 77}, 0xbd8f2572u},
        {{AUGMENT_SOLARIZE_ADD, 60}, 0x89443e7au},   {{AUGMENT_COLOR, 0.35}, 0x84913d75u},
        {{AUGMENT_CONTRAST, 1.62}, 0xd0ff1ac8u},     {{AUGMENT_BRIGHTNESS, 1.4}, 0x838825d2u},
        {{AUGMENT_SHARPNESS, 1.7}, 0x968ad253u},     {{AUGMENT_SHEAR_X, 0.21}, 0xebeca3c8u},
        {{AUGMENT_SHEAR_Y, -0.18}, 0x889881b3u},     {{AUGMENT_TRANSLATE_X, 0.3}, 0x50106fefu},
        {{AUGMENT_TRANSLATE_Y, -0.27}, 0x32e8b4ecu}, {{AUGMENT_HUE, 0.19}, 0x721065d4u}};
    uint8_t scratch[3 * HEIGHT * WIDTH];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Picture p;
        make_picture(&p);
        augment_apply(p.planes, STRIDE, HEIGHT, WIDTH, cases[i].op, scratch);
        if (sum_of(&p) != cases[i].sum)
            fail_msg("operation %d: %08x, by PIL %08x", (int)cases[i].op.kind, sum_of(&p),
                     cases[i].sum);
        for (int c = 0; c < 3; c++) /* nothing behind the lines is touched */
            for (int y = 0; y < HEIGHT; y++)
                for (int x = WIDTH; x < STRIDE; x++)
                    assert_int_equal(p.bytes[c][y * STRIDE + x], 0xee);
    }
}

static void test_neutral(void **state) {
    (void)state;
    const AugmentOp ops[] = {
        {AUGMENT_ROTATE, 0},       {AUGMENT_POSTERIZE, 8},   {AUGMENT_SOLARIZE, 256},
        {AUGMENT_SOLARIZE_ADD, 0}, {AUGMENT_COLOR, 1},       {AUGMENT_CONTRAST, 1},
        {AUGMENT_BRIGHTNESS, 1},   {AUGMENT_SHARPNESS, 1},   {AUGMENT_SHEAR_X, 0},
        {AUGMENT_SHEAR_Y, 0},      {AUGMENT_TRANSLATE_X, 0}, {AUGMENT_TRANSLATE_Y, 0}};
    uint8_t scratch[3 * HEIGHT * WIDTH];
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        Picture p, untouched;
        make_picture(&p);
        make_picture(&untouched);
        augment_apply(p.planes, STRIDE, HEIGHT, WIDTH, ops[i], scratch);
        assert_memory_equal(p.bytes, untouched.bytes, sizeof p.bytes);
    }
}

static void test_draws(void **state) {
    (void)state;
    AugmentSpec spec = {.rand_augment = true, .color_jitter = 0.5, .reprob = 0.25};
    const double reach[AUGMENT_KINDS][2] = {
        [AUGMENT_ROTATE] = {-30, 30},         [AUGMENT_POSTERIZE] = {0, 4},
        [AUGMENT_SOLARIZE] = {0, 256},        [AUGMENT_SOLARIZE_ADD] = {0, 110},
        [AUGMENT_COLOR] = {0.1, 1.9},         [AUGMENT_CONTRAST] = {0.1, 1.9},
        [AUGMENT_BRIGHTNESS] = {0.1, 1.9},    [AUGMENT_SHARPNESS] = {0.1, 1.9},
        [AUGMENT_SHEAR_X] = {-0.3, 0.3},      [AUGMENT_SHEAR_Y] = {-0.3, 0.3},
        [AUGMENT_TRANSLATE_X] = {-.45, 0.45}, [AUGMENT_TRANSLATE_Y] = {-.45, 0.45}};
    int kinds[AUGMENT_KINDS] = {0}, done = 0, erased = 0, first[4] = {0};
    double turned = 0, turns = 0;
    for (uint64_t step = 0; step < 4000; step++) {
        Augment a, again;
        Random random = random_at(3, RANDOM_TEST, step, 0), same = random;
        augment_draw(&a, &spec, &random);
        augment_draw(&again, &spec, &same);
        assert_memory_equal(&a, &again, sizeof a);
        done += a.op_count;
        for (int i = 0; i < a.op_count; i++) {
            AugmentOp op = a.ops[i];
            kinds[op.kind]++;
            assert_true(op.value >= reach[op.kind][0] && op.value <= reach[op.kind][1]);
            if (op.kind == AUGMENT_ROTATE)
                turned += fabs(op.value), turns++;
        }
        assert_true(a.jitters);
        first[a.jitter_order[0]]++;
        for (int i = 0; i < 4; i++)
            assert_true(a.jitter[i] >= (i == 3 ? -0.1 : 0.6) &&
                        a.jitter[i] <= (i == 3 ? 0.1 : 1.4));
        erased += a.erases;
        if (a.erases) {
            double area = a.erase_height * a.erase_width, ratio = a.erase_height / a.erase_width;
            assert_true(area > 0.0199 && area < 0.3334 && ratio > 0.299 && ratio < 3.34);
        }
    }
    /* within five standard deviations of 16,000 / 2, 8,000 / 15, 4,000 / 4 */
    assert_in_range(done, 8000 - 320, 8000 + 320);
    for (int k = 0; k < AUGMENT_HUE; k++)
        assert_in_range(kinds[k], 533 - 113, 533 + 113);
    assert_int_equal(kinds[AUGMENT_HUE], 0);
    for (int i = 0; i < 4; i++)
        assert_in_range(first[i], 1000 - 140, 1000 + 140);
    assert_in_range(erased, 1000 - 140, 1000 + 140);
    assert_true(fabs(turned / turns - 21) < 0.5); /* magnitude 7 of 10 of 30 degrees */
    Augment nothing;
    Random random = random_at(3, RANDOM_TEST, 1, 1);
    augment_draw(&nothing, &(AugmentSpec){0}, &random);
    assert_false(nothing.erases || augment_changes_frames(&nothing));
}

static void test_erase(void **state) {
    (void)state;
    enum { SIDE = 40, FRAMES = 3 };
    Augment a = {.erases = true,
                 .erase_height = 0.5,
                 .erase_width = 0.25,
                 .erase_top = 0.999,
                 .erase_left = 0,
                 .erase_seed = 9};
    uint8_t *clip = memory_new(3 * FRAMES, SIDE * SIDE);
    float *values = memory_new(3 * FRAMES * SIDE * SIDE, sizeof *values);
    memset(clip, 7, 3 * FRAMES * SIDE * SIDE);
    for (int i = 0; i < 3 * FRAMES * SIDE * SIDE; i++)
        values[i] = 77;
    augment_erase(clip, FRAMES, SIDE, &a);
    augment_erase_float(values, FRAMES, SIDE, &a);
    double sum = 0, squares = 0, count = 0;
    int same = 0, close = 0;
    for (int c = 0; c < 3; c++)
        for (int f = 0; f < FRAMES; f++)
            for (int y = 0; y < SIDE; y++)
                for (int x = 0; x < SIDE; x++) {
                    int at = (c * FRAMES + f) * SIDE * SIDE + y * SIDE + x;
                    bool inside = y >= 20 && x < 10;
                    assert_int_equal(values[at] != 77, inside);
                    if (!inside) {
                        assert_int_equal(clip[at], 7);
                        continue;
                    }
                    sum += values[at], squares += values[at] * values[at], count++;
                    same += f && values[at] == values[at - SIDE * SIDE];
                    static const double mean[3] = {0.485, 0.456, 0.406},
                                        std[3] = {.229, .224, .225};
                    double pixel = 255 * (mean[c] + std[c] * values[at]);
                    close += fabs(fmin(fmax(pixel, 0), 255) - clip[at]) < 0.51;
                }
    assert_true(fabs(sum / count) < 0.12 && fabs(squares / count - 1) < 0.17);
    assert_int_equal(same, 0);           /* other noise in every frame */
    assert_int_equal(close, (int)count); /* both paths erase with the same noise */
    free(clip);
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_neutral),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_erase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
