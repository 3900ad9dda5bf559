/* Sources of tokens: what a store's sequences are, and new views of every epoch through the
 * encoder. Their videos: synth_write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "eval/token_sources.h"
#include "tests/eval/store_fixture.h"
#include <math.h>

#define ROWS   8 /* of a clip */
#define BROKEN 2 /* the video that has no features */

static void write_store(Fixture *f, Store *store) {
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    VideoFile broken = video_index_file(&f->index, f->index.usable_files[BROKEN]);
    assert_int_equal(file_write(broken.path, "gone", 4, &error), 0);
    if (fixture_write(&report, f, "store", &about, 2, &error))
        fail_msg("%s", error.text);
    store_about_free(&about);
    fixture_open(store, f, "store");
}

/* Clips of a store as sequences: all of them, one view of some videos, segments side by side. */
static void sequences_of_a_store(void **state) {
    Fixture *f = *state;
    Error error = {0};
    Store store;
    StoreTokens t;
    write_store(f, &store);
    int width = store.about.width;
    float *clip = memory_new(ROWS, (size_t)width * sizeof *clip);
    float *out = memory_new(2 * SEGMENTS * ROWS, (size_t)width * sizeof *out);
    size_t bytes = ROWS * (size_t)width * sizeof *clip;

    assert_int_equal(store_tokens_open(&t, &store, NULL, 0, -1, (TokenLayout){0}, &error), 0);
    assert_int_equal(t.source.count, (VIDEOS - 1) * CLIPS);
    assert_int_equal(t.source.tokens, ROWS);
    assert_int_equal(t.source.width, width);
    for (int64_t i = 0; i < t.source.count; i++) {
        const TokenSequence *s = &t.sequences[i];
        assert_int_equal(s->video, i / CLIPS + (i / CLIPS >= BROKEN));
        assert_int_equal(s->segment * VIEWS + s->view, i % CLIPS);
        int64_t items[2] = {i, 0};
        assert_int_equal(t.source.read(out, items, 2, t.source.context, &error), 0);
        store_floats(clip, &store, s->video, s->segment * VIEWS + s->view);
        assert_memory_equal(out, clip, bytes);
        store_floats(clip, &store, 0, 0);
        assert_memory_equal(out + ROWS * width, clip, bytes);
    }
    store_tokens_close(&t);

    const int64_t videos[] = {5, BROKEN, 1};
    assert_int_equal(store_tokens_open(&t, &store, videos, 3, 1, (TokenLayout){0}, &error), 0);
    assert_int_equal(t.source.count, 2 * SEGMENTS);
    for (int i = 0; i < 2 * SEGMENTS; i++) {
        assert_int_equal(t.sequences[i].video, i < SEGMENTS ? 5 : 1);
        assert_int_equal(t.sequences[i].segment, i % SEGMENTS);
        assert_int_equal(t.sequences[i].view, 1);
    }
    store_tokens_close(&t);

    TokenLayout across = {.across_segments = true};
    assert_int_equal(store_tokens_open(&t, &store, NULL, 0, -1, across, &error), 0);
    assert_int_equal(t.source.count, (VIDEOS - 1) * VIEWS);
    assert_int_equal(t.source.tokens, SEGMENTS * ROWS);
    int64_t item = 3; /* video 1, view 1 */
    assert_int_equal(t.source.read(out, &item, 1, t.source.context, &error), 0);
    for (int s = 0; s < SEGMENTS; s++) {
        store_floats(clip, &store, 1, s * VIEWS + 1);
        assert_memory_equal(out + s * ROWS * width, clip, bytes);
    }
    store_tokens_close(&t);

    assert_int_equal(store_tokens_open(&t, &store, videos + 1, 1, -1, across, &error), -1);
    assert_non_null(strstr(error.text, "none of the videos has features"));
    store_close(&store);
    free(clip);
    free(out);
}

