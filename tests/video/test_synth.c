/* video/synth: the data set is complete, balanced, true and the same every time, and no single
 * frame tells the class. The last is tested twice: by the law of the true states, and by a probe
 * (ridge regression on pixels) that stays at chance on one frame and leaves it when it may see
 * motion. */
#include "base/file.h"
#include "base/hash.h"
#include "base/record.h"
#include "video/synth_scene.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PI 3.14159265358979323846

/* ---- the probe ------------------------------------------------------------------------------ */

#define PROBE_SIZE   48 /* pixels of the frame */
#define PROBE_GRID   12 /* cells per side */
#define PROBE_CELL   (PROBE_SIZE / PROBE_GRID)
#define PROBE_VIDEOS 240 /* per class; the even ones train, the odd ones test */
#define PROBE_ALL    (PROBE_VIDEOS * SYNTH_CLASSES)

enum { ONE_FRAME, ONE_STATE, TWO_FRAMES, PROBES };
static const int probe_features[PROBES] = {PROBE_GRID * PROBE_GRID * 4 + 6, 24, PROBE_GRID * 2};

/* Cell means and contrast of brightness, then mean and deviation of each channel. */
static void features_frame(double *out, const uint8_t *rgb) {
    double *whole = out + PROBE_GRID * PROBE_GRID * 4;
    memset(out, 0, sizeof *out * (size_t)probe_features[ONE_FRAME]);
    for (int row = 0; row < PROBE_SIZE; row++) {
        for (int column = 0; column < PROBE_SIZE; column++) {
            const uint8_t *pixel = rgb + (row * PROBE_SIZE + column) * 3;
            double *cell = out + (row / PROBE_CELL * PROBE_GRID + column / PROBE_CELL) * 4;
            double grey = (pixel[0] + pixel[1] + pixel[2]) / 3.0;
            for (int c = 0; c < 3; c++) {
                cell[c] += pixel[c];
                whole[c] += pixel[c];
                whole[3 + c] += pixel[c] * pixel[c];
            }
            cell[3] += grey * grey;
        }
    }
    for (int i = 0; i < PROBE_GRID * PROBE_GRID; i++) {
        double *cell = out + i * 4, n = PROBE_CELL * PROBE_CELL;
        double mean = (cell[0] + cell[1] + cell[2]) / 3 / n;
        cell[3] = sqrt(fmax(0, cell[3] / n - mean * mean));
    }
    for (int c = 0; c < 3; c++) {
        double n = PROBE_SIZE * PROBE_SIZE, mean = whole[c] / n;
        whole[3 + c] = sqrt(fmax(0, whole[3 + c] / n - mean * mean));
    }
}

/* The truth about one frame, without velocities: what an ideal eye would see. */
static void features_state(double *out, const SynthScene *scene, int t) {
    SynthState states[SYNTH_OBJECTS], seen[2];
    synth_scene_states(states, scene, t);
    int count = 0;
    for (int i = 0; i < scene->objects; i++)
        if (!states[i].absent)
            seen[count++] = states[i];
    assert_int_equal(count, 2);
    double turn = 2 * PI / scene->world, x[2] = {seen[0].x, seen[1].x};
    const double phases[] = {x[0] * turn,
                             x[1] * turn,
                             (x[0] - x[1]) * turn,
                             (x[0] + x[1]) * turn,
                             (x[0] - scene->pillar_x) * turn,
                             (x[1] - scene->pillar_x) * turn,
                             seen[0].angle,
                             seen[1].angle,
                             seen[0].angle - seen[1].angle};
    for (int i = 0; i < 9; i++) {
        *out++ = cos(phases[i]);
        *out++ = sin(phases[i]);
    }
    *out++ = scene->pillar_x;
    *out++ = seen[0].y;
    *out++ = seen[1].y;
    *out++ = seen[0].visible;
    *out++ = seen[1].visible;
    *out++ = fabs(x[0] - x[1]);
}

/* Change over time times slope in x, and in y, summed over each band of rows: the numerator of
 * optical flow, which is negative for what moves right or down. */
