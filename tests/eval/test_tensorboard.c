/* Logs as event files while a run trains, is killed, resumed, and goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/events.h"
#include "base/file.h"
#include "eval/tensorboard.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS 64

typedef struct Place {
    char run[40];
    char *log, *diagnostics, *board, *inner;
} Place;

static void make_place(Place *p) {
    strcpy(p->run, "/tmp/jepa_board_XXXXXX");
    assert_non_null(mkdtemp(p->run));
    p->log = path_join(p->run, "log.csv");
    p->diagnostics = path_join(p->run, "diagnostics.csv");
    p->board = path_join(p->run, "board");
    p->inner = path_join(p->board, "diagnostics");
}

static void remove_place(Place *p) {
    if (folder_exists(p->inner))
        assert_int_equal(folder_remove(p->inner, NULL), 0);
    if (folder_exists(p->board))
        assert_int_equal(folder_remove(p->board, NULL), 0);
    assert_int_equal(folder_remove(p->run, NULL), 0);
    free(p->log);
    free(p->diagnostics);
    free(p->board);
    free(p->inner);
}

static void append(const char *path, const char *text) {
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Rows of steps from..to - 1 whose loss is step + 1000 branch. */
static void append_rows(const char *path, int from, int to, int branch) {
    for (int step = from; step < to; step++) {
        char *row = memory_text("0,%d,%d,%s,%d\n", step, step + 1000 * branch, step % 4 ? "" : "5",
                                branch);
        append(path, row);
        free(row);
    }
}

static void begin_log(const char *path) {
    append(path, "epoch,step,loss,target_std,branch\n");
}

/* What readers see: the values of loss by step, after what they are told to forget; each at most
 * once. */
typedef struct Seen {
    int values, sparse, others;
    float loss[STEPS];
    int times[STEPS];
} Seen;

static void see(void *context, int64_t step, double seconds, const char *tag, float value) {
    Seen *seen = context;
    (void)seconds;
    assert_in_range(step, 0, STEPS - 1);
    if (!strcmp(tag, "collapse/target_std")) {
        seen->sparse++;
    } else if (!strcmp(tag, "loss/loss")) {
        seen->loss[step] = value;
        seen->times[step]++;
        seen->values++;
    } else {
        seen->others++;
    }
}

static Seen read_board(const char *folder) {
    Seen seen = {0};
    Error error = {0};
    size_t files;
    assert_int_equal(events_read(&files, folder, see, &seen, &error), 0);
    return seen;
}

/* Every step before `steps` once, with the branch that counts. */
static void assert_steps(const char *folder, int steps, int from, int branch) {
    Seen seen = read_board(folder);
    assert_int_equal(seen.values, steps);
    for (int i = 0; i < steps; i++) {
        assert_int_equal(seen.times[i], 1);
        assert_true(seen.loss[i] == (float)(i + 1000 * (i >= from ? branch : 0)));
    }
    assert_int_equal(seen.sparse, (steps + 3) / 4);
    assert_int_equal(seen.others, 0); /* epoch, step and branch are no values */
}

static Tensorboard *open_board(const Place *p, bool fresh) {
    Tensorboard *board;
    Error error = {0};
    assert_int_equal(tensorboard_open(&board, p->run, p->board, fresh, &error), 0);
    return board;
}

static void update(Tensorboard *board) {
    Error error = {0};
    if (tensorboard_update(board, &error))
        fail_msg("%s", error.text);
}

static void rows_are_taken_as_they_come(void **state) {
    (void)state;
    Place p;
    make_place(&p);
    Tensorboard *board = open_board(&p, false);
    update(board); /* no log yet */
    assert_false(folder_exists(p.board));
    append(p.log, "epoch,step,lo");
    update(board);
    append(p.log, "ss,target_std,branch\n");
    update(board);
    for (int i = 0; i < 10; i++) {
        append_rows(p.log, i, i + 1, 0);
        update(board);
        update(board);
        assert_steps(p.board, i + 1, STEPS, 0);
    }
    append(p.log, "0,10,1"); /* a row that is still written */
    update(board);
    assert_steps(p.board, 10, STEPS, 0);
    append(p.log, "0,,0\n");
    update(board);
    assert_steps(p.board, 11, STEPS, 0);
    tensorboard_close(board);
    remove_place(&p);
}

