/* What is drawn for a clip, applied to frames, and erased. See video/augment.h.
 *
 * RandAugment "rand-m7-n4-mstd0.5-inc1": four operations chosen with replacement, each applied with
 * probability 1/2 at magnitude normal(7, 0.5) cut to 0..10. Erasing "pixel", one rectangle: area
 * uniform in 0.02..1/3 of the picture, height / width log-uniform in 0.3..1/0.3. Source:
 * facebookresearch/jepa src/datasets/utils/video/{randaugment,randerase}.py.
 */
#include "video/augment.h"
#include "base/error.h"
#include "video/augment_pixels.h"
#include <math.h>
#include <string.h>

#define LAYERS        4
#define MAGNITUDE     7.0
#define MAGNITUDE_STD 0.5
#define MAGNITUDE_MAX 10.0
#define ERASE_TRIES   100
#define ERASE_AREA                                                                                 \
    { 0.02, 1.0 / 3 }
#define ERASE_ASPECT 0.3

/* The argument of an operation at a magnitude, as the published level functions have it. `sign` is
 * 1 or -1, for the operations that go both ways. */
static double op_value(AugmentKind kind, double magnitude, double sign) {
    double level = magnitude / MAGNITUDE_MAX;
    switch (kind) {
    case AUGMENT_ROTATE:
        return sign * (level * 30);
    case AUGMENT_POSTERIZE:
        return 4 - trunc(level * 4);
    case AUGMENT_SOLARIZE:
        return 256 - trunc(level * 256);
    case AUGMENT_SOLARIZE_ADD:
        return trunc(level * 110);
    case AUGMENT_COLOR:
    case AUGMENT_CONTRAST:
    case AUGMENT_BRIGHTNESS:
    case AUGMENT_SHARPNESS:
        return 1 + sign * (level * 0.9);
    case AUGMENT_SHEAR_X:
    case AUGMENT_SHEAR_Y:
        return sign * (level * 0.3);
    case AUGMENT_TRANSLATE_X:
    case AUGMENT_TRANSLATE_Y:
        return sign * (level * 0.45);
    default:
        return 0;
    }
}

static void draw_ops(Augment *augment, Random *random) {
    for (int i = 0; i < LAYERS; i++) {
        AugmentKind kind = (AugmentKind)random_below(random, AUGMENT_KINDS);
        bool applied = random_unit(random) < 0.5;
        double magnitude = MAGNITUDE + MAGNITUDE_STD * random_normal(random);
        double sign = random_unit(random) < 0.5 ? -1 : 1;
        magnitude = fmin(MAGNITUDE_MAX, fmax(0, magnitude));
        if (applied)
            augment->ops[augment->op_count++] = (AugmentOp){
                .kind = kind, .value = op_value(kind, magnitude, sign)};
    }
}

void augment_jitter_draw(int order[4], double factors[4], const double strengths[4],
                         Random *random) {
    for (int i = 0; i < 4; i++) {
        int place = (int)random_below(random, (uint64_t)i + 1); /* Fisher-Yates, inside out */
        order[i] = order[place];
        order[place] = i;
    }
    for (int i = 0; i < 3; i++)
        factors[i] = random_between(random, fmax(0, 1 - strengths[i]), 1 + strengths[i]);
    factors[3] = random_between(random, -strengths[3], strengths[3]);
}

static void draw_jitter(Augment *augment, double strength, Random *random) {
    const double strengths[4] = {0.8 * strength, 0.8 * strength, 0.8 * strength,
                                 fmin(0.2 * strength, 0.5)};
    augment->jitters = true;
    augment_jitter_draw(augment->jitter_order, augment->jitter, strengths, random);
}

/* A rectangle that is as high or as wide as the picture is drawn again. */
static void draw_erasing(Augment *augment, double probability, Random *random) {
    const double area_range[2] = ERASE_AREA, aspect = log(ERASE_ASPECT);
    if (random_unit(random) >= probability)
        return;
    for (int try = 0; try < ERASE_TRIES; try++) {
        double area = random_between(random, area_range[0], area_range[1]);
        double ratio = exp(random_between(random, aspect, -aspect));
        double height = sqrt(area * ratio), width = sqrt(area / ratio);
        if (height >= 1 || width >= 1)
            continue;
        augment->erases = true;
        augment->erase_height = height;
        augment->erase_width = width;
        augment->erase_top = random_unit(random);
        augment->erase_left = random_unit(random);
        augment->erase_seed = random_u32(random);
        augment->erase_seed = augment->erase_seed << 32 | random_u32(random);
        return;
    }
}

