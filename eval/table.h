/* Tables of text: CSV files with a line of names, for people to read. */
#ifndef JEPA_EVAL_TABLE_H
#define JEPA_EVAL_TABLE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX 256

typedef struct Table {
    size_t columns, rows; /* rows that are kept */
    size_t total;         /* rows of the file */
    char **names;         /* [columns] */
    char **cells;         /* [rows][columns]; "" where a line has fewer fields */
    char *text;           /* what names and cells point into */
} Table;

/* Reads the first `most` rows of a CSV file: fields in double quotes may hold commas, and quotes
 * that are doubled (RFC 4180); every line is a row. A last line without its end is read with
 * `open_end` (a list that somebody wrote), else left out (a file that is still written). A byte
 * order mark is passed over. Errors: unreadable, larger than 256 MiB, no line of names, more than
 * TABLE_COLUMNS_MAX columns. Free with table_free, also after an error. */
int table_read(Table *table, const char *path, size_t most, bool open_end, Error *error);
void table_free(Table *table);

/* A column by its name, -1: there is none. */
int table_column(const Table *table, const char *name);
const char *table_cell(const Table *table, size_t row, int column); /* "" for column -1 */

/* Cuts the line at *text into its fields, in place, and moves *text past its end; at most `most`
 * fields are kept. Returns how many there were, 0 where no whole line is left. */
size_t table_split(char **text, char **fields, size_t most);

#endif
