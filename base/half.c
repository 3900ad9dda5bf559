/* float16 and bfloat16. See base/half.h. */
#include "base/half.h"
#include <string.h>

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* bits / 2^drop to the nearest, ties to even; a carry runs into the exponent, as it should. */
static uint32_t round_off(uint32_t bits, int drop) {
    uint32_t odd = bits >> drop & 1;
    return (bits + ((UINT32_C(1) << (drop - 1)) - 1) + odd) >> drop;
}

float float16_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
    if (exponent == 0x1f) /* infinity, NaN */
        return from_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent)
        return from_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
    float small = (float)mantissa * 0x1p-24f; /* zero and subnormals: multiples of 2^-24 */
    return from_bits(sign | to_bits(small));
}

float bfloat16_to_float(uint16_t half) {
    return from_bits((uint32_t)half << 16);
}

uint16_t float16_from_float(float value) {
    uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) { /* NaN: the payload's upper bits, quiet if these are all zero */
        uint32_t payload = size >> 13 & 0x3ff;
        return (uint16_t)(sign | 0x7c00 | (payload ? payload : 0x200));
    }
    if (size >= 0x47800000) /* 2^16 and more */
        return (uint16_t)(sign | 0x7c00);
    if (size >= 0x38800000) /* 2^-14: normal; the largest may still round to infinity */
        return (uint16_t)(sign | round_off(size - ((127 - 15) << 23), 13));
    if (size < 0x33000000) /* under 2^-25, half the smallest */
        return (uint16_t)sign;
    uint32_t mantissa = (size & 0x7fffff) | 0x800000; /* value = mantissa * 2^(exponent - 150) */
    int exponent = (int)(size >> 23);
    return (uint16_t)(sign | round_off(mantissa, 126 - exponent));
}

uint16_t bfloat16_from_float(float value) {
    uint32_t bits = to_bits(value), size = bits & 0x7fffffff;
    if (size > 0x7f800000) {
        uint32_t payload = size >> 16 & 0x7f;
        return (uint16_t)((bits >> 16 & 0x8000) | 0x7f80 | (payload ? payload : 0x40));
    }
    return (uint16_t)((bits >> 16 & 0x8000) | round_off(size, 16));
}

/* Without branches: exponent and mantissa moved to their places, and 2^112 makes up for the other
 * bias, of subnormals too. */
void float16_to_floats(float *out, const uint16_t *bits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t sign = (uint32_t)(bits[i] & 0x8000) << 16, size = bits[i] & 0x7fffU;
        uint32_t moved = to_bits(from_bits(size << 13) * 0x1p112f);
        out[i] = from_bits(sign | (size >= 0x7c00 ? 0x7f800000 | size << 13 : moved));
    }
}

void bfloat16_to_floats(float *out, const uint16_t *bits, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] = bfloat16_to_float(bits[i]);
}

size_t float16_from_floats(uint16_t *out, const float *values, size_t count) {
    size_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = float16_from_float(values[i]);
        lost += (out[i] & 0x7c00) == 0x7c00;
    }
    return lost;
}

size_t bfloat16_from_floats(uint16_t *out, const float *values, size_t count) {
    size_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = bfloat16_from_float(values[i]);
        lost += (out[i] & 0x7f80) == 0x7f80;
    }
    return lost;
}
