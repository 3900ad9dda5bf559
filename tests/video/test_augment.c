/* Augmentations: what is drawn, that pictures come out as Pillow 13 makes them, and erasing.
 *
 * The expected hashes and small pictures were computed with Pillow 13.0 (RandAugment's operations,
 * as facebookresearch/jepa calls them) and torchvision 0.29 on PIL pictures (colour jitter).
 */
#include "base/error.h"
#include "video/augment.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH  23
#define HEIGHT 17
#define STRIDE 29
#define GUARD  77 /* between the lines, never touched */
#define DRAWS  6000
#define FRAMES 5
#define SIDE   31

typedef struct Picture {
    uint8_t bytes[3][HEIGHT][STRIDE];
} Picture;

/* A formula's picture; `narrow`: its levels are 90..141. */
static Picture picture_of(bool narrow) {
    Picture picture;
    memset(&picture, GUARD, sizeof picture);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                int level = (x * 7 + y * 13 + c * 29 + x * y) & 255;
                picture.bytes[c][y][x] = (uint8_t)(narrow ? 90 + level / 5 : level);
            }
    return picture;
}

static void change(Picture *picture, const Augment *augment) {
    uint8_t *planes[3] = {picture->bytes[0][0], picture->bytes[1][0], picture->bytes[2][0]};
    uint8_t *scratch = memory_new(3 * HEIGHT * WIDTH, 1); /* exactly as much as is promised */
    augment_frame(planes, STRIDE, HEIGHT, WIDTH, augment, scratch);
    free(scratch);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = WIDTH; x < STRIDE; x++)
                assert_int_equal(picture->bytes[c][y][x], GUARD);
}

/* FNV-1a, 64 bits, of the planes without what lies between the lines. */
static uint64_t hash_of(const Picture *picture) {
    uint64_t hash = 14695981039346656037u;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                hash = (hash ^ picture->bytes[c][y][x]) * 1099511628211u;
    return hash;
}

static Augment one_op(AugmentKind kind, double value) {
    return (Augment){.op_count = 1, .ops = {{.kind = kind, .value = value}}};
}

static void test_operations_equal_pillow(void **state) {
    (void)state;
    const struct {
        AugmentKind kind;
        double value;
        uint64_t hash;
    } cases[] = {
        {AUGMENT_AUTO_CONTRAST, 0, 0xbc006013177e5c1c},
        {AUGMENT_EQUALIZE, 0, 0x3804835ba9e30976},
        {AUGMENT_INVERT, 0, 0xc7fdd62d4ece1897},
        {AUGMENT_ROTATE, 21.3, 0xdd474173bd98ecf2},
        {AUGMENT_ROTATE, -30, 0x52c265069f8db5d0},
        {AUGMENT_POSTERIZE, 1, 0xb4fb65875db7ab8f},
        {AUGMENT_POSTERIZE, 2, 0xef107544957acf},
        {AUGMENT_SOLARIZE, 77, 0xaa3b8a4d4b4f2755},
        {AUGMENT_SOLARIZE_ADD, 77, 0x3e4326f8e78bd737},
        {AUGMENT_COLOR, 0.37, 0xf16e1d3f48b43fca},
        {AUGMENT_COLOR, 1.63, 0xdb1506bbd6b437b},
        {AUGMENT_CONTRAST, 0.37, 0x8f4b8845dd90267f},
        {AUGMENT_CONTRAST, 1.63, 0xc56cf4efaa3f315},
        {AUGMENT_BRIGHTNESS, 1.63, 0x5bf478b607dd8b89},
        {AUGMENT_SHARPNESS, 0.37, 0xbdf3e3e3cc57e686},
        {AUGMENT_SHARPNESS, 1.63, 0x3146e6c21e7572e1},
        {AUGMENT_SHEAR_X, 0.21, 0xd6bd2f2949ad5f69},
        {AUGMENT_SHEAR_X, -0.3, 0xb65ea0a49ca22fee},
        {AUGMENT_SHEAR_Y, 0.21, 0xdde4d2445f46535},
        {AUGMENT_TRANSLATE_X, 0.315, 0x5077534d4a22c809},
        {AUGMENT_TRANSLATE_X, -0.45, 0x65b52d1a055eab1d},
        {AUGMENT_TRANSLATE_Y, 0.315, 0xf8b418740269bd56},
    };
    Picture picture = picture_of(false);
    assert_int_equal(hash_of(&picture), 0x53e1ceab281827f7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Augment augment = one_op(cases[i].kind, cases[i].value);
        picture = picture_of(cases[i].kind <= AUGMENT_INVERT);
        change(&picture, &augment);
        if (hash_of(&picture) != cases[i].hash)
            fail_msg("operation %d, value %g: not Pillow's picture", (int)cases[i].kind,
                     cases[i].value);
    }
    const Augment chain = {.op_count = 4,
                           .ops = {{AUGMENT_ROTATE, -18.5},
                                   {AUGMENT_SHARPNESS, 1.7},
                                   {AUGMENT_EQUALIZE, 0},
                                   {AUGMENT_SHEAR_Y, 0.2}}};
    picture = picture_of(false);
    change(&picture, &chain);
    assert_int_equal(hash_of(&picture), 0x2ee30e73fad2ead7);
}

