/* video/physics: possible worlds obey the physics, the videos of a pair are the same up to the
 * event and others from it on, what hides a body hides it, and beginnings and endings are exchanged
 * so that neither tells: bit for bit, also in the files. */
#include "base/file.h"
#include "base/hash.h"
#include "video/clip.h"
#include "video/ffmpeg.h"
#include "video/physics_scene.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PI 3.14159265358979323846

/* ---- worlds are possible ----------------------------------------------------------------------
 */

static int same_looks(const SynthObject *a, const SynthObject *b) {
    return a->shape == b->shape && a->texture == b->texture &&
           !memcmp(a->colour, b->colour, sizeof a->colour);
}

/* The objects that are drawn, in their order. */
static int seen(SynthState *state, int *which, const PhysicsScene *scene, int world, int t) {
    SynthState all[SYNTH_OBJECTS];
    int count = 0;
    physics_states(all, scene, world, t);
    for (int i = 0; i < SYNTH_OBJECTS; i++) {
        if (!all[i].absent) {
            state[count] = all[i];
            which[count++] = i;
        }
    }
    return count;
}

static void check_world(const PhysicsScene *scene, int world, int frames) {
    const SynthScene *s = &scene->scene;
    double speed = fabs(scene->velocity), near = 1e-9 * s->size;
    int turns = 0;
    for (int t = 0; t + 1 < frames; t++) {
        SynthState now[SYNTH_OBJECTS], next[SYNTH_OBJECTS];
        int who[SYNTH_OBJECTS], who_next[SYNTH_OBJECTS];
        int count = seen(now, who, scene, world, t);
        assert_int_equal(seen(next, who_next, scene, world, t + 1), count);
        assert_int_equal(count, scene->kind == PHYSICS_VANISH && world == 0 ? 1 : 2);
        for (int i = 0; i < count; i++) {
            assert_int_equal(who[i], who_next[i]); /* nobody comes, goes or changes */
            assert_true(now[i].y == next[i].y);
            double turn = remainder(next[i].angle - now[i].angle - s->object[who[i] == 1].spin,
                                    2 * PI);
            assert_true(fabs(turn) < 1e-9);
            if (now[i].vx == next[i].vx) {
                assert_true(fabs(next[i].x - now[i].x - now[i].vx) < near);
                continue;
            }
            /* thrown back, as fast as before, where it meets the wall between the two frames */
            assert_int_equal(scene->kind, PHYSICS_THROUGH);
            assert_true(who[i] != 1 && now[i].vx == -next[i].vx && fabs(now[i].vx) == speed);
            double gap = fabs(now[i].x - s->pillar_x) - s->wall_width / 2 - s->radius;
            assert_true(gap > 0 && gap < speed);
            assert_true(fabs(next[i].x - now[i].x) < near);
            turns++;
        }
        if (count == 2) /* bodies never touch */
            assert_true(fabs(now[0].y - now[1].y) >= 2 * s->radius ||
                        (scene->kind == PHYSICS_THROUGH &&
                         hypot(now[0].x - now[1].x, now[0].y - now[1].y) >= 2 * s->radius));
        for (int i = 0; i < count && s->wall_width > 0; i++) /* nor enter the wall */
            assert_true(fabs(now[i].x - s->pillar_x) >= s->wall_width / 2 + s->radius - near);
    }
    assert_int_equal(turns, scene->kind == PHYSICS_THROUGH);
}

static void test_worlds(void **unused) {
    (void)unused;
    const PhysicsSpec specs[] = {{.pairs = 2, .seed = 1, .size = 96, .frames = 48},
                                 {.pairs = 2, .seed = 2, .size = 64, .frames = 32},
                                 {.pairs = 2, .seed = 3, .size = 128, .frames = 75}};
    for (int s = 0; s < 3; s++)
        for (int kind = 0; kind < PHYSICS_KINDS; kind++)
            for (int number = 0; number < 150; number++) {
                PhysicsScene scene;
                physics_scene_make(&scene, (PhysicsKind)kind, number, &specs[s]);
                for (int world = 0; world < 2; world++)
                    check_world(&scene, world, specs[s].frames);
                assert_false(same_looks(&scene.scene.object[0], &scene.scene.object[2]));
                assert_false(same_looks(&scene.scene.object[0], &scene.scene.object[1]));
                assert_in_range(scene.switch_frame, specs[s].frames * 5 / 12,
                                specs[s].frames * 7 / 12 + 1);
            }
}

