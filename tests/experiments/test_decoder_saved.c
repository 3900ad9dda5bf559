/* Saved decoders: what is written is what is read; any byte that is another is found, in whichever
 * file; sizes that the tensors do not have are refused before anything of theirs is allocated, also
 * where the hashes are right; another checkpoint, recipe or width is refused. */
#include "base/file.h"
#include "base/safetensors.h"
#include "experiments/decoder_saved.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WIDTH   6
#define HIDDEN  5
#define OUTPUTS 3 /* 3 channels, 1 frame, 1 x 1 pixel */
#define VIDEOS  3
#define LIMIT   ((size_t)1 << 26)

typedef struct Saved {
    char *folder, *out;
    PatchDecoder decoder;
    DecoderAbout about;
} Saved;

static void save(Saved *s, int hidden) {
    Error error = {0};
    patch_decoder_free(&s->decoder);
    patch_decoder_new(&s->decoder, WIDTH, hidden, OUTPUTS, 4);
    s->decoder.mean[1] = 0.375;
    s->decoder.deviation[2] = 0.1875;
    if (folder_exists(s->out))
        assert_int_equal(folder_remove(s->out, &error), 0);
    if (decoder_save(&s->decoder, &s->about, s->out, &error))
        fail_msg("%s", error.text);
}

