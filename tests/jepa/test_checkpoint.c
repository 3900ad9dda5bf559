/* Checkpoints: the same bits back, damage noticed wherever it is, nothing half-written. */
#include "base/file.h"
#include "jepa/checkpoint.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const ModelConfig config = {.frames = 2,
                                   .height = 8,
                                   .width = 8,
                                   .tubelet = 2,
                                   .patch = 4,
                                   .trained_frames = 2,
                                   .trained_height = 8,
                                   .trained_width = 8,
                                   .dim = 8,
                                   .depth = 1,
                                   .heads = 2,
                                   .hidden = 16,
                                   .pred_dim = 8,
                                   .pred_depth = 1,
                                   .pred_heads = 1,
                                   .pred_hidden = 16,
                                   .mask_tokens = 1,
                                   .used_mask_tokens = 1,
                                   .init_std = 0.02};

typedef struct Fixture {
    char folder[64];
    Device *device;
    Model model;
} Fixture;

static Model make_model(Device *device, uint64_t seed) {
    Model model;
    Error error = {0};
    ModelPlan plan = {
        .config = config, .samples = 1, .settings = 1, .context = 8, .target = 8, .training = true};
    assert_int_equal(model_new(&model, &plan, device, &error), 0);
    model_init(&model, seed);
    for (int64_t i = 0; i < model.table.total; i++) {
        model.first_moment[i] = 0.1f * model.weights[i];
        model.second_moment[i] = 0.2f * model.weights[i];
    }
    /* the gaps between tensors are not parameters and stay zero */
    return model;
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    Error error = {0};
    snprintf(f->folder, sizeof f->folder, "/tmp/jepa-checkpoint-%s", "XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    assert_int_equal(device_open(&f->device, "cpu", 1, &error), 0);
    f->model = make_model(f->device, 1);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk) {
    (void)about, (void)type, (void)walk;
    return remove(path);
}

static int teardown(void **state) {
    Fixture *f = *state;
    model_free(&f->model);
    device_close(f->device);
    nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void save(Fixture *f, int64_t step, int keep) {
    Error error = {0};
    CheckpointState s = {.model = &f->model,
                         .step = step,
                         .replaced = 3,
                         .recipe = "a: recipe\n",
                         .index = hash_bytes("index", 5)};
    assert_int_equal(checkpoint_save(f->folder, &s, keep, &error), 0);
}

/* 0 if the newest checkpoint opens and loads. */
static int load(Fixture *f, Model *model, Error *error) {
    Checkpoint c;
    if (checkpoint_open(&c, f->folder, error))
        return -1;
    int result = checkpoint_load(model, &c, error);
    checkpoint_close(&c);
    return result;
}

static void gives_the_same_bits_back(void **state) {
    Fixture *f = *state;
    Error error = {0};
    Checkpoint c;
    save(f, 12, 2);
    assert_int_equal(checkpoint_open(&c, f->folder, &error), 0);
    assert_int_equal(c.step, 12);
    assert_int_equal(c.replaced, 3);
    assert_string_equal(c.recipe, "a: recipe\n");
    Model other = make_model(f->device, 2);
    assert_int_equal(checkpoint_load(&other, &c, &error), 0);
    size_t bytes = (size_t)other.table.total * sizeof(float);
    assert_memory_equal(other.weights, f->model.weights, bytes);
    assert_memory_equal(other.first_moment, f->model.first_moment, bytes);
    assert_memory_equal(other.second_moment, f->model.second_moment, bytes);
    assert_memory_equal(other.target, f->model.target,
                        (size_t)other.table.owner[OWNER_ENCODER].end * sizeof(float));
    model_free(&other);
    checkpoint_close(&c);
}

static void keeps_the_newest(void **state) {
    Fixture *f = *state;
    Error error = {0};
    int64_t *steps;
    size_t count;
    for (int64_t step = 8; step < 12; step++)
        save(f, step, 2);
    assert_int_equal(checkpoint_list(&steps, &count, f->folder, &error), 0);
    assert_int_equal(count, 2);
    assert_int_equal(steps[0], 10);
    assert_int_equal(steps[1], 11);
    free(steps);
    /* what a killed run leaves is cleaned, and only that */
    char path[128];
    snprintf(path, sizeof path, "%s/step-12.partial", f->folder);
    assert_int_equal(folder_make(path, &error), 0);
    snprintf(path, sizeof path, "%s/step-12.partial/model.safetensors", f->folder);
    assert_int_equal(file_write(path, "half", 4, &error), 0);
    snprintf(path, sizeof path, "%s/mine.partial", f->folder);
    assert_int_equal(folder_make(path, &error), 0);
    assert_int_equal(checkpoint_clean(f->folder, &error), 0);
    assert_true(folder_exists(path));
    snprintf(path, sizeof path, "%s/step-12.partial", f->folder);
    assert_false(folder_exists(path));
    save(f, 11, 2); /* a step done again takes the place of the old */
}

/* One byte after the other is turned over, in steps: the load fails, or (in a byte of JSON that
 * says nothing) gives the same values. It never crashes and never gives others. */
static void every_damage_is_noticed(void **state) {
    Fixture *f = *state;
    save(f, 5, 2);
    const char *names[] = {"checkpoint.msgpack", "model.safetensors", "optimizer.safetensors"};
    Model other = make_model(f->device, 2);
    for (int k = 0; k < 3; k++) {
        char path[128];
        uint8_t *bytes;
        size_t count;
        int noticed = 0, tried = 0;
        Error error = {0};
        snprintf(path, sizeof path, "%s/step-5/%s", f->folder, names[k]);
        assert_int_equal(file_read(&bytes, &count, path, 1 << 24, &error), 0);
        for (size_t at = 0; at < count; at += 1 + count / 150) {
            bytes[at] ^= 0x41;
            assert_int_equal(file_write(path, bytes, count, &error), 0);
            bytes[at] ^= 0x41;
            tried++;
            if (load(f, &other, &error))
                noticed++;
            else
                assert_memory_equal(other.weights, f->model.weights,
                                    (size_t)other.table.total * sizeof(float));
        }
        assert_true(noticed * 10 >= tried * 9);
        for (size_t length = 0; length < count; length += 1 + count / 40) {
            assert_int_equal(file_write(path, bytes, length, &error), 0);
            assert_int_equal(load(f, &other, &error), -1);
        }
        assert_int_equal(file_write(path, bytes, count, &error), 0);
        assert_int_equal(load(f, &other, &error), 0);
        free(bytes);
    }
    model_free(&other);
}

static void claims_of_gigabytes_are_refused(void **state) {
    Fixture *f = *state;
    Error error = {0};
    char path[128];
    const uint8_t hostile[][8] = {{0xdd, 0xff, 0xff, 0xff, 0xff, 0, 0, 0},
                                  {0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0, 0},
                                  {0xc6, 0xff, 0xff, 0xff, 0xff, 0, 0, 0}};
    snprintf(path, sizeof path, "%s/step-1", f->folder);
    assert_int_equal(folder_make(path, &error), 0);
    snprintf(path, sizeof path, "%s/step-1/checkpoint.msgpack", f->folder);
    for (size_t i = 0; i < 3; i++) {
        Checkpoint c;
        assert_int_equal(file_write(path, hostile[i], 8, &error), 0);
        assert_int_equal(checkpoint_open(&c, f->folder, &error), -1);
        assert_int_equal(error.code, ERROR_RUN);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_the_same_bits_back, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_the_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(every_damage_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_of_gigabytes_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
