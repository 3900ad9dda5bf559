/* jepa synth: labelled data sets. Rendered (video/synth.c says what is in it), as temporal variants
 * of real videos (--from: video/variants.h), and as pairs of possible and impossible events
 * (--physics: video/physics.h). */
#include "video/synth.h"
#include "base/file.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "kernels/device.h"
#include "video/encode.h"
#include "video/physics.h"
#include "video/variants.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define VIDEOS_MAX  10000000
#define SIZE_MIN    32
#define SIZE_MAX_PX 2048
#define FRAMES_MAX  100000
#define FPS_MAX     240
#define THREADS_MAX 1024
#define CLIP_SPAN   32  /* frames: in so many there is a meeting or a passage in every video */
#define TIMEOUT     600 /* seconds to read one source */
#define NAMED_MAX   10  /* sources left out that are named on the terminal */

#define NOT_GIVEN INT64_MIN

typedef struct SynthArguments {
    const char *out, *from;
    bool physics;
    int64_t videos, per_source, pairs, seed, size, frames, fps, threads;
} SynthArguments;

/* `other` stands for an option that was not given. */
static int64_t given(int64_t value, int64_t other) {
    return value == NOT_GIVEN ? other : value;
}

static int check_range(const char *name, int64_t value, int64_t low, int64_t high, Error *error) {
    if (value >= low && value <= high)
        return 0;
    return error_set(error, ERROR_USAGE, "--%s must be %" PRId64 " to %" PRId64 ", not %" PRId64,
                     name, low, high, value);
}

static int check_even(const char *name, int64_t value, const char *why, Error *error) {
    if (value % 2 == 0)
        return 0;
    return error_set(error, ERROR_USAGE, "--%s must be even, not %" PRId64 " (%s)", name, value,
                     why);
}

static int check_absent(const char *name, int64_t value, const char *mode, Error *error) {
    if (value == NOT_GIVEN)
        return 0;
    return error_set(error, ERROR_USAGE, "--%s means nothing with %s", name, mode);
}

/* ---- rendered ---- */

static int render(const SynthArguments *a, Error *error) {
    int64_t size = given(a->size, 96), frames = given(a->frames, 40);
    if (a->videos == NOT_GIVEN)
        return error_set(error, ERROR_USAGE, "--videos N is missing: how many videos, at least 1?");
    if (check_absent("per-source", a->per_source, "rendered videos", error) ||
        check_absent("pairs", a->pairs, "--videos; add --physics", error) ||
        check_range("videos", a->videos, 1, VIDEOS_MAX, error) ||
        check_range("size", size, SIZE_MIN, SIZE_MAX_PX, error) ||
        check_even("size", size, "4:2:0 halves it", error) ||
        check_range("frames", frames, 1, FRAMES_MAX, error))
        return -1;
    if (frames < CLIP_SPAN)
        log_warn("with fewer than %d frames some videos end before their shapes have met or passed "
                 "the pillar",
                 CLIP_SPAN);
    SynthSpec spec = {.videos = (int)a->videos,
                      .seed = (uint64_t)a->seed,
                      .size = (int)size,
                      .frames = (int)frames,
                      .fps = (int)a->fps,
                      .threads = (int)a->threads};
    double started = time_now();
    if (synth_write(a->out, &spec, error))
        return -1;
    printf("%" PRId64 " videos of %" PRId64 "x%" PRId64 ", %" PRId64
           " frames, in %d classes, encoded by %s, %.1f s: %s\n",
           a->videos, size, size, frames, synth_classes(), video_writer_codec(),
           time_now() - started, a->out);
    return 0;
}

/* ---- temporal variants of real videos ---- */

/* The first lines of left_out.csv, for whoever does not open it. */
static void print_left_out(const char *out) {
    char *path = path_join(out, "left_out.csv"), *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");
    for (int i = 0; file && i <= NAMED_MAX && getline(&line, &room, file) > 0; i++)
        if (i) /* behind the header */
            printf("                 %s", line);
    if (file)
        fclose(file);
    free(line);
    free(path);
}

