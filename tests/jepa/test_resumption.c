/* What a run goes on with: recipes that mean the same, keys that may change, the ledger of rewinds,
 * the sentry's memory. A run of an older program has fewer keys in its recipe and in its
 * checkpoints' headers: such a one is made here, and gone on with. */
#include "base/file.h"
#include "base/random.h"
#include "jepa/recipe_compare.h"
#include "jepa/run.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void set(Recipe *recipe, const char *assignment) {
    Error error = {0};
    if (recipe_set(recipe, assignment, &error))
        fail_msg("%s", error.text);
}

static Recipe small_recipe(const char *videos) {
    Recipe r;
    const char *keys[] = {"data.batch_size=1",  "data.num_frames=2",      "data.crop_size=16",
                          "data.patch_size=8",  "model.model_name=null",  "model.embed_dim=16",
                          "model.depth=1",      "model.num_heads=1",      "model.pred_embed_dim=16",
                          "model.pred_depth=1", "model.pred_num_heads=1", "optimization.ipe=4"};
    recipe_default(&r);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set(&r, keys[i]);
    r.data.datasets[0] = memory_text("%s", videos);
    r.data.datasets_count = 1;
    return r;
}

static void recipes_are_compared_by_meaning(void **state) {
    (void)state;
    Recipe a = small_recipe("videos"), b = small_recipe("videos");
    RecipeChanges changes;
    Error error = {0};
    recipe_compare(&changes, &a, &b);
    assert_int_equal(changes.count, 0);
    recipe_changes_free(&changes);
    set(&b, "checkpoint.keep=7");
    set(&b, "sentry.action=rewind");
    recipe_compare(&changes, &a, &b);
    assert_int_equal(changes.count, 2);
    assert_null(changes.fixed);
    assert_string_equal(changes.change[0].path, "checkpoint.keep");
    assert_string_equal(changes.change[0].before, "2");
    assert_string_equal(changes.change[0].after, "7");
    recipe_changes_free(&changes);
    recipe_free(&b);
    b = small_recipe("videos");
    set(&b, "mask.batch=truncate");
    set(&b, "ranks.timeout=5");
    set(&b, "optimization.lr=0.5");
    recipe_compare(&changes, &a, &b);
    assert_int_equal(changes.count, 3);
    assert_string_equal(changes.fixed->path, "mask.batch");
    assert_non_null(strstr(changes.fixed->after, "truncate settings:"));
    recipe_changes_free(&changes);
    assert_int_equal(recipe_compare_text(&changes, "data: {crop_size: x}", "it", &a, &error), -1);
    assert_int_equal(changes.count, 0);
    recipe_free(&a);
    recipe_free(&b);
}

static void branches_are_functions_of_the_ledger(void **state) {
    const char *folder = *state;
    Rewinds r = {.count = 0}, again;
    Error error = {0};
    const Rewind rewinds[] = {{100, 60, 0.5}, {130, 90, 0.25}, {140, 30, 0.125}};
    assert_true(rewinds_seed(&r, 234, 10) == 234 && rewinds_lr_scale(&r, 10) == 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rewinds_add(&r, &rewinds[i], "it, \"collapsed\"", folder, &error), 0);
    assert_int_equal(rewinds_load(&again, folder, &error), 0);
    assert_int_equal(again.count, 3);
    assert_memory_equal(&again.rewind[2], &rewinds[2], sizeof(Rewind));
    again.count = 2; /* as it was before the third */
    assert_int_equal(rewinds_branch(&again, 59), 0);
    assert_int_equal(rewinds_branch(&again, 60), 1);
    assert_int_equal(rewinds_branch(&again, 89), 1);
    assert_int_equal(rewinds_branch(&again, 90), 2);
    assert_int_equal(rewinds_branch_of(&again, 60), 0); /* the checkpoint gone back to */
    assert_int_equal(rewinds_branch_of(&again, 61), 1);
    assert_int_equal(rewinds_branch_of(&again, 0), 0);
    /* the third overrules both */
    assert_int_equal(rewinds_branch(&r, 29), 0);
    assert_int_equal(rewinds_branch(&r, 30), 3);
    assert_int_equal(rewinds_branch(&r, 95), 3);
    assert_true(rewinds_lr_scale(&r, 95) == 0.125 && rewinds_lr_scale(&r, 29) == 1);
    assert_true(rewinds_seed(&r, 234, 30) == random_branch(234, 3));
    assert_true(random_branch(234, 3) != random_branch(234, 2) && random_branch(234, 1) != 234 &&
                random_branch(235, 1) != random_branch(234, 1) && random_branch(234, 0) == 234);
    const char *damaged[] = {"branch,from,to,lr_scale,reason\n1,5,7,0.5,\"\"\n",
                             "branch,from,to,lr_scale,reason\n2,7,5,0.5,\"\"\n",
                             "branch,from,to,lr_scale,reason\n1,7,5,nan,\"\"\n",
                             "branch,from,to,lr_scale,reason\n1,7,5,0.5,\"", "branch,from\n"};
    char *path = path_join(folder, REWINDS_NAME);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        assert_int_equal(file_write(path, damaged[i], strlen(damaged[i]), &error), 0);
        assert_int_equal(rewinds_load(&again, folder, &error), -1);
    }
    remove(path);
    free(path);
}

