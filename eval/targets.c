/* See eval/targets.h. */
#include "eval/targets.h"
#include "base/file.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)1 << 31) /* bytes of a CSV */

void targets_free(Targets *t) {
    for (int k = 0; k < t->outputs && t->names; k++)
        free(t->names[k]);
    free(t->names);
    free(t->classes);
    free(t->values);
    memset(t, 0, sizeof *t);
}

void targets_of_classes(Targets *t, const VideoIndex *index) {
    size_t classes = (size_t)index->classes;
    *t = (Targets){.task = TASK_CLASSES, .count = (int64_t)index->count, .outputs = index->classes};
    t->names = memory_new(classes + 1, sizeof *t->names);
    for (size_t k = 0; k < classes; k++)
        t->names[k] = memory_text("%s", index->class_names[k]);
    t->classes = memory_new(index->count + 1, sizeof *t->classes);
    for (size_t i = 0; i < index->count; i++)
        t->classes[i] = video_index_label(index, (uint32_t)i);
}

void targets_take(Targets *t, const Targets *from, const int64_t *items, int64_t count) {
    size_t outputs = (size_t)from->outputs, n = (size_t)count;
    *t = (Targets){.task = from->task, .count = count, .outputs = from->outputs};
    t->names = from->names ? memory_new(outputs + 1, sizeof *t->names) : NULL;
    for (size_t k = 0; k < outputs && from->names; k++)
        t->names[k] = memory_text("%s", from->names[k]);
    if (from->classes) {
        t->classes = memory_new(n + 1, sizeof *t->classes);
        for (size_t i = 0; i < n; i++)
            t->classes[i] = from->classes[items[i]];
    }
    if (from->values) {
        t->values = memory_new(n * outputs + 1, sizeof *t->values);
        for (size_t i = 0; i < n; i++)
            memcpy(t->values + i * outputs, from->values + (size_t)items[i] * outputs,
                   outputs * sizeof *t->values);
    }
}

/* ---- the CSV ---- */

typedef struct Reader {
    char *at; /* the file's text from here on; fields are cut out of it in place */
    const char *path;
    int64_t line; /* of the next field, from 1 */
} Reader;

/* The next field; *last: the line ends behind it. NULL: a quote that is never closed, or text
 * behind one. */
static char *next_field(Reader *r, bool *last) {
    char *field = r->at, *to = field, *from = field;
    if (*from == '"') {
        for (from++; *from && (from[0] != '"' || from[1] == '"'); from++) {
            r->line += *from == '\n';
            from += *from == '"'; /* two stand for one */
            *to++ = *from;
        }
        if (*from++ != '"')
            return NULL;
    } else {
        for (; *from && *from != ',' && *from != '\n' && *from != '\r'; from++)
            to++;
    }
    if (from[0] == '\r' && from[1] == '\n')
        from++;
    char end = *from;
    if (end && end != ',' && end != '\n')
        return NULL;
    *last = end != ',';
    r->at = end ? from + 1 : from;
    *to = 0;
    return field;
}

static int bad_line(const Reader *r, int64_t line, const char *what, Error *error) {
    return error_set(error, ERROR_USAGE, "%s, line %lld: %s", r->path, (long long)line, what);
}

static int read_header(Targets *t, Reader *r, Error *error) {
    bool last;
    const char *field = next_field(r, &last);
    if (!field || strcmp(field, "file") || last)
        return bad_line(r, 1, "expected the header \"file,NAME,NAME...\"", error);
    while (!last) {
        if (!(field = next_field(r, &last)) || !*field)
            return bad_line(r, 1, "a column without a name, or a quote that is not closed", error);
        if (t->outputs == TARGETS_MAX)
            return bad_line(r, 1, "too many columns: at most 4096", error);
        for (int k = 0; k < t->outputs; k++)
            if (!strcmp(t->names[k], field))
                return bad_line(r, 1, "two columns of the same name", error);
        t->names = memory_grow(t->names, (size_t)t->outputs + 1, sizeof *t->names);
        t->names[t->outputs++] = memory_text("%s", field);
    }
    r->line++;
    return 0;
}

