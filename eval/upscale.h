/* Images to another size: patch grids to tiles, frames to thumbnails. */
#ifndef JEPA_EVAL_UPSCALE_H
#define JEPA_EVAL_UPSCALE_H

#include "base/error.h"
#include "eval/colormap.h"
#include <stdint.h>

typedef enum UpscaleMode {
    UPSCALE_NEAREST, /* every pixel of the tile shows one pixel of the image */
    UPSCALE_SMOOTH   /* bicubic (Catmull-Rom); averages over the area where it makes smaller */
} UpscaleMode;

/* out [out_height][out_width][3] from rgb [height][width][3]; sides >= 1. The caller owns both. */
void upscale_bytes(uint8_t *out, int out_height, int out_width, const uint8_t *rgb, int height,
                   int width, UpscaleMode mode);
/* The same from floats in 0..1, cut to it; what is not a number counts as 0. */
void upscale_floats(uint8_t *out, int out_height, int out_width, const float *rgb, int height,
                    int width, UpscaleMode mode);
/* Values [height][width] through a colour map, `low` at its start and `high` at its end; NaN is
 * COLOR_VOID. A constant range shows the middle of the map. out [height][width][3]. */
void upscale_values(uint8_t *out, const float *values, int height, int width, double low,
                    double high, Colormap map);

#endif
