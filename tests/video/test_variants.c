/* video/variants: every class shows the pictures that it says, bit for bit the same in all of them
 * and in files of the same size; no source is on both sides of the split; what cannot be used is
 * left out by name; the same bytes for any number of threads. */
#include "base/file.h"
#include "base/hash.h"
#include "video/clip.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/variants_plan.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SIDE  32
#define PIXEL (SIDE * SIDE)

/* ---- order, steps and paces ------------------------------------------------------------------ */

static void test_frames_of_classes(void **unused) {
    (void)unused;
    const int wanted[VARIANT_CLASSES][6] = {{0, 2, 4, 6, 8, 10},
                                            {3, 4, 5, 6, 7, 8},
                                            {5, 5, 5, 5, 5, 5},
                                            {6, 7, 8, 3, 4, 5},
                                            {8, 7, 6, 5, 4, 3}};
    for (int class = 0; class < VARIANT_CLASSES; class ++)
        for (int t = 0; t < 6; t++)
            assert_int_equal(variant_frame((VariantClass) class, t, 6, 5), wanted[class][t]);
}

static VideoFile file_of(const char *name, int number, double fps, int64_t frames, int label) {
    VideoFile file = {.path = name,
                      .name = name,
                      .width = 64,
                      .height = 48,
                      .fps = fps,
                      .frames = frames,
                      .duration = (double)frames / 25,
                      .label = label};
    file.hash = hash_bytes(&number, sizeof number);
    return file;
}

/* Every rate is taken in a whole step at a pace in [1/sqrt 2, sqrt 2), or left out. */
static void test_paces(void **unused) {
    (void)unused;
    enum { RATES = 4000 };
    VideoFile *files = memory_new(RATES, sizeof *files);
    char(*names)[16] = memory_new(RATES, sizeof *names);
    for (int i = 0; i < RATES; i++) {
        snprintf(names[i], sizeof names[i], "%04d.mp4", i);
        files[i] = file_of(names[i], i, 0.05 * (i + 1), 1000000, -1);
    }
    files[7].fps = 1e9; /* what a file may claim */
    files[8].fps = 0;
    VideoIndex index;
    Error error = {0};
    assert_int_equal(video_index_of_files(&index, files, RATES, NULL, 0, &error), 0);
    VariantSpec spec = {32, 16, 16, 3, 1, 1};
    VariantSource *sources;
    assert_int_equal(variants_plan(&sources, &index, &spec, &error), 0);
    for (int i = 9; i < RATES; i++) {
        double r = files[i].fps / 16;
        if (r * r <= 0.5) {
            assert_non_null(strstr(sources[i].reason, "times as fast"));
            continue;
        }
        assert_null(sources[i].reason);
        assert_true(fabs(sources[i].pace - sources[i].step / r) < 1e-12);
        assert_true(sources[i].pace >= sqrt(0.5) - 1e-12 && sources[i].pace < sqrt(2.));
        for (int other = sources[i].step - 1; other <= sources[i].step + 1; other += 2)
            assert_true(other < 1 ||
                        fabs(log(r / sources[i].step)) <= fabs(log(r / other)) + 1e-12);
        int64_t span = 30 * (int64_t)sources[i].step + 1;
        assert_int_equal(sources[i].count, 3);
        for (int k = 0; k < 3; k++) { /* none overlaps another, all lie within */
            const VariantStretch *stretch = &sources[i].stretches[k];
            assert_true(stretch->first >= (k ? stretch[-1].first + span : 0));
            assert_true(stretch->first + span <= files[i].frames);
            assert_in_range(stretch->frozen, 8, 23);
        }
    }
    assert_non_null(strstr(sources[7].reason, "too short"));
    assert_int_equal(sources[8].step, 2); /* no rate: the usual guess */
    variants_plan_free(sources, RATES);
    video_index_free(&index);
    free(names);
    free(files);
}

/* ---- names and split ------------------------------------------------------------------------- */