static Diagnosis diagnosis_of(double std, double rankme, double lidar) {
    Diagnosis d;
    for (int i = 0; i < DIAGNOSIS_VALUES; i++)
        d.value[i] = NAN;
    d.value[DIAGNOSIS_CONTEXT_STD] = std;
    d.value[DIAGNOSIS_CONTEXT_RANKME] = rankme;
    d.value[DIAGNOSIS_LIDAR] = lidar;
    return d;
}

static void the_sentry_judges(void **state) {
    (void)state;
    Recipe r = small_recipe("videos");
    Health h;
    SentryVerdict v;
    const char *keys[] = {"sentry.std_min=0.1", "sentry.rankme_min=0", "sentry.rankme_share=0.5",
                          "sentry.patience=2"};
    for (size_t i = 0; i < 4; i++)
        set(&r, keys[i]);
    /* std, RankMe, LiDAR; complains, acts */
    const double rounds[][5] = {{0.01, 90, 9, 0, 0}, /* first weights: not judged, no mark */
                                {0.50, 20, 9, 0, 0},     {0.50, 12, 8, 0, 0}, {0.50, 9.9, 8, 1, 0},
                                {0.50, 11, 8, 0, 0},     {0.09, 11, 8, 1, 0}, {0.50, 9, 8, 1, 1},
                                {0.5, INFINITY, 8, 1, 1}};
    health_start(&h);
    for (int i = 0; i < 8; i++) {
        Diagnosis d = diagnosis_of(rounds[i][0], rounds[i][1], rounds[i][2]);
        sentry_judge(&v, &h, &d, &r, 10 * i);
        assert_true(v.complains == (rounds[i][3] > 0) && v.acts == (rounds[i][4] > 0));
    }
    assert_int_equal(h.sound, 40);
    assert_int_equal(h.complaints, 3);
    assert_non_null(strstr(v.reason, "context_rankme is not finite"));
    assert_true(h.largest[2] == 20);
    Rewinds rewinds = {.rewind = {{60, 50, 0.5}}, .count = 1};
    health_go_on(&h, &rewinds, 50); /* what was gone back to is sound */
    assert_int_equal(h.sound, 50);
    assert_int_equal(h.complaints, 0);
    recipe_free(&r);
}

static void the_best_is_told(void **state) {
    (void)state;
    Recipe r = small_recipe("videos");
    Health h, back;
    SentryVerdict sound = {0}, ill = {.complains = true};
    Diagnosis d = diagnosis_of(1, 5, 3), higher = diagnosis_of(1, 6, 2);
    health_start(&h);
    assert_false(health_is_best(&h, &sound, &d, &r, 10)); /* not asked for */
    set(&r, "checkpoint.keep_best=rankme");
    assert_false(health_is_best(&h, &sound, &d, &r, 0)); /* nothing has been learnt */
    assert_true(health_is_best(&h, &sound, &d, &r, 10));
    assert_false(health_is_best(&h, &sound, &d, &r, 20));
    assert_false(health_is_best(&h, &ill, &higher, &r, 20));
    assert_true(health_is_best(&h, &sound, &higher, &r, 20));
    set(&r, "checkpoint.keep_best=lidar"); /* another measure begins anew */
    assert_true(health_is_best(&h, &sound, &higher, &r, 30));
    set(&r, "checkpoint.keep_best=probe");
    assert_false(health_is_best(&h, &sound, &d, &r, 40)); /* not measured */
    h.branch = 2, h.lr_scale = 0.25, h.complaints = 1, h.sound = 30, h.largest[3] = 1.5;
    RecordWriter writer;
    Record record;
    Error error = {0};
    record_writer_start(&writer);
    health_put(&writer, &h);
    assert_int_equal(
        record_read(&record, (uint8_t *)writer.buffer.data, writer.buffer.size, "it", &error), 0);
    assert_int_equal(health_read(&back, record.root), 0);
    assert_true(back.branch == 2 && back.lr_scale == 0.25 && back.complaints == 1 &&
                back.sound == 30 && back.largest[3] == 1.5 && back.best_by == KEEP_BEST_LIDAR &&
                back.best == 2 && back.best_step == 30 && back.best_branch == 0);
    record_free(&record);
    record_writer_free(&writer);
    recipe_free(&r);
}

