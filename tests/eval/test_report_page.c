/* The report's page: what it needs, how large it gets, what it says of pieces that are not there or
 * damaged, how runs are compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/png.h"
#include "eval/report_page.h"
#include "jepa/recipe.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[] = "/tmp/jepa_page_XXXXXX";

static int make_place(void **state) {
    (void)state;
    strcpy(place + strlen(place) - 6, "XXXXXX");
    return mkdtemp(place) ? 0 : -1;
}

static int remove_place(void **state) {
    (void)state;
    char *command = memory_text("rm -rf %s", place);
    int result = system(command);
    free(command);
    return result;
}

static void put(const char *run, const char *name, const char *text) {
    char *folder = path_join(place, run), *path = path_join(folder, name);
    char *inner = path_folder(path);
    assert_int_equal(folder_make(inner, NULL), 0);
    assert_int_equal(file_write(path, text, strlen(text), NULL), 0);
    free(folder);
    free(inner);
    free(path);
}

static void put_recipe(const char *run, const char *assignment) {
    Recipe recipe;
    Error error = {0};
    recipe_default(&recipe);
    assert_int_equal(recipe_set(&recipe, assignment, &error), 0);
    assert_int_equal(recipe_set(&recipe, "optimization.ipe=10", &error), 0);
    assert_int_equal(recipe_set(&recipe, "optimization.epochs=3", &error), 0);
    char *text = recipe_text(&recipe);
    put(run, "recipe.yaml", text);
    free(text);
    recipe_free(&recipe);
}

/* A log of `steps` rows with the published header. */
static void put_log(const char *run, int steps, double loss) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs("epoch,itr,loss,loss-jepa,enc-grad-norm,wall-time(ms),step,lr,target_std,my_own,wait(ms),"
          "momentum,clips_per_second,ring,a,b,c,d,e,f,g,h,i,j,replaced\n",
          out);
    for (int i = 0; i < steps; i++) {
        unsigned noise = (unsigned)i * 2654435761u >> 12;
        double x = loss + noise * 1e-7;
        fprintf(out, "0,%d,%.9g,%.9g,%.6g,100.0,%d,%.9g,", i, i == steps / 2 ? 99. : x, x, 1 / x, i,
                1e-3 * i);
        if (i % 10 == 0)
            fputs("0.5", out);
        fprintf(out, ",%g,%g,%g", x * 3, x * 4, 1 - 1e-9 * i);
        for (int c = 0; c < 12; c++)
            fprintf(out, ",%.6g", x * (c + 2));
        fputs(",0\n", out);
    }
    fclose(out);
    put(run, "log.csv", text);
    free(text);
}

/* The page of runs "a", "b", ... in the place; caller frees. */
static char *page_of(const char *const *names, int count, size_t *bytes, double refresh) {
    ReportRun runs[REPORT_RUNS_MAX] = {{0}};
    Error error = {0};
    uint8_t *text;
    for (int r = 0; r < count; r++) {
        char *folder = path_join(place, names[r]);
        if (report_run_read(&runs[r], folder, &error))
            fail_msg("%s", error.text);
        free(folder);
    }
    ReportPage page = {
        .runs = runs, .count = count, .refresh = refresh, .program = "test", .written = "today"};
    char *path = path_join(place, "page.html");
    assert_int_equal(report_page_write(path, &page, &error), 0);
    assert_int_equal(file_read(&text, bytes, path, 64 << 20, &error), 0);
    free(path);
    for (int r = 0; r < count; r++)
        report_run_free(&runs[r]);
    return (char *)text;
}

static char *page_of_one(const char *name) {
    size_t bytes;
    return page_of(&name, 1, &bytes, 0);
}

static void assert_has(const char *page, const char *part) {
    if (!strstr(page, part))
        fail_msg("not in the page: %s", part);
}

/* Nothing is fetched: no address in it, and every source is its own. */
static void assert_alone(const char *page) {
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "@import"));
    assert_null(strstr(page, "<link"));
    assert_null(strstr(page, "<script src"));
    for (const char *at = page; (at = strstr(at, " src=\"")); at++)
        assert_int_equal(strncmp(at, " src=\"data:image/", 17), 0);
    assert_has(page, "default-src 'none'");
    assert_has(page, "</body></html>");
}

