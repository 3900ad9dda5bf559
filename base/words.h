/* Small help with words in messages. */
#ifndef JEPA_BASE_WORDS_H
#define JEPA_BASE_WORDS_H

#include <stddef.h>

/* The candidate nearest to `word` by edit distance (at most half its length), or NULL if none is
 * near. For "unknown key X: did you mean Y?". */
const char *nearest_word(const char *word, const char *const *candidates, size_t count);

/* A field of a CSV line in quotes: quotes inside are doubled (RFC 4180), line ends become spaces,
 * so that a line stays a line. Caller frees. */
char *csv_quote(const char *text);

/* A text as JSON, in quotes. Where it is no UTF-8, every byte above 127 becomes the surrogate
 * \udc80 .. \udcff: Python's os.fsencode gives the bytes back. Caller frees. */
char *json_quote(const char *text);

#endif