static void features_motion(double *out, const uint8_t *first, const uint8_t *second) {
    memset(out, 0, sizeof *out * (size_t)probe_features[TWO_FRAMES]);
    for (int row = 1; row < PROBE_SIZE - 1; row++) {
        for (int column = 1; column < PROBE_SIZE - 1; column++) {
            for (int c = 0; c < 3; c++) {
                int at = (row * PROBE_SIZE + column) * 3 + c, line = PROBE_SIZE * 3;
                double change = second[at] - first[at];
                double x = first[at + 3] + second[at + 3] - first[at - 3] - second[at - 3];
                double y = first[at + line] + second[at + line] - first[at - line] -
                           second[at - line];
                out[row / PROBE_CELL * 2] += change * x;
                out[row / PROBE_CELL * 2 + 1] += change * y;
            }
        }
    }
}

/* Solves A W = B for symmetric positive A [n][n], B [n][k]: Cholesky, in place. */
static void solve(double *a, double *b, int n, int k) {
    for (int j = 0; j < n; j++) {
        for (int i = j; i < n; i++) {
            double sum = a[i * n + j];
            for (int p = 0; p < j; p++)
                sum -= a[i * n + p] * a[j * n + p];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    }
    for (int c = 0; c < k; c++) {
        for (int i = 0; i < n; i++) {
            for (int p = 0; p < i; p++)
                b[i * k + c] -= a[i * n + p] * b[p * k + c];
            b[i * k + c] /= a[i * n + i];
        }
        for (int i = n - 1; i >= 0; i--) {
            for (int p = i + 1; p < n; p++)
                b[i * k + c] -= a[p * n + i] * b[p * k + c];
            b[i * k + c] /= a[i * n + i];
        }
    }
}

/* Trains a ridge classifier of the classes in `chosen` on the even videos; accuracy on the odd
 * ones. x [PROBE_ALL][n], standardised; video i has label i % 8 and number i / 8. */
static double probe_accuracy(const double *x, int n, unsigned chosen) {
    double *gram = memory_new((unsigned long)n * (unsigned long)n, sizeof *gram);
    double *weights = memory_new((unsigned long)n * SYNTH_CLASSES, sizeof *weights);
    int train = 0, test = 0, right = 0;
    for (int i = 0; i < PROBE_ALL; i++) {
        const double *row = x + (size_t)i * (size_t)n;
        int label = i % SYNTH_CLASSES;
        if (!(chosen >> label & 1) || i / SYNTH_CLASSES % 2)
            continue;
        train++;
        for (int a = 0; a < n; a++) {
            for (int b = 0; b <= a; b++)
                gram[a * n + b] += row[a] * row[b];
            weights[a * SYNTH_CLASSES + label] += row[a];
        }
    }
    for (int a = 0; a < n; a++)
        gram[a * n + a] += 0.1 * train;
    solve(gram, weights, n, SYNTH_CLASSES);
    for (int i = 0; i < PROBE_ALL; i++) {
        const double *row = x + (size_t)i * (size_t)n;
        int label = i % SYNTH_CLASSES, best = -1;
        if (!(chosen >> label & 1) || i / SYNTH_CLASSES % 2 == 0)
            continue;
        double score[SYNTH_CLASSES] = {0};
        for (int a = 0; a < n; a++)
            for (int c = 0; c < SYNTH_CLASSES; c++)
                score[c] += row[a] * weights[a * SYNTH_CLASSES + c];
        for (int c = 0; c < SYNTH_CLASSES; c++)
            if (chosen >> c & 1 && (best < 0 || score[c] > score[best]))
                best = c;
        test++;
        right += best == label;
    }
    free(gram);
    free(weights);
    return (double)right / test;
}

static void standardise(double *x, int n) {
    for (int a = 0; a < n; a++) {
        double mean = 0, square = 0;
        for (int i = 0; i < PROBE_ALL; i++)
            mean += x[(size_t)i * (size_t)n + (size_t)a] / PROBE_ALL;
        for (int i = 0; i < PROBE_ALL; i++)
            square += pow(x[(size_t)i * (size_t)n + (size_t)a] - mean, 2) / PROBE_ALL;
        for (int i = 0; i < PROBE_ALL; i++) {
            double *value = &x[(size_t)i * (size_t)n + (size_t)a];
            *value = (*value - mean) / sqrt(square + 1e-9);
        }
    }
}

static void test_probe(void **unused) {
    (void)unused;
    double *x[PROBES];
    for (int p = 0; p < PROBES; p++)
        x[p] = memory_new((unsigned long)(PROBE_ALL * probe_features[p]), sizeof *x[p]);
    size_t bytes = (size_t)PROBE_SIZE * PROBE_SIZE * 3;
    uint8_t *first = memory_new(2, bytes), *second = first + bytes;
    for (int i = 0; i < PROBE_ALL; i++) {
        SynthScene scene;
        synth_scene_make(&scene, 5, PROBE_SIZE, i % SYNTH_CLASSES, i / SYNTH_CLASSES);
        Random random = random_at(5, RANDOM_TEST, 0, (uint64_t)i);
        int t = (int)random_below(&random, 38);
        SynthPainter *painter = synth_painter_new(&scene);
        synth_paint(first, painter, t);
        synth_paint(second, painter, t + 2);
        synth_painter_free(painter);
        size_t row = (size_t)i;
        features_frame(x[ONE_FRAME] + row * (size_t)probe_features[ONE_FRAME], first);
        features_state(x[ONE_STATE] + row * (size_t)probe_features[ONE_STATE], &scene, t);
        features_motion(x[TWO_FRAMES] + row * (size_t)probe_features[TWO_FRAMES], first, second);
    }
    free(first);

    const unsigned all = (1u << SYNTH_CLASSES) - 1;
    const unsigned pairs[4] = {1u << SYNTH_MOVE_LEFT | 1u << SYNTH_MOVE_RIGHT,
                               1u << SYNTH_ROTATE_CLOCKWISE | 1u << SYNTH_ROTATE_COUNTERCLOCKWISE,
                               1u << SYNTH_COLLIDE | 1u << SYNTH_PASS,
                               1u << SYNTH_RETURN | 1u << SYNTH_VANISH};
    /* four standard errors of a coin with 8 or 2 sides, thrown once per test video */
    double near_all = 4 * sqrt(1 / 8.0 * 7 / 8.0 / (PROBE_ALL / 2.0));
    double near_pair = 4 * sqrt(0.25 / PROBE_VIDEOS);
    for (int p = 0; p < PROBES; p++) {
        standardise(x[p], probe_features[p]);
        double of_all = probe_accuracy(x[p], probe_features[p], all);
        print_message("probe %d: %.3f of 8 classes, chance 0.125 +- %.3f; pairs", p, of_all,
                      near_all);
        if (p != TWO_FRAMES)
            assert_true(fabs(of_all - 1 / 8.0) < near_all);
        else /* the same probe sees motion, so it could have seen a leak */
            assert_true(of_all > 1 / 8.0 + 2 * near_all);
        for (int i = 0; i < 4; i++) {
            double of_pair = probe_accuracy(x[p], probe_features[p], pairs[i]);
            print_message(" %.3f", of_pair);
            if (p != TWO_FRAMES)
                assert_true(fabs(of_pair - 0.5) < near_pair);
            else if (i == 0)
                assert_true(of_pair > 0.5 + near_pair);
        }
        print_message("\n");
        free(x[p]);
    }
}

/* ---- the law of the states --------------------------------------------------------------------
 */

/* A uniform phase has mean 0 of its cosine and sine; with n videos the deviation is sqrt(1 / 2n).
 */
static void test_law_of_a_frame(void **unused) {
    (void)unused;
    enum { VIDEOS = 600, MEASURES = 24 };
    const int times[] = {0, 7, 20, 39};
    for (int label = 0; label < SYNTH_CLASSES; label++) {
        for (int k = 0; k < 4; k++) {
            double mean[MEASURES] = {0};
            for (int number = 0; number < VIDEOS; number++) {
                SynthScene scene;
                synth_scene_make(&scene, 9, 96, label, number);
                double features[MEASURES];
                features_state(features, &scene, times[k]);
                for (int i = 0; i < 18; i++)
                    mean[i] += features[i] / VIDEOS;
            }
            for (int i = 0; i < 18; i++)
                assert_true(fabs(mean[i]) < 5 * sqrt(0.5 / VIDEOS));
        }
    }
}

/* ---- the motion is what the class says ---------------------------------------------------------
 */

static void test_motion(void **unused) {
    (void)unused;
    for (int label = 0; label < SYNTH_CLASSES; label++) {
        for (int number = 0; number < 100; number++) {
            SynthScene scene;
            synth_scene_make(&scene, 3, 96, label, number);
            SynthState start[SYNTH_OBJECTS], now[SYNTH_OBJECTS];
            synth_scene_states(start, &scene, 0);
            int turned_back = 0, stand_in = 0, original = 0;
            for (int t = 0; t < 32; t++) {
                synth_scene_states(now, &scene, t);
                turned_back += now[0].vx * start[0].vx < 0;
                assert_true((now[0].vx * now[1].vx < 0) ==
                            (label == SYNTH_COLLIDE || label == SYNTH_PASS));
                for (int i = 0; i < 2; i++) {
                    assert_true(now[i].x >= 0);
                    assert_true(now[i].x <= scene.size);
                    assert_true(now[i].y == start[i].y);
                    assert_true(now[i].visible >= 0 && now[i].visible <= 1);
                    assert_true((label == SYNTH_MOVE_LEFT) == (now[0].vx < 0 && now[1].vx < 0));
                    assert_true((label == SYNTH_MOVE_RIGHT) == (now[0].vx > 0 && now[1].vx > 0));
                }
                assert_true(fabs(now[0].y - now[1].y) >= 2 * scene.radius); /* never overlap */
                if (label == SYNTH_VANISH) {
                    int replaced = now[scene.mover].absent;
                    assert_int_equal(replaced + now[2].absent, 1);
                    stand_in += replaced;
                    original += !replaced;
                }
            }
            if (label == SYNTH_COLLIDE) /* within any 32 frames, once or twice */
                assert_in_range(turned_back, 1, 31);
            else
                assert_int_equal(turned_back, 0);
            if (label == SYNTH_VANISH)
                assert_true(stand_in > 0 && original > 0);
            double turn = remainder(now[0].angle - start[0].angle, 2 * PI);
            SynthState next[SYNTH_OBJECTS];
            synth_scene_states(next, &scene, 32);
            turn = remainder(next[0].angle - now[0].angle, 2 * PI);
            assert_true((label == SYNTH_ROTATE_CLOCKWISE) == (turn > 1e-6));
            assert_true((label == SYNTH_ROTATE_COUNTERCLOCKWISE) == (turn < -1e-6));
        }
    }
}

/* ---- the data set on disk ----------------------------------------------------------------------
 */

static const SynthSpec small = {
    .videos = 19, .seed = 11, .size = 64, .frames = 6, .fps = 16, .threads = 1};

static void data_set_remove(const char *out) {
    Error error = {0};
    for (int label = 0; label < SYNTH_CLASSES; label++) {
        char *folder = path_join(out, synth_class_name(label));
        if (folder_exists(folder))
            assert_int_equal(folder_remove(folder, &error), 0);
        free(folder);
    }
    assert_int_equal(folder_remove(out, &error), 0);
}

/* Hashes of the list, the states and every video, together; counts the videos of each class. */
static Hash data_set_hash(const char *out, int videos[SYNTH_CLASSES]) {
    Error error = {0};
    HashState state;
    hash_start(&state);
    uint8_t *bytes;
    size_t count;
    char *path = path_join(out, "states.msgpack");
    assert_int_equal(file_read(&bytes, &count, path, 1 << 26, &error), 0);
    hash_add(&state, bytes, count);
    free(bytes);
    free(path);
    path = path_join(out, "targets.csv");
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    hash_add(&state, bytes, count);
    free(bytes);
    free(path);
    path = path_join(out, "videos.csv");
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    hash_add(&state, bytes, count);
    memset(videos, 0, sizeof(int) * SYNTH_CLASSES);
    char *rest = NULL;
    for (char *line = strtok_r((char *)bytes, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        char *space = strrchr(line, ' ');
        assert_non_null(space);
        int label = atoi(space + 1);
        assert_in_range(label, 0, SYNTH_CLASSES - 1);
        *space = 0;
        assert_memory_equal(line, synth_class_name(label), strlen(synth_class_name(label)));
        videos[label]++;
        char *video = path_join(out, line);
        Hash hash;
        assert_int_equal(hash_file(&hash, video, &error), 0);
        hash_add(&state, hash.bytes, sizeof hash.bytes);
        free(video);
    }
    free(bytes);
    free(path);
    return hash_end(&state);
}

static void test_same_seed_same_bytes(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_synth_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Hash hash[4];
    for (int run = 0; run < 4; run++) {
        SynthSpec spec = small;
        spec.threads = run == 1 ? 3 : 1; /* threads change nothing */
        spec.seed += run == 3;
        char *out = memory_text("%s/r\xc3\xa9sultats %d", folder, run);
        Error error = {0};
        assert_int_equal(synth_write(out, &spec, &error), 0);
        int videos[SYNTH_CLASSES];
        hash[run] = data_set_hash(out, videos);
        for (int label = 0; label < SYNTH_CLASSES; label++)
            assert_int_equal(videos[label], label < 3 ? 3 : 2); /* 19 = 8 + 8 + 3 */
        data_set_remove(out);
        free(out);
    }
    assert_true(hash_same(&hash[0], &hash[1]));
    assert_true(hash_same(&hash[0], &hash[2]));
    assert_false(hash_same(&hash[0], &hash[3]));
    assert_int_equal(rmdir(folder), 0);
}

static void test_states_are_true(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_synth_XXXXXX"; /* exists and is empty: allowed */
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    assert_int_equal(synth_write(folder, &small, &error), 0);
    uint8_t *bytes;
    size_t count;
    char *path = path_join(folder, "states.msgpack");
    assert_int_equal(file_read(&bytes, &count, path, 1 << 26, &error), 0);
    Record record;
    assert_int_equal(record_read(&record, bytes, count, path, &error), 0);
    int64_t number;
    assert_int_equal(record_integer(record_find(record.root, "seed"), &number), 0);
    assert_int_equal(number, small.seed);
    assert_int_equal(record_count(record_find(record.root, "classes")), SYNTH_CLASSES);
    const msgpack_object *videos = record_find(record.root, "videos");
    assert_int_equal(record_count(videos), small.videos);
    for (size_t v = 0; v < record_count(videos); v++) {
        const msgpack_object *video = record_item(videos, v);
        int64_t label;
        assert_int_equal(record_integer(record_find(video, "label"), &label), 0);
        char *file = record_text(record_find(video, "file"));
        SynthScene scene;
        synth_scene_make(&scene, small.seed, small.size, (int)label, atoi(strrchr(file, '_') + 1));
        free(file);
        const msgpack_object *objects = record_find(video, "objects");
        assert_int_equal(record_count(objects), scene.objects);
        for (int t = 0; t < small.frames; t++) {
            SynthState states[SYNTH_OBJECTS];
            synth_scene_states(states, &scene, t);
            for (int i = 0; i < scene.objects; i++) {
                const msgpack_object *row = record_item(
                    record_find(record_item(objects, (size_t)i), "states"), (size_t)t);
                assert_int_equal(record_count(row), 6);
                const double wanted[6] = {states[i].x,  states[i].y,  states[i].angle,
                                          states[i].vx, states[i].vy, states[i].visible};
                for (int c = 0; c < 6; c++) {
                    double value;
                    assert_int_equal(record_number(record_item(row, (size_t)c), &value), 0);
                    assert_true(fabs(value - wanted[c]) < 1e-4);
                }
            }
        }
    }
    record_free(&record);
    free(bytes);
    free(path);
    data_set_remove(folder);
}

/* A line for every video of videos.csv, in its order: the two objects that can be seen, the upper
 * one first, in sides of the frame and sides per second. */
static void test_targets_are_true(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_synth_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    SynthSpec spec = small;
    spec.frames = 21; /* so that the middle is frame 10, and vanish has been behind the pillar */
    spec.fps = 10;
    assert_int_equal(synth_write(folder, &spec, &error), 0);
    uint8_t *bytes[2];
    size_t count;
    char *rest[2] = {NULL, NULL};
    static const char *const names[2] = {"targets.csv", "videos.csv"};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(folder, names[i]);
        assert_int_equal(file_read(&bytes[i], &count, path, 1 << 20, &error), 0);
        free(path);
    }
    char *line = strtok_r((char *)bytes[0], "\n", &rest[0]);
    assert_string_equal(line, "file,x1,y1,vx1,vy1,x2,y2,vx2,vy2");
    int lines = 0, stand_ins = 0;
    for (char *listed = strtok_r((char *)bytes[1], "\n", &rest[1]); listed;
         listed = strtok_r(NULL, "\n", &rest[1]), lines++) {
        line = strtok_r(NULL, "\n", &rest[0]);
        assert_non_null(line);
        char name[64];
        double value[8];
        assert_int_equal(sscanf(line, "%63[^,],%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf", name, &value[0],
                                &value[1], &value[2], &value[3], &value[4], &value[5], &value[6],
                                &value[7]),
                         9);
        char *space = strrchr(listed, ' ');
        int label = atoi(space + 1);
        *space = 0;
        assert_string_equal(name, listed);
        SynthScene scene;
        SynthState state[SYNTH_OBJECTS];
        synth_scene_make(&scene, spec.seed, spec.size, label, atoi(strrchr(name, '_') + 1));
        synth_scene_states(state, &scene, 10);
        assert_true(value[1] < value[5]);
        int found = 0;
        for (int i = 0; i < scene.objects; i++) {
            if (state[i].absent)
                continue;
            int row = fabs(state[i].y / spec.size - value[1]) < 1e-5 ? 0 : 4;
            const double wanted[4] = {state[i].x / spec.size, state[i].y / spec.size,
                                      state[i].vx * 10 / spec.size, state[i].vy * 10 / spec.size};
            for (int c = 0; c < 4; c++)
                assert_true(fabs(value[row + c] - wanted[c]) < 1e-6); /* 6 decimals */
            found |= 1 << row;
            stand_ins += i == 2;
        }
        assert_int_equal(found, 1 | 1 << 4);
    }
    assert_int_equal(lines, spec.videos);
    assert_null(strtok_r(NULL, "\n", &rest[0]));
    print_message("%d stand-ins\n", stand_ins);
    free(bytes[0]);
    free(bytes[1]);
    data_set_remove(folder);
}

static void test_refuses(void **unused) {
    (void)unused;
    char folder[] = "/tmp/jepa_synth_XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    char *kept = path_join(folder, "kept"), *below = path_join(folder, "kept/out");
    assert_int_equal(file_write(kept, "mine", 4, &error), 0);
    assert_int_equal(synth_write(folder, &small, &error), -1); /* not empty */
    assert_non_null(strstr(error.text, folder));
    assert_int_equal(synth_write(kept, &small, &error), -1);  /* not a folder */
    assert_int_equal(synth_write(below, &small, &error), -1); /* cannot be made */
    assert_int_equal(synth_write("", &small, &error), -1);
    struct stat info;
    assert_int_equal(stat(kept, &info), 0);
    assert_int_equal(info.st_size, 4);
    free(below);
    free(kept);
    assert_int_equal(folder_remove(folder, &error), 0); /* nothing but `kept` in it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_law_of_a_frame),  cmocka_unit_test(test_motion),
        cmocka_unit_test(test_probe),           cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_states_are_true), cmocka_unit_test(test_targets_are_true),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
