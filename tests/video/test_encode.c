/* video/encode: what is written can be read back, looks the same, is tagged right, has the same
 * bytes every time, and never leaves half a file. */
#include "base/file.h"
#include "base/hash.h"
#include "video/encode.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WIDTH  80
#define HEIGHT 64
#define FRAMES 30
#define FPS    16

static char *folder_new(void) {
    char *folder = memory_text("/tmp/jepa_encode_XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void folder_gone(char *folder) {
    Error error = {0};
    assert_int_equal(folder_remove(folder, &error), 0);
    free(folder);
}

/* A coloured gradient with a bright block that moves two pixels a frame. */
static void draw(uint8_t *rgb, int t) {
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++) {
            int block = x >= 2 * t && x < 2 * t + 16 && y >= 24 && y < 40;
            uint8_t *pixel = rgb + (y * WIDTH + x) * 3;
            pixel[0] = (uint8_t)(block ? 240 : 40 + x * 2);
            pixel[1] = (uint8_t)(block ? 200 : 60 + y);
            pixel[2] = (uint8_t)(block ? 40 : 180 - x);
        }
    }
}

static int write_video(const char *path, const char *encoder, Error *error) {
    static const size_t bytes = (size_t)WIDTH * HEIGHT * 3;
    VideoWriter *writer;
    if (video_writer_open_with(&writer, path, WIDTH, HEIGHT, FPS, encoder, error))
        return -1;
    uint8_t *rgb = memory_new(bytes, 1);
    int result = 0;
    for (int t = 0; t < FRAMES && result == 0; t++) {
        draw(rgb, t);
        result = video_writer_frame(writer, rgb, error);
    }
    free(rgb);
    if (result == 0)
        return video_writer_close(writer, error);
    video_writer_abandon(writer);
    return -1;
}

/* Mean absolute difference in levels, after the conversion back that the tags ask for. */
static double difference(const AVFrame *frame, int t) {
    uint8_t *wanted = memory_new((size_t)WIDTH * HEIGHT, 3), *got = memory_new(WIDTH * HEIGHT, 3);
    draw(wanted, t);
    assert_int_equal(frame->colorspace, AVCOL_SPC_SMPTE170M);
    struct SwsContext *scaler = sws_getContext(WIDTH, HEIGHT, (enum AVPixelFormat)frame->format,
                                               WIDTH, HEIGHT, AV_PIX_FMT_RGB24,
                                               SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    const int *matrix = sws_getCoefficients(SWS_CS_ITU601);
    sws_setColorspaceDetails(scaler, matrix, 0, matrix, 1, 0, 1 << 16, 1 << 16);
    uint8_t *planes[4] = {got};
    int strides[4] = {WIDTH * 3};
    sws_scale(scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, HEIGHT, planes,
              strides);
    sws_freeContext(scaler);
    double sum = 0;
    for (int i = 0; i < WIDTH * HEIGHT * 3; i++)
        sum += abs(wanted[i] - got[i]);
    free(wanted);
    free(got);
    return sum / (WIDTH * HEIGHT * 3);
}

/* Decodes the file and holds every frame against what was drawn. */
static void check_video(const char *path, enum AVCodecID codec_id) {
    char *url = memory_text("file:%s", path);
    AVFormatContext *demuxer = NULL;
    assert_int_equal(avformat_open_input(&demuxer, url, NULL, NULL), 0);
    free(url);
    assert_true(avformat_find_stream_info(demuxer, NULL) >= 0);
    assert_int_equal(demuxer->nb_streams, 1);
    const AVStream *stream = demuxer->streams[0];
    const AVCodecParameters *parameters = stream->codecpar;
    assert_int_equal(parameters->codec_id, codec_id);
    assert_int_equal(parameters->width, WIDTH);
    assert_int_equal(parameters->height, HEIGHT);
    assert_int_equal(parameters->color_space, AVCOL_SPC_SMPTE170M);
    assert_int_equal(av_cmp_q(stream->avg_frame_rate, (AVRational){FPS, 1}), 0);

    AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(codec_id));
    assert_int_equal(avcodec_parameters_to_context(decoder, parameters), 0);
    decoder->thread_count = 1;
    assert_int_equal(avcodec_open2(decoder, NULL, NULL), 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int frames = 0, keys = 0, more = 1;
    while (more) {
        more = av_read_frame(demuxer, packet) >= 0;
        if (more)
            keys += packet->flags & AV_PKT_FLAG_KEY ? 1 : 0;
        assert_int_equal(avcodec_send_packet(decoder, more ? packet : NULL), 0);
        av_packet_unref(packet);
        while (avcodec_receive_frame(decoder, frame) >= 0) {
            assert_int_equal(av_rescale_q(frame->pts, stream->time_base, (AVRational){1, FPS}),
                             frames);
            assert_true(difference(frame, frames) < 4);
            frames++;
        }
    }
    assert_int_equal(frames, FRAMES);
    assert_true(keys >= 3); /* 30 frames, one key in 12 */
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    avformat_close_input(&demuxer);
}

static void test_round_trip(void **state) {
    (void)state;
    const AVCodec *best = avcodec_find_encoder_by_name(video_writer_codec());
    assert_non_null(best);
    if (avcodec_find_encoder_by_name("libx264"))
        assert_string_equal(best->name, "libx264");
    char *folder = folder_new();
    /* a name with a colon, spaces and letters beyond ASCII is a name like any other */
    char *path = path_join(folder, "http: caf\xc3\xa9 \xe6\x98\xa0 a.mp4");
    Error error = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(write_video(path, i ? "mpeg4" : NULL, &error), 0);
        check_video(path, i ? AV_CODEC_ID_MPEG4 : best->id);
        assert_int_equal(unlink(path), 0);
    }
    free(path);
    folder_gone(folder);
}