static int read_value(float *value, const Targets *t, const Reader *r, const char *text, int column,
                      Error *error) {
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    end += strspn(end, " ");
    bool bad = end == text || *end || !isfinite(number) || fabs(number) > 1e30;
    if (t->task == TASK_LABELS)
        bad |= number < 0 || number > 1 || (number > 0 && number < 1);
    if (bad)
        return error_set(error, ERROR_USAGE, "%s, line %lld: %s is \"%.40s\": expected %s", r->path,
                         (long long)r->line, t->names[column], text,
                         t->task == TASK_LABELS ? "0 or 1" : "a number");
    *value = (float)number;
    return 0;
}

/* Files of the index by name, for looking them up. */
typedef struct Named {
    const char *name;
    int64_t file;
} Named;

static int by_name(const void *a, const void *b) {
    return strcmp(((const Named *)a)->name, ((const Named *)b)->name);
}

static int read_lines(Targets *t, Reader *r, const Named *names, bool *found, int64_t *others,
                      Error *error) {
    float *row = memory_new((size_t)t->outputs, sizeof *row);
    int result = 0;
    while (*r->at && !result) {
        int64_t line = r->line;
        bool last;
        const char *name = next_field(r, &last);
        if (name && last && !*name) { /* an empty line */
            r->line++;
            continue;
        }
        if (!name || last) {
            result = bad_line(r, line, name ? "one field only" : "a quote that is not closed",
                              error);
            break;
        }
        int k = 0;
        for (; !last && !result; k++) {
            const char *field = next_field(r, &last);
            if (!field || k == t->outputs)
                result = bad_line(
                    r, line, field ? "more fields than the header has" : "a quote is not closed",
                    error);
            else
                result = read_value(&row[k], t, r, field, k, error);
        }
        if (!result && k < t->outputs)
            result = bad_line(r, line, "fewer fields than the header has", error);
        if (result)
            break;
        r->line++;
        const Named key = {name, 0},
                    *at = t->count ? bsearch(&key, names, (size_t)t->count, sizeof key, by_name)
                                   : NULL;
        if (!at) {
            *others += 1;
            continue;
        }
        if (found[at->file])
            result = error_set(error, ERROR_USAGE, "%s, line %lld: %s is named a second time",
                               r->path, (long long)line, name);
        found[at->file] = true;
        memcpy(t->values + at->file * t->outputs, row, (size_t)t->outputs * sizeof *row);
    }
    free(row);
    return result;
}

/* Every file that can be used has its line. */
static int check_found(const bool *found, const char *path, const VideoIndex *index, Error *error) {
    int64_t missing = 0;
    const char *first = NULL;
    for (size_t i = 0; i < index->count; i++)
        if (!found[i] && !video_index_reason(index, (uint32_t)i)) {
            first = first ? first : video_index_name(index, (uint32_t)i);
            missing++;
        }
    if (missing)
        return error_set(error, ERROR_USAGE,
                         "%s has no line for %lld of %zu videos, the first of them %s: names are "
                         "those of jepa index, relative to the folder or list",
                         path, (long long)missing, index->usable, first);
    return 0;
}

int targets_read(Targets *t, const char *path, Task task, const VideoIndex *index, int64_t *others,
                 Error *error) {
    uint8_t *bytes = NULL;
    size_t count = 0;
    int64_t ignored = 0;
    memset(t, 0, sizeof *t);
    if (file_read(&bytes, &count, path, FILE_LIMIT, error))
        return -1;
    Reader reader = {(char *)bytes, path, 1};
    Named *names = memory_new(index->count + 1, sizeof *names);
    bool *found = memory_new(index->count + 1, sizeof *found);
    for (size_t i = 0; i < index->count; i++)
        names[i] = (Named){video_index_name(index, (uint32_t)i), (int64_t)i};
    qsort(names, index->count, sizeof *names, by_name);
    t->task = task;
    int result = 0;
    if (strlen((char *)bytes) != count)
        result = error_set(error, ERROR_USAGE, "%s: a zero byte in it: this is no text", path);
    if (!result)
        result = read_header(t, &reader, error);
    if (!result) {
        t->count = (int64_t)index->count;
        t->values = memory_new(index->count * (size_t)t->outputs + 1, sizeof *t->values);
        result = read_lines(t, &reader, names, found, &ignored, error);
    }
    if (!result)
        result = check_found(found, path, index, error);
    if (others)
        *others = ignored;
    free(names);
    free(found);
    free(bytes);
    if (result)
        targets_free(t);
    return result;
}
