/* Instead of FFmpeg, in a program that was built without it: everything of this floor that reads or
 * writes videos fails with one line that says so. CMakeLists.txt takes this file in place of those
 * that call libav*. See video/ffmpeg.h. */
#include "video/clip.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/frame_cache.h"
#include "video/hardware.h"
#include "video/index_columns.h"
#include "video/transcode.h"
#include <stdlib.h>
#include <string.h>

/* Making one cannot fail, so there is one to hand out. */
struct ClipDecoder {
    bool empty;
};

int ffmpeg_needed(Error *error) {
    return error_set(error, ERROR_RUN,
                     "this program was built without FFmpeg, which reads videos: install its "
                     "development files (libavformat, libavcodec, libavutil, libswscale) and build "
                     "again with -DJEPA_FFMPEG=ON");
}

void ffmpeg_quiet(void) {
}

const char *ffmpeg_version(void) {
    return NULL;
}

char *ffmpeg_decoders(void) {
    return NULL;
}

/* ---- the index ---- */

const char *index_scanner(void) {
    return "no FFmpeg";
}

void video_file_scan(VideoFile *file, const char *path, const ScanSettings *settings) {
    Error error = {0};
    char *own = memory_text("%s", path); /* `path` may be the file's own */
    (void)settings;
    ffmpeg_needed(&error);
    video_file_free(file);
    file->path = own;
    file->label = -1;
    file->reason = memory_text("%s", error.text);
}

/* ---- frames and clips ---- */

int video_hardware_open(VideoHardware **hardware, const char *device, Error *error) {
    (void)device;
    *hardware = NULL;
    return ffmpeg_needed(error);
}

void video_hardware_close(VideoHardware *hardware) {
    (void)hardware;
}

VideoHardwareStats video_hardware_stats(VideoHardware *hardware) {
    (void)hardware;
    return (VideoHardwareStats){0};
}

char *video_hardware_codecs(void) {
    return NULL;
}

int video_reader_open(VideoReader **reader, const VideoFile *file, double seconds, Error *error) {
    (void)file, (void)seconds;
    *reader = NULL;
    return ffmpeg_needed(error);
}

int video_reader_open_on(VideoReader **reader, const VideoFile *file, double seconds,
                         VideoHardware *hardware, Error *error) {
    (void)hardware;
    return video_reader_open(reader, file, seconds, error);
}

void video_reader_close(VideoReader *reader) {
    (void)reader;
}

bool video_reader_timed_out(const VideoReader *reader) {
    (void)reader;
    return false;
}

int video_reader_frames(VideoReader *reader, const int64_t *frames, size_t count, VideoTake take,
                        void *context, Error *error) {
    (void)reader, (void)frames, (void)count, (void)take, (void)context;
    return ffmpeg_needed(error);
}

int frame_cache_open(FrameCache **cache, size_t limit, const char *folder, Error *error) {
    (void)limit, (void)folder;
    *cache = NULL;
    return ffmpeg_needed(error);
}

void frame_cache_close(FrameCache *cache) {
    (void)cache;
}

FrameCacheStats frame_cache_stats(FrameCache *cache) {
    (void)cache;
    return (FrameCacheStats){0};
}

int frame_cache_read(FrameCache *cache, const VideoFile *file, const int64_t *frames, size_t count,
                     double seconds, VideoHardware *hardware, bool *timed_out, VideoTake take,
                     void *context, Error *error) {
    (void)cache, (void)file, (void)frames, (void)count, (void)seconds, (void)take, (void)context;
    (void)hardware;
    *timed_out = false;
    return ffmpeg_needed(error);
}

ClipDecoder *clip_decoder_new(double seconds, FrameCache *cache) {
    (void)seconds, (void)cache;
    return memory_new(1, sizeof(ClipDecoder));
}

void clip_decoder_use(ClipDecoder *decoder, VideoHardware *hardware) {
    (void)decoder, (void)hardware;
}

void clip_decoder_free(ClipDecoder *decoder) {
    free(decoder);
}

bool clip_decoder_timed_out(const ClipDecoder *decoder) {
    (void)decoder;
    return false;
}

