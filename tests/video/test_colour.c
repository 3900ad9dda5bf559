/* Known colours come out right: every matrix, range and layout within 1/255; HDR by its formulas.
 */
#include "video/clip.h"
#include "video/scale.h"
#include "video/tonemap.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH  96
#define HEIGHT 80
#define SIDE   56

static const uint8_t colours[][3] = {
    {0, 0, 0},       {255, 255, 255}, {128, 128, 128}, {64, 64, 64},    {192, 192, 192},
    {255, 0, 0},     {0, 255, 0},     {0, 0, 255},     {255, 255, 0},   {0, 255, 255},
    {255, 0, 255},   {191, 0, 0},     {0, 191, 0},     {0, 0, 191},     {115, 82, 68},
    {194, 150, 130}, {98, 122, 157},  {87, 108, 67},   {133, 128, 177}, {103, 189, 170},
    {214, 126, 44},  {80, 91, 166},   {193, 90, 99},   {94, 60, 108}};

/* One value of a component everywhere. */
static void fill(AVFrame *frame, int component, unsigned value) {
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    const AVComponentDescriptor *c = &about->comp[component];
    bool chroma = (component == 1 || component == 2) && !(about->flags & AV_PIX_FMT_FLAG_RGB);
    int width = chroma ? AV_CEIL_RSHIFT(frame->width, about->log2_chroma_w) : frame->width;
    int height = chroma ? AV_CEIL_RSHIFT(frame->height, about->log2_chroma_h) : frame->height;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *at = frame->data[c->plane] + y * frame->linesize[c->plane] + x * c->step +
                          c->offset;
            if (c->depth > 8) {
                uint16_t wide = (uint16_t)(value << c->shift);
                memcpy(at, &wide, 2);
            } else {
                *at = (uint8_t)value;
            }
        }
}

static double cut(double x, double low, double high) {
    return fmin(fmax(x, low), high);
}

/* The frame of one colour, and the 8-bit colour that its rounded values stand for. */
static AVFrame *make_frame(double expected[3], int format, int matrix, bool full,
                           const uint8_t rgb[3]) {
    static const double kr_kb[][3] = {
        {AVCOL_SPC_BT709, 0.2126, 0.0722},
        {AVCOL_SPC_SMPTE170M, 0.299, 0.114},
        {AVCOL_SPC_BT2020_NCL, 0.2627, 0.0593},
    };
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get((enum AVPixelFormat)format);
    int depth = about->comp[0].depth;
    double most = (1 << depth) - 1, unit = 1 << (depth - 8), kr = 0, kb = 0;
    for (int i = 0; i < 3; i++)
        if (kr_kb[i][0] == matrix)
            kr = kr_kb[i][1], kb = kr_kb[i][2];
    AVFrame *frame = av_frame_alloc();
    frame->format = format;
    frame->width = WIDTH;
    frame->height = HEIGHT;
    frame->colorspace = (enum AVColorSpace)matrix;
    frame->color_range = full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    if (about->flags & AV_PIX_FMT_FLAG_RGB) {
        for (int c = 0; c < 3; c++) {
            fill(frame, c, (unsigned)lround(rgb[c] / 255.0 * most));
            expected[c] = rgb[c];
        }
    } else {
        double r = rgb[0] / 255.0, g = rgb[1] / 255.0, b = rgb[2] / 255.0;
        double y = kr * r + (1 - kr - kb) * g + kb * b;
        double u = (b - y) / (2 * (1 - kb)), v = (r - y) / (2 * (1 - kr));
        if (about->nb_components < 3)
            y = g = r = b = rgb[1] / 255.0, u = v = 0;
        double luma = full ? most : 219 * unit, low = full ? 0 : 16 * unit;
        double chroma = full ? most : 224 * unit, middle = 1 << (depth - 1);
        double yq = round(cut(y * luma + low, 0, most));
        double uq = round(cut(u * chroma + middle, 0, most));
        double vq = round(cut(v * chroma + middle, 0, most));
        fill(frame, 0, (unsigned)yq);
        if (about->nb_components >= 3) {
            fill(frame, 1, (unsigned)uq);
            fill(frame, 2, (unsigned)vq);
        } else {
            uq = vq = middle;
        }
        y = (yq - low) / luma, u = (uq - middle) / chroma, v = (vq - middle) / chroma;
        r = y + 2 * (1 - kr) * v;
        b = y + 2 * (1 - kb) * u;
        g = (y - kr * r - kb * b) / (1 - kr - kb);
        expected[0] = 255 * cut(r, 0, 1);
        expected[1] = 255 * cut(g, 0, 1);
        expected[2] = 255 * cut(b, 0, 1);
        if (about->nb_components < 3)
            expected[0] = expected[1] = expected[2] = 255 * cut(y, 0, 1);
    }
    if (about->flags & AV_PIX_FMT_FLAG_ALPHA)
        fill(frame, about->nb_components - 1, (1u << depth) - 1);
    return frame;
}