static void long_logs_stay_small(void **state) {
    (void)state;
    const char *name = "a";
    size_t bytes;
    put_log("a", 252000, 0.5);
    char *page = page_of(&name, 1, &bytes, 0);
    assert_alone(page);
    assert_in_range(bytes, 100000, 3 << 20);
    assert_has(page, "in 720 parts of equal length");
    assert_has(page, ",99,"); /* the one step in the middle, among the highest of its part */
    free(page);
}

static void unknown_columns_are_drawn(void **state) {
    (void)state;
    put_log("a", 50, 0.5);
    put("a", "diagnostics.csv", "step,branch,lidar,something_new\n10,0,3,1\n20,0,4,2\n");
    char *page = page_of_one("a");
    assert_has(page, "<b>my_own</b>");
    assert_has(page, "<b>something_new</b>");
    assert_has(page, "<b>LiDAR</b>");
    assert_has(page, "Zero throughout: branch, replaced.");
    assert_null(strstr(page, "<b>branch</b>"));
    free(page);
}

static void what_is_not_there_is_said(void **state) {
    (void)state;
    put("a", "log.csv", "step,loss\n");
    char *page = page_of_one("a");
    assert_alone(page);
    assert_has(page, "no step is logged yet");
    assert_has(page, "no checkpoint is there yet");
    assert_has(page, "no results of a probe");
    assert_has(page, "no pictures in");
    assert_has(page, "videos.index is not there");
    assert_has(page, "quarantine.csv is not there");
    assert_has(page, "recipe.yaml is not there");
    free(page);
    put_recipe("b", "data.batch_size=3");
    page = page_of_one("b");
    assert_has(page, "log.csv is not there");
    assert_has(page, "of 30"); /* steps of the recipe */
    assert_has(page, "batch_size: 3");
    free(page);
}

static void what_is_damaged_is_said(void **state) {
    (void)state;
    put("a", "recipe.yaml", "a: [1, 2\nb: }");
    put("a", "videos.index", "jepacol\nnot an index");
    put("a", "log.csv", "\x01\x02 <b>\n1,2\n");
    put("a", "diagnostics.csv", "no,such,column\n1,2,3\n");
    put("a", "quarantine.csv", "");
    put("a", "step-10/checkpoint.msgpack", "rubbish");
    put("a", "probe/results.csv", "");
    put("a", "probe/confusion.png", "<svg onload=alert(1)>");
    put("a", "pictures/step-10/mask-0.png", "GIF89 is no GIF");
    char *page = page_of_one("a");
    assert_alone(page);
    assert_null(strstr(page, "<svg onload"));
    assert_has(page, "recipe.yaml");
    assert_has(page, "videos.index");
    assert_has(page, "names no column &quot;step&quot;");
    assert_has(page, "diagnostics.csv: the first line names no column");
    assert_has(page, "quarantine.csv: no line of column names");
    assert_has(page, "class=\"bad\"");
    assert_has(page, "results.csv: no line of column names");
    assert_has(page, "confusion.png is no PNG or GIF file");
    assert_has(page, "mask-0.png is no PNG or GIF file");
    free(page);
}

static void names_of_strangers_are_text(void **state) {
    (void)state;
    put_log("a", 5, 0.5);
    put("a", "quarantine.csv",
        "step,slot,file,reason\n,,\"x/<script>alert('x')</script>.mp4\",\"<img src=x "
        "onerror=y>\"\n");
    put("a", "probe/results.csv",
        "probe,top1,low95,high95\n<script>z</script>,0.5,0.4,0.6\nmajority class,0.125,0.1,0.2\n");
    put("a", "probe/manifest.json", "{\"</pre><script>\": 1}");
    put("a", "rewinds.csv", "branch,from,to,lr_scale,reason\n1,4,2,0.5,<i>collapse</i>\n");
    put("a", "pictures/<u>/latents-1.png", "");
    char *page = page_of_one("a");
    assert_alone(page);
    assert_null(strstr(page, "<script>alert"));
    assert_null(strstr(page, "<script>z"));
    assert_null(strstr(page, "</pre><script>"));
    assert_null(strstr(page, "<img src=x"));
    assert_null(strstr(page, "<u>"));
    assert_null(strstr(page, "<i>collapse"));
    assert_has(page, "x/&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;.mp4");
    assert_has(page, "50.0 %");
    assert_has(page, "class=\"mark\"");
    free(page);
}

