/* The tables of a run. See jepa/run_tables.h. */
#include "jepa/run_tables.h"
#include "base/file.h"
#include "base/words.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_LIMIT ((size_t)1 << 30) /* bytes of a table that are read back */

/* The published columns first (facebookresearch/jepa app/vjepa/train.py), then ours. */
#define LOG_HEADER                                                                                 \
    "epoch,itr,loss,loss-jepa,reg-loss,enc-grad-norm,pred-grad-norm,gpu-time(ms),wall-time(ms),"   \
    "step,lr,wd,momentum,clips_per_second,wait(ms),context_tokens,target_tokens,replaced,"         \
    "mask_redraws,decode(clips/"                                                                   \
    "s),ring,context_std,target_std,predictor_std,context_rankme,target_rankme,"                   \
    "predictor_rankme,cosine,skill,loss_context,invariance,sigreg,branch"

/* Number of a column by its name, -1: none. */
static int column_of(const char *header, const char *name) {
    size_t length = strlen(name);
    int column = 0;
    for (const char *at = header; at; column++) {
        if (!strncmp(at, name, length) && (at[length] == ',' || !at[length]))
            return column;
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return -1;
}

/* The number in a column of a CSV line, -1 if there is none. Only columns before the first quoted
 * one are asked for. */
static int64_t line_number(const char *line, int column) {
    for (int i = 0; i < column; i++) {
        line = strchr(line, ',');
        if (!line)
            return -1;
        line++;
    }
    char *end;
    long long number = strtoll(line, &end, 10);
    return end == line ? -1 : number;
}

/* What stays of a table. */
typedef struct Kept {
    int step_column, branch_column; /* -1: none */
    int64_t step, branch;           /* rows of this branch stay that are of a smaller step */
} Kept;

static bool stays(const char *line, const Kept *kept) {
    int64_t branch = kept->branch_column < 0 ? -1 : line_number(line, kept->branch_column);
    if (kept->branch_column >= 0 && branch < 0)
        branch = 0; /* written before there were any */
    if (kept->branch_column >= 0 && branch != kept->branch)
        return branch < kept->branch;
    return line_number(line, kept->step_column) < kept->step;
}

static int open_table(FILE **file, const char *folder, const char *name, const char *header,
                      const Kept *kept, Error *error) {
    char *path = path_join(folder, name), *text = NULL;
    uint8_t *bytes = NULL;
    size_t count = 0, size = 0;
    int result = 0;
    FILE *out = open_memstream(&text, &size);
    JEPA_ASSERT(out);
    fprintf(out, "%s\n", header);
    if (file_exists(path)) {
        result = file_read(&bytes, &count, path, TABLE_LIMIT, error);
        char *line = result ? NULL : strchr((char *)bytes, '\n');
        for (line = line ? line + 1 : NULL; line && *line;) {
            char *end = strchr(line, '\n');
            if (!end)
                break;
            *end = 0;
            if (stays(line, kept))
                fprintf(out, "%s\n", line);
            line = end + 1;
        }
    }
    fclose(out);
    if (!result)
        result = file_write(path, text, size, error);
    if (!result && !(*file = fopen(path, "ae")))
        result = error_set(error, ERROR_RUN, "cannot write %s: %s", path, strerror(errno));
    free(bytes);
    free(text);
    free(path);
    return result;
}

static char *diagnostics_header(void) {
    char *header = memory_text("step,branch,lr_scale");
    for (int i = 0; i < DIAGNOSIS_VALUES; i++) {
        char *longer = memory_text("%s,%s", header, diagnosis_name((DiagnosisValue)i));
        free(header);
        header = longer;
    }
    char *all = memory_text("%s,seconds,share", header);
    free(header);
    return all;
}

int run_cut_quarantine(Run *run, int64_t step, Error *error) {
    const Kept kept = {0, -1, step < 0 ? 0 : step, 0};
    if (run->quarantine)
        fclose(run->quarantine);
    run->quarantine = NULL;
    return open_table(&run->quarantine, run->folder, "quarantine.csv", "step,slot,file,reason",
                      &kept, error);
}

int run_open_tables(Run *run, int64_t step, int64_t branch, Error *error) {
    const Kept log = {column_of(LOG_HEADER, "step"), column_of(LOG_HEADER, "branch"),
                      step < 0 ? 0 : step, branch};
    /* here the step is of steps done: the checkpoint's own row stays */
    const Kept diagnostics = {0, 1, step + 1, branch};
    char *header = diagnostics_header();
    int result = open_table(&run->log, run->folder, "log.csv", LOG_HEADER, &log, error) ||
                 run_cut_quarantine(run, step, error) ||
                 open_table(&run->diagnostics, run->folder, "diagnostics.csv", header, &diagnostics,
                            error);
    free(header);
    return result ? -1 : 0;
}

int run_note_changes(const Run *run, const RecipeChanges *changes, int64_t step, Error *error) {
    char *path = path_join(run->folder, "changes.csv"), *text = NULL;
    uint8_t *bytes = NULL;
    size_t count = 0, size = 0;
    int result = file_exists(path) ? file_read(&bytes, &count, path, TABLE_LIMIT, error) : 0;
    FILE *out = open_memstream(&text, &size);
    JEPA_ASSERT(out);
    fputs(bytes ? (char *)bytes : "step,key,before,after\n", out);
    for (size_t i = 0; i < changes->count; i++) {
        char *before = csv_quote(changes->change[i].before),
             *after = csv_quote(changes->change[i].after);
        fprintf(out, "%" PRId64 ",%s,%s,%s\n", step, changes->change[i].path, before, after);
        free(before);
        free(after);
    }
    fclose(out);
    if (!result)
        result = file_write(path, text, size, error);
    free(bytes);
    free(text);
    free(path);
    return result;
}
