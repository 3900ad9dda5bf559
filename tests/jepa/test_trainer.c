/* A device whose memory is not the host's says what came out a step later, and sends what ranks
 * exchange through the host: log and checkpoints must not change. The CPU device plays its part:
 * what it posts is not there before it is waited for, which takes a while. Calls itself: "VIDEOS
 * RUN away" trains, under mpirun too; "back" as well, with a sentry that goes back once and then
 * stops.
 */
#include "base/file.h"
#include "eval/diagnostics.h"
#include "jepa/trainer.h"
#include "kernels/exchange.h"
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

static const char *const keys[] = {"data.batch_size=4",
                                   "data.num_frames=4",
                                   "data.crop_size=32",
                                   "data.patch_size=8",
                                   "model.depth=2",
                                   "model.num_heads=2",
                                   "model.embed_dim=160",
                                   "model.pred_embed_dim=16",
                                   "model.pred_depth=1",
                                   "model.pred_num_heads=2",
                                   "optimization.ipe=14",
                                   "optimization.epochs=1",
                                   "optimization.warmup=0",
                                   "optimization.micro_batch=1",
                                   "checkpoint.every=5 steps",
                                   "meta.dtype=bfloat16",
                                   "logging.diagnostics_every=6",
                                   "diagnostics.every=4",
                                   "diagnostics.videos=4"};
static const char *const goes_back[] = {"sentry.action=rewind", "sentry.rankme_min=1000",
                                        "sentry.most_rewinds=1"};

#define WAIT_MS 150 /* more than the CPU takes for a step */

/* What was posted; a device that is waited for has no other place for it. */
static struct Posted {
    void *host, *kept;
    size_t bytes;
} posted[8];
static int posts;

static void post_late(void *host, const void *from, size_t bytes, Device *device) {
    (void)device;
    if (posts == 8)
        abort();
    posted[posts] = (struct Posted){host, memory_new(1, bytes), bytes};
    memcpy(posted[posts++].kept, from, bytes);
    memset(host, 0xff, bytes);
}

static void wait_long(Device *device) {
    (void)device;
    usleep(WAIT_MS * 1000);
    while (posts) {
        struct Posted *p = &posted[--posts];
        memcpy(p->host, p->kept, p->bytes);
        free(p->kept);
    }
}

static int train(const char *videos, const char *folder, const char *how, Error *error) {
    bool away = strstr(how, "away"), back = strstr(how, "back");
    Diagnostics *diagnostics = NULL;
    Exchange *x;
    Device *device;
    Recipe recipe;
    Run run;
    TrainerResult result;
    recipe_default(&recipe);
    if (exchange_open(&x, error) || device_open(&device, "cpu", 1, error))
        return -1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (recipe_set(&recipe, keys[i], error))
            return -1;
    for (size_t i = 0; i < sizeof goes_back / sizeof *goes_back && back; i++)
        if (recipe_set(&recipe, goes_back[i], error))
            return -1;
    recipe.data.datasets[0] = memory_text("%s", videos);
    recipe.data.datasets_count = 1;
    int status = recipe_check(&recipe, error);
    device_set_precision(device, PRECISION_BFLOAT16, true);
    if (away) {
        device->on_host = device->exact->on_host = false;
        device->post = post_late;
        device->wait = wait_long;
    }
    if (!status && !x->rank)
        status = run_open(&run, folder, &recipe, false, 1, error);
    status = exchange_agree(x, status, error);
    if (!status && x->rank)
        status = run_join(&run, folder, &recipe, -1, error);
    if (!(status = exchange_agree(x, status, error))) {
        TrainerConfig config = {.recipe = &recipe,
                                .run = &run,
                                .device = device,
                                .loader_threads = 1,
                                .exchange = x,
                                .hooks = {.diagnostics = diagnostics_hooks(&diagnostics)}};
        status = trainer_run(&result, &config, error);
        run_close(&run);
    }
    if (status && !x->rank)
        fprintf(stderr, "%s\n", error->text);
    exchange_close(x, true);
    device_close(device);
    recipe_free(&recipe);
    return status;
}