/* ---- a run of an older program ---- */

/* The text without the lines that this program has and an older one had not. */
static char *without_new_keys(const char *text) {
    char *kept = memory_new(strlen(text) + 1, 1);
    bool drop = false;
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n") + 1;
        if (*line != ' ')
            drop = !strncmp(line, "diagnostics:", 12) || !strncmp(line, "sentry:", 7);
        if (!drop && strncmp(line, "  keep_best:", 12))
            strncat(kept, line, length);
        line += length;
    }
    return kept;
}

static void save_older(const Run *run, const Recipe *recipe, const char *text) {
    Device *device;
    Model model;
    Error error = {0};
    ModelPlan plan = {.config = recipe_model(recipe),
                      .samples = 1,
                      .settings = 2,
                      .contexts = 2,
                      .context = 8,
                      .target = 8,
                      .joined = 8,
                      .training = true};
    assert_int_equal(device_open(&device, "cpu", 1, &error), 0);
    assert_int_equal(model_new(&model, &plan, device, &error), 0);
    model_init(&model, 1);
    CheckpointState s = {.model = &model, .step = 3, .recipe = text, .index = run->index.hash};
    assert_int_equal(checkpoint_save(run->folder, &s, 2, &error), 0);
    model_free(&model);
    device_close(device);
}

static void runs_with_fewer_keys_go_on(void **state) {
    char *folder = path_join(*state, "run"), *videos = path_join(*state, "videos"),
         *path = path_join(folder, "recipe.yaml"), *changes = path_join(folder, "changes.csv");
    char *command = memory_text("'%s' synth --out '%s' --videos 3 --size 32 --frames 8 >/dev/null "
                                "2>&1",
                                JEPA_PROGRAM, videos);
    assert_int_equal(system(command), 0);
    Recipe r = small_recipe(videos);
    Run run;
    Error error = {0};
    uint8_t *bytes;
    size_t count;
    assert_int_equal(run_open(&run, folder, &r, false, 1, &error), 0);
    char *text = without_new_keys(run.recipe_text);
    assert_true(strlen(text) + 100 < strlen(run.recipe_text));
    save_older(&run, &r, text);
    run_close(&run);
    assert_int_equal(file_write(path, text, strlen(text), &error), 0);

    if (run_open(&run, folder, &r, true, 1, &error))
        fail_msg("%s", error.text);
    assert_true(run.resumed && run.checkpoint.step == 3 && run.health.lr_scale == 1);
    assert_int_equal(run.changes.count, 0);
    assert_false(file_exists(changes)); /* nothing was changed */
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    assert_string_equal((char *)bytes, run.recipe_text); /* and is resolved again */
    free(bytes);
    run_close(&run);

    set(&r, "ranks.timeout=9");
    assert_int_equal(run_open(&run, folder, &r, true, 1, &error), 0);
    assert_true(run.resumed && run.changes.count == 1);
    run_close(&run);
    assert_int_equal(file_read(&bytes, &count, changes, 1 << 20, &error), 0);
    assert_string_equal((char *)bytes, "step,key,before,after\n3,ranks.timeout,\"600\",\"9\"\n");
    free(bytes);

    set(&r, "optimization.lr=0.7");
    assert_int_equal(run_open(&run, folder, &r, true, 1, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "optimization.lr: 0.00062500000000000001 there"));
    recipe_free(&r);
    free(text);
    free(command);
    free(changes);
    free(path);
    free(videos);
    free(folder);
}

int main(void) {
    char folder[] = "/tmp/jepa_resumption_XXXXXX";
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipes_are_compared_by_meaning),
        cmocka_unit_test_prestate(branches_are_functions_of_the_ledger, folder),
        cmocka_unit_test(the_sentry_judges),
        cmocka_unit_test(the_best_is_told),
        cmocka_unit_test_prestate(runs_with_fewer_keys_go_on, folder),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char *remove = memory_text("rm -rf '%s'", folder);
    if (!failed && system(remove))
        failed = 1;
    free(remove);
    return failed;
}