/* What alternates is balanced; what is drawn is so within four deviations of a coin. */
static void test_balance(void **unused) {
    (void)unused;
    enum { SCENES = 400 };
    const PhysicsSpec spec = {.pairs = 2, .seed = 5, .size = 96, .frames = 48};
    for (int kind = 0; kind < PHYSICS_KINDS; kind++) {
        int hidden = 0, along = 0, texture = 0, right = 0;
        for (int number = 0; number < SCENES; number++) {
            PhysicsScene scene;
            physics_scene_make(&scene, (PhysicsKind)kind, number, &spec);
            hidden += scene.hidden;
            along += scene.along;
            texture += scene.texture;
            right += scene.velocity > 0;
        }
        assert_int_equal(hidden, kind == PHYSICS_JUMP ? SCENES / 2 : SCENES);
        assert_int_equal(along, kind == PHYSICS_JUMP ? SCENES / 4 : 0);
        assert_int_equal(texture, kind == PHYSICS_SHAPE ? SCENES / 2 : 0);
        if (kind != PHYSICS_THROUGH) /* there the two worlds are the two sides */
            assert_true(abs(right - SCENES / 2) < 4 * sqrt(SCENES / 4.));
    }
}

/* ---- pictures ---------------------------------------------------------------------------------
 */

static void paint(uint8_t *rgb, const SynthPainter *painter, const PhysicsScene *scene, int world,
                  int t, int without_body) {
    SynthState state[SYNTH_OBJECTS];
    physics_states(state, scene, world, t);
    if (without_body)
        state[0].absent = state[2].absent = 1;
    synth_paint_states(rgb, painter, state, t);
}

/* Where the switch is hidden, the frames before and after it show nothing of the body; the worlds
 * differ soon after it, and long enough before the end to be seen. */
static void test_pictures(void **unused) {
    (void)unused;
    const PhysicsSpec specs[] = {{.pairs = 2, .seed = 1, .size = 96, .frames = 48},
                                 {.pairs = 2, .seed = 2, .size = 64, .frames = 32}};
    for (int s = 0; s < 2; s++) {
        int size = specs[s].size, frames = specs[s].frames;
        size_t bytes = (size_t)size * (size_t)size * 3;
        uint8_t *zero = memory_new(3, bytes), *one = zero + bytes, *empty = one + bytes;
        for (int kind = 0; kind < PHYSICS_KINDS; kind++) {
            for (int number = 0; number < 12; number++) {
                PhysicsScene scene;
                physics_scene_make(&scene, (PhysicsKind)kind, number, &specs[s]);
                SynthPainter *painter = synth_painter_new(&scene.scene);
                int switch_frame = scene.switch_frame, event = -1, differ = 0, before = 0;
                for (int t = 0; t < frames; t++) {
                    paint(zero, painter, &scene, 0, t, 0);
                    paint(one, painter, &scene, 1, t, 0);
                    int same = !memcmp(zero, one, bytes);
                    before += t < switch_frame && !same;
                    if (t >= switch_frame && !same && event < 0)
                        event = t;
                    differ += t >= switch_frame && !same;
                    if (scene.hidden && (t == switch_frame || t == switch_frame - 1)) {
                        paint(empty, painter, &scene, 0, t, 1);
                        assert_memory_equal(zero, empty, bytes);
                        assert_memory_equal(one, empty, bytes);
                    }
                }
                assert_int_equal(event == switch_frame, !scene.hidden);
                assert_in_range(event, switch_frame, switch_frame + frames / 12);
                assert_true(differ >= frames / 6);
                assert_true(before >= frames / 6); /* the beginnings differ as well */
                synth_painter_free(painter);
            }
        }
        free(zero);
    }
}