int clip_decode(uint8_t *clip, ClipDecoder *decoder, const VideoFile *file, const ClipDraw *draw,
                const ClipSpec *spec, Error *error) {
    (void)clip, (void)decoder, (void)file, (void)draw, (void)spec;
    return ffmpeg_needed(error);
}

int clip_decode_views(uint8_t *clip, uint8_t *locals, ClipDecoder *decoder, const VideoFile *file,
                      const ClipDraw *draw, const ClipSpec *spec, Error *error) {
    (void)clip, (void)locals, (void)decoder, (void)file, (void)draw, (void)spec;
    return ffmpeg_needed(error);
}

int clip_decode_values(float *clip, ClipDecoder *decoder, const VideoFile *file,
                       const ClipDraw *draw, const ClipSpec *spec, Error *error) {
    (void)clip, (void)decoder, (void)file, (void)draw, (void)spec;
    return ffmpeg_needed(error);
}

int clip_take(uint8_t *clip, float *values, size_t i, ClipDecoder *decoder,
              const struct AVFrame *frame, const VideoFile *file, const ClipDraw *draw,
              const ClipSpec *spec, Error *error) {
    (void)clip, (void)values, (void)i, (void)decoder, (void)frame, (void)file, (void)draw;
    (void)spec;
    return ffmpeg_needed(error);
}

int clip_frame_rgb(uint8_t **rgb, int *width, int *height, const struct AVFrame *frame,
                   int rotation, Error *error) {
    (void)frame, (void)rotation;
    *rgb = NULL;
    *width = *height = 0;
    return ffmpeg_needed(error);
}

int clip_frame_native(uint8_t **planes, size_t *bytes, const char **format,
                      const struct AVFrame *frame, Error *error) {
    (void)frame;
    *planes = NULL;
    *bytes = 0;
    *format = "none";
    return ffmpeg_needed(error);
}

/* ---- writing ---- */

VideoWriterSpec video_writer_plain(int width, int height, VideoFraction rate) {
    return (VideoWriterSpec){.width = width, .height = height, .rate = rate};
}

int video_writer_open_spec(VideoWriter **writer, const char *path, const VideoWriterSpec *spec,
                           Error *error) {
    (void)path, (void)spec;
    *writer = NULL;
    return ffmpeg_needed(error);
}

int video_writer_open_with(VideoWriter **writer, const char *path, int width, int height, int fps,
                           const char *encoder, Error *error) {
    (void)path, (void)width, (void)height, (void)fps, (void)encoder;
    *writer = NULL;
    return ffmpeg_needed(error);
}

int video_writer_open(VideoWriter **writer, const char *path, int width, int height, int fps,
                      Error *error) {
    return video_writer_open_with(writer, path, width, height, fps, NULL, error);
}

int video_writer_open_intra(VideoWriter **writer, const char *path, int width, int height, int fps,
                            Error *error) {
    return video_writer_open_with(writer, path, width, height, fps, NULL, error);
}

struct AVFrame *video_writer_picture(VideoWriter *writer, Error *error) {
    (void)writer;
    ffmpeg_needed(error);
    return NULL;
}

int video_writer_put(VideoWriter *writer, int64_t pts, Error *error) {
    (void)writer, (void)pts;
    return ffmpeg_needed(error);
}

int video_writer_frame(VideoWriter *writer, const uint8_t *rgb, Error *error) {
    (void)writer, (void)rgb;
    return ffmpeg_needed(error);
}

int video_writer_close(VideoWriter *writer, Error *error) {
    (void)writer;
    return ffmpeg_needed(error);
}

void video_writer_abandon(VideoWriter *writer) {
    (void)writer;
}

const char *video_writer_codec(void) {
    return "none";
}

const char *video_writer_codec_of(const char *path) {
    (void)path;
    return "none";
}

int transcode_video(TranscodeResult *result, const char *to, const VideoFile *from,
                    const TranscodeSettings *settings, Error *error) {
    (void)to, (void)from, (void)settings;
    memset(result, 0, sizeof *result);
    return ffmpeg_needed(error);
}