static void test_names(void **unused) {
    (void)unused;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"a/b_c.d.mp4", "a-b-c-d"},
        {"clip, \"one\".avi", "clip---one-"},
        {"r\xc3\xa9sum\xc3\xa9.mkv", "r\xc3\xa9sum\xc3\xa9"},
        {".hidden.mp4", "-hidden"},
        {"no ending", "no-ending"},
        {"../up.mp4", "---up"},
        {"twin_1.mp4", "twin-1-"}, /* and the beginning of a hash */
        {"twin 1.mp4", "twin-1-"},
        {"TWIN-1.avi", "TWIN-1-"},
        {"", NULL}, /* made below: very long, cut within a letter of two bytes */
    };
    enum { CASES = sizeof cases / sizeof *cases };
    VideoFile files[CASES];
    char large[400];
    memset(large, 'x', sizeof large);
    memcpy(large + 119, "\xc3\xa9", 2); /* bytes 119 and 120: 120 are kept */
    strcpy(large + 390, ".mp4");
    for (int i = 0; i < CASES; i++)
        files[i] = file_of(cases[i].to ? cases[i].from : large, i, 25, 1000, -1);
    VideoIndex index;
    Error error = {0};
    assert_int_equal(video_index_of_files(&index, files, CASES, NULL, 0, &error), 0);
    VariantSpec spec = {32, 25, 16, 1, 1, 1};
    VariantSource *sources;
    assert_int_equal(variants_plan(&sources, &index, &spec, &error), 0);
    for (int i = 0; i < CASES; i++) {
        const char *name = sources[i].name;
        assert_null(strchr(name, '_'));
        assert_null(strchr(name, '/'));
        if (!cases[i].to) {
            assert_int_equal(strlen(name), 119);
        } else if (!strncasecmp(cases[i].to, "twin", 4)) {
            assert_memory_equal(name, cases[i].to, strlen(cases[i].to));
            assert_int_equal(strlen(name), strlen(cases[i].to) + 8);
        } else {
            assert_string_equal(name, cases[i].to);
        }
        for (int k = 0; k < i; k++)
            assert_true(strcasecmp(name, sources[k].name) != 0);
    }
    char *name = variant_name(&sources[0], 0, VARIANT_HALVES_SWAPPED, &spec);
    assert_string_equal(name, "halves_swapped/a-b-c-d_halves_swapped.mp4");
    free(name);
    spec.per_source = 4;
    name = variant_name(&sources[0], 3, VARIANT_FORWARD, &spec);
    assert_string_equal(name, "forward/a-b-c-d_3_forward.mp4");
    free(name);
    variants_plan_free(sources, CASES);
    video_index_free(&index);
}

static void test_copies(void **unused) {
    (void)unused;
    VideoFile files[4] = {file_of("a.mp4", 1, 25, 99, 0), file_of("b.mp4", 2, 25, 99, 0),
                          file_of("c.mp4", 1, 25, 99, 0), file_of("d.mp4", 1, 25, 99, 0)};
    VideoIndex index;
    Error error = {0};
    const char *class[] = {"one"};
    assert_int_equal(video_index_of_files(&index, files, 4, class, 1, &error), 0);
    VariantSpec spec = {32, 25, 16, 1, 1, 1};
    VariantSource *sources;
    assert_int_equal(variants_plan(&sources, &index, &spec, &error), 0);
    assert_null(sources[0].reason);
    assert_null(sources[1].reason);
    assert_string_equal(sources[2].reason, "the same bytes as a.mp4");
    assert_string_equal(sources[3].reason, "the same bytes as a.mp4");
    variants_plan_free(sources, 4);
    video_index_free(&index);
}