static int begin(void **state) {
    Saved *s = memory_new(1, sizeof *s);
    s->folder = memory_text("/tmp/jepa_decoder_XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    s->out = path_join(s->folder, "decoder");
    s->about = (DecoderAbout){.bank = {.checkpoint = hash_bytes("weights", 7),
                                       .recipe = hash_bytes("recipe", 6),
                                       .files = hash_bytes("videos", 6),
                                       .source = memory_text("a test"),
                                       .tokens = 12,
                                       .segments = 1},
                              .grid = {1, 2, 2},
                              .tubelet = 1,
                              .patch = 1,
                              .steps = 7,
                              .rows = 10,
                              .held_out = 2,
                              .held_out_videos = 1,
                              .errors = {0.25, 0.5, 0.75},
                              .videos = memory_new(VIDEOS, sizeof(Hash)),
                              .video_count = VIDEOS};
    for (int v = 0; v < VIDEOS; v++)
        s->about.videos[v] = hash_bytes(&v, sizeof v);
    qsort(s->about.videos, VIDEOS, sizeof *s->about.videos, hash_order);
    *state = s;
    return 0;
}

static int end(void **state) {
    Saved *s = *state;
    folder_remove(s->out, NULL);
    folder_remove(s->folder, NULL);
    patch_decoder_free(&s->decoder);
    decoder_about_free(&s->about);
    free(s->folder);
    free(s->out);
    free(s);
    return 0;
}

static int load(PatchDecoder *d, DecoderAbout *a, const Saved *s, int width, Error *error) {
    *error = (Error){0};
    return decoder_load(d, a, s->out, &s->about.bank.checkpoint, &s->about.bank.recipe, width,
                        error);
}

static void refused(const Saved *s, int width, const char *words) {
    PatchDecoder d;
    DecoderAbout a;
    Error error;
    assert_int_equal(load(&d, &a, s, width, &error), -1);
    if (!strstr(error.text, words))
        fail_msg("expected \"%s\": %s", words, error.text);
    assert_null(d.weights); /* nothing was allocated */
    patch_decoder_free(&d);
    decoder_about_free(&a);
}

static void written_is_read(void **state) {
    Saved *s = *state;
    for (int hidden = 0; hidden <= HIDDEN; hidden += HIDDEN) {
        PatchDecoder d;
        DecoderAbout a;
        Error error;
        save(s, hidden);
        if (load(&d, &a, s, WIDTH, &error))
            fail_msg("%s", error.text);
        assert_int_equal(d.total, s->decoder.total);
        assert_memory_equal(d.weights, s->decoder.weights, (size_t)d.total * sizeof *d.weights);
        assert_memory_equal(d.mean, s->decoder.mean, sizeof d.mean);
        assert_memory_equal(d.deviation, s->decoder.deviation, sizeof d.deviation);
        assert_memory_equal(&a.errors, &s->about.errors, sizeof a.errors);
        for (int v = 0; v <= VIDEOS; v++) {
            Hash video = hash_bytes(&v, sizeof v);
            assert_int_equal(decoder_has_seen(&a, &video), v < VIDEOS);
        }
        patch_decoder_free(&d);
        decoder_about_free(&a);
    }
}

static void something_else_is_refused(void **state) {
    Saved *s = *state;
    Hash own = s->about.bank.checkpoint, recipe = s->about.bank.recipe;
    save(s, HIDDEN);
    refused(s, WIDTH + 1, "latents of 6 numbers");
    s->about.bank.checkpoint = hash_bytes("other", 5);
    refused(s, WIDTH + 1, "of another checkpoint");
    s->about.bank.checkpoint = own;
    s->about.bank.recipe = hash_bytes("other", 5);
    refused(s, WIDTH, "another recipe");
    s->about.bank.recipe = recipe;
}

static uint8_t *read_all(size_t *count, const char *path) {
    Error error = {0};
    uint8_t *bytes;
    if (file_read(&bytes, count, path, LIMIT, &error))
        fail_msg("%s", error.text);
    return bytes;
}

static void write_all(const char *path, const void *bytes, size_t count) {
    Error error = {0};
    if (file_write(path, bytes, count, &error))
        fail_msg("%s", error.text);
}

static void a_changed_byte_is_found(void **state) {
    Saved *s = *state;
    static const char *const files[] = {"decoder.json", "decoder.safetensors", "decoder.b2sum"};
    save(s, HIDDEN);
    for (int f = 0; f < 3; f++) {
        size_t count;
        char *path = path_join(s->out, files[f]);
        uint8_t *bytes = read_all(&count, path);
        for (size_t i = 0; i < count; i += 29) {
            bytes[i] ^= 1;
            write_all(path, bytes, count);
            refused(s, WIDTH, "is damaged");
            bytes[i] ^= 1;
        }
        write_all(path, bytes, count - 1);
        refused(s, WIDTH, "is damaged");
        assert_int_equal(unlink(path), 0);
        refused(s, WIDTH, files[f]);
        write_all(path, bytes, count);
        free(path);
        free(bytes);
    }
    /* one digit of a number that nothing else depends on */
    size_t count;
    char *path = path_join(s->out, "decoder.json");
    char *text = (char *)read_all(&count, path), *digit = strstr(text, "0.375");
    assert_non_null(digit);
    digit[2] = '4';
    write_all(path, text, count);
    refused(s, WIDTH, "is damaged");
    free(path);
    free(text);
}

/* ---- a stranger's files, with hashes that are right ---- */

static void seal(const Saved *s) {
    static const char *const files[] = {"decoder.json", "decoder.safetensors"};
    char text[2][HASH_TEXT];
    for (int f = 0; f < 2; f++) {
        Hash hash;
        Error error = {0};
        char *path = path_join(s->out, files[f]);
        assert_int_equal(hash_file(&hash, path, &error), 0);
        hash_text(text[f], &hash);
        free(path);
    }
    char *path = path_join(s->out, "decoder.b2sum");
    char *sums = memory_text("%s  %s\n%s  %s\n", text[0], files[0], text[1], files[1]);
    write_all(path, sums, strlen(sums));
    free(path);
    free(sums);
}

/* "key": number becomes "key": value. */
static void set_size(const Saved *s, const char *key, int value) {
    size_t count;
    char *path = path_join(s->out, "decoder.json"), *quoted = memory_text("\"%s\": ", key);
    char *text = (char *)read_all(&count, path), *at = strstr(text, quoted);
    assert_non_null(at);
    at += strlen(quoted);
    char *changed = memory_text("%.*s%d%s", (int)(at - text), text, value, strchr(at, ','));
    write_all(path, changed, strlen(changed));
    free(path);
    free(quoted);
    free(text);
    free(changed);
}

/* The tensors' file: w1 of hidden rows and width columns, and the rest for `last` inputs. */
static void set_tensors(const Saved *s, int64_t hidden, int64_t width, int64_t last, int64_t bias,
                        const Hash *videos, int64_t video_count) {
    Error error = {0};
    size_t most = (size_t)(hidden * width > OUTPUTS * last ? hidden * width : OUTPUTS * last);
    float *zeros = memory_new(most + (size_t)bias + OUTPUTS, sizeof *zeros);
    TensorInfo tensors[] = {
        {.name = "w2.weight", .dims = 2, .shape = {OUTPUTS, last}},
        {.name = "w2.bias", .dims = 1, .shape = {OUTPUTS}},
        {.name = "w1.weight", .dims = 2, .shape = {hidden, width}},
        {.name = "w1.bias", .dims = 1, .shape = {bias}},
        {.name = "videos", .type = TENSOR_U8, .dims = 2, .shape = {video_count, HASH_BYTES}}};
    for (int i = 0; i < 5; i++) {
        tensors[i].type = i < 4 ? TENSOR_F32 : TENSOR_U8;
        tensors[i].data = i < 4 ? (const void *)zeros : videos;
        tensors[i].bytes = i < 4 ? sizeof(float) : 1;
        for (int k = 0; k < tensors[i].dims; k++)
            tensors[i].bytes *= (size_t)tensors[i].shape[k];
    }
    char *path = path_join(s->out, "decoder.safetensors");
    if (safetensors_write(path, tensors, 5, NULL, &error))
        fail_msg("%s", error.text);
    free(path);
    free(zeros);
    seal(s);
}

static void hostile_sizes(void **state) {
    Saved *s = *state;
    const Hash *videos = s->about.videos;
    enum { HUGE_HIDDEN = PATCH_DECODER_HIDDEN_MAX, HUGE_WIDTH = 1 << 20 };
    save(s, HIDDEN);
    set_tensors(s, HIDDEN, WIDTH, HIDDEN, HIDDEN, videos, VIDEOS);
    PatchDecoder d;
    DecoderAbout a;
    Error error;
    if (load(&d, &a, s, WIDTH, &error)) /* these hashes and tensors are taken */
        fail_msg("%s", error.text);
    patch_decoder_free(&d);
    decoder_about_free(&a);
    static const char *const words = "is not of the sizes";
    set_tensors(s, HIDDEN - 1, WIDTH, HIDDEN, HIDDEN, videos, VIDEOS);
    refused(s, WIDTH, words);
    set_tensors(s, HIDDEN, WIDTH - 1, HIDDEN, HIDDEN, videos, VIDEOS);
    refused(s, WIDTH, words);
    set_tensors(s, WIDTH, HIDDEN, HIDDEN, HIDDEN, videos, VIDEOS); /* as many numbers */
    refused(s, WIDTH, words);
    set_tensors(s, HIDDEN, WIDTH, HIDDEN + 1, HIDDEN, videos, VIDEOS);
    refused(s, WIDTH, words);
    set_tensors(s, HIDDEN, WIDTH, HIDDEN, HIDDEN + 1, videos, VIDEOS);
    refused(s, WIDTH, words);
    /* hashes twice, or in another order, are none that can be searched */
    Hash others[2] = {videos[1], videos[0]};
    set_tensors(s, HIDDEN, WIDTH, HIDDEN, HIDDEN, others, 2);
    refused(s, WIDTH, "no list of hashes");
    others[1] = videos[1];
    set_tensors(s, HIDDEN, WIDTH, HIDDEN, HIDDEN, others, 2);
    refused(s, WIDTH, "no list of hashes");
    /* a terabyte is not asked for: w2 has the rows for it, w1 has one row */
    set_size(s, "hidden", HUGE_HIDDEN);
    set_size(s, "width", HUGE_WIDTH);
    set_tensors(s, 1, HUGE_WIDTH, HUGE_HIDDEN, HUGE_HIDDEN, videos, VIDEOS);
    refused(s, HUGE_WIDTH, words);
    refused(s, WIDTH, "latents of 1048576 numbers");
    set_size(s, "width", HUGE_WIDTH + 1);
    seal(s);
    refused(s, HUGE_WIDTH + 1, "of another version");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read), cmocka_unit_test(something_else_is_refused),
        cmocka_unit_test(a_changed_byte_is_found), cmocka_unit_test(hostile_sizes)};
    return cmocka_run_group_tests(tests, begin, end);
}