/* The worst difference from the colour, in 255ths, of the scaled window and of the whole frame. */
static void check(int format, int matrix, bool full, const uint8_t rgb[3], double worst[2]) {
    double expected[3];
    AVFrame *frame = make_frame(expected, format, matrix, full, rgb);
    Scaler *scaler = scaler_new();
    Error error = {0};
    uint8_t *clip = memory_new(3 * SIDE * SIDE + SCALE_PADDING, 1), *whole;
    uint8_t *planes[3] = {clip, clip + SIDE * SIDE, clip + 2 * SIDE * SIDE};
    ScaleWindow window = {7, 5, 81, 63};
    if (scaler_apply(planes, SIDE, scaler, frame, window, SIDE, SIDE, CLIP_HDR_TONEMAP, &error))
        fail_msg("%s", error.text);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < SIDE * SIDE; i++)
            worst[0] = fmax(worst[0], fabs(planes[c][i] - round(expected[c])));
    int width, height;
    if (clip_frame_rgb(&whole, &width, &height, frame, 0, &error))
        fail_msg("%s", error.text);
    for (int i = 0; i < width * height * 3; i++)
        worst[1] = fmax(worst[1], fabs(whole[i] - round(expected[i % 3])));
    free(whole);
    free(clip);
    scaler_free(scaler);
    av_frame_free(&frame);
}

static void test_patches(void **state) {
    (void)state;
    const int formats[] = {AV_PIX_FMT_YUV420P,     AV_PIX_FMT_YUV422P,     AV_PIX_FMT_YUV444P,
                           AV_PIX_FMT_YUV440P,     AV_PIX_FMT_YUV411P,     AV_PIX_FMT_YUVA420P,
                           AV_PIX_FMT_NV12,        AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV422P10LE,
                           AV_PIX_FMT_YUV444P10LE, AV_PIX_FMT_YUV420P12LE, AV_PIX_FMT_YUV444P12LE,
                           AV_PIX_FMT_P010LE,      AV_PIX_FMT_GRAY8,       AV_PIX_FMT_GRAY10LE,
                           AV_PIX_FMT_GBRP,        AV_PIX_FMT_GBRP10LE,    AV_PIX_FMT_GBRP12LE,
                           AV_PIX_FMT_RGB24,       AV_PIX_FMT_BGRA,        AV_PIX_FMT_RGB48LE};
    const int matrices[] = {AVCOL_SPC_BT709, AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT2020_NCL};
    int wrong = 0;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int m = 0; m < 3; m++)
            for (int full = 0; full < 2; full++) {
                double worst[2] = {0, 0};
                for (size_t k = 0; k < sizeof colours / sizeof *colours; k++)
                    check(formats[f], matrices[m], full, colours[k], worst);
                if (worst[0] > 1 || worst[1] > 1) {
                    print_message("%s, matrix %d, %s range: %g in a clip, %g in a picture\n",
                                  av_get_pix_fmt_name((enum AVPixelFormat)formats[f]), matrices[m],
                                  full ? "full" : "limited", worst[0], worst[1]);
                    wrong++;
                }
            }
    assert_int_equal(wrong, 0);
}

/* What a stream does not say, and what cannot be read. */
static void test_guesses(void **state) {
    (void)state;
    VideoColour colour;
    Error error = {0};
    AVFrame *frame = av_frame_alloc();
    frame->format = AV_PIX_FMT_YUV420P;
    frame->width = 640;
    frame->height = 480;
    frame->colorspace = AVCOL_SPC_UNSPECIFIED;
    assert_int_equal(video_colour_of(&colour, frame, &error), 0);
    int small = colour.matrix;
    assert_false(colour.full);
    frame->height = 720;
    assert_int_equal(video_colour_of(&colour, frame, &error), 0);
    assert_int_not_equal(colour.matrix, small);
    frame->format = AV_PIX_FMT_YUVJ420P;
    assert_int_equal(video_colour_of(&colour, frame, &error), 0);
    assert_true(colour.full && colour.format == AV_PIX_FMT_YUV420P);
    frame->colorspace = AVCOL_SPC_YCGCO;
    assert_int_equal(video_colour_of(&colour, frame, &error), -1);
    assert_non_null(strstr(error.text, "ycgco"));
    frame->colorspace = AVCOL_SPC_BT2020_NCL;
    frame->color_trc = AVCOL_TRC_SMPTE2084;
    assert_int_equal(video_colour_of(&colour, frame, &error), 0);
    assert_int_equal(colour.transfer, VIDEO_PQ);
    av_frame_free(&frame);
}