typedef struct Fixture {
    char folder[64];
    const char *self;
} Fixture;

static int shell(const Fixture *f, const char *command) {
    char *whole = memory_text("cd '%s' && { %s; } >said 2>&1", f->folder, command);
    int status = system(whole);
    free(whole);
    return WEXITSTATUS(status);
}

/* Columns that no clock can change, and the checkpoint. */
static void assert_same(const Fixture *f, const char *run) {
    char *command = memory_text(
        "for r in host %s; do cut -d, -f1-7,10-13,16-19 $r/log.csv >$r.steps; "
        "cut -d, -f1-27 $r/diagnostics.csv >>$r.steps; "
        "done; cmp host.steps %s.steps && diff -r host/step-14 %s/step-14",
        run, run, run);
    if (shell(f, command))
        fail_msg("%s differs: %s/said", run, f->folder);
    free(command);
}

static void late_and_at_once(void **state) {
    Fixture *f = *state;
    char *command = memory_text("'%s' synth --out videos --videos 5 --size 32 --frames 12 && "
                                "'%s' videos host here && '%s' videos away away",
                                JEPA_PROGRAM, f->self, f->self);
    assert_int_equal(shell(f, command), 0);
    assert_same(f, "away");
    free(command);
    /* a step takes what the device takes, not what its calls do */
    command = memory_text("awk -F, 'NR > 1 && $9 < %d { print; bad = 1 } END { exit bad }' "
                          "away/log.csv",
                          WAIT_MS);
    if (shell(f, command))
        fail_msg("a step without the device's time: %s/said", f->folder);
    free(command);
}

/* At step 4 back to the first weights, at step 4 of branch 1 the end. */
static void back_on_such_a_device(void **state) {
    Fixture *f = *state;
    char *command = memory_text(
        "'%s' videos back-host back && '%s' videos back-away away-back && diff "
        "back-host/rewinds.csv "
        "back-away/rewinds.csv && diff -r back-host/step-4 back-away/step-4 && diff -r "
        "back-host/step-0 back-away/step-0 && cut -d, -f3,10,11 back-host/log.csv >back.host && "
        "cut "
        "-d, -f3,10,11 back-away/log.csv | diff back.host - && [ $(wc -l <back.host) -eq 9 ]",
        f->self, f->self);
    if (shell(f, command))
        fail_msg("going back differs: %s/said", f->folder);
    free(command);
}

static void ranks_through_the_host(void **state) {
    Fixture *f = *state;
    if (system("command -v mpirun >/dev/null")) {
        print_message("needs mpirun\n");
        return;
    }
    for (int ranks = 2; ranks <= 4; ranks *= 2) {
        char *run = memory_text("ranks%d", ranks);
        const char *environment =
            "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
            "ASAN_OPTIONS=detect_leaks=0";
        char *command = memory_text("%s; mpirun --oversubscribe -n %d '%s' videos %s away || "
                                    "grep -q 'has no MPI' said",
                                    environment, ranks, f->self, run);
        assert_int_equal(shell(f, command), 0);
        char *log = memory_text("%s/%s/log.csv", f->folder, run);
        if (file_exists(log))
            assert_same(f, run);
        free(log);
        free(command);
        free(run);
    }
}

int main(int argc, char **argv) {
    Error error = {0};
    if (argc == 4)
        return train(argv[1], argv[2], argv[3], &error) ? 1 : 0;
    Fixture f = {.folder = "/tmp/jepa_trainer_XXXXXX", .self = realpath(argv[0], NULL)};
    if (!f.self || !mkdtemp(f.folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(late_and_at_once, &f),
        cmocka_unit_test_prestate(back_on_such_a_device, &f),
        cmocka_unit_test_prestate(ranks_through_the_host, &f),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed)
        folder_remove(f.folder, &error);
    free((char *)(uintptr_t)f.self);
    return failed;
}