static void put_picture(const char *run, const char *name) {
    Canvas *canvas;
    Error error = {0};
    char *folder = path_join(place, run), *path = path_join(folder, name);
    char *inner = path_folder(path);
    assert_int_equal(folder_make(inner, &error), 0);
    assert_int_equal(canvas_new(&canvas, 4, 4, (Color){1, 2, 3}, &error), 0);
    assert_int_equal(png_write(path, canvas, &error), 0);
    canvas_free(canvas);
    free(folder);
    free(inner);
    free(path);
}

static void pictures_are_in_the_page(void **state) {
    (void)state;
    put_log("a", 5, 0.5);
    for (int step = 2; step <= 40; step++) {
        char *name = memory_text("pictures/step-%d/latents-target.png", step);
        put_picture("a", name);
        free(name);
    }
    put_picture("a", "pictures/step-40/mask-0.png");
    put_picture("a", "pictures/step-7/mask-9.png");
    put_picture("a", "pictures/step-40/contact-sheet.png");
    put_picture("a", "curves.png");
    char *page = page_of_one("a");
    assert_alone(page);
    assert_has(page, "alt=\"mask-0.png\"");
    assert_null(strstr(page, "mask-9.png"));
    assert_null(strstr(page, "contact-sheet.png"));
    assert_null(strstr(page, "curves.png"));
    assert_has(page, "12 of 39 folders are shown");
    int strips = 0;
    for (const char *at = page; (at = strstr(at, "<h4>pictures/step-")); at++)
        strips++;
    assert_int_equal(strips, 12);
    assert_has(page, "<h4>pictures/step-2</h4>");
    assert_has(page, "<h4>pictures/step-40</h4>");
    free(page);
}

/* Rows are what their probe, features and metric say; settings and numbers may differ. */
static void probes_of_runs_stand_beside_each_other(void **state) {
    (void)state;
    const char *names[] = {"a", "b"};
    static const char head[] = "probe,features,metric,score,low95,high95,correct,test_videos,"
                               "setting,selected_on\n";
    size_t bytes;
    char *text = memory_text("%slinear,this encoder,top-1,0.5,0.4,0.6,8,16,lambda 10,folds\n"
                             "linear,random initialisation,top-1,0.25,0.2,0.3,4,16,,\n"
                             "kNN,this encoder,top-1,0.375,,,6,16,k 5,random halves\n",
                             head);
    put_log("a", 5, 0.5);
    put_log("b", 5, 0.5);
    put("a", "probe/results.csv", text);
    free(text);
    text = memory_text("%slinear,this encoder,top-1,0.75,0.6,0.8,12,16,lambda 0.1,folds\n", head);
    put("b", "probe/results.csv", text);
    put("b", "probe/by/results.csv", text);
    free(text);
    put_picture("a", "probe/confusion-kNN.png");
    put_picture("a", "probe/confusion.png");
    char *page = page_of(names, 2, &bytes, 0);
    assert_has(page,
               "<th>probe: linear, this encoder, top-1</th><td class=\"number\"><b>50.0 %</b> "
               "[40.0, 60.0]</td><td class=\"number\"><b>75.0 %</b> [60.0, 80.0]</td>");
    assert_has(page, "<th>probe: kNN, this encoder, top-1</th><td class=\"number\"><b>37.5 %</b> "
                     "</td><td class=\"number\"><b>–</b> </td>");
    assert_has(page, "<th>probe/by: linear, this encoder, top-1</th>");
    free(page);
    page = page_of_one("a");
    const char *first = strstr(page, "alt=\"confusion.png\""),
               *second = strstr(page, "alt=\"confusion-kNN.png\"");
    assert_true(first && second && first < second);
    int floors = 0; /* random halves are no floor */
    for (const char *at = page; (at = strstr(at, "<tr class=\"floor\">")); at++)
        floors++;
    assert_int_equal(floors, 1);
    assert_has(page, "[40.0, 60.0], probe: linear");
    free(page);
}

