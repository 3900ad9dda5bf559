/* HDR to SDR, for networks and eyes that know SDR pictures.
 *
 *   PQ (SMPTE ST 2084):  F = 10000 (max(e^(1/m2) - c1, 0) / (c2 - c3 e^(1/m2)))^(1/m1) cd/m2
 *   HLG (ITU-R BT.2100): E = e^2 / 3 up to e = 1/2, (exp((e - c) / a) + b) / 12 above;
 *                        F = 1000 Y^0.2 E cd/m2 with Y the BT.2020 luminance (a display of 1000
 *                        cd/m2, system gamma 1.2)
 *   tone:  the knee of ITU-R BT.2390 on m = max(R, G, B), in PQ values relative to a source of 1000
 *          cd/m2, towards a white of 203 cd/m2 (BT.2408): R, G and B are all scaled by knee(m) / m,
 *          so that hue stays. 203 cd/m2 comes out at 229 of 255, 1000 at 255, above is cut.
 *   primaries: BT.2020 to BT.709 in linear light (BT.2087), cut to 0..1
 *   code:  L^(1/2.4) (BT.1886), 8 bit
 */
#ifndef JEPA_VIDEO_TONEMAP_H
#define JEPA_VIDEO_TONEMAP_H

#include "video/colour.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Tonemap Tonemap; /* tables; 0.6 MiB */
Tonemap *tonemap_new(VideoTransfer transfer);
void tonemap_free(Tonemap *tonemap);
VideoTransfer tonemap_transfer(const Tonemap *tonemap);

/* rgb [3][count] 8 bit from wide [3][count] 16 bit, red, green, blue. */
void tonemap_apply(uint8_t *const rgb[3], const uint16_t *const wide[3], size_t count,
                   const Tonemap *tonemap);

/* One colour in double precision, the formulas as they stand: out[3] 0..1, in[3] 0..1. */
void tonemap_reference(double out[3], const double in[3], VideoTransfer transfer);

#endif
