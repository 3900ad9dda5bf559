/* Films: every kind of file holds the pictures that were drawn, at their times; animated PNGs
 * exactly; GIFs in colours near by, also a picture of more than 256; words for formats; rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/film.h"
#include "video/palette.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH  62
#define HEIGHT 40
#define FRAMES 9

/* A gradient that shifts, and a square that moves. */
static Canvas *draw(int t) {
    Error error = {0};
    Canvas *canvas;
    assert_int_equal(canvas_new(&canvas, WIDTH, HEIGHT, COLOR_PAPER, &error), 0);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            canvas_blend(canvas, x, y,
                         (Color){(uint8_t)(4 * x), (uint8_t)(6 * y), (uint8_t)(10 * t + x + y)}, 1);
    canvas_rectangle(canvas, 4 * t, 8, 12, 12, (Color){230, 60, 20}, 1);
    return canvas;
}

/* Decodes the file; mean absolute difference of its worst picture, in levels; *pictures, *seconds
 * from the first to the last. */
static double difference(const char *path, int *pictures, double *seconds) {
    AVFormatContext *demuxer = NULL;
    char *url = memory_text("file:%s", path);
    if (avformat_open_input(&demuxer, url, NULL, NULL) < 0)
        fail_msg("%s does not open", path);
    free(url);
    assert_true(avformat_find_stream_info(demuxer, NULL) >= 0);
    const AVStream *stream = demuxer->streams[0];
    AVCodecContext *decoder = avcodec_alloc_context3(
        avcodec_find_decoder(stream->codecpar->codec_id));
    assert_int_equal(avcodec_parameters_to_context(decoder, stream->codecpar), 0);
    decoder->thread_count = 1;
    assert_int_equal(avcodec_open2(decoder, NULL, NULL), 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    uint8_t *rgb = memory_new(WIDTH * HEIGHT, 3);
    double worst = 0, first = 0;
    *pictures = 0;
    for (int more = 1; more;) {
        more = av_read_frame(demuxer, packet) >= 0;
        avcodec_send_packet(decoder, more ? packet : NULL);
        av_packet_unref(packet);
        while (avcodec_receive_frame(decoder, frame) >= 0) {
            assert_int_equal(frame->width, WIDTH);
            assert_int_equal(frame->height, HEIGHT);
            struct SwsContext *scaler = sws_getContext(
                WIDTH, HEIGHT, (enum AVPixelFormat)frame->format, WIDTH, HEIGHT, AV_PIX_FMT_RGB24,
                SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
            uint8_t *planes[4] = {rgb};
            int strides[4] = {WIDTH * 3};
            sws_scale(scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, HEIGHT,
                      planes, strides);
            sws_freeContext(scaler);
            Canvas *wanted = draw(*pictures);
            double sum = 0;
            for (int i = 0; i < WIDTH * HEIGHT * 3; i++)
                sum += abs(wanted->rgb[i] - rgb[i]);
            canvas_free(wanted);
            worst = fmax(worst, sum / (WIDTH * HEIGHT * 3));
            *seconds = (double)frame->best_effort_timestamp * av_q2d(stream->time_base);
            first = *pictures ? first : *seconds;
            (*pictures)++;
        }
    }
    *seconds -= first;
    free(rgb);
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    avformat_close_input(&demuxer);
    return worst;
}

static void every_kind(void **state) {
    (void)state;
    static const struct {
        const char *extension;
        unsigned bit;
        double levels; /* a picture may be off by */
    } kinds[] = {{".apng", FILM_APNG, 0},
                 {".gif", FILM_GIF, 5},
                 {".mp4", FILM_MP4, 6},
                 {".webm", FILM_WEBM, 8}};
    char folder[] = "/tmp/jepa_film_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    Film *film;
    unsigned formats = 0;
    for (int k = 0; k < 4; k++)
        if (strcmp(video_writer_codec_of(kinds[k].extension), "none") != 0)
            formats |= kinds[k].bit;
    assert_true((formats & (FILM_APNG | FILM_GIF | FILM_MP4)) == (FILM_APNG | FILM_GIF | FILM_MP4));
    assert_int_equal(film_open(&film, folder, "a", formats, WIDTH, HEIGHT, film_rate(12.5), &error),
                     0);
    for (int t = 0; t < FRAMES; t++) {
        Canvas *canvas = draw(t);
        assert_int_equal(film_frame(film, canvas, &error), 0);
        canvas_free(canvas);
    }
    char *list = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&list, &bytes);
    assert_int_equal(film_close(film, stream, &error), 0);
    fclose(stream);
    for (int k = 0; k < 4; k++) {
        char *path = memory_text("%s/a%s", folder, kinds[k].extension);
        if (formats & kinds[k].bit) {
            int pictures;
            double seconds, off = difference(path, &pictures, &seconds);
            if (off > kinds[k].levels || pictures != FRAMES ||
                fabs(seconds - (FRAMES - 1) / 12.5) > 0.011)
                fail_msg("%s: %d pictures in %.3f s, off by %.2f", path, pictures, seconds, off);
            assert_non_null(strstr(list, path));
        }
        free(path);
    }
    free(list);
    assert_int_equal(folder_remove(folder, &error), 0);
}

/* At 200 pictures a second a GIF shows every fourth. */
static void fast_gif(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa_film_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    Film *film;
    assert_int_equal(
        film_open(&film, folder, "fast", FILM_GIF, WIDTH, HEIGHT, film_rate(200), &error), 0);
    for (int t = 0; t < FRAMES; t++) {
        Canvas *canvas = draw(t / 4);
        assert_int_equal(film_frame(film, canvas, &error), 0);
        canvas_free(canvas);
    }
    assert_int_equal(film_close(film, NULL, &error), 0);
    char *path = path_join(folder, "fast.gif");
    int pictures;
    double seconds;
    assert_true(difference(path, &pictures, &seconds) < 5);
    assert_int_equal(pictures, 3);
    free(path);
    assert_int_equal(folder_remove(folder, &error), 0);

    assert_int_equal(
        film_open(&film, folder, "x", FILM_APNG | FILM_GIF, 10, 10, film_rate(5), &error), -1);
    assert_null(film);
    assert_non_null(strstr(error.text, folder));
    assert_int_equal(film_open(&film, folder, "x", FILM_STILL, 10, 10, film_rate(5), &error), 0);
    assert_int_equal(film_close(film, NULL, &error), 0); /* nothing moves: nothing is written */
}

static void words(void **state) {
    (void)state;
    Error error = {0};
    unsigned formats;
    assert_int_equal(film_formats(&formats, "png", &error), 0);
    assert_int_equal(formats, FILM_STILL);
    assert_int_equal(film_formats(&formats, "gif,png,apng", &error), 0);
    assert_int_equal(formats, FILM_STILL | FILM_GIF | FILM_APNG);
    const char *const wrong[] = {"", "jpeg", "png,", "png,,gif", "PNG", "mp44"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(film_formats(&formats, wrong[i], &error), -1);
        assert_int_equal(error.code, ERROR_USAGE);
        assert_non_null(strstr(error.text, "png, apng, gif, mp4 or webm"));
    }
}

static void rates(void **state) {
    (void)state;
    static const struct {
        double rate;
        int num, den;
    } wanted[] = {{25, 25, 1},
                  {12.5, 25, 2},
                  {30000.0 / 1001, 30000, 1001},
                  {15000.0 / 1001, 15000, 1001},
                  {NAN, 10, 1000},
                  {8, 8, 1},
                  {1e9, 240, 1},
                  {0.25, 1, 4}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        VideoFraction rate = film_rate(wanted[i].rate);
        assert_int_equal(rate.num, wanted[i].num);
        assert_int_equal(rate.den, wanted[i].den);
    }
}

static void palettes(void **state) {
    (void)state;
    uint8_t colors[PALETTE_MOST][3], index[4096], rgb[4096][3];
    assert_int_equal(palette_choose(colors, index, NULL, 0), 0);
    /* up to 256 colours, each in a bin of its own, stay as they are */
    for (int i = 0; i < 4096; i++) {
        int c = i % 200;
        rgb[i][0] = (uint8_t)(c % 8 * 32 + 5);
        rgb[i][1] = (uint8_t)(c / 8 % 8 * 32 + 3);
        rgb[i][2] = (uint8_t)(c / 64 * 60);
    }
    assert_int_equal(palette_choose(colors, index, rgb[0], 4096), 200);
    for (int i = 0; i < 4096; i++)
        assert_memory_equal(colors[index[i]], rgb[i], 3);
    /* of 4096 different ones all 256 are used, and none is far off */
    for (int i = 0; i < 4096; i++) {
        rgb[i][0] = (uint8_t)(i % 16 * 17);
        rgb[i][1] = (uint8_t)(i / 16 % 16 * 17);
        rgb[i][2] = (uint8_t)(i / 256 * 17);
    }
    assert_int_equal(palette_choose(colors, index, rgb[0], 4096), PALETTE_MOST);
    double sum = 0;
    for (int i = 0; i < 4096; i++)
        for (int c = 0; c < 3; c++)
            sum += abs(colors[index[i]][c] - rgb[i][c]) / (3.0 * 4096);
    assert_true(sum < 18); /* boxes of 16 colours: half a side of 2.5 · 17 levels at most */
    /* one colour */
    memset(rgb, 77, sizeof rgb);
    assert_int_equal(palette_choose(colors, index, rgb[0], 4096), 1);
    assert_int_equal(colors[0][1], 77);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind), cmocka_unit_test(fast_gif), cmocka_unit_test(words),
        cmocka_unit_test(rates),      cmocka_unit_test(palettes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
