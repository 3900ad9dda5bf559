/* jepa report: what there is to see of a run, or of several beside each other, as one HTML file. */
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "eval/report_page.h"
#include "eval/tensorboard.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/plan.h"
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WATCH_SECONDS 10
#define WATCH_SHARE   20 /* at most one part in so many of a core is spent on a watched report */
#define DAY           86400

typedef struct ReportArguments {
    const char *out, *video, *tensorboard, *device;
    double watch; /* seconds; 0: write the page once */
    int64_t threads;
    TextList runs;
} ReportArguments;

/* The program's own version and hash, as in certificates. */
typedef struct Program {
    char name[64], hash[HASH_TEXT];
    bool hashed;
} Program;

static Program this_program(void) {
    Program p = {.hashed = false};
    Hash hash;
    Error ignored = {0};
    snprintf(p.name, sizeof p.name, "jepa %s", JEPA_VERSION);
    p.hashed = !hash_file(&hash, "/proc/self/exe", &ignored);
    if (p.hashed)
        hash_text(p.hash, &hash);
    return p;
}

/* ---- pictures ---- */

/* Pictures of the newest checkpoint, unless they are there: what jepa visualize draws. */
static int make_pictures(const ReportRun *run, const ReportArguments *a) {
    if (!run->checkpoints_count) {
        log_info("%s: no checkpoint yet to make pictures of", run->folder);
        return 0;
    }
    const ReportCheckpoint *c = &run->checkpoints[run->checkpoints_count - 1];
    char *checkpoint = path_join(run->folder, c->name);
    char *inside = memory_text("pictures/%s", c->name), *folder = path_join(run->folder, inside);
    bool there = false;
    int code = 0;
    for (size_t i = 0; i < run->pictures_count && !there; i++)
        there = !strcmp(run->pictures[i].folder, inside);
    if (!there) {
        char threads[24];
        snprintf(threads, sizeof threads, "%" PRId64, a->threads);
        const char *arguments[] = {"visualize", "--checkpoint", checkpoint, "--video",
                                   a->video,    "--out",        folder,     "--threads",
                                   threads,     "--device",     a->device};
        /* it only reads them */
        code = command_visualize(a->device ? 11 : 9, (char **)(uintptr_t)arguments);
    }
    free(checkpoint);
    free(inside);
    free(folder);
    return code;
}

/* ---- the page ---- */

static int write_page(const char *path, const ReportRun *runs, const ReportArguments *a,
                      const Program *program, bool going_on, Error *error) {
    char written[64];
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(written, sizeof written, "%Y-%m-%d %H:%M:%S UTC", &parts);
    ReportPage page = {.runs = runs,
                       .count = (int)a->runs.count,
                       .refresh = going_on ? a->watch : 0,
                       .program = program->name,
                       .hash = program->hashed ? program->hash : NULL,
                       .written = written};
    return report_page_write(path, &page, error);
}

static bool is_going_on(const ReportRun *runs, size_t count) {
    for (size_t r = 0; r < count; r++)
        if (runs[r].state == REPORT_RUNNING || runs[r].state == REPORT_PERHAPS)
            return true;
    return false;
}

/* Set by a signal handler, which can reach nothing else (as in jepa/trainer.c). */
static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal) {
    interrupted = signal;
}

static void wait_seconds(double seconds) {
    struct timespec left = {(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))};
    nanosleep(&left, NULL); /* a signal ends it */
}

static int write_events(const ReportArguments *a, Error *error) {
    Tensorboard *board;
    int result = tensorboard_open(&board, a->runs.items[0], a->tensorboard, true, error);
    if (!result)
        result = tensorboard_update(board, error);
    tensorboard_close(board);
    if (!result)
        printf("event files      %s\n", a->tensorboard);
    return result;
}

static int read_runs(ReportRun *runs, const ReportArguments *a, Error *error) {
    for (size_t r = 0; r < a->runs.count; r++)
        if (report_run_read(&runs[r], a->runs.items[r], error))
            return -1;
    return 0;
}

/* Reads all runs and writes the page; again and again while it is watched, until no run goes on.
 * *code: what making pictures ended with, which has said why itself. */
