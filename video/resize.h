/* The published way from a picture to a network's input: crop, bilinear interpolation without
 * antialiasing, mirror, normalise, all in float32. Sources: facebookresearch/jepa
 * app/vjepa/transforms.py and src/datasets/utils/video/transforms.py (random_resized_crop calls
 * torch.nn.functional.interpolate, mode bilinear, align_corners False).
 *
 *   x(i) = max(0, (i + 1/2) in/out - 1/2); the neighbours floor(x) and the next, weighted 1 - f and
 * f value = (pixel - 255 mean) / (255 std), ImageNet's mean and deviation
 */
#ifndef JEPA_VIDEO_RESIZE_H
#define JEPA_VIDEO_RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const float imagenet_mean[3], imagenet_std[3]; /* of values 0..1 */

/* out[c][rows][columns] for channel c at out + c * channel, from planes[3] with `stride` bytes a
 * line: the window of height x width pixels at (top, left). */
void resize_published(float *out, size_t channel, const uint8_t *const planes[3], int stride,
                      int top, int left, int height, int width, int rows, int columns, bool mirror);

#endif
