/* Feature stores: what is read is what the encoder says, to the bit, for any number of threads;
 * another extraction's store is refused; videos that break are marked; what 16 bits cannot hold is
 * said. Their videos: synth_write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "eval/store_header.h"
#include "tests/eval/store_fixture.h"
#include <math.h>

/* The clips of batch `first` as the passes want them, decoded one by one. */
static void decode_batch(uint8_t *pixels, const Fixture *f, int64_t first, int count) {
    Error error = {0};
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    for (int b = 0; b < count; b++) {
        ClipDraw draw;
        int clip = (int)((first + b) % CLIPS);
        uint32_t file = f->index.usable_files[(first + b) / CLIPS];
        VideoFile video = video_index_file(&f->index, file);
        clip_draw_evaluation(&draw, &f->index, file, &f->spec, clip / VIEWS, SEGMENTS, clip % VIEWS,
                             VIEWS);
        size_t bytes = (size_t)3 * 4 * 16 * 16;
        if (clip_decode(pixels + (size_t)b * bytes, decoder, &video, &draw, &f->spec, &error))
            fail_msg("%s", error.text);
    }
    clip_decoder_free(decoder);
}

/* Every clip of a store against the encoder's own passes. */
static void check_bits(Fixture *f, const Store *store) {
    const StoreAbout *about = &store->about;
    Model *m = &f->model;
    size_t values = (size_t)about->rows * (size_t)about->width;
    uint8_t *pixels = memory_new(SAMPLES, 3 * 4 * 16 * 16);
    float *pooled = memory_new((size_t)(SAMPLES * about->width), sizeof *pooled);
    float *floats = memory_new(values, sizeof *floats);
    double *mean = memory_new((size_t)about->width, sizeof *mean);
    int different = 0;
    for (int64_t first = 0; first < VIDEOS * CLIPS; first += SAMPLES) {
        int count = (int)(VIDEOS * CLIPS - first < SAMPLES ? VIDEOS * CLIPS - first : SAMPLES);
        decode_batch(pixels, f, first, count);
        model_set_input(m, &(ModelInput){.samples = count, .pixels = pixels});
        model_features(m, count, 't');
        if (about->pooled)
            f->device->rows_mean(pooled, m->target_out, m->cu_target_clips, count, about->width,
                                 f->device);
        for (int b = 0; b < count; b++) {
            const float *rows = (about->pooled ? pooled : m->target_out) + (size_t)b * values;
            int64_t video = (first + b) / CLIPS;
            int clip = (int)((first + b) % CLIPS);
            const uint16_t *bits = store_clip(store, video, clip);
            store_floats(floats, store, video, clip);
            for (size_t i = 0; i < values; i++) {
                bool half = about->type == STORE_FLOAT16;
                uint16_t own = half ? float16_from_float(rows[i]) : bfloat16_from_float(rows[i]);
                assert_int_equal(bits[i], own);
                assert_true(floats[i] == (half ? float16_to_float(own) : bfloat16_to_float(own)));
                /* half a unit in the last place of 11 or 8 bits */
                assert_true(fabsf(floats[i] - rows[i]) <=
                            fabsf(rows[i]) * (half ? 0x1p-11f : 0x1p-8f) + 0x1p-25f);
                different += bits[i] != *bits;
            }
            if (!clip)
                memset(mean, 0, (size_t)about->width * sizeof *mean);
            for (size_t i = 0; i < values; i++)
                mean[i % (size_t)about->width] += floats[i] / (double)(about->rows * CLIPS);
            if (clip == CLIPS - 1) {
                float own[64];
                store_video_mean(own, store, video);
                for (int d = 0; d < about->width; d++)
                    assert_true(fabs(own[d] - mean[d]) < 1e-6 * (1 + fabs(mean[d])));
            }
        }
    }
    assert_true(different > 0); /* features are not all alike */
    free(pixels);
    free(pooled);
    free(floats);
    free(mean);
}

