/* The ledger of rewinds. See jepa/rewinds.h. */
#include "jepa/rewinds.h"
#include "base/file.h"
#include "base/random.h"
#include "base/words.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER       "branch,from,to,lr_scale,reason\n"
#define LEDGER_LIMIT ((size_t)1 << 20) /* bytes; a row has less than 1,000 */

static int damaged(Error *error, const char *path, int line) {
    return error_set(error, ERROR_RUN, "%s:%d: damaged: expected %.*s", path, line,
                     (int)strcspn(HEADER, "\n"), HEADER);
}

static int read_line(Rewinds *r, const char *line) {
    int64_t branch;
    int end = 0;
    if (r->count == REWINDS_MAX)
        return -1;
    Rewind *next = &r->rewind[r->count];
    if (sscanf(line, "%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%lf,%n", &branch, &next->from, &next->to,
               &next->lr_scale, &end) != 4 ||
        !end || branch != r->count + 1 || next->to < 0 || next->from <= next->to ||
        !(next->lr_scale > 0 && next->lr_scale <= 1))
        return -1;
    r->count++;
    return 0;
}

static int read_rows(Rewinds *r, char *text, const char *path, Error *error) {
    int number = 1;
    if (strncmp(text, HEADER, strlen(HEADER)))
        return damaged(error, path, number);
    for (char *line = text + strlen(HEADER); *line;) {
        char *end = strchr(line, '\n');
        number++;
        if (end)
            *end = 0;
        if (!end || read_line(r, line))
            return damaged(error, path, number);
        line = end + 1;
    }
    return 0;
}

int rewinds_load(Rewinds *rewinds, const char *run, Error *error) {
    char *path = path_join(run, REWINDS_NAME);
    uint8_t *bytes = NULL;
    size_t count;
    int result = 0;
    rewinds->count = 0;
    if (file_exists(path))
        result = file_read(&bytes, &count, path, LEDGER_LIMIT, error);
    if (bytes && !result)
        result = read_rows(rewinds, (char *)bytes, path, error);
    free(bytes);
    free(path);
    return result;
}

/* The file as it is, with one row more. */
static int write_row(const Rewinds *r, const char *reason, const char *run, Error *error) {
    const Rewind *last = &r->rewind[r->count - 1];
    char *path = path_join(run, REWINDS_NAME), *quoted = csv_quote(reason);
    uint8_t *bytes = NULL;
    size_t count;
    int result = 0;
    if (file_exists(path))
        result = file_read(&bytes, &count, path, LEDGER_LIMIT, error);
    char *text = memory_text("%s%d,%" PRId64 ",%" PRId64 ",%.17g,%s\n",
                             bytes ? (const char *)bytes : HEADER, r->count, last->from, last->to,
                             last->lr_scale, quoted);
    if (!result)
        result = file_write(path, text, strlen(text), error);
    free(text);
    free(bytes);
    free(quoted);
    free(path);
    return result;
}

int rewinds_add(Rewinds *rewinds, const Rewind *rewind, const char *reason, const char *run,
                Error *error) {
    JEPA_ASSERT(rewinds->count < REWINDS_MAX && rewind->from > rewind->to);
    rewinds->rewind[rewinds->count++] = *rewind;
    if (run && write_row(rewinds, reason, run, error)) {
        rewinds->count--;
        return -1;
    }
    return 0;
}

int64_t rewinds_branch(const Rewinds *rewinds, int64_t step) {
    int branch = rewinds->count;
    while (branch > 0 && rewinds->rewind[branch - 1].to > step)
        branch--;
    return branch;
}

double rewinds_lr_scale(const Rewinds *rewinds, int64_t step) {
    int64_t branch = rewinds_branch(rewinds, step);
    return branch ? rewinds->rewind[branch - 1].lr_scale : 1;
}

uint64_t rewinds_seed(const Rewinds *rewinds, uint64_t seed, int64_t step) {
    return random_branch(seed, (uint64_t)rewinds_branch(rewinds, step));
}

int64_t rewinds_branch_of(const Rewinds *rewinds, int64_t steps) {
    return steps > 0 ? rewinds_branch(rewinds, steps - 1) : 0;
}
