/* Edit distance for "did you mean". See base/words.h. */
#include "base/words.h"
#include "base/error.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64 /* longer words are not compared */

/* Levenshtein distance, row by row */
static size_t distance(const char *a, size_t m, const char *b, size_t n) {
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = replace < best ? replace : best;
        }
    }
    return row[n];
}

const char *nearest_word(const char *word, const char *const *candidates, size_t count) {
    size_t length = strlen(word), best = length / 2 + 1;
    const char *found = NULL;
    for (size_t i = 0; i < count && length <= WORD_MAX; i++) {
        size_t other = strlen(candidates[i]);
        if (other > WORD_MAX)
            continue;
        size_t d = distance(word, length, candidates[i], other);
        if (d < best) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}

char *csv_quote(const char *text) {
    char *quoted = memory_new(2 * strlen(text) + 3, 1), *to = quoted;
    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"')
            *to++ = '"';
        *to++ = *text == '\n' || *text == '\r' ? ' ' : *text;
    }
    *to++ = '"';
    return quoted;
}

char *json_quote(const char *text) {
    json_t *string = json_string(text); /* NULL: no UTF-8 */
    if (string) {
        char *quoted = json_dumps(string, JSON_ENCODE_ANY);
        json_decref(string);
        JEPA_ASSERT(quoted);
        return quoted;
    }
    char *out = memory_new(strlen(text) * 6 + 3, 1), *at = out;
    *at++ = '"';
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte >= 0x80)
            at += sprintf(at, "\\udc%02x", byte);
        else if (byte < 0x20)
            at += sprintf(at, "\\u%04x", byte);
        else {
            if (byte == '"' || byte == '\\')
                *at++ = '\\';
            *at++ = (char)byte;
        }
    }
    *at = '"';
    return out;
}
