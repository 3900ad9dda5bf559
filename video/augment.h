/* Augmentations of pictures beyond crop and flip: colour jitter, RandAugment, random erasing.
 *
 * What is done to a clip is drawn once (augment_draw, a pure function of its random stream) and
 * then applied to each of its frames alike. Sources: facebookresearch/jepa
 * src/datasets/utils/video/ {randaugment,randerase}.py and
 * evals/video_classification_frozen/utils.py, torchvision ColorJitter, PIL's picture operations,
 * whose results on 8-bit pictures these follow bit for bit.
 */
#ifndef JEPA_VIDEO_AUGMENT_H
#define JEPA_VIDEO_AUGMENT_H

#include "base/random.h"
#include <stdbool.h>
#include <stdint.h>

#define AUGMENT_OPS_MAX 8

/* The published list of RandAugment with increasing severity ("inc1"), in its order. What `value`
 * of an AugmentOp is stands behind; [ ]: as drawn at magnitude 7. */
typedef enum AugmentKind {
    AUGMENT_AUTO_CONTRAST, /* - */
    AUGMENT_EQUALIZE,      /* - */
    AUGMENT_INVERT,        /* - */
    AUGMENT_ROTATE,        /* degrees, counterclockwise, about the middle [+-21] */
    AUGMENT_POSTERIZE,     /* bits kept, 0..8 [2] */
    AUGMENT_SOLARIZE,      /* levels from here on are inverted, 0..256 [77] */
    AUGMENT_SOLARIZE_ADD,  /* added to levels below 128, 0..255 [77] */
    AUGMENT_COLOR,         /* factor: 0 grey, 1 unchanged [1 +- 0.63] */
    AUGMENT_CONTRAST,      /* factor: 0 the mean grey, 1 unchanged [1 +- 0.63] */
    AUGMENT_BRIGHTNESS,    /* factor: 0 black, 1 unchanged [1 +- 0.63] */
    AUGMENT_SHARPNESS,     /* factor: 0 smoothed, 1 unchanged [1 +- 0.63] */
    AUGMENT_SHEAR_X,       /* columns of source per line, from the top left corner [+-0.21] */
    AUGMENT_SHEAR_Y,       /* lines of source per column, from the top left corner [+-0.21] */
    AUGMENT_TRANSLATE_X,   /* share of the width; > 0: to the left [+-0.315] */
    AUGMENT_TRANSLATE_Y,   /* share of the height; > 0: upwards [+-0.315] */
    AUGMENT_KINDS
} AugmentKind;

typedef struct AugmentSpec {
    bool rand_augment; /* auto_augment: "rand-m7-n4-mstd0.5-inc1", what the published probes use */
    double
        color_jitter; /* strength s: brightness, contrast, saturation 0.8 s, hue 0.2 s; 0: none */
    double reprob;    /* probability that a rectangle of the clip is erased; 0: never */
} AugmentSpec;

typedef struct AugmentOp {
    int kind; /* AugmentKind */
    double value;
} AugmentOp;

typedef struct Augment {
    int op_count; /* at most 4 are drawn, each applied with probability 1/2: those applied */
    AugmentOp ops[AUGMENT_OPS_MAX];
    bool jitters;
    int jitter_order[4]; /* 0 brightness, 1 contrast, 2 saturation, 3 hue */
    double jitter[4];    /* factors; hue: shift in turns, -0.5 to 0.5 */
    bool erases;
    double erase_height, erase_width; /* shares of the clip's side, in (0, 1) */
    double erase_top, erase_left;     /* where between the first and the last place, in [0, 1) */
    uint64_t erase_seed;
} Augment;

/* The colours of one local view: ColorJitter or not, then grey or not; all of its frames alike. */
typedef struct AugmentView {
    bool jitters;
    int jitter_order[4]; /* 0 brightness, 1 contrast, 2 saturation, 3 hue */
    double jitter[4];    /* factors; hue: shift in turns, -0.5 to 0.5 */
    bool grayscale;
} AugmentView;

/* Draws what is to be done to one clip, all zero where the spec asks for nothing. */
void augment_draw(Augment *augment, const AugmentSpec *spec, Random *random);

/* Whether augment_frame would do anything. */
bool augment_changes_frames(const Augment *augment);

/* Colour jitter, then RandAugment, in place on one frame: planes[3] of height x width bytes, red,
 * green, blue, lines `stride` bytes apart; bytes between the lines are left alone. `scratch` has
 * room for 3 * height * width bytes. Jitter of hue, even by 0, rounds a picture to PIL's HSV. */
void augment_frame(uint8_t *planes[3], int stride, int height, int width, const Augment *augment,
                   uint8_t *scratch);

/* Draws the colours of one view: ColorJitter with strengths[4] of brightness, contrast, saturation
 * (factor uniform in max(0, 1 - s)..1 + s) and hue (0 to 0.5 turns, shift uniform in -s..s), in any
 * order, with `jitter_probability`; then grey with `grayscale_probability`. Takes from `random`
 * whatever the probabilities are. */
void augment_view_draw(AugmentView *view, double jitter_probability, const double strengths[4],
                       double grayscale_probability, Random *random);

/* Applies it in place to one frame, arguments as in augment_frame. A factor of 1, or a hue of 0,
 * changes nothing. Blends and grey are Pillow's, hue is turned in float as torchvision turns
 * tensors (video/augment_view.c says how far each is from torchvision's uint8 tensors). */
void augment_view_frame(uint8_t *planes[3], int stride, int height, int width,
                        const AugmentView *view, uint8_t *scratch);

/* Erases the drawn rectangle of every frame of clip[3][frames][height][width]: the same rectangle,
 * with noise of its own for every pixel, colour and frame, a pure function of erase_seed and that
 * place. It is normal after normalisation by the ImageNet mean and deviation. uint8: rounded and
 * cut to 0..255; float: the clip is normalised already. */
void augment_erase(uint8_t *clip, int frames, int height, int width, const Augment *augment);
void augment_erase_float(float *clip, int frames, int height, int width, const Augment *augment);

#endif
