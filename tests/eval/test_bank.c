/* Banks of patches: rows are what the target encoder says of tokens that are drawn without
 * repetition, with those tokens' own pixels; the search is that of brute force and passes over the
 * query's own video; what is written is what is read, and damage is found. Their videos:
 * synth_write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "eval/bank.h"
#include "tests/eval/store_fixture.h"
#include <math.h>

#define ROWS    300
#define WIDTH   17
#define OUTPUTS 12
#define OWNERS  5
#define QUERIES 70

/* Random latents of normal values; rows of OWNERS videos, of which 1 and 3 have the same bytes. */
static void make_bank(Bank *bank) {
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    uint16_t *latents = memory_new(ROWS * WIDTH, sizeof *latents);
    uint8_t *pixels = memory_new(ROWS * OUTPUTS, 1);
    int32_t *places = memory_new(ROWS * 3, sizeof *places);
    *bank = (Bank){.grid = {2, 2, 2},
                   .width = WIDTH,
                   .tubelet = 1,
                   .patch = 2,
                   .outputs = OUTPUTS,
                   .rows = ROWS,
                   .videos = OWNERS,
                   .about = {.tokens = ROWS, .segments = 1}};
    bank->names = memory_new(OWNERS, sizeof *bank->names);
    bank->hashes = memory_new(OWNERS, sizeof *bank->hashes);
    for (int v = 0; v < OWNERS; v++) {
        int bytes = v == 3 ? 1 : v;
        bank->names[v] = memory_text("video %d", v);
        bank->hashes[v] = hash_bytes(&bytes, sizeof bytes);
    }
    for (int i = 0; i < ROWS * WIDTH; i++)
        latents[i] = float16_from_float((float)random_normal(&random));
    for (int i = 0; i < ROWS; i++)
        places[3 * i] = i % OWNERS;
    bank->latents = latents;
    bank->pixels = pixels;
    bank->places = places;
    bank->about.source = memory_text("a test");
}

static double cosine_of(const Bank *bank, int64_t row, const float *query) {
    double dot = 0, a = 0, b = 0;
    for (int d = 0; d < WIDTH; d++) {
        double h = float16_to_float(bank->latents[row * WIDTH + d]);
        dot += h * query[d];
        a += h * h;
        b += (double)query[d] * query[d];
    }
    return dot / sqrt(a * b);
}

static void search_is_brute_force(void **state) {
    (void)state;
    Bank bank;
    Random random = random_at(2, RANDOM_TEST, 0, 0);
    float queries[QUERIES * WIDTH], cosine[QUERIES];
    int32_t nearest[QUERIES], again[QUERIES];
    make_bank(&bank);
    for (int i = 0; i < QUERIES * WIDTH; i++)
        queries[i] = (float)(3 * random_normal(&random));
    for (int own = -1; own < OWNERS; own++) {
        const Hash *hash = own < 0 ? NULL : &bank.hashes[own];
        bank_nearest(nearest, cosine, &bank, queries, QUERIES, hash, 2);
        bank_nearest(again, cosine, &bank, queries, QUERIES, hash, 1);
        assert_memory_equal(nearest, again, sizeof nearest);
        for (int q = 0; q < QUERIES; q++) {
            double best = -2;
            for (int64_t row = 0; row < ROWS; row++) {
                int32_t owner = bank.places[3 * row];
                double cos = cosine_of(&bank, row, queries + (size_t)q * WIDTH);
                if (!hash || !hash_same(hash, &bank.hashes[owner]))
                    best = cos > best ? cos : best;
            }
            /* the row found is as near as the nearest, up to the rounding of a dot product of 17
             * float32 */
            assert_true(fabs(cosine_of(&bank, nearest[q], queries + (size_t)q * WIDTH) - best) <
                        1e-6);
            assert_true(fabs(cosine[q] - best) < 1e-6);
            assert_true(!hash || !hash_same(hash, &bank.hashes[bank.places[3 * nearest[q]]]));
        }
    }
    /* a latent of the bank finds itself, and not itself where its video is passed over */
    float own[WIDTH];
    float16_to_floats(own, bank.latents + (size_t)8 * WIDTH, WIDTH);
    bank_nearest(nearest, cosine, &bank, own, 1, NULL, 1);
    assert_int_equal(nearest[0], 8);
    bank_nearest(nearest, cosine, &bank, own, 1, &bank.hashes[8 % OWNERS], 1);
    assert_int_not_equal(nearest[0] % OWNERS, 8 % OWNERS);
    /* nothing is left where all rows are of one video */
    int32_t *places = (int32_t *)(uintptr_t)bank.places;
    for (int i = 0; i < ROWS; i++)
        places[3 * i] = 2;
    bank_nearest(nearest, cosine, &bank, own, 1, &bank.hashes[2], 1);
    assert_int_equal(nearest[0], -1);
    bank_close(&bank);
}

static void gather(Bank *bank, Fixture *f, int64_t tokens, int threads) {
    Error error = {0};
    FeatureViews views = {.segments = SEGMENTS, .views = 1};
    *bank = (Bank){.about = {.checkpoint = hash_bytes("weights", 7),
                             .recipe = hash_bytes("recipe", 6),
                             .files = f->index.hash,
                             .source = memory_text("a test"),
                             .tokens = tokens,
                             .seed = 4}};
    if (bank_gather(bank, &f->model, &f->index, &f->spec, &views, threads, &error))
        fail_msg("%s", error.text);
}

