/* Log lines and the progress line. See base/log.h. */
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define CLEAR_LINE "\r\033[K"
#define LONGEST    1e8 /* seconds; an estimate beyond three years says nothing */

double time_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#define NAME_VARIABLE "JEPA_LOG_AS"

void log_as(const char *name) {
    setenv(NAME_VARIABLE, name, 1);
}

static const char *log_name(void) {
    return getenv(NAME_VARIABLE);
}

static void log_line(const char *mark, const char *format, va_list arguments) {
    char text[2048];
    vsnprintf(text, sizeof text, format, arguments);
    /* one write, so that lines of several threads do not mix */
    const char *name = log_name();
    fprintf(stderr, "%s%s%s%s%s\n", isatty(STDERR_FILENO) ? CLEAR_LINE : "", mark, name ? name : "",
            name ? ": " : "", text);
}

void log_info(const char *format, ...) {
    va_list arguments;
    if (log_name())
        return;
    va_start(arguments, format);
    log_line("", format, arguments);
    va_end(arguments);
}

void log_warn(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_line("warning: ", format, arguments);
    va_end(arguments);
}

void progress_start(Progress *progress, const char *what, double total, double first_done) {
    double now = time_now();
    *progress = (Progress){.what = what,
                           .total = total,
                           .started = now,
                           .last_drawn = now,
                           .first_done = first_done,
                           .terminal = isatty(STDERR_FILENO),
                           .silent = log_name() != NULL};
}

static void duration_text(char text[32], double seconds) {
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, 32, "%ld s", s);
}

/* A line that wraps could not be redrawn in place. */
static void cut_to_terminal(char *text) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2)
        return;
    size_t room = size.ws_col - 1u;
    if (strlen(text) > room)
        text[room] = 0;
}

void progress_show(Progress *progress, double done, const char *detail) {
    double now = time_now(), every = progress->terminal ? 0.1 : 10;
    if (progress->silent || now - progress->last_drawn < every)
        return;
    progress->last_drawn = now;
    char total[32] = "", left[40] = "", line[512];
    double moved = done - progress->first_done, rest = progress->total - done;
    if (progress->total > 0)
        snprintf(total, sizeof total, "/%.0f", progress->total);
    if (progress->total > 0 && moved > 0 && rest >= 0) {
        double seconds = rest * (now - progress->started) / moved;
        char text[32];
        duration_text(text, seconds < LONGEST ? seconds : LONGEST);
        snprintf(left, sizeof left, "  %s left", text);
    }
    snprintf(line, sizeof line, "%s %.0f%s%s%s%s", progress->what, done, total,
             detail && *detail ? "  " : "", detail ? detail : "", left);
    if (progress->terminal)
        cut_to_terminal(line);
    fprintf(stderr, "%s%s%s", progress->terminal ? CLEAR_LINE : "", line,
            progress->terminal ? "" : "\n");
}

void progress_end(Progress *progress) {
    if (progress->terminal && !progress->silent)
        fputs(CLEAR_LINE, stderr);
}
