/* jepa transcode: videos made small and quick to read for training. */
#include "base/file.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "kernels/device.h"
#include "video/prepare.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct TranscodeArguments {
    const char *out, *hdr;
    double fps, timeout;
    int64_t short_side, gop, crf, threads;
} TranscodeArguments;

static int transcode(const TranscodeArguments *a, const char *source, Error *error) {
    int threads = a->threads ? (int)a->threads : device_threads_available();
    /* every frame is decoded below: packets suffice to know what there is */
    IndexSettings settings = {.sources = {source},
                              .sources_count = 1,
                              .threads = threads,
                              .scan = {VIDEO_CHECK_PACKETS, a->timeout},
                              .kept_may_fail = true};
    TranscodeSettings wanted = {.short_side = (int)a->short_side,
                                .gop = (int)a->gop,
                                .crf = (int)a->crf,
                                .fps = a->fps,
                                .hdr = strcmp(a->hdr, "refuse") ? CLIP_HDR_TONEMAP
                                                                : CLIP_HDR_REFUSE,
                                .timeout = a->timeout};
    VideoIndex index;
    PrepareSummary sum;
    if (path_within(a->out, source)) /* they would be sources the next time */
        return error_set(error, ERROR_USAGE, "--out %s lies in the folder of the sources, %s",
                         a->out, source);
    char *cache = video_index_cache(settings.sources, 1, settings.scan.check);
    settings.kept = cache;
    int result = video_index_make(&index, &settings, error);
    free(cache);
    if (result)
        return -1;
    double started = time_now();
    result = prepare_videos(&sum, a->out, &index, &wanted, threads, error);
    video_index_free(&index);
    if (result)
        return -1;
    printf("videos           %zu: %zu transcoded, %zu there already, %zu left out\n", sum.videos,
           sum.done, sum.kept, sum.unusable);
    printf("size             %.1f MiB -> %.1f MiB, %.0f frames, %.1f s\n", sum.bytes / (1 << 20),
           sum.result_bytes / (1 << 20), sum.frames, time_now() - started);
    printf("record           %s/transcode.csv\n", a->out);
    if (!(sum.done + sum.kept))
        return error_set(error, ERROR_RUN, "not one video could be transcoded");
    return 0;
}

int command_transcode(int argc, char **argv) {
    const CommandHelp help = {
        "jepa transcode FOLDER|LIST.csv --out DIR [--short-side 256] [--gop 16]",
        "Makes videos small and quick to read for training: H.264 in MP4, upright, without sound, "
        "with many keyframes; folders, labels and time stamps are kept. What cannot be used is "
        "left "
        "out and named in DIR/transcode.csv. Killed, it goes on where it was."};
    TranscodeArguments a = {
        .short_side = 256, .gop = 16, .crf = 18, .hdr = "tonemap", .timeout = 3600};
    const Option options[] = {
        {"out", "DIR", "folder of the results", OPTION_TEXT, &a.out},
        {"short-side", "N", "pixels of the shorter side, at most (default 256)", OPTION_INTEGER,
         &a.short_side},
        {"gop", "N", "frames from keyframe to keyframe (default 16)", OPTION_INTEGER, &a.gop},
        {"crf", "N", "quality, 0 (lossless) to 51; default 18", OPTION_INTEGER, &a.crf},
        {"fps", "F", "bring to this rate; default: every frame at its own time", OPTION_NUMBER,
         &a.fps},
        {"hdr", "HOW", "tonemap (default) or refuse", OPTION_TEXT, &a.hdr},
        {"timeout", "SECONDS", "give a file up after this long (default 3600; 0: never)",
         OPTION_NUMBER, &a.timeout},
        {"threads", "N", "videos at a time; 0: all cores (default)", OPTION_INTEGER, &a.threads},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count != 1)
            error_set(&error, ERROR_USAGE,
                      "expected one folder or list; see jepa transcode --help");
        else if (!a.out)
            error_set(&error, ERROR_USAGE, "--out is missing: the folder of the results");
        else if (a.short_side < 16 || a.short_side > 4096)
            error_set(&error, ERROR_USAGE, "--short-side %" PRId64 ": expected 16 to 4096",
                      a.short_side);
        else if (a.gop < 1 || a.gop > 10000 || a.crf < 0 || a.crf > 51)
            error_set(&error, ERROR_USAGE, "--gop: expected 1 to 10000; --crf: 0 to 51");
        else if (!(a.fps >= 0 && a.fps <= 1000) || !(a.timeout >= 0))
            error_set(&error, ERROR_USAGE, "--fps: expected up to 1000; --timeout: 0 or more");
        else if (strcmp(a.hdr, "tonemap") && strcmp(a.hdr, "refuse"))
            error_set(&error, ERROR_USAGE, "--hdr %s: expected tonemap or refuse", a.hdr);
        else if (a.threads < 0 || a.threads > 4096)
            error_set(&error, ERROR_USAGE, "--threads: expected 0 or more");
        else
            transcode(&a, rest.items[0], &error);
    }
    if (error.code)
        fprintf(stderr, "jepa transcode: %s\n", error.text);
    free(rest.items);
    return error.code;
}