/* A grey picture of 5 x 3 that shows what is going on. */
static void test_small_pictures_equal_pillow(void **state) {
    (void)state;
    const uint8_t before[15] = {0, 10, 20, 30, 40, 50, 200, 70, 80, 90, 100, 110, 120, 130, 255};
    const struct {
        AugmentOp op;
        uint8_t after[15];
    } cases[] = {
        {{AUGMENT_BRIGHTNESS, 1.5},
         {0, 15, 30, 45, 60, 75, 255, 105, 120, 135, 150, 165, 180, 195, 255}},
        {{AUGMENT_CONTRAST, 0.5}, {43, 48, 53, 58, 63, 68, 143, 78, 83, 88, 93, 98, 103, 108, 171}},
        {{AUGMENT_SHARPNESS, 0}, {0, 10, 20, 30, 40, 50, 114, 81, 89, 90, 100, 110, 120, 130, 255}},
        {{AUGMENT_SHARPNESS, 2}, {0, 10, 20, 30, 40, 50, 255, 59, 71, 90, 100, 110, 120, 130, 255}},
        {{AUGMENT_AUTO_CONTRAST, 0},
         {0, 10, 20, 30, 40, 50, 200, 70, 80, 90, 100, 110, 120, 130, 255}},
        {{AUGMENT_SOLARIZE_ADD, 30},
         {30, 40, 50, 60, 70, 80, 200, 100, 110, 120, 130, 140, 150, 130, 255}},
        {{AUGMENT_SHEAR_X, 0.5},
         {2, 13, 23, 33, 41, 180, 108, 70, 87, 128, 113, 118, 162, 255, 128}},
        {{AUGMENT_TRANSLATE_X, 0.3},
         {15, 25, 36, 128, 128, 152, 57, 86, 128, 128, 115, 110, 193, 128, 128}},
        {{AUGMENT_ROTATE, 30}, {128, 0, 28, 53, 120, 2, 115, 70, 101, 222, 18, 165, 122, 123, 128}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t picture[3][15], scratch[45];
        uint8_t *planes[3] = {picture[0], picture[1], picture[2]};
        Augment augment = {.op_count = 1, .ops = {cases[i].op}};
        for (int c = 0; c < 3; c++)
            memcpy(picture[c], before, sizeof before);
        augment_frame(planes, 5, 3, 5, &augment, scratch);
        for (int c = 0; c < 3; c++)
            assert_memory_equal(picture[c], cases[i].after, sizeof before);
    }
}

static void test_jitter_equals_torchvision(void **state) {
    (void)state;
    const struct {
        int order[4];
        double factors[4];
        uint64_t hash;
    } cases[] = {
        {{0, 1, 2, 3}, {1, 1, 1, 0}, 0xccac1670b658523e}, /* PIL's HSV and back */
        {{3, 2, 1, 0}, {1.3, 0.7, 1.2, 0.1}, 0x9b53fc44097d05f2},
        {{1, 3, 0, 2}, {0.6, 1.4, 0.5, -0.2}, 0xd4182172b6c1a800},
        {{2, 0, 3, 1}, {0.2, 1.8, 1.8, 0.5}, 0x91165d7f07ed54cd},
        {{0, 1, 2, 3}, {1.1, 0.9, 0.8, -0.5}, 0x991ae0d3c68ca41b},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Augment augment = {.jitters = true};
        memcpy(augment.jitter_order, cases[i].order, sizeof augment.jitter_order);
        memcpy(augment.jitter, cases[i].factors, sizeof augment.jitter);
        Picture picture = picture_of(false);
        change(&picture, &augment);
        if (hash_of(&picture) != cases[i].hash)
            fail_msg("jitter %zu: not torchvision's picture", i);
    }
    /* four pixels turned by a tenth: warm, green, dark, grey */
    uint8_t red[4] = {200, 10, 5, 90}, green[4] = {100, 250, 6, 90}, blue[4] = {50, 30, 7, 90};
    const uint8_t red_after[4] = {200, 11, 5, 90}, green_after[4] = {188, 250, 5, 90},
                  blue_after[4] = {50, 168, 7, 90};
    uint8_t *planes[3] = {red, green, blue}, scratch[12];
    Augment hue = {.jitters = true, .jitter_order = {0, 1, 2, 3}, .jitter = {1, 1, 1, 0.1}};
    augment_frame(planes, 4, 1, 4, &hue, scratch);
    assert_memory_equal(red, red_after, 4);
    assert_memory_equal(green, green_after, 4);
    assert_memory_equal(blue, blue_after, 4);
}

static void test_identity_changes_nothing(void **state) {
    (void)state;
    const AugmentOp same[] = {
        {AUGMENT_ROTATE, 0},       {AUGMENT_POSTERIZE, 8},   {AUGMENT_SOLARIZE, 256},
        {AUGMENT_SOLARIZE_ADD, 0}, {AUGMENT_COLOR, 1},       {AUGMENT_CONTRAST, 1},
        {AUGMENT_BRIGHTNESS, 1},   {AUGMENT_SHARPNESS, 1},   {AUGMENT_SHEAR_X, 0},
        {AUGMENT_SHEAR_Y, 0},      {AUGMENT_TRANSLATE_X, 0}, {AUGMENT_TRANSLATE_Y, 0},
    };
    const Picture before = picture_of(false);
    Picture picture = before;
    Augment nothing = {0};
    assert_false(augment_changes_frames(&nothing));
    change(&picture, &nothing);
    assert_memory_equal(&picture, &before, sizeof before);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        Augment augment = {.op_count = 1, .ops = {same[i]}};
        assert_true(augment_changes_frames(&augment));
        change(&picture, &augment);
        assert_memory_equal(&picture, &before, sizeof before);
    }
    Augment jitter = {.jitters = true};
    assert_true(augment_changes_frames(&jitter));
}

