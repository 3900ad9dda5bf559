/* The loader: the same clips in the same order for any number of workers and any point of resuming,
 * the same replacements for damaged videos, and a clean stop at any time. */
#include "base/file.h"
#include "video/encode.h"
#include "video/loader.h"
#include "video/sampler.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define VIDEOS 6
#define SIDE   64
#define SLOTS  5 /* slots of a step */
#define SEED   77

typedef struct Fixture {
    char *folder;
    VideoIndex index;
    ClipSpec spec;
    Sampler sampler;
    int last_attempt; /* draws beyond are refused */
    int together;
} Fixture;

/* Frame t of video v: every pixel says which video, and roughly which frame. */
static void make_video(const char *path, int v, int frames) {
    Error error = {0};
    VideoWriter *writer;
    assert_int_equal(video_writer_open(&writer, path, SIDE, SIDE, 25, &error), 0);
    uint8_t *rgb = memory_new((size_t)SIDE * SIDE, 3);
    for (int t = 0; t < frames; t++) {
        for (int i = 0; i < SIDE * SIDE * 3; i++)
            rgb[i] = (uint8_t)(i % 3 == 0 ? 30 + 30 * v : i % 3 == 1 ? 40 + 4 * t : 128);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    free(rgb);
    assert_int_equal(video_writer_close(writer, &error), 0);
}

static int setup(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    f->folder = memory_text("/tmp/jepa_loader_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    for (int v = 0; v < VIDEOS; v++) {
        char *path = memory_text("%s/%d.mp4", f->folder, v);
        make_video(path, v, 20 + v);
        free(path);
    }
    Error error = {0};
    if (video_index_build(&f->index, f->folder, 2, &error))
        fail_msg("%s", error.text);
    assert_int_equal(f->index.usable, VIDEOS);
    f->spec = (ClipSpec){
        .frames = 4, .step = 2, .crop = 24, .scale = {0.3, 1}, .ratio = {0.75, 1.35}, .flip = true};
    f->last_attempt = 100;
    SamplerSettings settings = {.clip = f->spec, .num_clips = 1, .seed = SEED};
    assert_int_equal(sampler_new(&f->sampler, &f->index, &settings, &error), 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    Error error = {0};
    sampler_free(&f->sampler);
    video_index_free(&f->index);
    assert_int_equal(folder_remove(f->folder, &error), 0);
    free(f->folder);
    free(f);
    return 0;
}

static int draw(void *context, uint64_t job, int attempt, ClipDraw *drawn) {
    const Fixture *f = context;
    if (attempt > f->last_attempt)
        return 0;
    sampler_draw(&f->sampler, drawn, job / SLOTS, SLOTS, SLOTS, job % SLOTS, attempt);
    return 1;
}

static Loader *open_loader(Fixture *f, uint64_t first, uint64_t jobs, int batch, int ring,
                           int threads) {
    LoaderConfig config = {.index = &f->index,
                           .spec = f->spec,
                           .source = {f, draw},
                           .first_job = first,
                           .jobs = jobs,
                           .together = f->together,
                           .batch = batch,
                           .ring = ring,
                           .threads = threads};
    Loader *loader;
    Error error = {0};
    if (loader_open(&loader, &config, &error))
        fail_msg("%s", error.text);
    return loader;
}

static size_t clip_bytes(const Fixture *f) {
    return (size_t)3 * (size_t)f->spec.frames * (size_t)f->spec.crop * (size_t)f->spec.crop;
}

/* Everything about jobs first..jobs-1: clips one after another, and what was drawn. */
typedef struct Content {
    uint8_t *clips;
    ClipDraw *draws;
    char **reasons;
    size_t count;
} Content;

static void content_free(Content *content) {
    for (size_t i = 0; i < content->count; i++)
        free(content->reasons[i]);
    free(content->reasons);
    free(content->clips);
    free(content->draws);
}

static Content gather(Fixture *f, uint64_t first, uint64_t jobs, int batch, int ring, int threads) {
    size_t total = (size_t)(jobs - first), bytes = clip_bytes(f);
    Content content = {memory_new(total, bytes), memory_new(total, sizeof(ClipDraw)),
                       memory_new(total, sizeof(char *)), 0};
    Loader *loader = open_loader(f, first, jobs, batch, ring, threads);
    for (const LoaderBatch *got; (got = loader_next(loader, NULL));) {
        assert_int_equal(got->first_job, first + content.count);
        assert_in_range(got->count, 1, batch);
        assert_true(got->wait >= 0 && got->decode > 0);
        assert_in_range(got->ready_ahead, 0, ring - 1);
        for (int b = 0; b < got->count; b++) {
            assert_true(content.count < total);
            assert_false(got->slots[b].failed);
            memcpy(content.clips + content.count * bytes, got->clips + (size_t)b * bytes, bytes);
            content.draws[content.count] = got->slots[b].draw;
            if (got->slots[b].reason)
                content.reasons[content.count] = memory_text("%s", got->slots[b].reason);
            content.count++;
        }
    }
    assert_null(loader_next(loader, NULL)); /* the end stays the end */
    loader_close(loader);
    assert_int_equal(content.count, total);
    return content;
}

static void assert_same(const Content *a, size_t skip_a, const Content *b, size_t bytes) {
    assert_int_equal(a->count - skip_a, b->count);
    for (size_t i = 0; i < b->count; i++) {
        assert_memory_equal(&a->draws[skip_a + i], &b->draws[i], sizeof(ClipDraw));
        assert_memory_equal(a->clips + (skip_a + i) * bytes, b->clips + i * bytes, bytes);
        const char *x = a->reasons[skip_a + i], *y = b->reasons[i];
        assert_string_equal(x ? x : "", y ? y : "");
    }
}

static void test_order(void **state) {
    Fixture *f = *state;
    Content one = gather(f, 0, 23, 4, 2, 1), three = gather(f, 0, 23, 4, 3, 3);
    assert_same(&one, 0, &three, clip_bytes(f));
    Content wide = gather(f, 0, 23, 7, 2, 3); /* other batches, same jobs */
    assert_same(&one, 0, &wide, clip_bytes(f));
    Content later = gather(f, 9, 23, 4, 2, 2); /* a resumed run */
    assert_same(&one, 9, &later, clip_bytes(f));
    /* the clips are those of the drawn videos: red says which */
    size_t plane = (size_t)f->spec.crop * (size_t)f->spec.crop;
    for (size_t i = 0; i < one.count; i++) {
        int red = one.clips[i * clip_bytes(f) + plane / 2],
            wanted = 30 + 30 * (int)one.draws[i].file;
        assert_in_range(red, wanted - 8, wanted + 8);
        for (int t = 0; t < f->spec.frames; t++) { /* green says which frame */
            size_t green = ((size_t)f->spec.frames + (size_t)t) * plane + plane / 2;
            int level = 40 + 4 * (int)one.draws[i].frames[t];
            assert_in_range(one.clips[i * clip_bytes(f) + green], level - 8, level + 8);
        }
    }
    content_free(&one);
    content_free(&three);
    content_free(&wide);
    content_free(&later);
}

static int draw_view(void *context, uint64_t job, int attempt, ClipDraw *drawn) {
    const Fixture *f = context;
    (void)attempt;
    uint32_t file = f->index.usable_files[job / 3 % f->index.usable];
    clip_draw_evaluation(drawn, &f->index, file, &f->spec, (int)(job / 3 % 5), 5, (int)(job % 3),
                         3);
    return 1;
}

/* Jobs that go together come out as ever, whatever batches and workers there are, and their frames
 * are decoded once. */
static void test_together(void **state) {
    Fixture *f = *state;
    Content one = gather(f, 0, 23, 4, 2, 1);
    for (int together = 2; together <= 5; together++)
        for (int threads = 1; threads <= 4; threads++) {
            f->together = together;
            Content same = gather(f, 0, 23, 2 + together % 3, 2, threads);
            assert_same(&one, 0, &same, clip_bytes(f));
            Content later = gather(f, 7, 23, 3, 3, threads);
            assert_same(&one, 7, &later, clip_bytes(f));
            content_free(&same);
            content_free(&later);
            loader_close(open_loader(f, 0, UINT64_MAX, 2, 2, threads));
        }
    content_free(&one);
    f->spec.crop = f->spec.crop_width = 16;
    for (int threads = 1; threads <= 4; threads++) {
        Error error = {0};
        LoaderConfig config = {.index = &f->index,
                               .spec = f->spec,
                               .source = {f, draw_view},
                               .first_job = 2, /* the last of three */
                               .jobs = 29,
                               .together = 3,
                               .batch = 4,
                               .ring = 2,
                               .threads = threads};
        Loader *loader;
        assert_int_equal(frame_cache_open(&config.cache, (size_t)1 << 24, NULL, &error), 0);
        assert_int_equal(loader_open(&loader, &config, &error), 0);
        while (loader_next(loader, &error))
            ;
        assert_int_equal(error.code, 0);
        loader_close(loader);
        FrameCacheStats stats = frame_cache_stats(config.cache);
        assert_int_equal(stats.misses, 10);
        assert_int_equal(stats.hits, 17);
        frame_cache_close(config.cache);
    }
}

/* A file that is destroyed after it was indexed: its slots are drawn anew, always the same way. */
static void test_redraw(void **state) {
    Fixture *f = *state;
    Error error = {0};
    assert_int_equal(file_write(video_index_file(&f->index, 2).path, "gone", 4, &error), 0);
    Content one = gather(f, 0, 20, 4, 2, 1), three = gather(f, 0, 20, 5, 3, 3);
    assert_same(&one, 0, &three, clip_bytes(f));
    int redrawn = 0;
    for (size_t i = 0; i < one.count; i++) {
        assert_int_not_equal(one.draws[i].file, 2);
        assert_int_equal(one.draws[i].attempt > 0, one.reasons[i] != NULL);
        if (one.reasons[i]) {
            redrawn++;
            assert_ptr_equal(strstr(one.reasons[i], "2.mp4"), one.reasons[i]);
        }
    }
    assert_true(redrawn >= 20 / VIDEOS); /* each epoch has the file once, at least */
    content_free(&one);
    content_free(&three);

    /* without a second choice the slot fails and its clip is black */
    f->last_attempt = 0;
    Loader *loader = open_loader(f, 0, VIDEOS, VIDEOS, 2, 2);
    const LoaderBatch *batch = loader_next(loader, NULL);
    assert_non_null(batch);
    int failed = 0;
    for (int b = 0; b < batch->count; b++)
        if (batch->slots[b].failed) {
            failed++;
            assert_int_equal(batch->slots[b].bad_file, 2);
            assert_non_null(batch->slots[b].reason);
            for (size_t i = 0; i < clip_bytes(f); i++)
                assert_int_equal(batch->clips[(size_t)b * clip_bytes(f) + i], 0);
        }
    assert_int_equal(failed, 1);
    loader_close(loader);
}

/* Nothing is left: the loader must come to an end for every job all the same. */
static void test_all_damaged(void **state) {
    Fixture *f = *state;
    Error error = {0};
    for (size_t i = 0; i < f->index.count; i++)
        assert_int_equal(
            file_write(video_index_file(&f->index, (uint32_t)i).path, "gone", 4, &error), 0);
    Loader *loader = open_loader(f, 0, UINT64_MAX, 3, 2, 2);
    for (int i = 0; i < 3; i++) {
        const LoaderBatch *batch = loader_next(loader, NULL);
        for (int b = 0; b < batch->count; b++)
            assert_true(batch->slots[b].failed);
    }
    loader_close(loader);
}

static void test_close(void **state) {
    Fixture *f = *state;
    for (int threads = 1; threads <= 4; threads++) {
        loader_close(open_loader(f, 0, UINT64_MAX, 3, 2, threads)); /* at once */
        Loader *loader = open_loader(f, 0, UINT64_MAX, 3, 2, threads);
        assert_non_null(loader_next(loader, NULL));
        loader_close(loader); /* while a batch is held */
        loader = open_loader(f, 0, 2, 3, 4, threads);
        loader_close(loader); /* a ring larger than the source */
    }
    loader_close(NULL);
    Loader *empty = open_loader(f, 8, 8, 3, 2, 1);
    assert_null(loader_next(empty, NULL));
    loader_close(empty);
}

/* A clip that takes too long is no reason for another: the loader ends, naming the file. */
static void test_timeout(void **state) {
    Fixture *f = *state;
    LoaderConfig config = {.index = &f->index,
                           .spec = f->spec,
                           .source = {f, draw},
                           .jobs = UINT64_MAX,
                           .batch = 3,
                           .ring = 2,
                           .threads = 2,
                           .timeout = 1e-9};
    Loader *loader;
    Error error = {0};
    config.together = 5;
    assert_int_equal(loader_open(&loader, &config, &error), 0);
    assert_null(loader_next(loader, &error));
    loader_close(loader);
    config.together = 0;
    assert_int_equal(loader_open(&loader, &config, &error), 0);
    assert_null(loader_next(loader, &error));
    assert_non_null(strstr(error.text, ".mp4"));
    assert_non_null(strstr(error.text, "data.timeout"));
    assert_null(loader_next(loader, &error));
    loader_close(loader);
}

/* The published path: normalised floats, mirrored already, near the fast one. */
static void test_published(void **state) {
    Fixture *f = *state;
    Content fast = gather(f, 0, 12, 4, 2, 2);
    f->spec.interpolation = CLIP_PUBLISHED;
    size_t values = clip_bytes(f), seen = 0;
    Loader *loader = open_loader(f, 0, 12, 4, 2, 3);
    LoaderConfig config = {.spec = f->spec, .batch = 1, .ring = 2};
    assert_true(loader_bytes(&config) >= 2 * values * sizeof(float));
    const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    int side = f->spec.crop;
    for (const LoaderBatch *batch; (batch = loader_next(loader, NULL));) {
        assert_null(batch->clips);
        for (int b = 0; b < batch->count; b++, seen++) {
            const ClipDraw *d = &batch->slots[b].draw;
            assert_memory_equal(d, &fast.draws[seen], sizeof *d);
            for (size_t i = 0; i < values; i++) {
                size_t c = i / (values / 3), x = i % (size_t)side;
                size_t twin = d->flip ? i - x + (size_t)side - 1 - x : i;
                float pixel = (batch->values[(size_t)b * values + i] * std[c] + mean[c]) * 255;
                int other = fast.clips[seen * values + twin];
                assert_true(pixel > (float)other - 6 && pixel < (float)other + 6);
            }
        }
    }
    assert_int_equal(seen, 12);
    loader_close(loader);
    content_free(&fast);
}

static void test_bytes(void **state) {
    Fixture *f = *state;
    LoaderConfig config = {.spec = f->spec, .batch = 3, .ring = 4};
    size_t alone = loader_bytes(&config);
    assert_true(alone >= 12 * clip_bytes(f));
    assert_true(alone < 12 * (clip_bytes(f) + 65536));
    config.spec.views.local_views = 7;
    config.spec.views.local_crop = 16;
    assert_int_equal(loader_bytes(&config) - alone, 12 * 7 * 3 * (size_t)f->spec.frames * 16 * 16);
}

/* ---- local views, and clips of several lengths ---- */

#define VIEWS 3
#define LOCAL 16
#define SHORT 2 /* frames of every third clip */

static void want_views(Fixture *f) {
    f->spec.views = (ClipViews){.local_views = VIEWS,
                                .local_crop = LOCAL,
                                .local_scale = {0.05, 0.4},
                                .local_ratio = {0.75, 4.0 / 3},
                                .local_flip = true,
                                .jitter_probability = 0.8,
                                .brightness = 0.4,
                                .contrast = 0.4,
                                .saturation = 0.2,
                                .hue = 0.1,
                                .grayscale_probability = 0.2};
    f->sampler.settings.clip = f->spec;
}

static size_t local_bytes(const Fixture *f) {
    return (size_t)VIEWS * 3 * (size_t)f->spec.frames * LOCAL * LOCAL;
}

static int draw_lengths(void *context, uint64_t job, int attempt, ClipDraw *drawn) {
    const Fixture *f = context;
    ClipSpec spec = f->spec;
    if (!draw(context, job, attempt, drawn))
        return 0;
    spec.frames = job % 3 == 0 ? SHORT : f->spec.frames;
    VideoFile file = video_index_file(&f->index, drawn->file);
    clip_draw_frames(drawn, &file, &spec, 0.4);
    return 1;
}

/* Every slot holds what decoding its draw gives, packed at the beginning of its part with the
 * clip's own number of frames; nothing depends on the workers, the batches or the first job. */
static void check_views(Fixture *f, uint64_t first, int batch, int threads) {
    LoaderConfig config = {.index = &f->index,
                           .spec = f->spec,
                           .source = {f, draw_lengths},
                           .first_job = first,
                           .jobs = 25,
                           .batch = batch,
                           .ring = 2,
                           .threads = threads};
    Loader *loader;
    Error error = {0};
    if (loader_open(&loader, &config, &error))
        fail_msg("%s", error.text);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    uint64_t job = first;
    for (const LoaderBatch *got; (got = loader_next(loader, NULL));)
        for (int b = 0; b < got->count; b++, job++) {
            const ClipDraw *drawn = &got->slots[b].draw;
            ClipDraw expected;
            draw_lengths(f, job, 0, &expected);
            assert_memory_equal(drawn, &expected, sizeof expected);
            assert_int_equal(drawn->count, job % 3 == 0 ? SHORT : f->spec.frames);
            VideoFile file = video_index_file(&f->index, drawn->file);
            ClipSpec own = f->spec;
            own.frames = drawn->count;
            size_t frames = 3 * (size_t)drawn->count, crop = (size_t)f->spec.crop;
            size_t views = VIEWS * frames * LOCAL * LOCAL;
            uint8_t *clip = memory_new(frames, crop * crop), *locals = memory_new(views, 1);
            if (clip_decode_views(clip, locals, decoder, &file, drawn, &own, &error))
                fail_msg("%s", error.text);
            assert_memory_equal(got->clips + (size_t)b * clip_bytes(f), clip, frames * crop * crop);
            assert_memory_equal(got->locals + (size_t)b * local_bytes(f), locals, views);
            free(clip);
            free(locals);
        }
    assert_int_equal(job, 25);
    clip_decoder_free(decoder);
    loader_close(loader);
}

static void test_views(void **state) {
    Fixture *f = *state;
    Loader *plain = open_loader(f, 0, 5, 5, 2, 1);
    assert_null(loader_next(plain, NULL)->locals);
    loader_close(plain);
    want_views(f);
    check_views(f, 0, 4, 1);
    check_views(f, 0, 7, 3);
    check_views(f, 11, 4, 2); /* a resumed run */
}

/* Packed by hand: with a clip of 2 frames in a part for 4, channel c of frame t lies at
 * (c · 2 + t) crop². Red says which video, green which frame, blue is 128. */
static void test_short_clips_are_packed(void **state) {
    Fixture *f = *state;
    LoaderConfig config = {.index = &f->index,
                           .spec = f->spec,
                           .source = {f, draw_lengths},
                           .jobs = 6,
                           .batch = 6,
                           .ring = 2,
                           .threads = 2};
    Loader *loader;
    Error error = {0};
    assert_int_equal(loader_open(&loader, &config, &error), 0);
    const LoaderBatch *batch = loader_next(loader, NULL);
    size_t plane = (size_t)f->spec.crop * (size_t)f->spec.crop;
    for (int b = 0; b < 6; b++) {
        const ClipDraw *d = &batch->slots[b].draw;
        const uint8_t *part = batch->clips + (size_t)b * 3 * (size_t)f->spec.frames * plane;
        assert_int_equal(d->count, b % 3 == 0 ? SHORT : f->spec.frames);
        for (int t = 0; t < d->count; t++) {
            int expected[3] = {30 + 30 * (int)d->file, 40 + 4 * (int)d->frames[t], 128};
            for (int c = 0; c < 3; c++) {
                int found = part[(size_t)(c * d->count + t) * plane + plane / 2];
                assert_in_range(found, expected[c] - 8, expected[c] + 8); /* coded lossily */
            }
        }
    }
    loader_close(loader);
}

/* Failed slots have black views as well; what cannot be had is refused when the loader is opened.
 */
static void test_views_that_fail(void **state) {
    Fixture *f = *state;
    Error error = {0};
    want_views(f);
    assert_int_equal(file_write(video_index_file(&f->index, 2).path, "gone", 4, &error), 0);
    f->last_attempt = 0;
    Loader *loader = open_loader(f, 0, 3 * VIDEOS, VIDEOS, 2, 2);
    int failed = 0;
    for (const LoaderBatch *batch; (batch = loader_next(loader, NULL));)
        for (int b = 0; b < batch->count; b++) {
            failed += batch->slots[b].failed;
            for (size_t i = 0; batch->slots[b].failed && i < local_bytes(f); i++)
                assert_int_equal(batch->locals[(size_t)b * local_bytes(f) + i], 0);
        }
    assert_int_equal(failed, 3);
    loader_close(loader);
    f->spec.interpolation = CLIP_PUBLISHED;
    LoaderConfig config = {.index = &f->index,
                           .spec = f->spec,
                           .source = {f, draw},
                           .batch = 1,
                           .ring = 2,
                           .threads = 1};
    assert_int_equal(loader_open(&loader, &config, &error), -1);
    assert_non_null(strstr(error.text, "interpolation"));
}

#define SLOW 0.05 /* seconds: so long that what a busy machine adds is little */

/* Draws as a slow decoder would. */
static int draw_slowly(void *context, uint64_t job, int attempt, ClipDraw *drawn) {
    usleep((unsigned)(SLOW * 1e6));
    return draw(context, job, attempt, drawn);
}

/* What a consumer computes while clips are decoded costs no time: with batches that take it longer
 * than the workers it hardly ever waits, and with few slots in a batch all workers are at work. */
static void test_overlap(void **state) {
    Fixture *f = *state;
    for (int batch = 1; batch <= 2; batch++) {
        LoaderConfig config = {.index = &f->index,
                               .spec = f->spec,
                               .source = {f, draw_slowly},
                               .jobs = UINT64_MAX,
                               .batch = batch,
                               .ring = 2 + (4 + batch - 1) / batch,
                               .threads = 4,
                               .nice = 1};
        Loader *loader;
        Error error = {0};
        double waited = 0;
        if (loader_open(&loader, &config, &error))
            fail_msg("%s", error.text);
        for (int i = 0; i < 24; i++) { /* SLOW to draw a clip, four at once, one every SLOW */
            const LoaderBatch *got = loader_next(loader, &error);
            assert_non_null(got);
            waited += i > 5 ? got->wait : 0;
            usleep((unsigned)(batch * SLOW * 1e6));
        }
        loader_close(loader);
        assert_true(waited <
                    0.5 * 18 * batch * SLOW); /* one after the other: more than all of it */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redraw, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_published, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_clips_are_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views_that_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
