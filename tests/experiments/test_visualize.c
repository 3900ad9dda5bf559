/* jepa visualize from end to end: a tiny data set, a few steps, and pictures that show something;
 * refusals are one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Fixture {
    char folder[64];
    char *run, *video, *said;
} Fixture;

/* Runs `jepa COMMAND`, output to folder/said. The exit code. Takes the text over. */
static int jepa(const Fixture *f, char *command) {
    char *line = memory_text("'%s' %s >'%s/out' 2>'%s'", JEPA_PROGRAM, command, f->folder, f->said);
    int status = system(line);
    free(line);
    free(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *text_of(const char *path) {
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    return (char *)bytes;
}

static void remove_tree(const char *folder) {
    char *command = memory_text("rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(command);
}

static int begin(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/jepa_visualize_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->said = path_join(f->folder, "said");
    f->run = path_join(f->folder, "run");
    f->video = memory_text("%s/a film \xc3\xa9\xff.mp4", f->folder);
    *state = f;
    if (jepa(f, memory_text("synth --out '%s/videos' --videos 8 --size 48 --frames 20 --seed 2",
                            f->folder)) ||
        jepa(f, memory_text("pretrain --data '%s/videos' --out '%s' --set data.batch_size=2"
                            " --set data.num_frames=8 --set data.crop_size=32"
                            " --set optimization.ipe=3 --set optimization.epochs=1"
                            " --set optimization.warmup=0",
                            f->folder, f->run)))
        fail_msg("%s", text_of(f->said));
    char *copy = memory_text("cp \"$(find '%s/videos' -name '*.mp4' | sort | head -n 1)\" '%s'",
                             f->folder, f->video);
    assert_int_equal(system(copy), 0);
    free(copy);
    return 0;
}

static int end(void **state) {
    Fixture *f = *state;
    remove_tree(f->folder);
    free(f->run);
    free(f->video);
    free(f->said);
    free(f);
    return 0;
}

/* Size of a picture and how many different colours it has, at most 1000. */
static void look(const char *folder, const char *name, int *width, int *height, int *colors) {
    char *path = path_join(folder, name);
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&image, path))
        fail_msg("%s: %s", path, image.message);
    image.format = PNG_FORMAT_RGB;
    uint8_t *rgb = memory_new(PNG_IMAGE_SIZE(image), 1);
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    *width = (int)image.width;
    *height = (int)image.height;
    uint8_t *seen = memory_new(1 << 24, 1);
    *colors = 0;
    for (size_t i = 0; i < PNG_IMAGE_SIZE(image) && *colors < 1000; i += 3) {
        size_t color = ((size_t)rgb[i] << 16) + ((size_t)rgb[i + 1] << 8) + rgb[i + 2];
        *colors += !seen[color];
        seen[color] = 1;
    }
    free(seen);
    free(rgb);
    free(path);
}

static void pictures_show_something(void **state) {
    const Fixture *f = *state;
    static const struct {
        const char *name;
        int rows; /* of tiles */
    } wanted[] = {
        {"masks.png", 3}, {"latents.png", 4}, {"errors.png", 8}, {"contact-sheet.png", 12}};
    char *out = path_join(f->folder, "new/pictures");
    if (jepa(f, memory_text("visualize --checkpoint '%s' --video '%s' --out '%s'", f->run, f->video,
                            out)))
        fail_msg("%s", text_of(f->said));
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int width, height, colors;
        look(out, wanted[i].name, &width, &height, &colors);
        assert_in_range(width, 4 * 96, 2400);
        assert_in_range(height, wanted[i].rows * 96, wanted[i].rows * 340 + 400);
        assert_true(colors > 60);
    }
    char *list = memory_text("%s/out", f->folder), *text = text_of(list);
    assert_non_null(strstr(text, "step-3"));
    assert_non_null(strstr(text, "contact-sheet.png"));
    free(text);
    free(list);
    free(out);
}

