/* The colours of a GIF: 255 for all of it, so that what stands still stays the same from picture to
 * picture and takes no bytes, and one that means "as before". Private to this floor.
 *
 * The first pictures, up to GIF_HELD_BYTES of them, are held back and the colours chosen from all
 * of them; a picture that these do not fit gets its own. */
#ifndef JEPA_VIDEO_ENCODE_GIF_H
#define JEPA_VIDEO_ENCODE_GIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GIF_HELD_BYTES ((size_t)64 << 20)
#define GIF_ENTRIES    256

typedef struct GifColors GifColors;

GifColors *gif_colors_new(int width, int height); /* pixels */
void gif_colors_free(GifColors *gif);             /* NULL is fine */

/* Before the colours are chosen: keeps a copy of rgb [height][width][3]. False: there are enough.
 */
bool gif_hold(GifColors *gif, const uint8_t *rgb, int64_t pts);
bool gif_holds(const GifColors *gif); /* are they still to be chosen? */
/* Chooses them. The held pictures are then taken one by one, in order; NULL: no more. A picture is
 * valid until the next call. */
void gif_choose(GifColors *gif);
const uint8_t *gif_next(GifColors *gif, int64_t *pts);

/* Indices, lines `stride` bytes apart, and entries (0xAARRGGBB) of a picture. */
void gif_fill(GifColors *gif, uint8_t *index, int stride, uint32_t entries[GIF_ENTRIES],
              const uint8_t *rgb);

#endif
