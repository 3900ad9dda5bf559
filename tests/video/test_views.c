/* Local views: drawn within the frame as asked for, without moving the clip's own draw; cut from
 * the frames of one decoding; their colours as torchvision makes them. */
#include "video/clip.h"
#include "video/encode.h"
#include "video/frame_cache.h"
#include "video/sampler.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DRAWS 500

/* LeVJEPA's views, and its global crop. */
static ClipSpec spec_of(int views) {
    return (ClipSpec){.frames = 4,
                      .step = 2,
                      .crop = 48,
                      .scale = {0.8, 1},
                      .ratio = {0.75, 4.0 / 3},
                      .views = {.local_views = views,
                                .local_crop = 32,
                                .local_scale = {0.02, 0.4},
                                .local_ratio = {0.75, 4.0 / 3},
                                .local_flip = true,
                                .jitter_probability = 0.8,
                                .brightness = 0.4,
                                .contrast = 0.4,
                                .saturation = 0.2,
                                .hue = 0.1,
                                .grayscale_probability = 0.2}};
}

static ClipSpec plain_spec(int views) {
    ClipSpec spec = spec_of(views);
    spec.views.local_flip = false;
    spec.views.jitter_probability = spec.views.grayscale_probability = 0;
    return spec;
}

static Sampler sampler_on(const VideoIndex *index, const ClipSpec *spec) {
    SamplerSettings settings = {.clip = *spec, .num_clips = 1, .seed = 11};
    Sampler sampler;
    Error error = {0};
    if (sampler_new(&sampler, index, &settings, &error))
        fail_msg("%s", error.text);
    return sampler;
}

static VideoIndex index_of(const VideoFile *file) {
    VideoIndex index;
    Error error = {0};
    if (video_index_of_files(&index, file, 1, NULL, 0, &error))
        fail_msg("%s", error.text);
    return index;
}

static VideoFile paper_file(void) {
    return (VideoFile){
        .label = -1, .width = 400, .height = 300, .fps = 25, .frames = 100, .duration = 4};
}

/* FNV-1a, 64 bits. */
static uint64_t hash_on(uint64_t hash, const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    return hash;
}

/* Everything that is drawn for the clip itself. */
static uint64_t hash_draw(uint64_t hash, const ClipDraw *d) {
    const int whole[] = {(int)d->file, d->attempt, d->count, d->top,
                         d->left,      d->height,  d->width, d->flip};
    hash = hash_on(hash, whole, sizeof whole);
    hash = hash_on(hash, d->frames, (size_t)d->count * sizeof *d->frames);
    hash = hash_on(hash, d->augment.jitter, sizeof d->augment.jitter);
    hash = hash_on(hash, d->augment.jitter_order, sizeof d->augment.jitter_order);
    hash = hash_on(hash, &d->augment.op_count, sizeof d->augment.op_count);
    for (int i = 0; i < d->augment.op_count; i++)
        hash = hash_on(hash, &d->augment.ops[i].kind, sizeof d->augment.ops[i].kind);
    return hash_on(hash, &d->augment.erase_seed, sizeof d->augment.erase_seed);
}

/* The hash was computed by the sampler as it was before there were views. */
static void test_clip_is_drawn_as_before(void **state) {
    (void)state;
    VideoFile file = paper_file();
    VideoIndex index = index_of(&file);
    for (int views = 0; views <= CLIP_VIEWS_MAX; views += 16) {
        ClipSpec spec = spec_of(views);
        spec.flip = true;
        spec.augment = (AugmentSpec){.rand_augment = true, .color_jitter = 0.5, .reprob = 0.3};
        Sampler sampler = sampler_on(&index, &spec);
        uint64_t hash = 14695981039346656037u;
        for (uint64_t step = 0; step < 200; step++) {
            ClipDraw draw;
            sampler_draw(&sampler, &draw, step, 4, 4, step % 4, (int)(step % 3));
            assert_int_equal(draw.view_count, views);
            hash = hash_draw(hash, &draw);
        }
        if (hash != 0x4377499c5badb6c9)
            fail_msg("%d views: the clips' own draws have moved: %llx", views,
                     (unsigned long long)hash);
        sampler_free(&sampler);
    }
    video_index_free(&index);
}

