/* video_bench: clips per second of the loader and of a naive one, on the same draws.
 *
 *   video_bench loader FOLDER CLIPS THREADS [SEED]   this project's loader
 *   video_bench naive  FOLDER CLIPS THREADS [SEED]   open, probe, count packets, seek, decode all,
 *                                                    whole frames to RGB24, crop and scale in float
 *   video_bench hash   FOLDER CLIPS THREADS [SEED]   BLAKE2b-256 of the loader's clips
 *   video_bench difference FOLDER CLIPS 1 [SEED]     fast pictures against the published way's
 *   video_bench million PATH N 1                     writes an index of N invented videos to PATH
 *                                                    and says how long opening it takes
 *   video_bench draws  FOLDER CLIPS 1 [SEED]         the draws as lines for other programs:
 *                                                    path, top, left, height, width, frames ...
 *
 * loader and hash take --decoder cuda behind all else: the GPU decodes (video/hardware.h); that
 * there is none is an error. Clips are the published ones of ViT-L: 16 frames, step 4, random
 * resized crop to 224 x 224. The index is made before the clock starts. Prints clips, seconds,
 * clips a second, CPU seconds and the highest resident memory. */
#include "base/log.h"
#include "video/input.h"
#include "video/loader.h"
#include "video/sampler.h"
#include <inttypes.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define GROUP 8 /* slots of a batch */

typedef struct Bench {
    VideoIndex index;
    Sampler sampler;
    ClipSpec spec;
    uint64_t clips, next;
    pthread_mutex_t lock;
    VideoHardware *hardware; /* or NULL */
    HashState *hash;         /* or NULL */
    double checksum;
} Bench;

static int draw(void *context, uint64_t job, int attempt, ClipDraw *drawn) {
    const Bench *bench = context;
    sampler_draw(&bench->sampler, drawn, job / GROUP, GROUP, GROUP, job % GROUP, attempt);
    return 1;
}

static void run_loader(Bench *bench, int threads) {
    LoaderConfig config = {.index = &bench->index,
                           .spec = bench->spec,
                           .source = {bench, draw},
                           .jobs = bench->clips,
                           .batch = GROUP,
                           .ring = 3,
                           .threads = threads,
                           .hardware = bench->hardware};
    Loader *loader;
    Error error = {0};
    size_t clip = (size_t)3 * (size_t)bench->spec.frames * (size_t)bench->spec.crop *
                  (size_t)bench->spec.crop;
    JEPA_ASSERT(!loader_open(&loader, &config, &error));
    for (const LoaderBatch *batch; (batch = loader_next(loader, &error));) {
        bench->checksum += batch->clips[1000];
        if (bench->hash)
            hash_add(bench->hash, batch->clips, (size_t)batch->count * clip);
    }
    loader_close(loader);
}

/* ---- the naive loader ---- */

/* Crop, bilinear to side x side, as floats. */
static void resize_float(float *out, const uint8_t *rgb, int stride, const ClipDraw *d, int side) {
    for (int y = 0; y < side; y++) {
        double sy = d->top + (y + 0.5) * d->height / side - 0.5;
        int y0 = (int)sy < 0 ? 0 : (int)sy, y1 = y0 + 1 < d->top + d->height ? y0 + 1 : y0;
        float fy = (float)(sy - y0 < 0 ? 0 : sy - y0);
        for (int x = 0; x < side; x++) {
            double sx = d->left + (x + 0.5) * d->width / side - 0.5;
            int x0 = (int)sx < 0 ? 0 : (int)sx, x1 = x0 + 1 < d->left + d->width ? x0 + 1 : x0;
            float fx = (float)(sx - x0 < 0 ? 0 : sx - x0);
            for (int c = 0; c < 3; c++) {
                float a = rgb[y0 * stride + 3 * x0 + c], b = rgb[y0 * stride + 3 * x1 + c];
                float e = rgb[y1 * stride + 3 * x0 + c], f = rgb[y1 * stride + 3 * x1 + c];
                out[(c * side + y) * side + x] = (a + (b - a) * fx) * (1 - fy) +
                                                 (e + (f - e) * fx) * fy;
            }
        }
    }
}

