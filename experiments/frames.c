/* jepa frames: exactly the frames asked for, as PNG or as raw planes. This is how decoding is
 * checked against other tools. */
#include "base/file.h"
#include "eval/png.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "video/clip.h"
#include "video/decode.h"
#include "video/ffmpeg.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDICES_MAX 1000000

typedef struct FramesArguments {
    const char *file, *indices, *times, *out, *format;
    bool raw;
} FramesArguments;

typedef struct FrameList {
    int64_t *frames;
    size_t count;
} FrameList;

static int add_frame(FrameList *list, int64_t frame, Error *error) {
    if (list->count >= INDICES_MAX)
        return error_set(error, ERROR_USAGE, "more than %d frames", INDICES_MAX);
    list->frames = memory_grow(list->frames, list->count + 1, sizeof *list->frames);
    list->frames[list->count++] = frame;
    return 0;
}

/* "0,7,30" and "3-9", any order; numbers out of reach are named. Sorted, each once. */
static int parse_indices(FrameList *list, const char *text, int64_t available, Error *error) {
    const char *at = text;
    while (*at) {
        char *end;
        int64_t first = strtoll(at, &end, 10), last = first;
        if (end == at || first < 0)
            return error_set(error, ERROR_USAGE, "--indices %s: expected numbers like 0,7,30-35",
                             text);
        if (*end == '-') {
            at = end + 1;
            last = strtoll(at, &end, 10);
            if (end == at || last < first)
                return error_set(error, ERROR_USAGE,
                                 "--indices %s: expected numbers like 0,7,30-35", text);
        }
        if (*end && *end != ',')
            return error_set(error, ERROR_USAGE, "--indices %s: expected numbers like 0,7,30-35",
                             text);
        if (last >= available)
            return error_set(error, ERROR_USAGE,
                             "frame %" PRId64 ": the video has %" PRId64 " frames, 0 to %" PRId64,
                             last, available, available - 1);
        for (; first <= last; first++)
            if (add_frame(list, first, error))
                return -1;
        at = *end ? end + 1 : end;
    }
    return list->count ? 0 : error_set(error, ERROR_USAGE, "--indices is empty");
}

/* "0,1.5,2": seconds from the first frame; each means the frame that is shown then. */
static int parse_times(FrameList *list, const char *text, const VideoFile *file, Error *error) {
    const char *at = text;
    while (*at) {
        char *end;
        double seconds = strtod(at, &end);
        if (end == at || !(seconds >= 0) || (*end && *end != ','))
            return error_set(error, ERROR_USAGE, "--times %s: expected seconds like 0,1.5,2", text);
        if (seconds >= file->duration + 1e-6)
            return error_set(error, ERROR_USAGE, "%g s: the video lasts %g seconds", seconds,
                             file->duration);
        if (add_frame(list, video_file_frame_at(file, seconds), error))
            return -1;
        at = *end ? end + 1 : end;
    }
    return list->count ? 0 : error_set(error, ERROR_USAGE, "--times is empty");
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

typedef struct Take {
    const FramesArguments *arguments;
    const VideoFile *file;
    const FrameList *list;
} Take;

static int take_frame(void *context, size_t i, const struct AVFrame *frame, Error *error) {
    const Take *take = context;
    const FramesArguments *a = take->arguments;
    int64_t number = take->list->frames[i];
    int native = a->raw && !strcmp(a->format, "native"), result;
    char *path;
    if (native) {
        const char *name;
        uint8_t *planes;
        size_t bytes;
        result = clip_frame_native(&planes, &bytes, &name, frame, error);
        path = memory_text("%s/frame_%06" PRId64 ".%s.raw", a->out, number, name);
        if (!result)
            result = file_write(path, planes, bytes, error);
        free(planes);
    } else {
        int width, height;
        uint8_t *rgb = NULL;
        result = clip_frame_rgb(&rgb, &width, &height, frame, a->raw ? 0 : take->file->rotation,
                                error);
        path = memory_text("%s/frame_%06" PRId64 "%s", a->out, number,
                           a->raw ? ".rgb24.raw" : ".png");
        if (!result && a->raw)
            result = file_write(path, rgb, (size_t)width * (size_t)height * 3, error);
        else if (!result)
            result = png_write(path, &(Canvas){.width = width, .height = height, .rgb = rgb},
                               error);
        free(rgb);
    }
    if (!result)
        printf("%s\n", path);
    free(path);
    return result;
}

static int write_frames(const FramesArguments *a, Error *error) {
    VideoFile file = {0};
    FrameList list = {0};
    VideoReader *reader = NULL;
    ffmpeg_quiet();
    video_file_scan(&file, a->file, NULL);
    file.name = memory_text("%s", a->file);
    int result = 0;
    if (file.reason)
        result = error_set(error, ERROR_RUN, "%s: %s", a->file, file.reason);
    if (!result && a->indices)
        result = parse_indices(&list, a->indices, file.frames, error);
    if (!result && a->times)
        result = parse_times(&list, a->times, &file, error);
    if (!result) {
        qsort(list.frames, list.count, sizeof *list.frames, ascending);
        size_t kept = 1;
        for (size_t i = 1; i < list.count; i++)
            if (list.frames[i] != list.frames[kept - 1])
                list.frames[kept++] = list.frames[i];
        list.count = kept;
        result = folder_make(a->out, error);
    }
    if (!result)
        result = video_reader_open(&reader, &file, 0, error);
    if (!result) {
        Take take = {a, &file, &list};
        result = video_reader_frames(reader, list.frames, list.count, take_frame, &take, error);
    }
    video_reader_close(reader);
    free(list.frames);
    video_file_free(&file);
    return result;
}

int command_frames(int argc, char **argv) {
    const CommandHelp help = {
        "jepa frames FILE --indices 0,7,30 | --times 0,1.5 --out DIR [--raw --pix-fmt "
        "native|rgb24]",
        "Writes exactly those decoded frames (0 is the first): PNG, upright, or with --raw the "
        "planes "
        "in one file a frame, unrotated; native keeps the stream's own pixel format, byte for byte "
        "what "
        "ffmpeg -noautorotate -f rawvideo writes."};
    FramesArguments a = {.format = "native"};
    const Option options[] = {
        {"indices", "LIST", "frame numbers and ranges: 0,7,30-35", OPTION_TEXT, &a.indices},
        {"times", "LIST", "seconds from the first frame: 0,1.5,2; the frame shown then",
         OPTION_TEXT, &a.times},
        {"out", "DIR", "folder for the pictures", OPTION_TEXT, &a.out},
        {"raw", NULL, "raw planes instead of PNG", OPTION_FLAG, &a.raw},
        {"pix-fmt", "FORMAT", "with --raw: native (default) or rgb24", OPTION_TEXT, &a.format},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count != 1)
            error_set(&error, ERROR_USAGE, "expected one video file; see jepa frames --help");
        else if ((!a.indices && !a.times) || !a.out)
            error_set(&error, ERROR_USAGE, "--indices or --times, and --out are needed");
        else if (strcmp(a.format, "native") && strcmp(a.format, "rgb24"))
            error_set(&error, ERROR_USAGE, "--pix-fmt %s: expected native or rgb24", a.format);
        else {
            a.file = rest.items[0];
            write_frames(&a, &error);
        }
    }
    if (error.code)
        fprintf(stderr, "jepa frames: %s\n", error.text);
    free(rest.items);
    return error.code;
}