static void test_draws_are_pure(void **state) {
    (void)state;
    VideoFile file = paper_file();
    VideoIndex index = index_of(&file);
    ClipSpec two = spec_of(2), ten = spec_of(10);
    Sampler few = sampler_on(&index, &two), many = sampler_on(&index, &ten);
    for (uint64_t step = 0; step < 50; step++) {
        ClipDraw a, b, c, other;
        sampler_draw(&many, &a, step, 3, 3, 1, 0);
        sampler_draw(&many, &b, step, 3, 3, 1, 0);
        sampler_draw(&few, &c, step, 3, 3, 1, 0);
        sampler_draw(&many, &other, step, 3, 3, 2, 0);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(a.views, c.views, 2 * sizeof *a.views); /* however many follow */
        assert_int_equal(c.views[2].width, 0);
        for (int v = 0; v < 10; v++) {
            assert_memory_not_equal(&a.views[v], &other.views[v], sizeof *a.views);
            assert_memory_not_equal(&a.views[v], &a.views[(v + 1) % 10], sizeof *a.views);
        }
    }
    sampler_free(&few);
    sampler_free(&many);
    video_index_free(&index);
}

/* A share of `count` trials within five standard deviations. */
static void assert_share(int found, int count, double share) {
    double spread = 5 * sqrt(count * share * (1 - share));
    if (fabs(found - count * share) > spread)
        fail_msg("%d of %d, expected %g +- %g", found, count, count * share, spread);
}

static void test_draws_are_what_was_asked_for(void **state) {
    (void)state;
    VideoFile file = paper_file();
    file.rotation = 90; /* upright it is 300 wide and 400 high */
    VideoIndex index = index_of(&file);
    ClipSpec spec = spec_of(10);
    Sampler sampler = sampler_on(&index, &spec);
    int flips = 0, jitters = 0, grays = 0, both = 0, first[4] = {0}, count = 10 * DRAWS;
    double areas = 0, ratios = 0, factors[4] = {0};
    for (uint64_t step = 0; step < DRAWS; step++) {
        ClipDraw draw;
        sampler_draw(&sampler, &draw, step, 1, 1, 0, 0);
        for (int v = 0; v < 10; v++) {
            const ClipView *view = &draw.views[v];
            const AugmentView *colors = &view->colors;
            assert_true(view->left >= 0 && view->left + view->width <= 300);
            assert_true(view->top >= 0 && view->top + view->height <= 400);
            double area = view->width * view->height / (300.0 * 400);
            double ratio = (double)view->width / view->height;
            /* sides are whole pixels of at least 42: shape and area are off by 2.5 % at most */
            assert_true(area > 0.02 * 0.975 && area < 0.4 * 1.025);
            assert_true(ratio > 0.75 * 0.975 && ratio < 4.0 / 3 * 1.025);
            areas += area / count;
            ratios += log(ratio) / count;
            flips += view->flip;
            jitters += colors->jitters;
            grays += colors->grayscale;
            both += colors->jitters && colors->grayscale;
            const double strengths[4] = {0.4, 0.4, 0.2, 0.1};
            first[colors->jitter_order[0]]++;
            int seen = 0;
            for (int i = 0; i < 4; i++) {
                double from_plain = colors->jitter[i] - (i < 3);
                assert_true(fabs(from_plain) <= strengths[i]);
                factors[i] += from_plain / strengths[i] / count;
                seen |= 1 << colors->jitter_order[i];
            }
            assert_int_equal(seen, 15);
        }
    }
    assert_share(flips, count, 0.5);
    assert_share(jitters, count, 0.8);
    assert_share(grays, count, 0.2);
    assert_share(both, count, 0.16);
    /* means of uniforms: five standard deviations, width / sqrt(12 n) each */
    assert_true(fabs(areas - 0.21) < 5 * 0.38 / sqrt(12.0 * count));
    assert_true(fabs(ratios) < 5 * 2 * log(4.0 / 3) / sqrt(12.0 * count) + 0.001);
    for (int i = 0; i < 4; i++) {
        assert_share(first[i], count, 0.25);
        assert_true(fabs(factors[i]) < 5 * 2 / sqrt(12.0 * count));
    }
    sampler_free(&sampler);
    video_index_free(&index);
}