/* Rows of one clip against the encoder's pass over it alone. */
static void rows_are_tokens(void **state) {
    Fixture *f = *state;
    Bank bank, all, other;
    const Model *m = &f->model;
    int clips = VIDEOS * SEGMENTS, tokens = 8, width = m->target_width;
    size_t p = (size_t)3 * 2 * 8 * 8;
    gather(&bank, f, 50, 2); /* 16 clips: three or four tokens of each */
    assert_int_equal(bank.rows, 50);
    gather(&all, f, 100000, 2);
    assert_int_equal(all.rows, clips * tokens);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    uint8_t *pixels = memory_new(3 * 4 * 16, 16), *patch = memory_new(p, 1);
    Error error = {0};
    for (int64_t i = 0; i < all.rows; i += tokens) {
        ClipDraw draw;
        int clip = (int)(i / tokens);
        uint32_t file = f->index.usable_files[clip / SEGMENTS];
        VideoFile video = video_index_file(&f->index, file);
        clip_draw_evaluation(&draw, &f->index, file, &f->spec, clip % SEGMENTS, SEGMENTS, 0, 1);
        if (clip_decode(pixels, decoder, &video, &draw, &f->spec, &error))
            fail_msg("%s", error.text);
        model_set_input(&f->model, &(ModelInput){.samples = 1, .pixels = pixels});
        model_forward_target(&f->model, 1);
        unsigned seen = 0;
        for (int64_t row = i; row < i + tokens; row++) {
            const int32_t *place = all.places + 3 * row;
            seen |= 1u << place[2];
            assert_int_equal(place[0], clip / SEGMENTS);
            assert_int_equal(place[1], draw.frames[place[2] / 4 * 2]);
            bank_cut(patch, pixels, NULL, &(PatchShape){4, 16, 16, 2, 8}, place[2]);
            assert_memory_equal(patch, all.pixels + (size_t)row * p, p);
            /* the corner of its last frame, by hand */
            int t = place[2] / 4, y = place[2] % 4 / 2, x = place[2] % 2;
            assert_int_equal(patch[p - 1],
                             pixels[((2 * 4 + 2 * t + 1) * 16 + 8 * y + 7) * 16 + 8 * x + 7]);
            for (int d = 0; d < width; d++) {
                float wanted = m->target_out[(size_t)place[2] * (size_t)width + (size_t)d];
                float got = float16_to_float(all.latents[(size_t)row * (size_t)width + (size_t)d]);
                /* half a step of float16, and GEMMs of other numbers of rows */
                assert_true(fabsf(got - wanted) <= 6e-4f * fabsf(wanted) + 1e-4f);
            }
        }
        assert_int_equal(seen, 255); /* each token once */
    }
    /* the same again, with one thread; another seed draws others */
    gather(&other, f, 50, 1);
    assert_memory_equal(other.places, bank.places, 50 * 3 * sizeof *bank.places);
    assert_memory_equal(other.latents, bank.latents, 50 * (size_t)width * sizeof *bank.latents);
    bank_close(&other);
    bank_close(&bank);
    bank_close(&all);
    clip_decoder_free(decoder);
    free(pixels);
    free(patch);
}

static void written_is_read(void **state) {
    Fixture *f = *state;
    static const char *const files[] = {"bank.msgpack", "latents.bin", "pixels.bin", "places.bin"};
    Bank bank, read;
    Error error = {0};
    char *folder = path_join(f->folder, "bank");
    gather(&bank, f, 40, 2);
    assert_int_equal(bank_write(&bank, folder, &error), 0);
    assert_int_equal(bank_open(&read, folder, &error), 0);
    assert_int_equal(read.rows, bank.rows);
    assert_int_equal(read.videos, VIDEOS);
    assert_string_equal(read.names[3], bank.names[3]);
    assert_memory_equal(read.latents, bank.latents, 40 * (size_t)bank.width * 2);
    assert_memory_equal(read.pixels, bank.pixels, 40 * (size_t)bank.outputs);
    assert_memory_equal(read.places, bank.places, 40 * 3 * sizeof *bank.places);
    Hash other = hash_bytes("other", 5);
    assert_int_equal(
        bank_matches(&read, folder, &bank.about.checkpoint, &bank.about.recipe, &error), 0);
    assert_int_equal(bank_matches(&read, folder, &other, &bank.about.recipe, &error), -1);
    assert_non_null(strstr(error.text, "another checkpoint"));
    assert_int_equal(bank_matches(&read, folder, &bank.about.checkpoint, &other, &error), -1);
    assert_non_null(strstr(error.text, "another recipe"));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_int_equal(bank_video(&read, &bank.hashes[5]), 5);
    assert_int_equal(bank_video(&read, &other), -1);
    bank_close(&read);

    /* any byte that is another, and any file that is shorter or missing, is named */
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t count;
        uint8_t *bytes = fixture_read(&count, f, "bank", files[i]);
        char *path = path_join(folder, files[i]);
        bytes[count / 2] ^= 1;
        assert_int_equal(file_write(path, bytes, count, &error), 0);
        assert_int_equal(bank_open(&read, folder, &error), -1);
        assert_non_null(strstr(error.text, files[i]));
        bank_close(&read);
        bytes[count / 2] ^= 1;
        assert_int_equal(file_write(path, bytes, count / 2, &error), 0);
        assert_int_equal(bank_open(&read, folder, &error), -1);
        assert_non_null(strstr(error.text, files[i]));
        bank_close(&read);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(bank_open(&read, folder, &error), -1);
        assert_non_null(strstr(error.text, files[i]));
        bank_close(&read);
        assert_int_equal(file_write(path, bytes, count, &error), 0);
        free(path);
        free(bytes);
    }
    assert_int_equal(bank_open(&read, folder, &error), 0);
    bank_close(&read);
    bank_close(&bank);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(search_is_brute_force),
                                       cmocka_unit_test(rows_are_tokens),
                                       cmocka_unit_test(written_is_read)};
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
