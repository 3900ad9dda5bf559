/* Writing HTML. See eval/html.h. */
#include "eval/html.h"
#include "eval/font.h"
#include <math.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Marks and overrides of the direction, invisible ones, and what Unicode calls no character. */
static bool is_hidden(unsigned c) {
    return c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfdd0 && c <= 0xfdef) ||
           (c & 0xfffe) == 0xfffe;
}

/* One character that may stand in a page: UTF-8 of what is sound, U+FFFD for what is not. */
static unsigned next_character(const char **text) {
    unsigned c = font_decode(text);
    bool sound = c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c < 0xd800) ||
                 (c >= 0xe000 && c <= 0x10ffff);
    return sound ? c : 0xfffd;
}

static void put_utf8(FILE *out, unsigned c) {
    if (c < 0x80) {
        fputc((int)c, out);
    } else if (c < 0x800) {
        fputc((int)(0xc0 | c >> 6), out);
        fputc((int)(0x80 | (c & 63)), out);
    } else if (c < 0x10000) {
        fputc((int)(0xe0 | c >> 12), out);
        fputc((int)(0x80 | (c >> 6 & 63)), out);
        fputc((int)(0x80 | (c & 63)), out);
    } else {
        fputc((int)(0xf0 | c >> 18), out);
        fputc((int)(0x80 | (c >> 12 & 63)), out);
        fputc((int)(0x80 | (c >> 6 & 63)), out);
        fputc((int)(0x80 | (c & 63)), out);
    }
}

void html_text(FILE *out, const char *text) {
    while (*text) {
        unsigned c = next_character(&text);
        const char *entity = c == '&'    ? "&amp;"
                             : c == '<'  ? "&lt;"
                             : c == '>'  ? "&gt;"
                             : c == '"'  ? "&quot;"
                             : c == '\'' ? "&#39;"
                                         : NULL;
        if (entity)
            fputs(entity, out);
        else if (is_hidden(c))
            fprintf(out, "[U+%04X]", c);
        else
            put_utf8(out, c);
    }
}

void html_format(FILE *out, const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    JEPA_ASSERT(length >= 0);
    html_text(out, text);
    free(text);
}

void html_element(FILE *out, const char *tag, const char *name, const char *text) {
    fprintf(out, "<%s", tag);
    if (name)
        fprintf(out, " class=\"%s\"", name);
    fputc('>', out);
    html_text(out, text);
    fprintf(out, "</%s>", tag);
}

void html_json_text(FILE *out, const char *text) {
    fputc('"', out);
    while (*text) {
        unsigned c = next_character(&text);
        if (c < 0x20 || strchr("<>&\"\\'", (int)(c < 0x80 ? c : 'a')) || is_hidden(c))
            fprintf(out, c > 0xffff ? "?" : "\\u%04x", c);
        else
            put_utf8(out, c);
    }
    fputc('"', out);
}

void html_json_number(FILE *out, double value, int digits) {
    if (isfinite(value))
        fprintf(out, "%.*g", digits, value);
    else
        fputs("null", out);
}

void html_data_url(FILE *out, const char *type, const uint8_t *bytes, size_t count) {
    enum { PIECE = 3 * 16384 }; /* whole groups of three bytes: no padding in between */
    size_t room = sodium_base64_ENCODED_LEN(PIECE, sodium_base64_VARIANT_ORIGINAL);
    char *text = memory_new(room, 1);
    fprintf(out, "data:%s;base64,", type);
    for (size_t at = 0; at < count; at += PIECE) {
        size_t part = count - at < PIECE ? count - at : PIECE;
        sodium_bin2base64(text, room, bytes + at, part, sodium_base64_VARIANT_ORIGINAL);
        fputs(text, out);
    }
    free(text);
}
