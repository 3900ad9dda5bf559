/* From a decoded frame to planes of red, green and blue. Private to this floor. */
#ifndef JEPA_VIDEO_SCALE_H
#define JEPA_VIDEO_SCALE_H

#include "video/clip.h"
#include "video/colour.h"

/* Scalers and tables, kept from frame to frame; one per thread. */
typedef struct Scaler Scaler;
Scaler *scaler_new(void);
void scaler_free(Scaler *scaler);

typedef struct ScaleWindow {
    int left, top, width, height; /* pixels of the stored frame */
} ScaleWindow;

/* The window of `frame`, scaled to out_width x out_height: planes[3] of red, green and blue, lines
 * `stride` bytes apart (64 more bytes must be writable behind each plane). Colours are the stream's
 * own (video/colour.h); HDR is tone-mapped or refused. For formats with shared chroma a window that
 * begins at an odd pixel begins one pixel earlier. */
int scaler_apply(uint8_t *const planes[3], int stride, Scaler *scaler, const struct AVFrame *frame,
                 ScaleWindow window, int out_width, int out_height, ClipHdr hdr, Error *error);

/* Turns width x height bytes clockwise: out is height x width for 90 and 270 degrees. */
void plane_rotate(uint8_t *out, int out_stride, const uint8_t *in, int in_stride, int width,
                  int height, int degrees);

/* Mirrors every line of width bytes, in place. */
void plane_mirror(uint8_t *plane, int stride, int width, int height);

#define SCALE_PADDING 64 /* bytes that vector code may touch behind a plane */

#endif
