/* The colours of a local view: ColorJitter, then RandomGrayscale. See video/augment.h.
 *
 * Brightness, contrast, saturation and grey are the Pillow-equal blends of video/augment_pixels.c.
 * On uint8 tensors torchvision makes the same blends, but
 *     - its grey 0.2989 R + 0.587 G + 0.114 B is truncated where Pillow's is rounded,
 *     - its mean grey (contrast) keeps its fraction where Pillow's is rounded,
 * so brightness is equal bit for bit, and each of the others differs by at most one level of 255
 * for factors in 0..2 (the blend takes 1 - factor of a difference of about one level). One after
 * another they can differ by more: hue turns a level of difference into several where colours are
 * pale (measured: at most 6 of 255 in 12 random chains over all colours, 0.4 on average or less).
 *
 * Hue goes through float HSV as torchvision turns tensors; Pillow's 8-bit hue has steps of up to
 * six levels. With M and m the greatest and the least of a pixel, C = M - m, and its hue h in
 * sixths of a turn from red, h' = h + 6 shift (mod 6) R' = m + C cut(|h' - 3| - 1)   G' = m + C
 * cut(2 - |h' - 2|)   B' = m + C cut(2 - |h' - 4|) with cut to 0..1: HSV there and back, V and S
 * kept. Levels become bytes as torchvision's do, by 255.999 / 255 and truncation. Float32 rounds
 * otherwise than there, hence one level now and then. Sources: torchvision
 * transforms/_functional_tensor.py, _misc.py (convert_image_dtype).
 */
#include "base/error.h"
#include "video/augment.h"
#include "video/augment_pixels.h"
#include <math.h>
#include <stddef.h>

#define BYTE_SCALE (255.999f / 255) /* from levels to bytes, before truncation */

void augment_view_draw(AugmentView *view, double jitter_probability, const double strengths[4],
                       double grayscale_probability, Random *random) {
    view->jitters = random_unit(random) < jitter_probability;
    augment_jitter_draw(view->jitter_order, view->jitter, strengths, random);
    view->grayscale = random_unit(random) < grayscale_probability;
}

static float cut(float value) {
    return value < 0 ? 0 : value > 1 ? 1 : value;
}

/* No branches, so that it becomes vector code. */
static void turn_line(uint8_t *restrict reds, uint8_t *restrict greens, uint8_t *restrict blues,
                      int width, float shift) {
    for (int x = 0; x < width; x++) {
        float red = reds[x], green = greens[x], blue = blues[x];
        float most = red > green ? red : green, least = red < green ? red : green;
        most = most > blue ? most : blue;
        least = least < blue ? least : blue;
        float chroma = most - least;
        float from = most == red ? 0.0f : most == green ? 2.0f : 4.0f;
        float off = most == red ? green - blue : most == green ? blue - red : red - green;
        float hue = from + off / (chroma > 0 ? chroma : 1.0f) + shift; /* -4 to 8 */
        hue = hue < 0 ? hue + 6 : hue;
        hue = hue >= 6 ? hue - 6 : hue;
        reds[x] = (uint8_t)(int)((least + chroma * cut(fabsf(hue - 3) - 1)) * BYTE_SCALE);
        greens[x] = (uint8_t)(int)((least + chroma * cut(2 - fabsf(hue - 2))) * BYTE_SCALE);
        blues[x] = (uint8_t)(int)((least + chroma * cut(2 - fabsf(hue - 4))) * BYTE_SCALE);
    }
}

static void turn_hue(const AugmentPicture *picture, double turns) {
    JEPA_ASSERT(turns >= -0.5 && turns <= 0.5);
    for (int y = 0; y < picture->height; y++) {
        size_t line = (size_t)y * (size_t)picture->stride;
        turn_line(picture->planes[0] + line, picture->planes[1] + line, picture->planes[2] + line,
                  picture->width, (float)(6 * turns));
    }
}

void augment_view_frame(uint8_t *planes[3], int stride, int height, int width,
                        const AugmentView *view, uint8_t *scratch) {
    static const AugmentKind blends[3] = {AUGMENT_BRIGHTNESS, AUGMENT_CONTRAST, AUGMENT_COLOR};
    AugmentPicture picture = {
        .planes = {planes[0], planes[1], planes[2]},
        .stride = stride,
        .height = height,
        .width = width,
    };
    JEPA_ASSERT(height >= 1 && width >= 1 && stride >= width);
    for (int i = 0; view->jitters && i < 4; i++) {
        int which = view->jitter_order[i];
        JEPA_ASSERT(which >= 0 && which < 4);
        double factor = view->jitter[which];
        if (which == 3 && factor != 0)
            turn_hue(&picture, factor);
        else if (which < 3 && factor != 1)
            augment_colors(&picture, blends[which], factor, scratch);
    }
    if (view->grayscale)
        augment_colors(&picture, AUGMENT_COLOR, 0, scratch);
}