static void test_same_bytes(void **state) {
    (void)state;
    char *folder = folder_new();
    char *paths[2] = {path_join(folder, "a.mp4"), path_join(folder, "b.mp4")};
    Error error = {0};
    for (int codec = 0; codec < 2; codec++) {
        Hash hash[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(write_video(paths[i], codec ? "mpeg4" : NULL, &error), 0);
            assert_int_equal(hash_file(&hash[i], paths[i], &error), 0);
        }
        assert_true(hash_same(&hash[0], &hash[1]));
    }
    free(paths[0]);
    free(paths[1]);
    folder_gone(folder);
}

static void test_mistakes(void **state) {
    (void)state;
    char *folder = folder_new();
    char *path = path_join(folder, "a.mp4"), *lost = path_join(folder, "none/a.mp4");
    VideoWriter *writer;
    Error error = {0};
    assert_int_equal(video_writer_open(&writer, path, 63, 64, FPS, &error), -1);
    assert_null(writer);
    assert_int_equal(error.code, ERROR_USAGE);
    assert_int_equal(video_writer_open(&writer, path, 64, 64, 0, &error), -1);
    assert_int_equal(video_writer_open_with(&writer, path, 64, 64, FPS, "nothing", &error), -1);
    assert_non_null(strstr(error.text, "nothing"));
    assert_int_equal(video_writer_open(&writer, lost, 64, 64, FPS, &error), -1);
    assert_non_null(strstr(error.text, lost));

    assert_int_equal(video_writer_open(&writer, path, 64, 64, FPS, &error), 0);
    assert_int_equal(video_writer_close(writer, &error), -1); /* no frame */
    assert_int_equal(video_writer_open(&writer, path, 64, 64, FPS, &error), 0);
    video_writer_abandon(writer);
    assert_false(file_exists(path));
    free(lost);
    free(path);
    assert_int_equal(rmdir(folder), 0); /* empty: nothing was left behind */
    free(folder);
}

/* A full disk, played by a limit on the size of files: an error, and nothing is left. */
static void test_full_disk(void **state) {
    (void)state;
    char *folder = folder_new();
    char *path = path_join(folder, "a.mp4");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {1000, 1000};
        Error error = {0};
        if (setrlimit(RLIMIT_FSIZE, &limit))
            _exit(2);
        int result = write_video(path, NULL, &error);
        _exit(result == -1 && error.code == ERROR_RUN && strstr(error.text, path) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free(path);
    assert_int_equal(rmdir(folder), 0);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