/* Pictures of one pixel, one line, one column and one level go through every operation. */
static void test_tiny_pictures(void **state) {
    (void)state;
    const int sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {2, 2}, {3, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < AUGMENT_KINDS; kind++) {
            size_t size = (size_t)sizes[i][0] * sizes[i][1];
            uint8_t *bytes = memory_new(3 * size, 1), *scratch = memory_new(3 * size, 1);
            uint8_t *planes[3] = {bytes, bytes + size, bytes + 2 * size};
            Augment augment = one_op((AugmentKind)kind, 0.4);
            memset(bytes, 128, 3 * size);
            augment_frame(planes, sizes[i][1], sizes[i][0], sizes[i][1], &augment, scratch);
            bool inverts = kind == AUGMENT_INVERT || kind == AUGMENT_SOLARIZE;
            int after = inverts ? 127 : kind == AUGMENT_BRIGHTNESS ? 51 : 128; /* 128: filled in */
            after = kind == AUGMENT_POSTERIZE ? 0 : after;
            for (size_t k = 0; k < 3 * size; k++)
                assert_int_equal(bytes[k], after);
            free(bytes);
            free(scratch);
        }
}

static Random stream(uint64_t slot) {
    return random_at(11, RANDOM_TEST, 3, slot);
}

static void test_draw_is_pure(void **state) {
    (void)state;
    const AugmentSpec all = {.rand_augment = true, .color_jitter = 0.5, .reprob = 0.5}, none = {0};
    const Augment zero = {0};
    Augment first, again;
    int differ = 0;
    for (uint64_t slot = 0; slot < 50; slot++) {
        Random one = stream(slot), two = stream(slot), three = stream(slot + 1);
        memset(&first, 1, sizeof first);
        augment_draw(&first, &all, &one);
        augment_draw(&again, &all, &two);
        assert_memory_equal(&first, &again, sizeof first);
        augment_draw(&again, &all, &three);
        differ += memcmp(&first, &again, sizeof first) != 0;
        augment_draw(&first, &none, &one);
        assert_memory_equal(&first, &zero, sizeof zero);
    }
    assert_int_equal(differ, 50);
}

