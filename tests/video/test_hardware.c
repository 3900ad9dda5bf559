/* Decoding on a GPU: the same frames and clips, byte for byte, and software wherever the GPU does
 * not or fails. No GPU is needed: libavcodec's CUDA path runs on a stand-in for the driver
 * (tests/video/driver/driver.h), which hands out what software decoded before in the layout that
 * NVDEC has. That a real GPU decodes the same bits is what tests/gpu.sh shows. */
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "driver/driver.h"
#include "jepa/run.h"
#include "kernels/device.h"
#include "video/ffmpeg.h"
#include "video/input.h"
#include "video/loader.h"
#include "video/sampler.h"
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef DRIVER_FOLDER
#define DRIVER_FOLDER "" /* built without the stand-in */
#endif

#define FRAMES     40
#define FRAMES_MAX 64

typedef struct Fixture {
    char *folder;
    DriverState *driver; /* NULL: there is no stand-in */
    DriverLearn *learn;
    DriverForget *forget;
    int saved; /* stderr while it goes to a file, else 0 */
} Fixture;

static int setup(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    f->folder = memory_text("/tmp/jepa_hardware_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    Error error = {0};
    if (f->forget)
        f->forget();
    assert_int_equal(folder_remove(f->folder, &error), 0);
    free(f->folder);
    free(f);
    return 0;
}

/* Once loaded, the libraries are what FFmpeg finds under their names. They stay. */
static void need_driver(Fixture *f) {
    if (!f->driver && *DRIVER_FOLDER) {
        void *cuda = dlopen(DRIVER_FOLDER "/libcuda.so.1", RTLD_NOW);
        void *cuvid = dlopen(DRIVER_FOLDER "/libnvcuvid.so.1", RTLD_NOW);
        if (!cuda || !cuvid)
            fail_msg("%s", dlerror());
        f->driver = ((DriverStateOf *)dlsym(cuda, "driver_state"))();
        f->learn = (DriverLearn *)dlsym(cuvid, "driver_learn");
        f->forget = (DriverForget *)dlsym(cuvid, "driver_forget");
    }
    if (!f->driver) {
        print_message("no stand-in for the driver here: skipped\n");
        skip();
    }
    *f->driver = (DriverState){.devices = 1};
    f->forget();
}

static VideoHardware *open_hardware(void) {
    VideoHardware *hardware;
    Error error = {0};
    if (video_hardware_open(&hardware, NULL, &error))
        fail_msg("%s", error.text);
    return hardware;
}

/* Closes it and looks whether all went back to the driver. */
static VideoHardwareStats close_hardware(VideoHardware *hardware, const Fixture *f) {
    VideoHardwareStats stats = video_hardware_stats(hardware);
    video_hardware_close(hardware);
    assert_int_equal(f->driver->live, 0);
    assert_int_equal(f->driver->mapped_now, 0);
    assert_int_equal(f->driver->memory, 0);
    assert_int_equal(f->driver->contexts, 0);
    return stats;
}

/* ---- videos ---- */

#define X264 "-c:v libx264 -g 12 -bf 3 -preset veryfast -crf 20 -pix_fmt "
#define X265 "-c:v libx265 -x265-params log-level=none:keyint=12:pools=none -pix_fmt "
#define VP9                                                                                        \
    "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -auto-alt-ref 0 -g 12 -b:v "  \
    "1M"
#define AV1 "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -g 12 -b:v 1M"

/* Name, width and height, encoder. */
static const char *const videos[][3] = {
    {"h264.mp4", "176:144", X264 "yuv420p"},
    {"cropped.mp4", "170:130", X264 "yuv420p -colorspace bt709 -color_primaries bt709"},
    {"left.mp4", "192:160", X264 "yuv420p -x264-params crop-rect=20,6,4,2"},
    {"full.mkv", "176:144", X264 "yuvj420p"},
    {"h264.ts", "176:144", X264 "yuv420p"},
    {"hevc.mp4", "170:130", X265 "yuv420p"},
    {"hevc10.mp4", "170:130", X265 "yuv420p10le"},
    {"vp9.webm", "176:144", VP9 " -pix_fmt yuv420p"},
    {"av1.mkv", "176:144", AV1 " -pix_fmt yuv420p"},
    /* and what the GPU must not or cannot decode */
    {"422.mp4", "176:144", X264 "yuv422p"},
    {"ten.mp4", "176:144", X264 "yuv420p10le"},
    {"grey.mp4", "176:144", X264 "gray"}, /* libavcodec calls it yuv420p */
    {"odd.webm", "175:143", VP9 " -pix_fmt yuv420p"},
    {"mpeg4.mp4", "176:144", "-c:v mpeg4 -q:v 3"},
    {"grain.mkv", "176:144", AV1 " -pix_fmt yuv420p -aom-params film-grain-test=1"},
};
#define VIDEOS   (sizeof videos / sizeof *videos)
#define FOR_GPUS 9 /* the first ones */

/* The path of a video, which is made when it is first asked for, of noise, so that every packet has
 * bytes of its own. */
static char *video(const Fixture *f, const char *name) {
    size_t v = 0;
    while (v < VIDEOS && strcmp(videos[v][0], name))
        v++;
    assert_true(v < VIDEOS);
    char *path = path_join(f->folder, name);
    if (file_exists(path))
        return path;
    char *command = memory_text("ffmpeg -v error -nostdin -f lavfi -i testsrc2=size=192x160 "
                                "-vf scale=%s,noise=alls=30:allf=t -frames:v %d -threads 1 %s %s",
                                videos[v][1], FRAMES, videos[v][2], path);
    if (system(command))
        fail_msg("%s", command);
    free(command);
    return path;
}

/* Tells the driver what comes out of which packet: whole coded pictures. */
static void teach(const Fixture *f, const char *path) {
    AVFormatContext *format = NULL;
    assert_int_equal(avformat_open_input(&format, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(format, NULL) >= 0);
    const AVCodecParameters *about = format->streams[0]->codecpar;
    const AVCodec *codec = avcodec_find_decoder(about->codec_id);
    AVCodecContext *decoder = avcodec_alloc_context3(codec);
    assert_int_equal(avcodec_parameters_to_context(decoder, about), 0);
    decoder->thread_count = 1;
    decoder->apply_cropping = 0;
    assert_int_equal(avcodec_open2(decoder, codec, NULL), 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    uint8_t keys[FRAMES_MAX][DRIVER_KEY];
    int64_t pts[FRAMES_MAX];
    int packets = 0, frames = 0;
    for (bool more = true; more;) {
        more = av_read_frame(format, packet) >= 0;
        if (more) {
            assert_true(packets < FRAMES_MAX && packet->size > 2 * DRIVER_KEY);
            pts[packets] = packet->pts;
            memcpy(keys[packets++], packet->data + packet->size - DRIVER_KEY, DRIVER_KEY);
        }
        assert_int_equal(avcodec_send_packet(decoder, more ? packet : NULL), 0);
        av_packet_unref(packet);
        while (avcodec_receive_frame(decoder, frame) >= 0) {
            const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
            int at = 0;
            while (at < packets && pts[at] != frame->pts)
                at++;
            assert_true(at < packets);
            f->learn(keys[at], frame->width, frame->height, d->comp[0].depth,
                     (const uint8_t *const *)frame->data, frame->linesize);
            frames++;
        }
    }
    assert_int_equal(frames, FRAMES);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&decoder);
    avformat_close_input(&format);
}

static VideoFile scan(const char *path) {
    VideoFile file = {0};
    video_file_scan(&file, path, NULL);
    if (file.reason)
        fail_msg("%s: %s", path, file.reason);
    assert_int_equal(file.frames, FRAMES);
    assert_true(file.timed);
    return file;
}

/* Pixels and all that is told of them. */
static Hash frame_hash(const AVFrame *frame) {
    const int64_t told[] = {frame->format,
                            frame->width,
                            frame->height,
                            frame->colorspace,
                            frame->color_range,
                            frame->color_trc,
                            frame->color_primaries,
                            frame->chroma_location,
                            frame->best_effort_timestamp,
                            frame->pts,
                            frame->pict_type,
                            video_frame_is_key(frame),
                            frame->sample_aspect_ratio.num,
                            frame->sample_aspect_ratio.den};
    enum AVPixelFormat format = (enum AVPixelFormat)frame->format;
    int bytes = av_image_get_buffer_size(format, frame->width, frame->height, 1);
    assert_true(bytes > 0);
    uint8_t *buffer = memory_new((size_t)bytes, 1);
    av_image_copy_to_buffer(buffer, bytes, (const uint8_t *const *)frame->data, frame->linesize,
                            format, frame->width, frame->height, 1);
    HashState state;
    hash_start(&state);
    hash_add(&state, told, sizeof told);
    hash_add(&state, buffer, (size_t)bytes);
    free(buffer);
    return hash_end(&state);
}

typedef struct Taken {
    Hash hashes[FRAMES_MAX];
    size_t count;
} Taken;

static int take(void *context, size_t i, const AVFrame *frame, Error *error) {
    Taken *taken = context;
    (void)error;
    taken->hashes[i] = frame_hash(frame);
    taken->count++; /* each once */
    return 0;
}

static Taken read_on(VideoHardware *hardware, const VideoFile *file, const int64_t *frames,
                     size_t count) {
    VideoReader *reader;
    Error error = {0};
    Taken taken = {.count = 0};
    if (video_reader_open_on(&reader, file, 0, hardware, &error) ||
        video_reader_frames(reader, frames, count, take, &taken, &error))
        fail_msg("%s", error.text);
    video_reader_close(reader);
    assert_int_equal(taken.count, count);
    return taken;
}

static void check_same(VideoHardware *hardware, const VideoFile *file, const int64_t *frames,
                       size_t count) {
    Taken here = read_on(NULL, file, frames, count), there = read_on(hardware, file, frames, count);
    for (size_t i = 0; i < count; i++)
        if (!hash_same(&here.hashes[i], &there.hashes[i]))
            fail_msg("%s: frame %lld is another", file->path, (long long)frames[i]);
}

/* All frames, and clips from anywhere in any order. */
#define READINGS 11
#define CLIP     6
static void check_video(VideoHardware *hardware, const VideoFile *file) {
    int64_t frames[FRAMES];
    for (int i = 0; i < FRAMES; i++)
        frames[i] = i;
    check_same(hardware, file, frames, FRAMES);
    for (uint64_t t = 1; t < READINGS; t++) {
        Random random = random_at(5, RANDOM_TEST, t, 0);
        int64_t clip[CLIP], step = 1 + (int64_t)random_below(&random, 3);
        int64_t first = (int64_t)random_below(&random, (uint64_t)(FRAMES - CLIP * step));
        for (int i = 0; i < CLIP; i++)
            clip[t % 2 ? i : CLIP - 1 - i] = first + i * step;
        check_same(hardware, file, clip, CLIP);
    }
}

/* ---- tests ---- */

static void test_without_driver(void **state) {
    (void)state;
    VideoHardware *hardware;
    Error error = {0};
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY);
    if (driver) {
        dlclose(driver);
        print_message("this machine has a driver: skipped\n");
        skip();
    }
    assert_int_equal(video_hardware_open(&hardware, "cuda:0", &error), -1);
    assert_null(hardware);
    assert_int_equal(error.code, ERROR_RUN);
    assert_non_null(strstr(error.text, "FFmpeg"));
    assert_null(strchr(error.text, '\n'));
    video_hardware_close(NULL);
}

static void test_recipe(void **state) {
    (void)state;
    Recipe recipe;
    Error error = {0};
    recipe_default(&recipe);
    assert_int_equal(recipe.data.decoder, VIDEO_DECODER_CPU);
    assert_int_equal(recipe_set(&recipe, "data.decoder=vulkan", &error), -1);
    assert_non_null(strstr(error.text, "cuda"));
    assert_int_equal(recipe_set(&recipe, "data.decoder=cuda", &error), 0);
    assert_int_equal(recipe.data.decoder, VIDEO_DECODER_CUDA);
    assert_int_equal(recipe_set(&recipe, "data.index_check=decode", &error), 0);
    assert_int_equal(recipe_check_data(&recipe, &error), 0);
    assert_int_equal(recipe_set(&recipe, "data.index_check=packets", &error), 0);
    assert_int_equal(recipe_check_data(&recipe, &error), -1);
    assert_non_null(strstr(error.text, "data.index_check: decode"));
    char *text = recipe_text(&recipe);
    assert_non_null(strstr(text, "decoder: cuda"));
    free(text);
    recipe_free(&recipe);
}

/* What is said from here on goes into a file. */
static void hear(Fixture *f) {
    char *path = path_join(f->folder, "said");
    fflush(stderr);
    f->saved = dup(STDERR_FILENO);
    assert_non_null(freopen(path, "w", stderr));
    free(path);
}

/* All of it. Caller frees. */
static char *heard(Fixture *f) {
    char *path = path_join(f->folder, "said");
    uint8_t *text = NULL;
    size_t bytes;
    Error error = {0};
    fflush(stderr);
    dup2(f->saved, STDERR_FILENO);
    close(f->saved);
    f->saved = 0;
    assert_int_equal(file_read(&text, &bytes, path, 1 << 20, &error), 0);
    free(path);
    char *copy = memory_text("%.*s", (int)bytes, (const char *)text);
    free(text);
    return copy;
}

/* A test that failed meanwhile: what it said, too. */
static int after(void **state) {
    Fixture *f = *state;
    if (f->saved) {
        char *text = heard(f);
        fputs(text, stderr);
        free(text);
    }
    return 0;
}

static int times(const char *text, const char *word) {
    int count = 0;
    for (; (text = strstr(text, word)); text++)
        count++;
    return count;
}

/* A recipe that asks for a GPU where there is none: one line, and no hardware. */
static void test_no_gpu(void **state) {
    Fixture *f = *state;
    need_driver(f);
    Device *device;
    Recipe recipe;
    Error error = {0};
    recipe_default(&recipe);
    assert_int_equal(device_open(&device, "cpu", 1, &error), 0);
    assert_null(run_hardware_open(&recipe, device)); /* nor is it asked for */
    assert_int_equal(recipe_set(&recipe, "data.decoder=cuda", &error), 0);
    f->driver->devices = 0;
    hear(f);
    VideoHardware *hardware = run_hardware_open(&recipe, device);
    char *text = heard(f);
    assert_null(hardware);
    assert_int_equal(times(text, "\n"), 1);
    assert_non_null(strstr(text, "data.decoder: cuda: FFmpeg"));
    assert_non_null(strstr(text, "decoded on the CPU"));
    free(text);
    f->driver->devices = 1;
    assert_int_equal(video_hardware_open(&hardware, "cuda:1", &error), -1);
    assert_non_null(strstr(error.text, "number 1"));
    hear(f);
    hardware = run_hardware_open(&recipe, device);
    assert_non_null(hardware);
    run_hardware_close(hardware);
    text = heard(f);
    assert_int_equal(times(text, "\n"), 1); /* how many readings */
    free(text);
    assert_int_equal(f->driver->contexts, 0);
    device_close(device);
    recipe_free(&recipe);
}

static void test_same_frames(void **state) {
    Fixture *f = *state;
    for (size_t v = 0; v < FOR_GPUS; v++) {
        need_driver(f);
        char *path = video(f, videos[v][0]);
        teach(f, path);
        VideoFile file = scan(path);
        VideoHardware *hardware = open_hardware();
        check_video(hardware, &file);
        assert_true(f->driver->decoded >= FRAMES);
        VideoHardwareStats stats = close_hardware(hardware, f);
        if (stats.cpu || stats.failed || stats.gpu < READINGS)
            fail_msg("%s: %d readings on the GPU, %d on the CPU", path, (int)stats.gpu,
                     (int)stats.cpu);
        /* only what was wanted is fetched: two planes each */
        assert_int_equal(f->driver->copied, 2 * (FRAMES + CLIP * (READINGS - 1)));
        video_file_free(&file);
        free(path);
    }
}

static void test_other_streams(void **state) {
    Fixture *f = *state;
    need_driver(f);
    VideoHardware *hardware = open_hardware();
    for (size_t v = FOR_GPUS; v < VIDEOS; v++) {
        char *path = video(f, videos[v][0]);
        if (!strcmp(videos[v][0], "grain.mkv")) { /* found out when a frame is there */
            assert_int_equal(f->driver->decoded, 0);
            assert_int_equal(video_hardware_stats(hardware).failed, 0);
            teach(f, path);
        }
        VideoFile file = scan(path);
        check_video(hardware, &file);
        video_file_free(&file);
        free(path);
    }
    assert_true(f->driver->decoded > 0);
    assert_int_equal(f->driver->copied, 0);
    VideoHardwareStats stats = close_hardware(hardware, f);
    assert_int_equal(stats.gpu, 0);
    assert_int_equal(stats.failed, READINGS);
}

/* A driver that takes no stream. AV1's decoder of libavcodec has no software: another one must do
 * it. Each codec is spoken of once. */
static void test_refusal(void **state) {
    Fixture *f = *state;
    need_driver(f);
    char *paths[] = {video(f, "h264.mp4"), video(f, "av1.mkv")};
    f->driver->refuses = true;
    hear(f);
    VideoHardware *hardware = open_hardware();
    for (int i = 0; i < 2; i++) {
        VideoFile file = scan(paths[i]);
        check_video(hardware, &file);
        video_file_free(&file);
        free(paths[i]);
    }
    VideoHardwareStats stats = close_hardware(hardware, f);
    char *text = heard(f);
    assert_int_equal(stats.gpu, 0);
    assert_int_equal(times(text, "h264"), 1);
    assert_int_equal(times(text, "av1"), 1);
    assert_int_equal(times(text, "\n"), 2);
    free(text);
}

/* The n-th call to the driver fails: software gives the rest, and no frame comes twice. */
static void test_failures(void **state) {
    Fixture *f = *state;
    need_driver(f);
    const char *names[] = {"h264.mp4", "hevc10.mp4"};
    for (int codec = 0; codec < 2; codec++) {
        char *path = video(f, names[codec]);
        teach(f, path);
        VideoFile file = scan(path);
        const int64_t clip[CLIP] = {13, 14, 16, 19, 23, 26};
        for (int kind = 0; kind < 3; kind++)
            for (long n = 1; n <= 9; n += 4) {
                VideoHardware *hardware = open_hardware();
                f->driver->fail_decode = kind == 0 ? n : 0;
                f->driver->fail_map = kind == 1 ? n : 0;
                f->driver->fail_copy = kind == 2 ? n : 0; /* which libavutil does not tell */
                hear(f);
                check_same(hardware, &file, clip, CLIP);
                char *text = heard(f);
                assert_int_equal(times(text, "\n"), 1);
                assert_non_null(strstr(text, path));
                free(text);
                assert_int_equal(
                    f->driver->fail_decode + f->driver->fail_map + f->driver->fail_copy, 0);
                VideoHardwareStats stats = close_hardware(hardware, f);
                assert_int_equal(stats.failed, 1);
                assert_int_equal(stats.cpu, 1);
                assert_int_equal(stats.gpu, 0);
            }
        video_file_free(&file);
        free(path);
    }
}

/* No more decoders than there are places; the others find software. */
static void test_places(void **state) {
    Fixture *f = *state;
    need_driver(f);
    char *path = video(f, "h264.mp4");
    teach(f, path);
    VideoFile file = scan(path);
    VideoHardware *hardware = open_hardware();
    VideoReader *readers[HARDWARE_DECODERS + 2];
    Error error = {0};
    const int64_t frame = 5;
    Taken here = read_on(NULL, &file, &frame, 1);
    for (int i = 0; i < HARDWARE_DECODERS + 2; i++) {
        Taken there = {.count = 0};
        assert_int_equal(video_reader_open_on(&readers[i], &file, 0, hardware, &error), 0);
        assert_int_equal(video_reader_frames(readers[i], &frame, 1, take, &there, &error), 0);
        assert_true(hash_same(&here.hashes[0], &there.hashes[0]));
    }
    assert_int_equal(f->driver->most, HARDWARE_DECODERS);
    for (int i = 0; i < HARDWARE_DECODERS + 2; i++)
        video_reader_close(readers[i]);
    VideoHardwareStats stats = video_hardware_stats(hardware);
    assert_int_equal(stats.gpu, HARDWARE_DECODERS);
    assert_int_equal(stats.full, 2);
    /* large pictures: as many as their surfaces may take */
    AVCodecParameters *about = avcodec_parameters_alloc();
    HardwarePlace *places[3];
    about->codec_id = AV_CODEC_ID_HEVC;
    about->width = 3840;
    about->height = 2160;
    for (int i = 0; i < 3; i++)
        places[i] = hardware_place_take(hardware, about);
    assert_non_null(places[0]);
    assert_non_null(places[1]);
    assert_null(places[2]);
    hardware_place_give(places[0]);
    hardware_place_give(places[1]);
    about->width = about->height = 8192; /* alone too large */
    assert_null(hardware_place_take(hardware, about));
    avcodec_parameters_free(&about);
    close_hardware(hardware, f);
    video_file_free(&file);
    free(path);
}

/* ---- the loader ---- */

typedef struct Source {
    VideoIndex index;
    Sampler sampler;
    ClipSpec spec;
} Source;

static int draw(void *context, uint64_t job, int attempt, ClipDraw *drawn) {
    const Source *s = context;
    sampler_draw(&s->sampler, drawn, job / 8, 8, 8, job % 8, attempt);
    return 1;
}

static Hash load(Source *s, VideoHardware *hardware, FrameCache *cache, int threads) {
    LoaderConfig config = {.index = &s->index,
                           .spec = s->spec,
                           .source = {s, draw},
                           .jobs = 64,
                           .batch = 8,
                           .ring = 3,
                           .threads = threads,
                           .cache = cache,
                           .hardware = hardware};
    Loader *loader;
    Error error = {0};
    HashState state;
    if (loader_open(&loader, &config, &error))
        fail_msg("%s", error.text);
    hash_start(&state);
    size_t clip = (size_t)3 * (size_t)s->spec.frames * (size_t)s->spec.crop * (size_t)s->spec.crop;
    for (const LoaderBatch *batch; (batch = loader_next(loader, &error));)
        for (int b = 0; b < batch->count; b++) {
            assert_null(batch->slots[b].reason);
            hash_add(&state, batch->clips + (size_t)b * clip, clip);
        }
    loader_close(loader);
    assert_int_equal(error.code, 0);
    return hash_end(&state);
}

/* Clips of several codecs by several threads: the same whether the GPU decodes, with and without a
 * cache of frames, or fails now and then. */
static void test_loader(void **state) {
    Fixture *f = *state;
    need_driver(f);
    Source s = {
        .spec = {.frames = 4, .step = 2, .crop = 48, .scale = {0.3, 1}, .ratio = {0.75, 1.35}}};
    Error error = {0};
    const char *list = "cropped.mp4 0\nhevc10.mp4 0\nmpeg4.mp4 0\n";
    char *paths[] = {video(f, "cropped.mp4"), video(f, "hevc10.mp4"), video(f, "mpeg4.mp4")};
    char *listed = path_join(f->folder, "list.csv");
    teach(f, paths[0]);
    teach(f, paths[1]);
    assert_int_equal(file_write(listed, list, strlen(list), &error), 0);
    if (video_index_build(&s.index, listed, 2, &error))
        fail_msg("%s", error.text);
    SamplerSettings settings = {.clip = s.spec, .num_clips = 1, .seed = 7};
    assert_int_equal(sampler_new(&s.sampler, &s.index, &settings, &error), 0);
    Hash here = load(&s, NULL, NULL, 2);
    VideoHardware *hardware = open_hardware();
    Hash there = load(&s, hardware, NULL, 6);
    assert_true(hash_same(&here, &there));
    VideoHardwareStats stats = video_hardware_stats(hardware);
    assert_true(stats.gpu > 20);
    assert_int_equal(stats.gpu + stats.cpu, 64);
    FrameCache *cache;
    assert_int_equal(frame_cache_open(&cache, 64 << 20, NULL, &error), 0);
    for (int pass = 0; pass < 2; pass++) {
        there = load(&s, hardware, cache, 6);
        assert_true(hash_same(&here, &there));
    }
    frame_cache_close(cache);
    f->driver->fail_decode = 100;
    f->driver->fail_copy = 150;
    there = load(&s, hardware, NULL, 6);
    assert_true(hash_same(&here, &there));
    assert_int_equal(close_hardware(hardware, f).failed, 2);

    /* where only packets were looked at, a GPU would not tell damage */
    hardware = open_hardware();
    LoaderConfig config = {.index = &s.index,
                           .spec = s.spec,
                           .source = {&s, draw},
                           .jobs = 8,
                           .batch = 8,
                           .ring = 2,
                           .threads = 1,
                           .hardware = hardware};
    Loader *loader;
    s.index.check = VIDEO_CHECK_PACKETS;
    assert_int_equal(loader_open(&loader, &config, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "data.index_check: decode"));
    close_hardware(hardware, f);
    sampler_free(&s.sampler);
    video_index_free(&s.index);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
    free(listed);
}

int main(void) {
    ffmpeg_quiet();
#define TEST(name) cmocka_unit_test_teardown(name, after)
    const struct CMUnitTest tests[] = {
        TEST(test_without_driver), TEST(test_recipe),        TEST(test_no_gpu),
        TEST(test_same_frames),    TEST(test_other_streams), TEST(test_refusal),
        TEST(test_failures),       TEST(test_places),        TEST(test_loader),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