/* The same command gives the same bytes; another mask seed does not; --mask 1 and a step folder. */
static void options_do_what_they_say(void **state) {
    const Fixture *f = *state;
    char *sheets[3];
    size_t bytes[3];
    for (int i = 0; i < 3; i++) {
        char *out = memory_text("%s/out%d", f->folder, i);
        assert_int_equal(jepa(f, memory_text("visualize --checkpoint '%s/step-3' --video '%s' "
                                             "--out '%s' --mask 1 --start 0 --mask-seed %d",
                                             f->run, f->video, out, i == 2)),
                         0);
        char *sheet = path_join(out, "masks.png");
        Error error = {0};
        assert_int_equal(file_read((uint8_t **)&sheets[i], &bytes[i], sheet, 1 << 24, &error), 0);
        free(sheet);
        free(out);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(sheets[0], sheets[1], bytes[0]);
    assert_true(bytes[0] != bytes[2] || memcmp(sheets[0], sheets[2], bytes[0]));
    for (int i = 0; i < 3; i++)
        free(sheets[i]);
}

/* One line that names the culprit, behind the one that names the device, if it came so far. */
static void refuses(const Fixture *f, const char *checkpoint, const char *video, const char *out,
                    const char *options, int code, const char *word) {
    int found = jepa(f, memory_text("visualize --checkpoint '%s' --video '%s' --out '%s' %s",
                                    checkpoint, video, out, options));
    char *all = text_of(f->said), *said = all;
    if (!strncmp(said, "device ", 7) && strchr(said, '\n'))
        said = strchr(said, '\n') + 1;
    if (found != code || !strstr(said, word) || strchr(said, '\n') != said + strlen(said) - 1 ||
        strncmp(said, "jepa visualize: ", 16))
        fail_msg("exit code %d: %s", found, all);
    free(all);
}

static void refusals(void **state) {
    const Fixture *f = *state;
    char *out = path_join(f->folder, "refused"), *broken = path_join(f->folder, "no.mp4");
    char *file = path_join(f->folder, "said/out");
    Error error = {0};
    assert_int_equal(file_write(broken, "no video at all\n", 16, &error), 0);
    refuses(f, "/nonexistent", f->video, out, "", 1, "/nonexistent");
    refuses(f, f->run, "/nonexistent.mp4", out, "", 1, "/nonexistent.mp4");
    refuses(f, f->run, broken, out, "", 1, "no.mp4");
    char *empty = path_join(f->folder, "empty");
    assert_int_equal(folder_make(empty, &error), 0);
    refuses(f, f->run, empty, out, "", 1, "no videos");
    free(empty);
    refuses(f, f->run, f->video, out, "--mask 2", 2, "0 to 1");
    refuses(f, f->run, f->video, out, "--mask=-1", 2, "--mask");
    refuses(f, f->run, f->video, out, "--start 12", 2, "0 to");
    refuses(f, f->run, f->video, out, "--device abacus", 2, "abacus");
    refuses(f, f->run, f->video, out, "--parts masks,nothing", 2, "nothing");
    refuses(f, f->run, f->video, out, "--parts ''", 2, "--parts");
    refuses(f, f->run, f->video, out, "--format png,tiff", 2, "tiff");
    refuses(f, f->run, f->video, out, "--parts sheet --format gif", 2, "add png");
    refuses(f, f->run, f->video, out, "--tile 9", 2, "--tile 9");
    refuses(f, f->run, f->video, out, "--videos 0", 2, "--videos 0");
    refuses(f, f->run, f->video, out, "--perplexity nan", 2, "--perplexity");
    refuses(f, f->run, f->video, out, "--network both", 2, "target or context");
    refuses(f, f->run, f->video, out, "--set data.sampling_rate=4", 1, "20 frames");
    /* a file that is no checkpoint */
    refuses(f, broken, f->video, out, "", 1, "no.mp4");
    refuses(f, f->run, f->video, out, "--parts future --context-frames 3", 2, "multiple of 2");
    refuses(f, f->run, f->video, out, "--parts future --context-frames 8", 2, "2 to 6");
    refuses(f, f->run, f->video, out, "--parts similarity --query 4,0,0", 2, "3,3,3");
    refuses(f, f->run, f->video, out, "--parts similarity --query 1,1", 2, "--query 1,1");
    refuses(f, f->run, f->video, out, "--parts attention --layer 99", 2, "blocks 0 to");
    refuses(f, f->run, f->video, out, "--parts attention --head 99", 2, "heads 0 to");
    refuses(f, f->run, f->video, out, "--axes /nonexistent", 1, "/nonexistent");
    assert_false(folder_exists(out)); /* nothing was begun */
    refuses(f, f->run, f->video, out, "--parts map", 2, "three or more");
    refuses(f, f->run, f->video, file, "", 1, "said");
    assert_int_equal(jepa(f, memory_text("visualize --video x")), 2);
    char *said = text_of(f->said);
    assert_non_null(strstr(said, "--checkpoint, --video and --out"));
    free(said);
    /* one flipped byte in the weights */
    char *weights = path_join(f->run, "step-3/model.safetensors");
    FILE *stream = fopen(weights, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, -9, SEEK_END), 0);
    int byte = fgetc(stream);
    assert_int_equal(fseek(stream, -1, SEEK_CUR), 0);
    fputc(byte ^ 1, stream);
    fclose(stream);
    refuses(f, f->run, f->video, out, "", 1, "damaged");
    free(weights);
    free(out);
    free(broken);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_show_something),
        cmocka_unit_test(options_do_what_they_say),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