static void round_trip(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        Fixture *f = fixture_begin(k == 2 ? 2 : 0);
        Error error = {0};
        StoreReport report;
        Store store;
        StoreAbout about = fixture_about(f, k == 1, k == 3 ? STORE_BFLOAT16 : STORE_FLOAT16);
        if (fixture_write(&report, f, "store", &about, 2, &error))
            fail_msg("%s", error.text);
        assert_int_equal(report.clips, VIDEOS * CLIPS);
        assert_int_equal(report.resumed, 0);
        assert_int_equal(report.failed, 0);
        assert_int_equal(report.shards, (VIDEOS * CLIPS + SAMPLES - 1) / SAMPLES);
        fixture_open(&store, f, "store/");
        assert_int_equal(store_matches(&store, &about, &error), 0);
        assert_int_equal(store.videos, VIDEOS);
        assert_int_equal(store.clips, CLIPS);
        assert_int_equal(store.about.rows, k == 1 ? 1 : 2 * 2 * 2);
        assert_int_equal(store.about.width, k == 2 ? 48 : 24);
        assert_int_equal(store.about.heads, 2);
        assert_string_equal(store.about.precision, "float32");
        assert_int_equal(store.classes, f->index.classes);
        for (int64_t v = 0; v < VIDEOS; v++) {
            uint32_t file = f->index.usable_files[v];
            assert_string_equal(store.names[v], video_index_name(&f->index, file));
            assert_int_equal(store.labels[v], video_index_label(&f->index, file));
            assert_string_equal(store.class_names[store.labels[v]],
                                f->index.class_names[store.labels[v]]);
        }
        check_bits(f, &store);
        store_close(&store);
        /* complete: nothing to do, nothing changes */
        assert_int_equal(fixture_write(&report, f, "store", &about, 1, &error), 0);
        assert_int_equal(report.resumed, report.clips);
        store_about_free(&about);
        void *own = f;
        fixture_teardown(&own);
    }
}

/* Threads of decoding and of arithmetic change nothing; nor does the size of shards in the bits. */
static void threads_change_nothing(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "one", &about, 1, &error), 0);
    fixture_model_free(f);
    fixture_model(f, 0, 1);
    assert_int_equal(fixture_write(&report, f, "three", &about, 3, &error), 0);
    fixture_same(f, "one", "three");
    char *path = path_join(f->folder, "large");
    assert_int_equal(
        store_write(&report, path, &f->model, &f->index, &f->spec, &f->views, &about, 0, 2, &error),
        0);
    assert_int_equal(report.shards, 1);
    free(path);
    Store large, small;
    fixture_open(&large, f, "large");
    fixture_open(&small, f, "one");
    for (int64_t v = 0; v < VIDEOS; v++)
        for (int c = 0; c < CLIPS; c++)
            assert_memory_equal(store_clip(&large, v, c), store_clip(&small, v, c),
                                (size_t)store_clip_bytes(&about));
    store_close(&large);
    store_close(&small);
    store_about_free(&about);
}

/* Every fact of the header counts; what differs is named. */
static void stale_ones_are_refused(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "store", &about, 2, &error), 0);
    fixture_run(f, "cp -r store begun && rm begun/store.msgpack");
    Store store;
    fixture_open(&store, f, "store");
#define DIFFERS(change, word)                                                                      \
    do {                                                                                           \
        StoreAbout now = about;                                                                    \
        change;                                                                                    \
        error = (Error){0};                                                                        \
        assert_int_equal(store_matches(&store, &now, &error), -1);                                 \
        assert_int_equal(error.code, ERROR_USAGE);                                                 \
        assert_non_null(strstr(error.text, word));                                                 \
        error = (Error){0};                                                                        \
        assert_int_equal(fixture_write(&report, f, "store", &now, 2, &error), -1);                 \
        assert_non_null(strstr(error.text, word));                                                 \
        error = (Error){0};                                                                        \
        assert_int_equal(fixture_write(&report, f, "begun", &now, 2, &error), -1);                 \
        assert_non_null(strstr(error.text, word));                                                 \
    } while (0)
    DIFFERS(now.checkpoint.bytes[31] ^= 1, "the weights: a test, hash ");
    DIFFERS(now.recipe.bytes[0] ^= 1, "the recipe");
    DIFFERS(now.files.bytes[0] ^= 1, "the videos");
    DIFFERS(now.frames.bytes[0] ^= 1, "frames and crops");
    DIFFERS(now.precision = (char *)(uintptr_t) "bfloat16", "float32 there, bfloat16 now");
    DIFFERS(now.network = 'c', "--network: target there, context now");
    DIFFERS((now.layers = 1, now.layer[0] = 1), "--layers: the last there, 1 now");
    DIFFERS(now.type = STORE_BFLOAT16, "--type: float16 there");
    DIFFERS(now.heads = 3, "heads");
