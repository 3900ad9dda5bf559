/* Pictures as a GPU hands them out, in the layout that software decoding gives. Private to this
 * floor. */
#ifndef JEPA_VIDEO_PLANES_H
#define JEPA_VIDEO_PLANES_H

#include <stdbool.h>

struct AVFrame;

/* Can pictures of pixel format `from` be put into `to` without losing a bit? Both hold 8 to 16 bits
 * a sample in the machine's byte order, `to` is planar; chroma is shared as in `from`, or left out.
 */
bool planes_fit(int to, int from);

/* Samples of `from` into the planes of `to`, which has its format, size and buffers; `from` is at
 * least as large. Only pixels: no properties. The formats fit. */
void planes_copy(struct AVFrame *to, const struct AVFrame *from);

#endif