static void naive_clip(const Bench *bench, const ClipDraw *d, float *out) {
    VideoFile file = video_index_file(&bench->index, d->file);
    VideoInput input;
    Error error = {0};
    if (video_input_open(&input, file.path, 0, &error))
        return;
    int64_t packets = 0;
    while (video_input_packet(&input, &error) == 1) { /* how many frames are there? */
        packets++;
        av_packet_unref(input.packet);
    }
    int64_t first = file.timed ? video_file_pts(&file, d->frames[0]) : 0;
    av_seek_frame(input.format, input.stream->index, first, AVSEEK_FLAG_BACKWARD);
    avcodec_flush_buffers(input.codec);
    struct SwsContext *scaler = NULL;
    uint8_t *rgb = NULL;
    int stride = 0, done = 0;
    while (done < d->count && video_input_next(&input, &error) == 1) {
        const AVFrame *f = input.frame;
        if (!file.timed || f->best_effort_timestamp < video_file_pts(&file, d->frames[done]))
            continue;
        if (!scaler) {
            scaler = sws_getContext(f->width, f->height, (enum AVPixelFormat)f->format, f->width,
                                    f->height, AV_PIX_FMT_RGB24, SWS_BILINEAR, NULL, NULL, NULL);
            stride = (3 * f->width + 63) / 64 * 64 + 64;
            rgb = memory_new((size_t)stride, (size_t)f->height + 1);
        }
        uint8_t *to[4] = {rgb};
        int lines[4] = {stride};
        sws_scale(scaler, (const uint8_t *const *)f->data, f->linesize, 0, f->height, to, lines);
        int64_t at = d->frames[done];
        for (; done < d->count && d->frames[done] == at; done++)
            resize_float(out + (size_t)done * 3 * 224 * 224, rgb, stride, d, 224);
    }
    sws_freeContext(scaler);
    free(rgb);
    video_input_close(&input);
}

static void *naive_work(void *argument) {
    Bench *bench = argument;
    float *clip = memory_new((size_t)16 * 3 * 224 * 224, sizeof *clip);
    for (;;) {
        pthread_mutex_lock(&bench->lock);
        uint64_t job = bench->next++;
        pthread_mutex_unlock(&bench->lock);
        if (job >= bench->clips)
            break;
        ClipDraw d;
        draw(bench, job, 0, &d);
        naive_clip(bench, &d, clip);
    }
    free(clip);
    return NULL;
}

static void run_naive(Bench *bench, int threads) {
    pthread_t workers[64];
    pthread_mutex_init(&bench->lock, NULL);
    for (int i = 0; i < threads; i++)
        JEPA_ASSERT(!pthread_create(&workers[i], NULL, naive_work, bench));
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i], NULL);
    pthread_mutex_destroy(&bench->lock);
}

/* Mean, largest and root mean square of fast minus published, in 255ths. */
static void print_difference(const Bench *bench) {
    size_t count = (size_t)3 * 16 * 224 * 224;
    uint8_t *pixels = memory_new(count, 1);
    float *values = memory_new(count, sizeof *values);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    double sum = 0, squares = 0, most = 0, seconds[2] = {0, 0};
    for (uint64_t job = 0; job < bench->clips; job++) {
        ClipDraw d;
        Error error = {0};
        draw((void *)(uintptr_t)bench, job, 0, &d);
        d.flip = false;
        VideoFile file = video_index_file(&bench->index, d.file);
        double started = time_now();
        JEPA_ASSERT(!clip_decode(pixels, decoder, &file, &d, &bench->spec, &error));
        double middle = time_now();
        JEPA_ASSERT(!clip_decode_values(values, decoder, &file, &d, &bench->spec, &error));
        seconds[0] += middle - started;
        seconds[1] += time_now() - middle;
        for (size_t i = 0; i < count; i++) {
            size_t c = i / (count / 3);
            double off = fabs((double)pixels[i] - ((double)values[i] * std[c] + mean[c]) * 255);
            sum += off;
            squares += off * off;
            most = fmax(most, off);
        }
    }
    double n = (double)count * (double)bench->clips;
    printf("%" PRIu64 " clips: mean %.2f, largest %.0f, PSNR %.1f dB; fast %.1f, published %.1f "
           "clips/s\n",
           bench->clips, sum / n, most, 10 * log10(255 * 255 / (squares / n)),
           (double)bench->clips / seconds[0], (double)bench->clips / seconds[1]);
    clip_decoder_free(decoder);
    free(pixels);
    free(values);
}

static void print_draws(const Bench *bench) {
    for (uint64_t job = 0; job < bench->clips; job++) {
        ClipDraw d;
        draw((void *)(uintptr_t)bench, job, 0, &d);
        printf("%s\t%d %d %d %d\t", video_index_file(&bench->index, d.file).path, d.top, d.left,
               d.height, d.width);
        for (int i = 0; i < d.count; i++)
            printf("%s%" PRId64, i ? " " : "", d.frames[i]);
        printf("\n");
    }
}