/* A run is killed after step 19, its log is cut back to 8 rows, and it goes on. */
static void resumed_runs_leave_no_step_twice(void **state) {
    (void)state;
    Place p;
    make_place(&p);
    begin_log(p.log);
    append_rows(p.log, 0, 20, 0);
    Tensorboard *board = open_board(&p, false);
    update(board);
    tensorboard_close(board);
    assert_steps(p.board, 20, STEPS, 0);
    unlink(p.log);
    begin_log(p.log);
    append_rows(p.log, 0, 8, 0);
    board = open_board(&p, false);
    update(board);
    assert_steps(p.board, 8, STEPS, 0);
    append_rows(p.log, 8, 30, 2);
    update(board);
    tensorboard_close(board);
    assert_steps(p.board, 30, 8, 2);
    board = open_board(&p, false); /* resumed after its end: nothing is to be done */
    update(board);
    tensorboard_close(board);
    assert_steps(p.board, 30, 8, 2);
    remove_place(&p);
}

/* The event files lack rows that the log has: they are filled in. */
static void what_is_missing_is_filled_in(void **state) {
    (void)state;
    Place p;
    make_place(&p);
    begin_log(p.log);
    append_rows(p.log, 0, 12, 0);
    Tensorboard *board = open_board(&p, false);
    update(board);
    tensorboard_close(board);
    assert_int_equal(events_cut(p.board, 5, NULL), 0);
    board = open_board(&p, false);
    update(board);
    tensorboard_close(board);
    assert_steps(p.board, 12, STEPS, 0);
    remove_place(&p);
}

/* The log keeps the rows of what was given up; they are followed live, then from the start. */
static void rewinds_leave_no_step_twice(void **state) {
    (void)state;
    Place p;
    make_place(&p);
    begin_log(p.log);
    Tensorboard *board = open_board(&p, false);
    append_rows(p.log, 0, 20, 0);
    update(board);
    append_rows(p.log, 10, 25, 1);
    update(board);
    assert_steps(p.board, 25, 10, 1);
    append_rows(p.log, 10, 28, 3); /* once more to the same step */
    update(board);
    assert_steps(p.board, 28, 10, 3);
    tensorboard_close(board);
    for (int again = 0; again < 2; again++) {
        board = open_board(&p, false);
        update(board);
        tensorboard_close(board);
        assert_steps(p.board, 28, 10, 3);
    }
    /* a rewind that was logged, and not written as events: the old steps are of the same numbers */
    assert_int_equal(folder_remove(p.board, NULL), 0);
    char *aside = path_join(p.run, "aside.csv");
    assert_int_equal(rename(p.log, aside), 0);
    begin_log(p.log);
    append_rows(p.log, 0, 20, 0);
    board = open_board(&p, false);
    update(board);
    tensorboard_close(board);
    assert_int_equal(rename(aside, p.log), 0);
    free(aside);
    board = open_board(&p, false);
    update(board);
    tensorboard_close(board);
    assert_steps(p.board, 28, 10, 3);
    remove_place(&p);
}

static void diagnostics_have_a_folder(void **state) {
    (void)state;
    Place p;
    make_place(&p);
    begin_log(p.log);
    append_rows(p.log, 0, 9, 0);
    append(p.diagnostics, "step,branch,lidar\n4,0,2.5\n8,0,3.5\n");
    Tensorboard *board = open_board(&p, true);
    update(board);
    tensorboard_close(board);
    assert_steps(p.board, 9, STEPS, 0);
    assert_int_equal(read_board(p.inner).others, 2);
    Error error = {0};
    assert_int_equal(tensorboard_open(&board, p.run, p.board, true, &error), -1);
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "give another folder"));
    tensorboard_close(board);
    remove_place(&p);
}

static void folders_that_cannot_be_written(void **state) {
    (void)state;
    Place p;
    make_place(&p);
    begin_log(p.log);
    append_rows(p.log, 0, 2, 0);
    append(p.board, "a file");
    Tensorboard *board = open_board(&p, false);
    Error error = {0};
    assert_int_equal(tensorboard_update(board, &error), -1);
    assert_int_equal(error.code, ERROR_RUN);
    tensorboard_close(board);
    unlink(p.board);
    remove_place(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_taken_as_they_come),
        cmocka_unit_test(resumed_runs_leave_no_step_twice),
        cmocka_unit_test(what_is_missing_is_filled_in),
        cmocka_unit_test(rewinds_leave_no_step_twice),
        cmocka_unit_test(diagnostics_have_a_folder),
        cmocka_unit_test(folders_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
