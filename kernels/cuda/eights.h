/* FP8: float32 or bfloat16 rows as e4m3, each with a scale of its own (kernels/cuda/eights.cu), for
 * the products of a target encoder that a recipe wants in FP8 (model.target_precision).
 *
 *   scale[r] = max(max_k |x[r][k]|, 1e-30) / 448,   q[r][k] = e4m3(x[r][k] / scale[r])
 *
 * e4m3 has 4 bits of exponent and 3 of mantissa, 448 is its largest number, 2^-9 its smallest; it
 * has no infinity. Rounded to nearest, ties to even; what is larger than 448 becomes 448, NaN stays
 * NaN. So the largest value of a row keeps a relative error of at most 1/16, values down to 1/28672
 * of it likewise, and smaller ones an absolute error of at most 2^-10 scale. */
#ifndef JEPA_KERNELS_CUDA_EIGHTS_H
#define JEPA_KERNELS_CUDA_EIGHTS_H

#include "kernels/activation.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Device Device;

#define EIGHTS_LARGEST 448.0f
#define EIGHTS_LEAST   1e-30f /* of a row: its scale and that scale's inverse are normal numbers */
#define EIGHTS_WIDTH   16     /* widths are multiples of it: cuBLASLt's condition for FP8 */

/* q[rows][width] and scale[rows] of x[rows][width], which is of that precision; q 16-byte aligned.
 */
void cuda_eights(uint8_t *q, float *scale, const void *x, Precision precision, int64_t rows,
                 int64_t width, Device *device);

/* Bytes of rows in 8 bits, to where the scales begin behind them, and with these. */
static inline size_t eights_bytes(int64_t rows, int64_t width) {
    return ((size_t)(rows * width) + 255) / 256 * 256;
}
static inline size_t eights_room(int64_t rows, int64_t width) {
    return eights_bytes(rows, width) + ((size_t)rows * sizeof(float) + 255) / 256 * 256;
}

#endif