static int vary(const SynthArguments *a, Error *error) {
    int64_t size = given(a->size, 128), frames = given(a->frames, 32);
    int64_t per_source = given(a->per_source, 1);
    if (check_absent("videos", a->videos, "--from", error) ||
        check_absent("pairs", a->pairs, "--from", error) ||
        check_range("size", size, VARIANT_SIZE_MIN, VARIANT_SIZE_MAX, error) ||
        check_even("size", size, "4:2:0 halves it", error) ||
        check_range("frames", frames, VARIANT_FRAMES_MIN, VARIANT_FRAMES_MAX, error) ||
        check_even("frames", frames, "halves are swapped", error) ||
        check_range("per-source", per_source, 1, VARIANT_PER_SOURCE_MAX, error))
        return -1;
    if (path_within(a->out, a->from)) /* they would be sources the next time */
        return error_set(error, ERROR_USAGE, "--out %s lies in the folder of the sources, %s",
                         a->out, a->from);
    IndexSettings settings = {.sources = {a->from},
                              .sources_count = 1,
                              .threads = (int)a->threads,
                              .scan = {VIDEO_CHECK_DECODE, TIMEOUT},
                              .kept_may_fail = true};
    VariantSpec spec = {.size = (int)size,
                        .fps = (int)a->fps,
                        .frames = (int)frames,
                        .per_source = (int)per_source,
                        .seed = (uint64_t)a->seed,
                        .threads = (int)a->threads};
    VideoIndex index;
    VariantSummary sum;
    double started = time_now();
    char *cache = video_index_cache(settings.sources, 1, settings.scan.check);
    settings.kept = cache;
    int result = video_index_make(&index, &settings, error);
    free(cache);
    if (result)
        return -1;
    result = variants_write(&sum, a->out, &index, &spec, error);
    video_index_free(&index);
    if (result)
        return -1;
    printf("sources          %zu: %zu used, %zu left out (%s/left_out.csv)\n", sum.sources,
           sum.used, sum.left_out, a->out);
    print_left_out(a->out);
    if (sum.left_out > NAMED_MAX)
        printf("                 and %zu more\n", sum.left_out - NAMED_MAX);
    printf("stretches        %zu of %" PRId64 " frames in 5 classes%s\n", sum.stretches, frames,
           sum.still ? "; in others nothing moves" : "");
    printf("videos           %zu train, %zu test, of %" PRId64 "x%" PRId64 " at %" PRId64
           " frames a second, %.1f MiB, encoded by %s, %.1f s\n",
           sum.train, sum.test, size, size, a->fps, (double)sum.bytes / (1 << 20),
           video_writer_codec(), time_now() - started);
    printf("lists            %s/train.csv, test.csv, videos.csv, manifest.csv\n", a->out);
    return 0;
}

/* ---- pairs of possible and impossible events ---- */

static int render_pairs(const SynthArguments *a, Error *error) {
    int64_t size = given(a->size, 96), frames = given(a->frames, 48);
    if (a->pairs == NOT_GIVEN)
        return error_set(error, ERROR_USAGE,
                         "--pairs N is missing: how many pairs of each kind, at least 2?");
    if (check_absent("videos", a->videos, "--physics", error) ||
        check_absent("per-source", a->per_source, "--physics", error) ||
        check_range("pairs", a->pairs, 2, PHYSICS_PAIRS_MAX, error) ||
        check_even("pairs", a->pairs, "two pairs of a scene exchange their endings", error) ||
        check_range("size", size, PHYSICS_SIZE_MIN, SIZE_MAX_PX, error) ||
        check_even("size", size, "4:2:0 halves it", error) ||
        check_range("frames", frames, PHYSICS_FRAMES_MIN, PHYSICS_FRAMES_MAX, error))
        return -1;
    PhysicsSpec spec = {.pairs = (int)a->pairs,
                        .seed = (uint64_t)a->seed,
                        .size = (int)size,
                        .frames = (int)frames,
                        .fps = (int)a->fps,
                        .threads = (int)a->threads};
    double started = time_now();
    if (physics_write(a->out, &spec, error))
        return -1;
    printf("%" PRId64 " pairs of possible and impossible videos of each of %d kinds (", a->pairs,
           PHYSICS_KINDS);
    for (int k = 0; k < PHYSICS_KINDS; k++)
        printf("%s%s", k ? ", " : "", physics_kind_name((PhysicsKind)k));
    printf("), %" PRId64 "x%" PRId64 ", %" PRId64 " frames, encoded by %s, %.1f s: %s/pairs.csv\n",
           size, size, frames, video_writer_codec(), time_now() - started, a->out);
    return 0;
}

