/* Banks of patches: rows are what the target encoder says of tokens that are drawn without
 * repetition, with those tokens' own pixels; the search is that of brute force and passes over the
 * query's own video; copies of a video are one; what is written is what is read, and damage is
 * found. Their videos:
 * synth_write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "eval/bank.h"
#include "eval/knn.h"
#include "tests/eval/store_fixture.h"
#include <math.h>

#define ROWS    300
#define WIDTH   17
#define OUTPUTS 12
#define OWNERS  5
#define QUERIES 70

/* Random latents of normal values; rows of OWNERS videos, of which 1 and 3 have the same bytes. */
static void make_bank(Bank *bank, int rows) {
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    uint16_t *latents = memory_new((size_t)rows * WIDTH, sizeof *latents);
    uint8_t *pixels = memory_new((size_t)rows * OUTPUTS, 1);
    int32_t *places = memory_new((size_t)rows * 3, sizeof *places);
    *bank = (Bank){.grid = {2, 2, 2},
                   .width = WIDTH,
                   .tubelet = 1,
                   .patch = 2,
                   .outputs = OUTPUTS,
                   .rows = rows,
                   .videos = OWNERS,
                   .about = {.tokens = rows, .segments = 1}};
    bank->names = memory_new(OWNERS, sizeof *bank->names);
    bank->hashes = memory_new(OWNERS, sizeof *bank->hashes);
    for (int v = 0; v < OWNERS; v++) {
        int bytes = v == 3 ? 1 : v;
        bank->names[v] = memory_text("video %d", v);
        bank->hashes[v] = hash_bytes(&bytes, sizeof bytes);
    }
    for (int i = 0; i < rows * WIDTH; i++)
        latents[i] = float16_from_float((float)random_normal(&random));
    for (int i = 0; i < rows; i++)
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
    make_bank(&bank, ROWS);
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

/* A bank of many rows is searched part by part: the same bits as all of it at once. */
static void parts_are_the_whole(void **state) {
    (void)state;
    enum { MANY = 9000 };
    Bank bank;
    Random random = random_at(3, RANDOM_TEST, 0, 0);
    float queries[QUERIES * WIDTH], cosine[QUERIES], wanted_cosine[QUERIES];
    int32_t nearest[QUERIES], wanted[QUERIES];
    int query[QUERIES];
    make_bank(&bank, MANY);
    uint16_t *latents = (uint16_t *)(uintptr_t)bank.latents;
    memcpy(latents + (size_t)8500 * WIDTH, latents + (size_t)20 * WIDTH, WIDTH * sizeof *latents);
    float *all = memory_new(MANY * WIDTH, sizeof *all);
    int *fold = memory_new(MANY, sizeof *fold);
    float16_to_floats(all, bank.latents, MANY * WIDTH);
    for (int i = 0; i < QUERIES * WIDTH; i++)
        queries[i] = (float)random_normal(&random);
    memcpy(queries, all + (size_t)20 * WIDTH, WIDTH * sizeof *queries); /* rows 20 and 8500 tie */
    for (int i = 0; i < QUERIES; i++)
        query[i] = 1;
    for (int own = -1; own < 2; own++) {
        for (int i = 0; i < MANY; i++)
            fold[i] = own >= 0 && hash_same(&bank.hashes[i % OWNERS], &bank.hashes[own]);
        knn_search(wanted, wanted_cosine, all, fold, MANY, queries, query, QUERIES, WIDTH, 1, 2);
        bank_nearest(nearest, cosine, &bank, queries, QUERIES, own < 0 ? NULL : &bank.hashes[own],
                     2);
        assert_memory_equal(nearest, wanted, sizeof nearest);
        assert_memory_equal(cosine, wanted_cosine, sizeof cosine);
    }
    bank_nearest(nearest, cosine, &bank, queries, 1, NULL, 2);
    assert_int_equal(nearest[0], 20);
    free(all);
    free(fold);
    bank_close(&bank);
}

/* Videos that gave rows are counted once for all that have the same bytes, and the first of those
 * that gave rows stands for them. */
static void copies_are_one(void **state) {
    (void)state;
    Bank bank;
    int64_t first[OWNERS];
    make_bank(&bank, ROWS);
    assert_int_equal(bank_distinct(NULL, &bank), OWNERS - 1); /* 1 and 3 are the same */
    assert_int_equal(bank_distinct(first, &bank), OWNERS - 1);
    for (int v = 0; v < OWNERS; v++)
        assert_int_equal(first[v], v == 3 ? 1 : v);
    /* 1, 3 and 4 are the same and 1 gave no rows; 2 gave none either */
    int32_t *places = (int32_t *)(uintptr_t)bank.places;
    bank.hashes[4] = bank.hashes[1];
    for (int i = 0; i < ROWS; i++)
        places[3 * i] = i % 3 == 0 ? 4 : i % 3 == 1 ? 3 : 0;
    assert_int_equal(bank_distinct(first, &bank), 2);
    const int64_t wanted[OWNERS] = {0, -1, -1, 3, 3};
    assert_memory_equal(first, wanted, sizeof wanted);
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

/* Fewer rows than clips: one of each clip that has a share, and that row is the one which the whole
 * bank has of it. */
static void few_rows_are_spread(void **state) {
    Fixture *f = *state;
    Bank few, all;
    enum { FEW = 5, TOKENS = 8, J = VIDEOS * SEGMENTS };
    gather(&few, f, FEW, 2);
    gather(&all, f, 100000, 2);
    assert_int_equal(few.rows, FEW);
    for (int row = 0, job = 0; job < J; job++) {
        if ((job + 1) * FEW / J == job * FEW / J)
            continue; /* of 16 clips those that end a fifth: 3, 6, 9, 12, 15 */
        const int32_t *place = few.places + 3 * row;
        int64_t same = job * TOKENS;
        assert_int_equal(place[0], job / SEGMENTS);
        assert_int_equal(place[2], random_permute(4, RANDOM_BANK, (uint64_t)job, 0, TOKENS));
        while (all.places[3 * same + 2] != place[2])
            same++;
        assert_memory_equal(place, all.places + 3 * same, 3 * sizeof *place);
        assert_memory_equal(few.pixels + row * few.outputs, all.pixels + same * all.outputs,
                            (size_t)few.outputs);
        for (int d = 0; d < few.width; d++) {
            float wanted = float16_to_float(all.latents[same * few.width + d]);
            float got = float16_to_float(few.latents[row * few.width + d]);
            /* a step of float16, for clips that came in other batches */
            assert_true(fabsf(got - wanted) <= 1e-3f * fabsf(wanted) + 1e-4f);
        }
        row++;
    }
    assert_int_equal(bank_distinct(NULL, &few), FEW);
    bank_close(&few);
    bank_close(&all);
}

/* A stranger's bank, its hashes right. */
static void hostile_banks(void **state) {
    Fixture *f = *state;
    Bank bank, read;
    Error error = {0};
    char *folder = path_join(f->folder, "hostile");
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e01};
    make_bank(&bank, ROWS);
    assert_int_equal(bank_write(&bank, folder, &error), 0);
    assert_int_equal(bank_open(&read, folder, &error), 0);
    bank_close(&read);
    assert_int_equal(folder_remove(folder, &error), 0);
    uint16_t *latent = (uint16_t *)(uintptr_t)bank.latents + ROWS * WIDTH - 2, kept = *latent;
    for (int i = 0; i < 3; i++) {
        *latent = bad[i];
        assert_int_equal(bank_write(&bank, folder, &error), 0);
        assert_int_equal(bank_open(&read, folder, &error), -1);
        assert_non_null(strstr(error.text, "latents.bin is damaged: 1 of its numbers"));
        bank_close(&read);
        assert_int_equal(folder_remove(folder, &error), 0);
    }
    *latent = kept;
    bank.grid = (MaskGrid){4096, 4096, 128}; /* 2^31 tokens */
    assert_int_equal(bank_write(&bank, folder, &error), 0);
    assert_int_equal(bank_open(&read, folder, &error), -1);
    assert_non_null(strstr(error.text, "bank.msgpack is damaged"));
    bank_close(&read);
    assert_int_equal(folder_remove(folder, &error), 0);
    bank.grid.width = 127;
    assert_int_equal(bank_write(&bank, folder, &error), 0);
    assert_int_equal(bank_open(&read, folder, &error), 0);
    bank_close(&read);
    bank_close(&bank);
    free(folder);
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
    const Hash *checkpoint = &bank.about.checkpoint, *recipe = &bank.about.recipe;
    const BankAbout *about = &read.about;
    assert_int_equal(bank_about_matches(about, folder, checkpoint, recipe, "jepa", &error), 0);
    assert_int_equal(bank_about_matches(about, folder, &other, recipe, "jepa", &error), -1);
    assert_non_null(strstr(error.text, "another checkpoint"));
    assert_int_equal(bank_about_matches(about, folder, checkpoint, &other, "jepa", &error), -1);
    assert_non_null(strstr(error.text, "another recipe"));
    assert_int_equal(error.code, ERROR_USAGE);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_is_brute_force), cmocka_unit_test(parts_are_the_whole),
        cmocka_unit_test(copies_are_one),        cmocka_unit_test(rows_are_tokens),
        cmocka_unit_test(few_rows_are_spread),   cmocka_unit_test(hostile_banks),
        cmocka_unit_test(written_is_read)};
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