static void assert_in(double value, double low, double high) {
    if (!(value >= low && value <= high))
        fail_msg("%g is not in %g..%g", value, low, high);
}

/* The magnitude, as a share of 10, that gives this argument; -1 where that cannot be told: for
 * those that round, the range of whole numbers is checked instead. */
static double level_of(const AugmentOp *op) {
    static const double full[AUGMENT_KINDS] = {
        [AUGMENT_ROTATE] = 30,      [AUGMENT_COLOR] = 0.9,       [AUGMENT_CONTRAST] = 0.9,
        [AUGMENT_BRIGHTNESS] = 0.9, [AUGMENT_SHARPNESS] = 0.9,   [AUGMENT_SHEAR_X] = 0.3,
        [AUGMENT_SHEAR_Y] = 0.3,    [AUGMENT_TRANSLATE_X] = .45, [AUGMENT_TRANSLATE_Y] = .45,
    };
    bool enhances = op->kind >= AUGMENT_COLOR && op->kind <= AUGMENT_SHARPNESS;
    if (full[op->kind] > 0)
        return fabs(op->value - (enhances ? 1 : 0)) / full[op->kind];
    assert_true(op->value == floor(op->value));
    if (op->kind == AUGMENT_POSTERIZE) /* 4 - int(4 level): 2 below magnitude 7.5, 1 above */
        assert_in(op->value, 1, 3);
    else if (op->kind == AUGMENT_SOLARIZE)
        assert_in(op->value, 256 - 256 * 0.99, 256 - 256 * 0.45);
    else if (op->kind == AUGMENT_SOLARIZE_ADD)
        assert_in(op->value, 110 * 0.45, 110 * 0.99);
    else
        assert_true(op->value == 0);
    return -1;
}

static void test_rand_augment_draws(void **state) {
    (void)state;
    const AugmentSpec spec = {.rand_augment = true};
    int counts[5] = {0}, kinds[AUGMENT_KINDS] = {0}, ops = 0, levels = 0, negative = 0;
    int twice = 0, posterized[5] = {0};
    double sum = 0, squares = 0;
    for (uint64_t slot = 0; slot < DRAWS; slot++) {
        Augment augment;
        Random random = stream(slot);
        augment_draw(&augment, &spec, &random);
        assert_false(augment.jitters || augment.erases);
        assert_in(augment.op_count, 0, 4);
        counts[augment.op_count]++;
        for (int i = 0; i < augment.op_count; i++, ops++) {
            const AugmentOp *op = &augment.ops[i];
            assert_in(op->kind, 0, AUGMENT_KINDS - 1);
            kinds[op->kind]++;
            twice += i > 0 && op->kind == op[-1].kind;
            double level = level_of(op);
            if (op->kind == AUGMENT_POSTERIZE)
                posterized[(int)op->value]++;
            if (level < 0)
                continue;
            levels++;
            sum += level;
            squares += level * level;
            negative += op->kind >= AUGMENT_COLOR && op->kind <= AUGMENT_SHARPNESS ? op->value < 1
                                                                                   : op->value < 0;
        }
    }
    /* Binomial(4, 1/2) operations; each of 15 alike; magnitude normal(7, 0.5); half negated. */
    const double binomial[5] = {1 / 16., 4 / 16., 6 / 16., 4 / 16., 1 / 16.};
    for (int i = 0; i < 5; i++)
        assert_in((double)counts[i] / DRAWS, binomial[i] - 0.025, binomial[i] + 0.025);
    for (int i = 0; i < AUGMENT_KINDS; i++)
        assert_in((double)kinds[i] / ops, 1 / 15. - 0.012, 1 / 15. + 0.012);
    double mean = sum / levels;
    assert_in(mean, 0.698, 0.702);
    assert_in(sqrt(squares / levels - mean * mean), 0.048, 0.052);
    assert_in((double)negative / levels, 0.475, 0.525);
    assert_true(twice > 0); /* with replacement */
    double posterize = posterized[1] + posterized[2] + posterized[3];
    assert_in(posterized[1] / posterize, 0.11, 0.21); /* P(magnitude >= 7.5) = 0.159 */
    assert_in(posterized[2] / posterize, 0.79, 0.89);
}

