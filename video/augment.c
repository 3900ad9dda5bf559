/* Drawing augmentations, and erasing. See video/augment.h; the operations on pictures are in
 * video/augment_pixels.c.
 *
 * RandAugment (Cubuk et al. 2020) as "rand-m7-n4-mstd0.5-inc1": four operations drawn with
 * replacement, each done with probability 1/2 at a magnitude of normal(7, 0.5), cut to 0..10.
 * Random erasing (Zhong et al. 2017): a rectangle of 2 % to 1/3 of the picture, height over width
 * log-uniform in 0.3..1/0.3, the same for all frames, filled with noise of its own in each. */
#include "video/augment.h"
#include "base/error.h"
#include "video/resize.h"
#include <math.h>
#include <string.h>

#define RAND_OPS       4
#define RAND_MAGNITUDE 7.0
#define RAND_DEVIATION 0.5
#define MAGNITUDE_MAX  10.0

#define ERASE_TRIES 100
#define ERASE_AREA                                                                                 \
    { 0.02, 1.0 / 3 }
#define ERASE_RATIO 0.3

static double negated(double value, Random *random) {
    return random_unit(random) > 0.5 ? -value : value;
}

/* The argument of an operation at a magnitude of 0..10. */
static double argument_of(AugmentKind kind, double magnitude, Random *random) {
    double level = magnitude / MAGNITUDE_MAX;
    switch (kind) {
    case AUGMENT_ROTATE:
        return negated(30 * level, random);
    case AUGMENT_POSTERIZE:
        return 4 - floor(4 * level);
    case AUGMENT_SOLARIZE:
        return 256 - floor(256 * level);
    case AUGMENT_SOLARIZE_ADD:
        return floor(110 * level);
    case AUGMENT_COLOR:
    case AUGMENT_CONTRAST:
    case AUGMENT_BRIGHTNESS:
    case AUGMENT_SHARPNESS:
        return 1 + negated(0.9 * level, random);
    case AUGMENT_SHEAR_X:
    case AUGMENT_SHEAR_Y:
        return negated(0.3 * level, random);
    case AUGMENT_TRANSLATE_X:
    case AUGMENT_TRANSLATE_Y:
        return negated(0.45 * level, random);
    default:
        return 0;
    }
}

static void draw_operations(Augment *a, Random *random) {
    for (int i = 0; i < RAND_OPS; i++) {
        AugmentKind kind = (AugmentKind)random_below(random, AUGMENT_HUE);
        if (random_unit(random) > 0.5)
            continue;
        double magnitude = RAND_MAGNITUDE + RAND_DEVIATION * random_normal(random);
        magnitude = fmin(fmax(magnitude, 0), MAGNITUDE_MAX);
        a->ops[a->op_count++] = (AugmentOp){kind, argument_of(kind, magnitude, random)};
    }
}

static void draw_jitter(Augment *a, double strength, Random *random) {
    a->jitters = true;
    for (int i = 0; i < 4; i++) {
        double reach = (i == 3 ? 0.2 : 0.8) * strength;
        a->jitter_order[i] = i;
        a->jitter[i] = i == 3 ? random_between(random, -reach, reach)
                              : random_between(random, fmax(0, 1 - reach), 1 + reach);
    }
    for (int i = 3; i > 0; i--) { /* Fisher and Yates */
        int k = (int)random_below(random, (uint64_t)i + 1), kept = a->jitter_order[i];
        a->jitter_order[i] = a->jitter_order[k];
        a->jitter_order[k] = kept;
    }
}

/* In shares of a square's side; the published code rounds to pixels first, which is done when the
 * rectangle meets the clip. */
