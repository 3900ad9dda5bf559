/* Where a run may start: another run's weights (init_from), its moments too (--cooldown), or beside
 * a frozen teacher. On a few synthetic videos. */
#include "base/file.h"
#include "base/safetensors.h"
#include "jepa/checkpoint.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZES                                                                                      \
    " --set data.batch_size=2 --set data.num_frames=4 --set data.crop_size=32"                     \
    " --set data.patch_size=8 --set optimization.ipe=3 --set optimization.epochs=1"                \
    " --set optimization.warmup=0 --set model.depth=2 --set model.num_heads=2"                     \
    " --set model.pred_embed_dim=16 --set model.pred_depth=1 --set model.pred_num_heads=2"         \
    " --set model.use_rope=true"

typedef struct Fixture {
    char folder[64];
} Fixture;

/* The exit status of "jepa ARGUMENTS" in the folder; what it says goes to FOLDER/said. */
static int jepa(const Fixture *f, const char *arguments) {
    char *command = memory_text("cd '%s' && '%s' %s >said 2>&1", f->folder, JEPA_PROGRAM,
                                arguments);
    int status = system(command);
    free(command);
    return WEXITSTATUS(status);
}

static char *said(const Fixture *f) {
    char *path = path_join(f->folder, "said");
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    free(path);
    return (char *)bytes;
}

static void assert_said(const Fixture *f, const char *what) {
    char *text = said(f);
    if (!strstr(text, what))
        fail_msg("expected \"%s\" in:\n%s", what, text);
    free(text);
}

