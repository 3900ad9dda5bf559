/* Semi-planar pictures to planes: every sample in its place, at every size and depth, and nothing
 * written beside the picture. */
#include "base/error.h"
#include "base/random.h"
#include "video/planes.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libavutil/pixfmt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUARD 0xa7

/* Planes of our own with lines `stride` bytes apart, filled with one byte. */
static AVFrame *make_frame(int format, int width, int height, int stride, int lines, int fill) {
    AVFrame *frame = av_frame_alloc();
    frame->format = format;
    frame->width = width;
    frame->height = height;
    for (int p = 0; p < 3; p++) {
        frame->linesize[p] = stride;
        frame->data[p] = memory_new((size_t)stride, (size_t)lines + 1);
        memset(frame->data[p], fill, (size_t)stride * ((size_t)lines + 1));
    }
    return frame;
}

static void free_frame(AVFrame *frame) {
    for (int p = 0; p < 3; p++)
        free(frame->data[p]);
    av_frame_free(&frame);
}

static int sample(const uint8_t *line, int x, int bytes) {
    uint16_t word;
    if (bytes == 1)
        return line[x];
    memcpy(&word, line + 2 * (ptrdiff_t)x, sizeof word);
    return word;
}

static void put(uint8_t *line, int x, int bytes, int value) {
    uint16_t word = (uint16_t)value;
    if (bytes == 1)
        line[x] = (uint8_t)value;
    else
        memcpy(line + 2 * (ptrdiff_t)x, &word, sizeof word);
}

static int random_value(int depth, int plane, int x, int y) {
    Random random = random_at(3, RANDOM_TEST, (uint64_t)plane, (uint64_t)y * 10000 + (uint64_t)x);
    return (int)random_below(&random, 1U << depth);
}

/* `from` semi-planar with samples of `depth` bits at the upper end, `to` planar. */
static void check(int from, int to, int depth, int width, int height, int more) {
    int bytes = depth > 8 ? 2 : 1, up = depth > 8 ? 16 - depth : 0;
    int cw = (width + 1) / 2, ch = (height + 1) / 2;
    bool grey = av_pix_fmt_desc_get((enum AVPixelFormat)to)->nb_components == 1;
    AVFrame *in = make_frame(from, width + more, height + more, (2 * cw + more) * bytes + 6,
                             height + more, 0x5b);
    AVFrame *out = make_frame(to, width, height, (width + 3) * bytes, height, GUARD);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            put(in->data[0] + (ptrdiff_t)y * in->linesize[0], x, bytes,
                random_value(depth, 0, x, y) << up);
    for (int y = 0; y < ch; y++)
        for (int x = 0; x < 2 * cw; x++)
            put(in->data[1] + (ptrdiff_t)y * in->linesize[1], x, bytes,
                random_value(depth, 1 + x % 2, x / 2, y) << up);
    assert_true(planes_fit(to, from));
    planes_copy(out, in);
    for (int p = 0; p < 3; p++) {
        int w = p ? cw : width, h = grey && p ? 0 : p ? ch : height;
        for (int y = 0; y <= height; y++) {
            const uint8_t *line = out->data[p] + (ptrdiff_t)y * out->linesize[p];
            for (int x = 0; x < w && y < h; x++)
                assert_int_equal(sample(line, x, bytes), random_value(depth, p, x, y));
            for (int b = y < h ? w * bytes : 0; b < out->linesize[p]; b++)
                assert_int_equal(line[b], GUARD);
        }
    }
    free_frame(in);
    free_frame(out);
}

static void test_samples(void **state) {
    (void)state;
    const int sizes[][2] = {{1, 1}, {2, 2}, {3, 5}, {16, 16}, {33, 7}, {64, 34}, {127, 129}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int more = 0; more <= 13; more += 13) { /* a surface larger than the picture */
            int w = sizes[i][0], h = sizes[i][1];
            check(AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P, 8, w, h, more);
            check(AV_PIX_FMT_NV12, AV_PIX_FMT_YUVJ420P, 8, w, h, more);
            check(AV_PIX_FMT_NV12, AV_PIX_FMT_GRAY8, 8, w, h, more);
            check(AV_PIX_FMT_P010, AV_PIX_FMT_YUV420P10, 10, w, h, more);
            check(AV_PIX_FMT_P010, AV_PIX_FMT_GRAY10, 10, w, h, more);
            check(AV_PIX_FMT_P016, AV_PIX_FMT_YUV420P12, 12, w, h, more);
            check(AV_PIX_FMT_P016, AV_PIX_FMT_YUV420P10, 10, w, h, more); /* as some give 10 bits */
            check(AV_PIX_FMT_P016, AV_PIX_FMT_GRAY12, 12, w, h, more);
        }
}

static void test_what_does_not_fit(void **state) {
    (void)state;
    const int pairs[][2] = {
        {AV_PIX_FMT_YUV422P, AV_PIX_FMT_NV12}, /* other chroma */
        {AV_PIX_FMT_YUV444P, AV_PIX_FMT_NV12},     {AV_PIX_FMT_YUV420P, AV_PIX_FMT_P010},
        {AV_PIX_FMT_YUV420P10, AV_PIX_FMT_NV12}, /* fewer bits, other words */
        {AV_PIX_FMT_NV12, AV_PIX_FMT_NV12},      /* not planar */
        {AV_PIX_FMT_YUV420P10BE, AV_PIX_FMT_P010}, {AV_PIX_FMT_YUVA420P, AV_PIX_FMT_NV12},
        {AV_PIX_FMT_GBRP, AV_PIX_FMT_NV12},        {AV_PIX_FMT_CUDA, AV_PIX_FMT_NV12},
        {AV_PIX_FMT_YUV420P, AV_PIX_FMT_CUDA},     {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NONE},
        {AV_PIX_FMT_NONE, AV_PIX_FMT_NV12},        {AV_PIX_FMT_YUV420P, AV_PIX_FMT_GRAY8},
        {AV_PIX_FMT_PAL8, AV_PIX_FMT_NV12}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_false(planes_fit(pairs[i][0], pairs[i][1]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