static void draw_erasing(Augment *a, Random *random) {
    const double area[2] = ERASE_AREA;
    for (int i = 0; i < ERASE_TRIES && !a->erases; i++) {
        double target = random_between(random, area[0], area[1]);
        double ratio = exp(random_between(random, log(ERASE_RATIO), -log(ERASE_RATIO)));
        double height = sqrt(target * ratio), width = sqrt(target / ratio);
        if (height >= 1 || width >= 1)
            continue;
        a->erases = true;
        a->erase_height = height;
        a->erase_width = width;
        a->erase_top = random_unit(random); /* share of the places that there are */
        a->erase_left = random_unit(random);
        a->erase_seed = (uint64_t)random_u32(random) << 32 | random_u32(random);
    }
}

void augment_draw(Augment *augment, const AugmentSpec *spec, Random *random) {
    memset(augment, 0, sizeof *augment);
    if (spec->rand_augment)
        draw_operations(augment, random);
    if (spec->color_jitter > 0)
        draw_jitter(augment, spec->color_jitter, random);
    if (spec->reprob > 0 && random_unit(random) < spec->reprob)
        draw_erasing(augment, random);
}

bool augment_changes_frames(const Augment *augment) {
    return augment->jitters || augment->op_count > 0;
}

void augment_frame(uint8_t *const planes[3], int stride, int height, int width,
                   const Augment *augment, uint8_t *scratch) {
    static const AugmentKind jitters[4] = {AUGMENT_BRIGHTNESS, AUGMENT_CONTRAST, AUGMENT_COLOR,
                                           AUGMENT_HUE};
    for (int i = 0; i < 4 && augment->jitters; i++) {
        int k = augment->jitter_order[i];
        augment_apply(planes, stride, height, width, (AugmentOp){jitters[k], augment->jitter[k]},
                      scratch);
    }
    for (int i = 0; i < augment->op_count; i++)
        augment_apply(planes, stride, height, width, augment->ops[i], scratch);
}

/* ---- erasing ---- */

typedef struct Rectangle {
    int top, left, height, width;
} Rectangle;

static Rectangle rectangle_of(const Augment *a, int side) {
    int height = (int)lround(a->erase_height * side), width = (int)lround(a->erase_width * side);
    Rectangle r = {.height = height < side ? height : side, .width = width < side ? width : side};
    r.top = (int)(a->erase_top * (side - r.height + 1));
    r.left = (int)(a->erase_left * (side - r.width + 1));
    return r;
}

/* Noise is drawn in the order of frames, channels, lines, so that any part can be recomputed by
 * frame. */
static Random noise_of(const Augment *a, int frame) {
    return random_at(a->erase_seed, RANDOM_AUGMENT, (uint64_t)frame, 0);
}

void augment_erase(uint8_t *clip, int frames, int side, const Augment *augment) {
    if (!augment->erases)
        return;
    Rectangle r = rectangle_of(augment, side);
    size_t plane = (size_t)side * (size_t)side;
    for (int f = 0; f < frames; f++) {
        Random noise = noise_of(augment, f);
        for (int c = 0; c < 3; c++)
            for (int y = r.top; y < r.top + r.height; y++)
                for (int x = r.left; x < r.left + r.width; x++) {
                    double value = 255 *
                                   (imagenet_mean[c] + imagenet_std[c] * random_normal(&noise));
                    clip[((size_t)c * (size_t)frames + (size_t)f) * plane +
                         (size_t)y * (size_t)side + (size_t)x] =
                        (uint8_t)lround(fmin(fmax(value, 0), 255));
                }
    }
}

void augment_erase_float(float *clip, int frames, int side, const Augment *augment) {
    if (!augment->erases)
        return;
    Rectangle r = rectangle_of(augment, side);
    size_t plane = (size_t)side * (size_t)side;
    for (int f = 0; f < frames; f++) {
        Random noise = noise_of(augment, f);
        for (int c = 0; c < 3; c++)
            for (int y = r.top; y < r.top + r.height; y++)
                for (int x = r.left; x < r.left + r.width; x++)
                    clip[((size_t)c * (size_t)frames + (size_t)f) * plane +
                         (size_t)y * (size_t)side + (size_t)x] = (float)random_normal(&noise);
    }
}