static void test_bad_views_are_refused(void **state) {
    (void)state;
    const char *expected[] = {"local_views", "local_views",          "interpolation", "local_crop",
                              "local_scale", "local_ratio",          "jitter",        "brightness",
                              "hue",         "grayscale_probability"};
    VideoFile file = paper_file();
    VideoIndex index = index_of(&file);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ClipSpec spec = spec_of(10);
        Error error = {0};
        assert_int_equal(clip_check_views(&spec, &error), 0);
        ClipViews *v = &spec.views;
        v->local_views = i == 0 ? -1 : i == 1 ? CLIP_VIEWS_MAX + 1 : 10;
        spec.interpolation = i == 2 ? CLIP_PUBLISHED : CLIP_FAST;
        v->local_crop = i == 3 ? 0 : 96;
        v->local_scale[0] = i == 4 ? 0.5 : 0.02;
        v->local_ratio[0] = i == 5 ? 0 : 0.75;
        v->jitter_probability = i == 6 ? 1.5 : 0.8;
        v->brightness = i == 7 ? -0.1 : 0.4;
        v->hue = i == 8 ? 0.6 : 0.1;
        v->grayscale_probability = i == 9 ? NAN : 0.2;
        assert_int_equal(clip_check_views(&spec, &error), -1);
        assert_non_null(strstr(error.text, expected[i]));
        SamplerSettings settings = {.clip = spec, .num_clips = 1, .seed = 11};
        Sampler sampler;
        assert_int_equal(sampler_new(&sampler, &index, &settings, &error), -1);
    }
    ClipSpec none = {.frames = 4, .interpolation = CLIP_PUBLISHED};
    Error error = {0};
    assert_int_equal(clip_check_views(&none, &error), 0);
    video_index_free(&index);
}

/* ---- colours ---- */

#define WIDTH  23
#define HEIGHT 17
#define POINTS 8

/* Pixels of a formula's picture after torchvision 0.29 on uint8 tensors. */
typedef struct Golden {
    int which; /* 0..3: as in jitter_order; 4: grey */
    double factor;
    uint8_t rgb[POINTS][3];
    int sum; /* of all bytes */
} Golden;

