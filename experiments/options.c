/* Command lines from a table. See experiments/options.h. */
#include "experiments/options.h"
#include "base/words.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_WIDTH  80
#define OPTIONS_MAX 64

static void add_text(TextList *list, const char *text) {
    list->items = memory_grow(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = text;
}

/* Words of `text`, broken at the line's width; the first line starts at column `at`. */
static void print_wrapped(const char *text, int indent, int at) {
    bool first = true;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (!first && at + 1 + length > LINE_WIDTH) {
            printf("\n%*s", indent, "");
            at = indent;
            first = true;
        }
        at += printf("%s%.*s", first ? "" : " ", length, text);
        first = false;
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_help(const CommandHelp *help, const Option *options, size_t count) {
    printf("usage: ");
    print_wrapped(help->usage, 11, 7);
    putchar('\n');
    print_wrapped(help->summary, 0, 0);
    putchar('\n');
    int widest = (int)strlen("help");
    for (size_t i = 0; i < count; i++) {
        int width = (int)strlen(options[i].name) +
                    (options[i].argument ? (int)strlen(options[i].argument) + 1 : 0);
        widest = width > widest ? width : widest;
    }
    for (size_t i = 0; i < count; i++) {
        int at = printf("  --%s%s%s", options[i].name, options[i].argument ? " " : "",
                        options[i].argument ? options[i].argument : "");
        printf("%*s", widest + 6 - at, "");
        print_wrapped(options[i].help, widest + 6, widest + 6);
    }
    printf("  --help%*sthis text\n", widest - 2, "");
}

static int set_value(const Option *option, const char *text, Error *error) {
    char *end;
    errno = 0;
    switch (option->kind) {
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return 0;
    case OPTION_LIST:
        add_text(option->value, text);
        return 0;
    case OPTION_INTEGER: {
        long long value = strtoll(text, &end, 10);
        if (strspn(text, "0123456789+-") != strlen(text) || end == text || *end || errno)
            return error_set(error, ERROR_USAGE, "--%s: expected a whole number, found \"%s\"",
                             option->name, text);
        *(int64_t *)option->value = value;
        return 0;
    }
    case OPTION_NUMBER: {
        double value = strtod(text, &end);
        /* decimal only: no spaces, no hexadecimal, no nan */
        if (strspn(text, "0123456789+-.eE") != strlen(text) || end == text || *end ||
            !isfinite(value))
            return error_set(error, ERROR_USAGE, "--%s: expected a number, found \"%s\"",
                             option->name, text);
        *(double *)option->value = value;
        return 0;
    }
    case OPTION_FLAG:
        break;
    }
    return error_set(error, ERROR_USAGE, "--%s takes no value", option->name);
}

static int unknown_option(const char *name, const Option *options, size_t count, Error *error) {
    const char *names[OPTIONS_MAX];
    for (size_t i = 0; i < count && i < OPTIONS_MAX; i++)
        names[i] = options[i].name;
    const char *near = nearest_word(name, names, count < OPTIONS_MAX ? count : OPTIONS_MAX);
    return error_set(error, ERROR_USAGE, "unknown option --%s%s%s%s", name,
                     near ? ": did you mean --" : "; see --help", near ? near : "",
                     near ? "?" : "");
}

int options_parse(int argc, char **argv, const CommandHelp *help, const Option *options,
                  size_t count, TextList *rest, Error *error) {
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(help, options, count);
            return 1;
        }
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (!strcmp(argument, "--")) {
            while (++i < argc)
                add_text(rest, argv[i]);
            break;
        }
        if (argument[0] != '-' || !argument[1]) {
            add_text(rest, argument);
            continue;
        }
        if (argument[1] != '-')
            return error_set(error, ERROR_USAGE, "unknown option %s: options are long, like --out",
                             argument);
        char name[64];
        size_t length = strcspn(argument + 2, "=");
        const char *value = argument[2 + length] ? argument + 3 + length : NULL;
        snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), argument + 2);
        const Option *option = NULL;
        for (size_t k = 0; k < count; k++)
            if (!strcmp(name, options[k].name))
                option = &options[k];
        if (!option)
            return unknown_option(name, options, count, error);
        if (option->kind == OPTION_FLAG && !value) {
            *(bool *)option->value = true;
            continue;
        }
        /* "--out --lr 1" forgot a folder; a value may start with one dash, as in -3 */
        if (!value && i + 1 < argc && strncmp(argv[i + 1], "--", 2))
            value = argv[++i];
        if (!value)
            return error_set(error, ERROR_USAGE, "--%s: %s is missing", name, option->argument);
        if (set_value(option, value, error))
            return -1;
    }
    return 0;
}
