/* The two 16-bit floats of checkpoints, as bit patterns.
 *
 *   float16    1 sign, 5 exponent (bias 15), 10 mantissa bits       (IEEE 754 binary16)
 *   bfloat16   1 sign, 8 exponent (bias 127), 7 mantissa bits       (the upper half of a float32)
 *
 * To float32 every value is exact. From float32 the nearest value is taken, ties to the even one;
 * what lies beyond the largest finite value by half a step or more becomes an infinity. A NaN stays
 * a NaN with its sign and the upper bits of its payload, so 16 -> 32 -> 16 bits gives back every
 * pattern.
 */
#ifndef JEPA_BASE_HALF_H
#define JEPA_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

float float16_to_float(uint16_t bits);
float bfloat16_to_float(uint16_t bits);
uint16_t float16_from_float(float value);
uint16_t bfloat16_from_float(float value);

/* The same for `count` of them, quickly. Going down, how many are no finite numbers afterwards. */
void float16_to_floats(float *out, const uint16_t *bits, size_t count);
void bfloat16_to_floats(float *out, const uint16_t *bits, size_t count);
size_t float16_from_floats(uint16_t *out, const float *values, size_t count);
size_t bfloat16_from_floats(uint16_t *out, const float *values, size_t count);

#endif