static void runs_are_compared(void **state) {
    (void)state;
    const char *names[] = {"a", "b", "c"};
    size_t bytes;
    put_log("a", 30, 0.5);
    put_log("b", 20, 0.25);
    put_log("c", 30, 0.125);
    put_recipe("a", "optimization.lr=0.001");
    put_recipe("b", "optimization.lr=0.002");
    put_recipe("c", "optimization.lr=0.002");
    put("b", "probe/results.csv", "probe,top1,low95,high95\nlinear,0.5,0.4,0.6\n");
    char *page = page_of(names, 3, &bytes, 0);
    assert_alone(page);
    assert_has(page, "<th>optimization.lr</th><td>0.001</td><td>0.002</td><td>0.002</td>");
    assert_null(strstr(page, "<th>optimization.epochs</th>"));
    assert_has(page, "mean of the 10 steps before 20");
    assert_has(page, "<th>probe: linear</th>");
    assert_has(page, "<b>50.0 %</b> [40.0, 60.0]");
    assert_has(page, "class=\"line c2\"");
    free(page);
    page = page_of(names + 1, 2, &bytes, 0);
    assert_has(page, "The recipes are the same");
    free(page);
}

static void states_are_told_apart(void **state) {
    (void)state;
    const char *name = "a";
    char *folder = path_join(place, "a"), *lock = path_join(folder, "lock");
    char *log = path_join(folder, "log.csv");
    ReportRun run = {0};
    Error error = {0};
    size_t bytes;
    put_recipe("a", "data.batch_size=3");
    put_log("a", 30, 0.5);
    assert_int_equal(report_run_read(&run, folder, &error), 0);
    assert_int_equal(run.total, 30);
    assert_int_equal(run.steps, 30);
    assert_int_equal(run.state, REPORT_FINISHED);
    put_log("a", 20, 0.5);
    assert_int_equal(report_run_read(&run, folder, &error), 0);
    assert_int_equal(run.state, REPORT_PERHAPS); /* its log has just changed */
    const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, log, old, 0), 0);
    assert_int_equal(report_run_read(&run, folder, &error), 0);
    assert_int_equal(run.state, REPORT_STOPPED);
    int held = lock_take(lock, &error);
    assert_true(held >= 0);
    assert_int_equal(report_run_read(&run, folder, &error), 0);
    assert_int_equal(run.state, REPORT_RUNNING);
    assert_int_equal(flock(held, LOCK_EX | LOCK_NB), 0); /* looking did not take it */
    char *page = page_of(&name, 1, &bytes, 7);
    assert_has(page, "<noscript><meta http-equiv=\"refresh\" content=\"7\"></noscript>");
    assert_has(page, "data-refresh=\"7\"");
    free(page);
    lock_release(held);
    assert_int_equal(report_run_read(&run, folder, &error), 0);
    assert_int_equal(run.state, REPORT_STOPPED);
    report_run_free(&run);
    free(folder);
    free(lock);
    free(log);
}

static void refused(const char *folder, const char *message) {
    ReportRun run = {0};
    Error error = {0};
    assert_int_equal(report_run_read(&run, folder, &error), -1);
    assert_int_equal(error.code, ERROR_RUN);
    assert_non_null(strstr(error.text, message));
    report_run_free(&run);
}

static void folders_that_are_no_runs(void **state) {
    (void)state;
    refused("/nowhere", "no such folder");
    refused(place, "holds no run");
    ReportRun run = {.name = (char *)(uintptr_t) "x", .folder = (char *)(uintptr_t) "x"};
    ReportPage page = {.runs = &run, .count = 1, .program = "test", .written = "today"};
    Error error = {0};
    assert_int_equal(report_page_write("/dev/null/page.html", &page, &error), -1);
    assert_int_equal(error.code, ERROR_RUN);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(long_logs_stay_small),
        TEST(unknown_columns_are_drawn),
        TEST(what_is_not_there_is_said),
        TEST(what_is_damaged_is_said),
        TEST(names_of_strangers_are_text),
        TEST(pictures_are_in_the_page),
        TEST(probes_of_runs_stand_beside_each_other),
        TEST(runs_are_compared),
        TEST(states_are_told_apart),
        TEST(folders_that_are_no_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
