/* Writing HTML: whatever comes from a file is escaped, so that no name is ever markup.
 *
 * In text and attributes & < > " ' become entities; bytes that are no UTF-8 and control characters
 * become U+FFFD; characters that turn the direction of text around are shown as such, so that a
 * name reads as it is stored. In JSON inside a page, < > & are written as \u003c and so on: no text
 * can end the script element it stands in. */
#ifndef JEPA_EVAL_HTML_H
#define JEPA_EVAL_HTML_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Text, or the value of an attribute in double quotes. */
void html_text(FILE *out, const char *text);
/* fprintf whose result is escaped. */
void html_format(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* <tag class="name">text</tag>; `name` NULL: no class. Tag and class are the program's own. */
void html_element(FILE *out, const char *tag, const char *name, const char *text);

/* A JSON string, quotes included. */
void html_json_text(FILE *out, const char *text);
/* A JSON number with so many significant digits; null for what is not finite. */
void html_json_number(FILE *out, double value, int digits);

/* "data:TYPE;base64,..." of bytes, for src and href. */
void html_data_url(FILE *out, const char *type, const uint8_t *bytes, size_t count);

#endif