static void test_colours_equal_torchvision(void **state) {
    (void)state;
    static const Golden cases[] = {
        {0,
         0.6,
         {{12, 30, 47},
          {111, 128, 145},
          {97, 115, 132},
          {130, 147, 11},
          {71, 88, 106},
          {43, 61, 78},
          {58, 75, 93},
          {36, 54, 71}},
         90978},
        {0,
         1.4,
         {{29, 70, 110},
          {255, 255, 255},
          {228, 255, 255},
          {255, 255, 26},
          {166, 207, 247},
          {102, 142, 183},
          {135, 176, 217},
          {85, 126, 166}},
         196300},
        {1,
         0.6,
         {{64, 81, 98},
          {162, 179, 197},
          {149, 166, 184},
          {181, 199, 62},
          {122, 140, 157},
          {95, 112, 130},
          {109, 127, 144},
          {88, 105, 122}},
         151284},
        {1,
         1.4,
         {{0, 18, 59},
          {207, 248, 255},
          {176, 217, 255},
          {252, 255, 0},
          {115, 155, 196},
          {50, 91, 131},
          {84, 124, 165},
          {33, 74, 115}},
         152440},
        {2,
         0.8,
         {{25, 48, 72},
          {189, 212, 236},
          {167, 190, 214},
          {215, 239, 57},
          {123, 146, 170},
          {77, 100, 124},
          {101, 124, 148},
          {65, 88, 112}},
         151576},
        {2,
         1.2,
         {{16, 51, 86},
          {180, 215, 250},
          {158, 193, 228},
          {218, 253, 0},
          {114, 149, 184},
          {68, 103, 138},
          {92, 127, 162},
          {56, 91, 126}},
         152872},
        {3,
         -0.1,
         {{21, 79, 73},
          {185, 243, 238},
          {163, 221, 216},
          {246, 139, 19},
          {119, 177, 171},
          {73, 131, 125},
          {97, 155, 149},
          {61, 119, 113}},
         162069},
        {3,
         0.037,
         {{21, 37, 79},
          {185, 201, 243},
          {163, 179, 221},
          {167, 246, 19},
          {119, 135, 177},
          {73, 89, 131},
          {97, 113, 155},
          {61, 77, 119}},
         146140},
        {3,
         0.1,
         {{26, 21, 79},
          {191, 185, 243},
          {169, 163, 221},
          {81, 246, 19},
          {125, 119, 177},
          {79, 73, 131},
          {103, 97, 155},
          {67, 61, 119}},
         143019},
        {3,
         0.5,
         {{79, 50, 21},
          {243, 214, 185},
          {221, 192, 163},
          {48, 19, 246},
          {177, 148, 119},
          {131, 102, 73},
          {155, 126, 97},
          {119, 90, 61}},
         152603},
        {4,
         0,
         {{44, 44, 44},
          {208, 208, 208},
          {186, 186, 186},
          {211, 211, 211},
          {142, 142, 142},
          {96, 96, 96},
          {120, 120, 120},
          {84, 84, 84}},
         150843},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint8_t bytes[3 * HEIGHT * WIDTH], scratch[3 * HEIGHT * WIDTH];
        uint8_t(*planes)[HEIGHT][WIDTH] = (uint8_t(*)[HEIGHT][WIDTH])bytes;
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < HEIGHT; y++)
                for (int x = 0; x < WIDTH; x++)
                    planes[c][y][x] = (uint8_t)(x * 7 + y * 13 + c * 29 + x * y);
        int which = cases[k].which;
        AugmentView view = {.jitters = which < 4,
                            .jitter_order = {2, 0, 3, 1},
                            .jitter = {1, 1, 1, 0},
                            .grayscale = which == 4};
        if (which < 4)
            view.jitter[which] = cases[k].factor;
        augment_view_frame((uint8_t *[3]){planes[0][0], planes[1][0], planes[2][0]}, WIDTH, HEIGHT,
                           WIDTH, &view, scratch);
        /* one level where grey is part of it (Pillow rounds it, tensors do not) or floats are;
         * brightness has neither */
        int allowed = which > 0, sum = 0;
        for (int p = 0; p < POINTS; p++)
            for (int c = 0; c < 3; c++) {
                int found = planes[c][p * 5 % HEIGHT][(p * 7 + 3) % WIDTH];
                if (abs(found - cases[k].rgb[p][c]) > allowed)
                    fail_msg("operation %d by %g, point %d, plane %d: %d, torchvision has %d",
                             which, cases[k].factor, p, c, found, cases[k].rgb[p][c]);
            }
        for (int i = 0; i < 3 * HEIGHT * WIDTH; i++)
            sum += bytes[i];
        assert_true(abs(sum - cases[k].sum) <= allowed * 3 * HEIGHT * WIDTH);
        if (which == 3) /* hue is all but equal: Pillow's 8 bits would be off by thousands */
            assert_true(abs(sum - cases[k].sum) <= 3);
    }
}

/* ---- pixels ---- */

#define FRAME_WIDTH  96
#define FRAME_HEIGHT 72

typedef struct Fixture {
    char *path;
    VideoFile file;
    ClipDecoder *decoder;
} Fixture;

