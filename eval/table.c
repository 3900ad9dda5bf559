/* CSV files as tables of text. See eval/table.h. */
#include "eval/table.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf" /* UTF-8, as spreadsheets write it */
#define BYTES_MAX       ((size_t)256 << 20)

/* Ends the field at *at and moves past it; true: another one follows. Quotes are taken away in
 * place: the text only shrinks. */
static bool take_field(char **field, char **at, const char *end) {
    char *out = *at, *in = out;
    *field = out;
    if (in < end && *in == '"') {
        for (in++; in < end && (*in != '"' || (in + 1 < end && in[1] == '"')); in++) {
            in += *in == '"';
            *out++ = *in;
        }
        in += in < end;
    }
    for (; in < end && *in != ','; in++)
        *out++ = *in;
    bool more = in < end;
    *out = 0; /* at most on the comma or the line's end */
    *at = in + more;
    return more;
}

size_t table_split(char **text, char **fields, size_t most) {
    char *at = *text, *end = strchr(at, '\n'), *field;
    size_t count = 0;
    if (!end)
        return 0;
    *text = end + 1;
    if (end > at && end[-1] == '\r')
        end--;
    for (bool more = true; more; count++) {
        more = take_field(&field, &at, end);
        if (count < most)
            fields[count] = field;
    }
    return count;
}

static size_t lines_in(const char *text) {
    size_t count = 0;
    for (; (text = strchr(text, '\n')); text++)
        count++;
    return count;
}

int table_read(Table *table, const char *path, size_t most, bool open_end, Error *error) {
    char *fields[TABLE_COLUMNS_MAX];
    uint8_t *bytes;
    size_t count;
    memset(table, 0, sizeof *table);
    if (file_read(&bytes, &count, path, BYTES_MAX, error))
        return -1;
    if (open_end && count && bytes[count - 1] != '\n') {
        bytes = memory_grow(bytes, count + 2, 1);
        bytes[count++] = '\n';
        bytes[count] = 0;
    }
    table->text = (char *)bytes;
    char *at = table->text + (strncmp(table->text, BYTE_ORDER_MARK, 3) ? 0 : 3);
    size_t lines = lines_in(at);
    table->columns = table_split(&at, fields, TABLE_COLUMNS_MAX);
    if (!table->columns)
        return error_set(error, ERROR_RUN, "%s: no line of column names", path);
    if (table->columns > TABLE_COLUMNS_MAX)
        return error_set(error, ERROR_RUN, "%s: more than %d columns", path, TABLE_COLUMNS_MAX);
    table->names = memory_new(table->columns, sizeof *table->names);
    memcpy(table->names, fields, table->columns * sizeof *fields);
    most = most < lines ? most : lines;
    table->cells = memory_new(most * table->columns, sizeof *table->cells);
    char *none = table->text + count;
    for (size_t n; (n = table_split(&at, fields, TABLE_COLUMNS_MAX));) {
        if (n == 1 && !*fields[0])
            continue; /* an empty line */
        if (table->total++ >= most)
            continue;
        char **row = table->cells + table->rows++ * table->columns;
        for (size_t c = 0; c < table->columns; c++)
            row[c] = c < n ? fields[c] : none;
    }
    return 0;
}

void table_free(Table *table) {
    free(table->names);
    free(table->cells);
    free(table->text);
    memset(table, 0, sizeof *table);
}

int table_column(const Table *table, const char *name) {
    for (size_t c = 0; c < table->columns; c++)
        if (!strcmp(table->names[c], name))
            return (int)c;
    return -1;
}

const char *table_cell(const Table *table, size_t row, int column) {
    return column < 0 ? "" : table->cells[row * table->columns + (size_t)column];
}