/* ---- HDR ---- */

/* SMPTE ST 2084, light in cd/m2 to code 0..1, written out a second time. */
static double pq(double light) {
    double y = pow(light / 10000, 0.1593017578125);
    return pow((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y), 78.84375);
}

static void test_tone(void **state) {
    (void)state;
    double out[3], last = -1;
    for (double light = 0; light <= 10000; light = light * 1.1 + 0.01) {
        double code[3] = {pq(light), pq(light), pq(light)};
        tonemap_reference(out, code, VIDEO_PQ);
        assert_true(fabs(out[0] - out[1]) < 5e-4 && fabs(out[1] - out[2]) < 5e-4); /* neutral */
        assert_true(out[1] >= last - 1e-9); /* never darker for more light */
        last = out[1];
        if (light < 80) /* below the knee: nothing but the code of an SDR display of 203 cd/m2 */
            assert_true(fabs(pow(out[1], 2.4) * 203 - light) < 1e-3 * light + 1e-3);
    }
    double white[3] = {pq(203), pq(203), pq(203)}, peak[3] = {pq(1000), pq(1000), pq(1000)};
    tonemap_reference(out, white, VIDEO_PQ);
    assert_true(out[1] > 0.86 && out[1] < 0.93); /* bright, with room for highlights above */
    tonemap_reference(out, peak, VIDEO_PQ);
    assert_true(out[1] > 0.999);
    double red[3] = {pq(100), pq(2), pq(2)};
    tonemap_reference(out, red, VIDEO_PQ);
    assert_true(out[0] > 2 * out[1] && out[0] > 2 * out[2]);
    double half[3] = {0.75, 0.75, 0.75}; /* HLG's reference white */
    tonemap_reference(out, half, VIDEO_HLG);
    assert_true(out[1] > 0.86 && out[1] < 0.93);
}

/* The tables against the formulas, through the scaler: 10-bit BT.2020 patches. */
static void test_hdr_frames(void **state) {
    (void)state;
    const int transfers[] = {AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67};
    for (int t = 0; t < 2; t++)
        for (size_t k = 0; k < sizeof colours / sizeof *colours; k++) {
            double code[3], expected[3];
            AVFrame *frame = make_frame(code, AV_PIX_FMT_YUV420P10LE, AVCOL_SPC_BT2020_NCL, false,
                                        colours[k]);
            frame->color_trc = (enum AVColorTransferCharacteristic)transfers[t];
            frame->color_primaries = AVCOL_PRI_BT2020;
            for (int c = 0; c < 3; c++)
                code[c] /= 255;
            tonemap_reference(expected, code, t ? VIDEO_HLG : VIDEO_PQ);
            Scaler *scaler = scaler_new();
            Error error = {0};
            uint8_t clip[3 * SIDE * SIDE + SCALE_PADDING];
            uint8_t *planes[3] = {clip, clip + SIDE * SIDE, clip + 2 * SIDE * SIDE};
            ScaleWindow window = {0, 0, WIDTH, HEIGHT};
            assert_int_equal(scaler_apply(planes, SIDE, scaler, frame, window, SIDE, SIDE,
                                          CLIP_HDR_TONEMAP, &error),
                             0);
            for (int c = 0; c < 3; c++) {
                /* the code itself is known to a 14-bit rounding of libswscale, which weighs most in
                 * the dark, where 1/2.4 is steep */
                double off = fabs(planes[c][SIDE * 20 + 20] - 255 * expected[c]);
                if (off > (expected[c] < 0.1 ? 6 : 2.5))
                    fail_msg("transfer %d, colour %zu, channel %d: %d, by the formula %.1f", t, k,
                             c, planes[c][SIDE * 20 + 20], 255 * expected[c]);
            }
            assert_int_equal(scaler_apply(planes, SIDE, scaler, frame, window, SIDE, SIDE,
                                          CLIP_HDR_REFUSE, &error),
                             -1);
            assert_non_null(strstr(error.text, "HDR"));
            scaler_free(scaler);
            av_frame_free(&frame);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_tone),
        cmocka_unit_test(test_hdr_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