static int report(const char *path, ReportRun *runs, const ReportArguments *a, int *code,
                  Error *error) {
    Program program = this_program();
    for (bool first = true;; first = false) {
        double started = time_now(), drawing = 0;
        if (read_runs(runs, a, error) || (first && a->tensorboard && write_events(a, error)))
            return -1;
        if (a->video) { /* once for each checkpoint, and asked for: no reason to wait longer */
            drawing = time_now();
            if ((*code = make_pictures(&runs[0], a)))
                return 0;
            drawing = time_now() - drawing;
            if (read_runs(runs, a, error))
                return -1;
        }
        bool going_on = a->watch > 0 && !interrupted && is_going_on(runs, a->runs.count);
        if (write_page(path, runs, a, &program, going_on, error))
            return -1;
        if (!going_on)
            return 0;
        wait_seconds(fmax(a->watch, WATCH_SHARE * (time_now() - started - drawing)));
    }
}

static int run_report(const ReportArguments *a, int *code, Error *error) {
    ReportRun *runs = memory_new(a->runs.count, sizeof *runs);
    char *path = a->out               ? memory_text("%s", a->out)
                 : a->runs.count == 1 ? path_join(a->runs.items[0], "report.html")
                                      : memory_text("comparison.html");
    struct sigaction action = {.sa_handler = note_interrupt,
                               .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int result = report(path, runs, a, code, error);
    if (!result && !*code)
        printf("report           %s\n", path);
    for (size_t r = 0; r < a->runs.count; r++)
        report_run_free(&runs[r]);
    free(runs);
    free(path);
    return result;
}

/* Takes --watch without a number out of the arguments and says after how many seconds. The parser
 * of options knows only those that always have a value. */
static int take_watch(int argc, char **argv, double *seconds) {
    int kept = 0;
    for (int i = 0; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";
        next += *next == '-'; /* refused later */
        bool number = *next && strspn(next, "0123456789.") == strlen(next);
        if (strcmp(argv[i], "--watch") != 0 || number)
            argv[kept++] = argv[i];
        else
            *seconds = WATCH_SECONDS;
    }
    argv[kept] = NULL;
    return kept;
}

int command_report(int argc, char **argv) {
    const CommandHelp help = {
        "jepa report RUN [RUN2 ...] [--out FILE.html] [--watch [SECONDS]] [--video FILE]",
        "Writes one HTML file that needs nothing else: curves that can be zoomed, recipe, data "
        "with "
        "what was quarantined, pictures, probe results, hashes. Several runs are compared. It only "
        "reads the runs, which may be training meanwhile."};
    ReportArguments a = {0};
    const Option options[] = {
        {"out", "FILE", "default: RUN/report.html; of several runs comparison.html", OPTION_TEXT,
         &a.out},
        {"watch", "SECONDS",
         "write it anew every so often (default 10) while a run goes on; the page loads itself "
         "again",
         OPTION_NUMBER, &a.watch},
        {"video", "FILE",
         "make pictures of the newest checkpoint with this video, in RUN/pictures/step-N (as jepa "
         "visualize)",
         OPTION_TEXT, &a.video},
        {"tensorboard", "DIR", "also write the log as event files of TensorBoard", OPTION_TEXT,
         &a.tensorboard},
        {"threads", "N", "threads for pictures; 0: all (default)", OPTION_INTEGER, &a.threads},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &a.device},
    };
    Error error = {0};
    int code = 0;
    argc = take_watch(argc, argv, &a.watch);
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options,
                               &a.runs, &error);
    if (parsed == 0) {
        if (!a.runs.count || a.runs.count > REPORT_RUNS_MAX)
            error_set(&error, ERROR_USAGE, "expected 1 to %d folders of runs", REPORT_RUNS_MAX);
        else if (a.watch < 0 || a.watch > DAY || a.threads < 0 || a.threads > 4096)
            error_set(&error, ERROR_USAGE,
                      "--watch: expected 1 to %d seconds; --threads: 0 to 4096", DAY);
        else if (a.runs.count > 1 && (a.video || a.tensorboard))
            error_set(&error, ERROR_USAGE, "--video and --tensorboard are for one run");
        else
            run_report(&a, &code, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa report: %s\n", error.text);
    free(a.runs.items);
    return error.code ? error.code : code;
}