static int begin(void **state) {
    Fixture *f = memory_new(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/jepa_start_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return jepa(f, "synth --out videos --videos 8 --size 48 --frames 12 --seed 2") ||
           jepa(f, "pretrain --data videos --out first --set model.embed_dim=32" SIZES);
}

static int end(void **state) {
    Fixture *f = *state;
    char *command = memory_text("rm -rf '%s'", f->folder);
    int status = system(command);
    free(command);
    free(f);
    return status;
}

/* The bytes of all tensors of a run's newest networks whose names begin so, with the names. */
static Hash hash_networks(const Fixture *f, const char *run, const char *prefix) {
    Checkpoint checkpoint;
    Safetensors file;
    Error error = {0};
    char *path = path_join(f->folder, run);
    assert_int_equal(checkpoint_open(&checkpoint, path, &error), 0);
    free(path);
    path = path_join(checkpoint.folder, "model.safetensors");
    assert_int_equal(safetensors_open(&file, path, &error), 0);
    uint8_t *all = NULL;
    size_t count = 0;
    for (size_t i = 0; i < file.count; i++)
        if (!strncmp(file.tensors[i].name, prefix, strlen(prefix))) {
            all = memory_grow(all, count + file.tensors[i].bytes, 1);
            memcpy(all + count, file.tensors[i].data, file.tensors[i].bytes);
            count += file.tensors[i].bytes;
        }
    assert_true(count > 0);
    Hash hash = hash_bytes(all, count);
    free(all);
    free(path);
    safetensors_close(&file);
    checkpoint_close(&checkpoint);
    return hash;
}

static int64_t updates_of(const Fixture *f, const char *run) {
    Checkpoint checkpoint;
    Error error = {0};
    char *path = path_join(f->folder, run);
    assert_int_equal(checkpoint_open(&checkpoint, path, &error), 0);
    int64_t updates = checkpoint.updates;
    checkpoint_close(&checkpoint);
    free(path);
    return updates;
}

static void cooldown_goes_on_with_the_moments(void **state) {
    const Fixture *f = *state;
    assert_int_equal(jepa(f, "pretrain --data videos --out cool --cooldown first"
                             " --set optimization.epochs=2"),
                     0);
    assert_said(f, "going on from first after 3 updates, moments included");
    assert_int_equal(updates_of(f, "cool"), 3 + 6);
    /* the learning rate falls by equal steps to nearly nothing: column 11 of the log */
    assert_int_equal(jepa(f, "pretrain --resume --out cool"), 0);
    char *path = path_join(f->folder, "cool/log.csv");
    uint8_t *log;
    size_t count;
    Error error = {0};
    assert_int_equal(file_read(&log, &count, path, 1 << 20, &error), 0);
    free(path);
    double lr[6];
    char *line = (char *)log;
    for (int i = 0; i < 6; i++) {
        line = strchr(line, '\n') + 1;
        char *at = line;
        for (int c = 0; c < 10; c++)
            at = strchr(at, ',') + 1;
        lr[i] = strtod(at, NULL);
    }
    free(log);
    for (int i = 2; i < 6; i++)
        assert_true((lr[i - 1] - lr[i]) / (lr[0] - lr[1]) > 0.999 &&
                    (lr[i - 1] - lr[i]) / (lr[0] - lr[1]) < 1.001);
    assert_true(lr[5] > 0.9e-6 && lr[5] < 1.1e-6);
}

static void given_weights_are_the_first(void **state) {
    const Fixture *f = *state;
    /* with a learning rate of 0 they are also the last, but for the target's moving average */
    assert_int_equal(jepa(f, "pretrain --data videos --out same --set model.embed_dim=32" SIZES
                             " --set init_from=first --set optimization.lr=0"
                             " --set optimization.start_lr=0 --set optimization.final_lr=0"),
                     0);
    assert_said(f, "tensors, 0 are new");
    Hash a = hash_networks(f, "first", "encoder."), b = hash_networks(f, "same", "encoder.");
    assert_memory_equal(a.bytes, b.bytes, sizeof a.bytes);
    assert_int_equal(updates_of(f, "same"), 3); /* its own */
    /* other sizes: named, not guessed */
    assert_int_equal(jepa(f, "pretrain --data videos --out other --set model.embed_dim=40" SIZES
                             " --set model.pred_embed_dim=24 --set init_from=first"),
                     1);
    assert_said(f, "not one of its tensors has the name and shape");
}

static void frozen_teacher_does_not_move(void **state) {
    const Fixture *f = *state;
    Hash teacher = hash_networks(f, "first", "target_encoder.");
    /* a wider student of a narrower teacher, resumed from the middle */
    assert_int_equal(jepa(f, "pretrain --data videos --out student --set model.embed_dim=48" SIZES
                             " --set target=frozen:first --set checkpoint.every='1 steps'"),
                     0);
    assert_said(f, "the target encoder is that of first, frozen");
    Hash after = hash_networks(f, "student", "target_encoder.");
    assert_memory_equal(teacher.bytes, after.bytes, sizeof after.bytes);
    /* what a run needs of its teacher is in it: it goes on where the teacher is gone */
    Hash done = hash_networks(f, "student", "");
    char *command = memory_text("cd '%s' && mv first away && rm -r student/step-3", f->folder);
    assert_int_equal(system(command), 0);
    free(command);
    int status = jepa(f, "pretrain --resume --out student");
    command = memory_text("cd '%s' && mv away first", f->folder);
    assert_int_equal(system(command), 0);
    free(command);
    assert_int_equal(status, 0);
    Hash again = hash_networks(f, "student", "");
    assert_memory_equal(done.bytes, again.bytes, sizeof done.bytes);
}

static void what_cannot_be_started_from_is_named(void **state) {
    const Fixture *f = *state;
    static const struct {
        const char *set, *message;
        int status;
    } cases[] = {
        {"init_from=nowhere", "nowhere", 1},
        {"target=frozen:nowhere", "target: frozen:nowhere", 1},
        {"target=thawed", "target: expected ema or frozen:CHECKPOINT", 2},
        {"optimization.is_anneal=true", "optimization.anneal_ckpt, or --cooldown RUN", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *arguments = memory_text("pretrain --data videos --out bad%zu "
                                      "--set model.embed_dim=32" SIZES " --set %s",
                                      i, cases[i].set);
        assert_int_equal(jepa(f, arguments), cases[i].status);
        assert_said(f, cases[i].message);
        free(arguments);
    }
    assert_int_equal(
        jepa(f, "pretrain --data videos --out bad --set model.embed_dim=32" SIZES
                " --set data.patch_size=16 --set data.crop_size=64 --set target=frozen:first"),
        2);
    assert_said(f, "it cuts clips into 2 x 8 x 8, the recipe into 2 x 16 x 16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cooldown_goes_on_with_the_moments),
        cmocka_unit_test(given_weights_are_the_first),
        cmocka_unit_test(frozen_teacher_does_not_move),
        cmocka_unit_test(what_cannot_be_started_from_is_named),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