#undef DIFFERS
    store_close(&store);
    /* other frames of the same videos, as store_about sees them */
    f->spec.step = 1;
    StoreAbout other = fixture_about(f, false, STORE_FLOAT16);
    assert_false(hash_same(&other.frames, &about.frames));
    store_about_free(&other);
    f->views.segments = 1;
    other = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "store", &other, 2, &error), -1);
    assert_non_null(strstr(error.text, "--segments: 2 there, 1 now"));
    store_about_free(&other);
    f->views.segments = SEGMENTS;
    f->spec.step = 2;
    /* shards of another size; a folder of something else */
    char *path = path_join(f->folder, "begun");
    assert_int_equal(store_write(&report, path, &f->model, &f->index, &f->spec, &f->views, &about,
                                 2 * SAMPLES, 2, &error),
                     -1);
    assert_non_null(strstr(error.text, "was begun with shards of 3 clips, not 6"));
    free(path);
    assert_int_equal(fixture_write(&report, f, "videos", &about, 2, &error), -1);
    assert_non_null(strstr(error.text, "is not empty and no feature store"));
    store_about_free(&about);
}

/* A video that breaks behind the index is marked, not replaced; the others are as ever. */
static void failures_are_marked(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "sound", &about, 2, &error), 0);
    VideoFile broken = video_index_file(&f->index, f->index.usable_files[2]);
    assert_int_equal(file_write(broken.path, "gone", 4, &error), 0);
    assert_int_equal(fixture_write(&report, f, "store", &about, 2, &error), 0);
    assert_int_equal(report.failed, 1);
    Store store, sound;
    fixture_open(&store, f, "store");
    fixture_open(&sound, f, "sound");
    size_t bytes = (size_t)store_clip_bytes(&about);
    for (int64_t v = 0; v < VIDEOS; v++) {
        assert_int_equal(store.failed[v], v == 2);
        for (int c = 0; c < CLIPS; c++) {
            const uint16_t *bits = store_clip(&store, v, c);
            for (size_t i = 0; v == 2 && i < bytes / 2; i++)
                assert_int_equal(bits[i], 0);
            if (v != 2)
                assert_memory_equal(bits, store_clip(&sound, v, c), bytes);
        }
    }
    store_close(&store);
    store_close(&sound);
    /* resumed in the middle of the broken video: it stays marked */
    fixture_run(f, "cp -r store part && rm part/store.msgpack part/shard-0000[3-9].msgpack");
    assert_int_equal(fixture_write(&report, f, "part", &about, 2, &error), 0);
    assert_int_equal(report.failed, 1);
    fixture_same(f, "store", "part");
    for (int64_t v = 0; v < VIDEOS; v++) {
        VideoFile file = video_index_file(&f->index, f->index.usable_files[v]);
        assert_int_equal(file_write(file.path, "gone", 4, &error), 0);
    }
    assert_int_equal(fixture_write(&report, f, "none", &about, 2, &error), -1);
    assert_non_null(strstr(error.text, "not one video"));
    store_about_free(&about);
}

/* Values that 16 bits cannot hold are an error that names the video, not an infinity. */
static void overflow_is_said(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout half = fixture_about(f, false, STORE_FLOAT16),
               brain = fixture_about(f, false, STORE_BFLOAT16);
    float *norm = f->model.target + f->model.target_table.norm_w[0];
    for (int d = 0; d < 24; d++)
        norm[d] = 1e5f;
    assert_int_equal(fixture_write(&report, f, "half", &half, 2, &error), -1);
    assert_int_equal(error.code, ERROR_RUN);
    assert_non_null(strstr(error.text, "does not fit into float16"));
    assert_non_null(strstr(error.text, ".mp4: "));
    fixture_refused(f, "half", false, ERROR_RUN, "not complete");
    assert_int_equal(fixture_write(&report, f, "brain", &brain, 2, &error), 0);
    norm[3] = NAN;
    assert_int_equal(fixture_write(&report, f, "nan", &brain, 2, &error), -1);
    assert_non_null(strstr(error.text, "no finite numbers"));
    store_about_free(&half);
    store_about_free(&brain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test_setup_teardown(threads_change_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(stale_ones_are_refused, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(failures_are_marked, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(overflow_is_said, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