static int setup(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    f->path = memory_text("/tmp/jepa_views_%d.mp4", (int)getpid());
    Error error = {0};
    VideoWriter *writer;
    uint8_t *rgb = memory_new((size_t)FRAME_WIDTH * FRAME_HEIGHT, 3);
    if (video_writer_open(&writer, f->path, FRAME_WIDTH, FRAME_HEIGHT, 25, &error))
        fail_msg("%s", error.text);
    for (int t = 0; t < 20; t++) {
        for (int i = 0; i < FRAME_WIDTH * FRAME_HEIGHT; i++) {
            int x = i % FRAME_WIDTH, y = i / FRAME_WIDTH;
            rgb[3 * i] = (uint8_t)(20 + 2 * x + t);
            rgb[3 * i + 1] = (uint8_t)(20 + 3 * y);
            rgb[3 * i + 2] = (uint8_t)(x / 8 % 2 * 60 + y / 8 % 2 * 60 + 5 * t);
        }
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    free(rgb);
    video_file_scan(&f->file, f->path, NULL);
    assert_null(f->file.reason);
    f->decoder = clip_decoder_new(0, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    clip_decoder_free(f->decoder);
    video_file_free(&f->file);
    unlink(f->path);
    free(f->path);
    free(f);
    return 0;
}

typedef struct Pixels {
    uint8_t *clip, *locals;
    size_t clip_bytes, view_bytes;
} Pixels;

static Pixels decode(Fixture *f, const ClipDraw *draw, const ClipSpec *spec) {
    Error error = {0};
    size_t frames = 3 * (size_t)spec->frames, crop = (size_t)spec->crop,
           local = (size_t)spec->views.local_crop;
    Pixels p = {.clip_bytes = frames * crop * crop, .view_bytes = frames * local * local};
    p.clip = memory_new(p.clip_bytes, 1); /* exactly as much as is promised */
    p.locals = memory_new((size_t)spec->views.local_views, p.view_bytes);
    if (clip_decode_views(p.clip, p.locals, f->decoder, &f->file, draw, spec, &error))
        fail_msg("%s", error.text);
    return p;
}

static void pixels_free(Pixels *p) {
    free(p->clip);
    free(p->locals);
}

static void draw_clip(Fixture *f, ClipDraw *draw, const ClipSpec *spec, uint64_t step) {
    VideoIndex index = index_of(&f->file);
    Sampler sampler = sampler_on(&index, spec);
    sampler_draw(&sampler, draw, step, 1, 1, 0, 0);
    sampler_free(&sampler);
    video_index_free(&index);
}

/* Without flips and colours a view is the clip that a global crop of the same box and size gives,
 * and the clip beside it is what it would be alone. Files that are to be turned as well. */
static void test_plain_views_are_crops(void **state) {
    Fixture *f = *state;
    ClipSpec spec = plain_spec(5);
    for (int turn = 0; turn < 4; turn++) {
        f->file.rotation = 90 * turn;
        ClipDraw draw;
        draw_clip(f, &draw, &spec, (uint64_t)turn);
        Pixels p = decode(f, &draw, &spec);
        uint8_t *alone = memory_new(p.clip_bytes, 1);
        Error error = {0};
        assert_int_equal(clip_decode(alone, f->decoder, &f->file, &draw, &spec, &error), 0);
        assert_memory_equal(p.clip, alone, p.clip_bytes);
        for (int v = 0; v < 5; v++) {
            ClipDraw one = draw;
            ClipSpec small = spec;
            one.top = draw.views[v].top;
            one.left = draw.views[v].left;
            one.height = draw.views[v].height;
            one.width = draw.views[v].width;
            small.crop = spec.views.local_crop;
            assert_int_equal(clip_decode(alone, f->decoder, &f->file, &one, &small, &error), 0);
            assert_memory_equal(p.locals + (size_t)v * p.view_bytes, alone, p.view_bytes);
        }
        free(alone);
        pixels_free(&p);
    }
}

static void test_views_are_mirrored_and_recoloured(void **state) {
    Fixture *f = *state;
    ClipSpec spec = spec_of(8);
    int side = spec.views.local_crop, seen[3] = {0};
    size_t plane = (size_t)side * (size_t)side, channel = plane * (size_t)spec.frames;
    uint8_t *scratch = memory_new(3, plane);
    for (uint64_t step = 0; step < 4; step++) {
        ClipDraw draw, bare;
        draw_clip(f, &draw, &spec, step);
        bare = draw;
        for (int v = 0; v < 8; v++) {
            bare.views[v].flip = false;
            bare.views[v].colors = (AugmentView){0};
        }
        Pixels p = decode(f, &draw, &spec), plain = decode(f, &bare, &spec);
        for (int v = 0; v < 8; v++) {
            const ClipView *view = &draw.views[v];
            seen[0] += view->flip;
            seen[1] += view->colors.grayscale;
            seen[2] += view->colors.jitters;
            for (int t = 0; t < spec.frames; t++) {
                uint8_t *found[3], *expected[3];
                for (int c = 0; c < 3; c++) {
                    size_t at = (size_t)v * p.view_bytes + (size_t)c * channel + (size_t)t * plane;
                    found[c] = p.locals + at;
                    expected[c] = plain.locals + at;
                    for (int i = 0; view->flip && i < side * side; i++) {
                        int x = i % side, twin = i - x + side - 1 - x;
                        if (x < side / 2) {
                            uint8_t kept = expected[c][i];
                            expected[c][i] = expected[c][twin];
                            expected[c][twin] = kept;
                        }
                    }
                }
                augment_view_frame(expected, side, side, side, &view->colors, scratch);
                for (int c = 0; c < 3; c++) {
                    assert_memory_equal(found[c], expected[c], plane);
                    if (view->colors.grayscale)
                        assert_memory_equal(found[c], found[0], plane);
                }
            }
        }
        assert_memory_equal(p.clip, plain.clip, p.clip_bytes);
        pixels_free(&p);
        pixels_free(&plain);
    }
    assert_true(seen[0] > 5 && seen[1] > 1 && seen[2] > 15);
    free(scratch);
}

/* One decoding serves the clip and all views; the cache holds frames, which serve other views. */
static void test_one_decoding(void **state) {
    Fixture *f = *state;
    ClipSpec spec = spec_of(10), other = plain_spec(3);
    ClipDraw draw, later;
    FrameCache *cache;
    Error error = {0};
    draw_clip(f, &draw, &spec, 1);
    draw_clip(f, &later, &other, 1);
    Pixels plain = decode(f, &draw, &spec), plain_later = decode(f, &later, &other);
    assert_int_equal(frame_cache_open(&cache, 1 << 24, NULL, &error), 0);
    clip_decoder_free(f->decoder);
    f->decoder = clip_decoder_new(0, cache);
    Pixels first = decode(f, &draw, &spec);
    assert_int_equal(frame_cache_stats(cache).misses, 1);
    assert_int_equal(frame_cache_stats(cache).hits, 0);
    Pixels again = decode(f, &draw, &spec), others = decode(f, &later, &other);
    assert_int_equal(frame_cache_stats(cache).misses, 1);
    assert_int_equal(frame_cache_stats(cache).hits, 2);
    assert_memory_equal(first.locals, plain.locals, 10 * plain.view_bytes);
    assert_memory_equal(again.locals, plain.locals, 10 * plain.view_bytes);
    assert_memory_equal(others.locals, plain_later.locals, 3 * plain.view_bytes);
    pixels_free(&plain);
    pixels_free(&plain_later);
    pixels_free(&first);
    pixels_free(&again);
    pixels_free(&others);
    clip_decoder_free(f->decoder);
    f->decoder = NULL;
    frame_cache_close(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip_is_drawn_as_before),
        cmocka_unit_test(test_draws_are_pure),
        cmocka_unit_test(test_draws_are_what_was_asked_for),
        cmocka_unit_test(test_bad_views_are_refused),
        cmocka_unit_test(test_colours_equal_torchvision),
        cmocka_unit_test_setup_teardown(test_plain_views_are_crops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views_are_mirrored_and_recoloured, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_decoding, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
