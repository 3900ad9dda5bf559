/* Errors as values: what was expected, what was found, what to try.
 *
 * A function that can fail returns 0 for success and -1 for failure, takes an `Error *` as its last
 * argument and fills it on failure. The message is one line for a person; the program prints it
 * once, at the top, and exits with `code`. Programmer errors go to JEPA_ASSERT, which never passes
 * silently.
 */
#ifndef JEPA_BASE_ERROR_H
#define JEPA_BASE_ERROR_H

#define ERROR_RUN   1 /* exit code: the work failed (bad file, full disk, damaged checkpoint) */
#define ERROR_USAGE 2 /* exit code: the request makes no sense (bad option, bad recipe) */

typedef struct Error {
    int code;        /* exit code, one of the above; 0 while there is no error */
    char text[1024]; /* one line, no newline at the end; truncated, never overrun */
} Error;

static inline int error_value(void) {
    return -1;
}

/* Fills `error` (may be NULL). error_set is an expression of value -1, so that callers can
 * `return error_set(...)` and the compiler knows that a failed call did fail. */
void error_fill(Error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define error_set(error, code, ...) (error_fill((error), (code), __VA_ARGS__), error_value())

/* Puts "context: " in front of the message; for callers that know the file or the step. Value -1.
 */
void error_extend(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define error_prefix(error, ...) (error_extend((error), __VA_ARGS__), error_value())

/* A broken invariant of this program: prints file, line and text to stderr and aborts. Always on.
 */
#define JEPA_ASSERT(condition)                                                                     \
    ((condition) ? (void)0 : assert_failed(__FILE__, __LINE__, #condition))
_Noreturn void assert_failed(const char *file, int line, const char *condition);

/* Memory that cannot fail silently: zeroed, aborts with a message when the machine has none left.
 * For sizes the program itself chose. Sizes that come from a file are bounded before. Caller frees
 * with free(). */
void *memory_new(unsigned long count, unsigned long size);
void *memory_grow(void *old, unsigned long count, unsigned long size); /* realloc; not zeroed */
char *memory_text(const char *format, ...) __attribute__((format(printf, 1, 2))); /* asprintf */

#endif
