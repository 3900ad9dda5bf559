/* From semi-planar pictures to planes. See video/planes.h.
 *
 * NVDEC gives chroma interleaved, and more than 8 bits at the upper end of 16 (FFmpeg's
 * doc/pixfmt: nv12, p010, p016). Software decoders give planes, and the bits at the lower end:
 *
 *     nv12  Y[h][w], (U V)[h/2][w/2]          -> yuv420p      Y[h][w], U[h/2][w/2], V[h/2][w/2]
 *     p010  the same of uint16, sample << 6   -> yuv420p10    the same of uint16
 *     p016  the same of uint16, sample << 4   -> yuv420p12
 *
 * w/2 and h/2 are rounded up. Grey pictures take the first plane alone. In general, sample x of a
 * component of depth d that lies s bits up, x = word >> s, becomes x >> (d - d'), in one shift. */
#include "video/planes.h"
#include "base/error.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <string.h>

/* Formats of other layouts than "one word a sample, in this machine's order". */
#define OTHERS                                                                                     \
    (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |                       \
     AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_ALPHA)

static int word_bytes(const AVPixFmtDescriptor *about) {
    return about->comp[0].depth + about->comp[0].shift > 8 ? 2 : 1;
}

static bool is_plain(const AVPixFmtDescriptor *about) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bool native = about->flags & AV_PIX_FMT_FLAG_BE || word_bytes(about) == 1;
#else
    bool native = !(about->flags & AV_PIX_FMT_FLAG_BE);
#endif
    return native && !(about->flags & OTHERS) && about->comp[0].depth >= 8;
}

bool planes_fit(int to, int from) {
    const AVPixFmtDescriptor *a = av_pix_fmt_desc_get((enum AVPixelFormat)to);
    const AVPixFmtDescriptor *b = av_pix_fmt_desc_get((enum AVPixelFormat)from);
    if (!a || !b || !is_plain(a) || !is_plain(b))
        return false;
    for (int c = 0; c < a->nb_components; c++)
        if (a->comp[c].plane != c || a->comp[c].step != word_bytes(a) || a->comp[c].shift)
            return false;
    bool grey = a->nb_components == 1;
    return word_bytes(a) == word_bytes(b) &&
           a->comp[0].depth <= b->comp[0].depth + b->comp[0].shift &&
           (grey || (a->nb_components == 3 && b->nb_components == 3 &&
                     a->log2_chroma_w == b->log2_chroma_w && a->log2_chroma_h == b->log2_chroma_h));
}

/* One line: every `step`-th word from `in` on, shifted down. */
static void copy_bytes(uint8_t *restrict out, const uint8_t *restrict in, int step, int count) {
    if (step == 1)
        memcpy(out, in, (size_t)count);
    else
        for (int x = 0; x < count; x++)
            out[x] = in[(ptrdiff_t)x * step];
}

static void copy_words(uint16_t *restrict out, const uint16_t *restrict in, int step, int shift,
                       int count) {
    if (step == 1)
        for (int x = 0; x < count; x++)
            out[x] = (uint16_t)(in[x] >> shift);
    else
        for (int x = 0; x < count; x++)
            out[x] = (uint16_t)(in[(ptrdiff_t)x * step] >> shift);
}

void planes_copy(AVFrame *to, const AVFrame *from) {
    const AVPixFmtDescriptor *a = av_pix_fmt_desc_get((enum AVPixelFormat)to->format);
    const AVPixFmtDescriptor *b = av_pix_fmt_desc_get((enum AVPixelFormat)from->format);
    JEPA_ASSERT(planes_fit(to->format, from->format) && from->width >= to->width &&
                from->height >= to->height);
    int bytes = word_bytes(a);
    for (int c = 0; c < a->nb_components; c++) {
        const AVComponentDescriptor *at = &b->comp[c];
        int width = c ? AV_CEIL_RSHIFT(to->width, a->log2_chroma_w) : to->width;
        int height = c ? AV_CEIL_RSHIFT(to->height, a->log2_chroma_h) : to->height;
        int shift = at->shift + at->depth - a->comp[c].depth, step = at->step / bytes;
        for (int y = 0; y < height; y++) {
            uint8_t *out = to->data[c] + (ptrdiff_t)y * to->linesize[c];
            const uint8_t *in = from->data[at->plane] + (ptrdiff_t)y * from->linesize[at->plane] +
                                at->offset;
            if (bytes == 1)
                copy_bytes(out, in, step, width);
            else
                copy_words((uint16_t *)(void *)out, (const uint16_t *)(const void *)in, step, shift,
                           width);
        }
    }
}
