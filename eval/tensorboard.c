/* From logs to event files. See eval/tensorboard.h. */
#include "eval/tensorboard.h"
#include "base/events.h"
#include "base/file.h"
#include "eval/panels.h"
#include "eval/table.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LINE_MOST 65536 /* bytes of a line of a log */

/* One log and its event files. */
typedef struct Stream {
    PanelSource source;
    char *path;  /* of the log */
    FILE *file;  /* NULL: it is not there yet */
    ino_t inode; /* a log that is cut back is replaced by another file */
    size_t columns;
    char *tag[TABLE_COLUMNS_MAX];    /* NULL: no value of a step */
    int64_t last[TABLE_COLUMNS_MAX]; /* last step of each tag in the event files, -1: none */
    double value[TABLE_COLUMNS_MAX]; /* of the row that was read last */
    int step_column, wall_column;    /* -1: none */
    int64_t step;                    /* of that row */
    char *folder;
    EventFile events; /* of this process; made with its first row */
    int64_t start;    /* step from which readers have to forget; -1: none */
    char line[LINE_MOST];
} Stream;

struct Tensorboard {
    Stream stream[PANEL_SOURCES];
};

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- rows ---- */

/* The next whole line; false: there is none yet. */
static bool next_line(Stream *s) {
    long before = ftell(s->file);
    clearerr(s->file); /* an end that was met may lie further on now */
    if (!fgets(s->line, sizeof s->line, s->file))
        return false;
    if (strchr(s->line, '\n'))
        return true;
    fseek(s->file, before, SEEK_SET); /* still being written */
    return false;
}

static void take_header(Stream *s) {
    char *fields[TABLE_COLUMNS_MAX], *text = s->line;
    size_t count = table_split(&text, fields, TABLE_COLUMNS_MAX);
    s->columns = count < TABLE_COLUMNS_MAX ? count : TABLE_COLUMNS_MAX;
    s->step_column = s->wall_column = -1;
    for (size_t c = 0; c < s->columns; c++) {
        if (!strcmp(fields[c], "step"))
            s->step_column = (int)c;
        if (!strcmp(fields[c], "wall-time(ms)"))
            s->wall_column = (int)c;
        if (*fields[c] && !panels_is_key(fields[c]))
            s->tag[c] = memory_text("%s/%s", panels_group(s->source, fields[c]), fields[c]);
        s->last[c] = -1;
    }
}

/* The next row with a step; false: there is none yet. */
static bool next_row(Stream *s) {
    char *fields[TABLE_COLUMNS_MAX], *end;
    while (s->file && next_line(s)) {
        if (!s->columns) {
            take_header(s);
            continue;
        }
        char *text = s->line;
        size_t count = table_split(&text, fields, TABLE_COLUMNS_MAX);
        for (size_t c = 0; c < s->columns; c++) {
            s->value[c] = c < count ? strtod(fields[c], &end) : NAN;
            if (c >= count || end == fields[c] || *end)
                s->value[c] = NAN;
        }
        double step = s->step_column < 0 ? NAN : s->value[s->step_column];
        if (step >= 0 && step < 1e15) {
            s->step = (int64_t)step;
            return true;
        }
    }
    return false;
}

static double wall_time(const Stream *s) {
    double wall = s->wall_column < 0 ? NAN : s->value[s->wall_column];
    return isfinite(wall) && wall > 0 ? wall / 1e3 : 0;
}

static void close_log(Stream *s) {
    if (s->file)
        fclose(s->file);
    for (size_t c = 0; c < s->columns; c++)
        free(s->tag[c]);
    memset(s->tag, 0, sizeof s->tag);
    s->file = NULL;
    s->columns = 0;
}

/* *opened: the log is there for the first time, or is another file than before. */
static int open_log(Stream *s, bool *opened, Error *error) {
    struct stat about;
    *opened = false;
    if (stat(s->path, &about)) {
        if (errno == ENOENT)
            return 0;
        return error_set(error, ERROR_RUN, "cannot read %s: %s", s->path, strerror(errno));
    }
    if (s->file && about.st_ino == s->inode && ftell(s->file) <= (long)about.st_size)
        return 0;
    close_log(s);
    s->inode = about.st_ino;
    if (!(s->file = fopen(s->path, "re")))
        return error_set(error, ERROR_RUN, "cannot read %s: %s", s->path, strerror(errno));
    *opened = true;
    return 0;
}

/* ---- what is there already ---- */

static void note_value(void *context, int64_t step, double seconds, const char *tag, float value) {
    Stream *s = context;
    (void)seconds;
    (void)value;
    for (size_t c = 0; c < s->columns; c++)
        if (s->tag[c] && step > s->last[c] && !strcmp(s->tag[c], tag))
            s->last[c] = step;
}