/* A quarter of each class of sources, its last; what little classes lack, the next ones give. */
static void test_split(void **unused) {
    (void)unused;
    enum { MOST = 64 };
    static char names[MOST][16];
    const char *classes[MOST];
    static char class_names[MOST][16];
    for (int i = 0; i < MOST; i++) {
        snprintf(names[i], sizeof names[i], "%02d.mp4", i);
        snprintf(class_names[i], sizeof class_names[i], "class %02d", i);
        classes[i] = class_names[i];
    }
    const struct {
        int files, per_class, tests;
    } cases[] = {{40, 20, 10}, {40, 1, 10}, {40, 3, 10}, {2, 2, 1},
                 {2, 1, 1},    {3, 3, 1},   {1, 1, -1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        VideoFile files[MOST];
        int count = cases[c].files, tests = 0;
        for (int i = 0; i < count; i++)
            files[i] = file_of(names[i], i, 25, 99, i / cases[c].per_class);
        VideoIndex index;
        Error error = {0};
        VariantSpec spec = {32, 25, 16, 1, 1, 1};
        VariantSource *sources;
        int groups = (count - 1) / cases[c].per_class + 1;
        assert_int_equal(
            video_index_of_files(&index, files, (size_t)count, classes, groups, &error), 0);
        assert_int_equal(variants_plan(&sources, &index, &spec, &error), 0);
        int result = variants_split(sources, &index, &error);
        assert_int_equal(result, cases[c].tests < 0 ? -1 : 0);
        for (int i = 0; i < count && !result; i++) {
            tests += sources[i].test;
            if (cases[c].per_class == 20)
                assert_int_equal(sources[i].test, i % 20 >= 15);
        }
        if (!result)
            assert_in_range(tests, cases[c].tests, cases[c].tests);
        variants_plan_free(sources, (size_t)count);
        video_index_free(&index);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Frame n of a source: its number in bits, as bright and dark squares; so a decoded picture tells
 * which one it is. */
static void draw(uint8_t *rgb, int n, int blank) {
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++) {
                int bit = x / 8 + 4 * (y / 8);
                int on = bit < 10 && (n >> bit & 1) && !blank;
                rgb[(y * SIDE + x) * 3 + c] = (uint8_t)(on ? 200 : 50);
            }
}

static int number_of(const uint8_t *planes, size_t channel, int t) {
    int n = 0;
    for (int bit = 0; bit < 10; bit++) {
        int x = bit % 4 * 8 + 4, y = bit / 4 * 8 + 4;
        n |= (planes[channel + (size_t)t * PIXEL + (size_t)(y * SIDE + x)] > 125) << bit;
    }
    return n;
}

static void source_write(const char *folder, const char *name, int fps, int frames, int first,
                         int blank) {
    Error error = {0};
    char *path = path_join(folder, name);
    uint8_t rgb[PIXEL * 3];
    VideoWriter *writer;
    assert_int_equal(video_writer_open(&writer, path, SIDE, SIDE, fps, &error), 0);
    for (int n = 0; n < frames; n++) {
        draw(rgb, first + n, blank);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    free(path);
}

/* planes[3][frames][SIDE][SIDE] of a whole video. */
static uint8_t *read_video(const char *path, int frames, VideoFile *file) {
    Error error = {0};
    ClipSpec spec = {.frames = frames, .step = 1, .crop = SIDE};
    ClipDraw all = {.count = frames, .width = SIDE, .height = SIDE};
    memset(file, 0, sizeof *file);
    video_file_scan(file, path, NULL);
    assert_null(file->reason);
    assert_int_equal(file->frames, frames);
    for (int t = 0; t < frames; t++)
        all.frames[t] = t;
    uint8_t *planes = memory_new((size_t)frames * PIXEL * 3 + 64, 1);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    assert_int_equal(clip_decode(planes, decoder, file, &all, &spec, &error), 0);
    clip_decoder_free(decoder);
    return planes;
}

#define FRAMES 8

static const VariantSpec spec_of_files = {
    .size = SIDE, .fps = 15, .frames = FRAMES, .per_source = 2, .seed = 3, .threads = 1};

typedef struct Folder {
    char in[64], out[4][80];
    VideoIndex index;
} Folder;

static int make(void **state) {
    Error error = {0};
    Folder *f = *state = memory_new(1, sizeof *f);
    strcpy(f->in, "/tmp/jepa_variants_XXXXXX");
    assert_non_null(mkdtemp(f->in));
    for (int i = 0; i < 4; i++)
        snprintf(f->out[i], sizeof f->out[i], "%s.%d", f->in, i);
    source_write(f->in, "a_1.mp4", 30, 100, 0, 0); /* step 2, two stretches of 29 frames */
    source_write(f->in, "b 2.mp4", 15, 20, 200, 0);
    source_write(f->in, "c.mp4", 15, 40, 300, 0);
    source_write(f->in, "d-short.mp4", 15, 14, 400, 0);
    source_write(f->in, "e-slow.mp4", 10, 40, 500, 0);
    source_write(f->in, "f-still.mp4", 15, 40, 600, 1);
    char *path = path_join(f->in, "g-damaged.mp4"), *whole = path_join(f->in, "c.mp4");
    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, whole, 1 << 20, &error), 0);
    assert_int_equal(file_write(path, bytes, count / 2, &error), 0);
    free(path);
    path = path_join(f->in, "h-copy.mp4");
    assert_int_equal(file_write(path, bytes, count, &error), 0);
    free(path);
    free(whole);
    free(bytes);
    assert_int_equal(video_index_build(&f->index, f->in, 2, &error), 0);
    return 0;
}

static int unmake(void **state) {
    Error error = {0};
    Folder *f = *state;
    video_index_free(&f->index);
    assert_int_equal(folder_remove(f->in, &error), 0);
    free(f);
    return 0;
}

static void out_remove(const char *out) {
    Error error = {0};
    for (int k = 0; k < VARIANT_CLASSES; k++) {
        char *folder = path_join(out, variant_class_name((VariantClass)k));
        assert_int_equal(folder_remove(folder, &error), 0);
        free(folder);
    }
    assert_int_equal(folder_remove(out, &error), 0);
}

static char *text_of(const char *out, const char *name) {
    Error error = {0};
    char *path = path_join(out, name);
    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    free(path);
    return (char *)bytes;
}

static int lines_of(const char *text) {
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void test_pictures(void **state) {
    Folder *f = *state;
    Error error = {0};
    VariantSummary sum;
    assert_int_equal(variants_write(&sum, f->out[0], &f->index, &spec_of_files, &error), 0);
    assert_int_equal(sum.sources, 8);
    assert_int_equal(sum.used, 3);
    assert_int_equal(sum.left_out, 5);
    assert_int_equal(sum.stretches, 2 + 1 + 2);
    assert_int_equal(sum.train + sum.test, 5 * 5);
    static const struct {
        const char *name;
        int stretches, first, step, frames;
    } sources[] = {{"a-1", 2, 0, 2, 100}, {"b-2", 1, 200, 1, 20}, {"c", 2, 300, 1, 40}};
    for (int i = 0; i < 3; i++) {
        for (int s = 0; s < sources[i].stretches; s++) {
            uint8_t *planes[VARIANT_CLASSES];
            off_t bytes = 0;
            for (int k = 0; k < VARIANT_CLASSES; k++) {
                const char *class = variant_class_name((VariantClass)k);
                char *path = memory_text("%s/%s/%s_%d_%s.mp4", f->out[0], class, sources[i].name, s,
                                         class);
                VideoFile file;
                planes[k] = read_video(path, FRAMES, &file);
                assert_true(fabs(file.fps - 15) < 1e-6);
                assert_int_equal(file.key_count, FRAMES); /* each picture by itself */
                assert_true(k == 0 || file.bytes == bytes);
                bytes = file.bytes;
                video_file_free(&file);
                free(path);
            }
            size_t channel = (size_t)FRAMES * PIXEL;
            int first = number_of(planes[VARIANT_DOUBLE_SPEED], channel, 0), step = sources[i].step;
            assert_in_range(first, sources[i].first,
                            sources[i].first + sources[i].frames - 14 * step - 1);
            int frozen = (number_of(planes[VARIANT_FROZEN], channel, 0) - first) / step;
            assert_in_range(frozen, FRAMES / 2, FRAMES / 2 + FRAMES - 1);
            for (int k = 0; k < VARIANT_CLASSES; k++)
                for (int t = 0; t < FRAMES; t++)
                    assert_int_equal(number_of(planes[k], channel, t),
                                     first +
                                         step * variant_frame((VariantClass)k, t, FRAMES, frozen));
            /* a picture has the same pixels wherever it stands */
            int same = 0;
            for (int k = 0; k < VARIANT_CLASSES; k++)
                for (int t = 0; t < FRAMES; t++)
                    for (int u = 0; u < FRAMES; u++) {
                        if (number_of(planes[k], channel, t) !=
                            number_of(planes[VARIANT_FORWARD], channel, u))
                            continue;
                        for (size_t c = 0; c < 3; c++)
                            assert_memory_equal(
                                planes[k] + c * channel + (size_t)t * PIXEL,
                                planes[VARIANT_FORWARD] + c * channel + (size_t)u * PIXEL, PIXEL);
                        same++;
                    }
            assert_int_equal(same, 4 * FRAMES + FRAMES / 2); /* half of double_speed lies outside */
            for (int k = 0; k < VARIANT_CLASSES; k++)
                free(planes[k]);
        }
    }
    out_remove(f->out[0]);
}

static void test_lists(void **state) {
    Folder *f = *state;
    Error error = {0};
    VariantSummary sum;
    assert_int_equal(variants_write(&sum, f->out[0], &f->index, &spec_of_files, &error), 0);
    char *left_out = text_of(f->out[0], "left_out.csv");
    assert_int_equal(lines_of(left_out), 1 + 5);
    static const char *const reasons[] = {
        "\"d-short.mp4\",\"too short: 14 frames",
        "\"e-slow.mp4\",\"10 frames a second would play 1.5 times as fast at 15",
        "\"f-still.mp4\",\"nothing moves", "\"g-damaged.mp4\",\"",
        "\"h-copy.mp4\",\"the same bytes as c.mp4\""};
    for (int i = 0; i < 5; i++)
        assert_non_null(strstr(left_out, reasons[i]));
    free(left_out);
    char *manifest = text_of(f->out[0], "manifest.csv");
    assert_int_equal(lines_of(manifest), 1 + 25);
    char hash[HASH_TEXT];
    VideoFile c = video_index_file(&f->index, 2);
    assert_string_equal(c.name, "c.mp4");
    hash_text(hash, &c.hash);
    char *row = memory_text("\nreversed/c_1_reversed.mp4,reversed,test,\"c.mp4\",%s,1,", hash);
    assert_non_null(strstr(manifest, row));
    free(row);
    free(manifest);
    /* each source is on one side; the index reads the lists and finds five classes */
    int seen[2][3] = {{0}};
    static const char *const names[] = {"train.csv", "test.csv", "videos.csv"};
    for (int side = 0; side < 3; side++) {
        char *path = path_join(f->out[0], names[side]);
        VideoIndex index;
        assert_int_equal(video_index_build(&index, path, 2, &error), 0);
        assert_int_equal(index.count, side == 2 ? 25 : side ? sum.test : sum.train);
        assert_int_equal(index.usable, index.count);
        assert_int_equal(index.classes, VARIANT_CLASSES);
        for (uint32_t i = 0; i < index.count; i++) {
            const char *name = video_index_name(&index, i);
            int label = video_index_label(&index, i);
            assert_string_equal(index.class_names[label], variant_class_name((VariantClass)label));
            assert_memory_equal(name, index.class_names[label], strlen(index.class_names[label]));
            if (side < 2)
                seen[side][strchr(name, '/')[1] - 'a']++;
        }
        video_index_free(&index);
        free(path);
    }
    for (int i = 0; i < 3; i++)
        assert_true((seen[0][i] == 0) != (seen[1][i] == 0));
    out_remove(f->out[0]);
}

static Hash hash_of_all(const char *out) {
    Error error = {0};
    HashState state;
    hash_start(&state);
    static const char *const names[] = {"train.csv",    "test.csv",   "manifest.csv",
                                        "left_out.csv", "synth.yaml", "videos.csv"};
    char *list = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        free(list);
        list = text_of(out, names[i]);
        hash_add(&state, list, strlen(list));
    }
    for (char *line = strtok(list, "\n"); line; line = strtok(NULL, "\n")) {
        *strrchr(line, ' ') = 0;
        char *path = path_join(out, line);
        Hash hash;
        assert_int_equal(hash_file(&hash, path, &error), 0);
        hash_add(&state, hash.bytes, HASH_BYTES);
        free(path);
    }
    free(list);
    return hash_end(&state);
}

static void test_same_bytes(void **state) {
    Folder *f = *state;
    Error error = {0};
    Hash hash[4];
    for (int run = 0; run < 4; run++) {
        VariantSpec spec = spec_of_files;
        VariantSummary sum;
        spec.threads = run == 1 ? 4 : 1;
        spec.seed += run == 3;
        assert_int_equal(variants_write(&sum, f->out[run], &f->index, &spec, &error), 0);
        hash[run] = hash_of_all(f->out[run]);
        out_remove(f->out[run]);
    }
    assert_true(hash_same(&hash[0], &hash[1]));
    assert_true(hash_same(&hash[0], &hash[2]));
    assert_false(hash_same(&hash[0], &hash[3]));
}

/* A folder in use, and too few sources: an error, and nothing is left or changed. */
static void test_refuses(void **state) {
    Folder *f = *state;
    Error error = {0};
    VariantSummary sum;
    assert_int_equal(variants_write(&sum, f->in, &f->index, &spec_of_files, &error), -1);
    assert_non_null(strstr(error.text, "is not empty (8 entries)"));
    VariantSpec longer = spec_of_files;
    longer.frames = 24; /* only a_1.mp4 is as long as that */
    assert_int_equal(variants_write(&sum, f->out[0], &f->index, &longer, &error), -1);
    assert_non_null(strstr(error.text, "1 of 8 videos can be used"));
    assert_false(folder_exists(f->out[0]));
    /* b and c are left, of which b changes under it: known when it is decoded, cleared behind */
    VideoFile files[2] = {video_index_file(&f->index, 1), video_index_file(&f->index, 2)};
    char *path = path_join(f->in, "gone.mp4");
    files[0].path = path;
    VideoIndex two;
    assert_int_equal(video_index_of_files(&two, files, 2, NULL, 0, &error), 0);
    assert_int_equal(mkdir(f->out[0], 0777), 0);
    assert_int_equal(variants_write(&sum, f->out[0], &two, &spec_of_files, &error), -1);
    assert_non_null(strstr(error.text, "1 of 2 videos can be used"));
    assert_int_equal(rmdir(f->out[0]), 0); /* empty again */
    video_index_free(&two);
    free(path);
}

/* A full disk, played by a limit on the size of files, in the middle of the work. */
static void test_full_disk(void **state) {
    Folder *f = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {1000, 1000};
        Error error = {0};
        VariantSummary sum;
        if (setrlimit(RLIMIT_FSIZE, &limit))
            _exit(2);
        int result = variants_write(&sum, f->out[0], &f->index, &spec_of_files, &error);
        _exit(result == -1 && error.code == ERROR_RUN && strstr(error.text, f->out[0]) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(folder_exists(f->out[0]));
}

int main(void) {
    ffmpeg_quiet();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_of_classes),
        cmocka_unit_test(test_paces),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_split),
        cmocka_unit_test_setup_teardown(test_pictures, make, unmake),
        cmocka_unit_test_setup_teardown(test_lists, make, unmake),
        cmocka_unit_test_setup_teardown(test_same_bytes, make, unmake),
        cmocka_unit_test_setup_teardown(test_refuses, make, unmake),
        cmocka_unit_test_setup_teardown(test_full_disk, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
