/* exp and the normal distribution for float32 vectors: straight-line code that the compiler
 * vectorises, the same bits on every CPU. Errors against double precision are held by
 * tests/kernels/test_operations.c. */
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
    int32_t exponent = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &exponent, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
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