/* Two layers, side by side in the store, one after the other in the sequence. */
static void layers_one_after_another(void **state) {
    (void)state;
    Fixture *f = fixture_begin(2);
    Error error = {0};
    Store store;
    StoreTokens t;
    write_store(f, &store);
    float side[ROWS * 48], out[2 * ROWS * 24];
    TokenLayout turned = {.layers_as_tokens = true};
    assert_int_equal(store_tokens_open(&t, &store, NULL, 0, -1, turned, &error), 0);
    assert_int_equal(t.source.tokens, 2 * ROWS);
    assert_int_equal(t.source.width, 24);
    int64_t item = 5;
    assert_int_equal(t.source.read(out, &item, 1, t.source.context, &error), 0);
    store_floats(side, &store, 1, 1);
    for (int l = 0; l < 2; l++)
        for (int n = 0; n < ROWS; n++)
            assert_memory_equal(out + (l * ROWS + n) * 24, side + n * 48 + l * 24, 24 * 4);
    store_tokens_close(&t);
    store_close(&store);
    void *own = f;
    fixture_teardown(&own);
}

/* Encoder tokens of augmented clips: [passes][items][SEGMENTS · ROWS][24] of two epochs. */
static AugmentedSettings settings_of(Fixture *f, int threads) {
    return (AugmentedSettings){.model = &f->model,
                               .network = 't',
                               .index = &f->index,
                               .spec = augment_published(&f->spec),
                               .files = f->index.usable_files,
                               .count = (int64_t)f->index.usable,
                               .segments = SEGMENTS,
                               .seed = 9,
                               .threads = threads};
}

/* A pass in an order, `step` sequences at a time; out[sequence][...] by sequence. */
static void pass(float *out, AugmentedTokens *t, int epoch, const int64_t *order, int step) {
    TokenSource source = augmented_tokens_source(t);
    Error error = {0};
    size_t values = (size_t)source.tokens * (size_t)source.width;
    float *some = memory_new((size_t)step * values, sizeof *some);
    int64_t items[VIDEOS];
    assert_int_equal(source.begin(epoch, order, source.context, &error), 0);
    for (int first = 0; first < VIDEOS; first += step) {
        int n = VIDEOS - first < step ? VIDEOS - first : step;
        for (int i = 0; i < n; i++)
            items[i] = order ? order[first + i] : first + i;
        if (source.read(some, items, n, source.context, &error))
            fail_msg("%s", error.text);
        for (int i = 0; i < n; i++)
            memcpy(out + (size_t)items[i] * values, some + (size_t)i * values,
                   values * sizeof *out);
    }
    free(some);
}

/* The largest difference, as a share of the largest value. */
static double distance(const float *a, const float *b, size_t count) {
    double most = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)a[i] - b[i]));
        size = fmax(size, fabs(a[i]));
    }
    return most / size;
}

static void every_epoch_has_views_of_its_own(void **state) {
    Fixture *f = *state;
    Error error = {0};
    AugmentedTokens *t;
    AugmentedSettings one = settings_of(f, 1), three = settings_of(f, 3);
    assert_int_equal(augmented_tokens_open(&t, &one, &error), 0);
    TokenSource source = augmented_tokens_source(t);
    assert_int_equal(source.count, VIDEOS);
    assert_int_equal(source.tokens, SEGMENTS * ROWS);
    assert_int_equal(source.width, 24);
    size_t values = SEGMENTS * ROWS * 24, all = VIDEOS * values;
    float *out[5];
    for (int i = 0; i < 5; i++)
        out[i] = memory_new(all, sizeof *out[i]);
    pass(out[0], t, 0, NULL, VIDEOS);
    pass(out[1], t, 1, NULL, VIDEOS);
    int64_t item = 0; /* a pass that is left */
    assert_int_equal(source.begin(2, NULL, source.context, &error), 0);
    assert_int_equal(source.read(out[4], &item, 1, source.context, &error), 0);
    pass(out[4], t, 0, NULL, 3);
    assert_memory_equal(out[0], out[4], all * sizeof(float));
    augmented_tokens_close(t);

    assert_int_equal(augmented_tokens_open(&t, &three, &error), 0);
    int64_t order[VIDEOS];
    for (int i = 0; i < VIDEOS; i++)
        order[i] = (int64_t)random_permute(3, RANDOM_TEST, 0, (uint64_t)i, VIDEOS);
    pass(out[2], t, 0, NULL, 3);
    pass(out[3], t, 0, order, 5);
    augmented_tokens_close(t);

    /* any number of threads and of sequences at a time: the same bits; in another order other clips
     * share a pass, and a library may multiply in another way */
    assert_memory_equal(out[0], out[2], all * sizeof(float));
    assert_true(distance(out[0], out[3], all) < 1e-5);
    for (int v = 0; v < VIDEOS; v++) {
        size_t at = (size_t)v * values, half = values / 2;
        assert_true(distance(out[0] + at, out[1] + at, values) > 1e-3);
        assert_true(distance(out[0] + at, out[0] + at + half, half) > 1e-3); /* segments */
    }
    for (int i = 0; i < 5; i++)
        free(out[i]);
}