static void test_jitter_draws(void **state) {
    (void)state;
    const double strengths[2] = {0.5, 2}; /* brightness and so on in 0.6..1.4, and in 0..2.6 */
    for (int which = 0; which < 2; which++) {
        const AugmentSpec spec = {.color_jitter = strengths[which]};
        double low = fmax(0, 1 - 0.8 * strengths[which]), high = 1 + 0.8 * strengths[which];
        double hue = 0.2 * strengths[which], sums[4] = {0};
        int places[4][4] = {{0}};
        for (uint64_t slot = 0; slot < DRAWS; slot++) {
            Augment augment;
            Random random = stream(slot);
            int seen = 0;
            augment_draw(&augment, &spec, &random);
            assert_true(augment.jitters && augment.op_count == 0 && !augment.erases);
            for (int i = 0; i < 4; i++) {
                seen |= 1 << augment.jitter_order[i];
                places[i][augment.jitter_order[i]]++;
                assert_in(augment.jitter[i], i < 3 ? low : -hue, i < 3 ? high : hue);
                sums[i] += augment.jitter[i];
            }
            assert_int_equal(seen, 15); /* each of the four once */
        }
        for (int i = 0; i < 4; i++) {
            double half = i < 3 ? (high - low) / 2 : hue, middle = i < 3 ? (high + low) / 2 : 0;
            assert_in(sums[i] / DRAWS, middle - 0.04 * half, middle + 0.04 * half);
            for (int k = 0; k < 4; k++)
                assert_in((double)places[i][k] / DRAWS, 0.225, 0.275);
        }
    }
}

static void test_erasing_draws(void **state) {
    (void)state;
    const AugmentSpec spec = {.reprob = 0.25}, always = {.reprob = 1};
    int erased = 0;
    double tops = 0, ratios = 0;
    for (uint64_t slot = 0; slot < DRAWS; slot++) {
        Augment augment;
        Random random = stream(slot);
        augment_draw(&augment, &spec, &random);
        erased += augment.erases;
        random = stream(slot);
        augment_draw(&augment, &always, &random);
        assert_true(augment.erases && !augment_changes_frames(&augment));
        double height = augment.erase_height, width = augment.erase_width;
        assert_in(height * width, 0.02 - 1e-12, 1 / 3. + 1e-12);
        assert_in(height / width, 0.3 - 1e-12, 1 / 0.3 + 1e-12);
        assert_in(height, 0, 0.999999999);
        assert_in(width, 0, 0.999999999);
        assert_in(augment.erase_top, 0, 1);
        assert_in(augment.erase_left, 0, 1);
        tops += augment.erase_top;
        ratios += log(height / width);
    }
    assert_in((double)erased / DRAWS, 0.225, 0.275);
    assert_in(tops / DRAWS, 0.48, 0.52);
    assert_in(ratios / DRAWS, -0.04, 0.04);
}

