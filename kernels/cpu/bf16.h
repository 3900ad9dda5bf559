/* Reading and writing activations in inner loops: `precision` is a constant where these are
 * inlined, so each loop exists once for each type. Rounding: to the nearest, ties to even, as
 * base/half.h; straight-line code that vectorises. */
#ifndef JEPA_KERNELS_CPU_BF16_H
#define JEPA_KERNELS_CPU_BF16_H

#include "kernels/activation.h"
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float bf16_to_float(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

INLINE uint16_t bf16_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t quiet = bits >> 16 | 0x40; /* a NaN must not round to an infinity */
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

INLINE float activation_get(const Activation *x, int64_t i, Precision precision) {
    return precision == PRECISION_BFLOAT16 ? bf16_to_float(((const uint16_t *)x)[i])
                                           : ((const float *)x)[i];
}

INLINE void activation_put(Activation *x, int64_t i, float value, Precision precision) {
    if (precision == PRECISION_BFLOAT16)
        ((uint16_t *)x)[i] = bf16_from_float(value);
    else
        ((float *)x)[i] = value;
}

/* x + i elements */
INLINE Activation *activation_at(Activation *x, int64_t i, Precision precision) {
    return (char *)x + i * (int64_t)activation_size(precision);
}
INLINE const Activation *activation_of(const Activation *x, int64_t i, Precision precision) {
    return (const char *)x + i * (int64_t)activation_size(precision);
}

#endif
