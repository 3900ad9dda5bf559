/* exp, sin, cos and the normal distribution for float32 vectors: straight-line code that the
 * compiler vectorises, the same bits on every CPU of one class. Errors against double precision are
 * held by tests/kernels/test_operations.c and test_sigreg.c. */
#ifndef JEPA_KERNELS_CPU_MATH_H
#define JEPA_KERNELS_CPU_MATH_H

#include <stdint.h>
#include <string.h>

/* exp(x) for x <= 88, to 1.2e-7 relative; below -87 it is 0.
 * x = n ln 2 + r, |r| <= ln(2)/2; the Taylor polynomial of exp(r) to r^7; 2^n by its exponent bits.
 */
static inline float exp_f32(float x) {
    const float shift = 12582912.0f; /* 1.5 · 2^23: adding it rounds to an integer */
    float clamped = x < -87.0f ? -87.0f : x;
    clamped = clamped > 88.0f ? 88.0f : clamped;
    float rounded = clamped * 1.44269504f + shift;
    float n = rounded - shift;
    float r = clamped - n * 0.693145752f; /* ln 2 in two parts, so that r is exact to float32 */
    r = r - n * 1.42860677e-6f;
    float p = 1.98412698e-4f; /* 1/7! */
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    uint32_t exponent = ((uint32_t)(int32_t)n + 127) << 23; /* whatever n a NaN gives */
    float power;
    memcpy(&power, &exponent, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

/* sin(x) and cos(x), to 2 units in the last place for |x| <= 1e4. Beyond, the reduction loses
 * digits (2e-6 at 1e5, all of them at 1e7); both stay within [-1, 1], and infinities give NaN.
 *
 * x = n π/2 + r, |r| <= π/4: π/2 in four parts, so short that n times each of the first three is
 * exact; the Taylor polynomials of sin(r) to r^9 and cos(r) to r^10; n mod 4 says which of the two,
 * and with which sign. */
static inline void sincos_f32(float x, float *sine, float *cosine) {
    const float shift = 12582912.0f; /* 1.5 · 2^23: the low bits of the sum are those of n */
    float rounded = x * 0.636619772f + shift;
    uint32_t quadrant;
    memcpy(&quadrant, &rounded, sizeof quadrant);
    float n = rounded - shift;
    float r = x - n * 1.5703125f;
    r = r - n * 4.83751297e-4f;
    r = r - n * 7.54953362e-8f;
    r = r - n * 2.56334407e-12f;
    r = r < -0.8f ? -0.8f : r; /* only where x is too large for the reduction */
    r = r > 0.8f ? 0.8f : r;
    float square = r * r;
    float p = 2.75573192e-6f; /* 1/9! */
    p = p * square - 1.98412698e-4f;
    p = p * square + 8.33333333e-3f;
    p = p * square - 1.66666667e-1f;
    float s = p * square * r + r;
    float q = -2.75573192e-7f; /* -1/10! */
    q = q * square + 2.48015873e-5f;
    q = q * square - 1.38888889e-3f;
    q = q * square + 4.16666667e-2f;
    float c = q * square * square + (1.0f - 0.5f * square);
    float from_sine = quadrant & 1 ? c : s, from_cosine = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -from_sine : from_sine;
    *cosine = (quadrant + 1) & 2 ? -from_cosine : from_cosine;
}

/* Φ(x), the normal distribution function, and e = exp(-x²/2), to about 2e-7 relative.
 * With u = |x|/√2: erfc(u) = e · g(t), t = 1/(1 + 0.38 u); g is a polynomial of degree 9 without a
 * constant term, fitted to erfc(u) exp(u²) on u in [0, 10] (largest relative error 2.0e-8). */
static inline float normal_f32(float x, float *e) {
    const float root_half = 0.707106781f;
    float u = (x < 0 ? -x : x) * root_half;
    float t = 1.0f / (1.0f + 0.38f * u);
    float g = 0.05896513744f;
    g = g * t - 0.2622713817f;
    g = g * t + 0.363838185f;
    g = g * t - 0.1614283492f;
    g = g * t + 0.2300004368f;
    g = g * t + 0.1386620442f;
    g = g * t + 0.203903153f;
    g = g * t + 0.213919863f;
    g = g * t + 0.2144109311f;
    g = g * t;
    *e = exp_f32(-0.5f * x * x);
    float tail = 0.5f * *e * g;
    return x < 0 ? tail : 1.0f - tail;
}

#endif
