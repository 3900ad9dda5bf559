/* Errors as values, and memory that cannot fail silently. See base/error.h. */
#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names and texts from files may hold line feeds or terminal escapes: a message stays one line. */
static void keep_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

void error_fill(Error *error, int code, const char *format, ...) {
    if (error) {
        char text[sizeof error->text]; /* an argument may be error->text itself */
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        keep_one_line(text);
        memcpy(error->text, text, strlen(text) + 1);
        error->code = code;
    }
}

void error_extend(Error *error, const char *format, ...) {
    if (error) {
        char context[512], text[sizeof error->text];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(context, sizeof context, format, arguments);
        va_end(arguments);
        keep_one_line(context);
        memcpy(text, error->text, sizeof text);
        size_t used = strlen(context), room = sizeof error->text - used - 3, rest = strlen(text);
        rest = rest < room ? rest : room;
        memcpy(error->text, context, used);
        memcpy(error->text + used, ": ", 2);
        memcpy(error->text + used + 2, text, rest);
        error->text[used + 2 + rest] = 0;
        if (!error->code)
            error->code = ERROR_RUN;
    }
}

_Noreturn void assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "jepa: %s:%d: broken invariant: %s. This is a bug: please report it.\n", file,
            line, condition);
    abort();
}

static _Noreturn void out_of_memory(size_t count, size_t size) {
    fprintf(stderr, "jepa: no memory for %zu x %zu bytes\n", count, size);
    abort();
}

void *memory_new(unsigned long count, unsigned long size) {
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory)
        out_of_memory(count, size);
    return memory;
}

void *memory_grow(void *old, unsigned long count, unsigned long size) {
    unsigned long bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory(count, size);
    void *memory = realloc(old, bytes ? bytes : 1);
    if (!memory)
        out_of_memory(count, size);
    return memory;
}

char *memory_text(const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        out_of_memory(1, strlen(format));
    return text;
}