/* The same lines and columns of every frame and colour, with noise of their own; else nothing. */
static void test_erasing_fills_one_rectangle(void **state) {
    (void)state;
    const Augment augment = {.erases = true,
                             .erase_height = 0.35, /* 10.85: 11 lines */
                             .erase_width = 0.5,   /* 15.5: 16 columns */
                             .erase_top = 0.999,   /* at the bottom: from 20 */
                             .erase_left = 0.4,    /* 16 places: from 6 */
                             .erase_seed = 0x123456789abcdef0};
    static float clip[3][FRAMES][SIDE][SIDE], again[3][FRAMES][SIDE][SIDE];
    static uint8_t bytes[3][FRAMES][SIDE][SIDE];
    const double mean[3] = {.485, .456, .406}, deviation[3] = {.229, .224, .225};
    const float untouched = 1000;
    double sum = 0, squares = 0, apart = 0;
    int count = 3 * FRAMES * SIDE * SIDE, inside = 0;
    for (int i = 0; i < count; i++)
        (&clip[0][0][0][0])[i] = (&again[0][0][0][0])[i] = untouched;
    memset(bytes, 3, sizeof bytes);
    augment_erase_float(clip[0][0][0], FRAMES, SIDE, SIDE, &augment);
    augment_erase_float(again[0][0][0], FRAMES, SIDE, SIDE, &augment);
    assert_memory_equal(clip, again, sizeof clip);
    augment_erase(bytes[0][0][0], FRAMES, SIDE, SIDE, &augment);
    for (int c = 0; c < 3; c++)
        for (int t = 0; t < FRAMES; t++)
            for (int y = 0; y < SIDE; y++)
                for (int x = 0; x < SIDE; x++) {
                    double value = clip[c][t][y][x];
                    bool erased = y >= 20 && y < 31 && x >= 6 && x < 22;
                    assert_int_equal(value != (double)untouched, erased);
                    if (!erased) {
                        assert_int_equal(bytes[c][t][y][x], 3);
                        continue;
                    }
                    double level = 255 * (mean[c] + deviation[c] * value);
                    assert_true(fabs(fmin(255, fmax(0, level)) - bytes[c][t][y][x]) <= 0.5001);
                    sum += value;
                    squares += value * value;
                    apart += value * clip[(c + 1) % 3][(t + 1) % FRAMES][y][x];
                    inside++;
                }
    assert_in(sum / inside, -0.06, 0.06);
    assert_in(squares / inside, 0.93, 1.07);
    assert_in(apart / inside, -0.06, 0.06); /* another frame, another colour: other noise */
    Augment other = augment, nothing = {0};
    other.erase_seed++;
    augment_erase_float(clip[0][0][0], FRAMES, SIDE, SIDE, &other);
    assert_memory_not_equal(clip, again, sizeof clip);
    memcpy(clip, again, sizeof clip);
    augment_erase_float(clip[0][0][0], FRAMES, SIDE, SIDE, &nothing);
    assert_memory_equal(clip, again, sizeof clip);
}

/* A pixel's noise depends on its place alone, not on the rectangle or the number of frames. */
static void test_noise_belongs_to_the_place(void **state) {
    (void)state;
    static float small[3][1][SIDE][SIDE], large[3][FRAMES][SIDE][SIDE];
    Augment augment = {.erases = true,
                       .erase_height = 0.2,
                       .erase_width = 0.2,
                       .erase_top = 0.5,
                       .erase_left = 0.5,
                       .erase_seed = 9};
    augment_erase_float(small[0][0][0], 1, SIDE, SIDE, &augment);
    augment.erase_height = augment.erase_width = 0.9;
    augment_erase_float(large[0][0][0], FRAMES, SIDE, SIDE, &augment);
    int compared = 0;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                if (small[c][0][y][x] != 0) {
                    assert_true(small[c][0][y][x] == large[c][0][y][x]);
                    compared++;
                }
    assert_int_equal(compared, 3 * 6 * 6);
}

/* Whatever is drawn stays inside the clip, of any side (the clip is exactly as large). */
static void test_erasing_stays_inside(void **state) {
    (void)state;
    const AugmentSpec spec = {.reprob = 1};
    for (uint64_t slot = 0; slot < 400; slot++) {
        int side = 1 + (int)(slot % 20), frames = 2;
        size_t size = 3u * (size_t)frames * side * side;
        uint8_t *clip = memory_new(size, 1);
        Augment augment;
        Random random = stream(slot);
        augment_draw(&augment, &spec, &random);
        augment_erase(clip, frames, side, side, &augment);
        if (side == 1)
            assert_int_equal(clip[0], 0); /* never the whole picture */
        free(clip);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_equal_pillow),
        cmocka_unit_test(test_small_pictures_equal_pillow),
        cmocka_unit_test(test_jitter_equals_torchvision),
        cmocka_unit_test(test_identity_changes_nothing),
        cmocka_unit_test(test_tiny_pictures),
        cmocka_unit_test(test_draw_is_pure),
        cmocka_unit_test(test_rand_augment_draws),
        cmocka_unit_test(test_jitter_draws),
        cmocka_unit_test(test_erasing_draws),
        cmocka_unit_test(test_erasing_fills_one_rectangle),
        cmocka_unit_test(test_noise_belongs_to_the_place),
        cmocka_unit_test(test_erasing_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
