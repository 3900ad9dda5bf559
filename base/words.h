/* Small help with words in messages. */
#ifndef JEPA_BASE_WORDS_H
#define JEPA_BASE_WORDS_H

#include <stddef.h>

/* The candidate nearest to `word` by edit distance (at most half its length), or NULL if none is
 * near. For "unknown key X: did you mean Y?". */
const char *nearest_word(const char *word, const char *const *candidates, size_t count);

#endif