/* ---- files ------------------------------------------------------------------------------------
 */

static const PhysicsSpec small = {
    .pairs = 4, .seed = 9, .size = 64, .frames = 32, .fps = 16, .threads = 1};

static void out_remove(const char *out) {
    Error error = {0};
    for (int k = 0; k < PHYSICS_KINDS; k++) {
        char *folder = path_join(out, physics_kind_name((PhysicsKind)k));
        assert_int_equal(folder_remove(folder, &error), 0);
        free(folder);
    }
    assert_int_equal(folder_remove(out, &error), 0);
}

/* [3][frames][size][size] */
static uint8_t *read_video(const char *out, const char *name, int64_t *bytes) {
    Error error = {0};
    char *path = path_join(out, name);
    VideoFile file = {0};
    ClipSpec spec = {.frames = small.frames, .step = 1, .crop = small.size};
    ClipDraw all = {.count = small.frames, .width = small.size, .height = small.size};
    video_file_scan(&file, path, NULL);
    assert_null(file.reason);
    assert_int_equal(file.frames, small.frames);
    *bytes = file.bytes;
    for (int t = 0; t < small.frames; t++)
        all.frames[t] = t;
    uint8_t *planes = memory_new(
        (size_t)small.frames * (size_t)small.size * (size_t)small.size * 3 + 64, 1);
    ClipDecoder *decoder = clip_decoder_new(0, NULL);
    assert_int_equal(clip_decode(planes, decoder, &file, &all, &spec, &error), 0);
    clip_decoder_free(decoder);
    video_file_free(&file);
    free(path);
    return planes;
}

static int same_frame(const uint8_t *a, const uint8_t *b, int t) {
    size_t picture = (size_t)small.size * (size_t)small.size, same = 1;
    for (size_t c = 0; c < 3; c++) {
        size_t at = (c * (size_t)small.frames + (size_t)t) * picture;
        same &= !memcmp(a + at, b + at, picture);
    }
    return (int)same;
}

typedef struct Row {
    char kind[16], name[2][64], occluder[16], what[16];
    int pair, event, switch_frame, scene;
} Row;

static int read_rows(Row *rows, int most, const char *out) {
    Error error = {0};
    uint8_t *bytes;
    size_t count;
    char *path = path_join(out, "pairs.csv"), *rest = NULL;
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    char *line = strtok_r((char *)bytes, "\n", &rest);
    assert_string_equal(line, "kind,pair,possible,impossible,event_frame,switch_frame,occluder,"
                              "what,scene");
    int lines = 0;
    while ((line = strtok_r(NULL, "\n", &rest))) {
        assert_true(lines < most);
        Row *r = &rows[lines++];
        assert_int_equal(sscanf(line, "%15[^,],%d,%63[^,],%63[^,],%d,%d,%15[^,],%15[^,],%d",
                                r->kind, &r->pair, r->name[0], r->name[1], &r->event,
                                &r->switch_frame, r->occluder, r->what, &r->scene),
                         9);
    }
    free(path);
    free(bytes);
    return lines;
}

