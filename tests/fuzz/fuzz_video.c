/* Hostile videos: scanned both ways, then frames read from the ends and the middle, and one clip.
 */
#include "tests/fuzz/fuzz.h"
#include "video/clip.h"
#include "video/decode.h"
#include "video/index.h"
#include <libavutil/frame.h>
#include <libavutil/log.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int take(void *context, size_t i, const AVFrame *frame, Error *error) {
    (void)error;
    *(size_t *)context += i + (size_t)frame->width;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    if (size < 2)
        return 0;
    av_log_set_level(AV_LOG_QUIET);
    int file = fuzz_file(path, data + 1, size - 1);
    if (file < 0)
        return 0;
    VideoFile video = {0};
    ScanSettings settings = {.check = data[0] & 1 ? VIDEO_CHECK_PACKETS : VIDEO_CHECK_DECODE,
                             .timeout = 5};
    video_file_scan(&video, path, &settings);
    if (!video.reason) {
        VideoReader *reader;
        Error error = {0};
        size_t sum = 0;
        int64_t frames[3] = {video.frames - 1, 0, video.frames / 2};
        if (!video_reader_open(&reader, &video, 5, &error))
            video_reader_frames(reader, frames, 3, take, &sum, &error);
        video_reader_close(reader);
        ClipSpec spec = {
            .frames = 2, .step = 1, .crop = 16, .scale = {0.3, 1}, .ratio = {0.75, 1.35}};
        ClipDraw draw;
        VideoIndex index;
        if (!video_index_of_files(&index, &video, 1, NULL, 0, &error)) {
            ClipDecoder *decoder = clip_decoder_new(5, NULL);
            uint8_t *clip = malloc(3 * 2 * 16 * 16);
            clip_draw_evaluation(&draw, &index, 0, &spec, 0, 1, 0, 1);
            clip_decode(clip, decoder, &video, &draw, &spec, &error);
            free(clip);
            clip_decoder_free(decoder);
            video_index_free(&index);
        }
    }
    video_file_free(&video);
    close(file);
    return 0;
}
