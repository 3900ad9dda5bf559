/* Augmentations of pictures beyond crop and flip: colour jitter, RandAugment, random erasing.
 *
 * What is done to a clip is drawn once (augment_draw, a pure function of its random stream) and
 * then applied to each of its frames alike. Sources: facebookresearch/jepa
 * src/datasets/utils/video/ {randaugment,randerase}.py and src/transforms.py, torchvision
 * ColorJitter, PIL's picture operations, whose results on 8-bit pictures these follow.
 */
#ifndef JEPA_VIDEO_AUGMENT_H
#define JEPA_VIDEO_AUGMENT_H

#include "base/random.h"
#include <stdbool.h>
#include <stdint.h>

#define AUGMENT_OPS_MAX 8

typedef struct AugmentSpec {
    bool rand_augment; /* auto_augment: "rand-m7-n4-mstd0.5-inc1", what the published probes use */
    double
        color_jitter; /* strength s: brightness, contrast, saturation 0.8 s, hue 0.2 s; 0: none */
    double reprob;    /* probability that a rectangle of the clip is erased; 0: never */
} AugmentSpec;

/* The operations of RandAugment ("increasing" set). */
typedef enum AugmentKind {
    AUGMENT_AUTO_CONTRAST,
    AUGMENT_EQUALIZE,
    AUGMENT_INVERT,
    AUGMENT_ROTATE,       /* degrees, counter-clockwise */
    AUGMENT_POSTERIZE,    /* bits kept */
    AUGMENT_SOLARIZE,     /* threshold from which values are inverted */
    AUGMENT_SOLARIZE_ADD, /* added to values below 128 */
    AUGMENT_COLOR,        /* factors: 1 leaves it as it is */
    AUGMENT_CONTRAST,
    AUGMENT_BRIGHTNESS,
    AUGMENT_SHARPNESS,
    AUGMENT_SHEAR_X,     /* pixels a line */
    AUGMENT_SHEAR_Y,     /* pixels a column */
    AUGMENT_TRANSLATE_X, /* share of the width */
    AUGMENT_TRANSLATE_Y, /* share of the height */
    AUGMENT_HUE,         /* turns; only of colour jitter */
    AUGMENT_KINDS
} AugmentKind;

typedef struct AugmentOp {
    AugmentKind kind;
    double value;
} AugmentOp;

typedef struct Augment {
    int op_count;
    AugmentOp ops[AUGMENT_OPS_MAX];
    bool jitters;
    int jitter_order[4]; /* 0 brightness, 1 contrast, 2 saturation, 3 hue */
    double jitter[4];    /* factors; hue: shift in turns, -0.5 to 0.5 */
    bool erases;
    double erase_top, erase_left, erase_height, erase_width; /* shares of the clip's side */
    uint64_t erase_seed;
} Augment;

/* One operation in place on one frame; see augment_frame. */
void augment_apply(uint8_t *const planes[3], int stride, int height, int width, AugmentOp op,
                   uint8_t *scratch);

/* Draws what is to be done to one clip, all zero where the spec asks for nothing. */
void augment_draw(Augment *augment, const AugmentSpec *spec, Random *random);

/* Colour jitter, then RandAugment, in place on one frame: planes[3] of height x width bytes, red,
 * green, blue, lines `stride` bytes apart. `scratch` has room for 3 * height * width bytes. */
bool augment_changes_frames(const Augment *augment);
void augment_frame(uint8_t *const planes[3], int stride, int height, int width,
                   const Augment *augment, uint8_t *scratch);

/* Erases the drawn rectangle of every frame of clip[3][frames][side][side], with noise that is
 * normal after normalisation by the ImageNet mean and deviation. uint8: rounded and cut to 0..255;
 * float: the clip is normalised already. */
void augment_erase(uint8_t *clip, int frames, int side, const Augment *augment);
void augment_erase_float(float *clip, int frames, int side, const Augment *augment);

#endif
