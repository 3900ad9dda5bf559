/* HDR to SDR. See video/tonemap.h. */
#include "video/tonemap.h"
#include <math.h>
#include <stdlib.h>

#define PQ_M1 (2610.0 / 16384)
#define PQ_M2 (2523.0 / 4096 * 128)
#define PQ_C1 (3424.0 / 4096)
#define PQ_C2 (2413.0 / 4096 * 32)
#define PQ_C3 (2392.0 / 4096 * 32)
#define HLG_A 0.17883277
#define HLG_B 0.28466892
#define HLG_C 0.55991073

#define PQ_PEAK     10000.0 /* cd/m2 */
#define SOURCE_PEAK 1000.0
#define WHITE       203.0
#define HLG_GAMMA   1.2

#define CODES 65536
#define STEPS 8192 /* of the tables over the square root of light */

/* BT.2020 to BT.709 in linear light, ITU-R BT.2087 */
static const double primaries[3][3] = {
    {1.6605, -0.5876, -0.0728}, {-0.1246, 1.1329, -0.0083}, {-0.0182, -0.1006, 1.1187}};
static const double luminance[3] = {0.2627, 0.6780, 0.0593};

struct Tonemap {
    VideoTransfer transfer;
    float light[CODES];      /* code -> cd/m2 (PQ), or scene light 0..1 (HLG) */
    float factor[STEPS + 1]; /* sqrt(m / PQ_PEAK) -> knee(m) / m / WHITE */
    float gamma[STEPS + 1];  /* sqrt(Y) -> SOURCE_PEAK Y^(gamma - 1) */
    uint8_t code[STEPS + 1]; /* sqrt(L) -> 8 bit */
};

static double pq_light(double e) {
    double p = pow(e, 1 / PQ_M2);
    return PQ_PEAK * pow(fmax(p - PQ_C1, 0) / (PQ_C2 - PQ_C3 * p), 1 / PQ_M1);
}

static double pq_code(double light) {
    double y = pow(light / PQ_PEAK, PQ_M1);
    return pow((PQ_C1 + PQ_C2 * y) / (1 + PQ_C3 * y), PQ_M2);
}

static double hlg_light(double e) {
    return e <= 0.5 ? e * e / 3 : (exp((e - HLG_C) / HLG_A) + HLG_B) / 12;
}

/* BT.2390: straight up to the knee, then a Hermite spline that ends level at white. cd/m2 */
static double knee(double light) {
    double peak = pq_code(SOURCE_PEAK), most = pq_code(WHITE) / peak;
    double e = fmin(pq_code(light) / peak, 1), start = 1.5 * most - 0.5;
    if (e < start)
        return light;
    double t = (e - start) / (1 - start), t2 = t * t, t3 = t2 * t;
    return pq_light(peak * ((2 * t3 - 3 * t2 + 1) * start + (t3 - 2 * t2 + t) * (1 - start) +
                            (3 * t2 - 2 * t3) * most));
}

static double factor_of(double light) {
    return light > 0 ? knee(light) / light / WHITE : 1 / WHITE;
}

static double cut(double x) {
    return fmin(fmax(x, 0), 1);
}

void tonemap_reference(double out[3], const double in[3], VideoTransfer transfer) {
    double light[3], y = 0;
    for (int c = 0; c < 3; c++) {
        light[c] = transfer == VIDEO_PQ ? pq_light(in[c]) : hlg_light(in[c]);
        y += luminance[c] * light[c];
    }
    for (int c = 0; c < 3 && transfer == VIDEO_HLG; c++)
        light[c] *= SOURCE_PEAK * (y > 0 ? pow(y, HLG_GAMMA - 1) : 0);
    double factor = factor_of(fmax(light[0], fmax(light[1], light[2])));
    for (int c = 0; c < 3; c++) {
        double l = 0;
        for (int k = 0; k < 3; k++)
            l += primaries[c][k] * light[k] * factor;
        out[c] = pow(cut(l), 1 / 2.4);
    }
}

Tonemap *tonemap_new(VideoTransfer transfer) {
    Tonemap *t = memory_new(1, sizeof *t);
    t->transfer = transfer;
    for (int i = 0; i < CODES; i++) {
        double e = (double)i / (CODES - 1);
        t->light[i] = (float)(transfer == VIDEO_PQ ? pq_light(e) : hlg_light(e));
    }
    for (int i = 0; i <= STEPS; i++) {
        double root = (double)i / STEPS, square = root * root;
        t->factor[i] = (float)factor_of(PQ_PEAK * square);
        t->gamma[i] = (float)(SOURCE_PEAK * (i ? pow(square, HLG_GAMMA - 1) : 0));
        t->code[i] = (uint8_t)lround(255 * pow(square, 1 / 2.4));
    }
    return t;
}

void tonemap_free(Tonemap *tonemap) {
    free(tonemap);
}

VideoTransfer tonemap_transfer(const Tonemap *tonemap) {
    return tonemap->transfer;
}

/* Place of x in 0..1 in a table over the square root, to the nearest step. */
static int place(float x) {
    return (int)(sqrtf(x) * STEPS + 0.5f);
}

void tonemap_apply(uint8_t *const rgb[3], const uint16_t *const wide[3], size_t count,
                   const Tonemap *t) {
    for (size_t i = 0; i < count; i++) {
        float r = t->light[wide[0][i]], g = t->light[wide[1][i]], b = t->light[wide[2][i]];
        if (t->transfer == VIDEO_HLG) {
            float y = (float)luminance[0] * r + (float)luminance[1] * g + (float)luminance[2] * b;
            float gain = t->gamma[place(fminf(y, 1))];
            r *= gain, g *= gain, b *= gain;
        }
        float most = fmaxf(r, fmaxf(g, b));
        float factor = t->factor[place(fminf(most / (float)PQ_PEAK, 1))];
        r *= factor, g *= factor, b *= factor;
        for (int c = 0; c < 3; c++) {
            float l = (float)primaries[c][0] * r + (float)primaries[c][1] * g +
                      (float)primaries[c][2] * b;
            rgb[c][i] = t->code[place(fminf(fmaxf(l, 0), 1))];
        }
    }
}
