/* What a probe is to say of a video: its class, labels that are there or not, or numbers.
 *
 * Classes come from the index (folders, or a list's labels). Labels and numbers come from a CSV:
 *
 *     file,NAME,NAME...         names as the index has them; RFC 4180: fields may be in quotes
 *     a/clip 1.mp4,0.5,-3
 *
 * Letters: n rows, K outputs (classes, labels or numbers). */
#ifndef JEPA_EVAL_TARGETS_H
#define JEPA_EVAL_TARGETS_H

#include "base/error.h"
#include "video/index.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum Task {
    TASK_CLASSES, /* one of K */
    TASK_LABELS,  /* each of K is there (1) or not (0) */
    TASK_VALUES   /* K numbers */
} Task;

#define TARGETS_MAX 4096 /* most labels or numbers of a video */

typedef struct Targets {
    Task task;
    int64_t count; /* n */
    int outputs;   /* K */
    char **names;  /* [K] of classes, labels or numbers; NULL: they have none */
    int *classes;  /* [n] of TASK_CLASSES, else NULL */
    float *values; /* [n][K] of the other two, else NULL */
} Targets;

/* A row for every file of the index, in its order. */
/* The index's classes (-1 where a file has none). */
void targets_of_classes(Targets *targets, const VideoIndex *index);
/* The CSV's numbers; TASK_LABELS must be 0 or 1. Files that cannot be used need no line; lines of
 * other files are counted in *others (or NULL). Errors name file and line: no such header, a field
 * too many or too few, no number, a file named twice, a usable file without a line. */
int targets_read(Targets *targets, const char *path, Task task, const VideoIndex *index,
                 int64_t *others, Error *error);
void targets_free(Targets *targets);

/* Rows items[count] of `from`, copied. */
void targets_take(Targets *targets, const Targets *from, const int64_t *items, int64_t count);

#endif