/* What is drawn is the published augmentation, in the segment's own part of the video. */
static void draws_are_published(void **state) {
    Fixture *f = *state;
    AugmentedSettings s = settings_of(f, 1);
    int erased = 0, count = 0, ops = 0;
    double least = 1, most = 0;
    for (int epoch = 0; epoch < 40; epoch++)
        for (int64_t v = 0; v < VIDEOS; v++)
            for (int k = 0; k < SEGMENTS; k++, count++) {
                ClipDraw draw, again;
                augmented_tokens_draw(&draw, &s, epoch, v, k, 0);
                augmented_tokens_draw(&again, &s, epoch, v, k, 0);
                assert_memory_equal(&draw, &again, sizeof draw);
                assert_int_equal(draw.file, f->index.usable_files[v]);
                /* 12 frames, clips of 4, 2 apart: first frames 0 to 5 */
                assert_in_range(draw.frames[0], k ? 3 : 0, k ? 5 : 2);
                assert_false(draw.flip);
                double area = (double)draw.width * draw.height / (32 * 32);
                least = fmin(least, area);
                most = fmax(most, area);
                erased += draw.augment.erases;
                ops += draw.augment.op_count;
                assert_false(draw.augment.jitters);
            }
    assert_true(least < 0.12 && most > 0.9);
    /* binomial of 640 draws with p = 1/4, and of 4 · 640 with p = 1/2: four standard deviations */
    assert_true(abs(erased - count / 4) < 4 * sqrt(count * 3. / 16));
    assert_true(abs(ops - 2 * count) < 4 * sqrt(4 * count / 4.));
    ClipDraw one, two;
    augmented_tokens_draw(&one, &s, 0, 0, 0, 0);
    augmented_tokens_draw(&two, &s, 0, 0, 0, 1);
    assert_memory_not_equal(&one, &two, sizeof one);
}

static void broken_videos_end_the_pass(void **state) {
    Fixture *f = *state;
    Error error = {0};
    AugmentedTokens *t;
    AugmentedSettings s = settings_of(f, 2);
    VideoFile broken = video_index_file(&f->index, f->index.usable_files[BROKEN]);
    assert_int_equal(file_write(broken.path, "gone", 4, &error), 0);
    assert_int_equal(augmented_tokens_open(&t, &s, &error), 0);
    TokenSource source = augmented_tokens_source(t);
    float *out = memory_new(VIDEOS * SEGMENTS * ROWS, 24 * sizeof *out);
    int64_t items[VIDEOS];
    for (int i = 0; i < VIDEOS; i++)
        items[i] = i;
    assert_int_equal(source.read(out, items, VIDEOS, source.context, &error), -1);
    assert_int_equal(error.code, ERROR_RUN);
    assert_non_null(strstr(error.text, video_index_name(&f->index, f->index.usable_files[BROKEN])));
    augmented_tokens_close(t);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sequences_of_a_store, fixture_setup, fixture_teardown),
        cmocka_unit_test(layers_one_after_another),
        cmocka_unit_test_setup_teardown(every_epoch_has_views_of_its_own, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(draws_are_published, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(broken_videos_end_the_pass, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
