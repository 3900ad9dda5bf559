/* From clips to patches: the tubelets of the visible tokens, normalised and flattened, ready for
 * the patch embedding (a convolution whose kernel equals its stride is a linear layer over
 * patches).
 *
 * Token n of a clip is tubelet (t, h, w) = (n / (H W), n / W mod H, n mod W). Row layout: channel,
 * frame in the tubelet, row, column: that of the published Conv3d weight [D][3][tubelet][p][p].
 * Pixels: (x/255 - mean) / std with the ImageNet constants (facebookresearch/jepa
 * app/vjepa/transforms.py). */
#ifndef JEPA_KERNELS_PATCHES_H
#define JEPA_KERNELS_PATCHES_H

#include "kernels/activation.h"
#include <stdint.h>

typedef struct Device Device;

typedef struct PatchShape {
    int frames, height, width; /* of a clip, pixels */
    int tubelet, patch;        /* frames and pixels of a patch; they divide the clip */
} PatchShape;

#define PATCH_CHANNELS 3
extern const float patch_mean[PATCH_CHANNELS]; /* 0.485, 0.456, 0.406 */
extern const float patch_std[PATCH_CHANNELS];  /* 0.229, 0.224, 0.225 */

/* patches[R][3·tubelet·patch²]; row i is token token[i] of clip clip[i].
 * Either pixels[B][3][frames][height][width] (uint8, normalised here) or values (the same shape,
 * float32, already normalised); the other is NULL. mirror[B]: 1 mirrors that clip left to right;
 * NULL: none. A negative token (a class token, which has no pixels) gives zeros. clip, token and
 * mirror lie in device memory. */
typedef void PatchesCut(Activation *patches, const uint8_t *pixels, const float *values,
                        const uint8_t *mirror, const int32_t *clip, const int32_t *token,
                        int64_t rows, const PatchShape *shape, Device *device);

PatchesCut cpu_patches_cut, cuda_patches_cut, reference_patches_cut;

#endif
