/* jepa synth: a labelled data set of synthetic videos (video/synth.c says what is in it). */
#include "video/synth.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "video/encode.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VIDEOS_MAX  10000000
#define SIZE_MIN    32
#define SIZE_MAX_PX 2048
#define FRAMES_MAX  100000
#define FPS_MAX     240
#define THREADS_MAX 1024
#define CLIP_SPAN   32 /* frames: in so many there is a meeting or a passage in every video */

static int check_range(const char *name, int64_t value, int64_t low, int64_t high, Error *error) {
    if (value >= low && value <= high)
        return 0;
    return error_set(error, ERROR_USAGE, "--%s must be %lld to %lld, not %lld", name,
                     (long long)low, (long long)high, (long long)value);
}

static int failed(const Error *error) {
    fprintf(stderr, "jepa synth: %s\n", error->text);
    return error->code;
}

int command_synth(int argc, char **argv) {
    const char *out = NULL;
    int64_t videos = 0, seed = 0, size = 96, frames = 40, fps = 16;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t threads = cores < 1 ? 1 : cores > 64 ? 64 : cores;
    const Option options[] = {
        {"out", "DIR", "folder for the videos, new or empty", OPTION_TEXT, &out},
        {"videos", "N", "how many, spread evenly over the 8 classes", OPTION_INTEGER, &videos},
        {"seed", "S", "same seed, same bytes (default 0)", OPTION_INTEGER, &seed},
        {"size", "PIXELS", "height and width, even (default 96)", OPTION_INTEGER, &size},
        {"frames", "N", "frames in a video (default 40)", OPTION_INTEGER, &frames},
        {"fps", "N", "frames per second when played (default 16)", OPTION_INTEGER, &fps},
        {"threads", "N", "videos made at a time (default: one per core)", OPTION_INTEGER, &threads},
    };
    const CommandHelp help = {
        "jepa synth --out DIR --videos N [--seed S] [--size 96] [--frames 40] [--fps 16]"
        " [--threads N]",
        "Renders and encodes a labelled video data set in which no single frame gives the class "
        "away: two textured shapes move left or right, turn clockwise or counterclockwise, collide "
        "or pass, return from behind a pillar or vanish there while another comes out. Writes "
        "DIR/<class>/<class>_NNNNNN.mp4, DIR/videos.csv (\"path label\"), DIR/targets.csv (for "
        "jepa probe --task regression: file,x1,y1,vx1,vy1,x2,y2,vx2,vy2 of the upper and the lower "
        "object at the middle frame, in sides of the frame and sides per second) and "
        "DIR/states.msgpack (for every video: file, label, pillar, and for every object its looks "
        "and, frame by frame, x, y, angle, vx, vy, visible)."};
    Error error = {0};
    TextList rest = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    size_t extra = rest.count;
    const char *first_extra = extra ? rest.items[0] : "";
    free(rest.items);
    if (parsed > 0)
        return 0;
    if (parsed < 0)
        return failed(&error);
    if (extra)
        error_set(&error, ERROR_USAGE, "unexpected argument '%s'; the folder goes behind --out",
                  first_extra);
    else if (!out || !*out)
        error_set(&error, ERROR_USAGE, "--out DIR is missing: where should the videos go?");
    else if (videos == 0)
        error_set(&error, ERROR_USAGE, "--videos N is missing: how many videos, at least 1?");
    else if (check_range("videos", videos, 1, VIDEOS_MAX, &error) == 0 &&
             check_range("seed", seed, 0, INT64_MAX, &error) == 0 &&
             check_range("size", size, SIZE_MIN, SIZE_MAX_PX, &error) == 0 &&
             check_range("frames", frames, 1, FRAMES_MAX, &error) == 0 &&
             check_range("fps", fps, 1, FPS_MAX, &error) == 0 &&
             check_range("threads", threads, 1, THREADS_MAX, &error) == 0 && size % 2)
        error_set(&error, ERROR_USAGE, "--size must be even, not %lld (4:2:0 halves it)",
                  (long long)size);
    if (error.code)
        return failed(&error);
    if (frames < CLIP_SPAN)
        log_warn("with fewer than %d frames some videos end before their shapes have met or passed "
                 "the pillar",
                 CLIP_SPAN);

    SynthSpec spec = {.videos = (int)videos,
                      .seed = (uint64_t)seed,
                      .size = (int)size,
                      .frames = (int)frames,
                      .fps = (int)fps,
                      .threads = (int)threads};
    double started = time_now();
    if (synth_write(out, &spec, &error))
        return failed(&error);
    printf("%lld videos of %lldx%lld, %lld frames, in %d classes, encoded by %s, %.1f s: %s\n",
           (long long)videos, (long long)size, (long long)size, (long long)frames, synth_classes(),
           video_writer_codec(), time_now() - started, out);
    return 0;
}