int command_synth(int argc, char **argv) {
    SynthArguments a = {.videos = NOT_GIVEN,
                        .per_source = NOT_GIVEN,
                        .pairs = NOT_GIVEN,
                        .size = NOT_GIVEN,
                        .frames = NOT_GIVEN,
                        .fps = 16};
    const Option options[] = {
        {"out", "DIR", "folder for the videos, new or empty", OPTION_TEXT, &a.out},
        {"videos", "N", "how many, spread evenly over the 8 classes", OPTION_INTEGER, &a.videos},
        {"from", "FOLDER|LIST", "temporal variants of these videos instead", OPTION_TEXT, &a.from},
        {"per-source", "N",
         "with --from: so many stretches of a source, as far as they fit (default 1)",
         OPTION_INTEGER, &a.per_source},
        {"physics", NULL, "pairs of possible and impossible events instead", OPTION_FLAG,
         &a.physics},
        {"pairs", "N", "with --physics: so many of each of the 4 kinds, even", OPTION_INTEGER,
         &a.pairs},
        {"seed", "S", "same seed, same bytes (default 0)", OPTION_INTEGER, &a.seed},
        {"size", "PIXELS", "height and width, even (default 96; with --from 128)", OPTION_INTEGER,
         &a.size},
        {"frames", "N", "frames in a video (default 40; with --from 32, with --physics 48)",
         OPTION_INTEGER, &a.frames},
        {"fps", "N", "frames per second when played (default 16)", OPTION_INTEGER, &a.fps},
        {"threads", "N", "videos made at a time; 0: one per core (default)", OPTION_INTEGER,
         &a.threads},
    };
    const CommandHelp help = {
        "jepa synth --out DIR --videos N [--seed S] [--size 96] [--frames 40] [--fps 16]"
        " [--threads N], or: jepa synth --from FOLDER|LIST.csv --out DIR [--per-source 1] "
        "[--size 128] [--frames 32] ..., or: jepa synth --physics --pairs N --out DIR "
        "[--size 96] [--frames 48] ...",
        "Renders and encodes a labelled video data set in which no single frame gives the class "
        "away: two textured shapes move left or right, turn clockwise or counterclockwise, collide "
        "or pass, return from behind a pillar or vanish there while another comes out. Writes "
        "DIR/<class>/<class>_NNNNNN.mp4, DIR/videos.csv (\"path label\"), DIR/targets.csv (for "
        "jepa probe --task regression: file,x1,y1,vx1,vy1,x2,y2,vx2,vy2 of the upper and the lower "
        "object at the middle frame, in sides of the frame and sides per second) and "
        "DIR/states.msgpack (for every video: file, label, pillar, and for every object its looks "
        "and, frame by frame, x, y, angle, vx, vy, visible). With --from it makes labelled "
        "variants of real videos: forward, reversed, double_speed, halves_swapped and frozen, of "
        "one size, rate and length and from the same pictures, as "
        "DIR/<class>/<source>_<class>.mp4, with the lists DIR/train.csv and DIR/test.csv (split "
        "by source), DIR/videos.csv, DIR/manifest.csv and DIR/left_out.csv. With --physics it "
        "renders pairs of videos that are the same up to an event and then possible or impossible: "
        "a body jumps, changes its shape or texture behind a pillar, passes through a wall, "
        "vanishes or appears behind a pillar, as DIR/<kind>/<kind>_NNNNN_possible.mp4 and "
        "_impossible.mp4, with DIR/pairs.csv. Two pairs of a scene exchange their endings, so that "
        "no ending and no beginning by itself tells."};
    Error error = {0};
    TextList rest = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count)
            error_set(&error, ERROR_USAGE, "unexpected argument '%s'; the folder goes behind --out",
                      rest.items[0]);
        else if (!a.out || !*a.out)
            error_set(&error, ERROR_USAGE, "--out DIR is missing: where should the videos go?");
        else if (check_range("seed", a.seed, 0, INT64_MAX, &error) == 0 &&
                 check_range("fps", a.fps, 1, FPS_MAX, &error) == 0 &&
                 check_range("threads", a.threads, 0, THREADS_MAX, &error) == 0) {
            a.threads = a.threads ? a.threads : device_threads_available();
            if (a.from && a.physics)
                error_set(&error, ERROR_USAGE, "--from and --physics: one of them");
            else if (a.physics)
                render_pairs(&a, &error);
            else if (a.from)
                vary(&a, &error);
            else
                render(&a, &error);
        }
    }
    if (error.code)
        fprintf(stderr, "jepa synth: %s\n", error.text);
    free(rest.items);
    return error.code;
}