static int64_t last_written(const Stream *s) {
    int64_t last = -1;
    for (size_t c = 0; c < s->columns; c++)
        last = s->tag[c] && s->last[c] > last ? s->last[c] : last;
    return last;
}

/* Forgets everything from `step` on. */
static int go_back(Stream *s, int64_t step, Error *error) {
    events_close(&s->events);
    s->start = step;
    for (size_t c = 0; c < s->columns; c++)
        s->last[c] = s->last[c] < step ? s->last[c] : step - 1;
    return events_cut(s->folder, step, error);
}

static int write_row(Stream *s, double seconds, Error *error) {
    EventValue values[TABLE_COLUMNS_MAX];
    size_t count = 0;
    for (size_t c = 0; c < s->columns; c++)
        if (s->tag[c] && isfinite(s->value[c]) && s->step > s->last[c]) {
            values[count++] = (EventValue){s->tag[c], s->value[c]};
            s->last[c] = s->step;
        }
    if (!count)
        return 0;
    if (!s->events.stream && events_create(&s->events, s->folder, seconds_now(), s->start, error))
        return -1;
    return events_write(&s->events, seconds, s->step, values, count, error);
}

/* The rows of a log that was there before. Of rows with steps that were done again later only the
 * last ones count: row i where step[i] < step[k] for all k > i. Their times are reckoned back from
 * the log's last change by what their steps took. */
static int catch_up(Stream *s, Error *error) {
    struct stat about;
    int64_t *steps = NULL, again = INT64_MAX, least = INT64_MAX;
    size_t rows = 0, room = 0, i = 0, files;
    double before = 0;
    for (; next_row(s); rows++) {
        if (rows == room) {
            room = 2 * room + 1024;
            steps = memory_grow(steps, room, sizeof *steps);
        }
        steps[rows] = s->step;
        before += wall_time(s);
    }
    int64_t most = rows ? steps[rows - 1] : -1;
    for (size_t k = rows; k-- > 0;) { /* a row that does not count: its step becomes -1 */
        if (steps[k] >= least) {
            again = least < again ? least : again;
            steps[k] = -1;
        } else {
            least = steps[k];
        }
    }
    int result = fstat(fileno(s->file), &about) ? -1 : 0;
    if (result)
        error_set(error, ERROR_RUN, "cannot read %s: %s", s->path, strerror(errno));
    if (!result)
        result = events_read(&files, s->folder, note_value, s, error);
    if (!result && files) /* what a crash left of a record */
        result = events_cut(s->folder, INT64_MAX, error);
    /* nobody can tell of which rows the values are that were written for steps done again */
    int64_t from = again <= most ? again : most + 1;
    if (!result && last_written(s) >= from)
        result = go_back(s, from, error);
    rewind(s->file);
    if (s->columns)
        next_line(s); /* the header */
    for (; !result && i < rows && next_row(s); i++) {
        before -= wall_time(s);
        if (steps[i] == s->step)
            result = write_row(s, (double)about.st_mtime - (before > 0 ? before : 0), error);
    }
    free(steps);
    return result;
}

static int update(Stream *s, Error *error) {
    bool opened;
    if (open_log(s, &opened, error) || (opened && catch_up(s, error)))
        return -1;
    while (next_row(s))
        if ((s->step <= last_written(s) && go_back(s, s->step, error)) ||
            write_row(s, seconds_now(), error))
            return -1;
    return 0;
}

int tensorboard_open(Tensorboard **board, const char *run, const char *folder, bool fresh,
                     Error *error) {
    static const struct {
        const char *log, *folder;
    } places[PANEL_SOURCES] = {{"log.csv", ""}, {"diagnostics.csv", "diagnostics"}};
    Tensorboard *b = *board = memory_new(1, sizeof *b);
    for (int i = 0; i < PANEL_SOURCES; i++) {
        Stream *s = &b->stream[i];
        size_t files = 0;
        s->source = (PanelSource)i;
        s->start = -1;
        s->path = path_join(run, places[i].log);
        s->folder = *places[i].folder ? path_join(folder, places[i].folder)
                                      : memory_text("%s", folder);
        if (fresh && events_read(&files, s->folder, NULL, NULL, error))
            return -1;
        if (files)
            return error_set(error, ERROR_USAGE,
                             "%s holds event files already: give another folder", s->folder);
    }
    return 0;
}

int tensorboard_update(Tensorboard *board, Error *error) {
    for (int i = 0; i < PANEL_SOURCES; i++)
        if (update(&board->stream[i], error))
            return -1;
    return 0;
}

void tensorboard_close(Tensorboard *board) {
    for (int i = 0; board && i < PANEL_SOURCES; i++) {
        close_log(&board->stream[i]);
        events_close(&board->stream[i].events);
        free(board->stream[i].path);
        free(board->stream[i].folder);
    }
    free(board);
}
