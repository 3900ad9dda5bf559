/* jepa frames: the planes that ffmpeg decodes, byte for byte; upright pictures; clear refusals. */
#include "base/file.h"
#include "video/encode.h"
#include "video/index.h"
#include <dirent.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SHARED  JEPA_SOURCE_DIR "/../shared/videos"
#define SAMPLES 12 /* positions that are compared in each file, first and last among them */
#define WIDTH   64
#define HEIGHT  48
#define FRAMES  20

static char *folder_new(void) {
    char *folder = memory_text("/tmp/jepa_frames_XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void folder_clear(const char *folder) {
    Error error = {0};
    if (folder_exists(folder))
        assert_int_equal(folder_remove(folder, &error), 0);
}

/* Runs a command line; its exit code. Takes the text over. */
static int run(char *command) {
    int status = system(command);
    free(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* jepa frames FILE --indices LIST --out OUT OPTIONS; what it says on stderr goes into `said`. */
static int frames(const char *file, const char *indices, const char *out, const char *options,
                  char said[2048]) {
    char *log = memory_text("/tmp/jepa_frames_said_%ld", (long)getpid());
    int code = run(memory_text("'%s' frames '%s' --indices %s --out '%s' %s >/dev/null 2>'%s'",
                               JEPA_PROGRAM, file, indices, out, options, log));
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    assert_int_equal(file_read(&bytes, &count, log, 1 << 20, &error), 0);
    snprintf(said, 2048, "%s", (char *)bytes);
    free(bytes);
    unlink(log);
    free(log);
    return code;
}

static int have_ffmpeg(void) {
    return run(memory_text("ffmpeg -version >/dev/null 2>&1")) == 0;
}

/* Bytes of out/frame_NNNNNN.*.raw */
static uint8_t *raw_frame(const char *out, int64_t number, size_t *count) {
    char *prefix = memory_text("frame_%06lld.", (long long)number), *path = NULL;
    DIR *folder = opendir(out);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (!strncmp(entry->d_name, prefix, strlen(prefix))) {
            assert_null(path); /* one file for each frame */
            path = path_join(out, entry->d_name);
        }
    closedir(folder);
    if (!path)
        fail_msg("no %s in %s", prefix, out);
    uint8_t *bytes;
    Error error = {0};
    assert_int_equal(file_read(&bytes, count, path, (size_t)1 << 30, &error), 0);
    free(prefix);
    free(path);
    return bytes;
}

/* The sampled positions of a video, ascending, no repeats. */
static int sample(int64_t positions[SAMPLES], int64_t count) {
    int kept = 0;
    for (int i = 0; i < SAMPLES; i++) {
        /* 0, then odd places so that no keyframe distance is met, then the last */
        int64_t at = (count - 1) * i / (SAMPLES - 1);
        at -= i > 0 && i < SAMPLES - 1 && at > 8 ? (i * 37) % 9 : 0;
        if (!kept || at > positions[kept - 1])
            positions[kept++] = at;
    }
    return kept;
}

/* Decodes the whole file with the command line tool and compares at the positions. The number of
 * frames that the tool presents comes back. */
static int64_t compare(const char *file, const char *out, const int64_t *positions, int count,
                       const char *passthrough) {
    char *command = memory_text(
        "ffmpeg -v quiet -nostdin -threads 1 -noautorotate -i '%s' -map 0:V:0"
        " %s passthrough -f rawvideo - 2>/dev/null",
        file, passthrough);
    FILE *stream = popen(command, "r");
    free(command);
    assert_non_null(stream);
    int64_t number = 0;
    size_t bytes;
    uint8_t *own = raw_frame(out, positions[0], &bytes), *theirs = memory_new(bytes, 1);
    int next = 0;
    while (fread(theirs, 1, bytes, stream) == bytes) {
        if (next < count && number == positions[next]) {
            size_t own_bytes;
            free(own);
            own = raw_frame(out, number, &own_bytes);
            assert_int_equal(own_bytes, bytes);
            if (memcmp(own, theirs, bytes))
                fail_msg("%s: frame %lld differs from ffmpeg's", file, (long long)number);
            next++;
        }
        number++;
    }
    pclose(stream);
    free(own);
    free(theirs);
    return number;
}

static void check_file(const char *file, const char *folder) {
    VideoFile scan = {0};
    video_file_scan(&scan, file, NULL);
    if (scan.reason) {
        /* the only files among these that may not be usable */
        if (!strstr(file, "corrupted") && !strstr(file, "audio_only"))
            fail_msg("%s: %s", file, scan.reason);
        video_file_free(&scan);
        return;
    }
    int64_t positions[SAMPLES];
    int count = sample(positions, scan.frames);
    char *out = path_join(folder, "out"), said[2048], indices[256] = "";
    /* all in one run, backwards; then the last alone, which makes the reader seek */
    for (int i = count - 1; i >= 0; i--)
        snprintf(indices + strlen(indices), sizeof indices - strlen(indices), "%lld%s",
                 (long long)positions[i], i ? "," : "");
    if (frames(file, indices, out, "--raw", said))
        fail_msg("%s", said);
    char *last = memory_text("%lld", (long long)positions[count - 1]);
    size_t before_bytes, after_bytes;
    uint8_t *before = raw_frame(out, positions[count - 1], &before_bytes);
    if (frames(file, last, out, "--raw --pix-fmt native", said))
        fail_msg("%s", said);
    uint8_t *after = raw_frame(out, positions[count - 1], &after_bytes);
    assert_int_equal(before_bytes, after_bytes);
    assert_memory_equal(before, after, before_bytes);
    free(before);
    free(after);
    free(last);
    /* -vsync became -fps_mode with FFmpeg 5.1 */
    int64_t theirs = compare(file, out, positions, count, "-fps_mode");
    if (!theirs)
        theirs = compare(file, out, positions, count, "-vsync");
    if (theirs != scan.frames)
        fail_msg("%s: %lld frames, but %lld by ffmpeg", file, (long long)scan.frames,
                 (long long)theirs);
    folder_clear(out);
    free(out);
    video_file_free(&scan);
}

static int is_video(const struct dirent *entry) {
    return entry->d_name[0] != '.' && strchr(entry->d_name, '.') &&
           strncmp(entry->d_name, "LICENSE", 7);
}

static void check_folder(const char *name, int limit) {
    if (!have_ffmpeg() || !folder_exists(SHARED)) {
        print_message("needs the ffmpeg tool and ../shared/videos\n");
        skip();
    }
    char *folder = folder_new(), *source = path_join(SHARED, name);
    struct dirent **entries;
    int count = scandir(source, &entries, is_video, alphasort);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        char *file = path_join(source, entries[i]->d_name);
        if (i < limit)
            check_file(file, folder);
        free(file);
        free(entries[i]);
    }
    free(entries);
    free(source);
    folder_clear(folder);
    free(folder);
}

static void test_containers(void **state) {
    (void)state;
    check_folder("containers", 1000);
}

static void test_edge_cases(void **state) {
    (void)state;
    check_folder("edge_cases", 1000);
}

static void test_surveillance(void **state) {
    (void)state;
    check_folder("surveillance/fight", 3);
}

/* Frame t: grey of 40 + 8 t with a bright square at the top left. */
static void make_video(const char *path) {
    Error error = {0};
    VideoWriter *writer;
    assert_int_equal(video_writer_open(&writer, path, WIDTH, HEIGHT, 25, &error), 0);
    uint8_t *rgb = memory_new((size_t)WIDTH * HEIGHT, 3);
    for (int t = 0; t < FRAMES; t++) {
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                for (int c = 0; c < 3; c++)
                    rgb[(y * WIDTH + x) * 3 + c] = (uint8_t)(x < 16 && y < 16 ? 240 : 40 + 8 * t);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    free(rgb);
    assert_int_equal(video_writer_close(writer, &error), 0);
}

/* PNG as [height][width][3]. */
static uint8_t *read_png(const char *out, int number, int *width, int *height) {
    char *path = memory_text("%s/frame_%06d.png", out, number);
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_file(&image, path))
        fail_msg("%s: %s", path, image.message);
    image.format = PNG_FORMAT_RGB;
    uint8_t *rgb = memory_new(PNG_IMAGE_SIZE(image), 1);
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    *width = (int)image.width;
    *height = (int)image.height;
    free(path);
    return rgb;
}

static void test_pictures(void **state) {
    (void)state;
    char *folder = folder_new(), *file = path_join(folder, "a video \xc3\xa9\xff.mp4"), said[2048];
    char *out = path_join(folder, "new/pictures");
    make_video(file);
    if (frames(file, "7,2-4,7,19,0", out, "", said))
        fail_msg("%s", said);
    static const int wanted[] = {0, 2, 3, 4, 7, 19};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int width, height;
        uint8_t *rgb = read_png(out, wanted[i], &width, &height);
        assert_int_equal(width, WIDTH);
        assert_int_equal(height, HEIGHT);
        assert_in_range(rgb[(4 * WIDTH + 4) * 3], 230, 250);
        int level = rgb[((HEIGHT - 8) * WIDTH + WIDTH - 8) * 3];
        assert_in_range(level, 40 + 8 * wanted[i] - 3, 40 + 8 * wanted[i] + 3);
        free(rgb);
    }
    DIR *pictures = opendir(out);
    int entries = 0;
    while (readdir(pictures))
        entries++;
    closedir(pictures);
    assert_int_equal(entries, 2 + 6); /* each frame once, nothing half-written */
    folder_clear(out);

    /* raw RGB of the same frame has the same values */
    if (frames(file, "5", out, "--raw --pix-fmt rgb24", said))
        fail_msg("%s", said);
    size_t bytes;
    uint8_t *raw = raw_frame(out, 5, &bytes);
    assert_int_equal(bytes, WIDTH * HEIGHT * 3);
    assert_in_range(raw[((HEIGHT - 8) * WIDTH + WIDTH - 8) * 3], 77, 83);
    free(raw);
    folder_clear(out);
    char *parent = path_join(folder, "new");
    folder_clear(parent);
    free(parent);
    unlink(file);
    folder_clear(folder);
    free(out);
    free(file);
    free(folder);
}

/* The upright picture against the tool's own rotation. */
static void test_rotation(void **state) {
    (void)state;
    const char *file = SHARED "/containers/rot.mp4";
    if (!have_ffmpeg() || !file_exists(file)) {
        print_message("needs the ffmpeg tool and ../shared/videos\n");
        skip();
    }
    char *folder = folder_new(), *out = path_join(folder, "out"), said[2048];
    if (frames(file, "0", out, "", said))
        fail_msg("%s", said);
    assert_int_equal(
        run(memory_text("ffmpeg -v quiet -nostdin -i '%s' -frames:v 1 '%s/frame_000001.png'", file,
                        folder)),
        0);
    int width, height, their_width, their_height;
    uint8_t *own = read_png(out, 0, &width, &height);
    uint8_t *other = read_png(folder, 1, &their_width, &their_height);
    assert_int_equal(width, their_width);
    assert_int_equal(height, their_height);
    /* chroma is interpolated by other rules there, but places are the same */
    double difference = 0, turned = 0;
    int last = width * height * 3 - 1;
    for (int i = 0; i <= last; i++) {
        difference += abs(own[i] - other[i]);
        turned += abs(own[i] - other[last - i]);
    }
    assert_true(difference / last < 8 && difference < turned / 4);
    free(own);
    free(other);
    folder_clear(out);
    folder_clear(folder);
    free(out);
    free(folder);
}

static void test_refusals(void **state) {
    (void)state;
    char *folder = folder_new(), *file = path_join(folder, "v.mp4"),
         *out = path_join(folder, "out");
    char said[2048];
    make_video(file);
    static const char *const wrong[] = {"20", "-1",   "3-", "5-4",
                                        "''", "1,,2", "x",  "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(frames(file, wrong[i], out, "", said), 0);
        assert_non_null(strstr(said, "jepa frames: "));
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
    }
    frames(file, "20", out, "", said);
    assert_non_null(strstr(said, "20 frames"));
    assert_false(folder_exists(out)); /* nothing was begun */
    assert_int_equal(frames(file, "0", out, "--raw --pix-fmt yuv", said), 2);
    assert_int_equal(frames("/nonexistent.mp4", "0", out, "", said), 1);
    assert_non_null(strstr(said, "missing"));
    unlink(file);
    Error error = {0};
    assert_int_equal(file_write(file, "this is no video\n", 17, &error), 0);
    assert_int_equal(frames(file, "0", out, "", said), 1);
    assert_non_null(strstr(said, "text"));
    unlink(file);
    folder_clear(folder);
    free(out);
    free(file);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_rotation),   cmocka_unit_test(test_containers),
        cmocka_unit_test(test_edge_cases), cmocka_unit_test(test_surveillance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
