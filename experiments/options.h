/* Command lines: long options from a table, which is also the help text. */
#ifndef JEPA_EXPERIMENTS_OPTIONS_H
#define JEPA_EXPERIMENTS_OPTIONS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TextList {
    size_t count;
    const char **items; /* grown by the parser; texts point into argv */
} TextList;

typedef enum OptionKind {
    OPTION_FLAG,    /* bool: --resume */
    OPTION_TEXT,    /* const char *: --out DIR or --out=DIR */
    OPTION_INTEGER, /* int64_t */
    OPTION_NUMBER,  /* double */
    OPTION_LIST     /* TextList: may be given again and again */
} OptionKind;

typedef struct Option {
    const char *name;     /* without the dashes */
    const char *argument; /* "DIR" in the help; NULL for a flag */
    const char *help;
    OptionKind kind;
    void *value;
} Option;

typedef struct CommandHelp {
    const char *usage;   /* "jepa frames FILE --indices 0,7,30 --out DIR" */
    const char *summary; /* a paragraph */
} CommandHelp;

/* Parses argv[1..]. Positional arguments go to `rest`. Returns 0 to go on, 1 after printing --help
 * (exit 0), -1 on wrong usage: unknown options name the nearest known one. */
int options_parse(int argc, char **argv, const CommandHelp *help, const Option *options,
                  size_t count, TextList *rest, Error *error);

#endif
