/* Picture operations in place on planar 8-bit RGB, equal to PIL's. Private to video/augment*.c. */
#ifndef JEPA_VIDEO_AUGMENT_PIXELS_H
#define JEPA_VIDEO_AUGMENT_PIXELS_H

#include "video/augment.h"

typedef struct AugmentPicture {
    uint8_t *planes[3]; /* red, green, blue */
    int stride;         /* bytes from one line to the next, >= width */
    int height, width;  /* >= 1 */
} AugmentPicture;

/* ColorJitter's draw: an order of the four, and a factor (hue: a shift) for each. */
void augment_jitter_draw(int order[4], double factors[4], const double strengths[4],
                         Random *random);

/* The operations that need no geometry: every kind but Rotate, Shear and Translate. `scratch` has
 * room for 3 * height * width bytes. */
void augment_colors(const AugmentPicture *picture, AugmentKind kind, double value,
                    uint8_t *scratch);

/* Hue turned by `turns` (-0.5 to 0.5), through 8-bit HSV. */
void augment_hue(const AugmentPicture *picture, double turns);

/* Rotate, Shear, Translate: bicubic, grey (128) where the source is outside. `scratch` as above. */
void augment_geometry(const AugmentPicture *picture, AugmentKind kind, double value,
                      uint8_t *scratch);

/* Copies the picture to scratch[3][height][width]. */
void augment_copy(uint8_t *scratch, const AugmentPicture *picture);

#endif