void augment_draw(Augment *augment, const AugmentSpec *spec, Random *random) {
    memset(augment, 0, sizeof *augment);
    if (spec->color_jitter > 0)
        draw_jitter(augment, spec->color_jitter, random);
    if (spec->rand_augment)
        draw_ops(augment, random);
    if (spec->reprob > 0)
        draw_erasing(augment, spec->reprob, random);
}

bool augment_changes_frames(const Augment *augment) {
    return augment->jitters || augment->op_count > 0;
}

void augment_frame(uint8_t *planes[3], int stride, int height, int width, const Augment *augment,
                   uint8_t *scratch) {
    static const AugmentKind jitters[3] = {AUGMENT_BRIGHTNESS, AUGMENT_CONTRAST, AUGMENT_COLOR};
    AugmentPicture picture = {
        .planes = {planes[0], planes[1], planes[2]},
        .stride = stride,
        .height = height,
        .width = width,
    };
    JEPA_ASSERT(height >= 1 && width >= 1 && stride >= width);
    JEPA_ASSERT(augment->op_count >= 0 && augment->op_count <= AUGMENT_OPS_MAX);
    for (int i = 0; augment->jitters && i < 4; i++) {
        int which = augment->jitter_order[i];
        JEPA_ASSERT(which >= 0 && which < 4);
        if (which == 3)
            augment_hue(&picture, augment->jitter[3]);
        else
            augment_colors(&picture, jitters[which], augment->jitter[which], scratch);
    }
    for (int i = 0; i < augment->op_count; i++) {
        AugmentKind kind = (AugmentKind)augment->ops[i].kind;
        bool moves = kind == AUGMENT_ROTATE || kind >= AUGMENT_SHEAR_X;
        if (moves)
            augment_geometry(&picture, kind, augment->ops[i].value, scratch);
        else
            augment_colors(&picture, kind, augment->ops[i].value, scratch);
    }
}

/* The rectangle in pixels: sides rounded, and never the whole side. */
typedef struct Rectangle {
    int top, left, height, width;
} Rectangle;

static int erased_length(double share, int side) {
    return (int)fmin(rint(share * side), side - 1);
}

static Rectangle rectangle_of(const Augment *augment, int height, int width) {
    Rectangle place = {.height = erased_length(augment->erase_height, height),
                       .width = erased_length(augment->erase_width, width)};
    place.top = (int)floor(augment->erase_top * (height - place.height + 1));
    place.left = (int)floor(augment->erase_left * (width - place.width + 1));
    return place;
}

/* Normal noise of columns 4 * group .. 4 * group + 3 of a line: Philox words in pairs, Box-Muller.
 */
static void noise_of(double noise[4], uint64_t seed, int channel, int frame, int y, int group) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)group, (uint32_t)y, (uint32_t)frame, (uint32_t)channel};
    uint32_t words[4];
    philox4x32(words, counter, key);
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2 * log(((double)words[i] + 1) * 0x1p-32));
        double angle = 2 * M_PI * ((double)words[i + 1] * 0x1p-32);
        noise[i] = radius * cos(angle);
        noise[i + 1] = radius * sin(angle);
    }
}

static uint8_t byte_at(double share) {
    return (uint8_t)fmin(255, fmax(0, rint(255 * share)));
}

/* Fills the rectangle in the one of the two clips that is not NULL. */
static void erase(uint8_t *bytes, float *floats, int frames, int height, int width,
                  const Augment *augment) {
    static const double mean[3] = {.485, .456, .406}, deviation[3] = {.229, .224, .225};
    if (!augment->erases)
        return;
    Rectangle place = rectangle_of(augment, height, width);
    int lines = 3 * frames * place.height;
    for (int i = 0; i < lines; i++) {
        int channel = i / (frames * place.height), frame = i / place.height % frames;
        int y = place.top + i % place.height;
        size_t line = (((size_t)channel * frames + frame) * height + y) * width;
        double noise[4];
        for (int x = place.left, group = -1; x < place.left + place.width; x++) {
            if (x / 4 != group)
                noise_of(noise, augment->erase_seed, channel, frame, y, group = x / 4);
            double value = noise[x % 4];
            if (floats)
                floats[line + x] = (float)value;
            else
                bytes[line + x] = byte_at(mean[channel] + deviation[channel] * value);
        }
    }
}

void augment_erase(uint8_t *clip, int frames, int height, int width, const Augment *augment) {
    erase(clip, NULL, frames, height, width, augment);
}

void augment_erase_float(float *clip, int frames, int height, int width, const Augment *augment) {
    erase(NULL, clip, frames, height, width, augment);
}