static void test_files(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_physics_XXXXXX"; /* exists and is empty: allowed */
    Error error = {0};
    Row rows[64];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(physics_write(folder, &small, &error), 0);
    assert_int_equal(read_rows(rows, 64, folder), PHYSICS_KINDS * small.pairs);
    for (int i = 0; i < PHYSICS_KINDS * small.pairs; i += 2) {
        uint8_t *video[4]; /* possible and impossible of the one pair, then of the other */
        int64_t bytes[4];
        const Row *a = &rows[i], *b = &rows[i + 1];
        assert_string_equal(a->kind, physics_kind_name((PhysicsKind)(i / small.pairs)));
        assert_string_equal(a->kind, b->kind);
        assert_int_equal(a->pair, i % small.pairs);
        assert_int_equal(b->pair, a->pair + 1);
        assert_int_equal(a->scene, a->pair / 2);
        assert_int_equal(b->scene, a->scene);
        assert_int_equal(a->event, b->event);
        assert_int_equal(a->switch_frame, b->switch_frame);
        assert_int_equal(!strcmp(a->what, b->what),
                         strcmp(a->kind, "vanish") && strcmp(a->kind, "through"));
        for (int v = 0; v < 4; v++) {
            const Row *row = v < 2 ? a : b;
            char *name = memory_text("%s/%s_%05d_%spossible.mp4", row->kind, row->kind, row->pair,
                                     v % 2 ? "im" : "");
            assert_string_equal(row->name[v % 2], name);
            free(name);
            video[v] = read_video(folder, row->name[v % 2], &bytes[v]);
            assert_int_equal(bytes[v], bytes[0]);
        }
        for (int t = 0; t < small.frames; t++) {
            int begins = t < a->switch_frame;
            if (t < a->event) { /* within a pair: the same up to the event */
                assert_true(same_frame(video[0], video[1], t));
                assert_true(same_frame(video[2], video[3], t));
            }
            if (t >= a->event + 2 && t < a->event + 5) { /* then others */
                assert_false(same_frame(video[0], video[1], t));
                assert_false(same_frame(video[2], video[3], t));
            }
            /* every ending comes in a possible and in an impossible video */
            assert_true(begins || same_frame(video[0], video[3], t));
            assert_true(begins || same_frame(video[1], video[2], t));
        }
        for (int v = 0; v < 4; v++)
            free(video[v]);
    }
    out_remove(folder);
}

static Hash hash_of(const char *out) {
    Error error = {0};
    HashState state;
    Row rows[64];
    hash_start(&state);
    int count = read_rows(rows, 64, out);
    for (int i = -1; i < 2 * count; i++) {
        Hash hash;
        char *path = path_join(out, i < 0 ? "pairs.csv" : rows[i / 2].name[i % 2]);
        assert_int_equal(hash_file(&hash, path, &error), 0);
        hash_add(&state, hash.bytes, HASH_BYTES);
        free(path);
    }
    return hash_end(&state);
}

static void test_same_bytes(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_physics_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Hash hash[4];
    for (int run = 0; run < 4; run++) {
        PhysicsSpec spec = small;
        Error error = {0};
        spec.pairs = 2;
        spec.threads = run == 1 ? 4 : 1;
        spec.seed += run == 3;
        char *out = memory_text("%s/%d", folder, run);
        assert_int_equal(physics_write(out, &spec, &error), 0);
        hash[run] = hash_of(out);
        out_remove(out);
        free(out);
    }
    assert_true(hash_same(&hash[0], &hash[1]));
    assert_true(hash_same(&hash[0], &hash[2]));
    assert_false(hash_same(&hash[0], &hash[3]));
    assert_int_equal(rmdir(folder), 0);
}

/* A folder in use; a disk that is full, played by a limit on the size of files. */
static void test_refuses(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_physics_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    char *kept = path_join(folder, "kept"), *out = path_join(folder, "out");
    assert_int_equal(file_write(kept, "mine", 4, &error), 0);
    assert_int_equal(physics_write(folder, &small, &error), -1);
    assert_non_null(strstr(error.text, "is not empty (1 entries)"));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {1000, 1000};
        if (setrlimit(RLIMIT_FSIZE, &limit))
            _exit(2);
        int result = physics_write(out, &small, &error);
        _exit(result == -1 && error.code == ERROR_RUN && strstr(error.text, out) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(folder_exists(out));
    assert_int_equal(folder_remove(folder, &error), 0);
    free(kept);
    free(out);
}

int main(void) {
    ffmpeg_quiet();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worlds),     cmocka_unit_test(test_balance),
        cmocka_unit_test(test_pictures),   cmocka_unit_test(test_files),
        cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