static int million(const char *path, size_t count) {
    VideoFile *files = memory_new(count, sizeof *files);
    const int64_t keys[3][4] = {{0, 60, 120, 180}, {0, 60, 120, 180}, {0, 60, 120, 180}};
    VideoIndex index;
    Error error = {0};
    for (size_t i = 0; i < count; i++) {
        files[i] = (VideoFile){.label = -1,
                               .width = 340,
                               .height = 256,
                               .fps = 30,
                               .frames = 300,
                               .duration = 10,
                               .bytes = 1000000,
                               .modified = (int64_t)i,
                               .packets = 300,
                               .timed = true,
                               .pts_step = 512,
                               .key_count = 4,
                               .time_base = {1, 15360},
                               .key_pts = keys[0],
                               .key_dts = keys[1],
                               .key_frame = keys[2],
                               .codec = "h264",
                               .container = "mov,mp4"};
        files[i].name = memory_text("class_%03zu/video_%09zu.mp4", i % 400, i);
        files[i].path = memory_text("/data/kinetics/train/%s", files[i].name);
    }
    JEPA_ASSERT(!video_index_of_files(&index, files, count, NULL, 0, &error) &&
                !video_index_save(&index, path, &error));
    video_index_free(&index);
    for (int i = 0; i < 3; i++) {
        double started = time_now();
        JEPA_ASSERT(!video_index_load(&index, path, &error));
        printf("%zu videos opened in %.3f s\n", index.usable, time_now() - started);
        video_index_free(&index);
    }
    return 0;
}

static void run_hash(Bench *bench, int threads) {
    HashState state;
    char text[HASH_TEXT];
    hash_start(&state);
    bench->hash = &state;
    run_loader(bench, threads);
    Hash hash = hash_end(&state);
    hash_text(text, &hash);
    printf("%s\n", text);
}

int main(int argc, char **argv) {
    bool cuda = argc > 2 && !strcmp(argv[argc - 2], "--decoder") && !strcmp(argv[argc - 1], "cuda");
    argc -= cuda ? 2 : 0;
    if (argc < 5 || argc > 6) {
        fprintf(stderr,
                "usage: video_bench loader|naive|hash|difference|draws FOLDER CLIPS THREADS "
                "[SEED] [--decoder cuda]\n");
        return 2;
    }
    if (!strcmp(argv[1], "million"))
        return million(argv[2], strtoull(argv[3], NULL, 10));
    Bench bench = {.clips = strtoull(argv[3], NULL, 10)};
    int threads = atoi(argv[4]);
    Error error = {0};
    IndexSettings settings = {.sources = {argv[2]}, .sources_count = 1, .threads = 2};
    char *cache = video_index_cache(settings.sources, 1, VIDEO_CHECK_DECODE);
    settings.kept = cache;
    settings.kept_may_fail = true;
    bench.spec = (ClipSpec){.frames = 16,
                            .step = 4,
                            .crop = 224,
                            .scale = {0.3, 1},
                            .ratio = {0.75, 1.35},
                            .flip = true};
    SamplerSettings sampling = {
        .clip = bench.spec, .num_clips = 1, .seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1};
    if (threads < 1 || threads > 64 || video_index_make(&bench.index, &settings, &error) ||
        sampler_new(&bench.sampler, &bench.index, &sampling, &error) ||
        (cuda && video_hardware_open(&bench.hardware, NULL, &error))) {
        fprintf(stderr, "video_bench: %s\n", error.text);
        return 1;
    }
    free(cache);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double started = time_now();
    if (!strcmp(argv[1], "draws"))
        print_draws(&bench);
    else if (!strcmp(argv[1], "difference"))
        print_difference(&bench);
    else if (!strcmp(argv[1], "naive"))
        run_naive(&bench, threads);
    else if (!strcmp(argv[1], "hash"))
        run_hash(&bench, threads);
    else
        run_loader(&bench, threads);
    double seconds = time_now() - started;
    getrusage(RUSAGE_SELF, &after);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
                 (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                 1e-6 * (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) +
                 1e-6 * (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec);
    if (!strcmp(argv[1], "loader") || !strcmp(argv[1], "naive"))
        printf("%s %" PRIu64 " clips %.2f s %.1f clips/s %.1f clips/cpu-s %.0f MiB\n", argv[1],
               bench.clips, seconds, (double)bench.clips / seconds, (double)bench.clips / cpu,
               (double)after.ru_maxrss / 1024);
    if (cuda) { /* apart from the rows */
        VideoHardwareStats s = video_hardware_stats(bench.hardware);
        fprintf(stderr,
                "on the GPU %" PRIu64 ", on the CPU %" PRIu64 " (no place %" PRIu64
                ", failed %" PRIu64 ")\n",
                s.gpu, s.cpu, s.full, s.failed);
        video_hardware_close(bench.hardware);
    }
    sampler_free(&bench.sampler);
    video_index_free(&bench.index);
    return 0;
}
